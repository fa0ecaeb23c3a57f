"""The example of typed streams runs, in a process of its own, and prints what it is there to show."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "stream_events.py"


async def test_the_example_of_streams() -> None:
    """A union skips what is new, an error ends its stream, a cut log comes whole, a loop is left."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-B", str(EXAMPLE)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    assert output.decode().splitlines() == [
        "text: Earl",
        "text: Grey",
        "tokens: 2",
        "skipped: 1",
        "text: Earl",
        "failed after 1: overloaded_error",
        "log: 1 2 3 4 5 6 7 8",
        "TEA: 100.5",
        "TEA: 101.5",
        'delta: {"type":"delta","text":"Earl"}',
        'audio: {"type":"audio","url":"/a.ogg"}',
        'delta: {"type":"delta","text":"Grey"}',
        'usage: {"type":"usage","tokens":2}',
        "message: [DONE]",
    ]
