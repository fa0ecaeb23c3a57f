"""Whatever a server sends, a call ends with its own value or an error, never with another call's answer."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from contextlib import suppress
from typing import Any

import hypothesis.strategies as st
import pytest
from helpers import Client
from hypothesis import given, settings
from servers import Exchange, client_tls, drip, ok, raw_server, response, turns, until

from aioapiclient import AiohttpTransport, APIClientError, APIConnectionError

MIB = 1 << 20
JSON = "Content-Type: application/json\r\n"


AMBIGUOUS = {
    "length and chunks": "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "the same length twice": "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": "Content-Length: 2, 3\r\n\r\n{} ",
    "signed length": "Content-Length: +2\r\n\r\n{}",
    "negative length": "Content-Length: -2\r\n\r\n{}",
    "length in other digits": "Content-Length: \u0662\r\n\r\n{}",
    "length with an underscore": "Content-Length: 0_2\r\n\r\n{}",
    "length in hex": "Content-Length: 0x2\r\n\r\n{}",
    "another transfer coding": "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunked twice": "Transfer-Encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "not chunked last": "Transfer-Encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "signed chunk": "Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
    "chunk in 0x": "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "chunk without end": "Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n",
    "huge chunk": "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "NUL in a name": "Content\0Length: 2\r\n\r\n{}",
    "no colon": "Content-Length\r\n\r\n{}",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_an_ambiguous_response_is_an_error(name: str) -> None:
    """A response whose end can be read in two ways is an error, and its connection is closed (P16)."""
    broken = f"HTTP/1.1 200 OK\r\n{JSON}{AMBIGUOUS[name]}".encode()

    async def script(exchange: Exchange) -> None:
        await exchange.send(broken if exchange.index == 0 else ok(b"[1]"))

    async with raw_server(script) as server, Client(server.url, max_retries=0) as api:
        # The parser in pure Python waits for the bytes that a wrong size announces.
        with pytest.raises(APIConnectionError):
            await api.get("/first", timeout=0.5)
        assert await api.get("/second") == [1]
        assert [request.connection for request in server.requests] == [0, 1]


@pytest.mark.parametrize("late", ["at once", "later"])
@pytest.mark.parametrize("extra", [ok(b'"alice"'), response("408 Request Timeout"), b"\r\n", b"garbage"])
async def test_no_call_gets_the_answer_to_another(extra: bytes, late: str) -> None:
    """Bytes that arrive before a request are never its response: bob does not get alice's (P16)."""

    async def script(exchange: Exchange) -> None:
        user = exchange.request.target.removeprefix("/").encode()
        await exchange.send(ok(b'"%b"' % user))
        if user == b"alice":
            if late == "later":
                await turns()
            await exchange.send(extra)

    async with raw_server(script) as server, Client(server.url, max_retries=0) as api:
        with suppress(
            APIConnectionError
        ):  # it may have arrived with the answer, which is then not valid HTTP
            assert await api.get("/alice") == "alice"
        await turns(20)
        for _ in range(3):
            assert await api.get("/bob") == "bob"
        # An empty line that arrived in one piece with a response is ignored.
        if late == "later" or extra.strip():
            assert server.requests[1].connection != server.requests[0].connection


# --- endless heads and trailers


def _repeat(piece: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n") -> tuple[bytes, bytes]:
    return head, piece * (65536 // len(piece))


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "status line": _repeat(b"x", b"HTTP/1.1 200 "),
    "header name": _repeat(b"x"),
    "header value": _repeat(b"x", b"HTTP/1.1 200 OK\r\nX-A: "),
    "folded header": _repeat(b" x\r\n", b"HTTP/1.1 200 OK\r\nX-A: x\r\n"),
    "headers": _repeat(b"X-A: " + b"x" * 100 + b"\r\n"),
    "cookies": _repeat(b"Set-Cookie: a=" + b"x" * 1000 + b"\r\n"),
    "interim responses": _repeat(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", b""),
    "trailers": _repeat(b"X-A: " + b"x" * 100 + b"\r\n", CHUNKED + b"2\r\n{}\r\n0\r\n"),
    "trailer": _repeat(b"x", CHUNKED + b"2\r\n{}\r\n0\r\nX-A: "),
    "chunk extension": _repeat(b"x", CHUNKED + b"1;a="),
    "chunk size": _repeat(b"0", CHUNKED),
    "no HTTP": _repeat(b"\0\r\n", b""),
}
# Frames that never carry a byte of a body: they cost only time.
IDLE = {
    "gzip members": _repeat(
        b"%x\r\n%b\r\n" % (20 * 64, gzip.compress(b"") * 64),
        CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"),
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_nothing_around_a_body_is_endless(name: str) -> None:
    """A head, an interim response, a chunk's frame or a trailer without end is an error, soon (P13)."""
    first, more = ENDLESS[name]
    sent = 0

    async def script(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(first)
        while True:
            await exchange.send(more)
            sent += len(more)

    async with raw_server(script) as server, Client(server.url, max_retries=0, timeout=None) as api:
        tracemalloc.start()
        try:
            with pytest.raises(APIConnectionError):
                await asyncio.wait_for(api.get("/"), 20)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 8 * MIB
        await until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("name", IDLE)
async def test_frames_without_content_end_with_the_deadline(name: str) -> None:
    """Endless framing without content fills no memory, and ends with the call's time (P13)."""
    first, more = IDLE[name]

    async def script(exchange: Exchange) -> None:
        await exchange.send(first)
        while True:
            await exchange.send(more)
            await asyncio.sleep(0)

    async with raw_server(script) as server, Client(server.url, max_retries=0, timeout=0.5) as api:
        tracemalloc.start()
        try:
            with pytest.raises(APIConnectionError):
                await api.get("/")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 8 * MIB
        await until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("piece", [ok(b"[]"), b"X-A: x\r\n", b"\r\n", b"x"])
async def test_an_idle_connection_takes_nothing(piece: bytes) -> None:
    """Bytes that a server sends without a request close the connection, and are dropped (P13, P16)."""
    sent = 0

    async def script(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(ok(b"[]"))
        await turns()
        while True:
            await exchange.send(piece * (65536 // len(piece)))
            sent += 65536

    async with raw_server(script) as server, Client(server.url) as api:
        assert await api.get("/") == []
        await until(lambda: server.open_connections == 0)
        assert sent < 8 * MIB


@pytest.mark.parametrize("size_of_piece", [7, 1 << 20])
async def test_a_head_has_at_most_128_headers(size_of_piece: int) -> None:
    """129 headers are an error, 126 are not; a line has at most 32 KiB, however it is split (P13)."""
    for count, size, is_good in ((126, 10, True), (129, 10, False), (2, 32_000, True), (2, 40_000, False)):
        head = b"".join(b"X-%d: %b\r\n" % (n, b"x" * size) for n in range(count - 1))
        answer = b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: 2\r\n\r\n{}"
        script = drip(answer, size=size_of_piece, every=0)
        async with raw_server(script) as server, Client(server.url, max_retries=0) as api:
            if is_good:
                await api.get("/", None)
            else:
                with pytest.raises(APIConnectionError):
                    await api.get("/", None)


async def test_each_response_has_bounds_of_its_own() -> None:
    """Headers and trailers of one response do not count towards the limits of the next on its connection."""
    many = b"".join(b"X-%d: x\r\n" % number for number in range(60))
    answer = CHUNKED.replace(b"\r\n\r\n", b"\r\n" + many + b"\r\n") + b"2\r\n[]\r\n0\r\n" + many + b"\r\n"
    script = drip(answer, size=500, every=0)
    async with raw_server(script) as server, Client(server.url, max_retries=0) as api:
        for _ in range(5):
            assert await api.get("/") == []
        assert server.connections == 1


@pytest.mark.parametrize("framing", ["chunked", "length", "none"])
@pytest.mark.parametrize("tls", [False, True])
async def test_a_body_of_lines_is_a_body(framing: str, tls: bool) -> None:
    """Content is never taken for endless headers, however many lines it has and however slowly it is read."""
    lines = b"\n" * (3 * MIB)
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    if framing == "chunked":
        chunks = [b"8000;a=b\r\n" + lines[:0x8000] + b"\r\n"] * (len(lines) // 0x8000)
        body = b"".join(chunks) + b"0\r\n" + b"X-A: 1\r\n" * 100 + b"\r\n"
        head += "Transfer-Encoding: chunked\r\nTrailer: X-A\r\n"
    else:
        body = lines
        head += f"Content-Length: {len(body)}\r\n" if framing == "length" else "Connection: close\r\n"

    async def script(exchange: Exchange) -> None:
        await exchange.send(f"{head}\r\n".encode() + body)
        if framing == "none":
            exchange.close()

    async with (
        raw_server(script, tls=tls) as server,
        Client(server.url, transport=AiohttpTransport(ssl=client_tls()), max_retries=0) as api,
        api.open("GET", "/") as response,
    ):
        size = 0
        async for piece in response.iter_bytes():
            size += len(piece)
            await turns(3)
        assert size == len(lines)


# --- any bytes


GOOD = [
    ok(b'{"a": [1, 2, 3]}', ETag='"x"'),
    CHUNKED + b'5\r\n{"a":\r\n3\r\n 1}\r\n0\r\nX-T: 1\r\n\r\n',
    response("503 Later", b"{}", Retry_After="Fri, 31 Dec 1999 23:59:59 GMT"),
    response("302 Found", Location="/x?y=1"),
    ok(b'event: a\ndata: {"a": 1}\n\n', "text/event-stream"),
]
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 200),
        st.sampled_from(["cut", "drop", "insert", "flip", "repeat"]),
        st.binary(max_size=4) | st.sampled_from([b"\0", b"\r\n", b"\r", b"\n", b": ", b"\xff", b"0", b"-1"]),
    ),
    min_size=1,
    max_size=4,
)


def changed(data: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    """*data* with pieces cut, dropped, inserted, flipped or repeated."""
    for place, kind, piece in changes:
        head, tail = data[:place], data[place:]
        data = {
            "cut": head,
            "drop": head + tail[len(piece) + 1 :],
            "insert": head + piece + tail,
            "flip": head + bytes(byte ^ 0x55 for byte in tail[:2]) + tail[2:],
            "repeat": head + tail[:20] * 3 + tail,
        }[kind]
    return data


@given(good=st.sampled_from(GOOD), changes=CHANGES, stream=st.booleans())
@settings(max_examples=150)
def test_any_bytes_end_in_a_value_or_in_our_error(
    good: bytes, changes: list[tuple[int, str, bytes]], stream: bool
) -> None:
    """Broken bytes of any kind end a call with a value or one of our errors; the next call is good (P17)."""
    answer = changed(good, changes)

    async def script(exchange: Exchange) -> None:
        if exchange.request.target == "/good":
            await exchange.send(ok(b'"good"'))
        else:
            await exchange.send(answer)
            exchange.close()

    async def run() -> None:
        async with raw_server(script) as server, Client(server.url, max_retries=1, timeout=20) as api:
            with suppress(APIClientError):
                got = await api.get("/", Any, stream=stream)
                if stream:
                    async with got:
                        async for _ in got:
                            pass
            assert await api.get("/good") == "good"

    asyncio.run(run())
