"""Time limits: the deadline of the whole call, and the limit of one attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler

__all__ = ["DeadlineMiddleware", "TimeoutMiddleware"]


class DeadlineMiddleware:
    """Ends a call after ``timeout.total`` seconds, including attempts, waits, redirects and the body.

    On a stream, a total given with the call lasts until the response is closed; the client's own total
    ends when the head arrives. An earlier ``request.deadline`` is kept.

    Raises:
        APITimeoutError: The time limit was reached; ``phase`` is ``"total"``. It is never retried.
    """

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* within its total time."""
        return await self._join(handler)(request)

    def _join(self, handler: Handler) -> Handler:
        """Return *handler* wrapped in this middleware."""

        async def within_total(request: APIRequest) -> AsyncAPIResponse[Any]:
            seconds, brought = request.limit("total"), request.deadline
            if brought is not None:
                seconds = _shorter(seconds, request.time_left())
            if seconds is None:
                return await handler(request)
            timed_out = request.timed_out("total", seconds)
            if seconds <= 0:
                raise timed_out()
            stream, scope = request.stream, request._scope
            if scope is None or not scope.is_free:
                with request.time_limit(seconds, "total") as limit:
                    deadline = request.deadline = limit.deadline
                    response = await handler(request)
                return _go_on(response, brought, deadline, timed_out) if stream else response
            # The client's scope surrounds the call anyway: sharing it halves the cost.
            deadline = request.deadline = scope.expire_after(seconds, timed_out)
            try:
                response = await handler(request)
            except asyncio.CancelledError as error:
                scope.settle(error)
                raise
            finally:
                scope.disarm()
            return _go_on(response, brought, deadline, timed_out) if stream else response

        return within_total


def _go_on(
    response: AsyncAPIResponse[Any],
    brought: float | None,
    deadline: float | None,
    timed_out: Callable[[], Exception],
) -> AsyncAPIResponse[Any]:
    """Limit the stream of *response* to *deadline*, or to *brought* if the total ends when the head
    arrives.
    """
    made: Any = response
    if not isinstance(made, AsyncAPIResponse):
        return response  # the chain reports the middleware at fault
    if response.request._settings.total_ends_at_head:
        response.request.deadline = deadline = brought
    if deadline is not None:
        response._abort_at(deadline, timed_out)
    return response


def _shorter(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


class TimeoutMiddleware:
    """Ends one attempt after ``timeout.attempt`` seconds, including the body; on a stream, until the head.

    If less time is left until the deadline, that is the limit. No attempt starts after the deadline.

    Raises:
        APITimeoutError: The time limit was reached; ``phase`` is ``"attempt"``, which is retried like any
            missing response, or ``"total"`` if the deadline was the limit.
    """

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* within the time of one attempt."""
        return await self._join(handler)(request)

    def _join(self, handler: Handler) -> Handler:
        """Return *handler* wrapped in this middleware. Without a limit, it adds no coroutine."""

        def within_attempt(request: APIRequest) -> Awaitable[AsyncAPIResponse[Any]]:
            deadline = request.deadline
            if deadline is not None and asyncio.get_running_loop().time() >= deadline:
                # The loop has not run the timer yet; a request sent now might still be executed.
                raise request.timed_out("total", request.limit("total") or 0)()
            if request.timeout.attempt is None:
                return handler(request)
            return self._limit(request, handler)

        return within_attempt

    async def _limit(self, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        seconds, left = request.limit("attempt"), request.time_left()
        if seconds is None:
            return await handler(request)
        if left is not None and left < seconds:
            limit = request.time_limit(left, "total")
        else:
            limit = request.time_limit(seconds, "attempt")
        with limit:
            return await handler(request)
