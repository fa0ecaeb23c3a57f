"""Responses with broken bytes, on real connections: a value or one of our errors, and a working client."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from fuzz.mutations import mutated, pieces
from helpers import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import Exchange, Script, ok, raw_server, response, turns, until

from aioapiclient import (
    APIClientError,
    APIConnectionError,
    APIRequest,
    AsyncAPIResponse,
    Handler,
    JSONLStream,
    per_send,
)


class Item(msgspec.Struct):
    id: int
    name: str = ""


BODY = b'[{"id": 1, "name": "\xc3\xa9"}, {"id": 2}]'
JSON = "application/json"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
# The good responses that are broken, one for each framing of a body.
GOOD = [
    ok(BODY, ETag='"x"'),
    CHUNKED + b'c\r\n[{"id": 1}, \r\n9;a=b\r\n{"id": 2}\r\n1\r\n]\r\n0\r\nX-Trailer: 1\r\n\r\n',
    response("200 OK", None, Content_Type=JSON, Connection="close") + BODY,
    b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + BODY,
    ok(gzip.compress(BODY, mtime=0), Content_Encoding="gzip"),
    ok(zlib.compress(BODY), Content_Encoding="deflate"),
    CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    + b"%x\r\n%b\r\n0\r\n\r\n" % (len(gzip.compress(BODY, mtime=0)), gzip.compress(BODY, mtime=0)),
    response("204 No Content", None),
    response("304 Not Modified", None, ETag='"x"'),
    response("302 Found", Location="/x?y=1"),
    response("401 Unauthorized", b"{}", WWW_Authenticate='Basic realm="x"'),
    response("429 Too Many Requests", b'{"title": "slow"}', Content_Type="application/problem+json"),
    response("503 Later", b"<html>", Retry_After="Fri, 31 Dec 1999 23:59:59 GMT", Content_Type="text/html"),
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=next\r\n\r\n" + ok(BODY),
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    ok(b'event: a\ndata: {"id": 1}\n\nid: 2\r\ndata: {"id": 2}\r\n\r\ndata: [DONE]\n\n', "text/event-stream"),
    ok(b'{"id": 1}\n{"id": 2}\r\n\n{"id": 3}', "application/jsonl"),
    ok(b"\x81\xa2id\x01", "application/msgpack"),
]


async def stay_on_this_machine(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Prevent a mutated Location from leading out of this machine."""
    if request.url.host != "127.0.0.1" or request.url.port != request.extensions["port"]:
        return AsyncAPIResponse.from_bytes(request, 404)
    return await handler(request)


async def _read(opened: Any) -> None:
    async with opened as response:
        await response.read()


async def _iterate(opened: Any) -> None:
    async with opened as stream:
        async for _ in stream:
            pass


Call = Callable[[Client, dict[str, Any]], Awaitable[object]]
CALLS: dict[str, Call] = {
    "data": lambda api, options: api.get("/", **options),
    "typed": lambda api, options: api.get("/", list[Item], **options),
    "bytes": lambda api, options: api.get("/", bytes, **options),
    "nothing": lambda api, options: api.delete("/", None, **options),
    "post": lambda api, options: api.post("/", Any, json={"a": 1}, **options),
    "head": lambda api, options: api.head("/", **options),
    "open": lambda api, options: _read(api.open("GET", "/", **options)),
    "events": lambda api, options: _iterate(api.stream("GET", "/", Item, **options)),
    "lines": lambda api, options: _iterate(api.stream("GET", "/", Item, stream_cls=JSONLStream, **options)),
}


def answering(parts: list[bytes], end: str, answered: asyncio.Event) -> Script:
    """Send *parts* to every path but /good, whose answer is good, and *end* the connection."""

    async def script(exchange: Exchange) -> None:
        if exchange.request.target == "/good":
            await exchange.send(ok(b'"good"'))
            return
        try:
            for part in parts:
                await exchange.send(part)
                await asyncio.sleep(0)
            if end != "keep":
                {"close": exchange.close, "reset": exchange.reset}[end]()
        finally:
            answered.set()

    return script


async def call_and_call_again(call: Call, parts: list[bytes], end: str) -> None:
    """One call that is answered with *parts*, and a good one on the same client; no resources leak."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    answered = asyncio.Event()
    async with raw_server(answering(parts, end, answered)) as server:
        async with Client(server.url, max_retries=1, middlewares=[per_send(stay_on_this_machine)]) as api:
            options = {"extensions": {"port": server.port}, "timeout": 0.1 if end == "keep" else 30}
            with suppress(APIClientError):
                await call(api, options)
            # A call may end before the server reads it: then it gets no answer.
            await until(lambda: answered.is_set() or not server.open_connections)
            await turns()

            assert await api.get("/good", extensions={"port": server.port}) == "good"
            await until(lambda: server.open_connections <= 1)
        await until(lambda: server.open_connections == 0)
    assert not complaints


@pytest.mark.parametrize("answer", GOOD, ids=lambda answer: repr(answer[9:40]))
def test_the_good_are_good(answer: bytes) -> None:
    """The samples broken below are valid at first: a body, or the error of its status."""
    end = asyncio.run(ending(CALLS["bytes"], [answer]))

    is_upgrade = answer.startswith(b"HTTP/1.1 101")  # unsolicited, and so never good
    assert (end is APIConnectionError) is is_upgrade


def test_a_call_may_end_before_its_request_is_read() -> None:
    """The property below waits for no answer where the time of the call passed before the server read it."""

    async def expired(api: Client, options: dict[str, Any]) -> None:
        raise APIClientError("The call took too long")

    asyncio.run(call_and_call_again(expired, [], "keep"))


@given(
    st.sampled_from(sorted(CALLS)),
    mutated(GOOD),
    st.sampled_from(["close", "close", "reset", "keep"]),
    st.data(),
)
@settings(max_examples=max(1, settings.default.max_examples // 2))  # one takes as long as ten without a wire
def test_broken_bytes_end_in_a_value_or_in_our_error(
    kind: str, answer: bytes, end: str, data: st.DataObject
) -> None:
    """Whatever bytes arrive in whatever pieces: a value or our error, no leak, and the next call is good."""
    asyncio.run(call_and_call_again(CALLS[kind], data.draw(pieces(answer)), end))


# As answers to a HEAD these are not good: they have bodies.
@given(st.sampled_from(sorted(CALLS.keys() - {"head"})), st.sampled_from(GOOD), st.data())
@settings(max_examples=max(1, settings.default.max_examples // 2))
def test_any_pieces_of_a_good_response(kind: str, answer: bytes, data: st.DataObject) -> None:
    """However a good response is split, the call ends as it does with one piece."""
    whole = asyncio.run(ending(CALLS[kind], [answer]))

    assert asyncio.run(ending(CALLS[kind], data.draw(pieces(answer)))) == whole


async def ending(call: Call, parts: list[bytes]) -> object:
    """The value, or the class of the error, with which a call ends."""
    script = answering(parts, "close", asyncio.Event())
    async with raw_server(script) as server, Client(server.url, max_retries=0) as api:
        try:
            # A hop could use the connection that is being closed, and get another result.
            value = await call(api, {"follow_redirects": False})
        except APIClientError as error:
            return type(error)
        return value.status if isinstance(value, AsyncAPIResponse) else value
