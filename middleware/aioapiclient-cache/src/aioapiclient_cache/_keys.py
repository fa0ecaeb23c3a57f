"""The key of a request, which keeps two principals apart, and digests of the headers that ``Vary`` names.

No secret gets into a storage. A key has two hashes: one of the URL, by which `Cache.clear` finds it, and one
of the URL with the principal's credentials. The values of request headers are hashed together with the key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Container, Iterable
from functools import lru_cache
from typing import Any, Final

from aioapiclient.contract import APIRequest

__all__ = ["Asked", "Identity", "has_any", "prefix_of", "url_of"]

Identity = Callable[[APIRequest], str | None]

_IDENTITY: Final = "aioapiclient.identity"
_CREDENTIALS: Final = "aioapiclient.credentials"
_NO_NAMES: Final[frozenset[str]] = frozenset()

_PRINCIPAL: Final = re.compile(
    "auth|cookie|credential|jwt|key|passw|secret|session|signature|token"
    "|account|behalf|identity|impersonat|organi[sz]ation|principal|subject|tenant|user"
)
_HARMLESS: Final = frozenset({"idempotency-key", "user-agent"})


@lru_cache(maxsize=1024)
def _tells_who(name: str) -> bool:
    """Return whether a header of this name, in any case, may distinguish principals."""
    name = name.lower()
    return name not in _HARMLESS and _PRINCIPAL.search(name) is not None


def has_any(headers: Container[str], names: Iterable[str]) -> bool:
    """Return whether one of these headers is there."""
    for name in names:  # noqa: SIM110 - twice as fast as any()
        if name in headers:
            return True
    return False


def url_of(url: object) -> str:
    """Return a URL as text, without its fragment, which is never sent."""
    return str(url).partition("#")[0]


@lru_cache(maxsize=1024)
def prefix_of(url: str | None) -> str:
    """Return how the keys of a URL begin, for all principals; for None, how all keys of a cache begin."""
    return "aioapiclient:" if url is None else f"aioapiclient:{_hash(url)[:32]}:"


class Asked:
    """The resource that a request asks for, and its principal.

    Args:
        request: The request of one send. Its headers must not change while this object is in use.
        identity: Returns the principal; if it is None or returns None, the credentials are the principal.
    """

    __slots__ = ("_credential", "_extensions", "_headers", "_named", "_who", "key", "method", "url")

    def __init__(self, request: APIRequest, identity: Identity | None) -> None:
        self.method = request.method
        self.url = url_of(request.url)
        self._headers = request.headers
        self._named = _NO_NAMES
        self._extensions = request.extensions
        self._credential = self._credential_now()
        given: Any = None if identity is None else identity(request)
        if given is not None and not isinstance(given, str):
            raise TypeError(f"identity must return a str or None, not {type(given).__name__}")
        self._who = self._principal(request) if given is None else repr(given)
        if not request.decompress:
            self._who += " as sent"
        self.key = self.key_of(self.url)
        """The key of the storage: hashes of the URL, the principal, and how bodies are returned."""

    def key_of(self, url: str) -> str:
        """Return the key of a URL for the same principal."""
        return prefix_of(url) + _hash(f"{url}\n{self._who}")

    def _principal(self, request: APIRequest) -> str:
        """Return the values that identify the principal: its name, and further credentials."""
        name = request.extensions.get(_IDENTITY)
        of_auth: frozenset[str] = request.extensions.get(_CREDENTIALS, _NO_NAMES)
        if name is not None:
            # A header that the call itself sets is sent instead of the credential's own.
            self._named = frozenset(header for header in of_auth if not request.call_sets(header))
        found = [
            (header.lower(), value)
            for header, value in request.headers.items()
            if (_tells_who(header) or header.lower() in of_auth) and header.lower() not in self._named
        ]
        return repr((name, sorted(found)))

    def check_place(self) -> None:
        """Refuse a response whose request got its credential inside the cache: its principal is not known.

        Raises:
            TypeError: The cache is placed outside of auth.
        """
        if self._credential_now() != self._credential:
            raise TypeError(
                "Cache must be placed inside auth, where it knows the principal: per_send(Cache())"
            )

    def _credential_now(self) -> tuple[Any, Any]:
        return self._extensions.get(_IDENTITY), self._extensions.get(_CREDENTIALS)

    def digests(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Return the digests of the request headers that ``Vary`` names, by name in lower case.

        A missing header has no digest. Neither has a header that the principal's name replaces.
        """
        found: dict[str, list[str]] = {}
        for name in names:
            values = () if name in self._named else self._headers.getall(name, ())
            if values:
                text = ",".join(" ".join(value.split()) for value in values)
                found[name] = [_hash(f"{self.key}\n{name}\n{text}")[:32]]
        return found

    def all_digests(self) -> dict[str, list[str]]:
        """Return the digests of all request headers."""
        return self.digests({name.lower() for name in self._headers})


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
