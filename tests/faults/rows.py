"""The parts of the catalogue: a fault, the place where it occurs, and the required end of each call there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import aiohttp
from servers import RawServer

__all__ = ["Act", "Call", "Case", "Ends", "Fault", "Place", "Where", "gives", "raises"]


class Place:
    """A place of a fault: the client options it needs, and the counts of its servers."""

    def __init__(
        self,
        url: str,
        *servers: RawServer,
        ssl: Any = True,
        connector: Callable[[], aiohttp.BaseConnector] | None = None,
        proxy: str | None = None,
        **things: Any,
    ) -> None:
        self.url = url
        self.servers = servers
        self.ssl = ssl
        """The certificates that the client trusts, if *connector* is missing."""
        self.connector = connector
        """Creates the connector, in the running loop."""
        self.proxy = proxy
        """The URL of the proxy, with its credentials."""
        self.things = things
        """Other objects that the acts of this place need: a relay, a second server."""
        self.accepted = 0
        """Connections of a place that has no `RawServer`."""

    @property
    def server(self) -> RawServer:
        """The first server."""
        return self.servers[0]

    @property
    def requests(self) -> int:
        """The number of received requests, on all servers."""
        return sum(len(server.requests) for server in self.servers)

    @property
    def connections(self) -> int:
        """The number of connections: to the relay, if the place has one."""
        if "relay" in self.things:
            return int(self.things["relay"].connections)
        return self.accepted + sum(server.connections for server in self.servers)


Where: TypeAlias = Callable[[], AbstractAsyncContextManager[Place]]
"""Opens a place; once for the client, and again for plain aiohttp."""


class Call(Protocol):
    """Makes the call of a row, by the client or by plain aiohttp; arguments here override the row's."""

    client: Any
    """The `AsyncAPIClient`; None if plain aiohttp calls."""

    session: Any
    """The plain `aiohttp.ClientSession`; None if the client calls."""

    async def __call__(self, path: str = "", *, method: str | None = None, **options: Any) -> Any:
        """The value."""


Act: TypeAlias = Callable[[Any, Place], Awaitable[Any]]
"""The action at the place: an async function of the `Call` and the `Place`."""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """The end of a call, and its counts. None is not checked."""

    value: Any = None
    error: type[BaseException] | None = None
    message: str = ""
    """A piece of the error's message."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the error."""
    requests: int | None = 1
    """Requests that the servers have seen."""
    connections: int | None = None
    """Connections that the servers have seen."""
    attempts: int | None = None
    """Attempts of the client, including those that no server receives."""
    waits: list[float] | None = None
    """The requested waits between the attempts, in seconds."""


def gives(value: Any, **counted: Any) -> Ends:
    """The call ends with *value*; one request, unless *counted* differs."""
    return Ends(value=value, **counted)


def raises(
    error: type[BaseException],
    message: str = "",
    *,
    requests: int | None = 1,
    connections: int | None = None,
    attempts: int | None = None,
    waits: list[float] | None = None,
    **facts: Any,
) -> Ends:
    """The call ends with an error of exactly this class, whose message contains *message* and which has these
    *facts*.
    """
    return Ends(
        error=error,
        message=message,
        facts=facts,
        requests=requests,
        connections=connections,
        attempts=attempts,
        waits=waits,
    )


async def one_call(call: Call, place: Place) -> Any:
    """Defaults of most rows."""
    return await call()


@dataclass(frozen=True)
class Fault:
    """One fault of the catalogue.

    The keys of *ends* are the calls: ``POST``, ``POST idempotent``, ``POST with a key``.
    """

    number: int
    """The number in the catalogue; several rows may share one."""
    name: str
    """A description of the fault."""
    where: Where
    """The place where it is injected."""
    ends: Mapping[str, Ends]
    act: Act = one_call
    """The action there, if it is not just one call."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the call."""
    client: Mapping[str, Any] = field(default_factory=dict)
    """Options of the client."""
    plain: Act | str | None = None
    """The action of plain aiohttp, if it is not *act*; a string gives the reason why it is not measured."""
    guard: float = 2.0
    """Seconds after which plain aiohttp counts as hanging, if it is measured."""
    note: str = ""
    """The reason for the outcome, if it may be unclear."""
    needs: tuple[str, ...] = ()
    """Programs that the place runs."""
    heals: bool = True
    """Whether the client can call again when the servers are well again."""


# Text after the method -> options of the call, options of the client.
_CALLS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "": ({}, {}),
    "idempotent": ({"idempotent": True}, {}),
    "with a key": ({}, {"idempotency_header": "Idempotency-Key"}),
}


@dataclass(frozen=True)
class Case:
    """One call at one fault: a row of the page."""

    fault: Fault
    label: str
    ends: Ends

    @property
    def method(self) -> str:
        """The method of the call."""
        return self.label.partition(" ")[0]

    @property
    def options(self) -> dict[str, Any]:
        """The options of the call."""
        return {**self.fault.options, **_CALLS[self.label.partition(" ")[2]][0]}

    @property
    def client(self) -> dict[str, Any]:
        """The options of the client."""
        return {**self.fault.client, **_CALLS[self.label.partition(" ")[2]][1]}

    @property
    def id(self) -> str:
        """For pytest: ``25-the_connection_ends-GET``."""
        return f"{self.fault.number}-{self.fault.name}-{self.label}".replace(" ", "_")
