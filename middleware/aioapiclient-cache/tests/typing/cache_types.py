"""The types of the cache; checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any, assert_type

import hishel
from aioapiclient_cache import Cache, CacheStatus, MemoryStorage, cache_status

from aioapiclient import APIRequest, AsyncAPIClient, AsyncAPIResponse, per_send
from aioapiclient.contract import Middleware


def tenant(request: APIRequest) -> str | None:
    """A function for ``identity``."""
    return request.headers.get("X-Tenant")


async def made(redis: Any, response: AsyncAPIResponse[Any]) -> None:
    """It is a middleware, with settings that are typed."""
    storages: list[hishel.AsyncBaseStorage] = [
        MemoryStorage(max_bytes=1 << 20, max_entries=100),
        hishel.AsyncSqliteStorage(database_path="cache.db"),
        hishel.AsyncRedisStorage(redis),
    ]
    caches = [Cache(storage, identity=tenant, default_ttl=5, methods=["GET"]) for storage in storages]
    links: list[Middleware] = [per_send(cache) for cache in caches]
    AsyncAPIClient("https://h", middlewares=links)
    assert_type(await caches[0].clear("https://h/x"), int)
    assert_type(caches[0].storage, hishel.AsyncBaseStorage)
    assert_type(cache_status(response), CacheStatus | None)
    status = cache_status(response)
    if status is not None:
        assert_type(status.hit, bool)
        assert_type(status.ttl, int | None)
    Cache(exclude_headers={"X-Quota-Left"})
    Cache(exclude_headers=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Cache(shared="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Cache({})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
