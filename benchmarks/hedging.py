"""The effect of hedging on a slow tail: the 99th percentile of the time of a call, without it over with it.

The server answers after 10 ms, and every fiftieth request, at random, after 400 ms. Both clients call it in
turns, in one run; it counts the requests of each.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time

from measure import ROUNDS, Page, Row, optional, running_server, table

from aioapiclient import AsyncAPIClient, per_attempt

loadcontrol = optional("aioapiclient_loadcontrol")
CALLS = 100  # of one batch
AT_ONCE = 8  # few, because the server's time is measured, not the client's


async def batch(api: AsyncAPIClient, path: str) -> list[float]:
    """Return the seconds of each of `CALLS` calls."""
    times: list[float] = []
    left = iter(range(CALLS))

    async def worker() -> None:
        for _ in left:
            began = time.perf_counter()
            await api.get(path, Page)
            times.append(time.perf_counter() - began)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return times


def percentile(times: list[float], number: int) -> float:
    """The *number*th percentile."""
    return statistics.quantiles(times, n=100)[number - 1]


async def measure(base: str) -> list[Row]:
    async with (
        AsyncAPIClient(base) as plain,
        AsyncAPIClient(base, middlewares=[per_attempt(loadcontrol.HedgingMiddleware())]) as hedged,
    ):
        clients = {"/tail/plain": plain, "/tail/hedged": hedged}
        times: dict[str, list[float]] = {path: [] for path in clients}
        order = list(clients)
        for turn in range(ROUNDS + 3):
            random.shuffle(order)
            for path in order:
                taken = await batch(clients[path], path)
                # The first calls open connections, and teach the usual time.
                times[path] += taken if turn >= 3 else []
        counts = await plain.get("/counts", dict[str, int])
    calls = CALLS * (ROUNDS + 3)
    assert counts["/tail/plain"] == calls
    slow, quick = (percentile(times[path], 99) for path in clients)
    usual = {path: percentile(times[path], 50) * 1e3 for path in clients}
    note = (
        f"{slow * 1e3:.0f} ms over {quick * 1e3:.0f} ms; medians {usual['/tail/plain']:.1f} and "
        f"{usual['/tail/hedged']:.1f} ms"
    )
    return [
        Row(
            "p99 of a call to a server with a slow tail, without hedging over with it",
            slow / quick,
            must=5,
            goal=10,
            at_least=True,
            note=note,
        ),
        Row(
            "requests more for it, of all calls",
            counts["/tail/hedged"] / calls - 1,
            must=0.05,
            note=f"{counts['/tail/hedged']} requests for {calls} calls",
        ),
    ]


def rows() -> list[Row]:
    """The rows of this module; none without the distribution aioapiclient-loadcontrol."""
    if loadcontrol is None:
        return []
    with running_server() as base:
        return asyncio.run(measure(base))


if __name__ == "__main__":
    print(table(rows()))
