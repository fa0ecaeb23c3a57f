"""Tests of the service: against a real upstream on loopback, and against routes without any server."""

import asyncio
import logging

import pytest
from aioapiclient_otel import OpenTelemetry
from aiohttp.test_utils import TestServer
from app import API, make_app, make_client
from opentelemetry.sdk.trace import TracerProvider
from pytest_aioapiclient import ClientFactory, MockAPI
from pytest_aiohttp import AiohttpClient, AiohttpServer
from upstream import FAILURES, REQUESTS, make_upstream
from yarl import URL

TELEMETRY = OpenTelemetry(tracer_provider=TracerProvider())


@pytest.fixture
async def api(aiohttp_server: AiohttpServer) -> TestServer:
    return await aiohttp_server(make_upstream())


async def test_call(api: TestServer, aiohttp_client: AiohttpClient, caplog: pytest.LogCaptureFixture) -> None:
    """Calls share a token, are retried, and have their request ID and trace at the API, and a log record."""
    caplog.set_level(logging.INFO, "aioapiclient.calls")
    service = await aiohttp_client(make_app(make_client(api.make_url("/"), "a-secret", TELEMETRY)))
    api.app[FAILURES].append(503)
    ids = ["id-1", "id-2", "id-3"]
    answers = await asyncio.gather(*(service.get("/hello/7", headers={"X-Request-Id": i}) for i in ids))
    assert [await answer.json() for answer in answers] == [{"hello": "ada"}] * 3
    assert [answer.headers["X-Request-Id"] for answer in answers] == ids
    assert [request.path for request in api.app[REQUESTS]] == ["/token", *["/v1/users/7"] * 4]
    sent = api.app[REQUESTS][1:]
    assert {request.headers["X-Request-Id"] for request in sent} == {*ids}
    assert len({request.headers["traceparent"].split("-")[1] for request in sent}) == 3
    assert sorted(vars(record)["http"]["attempts"] for record in caplog.records) == [1, 1, 1, 2]


async def test_failures(api: TestServer, aiohttp_client: AiohttpClient) -> None:
    """A missing user gives a 404, a failing API a 502; an open circuit gives a 503, and nothing is sent."""
    service = await aiohttp_client(make_app(make_client(api.make_url("/"), "a-secret", TELEMETRY)))
    assert (await service.get("/hello/8")).status == 404
    api.app[FAILURES].extend([503] * 9)
    statuses = [(await service.get("/hello/7")).status for _ in range(3)]
    assert (statuses, len(api.app[REQUESTS])) == ([502, 503, 503], 5)
    health = await (await service.get("/health")).json()
    assert health["origins"][str(api.make_url("/").origin())]["CircuitBreakerMiddleware"]["circuit"] == "open"


async def test_deadline(api: TestServer, aiohttp_client: AiohttpClient) -> None:
    """The API receives the caller's remaining time, and a caller whose time has run out gets a 504."""
    service = await aiohttp_client(make_app(make_client(api.make_url("/"), "a-secret", TELEMETRY)))
    answers = [await service.get("/hello/7", headers={"X-Request-Timeout": text}) for text in ("0", "60")]
    assert [answer.status for answer in answers] == [504, 200]
    assert all(0 < float(request.headers["X-Request-Timeout"]) < 10 for request in api.app[REQUESTS][1:])


async def test_rate(api: TestServer, aiohttp_client: AiohttpClient) -> None:
    """A call whose turn is too far away gives a 503 with Retry-After; the service closes its client."""
    service = await aiohttp_client(make_app(make_client(api.make_url("/"), "a-secret", TELEMETRY, "20/h")))
    first, second = [await service.get("/hello/7") for _ in range(2)]
    assert (first.status, second.status, len(api.app[REQUESTS])) == (200, 503, 2)
    assert 100 < int(second.headers["Retry-After"]) <= 180
    await service.close()
    assert service.app[API].is_closed()


async def test_motto(mock_api: MockAPI, api_client: ClientFactory, aiohttp_client: AiohttpClient) -> None:
    """The motto is fetched once for all callers, for as long as the API allows."""
    mock_api.post("/token").respond(json={"access_token": "a-token", "token_type": "Bearer"})
    route = mock_api.get("/motto").respond(text="hi", headers={"Cache-Control": "max-age=60"})
    service = await aiohttp_client(make_app(api_client(make_client, URL("https://h"), "secret", TELEMETRY)))
    answers = [await (await service.get("/motto")).text() for _ in range(5)]
    assert (answers, route.call_count) == (["hi"] * 5, 1)
