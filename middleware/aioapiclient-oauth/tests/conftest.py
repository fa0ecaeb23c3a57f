"""Servers on loopback: an identity provider that answers as rudely as a test says, and an API."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote_plus

import pytest
from aiohttp import web

Answer = web.Response | Callable[[web.Request], Any]


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve *app* on a free port of loopback; gives its origin."""
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Provider:
    """Remembers each form it was sent at ``/token``, and answers what `answers` holds, else a new token."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.pairs: list[list[tuple[str, str]]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[Any] = []
        self.life: Any = 3600
        self.url = ""
        self.paths: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        form = await request.post()
        self.forms.append({name: str(value) for name, value in form.items()})
        self.pairs.append([(name, str(value)) for name, value in form.items()])
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        answer = self.answers.pop(0) if self.answers else self.token()
        if callable(answer):
            answer = answer(request)
            if hasattr(answer, "__await__"):
                answer = await answer
        if isinstance(answer, web.StreamResponse):
            return answer
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return web.json_response(body, status=status)

    def token(self, **more: Any) -> dict[str, Any]:
        """A grant with the next number."""
        number = len(self.forms)
        return {"access_token": f"at-{number}", "token_type": "bearer", "expires_in": self.life, **more}

    @property
    def basic(self) -> list[str | None]:
        """Id and secret of each request, as the provider reads them; None without."""
        return [_basic(headers.get("authorization")) for headers in self.headers]


def _basic(header: str | None) -> str | None:
    if header is None:
        return None
    kind, _, both = header.partition(" ")
    assert kind == "Basic"
    return ":".join(unquote_plus(part) for part in base64.b64decode(both).decode().split(":"))


class Service:
    """An API that lists the tokens it was shown, and refuses those in `refused`."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.refused: set[str] = set()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.tokens.append(token)
        status = 401 if token in self.refused or "*" in self.refused else 200
        return web.json_response({"token": token}, status=status)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """An identity provider in the loop of the test."""
    provider = Provider()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", provider.handle)
    async with serving(app) as provider.url:
        yield provider


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """An API in the loop of the test."""
    service = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.handle)
    async with serving(app) as service.url:
        yield service


@pytest.fixture
def gate() -> asyncio.Event:
    """An event that a test sets."""
    return asyncio.Event()
