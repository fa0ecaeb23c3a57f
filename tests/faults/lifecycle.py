"""A call is cancelled, times out or loses its client, at the worst possible moment."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Iterable
from itertools import cycle
from typing import Any
from unittest import mock

import aiohttp
from faults.places import once, raw
from faults.rows import Call, Ends, Fault, Place, gives, raises
from faults.running import SECRET
from helpers import Client
from servers import Exchange, hang, in_turn, ok, respond, response, turns, until

from aioapiclient import (
    APIRequest,
    APITimeoutError,
    BearerAuth,
    Handler,
    InvalidRequestError,
    RetryPolicy,
    Timeout,
    Token,
)

__all__ = ["FAULTS"]


async def _ends(calls: Iterable[asyncio.Future[Any]]) -> list[str]:
    """The outcome of each call: the name of its error, or ``answered``."""
    ends = await asyncio.gather(*calls, return_exceptions=True)
    return [type(end).__name__ if isinstance(end, BaseException) else "answered" for end in ends]


# --- cancellation


async def _in_pieces(exchange: Exchange) -> None:
    """An answer in three pieces, so that it has many points of cancellation."""
    head, _, body = ok().partition(b"\r\n\r\n")
    for piece in (head, b"\r\n\r\n", body):
        if exchange.writer.is_closing():  # uvloop's writer has another error for it than asyncio's
            return
        await exchange.send(piece)
        await turns(3)


async def _cancel_anywhere(call: Call, place: Place) -> str:
    """Three hundred calls, each cancelled after a random number of turns of the loop."""
    chance = random.Random(113)
    ends: Counter[str] = Counter()
    for _ in range(300):
        task = asyncio.ensure_future(call())
        await turns(chance.randrange(60))
        task.cancel()
        ends.update(await _ends([task]))
    assert place.requests <= 300, "a call was sent again after its end"
    return ", ".join(f"some {end}" for end in sorted(ends))


_LIMIT = 0.3


async def _cancel_in_the_tick(call: Call, place: Place) -> str:
    """Twenty calls whose timeout and cancellation come due while the loop is blocked."""
    loop = asyncio.get_running_loop()
    for _ in range(20):  # on a busy machine the timeout may expire earlier
        seen = place.requests
        tasks = [asyncio.ensure_future(_limited(call, place, number)) for number in range(20)]
        await until(lambda seen=seen: place.requests == seen + 20)  # type: ignore[misc]
        if not any(task.done() for task in tasks):
            break
        await _ends(tasks)
    for number, task in enumerate(tasks):
        # Run in the order of their times: half the cancellations before the limit, half after it.
        loop.call_later(0 if number % 4 < 2 else _LIMIT, task.cancel)
    time.sleep(_LIMIT + 0.1)  # noqa: ASYNC251 - what is blocked here is the loop itself
    cancelled = (await _ends(tasks)).count("CancelledError")
    return f"{20 - cancelled} of 20 cancellations are swallowed"


def _limited(call: Call, place: Place, number: int) -> Awaitable[Any]:
    if call.session is not None:
        return call.session.get(place.url, timeout=aiohttp.ClientTimeout(total=_LIMIT))  # type: ignore[no-any-return]
    return call(timeout=Timeout(total=_LIMIT) if number % 2 else Timeout(attempt=_LIMIT))


class _Patient(Client):
    """A client whose waits between attempts end only when they are ended."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.waiting = asyncio.Event()

    async def _sleep_for_retry(self, seconds: float, /) -> None:
        self.waiting.set()
        await asyncio.Event().wait()


async def _cancel_a_wait(call: Call, place: Place) -> str:
    """A call that is cancelled between two attempts."""
    async with _Patient(place.url) as api:
        task = asyncio.ensure_future(api.get(""))
        await api.waiting.wait()
        task.cancel()
        await turns(1)
        return "CancelledError in the next turn of the loop" if task.cancelled() else "late"


# --- the client is closed


_READERS = 20


async def _close_under_readers(call: Call, place: Place) -> str:
    """Twenty calls in the middle of their bodies, when the client, or the session, is closed."""
    tasks = [asyncio.ensure_future(call()) for _ in range(_READERS)]
    await until(lambda: place.requests == _READERS)
    await turns(100)
    await (call.client or call.session).close()
    await turns(20)
    late = sum(not task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    kinds = Counter(await _ends(tasks))
    return (
        f"{late} of {_READERS} still wait" if late else ", ".join(f"{kinds[kind]} {kind}" for kind in kinds)
    )


# --- time


async def _pass_the_deadline(call: Call, place: Place) -> object:
    """A call on a pooled connection, whose middleware uses up its time without yielding to the loop."""
    await call()

    async def compute(request: APIRequest, handler: Handler) -> Any:
        time.sleep(0.2)  # noqa: ASYNC251 - this is the fault
        return await handler(request)

    return await call(middlewares=[compute], timeout=0.1)


async def _unlimited(call: Call, place: Place) -> object:
    """Plain aiohttp with a timeout below zero."""
    return await call.session.get(place.url, timeout=aiohttp.ClientTimeout(total=-0.5))


async def _with_a_total(call: Call, place: Place) -> object:
    """The same limit by plain aiohttp."""
    return await call.session.get(place.url, timeout=aiohttp.ClientTimeout(total=0.1))


async def _block_and_hang(exchange: Exchange) -> None:
    time.sleep(0.3)  # noqa: ASYNC251 - it is the client's loop too
    await hang()(exchange)


async def _answer_and_block(exchange: Exchange) -> None:
    await exchange.send(ok())
    time.sleep(1.1)  # noqa: ASYNC251 - it is the client's loop too


async def _jump(call: Call, place: Place) -> str:
    """Two calls by a wall clock that is two hours off at every second look."""
    asked = 0

    async def ask() -> Token:
        nonlocal asked
        asked += 1
        return Token(SECRET, expires_in=1800)

    auth, now = BearerAuth(ask), time.time()
    with mock.patch("time.time", side_effect=cycle((now + 3600, now - 3600))):
        values = [await call(auth=auth, timeout=60) for _ in range(2)]
    return f"{values.count({})} answers, {asked} token"


_BLOCKED = "the response was in time, the loop was not"
_LATE = raises(APITimeoutError, phase="attempt")
_UNAVAILABLE = respond(response("503 Service Unavailable"))
_LOST: Ends = gives("0 of 20 cancellations are swallowed", requests=None)

FAULTS: list[Fault] = [
    Fault(
        113,
        "three hundred calls, each cancelled at another point",
        raw(_in_pieces),
        {"GET": gives("some CancelledError, some answered", requests=None)},
        act=_cancel_anywhere,
        guard=30,
        note="no other result",
    ),
    Fault(
        114,
        "a cancellation in the same tick as a limit",
        raw(hang()),
        {"GET": _LOST},
        act=_cancel_in_the_tick,
        guard=30,
    ),
    Fault(
        115,
        "a cancellation between two attempts",
        raw(_UNAVAILABLE),
        {"GET": gives("CancelledError in the next turn of the loop")},
        act=_cancel_a_wait,
        plain="has no retries",
    ),
    Fault(
        116,
        "the client is closed during twenty reads",
        raw(hang(response("200 OK", None, Content_Length="100") + b"[")),
        {"GET": gives("20 ClientClosedError", requests=20)},
        act=_close_under_readers,
        note="within a few turns of the loop",
    ),
    Fault(
        117,
        "the deadline passes before anything is sent",
        raw(respond(ok())),
        {"POST": raises(APITimeoutError, phase="total")},
        act=_pass_the_deadline,
        plain="has no middlewares before its limit",
        note="the one request is the previous one",
    ),
    Fault(
        117,
        "a timeout of -0.5 s",
        raw(hang()),
        {"GET": raises(InvalidRequestError, "must be above 0 seconds", requests=0)},
        options={"timeout": -0.5},
        plain=_unlimited,
    ),
    Fault(
        118,
        "the loop is blocked for longer than the total",
        raw(_block_and_hang),
        {"GET": raises(APITimeoutError, phase="total")},
        options={"timeout": Timeout(total=0.1)},
        plain=_with_a_total,
    ),
    Fault(
        118,
        "the loop is blocked for longer than an attempt, once",
        raw(in_turn(_answer_and_block, respond(ok()))),
        {"GET": gives({}, requests=2), "POST": _LATE},
        options={"timeout": Timeout(attempt=1)},
        plain="has no attempts",
        note=_BLOCKED,
    ),
    Fault(
        119,
        "the wall clock jumps by hours",
        raw(once(_UNAVAILABLE)),
        {"GET": gives("2 answers, 1 token", requests=3, waits=[0.5])},
        act=_jump,
        client={"retry": RetryPolicy(jitter=lambda wait: wait)},
        plain="has neither waits nor tokens",
    ),
]
