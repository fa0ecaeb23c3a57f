"""haproxy, five requests of a caller in a while, counted by stick tables in two ways: no call is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aioapiclient_ratelimit import RateLimit
from integration.processes import listening
from needed_servers import need_program

from aioapiclient import AsyncAPIClient, RateLimitError, per_send

LIMIT, CALLS = 5, 12

# /fixed counts in windows of two seconds, and reports the end of the window in seconds since 1970. /sliding
# keeps a rate per second, which decays: two seconds after the last request it is 0.
CONFIGURATION = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s

backend fixed
  stick-table type string len 64 size 10k expire 1m store http_req_cnt
backend sliding
  stick-table type string len 64 size 10k expire 1m store http_req_rate(1s)

frontend front
  bind 127.0.0.1:{port}
  http-request set-var(txn.window) date,div(2)
  http-request set-var-fmt(txn.key) "%[hdr(X-Caller)] %[var(txn.window)]"
  http-request track-sc0 var(txn.key) table fixed if {{ path /fixed }}
  http-request track-sc0 hdr(X-Caller) table sliding if {{ path /sliding }}

  http-request set-var(txn.used) sc_http_req_cnt(0) if {{ path /fixed }}
  http-request set-var(txn.reset) var(txn.window),add(1),mul(2) if {{ path /fixed }}
  http-request set-var(txn.used) sc_http_req_rate(0) if {{ path /sliding }}
  http-request set-var(txn.reset) int(2) if {{ path /sliding }}

  acl too_many var(txn.used),sub({limit}) gt 0
  http-request set-var(txn.left) int({limit}),sub(txn.used)
  http-request set-var(txn.left) int(0) if too_many
  http-request return status 429 {headers} if too_many
  http-request return status 200 content-type application/json string "{{}}" {headers}
"""
HEADERS = " ".join(
    f'hdr X-RateLimit-{name} "{value}"'
    for name, value in {
        "Limit": LIMIT,
        "Remaining": "%[var(txn.left)]",
        "Reset": "%[var(txn.reset)]",
    }.items()
)


@pytest.fixture(scope="module")
def haproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the server in a separate process; yield its URL."""
    program, folder = need_program("haproxy"), tmp_path_factory.mktemp("haproxy")

    def command(port: int) -> list[str]:
        file = folder / "configuration"
        file.write_text(CONFIGURATION.format(port=port, limit=LIMIT, headers=HEADERS))
        return [program, "-db", "-f", str(file)]

    with listening(command, folder) as url:
        yield url


async def call(url: str, caller: str, *limits: RateLimit, in_turn: bool) -> int:
    """Make twelve calls, concurrently or sequentially; return the number of refusals."""
    refused = 0
    links = [per_send(limit) for limit in limits]
    async with AsyncAPIClient(
        url, middlewares=links, default_headers={"X-Caller": caller}, max_retries=0
    ) as api:

        async def get() -> None:
            nonlocal refused
            try:
                await api.get("")
            except RateLimitError:
                refused += 1

        if in_turn:
            for _ in range(CALLS):
                await get()
        else:
            await asyncio.gather(*(get() for _ in range(CALLS)))
    return refused


@pytest.mark.parametrize("way", ["fixed", "sliding"])
async def test_without_limits_calls_are_refused(haproxy: str, way: str) -> None:
    """The server refuses calls above its rate, so the tests below are meaningful."""
    assert await call(f"{haproxy}/{way}", "careless", in_turn=False) > 0


@pytest.mark.parametrize("in_turn", [True, False], ids=["in turn", "at once"])
async def test_no_call_is_refused(haproxy: str, in_turn: bool) -> None:
    """Twelve calls, sequential and concurrent, to an unknown server all pass in both modes."""
    caller = f"learning {in_turn}"
    ways = ("fixed", "sliding")
    refused = await asyncio.gather(
        *(call(f"{haproxy}/{way}", caller, RateLimit(), in_turn=in_turn) for way in ways)
    )

    assert refused == [0, 0]
