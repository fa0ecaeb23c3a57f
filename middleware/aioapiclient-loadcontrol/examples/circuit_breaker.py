"""A circuit breaker for a service that fails and recovers, and the requests that it refuses.

::

    python middleware/aioapiclient-loadcontrol/examples/circuit_breaker.py
"""

from __future__ import annotations

import asyncio
import math

from aioapiclient_loadcontrol import CircuitBreakerMiddleware
from aiohttp import web

from aioapiclient import AsyncAPIClient, CircuitOpenError, InternalServerError, per_attempt


class Rates:
    """Exchange rates; while the service fails, the last known rate."""

    def __init__(self, api: AsyncAPIClient) -> None:
        self._api = api
        self._known: dict[str, float] = {}

    async def of(self, currency: str) -> str:
        try:
            rate = await self._api.get("/rates/{currency}", float, path_params={"currency": currency})
        except CircuitOpenError as error:
            # Nothing was sent. A service would answer its own caller with 503 and this Retry-After.
            seconds = math.ceil(error.retry_after or 0)
            return f"{self._known[currency]}, as of before; ask again in {seconds} s"
        except InternalServerError as error:
            return f"{self._known[currency]}, as of before; the service answered {error.status}"
        self._known[currency] = rate
        return f"{rate}"


class Service:
    """The service, which fails and recovers, and counts its requests."""

    def __init__(self) -> None:
        self.is_up = True
        self.asked = 0

    async def rate(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response(1.08) if self.is_up else web.Response(status=503)


async def main(service: Service, url: str) -> None:
    # The circuit opens for a second after 4 requests of which half have failed, and closes after two
    # successful ones.
    breaker = CircuitBreakerMiddleware(minimum_calls=4, open_for=1.0, half_open_permits=2)

    async def show(rates: Rates, times: int) -> None:
        for _ in range(times):
            print(f"{breaker.state(url)}: {await rates.of('EUR')}")
        print(f"asked {service.asked} times")

    # With retries it would open sooner: each attempt counts.
    async with AsyncAPIClient(url, max_retries=0, middlewares=[per_attempt(breaker)]) as api:
        rates = Rates(api)
        await show(rates, 1)
        service.is_up = False
        await show(rates, 6)
        service.is_up = True
        await asyncio.sleep(1.1)
        await show(rates, 3)


async def serve() -> None:
    service = Service()
    app = web.Application()
    app.add_routes([web.get("/rates/{currency}", service.rate)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await main(service, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
