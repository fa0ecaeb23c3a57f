"""The client's headers, overridden by those of the call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from multidict import CIMultiDict

from aioapiclient._checks import check_origins
from aioapiclient._headers import is_personal
from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler

__all__ = ["HeadersMiddleware"]


class HeadersMiddleware:
    """Merges the headers of a call over the client's headers, and both over the library's headers.

    The arguments override the headers that the client's hooks return (``default_headers``,
    ``platform_headers``, ``user_agent``).

    Args:
        headers: The client's headers, or a function that returns them, called once per call. `OMIT`
            removes a header that the library would send. All but ``Accept...`` and ``User-Agent`` are
            sent only to the client's own origin and to *trusted_origins*.
        library: Headers of the lowest layer, sent to every origin, or a function that returns them.
        trusted_origins: Patterns of other origins that may receive *headers*, such as
            ``https://*.example.com``.

    Raises:
        InvalidRequestError: A pattern is not valid; raised by the first call.
        TypeError: *trusted_origins* is not an iterable of str.
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
        self._trusted_origins = check_origins("trusted_origins", trusted_origins)
        self._layers = _Layers()
        self._hooks: object = None  # the hooks of the client whose calls can reuse the layers

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* with the client's headers merged below its own."""
        return await self._join(handler)(request)

    def _join(self, handler: Handler) -> Handler:
        """Return *handler* wrapped in this middleware."""

        def with_headers(request: APIRequest) -> Awaitable[AsyncAPIResponse[Any]]:
            layers = self._layers if request._settings.hooks is self._hooks else self._lay_out(request)
            draft = layers.own
            if not request.is_trusted(self._trusted_origins):
                draft = layers.foreign
                request._withheld += layers.withheld
            headers = draft.headers.copy()
            if draft.takes_accept:
                headers["Accept"] = request._accept
            body = request.body
            if body is not None and body.content_type and draft.takes_content_type:
                headers["Content-Type"] = body.content_type
            if request.headers:
                headers.update(request.headers)
            for name, values in request._call_headers:
                if not values:
                    headers.popall(name, None)
            request.headers = headers
            return handler(request)

        return with_headers

    def _lay_out(self, request: APIRequest) -> _Layers:
        """Collect the headers of all sources, and rebuild the layers if they changed."""
        hooks = request._settings.hooks
        sources: tuple[Any, ...] = (
            hooks.library_headers,
            self._library,
            hooks.default_headers or {},
            self._headers,
        )
        given = [_resolved(source) for source in sources]
        layers = self._layers
        if not layers.are_of(given):
            layers = _Layers(given)
            layers.lay_out(request)
            self._layers = layers
        self._hooks = None if any(map(callable, sources)) else hooks
        return layers


def _resolved(source: Any) -> Mapping[str, Any]:
    layer: Any = source() if callable(source) else source
    if not isinstance(layer, Mapping):
        raise TypeError(f"default headers must be a mapping of names to values, not {type(layer).__name__}")
    return cast("Mapping[str, Any]", layer)


class _Layers:
    """The headers of the layers below a call, for the client's own origin and for other origins."""

    def __init__(self, given: Sequence[Mapping[str, Any]] = ()) -> None:
        self._given = given
        self._made_of = _contents(given)
        self.own = self.foreign = _Draft(CIMultiDict())
        self.withheld: tuple[str, ...] = ()  # names that foreign origins do not receive

    def are_of(self, given: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether the layers were built from *given*, since hooks usually return the same headers."""
        return self._made_of == _contents(given)

    def lay_out(self, request: APIRequest) -> None:
        """Check the given headers, and build the drafts from them."""
        library, more, *own = self._given
        neutral = [{n: v for n, v in layer.items() if _is_neutral(n)} for layer in own]
        self.own = _laid_out(request, library, more, *own)
        self.foreign = _laid_out(request, library, more, *neutral)
        self.withheld = tuple(n for layer in own for n, v in layer.items() if is_personal(n) and v)


def _contents(given: Sequence[Mapping[str, Any]]) -> list[list[tuple[str, Any]]]:
    return [list(layer.items()) for layer in given]


class _Draft:
    """Initial headers, and which of them the library fills in for each request."""

    def __init__(self, headers: CIMultiDict[str]) -> None:
        self.headers = headers
        self.takes_accept = _take_out(headers, "Accept")
        self.takes_content_type = _take_out(headers, "Content-Type")


# A placeholder for a value that the library fills in unless a layer sets or omits the header.
_FILLED_IN = "filled in"


def _laid_out(request: APIRequest, *layers: Mapping[str, Any]) -> _Draft:
    draft = request.copy()
    draft.headers = CIMultiDict({"Accept": _FILLED_IN, "Content-Type": _FILLED_IN})
    for layer in layers:
        draft.set_headers(layer)
    return _Draft(draft.headers)


def _take_out(headers: CIMultiDict[str], name: str) -> bool:
    if headers.get(name) is not _FILLED_IN:
        return False
    del headers[name]
    return True


def _is_neutral(name: str) -> bool:
    # A call's own Content-... headers follow its body to a foreign origin; the client's do not.
    name = name.lower()
    return name.startswith("accept-") or name in {"accept", "user-agent"}
