"""`AsyncStream`: decode the bytes of a response to typed events, until one of the events ends the stream."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeAlias, TypeVar, cast, get_origin

import msgspec

from aioapiclient._codecs.content_type import media_type
from aioapiclient._codecs.decoders import decoder_for, unguarded
from aioapiclient._codecs.error_bodies import decode_error_body
from aioapiclient._codecs.failures import FAILURES, DecodeError
from aioapiclient._codecs.open import union_members
from aioapiclient._response.response import AsyncAPIResponse
from aioapiclient.errors import (
    APIClientError,
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStreamError,
    APITimeoutError,
    StreamConsumedError,
)

from ._error_objects import MARK, can_drop_error, drops_error, has_error, names_error
from ._sse import CR, LF, ServerSentEvent, TooLargeError

if TYPE_CHECKING:
    from ._reconnect import ReconnectPolicy

__all__ = ["AsyncStream", "MakeError", "Sleep", "Until", "stream_error"]

T_co = TypeVar("T_co", covariant=True)

MakeError: TypeAlias = Callable[[ServerSentEvent, AsyncAPIResponse[Any]], Exception]
Until: TypeAlias = Callable[[ServerSentEvent], bool]
Sleep: TypeAlias = Callable[[float], Awaitable[object]]

_DONE: Final = b"[DONE]"
_FAILED: Final = object()
_UNREAD: Final = (*FAILURES, DecodeError)
_ENDS: Final = (
    APIStreamError,
    APIResponseValidationError,
    StreamConsumedError,
    TooLargeError,
    asyncio.CancelledError,
)
_PASSED: Final = object()
_NO_CONTENT: Final = frozenset({204, 205})
# After its last event, a stream still sends the end of its framing: a few bytes that have usually arrived.
_DRAIN_SECONDS: Final = 0.1
_DRAIN_BYTES: Final = 64 << 10
_EXCERPT: Final = 200  # characters, as in any `APIResponseValidationError`


def stream_error(event: ServerSentEvent, response: AsyncAPIResponse[Any]) -> APIStreamError:
    """Return the error for an event that reports one, with its decoded body and its ``type``."""
    request = response.request
    settings = request._settings
    body = decode_error_body(
        event.raw, "application/json", strict=settings.strict, decoders=settings.decoders
    )
    return APIStreamError(
        f"{request.label}: the stream reported an error",
        reason="event",
        type=_error_type(body),
        body=body,
        request=request,
        retries_taken=response.retries_taken,
    )


def _error_type(body: Any) -> str | None:
    """Return the ``type`` under ``error``, else that of the body, unless that is just ``"error"``."""
    inner, outer = (_member(_member(body, "error"), "type"), _member(body, "type"))
    kind = inner if isinstance(inner, str) else outer
    return kind if isinstance(kind, str) and (kind is inner or kind != "error") else None


def _member(value: Any, name: str) -> Any:
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


class AsyncStream(Generic[T_co]):
    """The events of a response as they arrive, each decoded to `T`. Iterate over it once, with ``async for``.

    `SSEStream` and `JSONLStream` are its framings. For your own framing, override ``accept``, ``media_types``
    and ``_feed``.

    An event with the data ``[DONE]`` ends the stream, and so does one for which *until* returns True; neither
    is yielded. Events named ``ping``, events without data and, if `T` is a union of tagged Structs, events
    with an unknown tag are skipped; `skipped` counts those with an unknown tag.

    Iterating raises `APIStreamError` when the stream breaks, the error of *make_error* for an ``error``
    event, `APIResponseValidationError` for an event that does not fit `T` or a response that is not such a
    stream, `APITimeoutError` when the call's ``total`` limit is reached, `ClientClosedError` when the client
    is closed, and `StreamConsumedError` when the stream was iterated before or is used outside its ``async
    with`` block.

    Args:
        response: An unread response: its body is streamed.
        cast_to: The type of one event's data. Plain data by default; ``bytes``, ``str`` and
            `ServerSentEvent` yield the data undecoded.
        make_error: Creates the error to raise for an event that reports one. An `APIStreamError` by default.
        until: A function of a `ServerSentEvent` that returns True for the event that ends the stream. None
            (the default) recognises ``[DONE]`` only.
        reconnect: Must be False (the default) here: only an `SSEStream` can reconnect.
        sleep: An async function that waits a number of seconds. `asyncio.sleep` by default.

    Raises:
        TypeError: An argument has the wrong type.
    """

    accept: ClassVar[str] = "*/*"
    """The Accept header of the request."""

    request_headers: ClassVar[Mapping[str, str]] = {}
    """Other headers of the request, unless the caller sets them."""

    media_types: ClassVar[frozenset[str]] = frozenset()
    """The content types of this framing. A response without a Content-Type is accepted as well."""

    __slots__ = (
        "_begun",
        "_cast_to",
        "_closed",
        "_closer",
        "_decode",
        "_decode_directly",
        "_decoded",
        "_direct",
        "_direct_up_to",
        "_ended",
        "_exhausted",
        "_handed",
        "_last_id",
        "_left",
        "_make_error",
        "_passed",
        "_read",
        "_response",
        "_skipped",
        "_sleep",
        "_stopped",
        "_takes_text",
        "_until",
        "_usual_start",
        "_waiting",
        "_watches",
    )

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
        self._response = response
        self._cast_to = cast_to
        self._make_error = make_error
        self._until = until
        self._sleep = sleep
        self._decode = self._decoder_of(cast_to)
        # Whether events go directly to the decoder as bytes, and are inspected only if they do not fit.
        self._decode_directly = decode = unguarded(self._decode)
        self._takes_text = not _refuses(decode, _DONE)
        self._direct = until is None and not self._takes_text and _refuses(decode, b"")
        # The longest text whose events may go to the decoder as bytes; -1 if none may.
        self._direct_up_to = -1
        # The start of a chunk that may be a single event, which goes to the decoder as bytes.
        self._usual_start: bytes | None = None
        # Whether an object that reports an error may decode to a value that does not show the error.
        self._watches = can_drop_error(cast_to)
        self._decoded: list[Any] = []  # what the last chunk completed; `close` empties it
        self._closed = False
        self._closer: asyncio.Task[Any] | None = None
        self._left = False  # whether its ``async with`` block was left
        self._stopped = False  # whether no more events are yielded
        self._ended = False  # whether no more events follow
        self._exhausted = False  # whether no more bytes follow
        self._handed = 0
        self._passed = 0  # events that were not yielded
        self._skipped = 0
        self._last_id = ""
        self._waiting = False  # whether it waits for the next bytes
        self._begun = False  # set last: `__del__` checks whether it exists

    @classmethod
    def check_options(cls, until: object, reconnect: object) -> None:
        """Check the options before the request is sent.

        Args:
            until: A function of an event, or None.
            reconnect: Whether to reconnect.

        Raises:
            TypeError: *until* is not a function, or *reconnect* is set on a stream that cannot reconnect.
        """
        if until is not None and not callable(until):
            raise TypeError(f"until must be a function of an event, not {type(until).__name__}")
        if reconnect:
            raise TypeError(f"{cls.__name__} cannot reconnect: it has no event IDs to resume from")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._response!r}>"

    @property
    def response(self) -> AsyncAPIResponse[Any]:
        """The streamed response; after a reconnect, the latest one."""
        return self._response

    @property
    def skipped(self) -> int:
        """The number of events that were skipped because `T` does not have their tag. `events` yields
        them.
        """
        return self._skipped

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or the ``async with`` block was left.

        Until then it is False, even after the stream has ended by itself.
        """
        return self._closed

    def __aiter__(self) -> AsyncIterator[T_co]:
        # A new async generator each time, which a ``break`` ends immediately; that closes the connection.
        return self._iterate(self._direct_values if self._direct else self._values)

    def events(self) -> AsyncIterator[ServerSentEvent]:
        """Iterate over all events, undecoded, including unknown ones, pings, errors, and the one that ends
        the stream.

        Raises:
            APIStreamError: The stream broke.
            APIResponseValidationError: The response is not such a stream.
            StreamConsumedError: The stream was iterated before.
        """
        return self._iterate(self._raw_events)

    async def close(self) -> None:
        """Release the connection if the stream has ended, else close it. Safe to call again.

        Call it from any task of the loop: a task that iterates over the stream receives no further event,
        and its loop ends as if the stream had ended. `closed` distinguishes the two.
        """
        if not self._closed:
            self._closer = asyncio.current_task()
        self._closed = self._stopped = self._ended = self._exhausted = True
        self._decoded.clear()
        if self._waiting:
            self._response._stop(self._consumed("was closed"))
        await self._response.close()

    async def aclose(self) -> None:
        """Call `close`, under the name that `contextlib.aclosing` expects."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left = True
        await self.close()

    def __del__(self) -> None:
        # Do nothing else here, because the loop may have ended.
        if getattr(self, "_begun", True) or self._closed or self._response.is_closed:
            return
        warnings.warn(
            f"{self._response.request.label}: the stream was never iterated or closed; "
            "use 'async with', or await its close()",
            ResourceWarning,
            stacklevel=1,
            source=self,
        )

    # --- for framings

    def _start(self) -> None:
        """Prepare for a new connection: create the decoder here."""

    def _feed(self, chunk: bytes) -> Sequence[ServerSentEvent]:
        """Return the events that *chunk* completes. *chunk* is empty only at the end of the body.

        Raises:
            ValueError: An event exceeds the limit.
        """
        raise NotImplementedError

    def _direct_values(self, chunk: bytes) -> Iterable[Any]:
        """Return the values of the events that *chunk* completes, which may be decoded without inspection.

        Override it if you can find the data of your events in less time than `_feed` takes.
        """
        return self._values(chunk)

    def _place(self, index: int) -> str:
        """Return the name of an event for messages; *index* counts all events, from 0."""
        return f"event {index + 1}"

    def _accepts(self, media: str) -> bool:
        """Return whether a response of this media type is such a stream."""
        return media in self.media_types

    # --- from events to values

    async def _iterate(self, convert: Callable[[bytes], Iterable[Any]]) -> AsyncGenerator[Any, None]:
        if not self._may_begin():
            return
        received = 0
        decode, decoded = self._decode_directly, self._decoded
        values: Iterable[Any]
        try:
            await self._open(self._response)
            while not self._ended:
                self._waiting = True
                try:
                    chunk = await self._read()
                except APIError as error:
                    await self._resumed(error)
                    continue
                self._waiting = False
                if self._closed:
                    break
                if not chunk and await self._goes_on():
                    continue
                received += len(chunk)
                start = self._usual_start
                # Most servers write one event at a time, and it arrives in one chunk. Without this case, such
                # an event takes 1.3 times as long (CPython 3.11 and 3.15).
                if (
                    start is not None
                    and len(chunk) <= self._direct_up_to
                    and chunk.startswith(start)
                    and chunk.endswith(b"\n\n")
                    and CR not in chunk
                    and LF not in (data := chunk[len(start) : -2])
                    and not (self._watches and data.rfind(MARK) >= 0)
                ):
                    try:
                        value = decode(data)
                    except _UNREAD:
                        values = self._one_by_one([data], decode)
                    else:
                        chunk = data = b""
                        self._handed += 1
                        yield value
                        value = None
                        continue
                else:
                    values = convert(chunk)
                # An idle stream keeps nothing of what arrived.
                chunk = data = b""
                if values:
                    for value in values:
                        yield value
                    value = None
                    decoded.clear()
            await self._finish()
        except _ENDS as error:
            self._fail(error, received)
        finally:
            decoded.clear()
            await self._response.close()

    def _values(self, chunk: bytes) -> Iterable[Any]:
        """Return the values of the events that *chunk* completes, one by one."""
        return self._one_by_one(self._payloads(self._feed(chunk)), self._decode_directly)

    def _raw_events(self, chunk: bytes) -> Iterable[ServerSentEvent]:
        return self._one_by_one(self._up_to_end(self._feed(chunk)), _itself)

    def _decode_found(self, found: list[bytes], joined: bytes) -> Iterable[Any]:
        """Return the values of undecoded data; *joined* is all of it.

        It is decoded before the first value is used: in a chunk of 16 KiB, an event then takes 0.85 of the
        time (CPython 3.15; 0.93 on 3.11).
        """
        # The search for the bare word takes 0.87 of the time (CPython 3.15), and most data lacks even that.
        if self._watches and joined.rfind(b"error") >= 0 and joined.rfind(MARK) >= 0:
            return self._one_by_one(map(self._watched, found), self._decode_directly)
        decoded = self._decoded
        try:
            decoded.extend(map(self._decode_directly, found))
        except Exception:
            return self._up_to_failure(found)
        self._handed += len(decoded)
        return decoded

    def _watched(self, data: bytes) -> bytes:
        if has_error(data):
            self._look_for_error(data)
        return data

    def _up_to_failure(self, found: list[bytes]) -> Iterable[Any]:
        """Return the values of which `_decode_found` decoded some: the failure is raised after those."""
        self._handed += len(self._decoded)
        rest = found[len(self._decoded) :]
        remaining = (data for data in rest if not self._stopped)
        return chain(self._decoded, self._one_by_one(remaining, self._decode_directly))

    def _one_by_one(self, found: Iterable[Any], decode: Callable[[Any], Any]) -> Iterator[Any]:
        """Yield the values of the events in *found*; skip, end or raise at an event that has none."""
        for data in found:
            try:
                value = decode(data)
            except _UNREAD:
                value = _FAILED
            if value is _FAILED:
                # Not in the handler: an error must not refer to that of msgspec, which quotes values.
                value = self._classify_undecodable(data)
            if value is not _PASSED:
                self._handed += 1
                yield value
            if self._stopped:
                return

    def _may_begin(self) -> bool:
        """Return whether to iterate; raise `StreamConsumedError` for a misuse.

        It is not a misuse if another task closed the stream before this one started its loop.
        """
        if self._begun or (self._closed and (self._left or self._closer is asyncio.current_task())):
            raise self._misused()
        self._begun = True
        return not self._closed

    async def _finish(self) -> None:
        """Leave the connection reusable after the last event."""
        if self._left:
            raise self._misused()
        if not self._exhausted:
            await self._read_soon(_DRAIN_BYTES)

    def _fail(self, error: BaseException, received: int) -> None:
        """Raise the error for the iterating task; do nothing if another task closed the stream."""
        if self._closed and not isinstance(error, asyncio.CancelledError):
            if self._left:
                raise self._misused() from None
            return
        failure = self._too_large(error) if isinstance(error, TooLargeError) else error
        if isinstance(failure, APIStreamError):
            failure.events_seen = self._handed
            failure.bytes_seen = received
        self._response._note_error(failure)
        if failure is not error:
            raise failure from None
        raise error

    def _decoder_of(self, cast_to: Any) -> Callable[[Any], Any]:
        if cast_to is ServerSentEvent or cast_to is bytes:
            return _itself
        if cast_to is str:
            return _text
        settings = self._response.request._settings
        return decoder_for(cast_to, "application/json", settings.strict, settings.dec_hook, settings.decoders)

    def _payloads(self, events: Iterable[ServerSentEvent]) -> Iterable[Any]:
        """Yield the undecoded data of *events*, without ends, errors and pings."""
        whole = self._cast_to is ServerSentEvent
        for event in events:
            self._last_id = event.id
            if self._is_end(event):
                self._ended = True
                return
            if event.event == "error":
                raise self._make_error(event, self._response)
            if whole:
                yield event
            elif event.event == "ping" or not (event.raw or self._takes_text):
                self._passed += 1
            else:
                yield self._watched(event.raw) if self._watches else event.raw

    def _look_for_error(self, data: bytes) -> None:
        """Raise the error that the object *data* reports, unless the decoded value shows it."""
        with suppress(DecodeError):  # reported by _classify_undecodable
            if drops_error(self._decode(data)):
                raise self._make_error(ServerSentEvent("error", data), self._response)

    def _up_to_end(self, events: Iterable[ServerSentEvent]) -> Iterable[ServerSentEvent]:
        """Yield *events* up to the one that ends the stream."""
        for event in events:
            self._last_id = event.id
            is_end = self._is_end(event)
            yield event
            if is_end:
                self._ended = True
                return

    def _is_end(self, event: ServerSentEvent) -> bool:
        return _is_done(event.raw) or (self._until is not None and self._until(event))

    def _classify_undecodable(self, data: bytes) -> Any:
        """Classify an event that does not fit `T`: no data, an end, an error, an unknown tag, or a misfit."""
        if not data:
            self._passed += 1
            return _PASSED
        try:
            return self._decode(data)
        except DecodeError as error:
            failure = error
        if _is_done(data):
            self._ended = self._stopped = True
            return _PASSED
        plain = _plain(data)
        if _is_only_an_error(plain) or (has_error(data) and not names_error(self._cast_to)):
            raise self._make_error(ServerSentEvent("error", data), self._response)
        if _has_unknown_tag(plain, self._cast_to):
            self._skipped += 1
            self._passed += 1
            return _PASSED
        raise self._invalid(data, failure)

    def _invalid(self, data: bytes, failure: DecodeError) -> APIResponseValidationError:
        place = self._place(self._handed + self._passed)
        error = self._response.validation_error(f"{place}: {failure.reason}", failure.path)
        error.excerpt = data[: 4 * _EXCERPT].decode("utf-8", "replace")[:_EXCERPT]
        return error

    # --- the connection

    async def _open(self, response: AsyncAPIResponse[Any]) -> None:
        """Check that *response* is such a stream. A response without content has already ended."""
        self._start()
        if response.status in _NO_CONTENT:
            self._ended = self._exhausted = True
            return
        self._read = response._take_chunks()
        media = media_type(response.headers.get("Content-Type"))
        if media and not self._accepts(media):
            error = response.validation_error(f"a stream of {self.accept} was expected")
            error.excerpt = (await self._read_soon(1)).decode("utf-8", "replace")[:_EXCERPT]
            raise error

    async def _goes_on(self) -> bool:
        """Return whether another connection continues the stream after the end of the body."""
        if await self._resumed(None):
            return True
        self._ended = self._exhausted = True
        return False

    async def _resumed(self, error: APIError | None) -> bool:
        """Return whether another connection continues the stream after its end (*error* is None) or a break.

        Otherwise it raises the error for the caller, unless *error* is None.
        """
        if error is None:
            return False
        self._response._note_error(error)
        if isinstance(error, APITimeoutError) and error.phase == "total":
            raise error
        raise self._broken(error) from error

    def _broken(self, error: APIError) -> APIStreamError:
        final, reason = True, "other"
        if isinstance(error, APIConnectionError):
            final, reason = error.final, error.reason
        return self._stream_error(f"the stream broke after {self._handed} events", final=final, reason=reason)

    def _too_large(self, error: TooLargeError) -> APIStreamError:
        return self._stream_error(f"{error}, after {self._handed} events", final=True)

    def _stream_error(self, what: str, **facts: Any) -> APIStreamError:
        response = self._response
        label, retries = response.request.label, response.retries_taken
        return APIStreamError(f"{label}: {what}", request=response.request, retries_taken=retries, **facts)

    async def _read_soon(self, most: int) -> bytes:
        """Read for a short time: to the end of the body, or until *most* bytes were read."""
        read = bytearray()
        given_up = self._consumed("was abandoned")
        timer = asyncio.get_running_loop().call_later(_DRAIN_SECONDS, self._response._stop, given_up)
        with suppress(APIClientError):  # no caller waits for these bytes
            try:
                while len(read) < most and (chunk := await self._read()):
                    read += chunk
            finally:
                timer.cancel()
        return bytes(read)

    def _consumed(self, what: str) -> StreamConsumedError:
        return StreamConsumedError(f"{self._response.request.label}: the stream {what}")

    def _misused(self) -> StreamConsumedError:
        """Return an error that explains why the stream cannot be iterated."""
        if self._left:
            return self._consumed("was used outside its `async with` block; iterate it inside")
        if self._begun:
            return self._consumed("was already iterated, and its events are consumed; make the call again")
        return self._consumed("is closed; make the call again")


# --- the kinds of events


def _itself(value: Any) -> Any:
    return value


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


@lru_cache(maxsize=512)  # the reason for a refusal takes longer than all else that creates a stream
def _refuses(decode: Callable[[Any], Any], data: bytes) -> bool:
    """Return whether *data* cannot be decoded: the end marker is valid text, for example, but not JSON."""
    try:
        decode(data)
    except _UNREAD:
        return True
    return False


def _is_done(data: bytes) -> bool:
    return _DONE in data and data.strip() == _DONE


def _plain(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _is_only_an_error(plain: Any) -> bool:
    """Return whether *plain* is just ``{"error": ...}``, which servers without event names send."""
    return isinstance(plain, dict) and [*plain] == ["error"] and isinstance(plain["error"], dict | str)


def _has_unknown_tag(plain: Any, cast_to: Any) -> bool:
    """Return whether *plain* is a variant that the union *cast_to* does not have."""
    found: Any = None
    known: set[Any] = set()
    for member in union_members(cast_to):
        struct = get_origin(member) or member
        if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
            continue
        config = struct.__struct_config__
        if config.tag is None or isinstance(plain, list) is not config.array_like:
            continue
        known.add(config.tag)
        found = (plain[0] if plain else None) if config.array_like else _member(plain, str(config.tag_field))
    return type(found) in {type(tag) for tag in known} and found not in known
