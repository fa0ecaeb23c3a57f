"""Hedging: a slow request is sent a second time, and the first good response counts.

The second copy counts only if it returns a good response first. In every other case the call ends as it would
have without it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Hashable
from typing import Any, TypeAlias, cast

from aioapiclient.contract import (
    APIRequest,
    AsyncAPIResponse,
    BoundedDict,
    Handler,
    check_number,
    check_seconds,
)
from aioapiclient.errors import APIConnectionError, RetryableError

__all__ = ["HedgingMiddleware"]

_logger = logging.getLogger("aioapiclient.hedging")

Ending: TypeAlias = AsyncAPIResponse[Any] | BaseException
"""How a copy ended."""

_MOST_ENDPOINTS = 250  # per endpoint: this many times are kept
_MOST_TIMES = 1000
_MOST_SAVED = 10.0  # second copies, so that an idle period does not allow a burst
_LEAST_DELAY = 0.001  # seconds, as in Finagle: shorter delays are noise


class HedgingMiddleware:
    """Sends a request a second time if its response takes longer than nearly all others.

    If a service is slow now and then, for reasons that do not affect the next request, this cuts the tail of
    the latencies: a call takes as long as the faster of two requests. The first good response counts (a
    status below 400, or one in ``ok_statuses``). The other copy is cancelled, which closes its connection,
    and the call waits for its end. If one copy fails, the other decides; if both fail, the failure of the
    first is raised.

    Only idempotent requests are sent twice, and only those without a body, or with one in memory; streams
    never are. A second copy is the same request, with the same ``attempt`` and idempotency key. Place it
    inside the retries and outside a circuit breaker: ``per_attempt(...)``.

    A call that is answered within the delay costs a timer and no task; the second copy runs in its own task.

    Args:
        delay: The seconds after which the second copy is sent. None (the default) sends it if the response
            takes longer than *percentile* of the latest responses of the same endpoint (origin, method and
            template), once there are enough of them: 20 for 0.95, 100 for 0.99.
        percentile: The fraction of responses that are faster than the delay, 0.95 by default.
        budget: The most second copies per call to an origin, 0.05 by default, so that hedging adds at most a
            twentieth to the load of an outage. The first one is sent after 20 calls; up to 10 are saved up.

    Raises:
        InvalidRequestError: A number is out of range.
        TypeError: An argument has the wrong type.

    """

    def __init__(self, delay: float | None = None, *, percentile: float = 0.95, budget: float = 0.05) -> None:
        self.delay: float | None = None if delay is None else check_seconds("delay", delay)
        self.percentile: float = check_number("percentile", percentile, least=0.5, most=0.999)
        self.budget: float = check_number("budget", budget, most=1)
        self._budgets: BoundedDict[str, _Budget] = BoundedDict()
        self._endpoints: BoundedDict[Hashable, _Times] = BoundedDict(_MOST_ENDPOINTS)

    def __repr__(self) -> str:
        when = f"percentile={self.percentile:g}" if self.delay is None else f"delay={self.delay:g}"
        return f"HedgingMiddleware({when}, budget={self.budget:g})"

    def stats(self) -> dict[str, dict[str, float]]:
        """Return ``hedge_tokens`` for each origin that was called: the second copies that it may get now."""
        return {origin: {"hedge_tokens": budget.saved} for origin, budget in self._budgets.items()}

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request*, with a second copy if it is slow and may be sent twice."""
        if not _may_be_sent_twice(request):
            return await handler(request)
        origin = request.origin
        budget = self._budgets.get_or_make(origin, _Budget)
        if request.attempt == 0:  # per call, not per attempt: retries must not pay for second copies
            budget.save(self.budget)
        if self.delay is not None:
            return await _Race(request, handler, budget).run(self.delay)
        endpoint = (origin, request.method, request.template)
        times = self._endpoints.get_or_make(endpoint, lambda: _Times(self.percentile))
        time = asyncio.get_running_loop().time
        began = time()
        if times.limit is None:
            response = await handler(request)
        else:
            response = await _Race(request, handler, budget).run(max(times.limit, _LEAST_DELAY))
        if _is_good(response):
            times.add(time() - began)
        return response


def _may_be_sent_twice(request: APIRequest) -> bool:
    # The head of a stream does not predict its body. The time of an upload depends on its size, and its
    # progress would be counted twice.
    if request.stream or not request.is_idempotent:
        return False
    return request.body is None or request.body.immediate is not None


def _is_good(outcome: Ending | None) -> bool:
    return isinstance(outcome, AsyncAPIResponse) and (outcome.status < 400 or outcome.ok)


class _Race:
    """One request and its second copy: the first runs in the caller's task, the second in its own.

    If the second copy wins, the caller's task is cancelled once, so that the first copy ends as by any
    cancellation, and then this one cancellation is undone. ``Task.cancelling`` is counted as in
    ``asyncio.timeout``: a cancellation in the same tick by the caller, or by a deadline, stays in effect.
    """

    def __init__(self, request: APIRequest, handler: Handler, budget: _Budget) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call must run inside an asyncio task")
        self._task = task
        self._before = task.cancelling()
        self._handler = handler
        self._request = request
        self._twin = request.copy()
        self._budget = budget
        self._running = True  # the first copy
        self._fired = False  # whether this race cancelled the caller's task for the second copy
        self._first: Ending | None = None
        self._second: asyncio.Task[AsyncAPIResponse[Any]] | None = None

    async def run(self, delay: float) -> AsyncAPIResponse[Any]:
        """Return the first good response; otherwise return or raise the outcome of the first copy."""
        end = await self._end(delay)
        if isinstance(end, AsyncAPIResponse):
            return end
        try:
            raise end
        finally:
            del end, self._first  # the traceback holds this frame, so it must not refer to the error

    async def _end(self, delay: float) -> Ending:
        end: Ending | None = None
        try:
            self._first = await self._send_first(delay)
            end = await self._decide()
            return end
        finally:
            if self._second is not None:
                await self._clear_up(self._second, end)

    async def _send_first(self, delay: float) -> Ending | None:
        """Return the outcome of the first copy; None if it was cancelled for the second one."""
        timer = asyncio.get_running_loop().call_later(delay, self._send_second, delay)
        try:
            return await self._handler(self._request)
        except asyncio.CancelledError:
            if not self._undo_cancel():
                raise
            return None
        except (APIConnectionError, RetryableError) as error:
            if self._second is None or getattr(error, "final", False):
                raise
            return error
        finally:
            timer.cancel()
            self._running = False
            self._undo_cancel()  # in case the first copy did not end by the cancellation

    def _undo_cancel(self) -> bool:
        """Undo this race's own cancellation, if any; return whether it was the only one."""
        if not self._fired:
            return False
        self._fired = False
        return self._task.uncancel() <= self._before

    async def _decide(self) -> Ending:
        second = self._second
        if second is not None and not _is_good(self._first):
            if not second.done():
                await asyncio.wait((second,))
            outcome = _outcome_of(second)
            if _is_good(outcome) or self._first is None:
                return outcome
        return cast("Ending", self._first)  # without a second copy, the first one has ended

    async def _clear_up(self, second: asyncio.Task[AsyncAPIResponse[Any]], kept: Ending | None) -> None:
        """Cancel the second copy, wait for its end, and close every response except *kept*."""
        second.cancel()
        cancelled: asyncio.CancelledError | None = None
        while not second.done():
            try:
                await asyncio.wait((second,))
            except asyncio.CancelledError as error:
                cancelled, kept = error, None
        for outcome in (self._first, _outcome_of(second)):
            if outcome is not kept:
                await _close(outcome)
        if cancelled is not None:
            raise cancelled

    # --- in the loop, outside of the caller's task

    def _send_second(self, delay: float) -> None:
        if not self._is_wanted() or not self._budget.take():
            return
        _logger.info("%s: no answer within %.3f s, sent again beside it", self._twin.label, delay)
        self._second = asyncio.get_running_loop().create_task(_call(self._handler, self._twin))
        self._second.add_done_callback(self._end_first)

    def _end_first(self, second: asyncio.Task[AsyncAPIResponse[Any]]) -> None:
        if self._is_wanted() and _is_good(_outcome_of(second)):
            self._fired = self._task.cancel()

    def _is_wanted(self) -> bool:
        """Whether the first copy is still running, and the call was not cancelled."""
        return self._running and self._task.cancelling() <= self._before


async def _call(handler: Handler, request: APIRequest) -> AsyncAPIResponse[Any]:
    return await handler(request)


def _outcome_of(task: asyncio.Task[AsyncAPIResponse[Any]]) -> Ending:
    if task.cancelled():
        return asyncio.CancelledError()
    error = task.exception()
    return task.result() if error is None else error


async def _close(outcome: Ending | None) -> None:
    response = outcome.response if isinstance(outcome, RetryableError) else outcome
    if isinstance(response, AsyncAPIResponse):
        await response.close()


class _Budget:
    """The second copies that an origin may still get."""

    __slots__ = ("saved",)

    def __init__(self) -> None:
        self.saved = 0.0

    def save(self, amount: float) -> None:
        """Add *amount* for a call."""
        self.saved = min(self.saved + amount, _MOST_SAVED)

    def take(self) -> bool:
        """Pay for a second copy; return False if the budget is too small."""
        if self.saved < 1 - 1e-9:  # a sum of twentieths is not exact
            return False
        self.saved -= 1
        return True


class _Times:
    """The times of the latest responses of one endpoint, and a percentile of them."""

    __slots__ = ("_enough", "_new", "_percentile", "_times", "limit")

    def __init__(self, percentile: float) -> None:
        # One of this many is expected to be above the percentile, which is computed from ten times as many.
        self._enough = round(1 / (1 - percentile))
        self._percentile = percentile
        self._times: deque[float] = deque(maxlen=min(10 * self._enough, _MOST_TIMES))
        self._new = 0
        self.limit: float | None = None
        """The percentile, in seconds; None until there are enough times."""

    def add(self, seconds: float) -> None:
        """Add a time, and update the percentile now and then."""
        self._times.append(seconds)
        self._new += 1
        if self._new >= (self._enough if self.limit is None else max(1, self._enough // 2)):
            self._new = 0
            ordered = sorted(self._times)
            self.limit = ordered[math.ceil(self._percentile * len(ordered)) - 1]
