"""Which proxy a URL goes through, and how a proxy is told who asks."""

from __future__ import annotations

import base64
from typing import Any, Final, NamedTuple
from urllib import request as environment
from urllib.parse import unquote

from yarl import URL

from aioapiclient._headers import is_utf8
from aioapiclient._patterns import lazily
from aioapiclient._url.base import redact_url
from aioapiclient.errors import InvalidRequestError

__all__ = ["EnvironmentProxies", "Proxy"]

_SEPARATORS: Final = lazily(r"[\s,]+")


class Proxy(NamedTuple):
    """A proxy: its address without the credentials, and the header that carries them."""

    url: URL
    authorization: str | None

    def __repr__(self) -> str:
        return f"<Proxy {redact_url(self.url)}>"

    @classmethod
    def parse(cls, proxy: str | URL) -> Proxy:
        """Take the credentials out of a proxy's URL.

        Raises `InvalidRequestError` for what is no URL of an HTTP proxy; never with its credentials.
        """
        try:
            url = URL(proxy)
        except ValueError:
            url = None  # refused out here: the error may quote a password
        if url is None:
            raise InvalidRequestError("proxy is not a URL")
        if url.scheme not in ("http", "https") or not url.raw_host:
            raise InvalidRequestError(
                "proxy must be an http:// or https:// URL with a host; for SOCKS give a connector factory"
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
    """The proxies of the environment (``http_proxy``, ``https_proxy``, ``no_proxy``), read once, when made.

    They are those of `urllib.request.getproxies`, the system's own where the environment names none.
    The names in ``no_proxy`` may stand apart by commas or white space. netrc is never read.
    """

    __slots__ = ("_bypassed", "_from_environment", "_known", "_proxies")

    def __init__(self) -> None:
        self._from_environment = environment.getproxies_environment()
        self._proxies = self._from_environment or environment.getproxies()
        self._bypassed = ",".join(_SEPARATORS.split(self._proxies.get("no", "").strip()))
        self._known: dict[tuple[str, str, int | None], Proxy | None] = {}

    def find(self, url: URL) -> Proxy | None:
        """The proxy for *url*, None where it is reached directly.

        Raises `InvalidRequestError` where the environment names what is no HTTP proxy.
        """
        key = (url.scheme, url.raw_host or "", url.port)
        if key not in self._known:
            if len(self._known) >= 1000:
                self._known.clear()
            self._known[key] = self._resolve(*key)
        return self._known[key]

    def _resolve(self, scheme: str, host: str, port: int | None) -> Proxy | None:
        value = self._proxies.get(scheme, "").strip()
        if not value or self._is_bypassed(host, port):
            return None
        return Proxy.parse(value if "://" in value else f"http://{value}")

    def _is_bypassed(self, host: str, port: int | None) -> bool:
        if not self._from_environment:
            return bool(environment.proxy_bypass(host))
        # What the stubs do not know, urllib has had for as long as there was Python 3.
        is_bypassed: Any = vars(environment)["proxy_bypass_environment"]
        return bool(is_bypassed(f"{host}:{port}", {"no": self._bypassed}))
