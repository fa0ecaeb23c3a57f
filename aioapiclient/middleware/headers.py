"""The client's own headers, under those of the call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from multidict import CIMultiDict

from aioapiclient._headers import is_personal
from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler

__all__ = ["HeadersMiddleware"]


class HeadersMiddleware:
    """Lays the headers of the call over those of the client, and those over the library's own.

    *headers* are the client's, `OMIT` removing what the library would send; a function is asked for
    them once, at the first call. *library* are the ones that go anywhere; *headers* go to the
    client's own origin and to *trusted_origins* only, but for ``Accept...`` and ``User-Agent``.
    """

    def __init__(
        self,
        headers: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
        *,
        library: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None,
        trusted_origins: tuple[str, ...] = (),
    ) -> None:
        self._headers = headers or {}
        self._library = library or {}
        self._trusted_origins = tuple(trusted_origins)
        self._home: _Layers | None = None
        self._foreign = _Layers(CIMultiDict())
        self._withheld: tuple[str, ...] = ()

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* with the client's headers under its own."""
        return await self.join(handler)(request)

    def join(self, handler: Handler) -> Handler:
        """The handler that this makes of *handler*."""

        def with_headers(request: APIRequest) -> Awaitable[AsyncAPIResponse[Any]]:
            layers = self._home or self._lay_out(request)
            if not request.is_trusted(self._trusted_origins):
                layers = self._foreign
                request.withheld += self._withheld
            headers = layers.headers.copy()
            if layers.takes_accept:
                headers["Accept"] = request.accept
            body = request.body
            if body is not None and body.content_type and layers.takes_content_type:
                headers["Content-Type"] = body.content_type
            if request.headers:
                headers.update(request.headers)
            for name, values in request.call_headers:
                if not values:
                    headers.popall(name, None)
            request.headers = headers
            return handler(request)

        return with_headers

    def _lay_out(self, request: APIRequest) -> _Layers:
        # Asked for here and not in __init__: a client's hooks may need what its subclass sets up later.
        headers = self._headers() if callable(self._headers) else self._headers
        library = self._library() if callable(self._library) else self._library
        self._foreign = _laid_out(request, library, {n: v for n, v in headers.items() if _is_neutral(n)})
        self._withheld = tuple(name for name, value in headers.items() if is_personal(name) and value)
        self._home = _laid_out(request, library, headers)
        return self._home


class _Layers:
    """The headers below those of a call, and what the library may still fill in for each request."""

    def __init__(self, headers: CIMultiDict[str]) -> None:
        self.headers = headers
        self.takes_accept = _take_out(headers, "Accept")
        self.takes_content_type = _take_out(headers, "Content-Type")


# Stands for what the library fills in, until a layer says otherwise or omits it.
_FILLED_IN = "filled in"


def _laid_out(request: APIRequest, library: Mapping[str, str], headers: Mapping[str, Any]) -> _Layers:
    draft = request.copy()
    draft.headers = CIMultiDict({"Accept": _FILLED_IN, "Content-Type": _FILLED_IN})
    draft.set_headers(library)
    draft.set_headers(headers)
    return _Layers(draft.headers)


def _take_out(headers: CIMultiDict[str], name: str) -> bool:
    if headers.get(name) is not _FILLED_IN:
        return False
    del headers[name]
    return True


def _is_neutral(name: str) -> bool:
    # A call's own Content-... headers go abroad with its body; the client's are for the client's own bodies.
    name = name.lower()
    return name.startswith("accept-") or name in {"accept", "user-agent"}
