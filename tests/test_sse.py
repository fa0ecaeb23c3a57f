"""Server-sent events without I/O: the WHATWG algorithm, whatever the chunking, and its bound."""

from __future__ import annotations

import base64
import itertools
import json
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from event_streams import STREAMS, Seen, by_the_letter, cut
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from aioapiclient import APIRequest, AsyncAPIResponse
from aioapiclient._response.source import BytesSource
from aioapiclient.streaming import ServerSentEvent, SSEDecoder, SSEStream

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "cases" / "sse.json").read_text())["cases"]


def decode(chunks: Iterable[bytes]) -> Seen:
    """The events of *chunks*, by `SSEDecoder`."""
    decoder = SSEDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    events += decoder.flush()
    found = [(event.event, event.data, event.id) for event in events]
    return Seen(found, decoder.last_event_id, decoder.retry)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_streams_of_other_suites(case: dict[str, Any]) -> None:
    """The test streams of other implementations give the events of the standard, however split."""
    stream = base64.b64decode(case["stream_base64"])
    events = [(event["event"], event["data"], event["id"]) for event in case["expected_events"]]
    expected = Seen(events, case["expected_last_event_id"], case["retry"])

    assert decode([stream]) == expected
    assert decode(cut(stream, range(len(stream)))) == expected
    for chunks in [cut(stream, [place]) for place in range(0, len(stream), 1 + len(stream) // 300)]:
        assert decode(chunks) == expected
    if "chunks_base64" in case:
        assert decode(base64.b64decode(chunk) for chunk in case["chunks_base64"]) == expected


@given(stream=STREAMS, data=st.data())
def test_any_split_gives_what_the_standard_says(stream: bytes, data: st.DataObject) -> None:
    """Whatever the bytes, and wherever they are split, the events are those of the literal algorithm."""
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))

    assert decode(cut(stream, places)) == by_the_letter(stream)
    assert decode(cut(stream, range(len(stream)))) == by_the_letter(stream)


class ShortWay(SSEStream[Any]):
    """A typed stream that returns undecoded data if it has a common form."""

    def __init__(self) -> None:
        headers = CIMultiDictProxy(CIMultiDict({"Content-Type": "text/event-stream"}))
        request = APIRequest("GET", "https://api.example.com/", stream=True)
        super().__init__(AsyncAPIResponse(request, 200, headers, BytesSource(b"")))
        self._begun = True
        self._start()

    def feed(self, chunk: bytes) -> list[bytes] | None:
        """The data of the events that *chunk* completes; None if they were parsed."""
        found = self._direct_values(chunk)
        return None if found is PARSED else [*found]

    def end(self) -> tuple[list[ServerSentEvent], int | None]:
        """What the end of the stream leaves."""
        return self._decoder.flush(), self._decoder.retry

    def _decode_found(self, found: list[bytes], joined: bytes) -> Iterable[Any]:
        assert joined.startswith(b"".join(found))
        return found

    def _one_by_one(self, found: Iterable[Any], decode: Callable[[Any], Any]) -> Iterator[Any]:
        return PARSED


PARSED: Iterator[Any] = iter(())


def compare(chunks: Iterable[bytes]) -> None:
    """Check that the data of each chunk that takes the short way are those of the parsed events."""
    one, other = ShortWay(), SSEDecoder()
    for chunk in filter(None, chunks):  # only the end of a body is empty
        found = one.feed(chunk)
        events = other.feed(chunk)
        if found is not None:
            assert found == [event.raw for event in events]
            assert not any(event.has_id or event.event in ("error", "ping") for event in events)
    assert one.end() == (other.flush(), other.retry)


@given(stream=STREAMS, data=st.data())
def test_the_short_way_gives_what_the_long_way_gives(stream: bytes, data: st.DataObject) -> None:
    """If a chunk takes the shortcut, its data equal those of the parsed events."""
    compare(cut(stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=20))))


@pytest.mark.parametrize(
    "stream",
    [
        b"data: 1\n\ndata: 23456\n\ndata: 7\n\n",
        b"data: 1\n\ndata: 2\ndata: 3\n\ndata: 4\n\n",
        b"data: 1\n\n: x\n\n\ndata: 2\n\ndata: 3\n\n",
        b"data: 1\r\n\r\ndata: 2\n\n\rdata: 3\n\n",
        b"event: e\ndata: 1\n\nevent: e\ndata: 23\n\n",
        b"data: 1\n\nevent: e\ndata: 2\n\ndata: 3\n\n",
        b"data: 1\n\ndata:2\n\ndata: 3\ndummy\n\n",
        b"data: 1\n\ndata: \n\ndata:\n\ndata: 3\n\n",
        b"data: 1\n\nda\n\ndata: ta\n\ndata: 3\n\n",
    ],
)
def test_the_short_way_at_every_three_cuts(stream: bytes) -> None:
    """Wherever the common forms are cut, also within the start of an event, nothing is lost or joined."""
    for places in itertools.combinations(range(len(stream)), 3):
        compare(cut(stream, places))


@pytest.mark.parametrize(
    "text",
    [
        b"data: 1\n\n",
        b"data: 1\n\ndata: 2\n\n",
        b"event: a\ndata: 1\n\n",
        b"event: a\ndata: 1\n\nevent: \ndata: 2\n\n",
        b"data: 1\n\nevent: e\ndata: 2\n\n",
    ],
)
def test_the_common_forms_take_the_short_way(text: bytes) -> None:
    """One line of data, alone or after a name, is recognised without examining each event's fields, however
    it is split.
    """
    for place in range(len(text)):
        stream = ShortWay()
        found: list[bytes] = []
        for chunk in cut(text, [place]):
            found += stream.feed(chunk) or []

        assert found == [b"1", b"2"][: text.count(b"data")]


@pytest.mark.parametrize(
    "text",
    [
        b"data: 1\n\ndata: 2\ndata: 3\n\n",
        b"data: 1\n\ndata:\n\n",
        b"event: e\ndata: 1\n\nevent: error\ndata: 2\n\n",
        b"event: e\ndata: 1\n\nevent: ping\ndata: 2\n\n",
        b"event: e\ndata: 1\n\nevent: f\nid: 3\ndata: 2\n\n",
        b"event: e\ndata: 1\n\nevent: f\n\n",
        b"event: e\ndata: 1\nid: 3\n\nevent: f\ndata: 2\n\n",
    ],
)
def test_what_differs_in_one_event_takes_the_long_way(text: bytes) -> None:
    """One event with more fields than its data, or in another form, is enough to examine all of them."""
    assert ShortWay().feed(text) is None


def test_a_byte_order_mark_is_dropped_once() -> None:
    """A BOM is not part of the first field, also if it arrives in three pieces; a second one is."""
    assert decode([b"\xef", b"\xbb", b"\xbfdata: 1\n\n"]).events == [("message", "1", "")]
    assert decode([b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\n"]).events == []


def test_an_event_is_given_as_soon_as_it_is_whole() -> None:
    """With CR as the line end, an event does not wait for the LF that may follow."""
    decoder = SSEDecoder()

    assert decoder.feed(b"data: 1\r") == []
    assert decoder.feed(b"\r") == [ServerSentEvent(data="1")]
    assert decoder.feed(b"\ndata: 2\r\n\r") == [ServerSentEvent(data="2")]
    assert decoder.feed(b"\n") == []


def test_what_is_not_utf_8_becomes_replacement_characters() -> None:
    """A byte that is not UTF-8 changes one character of its event, and no other event."""
    decoder = SSEDecoder()

    (event,) = decoder.feed(b"event: caf\xe9\nid: \xff\ndata: a\xffb\n\n")

    assert (event.event, event.id, event.data) == ("caf\ufffd", "\ufffd", "a\ufffdb")
    assert event.raw == b"a\xffb"


def test_the_id_stays_until_another_is_named() -> None:
    """An event without an ID has the last one; an empty ID removes it, and NUL voids the field."""
    decoder = SSEDecoder()

    events = decoder.feed(b"id: 1\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid\ndata: d\n\n")

    assert [(event.id, event.has_id) for event in events] == [
        ("1", True),
        ("1", False),
        ("1", False),
        ("", True),
    ]


def test_a_decoder_goes_on_with_the_id_of_the_one_before() -> None:
    """After a reconnect the last event id holds until the new connection names one."""
    decoder = SSEDecoder(last_event_id="41")

    (event,) = decoder.feed(b"data: a\n\n")

    assert (event.id, event.has_id) == ("41", False)
    assert decoder.last_event_id == "41"


def test_the_end_drops_an_event_but_keeps_its_retry() -> None:
    """An event that was cut off yields nothing, not even its ID; a complete retry line applies."""
    decoder = SSEDecoder()
    decoder.feed(b"id: 1\nretry: 20\nretry: 3")

    assert decoder.flush() == []
    assert (decoder.last_event_id, decoder.retry) == ("", 20)


@pytest.mark.parametrize(
    ("line", "retry"),
    [
        (b"retry: 0", 0),
        (b"retry:15", 15),
        (b"retry: " + b"0" * 5000 + b"7", 7),
        (b"retry: " + b"9" * 5000, 10**15),
        ("retry: \u0661".encode(), None),
        (b"retry: -5", None),
        (b"retry: 1_0", None),
        (b"retry: 1.5", None),
        (b"retry: 10 ", None),
        (b"retry", None),
    ],
)
def test_retry_is_ascii_digits_and_nothing_else(line: bytes, retry: int | None) -> None:
    """A retry of ASCII digits counts, an excessive one is limited, and any other is ignored."""
    decoder = SSEDecoder()

    (event,) = decoder.feed(b"data: x\n" + line + b"\n\n")

    assert (event.retry, decoder.retry) == (retry, retry)


def test_a_line_feed_of_unicode_ends_no_line() -> None:
    """U+2028, U+0085, VT and FF are part of the data."""
    text = "a\u2028b\u0085c\x0bd\x0ce"

    assert decode([f"data: {text}\n\n".encode()]).events == [("message", text, "")]


def test_4_mb_in_small_chunks_are_one_event() -> None:
    """An event of 4 MB in chunks of 1 kB is complete, as is one in two chunks."""
    stream = b"data: " + b"x" * (4 << 20) + b"\n\n"

    for size in (1 << 10, 3 << 20):
        (event,) = [
            event for decoder in [SSEDecoder()] for chunk in cut(stream, range(0, len(stream), size))
            for event in decoder.feed(chunk)
        ]  # fmt: skip
        assert len(event.data) == 4 << 20


def test_an_event_in_very_many_pieces_takes_little_more_than_its_bytes() -> None:
    """An event of 50,000 chunks of 2 bytes is whole, and is not kept as 50,000 objects."""
    decoder = SSEDecoder()
    stream = b"data: " + b"x" * 100_000 + b"\n\n"
    *most, last = cut(stream, range(0, len(stream), 2))

    tracemalloc.start()
    try:
        for chunk in most:
            assert decoder.feed(bytes(bytearray(chunk))) == []
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 1_000_000  # 2.1 MB as objects
    assert decoder.feed(last) == [ServerSentEvent(data="x" * 100_000)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_event_above_the_bound_is_refused(size: int) -> None:
    """An event of more than max_event bytes raises, after the events before it; one that just fits does
    not.
    """
    fits = b"data: " + b"x" * 94 + b"\n\n"
    stream = fits + b"\n" + fits + b"data: " + b"x" * 95 + b"\n\n" + fits
    decoder = SSEDecoder(max_event=100)
    events: list[ServerSentEvent] = []

    with pytest.raises(ValueError, match="an event has more than 100 bytes"):
        for chunk in cut(stream, range(0, len(stream), size)):
            events += decoder.feed(chunk)
        decoder.flush()

    assert [event.data for event in events] == ["x" * 94] * 2
    with pytest.raises(ValueError, match="more than 100 bytes"):
        decoder.feed(b"data: 1\n\n")


def test_an_endless_line_is_refused_while_it_comes() -> None:
    """Bytes without an end are not kept beyond the bound."""
    decoder = SSEDecoder(max_event=1000)

    with pytest.raises(ValueError, match="more than 1000 bytes"):
        for _ in range(20):
            decoder.feed(b"data" * 25)


@pytest.mark.parametrize("comment", [b":\n", b": ping\r\n", b": ping\r"])
def test_comments_without_end_are_not_kept(comment: bytes) -> None:
    """A server may keep a stream alive with comment lines alone, for any time."""
    decoder = SSEDecoder(max_event=100)

    for _ in range(1000):
        assert decoder.feed(comment) == []
    assert decoder.feed(b"data: 1\n\n") == [ServerSentEvent(data="1")]


def test_an_event_can_be_made_by_hand() -> None:
    """Users make events for their tests, from text or bytes; they compare by content."""
    event = ServerSentEvent("error", "\u00e9", "7", 5)

    assert event == ServerSentEvent(event="error", data="\u00e9".encode(), id="7", retry=5)
    assert hash(event) == hash(ServerSentEvent("error", "\u00e9", "7", 5))
    assert event != ServerSentEvent("error", "e", "7", 5)
    assert event != "\u00e9"
    assert ServerSentEvent().event == "message"


def test_the_repr_of_an_event_keeps_its_data_to_itself() -> None:
    """Data may be a secret, and is megabytes at times."""
    assert repr(ServerSentEvent("e" * 99, "secret")) == f"<ServerSentEvent {'e' * 40!r}, 6 bytes>"
