"""Server-sent events without I/O: takes bytes and returns events, exactly as in the WHATWG standard.

The standard reads line by line (HTML §9.2.6). This decoder first splits the stream at blank lines, with a
search in C, and parses an event when it is complete, so the cost of an event does not depend on how its bytes
were split. Lines are found before decoding, so U+2028 and similar characters do not end a line.
"""

from __future__ import annotations

from typing import Final

from aioapiclient._patterns import lazily

__all__ = ["SSEDecoder", "ServerSentEvent", "TooLargeError"]

MAX_EVENT: Final = 8 << 20  # bytes; more than the 5 MiB that other clients send in one event of their tests

_BOM: Final = b"\xef\xbb\xbf"
# As numbers, because `in` finds a number much faster than bytes of length 1.
_CR: Final = 13
_LF: Final = 10
# Possessive, because the stack for backtracking would be larger than the text.
_COMMENTS: Final = lazily(rb"(?::[^\n]*+\n)++")
_LONGEST_RETRY: Final = 15  # digits; far above any wait, and far below the limit of int()
_DATA: Final = b"data: "
_UNCOUNTED: Final = 2  # the line feed that ends an event, and one left over from the event before it
# The maximum number of pieces of an incomplete event: small pieces take more memory than their bytes.
_MOST_PIECES: Final = 8192
# The names of events that a typed stream does not decode; see `SSEDecoder.single_lines`.
_SPECIAL: Final = frozenset({b"error", b"ping"})


class TooLargeError(ValueError):
    """An event or a line exceeds the limit."""


class ServerSentEvent:
    """One event of a stream. For JSON lines, an event is a line, and only its `data` is meaningful.

    Args:
        event: The type, ``"message"`` if the stream names none.
        data: The data; lines joined by line feeds.
        id: The last event ID so far.
        retry: The reconnection time in milliseconds, if the event sets one.
        has_id: Whether this event itself has an ID.
    """

    __slots__ = ("_text", "event", "has_id", "id", "raw", "retry")

    def __init__(
        self,
        event: str = "message",
        data: str | bytes = "",
        id: str = "",
        retry: int | None = None,
        has_id: bool = False,
    ) -> None:
        self.event: str = event
        """The name of the event; ``"message"`` if it has none."""
        self.raw: bytes = data if isinstance(data, bytes) else data.encode()
        """`data` as received bytes."""
        self.id: str = id
        """The last event ID of the stream so far, as in the standard; "" without one."""
        self.retry: int | None = retry
        """The milliseconds to wait before a reconnect, if this event sets them."""
        self.has_id: bool = has_id
        """Whether this event itself has an ID, instead of inheriting it from an earlier one."""
        self._text: str | None = None

    @property
    def data(self) -> str:
        """The data lines, joined by line feeds; invalid UTF-8 becomes U+FFFD."""
        if self._text is None:
            self._text = self.raw.decode("utf-8", "replace")
        return self._text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ServerSentEvent):
            return NotImplemented
        mine = (self.event, self.data, self.id, self.retry)
        return mine == (other.event, other.data, other.id, other.retry)

    def __hash__(self) -> int:
        return hash((self.event, self.data, self.id, self.retry))

    def __repr__(self) -> str:
        return f"<ServerSentEvent {self.event[:40]!r}, {len(self.raw)} bytes>"


class SSEDecoder:
    """A decoder of one event stream (HTML §9.2) that does no I/O: feed it bytes, and it returns complete
    events.

    As in the standard, an event without data is not dispatched, and an event that the end of the stream cuts
    off is dropped.

    Args:
        last_event_id: The last event ID before a reconnect, which remains in effect, as in browsers.
        max_event: The maximum size of one event in bytes, 8 MiB by default.
    """

    __slots__ = (
        "_after_cr",
        "_head",
        "_is_odd",
        "_max_event",
        "_pieces",
        "_room",
        "_started",
        "failed",
        "last_event_id",
        "retry",
        "start",
    )

    def __init__(self, *, last_event_id: str = "", max_event: int = MAX_EVENT) -> None:
        self.last_event_id: str = last_event_id
        """The Last-Event-ID for a reconnect; "" for none."""
        self.retry: int | None = None
        """The milliseconds before a reconnect that the stream set last; None if it set none."""
        self.failed: bool = False
        """Whether the next call raises, because an event that followed complete ones is too large."""
        self._max_event = max_event
        self._pieces: list[bytes] = []  # of the incomplete event, with line feeds only
        self._room = max_event + _UNCOUNTED  # how many more bytes they may have
        self._head = b""  # an incomplete byte order mark
        self._started = False
        self._after_cr = False
        # Whether the start of the next chunk is special: a byte order mark, half of a CRLF, or a failure.
        self._is_odd = True
        self.start: bytes = _DATA
        """The fields before the data of the last event; most events repeat them."""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that *chunk* completes.

        Args:
            chunk: The next bytes of the stream, split anywhere.

        Raises:
            ValueError: An event exceeds the limit. The events before it were returned.
        """
        text = self.complete(chunk)
        return self.parse(text) if text else []

    def flush(self) -> list[ServerSentEvent]:
        """End the stream. It never returns an event, because one without its blank line is dropped.

        A ``retry`` in the dropped event still applies, because the standard obeys it as soon as its line is
        complete.
        """
        if self.failed:
            raise self._too_large()
        *lines, _ = b"".join(self._pieces).split(b"\n")
        self._pieces.clear()
        self._room = self._max_event + _UNCOUNTED
        for line in lines:
            name, _, value = line.partition(b":")
            if name == b"retry":
                self._take_retry(value.removeprefix(b" "))
        return []

    # --- two separate steps, so that a stream can use a faster second step

    def complete(self, chunk: bytes) -> bytes:
        """Return the events that *chunk* completes as one text, with line feeds only.

        Args:
            chunk: The next bytes of the stream.
        """
        if self._is_odd or _CR in chunk:
            chunk = self._with_line_feeds(chunk)
        pieces = self._pieces
        if _LF in chunk:
            end = chunk.rfind(b"\n\n") + 2
            if end == len(chunk) and not pieces:
                return chunk
            # A chunk may end between the two line feeds of the blank line.
            if end > 1 or (pieces and chunk.startswith(b"\n") and pieces[-1].endswith(b"\n")):
                text = b"".join((*pieces, chunk[:end]))
                self._keep(chunk[end:])
                return text
        if not pieces:
            chunk = _without_comments(chunk)
        if not chunk:
            return b""
        pieces.append(chunk)
        room = self._room = self._room - len(chunk)
        if room < 0:
            self._fail(later=False)
        elif len(pieces) > _MOST_PIECES:
            self._pieces = [b"".join(pieces)]
        return b""

    def _keep(self, rest: bytes) -> None:
        """Keep the start of the next event."""
        # Servers keep a stream alive with comments, some without a blank line after them.
        rest = _without_comments(rest)
        self._pieces = [rest] if rest else []
        self._room = self._max_event + _UNCOUNTED - len(rest)
        if self._room < 0:
            self._fail(later=True)

    def single_lines(self, text: bytes) -> list[bytes] | None:
        """Return the data of each event in a text of complete events, if all have one of the two common
        forms.

        The forms are ``data: ...`` alone, or after ``event: ...`` with a name that is not special. It returns
        None for any other text: `parse` reads every form, at four times the cost. Data may be empty, although
        such an event is not dispatched.

        Args:
            text: Whole events, as `complete` returns them.
        """
        start = self.start
        if not text.startswith(start):
            start = self.start = _start_of(text)
            if not text.startswith(start):
                return None
        rest = text[len(start) : -2]
        if _LF not in rest:
            return [rest]
        found = rest.split(b"\n\n" + start)
        # On the joined data: with a look at each of them, an event of a chunk of 16 KiB took 1 % longer.
        if _LF in b"".join(found):
            return None if start == _DATA else _named_data(text)
        return found

    def parse(self, text: bytes) -> list[ServerSentEvent]:
        """Return the events in a text of complete events.

        Args:
            text: Whole events, as `complete` returns them.
        """
        events: list[ServerSentEvent] = []
        may_be_too_large = len(text) > self._max_event
        for block in text.split(b"\n\n"):
            if may_be_too_large and len(_without_comments(block.strip(b"\n"))) > self._max_event:
                self._fail(later=bool(events))
                break
            event = self._parse_one(block)
            if event is not None:
                events.append(event)
        return events

    def _parse_one(self, block: bytes) -> ServerSentEvent | None:
        """Dispatch one event (HTML §9.2.6); return None if it has no data."""
        name, retry, has_id = b"", None, False
        data: list[bytes] = []
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            if value[:1] == b" ":
                value = value[1:]
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value
            elif field == b"id" and b"\0" not in value:
                self.last_event_id = value.decode("utf-8", "replace")
                has_id = True
            elif field == b"retry":
                retry = self.retry if self._take_retry(value) else retry
        if not data:
            return None
        event = name.decode("utf-8", "replace") or "message"
        return ServerSentEvent(event, b"\n".join(data), self.last_event_id, retry, has_id)

    def _take_retry(self, value: bytes) -> bool:
        # bytes.isdigit accepts only ASCII digits, like the standard.
        if not value.isdigit():
            return False
        digits = value.lstrip(b"0")
        self.retry = int(digits or b"0") if len(digits) <= _LONGEST_RETRY else 10**_LONGEST_RETRY
        return True

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        """Return *chunk* with every line end as a line feed, without a byte order mark and half of a CRLF."""
        if self.failed:
            raise self._too_large()
        if not self._started:
            chunk = self._without_bom(chunk)
        if chunk:
            if self._after_cr and chunk.startswith(b"\n"):
                chunk = chunk[1:]
            self._after_cr = chunk.endswith(b"\r")
        self._is_odd = self._after_cr or not self._started
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _without_bom(self, chunk: bytes) -> bytes:
        chunk = self._head + chunk
        if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
            self._head = chunk
            return b""
        self._started = True
        return chunk.removeprefix(_BOM)

    def _fail(self, *, later: bool) -> None:
        self.failed = self._is_odd = True
        self._pieces.clear()
        if not later:
            raise self._too_large()

    def _too_large(self) -> TooLargeError:
        return TooLargeError(f"an event has more than {self._max_event} bytes")


def _without_comments(text: bytes) -> bytes:
    """Return the text of an event without the complete comment lines at its beginning."""
    found = _COMMENTS.match(text) if text.startswith(b":") else None
    return text[found.end() :] if found else text


def _start_of(text: bytes) -> bytes:
    """Return the fields before the data of the first event in *text*, if they have a common form."""
    end = text.find(b"\n")
    if text.startswith(b"event: ") and text.startswith(_DATA, end + 1) and text[7:end] not in _SPECIAL:
        return text[: end + 1 + len(_DATA)]
    return _DATA


def _named_data(text: bytes) -> list[bytes] | None:
    """Return the data of events that all have a name, but not all the same one; else None."""
    found: list[bytes] = []
    for block in text[7:-2].split(b"\n\nevent: "):
        name, _, data = block.partition(b"\ndata: ")
        if not data or _LF in data or _LF in name or name in _SPECIAL:
            return None
        found.append(data)
    return found
