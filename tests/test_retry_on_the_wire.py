"""Retries end to end: every error class of aiohttp, and the faults of a real server on the wire."""

from __future__ import annotations

import errno
import inspect
import io
import pickle
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from types import FunctionType, SimpleNamespace
from typing import Any

import aiohttp
import aiohttp.client_exceptions
import pytest
from helpers import Client
from multidict import CIMultiDict, CIMultiDictProxy
from servers import (
    Exchange,
    close,
    hang,
    in_turn,
    ok,
    raw_server,
    refusing_port,
    reset,
    respond,
    response,
)
from yarl import URL

from aioapiclient import (
    APIClientError,
    APIConnectionError,
    APITimeoutError,
    BearerAuth,
    Body,
    ConflictError,
    InternalServerError,
    InvalidRequestError,
    RateLimitError,
    RetryPolicy,
    Timeout,
    TooManyRedirectsError,
)

NOWHERE = "http://127.0.0.1:9/v1"
IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}
METHODS = [*sorted(IDEMPOTENT), "PATCH", "POST"]
SECRET = "hunter2-S3CRET"

CLASSES = {
    name: kind
    for name, kind in vars(aiohttp.client_exceptions).items()
    if inspect.isclass(kind) and issubclass(kind, BaseException) and kind.__module__.startswith("aiohttp")
}

# The decisions of the retry table: "unsent" is retried whatever the method.
ALWAYS = {
    "ClientConnectorDNSError",
    "ClientConnectorError",
    "ClientConnectorSSLError",
    "ClientHttpProxyError",  # with a status that may pass
    "ClientProxyConnectionError",
    "ClientSSLError",
    "ConnectionTimeoutError",
    "UnixClientConnectorError",
}
NEVER = {
    "ClientConnectorCertificateError",
    "InvalidURL",
    "InvalidUrlClientError",
    "InvalidUrlRedirectClientError",
    "NonHttpUrlClientError",
    "NonHttpUrlRedirectClientError",
    "ServerFingerprintMismatch",
}
IF_IDEMPOTENT = {
    "ClientConnectionError",
    "ClientConnectionResetError",
    "ClientError",
    "ClientOSError",
    "ClientPayloadError",
    "ClientResponseError",
    "ContentTypeError",
    "RedirectClientError",
    "ServerConnectionError",
    "ServerDisconnectedError",
    "ServerTimeoutError",
    "SocketTimeoutError",
    "TooManyRedirects",
    "UploadAbortedError",
    "WSMessageTypeError",
    "WSServerHandshakeError",
}


def make(name: str) -> Exception:
    """An instance of the class *name* as aiohttp creates it, with a secret wherever aiohttp keeps one."""
    kind = CLASSES[name]
    key: Any = SimpleNamespace(host="api.example.com", port=443, ssl=True, is_ssl=True)
    os_error = OSError(errno.ECONNREFUSED, "refused")
    url = URL(f"https://u:{SECRET}@api.example.com/?token={SECRET}")
    if issubclass(kind, aiohttp.ClientResponseError):
        headers = CIMultiDictProxy(CIMultiDict({"Authorization": SECRET}))
        info = aiohttp.RequestInfo(url, "GET", headers, url)
        return kind(info, (), status=503, message="no", headers=headers)
    if name == "UnixClientConnectorError":
        return kind("/run/x.sock", key, os_error)
    if name == "ClientConnectorCertificateError":
        return aiohttp.ClientConnectorCertificateError(key, ssl.SSLCertVerificationError("self-signed"))
    if name == "ClientConnectorDNSError":
        return aiohttp.ClientConnectorDNSError(key, socket.gaierror(socket.EAI_NONAME, "unknown"))
    if issubclass(kind, aiohttp.ClientSSLError):
        return kind(key, ssl.SSLError(1, "[SSL] handshake failure"))
    if issubclass(kind, aiohttp.ClientConnectorError):
        return kind(key, os_error)
    if name == "ServerFingerprintMismatch":
        return aiohttp.ServerFingerprintMismatch(b"a", b"b", "api.example.com", 443)
    if issubclass(kind, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return kind(url)
    if issubclass(kind, OSError):
        return kind(errno.ECONNRESET, "reset")
    error = kind(SECRET)
    assert isinstance(error, Exception)
    return error


def bodies() -> Iterator[tuple[str, Body | None]]:
    """One body of each kind."""

    async def once() -> AsyncIterator[bytes]:
        yield b"01234"
        yield b"56789"

    yield "none", None
    yield "bytes", Body(b"0123456789")
    yield "file", Body(io.BytesIO(b"0123456789"))
    yield "one-shot", Body(once())


def _raise(error: Exception) -> None:
    raise error


@pytest.fixture
async def fail(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Make a call whose every request ends with an error of aiohttp, its body sent or not; how it ended."""
    policy = RetryPolicy(budget=None, jitter=lambda wait: 0.0)
    async with Client(NOWHERE, retry=policy) as api:

        async def call(
            method: str,
            error: Exception,
            sent: bool,
            body: Body | None,
            raises: Callable[[Exception], None] = _raise,
        ) -> tuple[Any, list[bytes]]:
            received: list[bytes] = []

            async def request(session: Any, method: str, url: Any, **options: Any) -> Any:
                uploads = body is not None and sent
                received.append(
                    b"".join([chunk async for chunk in body]) if uploads and body is not None else b""
                )
                raises(error)

            monkeypatch.setattr(aiohttp.ClientSession, "_request", request)
            try:
                content = {} if body is None else {"content": body}
                ended: Any = await api.request(method, "/things", **content)
            except Exception as caught:
                ended = caught
            return ended, received

        yield call


def test_every_class_of_aiohttp_has_a_row() -> None:
    """No error class of the installed aiohttp is missing from the table of this file."""
    assert CLASSES.keys() <= ALWAYS | NEVER | IF_IDEMPOTENT
    assert len(ALWAYS) + len(NEVER) + len(IF_IDEMPOTENT) == len(ALWAYS | NEVER | IF_IDEMPOTENT)


@pytest.mark.parametrize("name", sorted(CLASSES))
async def test_each_error_of_aiohttp_is_tried_again_as_the_table_says(name: str, fail: Any) -> None:
    """Class, method and body together decide how many requests there are, and no resend is empty."""
    sent = name not in ALWAYS
    for method in METHODS:
        for kind, body in bodies():
            error = make(name)
            ended, received = await fail(method, error, sent, body)
            assert isinstance(ended, APIClientError)
            again = name in ALWAYS or (name in IF_IDEMPOTENT and method in IDEMPOTENT)
            gone = kind == "one-shot" and sent
            assert len(received) == (3 if again and not gone else 1), (method, kind, ended)
            whole = b"" if body is None or not sent else b"0123456789"
            assert received == [whole] * len(received), (method, kind)
            assert isinstance(ended, InvalidRequestError) or ended.retries_taken == len(received) - 1
            if again and gone:
                assert any("only once" in note for note in ended.__notes__)


@pytest.mark.parametrize("name", sorted(CLASSES))
async def test_no_error_of_aiohttp_brings_a_secret_along(name: str, fail: Any) -> None:
    """Message, traceback, pickle and causes of an error show no error of aiohttp."""
    ended, _ = await fail("GET", make(name), True, None)
    shown = "".join(traceback.format_exception(ended)) + repr(vars(ended)) + repr(pickle.dumps(ended))
    assert SECRET not in shown + repr(ended.__cause__)
    assert not isinstance(ended.__cause__, aiohttp.ClientError)


@pytest.mark.parametrize(("status", "requests"), [(407, 1), (403, 1), (408, 3), (429, 3), (502, 3), (503, 3)])
async def test_a_proxy_that_refuses_is_not_asked_again(status: int, requests: int, fail: Any) -> None:
    """A CONNECT that a proxy refuses is final; one that it could not serve was never sent."""
    error = aiohttp.ClientHttpProxyError(make("ClientHttpProxyError").request_info, (), status=status)  # type: ignore[attr-defined]
    ended, received = await fail("POST", error, False, Body(b"x"))
    assert isinstance(ended, APIConnectionError)
    assert ended.sent is False
    assert len(received) == requests


FROM_BELOW: list[tuple[Exception, str]] = [
    (OSError(errno.EPIPE, "broken pipe"), "lost"),
    (ConnectionResetError(errno.ECONNRESET, "reset"), "lost"),
    (TimeoutError(), "lost"),
    (ssl.SSLCertVerificationError("bad"), "never"),
    (ssl.SSLError(1, "alert"), "lost"),
    (EOFError(), "lost"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "lost"),
]


# The same in a frame of asyncio: the traceback shows the origin of an exception.
_raise_below = FunctionType(_raise.__code__, {"__name__": "asyncio.below"})


@pytest.mark.parametrize(("error", "rule"), FROM_BELOW, ids=lambda value: type(value).__name__)
async def test_what_escapes_from_below_aiohttp_follows_the_table(
    error: Exception, rule: str, fail: Any
) -> None:
    """Errors of the system and of TLS that aiohttp lets through are retried like its own."""
    for method in ("GET", "POST"):
        for kind, body in bodies():
            ended, received = await fail(method, error, True, body, _raise_below)
            assert isinstance(ended, APIConnectionError), kind
            again = rule == "lost" and method == "GET" and kind != "one-shot"
            assert len(received) == (3 if again else 1), (method, kind)


def _call(raises: Callable[[Exception], None], error: Exception) -> None:
    raises(error)


# An aiohttp middleware's error has aiohttp around it, and is not raised by it.
_call_from_aiohttp = FunctionType(_call.__code__, {"__name__": "aiohttp.client"})


@pytest.mark.parametrize(
    "error", [TypeError("a bug"), LookupError("a bug"), OSError("a bug"), RuntimeError("a bug")]
)
async def test_an_error_of_the_users_own_code_is_never_tried_again(error: Exception, fail: Any) -> None:
    """An exception of the user's aiohttp middleware is raised unchanged."""
    ended, received = await fail("GET", error, True, None, partial(_call_from_aiohttp, _raise))
    assert ended is error
    assert len(received) == 1


# --- on the wire


def busy(status: str = "503 Service Unavailable", **headers: str) -> bytes:
    """A refusal as bytes."""
    return response(status, b"{}", Content_Type="application/json", **headers)


@pytest.mark.parametrize(
    ("status", "method", "requests"),
    [
        ("500 Internal Server Error", "GET", 3),
        ("500 Internal Server Error", "POST", 1),
        ("503 Service Unavailable", "PUT", 3),
        ("429 Too Many Requests", "POST", 3),
        ("501 Not Implemented", "GET", 1),
        ("404 Not Found", "GET", 1),
        ("409 Conflict", "PUT", 1),
    ],
)
async def test_statuses_on_the_wire(status: str, method: str, requests: int) -> None:
    """The server receives as many requests as the table specifies, all on one connection."""
    async with raw_server(respond(busy(status))) as server, Client(server.url) as api:
        with pytest.raises(APIClientError):
            await api.request(method, "/things", content=b"x" if method != "GET" else None)
        assert len(api.waits) == requests - 1
    assert [request.method for request in server.requests] == [method] * requests
    assert server.connections == 1


async def test_the_wait_that_a_server_names_is_taken() -> None:
    """A POST is retried after a 503 with Retry-After, after the time that it names."""
    scripts = (respond(busy(Retry_After="7")), respond(busy("429 X", retry_after_ms="1500")), respond(ok()))
    async with raw_server(in_turn(*scripts)) as server, Client(server.url) as api:
        await api.post("/things", json={"a": 1})
        assert api.waits == [7.0, 1.5]
    assert [request.body for request in server.requests] == [b'{"a":1}'] * 3


@pytest.mark.parametrize("value", ["inf", "nan", "1e400", "9" * 5000, "-5", "soon", "", "120, 60"])
async def test_an_invalid_retry_after_on_the_wire(value: str) -> None:
    """Whatever Retry-After contains, a 429 is retried after the client's own wait."""
    async with raw_server(respond(busy("429 X", Retry_After=value))) as server, Client(server.url) as api:
        with pytest.raises(RateLimitError):
            await api.get("/things")
        assert len(api.waits) == 2
        assert all(0 <= wait <= 1 for wait in api.waits)
    assert len(server.requests) == 3


async def test_closed_port() -> None:
    """A refused connection was never sent: a POST is retried, too."""
    async with Client(f"http://127.0.0.1:{refusing_port()}") as api:
        with pytest.raises(APIConnectionError) as caught:
            await api.post("/things", json={})
        assert len(api.waits) == 2
    assert caught.value.sent is False
    assert caught.value.retries_taken == 2


@pytest.mark.parametrize(
    "script",
    [close(), reset(), close(b"HTTP/1.1 200 OK\r\n"), close(ok(b"{}" * 9)[:-5])],
    ids=["fin", "rst", "half a head", "half a body"],
)
async def test_an_answer_that_is_lost(script: Any) -> None:
    """A lost answer is retried on GET, and on POST with a key, but not on POST without one."""
    for method, options, requests in (
        ("GET", {}, 3),
        ("POST", {}, 1),
        ("POST", {"idempotent": True}, 3),
        ("POST", {"idempotency_key": "k"}, 3),
    ):
        async with (
            raw_server(script) as server,
            Client(
                server.url, idempotency_header="Idempotency-Key" if "idempotency_key" in options else None
            ) as api,
        ):
            with pytest.raises(APIConnectionError) as caught:
                await api.request(method, "/things", content=b"content", **options)  # type: ignore[call-overload]
        assert caught.value.sent is None
        assert [request.body for request in server.requests] == [b"content"] * requests
        assert {request.headers.get("Idempotency-Key") for request in server.requests} == {
            options.get("idempotency_key")
        }


async def test_a_one_shot_body_on_the_wire_goes_once() -> None:
    """A generator is sent once, complete, and never empty."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"once"

    async with raw_server(respond(busy())) as server, Client(server.url) as api:
        with pytest.raises(InternalServerError) as caught:
            await api.put("/things", content=chunks())
    assert [request.body for request in server.requests] == [b"once"]
    assert any("only once" in note for note in caught.value.__notes__)


async def test_a_certificate_is_looked_at_once() -> None:
    """A certificate that is not trusted is final: one connection, and no request."""
    async with raw_server(respond(ok()), tls=True) as server, Client(server.url) as api:
        with pytest.raises(APIConnectionError) as caught:
            await api.get("/things")
        assert api.waits == []
    assert caught.value.final
    assert server.requests == []


async def test_an_attempt_that_hangs_is_asked_again() -> None:
    """An attempt that hangs ends by its limit, and the next one has another connection."""
    script = in_turn(hang(), hang(b"HTTP/1.1 200 OK\r\n"), respond(ok(b"[]")))
    async with raw_server(script) as server, Client(server.url, max_retries=9) as api:
        assert await api.get("/things", timeout=Timeout(attempt=0.1)) == []
    # A machine that is busy may need more than the third.
    assert len(server.requests) >= 3
    assert server.connections == len(server.requests)


async def test_a_silent_server_runs_into_the_read_limit() -> None:
    """Silence is a timeout of phase ``read``, tried again on GET."""
    async with raw_server(hang()) as server, Client(server.url, max_retries=1) as api:
        with pytest.raises(APITimeoutError) as caught:
            await api.get("/things", timeout=Timeout(read=0.05))
    assert caught.value.phase == "read"
    assert len(server.requests) == 2


async def test_a_call_ends_within_its_total_on_the_wire() -> None:
    """The total ends a call that hangs, with one request."""
    async with raw_server(hang()) as server, Client(server.url) as api:
        with pytest.raises(APITimeoutError) as caught:
            await api.get("/things", timeout=0.1)
    assert caught.value.phase == "total"
    assert len(server.requests) == 1


async def test_a_loop_on_the_wire_costs_eleven_requests() -> None:
    """A server that redirects to itself sees eleven requests, on one connection."""
    loop = response("302 Found", b"", Location="/things")
    async with raw_server(respond(loop)) as server, Client(server.url) as api:
        with pytest.raises(TooManyRedirectsError):
            await api.get("/things")
    assert len(server.requests) == 11
    assert server.connections == 1


async def test_another_origin_on_the_wire_sees_nothing_personal() -> None:
    """With two servers, personal data stays with the first, whatever the redirects."""
    async with raw_server(respond(ok())) as stranger:
        away = response("302 Found", b"", Location=f"http://user:pw@127.0.0.1:{stranger.port}/x#y")
        async with (
            raw_server(respond(away)) as server,
            Client(
                server.url,
                auth=BearerAuth(SECRET),
                default_headers={"X-Key": SECRET},
                default_params={"k": SECRET},
            ) as api,
        ):
            await api.get("/things", headers={"X-Mine": SECRET, "Accept-Language": "de"})
    assert server.requests[0].head.count(SECRET.encode()) == 4
    (seen,) = stranger.requests
    assert SECRET.encode() not in seen.head
    assert "Authorization" not in seen.headers
    assert seen.headers["Accept-Language"] == "de"
    assert seen.target == "/x"


async def test_a_renewed_credential_goes_on_the_same_connection() -> None:
    """A challenge costs one more request and no connection; the body is complete both times."""
    tokens = iter(["old", "new"])

    async def provider() -> str:
        return next(tokens)

    async def serve(exchange: Exchange) -> None:
        good = exchange.request.headers["Authorization"] == "Bearer new"
        await exchange.send(ok(b"[]") if good else response("401 Unauthorized", b"no"))

    async with (
        raw_server(serve) as server,
        Client(server.url, auth=BearerAuth(provider), max_retries=0) as api,
    ):
        assert await api.post("/things", json={"a": 1}) == []
    assert [request.body for request in server.requests] == [b'{"a":1}'] * 2
    assert server.connections == 1


async def test_a_conflict_on_the_wire() -> None:
    """A 409 is tried again under the key that was sent, and raises `ConflictError` in the end."""
    async with (
        raw_server(respond(busy("409 Conflict"))) as server,
        Client(server.url, idempotency_header="Idempotency-Key") as api,
    ):
        with pytest.raises(ConflictError):
            await api.post("/things")
    assert len(server.requests) == 3
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 1
