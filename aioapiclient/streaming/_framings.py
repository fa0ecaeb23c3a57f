"""The two framings of a stream: server-sent events, and JSON lines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

from aioapiclient._cancel_scope import Scope
from aioapiclient._response.response import AsyncAPIResponse
from aioapiclient.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStreamError,
    APITimeoutError,
    InternalServerError,
    InvalidRequestError,
    RateLimitError,
    RequestTimeoutError,
)

from ._error_objects import has_error
from ._jsonl import MAX_LINE, JSONLDecoder
from ._reconnect import ReconnectPolicy, Resumption
from ._sse import CR, LF, MAX_EVENT, MOST_PIECES, ServerSentEvent, SSEDecoder
from ._stream import AsyncStream, MakeError, Sleep, Until, stream_error

__all__ = ["JSONLStream", "SSEStream"]

T_co = TypeVar("T_co", covariant=True)

_LONGEST_ID: Final = 100  # characters; a note does not repeat a longer event ID
# Errors of a reconnect after which another one is attempted; the call's own retries are used up by then.
_RETRIABLE: Final = (APIConnectionError, InternalServerError, RateLimitError, RequestTimeoutError)


class SSEStream(AsyncStream[T_co]):
    """A stream of server-sent events.

    With *reconnect*, a connection that breaks or ends is reopened as in browsers (HTML §9.2.3): with the same
    call, its auth and retries, and ``Last-Event-ID``. The stream resumes after the last event ID, so events
    are neither skipped nor repeated if the server supports IDs. It continues until an end marker or a 204. It
    raises `APIStreamError` after an error status, after a response that is not an event stream, and after too
    many reconnects in a row without a new event.

    Args:
        response: An unread response: its body is streamed.
        cast_to: The type of one event's data. Plain data by default; ``bytes``, ``str`` and
            `ServerSentEvent` yield the data undecoded.
        make_error: Creates the error to raise for an event that reports one. An `APIStreamError` by default.
        until: A function of a `ServerSentEvent` that returns True for the event that ends the stream. None
            (the default) recognises ``[DONE]`` only.
        reconnect: Whether to reconnect. True, or a `ReconnectPolicy`, needs a response that a client opened
            for streaming. False by default.
        sleep: An async function that waits a number of seconds before a reconnect. `asyncio.sleep` by
            default.

    Raises:
        TypeError: An argument has the wrong type.
    """

    accept: ClassVar[str] = "text/event-stream"
    """The Accept header of the request."""

    request_headers: ClassVar[Mapping[str, str]] = {"Cache-Control": "no-cache"}
    """Other headers of the request, unless the caller sets them."""

    media_types: ClassVar[frozenset[str]] = frozenset({"text/event-stream"})
    """The content types of server-sent events."""

    max_event: ClassVar[int] = MAX_EVENT
    """The maximum size of one event in bytes, 8 MiB."""

    __slots__ = ("_again", "_decoder", "_resumption", "_scope")

    def __init__(
        self,
        response: AsyncAPIResponse[Any],
        cast_to: Any = Any,
        *,
        make_error: MakeError = stream_error,
        until: Until | None = None,
        reconnect: bool | ReconnectPolicy = False,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.check_options(until, reconnect)
        self._again = response._again
        self._resumption: Resumption | None = None
        self._scope: Scope | None = None  # the scope of the current reconnect
        if reconnect:
            if self._again is None:
                raise TypeError("reconnect needs a response that a client opened for streaming")
            self._resumption = Resumption(ReconnectPolicy() if reconnect is True else reconnect)
        super().__init__(response, cast_to, make_error=make_error, until=until, sleep=sleep)
        if self._direct:
            self._direct_up_to = self.max_event

    @classmethod
    def check_options(cls, until: object, reconnect: object) -> None:
        """Check the options before the request is sent.

        Args:
            until: A function of an event, or None.
            reconnect: A bool, or a `ReconnectPolicy`.

        Raises:
            TypeError: An option has the wrong type.
        """
        super().check_options(until, reconnect=False)
        if not isinstance(reconnect, bool | ReconnectPolicy):
            raise TypeError(f"reconnect must be a bool or a ReconnectPolicy, not {type(reconnect).__name__}")

    @property
    def last_event_id(self) -> str:
        """The ID of the last event that was yielded, for resuming the stream yourself."""
        return self._last_id

    def _start(self) -> None:
        last_event_id = "" if self._resumption is None else self._resumption.last_event_id
        self._decoder = SSEDecoder(last_event_id=last_event_id, max_event=self.max_event)
        self._usual_start = None

    def _feed(self, chunk: bytes) -> Sequence[ServerSentEvent]:
        decoder = self._decoder
        if decoder.is_odd or CR in chunk:
            chunk = decoder.with_line_feeds(chunk)
        return self._parse(decoder.complete(chunk))

    def _direct_values(self, chunk: bytes) -> Iterable[Any]:
        decoder = self._decoder
        if decoder.is_odd or CR in chunk:
            chunk = decoder.with_line_feeds(chunk)
            if not chunk:
                return ()
        pieces, rest = decoder.pieces, decoder.rest
        if pieces and LF not in chunk:
            # This is `add`, without a call, and comes first: 4 MB in chunks of 1 KiB then take 0.96 of the
            # time (CPython 3.15).
            pieces.append(chunk)
            decoder.room = room = decoder.room - len(chunk)
            if room < 0 or len(pieces) > MOST_PIECES:
                decoder.limit_pieces()
            return ()
        if rest is None:
            return self._first_values(chunk)
        # Most chunks begin within data. This does for them what `single_lines` does for others. As a method
        # of the decoder, an event of a chunk of 1,460 bytes would take 1.02 times as long (CPython 3.15).
        found = chunk.rsplit(decoder.separator)
        if len(found) == 1 and LF not in chunk:
            decoder.add(chunk)
            return ()
        found[0] = rest + found[0]
        joined = b"".join(found)
        if len(joined) > decoder.longest:
            return self._other_values(chunk)
        if LF not in joined:
            decoder.rest = found.pop()
        elif not decoder.end_between(found, joined):
            return self._other_values(chunk)
        if self._resumption is not None:
            self._resumption.progressed()
        return self._decode_found(found, joined)

    def _first_values(self, chunk: bytes) -> Iterable[Any]:
        """Return what `_direct_values` returns, for any chunk with line feeds only, while `rest` is None."""
        decoder = self._decoder
        start = self._usual_start
        if start is not None and chunk.startswith(start) and chunk.endswith(b"\n\n"):
            # Without this case, an event of a chunk of two takes 1.15 times as long (CPython 3.15).
            whole = chunk[len(start) : -2].rsplit(decoder.separator)
            joined = b"".join(whole)
            if LF not in joined and len(joined) <= decoder.longest:
                return self._decode_found(whole, joined)
        self._usual_start = None
        found = decoder.single_lines(chunk)
        if found is None:
            return self._other_values(chunk)
        if decoder.rest is None and not decoder.pieces:
            self._usual_start = decoder.start
        return self._new_values(found)

    def _other_values(self, chunk: bytes) -> Iterable[Any]:
        """Return what `_direct_values` returns, for any chunk with line feeds only."""
        decoder = self._decoder
        texts = decoder.complete(chunk)
        found = decoder.common_lines(texts)
        if found is None:
            return self._one_by_one(self._payloads(self._parse(texts)), self._decode_directly)
        return self._new_values(found)

    def _new_values(self, found: list[bytes]) -> Iterable[Any]:
        """Return the values of new events, of which *found* is the data, and record the progress."""
        if not found:
            return ()
        if self._resumption is not None:
            self._resumption.progressed()
        return self._decode_found(found, b"".join(found))

    def _parse(self, texts: Sequence[bytes]) -> Sequence[ServerSentEvent]:
        events = self._decoder.parse(texts)
        return events if self._resumption is None else self._resumption.new(events)

    def _classify_undecodable(self, data: bytes) -> Any:
        # The standard replaces invalid UTF-8 by U+FFFD (HTML §9.2.6), and continues.
        repaired = data.decode("utf-8", "replace").encode()
        if repaired != data and self._watches and has_error(repaired):
            self._look_for_error(repaired)
        return super()._classify_undecodable(repaired)

    # --- reconnecting

    async def _resumed(self, error: APIError | None) -> bool:
        resumption = self._resumption
        if resumption is None or self._closed:
            return await super()._resumed(error)
        cause: APIError | None = None
        try:
            await super()._resumed(error)
        except APIStreamError as broken:
            if broken.final:
                raise
            cause = broken
        self._decoder.flush()
        resumption.disconnected(self._decoder.last_event_id, self._decoder.retry)
        await self._response.close()
        with Scope() as self._scope:
            return await self._resume(resumption, cause)

    async def close(self) -> None:
        """Close the stream, like `AsyncStream.close`, and end a pending reconnect."""
        scope = self._scope
        if scope is not None and scope.task is not asyncio.current_task():
            scope.fire(lambda: self._consumed("was closed"))
        await super().close()

    async def _resume(self, resumption: Resumption, cause: APIError | None) -> bool:
        """Open the next connection and return whether the stream continues on it."""
        while not resumption.exhausted:
            await self._pause(resumption.next_wait(cause))
            try:
                response = await self._connect(resumption.headers)
            except _RETRIABLE as error:
                if isinstance(error, APITimeoutError) and error.phase == "total":
                    raise
                cause = error
            except (APIError, InvalidRequestError) as error:
                raise self._given_up(resumption, error) from error
            else:
                return await self._continue_with(response, resumption)
        raise self._given_up(resumption, cause) from cause

    async def _connect(self, headers: Mapping[str, str]) -> AsyncAPIResponse[Any]:
        if self._again is None:
            raise TypeError("reconnect needs a response that a client opened for streaming")
        return await self._again(headers)

    async def _pause(self, seconds: float) -> None:
        request = self._response.request
        left = request.time_left()
        if left is not None and left <= seconds:
            raise request.timed_out("total", request.limit("total") or 0)()
        await self._sleep(seconds)
        if self._closed:
            raise self._consumed("was closed")

    async def _continue_with(self, response: AsyncAPIResponse[Any], resumption: Resumption) -> bool:
        self._response = response
        if self._closed:
            raise self._consumed("was closed")
        self._ended = self._exhausted = False
        try:
            await self._open(response)
        except APIResponseValidationError as error:
            raise self._given_up(resumption, error) from error
        return not self._ended

    def _given_up(self, resumption: Resumption, cause: Exception | None) -> APIStreamError:
        error = self._stream_error(
            f"the stream broke after {self._handed} events, "
            f"and {resumption.attempts} reconnects in a row brought no new event",
            reason=getattr(cause, "reason", "other"),
            final=True,
        )
        last_id = resumption.last_event_id
        if last_id.isprintable() and 0 < len(last_id) <= _LONGEST_ID:
            error.add_note(f"Last event id: {last_id}")
        return error


class JSONLStream(AsyncStream[T_co]):
    """A stream of JSON lines, with one value per line. Blank lines are skipped; the last line needs no line
    end.

    A line that does not fit `T` raises `APIResponseValidationError`, which names the line number. Servers use
    many content types for such streams, such as ``application/json`` and ``text/plain``; all are accepted.

    Args:
        response: An unread response: its body is streamed.
        cast_to: The type of one event's data. Plain data by default; ``bytes``, ``str`` and
            `ServerSentEvent` yield the data undecoded.
        make_error: Creates the error to raise for an event that reports one. An `APIStreamError` by default.
        until: A function of a `ServerSentEvent` that returns True for the event that ends the stream. None
            (the default) recognises ``[DONE]`` only.
        reconnect: Must be False (the default): JSON lines have no event IDs to resume from.
        sleep: Not used. `asyncio.sleep` by default.

    Raises:
        TypeError: An argument has the wrong type.
    """

    accept: ClassVar[str] = (
        "application/jsonl, application/x-ndjson, application/json, application/problem+json"
    )
    """The Accept header of the request."""

    media_types: ClassVar[frozenset[str]] = frozenset(
        {
            "application/json",
            "application/json-lines",
            "application/jsonl",
            "application/jsonlines",
            "application/ndjson",
            "application/octet-stream",
            "application/x-json-stream",
            "application/x-jsonl",
            "application/x-jsonlines",
            "application/x-ndjson",
            "text/jsonl",
            "text/plain",
            "text/x-ndjson",
        }
    )
    """The content types that are accepted, besides ``+json``."""

    max_line: ClassVar[int] = MAX_LINE
    """The maximum size of one line in bytes, 8 MiB."""

    __slots__ = ("_before", "_decoder")

    def _start(self) -> None:
        self._decoder = JSONLDecoder(max_line=self.max_line)

    def _feed(self, chunk: bytes) -> Sequence[ServerSentEvent]:
        return [ServerSentEvent(data=line) for line in self._lines(chunk)]

    def _direct_values(self, chunk: bytes) -> Iterable[Any]:
        lines = self._lines(chunk)
        return self._decode_found(lines, b"".join(lines) if self._watches else b"")

    def _lines(self, chunk: bytes) -> list[bytes]:
        self._before = self._handed + self._passed
        return self._decoder.feed(chunk) if chunk else self._decoder.flush()

    def _place(self, index: int) -> str:
        return f"line {self._decoder.numbers[index - self._before]}"

    def _accepts(self, media: str) -> bool:
        return media in self.media_types or media.endswith("+json")
