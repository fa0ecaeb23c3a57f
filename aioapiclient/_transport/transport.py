"""`AiohttpTransport`: the innermost handler, which calls aiohttp.

This module and its neighbours disable or correct surprising behaviour of aiohttp:

================================================  ===========================================
aiohttp                                           here
================================================  ===========================================
silently sends idempotent requests again          never: `_make_session`, `_send_once`
does much that a plain request does not need      see `direct`
adds its own headers                              never: `_ExactRequest`, `_skip_auto_headers`
assigns stray bytes to the next request, lets a   see `connector`
reader hang, has no limit for DNS and the pool
waits without limit for a peer that stops reading see `request_body`
accepts truncated bodies as complete              see `response_body`
raises thirty kinds of errors, some with secrets  see `errors`
================================================  ===========================================

A borrowed session is not changed, so it lacks the corrections of `connector`. Only one has a replacement:
`WireBody.watch_connection` wakes a reader whose connection closes.
"""

from __future__ import annotations

__lazy_modules__: tuple[str, ...] = (
    "aioapiclient._transport.errors",
    "aioapiclient._transport.lookalike",
    "aioapiclient._transport.proxies",
    "aioapiclient._transport.request_body",
)

import asyncio
import ssl as tls
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache, partial
from http.cookies import SimpleCookie
from typing import Any, Final, cast

import aiohttp
from aiohttp import http_parser
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDict, istr
from yarl import URL

from aioapiclient._body.body import Body
from aioapiclient._checks import check_flag
from aioapiclient._headers import check_layer, check_token, is_personal
from aioapiclient._request import APIRequest
from aioapiclient._response.response import AsyncAPIResponse
from aioapiclient._types import Timeout
from aioapiclient._url.syntax import split_zone
from aioapiclient.errors import (
    APIConnectionError,
    ClientClosedError,
    InvalidRequestError,
    RequestNotReplayableError,
    printable,
)

from .connector import LINE, Limits, PoolStats, forget_session, make_connector, mend, pool_stats
from .decompression import ACCEPT_ENCODING
from .direct import Direct, make_direct
from .errors import SentOnce, is_from_below, is_mocked, map_error
from .lookalike import Lookalike
from .proxies import EnvironmentProxies, Proxy
from .request_body import AT_ONCE, Upload
from .response_body import WireBody

__all__ = ["AiohttpTransport"]

_Send = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]


class AiohttpTransport:
    """Sends requests with aiohttp; the innermost handler of a chain.

    It can be created anywhere. The session opens with the first request, inside the running loop, and
    belongs to that loop. When the loop has ended, the next request opens another session.

    Args:
        ssl: True (the default) for the system's certificates, an `ssl.SSLContext` for a private CA or a
            client certificate, or an `aiohttp.Fingerprint` to pin one certificate.
        proxy: The URL of an HTTP proxy for all requests, with its credentials.
        trust_env: Whether to use the proxies of the environment (``https_proxy``, ``no_proxy``), read when
            the session opens. netrc is never read. False by default.
        connector: A function that creates the connector, called in the running loop: for Unix sockets, SOCKS,
            or other limits. By default an `aiohttp.TCPConnector` with 1000 connections and keep-alive probes
            after 60 seconds.
        session_middlewares: aiohttp's own client middlewares, for example for digest auth.
        trace_configs: `aiohttp.TraceConfig` objects, which observe the queue, DNS and connections. Their
            callbacks run in the context of the call.
        session: Your own session, which is neither closed nor changed. *ssl* and *proxy* are passed with each
            request; all other settings are those of the session.

    Raises:
        TypeError: An argument has the wrong type, or two arguments exclude each other.
        InvalidRequestError: *ssl* is False, or *proxy* is not the URL of an HTTP proxy.
    """

    def __init__(
        self,
        *,
        ssl: bool | tls.SSLContext | aiohttp.Fingerprint = True,
        proxy: str | URL | None = None,
        trust_env: bool = False,
        connector: Callable[[], aiohttp.BaseConnector] | None = None,
        session_middlewares: Iterable[aiohttp.ClientMiddlewareType] = (),
        trace_configs: Iterable[aiohttp.TraceConfig] = (),
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        middlewares, traces = tuple(session_middlewares), tuple(trace_configs)
        _check_ssl(ssl)
        _check_traces(traces)
        if connector is not None:
            _check_connector(connector)
            if ssl is not True:
                raise TypeError("ssl belongs to the connector that your factory creates: pass it there")
        if session is not None:
            _check_session(session)
            if trust_env or connector is not None or middlewares or traces:
                raise TypeError(
                    "session has its own trust_env, connector, middlewares and trace_configs:"
                    " omit these arguments"
                )
        self._ssl = ssl
        self._proxy = None if proxy is None else Proxy.parse(proxy)
        self._trust_env = check_flag("trust_env", trust_env)
        self._environment: EnvironmentProxies | None = None
        self._make_connector: Callable[[], object] = connector or partial(make_connector, ssl)
        self._middlewares = middlewares
        self._traces = traces
        self._borrowed = session
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._direct: Direct | None = None
        self._last: tuple[Timeout | None, Limits] = (None, Limits())

    def __repr__(self) -> str:
        kind = "own session" if self._borrowed is None else "borrowed session"
        return f"<AiohttpTransport {kind}{'' if self._proxy is None else f', {self._proxy}'}>"

    async def __call__(self, request: APIRequest, /) -> AsyncAPIResponse[Any]:
        """Send *request*, and return the response with its body unread. Hook: `_request`.

        Args:
            request: The final request.

        Returns:
            The response, whatever its status.

        Raises:
            InvalidRequestError: The request cannot be sent; nothing was sent.
            APIConnectionError: No response arrived; `APITimeoutError` if a time limit was reached.
            RequestNotReplayableError: The body can be sent only once, and was already sent.
            ClientClosedError: The transport is closed, or belongs to another event loop.
        """
        session = self._session
        if session is None or self._loop is not asyncio.get_running_loop():
            session = self._open()
        options = self._options(request)
        url = request.url
        if "%" in url.raw_authority:
            url = self._enter_zone(url, options)
        try:
            direct = self._direct if _PLAIN.issuperset(options) else None
            body = options.get("data")
            plain = direct and direct.prepare(request.method, url, options["headers"], body)
            if direct is None or plain is None:
                # `session.request` only adds an object for ``async with``.
                send = session._request  # pyright: ignore[reportPrivateUsage]
                raw = await send(request.method, url, **options)
            else:
                raw = await direct.send(plain, options["timeout"], body)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not session.closed or task is None or task.cancelling():
                raise
            # aiohttp cancels the wait for a connection when the session closes; the caller did not cancel.
            failure: BaseException = ClientClosedError(f"{request.label}: the session was closed")
        except Exception as error:
            failure = _failure(request, session, options, error)
            if failure is error:
                raise
        else:
            return _respond(raw, request, partial(_failure, request, session, options), self._borrowed)
        raise failure

    # --- the arguments of aiohttp

    def _options(self, request: APIRequest) -> dict[str, Any]:
        """Check *request*, and return its keyword arguments for aiohttp."""
        headers = request.headers
        _check_request(request, headers)
        timeout, limits = self._last
        if timeout is not request.timeout:
            limits = _limits_of(request.timeout)
            self._last = (request.timeout, limits)
        options: dict[str, Any] = {"headers": headers, "timeout": limits, "allow_redirects": False}
        if "Accept-Encoding" not in headers:
            headers["Accept-Encoding"] = _accept_encoding(request)
        if request.cast_to is aiohttp.ClientResponse:
            options["auto_decompress"] = request._settings.decompress
        if request.body is not None:
            _add_body(request, request.body, options)
        if self._borrowed is not None:
            self._borrow(request, self._borrowed, options)
        if self._proxy is not None or self._environment is not None:
            self._add_proxy(request, options)
        return options

    def _add_proxy(self, request: APIRequest, options: dict[str, Any]) -> None:
        proxy = self._proxy
        if proxy is None and self._environment is not None:
            proxy = self._environment.find(request.url)
        if proxy is None:
            return
        if "%" in request.url.raw_authority:
            raise InvalidRequestError(
                f"{request.label}: a proxy cannot reach an IPv6 zone, which is an interface of this machine"
            )
        options["proxy"] = proxy.url
        if proxy.authorization is None:
            return
        credentials = {"Proxy-Authorization": proxy.authorization}
        if request.url.scheme == "https":
            options["proxy_headers"] = credentials
        else:
            # aiohttp 3.12 and 3.13 would omit them on a reused connection.
            options["headers"] = CIMultiDict(request.headers, **credentials)

    def _borrow(self, request: APIRequest, session: Any, options: dict[str, Any]) -> None:
        """Configure a request on a borrowed session like one on our own session. Hook: `_middlewares`."""
        personal = _personal_parts(session)
        if personal and not self._is_trusted(request):
            raise InvalidRequestError(
                f"{request.label}: the borrowed session adds {', '.join(personal)} to each request, which"
                " must not go to an origin that is not the client's; to allow it, name the origin in"
                " trusted_origins"
            )
        _skip_auto_headers(request, options)
        options.setdefault("auto_decompress", False)
        # The middlewares of a request replace those of its session, so those are included.
        options["middlewares"] = (_send_once, *session._middlewares)
        options["raise_for_status"] = False
        if self._ssl is not True:
            options["ssl"] = self._ssl
        options["max_line_size"] = options["max_field_size"] = LINE

    def _enter_zone(self, url: URL, options: dict[str, Any]) -> URL:
        """Return *url* with its IPv6 zone in the form for a resolver; it is never sent (RFC 6874 §4)."""
        host = url.raw_host or ""
        address, zone = split_zone(host)
        if not zone:
            return url
        if self._borrowed is not None:
            own_host = _without_zone(url.host_port_subcomponent or "")
            options["headers"] = CIMultiDict(options["headers"], Host=own_host)
        if url.scheme == "https":
            options["server_hostname"] = address
        authority = url.raw_authority.replace(f"[{host}]", f"[{address}%{zone}]")
        return URL.build(
            scheme=url.scheme,
            authority=authority,
            path=url.raw_path,
            query_string=url.raw_query_string,
            encoded=True,
        )

    def _is_trusted(self, request: APIRequest) -> bool:
        return request._base_url is None or request.is_trusted(request.trusted_origins)

    # --- the session

    @property
    def session(self) -> aiohttp.ClientSession:
        """The aiohttp session; opened on access, in the running loop, if no request has opened it yet.

        Use it for features that this library lacks, such as WebSockets; the corrections of this transport
        apply. The transport closes it, unless it is borrowed.

        Raises:
            ClientClosedError: The transport is closed, or its session belongs to another event loop.
            RuntimeError: No event loop is running.

        """
        if self._session is None or self._loop is not asyncio.get_running_loop():
            return self._open()
        return self._session

    @property
    def is_borrowed(self) -> bool:
        """Whether the session belongs to the caller, so that `close` does not close it."""
        return self._borrowed is not None

    @property
    def session_headers(self) -> Mapping[str, str]:
        """The headers that a borrowed session adds to each request."""
        return {} if self._borrowed is None else self._borrowed.headers

    def _open(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosedError("the transport is closed")
        if self._loop is not None:
            if not self._loop.is_closed():
                raise ClientClosedError("the transport's session belongs to another event loop or process")
            self.forget_session()
        session = self._make_session() if self._borrowed is None else self._borrowed
        self._direct = make_direct(session, _ExactRequest) if self._borrowed is None else None
        self._environment = EnvironmentProxies() if self._trust_env and self._proxy is None else None
        self._session, self._loop = session, loop
        return session

    def _make_session(self) -> aiohttp.ClientSession:
        """Open a session in the running loop.

        Hooks: `_retry_connection`; `_prepare_headers` and `_build_url`, which would copy their arguments.
        """
        connector = self._make_connector()
        if not isinstance(connector, aiohttp.BaseConnector):
            raise TypeError(f"connector must return an aiohttp connector, not a {type(connector).__name__}")
        mend(connector)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=_NoCookies(),
            timeout=Limits(total=None),
            auto_decompress=False,
            trust_env=False,
            max_line_size=LINE,
            max_field_size=LINE,
            request_class=_ExactRequest,
            middlewares=self._middlewares,
            trace_configs=list(self._traces),
        )
        vars(session).update(_retry_connection=False, _prepare_headers=_as_headers, _build_url=_as_url)
        return session

    def stats(self) -> PoolStats | None:
        """Return the statistics of the pool, or None while no session is open."""
        session = self._borrowed or self._session
        return None if session is None else pool_stats(session.connector)

    async def close(self) -> None:
        """Close the session and its connections, unless the session is borrowed. Safe to call again.

        Raises:
            ClientClosedError: The session belongs to another event loop that is still open.
        """
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            if not self._loop.is_closed():
                raise ClientClosedError(
                    "the transport's session belongs to another event loop: close it there"
                )
            self.forget_session()
        session, self._session, self._loop = self._session, None, None
        self._closed = True
        if session is not None and self._borrowed is None:
            await session.close()

    def forget_session(self) -> None:
        """Discard the session of a loop that has ended, with its sockets. The next request opens another
        one.
        """
        session, self._session, self._loop = self._session, None, None
        if session is not None and self._borrowed is None:
            forget_session(session)


# --- checks of the arguments


def _check_session(session: object) -> None:
    if not isinstance(session, aiohttp.ClientSession):
        kind = type(session)
        raise TypeError(
            f"session must be an aiohttp.ClientSession, not a {kind.__module__}.{kind.__qualname__}"
        )


def _personal_parts(session: aiohttp.ClientSession) -> list[str]:
    """Return the names of the personal data that a borrowed session adds to each request: headers,
    ``auth``.
    """
    names = [printable(name) for name in session.headers if is_personal(name)]
    return names if session.auth is None else [*names, "auth"]


def _check_ssl(ssl: object) -> None:
    if ssl is False:
        raise InvalidRequestError(
            "ssl=False would accept any certificate; for a private CA use"
            " ssl=ssl.create_default_context(cafile=...), for one certificate ssl=aiohttp.Fingerprint(...)"
        )
    if ssl is not True and not isinstance(ssl, tls.SSLContext | aiohttp.Fingerprint):
        raise TypeError(
            f"ssl must be True, an ssl.SSLContext or an aiohttp.Fingerprint, not {type(ssl).__name__}"
        )


def _check_traces(traces: tuple[object, ...]) -> None:
    for trace in traces:
        if not isinstance(trace, aiohttp.TraceConfig):
            kind = type(trace).__name__
            raise TypeError(f"trace_configs must be aiohttp.TraceConfig objects, not {kind}")


def _check_connector(connector: object) -> None:
    if isinstance(connector, aiohttp.BaseConnector) or not callable(connector):
        raise TypeError(
            "connector must be a factory, called in the running loop: connector=lambda: TCPConnector(...),"
            f" not a {type(connector).__name__}"
        )


# --- the request


class _NoCookies(aiohttp.DummyCookieJar):
    """Stores no cookies, and creates no object per request."""

    _NONE: Final[SimpleCookie] = SimpleCookie()

    def filter_cookies(self, request_url: URL) -> SimpleCookie:
        """Return no cookies, whatever the URL."""
        return self._NONE


def _as_headers(headers: Any) -> CIMultiDict[str]:
    # An aiohttp middleware may send its own request, with any mapping.
    is_ready = type(headers) is CIMultiDict
    return cast("CIMultiDict[str]", headers if is_ready else CIMultiDict(headers or ()))


def _as_url(url: str | URL) -> URL:
    return url if type(url) is URL else URL(url)


def _without_zone(authority: str) -> str:
    """Return *authority* without the zone of an IPv6 address; names do not contain ``%``."""
    before, percent, after = authority.partition("%")
    return f"{before}]{after.partition(']')[2]}" if percent else authority


class _ExactRequest(aiohttp.ClientRequest):
    """Sends ``Host`` and the given headers, and adds only headers that frame the body.

    Hooks: `update_headers`, `update_auto_headers`, `_skip_auto_headers`, `POST_METHODS`.
    """

    POST_METHODS: set[str] = set()  # noqa: RUF012 - the methods to which aiohttp adds a Content-Type

    def update_headers(self, headers: Any) -> None:
        """Use *headers* unchanged."""
        host = self.url.host_port_subcomponent or ""
        self.headers = CIMultiDict(Host=_without_zone(host) if "%" in host else host)
        if headers:
            self.headers.extend(headers)

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """Add nothing."""
        if skip_auto_headers is not None:
            self._skip_auto_headers = CIMultiDict((name, None) for name in skip_auto_headers)


_PLAIN: Final = frozenset({"allow_redirects", "data", "headers", "timeout"})  # what `Direct` supports

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_checked_names: set[str] = set()


def _check_request(request: APIRequest, headers: CIMultiDict[str]) -> None:
    """Check the values that middlewares may have set.

    `check_layer` checks every header, but two quick tests of all headers nearly always suffice.
    """
    try:
        text = "".join(headers.values())
    except TypeError:
        text = "\0"
    if not (text.isascii() and text.isprintable() and _checked_names.issuperset(headers)):
        check_layer(headers)
        if len(_checked_names) < 512:
            _checked_names.update(headers)
    # A proxy receives authority and path, and older versions of aiohttp check neither.
    target = request.url.raw_authority + request.url.raw_path_qs
    if not (target.isascii() and target.isprintable()) or " " in target:
        raise InvalidRequestError(
            f"{request.label}: the URL contains a character that must be percent-encoded"
        )
    if request.method not in _METHODS:
        check_token(request.method, "method")
        if request.method.upper() == "CONNECT":
            raise InvalidRequestError("CONNECT opens a tunnel, which has no response body")
    if request.body is not None and not request.can_be_sent:
        raise RequestNotReplayableError(
            f"{request.label}: its body can be sent only once, and sending it had begun", request=request
        )


def _accept_encoding(request: APIRequest) -> str:
    if request.cast_to is aiohttp.ClientResponse:
        return aiohttp.ClientRequest.DEFAULT_HEADERS[istr("Accept-Encoding")]
    return "identity" if request.stream else ACCEPT_ENCODING


def _add_body(request: APIRequest, body: Body, options: dict[str, Any]) -> None:
    headers = request.headers
    if "Content-Type" not in headers:
        if body.content_type is None:
            options["skip_auto_headers"] = _CONTENT_TYPE
        else:
            headers["Content-Type"] = body.content_type
    content = body.immediate
    options["data"] = content if content is not None and len(content) <= AT_ONCE else Upload(body, request)


_CONTENT_TYPE: Final = (istr("Content-Type"),)
_AUTO_HEADERS: Final = (istr("Accept"), istr("Content-Type"), istr("User-Agent"))


def _skip_auto_headers(request: APIRequest, options: dict[str, Any]) -> None:
    """Keep aiohttp's own request class from adding headers."""
    if any(name not in request.headers for name in _AUTO_HEADERS):
        options["skip_auto_headers"] = _AUTO_HEADERS


@lru_cache(maxsize=64)
def _limits_of(timeout: Timeout) -> Limits:
    # No total, because aiohttp's total swallows a cancellation in the same tick.
    limits = Limits(total=None, sock_connect=_seconds(timeout.connect), sock_read=_seconds(timeout.read))
    object.__setattr__(limits, "pool", _seconds(timeout.pool))
    return limits


def _seconds(limit: object) -> float | None:
    return limit if isinstance(limit, int | float) else None


async def _send_once(request: aiohttp.ClientRequest, handler: _Send) -> aiohttp.ClientResponse:
    """Wrap errors for which a session would send the request again; an aiohttp middleware."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise SentOnce(error) from None


def _failure(
    request: APIRequest, session: aiohttp.ClientSession, options: dict[str, Any], error: Exception
) -> BaseException:
    """Return the error for the caller; a known reason takes precedence over its consequences."""
    if isinstance(error, SentOnce):
        error = error.error
    upload = options.get("data")
    if isinstance(upload, Upload) and upload.error is not None:
        return upload.error
    if session.closed and is_from_below(error):
        return ClientClosedError(f"{request.label}: the session was closed")
    return map_error(error, request, proxy=options.get("proxy"), mocked=is_mocked(error))


# --- the response


def _respond(
    given: Any,
    request: APIRequest,
    failure: Callable[[Exception], BaseException],
    borrowed: aiohttp.ClientSession | None,
) -> AsyncAPIResponse[Any]:
    """Return the response for a response of aiohttp."""
    raw: Any = given if isinstance(given, aiohttp.ClientResponse) else Lookalike(given)
    headers = raw.headers
    if raw.status == 101 or "Transfer-Encoding" in headers or _PARSER_IS_LENIENT:
        _refuse_broken(raw, request)
    started = request.started
    body = WireBody(raw, headers, request, failure)
    if borrowed is not None:
        body.watch_connection(borrowed)
    elapsed = 0.0 if started is None else asyncio.get_running_loop().time() - started
    version = "1.0" if raw.version == _HTTP_1_0 else "1.1"
    # Positional arguments, because keywords would cost more than the values.
    return AsyncAPIResponse(request, raw.status, headers, body, raw.reason or "", None, version, elapsed)


_HTTP_1_0: Final = aiohttp.HttpVersion10


def _refuse_broken(raw: aiohttp.ClientResponse, request: APIRequest) -> None:
    """Raise for an invalid response, and close its connection. Hook: ``raw._protocol``."""
    broken = _what_is_broken(raw)
    if broken is None:
        return
    raw.close()
    # A response that seemed to end with its head has already returned its connection.
    protocol = getattr(raw, "_protocol", None)
    if protocol is not None:
        protocol.close()
    message = f"{request.label}: the response is not valid HTTP: {broken}"
    raise APIConnectionError(message, reason="not_http", request=request, retries_taken=request.attempt)


# Parsers before aiohttp 3.13.4 accept invalid responses that newer ones refuse; the pure Python parser
# accepts some of them.
_IS_OLD: Final = "max_headers" not in (ResponseHandler.set_response_params.__kwdefaults__ or ())
_IS_PURE_PYTHON: Final = http_parser.HttpResponseParser is http_parser.HttpResponseParserPy
_PARSER_IS_LENIENT: Final = _IS_OLD or _IS_PURE_PYTHON


def _what_is_broken(raw: aiohttp.ClientResponse) -> str | None:
    """Return what is wrong with a response that aiohttp accepts, or None."""
    headers = raw.headers
    if raw.status == 101:
        return "status 101, though no upgrade was requested"
    coding = headers.get("Transfer-Encoding")
    if coding is not None and coding.strip().lower() != "chunked":
        return "a transfer coding that was not requested"
    if _IS_OLD:
        if len(headers) > 128:
            return "more than 128 headers"
        if "\0" in "".join(headers.values()):
            return "NUL in a header"
    if _IS_PURE_PYTHON:
        if len(headers.getall("Content-Length", ())) > 1:
            return "more than one Content-Length"
        if raw.version is not None and raw.version.major != 1:
            return f"HTTP/{raw.version.major}"
    return None
