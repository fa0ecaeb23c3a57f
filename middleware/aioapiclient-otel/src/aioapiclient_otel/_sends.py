"""The middleware of each send: a CLIENT span, metrics, and the trace context in the request."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from opentelemetry import context
from opentelemetry.trace import Span, SpanKind, StatusCode

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler
from aioapiclient.errors import RetryableError

from ._conventions import Target, outcome_of, url_full
from ._record import CallRecord
from ._settings import Settings

__all__ = ["SendTelemetry"]


class SendTelemetry:
    """Report each send. Part of `OpenTelemetry`, which places it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __repr__(self) -> str:
        return "<SendTelemetry of OpenTelemetry>"

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* inside a span."""
        settings = self._settings
        here = context.get_current()
        if settings.is_suppressed(here):
            return await handler(request)
        send = _Send(settings, request, here)
        token = context.attach(send.here)
        try:
            response = await handler(request)
        except BaseException as error:
            send.end(error, request)
            raise
        finally:
            context.detach(token)
        send.end(response, request)
        return response


class _Send:
    """One send in progress."""

    __slots__ = ("_began", "_call", "_settings", "_span", "_target", "here")

    def __init__(self, settings: Settings, request: APIRequest, here: context.Context) -> None:
        self._settings = settings
        self._target = settings.target(request)
        self._began = asyncio.get_running_loop().time()
        self._span: Span | None = None
        self.here = here
        """The context that the send runs in."""
        call = request.extensions.get(settings.key)
        if call is None:
            call = request.extensions[settings.key] = CallRecord()
        self._call: CallRecord = call
        try:
            self._start_span(request)
        except Exception as error:
            settings.tracing.note(error)
        settings.inject(request, self.here)
        self.here = settings.suppressed(self.here)
        if settings.metrics:
            _count(settings, 1, self._target, self.here)

    def _start_span(self, request: APIRequest) -> None:
        settings, target = self._settings, self._target
        resend = self._call.begin_send(request, self._began)
        name = settings.span_name(request, target.name)
        # A sampler sees only the attributes that all sends of the endpoint share. The rest is added if the
        # span records.
        span = settings.send_tracer.start_span(name, self.here, SpanKind.CLIENT, target.attributes)
        self._span = span
        self.here = settings.around(span, self.here)
        if span.is_recording():
            span.set_attributes(_request_attributes(request, target, resend, settings.request_headers))

    def end(self, outcome: AsyncAPIResponse[Any] | BaseException, request: APIRequest) -> None:
        """Report how the send ended: with a response, whose body may still be unread, or with an error."""
        settings = self._settings
        now = asyncio.get_running_loop().time()
        attributes = outcome_of(outcome, request)
        try:
            self._call.end_send(outcome, attributes, now)
            if self._span is not None:
                self._end_span(self._span, outcome, attributes)
        except Exception as error:
            settings.tracing.note(error)
        if settings.metrics:
            self._measure(outcome, now - self._began, attributes)

    def _measure(
        self, outcome: AsyncAPIResponse[Any] | BaseException, seconds: float, attributes: dict[str, str | int]
    ) -> None:
        settings, target = self._settings, self._target
        try:
            settings.send_duration.record(max(0.0, seconds), {**target.attributes, **attributes}, self.here)
        except Exception as error:
            settings.metering.note(error)
        held = outcome.response if isinstance(outcome, RetryableError) else outcome
        if isinstance(held, AsyncAPIResponse) and not held.is_closed:
            held.on_close(partial(_count, settings, -1, target, self.here))
        else:
            _count(settings, -1, target, self.here)

    def _end_span(
        self, span: Span, outcome: AsyncAPIResponse[Any] | BaseException, attributes: dict[str, str | int]
    ) -> None:
        try:
            if span.is_recording():
                span.set_attributes(attributes)
                if isinstance(outcome, AsyncAPIResponse):
                    for name, attribute in self._settings.response_headers.items():
                        if name in outcome.headers:
                            span.set_attribute(attribute, outcome.headers.getall(name))
                if "error.type" in attributes:
                    span.set_status(StatusCode.ERROR)
        finally:
            span.end()


def _request_attributes(
    request: APIRequest, target: Target, resend: int, headers: dict[str, str]
) -> dict[str, Any]:
    attributes: dict[str, Any] = {"url.full": url_full(request)}
    if target.attributes["http.request.method"] != request.method:
        attributes["http.request.method_original"] = request.method
    if resend:
        attributes["http.request.resend_count"] = resend
    for name, attribute in headers.items():
        if name in request.headers:
            attributes[attribute] = request.headers.getall(name)
    return attributes


def _count(settings: Settings, number: int, target: Target, here: context.Context) -> None:
    """Add *number* to the active requests."""
    try:
        settings.active.add(number, target.attributes, here)
    except Exception as error:
        settings.metering.note(error)
