"""The soak's steady load, while tokens are revoked, the name moves, and the server restarts and is down."""

from __future__ import annotations

import asyncio
import itertools
import socket
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from faulty_server import ADDRESSES, Item, Record
from soaking import (
    Check,
    Client,
    Server,
    Size,
    at_least,
    at_most,
    by_chance,
    exactly,
    growth,
    resident,
)

from aioapiclient import (
    AiohttpTransport,
    APIRequest,
    AsyncAPIResponse,
    BearerAuth,
    Handler,
    Timeout,
    per_send,
)
from aioapiclient.errors import APIError

TITLE = "A steady load, 500 calls a second, through revoked tokens, restarts and outages"
_RATE = 500  # calls a second
_GONE = 0.5  # seconds that a restart takes
_FELT = 3.0  # seconds for which a restart or an outage is felt when it is over
_RECOVERY = 5.0  # seconds
_BUCKET = 0.1  # seconds
_LOSS = 0.05**3  # the chance that three attempts fail, when every twentieth does
_ATTEMPT = 5.0  # seconds for an attempt; some get no answer
_FEWEST_CYCLES = 3  # in which memory growth can be told from noise


class Cycle(NamedTuple):
    """The times of the events, in seconds from the beginning of each cycle."""

    revoke: float
    move: float
    restart: float
    down: float
    up: float
    end: float


SHORT = Cycle(1, 2, 3, 7, 9, 15)
FULL = Cycle(3, 6, 8, 15, 45, 60)


class Span(NamedTuple):
    """Some time, by the loop's clock."""

    start: float
    end: float

    def meets(self, start: float, end: float) -> bool:
        """Whether the two times include a moment of it."""
        return self.start <= end and start <= self.end


class Moving(AbstractResolver):
    """Resolves every name to the current address of the server."""

    def __init__(self) -> None:
        self._turns = itertools.cycle(ADDRESSES)
        self.move()

    def move(self) -> None:
        """Resolve to the next address."""
        self.address = next(self._turns)

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> Any:
        """The address."""
        facts: Any = {"family": socket.AF_INET, "proto": 0, "flags": socket.AI_NUMERICHOST}
        return [ResolveResult(hostname=host, host=self.address, port=port, **facts)]

    async def close(self) -> None:
        """Close does nothing."""


class Load:
    """The calls: when each began, its number of sends, and how it ended; its size does not depend on their
    number.
    """

    def __init__(self, seconds: float) -> None:
        self.number = int(seconds * _RATE)
        self.began = array("d", bytes(8 * self.number))
        self.lost = array("d", bytes(8 * self.number))
        """When it had failed; 0 if it did not."""
        self.ends = array("B", bytes(self.number))
        self.sends = array("B", bytes(self.number))
        self.wrong = 0

    async def run(self, client: Client) -> None:
        """Start each call on time, whatever the others do; return when the last has ended."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(self.number):
                wait = start + number / _RATE - loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                self.began[number] = loop.time()
                group.create_task(self._call(client, number))

    async def _call(self, client: Client, number: int) -> None:
        try:
            item = await client.api.get("/steady/{id}", Item, path_params={"id": number})
        except APIError:
            self.lost[number] = asyncio.get_running_loop().time()
        else:
            self.wrong += item.id != number
        self.ends[number] += 1

    async def count(self, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        """A middleware that counts sends."""
        self.sends[int(request.url.name)] += 1
        return await handler(request)

    def begun_in(self, *spans: Span) -> list[int]:
        """The calls that began in one of *spans*."""
        return [call for call, at in enumerate(self.began) if any(span.meets(at, at) for span in spans)]

    def lost_in(self, *spans: Span) -> int:
        """Return the number of failed calls that overlapped one of *spans*."""
        ends = ((self.began[call], end) for call, end in enumerate(self.lost) if end)
        return sum(any(span.meets(*each) for span in spans) for each in ends)


class Events:
    """The events at the server, and their times."""

    def __init__(self, server: Server, cycle: Cycle, cycles: int) -> None:
        self.names = Moving()
        self.restarts: list[Span] = []
        self.outages: list[Span] = []
        self.strays = 0
        """Requests that came to the old address of the name."""
        self.fetched = 0
        self.memory: list[int] = []
        self._server = server
        self._cycle = cycle
        self._cycles = cycles

    async def fetch(self) -> str:
        """The next token."""
        self.fetched += 1
        return f"token-{self.fetched}"

    async def run(self) -> None:
        """All that happens, cycle by cycle."""
        loop, server = asyncio.get_running_loop(), self._server
        await server.order("refuse")  # immediately, from here on
        start = loop.time()
        for number in range(self._cycles):

            async def at(second: float, begin: float = start + number * self._cycle.end) -> float:
                await asyncio.sleep(begin + second - loop.time())
                return loop.time()

            await at(self._cycle.revoke)
            await server.order("set", token=f"token-{number + 2}")
            await at(self._cycle.move)
            left = self.names.address
            self.names.move()
            gone = await at(self._cycle.restart)
            await server.order("restart", seconds=_GONE)
            self.restarts.append(Span(gone, gone + _GONE + _FELT))
            await at(self._cycle.restart + _GONE + _FELT)
            strays = await self._requests_at(left)
            down = await at(self._cycle.down)
            await server.order("set", is_down=True)
            up = await at(self._cycle.up)
            await server.order("set", is_down=False)
            self.outages.append(Span(down, up))
            await at(self._cycle.end - 1)
            self.memory.append(resident())
            await at(self._cycle.end)
            self.strays += await self._requests_at(left) - strays

    async def _requests_at(self, address: str) -> int:
        counted: int = (await self._server.order("facts"))["requests_at"][address]
        return counted

    def trouble(self) -> Iterator[Span]:
        """When calls may fail for more than the faults of single attempts."""
        yield from self.restarts
        for outage in self.outages:
            yield Span(outage.start, outage.end + _FELT)


async def scenario(server: Server, seed: int, size: Size) -> list[Check]:
    """Checks of L1, L2, L6, L8, L14 and L16."""
    cycle, cycles = (FULL, size.minutes) if size.minutes else (SHORT, 1)
    events, load = Events(server, cycle, cycles), Load(cycle.end * cycles)
    transport = AiohttpTransport(
        connector=lambda: aiohttp.TCPConnector(resolver=events.names, ttl_dns_cache=1)
    )
    async with Client(
        server.base.replace("127.0.0.1", "service.test"),
        transport,
        auth=BearerAuth(events.fetch),
        timeout=Timeout(total=300, attempt=_ATTEMPT),
        middlewares=[per_send(load.count)],
    ) as client:
        async with asyncio.TaskGroup() as group:
            group.create_task(events.run())
            group.create_task(load.run(client))
        in_use = client.connections_in_use
    log = await server.order("take_log", list[Record])
    return [
        *_endings(load, events),
        *_requests(load, events, log),
        exactly("renewals of a token, for one revoked in each cycle", events.fetched - 1, cycles),
        exactly("requests to an address that the name no longer has", events.strays, 0),
        *_recovery(load, events, log),
        exactly("connections in use when all calls have ended", in_use, 0),
        *_memory(events, load),
    ]


def _endings(load: Load, events: Events) -> list[Check]:
    trouble = list(events.trouble())
    quiet = load.number - len(load.begun_in(*trouble))
    lost = load.number - load.lost.count(0) - load.lost_in(*trouble)
    restarted = load.lost_in(*events.restarts) / len(events.restarts)
    return [
        exactly("calls that ended exactly once", load.ends.count(1), load.number),
        exactly("calls that returned the value of another call", load.wrong, 0),
        by_chance(
            f"calls that failed, of {quiet:,} with a fault in every twentieth attempt", lost, quiet, _LOSS
        ),
        Check(f"calls that failed at a restart of {_GONE} s, on average", f"{restarted:.0f}"),
    ]


def _requests(load: Load, events: Events, log: list[Record]) -> list[Check]:
    seen = Counter(record.call for record in log)
    unknown = sum(max(0, number - load.sends[call]) for call, number in seen.items())
    # Calls in flight at the restart are written to a connection that the server no longer reads.
    restarted = set(load.begun_in(*(Span(span.start - _ATTEMPT, span.end) for span in events.restarts)))
    others = (call for call in range(load.number) if call not in restarted)
    missed = sum(load.sends[call] - seen[call] for call in others)
    return [
        exactly("requests on the wire that no attempt has sent", unknown, 0),
        exactly("attempts whose request the server has not seen, except for restarts", missed, 0),
        Check("requests per call, in total", f"{len(log) / load.number:.3f}"),
    ]


def _recovery(load: Load, events: Events, log: list[Record]) -> list[Check]:
    recoveries = [Span(outage.end, outage.end + _RECOVERY) for outage in events.outages]
    calls = load.begun_in(*recoveries)
    share = sum(not load.lost[call] for call in calls) / len(calls)
    again = (record.time for record in log if record.attempt)
    buckets = Counter(
        (number, int((time - span.start) / _BUCKET))
        for time in again
        for number, span in enumerate(recoveries)
        if span.meets(time, time)
    )
    length = events.outages[0].end - events.outages[0].start
    return [
        at_least(
            f"calls that succeed, of those begun in the {_RECOVERY:.0f} s after an outage of {length:.0f} s",
            100 * share,
            95,
            " %",
        ),
        at_most(
            f"retries in the busiest tenth of a second, in addition to {_RATE * _BUCKET:.0f} new ones",
            max(buckets.values(), default=0),
            _RATE * _BUCKET,
        ),
    ]


def _memory(events: Events, load: Load) -> list[Check]:
    memory = events.memory
    if len(memory) < _FEWEST_CYCLES:
        return []
    calls = load.number * (len(memory) - 1) // len(memory)
    return [at_most("memory growth over 100,000 calls, cycle by cycle", growth(memory, calls), 1, " MiB")]
