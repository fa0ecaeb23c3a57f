"""The gate of one key: the server's windows, and whether a call may be sent.

The number of calls that may be sent is the remaining number that the server reported, less the calls in
flight, which the server may not have counted yet. Of several responses, the lowest number counts until the
window ends, because responses arrive out of order. When an exhausted window ends, one call is sent first, and
its headers decide for the others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Final

from .headers import Window

__all__ = ["Gate"]

PROBE_WAIT: Final = 1.0  # seconds that others wait for the headers of the first call
_SAME: Final = 1.5  # seconds between two resets of one window: many servers count whole seconds
_MOST_SPREAD: Final = 5.0  # seconds
_MOST_WINDOWS: Final = 32  # windows of one key: the server chooses their names
_NEVER: Final = float("inf")


class _Known:
    """A window, by the clock of the event loop."""

    __slots__ = ("asked", "limit", "name", "opens", "remaining", "resets")

    def __init__(self, name: str, limit: int | None, remaining: int, resets: float, opens: float) -> None:
        self.name = name
        self.limit = limit
        self.remaining = remaining
        """The smallest number of remaining calls that the server has reported."""
        self.resets = resets
        self.opens = opens
        """When calls resume if it is used up: after ``resets``, at another time in each process."""
        self.asked: float | None = None
        """When the first call after the end of the window was sent."""

    def closed_for(self, now: float, in_flight: int) -> tuple[float, bool]:
        """Return the seconds until a call may be sent, and whether no response can change that."""
        if self.remaining <= 0:
            if now < self.opens:
                return self.opens - now, True
        elif now < self.resets:
            return (self.resets - now, False) if in_flight >= self.remaining else (0.0, False)
        return self._ended_for(now, in_flight), False

    def _ended_for(self, now: float, in_flight: int) -> float:
        """Return the seconds until a call may be sent after the window has ended, without a response."""
        if self.asked is None:
            return 0.0
        probe_wait = max(0.0, self.asked + PROBE_WAIT - now)
        if self.limit is None or (probe_wait and self.remaining <= 0):
            return probe_wait
        return _NEVER if in_flight >= self.limit else 0.0


class Gate:
    """Controls when the calls of one key are sent."""

    __slots__ = ("_news", "_pace", "_windows", "in_flight", "interval", "lock", "next", "origin", "queued")

    def __init__(self, origin: str, *, ask_first: bool, pace: bool) -> None:
        self.origin = origin
        self.in_flight = 0
        self.queued = 0
        self.lock = asyncio.Lock()
        """Held by the next call; the others queue for it."""
        self.next = self.interval = 0.0
        """When the next call may be sent, and the interval between calls, if calls are paced."""
        self._pace = pace
        self._news = asyncio.Event()
        # The window has ended and the limit is unknown: one call is sent first.
        first = {"": _Known("", None, 0, -_NEVER, -_NEVER)}
        self._windows: dict[str, _Known] = first if ask_first else {}

    def closed_for(self, now: float) -> tuple[float, bool]:
        """Return the seconds until a call may be sent, 0 for now, and whether no response can change that."""
        longest, sure = (self.next - now if self.next > now else 0.0), True
        for window in self._windows.values():
            wait, known = window.closed_for(now, self.in_flight)
            if wait > longest:
                longest, sure = wait, known
        return longest, sure

    async def wait(self, seconds: float) -> None:
        """Wait for *seconds*, or for a response."""
        self._news.clear()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(seconds, self._news.set) if seconds < _NEVER else None
        try:
            await self._news.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def sent(self, now: float) -> None:
        """Count a call that is sent."""
        self.in_flight += 1
        for window in self._windows.values():
            if window.asked is None and now >= window.resets:
                window.asked = now
        if self._pace:
            self.interval = max((self._share(window, now) for window in self._windows.values()), default=0.0)
            self.next = now + self.interval

    def _share(self, window: _Known, now: float) -> float:
        """Return the seconds per remaining call, spread over the rest of the window."""
        return max(0.0, window.resets - now) / max(1, window.remaining - self.in_flight + 1)

    def failed(self) -> None:
        """Note that a call ended without rate-limit headers: another call is sent first."""
        self.in_flight -= 1
        for window in self._windows.values():
            window.asked = None
        if self.queued:
            self._news.set()

    def answered(self, said: Iterable[Window], now: float, spread: float) -> None:
        """Note the windows of a response."""
        self.in_flight -= 1
        for known in [*self._windows.values()]:
            if now >= known.opens:
                del self._windows[known.name]
        for window in said:
            if window.resets_in is not None:
                self._learn(window, window.resets_in, now, spread)
        if self.queued:
            self._news.set()

    def _learn(self, said: Window, resets_in: float, now: float, spread: float) -> None:
        known = self._windows.get(said.name)
        resets = now + resets_in
        if known is not None and now < known.resets:
            if abs(resets - known.resets) <= _SAME:
                known.remaining = min(known.remaining, said.remaining)
                return
            if resets_in <= _SAME:
                return  # a late response, of the previous window
        if known is None and len(self._windows) >= _MOST_WINDOWS:
            return
        opens = resets + random.uniform(0.0, min(spread * resets_in, _MOST_SPREAD))
        self._windows[said.name] = _Known(said.name, said.limit, said.remaining, resets, opens)

    def tightest(self, now: float) -> Window | None:
        """Return the window that allows the fewest calls per second."""
        windows = [
            Window(known.name, known.limit, known.remaining, known.resets - now)
            for known in self._windows.values()
            if known.resets > now
        ]
        return min(windows, key=_calls_a_second, default=None)


def _calls_a_second(window: Window) -> tuple[float, float]:
    resets_in = window.resets_in or 0.0
    return window.remaining / max(resets_in, 0.001), -resets_in
