"""A custom credential in ten lines: a ticket in a header, fetched once and renewed when it is refused.

::

    python examples/custom_auth.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from aioapiclient import APIRequest, AsyncAPIClient, AsyncAPIResponse, Auth, TokenCache


class TicketAuth(Auth):
    """Sends a ticket as X-Ticket; *issue* returns a new one."""

    def __init__(self, issue: Callable[[], Awaitable[str]]) -> None:
        self._issue = issue
        self._cache = TokenCache()

    async def authenticate(self, request: APIRequest, /) -> None:
        ticket = await self._cache.get("ticket", self._issue)
        request.headers["X-Ticket"] = ticket.value

    async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
        return await self._cache.refresh("ticket", request.headers["X-Ticket"], self._issue)

    async def close(self) -> None:
        await self._cache.close()


async def main() -> None:
    """Make ten concurrent calls, and ten more with a ticket that the server has forgotten."""
    issued = 0

    async def issue() -> str:
        nonlocal issued
        issued += 1
        return f"ticket-{issued}"

    async with box_office() as (url, forget), AsyncAPIClient(url, auth=TicketAuth(issue)) as api:
        seats = await asyncio.gather(*(api.get("/seats", list[int]) for _ in range(10)))
        print(f"{len(seats)} calls, {issued} ticket")
        forget()
        seats = await asyncio.gather(*(api.get("/seats", list[int]) for _ in range(10)))
        print(f"{len(seats)} more, {issued} tickets")


@asynccontextmanager
async def box_office() -> AsyncGenerator[tuple[str, Callable[[], None]], None]:
    """The server: it accepts only the newest ticket, until it forgets that one too."""
    known, forgotten = set[str](), set[str]()

    async def seats(request: web.Request) -> web.Response:
        ticket = request.headers["X-Ticket"]
        if ticket in forgotten:
            return web.json_response({"error": "the ticket is no longer good"}, status=401)
        known.add(ticket)
        return web.json_response([1, 2, 3])

    app = web.Application()
    app.router.add_get("/seats", seats)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", lambda: forgotten.update(known)
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
