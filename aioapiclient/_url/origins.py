"""Origins: the origin of a URL, and the origins that may receive credentials."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from yarl import URL

from aioapiclient.errors import InvalidRequestError

from .base import BaseURL, redact_url
from .syntax import DEFAULT_PORTS, normal_authority, split_url

__all__ = ["TrustedOrigins", "is_same_server", "origin_of", "origin_text"]


def origin_of(url: URL) -> tuple[str, str, int]:
    """Return scheme, host in lower case, and port (RFC 6454 §4).

    Raises:
        InvalidRequestError: One of them is missing.
    """
    try:
        host, port = url.raw_host, url.port
    except ValueError:
        host = port = None
    if not host or port is None:
        raise InvalidRequestError("the URL has no origin: it has no host, or its scheme has no port")
    return url.scheme, host.lower(), port


def origin_text(url: URL) -> str:
    """Return the origin as text, such as ``https://api.example.com``; ``://`` for a URL without an origin.

    It has no default port (RFC 6454 §6.2). Two URLs have the same text if `origin_of` returns the same.
    """
    authority = url.raw_authority
    # A password is kept in no cache.
    return _text_of(url) if "@" in authority else _known_text(url.scheme, authority)


# Most calls of a client go to one server.
@lru_cache(maxsize=64)
def _known_text(scheme: str, authority: str) -> str:
    return _text_of(URL.build(scheme=scheme, authority=authority, encoded=True))


def _text_of(url: URL) -> str:
    try:
        scheme, host, port = origin_of(url)
    except InvalidRequestError:
        return "://"
    if ":" in host:
        host = f"[{host}]"
    return f"{scheme}://{host}" if port == DEFAULT_PORTS.get(scheme) else f"{scheme}://{host}:{port}"


def is_same_server(url: URL, other: URL) -> bool:
    """Return whether *url* has the origin of *other*, or upgrades it to https on the default ports.

    Raises:
        InvalidRequestError: A URL has no origin.
    """
    origin = origin_of(url)
    return origin_of(other) in (origin, _before_upgrade(origin))


def _before_upgrade(origin: tuple[str, str, int]) -> tuple[str, str, int]:
    """Return the http origin from which an upgrade may lead to *origin*, or else *origin* itself."""
    scheme, host, port = origin
    return ("http", host, 80) if scheme == "https" and port == 443 else origin


class TrustedOrigins:
    """The origins that may receive credentials: that of the base URL, and those that match a pattern.

    A pattern is ``scheme://host`` or ``scheme://host:port``. A host may start with ``*.``, which matches one
    or more labels: ``https://*.example.com`` matches ``a.example.com`` and ``a.b.example.com``, but neither
    ``example.com`` nor ``evilexample.com``. Scheme and port must match. A host with a trailing dot is another
    host.

    If ``http`` on port 80 is trusted, ``https`` on port 443 of the same host is trusted too, because it is
    the same server with better protection. The reverse is never trusted.

    Args:
        base_url: The base URL of the client.
        patterns: The patterns of other origins.

    Raises:
        InvalidRequestError: A pattern is not valid.
        TypeError: *patterns* is a str, or an item is not a str.
    """

    __slots__ = ("_exact", "_suffixes")

    def __init__(self, base_url: BaseURL, patterns: Iterable[str] = ()) -> None:
        if isinstance(patterns, str):
            raise TypeError("trusted_origins must be an iterable of patterns, not one str")
        parsed = [_parse_pattern(pattern) for pattern in patterns]
        exact = {origin for wildcard, origin in parsed if not wildcard}
        self._exact = frozenset(exact | {origin_of(base_url.url)})
        self._suffixes = tuple(
            (scheme, f".{host}", port) for wildcard, (scheme, host, port) in parsed if wildcard
        )

    def trusts(self, url: URL) -> bool:
        """Return whether the origin of *url* is trusted; False for a URL without an origin."""
        try:
            origin = origin_of(url)
        except InvalidRequestError:
            return False
        return self._includes(origin) or self._includes(_before_upgrade(origin))

    def _includes(self, origin: tuple[str, str, int]) -> bool:
        return origin in self._exact or any(_has_suffix(origin, suffix) for suffix in self._suffixes)


def _has_suffix(origin: tuple[str, str, int], suffix: tuple[str, str, int]) -> bool:
    scheme, host, port = origin
    return (
        scheme == suffix[0] and port == suffix[2] and host.endswith(suffix[1]) and len(host) > len(suffix[1])
    )


def _parse_pattern(pattern: str) -> tuple[bool, tuple[str, str, int]]:
    """Return whether the pattern starts with ``*.``, and the origin after it."""
    if not isinstance(pattern, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"trusted_origins must contain str, not {type(pattern).__name__}")
    what = f"the trusted origin {redact_url(pattern)!r}"
    parts = split_url(pattern)
    if parts.scheme not in DEFAULT_PORTS or not parts.authority:
        raise InvalidRequestError(f"{what} must be http:// or https:// and a host")
    if parts.path or parts.query is not None or parts.fragment is not None:
        raise InvalidRequestError(f"{what} must end with its host or port: an origin has no path")
    wildcard = parts.authority.startswith("*.")
    authority = parts.authority[2:] if wildcard else parts.authority
    if "*" in authority:
        raise InvalidRequestError(
            f"{what}: a '*' may only stand for whole labels at the start, as in https://*.host"
        )
    normal = normal_authority(parts.scheme, authority, what)
    return wildcard, origin_of(URL.build(scheme=parts.scheme, authority=normal, path="/", encoded=True))
