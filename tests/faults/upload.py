"""A request body that is not sent, not read, breaks, or must be sent twice."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator

from faults.places import once, raw
from faults.rows import Act, Call, Ends, Fault, Place, gives, raises
from servers import Exchange, Script, hang, ok, respond, response, until

from aioapiclient import (
    APITimeoutError,
    ContentTooLargeError,
    InvalidRequestError,
    ServiceUnavailableError,
    Timeout,
)

__all__ = ["FAULTS"]


# --- a peer that does not read, or refuses the body


async def _take_nothing(exchange: Exchange) -> None:
    exchange.writer.transport.pause_reading()
    await asyncio.Event().wait()


async def _send_much(call: Call, place: Place) -> object:
    """More than the buffers in between can hold."""
    return await call(content=io.BytesIO(bytes(16 << 20)))


def _refuse(*, closes: bool) -> Script:
    """Refuse the body after its head, with or without an answer, and read the rest without end."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(response("413 Content Too Large"))
        if closes:
            exchange.writer.write_eof()
        while await exchange.reader.read(1 << 16):
            pass

    return script


async def _send_forever(call: Call, place: Place) -> object:
    """A body that has no end: the call ends only if the sending is stopped."""

    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 16)
            await asyncio.sleep(0)

    return await call(content=chunks())


# --- a body that breaks


class Mistake(Exception):
    """The user's own."""


async def _break(call: Call, place: Place) -> object:
    """A body whose creation fails half-way."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        await until(lambda: place.server.requests)
        raise Mistake

    return await call(content=chunks())


# --- a body that must be sent twice


def _resend(kind: str, *, by_hand: bool = False) -> Act:
    """Send ``hello`` as *kind*; return what the server received each time. With *by_hand*, send it twice."""

    async def act(call: Call, place: Place) -> list[str]:
        with tempfile.TemporaryFile() as file:
            file.write(b"hello")
            file.seek(0)
            content = {"file": file, "BytesIO": io.BytesIO(b"hello"), "generator": _generate()}[kind]
            await call(content=content)
            if by_hand:
                if content is file:
                    await until(lambda: file.closed)  # by aiohttp, in a thread
                await call(content=content)
            return [request.body.decode() for request in place.server.requests]

    return act


async def _generate() -> AsyncIterator[bytes]:
    yield b"hello"


def _resent(kind: str, name: str, ends: Ends, note: str = "") -> Fault:
    busy = once(respond(response("503 Service Unavailable", Retry_After="1")))
    return Fault(
        111,
        f"503 once, to {name}",
        raw(busy),
        {"PUT": ends},
        act=_resend(kind),
        plain=_resend(kind, by_hand=True),
        note=note,
    )


# --- framing


def _framed(name: str, value: str) -> Fault:
    """A header of the caller that declares the length of the body; return what the server reads as
    the body.
    """

    async def act(call: Call, place: Place) -> str:
        await call(content=b"hello", headers={name: value})
        return f"the server read {place.server.requests[0].body.decode()!r}"

    refused = raises(InvalidRequestError, "cannot be set by a caller", requests=0, connections=0)
    return Fault(
        112, f"{name}: {value} from the caller, for 5 bytes", raw(respond(ok())), {"POST": refused}, act=act
    )


FAULTS: list[Fault] = [
    Fault(
        108,
        "the server stops reading",
        raw(_take_nothing, reads_bodies=False),
        {
            "PUT": raises(APITimeoutError, phase="write", requests=3),
            "POST": raises(APITimeoutError, phase="write", requests=1),
        },
        act=_send_much,
        client={"timeout": Timeout(write=0.2)},
    ),
    *(
        Fault(
            109,
            f"413 while the body is sent{', and a FIN' if closes else ''}",
            raw(_refuse(closes=closes), reads_bodies=False),
            dict.fromkeys(("PUT", "POST"), raises(ContentTooLargeError, status=413)),
            act=_send_forever,
        )
        for closes in (True, False)
    ),
    Fault(
        110,
        "the body's generator raises",
        raw(hang(), reads_bodies=False),
        dict.fromkeys(("PUT", "POST"), raises(Mistake, connections=1)),
        act=_break,
        note="the user's own error, unchanged",
    ),
    _resent("BytesIO", "a BytesIO", gives(["hello", "hello"], requests=2)),
    _resent("file", "a file", gives(["hello", "hello"], requests=2)),
    _resent(
        "generator",
        "a generator",
        raises(ServiceUnavailableError),
        note="it can be sent once: neither resent nor replaced by an empty body",
    ),
    _framed("Content-Length", "3"),
    _framed("Content-Length", "9"),
    _framed("Transfer-Encoding", "chunked"),
]
