"""The README's program and the example run in separate processes, and print the expected output."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import aiohttp
from programs import run_with_log
from servers import unused_port

HOME = Path(__file__).parents[1]


async def test_the_program_of_the_readme() -> None:
    """The first program of the README prints the output shown below it."""
    text = (HOME / "README.md").read_text(encoding="utf-8")
    program, output = re.findall(r"^```(?:python|console)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[1:3]
    printed, _ = await run_with_log("-c", program)
    assert printed == output.splitlines()


async def test_the_example_with_a_server_of_its_own() -> None:
    """Without the URL of a server the example starts one, greets, passes on a stream, and keeps the
    deadline.
    """
    port = unused_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", str(HOME / "examples" / "greeter.py"), str(port)),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        await asyncio.wait_for(process.stdout.readuntil(b"CTRL+C to quit)\n"), 60)
        found: list[tuple[int, str]] = []
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for path, seconds in (("/hello/7", "60"), ("/hello/8", "60"), ("/hello/slow", "0.5")):
                async with session.get(path, headers={"X-Request-Timeout": seconds}) as response:
                    found.append((response.status, response.content_type))
            async with session.get("/report") as response:
                assert await response.text() == "line 0\nline 1\nline 2\n"
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0
    problem = "application/problem+json"
    assert found == [(200, "application/json"), (404, problem), (504, problem)]
