"""The example and the program of the README run in separate processes, and print the expected output."""

from __future__ import annotations

import re
from pathlib import Path

from programs import run

HOME = Path(__file__).parents[1]


async def test_the_example() -> None:
    """Each customer has separate prices, fifty calls are one request, and an outage has no effect."""
    lines = await run(HOME / "examples/cached_prices.py")
    assert [re.sub(r"ttl=-?\d+", "ttl=N", line) for line in lines] == [
        "/prices: {'for': 'ada'} (aioapiclient; fwd=uri-miss; fwd-status=200; stored; ttl=N)",
        "/prices: {'for': 'bob'} (aioapiclient; fwd=uri-miss; fwd-status=200; stored; ttl=N)",
        "/prices: {'for': 'ada'} (aioapiclient; hit; ttl=N)",
        "50 calls at once: 1 request, 49 shared its answer",
        "/catalogue: ['tea', 'cake'] (aioapiclient; fwd=uri-miss; fwd-status=200; stored; ttl=N)",
        "/catalogue: ['tea', 'cake'] (aioapiclient; fwd=stale; fwd-status=304; ttl=N)",
        "/catalogue: ['tea', 'cake'] (aioapiclient; fwd=stale; fwd-status=503; detail=stale-if-error; ttl=N)",
    ]


async def test_the_program_of_the_readme(tmp_path: Path) -> None:
    """The first program of the README prints the text below it."""
    readme = (HOME / "README.md").read_text()
    program, output = re.findall(r"```(?:python|text)\n(.*?)```", readme, re.DOTALL)[:2]
    (tmp_path / "program.py").write_text(program)
    assert await run(tmp_path / "program.py") == output.splitlines()
