"""Calls to a server that is sometimes busy, as log lines, as metrics, and as bars.

::

    python middleware/aioapiclient-timeline/examples/record_calls.py
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from aioapiclient_timeline import Call, Timeline, log_calls, prometheus, trace_config, waterfall
from aiohttp import web
from prometheus_client import CollectorRegistry

from aioapiclient import AiohttpTransport, AsyncAPIClient, NotFoundError


def recorded(url: str, timeline: Timeline) -> AsyncAPIClient:
    """A client whose calls are recorded, with the phases of each send."""
    transport = AiohttpTransport(trace_configs=[trace_config()])
    return AsyncAPIClient(url, middlewares=[timeline], transport=transport)


async def main() -> None:
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO, stream=sys.stdout)
    registry = CollectorRegistry()  # a service uses prometheus_client.REGISTRY, the default
    calls: list[Call] = []
    timeline = Timeline(log_calls(), prometheus(registry), calls.append)

    async with serving() as url, recorded(url, timeline) as api:
        await api.get("/items/{id}", path_params={"id": 7})
        with suppress(NotFoundError):
            await api.get("/items/{id}", path_params={"id": 404})

    for call in calls:
        print(waterfall(call))
    for outcome in ("200", "404", "503"):
        labels = {"method": "GET", "origin": url, "template": "/items/{id}", "outcome": outcome}
        print(outcome, registry.get_sample_value("aioapiclient_send_seconds_count", labels))


# --- the server


class Items:
    """Is busy for the first request."""

    def __init__(self) -> None:
        self.requests = 0

    async def show(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.requests == 1:
            return web.Response(status=503, headers={"retry-after-ms": "20"})
        if request.match_info["id"] == "404":
            return web.Response(status=404)
        return web.json_response({"id": int(request.match_info["id"])})


@asynccontextmanager
async def serving() -> AsyncGenerator[str, None]:
    app = web.Application()
    app.add_routes([web.get("/items/{id}", Items().show)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
