"""Prints the trace of a call that is retried and redirected, and the metrics of all calls.

::

    pip install aioapiclient-otel opentelemetry-sdk
    python middleware/aioapiclient-otel/examples/tracing.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aioapiclient_otel import OpenTelemetry
from aiohttp import web
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aioapiclient import AsyncAPIClient

exporter = InMemorySpanExporter()  # a service uses an OTLPSpanExporter instead
reader = InMemoryMetricReader()  # and a PeriodicExportingMetricReader(OTLPMetricExporter())
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))


async def work(url: str) -> None:
    tracer = trace.get_tracer("the service")
    async with AsyncAPIClient(url, middlewares=[OpenTelemetry()]) as api:
        with tracer.start_as_current_span("greet"):
            user = await api.get("/users/{id}", path_params={"id": 7}, params={"key": "s3cret"})
            await api.get("/users", params={"name": user["name"]}, ok_statuses={404})


# --- reports


def show_trace(spans: Sequence[ReadableSpan]) -> None:
    """Print the spans as a tree, in the order in which they began."""
    depths: dict[int, int] = {}
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        depth = depths.get(span.parent.span_id, 0) if span.parent else 0
        if span.context:
            depths[span.context.span_id] = depth + 1
        print("  " * depth + describe(span))
        for event in span.events:
            print("  " * depth + f"  * {event.name}: {(event.attributes or {}).get('error.type')!s}")


def describe(span: ReadableSpan) -> str:
    facts = span.attributes or {}
    shown = [span.kind.name, span.name]
    if span.kind is trace.SpanKind.CLIENT:
        shown += [str(facts["http.response.status_code"]), str(facts["url.full"]).partition("/users")[2]]
        if resend := facts.get("http.request.resend_count"):
            shown.append(f"(resend {resend})")
    return " ".join(part for part in shown if part)


def show_durations() -> None:
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            for point in metric.data.data_points:
                if isinstance(point, HistogramDataPoint):
                    show_duration(metric.name, dict(point.attributes or {}), point.count)


def show_duration(name: str, facts: dict[str, Any], count: int) -> None:
    status = facts.get("http.response.status_code", "")
    print(name, facts["http.request.method"], facts.get("url.template", ""), status, f"x{count}")


# --- the server


class Server:
    """Fails at first, and redirects requests for users."""

    def __init__(self) -> None:
        self._asked = 0

    async def user(self, request: web.Request) -> web.Response:
        self._asked += 1
        if self._asked == 1:
            return web.Response(status=503, headers={"retry-after-ms": "10"})
        return web.Response(status=302, headers={"Location": "/users/7/profile"})

    async def profile(self, request: web.Request) -> web.Response:
        return web.json_response({"name": "Ada"})


@asynccontextmanager
async def serving(server: Server) -> AsyncGenerator[str, None]:
    app = web.Application()
    app.add_routes([web.get("/users/{id}", server.user), web.get("/users/{id}/profile", server.profile)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def main() -> None:
    async with serving(Server()) as url:
        await work(url)
    show_trace(exporter.get_finished_spans())
    show_durations()


if __name__ == "__main__":
    asyncio.run(main())
