"""Places where faults are met: raw servers that follow a script, relays, listeners, and ports without one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from faults.rows import Place, Where
from relays import relay
from servers import (
    Exchange,
    RawServer,
    Script,
    client_tls,
    in_turn,
    ok,
    port_that_drops_connections,
    raw_server,
    refusing_port,
    respond,
)

__all__ = [
    "black_hole",
    "closed_port",
    "listening",
    "once",
    "raw",
    "relayed",
    "resolving",
]


def raw(
    script: Script | Callable[[], Script],
    *,
    tls: bool = False,
    reads_bodies: bool = True,
    fresh: bool = False,
    connector: Callable[[], aiohttp.BaseConnector] | None = None,
) -> Where:
    """A server that runs *script* for every request; *fresh*: a function that creates a stateful script."""

    @asynccontextmanager
    async def where() -> AsyncIterator[Place]:
        own: Any = script() if fresh else script  # type: ignore[call-arg]
        async with raw_server(own, tls=tls, reads_bodies=reads_bodies) as server:
            yield Place(server.url, server, ssl=client_tls() if tls else True, connector=connector)

    return where


def once(fault: Script, well: bytes | None = None) -> Script:
    """The fault for the first request, a good answer, ``{}`` by default, for the others."""
    return in_turn(fault, respond(ok() if well is None else well))


def relayed(script: Script, **options: Any) -> Where:
    """The same server behind a relay, available to the act as ``place.things["relay"]``."""

    @asynccontextmanager
    async def where() -> AsyncIterator[Place]:
        async with raw_server(script) as server, relay(server.url, **options) as way:
            yield Place(way.url, server, relay=way)

    return where


def listening(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], *, tls: bool = False
) -> Where:
    """A listener that runs *handler* for every connection, before a byte of HTTP; *tls*: called as https."""

    @asynccontextmanager
    async def where() -> AsyncIterator[Place]:
        tasks: set[Any] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.current_task())
            place.accepted += 1
            try:
                await handler(reader, writer)
            except asyncio.CancelledError:
                pass  # the end of the row
            finally:
                writer.transport.abort()

        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        place = Place(f"{'https' if tls else 'http'}://127.0.0.1:{port}", ssl=client_tls() if tls else True)
        try:
            yield place
        finally:
            listener.close()
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            await listener.wait_closed()
            await asyncio.sleep(0)

    return where


@asynccontextmanager
async def closed_port() -> AsyncIterator[Place]:
    """A port without a listener."""
    yield Place(f"http://127.0.0.1:{refusing_port()}")


@asynccontextmanager
async def black_hole() -> AsyncIterator[Place]:
    """A host that never answers: its full backlog drops every connection attempt."""
    with port_that_drops_connections() as port:
        yield Place(f"http://127.0.0.1:{port}")


async def heal(place: Place) -> bool:
    """Make the servers of *place* answer ``{}`` from now on; return False if it has none."""

    async def well(exchange: Exchange) -> None:
        await exchange.send(ok())

    for server in place.servers:
        server.script = well
    if "answers" in place.things:
        place.things["answers"][:] = [[place.server.port]]
    return bool(place.servers)


class _Resolver(AbstractResolver):
    """Answers in turn: ports of 127.0.0.1, an error's number, ``"silence"``; the last one is repeated."""

    def __init__(self, answers: list[Any]) -> None:
        self._answers = answers

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, int):
            raise socket.gaierror(answer, "said by the test")
        if answer == "silence":
            await asyncio.sleep(3600)
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=number,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for number in answer
        ]

    async def close(self) -> None:
        """Close does nothing."""


def resolving(server: RawServer, *answers: Any, **options: Any) -> Place:
    """*server* under the name api.example.com; None among the *answers* points to it. See `_Resolver`."""
    ports = [[server.port] if answer is None else answer for answer in answers]
    return Place(
        f"{server.url.partition('://')[0]}://api.example.com",
        server,
        connector=lambda: aiohttp.TCPConnector(resolver=_Resolver(ports), **options),
        answers=ports,
    )
