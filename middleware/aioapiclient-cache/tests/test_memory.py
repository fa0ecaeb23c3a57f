"""`MemoryStorage`: the order of eviction, and hishel's rules for storages."""

from __future__ import annotations

from typing import Any

import pytest
from aioapiclient_cache import MemoryStorage
from aioapiclient_cache._whole import Whole
from hishel import Headers, Request, Response

from aioapiclient.testing import respond


async def pieces(*parts: bytes) -> Any:
    """A body as a stream."""
    for part in parts:
        yield part


async def put(storage: MemoryStorage, key: str, *parts: bytes, **limits: float) -> Any:
    """Store a body, and return its entry."""
    response = Response(200, Headers({"a": "b"}), pieces(*parts))
    entry = await storage.create_entry(Request("GET", key), response, key, **limits)
    assert b"".join([part async for part in entry.response.stream]) == b"".join(parts)
    return entry


async def bodies(storage: MemoryStorage, key: str) -> list[bytes]:
    """The bodies under a key."""
    return [
        b"".join([part async for part in entry.response.stream])  # type: ignore[union-attr]
        for entry in await storage.get_entries(key)
    ]


async def test_an_entry_is_there_when_its_stream_was_read() -> None:
    """An entry whose stream was not read to its end is never found."""
    storage = MemoryStorage()
    entry = await storage.create_entry(
        Request("GET", "k"), Response(200, Headers({}), pieces(b"a", b"b")), "k"
    )
    stream: Any = entry.response.stream
    assert await anext(stream) == b"a"
    assert await storage.get_entries("k") == []
    await stream.aclose()
    assert await storage.get_entries("k") == []
    await put(storage, "k", b"a", b"b")
    assert await bodies(storage, "k") == [b"ab"]


async def test_a_body_in_memory_is_stored_at_once() -> None:
    """A body that is known needs no reading: it is found at once, and its stream is read like any other."""
    storage = MemoryStorage()
    whole = Whole(b"ab")
    entry = await storage.create_entry(Request("GET", "k"), Response(200, Headers({}), whole), "k")
    assert await bodies(storage, "k") == [b"ab"]
    assert entry.response.stream is whole
    assert [part async for part in whole] == [b"ab"]
    assert [part async for part in whole] == []


async def test_the_least_recently_used_entry_leaves_first() -> None:
    """Above `max_entries` the least recently used entry is dropped."""
    storage = MemoryStorage(max_entries=2)
    await put(storage, "a", b"a")
    await put(storage, "b", b"b")
    assert await bodies(storage, "a") == [b"a"]
    await put(storage, "c", b"c")
    assert [await bodies(storage, key) for key in "abc"] == [[b"a"], [], [b"c"]]


async def test_bytes_are_bounded() -> None:
    """Above `max_bytes` old entries are dropped, and an entry larger than the limit is not stored."""
    storage = MemoryStorage(max_bytes=10_000)
    for n in range(20):
        await put(storage, str(n), b"x" * 1000)
        assert storage._size <= 10_000
    assert 3 <= len(storage._items) < 10
    assert await bodies(storage, "19") == [b"x" * 1000]
    await put(storage, "huge", b"x" * 20_000)
    assert await bodies(storage, "huge") == []
    assert await bodies(storage, "19") == [b"x" * 1000]


async def test_new_headers_count() -> None:
    """Headers that grow evict old entries, and the total stays exact."""
    storage = MemoryStorage(max_bytes=10_000)
    first = await put(storage, "a", b"a")
    await put(storage, "b", b"b")
    await storage.update_headers(first.id, Headers({"big": "x" * 8_500}))
    assert storage._size == sum(item.size for item in storage._items.values()) <= 10_000
    await storage.remove_entry(first.id)
    assert storage._size == sum(item.size for item in storage._items.values())


async def test_an_empty_memory_keeps_nothing() -> None:
    """With room for no entry, nothing is stored, and nothing fails."""
    storage = MemoryStorage(max_entries=0)
    await put(storage, "a", b"a")
    assert await bodies(storage, "a") == []


@pytest.mark.parametrize("limits", [{"ttl": 0.0}, {"tti": 0.0}])
async def test_an_entry_may_have_an_end(limits: dict[str, float]) -> None:
    """An entry whose time has passed is not found, and its room is free again."""
    storage = MemoryStorage()
    await put(storage, "a", b"a", **limits)
    await put(storage, "b", b"b", ttl=1000.0, tti=1000.0)
    assert await bodies(storage, "a") == []
    assert await bodies(storage, "b") == [b"b"]
    assert len(storage._items) == 1


async def test_clear_and_repr(bench: Any) -> None:
    """`clear` counts the removed entries; the repr has numbers only."""
    it = bench(default=respond(json=1, headers={"Cache-Control": "max-age=60"}))
    for path in ("/x", "/y"):
        await it.get(path)
    storage = it.cache.storage
    assert repr(storage).startswith("<MemoryStorage: 2 entries, ")
    assert storage.clear() == 2
    assert repr(storage) == "<MemoryStorage: 0 entries, 0 bytes>"
