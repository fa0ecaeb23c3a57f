"""Each example runs in a separate process, and prints the expected output."""

from __future__ import annotations

import re
from pathlib import Path

from programs import run_with_log

EXAMPLES = Path(__file__).parents[1] / "examples"


async def test_the_example_of_load_control() -> None:
    """The careless client sends every call twice, the careful one once, and five at a time at most."""
    (careless, careful, *impatient), _ = await run_with_log(EXAMPLES / "load_control.py")

    assert careless.startswith("careless: 41 requests, 21 refused, ")
    assert re.fullmatch("careful: 21 requests, 1 refused, [1-5] at once", careful)
    assert impatient == ["impatient: 1 in flight already", "impatient: not now"]


async def test_the_example_of_a_circuit_breaker() -> None:
    """Three failures open it, three calls are refused and sent nowhere, two successes close it."""
    lines, log = await run_with_log(EXAMPLES / "circuit_breaker.py")

    assert log[-1].endswith(" opens for 1 s: 3 of 4 requests failed")
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
