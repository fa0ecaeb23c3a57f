"""One call is one request on the wire, whatever a caller's strings contain.

A server records every byte. A string with a control character is refused before a byte is sent, or arrives
escaped.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from helpers import Client
from hypothesis import given, settings
from multidict import CIMultiDict
from servers import RawServer, ok, raw_server, respond
from yarl import URL

from aioapiclient import (
    AiohttpTransport,
    APIConnectionError,
    APIKeyAuth,
    APIRequest,
    AsyncAPIClient,
    Auth,
    BasicAuth,
    BearerAuth,
    InvalidRequestError,
    per_attempt,
    per_send,
)

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
CONTROLS = [chr(code) for code in (*range(0x20), 0x7F) if code != 0x09]
SMUGGLED = "\r\nX-Evil: 1\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil\r\n\r\n"
HOSTILE = (
    st.tuples(
        st.text(max_size=4), st.sampled_from([*CONTROLS, SMUGGLED, "\n", "\r", "\r\n "]), st.text(max_size=4)
    )
    .map("".join)
    .filter(lambda text: "X-Evil" not in text or SMUGGLED in text)
)


class _Setting(Auth):
    """An auth that sets the given header."""

    def __init__(self, change: Callable[[APIRequest], object]) -> None:
        self.change = change

    async def authenticate(self, request: APIRequest, /) -> None:
        self.change(request)


def middleware(change: Callable[[APIRequest], object]) -> Any:
    """A middleware that makes *change*."""

    async def changing(request: APIRequest, handler: Any) -> Any:
        change(request)
        return await handler(request)

    return changing


def _set(**values: Any) -> Callable[[APIRequest], object]:
    return lambda request: [setattr(request, name, value) for name, value in values.items()]


def _named(text: str) -> Any:
    """A header of that name, past the checks of a layer."""
    return middleware(lambda request: request.headers.add(text, "v"))


def _valued(text: str) -> Any:
    return middleware(lambda request: request.headers.add("X-A", text))


Place = Callable[[str], tuple[dict[str, Any], dict[str, Any]]]

# The arguments of a client and a call, with a hostile text in one place.
PLACES: dict[str, Place] = {
    "method": lambda text: ({}, {"method": f"GE{text}T"}),
    "path": lambda text: ({}, {"path": f"/a{text}b"}),
    "query in the path": lambda text: ({}, {"path": f"/a?b={text}"}),
    "path as a URL": lambda text: ({}, {"path": URL.build(path=f"/a{text}", encoded=True)}),
    "absolute URL": lambda text: ({}, {"path": f"http://127.0.0.1{text}/"}),
    "absolute URL object": lambda text: (
        {},
        {"path": URL.build(scheme="http", host="h", path=f"/{text}", encoded=True)},
    ),
    "authority": lambda text: (
        {},
        {"path": URL.build(scheme="http", authority=f"h{text}", path="/", encoded=True)},
    ),
    "segment": lambda text: ({}, {"path": "/{a}", "path_params": {"a": text}}),
    "segments": lambda text: ({}, {"path": "/{+a}", "path_params": {"a": text}}),
    "param name": lambda text: ({}, {"params": {text: "v"}}),
    "param": lambda text: ({}, {"params": {"a": [text, {"b": text}]}}),
    "default param": lambda text: ({"default_params": {"a": text, text: "a"}}, {}),
    "header name": lambda text: ({}, {"headers": {f"X{text}": "v"}}),
    "header": lambda text: ({}, {"headers": {"X-A": text}}),
    "repeated header": lambda text: ({}, {"headers": CIMultiDict([("X-A", "v"), ("x-a", text)])}),
    "cookie": lambda text: ({}, {"headers": {"Cookie": f"a={text}"}}),
    "default header name": lambda text: ({"default_headers": {text: "v"}}, {}),
    "default header": lambda text: ({"default_headers": {"X-A": text}}, {}),
    "content type": lambda text: ({}, {"content": b"x", "headers": {"Content-Type": f"a/{text}"}}),
    "idempotency key": lambda text: ({"idempotency_header": "Key"}, {"idempotency_key": text}),
    "idempotency header": lambda text: ({"idempotency_header": f"Key{text}"}, {}),
    "version": lambda text: ({"version": text}, {}),
    "token": lambda text: ({"auth": BearerAuth(text)}, {}),
    "user": lambda text: ({"auth": BasicAuth(text, "x")}, {}),
    "password": lambda text: ({"auth": BasicAuth("x", text)}, {}),
    "key": lambda text: ({"auth": APIKeyAuth(text)}, {}),
    "key header": lambda text: ({"auth": APIKeyAuth("k", header=f"X{text}")}, {}),
    "key param": lambda text: ({"auth": APIKeyAuth("k", param=text)}, {}),
    "form": lambda text: ({}, {"data": {text: text}}),
    "json": lambda text: ({}, {"json": {text: text}}),
    "field": lambda text: ({}, {"files": {"f": b"x"}, "data": {text: "v"}}),
    "file field": lambda text: ({}, {"files": {text: b"x"}}),
    "file name": lambda text: ({}, {"files": {"f": (text, b"x")}}),
    "file type": lambda text: ({}, {"files": {"f": ("n", b"x", f"a/{text}")}}),
    "part header": lambda text: ({}, {"files": {"f": ("n", b"x", "a/b", {"X-Part": text})}}),
    "part header name": lambda text: ({}, {"files": {"f": ("n", b"x", "a/b", {f"X{text}": "v"})}}),
    "boundary": lambda text: (
        {},
        {"files": {"f": b"x"}, "headers": {"Content-Type": f"multipart/a; boundary={text}"}},
    ),
    "auth that sets a header": lambda text: ({"auth": _Setting(lambda r: r.headers.add("X-A", text))}, {}),
    "middleware that sets a header": lambda text: ({"middlewares": [_valued(text)]}, {}),
    "middleware that names a header": lambda text: ({"middlewares": [per_attempt(_named(text))]}, {}),
    "innermost header": lambda text: ({"middlewares": [per_send(_valued(text))]}, {}),
    "innermost method": lambda text: ({"middlewares": [per_send(middleware(_set(method=f"G{text}")))]}, {}),
    "innermost path": lambda text: (
        {
            "middlewares": [
                per_send(
                    middleware(_set(url=URL.build(scheme="http", host="h", path=f"/{text}", encoded=True)))
                )
            ]
        },
        {},
    ),
    "innermost query": lambda text: (
        {
            "middlewares": [
                per_send(
                    middleware(
                        _set(
                            url=URL.build(scheme="http", host="h", path="/", query_string=text, encoded=True)
                        )
                    )
                )
            ]
        },
        {},
    ),
    "innermost authority": lambda text: (
        {
            "middlewares": [
                per_send(
                    middleware(
                        _set(url=URL.build(scheme="http", authority=f"h{text}", path="/", encoded=True))
                    )
                )
            ]
        },
        {},
    ),
}


async def send(url: str, place: Place, text: str, *, by_proxy: bool) -> None:
    """Make the call; with a proxy, so that a name that does not resolve is not the reason of a refusal."""
    client, call = place(text)
    transport = AiohttpTransport(proxy=url) if by_proxy else AiohttpTransport()
    try:
        async with Client(
            "http://api.test/v1" if by_proxy else f"{url}/v1",
            transport=transport,
            max_retries=0,
            timeout=5,
            **client,
        ) as api:
            await api.request(call.pop("method", "POST"), call.pop("path", "/x"), **call)
    finally:
        await transport.close()


def assert_one_request(server: RawServer) -> None:
    """Fail unless the received bytes are exactly one request, of a line and headers without control
    characters.
    """
    assert len(server.requests) == 1
    line, *headers = server.requests[0].head.split(b"\r\n")
    assert re.fullmatch(rb"[!-~]+ [!-~]+ HTTP/1\.1", line), line
    for header in headers:
        name, colon, value = header.partition(b":")
        assert TOKEN.fullmatch(name), header
        assert colon
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value), header
        assert name.lower() != b"x-evil"
    names = [header.partition(b":")[0].lower() for header in headers]
    for name in (b"host", b"content-length", b"transfer-encoding"):
        assert names.count(name) <= 1


@pytest.mark.parametrize("by_proxy", [False, True], ids=["direct", "by proxy"])
@pytest.mark.parametrize("place", PLACES)
@given(text=HOSTILE)
@settings(max_examples=12)
def test_no_control_character_reaches_the_wire(place: str, by_proxy: bool, text: str) -> None:
    """A control character anywhere in a call is refused before a byte is sent, or is sent escaped (P1)."""

    async def run() -> None:
        failed: APIConnectionError | None = None
        async with raw_server(respond(ok())) as server:
            try:
                await send(server.url, PLACES[place], text, by_proxy=by_proxy)
            except (InvalidRequestError, ValueError):
                assert not server.requests
            except APIConnectionError as error:
                failed = error
            else:
                assert_one_request(server)
            if failed is not None:  # a host that is not a name: nothing was sent either
                assert failed.sent is False
                assert not server.requests

    asyncio.run(run())


@pytest.mark.parametrize("place", PLACES)
async def test_every_place_takes_a_harmless_text(place: str) -> None:
    """Each of those places sends one request if the text is harmless, so the places are correct (P1)."""
    if "absolute" in place or "authority" in place or place in {"innermost path", "innermost query"}:
        by_proxy = True
    else:
        by_proxy = False
    async with raw_server(respond(ok())) as server:
        await send(server.url, PLACES[place], "harmless", by_proxy=by_proxy)
        assert_one_request(server)
        whole = server.requests[0].head + server.requests[0].body
        assert b"harmless" in whole.lower() or place in {"user", "password"}


# --- headers that frame the message


FRAMING = [
    "Content-Length",
    "Transfer-Encoding",
    "Host",
    "Connection",
    "TE",
    "Upgrade",
    "Trailer",
    "Expect",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Proxy-Whatever",
]


def cased(name: str) -> st.SearchStrategy[str]:
    """*name* in any case."""
    return st.tuples(*[st.sampled_from([letter.lower(), letter.upper()]) for letter in name]).map("".join)


LAYERS: dict[str, Place] = {
    "call": lambda name: ({}, {"headers": {name: "1"}}),
    "repeated": lambda name: ({}, {"headers": CIMultiDict([("X-A", "1"), (name, "1"), (name.lower(), "2")])}),
    "client": lambda name: ({"default_headers": {name: "1"}}, {}),
    "auth": lambda name: ({"auth": _Setting(lambda request: request.set_headers({name: "1"}))}, {}),
    "auth, unchecked": lambda name: ({"auth": _Setting(lambda request: request.headers.add(name, "1"))}, {}),
    "key": lambda name: ({"auth": APIKeyAuth("1", header=name)}, {}),
    "idempotency": lambda name: ({"idempotency_header": name}, {}),
    "middleware": lambda name: ({"middlewares": [_named(name)]}, {}),
    "innermost": lambda name: ({"middlewares": [per_send(_named(name))]}, {}),
    "part": lambda name: ({}, {"files": {"f": ("n", b"x", "a/b", {name: "1"})}}),
}


@pytest.mark.parametrize("layer", LAYERS)
@given(name=st.sampled_from(FRAMING).flatmap(cased))
@settings(max_examples=20)
def test_no_layer_sets_a_header_that_frames_the_message(layer: str, name: str) -> None:
    """Content-Length, Transfer-Encoding, Host, Proxy-* and their like are the transport's alone (P15)."""

    async def run() -> None:
        async with raw_server(respond(ok())) as server:
            with pytest.raises(InvalidRequestError, match="cannot be set by a caller"):
                await send(server.url, LAYERS[layer], name, by_proxy=False)
            assert not server.requests

    asyncio.run(run())


async def test_a_hook_sets_no_header_that_frames_the_message() -> None:
    """The hooks of a subclass cannot set them either (P15)."""

    class Framing(AsyncAPIClient):
        def platform_headers(self) -> dict[str, str]:
            return {"transfer-ENCODING": "chunked"}

    class Late(AsyncAPIClient):
        async def _prepare_request(self, request: APIRequest, /) -> None:
            request.headers["Content-Length"] = "0"

    async with raw_server(respond(ok())) as server:
        for kind in (Framing, Late):
            async with kind(server.url) as api:
                with pytest.raises(InvalidRequestError, match="cannot be set by a caller"):
                    await api.post("/x", json={"a": 1})
        assert not server.requests
