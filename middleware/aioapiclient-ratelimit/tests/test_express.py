"""npm's express-rate-limit, five calls in a second, in each of its four dialects: no call is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aioapiclient_ratelimit import RateLimit
from npm_servers import npm_server

from aioapiclient import AsyncAPIClient, RateLimitError, per_send

SERVER = Path(__file__).parent / "servers/express"
DIALECTS = ("draft-6", "draft-7", "draft-8", "legacy")
LIMIT, MILLISECONDS, CALLS = 5, 1000, 12


@pytest.fixture(scope="module")
def express() -> Iterator[str]:
    """Run the server in a separate process; yield its URL."""
    with npm_server(SERVER, str(MILLISECONDS), str(LIMIT)) as line:
        word, _, port = line.partition(" ")
        assert word == "port"
        yield f"http://127.0.0.1:{port}"


async def call(url: str, dialect: str, name: str, *limits: RateLimit) -> int:
    """Make twelve calls, sequentially if the name ends so; return the number of refusals."""
    refused = 0
    caller = {"X-Caller": f"{name} {dialect}"}
    links = [per_send(limit) for limit in limits]
    async with AsyncAPIClient(url, middlewares=links, default_headers=caller, max_retries=0) as api:

        async def get() -> None:
            nonlocal refused
            try:
                await api.get(f"/{dialect}")
            except RateLimitError:
                refused += 1

        if name == "in turn":
            for _ in range(CALLS):
                await get()
        else:
            await asyncio.gather(*(get() for _ in range(CALLS)))
    return refused


async def test_without_limits_calls_are_refused(express: str) -> None:
    """The server refuses seven of twelve calls in each dialect, so the tests below are meaningful."""
    assert [await call(express, dialect, "careless") for dialect in DIALECTS] == [CALLS - LIMIT] * 4


@pytest.mark.parametrize("name", ["in turn", "at once"])
async def test_no_call_is_refused(express: str, name: str) -> None:
    """Twelve calls, sequential and concurrent, to an unknown server all pass; none is retried."""
    refused = await asyncio.gather(*(call(express, dialect, name, RateLimit()) for dialect in DIALECTS))
    assert refused == [0] * 4
    async with AsyncAPIClient(express) as api:
        served = await api.get("/served")
    for dialect in DIALECTS:
        assert served[f"{name} {dialect}"] == {"requests": CALLS, "refused": 0}
