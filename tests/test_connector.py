"""The pool: which connections are reused, how long a call waits for one, and the state at the end."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import socket
import tempfile
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from pytest_aiohttp.plugin import AiohttpServer
from servers import (
    Exchange,
    RawServer,
    Script,
    client_tls,
    close,
    drip,
    hang,
    in_turn,
    ok,
    port_that_drops_connections,
    raw_server,
    refusing_port,
    respond,
    response,
    turns,
    until,
)

from aioapiclient._request import APIRequest
from aioapiclient._transport.connector import _Protocol
from aioapiclient._transport.transport import AiohttpTransport
from aioapiclient._types import DEFAULT_TIMEOUT, Timeout
from aioapiclient.errors import APIConnectionError, APITimeoutError, ClientClosedError

LOOPS: list[Any] = [asyncio.new_event_loop]
if os.environ.get("AIOAPICLIENT_TEST_LOOP") == "uvloop":
    import uvloop

    LOOPS = [uvloop.new_event_loop]


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    """A transport that trusts the tests' certificate, closed in the end."""
    transport = AiohttpTransport(ssl=client_tls())
    yield transport
    await transport.close()


def request(url: str, method: str = "GET", **limits: float | None) -> APIRequest:
    """A request with the limits that a test sets."""
    return APIRequest(method, url, timeout=Timeout(**limits).over(DEFAULT_TIMEOUT))


async def fetch(transport: AiohttpTransport, url: str, method: str = "GET", **limits: float | None) -> bytes:
    """The body of an answer."""
    return await (await transport(request(url, method, **limits))).read()


def limited(limit: int = 1, **options: Any) -> Callable[[], aiohttp.TCPConnector]:
    """A factory of connectors with so many connections."""
    return lambda: aiohttp.TCPConnector(limit=limit, **options)


class Told:
    """A script that passes each connection to the test, and sends the test's answers."""

    def __init__(self) -> None:
        self.exchange: Exchange | None = None

    async def __call__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        await exchange.send(ok(b'"%d"' % exchange.index))

    def send_unread(self, data: bytes) -> None:
        """Put *data* into the client's socket without running the loop, so that it is unread."""
        assert self.exchange is not None
        with self._socket() as sock:
            sock.send(data)

    def end_unread(self) -> None:
        """Put a FIN into the client's socket in the same way."""
        with self._socket() as sock:
            sock.shutdown(socket.SHUT_WR)

    def _socket(self) -> socket.socket:
        assert self.exchange is not None
        return socket.socket(fileno=os.dup(self.exchange.writer.get_extra_info("socket").fileno()))


# --- reuse


@pytest.mark.parametrize("tls", [False, True])
async def test_reuse(transport: AiohttpTransport, tls: bool) -> None:
    """A silent connection is reused, also with TLS, whose session tickets are not a stray response."""
    async with raw_server(respond(ok()), tls=tls) as server:
        for _ in range(5):
            await fetch(transport, server.url)
            await asyncio.sleep(0)
        assert server.connections == 1


STRAY = {
    "a response": ok(b'"stray"'),
    "a 408": response("408 Request Timeout"),
    "garbage": b"garbage\r\n\r\n",
}


@pytest.mark.parametrize("stray", STRAY.values(), ids=STRAY.keys())
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_stray_response_that_was_read(transport: AiohttpTransport, stray: bytes, method: str) -> None:
    """Bytes that arrive on an idle connection are not the answer to the next request."""
    told = Told()
    async with raw_server(told) as server:
        assert await fetch(transport, server.url, method) == b'"0"'
        told.send_unread(stray)
        await turns()
        assert await fetch(transport, server.url, method) == b'"1"'
        assert server.connections == 2


@pytest.mark.parametrize("stray", STRAY.values(), ids=STRAY.keys())
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_stray_response_that_was_not_read(
    transport: AiohttpTransport, stray: bytes, method: str
) -> None:
    """The same holds for bytes that a busy loop has not read yet."""
    told = Told()
    async with raw_server(told) as server:
        assert await fetch(transport, server.url, method) == b'"0"'
        told.send_unread(stray)
        assert await fetch(transport, server.url, method) == b'"1"'
        assert server.connections == 2


async def test_end_that_was_not_read(transport: AiohttpTransport) -> None:
    """A connection that the server has closed is not used again, though the loop has not seen it yet."""
    told = Told()
    async with raw_server(told) as server:
        for index in range(5):
            assert await fetch(transport, server.url, "POST") == b'"%d"' % index
            told.end_unread()
        assert server.connections == 5


async def test_stray_response_without_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system without poll, bytes that the loop has read are still noticed."""
    monkeypatch.delattr(select, "poll")
    transport, told = AiohttpTransport(), Told()
    async with raw_server(told) as server:
        assert await fetch(transport, server.url) == b'"0"'
        assert await fetch(transport, server.url) == b'"1"'
        assert server.connections == 1
        told.send_unread(ok(b'"stray"'))
        await turns()
        assert await fetch(transport, server.url) == b'"2"'
        assert server.connections == 2
        await transport.close()


@pytest.mark.parametrize(
    ("keep_alive", "connections"),
    [
        ("timeout=1", 2),
        ("timeout=0", 2),
        ('max=5; Timeout="1"', 2),
        ("timeout=60, max=100", 1),
        ("max=1", 1),
        ("timeout=soon", 1),
        ("timeout=" + "9" * 5000, 1),
    ],
)
async def test_keep_alive(transport: AiohttpTransport, keep_alive: str, connections: int) -> None:
    """A connection that the server announces to close soon is not used again."""
    async with raw_server(respond(response("200 OK", b"", Keep_Alive=keep_alive))) as server:
        for _ in range(2):
            await fetch(transport, server.url, "POST")
        assert server.connections == connections


async def test_keep_alive_is_of_the_last_response(transport: AiohttpTransport) -> None:
    """Headers of an earlier response do not affect the connection any more."""
    soon, later = (response("200 OK", b"", Keep_Alive=f"timeout={seconds}") for seconds in (60, 1))
    async with raw_server(in_turn(respond(later), respond(soon), respond(ok()))) as server:
        for _ in range(4):
            await fetch(transport, server.url)
        assert server.connections == 2


STRAY_BODIES = {
    "after a body": ("GET", ok(b'"a"') + b"b"),
    "after a 204": ("DELETE", response("204 No Content", None) + b"{}"),
    "after the head for HEAD": ("HEAD", ok(b'"a"')),
    "a response after a response": ("GET", ok(b'"a"') + ok(b'"b"')),
}


@pytest.mark.parametrize(("method", "answer"), STRAY_BODIES.values(), ids=STRAY_BODIES.keys())
async def test_what_follows_in_one_piece(transport: AiohttpTransport, method: str, answer: bytes) -> None:
    """A complete response is good whatever arrives in one piece with it; its connection is not."""
    async with raw_server(respond(answer)) as server:
        for _ in range(2):
            assert await fetch(transport, server.url, method) == (b'"a"' if method == "GET" else b"")
        assert server.connections == 2


async def test_what_follows_the_head_for_head(transport: AiohttpTransport) -> None:
    """Nor is it if the forbidden body arrives later."""
    told = Told()

    async def script(exchange: Exchange) -> None:
        told.exchange = exchange
        await exchange.send(response("200 OK", None, Content_Length="2"))

    async with raw_server(script) as server:
        for _ in range(2):
            assert await fetch(transport, server.url, "HEAD") == b""
            told.send_unread(b"{}")
            await turns()
        assert server.connections == 2


async def test_no_double_answer_under_load(transport: AiohttpTransport) -> None:
    """A server that answers everything twice never gives one caller's answer to another."""

    async def script(exchange: Exchange) -> None:
        answer = ok(exchange.request.target.encode())
        await exchange.send(answer)
        await asyncio.sleep(0)
        await exchange.send(answer)

    async with raw_server(script) as server:

        async def caller(name: int) -> None:
            for turn in range(10):
                target = f"/{name}/{turn}"
                assert await fetch(transport, server.url + target, "POST") == target.encode()

        await asyncio.gather(*(caller(name) for name in range(10)))


async def test_connection_in_use_is_connected(transport: AiohttpTransport) -> None:
    """If aiohttp's response is requested, its connection stays open while the body arrives."""
    async with raw_server(hang(response("200 OK", None, Content_Length="9") + b"a")) as server:
        answer = await transport(APIRequest("GET", server.url, cast_to=aiohttp.ClientResponse))
        await turns()
        raw = answer._take_raw()
        assert not raw.connection.closed
        raw.close()


async def test_probes(transport: AiohttpTransport) -> None:
    """TCP keep-alive probes a peer that is silent for a minute."""
    async with raw_server(hang(response("200 OK", None, Content_Length="9") + b"a")) as server:
        answer = await transport(APIRequest("GET", server.url, cast_to=aiohttp.ClientResponse))
        raw = answer._take_raw()
        sock = raw.connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        raw.close()


# --- limits


class SlowResolver(AbstractResolver):
    """A resolver that never answers."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        await asyncio.sleep(3600)
        return []

    async def close(self) -> None:
        """Close does nothing."""


async def test_connect_limits_dns() -> None:
    """``connect`` counts DNS."""
    transport = AiohttpTransport(connector=lambda: aiohttp.TCPConnector(resolver=SlowResolver()))
    with pytest.raises(APITimeoutError, match=r"no connection within 0\.05 s \(connect\)") as caught:
        await fetch(transport, "http://api.example.com", connect=0.05)
    assert (caught.value.phase, caught.value.sent) == ("connect", False)
    await transport.close()


class FailingResolver(AbstractResolver):
    """A resolver that fails immediately with the given exception."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        """Fail."""
        raise self.error

    async def close(self) -> None:
        """Close does nothing."""


class Own(Exception):
    """An exception of the user's resolver."""


# exception of a resolver -> the end of the message, the reason
RESOLVER_ERRORS: dict[str, tuple[Exception, str, str]] = {
    "a limit of its own": (
        TimeoutError(),
        ": no connection: the resolver or the connector timed out itself (connect)",
        "timeout",
    ),
    "the system's": (
        socket.gaierror(socket.EAI_NONAME, "x"),
        ": the name was not resolved (EAI_NONAME)",
        "dns",
    ),
    "without a number": (OSError(None, "no servers"), ": the name was not resolved", "dns"),
    "its own": (Own(), ": the connector raised Own", "connector"),
}


@pytest.mark.parametrize("kind", ["own", "borrowed"])
@pytest.mark.parametrize(("error", "text", "reason"), RESOLVER_ERRORS.values(), ids=RESOLVER_ERRORS.keys())
async def test_a_resolver_that_fails_at_once(error: Exception, text: str, reason: str, kind: str) -> None:
    """A failed resolution is not a timeout: the error names no seconds, and its ``sent`` is False."""
    connector = aiohttp.TCPConnector(resolver=FailingResolver(error))
    async with aiohttp.ClientSession(connector=connector) as session:
        transport = (
            AiohttpTransport(session=session)
            if kind == "borrowed"
            else AiohttpTransport(connector=lambda: connector)
        )
        with pytest.raises(APIConnectionError) as caught:
            await fetch(transport, "http://api.example.com")
        await transport.close()

    assert str(caught.value).endswith(text)
    assert (caught.value.sent, caught.value.final, caught.value.reason) == (False, False, reason)
    assert caught.value.__cause__ is error


async def test_connect_limits_tls(transport: AiohttpTransport) -> None:
    """``connect`` counts the TLS handshake."""
    async with raw_server(hang()) as server:
        with pytest.raises(APITimeoutError) as caught:
            await fetch(transport, server.url.replace("http:", "https:"), connect=0.05)
    assert (caught.value.phase, caught.value.sent) == ("connect", False)


async def test_connect_limits_tcp(transport: AiohttpTransport) -> None:
    """``connect`` counts TCP: a host that does not answer at all."""
    with port_that_drops_connections() as port, pytest.raises(APITimeoutError) as caught:
        await fetch(transport, f"http://127.0.0.1:{port}", connect=0.05)
    assert (caught.value.phase, caught.value.sent) == ("connect", False)


async def test_connect_does_not_limit_the_rest(transport: AiohttpTransport) -> None:
    """``connect`` ends with the connection: an answer may take longer."""

    async def late(exchange: Exchange) -> None:
        await asyncio.sleep(0.35)
        await exchange.send(ok())

    async with raw_server(late) as server:
        assert await fetch(transport, server.url, connect=0.3) == b"{}"


async def test_caller_cancels_while_connecting() -> None:
    """A caller's cancellation, or timeout, while a connection is made stays the caller's."""
    transport = AiohttpTransport(connector=lambda: aiohttp.TCPConnector(resolver=SlowResolver()))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await fetch(transport, "http://api.example.com", connect=5)
    await transport.close()


async def test_pool_limit() -> None:
    """``pool`` limits the wait for a free connection, with a separate error whose ``sent`` is False."""
    transport = AiohttpTransport(connector=limited(1))
    async with raw_server(hang()) as server:
        holder = asyncio.create_task(fetch(transport, server.url))
        await until(lambda: server.requests)
        with pytest.raises(
            APITimeoutError, match=r"no connection became free within 0\.05 s \(pool\)"
        ) as caught:
            await fetch(transport, server.url, pool=0.05)
        assert (caught.value.phase, caught.value.sent) == ("pool", False)
        holder.cancel()
        await transport.close()
    assert len(server.requests) == 1


async def test_no_pool_limit() -> None:
    """Without a limit a call waits for a free connection, and ``connect`` does not count the wait."""
    transport = AiohttpTransport(connector=limited(1))

    async def late(exchange: Exchange) -> None:
        await asyncio.sleep(0.12)
        await exchange.send(ok(Connection="close"))
        exchange.close()

    async with raw_server(late) as server:
        calls = [fetch(transport, server.url, connect=0.3) for _ in range(4)]
        assert await asyncio.gather(*calls) == [b"{}"] * 4
        assert server.connections == 4
    await transport.close()


async def test_granted_and_cancelled() -> None:
    """A connection granted to a call at the moment of its cancellation passes to the next in the queue."""
    transport = AiohttpTransport(connector=limited(1))
    async with raw_server(respond(ok())) as server:
        holder = await transport(request(server.url))
        await holder.read()
        session: Any = transport._session
        connector = session.connector
        # The only connection is in use, and two calls queue for it.
        key, idle = next(iter(connector._conns.items()))
        protocol, _ = idle[0]
        connector._conns.clear()
        connector._acquired.add(protocol)
        first, second = (asyncio.create_task(fetch(transport, server.url)) for _ in range(2))
        await turns()
        connector._release(key, protocol)
        first.cancel()
        assert await asyncio.wait_for(second, 10) == b"{}"
        with pytest.raises(asyncio.CancelledError):
            await first
    await transport.close()


async def test_silence_before_the_head(transport: AiohttpTransport) -> None:
    """``read`` limits the wait for the head."""
    async with raw_server(hang()) as server:
        with pytest.raises(
            APITimeoutError, match=r"the server sent nothing within 0\.05 s \(read\)"
        ) as caught:
            await fetch(transport, server.url, "POST", read=0.05)
        assert (caught.value.phase, caught.value.sent) == ("read", None)
        assert len(server.requests) == 1


async def test_read_limits_on_one_connection(transport: AiohttpTransport) -> None:
    """Every request on a connection has its own ``read``, even a shorter one after a longer one."""
    async with raw_server(in_turn(respond(ok()), respond(ok()), hang())) as server:
        await fetch(transport, server.url, read=60)
        await fetch(transport, server.url, read=None)
        with pytest.raises(APITimeoutError):
            await fetch(transport, server.url, read=0.05)
        assert server.connections == 1


class Handle:
    """A timer of a `Clock`."""

    def __init__(self, clock: Clock, when: float) -> None:
        self.clock, self.when = clock, when

    def cancel(self) -> None:
        self.clock.timers.pop(self.when, None)


class Clock:
    """The time and timers of an event loop."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: dict[float, Callable[[], None]] = {}

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        self.timers[when] = callback
        return Handle(self, when)

    def get_debug(self) -> bool:
        return False

    def advance(self, seconds: float) -> None:
        """Let time pass, timers firing in order."""
        end = self.now + seconds
        while due := [when for when in self.timers if when <= end]:
            self.now = min(due)
            self.timers.pop(self.now)()
        self.now = end


def silent(clock: Clock, read_timeout: float | None) -> _Protocol:
    """A protocol on a clock, waiting for an answer."""
    protocol = _Protocol(clock)  # type: ignore[arg-type]
    protocol.transport = asyncio.Transport()
    protocol.read_timeout = read_timeout
    protocol.start_timeout()
    return protocol


def test_read_timer() -> None:
    """Silence is measured from the last byte, by one timer, however many bytes arrive."""
    clock = Clock()
    protocol = silent(clock, 60)
    for _ in range(100):
        clock.advance(59)
        protocol.start_timeout()
        assert len(clock.timers) == 1
    clock.advance(59.9)
    assert protocol.exception() is None
    clock.advance(0.1)
    assert isinstance(protocol.exception(), aiohttp.SocketTimeoutError)
    assert not clock.timers


def test_read_timer_is_idle_between_requests() -> None:
    """Idle time of a connection does not count for any request, and its timer ends by itself."""
    clock = Clock()
    protocol = silent(clock, 60)
    protocol._drop_timeout()
    clock.advance(1000)
    assert protocol.exception() is None
    assert not clock.timers


def test_read_timer_gets_shorter() -> None:
    """A shorter limit after a longer one applies immediately; None means no limit."""
    clock = Clock()
    protocol = silent(clock, 60)
    protocol.read_timeout = None
    protocol.start_timeout()
    clock.advance(1000)
    assert protocol.exception() is None
    protocol = silent(clock, 60)
    protocol.read_timeout = 0.1
    protocol.start_timeout()
    clock.advance(0.1)
    assert isinstance(protocol.exception(), aiohttp.SocketTimeoutError)
    assert not clock.timers


def test_no_read_timer_after_the_end() -> None:
    """Reading the last bytes of a closed connection starts no timer."""
    clock = Clock()
    protocol = silent(clock, 60)
    protocol.connection_lost(None)
    protocol.start_timeout()
    assert not clock.timers


async def test_no_timer_is_left(transport: AiohttpTransport) -> None:
    """A closed connection leaves no timer behind."""
    async with raw_server(close(ok())) as server:
        await fetch(transport, server.url)
        await until(lambda: server.open_connections == 0)
        await turns()
    loop: Any = asyncio.get_running_loop()
    if isinstance(loop, asyncio.BaseEventLoop):
        timers = [handle for handle in vars(loop)["_scheduled"] if not handle.cancelled()]
        assert not [handle for handle in timers if "_Protocol" in repr(handle)]


class Paused(asyncio.Transport):
    """A transport that counts the calls of resume_reading."""

    resumed = 0

    def pause_reading(self) -> None:
        """No data arrives anyway."""

    def resume_reading(self) -> None:
        self.resumed += 1


async def test_only_what_was_paused_is_resumed() -> None:
    """Reading a body that has fully arrived does not touch its connection; a paused one resumes."""
    protocol, transport = _Protocol(asyncio.get_running_loop()), Paused()
    protocol.transport = transport
    protocol.set_response_params(auto_decompress=False)
    protocol.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1")
    protocol.resume_reading()
    assert transport.resumed == 0
    protocol.pause_reading()
    protocol.resume_reading()
    assert transport.resumed == 1


# --- interim responses


async def test_interim_responses(transport: AiohttpTransport) -> None:
    """Interim responses before the final one are skipped, however they arrive."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    for script in (respond(hints * 99 + ok(b"1")), drip(hints * 9 + ok(b"1"), size=7, every=0)):
        async with raw_server(script) as server:
            for _ in range(3):
                assert await fetch(transport, server.url) == b"1"
            assert server.connections == 1


async def test_endless_interim_responses(transport: AiohttpTransport) -> None:
    """A server that sends interim responses without end fails the call, however small the pieces."""

    async def script(exchange: Exchange) -> None:
        while True:
            await exchange.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await asyncio.sleep(0)

    async with raw_server(script) as server:
        with pytest.raises(APIConnectionError, match="Too many interim responses"):
            await fetch(transport, server.url, read=None)
    async with raw_server(respond(b"HTTP/1.1 102 Processing\r\n\r\n" * 5000)) as server:
        with pytest.raises(APIConnectionError, match="Too many interim responses"):
            await fetch(transport, server.url)


# --- other users of the connector


async def test_a_websocket_on_the_same_connector(aiohttp_server: AiohttpServer) -> None:
    """A connector that its owner also uses for a WebSocket carries it, whatever the traffic."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            await websocket.send_str(message.data)
        return websocket

    app = web.Application()
    app.router.add_get("/", echo)
    server = await aiohttp_server(app)
    connector = aiohttp.TCPConnector()
    transport = AiohttpTransport(connector=lambda: connector)
    with pytest.raises(APIConnectionError):
        await fetch(transport, f"http://127.0.0.1:{refusing_port()}")  # repairs it
    async with (
        aiohttp.ClientSession(connector=connector, connector_owner=False) as session,
        session.ws_connect(server.make_url("/")) as websocket,
    ):
        for number in range(300):
            text = f"{number}\n" * 100
            await websocket.send_str(text)
            assert await websocket.receive_str() == text
    await transport.close()


# --- closing the session


WAITS: dict[str, Script] = {
    "the head": hang(),
    "the rest of the head": hang(b"HTTP/1.1 200 OK\r\nX: "),
    "the body": hang(response("200 OK", None, Content_Length="9") + b"a"),
    "an unframed body": hang(response("200 OK", None) + b"a"),
}


@pytest.mark.parametrize("script", WAITS.values(), ids=WAITS.keys())
@pytest.mark.parametrize("tls", [False, True])
async def test_close_ends_waiting_calls(script: Script, tls: bool) -> None:
    """Whatever a call waits for, closing the transport ends it, and the connection."""
    transport = AiohttpTransport(ssl=client_tls())
    async with raw_server(script, tls=tls) as server:
        call = asyncio.create_task(fetch(transport, server.url))
        await until(lambda: server.requests)
        await asyncio.sleep(0.02)
        await asyncio.wait_for(transport.close(), 10)
        with pytest.raises(ClientClosedError):
            await asyncio.wait_for(call, 10)
        await until(lambda: server.open_connections == 0)


async def test_close_ends_the_queue() -> None:
    """A call that queues for a connection is ended as closed, not as cancelled."""
    transport = AiohttpTransport(connector=limited(1))
    async with raw_server(hang()) as server:
        calls = [asyncio.create_task(fetch(transport, server.url, pool=limit)) for limit in (None, None, 5)]
        await until(lambda: server.requests)
        await transport.close()
        for call in calls:
            with pytest.raises(ClientClosedError):
                await asyncio.wait_for(call, 10)


async def test_close_while_a_waiter_is_cancelled() -> None:
    """A caller's cancellation in the tick of the close stays a cancellation."""
    transport = AiohttpTransport(connector=limited(1))
    async with raw_server(hang()) as server:
        calls = [asyncio.create_task(fetch(transport, server.url)) for _ in range(2)]
        await until(lambda: server.requests)
        for call in calls:
            call.cancel()
        await transport.close()
        for call in calls:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(call, 10)


async def test_close_during_dns() -> None:
    """A call that waits for DNS is ended as closed, or by its own limit."""
    transport = AiohttpTransport(connector=lambda: aiohttp.TCPConnector(resolver=SlowResolver()))
    calls = [asyncio.create_task(fetch(transport, "http://api.example.com", connect=None)) for _ in range(2)]
    await turns()
    await transport.close()
    for call in calls:
        with pytest.raises(ClientClosedError):
            await asyncio.wait_for(call, 10)


# --- custom connectors


async def test_unix_socket() -> None:
    """A connector of any kind gets the fixes: one for Unix sockets has limits and drops stray bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "socket"))
        told, server = Told(), RawServer(hang())
        server.script = told
        listener = await asyncio.start_unix_server(server._serve, path)
        transport = AiohttpTransport(connector=lambda: aiohttp.UnixConnector(path, limit=1))
        assert await fetch(transport, "http://localhost/") == b'"0"'
        assert await fetch(transport, "http://localhost/") == b'"1"'
        assert server.connections == 1
        told.send_unread(ok(b'"stray"'))
        assert await fetch(transport, "http://localhost/") == b'"2"'
        assert server.connections == 2
        server.script = hang()
        holder = asyncio.create_task(fetch(transport, "http://localhost/"))
        await until(lambda: len(server.requests) == 4)
        with pytest.raises(APITimeoutError, match="pool"):
            await fetch(transport, "http://localhost/", pool=0.02)
        holder.cancel()
        await transport.close()
        listener.close()
        await server._stop()
        await listener.wait_closed()


async def test_subclass_of_a_connector() -> None:
    """A user's subclass keeps its name and its overrides."""

    class Counting(aiohttp.TCPConnector):
        made = 0

        async def _create_connection(self, *args: Any) -> Any:
            type(self).made += 1
            return await super()._create_connection(*args)

    transport = AiohttpTransport(connector=Counting)
    async with raw_server(close(ok())) as server:
        await fetch(transport, server.url)
        await fetch(transport, server.url)
    session: Any = transport._session
    assert isinstance(session.connector, Counting)
    assert type(session.connector).__name__ == "Counting"
    assert type(session.connector).made == 2
    await transport.close()


async def test_factory_that_makes_no_connector() -> None:
    """The result of a factory must be a connector."""
    transport = AiohttpTransport(connector=lambda: "connector")  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="connector must return an aiohttp connector, not a str"):
        await fetch(transport, "http://127.0.0.1")


# --- after the end of the loop


@contextmanager
def lasting_server(script: Script, *, tls: bool) -> Iterator[RawServer]:
    """A server on a separate loop, which still runs when the client's loop has ended."""
    started, stop = threading.Event(), threading.Event()
    servers: list[RawServer] = []

    async def serve() -> None:
        async with raw_server(script, tls=tls) as server:
            servers.append(server)
            started.set()
            await until(stop.is_set)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait(10)
    try:
        yield servers[0]
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("make_loop", LOOPS)
@pytest.mark.parametrize("tls", [False, True])
def test_second_loop(make_loop: Any, tls: bool) -> None:
    """A transport whose loop has ended closes its connections there, and opens a new session on the next
    loop.
    """
    transport = AiohttpTransport(ssl=client_tls())
    unread: list[Any] = []

    async def use(url: str) -> None:
        # One connection waits for a body, another is idle.
        unread.append(await transport(request(url + "/stream")))
        assert await fetch(transport, url) == b"{}"

    async def script(exchange: Exchange) -> None:
        streams = exchange.request.target == "/stream"
        await exchange.send(response("200 OK", None, Content_Length="9") + b"a" if streams else ok())

    with lasting_server(script, tls=tls) as server:
        for _ in range(2):
            with warnings.catch_warnings():
                if make_loop is not asyncio.new_event_loop:
                    # uvloop closes the sockets, with a complaint for each, when the loop ends, before us.
                    warnings.simplefilter("ignore", ResourceWarning)
                with asyncio.Runner(loop_factory=make_loop) as runner:
                    runner.run(use(server.url))
            # The end of a program that forgot to close: its connections are open still.
        transport.forget_session()
        with asyncio.Runner(loop_factory=make_loop) as runner:
            for answer in unread:
                runner.run(answer.close())
            runner.run(until(lambda: server.open_connections == 0))
            assert server.connections == 4
    unread.clear()
    gc.collect()
