"""Concurrent equal requests are one send if the response can be shared; no task is created for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aioapiclient_cache import Cache, cache_status
from aioapiclient_cache._keys import Asked

from aioapiclient import (
    APIConnectionError,
    APIRequest,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    per_send,
)
from aioapiclient.testing import FakeTransport, respond

FRESH = respond(json=1, headers={"Cache-Control": "max-age=60"})


class Gate:
    """A server that answers at the test's command."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.open = asyncio.Event()
        self.arrived = 0

    async def __call__(self, request: Any) -> Any:
        answer = self.answers[min(self.arrived, len(self.answers) - 1)]
        self.arrived += 1
        await self.open.wait()
        return answer

    async def has(self, count: int) -> None:
        """Wait until *count* requests have arrived, and no other task runs."""
        async with asyncio.timeout(20):
            while self.arrived < count:  # noqa: ASYNC110 - what is waited for is a number
                await asyncio.sleep(0)
        for _ in range(30):
            await asyncio.sleep(0)
        assert self.arrived == count


async def test_a_thousand_misses_at_once_are_one_send(bench: Any) -> None:
    """Of 1,000 equal calls one is sent; all get its response, and no additional task is created."""
    gate = Gate(FRESH)
    it = bench(default=gate)
    before = len(asyncio.all_tasks())
    calls = [asyncio.ensure_future(it.get()) for _ in range(1000)]
    await gate.has(1)
    assert len(asyncio.all_tasks()) == before + 1000
    gate.open.set()
    responses = await asyncio.gather(*calls)
    assert it.sends == 1
    assert {response.body for response in responses} == {b"1"}
    statuses = [cache_status(response) for response in responses]
    assert sum(status.coalesced for status in statuses) == 999
    assert sum(status.stored for status in statuses) == 1
    assert not any(status.hit for status in statuses)
    assert len(it.cache._core.flights) == 0


@pytest.mark.parametrize("shared", [FRESH, respond(json=1)])
async def test_without_coalescing_each_is_sent(bench: Any, shared: Any) -> None:
    """``coalesce=False`` sends every miss."""
    it = bench(default=shared, coalesce=False)
    await asyncio.gather(*(it.get() for _ in range(5)))
    assert it.sends == 5


async def test_what_cannot_be_shared_does_not_make_a_queue(bench: Any) -> None:
    """If the first response cannot be shared, all others are sent immediately; later requests do not wait."""
    gate = Gate(respond(json=1))
    it = bench(default=gate)
    calls = [asyncio.ensure_future(it.get()) for _ in range(50)]
    await gate.has(1)
    gate.open.set()
    await asyncio.gather(*calls)
    assert it.sends == 50
    gate.open.clear()
    again = [asyncio.ensure_future(it.get()) for _ in range(50)]
    await gate.has(100)
    gate.open.set()
    await asyncio.gather(*again)


async def test_what_can_be_shared_again_is_shared_again(bench: Any) -> None:
    """After a response that may be stored, requests wait again."""
    gate = Gate(respond(json=1), respond(json=1, headers={"Cache-Control": "max-age=60"}))
    it = bench(default=gate)
    gate.open.set()
    await it.get()
    await it.get()
    it.clock.advance(100)
    gate.open.clear()
    calls = [asyncio.ensure_future(it.get()) for _ in range(5)]
    await gate.has(3)
    gate.open.set()
    await asyncio.gather(*calls)
    assert it.sends == 3


async def test_when_the_first_fails_the_others_go_alone(bench: Any) -> None:
    """A failure of the first request is not shared; the others are sent, concurrently."""
    gate = Gate(APIConnectionError("lost"), FRESH)
    it = bench(default=gate)
    calls = [asyncio.ensure_future(it.get()) for _ in range(5)]
    await gate.has(1)
    gate.open.set()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end).__name__ for end in ends] == ["APIConnectionError", *["AsyncAPIResponse"] * 4]
    assert it.sends == 5


async def test_when_the_first_is_cancelled_another_leads(bench: Any) -> None:
    """Cancelling the first request affects no other: one of the others is sent instead."""
    gate = Gate(FRESH)
    it = bench(default=gate)
    calls = [asyncio.ensure_future(it.get()) for _ in range(5)]
    await gate.has(1)
    calls[0].cancel()
    await gate.has(2)
    gate.open.set()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert [end.body for end in ends[1:]] == [b"1"] * 4
    assert it.sends == 2


async def test_one_that_waits_can_be_cancelled(bench: Any) -> None:
    """A waiting request that ends affects neither the first nor the others."""
    gate = Gate(FRESH)
    it = bench(default=gate)
    calls = [asyncio.ensure_future(it.get()) for _ in range(3)]
    await gate.has(1)
    calls[1].cancel()
    await asyncio.wait([calls[1]])
    gate.open.set()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end).__name__ for end in ends] == ["AsyncAPIResponse", "CancelledError", "AsyncAPIResponse"]
    assert it.sends == 1


async def test_the_deadline_of_one_that_waits_holds(bench: Any) -> None:
    """A call that waits for another's answer ends at its own deadline, not at that of the first."""
    it = bench(default=(gate := Gate(FRESH)))
    with it.clock.install():
        first = asyncio.ensure_future(it.get(timeout=1000))
        await gate.has(1)
        waiting = asyncio.ensure_future(it.get(timeout=5))
        await gate.has(1)
        it.clock.advance(6)
        with pytest.raises(APITimeoutError) as caught:
            await waiting
        assert caught.value.phase == "total"
        gate.open.set()
        assert (await first).body == b"1"


async def test_variants_go_alone(bench: Any) -> None:
    """A waiting request for another variant is sent when the first response shows that it does not match."""
    gate = Gate(respond(json=1, headers={"Cache-Control": "max-age=60", "Vary": "Accept-Language"}))
    it = bench(default=gate)
    languages = ("sv", "sv", "en")
    calls = [asyncio.ensure_future(it.get(headers={"Accept-Language": one})) for one in languages]
    await gate.has(1)
    gate.open.set()
    await asyncio.gather(*calls)
    assert [sent.headers["Accept-Language"] for sent in it.transport.requests] == ["sv", "en"]


async def test_principals_are_not_coalesced(bench: Any) -> None:
    """Equal requests of two principals are two sends."""
    gate = Gate(FRESH)
    it = bench(default=gate)
    calls = [asyncio.ensure_future(it.get(headers={"Authorization": who})) for who in ("a", "b", "a", "b")]
    await gate.has(2)
    gate.open.set()
    await asyncio.gather(*calls)
    assert it.sends == 2


@pytest.mark.parametrize("control", ["no-cache", "max-age=0"])
async def test_who_asks_for_a_newer_answer_does_not_join(bench: Any, control: str) -> None:
    """A request with its own directives is sent, although an equal one is in flight."""
    gate = Gate(FRESH)
    it = bench(default=gate)
    calls = [
        asyncio.ensure_future(it.get()),
        asyncio.ensure_future(it.get(headers={"Cache-Control": control})),
    ]
    await gate.has(2)
    gate.open.set()
    await asyncio.gather(*calls)
    assert it.sends == 2


async def test_a_change_ends_the_joining(bench: Any) -> None:
    """After an unsafe request a GET does not get the answer to one that was sent before it."""
    old, new = (respond(json=value, headers={"Cache-Control": "max-age=60"}) for value in ("old", "new"))
    gate = Gate(old, respond(204), new)
    it = bench(default=gate)
    first = asyncio.ensure_future(it.get())
    await gate.has(1)
    change = asyncio.ensure_future(it.api.put("/x", json=1))
    await gate.has(2)
    it.clock.advance(1)
    during = asyncio.ensure_future(it.get())
    await gate.has(3)
    gate.open.set()
    assert (await first).body == b'"old"'
    await change
    assert (await during).body == b'"new"'
    it.clock.advance(1)
    assert not await it.hits()  # a response requested before the end of the change may be older than it


async def test_hits_at_once_read_the_storage_once(bench: Any) -> None:
    """Equal hits at the same time are given one reading of the storage."""
    it = bench(FRESH)
    await it.get()
    reads = 0
    storage = it.cache.storage
    find = storage.get_entries

    async def counted(key: str) -> Any:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.001)
        return await find(key)

    storage.get_entries = counted
    responses = await asyncio.gather(*(it.get() for _ in range(20)))
    assert reads == 1
    assert all(cache_status(response).hit for response in responses)


def test_a_second_event_loop_starts_anew() -> None:
    """A flight left by an ended event loop does not block the next loop; entries are still available."""
    cache = Cache()
    sent: list[str] = []
    base = "https://api.example.com"

    def answer(request: APIRequest) -> Any:
        sent.append(request.url.path)
        return FRESH

    def client() -> AsyncAPIClient:
        transport = FakeTransport(default=answer)
        return AsyncAPIClient(base, transport=transport, middlewares=[per_send(cache)])

    async def abandoned() -> None:
        async with client() as api:
            assert await api.get("/x") == 1
        key = Asked(APIRequest("GET", f"{base}/y"), None).key
        cache._core.flights.lead(key, f"{base}/y")

    async def again() -> None:
        async with client() as api, asyncio.timeout(20):
            assert cache_status(await api.get("/x", AsyncAPIResponse[Any])).hit
            status = cache_status(await api.get("/y", AsyncAPIResponse[Any]))
            assert (status.stored, status.coalesced) == (True, False)

    asyncio.run(abandoned())
    assert len(cache._core.flights) == 1
    asyncio.run(again())
    assert sent == ["/x", "/y"]
    assert len(cache._core.flights) == 0
