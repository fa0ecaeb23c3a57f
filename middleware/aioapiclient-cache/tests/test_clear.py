"""`Cache.clear` removes what is stored, by whichever client or process, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hishel
import pytest
from aioapiclient_cache import MemoryStorage
from hishel import Headers, Request, Response

from aioapiclient import InvalidRequestError
from aioapiclient.testing import respond

FRESH = respond(json=1, headers={"Cache-Control": "max-age=60", "ETag": '"a"'})
USERS = [{"headers": {"Authorization": f"Bearer {name}"}} for name in ("ada", "bob")]


@pytest.fixture
def opened(storage: Any, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    """Opens the data of *storage* once more, as another process does; memory is one object for all."""

    def another() -> Any:
        if isinstance(storage, hishel.AsyncSqliteStorage):
            return hishel.AsyncSqliteStorage(database_path=tmp_path / "cache.db")
        if isinstance(storage, hishel.AsyncRedisStorage):
            return request.getfixturevalue("redis_storage")(key_prefix=str(tmp_path))
        return storage

    return another


async def test_it_counts_what_it_removes(bench: Any, storage: Any) -> None:
    """A URL is cleared with all its responses, for every principal; without a URL all are."""
    it = bench(default=FRESH, storage=storage)
    for path in ("/x", "/y", "/z"):
        for options in ({}, *USERS):
            await it.get(path, **options)
    assert await it.cache.clear(it.base + "/x") == 3
    assert await it.cache.clear(it.base + "/x") == 0
    assert await it.hits("/y", **USERS[0])
    it.clock.advance(1)
    assert not await it.hits("/x", **USERS[0])
    assert await it.cache.clear() == 7
    assert await it.cache.clear() == 0


async def test_another_client_clears_a_url(bench: Any, storage: Any, opened: Any) -> None:
    """What one cache has stored of a URL, for any principal, another clears, which has stored nothing."""
    again = opened()
    one, other = bench(default=FRESH, storage=storage), bench(storage=again)
    for path in ("/x", "/x?page=2", "/y"):
        for user in USERS:
            await one.get(path, **user)
    assert await other.cache.clear(other.base + "/x?page=2") == 2
    for user in USERS:
        assert not await one.hits("/x?page=2", **user)
        assert await one.hits("/x", **user)
        assert await one.hits("/y", **user)
    await again.close()


async def test_another_client_clears_everything(bench: Any, storage: Any, opened: Any) -> None:
    """What one cache has stored, of any URL and for any principal, is cleared by another."""
    again = opened()
    one, other = bench(default=FRESH, storage=storage), bench(storage=again)
    for path in ("/x", "/y"):
        for user in USERS:
            await one.get(path, **user)
    assert await other.cache.clear() == 4
    for path in ("/x", "/y"):
        for user in USERS:
            assert not await one.hits(path, **user)
    await again.close()


PROGRAM = """
import asyncio, sys
import hishel
from aioapiclient_cache import Cache
from redis.asyncio import Redis

async def main(kind, place, prefix, *urls):
    if kind == "AsyncSqliteStorage":
        storage = hishel.AsyncSqliteStorage(database_path=place)
    else:
        storage = hishel.AsyncRedisStorage(Redis(host="127.0.0.1", port=int(place)), key_prefix=prefix)
    print(await Cache(storage).clear(*urls))
    await storage.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("storage", ["sqlite", "redis"], indirect=True)
@pytest.mark.parametrize(("urls", "removed"), [((), 4), (("https://api.example.com/x",), 2)])
async def test_another_process_clears(
    bench: Any,
    storage: Any,
    urls: tuple[str, ...],
    removed: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """A process of its own removes what this one has stored."""
    it = bench(default=FRESH, storage=storage)
    for path in ("/x", "/y"):
        for user in USERS:
            await it.get(path, **user)
    is_sqlite = isinstance(storage, hishel.AsyncSqliteStorage)
    place = tmp_path / "cache.db" if is_sqlite else request.getfixturevalue("redis_server").port
    arguments = [type(storage).__name__, str(place), str(tmp_path), *urls]
    command = [sys.executable, "-c", PROGRAM, *arguments]
    ended = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.stdout.strip(), ended.returncode) == (str(removed), 0), ended.stderr
    assert not await it.hits("/x", **USERS[0])
    assert await it.hits("/y", **USERS[0]) is bool(urls)


async def test_entries_of_other_programs_stay(bench: Any, storage: Any) -> None:
    """An entry that another program has stored beside those of the cache is not removed."""
    response = Response(200, Headers({}), pieces(b"theirs"))
    entry = await storage.create_entry(Request("GET", "https://api.example.com/x"), response, "their-key")
    assert [piece async for piece in entry.response.stream] == [b"theirs"]
    it = bench(default=FRESH, storage=storage)
    await it.get()
    assert await it.cache.clear() == 1
    assert len(await storage.get_entries("their-key")) == 1


async def test_entries_under_another_prefix_stay(bench: Any, redis_storage: Any) -> None:
    """A prefix of Redis is taken letter by letter: what a pattern would match beside it stays."""
    name = uuid.uuid4().hex
    prefixes = (f"{name}[ab]*", f"{name}a", f"{name}[ab]*b")
    storages = [redis_storage(prefix) for prefix in prefixes]
    benches = [bench(FRESH, storage=storage) for storage in storages]
    for it in benches:
        await it.get()
    assert await bench(storage=storages[0]).cache.clear() == 1
    assert [await it.hits() for it in benches[1:]] == [True, True]
    for storage in storages:
        await storage.close()


class Plain(MemoryStorage):
    """A storage of the user's own that cannot list its keys."""

    def keys(self, prefix: str = "") -> list[str]:
        """Return nothing."""
        return []


async def test_a_storage_that_cannot_list_its_keys(bench: Any) -> None:
    """There, what this cache has stored is removed; what another has stored is validated before its use."""
    storage = Plain()
    one = bench(default=FRESH, storage=storage)
    other = bench(respond(304, headers={"ETag": '"a"'}), storage=storage)
    await one.get(**USERS[0])
    await one.get("/y")
    other.clock.advance(1)
    assert await other.cache.clear() == 0
    assert not await other.hits(**USERS[0])
    assert await other.cache.clear(other.base + "/y") == 1  # a URL without a credential
    assert await one.cache.clear() == 1


async def test_a_storage_that_fails(
    bench: Any, redis_server: Any, redis_storage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A failing storage raises nothing: this cache ignores its entries, and logs a warning."""
    storage = redis_storage(uuid.uuid4().hex, socket_timeout=0.2)
    it = bench(default=FRESH, storage=storage)
    await it.get()
    it.clock.advance(1)
    redis_server.freeze()
    try:
        assert await it.cache.clear() == 0
    finally:
        redis_server.thaw()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    later = time.monotonic() + 10
    it.cache._core.store.clock = lambda: later  # the pause after a failure has ended
    assert not await it.hits()
    assert it.transport.requests[-1].headers["If-None-Match"] == '"a"'
    await storage.close()


@pytest.mark.parametrize("url", ["/x", "ftp://api.example.com/x", ""])
async def test_a_url_that_is_not_absolute_is_refused(bench: Any, url: str) -> None:
    """A path would clear nothing, so it is an `InvalidRequestError`."""
    with pytest.raises(InvalidRequestError):
        await bench().cache.clear(url)


async def pieces(body: bytes) -> Any:
    """A body as a stream."""
    yield body
