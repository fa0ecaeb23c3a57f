"""How a request body is sent: framed by its size, in slices, with the user's errors and a limit for
stalls.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from servers import Exchange, client_tls, hang, ok, raw_server, respond, response, until

from aioapiclient._body.body import Body
from aioapiclient._request import APIRequest
from aioapiclient._transport.request_body import Upload, _Watch
from aioapiclient._transport.transport import AiohttpTransport
from aioapiclient._types import DEFAULT_TIMEOUT, Timeout
from aioapiclient.errors import (
    APIConnectionError,
    APITimeoutError,
    InvalidRequestError,
    RequestNotReplayableError,
)


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    """A transport that trusts the tests' certificate, closed in the end."""
    transport = AiohttpTransport(ssl=client_tls())
    yield transport
    await transport.close()


def put(url: str, content: Any, method: str = "PUT", **limits: float | None) -> APIRequest:
    """A request with a body, and the limits that a test sets."""
    timeout = Timeout(**limits).over(DEFAULT_TIMEOUT)
    body = content if isinstance(content, Body) else Body(content)
    return APIRequest(method, url, body=body, timeout=timeout)


class Sized:
    """An async iterable that knows its size, and returns a new iterator each time."""

    def __init__(self, *chunks: bytes, size: int | None = None) -> None:
        self.chunks = chunks
        self.size = sum(map(len, chunks)) if size is None else size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk


async def generate(*chunks: bytes) -> AsyncIterator[bytes]:
    """A body that can be sent once."""
    for chunk in chunks:
        yield chunk


# --- framing


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3_000_000])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_bytes(transport: AiohttpTransport, size: int, method: str) -> None:
    """Bytes of any size are sent with their length, and without a Content-Type unless one is set."""
    content = bytes(range(256)) * (size // 256 + 1)
    async with raw_server(respond(ok())) as server:
        await (await transport(put(server.url, content[:size], method))).read()
        request = server.requests[0]
        assert request.body == content[:size]
        assert request.headers["Content-Length"] == str(size)
        assert "Content-Type" not in request.headers
        assert "Transfer-Encoding" not in request.headers


@pytest.mark.parametrize("tls", [False, True])
async def test_iterable_with_size(transport: AiohttpTransport, tls: bool) -> None:
    """An iterable that knows its size is sent with its length."""
    async with raw_server(respond(ok()), tls=tls) as server:
        for _ in range(2):
            await (await transport(put(server.url, Sized(b"ab", b"c" * 200_000)))).read()
        for request in server.requests:
            assert request.body == b"ab" + b"c" * 200_000
            assert request.headers["Content-Length"] == "200002"
        assert server.connections == 1


async def test_iterable_without_size(transport: AiohttpTransport) -> None:
    """An iterable that does not is sent in chunks."""
    async with raw_server(respond(ok())) as server:
        await (await transport(put(server.url, generate(b"ab", b"c" * 200_000)))).read()
        assert server.requests[0].body == b"ab" + b"c" * 200_000
        assert server.requests[0].headers["Transfer-Encoding"] == "chunked"
        assert "Content-Length" not in server.requests[0].headers


async def test_file(transport: AiohttpTransport, tmp_path: Any) -> None:
    """A file is sent with its length, and not closed."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 200_000)
    async with raw_server(respond(ok())) as server:
        with path.open("rb") as file:
            body = Body(file)
            for _ in range(2):
                await (await transport(put(server.url, body))).read()
            assert not file.closed
        assert [request.body for request in server.requests] == [b"x" * 200_000] * 2
        assert server.requests[0].headers["Content-Length"] == "200000"


async def test_no_body(transport: AiohttpTransport) -> None:
    """Without a body, a method that expects one sends Content-Length: 0."""
    async with raw_server(respond(ok())) as server:
        for method in ("POST", "GET"):
            await (await transport(APIRequest(method, server.url))).read()
        assert server.requests[0].headers["Content-Length"] == "0"
        assert "Content-Length" not in server.requests[1].headers
        assert all("Content-Type" not in request.headers for request in server.requests)


async def test_content_type(transport: AiohttpTransport) -> None:
    """The body's Content-Type is sent unless a header overrides it."""
    async with raw_server(respond(ok())) as server:
        for content in (b"{}", Sized(b"{}"), b"x" * 100_000):
            request = put(server.url, Body(content, content_type="application/x-body"))
            await (await transport(request)).read()
            request.set_headers({"Content-Type": "text/plain"})
            await (await transport(request)).read()
        types = [request.headers.getall("Content-Type") for request in server.requests]
        assert types == [["application/x-body"], ["text/plain"]] * 3


# --- errors of the user's iterable


class Broken(Exception):
    """An exception of the user's code."""


async def break_off() -> AsyncIterator[bytes]:
    """An iterable that breaks after its first chunk."""
    yield b"x" * 10
    raise Broken


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("error", [Broken("own"), OSError(5, "own"), ValueError("own"), TimeoutError("own")])
async def test_error_of_the_iterable(transport: AiohttpTransport, method: str, error: Exception) -> None:
    """An exception of the user's iterable is raised unchanged, and the request is not sent again."""

    async def fail() -> AsyncIterator[bytes]:
        yield b"x" * 10
        raise error

    async with raw_server(respond(ok())) as server:
        with pytest.raises(type(error)) as caught:
            await transport(put(server.url, fail(), method))
        assert caught.value is error
        await until(lambda: server.open_connections == 0)
        assert server.connections == 1


async def test_error_of_the_body(transport: AiohttpTransport) -> None:
    """A body that breaks its promise ends the request with its own error."""
    async with raw_server(respond(ok())) as server:
        with pytest.raises(InvalidRequestError, match="shorter than its size"):
            await transport(put(server.url, Sized(b"abc", size=5)))
        with pytest.raises(InvalidRequestError, match="longer than its size"):
            await transport(put(server.url, Sized(b"abc", size=2)))
        with pytest.raises(TypeError, match="a chunk of the body is int"):
            await transport(put(server.url, [1]))


async def test_cancel_in_the_iterable(transport: AiohttpTransport) -> None:
    """A cancellation that the user's iterable raises itself is raised unchanged."""

    async def cancelled() -> AsyncIterator[bytes]:
        yield b"x"
        raise asyncio.CancelledError

    async with raw_server(respond(ok())) as server:
        with pytest.raises(asyncio.CancelledError):
            await transport(put(server.url, cancelled()))


async def test_spent_body(transport: AiohttpTransport) -> None:
    """A one-shot body is not sent again: nothing is sent, never an empty body."""
    async with raw_server(respond(ok())) as server:
        request = put(server.url, generate(b"abc"))
        await (await transport(request)).read()
        with pytest.raises(RequestNotReplayableError):
            await transport(request)
        await (await transport(put(server.url, b"x"))).read()
        assert len(server.requests) == 2
        assert server.connections == 1


# --- the server's behaviour


async def test_stall() -> None:
    """A peer that accepts no more bytes ends the request after ``write`` seconds."""
    for content in (b"x" * (16 << 20), Sized(*[b"x" * 65536] * 256), generate(*[b"x" * 65536] * 256)):
        transport = AiohttpTransport()
        async with raw_server(_deaf, reads_bodies=False) as server:
            with pytest.raises(
                APITimeoutError, match=r"accepted no byte of the body within 0\.1 s \(write\)"
            ) as caught:
                await transport(put(server.url, content, write=0.1, read=60))
            assert (caught.value.phase, caught.value.sent) == ("write", None)
            assert server.connections == 1
        await transport.close()


async def _deaf(exchange: Exchange) -> None:
    exchange.writer.transport.pause_reading()
    await asyncio.sleep(3600)


async def test_stall_of_a_chunk_that_fits(transport: AiohttpTransport) -> None:
    """The last bytes are watched too, even after the user's iterable has ended."""
    async with raw_server(_deaf, reads_bodies=False) as server:
        with pytest.raises(APITimeoutError, match="write"):
            await transport(put(server.url, generate(b"x" * (16 << 20)), write=0.1, read=60))


async def test_slow_iterable_is_not_a_stall(transport: AiohttpTransport) -> None:
    """The time that the user's iterable takes is neither a stall of the peer nor its silence."""

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0.1)
            yield b"x"

    async with raw_server(respond(ok())) as server:
        await (await transport(put(server.url, slow(), write=0.05))).read()
        assert server.requests[0].body == b"xxx"


class Pipe:
    """A writer and its transport, which the watch observes."""

    def __init__(self) -> None:
        self.transport: Pipe | None = self
        self.left = 0
        self.aborted = False
        self.taken = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        return self.left

    def abort(self) -> None:
        self.aborted = True

    async def write(self, data: memoryview) -> None:
        self.left += len(data)
        await self.taken.wait()


async def test_progress_is_not_a_stall() -> None:
    """A peer that reads one byte at a time is slow, not gone; when it stops, it is gone."""
    upload = Upload(Body(b"x"), put("http://127.0.0.1", b"x", write=1000))
    pipe = Pipe()
    watch = _Watch(upload, pipe)
    writing = asyncio.create_task(watch.write(b"x" * 100))
    await asyncio.sleep(0)
    for _ in range(20):
        pipe.left -= 1
        watch._look(0.0)
        assert not pipe.aborted
    watch._look(0.0)
    assert pipe.aborted
    assert isinstance(upload.error, APITimeoutError)
    pipe.taken.set()
    await writing
    watch.stop()


async def test_a_deaf_peer_fills_no_memory() -> None:
    """Of a body of any size, at most 256 KiB wait for a peer that does not read."""
    pipe, content = Pipe(), b"x" * (1 << 20)
    watch = _Watch(Upload(Body(content), put("http://127.0.0.1", content)), pipe)
    writing = asyncio.create_task(watch.write(content))
    await asyncio.sleep(0)
    assert pipe.left == 256 << 10
    pipe.taken.set()
    await writing
    assert pipe.left == len(content)
    watch.stop()


@pytest.mark.parametrize("way", ["file", "path", "form"])
async def test_one_block_of_a_file_at_a_time(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block of a file is released before the next one is read."""
    blocks: list[bytes] = []
    holders: list[int] = []

    async def read(function: Any, *arguments: Any) -> bytes:
        if blocks:
            holders.append(sys.getrefcount(blocks.pop()))
        blocks.append(function(*arguments))  # not in a thread, which may release it later
        return blocks[0]

    class Taken(Pipe):
        async def write(self, data: memoryview) -> None:
            self.left += len(data)

        async def write_eof(self) -> None:
            pass

    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    monkeypatch.setattr(asyncio, "to_thread", read)
    with path.open("rb") as file:
        body = Body.from_multipart({"file": path}) if way == "form" else Body(path if way == "path" else file)
        writer: Any = Taken()
        await Upload(body, put("http://127.0.0.1", body)).write_with_length(writer, None)

    assert writer.left >= 1 << 20
    assert holders == [1] * 4  # the argument


async def test_stall_at_the_end() -> None:
    """The last wait, when the user's iterable is through with its part, is watched like any other."""

    class Full(Pipe):
        def abort(self) -> None:
            self.taken.set()

        async def write(self, data: memoryview) -> None:
            self.left += len(data)

        async def write_eof(self) -> None:
            await self.taken.wait()

    writer: Any = Full()
    upload = Upload(Body(Sized(b"abc")), put("http://127.0.0.1", b"x", write=0.05))
    await asyncio.wait_for(upload.write_with_length(writer, 3), 10)
    assert isinstance(upload.error, APITimeoutError)


async def test_end_of_the_call_is_not_an_error_of_the_user() -> None:
    """If aiohttp cancels the sending because the call has ended, no error of the user's iterable is
    reported.
    """

    async def waiting() -> AsyncIterator[bytes]:
        await asyncio.sleep(3600)
        yield b""

    writer: Any = Pipe()
    upload = Upload(Body(waiting()), put("http://127.0.0.1", b"x"))
    sending = asyncio.create_task(upload.write_with_length(writer, None))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert upload.error is None


async def test_early_answer(transport: AiohttpTransport) -> None:
    """An answer before the body is complete is returned, and the sending stops."""
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
                await asyncio.sleep(0)
        finally:
            ended.set()

    answer = response("413 Content Too Large", b"too large")
    async with raw_server(respond(answer), reads_bodies=False) as server:
        got = await transport(put(server.url, endless()))
        assert (got.status, await got.read()) == (413, b"too large")
        await asyncio.wait_for(ended.wait(), 10)
        # The body is partly on the wire: nothing can follow it there.
        server.script = respond(ok())
        assert await (await transport(put(server.url, b"x"))).read() == b"{}"
        assert server.connections == 2


async def test_server_that_leaves(transport: AiohttpTransport) -> None:
    """A server that disconnects while the body is sent is an error, and aiohttp does not retry."""

    async def leave(exchange: Exchange) -> None:
        await exchange.reader.read(1000)
        exchange.reset()

    for method in ("POST", "PUT"):
        async with raw_server(leave, reads_bodies=False) as server:
            with pytest.raises(APIConnectionError) as caught:
                await transport(put(server.url, Sized(*[b"x" * 65536] * 256), method))
            assert caught.value.sent is None
            assert len(server.requests) == 1


async def test_cancel_while_sending(transport: AiohttpTransport) -> None:
    """A call that is cancelled while its body is sent closes the connection, and the user's iterator."""
    ended = asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async with raw_server(hang(), reads_bodies=False) as server:
        call = asyncio.create_task(transport(put(server.url, waiting())))
        await until(lambda: server.requests)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(ended.wait(), 10)
        await until(lambda: server.open_connections == 0)


async def test_sync_iterables(transport: AiohttpTransport) -> None:
    """Plain iterables and binary files in memory are valid bodies too."""

    def chunks() -> Iterator[bytes]:
        yield b"a"
        yield b"b"

    async with raw_server(respond(ok())) as server:
        for content in (chunks(), [b"a", b"b"], io.BytesIO(b"ab")):
            await (await transport(put(server.url, content))).read()
        assert [request.body for request in server.requests] == [b"ab"] * 3


# --- aiohttp's middlewares


async def test_as_aiohttp_sees_it() -> None:
    """An aiohttp middleware that signs bodies gets those in memory."""
    request = put("http://127.0.0.1", b"x" * 100_000)
    upload = Upload(Body(b"abc"), request)
    assert (upload.size, upload.autoclose, upload.consumed) == (3, True, False)
    assert await upload.as_bytes() == b"abc"
    assert upload.decode() == "abc"
    streamed = Upload(Body(generate(b"abc")), request)
    assert streamed.size is None
    with pytest.raises(TypeError, match="streamed"):
        await streamed.as_bytes()


async def test_sent_again_by_a_middleware() -> None:
    """An aiohttp middleware that sends a request again sends the complete body again, or raises."""

    async def twice(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        first = await handler(request)
        await first.read()
        again: aiohttp.ClientResponse = await handler(request)
        return again

    transport = AiohttpTransport(session_middlewares=[twice])
    async with raw_server(respond(ok())) as server:
        await (await transport(put(server.url, Sized(b"abc")))).read()
        assert [request.body for request in server.requests] == [b"abc"] * 2
        with pytest.raises(RequestNotReplayableError):
            await transport(put(server.url, generate(b"abc")))
    await transport.close()
