"""`inbound`: makes the deadline and headers of an inbound request available to the calls made for it."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDict

from aioapiclient.contract import check_seconds

from ._arguments import check, header_name, header_names
from .durations import read_duration

__all__ = ["TIMEOUT_HEADER", "TRACE_HEADERS", "Inbound", "current", "inbound", "time_left"]

TIMEOUT_HEADER: Final = "X-Request-Timeout"
TRACE_HEADERS: Final = ("traceparent", "tracestate")
_ID_HEADER: Final = "X-Request-Id"
_LISTS: Final = frozenset({"tracestate", "baggage"})  # may span several lines (W3C Trace Context §3.3)

# Characters that may be sent on: no byte that another server could take for a line end.
_VALUE = re.compile(r"[\t -~]{1,8190}")
# An ID goes into logs too, so it must not contain a space, which would forge a field.
_ID = re.compile(r"[!-~]{1,128}")


class Inbound(NamedTuple):
    """The state of an inbound request that the calls made for it need."""

    deadline: float | None
    """The time on the event loop's clock at which every call must have ended."""

    headers: CIMultiDict[str]
    """The headers to send on. Many calls read them, so they must not be changed."""

    def __repr__(self) -> str:
        return f"<Inbound: deadline={self.deadline}, headers {', '.join(self.headers) or 'none'}>"


current: Final[ContextVar[Inbound | None]] = ContextVar("aioapiclient_web.current", default=None)

# Stored on the request itself: a server started while a request is handled inherits that request's context.
_KEY: Final = "aioapiclient_web.inbound"
_SEEN: Final[Any] = (
    web.RequestKey(_KEY, Inbound) if hasattr(web, "RequestKey") else _KEY
)  # new in aiohttp 3.14


def time_left() -> float | None:
    """Return the seconds left until the deadline of the current request, or None without a deadline."""
    found = current.get()
    if found is None or found.deadline is None:
        return None
    return max(0.0, found.deadline - asyncio.get_running_loop().time())


def inbound(
    *,
    budget: float | None = None,
    header: str = TIMEOUT_HEADER,
    most: float = 300.0,
    reserve: float = 0.05,
    keep: Iterable[str] = (*TRACE_HEADERS, "baggage", _ID_HEADER),
    request_id: ContextVar[str | None] | None = None,
) -> Middleware:
    """Return a middleware of aiohttp.web that sets the deadline and the headers of each request's calls.

    A client with `Propagate` reads them, in the handler and in the tasks that the handler starts. A value
    that is malformed counts as missing. If two of these middlewares see one request, as with a
    sub-application, the earlier deadline holds.

    Args:
        budget: The most seconds for any request. None (the default): only its own header counts.
        header: The header with the time that the caller waits, such as ``0.3``, ``300ms`` or, as in
            gRPC, ``300m``. If it ends with ``-ms``, a number without a unit is milliseconds.
        most: The most seconds that the header can set, 300 by default.
        reserve: Seconds kept for the response itself, 0.05 by default. Calls end that much earlier.
        keep: The headers to send on. By default those of the trace, the baggage and the request ID.
        request_id: A context variable for the ID of the request while it is handled, such as ``request_id``
            of aioapiclient-requestid. With it, each request has an ID: its ``X-Request-Id``, or a new one.
            The response has it too, unless the handler has already sent its head.

    Returns:
        An entry for ``web.Application(middlewares=[...])``, outside of `problems`.

    Raises:
        InvalidRequestError: A number or the name of a header is out of range.
        TypeError: An argument has the wrong type.
    """
    if request_id is not None:
        check("request_id", request_id, ContextVar, "a ContextVar")
    return _Reader(
        None if budget is None else check_seconds("budget", budget),
        header_name("header", header),
        check_seconds("most", most),
        check_seconds("reserve", reserve),
        header_names("keep", keep),
        request_id,
    ).middleware()


class _Reader(NamedTuple):
    budget: float | None
    header: str
    most: float
    reserve: float
    keep: tuple[str, ...]
    request_id: ContextVar[str | None] | None

    def middleware(self) -> Middleware:
        @web.middleware
        async def inbound(request: web.Request, handler: Handler) -> web.StreamResponse:
            found = self.read(request)
            request[_SEEN] = found
            before = current.set(found)
            try:
                if self.request_id is None:
                    return await handler(request)
                return await _with_id(self.request_id, found.headers[_ID_HEADER], request, handler)
            finally:
                # Outer middlewares continue in the same context.
                current.reset(before)

        return inbound

    def read(self, request: web.Request) -> Inbound:
        """Read the deadline and headers of *request*, within the limits of an outer middleware."""
        outer: Any = request.get(_SEEN)
        headers: CIMultiDict[str] = CIMultiDict() if outer is None else CIMultiDict(outer.headers)
        headers.update(_kept(request, self.keep))
        if self.request_id is not None:
            headers[_ID_HEADER] = _id_of(request)
        deadline = self._deadline(request)
        if outer is not None and outer.deadline is not None:
            deadline = outer.deadline if deadline is None else min(deadline, outer.deadline)
        return Inbound(deadline, headers)

    def _deadline(self, request: web.Request) -> float | None:
        said = [read_duration(self.header, text) for text in request.headers.getall(self.header, ())]
        limits = [min(self.most, one) for one in said if one is not None]
        if self.budget is not None:
            limits.append(self.budget)
        if not limits:
            return None
        return asyncio.get_running_loop().time() + max(0.0, min(limits) - self.reserve)


def _kept(request: web.Request, names: Iterable[str]) -> dict[str, str]:
    kept = {name: value for name in names if (value := _one_value(request, name)) is not None}
    if "traceparent" not in {name.lower() for name in kept}:
        # Without its parent, the state means nothing (W3C Trace Context §3.3).
        kept = {name: value for name, value in kept.items() if name.lower() != "tracestate"}
    return kept


def _one_value(request: web.Request, name: str) -> str | None:
    values = request.headers.getall(name, ())
    if len(values) > 1 and name.lower() not in _LISTS:
        return None
    value = ",".join(values).strip(" \t")
    return value if _VALUE.fullmatch(value) else None


def _id_of(request: web.Request) -> str:
    value = _one_value(request, _ID_HEADER)
    return value if value is not None and _ID.fullmatch(value) else uuid.uuid4().hex


async def _with_id(
    variable: ContextVar[str | None], value: str, request: web.Request, handler: Handler
) -> web.StreamResponse:
    before = variable.set(value)
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.headers[_ID_HEADER] = value
        raise
    finally:
        variable.reset(before)
    if not response.prepared:
        response.headers[_ID_HEADER] = value
    return response
