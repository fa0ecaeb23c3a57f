"""What a URL is made of: its characters, its parts, and what is refused in them before anything is sent.

Everything here works on text, and by RFC 3986; what a caller means by a URL is known elsewhere. Each
refusal names *what* was refused, and repeats none of it: there may be a password in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from yarl import URL

from aioapiclient._patterns import lazily
from aioapiclient._query import UNRESERVED, percent_encoder
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

# What may not stand in a URL that is sent byte for byte. Brackets, braces and quotes may, though
# RFC 3986 has no place for some of them: servers hand out such URLs, and signatures cover them.
NOT_VERBATIM = lazily(r"[^!-\[\]-~]")

# What is escaped in text that somebody wrote as a URL: what RFC 3986 refuses anywhere, and a "%" that
# starts no escape (§2.4: it must be "%25" then). Brackets stay: `filter[a]=1` is sent bare by everybody.
_ILLEGAL = lazily(r'%(?![0-9A-Fa-f]{2})|[^!-~]|["<>\\^`{|}]')

_escape_strict = percent_encoder(UNRESERVED)
# Header values reach us with their undecodable bytes as surrogates; those bytes are what is escaped.
escape_header = percent_encoder(UNRESERVED, errors="surrogateescape")
escape_any = percent_encoder(UNRESERVED, errors="replace")


def escape_illegal(text: str, escape: Callable[[str], str] = _escape_strict) -> str:
    """*text* with what no URL may hold escaped by *escape*; escapes that are there stay."""
    return _ILLEGAL.sub(lambda match: escape(match[0]), text)


def refuse_controls(text: str, what: str) -> None:
    """Raise `InvalidRequestError` for a control character."""
    if _CONTROL.search(text) is not None:
        raise InvalidRequestError(f"{what} holds a control character")


# --- parts

# RFC 3986 appendix B, with the scheme held to its grammar (§3.1). It matches every string.
_PARTS = lazily(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<authority>[^/?#]*))?(?P<path>[^?#]*)"
    r"(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)

# Host and port (RFC 3986 §3.2.2, §3.2.3), but without escapes in the host: nothing before DNS decodes them.
_HOST_PORT = lazily(
    r"(?P<host>\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?\]|[A-Za-z0-9!$&'()*+,;=._~-]+)(?::(?P<port>[0-9]{1,5}))?"
)


class Parts(NamedTuple):
    """A reference taken apart (RFC 3986 §3); None is a part that is not there, which is not an empty one."""

    scheme: str | None
    authority: str | None
    path: str
    query: str | None
    fragment: str | None


def split_url(text: str) -> Parts:
    """Take any text apart, with its scheme in lower case; never raises."""
    match: Any = _PARTS.fullmatch(text)  # every text matches
    scheme, authority, path, query, fragment = match.groups()
    return Parts(None if scheme is None else scheme.lower(), authority, path, query, fragment)


def split_authority(authority: str, what: str) -> tuple[str, int | None]:
    """Host and port of an authority that has nothing else; both are held to their grammar."""
    if "@" in authority:
        raise InvalidRequestError(f"{what} holds userinfo; credentials belong in auth=BasicAuth(...)")
    match = _HOST_PORT.fullmatch(authority)
    if match is None:
        raise InvalidRequestError(f"{what} names no valid host" if authority else f"{what} names no host")
    port = match["port"]
    if port is not None and not 0 < int(port) < 65536:
        raise InvalidRequestError(f"{what} has a port outside 1 to 65535")
    return match["host"], None if port is None else int(port)


# The zone of an IPv6 address: the name or number of a network interface of this machine. RFC 6874 writes
# `[fe80::1%25eth0]`, people and operating systems `[fe80::1%eth0]`. A zone that is all of `25` is no escape.
_ZONE = lazily(r"%(?:25(?!\]))?(?P<zone>[^\]%]+)\]")


def escape_zone(authority: str) -> str:
    """Return *authority* with an IPv6 zone written as RFC 6874 has it: ``[fe80::1%25eth0]``."""
    return _ZONE.sub(r"%25\g<zone>]", authority) if "%" in authority else authority


def split_zone(host: str) -> tuple[str, str]:
    """Return the IPv6 address in *host*, ``[fe80::1%25eth0]`` or bare, and its zone; "" for none."""
    address, _, zone = escape_zone(f"[{host.strip('[]')}]")[1:-1].partition("%25")
    return address, zone


def encode_host(authority: str, what: str) -> str:
    """*authority* with a host that is not ASCII in its IDNA form, as yarl makes it."""
    if authority.isascii():
        return authority
    refuse_controls(authority, what)
    try:
        encoded = URL(f"http://{authority}").raw_authority
    except ValueError:
        encoded = ""
    if not encoded.isascii() or not encoded:
        raise InvalidRequestError(f"{what} names no valid host")
    return encoded


def normal_authority(scheme: str, authority: str, what: str) -> str:
    """Host and port in the one spelling that origins are compared in: lower case, no default port."""
    host, port = split_authority(escape_zone(encode_host(authority, what)), what)
    address, percent, zone = host.partition("%")
    host = address.lower() + percent + zone  # names of interfaces differ in case
    return host if port in (None, DEFAULT_PORTS[scheme]) else f"{host}:{port}"


# "." and ".." in all the ways that servers read as such: escaped, mixed, or with a path parameter behind
# (`..;x`, which Java containers strip); and a segment that is nothing but a path parameter.
_DOT_SEGMENT = lazily(r"(?:\A|/)(?:(?:\.|%2e){1,2}(?=[;/]|%3b|\Z)|;|%3b)", re.IGNORECASE)


def refuse_dot_segments(path: str, what: str) -> None:
    """Raise `InvalidRequestError` for a segment that a server may take for ``.`` or ``..``."""
    if _DOT_SEGMENT.search(path) is not None:
        raise InvalidRequestError(f"{what} has a '.' or '..' segment, or one that starts with ';'")
