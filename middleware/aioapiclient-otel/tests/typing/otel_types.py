"""The types of the bundle; checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioapiclient_otel import OpenTelemetry
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import TracerProvider

from aioapiclient import APIRequest, AsyncAPIClient, load_middleware
from aioapiclient.contract import Middleware


def named(request: APIRequest) -> str:
    """The values that ``name`` accepts."""
    return request.method


def made(provider: TracerProvider, propagator: TextMapPropagator) -> None:
    """It is an entry of ``middlewares=``, and so is its name."""
    otel = OpenTelemetry(
        tracer_provider=provider, propagator=propagator, request_headers={"Via"}, name=named, foreign=True
    )
    assert_type(otel.middlewares(), list[Middleware])
    AsyncAPIClient("https://h", middlewares=[otel, "otel", load_middleware("otel", metrics=False)])
    OpenTelemetry(tracer_provider=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    OpenTelemetry(name="GET")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
