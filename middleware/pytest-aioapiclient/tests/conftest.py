"""A server that counts its requests, in a separate thread: for pytest runs within a test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from aiohttp import web
from servers import serving


class CountingServer:
    """The application that the thread serves on loopback."""

    def __init__(self) -> None:
        self.url = ""
        self.count = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Return the requested path, and the number of requests."""
        self.count += 1
        return web.json_response({"path": request.path, "count": self.count}, headers={"Server": "counting"})


async def _serve(server: CountingServer, started: Callable[[], None], stopped: asyncio.Event) -> None:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    async with serving(app) as server.url:
        started()
        await stopped.wait()


@pytest.fixture
def server() -> Iterator[CountingServer]:
    """A server that counts its requests."""
    server, started, stopped = CountingServer(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(
        target=loop.run_until_complete, args=[_serve(server, started.set, stopped)], daemon=True
    )
    thread.start()
    try:
        assert started.wait(30)
        yield server
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(30)
        loop.close()
