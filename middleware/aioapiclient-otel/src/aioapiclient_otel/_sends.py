"""The middleware of each send: a CLIENT span, metrics, and the context of the trace on the wire."""

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
from ._settings import SUPPRESS_HTTP, SUPPRESSED_BY_US, Settings

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
        if settings.is_suppressed():
            return await handler(request)
        send = _Send(settings, request)
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
    """One send, from the moment it begins."""

    __slots__ = ("_began", "_call", "_settings", "_span", "_target", "here")

    def __init__(self, settings: Settings, request: APIRequest) -> None:
        self._settings = settings
        self._target = settings.target(request)
        self._began = asyncio.get_running_loop().time()
        self._span: Span | None = None
        self.here = context.get_current()
        """The context that the send runs in."""
        call = request.extensions.get(settings.key)
        if call is None:
            call = request.extensions[settings.key] = CallRecord()
        self._call: CallRecord = call
        with settings.spans:
            self._start_span(request)
        with settings.propagation:
            settings.inject(request, self.here)
        if SUPPRESS_HTTP is not None:
            self.here = context.set_value(SUPPRESS_HTTP, SUPPRESSED_BY_US, self.here)
        if settings.metrics:
            with settings.instruments:
                settings.active.add(1, self._target.attributes, self.here)

    def _start_span(self, request: APIRequest) -> None:
        settings, target = self._settings, self._target
        resend = self._call.begin_send(request, self._began)
        name = settings.span_name(request, target.name)
        # A sampler sees what all sends of the endpoint share. Only a span that records is worth the rest.
        span = settings.send_tracer.start_span(name, kind=SpanKind.CLIENT, attributes=target.attributes)
        self._span = span
        self.here = settings.around(span, self.here)
        if span.is_recording():
            span.set_attributes(_request_attributes(request, target, resend, settings.request_headers))

    def end(self, outcome: AsyncAPIResponse[Any] | BaseException, request: APIRequest) -> None:
        """Report how it ended: with a response, whose body may still come, or with an error."""
        settings = self._settings
        now = asyncio.get_running_loop().time()
        attributes = outcome_of(outcome, request)
        with settings.spans:
            self._call.end_send(outcome, attributes, now)
            if self._span is not None:
                self._end_span(self._span, outcome, attributes)
        if not settings.metrics:
            return
        with settings.instruments:
            settings.send_duration.record(
                max(0.0, now - self._began), {**self._target.attributes, **attributes}, self.here
            )
        held = outcome.response if isinstance(outcome, RetryableError) else outcome
        if isinstance(held, AsyncAPIResponse) and not held.is_closed:
            held.on_close(partial(_deactivate, settings, self._target, self.here))
        else:
            _deactivate(settings, self._target, self.here)

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


def _deactivate(settings: Settings, target: Target, here: context.Context) -> None:
    with settings.instruments:
        settings.active.add(-1, target.attributes, here)
