"""The example runs in a separate process, and prints the expected output."""

from __future__ import annotations

import re
from pathlib import Path

from programs import run

EXAMPLE = Path(__file__).parents[1] / "examples/rate_limit.py"


async def test_the_example() -> None:
    """The careless client is refused, the two others are not; a call with a short timeout fails before it
    waits.
    """
    careless, learning, knowing, hurried = await run(EXAMPLE)

    assert re.fullmatch("careless: 12 requests, [1-7] refused", careless)
    assert learning == "learning: 12 requests, 0 refused"
    assert knowing == "knowing: 12 requests, 0 refused"
    assert re.fullmatch(r"in a hurry: not sent, its turn comes in 0\.[12] s", hurried)
