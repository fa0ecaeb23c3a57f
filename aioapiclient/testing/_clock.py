"""`FakeClock`: a clock that tests set, and that the running event loop can follow."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from aioapiclient._checks import check_seconds

__all__ = ["FakeClock"]


class FakeClock:
    """A clock that stands still until it is told: `sleep` moves it at once, `advance` by hand.

    Pass its methods where a clock or a sleep is taken: ``RetryMiddleware(sleep=clock.sleep)``,
    ``TokenCache(clock=clock.time)``. `install` is for code that asks the event loop itself, such as
    deadlines.

    Args:
        start: What the clock shows at first, in seconds; 1000 by default.
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
        """Move the clock.

        Args:
            seconds: By how much, 0 or more.

        Raises:
            InvalidRequestError: *seconds* is negative, NaN or infinite.
            TypeError: *seconds* is not a number.
        """
        self._now += check_seconds("seconds", seconds)

    async def sleep(self, seconds: float, /) -> None:
        """Record the wait, move the clock by it, and let other tasks run once.

        Args:
            seconds: How long to wait; nothing below 0.
        """
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
