"""The middleware of each call: an INTERNAL span around its sends and waits, and its duration."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from opentelemetry import context
from opentelemetry.trace import Span, SpanKind, StatusCode

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler
from aioapiclient.errors import StreamConsumedError

from ._conventions import Target, error_type
from ._record import CallRecord
from ._settings import Settings

__all__ = ["CallTelemetry"]


class CallTelemetry:
    """Report each call. Part of `OpenTelemetry`, which places it.

    Args:
        settings: The state shared with the middleware of each send.
        spans: Whether to create a span for each call.

    """

    def __init__(self, settings: Settings, *, spans: bool) -> None:
        self._settings = settings
        self._spans = spans

    def __repr__(self) -> str:
        return "<CallTelemetry of OpenTelemetry>"

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* inside a span."""
        here = context.get_current()
        if self._settings.is_suppressed(here):
            return await handler(request)
        call = _Call(self._settings, request, here, spans=self._spans)
        token = None if call.here is here else context.attach(call.here)
        try:
            response = await handler(request)
        except BaseException as error:
            call.end(error_type(error, request))
            raise
        finally:
            if token is not None:
                context.detach(token)
        call.count_bytes(response)
        response.on_close(partial(call.end_with, response))
        return response


class _Call:
    """One call in progress."""

    __slots__ = ("_began", "_bytes", "_loop", "_record", "_settings", "_span", "_target", "here")

    def __init__(
        self, settings: Settings, request: APIRequest, here: context.Context, *, spans: bool
    ) -> None:
        self._settings = settings
        self._target = settings.target(request)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._span: Span | None = None
        self._bytes: int | None = None  # bytes read so far of a streamed body
        self.here = here
        """The context that the call runs in."""
        self._record = request.extensions[settings.key] = CallRecord()
        if spans:
            try:
                self._start_span(request, self._target)
            except Exception as error:
                settings.tracing.note(error)

    def _start_span(self, request: APIRequest, target: Target) -> None:
        settings = self._settings
        name = settings.span_name(request, target.name)
        span = settings.call_tracer.start_span(name, self.here, SpanKind.INTERNAL)
        self._span = span
        self.here = settings.around(span, self.here)
        if span.is_recording():
            self._record.span = span
            shared = target.call_attributes
            span.set_attributes({name: shared[name] for name in shared if not name.startswith("http.")})

    def count_bytes(self, response: AsyncAPIResponse[Any]) -> None:
        """Count the bytes of a streamed body, for the span."""
        if self._record.span is not None and not response.is_closed:
            response.on_chunk(self._count)

    def _count(self, size: int) -> None:
        self._bytes = size + (self._bytes or 0)

    def _size(self, response: AsyncAPIResponse[Any] | None) -> dict[str, int]:
        size = self._bytes
        if size is None and response is not None:
            try:
                size = len(response.body)
            except StreamConsumedError:  # the body was not read
                return {}
        return {} if size is None else {"aioapiclient.body.bytes": size}

    def end_with(self, response: AsyncAPIResponse[Any]) -> None:
        """Report a call when its response is closed, because a stream may break before its end."""
        failure = None
        if not response.ok:
            failure = str(response.status)
        elif response.error is not None:
            failure = error_type(response.error, response.request)
        self.end(failure, response)

    def end(self, failure: str | None, response: AsyncAPIResponse[Any] | None = None) -> None:
        """Report how the call ended."""
        settings = self._settings
        failed = {} if failure is None else {"error.type": failure}
        if self._span is not None:
            try:
                self._end_span(self._span, failed, response)
            except Exception as error:
                settings.tracing.note(error)
        if settings.metrics:
            try:
                seconds = max(0.0, self._loop.time() - self._began)
                settings.call_duration.record(seconds, {**self._target.call_attributes, **failed}, self.here)
            except Exception as error:
                settings.metering.note(error)

    def _end_span(self, span: Span, failed: dict[str, str], response: AsyncAPIResponse[Any] | None) -> None:
        try:
            if span.is_recording():
                span.set_attributes(
                    {
                        "aioapiclient.sends": self._record.sends,
                        "aioapiclient.attempts": self._record.attempts,
                        **self._size(response),
                        **failed,
                    }
                )
                if failed:
                    span.set_status(StatusCode.ERROR)
        finally:
            self._record.span = None
            span.end()
