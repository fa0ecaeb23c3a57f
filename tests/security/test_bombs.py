"""No body uses more memory than its limit, however well it is compressed, and whether it is read or dropped.

The peak of Python's allocations is measured during a call; the compressed body was created before.
"""

from __future__ import annotations

import asyncio
import gzip
import sys
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from typing import Any

import brotli
import pytest
from helpers import Client
from servers import Exchange, Script, close, in_turn, ok, raw_server, respond, response

from aioapiclient import (
    APIClientError,
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APIStreamError,
    AsyncAPIResponse,
    BodyTooLargeError,
    JSONLStream,
    LinkHeaderPage,
    SSEStream,
    TooManyRedirectsError,
)
from aioapiclient._transport.decompression import ACCEPT_ENCODING

MIB = 1 << 20
LIMIT = 4 * MIB
BOMB = 64 * MIB
SERVER = MIB // 4  # the sent bytes that the test's server may hold in the same process
CODINGS = ["identity", "gzip", "deflate", "raw deflate", "br"]

if sys.version_info >= (3, 14):
    from compression import zstd

    CODINGS.append("zstd")


@lru_cache
def packed(coding: str, fill: bytes = b"\0", size: int = BOMB) -> bytes:
    """*size* bytes of *fill*, in that coding."""
    data = fill * (size // len(fill))
    if coding == "raw deflate":
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        return compressor.compress(data) + compressor.flush()
    encode: dict[str, Callable[[bytes], bytes]] = {
        "identity": bytes,
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": partial(brotli.compress, quality=1),
    }
    return zstd.compress(data) if coding == "zstd" else encode[coding](data)


def bomb(
    coding: str, status: str = "200 OK", fill: bytes = b"\0", size: int = BOMB, **headers: str
) -> Script:
    """A response that decompresses to *size* bytes; uncompressed, it arrives in chunks."""
    headers.setdefault("Content_Type", "application/octet-stream")
    if coding != "identity":
        name = coding.removeprefix("raw ")
        return respond(response(status, packed(coding, fill, size), Content_Encoding=name, **headers))
    head, data = response(status, None, Transfer_Encoding="chunked", **headers), fill * (65536 // len(fill))
    chunk = b"%x\r\n%b\r\n" % (len(data), data)

    async def script(exchange: Exchange) -> None:
        await exchange.send(head)
        with suppress(ConnectionError):
            for _ in range(size // len(data)):
                await exchange.send(chunk)
            await exchange.send(b"0\r\n\r\n")

    return script


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Fail if more than *size* bytes were allocated at the same time inside."""
    tracemalloc.start()
    try:
        yield
        kept, peak = tracemalloc.get_traced_memory()
        assert peak <= size, (
            f"{peak / MIB:.1f} MiB, of which {kept / MIB:.1f} MiB are still allocated, most of it by "
            f"{tracemalloc.take_snapshot().statistics('lineno')[:5]}"
        )
    finally:
        tracemalloc.stop()


Call = Callable[[Client], Awaitable[object]]

# How a call treats a body, and the bytes before the bomb.
CALLS: dict[str, tuple[str, Call]] = {
    "typed": ("200 OK", lambda api: api.get("/", list[int])),
    "bytes": ("200 OK", lambda api: api.get("/", bytes)),
    "discarded": ("200 OK", lambda api: api.get("/", None)),
    "response": ("200 OK", lambda api: api.get("/", AsyncAPIResponse[Any])),
    "wanted error": ("404 No", lambda api: api.get("/", bytes, ok_statuses={404})),
    "error": ("404 No", lambda api: api.get("/", bytes)),
    "retried error": ("503 Later", lambda api: api.get("/", bytes)),
    "challenge": ("401 Who", lambda api: api.get("/", bytes)),
    "error of a stream": ("500 Oops", lambda api: api.get("/", bytes, stream=True)),
    "redirect": ("302 Found", lambda api: api.get("/", bytes)),
    "page": ("200 OK", lambda api: _all(api.get_api_list("/", int, LinkHeaderPage))),
    "read of a stream": ("200 OK", lambda api: _read(api)),
}


STATUS_ERRORS = {"error", "retried error", "challenge", "error of a stream"}
RETRIED = {"retried error", "error of a stream"}


async def _all(pages: Any) -> list[Any]:
    return [item async for item in pages]


async def _read(api: Client) -> None:
    async with api.open("GET", "/") as answer:
        await answer.read()


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("name", CALLS)
async def test_no_body_passes_its_bound(name: str, coding: str) -> None:
    """A body, also of an error or a redirect, is limited to ``max_body``, plus 2 MiB of memory (P11).

    The status of an error is still raised, and a note explains that its body was too large.
    """
    status, call = CALLS[name]
    packed(coding)
    script = bomb(coding, status, Location="/next")
    async with raw_server(script) as server, Client(server.url, max_body=LIMIT, max_retries=1) as api:
        # An unknown coding is a separate error, and its bytes were never decompressed.
        refused = (BodyTooLargeError, APIResponseValidationError, APIStatusError, TooManyRedirectsError)
        with at_most(LIMIT + 2 * MIB + SERVER), pytest.raises(refused) as caught:
            await call(api)
        if name in STATUS_ERRORS and coding != "zstd":
            assert isinstance(caught.value, APIStatusError)
            assert any(f"more than {LIMIT} bytes" in note for note in caught.value.__notes__)
        elif coding != "zstd":
            assert isinstance(caught.value, BodyTooLargeError)
            assert caught.value.limit == LIMIT
        if coding != "zstd":
            assert caught.value.status == int(status[:3])  # type: ignore[union-attr]
        # The library does not decode zstd, and needs no body to follow a redirect: ten hops.
        hops = 10 if name == "redirect" and coding == "zstd" else 0
        assert len(server.requests) == (2 if name in RETRIED else 1) + hops


class Waiting(Client):
    """A client that measures the allocated memory at each wait for the next attempt."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.kept: list[int] = []

    async def _sleep_for_retry(self, seconds: float, /) -> None:
        self.kept.append(tracemalloc.get_traced_memory()[0])


BROKEN = LIMIT - MIB // 2
BROKEN_OFF: dict[str, bytes] = {
    "chunked": response("200 OK", None, Transfer_Encoding="chunked") + b"%x\r\n" % LIMIT,
    "with a length": response("200 OK", None, Content_Length=str(LIMIT)),
    "compressed": response("200 OK", None, Content_Encoding="gzip", Content_Length="9999"),
}


@pytest.mark.parametrize("framing", BROKEN_OFF)
async def test_a_body_that_breaks_off_is_freed(framing: str) -> None:
    """The bytes of a body that breaks off are freed before the wait for the next attempt (P11).

    The error, which keeps the frames of its traceback alive, does not keep them.
    """
    body = packed("gzip", size=BROKEN)[:-8] if framing == "compressed" else bytes(BROKEN)
    script = in_turn(close(BROKEN_OFF[framing] + body), bomb("identity"))
    async with raw_server(script) as server, Waiting(server.url, max_body=LIMIT, max_retries=1) as api:
        with at_most(LIMIT + 2 * MIB + SERVER), pytest.raises(BodyTooLargeError):
            await api.get("/", bytes)
    assert len(server.requests) == 2
    assert [kept // MIB for kept in api.kept] == [0]


@pytest.mark.parametrize("coding", CODINGS[:5])
@pytest.mark.parametrize("way", ["iter_bytes", "iter_text"])
async def test_a_body_in_pieces_is_never_whole(way: str, coding: str) -> None:
    """Reading 64 MiB in pieces never uses more than 2 MiB at a time (P11)."""
    packed(coding)
    async with raw_server(bomb(coding)) as server, Client(server.url) as api, api.open("GET", "/") as answer:
        with at_most(2 * MIB):
            size = 0
            async for piece in getattr(answer, way)():
                size += len(piece)
    assert size == BOMB


@pytest.mark.parametrize("coding", CODINGS[:5])
async def test_a_line_has_a_bound(coding: str) -> None:
    """A line without an end is given up at ``max_body`` (P11)."""
    packed(coding, b"x")
    async with (
        raw_server(bomb(coding, fill=b"x")) as server,
        Client(server.url, max_body=LIMIT) as api,
        api.open("GET", "/") as answer,
    ):
        with at_most(2 * LIMIT + 2 * MIB), pytest.raises(BodyTooLargeError) as caught:
            async for _ in answer.iter_lines():
                pass
    assert caught.value.limit == LIMIT


MAX_EVENT = 8 * MIB
# The repeated part of a stream, how many times, and its allowed cost.
ENDLESS: dict[str, tuple[type[Any], str, bytes]] = {
    "field": (SSEStream, "text/event-stream", b"x"),
    "data": (SSEStream, "text/event-stream", b"data: " + b"x" * 1017 + b"\n"),
    "line": (JSONLStream, "application/jsonl", b"1"),
}
# And of what is small, with how many values each repetition is.
SMALL: dict[str, tuple[type[Any], str, bytes, int]] = {
    "comments": (SSEStream, "text/event-stream", b": " + b"x" * 61 + b"\n", 0),
    "events": (SSEStream, "text/event-stream", b"data: 1" + b" " * 119 + b"\n\n", 1),
    "blank lines": (JSONLStream, "application/jsonl", b" " * 63 + b"\n", 0),
    "lines": (JSONLStream, "application/jsonl", b"1" + b" " * 126 + b"\n", 1),
}


async def _count(api: Client, stream_cls: type[Any]) -> int:
    count = 0
    async with api.stream("GET", "/", int, stream_cls=stream_cls) as events:
        async for _ in events:
            count += 1
    return count


@pytest.mark.parametrize("coding", ["gzip", "br"])
@pytest.mark.parametrize("name", ENDLESS)
async def test_an_event_has_a_bound(name: str, coding: str) -> None:
    """An event, or a line, without end is given up at 8 MiB (P11)."""
    stream_cls, media, fill = ENDLESS[name]
    packed(coding, fill)
    async with raw_server(bomb(coding, fill=fill, Content_Type=media)) as server, Client(server.url) as api:
        with at_most(2 * MAX_EVENT + 2 * MIB), pytest.raises(APIStreamError, match="more than 8388608 bytes"):
            await _count(api, stream_cls)


@pytest.mark.parametrize("coding", ["gzip", "br"])
@pytest.mark.parametrize("name", SMALL)
async def test_a_stream_of_small_events_does_not_grow(name: str, coding: str) -> None:
    """Small events and lines need no more memory than one step of them, however many arrive (P11)."""
    stream_cls, media, fill, values = SMALL[name]
    size = 12 * MIB
    packed(coding, fill, size)
    script = bomb(coding, fill=fill, size=size, Content_Type=media)
    async with raw_server(script) as server, Client(server.url) as api:
        with at_most(4 * MIB):
            count = await _count(api, stream_cls)
    assert count == size // len(fill) * values


@pytest.mark.parametrize("coding", ["identity", "gzip", "br"])
@pytest.mark.parametrize("how", ["closed", "left", "broken off", "cancelled"])
async def test_a_body_that_is_dropped_is_not_read(how: str, coding: str) -> None:
    """A stream that is closed, abandoned or cancelled drops its connection and decompresses nothing (P11)."""
    packed(coding)

    async def drop(api: Client) -> None:
        async with api.open("GET", "/") as answer:
            if how == "closed":
                await answer.close()
            elif how == "broken off":
                async for _ in answer.iter_bytes():
                    break
            elif how == "cancelled":
                raise asyncio.CancelledError

    async with raw_server(bomb(coding)) as server, Client(server.url) as api:
        with at_most(2 * MIB), suppress(asyncio.CancelledError):
            await drop(api)
        await api.get("/", None, max_body=None)
        # A small response that arrived completely leaves the connection usable for the next call.
        assert server.connections == (2 if coding == "identity" else 1)


@pytest.mark.parametrize("media", ["application/json", "text/event-stream", "text/html"])
async def test_a_stream_of_another_type_is_not_read(media: str) -> None:
    """A body that is not a valid stream is refused after a limited number of bytes (P11)."""
    packed("gzip")
    async with raw_server(bomb("gzip", Content_Type=media)) as server, Client(server.url) as api:
        with at_most(2 * MAX_EVENT + 8 * MIB if "event" in media else 2 * MIB), pytest.raises(APIClientError):
            async with api.stream("GET", "/", int) as events:
                async for _ in events:
                    pass


ENCODINGS = [
    *("gzip, gzip", "gzip, br", "identity, gzip, deflate", "br, gzip, gzip, gzip, gzip, gzip"),
    *("compress", "zstd", "zstd, gzip", "exi", "x", "gzip;q=1", "\x1b[31m", "aes128gcm"),
]


@pytest.mark.parametrize("value", ENCODINGS)
@pytest.mark.parametrize("repeated", [False, True])
async def test_only_one_known_coding_is_taken_off(value: str, repeated: bool) -> None:
    """More than one coding, or one without a decoder, is an error, and never taken for data (P12)."""
    values = value.split(", ") if repeated else [value]
    lines = "".join(f"Content-Encoding: {one}\r\n" for one in values)
    data = gzip.compress(b'"secret"')
    answer = f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(data)}\r\n\r\n".encode() + data
    async with raw_server(respond(answer)) as server, Client(server.url, max_retries=0) as api:
        for cast_to in (bytes, str, Any, AsyncAPIResponse[Any]):
            with pytest.raises((APIResponseValidationError, APIConnectionError)):
                await api.get("/", cast_to)
        with pytest.raises((APIResponseValidationError, APIConnectionError)):
            async with api.open("GET", "/") as unread:
                async for _ in unread.iter_bytes():
                    pass


async def test_only_what_can_be_bounded_is_asked_for() -> None:
    """A request accepts only codings that can be decoded in limited steps (P12)."""
    async with raw_server(in_turn(respond(ok()))) as server, Client(server.url) as api:
        await api.get("/")
    accepted = server.requests[0].headers["Accept-Encoding"]
    assert accepted == ACCEPT_ENCODING
    assert {coding.strip() for coding in accepted.split(",")} <= {"gzip", "deflate", "br"}
