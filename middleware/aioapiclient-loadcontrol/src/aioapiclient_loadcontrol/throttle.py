"""A shared throttle: if a server asks one call to wait, every call to its origin waits.

A retry waits for its own call only: of sixty concurrent calls, the server would refuse every one. Here the
first refusal applies to all of them. They resume at different times, because the server has just refused a
burst.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aioapiclient.contract import (
    APIRequest,
    AsyncAPIResponse,
    BoundedDict,
    Handler,
    check_function,
    check_seconds,
)
from aioapiclient.errors import ThrottledError

__all__ = ["ThrottleMiddleware"]

_logger = logging.getLogger("aioapiclient.throttle")

_THROTTLING = frozenset({429, 503})
# Waiting calls resume within half of the server's time, as in Envoy, or within 5 seconds.
_SPREAD = 0.5
_MOST_SPREAD = 5.0


class _Gate(NamedTuple):
    """The time at which a closed origin opens, and the end of the random waits after it; on the clock."""

    opens: float
    over: float


def _full_jitter(seconds: float) -> float:
    import backoff  # made with the first wait, to keep the import of this package cheap

    return backoff.full_jitter(seconds)


class ThrottleMiddleware:
    """After a 429, or a 503 with ``Retry-After``, hold back every call to that origin for the given time.

    Every form that `AsyncAPIResponse.retry_after` reads counts. Waiting calls, and calls shortly afterwards,
    add a random wait, so that they do not resume in one burst: up to half of the given time, and at most 5 s.
    A later time replaces an earlier one, never the reverse. A success does not open the origin early, because
    its request may have been sent before the refusal. The refused call gets its response as usual.

    A call that would wait past its deadline, or for more than *max_wait*, raises `ThrottledError`
    immediately: nothing was sent, and the call is not retried.

    Place it with `per_send`, below a `ConcurrencyLimitMiddleware`, so that it also holds back calls
    that have waited in that queue.

    Args:
        max_wait: The longest wait of a call in seconds, 60 by default, as in `RetryPolicy.max_retry_after`;
            the random wait is not counted.
        max_hold: The longest time in seconds that one response closes an origin, 300 by default, as in Envoy:
            a longer time may be invalid, and the next call finds out.
        jitter: Maps the longest random wait to the wait, in seconds; `backoff.full_jitter` by default.
        clock: Returns seconds that never go back; for tests.
        sleep: Waits for a number of seconds; for tests.

    Raises:
        InvalidRequestError: A number is out of range.
        TypeError: An argument has the wrong type.

    """

    def __init__(
        self,
        *,
        max_wait: float = 60.0,
        max_hold: float = 300.0,
        jitter: Callable[[float], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.max_wait: float = check_seconds("max_wait", max_wait)
        self.max_hold: float = check_seconds("max_hold", max_hold)
        self._jitter = _full_jitter if jitter is None else jitter
        check_function("jitter", self._jitter)
        check_function("clock", clock)
        check_function("sleep", sleep, may_be_async=True)
        self._clock = clock
        self._sleep = sleep
        # Only closed origins are stored, up to a fixed number.
        self._gates: BoundedDict[str, _Gate] = BoundedDict()

    def __repr__(self) -> str:
        return f"ThrottleMiddleware(max_wait={self.max_wait:g}, max_hold={self.max_hold:g})"

    def closed_for(self, origin: str) -> float:
        """Return the seconds until *origin*, such as ``https://api.example.com``, is open; 0 if it is."""
        gate = self._gates.get(origin)
        return 0.0 if gate is None else max(0.0, gate.opens - self._clock())

    def stats(self) -> dict[str, dict[str, float]]:
        """Return ``held_for`` for each origin that is closed: seconds until it opens."""
        now = self._clock()
        return {
            name: {"held_for": gate.opens - now} for name, gate in self._gates.items() if gate.opens > now
        }

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* when its origin is open."""
        origin = request.origin
        if self._gates:
            await self._wait(request, origin)
        response = await handler(request)
        if response.status in _THROTTLING:
            self._close(origin, response.retry_after)
        return response

    async def _wait(self, request: APIRequest, origin: str) -> None:
        """Wait until *origin* is open, and for a random time after that."""
        arrived = self._clock()
        waited_for: _Gate | None = None
        while (gate := self._gates.get(origin)) is not None and gate is not waited_for:
            now = self._clock()
            if now >= gate.over:
                del self._gates[origin]
                return
            if waited_for is not None and now >= gate.opens:
                return  # it was extended meanwhile, by less than this call's random wait
            await self._sleep(self._wait_for(gate, request, arrived, now))
            waited_for = gate

    def _wait_for(self, gate: _Gate, request: APIRequest, arrived: float, now: float) -> float:
        """Return the seconds to wait for *gate*; raise `ThrottledError` if there are too many."""
        rest = gate.opens - now
        left = request.time_left()
        if left is not None and rest >= left:
            raise _error(request, rest, "past the deadline")
        if gate.opens - arrived > self.max_wait:
            raise _error(request, rest, f"above max_wait={self.max_wait:g} of ThrottleMiddleware")
        earliest = max(0.0, rest)
        latest = gate.over - now
        if left is not None:
            latest = min(latest, left)
        window = max(0.0, latest - earliest)
        return earliest + max(0.0, min(self._jitter(window), window))

    def _close(self, origin: str, seconds: float | None) -> None:
        """Close *origin* for *seconds*, unless it stays closed for longer already."""
        if not seconds:
            return  # the wait is 0 or negligible
        seconds = min(seconds, self.max_hold)
        opens = self._clock() + seconds
        over = opens + min(_SPREAD * seconds, _MOST_SPREAD)
        gate = self._gates.get(origin)
        if gate is not None:
            if opens <= gate.opens:
                return
            over = max(over, gate.over)
        else:
            _logger.info("%s asks for %.2f s: every call to it waits", origin, seconds)
        self._gates[origin] = _Gate(opens, over)


def _error(request: APIRequest, seconds: float, why: str) -> ThrottledError:
    return ThrottledError(
        f"{request.label}: not sent: the server has asked for a wait of {seconds:.2f} s more, {why}",
        request=request,
        retry_after=seconds,
        retries_taken=request.attempt,
    )
