"""The proxy of a URL, and its credentials."""

from __future__ import annotations

import base64
import ipaddress
from typing import Any, Final
from urllib import request as environment
from urllib.parse import unquote

import msgspec
from yarl import URL

from aioapiclient._bounded import BoundedDict
from aioapiclient._headers import is_utf8
from aioapiclient._patterns import lazily
from aioapiclient._url.base import redact_url
from aioapiclient._url.syntax import encode_host, split_zone
from aioapiclient.errors import InvalidRequestError

__all__ = ["EnvironmentProxies", "NoProxy", "Proxy"]

_SEPARATORS: Final = lazily(r"[\s,]+")


class Proxy(msgspec.Struct, frozen=True):
    """A proxy: its address without the credentials, and the header with the credentials."""

    url: URL
    """The address, without credentials."""
    authorization: str | None
    """The value of Proxy-Authorization; None without credentials."""

    def __repr__(self) -> str:
        return f"<Proxy {redact_url(self.url)}>"

    @classmethod
    def parse(cls, proxy: str | URL, name: str = "proxy") -> Proxy:
        """Split a proxy's URL into its address and its credentials.

        Args:
            proxy: The URL.
            name: The name of the argument in messages, which never show the credentials.

        Raises:
            InvalidRequestError: *proxy* is not the URL of an HTTP proxy.
        """
        try:
            url = URL(proxy)
        except ValueError:
            url = None  # raise outside of this block: the error may quote a password
        if url is None:
            raise InvalidRequestError(f"{name} is not a URL")
        if url.scheme not in ("http", "https") or not url.raw_host:
            raise InvalidRequestError(
                f"{name} must be an http:// or https:// URL with a host; for SOCKS pass a connector factory"
            )
        return cls(url.origin(), _authorization(url))


def _authorization(url: URL) -> str | None:
    """Return the value of Proxy-Authorization (RFC 9110 §11.7.2, RFC 7617) for the userinfo of *url*."""
    if url.raw_user is None and url.raw_password is None:
        return None
    userinfo = f"{unquote(url.raw_user or '')}:{unquote(url.raw_password or '')}"
    if not is_utf8(userinfo):  # older versions of yarl accept it
        raise InvalidRequestError("proxy has a user or a password that cannot be encoded as UTF-8")
    return "Basic " + base64.b64encode(userinfo.encode()).decode("ascii")


class EnvironmentProxies:
    """The proxies of the environment, read once when the object is created; netrc is never read.

    ``http_proxy`` and ``https_proxy`` apply to their schemes, ``all_proxy`` to a scheme without its own, and
    ``no_proxy`` lists the hosts to reach directly: see `NoProxy`. If the environment sets none of them, the
    system's settings apply, as `urllib.request.getproxies` finds them.
    """

    __slots__ = ("_bypass", "_known", "_proxies")

    def __init__(self) -> None:
        named = environment.getproxies_environment()
        self._proxies = named or environment.getproxies()
        self._bypass = NoProxy(named.get("no", "")) if named else None
        self._known: BoundedDict[tuple[str, str, int | None], Proxy | None] = BoundedDict(1000)

    def find(self, url: URL) -> Proxy | None:
        """Return the proxy for *url*, or None to reach it directly.

        Raises:
            InvalidRequestError: The environment names a proxy that is not an HTTP proxy.

        """
        key = (url.scheme, url.raw_host or "", url.port)
        if key not in self._known:
            self._known[key] = self._resolve(*key)
        return self._known[key]

    def _resolve(self, scheme: str, host: str, port: int | None) -> Proxy | None:
        name = next((name for name in (scheme, "all") if self._proxies.get(name, "").strip()), None)
        if name is None or self._is_bypassed(host, port):
            return None
        value = self._proxies[name].strip()
        return Proxy.parse(value if "://" in value else f"http://{value}", f"{name}_proxy")

    def _is_bypassed(self, host: str, port: int | None) -> bool:
        if self._bypass is None:
            return bool(environment.proxy_bypass(host))
        return self._bypass.names(host, port)


class NoProxy:
    """The hosts in the value of ``no_proxy``, separated by commas or white space.

    Entries are read as in curl and Go: ``*`` matches every host; an IP address or a network
    (``10.0.0.0/8``, ``fd00::/8``) matches addresses in URLs, but not the addresses of names; a domain, with
    or without a leading dot, matches itself and its subdomains; ``*.domain`` matches only its subdomains.
    All entries except networks may end with a port. Any other entry matches no host.
    """

    __slots__ = ("_domains", "_everything", "_networks")

    def __init__(self, text: str) -> None:
        entries = [entry for entry in _SEPARATORS.split(text.lower()) if entry]
        self._everything = "*" in entries
        self._networks: list[tuple[Any, int | None]] = []
        self._domains: list[tuple[str, int | None]] = []
        for entry in entries:
            self._add(entry)

    def _add(self, entry: str) -> None:
        match = _HOST_PORT.fullmatch(entry)
        host, port = entry, None
        if match is not None:
            host = match["name"] if match["address"] is None else match["address"]
            port = None if match["port"] is None else int(match["port"])
        try:
            self._networks.append((ipaddress.ip_network(split_zone(host)[0], strict=False), port))
        except ValueError:
            self._domains.append((_encoded(host.strip(".")), port))

    def names(self, host: str, port: int | None) -> bool:
        """Return whether an entry matches *host* of a URL, without a port or with *port*."""
        if self._everything:
            return True
        host = split_zone(host)[0].lower().rstrip(".")
        try:
            address: Any = ipaddress.ip_address(host)
        except ValueError:
            return any(_is_below(host, domain) for domain, own in self._domains if own in (None, port))
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network, own in self._networks if own in (None, port))


# A bare IPv6 address has colons and no port.
_HOST_PORT: Final = lazily(r"(?:\[(?P<address>[^\]]*)\]|(?P<name>[^:]*))(?::(?P<port>\d{1,5}))?")


def _encoded(domain: str) -> str:
    try:
        return encode_host(domain, "no_proxy")
    except InvalidRequestError:
        return ""


def _is_below(host: str, domain: str) -> bool:
    if not domain.startswith("*."):
        return host == domain or (bool(domain) and host.endswith(f".{domain}"))
    return host.endswith(domain[1:])
