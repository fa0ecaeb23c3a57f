"""Digests: what a body must come to, by the caller's word or the response's own (RFC 9530)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from ._codecs.content_type import codings_of
from ._patterns import lazily
from .errors import InvalidRequestError

if TYPE_CHECKING:
    from ._response import AsyncAPIResponse

__all__ = ["Digest", "Expected", "check_digest", "expected_digest", "is_coded"]

Digest: TypeAlias = "str | bool | Callable[[AsyncAPIResponse[Any]], str] | None"
"""``"sha256:<hex>"``, a function of the response that gives such a text, or True for the response's own."""


def check_digest(digest: object) -> None:
    """Raise `TypeError` or `InvalidRequestError` for what is no `Digest`."""
    if isinstance(digest, str):
        _parse_digest(digest)
    elif digest is not None and not isinstance(digest, bool) and not callable(digest):
        raise TypeError(f"digest must be a str such as 'sha256:...', not {type(digest).__name__}")


def is_coded(response: AsyncAPIResponse[Any]) -> bool:
    """Whether the body had a content coding on the wire: its bytes were others than those that are read."""
    decompressed = response.request.settings.decompress
    return decompressed and bool(codings_of(response.headers.getall("Content-Encoding", ())))


class Expected(NamedTuple):
    """The digest of a whole body."""

    algorithm: str
    value: bytes


_ALGORITHMS: Final = {"sha-512": "sha512", "sha-256": "sha256"}  # RFC 9530 §5: the others are insecure
_MEMBER = lazily(r"(?:^|,)[ \t]*([a-z0-9-]+)=:([A-Za-z0-9+/=]*):")


def expected_digest(digest: Digest, response: AsyncAPIResponse[Any]) -> Expected | None:
    """What the body of *response* must come to."""
    if digest is None or digest is False:
        return None
    if digest is True:
        return _own_digest(response)
    text: Any = digest if isinstance(digest, str) else digest(response)
    if not isinstance(text, str):
        raise TypeError(f"digest gave a {type(text).__name__}, and not a str such as 'sha256:...'")
    return _parse_digest(text)


def _own_digest(response: AsyncAPIResponse[Any]) -> Expected:
    """The digest that the response came with; it is of the bytes that were sent, so not of decoded ones."""
    # Repr-Digest is of the whole representation, and a 206 has only a part of it.
    names = ("Content-Digest",) if response.status == 206 else ("Repr-Digest", "Content-Digest")
    if not is_coded(response):
        for name in names:
            members = dict(_MEMBER.findall(",".join(response.headers.getall(name, ()))))
            for theirs, ours in _ALGORITHMS.items():
                with suppress(binascii.Error, KeyError):
                    return Expected(ours, base64.b64decode(members[theirs], validate=True))
    raise response.validation_error(f"there is no {' or '.join(names)} that its content can be checked by")


def _parse_digest(text: str) -> Expected:
    algorithm, _, value = text.partition(":")
    algorithm = algorithm.strip().lower()
    try:
        size = hashlib.new(algorithm).digest_size
        expected = bytes.fromhex(value)
    except ValueError:
        size, expected = 0, b""
    if size == 0 or len(expected) != size:
        raise InvalidRequestError(
            f"digest must be an algorithm of hashlib, a colon and its digest in hex, not {text[:200]!r}"
        )
    return Expected(algorithm, expected)
