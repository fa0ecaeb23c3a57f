"""A failing storage acts like an empty cache: no call fails, and one warning a minute is logged."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import hishel
import pytest
from aioapiclient_cache import Cache, MemoryStorage
from redis.asyncio import BlockingConnectionPool, Redis
from servers import until

from aioapiclient import AsyncAPIClient, per_send
from aioapiclient.testing import FakeClock, FakeTransport, respond

FRESH = respond(json=1, headers={"Cache-Control": "max-age=60", "ETag": '"a"'})
STEPS = ("get_entries", "create_entry", "update_headers", "remove_entry")


class Broken(MemoryStorage):
    """A storage whose operations fail."""

    def __init__(self, *steps: str, error: Exception | None = None) -> None:
        super().__init__()
        self.steps = steps
        self.error = error or ConnectionError("canary-5e1f")
        self.tries = 0

    def __getattribute__(self, name: str) -> Any:
        if name in STEPS and name in super().__getattribute__("steps"):
            return self.fail
        return super().__getattribute__(name)

    async def fail(self, *_: Any, **__: Any) -> Any:
        """Fail."""
        self.tries += 1
        await asyncio.sleep(0)
        raise self.error


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The texts of all warnings and errors."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("step", STEPS)
async def test_no_call_fails_with_its_storage(
    bench: Any, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever step of a storage fails, the server answers, and the warning has no text of the error."""
    storage = Broken(step)
    it = bench(default=FRESH, storage=storage)
    for _ in range(3):
        assert (await it.get()).body == b"1"
        it.clock.advance(100)
        await it.api.put("/x")
        it.clock.advance(1)
    it.transport._default = respond(304, headers={"ETag": '"a"'})
    if step in ("update_headers", "remove_entry"):
        storage.steps = ()
        it.transport._default = FRESH
        await it.get()
        it.clock.advance(100)
        storage.steps = (step,)
        it.transport._default = respond(304, headers={"ETag": '"a"'})
        await it.get()
    assert storage.tries >= 1
    assert warnings(caplog) == ["The storage of the cache fails (ConnectionError): calls go to the server"]


async def test_one_warning_a_minute(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A storage that is down is reported once a minute, and tried once a second."""
    storage, clock = Broken(*STEPS), FakeClock()
    it = bench(default=FRESH, storage=storage)
    it.cache._core.store.clock = clock.time
    for _ in range(240):
        await it.get()
        clock.advance(0.25)
    assert len(warnings(caplog)) == 1
    assert storage.tries == 60
    clock.advance(1)
    await it.get()
    assert len(warnings(caplog)) == 2


async def test_a_damaged_entry_is_not_an_outage(bench: Any) -> None:
    """After an entry that cannot be decoded, the cache still uses its storage."""
    storage = Broken("get_entries", error=ValueError("damaged"))
    it = bench(default=FRESH, storage=storage)
    for _ in range(5):
        await it.get()
    assert storage.tries == 5


async def test_a_body_that_is_lost_is_asked_for_again(bench: Any) -> None:
    """An entry whose body cannot be read any more is a miss."""
    storage = MemoryStorage()
    find = storage.get_entries

    async def losing(key: str) -> Any:
        found = await find(key)
        for entry in found:
            entry.response.stream = lost()
        return found

    async def lost() -> Any:
        raise RuntimeError("Cached response was deleted while it was being read.")
        yield b""

    storage.get_entries = losing  # type: ignore[method-assign]
    it = bench(default=FRESH, storage=storage)
    for sends in (1, 2):
        assert (await it.get()).body == b"1"
        assert it.sends == sends
    it.clock.advance(100)
    it.transport._default = lambda request: respond(304) if "If-None-Match" in request.headers else FRESH
    assert (await it.get()).body == b"1"
    assert it.sends == 4  # a 304 has no body, so the request is sent once more without a condition


async def test_cancellation_is_not_a_failure(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A call that is cancelled while its storage works ends as cancelled, without a warning."""
    storage = MemoryStorage()
    began = asyncio.Event()

    async def endless(key: str) -> Any:
        began.set()
        await asyncio.Event().wait()

    storage.get_entries = endless  # type: ignore[method-assign]
    it = bench(default=FRESH, storage=storage)
    call = asyncio.ensure_future(it.get())
    await began.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert warnings(caplog) == []


@pytest.mark.parametrize("storage", [hishel.AsyncSqliteStorage, hishel.AsyncRedisStorage])
async def test_the_records_of_hishel_belong_to_others_too(
    storage: type, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    """Records of hishel's storages are removed only while they work for this middleware."""
    made: Any = (
        redis_storage(1) if storage is hishel.AsyncRedisStorage else storage(database_path=tmp_path / "c")
    )
    Cache(made)
    logging.getLogger(storage.__module__).error("somebody else's")
    assert warnings(caplog) == ["somebody else's"]
    await made.close()


async def test_a_storage_of_the_users_may_warn(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A warning that a user's own storage logs is shown, and does not count as a failure."""
    logger = logging.getLogger(__name__)

    class Talking(MemoryStorage):
        async def get_entries(self, key: str) -> Any:
            logger.warning("I look")
            return await super().get_entries(key)

    it = bench(FRESH, storage=Talking())
    await it.get()
    assert await it.hits()
    assert warnings(caplog) == ["I look", "I look"]


# --- Redis


def redis_storage(port: int) -> Any:
    """A storage on this port, that waits for half a second."""
    pool = BlockingConnectionPool(
        host="127.0.0.1", port=port, max_connections=10, socket_connect_timeout=0.5, socket_timeout=0.5
    )
    return hishel.AsyncRedisStorage(Redis.from_pool(pool))


async def test_redis_is_killed_midway(redis_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Calls continue when Redis dies, and are hits again when it is back."""
    storage = redis_storage(redis_server.port)
    cache = Cache(storage)
    transport = FakeTransport(default=FRESH)
    async with AsyncAPIClient(
        "https://api.example.com", transport=transport, middlewares=[per_send(cache)], max_retries=0
    ) as api:
        await asyncio.gather(*(api.get(f"/{n}") for n in range(50)))
        calls = [asyncio.ensure_future(api.get(f"/{n % 50}")) for n in range(200)]
        await asyncio.sleep(0)
        redis_server.kill()
        assert await asyncio.gather(*calls) == [1] * 200
        sent = len(transport.requests)
        assert await asyncio.gather(*(api.get(f"/{n}") for n in range(50))) == [1] * 50
        assert len(transport.requests) == sent + 50
        assert [text for text in warnings(caplog) if "The storage of the cache fails" not in text] == []
        assert len(warnings(caplog)) == 1

        redis_server.start()
        async with asyncio.timeout(60):
            while not await is_hit(api, transport):  # noqa: ASYNC110 - Redis tells nobody that it is back
                await asyncio.sleep(0.05)
    await storage.close()


async def test_redis_that_does_not_answer(redis_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A Redis that accepts connections but never answers costs its timeout once a second, not once a call."""
    storage = redis_storage(redis_server.port)
    cache = Cache(storage)
    tries = 0
    find = storage.get_entries

    async def counted(key: str) -> Any:
        nonlocal tries
        tries += 1
        return await find(key)

    storage.get_entries = counted
    cache._core.store.clock = FakeClock().time  # the second after the failure does not end
    transport = FakeTransport(default=FRESH)
    async with AsyncAPIClient(
        "https://api.example.com", transport=transport, middlewares=[per_send(cache)], max_retries=0
    ) as api:
        redis_server.freeze()
        try:
            for n in range(20):
                assert await api.get(f"/{n}") == 1
        finally:
            redis_server.thaw()
    assert tries == 1
    assert len(warnings(caplog)) == 1
    await storage.close()


async def is_hit(api: AsyncAPIClient, transport: FakeTransport) -> bool:
    """Whether a call is answered without a send."""
    await api.get("/x")
    before = len(transport.requests)
    await api.get("/x")
    return len(transport.requests) == before


async def test_a_database_that_is_something_else(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is not a database makes no call fail."""
    (tmp_path / "cache.db").write_bytes(b"this is not a database" * 100)
    storage = hishel.AsyncSqliteStorage(database_path=tmp_path / "cache.db")
    transport = FakeTransport(default=FRESH)
    async with AsyncAPIClient(
        "https://api.example.com", transport=transport, middlewares=[per_send(Cache(storage))]
    ) as api:
        for _ in range(3):
            assert await api.get("/x") == 1
    await until(lambda: len(transport.requests) == 3)
    assert len(warnings(caplog)) == 1
    await storage.close()
