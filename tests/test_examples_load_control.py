"""The example of load control runs, in a process of its own, and prints what it shows."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "load_control.py"


async def test_the_example_of_load_control() -> None:
    """The careless client sends every call twice, the careful one once, and five at a time at most."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-B", str(EXAMPLE)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    careless, careful, *impatient = output.decode().splitlines()
    assert careless.startswith("careless: 41 requests, 21 refused, ")
    assert re.fullmatch("careful: 21 requests, 1 refused, [1-5] at once", careful)
    assert impatient == ["impatient: 1 in flight already", "impatient: not now"]
