"""Shared by the benchmarks: rows with their bars, batches of calls in turns, and the server's process."""

from __future__ import annotations

import asyncio
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

Call = Callable[[], Awaitable[object]]

ROUNDS = int(os.environ.get("BENCHMARK_ROUNDS", "60"))
"""Rounds of each row; use more on a noisy machine."""

AT_ONCE = 32


class Item(msgspec.Struct):
    id: int
    name: str
    email: str


class Page(msgspec.Struct):
    items: list[Item]


@dataclass(frozen=True)
class Row:
    """One line of the table: a ratio (or a count) and its bars, which it must not exceed."""

    what: str
    measured: float
    must: float | None = None
    goal: float | None = None
    least: float | None = None
    """The ratio of the smallest measurements, because noise only adds to a measurement."""
    spread: tuple[float, float] | None = None
    """The quartiles of the ratios of all rounds."""
    bytecodes: tuple[float, float] | None = None
    """Bytecodes of each side, ours first: noise does not affect them."""
    at_least: bool = False
    """Whether the bars are to be reached, and not to be kept below."""
    note: str = ""

    def reaches(self, bar: float) -> bool:
        """Whether *bar* is met; the figure is rounded as printed."""
        measured = round(self.measured, 2)
        return measured >= bar if self.at_least else measured <= bar

    @property
    def failed(self) -> bool:
        """Whether the "must" bar is missed."""
        return self.must is not None and not self.reaches(self.must)

    @property
    def verdict(self) -> str:
        """The result in words."""
        if self.must is None:
            return ""
        if self.failed:
            return "**missed**"
        return "goal" if self.goal is not None and self.reaches(self.goal) else "must"

    @property
    def figures(self) -> str:
        """The ratio, with its quartiles and the ratio of the least."""
        if self.spread is None:
            return f"{self.measured:.2f}"
        least = "" if self.least is None else f"; least {self.least:.2f}"
        return f"{self.measured:.2f} ({self.spread[0]:.2f} to {self.spread[1]:.2f}{least})"

    @property
    def counted(self) -> str:
        """The ratio of the bytecodes, and both counts."""
        if self.bytecodes is None:
            return ""
        one, other = self.bytecodes
        return f"{one / other:.3f}: {one:.0f} / {other:.0f}"


def compare(what: str, times: Sequence[float], base: Sequence[float], **bars: Any) -> Row:
    """*times* over *base*, which were measured in turns: the median of the ratios of the rounds."""
    ratios = [one / other for one, other in zip(times, base, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return Row(what, statistics.median(ratios), least=min(times) / min(base), spread=(low, high), **bars)


def in_turns(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure each of *runs*, round by round, in a changing order."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            times[name].append(runs[name]())
    return times


async def batch(call: Call, calls: int, at_once: int = AT_ONCE) -> float:
    """CPU seconds, of this process, of one of *calls* calls, *at_once* at a time."""

    async def worker() -> None:
        for _ in range(calls // at_once):
            await call()

    start = time.process_time()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return (time.process_time() - start) / calls


async def batches(
    calls: Mapping[str, tuple[Call, int]],
    rounds: int,
    at_once: int = AT_ONCE,
    prepare: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """CPU seconds per call of each of *calls* (with its batch size), round by round, in turns.

    *prepare* is called before each batch, and not measured.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call, size in calls.values():
        prepare()
        await batch(call, size, at_once)  # connections are opened, caches filled
    order = list(calls)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            call, size = calls[name]
            prepare()
            times[name].append(await batch(call, size, at_once))
    return times


@contextmanager
def running_server(program: str = "server.py") -> Iterator[str]:
    """Start a server of these benchmarks in a separate process; yield its base URL."""
    command = [sys.executable, str(Path(__file__).with_name(program))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def optional(*names: str) -> Any:
    """Return the first of these modules that is installed; None if none is."""
    for name in names:
        with suppress(ImportError):
            return import_module(name)
    return None


def microseconds(times: Sequence[float]) -> str:
    """The least and the median, for notes."""
    return f"{min(times) * 1e6:.0f} us at least, {statistics.median(times) * 1e6:.0f} in the median"


def table(rows: Sequence[Row]) -> str:
    """*rows* as a table in Markdown."""
    return side_by_side({f"CPython {platform.python_version()}": rows})


def side_by_side(by_python: Mapping[str, Sequence[Row]]) -> str:
    """Return the rows of several Pythons as one Markdown table, followed by their notes."""
    columns = [column for name in by_python for column in (name, "Bytecodes")]
    head = ("What", *columns, "Must", "Goal", "Meets")
    named = {name: {row.what: row for row in rows} for name, rows in by_python.items()}
    whats = dict.fromkeys(what for rows in named.values() for what in rows)
    lines = [_cells(what, [rows.get(what) for rows in named.values()]) for what in whats]
    notes = [
        f"* {name}, {row.what}: {row.note}." for name, rows in by_python.items() for row in rows if row.note
    ]
    ruled = [head, tuple("---" for _ in head), *lines]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in ruled), "", *notes])


def _cells(what: str, rows: Sequence[Row | None]) -> tuple[str, ...]:
    found = [row for row in rows if row is not None]
    sign = ">= " if found[0].at_least else "<= "
    bars = ["" if bar is None else f"{sign}{bar:g}" for bar in (found[0].must, found[0].goal)]
    figures = [cell for row in rows for cell in (("", "") if row is None else (row.figures, row.counted))]
    verdicts = {row.verdict for row in found}
    worst = next(verdict for verdict in ("**missed**", "must", "goal", "") if verdict in verdicts)
    return (what, *figures, *bars, worst)
