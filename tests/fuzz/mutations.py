"""Strategies shared by the files beside this one: valid input, broken in a few places."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

# Bytes on which parsers fail, to be inserted anywhere.
NASTY = [
    *(b"\0", b"\r\n", b"\r", b"\n", b"\r\n\r\n", b": ", b" ", b"\t", b"\xff", b"\xc3", b"\xef\xbb\xbf"),
    *(b"0", b"-1", b"9" * 30, b"+", b"0x", b"e999", b"\xd9\xa2", b",", b";", b'"', b"\\", b"<", b">"),
    *(b"{", b"}", b"[", b"]", b"%", b"/", b"//", b"null", b"data: ", b"HTTP/1.1 200 OK\r\n\r\n"),
]


@st.composite
def mutated(draw: st.DrawFn, good: Sequence[bytes], most: int = 4) -> bytes:
    """One of *good*, changed up to *most* times: bytes flipped, cut, inserted, duplicated, or taken from
    another one.
    """
    data = draw(st.sampled_from(good))
    for _ in range(draw(st.integers(0, most))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.integers(0, 8))
        match draw(st.sampled_from(["flip", "drop", "cut", "insert", "duplicate", "splice"])):
            case "flip":
                mask = draw(st.integers(1, 255))
                data = data[:start] + bytes(byte ^ mask for byte in data[start:end]) + data[end:]
            case "drop":
                data = data[:start] + data[end:]
            case "cut":
                data = data[:start]
            case "insert":
                data = data[:start] + draw(st.sampled_from(NASTY) | st.binary(max_size=4)) + data[start:]
            case "duplicate":
                data = data[:end] + data[start:]
            case "splice":
                other = draw(st.sampled_from(good))
                data = data[:start] + other[draw(st.integers(0, len(other))) :]
    return data


@st.composite
def pieces(draw: st.DrawFn, data: bytes, most: int = 4) -> list[bytes]:
    """*data* in up to *most* + 1 pieces, some of them possibly empty."""
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=most)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
