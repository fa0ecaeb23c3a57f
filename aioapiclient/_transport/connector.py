"""The pool of connections: aiohttp's pool, with corrections.

`mend` applies all fixes that depend on aiohttp's internals to a connector, including the user's own: a
subclass of its class, and our own protocol for its connections. Each undocumented hook is named where it is
used, and is covered by a test on every aiohttp version of the matrix.

* A connection is reused only if no byte has arrived since its last response, and not in the last second of
  the time for which the server keeps it open.
* ``connect`` limits DNS, TCP and TLS together, and ``pool`` limits the wait for a free connection. The two
  can be distinguished, and a request that fails there is known to be unsent.
* Bytes that follow a complete response in the same chunk are discarded with the connection; the response is
  kept.
* A reader of a connection that is closed or broken receives an error, instead of waiting indefinitely.
* Bytes that arrive on an idle connection close it.
* A server that sends endless interim responses, headers, trailers or chunk lines is treated as broken.
"""

from __future__ import annotations

__lazy_modules__: tuple[str, ...] = ("aioapiclient._transport.errors",)

import asyncio
import re
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
from aiohttp import http_exceptions, http_parser
from aiohttp.client_proto import ResponseHandler
from multidict import istr

from aioapiclient._patterns import lazily

from .errors import ConnectTimeout, GaveUp, PoolTimeout

__all__ = ["LINE", "Limits", "forget_session", "make_connector", "mend"]

_CONNECTIONS: Final = 1000
_KEEPALIVE: Final = 60  # seconds of silence before TCP probes the peer
_MOST_NAMES: Final = 1000  # redirects to many names must not exhaust memory
_MOST_INTERIM: Final = 100  # 1xx responses before one final one
# Lines that may arrive without a byte of content: a status line, 128 headers, an empty line.
_MOST_BARE_LINES: Final = 130
LINE: Final = 32 << 10  # bytes of one header line: a long CSP or Link header is valid

_IS_PURE_PYTHON: Final = http_parser.HttpResponseParser is http_parser.HttpResponseParserPy

# The time for which a server keeps an idle connection (RFC 2068 §19.7.1.1). A request that is sent while its
# FIN is in transit fails.
_KEEP_ALIVE: Final = istr("Keep-Alive")
_IDLE_SECONDS: Final = lazily(r"\btimeout\s*=\s*\"?(\d{1,9})(?!\d)", re.IGNORECASE)
_MARGIN: Final = 1.0  # seconds


class _Protocol(ResponseHandler):
    """aiohttp's client protocol, which parses the responses of one connection.

    Hooks: `data_received`, `set_response_params`, `_skip_payload`, `_parser` and its `_tail`, `_payload`
    and its `total_bytes`, `_waiter`, `upgraded`, `resume_reading`, `_reading_paused`, `_reschedule_timeout`,
    `_drop_timeout`, `_on_read_timeout`, `_read_timeout`.
    """

    # CPython stores at most 30 attributes of an instance without a dict, and with aiohttp's these are 31.
    __slots__ = (
        "_alarm",
        "_alarm_at",
        "_bare_lines",
        "_first",
        "_good_until",
        "_interim",
        "_is_answered",
        "_is_bare",
        "_is_first",
        "_open_line",
        "_params",
        "_poll",
        "_silent_since",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._interim = 0
        self._is_answered = False  # whether the head of the final response arrived
        self._is_bare = False  # whether a chunk contained no head
        self._bare_lines = 0  # complete lines since the last head, content byte or end of content
        self._open_line = 0  # bytes of the incomplete line
        self._good_until: float | None = None
        self._params: dict[str, Any] = {}
        self._is_first = False  # whether the next bytes are the first of a response
        self._first: bytes | None = None  # those bytes, until a head is found in them
        self._poll: Callable[[int], list[Any]] | None = None
        self._silent_since: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Prepare to poll the socket, once per connection."""
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(select, "poll"):
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLIN)
            self._poll = poll.poll

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel the timer, and pass the original error to the reader instead of its consequence."""
        body, reason = self._payload, self.exception()
        super().connection_lost(exc)
        self._stop_alarm()
        if isinstance(reason, http_exceptions.HttpProcessingError) and body is not None and not body.is_eof():
            body.set_exception(reason)

    def is_connected(self) -> bool:
        """Return whether the connection is open and, if idle, can be reused. aiohttp calls it before reuse.

        Bytes since the last response are a stray response or the end of the connection. The socket is polled,
        because the loop may not have read them yet. Without `select.poll`, only bytes that were already read
        count.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        if self._waiter is not None:
            return True
        if self.should_close:  # in use, or unfit
            body = self._payload
            return body is not None and not body.is_eof()
        if _IS_PURE_PYTHON and getattr(self._parser, "_tail", None):
            return False  # bytes after the last response that are not a complete line
        if self._good_until is not None and self._loop.time() >= self._good_until:
            return False
        return self._poll is None or not self._poll(0)

    def set_response_params(self, **params: Any) -> None:
        """Prepare for the next response."""
        self._params = params
        self._is_first = True
        self._is_answered = False
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Process received bytes."""
        if not data:
            super().data_received(data)  # aiohttp continues with its buffered bytes
        elif self._is_first:
            self._first = data
            self._receive_first(data)
        else:
            self._receive_more(data)

    def _receive_first(self, data: bytes) -> None:
        """Process the first bytes of a response; they are kept for `_rescue` until a head is found."""
        self._is_first = False
        if self._skip_payload and not data.endswith(b"\r\n\r\n"):
            self.force_close()  # a response to HEAD ends with its head; older parsers swallow later bytes
        super().data_received(data)
        if self._first is not None:
            self._first = None
            self._count_bare(data)

    def _receive_more(self, data: bytes) -> None:
        """Process further bytes of a response, or close the connection if no response is open."""
        if self.upgraded:  # no longer HTTP
            super().data_received(data)
            return
        body = self._payload
        if self._is_answered and (body is None or body.is_eof()):
            self.close()  # the bytes belong to no request, and nothing would read them
            return
        if self._skip_payload:
            self.force_close()
        taken = 0 if body is None else body.total_bytes
        self._is_bare = True
        super().data_received(data)
        moved = self._is_answered and body is not None and (body.total_bytes > taken or body.is_eof())
        if self._is_bare and not moved:
            self._count_bare(data)
        else:
            self._bare_lines = self._open_line = 0

    def resume_reading(self, *args: Any, **options: Any) -> None:
        """Resume reading if it was paused: aiohttp 3.14 calls this at each read of a body."""
        if self._reading_paused or self._decompresses():
            super().resume_reading(*args, **options)

    def _count_bare(self, data: bytes) -> None:
        """Limit bytes that are not content, because older parsers count headers and trailers only at their
        end.
        """
        if self._is_answered and self._decompresses():
            return  # it may be content that has no decompressed output yet
        lines = data.count(b"\n")
        self._bare_lines += lines
        self._open_line = len(data) - data.rindex(b"\n") - 1 if lines else self._open_line + len(data)
        if self._bare_lines > _MOST_BARE_LINES or self._open_line > LINE:
            self.set_exception(http_exceptions.BadHttpMessage("Headers, trailers or a line without end"))
            if self.transport is not None:
                self.transport.close()

    def _decompresses(self) -> bool:
        """Return whether aiohttp decompresses, as for raw responses and for a proxy's response to CONNECT."""
        return bool(self._params.get("auto_decompress", True))

    def _rescue(self, data: bytes) -> None:
        """Parse *data* again, the head first, because invalid bytes may follow a complete response.

        Some servers send them after the response to a HEAD, or after a 204. aiohttp's parser then discards
        the response.
        """
        super().set_response_params(**self._params)
        end = data.find(b"\r\n\r\n") + 4
        super().data_received(data[:end])
        if self.exception() is None:
            super().data_received(data[end:])

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Accept one parsed response, unless too many interim responses have arrived."""
        self._first = None
        self._is_bare = False
        message = data[0]
        if message.code < 200:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                if not self.is_eof():
                    self.set_exception(http_exceptions.BadHttpMessage("Too many interim responses"))
                return
        else:
            self._interim = 0
            self._is_answered = True
            value = message.headers.get(_KEEP_ALIVE)
            self._good_until = None if value is None else self._end_of_keep_alive(value)
        super().feed_data(data, size)

    def _end_of_keep_alive(self, value: str) -> float | None:
        seconds = _IDLE_SECONDS.search(value)
        return seconds and self._loop.time() + int(seconds[1]) - _MARGIN

    def set_exception(self, exc: BaseException, *args: Any, **options: Any) -> None:
        """Mark the connection as broken; after invalid HTTP, the reader of the body receives the error
        too.
        """
        first, self._first = self._first, None
        if first is not None and isinstance(exc, http_exceptions.HttpProcessingError):
            self._rescue(first)
            return
        super().set_exception(exc, *args, **options)
        if isinstance(exc, http_exceptions.HttpProcessingError):
            self._end_reader(exc)

    def close(self) -> None:
        """Close the connection, with an error for its reader, which aiohttp would leave waiting."""
        self._end_reader(aiohttp.ClientConnectionError("Connection closed"))
        super().close()

    def abort(self) -> None:
        """Close the connection immediately; see `close`."""
        self._end_reader(aiohttp.ClientConnectionError("Connection closed"))
        super().abort()

    def _end_reader(self, error: Exception) -> None:
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(error)

    # The read timeout. aiohttp starts one timer per request, and another one whenever bytes arrive. Here, one
    # timer per connection is enough: when it fires, it checks how long the silence has lasted.

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
        if self.transport is None:
            return  # aiohttp 3.14.0 also calls this when the last bytes are read
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


class Limits(aiohttp.ClientTimeout):
    """aiohttp's limits of one request, plus ``pool``."""

    pool: float | None = None
    """The longest wait for a free connection in seconds; None: no limit."""


class _Traces(list[Any]):
    """aiohttp's list of traces, with the limit as an attribute, because aiohttp passes nothing else to the
    wait.
    """

    pool: float | None = None


if TYPE_CHECKING:
    _Base = aiohttp.BaseConnector
else:
    _Base = object


class _Connector(_Base):
    """The base class that `mend` adds to the class of a connector.

    Hooks: `connect`, `_create_connection`, `_wait_for_available_connection`, `_release_waiter`,
    `_cached_hosts`.
    """

    def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        """Pass the limit ``pool`` on to the wait for a connection."""
        # An aiohttp middleware may send its own request, without our limits.
        pool = getattr(timeout, "pool", None)
        if pool is not None:
            traces = _Traces(traces)
            traces.pool = pool
        return super().connect(req, traces, timeout)

    async def _wait_for_available_connection(self, key: Any, traces: Any) -> None:
        try:
            async with asyncio.timeout(getattr(traces, "pool", None)):
                await super()._wait_for_available_connection(key, traces)
        except BaseException as error:
            # A connection may have been assigned to this waiter when it was cancelled, so wake another
            # waiter.
            self._release_waiter()
            if isinstance(error, TimeoutError):
                raise PoolTimeout from None
            raise

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        self._bound_names()
        limit = asyncio.timeout(timeout.sock_connect)
        try:
            async with limit:
                return await super()._create_connection(req, traces, timeout)
        except TimeoutError as error:
            if limit.expired():
                raise ConnectTimeout from None
            raise GaveUp from error

    def _bound_names(self) -> None:
        """Clear the DNS cache when it has too many names, which aiohttp 3.12 never does."""
        names = getattr(getattr(self, "_cached_hosts", None), "_addrs_rr", ())
        if len(names) > _MOST_NAMES:
            connector: Any = self
            connector.clear_dns_cache()


@lru_cache(maxsize=16)
def _mended_class(kind: Any) -> type[aiohttp.BaseConnector]:
    return type(kind.__name__, (_Connector, kind), {"__module__": kind.__module__})


def mend(connector: Any) -> None:
    """Add `_Connector` to the class of *connector*, and let it create our `_Protocol`.

    Hooks: `_factory`, `_loop`.
    """
    kind: Any = connector.__class__
    if not issubclass(kind, _Connector):
        connector.__class__ = _mended_class(kind)
        connector._factory = partial(_Protocol, loop=connector._loop)


def make_connector(ssl: Any) -> aiohttp.BaseConnector:
    """Return a connector that probes silent connections; `mend` is not applied yet."""
    return aiohttp.TCPConnector(ssl=ssl, limit=_CONNECTIONS, limit_per_host=0, socket_factory=_probed_socket)


def _probed_socket(address: Any) -> socket.socket:
    """Return a socket that probes a silent peer with TCP keep-alive."""
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


# --- statistics


class PoolStats(msgspec.Struct, frozen=True, kw_only=True):
    """The connections of a transport."""

    acquired: int
    """Connections in use."""

    idle: int
    """Open connections without a request."""

    waiting: int
    """Requests that wait for a free connection."""

    limit: int
    """The maximum number of connections; 0 means unlimited."""


def pool_stats(connector: Any) -> PoolStats | None:
    """Return the statistics of *connector*; None for one without aiohttp's own bookkeeping.

    Hooks: its `_acquired`, `_conns` and `_waiters`.
    """
    try:
        return PoolStats(
            acquired=len(connector._acquired),
            idle=sum(map(len, connector._conns.values())),
            waiting=sum(map(len, connector._waiters.values())),
            limit=connector.limit,
        )
    except (AttributeError, TypeError):
        return None


# --- after the end of the loop


def forget_session(session: aiohttp.ClientSession) -> None:
    """Close the sockets of a session whose loop has ended, because the session can no longer close them.

    Hooks: the connector's `_conns` and `_acquired`; asyncio's transports' `_sock` and `_ssl_protocol`.
    """
    connector: Any = session.connector
    transports = list(_transports_of(connector))
    # Without a loop, the coroutine cannot wait for anything and ends at its first step.
    closing = session.close()
    with suppress(StopIteration, RuntimeError):
        closing.send(None)
    closing.close()
    if connector is not None:
        connector._conns.clear()
    for transport in transports:
        _close_transport(transport)


def _transports_of(connector: Any) -> Iterator[Any]:
    if connector is None:
        return
    for idle in connector._conns.values():
        for protocol, *_ in idle:
            yield protocol.transport
    for protocol in connector._acquired:
        yield protocol.transport


def _close_transport(transport: Any) -> None:
    tls = getattr(transport, "_ssl_protocol", None)
    inner: Any = transport if tls is None else getattr(tls, "_transport", None)
    if transport is not None:
        # It marks itself as closed, and then fails to notify the loop.
        with suppress(RuntimeError):
            transport.abort()
    sock = getattr(inner, "_sock", None)
    # Other loops, such as uvloop's, have closed their sockets already.
    if sock is not None:
        sock.close()
        inner._sock = None
