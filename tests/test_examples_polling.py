"""The example of long-running operations runs, in a process of its own, and prints what it shows."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "poll_operation.py"


async def test_the_example_of_operations() -> None:
    """Three kinds of operation end with their results, one fails, one is out of time, one is raw."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-B", str(EXAMPLE)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    assert output.decode().splitlines() == [
        "Report(title='Tea', pages=12)",
        "Machine(name='m1', size=4)",
        "validating -> completed",
        "a line for each request",
        "failed: QuotaExceeded",
        "total: in_progress, 300.0 s more",
        "3 Milk",
    ]
