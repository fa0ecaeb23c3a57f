"""`client.stats()`: a snapshot of a client for a health endpoint."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from aiohttp import TCPConnector, web
from helpers import BASE, Client, Script, reply

from aioapiclient import AiohttpTransport, AsyncAPIClient, ClientStats, InternalServerError, RetryPolicy
from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler


@pytest.fixture
def gate() -> asyncio.Event:
    """Lets the server answer."""
    return asyncio.Event()


@pytest.fixture
async def server(aiohttp_server: Any, gate: asyncio.Event) -> str:
    """A server that answers ``/slow`` when the gate opens, and streams without end."""
    app = web.Application()

    async def slow(_: web.Request) -> web.Response:
        await asyncio.wait_for(gate.wait(), 10)
        return web.json_response({})

    async def fast(_: web.Request) -> web.Response:
        return web.json_response({})

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: {}\n\n")
        await asyncio.wait_for(gate.wait(), 10)
        return response

    app.add_routes([web.get("/slow", slow), web.get("/fast", fast), web.get("/events", events)])
    served = await aiohttp_server(app)
    return str(served.make_url("/"))


def test_a_client_that_has_not_begun_has_no_pool() -> None:
    """Before the first call nothing is in flight, and the pool does not exist."""
    assert AsyncAPIClient(BASE).stats() == ClientStats(calls=0, streams=0, pool=None, origins={})


async def test_the_numbers_follow_calls_streams_and_connections(server: str, gate: asyncio.Event) -> None:
    """Calls, streams and the pool are counted, and a view returns the numbers of its client."""
    transport = AiohttpTransport(connector=lambda: TCPConnector(limit=2))
    async with AsyncAPIClient(server, transport=transport) as api:
        async with api.stream("GET", "/events", dict):
            calls = [asyncio.ensure_future(api.get("/slow")) for _ in range(2)]
            for _ in range(200):
                await asyncio.sleep(0.005)
                pool = api.stats().pool
                if pool is not None and pool.acquired == 2 and pool.waiting == 1:
                    break
            busy = api.with_options(timeout=5).stats()
            gate.set()
            await asyncio.gather(*calls)
        await api.get("/fast")
        calm = api.stats()

    assert (busy.calls, busy.streams) == (2, 1)
    assert busy.pool is not None
    assert (busy.pool.acquired, busy.pool.waiting, busy.pool.limit) == (2, 1, 2)
    assert (calm.calls, calm.streams) == (0, 0)
    assert calm.pool is not None
    assert (calm.pool.acquired, calm.pool.waiting) == (0, 0)
    assert calm.pool.idle >= 1


async def test_what_is_left_of_the_retry_budget_is_told_by_origin() -> None:
    """An origin that retries have drawn on shows its tokens; one with a full budget is not listed."""
    api = Client(
        BASE, transport=Script(*[reply(500)] * 3), retry=RetryPolicy(wait=lambda: iter([None, 0, 0]))
    )
    async with api:
        with pytest.raises(InternalServerError):
            await api.get("/x")
        origins = api.stats().origins

    assert origins == {"https://api.example.com": {"RetryMiddleware": {"retry_tokens": 500 - 2 * 14}}}


class Counting:
    """A middleware that reports how often it was called."""

    def __init__(self) -> None:
        self.passed = 0

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        self.passed += 1
        return await handler(request)

    def stats(self) -> dict[str, Any]:
        """Report the same facts for every origin."""
        return {"*": {"passed": self.passed}}


async def test_a_link_adds_its_own() -> None:
    """The ``stats()`` of a middleware are included, and msgspec can encode the result as JSON."""
    async with Client(BASE, middlewares=[Counting()], transport=Script()) as api:
        await api.get("/x")
        stats = api.stats()

    assert stats.origins == {"*": {"Counting": {"passed": 1}}}
    assert msgspec.json.decode(msgspec.json.encode(stats), type=ClientStats) == stats


async def test_a_link_that_fails_to_tell_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    """The error of one link's ``stats()`` is logged by its class, and the rest is reported."""

    class Broken(Counting):
        def stats(self) -> dict[str, Any]:
            raise RuntimeError("a secret")

    api = Client(BASE, middlewares=[Broken(), Counting()], transport=Script())
    with caplog.at_level(logging.WARNING, logger="aioapiclient"):
        stats = api.stats()

    assert stats.origins == {"*": {"Counting": {"passed": 0}}}
    assert [record.getMessage() for record in caplog.records] == ["Broken.stats() failed: RuntimeError"]
