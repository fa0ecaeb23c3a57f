"""Origins: which ones are trusted with credentials, and which URLs have none."""

from __future__ import annotations

from typing import Any

import pytest
from urls import BASE
from yarl import URL

from aioapiclient import APIRequest, AsyncAPIClient
from aioapiclient._url import origins
from aioapiclient._url.base import BaseURL
from aioapiclient._url.origins import TrustedOrigins, is_same_server, origin_of
from aioapiclient.errors import InvalidRequestError
from aioapiclient.testing import FakeTransport, respond


def trusts(url: str, *patterns: str, base: str = "https://api.example.com/v1") -> bool:
    """Whether *url* is trusted by a client of *base* and *patterns*."""
    return TrustedOrigins(BaseURL(base), patterns).trusts(URL(url, encoded=True))


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/v1",
        "https://api.example.com/other?x",
        "https://api.example.com:443/",
        "https://API.Example.COM/",
    ],
)
def test_base_origin_is_trusted(url: str) -> None:
    """The base URL's own origin is trusted, in every spelling."""
    assert trusts(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/",
        "https://api.example.com:444/",
        "https://api.example.com./",
        "https://example.com/",
        "https://api.example.com.evil/",
        "https://evil/?https://api.example.com/",
        "https://api.example.com@evil/",
        "https://a%70i.example.com/",
        "https://api.example.com:x/",
        "/v1",
        "",
        "mailto:x@api.example.com",
    ],
)
def test_other_origins_are_not_trusted(url: str) -> None:
    """Another scheme, host or port is another origin; a URL without one is never trusted."""
    assert not trusts(url)


@pytest.mark.parametrize(
    ("pattern", "url", "expected"),
    [
        ("https://*.example.org", "https://a.example.org/", True),
        ("https://*.example.org", "https://a.b.example.org:443/", True),
        ("https://*.example.org", "https://A.EXAMPLE.org/", True),
        ("https://*.Example.ORG", "https://a.example.org/", True),
        ("https://*.example.org", "https://example.org/", False),
        ("https://*.example.org", "https://.example.org/", False),
        ("https://*.example.org", "https://evilexample.org/", False),
        ("https://*.example.org", "https://a.example.org.evil/", False),
        ("https://*.example.org", "https://a.example.org./", False),
        ("https://*.example.org", "http://a.example.org/", False),
        ("https://*.example.org", "https://a.example.org:8443/", False),
        ("https://*.example.org:8443", "https://a.example.org:8443/", True),
        ("https://api.other.com:8443", "https://api.other.com:8443/", True),
        ("https://api.other.com:8443", "https://api.other.com/", False),
        ("https://api.other.com:443", "https://api.other.com/", True),
        ("http://localhost", "http://localhost:80/", True),
        ("http://[::1]:8080", "http://[::1]:8080/", True),
        ("https://*.müller.example", "https://a.xn--mller-kva.example/", True),
        ("https://müller.example", "https://xn--mller-kva.example/", True),
    ],
)
def test_patterns(pattern: str, url: str, expected: bool) -> None:
    """A pattern matches its scheme and port, and `*.` one or more whole labels."""
    assert trusts(url, "https://unrelated.example", pattern) is expected


@pytest.mark.parametrize(
    ("home", "url", "expected"),
    [
        ("http://api.example.com", "https://api.example.com/", True),
        ("http://api.example.com:80", "https://api.example.com:443/", True),
        ("http://API.example.com", "https://api.EXAMPLE.com/", True),
        ("http://[::1]", "https://[::1]/", True),
        ("http://api.example.com", "https://example.com/", False),
        ("http://api.example.com", "https://www.api.example.com/", False),
        ("http://api.example.com", "https://api.example.com:8443/", False),
        ("http://api.example.com", "https://api.example.com:80/", False),
        ("http://api.example.com:8080", "https://api.example.com:8080/", False),
        ("http://api.example.com:8080", "https://api.example.com/", False),
        ("http://api.example.com:443", "https://api.example.com/", False),
        ("https://api.example.com", "http://api.example.com/", False),
        ("https://api.example.com:80", "http://api.example.com/", False),
    ],
)
def test_https_of_a_trusted_http_origin_is_trusted(home: str, url: str, expected: bool) -> None:
    """If http on port 80 is trusted, https on port 443 is too; no other port, and never the reverse."""
    assert trusts(url, base=home) is expected
    assert trusts(url, home, base="https://unrelated.example") is expected
    assert is_same_server(URL(url), URL(home)) is expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example.org/", True),
        ("https://a.b.example.org:443/", True),
        ("https://example.org/", False),
        ("https://a.example.org:8443/", False),
        ("https://evilexample.org/", False),
    ],
)
def test_https_of_a_trusted_http_pattern_is_trusted(url: str, expected: bool) -> None:
    """A pattern of http origins covers https of the same hosts."""
    assert trusts(url, "http://*.example.org", base="https://unrelated.example") is expected


@pytest.mark.parametrize(
    "pattern",
    [
        "*", "*.example.com", "example.com", "//h", "", "ftp://h", "https://", "https://*", "https://*.",
        "https://*.*.com", "https://a.*.com", "https://a*.com", "https://**.com", "https://h/",
        "https://h/path", "https://h?x", "https://h#x", "https://u:hunter2@h", "https://h:x", "https://h:*",
        "https://h:0", "https://h h", "https://h\n", "https://mü\nller.example",
    ],
)  # fmt: skip
def test_patterns_refused(pattern: str) -> None:
    """A value that is not an origin, or has a `*` elsewhere, is refused when the client is created."""
    with pytest.raises(InvalidRequestError, match="trusted origin") as caught:
        TrustedOrigins(BASE, [pattern])
    assert "hunter2" not in str(caught.value)


def test_pattern_types() -> None:
    """A lone str, whose characters would be patterns, and a pattern of another type are TypeErrors."""
    with pytest.raises(TypeError, match="iterable"):
        TrustedOrigins(BASE, "https://h")
    patterns: Any = [URL("https://h")]
    with pytest.raises(TypeError, match="URL"):
        TrustedOrigins(BASE, patterns)


@pytest.mark.parametrize("url", ["/x", "", "mailto:a@b", "https://h:x/", "https:///x"])
def test_no_origin(url: str) -> None:
    """A URL without host or port has no origin."""
    with pytest.raises(InvalidRequestError, match="origin"):
        origin_of(URL(url, encoded=True))


# --- requests


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.example.com/v1/users?page=2", "https://api.example.com"),
        ("https://API.Example.com:443/v1", "https://api.example.com"),
        ("https://user:secret@api.example.com/v1", "https://api.example.com"),
        ("http://api.example.com:8080", "http://api.example.com:8080"),
        ("http://[::1]:80/", "http://[::1]"),
        ("https://[FE80::1]:8443/", "https://[fe80::1]:8443"),
        ("https://api.example.com./v1", "https://api.example.com."),
    ],
)
@pytest.mark.parametrize("encoded", [False, True])
def test_a_request_tells_its_origin(url: str, origin: str, encoded: bool) -> None:
    """Every spelling of an origin is one key, and no userinfo is in it."""
    assert APIRequest("GET", URL(url, encoded=encoded)).origin == origin


def test_no_userinfo_is_remembered() -> None:
    """Texts of origins are cached by scheme and authority, but not those of URLs that contain a password."""
    before = origins._known_text.cache_info()

    assert origins.origin_text(URL("https://user:secret@api.example.com/x")) == "https://api.example.com"
    assert origins._known_text.cache_info() == before


def test_a_request_to_nowhere_has_no_origin_to_speak_of() -> None:
    """A URL without a host, which the transport refuses, does not make asking fail."""
    assert APIRequest("GET", URL("/v1/users")).origin == "://"


@pytest.mark.parametrize(
    ("base", "url", "path"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1/users/a%2Fb?page=2", "/users/a%2Fb"),
        ("https://api.example.com/v1", "https://api.example.com/v1", "/"),
        ("https://api.example.com/v1", "https://api.example.com/v1/", "/"),
        ("https://api.example.com", "https://api.example.com/users", "/users"),
        ("https://api.example.com/v1", "https://api.example.com/v10/users", "/v10/users"),
        ("https://api.example.com/v1", "https://files.example.net/v1/users", "/v1/users"),
    ],
)
async def test_a_request_tells_its_path_below_the_base_url(base: str, url: str, path: str) -> None:
    """The relative path of a request is the part after the path of the client's base URL."""
    transport = FakeTransport(respond(json=1))
    async with AsyncAPIClient(base, transport=transport) as api:
        await api.get(url)

    assert transport.requests[0].relative_path == path


def test_a_request_without_a_client_has_its_whole_path() -> None:
    """A request without a client has no base URL to be relative to."""
    assert APIRequest("GET", "https://api.example.com/v1/users").relative_path == "/v1/users"
