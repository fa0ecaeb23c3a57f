"""The syntax of URLs: characters, parts, and the checks before anything is sent.

The functions work on text, according to RFC 3986. Each error names *what* was refused without quoting it,
because it may contain a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
from yarl import URL

from aioapiclient._patterns import lazily
from aioapiclient._query import percent_encode
from aioapiclient.errors import InvalidRequestError

__all__ = [
    "DEFAULT_PORTS",
    "NOT_VERBATIM",
    "Parts",
    "encode_host",
    "escape_any",
    "escape_header",
    "escape_illegal",
    "escape_zone",
    "is_absolute",
    "normal_authority",
    "refuse_controls",
    "refuse_dot_segments",
    "split_authority",
    "split_url",
    "split_zone",
]

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

is_absolute = re.compile("https?://", re.IGNORECASE).match

# --- characters

_CONTROL = lazily(r"[\x00-\x1f\x7f]")

# Characters that must not occur in a URL that is sent byte for byte. Brackets, braces and quotes are allowed,
# although RFC 3986 forbids some of them: servers send such URLs, and signatures cover them.
NOT_VERBATIM = lazily(r"[^!-\[\]-~]")

# Characters to escape in a URL: those that RFC 3986 forbids everywhere, and a "%" that does not start an
# escape (§2.4). Brackets are kept: clients commonly send `filter[a]=1` bare.
_ILLEGAL = lazily(r'%(?![0-9A-Fa-f]{2})|[^!-~]|["<>\\^`{|}]')

# Header values contain undecodable bytes as surrogates; those bytes are escaped.
escape_header = partial(percent_encode, errors="surrogateescape")
escape_any = partial(percent_encode, errors="replace")


def escape_illegal(text: str, escape: Callable[[str], str] = percent_encode) -> str:
    """Return *text* with illegal characters escaped by *escape*; existing escapes are kept."""
    return _ILLEGAL.sub(lambda match: escape(match[0]), text)


def refuse_controls(text: str, what: str) -> None:
    """Raise `InvalidRequestError` for a control character."""
    if _CONTROL.search(text) is not None:
        raise InvalidRequestError(f"{what} contains a control character")


# --- parts

# RFC 3986 appendix B, with the grammar of schemes (§3.1). It matches every string.
_PARTS = lazily(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<authority>[^/?#]*))?(?P<path>[^?#]*)"
    r"(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)

# Host and port (RFC 3986 §3.2.2, §3.2.3), without escapes in the host, because nothing would decode them.
_HOST_PORT = lazily(
    r"(?P<host>\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?\]|[A-Za-z0-9!$&'()*+,;=._~-]+)(?::(?P<port>[0-9]{1,5}))?"
)


class Parts(msgspec.Struct, frozen=True):
    """The parts of a reference (RFC 3986 §3); None means absent, as opposed to empty."""

    scheme: str | None
    authority: str | None
    path: str
    query: str | None
    fragment: str | None


def split_url(text: str) -> Parts:
    """Return the parts of any text, with the scheme in lower case; never raises."""
    match: Any = _PARTS.fullmatch(text)  # always matches
    scheme, authority, path, query, fragment = match.groups()
    return Parts(None if scheme is None else scheme.lower(), authority, path, query, fragment)


def split_authority(authority: str, what: str) -> tuple[str, int | None]:
    """Check an authority without userinfo, and return its host and port."""
    if "@" in authority:
        raise InvalidRequestError(f"{what} contains userinfo; credentials belong in auth=BasicAuth(...)")
    match = _HOST_PORT.fullmatch(authority)
    if match is None:
        raise InvalidRequestError(f"{what} has no valid host" if authority else f"{what} has no host")
    port = match["port"]
    if port is not None and not 0 < int(port) < 65536:
        raise InvalidRequestError(f"{what} has a port outside 1 to 65535")
    return match["host"], None if port is None else int(port)


# The zone of an IPv6 address: the name or number of a network interface of this machine. In RFC 6874 it is
# written `[fe80::1%25eth0]`, by people and operating systems `[fe80::1%eth0]`. A zone `25` alone is not an
# escape.
_ZONE = lazily(r"%(?:25(?!\]))?(?P<zone>[^\]%]+)\]")


def escape_zone(authority: str) -> str:
    """Return *authority* with an IPv6 zone written as in RFC 6874: ``[fe80::1%25eth0]``."""
    return _ZONE.sub(r"%25\g<zone>]", authority) if "%" in authority else authority


def split_zone(host: str) -> tuple[str, str]:
    """Return the IPv6 address in *host*, ``[fe80::1%25eth0]`` or bare, and its zone; "" for none."""
    address, _, zone = escape_zone(f"[{host.strip('[]')}]")[1:-1].partition("%25")
    return address, zone


def encode_host(authority: str, what: str) -> str:
    """Return *authority* with a host that is not ASCII IDNA-encoded, by yarl."""
    if authority.isascii():
        return authority
    refuse_controls(authority, what)
    try:
        encoded = URL(f"http://{authority}").raw_authority
    except ValueError:
        encoded = ""
    if not encoded.isascii() or not encoded:
        raise InvalidRequestError(f"{what} has no valid host")
    return encoded


def normal_authority(scheme: str, authority: str, what: str) -> str:
    """Return host and port in normal form, for comparison: lower case, no default port."""
    host, port = split_authority(escape_zone(encode_host(authority, what)), what)
    address, percent, zone = host.partition("%")
    host = address.lower() + percent + zone  # interface names are case-sensitive
    return host if port in (None, DEFAULT_PORTS[scheme]) else f"{host}:{port}"


# "." and ".." in every form that servers accept: escaped, mixed, or followed by a path parameter (`..;x`,
# which Java containers strip); and a segment that is only a path parameter.
_DOT_SEGMENT = lazily(r"(?:\A|/)(?:(?:\.|%2e){1,2}(?=[;/]|%3b|\Z)|;|%3b)", re.IGNORECASE)


def refuse_dot_segments(path: str, what: str) -> None:
    """Raise `InvalidRequestError` for a segment that a server may read as ``.`` or ``..``."""
    if _DOT_SEGMENT.search(path) is not None:
        raise InvalidRequestError(f"{what} has a '.' or '..' segment, or one that starts with ';'")
