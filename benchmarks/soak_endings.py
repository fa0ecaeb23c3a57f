"""The soak's calls that are ended from outside: by their deadline, by a cancellation, by ``close()``."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Iterator
from typing import Any

import aiohttp
from faulty_server import Item, Record
from soaking import Check, Client, Server, Size, at_most, at_once, exactly, short_waits

from aioapiclient import (
    AiohttpTransport,
    APIRequest,
    AsyncAPIClient,
    AsyncAPIResponse,
    Handler,
    Timeout,
    per_attempt,
)
from aioapiclient.errors import APITimeoutError, ClientClosedError

TITLE = "Calls that are ended from outside"
_HUNG = 1000
_TOTAL = 4.0  # seconds: time for all of them to begin
_TOO_LATE = 5.0  # seconds, on however busy a machine
_CANCELLED_AT_ONCE = 200
_LATEST_CANCEL = 0.15  # seconds: about as long as a call takes with that many concurrent calls
_IN_FLIGHT = 200
_CLOSINGS = 10
_OTHERS = 1_000_000  # calls that are not cancelled are numbered from here


async def scenario(server: Server, seed: int, size: Size) -> list[Check]:
    """Checks of L9, L10 and L15."""
    chance = random.Random(seed)
    return [
        *await _deadlines(server, chance, size),
        *await _cancellations(server, chance, size),
        *await _same_tick(server, size),
        *await _closings(server),
    ]


# --- deadlines


async def _deadlines(server: Server, chance: random.Random, size: Size) -> list[Check]:
    rounds: list[list[float]] = []
    async with Client(server.base, timeout=Timeout(total=_TOTAL, connect=None)) as client:
        for _ in range(size.rounds):
            waiting: list[asyncio.Task[float | None]] = []
            for number in range(_HUNG):
                # Every other one shares its timer with the rest.
                limit = chance.uniform(0.75, 1.25) * _TOTAL if number % 2 else _TOTAL
                waiting.append(asyncio.create_task(_hung(client.api, limit)))
                if number % 20 == 0:
                    await asyncio.sleep(0.02)
            rounds.append(sorted(late for late in await asyncio.gather(*waiting) if late is not None))
        in_use = client.connections_in_use
    ended = sum(map(len, rounds))
    # Other processes on the machine can delay one round, but not all of them.
    worst = [late[-1 - len(late) // 1000] * 1e3 for late in rounds]
    note = f"{statistics.median(worst):.0f} ms in the median of {size.rounds}"
    return [
        exactly("hung calls that ended at their deadline, 1,000 at once", ended, _HUNG * size.rounds),
        exactly("of these, before it", sum(late < 0 for each in rounds for late in each), 0),
        at_most("delay at the 99.9th percentile of 1,000, at best", min(worst), 50, " ms", note),
        exactly("connections in use after that", in_use, 0),
    ]


async def _hung(api: AsyncAPIClient, limit: float) -> float | None:
    """Return how many seconds after its deadline an unanswered call ends; None if it ends otherwise."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit
    try:
        await api.get("/silent/1", timeout=limit)
    except APITimeoutError as error:
        late = loop.time() - deadline
        return late if error.phase == "total" and late < _TOO_LATE else None
    return None


# --- cancellations


class Cancellations:
    """Cancels calls at random times, and counts the attempts that each of them had begun."""

    def __init__(self, chance: random.Random, number: int) -> None:
        self.asked = 0
        self.swallowed = 0
        self.begun: Counter[int] = Counter()
        self.begun_after = 0
        self._chance = chance
        self._number = number
        self._cancelled: set[int] = set()

    def calls(self) -> Iterator[int]:
        """As many as necessary: a call that had ended was not cancelled."""
        call = 0
        while self.asked < self._number:
            yield call
            call += 1

    async def count(self, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        """Count an attempt; a middleware."""
        call = int(request.url.name)
        self.begun[call] += 1
        self.begun_after += call in self._cancelled
        return await handler(request)

    async def cancel(self, call: int, work: Awaitable[object]) -> None:
        """Run *work*, and cancel it if it takes longer than that."""
        task = asyncio.ensure_future(work)
        await asyncio.wait({task}, timeout=self._chance.uniform(0, _LATEST_CANCEL))
        if not task.cancel():
            task.exception()
            return
        self.asked += 1
        self._cancelled.add(call)
        await asyncio.wait({task})
        self.swallowed += not task.cancelled()


async def _cancellations(server: Server, chance: random.Random, size: Size) -> list[Check]:
    run = Cancellations(chance, size.cancels)
    await server.order("take_log")
    async with Client(server.base, retry=short_waits(), middlewares=[per_attempt(run.count)]) as client:
        api = client.api

        async def call(number: int) -> None:
            await run.cancel(number, api.get("/items/{id}", Item, path_params={"id": number}))

        await at_once(_CANCELLED_AT_ONCE, run.calls(), call)
        in_use = client.connections_in_use
        others = range(_OTHERS, _OTHERS + 500)
        good = await asyncio.gather(*(api.get("/prompt/{id}", Item, path_params={"id": n}) for n in others))
    log = await server.order("take_log", list[Record])
    sent = Counter(record.call for record in log if record.route == "items")
    unknown = sum(max(0, number - run.begun[call]) for call, number in sent.items())
    return [
        exactly(f"cancellations that the call swallowed, of {run.asked:,} at any time", run.swallowed, 0),
        exactly("attempts begun after the cancellation", run.begun_after, 0),
        exactly("requests on the wire beyond the attempts begun", unknown, 0),
        exactly("connections in use after that", in_use, 0),
        exactly("calls that succeed after that, of 500 at once", len({item.id for item in good}), 500),
    ]


async def _same_tick(server: Server, size: Size) -> list[Check]:
    """Cancellations that fall into the turn of the loop in which the call's own deadline does."""
    loop, asked, swallowed = asyncio.get_running_loop(), 0, 0

    async def meet(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        task: Any = asyncio.current_task()
        loop.call_at(request.deadline or 0, lambda: results[task].append(task.cancel()))
        return await handler(request)

    async with Client(server.base, middlewares=[meet]) as client:
        # Every other one shares its timer with the rest.
        limits = [0.1 + number % 2 * number * 1e-6 for number in range(size.cancels // 10)]
        tasks = [asyncio.ensure_future(client.api.get("/silent/1", timeout=limit)) for limit in limits]
        results: dict[Any, list[bool]] = {task: [] for task in tasks}
        await asyncio.wait(tasks)
        in_use = client.connections_in_use
    for task, answers in results.items():
        asked += any(answers)
        swallowed += any(answers) and not task.cancelled()
        _ = task.cancelled() or task.exception()
    return [
        exactly(f"cancellations swallowed, of {asked:,} in the turn in which a deadline fires", swallowed, 0),
        exactly("connections in use after that", in_use, 0),
    ]


# --- close()


async def _closings(server: Server) -> list[Check]:
    times: list[float] = []
    ends: Counter[str] = Counter()
    for _ in range(_CLOSINGS):
        await server.order("take_log")
        client = Client(server.base, AiohttpTransport(connector=lambda: aiohttp.TCPConnector(limit=120)))
        tasks = await _in_flight(client, server)
        start = time.monotonic()
        await client.api.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        times.append(time.monotonic() - start)
        ends.update(type(result).__name__ for result in results)
    note = f"{statistics.median(times) * 1e3:.0f} ms in the median of {_CLOSINGS}"
    return [
        exactly(
            "calls in flight that end with ClientClosedError, 200 at each close",
            ends[ClientClosedError.__name__],
            _IN_FLIGHT * _CLOSINGS,
        ),
        at_most("from `close()` until everything has ended, at best", min(times) * 1e3, 100, " ms", note),
    ]


async def _in_flight(client: Client, server: Server) -> list[asyncio.Task[Any]]:
    """200 calls: waiting for a retry, a head, the rest of a body, the next event, and a connection."""
    api, fifth = client.api, _IN_FLIGHT // 5

    async def stream() -> None:
        async with api.stream("GET", "/streams/2") as events:
            async for _ in events:
                pass

    def begin(route: str) -> list[asyncio.Task[Any]]:
        return [asyncio.create_task(api.get(f"/{route}/1")) for _ in range(fifth)]

    tasks = begin("busy")
    await server.until("requests", fifth)
    tasks += begin("silent") + begin("stalled") + [asyncio.create_task(stream()) for _ in range(fifth)]
    await server.until("requests", 4 * fifth)
    tasks += begin("prompt")  # all connections are taken
    await asyncio.sleep(0.1)
    return tasks
