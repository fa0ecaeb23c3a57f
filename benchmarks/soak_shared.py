"""The soak of shared state: the retry budget in an outage, a token for a thousand, the pool, the loop."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress

import aiohttp
from faults import READ, kind_of
from faulty_server import Item, Record
from soaking import Check, Client, Server, Size, at_most, at_once, exactly, short_waits

from aioapiclient import AiohttpTransport, BearerAuth, RetryBudget, Timeout
from aioapiclient.errors import APIError, BodyTooLargeError

TITLE = "What calls share: the retry budget, a token, the pool, the event loop"
_AT_ONCE = 200
_OUTAGE = 2500  # calls: so many that the first retries do not weigh
_STORM = 1000
_FETCH = 0.5  # seconds that a token takes: by then, the whole storm has received the 401
_WAITERS = 1000
_CONNECTIONS = 10
_BOMBS = 20
_MAX_BODY = 8 << 20


async def scenario(server: Server, seed: int, size: Size) -> list[Check]:
    """Checks of L7, L13, L14 and L18."""
    return [
        *await _outage(server),
        *await _storm(server),
        *await _queue(server),
        *await _bombs(server),
        *await _default_budget(server, size),
    ]


async def _outage(server: Server) -> list[Check]:
    budget, failed = RetryBudget(), 0

    async def call(number: int) -> None:
        nonlocal failed
        try:
            await client.api.get("/outage/{id}", Item, path_params={"id": number})
        except APIError:
            failed += 1

    async with Client(server.base, retry=short_waits(budget=budget)) as client:
        await server.order("set", is_down=True)
        await at_once(_AT_ONCE, range(_OUTAGE), call)
        failed_then, wire = failed, len(await server.order("take_log", list[Record]))
        await server.order("set", is_down=False)
        await at_once(_AT_ONCE, range(1000), call)
    first = budget.capacity // budget.price  # the retries that it holds
    return [
        exactly("calls that fail in an outage", failed_then, _OUTAGE),
        exactly(f"their requests: one per call, and the first {first} retries", wire, _OUTAGE + first),
        at_most("requests per call in an outage", wire / _OUTAGE, 1.02),
        exactly("calls that fail after it, of 1,000", failed - failed_then, 0),
        exactly("tokens of the budget afterwards", budget.tokens(server.base), budget.capacity),
    ]


async def _storm(server: Server) -> list[Check]:
    """A thousand calls whose token has just been revoked."""
    fetched, values = 0, 0

    async def fetch() -> str:
        nonlocal fetched
        fetched += 1
        token = f"token-{fetched}"
        await asyncio.sleep(_FETCH)
        return token

    async def call(number: int) -> None:
        nonlocal values
        with suppress(APIError):  # it lacks among the values
            item = await client.api.get("/secrets/{id}", Item, path_params={"id": number})
            values += item.id == number

    async with Client(server.base, auth=BearerAuth(fetch), retry=short_waits()) as client:
        await call(_STORM)
        await server.order("set", token="token-2")
        await server.order("take_log")
        async with asyncio.TaskGroup() as group:
            group.create_task(at_once(_STORM, range(_STORM), call))
            await server.until("requests", _STORM)
            await server.order("refuse")
        in_use = client.connections_in_use
    sent = Counter(record.call for record in await server.order("take_log", list[Record]))
    return [
        exactly("calls with a revoked token that end with their value, at once", values - 1, _STORM),
        exactly("renewals of the token for them", fetched - 1, 1),
        at_most("requests of each call", max(sent.values()), 2, note=f"{sum(sent.values()):,} in all"),
        exactly("connections in use after that", in_use, 0),
    ]


async def _queue(server: Server) -> list[Check]:
    """A thousand calls for ten connections."""
    waits: list[float] = []

    async def call(number: int) -> None:
        start = time.monotonic()
        await client.api.get("/held/{id}", Item, path_params={"id": number})
        waits.append(time.monotonic() - start)

    transport = AiohttpTransport(connector=lambda: aiohttp.TCPConnector(limit=_CONNECTIONS))
    async with Client(server.base, transport) as client:
        await at_once(_WAITERS, range(_WAITERS), call)
    ratio = max(waits) / statistics.fmean(waits)
    return [at_most("the longest wait of 1,000 calls for 10 connections, over the mean", ratio, 3)]


async def _bombs(server: Server) -> list[Check]:
    """Bodies of 200 KB that are 200 MiB without gzip, and the delay of the loop meanwhile."""
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.process_time()  # so that other processes do not count
            await asyncio.sleep(0)
            longest = max(longest, time.process_time() - before)

    async with Client(server.base, max_body=_MAX_BODY) as client:
        beating = asyncio.create_task(beat())
        ends = [await _end_of(client.api.get("/bombs/1")) for _ in range(_BOMBS)]
        beating.cancel()
        in_use = client.connections_in_use
    return [
        exactly(
            "bodies of 200 MiB, compressed, that end with BodyTooLargeError at 8 MiB",
            ends.count(BodyTooLargeError),
            _BOMBS,
        ),
        at_most("longest wait of others for the loop meanwhile, in CPU time", longest * 1e3, 20, " ms"),
        exactly("connections in use after that", in_use, 0),
    ]


async def _end_of(call: Awaitable[object]) -> type[Exception] | None:
    try:
        await call
    except APIError as error:
        return type(error)
    return None


async def _default_budget(server: Server, size: Size) -> list[Check]:
    """The outcome of 500 concurrent calls with a fifth of faults under a budget of some 35 retries at a
    time.
    """
    calls = [number for number in range(size.calls // 10) if kind_of(number) is READ]
    lost = 0

    async def call(number: int) -> None:
        nonlocal lost
        try:
            await client.api.get("/items/{id}", Item, path_params={"id": number})
        except APIError:
            lost += 1

    limits = Timeout(total=300, attempt=5, connect=60)
    async with Client(server.base, retry=short_waits(), timeout=limits) as client:
        await at_once(500, calls, call)
    return [Check(f"GETs that fail with the default budget, of {len(calls):,}", f"{lost:,}")]
