"""A Redis that does not answer: the fallback decides, calls do not wait for long, and the log is not
flooded.
"""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aioapiclient_ratelimit import LocalStore, RateLimit, RedisStore
from aioapiclient_ratelimit.rates import parse_rate
from needed_servers import need_module
from servers import refusing_port

from aioapiclient import APIConnectionError, AsyncAPIClient, per_send
from aioapiclient.testing import FakeClock, FakeTransport, respond

RATES = (parse_rate("1/min", 2),)


def client(port: int, **options: Any) -> Any:
    """A client with short timeouts."""
    redis = need_module("redis.asyncio", "redis")
    retries = need_module("redis.asyncio.retry", "redis")
    none = retries.Retry(need_module("redis.backoff", "redis").NoBackoff(), 0)
    return redis.Redis(port=port, retry=none, **options)


async def waits(store: RedisStore, number: int) -> list[int]:
    """The waits of that many reservations, in whole seconds."""
    return [round((await store.reserve("key", RATES, 1, 3600)).wait) for _ in range(number)]


async def test_the_fallback_hands_out_turns(caplog: pytest.LogCaptureFixture) -> None:
    """By default each process keeps the rates separately; one warning names only the class of the error."""
    store = RedisStore(client(refusing_port(), password="canary-secret"))

    for turns in ([0, 0, 60, 120], [180], [240]):
        store._paused_until = 0
        assert await waits(store, len(turns)) == turns
    assert caplog.messages == [
        "The store of rate limits does not answer (ConnectionError): the fallback assigns turns"
    ]
    assert caplog.records[0].name == "aioapiclient.ratelimit"
    assert "canary" not in caplog.text + repr(store)


async def test_a_long_outage_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a server that is away for two minutes and a half, three warnings are logged."""
    clock = FakeClock()
    monkeypatch.setattr("aioapiclient_ratelimit.redis_store.time", SimpleNamespace(monotonic=clock.time))
    store = RedisStore(client(refusing_port()))

    for _ in range(15):
        await waits(store, 1)
        clock.advance(10)
    assert len(caplog.messages) == 3


async def test_each_store_has_a_fallback_of_its_own() -> None:
    """Two stores share no turns by accident."""
    one, other = (RedisStore(client(refusing_port())) for _ in range(2))

    assert await waits(one, 3) == await waits(other, 3) == [0, 0, 60]


async def test_a_turn_of_the_fallback_goes_back_to_it() -> None:
    """Turns are refunded to the store that assigned them, even if the server is back."""
    fallback = LocalStore()
    store = RedisStore(client(refusing_port()), fallback=fallback)
    await waits(store, 3)
    turn = await store.reserve("key", RATES, 1, 3600)
    await store.refund("key", RATES, turn)

    assert (await fallback.reserve("key", RATES, 1, 3600)).at == turn.at


async def test_without_a_fallback_nothing_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    """The call fails like one that could not connect: it was not sent, and may be tried again."""
    transport = FakeTransport(respond(json={}))
    limit = RateLimit("5/s", store=RedisStore(client(refusing_port()), fallback=None))
    async with AsyncAPIClient(
        "https://api.example.com", middlewares=[per_send(limit)], transport=transport, max_retries=0
    ) as api:
        for _ in range(3):
            with pytest.raises(APIConnectionError, match="/x: not sent: the store of rate limits") as caught:
                await api.get("/x")
            assert caught.value.sent is False
            assert caught.value.request is not None

    assert not transport.requests
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith("(ConnectionError): no call is sent")


async def test_a_server_that_hangs_costs_one_timeout(redis_server: Any) -> None:
    """A server that accepts connections but never answers is not asked for a second after the first
    timeout.
    """
    store = RedisStore(client(redis_server.port), prefix="hangs:", timeout=0.05)
    await waits(store, 1)
    redis_server.freeze()
    try:
        start = time.monotonic()
        assert await waits(store, 1) == [0]
        paused_until = store._paused_until
        assert paused_until >= start + 1
        assert await waits(store, 50) == [0, *range(60, 60 * 50, 60)]
        assert store._paused_until == paused_until
    finally:
        redis_server.thaw()


async def test_it_goes_back_to_a_server_that_answers(redis_server: Any) -> None:
    """After the pause the server is asked again, even after a restart that has lost the script."""
    redis = client(redis_server.port)
    store = RedisStore(redis, prefix="back:")
    assert await waits(store, 2) == [0, 0]
    redis_server.kill()
    assert await waits(store, 1) == [0]
    redis_server.start()
    store._paused_until = 0

    assert await waits(store, 3) == [0, 0, 60]
    assert len(await redis.keys("back:*")) == 1
    await redis.aclose()


async def test_old_connections_are_not_an_outage(redis_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """After a restart each connection of the pool is closed once: no call fails for that, and no pause
    begins.
    """
    redis = client(redis_server.port)
    store = RedisStore(redis, prefix="old:", fallback=None)
    await asyncio.gather(*(waits(store, 1) for _ in range(8)))
    redis_server.kill()
    redis_server.start()

    assert await waits(store, 8) == [0, 0, *range(60, 60 * 7, 60)]
    assert not caplog.messages
    await redis.aclose()


async def test_a_call_that_is_cancelled_at_the_server_leaves_no_task(redis_server: Any) -> None:
    """A reservation that is cancelled in flight ends immediately."""
    store = RedisStore(client(redis_server.port), prefix="cancelled:", timeout=60)
    await waits(store, 1)
    redis_server.freeze()
    try:
        call = asyncio.ensure_future(store.reserve("key", RATES, 1, 3600))
        await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert asyncio.all_tasks() == {asyncio.current_task()}
    finally:
        redis_server.thaw()
