"""The number of tasks that a call creates: none, so that context variables and cancellation are the caller's
own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from measure import Call, Item, Page, Row, running_server, table

from aioapiclient import AsyncAPIClient

CALLS = 50


async def measure(base: str) -> list[Row]:
    made = 0

    def make_task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any) -> Any:
        nonlocal made
        made += 1
        return asyncio.Task(work, loop=loop, **options)

    factory: Any = make_task
    loop = asyncio.get_running_loop()
    rows: list[Row] = []
    async with AsyncAPIClient(base) as api:

        async def typed() -> None:
            await api.get("/page", Page)

        async def streamed() -> None:
            async with api.stream("GET", "/events", Item) as events:
                assert len([event async for event in events]) == 20

        calls: dict[str, Call] = {"a typed GET": typed, "a typed stream": streamed}
        for name, call in calls.items():
            await call()  # opens the connection
            made = 0
            loop.set_task_factory(factory)
            for _ in range(CALLS):
                await call()
            loop.set_task_factory(None)
            rows.append(Row(f"tasks made by {name}", made / CALLS, must=0, goal=0))
    return rows


def rows() -> list[Row]:
    """The rows of this module."""
    with running_server() as base:
        return asyncio.run(measure(base))


if __name__ == "__main__":
    print(table(rows()))
