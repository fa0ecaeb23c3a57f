"""`AsyncAPIClient`: makes the request, sends it down the chain, and gives its result to the caller."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar, Unpack, cast, overload

import aiohttp
import msgspec
from yarl import URL

from ._building import build_request
from ._chain import check_chain, default_chain, explain, fold, insert, is_async
from ._codecs import check_cast_to
from ._config import CHAIN_OPTIONS, CLIENT_OPTIONS, Config
from ._lifecycle import Lifecycle
from ._options import check_iterable, check_names, layer_options, resolve_settings
from ._query import DEFAULT_STYLE, QueryStyle
from ._raw import take_wanted
from ._request import APIRequest
from ._response import AsyncAPIResponse, result_type
from ._resume import ReconnectPolicy
from ._scope import Scope
from ._sse import ServerSentEvent
from ._stream import AsyncStream, Until, stream_error
from ._transport import AiohttpTransport
from ._types import (
    NOT_GIVEN,
    CallOptions,
    ClientOptions,
    HeaderLayer,
    NotGiven,
    Omit,
    Params,
    RequestOptions,
    StatusKey,
    Timeout,
)
from ._verbs import Verbs
from ._version import __version__
from .contract import Auth, Handler, Middleware
from .errors import APIStatusError, RequestNotReplayableError, status_error_class
from .middleware.auth import AuthMiddleware
from .middleware.retry import RetryBudget, RetryPolicy
from .streaming import SSEStream

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["AsyncAPIClient"]

T = TypeVar("T")


class AsyncAPIClient(Verbs):
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
        self._budget: RetryBudget | msgspec.UnsetType | None = RetryBudget()
        self._is_view = False
        if transport is None:
            transport = AiohttpTransport(session=session)
        check_transport(transport)
        self._shared = Lifecycle(repr(self), transport)
        self._set_up_chain(given)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url}>"

    # --- configuration, of a client and of its views

    def _set_up_chain(self, changes: Mapping[str, Any]) -> None:
        """Make the chain anew if *changes* reach it, and fold it around the transport."""
        if not CHAIN_OPTIONS.isdisjoint(changes):
            chain = self._config.given["chain"]
            self._chain = self._own_chain() if chain is None else check_chain(chain)
            self._handler = fold(self._chain, self._innermost())
            for link in self._chain:
                self._adopt(_owned(link))
        elif "_prepare_request" in self._own_hooks:
            self._handler = fold(self._chain, self._innermost())

    def _own_chain(self) -> tuple[Middleware, ...]:
        given = self._config.given
        auth = given["auth"]
        if auth is not None:
            check_auth(auth)
        elif "auth_headers" in self._own_hooks:
            auth = _HookAuth(self)
        policy = given["retry"] or RetryPolicy()
        if policy.budget is msgspec.UNSET:
            policy = msgspec.structs.replace(policy, budget=self._budget)
        else:
            self._budget = policy.budget
        return tuple(
            default_chain(
                auth=auth,
                default_headers=lambda: self.default_headers,
                library_headers=lambda: {"User-Agent": self.user_agent, **self.platform_headers()},
                retry=policy,
                trusted_origins=given["trusted_origins"],
                middlewares=given["middlewares"] or (),
                sleep=self._sleep_for_retry,
            )
        )

    def _adopt(self, thing: object) -> None:
        """Let a link of the chain, or an auth, make calls of its own, and close it with the client."""
        self._shared.adopt(thing, lambda own: own.bind(self._without_auth()))

    def _innermost(self) -> Handler:
        transport = self._shared.transport
        if "_prepare_request" not in self._own_hooks:
            return transport

        async def send(request: APIRequest) -> AsyncAPIResponse[Any]:
            await self._prepare_request(request)
            return await transport(request)

        return send

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

    def _view(self, config: Config) -> Self:
        view = copy.copy(self)
        view._config = config
        view._is_view = True
        for name in list(vars(view)):
            # A resource that was cached on the client belongs to the client.
            if isinstance(getattr(type(view), name, None), functools.cached_property):
                del vars(view)[name]
        return view

    def _without_auth(self) -> Self:
        config = Config({}, self._config)
        config.settings = resolve_settings(config.settings, {"auth": None})
        return self._view(config)

    # --- what a client tells of itself

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

    # --- the life of the client

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

    # --- a call

    async def _call(
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
        given = layer_options(keywords, options)
        if given or self._own_hooks:
            given = await self._prepare(given)
        if cast_to is aiohttp.ClientResponse:
            return await self._call_raw(method, path, given)
        check_cast_to(result_type(cast_to), self._config.settings.dec_hook)
        wanted = take_wanted()
        request = self._build(
            method,
            path,
            cast_to,
            given,
            stream=wanted == "unread response",
            accept="*/*" if cast_to is bytes else "application/json",
        )
        response = await self._send(request, self._handler_for(given))
        if wanted != "value":
            return response
        if response.value is not NOT_GIVEN and "_process_response" not in self._own_hooks:
            return response.value
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
        **stream_options: Any,
    ) -> Any:
        given = await self._prepare(layer_options(keywords, options))
        wanted = take_wanted()
        request = self._build(method, path, cast_to, given, stream=True, accept=stream_cls.accept)
        for name, value in stream_cls.request_headers.items():
            if not request.call_sets(name):
                request.headers.setdefault(name, value)
        response = await self._send(request, self._handler_for(given))
        if wanted != "value":
            return response
        return stream_cls(
            response,
            cast_to,
            make_error=self._make_stream_error,
            sleep=self._pause,
            **stream_options,
        )

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
        scope = Scope()
        self._shared.begin(scope)
        try:
            with scope:
                await self._sleep_for_retry(seconds)
        finally:
            self._shared.end(scope)

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
    ) -> AsyncGenerator[Any]:
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
    ) -> AsyncGenerator[AsyncAPIResponse[Any]]:
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

    def _build(
        self,
        method: str,
        path: str | URL,
        cast_to: Any,
        given: RequestOptions,
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
            default_params=self.default_params,
            make_key=self._idempotency_key,
        )

    async def _run(self, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        """Send *request* down the chain, in a scope that the closing of the client can end."""
        shared = self._shared
        scope = Scope()
        request.started = shared.begin(scope).time()
        request.scope = scope
        request.timers = shared.timers
        try:
            with scope:
                response = _checked_response(await handler(request))
                if not response.ok:
                    await response.read_error()
        finally:
            shared.end(scope)
        if not response.ok:
            error = self._make_status_error(response, response.error_body())
            for note in response.notes:
                error.add_note(note)
            raise error
        return response

    def _handler_for(self, given: RequestOptions) -> Handler:
        if "middlewares" not in given:
            return self._handler
        middlewares = check_iterable("middlewares", given["middlewares"])
        return fold(insert(self._chain, middlewares), self._innermost())

    # --- hooks for subclasses

    _own_hooks: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **keywords: Any) -> None:
        # Once per class, so that a call pays nothing for the hooks that nobody fills in.
        super().__init_subclass__(**keywords)
        cls._own_hooks = frozenset(
            hook for hook in _HOOKS if getattr(cls, hook) is not getattr(AsyncAPIClient, hook)
        )

    @property
    def user_agent(self) -> str:
        """The User-Agent: the SDK with its version, and this library (RFC 9110 §10.1.5)."""
        return f"{type(self).__name__}/{self._config.given['version']} aioapiclient/{__version__}"

    def platform_headers(self) -> Mapping[str, str]:
        """Headers of the lowest layer that tell of the platform; none, unless an SDK fills them in.

        Asked once, with the first call.
        """
        return {}

    @property
    def default_headers(self) -> Mapping[str, str | Omit]:
        """The client's layer of headers; a subclass may add to it. Asked once, with the first call."""
        return cast("Mapping[str, str | Omit]", self._config.given["default_headers"] or {})

    @property
    def default_params(self) -> Mapping[str, Any]:
        """The client's layer of query parameters; a subclass may add to it. Asked for every call."""
        return cast("Mapping[str, Any]", self._config.given["default_params"] or {})

    @property
    def auth_headers(self) -> Mapping[str, str]:
        """Headers that are a credential, for a subclass to fill in; used when ``auth`` is None.

        Asked for every attempt, and sent to trusted origins only.
        """
        return {}

    async def _prepare_options(self, options: RequestOptions, /) -> RequestOptions:
        """Once per call, before the request is built: the options of the call, to change or to replace."""
        return options

    async def _prepare_request(self, request: APIRequest, /) -> None:
        """Once per send, innermost: final URL, headers and body, to be changed in place."""

    async def _process_response(self, response: AsyncAPIResponse[Any], cast_to: Any, /) -> Any:
        """Once per call, after the chain: what the caller gets for *response*."""
        if response.parses_later:
            return response
        if cast_to is aiohttp.ClientResponse:
            return response.take_raw()
        return await response.parse()

    async def _sleep_for_retry(self, seconds: float, /) -> None:
        """Wait before another attempt."""
        await asyncio.sleep(seconds)

    def _make_status_error(self, response: AsyncAPIResponse[Any], body: Any, /) -> APIStatusError:
        """The error for *response*, whose decoded body is *body*; an SDK may give classes of its own."""
        return status_error_class(response.status).from_response(response, body)

    def _make_stream_error(self, event: ServerSentEvent, response: AsyncAPIResponse[Any], /) -> Exception:
        """The error for an ``error`` event in a stream; an SDK may give the class that a status would."""
        return stream_error(event, response)

    def _idempotency_key(self) -> str:
        """A new key, with 122 random bits."""
        return str(uuid.uuid4())


class _HookAuth(Auth):
    """The credential of a subclass that fills in ``auth_headers``."""

    def __init__(self, client: AsyncAPIClient) -> None:
        self._client = client

    async def authenticate(self, request: APIRequest, /) -> None:
        """Set the headers."""
        request.set_headers(self._client.auth_headers)


_HOOKS: Final = ("_prepare_options", "_prepare_request", "_process_response", "auth_headers")


def _owned(link: object) -> object:
    """What a link of the chain holds open, or makes calls with: itself, or its auth."""
    return link.auth if isinstance(link, AuthMiddleware) else link


def check_auth(auth: object) -> None:
    """Raise `TypeError` for what is no `Auth`."""
    name = type(auth).__name__
    if isinstance(auth, type):
        raise TypeError(f"auth {auth.__name__} is a class; give an instance of it: {auth.__name__}(...)")
    own = getattr(type(auth), "authenticate", None) is not Auth.authenticate
    if not own or not inspect.iscoroutinefunction(getattr(auth, "authenticate", None)):
        raise TypeError(
            f"auth {name} has no async authenticate(); subclass aioapiclient.Auth, or use BearerAuth"
        )
    has_statuses = hasattr(auth, "challenge_statuses")
    if not has_statuses or not inspect.iscoroutinefunction(getattr(auth, "refresh", None)):
        raise TypeError(
            f"auth {name} has no async refresh(), or no challenge_statuses; subclass aioapiclient.Auth"
        )


def check_transport(transport: object) -> None:
    """Raise `TypeError` for what is no handler."""
    if isinstance(transport, type):
        name = transport.__name__
        raise TypeError(f"transport {name} is a class; give an instance of it: {name}(...)")
    if not callable(transport) or not is_async(transport):
        raise TypeError(
            f"transport must be a handler, not {type(transport).__name__}: an async function of the request is one"
        )


def _checked_response(response: AsyncAPIResponse[Any]) -> AsyncAPIResponse[Any]:
    if not isinstance(response, AsyncAPIResponse):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"The chain gave a {type(response).__name__}, not a response: does a middleware return?"
        )
    return response
