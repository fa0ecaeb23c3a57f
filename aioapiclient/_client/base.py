"""`BaseClient`: the hooks for subclasses, and the code that builds, sends and decodes a call."""

from __future__ import annotations

__lazy_modules__: tuple[str, ...] = ("aioapiclient._client.notes", "aioapiclient._transport.transport")

import asyncio
import copy
import functools
import uuid
import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final, Self, cast

import aiohttp
import msgspec
from yarl import URL

from aioapiclient import streaming
from aioapiclient._chain import check_auth, check_chain, checked, default_chain, fold, insert
from aioapiclient._checks import check_flag
from aioapiclient._codecs.accept import ANYTHING, JSON, accept_for
from aioapiclient._codecs.decoders import check_cast_to
from aioapiclient._options import CallOptions, RequestOptions, check_iterable, layer_options, resolve_settings
from aioapiclient._request import APIRequest, ClientHooks
from aioapiclient._response.response import AsyncAPIResponse, is_response_type, result_type
from aioapiclient._transport.transport import AiohttpTransport
from aioapiclient._types import NOT_GIVEN, OMIT, Omit
from aioapiclient._version import __version__
from aioapiclient.contract import Auth, Handler, Middleware
from aioapiclient.errors import APIStatusError, RequestNotReplayableError, status_error_class
from aioapiclient.middleware.auth import AuthMiddleware
from aioapiclient.middleware.retry import RetryBudget, RetryPolicy

from .capture import record, running, take_mode
from .config import CHAIN_OPTIONS, PLAIN_OPTIONS, Config, build_request, plain_request
from .lifecycle import Lifecycle
from .notes import note_on_withheld
from .send_log import logging_sends
from .set_by_init import SetByInit

__all__ = ["BaseClient"]

# A call checks only overridden hooks, so the others cost nothing.
_HOOKS: Final = (
    "_prepare_options",
    "_prepare_request",
    "_process_response",
    "_sleep_for_retry",
    "auth_headers",
    "default_headers",
    "default_params",
    "platform_headers",
    "user_agent",
)

# The hooks that links of the chain call; those of a view are its own.
_FOR_THE_CHAIN: Final = frozenset(
    {"_sleep_for_retry", "auth_headers", "default_headers", "platform_headers", "user_agent"}
)

_NO_OPTIONS: Final[RequestOptions] = {}
_NO_PARAMS: Final[Mapping[str, Any]] = {}

_RESPONSE: Any = AsyncAPIResponse  # subscripted with types known only at run time


class BaseClient:
    """The base of the public methods: hooks to override, the chain, and the execution of a call."""

    _config: Config
    _shared: Lifecycle
    _chain: tuple[Middleware, ...]
    _handler: Handler
    _budget: RetryBudget | msgspec.UnsetType | None
    _is_view: bool = False

    _own_hooks: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._own_hooks = frozenset(
            hook for hook in _HOOKS if getattr(cls, hook) is not getattr(BaseClient, hook)
        )

    @property
    def user_agent(self) -> str:
        """The ``User-Agent``: the SDK with its version, and this library (RFC 9110 §10.1.5)."""
        return f"{type(self).__name__}/{self._config.given['version']} aioapiclient/{__version__}"

    def platform_headers(self) -> Mapping[str, str]:
        """Return headers of the lowest layer that describe the platform; none by default.

        Called for every call.

        Returns:
            A mapping of names to values.
        """
        return {}

    @property
    def default_headers(self) -> Mapping[str, str | Omit]:
        """The client's layer of headers; a subclass may add to it. Read for every call."""
        return cast("Mapping[str, str | Omit]", self._config.given["default_headers"] or {})

    @property
    def default_params(self) -> Mapping[str, Any]:
        """The client's layer of query parameters; a subclass may add to it. Read for every call."""
        return cast("Mapping[str, Any]", self._config.given["default_params"] or {})

    @property
    def auth_headers(self) -> Mapping[str, str]:
        """Headers that are a credential, for a subclass to override; used if ``auth`` is None.

        Read for every attempt, and sent to trusted origins only.
        """
        return {}

    async def _prepare_options(self, options: RequestOptions, /) -> RequestOptions:
        """Return the options of a call, changed if needed; called once per call, before the request."""
        return options

    async def _prepare_request(self, request: APIRequest, /) -> None:
        """Change the final request in place; called once per send, innermost."""

    async def _process_response(self, response: AsyncAPIResponse[Any], cast_to: Any, /) -> Any:
        """Return the result of the call for *response*; called once per call, after the chain."""
        if response._parses_later:
            return response
        if cast_to is aiohttp.ClientResponse:
            return response._take_raw()
        return await response.parse()

    async def _sleep_for_retry(self, seconds: float, /) -> None:
        """Wait before another attempt: on the transport's clock if it has one, as in tests."""
        sleep = getattr(self._shared.transport, "sleep", asyncio.sleep)
        await sleep(seconds)

    def _make_status_error(self, response: AsyncAPIResponse[Any], body: Any, /) -> APIStatusError:
        """Return the error for *response* with its decoded body; an SDK may return its own classes."""
        return status_error_class(response.status).from_response(response, body)

    def _make_stream_error(
        self, event: streaming.ServerSentEvent, response: AsyncAPIResponse[Any], /
    ) -> Exception:
        """Return the error for an ``error`` event in a stream; an SDK may return the class of a status
        error.
        """
        from aioapiclient.streaming._stream import stream_error

        return stream_error(event, response)

    async def _request_api_list(
        self, method: str, path: str | URL, cast_to: Any, options: RequestOptions, /
    ) -> AsyncAPIResponse[Any]:
        """Send the request of one page of a list; *options* are those of this page."""
        response: AsyncAPIResponse[Any] = await self._call(method, path, cast_to, False, None, options)
        return response

    def _idempotency_key(self) -> str:
        """Return a new idempotency key, with 122 random bits."""
        return str(uuid.uuid4())

    # --- the chain

    def _set_up_chain(self, changes: Mapping[str, Any]) -> None:
        """Rebuild the chain if *changes* affect it, and fold it around the transport."""
        self._config.is_plain = not self._config.given["default_params"] and self._own_hooks.isdisjoint(
            ("_prepare_options", "_process_response", "default_params")
        )
        if "version" in changes or not self._own_hooks.isdisjoint(_FOR_THE_CHAIN):
            self._config.settings = msgspec.structs.replace(self._config.settings, hooks=self._make_hooks())
        if not CHAIN_OPTIONS.isdisjoint(changes):
            chain = self._config.given["chain"]
            self._chain = self._own_chain() if chain is None else check_chain(chain)
            self._handler = fold(self._chain, self._innermost())
            for link in self._chain:
                self._register(_owned(link))
        elif "_prepare_request" in self._own_hooks:
            self._handler = fold(self._chain, self._innermost())

    def _make_hooks(self) -> ClientHooks:
        """Return the hooks of this client or view that links of the chain call."""
        own = self._own_hooks
        # A request may outlive its call, in an error or a test, and must not keep the client alive.
        client = weakref.proxy(self)
        asks = not own.isdisjoint(("platform_headers", "user_agent"))
        if asks or getattr(self._shared.transport, "is_borrowed", False):
            hooks: dict[str, Any] = {"library_headers": lambda: client._library_headers()}
        else:
            hooks = {"library_headers": self._library_headers()}
        if "default_headers" in own:
            hooks["default_headers"] = lambda: client.default_headers
        if "auth_headers" in own:
            hooks["auth"] = _HookAuth(client)
        if "_sleep_for_retry" in own or hasattr(self._shared.transport, "sleep"):

            async def sleep(seconds: float) -> None:
                await client._sleep_for_retry(seconds)

            hooks["sleep"] = sleep
        return ClientHooks(**hooks)

    def _own_chain(self) -> tuple[Middleware, ...]:
        given = self._config.given
        policy = given["retry"] or RetryPolicy()
        if policy.budget is msgspec.UNSET:
            policy = msgspec.structs.replace(policy, budget=self._budget)
        else:
            self._budget = policy.budget
        return tuple(
            default_chain(
                auth=given["auth"],
                # The property of a subclass decides whether it includes the given headers.
                default_headers=None if "default_headers" in self._own_hooks else given["default_headers"],
                retry=policy,
                trusted_origins=given["trusted_origins"],
                middlewares=given["middlewares"] or (),
            )
        )

    def _library_headers(self) -> Mapping[str, Any]:
        """Return the lowest layer of headers, without the headers that a borrowed session adds."""
        headers = {"User-Agent": self.user_agent, **self.platform_headers()}
        own = getattr(self._shared.transport, "session_headers", {})
        return headers | {name: OMIT for name in ("Accept", *headers) if name in own}

    def _register(self, thing: object) -> None:
        """Bind a link of the chain, or an `Auth`, to the client, and close it with the client."""
        self._shared.register_closable(thing, lambda own: own.bind(self._without_auth()))

    def _innermost(self) -> Handler:
        transport = self._shared.transport
        if type(transport) is not AiohttpTransport:
            transport = checked(transport)
        transport = logging_sends(transport)
        if "_prepare_request" not in self._own_hooks:
            return transport

        async def send(request: APIRequest) -> AsyncAPIResponse[Any]:
            await self._prepare_request(request)
            return await transport(request)

        return send

    def _view(self, config: Config) -> Self:
        from .resource import rebind

        view = copy.copy(self)
        view._config = config
        view._is_view = True
        rebind(view, self, view)
        return view

    def _without_auth(self) -> Self:
        config = Config({}, self._config)
        config.settings = resolve_settings(config.settings, {"auth": None})
        view = self._view(config)
        view._set_up_chain({})
        return view

    # --- one call

    def _call(
        self,
        method: str,
        path: str | URL,
        cast_to: Any,
        stream: bool,
        options: CallOptions | None,
        keywords: RequestOptions,
    ) -> Awaitable[Any]:
        """Return an awaitable for the call. It is not `async` itself, to save a coroutine on the hot path."""
        config = self._config
        is_plain = not options and not stream and config.is_plain and keywords.keys() <= PLAIN_OPTIONS
        if not is_plain or cast_to is aiohttp.ClientResponse or running.get() is not None:
            return self._call_with(method, path, cast_to, stream, options, keywords)
        request = plain_request(config, method, path, cast_to, keywords, self._build_checked)
        return self._value_of(request, self._handler, cast_to)

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
            check_flag("stream", stream)
            return await self._open_stream(method, path, cast_to, streaming.SSEStream, options, keywords)
        # Before the hooks, because their own calls are not the call of the wrapped method.
        mode, asked = take_mode(), is_response_type(cast_to)
        given = layer_options(keywords, options)
        if given or self._own_hooks:
            given = await self._prepare(given)
        if cast_to is aiohttp.ClientResponse:
            return await self._call_raw(method, path, given)
        unread = mode == "unread response"
        target = cast_to if asked or mode == "value" else _RESPONSE[cast_to]
        request = self._build_checked(method, path, target, given, self.default_params, unread)
        handler = self._handler_for(given) if given else self._handler
        if mode == "value" and not asked:
            return await self._value_of(request, handler, cast_to)
        response = await self._send(request, handler)
        record(response, asked=asked)
        return response if mode != "value" else await self._processed(response, cast_to)

    async def _value_of(self, request: APIRequest, handler: Handler, cast_to: Any) -> Any:
        """Send *request* down the chain like `_run`, and return the value of the response."""
        with self._shared.begin(request):
            response = await handler(request)
            if not 200 <= response.status < 300:
                await self._refuse(response)
        value = response._value
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
        stream_cls: type[streaming.AsyncStream[Any]],
        options: CallOptions | None,
        keywords: RequestOptions,
        until: Callable[[streaming.ServerSentEvent], bool] | None = None,
        reconnect: bool | streaming.ReconnectPolicy = False,
    ) -> Any:
        _check_stream_class(stream_cls)
        stream_cls.check_options(until, reconnect)
        self._check_event_type(cast_to)
        mode = take_mode()
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
        if mode == "value":
            return events
        response._value = events
        return record(response, asked=False)

    async def _send(self, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        """Send *request*. An unread response is tracked, and its call can be sent again."""
        if not request.stream:
            return await self._run(request, handler)
        pristine = request.copy()
        response = await self._run(request, handler)
        self._shared.track(response)
        pristine.deadline = response.request.deadline
        response._again = functools.partial(self._send_again, pristine, handler)
        return response

    async def _ask(self, url: str | URL, cast_to: Any, options: RequestOptions) -> Any:
        """Send one request of a poll."""
        return await self._call("GET", url, cast_to, False, None, options)

    async def _pause(self, seconds: float) -> None:
        """Wait between calls, in a scope that the closing of the client interrupts."""
        with self._shared.begin():
            await self._sleep_for_retry(seconds)

    async def _send_again(
        self, request: APIRequest, handler: Handler, headers: Mapping[str, str]
    ) -> AsyncAPIResponse[Any]:
        """Send the same call again through the complete chain, with *headers* over its own."""
        if not request.can_be_sent:
            raise RequestNotReplayableError(
                f"{request.label}: cannot be sent again: its body can be sent only once", request=request
            )
        again = request.copy()
        again.add_call_headers(headers)
        return await self._send(again, handler)

    def _check_event_type(self, cast_to: Any) -> None:
        if is_response_type(cast_to):
            raise TypeError(
                "cast_to of a stream is the type of its events, not AsyncAPIResponse:"
                " client.open(method, path) gives an unread response"
            )
        if cast_to is not streaming.ServerSentEvent:
            settings = self._config.settings
            check_cast_to(cast_to, settings.dec_hook, settings.decoders)

    async def _prepare(self, given: RequestOptions) -> RequestOptions:
        if "_prepare_options" in self._own_hooks:
            given = await self._prepare_options(given)
        auth = given.get("auth")
        if auth is not None:
            check_auth(auth)
            self._register(auth)
        return given

    def _build_checked(
        self,
        method: str,
        path: str | URL,
        cast_to: Any,
        given: RequestOptions = _NO_OPTIONS,
        params: Mapping[str, Any] = _NO_PARAMS,
        stream: bool = False,
    ) -> APIRequest:
        target = result_type(cast_to)
        settings = self._config.settings
        check_cast_to(target, settings.dec_hook, settings.decoders)
        is_head = str(method).upper() == "HEAD"
        accept = ANYTHING if is_head else accept_for(target, settings.decoders)
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
        accept: str = JSON,
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
        """Send *request* down the chain, in a scope that the closing of the client interrupts."""
        with self._shared.begin(request) as scope:
            opened: list[AsyncAPIResponse[Any]] = []
            scope.opened = opened if request.stream else None
            try:
                response = await handler(request)
                await self._refuse(response)
            except BaseException:
                # A middleware that was interrupted after the head arrived cannot return its response.
                for abandoned in opened:
                    await abandoned.close()
                raise
            finally:
                scope.opened = None
        return response

    async def _refuse(self, response: AsyncAPIResponse[Any]) -> None:
        """Raise the status error for *response*, unless it is a success."""
        if response.ok:
            return
        await response.read_error()
        # Not from a variable: a frame that refers to its own error keeps it alive until a collection.
        raise self._status_error(response)

    def _status_error(self, response: AsyncAPIResponse[Any]) -> Exception:
        """Return the error for *response*, with its notes."""
        error = self._make_status_error(response, response._error_body())
        for note in response.notes:
            error.add_note(note)
        if response.request._withheld:
            error.add_note(note_on_withheld(response))
        return error

    def _handler_for(self, given: RequestOptions) -> Handler:
        if "middlewares" not in given:
            return self._handler
        middlewares = check_iterable("middlewares", given["middlewares"])
        return fold(insert(self._chain, middlewares), self._innermost())


for _name in ("_config", "_shared", "_chain"):  # the attributes that every method reads first
    setattr(BaseClient, _name, SetByInit())


class _HookAuth(Auth):
    """The credential of a subclass that overrides ``auth_headers``."""

    def __init__(self, client: BaseClient) -> None:
        self._client = client

    async def authenticate(self, request: APIRequest, /) -> None:
        """Set the headers."""
        request.set_headers(self._client.auth_headers)


def _owned(link: object) -> object:
    """Return the object of a link to bind and to close: its auth, or the link itself."""
    return link.auth if isinstance(link, AuthMiddleware) else link


def _check_stream_class(stream_cls: object) -> None:
    if not (isinstance(stream_cls, type) and issubclass(stream_cls, streaming.AsyncStream)):
        raise TypeError(
            f"stream_cls must be a subclass of AsyncStream, such as SSEStream, not {stream_cls!r}"
        )
