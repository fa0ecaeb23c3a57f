"""`APIRequest`: the request that passes down the chain, one object for each handler call."""

from __future__ import annotations

__lazy_modules__: tuple[str, ...] = ("aioapiclient._codecs.custom",)

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from multidict import CIMultiDict
from yarl import URL

from ._body.body import Body
from ._body.sources import Content
from ._cancel_scope import Scope
from ._codecs.accept import JSON
from ._codecs.custom import Decoders
from ._headers import Layer, check_layer, overlay
from ._types import DEFAULT_TIMEOUT, NOT_GIVEN, HeaderLayer, NotGiven, Omit, Timeout
from ._url.base import BaseURL, append_params, check_url, redact_url
from ._url.origins import TrustedOrigins, origin_text
from .errors import APITimeoutError, TimeoutPhase

if TYPE_CHECKING:
    from .contract import Auth
    from .middleware.retry import RetryPolicy

__all__ = ["APIRequest"]

# RFC 9110 §9.2.2, and QUERY, which is safe (RFC 9110 has no such method yet; its draft says so).
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"})


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)  # looked up at each call, so that tests can replace it


class ClientHooks(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The hooks of a client for the middlewares of any chain.

    They travel with the request, so that a client and all its views, each with its own hooks, share one
    chain.
    """

    library_headers: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = {}
    """Headers of the lowest layer, such as the User-Agent."""

    default_headers: Callable[[], Mapping[str, str | Omit]] | None = None
    """The headers of a subclass; None if it defines none."""

    auth: Auth | None = None
    """The credential of a subclass; None if it defines none."""

    sleep: Callable[[float], Awaitable[object]] = _sleep
    """Waits between attempts."""


NO_HOOKS: Final = ClientHooks()


class CallSettings(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The settings of one call, resolved from the client, the view and the options of the call."""

    max_retries: int | None = None
    """None leaves it to the policy."""

    retry: RetryPolicy | None = None
    """None leaves it to the `RetryMiddleware`."""

    auth: Auth | NotGiven | None = NOT_GIVEN
    """`NOT_GIVEN` leaves it to the `AuthMiddleware`; None sends no credential."""

    ok_statuses: frozenset[int] = frozenset()
    """Statuses outside 2xx that count as success."""

    error_types: Mapping[Any, Any] = {}
    """The types of error bodies by status, ``"4XX"`` or ``"default"``."""

    error_detail: bool = True
    """Whether the text of a status error ends with the server's message."""

    follow_redirects: bool = True
    """Whether redirects are followed."""

    max_body: int | None = 64 << 20
    """The maximum size of a buffered body in bytes, decompressed; None: no limit."""

    decompress: bool = True
    """Whether the body of a success is decompressed."""

    strict: bool = True
    """Whether values are validated without coercion."""

    dec_hook: Callable[[type, Any], Any] | None = None
    """msgspec's hook to decode types that it does not know."""

    decoders: Decoders | None = None
    """The user's functions for content types without a built-in codec."""

    request_id_header: str = "x-request-id"
    """The response header with the server's ID of the request."""

    total_ends_at_head: bool = False
    """Whether the total ends when the head arrives: on a stream, if the total is the client's."""

    hooks: ClientHooks = NO_HOOKS
    """The hooks of the client or view that makes the call."""

    def auth_or(self, auth: Auth | None) -> Auth | None:
        """Return the credential of the call. If the call names none: *auth*, or else that of the client
        subclass.

        Args:
            auth: The credential of the middleware; None if it has none.
        """
        if isinstance(self.auth, NotGiven):
            return self.hooks.auth if auth is None else auth
        return self.auth


DEFAULT_SETTINGS: Final = CallSettings()


class APIRequest(msgspec.Struct, eq=False):
    """One request on its way to the transport. The handler that receives it owns it and may change it freely.

    If you call a handler more than once, pass each call its own copy: ``await handler(request.copy())``. The
    fields below are the arguments of the constructor; *method* and *url* are required.

    Raises:
        InvalidRequestError: HTTP does not allow the URL or a header.
    """

    method: str
    """The method, sent unchanged."""

    url: URL
    """The complete URL, sent byte for byte. A `str` is used unchanged."""

    headers: CIMultiDict[str] = msgspec.field(default_factory=cast("type[CIMultiDict[str]]", CIMultiDict))
    """The headers so far. Those of the call itself override those of middlewares."""

    body: Body | None = None
    """The encoded body; shared by all copies."""

    template: str | None = None
    """The path template of the call, such as ``/users/{id}``: of low cardinality, for metrics."""

    path_params: Mapping[str, Any] = {}
    """The values for the template."""

    cast_to: Any = Any
    """The type that the caller requested."""

    stream: bool = False
    """Whether the response is returned with its body unread."""

    attempt: int = 0
    """The number of earlier attempts of this call."""

    deadline: float | None = None
    """The time on the event loop's clock, in seconds, at which the whole call must have ended."""

    timeout: Timeout = DEFAULT_TIMEOUT
    """The time limits of this call, fully resolved."""

    idempotent: bool | None = None
    """Whether the caller declares the request safe to repeat; None: the method decides. See
    `is_idempotent`.
    """

    idempotency_key: str | None = None
    """The idempotency key, the same on every attempt."""

    extensions: dict[str, Any] = {}
    """Your own data: one dict for the whole call, shared by all copies."""

    _settings: CallSettings = DEFAULT_SETTINGS
    """The other settings of the call: retries, redirects, limits, strictness."""

    _accept: str = JSON
    """The Accept header that the library sends unless a header layer sets another."""

    _call_headers: Layer = ()
    """The headers of the call itself. They override even those of the credential."""

    _base_url: BaseURL | None = None
    """The base URL of the client; credentials go to its origin."""

    trusted_origins: tuple[str, ...] = ()
    """Patterns of other origins that may receive credentials and default headers."""

    _withheld: tuple[str, ...] = ()
    """Names of headers and credentials withheld because the origin is not trusted; a note of the error lists
    them.
    """

    started: float | None = None
    """The time on the event loop's clock, in seconds, at which the call began."""

    _scope: Scope | None = None
    """The cancel scope of the call, while a client runs it."""

    def __post_init__(self) -> None:
        # The constructor accepts convenient types and converts them to the types of the fields.
        url: Any = self.url
        headers: Any = self.headers
        body: Any = self.body
        if type(url) is not URL:
            self.url = check_url(url)
        if type(headers) is not CIMultiDict:
            self._call_headers = check_layer(headers)
            self.headers = CIMultiDict()
            overlay(self.headers, self._call_headers)
        if body is not None and type(body) is not Body:
            self.body = Body(body)
        base_url: Any = self._base_url
        if base_url is not None and type(base_url) is not BaseURL:
            self._base_url = BaseURL(base_url)

    if TYPE_CHECKING:

        def __init__(
            self,
            method: str,
            url: URL | str,
            headers: Mapping[str, str | Omit] | CIMultiDict[str] = ...,
            body: Body | Content | None = None,
            template: str | None = None,
            path_params: Mapping[str, Any] = ...,
            cast_to: Any = ...,
            stream: bool = False,
            attempt: int = 0,
            deadline: float | None = None,
            timeout: Timeout = ...,
            idempotent: bool | None = None,
            idempotency_key: str | None = None,
            extensions: dict[str, Any] = ...,
            _settings: CallSettings = ...,
            _accept: str = ...,
            _call_headers: Layer = (),
            _base_url: BaseURL | URL | str | None = None,
            trusted_origins: tuple[str, ...] = (),
            _withheld: tuple[str, ...] = (),
            started: float | None = None,
            _scope: Scope | None = None,
        ) -> None: ...

        def __copy__(self) -> APIRequest: ...

    def __repr__(self) -> str:
        return f"<APIRequest {self.label} attempt={self.attempt}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own method has every field: a traceback that rich prints would show the credential.
        return [("label", self.label), ("attempt", self.attempt)]

    def copy(self) -> APIRequest:
        """Return a copy: its headers are copied; its body and its ``extensions`` are shared.

        A handler call with a copy may run in a separate task.
        """
        # Called directly, because copy.copy() would look in three places first, on every attempt.
        twin = self.__copy__()
        twin.headers = self.headers.copy()
        return twin

    @property
    def label(self) -> str:
        """Method and URL for messages and logs, without userinfo and without the values of the query."""
        return f"{self.method} {redact_url(self.url)}"

    @property
    def origin(self) -> str:
        """Scheme, host and port of the URL, such as ``https://api.example.com``: a key for per-server state.

        In lower case, without userinfo and without a default port (RFC 6454 §6.2).
        """
        return origin_text(self.url)

    @property
    def relative_path(self) -> str:
        """The path of the URL relative to the client's base URL, as sent: ``/users/7``.

        It is the complete path if the URL is not below the base URL.
        """
        path, base_url = self.url.raw_path, self._base_url
        if base_url is None or not self.is_trusted():
            return path
        base = base_url.url.raw_path.rstrip("/")
        below = path.removeprefix(base)
        return below or "/" if path.startswith(base) and below[:1] in ("", "/") else path

    @property
    def is_idempotent(self) -> bool:
        """Whether the request is safe to repeat: by the caller, an idempotency key, or the method."""
        if self.idempotent is not None:
            return self.idempotent or self.idempotency_key is not None
        return self.idempotency_key is not None or self.method in _IDEMPOTENT

    @property
    def can_be_sent(self) -> bool:
        """Whether the body can be sent: False once sending of a one-shot body has begun."""
        return self.body is None or not self.body.consumed

    @property
    def decompress(self) -> bool:
        """Whether the body of a success is returned decompressed; errors always are."""
        return self._settings.decompress

    @property
    def max_body(self) -> int | None:
        """The maximum size in bytes of a body that is read at once, decompressed; None: no limit."""
        return self._settings.max_body

    def is_trusted(self, origins: tuple[str, ...] = ()) -> bool:
        """Return whether the URL has the client's own origin, or one of *origins*.

        Args:
            origins: Patterns of other trusted origins, such as ``https://*.example.com``. None by default.
        """
        url, base_url = self.url, self._base_url
        if base_url is None:
            return False
        if url.raw_authority == base_url.authority and url.scheme == base_url.scheme:
            return True
        return _trusted_origins(base_url, origins).trusts(url)

    def set_headers(self, headers: HeaderLayer) -> None:
        """Set *headers* on the request. They replace headers of the same name.

        Args:
            headers: Names and values. `OMIT` as a value removes the header.

        Raises:
            InvalidRequestError: HTTP does not allow a name or a value.
            TypeError: A value has the wrong type.
        """
        overlay(self.headers, check_layer(headers))

    def add_call_headers(self, headers: HeaderLayer) -> None:
        """Set *headers* as if the call itself had passed them, so that no other layer overrides them.

        Args:
            headers: Names and values. `OMIT` as a value removes the header.

        Raises:
            InvalidRequestError: HTTP does not allow a name or a value.
            TypeError: A value has the wrong type.
        """
        layer = check_layer(headers)
        names = {name.lower() for name, _ in layer}
        self._call_headers = (*(own for own in self._call_headers if own[0].lower() not in names), *layer)
        overlay(self.headers, layer)

    def restore_call_headers(self) -> None:
        """Set the headers of the call itself again, over headers that a middleware has set."""
        if self._call_headers:
            overlay(self.headers, self._call_headers)

    def call_sets(self, name: str) -> bool:
        """Return whether the call itself sets or omits a header.

        Args:
            name: The name of the header, in any case.
        """
        name = name.lower()
        return any(name == own.lower() for own, _ in self._call_headers)

    def add_params(self, params: Mapping[str, Any]) -> None:
        """Append parameters to the query of the URL. The existing query stays byte for byte.

        Args:
            params: Names and values.
        """
        self.url = append_params(self.url, params)

    def limit(self, phase: TimeoutPhase) -> float | None:
        """Return the seconds that ``timeout`` allows for a phase; None: no limit.

        Args:
            phase: ``connect``, ``pool``, ``attempt``, ``read``, ``write`` or ``total``.
        """
        seconds: Any = getattr(self.timeout, phase)
        limit: float | None = None if seconds is NOT_GIVEN else seconds
        return limit

    def time_left(self) -> float | None:
        """Return the seconds until the deadline, never below 0; None without a deadline."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    def time_limit(self, seconds: float, phase: TimeoutPhase) -> AbstractContextManager[Scope]:
        """Return a context manager that limits the time of a handler call.

        ::

            with request.time_limit(5, "attempt"):
                return await handler(request)

        Args:
            seconds: The limit. When it is reached, the block ends with an `APITimeoutError`.
            phase: The phase that the error names.
        """
        scope = Scope(timers=None if self._scope is None else self._scope.timers)
        scope.expire_after(seconds, self.timed_out(phase, seconds))
        return scope

    def timed_out(self, phase: TimeoutPhase, seconds: float) -> Callable[[], APITimeoutError]:
        """Return a function that creates the error for a limit that was reached.

        Args:
            phase: The phase that the error names.
            seconds: The limit, for the message.
        """
        return partial(_timed_out, self, phase, seconds)


@lru_cache(maxsize=128)
def _trusted_origins(base_url: BaseURL, origins: tuple[str, ...]) -> TrustedOrigins:
    return TrustedOrigins(base_url, origins)


def _timed_out(request: APIRequest, phase: TimeoutPhase, seconds: float) -> APITimeoutError:
    message = f"{request.label}: not done within {seconds:g} s ({phase})"
    return APITimeoutError(message, phase=phase, request=request, retries_taken=request.attempt)
