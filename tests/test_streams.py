"""Typed streams: from bytes to values, their end, the errors that break them, and how they resume."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import pickle
import re
import tracemalloc
import warnings
import weakref
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Generic, Literal, TypedDict, TypeVar

import aiohttp
import msgspec
import pytest
from event_streams import JSON_STREAMS, by_the_letter, cut
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from servers import Exchange, RawServer, Script, close, hang, in_turn, raw_server, reset
from servers import respond as reply

from aioapiclient import (
    APIRequest,
    AsyncAPIClient,
    AsyncAPIResponse,
    Handler,
    Open,
    Timeout,
    Unknown,
    default_chain,
)
from aioapiclient._codecs.custom import Decoders
from aioapiclient._request import CallSettings
from aioapiclient._response.source import BodySource
from aioapiclient._transport.transport import AiohttpTransport
from aioapiclient.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APIStreamError,
    APITimeoutError,
    BadRequestError,
    BodyTooLargeError,
    ClientClosedError,
    InternalServerError,
    InvalidRequestError,
    RateLimitError,
    RequestNotReplayableError,
    StreamConsumedError,
)
from aioapiclient.streaming import (
    AsyncStream,
    JSONLStream,
    ReconnectPolicy,
    ServerSentEvent,
    SSEStream,
)
from aioapiclient.testing import FakeTransport, respond

URL = "http://127.0.0.1/events"
EVENT_STREAM = "text/event-stream"
HTTP_CASES: dict[str, dict[str, Any]] = {
    case["name"]: case
    for case in json.loads((Path(__file__).parent / "cases" / "sse.json").read_text())["http_cases"]
}


T = TypeVar("T")


class Text(msgspec.Struct, tag="text"):
    text: str


class Stop(msgspec.Struct, tag="stop"):
    reason: str = ""


class Item(msgspec.Struct):
    id: int


class Traced(msgspec.Struct, weakref=True):
    id: int


Part = bytes | Exception | Callable[[], Coroutine[Any, Any, object]]


class Parts:
    """A body of given parts: bytes are yielded, an error is raised, and a function is awaited."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = list(parts)
        self._aborted: asyncio.Future[bytes] | None = None
        self.state = "open"

    async def read(self, limit: int | None) -> bytes:
        raise AssertionError("a stream is not read whole")

    async def read_chunk(self) -> bytes:
        self._aborted = asyncio.get_running_loop().create_future()
        while self._parts:
            part = self._parts.pop(0)
            if isinstance(part, bytes):
                return part
            if isinstance(part, Exception):
                raise part
            waiting = asyncio.ensure_future(part())
            try:
                either: list[asyncio.Future[Any]] = [waiting, self._aborted]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            if self._aborted.done():
                return self._aborted.result()
        self.state = "ended"
        return b""

    def close(self) -> None:
        if self.state == "open":
            self.state = "closed"

    def abort(self, error: Exception) -> None:
        self.state = "aborted"
        if self._aborted is not None and not self._aborted.done():
            self._aborted.set_exception(error)


async def forever() -> None:
    """Wait without delay."""
    await asyncio.Event().wait()


class Opened(AsyncAPIResponse[Any]):
    """A response as a client opens it for streaming: it can be requested again."""

    __slots__ = ("answers", "asked", "parts")

    def __init__(
        self, source: BodySource, others: Sequence[object], asked: list[dict[str, str]], **head: Any
    ) -> None:
        super().__init__(head["request"], head["status"], head["headers"], source)
        self.answers = iter(others)
        self.asked = asked
        self.parts = source
        self._again = self._answer_again

    async def _answer_again(self, headers: Mapping[str, str]) -> AsyncAPIResponse[Any]:
        self.asked.append(dict(headers))
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Opened)
        return answer


def answer(
    *parts: Part,
    then: Sequence[object] = (),
    status: int = 200,
    content_type: str | None = EVENT_STREAM,
    settings: CallSettings | None = None,
) -> Opened:
    """A response whose body has these *parts*; each further request gets those of *then* in turn."""
    request = APIRequest("GET", URL, stream=True, _settings=settings or CallSettings())
    headers = CIMultiDictProxy(CIMultiDict({} if content_type is None else {"Content-Type": content_type}))
    return Opened(Parts(parts), then, [], request=request, status=status, headers=headers)


def lines(*parts: Part, content_type: str = "application/x-ndjson") -> Opened:
    """A response of JSON lines."""
    return answer(*parts, content_type=content_type)


def state(response: AsyncAPIResponse[Any]) -> str:
    """The state of the body: open, ended, closed, aborted."""
    assert isinstance(response, Opened)
    parts = response.parts
    assert isinstance(parts, Parts)
    return parts.state


async def collect(stream: AsyncIterator[Any] | AsyncStream[Any]) -> list[Any]:
    """Return all values."""
    return [value async for value in stream]


async def outcome(stream: AsyncIterator[Any] | AsyncStream[Any]) -> tuple[list[Any], Exception | None]:
    """Return all values before an error, and the error, if any."""
    found: list[Any] = []
    try:
        async for value in stream:
            found.append(value)  # noqa: PERF401
    except Exception as error:
        return found, error
    return found, None


async def gather(stream: AsyncIterator[Any] | AsyncStream[Any]) -> tuple[list[Any], Exception]:
    """Return all values before an error, and the error, which must occur."""
    found, error = await outcome(stream)
    assert error is not None, "nothing was raised"
    return found, error


def data(*payloads: str) -> bytes:
    """Events with only data."""
    return b"".join(b"data: %b\n\n" % payload.encode() for payload in payloads)


# --- from events to values


def expected_of(events: Iterable[tuple[str, str, str]]) -> tuple[list[Any], type[Exception] | None]:
    """The values of a typed stream of JSON *events*, and the error that ends it."""
    values: list[Any] = []
    for name, text, _ in events:
        if text.strip() == "[DONE]":
            break
        if name == "error":
            return values, APIStreamError
        if name == "ping" or not text:
            continue
        try:
            values.append(json.loads(text))
        except ValueError:
            return values, APIResponseValidationError
    return values, None


@given(stream=JSON_STREAMS, places=st.data())
def test_any_split_gives_the_same_values(stream: bytes, places: st.DataObject) -> None:
    """However a stream is split, its values are those of the events by the literal algorithm."""
    chunks = cut(stream, places.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    values: list[Any] = []

    async def iterate(*parts: bytes) -> type[Exception] | None:
        values.clear()
        try:
            async for value in SSEStream[Any](answer(*filter(None, parts)), Any):
                values.append(value)  # noqa: PERF401
        except (APIStreamError, APIResponseValidationError) as error:
            return type(error)
        return None

    events = re.split(rb"(?<=\n\n)", stream)
    for parts in (chunks, [stream], stream.splitlines(keepends=True), events):
        ended_by = asyncio.run(iterate(*parts))
        assert (values, ended_by) == expected_of(by_the_letter(stream).events)


@pytest.mark.parametrize(
    ("cast_to", "expected"),
    [
        (Item, [Item(1), Item(2)]),
        (Any, [{"id": 1}, {"id": 2}]),
        (dict[str, int], [{"id": 1}, {"id": 2}]),
        (Item | None, [Item(1), Item(2)]),
        (str, ['{"id":1}', '{"id":2}']),
        (bytes, [b'{"id":1}', b'{"id":2}']),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_events_become_what_was_asked_for(cast_to: Any, expected: list[Any], size: int) -> None:
    """Each event is decoded to the type of the stream, however its bytes were split."""
    for body in (data('{"id":1}', '{"id":2}'), b'event: a\ndata: {"id":1}\n\nid: 2\ndata: {"id":2}\n\n'):
        chunks = [body[start : start + size] for start in range(0, len(body), size)]

        assert await collect(SSEStream[Any](answer(*chunks), cast_to)) == expected


class Brief(SSEStream[Any]):
    """A stream of events of at most 40 bytes."""

    __slots__ = ()
    max_event = 40


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        (b'data: {"id":2}\n\n', [2, 3]),
        (b'data:  {"id":2} \n\n', [2, 3]),
        (b'data: {"id":2}\n\ndata: {"id":7}\n\n', [2, 7, 3]),
        (b'data: {"id":2}\n\nid: 7\n\n', [2, 3]),
        (b'data: {"id":\ndata: 2}\n\n', [2, 3]),
        (b'data: {"id":2}\nid: 7\n\n', [2, 3]),
        (b'data: {"id":\r2}\n\n', APIResponseValidationError),
        (b'data: {"id":\n2}\n\n', APIResponseValidationError),
        (b'event: a\ndata: {"id":2}\n\n', [2, 3]),
        (b'event: ping\ndata: {"id":2}\n\n', [3]),
        (b'event: error\ndata: {"id":2}\n\n', APIStreamError),
        (b'data: {"id":2,"error":{"a":1}}\n\n', APIStreamError),
        (b'data: {"id":2,"error":null}\n\n', [2, 3]),
        (b'data: {"id":2}\n\nda', [2]),
        (b"data: [DONE]\n\n", []),
        (b"data: \n\n", [3]),
        (b"data:\n\n", [3]),
        (b": hi\n\n", [3]),
        (b"\n\n", [3]),
        (b'data: {"id":2' + b" " * 40 + b"}\n\n", APIStreamError),
    ],
    ids=str,
)
async def test_a_chunk_after_a_usual_event_is_read_by_the_letter(chunk: bytes, expected: object) -> None:
    """A chunk that looks like the ones before it, which held one event each, may be something else."""
    usual = data('{"id":1}')
    stream = Brief(answer(usual, usual, chunk, data('{"id":3}')), Item)

    if isinstance(expected, list):
        assert [item.id for item in await collect(stream)] == [1, 1, *expected]
    else:
        found, error = await gather(stream)
        assert ([item.id for item in found], type(error)) == ([1, 1], expected)


@pytest.mark.parametrize("end", [b"", b"data: ", b'data: {"id":3}\n\n'])
async def test_an_event_above_the_limit_ends_the_stream(end: bytes) -> None:
    """An event that is larger than the limit fails after the ones before it, wherever its bytes are cut."""
    large = b'data: {"id":2' + b" " * 30 + b"}\n\n"
    body = data('{"id":1}') + large + end

    for places in itertools.combinations(range(len(body)), 2):
        found, error = await gather(Brief(answer(*(part for part in cut(body, places) if part)), Item))

        assert found == [Item(1)], places
        assert type(error) is APIStreamError, places


async def test_an_event_at_the_limit_is_yielded() -> None:
    """An event of exactly the limit is yielded, wherever its bytes are cut."""
    body = data('{"id":1}', '{"id":2' + " " * 26 + "}") + b"data: "
    assert len(body.split(b"\n\n")[1]) == Brief.max_event

    for places in itertools.combinations(range(len(body)), 2):
        stream = Brief(answer(*(part for part in cut(body, places) if part)), Item)
        assert await collect(stream) == [Item(1), Item(2)], places


async def test_a_stream_of_events_gives_them_whole() -> None:
    """With ServerSentEvent as its type a stream yields every event except its end, undecoded."""
    stream = SSEStream[ServerSentEvent](
        answer(b"event: a\ndata: 1\n\nevent: ping\ndata: 2\n\n"), ServerSentEvent
    )

    assert await collect(stream) == [ServerSentEvent("a", "1"), ServerSentEvent("ping", "2")]


async def test_several_data_lines_are_one_value() -> None:
    """JSON may be written over several data lines."""
    assert await collect(SSEStream[Item](answer(b'data: {"id":\ndata: 7}\n\n'), Item)) == [Item(7)]


async def test_text_that_is_not_utf_8_is_mended() -> None:
    """A byte that is not UTF-8 becomes U+FFFD in typed values too, as in the standard."""
    body = b'data: {"type":"text","text":"caf\xe9"}\n\n'

    assert await collect(SSEStream[Text](answer(body), Text)) == [Text("caf\ufffd")]
    assert await collect(SSEStream[str](answer(b"data: \xff\n\n"), str)) == ["\ufffd"]
    with pytest.raises(APIResponseValidationError, match="event 1: Expected `int`"):
        await collect(SSEStream[Item](answer(b'data: {"id":"\xe9"}\n\n'), Item))


async def test_signs_of_life_are_passed_over() -> None:
    """Comments, pings and events without data keep a stream alive, and are not values."""
    body = b': hi\n\nevent: ping\ndata: {}\n\ndata:\n\ndata: {"id":1}\n\ndata: \n\n'
    stream = SSEStream[Item | None](answer(body), Item | None)

    assert await collect(stream) == [Item(1)]
    assert stream.skipped == 0


@pytest.mark.parametrize("events", [("", '{"id":1}'), ('{"id":1}', ""), ('{"id":1}', "", '{"id":2}')])
@pytest.mark.parametrize("alone", [True, False])
async def test_events_without_data_are_passed_over(events: tuple[str, ...], alone: bool) -> None:
    """An event with empty data is not a value, alone in a chunk or with others, for any type and decoder."""
    parts = [data(event) for event in events] if alone else [data(*events)]
    items = [Item(json.loads(event)["id"]) for event in events if event]

    def decode(body: bytes, kind: Any) -> Any:
        """Decode, and take an empty body as null."""
        return msgspec.json.decode(body, type=kind) if body else None

    settings = CallSettings(decoders=Decoders({"application/json": decode}))
    assert await collect(SSEStream[Item](answer(*parts), Item)) == items
    assert await collect(SSEStream[Item | None](answer(*parts), Item | None)) == items
    assert await collect(SSEStream[Item](answer(*parts, settings=settings), Item)) == items


MANY = [f'{{"id":{number}}}' for number in range(1, 9)]
TOGETHER: dict[str, list[str]] = {
    "values": MANY,
    "the end marker": [*MANY[:6], "[DONE]", *MANY[6:]],
    "a misfit": [*MANY[:6], '{"id":"six"}', *MANY[6:]],
    "not JSON": [*MANY[:6], "<html>", *MANY[6:]],
    "an error object": [*MANY[:6], '{"error":{"message":"overloaded"}}', *MANY[6:]],
    "a value with an error": [*MANY[:6], '{"id":7,"error":"broken"}', *MANY[6:]],
    "first a misfit": ["0", *MANY],
}


@pytest.mark.parametrize("size", [1, 5, 30, 1000])
@pytest.mark.parametrize("events", TOGETHER.values(), ids=TOGETHER)
@pytest.mark.parametrize("kind", [SSEStream, JSONLStream])
async def test_events_together_are_as_events_apart(
    kind: type[AsyncStream[Any]], events: list[str], size: int
) -> None:
    """Events in chunks of any size give the values and the error that they give one at a time."""
    is_sse = kind is SSEStream
    parts = [data(event) if is_sse else f"{event}\n".encode() for event in events]
    make = answer if is_sse else lines
    stream = b"".join(parts)
    apart, error_apart = await outcome(kind(make(*parts), Item))
    together, error_together = await outcome(kind(make(*cut(stream, range(size, len(stream), size))), Item))

    assert together == apart
    assert type(error_together) is type(error_apart)
    assert str(error_together) == str(error_apart)


@pytest.mark.parametrize(
    "events",
    [
        [b'data: {"id":1}\n\n', b'data: {"id":2}\n\n', b'data: {"id":3}\n\n'],
        [b'data: {"id":1}\n\n', b'data: {"id":2,"error":"x"}\n\n', b'data: {"id":3}\n\n'],
        [b'data: {"id":1}\n\n', b'data: {\ndata: "id":2}\n\n', b'data: {"id":3}\n\n'],
        [b'data: {"id":1}\n\n', b'data: {"id":\n2}\n\n', b'data: {"id":3}\n\n'],
        [b'event: e\ndata: {"id":1}\n\n', b'event: f\ndata: {"id":2}\n\n', b"data: [DONE]\n\n"],
        [b'data: {"id":1}\r\n\r\n', b'data: {"id":2}\n\n', b': x\n\ndata: {"id":3}\n\n'],
    ],
)
async def test_every_two_cuts_give_the_same_values(events: list[bytes]) -> None:
    """Wherever a stream is cut, its values and its error are those of the events one at a time."""
    values, error = await outcome(SSEStream(answer(*events), Item))
    stream = b"".join(events)
    for places in itertools.combinations(range(1, len(stream)), 2):
        found, cut_error = await outcome(SSEStream(answer(*cut(stream, places)), Item))

        assert (found, str(cut_error)) == (values, str(error))


async def test_a_typed_event_in_very_many_chunks() -> None:
    """An event of 20,000 chunks of 3 bytes is decoded, like the ones before and after it."""
    text = "x" * 60_000
    stream = data('{"id":1}') + data(f'{{"id":2,"text":"{text}"}}') + data('{"id":3}')

    values, error = await outcome(SSEStream(answer(*cut(stream, range(3, len(stream), 3))), dict[str, Any]))

    assert (values, error) == ([{"id": 1}, {"id": 2, "text": text}, {"id": 3}], None)


@pytest.mark.parametrize("size", [1, 100])
async def test_a_typed_event_above_the_bound_is_refused_while_it_comes(size: int) -> None:
    """Data without an end are not kept beyond max_event; the events before them are yielded."""

    class Short(SSEStream[Any]):
        max_event = 1000

    endless = data('{"id":1}') + b'data: "' + b"x" * 2000
    chunks = cut(endless, range(size, len(endless), size))
    source = answer(*chunks)
    values, error = await outcome(Short(source, Any))

    assert values == [{"id": 1}]
    assert isinstance(error, APIStreamError)
    assert "an event has more than 1000 bytes, after 1 events" in str(error)
    assert error.bytes_seen <= len(data('{"id":1}')) + 1002 + size


async def test_an_error_of_a_hook_comes_after_the_values_before_it() -> None:
    """In a chunk of many events, an exception of a hook is raised in its turn."""

    def hook(kind: type, value: Any) -> Any:
        if value == 7:
            raise KeyError(value)
        return complex(value)

    class Hooked(msgspec.Struct):
        id: complex

    response = answer(data(*MANY), settings=CallSettings(dec_hook=hook))
    found, error = await gather(SSEStream[Hooked](response, Hooked))

    assert [value.id for value in found] == [1, 2, 3, 4, 5, 6]
    assert "KeyError" in repr(error) or "KeyError" in repr(error.__cause__)


async def test_closing_within_a_chunk_ends_the_loop() -> None:
    """After `close`, no further event of a chunk is yielded, even if it was decoded."""
    stream = SSEStream[Item](answer(data(*MANY)), Item)
    found = []
    async for value in stream:
        found.append(value.id)
        if value.id == 3:
            await stream.close()

    assert found == [1, 2, 3]


async def test_empty_data_is_text_where_text_is_asked_for() -> None:
    """A stream of text also yields empty lines."""
    assert await collect(SSEStream[str](answer(data("a", "", "b")), str)) == ["a", "", "b"]


async def test_events_of_unknown_tags_are_skipped_and_counted() -> None:
    """An API may add events: a stream of a tagged union skips them, and `events` shows them."""
    body = data('{"type":"text","text":"a"}', '{"type":"new","x":[1]}', '{"type":"stop"}')
    stream = SSEStream[Text | Stop](answer(body), Text | Stop)

    assert await collect(stream) == [Text("a"), Stop()]
    assert stream.skipped == 1
    raw = await collect(SSEStream[Text](answer(body), Text).events())
    assert [json.loads(event.data)["type"] for event in raw] == ["text", "new", "stop"]


async def test_open_hands_unknown_tags_over() -> None:
    """With Open[...], unknown values are yielded as Unknown."""
    body = data('{"type":"new","x":1}')
    opened: Any = Open
    stream: SSEStream[Any] = SSEStream(answer(body), opened[Text | Stop])

    assert await collect(stream) == [Unknown({"type": "new", "x": 1}, "new")]
    assert stream.skipped == 0


class Row(msgspec.Struct, tag=1, array_like=True):
    name: str


class Other(msgspec.Struct, tag=2, array_like=True):
    name: str


async def test_tags_of_arrays_are_tags() -> None:
    """A union of array-like Structs skips arrays with a new first member, and nothing else."""
    stream = SSEStream[Row | Other](answer(data('[1,"a"]', '[3,"b"]', '[2,"c"]')), Row | Other)

    assert await collect(stream) == [Row("a"), Other("c")]
    for broken in ("[]", '["1","a"]', '{"type":1}'):
        with pytest.raises(APIResponseValidationError):
            await collect(SSEStream[Row](answer(data(broken)), Row | Other))


@pytest.mark.parametrize(
    "broken", ['{"type":"text","text":1}', '{"text":"a"}', '{"type":1}', '{"type":["x"]}', "[", "1"]
)
async def test_a_mistake_in_a_known_variant_raises(broken: str) -> None:
    """A wrong value with a known tag raises, after the earlier values were yielded."""
    stream = SSEStream[Text | Stop](
        answer(data('{"type":"text","text":"a"}', broken, '{"type":"stop"}')), Text | Stop
    )

    found, error = await gather(stream)

    assert found == [Text("a")]
    assert isinstance(error, APIResponseValidationError)
    assert "event 2: " in str(error)


async def test_a_validation_error_says_where_and_keeps_the_data_to_itself() -> None:
    """The error has the number of the event, the JSON path, status and type, and the data as an attribute."""
    response = answer(data('{"id":1}', '{"id":"secret"}'))
    found, error = await gather(SSEStream[Item](response, Item))

    assert found == [Item(1)]
    assert isinstance(error, APIResponseValidationError)
    assert str(error) == (
        f"GET {URL}: status 200, text/event-stream: event 2: Expected `int`, got `str` at $.id"
    )
    assert (error.path, error.status, error.excerpt) == ("$.id", 200, '{"id":"secret"}')
    assert error.response is response
    assert error.__cause__ is None
    assert state(response) == "closed"


async def test_strictness_and_hooks_are_those_of_the_call() -> None:
    """A stream decodes with the settings of its call."""
    loose = CallSettings(strict=False)

    assert await collect(SSEStream[Item](answer(data('{"id":"1"}'), settings=loose), Item)) == [Item(1)]

    def hook(wanted: type, value: Any) -> Any:
        return complex(value)

    hooked = CallSettings(dec_hook=hook)
    assert await collect(SSEStream[Any](answer(data('"1j"'), settings=hooked), complex)) == [1j]


async def test_a_type_that_cannot_be_decoded_is_refused_at_once() -> None:
    """A wrong type is a mistake in the program, found before anything is read."""
    with pytest.raises(TypeError, match="cannot be decoded"):
        SSEStream[Any](answer(), set[list[int]] | int | str | bool | complex)


# --- the end


@pytest.mark.parametrize("cast_to", [Item, Any, str, bytes, ServerSentEvent, None, msgspec.Raw])
async def test_done_ends_a_stream(cast_to: Any) -> None:
    """The data [DONE] ends a stream of any type; neither it nor the data after it is yielded."""
    response = answer(data('{"id":1}', "[DONE]", '{"id":2}'))

    assert len(await collect(SSEStream[Any](response, cast_to))) == 1


async def test_until_ends_a_stream() -> None:
    """The event that *until* recognises ends the stream, and is not yielded."""
    body = data('{"id":1}') + b"event: end\ndata: bye\n\n" + data('{"id":2}')
    stream = SSEStream[Item](answer(body), Item, until=lambda event: event.event == "end")

    assert await collect(stream) == [Item(1)]


async def test_done_ends_a_stream_with_until_too() -> None:
    """A custom end is an additional one, not a replacement."""
    stream = SSEStream[Item](answer(data('{"id":1}', "[DONE]", "!")), Item, until=lambda event: False)

    assert await collect(stream) == [Item(1)]


async def test_events_shows_everything_up_to_the_end() -> None:
    """The raw events have names, signs of life, errors and the end itself, and stop there."""
    body = b"event: ping\ndata: 1\n\nevent: error\ndata: 2\n\ndata: [DONE]\n\ndata: 3\n\n"
    raw = await collect(SSEStream[Item](answer(body), Item).events())

    assert [(event.event, event.data) for event in raw] == [
        ("ping", "1"),
        ("error", "2"),
        ("message", "[DONE]"),
    ]


async def test_a_stream_without_an_end_mark_ends_with_its_body() -> None:
    """Few servers mark the end; a last event without its blank line is dropped."""
    response = answer(data('{"id":1}'), b'data: {"id":2}\n')

    assert await collect(SSEStream[Item](response, Item)) == [Item(1)]
    assert state(response) == "ended"


async def test_after_the_end_mark_the_body_is_drained() -> None:
    """The few bytes after [DONE] are read, so that the connection can be used again."""
    response = answer(data('{"id":1}', "[DONE]"), lambda: asyncio.sleep(0), b": bye\n\n")

    await collect(SSEStream[Item](response, Item))

    assert state(response) == "ended"


async def test_the_drain_is_bounded_in_time() -> None:
    """If a server keeps the connection open after [DONE], the client closes it without waiting."""
    response = answer(data('{"id":1}', "[DONE]"), forever)

    assert await collect(SSEStream[Item](response, Item)) == [Item(1)]
    assert state(response) == "aborted"


async def test_the_drain_is_bounded_in_bytes() -> None:
    """Data that a server sends after [DONE] is not read without end."""
    response = answer(data("[DONE]"), *[b"x" * (16 << 10)] * 100)

    await collect(SSEStream[Item](response, Item))

    assert state(response) == "closed"


async def test_a_break_after_the_end_mark_is_not_an_error() -> None:
    """After the end mark, the stream is complete."""
    response = answer(data('{"id":1}', "[DONE]"), APIConnectionError("cut"))

    assert await collect(SSEStream[Item](response, Item)) == [Item(1)]


# --- the connection


async def test_break_closes_at_once() -> None:
    """Leaving the loop closes the connection, although stream and response still exist."""
    response = answer(data('{"id":1}', '{"id":2}'), forever)
    stream = SSEStream[Item](response, Item)

    async for _ in stream:
        break
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert state(response) == "closed"
    assert response.is_closed


@pytest.mark.parametrize("way", ["async with", "aclosing", "close"])
async def test_a_stream_is_closed_by_name(way: str) -> None:
    """Leaving `async with` closes, and so do close() and aclose(); twice is once."""
    response = answer(data('{"id":1}'), forever)
    stream = SSEStream[Item](response, Item)
    if way == "async with":
        async with stream as same:
            assert same is stream
    elif way == "aclosing":
        async with aclosing(stream):
            pass
    await stream.close()

    assert state(response) == "closed"
    assert stream.closed
    why = "used outside its `async with` block" if way == "async with" else "is closed"
    with pytest.raises(StreamConsumedError, match=why):
        await collect(stream)


async def test_close_in_the_loop_ends_it() -> None:
    """A stream that is closed during the iteration yields no further event."""
    stream = SSEStream[Item](answer(data('{"id":1}'), data('{"id":2}')), Item)
    seen: list[Item] = []
    async for item in stream:
        seen.append(item)
        await stream.close()

    assert seen == [Item(1)]


async def test_a_waiting_stream_keeps_no_value() -> None:
    """While a stream waits for the next chunk, it does not hold the values that it yielded."""
    yielded: list[weakref.ref[Traced]] = []
    held: list[list[Traced | None]] = []

    async def look() -> None:
        held.append([value for ref in yielded if (value := ref()) is not None])

    parts = (data('{"id":1}'), look, data('{"id":2}'), look, data('{"id":3}', '{"id":4}'), look)
    async for value in SSEStream[Traced](answer(*parts), Traced):
        yielded.append(weakref.ref(value))
        del value

    assert len(yielded) == 4
    assert held == [[], [], []]


async def test_a_waiting_stream_keeps_no_data() -> None:
    """While a stream waits, it does not hold the data of an event that was examined first."""
    held: list[int] = []

    async def look() -> None:
        held.append(tracemalloc.get_traced_memory()[0])

    examined = data('{"id":2,"error":null,"more":"' + "x" * 1_000_000 + '"}')
    stream = SSEStream[Item](answer(data('{"id":1}'), examined, look), Item)
    tracemalloc.start()
    try:
        assert await collect(stream) == [Item(1), Item(2)]
    finally:
        tracemalloc.stop()

    assert len(held) == 1
    assert held[0] < 100_000


async def test_small_pieces_of_an_event_are_joined() -> None:
    """An event that arrives in pieces of two bytes does not use twenty times its size."""
    body = b'data: {"id":1' + b" " * 100_000 + b"}\n\n"
    pieces = (body[place : place + 2] for place in range(0, len(body), 2))

    class Small(Parts):
        async def read_chunk(self) -> bytes:
            return next(pieces, b"")

    given = answer()
    response = Opened(Small(()), (), [], request=given.request, status=200, headers=given.headers)
    tracemalloc.start()
    try:
        assert await collect(SSEStream[Item](response, Item)) == [Item(1)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(body)


async def test_close_wakes_a_waiting_task() -> None:
    """Closing a stream ends the loop of a task that waits for an event, immediately and without an error."""
    response = answer(forever)
    stream = SSEStream[Item](response, Item)
    task = asyncio.create_task(collect(stream))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert not stream.closed
    await stream.close()

    assert await task == []
    assert stream.closed
    assert response.is_closed


@pytest.mark.parametrize("when", ["in a chunk", "in the tick"])
async def test_close_holds_back_what_came_already(when: str) -> None:
    """After close() no event is yielded: none of the last chunk, none that arrived in the same tick."""
    came, looked, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    seen: list[Item] = []
    chunks = data('{"id":1}', '{"id":2}'), data('{"id":3}')
    parts = (came.wait, *chunks) if when == "in the tick" else chunks
    stream = SSEStream[Item](answer(*parts), Item)

    async def read() -> None:
        async for item in stream:
            seen.append(item)
            looked.set()
            await closed.wait()

    task = asyncio.create_task(read())
    if when == "in the tick":
        for _ in range(4):
            await asyncio.sleep(0)
        came.set()
    else:
        await looked.wait()
    await stream.close()
    closed.set()
    await task

    assert seen == ([] if when == "in the tick" else [Item(1)])


async def test_a_stream_that_ends_by_itself_is_not_closed() -> None:
    """`closed` distinguishes a stream that was closed from one that reached its end."""
    async with SSEStream[Item](answer(data('{"id":1}')), Item) as stream:
        assert await collect(stream) == [Item(1)]
        assert not stream.closed
    assert stream.closed


async def test_close_before_the_loop_begins_is_not_an_error_of_the_loop() -> None:
    """A cancel button that is pressed before the loop begins ends it likewise; a second loop is a mistake."""
    stream = SSEStream[Item](answer(data('{"id":1}')), Item)
    await asyncio.create_task(stream.close())

    assert await collect(stream) == []
    with pytest.raises(StreamConsumedError, match="already iterated"):
        await collect(stream)


async def test_a_stream_outside_of_its_block_says_so() -> None:
    """A loop that begins, or continues, after the `async with` block raises an error that explains it."""
    async with SSEStream[Item](answer(data('{"id":1}', '{"id":2}')), Item) as stream:
        items = aiter(stream)
        assert await anext(items) == Item(1)
    with pytest.raises(StreamConsumedError, match="used outside its `async with` block; iterate it inside"):
        await anext(items)
    with pytest.raises(StreamConsumedError, match="used outside"):
        await collect(stream.events())

    async with SSEStream[Item](answer(forever), Item) as stream:
        task = asyncio.create_task(collect(stream))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    with pytest.raises(StreamConsumedError, match="used outside"):
        await task


async def test_aclose_is_close_of_subclasses_too() -> None:
    """A subclass that overrides close() is closed by aclose() and by its block as well."""
    seen: list[str] = []

    class Loud(SSEStream[Any]):
        async def close(self) -> None:
            seen.append("closed")
            await super().close()

    async with Loud(answer(b"")) as stream:
        await stream.aclose()

    assert seen == ["closed", "closed"]


async def test_a_dropped_stream_warns() -> None:
    """A stream that is neither iterated nor closed holds a connection: dropping it is a ResourceWarning."""
    stream: SSEStream[Any] | None = SSEStream[Any](answer(data("1")))
    with pytest.warns(ResourceWarning, match=f"GET {URL}: the stream was never iterated or closed"):
        del stream

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with SSEStream[Any](answer(data("1"))):
            pass
        assert await collect(SSEStream[Any](answer(data("1")))) == [1]
        over = answer(data("1"))
        await over.close()
        SSEStream[Any](over)
        with pytest.raises(TypeError):
            SSEStream[Any](answer(data("1")), reconnect=7)  # type: ignore[arg-type]


async def test_a_stream_is_iterated_once() -> None:
    """A second loop would find nothing, which looks like an empty answer, so it raises."""
    stream = SSEStream[Item](answer(data('{"id":1}')), Item)
    await collect(stream)

    with pytest.raises(StreamConsumedError, match="already iterated"):
        await collect(stream)
    with pytest.raises(StreamConsumedError):
        await collect(stream.events())


async def test_an_iterator_that_has_ended_stays_ended() -> None:
    """After its last event an iterator ends, however often it is called."""
    iterator = aiter(SSEStream[Item](answer(data('{"id":1}')), Item))

    assert await anext(iterator) == Item(1)
    for _ in range(3):
        assert await anext(iterator, None) is None


async def test_a_cancelled_reader_closes() -> None:
    """A cancellation stays a cancellation, and the connection is closed."""
    response = answer(data('{"id":1}'), forever)
    task = asyncio.create_task(collect(SSEStream[Item](response, Item)))
    for _ in range(4):
        await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert state(response) == "closed"


async def test_the_response_is_at_hand() -> None:
    """Headers and request ID of a stream are those of its response."""
    response = answer()
    stream = SSEStream[Item](response, Item)

    assert stream.response is response
    assert repr(stream) == f"<SSEStream of <AsyncAPIResponse 200 GET {URL}>>"
    await stream.close()


# --- broken streams


@pytest.mark.parametrize(
    "broken",
    [
        APIConnectionError("cut", reason="truncated"),
        APITimeoutError("silent", phase="read"),
        BodyTooLargeError("much"),
        APIResponseValidationError("not gzip"),
    ],
)
async def test_a_break_is_a_stream_error(broken: Exception) -> None:
    """Any failure on the wire mid-stream is one error, with its cause and the number of events received."""
    response = answer(data('{"id":1}', '{"id":2}'), b"data: ", broken)
    response.request.attempt = 2

    found, error = await gather(SSEStream[Item](response, Item))

    assert found == [Item(1), Item(2)]
    assert type(error) is APIStreamError
    assert (error.events_seen, error.bytes_seen, error.retries_taken) == (2, 38, 2)
    assert (error.type, error.body, error.request) == (None, None, response.request)
    assert error.__cause__ is broken
    assert error.reason == getattr(broken, "reason", "other")
    assert str(error) == f"GET {URL}: the stream broke after 2 events"
    assert response.is_closed
    assert pickle.loads(pickle.dumps(error)).events_seen == 2


@pytest.mark.parametrize("broken", [APITimeoutError("late", phase="total"), ClientClosedError("closed")])
async def test_what_ends_a_call_ends_a_stream_as_it_is(broken: Exception) -> None:
    """The end of the call's time, and of its client, are not reported as errors of the stream."""
    _, error = await gather(SSEStream[Item](answer(data('{"id":1}'), broken), Item))

    assert error is broken


async def test_an_error_event_raises() -> None:
    """An event named error raises, with its type and body, after the earlier events were yielded."""
    payload = '{"type":"error","error":{"type":"overloaded_error","message":"secret"}}'
    body = data('{"id":1}') + f"event: error\ndata: {payload}\n\n".encode()
    response = answer(body, forever)

    found, error = await gather(SSEStream[Item](response, Item))

    assert found == [Item(1)]
    assert type(error) is APIStreamError
    assert (error.type, error.events_seen, error.bytes_seen) == ("overloaded_error", 1, len(body))
    assert error.reason == "event"
    assert error.body == json.loads(payload)
    assert str(error) == f"GET {URL}: the stream reported an error"
    assert state(response) == "closed"


@pytest.mark.parametrize(
    ("payload", "kind", "body"),
    [
        ('{"type":"overloaded"}', "overloaded", {"type": "overloaded"}),
        ('{"type":"error"}', None, {"type": "error"}),
        ('{"type":"error","error":"x"}', None, {"type": "error", "error": "x"}),
        ('{"error":{"type":"error"}}', "error", {"error": {"type": "error"}}),
        ('{"error":{"type":7}}', None, {"error": {"type": 7}}),
        ("[1]", None, [1]),
        ("out of cheese", None, "out of cheese"),
        ("", None, None),
    ],
)
async def test_the_body_of_an_error_event_may_be_anything(payload: str, kind: str | None, body: Any) -> None:
    """The type is read from the members that servers use, and a body that is not JSON is text."""
    _, error = await gather(SSEStream[Item](answer(f"event: error\ndata: {payload}\n\n".encode()), Item))

    assert isinstance(error, APIStreamError)
    assert (error.type, error.body) == (kind, body)


async def test_an_sdk_makes_its_own_error() -> None:
    """An overload in the stream may have the class of one in the status."""

    def make_error(event: ServerSentEvent, response: AsyncAPIResponse[Any]) -> Exception:
        assert (event.event, event.data, response.status) == ("error", "busy", 200)
        return RateLimitError("busy", response=response)

    body = b"event: error\ndata: busy\n\n"
    _, error = await gather(SSEStream[Item](answer(body), Item, make_error=make_error))

    assert type(error) is RateLimitError


@pytest.mark.parametrize(
    "payload", ['{"error":{"type":"rate_limit","message":"m"}}', '{"error":"rate_limit"}']
)
async def test_an_error_without_a_name_is_recognised_where_it_does_not_fit(payload: str) -> None:
    """Servers without event names send {"error": ...} alone; if it does not match T, it is an error event."""
    for stream in (
        SSEStream[Item](answer(data(payload)), Item),
        JSONLStream[Item](lines(payload.encode()), Item),
    ):
        _, error = await gather(stream)

        assert type(error) is APIStreamError
        assert error.body == json.loads(payload)
    assert await collect(SSEStream[Any](answer(data(payload)))) == [json.loads(payload)]
    with pytest.raises(APIResponseValidationError):
        await collect(SSEStream[Item](answer(data('{"error":{},"id":"x"}')), Item))


class Lenient(msgspec.Struct):
    """Has no required field, so that every object decodes to it."""

    text: str = ""


class Telling(msgspec.Struct):
    text: str = ""
    failure: Any = msgspec.field(name="error", default=None)


class Tagged(msgspec.Struct, tag="tagged"):
    text: str = ""


class TaggedTelling(msgspec.Struct, tag="telling"):
    error: str | None = None


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    text: str = ""


@dataclasses.dataclass
class Plain:
    text: str = ""


class Typed(TypedDict, total=False):
    text: str


class Content(msgspec.Struct, Generic[T]):
    text: T | None = None


OVERLOADED = '{"error": {"type": "overloaded", "message": "busy"}}'


def error_streams(cast_to: Any, *payloads: str) -> list[AsyncStream[Any]]:
    """Streams of these payloads in either framing: whole, in small chunks, with IDs, with `until`."""
    events = data(*payloads)
    rows = "".join(f"{payload}\n" for payload in payloads).encode()
    numbered = b"".join(b"id: 1\n" + data(payload) for payload in payloads)
    return [
        SSEStream[Any](answer(events), cast_to),
        SSEStream[Any](answer(*cut(events, range(0, len(events), 5))[1:]), cast_to),
        SSEStream[Any](answer(numbered), cast_to),
        SSEStream[Any](answer(events), cast_to, until=lambda event: False),
        JSONLStream[Any](lines(rows), cast_to),
        JSONLStream[Any](lines(*cut(rows, range(0, len(rows), 5))[1:]), cast_to),
    ]


@pytest.mark.parametrize(
    "cast_to",
    [
        Lenient,
        Plain,
        Typed,
        Content[str],
        Lenient | None,
        list[int] | Lenient,
        Tagged,
        Strict,
        Item,
        list[int],
    ],
)
@pytest.mark.parametrize(
    "payload",
    [
        OVERLOADED,
        '{"text": "half", "id": 7, "error": "busy"}',
        '{"error":true,"code":503}',
        '{"type":"error","error":{"type":"overloaded"}}',
    ],
)
async def test_an_object_that_reports_an_error_raises(cast_to: Any, payload: str) -> None:
    """An object with a non-null member `error` raises, unless the type has a field for it."""
    good = {Item: '{"id":1}', list[int]: "[1]", Tagged: '{"type":"tagged"}'}.get(cast_to, '{"text":"a"}')
    for stream in error_streams(cast_to, good, payload, good):
        found, error = await gather(stream)

        assert len(found) == 1
        assert type(error) is APIStreamError
        assert error.body == json.loads(payload)
        assert error.events_seen == 1


@pytest.mark.parametrize("error", ["null", "false", "0", '""', "{ }", "[]"])
@pytest.mark.parametrize(
    ("cast_to", "value"), [(Lenient, Lenient("a")), (Plain, Plain("a")), (Typed, {"text": "a"})]
)
async def test_an_error_that_is_not_set_is_none(error: str, cast_to: Any, value: Any) -> None:
    """Servers that send `"error": null` with every event report no error by it."""
    payload = f'{{"error": {error}, "text": "a"}}'
    for stream in error_streams(cast_to, payload, payload):
        assert await collect(stream) == [value, value]


@pytest.mark.parametrize(
    ("cast_to", "payload", "value"),
    [
        (Telling, '{"error":"busy"}', Telling("", "busy")),
        (Any, OVERLOADED, json.loads(OVERLOADED)),
        (dict[str, Any], OVERLOADED, json.loads(OVERLOADED)),
        (Tagged | TaggedTelling, '{"type":"telling","error":"busy"}', TaggedTelling("busy")),
        (str, OVERLOADED, OVERLOADED),
        (Lenient, '{"text":"an \\"error\\": what"}', Lenient('an "error": what')),
        (Lenient, '{"text":"a","inner":{"error":"busy"}}', Lenient("a")),
    ],
)
async def test_an_error_that_the_type_has_a_place_for_is_a_value(
    cast_to: Any, payload: str, value: Any
) -> None:
    """A type with a member of that name, or one that keeps every member, receives it."""
    for stream in error_streams(cast_to, payload):
        assert await collect(stream) == [value]


async def test_a_variant_without_a_place_for_the_error_raises() -> None:
    """If another variant of a union has such a member, the variant that arrived decides."""
    for stream in error_streams(Tagged | TaggedTelling, '{"type":"tagged","error":"busy"}'):
        found, error = await gather(stream)

        assert (found, type(error)) == ([], APIStreamError)


async def test_an_error_of_an_unknown_tag_is_not_skipped() -> None:
    """A union skips events of unknown tags, and Open yields them, except one that reports an error."""
    payload = '{"type":"error","error":{"type":"overloaded"}}'
    opened: Any = Open
    for cast_to in (Text | Stop, opened[Text | Stop]):
        for stream in error_streams(cast_to, payload):
            found, error = await gather(stream)

            assert (found, type(error)) == ([], APIStreamError)
            assert stream.skipped == 0


async def test_an_error_that_is_not_utf_8_is_one_too() -> None:
    """Invalid bytes in its text are replaced, as in every event."""
    stream = SSEStream[Lenient](answer(b'data: {"error":"caf\xe9","text":"\xe9"}\n\n'), Lenient)
    _, error = await gather(stream)

    assert isinstance(error, APIStreamError)
    assert error.body["error"] == "caf\ufffd"


async def test_an_sdk_makes_the_error_of_an_object_too() -> None:
    """The hook is given an event named error, whose data is the object."""
    seen: list[ServerSentEvent] = []

    def make_error(event: ServerSentEvent, response: AsyncAPIResponse[Any]) -> Exception:
        seen.append(event)
        return RateLimitError("busy", response=response)

    for stream in (
        SSEStream[Lenient](answer(data(OVERLOADED)), Lenient, make_error=make_error),
        JSONLStream[Lenient](lines(OVERLOADED.encode()), Lenient, make_error=make_error),
    ):
        _, error = await gather(stream)
        assert type(error) is RateLimitError
    assert [(event.event, event.data) for event in seen] == [("error", OVERLOADED)] * 2


class Small(SSEStream[Any]):
    """A stream with its own bound."""

    max_event = 20


@pytest.mark.parametrize("size", [1, 1000])
async def test_an_event_above_the_bound_breaks_the_stream(size: int) -> None:
    """One event may have exactly that many bytes; events before a larger one are yielded."""
    body = data('"fits"', '"' + "x" * 20 + '"')
    chunks = [body[start : start + size] for start in range(0, len(body), size)]

    found, error = await gather(Small(answer(*chunks)))

    assert found == ["fits"]
    assert type(error) is APIStreamError
    assert "an event has more than 20 bytes, after 1 events" in str(error)
    assert (error.events_seen, error.final) == (1, True)


# --- responses that are not streams


@pytest.mark.parametrize("name", [name for name, case in HTTP_CASES.items() if "content_type" in case])
async def test_content_types_of_the_standard(name: str) -> None:
    """text/event-stream is one with any parameter, always UTF-8; every other type raises."""
    case = HTTP_CASES[name]
    response = answer("data: é\n\n".encode(), content_type=case["content_type"])
    stream = SSEStream[str](response, str)

    if case["expect"] == "accept":
        assert await collect(stream) == ["é"]
    else:
        with pytest.raises(APIResponseValidationError, match="a stream of text/event-stream was expected"):
            await collect(stream)
        assert state(response) == "closed"


async def test_html_is_not_a_stream() -> None:
    """A page instead of a stream raises before the first event, with the beginning of the page."""
    response = answer(b"<html>" + b"x" * 300, content_type="text/html")

    with pytest.raises(APIResponseValidationError) as caught:
        await collect(SSEStream[Item](response, Item))

    assert caught.value.content_type == "text/html"
    assert caught.value.excerpt == "<html>" + "x" * 194


async def test_the_excerpt_of_an_incomplete_page() -> None:
    """The excerpt of a wrong answer contains only the bytes received."""
    with pytest.raises(APIResponseValidationError) as caught:
        await collect(SSEStream[Item](answer(forever, content_type="text/html"), Item))

    assert caught.value.excerpt == ""


async def test_a_response_without_a_content_type_is_taken_for_a_stream() -> None:
    """Without a content type, nothing is contradicted."""
    assert await collect(SSEStream[Item](answer(data('{"id":1}'), content_type=None), Item)) == [Item(1)]


@pytest.mark.parametrize("status", [204, 205])
async def test_no_content_is_a_stream_that_is_over(status: int) -> None:
    """A 204 ends a stream before it began, whatever its type, and the stream does not reconnect."""
    response = answer(status=status, content_type=None)

    assert await collect(SSEStream[Item](response, Item, reconnect=True)) == []
    assert response.asked == []
    assert response.is_closed


# --- JSON lines


async def test_json_lines_are_typed() -> None:
    """Each line is a value; blank ones are skipped, and the last one needs no end."""
    body = b'{"id":1}\r\n\n{"id":2}\n{"id":3}'

    for size in (1, 4, 100):
        chunks = [body[start : start + size] for start in range(0, len(body), size)]
        assert await collect(JSONLStream[Item](lines(*chunks), Item)) == [Item(1), Item(2), Item(3)]


async def test_json_lines_of_unknown_tags_are_skipped() -> None:
    """Unions, ends and raw events are the same as for server-sent events."""
    body = b'{"type":"text","text":"a"}\n{"type":"new"}\n{"type":"stop"}\n{"type":"text","text":"b"}\n'

    def is_stop(event: ServerSentEvent) -> bool:
        return b"stop" in event.raw

    stream = JSONLStream[Text | Stop](lines(body), Text | Stop, until=is_stop)
    assert await collect(stream) == [Text("a")]
    assert stream.skipped == 1
    raw = await collect(JSONLStream[Any](lines(body)).events())
    assert [event.raw for event in raw] == body.splitlines()
    assert await collect(JSONLStream[str](lines(b" a\n"), str)) == [" a"]


@pytest.mark.parametrize("size", [1, 1000])
async def test_a_bad_line_is_named(size: int) -> None:
    """The error of a line has its number, blank and skipped lines counted, and the stream is closed."""
    body = b'{"type":"stop"}\n\n{"type":"new"}\n  \n{"type":"stop","reason":1}\n{"type":"stop"}\n'
    response = lines(*[body[start : start + size] for start in range(0, len(body), size)])

    found, error = await gather(JSONLStream[Text | Stop](response, Text | Stop))

    assert found == [Stop()]
    assert isinstance(error, APIResponseValidationError)
    assert "line 5: Expected `str`, got `int` at $.reason" in str(error)
    assert response.is_closed


async def test_a_last_line_that_is_cut_is_named() -> None:
    """A body that ends in the middle of a value is an error, not a shorter stream."""
    with pytest.raises(APIResponseValidationError, match="line 2: Input data was truncated"):
        await collect(JSONLStream[Item](lines(b'{"id":1}\n{"id":'), Item))


async def test_a_broken_stream_of_lines_gives_no_half_line() -> None:
    """If the connection breaks within a line, the line is not mistaken for a complete one."""
    found, error = await gather(JSONLStream[int](lines(b"1\n23", APIConnectionError("cut")), int))

    assert found == [1]
    assert isinstance(error, APIStreamError)


class ShortLines(JSONLStream[Any]):
    """A stream with its own bound."""

    max_line = 4


async def test_a_line_above_the_bound_breaks_the_stream() -> None:
    """One line may have so many bytes and no more."""
    found, error = await gather(ShortLines(lines(b"1234\n12345\n")))

    assert found == [1234]
    assert "a line has more than 4 bytes, after 1 events" in str(error)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json;stream=watch",
        "application/x-ndjson",
        "text/plain; charset=utf-8",
        "application/vnd.example+json",
        "application/octet-stream",
        "application/jsonl",
    ],
)
async def test_json_lines_have_many_names(content_type: str) -> None:
    """Servers label streams of JSON lines with many types; the class lists them."""
    assert await collect(JSONLStream[Item](lines(b'{"id":1}\n', content_type=content_type), Item)) == [
        Item(1)
    ]


@pytest.mark.parametrize("content_type", ["text/html", EVENT_STREAM, "application/json-seq", "image/png"])
async def test_other_types_are_not_json_lines(content_type: str) -> None:
    """A page or a stream of another framing is refused before its first line."""
    with pytest.raises(APIResponseValidationError, match="was expected"):
        await collect(JSONLStream[Item](lines(b'{"id":1}\n', content_type=content_type), Item))


async def test_json_lines_cannot_reconnect() -> None:
    """Lines have no ids to resume from."""
    with pytest.raises(TypeError, match="no event IDs"):
        JSONLStream[Item](lines(), Item, reconnect=True)


# --- a custom framing


class Words(AsyncStream[Any]):
    """Words between spaces, each an event."""

    accept = "text/words"
    media_types = frozenset({"text/words"})

    def _feed(self, chunk: bytes) -> Sequence[ServerSentEvent]:
        return [ServerSentEvent(data=word) for word in chunk.split()]


async def test_a_framing_of_ones_own() -> None:
    """A subclass sets the accepted type and the parser; the rest is inherited."""
    stream = Words(answer(b"1 2 x", content_type="text/words"), int)

    found, error = await gather(stream)

    assert found == [1, 2]
    assert "event 3" in str(error)
    with pytest.raises(NotImplementedError):
        await collect(AsyncStream[Any](answer(b"1", content_type=None)))


# --- reconnecting


class Naps:
    """A sleep that takes no time, and records its length."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float, /) -> None:
        self.taken.append(seconds)


EXACT = ReconnectPolicy(jitter=lambda seconds: 0)
CUT = APIConnectionError("cut")


def numbered(*numbers: int) -> bytes:
    """Events with their number as id and data."""
    return b"".join(b"id: %d\ndata: %d\n\n" % (number, number) for number in numbers)


async def test_a_broken_stream_is_resumed_where_it_broke() -> None:
    """The next connection names the last received event, and no event is lost or repeated."""
    naps = Naps()
    response = answer(
        numbered(1, 2),
        b"id: 3\ndata: 3\n",
        CUT,
        then=[answer(numbered(3, 4), CUT), answer(numbered(5), data("[DONE]"))],
    )
    stream = SSEStream[int](response, int, reconnect=EXACT, sleep=naps)

    assert await collect(stream) == [1, 2, 3, 4, 5]
    assert response.asked == [{"Last-Event-ID": "2"}, {"Last-Event-ID": "4"}]
    assert naps.taken == [1, 1]
    assert stream.last_event_id == "5"
    assert stream.response is not response


async def test_a_stream_that_ends_is_opened_again() -> None:
    """As in browsers, the end of a connection is not the end of the stream; a 204 is."""
    over = answer(status=204, content_type=None)
    response = answer(data("1"), then=[answer(data("2")), over])
    stream = SSEStream[int](response, int, reconnect=EXACT, sleep=Naps())

    assert await collect(stream) == [1, 2]
    assert response.asked == [{}, {}]
    assert over.is_closed


async def test_an_event_that_comes_again_is_dropped() -> None:
    """A server may start with the event that the request names; that one is not yielded twice."""
    response = answer(
        numbered(1, 2),
        b"id: 2\ndata: 22\n\n",
        then=[
            answer(b"id: 2\ndata: 2\n\nid: 2\ndata: 22\n\nid: 2\ndata: 222\n\ndata: 3\n\n", data("[DONE]"))
        ],
    )
    stream = SSEStream[int](response, int, reconnect=EXACT, sleep=Naps())

    assert await collect(stream) == [1, 2, 22, 222, 3]


async def test_events_that_only_share_an_id_are_kept() -> None:
    """An event without its own ID is new, although the last ID is still that of the previous event."""
    response = answer(numbered(1), then=[answer(b"data: 2\n\nid: 1\ndata: 3\n\n", data("[DONE]"))])
    stream = SSEStream[int](response, int, reconnect=EXACT, sleep=Naps())

    assert await collect(stream) == [1, 2, 3]


async def test_the_server_names_the_wait() -> None:
    """The server's retry is the first wait, doubled while no event arrives; without it, it is a second."""
    naps = Naps()
    response = answer(
        b"retry: 4000\n", CUT, then=[CUT, answer(CUT), answer(data("1")), answer(data("[DONE]"))]
    )
    stream = SSEStream[int](response, int, reconnect=EXACT, sleep=naps)

    assert await collect(stream) == [1]
    assert naps.taken == [4, 8, 16, 4]


@pytest.mark.parametrize(
    ("retry", "wait"), [(b"0", 0.1), (b"99999999999999999999", 30), (b"1500", 1.5), (b"x", 1)]
)
async def test_the_wait_is_never_nothing_and_never_without_end(retry: bytes, wait: float) -> None:
    """A server's wait is limited to between a tenth of a second and max_wait."""
    naps = Naps()
    response = answer(b"retry: " + retry + b"\n\n", then=[answer(data("[DONE]"))])

    await collect(SSEStream[int](response, int, reconnect=EXACT, sleep=naps))

    assert naps.taken == [wait]


async def test_waits_are_jittered_upwards() -> None:
    """Clients do not reconnect all together, and none before the time that the server named."""
    naps = Naps()
    response = answer(b"retry: 2000\n", then=[CUT, CUT, CUT, answer(data("[DONE]"))])

    await collect(SSEStream[int](response, int, reconnect=True, sleep=naps))

    assert [low <= wait <= 2 * low for low, wait in zip([2, 4, 8, 16], naps.taken, strict=True)] == [True] * 4


async def test_a_retry_after_is_waited_for() -> None:
    """An overloaded server that names a time in answer to a reconnect gets that time."""
    naps = Naps()
    busy = RateLimitError("busy", retry_after=7)
    response = answer(CUT, then=[busy, InternalServerError("down"), answer(data("[DONE]"))])

    await collect(SSEStream[int](response, int, reconnect=EXACT, sleep=naps))

    assert naps.taken == [1, 7, 4]


async def test_attempts_without_a_new_event_are_bounded() -> None:
    """After five reconnects in a row without a new event the stream fails, with the number of events
    received.
    """
    naps = Naps()
    again = [
        answer(numbered(2), CUT),
        CUT,
        answer(),
        answer(b": hi\n\n", CUT),
        APIConnectionError("last", reason="dns"),
    ]
    response = answer(numbered(1, 2), CUT, then=again)
    stream = SSEStream[int](response, int, reconnect=EXACT, sleep=naps)

    found, error = await gather(stream)

    assert found == [1, 2]
    assert naps.taken == [1, 2, 4, 8, 16]
    assert type(error) is APIStreamError
    assert (error.events_seen, error.final, error.reason) == (2, True, "dns")
    assert "broke after 2 events, and 5 reconnects in a row brought no new event" in str(error)
    assert error.__notes__ == ["Last event id: 2"]
    assert error.__cause__ is again[-1]
    assert stream.last_event_id == "2"


async def test_a_new_event_makes_attempts_start_anew() -> None:
    """A stream that makes progress may break any number of times."""
    rounds = [step for number in range(2, 9) for step in (CUT, answer(numbered(number), CUT))]
    response = answer(numbered(1), CUT, then=[*rounds, answer(data("[DONE]"))])
    policy = ReconnectPolicy(max_attempts=2, jitter=lambda seconds: 0)

    found = await collect(SSEStream[int](response, int, reconnect=policy, sleep=Naps()))

    assert found == [*range(1, 9)]


@pytest.mark.parametrize(
    "chunks",
    [
        (b"data: 2", b"0\n\ndata: 3\n\ndata: 4"),
        (b"data: 2", b"0\n\ndata: 3\n\n"),
        (b"data: 20\n\n", b"data: 3\n\n"),
        (b"data: 20\n\ndata: 3\n\n",),
    ],
    ids=str,
)
async def test_events_make_attempts_start_anew(chunks: tuple[bytes, ...]) -> None:
    """Events count as progress, wherever the chunks end."""
    cut_off = (*chunks, CUT)
    rounds = [step for _ in range(7) for step in (CUT, answer(*cut_off))]
    response = answer(*cut_off, then=[*rounds, answer(data("[DONE]"))])
    policy = ReconnectPolicy(max_attempts=2, jitter=lambda seconds: 0)

    found = await collect(SSEStream[int](response, int, reconnect=policy, sleep=Naps()))

    assert found == [20, 3] * 8


@pytest.mark.parametrize(
    "final",
    [
        BadRequestError("no"),
        RequestNotReplayableError("once"),
        InvalidRequestError("id"),
        APIStatusError("?"),
    ],
)
async def test_an_answer_that_is_final_ends_the_reconnects(final: Exception) -> None:
    """An error that would recur is not retried, and is the cause of the stream's error."""
    naps = Naps()
    response = answer(numbered(1), CUT, then=[final])

    found, error = await gather(SSEStream[int](response, int, reconnect=EXACT, sleep=naps))

    assert found == [1]
    assert type(error) is APIStreamError
    assert error.__cause__ is final
    assert len(naps.taken) == 1


async def test_an_answer_that_is_not_a_stream_ends_the_reconnects() -> None:
    """A page instead of the next connection is an error, and is not requested again."""
    page = answer(b"<html>", content_type="text/html")
    response = answer(numbered(1), CUT, then=[page])

    found, error = await gather(SSEStream[int](response, int, reconnect=EXACT, sleep=Naps()))

    assert found == [1]
    assert type(error) is APIStreamError
    assert isinstance(error.__cause__, APIResponseValidationError)
    assert page.is_closed


@pytest.mark.parametrize("broken", [APITimeoutError("late", phase="total"), ClientClosedError("closed")])
async def test_what_ends_a_call_ends_its_reconnects(broken: Exception) -> None:
    """The end of the call's time, or of the client, during a reconnect is raised unchanged."""
    _, error = await gather(SSEStream[int](answer(CUT, then=[broken]), int, reconnect=EXACT, sleep=Naps()))

    assert error is broken


async def test_no_wait_begins_that_the_deadline_cannot_cover() -> None:
    """A reconnect that would be due after the call's deadline is not awaited."""
    naps = Naps()
    response = answer(numbered(1), CUT)
    response.request.deadline = asyncio.get_running_loop().time() + 0.5
    response.request.timeout = Timeout(total=9).over(response.request.timeout)

    found, error = await gather(SSEStream[int](response, int, reconnect=EXACT, sleep=naps))

    assert found == [1]
    assert isinstance(error, APITimeoutError)
    assert (error.phase, naps.taken) == ("total", [])


async def test_an_error_event_is_not_reconnected() -> None:
    """An error that the server reports in the stream is an answer, and ends it."""
    response = answer(b"event: error\ndata: no\n\n")

    _, error = await gather(SSEStream[int](response, int, reconnect=EXACT, sleep=Naps()))

    assert isinstance(error, APIStreamError)
    assert response.asked == []


async def test_what_cannot_be_decompressed_is_not_reconnected() -> None:
    """A body that contradicts its headers is not requested again."""
    response = answer(numbered(1), APIResponseValidationError("not gzip"))

    _, error = await gather(SSEStream[int](response, int, reconnect=EXACT, sleep=Naps()))

    assert isinstance(error, APIStreamError)
    assert response.asked == []


async def test_close_while_reconnecting_ends_it() -> None:
    """A stream that is closed while it waits to reconnect does not reconnect."""
    naps: list[float] = []
    response = answer(numbered(1), CUT)
    stream: SSEStream[int]

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        await stream.close()

    stream = SSEStream[int](response, int, reconnect=EXACT, sleep=nap)

    assert await collect(stream) == [1]
    assert (len(naps), response.asked) == (1, [])
    assert stream.closed


@pytest.mark.parametrize("where", ["wait", "connect", "block"])
async def test_close_ends_a_reconnect_at_once(where: str) -> None:
    """Another task that closes the stream ends the wait to reconnect, and a reconnect that hangs."""
    begun = asyncio.Event()

    class Hanging(Opened):
        async def _answer_again(self, headers: Mapping[str, str]) -> AsyncAPIResponse[Any]:
            begun.set()
            return await asyncio.get_running_loop().create_future()

    async def nap(seconds: float) -> None:
        if where == "wait":
            begun.set()
            await forever()

    head = answer()
    parts = Parts([numbered(1), CUT])
    response = Hanging(parts, [], [], request=head.request, status=200, headers=head.headers)
    stream = SSEStream[int](response, int, reconnect=EXACT, sleep=nap)
    task = asyncio.create_task(collect(stream))
    await begun.wait()
    if where == "block":
        await stream.__aexit__(None, None, None)
        with pytest.raises(StreamConsumedError, match="used outside"):
            await asyncio.wait_for(task, 5)
    else:
        await stream.close()
        assert await asyncio.wait_for(task, 5) == [1]
    assert task.cancelling() == 0


async def test_raw_events_survive_too() -> None:
    """The raw events of a stream that reconnects are those of all its connections."""
    response = answer(numbered(1), CUT, then=[answer(numbered(1, 2), data("[DONE]"))])
    stream = SSEStream[int](response, int, reconnect=EXACT, sleep=Naps())

    assert [event.data async for event in stream.events()] == ["1", "2", "[DONE]"]


async def test_reconnect_needs_a_response_to_ask_for_again() -> None:
    """A hand-made response cannot be requested again, and the error is raised immediately."""
    request = APIRequest("GET", URL, stream=True)
    response = AsyncAPIResponse.from_bytes(request, 200, {"Content-Type": EVENT_STREAM}, data("1"))

    with pytest.raises(TypeError, match="a response that a client opened"):
        SSEStream[int](response, int, reconnect=True)

    assert await collect(SSEStream[int](response, int)) == [1]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_attempts": 0}, InvalidRequestError),
        ({"max_attempts": True}, TypeError),
        ({"wait": -1}, InvalidRequestError),
        ({"max_wait": float("inf")}, InvalidRequestError),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    """An invalid policy is refused on creation."""
    with pytest.raises(error):
        ReconnectPolicy(**options)


class Picky(SSEStream[Any]):
    """A stream that cannot be created."""

    def __init__(self, *args: Any, **options: Any) -> None:
        raise LookupError("no room")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stream_cls": dict}, "stream_cls must be a subclass of AsyncStream, such as SSEStream, not <class"),
        ({"stream_cls": "sse"}, "stream_cls must be a subclass of AsyncStream, such as SSEStream, not 'sse'"),
        ({"until": "[DONE]"}, "until must be a function of an event, not str"),
        ({"reconnect": "yes"}, "reconnect must be a bool or a ReconnectPolicy, not str"),
        ({"stream_cls": JSONLStream, "reconnect": True}, "JSONLStream cannot reconnect: it has no event IDs"),
        ({"cast_to": object.__class__}, "cast_to type cannot be decoded"),
        ({"cast_to": AsyncAPIResponse[bytes]}, r"client\.open\(method, path\) gives an unread response"),
    ],
)
async def test_what_is_wrong_with_a_stream_is_said_before_it_is_asked_for(
    options: dict[str, Any], message: str
) -> None:
    """A stream that cannot be read is not opened."""
    transport = FakeTransport(respond(200, body=data("1"), headers={"Content-Type": EVENT_STREAM}))
    async with AsyncAPIClient("http://127.0.0.1", transport=transport) as api:
        with pytest.raises(TypeError, match=message):
            async with api.stream("GET", "/events", **{"cast_to": int, **options}):
                pass

    assert transport.requests == []


async def test_a_stream_that_cannot_be_made_leaves_no_connection_behind() -> None:
    """An exception in the constructor of a stream class is raised, and its response is closed."""
    closed: list[str] = []

    async def watch(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        response = await handler(request)
        response.on_close(lambda: closed.append("closed"))
        return response

    transport = FakeTransport(respond(200, body=data("1"), headers={"Content-Type": EVENT_STREAM}))
    async with AsyncAPIClient("http://127.0.0.1", transport=transport, middlewares=[watch]) as api:
        with pytest.raises(LookupError, match="no room"):
            async with api.stream("GET", "/events", int, stream_cls=Picky):
                pass
        assert closed == ["closed"]


# --- on the wire


def head(content_type: str = EVENT_STREAM) -> bytes:
    """The head of a chunked response."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


def chunk(body: bytes) -> bytes:
    """One chunk; an empty one ends the body."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def sse_head() -> CIMultiDictProxy[str]:
    """The headers of an event stream."""
    return CIMultiDictProxy(CIMultiDict({"Content-Type": EVENT_STREAM}))


def sse(body: bytes) -> Any:
    """An answer of a FakeTransport that is an event stream."""
    return respond(200, headers={"Content-Type": EVENT_STREAM}, chunks=[body])


@asynccontextmanager
async def wire(
    script: Script,
) -> AsyncGenerator[tuple[RawServer, Callable[..., Awaitable[AsyncAPIResponse[Any]]]], None]:
    """A server that follows *script*, and a function that opens a streaming response from it."""
    transport = AiohttpTransport()
    async with raw_server(script) as server:

        async def open_stream(**options: Any) -> AsyncAPIResponse[Any]:
            return await transport(APIRequest("GET", server.url, stream=True, **options))

        try:
            yield server, open_stream
        finally:
            await transport.close()


@pytest.mark.parametrize(
    "body",
    [
        [chunk(data("1", "2")), chunk(b"")],
        [chunk(data("1")), chunk(data("2", "[DONE]")), chunk(b"")],
        [chunk(data("1", "2", "[DONE]") + b": bye\n\n"), chunk(b"")],
    ],
)
async def test_a_finished_stream_gives_its_connection_back(body: list[bytes]) -> None:
    """After a stream has ended, by its body or by [DONE], the next call uses its connection."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(head())
        for piece in body:
            await exchange.send(piece)
            await asyncio.sleep(0.002)

    async with wire(script) as (server, open_stream):
        for _ in range(3):
            assert await collect(SSEStream[int](await open_stream(), int)) == [1, 2]

        assert (len(server.requests), server.connections) == (3, 1)


async def test_an_abandoned_stream_closes_its_connection() -> None:
    """The server notices the end of the connection soon after the loop is left."""
    gone = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.send(head() + chunk(data("1")))
        while await exchange.reader.read(100):
            pass
        gone.set()

    async with wire(script) as (server, open_stream):
        stream = SSEStream[int](await open_stream(), int)
        async for value in stream:
            assert value == 1
            break
        await asyncio.wait_for(gone.wait(), 5)

        assert server.connections == 1


@pytest.mark.parametrize("end", [close, reset])
async def test_a_stream_that_is_cut_says_how_far_it_got(end: Callable[[bytes], Script]) -> None:
    """A FIN or a RST in the middle of a chunked body is a stream error, after the earlier values."""
    async with wire(end(head() + chunk(data("1", "2")))) as (_, open_stream):
        found, error = await gather(SSEStream[int](await open_stream(), int))

    assert found == [1, 2]
    assert type(error) is APIStreamError
    assert (error.events_seen, error.bytes_seen) == (2, 18)
    assert isinstance(error.__cause__, APIConnectionError)


async def test_silence_is_a_stream_error() -> None:
    """A stream that is silent for longer than the read timeout breaks, from a timeout of that phase."""
    quiet = Timeout(total=None, attempt=None, connect=5, read=0.05, write=5, pool=None)

    async with wire(hang(head() + chunk(data("1")))) as (_, open_stream):
        found, error = await gather(SSEStream[int](await open_stream(timeout=quiet), int))

    assert found == [1]
    assert type(error) is APIStreamError
    assert isinstance(error.__cause__, APITimeoutError)
    assert error.__cause__.phase == "read"


@asynccontextmanager
async def one_connection(script: Script, **options: Any) -> AsyncGenerator[AsyncAPIClient, None]:
    """A client that has one connection to a server that follows *script*."""
    transport = AiohttpTransport(connector=lambda: aiohttp.TCPConnector(limit=1))
    async with (
        raw_server(script) as server,
        AsyncAPIClient(server.url, transport=transport, max_retries=0, **options) as api,
    ):
        yield api


async def test_the_clients_total_bounds_the_way_to_the_head_of_a_stream() -> None:
    """While a stream holds the only connection, the next call ends after the client's total; the first
    continues.
    """
    go_on = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.send(head() + chunk(data("1")))
        await go_on.wait()
        await exchange.send(chunk(data("2")) + chunk(b""))

    async with one_connection(script, timeout=0.1) as api, api.stream("GET", "/", int) as stream:
        values = aiter(stream)
        assert await anext(values) == 1
        for opened in (
            api.stream("GET", "/", int),
            api.open("GET", "/"),
            api.stream("GET", "/", timeout=Timeout(read=9)),
        ):
            with pytest.raises(APITimeoutError, match=r"not done within 0\.1 s \(total\)") as caught:
                async with asyncio.timeout(5), opened:
                    pass
            assert caught.value.phase == "total"
        go_on.set()

        assert await anext(values) == 2
        assert stream.response.request.deadline is None
        assert await anext(values, None) is None


async def test_a_total_that_the_call_asks_for_holds_to_the_end_of_the_stream() -> None:
    """A `timeout` of the call ends its stream in the middle, whatever the client's timeout; None removes
    the limit.
    """
    async with one_connection(hang(head() + chunk(data("1"))), timeout=60) as api:
        for timeout in (0.1, Timeout(total=0.1)):
            async with asyncio.timeout(5), api.stream("GET", "/", int, timeout=timeout) as stream:
                found, error = await gather(stream)

            assert found == [1]
            assert isinstance(error, APITimeoutError)
            assert error.phase == "total"
        async with api.stream("GET", "/", int, timeout=None) as stream:
            assert stream.response.request.limit("total") is None
            assert stream.response.request.deadline is None


async def test_a_deadline_that_a_request_brings_holds_to_the_end_of_its_stream() -> None:
    """The client's total ends at the head; an earlier deadline of a middleware outside of it does not."""
    deadlines: list[float | None] = []

    async def bring(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        request.deadline = asyncio.get_running_loop().time() + 0.1
        deadlines.append(request.deadline)
        return await handler(request)

    transport = FakeTransport(
        lambda request: AsyncAPIResponse(request, 200, sse_head(), Parts([data("1"), forever]))
    )
    chain = [bring, *default_chain()]
    async with (
        AsyncAPIClient("http://127.0.0.1", transport=transport, chain=chain) as api,
        asyncio.timeout(5),
        api.stream("GET", "/", int) as stream,
    ):
        found, error = await gather(stream)

    assert (found, stream.response.request.deadline) == ([1], deadlines[0])
    assert isinstance(error, APITimeoutError)


async def test_each_reconnect_has_the_clients_total() -> None:
    """The time until the head of a reconnect is limited by the client's total, like that of the first
    request.
    """
    scripts = in_turn(
        close(head() + chunk(b"id: 1\n" + data("1"))),
        hang(),
        reply(head() + chunk(data("[DONE]")) + chunk(b"")),
    )
    policy = ReconnectPolicy(wait=0.001, jitter=lambda wait: 0.0)

    async with (
        one_connection(scripts, timeout=0.1) as api,
        asyncio.timeout(5),
        api.stream("GET", "/", int, reconnect=policy) as stream,
    ):
        found, error = await gather(stream)

    assert found == [1]
    assert isinstance(error, APITimeoutError)
    assert error.phase == "total"


async def test_a_stream_of_a_client_outside_of_its_block_says_so() -> None:
    """The result of `client.stream` ends with its block, even if another task reads it."""
    async with AsyncAPIClient("http://127.0.0.1", transport=FakeTransport(sse(data("1")))) as api:
        async with api.stream("GET", "/", int) as stream:
            pass
        assert stream.closed
        with pytest.raises(StreamConsumedError, match="used outside its `async with` block"):
            await collect(stream)


async def test_a_stream_that_is_not_entered_says_how() -> None:
    """Looping over `stream` or `open`, awaiting it or using it raises an error that shows `async with`."""
    async with AsyncAPIClient("http://127.0.0.1", transport=FakeTransport(sse(data("1")))) as api:
        for opened, name in ((api.stream("GET", "/", int), "stream"), (api.open("GET", "/"), "open")):
            words = re.escape(f"enter it first: async with {name}(...) as ")
            thing: Any = opened
            with pytest.raises(TypeError, match=words):
                await collect(thing)
            with pytest.raises(TypeError, match=words):
                await thing
            with pytest.raises(AttributeError, match=words):
                thing.events()
            assert not hasattr(thing, "__len__")
        async with api.stream("GET", "/", int) as stream:
            assert await collect(stream) == [1]


async def test_a_block_is_entered_once() -> None:
    """Entering what one call of `stream` or `open` returned again is an error, and nothing is sent."""
    transport = FakeTransport(sse(data("1")), sse(data("1")))
    async with AsyncAPIClient("http://127.0.0.1", transport=transport) as api:
        blocks: list[Any] = [api.stream("GET", "/", int), api.open("GET", "/")]
        for number, block in enumerate(blocks, start=1):
            async with block:
                pass
            with pytest.raises(RuntimeError, match="was already entered; each block needs its own call"):
                await block.__aenter__()
            assert len(transport.requests) == number


async def test_crlf_and_characters_cut_on_the_wire() -> None:
    """An event that arrives byte by byte, with CRLF and characters of several bytes, is the same event."""
    body = 'event: é\r\ndata: {"type":"text","text":"\u2028日本"}\r\n\r\n'.encode()

    async def script(exchange: Exchange) -> None:
        await exchange.send(head())
        for byte in body:
            await exchange.send(chunk(bytes([byte])))
        await exchange.send(chunk(b""))

    async with wire(script) as (_, open_stream):
        assert await collect(SSEStream[Text](await open_stream(), Text)) == [Text("\u2028日本")]


async def test_a_line_of_two_megabytes_is_read() -> None:
    """A line is limited by the stream's own bound, and by no lower one."""
    line = b'{"id":1}' + b" " * (2 << 20)

    async with wire(reply(head("application/x-ndjson") + chunk(line + b"\n") + chunk(b""))) as (
        _,
        open_stream,
    ):
        assert await collect(JSONLStream[Item](await open_stream(), Item)) == [Item(1)]


async def test_a_resumed_stream_over_the_wire() -> None:
    """Over three connections, two of them cut, every event arrives once and in order."""
    script = in_turn(
        close(head() + chunk(numbered(1, 2)) + chunk(b"id: 3\nda")),
        close(head() + chunk(numbered(3))),
        reply(head() + chunk(numbered(3, 4) + data("[DONE]")) + chunk(b"")),
    )
    async with wire(script) as (server, open_stream):
        first = await open_stream()

        async def again(headers: Mapping[str, str]) -> AsyncAPIResponse[Any]:
            return await open_stream(headers=headers)

        first._again = again
        stream = SSEStream[int](first, int, reconnect=EXACT, sleep=Naps())

        assert await collect(stream) == [1, 2, 3, 4]
        assert [request.headers.get("Last-Event-ID") for request in server.requests] == [None, "2", "3"]


def test_what_a_stream_asks_for() -> None:
    """An event stream is requested by its media type and past every cache; JSON lines by their media
    types.
    """
    assert SSEStream.accept == "text/event-stream"
    assert SSEStream.request_headers == {"Cache-Control": "no-cache"}
    assert "application/x-ndjson" in JSONLStream.accept


Kind = Literal["a", "b"]


async def test_a_literal_that_grew_is_a_mistake() -> None:
    """Only tags mark an event as new; a new value in a closed list is wrong."""
    with pytest.raises(APIResponseValidationError, match="event 2"):
        await collect(SSEStream[Kind](answer(data('"a"', '"c"')), Literal["a", "b"]))
