"""The cost of a long list: 100,000 records in one body, CPU time, in one run.

On one side a typed list of the client, on the other plain data by ``response.json()`` on plain aiohttp, and
models of the anthropic SDK's client, where that is installed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from against_anthropic import anthropic, make_models
from bytecodes import bytecodes
from measure import ROUNDS, Call, Page, Row, batches, compare, microseconds, running_server, table

from aioapiclient import AsyncAPIClient

RECORDS = 100_000
FEW_ROUNDS = max(ROUNDS // 6, 5)  # each round is long
WHAT = "100,000 records in one body"


async def measure(base: str) -> list[Row]:
    async with aiohttp.ClientSession() as session, AsyncAPIClient(base) as api:

        async def ours() -> Page:
            return await api.get("/list", Page)

        async def plain() -> Any:
            async with session.get(f"{base}/list") as response:
                return await response.json()

        assert len((await ours()).items) == len((await plain())["items"]) == RECORDS
        calls: dict[str, tuple[Call, int]] = {"ours": (ours, 1), "plain": (plain, 1)}
        rows = [await against_json(calls)]
        if anthropic is not None:
            rows.append(await against_sdk(base, ours))
    return rows


async def against_json(calls: dict[str, tuple[Call, int]]) -> Row:
    times = await batches(calls, FEW_ROUNDS, at_once=1)
    counts = [await bytecodes(call, calls=3, warm=0) for call, _ in calls.values()]
    return compare(
        f"{WHAT}, typed, over response.json() of plain aiohttp",
        times["ours"],
        times["plain"],
        bytecodes=(counts[0], counts[1]),
        note=f"{microseconds(times['ours'])}; by hand: {microseconds(times['plain'])}",
    )


async def against_sdk(base: str, ours: Call) -> Row:
    model = make_models()
    async with anthropic.AsyncAnthropic(api_key="none", base_url=base) as client:

        async def theirs() -> Any:
            return await client.get("/list", cast_to=model)

        assert len((await theirs()).items) == RECORDS
        times = await batches({"theirs": (theirs, 1), "ours": (ours, 1)}, 3, at_once=1)
    return compare(
        f"{WHAT}, by anthropic {anthropic.__version__}, over ours",
        times["theirs"],
        times["ours"],
        note=microseconds(times["theirs"]),
    )


def rows() -> list[Row]:
    """The rows of this module."""
    with running_server() as base:
        return asyncio.run(measure(base))


if __name__ == "__main__":
    print(table(rows()))
