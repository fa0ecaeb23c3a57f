"""A real service in a separate process behind a real nginx."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aioapiclient_web import Webhooks
from servers import until, unused_port

GREETER = Path(__file__).parents[1] / "examples" / "greeter.py"
SECRET = "whsec_dGhlIG5ldyBzZWNyZXQsIG9mIDMyIGJ5dGVzIDEyMzQ="


class Greeter:
    """The example in a separate process, which calls the upstream of the test."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port


@pytest.fixture
async def greeter(upstream: Any) -> AsyncIterator[Greeter]:
    """The service, ready for requests."""
    port = unused_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", str(GREETER), str(port), upstream.url),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    started = await asyncio.wait_for(process.stdout.readuntil(b"CTRL+C to quit)\n"), 60)
    assert str(port).encode() in started
    yield Greeter(process, port)
    if process.returncode is None:
        process.kill()
    await process.wait()


async def test_deadline_trace_and_id_pass_through(nginx: str, greeter: Greeter, upstream: Any) -> None:
    """The time and the trace pass through nginx; the request ID is the one that nginx makes."""
    parent = f"00-{'1' * 32}-{'2' * 16}-01"
    headers = {"X-Request-Timeout": "60", "traceparent": parent, "X-Request-Id": "from-outside"}
    async with aiohttp.ClientSession() as session:
        await session.get(f"{nginx}/{greeter.port}/hello/7", headers=headers)
    (sent,) = upstream.headers
    assert 0 < float(sent["X-Request-Timeout"]) <= 9.95  # the budget of the example
    assert sent["traceparent"] == parent
    assert len(sent["X-Request-Id"]) == 32


async def test_problems_pass_through(nginx: str, greeter: Greeter, upstream: Any) -> None:
    """A proxy passes problems on: the same 404, 502, 503 with Retry-After, and 504 within the caller's
    time.
    """
    upstream.statuses = [404, 401, 429]
    found: list[tuple[int, str | None]] = []
    async with aiohttp.ClientSession() as session:
        for path, seconds in (*[("/hello/7", "60")] * 3, ("/hello/hang", "0.5")):
            headers = {"X-Request-Timeout": seconds}
            async with session.get(f"{nginx}/{greeter.port}{path}", headers=headers) as response:
                text = await response.text()
                assert response.content_type == "application/problem+json"
                assert "canary" not in text
                assert upstream.url not in text
                found.append((response.status, response.headers.get("Retry-After")))
    assert found == [(404, None), (502, None), (503, "70"), (504, None)]


async def test_a_caller_of_the_proxy_that_leaves_cancels_the_call(
    nginx: str, greeter: Greeter, upstream: Any
) -> None:
    """Nginx closes its connection when its caller disconnects, and with handler_cancellation the call
    ends.
    """
    async with aiohttp.ClientSession() as session:
        request = asyncio.ensure_future(session.get(f"{nginx}/{greeter.port}/hello/hang"))
        await asyncio.wait_for(upstream.arrived.wait(), 30)
        request.cancel()
        await asyncio.wait([request])
    await asyncio.wait_for(upstream.cancelled.wait(), 30)


@pytest.mark.parametrize("breaks", [False, True])
async def test_a_stream_through_the_proxy(nginx: str, greeter: Greeter, upstream: Any, breaks: bool) -> None:
    """A stream passes through service and proxy piece by piece; a broken one does not look complete."""
    upstream.breaks = breaks
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{nginx}/{greeter.port}/report") as response,
    ):
        assert await response.content.read(6) == b"first,"
        upstream.let_go.set()
        if breaks:
            with pytest.raises(aiohttp.ClientPayloadError):
                await asyncio.wait_for(response.read(), 30)
        else:
            assert await response.read() == b"second"


async def test_webhooks_through_the_proxy(nginx: str, greeter: Greeter) -> None:
    """A webhook is accepted if its bytes are unchanged; a forged one is a 400, and not a 500."""
    hooks, url = Webhooks(SECRET), f"{nginx}/{greeter.port}/webhooks"
    body = '{"type": "user.joined", "login": "zoë"}'.encode()
    unknown = b'{"type": "user.renamed", "from": "ada"}'
    good = hooks.sign(body)
    sent = [
        (body, good),
        (unknown, hooks.sign(unknown)),
        (body + b" ", good),
        (body, {**good, "webhook-signature": "v1"}),
        (body, {**good, "webhook-id": "\u00e9"}),
        (b"\xff", hooks.sign(b"\xff")),
        (body, {}),
    ]
    statuses: list[int] = []
    async with aiohttp.ClientSession() as session:
        for content, headers in sent:
            async with session.post(url, data=content, headers=headers) as response:
                statuses.append(response.status)
    assert statuses == [204, 204, 400, 400, 400, 400, 400]
    assert greeter.process.stdout is not None
    assert await asyncio.wait_for(greeter.process.stdout.readline(), 30) == "Joined zoë\n".encode()


async def test_sigterm_with_a_call_in_flight(nginx: str, greeter: Greeter, upstream: Any) -> None:
    """A process that is shutting down answers the requests in progress, and ends without an error."""
    async with aiohttp.ClientSession() as session:
        request = asyncio.ensure_future(session.get(f"{nginx}/{greeter.port}/hello/hang"))
        await asyncio.wait_for(upstream.arrived.wait(), 30)
        greeter.process.send_signal(signal.SIGTERM)
        await until(lambda: refuses(greeter.port))
        upstream.let_go.set()
        response = await asyncio.wait_for(request, 30)
        assert (response.status, await response.json()) == (200, {"hello": "ada"})
    assert await asyncio.wait_for(greeter.process.wait(), 30) == 0
    assert not upstream.cancelled.is_set()


def refuses(port: int) -> bool:
    """Return whether *port* is closed."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False
