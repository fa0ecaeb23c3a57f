"""What a call costs over plain aiohttp: typed GETs through the whole default chain, CPU time, in one run.

The other side is what one would write by hand: ``async with session.get(url)``, ``read()``, and a
msgspec decoder that was made before. It has no retries, deadline, limits or typed errors.
"""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec
from measure import ROUNDS, Call, Page, Row, batches, compare, microseconds, running_server, table

from aioapiclient import AsyncAPIClient, BearerAuth

CALLS = 320  # of one batch


async def measure(base: str) -> list[Row]:
    decode = msgspec.json.Decoder(Page).decode
    url = f"{base}/page"
    async with (
        aiohttp.ClientSession() as session,
        AsyncAPIClient(base) as api,
        AsyncAPIClient(base, auth=BearerAuth("token")) as signed,
    ):

        async def bare() -> Page:
            async with session.get(url) as response:
                return decode(await response.read())

        async def ours() -> Page:
            return await api.get("/page", Page)

        async def dressed() -> Page:
            return await signed.get("/{name}", Page, path_params={"name": "page"}, params={"limit": 55})

        assert await bare() == await ours()
        calls: dict[str, tuple[Call, int]] = {
            "bare": (bare, CALLS),
            "ours": (ours, CALLS),
            "dressed": (dressed, CALLS),
        }
        times = await batches(calls, ROUNDS)
    note = f"{microseconds(times['ours'])}; plain aiohttp: {microseconds(times['bare'])}"
    return [
        compare(
            "a typed GET through the default chain, over plain aiohttp",
            times["ours"],
            times["bare"],
            must=1.15,
            goal=1.05,
            note=note,
        ),
        compare(
            "the same with a bearer token, a path parameter and a query",
            times["dressed"],
            times["bare"],
        ),
    ]


def rows() -> list[Row]:
    """The rows of this module."""
    with running_server() as base:
        return asyncio.run(measure(base))


if __name__ == "__main__":
    print(table(rows()))
