"""`AsyncAPIClient`: the public methods of the client."""

from __future__ import annotations

# Python 3.15 imports these when they are first used (PEP 810); CONTRIBUTING.md states which ones.
__lazy_modules__: tuple[str, ...] = (
    "aioapiclient._client.block",
    "aioapiclient._client.stats",
    "aioapiclient._transport.transport",
)

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, Unpack, overload

from yarl import URL

from aioapiclient import _pagination, streaming
from aioapiclient._chain import check_transport, explain
from aioapiclient._codecs.decoders import check_cast_to
from aioapiclient._options import CallOptions, ClientOptions, RequestOptions, check_names, layer_options
from aioapiclient._query import DEFAULT_STYLE, QueryStyle
from aioapiclient._response.response import AsyncAPIResponse, result_type
from aioapiclient._transport.transport import AiohttpTransport
from aioapiclient._types import NOT_GIVEN, ErrorTypes, HeaderLayer, NotGiven, Params, Pick, Timeout
from aioapiclient.contract import Auth, Handler, Middleware, MiddlewareEntry
from aioapiclient.middleware.retry import RetryBudget, RetryPolicy

from .base import BaseClient
from .block import Block
from .config import CLIENT_OPTIONS, Config
from .lifecycle import Lifecycle
from .stats import ClientStats, collect_stats

if TYPE_CHECKING:
    import aiohttp
    import msgspec
    from typing_extensions import TypeForm, TypeVar

    # For signatures that only checkers read; programs evaluate the others, which name the lazy package.
    from aioapiclient._pagination import AsyncPage, AsyncPaginator
    from aioapiclient._pagination.paginator import PageMaker
    from aioapiclient.streaming import AsyncStream

    T = TypeVar("T", default=Any)
    ItemT = TypeVar("ItemT")
    PageT = TypeVar("PageT", bound=AsyncPage[Any])
else:
    from typing import TypeVar

    T = TypeVar("T")

    class TypeForm(Generic[T]):
        """Stands in for that of type checkers, for programs that evaluate annotations (PEP 747)."""


__all__ = ["AsyncAPIClient"]


class AsyncAPIClient(BaseClient):
    """A typed client of one API: one session, an ordered chain of middlewares, and msgspec objects.

    ::

        async with AsyncAPIClient("https://api.example.com/v1", auth=BearerAuth(token)) as api:
            user = await api.get("/users/{id}", User, path_params={"id": 7})

    It can be created anywhere, at module level too: the session opens with the first call, inside the
    running event loop. Use it as a context manager, or await `close`.

    Args:
        base_url: The URL that relative paths are resolved against; its own path is kept.
        version: The version of the SDK built on this client, for the ``User-Agent``. ``"0"`` by default.
        auth: The credential. It is sent to the origin of *base_url* and to *trusted_origins* only.
        default_headers: Headers of every call; a call's own headers override them. `OMIT` drops a header that
            the library would add.
        default_params: Query parameters of every call; a call's own parameters override them.
        query_style: The format of arrays and nested objects in queries and forms.
        max_retries: The maximum number of attempts after the first, 2 by default. A shorthand of *retry*.
        retry: The complete retry policy; ``RetryPolicy()`` by default.
        timeout: The limits of a call. A number is the limit of the whole call in seconds; None removes every
            limit. The default is ``Timeout(total=600, connect=5, read=60, write=60)``.
        middlewares: Your own middlewares, run once per call, or in the zone of `per_attempt` or `per_send`. A
            name loads an installed plugin.
        chain: A complete chain, instead of the default one; see `default_chain`.
        strict_response_validation: Whether a value of the wrong type is an error (the default). False allows
            coercion, such as ``"1"`` to ``1``.
        dec_hook: msgspec's hook to decode types that it does not know.
        enc_hook: msgspec's hook to encode types that it does not know.
        encoder: Your own `msgspec.json.Encoder`, instead of *enc_hook*: for ``decimal_format``,
            ``uuid_format`` and ``order``.
        decoders: Functions ``f(body: bytes, type)`` by media type (``application/xml``) or suffix
            (``+xml``), for content types that msgspec does not read.
        error_types: The types of error bodies: ``{404: NotFound, "4XX": Problem, "default": Any}``.
        error_detail: Whether the text of a status error ends with the server's message.
        idempotency_header: The header for an idempotency key of every POST and PATCH, the same on each
            attempt. None by default: no keys.
        request_id_header: The response header that carries the server's request ID.
        follow_redirects: Whether redirects are followed, at most ten. True by default.
        trusted_origins: Patterns of other origins that may receive credentials and default headers, such as
            ``https://*.example.com``.
        max_body: The maximum size of a buffered response body in bytes, decompressed. 64 MiB by default;
            None: no limit.
        session: Your own aiohttp `ClientSession`. It is neither closed nor changed.
        transport: An `AiohttpTransport`, or any other handler, such as
            `aioapiclient.testing.FakeTransport`.

    Raises:
        InvalidRequestError: A value is malformed or out of range.
        TypeError: An argument has the wrong type, or two arguments exclude each other.
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
        middlewares: Iterable[MiddlewareEntry] | None = (),
        chain: Iterable[Middleware | str] | None = None,
        strict_response_validation: bool = True,
        dec_hook: Callable[[type, Any], Any] | None = None,
        enc_hook: Callable[[Any], Any] | None = None,
        encoder: msgspec.json.Encoder | None = None,
        decoders: Mapping[str, Callable[[bytes, Any], Any]] | None = None,
        error_types: ErrorTypes | None = None,
        error_detail: bool = True,
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
            raise TypeError("session and transport were both given; pass AiohttpTransport(session=...)")
        self._config = Config(given)
        self._budget = RetryBudget()
        if transport is None:
            transport = AiohttpTransport(session=session)
        check_transport(transport)
        self._shared = Lifecycle(repr(self), transport)
        self._set_up_chain(given)

    def __repr__(self) -> str:
        if "_config" not in vars(self):
            return f"<{type(self).__name__} without super().__init__()>"
        return f"<{type(self).__name__} {self.base_url}>"

    def with_options(self, **overrides: Unpack[ClientOptions]) -> Self:
        """Return a view: this client with other options, sharing its session, retry budget and token caches.

        ``__init__`` is not called again, and closing a view closes nothing.

        Args:
            **overrides: Keywords of the constructor, except ``session`` and ``transport``.
                ``default_headers``, ``default_params``, ``decoders`` and ``error_types`` are merged over the
                client's, a `Timeout` inherits the limits that it omits, and any other value replaces the
                client's.

        Returns:
            A client of the same class.

        Raises:
            InvalidRequestError: A value is malformed or out of range.
            TypeError: A name is unknown, or the option cannot differ (``session``, ``transport``), or
                ``chain`` is passed together with an option of the default chain.
        """
        for name in ("session", "transport"):
            if name in overrides:
                raise TypeError(f"{name} cannot differ in a view, which shares it; create a separate client")
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
        """Send a request and return the decoded body of the response.

        Args:
            method: The HTTP method, in any case.
            path: A path relative to the base URL, with ``{name}`` placeholders for ``path_params``; or an
                absolute URL, which receives no credential and no default header unless its origin is trusted.
            cast_to: The type to decode the body to. By default the result is plain data: dicts, lists,
                scalars. ``bytes`` and ``str`` return the body itself, ``None`` discards it, and
                ``AsyncAPIResponse[T]`` returns the response.
            stream: Whether to return an `SSEStream` of *cast_to* instead of a value.
            options: Options from the user of an SDK, layered over the keywords.
            **request_options: The parts of the request, and the options of this call: see
                `RequestOptions`.

        Returns:
            The body as *cast_to*, or a stream of events of that type.

        Raises:
            APIStatusError: The status is not a success, and `ok_statuses` does not list it. Common statuses
                have their own subclasses, such as `NotFoundError`.
            APIConnectionError: No complete response arrived; `APITimeoutError` if a time limit was reached.
            APIResponseValidationError: The body does not fit *cast_to*.
            BodyTooLargeError: The body is larger than `max_body`.
            TooManyRedirectsError: The server redirected more than ten times, or a redirect was refused.
            InvalidRequestError: An argument has a value that cannot be sent. Nothing was sent.
            TypeError: An argument has the wrong type or an unknown name. Nothing was sent.
            ClientClosedError: The client is closed, or belongs to another event loop or process.
        """
        return await self._call(method, path, cast_to, stream, options, request_options)

    async def head(
        self,
        path: str | URL,
        *,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncAPIResponse[None]:
        """Send a HEAD request and return the response, which has no body.

        Args:
            path: A path relative to the base URL, with ``{name}`` placeholders for ``path_params``; or an
                absolute URL, which receives no credential unless its origin is trusted.
            options: Options from the user of an SDK, layered over the keywords.
            **request_options: ``params``, ``headers``, ``timeout`` and the other `RequestOptions`.

        Returns:
            The response: its status, headers, links and request ID.

        Raises:
            APIError: The call failed; see `request` for each error.
            InvalidRequestError: An argument has a value that cannot be sent.
            TypeError: An argument has the wrong type or an unknown name.
            ClientClosedError: The client is closed, or belongs to another event loop or process.
        """
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
        """Send a GET request and return the decoded body.

        Args:
            path: A path relative to the base URL, with ``{name}`` placeholders for ``path_params``; or an
                absolute URL, which receives no credential unless its origin is trusted.
            cast_to: The type to decode the body to; plain data by default.
            stream: Whether to return an `SSEStream` of *cast_to* instead of a value.
            options: Options from the user of an SDK, layered over the keywords.
            **request_options: ``params``, ``headers``, ``timeout`` and the other `RequestOptions`.

        Returns:
            The body as *cast_to*, or a stream of events of that type.

        Raises:
            APIError: The call failed; see `request` for each error.
            InvalidRequestError: An argument has a value that cannot be sent.
            TypeError: An argument has the wrong type or an unknown name.
            ClientClosedError: The client is closed, or belongs to another event loop or process.
        """
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
        """Send a POST request and return the decoded body.

        Args:
            path: A path relative to the base URL, with ``{name}`` placeholders for ``path_params``; or an
                absolute URL, which receives no credential unless its origin is trusted.
            cast_to: The type to decode the body to; plain data by default.
            stream: Whether to return an `SSEStream` of *cast_to* instead of a value.
            options: Options from the user of an SDK, layered over the keywords.
            **request_options: ``json``, ``data``, ``files`` or ``content`` for the body, and the other
                `RequestOptions`.

        Returns:
            The body as *cast_to*, or a stream of events of that type.

        Raises:
            APIError: The call failed; see `request` for each error.
            InvalidRequestError: An argument has a value that cannot be sent.
            TypeError: An argument has the wrong type or an unknown name.
            ClientClosedError: The client is closed, or belongs to another event loop or process.
        """
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
        """Send a PUT request and return the decoded body.

        Args:
            path: A path relative to the base URL, with ``{name}`` placeholders for ``path_params``; or an
                absolute URL, which receives no credential unless its origin is trusted.
            cast_to: The type to decode the body to; plain data by default.
            stream: Whether to return an `SSEStream` of *cast_to* instead of a value.
            options: Options from the user of an SDK, layered over the keywords.
            **request_options: ``json``, ``data``, ``files`` or ``content`` for the body, and the other
                `RequestOptions`.

        Returns:
            The body as *cast_to*, or a stream of events of that type.

        Raises:
            APIError: The call failed; see `request` for each error.
            InvalidRequestError: An argument has a value that cannot be sent.
            TypeError: An argument has the wrong type or an unknown name.
            ClientClosedError: The client is closed, or belongs to another event loop or process.
        """
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
        """Send a PATCH request and return the decoded body.

        Args:
            path: A path relative to the base URL, with ``{name}`` placeholders for ``path_params``; or an
                absolute URL, which receives no credential unless its origin is trusted.
            cast_to: The type to decode the body to; plain data by default.
            stream: Whether to return an `SSEStream` of *cast_to* instead of a value.
            options: Options from the user of an SDK, layered over the keywords.
            **request_options: ``json``, ``data``, ``files`` or ``content`` for the body, and the other
                `RequestOptions`.

        Returns:
            The body as *cast_to*, or a stream of events of that type.

        Raises:
            APIError: The call failed; see `request` for each error.
            InvalidRequestError: An argument has a value that cannot be sent.
            TypeError: An argument has the wrong type or an unknown name.
            ClientClosedError: The client is closed, or belongs to another event loop or process.
        """
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
        """Send a DELETE request and return the decoded body.

        Args:
            path: A path relative to the base URL, with ``{name}`` placeholders for ``path_params``; or an
                absolute URL, which receives no credential unless its origin is trusted.
            cast_to: The type to decode the body to; plain data by default.
            stream: Whether to return an `SSEStream` of *cast_to* instead of a value.
            options: Options from the user of an SDK, layered over the keywords.
            **request_options: ``params``, ``headers``, ``timeout`` and the other `RequestOptions`.

        Returns:
            The body as *cast_to*, or a stream of events of that type.

        Raises:
            APIError: The call failed; see `request` for each error.
            InvalidRequestError: An argument has a value that cannot be sent.
            TypeError: An argument has the wrong type or an unknown name.
            ClientClosedError: The client is closed, or belongs to another event loop or process.
        """
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
        """Send an OPTIONS request and return the decoded body.

        Args:
            path: A path relative to the base URL, with ``{name}`` placeholders for ``path_params``; or an
                absolute URL, which receives no credential unless its origin is trusted.
            cast_to: The type to decode the body to; plain data by default.
            stream: Whether to return an `SSEStream` of *cast_to* instead of a value.
            options: Options from the user of an SDK, layered over the keywords.
            **request_options: ``params``, ``headers``, ``timeout`` and the other `RequestOptions`.

        Returns:
            The body as *cast_to*, or a stream of events of that type.

        Raises:
            APIError: The call failed; see `request` for each error.
            InvalidRequestError: An argument has a value that cannot be sent.
            TypeError: An argument has the wrong type or an unknown name.
            ClientClosedError: The client is closed, or belongs to another event loop or process.
        """
        return await self._call("OPTIONS", path, cast_to, stream, options, request_options)

    # --- streams, unread responses, pages and long-running operations

    def stream(
        self,
        method: str,
        path: str | URL,
        cast_to: TypeForm[T] = Any,
        *,
        stream_cls: type[streaming.AsyncStream[Any]] | None = None,
        until: Callable[[streaming.ServerSentEvent], bool] | None = None,
        reconnect: bool | streaming.ReconnectPolicy = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AbstractAsyncContextManager[streaming.AsyncStream[T]]:
        """Open a stream of events: ``async with api.stream("POST", path, Event) as events``.

        Leaving the block closes the stream.

        Args:
            method: The HTTP method.
            path: A path relative to the base URL, or an absolute URL; see `request`.
            cast_to: The type of each event; plain data by default.
            stream_cls: The framing: `SSEStream` for server-sent events (None, the default) or `JSONLStream`
                for JSON lines. The class determines the format, not the content type.
            until: A function of an event that returns True for the event that ends the stream. ``[DONE]``
                always ends it.
            reconnect: Whether to reopen a broken `SSEStream` as browsers do, with ``Last-Event-ID``; a
                `ReconnectPolicy` sets the attempts and waits. False by default.
            options: Options from the user of an SDK, layered over the keywords.
            **request_options: The parts of the request, and the options of this call: see
                `RequestOptions`.

        Returns:
            A context manager whose value is the open stream.

        Raises:
            APIError: The call failed; see `request` for each error.
            APIStreamError: While iterating: the stream broke, or the server sent an error event.
            InvalidRequestError: An argument has a value that cannot be sent.
            TypeError: An argument has the wrong type or an unknown name.
            ClientClosedError: The client is closed, or belongs to another event loop or process.
        """

        def open_stream() -> Awaitable[streaming.AsyncStream[T]]:
            kind = streaming.SSEStream if stream_cls is None else stream_cls
            return self._open_stream(method, path, cast_to, kind, options, request_options, until, reconnect)

        return Block("stream", "events", open_stream)

    def open(
        self,
        method: str,
        path: str | URL,
        *,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AbstractAsyncContextManager[AsyncAPIResponse[Any]]:
        """Open an unread response, to read it in chunks or write it to a file.

        Leaving the block closes the response.

        Args:
            method: The HTTP method.
            path: A path relative to the base URL, or an absolute URL; see `request`.
            options: Options from the user of an SDK, layered over the keywords.
            **request_options: The parts of the request, and the options of this call: see
                `RequestOptions`.

        Returns:
            A context manager whose value is the response, with its head received and its body unread.

        Raises:
            APIError: The call failed; see `request` for each error.
            InvalidRequestError: An argument has a value that cannot be sent.
            TypeError: An argument has the wrong type or an unknown name.
            ClientClosedError: The client is closed, or belongs to another event loop or process.
        """

        async def send() -> AsyncAPIResponse[Any]:
            given = await self._prepare(layer_options(request_options, options))
            request = self._build(method, path, Any, given, stream=True, accept="*/*")
            return await self._send(request, self._handler_for(given))

        return Block("open", "response", send)

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
    ) -> _pagination.AsyncPaginator[Any, Any]:
        """Iterate over the items of a paginated list: ``async for user in api.get_api_list(...)``.

        Awaiting the result returns the first page. Each page is a separate call, with the same options.

        Args:
            path: A path relative to the base URL, or an absolute URL; see `request`.
            model: The type of one item.
            page: The page class, such as `CursorPage`, or your own subclass.
            method: The HTTP method, ``"get"`` by default.
            limit: The maximum number of items to yield; None (the default) yields all of them.
            prefetch: Whether to request the next page while the items of the current one are used. False by
                default.
            options: Options from the user of an SDK, layered over the keywords.
            **request_options: The parts of each request, and the options of its call: see `RequestOptions`.

        Returns:
            An `AsyncPaginator` of items and pages. Nothing is sent before it is awaited or iterated.

        Raises:
            APIError: A call failed; see `request` for each error.
            APIResponseValidationError: A page links back to an earlier page.
            InvalidRequestError: An argument has an invalid value.
            TypeError: An argument has the wrong type or an unknown name.
        """
        return _pagination.AsyncPaginator(
            self._request_api_list,
            path,
            model=model,
            page=page,
            method=method,
            limit=limit,
            prefetch=prefetch,
            options=layer_options(request_options, options),
        )

    async def poll(
        self,
        started: AsyncAPIResponse[Any] | str | URL,
        cast_to: TypeForm[T] = Any,
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
    ) -> T:
        """Poll a long-running operation until it ends, and return its result.

        The URL to poll comes from *started*: its ``Operation-Location``, ``Azure-AsyncOperation`` or
        ``Location``. The result is the value that *result* selects; else the resource at
        ``resourceLocation``, at the URL of a PUT or PATCH, or at ``Location``; else the last response itself.
        Every request is a GET through the complete chain. Credentials go to trusted origins only.

        Args:
            started: The response that started the operation, or the path or URL to poll.
            cast_to: The type of the result; plain data by default. None fetches no result.
            path_params: Values for the ``{name}`` placeholders, if *started* is a path.
            status_of: The member of the body with the status, with dots for nested members (``"job.state"``),
                or a function of the body as plain data. The default is ``status`` for an
                ``Operation-Location``; otherwise the HTTP status decides, and 202 means "not yet".
            done: The values of the status that mean success, compared case-insensitively.
            failed: The values of the status that mean failure, compared case-insensitively.
            result: The member of the last body with the result, named in the same way, or a function of that
                body. If the function returns a `URL`, that is fetched.
            interval: Seconds before the next request if the server sends no ``Retry-After``: 1 at first,
                growing by half each time, with jitter.
            max_interval: The longest such wait, 30 seconds by default. A ``Retry-After`` may request up to an
                hour.
            timeout: Seconds for the whole operation. The client's ``total`` by default; None: no limit.
            options: Options of each request; ``params`` are sent to *started* only.

        Returns:
            The result as *cast_to*.

        Raises:
            OperationFailedError: The operation ended with one of *failed*.
            APITimeoutError: *timeout* was reached. Its ``phase`` is ``"total"``, and its ``body`` is the last
                body.
            APIResponseValidationError: A response has neither a status nor a URL to poll.
            APIError: A call failed; see `request` for each error.
            InvalidRequestError: An argument has an invalid value.
            TypeError: An argument has the wrong type.
        """
        from .polling import Poll, check_started, rules

        check_started(started, path_params)
        settings = self._config.settings
        check_cast_to(result_type(cast_to), settings.dec_hook, settings.decoders)
        poll = Poll(
            self._ask,
            self._pause,
            rules(status_of, done, failed, result),
            layer_options({} if path_params is None else {"path_params": path_params}, options),
            interval=interval,
            max_interval=max_interval,
            timeout=timeout,
            defaults=self._config.timeout,
        )
        value: T = await poll.run(started, cast_to)
        return value

    # --- introspection and lifecycle

    @property
    def base_url(self) -> URL:
        """The URL that relative paths are resolved against."""
        return self._config.base.url

    @property
    def timeout(self) -> Timeout:
        """The limits of a call without its own timeout."""
        return self._config.timeout

    @property
    def chain(self) -> tuple[Middleware, ...]:
        """The middlewares that every call passes through, outermost first."""
        return self._chain

    def explain(self) -> str:
        """Return the chain as text, with two bars that divide it into the zones call, attempt and send."""
        return explain(self._chain, self._shared.transport)

    def stats(self) -> ClientStats:
        """Return a snapshot of calls in flight, open streams, the pool, and the statistics of each origin.

        It is cheap enough for a health endpoint, and a view returns the numbers of its client. A link of the
        chain adds its own with a method ``stats()`` that returns a mapping of origins to values; a failing
        one is left out and logged.
        """
        return collect_stats(self._shared, self._chain)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session and end every call in flight with `ClientClosedError`.

        Closing a view closes nothing, and closing twice is safe.
        """
        if not self._is_view:
            await self._shared.close()

    async def aclose(self) -> None:
        """Call `close`, under the name that `contextlib.aclosing` expects."""
        await self.close()

    def is_closed(self) -> bool:
        """Return whether the client, or the client of this view, was closed."""
        return self._shared.closed
