"""Content codings: decoded whatever the pieces, in bounded steps, and never truncated."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioapiclient._transport import decompression as _decompression
from aioapiclient._transport.decompression import (
    ACCEPT_ENCODING,
    CodingError,
    TruncatedError,
    _load_brotli,
    decoder_for,
)


def raw_deflate(data: bytes) -> bytes:
    """*data* as deflate without the zlib envelope."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def two_members(data: bytes) -> bytes:
    """*data* as gzip in two members."""
    return gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :])


ENCODERS = [
    ("gzip", gzip.compress),
    ("x-gzip", two_members),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
]


def decode(coding: str, data: bytes, *, size: int = 1 << 20, most: int = 1 << 20) -> bytes:
    """The decoded *data*, fed in pieces of *size*, in steps of *most*."""
    decoder = decoder_for([coding])
    assert decoder is not None
    output = []
    for start in range(0, len(data), size):
        output.append(decoder.decode(data[start : start + size], most))
        while decoder.pending:
            output.append(decoder.decode(b"", most))
    decoder.finish()
    # brotli grows its buffer in blocks, and may be past the bound by less than one.
    assert max(map(len, output), default=0) <= (most if coding != "br" else 2 * most + 32768)
    return b"".join(output)


@pytest.mark.parametrize(("coding", "encode"), ENCODERS)
@given(data=st.binary(max_size=3000), size=st.integers(1, 1000), most=st.integers(1, 1000))
def test_round_trip(coding: str, encode: Any, data: bytes, size: int, most: int) -> None:
    """Encoded data decodes to the original, whatever the pieces and the steps."""
    assert decode(coding, encode(data), size=size, most=most) == data


@pytest.mark.parametrize(("coding", "encode"), [pair for pair in ENCODERS if pair[1] is not two_members])
@given(data=st.binary(min_size=1, max_size=300), cut=st.integers(1, 400))
def test_cut(coding: str, encode: Any, data: bytes, cut: int) -> None:
    """Data without any number of its last bytes is reported as truncated."""
    encoded = encode(data)
    if cut < len(encoded):
        with pytest.raises(TruncatedError, match="ended early"):
            decode(coding, encoded[:-cut])


@pytest.mark.parametrize(("coding", "encode"), ENCODERS)
def test_rest(coding: str, encode: Any) -> None:
    """Bytes after the end do not belong to the body, and are an error."""
    for size in (1, 1 << 20):
        with pytest.raises(CodingError):
            decode(coding, encode(b"data") + b"garbage", size=size)


def test_cut_in_the_second_member() -> None:
    """A second gzip member that is cut is truncated, not ignored."""
    whole = gzip.compress(b"one") + gzip.compress(b"two")
    for cut in range(1, len(gzip.compress(b"two"))):
        with pytest.raises(TruncatedError):
            decode("gzip", whole[:-cut])
    assert decode("gzip", whole) == b"onetwo"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_nothing(coding: str) -> None:
    """An empty body is complete."""
    decoder = decoder_for([coding])
    assert decoder is not None
    assert decoder.decode(b"", 10) == b""
    decoder.finish()


@given(st.binary(min_size=1, max_size=100), st.sampled_from(["gzip", "deflate", "br"]), st.integers(1, 50))
def test_garbage(data: bytes, coding: str, most: int) -> None:
    """Any input is decoded or refused; no other exception is raised, and decoding always ends."""
    try:
        decoded = decode(coding, data, most=most)
    except (CodingError, TruncatedError):
        return
    assert isinstance(decoded, bytes)


@pytest.mark.parametrize(
    "values",
    [[], [""], ["identity"], ["Identity"], ["identity, identity"], [" ", "identity"], ["none"], ["UTF-8"]],
)
def test_identity(values: list[str]) -> None:
    """An absent coding, and identity, need no decoder."""
    assert decoder_for(values) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["foo"], "content coding 'foo' cannot be decoded, expected gzip, deflate, br"),
        (["compress"], "'compress' cannot be decoded"),
        (["zstd"], "'zstd' cannot be decoded"),
        (["a" * 500], f"'{'a' * 20}' cannot be decoded"),
        (["gzip, gzip"], "2 content codings are combined, expected at most one"),
        (["gzip", "br"], "2 content codings"),
        (["gzip"] * 50, "50 content codings"),
    ],
)
def test_refused(values: list[str], message: str) -> None:
    """An unknown coding and more than one are refused, by name and number."""
    with pytest.raises(CodingError, match=message):
        decoder_for(values)


def test_what_is_accepted_can_be_decoded() -> None:
    """Every requested coding has a decoder."""
    assert ACCEPT_ENCODING == "gzip, deflate, br"
    for coding in ACCEPT_ENCODING.split(", "):
        assert decoder_for([coding]) is not None


class OldDecompressor:
    """A decompressor of brotli 1.1: it has no bound."""

    def process(self, data: bytes) -> bytes:
        return data


def test_old_brotli(monkeypatch: pytest.MonkeyPatch) -> None:
    """A brotli package without bounded output is not used; without a usable one, br is not requested."""
    monkeypatch.setattr(brotli, "Decompressor", OldDecompressor)
    assert _load_brotli() is None
    monkeypatch.undo()
    assert _load_brotli() is brotli
    assert _decompression._brotli is brotli
