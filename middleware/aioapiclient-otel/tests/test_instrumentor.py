"""Together with OpenTelemetry's own instrumentor of aiohttp's client, on a real server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.trace import StatusCode

from aioapiclient import AiohttpTransport, APIConnectionError, AsyncAPIClient

instrumentation = pytest.importorskip(
    "opentelemetry.instrumentation.aiohttp_client", reason="OpenTelemetry's instrumentor is not installed"
)


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, list[str]]]:
    """A server, and the header ``traceparent`` of each request received."""
    came: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        came.append(request.headers.get("traceparent", ""))
        return web.json_response({})

    app = web.Application()
    app.add_routes([web.get("/users", answer)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", came
    await runner.cleanup()


@pytest.fixture
def instrumented(telemetry: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The instrumentor, active for all sessions created afterwards."""
    monkeypatch.setitem(os.environ, "OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    instrumentor = instrumentation.AioHttpClientInstrumentor()
    instrumentor.instrument(
        tracer_provider=telemetry.tracer_provider, meter_provider=telemetry.meter_provider
    )
    yield
    instrumentor.uninstrument()


def scopes(telemetry: Any) -> list[str]:
    """The libraries that created the spans."""
    return [span.instrumentation_scope.name for span in telemetry.spans]


async def test_the_instrumentor_sees_our_sessions(
    telemetry: Any, instrumented: None, server: tuple[str, list[str]]
) -> None:
    """Without the plugin the instrumentor creates a span for each send, which the next test relies on."""
    async with AsyncAPIClient(server[0]) as api:
        await api.get("/users")

    assert scopes(telemetry) == ["opentelemetry.instrumentation.aiohttp_client"]
    telemetry.exporter.clear()


async def test_no_send_is_reported_twice(
    telemetry: Any, instrumented: None, server: tuple[str, list[str]]
) -> None:
    """With the plugin only its spans exist, and the server receives the context of the send; other clients
    keep the instrumentor's spans.
    """
    url, came = server
    async with AsyncAPIClient(url, middlewares=[telemetry.make()]) as api:
        await api.get("/users")

    assert scopes(telemetry) == ["aioapiclient.call", "aioapiclient.send"]
    here = telemetry.sends[0].context
    assert came == [f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"]
    assert [point["n"] for point in telemetry.points("http.client.request.duration")] == [1]
    telemetry.judge()

    async with aiohttp.ClientSession() as session, session.get(f"{url}/users"):
        pass
    assert len(telemetry.spans) == 3
    telemetry.exporter.clear()


async def test_a_name_that_does_not_resolve(telemetry: Any) -> None:
    """The span has the requested server, and no status."""

    class NoNames(aiohttp.abc.AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
            raise OSError(-2, "Name or service not known")

        async def close(self) -> None:
            pass

    transport = AiohttpTransport(connector=lambda: aiohttp.TCPConnector(resolver=NoNames()))
    api = AsyncAPIClient("http://nobody.test", middlewares=[telemetry.make()], transport=transport)
    async with api:
        with pytest.raises(APIConnectionError, match="nobody"):
            await api.get("/users", max_retries=0)

    (send,) = telemetry.sends
    assert send.attributes["server.address"] == "nobody.test"
    assert send.attributes["server.port"] == 80
    assert send.attributes["error.type"] == "APIConnectionError"
    assert send.status.status_code is StatusCode.ERROR
