"""etcd: its JSON gateway watches keys by a stream of JSON lines, and lists them in pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import msgspec
import pytest
from helpers import Client

from aioapiclient import (
    APIStreamError,
    APITimeoutError,
    AsyncAPIResponse,
    AsyncPage,
    BadRequestError,
    ClientClosedError,
    JSONLStream,
    PageInfo,
    Timeout,
)


class Pair(msgspec.Struct):
    """A key with its value: base64 in the JSON, bytes here."""

    key: bytes
    value: bytes = b""
    mod_revision: int = 0


class Event(msgspec.Struct):
    kv: Pair
    type: str = "PUT"


class Result(msgspec.Struct):
    created: bool = False
    events: list[Event] = []


class Watched(msgspec.Struct):
    result: Result


class Header(msgspec.Struct):
    revision: int


class Written(msgspec.Struct):
    header: Header


class Range(AsyncPage[Any]):
    """A range of keys; the next one begins after its last."""

    kvs: list[Pair] = msgspec.field(default_factory=list)
    more: bool = False

    items_field: ClassVar[str] = "kvs"

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        return PageInfo(json={"key": self.kvs[-1].key + b"\0"}) if self.more else None


@pytest.fixture
async def store(etcd: str) -> AsyncIterator[Client]:
    """A client of the etcd, whose JSON has numbers as strings."""
    async with Client(etcd, strict_response_validation=False, timeout=Timeout(read=10)) as client:
        yield client


async def put(store: Client, key: bytes, value: bytes) -> int:
    """Write *key*; return the revision."""
    written = await store.post("/v3/kv/put", Written, json={"key": key, "value": value}, idempotent=True)
    return written.header.revision


def watch(store: Client, key: bytes, **more: Any) -> Any:
    """A stream of the changes to keys that begin with *key*."""
    request = {"key": key, "range_end": key + b"\xff", **more}
    return store.stream(
        "POST", "/v3/watch", Watched, stream_cls=JSONLStream, json={"create_request": request}
    )


async def test_a_watch_is_a_stream(store: Client) -> None:
    """A key that is written while a watch is open arrives on its stream, typed, once and in order."""
    seen: list[Event] = []
    async with watch(store, b"live/") as changes:
        async for change in changes:
            if change.result.created:
                for number in range(20):
                    await put(store, b"live/%02d" % number, b"%d" % number)
            seen += change.result.events
            if len(seen) >= 20:
                break

    assert [event.kv.key for event in seen] == [b"live/%02d" % number for number in range(20)]
    assert [event.kv.value for event in seen] == [b"%d" % number for number in range(20)]


async def test_a_watch_of_the_past(store: Client) -> None:
    """A watch that begins in the past delivers past events first, including deletions."""
    revision = await put(store, b"past/a", b"1")
    await put(store, b"past/a", b"2")
    await store.post("/v3/kv/deleterange", None, json={"key": b"past/a"})

    seen: list[Event] = []
    async with watch(store, b"past/", start_revision=revision) as changes:
        async for change in changes:
            seen += change.result.events
            if len(seen) == 3:
                break

    assert [(event.type, event.kv.value) for event in seen] == [("PUT", b"1"), ("PUT", b"2"), ("DELETE", b"")]


async def test_large_lines(store: Client) -> None:
    """A line of half a megabyte arrives complete."""
    value = bytes(range(256)) * 2000
    revision = await put(store, b"large", value)

    async with watch(store, b"large", start_revision=revision) as changes:
        async for change in changes:
            if change.result.events:
                break

    assert change.result.events[0].kv.value == value


async def test_watches_side_by_side(store: Client) -> None:
    """Ten watches of one client each receive their own events."""
    revision = await put(store, b"many/0", b"0")
    for number in range(1, 10):
        await put(store, b"many/%d" % number, b"%d" % number)

    async def first(number: int) -> bytes:
        async with watch(store, b"many/%d" % number, start_revision=revision) as changes:
            async for change in changes:
                for event in change.result.events:
                    return bytes(event.kv.value)
        raise AssertionError("the stream ended")

    assert await asyncio.gather(*map(first, range(10))) == [b"%d" % number for number in range(10)]


async def test_a_silent_watch_is_given_up(store: Client) -> None:
    """A stream that is silent for longer than ``read`` ends with a timeout of that phase."""
    request = {"create_request": {"key": b"silent"}}
    async with store.stream(
        "POST",
        "/v3/watch",
        Watched,
        stream_cls=JSONLStream,
        json=request,
        timeout=Timeout(read=0.3),
        idempotent=True,
    ) as changes:
        with pytest.raises(APIStreamError) as raised:
            async for _ in changes:
                pass

    assert isinstance(raised.value.__cause__, APITimeoutError)
    assert raised.value.__cause__.phase == "read"


async def test_a_closed_client_ends_its_watches(store: Client) -> None:
    """Closing the client ends a watch that waits."""
    async with watch(store, b"closing/") as changes:
        with pytest.raises(ClientClosedError):
            async for _ in changes:
                await store.close()


async def test_pages_of_keys(store: Client) -> None:
    """Pages whose next request differs in its JSON body are iterated with a custom page class."""
    for number in range(25):
        await put(store, b"page/%02d" % number, b"%d" % number)
    request = {"key": b"page/", "range_end": b"page/\xff", "limit": 10}

    pairs = store.get_api_list("/v3/kv/range", model=Pair, page=Range, method="post", json=request)
    pages = [page async for page in pairs.iter_pages()]

    assert [len(page.kvs) for page in pages] == [10, 10, 5]
    assert [pair.key async for pair in pairs] == [b"page/%02d" % number for number in range(25)]


async def test_an_unknown_member_is_refused(store: Client) -> None:
    """The gateway's message about a malformed request is kept."""
    with pytest.raises(BadRequestError) as raised:
        await store.post("/v3/kv/put", Written, json={"nothing": 1})

    assert raised.value.body["code"] == 3
