"""`FakeClock`: a clock that tests set, and that the running event loop can follow."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from aioapiclient._checks import check_seconds

__all__ = ["FakeClock"]


class FakeClock:
    """A clock that only moves in two ways: `sleep` advances it immediately, `advance` by hand.

    Pass its methods where a clock or a sleep function is expected: ``RetryMiddleware(sleep=clock.sleep)``,
    ``TokenCache(clock=clock.time)``. `install` is for code that uses the event loop's time, such as
    deadlines.

    Args:
        start: The initial time in seconds, 1000 by default.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self.sleeps: list[float] = []
        """Every wait that was passed to `sleep`, in seconds."""

    def __repr__(self) -> str:
        return f"<FakeClock at {self._now:g}>"

    def time(self) -> float:
        """Return the time of the clock, in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Advance the clock.

        Args:
            seconds: The time to add, 0 or more.

        Raises:
            InvalidRequestError: *seconds* is negative, NaN or infinite.
            TypeError: *seconds* is not a number.
        """
        self._now += check_seconds("seconds", seconds)

    async def sleep(self, seconds: float, /) -> None:
        """Record the wait, advance the clock by it, and let other tasks run once.

        Args:
            seconds: The time to wait; a negative number counts as 0.
        """
        self.sleeps.append(seconds)
        self.advance(max(0.0, seconds))
        await asyncio.sleep(0)

    @contextmanager
    def install(self) -> Generator[FakeClock, None, None]:
        """Make the timers of the running event loop follow this clock: ``with clock.install():``.

        `asyncio.timeout`, deadlines and ``loop.call_later`` then use this clock: they fire once `sleep` or
        `advance` has moved the clock past them and other tasks run. A timer that the clock never reaches
        never fires. Create the client inside the block too, because earlier timers use the real time.

        Raises:
            RuntimeError: Another clock is installed, or no event loop is running.
            TypeError: The loop is not asyncio's own, such as uvloop's.
        """
        loop = asyncio.get_running_loop()
        if not isinstance(loop, asyncio.BaseEventLoop):
            name = f"{type(loop).__module__}.{type(loop).__qualname__}"
            raise TypeError(f"FakeClock works with asyncio's own event loops only, not with {name}")
        # An attribute of the instance, found before the method: the loop asks itself for the time.
        attributes = vars(loop)
        if "time" in attributes:
            raise RuntimeError("another FakeClock is installed on this event loop")
        attributes["time"] = self.time
        try:
            yield self
        finally:
            del attributes["time"]
