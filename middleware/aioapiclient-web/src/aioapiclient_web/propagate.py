"""`Propagate`: no call outlives the request that it is made for, and the upstream server receives the time
left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aioapiclient.contract import (
    APIRequest,
    AsyncAPIResponse,
    Handler,
    Middleware,
    per_send,
    serves_several,
)

from ._arguments import header_name, header_names
from .durations import write_duration
from .inbound import TIMEOUT_HEADER, current

__all__ = ["Propagate"]


class Propagate:
    """Give each call the deadline and the headers of the request that it is made for.

    `inbound` reads them. The deadline limits the whole call, including the body of a stream; a call's own
    timeout that ends earlier wins. The headers are those that `inbound` keeps, and one with the time
    left, updated for each send. They go to the client's own origin and to ``trusted_origins``. A header that
    the call or another middleware has set is kept. Outside of a request nothing is changed, and a
    token that several requests wait for is fetched without the deadline of the first.

    It is a bundle, one entry of ``middlewares=``.

    Args:
        header: The header for the time left; None sends none. ``grpc-timeout`` and names that end
            with ``-ms`` have their own units; all others use seconds.
        keep: The names of the headers to send, among those that `inbound` keeps. None (the default): all.

    Raises:
        InvalidRequestError: The name of a header is not valid, or the header cannot be set.
        TypeError: An argument has the wrong type.
    """

    def __init__(self, *, header: str | None = TIMEOUT_HEADER, keep: Iterable[str] | None = None) -> None:
        self._send = PropagateHeaders(
            None if header is None else header_name("header", header),
            None if keep is None else frozenset(name.lower() for name in header_names("keep", keep)),
        )

    def __repr__(self) -> str:
        return f"Propagate(header={self._send.header!r})"

    def middlewares(self) -> list[Middleware]:
        """Return the middleware of each call, and that of each send."""
        return [PropagateDeadline(), per_send(self._send)]


class PropagateDeadline:
    """Once per call: ends the call at the deadline of the inbound request."""

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* within the deadline."""
        deadline = _deadline()
        if deadline is None or (request.deadline is not None and request.deadline <= deadline):
            return await handler(request)
        request.deadline = deadline
        left = request.time_left() or 0.0
        timed_out = request.timed_out("total", left)
        if left <= 0:
            raise timed_out()
        stream = request.stream
        with request.time_limit(left, "total"):
            response = await handler(request)
        if stream:
            _end_at(deadline, response, timed_out)
        return response


def _deadline() -> float | None:
    """Return the deadline of the inbound request, on the event loop's clock."""
    found = current.get()
    # A token that other calls wait for must not fail because the deadline of the first caller has passed.
    return None if found is None or serves_several.get() else found.deadline


def _end_at(deadline: float, response: AsyncAPIResponse[Any], timed_out: Callable[[], Exception]) -> None:
    """End the body of *response* at the deadline, unless it has been read by then."""
    timer = asyncio.get_running_loop().call_at(deadline, lambda: response.abort(timed_out()))
    response.on_close(timer.cancel)


class PropagateHeaders:
    """Once per send: adds the headers of the inbound request, and the time left."""

    def __init__(self, header: str | None, keep: frozenset[str] | None) -> None:
        self.header = header
        self._keep = keep

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* with the headers."""
        found = current.get()
        if found is not None and request.is_trusted(request.trusted_origins):
            request.headers.update(self._unset(request, found.headers))  # `inbound` has checked them
            deadline = _deadline()
            if self.header is not None and deadline is not None and not request.call_sets(self.header):
                if request.deadline is not None:
                    deadline = min(deadline, request.deadline)
                left = max(0.0, deadline - asyncio.get_running_loop().time())
                request.headers[self.header] = write_duration(self.header, left)
        return await handler(request)

    def _unset(self, request: APIRequest, kept: Mapping[str, str]) -> dict[str, str]:
        """Return the *kept* headers that are neither set nor omitted yet."""
        # The state of one trace must not be combined with the parent of another.
        other_trace = "traceparent" in request.headers or request.call_sets("traceparent")
        return {
            name: value
            for name, value in kept.items()
            if (self._keep is None or name.lower() in self._keep)
            and name not in request.headers
            and not request.call_sets(name)
            and not (other_trace and name.lower() == "tracestate")
        }
