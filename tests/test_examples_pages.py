"""examples/walk_pages.py runs, and walks what it says over real connections."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "walk_pages.py"


async def test_the_pages_example() -> None:
    """Every kind of list is walked to its end, and the archive elsewhere sees no credential."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-B", str(EXAMPLE)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    assert output.decode().splitlines() == [
        "all users, item by item:",
        *("  0 ada", "  1 bob", "  2 cyd", "  3 dan", "  4 eve", "  5 fay", "  6 gus"),
        "five of them, the next page asked for ahead:",
        "  ada bob cyd dan eve",
        "page by page:",
        "  page 1 of 3: 3 users",
        "  page 2 of 3: 3 users",
        "  page 3 of 3: 1 users",
        "by hand:",
        "  ['Black tea'] True",
        "  ['Green tea'] False",
        "a feed that says itself what comes next:",
        "  [9, 8, 7, 6, 5, 4, 3, 2, 1]",
        "Link headers, which lead to another origin:",
        "  ['new'] (with a credential)",
        "  ['old', 'older'] (without a credential)",
    ]
