"""The response: its head, its body at once and in pieces, typed values, and its connection."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Annotated, Any

import msgspec
import pytest
from helpers import BASE, Client, Script, reply, text
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from aioapiclient import (
    APIConnectionError,
    APIRequest,
    APIResponseValidationError,
    AsyncAPIResponse,
    BodyTooLargeError,
    ClientClosedError,
    Handler,
    InternalServerError,
    StreamConsumedError,
)
from aioapiclient._response.source import BytesSource
from aioapiclient.testing import FakeTransport
from aioapiclient.testing import respond as answer


class User(msgspec.Struct):
    id: int


class Chunks(BytesSource):
    """A body that arrives in pieces, and records whether it was closed."""

    def __init__(self, *chunks: bytes) -> None:
        super().__init__(b"".join(chunks))
        self.chunks = [*chunks]
        self.closed = 0
        self.error: Exception | None = None

    async def read_chunk(self) -> bytes:
        if self.error is not None:
            raise self.error
        return self.chunks.pop(0) if self.chunks else b""

    async def read(self, limit: int | None) -> bytes:
        if limit is not None and sum(map(len, self.chunks)) > limit:
            raise BodyTooLargeError(limit=limit)
        return b"".join([chunk async for chunk in self._rest()])

    async def _rest(self) -> AsyncIterator[bytes]:
        while chunk := await self.read_chunk():
            yield chunk

    def close(self) -> None:
        self.closed += 1

    def abort(self, error: Exception) -> None:
        self.error = error


def respond(
    *chunks: bytes,
    status: int = 200,
    content_type: str = "application/json",
    cast_to: Any = Any,
    headers: list[tuple[str, str]] | None = None,
) -> tuple[AsyncAPIResponse[Any], Chunks]:
    """A response whose body is unread, and the source behind it."""
    source = Chunks(*chunks)
    head = CIMultiDict([("Content-Type", content_type), *(headers or ())])
    request = APIRequest("GET", URL(f"{BASE}/x"), cast_to=cast_to)
    return AsyncAPIResponse(request, status, CIMultiDictProxy(head), source), source


# --- the head


async def test_the_head_of_a_response() -> None:
    """A response knows its status, headers, URL, method, version and its request."""
    script = Script(reply(201, X_Request_Id="r1"))
    async with Client(BASE, transport=script) as api:
        response = await api.put("/x", AsyncAPIResponse[Any], params={"a": 1})

    assert (response.status, response.reason, response.http_version) == (201, "Created", "1.1")
    assert str(response.url) == f"{BASE}/x?a=1"
    assert response.method == "PUT"
    assert response.request.headers == script.last.headers
    assert response.request_id == "r1"
    assert response.headers["content-type"] == response.content_type == "application/json"
    assert response.ok
    assert response.history == ()
    assert response.elapsed >= timedelta(0)
    assert repr(response) == f"<AsyncAPIResponse 201 PUT {BASE}/x?...>"


@pytest.mark.parametrize(
    ("header", "content_type", "charset"),
    [
        ("application/json", "application/json", None),
        ("Text/HTML; Charset=UTF-8", "text/html", "UTF-8"),
        ('text/plain;format=flowed; charset="latin-1"', "text/plain", "latin-1"),
        ("text/plain; charset=bogus", "text/plain", "bogus"),
        ("text/plain; charset=", "text/plain", None),
        (";", "application/octet-stream", None),
        (None, "application/octet-stream", None),
    ],
)
def test_content_type_and_charset(header: str | None, content_type: str, charset: str | None) -> None:
    """The content type has no parameters, and the charset is separate, as in aiohttp."""
    headers = {} if header is None else {"Content-Type": header}
    response = AsyncAPIResponse.from_bytes(APIRequest("GET", BASE), headers=headers)

    assert (response.content_type, response.charset) == (content_type, charset)


async def test_the_retries_of_a_response() -> None:
    """A response knows the number of earlier attempts."""
    async with Client(BASE, transport=Script(reply(500), reply(500), reply())) as api:
        response = await api.get("/x", AsyncAPIResponse[Any])

    assert response.retries_taken == 2


async def test_the_history_of_a_response() -> None:
    """A response knows the redirects that led to it, oldest first."""
    script = Script(reply(301, Location="y"), reply(302, Location="/v1/z"), reply())
    async with Client(BASE, transport=script) as api:
        response = await api.get("/x", AsyncAPIResponse[Any])

    assert [(hop.status, str(hop.url)) for hop in response.history] == [
        (301, f"{BASE}/x"),
        (302, f"{BASE}/y"),
    ]
    assert str(response.url) == f"{BASE}/z"


def test_references_are_resolved() -> None:
    """Location and Link are resolved against the URL of the response."""
    response, _ = respond(
        headers=[
            ("Location", "../y?a=1"),
            ("Link", '<?page=2>; rel="next", </z>; rel=last'),
            ("Link", "<w>; rel=next"),
        ]
    )  # fmt: skip

    assert str(response.location) == "https://api.example.com/y?a=1"
    assert {name: str(url) for name, url in response.links.items()} == {
        "next": f"{BASE}/x?page=2",
        "last": "https://api.example.com/z",
    }
    assert respond()[0].location is None


@pytest.mark.parametrize(
    "value", ["https://", "http://[::1", "https://h:port/", "http://a\\b/", "https://h:99999/"]
)
def test_a_location_that_is_not_a_url_is_the_servers_fault(value: str) -> None:
    """A Location that cannot be parsed is an error about the response, not about the request."""
    response, _ = respond(status=201, headers=[("Location", value)])

    with pytest.raises(APIResponseValidationError, match="its Location header is not a URL") as caught:
        _ = response.location
    assert caught.value.response is response
    assert caught.value.status == 201
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("status", "ok_statuses", "ok"),
    [
        (200, (), True),
        (299, (), True),
        (300, (), False),
        (304, (304,), True),
        (199, (), False),
        (404, (304,), False),
    ],
)
async def test_what_is_ok(status: int, ok_statuses: tuple[int, ...], ok: bool) -> None:
    """2xx and the statuses that the call names are successes; all others, also 3xx, are not."""
    seen: list[bool] = []

    async def look(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
        response: AsyncAPIResponse[Any] = await handler(request)
        seen.append(response.ok)
        return AsyncAPIResponse.from_bytes(request, 200, {}, b"")

    async with Client(BASE, middlewares=[look], transport=Script(reply(status))) as api:
        await api.get("/x", None, ok_statuses=ok_statuses, max_retries=0)

    assert seen == [ok]


def test_an_answer_made_on_the_spot() -> None:
    """`from_bytes` creates a complete response, its body read, with case-insensitive headers."""
    request = APIRequest("GET", URL(BASE))
    response = AsyncAPIResponse.from_bytes(request, 404, {"X-A": "b"}, b"body")

    assert (response.status, response.headers["x-a"], response.body, response.ok) == (
        404,
        "b",
        b"body",
        False,
    )
    assert response.is_closed
    assert AsyncAPIResponse.from_bytes(request).status == 200


# --- typed


async def test_parse_gives_what_was_asked_for() -> None:
    """`parse` returns the body as the type of the call, the same object each time."""
    response, _ = respond(b'{"id":1}', cast_to=AsyncAPIResponse[User])
    user = await response.parse()

    assert user == User(1)
    assert await response.parse() is user


async def test_parse_to_another_type() -> None:
    """`parse(to=U)` returns U, cached per type, whatever type the call requested."""
    response, _ = respond(b'{"id":1}', cast_to=bytes)

    assert await response.parse() == b'{"id":1}'
    assert await response.parse(to=User) == User(1)
    assert await response.parse(to=User) is await response.parse(to=User)
    assert await response.parse(to=dict[str, int]) == {"id": 1}
    unhashable = Annotated[dict[str, int], ["not hashable"]]
    assert await response.parse(to=unhashable) is await response.parse(to=unhashable)
    assert await response.json() == {"id": 1}
    assert await response.text() == '{"id":1}'


async def test_a_bare_response_type_parses_to_plain_data() -> None:
    """`AsyncAPIResponse` without an argument, and a subclass that names none, parse to plain data."""
    for cast_to in (AsyncAPIResponse, AsyncAPIResponse[Any]):
        response, _ = respond(b'{"id":1}', cast_to=cast_to)
        assert await response.parse() == {"id": 1}


class UserResponse(AsyncAPIResponse[User]):
    """A response type of an SDK."""

    __slots__ = ()


async def test_a_subclass_of_a_response_names_its_type() -> None:
    """A subclass of `AsyncAPIResponse[T]` as the type parses to T."""
    response, _ = respond(b'{"id":1}', cast_to=UserResponse)

    assert response._parses_later
    assert await response.parse() == User(1)


@pytest.mark.parametrize(
    ("body", "content_type", "to", "path", "reason"),
    [
        (b'{"id":"x"}', "application/json", User, "$.id", "Expected `int`, got `str` at $.id"),
        (b'[{"id":1},{"id":null}]', "application/json", list[User], "$[1].id", "got `null` at $[1].id"),
        (b"{broken", "application/json", User, "$", "JSON is malformed"),
        (
            b"<html>",
            "text/html; charset=utf-8",
            User,
            "$",
            "text/html; charset=utf-8: the body is an HTML page",
        ),
        (b"", "application/json", User, "$", "the body is empty"),
        (b"\xff", "application/json", User, "$", "JSON is malformed"),
    ],
)
async def test_what_does_not_fit_says_where(
    body: bytes, content_type: str, to: Any, path: str, reason: str
) -> None:
    """A body that does not match raises with the place, the content type and the status; its excerpt is an
    attribute.
    """
    response, _ = respond(body, content_type=content_type)
    with pytest.raises(APIResponseValidationError) as raised:
        await response.parse(to=to)

    assert raised.value.path == path
    assert reason in str(raised.value)
    assert f"GET {BASE}/x: status 200, {content_type}: " in str(raised.value)
    assert raised.value.excerpt == body.decode("utf-8", "replace")
    assert raised.value.response is response


async def test_json_reads_any_content_type() -> None:
    """`json` parses the body as JSON, whatever its content type."""
    response, _ = respond(b"[1]", content_type="text/html")

    assert await response.json() == [1]


# --- the body


async def test_a_body_is_read_once_and_kept() -> None:
    """`read` returns the whole body, releases the connection, and can be called again."""
    response, source = respond(b"ab", b"cd")
    with pytest.raises(StreamConsumedError, match=r"the body was not read; await response.read\(\) first"):
        _ = response.body

    assert await response.read() == b"abcd"
    assert await response.read() == response.body == b"abcd"
    assert response.is_closed
    assert source.closed == 1
    assert [chunk async for chunk in response.iter_bytes()] == [b"abcd"]


async def test_a_body_in_pieces() -> None:
    """`iter_bytes` yields the pieces as they arrive and releases the connection at the end."""
    response, source = respond(b"ab", b"cd")

    assert [chunk async for chunk in response.iter_bytes()] == [b"ab", b"cd"]
    assert response.is_closed
    assert source.closed == 1


@pytest.mark.parametrize("way", ["iter_bytes", "iter_text"])
async def test_a_waiting_response_keeps_no_chunk(way: str) -> None:
    """While a response waits for its next chunk, it does not hold the one that it yielded."""
    held: list[int] = []

    class Large(Chunks):
        async def read_chunk(self) -> bytes:
            held.append(tracemalloc.get_traced_memory()[0] >> 20)
            return bytes(1 << 20) if len(held) <= 2 else b""

    fields = CIMultiDictProxy(CIMultiDict({"Content-Type": "text/plain"}))
    response: AsyncAPIResponse[Any] = AsyncAPIResponse(APIRequest("GET", BASE), 200, fields, Large())
    tracemalloc.start()
    try:
        async for piece in getattr(response, way)():
            assert len(piece) == 1 << 20
            del piece
    finally:
        tracemalloc.stop()
    assert held == [0, 0, 0]


async def test_a_streamed_body_cannot_be_read_again() -> None:
    """A body that was streamed away, or whose response was closed, raises StreamConsumedError with advice."""
    streamed, _ = respond(b"ab")
    async for _ in streamed.iter_bytes():
        pass
    closed, _ = respond(b"ab")
    await closed.close()

    reasons = ("was already streamed", "is not available: the response is closed")
    for response, why in zip((streamed, closed), reasons, strict=True):
        with pytest.raises(StreamConsumedError, match=f"the body {why}; read\\(\\) it before"):
            await response.read()
        with pytest.raises(StreamConsumedError, match=why):
            await anext(aiter(response.iter_bytes()))


async def test_an_iteration_that_is_left_closes() -> None:
    """Leaving an iteration, and closing its iterator, closes the connection."""
    response, source = respond(b"ab", b"cd")
    pieces = response.iter_bytes()
    assert await anext(pieces) == b"ab"
    assert source.closed == 0
    await pieces.aclose()  # type: ignore[attr-defined]

    assert source.closed == 1


@pytest.mark.parametrize(
    ("content_type", "chunks", "expected"),
    [
        ("text/plain", [b"\xc3", b"\xa9"], "é"),
        ("text/plain; charset=latin-1", [b"\xe9"], "é"),
        ("text/plain; charset=nonsense", [b"\xc3\xa9"], "é"),
        ("text/plain", [b"a\xff"], "a\ufffd"),
        ("text/plain", [b"a", b"\xc3"], "a\ufffd"),
    ],
)
async def test_text_by_its_charset(content_type: str, chunks: list[bytes], expected: str) -> None:
    """Text is decoded by its charset, even characters split over pieces; invalid bytes become U+FFFD."""
    whole, _ = respond(*chunks, content_type=content_type)
    pieces, _ = respond(*chunks, content_type=content_type)

    assert await whole.text() == expected
    assert "".join([piece async for piece in pieces.iter_text()]) == expected


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\nb\r\nc\rd"], ["a", "b", "c", "d"]),
        ([b"a\r", b"\nb"], ["a", "b"]),
        ([b"a\r", b"b"], ["a", "b"]),
        ([b"a\n"], ["a"]),
        ([b"a\n\n"], ["a", ""]),
        ([b"\r\n"], [""]),
        ([b"\r"], [""]),
        ([], []),
        (["a\u2028b\x0bc\x85d".encode()], ["a\u2028b\x0bc\x85d"]),
    ],
)
async def test_lines(chunks: list[bytes], lines: list[str]) -> None:
    """Lines end only with CRLF, LF or CR, wherever the pieces are split."""
    response, _ = respond(*chunks, content_type="text/plain")

    assert [line async for line in response.iter_lines()] == lines


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"bc"]), max_size=8))
async def test_lines_do_not_depend_on_the_pieces(chunks: list[bytes]) -> None:
    """The lines of a body are the same in one piece as in many."""
    many, _ = respond(*chunks, content_type="text/plain")
    one, _ = respond(b"".join(chunks), content_type="text/plain")

    assert [line async for line in many.iter_lines()] == [line async for line in one.iter_lines()]


async def test_a_broken_body_raises_and_closes() -> None:
    """A body that breaks off raises the error of its source, and the connection is closed."""
    for use in (read_whole, read_pieces):
        response, source = respond(b"ab", b"cd")
        source.error = APIConnectionError("lost")
        with pytest.raises(APIConnectionError):
            await use(response)
        assert response.is_closed
        assert source.closed == 1


async def read_whole(response: AsyncAPIResponse[Any]) -> None:
    """Read the body immediately."""
    await response.read()


async def read_pieces(response: AsyncAPIResponse[Any]) -> None:
    """Read the body in pieces."""
    async for _ in response.iter_bytes():
        pass


async def test_a_body_that_is_too_large() -> None:
    """A body past `max_body` raises with the status on the error, and the connection is given up."""
    source = Chunks(b"12345")

    async def transport(request: APIRequest) -> AsyncAPIResponse[Any]:
        return AsyncAPIResponse(request, 206, CIMultiDictProxy(CIMultiDict()), source)

    async with Client(BASE, max_body=4, transport=transport) as api:
        with pytest.raises(BodyTooLargeError) as raised:
            await api.get("/x", bytes)

    assert (raised.value.limit, raised.value.status, source.closed) == (4, 206, 1)


async def test_the_body_of_an_error_that_breaks_off_masks_nothing() -> None:
    """If the body of an error cannot be read, the status error is still raised, with a note."""
    source = Chunks(b"12345")
    source.error = APIConnectionError("cut")

    async def transport(request: APIRequest) -> AsyncAPIResponse[Any]:
        return AsyncAPIResponse(request, 500, CIMultiDictProxy(CIMultiDict()), source)

    async with Client(BASE, max_retries=0, transport=transport) as api:
        with pytest.raises(InternalServerError) as raised:
            await api.get("/x")

    assert raised.value.body is None
    assert raised.value.__notes__ == ["The body of the error response could not be read: cut"]


# --- the connection


async def test_on_close_is_called_once() -> None:
    """A callback of `on_close` runs when the connection is free: at the end of the body, or immediately if
    it is.
    """
    called: list[int] = []
    response, _ = respond(b"ab")
    response.on_close(lambda: called.append(1))
    response.on_close(lambda: called.append(2))
    assert called == []
    await response.read()
    await response.close()
    response.on_close(lambda: called.append(3))

    assert called == [1, 2, 3]


@pytest.mark.parametrize("end", [AsyncAPIResponse.close, AsyncAPIResponse.read], ids=["close", "read"])
async def test_every_end_calls_on_close(end: Callable[[AsyncAPIResponse[Any]], Any]) -> None:
    """However a response ends, its callbacks run."""
    called: list[int] = []
    response, source = respond(b"ab")
    response.on_close(lambda: called.append(1))
    await end(response)
    await end(response)

    assert (called, source.closed) == ([1], 1)


async def test_on_chunk_tells_the_size_of_each_piece() -> None:
    """Each callback of `on_chunk` gets the sizes of the pieces that were read, and of no others."""
    sizes: list[int] = []
    total: list[int] = []
    response, _ = respond(b"ab", b"cde", b"f")
    response.on_chunk(sizes.append)
    response.on_chunk(total.append)
    async for piece in response.iter_bytes():
        if piece == b"cde":
            break
    await response.close()

    assert sizes == total == [2, 3]


async def test_a_body_that_was_read_whole_has_no_pieces() -> None:
    """`on_chunk` is not called for a body that was read at once: its size is that of ``body``."""
    sizes: list[int] = []
    response, _ = respond(b"ab", b"cde")
    response.on_chunk(sizes.append)
    await response.read()

    assert [piece async for piece in response.iter_bytes()] == [b"abcde"]
    assert sizes == []


async def test_on_chunk_tells_what_a_typed_stream_reads() -> None:
    """A middleware counts the bytes of a stream of events."""
    sizes: list[int] = []

    async def count(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        response = await handler(request)
        response.on_chunk(sizes.append)
        return response

    events = [b"data: 1\n\n", b"data: 22\n\n"]
    transport = FakeTransport(answer(chunks=events, headers={"Content-Type": "text/event-stream"}))
    async with (
        Client(BASE, middlewares=[count], transport=transport) as api,
        api.stream("GET", "/x", int) as stream,
    ):
        assert [event async for event in stream] == [1, 22]

    assert sizes == [9, 10]


async def test_abort_calls_on_close() -> None:
    """An aborted response holds no connection: its callbacks run at the abort, once, and not at a later
    close.
    """
    called: list[int] = []
    response, _ = respond(b"ab")
    response.on_close(lambda: called.append(1))
    response.abort(ClientClosedError("gone"))
    assert called == [1]
    response.on_close(lambda: called.append(2))
    assert called == [1, 2]
    with pytest.raises(ClientClosedError):
        await response.read()
    await response.close()
    assert called == [1, 2]


async def test_leaving_a_response_closes_it() -> None:
    """`async with` on a response closes it."""
    response, source = respond(b"ab")
    async with response as same:
        assert same is response

    assert response.is_closed
    assert source.closed == 1


async def test_an_aborted_response_gives_the_error_to_its_reader() -> None:
    """`abort` ends the connection, and readers get the error; after the end it does nothing."""
    response, _ = respond(b"ab")
    response.abort(APIConnectionError("ended"))
    with pytest.raises(APIConnectionError, match="ended"):
        await response.read()
    response.abort(APIConnectionError("late"))


@pytest.mark.parametrize(
    ("answer", "cast_to", "value"),
    [
        (text("true"), bool, True),
        (text("FalSe"), bool, False),
        (text("7"), int, 7),
        (text("2.5"), float, 2.5),
    ],
)
async def test_a_scalar_in_plain_text(answer: Any, cast_to: Any, value: Any) -> None:
    """A bool, int or float as the whole plain text is decoded."""
    async with Client(BASE, transport=Script(answer)) as api:
        assert await api.get("/x", cast_to) == value


async def test_a_value_that_a_middleware_parsed_is_the_callers() -> None:
    """The object that a middleware parses is the one that the caller receives."""
    seen: list[Any] = []

    async def look(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
        response: AsyncAPIResponse[Any] = await handler(request)
        seen.append(await response.parse())
        return response

    async with Client(BASE, middlewares=[look], transport=Script(reply(json={"id": 1}))) as api:
        user = await api.get("/x", User)

    assert seen[0] is user
