"""`AsyncAPIClient`: everything that users call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from yarl import URL

from aioapiclient._chain import explain, is_async
from aioapiclient._checks import check_seconds
from aioapiclient._codecs.decoders import check_cast_to
from aioapiclient._options import CallOptions, ClientOptions, RequestOptions, check_names, layer_options
from aioapiclient._pagination import AsyncPage, AsyncPaginator, PageMaker
from aioapiclient._query import DEFAULT_STYLE, QueryStyle
from aioapiclient._response import AsyncAPIResponse, result_type
from aioapiclient._transport.transport import AiohttpTransport
from aioapiclient._types import NOT_GIVEN, HeaderLayer, NotGiven, Params, StatusKey, Timeout, as_timeout
from aioapiclient.contract import Auth, Handler, Middleware
from aioapiclient.middleware.retry import RetryBudget, RetryPolicy
from aioapiclient.streaming import SSEStream
from aioapiclient.streaming._reconnect import ReconnectPolicy
from aioapiclient.streaming._stream import AsyncStream, Until

from .base import BaseClient
from .config import CLIENT_OPTIONS, Config
from .lifecycle import Lifecycle
from .polling import Pick, Poll, rules

if TYPE_CHECKING:
    import aiohttp
    from typing_extensions import TypeForm, TypeVar

    T = TypeVar("T", default=Any)
    ItemT = TypeVar("ItemT")
    PageT = TypeVar("PageT", bound=AsyncPage[Any])

__all__ = ["AsyncAPIClient"]


class AsyncAPIClient(BaseClient):
    """An API, typed: owns one session, passes each call through an ordered chain, ends in msgspec objects.

    ::

        async with AsyncAPIClient("https://api.example.com/v1", auth=BearerAuth(token)) as api:
            user = await api.get("/users/{id}", User, path_params={"id": 7})

    It can be made anywhere, at module level too: the session opens with the first call, inside the
    running loop. Use it as a context manager, or await `close`.

    Args:
        base_url: Where relative paths lead; its own path is kept.
        version: Of the SDK that is built on it, for the User-Agent.
        auth: The credential; sent to the base URL's origin and *trusted_origins* only.
        default_headers: Under those of each call; `OMIT` removes what the library would send.
        default_params: Query parameters under those of each call.
        query_style: How arrays and nested objects are written in queries and forms.
        max_retries: Attempts beyond the first, 2 by default; the shorthand of *retry*.
        retry: The whole policy.
        timeout: Limits of a call; a number is the whole call in seconds, None switches all off.
        middlewares: Yours: once per call, or where `per_attempt` and `per_send` say; names are loaded.
        chain: All of them, instead of the default chain.
        strict_response_validation: False only coerces what has the wrong type (``"1"`` to ``1``).
        dec_hook: msgspec's, for types it does not know.
        enc_hook: msgspec's, for types it does not know.
        error_types: What error bodies decode to: ``{404: NotFound, "4XX": Problem, "default": Any}``.
        idempotency_header: With it, every POST and PATCH gets a key, the same on every attempt.
        request_id_header: Where the server names its request.
        follow_redirects: Whether redirects are followed.
        trusted_origins: Patterns of other origins that may have what is personal: ``https://*.example.com``.
        max_body: Bytes of one buffered response body, decompressed (64 MiB); None for no bound.
        session: An aiohttp `ClientSession` of yours: used, never closed and never changed.
        transport: An `AiohttpTransport`, or any handler, such as `aioapiclient.testing.FakeTransport`.

    Raises `InvalidRequestError` for values that make no sense, and `TypeError` for wrong types and
    combinations.

    """

    def __init__(
        self,
        base_url: str | URL,
        *,
        version: str = "0",
        auth: Auth | None = None,
        default_headers: HeaderLayer | None = None,
        default_params: Params | None = None,
        query_style: QueryStyle = DEFAULT_STYLE,
        max_retries: int | NotGiven = NOT_GIVEN,
        retry: RetryPolicy | None = None,
        timeout: Timeout | float | NotGiven | None = NOT_GIVEN,
        middlewares: Iterable[Middleware | str] | None = (),
        chain: Iterable[Middleware | str] | None = None,
        strict_response_validation: bool = True,
        dec_hook: Callable[[type, Any], Any] | None = None,
        enc_hook: Callable[[Any], Any] | None = None,
        error_types: Mapping[StatusKey, Any] | None = None,
        idempotency_header: str | None = None,
        request_id_header: str = "x-request-id",
        follow_redirects: bool = True,
        trusted_origins: Iterable[str] = (),
        max_body: int | None = 64 << 20,
        session: aiohttp.ClientSession | None = None,
        transport: Handler | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in CLIENT_OPTIONS}
        if session is not None and transport is not None:
            raise TypeError("Give session or transport, not both: AiohttpTransport(session=...) takes yours")
        self._config = Config(given)
        self._budget = RetryBudget()
        self._is_view = False
        if transport is None:
            transport = AiohttpTransport(session=session)
        check_transport(transport)
        self._shared = Lifecycle(repr(self), transport)
        self._set_up_chain(given)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url}>"

    def with_options(self, **overrides: Unpack[ClientOptions]) -> Self:
        """A view: this client with other options, on the same session, retry budget and token caches.

        Mappings (``default_headers``, ``default_params``, ``error_types``) merge, what a `Timeout`
        leaves out is inherited, the rest replaces. ``__init__`` is not called again; closing a view
        closes nothing.

        Raises `TypeError` for ``session`` and ``transport``, which cannot differ, for an unknown
        name, and for ``chain`` together with what would live in it.
        """
        for name in ("session", "transport"):
            if name in overrides:
                raise TypeError(f"A view shares its client's {name}; make a client of its own for another")
        check_names(overrides, CLIENT_OPTIONS)
        view = self._view(Config(overrides, self._config))
        view._set_up_chain(overrides)
        return view

    copy = with_options

    # --- calls

    @overload
    async def request(
        self,
        method: str,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def request(
        self,
        method: str,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def request(
        self,
        method: str,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """Send *method* to *path*, and give what comes back as *cast_to*; without it, plain data.

        *path* is relative to the base URL, ``{name}`` filled from ``path_params``; or an absolute
        URL, which gets no credential unless its origin is trusted. With ``stream=True`` it is an
        `SSEStream` of *cast_to*. *options* are those that an SDK hands through from its own user;
        they lie over the keywords.

        Raises `APIStatusError` for a status that is no success, `APIConnectionError` when no whole
        response came, `APITimeoutError` when a limit ran out, `APIResponseValidationError` when
        the body is not what was asked for, `BodyTooLargeError`, `TooManyRedirectsError`;
        `InvalidRequestError` and `TypeError` before anything is sent; `ClientClosedError`.
        """
        return await self._call(method, path, cast_to, stream, options, request_options)

    async def head(
        self,
        path: str | URL,
        *,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncAPIResponse[None]:
        """HEAD of *path*: the response, which has no body."""
        response: AsyncAPIResponse[None] = await self._call(
            "HEAD", path, AsyncAPIResponse[None], False, options, request_options
        )
        return response

    @overload
    async def get(
        self,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def get(
        self,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def get(
        self,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """GET *path*: what it holds, as *cast_to*."""
        return await self._call("GET", path, cast_to, stream, options, request_options)

    @overload
    async def post(
        self,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def post(
        self,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def post(
        self,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """POST to *path*: what comes back, as *cast_to*."""
        return await self._call("POST", path, cast_to, stream, options, request_options)

    @overload
    async def put(
        self,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def put(
        self,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def put(
        self,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """PUT to *path*: what comes back, as *cast_to*."""
        return await self._call("PUT", path, cast_to, stream, options, request_options)

    @overload
    async def patch(
        self,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def patch(
        self,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def patch(
        self,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """PATCH *path*: what comes back, as *cast_to*."""
        return await self._call("PATCH", path, cast_to, stream, options, request_options)

    @overload
    async def delete(
        self,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def delete(
        self,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def delete(
        self,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """DELETE *path*: what comes back, as *cast_to*."""
        return await self._call("DELETE", path, cast_to, stream, options, request_options)

    @overload
    async def options(
        self,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def options(
        self,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def options(
        self,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """OPTIONS of *path*: what comes back, as *cast_to*."""
        return await self._call("OPTIONS", path, cast_to, stream, options, request_options)

    # --- streams, unread responses, pages and long-running operations

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

    @overload
    def get_api_list(
        self,
        path: str | URL,
        model: TypeForm[ItemT],
        page: PageMaker[ItemT, PageT],
        *,
        method: str = "get",
        limit: int | None = None,
        prefetch: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncPaginator[ItemT, PageT]: ...
    @overload
    def get_api_list(  # pyright: ignore[reportOverlappingOverload]  (a page class with required fields)
        self,
        path: str | URL,
        model: TypeForm[ItemT],
        page: type[PageT],
        *,
        method: str = "get",
        limit: int | None = None,
        prefetch: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncPaginator[ItemT, PageT]: ...
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

    @overload
    async def poll(
        self,
        started: AsyncAPIResponse[Any] | str | URL,
        *,
        path_params: Mapping[str, Any] | None = None,
        status_of: Pick | None = None,
        done: Collection[str] = ...,
        failed: Collection[str] = ...,
        result: Pick | None = None,
        interval: float = 1.0,
        max_interval: float = 30.0,
        timeout: float | NotGiven | None = NOT_GIVEN,
        options: CallOptions | None = None,
    ) -> Any: ...
    @overload
    async def poll(
        self,
        started: AsyncAPIResponse[Any] | str | URL,
        cast_to: TypeForm[T],
        *,
        path_params: Mapping[str, Any] | None = None,
        status_of: Pick | None = None,
        done: Collection[str] = ...,
        failed: Collection[str] = ...,
        result: Pick | None = None,
        interval: float = 1.0,
        max_interval: float = 30.0,
        timeout: float | NotGiven | None = NOT_GIVEN,
        options: CallOptions | None = None,
    ) -> T: ...
    async def poll(
        self,
        started: AsyncAPIResponse[Any] | str | URL,
        cast_to: Any = Any,
        *,
        path_params: Mapping[str, Any] | None = None,
        status_of: Pick | None = None,
        done: Collection[str] = ("succeeded", "completed"),
        failed: Collection[str] = ("failed", "canceled", "cancelled", "expired"),
        result: Pick | None = None,
        interval: float = 1.0,
        max_interval: float = 30.0,
        timeout: float | NotGiven | None = NOT_GIVEN,
        options: CallOptions | None = None,
    ) -> Any:
        """Ask until a long-running operation is done, and give its result as *cast_to*.

        *started* is the response that began it, which says where to ask (``Operation-Location``,
        ``Azure-AsyncOperation`` or ``Location``), or else the path or URL to ask. Without a status
        field 202 means "not yet"; *status_of* names the member of the body that is one, or finds it
        in the plain data, and *done* and *failed* are its last words, in any case. Behind
        ``Operation-Location`` it is ``status``.

        The result is *result*, the name of a member of the last body or a function of it, whose `URL`
        would be fetched; else what ``resourceLocation``, the resource that was put, or ``Location``
        leads to; else the last response itself. None as *cast_to* fetches nothing.

        It waits as long as ``Retry-After`` says, at most an hour, else from *interval* seconds, growing
        by half up to *max_interval* (or *interval*, if that is longer), with jitter. *timeout* is in
        seconds, over everything; left out it is the client's ``total``, and None is no limit. Every
        request is a GET down the whole chain, with *options*; their ``params`` go to *started* alone,
        and credentials to trusted origins alone.

        Raises `OperationFailedError` for a *failed* one, `APITimeoutError` with phase ``total``, whose
        ``body`` says where it stood, `APIResponseValidationError` for an answer that says neither
        status nor place, and what `get` raises; `InvalidRequestError` and `TypeError` at once.
        """
        if not isinstance(started, AsyncAPIResponse | str | URL):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"started must be a response, a path or a URL, not {type(started).__name__}: "
                "ask the call that starts it for AsyncAPIResponse"
            )
        if isinstance(started, AsyncAPIResponse) and path_params is not None:
            raise TypeError("path_params fill a path, and started is a response")
        check_cast_to(result_type(cast_to), self._config.settings.dec_hook)
        given = layer_options({} if path_params is None else {"path_params": path_params}, options)
        each = self._config.timeout
        if "timeout" in given:
            each = as_timeout(given["timeout"]).over(each)
        total = self._config.timeout.total if isinstance(timeout, NotGiven) else Timeout(total=timeout).total
        poll = Poll(
            self._ask,
            self._pause,
            rules(status_of, done, failed, result),
            interval=check_seconds("interval", interval, positive=True),
            max_interval=max(interval, check_seconds("max_interval", max_interval, positive=True)),
            timeout=None if isinstance(total, NotGiven) else total,
            each=each,
        )
        return await poll.run(started, cast_to, given)

    # --- what a client tells of itself, and its life

    @property
    def base_url(self) -> URL:
        """Where relative paths lead."""
        return self._config.base.url

    @property
    def timeout(self) -> Timeout:
        """The limits of a call that brings none."""
        return self._config.timeout

    @property
    def chain(self) -> tuple[Middleware, ...]:
        """The middlewares that every call passes, the first one outermost."""
        return self._chain

    def explain(self) -> str:
        """The chain as text, with the two bars that split it into call, attempt and send."""
        return explain(self._chain, self._shared.transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End what is in flight and close the session; a view closes nothing.

        Whatever a call waits for, it ends with `ClientClosedError`. Safe to call again.
        """
        if not self._is_view:
            await self._shared.close()

    def is_closed(self) -> bool:
        """Whether the client, or the one that this is a view of, was closed."""
        return self._shared.closed


def check_transport(transport: object) -> None:
    """Raise `TypeError` for what is no handler."""
    if isinstance(transport, type):
        name = transport.__name__
        raise TypeError(f"transport {name} is a class; give an instance of it: {name}(...)")
    if not callable(transport) or not is_async(transport):
        raise TypeError(
            f"transport must be a handler, not {type(transport).__name__}: "
            "an async function of the request is one"
        )
