"""Server-sent events without I/O: takes bytes and returns events, exactly as in the WHATWG standard.

The standard reads line by line (HTML §9.2.6). This decoder first splits the stream at blank lines, with a
search in C, and parses an event when it is complete, so the cost of an event does not depend on how its bytes
were split. Lines are found before decoding, so U+2028 and similar characters do not end a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aioapiclient._patterns import lazily

__all__ = ["SSEDecoder", "ServerSentEvent", "TooLargeError"]

MAX_EVENT: Final = 8 << 20  # bytes; more than the 5 MiB that other clients send in one event of their tests

_BOM: Final = b"\xef\xbb\xbf"
# As numbers, because `in` finds a number much faster than bytes of length 1.
CR: Final = 13
LF: Final = 10
# Possessive, because the stack for backtracking would be larger than the text.
_COMMENTS: Final = lazily(rb"(?:(?::[^\n]*+)?+\n)++")
_LONGEST_RETRY: Final = 15  # digits; far above any wait, and far below the limit of int()
_DATA: Final = b"data: "
_UNCOUNTED: Final = 2  # the line feed that ends an event, and one left over from the event before it
# The maximum number of pieces of an incomplete event: small pieces take more memory than their bytes.
MOST_PIECES: Final = 8192
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
        "_in_data",
        "_max_event",
        "_started",
        "failed",
        "is_odd",
        "last_event_id",
        "longest",
        "pieces",
        "rest",
        "retry",
        "room",
        "separator",
        "start",
    )

    def __init__(self, *, last_event_id: str = "", max_event: int = MAX_EVENT) -> None:
        self.last_event_id: str = last_event_id
        """The Last-Event-ID for a reconnect; "" for none."""
        self.retry: int | None = None
        """The milliseconds before a reconnect that the stream set last; None if it set none."""
        self.failed: bool = False
        """Whether the next call raises, because an event that followed complete ones is too large."""
        self.is_odd: bool = True
        """Whether the start of the next chunk is special: a byte order mark, half of a CRLF, or a failure."""
        self.start: bytes = _DATA
        """The fields before the data of the last event; most events repeat them."""
        self.rest: bytes | None = None
        """The data so far of the incomplete event if it is `start` and some data without a line feed."""
        self.pieces: list[bytes] = []
        """The pieces of the incomplete event if it is large or has another form, with line feeds only."""
        self.separator: bytes = b"\n\n" + _DATA
        """The blank line after an event and the `start` of the next."""
        self.longest: int = max_event - len(_DATA)
        """The maximum size of the data after `start`, in bytes."""
        self._in_data = False  # whether `start` comes before the pieces, which then have no line feed
        self._max_event = max_event
        self.room: int = 0
        """How many more bytes `pieces` may have."""
        self._head = b""  # an incomplete byte order mark
        self._started = False
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that *chunk* completes.

        Args:
            chunk: The next bytes of the stream, split anywhere.

        Raises:
            ValueError: An event exceeds the limit. The events before it were returned.
        """
        if self.is_odd or CR in chunk:
            chunk = self.with_line_feeds(chunk)
        texts = self.complete(chunk)
        return self.parse(texts) if texts else []

    def flush(self) -> list[ServerSentEvent]:
        """End the stream. It never returns an event, because one without its blank line is dropped.

        A ``retry`` in the dropped event still applies, because the standard obeys it as soon as its line is
        complete.
        """
        if self.failed:
            raise self._too_large()
        *lines, _ = self._with_kept(b"").split(b"\n")
        self._keep_nothing()
        for line in lines:
            name, _, value = line.partition(b":")
            if name == b"retry":
                self._take_retry(value.removeprefix(b" "))
        return []

    # --- the steps of `feed`, and faster ones for the common forms of events

    def with_line_feeds(self, chunk: bytes) -> bytes:
        """Return *chunk* with every line end as a line feed, without a byte order mark and half of a CRLF.

        Args:
            chunk: The next bytes of the stream. It is changed only if `is_odd`, or if it contains a CR.
        """
        if self.failed:
            raise self._too_large()
        if not self._started:
            chunk = self._without_bom(chunk)
        if chunk:
            if self._after_cr and chunk.startswith(b"\n"):
                chunk = chunk[1:]
            self._after_cr = chunk.endswith(b"\r")
        self.is_odd = self._after_cr or not self._started
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def single_lines(self, chunk: bytes) -> list[bytes] | None:
        """Return the data of the events that *chunk* completes, if all have the form of the event before.

        The form is ``data: ...`` alone, or after ``event: ...`` with a name that is not special. For any
        other it returns None, and `complete` is still to take *chunk*. Data may be empty: a typed stream
        skips such an event.

        Args:
            chunk: The next bytes of the stream, with line feeds only, while `rest` is None.
        """
        pieces, is_first = self.pieces, not self._in_data
        if is_first:
            if pieces:
                if len(pieces) > 1 or not self.start.startswith(pieces[0]):
                    return None
                chunk = pieces[0] + chunk
            if not chunk.startswith(self.start) and not self._expect(chunk):
                return None
        # The blank line at the end of the chunk, perhaps with some of the next start after it.
        end = chunk.rfind(b"\n\n", -len(self.separator))
        tail = chunk[end + 2 :] if end >= 0 else b""
        if tail and not self.start.startswith(tail):
            return None
        data = chunk[len(self.start) if is_first else 0 : end if end >= 0 else None]
        found = [data]
        if LF in data:
            found = data.rsplit(self.separator)
            # With a look at each of them, an event of a chunk of 16 KiB took 1 % longer.
            if LF in b"".join(found):
                return None
        if not is_first:
            # Without a copy of the list: 4 MB in pieces of 1 KiB then take 0.97 of the time.
            pieces.append(found[0])
            found[0] = b"".join(pieces)
            pieces.pop()
        if len(data) > self.longest or len(found[0]) > self.longest:
            return None
        self._keep_nothing()
        if end < 0:
            self.rest = found.pop()
        elif tail:
            self._keep(tail, later=True)
        return found

    def end_between(self, found: list[bytes], text: bytes) -> bool:
        """End the last event of *found* at the blank line after its data, perhaps with some of the next
        `start`.

        It returns False and changes nothing if *found* has any other line feed.

        Args:
            found: The data of events that were split at the `separator`.
            text: The same data, joined. It has a line feed.
        """
        tail = text[text.index(b"\n") :]
        if len(tail) < 2 or not self.separator.startswith(tail) or not found[-1].endswith(tail):
            return False
        found[-1] = found[-1][: -len(tail)]
        self.rest = None
        if len(tail) > 2:
            self._keep_piece(tail[2:], in_data=False)
        return True

    def limit_pieces(self) -> None:
        """Join the pieces of the incomplete event, because they are many; raise if they have too many bytes.

        Raises:
            ValueError: The event exceeds the limit.
        """
        if self.room < 0:
            self._fail(later=False)
        else:
            self.pieces = [b"".join(self.pieces)]

    def complete(self, chunk: bytes) -> list[bytes]:
        """Return the text of each event that *chunk* completes, without its blank line.

        Args:
            chunk: The next bytes of the stream, with line feeds only.
        """
        if LF in chunk:
            pieces = self.pieces
            if pieces and pieces[-1].endswith(b"\n"):
                # The chunk before this one may have ended between the two line feeds of a blank line.
                pieces[-1] = pieces[-1][:-1]
                chunk = b"\n" + chunk
            texts = chunk.split(b"\n\n")
            if len(texts) > 1:
                rest = texts.pop()
                texts[0] = self._with_kept(texts[0])
                if not texts[-1].startswith(self.start):
                    self._expect(texts[-1])
                self._keep_nothing()
                if rest:
                    self._keep(_without_comments(rest), later=True)
                return texts
        if chunk:
            self.add(chunk)
        return []

    def _with_kept(self, chunk: bytes) -> bytes:
        """Return the text of the event that *chunk* completes."""
        if self.rest is not None:
            return b"".join((self.start, self.rest, chunk))
        if not self.pieces:
            return chunk
        return b"".join((self.start if self._in_data else b"", *self.pieces, chunk))

    def add(self, chunk: bytes) -> None:
        """Keep *chunk*, which completes no event.

        Args:
            chunk: The next bytes of the stream, with line feeds only.
        """
        if self.rest is not None:
            self._keep_piece(self.rest, in_data=True)
        elif not self.pieces:
            text = _without_comments(chunk)
            self._expect(text)
            self._keep(text, later=False)
            return
        if self._in_data and LF in chunk:
            self._keep_piece(self._with_kept(b""), in_data=False)
        self.pieces.append(chunk)
        self.room -= len(chunk)
        if self.room < 0 or len(self.pieces) > MOST_PIECES:
            self.limit_pieces()

    def _expect(self, text: bytes) -> bool:
        """Expect that the next events begin like the event *text*; return False if it has no common form."""
        start = _start_of(text)
        if not text.startswith(start):
            return False
        self.start = start
        self.separator = b"\n\n" + start
        self.longest = self._max_event - len(start)
        return True

    def _keep(self, text: bytes, *, later: bool) -> None:
        """Keep the start of the next event; nothing else is kept."""
        if len(text) > self._max_event + _UNCOUNTED:
            self._fail(later=later)
        elif text.startswith(self.start) and LF not in (data := text[len(self.start) :]):
            self.rest = data
        elif text:
            self._keep_piece(text, in_data=False)

    def _keep_nothing(self) -> None:
        self.rest = None
        if self.pieces:
            self.pieces, self._in_data = [], False

    def _keep_piece(self, text: bytes, *, in_data: bool) -> None:
        self.rest, self.pieces, self._in_data = None, [text], in_data
        self.room = (self.longest if in_data else self._max_event) + _UNCOUNTED - len(text)

    def common_lines(self, texts: Sequence[bytes]) -> list[bytes] | None:
        """Return the data of each event of *texts*, if all have one of the forms of `single_lines`.

        Here, each may have another name. It returns None for any other form: `parse` reads every form, at
        four times the cost.

        Args:
            texts: The texts of events, as `complete` returns them.
        """
        found: list[bytes] = []
        for text in texts:
            start = self.start if text.startswith(self.start) else _start_of(text)
            if not text.startswith(start):
                return None
            found.append(text[len(start) :])
        joined = b"".join(found)
        return None if LF in joined or len(joined) > self.longest else found

    def parse(self, texts: Sequence[bytes]) -> list[ServerSentEvent]:
        """Return the events of *texts*.

        Args:
            texts: The texts of events, as `complete` returns them.
        """
        events: list[ServerSentEvent] = []
        for text in texts:
            if len(text) > self._max_event and len(_without_comments(text)) > self._max_event:
                self._fail(later=bool(events))
                break
            event = self._parse_one(text)
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

    def _without_bom(self, chunk: bytes) -> bytes:
        chunk = self._head + chunk
        if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
            self._head = chunk
            return b""
        self._started = True
        return chunk.removeprefix(_BOM)

    def _fail(self, *, later: bool) -> None:
        self.failed = self.is_odd = True
        self._keep_nothing()
        if not later:
            raise self._too_large()

    def _too_large(self) -> TooLargeError:
        return TooLargeError(f"an event has more than {self._max_event} bytes")


def _without_comments(text: bytes) -> bytes:
    """Return the text of an event without the comment lines and empty lines at its beginning.

    Servers keep a stream alive with comments, some without a blank line after them.
    """
    found = _COMMENTS.match(text) if text.startswith((b":", b"\n")) else None
    return text[found.end() :] if found else text


def _start_of(text: bytes) -> bytes:
    """Return the fields before the data of the first event in *text*, if they have a common form."""
    end = text.find(b"\n")
    if text.startswith(b"event: ") and text.startswith(_DATA, end + 1) and text[7:end] not in _SPECIAL:
        return text[: end + 1 + len(_DATA)]
    return _DATA
