"""A service that calls an API with the first-party plugins; README.md shows how to run it."""

import logging

import msgspec
from aioapiclient_cache import Cache
from aioapiclient_loadcontrol import CircuitBreakerMiddleware, ConcurrencyLimitMiddleware
from aioapiclient_oauth import OAuth2
from aioapiclient_otel import OpenTelemetry
from aioapiclient_ratelimit import RateLimit
from aioapiclient_requestid import RequestId, RequestIdFilter, request_id
from aioapiclient_timeline import Timeline, log_calls, trace_config
from aioapiclient_web import Propagate, client_ctx, inbound, problems
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider, export
from upstream import make_upstream
from yarl import URL

from aioapiclient import AiohttpTransport, AsyncAPIClient, Handler, per_attempt, per_send

API = web.AppKey("api", AsyncAPIClient)


class User(msgspec.Struct):
    login: str


def make_client(
    url: URL, secret: str, telemetry: OpenTelemetry, rate: str = "50/s", transport: Handler | None = None
) -> AsyncAPIClient:
    """Return the client of the API; docs/chain.md explains the order of the middlewares."""
    return AsyncAPIClient(
        url / "v1",
        auth=OAuth2(url / "token", "my-service", secret),
        timeout=5.0,
        middlewares=[
            telemetry,
            Timeline(log_calls()),
            RequestId(),
            Propagate(),
            per_attempt(CircuitBreakerMiddleware(minimum_calls=5)),
            per_send(Cache()),
            per_send(RateLimit(rate, max_wait=1.0)),
            per_send(ConcurrencyLimitMiddleware(20, max_waiting=100)),
        ],
        transport=transport or AiohttpTransport(trace_configs=[trace_config()]),
    )


def make_app(client: AsyncAPIClient) -> web.Application:
    """Return the service, which closes *client* when it stops."""
    app = web.Application(
        middlewares=[inbound(budget=10, request_id=request_id), problems(pass_through=[404])]
    )
    app.cleanup_ctx.append(client_ctx(API, lambda app: client))
    app.add_routes([web.get("/hello/{id}", hello), web.get("/motto", motto), web.get("/health", health)])
    return app


async def hello(request: web.Request) -> web.Response:
    user = await request.app[API].get("/users/{id}", User, path_params=request.match_info)
    return web.json_response({"hello": user.login})


async def motto(request: web.Request) -> web.Response:
    return web.Response(text=await request.app[API].get("/motto", str))


async def health(request: web.Request) -> web.Response:
    return web.json_response(msgspec.to_builtins(request.app[API].stats()))


async def demo() -> web.Application:
    """Send logs and spans to the console, start an upstream, and return the service that calls it."""
    logs = logging.StreamHandler()
    logs.addFilter(RequestIdFilter())
    logging.basicConfig(level="INFO", handlers=[logs], format="%(request_id)s %(name)s: %(message)s")
    console = export.ConsoleSpanExporter(formatter=lambda span: f"span: {span.kind.name} {span.name}\n")
    trace.set_tracer_provider(provider := TracerProvider())
    provider.add_span_processor(export.SimpleSpanProcessor(console))
    upstream = TestServer(make_upstream())
    await upstream.start_server()
    app = make_app(make_client(upstream.make_url("/"), "a-secret", OpenTelemetry()))
    app.on_cleanup.append(lambda app: upstream.close())
    return app


if __name__ == "__main__":
    web.run_app(demo(), host="127.0.0.1", port=8080, handler_cancellation=True)
