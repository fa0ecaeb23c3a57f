"""Shared by the tests: applications on real ports, an upstream server that hangs and counts, and an nginx."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from integration.processes import listening
from multidict import CIMultiDictProxy
from needed_servers import need_program


class Upstream:
    """The server that the service under test calls: it records, hangs, and answers as its query specifies."""

    def __init__(self) -> None:
        self.url = ""
        self.headers: list[CIMultiDictProxy[str]] = []
        self.arrived = asyncio.Event()
        self.let_go = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.breaks = False
        self.statuses: list[int] = []  # of the next answers, before all others are 200

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes([web.get("/hang", self.hang), web.get("/users/hang", self.hang)])
        app.add_routes([web.get("/stream", self.stream), web.get("/report", self.stream)])
        app.add_routes([web.route("*", "/{path:.*}", self.answer)])
        return app

    async def answer(self, request: web.Request) -> web.Response:
        """Answer with the received headers."""
        self.headers.append(request.headers)
        status = self.statuses.pop(0) if self.statuses else int(request.query.get("status", 200))
        headers = {"Retry-After": "70"} if status == 429 else {"X-Request-Id": "upstream-1"}
        return web.json_response({"login": "body-canary"}, status=status, headers=headers)

    async def hang(self, request: web.Request) -> web.Response:
        """Answer at the test's command."""
        self.headers.append(request.headers)
        self.arrived.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return web.json_response({"late": True, "login": "ada"})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send one piece immediately, and the other at the test's command; break off if told to."""
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first,")
        self.arrived.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.breaks:
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(b"second")
        await response.write_eof()
        return response


class Serve:
    """Serves applications on free ports, as `web.run_app` does."""

    def __init__(self) -> None:
        self.runners: dict[web.Application, web.AppRunner] = {}

    async def __call__(self, app: web.Application, **options: Any) -> str:
        """Serve *app* with the options of `web.run_app`; yield its URL."""
        runner = web.AppRunner(app, access_log=None, **{"shutdown_timeout": 5.0, **options})
        self.runners[app] = runner
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def stop(self, app: web.Application) -> None:
        """End as `web.run_app` does on SIGTERM."""
        await self.runners.pop(app).cleanup()

    async def close(self) -> None:
        """End all that run still, the newest first."""
        for app in reversed([*self.runners]):
            await self.stop(app)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves applications until the test ends."""
    serving = Serve()
    yield serving
    await serving.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """An upstream server."""
    serving, server = Serve(), Upstream()
    server.url = await serving(server.app(), handler_cancellation=True)
    yield server
    server.let_go.set()
    await serving.close()


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An nginx in front of every port of loopback: ``{nginx}/8080/path`` is /path of port 8080."""
    program = need_program("nginx")
    folder = tmp_path_factory.mktemp("nginx")

    def command(port: int) -> list[str]:
        (folder / "nginx.conf").write_text(_configuration(folder, port))
        return [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]

    with listening(command, folder) as url:
        yield url


def _configuration(folder: Path, port: int) -> str:
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr;\n"
        "events {}\n"
        f"http {{ access_log off; {temporary} proxy_http_version 1.1; proxy_buffering off;\n"
        f"  server {{ listen 127.0.0.1:{port};\n"
        "    location ~ ^/(\\d+)(/.*)$ {\n"
        "      proxy_set_header X-Request-Id $request_id; proxy_set_header Connection '';\n"
        "      proxy_pass http://127.0.0.1:$1$2$is_args$args;\n"
        "}}}\n"
    )


@pytest.fixture
def upstream_url() -> Iterator[str]:
    """The URL of an upstream server on a separate event loop, for tests that end theirs."""
    loop = asyncio.new_event_loop()
    serving, server = Serve(), Upstream()
    url = loop.run_until_complete(serving(server.app()))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield url
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.run_until_complete(serving.close())
    loop.close()
