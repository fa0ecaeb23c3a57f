"""`OpenTelemetry`: the bundle of the two middlewares, one for each call and one for each send."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.metrics import MeterProvider
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import TracerProvider

from aioapiclient.contract import APIRequest, Middleware, check_flag, per_send

from ._calls import CallTelemetry
from ._sends import SendTelemetry
from ._settings import Settings

__all__ = ["OpenTelemetry"]


class OpenTelemetry:
    """Report calls to OpenTelemetry: spans, metrics, and the context of the trace on the wire.

    Each send has a CLIENT span by the stable HTTP conventions. Each call has one INTERNAL span around its
    sends, with an event for each retry. The header ``traceparent``, or the headers of the propagator, are
    sent to the client's own origin and to ``trusted_origins``.

    No secret is reported: a URL has no userinfo, and each query value is ``REDACTED``. Failures of telemetry
    do not affect a call: they are logged once, by ``aioapiclient.otel``.

    It is a bundle, one entry of ``middlewares=``. Its place in the list is the place of its send middleware
    among the `per_send` ones.

    Args:
        tracer_provider: Creates the spans. None (the default) is the global one.
        meter_provider: Creates the metrics. None (the default) is the global one.
        propagator: Adds the context to the request. None (the default) is the global one.
        call_spans: Whether to create a span for each call, True by default.
        metrics: Whether to record metrics, True by default.
        template: Whether names and attributes contain the path template, True by default. Set it to
            False if your paths are f-strings with IDs.
        foreign: Whether to send the context to all origins, False by default, because baggage may be
            confidential.
        request_headers: Names of request headers to add to the send spans. None by default.
        response_headers: Names of response headers to add to the send spans. None by default.
        name: A function of the request that returns the name of its span; it must not change the request.

    Raises:
        InvalidRequestError: A header's name is not valid, or its value is a secret.
        TypeError: An argument has the wrong type.

    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        propagator: TextMapPropagator | None = None,
        call_spans: bool = True,
        metrics: bool = True,
        template: bool = True,
        foreign: bool = False,
        request_headers: Iterable[str] = (),
        response_headers: Iterable[str] = (),
        name: Callable[[APIRequest], str] | None = None,
    ) -> None:
        check_flag("call_spans", call_spans)
        settings = Settings(
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            propagator=propagator,
            metrics=metrics,
            template=template,
            foreign=foreign,
            request_headers=request_headers,
            response_headers=response_headers,
            name=name,
        )
        self._call = CallTelemetry(settings, spans=call_spans) if call_spans or metrics else None
        self._send = SendTelemetry(settings)

    def __repr__(self) -> str:
        return "<OpenTelemetry: middlewares of each call and each send>"

    def middlewares(self) -> list[Middleware]:
        """Return the middleware of each call, unless it would report nothing, and that of each send."""
        send = per_send(self._send)
        return [send] if self._call is None else [self._call, send]
