"""An API on loopback that misbehaves on purpose, and counts its requests: the server of quickstart.py.

It has three origins: a polite server that expires its first token and is busy, slow and wrong; a rude one,
on bare sockets, that drops connections; and a foreign one, which must not receive a credential.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from aiohttp import web

REPORT = json.dumps({"id": 7, "title": "Rainfall"})


class MisbehavingAPI:
    """Three servers on free ports; ``hits`` counts the requests that reached them, by method and path."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.origin = self.url = self.rude_url = self.stranger_url = ""
        self._runners: list[web.AppRunner] = []
        self._rude: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._rude = await asyncio.start_server(self._be_rude, "127.0.0.1", 0)
        self.rude_url = f"http://127.0.0.1:{self._rude.sockets[0].getsockname()[1]}/v1"
        self.stranger_url = await self._serve(web.get("/file", self._file))
        self.origin = await self._serve(
            web.post("/v1/token", self._token),
            web.get("/v1/users/{id}", self._user),
            web.get("/v1/reports/{id}", self._busy),
            web.get("/v1/slow", self._slow),
            web.get("/v1/stuck", self._stuck),
            web.get("/v1/download", self._download),
        )
        self.url = f"{self.origin}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._rude is not None:
            self._rude.close()
        for runner in self._runners:
            await runner.cleanup()

    def count(self, method: str, path: str) -> int:
        """Count a request, and return its number so far."""
        self.hits[f"{method} {path}"] += 1
        return self.hits[f"{method} {path}"]

    def _times(self, request: web.Request) -> int:
        return self.hits[f"{request.method} {request.path}"]

    # --- the polite server

    async def _serve(self, *routes: web.RouteDef) -> str:
        @web.middleware
        async def check(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            self.count(request.method, request.path)
            # The first token has expired: the server refuses it.
            if request.headers.get("Authorization") == "Bearer token-1":
                return web.json_response({"error": {"code": "token_expired"}}, status=401)
            return await handler(request)

        app = web.Application(middlewares=[check])
        app.add_routes(routes)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _token(self, request: web.Request) -> web.Response:
        return web.json_response({"access_token": f"token-{self._times(request)}", "expires_in": 3600})

    async def _user(self, request: web.Request) -> web.Response:
        user_id = request.match_info["id"]
        if user_id == "8":
            # A wrong type: the ID is not a number.
            return web.json_response({"id": "eight", "login": "bob"})
        if user_id != "7":
            problem = {"type": "about:blank", "title": "No such user", "status": 404}
            return web.json_response(problem, status=404, content_type="application/problem+json")
        return web.json_response({"id": 7, "login": "ada"})

    async def _busy(self, request: web.Request) -> web.Response:
        if self._times(request) == 1:
            return web.Response(status=503, headers={"Retry-After": "1"})
        return web.Response(text=REPORT, content_type="application/json")

    async def _slow(self, request: web.Request) -> web.Response:
        if self._times(request) == 1:
            await asyncio.sleep(30)
        return web.Response(text=REPORT, content_type="application/json")

    async def _stuck(self, request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async def _download(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{self.stranger_url}/file"})

    # --- the stranger

    async def _file(self, request: web.Request) -> web.Response:
        return web.json_response({"headers_seen": sorted(name.lower() for name in request.headers)})

    # --- the rude server

    async def _be_rude(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, _ = head.decode("latin-1").split(" ", 2)
            times = self.count(method, path)
            body = REPORT.encode()
            answer = (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            ).encode() + body
            if times > 1:
                writer.write(answer)
            elif path == "/v1/short":
                writer.write(answer[:-9])
            # The first request of such a path gets no response.
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
