"""The transport's own session: its trace configs, and its use for features outside this library."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextvars import ContextVar
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pytest_aiohttp import AiohttpServer
from servers import close, in_turn, ok, raw_server, respond

from aioapiclient import AiohttpTransport, APIConnectionError, AsyncAPIClient, ClientClosedError

CALL: ContextVar[str] = ContextVar("CALL", default="none")

PHASES = (
    "request_start",
    "connection_queued_start",
    "connection_queued_end",
    "dns_resolvehost_start",
    "dns_resolvehost_end",
    "connection_create_start",
    "connection_create_end",
    "connection_reuseconn",
    "request_headers_sent",
    "request_end",
    "request_exception",
)


class Tracer:
    """Records the phases of each traced call."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.config = aiohttp.TraceConfig()
        for phase in PHASES:
            getattr(self.config, f"on_{phase}").append(self._noting(phase))

    def _noting(self, phase: str) -> Any:
        async def note(*_: object) -> None:
            self.told.append((CALL.get(), phase))

        return note

    def phases(self, call: str) -> list[str]:
        """The phases of a call."""
        return [phase for name, phase in self.told if name == call]


async def named(name: str, call: Any) -> Any:
    """Await *call* under a name that its traces show."""
    CALL.set(name)
    return await call


NEW = ["connection_create_start", "dns_resolvehost_start", "dns_resolvehost_end", "connection_create_end"]


async def test_phases_are_traced() -> None:
    """Queue, DNS, new and reused connections are reported to trace configs, in the context of their call."""
    tracer = Tracer()
    transport = AiohttpTransport(
        trace_configs=[tracer.config], connector=lambda: aiohttp.TCPConnector(limit=1)
    )
    async with raw_server(respond(ok())) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        async with AsyncAPIClient(url, transport=transport) as client:
            first = asyncio.create_task(named("first", client.get("/x")))
            second = asyncio.create_task(named("second", client.get("/x")))
            assert await asyncio.gather(first, second) == [{}, {}]

    assert tracer.phases("first") == ["request_start", *NEW, "request_headers_sent", "request_end"]
    assert tracer.phases("second") == [
        "request_start",
        "connection_queued_start",
        "connection_queued_end",
        "connection_reuseconn",
        "request_headers_sent",
        "request_end",
    ]
    assert tracer.phases("none") == []


async def test_each_send_is_traced() -> None:
    """A retry is traced like a first attempt; a failed attempt is reported too."""
    tracer = Tracer()
    transport = AiohttpTransport(trace_configs=[tracer.config])
    async with (
        raw_server(in_turn(close(), respond(ok()))) as server,
        AsyncAPIClient(server.url, transport=transport) as client,
    ):
        assert await client.get("/x") == {}

    told = Counter(tracer.phases("none"))
    assert (told["request_start"], told["request_exception"], told["request_end"]) == (2, 1, 1)
    assert len(server.requests) == 2


def test_a_trace_config_outlives_its_loop() -> None:
    """The session that a second loop opens reports to the same trace configs."""
    tracer = Tracer()
    transport = AiohttpTransport(trace_configs=[tracer.config])
    client = AsyncAPIClient("http://127.0.0.1:9", transport=transport, max_retries=0)

    async def call() -> None:
        with pytest.raises(APIConnectionError):
            await client.get("/x")

    for _ in range(2):
        asyncio.run(call())
    asyncio.run(client.close())

    assert Counter(tracer.phases("none"))["request_exception"] == 2


# --- features that this library omits


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Send the request's headers over a WebSocket, and then echo each message."""
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    await websocket.send_str(request.headers.get("Authorization", "nobody"))
    async for message in websocket:
        await websocket.send_str(message.data)
    return websocket


async def test_a_websocket_on_the_session_of_the_transport(aiohttp_server: AiohttpServer) -> None:
    """The session of a client carries a WebSocket beside its calls, even before the first call."""

    async def user(request: web.Request) -> web.Response:
        return web.json_response({"id": 7})

    app = web.Application()
    app.add_routes([web.get("/ws", echo), web.get("/users/7", user)])
    server = await aiohttp_server(app)
    transport = AiohttpTransport()
    async with AsyncAPIClient(str(server.make_url("")), transport=transport) as client:
        headers = {"Authorization": "Bearer t"}
        async with transport.session.ws_connect(server.make_url("/ws"), headers=headers) as websocket:
            assert await websocket.receive_str() == "Bearer t"
            for number in range(100):
                text = f"{number}\n" * 100
                await websocket.send_str(text)
                assert await websocket.receive_str() == text
            assert await client.get("/users/7") == {"id": 7}
        session = transport.session
        assert transport.session is session

    assert session.closed


async def test_what_was_mended_on_the_session_stays_mended() -> None:
    """A direct request of the session has no second send, a `connect` that includes DNS, and no cookies."""

    class Never(aiohttp.abc.AbstractResolver):
        async def resolve(self, *args: Any, **options: Any) -> Any:
            await hanging.wait()

        async def close(self) -> None:
            """Close does nothing."""

    hanging = asyncio.Event()
    transport = AiohttpTransport(connector=lambda: aiohttp.TCPConnector(resolver=Never()))
    session = transport.session
    async with raw_server(in_turn(close(), respond(ok(Set_Cookie="a=b")))) as server:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get(server.url)
        for _ in range(2):
            async with session.get(server.url, headers={"X-Own": "1"}) as answer:
                assert await answer.json() == {}
        limit = aiohttp.ClientTimeout(total=None, sock_connect=0.02)
        with pytest.raises(aiohttp.ConnectionTimeoutError):
            await session.get("http://api.example.com", timeout=limit)
    await transport.close()

    assert len(server.requests) == 3
    assert "Cookie" not in server.requests[-1].headers
    assert server.requests[-1].headers["X-Own"] == "1"


async def test_closing_ends_a_websocket(aiohttp_server: AiohttpServer) -> None:
    """Closing the client closes everything open on its session; then there is no session."""
    app = web.Application()
    app.add_routes([web.get("/ws", echo)])
    server = await aiohttp_server(app)
    transport = AiohttpTransport()
    client = AsyncAPIClient(str(server.make_url("")), transport=transport)
    websocket = await transport.session.ws_connect(server.make_url("/ws"))
    assert await websocket.receive_str() == "nobody"
    receiving = asyncio.create_task(websocket.receive())
    await asyncio.sleep(0)
    await client.close()

    assert (await asyncio.wait_for(receiving, 10)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    with pytest.raises(ClientClosedError, match="the transport is closed"):
        transport.session  # noqa: B018 - asking is what is refused


async def test_a_borrowed_session_is_the_session() -> None:
    """The session of a transport that was given one is that one."""
    async with aiohttp.ClientSession() as session:
        assert AiohttpTransport(session=session).session is session


def test_no_session_outside_a_loop() -> None:
    """Without a running loop no session can be opened."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        AiohttpTransport().session  # noqa: B018 - asking is what is refused
