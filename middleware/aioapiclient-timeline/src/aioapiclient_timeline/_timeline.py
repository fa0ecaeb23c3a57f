"""`Timeline`: the two middlewares that write the record, and pass it to the sinks when the call has ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeAlias

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler, Middleware, check_function, per_send
from aioapiclient.errors import APIConnectionError, APIResponseValidationError, APITimeoutError

from ._record import Call, Send

__all__ = ["Recorder", "Sink", "Timeline", "current"]

Sink: TypeAlias = Callable[[Call], object]
"""A sink: a plain function that receives each `Call`."""

_logger = logging.getLogger("aioapiclient.timeline")

_MOST_SENDS: Final = 100
_TIMER_RESOLUTION: Final = 0.001  # seconds; on uvloop, a timer may fire this much early
_LONGEST_TEXT: Final = 200  # the most characters of a text from outside


class Timeline:
    """Record each call, and pass the record to every sink when the call has ended.

    It is a bundle, one entry of ``middlewares=``: a middleware once per call, and another once per send. A
    buffered call ends when its body is read, a stream when it is closed. One timeline may serve
    many clients.

    An exception of a sink never reaches the call: the first one of each sink is logged by the logger
    ``aioapiclient.timeline``, later ones are not.

    Args:
        *sinks: Plain functions of a `Call`: `log_calls`, `prometheus`, ``calls.append``. They run in the
            event loop, so they must not block.
        clock: Returns the time in seconds, for tests; `time.perf_counter` by default.

    Raises:
        TypeError: A sink or the clock is not a plain function.

    """

    def __init__(self, *sinks: Sink, clock: Callable[[], float] = time.perf_counter) -> None:
        for sink in sinks:
            check_function("a sink", sink)
        check_function("clock", clock)
        self.sinks: tuple[Sink, ...] = sinks
        self._clock = clock
        self._failed: set[int] = set()
        # Each timeline finds only its own record.
        self._key = f"aioapiclient.timeline.{id(self)}"

    def __repr__(self) -> str:
        return f"Timeline({len(self.sinks)} sinks)"

    def middlewares(self) -> list[Middleware]:
        """Return the middleware of each call and the middleware of each send."""
        return [self.call, per_send(self.send)]

    async def call(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle a call, and record it."""
        recorder = Recorder(request, self._clock)
        request.extensions[self._key] = recorder
        try:
            response = await handler(request)
        except BaseException as error:
            recorder.failed(recorder.call, error)
            self._finish(recorder)
            raise
        _note_response(recorder.call, response)
        if response.is_closed:
            self._finish(recorder)
        else:
            recorder.call.streamed = True
            response.on_close(partial(self._end_stream, recorder, response))
        return response

    async def send(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle a send, and add it to the record of its call."""
        recorder: Recorder | None = request.extensions.get(self._key)
        send = None if recorder is None else recorder.begin(request)
        if recorder is None or send is None:
            return await handler(request)
        token = current.set((recorder, send))
        try:
            response = await handler(request)
        except BaseException as error:
            recorder.failed(send, error)
            send.ended = recorder.now()
            raise
        finally:
            current.reset(token)
        recorder.answered(send, response)
        return response

    def _end_stream(self, recorder: Recorder, response: AsyncAPIResponse[Any]) -> None:
        recorder.broke(recorder.call, response)
        self._finish(recorder)

    def _finish(self, recorder: Recorder) -> None:
        recorder.finish()
        for place, sink in enumerate(self.sinks):
            try:
                sink(recorder.call)
            except Exception:
                if place not in self._failed:
                    self._failed.add(place)
                    _logger.exception("Sink %d failed; its further failures are not logged", place)


class Recorder:
    """The record of a call in progress, with its clock."""

    __slots__ = ("_clock", "_deadline", "_ended", "_late", "_url", "_zero", "call")

    def __init__(self, request: APIRequest, clock: Callable[[], float]) -> None:
        self.call = Call(request.method, _printable(request.template), request.origin, time.time())
        self._clock = clock
        self._deadline = request.deadline
        self._url = request.url
        self._ended = False
        # A response's `elapsed` counts from the start of the call, which was before this middleware.
        started = request.started
        self._late = 0.0 if started is None else asyncio.get_running_loop().time() - started
        self._zero = clock()

    def now(self) -> float:
        """Return the seconds since the call began."""
        return self._clock() - self._zero

    def begin(self, request: APIRequest) -> Send | None:
        """Add a send to the record and return it; None if the record is full or complete."""
        call, attempt = self.call, request.attempt
        if self._ended:
            return None
        call.attempts = max(call.attempts, attempt + 1)
        if len(call.sends) >= _MOST_SENDS:
            call.dropped += 1
            return None
        origin = call.origin if request.url is self._url else request.origin
        send = Send(attempt, origin, _shown(request, origin), _printable(request.template), self.now())
        if call.sends:
            send.hedged = any(other.attempt == attempt and _is_open(other) for other in call.sends)
        call.sends.append(send)
        return send

    def answered(self, send: Send, response: AsyncAPIResponse[Any]) -> None:
        """Note the response of *send*."""
        now = self.now()
        send.status = response.status
        if send.head is None:
            head = response.elapsed.total_seconds() - self._late
            send.head = min(head, now) if send.began <= head else None
        if response.is_closed:
            send.ended = now
        else:
            response.on_close(partial(self._end, send, response))

    def failed(self, record: Call | Send, error: BaseException) -> None:
        """Note the error that ended *record*."""
        if isinstance(error, asyncio.CancelledError) and self._is_over():
            # The time limit of the whole call ends it by a cancellation, which becomes the error in an outer
            # middleware.
            record.error, record.reason = "APITimeoutError", "total"
        else:
            _note_error(record, error)

    def _is_over(self) -> bool:
        deadline = self._deadline
        return deadline is not None and asyncio.get_running_loop().time() >= deadline - _TIMER_RESOLUTION

    def finish(self) -> None:
        """Complete the record."""
        self._ended = True
        self.call.seconds = self.now()
        for send in self.call.sends:
            if send.ended is None:
                send.ended = self.call.seconds

    def broke(self, record: Call | Send, response: AsyncAPIResponse[Any]) -> None:
        """Note the error that ended the body of *response*, if one did."""
        if response.error is not None:
            self.failed(record, response.error)

    def _end(self, send: Send, response: AsyncAPIResponse[Any]) -> None:
        if send.ended is None:
            self.broke(send, response)
            send.ended = self.now()


current: ContextVar[tuple[Recorder, Send] | None] = ContextVar("aioapiclient_timeline.send", default=None)
"""The send in progress in this context, for `trace_config`."""


def _note_response(call: Call, response: AsyncAPIResponse[Any]) -> None:
    call.status = response.status
    request_id = response.request_id
    call.request_id = None if request_id is None else _printable(request_id)


def _note_error(record: Call | Send, error: BaseException) -> None:
    record.error = type(error).__name__
    if isinstance(error, APITimeoutError):
        record.reason = error.phase
    elif isinstance(error, APIConnectionError):
        record.reason = error.reason
    elif isinstance(error, APIResponseValidationError):
        record.status = error.status


def _is_open(send: Send) -> bool:
    return send.status is None and send.error is None


def _shown(request: APIRequest, origin: str) -> str:
    """Return the URL as in `APIRequest.label`, which would cost more than the rest of a record."""
    path = request.url.raw_path
    if len(path) > _LONGEST_TEXT or not path.isprintable():
        return request.label.partition(" ")[2]
    return f"{origin}{path}?..." if request.url.raw_query_string else f"{origin}{path}"


def _printable(text: str | None) -> str | None:
    """Return the text as one line of bounded length, so that it cannot forge a log line."""
    if text is None or (text.isprintable() and len(text) <= _LONGEST_TEXT):
        return text
    shown = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."
    return shown if shown.isprintable() else ascii(shown)[1:-1]
