"""Which proxy a URL goes through, and how a proxy is told who asks."""

from __future__ import annotations

import base64
import ipaddress
from typing import Any, Final, NamedTuple
from urllib import request as environment
from urllib.parse import unquote

from yarl import URL

from aioapiclient._headers import is_utf8
from aioapiclient._patterns import lazily
from aioapiclient._url.base import redact_url
from aioapiclient._url.syntax import encode_host, split_zone
from aioapiclient.errors import InvalidRequestError

__all__ = ["EnvironmentProxies", "NoProxy", "Proxy"]

_SEPARATORS: Final = lazily(r"[\s,]+")


class Proxy(NamedTuple):
    """A proxy: its address without the credentials, and the header that carries them."""

    url: URL
    authorization: str | None

    def __repr__(self) -> str:
        return f"<Proxy {redact_url(self.url)}>"

    @classmethod
    def parse(cls, proxy: str | URL, name: str = "proxy") -> Proxy:
        """Take the credentials out of a proxy's URL, which messages call *name*.

        Raises `InvalidRequestError` for what is no URL of an HTTP proxy; never with its credentials.
        """
        try:
            url = URL(proxy)
        except ValueError:
            url = None  # refused out here: the error may quote a password
        if url is None:
            raise InvalidRequestError(f"{name} is not a URL")
        if url.scheme not in ("http", "https") or not url.raw_host:
            raise InvalidRequestError(
                f"{name} must be an http:// or https:// URL with a host; for SOCKS give a connector factory"
            )
        return cls(url.origin(), _authorization(url))


def _authorization(url: URL) -> str | None:
    """The value of Proxy-Authorization (RFC 9110 §11.7.2, RFC 7617) for the userinfo of *url*."""
    if url.raw_user is None and url.raw_password is None:
        return None
    userinfo = f"{unquote(url.raw_user or '')}:{unquote(url.raw_password or '')}"
    if not is_utf8(userinfo):  # older yarls let it pass
        raise InvalidRequestError("proxy has a user or a password with a lone surrogate, which has no UTF-8")
    return "Basic " + base64.b64encode(userinfo.encode()).decode("ascii")


class EnvironmentProxies:
    """The proxies of the environment, read once, when made; netrc is never read.

    ``http_proxy`` and ``https_proxy`` are for their schemes, ``all_proxy`` for a scheme without one of
    its own, and ``no_proxy`` names what is reached directly: see `NoProxy`. Where the environment names
    none of them the system's own count, as `urllib.request.getproxies` finds them.
    """

    __slots__ = ("_bypass", "_known", "_proxies")

    def __init__(self) -> None:
        named = environment.getproxies_environment()
        self._proxies = named or environment.getproxies()
        self._bypass = NoProxy(named.get("no", "")) if named else None
        self._known: dict[tuple[str, str, int | None], Proxy | None] = {}

    def find(self, url: URL) -> Proxy | None:
        """Return the proxy for *url*, None where it is reached directly.

        Raises:
            InvalidRequestError: The environment names a proxy of another kind for it.

        """
        key = (url.scheme, url.raw_host or "", url.port)
        if key not in self._known:
            if len(self._known) >= 1000:
                self._known.clear()
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
    """The hosts that a ``no_proxy`` names, its entries separated by commas or white space.

    Each entry is read as curl and Go read it: ``*`` for every host; an IP address or a network
    (``10.0.0.0/8``, ``fd00::/8``), compared with addresses in URLs and never with what a name resolves
    to; a domain, with or without a leading dot, for itself and the names below it; ``*.domain`` for
    the names below it alone. All but networks may end in a port. What is none of these names no host.
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
        """Return whether *host*, of a URL, is named, with any port or with *port*."""
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
