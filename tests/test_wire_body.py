"""The body of a response on the wire: complete or an error, bounded, and its connection released or
closed.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import brotli
import pytest
from servers import (
    Exchange,
    Script,
    client_tls,
    close,
    drip,
    hang,
    ok,
    raw_server,
    reset,
    respond,
    response,
    turns,
    until,
)

from aioapiclient import AsyncAPIClient
from aioapiclient._request import DEFAULT_SETTINGS, APIRequest, CallSettings
from aioapiclient._response.response import AsyncAPIResponse
from aioapiclient._transport import response_body
from aioapiclient._transport.transport import AiohttpTransport
from aioapiclient._types import DEFAULT_TIMEOUT, Timeout
from aioapiclient.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    BodyTooLargeError,
    ClientClosedError,
    NotFoundError,
)

BODY = b'{"name": "' + b"aioapiclient " * 300 + b'"}'


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    """A transport that trusts the tests' certificate, closed in the end."""
    transport = AiohttpTransport(ssl=client_tls())
    yield transport
    await transport.close()


def get(url: str, *, max_body: int | None = None, method: str = "GET", **facts: Any) -> APIRequest:
    """A request with the limits that a test sets."""
    settings = DEFAULT_SETTINGS if max_body is None else CallSettings(max_body=max_body)
    return APIRequest(method, url, _settings=settings, **facts)


def read_timeout(seconds: float) -> Timeout:
    """The default limits with another for silence."""
    return Timeout(read=seconds).over(DEFAULT_TIMEOUT)


async def fetch(transport: AiohttpTransport, script: Script, *, tls: bool = False, **facts: Any) -> bytes:
    """The body that *script* answers with."""
    async with raw_server(script, tls=tls) as server:
        response = await transport(get(server.url, **facts))
        return await response.read()


async def chunks(response: AsyncAPIResponse[Any]) -> bytes:
    """The body, read as a stream."""
    return b"".join([chunk async for chunk in response.iter_bytes()])


def encoded(body: bytes, coding: str) -> bytes:
    """A response of *body*, which is encoded already."""
    return ok(body, Content_Encoding=coding)


def chunked(body: bytes, **headers: str) -> bytes:
    """A response of *body* in two chunks."""
    half = len(body) // 2
    head = response("200 OK", None, Transfer_Encoding="chunked", **headers)
    pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]) if piece]
    return head + b"".join(pieces) + b"0\r\n\r\n"


# --- complete bodies


@pytest.mark.parametrize("size", [0, 1, 3000, 300_000, 3_000_000])
async def test_sizes(transport: AiohttpTransport, size: int) -> None:
    """A body of any size is read completely, at once or as a stream, and releases its connection."""
    body = bytes(range(256)) * (size // 256 + 1)
    async with raw_server(respond(ok(body[:size]))) as server:
        for _ in range(2):
            assert await (await transport(get(server.url))).read() == body[:size]
            assert await chunks(await transport(get(server.url))) == body[:size]
        assert server.connections == 1


async def test_chunked(transport: AiohttpTransport) -> None:
    """A chunked body is read completely, and releases its connection."""
    async with raw_server(respond(chunked(BODY))) as server:
        for limit in (None, 1 << 20):
            assert await (await transport(get(server.url, max_body=limit))).read() == BODY
        assert server.connections == 1


async def test_unframed(transport: AiohttpTransport) -> None:
    """A body without a length ends with the FIN of its connection (RFC 9112 §6.3)."""
    data = response("200 OK", None) + BODY
    assert await fetch(transport, close(data)) == BODY
    assert await fetch(transport, close(data), tls=True) == BODY


def deflate(body: bytes) -> bytes:
    """*body* as a raw deflate stream."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", gzip.compress(BODY)),
        ("GZip", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY[:1000]) + gzip.compress(BODY[1000:])),
        ("deflate", zlib.compress(BODY)),
        ("deflate", deflate(BODY)),
        ("br", brotli.compress(BODY)),
        ("identity", BODY),
        ("none", BODY),
        ("UTF-8", BODY),
        ("binary", BODY),
        ("8bit", BODY),
        ("aws-chunked", BODY),
        ("aws-chunked,gzip", gzip.compress(BODY)),
        ("identity, gzip", gzip.compress(BODY)),
        ("", BODY),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_codings(transport: AiohttpTransport, coding: str, data: bytes) -> None:
    """Every requested coding is decoded, however the body is framed and read."""
    for answer in (ok(data, Content_Encoding=coding), chunked(data, Content_Encoding=coding)):
        async with raw_server(respond(answer)) as server:
            assert await (await transport(get(server.url))).read() == BODY
            assert await (await transport(get(server.url, max_body=len(BODY)))).read() == BODY
            assert await chunks(await transport(get(server.url))) == BODY
            assert server.connections == 1


# --- undecoded bodies

PACKED = gzip.compress(BODY)


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_a_body_as_it_was_sent(framing: str) -> None:
    """With decompress=False a body is the bytes that were sent, with their coding, however it is read."""
    make = ok if framing == "length" else chunked
    digest = f"sha256:{hashlib.sha256(PACKED).hexdigest()}"
    async with (
        raw_server(respond(make(PACKED, Content_Encoding="gzip"))) as server,
        AsyncAPIClient(server.url) as api,
    ):
        assert await api.get("/", bytes, decompress=False) == PACKED
        response = await api.get("/", AsyncAPIResponse[bytes], decompress=False)
        assert (response.headers["Content-Encoding"], response.body) == ("gzip", PACKED)
        async with api.open("GET", "/", decompress=False) as opened:
            assert b"".join([piece async for piece in opened.iter_bytes()]) == PACKED
        raw = await api.get("/", aiohttp.ClientResponse, decompress=False)
        assert await raw.read() == PACKED
        with TemporaryDirectory() as folder:
            target = Path(folder, "object.gz")
            async with api.open("GET", "/", decompress=False) as opened:
                assert await opened.write_to_file(target, digest=digest) == len(PACKED)
            assert await asyncio.to_thread(target.read_bytes) == PACKED
        assert await api.get("/", bytes) == BODY
        assert server.connections == 1


async def test_a_range_of_what_was_sent() -> None:
    """A part of a stored object, which no decoder could read, is returned unchanged, and bounded."""
    part = PACKED[10:30]
    answer = response("206 Partial Content", part, Content_Encoding="gzip", Content_Range="bytes 10-29/99")
    async with raw_server(respond(answer)) as server, AsyncAPIClient(server.url) as api:
        assert await api.get("/", bytes, decompress=False, headers={"Range": "bytes=10-29"}) == part
        with pytest.raises(BodyTooLargeError):
            await api.get("/", bytes, decompress=False, max_body=19)


@pytest.mark.parametrize("cast_to", [bytes, aiohttp.ClientResponse])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_is_still_decompressed(cast_to: Any, stream: bool) -> None:
    """The body of an error is read by the client, whatever the call's own options."""
    answer = response("404 Not Found", gzip.compress(b'{"message":"gone"}'), Content_Encoding="gzip")
    async with raw_server(respond(answer)) as server, AsyncAPIClient(server.url) as api:
        with pytest.raises(NotFoundError, match=r"404 Not Found: gone$"):
            if stream:
                async with api.open("GET", "/", decompress=False):
                    pass
            else:
                await api.get("/", cast_to, decompress=False)
        wanted = await api.get("/", bytes, decompress=False, ok_statuses={404})
        assert gzip.decompress(wanted) == b'{"message":"gone"}'


async def test_a_type_needs_its_body_decompressed() -> None:
    """A typed call with decompress=False names the coding it cannot read."""
    async with (
        raw_server(respond(ok(gzip.compress(b"[1]"), Content_Encoding="gzip"))) as server,
        AsyncAPIClient(server.url) as api,
    ):
        with pytest.raises(APIResponseValidationError, match="decompress=False left the body as 'gzip'"):
            await api.get("/", list[int], decompress=False)
    async with (
        raw_server(respond(ok(b"[1]", Content_Encoding="none"))) as server,
        AsyncAPIClient(server.url) as api,
    ):
        assert await api.get("/", list[int], decompress=False) == [1]
        with pytest.raises(TypeError, match="decompress must be True or False, not str"):
            await api.get("/", list[int], decompress="no")  # type: ignore[arg-type]


async def test_a_borrowed_session_hands_over_what_was_sent() -> None:
    """The user's session decompresses no part of it either."""
    async with (
        raw_server(respond(ok(PACKED, Content_Encoding="gzip"))) as server,
        aiohttp.ClientSession() as session,
        AsyncAPIClient(server.url, session=session) as api,
    ):
        assert await api.get("/", bytes, decompress=False) == PACKED
        assert await api.get("/", bytes) == BODY


async def test_coding_in_drops(transport: AiohttpTransport) -> None:
    """A compressed body that arrives byte by byte is yielded as it arrives."""
    compressor = zlib.compressobj(wbits=31)
    parts = [compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH) for text in (b"one", b"two")]
    parts.append(compressor.flush())
    arrived = [asyncio.Event(), asyncio.Event()]

    async def script(exchange: Exchange) -> None:
        await exchange.send(response("200 OK", None, Content_Encoding="gzip", Transfer_Encoding="chunked"))
        for part, event in zip(parts, [*arrived, None], strict=True):
            for byte in part:
                await exchange.send(b"1\r\n%c\r\n" % byte)
            if event is not None:
                await event.wait()
        await exchange.send(b"0\r\n\r\n")

    async with raw_server(script) as server:
        seen = b""
        async for chunk in (await transport(get(server.url))).iter_bytes():
            seen += chunk
            for event, text in zip(arrived, (b"one", b"onetwo"), strict=True):
                if seen == text:
                    event.set()
        assert seen == b"onetwo"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "unknown", "gzip, gzip"])
@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("GET", response("200 OK", b"", Content_Encoding="@")),
        ("GET", response("204 No Content", None, Content_Encoding="@")),
        ("GET", response("304 Not Modified", None, Content_Encoding="@", ETag='"x"')),
        ("HEAD", response("200 OK", None, Content_Encoding="@", Content_Length="4711")),
        ("HEAD", response("200 OK", None, Content_Encoding="@")),
    ],
    ids=["empty", "204", "304", "HEAD", "HEAD without length"],
)
async def test_nothing_is_whole(transport: AiohttpTransport, method: str, answer: bytes, coding: str) -> None:
    """An empty body is complete, whatever its Content-Encoding."""
    async with raw_server(respond(answer.replace(b"@", coding.encode()))) as server:
        for read in (AsyncAPIResponse[Any].read, chunks):
            assert await read(await transport(get(server.url, method=method))) == b""


# --- truncated bodies


CUTS = {
    "a length that is not reached": close(response("200 OK", None, Content_Length="100") + b"abc"),
    "a length, then a reset": reset(response("200 OK", None, Content_Length="100") + b"abc"),
    "a chunk that is cut": close(response("200 OK", None, Transfer_Encoding="chunked") + b"64\r\nabc"),
    "no last chunk": close(response("200 OK", None, Transfer_Encoding="chunked") + b"3\r\nabc\r\n"),
    "no length, then a reset": reset(response("200 OK", None) + b"abc"),
    "gzip, cut": respond(encoded(gzip.compress(BODY)[:-1], "gzip")),
    "gzip, cut in its head": respond(encoded(gzip.compress(BODY)[:5], "gzip")),
    "a second gzip, cut": respond(encoded(gzip.compress(BODY) + gzip.compress(BODY)[:-9], "gzip")),
    "deflate, cut": respond(encoded(zlib.compress(BODY)[:-1], "deflate")),
    "deflate, one byte": respond(encoded(zlib.compress(BODY)[:1], "deflate")),
    "raw deflate, cut": respond(encoded(deflate(BODY)[:-1], "deflate")),
    "br, cut": respond(encoded(brotli.compress(BODY)[:-1], "br")),
}


@pytest.mark.parametrize("script", CUTS.values(), ids=CUTS.keys())
@pytest.mark.parametrize("way", ["read", "read within a limit", "stream"])
async def test_cut(transport: AiohttpTransport, script: Script, way: str) -> None:
    """A truncated body is an error that states it, and its connection is not used again."""
    async with raw_server(script) as server:
        answer = await transport(get(server.url, max_body=1 << 20 if way == "read within a limit" else None))
        with pytest.raises(APIConnectionError, match="truncated") as caught:
            await (chunks(answer) if way == "stream" else answer.read())
        assert caught.value.sent is None
        assert not caught.value.final
        assert caught.value.__context__ is None or not isinstance(
            caught.value.__context__, aiohttp.ClientError
        )


@pytest.mark.parametrize("way", ["read", "stream"])
async def test_tls_cut(transport: AiohttpTransport, way: str) -> None:
    """A body without a length whose TLS connection ends without close_notify was cut."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(response("200 OK", None) + b"abc")
        await asyncio.sleep(0.02)
        exchange.cut()

    async with raw_server(script, tls=True) as server:
        answer = await transport(get(server.url))
        with pytest.raises(APIConnectionError, match="truncated") as caught:
            await (chunks(answer) if way == "stream" else answer.read())
        assert caught.value.reason == "truncated"


async def test_head_then_reset(transport: AiohttpTransport) -> None:
    """A connection that is lost after a response without a body does not affect it."""
    for method, answer in (
        ("HEAD", response("200 OK", None)),
        ("GET", response("204 No Content", None)),
        ("GET", response("304 Not Modified", None)),
    ):
        async with raw_server(reset(answer)) as server:
            head = await transport(get(server.url, method=method))
            await until(lambda: server.open_connections == 0)
            await turns()
            assert await head.read() == b""


@pytest.mark.parametrize("size", [1000, 64 << 10])
@pytest.mark.parametrize("has_hooks", [True, False])
async def test_what_arrived_meanwhile(
    transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch, has_hooks: bool, size: int
) -> None:
    """Bytes that arrived while the reader was busy are one piece; large pieces are uncopied, one by one.

    Each supported aiohttp has the hooks for that; without them all bytes are copied into one.
    """
    assert response_body._GIVES_PIECES
    monkeypatch.setattr(response_body, "_GIVES_PIECES", has_hooks)
    pieces = [bytes([letter]) * size for letter in b"abc"]
    head = response("200 OK", None, Content_Length=str(3 * size + 1))
    async with raw_server(hang(head)) as server:
        held = await transport(get(server.url, stream=True))
        source: Any = held._source
        assert hasattr(source._content, "_buffer")
        for piece in pieces:
            source._content.feed_data(piece, size)
        if has_hooks and size == 64 << 10:
            assert await source.read_chunk() is pieces[0]
            assert await source.read_chunk() is pieces[1]
            assert await source.read_chunk() is pieces[2]
        else:
            assert await source.read_chunk() == b"".join(pieces)
        await held.close()


# --- mislabelled bodies


FALSE = {
    "plain text as gzip": encoded(b'{"a": 1}', "gzip"),
    "plain text as br": encoded(b'{"a": 1}' * 10, "br"),
    "zlib as gzip": encoded(zlib.compress(BODY), "gzip"),
    "garbage after gzip": encoded(gzip.compress(BODY) + b"garbage", "gzip"),
    "garbage after deflate": encoded(zlib.compress(BODY) + b"garbage", "deflate"),
    "garbage after br": encoded(brotli.compress(BODY) + b"garbage", "br"),
    "a broken gzip": encoded(gzip.compress(BODY)[:-8] + b"00000000", "gzip"),
    "an unknown coding": encoded(BODY, "foo"),
    "zstd": encoded(b"(\xb5/\xfd\x04X", "zstd"),
    "two codings": encoded(gzip.compress(gzip.compress(BODY)), "gzip, gzip"),
    "two headers": ok(gzip.compress(gzip.compress(BODY)), Content_Encoding="gzip", content_encoding="gzip"),
}


@pytest.mark.parametrize("answer", FALSE.values(), ids=FALSE.keys())
async def test_false_label(transport: AiohttpTransport, answer: bytes) -> None:
    """A body that does not match its Content-Encoding is an error that a retry would not fix."""
    async with raw_server(respond(answer)) as server:
        for read in (AsyncAPIResponse[Any].read, chunks):
            with pytest.raises(APIResponseValidationError) as caught:
                await read(await transport(get(server.url)))
            error = caught.value
            assert (error.path, error.status, error.content_type) == ("$", 200, "application/json")
            assert "/: status 200: " in str(error)


async def test_br_without_decoder(transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a brotli that can be bounded, br is a coding like any unknown one."""
    monkeypatch.delitem(
        vars(__import__("aioapiclient._transport.decompression", fromlist=["_"]))["_DECODERS"], "br"
    )
    with pytest.raises(APIResponseValidationError, match="'br' cannot be decoded"):
        await fetch(transport, respond(encoded(brotli.compress(BODY), "br")))


async def test_unknown_transfer_coding(transport: AiohttpTransport) -> None:
    """A transfer coding that was not requested is an error, and is never yielded as the body."""
    for coding in ("gzip", "gzip, chunked"):
        answer = response("200 OK", None, Transfer_Encoding=coding) + b"3\r\nabc\r\n0\r\n\r\n"
        with pytest.raises(APIConnectionError, match="not valid HTTP: a transfer coding"):
            await fetch(transport, close(answer))


# --- bounded


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"x" * 1001),
        chunked(b"x" * 1001),
        response("200 OK", None) + b"x" * 1001,
        encoded(gzip.compress(b"x" * 1001), "gzip"),
        encoded(brotli.compress(b"x" * 1001), "br"),
        response("200 OK", None, Content_Length="1000000000") + b"x",
    ],
    ids=["length", "chunked", "unframed", "gzip", "br", "announced"],
)
async def test_limit(transport: AiohttpTransport, answer: bytes) -> None:
    """A body of more than ``max_body`` bytes, decompressed, is an error, and closes its connection."""
    async with raw_server(close(answer)) as server:
        with pytest.raises(BodyTooLargeError, match="more than 1000 bytes") as caught:
            await (await transport(get(server.url, max_body=1000))).read()
        assert (caught.value.limit, caught.value.status) == (1000, 200)


async def test_read_error_closes(transport: AiohttpTransport) -> None:
    """A refused body closes its connection, even while the response is still referenced."""
    async with raw_server(hang(response("200 OK", None, Content_Length="9000") + b"a")) as server:
        source: Any = (await transport(get(server.url)))._source
        with pytest.raises(BodyTooLargeError):
            await source.read(10)
        await until(lambda: server.open_connections == 0)


async def test_limit_while_it_comes(transport: AiohttpTransport) -> None:
    """The limit applies while the body arrives: an endless one ends there."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(response("200 OK", None))
        while True:
            await exchange.send(b"x" * 65536)

    with pytest.raises(BodyTooLargeError):
        await fetch(transport, script, max_body=1 << 20)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
async def test_bomb(transport: AiohttpTransport, coding: str) -> None:
    """A bomb costs no more memory than the limit and one step, and does not hold the loop."""
    compress = {"gzip": gzip.compress, "deflate": zlib.compress, "br": partial(brotli.compress, quality=1)}[
        coding
    ]
    bomb, limit = compress(b"\0" * (64 << 20)), 4 << 20
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    async with raw_server(respond(encoded(bomb, coding))) as server:
        answer = await transport(get(server.url, max_body=limit))
        clock = asyncio.create_task(tick())
        tracemalloc.start()
        try:
            with pytest.raises(BodyTooLargeError):
                await answer.read()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            clock.cancel()
    assert peak < limit + (2 << 20)
    assert ticks > 4


async def test_stream_of_a_bomb(transport: AiohttpTransport) -> None:
    """The pieces of a stream are small, however well they were compressed."""
    async with raw_server(respond(encoded(gzip.compress(b"\0" * (8 << 20)), "gzip"))) as server:
        answer = await transport(get(server.url))
        sizes = [len(chunk) async for chunk in answer.iter_bytes()]
    assert sum(sizes) == 8 << 20
    assert max(sizes) <= 256 << 10


# --- silence, cancellation, close


async def test_silence(transport: AiohttpTransport) -> None:
    """Silence between two bytes that is longer than ``read`` ends the body."""
    for answer in (response("200 OK", None, Content_Length="10") + b"abc", response("200 OK", None) + b"abc"):
        async with raw_server(hang(answer)) as server:
            for read in (AsyncAPIResponse[Any].read, chunks):
                stalled = await transport(get(server.url, timeout=read_timeout(0.05)))
                with pytest.raises(APITimeoutError, match=r"within 0\.05 s \(read\)") as caught:
                    await read(stalled)
                assert (caught.value.phase, caught.value.sent) == ("read", None)


PENDING = {
    "length": response("200 OK", None, Content_Length="9") + b"a",
    "unframed": response("200 OK", None) + b"a",
    "gzip": response("200 OK", None, Content_Length="99", Content_Encoding="gzip") + gzip.compress(BODY)[:12],
}


@pytest.mark.parametrize("answer", PENDING.values(), ids=PENDING.keys())
async def test_cancelled_read(transport: AiohttpTransport, answer: bytes) -> None:
    """A read that is cancelled stays cancelled, and closes its connection immediately."""
    async with raw_server(hang(answer)) as server:
        for read in (AsyncAPIResponse[Any].read, chunks):
            held = await transport(get(server.url))
            source: Any = held._source
            held._source = _Held(source)
            reading = asyncio.create_task(read(held))
            await turns()
            assert server.open_connections == 1
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await until(lambda: server.open_connections == 0)


class _Held:
    """A source that is never closed explicitly closes itself."""

    def __init__(self, source: Any) -> None:
        self.read = source.read
        self.read_chunk = source.read_chunk

    def close(self) -> None:
        pass

    def abort(self, error: Exception) -> None:
        pass


async def test_abort_wakes_the_reader(transport: AiohttpTransport) -> None:
    """A reader of an aborted body gets the error immediately; a later reader gets it too."""
    async with raw_server(hang(response("200 OK", None, Content_Length="9") + b"a")) as server:
        answer = await transport(get(server.url))
        source: Any = answer._source
        reading = asyncio.create_task(source.read(None))
        await turns()
        error = ClientClosedError("closed by the test")
        source.abort(error)
        with pytest.raises(ClientClosedError) as caught:
            await asyncio.wait_for(reading, 10)
        assert caught.value is error
        for later in (source.read(None), source.read_chunk(), source.read(1)):
            with pytest.raises(ClientClosedError):
                await later
        await until(lambda: server.open_connections == 0)


async def test_abort_before_reading(transport: AiohttpTransport) -> None:
    """Bytes received before a body was aborted are not yielded after that."""
    for answer in PENDING.values():
        async with raw_server(hang(answer)) as server:
            source: Any = (await transport(get(server.url)))._source
            source.abort(ClientClosedError("closed by the test"))
            with pytest.raises(ClientClosedError):
                await source.read_chunk()


async def test_abort_of_a_whole_body(transport: AiohttpTransport) -> None:
    """A body that was aborted is not yielded, even if it has arrived completely; its connection is good."""
    async with raw_server(respond(ok(BODY))) as server:
        answer = await transport(get(server.url))
        source: Any = answer._source
        source.abort(ClientClosedError("closed by the test"))
        with pytest.raises(ClientClosedError):
            await source.read(None)
        assert await (await transport(get(server.url))).read() == BODY
        assert server.connections == 1


async def test_abort_in_a_bomb(transport: AiohttpTransport) -> None:
    """A body that is aborted while it is decompressed ends there."""
    async with raw_server(respond(encoded(gzip.compress(b"\0" * (16 << 20)), "gzip"))) as server:
        source: Any = (await transport(get(server.url)))._source
        reading = asyncio.create_task(source.read(None))
        await turns(3)
        source.abort(ClientClosedError("closed by the test"))
        await turns(2)
        assert reading.done()
        with pytest.raises(ClientClosedError):
            await reading


async def test_close_before_the_end(transport: AiohttpTransport) -> None:
    """A response that is closed before its end closes its connection, immediately and once."""
    async with raw_server(hang(response("200 OK", None, Content_Length="9") + b"a")) as server:
        answer = await transport(get(server.url))
        await answer.close()
        await answer.close()
        await until(lambda: server.open_connections == 0)
        assert answer.is_closed
        assert server.connections == 1


async def test_close_after_the_end(transport: AiohttpTransport) -> None:
    """A response whose body has arrived releases its connection, read or not."""
    async with raw_server(respond(ok(BODY))) as server:
        for _ in range(3):
            await (await transport(get(server.url))).close()
        assert server.connections == 1


async def test_session_closed_while_reading(transport: AiohttpTransport) -> None:
    """A reader gets an error when the transport closes, and does not wait without end."""
    async with raw_server(hang(response("200 OK", None, Content_Length="9") + b"a")) as server:
        reading = asyncio.create_task((await transport(get(server.url))).read())
        await turns()
        await transport.close()
        with pytest.raises(ClientClosedError):
            await asyncio.wait_for(reading, 10)


# --- aiohttp's response


async def test_raw(transport: AiohttpTransport) -> None:
    """A call for aiohttp's response returns it, decompressed by aiohttp, which sets Accept-Encoding."""
    async with raw_server(respond(encoded(gzip.compress(BODY), "gzip"))) as server:
        answer = await transport(get(server.url, cast_to=aiohttp.ClientResponse))
        raw = answer._take_raw()
        assert isinstance(raw, aiohttp.ClientResponse)
        assert await raw.read() == BODY
        offered = aiohttp.ClientRequest.DEFAULT_HEADERS
        assert server.requests[0].headers["Accept-Encoding"] in offered.values()


@pytest.mark.parametrize("end", ["read", "close", "release"])
async def test_on_close_of_raw(transport: AiohttpTransport, end: str) -> None:
    """`on_close` runs when the caller is done with aiohttp's response."""
    called: list[str] = []
    asked_for_the_rest = asyncio.Event()

    async def in_two_pieces(exchange: Exchange) -> None:
        await exchange.send(ok(BODY)[:-1])
        await asked_for_the_rest.wait()
        await exchange.send(BODY[-1:])

    async with raw_server(in_two_pieces) as server:
        answer = await transport(get(server.url, cast_to=aiohttp.ClientResponse))
        answer.on_close(lambda: called.append("on_close"))
        raw = answer._take_raw()
        assert called == []
        if end == "read":
            asked_for_the_rest.set()
            assert await raw.read() == BODY
        else:
            getattr(raw, end)()
        assert called == ["on_close"]


async def test_on_close_of_raw_that_is_whole(transport: AiohttpTransport) -> None:
    """A raw response that no longer holds a connection is finished immediately."""
    called: list[str] = []
    async with raw_server(respond(response("204 No Content", None))) as server:
        answer = await transport(get(server.url, cast_to=aiohttp.ClientResponse))
        answer.on_close(lambda: called.append("on_close"))
        assert called == []
        answer._take_raw()
        assert called == ["on_close"]


async def test_error_of_raw(transport: AiohttpTransport) -> None:
    """The library can also read the body of such a response, and does not decompress it twice."""
    answer = encoded(gzip.compress(BODY), "gzip")
    assert await fetch(transport, respond(answer), cast_to=aiohttp.ClientResponse) == BODY
    with pytest.raises(BodyTooLargeError):
        await fetch(transport, respond(answer), cast_to=aiohttp.ClientResponse, max_body=100)


async def test_bomb_of_raw(transport: AiohttpTransport) -> None:
    """A body of such a response is bounded, even if it arrives slowly and is small before decompression."""
    answer = encoded(gzip.compress(bytes(1 << 20)), "gzip")
    with pytest.raises(BodyTooLargeError):
        await fetch(
            transport, drip(answer, size=400, every=0.001), cast_to=aiohttp.ClientResponse, max_body=1 << 14
        )


async def test_no_raw(transport: AiohttpTransport) -> None:
    """Without a request for it, aiohttp's response is not available: it would not be decompressed."""
    async with raw_server(respond(ok())) as server:
        answer = await transport(get(server.url))
        with pytest.raises(TypeError):
            answer._take_raw()
        await answer.close()
