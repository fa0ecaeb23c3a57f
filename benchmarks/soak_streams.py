"""The soak's streams: a thousand concurrent ones, a tenth of them cut by the server, a tenth abandoned by
the client.
"""

from __future__ import annotations

import asyncio
import random
from typing import NamedTuple

import msgspec
from faulty_server import Cut
from soaking import Check, Client, Server, Size, at_most, exactly, resident, short_waits

from aioapiclient import AsyncAPIClient, AsyncStream
from aioapiclient.errors import APIStreamError

TITLE = "A thousand streams at once, a tenth cut, a tenth abandoned"
STREAMS = 1000
_KIB = 1 << 10


class Event(msgspec.Struct):
    stream: int
    number: int


class End(NamedTuple):
    """How one stream ended."""

    seen: int
    """Events, all of them in order, up to the first that was not."""
    in_order: bool = True
    broke: bool = False
    told: int = -1
    """The number of received events that the error reported."""


class Reader:
    """Reads one stream to its end, or abandons it after some events."""

    def __init__(self, api: AsyncAPIClient, number: int, leave_after: int | None) -> None:
        self._api = api
        self._number = number
        self._leave_after = leave_after

    async def read(self) -> End:
        """Read it; half of the abandoned ones are not in an ``async with``."""
        place = {"id": self._number}
        if self._leave_after is not None and self._number % 20 == 0:
            return await self._count(
                await self._api.get("/streams/{id}", Event, stream=True, path_params=place)
            )
        async with self._api.stream("GET", "/streams/{id}", Event, path_params=place) as events:
            return await self._count(events)

    async def _count(self, events: AsyncStream[Event]) -> End:
        seen = 0
        try:
            async for event in events:
                if event != Event(self._number, seen):
                    return End(seen, in_order=False)
                seen += 1
                if seen == self._leave_after:
                    break
        except APIStreamError as error:
            return End(seen, broke=True, told=error.events_seen)
        return End(seen)


async def scenario(server: Server, seed: int, size: Size) -> list[Check]:
    """Checks of L12."""
    chance = random.Random(seed)
    await server.order("set", events=size.events)
    async with Client(server.base, retry=short_waits()) as client:
        before = resident()
        readers = [
            Reader(client.api, number, chance.randint(1, size.events // 2) if number % 10 == 0 else None)
            for number in range(STREAMS)
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(reader.read()) for reader in readers]
            await server.until("streams", STREAMS)
            each = (resident() - before) / STREAMS / _KIB
            open_at_once = client.connections_in_use
            await server.order("flow")
        ends = [task.result() for task in tasks]
        in_use = client.connections_in_use
    cuts = {int(name): Cut(*cut) for name, cut in (await server.order("facts"))["cuts"].items()}
    return [
        exactly("streams open at once", open_at_once, STREAMS),
        at_most("memory of each stream", each, 64, " KiB"),
        *_ends(ends, cuts, size.events),
        exactly("connections in use when all streams have ended", in_use, 0),
    ]


def _ends(ends: list[End], cuts: dict[int, Cut], events: int) -> list[Check]:
    whole = [end for number, end in enumerate(ends) if number % 10 > 1]
    astray = sum(not end.in_order for end in ends)
    broken = {number: ends[number] for number in range(1, len(ends), 10)}
    return [
        exactly("streams with a missing, repeated or foreign event", astray, 0),
        exactly(f"complete streams, with all {events} events", whole.count(End(events)), len(whole)),
        exactly(
            "broken streams that reported the number of complete events",
            sum(_as_cut(end, cuts[number]) for number, end in broken.items()),
            len(broken),
        ),
    ]


def _as_cut(end: End, cut: Cut) -> bool:
    if not end.broke or end.told != end.seen:
        return False
    # A RST discards the data in the socket buffers.
    return end.seen <= cut.events if cut.by_reset else end.seen == cut.events
