"""`Flights`: equal requests at the same time are one send, whose response is shared (RFC 9111 §4).

No task is created: the first request leads, in the task of its call, and the others wait for its result.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from aioapiclient.contract import BoundedDict

from ._stored import Stored

__all__ = ["Flight", "Flights", "Landed"]


class Landed(NamedTuple):
    """The result of a flight, which its leader passes to the waiting requests."""

    stored: Stored
    body: bytes
    was_hit: bool


class Flight:
    """A request in flight, which others may wait for."""

    __slots__ = ("_future", "joinable", "url")

    def __init__(self, url: str) -> None:
        self.url = url
        self.joinable = True
        self._future: asyncio.Future[Landed | None] = asyncio.get_running_loop().create_future()

    def land(self, result: Landed | None) -> None:
        """Pass *result* to the waiting requests; None lets each be sent separately."""
        if not self._future.done():
            self._future.set_result(result)

    def give_up(self) -> None:
        """Let one of the waiting requests lead instead."""
        self._future.cancel()

    @property
    def was_given_up(self) -> bool:
        """Whether the leader was cancelled."""
        return self._future.cancelled()

    async def wait(self) -> Landed | None:
        """Return the result; None if the response cannot be shared, or the leader was cancelled."""
        await asyncio.wait((self._future,))
        return None if self._future.cancelled() else self._future.result()


class Flights:
    """The requests in flight, by key, and the keys whose responses cannot be shared."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flights: dict[str, Flight] = {}
        self._alone: BoundedDict[str, bool] = BoundedDict()

    def __len__(self) -> int:
        return len(self._flights)

    def get(self, key: str) -> Flight | None:
        """Return the flight that a request of *key* may join."""
        self._follow_loop()
        flight = self._flights.get(key)
        return flight if flight is not None and flight.joinable else None

    def lead(self, key: str, url: str) -> Flight:
        """Begin a flight, replacing one that must not be joined."""
        flight = self._flights[key] = Flight(url)
        return flight

    def end(self, key: str, flight: Flight) -> None:
        """Remove *flight*."""
        if self._flights.get(key) is flight:
            del self._flights[key]

    def end_joining(self, url: str) -> None:
        """Let no further request join a flight to *url*: its response may be older than a change."""
        for flight in self._flights.values():
            if flight.url == url:
                flight.joinable = False

    def goes_alone(self, key: str) -> bool:
        """Return whether the last response of *key* could not be shared, so that no request waits."""
        return key in self._alone

    def learn(self, key: str, *, shared: bool) -> None:
        """Record whether the last response of *key* could be shared."""
        if not shared:
            self._alone[key] = True
        else:
            self._alone.pop(key, None)

    def _follow_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # a future of an ended loop never gets a result
            self._flights.clear()
            self._loop = loop
