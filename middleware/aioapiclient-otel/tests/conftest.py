"""Shared by the tests: an SDK that keeps all spans and metrics, and checks them against the conventions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the OpenTelemetry SDK is not installed")

from aioapiclient_otel import OpenTelemetry
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    Histogram,
    InMemoryMetricReader,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

MODEL: Mapping[str, Any] = json.loads(Path(__file__).with_name("otel_http.json").read_text("utf-8"))
TYPES: Mapping[str, type[Any]] = {"string": str, "int": int, "enum": str}
ENUMS = {"http.request.method": MODEL["attributes"]["http.request.method"]["members"]}
OF_A_CALL = {
    "aioapiclient.sends": int,
    "aioapiclient.attempts": int,
    "aioapiclient.body.bytes": int,
    "error.type": str,
    "server.address": str,
    "url.template": str,
}
OF_AN_EVENT = {
    "aioapiclient.attempt": int,
    "aioapiclient.wait": float,
    "aioapiclient.retry_after": float,
    "error.type": str,
}


class Telemetry:
    """An `OpenTelemetry` with a separate SDK, and the data that the SDK received."""

    def __init__(self, **sdk: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False, **sdk)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.opted_in: set[str] = {"url.template"}
        """The opt-in attributes that the test requested."""

    def make(self, **options: Any) -> OpenTelemetry:
        """The bundle under test."""
        for side in ("request", "response"):
            for name in options.get(f"{side}_headers", ()):
                self.opted_in.add(f"http.{side}.header.{name.lower()}")
        return OpenTelemetry(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options
        )

    @property
    def spans(self) -> list[ReadableSpan]:
        """Every span that has ended, in the order of their beginnings."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    @property
    def calls(self) -> list[ReadableSpan]:
        """The spans of the calls."""
        return [span for span in self.spans if span.kind is SpanKind.INTERNAL]

    @property
    def sends(self) -> list[ReadableSpan]:
        """The spans of the sends."""
        return [span for span in self.spans if span.kind is SpanKind.CLIENT]

    def metrics(self) -> dict[str, Any]:
        """Every metric by its name."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[dict[str, Any]]:
        """The attributes of each data point of a metric, with its number of values."""
        metric = self.metrics().get(name)
        points = [] if metric is None else metric.data.data_points
        return [
            {**point.attributes, "n": point.value if isinstance(point, NumberDataPoint) else point.count}
            for point in points
        ]

    def reported(self) -> str:
        """All reported data as text, for searching secrets."""
        data = self.reader.get_metrics_data()
        return "".join(span.to_json() for span in self.spans) + (data.to_json() if data else "")

    def judge(self) -> None:
        """Hold every span and every metric against the model of the conventions."""
        for span in self.spans:
            if span.kind is SpanKind.CLIENT:
                self._judge_send(span)
            else:
                judge_call(span)
        for name, metric in self.metrics().items():
            if name.startswith("http."):
                self._judge_metric(metric)

    def _judge_send(self, span: ReadableSpan) -> None:
        attributes = dict(span.attributes or {})
        levels = MODEL["spans"]["span.http.client"]["attributes"]
        self._judge_attributes(attributes, levels, span.status.status_code is StatusCode.ERROR)
        method, original = attributes["http.request.method"], attributes.get("http.request.method_original")
        assert (original is not None) == (method == "_OTHER")
        assert span.name.split(" ")[0] == ("HTTP" if method == "_OTHER" else method)
        assert attributes.get("http.request.resend_count", 1) > 0
        assert not span.events

    def _judge_metric(self, metric: Any) -> None:
        model = MODEL["metrics"][metric.name]
        assert metric.unit == model["unit"]
        assert type(metric.data) is {"histogram": Histogram, "updowncounter": Sum}[model["instrument"]]
        if isinstance(metric.data, Sum):
            assert not metric.data.is_monotonic
        for point in metric.data.data_points:
            attributes = dict(point.attributes)
            self._judge_attributes(attributes, model["attributes"], "error.type" in attributes)
            if metric.name in MODEL["advised_buckets"]:
                assert list(point.explicit_bounds) == MODEL["advised_buckets"][metric.name]

    def _judge_attributes(self, attributes: dict[str, Any], levels: dict[str, Any], failed: bool) -> None:
        for name, value in attributes.items():
            side = name.rpartition(".")[0]
            modelled = side if side in {"http.request.header", "http.response.header"} else name
            assert modelled in levels, f"{name} is not an attribute of it"
            if levels[modelled] == "opt_in":
                assert name in self.opted_in, f"{name} is opt-in"
            if modelled != name:
                assert isinstance(value, tuple)
                assert all(isinstance(item, str) for item in value)
                continue
            kind = TYPES[MODEL["attributes"][name]["type"]]
            assert type(value) is kind, f"{name} must be {kind}, not {value!r}"
            assert value in ENUMS.get(name, [value])
        for name, level in levels.items():
            if level == "required":
                assert name in attributes, f"{name} is required"
        if "error.type" in levels:
            assert ("error.type" in attributes) == failed


def judge_call(span: ReadableSpan) -> None:
    """Check the span of a call against the docs: no attribute suggests a request on the wire."""
    assert span.kind is SpanKind.INTERNAL
    attributes = dict(span.attributes or {})
    assert {name: type(value) for name, value in attributes.items()}.items() <= OF_A_CALL.items()
    assert ("error.type" in attributes) == (span.status.status_code is StatusCode.ERROR)
    for event in span.events:
        assert event.name in {"retry", "hedge", "throttled"}
        kinds = {name: type(value) for name, value in (event.attributes or {}).items()}
        assert kinds.items() <= OF_AN_EVENT.items()


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """The data reported in a test; all of it is checked against the conventions at the end."""
    telemetry = Telemetry()
    yield telemetry
    telemetry.judge()
    telemetry.tracer_provider.shutdown()
    telemetry.meter_provider.shutdown()
