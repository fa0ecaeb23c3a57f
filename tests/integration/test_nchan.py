"""nchan: server-sent events with ids, over connections that break."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import msgspec
import pytest
from helpers import Client
from relays import relay

from aioapiclient import AsyncStream, PermissionDeniedError, Timeout
from aioapiclient.streaming import ServerSentEvent


class Tick(msgspec.Struct):
    number: int
    text: str = ""


def connect(url: str, channel: str = "") -> Client:
    """A client of one channel; a new channel if *channel* is omitted. A reply must arrive within 10 s."""
    params = {"channel": channel or uuid.uuid4().hex}
    return Client(url, default_params=params, timeout=Timeout(read=10))


@pytest.fixture
async def hub(nchan: str) -> AsyncIterator[Client]:
    """A client of the nchan, of a channel that no other test has."""
    async with connect(nchan) as client:
        yield client


async def publish(hub: Client, *ticks: Tick) -> None:
    """Publish *ticks*, one message each."""
    for tick in ticks:
        await hub.post("/publish", None, json=tick, headers={"X-EventSource-Event": "tick"})


async def take(stream: AsyncStream[Tick], number: int) -> list[int]:
    """The numbers of the next events."""
    found: list[int] = []
    async for tick in stream:
        found.append(tick.number)
        if len(found) == number:
            break
    return found


async def test_events_come_typed(hub: Client) -> None:
    """Events arrive typed and in order, beginning with those published before the stream."""
    await publish(hub, *map(Tick, range(10)))

    async with hub.stream("GET", "/events", Tick) as ticks:
        assert await take(ticks, 10) == list(range(10))


async def test_events_come_as_they_are_published(hub: Client) -> None:
    """An event arrives when it is published, not when a buffer is full."""
    async with hub.stream("GET", "/events", Tick) as ticks:
        numbers = []
        await publish(hub, Tick(0))
        async for tick in ticks:
            numbers.append(tick.number)
            if tick.number == 5:
                break
            await publish(hub, Tick(tick.number + 1))

    assert numbers == [0, 1, 2, 3, 4, 5]


async def test_raw_events_have_names_and_ids(hub: Client) -> None:
    """The raw events have the server's names and IDs."""
    await publish(hub, Tick(1, "grüße"), Tick(2))

    events: list[ServerSentEvent] = []
    async with hub.stream("GET", "/events") as stream:
        async for event in stream.events():
            events.append(event)
            if len(events) == 2:
                break

    assert [event.event for event in events] == ["tick", "tick"]
    assert msgspec.json.decode(events[0].data) == {"number": 1, "text": "grüße"}
    assert events[0].id != events[1].id


async def test_a_large_event_comes_whole(hub: Client) -> None:
    """An event of half a megabyte arrives complete."""
    await publish(hub, Tick(1, "x" * 500_000))

    async with hub.stream("GET", "/events", Tick) as ticks:
        tick = await anext(aiter(ticks))

    assert len(tick.text) == 500_000


async def test_nothing_is_lost_over_a_break(hub: Client, nchan: str) -> None:
    """A stream whose connection is cut resumes after its last event: no event is lost or repeated."""
    channel = hub.default_params["channel"]
    async with relay(nchan) as way, connect(way.url, channel) as client:
        await publish(hub, *map(Tick, range(5)))
        numbers = []
        async with client.stream("GET", "/events", Tick, reconnect=True) as ticks:
            async for tick in ticks:
                numbers.append(tick.number)
                if tick.number in {4, 9}:
                    way.cut()
                    # While no client listens.
                    await publish(hub, *map(Tick, range(tick.number + 1, tick.number + 6)))
                if tick.number == 14:
                    break

    assert numbers == list(range(15))
    assert way.connections == 3
    assert len(client.waits) == 2


async def test_nothing_is_lost_in_the_middle_of_an_event(hub: Client, nchan: str) -> None:
    """A connection that breaks within an event loses nothing: the event is sent again, complete."""
    await publish(hub, *(Tick(number, "x" * 10_000) for number in range(20)))

    async with (
        relay(nchan, cuts=[50_000, 70_000, 30_000]) as way,
        connect(way.url, hub.default_params["channel"]) as client,
        client.stream("GET", "/events", Tick, reconnect=True) as ticks,
    ):
        numbers = await take(ticks, 20)

    assert numbers == list(range(20))
    assert way.connections == 4


async def test_many_listeners(hub: Client) -> None:
    """Twenty streams of one client all get every event."""

    async def listen() -> list[int]:
        async with hub.stream("GET", "/events", Tick) as ticks:
            return await take(ticks, 5)

    listeners = [asyncio.create_task(listen()) for _ in range(20)]
    await publish(hub, *map(Tick, range(5)))

    assert await asyncio.gather(*listeners) == [list(range(5))] * 20


async def test_an_event_stream_needs_its_accept_header(hub: Client) -> None:
    """A stream requests ``text/event-stream``; a server that insists on it refuses other calls."""
    with pytest.raises(PermissionDeniedError):
        await hub.get("/events", str)
