"""`Propagate`: the deadline of each call, and the headers of each send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from aioapiclient_web import Propagate
from aioapiclient_web.inbound import Inbound, current
from multidict import CIMultiDict

from aioapiclient import (
    OMIT,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    InvalidRequestError,
    RetryPolicy,
    load_middleware,
)
from aioapiclient.contract import APIRequest, Handler, Middleware
from aioapiclient.testing import FakeClock, FakeTransport, check_middleware, respond

BASE = "https://api.example.com/v1"
TRACE = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "tracestate": "a=1", "X-Request-Id": "id-1"}


@contextmanager
def answering(seconds: float | None = None, **headers: str) -> Iterator[None]:
    """Handle a request that has *seconds* left."""
    deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
    before = current.set(Inbound(deadline, CIMultiDict(headers)))
    yield
    current.reset(before)


def client(transport: Any, propagate: Propagate | str | None = None, **options: Any) -> AsyncAPIClient:
    """A client that propagates, whose retries do not wait."""
    options.setdefault("retry", RetryPolicy(jitter=lambda wait: 0.0, budget=None))
    return AsyncAPIClient(BASE, transport=transport, middlewares=[propagate or Propagate()], **options)


async def test_it_keeps_the_promises() -> None:
    """Both middlewares keep the six promises, outside of a request and within one."""
    for place in (0, 1):
        make = partial(_link, place)
        await check_middleware(make)
        with FakeClock().install(), answering(1000.0, **TRACE):
            await check_middleware(make)


def _link(place: int) -> Middleware:
    return Propagate().middlewares()[place]


async def test_it_is_installed_by_its_name() -> None:
    """Its entry point creates it with its settings, and `explain` shows both middlewares."""
    assert isinstance(load_middleware("propagate", header="grpc-timeout"), Propagate)
    async with client(FakeTransport(), "propagate") as api:
        links = [line.strip() for line in api.explain().splitlines()]
    assert links[2] == "PropagateDeadline"
    assert "PropagateHeaders" in links


async def test_outside_of_a_request_nothing_is_changed() -> None:
    """A call at start-up, or of a background job, has its own time and no header."""
    transport = FakeTransport(respond(json={}))
    async with client(transport) as api:
        await api.get("/users")
    assert "X-Request-Timeout" not in transport.requests[0].headers


class Slow:
    """A transport whose every send takes a second of the clock, and answers with the next of *statuses*."""

    def __init__(self, clock: FakeClock, *statuses: int, **headers: str) -> None:
        self.clock = clock
        self.statuses = [*statuses]
        self.headers = headers
        self.sent: list[APIRequest] = []

    async def __call__(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        self.sent.append(request.copy())
        self.clock.advance(1.0)
        return AsyncAPIResponse.from_bytes(request, self.statuses.pop(0), self.headers, b"{}")

    def said(self, header: str = "X-Request-Timeout") -> list[str | None]:
        """The values of *header* in the sends."""
        return [request.headers.get(header) for request in self.sent]


async def test_each_send_says_what_is_left() -> None:
    """The header has the time left at each attempt, not at the start of the call."""
    with (clock := FakeClock()).install():
        transport = Slow(clock, 503, 503, 200)
        async with client(transport) as api:
            with answering(10.0):
                await api.get("/users")
    assert transport.said() == ["10.000", "9.000", "8.000"]


@pytest.mark.parametrize(
    ("header", "said"), [("grpc-timeout", "2500m"), ("X-Timeout-Ms", "2500"), (None, None)]
)
async def test_the_header_is_a_setting(header: str | None, said: str | None) -> None:
    """Another header uses its usual format; None sends no header."""
    with (clock := FakeClock()).install():
        transport = Slow(clock, 200)
        async with client(transport, Propagate(header=header)) as api:
            with answering(2.5):
                await api.get("/users")
    assert transport.said(header or "X-Request-Timeout") == [said]


async def test_a_call_ends_with_the_request_it_is_made_for() -> None:
    """A call without an answer by the deadline is an APITimeoutError of the total time, and not retried."""
    sent = 0

    async def hang(request: APIRequest) -> AsyncAPIResponse[Any]:
        nonlocal sent
        sent += 1
        await asyncio.Event().wait()
        raise AssertionError

    with (clock := FakeClock()).install():
        async with client(hang) as api:
            with answering(2.0):
                call = asyncio.ensure_future(api.get("/users"))
                await _turns()
                clock.advance(1.9)
                await _turns()
                assert not call.done()
                clock.advance(0.2)
                with pytest.raises(APITimeoutError) as raised:
                    await call
    assert (raised.value.phase, sent) == ("total", 1)


async def test_after_the_deadline_nothing_is_sent() -> None:
    """Without any time left, a call fails before a byte is sent."""
    transport = FakeTransport(default=respond(json={}))
    async with client(transport) as api:
        for seconds in (0.0, -5.0):
            with answering(seconds), pytest.raises(APITimeoutError, match=r"not done within 0 s \(total\)"):
                await api.get("/users")
    assert transport.requests == []


async def test_retries_know_the_deadline() -> None:
    """A wait that would end after the deadline does not begin: the call ends with its last result."""
    transport = FakeTransport(default=respond(503, headers={"Retry-After": "30"}))
    async with client(transport) as api:
        with answering(20.0), pytest.raises(Exception, match="503") as raised:
            await api.get("/users")
    assert getattr(raised.value, "retry_after", None) == 30
    assert len(transport.requests) == 1


async def test_the_shorter_time_of_a_call_wins() -> None:
    """A call's own timeout that ends earlier is kept, and is sent to the server."""
    with (clock := FakeClock()).install():
        transport = Slow(clock, 200, 200)
        async with client(transport) as api:
            with answering(100.0):
                await api.get("/users", timeout=2.0)
                await api.get("/users", timeout=500.0)
    assert transport.said() == ["2.000", "99.000"]


async def test_a_stream_ends_with_the_request_too() -> None:
    """The body of a stream is cut off at the deadline, even if the head arrived in time."""
    with (clock := FakeClock()).install():
        transport = FakeTransport(respond(chunks=[b"one", b"two"]))
        async with client(transport) as api:
            with answering(3.0):
                async with api.open("GET", "/log") as response:
                    pieces = response.iter_bytes()
                    assert await anext(pieces) == b"one"
                    clock.advance(3.1)
                    await _turns()
                    with pytest.raises(APITimeoutError):
                        await anext(pieces)


async def test_a_stream_that_was_read_leaves_no_timer() -> None:
    """The timer of a stream ends with its response, and does not keep it alive for minutes."""
    loop = asyncio.get_running_loop()
    transport = FakeTransport(respond(chunks=[b"one", b"two"]))
    async with client(transport) as api:
        with answering(300.0):
            async with api.open("GET", "/log") as response:
                assert [piece async for piece in response.iter_bytes()] == [b"one", b"two"]
    timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
    assert not [timer for timer in timers if 250 < timer.when() - loop.time() < 301]


# --- the kept headers


async def test_kept_headers_are_sent_on() -> None:
    """Trace and request ID of the request are sent unchanged with every call made for it."""
    transport = FakeTransport(default=respond(json={}))
    async with client(transport) as api:
        with answering(**TRACE):
            await api.get("/users")
    sent = transport.requests[0].headers
    assert {name: sent[name] for name in TRACE} == TRACE
    assert "X-Request-Timeout" not in sent


async def test_a_client_can_take_fewer_headers() -> None:
    """A client of a third-party server sends only the headers that it names, in any case."""
    transport = FakeTransport(default=respond(json={}))
    async with client(transport, Propagate(header=None, keep=["TraceParent"])) as api:
        with answering(5.0, baggage="user=7", **TRACE):
            await api.get("/users")
    sent = transport.requests[0].headers
    assert sent["traceparent"] == TRACE["traceparent"]
    assert not {"X-Request-Id", "tracestate", "baggage", "X-Request-Timeout"} & {*sent}


async def test_a_foreign_origin_gets_none_of_it() -> None:
    """By redirect or absolute URL, a foreign origin gets neither headers nor time; a trusted one does."""
    elsewhere = "https://files.example.net/7"
    for trusted in ((), ("https://files.example.net",)):
        transport = FakeTransport(
            respond(302, headers={"Location": elsewhere}), respond(json={}), respond(json={})
        )
        async with client(transport, trusted_origins=trusted) as api:
            with answering(5.0, **TRACE, **{"Accept-Language": "de"}):
                await api.get("/users")
                await api.get(elsewhere)
        names = {"X-Request-Timeout", "Accept-Language", *TRACE}
        found = [names & {*request.headers} for request in transport.requests]
        assert found == [names, *([names, names] if trusted else [set(), set()])]


async def test_a_foreign_origin_has_to_be_in_time_as_well() -> None:
    """The deadline holds for every server."""
    transport = FakeTransport(default=respond(json={}))
    async with client(transport) as api:
        with answering(0.0), pytest.raises(APITimeoutError):
            await api.get("https://files.example.net/7")


async def test_the_call_has_the_last_word() -> None:
    """A header that the call sets or omits is kept, and the state of one trace never joins another."""
    transport = FakeTransport(default=respond(json={}))
    own = {"traceparent": f"00-{'3' * 32}-{'4' * 16}-00", "X-Request-Id": OMIT, "x-request-timeout": "1"}
    async with client(transport) as api:
        with answering(5.0, **TRACE):
            await api.get("/users", headers=own)
            await api.get("/users", headers={"traceparent": OMIT})
    first, second = (request.headers for request in transport.requests)
    assert (first["traceparent"], first["X-Request-Timeout"]) == (own["traceparent"], "1")
    assert "tracestate" not in first
    assert "X-Request-Id" not in first
    assert not {"traceparent", "tracestate"} & {*second}


async def test_another_middleware_keeps_its_headers() -> None:
    """Telemetry inside or outside sets the parent of its own span, which replaces the inbound one."""
    parent = f"00-{'5' * 32}-{'6' * 16}-01"

    async def telemetry(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        request.set_headers({"traceparent": parent})
        return await handler(request)

    transport = FakeTransport(default=respond(json={}))
    async with AsyncAPIClient(BASE, transport=transport, middlewares=[telemetry, Propagate()]) as api:
        with answering(**TRACE):
            await api.get("/users")
    sent = transport.requests[0].headers
    assert sent["traceparent"] == parent
    assert "tracestate" not in sent
    assert sent["X-Request-Id"] == "id-1"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"header": "X Timeout"}, InvalidRequestError, "is not a token"),
        ({"header": "Content-Length"}, InvalidRequestError, "the transport sets it"),
        ({"header": 5}, TypeError, "header must be the name of a header, not int"),
        ({"keep": "traceparent"}, TypeError, "keep must be an iterable of header names, not str"),
        ({"keep": [5]}, TypeError, "keep must be the name of a header, not int"),
        ({"keep": ["Host"]}, InvalidRequestError, "the transport sets it"),
    ],
)
def test_what_an_argument_may_not_be(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """A wrong argument is refused at construction, with its name in the message."""
    with pytest.raises(error, match=words):
        Propagate(**options)


def test_the_repr() -> None:
    """The repr names the header that it sends."""
    assert repr(Propagate()) == "Propagate(header='X-Request-Timeout')"


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)
