"""`Direct`: requests that do without `ClientSession._request`, on every aiohttp of the matrix."""

from __future__ import annotations

import asyncio
import os
from asyncio import selector_events
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import base_protocol, client
from multidict import CIMultiDict
from servers import RawServer, client_tls, ok, raw_server, respond
from yarl import URL

from aioapiclient._body.body import Body
from aioapiclient._request import APIRequest
from aioapiclient._transport import direct
from aioapiclient._transport.transport import AiohttpTransport
from aioapiclient.errors import APIConnectionError


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    """A server that answers each request."""
    async with raw_server(respond(ok(b"{}"))) as server:
        yield server


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    """A transport that trusts the tests' certificate, closed in the end."""
    transport = AiohttpTransport(ssl=client_tls())
    yield transport
    await transport.close()


class Counter:
    """Counts the requests through `ClientSession._request`, which these handles bypass."""

    def __init__(self) -> None:
        self.count = 0

    def make(self, *args: Any, **options: Any) -> Any:
        self.count += 1
        return self.original(*args, **options)

    original: Any = client.TimeoutHandle  # type: ignore[attr-defined]


@pytest.fixture
def through_session(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """How many requests went through `ClientSession._request`."""
    counter = Counter()
    monkeypatch.setattr(client, "TimeoutHandle", counter.make)
    return counter


async def fetch(transport: AiohttpTransport, url: str | URL, method: str = "GET", **facts: Any) -> bytes:
    """The body of an answer."""
    return await (await transport(APIRequest(method, url, **facts))).read()


SENT_DIRECTLY: dict[str, tuple[str, bytes | None]] = {
    **{method: (method, None) for method in ("GET", "HEAD", "POST", "DELETE")},
    **{f"{method} with a body": (method, b"{}") for method in ("GET", "POST", "PUT", "PATCH", "DELETE")},
    "POST of nothing": ("POST", b""),
    "POST of 32 kB": ("POST", b"x" * (32 << 10)),
}


@pytest.mark.parametrize(("method", "content"), SENT_DIRECTLY.values(), ids=SENT_DIRECTLY.keys())
async def test_plain_requests_are_sent_directly(
    server: RawServer,
    transport: AiohttpTransport,
    through_session: Counter,
    method: str,
    content: bytes | None,
) -> None:
    """They do not pass through `ClientSession._request`; a new aiohttp must be checked."""
    for path in ("/a", "/b?c=d"):
        await fetch(transport, server.url + path, method, headers={"X-Call": path[1]}, body=as_body(content))

    assert [request.target for request in server.requests] == ["/a", "/b?c=d"]
    assert [request.headers["X-Call"] for request in server.requests] == ["a", "b"]
    assert [request.body for request in server.requests] == [content or b""] * 2
    assert through_session.count == 0


async def test_the_answer_to_head_has_no_body(transport: AiohttpTransport) -> None:
    """The body announced in an answer to HEAD is not awaited, and the connection serves the next request."""
    async with raw_server(respond(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")) as server:
        for _ in range(2):
            async with asyncio.timeout(10):
                assert await fetch(transport, server.url, "HEAD") == b""

    assert server.connections == 1


async def test_long_lines_are_read(transport: AiohttpTransport, through_session: Counter) -> None:
    """A status line and a header of 20,000 bytes, which aiohttp refuses by default, are read."""
    head = b"HTTP/1.1 200 %b\r\nX-Long: %b\r\nContent-Length: 0\r\n\r\n" % (b"a" * 20_000, b"b" * 20_000)
    async with raw_server(respond(head)) as server:
        response = await transport(APIRequest("GET", server.url))

    assert (len(response.reason), len(response.headers["X-Long"])) == (20_000, 20_000)
    assert through_session.count == 0


async def test_tls_is_sent_directly(transport: AiohttpTransport, through_session: Counter) -> None:
    """A request over TLS is as direct, on one connection."""
    async with raw_server(respond(ok(b"{}")), tls=True) as server:
        assert await fetch(transport, server.url) == await fetch(transport, server.url) == b"{}"

    assert server.connections == 1
    assert through_session.count == 0


def as_body(content: bytes | None) -> Body | None:
    """A body of JSON."""
    return None if content is None else Body(content, content_type="application/json")


HEADS: dict[str, tuple[str, dict[str, str]]] = {
    "nothing": ("/", {}),
    "headers": ("/a/b", {"Authorization": "Bearer x", "X-Name": "värde", "accept": "text/plain"}),
    "escapes": ("/a%2Fb%20c?d=%26&d=e", {"Accept-Encoding": "br"}),
    "a fragment": ("/a?b#c", {}),
}


@pytest.mark.parametrize(("method", "content"), SENT_DIRECTLY.values(), ids=SENT_DIRECTLY.keys())
@pytest.mark.parametrize(("path", "headers"), HEADS.values(), ids=HEADS.keys())
async def test_the_bytes_are_the_same(
    server: RawServer,
    transport: AiohttpTransport,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    content: bytes | None,
    path: str,
    headers: dict[str, str],
) -> None:
    """The sent bytes are those of `ClientSession._request`, for the first request and for later ones."""
    url = URL(server.url + path, encoded=True)
    for _ in range(2):
        await fetch(transport, url, method, headers=headers, body=as_body(content))
    monkeypatch.setattr(direct, "_KNOWN", ())
    other = AiohttpTransport()
    await fetch(other, url, method, headers=headers, body=as_body(content))
    await other.close()

    first, second, usual = ((request.head, request.body) for request in server.requests)
    assert first == second == usual


@pytest.mark.parametrize("content", [None, b"{}"])
async def test_a_connector_that_closes_says_so(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    """With ``force_close`` each request has ``Connection: close``, as `ClientRequest.send` writes it."""
    for version in (aiohttp.__version__, "3.99.0"):
        monkeypatch.setattr(aiohttp, "__version__", version)
        transport = AiohttpTransport(connector=lambda: aiohttp.TCPConnector(force_close=True))
        await fetch(transport, server.url, body=as_body(content))
        await transport.close()

    first, usual = server.requests
    assert first.headers["Connection"] == "close"
    assert (first.head, first.body) == (usual.head, usual.body)


@pytest.mark.parametrize("content", [None, b"{}"])
@pytest.mark.parametrize("paused", [False, True])
async def test_writing_that_has_to_wait_is_left_to_aiohttp(
    server: RawServer,
    transport: AiohttpTransport,
    monkeypatch: pytest.MonkeyPatch,
    paused: bool,
    content: bytes | None,
) -> None:
    """A request is written immediately; `ClientRequest.send` writes it only if the socket accepts no more."""
    sent: list[str] = []
    original: Any = vars(aiohttp.ClientRequest)["send"]

    async def send(self: aiohttp.ClientRequest, connection: Any) -> Any:
        sent.append(self.method)
        return await original(self, connection)

    monkeypatch.setattr(aiohttp.ClientRequest, "send", send)
    monkeypatch.setattr(base_protocol.BaseProtocol, "writing_paused", paused)

    assert await fetch(transport, server.url, "POST", body=as_body(content)) == b"{}"
    assert sent == ["POST"] * paused
    assert [request.body for request in server.requests] == [content or b""]


@pytest.mark.skipif(
    os.environ.get("AIOAPICLIENT_TEST_LOOP") == "uvloop",
    reason="the writes of asyncio's own transport are counted",
)
async def test_head_and_body_leave_in_one_write(
    server: RawServer, transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request with a small body is one write to the socket, so one packet if it fits."""
    await fetch(transport, server.url, "POST", body=as_body(b"{}"))
    written: list[bytes] = []
    original: Any = selector_events._SelectorSocketTransport.write  # type: ignore[attr-defined]

    def write(self: Any, data: bytes) -> None:
        written.append(bytes(data))
        original(self, data)

    monkeypatch.setattr(selector_events._SelectorSocketTransport, "write", write)  # type: ignore[attr-defined]
    await fetch(transport, server.url, "POST", body=as_body(b'{"id":1}'))

    (request,) = (data for data in written if data.startswith(b"POST"))
    assert request.endswith(b'\r\n\r\n{"id":1}')


async def test_a_body_on_a_closed_connection_was_not_sent(
    server: RawServer, transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the connection closes before the writing, nothing is written, and aiohttp's own error says so."""
    errors: list[str] = []
    for version in (aiohttp.__version__, "3.99.0"):
        monkeypatch.setattr(aiohttp, "__version__", version)
        own = AiohttpTransport(connector=Closing)
        with pytest.raises(APIConnectionError) as caught:
            await fetch(own, server.url, "POST", body=as_body(b"{}"))
        errors.append(f"{caught.value.reason} {caught.value.sent} {caught.value}")
        await own.close()

    assert errors[0] == errors[1]
    assert server.requests == []


class Closing(aiohttp.TCPConnector):
    """Its connections close as soon as they are open."""

    async def connect(self, *args: Any, **options: Any) -> Any:
        connection = await super().connect(*args, **options)
        assert connection.transport is not None
        connection.transport.close()
        return connection


async def test_a_connection_is_given_back_when_writing_fails(
    server: RawServer, transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the head cannot be written, the connection is closed, and the next request has another one."""

    def refuse(line: str, headers: Any) -> bytes:
        raise ValueError(line)

    with monkeypatch.context() as patch:
        patch.setattr(direct, "_serialize_headers", refuse)
        with pytest.raises(ValueError, match="GET / HTTP"):
            await fetch(transport, server.url)
    stats = transport.stats()
    assert stats is not None
    assert (stats.acquired, stats.idle) == (0, 0)
    assert await fetch(transport, server.url) == b"{}"


async def test_a_replaced_method_is_called(
    server: RawServer, transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When `_request` is replaced, on the class or on the session, it gets every request from then on."""
    seen: list[str] = []
    original: Any = vars(aiohttp.ClientSession)["_request"]

    async def on_class(self: Any, method: str, url: Any, **options: Any) -> Any:
        seen.append("class")
        return await original(self, method, url, **options)

    async def on_session(method: str, url: Any, **options: Any) -> Any:
        seen.append("session")
        return await original(transport.session, method, url, **options)

    await fetch(transport, server.url)
    with monkeypatch.context() as patch:
        patch.setattr(aiohttp.ClientSession, "_request", on_class)
        await fetch(transport, server.url)
    vars(transport.session)["_request"] = on_session
    await fetch(transport, server.url)

    assert seen == ["class", "session"]
    assert len(server.requests) == 3


async def test_a_method_replaced_before_the_import_is_called(
    server: RawServer, transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `_request` that is not aiohttp's own was installed before, and sends everything."""
    original: Any = vars(aiohttp.ClientSession)["_request"]
    seen: list[str] = []

    async def earlier(self: Any, method: str, url: Any, **options: Any) -> Any:
        seen.append(method)
        return await original(self, method, url, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", earlier)
    monkeypatch.setattr(direct, "_REQUEST", earlier)

    await fetch(transport, server.url)
    assert seen == ["GET"]


@pytest.mark.parametrize("method", ["OPTIONS", "PROPFIND"])
async def test_other_methods_go_through_the_session(
    server: RawServer, transport: AiohttpTransport, through_session: Counter, method: str
) -> None:
    """Rare methods go through the session."""
    await fetch(transport, server.url, method)
    assert through_session.count == 1


class Counted:
    """A progress."""

    total = 0

    def update(self, n: int, /) -> None:
        self.total += n


BODIES: dict[str, Callable[[], Body]] = {
    "large": lambda: Body(bytes((32 << 10) + 1), content_type="a/b"),
    "without a type": lambda: Body(b"{}"),
    "in pieces": lambda: Body([b"{", b"}"], content_type="a/b"),
    "watched": lambda: Body(b"{}", content_type="a/b").with_progress(Counted()),
}


@pytest.mark.parametrize("make_body", BODIES.values(), ids=BODIES.keys())
async def test_other_bodies_go_through_the_session(
    server: RawServer, transport: AiohttpTransport, through_session: Counter, make_body: Callable[[], Body]
) -> None:
    """A body goes through the session when aiohttp may have to wait for the socket, or frames it."""
    await fetch(transport, server.url, "POST", body=make_body())
    assert through_session.count == 1
    assert len(server.requests) == 1


async def test_what_asks_for_more_goes_through_the_session(
    server: RawServer, transport: AiohttpTransport, through_session: Counter
) -> None:
    """A raw response goes through the session."""
    raw = await transport(APIRequest("GET", server.url, cast_to=aiohttp.ClientResponse))
    await raw.close()
    assert through_session.count == 1


async def passed_on(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
    """A middleware of aiohttp."""
    response: aiohttp.ClientResponse = await handler(request)
    return response


@pytest.mark.parametrize(
    "options", [{"session_middlewares": [passed_on]}, {"trace_configs": [aiohttp.TraceConfig()]}]
)
async def test_features_of_the_session_go_through_it(
    server: RawServer, through_session: Counter, options: dict[str, Any]
) -> None:
    """With middlewares of aiohttp, or its traces, every request goes through the session."""
    transport = AiohttpTransport(**options)
    await fetch(transport, server.url)
    await transport.close()
    assert through_session.count == 1


async def test_a_trace_that_is_added_later_is_told(server: RawServer, transport: AiohttpTransport) -> None:
    """A trace config that is added to the open session receives the next request."""
    told: list[str] = []

    async def on_start(session: Any, context: Any, params: aiohttp.TraceRequestStartParams) -> None:
        told.append(params.method)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(on_start)
    trace.freeze()
    await fetch(transport, server.url)
    transport.session.trace_configs.append(trace)
    await fetch(transport, server.url)
    assert told == ["GET"]


@pytest.mark.parametrize("url", ["http://user:secret@h/", "ftp://h/", "http:///x"])
def test_urls_that_aiohttp_handles_go_through_the_session(url: str) -> None:
    """A URL with userinfo, of another scheme or without a host is left to aiohttp."""
    sender = make()
    given = URL(url, encoded=True)
    assert sender.prepare("GET", given, CIMultiDict()) is None


class FakeConnector:
    """The attributes of a connector that `Direct` reads."""

    allowed_protocol_schema_set = frozenset({"http", "https"})
    _timeout_ceil_threshold = 5
    force_close = False


class FakeSession:
    """The attributes of a session that `Direct` reads."""

    _request: Any = vars(aiohttp.ClientSession)["_request"]
    _middlewares = ()
    _loop: Any = None
    _response_class = aiohttp.ClientResponse
    _read_bufsize = 1 << 16
    closed = False
    trace_configs: list[Any] = []  # noqa: RUF012
    connector = FakeConnector()


class FakeRequest:
    """A request that keeps its constructor arguments."""

    def __init__(self, method: str, url: URL, *, headers: Any, timer: Any, **options: Any) -> None:
        self.method = method
        self.url = self.original_url = url
        self.headers = CIMultiDict(Host=url.raw_host or "")
        self.headers.extend(headers)
        self._timer = timer or "no timer"


def make(kind: Any = FakeRequest) -> direct.Direct:
    """A sender for an object that is not a session."""
    sender = direct.make_direct(FakeSession(), kind)
    assert sender is not None
    return sender


def test_a_copy_is_what_the_class_makes() -> None:
    """A copy has the attributes of its own request, and none of another one's."""
    sender = make()
    for path in ("/a", "/b"):
        url, headers = URL("http://h" + path), CIMultiDict({"X-Path": path})
        request = sender.prepare("GET", url, headers)
        made = FakeRequest("GET", url, headers=headers, timer=None)
        assert vars(made) == vars(request)
        assert isinstance(request, FakeRequest)
        assert request.headers is not headers


def test_a_request_that_depends_on_more_is_not_copied() -> None:
    """If the class derives another attribute from the URL or the headers, nothing is copied."""

    class Target(FakeRequest):
        def __init__(self, method: str, url: URL, **options: Any) -> None:
            super().__init__(method, url, **options)
            self.target = url.raw_path_qs

    class Framed(FakeRequest):
        def __init__(self, method: str, url: URL, **options: Any) -> None:
            super().__init__(method, url, **options)
            self.headers["Content-Length"] = str(len(self.headers))

    for kind in (Target, Framed):
        headers = CIMultiDict({"X": "y"})
        assert make(kind).prepare("GET", URL("http://h/a"), headers) is None


def test_an_unknown_version_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an unchecked aiohttp version, all requests go through the session."""
    monkeypatch.setattr(aiohttp, "__version__", "3.99.0")
    assert direct.make_direct(FakeSession(), FakeRequest) is None


def test_patterns_are_bounded() -> None:
    """Redirects to ever new origins do not fill the memory."""
    sender = make()
    for number in range(1000):
        sender.prepare("GET", URL(f"http://h{number}/"), CIMultiDict())
    assert len(vars(sender)["_patterns"]) <= 64


async def test_a_closed_session_is_left_to_aiohttp(server: RawServer, transport: AiohttpTransport) -> None:
    """After its session was closed, the transport opens no connection."""
    await fetch(transport, server.url)
    await transport.session.close()
    with suppress(Exception):
        await fetch(transport, server.url)
    assert len(server.requests) == server.connections == 1
