"""A client that caches the prices of a shop, per customer, and also uses them while the shop is down.

::

    python middleware/aioapiclient-cache/examples/cached_prices.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aioapiclient_cache import Cache, cache_status
from aiohttp import web

from aioapiclient import AsyncAPIClient, AsyncAPIResponse, BearerAuth, per_send


class Shop:
    """A server that counts its requests: prices per customer, and a catalogue that must be validated."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.is_down = False

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        if self.is_down:
            return web.Response(status=503)
        if request.path == "/catalogue":
            headers = {"ETag": '"2026"', "Cache-Control": "max-age=0"}
            if request.headers.get("If-None-Match") == headers["ETag"]:
                return web.Response(status=304, headers=headers)
            return web.json_response(["tea", "cake"], headers=headers)
        await asyncio.sleep(0.05)
        customer = request.headers["Authorization"].removeprefix("Bearer ")
        return web.json_response({"for": customer}, headers={"Cache-Control": "max-age=60"})


async def ask(api: AsyncAPIClient, path: str) -> None:
    """Send a request, and print what the cache did."""
    response = await api.get(path, AsyncAPIResponse[object])
    print(f"{path}: {await response.parse()} ({response.headers['Cache-Status']})")


async def main() -> None:
    shop = Shop()
    cache = Cache(stale_if_error=600)
    async with (
        serving(shop) as url,
        AsyncAPIClient(url, auth=BearerAuth("ada"), middlewares=[per_send(cache)], max_retries=0) as ada,
    ):
        bob = ada.with_options(auth=BearerAuth("bob"))
        for customer in (ada, bob, ada):
            await ask(customer, "/prices")

        calls = (ada.get("/prices/tea", AsyncAPIResponse[object]) for _ in range(50))
        statuses = [cache_status(response) for response in await asyncio.gather(*calls)]
        shared = sum(status is not None and status.coalesced for status in statuses)
        print(f"50 calls at once: {shop.requests.count('/prices/tea')} request, {shared} shared its answer")

        await ask(ada, "/catalogue")
        await ask(ada, "/catalogue")
        shop.is_down = True
        await ask(ada, "/catalogue")


@asynccontextmanager
async def serving(shop: Shop) -> AsyncGenerator[str, None]:
    app = web.Application()
    app.router.add_get("/{path:.*}", shop.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
