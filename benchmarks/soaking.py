"""Shared by the scenarios of the soak: checks, the server's process, and the measurements for leaks."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import math
import os
import resource
import statistics
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import CoroutineType, FrameType, TracebackType
from typing import Any, NamedTuple

import backoff
import msgspec

from aioapiclient import AiohttpTransport, AsyncAPIClient, RetryPolicy, Timeout

MIB = 1 << 20
_PAGE = resource.getpagesize()
_SETTLE = 0.2  # seconds that closed sockets may take to leave the loop


class Size(NamedTuple):
    """The sizes of the scenarios; the short run is for every change, the full one for the docs."""

    calls: int
    parts: int
    """The number of parts, with a memory measurement after each."""
    memory: float
    """MiB that the process may grow with 100,000 of them, after a warm-up."""
    cancels: int
    rounds: int
    """Of a thousand calls that hang."""
    events: int
    """Events of each stream."""
    minutes: int
    """Minutes of the steady load; 0 means a quarter of a minute in which more happens."""


class Check(NamedTuple):
    """One line of the table: a promise, and whether it was kept."""

    promise: str
    measured: str
    bar: str = ""
    kept: bool | None = None
    """None: no bar, the value is only reported."""

    @property
    def verdict(self) -> str:
        """The result in one word."""
        return "" if self.kept is None else "kept" if self.kept else "**missed**"


def exactly(promise: str, measured: int, expected: int, note: str = "") -> Check:
    """*measured* is to be *expected*."""
    said = f"{measured:,} ({note})" if note else f"{measured:,}"
    return Check(promise, said, f"{expected:,}", measured == expected)


def at_most(promise: str, measured: float, bar: float, unit: str = "", note: str = "") -> Check:
    """*measured* is to be *bar* or less."""
    said = f"{measured:,.4g}{unit}"
    return Check(promise, f"{said} ({note})" if note else said, f"<= {bar:g}{unit}", measured <= bar)


def at_least(promise: str, measured: float, bar: float, unit: str = "") -> Check:
    """*measured* is to be *bar* or more."""
    return Check(promise, f"{measured:,.4g}{unit}", f">= {bar:g}{unit}", measured >= bar)


def by_chance(promise: str, measured: int, number: int, share: float) -> Check:
    """Check that *measured* of *number* events, each with the probability *share*, is within 3 sigma.

    The tails are those of the binomial distribution itself, which is not normal for rare events.
    """
    mean, sigma = number * share, math.sqrt(number * share * (1 - share))
    side = range(measured, number + 1) if measured > mean else range(measured + 1)
    tail = math.fsum(_chance(count, number, share) for count in side)
    return Check(promise, f"{measured:,}", f"{mean:,.1f} ± {3 * sigma:,.1f}", tail >= _THREE_SIGMA)


_THREE_SIGMA = math.erfc(3 / math.sqrt(2)) / 2  # of one side


def _chance(count: int, number: int, share: float) -> float:
    ways = math.lgamma(number + 1) - math.lgamma(count + 1) - math.lgamma(number - count + 1)
    return math.exp(ways + count * math.log(share) + (number - count) * math.log1p(-share))


def table(found: Mapping[str, Iterable[Check]]) -> str:
    """Return the checks by title, as one table in Markdown."""
    lines = [("Promise", "Measured", "Bar", ""), ("---",) * 4]
    for title, checks in found.items():
        lines.append((f"**{title}**", "", "", ""))
        lines += [(check.promise, check.measured, check.bar, check.verdict) for check in checks]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


# --- client and server


class Server:
    """The server's process, as the client sees it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self._process = process

    async def order(self, name: str, cast_to: Any = Any, **values: Any) -> Any:
        """Give the server an order, and return its answer."""
        _, orders, answers = _pipes(self._process)
        orders.write(msgspec.json.encode((name, values)) + b"\n")
        return msgspec.json.decode(await answers.readuntil(b"\n"), type=cast_to)

    async def until(self, fact: str, number: int) -> None:
        """Wait until the server's *fact* has reached *number*."""
        async with asyncio.timeout(120):
            while (await self.order("facts"))[fact] < number:  # noqa: ASYNC110 - another process counts
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running_server(seed: int) -> AsyncIterator[Server]:
    """The server, in a separate process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("faulty_server.py")),
        str(seed),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 30,  # its log is one line
    )
    process, orders, answers = _pipes(process)
    try:
        yield Server(process, int(await answers.readline()))
    finally:
        orders.close()  # which ends it
        await asyncio.wait_for(process.wait(), 30)
    if process.returncode:
        raise RuntimeError("the server failed: see above")


def _pipes(process: Any) -> tuple[Any, Any, Any]:
    return process, process.stdin, process.stdout


def short_waits(**options: Any) -> RetryPolicy:
    """The default policy, with waits that suit a loopback."""
    return RetryPolicy(wait=lambda: backoff.expo(base=2, factor=0.01, max_value=0.1), **options)


PATIENT = Timeout(total=300, connect=60)
"""Opening a thousand connections together takes a busy machine more than the default of 5 s."""


class Client:
    """A client with its default chain, and the connector below it, for measurements."""

    def __init__(
        self,
        base: str,
        transport: AiohttpTransport | None = None,
        *,
        timeout: Timeout = PATIENT,
        **options: Any,
    ) -> None:
        self._transport = transport or AiohttpTransport()
        self.api = AsyncAPIClient(base, transport=self._transport, timeout=timeout, **options)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.api.close()

    @property
    def connections_in_use(self) -> int:
        """How many are out of the pool. Hooks: `_session`, `_acquired`."""
        session: Any = self._transport._session
        return 0 if session is None else len(session.connector._acquired)


async def at_once(number: int, work: Iterable[int], call: Callable[[int], Awaitable[object]]) -> None:
    """Run *call* for each of *work*, *number* of them concurrently."""
    left = iter(work)

    async def worker() -> None:
        for one in left:
            await call(one)

    async with asyncio.TaskGroup() as group:
        for _ in range(number):
            group.create_task(worker())


# --- leaks


class Footprint(NamedTuple):
    """The resources that this process holds."""

    descriptors: int
    tasks: int
    timers: int
    threads: int


async def footprint() -> Footprint:
    """Measure the resources after closed ones have been released. Hook: the loop's `_scheduled`."""
    await asyncio.sleep(_SETTLE)
    gc.collect()
    loop: Any = asyncio.get_running_loop()
    return Footprint(
        len(os.listdir("/proc/self/fd")),
        len(asyncio.all_tasks()),
        sum(not timer.cancelled() for timer in loop._scheduled),
        threading.active_count(),
    )


def resident() -> int:
    """Return the bytes of memory that this process needs in RAM, without those that its allocator only
    keeps.
    """
    with contextlib.suppress(AttributeError):  # glibc's alone can
        ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def growth(memory: Sequence[int], calls: int) -> float:
    """MiB with 100,000 calls: the slope of *memory*, looked at again and again during so many."""
    slope, _ = statistics.linear_regression(range(len(memory)), memory)
    return slope / MIB * (len(memory) - 1) / calls * 100_000


class Left(NamedTuple):
    """The objects that exist while no call is in flight."""

    memory: int
    """Bytes."""
    blocks: int
    """Blocks of memory, of any type of object."""
    objects: Counter[str]
    """Count the objects of a call's types, except connections: some more of those may be open."""


def left() -> Left:
    """Return the current counts."""
    gc.collect()
    blocks = sys.getallocatedblocks()
    found = Counter(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in map(type, gc.get_objects())
        if kind in _OF_CALLS or str(kind.__module__).startswith(_MODULES_OF_CALLS)
    )
    return Left(resident(), blocks, found)


_OF_CALLS = frozenset({asyncio.Future, asyncio.Task, CoroutineType, FrameType, TracebackType})
_MODULES_OF_CALLS = (
    "aioapiclient.errors",
    "aioapiclient.middleware",
    "aioapiclient._re",  # request and response
    "aioapiclient._cancel_scope",
    "aioapiclient._transport.errors",
    "aioapiclient._transport.response_body",
    "aiohttp.client_reqrep",
)
