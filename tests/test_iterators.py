"""A body in pieces: bytes, text and lines are the same wherever the wire splits them."""

from __future__ import annotations

import re
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from servers import Exchange, raw_server, response

from aioapiclient import APIRequest, AsyncAPIClient, AsyncAPIResponse
from aioapiclient.errors import APIConnectionError, StreamConsumedError

TEXT = "aé€😀\r\n\r\rb\n\u2028c\x0bd\x85e\n\r\nz"
LINES = ["aé€😀", "", "", "b", "\u2028c\x0bd\x85e", "", "z"]


class Pieces:
    """A body in pieces, which may end in an error."""

    def __init__(self, pieces: list[bytes], error: Exception | None = None) -> None:
        self.pieces = [piece for piece in pieces if piece]
        self.error = error
        self.closed = 0

    async def read(self, limit: int | None) -> bytes:
        pieces, self.pieces = self.pieces, []
        return b"".join(pieces)

    async def read_chunk(self) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.error is not None:
            raise self.error
        return b""

    def close(self) -> None:
        self.closed += 1

    def abort(self, error: Exception) -> None:
        self.error = error


def streamed(source: Pieces, content_type: str = "text/plain") -> AsyncAPIResponse[Any]:
    """An unread response."""
    headers = CIMultiDictProxy(CIMultiDict({"Content-Type": content_type}))
    return AsyncAPIResponse(APIRequest("GET", "https://api.example.com/", stream=True), 200, headers, source)


def cut(data: bytes, *places: int) -> list[bytes]:
    """*data* in the pieces between *places*."""
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def lines_of(text: str) -> list[str]:
    """The lines of *text*, as an editor counts them."""
    lines = re.split("\r\n|\r|\n", text)
    return lines if lines[-1] else lines[:-1]


# Split anywhere


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32", "gb18030", "shift_jis"])
async def test_text_cut_at_every_byte(encoding: str) -> None:
    """Split characters are decoded correctly, at every position, in every encoding."""
    text = TEXT if encoding.startswith(("utf", "gb")) else "aé€日本\r\nz".replace("é€", "")
    data = text.encode(encoding)
    kind = f"text/plain; charset={encoding}"

    for place in range(len(data) + 1):
        pieces = [piece async for piece in streamed(Pieces(cut(data, place)), kind).iter_text()]
        assert "".join(pieces) == text
        assert "" not in pieces


async def test_text_one_byte_at_a_time() -> None:
    """A body that arrives byte by byte has the same text and the same lines."""
    data = TEXT.encode()
    pieces = cut(data, *range(len(data)))

    assert "".join([piece async for piece in streamed(Pieces(pieces)).iter_text()]) == TEXT
    assert [line async for line in streamed(Pieces(pieces)).iter_lines()] == LINES


async def test_lines_cut_at_every_two_places() -> None:
    """Lines end only with CRLF, LF or CR, wherever the wire splits them."""
    data = TEXT.encode()

    assert lines_of(TEXT) == LINES
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            response_ = streamed(Pieces(cut(data, first, second)))
            assert [line async for line in response_.iter_lines()] == LINES


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([], []),
        ([b"\n"], [""]),
        ([b"\r"], [""]),
        ([b"\r", b"\n"], [""]),
        ([b"\r", b"\r\n"], ["", ""]),
        ([b"\n", b"\r"], ["", ""]),
        ([b"a\r", b"", b"\nb"], ["a", "b"]),
        ([b"a\r", b"b"], ["a", "b"]),
        ([b"a\r"], ["a"]),
        ([b"a\r\n"], ["a"]),
        ([b"a"], ["a"]),
        ([b"a\n", b" "], ["a", " "]),
        ([b"a", b"\xe2\x82", b"\xac\n"], ["a€"]),
        ([b"a\xe2"], ["a\ufffd"]),
        ([b"\xef\xbb\xbfa"], ["\ufeffa"]),
    ],
)
async def test_lines(pieces: list[bytes], lines: list[str]) -> None:
    """A last line needs no end, an end makes no further line, and a broken character is U+FFFD."""
    assert [line async for line in streamed(Pieces(pieces)).iter_lines()] == lines


@given(data=st.text(st.sampled_from("\r\na€")), places=st.lists(st.integers(0, 40), max_size=8))
@example(data="\r\n\r\r\n", places=[1, 2, 3, 4])
async def test_any_lines(data: str, places: list[int]) -> None:
    """Any text, however split, has the lines that it has in one piece."""
    source = Pieces(cut(data.encode(), *places))

    assert [line async for line in streamed(source).iter_lines()] == lines_of(data)


@given(data=st.binary(max_size=40), places=st.lists(st.integers(0, 40), max_size=8))
async def test_any_bytes(data: bytes, places: list[int]) -> None:
    """Any bytes are yielded unchanged, in pieces that are never empty, and as text without an error."""
    pieces = [piece async for piece in streamed(Pieces(cut(data, *places))).iter_bytes()]
    texts = [piece async for piece in streamed(Pieces(cut(data, *places))).iter_text()]

    assert b"".join(pieces) == data
    assert b"" not in pieces
    assert "".join(texts) == data.decode("utf-8", "replace")


async def test_body_that_was_read_comes_in_one_piece() -> None:
    """A body that was read can be iterated any number of times."""
    answer = AsyncAPIResponse.from_bytes(APIRequest("GET", "https://api.example.com/"), body=TEXT.encode())

    for _ in range(2):
        assert [piece async for piece in answer.iter_bytes()] == [TEXT.encode()]
        assert [piece async for piece in answer.iter_text()] == [TEXT]
        assert [line async for line in answer.iter_lines()] == LINES


# The life of the body


@pytest.mark.parametrize("kind", ["iter_bytes", "iter_text", "iter_lines"])
async def test_end_gives_the_connection_back(kind: str) -> None:
    """At its end a body releases the connection, once, and cannot be iterated again."""
    source = Pieces([b"a\n", b"b\n"])
    answer = streamed(source)
    closed = [source.closed async for _ in getattr(answer, kind)()]

    assert (closed, source.closed) == ([0, 0], 1)
    assert answer.is_closed
    with pytest.raises(StreamConsumedError):
        async for _ in getattr(answer, kind)():
            pass


@pytest.mark.parametrize("kind", ["iter_bytes", "iter_text", "iter_lines"])
async def test_iterator_that_is_left_closes_the_body(kind: str) -> None:
    """Closing the outermost iterator early closes the body."""
    source = Pieces([b"a\n", b"b\n", b"c"])
    answer = streamed(source)
    async with aclosing(getattr(answer, kind)()) as pieces:
        await anext(pieces)

    assert source.closed == 1


@pytest.mark.parametrize("kind", ["iter_bytes", "iter_text", "iter_lines"])
async def test_what_came_before_an_error_is_not_lost(kind: str) -> None:
    """The pieces that arrived before a body broke are yielded before the error is raised."""
    answer = streamed(Pieces([b"a\n", b"b\n"], APIConnectionError("broken")))
    got: list[Any] = []
    with pytest.raises(APIConnectionError, match="broken"):
        async for piece in getattr(answer, kind)():
            got.append(piece)  # noqa: PERF401 (what came before the error counts)

    assert len(got) == 2
    assert answer.is_closed


async def test_pieces_over_the_wire() -> None:
    """Pieces from a server are yielded as they arrive, and the connection is reused."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(response("200 OK", None, Content_Type="text/plain", Transfer_Encoding="chunked"))
        for byte in TEXT.encode():
            await exchange.send(b"1\r\n%c\r\n" % byte)
        await exchange.send(b"0\r\n\r\n")

    async with raw_server(script) as server, AsyncAPIClient(server.url) as client:
        for _ in range(2):
            async with client.open("GET", "/") as answer:
                assert [line async for line in answer.iter_lines()] == LINES

    assert server.connections == 1
