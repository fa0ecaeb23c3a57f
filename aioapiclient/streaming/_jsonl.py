"""JSON lines without I/O: takes bytes, and returns the non-blank lines as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ._sse import CR, TooLargeError

__all__ = ["JSONLDecoder"]

MAX_LINE: Final = 8 << 20  # bytes; the same limit as for a server-sent event


class JSONLDecoder:
    """A decoder of one stream of JSON lines that does no I/O: feed it bytes, and it returns complete lines.

    A line ends only with LF or CRLF; U+2028, or an escaped line feed in a string, is part of the line. Blank
    lines are skipped, and the last line needs no line end.

    Args:
        max_line: The maximum size of one line in bytes, 8 MiB by default.
    """

    __slots__ = ("_buffer", "_max_line", "_seen", "failed", "numbers")

    def __init__(self, *, max_line: int = MAX_LINE) -> None:
        self.numbers: Sequence[int] = ()
        """The numbers of the lines returned last, counted from 1, including blank lines."""
        self.failed: bool = False
        """Whether the next call raises, because a line that followed complete ones is too large."""
        self._max_line = max_line
        self._buffer = bytearray()  # the incomplete line
        self._seen = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that *chunk* completes, without their line ends.

        Args:
            chunk: The next bytes of the stream, split anywhere.

        Raises:
            ValueError: A line exceeds the limit. The lines before it were returned.
        """
        if self.failed:
            raise self._too_large()
        buffer = self._buffer
        end = chunk.rfind(b"\n")
        lines: list[bytes] = []
        if end >= 0:
            text = chunk[:end]
            if buffer:
                buffer += text
                text = bytes(buffer)
                buffer.clear()
            lines = self._split(text)
            chunk = chunk[end + 1 :]
        buffer += chunk
        # One more for a CR that may turn out to be half of a line end.
        if len(buffer) > self._max_line + 1:
            self._fail(later=bool(lines))
        return lines

    def flush(self) -> list[bytes]:
        """Return the last line, if the stream ended without a line end.

        Raises:
            ValueError: The line exceeds the limit.
        """
        if self.failed:
            raise self._too_large()
        text = bytes(self._buffer)
        self._buffer.clear()
        return self._split(text) if text else []

    def _split(self, text: bytes) -> list[bytes]:
        if CR in text:
            text = text.replace(b"\r\n", b"\n").removesuffix(b"\r")
        lines = text.split(b"\n")
        first = self._seen + 1
        self._seen += len(lines)
        self.numbers = range(first, self._seen + 1)
        if len(text) > self._max_line:
            lines = self._within_bound(lines)
        kept = [number for number, line in zip(self.numbers, lines, strict=False) if line.strip(b" \t\r")]
        if len(kept) < len(lines):
            lines = [lines[number - first] for number in kept]
            self.numbers = kept
        return lines

    def _within_bound(self, lines: list[bytes]) -> list[bytes]:
        for index, line in enumerate(lines):
            if len(line) > self._max_line:
                self._fail(later=index > 0)
                return lines[:index]
        return lines

    def _fail(self, *, later: bool) -> None:
        self.failed = True
        self._buffer.clear()
        if not later:
            raise self._too_large()

    def _too_large(self) -> TooLargeError:
        return TooLargeError(f"a line has more than {self._max_line} bytes")
