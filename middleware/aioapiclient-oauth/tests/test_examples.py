"""Each example runs in a separate process, and prints the expected output."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import run

EXAMPLES = Path(__file__).parents[1] / "examples"


async def test_the_service() -> None:
    """Fifty calls request one token, and another one after it was revoked."""
    assert await run(EXAMPLES / "client_credentials.py") == [
        "50 calls: 200, and 1 token was asked for",
        "the token was revoked; 50 calls: 200, and 2 tokens were asked for",
    ]


async def test_the_command_line() -> None:
    """The first start asks the user to log in, the second has the token, the third renews it."""
    assert await run(EXAMPLES / "command_line.py") == [
        "Open https://login.example.net/device and type WDJB-MJHT.",
        "Hello, Ada.",
        "Hello, Ada.",
        "Hello, Ada.",
    ]


async def test_the_service_account() -> None:
    """Both assertions are accepted."""
    pytest.importorskip("jwt")
    assert await run(EXAMPLES / "service_account.py") == [
        "OAuth2('/token', 'my-client', grant=ClientCredentials()): hello, Ada",
        "OAuth2('/token', 'robot', grant=JWTBearer()): hello, Ada",
    ]


async def test_the_github_app() -> None:
    """One token serves both calls."""
    pytest.importorskip("jwt")
    assert await run(EXAMPLES / "github_app.py") == ["['Bearer ghs_1'] ['Bearer ghs_1']"]
