"""The types of rate limits; checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, assert_type

from aioapiclient_ratelimit import (
    LocalStore,
    Rate,
    RateLimit,
    RateStore,
    RedisStore,
    Turn,
    Window,
    parse_limits,
)

from aioapiclient import APIRequest, AsyncAPIClient, AsyncAPIResponse, per_send
from aioapiclient.contract import Middleware


class OwnStore:
    """A custom store."""

    async def reserve(self, key: Hashable, rates: Sequence[Rate], cost: int, most: float) -> Turn:
        return Turn(0.0, 0.0, cost)

    async def refund(self, key: Hashable, rates: Sequence[Rate], turn: Turn) -> None: ...


def tenant(request: APIRequest) -> tuple[str, str | None]:
    """The values that ``key`` accepts."""
    return request.origin, request.headers.get("X-Tenant")


def cost(request: APIRequest) -> int:
    """The values that ``cost`` accepts."""
    return 5 if request.method == "POST" else 1


async def made(redis: Any, response: AsyncAPIResponse[Any]) -> None:
    """It is a middleware, with settings that are typed."""
    stores: list[RateStore] = [LocalStore(), RedisStore(redis), RedisStore(redis, fallback=None), OwnStore()]
    limits = [RateLimit("50/s", key=tenant, cost=cost, store=store) for store in stores]
    links: list[Middleware] = [*limits, per_send(RateLimit(pace=True))]
    AsyncAPIClient("https://h", middlewares=links)
    assert_type(limits[0].left("https://h"), Window | None)
    assert_type(limits[0].stats(), dict[str, dict[str, float]])
    assert_type(limits[0].rates, tuple[Rate, ...])
    assert_type(parse_limits(response.headers, now=0.0), list[Window])
    RateLimit(50)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    RateLimit("5/s", store=object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
