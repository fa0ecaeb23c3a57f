"""JSON lines without I/O: the lines, whatever the chunks, and their limit."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioapiclient.streaming import JSONLDecoder

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "cases" / "ndjson.json").read_text())[
    "cases"
]
PIECES = st.sampled_from(
    [
        b"{}",
        b'{"a":1}',
        b"1",
        b'"\xe2\x80\xa8"',
        b"\xe2",
        b"\n",
        b"\n",
        b"\r\n",
        b"\r",
        b" ",
        b"\t",
        b'"\\n"',
        b"\x0b",
    ]
)
STREAMS = st.lists(PIECES, max_size=30).map(b"".join)


def decode(chunks: Iterable[bytes]) -> tuple[list[bytes], list[int]]:
    """The lines of *chunks*, and their numbers."""
    decoder = JSONLDecoder()
    lines: list[bytes] = []
    numbers: list[int] = []
    for feed in [*(lambda c=chunk: decoder.feed(c) for chunk in chunks), decoder.flush]:
        found = feed()
        lines += found
        if found:
            numbers += decoder.numbers
    return lines, numbers


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """*stream* in pieces, cut at *places*."""
    bounds = [0, *sorted(places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(bounds)]


@pytest.mark.parametrize("case", CASES, ids=[case["source"] for case in CASES])
def test_streams_of_other_suites(case: dict[str, Any]) -> None:
    """The test streams of other implementations give their values, however split."""
    chunks = [base64.b64decode(chunk) for chunk in case["chunks"]]
    stream = b"".join(chunks)
    for pieces in (chunks, [stream], cut(stream, range(len(stream)))):
        lines, _ = decode(pieces)
        count = len(case["values"])

        assert [msgspec.json.decode(line) for line in lines[:count]] == case["values"]
        assert len(lines) == count + ("then" in case)


@given(stream=STREAMS, data=st.data())
def test_any_split_gives_the_same_lines(stream: bytes, data: st.DataObject) -> None:
    """Wherever the bytes are split, lines and numbers are those of the complete text."""
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    whole = [line.removesuffix(b"\r") for line in stream.split(b"\n")]
    expected = [(line, number) for number, line in enumerate(whole, 1) if line.strip(b" \t\r")]

    for chunks in (cut(stream, places), cut(stream, range(len(stream)))):
        lines, numbers = decode(chunks)
        assert list(zip(lines, numbers, strict=True)) == expected


def test_blank_lines_are_skipped_and_counted() -> None:
    """A blank line yields nothing, but counts for the line numbers, as in an editor."""
    assert decode([b"\n{}\n \t\n\r\n[]"]) == ([b"{}", b"[]"], [2, 5])


def test_only_line_feeds_end_a_line() -> None:
    """U+2028, an escaped line feed and a CR in between are part of a line."""
    line = '{"a":"\u2028","b":"\\n"}\r '.encode()

    assert decode([line + b"\n"]) == ([line], [1])


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_line_above_the_bound_is_refused(size: int) -> None:
    """A line of more than max_line bytes raises, after the lines before it; one that just fits does not."""
    stream = b"x" * 100 + b"\r\n" + b"y" * 101 + b"\n" + b"z\n"
    decoder = JSONLDecoder(max_line=100)
    lines: list[bytes] = []

    with pytest.raises(ValueError, match="a line has more than 100 bytes"):
        for chunk in cut(stream, range(0, len(stream), size)):
            lines += decoder.feed(chunk)
        decoder.flush()

    assert lines == [b"x" * 100]
    with pytest.raises(ValueError, match="more than 100 bytes"):
        decoder.flush()


def test_an_endless_line_is_refused_while_it_comes() -> None:
    """Bytes without a line end are not kept beyond the bound."""
    decoder = JSONLDecoder(max_line=1000)

    with pytest.raises(ValueError, match="more than 1000 bytes"):
        for _ in range(20):
            decoder.feed(b"x" * 100)


def test_a_last_line_may_be_too_long() -> None:
    """The bound also applies to a line without an end."""
    decoder = JSONLDecoder(max_line=4)
    decoder.feed(b"12345")

    with pytest.raises(ValueError, match="more than 4 bytes"):
        decoder.flush()
