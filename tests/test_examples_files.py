"""examples/upload_parts.py and examples/download_resume.py run, and print what they are there to show."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
BAR = [f"  [{'#' * 5 * step:20}] {25 * step:3} %" for step in range(1, 5)]


async def run(name: str) -> list[str]:
    """Run an example; the lines that it printed. A failure or a warning fails the test."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-B", str(EXAMPLES / name)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode().splitlines()


async def test_the_example_of_uploads() -> None:
    """Eight parts go up at once, one of them twice, then a form; each bar comes to its end, and once."""
    assert await run("upload_parts.py") == [
        "in eight parts:",
        *BAR,
        "  8388608 bytes, the same",
        "as a form:",
        *BAR,
        "  Tea, ['red', 'green'], tea.bin, cover.png",
        "  8388608 bytes, the same",
    ]


async def test_the_example_of_downloads() -> None:
    """A download goes on after two breaks and is checked; one with another digest makes no file."""
    assert await run("download_resume.py") == [
        "a server that hangs up twice:",
        "  4194304 bytes, progress 4194304",
        '  200 if None; 206 if "tea-1"; 206 if "tea-1";',
        "the same: True",
        "a file that is not what it was to be:",
        "  refused; there is only tea",
    ]
