"""A service that calls an API with the first-party plugins; README.md says how to run it."""

import logging
import math
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
from aioapiclient_loadcontrol import CircuitBreakerMiddleware, ConcurrencyLimitMiddleware
from aioapiclient_oauth import OAuth2
from aioapiclient_otel import OpenTelemetry
from aioapiclient_ratelimit import RateLimit
from aioapiclient_requestid import RequestId, RequestIdFilter, accept_id, request_id
from aioapiclient_timeline import Timeline, log_calls, trace_config
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler
from opentelemetry import trace
from upstream import make_upstream
from yarl import URL

from aioapiclient import AiohttpTransport, AsyncAPIClient, errors, per_attempt, per_send

API = web.AppKey("api", AsyncAPIClient)
BUSY = (errors.CircuitOpenError, errors.ConcurrencyLimitError, errors.RateLimitError, errors.ThrottledError)
STATUSES = ((errors.NotFoundError, 404), (BUSY, 503), (errors.APITimeoutError, 504))  # all others: 502


class User(msgspec.Struct):
    login: str


def make_client(url: URL, secret: str, telemetry: OpenTelemetry, rate: str = "50/s") -> AsyncAPIClient:
    """Return the client of the API; docs/chain.md explains the order of the middlewares."""
    return AsyncAPIClient(
        url / "v1",
        auth=OAuth2(url / "token", "my-service", secret),
        timeout=5.0,
        middlewares=[
            telemetry,
            Timeline(log_calls()),
            RequestId(),
            per_attempt(CircuitBreakerMiddleware(minimum_calls=5)),
            per_send(RateLimit(rate, max_wait=1.0)),
            per_send(ConcurrencyLimitMiddleware(20, max_waiting=100)),
        ],
        transport=AiohttpTransport(trace_configs=[trace_config()]),
    )


def make_app(client: AsyncAPIClient) -> web.Application:
    """Return the service, which closes *client* when it stops."""

    async def api_client(app: web.Application) -> AsyncIterator[None]:
        async with client:
            app[API] = client
            yield

    app = web.Application(middlewares=[keep_request_id, answer_errors])
    app.cleanup_ctx.append(api_client)
    app.add_routes([web.get("/hello/{id}", hello), web.get("/health", health)])
    return app


async def hello(request: web.Request) -> web.Response:
    user = await request.app[API].get("/users/{id}", User, path_params=request.match_info)
    return web.json_response({"hello": user.login})


async def health(request: web.Request) -> web.Response:
    return web.json_response(msgspec.to_builtins(request.app[API].stats()))


@web.middleware
async def keep_request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Use the caller's request ID, or a new one, for every call and log record of this request."""
    used = accept_id(request.headers.get("X-Request-Id"))
    request_id.set(used)  # until the next request of this connection
    response = await handler(request)
    response.headers["X-Request-Id"] = used
    return response


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except errors.APIError as error:
        status = next((status for kinds, status in STATUSES if isinstance(error, kinds)), 502)
        headers = {"Retry-After": str(math.ceil(error.retry_after or 1))} if status == 503 else None
        return web.json_response({"error": type(error).__name__}, status=status, headers=headers)


async def demo() -> web.Application:
    """Send logs and spans to the console, start an upstream, and return the service that calls it."""
    logs = logging.StreamHandler()
    logs.addFilter(RequestIdFilter())
    logging.basicConfig(level="INFO", handlers=[logs], format="%(request_id)s %(name)s: %(message)s")
    with suppress(ImportError):  # without the SDK, spans are not recorded
        from opentelemetry.sdk.trace import TracerProvider, export

        console = export.ConsoleSpanExporter(formatter=lambda span: f"span: {span.kind.name} {span.name}\n")
        provider = TracerProvider()
        provider.add_span_processor(export.SimpleSpanProcessor(console))
        trace.set_tracer_provider(provider)
    upstream = TestServer(make_upstream())
    await upstream.start_server()
    app = make_app(make_client(upstream.make_url("/"), "a-secret", OpenTelemetry()))
    app.on_cleanup.append(lambda app: upstream.close())
    return app


if __name__ == "__main__":
    web.run_app(demo(), host="127.0.0.1", port=8080)
