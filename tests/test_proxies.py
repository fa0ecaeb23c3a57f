"""Proxies: which one a URL uses, and that their credentials reach nothing else."""

from __future__ import annotations

import base64

import pytest
from yarl import URL

from aioapiclient._transport.proxies import EnvironmentProxies, Proxy
from aioapiclient.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("url", "userinfo"),
    [
        ("http://proxy.example:3128", None),
        ("http://user:secret@proxy.example:3128", "user:secret"),
        ("https://user@proxy.example:3128/", "user:"),
        ("http://us%40er:p%3Aw%2F%C3%A9@proxy.example:3128", "us@er:p:w/é"),
        (URL("http://user:secret@proxy.example:3128"), "user:secret"),
    ],
)
def test_parse(url: str | URL, userinfo: str | None) -> None:
    """The credentials are removed from the URL, decoded, and put into a header (RFC 7617)."""
    proxy = Proxy.parse(url)
    assert (proxy.url.host, proxy.url.port, proxy.url.user, proxy.url.password) == (
        "proxy.example",
        3128,
        None,
        None,
    )
    if userinfo is None:
        assert proxy.authorization is None
    else:
        assert proxy.authorization == "Basic " + base64.b64encode(userinfo.encode()).decode()


@pytest.mark.parametrize(
    "url",
    [
        "socks5://user:secret@h",
        "user:secret@h:1",
        "http://",
        "",
        "h:3128",
        "http://[user:secret@h",
        "ftp://h",
    ],
)
def test_no_proxy_url(url: str) -> None:
    """A value that is not the URL of an HTTP proxy is refused, without its credentials in the message."""
    with pytest.raises(InvalidRequestError) as caught:
        Proxy.parse(url)
    assert "secret" not in str(caught.value)
    assert "user" not in str(caught.value)


def test_repr() -> None:
    """A proxy never shows its credentials."""
    assert repr(Proxy.parse("http://user:secret@h:1")) == "<Proxy http://h:1>"


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_bypassed"),
    [
        ("", "http://api.example.com", False),
        ("api.example.com", "http://api.example.com", True),
        ("other.example.com", "http://api.example.com", False),
        (" other.example.com ,\tapi.example.com\n", "http://api.example.com", True),
        ("other.example.com api.example.com", "http://api.example.com", True),
        ("example.com", "http://api.example.com", True),
        (".example.com", "http://api.example.com", True),
        (" .example.com ", "http://api.example.com", True),
        ("ample.com", "http://api.example.com", False),
        ("API.Example.com", "http://api.example.com", True),
        (" * ", "http://api.example.com", True),
        ("api.example.com:8080", "http://api.example.com:8080", True),
        ("api.example.com:8080", "http://api.example.com", False),
        ("127.0.0.1", "http://127.0.0.1:9999", True),
        # every host
        ("other.example.com, *", "http://api.example.com", True),
        # subdomains only
        ("*.example.com", "http://api.example.com", True),
        ("*.example.com", "http://a.b.example.com", True),
        ("*.example.com", "http://example.com", False),
        ("*.example.com", "http://badexample.com", False),
        (".example.com", "http://example.com", True),
        ("example.com.", "http://api.example.com", True),
        ("example.com", "http://api.example.com.", True),
        ("*.example.com:8080", "http://api.example.com:8080", True),
        ("*.example.com:8080", "http://api.example.com:8081", False),
        ("b\u00fccher.example", "http://xn--bcher-kva.example", True),
        # the port of the scheme
        ("api.example.com:80", "http://api.example.com", True),
        # addresses and networks
        ("10.0.0.0/8", "http://10.20.30.40:8080", True),
        ("10.0.0.0/8", "http://11.0.0.1", False),
        ("10.1.2.3/8", "http://10.20.30.40", True),
        ("10.0.0.0/8", "http://10.example.com", False),
        ("10.0.0.0/99", "http://10.0.0.1", False),
        ("10.0.0.1:8080", "http://10.0.0.1:8080", True),
        ("10.0.0.1:8080", "http://10.0.0.1:8081", False),
        ("0.0.1", "http://10.0.0.1", False),
        ("10.0.0.1", "http://[::ffff:10.0.0.1]", True),
        ("[::1]", "http://[::1]:9999", True),
        ("[::1]:80", "http://[::1]", True),
        ("[::1]:80", "http://[::1]:81", False),
        ("::1", "http://[0:0:0:0:0:0:0:1]", True),
        ("fd00::/8", "http://[fd12:3456::1]", True),
        ("fd00::/8", "http://[fe80::1]", False),
        ("fd00::/8", "http://10.0.0.1", False),
        ("fe80::/10", "http://[fe80::1%25eth0]", True),
        ("fe80::1%eth0", "http://[fe80::1%25eth1]", True),
        # invalid entries
        (",, ,", "http://api.example.com", False),
        ("., :80, []", "http://api.example.com", False),
    ],
)
def test_no_proxy(monkeypatch: pytest.MonkeyPatch, no_proxy: str, url: str, is_bypassed: bool) -> None:
    """``no_proxy`` has the meaning of curl and Go, and white space does no harm."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    proxies = EnvironmentProxies()
    for _ in range(2):
        assert (proxies.find(URL(url)) is None) is is_bypassed


def test_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each scheme has a separate proxy, or none."""
    monkeypatch.setenv("https_proxy", " http://secure.example:1 \n")
    proxies = EnvironmentProxies()
    assert proxies.find(URL("http://h")) is None
    proxy = proxies.find(URL("https://h"))
    assert proxy is not None
    assert proxy.url == URL("http://secure.example:1")


def test_all_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """``ALL_PROXY`` applies to a scheme without its own proxy, even an empty one; ``no_proxy`` limits it."""
    monkeypatch.setenv("ALL_PROXY", "http://all.example:1")
    monkeypatch.setenv("https_proxy", "http://secure.example:2")
    monkeypatch.setenv("http_proxy", "")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    proxies = EnvironmentProxies()

    assert proxies.find(URL("http://h")) == Proxy(URL("http://all.example:1"), None)
    assert proxies.find(URL("https://h")) == Proxy(URL("http://secure.example:2"), None)
    assert proxies.find(URL("http://inside.example")) is None


def test_all_proxy_by_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is refused is named by its variable."""
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:1080")

    with pytest.raises(InvalidRequestError, match=r"all_proxy must be an http:// .*SOCKS"):
        EnvironmentProxies().find(URL("https://h"))


def test_no_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy without a scheme is an HTTP proxy, as in curl."""
    monkeypatch.setenv("http_proxy", "proxy.example:3128")
    proxy = EnvironmentProxies().find(URL("http://h"))
    assert proxy is not None
    assert proxy.url == URL("http://proxy.example:3128")


def test_socks_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that cannot be spoken to is refused when it would be used, not passed by."""
    monkeypatch.setenv("http_proxy", "socks5://proxy.example:1080")
    proxies = EnvironmentProxies()
    assert proxies.find(URL("https://h")) is None
    with pytest.raises(InvalidRequestError, match="SOCKS"):
        proxies.find(URL("http://h"))


def test_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment names no proxy, the system's own are used, with its own exceptions."""
    monkeypatch.setattr("urllib.request.getproxies_environment", dict)
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"http": "http://system.example:1"})
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda host: host == "inside.example")
    proxies = EnvironmentProxies()
    assert proxies.find(URL("http://outside.example")) is not None
    assert proxies.find(URL("http://inside.example")) is None


def test_the_last_thousand_origins_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system is asked once for each of the last thousand origins, and again for an older one."""
    asked: list[str] = []
    monkeypatch.setattr("urllib.request.getproxies_environment", dict)
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"http": "http://system.example:1"})
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda host: bool(asked.append(host)))
    proxies = EnvironmentProxies()
    hosts = [f"h{number}.example" for number in range(1000)]
    for host in hosts * 2:
        assert proxies.find(URL(f"http://{host}")) is not None
    assert asked == hosts
    for host in ("one.more.example", hosts[0], hosts[-1]):
        assert proxies.find(URL(f"http://{host}")) is not None
    assert asked[1000:] == ["one.more.example", hosts[0]]
