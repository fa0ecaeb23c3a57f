"""`aioapiclient.testing`: the fake transport, the fake clock, and the check of the six promises."""

from __future__ import annotations

import asyncio
import functools
import io
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any, cast

import pytest

from aioapiclient import (
    APIClientError,
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
    RetryableError,
    RetryPolicy,
    StreamConsumedError,
    Timeout,
    TokenCache,
)
from aioapiclient.contract import Handler, Middleware, Token, per_attempt
from aioapiclient.middleware import (
    AuthMiddleware,
    DeadlineMiddleware,
    DecodingMiddleware,
    HeadersMiddleware,
    RedirectMiddleware,
    RetryMiddleware,
    TimeoutMiddleware,
)
from aioapiclient.middleware.auth import APIKeyAuth, BasicAuth, BearerAuth
from aioapiclient.testing import FakeClock, FakeTransport, check_middleware, respond

URL = "https://api.example.com/users/7"


def get(**fields: Any) -> APIRequest:
    """A request made by hand."""
    return APIRequest("GET", cast("Any", URL), **fields)


# --- FakeTransport: what it answers


async def test_answers_come_in_order() -> None:
    """The answers are given in the order in which they stand, one for each send."""
    transport = FakeTransport(respond(503), respond(200), respond(404))

    statuses = [(await transport(get())).status for _ in range(3)]

    assert statuses == [503, 200, 404]


async def test_concurrent_sends_are_answered_in_the_order_of_their_coming() -> None:
    """Of two sends at once the one that came first gets the first answer, though both wait."""
    transport = FakeTransport(respond(201), respond(202))

    first, second = await asyncio.gather(transport(get()), transport(get()))

    assert (first.status, second.status) == (201, 202)


async def test_a_send_too_many_says_which() -> None:
    """A send more than there are answers raises an AssertionError that names its number and request."""
    transport = FakeTransport(respond(), respond())
    for _ in range(2):
        await transport(get())

    with pytest.raises(AssertionError) as raised:
        await transport(APIRequest("POST", cast("Any", f"{URL}?token=secret")))

    assert str(raised.value) == (
        f"Send 3 was not expected: POST {URL}?...; this FakeTransport has 2 answers and no default"
    )


async def test_a_send_too_many_passes_a_retry() -> None:
    """The AssertionError of a send that was not expected is no failure to retry: it fails the test."""
    transport = FakeTransport(APIConnectionError)
    retry = RetryMiddleware(sleep=FakeClock().sleep)

    with pytest.raises(AssertionError, match=r"Send 2 was not expected: .* has 1 answer and no default"):
        await retry(get(), transport)


async def test_the_default_answers_the_rest() -> None:
    """After the answers in the list, default answers every send."""
    transport = FakeTransport(respond(503), default=respond(200))

    assert [(await transport(get())).status for _ in range(4)] == [503, 200, 200, 200]


async def test_unused_answers_are_counted() -> None:
    """What no send has asked for yet is told, so that a test can say that all of it was."""
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
    """An error given as a class is made anew for each send."""
    transport = FakeTransport(default=APITimeoutError)
    raised: list[APITimeoutError] = []
    for _ in range(2):
        with pytest.raises(APITimeoutError) as info:
            await transport(get())
        raised.append(info.value)

    assert raised[0] is not raised[1]


async def test_an_error_of_another_kind_is_raised_too() -> None:
    """Any exception can be an answer: what user code raises, and a cancellation."""
    transport = FakeTransport(KeyError("bug"), asyncio.CancelledError)

    with pytest.raises(KeyError):
        await transport(get())
    with pytest.raises(asyncio.CancelledError):
        await transport(get())


async def test_a_function_answers_from_the_request() -> None:
    """A function, async or not, sees the request and gives an answer of any kind."""

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


@pytest.mark.parametrize("answer", [200, "ok", {"id": 1}, None, int, get()])
def test_what_is_no_answer_is_refused_when_given(answer: Any) -> None:
    """Something else in the list of answers is a TypeError at once, not at the send."""
    with pytest.raises(TypeError, match=r"An answer is respond\(\.\.\.\), an error, or a function"):
        FakeTransport(answer)


async def test_what_a_function_gives_is_checked() -> None:
    """A function that gives something else is a TypeError at the send."""

    def wrong(request: APIRequest) -> Any:
        return {"id": 1}

    with pytest.raises(TypeError, match=r"An answer is .*, not dict"):
        await FakeTransport(wrong)(get())


# --- FakeTransport: what it records


async def test_requests_are_kept_as_they_came() -> None:
    """Each request is recorded as a copy: what happens to it later does not show."""
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
    """The bytes of each request's body can be read, whatever it is made of."""
    transport = FakeTransport(respond())

    await transport(get(body=content))

    assert transport.bodies == [expected]


async def test_a_body_that_can_be_sent_once_is_spent() -> None:
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
    """A stream that is open when the transport closes ends with ClientClosedError, and shows until then."""
    transport = FakeTransport(respond(chunks=[b"1", b"2"]))
    pieces = (await transport(get(stream=True))).iter_bytes()
    first = await anext(pieces)
    await transport.close()

    assert (first, transport.open_responses) == (b"1", 1)
    with pytest.raises(ClientClosedError):
        await anext(pieces)
    assert transport.open_responses == 0


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
    """json, text, body or chunks make the body; the headers that are given come first."""
    response = await FakeTransport(respond(200, **given))(get())

    assert (await response.read(), response.content_type) == (body, content_type)


async def test_one_answer_makes_many_responses() -> None:
    """An answer can be given any number of times, its chunks too: each time is a new response."""
    transport = FakeTransport(default=respond(chunks=iter([b"a", b"b"])))

    bodies = [await (await transport(get())).read() for _ in range(2)]

    assert bodies == [b"ab", b"ab"]


async def test_the_head_is_what_was_asked_for() -> None:
    """Status, reason and headers are there at once; a name may come more than once."""
    response = await FakeTransport(respond(429, headers=[("Link", "<a>"), ("Link", "<b>")]))(get())

    assert (response.status, response.reason) == (429, "Too Many Requests")
    assert response.headers.getall("link") == ["<a>", "<b>"]
    assert (await FakeTransport(respond(599))(get())).reason == ""


async def test_the_body_is_handed_out_unread() -> None:
    """The response comes with its body unread, as from a real transport: reading belongs to the chain."""
    response = await FakeTransport(respond(json=[1]))(get())

    with pytest.raises(StreamConsumedError):
        _ = response.body
    assert await response.json() == [1]


async def test_a_stream_gives_its_chunks() -> None:
    """Chunks come one by one, and empty ones not at all."""
    response = await FakeTransport(respond(chunks=[b"a", b"", b"bc"]))(get(stream=True))

    assert [piece async for piece in response.iter_bytes()] == [b"a", b"bc"]
    assert response.is_closed


async def test_async_chunks_wait_where_they_like() -> None:
    """Chunks may be an async iterable that waits for something between two of them."""
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
    """cut_after loses the connection after so many bytes, at the very end too; every later read fails."""
    transport = FakeTransport(default=respond(chunks=[b"ab", b"cd"], cut_after=cut_after))
    pieces: list[bytes] = []
    response = await transport(get(stream=True))

    with pytest.raises(APIConnectionError, match=f"lost after {cut_after} bytes of the body") as raised:
        async for piece in response.iter_bytes():
            pieces.append(piece)  # noqa: PERF401
    assert pieces == got
    assert raised.value.request is response.request
    assert raised.value.sent is None
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
    """HEAD is answered by the head alone, whatever the answer's body (RFC 9110 §9.3.2)."""
    response = await FakeTransport(respond(json={"id": 7}))(APIRequest("HEAD", cast("Any", URL)))

    assert (await response.read(), response.content_type) == (b"", "application/json")


async def test_an_abort_wakes_the_reader() -> None:
    """Who waits for a chunk when the response is aborted gets the error of the abort."""

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
    """What is read after a cancelled read is lost, never an empty body that looks whole."""
    source = respond(chunks=[b"a"])(get())._source  # pyright: ignore[reportPrivateUsage]
    assert source is not None
    reading = asyncio.ensure_future(source.read_chunk())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    with pytest.raises(APIConnectionError, match="lost after 0 bytes"):
        await source.read_chunk()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"json": 1, "text": "1"}, TypeError, "json and text were both given"),
        ({"body": b"1", "chunks": []}, TypeError, "body and chunks were both given"),
        ({"status": "200"}, TypeError, "A status is an int, not str"),
        ({"status": True}, TypeError, "A status is an int, not bool"),
        ({"status": 99}, InvalidRequestError, "three digits .* not 99"),
        ({"cut_after": -1}, InvalidRequestError, "0 or more, not -1"),
    ],
)
def test_a_wrong_answer_is_refused(given: Any, error: type[Exception], message: str) -> None:
    """Two bodies, a status that is none and a cut before the body are refused when the answer is made."""
    with pytest.raises(error, match=message):
        respond(**given)


async def test_a_client_takes_it_as_transport() -> None:
    """A whole client runs on it: errors are raised, bodies decoded, and closing the client closes it."""
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


# --- FakeClock


async def test_sleep_moves_the_clock_on_at_once() -> None:
    """sleep() notes the seconds, moves the clock by them, and lets other tasks run once."""
    clock = FakeClock(10.0)
    ran: list[bool] = []
    asyncio.get_running_loop().call_soon(ran.append, True)
    await clock.sleep(1.5)
    await clock.sleep(0)

    assert (clock.sleeps, clock.time(), ran) == ([1.5, 0], 11.5, [True])
    assert repr(clock) == "<FakeClock at 11.5>"


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
async def test_a_clock_never_goes_back(seconds: float) -> None:
    """advance() by less than nothing, or by what is no time, is refused."""
    clock = FakeClock()

    with pytest.raises(InvalidRequestError, match="0 seconds or more"):
        clock.advance(seconds)
    assert clock.time() == 1000.0


async def test_a_negative_sleep_is_over_at_once() -> None:
    """A sleep of less than nothing is noted and moves nothing, as asyncio's does."""
    clock = FakeClock()
    await clock.sleep(-1)

    assert (clock.sleeps, clock.time()) == ([-1], 1000.0)


async def test_it_is_the_sleep_of_a_retry() -> None:
    """A retry that sleeps on the clock takes no time, and the waits can be looked at."""
    clock = FakeClock()
    transport = FakeTransport(respond(503, headers={"Retry-After": "7"}), respond(200))

    response = await RetryMiddleware(sleep=clock.sleep)(get(), transport)

    assert (response.status, clock.sleeps) == (200, [7.0])
    assert transport.open_responses == 1
    await response.close()


async def test_it_is_the_clock_of_a_token_cache() -> None:
    """A token cache that reads the clock lets its tokens expire when the clock is moved."""
    clock = FakeClock()
    cache = TokenCache(clock=clock.time)
    made = count()

    async def fetch() -> Token:
        return Token(f"t{next(made)}", 60)

    first = await cache.get("key", fetch)
    again = await cache.get("key", fetch)
    clock.advance(60)

    assert (first.value, again.value, (await cache.get("key", fetch)).value) == ("t0", "t0", "t1")


async def turns() -> None:
    """Let the loop go round: tasks start, and timers that are due fire."""
    for _ in range(3):
        await asyncio.sleep(0)


def is_asyncio_loop() -> bool:
    """Whether the tests run on asyncio's own loop, and not on uvloop."""
    return isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)


async def test_installed_it_moves_the_timers_of_the_loop() -> None:
    """While it is installed, what waits for a timer of the loop waits for this clock."""
    if not is_asyncio_loop():
        pytest.skip("asyncio's own loop")
    clock = FakeClock()
    fired: list[float] = []
    with clock.install() as installed:
        loop = asyncio.get_running_loop()
        loop.call_later(3600, lambda: fired.append(loop.time()))
        sleeping = asyncio.ensure_future(asyncio.sleep(7200))
        await turns()
        clock.advance(3599)
        await turns()
        assert fired == []
        clock.advance(1)
        await turns()
        assert fired == [4600.0]
        assert not sleeping.done()
        clock.advance(3600)
        await sleeping
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await clock.sleep(61)
                await asyncio.Event().wait()

    assert installed is clock
    assert loop.time() != clock.time()
    await asyncio.sleep(0.001)  # a real timer fires again


async def test_installed_it_brings_a_deadline_about() -> None:
    """A call whose waits pass its total ends with APITimeoutError, and nobody has waited."""
    if not is_asyncio_loop():
        pytest.skip("asyncio's own loop")
    clock = FakeClock()

    async def slow(request: APIRequest) -> Callable[[APIRequest], AsyncAPIResponse[Any]]:
        await clock.sleep(4)
        return respond(503)

    transport = FakeTransport(default=slow)
    with clock.install():
        async with AsyncAPIClient("https://api.example.com", transport=transport, timeout=10) as api:
            with pytest.raises(APITimeoutError) as raised:
                await api.get("/users/7", timeout=Timeout(total=3))

    assert raised.value.phase == "total"
    assert len(transport.requests) == 1


async def test_installed_it_ends_a_stream_at_its_total() -> None:
    """A stream that is silent past its total is aborted when the clock has passed it."""
    if not is_asyncio_loop():
        pytest.skip("asyncio's own loop")
    clock = FakeClock()

    async def silent() -> AsyncIterator[bytes]:
        yield b"1"
        await asyncio.Event().wait()

    with clock.install():
        request = get(stream=True, timeout=Timeout(total=5.0, attempt=None))
        response = await DeadlineMiddleware()(request, FakeTransport(respond(chunks=silent())))
        pieces = response.iter_bytes()
        first = await anext(pieces)
        reading = asyncio.ensure_future(anext(pieces))
        await turns()
        clock.advance(5)
        with pytest.raises(APITimeoutError):
            await reading

    assert first == b"1"


async def test_it_is_installed_once() -> None:
    """A second clock in the same loop is refused, and the first one stays."""
    if not is_asyncio_loop():
        pytest.skip("asyncio's own loop")
    clock = FakeClock()
    with clock.install():
        with pytest.raises(RuntimeError, match="follows another FakeClock"), FakeClock().install():
            pass
        assert asyncio.get_running_loop().time() == clock.time()


async def test_it_is_refused_on_another_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that does not ask itself for the time, such as uvloop's, is refused by name."""

    class Loop:
        """No loop of asyncio's."""

    monkeypatch.setattr(asyncio, "get_running_loop", Loop)

    with pytest.raises(TypeError, match=r"asyncio's own loops only, not of .*Loop"), FakeClock().install():
        pass


# --- check_middleware: what keeps the promises


def tokens() -> Callable[[], Awaitable[Token]]:
    """A provider of tokens, each another one."""
    made = count()

    async def provide() -> Token:
        await asyncio.sleep(0)
        return Token(f"t{next(made)}", 3600)

    return provide


async def undecided(request: APIRequest, outcome: object) -> None:
    """A retry verdict that leaves it to the table, after a while."""
    await asyncio.sleep(0)


BUILT_IN: dict[str, Callable[[], Middleware]] = {
    "auth without a credential": AuthMiddleware,
    "auth with a static token": lambda: AuthMiddleware(BearerAuth("token")),
    "auth with a provider": lambda: AuthMiddleware(BearerAuth(tokens())),
    "auth with a user": lambda: AuthMiddleware(BasicAuth("user", "password")),
    "auth with a key in a header": lambda: AuthMiddleware(APIKeyAuth("key")),
    "auth with a key in the query": lambda: AuthMiddleware(APIKeyAuth("key", param="key")),
    "headers": lambda: HeadersMiddleware({"X-Tenant": "7"}, library={"User-Agent": "test"}),
    "redirect": RedirectMiddleware,
    "retry": lambda: RetryMiddleware(sleep=FakeClock().sleep),
    "retry of everything": lambda: RetryMiddleware(RetryPolicy(retry_unsafe=True), sleep=FakeClock().sleep),
    "retry with a verdict": lambda: RetryMiddleware(RetryPolicy(verdict=undecided), sleep=FakeClock().sleep),
    "deadline": DeadlineMiddleware,
    "timeout": TimeoutMiddleware,
    "decoding": DecodingMiddleware,
}


@pytest.mark.parametrize("name", BUILT_IN)
async def test_every_built_in_keeps_the_promises(name: str) -> None:
    """The middlewares of the default chain keep what they ask of others."""
    await check_middleware(BUILT_IN[name])


async def test_a_timeout_with_a_limit_keeps_the_promises() -> None:
    """The limits of one attempt and of a whole call keep them too where they are set."""

    def limited() -> APIRequest:
        return get(timeout=Timeout(total=60.0, attempt=30.0))

    for factory in (DeadlineMiddleware, TimeoutMiddleware):
        await check_middleware(factory, request=limited)


async def timed(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Tells how long a call took."""
    label = request.label
    try:
        return await handler(request)
    finally:
        logging.getLogger(__name__).debug("%s", label)


async def canned(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Answers on the spot."""
    return AsyncAPIResponse.from_bytes(request, 200, {"X-Canned": "1"}, b"{}")


async def refusing(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Lets nothing out, as an open circuit breaker does."""
    raise APIClientError("The circuit is open")


async def picky(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Asks for a retry of what it does not like, the right way."""
    response = await handler(request)
    if response.status == 404:
        raise RetryableError("not there yet", response=response)
    return response


async def explaining(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Puts an error of its own on top of the transport's."""
    try:
        return await handler(request)
    except APIConnectionError as error:
        raise APIClientError("The service is down") from error


async def with_fallback(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Asks a second host when the first one fails."""
    second = request.copy()
    try:
        response = await handler(request)
    except APIConnectionError:
        if not second.can_be_sent:
            raise
        return await handler(second)
    if response.status < 500 or not second.can_be_sent:
        return response
    await response.close()
    return await handler(second)


async def hedged(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Sends twice and takes what comes first."""
    if request.body is not None:
        return await handler(request)
    sends = [asyncio.ensure_future(handler(request.copy())) for _ in range(2)]
    winner: asyncio.Future[AsyncAPIResponse[Any]] | None = None
    try:
        await asyncio.wait(sends, return_when=asyncio.FIRST_COMPLETED)
        winner = next(send for send in sends if send.done())
        return winner.result()
    finally:
        for send in sends:
            if send is not winner and not send.cancel() and send.exception() is None:
                await send.result().close()


class Limited:
    """Lets one call through at a time, its stream included."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(1)

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* when nothing else is in flight."""
        await self._free.acquire()
        try:
            response = await handler(request)
        except BaseException:
            self._free.release()
            raise
        response.on_close(self._free.release)
        return response


class Numbered:
    """Numbers the calls: state of all of them, not of one."""

    def __init__(self) -> None:
        self._numbers = count()

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* with its number."""
        request.headers["X-Number"] = str(next(self._numbers))
        request.headers["X-Random"] = str(id(object()))
        return await handler(request)

    async def placed(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request*; as a method, this is a middleware too."""
        return await handler(request)


async def tagged(tag: str, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Sends a tag."""
    request.headers["X-Tag"] = tag
    return await handler(request)


GOOD: dict[str, Callable[[], Middleware]] = {
    "a function that looks on": lambda: timed,
    "an answer on the spot": lambda: canned,
    "a refusal": lambda: refusing,
    "a wish for a retry": lambda: picky,
    "an error with its cause": lambda: explaining,
    "a fallback": lambda: with_fallback,
    "a hedge": lambda: hedged,
    "a limit of one": Limited,
    "a counter": Numbered,
    "a method": lambda: Numbered().placed,
    "a partial": lambda: functools.partial(tagged, "blue"),
    "one with a place": lambda: per_attempt(Numbered()),
}


@pytest.mark.parametrize("name", GOOD)
async def test_what_keeps_the_promises_passes(name: str) -> None:
    """Caches, hedges, limits, fallbacks and the like pass when they keep the promises."""
    await check_middleware(GOOD[name])


async def test_what_a_middleware_holds_is_closed() -> None:
    """A middleware with an async close() is closed after the trials, once."""
    closed: list[object] = []

    class Holding(Numbered):
        async def close(self) -> None:
            closed.append(self)

    one = Holding()
    await check_middleware(lambda: one)

    assert closed == [one]


# --- check_middleware: what breaks them


async def same_request_again(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Hands one request object to the handler twice."""
    response = await handler(request)
    if response.status == 503:
        await response.close()
        return await handler(request)
    return response


async def shared_headers(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Copies the request, and takes the headers of the first one."""
    twin = request.copy()
    twin.headers = request.headers
    response = await handler(request)
    if response.status == 503:
        await response.close()
        return await handler(twin)
    return response


async def copied_too_late(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Copies the request after it has given it away."""
    response = await handler(request)
    if response.status == 503:
        await response.close()
        return await handler(request.copy())
    return response


async def own_extensions(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Cuts the call off from its extensions."""
    request.extensions = dict(request.extensions)
    return await handler(request)


class OneHeadersForAll:
    def __init__(self) -> None:
        self.headers = get().headers

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        request.headers = self.headers
        return await handler(request)


async def reads_the_body(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Uses the body up before it is sent."""
    if request.body is not None:
        async for _ in request.body:
            pass
    return await handler(request)


async def resends_the_body(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Sends again without a look at the body."""
    twin = request.copy()
    response = await handler(request)
    if response.status == 503:
        await response.close()
        with suppress(RequestNotReplayableError):
            return await handler(twin)
    return response


async def raises_for_status(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Raises what the client alone raises."""
    response = await handler(request)
    if response.status >= 400:
        await response.close()
        raise InternalServerError(status=response.status)
    return response


async def returns_data(request: APIRequest, handler: Handler) -> Any:
    """Returns what the response holds."""
    return await (await handler(request)).json()


async def returns_nothing(request: APIRequest, handler: Handler) -> Any:
    """Forgets to return."""
    await (await handler(request)).close()


async def hides_the_error(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Raises another error without its cause."""
    try:
        return await handler(request)
    except APITimeoutError:
        raise APIClientError("too slow") from None


async def refuses_what_is_closed(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Cannot do with an answer that came without a connection."""
    response = await handler(request)
    if response.is_closed and not response.headers.get("X-Vandal"):
        raise RuntimeError("closed already")
    return response


async def leaks_what_failed(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Drops a failed response."""
    twin = request.copy()
    response = await handler(request)
    return await handler(twin) if response.status == 503 else response


async def replaces_without_closing(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Answers in the place of a response that it drops."""
    response = await handler(request)
    if response.status == 404:
        return AsyncAPIResponse.from_bytes(response.request, 200, None, b"{}")
    return response


async def leaks_when_cancelled(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Waits with a response in its hands, and does not close it when it is cancelled."""
    response = await handler(request)
    await asyncio.sleep(0)
    return response


async def reads_streams(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Reads every body, as if none would stream."""
    response = await handler(request)
    await response.read()
    return response


async def closes_streams(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Returns from within a block that closes what it returns."""
    async with await handler(request) as response:
        return response


async def peeks_into_streams(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Takes the first piece of a stream."""
    stream = request.stream
    response = await handler(request)
    source = response._source  # pyright: ignore[reportPrivateUsage]
    if stream and source is not None:
        try:
            await source.read_chunk()
        except BaseException:
            await response.close()
            raise
    return response


async def swallows_the_cancellation(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Takes a cancellation for a failure of the service."""
    twin = request.copy()
    try:
        return await handler(request)
    except asyncio.CancelledError:
        return AsyncAPIResponse.from_bytes(twin, 503)


async def renames_the_cancellation(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Makes an error of its own of a cancellation."""
    try:
        return await handler(request)
    except asyncio.CancelledError:
        raise APIConnectionError("interrupted") from None


async def takes_the_cancellation_back(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Spoils the count by which a timeout knows its own cancellation."""
    try:
        return await handler(request)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        raise


async def sends_after_the_cancellation(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Tells the server of the cancellation."""
    twin = request.copy()
    try:
        return await handler(request)
    except asyncio.CancelledError:
        await (await handler(twin)).close()
        raise


async def leaves_a_task_behind(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Goes on behind the back of a caller who has left."""

    async def later() -> None:
        await asyncio.sleep(0)
        await (await handler(request.copy())).close()

    send = asyncio.ensure_future(handler(request.copy()))
    try:
        return await asyncio.shield(send)
    except asyncio.CancelledError:
        asyncio.get_running_loop().call_soon(lambda: BEHIND.append(asyncio.ensure_future(later())))
        await (await send).close()
        raise


BEHIND: list[asyncio.Future[None]] = []


async def cancels_itself(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Raises CancelledError as if it were an error like others."""
    response = await handler(request)
    if response.status == 500:
        await response.close()
        raise asyncio.CancelledError
    return response


class KeepsTheRequest:
    def __init__(self) -> None:
        self.request: APIRequest | None = None

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        self.request = request
        return await handler(request)


class KeepsTheResponseInASlot:
    __slots__ = ("response",)

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        self.response = await handler(request)
        return self.response


class SendsTheLatest:
    def __init__(self) -> None:
        self._latest: list[APIRequest] = []

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        self._latest[:] = [request]
        await asyncio.sleep(0)
        return await handler(self._latest[0].copy())


class ReturnsTheLatest:
    def __init__(self) -> None:
        self._latest: dict[str, AsyncAPIResponse[Any]] = {}

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        before = self._latest.pop("", None)
        response = await handler(request)
        if response.status == 503 or before is not None:
            return before or response
        self._latest[""] = response
        return response


class SignsOnSelf:
    def __init__(self) -> None:
        self._signature = ""

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        self._signature = f"signed {request.url.query['call']}"
        await asyncio.sleep(0)
        request.headers["X-Signature"] = self._signature
        return await handler(request)


class CountsItsAttempts:
    def __init__(self) -> None:
        self._attempts = 0

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        self._attempts = 0
        while True:
            self._attempts += 1
            response = await handler(request.copy())
            if response.status != 503 or self._attempts == 3 or not request.can_be_sent:
                return response
            await response.close()


async def bare_wish(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Wants a retry, and says neither of what nor why."""
    response = await handler(request)
    if response.status == 404:
        await response.close()
        raise RetryableError("not there yet")
    return response


async def wish_without_a_body(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Wants a retry of a response whose body it has thrown away."""
    response = await handler(request)
    if response.status == 404:
        await response.close()
        raise RetryableError("not there yet", response=response)
    return response


async def hides_the_wish(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Takes somebody else's wish for a retry away."""
    try:
        return await handler(request)
    except RetryableError:
        raise APIClientError("no retries here") from None


class Leaking:
    def __init__(self) -> None:
        self._free = asyncio.Semaphore(1)

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        await self._free.acquire()
        response = await handler(request)
        self._free.release()
        return response


def not_async(request: APIRequest, handler: Handler) -> Any:
    """Is not async."""
    return handler(request)


class NotAsync:
    def __call__(self, request: APIRequest, handler: Handler) -> Any:
        return handler(request)


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: same_request_again, r"promise 1 .* status 503, .* twice with the same request"),
    (lambda: shared_headers, "promise 1 .* two requests that share their headers"),
    (lambda: copied_too_late, "promise 1 .* what a handler did to its own request shows in another"),
    (lambda: own_extensions, "promise 1 .* other extensions than the call"),
    (OneHeadersForAll, "promise 1 .*, and in the next call, what a handler did to its own request shows"),
    (lambda: reads_the_body, "promise 1 .* used up before it was sent"),
    (lambda: resends_the_body, "promise 1 .* called again with a body that can be sent only once"),
    (lambda: raises_for_status, "promise 2 .* status 401, it raised an InternalServerError in place of"),
    (lambda: returns_data, "promise 2 .* it returned a dict, not an AsyncAPIResponse"),
    (lambda: returns_nothing, "promise 2 .* it returned a NoneType, not an AsyncAPIResponse"),
    (lambda: hides_the_error, "promise 2 .* APITimeoutError .* an APIClientError that is not raised from"),
    (lambda: refuses_what_is_closed, "promise 3 .* on the spot with status 200, it raised a RuntimeError"),
    (lambda: leaks_what_failed, "promise 4 .* the response with status 503 was still open"),
    (lambda: replaces_without_closing, "promise 4 .* the response with status 404 was still open"),
    (lambda: leaks_when_cancelled, "promise 4 .* cancelled at its await number 2, .* 200 was still open"),
    (lambda: reads_streams, "promise 4 .* closed or read already"),
    (lambda: closes_streams, "promise 4 .* closed or read already"),
    (lambda: peeks_into_streams, "promise 4 .* was begun, and is not whole"),
    (lambda: swallows_the_cancellation, "promise 5 .* number 1, .* returned a response in place of Cancel"),
    (lambda: renames_the_cancellation, "promise 5 .* raised an APIConnectionError in place of CancelledErr"),
    (lambda: takes_the_cancellation_back, r"promise 5 .* took the cancellation back with uncancel\(\)"),
    (lambda: sends_after_the_cancellation, "promise 5 .* handler was called after the call was cancelled"),
    (lambda: leaves_a_task_behind, "promise 5 .* handler was called after the call was cancelled"),
    (lambda: cancels_itself, "promise 5 .* status 500, it raised CancelledError, and nobody had"),
    (KeepsTheRequest, "promise 5 .* 'request' holds an APIRequest of a single call"),
    (KeepsTheResponseInASlot, "promise 5 .* 'response' holds an AsyncAPIResponse of a single call"),
    (SendsTheLatest, "promise 5 .* the handler of one call got the request of another"),
    (ReturnsTheLatest, "promise 5 .* one call returned the response of another"),
    (SignsOnSelf, "promise 5 .* with a second call in its await number 1, .* sent otherwise than alone"),
    (CountsItsAttempts, "promise 5 .* the first call was sent . times, and 3 times alone"),
    (lambda: bare_wish, "promise 6 .* has no response and no cause"),
    (lambda: wish_without_a_body, "promise 6 .* was closed unread, and its body is lost"),
    (lambda: hides_the_wish, "promise 6 .* a RetryableError, it raised an APIClientError"),
    (lambda: not_async, "not_async is no middleware: write it as 'async def'"),
    (NotAsync, "NotAsync is no middleware"),
    (lambda: KeepsTheRequest, "KeepsTheRequest is no middleware: .* give an instance of it"),
    (lambda: "retry", "str is no middleware"),
]


@pytest.fixture
def left_behind() -> Iterator[None]:
    """End the tasks that a bad middleware left behind."""
    yield
    for task in BEHIND:
        task.cancel()
    BEHIND.clear()


@pytest.mark.usefixtures("left_behind")
@pytest.mark.parametrize(
    ("factory", "message"), BAD, ids=[message.split(".*")[-1].strip() for _, message in BAD]
)
async def test_what_breaks_a_promise_is_told(factory: Callable[[], Any], message: str) -> None:
    """One that breaks a promise fails with the promise, what was done, and what came of it."""
    with pytest.raises(AssertionError, match=message) as raised:
        await check_middleware(factory)

    assert str(raised.value).startswith(getattr(factory(), "__name__", type(factory()).__name__))


async def test_a_call_that_never_ends_is_told() -> None:
    """One that keeps what a failed call held lets the next call wait for ever, and fails in the end."""
    with pytest.raises(AssertionError, match=r"Leaking kept its caller .* not end within 0\.05 seconds"):
        await check_middleware(Leaking, patience=0.05)


async def test_a_message_can_be_read_aloud() -> None:
    """The message names the middleware, the promise by number and words, the trial, and the finding."""
    with pytest.raises(AssertionError) as raised:
        await check_middleware(lambda: leaks_what_failed)

    assert str(raised.value) == (
        "leaks_what_failed breaks promise 4 (whoever drops a response closes it, and leaves one that streams "
        "to its reader): answered with status 503, the response with status 503 was still open "
        "at the end"
    )


async def test_the_request_can_be_given() -> None:
    """A middleware that acts on some requests only is tried with such requests."""

    async def for_reports(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        return await (raises_for_status if request.template == "/reports" else timed)(request, handler)

    await check_middleware(lambda: for_reports)
    with pytest.raises(AssertionError, match="for_reports breaks promise 2"):
        await check_middleware(lambda: for_reports, request=lambda: get(template="/reports"))


@pytest.mark.parametrize("factory", [timed, None, "retry"])
async def test_the_factory_is_no_middleware(factory: Any) -> None:
    """A middleware in place of the factory is a TypeError that says so."""
    with pytest.raises(TypeError, match=r"takes a factory, such as a class or 'lambda: middleware'"):
        await check_middleware(factory)
