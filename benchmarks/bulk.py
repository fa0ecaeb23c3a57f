"""The cost of a large body relative to plain aiohttp: 256 MiB downloaded in pieces and to a file, and
uploaded from a file.

CPU time of this process, all of its threads, one transfer at a time, each download into a new file. Removing
the last file is not measured. The other side is a hand-written loop; it writes in the event loop, and does
not sync.

Each ratio comes with two counts that do not depend on the machine's load: the bytecodes that the event
loop's thread executes for a MiB, and its trips to another thread. While counting, the client is slow,
so that each piece has the size of a full read.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import aiohttp
from measure import ROUNDS, Call, Row, batches, compare, running_server, table

from aioapiclient import AsyncAPIClient

MIB = 1 << 20
SIZE = 256 * MIB
PIECE = 64 << 10


def by_hand(session: aiohttp.ClientSession, base: str, source: Path, target: Path) -> dict[str, Call]:
    """The three transfers on plain aiohttp."""

    async def down() -> int:
        size = 0
        async with session.get(f"{base}/{SIZE}") as response:
            async for piece in response.content.iter_chunked(PIECE):
                size += len(piece)
        return size

    async def to_file() -> int:
        size = 0
        async with session.get(f"{base}/{SIZE}") as response:
            with open(target, "wb") as file:  # noqa: ASYNC230 - as one writes it by hand
                async for piece in response.content.iter_chunked(PIECE):
                    size += file.write(piece)
        return size

    async def up() -> int:
        with open(source, "rb") as file:  # noqa: ASYNC230 - as one writes it by hand
            async with session.post(f"{base}/", data=file) as response:
                return int(await response.read())

    return {"down": down, "to_file": to_file, "up": up}


def ours(api: AsyncAPIClient, source: Path, target: Path) -> dict[str, Call]:
    """The same with the client."""

    async def down() -> int:
        size = 0
        async with api.open("GET", f"/{SIZE}") as response:
            async for piece in response.iter_bytes():
                size += len(piece)
        return size

    async def to_file() -> int:
        async with api.open("GET", f"/{SIZE}") as response:
            return await response.write_to_file(target)

    async def up() -> int:
        return await api.post("/", int, content=source)

    return {"down": down, "to_file": to_file, "up": up}


class Counts:
    """Count the work of one transfer in the event loop's thread."""

    def __init__(self) -> None:
        self.bytecodes = 0
        self.trips = 0

    def __str__(self) -> str:
        mib = SIZE // MIB
        return f"{self.bytecodes / mib:.0f} bytecodes and {self.trips / mib:.1f} trips to a thread a MiB"

    def trace(self, frame: FrameType, event: str, argument: object) -> Any:
        """A trace function that counts bytecodes."""
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.bytecodes += event == "opcode"
        return self.trace


async def count(call: Call) -> Counts:
    """Count the work of one *call*, in a separate task, whose frames are new to the tracer."""
    loop: Any = asyncio.get_running_loop()
    counts, run_in_executor = Counts(), loop.run_in_executor

    def counted(*arguments: Any) -> Any:
        counts.trips += 1
        return run_in_executor(*arguments)

    async def run() -> None:
        await call()

    loop.run_in_executor = counted
    task = loop.create_task(run())
    sys.settrace(counts.trace)
    try:
        await task
    finally:
        sys.settrace(None)
        del loop.run_in_executor
    return counts


BARS: Mapping[str, tuple[str, float]] = {
    "down": ("256 MiB down in pieces, over iter_chunked(65536)", 1.10),
    "to_file": ("256 MiB down to a file, over the same loop with open and write", 1.10),
    "up": ("256 MiB up from a file, over session.post(data=file)", 1.15),
}


async def measure(name: str, base: str, source: Path, target: Path) -> Row:
    """The row of one transfer, on new connections: others may have the socket buffers of another transfer."""
    what, must = BARS[name]
    async with aiohttp.ClientSession() as session, AsyncAPIClient(base) as api:
        other, mine = by_hand(session, base, source, target)[name], ours(api, source, target)[name]
        assert await other() == await mine() == SIZE
        calls = {"bare": (other, 1), "ours": (mine, 1)}
        # Freeing the pages of a file takes a tenth of a download, and is counted for neither side.
        times = await batches(calls, ROUNDS, at_once=1, prepare=lambda: target.unlink(missing_ok=True))
        note = f"{await count(mine)}; plain aiohttp: {await count(other)}"
        return compare(what, times["ours"], times["bare"], must=must, goal=1.0, note=note)


def rows() -> list[Row]:
    """The rows of this module."""
    with running_server("bulk_server.py") as base, tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        with open(source, "wb") as file:
            file.writelines(bytes(MIB) for _ in range(0, SIZE, MIB))
        return [asyncio.run(measure(name, base, source, target)) for name in BARS]


if __name__ == "__main__":
    print(table(rows()))
