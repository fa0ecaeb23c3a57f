"""The example of a circuit breaker runs, in a process of its own, and prints what it is there to show."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "circuit_breaker.py"


async def test_the_example_of_a_circuit_breaker() -> None:
    """Three failures open it, three calls are refused and reach nobody, two successes close it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-B", str(EXAMPLE)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, logged = await process.communicate()

    assert process.returncode == 0, logged.decode()
    assert logged.decode().endswith(" opens for 1 s: 3 of 4 requests failed\n")
    assert output.decode().splitlines() == [
        "closed: 1.08",
        "asked 1 times",
        "closed: 1.08, as of before; the service answered 503",
        "closed: 1.08, as of before; the service answered 503",
        "closed: 1.08, as of before; the service answered 503",
        "open: 1.08, as of before; ask again in 1 s",
        "open: 1.08, as of before; ask again in 1 s",
        "open: 1.08, as of before; ask again in 1 s",
        "asked 4 times",
        "half-open: 1.08",
        "half-open: 1.08",
        "closed: 1.08",
        "asked 7 times",
    ]
