"""URLs: base and path, absolute ones, references, and refused ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given
from urls import BASE, NASTY, PROPERTY, TEXT, URL_GRAMMAR, built
from yarl import URL

from aioapiclient._query import QueryStyle
from aioapiclient._types import NOT_GIVEN, OMIT
from aioapiclient._url.base import (
    BaseURL,
    append_params,
    check_url,
    redact_url,
    resolve_reference,
    without_fragment,
    without_userinfo,
)
from aioapiclient._url.links import follow_link
from aioapiclient._url.origins import TrustedOrigins, origin_of
from aioapiclient.errors import InvalidRequestError

RESOLUTION = json.loads((Path(__file__).parent / "cases" / "rfc3986_resolution.json").read_text("utf-8"))


# --- the base URL


@pytest.mark.parametrize("base", ["https://h/v1", "https://h/v1/", "https://h/v1//"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [("users", "/v1/users"), ("/users", "/v1/users"), ("/users/", "/v1/users/"), ("/", "/v1/")],
)
def test_base_path_is_kept(base: str, path: str, expected: str) -> None:
    """The base path is kept whatever the slashes, and so is the slash at the end of a path."""
    assert str(BaseURL(base).build(path)) == f"https://h{expected}"


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://h", "https://h/"),
        ("https://h/", "https://h/"),
        ("https://h//", "https://h/"),
        ("https://h/v1", "https://h/v1"),
        ("https://h/v1/", "https://h/v1/"),
    ],
)
def test_empty_path(base: str, expected: str) -> None:
    """An empty path is the base path itself, as written."""
    url = BaseURL(base).build("")
    assert url.raw_path == expected.removeprefix("https://h")
    assert url == BaseURL(base).url


def test_query_alone() -> None:
    """A path that is only a query refers to the base path itself."""
    assert built("?a=1") == "https://h/v1?a=1"


@pytest.mark.parametrize(
    ("base", "origin", "path"),
    [
        ("HTTPS://API.Example.com/V1", ("https", "api.example.com", 443), "/V1"),
        ("http://h:80", ("http", "h", 80), "/"),
        ("http://h:8080/a%2Fb", ("http", "h", 8080), "/a%2Fb"),
        ("https://[::1]:8443/x", ("https", "::1", 8443), "/x"),
        ("https://müller.example/é", ("https", "xn--mller-kva.example", 443), "/%C3%A9"),
        (URL("https://müller.example/é"), ("https", "xn--mller-kva.example", 443), "/%C3%A9"),
    ],
    ids=str,
)
def test_base_url_is_normalised(base: str | URL, origin: tuple[str, str, int], path: str) -> None:
    """Scheme and host are lower case, a host is IDNA, a default port is removed; the path is kept byte for
    byte.
    """
    parsed = BaseURL(base)
    assert origin_of(parsed.url) == origin
    assert parsed.url.raw_path == path
    assert parsed.authority == parsed.url.raw_authority
    assert parsed.scheme == origin[0]
    assert repr(parsed) == f"BaseURL({str(parsed.url)!r})"


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("h/v1", "http:// or https://"),
        ("", "http:// or https://"),
        ("/v1", "http:// or https://"),
        ("//h/v1", "http:// or https://"),
        ("https:/h", "must start with http:// or https://, not be 'https:/h'"),
        ("user:hunter2@h/v1", "not be '...@h/v1'"),
        ("hunter2@h", "not be '...@h'"),
        ("ftp://user:hunter2@h/v1?key=hunter2", "not be 'ftp://...@h/v1'"),
        ("https://user:hunter2@h/a b", "'https://...@h/a b'"),
        ("h" * 2000, "hhh...'"),
        ("ftp://h", "http:// or https://"),
        ("https://", "no host"),
        ("https:///v1", "no host"),
        ("https://:80/", "no valid host"),
        ("https://h:/", "no valid host"),
        ("https://h:x/", "no valid host"),
        ("https://h%41/", "no valid host"),
        ("https://[::1", "no valid host"),
        ("https://ex<a>mple/", "no valid host"),
        ("https://\N{ACCOUNT OF}.example/", "no valid host"),
        ("https://h:0/", "port"),
        ("https://h:65536/", "port"),
        ("https://user:hunter2@h/", "auth=BasicAuth"),
        ("https://hunter2@müller.example/", "auth=BasicAuth"),
        ("https://h/v1?key=hunter2", "'https://h/v1' has a query or a fragment; use default_params"),
        ("https://h/v1?", "default_params"),
        ("https://h/v1#hunter2", "fragment"),
        ("https://h/v1/../admin", "segment"),
        ("https://h/%2e/v1", "segment"),
        ("https://h/{region}/v1", "brace"),
        ("https://h/v1\n", "control"),
        (" https://h", "space"),
        ("https://h\\v1", "backslash"),
    ],
)
def test_base_url_refused(base: str, message: str) -> None:
    """A base URL without a host, or with a forbidden part, is refused; no secret is shown."""
    with pytest.raises(InvalidRequestError, match=re.escape(message)) as caught:
        BaseURL(base)
    assert "hunter2" not in str(caught.value)


def test_base_url_object_with_a_bad_port() -> None:
    """A URL object created without checks is checked like a str."""
    with pytest.raises(InvalidRequestError, match="no valid host"):
        BaseURL(URL("https://h:x/", encoded=True))


def test_base_url_type() -> None:
    """A base URL of another type is a TypeError."""
    base: Any = b"https://h"
    with pytest.raises(TypeError, match="bytes"):
        BaseURL(base)


# --- paths


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a%2Fb%7e", "/a%2Fb%7e"),
        ("/100%", "/100%25"),
        ("/%zz%4", "/%25zz%254"),
        ("/é b", "/%C3%A9%20b"),
        ('/"<>^`|', "/%22%3C%3E%5E%60%7C"),
        ("/a:b@c!$&'()*+,;=", "/a:b@c!$&'()*+,;="),
        ("/users[0]", "/users[0]"),
        ("/a//b", "/a//b"),
        ("documents:export", "/documents:export"),
        ("urn:isbn:1", "/urn:isbn:1"),
        ("/x/http://y", "/x/http://y"),
        ("/...", "/..."),
        ("/.well-known/x", "/.well-known/x"),
        ("/a..b/c.", "/a..b/c."),
        ("/%7Bid%7D", "/%7Bid%7D"),
    ],
)
def test_literal_paths(path: str, expected: str) -> None:
    """Escapes in a path are kept byte for byte; characters that RFC 3986 refuses are escaped, a lone % as
    %25.
    """
    assert built(path) == f"https://h/v1{expected}"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("//evil/x", "another host"),
        ("///evil", "another host"),
        ("/\\evil", "backslash"),
        ("a\\..\\b", "backslash"),
        ("/x#frag", "fragment"),
        ("/x?a=1#frag", "fragment"),
        ("/a\r\nHost: evil", "control"),
        ("/a\x00", "control"),
        ("/a\x7f", "control"),
        ("/a?b=\n", "control"),
        ("ftp://h/x", "looks like a URL"),
        ("file:///etc/passwd", "looks like a URL"),
        ("javascript:alert(1)", "looks like a URL"),
        ("https:/evil/x", "looks like a URL"),
        ("http:evil", "looks like a URL"),
        ("/{id", "never closed"),
        ("/{a{b}}", "never closed"),
        ("/id}", "never opened"),
        ("/{id}}", "never opened"),
        ("/{}", "neither {name}"),
        ("/{+}", "neither {name}"),
        ("/{?q}", "neither {name}"),
        ("/{id*}", "neither {name}"),
        ("/{id:3}", "neither {name}"),
        ("/{a,b}", "neither {name}"),
        ("/{ id}", "neither {name}"),
    ],
)
def test_paths_refused(path: str, message: str) -> None:
    """A path that looks like another host, or that cannot be sent, is refused with the reason."""
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        BASE.build(path, {"id": 1})


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("[FE80::1%25eTh0]", "[fe80::1%25eTh0]"),
        ("[fe80::1%eth0]", "[fe80::1%25eth0]"),
        ("[fe80::1%25eth0.100]:8080", "[fe80::1%25eth0.100]:8080"),
        ("[fe80::1%25]", "[fe80::1%2525]"),
        ("[fe80::1%2]", "[fe80::1%252]"),
    ],
)
def test_ipv6_zone(host: str, written: str) -> None:
    """An IPv6 zone has one spelling, that of RFC 6874, and keeps its case: a view of it is trusted."""
    base = BaseURL(f"http://{host}/v1")

    assert base.authority == written
    assert str(base.build("/x")) == f"http://{written}/v1/x"
    assert str(check_url(f"http://{host}/x")).lower() == f"http://{written}/x".lower()
    assert BaseURL(str(base.url)).url == base.url
    assert redact_url(f"http://{host}/x?y") == redact_url(f"http://{host.replace('%25e', '%e')}/x?z")
    assert TrustedOrigins(BaseURL("http://h"), [f"http://{host}"]).trusts(check_url(f"http://{host}/"))


@pytest.mark.parametrize(
    "host", ["[fe80::1%]", "[fe80::1%a/b]", "[fe80::1%a%0a]", "[%eth0]", "h%eth0", "[::1%a"]
)
def test_no_ipv6_zone(host: str) -> None:
    """An invalid zone, and a zone after another address than IPv6, are refused."""
    with pytest.raises(InvalidRequestError):
        BaseURL(f"http://{host}")
    with pytest.raises(InvalidRequestError):
        check_url(f"http://{host}/")


@pytest.mark.parametrize("path", [None, b"/x", 5, ["/x"]])
def test_path_type(path: Any) -> None:
    """A path of another type is a TypeError."""
    with pytest.raises(TypeError):
        BASE.build(path)


@pytest.mark.parametrize(
    "path",
    [
        "..", ".", "../x", "/..", "/../x", "/a/../../x", "/a/..", "/a/.", "/a/./b", "/../x?q=1", "/a/..?q=1",
        "/%2e%2E/x", "/.%2e", "/%2e./x", "/..;x/y", "/..%3bx", "/.;x", "/;x", "/a/;x=1/b", "/%3Bx",
    ],
)  # fmt: skip
def test_dot_segments_refused(path: str) -> None:
    """A path cannot climb out of the base path: dot segments are refused however they are spelled."""
    with pytest.raises(InvalidRequestError, match="segment"):
        BASE.build(path)
    with pytest.raises(InvalidRequestError, match="segment"):
        BASE.build(URL(path, encoded=True))


def test_relative_url_object() -> None:
    """A relative URL object is a path whose bytes are kept, braces too."""
    assert built(URL("users/a%2Fb?q=%7e&q=a+b", encoded=True)) == "https://h/v1/users/a%2Fb?q=%7e&q=a+b"
    assert built(URL("/{id}", encoded=True), params={"a": 1}) == "https://h/v1/{id}?a=1"
    assert built(URL("?a=1"), default_params={"b": 2}) == "https://h/v1?a=1&b=2"
    assert built(URL("")) == "https://h/v1"


@pytest.mark.parametrize(
    "url",
    [
        *[URL(text, encoded=True) for text in ("/a b", "/é", "/x#f", "/a\\b", "//h/x", "a:b", "mailto:x")],
        URL.build(path="/a", query_string="b=\r\n", encoded=True),
        URL.build(path="///x", encoded=True),
    ],
    ids=repr,
)
def test_relative_url_object_refused(url: URL) -> None:
    """A relative URL object with a host, another scheme or illegal characters is refused."""
    with pytest.raises(InvalidRequestError):
        BASE.build(url)


def test_url_object_takes_no_path_params() -> None:
    """A URL object is not a template, so path_params with one are refused."""
    with pytest.raises(InvalidRequestError, match="path_params"):
        BASE.build(URL("/x"), {"id": 1})


def test_plain_paths_are_cached() -> None:
    """A plain path returns the same URL object again, until 512 other paths have been used."""
    base = BaseURL("https://h/v1")
    first = base.build("/users")
    for number in range(511):
        assert base.build(f"/users/{number}").raw_path == f"/v1/users/{number}"
    assert base.build("/users", {}, {}) is first
    base.build("/one/more")
    assert base.build("/users") is not first


# --- the query


def test_params() -> None:
    """Params are flattened by the style and encoded by RFC 3986."""
    params = {"a": [1, 2], "b": {"c": "x y"}, "d": None}
    assert built("/x", params=params) == "https://h/v1/x?a=1&a=2&b%5Bc%5D=x%20y"
    style = QueryStyle("comma", "dots")
    assert built("/x", params=params, style=style) == "https://h/v1/x?a=1,2&b.c=x%20y"


def test_one_shot_params() -> None:
    """Params may be pairs from an iterator."""
    assert built("/x?a=0", params=(pair for pair in [("a", 1), ("a", 2)])) == "https://h/v1/x?a=1&a=2"


def test_params_that_come_to_nothing() -> None:
    """Params without any value leave no question mark."""
    assert built("/x", params={"a": None, "b": []}) == "https://h/v1/x"
    assert built("/x?", params={"a": None}) == "https://h/v1/x"


def test_default_params() -> None:
    """default_params have lower precedence than params; OMIT removes one, None too."""
    defaults = {"a": 1, "b": 2, "c": 3, "d": 4}
    url = built("/x", params={"b": 5, "c": OMIT, "d": None, "e": NOT_GIVEN}, default_params=defaults)
    assert url == "https://h/v1/x?a=1&b=5"
    assert built("/x", default_params=defaults) == "https://h/v1/x?a=1&b=2&c=3&d=4"


def test_default_params_lie_under_the_query_of_the_path() -> None:
    """The query in the path overrides default_params, and params override both."""
    url = built("/x?a=path&b=path", params={"b": "call"}, default_params={"a": 1, "b": 1, "c": 1})
    assert url == "https://h/v1/x?a=path&c=1&b=call"


@pytest.mark.parametrize("value", [OMIT, None])
def test_omit_removes_from_the_path(value: object) -> None:
    """OMIT and None remove a parameter that is hard-coded in the path, all of its values."""
    assert built("/x?a=1&b=2&a=3", params={"a": value}) == "https://h/v1/x?b=2"


def test_escaped_names_in_the_path() -> None:
    """Names in the path are compared unescaped."""
    assert built("/x?f%5Ba%5D=1&f[b]=2&c+d=3", params={"f": {"a": 9}, "c d": 4}) == (
        "https://h/v1/x?f[b]=2&f%5Ba%5D=9&c%20d=4"
    )


def test_nested_default_param_hidden_by_the_path() -> None:
    """A default that is written under several names yields name by name."""
    assert built("/x?f[a]=1", default_params={"f": {"a": 2, "b": 3}}) == "https://h/v1/x?f[a]=1&f%5Bb%5D=3"


# --- edge cases


def test_base_path_kept() -> None:
    """A leading slash does not drop the base path, as joining URLs would."""
    assert (
        str(BaseURL("http://localhost:5000/custom/path/").build("/foo"))
        == "http://localhost:5000/custom/path/foo"
    )


def test_a_trailing_slash_makes_no_difference() -> None:
    """A base URL with and without its last slash make the same URLs."""
    for path in ("foo", "/foo", "/foo/"):
        assert BaseURL("http://h/a").build(path) == BaseURL("http://h/a/").build(path)


def test_escape_survives_params() -> None:
    """An escaped slash in a path survives adding params."""
    assert (
        built("/files/a%2Fb?beta=true", params={"limit": 10}) == "https://h/v1/files/a%2Fb?beta=true&limit=10"
    )


def test_query_is_merged() -> None:
    """A query in the path is merged with params, even repeated keys; params win in a conflict, for the
    whole name.
    """
    assert built("/foo?a=1&a=2", params={"b": 3}) == "https://h/v1/foo?a=1&a=2&b=3"
    assert built("/foo?a=1&b=x&a=2", params={"a": 3}) == "https://h/v1/foo?b=x&a=3"


def test_value_by_component() -> None:
    """A value is escaped for its component; a fragment, which is never sent, is refused."""
    assert built("/{v}?q={v}", {"v": "a/b?c#d"}) == "https://h/v1/a%2Fb%3Fc%23d?q=a%2Fb%3Fc%23d"
    with pytest.raises(InvalidRequestError, match="fragment"):
        BASE.build("/{v}?q={v}#{v}", {"v": "a/b?c#d"})


def test_escapes_in_values_are_data() -> None:
    """A value that looks escaped is escaped again."""
    assert built("/{v}", {"v": "%20"}) == "https://h/v1/%2520"


def test_dots() -> None:
    """Dots are fine unless a segment consists of only one or two of them, even from adjacent placeholders."""
    assert built("/{v}", {"v": "..."}) == "https://h/v1/..."
    assert built("/{v}", {"v": ".hidden"}) == "https://h/v1/.hidden"
    assert built("/{a}{b}", {"a": ".", "b": "txt"}) == "https://h/v1/.txt"
    for template, values in [
        ("/{a}{b}", {"a": ".", "b": "."}),
        ("/{a}.", {"a": "."}),
        (".{a}/x", {"a": "."}),
    ]:
        with pytest.raises(InvalidRequestError, match="segment"):
            BASE.build(template, values)


def test_dots_in_the_template() -> None:
    """Dot segments in the static part of a template are refused too, escaped or mixed."""
    for template in ("/v1/%2e/{x}", "/v1/%2e./{x}", "/v1/.%2E/{x}", "/v1/../{x}", "/..;{x}"):
        with pytest.raises(InvalidRequestError, match="segment"):
            BASE.build(template, {"x": "ok"})


def test_dots_in_the_query() -> None:
    """Dots in the query are fine."""
    assert built("/items?q={v}&r=..", {"v": ".."}) == "https://h/v1/items?q=..&r=.."


# --- absolute URLs

VERBATIM = [
    "https://other/a%2Fb?X-Sig=a%2Fb%7e&x=+",
    "http://other:8080/{id}/../%zz?q={a}&%",
    'https://[::1]/x?"quoted"|^`',
    "https://h/v1/./x//y;z",
]


@pytest.mark.parametrize("url", VERBATIM)
def test_absolute_urls_are_verbatim(url: str) -> None:
    """An absolute URL is sent byte for byte, without default_params, whatever its path."""
    assert built(url, default_params={"a": 1}) == url
    assert built(URL(url, encoded=True), default_params={"a": 1}) == url
    assert str(check_url(url)) == url


def test_absolute_url_scheme_in_capitals() -> None:
    """A scheme in capitals is a scheme."""
    assert built("HTTPS://other/X") == "https://other/X"


def test_absolute_url_without_path() -> None:
    """An absolute URL without a path gets the path that is sent for it."""
    assert BASE.build("https://other?a=1").raw_path_qs == "/?a=1"


def test_absolute_url_loses_its_fragment() -> None:
    """The fragment of an absolute URL is never sent, so it is dropped."""
    assert built("https://other/x?a=1#frag") == "https://other/x?a=1"
    assert built(URL("https://other/x#frag")) == "https://other/x"


def test_params_are_appended_to_an_absolute_url() -> None:
    """Params are appended to an absolute URL; its own query is kept, even in a conflict."""
    assert built("https://other/x?a=%7e&a", params={"a": [1, 2]}) == "https://other/x?a=%7e&a&a=1&a=2"
    assert built("https://other/x", params={"a": None}) == "https://other/x"


def test_absolute_template() -> None:
    """An absolute URL is a template when path_params are given, under the same rules as any other."""
    template = "https://uploads.other:8443/repos/{owner}?name={name}"
    url = built(template, {"owner": "a/b", "name": "x&y"}, params={"z": 1})
    assert url == "https://uploads.other:8443/repos/a%2Fb?name=x%26y&z=1"
    for values in [{"owner": "..", "name": "x"}, {"owner": "x"}]:
        with pytest.raises(InvalidRequestError):
            BASE.build(template, values)
    with pytest.raises(InvalidRequestError, match=r"the path has no \{id\}"):
        BASE.build("https://other", {"id": 1})


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@other/",
        "https://hunter2@other/",
        "https:///x",
        "https://",
        "https://?hunter2",
        "https://:443/",
        "https://other:99999/",
        "https://other:x/",
        "https://{host}/",
        "https://other/a b",
        "https://other/é",
        "https://öther/",
        "https://other/\r\nX: y",
        "https://other/\t",
        "https://other\\@evil/",
        "https://other/a\\b",
        "https://oth%65r/",
        "https://other/\ud800",
    ],
)
def test_absolute_urls_refused(url: str) -> None:
    """An absolute URL with userinfo, no host, or a character that cannot be sent is refused."""
    with pytest.raises(InvalidRequestError) as caught:
        BASE.build(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["/x", "", "ftp://h/", "mailto:a@b", "http:x", "//h/x", "ws://h/"])
def test_check_url_refuses_what_is_not_http(url: str) -> None:
    """Only an absolute http or https URL passes."""
    for given_url in (url, URL(url, encoded=True)):
        with pytest.raises(InvalidRequestError):
            check_url(given_url)


def test_check_url_of_odd_url_objects() -> None:
    """A URL object created without checks is checked like a str."""
    with pytest.raises(InvalidRequestError):
        check_url(URL("https://h:x/", encoded=True))
    with pytest.raises(InvalidRequestError):
        check_url(URL.build(scheme="https", authority="h", path="/a b", encoded=True))
    other: Any = b"https://h"
    with pytest.raises(TypeError):
        check_url(other)


def test_append_params() -> None:
    """Params are appended to any URL, whose own query is kept byte for byte."""
    url = URL("https://h/a%2Fb?x=%7e#f", encoded=True)
    assert str(append_params(url, {"y": "a b"})) == "https://h/a%2Fb?x=%7e&y=a%20b"
    assert (
        str(append_params(url, {"y": [1, 2]}, QueryStyle("indices")))
        == "https://h/a%2Fb?x=%7e&y%5B0%5D=1&y%5B1%5D=2"
    )
    assert str(append_params(url, {})) == str(append_params(url, {"y": None})) == "https://h/a%2Fb?x=%7e"


def test_without_userinfo_and_fragment() -> None:
    """Userinfo and fragment can be removed; the rest is kept byte for byte."""
    url = URL("https://u:p%40@h:8443/a%2Fb?x=%7e#f", encoded=True)
    assert str(without_userinfo(url)) == "https://h:8443/a%2Fb?x=%7e"
    assert str(without_userinfo(URL("https://h/x#f"))) == "https://h/x"
    assert str(without_fragment(url)) == "https://u:p%40@h:8443/a%2Fb?x=%7e"


# --- redaction


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h:8443/a%2Fb", "https://h:8443/a%2Fb"),
        ("https://user:hunter2@h/x?key=hunter2#hunter2", "https://h/x?..."),
        ("https://user:hunter2@[::1]:1/x", "https://[::1]:1/x"),
        ("https://u@x:hunter2@h/", "https://h/"),
        ("https:/user:hunter2@h/", "https:..."),
        ("https://user:hunter2/x@h/", "https:..."),
        ("https://user:hunter2#x@h/", "https:..."),
        ("https://user:/hunter2@h/", "https:..."),
        ("/users/@me?key=hunter2", "/users/@me?..."),
        ("/users?", "/users?..."),
        ("https://h/a\r\nb é\ud800", "https://h/a%0D%0Ab%20%C3%A9%3F"),
        ("", ""),
    ],
)
def test_redact_url(url: str, shown: str) -> None:
    """A URL is shown as scheme, host, port and path, in one printable line."""
    assert redact_url(url) == shown


def test_redact_url_objects() -> None:
    """URL objects are shown in the same way, also if their port is not a number."""
    assert redact_url(URL("https://u:hunter2@h/x?key=hunter2")) == "https://h/x?..."
    assert redact_url(URL("https://h:hunter2/y?key=hunter2", encoded=True)) == "https:..."


# --- references


@pytest.mark.parametrize("case", RESOLUTION["cases"], ids=lambda case: case["ref"])
def test_rfc3986_resolution(case: dict[str, str]) -> None:
    """References resolve as in the examples of RFC 3986 §5.4, strictly."""
    resolved = resolve_reference(URL(RESOLUTION["base"], encoded=True), case["ref"])
    if case["ref"] == "http:g":
        # yarl writes it as "http:///g"; it must not be taken for a path of the base.
        assert (resolved.scheme, resolved.raw_authority, resolved.raw_path) == ("http", "", "g")
        return
    assert str(resolved) == case["expected"]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("/a%2Fb?X=%7e+&y[]=1#f", "https://h/a%2Fb?X=%7e+&y[]=1#f"),
        ("/a b/é", "https://h/a%20b/%C3%A9"),
        ("/100%", "https://h/100%25"),
        ('?q="<{|}>^`', "https://h/x/y?q=%22%3C%7B%7C%7D%3E%5E%60"),
        ("//müller.example:81/x", "https://xn--mller-kva.example:81/x"),
        ("http://Other.Example/X", "http://Other.Example/X"),
        ("/\\evil/x", "https://h/%5Cevil/x"),
        ("\\\\evil\\x", "https://h/x/%5C%5Cevil%5Cx"),
        ("  /x\t", "https://h/x"),
        ("/caf\udce9", "https://h/caf%E9"),
        ("//u:p@other/x", "https://u:p@other/x"),
        ("/..//evil/x", "https://h//evil/x"),
        ("mailto:a@b", "mailto:a@b"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("ftp://h/a/../b", "ftp://h/b"),
        ("https://other?x", "https://other/?x"),
    ],
)
def test_resolution_keeps_bytes(reference: str, expected: str) -> None:
    """A reference keeps its bytes, except illegal ones; undecodable bytes are escaped unchanged."""
    assert str(resolve_reference(URL("https://h/x/y?z"), reference)) == expected


@pytest.mark.parametrize(
    "reference",
    ["/a\r\nb", "/a\x00", "/a\tb", "//", "///x", "http:///x", "//h:x/", "//h:99999/", "//h h/",
     "//h\\@evil/x", "//h%2eevil/", "https://[::1/", "/a\ud800", "//\udce9/", "//a\N{ACCOUNT OF}b/"],
)  # fmt: skip
def test_references_refused(reference: str) -> None:
    """A reference with a control character, or an invalid host, is refused."""
    with pytest.raises(InvalidRequestError):
        resolve_reference(URL("https://h/x/y?z"), reference)


# --- links from a server


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("next?page=2", "https://h/x/next?page=2"),
        ("https://user:secret@other/a%2Fb#part", "https://other/a%2Fb"),
        ("//other", "https://other/"),
        (" /padded\t", "https://h/padded"),
    ],
)
def test_a_link_leads_to_a_url_without_userinfo_and_fragment(reference: str, expected: str) -> None:
    """A link is resolved, without its userinfo and its fragment."""
    assert str(follow_link(URL("https://h/x/y?z"), reference)) == expected


@pytest.mark.parametrize(
    "reference",
    ["ftp://h/", "mailto:a@h", "https://", "https://h:99999/", "http://[::1", "/a\nb", "https://u:p4ss@h:x/"],
)
def test_a_link_that_is_not_an_http_url_is_refused(reference: str) -> None:
    """A link that is not an http or https URL is refused, and no error in the chain quotes it."""
    with pytest.raises(InvalidRequestError, match=r"^is not an http or https URL$") as caught:
        follow_link(URL("https://h/x/y?z"), reference)
    assert caught.value.__context__ is None


def test_a_link_from_https_to_http_is_followed_only_on_request() -> None:
    """A link from https to http is refused unless insecure links are allowed; http to http is followed."""
    with pytest.raises(InvalidRequestError, match=r"^leads from https to http$"):
        follow_link(URL("https://h/"), "http://h/x")
    assert str(follow_link(URL("https://h/"), "http://h/x", allow_insecure=True)) == "http://h/x"
    assert str(follow_link(URL("http://h/"), "/x")) == "http://h/x"


# --- properties


@PROPERTY
@given(TEXT | NASTY)
def test_any_path_stays_below_the_base(path: str) -> None:
    """Whatever the relative path, it is refused or below the base path, and valid to send."""
    assume(not path.lower().startswith(("http://", "https://")))
    try:
        url = BASE.build(path)
    except InvalidRequestError:
        return
    assert url.raw_authority == "h"
    assert url.raw_path == "/v1" or url.raw_path.startswith("/v1/")
    assert str(url).isascii()
    assert str(url).isprintable()
    assert " " not in str(url)


@PROPERTY
@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), TEXT | NASTY), TEXT | NASTY
)
def test_any_query_is_grammatical(params: dict[str, str], value: str) -> None:
    """Whatever the values, the query is valid, and decodes to the same values."""
    try:
        url = BASE.build("/x?hard={v}", {"v": value}, params)
    except InvalidRequestError:
        return
    expected = ([] if "hard" in params else [("hard", value)]) + list(params.items())
    assert parse_qsl(url.raw_query_string, keep_blank_values=True) == expected
    assert URL_GRAMMAR.fullmatch(str(url))


@PROPERTY
@given(TEXT | NASTY)
def test_resolution_stays_grammatical(reference: str) -> None:
    """Whatever the reference, it is refused or gives a valid URL, with a host unless it had a scheme."""
    try:
        url = resolve_reference(URL("https://h/x/y?z"), reference)
    except InvalidRequestError:
        return
    assert URL_GRAMMAR.fullmatch(str(url))
    if re.match(r"[ \t]*[A-Za-z][A-Za-z0-9+.-]*:", reference) is None:
        assert url.scheme == "https"
        assert url.raw_host
        assert url.raw_path.startswith("/")
        assert not re.search(r"/\.{1,2}(/|\Z)", url.raw_path)


@PROPERTY
@given(TEXT | NASTY)
def test_absolute_urls_are_verbatim_or_refused(rest: str) -> None:
    """An absolute URL is unchanged except for its fragment, or refused."""
    text = f"https://other/{rest}"
    try:
        url = BASE.build(text)
    except InvalidRequestError:
        return
    assert str(url).rstrip("?") == text.partition("#")[0].rstrip("?")
    assert url.raw_authority == "other"


@PROPERTY
@given(TEXT | NASTY)
def test_any_url_can_be_shown(value: str) -> None:
    """No URL makes the redaction raise, or break a log line."""
    assert "\n" not in redact_url(value)
