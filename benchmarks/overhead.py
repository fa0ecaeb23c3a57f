"""The cost of a call relative to plain aiohttp: typed calls through the default chain, CPU time, in one run.

The other side is hand-written code: ``async with session.get(url)``, ``read()``, and a msgspec decoder made
in advance. It has no retries, deadline, limits or typed errors. The second row is a typical call: with a
bearer token, a path parameter and a query, on both sides. The third sends 1 kB of JSON, which
both sides encode with msgspec.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import quote

import aiohttp
import msgspec
from bytecodes import bytecodes
from measure import ROUNDS, Call, Item, Page, Row, batches, compare, microseconds, running_server, table

from aioapiclient import AsyncAPIClient, BearerAuth

CALLS = 320  # of one batch
TOKEN = "token"
decode = msgspec.json.Decoder(Page).decode
encode = msgspec.json.Encoder().encode
SENT = Page([Item(id, f"name{id}", f"user{id}@example.com") for id in range(18)])
"""The JSON of a POST: 1 kB."""


def by_hand(session: aiohttp.ClientSession, base: str) -> dict[str, Call]:
    """The calls on plain aiohttp."""
    url = f"{base}/page"

    async def bare() -> Page:
        async with session.get(url) as response:
            return decode(await response.read())

    async def dressed(name: str = "page") -> Page:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"{base}/{quote(name, safe='')}"
        async with session.get(url, params={"limit": 55}, headers=headers) as response:
            return decode(await response.read())

    async def posted() -> Page:
        headers = {"Content-Type": "application/json"}
        async with session.post(url, data=encode(SENT), headers=headers) as response:
            return decode(await response.read())

    return {"bare": bare, "dressed": dressed, "posted": posted}


def ours(api: AsyncAPIClient, signed: AsyncAPIClient) -> dict[str, Call]:
    """The same with the client."""

    async def bare() -> Page:
        return await api.get("/page", Page)

    async def dressed(name: str = "page") -> Page:
        return await signed.get("/{name}", Page, path_params={"name": name}, params={"limit": 55})

    async def posted() -> Page:
        return await api.post("/page", Page, json=SENT)

    return {"bare": bare, "dressed": dressed, "posted": posted}


BARS: Mapping[str, tuple[str, float, float]] = {
    "bare": ("a typed GET through the default chain, over plain aiohttp", 1.10, 1.00),
    "dressed": (
        "a typed GET with a bearer token, a path parameter and a query, over the same by hand",
        1.15,
        1.05,
    ),
    # The must is the cost of such a call through `ClientSession._request`.
    "posted": ("a typed POST of 1 kB of JSON, over `session.post(data=bytes)` by hand", 1.35, 1.10),
}


async def measure(base: str) -> list[Row]:
    async with (
        aiohttp.ClientSession() as session,
        AsyncAPIClient(base) as api,
        AsyncAPIClient(base, auth=BearerAuth(TOKEN)) as signed,
    ):
        others, mine = by_hand(session, base), ours(api, signed)
        calls: dict[str, tuple[Call, int]] = {}
        for name in BARS:
            assert await others[name]() == await mine[name]()
            calls |= {f"their {name}": (others[name], CALLS), f"our {name}": (mine[name], CALLS)}
        times = await batches(calls, ROUNDS)
        counts = {name: await bytecodes(call) for name, (call, _) in calls.items()}
    return [
        compare(
            what,
            times[f"our {name}"],
            times[f"their {name}"],
            must=must,
            goal=goal,
            bytecodes=(counts[f"our {name}"], counts[f"their {name}"]),
            note=f"{microseconds(times[f'our {name}'])}; by hand: {microseconds(times[f'their {name}'])}",
        )
        for name, (what, must, goal) in BARS.items()
    ]


def rows() -> list[Row]:
    """The rows of this module."""
    with running_server() as base:
        return asyncio.run(measure(base))


if __name__ == "__main__":
    print(table(rows()))
