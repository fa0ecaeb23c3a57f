"""`FakeTransport` and `respond`: the answers, their order, and the record of the requests."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from aioapiclient import (
    APIConnectionError,
    APIRequest,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    BodyTooLargeError,
    ClientClosedError,
    InternalServerError,
    InvalidRequestError,
    RequestNotReplayableError,
    StreamConsumedError,
)
from aioapiclient.middleware import DecodingMiddleware, RetryMiddleware
from aioapiclient.testing import FakeClock, FakeTransport, SentFile, SentRequest, respond

URL = "https://api.example.com/users/7"


def get(**fields: Any) -> APIRequest:
    """A hand-made request."""
    return APIRequest("GET", cast("Any", URL), **fields)


async def turns() -> None:
    """Let the loop run: tasks start, and due timers fire."""
    for _ in range(3):
        await asyncio.sleep(0)


# --- FakeTransport: answers


async def test_answers_come_in_order() -> None:
    """The answers are used in order, one for each send."""
    transport = FakeTransport(respond(503), respond(200), respond(404))

    statuses = [(await transport(get())).status for _ in range(3)]

    assert statuses == [503, 200, 404]


async def test_concurrent_sends_are_answered_in_the_order_of_their_coming() -> None:
    """Of two concurrent sends, the first one gets the first answer, although both wait."""
    transport = FakeTransport(respond(201), respond(202))

    first, second = await asyncio.gather(transport(get()), transport(get()))

    assert (first.status, second.status) == (201, 202)


async def test_a_send_too_many_says_which() -> None:
    """A send without an answer left raises an AssertionError that names its number and request."""
    transport = FakeTransport(respond(), respond())
    for _ in range(2):
        await transport(get())

    with pytest.raises(AssertionError) as raised:
        await transport(APIRequest("POST", cast("Any", f"{URL}?token=secret")))

    assert str(raised.value) == (
        f"send 3 was not expected: POST {URL}?...; this FakeTransport has 2 answers and no default"
    )


async def test_a_send_too_many_passes_a_retry() -> None:
    """The AssertionError of an unexpected send is not retried: it fails the test."""
    transport = FakeTransport(APIConnectionError)
    retry = RetryMiddleware(sleep=FakeClock().sleep)

    with pytest.raises(AssertionError, match=r"send 2 was not expected: .* has 1 answer and no default"):
        await retry(get(), transport)


async def test_the_default_answers_the_rest() -> None:
    """After the answers in the list, default answers every send."""
    transport = FakeTransport(respond(503), default=respond(200))

    assert [(await transport(get())).status for _ in range(4)] == [503, 200, 200, 200]


async def test_unused_answers_are_counted() -> None:
    """Unused answers are counted, so that a test can assert that none are left."""
    transport = FakeTransport(respond(), respond(), default=respond())

    left = [transport.unused_answers]
    for _ in range(3):
        await transport(get())
        left.append(transport.unused_answers)

    assert left == [2, 1, 0, 0]


async def test_an_error_is_raised_as_it_is() -> None:
    """An error given as an instance is that one object, and it learns the request it had not."""
    error = APIConnectionError("refused", sent=False)
    request = get()

    with pytest.raises(APIConnectionError) as raised:
        await FakeTransport(error)(request)

    assert raised.value is error
    assert error.request is request


async def test_an_error_class_makes_a_new_error_each_time() -> None:
    """An error given as a class is created anew for each send."""
    transport = FakeTransport(default=APITimeoutError)
    raised: list[APITimeoutError] = []
    for _ in range(2):
        with pytest.raises(APITimeoutError) as info:
            await transport(get())
        raised.append(info.value)

    assert raised[0] is not raised[1]


async def test_an_error_of_another_kind_is_raised_too() -> None:
    """Any exception can be an answer: one of user code, and a cancellation."""
    transport = FakeTransport(KeyError("bug"), asyncio.CancelledError)

    with pytest.raises(KeyError):
        await transport(get())
    with pytest.raises(asyncio.CancelledError):
        await transport(get())


async def test_a_function_answers_from_the_request() -> None:
    """A function, async or not, receives the request and returns an answer of any kind."""

    async def by_path(request: APIRequest) -> Callable[[APIRequest], AsyncAPIResponse[Any]]:
        await asyncio.sleep(0)
        return respond(200, text=request.url.path)

    def failing(request: APIRequest) -> APIConnectionError:
        return APIConnectionError(request.method)

    def on_the_spot(request: APIRequest) -> AsyncAPIResponse[Any]:
        return AsyncAPIResponse.from_bytes(request, 418)

    transport = FakeTransport(by_path, failing, on_the_spot, lambda request: respond(204))

    assert await (await transport(get())).text() == "/users/7"
    with pytest.raises(APIConnectionError, match="GET"):
        await transport(get())
    assert [(await transport(get())).status for _ in range(2)] == [418, 204]


async def test_a_function_reads_what_was_sent() -> None:
    """A function gets the request with the bytes of its body, also of a streamed one."""

    def create(request: SentRequest) -> AsyncAPIResponse[Any]:
        return AsyncAPIResponse.from_bytes(request, 201, body=request.content + b"!")

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"id":'
        yield b"8}"

    def echo(request: SentRequest) -> Callable[[APIRequest], AsyncAPIResponse[Any]]:
        return respond(json=request.json())

    transport = FakeTransport(create, echo)
    request = APIRequest("POST", URL, body=b"ada")
    made = await transport(request)
    echoed = await transport(APIRequest("POST", URL, body=pieces()))

    assert made.body == b"ada!"
    assert made.request is request
    assert await echoed.json() == {"id": 8}


@pytest.mark.parametrize("answer", [200, "ok", {"id": 1}, None, int, get()])
def test_an_invalid_answer_is_refused_when_given(answer: Any) -> None:
    """Another value in the list of answers is a TypeError immediately, not at the send."""
    with pytest.raises(TypeError, match=r"answers must be respond\(\.\.\.\), an error, or a function"):
        FakeTransport(answer)


async def test_what_a_function_gives_is_checked() -> None:
    """A function that returns another value is a TypeError at the send."""

    def wrong(request: APIRequest) -> Any:
        return {"id": 1}

    with pytest.raises(TypeError, match=r"answers must be .*, not dict"):
        await FakeTransport(wrong)(get())


# --- FakeTransport: recorded requests


async def test_requests_are_kept_as_they_came() -> None:
    """Each request is recorded as a copy, which later changes do not affect."""
    transport = FakeTransport(default=respond())
    request = get(headers={"X-One": "1"})
    await transport(request)
    request.headers["X-One"] = "2"
    request.method = "PUT"
    await transport(request)

    assert [(sent.method, sent.headers["x-one"]) for sent in transport.requests] == [
        ("GET", "1"),
        ("PUT", "2"),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, b""),
        (b"bytes", b"bytes"),
        ("text", b"text"),
        (io.BytesIO(b"file"), b"file"),
        ([b"a", b"b"], b"ab"),
    ],
)
async def test_bodies_are_read(content: Any, expected: bytes) -> None:
    """The bytes of each request's body can be read, whatever its source."""
    transport = FakeTransport(respond())

    await transport(get(body=content))

    assert transport.bodies == [expected]


async def test_a_body_that_can_be_sent_once_is_consumed() -> None:
    """The transport consumes the body as a real one does: a second sending is refused."""
    transport = FakeTransport(default=respond())
    request = get(body=iter([b"once"]))
    await transport(request)

    assert not request.can_be_sent
    with pytest.raises(RequestNotReplayableError):
        await transport(request)
    assert transport.bodies[0] == b"once"


async def test_open_responses_show_a_leak() -> None:
    """A response counts as open until it was read or closed."""
    transport = FakeTransport(default=respond(json={}))
    read, closed, leaked = [await transport(get()) for _ in range(3)]
    await read.read()
    await closed.close()

    assert transport.open_responses == 1
    assert not leaked.is_closed
    assert repr(transport) == "<FakeTransport with 3 sends, 1 open responses>"


async def test_a_closed_transport_refuses() -> None:
    """After close() nothing is sent; closing it again does no harm."""
    transport = FakeTransport(respond())
    before = transport.is_closed
    await transport.close()
    await transport.close()

    assert (before, transport.is_closed) == (False, True)
    with pytest.raises(ClientClosedError):
        await transport(get())
    assert transport.requests == []


async def test_closing_ends_open_streams() -> None:
    """A stream that is open shows until the transport closes, which ends it with ClientClosedError."""
    transport = FakeTransport(respond(chunks=[b"1", b"2"]))
    pieces = (await transport(get(stream=True))).iter_bytes()
    assert (await anext(pieces), transport.open_responses) == (b"1", 1)
    await transport.close()

    assert transport.open_responses == 0
    with pytest.raises(ClientClosedError):
        await anext(pieces)


async def test_other_tasks_run_during_a_send() -> None:
    """A send lets other tasks run, so that concurrent calls do interleave."""
    order: list[str] = []

    def answer(request: APIRequest) -> Callable[[APIRequest], AsyncAPIResponse[Any]]:
        order.append(f"{request.method} is answered")
        return respond()

    transport = FakeTransport(default=answer)

    async def call(method: str) -> None:
        order.append(f"{method} begins")
        await transport(APIRequest(method, cast("Any", URL)))

    await asyncio.gather(call("GET"), call("PUT"))

    assert order == ["GET begins", "PUT begins", "GET is answered", "PUT is answered"]


# --- respond


@pytest.mark.parametrize(
    ("given", "body", "content_type"),
    [
        ({}, b"", None),
        ({"json": {"id": 7}}, b'{"id":7}', "application/json"),
        ({"json": None}, b"null", "application/json"),
        ({"text": "hé"}, "hé".encode(), "text/plain; charset=utf-8"),
        ({"body": b"\x00"}, b"\x00", None),
        ({"chunks": iter([b"a", b"", b"b"])}, b"ab", None),
        (
            {"json": 1, "headers": {"content-type": "application/problem+json"}},
            b"1",
            "application/problem+json",
        ),
    ],
)
async def test_a_body_is_of_one_kind(given: Any, body: bytes, content_type: str | None) -> None:
    """json, text, body or chunks make the body; given headers take precedence."""
    response = await FakeTransport(respond(200, **given))(get())

    assert (await response.read(), response.headers.get("Content-Type")) == (body, content_type)


async def test_one_answer_makes_many_responses() -> None:
    """An answer can be used any number of times, even with chunks: each time is a new response."""
    transport = FakeTransport(default=respond(chunks=iter([b"a", b"b"])))

    bodies = [await (await transport(get())).read() for _ in range(2)]

    assert bodies == [b"ab", b"ab"]


async def test_the_head_is_what_was_asked_for() -> None:
    """Status, reason and headers are available immediately; a name may occur more than once."""
    response = await FakeTransport(respond(429, headers=[("Link", "<a>"), ("Link", "<b>")]))(get())

    assert (response.status, response.reason) == (429, "Too Many Requests")
    assert response.headers.getall("link") == ["<a>", "<b>"]
    assert (await FakeTransport(respond(599))(get())).reason == ""


async def test_the_body_is_handed_out_unread() -> None:
    """The response has an unread body, as from a real transport: the chain reads it."""
    response = await FakeTransport(respond(json=[1]))(get())

    with pytest.raises(StreamConsumedError):
        _ = response.body
    assert await response.json() == [1]


async def test_a_stream_gives_its_chunks() -> None:
    """Chunks are yielded one by one, and empty ones are skipped."""
    response = await FakeTransport(respond(chunks=[b"a", b"", b"bc"]))(get(stream=True))

    assert [piece async for piece in response.iter_bytes()] == [b"a", b"bc"]
    assert response.is_closed


async def test_async_chunks_wait_where_they_like() -> None:
    """Chunks may be an async iterable that waits between two of them."""
    go_on = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        await go_on.wait()
        yield b"second"

    response = await FakeTransport(respond(chunks=chunks()))(get(stream=True))
    pieces = response.iter_bytes()
    first = await anext(pieces)
    waiting = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    assert not waiting.done()
    go_on.set()

    assert (first, await waiting) == (b"first", b"second")
    assert [piece async for piece in pieces] == []


@pytest.mark.parametrize(
    ("cut_after", "got"), [(0, []), (1, [b"a"]), (2, [b"ab"]), (3, [b"ab", b"c"]), (4, [b"ab", b"cd"])]
)
async def test_a_body_can_be_cut(cut_after: int, got: list[bytes]) -> None:
    """cut_after loses the connection after that many bytes, even at the very end; every later read fails."""
    transport = FakeTransport(default=respond(chunks=[b"ab", b"cd"], cut_after=cut_after))
    pieces: list[bytes] = []
    response = await transport(get(stream=True))

    with pytest.raises(APIConnectionError, match=f"broke after {cut_after} bytes of the body") as raised:
        async for piece in response.iter_bytes():
            pieces.append(piece)  # noqa: PERF401
    assert pieces == got
    assert raised.value.request is response.request
    assert raised.value.sent is None
    assert raised.value.reason == "truncated"
    with pytest.raises(APIConnectionError):
        await (await transport(get())).read()
    assert transport.open_responses == 0


async def test_a_cut_body_is_retried() -> None:
    """A cut while the body is read inside the attempt is a failed attempt, as on a real wire."""
    transport = FakeTransport(respond(json={"id": 7}, cut_after=3), respond(json={"id": 7}))
    async with AsyncAPIClient(
        "https://api.example.com",
        transport=transport,
        chain=[RetryMiddleware(sleep=FakeClock().sleep), DecodingMiddleware()],
    ) as api:
        user = await api.get("/users/7")

    assert user == {"id": 7}
    assert len(transport.requests) == 2


async def test_a_large_body_is_refused() -> None:
    """A body above the call's max_body raises BodyTooLargeError, as a real transport's does."""
    async with AsyncAPIClient(
        "https://api.example.com", transport=FakeTransport(respond(body=b"12345")), max_body=4
    ) as api:
        with pytest.raises(BodyTooLargeError) as raised:
            await api.get("/users/7")

    assert (raised.value.limit, raised.value.status) == (4, 200)


async def test_the_answer_to_head_has_no_body() -> None:
    """HEAD is answered with the head alone, whatever the answer's body (RFC 9110 §9.3.2)."""
    response = await FakeTransport(respond(json={"id": 7}))(APIRequest("HEAD", cast("Any", URL)))

    assert (await response.read(), response.content_type) == (b"", "application/json")


async def test_an_abort_wakes_the_reader() -> None:
    """A reader that waits for a chunk when the response is aborted gets the error of the abort."""

    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    response = await FakeTransport(respond(chunks=never()))(get(stream=True))
    reading = asyncio.ensure_future(response.read())
    await turns()
    response.abort(APITimeoutError("late", phase="total"))

    with pytest.raises(APITimeoutError, match="late"):
        await reading


async def test_a_cancelled_read_leaves_no_whole_body() -> None:
    """A read after a cancelled read raises; it never returns an empty body that looks complete."""
    source = respond(chunks=[b"a"])(get())._source  # pyright: ignore[reportPrivateUsage]
    assert source is not None
    reading = asyncio.ensure_future(source.read_chunk())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    with pytest.raises(APIConnectionError, match="broke after 0 bytes"):
        await source.read_chunk()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"json": 1, "text": "1"}, TypeError, "json and text were both given"),
        ({"body": b"1", "chunks": []}, TypeError, "body and chunks were both given"),
        ({"status": "200"}, TypeError, "status must be an int, not str"),
        ({"status": True}, TypeError, "status must be an int, not bool"),
        ({"status": 99}, InvalidRequestError, "three digits .* not 99"),
        ({"cut_after": -1}, InvalidRequestError, "0 or more, not -1"),
    ],
)
def test_a_wrong_answer_is_refused(given: Any, error: type[Exception], message: str) -> None:
    """Two bodies, an invalid status and a cut before the body are refused when the answer is created."""
    with pytest.raises(error, match=message):
        respond(**given)


async def test_its_clock_has_the_waits_of_a_client() -> None:
    """With a clock, waits between attempts and between polls take no time, even in a view of a subclass."""

    class Service(AsyncAPIClient):
        pass

    clock = FakeClock()
    busy = respond(503, headers={"Retry-After": "20"})
    running = respond(json={"status": "running"}, headers={"Retry-After": "30"})
    done = respond(json={"status": "succeeded"})
    transport = FakeTransport(busy, running, done, clock=clock)
    async with Service("https://api.example.com", transport=transport) as api:
        view = api.with_options(default_headers={"X-Team": "a"})
        assert await view.poll("/jobs/7", dict, status_of="status") == {"status": "succeeded"}

    assert clock.sleeps == [20.0, 30.0]


async def test_a_hook_that_waits_comes_before_the_clock() -> None:
    """A subclass with its own wait uses it, whatever the transport has."""
    waits: list[float] = []

    class Patient(AsyncAPIClient):
        async def _sleep_for_retry(self, seconds: float, /) -> None:
            waits.append(seconds)

    clock = FakeClock()
    transport = FakeTransport(respond(503, headers={"Retry-After": "20"}), respond(json=1), clock=clock)
    async with Patient("https://api.example.com", transport=transport) as api:
        assert await api.get("/users") == 1

    assert (waits, clock.sleeps) == ([20.0], [])


async def test_a_client_takes_it_as_transport() -> None:
    """A complete client runs on it: errors are raised, bodies decoded, and closing the client closes it."""
    transport = FakeTransport(respond(500, json={"error": "no"}), respond(json={"id": 7}))
    async with AsyncAPIClient("https://api.example.com", transport=transport, max_retries=0) as api:
        with pytest.raises(InternalServerError) as raised:
            await api.get("/users/{id}", path_params={"id": 7})
        user = await api.post("/users", json={"name": "Ada"})
        assert transport.open_responses == 0

    assert (raised.value.body, user) == ({"error": "no"}, {"id": 7})
    assert [request.url.path for request in transport.requests] == ["/users/7", "/users"]
    assert transport.bodies == [b"", b'{"name":"Ada"}']
    assert transport.is_closed


# --- FakeTransport: sent bodies


async def sent(**options: Any) -> SentRequest:
    """The notes of a transport about one call."""
    transport = FakeTransport(respond(204))
    async with AsyncAPIClient("https://api.example.com", transport=transport) as client:
        await client.post("/users", None, **options)
    return transport.requests[0]


@pytest.mark.parametrize("content", [None, b'{"login":"ada"}', [b'{"login"', b':"ada"}']])
async def test_json_that_was_sent(content: Any) -> None:
    """A recorded request has its body as plain data, even a streamed one, and as bytes."""
    request = await (sent(json={"login": "ada"}) if content is None else sent(content=content))

    assert request.json() == {"login": "ada"}
    assert request.content == b'{"login":"ada"}'
    assert request.body is not None
    assert request.body.content == request.content


async def test_form_that_was_sent() -> None:
    """A form compares like a dict, keeps empty values, and has all values of a repeated name."""
    request = await sent(data={"q": "red tea & more", "empty": "", "id": [1, 2]})
    form = request.form()

    assert form.getall("id") == ["1", "2"]
    del form["id"]
    assert form == {"q": "red tea & more", "empty": ""}


async def test_files_that_were_sent(tmp_path: Path) -> None:
    """A multipart form has its fields as text, and its files with their names and types."""
    path = tmp_path / "tea.txt"
    path.write_bytes(b"\r\n--tea\r\n\xff")
    request = await sent(files={"doc": path, "raw": b"\r\n"}, data={"title": "naïve\r\n", "empty": ""})

    assert request.form() == {
        "title": "naïve\r\n",
        "empty": "",
        "doc": SentFile("tea.txt", "text/plain", b"\r\n--tea\r\n\xff"),
        "raw": SentFile(None, "application/octet-stream", b"\r\n"),
    }


async def test_empty_multipart_form() -> None:
    """A multipart form without parts is an empty form."""
    assert len((await sent(files={})).form()) == 0


@pytest.mark.parametrize("options", [{}, {"content": b"tea"}, {"json": {"a": 1}}])
async def test_invalid_forms(options: dict[str, Any]) -> None:
    """A body that is not a form is an AssertionError that shows it."""
    request = await sent(**options)
    with pytest.raises(AssertionError, match="was not sent a form") as caught:
        request.form()

    assert repr(request.body) in str(caught.value)


async def test_values_that_are_not_json() -> None:
    """A body that is not JSON is an assertion that shows it."""
    request = await sent(content=b"tea")
    with pytest.raises(AssertionError, match=r"b'tea'.* was not sent JSON"):
        request.json()


async def test_repr_of_what_was_sent() -> None:
    """The repr of a recorded request shows its body; long bodies that differ late have different reprs."""
    short, first, second = [
        repr(await sent(content=content)) for content in (b"tea", b"x" * 1000 + b"1", b"x" * 1000 + b"2")
    ]

    assert "POST https://api.example.com/users attempt=0 body=<Body untyped, 3 bytes: b'tea'>" in short
    assert first != second
    assert len(first) < 800


async def test_copy_of_what_was_sent() -> None:
    """A request that was noted can be copied and sent like any other."""
    request = (await sent(json={"a": 1})).copy()
    transport = FakeTransport(respond())
    await transport(request)

    assert transport.requests[0].json() == {"a": 1}
    assert transport.requests[0].url == request.url
