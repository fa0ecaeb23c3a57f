"""The standard for server-sent events, implemented literally for comparison, and random streams."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from hypothesis import strategies as st

# The parts of streams, chosen so that random ones hit every rule: fields, line ends, halves of characters.
PIECES = st.sampled_from(
    [
        *(
            b"data: x",
            b"data:",
            b"data",
            b"data:  y",
            b"data: [1]\n\n",
            b"event: e",
            b"event:",
            b"event: error",
        ),
        *(
            b"id: 7",
            b"id",
            b"id: a\0b",
            b"id: \xc3\xa9",
            b"retry: 10",
            b"retry: 1x",
            b"retry:",
            b"retry: 007",
        ),
        *(
            b":",
            b": note",
            b"other: z",
            b" data: no",
            b"\n",
            b"\n",
            b"\n",
            b"\n\n",
            b"\r",
            b"\r\n",
            b"\r\n\r\n",
        ),
        *(
            b"\xef\xbb\xbf",
            b"\xef",
            b"\xbb",
            b"\xe2\x80\xa8",
            b"\xe2\x80",
            b"\xc3",
            b"\xa9",
            b"\xff",
            b"\x0b",
            b" ",
        ),
        *(
            b"event: e\ndata: 1\n\n",
            b"event: ping\ndata: 2\n\n",
            b"event: e\ndata: 5\n\nevent: ping\ndata: 6\n\n",
            b"data: 3\n\ndata: 4\n\n",
        ),
    ]
)
STREAMS = st.lists(PIECES, max_size=40).map(b"".join)


# The same, but with JSON data in most events, so that a typed stream gets far.
JSON_STREAMS = st.lists(
    st.sampled_from(
        [
            *(b"data: 1\n\n", b"data: [2]\n\n", b"data: 3\r\n\r\n", b"data: 4\n", b"data:5\n\n"),
            *(b"event: e\ndata: 6\n\n", b"event: e\ndata: 7\n\n", b"event: f\ndata: 8\n\n"),
            *(b"event: e\ndata: 9\n\nevent: e\ndata: 10\n\n", b"data: 11\n\ndata: 12\n\n"),
            *(b"event: ping\ndata: 13\n\n", b"event: error\ndata: 14\n\n", b"data: [DONE]\n\n"),
            *(b"data: \n\n", b"event: e\ndata: \n\n", b"data\n\n", b"data: x\n\n", b"event: g\n"),
            *(b'data: "\xff"\n\n', b'event: e\ndata: "\xc3', b'\xa9"\n\n', b"\xef\xbb\xbf"),
            *(b"id: 1\n", b": note\n", b"retry: 5\n", b"\n", b"\r", b"\r\n"),
        ]
    ),
    max_size=30,
).map(b"".join)


class Seen(NamedTuple):
    """The result of one stream."""

    events: list[tuple[str, str, str]]
    last_event_id: str
    retry: int | None


def by_the_letter(stream: bytes) -> Seen:
    """HTML §9.2.6, implemented literally: decode everything, then process line by line, with its three
    buffers.
    """
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    events: list[tuple[str, str, str]] = []
    data, name, id_buffer, last_event_id, retry = "", "", "", "", None
    *lines, _ = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            last_event_id = id_buffer
            if data:
                events.append((name or "message", data[:-1], last_event_id))
            data = name = ""
        elif field == "event":
            name = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            id_buffer = value
        elif field == "retry" and value and all(digit in "0123456789" for digit in value):
            retry = int(value)
    return Seen(events, last_event_id, retry)


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """*stream* in pieces, cut at *places*."""
    bounds = [0, *sorted(places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(bounds)]
