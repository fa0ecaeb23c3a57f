"""Servers for the examples: an API, and an authorization server that supports all grants."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class AuthorizationServer:
    """Issues a token for every grant. A refresh token is valid once; the user confirms a device before the
    second poll.
    """

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.valid: set[str] = set()
        self.refresh_tokens: set[str] = set()
        self.questions = 0

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if "device_code" in form:
            self.questions += 1
            if self.questions == 1:
                return web.json_response({"error": "authorization_pending"}, status=400)
        if "refresh_token" in form:
            if form["refresh_token"] not in self.refresh_tokens:
                return web.json_response({"error": "invalid_grant"}, status=400)
            self.refresh_tokens.discard(str(form["refresh_token"]))
        return web.json_response(self.grant(keeps="device_code" in form or "refresh_token" in form))

    def grant(self, *, keeps: bool) -> dict[str, Any]:
        """Return a new access token and a refresh token."""
        token, refresh = secrets.token_urlsafe(), secrets.token_urlsafe()
        self.tokens.append(token)
        self.valid.add(token)
        self.refresh_tokens.add(refresh)
        grant = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
        return grant | {"refresh_token": refresh} if keeps else grant

    async def device(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "device_code": secrets.token_urlsafe(),
                "user_code": "WDJB-MJHT",
                "verification_uri": "https://login.example.net/device",
                "expires_in": 600,
                "interval": 0.1,
            }
        )

    async def me(self, request: web.Request) -> web.Response:
        """The API."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return web.json_response({"name": "Ada"}, status=200 if token in self.valid else 401)


@asynccontextmanager
async def serving(server: AuthorizationServer) -> AsyncGenerator[str, None]:
    """Run the server on a free port of the loopback."""
    routes = [
        web.post("/token", server.token),
        web.post("/device", server.device),
        web.get("/me", server.me),
    ]
    async with running(routes) as url:
        yield url


@asynccontextmanager
async def running(routes: list[web.RouteDef]) -> AsyncGenerator[str, None]:
    """Serve *routes* on a free port of the loopback."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
