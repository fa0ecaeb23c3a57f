"""URLs: combine a base and a path, check absolute URLs, resolve references.

The result is a ``yarl.URL`` built from encoded parts, so that yarl does not re-quote or normalise it: ``%2F``
stays ``%2F``. It contains no control character, space or non-ASCII character, and no path escapes the base
path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from yarl import URL

from aioapiclient._bounded import BoundedDict
from aioapiclient._patterns import lazily
from aioapiclient._query import (
    DEFAULT_STYLE,
    QueryStyle,
    QueryValues,
    append_query,
    encode_pairs,
    flatten,
    iter_items,
    merge_params,
)
from aioapiclient._types import NOT_GIVEN
from aioapiclient.errors import InvalidRequestError

from .syntax import (
    DEFAULT_PORTS,
    NOT_VERBATIM,
    encode_host,
    escape_any,
    escape_header,
    escape_illegal,
    escape_zone,
    is_absolute,
    normal_authority,
    refuse_controls,
    refuse_dot_segments,
    split_authority,
    split_url,
)
from .template import CACHED_PATHS, fill_template, parse_template

__all__ = [
    "BaseURL",
    "append_params",
    "check_url",
    "redact_url",
    "resolve_reference",
    "without_fragment",
    "without_userinfo",
]


# --- the base URL


class BaseURL:
    """The base of a client's relative paths: parsed once, it builds the URL of every call.

    The path of the base is always kept: with ``https://h/v1`` and with ``https://h/v1/``, both ``users`` and
    ``/users`` are ``/v1/users``. An empty path is the base path itself.

    Args:
        base_url: An ``http`` or ``https`` URL with a host; a host that is not ASCII is IDNA-encoded.

    Raises:
        InvalidRequestError: *base_url* contains userinfo, a query, a fragment, a brace, a ``.`` or ``..``
            segment, a control character, a space or a backslash.
        TypeError: *base_url* is neither a str nor a URL.
    """

    __slots__ = ("_bare", "_cache", "_prefix", "authority", "scheme", "url")

    scheme: str
    """``http`` or ``https``."""

    authority: str
    """Host and port, in lower case and without a default port."""

    url: URL
    """The base URL itself."""

    def __init__(self, base_url: str | URL) -> None:
        if not isinstance(base_url, str | URL):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"base_url must be a str or a URL, not {type(base_url).__name__}")
        text = _text_of(base_url)
        if re.search(r"[\x00-\x20\x7f\\{}]", text) is not None:
            raise InvalidRequestError(
                f"base_url contains a space, a control character, a backslash or a brace: {_shown_base(text)}"
            )
        parts = split_url(text)
        if parts.scheme not in DEFAULT_PORTS or parts.authority is None:
            raise InvalidRequestError(
                f"base_url must start with http:// or https://, not be {_shown_base(text)}"
            )
        if parts.query is not None or parts.fragment is not None:
            raise InvalidRequestError(
                f"base_url {_shown_base(text)} has a query or a fragment; use default_params for a query"
            )
        refuse_dot_segments(parts.path, "base_url")
        self.scheme = parts.scheme
        self.authority = normal_authority(parts.scheme, parts.authority, "base_url")
        path = escape_illegal(parts.path)
        self._prefix = path.rstrip("/")
        self._bare = path if self._prefix else "/"
        self._cache: BoundedDict[str | URL, URL] = BoundedDict(CACHED_PATHS)
        self.url = self._make(self._bare, "")

    def __repr__(self) -> str:
        return f"BaseURL({str(self.url)!r})"

    def build(
        self,
        path: str | URL,
        path_params: Mapping[str, Any] | None = None,
        params: QueryValues | None = None,
        *,
        default_params: QueryValues | None = None,
        style: QueryStyle = DEFAULT_STYLE,
    ) -> URL:
        """Return the URL of one call.

        A relative *path* lies under the base path. Each ``{name}`` is replaced by a value of *path_params*,
        percent-encoded as one segment (all but the unreserved characters, RFC 6570 §3.2.2). ``{+name}``
        keeps slashes and the other characters of a path, but ``%`` is escaped there too. Escapes in *path*
        are kept byte for byte; characters that RFC 3986 refuses are escaped, a lone ``%`` as ``%25``. The
        layers of the query are *default_params*, the query in *path* (kept byte for byte), and *params*; a
        name in a later layer replaces all its values in earlier ones, and `OMIT` removes it.

        An absolute ``http`` or ``https`` URL is kept byte for byte, except its fragment; *params* are
        appended, *default_params* are not. It is a template only if *path_params* are given. A relative
        `URL` object is never a template.

        Raises:
            InvalidRequestError: A name is missing or unused, a value is empty, or the path has a ``.`` or
                ``..`` segment (also escaped), a fragment, a ``//host``, another scheme, a backslash or a
                control character.
            TypeError: A value is not a scalar.
        """
        plain = not path_params and not params and not default_params
        if plain:
            url = self._cache.get(path)
            if url is not None:
                return url
        if not isinstance(path, str):
            return self._build_from_url(path, path_params, params, default_params, style)
        if is_absolute(path) is not None:
            return _build_absolute(path, path_params, params, style)
        own_path, _, query = fill_template(parse_template(path), path_params or {}).partition("?")
        if params or default_params:
            query = _merge_query(query, params, default_params, style)
        url = self._make(self._under(own_path), query)
        if plain:
            self._cache[path] = url
        return url

    def _build_from_url(
        self,
        path: URL,
        path_params: Mapping[str, Any] | None,
        params: QueryValues | None,
        default_params: QueryValues | None,
        style: QueryStyle,
    ) -> URL:
        if not isinstance(path, URL):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"path must be a str or a URL, not {type(path).__name__}")
        if path.scheme or path.raw_authority:
            return _build_absolute(str(path), path_params, params, style)
        if path_params:
            raise InvalidRequestError("path_params need a path given as a str, not as a URL object")
        own_path, query = path.raw_path, path.raw_query_string
        if (
            path.raw_fragment
            or NOT_VERBATIM.search(own_path + query) is not None
            or own_path.startswith("//")
        ):
            raise InvalidRequestError(
                "the path contains a fragment, '//', or a character that cannot be sent"
            )
        refuse_dot_segments(own_path, "the path")
        if params or default_params:
            query = _merge_query(query, params, default_params, style)
        return self._make(self._under(own_path), query)

    def _under(self, path: str) -> str:
        if not path:
            return self._bare
        if path[0] != "/":
            return f"{self._prefix}/{path}"
        # Only values can cause this, because a template with '//' is refused earlier.
        if path.startswith("//"):
            raise InvalidRequestError("the path, with path_params filled in, starts with '//'")
        return self._prefix + path

    def _make(self, path: str, query: str) -> URL:
        # Half the cost of URL(text, encoded=True), which would parse the text.
        return URL.build(
            scheme=self.scheme, authority=self.authority, path=path, query_string=query, encoded=True
        )


def _shown_base(text: str) -> str:
    """Return a refused base URL for the message, without possible secrets."""
    bare = text.partition("?")[0].partition("#")[0]
    before, at, after = bare.rpartition("@")
    scheme, separator, _ = before.partition("://")
    shown = f"{scheme}{separator}...@{after}" if at and separator else f"...@{after}" if at else bare
    return repr(shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}...")


def _build_absolute(
    text: str, path_params: Mapping[str, Any] | None, params: QueryValues | None, style: QueryStyle
) -> URL:
    url = check_url(text)
    if path_params:
        rest = text.partition("://")[2]
        start: Any = re.search(r"[/?#]|\Z", rest)  # always matches: every text has an end
        path, _, query = fill_template(parse_template(rest[start.start() :]), path_params).partition("?")
        url = URL.build(
            scheme=url.scheme, authority=url.raw_authority, path=path or "/", query_string=query, encoded=True
        )
    return append_params(url, params, style) if params else url


def _merge_query(
    query: str, params: QueryValues | None, default_params: QueryValues | None, style: QueryStyle
) -> str:
    """Return the query of a path merged with the two other layers."""
    if not query:
        values = (
            merge_params(default_params, params) if default_params and params else params or default_params
        )
        return encode_pairs(flatten(values or (), style))
    call = list(iter_items(params or ()))
    pairs = flatten(call, style)
    # A name in *params* replaces the same name in the path, as given and as flattened.
    named = {str(name) for name, value in call if value is not NOT_GIVEN}.union(name for name, _ in pairs)
    own = [pair for pair in query.split("&") if _pair_name(pair) not in named]
    taken = named.union(map(_pair_name, own))
    lower = [
        pair
        for name, value in iter_items(default_params or ())
        if str(name) not in taken
        for pair in flatten([(name, value)], style)
        if pair[0] not in taken
    ]
    return append_query("&".join(own), encode_pairs(lower + pairs))


def _pair_name(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0])


# --- absolute URLs


def check_url(url: str | URL) -> URL:
    """Return an absolute ``http`` or ``https`` URL byte for byte, without its fragment.

    An IPv6 zone is written as in RFC 6874, ``[fe80::1%25eth0]``; it is not sent either.

    Raises:
        InvalidRequestError: *url* has another scheme, no host, userinfo, a port out of range, a control
            character, a space, a backslash or a non-ASCII character.
        TypeError: *url* is neither a str nor a URL.
    """
    if not isinstance(url, str | URL):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"url must be a str or a URL, not {type(url).__name__}")
    text = _text_of(url)
    if NOT_VERBATIM.search(text) is not None:
        raise InvalidRequestError(
            "the URL contains a control character, a space, a backslash or a non-ASCII character"
        )
    parts = split_url(text)
    if parts.scheme not in DEFAULT_PORTS or parts.authority is None:
        raise InvalidRequestError("the URL must start with http:// or https://")
    split_authority(parts.authority, "the URL")
    return URL.build(
        scheme=parts.scheme,
        authority=escape_zone(parts.authority),
        path=parts.path or "/",
        query_string=parts.query or "",
        encoded=True,
    )


def _text_of(url: str | URL) -> str:
    try:
        return str(url)
    except ValueError:  # With encoded=True yarl checks the port only here.
        return f"{url.scheme}://{url.raw_authority}{url.raw_path}" if isinstance(url, URL) else ""


def append_params(url: URL, params: QueryValues | None, style: QueryStyle = DEFAULT_STYLE) -> URL:
    """Return *url* with *params* after its own query, which is kept byte for byte; the fragment is removed.

    Raises what `flatten` raises.
    """
    more = encode_pairs(flatten(params, style)) if params else ""
    return _replace(url, query=append_query(url.raw_query_string, more)) if more else without_fragment(url)


def without_userinfo(url: URL) -> URL:
    """Return *url* without user, password and fragment."""
    authority = url.raw_authority
    return (
        _replace(url, authority=authority.rpartition("@")[2]) if "@" in authority else without_fragment(url)
    )


def without_fragment(url: URL) -> URL:
    """Return *url* as it is sent, without its fragment (RFC 9110 §4.2.5)."""
    return _replace(url) if url.raw_fragment else url


def _replace(url: URL, *, authority: str | None = None, query: str | None = None) -> URL:
    return URL.build(
        scheme=url.scheme,
        authority=url.raw_authority if authority is None else authority,
        path=url.raw_path,
        query_string=url.raw_query_string if query is None else query,
        encoded=True,
    )


def redact_url(url: URL | str) -> str:
    """Return scheme, host, port and path for messages and logs: no userinfo, ``?...`` for a query.

    Never raises, whatever the string. Characters that could break a log line are escaped.
    """
    parts = split_url(_text_of(url))
    shown = escape_illegal(parts.path, escape_any)
    host = (parts.authority or "").rpartition("@")[2]
    if (parts.scheme is not None and not host and "@" in parts.path) or _has_no_port(host):
        # In a malformed URL (`https:/user:password@host`, `https://user:pass/word@host`), userinfo may be
        # anywhere.
        shown = "..."
    elif parts.authority is not None:
        shown = f"//{escape_illegal(host, escape_any)}{shown}"
    if len(shown) > _LONGEST_SHOWN:
        shown = shown[:_LONGEST_SHOWN] + "..."
    return f"{parts.scheme + ':' if parts.scheme else ''}{shown}{'' if parts.query is None else '?...'}"


_LONGEST_SHOWN = 1000  # characters; a redirect to a path of 32 KiB must not fill the logs


def _has_no_port(host: str) -> bool:
    """Return whether the text after a colon in *host* is not a port, and may be a password."""
    _, colon, port = host.rpartition(":")
    return bool(colon) and not host.endswith("]") and not (port.isascii() and port.isdigit())


# --- references


def resolve_reference(base: URL, reference: str) -> URL:
    """Return *reference*, of a Location or Link header, resolved against *base* (RFC 3986 §5.2, strict).

    It is kept byte for byte, except that characters that RFC 3986 forbids are escaped, and a host that is not
    ASCII is IDNA-encoded. The result may have any scheme, userinfo and a fragment: `check_url` decides
    whether it may be sent.

    Raises:
        InvalidRequestError: *reference* contains a control character, or its host is not valid.
    """
    reference = reference.strip(" \t")
    refuse_controls(reference, "the reference")
    parts = split_url(_escape_reference(reference))
    scheme, authority, path, query = parts.scheme, parts.authority, parts.path, parts.query
    if scheme is None:
        scheme = base.scheme
        if authority is None:
            authority = base.raw_authority
            if not path:
                query = base.raw_query_string if query is None else query
                path = base.raw_path
            elif not path.startswith("/"):
                path = base.raw_path.rpartition("/")[0] + "/" + path
    return URL.build(
        scheme=scheme,
        authority=authority or "",
        path=_remove_dot_segments(path),
        query_string=query or "",
        fragment=parts.fragment or "",
        encoded=True,
    )


def _escape_reference(reference: str) -> str:
    """Return *reference* with illegal characters escaped, except in the host, which is IDNA-encoded."""
    parts = split_url(reference)
    scheme, authority = parts.scheme, parts.authority
    if authority is None or scheme not in (None, "http", "https"):
        return escape_illegal(reference, escape_header)
    if "\\" in authority:  # Browsers end the host there; other parsers may find another host.
        raise InvalidRequestError("the reference has a backslash in its host")
    start = 2 if scheme is None else len(scheme) + 3
    userinfo, at, host = authority.rpartition("@")
    host = encode_host(host, "the reference")
    split_authority(host, "the reference")
    before = escape_illegal(reference[:start] + userinfo + at, escape_header)
    return before + host + escape_illegal(reference[start + len(authority) :], escape_header)


_DOTS = lazily(r"/\.{1,2}(?:/|\Z)")


def _remove_dot_segments(path: str) -> str:
    """Apply RFC 3986 §5.2.4; a path without a leading slash (``mailto:``) has no segments."""
    if not path.startswith("/") or _DOTS.search(path) is None:
        return path
    segments = path.split("/")
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[max(1, len(kept) - 1) :]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)
