"""URLs: base and path into the URL that is sent, references resolved, origins compared.

What leaves here is a ``yarl.URL`` that was put together already encoded, so that yarl re-quotes and
normalises nothing: ``%2F`` stays ``%2F``. Nothing leaves with a control character, a space or a
non-ASCII character in it, and no path leaves the base path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, unquote_plus

from yarl import URL

from ._query import (
    DEFAULT_STYLE,
    UNRESERVED,
    QueryStyle,
    QueryValues,
    append_query,
    encode_pairs,
    flatten,
    iter_items,
    merge_params,
    percent_encoder,
    scalar_text,
)
from ._types import NOT_GIVEN, OMIT
from .errors import InvalidRequestError

__all__ = [
    "BaseURL",
    "Link",
    "TrustedOrigins",
    "append_params",
    "check_url",
    "iter_links",
    "origin_of",
    "parse_links",
    "redact_url",
    "resolve_reference",
    "template_of",
    "without_fragment",
    "without_userinfo",
]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

# A client has a few dozen paths; paths with ids put in by hand must not grow the cache for ever.
_CACHED_PATHS: Final = 512

# --- characters ---------------------------------------------------------------------------------

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# What may not stand in a URL that is sent byte for byte. Brackets, braces and quotes may, though
# RFC 3986 has no place for some of them: servers hand out such URLs, and signatures cover them.
_NOT_VERBATIM = re.compile(r"[^!-\[\]-~]")

# What is escaped in text that somebody wrote as a URL: what RFC 3986 refuses anywhere, and a "%" that
# starts no escape (§2.4: it must be "%25" then). Brackets stay: `filter[a]=1` is sent bare by everybody.
_ILLEGAL = re.compile(r'%(?![0-9A-Fa-f]{2})|[^!-~]|["<>\\^`{|}]')

_escape_strict = percent_encoder(UNRESERVED)
# Header values reach us with their undecodable bytes as surrogates; those bytes are what is escaped.
_escape_header = percent_encoder(UNRESERVED, errors="surrogateescape")
_escape_any = percent_encoder(UNRESERVED, errors="replace")


def _escape_illegal(text: str, escape: Callable[[str], str] = _escape_strict) -> str:
    return _ILLEGAL.sub(lambda match: escape(match[0]), text)


def _refuse_controls(text: str, what: str) -> None:
    if _CONTROL.search(text) is not None:
        raise InvalidRequestError(f"{what} holds a control character")


# --- parts --------------------------------------------------------------------------------------

# RFC 3986 appendix B, with the scheme held to its grammar (§3.1). It matches every string.
_PARTS = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<authority>[^/?#]*))?(?P<path>[^?#]*)"
    r"(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)

# Host and port (RFC 3986 §3.2.2, §3.2.3), but without escapes in the host: nothing before DNS decodes them.
_HOST_PORT = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]+)?\]|[A-Za-z0-9!$&'()*+,;=._~-]+)(?::(?P<port>[0-9]{1,5}))?"
)


class _Parts(NamedTuple):
    """A reference taken apart (RFC 3986 §3); None is a part that is not there, which is not an empty one."""

    scheme: str | None
    authority: str | None
    path: str
    query: str | None
    fragment: str | None


def _split(text: str) -> _Parts:
    match = _PARTS.fullmatch(text)
    assert match is not None
    scheme, authority, path, query, fragment = match.groups()
    return _Parts(None if scheme is None else scheme.lower(), authority, path, query, fragment)


def _split_authority(authority: str, what: str) -> tuple[str, int | None]:
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


def _encode_host(authority: str, what: str) -> str:
    """*authority* with a host that is not ASCII in its IDNA form, as yarl makes it."""
    if authority.isascii():
        return authority
    _refuse_controls(authority, what)
    try:
        encoded = URL(f"http://{authority}").raw_authority
    except ValueError:
        encoded = ""
    if not encoded.isascii() or not encoded:
        raise InvalidRequestError(f"{what} names no valid host")
    return encoded


def _normal_authority(scheme: str, authority: str, what: str) -> str:
    """Host and port in the one spelling that origins are compared in: lower case, no default port."""
    host, port = _split_authority(_encode_host(authority, what), what)
    host = host.lower()
    return host if port in (None, _DEFAULT_PORTS[scheme]) else f"{host}:{port}"


# "." and ".." in all the ways that servers read as such: escaped, mixed, or with a path parameter behind
# (`..;x`, which Java containers strip); and a segment that is nothing but a path parameter.
_DOT_SEGMENT = re.compile(r"(?:\A|/)(?:(?:\.|%2e){1,2}(?=[;/]|%3b|\Z)|;|%3b)", re.IGNORECASE)


def _refuse_dot_segments(path: str, what: str) -> None:
    if _DOT_SEGMENT.search(path) is not None:
        raise InvalidRequestError(f"{what} has a '.' or '..' segment, or one that starts with ';'")


# --- templates ----------------------------------------------------------------------------------

_is_absolute = re.compile("https?://", re.IGNORECASE).match
# Other schemes, and a URL of ours gone wrong. `documents:export` is a path like any other.
_looks_like_url = re.compile(r"[a-z][a-z0-9+.-]*://|https?:|javascript:", re.IGNORECASE).match

_NAME = re.compile(r"\w+(?:[.-]\w+)*")

_encode_segment = percent_encoder(UNRESERVED)
# Everything that a path may hold (RFC 3986 §3.3) but "%", which is data here.
_encode_segments = percent_encoder(UNRESERVED + "/!$&'()*+,;=:@")
# The same for a query, without what delimits pairs, and without "+", which many servers read as a space.
_encode_query_text = percent_encoder(UNRESERVED + "/?!$'()*,:@")


class _Place(NamedTuple):
    """One ``{name}`` of a template, and the literal text up to the next."""

    name: str
    encode: Callable[[str], str]
    in_path: bool
    literal: str


class _Template(NamedTuple):
    """A path as it was written, ready to be filled."""

    head: str
    places: tuple[_Place, ...]
    names: frozenset[str]


@lru_cache(_CACHED_PATHS)
def _parse_template(path: str) -> _Template:
    """Take *path* apart at its ``{name}`` places; what nobody may write in a path is refused here."""
    _refuse_controls(path, "the path")
    if path.startswith("//"):
        raise InvalidRequestError("a path that starts with '//' looks like another host; write one '/'")
    if _looks_like_url(path) is not None:
        raise InvalidRequestError("the path looks like a URL that is neither http:// nor https://")
    head, *rest = path.split("{")
    _check_literal(head, in_path=True)
    places: list[_Place] = []
    in_path = "?" not in head
    for piece in rest:
        expression, closed, literal = piece.partition("}")
        if not closed:
            raise InvalidRequestError("a '{' in the path is never closed; write a literal one as %7B")
        _check_literal(literal, in_path)
        places.append(_parse_place(expression, in_path, _escape_illegal(literal)))
        in_path = in_path and "?" not in literal
    template = _Template(_escape_illegal(head), tuple(places), frozenset(place.name for place in places))
    # A value is never empty, so that an "x" stands for the one that makes the least trouble.
    sample = template.head + "".join(["x" + place.literal for place in places])
    _refuse_dot_segments(sample.partition("?")[0], "the path")
    return template


def _check_literal(literal: str, in_path: bool) -> None:
    if "}" in literal:
        raise InvalidRequestError("a '}' in the path was never opened; write a literal one as %7D")
    if "#" in literal:
        raise InvalidRequestError(
            "the path holds a fragment, which is never sent; write a literal '#' as %23"
        )
    if in_path and "\\" in literal.partition("?")[0]:
        raise InvalidRequestError("the path holds a backslash; write '/', or %5C for a literal one")


def _parse_place(expression: str, in_path: bool, literal: str) -> _Place:
    keeps_slashes = expression.startswith("+")
    name = expression.removeprefix("+")
    if _NAME.fullmatch(name) is None:
        raise InvalidRequestError(f"{{{expression}}} in the path is neither {{name}} nor {{+name}}")
    if not keeps_slashes:
        return _Place(name, _encode_segment, in_path, literal)
    return _Place(name, _encode_segments if in_path else _encode_query_text, in_path, literal)


def _fill(template: _Template, values: Mapping[str, Any]) -> str:
    """The template with every place filled: a path, and maybe ``?`` and a query."""
    if len(values) != len(template.names):
        raise _wrong_names(template, values)
    filled = template.head
    risky = False
    for name, encode, in_path, literal in template.places:
        try:
            value = values[name]
        except KeyError:
            raise _wrong_names(template, values) from None
        text = value if type(value) is str else _place_text(name, value)
        if in_path:
            if not text:
                raise InvalidRequestError(f"path_params[{name!r}] is empty")
            # Only a dot or a semicolon can make a segment that means something else.
            risky = risky or "." in text or ";" in text
        filled += encode(text) + literal
    if risky:
        _refuse_dot_segments(filled.partition("?")[0], "the path, with path_params filled in,")
    return filled


def _wrong_names(template: _Template, values: Mapping[str, Any]) -> InvalidRequestError:
    missing = sorted(template.names.difference(values))
    unused = sorted({str(name) for name in values}.difference(template.names))
    parts = [f"missing {', '.join(missing)}"] if missing else []
    parts += [f"unused {', '.join(unused)}"] if unused else []
    return InvalidRequestError(f"path_params and the names in the path differ: {'; '.join(parts)}")


def _place_text(name: str, value: object) -> str:
    if value is None or value is OMIT or value is NOT_GIVEN:
        raise InvalidRequestError(f"path_params[{name!r}] is {value!r}; a path needs a value")
    text = str(value) if type(value) is int else scalar_text(value, name)
    if text is None:
        raise TypeError(f"path_params[{name!r}] must be a scalar, not {type(value).__name__}")
    return text


def template_of(path: str | URL) -> str | None:
    """*path* as it was written, without its query: low in cardinality, for metrics.

    None for an absolute URL: it is sent as it came, and has no end of values.
    """
    text = path if isinstance(path, str) else str(path)
    return None if _is_absolute(text) else text.partition("?")[0]


# --- the base URL -------------------------------------------------------------------------------


class BaseURL:
    """Where a client's relative paths lead: parsed once, it makes the URL of every call.

    *base_url* is ``http`` or ``https`` with a host; a host that is not ASCII is IDNA-encoded. Its path
    is kept whatever the slashes: under ``https://h/v1`` and ``https://h/v1/`` alike, ``users`` and
    ``/users`` are ``/v1/users``; an empty path is the base path itself.

    Raises `InvalidRequestError` for userinfo, a query, a fragment, braces, ``.`` and ``..`` segments,
    control characters, spaces and backslashes, and `TypeError` for what is neither str nor URL.
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
            raise InvalidRequestError("base_url holds a space, a control character, a backslash or a brace")
        parts = _split(text)
        if parts.scheme not in _DEFAULT_PORTS or parts.authority is None:
            raise InvalidRequestError("base_url must start with http:// or https://")
        if parts.query is not None or parts.fragment is not None:
            raise InvalidRequestError("base_url has a query or a fragment; use default_params for a query")
        _refuse_dot_segments(parts.path, "base_url")
        self.scheme = parts.scheme
        self.authority = _normal_authority(parts.scheme, parts.authority, "base_url")
        path = _escape_illegal(parts.path)
        self._prefix = path.rstrip("/")
        self._bare = path if self._prefix else "/"
        self._cache: dict[str | URL, URL] = {}
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
        """The URL of one call.

        A relative *path* lies under the base path. Each ``{name}`` is filled from *path_params*,
        percent-encoded as one segment (everything but the unreserved characters, RFC 6570 §3.2.2);
        ``{+name}`` keeps slashes and what else a path may hold, but ``%`` is data there too. Escapes
        that are in *path* survive byte for byte; what RFC 3986 refuses is escaped, a lone ``%`` as
        ``%25``. Layers of the query: *default_params*, then the query in *path* (kept byte for byte), then
        *params*; a name in a later layer replaces all of it in the earlier ones, and `OMIT` removes.

        An absolute ``http`` or ``https`` URL is taken byte for byte, but for its fragment; *params* are
        appended, *default_params* are not. It is a template only when *path_params* are given. A
        relative `URL` object is a path that is never a template.

        Raises `InvalidRequestError` for names that are missing or unused, empty values, ``.`` and ``..``
        segments (escaped ones too), fragments, ``//host``, other schemes, backslashes and control
        characters, and `TypeError` for values that are no scalars.
        """
        plain = not path_params and not params and not default_params
        if plain:
            url = self._cache.get(path)
            if url is not None:
                return url
        if not isinstance(path, str):
            return self._build_from_url(path, path_params, params, default_params, style)
        if _is_absolute(path) is not None:
            return _build_absolute(path, path_params, params, style)
        own_path, _, query = _fill(_parse_template(path), path_params or {}).partition("?")
        if params or default_params:
            query = _merge_query(query, params, default_params, style)
        url = self._make(self._under(own_path), query)
        if plain:
            self._remember(path, url)
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
            raise TypeError(f"the path must be a str or a URL, not {type(path).__name__}")
        if path.scheme or path.raw_authority:
            return _build_absolute(str(path), path_params, params, style)
        if path_params:
            raise InvalidRequestError("path_params need a path given as a str; a URL object is no template")
        own_path, query = path.raw_path, path.raw_query_string
        if (
            path.raw_fragment
            or _NOT_VERBATIM.search(own_path + query) is not None
            or own_path.startswith("//")
        ):
            raise InvalidRequestError("the path holds a fragment, '//', or a character that cannot be sent")
        _refuse_dot_segments(own_path, "the path")
        if params or default_params:
            query = _merge_query(query, params, default_params, style)
        return self._make(self._under(own_path), query)

    def _under(self, path: str) -> str:
        if not path:
            return self._bare
        if path[0] != "/":
            return f"{self._prefix}/{path}"
        # Only values can have made it so: a template is refused earlier.
        if path.startswith("//"):
            raise InvalidRequestError("the path, with path_params filled in, starts with '//'")
        return self._prefix + path

    def _make(self, path: str, query: str) -> URL:
        # Half the price of URL(text, encoded=True), which parses.
        return URL.build(
            scheme=self.scheme, authority=self.authority, path=path, query_string=query, encoded=True
        )

    def _remember(self, path: str, url: URL) -> None:
        if len(self._cache) >= _CACHED_PATHS:
            self._cache.clear()
        self._cache[path] = url


def _build_absolute(
    text: str, path_params: Mapping[str, Any] | None, params: QueryValues | None, style: QueryStyle
) -> URL:
    url = check_url(text)
    if path_params:
        rest = text.partition("://")[2]
        start = re.search(r"[/?#]|\Z", rest)
        assert start is not None
        path, _, query = _fill(_parse_template(rest[start.start() :]), path_params).partition("?")
        url = URL.build(
            scheme=url.scheme, authority=url.raw_authority, path=path or "/", query_string=query, encoded=True
        )
    return append_params(url, params, style) if params else url


def _merge_query(
    query: str, params: QueryValues | None, default_params: QueryValues | None, style: QueryStyle
) -> str:
    """The query of a path between the two other layers."""
    if not query:
        values = (
            merge_params(default_params, params) if default_params and params else params or default_params
        )
        return encode_pairs(flatten(values or (), style))
    call = list(iter_items(params or ()))
    pairs = flatten(call, style)
    # What the call names goes from the path under the name it was given, and under those it is written by.
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


# --- absolute URLs ------------------------------------------------------------------------------


def check_url(url: str | URL) -> URL:
    """An absolute ``http`` or ``https`` URL, byte for byte but for its fragment, which is never sent.

    Raises `InvalidRequestError` for another scheme, no host, userinfo, a port out of range, and for
    control characters, spaces, backslashes and characters that are not ASCII; `TypeError` for what is
    neither str nor URL.
    """
    if not isinstance(url, str | URL):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a URL must be a str or a URL, not {type(url).__name__}")
    text = _text_of(url)
    if _NOT_VERBATIM.search(text) is not None:
        raise InvalidRequestError(
            "the URL holds a control character, a space, a backslash or a non-ASCII character"
        )
    parts = _split(text)
    if parts.scheme not in _DEFAULT_PORTS or parts.authority is None:
        raise InvalidRequestError("the URL must start with http:// or https://")
    _split_authority(parts.authority, "the URL")
    return URL.build(
        scheme=parts.scheme,
        authority=parts.authority,
        path=parts.path or "/",
        query_string=parts.query or "",
        encoded=True,
    )


def _text_of(url: str | URL) -> str:
    try:
        return str(url)
    except ValueError:  # yarl looks at the port only now, when the URL was made with encoded=True.
        return f"{url.scheme}://{url.raw_authority}{url.raw_path}" if isinstance(url, URL) else ""


def append_params(url: URL, params: QueryValues | None, style: QueryStyle = DEFAULT_STYLE) -> URL:
    """*url* with *params* after its own query, which stays byte for byte; the fragment goes.

    Raises what `flatten` raises.
    """
    more = encode_pairs(flatten(params, style)) if params else ""
    return _replace(url, query=append_query(url.raw_query_string, more)) if more else without_fragment(url)


def without_userinfo(url: URL) -> URL:
    """*url* without user and password, and without its fragment."""
    authority = url.raw_authority
    return (
        _replace(url, authority=authority.rpartition("@")[2]) if "@" in authority else without_fragment(url)
    )


def without_fragment(url: URL) -> URL:
    """*url* as it is sent: the fragment stays with the client (RFC 9110 §4.2.5)."""
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
    """Scheme, host, port and path, for messages and logs: no userinfo, ``?...`` for a query, no fragment.

    Never raises, whatever the string; what could break a line of a log is escaped.
    """
    scheme, authority, path, query, _ = _split(_text_of(url))
    shown = _escape_illegal(path, _escape_any)
    if authority is not None:
        shown = f"//{_escape_illegal(authority.rpartition('@')[2], _escape_any)}{shown}"
    elif scheme is not None and "@" in path:
        shown = "..."  # A URL gone wrong (`https:/user:password@host`): userinfo may be anywhere in it.
    return f"{scheme + ':' if scheme else ''}{shown}{'' if query is None else '?...'}"


# --- origins ------------------------------------------------------------------------------------


def origin_of(url: URL) -> tuple[str, str, int]:
    """Scheme, host in lower case, and port (RFC 6454 §4).

    Raises `InvalidRequestError` where one of them is missing.
    """
    try:
        host, port = url.raw_host, url.port
    except ValueError:
        host = port = None
    if not host or port is None:
        raise InvalidRequestError("the URL has no origin: it names no host, or its scheme has no port")
    return url.scheme, host.lower(), port


class TrustedOrigins:
    """The origins that credentials may be sent to: the base URL's, and those that match a pattern.

    A pattern is ``scheme://host`` or ``scheme://host:port``; a host may start with ``*.``, which stands
    for one or more labels and never for none: ``https://*.example.com`` matches ``a.example.com`` and
    ``a.b.example.com``, neither ``example.com`` nor ``evilexample.com``. Scheme and port must match.
    A host with a trailing dot is another host.

    Raises `InvalidRequestError` for any other pattern, and `TypeError` for a lone str.
    """

    __slots__ = ("_authority", "_exact", "_scheme", "_suffixes")

    def __init__(self, base_url: BaseURL, patterns: Iterable[str] = ()) -> None:
        if isinstance(patterns, str):
            raise TypeError("trusted_origins must be an iterable of patterns, not one str")
        self._scheme = base_url.scheme
        self._authority = base_url.authority
        parsed = [_parse_pattern(pattern) for pattern in patterns]
        exact = {origin for wildcard, origin in parsed if not wildcard}
        self._exact = frozenset(exact | {origin_of(base_url.url)})
        self._suffixes = tuple(
            (scheme, f".{host}", port) for wildcard, (scheme, host, port) in parsed if wildcard
        )

    def trusts(self, url: URL) -> bool:
        """Whether the origin of *url* is one of them; False for a URL that has none."""
        if url.raw_authority == self._authority and url.scheme == self._scheme:
            return True
        try:
            origin = origin_of(url)
        except InvalidRequestError:
            return False
        return origin in self._exact or any(_has_suffix(origin, suffix) for suffix in self._suffixes)


def _has_suffix(origin: tuple[str, str, int], suffix: tuple[str, str, int]) -> bool:
    scheme, host, port = origin
    return (
        scheme == suffix[0] and port == suffix[2] and host.endswith(suffix[1]) and len(host) > len(suffix[1])
    )


def _parse_pattern(pattern: str) -> tuple[bool, tuple[str, str, int]]:
    """Whether it starts with ``*.``, and the origin that is behind it."""
    if not isinstance(pattern, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a trusted origin must be a str, not {type(pattern).__name__}")
    what = f"the trusted origin {redact_url(pattern)!r}"
    parts = _split(pattern)
    if parts.scheme not in _DEFAULT_PORTS or not parts.authority:
        raise InvalidRequestError(f"{what} must be http:// or https:// and a host")
    if parts.path or parts.query is not None or parts.fragment is not None:
        raise InvalidRequestError(f"{what} must end with its host or port: an origin has no path")
    wildcard = parts.authority.startswith("*.")
    authority = parts.authority[2:] if wildcard else parts.authority
    if "*" in authority:
        raise InvalidRequestError(
            f"{what}: a '*' may only stand for whole labels at the start, as in https://*.host"
        )
    normal = _normal_authority(parts.scheme, authority, what)
    return wildcard, origin_of(URL.build(scheme=parts.scheme, authority=normal, path="/", encoded=True))


# --- references ---------------------------------------------------------------------------------


def resolve_reference(base: URL, reference: str) -> URL:
    """*reference*, of a Location or Link header, resolved against *base*, strictly (RFC 3986 §5.2).

    It is kept byte for byte but for what RFC 3986 refuses, which is escaped; a host that is not ASCII
    is IDNA-encoded. The result may have any scheme, userinfo and a fragment: `check_url` says whether
    it may be sent.

    Raises `InvalidRequestError` for control characters, and for ``http`` with a host that is none.
    """
    reference = reference.strip(" \t")
    _refuse_controls(reference, "the reference")
    scheme, authority, path, query, fragment = _split(_escape_reference(reference))
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
        fragment=fragment or "",
        encoded=True,
    )


def _escape_reference(reference: str) -> str:
    """*reference* with everything escaped that is illegal, but for its host, which has rules of its own."""
    scheme, authority, _, _, _ = _split(reference)
    if authority is None or scheme not in (None, "http", "https"):
        return _escape_illegal(reference, _escape_header)
    if "\\" in authority:  # Browsers end the host there; whoever reads it otherwise can be led elsewhere.
        raise InvalidRequestError("the reference has a backslash in its host")
    start = 2 if scheme is None else len(scheme) + 3
    userinfo, at, host = authority.rpartition("@")
    host = _encode_host(host, "the reference")
    _split_authority(host, "the reference")
    before = _escape_illegal(reference[:start] + userinfo + at, _escape_header)
    return before + host + _escape_illegal(reference[start + len(authority) :], _escape_header)


def _remove_dot_segments(path: str) -> str:
    """RFC 3986 §5.2.4, in one pass; a path without a leading slash (``mailto:``) has no segments."""
    if not path.startswith("/"):
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


# --- links --------------------------------------------------------------------------------------


class Link(NamedTuple):
    """One link of a Link header (RFC 8288 §3)."""

    target: URL
    """Where it leads, resolved."""

    relations: tuple[str, ...]
    """Its relation types, in lower case."""

    parameters: Mapping[str, str]
    """The first of each of its parameters, by name in lower case; ``title*`` is decoded (RFC 8187)."""


def parse_links(header_values: Iterable[str], base: URL) -> dict[str, URL]:
    """The targets of Link headers by relation type in lower case, resolved against *base*.

    The first link of a relation wins. A link whose ``anchor`` is another resource says nothing about
    this one and is left out. Never raises: what is malformed is ignored. See `iter_links` for the rest.
    """
    targets: dict[str, URL] = {}
    for link in iter_links(header_values, base):
        if _is_about(link, base):
            for relation in link.relations:
                targets.setdefault(relation, link.target)
    return targets


def _is_about(link: Link, base: URL) -> bool:
    anchor = link.parameters.get("anchor")
    if anchor is None:
        return True
    try:
        return without_fragment(resolve_reference(base, anchor)) == without_fragment(base)
    except InvalidRequestError:
        return False


def iter_links(header_values: Iterable[str], base: URL) -> list[Link]:
    """Every link of Link headers that can be read, in order (RFC 8288 appendix B); never raises.

    Takes time linear in the input.
    """
    links: list[Link] = []
    for value in header_values:
        for reference, parameters in _scan_links(value):
            try:
                target = resolve_reference(base, reference)
            except InvalidRequestError:
                continue
            links.append(Link(target, tuple(parameters.get("rel", "").lower().split()), parameters))
    return links


_SPACE = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"[ \t,]*")
_JUNK = re.compile(r"[^,]*")
_PARAMETER = re.compile(r"([^\s=;,\"]*)[ \t]*")
_TOKEN_VALUE = re.compile(r"[^;,]*")
# The closing quote may be missing: then the rest is the value, as RFC 8288 appendix B.3 has it.
_QUOTED_VALUE = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)\\?"?', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()


def _scan_links(value: str) -> list[tuple[str, dict[str, str]]]:
    found: list[tuple[str, dict[str, str]]] = []
    position = _end(_BETWEEN, value, 0)
    while position < len(value):
        if value[position] != "<":
            position = _end(_JUNK, value, position)
        else:
            closing = value.find(">", position)
            if closing < 0:
                break
            parameters, end = _scan_parameters(value, closing + 1)
            found.append((value[position + 1 : closing], parameters))
            position = end
        position = _end(_BETWEEN, value, position)
    return found


def _scan_parameters(value: str, position: int) -> tuple[dict[str, str], int]:
    """The parameters from *position* on, and where they end: at a comma that is not quoted, or at the end."""
    parameters: dict[str, str] = {}
    position = _end(_SPACE, value, position)
    while position < len(value) and value[position] != ",":
        if value[position] != ";":
            position = _end(_TOKEN_VALUE, value, position)
            continue
        match = _PARAMETER.match(value, _end(_SPACE, value, position + 1))
        assert match is not None
        name, position = match[1].lower(), match.end()
        text = ""
        if value.startswith("=", position):
            text, position = _scan_value(value, _end(_SPACE, value, position + 1))
        if name:
            parameters.setdefault(name, _decode_extended(text) if name.endswith("*") else text)
        position = _end(_SPACE, value, position)
    return parameters, position


def _scan_value(value: str, position: int) -> tuple[str, int]:
    match = _QUOTED_VALUE.match(value, position)
    if match is not None:
        return _QUOTED_PAIR.sub(r"\1", match[1]), match.end()
    end = _end(_TOKEN_VALUE, value, position)
    return value[position:end].strip(), end


def _decode_extended(text: str) -> str:
    """``UTF-8'de'n%C3%A4chste`` decoded (RFC 8187); anything else as it stands."""
    charset, _, rest = text.partition("'")
    _, quote, encoded = rest.partition("'")
    if not quote or charset.lower() not in ("utf-8", "iso-8859-1"):
        return text
    return unquote(encoded, encoding=charset, errors="replace")
