"""haproxy, five requests of a caller in a while, counted by stick tables in two ways: no call is refused."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from aioapiclient_ratelimit import RateLimit
from needed_servers import need_program
from servers import unused_port

from aioapiclient import AsyncAPIClient, RateLimitError, per_send

LIMIT, CALLS = 5, 12
START_SECONDS = 30.0  # of a machine that runs a whole matrix beside it; it needs a tenth of one

# /fixed counts in windows of two seconds, and says when the window ends, in seconds since 1970.
# /sliding keeps a rate per second, which decays: two seconds after the last request it is 0.
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


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.fixture(scope="module")
def haproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server in a process of its own; gives its URL."""
    program, folder, port = need_program("haproxy"), tmp_path_factory.mktemp("haproxy"), unused_port()
    file, log = folder / "configuration", folder / "log"
    file.write_text(CONFIGURATION.format(port=port, limit=LIMIT, headers=HEADERS))
    with log.open("wb") as output:
        process = subprocess.Popen([program, "-db", "-f", str(file)], stdout=output, stderr=output)
    try:
        give_up = time.monotonic() + START_SECONDS
        while not is_open(port):
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"haproxy did not start: {log.read_text()[-2000:]}")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


async def call(url: str, caller: str, *limits: RateLimit, in_turn: bool) -> int:
    """Twelve calls, at once or one after the other; how many were refused."""
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
    """The server refuses what is above its rate: the tests below are of something."""
    assert await call(f"{haproxy}/{way}", "careless", in_turn=False) > 0


@pytest.mark.parametrize("in_turn", [True, False], ids=["in turn", "at once"])
async def test_no_call_is_refused(haproxy: str, in_turn: bool) -> None:
    """Twelve calls in turn and at once, to a server that nothing was known of, all pass in both ways."""
    caller = f"learning {in_turn}"
    ways = ("fixed", "sliding")
    refused = await asyncio.gather(
        *(call(f"{haproxy}/{way}", caller, RateLimit(), in_turn=in_turn) for way in ways)
    )

    assert refused == [0, 0]
