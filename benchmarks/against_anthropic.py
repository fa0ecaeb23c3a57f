"""The cost of a call compared with the `AsyncAPIClient` of the anthropic SDK: CPU time, in one run.

Its default backend, and the one on aiohttp where that is installed. Both sides decode the same JSON,
it into pydantic models and ours into msgspec structs. Without the SDK there are no rows.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from bytecodes import bytecodes
from measure import ROUNDS, Call, Page, Row, batches, compare, microseconds, optional, running_server, table

from aioapiclient import AsyncAPIClient

anthropic = optional("anthropic")
CALLS = 320
THEIR_CALLS = 64  # slow, so few rounds


def make_models() -> Any:
    """The page, as models of the SDK's own kind."""

    class ItemModel(anthropic.BaseModel):  # type: ignore[misc, name-defined]
        id: int
        name: str
        email: str

    class PageModel(anthropic.BaseModel):  # type: ignore[misc, name-defined]
        items: list[ItemModel]

    PageModel.model_rebuild(_types_namespace={"ItemModel": ItemModel, "list": list})
    return PageModel


async def measure(base: str) -> list[Row]:
    model = make_models()
    backends: dict[str, Any] = {"its default backend": None}
    if optional("httpx_aiohttp") is not None:
        backends["its aiohttp backend"] = anthropic.DefaultAioHttpClient()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(AsyncAPIClient(base))

        async def ours() -> Page:
            return await api.get("/page", Page)

        calls: dict[str, tuple[Call, int]] = {"ours": (ours, CALLS)}
        for name, http_client in backends.items():
            client = anthropic.AsyncAnthropic(api_key="none", base_url=base, http_client=http_client)
            await stack.enter_async_context(client)

            async def theirs(client: Any = client) -> Any:
                return await client.get("/page", cast_to=model)

            assert len((await theirs()).items) == len((await ours()).items)
            calls[name] = (theirs, THEIR_CALLS)
        times = await batches(calls, max(ROUNDS // 3, 5))
        counts = {name: await bytecodes(call, warm=5) for name, (call, _) in calls.items()}
    return [
        compare(
            f"a typed GET by anthropic {anthropic.__version__}, {name}, over ours",
            times[name],
            times["ours"],
            # The bar applies to the default backend, because that is what `pip install anthropic` gives.
            must=15 if name == "its default backend" else None,
            goal=20 if name == "its default backend" else None,
            at_least=True,
            bytecodes=(counts[name], counts["ours"]),
            note=microseconds(times[name]),
        )
        for name in backends
    ]


def rows() -> list[Row]:
    """The rows of this module."""
    if anthropic is None:
        return []
    with running_server() as base:
        return asyncio.run(measure(base))


if __name__ == "__main__":
    print(table(rows()))
