"""The cost of many concurrent calls relative to plain aiohttp: 10,000 started together, and 1,000 open
streams.

CPU time of a call, and the most memory that the process takes beyond what it had after one call. Each side
runs in fresh processes, in turns, for the peak of a process never falls. Both have up to 1000 connections.

    python benchmarks/many_at_once.py                     the table
    python benchmarks/many_at_once.py BASE SIDE KIND      one measurement, as JSON
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from bytecodes import Bytecodes
from measure import ROUNDS, Call, Item, Page, Row, compare, running_server, table

from aioapiclient import AsyncAPIClient, Timeout

TOGETHER, STREAMS, EVENTS = 10_000, 1_000, 20
COUNTED = 200  # calls, or streams, whose bytecodes are counted: that is slow
ROUNDS_OF_PROCESSES = max(ROUNDS // 12, 3)

Wait = Callable[[], Awaitable[object]]


@asynccontextmanager
async def ours(base: str, when_open: Wait) -> AsyncIterator[tuple[Call, Call]]:
    """A call and a stream of the client; *when_open* is awaited while the stream is open."""
    # On a busy loop, the first connections wait as long as plain aiohttp allows.
    async with AsyncAPIClient(base, timeout=Timeout(connect=30)) as api:

        async def call() -> Page:
            return await api.get("/page", Page)

        async def stream() -> None:
            seen = 0
            async with api.stream("GET", "/held", Item) as events:
                async for _ in events:
                    seen += 1
                    if seen == EVENTS:
                        break
                await when_open()

        yield call, stream


@asynccontextmanager
async def by_hand(base: str, when_open: Wait) -> AsyncIterator[tuple[Call, Call]]:
    """The same on plain aiohttp."""
    page, item = msgspec.json.Decoder(Page).decode, msgspec.json.Decoder(Item).decode
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1000)) as session:

        async def call() -> Page:
            async with session.get(f"{base}/page") as response:
                return page(await response.read())

        async def stream() -> None:
            seen, rest = 0, b""
            async with session.get(f"{base}/held") as response:
                while seen < EVENTS:
                    *events, rest = (rest + await response.content.readany()).split(b"\n\n")
                    for event in events:
                        item(event[event.index(b"data: ") + 6 :])
                        seen += 1
                await when_open()

        yield call, stream


async def run(side: str, kind: str, base: str) -> dict[str, float]:
    """CPU seconds, bytecodes and bytes of one call, or of one stream."""
    number = TOGETHER if kind == "calls" else STREAMS
    gate = Gate()
    async with (ours if side == "ours" else by_hand)(base, gate.wait) as (call, stream):
        work = call if kind == "calls" else stream
        gate.awaited = 1
        await work()
        before, start = peak(), time.process_time()
        gate.awaited = number
        await asyncio.gather(*(work() for _ in range(number)))
        spent, grown = time.process_time() - start, peak() - before
        gate.awaited = COUNTED
        with Bytecodes() as counted:
            await asyncio.gather(*(work() for _ in range(COUNTED)))
    return {"cpu": spent / number, "peak": grown / number, "bytecodes": counted.count / COUNTED}


class Gate:
    """Opens when as many wait as are awaited."""

    def __init__(self) -> None:
        self.awaited = 0
        self._waiting = 0
        self._open = asyncio.Event()

    async def wait(self) -> None:
        self._waiting += 1
        if self._waiting < self.awaited:
            await self._open.wait()
            return
        self._waiting = 0
        self._open.set()
        self._open = asyncio.Event()


def peak() -> int:
    """The most bytes that this process has had in memory."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes << 10


def measured(side: str, kind: str, base: str) -> dict[str, float]:
    """Return the result of `run`, from a separate process."""
    command = [sys.executable, __file__, base, side, kind]
    found: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def rows_of(kind: str, what: str, base: str) -> list[Row]:
    """A row for the CPU time, and one for the memory."""
    found: dict[str, list[dict[str, float]]] = {"ours": [], "by hand": []}
    for _ in range(ROUNDS_OF_PROCESSES):
        for side, measurements in found.items():
            measurements.append(measured(side, kind, base))
    figures = {
        name: [[one[name] for one in found[side]] for side in ("ours", "by hand")]
        for name in ("cpu", "peak", "bytecodes")
    }
    one, other = (statistics.median(counts) for counts in figures["bytecodes"])
    kib = [statistics.median(peaks) / 1024 for peaks in figures["peak"]]
    return [
        compare(f"{what}: CPU, over plain aiohttp", *figures["cpu"], bytecodes=(one, other)),
        compare(
            f"{what}: peak memory, over plain aiohttp",
            *figures["peak"],
            note=f"{kib[0]:.1f} KiB each; by hand: {kib[1]:.1f} KiB",
        ),
    ]


def rows() -> list[Row]:
    """The rows of this module."""
    with running_server() as base:
        return [
            *rows_of("calls", "10,000 typed GETs started together", base),
            *rows_of("streams", "1,000 typed streams open at once", base),
        ]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        address, side, kind = sys.argv[1:]
        print(json.dumps(asyncio.run(run(side, kind, address))))
    else:
        print(table(rows()))
