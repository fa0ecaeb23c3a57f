"""`AiohttpTransport`: the innermost handler, and the one place that calls aiohttp.

What aiohttp does behind one's back is switched off or mended here. Where a mend takes a private hook
of aiohttp the comment says which; each is held by a test on every aiohttp of the matrix.

====================================================  =================================================
aiohttp                                               here
====================================================  =================================================
sends idempotent requests a second time               never: `_make_session`, `_send_once`
gives an idle connection's stray bytes to the next    the connection is dropped at reuse: `_Connector`
waits for ever in ``close``, or cancels the waiters   readers and waiters are ended: `_Protocol.close`
has no limit for DNS, the pool, writing, 1xx          has: `_Connector`, `_Upload`, `_Protocol`
takes a short body for a whole one                    never: `_WireBody`
raises thirty kinds of errors, some with secrets      raises ours: `_wire_errors`
====================================================  =================================================

On a borrowed session the mends of `_Connector` and `_Protocol` do not hold, for nothing of it is changed.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl as tls
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import aiohttp
from aiohttp import http_exceptions, http_parser
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.payload import Payload
from multidict import CIMultiDict, istr
from yarl import URL

from ._body import Body
from ._decompression import ACCEPT_ENCODING, CodingError, Decoder, TruncatedError, decoder_for
from ._headers import check_layer, check_token
from ._proxies import EnvironmentProxies, Proxy
from ._request import APIRequest
from ._response import AsyncAPIResponse
from ._types import Timeout
from ._wire_errors import ConnectTimeout, PoolTimeout, map_error, mark_unsent
from .errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    BodyTooLargeError,
    ClientClosedError,
    InvalidRequestError,
    RequestNotReplayableError,
)

__all__ = ["AiohttpTransport"]

_CONNECTIONS: Final = 1000
_LINE: Final = 32 << 10  # bytes of one header line: a long CSP or Link is no error
_STEP: Final = 256 << 10  # bytes of one step of decompression: what a bomb may cost beyond the limit
_SLICE: Final = 64 << 10  # bytes of one write, as much as asyncio buffers before it makes a writer wait
_MOST_INTERIM: Final = 100  # 1xx responses before one final one
_KEEPALIVE: Final = 60  # seconds of silence before TCP asks whether the peer is there


# --- what a connection does not do by itself


class _Protocol(ResponseHandler):
    """aiohttp's client protocol, which parses the responses of one connection.

    Hooks: `_payload`, `_reschedule_timeout`, `_drop_timeout`, `_on_read_timeout`, `_read_timeout`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._interim = 0
        self._poll: Callable[[int], list[Any]] | None = None
        self._silent_since: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Prepare to look at the socket, once for the life of the connection."""
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(select, "poll"):
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLIN)
            self._poll = poll.poll

    @property
    def reusable(self) -> bool:
        """Whether an idle connection is silent: nothing came since its last response, read or not yet.

        What came is no answer to the next request: a stray response, or the end of the connection.
        Without `select.poll` only what the loop has read already is seen.
        """
        return not self.should_close and (self._poll is None or not self._poll(0))

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take in one parsed response; a server that never gets past the interim ones is broken."""
        self._interim = self._interim + 1 if 100 <= data[0].code < 200 else 0
        if self._interim <= _MOST_INTERIM:
            super().feed_data(data, size)
        elif not self.is_eof():
            self.set_exception(http_exceptions.BadHttpMessage("Too many interim responses"))

    def close(self) -> None:
        """Close the connection, and end who still reads from it: aiohttp would leave them waiting."""
        self._end_reader()
        super().close()

    def abort(self) -> None:
        """Close the connection at once; see `close`."""
        self._end_reader()
        super().abort()

    def _end_reader(self) -> None:
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientConnectionError("Connection closed"))

    # The read timeout. aiohttp makes a timer when a request was sent, and one whenever bytes come in; here
    # one timer stays, looks when it fires how long the silence has lasted, and sleeps for the rest.

    def _reschedule_timeout(self) -> None:
        seconds = self._read_timeout
        if not seconds:
            self._silent_since = None
            return
        self._silent_since = now = self._loop.time()
        if self._alarm is None or self._alarm_at > now + seconds:
            self._set_alarm(now + seconds)

    def _drop_timeout(self) -> None:
        self._silent_since = None

    def _set_alarm(self, when: float) -> None:
        self._stop_alarm()
        self._alarm_at = when
        self._alarm = self._loop.call_at(when, self._check_silence)

    def _stop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _check_silence(self) -> None:
        self._alarm = None
        since, seconds = self._silent_since, self._read_timeout
        if since is None or not seconds:
            return
        if self._loop.time() >= since + seconds:
            self._on_read_timeout()
        else:
            self._set_alarm(since + seconds)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave no timer behind."""
        self._stop_alarm()
        super().connection_lost(exc)


class _Limits(aiohttp.ClientTimeout):
    """The limits of one request, with the one that aiohttp has no name for."""

    pool: float | None = None


class _Traces(list[Any]):
    """aiohttp's list of traces, for it is what a wait for a connection is given: it carries the limit."""

    pool: float | None = None


_Base: TypeAlias = aiohttp.BaseConnector if TYPE_CHECKING else object


class _Connector(_Base):
    """What is laid over a connector's class, a user's own too, by `_mend`.

    Hooks: `connect`, `_get`, `_create_connection`, `_wait_for_available_connection`, `_release_waiter`.
    """

    def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        pool = timeout.pool
        if pool is not None:
            traces = _Traces(traces)
            traces.pool = pool
        return super().connect(req, traces, timeout)

    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) is not None:
            # `is not None`, throughout: aiohttp's protocols are falsy.
            if connection.protocol.reusable:
                break
            connection.close()
        return connection

    async def _wait_for_available_connection(self, key: Any, traces: Any) -> None:
        try:
            async with asyncio.timeout(getattr(traces, "pool", None)):
                await super()._wait_for_available_connection(key, traces)
        except BaseException as error:
            # The connection may have been given to this waiter in the moment it left: wake another.
            self._release_waiter()
            if isinstance(error, TimeoutError):
                raise PoolTimeout from None
            raise

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        try:
            async with asyncio.timeout(timeout.sock_connect):
                return await super()._create_connection(req, traces, timeout)
        except TimeoutError:
            raise ConnectTimeout from None
        except Exception as error:
            mark_unsent(error)
            raise


@lru_cache(maxsize=16)
def _mended_class(kind: type[aiohttp.BaseConnector]) -> type[aiohttp.BaseConnector]:
    return type(kind.__name__, (_Connector, kind), {"__module__": kind.__module__})


def _mend(connector: aiohttp.BaseConnector) -> None:
    """Lay `_Connector` over the class of *connector*, and let it make our `_Protocol`. Hook: `_factory`."""
    if not isinstance(connector, _Connector):
        connector.__class__ = _mended_class(type(connector))
        connector._factory = partial(_Protocol, loop=connector._loop)


def _probed_socket(address: Any) -> socket.socket:
    """Make a socket that asks an idle peer whether it is still there."""
    family, kind, protocol, *_ = address
    sock = socket.socket(family, kind, protocol)
    for level, option, value in _PROBES:
        with suppress(OSError):
            sock.setsockopt(level, option, value)
    return sock


_PROBES: Final = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in {
        "TCP_KEEPIDLE": _KEEPALIVE,
        "TCP_KEEPALIVE": _KEEPALIVE,  # macOS's name for the same
        "TCP_KEEPINTVL": _KEEPALIVE // 4,
        "TCP_KEEPCNT": 4,
    }.items()
    if hasattr(socket, name)
]


class _SentOnce(aiohttp.ClientConnectionError):
    """Carries an error past the place where aiohttp would send the request again."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


async def _send_once(
    request: aiohttp.ClientRequest, handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
) -> aiohttp.ClientResponse:
    """An aiohttp middleware that keeps a borrowed session from a second send."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _SentOnce(error) from None


# --- the request body


def _seconds(value: object) -> float | None:
    return value if isinstance(value, int | float) else None


class _Upload(Payload):
    """A body that aiohttp sends: in slices, each given ``write`` seconds without progress."""

    error: BaseException | None
    """What ended the sending, and what the call raises: the user's own error, or the write timeout."""

    def __init__(self, body: Body, request: APIRequest) -> None:
        super().__init__(body)
        self._body = body
        self._request = request
        self.error = None

    @property
    def size(self) -> int | None:
        return self._body.size

    @property
    def autoclose(self) -> bool:
        return True

    @property
    def consumed(self) -> bool:
        return self._body.spent

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._content().decode(encoding, errors)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self._content()

    def _content(self) -> bytes:
        if self._body.content is None:
            raise TypeError("The body of this request is streamed; it is not at hand as bytes")
        return self._body.content

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self.error = None
        watch = _StallWatch(self, writer, _seconds(self._request.timeout.write))
        content = self._body.content
        try:
            if content is not None:
                await watch.write(content)
            else:
                await self._write_chunks(watch)
            # aiohttp would do it next; here the last bytes are watched too, and what fails reaches the caller.
            await watch.finish()
        finally:
            watch.stop()

    async def _write_chunks(self, watch: _StallWatch) -> None:
        chunks = aiter(self._body)
        try:
            while (chunk := await self._next(chunks)) is not None:
                await watch.write(chunk)
        finally:
            await chunks.aclose()

    async def _next(self, chunks: Any) -> bytes | None:
        try:
            chunk: bytes = await anext(chunks)
        except StopAsyncIteration:
            return None
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, Exception) or task is None or not task.cancelling():
                self.error = error
            raise
        return chunk

    def stalled(self, seconds: float) -> None:
        """The peer took no byte for *seconds*: the connection is of no use."""
        request = self._request
        self.error = APITimeoutError(
            f"{request.label}: the server took no byte of the body within {seconds:g} s (write)",
            phase="write",
            request=request,
            retries_taken=request.attempt,
        )


class _StallWatch:
    """Looks, while something is written, whether the buffer before the socket gets any smaller."""

    __slots__ = ("_left", "_loop", "_progress", "_seconds", "_timer", "_upload", "_writer")

    def __init__(self, upload: _Upload, writer: Any, seconds: float | None) -> None:
        self._upload = upload
        self._writer = writer
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._progress: float | None = None  # when there was some last; None while nothing is being written
        self._left = 0

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), _SLICE):
            await self._watched(self._writer.write(view[start : start + _SLICE]))

    async def finish(self) -> None:
        await self._watched(self._writer.write_eof())

    async def _watched(self, writing: Awaitable[None]) -> None:
        if self._seconds is None:
            return await writing
        self._progress, self._left = self._loop.time(), sys.maxsize
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds / 4, self._look, self._seconds)
        try:
            await writing
        finally:
            self._progress = None

    def _look(self, seconds: float) -> None:
        transport = self._writer.transport
        if transport is None:
            return
        if self._progress is not None:
            left, now = transport.get_write_buffer_size(), self._loop.time()
            if left < self._left:
                self._left, self._progress = left, now
            elif now - self._progress >= seconds:
                self._upload.stalled(seconds)
                transport.abort()
                return
        self._timer = self._loop.call_later(seconds / 4, self._look, seconds)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


# --- the response body


class _WireBody:
    """The body of one response on the wire, whole or an error: a `BodySource`."""

    __slots__ = (
        "_coded",
        "_decoder",
        "_error",
        "_lost",
        "_plain",
        "_raw",
        "_request",
        "_session",
        "_tls",
        "_upload",
        "raw",
    )

    def __init__(
        self,
        raw: aiohttp.ClientResponse,
        request: APIRequest,
        session: aiohttp.ClientSession,
        upload: _Upload | None,
        hand_out: bool,
    ) -> None:
        headers = raw.headers
        self._raw = raw
        self._request = request
        self._session = session
        self._upload = upload
        self._error: Exception | None = None
        self._decoder: Decoder | None = None
        self.raw = raw if hand_out else None
        # What is handed out as it is, aiohttp decompresses.
        self._coded = "Content-Encoding" in headers and not hand_out
        self._lost: Callable[[], BaseException | None] | None = None
        if "Content-Length" not in headers:
            self._watch_end()
        self._plain = not self._coded and self._lost is None

    def _watch_end(self) -> None:
        """Keep at hand what tells how a connection ended whose end is the end of the body. Hook: `_protocol`."""
        raw = self._raw
        protocol = getattr(raw, "_protocol", None)
        if protocol is None or raw.content is aiohttp.EMPTY_PAYLOAD or "Transfer-Encoding" in raw.headers:
            return
        transport = protocol.transport
        self._lost = protocol.exception
        self._tls = None if transport is None else transport.get_extra_info("ssl_object")

    async def read(self, limit: int | None) -> bytes:
        """The whole rest; `BodyTooLargeError` past *limit* bytes, decompressed."""
        content = self._raw.content
        try:
            if not self._plain or self._error is not None:
                body = await self._collect(limit)
            elif content.is_eof():
                body = content.read_nowait()
            elif limit is None or (self._raw.content_length or limit + 1) <= limit:
                body = await content.read()
            else:
                body = await self._collect(limit)
            if limit is not None and len(body) > limit:
                raise self._too_large(limit)
        except BaseException as error:
            failure = self._fail(error)
            if failure is error:
                raise
        else:
            return body
        raise failure

    async def read_chunk(self) -> bytes:
        """The next bytes, decompressed, as they come; empty at the end."""
        try:
            if self._plain and self._error is None:
                return await self._raw.content.readany()
            return await self._next(_STEP)
        except BaseException as error:
            failure = self._fail(error)
            if failure is error:
                raise
        raise failure

    async def _collect(self, limit: int | None) -> bytes:
        announced = None if self._coded else self._raw.content_length
        if limit is not None and announced is not None and announced > limit:
            raise self._too_large(limit)
        pieces: list[bytes] = []
        size = 0
        while chunk := await self._next(_STEP if limit is None else min(_STEP, limit - size + 1)):
            size += len(chunk)
            if limit is not None and size > limit:
                raise self._too_large(limit)
            pieces.append(chunk)
        return b"".join(pieces)

    async def _next(self, most: int) -> bytes:
        while True:
            if self._error is not None:
                raise self._error
            decoder = self._decoder
            if decoder is not None and decoder.pending:
                data = b""
                # A bomb may take its memory's worth of time, but not all at once.
                await asyncio.sleep(0)
            elif not (data := await self._raw.content.readany()):
                self._finish()
                return b""
            if not self._coded:
                return data
            if decoder is None:
                decoder = self._decoder = decoder_for(self._raw.headers.getall("Content-Encoding"))
                if decoder is None:
                    self._coded = False
                    return data
            if output := decoder.decode(data, most):
                return output

    def _finish(self) -> None:
        """Make sure that an end is the end."""
        if self._decoder is not None:
            self._decoder.finish()
        if self._lost is None:
            return
        # A FIN ends a body that has no length (RFC 9112 §6.3); a reset, or a FIN that TLS did not announce, cuts it.
        lost = self._lost()
        if lost is not None and not isinstance(lost, aiohttp.ServerDisconnectedError):
            raise TruncatedError("the connection was reset before its end")
        if self._tls is not None and not _was_closed_by_peer(self._tls):
            raise TruncatedError("the TLS connection was cut before its end")

    def close(self) -> None:
        """Give the connection back if the body has ended, else close it. Safe to call again."""
        if not self._raw.content.is_eof():
            self._drop()

    def abort(self, error: Exception) -> None:
        """Close the connection; who reads now, or later, gets *error*."""
        self._error = error
        self._raw.content.set_exception(error)
        self._drop()

    def _drop(self) -> None:
        connection = self._raw.connection
        self._raw.close()
        if connection is not None and connection.protocol is not None:
            # The loop has ended, and aiohttp leaves the connection alone, only to complain of it later.
            with suppress(RuntimeError):
                connection.release()

    def _fail(self, error: BaseException) -> BaseException:
        """Close the connection; our error for *error*, or *error* itself."""
        self._drop()
        if not isinstance(error, Exception):
            return error
        if self._error is not None:
            return self._error
        request = self._request
        if isinstance(error, CodingError):
            return self._invalid(str(error))
        if isinstance(error, TruncatedError):
            return APIConnectionError(
                f"{request.label}: the response body was truncated: {error}",
                request=request,
                retries_taken=request.attempt,
            )
        return _failure(error, request, self._session, self._upload)

    def _invalid(self, reason: str) -> APIResponseValidationError:
        request, raw = self._request, self._raw
        return APIResponseValidationError(
            f"{request.label}: status {raw.status}: {reason}",
            request=request,
            status=raw.status,
            content_type=raw.headers.get("Content-Type"),
            retries_taken=request.attempt,
        )

    def _too_large(self, limit: int) -> BodyTooLargeError:
        request = self._request
        return BodyTooLargeError(
            f"{request.label}: the response body has more than {limit} bytes",
            request=request,
            limit=limit,
            status=self._raw.status,
            retries_taken=request.attempt,
        )


def _was_closed_by_peer(connection: tls.SSLObject) -> bool:
    """Whether the peer's close_notify has come (RFC 8446 §6.1)."""
    try:
        return connection.read(1) == b""
    except tls.SSLZeroReturnError:
        return True
    except tls.SSLError:
        return False


def _failure(
    error: Exception,
    request: APIRequest,
    session: aiohttp.ClientSession,
    upload: _Upload | None,
    proxy: URL | None = None,
) -> BaseException:
    """What the caller gets for what aiohttp raised; the reason that we know goes before its consequence."""
    if upload is not None and upload.error is not None:
        return upload.error
    if isinstance(error, _SentOnce):
        error = error.error
    if session.closed and isinstance(error, aiohttp.ClientConnectionError | RuntimeError):
        return ClientClosedError(f"{request.label}: the session was closed")
    return map_error(error, request, proxy=proxy)


# --- the transport


class AiohttpTransport:
    """Sends requests by aiohttp; the innermost handler of a chain.

    It can be made anywhere: the session opens with the first request, inside the running loop, and
    belongs to that loop until it ends.

    Args:
        ssl: True for the system's certificates; an `ssl.SSLContext`, for a private CA or a client
            certificate; an `aiohttp.Fingerprint` to pin one certificate.
        proxy: URL of an HTTP proxy for all requests, its credentials in it.
        trust_env: Whether the proxies of the environment are used (``https_proxy``, ``no_proxy``),
            as they are when the session opens. netrc is never read.
        connector: Makes the connector, called in the running loop: for Unix sockets, SOCKS, other
            limits. The transport owns and mends what it makes. Without it: a `TCPConnector` of 1000
            connections that probes idle ones after 60 seconds.
        session_middlewares: aiohttp's own client middlewares, for digest auth and the like.
        session: A session of yours: used, never closed and never changed, with what it brings of the above.

    Raises `TypeError` for wrong types and combinations, and `InvalidRequestError` for ``ssl=False``
    and a URL that is no HTTP proxy's.
    """

    home: Callable[[URL], bool] | None
    """Whether a URL is the client's own, for a borrowed session with headers or auth; None asks the request."""

    def __init__(
        self,
        *,
        ssl: bool | tls.SSLContext | aiohttp.Fingerprint = True,
        proxy: str | URL | None = None,
        trust_env: bool = False,
        connector: Callable[[], aiohttp.BaseConnector] | None = None,
        session_middlewares: Iterable[aiohttp.ClientMiddlewareType] = (),
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        middlewares = tuple(session_middlewares)
        if session is not None:
            _check_session(session)
            if ssl is not True or proxy is not None or trust_env or connector is not None or middlewares:
                raise TypeError(
                    "session brings its own ssl, proxy, trust_env, connector and middlewares: give it none besides"
                )
        _check_ssl(ssl)
        if connector is not None:
            _check_connector(connector)
            if ssl is not True:
                raise TypeError("Give ssl to the connector that your factory makes, not to the transport")
        self.home = None
        self._ssl = ssl
        self._proxy = None if proxy is None else Proxy.parse(proxy)
        self._trust_env = trust_env
        self._environment: EnvironmentProxies | None = None
        self._connector = connector
        self._middlewares = middlewares
        self._borrowed = session
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._timeout: Timeout | None = None
        self._limits = _Limits()

    def __repr__(self) -> str:
        kind = "own session" if self._borrowed is None else "borrowed session"
        return f"<AiohttpTransport {kind}{'' if self._proxy is None else f', {self._proxy}'}>"

    async def __call__(self, request: APIRequest, /) -> AsyncAPIResponse[Any]:
        """Send *request*; the response comes with its body unread.

        Raises `InvalidRequestError` before a byte is sent, `APIConnectionError` and `APITimeoutError`
        for what happens on the wire, and `ClientClosedError` after `close`.
        """
        session = self._session
        if session is None or self._loop is not asyncio.get_running_loop():
            session = self._open()
        options = self._options(request)
        upload = options.get("data")
        if upload.__class__ is not _Upload:
            upload = None
        try:
            raw = await session.request(
                request.method, request.url, timeout=self._limits_of(request.timeout), allow_redirects=False, **options
            )
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not session.closed or task is None or task.cancelling():
                raise
            # aiohttp cancels who waits for a connection when the session closes: nobody asked for that.
            failure: BaseException = ClientClosedError(f"{request.label}: the session was closed")
        except Exception as error:
            failure = _failure(error, request, session, upload, options.get("proxy"))
            if failure is error:
                raise
        else:
            return _respond(raw, request, session, upload)
        raise failure

    # --- the request

    def _options(self, request: APIRequest) -> dict[str, Any]:
        """What aiohttp is told of *request*, once it was found fit to be sent."""
        headers = request.headers
        _check_request(request)
        options: dict[str, Any] = {"headers": headers}
        if "Accept-Encoding" not in headers:
            headers["Accept-Encoding"] = _accept_encoding(request)
        if request.cast_to is aiohttp.ClientResponse:
            options["auto_decompress"] = True
        if request.body is not None:
            options["data"] = _data_of(request, request.body)
        if "User-Agent" not in headers or "Accept" not in headers or "Content-Type" not in headers:
            _skip_auto_headers(request, options)
        if self._proxy is not None or self._environment is not None:
            self._add_proxy(request, options)
        if self._borrowed is not None:
            self._borrow(request, self._borrowed, options)
        return options

    def _limits_of(self, timeout: Timeout) -> _Limits:
        if timeout is not self._timeout:
            self._limits = _limits_of(timeout)
            self._timeout = timeout
        return self._limits

    def _add_proxy(self, request: APIRequest, options: dict[str, Any]) -> None:
        proxy = self._proxy
        if proxy is None and self._environment is not None:
            proxy = self._environment.find(request.url)
        if proxy is None:
            return
        options["proxy"] = proxy.url
        if proxy.authorization is None:
            return
        credentials = {"Proxy-Authorization": proxy.authorization}
        if request.url.scheme == "https":
            options["proxy_headers"] = credentials
        else:
            options["headers"] = headers = request.headers.copy()
            headers.update(credentials)

    def _borrow(self, request: APIRequest, session: aiohttp.ClientSession, options: dict[str, Any]) -> None:
        """Have a borrowed session do for this request what ours does for all. Hook: `_middlewares`."""
        if (session.headers or session.auth is not None) and not self._is_home(request):
            raise InvalidRequestError(
                f"{request.label}: the borrowed session has headers or auth of its own,"
                " which must not go to an origin that is not the client's"
            )
        options.setdefault("auto_decompress", False)
        options["middlewares"] = (_send_once, *session._middlewares)
        options["raise_for_status"] = False
        options["max_line_size"] = options["max_field_size"] = _LINE

    def _is_home(self, request: APIRequest) -> bool:
        if self.home is not None:
            return self.home(request.url)
        return request.home is None or request.is_trusted()

    # --- the life of the session

    def _open(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosedError("The transport is closed")
        if self._session is not None and self._loop is not None:
            if not self._loop.is_closed():
                raise ClientClosedError("The transport's session belongs to another event loop or process")
            self.forget_session()
        self._session = session = self._make_session() if self._borrowed is None else self._borrowed
        self._loop = loop
        if self._trust_env:
            self._environment = EnvironmentProxies()
        return session

    def _make_session(self) -> aiohttp.ClientSession:
        """Open a session in the running loop. Hook: `_retry_connection`."""
        if self._connector is None:
            connector: Any = aiohttp.TCPConnector(
                ssl=self._ssl, limit=_CONNECTIONS, limit_per_host=0, socket_factory=_probed_socket
            )
        else:
            connector = self._connector()
            if not isinstance(connector, aiohttp.BaseConnector):
                raise TypeError(f"connector made a {type(connector).__name__}, not an aiohttp connector")
        _mend(connector)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
            max_line_size=_LINE,
            max_field_size=_LINE,
            middlewares=self._middlewares,
        )
        session._retry_connection = False
        return session

    async def close(self) -> None:
        """Close the session, and with it every connection; a borrowed one is left alone. Safe to call again.

        Raises `ClientClosedError` while the session lives on another loop.
        """
        session, loop = self._session, self._loop
        if session is not None and loop is not None and loop is not asyncio.get_running_loop():
            if not loop.is_closed():
                raise ClientClosedError("The transport's session belongs to another event loop: close it there")
            self.forget_session()
            session = None
        self._closed = True
        self._session = self._loop = None
        if session is not None and self._borrowed is None:
            await session.close()

    def forget_session(self) -> None:
        """Drop the session of an event loop that has ended, and close its sockets; the next request opens one.

        Hooks: the connector's `_conns` and `_acquired`; asyncio's transports' `_sock`, `_ssl_protocol`, `_closed`.
        """
        session, self._session, self._loop = self._session, None, None
        if session is None or self._borrowed is not None:
            return
        transports = list(_transports_of(session.connector))
        # With the loop gone there is nothing to wait for, so the coroutine ends at its first step.
        closing = session.close()
        with suppress(StopIteration, RuntimeError):
            closing.send(None)
        closing.close()
        for transport in transports:
            _close_dead(transport)


def _check_session(session: object) -> None:
    if not isinstance(session, aiohttp.ClientSession):
        kind = type(session)
        raise TypeError(f"session must be an aiohttp.ClientSession, not a {kind.__module__}.{kind.__qualname__}")


def _check_ssl(ssl: object) -> None:
    if ssl is False:
        raise InvalidRequestError(
            "ssl=False would accept any certificate. For a private CA give"
            " ssl=ssl.create_default_context(cafile=...), for one certificate ssl=aiohttp.Fingerprint(...)"
        )
    if ssl is not True and not isinstance(ssl, tls.SSLContext | aiohttp.Fingerprint):
        raise TypeError(f"ssl must be True, an ssl.SSLContext or an aiohttp.Fingerprint, not {type(ssl).__name__}")


def _check_connector(connector: object) -> None:
    if isinstance(connector, aiohttp.BaseConnector) or not callable(connector):
        raise TypeError(
            "connector must be a factory, called in the running loop: connector=lambda: TCPConnector(...),"
            f" not a {type(connector).__name__}"
        )


_checked_names: set[str] = set()
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _check_request(request: APIRequest) -> None:
    """Look a last time at what middlewares may have set; see `check_layer`."""
    headers = request.headers
    # Checked one by one, headers cost more than all else here; together they cost next to nothing.
    try:
        text = "".join(headers.values())
    except TypeError:
        text = "\0"
    if not (_checked_names.issuperset(headers) and text.isascii() and text.isprintable()):
        check_layer(headers)
        if len(_checked_names) < 512:
            _checked_names.update(headers)
    target = request.url.raw_path_qs
    if " " in target or not target.isascii() or not target.isprintable():
        raise InvalidRequestError(f"{request.label}: the URL holds a character that must be percent-encoded")
    if request.method not in _METHODS:
        check_token(request.method, "Method")
        if request.method.upper() == "CONNECT":
            raise InvalidRequestError("CONNECT makes a tunnel, not a request")
    if not request.can_be_sent:
        raise RequestNotReplayableError(
            f"{request.label}: its body can be sent once, and its first byte may have left", request=request
        )


def _accept_encoding(request: APIRequest) -> str:
    if request.cast_to is aiohttp.ClientResponse:
        return aiohttp.ClientRequest.DEFAULT_HEADERS["Accept-Encoding"]
    return "identity" if request.stream else ACCEPT_ENCODING


def _data_of(request: APIRequest, body: Body) -> bytes | _Upload:
    if body.content_type is not None and "Content-Type" not in request.headers:
        request.headers["Content-Type"] = body.content_type
    content = body.content
    return content if content is not None and len(content) <= _SLICE else _Upload(body, request)


_AUTO_HEADERS: Final = (istr("Accept"), istr("Content-Type"), istr("User-Agent"))
_WITH_CONTENT: Final = frozenset({"PATCH", "POST", "PUT"})


def _skip_auto_headers(request: APIRequest, options: dict[str, Any]) -> None:
    """Keep aiohttp from adding what nobody set. Without a body it adds no Content-Type, but to these methods."""
    headers = request.headers
    typed = "Content-Type" in headers or not (request.body is not None or request.method in _WITH_CONTENT)
    if not typed or "Accept" not in headers or "User-Agent" not in headers:
        options["skip_auto_headers"] = _AUTO_HEADERS


@lru_cache(maxsize=64)
def _limits_of(timeout: Timeout) -> _Limits:
    # No total: aiohttp's swallows a cancellation that comes in the same tick.
    limits = _Limits(total=None, sock_connect=_seconds(timeout.connect), sock_read=_seconds(timeout.read))
    object.__setattr__(limits, "pool", _seconds(timeout.pool))
    return limits


def _respond(
    raw: aiohttp.ClientResponse, request: APIRequest, session: aiohttp.ClientSession, upload: _Upload | None
) -> AsyncAPIResponse[Any]:
    broken = _what_is_broken(raw)
    if broken is not None:
        raw.close()
        raise APIConnectionError(
            f"{request.label}: the response is not valid HTTP: {broken}", request=request, retries_taken=request.attempt
        )
    started = request.started
    return AsyncAPIResponse(
        request,
        raw.status,
        raw.headers,
        _WireBody(raw, request, session, upload, request.cast_to is aiohttp.ClientResponse),
        reason=raw.reason or "",
        elapsed=0.0 if started is None else asyncio.get_running_loop().time() - started,
        http_version="1.0" if raw.version == (1, 0) else "1.1",
    )


# What newer parsers refuse, aiohttp 3.12 lets through, and the one in pure Python does still.
_LENIENT: Final = (
    tuple(int(part) for part in aiohttp.__version__.split(".")[:2]) < (3, 13)
    or http_parser.HttpResponseParser is http_parser.HttpResponseParserPy
)


def _what_is_broken(raw: aiohttp.ClientResponse) -> str | None:
    """Say what is wrong with a response that aiohttp took for a good one; None where nothing is."""
    headers = raw.headers
    if raw.status == 101:
        return "status 101, though no upgrade was asked for"
    if "Content-Length" not in headers and headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
        return "a transfer coding that was not asked for"
    if _LENIENT:
        if len(headers) > 128:
            return "more than 128 headers"
        if len(headers.getall("Content-Length", ())) > 1:
            return "more than one Content-Length"
        if any("\0" in value for value in headers.values()):
            return "NUL in a header"
    return None


def _transports_of(connector: Any) -> Iterator[Any]:
    if connector is None:
        return
    for idle in connector._conns.values():
        for protocol, *_ in idle:
            yield protocol.transport
    for protocol in connector._acquired:
        yield protocol.transport


def _close_dead(transport: Any) -> None:
    """Close the socket of a transport whose loop is closed: its own ``close`` would ask the loop to."""
    if transport is None:
        return
    with suppress(RuntimeError):
        transport.abort()
    ssl_protocol = getattr(transport, "_ssl_protocol", None)
    inner = transport if ssl_protocol is None else getattr(ssl_protocol, "_transport", None)
    sock = getattr(inner, "_sock", None)
    if sock is not None:
        sock.close()
        inner._sock = None
