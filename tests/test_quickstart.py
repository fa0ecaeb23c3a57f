"""The README's "Run it": examples/quickstart.py, run as a user runs it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from pytest_aiohttp import AiohttpServer

QUICKSTART = Path(__file__).parents[1] / "examples" / "quickstart.py"


def run(*arguments: str) -> tuple[int, str]:
    """Run the quickstart; return its exit code and its output."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-B", str(QUICKSTART), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout


@pytest.fixture(scope="module")
def output() -> str:
    """Its output without arguments, computed once for all tests."""
    code, text = run()
    assert code == 0, text
    return text


def test_the_quickstart_shows_each_misbehaviour_and_what_became_of_it(output: str) -> None:
    """The example has every kind of misbehaviour, with its attempts and its typed result or error."""
    shown = [part.splitlines() for part in output.strip().split("\n\n")]
    outcomes = [[line.split()[-1] for line in lines if line.startswith("  attempt")] for lines in shown]
    ends = [lines[-1].strip() for lines in shown]

    report = "-> Report(id=7, title='Rainfall')"
    assert list(zip(outcomes, ends, strict=True))[:6] == [
        (["200", "401", "200", "200"], "-> User(id=7, login='ada')"),
        (["503", "200"], report),
        (["APIConnectionError", "200"], report),
        (["APIConnectionError", "200"], report),
        (["APITimeoutError", "200"], report),
        (["off"], "-> APITimeoutError: GET /v1/stuck: not done within 0.5 s (total)"),
    ]
    wrong_shape, missing, redirect = ends[6:]
    assert wrong_shape.startswith("-> APIResponseValidationError")
    assert wrong_shape.endswith("Expected `int`, got `str` at $.id")
    assert missing == "-> NotFoundError: GET /v1/users/9: 404 Not Found: No such user"
    assert redirect == "-> Seen(headers_seen=['accept', 'accept-encoding', 'host', 'user-agent'])"


def test_client_and_server_of_the_quickstart_count_the_same(output: str) -> None:
    """For each call the server counted as many requests as the client reports; no send is hidden."""
    counts = re.findall(r"(\d+) sent, (\d+) counted", output)

    assert len(counts) == 9
    assert all(sent == counted for sent, counted in counts)


def test_the_wait_after_a_503_is_the_one_that_the_server_asked_for(output: str) -> None:
    """The second attempt after "Retry-After: 1" is made at least a second later."""
    waited = re.search(r"after (\d+\.\d\d) s\s+GET /v1/reports/7", output)

    assert waited is not None
    assert float(waited[1]) >= 1.0


async def test_the_quickstart_prints_what_a_real_api_answers(aiohttp_server: AiohttpServer) -> None:
    """With --base-url and --path it calls that API, and prints status, size and the body."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"path": request.path})

    app = web.Application()
    app.router.add_get("/v1/users/7", answer)
    server = await aiohttp_server(app)

    code, printed = await asyncio.to_thread(
        run, "--base-url", str(server.make_url("/v1")), "--path", "/users/7"
    )

    assert code == 0, printed
    first, second, body = printed.split("\n", 2)
    assert first == "200 OK from 127.0.0.1"
    assert second == "application/json, 23 bytes, 0 retries"
    assert json.loads(body) == {"path": "/v1/users/7"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/missing", "NotFoundError"), ("/../etc", "InvalidRequestError")],
)
async def test_the_quickstart_ends_with_1_when_the_call_fails(
    aiohttp_server: AiohttpServer, path: str, expected: str
) -> None:
    """A call that fails, or is refused, prints the typed error, no traceback, and exits with 1."""
    server = await aiohttp_server(web.Application())

    code, printed = await asyncio.to_thread(run, "--base-url", str(server.make_url("/")), "--path", path)

    assert code == 1
    assert printed.startswith(expected)
    assert len(printed.splitlines()) == 1
