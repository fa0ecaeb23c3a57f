"""How a call runs: built, sent down the chain in its scope, and made into what the caller asked for."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast, overload

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from ._building import build_request
from ._chain import check_auth, fold, insert
from ._codecs import check_cast_to
from ._lifecycle import Lifecycle
from ._options import check_iterable, layer_options
from ._pagination import AsyncPage, AsyncPaginator, PageMaker
from ._polling import Polling
from ._raw import handed_out, is_wished, take_wanted
from ._request import APIRequest
from ._response import AsyncAPIResponse, is_response_type, result_type
from ._resume import ReconnectPolicy
from ._stream import AsyncStream, Until
from ._types import NOT_GIVEN, CallOptions, RequestOptions
from .contract import Handler, Middleware
from .errors import RequestNotReplayableError
from .streaming import ServerSentEvent, SSEStream

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["Calls"]

_MOST_PATTERNS = 512  # a path may hold an id: what is remembered must not grow for ever

T = TypeVar("T")
PageT = TypeVar("PageT", bound=AsyncPage[Any])

_RESPONSE: Any = AsyncAPIResponse  # subscripted with types that are known at run time only


class Calls(Polling):
    """Every way to make a call: values, streams, unread responses and pages."""

    _shared: Lifecycle
    _chain: tuple[Middleware, ...]
    _handler: Handler
    _is_plain: bool
    """Whether a call without options is nothing but its path: no hook nor default parameter adds to it."""

    def _innermost(self) -> Handler:
        raise NotImplementedError

    def _adopt(self, thing: object) -> None:
        raise NotImplementedError

    def _call(
        self,
        method: str,
        path: str | URL,
        cast_to: Any,
        stream: bool,
        options: CallOptions | None,
        keywords: RequestOptions,
    ) -> Awaitable[Any]:
        """The call that these words make, to be awaited: the way there costs no coroutine of its own."""
        is_raw = cast_to is aiohttp.ClientResponse
        if keywords or options or stream or is_raw or not self._is_plain or is_wished() is not None:
            return self._call_with(method, path, cast_to, stream, options, keywords)
        return self._value_of(self._build_plain(method, path, cast_to), self._handler, cast_to)

    async def _call_with(
        self,
        method: str,
        path: str | URL,
        cast_to: Any,
        stream: bool,
        options: CallOptions | None,
        keywords: RequestOptions,
    ) -> Any:
        if stream:
            return await self._open_stream(method, path, cast_to, SSEStream, options, keywords)
        # Before the hooks: what they send is not what a wrapped method was asked for.
        wanted, asked = take_wanted(), is_response_type(cast_to)
        given = layer_options(keywords, options)
        if given or self._own_hooks:
            given = await self._prepare(given)
        if cast_to is aiohttp.ClientResponse:
            return await self._call_raw(method, path, given)
        unread = wanted == "unread response"
        target = cast_to if asked or wanted == "value" else _RESPONSE[cast_to]
        request = self._build_checked(method, path, target, given, self.default_params, unread)
        handler = self._handler_for(given) if given else self._handler
        if wanted == "value" and not asked:
            return await self._value_of(request, handler, cast_to)
        response = await self._send(request, handler)
        handed_out(response, asked=asked)
        return response if wanted != "value" else await self._processed(response, cast_to)

    async def _value_of(self, request: APIRequest, handler: Handler, cast_to: Any) -> Any:
        """Send *request* down the chain as `_run` does, and give the value of what comes back."""
        with self._shared.begin(request):
            response = await handler(request)
            if type(response) is not AsyncAPIResponse or not 200 <= response.status < 300:
                await self._refuse(response)
        value = response.value
        if value is not NOT_GIVEN and "_process_response" not in self._own_hooks:
            return value
        return await self._processed(response, cast_to)

    async def _call_raw(self, method: str, path: str | URL, given: RequestOptions) -> aiohttp.ClientResponse:
        request = self._build(method, path, aiohttp.ClientResponse, given, stream=True, accept="*/*")
        response = await self._run(request, self._handler_for(given))
        return cast("aiohttp.ClientResponse", await self._processed(response, aiohttp.ClientResponse))

    async def _processed(self, response: AsyncAPIResponse[Any], cast_to: Any) -> Any:
        try:
            return await self._process_response(response, cast_to)
        except BaseException:
            await response.close()
            raise

    async def _open_stream(
        self,
        method: str,
        path: str | URL,
        cast_to: Any,
        stream_cls: type[AsyncStream[Any]],
        options: CallOptions | None,
        keywords: RequestOptions,
        until: Until | None = None,
        reconnect: bool | ReconnectPolicy = False,
    ) -> Any:
        _check_stream_class(stream_cls)
        stream_cls.check_options(until, reconnect)
        self._check_event_type(cast_to)
        wanted = take_wanted()
        given = await self._prepare(layer_options(keywords, options))
        request = self._build(method, path, cast_to, given, stream=True, accept=stream_cls.accept)
        for name, value in stream_cls.request_headers.items():
            if not request.call_sets(name):
                request.headers.setdefault(name, value)
        response = await self._send(request, self._handler_for(given))
        try:
            events = stream_cls(
                response,
                cast_to,
                make_error=self._make_stream_error,
                until=until,
                reconnect=reconnect,
                sleep=self._pause,
            )
        except BaseException:
            await response.close()
            raise
        if wanted == "value":
            return events
        response.value = events
        return handed_out(response, asked=False)

    async def _send(self, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        """Send *request*; an unread response is tracked, and can be asked for again."""
        if not request.stream:
            return await self._run(request, handler)
        pristine = request.copy()
        response = await self._run(request, handler)
        self._shared.track(response)
        pristine.deadline = response.request.deadline
        response.again = functools.partial(self._send_again, pristine, handler)
        return response

    async def _pause(self, seconds: float) -> None:
        """Wait between calls, in a scope that the closing of the client can end."""
        with self._shared.begin():
            await self._sleep_for_retry(seconds)

    async def _send_again(
        self, request: APIRequest, handler: Handler, headers: Mapping[str, str]
    ) -> AsyncAPIResponse[Any]:
        """Send the same call once more, with *headers* over its own, through the whole chain."""
        if not request.can_be_sent:
            raise RequestNotReplayableError(
                f"{request.label}: cannot be sent again, its body can be sent only once", request=request
            )
        again = request.copy()
        again.add_call_headers(headers)
        return await self._send(again, handler)

    # --- unread responses and streams

    @overload
    def stream(
        self,
        method: str,
        path: str | URL,
        *,
        stream_cls: type[AsyncStream[Any]] = ...,
        until: Until | None = None,
        reconnect: bool | ReconnectPolicy = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AbstractAsyncContextManager[AsyncStream[Any]]: ...
    @overload
    def stream(
        self,
        method: str,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream_cls: type[AsyncStream[Any]] = ...,
        until: Until | None = None,
        reconnect: bool | ReconnectPolicy = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AbstractAsyncContextManager[AsyncStream[T]]: ...
    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream_cls: type[AsyncStream[Any]] = SSEStream,
        until: Until | None = None,
        reconnect: bool | ReconnectPolicy = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncGenerator[Any, None]:
        """A stream of events, each as *cast_to*: ``async with api.stream("POST", path, Event) as events``.

        *stream_cls* decides the framing: `SSEStream`, or `JSONLStream`. *until* recognises the event
        that ends it; *reconnect* opens a broken SSE stream again, as browsers do. Leaving the block
        closes it. Raises what `request` raises, and while iterating what `AsyncStream` says.
        """
        events = await self._open_stream(
            method, path, cast_to, stream_cls, options, request_options, until=until, reconnect=reconnect
        )
        try:
            yield events
        finally:
            await events.close()

    def _check_event_type(self, cast_to: Any) -> None:
        if is_response_type(cast_to):
            raise TypeError(
                "cast_to of a stream is the type of its events, not AsyncAPIResponse:"
                " client.open(method, path) gives an unread response"
            )
        if cast_to is not ServerSentEvent:
            check_cast_to(cast_to, self._config.settings.dec_hook)

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str | URL,
        *,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncGenerator[AsyncAPIResponse[Any], None]:
        """An unread response, to read in pieces or to write to a file; leaving the block closes it.

        Raises what `request` raises.
        """
        given = await self._prepare(layer_options(request_options, options))
        request = self._build(method, path, Any, given, stream=True, accept="*/*")
        async with await self._send(request, self._handler_for(given)) as response:
            yield response

    async def _prepare(self, given: RequestOptions) -> RequestOptions:
        if "_prepare_options" in self._own_hooks:
            given = await self._prepare_options(given)
        auth = given.get("auth")
        if auth is not None:
            check_auth(auth)
            self._adopt(auth)
        return given

    def _build_plain(self, method: str, path: str | URL, cast_to: Any) -> APIRequest:
        """A request that is nothing but its path: made once, and copied for each call after."""
        patterns = self._config.patterns
        try:
            pattern = patterns.get((method, path, cast_to))
        except TypeError:  # not hashable, such as Annotated with a list
            return self._build_checked(method, path, cast_to, {}, {})
        if pattern is None:
            request = self._build_checked(method, path, cast_to, {}, {})
            if request.idempotency_key is None:
                if len(patterns) >= _MOST_PATTERNS:
                    patterns.clear()
                patterns[method, path, cast_to] = request.copy()
            return request
        request = pattern.__copy__()
        request.headers = CIMultiDict()
        request.cast_to = cast_to
        request.extensions = {}
        return request

    def _build_checked(
        self,
        method: str,
        path: str | URL,
        cast_to: Any,
        given: RequestOptions,
        params: Mapping[str, Any],
        stream: bool = False,
    ) -> APIRequest:
        target = result_type(cast_to)
        check_cast_to(target, self._config.settings.dec_hook)
        accept = "*/*" if target is bytes else "application/json"
        return self._build(method, path, cast_to, given, params, stream=stream, accept=accept)

    def _build(
        self,
        method: str,
        path: str | URL,
        cast_to: Any,
        given: RequestOptions,
        params: Mapping[str, Any] | None = None,
        *,
        stream: bool = False,
        accept: str = "application/json",
    ) -> APIRequest:
        return build_request(
            self._config,
            method,
            path,
            cast_to,
            given,
            stream=stream,
            accept=accept,
            default_params=self.default_params if params is None else params,
            make_key=self._idempotency_key,
        )

    async def _run(self, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        """Send *request* down the chain, in a scope that the closing of the client can end."""
        with self._shared.begin(request) as scope:
            opened: list[AsyncAPIResponse[Any]] = []
            scope.opened = opened if request.stream else None
            try:
                response = await handler(request)
                await self._refuse(response)
            except BaseException:
                # A middleware that is ended after the head has nobody to give its response to.
                for lost in opened:
                    await lost.close()
                raise
            finally:
                scope.opened = None
        return response

    async def _refuse(self, response: AsyncAPIResponse[Any]) -> None:
        """Raise the error for what the chain gave, if it is no success."""
        if not isinstance(response, AsyncAPIResponse):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"The chain gave a {type(response).__name__}, not a response: does a middleware return?"
            )
        if response.ok:
            return
        await response.read_error()
        error = self._make_status_error(response, response.error_body())
        for note in response.notes:
            error.add_note(note)
        raise error

    def _handler_for(self, given: RequestOptions) -> Handler:
        if "middlewares" not in given:
            return self._handler
        middlewares = check_iterable("middlewares", given["middlewares"])
        return fold(insert(self._chain, middlewares), self._innermost())

    # --- pages

    @overload
    def get_api_list(
        self,
        path: str | URL,
        model: TypeForm[T],
        page: PageMaker[T, PageT],
        *,
        method: str = "get",
        limit: int | None = None,
        prefetch: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncPaginator[T, PageT]: ...
    @overload
    def get_api_list(  # pyright: ignore[reportOverlappingOverload]  (a page class with required fields)
        self,
        path: str | URL,
        model: TypeForm[T],
        page: type[PageT],
        *,
        method: str = "get",
        limit: int | None = None,
        prefetch: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncPaginator[T, PageT]: ...
    def get_api_list(
        self,
        path: str | URL,
        model: Any,
        page: Any,
        *,
        method: str = "get",
        limit: int | None = None,
        prefetch: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncPaginator[Any, Any]:
        """The items of a list that comes in pages: ``async for user in api.get_api_list(...)``.

        *page* is the kind of page, *model* the type of an item. Awaiting it gives the first page.
        *limit* is how many items there will be at most; *prefetch* asks for the next page while the
        items of one are handed out. Each page is a call of its own, with the same options.

        Raises what `request` raises, and `APIResponseValidationError` for a page that leads back to
        one that was there.
        """
        return AsyncPaginator(
            self._request_api_list,
            path,
            model=model,
            page=page,
            method=method,
            limit=limit,
            prefetch=prefetch,
            options=layer_options(request_options, options),
        )


def _check_stream_class(stream_cls: object) -> None:
    if not (isinstance(stream_cls, type) and issubclass(stream_cls, AsyncStream)):
        raise TypeError(
            f"stream_cls must be a subclass of AsyncStream, such as SSEStream, not {stream_cls!r}"
        )
