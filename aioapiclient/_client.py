"""`AsyncAPIClient`: what it is made of, its views, and its life."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import msgspec
from yarl import URL

from ._calls import Calls
from ._chain import check_auth, check_chain, default_chain, explain, fold, is_async
from ._config import CHAIN_OPTIONS, CLIENT_OPTIONS, Config
from ._lifecycle import Lifecycle
from ._options import check_names, resolve_settings
from ._query import DEFAULT_STYLE, QueryStyle
from ._request import APIRequest
from ._response import AsyncAPIResponse
from ._transport import AiohttpTransport
from ._types import NOT_GIVEN, ClientOptions, HeaderLayer, NotGiven, Params, StatusKey, Timeout
from .contract import Auth, Handler, Middleware
from .middleware.auth import AuthMiddleware
from .middleware.retry import RetryBudget, RetryPolicy

if TYPE_CHECKING:
    import aiohttp

__all__ = ["AsyncAPIClient"]


class AsyncAPIClient(Calls):
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
        self._is_plain = not self._config.given["default_params"] and self._own_hooks.isdisjoint(
            ("_prepare_options", "_process_response", "default_params")
        )
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


class _HookAuth(Auth):
    """The credential of a subclass that fills in ``auth_headers``."""

    def __init__(self, client: AsyncAPIClient) -> None:
        self._client = client

    async def authenticate(self, request: APIRequest, /) -> None:
        """Set the headers."""
        request.set_headers(self._client.auth_headers)


def _owned(link: object) -> object:
    """What a link of the chain holds open, or makes calls with: itself, or its auth."""
    return link.auth if isinstance(link, AuthMiddleware) else link


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
