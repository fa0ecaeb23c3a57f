"""Grants: what a client has in its hands to get an access token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

from ._endpoint import check_text
from .errors import OAuthError

__all__ = ["ClientCredentials", "Grant", "RefreshToken"]


class Grant:
    """What is exchanged for an access token. Subclass it for a grant that is not here.

    It holds a secret: its ``repr`` shows none, and it cannot be pickled or copied.
    """

    grant_type: ClassVar[str]
    """The ``grant_type`` of the request."""

    single_use: ClassVar[bool] = False
    """Whether the server may accept it only once, so that it must not be sent again."""

    can_repeat: bool = True
    """Whether it gets a new login after the refresh token of the last one was refused."""

    async def form(self, claims: Mapping[str, Any], /) -> Mapping[str, str]:
        """Return its parameters. *claims* are those of an assertion, for a grant that signs one."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a secret: it is not pickled or copied")


class ClientCredentials(Grant):
    """The client for itself, by its id and secret (RFC 6749 §4.4)."""

    grant_type = "client_credentials"


class RefreshToken(Grant):
    """A refresh token, of a login before (RFC 6749 §6).

    The store's own refresh token comes first: servers that rotate them accept the one given here once.

    Args:
        token: The refresh token. None (the default) if only the store has one: from a login, or from
            another process. Without one, calls raise `OAuthError` with the code ``login_required``.
    """

    grant_type = "refresh_token"
    single_use = True
    can_repeat = False

    def __init__(self, token: str | None = None) -> None:
        if token is not None:
            check_text("token", token)
        self._token = token

    async def form(self, claims: Mapping[str, Any], /) -> Mapping[str, str]:
        """Return the token."""
        if self._token is None:
            raise OAuthError("No login is stored: log in first", code="login_required")
        return {"refresh_token": self._token}
