"""The bytecodes that a call executes: a figure that does not depend on the machine or its load.

It counts the Python code of this thread, including the event loop, but neither C code nor the kernel. So it
shows whether a change removed work, not how much time that saved.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

__all__ = ["Bytecodes", "bytecodes"]

WARM = 60
"""Calls before the count: connections are opened, caches filled."""

CALLS = 25


class Bytecodes:
    """Counts the bytecodes of all frames that begin, or resume, in a ``with`` block."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Bytecodes:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.count += event == "opcode"
        return self._trace


async def bytecodes(call: Callable[[], Awaitable[object]], calls: int = CALLS, warm: int = WARM) -> float:
    """Bytecodes of one warm *call*: the median of *calls*, one at a time."""
    for _ in range(warm):
        await call()
    counts: list[int] = []
    for _ in range(calls):
        await asyncio.sleep(0)
        with Bytecodes() as counted:
            await call()
        counts.append(counted.count)
    return statistics.median(counts)
