"""Any answer to any call: a value or a documented error, and no response is left open."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from bodies import CAST_TOS, CONTENT_TYPES, plain_data
from event_streams import STREAMS, by_the_letter
from fuzz.mutations import mutated, pieces
from helpers import BASE, Client
from hypothesis import assume, given
from hypothesis import strategies as st

from aioapiclient import (
    APIError,
    APIResponseValidationError,
    APIStreamError,
    JSONLStream,
    SSEStream,
    UnprocessableEntityError,
)
from aioapiclient._codecs.error_bodies import ProblemDetails
from aioapiclient.testing import FakeTransport, respond

HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "Location", "Link", "Content-Type", "x-should-retry", "X-Request-Id"]),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=30)
    | st.sampled_from([*filter(None, CONTENT_TYPES), "true", "0", "/v1/x", "//other/x", "</a>; rel=next"]),
    max_size=4,
)
BODIES = st.binary(max_size=40) | plain_data.map(msgspec.json.encode) | STREAMS
LINES = [
    b'{"a": 1}\n{"a": 2}\r\n\n[3]\n"\xe2\x80\xa8"\nnull\n',
    b'1\n 2 \n\t\n{"a": {"b": ["\\n"]}}',
    b'"\xc3\xa9"\n1e3\n-0.5\ntrue\n\r\n[]',
]


@given(
    st.integers(100, 999),
    HEADERS,
    BODIES,
    st.sampled_from(CAST_TOS),
    st.none() | st.integers(0, 40),
    st.data(),
)
def test_any_answer_ends_in_a_value_or_an_api_error(
    status: int,
    headers: dict[str, str],
    body: bytes,
    cast_to: Any,
    cut_after: int | None,
    data: st.DataObject,
) -> None:
    """Whatever the status, headers, bytes and cut, a call, a stream or an open response gives a value or
    raises an `APIError`, and closes its response.
    """
    answer = respond(status, chunks=data.draw(pieces(body)), headers=headers, cut_after=cut_after)
    kind = data.draw(st.sampled_from(["get", "post", "head", "stream", "lines", "open"]))

    async def call(api: Client) -> None:
        if kind == "get":
            await api.get("/", cast_to)
        elif kind == "post":
            await api.post("/", cast_to, json={})
        elif kind == "head":
            await api.head("/")
        elif kind == "open":
            async with api.open("GET", "/") as response:
                await response.read()
        else:
            made = SSEStream if kind == "stream" else JSONLStream
            async with api.stream("GET", "/", cast_to, stream_cls=made) as stream:
                async for _ in stream:
                    pass

    async def run() -> None:
        transport = FakeTransport(default=answer)
        async with Client(BASE, transport=transport) as api:
            with suppress(APIError):
                await call(api)
            assert transport.open_responses == 0
            assert 1 <= len(transport.requests) <= 3 * 11

    asyncio.run(run())


async def values(stream_cls: Any, chunks: list[bytes], cast_to: Any, *, raw: bool = False) -> tuple[Any, Any]:
    """The values of a stream of these chunks, and the error it ends with."""
    media = "text/event-stream" if stream_cls is SSEStream else "application/jsonl"
    transport = FakeTransport(respond(chunks=chunks, headers={"Content-Type": media}))
    found: list[Any] = []
    ended: Exception | None = None
    async with Client(BASE, transport=transport) as api:
        try:
            async with api.stream("GET", "/", cast_to, stream_cls=stream_cls) as stream:
                async for value in stream.events() if raw else stream:
                    found += [value]
        except (APIStreamError, APIResponseValidationError) as error:
            ended = error
        assert transport.open_responses == 0
    return found, ended


@given(mutated(LINES, most=6), st.data())
def test_json_lines_are_what_msgspec_makes_of_the_whole(body: bytes, data: st.DataObject) -> None:
    """Lines in any pieces are the values that msgspec decodes from the whole, up to an invalid one."""
    assume(b"\xef\xbb\xbf" not in body)  # msgspec does not accept a BOM
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip(b" \t\r")]
    found, ended = asyncio.run(values(JSONLStream, data.draw(pieces(body)), Any))

    expected: list[Any] = []
    with suppress(msgspec.MsgspecError, UnicodeError):
        for _, line in lines:
            expected.append(msgspec.json.decode(line))
    assert found == expected
    if len(expected) < len(lines):
        assert f"line {lines[len(expected)][0]}:" in str(ended)
    else:
        assert ended is None
        # Not the reverse: msgspec accepts two values on a line, and one split over two lines.
        assert found == msgspec.json.Decoder().decode_lines(b"\n".join(line for _, line in lines))


@given(
    STREAMS | mutated([b"id: 1\nevent: e\ndata: a\ndata: b\n\n", b":c\r\nretry: 7\r\ndata\r\n\r\n"]),
    st.data(),
)
def test_events_are_those_of_the_standard(body: bytes, data: st.DataObject) -> None:
    """The raw events of a call's stream, in any pieces, are those of the literal algorithm."""
    found, ended = asyncio.run(values(SSEStream, data.draw(pieces(body)), Any, raw=True))

    if ended is None:
        assert [(event.event, event.data, event.id) for event in found] == by_the_letter(body).events


@given(
    st.dictionaries(
        st.sampled_from(["type", "title", "status", "detail", "instance"]) | st.text(max_size=5), plain_data
    )
)
def test_any_problem_is_read_as_far_as_it_fits(members: dict[str, Any]) -> None:
    """Of a problem (RFC 9457) each member of the right type is kept, and unknown ones are extensions."""
    body = msgspec.json.encode(members)
    transport = FakeTransport(respond(422, body=body, headers={"Content-Type": "application/problem+json"}))
    kinds = {"type": str, "title": str, "status": int, "detail": str, "instance": str}

    async def call() -> Any:
        async with Client(BASE, transport=transport) as api:
            with pytest.raises(UnprocessableEntityError) as caught:
                await api.get("/")
        return caught.value.body

    problem = asyncio.run(call())
    assert isinstance(problem, ProblemDetails)
    for name, kind in kinds.items():
        default = "about:blank" if name == "type" else None
        given_one = members.get(name)
        assert getattr(problem, name) == (given_one if type(given_one) is kind else default)
    assert problem.extensions == {name: value for name, value in members.items() if name not in kinds}
