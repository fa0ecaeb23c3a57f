"""The types of aioapiclient-web; checked by mypy and pyright, never run."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, assert_type

import msgspec
from aioapiclient_web import Propagate, Webhooks, client_ctx, inbound, problems, time_left
from aiohttp import web
from aiohttp.typedefs import Middleware

from aioapiclient import AsyncAPIClient, NotFoundError
from aioapiclient.contract import Middleware as ClientMiddleware


class Github(AsyncAPIClient):
    """A custom client."""


class Paid(msgspec.Struct):
    """An event."""


GITHUB = web.AppKey("github", Github)
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


def application() -> web.Application:
    """An application accepts the middlewares."""
    outer = inbound(budget=10, keep={"traceparent"}, request_id=REQUEST_ID)
    inner = problems(rules={NotFoundError: 410}, pass_through=range(400, 410))
    assert_type(outer, Middleware)
    app = web.Application(middlewares=[outer, inner])
    app.cleanup_ctx.append(client_ctx(GITHUB, lambda app: Github("https://api.github.com")))
    assert_type(app[GITHUB], Github)
    client_ctx(GITHUB, lambda app: AsyncAPIClient(""))  # type: ignore[arg-type,return-value] # pyright: ignore[reportArgumentType]
    return app


def propagated() -> AsyncAPIClient:
    """The bundle is an entry of ``middlewares=``."""
    bundle = Propagate(header=None, keep=("traceparent",))
    assert_type(bundle.middlewares(), list[ClientMiddleware])
    assert_type(time_left(), float | None)
    return AsyncAPIClient("https://api.example.com", middlewares=[bundle, "propagate"])


async def on_webhook(request: web.Request, hooks: Webhooks) -> None:
    """An event has the requested type."""
    body = await request.read()
    assert_type(hooks.unwrap(body, request.headers, Paid), Paid)
    assert_type(hooks.unwrap(body, request.headers, list[Paid]), list[Paid])
    assert_type(hooks.unwrap(body, dict(request.headers)), Any)
    assert_type(hooks.sign(body, message_id="msg_1", timestamp=1), dict[str, str])
    hooks.unwrap("text", request.headers, Paid)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType,reportCallIssue]
