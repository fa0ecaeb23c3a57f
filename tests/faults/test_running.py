"""The harness detects each kind of leftover, and each wrong count."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from faults.places import raw
from faults.rows import Act, Call, Case, Ends, Fault, Place, gives, raises
from faults.running import SECRET, run_client, run_plain
from servers import hang, ok, respond, response

from aioapiclient import APIConnectionError

WELL = raw(respond(ok()))
STREAM = raw(hang(response("200 OK", None, Content_Type="text/event-stream", Content_Length="9")))


@pytest.fixture
def left() -> Iterator[ExitStack]:
    """Clean up after a row when the test ends."""
    with ExitStack() as stack:
        yield stack


async def run(ends: Ends, act: Act, where: Any = WELL) -> None:
    """Run one row with a short time limit."""
    await run_client(Case(Fault(1, "x", where, {"GET": ends}, act), "GET", ends), grace=0.05)


def leave_task(left: ExitStack) -> None:
    """A task that never ends."""
    left.callback(asyncio.ensure_future(asyncio.Event().wait()).cancel)


def leave_timer(left: ExitStack) -> None:
    """A timer of the loop."""
    loop = asyncio.get_running_loop()
    if not hasattr(loop, "_scheduled"):
        pytest.skip("this loop does not show its timers")
    left.callback(loop.call_later(3600, print).cancel)


def leave_file(left: ExitStack) -> None:
    """An open file."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not show its files")
    left.callback(os.close, os.open(__file__, os.O_RDONLY))


def leave_socket(left: ExitStack) -> None:
    """An open socket."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not show its files")
    left.enter_context(socket.socket())


@pytest.mark.parametrize("leave", [leave_task, leave_timer, leave_file, leave_socket])
async def test_what_is_left_behind_is_seen(leave: Callable[[ExitStack], None], left: ExitStack) -> None:
    """A row that leaves a leftover fails."""

    async def act(call: Call, place: Place) -> Any:
        leave(left)
        return await call()

    with pytest.raises(AssertionError, match="left behind"):
        await run(gives({}), act)


async def test_a_connection_that_is_kept_is_seen() -> None:
    """So does a row that keeps a connection while the client is open."""
    kept = []

    async def act(call: Call, place: Place) -> Any:
        kept.append(await call.client.get("", stream=True))
        return {}

    with pytest.raises(AssertionError, match="left behind"):
        await run(gives({}), act, STREAM)


async def fail(call: Call, place: Place) -> Any:
    """An error that the row may expect."""
    raise APIConnectionError(f"Failed, with {SECRET}", sent=None)


async def call_twice(call: Call, place: Place) -> Any:
    """Two requests."""
    await call()
    return await call()


@pytest.mark.parametrize(
    ("ends", "act", "message"),
    [
        (gives({}), call_twice, "2 requests"),
        (gives({}, requests=2, connections=2), call_twice, "1 connections"),
        (gives({}, requests=2, attempts=2), call_twice, "1 attempts"),
        (gives({}, requests=2, waits=[1.0]), call_twice, "waited"),
        (gives([], requests=2), call_twice, "it gave {}"),
        (raises(APIConnectionError, requests=2), call_twice, "it gave {}"),
        (gives({}, requests=0), fail, "Failed"),
        (raises(ValueError, requests=0), fail, "Failed"),
        (raises(APIConnectionError, "other words", requests=0), fail, "Failed"),
        (raises(APIConnectionError, sent=False, requests=0), fail, "Failed"),
        (raises(APIConnectionError, requests=0), fail, SECRET),
    ],
)
async def test_another_end_is_seen(ends: Ends, act: Act, message: str) -> None:
    """A row whose call has another outcome, or other counts, fails."""
    with pytest.raises(AssertionError, match=message):
        await run(ends, act)


async def swallow(call: Call, place: Place) -> Awaitable[Any]:
    """No end."""
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(
    ("act", "words", "requests"),
    [
        (call_twice, "200 {}", 2),
        (fail, "APIConnectionError", 0),
        (swallow, "hangs", 0),
        ("nothing to measure", "nothing to measure", None),
    ],
)
async def test_plain_aiohttp_is_measured(act: Any, words: str, requests: int | None) -> None:
    """The behaviour of plain aiohttp is described in words, with the number of requests."""
    case = Case(Fault(1, "x", WELL, {}, plain=act), "GET", gives({}))
    found = await run_plain(case, 0.05 if act is swallow else 20)
    assert (found.words, found.requests) == (words, requests)
