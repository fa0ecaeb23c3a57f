"""Content codings (RFC 9110 §8.4): decompression in bounded steps, without I/O.

A decoder takes bytes as they arrive. Each step returns at most about as many bytes as requested, so that a
few kilobytes that expand to gigabytes use only the memory of one step. At the end it reports whether the data
was complete, which zlib itself does not.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Final, Protocol

from aiohttp import compression_utils

from aioapiclient._codecs.content_type import codings_of

__all__ = ["ACCEPT_ENCODING", "CodingError", "Decoder", "TruncatedError", "decoder_for"]

# zlib copies its unused input, so a chunk with a thousand small members would be copied a thousand times.
_SLICE: Final = 16 << 10
_STEPS: Final = 256  # slices, or members, before other tasks run


class CodingError(Exception):
    """The content cannot be decoded: the coding is unknown, or the data does not match it."""


class TruncatedError(Exception):
    """The compressed data ended early."""


class Decoder(Protocol):
    """Decodes one content coding of a body, step by step."""

    pending: bool
    """Whether more output is available without new input."""

    def decode(self, data: bytes, most: int) -> bytes:
        """Return up to about *most* decoded bytes; pass empty *data* while output is pending.

        Raises:
            CodingError: The data does not match the coding.
        """
        ...

    def finish(self) -> None:
        """Raise `TruncatedError` unless the data was complete. No data at all is an empty body."""
        ...


class _Zlib:
    """gzip (RFC 1952) with one or several members, and deflate: zlib (RFC 1950) or raw (RFC 1951)."""

    __slots__ = ("_held", "_name", "_rest", "_stream", "_whole", "pending")

    def __init__(self, name: str) -> None:
        self._name = name
        self._stream: Any = None
        self._rest = memoryview(b"")
        self._held = False  # whether zlib holds back output that exceeded the limit
        self._whole = True
        self.pending = False

    def decode(self, data: bytes, most: int) -> bytes:
        """Return up to about *most* decoded bytes."""
        if data:
            self._rest = memoryview(bytes(self._rest) + data if self._rest else data)
            self._whole = False
        pieces: list[bytes] = []
        self.pending = True
        for _ in range(_STEPS):
            started = self._held or (
                bool(self._rest) and (self._stream is not None or self._begin(self._rest))
            )
            if not started:
                self.pending = False
                break
            pieces.append(self._step(most))
            most -= len(pieces[-1])
            if most <= 0:
                self.pending = self._held or bool(self._rest)
                break
        return b"".join(pieces)

    def _step(self, most: int) -> bytes:
        stream: Any = self._stream
        piece = self._rest[:_SLICE]
        try:
            output: bytes = stream.decompress(piece, most)
        except zlib.error:
            raise CodingError(f"the body is not valid {self._name}") from None
        left = stream.unused_data if stream.eof else stream.unconsumed_tail
        self._rest = self._rest[len(piece) - len(left) :]
        # Input that was fully consumed may still have output, held back by the limit.
        self._held = not stream.eof and len(output) == most
        if stream.eof:
            self._end_member()
        return output

    def _begin(self, data: memoryview) -> bool:
        # 16 more than the window makes zlib expect gzip. The first two bytes distinguish the kinds of
        # deflate: according to the RFC, it has a zlib envelope, in which they check each other. Old servers
        # omit the envelope.
        if self._name == "gzip":
            window = 31
        elif len(data) < 2:
            return False
        else:
            has_envelope = data[0] & 0x0F == 8 and data[0] >> 4 <= 7 and (data[0] << 8 | data[1]) % 31 == 0
            window = 15 if has_envelope else -15
        self._stream = zlib.decompressobj(window)
        return True

    def _end_member(self) -> None:
        self._whole = not self._rest
        if self._name == "gzip":
            self._stream = None
        elif self._rest:
            raise CodingError(f"bytes follow the end of the {self._name} data")

    def finish(self) -> None:
        """Raise `TruncatedError` unless the data was complete."""
        if not self._whole:
            raise TruncatedError(f"the {self._name} data ended early")


class _Brotli:
    """br (RFC 7932), with a brotli whose output can be limited."""

    __slots__ = ("_started", "_stream", "pending")

    def __init__(self) -> None:
        self._stream = _brotli.Decompressor()
        self._started = False
        self.pending = False

    def decode(self, data: bytes, most: int) -> bytes:
        """Return up to about *most* decoded bytes."""
        if data and self._stream.is_finished():
            raise CodingError("bytes follow the end of the br data")
        self._started = self._started or bool(data)
        try:
            output: bytes = self._stream.process(data, output_buffer_limit=most)
        except _brotli.error:
            raise CodingError("the body is not valid br") from None
        # Input that was fully consumed may still have output, held back by the limit.
        full = len(output) >= most or not self._stream.can_accept_more_data()
        self.pending = full and not self._stream.is_finished()
        return output

    def finish(self) -> None:
        """Raise `TruncatedError` unless the data was complete."""
        if self._started and not self._stream.is_finished():
            raise TruncatedError("the br data ended early")


def _load_brotli() -> Any:
    """Import brotli or brotlicffi, 1.2 or later, because the output of older versions cannot be limited."""
    if not getattr(compression_utils, "HAS_BROTLI", True):
        return None  # aiohttp has looked for both
    for name in ("brotli", "brotlicffi"):
        try:
            module: Any = import_module(name)
            module.Decompressor().process(b"", output_buffer_limit=1)
        except (ImportError, AttributeError, TypeError):
            continue
        return module
    return None


_brotli: Any = _load_brotli()

ACCEPT_ENCODING: Final = "gzip, deflate" if _brotli is None else "gzip, deflate, br"
"""The accepted codings. zstd is not one of them, because its sender determines the memory of the window."""

_DECODERS: Final[dict[str, Callable[[], Decoder]]] = {
    "gzip": lambda: _Zlib("gzip"),
    "x-gzip": lambda: _Zlib("gzip"),
    "deflate": lambda: _Zlib("deflate"),
}
if _brotli is not None:
    _DECODERS["br"] = _Brotli


def decoder_for(content_encoding: Iterable[str]) -> Decoder | None:
    """Return the decoder for the values of the Content-Encoding header, or None if nothing is encoded.

    Raises:
        CodingError: The coding is unknown, or several codings are combined. Two are never requested, and each
            may multiply the size of a decompression bomb by a thousand.
    """
    codings = codings_of(content_encoding)
    if not codings:
        return None
    if len(codings) > 1:
        raise CodingError(f"{len(codings)} content codings are combined, expected at most one")
    make = _DECODERS.get(codings[0])
    if make is None:
        raise CodingError(f"content coding {codings[0][:20]!r} cannot be decoded, expected {ACCEPT_ENCODING}")
    return make()
