"""The examples run, each in a process of its own, and print the expected output."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


async def run(example: str) -> list[str]:
    """Run an example; the lines that it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-B", str(EXAMPLES / example)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, logged = await process.communicate()

    assert process.returncode == 0, logged.decode()
    return output.decode().splitlines()


async def test_the_service() -> None:
    """Fifty calls ask for one token, and for one more after it was revoked."""
    assert await run("client_credentials.py") == [
        "50 calls: 200, and 1 token was asked for",
        "the token was revoked; 50 calls: 200, and 2 tokens were asked for",
    ]


async def test_the_command_line() -> None:
    """The first start asks a person, the second has the token, the third renews it."""
    assert await run("command_line.py") == [
        "Open https://login.example.net/device and type WDJB-MJHT.",
        "Hello, Ada.",
        "Hello, Ada.",
        "Hello, Ada.",
    ]


async def test_the_service_account() -> None:
    """Both assertions are taken."""
    pytest.importorskip("jwt")
    assert await run("service_account.py") == [
        "OAuth2('/token', 'my-client', grant=ClientCredentials()): hello, Ada",
        "OAuth2('/token', 'robot', grant=JWTBearer()): hello, Ada",
    ]


async def test_the_github_app() -> None:
    """One token serves both calls."""
    pytest.importorskip("jwt")
    assert await run("github_app.py") == ["['Bearer ghs_1'] ['Bearer ghs_1']"]
