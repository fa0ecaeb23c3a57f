"""The example runs in a separate process, and prints the expected output."""

from __future__ import annotations

import re
from pathlib import Path

from programs import run

EXAMPLES = Path(__file__).parents[1] / "examples"


async def test_the_example_of_recorded_calls() -> None:
    """Two log lines, two waterfalls with a bar for each send, and the sends counted by their outcome."""
    output = "\n".join(await run("-X", "utf8", EXAMPLES / "record_calls.py"))

    text = re.sub(r", waited N ms|http://[\d.:]+", "", re.sub(r"\d+ ms", "N ms", output))
    lines = [re.sub(r"[c▒█ ]{3,}", " | ", line) for line in text.splitlines()]
    assert lines == [
        "INFO GET /items/7: status 503, again in 0.02 s",
        "INFO GET /items/{id} 200 in N ms, 2 attempts",
        "INFO GET /items/{id} 404 in N ms, 1 attempt",
        "GET /items/{id} 200 in N ms, 2 attempts",
        "#1 | 503 N ms",
        "#2 | 200 N ms reused",
        "GET /items/{id} 404 in N ms, 1 attempt",
        "#1 | 404 N ms reused",
        "200 1.0",
        "404 1.0",
        "503 1.0",
    ]
