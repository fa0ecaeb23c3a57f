"""OpenTelemetry: a span for each call and each send, metrics, and the trace's context on the wire."""

from .bundle import OpenTelemetry

__all__ = ["OpenTelemetry"]
