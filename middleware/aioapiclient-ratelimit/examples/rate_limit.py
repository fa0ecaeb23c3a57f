"""Clients that stay within a server's limit: one learns it from the headers, the other is configured with it.

::

    python middleware/aioapiclient-ratelimit/examples/rate_limit.py
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aioapiclient_ratelimit import RateLimit
from aiohttp import web

from aioapiclient import AsyncAPIClient, RateLimitError, ThrottledError, per_send


def careless(url: str) -> AsyncAPIClient:
    """Sends all calls together."""
    return AsyncAPIClient(url, max_retries=0)


def learning(url: str) -> AsyncAPIClient:
    """Follows the headers of the server."""
    return AsyncAPIClient(url, max_retries=0, middlewares=[per_send(RateLimit())])


def knowing(url: str) -> AsyncAPIClient:
    """Stays below the limit that the server's documentation names."""
    limit = RateLimit("4/s", burst=1)
    return AsyncAPIClient(url, max_retries=0, middlewares=[per_send(limit)])


async def load(api: AsyncAPIClient) -> None:
    """Make twelve concurrent calls."""
    calls = (api.get(f"/items/{number}") for number in range(12))
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if not isinstance(outcome, RateLimitError | dict):
            raise TypeError(outcome)


async def be_in_a_hurry(api: AsyncAPIClient) -> None:
    """Make two calls with a deadline of a tenth of a second."""
    await api.get("/items/1", timeout=0.1)
    try:
        await api.get("/items/2", timeout=0.1)
    except ThrottledError as error:
        wait = error.retry_after or 0.0
        print(f"in a hurry: not sent, its turn comes in {wait:.1f} s")


# --- the server


class LimitedServer:
    """Answers five requests in each second, reports this in its headers, and counts the requests."""

    def __init__(self) -> None:
        self.requests = self.refused = self._used = 0
        self._ends = 0.0

    async def item(self, request: web.Request) -> web.Response:
        now = time.monotonic()
        if now >= self._ends:
            self._ends, self._used = now + 1, 0
        self._used += 1
        self.requests += 1
        headers = {
            "X-RateLimit-Limit": "5",
            "X-RateLimit-Remaining": str(max(0, 5 - self._used)),
            "X-RateLimit-Reset": str(math.ceil(self._ends - now)),
        }
        if self._used > 5:
            self.refused += 1
            return web.json_response({}, status=429, headers=headers)
        return web.json_response({"id": int(request.match_info["id"])}, headers=headers)


@asynccontextmanager
async def serving(server: LimitedServer) -> AsyncGenerator[str, None]:
    app = web.Application()
    app.add_routes([web.get("/items/{id}", server.item)])
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def main() -> None:
    for make in (careless, learning, knowing):
        server = LimitedServer()
        async with serving(server) as url, make(url) as api:
            await load(api)
        print(f"{make.__name__}: {server.requests} requests, {server.refused} refused")
    async with serving(LimitedServer()) as url, knowing(url) as api:
        await be_in_a_hurry(api)


if __name__ == "__main__":
    asyncio.run(main())
