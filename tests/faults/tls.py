"""While TLS is agreed on, and where its end is the body's."""

from __future__ import annotations

import asyncio

from faults.places import listening, raw
from faults.rows import Fault, raises
from servers import Exchange, response

from aioapiclient import APIConnectionError

__all__ = ["FAULTS"]


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the client's first words, and end the connection."""
    await reader.read(1 << 16)
    writer.close()


async def no_farewell(exchange: Exchange) -> None:
    """Half a body without a length, and no close_notify."""
    await exchange.send(response("200 OK", None, Content_Type="application/json") + b"[1, 2")
    await asyncio.sleep(0.02)
    exchange.cut()


FAULTS: list[Fault] = [
    Fault(
        20,
        "a FIN in the handshake",
        listening(hang_up, tls=True),
        {"POST": raises(APIConnectionError, sent=False, requests=0, connections=3)},
    ),
    Fault(
        24,
        "a body without a length, cut without a close_notify",
        raw(no_farewell, tls=True),
        {
            "GET": raises(APIConnectionError, "the TLS connection was cut", sent=None, requests=3),
            "POST": raises(APIConnectionError, "the TLS connection was cut", sent=None, requests=1),
        },
        options={"cast_to": bytes},
    ),
]
