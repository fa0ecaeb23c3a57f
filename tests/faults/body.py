"""The body is cut, stalls, floods, or contradicts its head."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from functools import lru_cache
from typing import Any

from faults.places import once, raw
from faults.rows import Call, Ends, Fault, Place, gives, raises
from faults.usual import both, lost, lost_once, times
from servers import Exchange, Script, close, drip, hang, in_turn, ok, reset, respond, response

from aioapiclient import (
    APIResponseValidationError,
    APIStreamError,
    APITimeoutError,
    BodyTooLargeError,
    JSONLStream,
    Timeout,
)
from aioapiclient.streaming import ReconnectPolicy

__all__ = ["FAULTS"]

MIB = 1 << 20
SEVEN = b'{"a": 1'
SHORT = response("200 OK", None, Content_Type="application/json", Content_Length="20") + SEVEN
UNFRAMED = response("200 OK", None, Content_Type="application/json") + SEVEN
CHUNKED = response("200 OK", None, Content_Type="application/json", Transfer_Encoding="chunked")
SQUEEZED = gzip.compress(b'{"a": "' + bytes(range(65, 91)) * 4 + b'"}', mtime=0)


def coded(coding: str, body: bytes) -> bytes:
    """A response with this Content-Encoding."""
    return ok(body, Content_Encoding=coding)


def stored(body: bytes) -> bytes:
    """*body* as gzip, not squeezed: as long with every zlib."""
    return gzip.compress(body, 0, mtime=0)


def invalid(message: str) -> dict[str, Ends]:
    """A complete body that differs from its head: never retried."""
    return both(raises(APIResponseValidationError, message, status=200))


def dripped(body: bytes, every: float) -> Script:
    """Send the head, then *body* one byte at a time."""
    head = response("200 OK", None, Content_Type="application/json", Content_Length=str(len(body)))
    rest = drip(body, every=every)

    async def script(exchange: Exchange) -> None:
        await exchange.send(head)
        await rest(exchange)

    return script


@lru_cache
def bomb(mib: int) -> bytes:
    """So many MiB of zeros, in some kilobytes."""
    squeeze = zlib.compressobj(1, wbits=31)
    return b"".join([*(squeeze.compress(bytes(MIB)) for _ in range(mib)), squeeze.flush()])


async def explode(exchange: Exchange) -> None:
    """A body that is small until it is decompressed."""
    await exchange.send(coded("gzip", bomb(64)))


async def flood(exchange: Exchange) -> None:
    """Send 32 MiB in chunks, without announcing the size."""
    await exchange.send(CHUNKED)
    for _ in range(512):
        await exchange.send(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
    await exchange.send(b"0\r\n\r\n")


# --- streams


EVENTS = response("200 OK", None, Content_Type="text/event-stream")


def events(*data: bytes, start: int = 0) -> bytes:
    """Server-sent events, each with its number as its ID, in a body that ends with the connection."""
    return EVENTS + b"".join(b"id: %d\ndata: %s\n\n" % pair for pair in enumerate(data, start))


async def resumed(exchange: Exchange) -> None:
    """The rest of the events, for a client that names the last event it received."""
    assert exchange.request.headers["Last-Event-ID"] == "1"
    await close(events(b"3", b"[DONE]", start=2))(exchange)


def single_bytes(text: str) -> Script:
    """A stream of events that arrives byte by byte."""
    rest = drip(text.encode(), every=0)

    async def script(exchange: Exchange) -> None:
        await exchange.send(EVENTS)
        await rest(exchange)
        exchange.close()

    return script


def lines(*data: bytes) -> bytes:
    """JSON lines, likewise."""
    return response("200 OK", None, Content_Type="application/x-ndjson") + b"\n".join(data)


async def read_events(call: Any, place: Place, **options: Any) -> list[Any]:
    """All events of a stream."""
    method, options = call.case.method, {**call.case.options, **options}
    async with call.client.stream(method, "", Any, **options) as stream:
        return [event async for event in stream]


async def resume_events(call: Any, place: Place) -> list[Any]:
    """All events of a stream that is opened again when it breaks."""
    policy = ReconnectPolicy(wait=0.001)
    return await read_events(call, place, reconnect=policy)


async def read_lines(call: Any, place: Place) -> list[Any]:
    """All values of a stream of JSON lines."""
    return await read_events(call, place, stream_cls=JSONLStream)


async def measure_events(call: Any, place: Place) -> list[int]:
    """Return the length of each event's data."""
    return [len(event) for event in await read_events(call, place)]


async def read_slowly(call: Any, place: Place) -> int:
    """Return the number of received bytes of a stream, read with pauses longer than the read timeout."""
    size = 0
    async with call.client.open(call.case.method, "", **call.case.options) as response:
        async for chunk in response.iter_bytes():
            if size < 3 << 16:
                await asyncio.sleep(0.15)
            size += len(chunk)
    return size


async def plain_lines(call: Call, place: Place) -> str:
    """What aiohttp returns when the body is read by lines."""
    response = await call.session.get(place.url)
    return f"{len([line async for line in response.content])} lines"


async def plain_bytes(call: Call, place: Place) -> str:
    """What aiohttp returns when the body is read in pieces."""
    response = await call.session.get(place.url)
    return f"{sum([len(chunk) async for chunk in response.content.iter_any()])} bytes"


NO_EVENTS = "has no events"
SPLIT = '\ufeffdata: ["é",_data: "€ 😀"]__: a comment_event: message_data: 7__'

FAULTS: list[Fault] = [
    Fault(52, "7 bytes of 20, and a FIN, once", raw(once(close(SHORT))), lost_once("truncated")),
    Fault(
        52,
        "7 bytes of 20, and a FIN, always",
        raw(close(SHORT)),
        lost("truncated"),
        options={"cast_to": bytes},
    ),
    Fault(53, "7 bytes of 20, and a RST, once", raw(once(reset(SHORT))), lost_once()),
    Fault(54, "a chunk of 20 bytes cut after 7", raw(close(CHUNKED + b"14\r\n" + SEVEN)), lost("truncated")),
    Fault(54, "no last chunk", raw(close(CHUNKED + b"7\r\n" + SEVEN + b"\r\n")), lost("truncated")),
    Fault(55, "a chunk size that is not a number", raw(respond(CHUNKED + b"zz\r\n")), lost("not valid HTTP")),
    Fault(
        55,
        "a chunk size of 20 digits",
        raw(close(CHUNKED + b"F" * 20 + b"\r\n" + SEVEN)),
        lost(),
    ),
    Fault(
        56,
        "7 bytes without a length, and a RST",
        raw(reset(UNFRAMED)),
        lost("the connection was reset before its end"),
        options={"cast_to": bytes},
    ),
    Fault(
        57,
        "7 bytes without a length, and a FIN",
        raw(close(UNFRAMED)),
        both(raises(APIResponseValidationError, status=200)),
        note="it looks like a complete body, and an undecodable body is never retried",
    ),
    Fault(
        58,
        "7 bytes of 20, and silence",
        raw(hang(SHORT)),
        lost("(read)", APITimeoutError, phase="read"),
        options={"timeout": Timeout(read=0.1)},
    ),
    Fault(
        59,
        "a body in single bytes, one every 50 ms, with a total limit",
        raw(dripped(b'"%s"' % (b"x" * 100), 0.05)),
        both(raises(APITimeoutError, "(total)", phase="total", sent=None)),
        options={"timeout": 0.25},
    ),
    Fault(
        59,
        "a body in single bytes, one every 50 ms, with an attempt limit",
        raw(dripped(b'"%s"' % (b"x" * 100), 0.05)),
        lost("(attempt)", APITimeoutError, phase="attempt"),
        options={"timeout": Timeout(attempt=0.25)},
    ),
    Fault(
        60,
        "gzip without its last 12 bytes",
        raw(respond(coded("gzip", SQUEEZED[:-12]))),
        lost("the gzip data ended early"),
        options={"cast_to": bytes},
    ),
    Fault(61, "a plain body labelled gzip", raw(respond(coded("gzip", b"{}"))), invalid("not valid gzip")),
    Fault(
        62, "an unknown content coding", raw(respond(coded("foo", b"{}"))), invalid("content coding 'foo'")
    ),
    Fault(
        62,
        "gzip over gzip",
        raw(respond(coded("gzip, gzip", stored(stored(b"{}"))))),
        invalid("2 content codings"),
        options={"cast_to": bytes},
    ),
    Fault(
        63,
        "a coding that was not accepted: zstd",
        raw(respond(coded("zstd", b"\x28\xb5"))),
        invalid("zstd"),
        plain="differs: Python 3.14 added zstd",
    ),
    Fault(
        64,
        "a gzip bomb of 64 MiB, with `max_body` of 1 MiB",
        raw(explode),
        both(raises(BodyTooLargeError, limit=MIB, status=200)),
        options={"max_body": MIB, "cast_to": bytes},
    ),
    Fault(
        65,
        "32 MiB in chunks, with `max_body` of 1 MiB",
        raw(flood),
        both(raises(BodyTooLargeError, limit=MIB, status=200)),
        options={"max_body": MIB, "cast_to": bytes},
    ),
    Fault(
        66,
        "bytes after the body",
        raw(respond(ok() + b"and more")),
        both(gives({}, requests=2, connections=2)),
        act=times(2),
    ),
    Fault(
        67,
        "a body after a 204",
        raw(respond(response("204 No Content", None) + b"{}")),
        both(gives(None, requests=2, connections=2)),
        act=times(2),
        options={"cast_to": None},
    ),
    Fault(
        67,
        "a body after a 304",
        raw(respond(response("304 Not Modified", b"{}", Content_Type="application/json"))),
        {"GET": gives(None, requests=2, connections=2)},
        act=times(2),
        options={"cast_to": None, "ok_statuses": {304}},
    ),
    Fault(
        67,
        "a body after the head for HEAD",
        raw(respond(ok())),
        {"HEAD": gives(None, requests=2, connections=2)},
        act=times(2),
        options={"cast_to": None},
    ),
    Fault(
        68,
        "a reader that is slower than the read limit",
        raw(respond(ok(bytes(3 * MIB), content_type="application/octet-stream"))),
        {"GET": gives(3 * MIB)},
        act=read_slowly,
        plain=plain_bytes,
        options={"timeout": Timeout(read=0.1)},
    ),
    Fault(
        69,
        "an event of 2 MB",
        raw(close(events(b'"%s"' % (b"x" * 2_000_000)))),
        {"GET": gives([2_000_000])},
        act=measure_events,
        plain=plain_lines,
    ),
    Fault(
        69,
        "an event of 9 MB",
        raw(close(events(b'"%s"' % (b"x" * 9_000_000)))),
        {"GET": raises(APIStreamError, events_seen=0)},
        act=measure_events,
        plain=plain_lines,
    ),
    *(
        Fault(
            70,
            f"a stream in single bytes, with {name} line ends",
            raw(single_bytes(SPLIT.replace("_", end))),
            {"GET": gives([["é", "€ 😀"], 7])},
            act=read_events,
            plain=NO_EVENTS,
        )
        for name, end in {"CRLF": "\r\n", "LF": "\n", "CR": "\r"}.items()
    ),
    Fault(
        71,
        "a stream that ends within an event",
        raw(close(events(b"1", b"2") + b"data: 3\n")),
        both(gives([1, 2])),
        act=read_events,
        plain=NO_EVENTS,
        note="as in the standard; most streams have no end marker",
    ),
    Fault(
        71,
        "a stream that ends within a JSON line",
        raw(close(lines(b'{"n": 1}', b'{"n":'))),
        both(raises(APIResponseValidationError)),
        act=read_lines,
        plain=NO_EVENTS,
    ),
    Fault(
        72,
        "a stream reset after two events",
        raw(reset(events(b"1", b"2"))),
        both(raises(APIStreamError, events_seen=2, sent=None)),
        act=read_events,
        plain=NO_EVENTS,
    ),
    Fault(
        72,
        "a stream reset after two events, with `reconnect`",
        raw(in_turn(reset(events(b"1", b"2")), resumed)),
        {"GET": gives([1, 2, 3], requests=2)},
        act=resume_events,
        plain=NO_EVENTS,
    ),
]
