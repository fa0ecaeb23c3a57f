"""Shared by the tests: a client with a cache, a Redis server, a storage of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import hishel
import pytest
from aioapiclient_cache import Cache, MemoryStorage, cache_status
from redis.asyncio import BlockingConnectionPool, Redis
from redis_servers import RedisServer, redis_process, redis_server

from aioapiclient import AsyncAPIClient, AsyncAPIResponse, per_send
from aioapiclient.testing import FakeClock, FakeTransport

__all__ = ["redis_process", "redis_server"]

# --- storages


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[hishel.AsyncBaseStorage]:
    """An empty storage of each kind."""
    made: hishel.AsyncBaseStorage
    if request.param == "memory":
        made = MemoryStorage()
    elif request.param == "sqlite":
        made = hishel.AsyncSqliteStorage(database_path=tmp_path / "cache.db")
    else:
        made = request.getfixturevalue("redis_storage")(key_prefix=str(tmp_path))
    yield made
    await made.close()


@pytest.fixture
def redis_storage(redis_server: RedisServer) -> Callable[..., hishel.AsyncRedisStorage]:
    """Opens a storage on the Redis server, with the settings of the docs. Close it."""

    def opened(key_prefix: str, socket_timeout: float = 5) -> hishel.AsyncRedisStorage:
        pool = BlockingConnectionPool(
            host="127.0.0.1",
            port=redis_server.port,
            max_connections=20,
            socket_connect_timeout=5,
            socket_timeout=socket_timeout,
        )
        return hishel.AsyncRedisStorage(Redis.from_pool(pool), key_prefix=key_prefix)

    return opened


# --- a client


class Bench:
    """A client with a cache, and a server that answers from a list; the test sets the time."""

    base = "https://api.example.com"

    def __init__(self, *answers: Any, default: Any = None, client: Any = None, **options: Any) -> None:
        self.clock = FakeClock(start=1_800_000_000.0)
        self.transport = FakeTransport(*answers, default=default)
        self.cache = Cache(clock=self.clock.time, **options)
        self.api = AsyncAPIClient(
            self.base,
            transport=self.transport,
            middlewares=[per_send(self.cache)],
            **{"max_retries": 0, **(client or {})},
        )

    async def get(self, path: str = "/x", **options: Any) -> AsyncAPIResponse[Any]:
        """Send a GET, and return its response, whatever its status."""
        anything = frozenset(range(300, 600))
        response: AsyncAPIResponse[Any] = await self.api.get(
            path, AsyncAPIResponse[Any], **{"ok_statuses": anything, "follow_redirects": False, **options}
        )
        return response

    async def hits(self, path: str = "/x", **options: Any) -> bool:
        """Return whether a GET is answered from the cache, and nothing is sent."""
        before = self.sends
        status = cache_status(await self.get(path, **options))
        hit = status is not None and status.hit
        assert hit is (self.sends == before)
        return hit

    @property
    def sends(self) -> int:
        """How many requests the server had."""
        return len(self.transport.requests)


@pytest.fixture
async def bench() -> AsyncIterator[Any]:
    """Creates a `Bench`, and closes it at the end. Every response is closed by then."""
    made: list[Bench] = []

    def make(*answers: Any, **options: Any) -> Bench:
        made.append(Bench(*answers, **options))
        return made[-1]

    yield make
    for one in made:
        assert one.transport.open_responses == 0
        await one.api.close()
