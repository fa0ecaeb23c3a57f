"""No secret is shown: not by an error, its notes, causes or pickle, nor by a repr or a log record.

Secrets are the values that a caller passes as such: a credential in a header, a query, a URL or a cookie, the
password of a proxy, and the body of a request.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import gc
import json
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import hypothesis.strategies as st
import pytest
from helpers import BASE, Client, Script, reply
from hypothesis import given
from servers import (
    close,
    drip,
    hang,
    ok,
    raw_server,
    refusing_port,
    reset,
    respond,
    response,
)
from yarl import URL

import aioapiclient
from aioapiclient import (
    AiohttpTransport,
    APIClientError,
    APIConnectionError,
    APIKeyAuth,
    APIRequest,
    APIResponseValidationError,
    APIStatusError,
    AsyncAPIClient,
    Auth,
    BasicAuth,
    BearerAuth,
    InvalidRequestError,
    Timeout,
    Token,
    TokenCache,
    errors,
    per_send,
)
from aioapiclient.middleware import AuthMiddleware

SECRET = "hunter2-s3cr3t"
FORMS = [
    SECRET,
    base64.b64encode(f"user:{SECRET}".encode()).decode(),
    quote(SECRET, safe="").replace("-", "%2D"),
    SECRET.encode().hex(),
]


def assert_hidden(*texts: str) -> None:
    """Fail if one of *texts* has the secret in it, in any of its forms."""
    for text in texts:
        for form in FORMS:
            assert form not in text, text[max(0, text.find(form) - 200) : text.find(form) + 100]


def shown(thing: Any) -> Iterator[str]:
    """The text that print, rich and a debugger show of an object."""
    yield from (repr(thing), str(thing), f"{thing}", f"{thing!a}")
    if hasattr(type(thing), "__rich_repr__"):
        yield repr(list(thing.__rich_repr__()))
    if isinstance(thing, BaseException):
        yield "".join(traceback.format_exception(thing))
        for error in chain_of(thing):
            yield from (repr(error), str(error), repr(error.args), repr(vars(error)))
            yield from getattr(error, "__notes__", [])
            if isinstance(error, APIClientError):
                yield repr(pickle.dumps(error))
                yield repr(vars(pickle.loads(pickle.dumps(error)))) + repr(vars(copy.copy(error)))


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Return *error*, and every cause and context, even those that no traceback would print."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__]


@asynccontextmanager
async def everything_logged() -> AsyncIterator[list[str]]:
    """Have every logger log at its lowest level, asyncio in debug mode, and collect all that is logged."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(f"{logging.Formatter().format(record)} {record.args!r}")

    loop, root, collector = asyncio.get_running_loop(), logging.getLogger(), Collector()
    before = (root.level, loop.get_debug(), loop.slow_callback_duration)
    root.addHandler(collector)
    root.setLevel(logging.NOTSET)
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0  # then it logs each callback, with its arguments
    try:
        yield found
    finally:
        root.removeHandler(collector)
        root.setLevel(before[0])
        loop.set_debug(before[1])
        loop.slow_callback_duration = before[2]


# --- failures of a call


class OwnAuth(Auth):
    """A credential of a user's own, that only has the default repr."""

    def __init__(self) -> None:
        self.token = SECRET

    async def authenticate(self, request: APIRequest, /) -> None:
        request.headers["Authorization"] = f"Own {self.token}"


async def provider() -> Token:
    """Return the secret as a token."""
    return Token(SECRET, 60)


AUTHS: list[Auth] = [
    BearerAuth(SECRET),
    BearerAuth(provider),
    BasicAuth("user", SECRET),
    APIKeyAuth(SECRET),
    APIKeyAuth(SECRET, param="api_key"),
    OwnAuth(),
]
NAMES = ["bearer", "provider", "basic", "key", "key in the query", "own"]

CALL: dict[str, Any] = {
    "headers": {"Cookie": f"session={SECRET}", "X-Token": SECRET},
    "params": {"signature": SECRET},
    "json": {"password": SECRET},
    "extensions": {"note": SECRET},
}
BREAKS: dict[str, Any] = {
    "wrong type": respond(ok(b'"x"')),
    "no JSON": respond(ok(b"{")),
    "HTML": respond(ok(b"<p>", "text/html")),
    "refused": respond(response("401 Unauthorized", b'{"error": 1}', WWW_Authenticate="Bearer")),
    "broken": respond(response("500 Oops", b"x")),
    "later": respond(response("503 Later", b"", Retry_After="3600")),
    "cut": close(response("200 OK", None, Content_Length="10") + b"x"),
    "closed": close(),
    "reset": reset(),
    "silent": hang(),
    "slow": drip(response("200 OK", b"x" * 100), every=0.05),
    "no HTTP": close(b"\x00\x01\r\n\r\n"),
    "bad chunk": close(response("200 OK", None, Transfer_Encoding="chunked") + b"zz\r\n"),
    "bad coding": respond(ok(b"x", Content_Encoding="gzip")),
    "too large": respond(ok(b"x" * 5000)),
    "redirect to nowhere": respond(response("302 Found", Location="ftp://x/")),
    "redirect in a ring": respond(response("307 Found", Location="?more=1")),
}


@pytest.mark.parametrize("auth", AUTHS, ids=NAMES)
async def test_no_failure_shows_a_secret(auth: Auth) -> None:
    """Whatever fails: errors, pickles, tracebacks, reprs and logs contain no secret (P27)."""
    seen: list[Any] = [auth]
    async with everything_logged() as logs:
        for script in BREAKS.values():
            async with (
                raw_server(script) as server,
                Client(
                    server.url,
                    auth=auth,
                    default_headers={"X-API-Key": SECRET},
                    default_params={"key": SECRET},
                    timeout=Timeout(total=2, read=0.02),
                    max_retries=1,
                ) as api,
            ):
                with pytest.raises(APIClientError) as caught:
                    await api.put("/things", list[int], max_body=1000, **CALL)
                error = caught.value
                seen += [error, api, api.explain(), api.chain, repr(vars(api)), api._shared.transport]
                seen += [getattr(error, "request", None), getattr(error, "response", None)]
    gc.collect()
    for thing in seen:
        assert_hidden(*shown(thing))
    assert logs
    assert_hidden(*logs)


@pytest.mark.parametrize("script", [hang(), respond(ok(b"[7]"))], ids=["silent", "good"])
async def test_no_ending_shows_a_secret(script: Any) -> None:
    """A call that succeeds, is cancelled, or ends because its client is closed shows nothing (P27)."""
    seen: list[Any] = []
    async with everything_logged() as logs, raw_server(script) as server:
        async with Client(server.url, auth=AUTHS[4], default_headers={"X-API-Key": SECRET}) as api:
            calls = [
                asyncio.create_task(api.put("/things", aioapiclient.AsyncAPIResponse[Any], **CALL))
                for _ in range(2)
            ]
            await asyncio.wait(calls, timeout=0.1)
            calls[0].cancel()
            seen += calls
            await asyncio.wait(calls[:1])
        seen += await asyncio.gather(*calls, return_exceptions=True)
    for thing in seen:
        assert_hidden(*shown(thing))
    assert_hidden(*logs)


PROXY_BREAKS: dict[str, Any] = {
    "407": respond(response("407 Proxy Authentication Required")),
    "502": respond(response("502 Bad Gateway")),
    "closed": close(),
    "no HTTP": close(b"\x00\r\n\r\n"),
    "silent": hang(),
}


@pytest.mark.parametrize("name", PROXY_BREAKS)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_failure_of_a_proxy_shows_its_password(scheme: str, name: str) -> None:
    """The credentials of a proxy stay out of errors, logs and reprs, whatever the proxy does (P27, P28)."""
    async with everything_logged() as logs, raw_server(PROXY_BREAKS[name]) as proxy:
        url = proxy.url.replace("://", f"://user:{SECRET}@")
        transport = AiohttpTransport(proxy=url)
        limits = Timeout(total=2, read=0.05, connect=0.05)
        async with Client(f"{scheme}://api.test", transport=transport, timeout=limits, max_retries=1) as api:
            with pytest.raises(APIClientError) as caught:
                await api.get("/", list[int])
            assert_hidden(*shown(caught.value), *shown(transport), *shown(api), repr(vars(transport)))
    assert_hidden(*logs)


@pytest.mark.parametrize("kind", ["port", "name", "proxy", "certificate", "no TLS"])
async def test_no_connection_that_fails_shows_a_secret(kind: str) -> None:
    """A failure before the first byte shows no part of the request (P27)."""
    async with (
        everything_logged() as logs,
        raw_server(respond(b""), tls=True) as server,
        raw_server(hang()) as bare,
    ):
        dead = f"127.0.0.1:{refusing_port()}"
        base, transport = {
            "port": (f"http://{dead}", AiohttpTransport()),
            "name": ("http://name.invalid", AiohttpTransport()),
            "proxy": ("http://api.test", AiohttpTransport(proxy=f"http://user:{SECRET}@{dead}")),
            "certificate": (server.url, AiohttpTransport()),
            "no TLS": (bare.url.replace("http:", "https:"), AiohttpTransport()),
        }[kind]
        limits = Timeout(total=2, connect=0.2)
        async with Client(base, transport=transport, auth=AUTHS[4], timeout=limits, max_retries=1) as api:
            with pytest.raises(APIConnectionError) as caught:
                await api.put("/things", **CALL)
            assert_hidden(*shown(caught.value), *shown(transport), *shown(api))
    assert_hidden(*logs)


STREAMS: dict[str, bytes] = {
    "error event": b'event: error\ndata: {"type": "overloaded"}\n\n',
    "wrong event": b"data: x\n\n",
    "cut": b"data: 1\n\ndata",
}


@pytest.mark.parametrize("name", STREAMS)
async def test_no_stream_that_breaks_shows_a_secret(name: str) -> None:
    """A stream that fails, or that is never closed, shows no part of its request (P27)."""
    head = response("200 OK", None, Content_Type="text/event-stream", Content_Length="1000")
    script = close(head + STREAMS[name])
    async with (
        everything_logged() as logs,
        raw_server(script) as server,
        Client(server.url, auth=AUTHS[4]) as api,
    ):
        stream = await api.put("/things", int, stream=True, **CALL)
        with pytest.raises(APIClientError) as caught:
            async for _ in stream:
                pass
        assert_hidden(*shown(caught.value), *shown(stream), *shown(stream.response))
        with pytest.warns(ResourceWarning, match="never iterated or closed") as warned:
            await api.put("/things", int, stream=True, **CALL)
        assert_hidden(*[str(warning.message) for warning in warned])
    gc.collect()
    assert_hidden(*logs)


# --- requests that are refused before sending


SECRET_PLACES: dict[str, Callable[[str], Any]] = {
    "token": BearerAuth,
    "user": lambda text: BasicAuth(text, "x"),
    "password": lambda text: BasicAuth("x", text),
    "key": APIKeyAuth,
    "key in the query": lambda text: APIKeyAuth(text, param="k"),
    "header": lambda text: APIRequest("GET", BASE, headers={"X-A": text}),
    "header of a line": lambda text: APIRequest("GET", BASE, headers={f"Authorization: Bearer {text}": "x"}),
    "header name": lambda text: APIRequest("GET", BASE, headers={f"Bearer {text}": "Authorization"}),
    "proxy": lambda text: AiohttpTransport(proxy=f"http://user:{text}@proxy"),
    "proxy without scheme": lambda text: AiohttpTransport(proxy=f"user:{text}@proxy"),
    "proxy of another kind": lambda text: AiohttpTransport(proxy=f"socks5://user:{text}@proxy"),
    "proxy with a bad port": lambda text: AiohttpTransport(proxy=f"http://user:{text}@proxy:x"),
    "base URL": lambda text: AsyncAPIClient(f"https://user:{text}@host"),
    "base URL gone wrong": lambda text: AsyncAPIClient(f"https:/user:{text}@host"),
    "query of a base URL": lambda text: AsyncAPIClient(f"https://host?key={text}"),
    "trusted origin": lambda text: AsyncAPIClient(BASE, trusted_origins=[f"https://user:{text}@host"]),
    "trusted origin's path": lambda text: AsyncAPIClient(BASE, trusted_origins=[f"https://host?k={text}"]),
    "URL": lambda text: APIRequest("GET", f"https://user:{text}@host"),
    "URL's port": lambda text: APIRequest("GET", f"https://host:{text}/"),
    "URL's query": lambda text: APIRequest("GET", f"https://host/?k={text}\n"),
}


@pytest.mark.parametrize("place", SECRET_PLACES)
@given(
    before=st.sampled_from(["", "é", "\n", "\ud800", " ", "%", ":", "/", "[", "\x00"]),
    after=st.sampled_from(["", "é", "\n", "\udcff", " ", "%", "@", ":", "/", "]", "\r\nX: y"]),
)
def test_no_refusal_shows_a_secret(place: str, before: str, after: str) -> None:
    """A secret that cannot be sent, or is in the wrong place, is refused without being shown (P27)."""
    try:
        made = SECRET_PLACES[place](before + SECRET + after)
    except (InvalidRequestError, TypeError) as error:
        assert_hidden(*shown(error))
    else:
        assert_hidden(*shown(made))


PATHS: dict[str, dict[str, Any]] = {
    "bad URL": {"path": f"ftp://user:{SECRET}@host/"},
    "userinfo": {"path": f"https://user:{SECRET}@host/"},
    "control in a query": {"path": f"/a?key={SECRET}\x01"},
    "fragment": {"path": f"/a?key={SECRET}#{SECRET}"},
    "param of no scalar": {"path": "/a", "params": {"key": [SECRET, object()]}},
    "lone surrogate": {"path": "/a", "params": {"key": f"{SECRET}\ud800"}},
    "body": {"path": "/a", "json": {"password": (SECRET, object())}},
    "NaN beside it": {"path": "/a", "json": {"password": SECRET, "x": float("nan")}},
    "surrogate in a body": {"path": "/a", "json": {"password": f"{SECRET}\ud800"}},
    "form": {"path": "/a", "data": {"password": f"{SECRET}\ud800"}},
    "two bodies": {"path": "/a", "data": {"password": SECRET}, "json": {"password": SECRET}},
    "file": {"path": "/a", "files": {"f": (f"x\ud800{SECRET}", b"")}},
    "cookie": {"path": "/a", "headers": {"Cookie": f"a={SECRET}\r\n"}},
    "key": {"path": "/a", "idempotency_key": f"{SECRET}\n"},
    "no mapping": {"path": "/a", "headers": [("Authorization", SECRET)]},
}


@pytest.mark.parametrize("name", PATHS)
async def test_no_refused_call_shows_a_secret(name: str) -> None:
    """A refused call names the mistake, and shows none of its values (P27, P28)."""
    script = Script()
    async with Client(BASE, transport=script, idempotency_header="Idempotency-Key") as api:
        options = dict(PATHS[name])
        with pytest.raises((InvalidRequestError, TypeError)) as caught:
            await api.post(options.pop("path"), **options)
    assert_hidden(*shown(caught.value))
    assert not script.requests


# --- derived values, and returned ones


def test_no_object_shows_what_it_holds() -> None:
    """Tokens, caches, credentials, requests, middlewares and transports hide their secrets (P27)."""
    request = APIRequest(
        "POST",
        f"https://host/?key={SECRET}",
        headers={"Authorization": SECRET},
        body=SECRET.encode(),
        idempotency_key=SECRET,
        extensions={"key": SECRET},
    )
    response = aioapiclient.AsyncAPIResponse.from_bytes(request, 200, {"Set-Cookie": SECRET}, SECRET.encode())
    things: list[Any] = [
        *AUTHS,
        Token(SECRET),
        TokenCache(),
        AuthMiddleware(AUTHS[0]),
        AiohttpTransport(proxy=f"http://user:{SECRET}@proxy"),
        aioapiclient.Body(SECRET),
        request,
        request._settings,
        response,
        per_send(AuthMiddleware(AUTHS[0])),
        AsyncAPIClient(
            BASE, auth=AUTHS[0], default_headers={"X-Key": SECRET}, default_params={"key": SECRET}
        ),
    ]
    for thing in things:
        assert_hidden(*shown(thing))
        assert_hidden(repr({"thing": [thing]}))


async def test_no_response_can_be_pickled_with_its_request() -> None:
    """A response, whose request holds the credential, does not pickle (P27)."""
    async with Client(BASE, transport=Script(), auth=AUTHS[0]) as api:
        got = await api.get("/", aioapiclient.AsyncAPIResponse[Any])
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(got)


# --- pickled errors


def error_classes() -> list[type[APIClientError]]:
    """Every error of the library."""
    return [
        value
        for name, value in sorted(vars(errors).items())
        if isinstance(value, type) and issubclass(value, APIClientError) and not name.startswith("_")
    ]


@pytest.mark.parametrize("cls", error_classes())
@pytest.mark.parametrize(
    "twin",
    [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_an_error_travels_with_its_facts_and_without_headers(cls: Any, twin: Any) -> None:
    """A pickled error keeps status, code, request ID and wait, and no headers (P29)."""
    request = APIRequest("GET", BASE, headers={"Authorization": SECRET})
    answer = aioapiclient.AsyncAPIResponse.from_bytes(
        request, 418, {"x-request-id": "req-1", "Set-Cookie": SECRET}
    )
    if issubclass(cls, APIStatusError):
        error = cls.from_response(answer, {"code": "teapot"})
        error.retry_after = 7.0
    else:
        error = cls("it failed")
        for name, value in (
            ("request", request),
            ("response", answer),
            ("retry_after", 7.0),
            ("body", {"code": "c"}),
        ):
            if hasattr(error, name):
                setattr(error, name, value)
    error.add_note("noted")
    assert_hidden(repr(pickle.dumps(error)))
    again = twin(error)
    assert type(again) is cls
    assert (str(again), again.__notes__) == (str(error), ["noted"])
    for fact in ("status", "code", "request_id", "retry_after", "retries_taken", "body"):
        if hasattr(error, fact):
            assert getattr(again, fact) == getattr(error, fact)


# --- the server's text


ECHOES: dict[str, Callable[[Any], str]] = {
    "header": lambda request: request.headers["X-Token"],
    "cookie": lambda request: f"no session {request.headers['Cookie'].partition('=')[2]}",
    "query": lambda request: f"bad signature '{request.url.query['signature']}'.",
    "body": lambda request: f"the password {json.loads(request.body.immediate)['password']!r} is too weak",
    "authorization": lambda request: f"Invalid: {request.headers.get('Authorization', '')}",
    "password": lambda request: f"no user with {SECRET} here",
    "glued": lambda request: f"x{SECRET}x{SECRET.upper()}",
    "cut": lambda request: "x" * 290 + SECRET,
    "over lines": lambda request: f"bad\n\n{SECRET}\r\n",
}


@pytest.mark.parametrize("auth", AUTHS, ids=NAMES)
@pytest.mark.parametrize("name", ECHOES)
async def test_what_a_server_echoes_shows_no_secret(name: str, auth: Auth) -> None:
    """The text of a status error has the server's text, without the secrets that the call sent (P27)."""

    def answer(request: APIRequest) -> Any:
        return reply(400, {"error": {"message": ECHOES[name](request)}})(request)  # type: ignore[operator]

    async with Client(BASE, transport=Script(answer), auth=auth) as api:
        with pytest.raises(APIStatusError) as caught:
            await api.put("/things", **CALL)
    error = caught.value
    assert error.detail is not None
    assert str(error).endswith(error.detail)
    assert_hidden(str(error), repr(error), error.detail)
    assert SECRET[:6] not in error.detail
    assert SECRET.upper() not in error.detail


async def test_ordinary_values_in_the_servers_text_are_kept() -> None:
    """Ordinary values of the call, in its path or elsewhere, are kept in the server's text."""
    said = "User ada of team red: limit must be at most 500, not 1000; try the Bearer scheme"
    async with Client(BASE, transport=Script(reply(400, {"message": said})), auth=AUTHS[0]) as api:
        with pytest.raises(APIStatusError) as caught:
            await api.post("/users/ada", params={"limit": 1000}, json={"team": "red", "note": "500"})
    assert caught.value.detail == said


VALUES = st.recursive(
    st.sampled_from([SECRET, 12345678987, None, True, -1.5, f"x\n{SECRET}"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "a", SECRET]), inner, max_size=3)
    ),
    max_leaves=6,
)
TYPES: list[Any] = [
    int,
    list[int],
    dict[str, int],
    dict[str, dict[str, list[bool]]],
    tuple[int, str],
    str | None,
    bytes | int,
    list[tuple[float, float]],
]


@given(value=VALUES, cast_to=st.sampled_from(TYPES))
def test_a_decode_error_names_the_path_and_not_the_value(value: Any, cast_to: Any) -> None:
    """The error of a body that does not match names its place and types, never its content (P30)."""
    answer = aioapiclient.AsyncAPIResponse.from_bytes(
        APIRequest("GET", BASE), 200, {"Content-Type": "application/json"}, json.dumps(value).encode()
    )
    error = asyncio.run(_failure(answer, cast_to))
    if error is not None:
        assert_hidden("".join(traceback.format_exception(error)), "".join(map(repr, chain_of(error))))
        assert "12345678987" not in str(error)
        assert error.path.startswith("$")


async def _failure(answer: Any, cast_to: Any) -> APIResponseValidationError | None:
    try:
        await answer.parse(to=cast_to)
    except APIResponseValidationError as error:
        return error
    return None


HOSTILE = [
    "\x1b[31mred",
    "a\x07\x08b",
    "\x85\u2028next line",
    "x" * 20_000,
    "\udcff\udcfe",
    "ä" * 3000,
    "\x7f",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_what_a_server_says_cannot_break_a_log(text: str) -> None:
    """Messages and log records quote no control character of a server's, and end within 2 KiB (P20)."""
    raw = text.encode("utf-8", "surrogateescape")
    answers = [
        b"HTTP/1.1 404 " + raw + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: a/" + raw + b"\r\nContent-Length: 1\r\n\r\n{",
        b"HTTP/1.1 404 No\r\nx-request-id: " + raw + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: " + raw + b"\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 302 Found\r\nLocation: /" + raw + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: ftp://" + raw + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Later\r\nRetry-After: " + raw + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + raw + b"\r\n\r\n",
        raw + b"\r\n\r\n",
    ]
    said = json.dumps({"message": text}, ensure_ascii=False).encode("utf-8", "surrogateescape")
    answers += [
        response("422 No", said, Content_Type="application/json"),
        response(
            "422 No", json.dumps({"title": text, "detail": text}).encode(), Content_Type="a/problem+json"
        ),
    ]
    async with everything_logged() as logs:
        for answer in answers:
            async with raw_server(close(answer)) as server, Client(server.url, max_retries=1) as api:
                with pytest.raises(APIClientError) as caught:
                    await api.get("/a", list[int])
                assert_printable(str(caught.value))
                for note in getattr(caught.value, "__notes__", []):
                    assert_printable(note)
    for record in logs:
        if "aioapiclient" in record or "aiohttp" in record:
            assert_printable(record)


def assert_printable(text: str) -> None:
    """Fail for characters that a terminal or a log reader may read as more than text."""
    assert text.isprintable(), ascii(text)[:300]
    assert len(text.encode()) <= 2048


async def test_bad_cookies_cause_no_log() -> None:
    """A response with a thousand bad cookies is logged once at most (P20)."""
    cookies = b"".join(b"Set-Cookie: bad[%d]=%s; expires=never\r\n" % (n, b"v" * 500) for n in range(100))
    answer = b"HTTP/1.1 200 OK\r\n" + cookies + b"Content-Length: 2\r\n\r\n{}"
    async with everything_logged() as logs, raw_server(respond(answer)) as server, Client(server.url) as api:
        await api.get("/a")
    assert len([record for record in logs if "bad[" in record]) <= 1


URLS = [
    f"https://user:{SECRET}@host/path?key={SECRET}&a=1#{SECRET}",
    f"//user:{SECRET}@host/?{SECRET}",
    f"https:/user:{SECRET}@host",
    f"user:{SECRET}@host",
    f"https://{SECRET}@host",
    f"/path?{SECRET}=1",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("as_url", [False, True])
def test_a_shown_url_has_neither_userinfo_nor_query(url: str, as_url: bool) -> None:
    """A URL in a message has no userinfo, no value of a query and no fragment, however odd it is (P28)."""
    request = APIRequest("GET", BASE)
    request.url = URL(url, encoded=True) if as_url else URL(url.replace(f"user:{SECRET}@host", "host"))
    if as_url or SECRET in url:
        assert_hidden(request.label, repr(request))
