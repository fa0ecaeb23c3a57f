"""A client that does not overload a small server: a limit on the calls in flight, and a throttle for all
calls.

::

    python middleware/aioapiclient-loadcontrol/examples/load_control.py
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aioapiclient_loadcontrol import ConcurrencyLimitMiddleware, ThrottleMiddleware
from aiohttp import web

from aioapiclient import (
    AsyncAPIClient,
    ConcurrencyLimitError,
    RateLimitError,
    ThrottledError,
    per_send,
)


def careless(url: str) -> AsyncAPIClient:
    """Sends all calls together, and retries the refused ones."""
    return AsyncAPIClient(url)


def careful(url: str) -> AsyncAPIClient:
    """Has at most five requests in flight, and sends none while the server has asked to wait."""
    limit = ConcurrencyLimitMiddleware(5)
    throttle = ThrottleMiddleware()
    return AsyncAPIClient(url, middlewares=[per_send(limit), per_send(throttle)])


def impatient(url: str) -> AsyncAPIClient:
    """Prefers an immediate error to a late response: no queue, and no wait."""
    limit = ConcurrencyLimitMiddleware(1, max_waiting=0)
    throttle = ThrottleMiddleware(max_wait=0.1)
    return AsyncAPIClient(url, middlewares=[per_send(limit), per_send(throttle)])


async def load(api: AsyncAPIClient) -> None:
    """Start twenty calls together, just after the server has asked one call to wait for a second."""
    try:
        await api.get("/items/0", max_retries=0)
    except RateLimitError:
        items = await asyncio.gather(*(api.get(f"/items/{number}") for number in range(20)))
        assert [item["id"] for item in items] == list(range(20))


async def be_impatient(api: AsyncAPIClient) -> None:
    async with api.open("GET", "/feed"):
        try:
            await api.get("/items/1")
        except ConcurrencyLimitError as error:
            print(f"impatient: {error.limit} in flight already")
    try:
        await api.get("/items/0", max_retries=0)
    except RateLimitError:
        try:
            await api.get("/items/1")
        except ThrottledError:
            print("impatient: not now")


# --- the server


class SmallServer:
    """Refuses the first item, then every item for one second, and counts the requests."""

    def __init__(self) -> None:
        self.requests = self.refused = self.in_flight = self.most = 0
        self._closed_until: float | None = None

    def __str__(self) -> str:
        return f"{self.requests} requests, {self.refused} refused, {self.most} at once"

    async def feed(self, request: web.Request) -> web.Response:
        return web.Response(text="x" * (1 << 20))

    async def item(self, request: web.Request) -> web.Response:
        self.requests += 1
        now = time.monotonic()
        if self._closed_until is None:
            self._closed_until = now + 1
        if now < self._closed_until:
            self.refused += 1
            rest = self._closed_until - now
            return web.Response(status=429, headers={"retry-after-ms": f"{rest * 1000:.3f}"})
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(0.05)
        self.in_flight -= 1
        return web.json_response({"id": int(request.match_info["id"])})


@asynccontextmanager
async def serving(server: SmallServer) -> AsyncGenerator[str, None]:
    app = web.Application()
    app.add_routes([web.get("/items/{id}", server.item), web.get("/feed", server.feed)])
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def main() -> None:
    for make in (careless, careful):
        server = SmallServer()
        async with serving(server) as url, make(url) as api:
            await load(api)
        print(f"{make.__name__}: {server}")
    async with serving(SmallServer()) as url, impatient(url) as api:
        await be_impatient(api)


if __name__ == "__main__":
    asyncio.run(main())
