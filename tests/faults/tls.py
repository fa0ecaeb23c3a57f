"""While TLS is agreed on, and where its end is the body's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from faults.places import listening, raw, resolving
from faults.rows import Fault, Place, Where, raises
from faults.usual import both, lost
from relays import relay
from servers import Exchange, client_tls, ok, raw_server, respond, response

from aioapiclient import APIConnectionError, APITimeoutError, Timeout

__all__ = ["FAULTS"]


def tls(trusted: Any, scheme: str = "https") -> Where:
    """A TLS server behind a relay, which also counts failed handshakes."""

    @asynccontextmanager
    async def where() -> AsyncIterator[Place]:
        async with raw_server(respond(ok()), tls=True) as server, relay(server.url) as way:
            yield Place(way.url.replace("http", scheme), server, relay=way, ssl=trusted)

    return where


@asynccontextmanager
async def another_name() -> AsyncIterator[Place]:
    """A server whose certificate is for another host."""
    async with raw_server(respond(ok()), tls=True) as server, relay(server.url) as way:
        port = int(way.url.rpartition(":")[2])
        place = resolving(server, [port], ssl=client_tls())
        place.things["relay"] = way
        yield place


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the first bytes from the client, and end the connection."""
    await reader.read(1 << 16)
    writer.close()


async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read, and send nothing."""
    while await reader.read(1 << 16):
        pass


async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The answer of a server without TLS to a TLS handshake."""
    await reader.read(1 << 16)
    writer.write(response("400 Bad Request", Connection="close"))
    await writer.drain()
    writer.close()


async def say_no_version(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The answer of a server without a TLS version in common with the client: the alert protocol_version."""
    await reader.read(1 << 16)
    writer.write(b"\x15\x03\x03\x00\x02\x02\x46")
    await writer.drain()
    writer.close()


async def no_farewell(exchange: Exchange) -> None:
    """Half a body without a length, and no close_notify."""
    await exchange.send(response("200 OK", None, Content_Type="application/json") + b"[1, 2")
    await asyncio.sleep(0.02)
    exchange.cut()


REFUSED = raises(APIConnectionError, sent=False, final=True, requests=0, connections=1)

FAULTS: list[Fault] = [
    Fault(16, "a certificate from an unknown CA", tls(True), {"GET": REFUSED}, heals=False),
    Fault(17, "a certificate for another host", another_name, {"GET": REFUSED}, heals=False),
    Fault(
        18,
        "a certificate that is not the pinned one",
        tls(aiohttp.Fingerprint(bytes(32))),
        {"GET": REFUSED},
        heals=False,
    ),
    Fault(19, "no TLS version in common", listening(say_no_version, tls=True), {"GET": REFUSED}),
    Fault(
        20,
        "a FIN in the handshake",
        listening(hang_up, tls=True),
        both(raises(APIConnectionError, sent=False, requests=0, connections=3)),
    ),
    Fault(
        21,
        "a handshake that hangs",
        listening(keep_silent, tls=True),
        both(raises(APITimeoutError, phase="connect", sent=False, requests=0, connections=3)),
        options={"timeout": Timeout(connect=0.1)},
    ),
    Fault(22, "https to a port without TLS", listening(speak_http, tls=True), {"GET": REFUSED}),
    Fault(
        23,
        "http to a port with TLS",
        tls(True, "http"),
        {
            "GET": raises(APIConnectionError, sent=None, requests=0, connections=3),
            "POST": raises(APIConnectionError, sent=None, requests=0, connections=1),
        },
        heals=False,
    ),
    Fault(
        24,
        "a body without a length, cut after 5 bytes without a close_notify",
        raw(no_farewell, tls=True),
        lost("the TLS connection was cut"),
        options={"cast_to": bytes},
    ),
]
