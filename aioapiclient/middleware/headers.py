"""The client's own headers, under those of the call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from multidict import CIMultiDict

from aioapiclient._checks import check_origins
from aioapiclient._headers import is_personal
from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler

__all__ = ["HeadersMiddleware"]


class HeadersMiddleware:
    """Lays the headers of the call over those of the client, and those over the library's own.

    *headers* are the client's, `OMIT` removing what the library would send; a function is asked for
    them at each call. *library* are the ones that go anywhere; *headers* go to the client's own origin
    and to *trusted_origins* only, but for ``Accept...`` and ``User-Agent``. Both lie over what the
    client that makes the call says by its hooks (``default_headers``, ``platform_headers``, ``user_agent``).
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
        self._hooks: object = None  # of the client for whose calls the layers stay as they are

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* with the client's headers under its own."""
        return await self._join(handler)(request)

    def _join(self, handler: Handler) -> Handler:
        """The handler that this makes of *handler*."""

        def with_headers(request: APIRequest) -> Awaitable[AsyncAPIResponse[Any]]:
            layers = self._layers if request.settings.hooks is self._hooks else self._lay_out(request)
            draft = layers.home
            if not request.is_trusted(self._trusted_origins):
                draft = layers.foreign
                request.withheld += layers.withheld
            headers = draft.headers.copy()
            if draft.takes_accept:
                headers["Accept"] = request.accept
            body = request.body
            if body is not None and body.content_type and draft.takes_content_type:
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
        """Ask everybody for their headers, and lay them out if they are not what they were."""
        hooks = request.settings.hooks
        sources: tuple[Any, ...] = (
            hooks.library_headers,
            self._library,
            hooks.default_headers or {},
            self._headers,
        )
        given = [_asked(source) for source in sources]
        layers = self._layers
        if not layers.are_of(given):
            layers = _Layers(given)
            layers.lay_out(request)
            self._layers = layers
        self._hooks = None if any(map(callable, sources)) else hooks
        return layers


def _asked(source: Any) -> Mapping[str, Any]:
    layer: Any = source() if callable(source) else source
    if not isinstance(layer, Mapping):
        raise TypeError(f"default headers must be a mapping of names to values, not {type(layer).__name__}")
    return cast("Mapping[str, Any]", layer)


class _Layers:
    """The headers below those of a call, for the client's own origin and for others."""

    def __init__(self, given: Sequence[Mapping[str, Any]] = ()) -> None:
        self._given = given
        self._made_of = _contents(given)
        self.home = self.foreign = _Draft(CIMultiDict())
        self.withheld: tuple[str, ...] = ()  # the names that others do not get

    def are_of(self, given: Sequence[Mapping[str, Any]]) -> bool:
        """Whether *given* is what they were made of: hooks are asked often, and say the same most times."""
        return self._made_of == _contents(given)

    def lay_out(self, request: APIRequest) -> None:
        """Check what was given, and lay it out."""
        library, more, *own = self._given
        neutral = [{n: v for n, v in layer.items() if _is_neutral(n)} for layer in own]
        self.home = _laid_out(request, library, more, *own)
        self.foreign = _laid_out(request, library, more, *neutral)
        self.withheld = tuple(n for layer in own for n, v in layer.items() if is_personal(n) and v)


def _contents(given: Sequence[Mapping[str, Any]]) -> list[list[tuple[str, Any]]]:
    return [list(layer.items()) for layer in given]


class _Draft:
    """Headers to start from, and what the library may still fill in for each request."""

    def __init__(self, headers: CIMultiDict[str]) -> None:
        self.headers = headers
        self.takes_accept = _take_out(headers, "Accept")
        self.takes_content_type = _take_out(headers, "Content-Type")


# Stands for what the library fills in, until a layer says otherwise or omits it.
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
    # A call's own Content-... headers go abroad with its body; the client's are for the client's own bodies.
    name = name.lower()
    return name.startswith("accept-") or name in {"accept", "user-agent"}
