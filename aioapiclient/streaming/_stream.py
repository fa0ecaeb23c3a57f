"""`AsyncStream`: from the bytes of a response to typed events, and what ends that."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeAlias, TypeVar, cast, get_origin

import msgspec

from aioapiclient._codecs.content_type import media_type
from aioapiclient._codecs.decoders import FAILURES, DecodeError, decoder_for, unguarded
from aioapiclient._codecs.error_bodies import decode_error_body
from aioapiclient._codecs.open import members
from aioapiclient._response import AsyncAPIResponse
from aioapiclient.errors import (
    APIClientError,
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStreamError,
    APITimeoutError,
    StreamConsumedError,
)

from ._error_objects import can_drop_error, drops_error, has_error, names_error
from ._sse import ServerSentEvent, TooLargeError

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
_PASSED: Final = object()
_NO_CONTENT: Final = frozenset({204, 205})
# After its last event a stream owes the end of its framing, a few bytes that are mostly there already.
_DRAIN_SECONDS: Final = 0.1
_DRAIN_BYTES: Final = 64 << 10
_EXCERPT: Final = 200  # characters, as in any `APIResponseValidationError`


def stream_error(event: ServerSentEvent, response: AsyncAPIResponse[Any]) -> APIStreamError:
    """The error for an event that reports one: its body decoded, its ``type`` from there."""
    request = response.request
    settings = request.settings
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
    """The ``type`` under ``error``, or else that of the body, where ``"error"`` would say nothing."""
    inner, outer = (_member(_member(body, "error"), "type"), _member(body, "type"))
    kind = inner if isinstance(inner, str) else outer
    return kind if isinstance(kind, str) and (kind is inner or kind != "error") else None


def _member(value: Any, name: str) -> Any:
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


class AsyncStream(Generic[T_co]):
    """The events of a response as they come, each as `T`; iterate it once, with ``async for``.

    `SSEStream` and `JSONLStream` are its framings. One of your own says what it accepts and how
    bytes become events: override ``accept``, ``media_types`` and ``_feed``.

    An event with the data ``[DONE]`` ends it, and so does one that *until* recognises; neither is
    handed over. One named ``ping``, or without data, is a sign of life and passed over, and so is an
    event of an unknown tag, where `T` is a union of tagged Structs: `skipped` counts those.

    Iterating raises `APIStreamError` when the stream breaks, what *make_error* makes of an ``error``
    event, `APIResponseValidationError` for one that is no `T`, and for a response that is no such
    stream; `APITimeoutError` when the call's ``total`` runs out, `ClientClosedError`, and
    `StreamConsumedError` when it was iterated before, or is used outside of its ``async with``.
    """

    accept: ClassVar[str] = "*/*"
    """What goes into the Accept header."""

    request_headers: ClassVar[Mapping[str, str]] = {}
    """What else the request says, unless the caller does."""

    media_types: ClassVar[frozenset[str]] = frozenset()
    """The content types that are streams of this framing; a response that names none is taken for one."""

    __slots__ = (
        "_begun",
        "_cast_to",
        "_closed",
        "_closer",
        "_decode",
        "_direct",
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
        # Whether events go to the decoder as bytes, and are looked at only when they do not fit.
        self._takes_text = not _refuses_done(self._decode)
        self._direct = until is None and not self._takes_text
        # Whether an object that reports an error may decode to a value, which would not show it.
        self._watches = can_drop_error(cast_to)
        self._closed = False
        self._closer: asyncio.Task[Any] | None = None
        self._left = False  # the block that it was opened for
        self._stopped = False  # no event is handed over any more
        self._ended = False  # no more events
        self._exhausted = False  # no more bytes
        self._handed = 0
        self._passed = 0  # events that were not handed over
        self._skipped = 0
        self._last_id = ""
        self._waiting = False  # for the next bytes
        self._begun = False  # the last one: `__del__` looks whether it is there

    @classmethod
    def check_options(cls, until: object, reconnect: object) -> None:
        """Raise `TypeError` for what cannot be; a client asks before it sends anything."""
        if until is not None and not callable(until):
            raise TypeError(f"until must be a function of an event, not {type(until).__name__}")
        if reconnect:
            raise TypeError(f"{cls.__name__} cannot reconnect: it has no event ids to resume from")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._response!r}>"

    @property
    def response(self) -> AsyncAPIResponse[Any]:
        """The response that is streamed; after a reconnect the newest."""
        return self._response

    @property
    def skipped(self) -> int:
        """How many events had a tag that `T` does not know; `events` shows them."""
        return self._skipped

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or the ``async with`` block was left.

        False after a stream that came to its end, until then.
        """
        return self._closed

    def __aiter__(self) -> AsyncIterator[T_co]:
        # An async generator each time: left with ``break``, it dies at once, and closes the connection.
        return self._iterate(self._payloads, unguarded(self._decode))

    def events(self) -> AsyncIterator[ServerSentEvent]:
        """All events, undecoded: unknown ones, signs of life, errors, and the one that ends the stream."""
        return self._iterate(self._raw_events, _itself)

    async def close(self) -> None:
        """Give the connection back if the stream has ended, else close it. Safe to call again.

        Call it from any task of the loop: a task that iterates the stream gets no further event, and
        its loop ends as if the stream had ended. `closed` tells the two apart.
        """
        if not self._closed:
            self._closer = asyncio.current_task()
        self._closed = self._stopped = self._ended = self._exhausted = True
        if self._waiting:
            self._response.abort(self._consumed("was closed"))
        await self._response.close()

    async def aclose(self) -> None:
        """Call `close`; `contextlib.aclosing` asks for this name."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left = True
        await self.close()

    def __del__(self) -> None:
        # No work here, as in a client: the loop may be gone.
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
        """A connection begins: the place to make a decoder."""

    def _feed(self, chunk: bytes) -> Sequence[ServerSentEvent]:
        """The events that *chunk* completes; it is empty at the end of the body, and only there.

        Raises `ValueError` for an event above the bound.
        """
        raise NotImplementedError

    def _payloads(self, chunk: bytes) -> Iterable[Any]:
        """What typed iteration decodes, of the events that *chunk* completes."""
        return self._sift(self._feed(chunk))

    def _place(self, index: int) -> str:
        """The name of an event for messages; *index* counts all, from 0."""
        return f"event {index + 1}"

    def _accepts(self, media: str) -> bool:
        """Whether a response of this media type is such a stream."""
        return media in self.media_types

    # --- from events to values

    async def _iterate(
        self, unpack: Callable[[bytes], Iterable[Any]], decode: Callable[[Any], Any]
    ) -> AsyncGenerator[Any, None]:
        if not self._may_begin():
            return
        handed = received = 0
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
                for data in unpack(chunk):
                    try:
                        value = decode(data)
                    except _UNREAD:
                        value = _FAILED
                    if value is _FAILED:
                        self._handed = handed
                        value = self._second_look(data)
                    if value is not _PASSED:
                        handed += 1
                        yield value
                    if self._stopped:
                        break
                self._handed = handed
            await self._finish()
        except (APIStreamError, StreamConsumedError, TooLargeError) as error:
            self._fail(error, handed, received)
        finally:
            await self._response.close()

    def _may_begin(self) -> bool:
        """Whether there is something to iterate; `StreamConsumedError` for a mistake.

        It is none if another task closed the stream before this one came to its loop.
        """
        if self._begun or (self._closed and (self._left or self._closer is asyncio.current_task())):
            raise self._misused()
        self._begun = True
        return not self._closed

    async def _finish(self) -> None:
        """After the last event: leave the connection as it can be used again."""
        if self._left:
            raise self._misused()
        if not self._exhausted:
            await self._read_soon(_DRAIN_BYTES)

    def _fail(self, error: Exception, handed: int, received: int) -> None:
        """Raise what *error* means for the one who iterates: nothing, if somebody else closed the stream."""
        if self._closed:
            if self._left:
                raise self._misused() from None
            return
        if isinstance(error, TooLargeError):
            raise self._too_large(error, handed, received) from None
        if isinstance(error, APIStreamError):
            error.events_seen = handed
            error.bytes_seen = received
        raise error

    def _decoder_of(self, cast_to: Any) -> Callable[[Any], Any]:
        if cast_to is ServerSentEvent or cast_to is bytes:
            return _itself
        if cast_to is str:
            return _text
        settings = self._response.request.settings
        return decoder_for(cast_to, "application/json", settings.strict, settings.dec_hook, settings.decoders)

    def _sift(self, events: Iterable[ServerSentEvent]) -> Iterable[Any]:
        """What is to be decoded of *events*: ends, errors and signs of life are taken out."""
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
                if self._watches and has_error(event.raw):
                    self._look_for_error(event.raw)
                yield event.raw

    def _look_for_error(self, data: bytes) -> None:
        """Raise the error that the object *data* reports, unless the value that it decodes to has it."""
        with suppress(DecodeError):  # the second look says what that is
            if drops_error(self._decode(data)):
                raise self._make_error(ServerSentEvent("error", data), self._response)

    def _raw_events(self, chunk: bytes) -> Iterable[ServerSentEvent]:
        for event in self._feed(chunk):
            self._last_id = event.id
            is_end = self._is_end(event)
            yield event
            if is_end:
                self._ended = True
                return

    def _is_end(self, event: ServerSentEvent) -> bool:
        return _is_done(event.raw) or (self._until is not None and self._until(event))

    def _second_look(self, data: bytes) -> Any:
        """What an event is that is no `T`: an end, an error, of an unknown tag, or a mistake."""
        try:
            return self._decode(data)
        except DecodeError as error:
            failure = error
        if _is_done(data):
            self._ended = self._stopped = True
            return _PASSED
        plain = _plain(data)
        if _is_lone_error(plain) or (has_error(data) and not names_error(self._cast_to)):
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
        """Make sure that *response* is such a stream; one without content is over."""
        self._start()
        if response.status in _NO_CONTENT:
            self._ended = self._exhausted = True
            return
        self._read = response.take_chunks()
        media = media_type(response.headers.get("Content-Type"))
        if media and not self._accepts(media):
            error = response.validation_error(f"a stream of {self.accept} was expected")
            error.excerpt = (await self._read_soon(1)).decode("utf-8", "replace")[:_EXCERPT]
            raise error

    async def _goes_on(self) -> bool:
        """Whether there is more after the end of the body: another connection."""
        if await self._resumed(None):
            return True
        self._ended = self._exhausted = True
        return False

    async def _resumed(self, error: APIError | None) -> bool:
        """Whether the stream goes on, on another connection, after its end (None) or its break.

        Raises what *error* means for the stream, if it does not.
        """
        if error is None:
            return False
        if isinstance(error, APITimeoutError) and error.phase == "total":
            raise error
        raise self._broken(error) from error

    def _broken(self, error: APIError) -> APIStreamError:
        final, reason = True, "other"
        if isinstance(error, APIConnectionError):
            final, reason = error.final, error.reason
        return self._stream_error(f"the stream broke after {self._handed} events", final=final, reason=reason)

    def _too_large(self, error: TooLargeError, handed: int, received: int) -> APIStreamError:
        what = f"{error}, after {handed} events"
        return self._stream_error(what, events_seen=handed, bytes_seen=received, final=True)

    def _stream_error(self, what: str, **facts: Any) -> APIStreamError:
        response = self._response
        label, retries = response.request.label, response.retries_taken
        return APIStreamError(f"{label}: {what}", request=response.request, retries_taken=retries, **facts)

    async def _read_soon(self, most: int) -> bytes:
        """What comes within a moment, to the end of the body, or to *most* bytes and a piece."""
        read = bytearray()
        given_up = self._consumed("was given up")
        timer = asyncio.get_running_loop().call_later(_DRAIN_SECONDS, self._response.abort, given_up)
        with suppress(APIClientError):  # nobody waits for these bytes
            try:
                while len(read) < most and (chunk := await self._read()):
                    read += chunk
            finally:
                timer.cancel()
        return bytes(read)

    def _consumed(self, what: str) -> StreamConsumedError:
        return StreamConsumedError(f"{self._response.request.label}: the stream {what}")

    def _misused(self) -> StreamConsumedError:
        """What is wrong with iterating it now."""
        if self._left:
            return self._consumed("was used outside its `async with` block; iterate it inside")
        if self._begun:
            return self._consumed("was iterated before, and its events are gone; make the call again")
        return self._consumed("is closed; make the call again")


# --- what an event turns out to be


def _itself(value: Any) -> Any:
    return value


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _refuses_done(decode: Callable[[Any], Any]) -> bool:
    """Whether the end mark is no value of the type: it is none of JSON, and one of any text."""
    try:
        decode(_DONE)
    except DecodeError:
        return True
    return False


def _is_done(data: bytes) -> bool:
    return _DONE in data and data.strip() == _DONE


def _plain(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _is_lone_error(plain: Any) -> bool:
    """Whether it is ``{"error": ...}`` and nothing else, as servers write that send no event names."""
    return isinstance(plain, dict) and [*plain] == ["error"] and isinstance(plain["error"], dict | str)


def _has_unknown_tag(plain: Any, cast_to: Any) -> bool:
    """Whether it is of a variant that the union *cast_to* does not have."""
    found: Any = None
    known: set[Any] = set()
    for member in members(cast_to):
        struct = get_origin(member) or member
        if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
            continue
        config = struct.__struct_config__
        if config.tag is None or isinstance(plain, list) is not config.array_like:
            continue
        known.add(config.tag)
        found = (plain[0] if plain else None) if config.array_like else _member(plain, str(config.tag_field))
    return type(found) in {type(tag) for tag in known} and found not in known
