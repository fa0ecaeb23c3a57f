"""The examples run, each in a process of its own, and print the expected output."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


async def run(example: str) -> tuple[list[str], str]:
    """Run an example; return its output lines and its log."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-B", str(EXAMPLES / example)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, logged = await process.communicate()

    assert process.returncode == 0, logged.decode()
    return output.decode().splitlines(), logged.decode()


async def test_the_example_of_load_control() -> None:
    """The careless client sends every call twice, the careful one once, and five at a time at most."""
    (careless, careful, *impatient), _ = await run("load_control.py")

    assert careless.startswith("careless: 41 requests, 21 refused, ")
    assert re.fullmatch("careful: 21 requests, 1 refused, [1-5] at once", careful)
    assert impatient == ["impatient: 1 in flight already", "impatient: not now"]


async def test_the_example_of_a_circuit_breaker() -> None:
    """Three failures open it, three calls are refused and sent nowhere, two successes close it."""
    lines, logged = await run("circuit_breaker.py")

    assert logged.endswith(" opens for 1 s: 3 of 4 requests failed\n")
    assert lines == [
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
