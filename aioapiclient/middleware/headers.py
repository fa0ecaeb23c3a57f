"""The client's own headers, under those of the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from multidict import CIMultiDict

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
        self._ready = False
        self._home: CIMultiDict[str] = CIMultiDict()
        self._foreign: CIMultiDict[str] = CIMultiDict()

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* with the client's headers under its own."""
        if not self._ready:
            self._lay_out(request)
        headers = (self._home if request.is_trusted(self._trusted_origins) else self._foreign).copy()
        if "Accept" not in headers:
            headers["Accept"] = request.accept
        body = request.body
        if body is not None and body.content_type and "Content-Type" not in headers:
            headers["Content-Type"] = body.content_type
        if request.headers:
            headers.update(request.headers)
        for name, values in request.call_headers:
            if not values:
                headers.popall(name, None)
        request.headers = headers
        return await handler(request)

    def _lay_out(self, request: APIRequest) -> None:
        # Asked for here and not in __init__: a client's hooks may need what its subclass sets up later.
        headers = self._headers() if callable(self._headers) else self._headers
        library = self._library() if callable(self._library) else self._library
        draft = request.copy()
        draft.headers = CIMultiDict()
        draft.set_headers(library)
        self._foreign = draft.headers.copy()
        draft.set_headers(headers)
        self._home = draft.headers
        draft.headers = self._foreign
        draft.set_headers({name: value for name, value in headers.items() if _is_neutral(name)})
        self._ready = True


def _is_neutral(name: str) -> bool:
    name = name.lower()
    return name == "user-agent" or name == "accept" or name.startswith("accept-")
