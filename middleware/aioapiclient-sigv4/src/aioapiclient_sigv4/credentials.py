"""`Credentials`: an access key with its secret, and when they expire."""

from __future__ import annotations

import hashlib
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from aioapiclient.errors import InvalidRequestError

__all__ = ["Credentials"]


class Credentials(msgspec.Struct, frozen=True):
    """An access key and its secret; a ``repr`` shows neither the secret nor the token.

    Args:
        access_key: The access key id.
        secret_key: The secret access key.
        token: The session token of temporary credentials; None (the default) for a long-term key.
        expires: When they expire: an aware `datetime.datetime`, or seconds since 1970 (UTC). None (the
            default) means valid until a server refuses them.

    Raises:
        TypeError: An argument has the wrong type.
        InvalidRequestError: A text is empty or cannot be sent, or *expires* is NaN, infinite, or a datetime
            without a time zone.
    """

    access_key: str
    """The access key id."""

    secret_key: str
    """The secret access key."""

    token: str | None = None
    """The session token of temporary credentials; None for a long-term key."""

    expires: float | None = None
    """When they expire, in seconds since 1970 (UTC); None if unknown."""

    if TYPE_CHECKING:

        def __init__(
            self,
            access_key: str,
            secret_key: str,
            token: str | None = None,
            expires: float | datetime | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        _check_text("access_key", self.access_key)
        _check_text("secret_key", self.secret_key)
        if self.token is not None:
            _check_text("token", self.token)
        if "/" in self.access_key or "," in self.access_key:
            # In the header, the key is followed by a slash, and the scope by a comma.
            raise InvalidRequestError("Credentials access_key must not contain a slash or a comma")
        if self.expires is not None:
            msgspec.structs.force_setattr(self, "expires", _as_seconds(self.expires))

    def __repr__(self) -> str:
        return f"Credentials({self.access_key!r}, expires={self.expires})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own repr has every field: rich would print the secret.
        return [("access_key", self.access_key), ("expires", self.expires)]

    def __reduce__(self) -> NoReturn:
        raise TypeError("Credentials hold a secret: they cannot be pickled")


def principal_of(access_key: str) -> str:
    """Return a name for the owner of *access_key* that is safe in a cache's keys and in logs."""
    return "aws:" + hashlib.sha256(access_key.encode()).hexdigest()[:32]


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"Credentials {name} must be a str, not {type(value).__name__}")
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise InvalidRequestError(
            f"Credentials {name} must be printable ASCII without white space; it is empty, or contains "
            "another character (a line end, if it was read from a file)"
        )


def _as_seconds(expires: object) -> float:
    if isinstance(expires, datetime):
        if expires.tzinfo is None:
            raise InvalidRequestError("Credentials expires must be a datetime with a time zone")
        return expires.timestamp()
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        kind = type(expires).__name__
        raise TypeError(f"Credentials expires must be a datetime, a number of seconds or None, not {kind}")
    if not math.isfinite(expires):
        raise InvalidRequestError(f"Credentials expires must be a finite number of seconds, not {expires}")
    return float(expires)
