"""`inbound`: the deadline and headers of a request, read on a real port, and the values that are refused."""

from __future__ import annotations

import asyncio
import re
from contextvars import ContextVar
from typing import Any

import aiohttp
import pytest
from aioapiclient_web import inbound, time_left
from aioapiclient_web.inbound import Inbound, current
from aiohttp import web
from multidict import CIMultiDict

from aioapiclient import InvalidRequestError

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
PARENT = f"00-{'1' * 32}-{'2' * 16}-01"


class Service:
    """A service with `inbound` that answers with the values its handler reads."""

    def __init__(self, *middlewares: Any) -> None:
        self.app = web.Application(middlewares=middlewares)
        self.app.router.add_get("/", self.see)
        self.app.router.add_get("/missing", self.miss)
        self.app.router.add_get("/stream", self.stream)
        self.seen: Inbound | None = None
        self.left: float | None = None
        self.request_id: str | None = None

    async def see(self, request: web.Request) -> web.Response:
        self.seen, self.left, self.request_id = current.get(), time_left(), REQUEST_ID.get()
        return web.Response()

    async def miss(self, request: web.Request) -> web.Response:
        raise web.HTTPNotFound

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        return response


async def ask(url: str, headers: Any = None, path: str = "/") -> CIMultiDict[str]:
    """Send a request with *headers*; return the headers of the response."""
    async with aiohttp.ClientSession() as session, session.get(url + path, headers=headers) as response:
        await response.read()
        return CIMultiDict(response.headers)


async def left_of(serve: Any, headers: Any = None, **options: Any) -> float | None:
    """How much time the handler has for a request, to a tenth of a second up."""
    service = Service(inbound(**({"reserve": 0.0} | options)))
    await ask(await serve(service.app), headers)
    return service.left


# --- the deadline


@pytest.mark.parametrize(
    ("options", "headers", "seconds"),
    [
        ({}, {"X-Request-Timeout": "20"}, 20),
        ({}, {"x-request-timeout": "20000ms"}, 20),
        ({}, {"X-Request-Timeout": "9999999"}, 300),
        ({"most": 60}, {"X-Request-Timeout": "100"}, 60),
        ({"budget": 30}, {}, 30),
        ({"budget": 30}, {"X-Request-Timeout": "20"}, 20),
        ({"budget": 30}, {"X-Request-Timeout": "40"}, 30),
        ({"budget": 500}, {}, 500),
        ({"budget": 30}, {"X-Request-Timeout": "nan"}, 30),
        ({"reserve": 5, "budget": 30}, {}, 25),
        ({"reserve": 5}, {"X-Request-Timeout": "20"}, 15),
        ({"header": "grpc-timeout"}, {"grpc-timeout": "2M", "X-Request-Timeout": "1"}, 120),
        ({"header": "X-Timeout-Ms"}, {"X-Timeout-Ms": "20000"}, 20),
        ({}, [("X-Request-Timeout", "20"), ("X-Request-Timeout", "10"), ("X-Request-Timeout", "x")], 10),
    ],
)
async def test_the_time_of_a_request(serve: Any, options: dict[str, Any], headers: Any, seconds: int) -> None:
    """The header names the time, the cap and the budget limit it, and a reserve is kept for the answer."""
    left = await left_of(serve, CIMultiDict(headers), **options)
    assert left is not None
    assert seconds - 10 < left <= seconds


@pytest.mark.parametrize("text", ["", "nan", "-1", "inf", "1_0", "5 hours", "9" * 4000, "\xff", "1,2"])
async def test_garbage_is_not_a_time(serve: Any, text: str) -> None:
    """A header without a valid time counts as missing: without a budget there is no deadline."""
    assert await left_of(serve, {"X-Request-Timeout": text}) is None
    assert await left_of(serve) is None


async def test_less_than_the_reserve_is_nothing(serve: Any) -> None:
    """A caller that waits for less than the reserve leaves 0 s, never a negative time."""
    assert await left_of(serve, {"X-Request-Timeout": "0.01"}, reserve=5) == 0.0


async def test_no_deadline_outside_of_a_request() -> None:
    """`time_left` is None outside a request."""
    assert time_left() is None


async def test_nothing_is_left_when_the_handler_has_ended(serve: Any) -> None:
    """Neither an outer middleware nor the next request of the connection sees the state of a request."""
    left: list[Any] = []

    @web.middleware
    async def outer(request: web.Request, handler: Any) -> web.StreamResponse:
        left.append((current.get(), REQUEST_ID.get()))
        try:
            return await handler(request)
        finally:
            left.append((current.get(), REQUEST_ID.get()))

    url = await serve(Service(outer, inbound(request_id=REQUEST_ID)).app)
    headers = {"X-Request-Timeout": "20", "traceparent": PARENT}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        for path in ("/", "/missing", "/"):
            async with session.get(url + path, headers=headers) as response:
                await response.read()
    assert left == [(None, None)] * 6


async def test_a_server_started_while_answering_inherits_nothing(serve: Any) -> None:
    """A server started in the context of a request does not apply its deadline to other requests."""
    before = current.set(Inbound(0.0, CIMultiDict({"X-Request-Id": "outer"})))
    service = Service(inbound())
    url = await serve(service.app)
    current.reset(before)
    await ask(url)
    assert service.seen == Inbound(None, CIMultiDict())


@pytest.mark.parametrize(
    ("outer", "inner", "seconds"), [(30, 100, 30), (100, 30, 30), (None, 30, 30), (30, None, 30)]
)
async def test_two_see_one_request(serve: Any, outer: Any, inner: Any, seconds: int) -> None:
    """An application and its sub-application may both limit a request: the earlier deadline holds."""
    service = Service(inbound(budget=inner, keep=["X-Tenant"]))
    app = web.Application(middlewares=[inbound(budget=outer)])
    app.add_subapp("/sub/", service.app)
    headers = {"traceparent": PARENT, "X-Tenant": "7"}
    await ask(await serve(app), headers, "/sub/")
    assert service.left is not None
    assert seconds - 10 < service.left <= seconds
    assert service.seen is not None
    assert dict(service.seen.headers) == headers


# --- the headers


async def kept(serve: Any, headers: Any, **options: Any) -> dict[str, str]:
    """The kept headers of a request."""
    service = Service(inbound(**options))
    await ask(await serve(service.app), headers)
    assert service.seen is not None
    return dict(service.seen.headers)


async def test_trace_and_id_are_kept(serve: Any) -> None:
    """By default trace, baggage and request ID are kept, but no credential and no cookie."""
    headers = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "user=7", "X-Request-Id": "id-1"}
    others = {"Authorization": "Bearer canary", "Cookie": "canary=1", "X-Other": "1"}
    assert await kept(serve, headers | others) == headers
    assert await kept(serve, headers | others, keep=["X-Other"]) == {"X-Other": "1"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("tracestate", "a=1"), ("tracestate", "b=2"), ("traceparent", PARENT)], {"tracestate": "a=1,b=2"}),
        ([("traceparent", PARENT), ("traceparent", PARENT), ("tracestate", "a=1")], None),
        ([("tracestate", "a=1")], None),
        ([("X-Request-Id", "a"), ("X-Request-Id", "b")], None),
        ([("X-Request-Id", "")], None),
        ([("X-Request-Id", "caf\xe9")], None),
        ([("baggage", "a\tb")], {"baggage": "a\tb"}),
    ],
)
async def test_odd_headers(serve: Any, headers: Any, expected: dict[str, str] | None) -> None:
    """Malformed or repeated values are not sent on; lists are joined, and a state without its parent is
    dropped.
    """
    found = await kept(serve, CIMultiDict(headers))
    found.pop("traceparent", None) if expected and "tracestate" in expected else None
    assert found == (expected or {})


def test_no_value_shows() -> None:
    """Kept values may be confidential: a repr has names only."""
    found = Inbound(5.0, CIMultiDict({"baggage": "user=canary"}))
    assert repr(found) == "<Inbound: deadline=5.0, headers baggage>"


async def test_bytes_that_are_not_text(serve: Any) -> None:
    """Bytes that are not UTF-8 are not sent on, and the request is answered."""
    service = Service(inbound())
    url = await serve(service.app)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-Id: \xff\xfe\r\ntraceparent: \x80\r\n"
    )
    writer.write(b"X-Request-Timeout: \xff\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert service.seen == Inbound(None, CIMultiDict())


# --- the request ID


@pytest.mark.parametrize("path", ["/", "/missing"])
async def test_a_good_id_is_used(serve: Any, path: str) -> None:
    """With a variable, the inbound ID is available to the handler and in the response, even of a 404."""
    service = Service(inbound(request_id=REQUEST_ID))
    answer = await ask(await serve(service.app), {"X-Request-Id": "id-1"}, path)
    assert answer["X-Request-Id"] == "id-1"
    assert service.request_id == ("id-1" if path == "/" else None)
    assert REQUEST_ID.get() is None


@pytest.mark.parametrize("bad", [None, "a b", "caf\xe9", "x" * 129])
async def test_a_bad_id_is_replaced(serve: Any, bad: str | None) -> None:
    """With a variable, a missing ID, or one that could forge a field of a log, is replaced by a new one."""
    service = Service(inbound(request_id=REQUEST_ID, keep=[]))
    url = await serve(service.app)
    ids = {(await ask(url, bad and {"X-Request-Id": bad}))["X-Request-Id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in ids)
    assert service.request_id in ids
    assert service.seen is not None
    assert service.seen.headers["X-Request-Id"] == service.request_id


async def test_a_head_that_was_sent_stays(serve: Any) -> None:
    """The response of a handler that has already sent its head is not changed."""
    url = await serve(Service(inbound(request_id=REQUEST_ID)).app)
    assert "X-Request-Id" not in await ask(url, path="/stream")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"budget": -1}, InvalidRequestError, "budget must be 0 seconds or more, not -1"),
        ({"most": float("inf")}, InvalidRequestError, "most must be 0 seconds or more, not inf"),
        ({"reserve": "1"}, TypeError, "reserve must be a number of seconds, not str"),
        ({"budget": True}, TypeError, "budget must be a number of seconds, not bool"),
        ({"header": ""}, InvalidRequestError, "is not a token"),
        ({"header": None}, TypeError, "header must be the name of a header, not NoneType"),
        ({"keep": "baggage"}, TypeError, "keep must be an iterable of header names, not str"),
        ({"keep": ["Transfer-Encoding"]}, InvalidRequestError, "the transport sets it"),
        ({"request_id": "id"}, TypeError, "request_id must be a ContextVar, not str"),
    ],
)
def test_what_an_argument_may_not_be(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """A wrong argument is refused when the middleware is created, with its name in the message."""
    with pytest.raises(error, match=words):
        inbound(**options)
