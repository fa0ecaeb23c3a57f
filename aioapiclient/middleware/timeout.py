"""Time: the deadline of the whole call, and the limit of one attempt."""

from __future__ import annotations

import asyncio
from typing import Any

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler

__all__ = ["DeadlineMiddleware", "TimeoutMiddleware"]


class DeadlineMiddleware:
    """Ends a call after ``timeout.total`` seconds: attempts, waits, redirects and the body included.

    Raises `APITimeoutError` with ``phase="total"``, which is never retried. On a stream the total
    goes on until the response is closed. A deadline that the request brings along is kept if it is
    the earlier one.
    """

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* within its total."""
        seconds = _total(request)
        if seconds is None:
            return await handler(request)
        timed_out = request.timed_out("total", seconds)
        if seconds <= 0:
            raise timed_out()
        stream, scope = request.stream, request.scope
        if scope is None or scope.deadline is not None:
            with request.time_limit(seconds, "total") as limit:
                deadline = request.deadline = limit.deadline
                response = await handler(request)
        else:
            # The client's own scope is around the call anyway: one scope serves both, for half the price.
            deadline = request.deadline = scope.expire_after(seconds, timed_out, request.timers)
            try:
                response = await handler(request)
            except asyncio.CancelledError as error:
                scope.settle(error)
                raise
            finally:
                scope.disarm()
        if stream and deadline is not None:
            response.abort_at(deadline, timed_out)
        return response


def _total(request: APIRequest) -> float | None:
    total = request.limit("total")
    if request.deadline is None:
        return total
    left = request.time_left()
    return left if total is None or left is None else min(total, left)


class TimeoutMiddleware:
    """Ends one attempt after ``timeout.attempt`` seconds, body included; on a stream it ends at the head.

    Raises `APITimeoutError` with ``phase="attempt"``, which is retried like any lost answer. What is
    left of the deadline is the limit when it is less, and then the phase is ``total``; after the
    deadline no attempt starts.
    """

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* within the time of one attempt."""
        seconds, left = request.limit("attempt"), request.time_left()
        if left == 0:
            # Nobody was ended yet, for the loop did not come to it; but what is sent now may be done.
            raise request.timed_out("total", request.limit("total") or 0)()
        if seconds is None:
            return await handler(request)
        if left is not None and left < seconds:
            limit = request.time_limit(left, "total")
        else:
            limit = request.time_limit(seconds, "attempt")
        with limit:
            return await handler(request)
