"""What users test with: a transport that answers from a list, a clock to set, and `check_middleware`.

::

    transport = FakeTransport(respond(503), respond(200, json={"id": 7}))
    clock = FakeClock()
    retry = RetryMiddleware(sleep=clock.sleep)

    response = await retry(APIRequest("GET", "https://api.example.com/users/7"), transport)

    assert await response.json() == {"id": 7}
    assert len(transport.requests) == 2 and transport.open_responses == 0

A `FakeTransport` goes under a chain made by hand, as here, or into a client: ``AsyncAPIClient(...,
transport=transport)``. Nothing in this module opens a socket or looks at the real time.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager

from ._fake_transport import Answer, FakeTransport, respond
from ._hostile import default_request
from ._promises import Check
from .contract import APIRequest, Middleware
from .errors import InvalidRequestError

__all__ = ["Answer", "FakeClock", "FakeTransport", "check_middleware", "respond"]


class FakeClock:
    """A clock that stands still until it is told: `sleep` moves it on at once, `advance` by hand.

    Give its methods where a clock or a sleep is taken: ``RetryMiddleware(sleep=clock.sleep)``,
    ``TokenCache(clock=clock.time)``. For what asks the event loop itself, the deadlines, there is
    `install`. *start* is what it shows at first, in seconds.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self.sleeps: list[float] = []
        """Every wait that `sleep` was asked for, in seconds."""

    def __repr__(self) -> str:
        return f"<FakeClock at {self._now:g}>"

    def time(self) -> float:
        """What the clock shows, in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock on; `InvalidRequestError` for less than 0 seconds: clocks never go back."""
        if not (seconds >= 0 and math.isfinite(seconds)):
            raise InvalidRequestError(f"A clock is advanced by 0 seconds or more, not {seconds}")
        self._now += seconds

    async def sleep(self, seconds: float, /) -> None:
        """Note the wait, move the clock on by it, and let other tasks run once."""
        self.sleeps.append(seconds)
        self.advance(max(0.0, seconds))
        await asyncio.sleep(0)

    @contextmanager
    def install(self) -> Generator[FakeClock, None, None]:
        """Let the timers of the running event loop follow this clock: ``with clock.install():``.

        `asyncio.timeout`, deadlines and ``loop.call_later`` then wait for this clock, and fire when
        other tasks run after `sleep` or `advance` has passed them. Who waits for a timer that nobody
        moves the clock to waits for ever. Make the client inside as well: timers from before belong
        to the real time.

        Raises `TypeError` for a loop that is not asyncio's own, such as uvloop's, and `RuntimeError`
        where a clock is installed already.
        """
        loop = asyncio.get_running_loop()
        if not isinstance(loop, asyncio.BaseEventLoop):
            name = f"{type(loop).__module__}.{type(loop).__qualname__}"
            raise TypeError(f"A FakeClock can move the timers of asyncio's own loops only, not of {name}")
        # An attribute of the instance, found before the method: the loop asks itself for the time.
        attributes = vars(loop)
        if "time" in attributes:
            raise RuntimeError("This event loop follows another FakeClock already")
        attributes["time"] = self.time
        try:
            yield self
        finally:
            del attributes["time"]


async def check_middleware(
    factory: Callable[[], Middleware],
    *,
    request: Callable[[], APIRequest] | None = None,
    patience: float = 10.0,
) -> None:
    """Try whether a middleware keeps the six promises of `aioapiclient.contract`.

    *factory* makes a new one for each trial, often a class or a ``lambda``; give it sleeps and clocks
    that do not wait (`FakeClock`), for the trials fail and retry a lot. *request* makes the requests
    that are sent through it, for one that only acts on some; by default a GET to the client's own
    origin. Each trial sends them to a handler that is as hostile as the promises allow: it changes
    what it is given, answers with every family of status, fails in every way, and streams.

    A trial is repeated with a cancellation at each await of the middleware, and with another call in
    the middle at each await. One that keeps its caller waiting for *patience* seconds has failed.

    Raises `AssertionError` that names the promise, what was done and what came of it. What it cannot
    see from outside is whether a middleware that counts what is in flight goes by ``on_close``.
    """
    if inspect.iscoroutinefunction(factory) or not callable(factory):
        raise TypeError("check_middleware takes a factory, such as a class or 'lambda: middleware'")
    await Check(factory, request or default_request, patience).run()
