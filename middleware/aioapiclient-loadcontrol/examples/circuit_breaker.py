"""A circuit breaker in front of a service that goes down and comes back: who is asked, and who is spared.

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
    """Exchange rates; while the service has none to give, the last one that was known."""

    def __init__(self, api: AsyncAPIClient) -> None:
        self._api = api
        self._known: dict[str, float] = {}

    async def of(self, currency: str) -> str:
        try:
            rate = await self._api.get("/rates/{currency}", float, path_params={"currency": currency})
        except CircuitOpenError as error:
            # Nothing was sent. A service of one's own would answer 503 with this Retry-After.
            seconds = math.ceil(error.retry_after or 0)
            return f"{self._known[currency]}, as of before; ask again in {seconds} s"
        except InternalServerError as error:
            return f"{self._known[currency]}, as of before; the service answered {error.status}"
        self._known[currency] = rate
        return f"{rate}"


class Service:
    """The service, which goes down and comes back, and counts."""

    def __init__(self) -> None:
        self.is_up = True
        self.asked = 0

    async def rate(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response(1.08) if self.is_up else web.Response(status=503)


async def main(service: Service, url: str) -> None:
    # Opens after 4 requests of which half have failed, for a second, and closes after two that succeed.
    breaker = CircuitBreakerMiddleware(minimum_calls=4, open_for=1.0, half_open_permits=2)

    async def show(rates: Rates, times: int) -> None:
        for _ in range(times):
            print(f"{breaker.state(url)}: {await rates.of('EUR')}")
        print(f"asked {service.asked} times")

    # Retries would do the same quicker: each attempt counts.
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
