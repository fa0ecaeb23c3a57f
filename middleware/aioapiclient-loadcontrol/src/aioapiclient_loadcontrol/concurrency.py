"""A limit on the calls in flight, with a fair and bounded queue.

A call that ends passes its slot to the call that has waited longest, so that no later call overtakes it, and
no slot is free while a call waits.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, Final

from aioapiclient.contract import (
    APIRequest,
    AsyncAPIResponse,
    Handler,
    check_flag,
    check_seconds,
    check_whole,
)
from aioapiclient.errors import ConcurrencyLimitError, RetryableError

__all__ = ["ConcurrencyLimitMiddleware"]

_MOST_ORIGINS: Final = 1000  # of a client: redirects could otherwise name any number of them


class ConcurrencyLimitMiddleware:
    """Limit the calls in flight to each origin; further calls wait, first come, first served.

    A call is in flight until its response is closed: a stream until its end. A call that finds no
    slot and a full queue, or that has waited for too long, raises `ConcurrencyLimitError`: nothing
    was sent, and the call is not retried. Origins have separate slots and queues, so that a slow
    one holds back no other.

    Place it with `per_send`, where it limits what is on the wire: no slot is held while a retry
    waits, or while the call waits for a credential that is fetched through the same limit.

    Args:
        limit: The most calls in flight at the same time, 1 or more.
        max_waiting: The most waiting calls, 1000 by default, about as many as Envoy allows; 0 for no
            queue. Raise it for a bulk fetch that starts more calls at the same time.
        max_wait: The longest wait of a call in seconds. None (the default): until its deadline.
        per_origin: True (the default) for a separate limit and queue per origin; False for
            one limit and one queue for all origins.

    Raises:
        InvalidRequestError: A number is out of range.
        TypeError: An argument has the wrong type.

    """

    def __init__(
        self, limit: int, *, max_waiting: int = 1000, max_wait: float | None = None, per_origin: bool = True
    ) -> None:
        self.limit: int = check_whole("limit", limit, least=1)
        self.max_waiting: int = check_whole("max_waiting", max_waiting)
        self.max_wait: float | None = None if max_wait is None else check_seconds("max_wait", max_wait)
        check_flag("per_origin", per_origin)
        self.per_origin: bool = per_origin
        self._lines: dict[str, _Line] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<ConcurrencyLimitMiddleware: {self.in_flight} in flight, {self.waiting} waiting>"

    @property
    def in_flight(self) -> int:
        """The number of calls in flight, to all origins."""
        return sum(line.in_flight for line in self._lines.values())

    @property
    def waiting(self) -> int:
        """The number of waiting calls, for all origins."""
        return sum(len(line.waiting) for line in self._lines.values())

    def stats(self) -> dict[str, dict[str, int]]:
        """Return ``limit``, ``in_flight`` and ``waiting`` per origin in use; under ``*`` if all share one."""
        return {
            origin or "*": {"limit": self.limit, "in_flight": line.in_flight, "waiting": len(line.waiting)}
            for origin, line in self._lines.items()
            if line.in_flight
        }

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* when a slot is free."""
        line = self._line(request.origin if self.per_origin else "")
        if line.in_flight >= self.limit:
            await self._wait(line, request)
        else:
            line.in_flight += 1
            if line.granted:
                await line.let_others_go_first()
        try:
            response = await handler(request)
            response.on_close(line.leave)
        except BaseException as error:
            held = error.response if isinstance(error, RetryableError) else None
            if held is None:
                line.leave()
            else:
                held.on_close(line.leave)
            raise
        return response

    def _line(self, origin: str) -> _Line:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # Slots held when an event loop ended are never released.
            self._loop, self._lines = loop, {}
        line = self._lines.get(origin)
        if line is None:
            if len(self._lines) >= _MOST_ORIGINS:
                # Not the least recently used origin: one with a slot in use must not be dropped.
                self._lines = {name: line for name, line in self._lines.items() if line.in_flight}
            line = self._lines[origin] = _Line()
        return line

    async def _wait(self, line: _Line, request: APIRequest) -> None:
        """Wait for the slot of another call; on return it is already counted."""
        if len(line.waiting) >= self.max_waiting:
            raise self._error(line, request, "the queue is full", "max_waiting", "let more calls wait")
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        line.waiting[turn] = None
        timer = None if self.max_wait is None else loop.call_later(self.max_wait, _end_wait, turn)
        try:
            granted = await turn
        except BaseException:
            # Cancelled, and perhaps granted a slot in the same tick: that slot passes to the next call.
            if _is_granted(turn):
                line.leave()
            raise
        finally:
            line.granted -= _is_granted(turn)
            line.waiting.pop(turn, None)
            if timer is not None:
                timer.cancel()
        if not granted:
            why = f"no slot was free within {self.max_wait:g} s"
            raise self._error(line, request, why, "max_wait", "let calls wait longer")

    def _error(
        self, line: _Line, request: APIRequest, why: str, argument: str, effect: str
    ) -> ConcurrencyLimitError:
        waiting = len(line.waiting)
        return ConcurrencyLimitError(
            f"{request.label}: not sent, {why}: {line.in_flight} in flight (limit={self.limit}), "
            f"{waiting} waiting ({argument}={getattr(self, argument)}); "
            f"raise {argument} of ConcurrencyLimitMiddleware to {effect}",
            limit=self.limit,
            waiting=waiting,
            request=request,
            retries_taken=request.attempt,
        )


class _Line:
    """The number of calls in flight, and the waiting calls in the order of their arrival."""

    __slots__ = ("granted", "in_flight", "waiting")

    def __init__(self) -> None:
        self.in_flight = 0
        self.granted = 0  # calls in flight that the event loop has not resumed yet
        self.waiting: OrderedDict[asyncio.Future[bool], None] = OrderedDict()

    def leave(self) -> None:
        """Pass a slot to the call that has waited longest, or release it if no call waits."""
        while self.waiting:
            turn, _ = self.waiting.popitem(last=False)
            if not turn.done():  # it may be cancelled, but not removed yet
                turn.set_result(True)
                self.granted += 1
                return
        self.in_flight -= 1

    async def let_others_go_first(self) -> None:
        """Let the event loop run once: it resumes the calls that received slots earlier, in order."""
        self.granted += 1  # so that a call that arrives in this turn waits behind this one
        try:
            await asyncio.sleep(0)
        except BaseException:
            self.leave()
            raise
        finally:
            self.granted -= 1


def _is_granted(turn: asyncio.Future[bool]) -> bool:
    return turn.done() and not turn.cancelled() and turn.result()


def _end_wait(turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        turn.set_result(False)
