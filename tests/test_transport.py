"""`AiohttpTransport`: its arguments, the bytes it sends, its errors, and its limits."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import os
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import http_parser
from aioresponses import aioresponses
from multidict import CIMultiDict
from servers import (
    CERTIFICATE,
    Exchange,
    RawServer,
    Script,
    client_tls,
    close,
    drip,
    hang,
    in_turn,
    ok,
    raw_server,
    refusing_port,
    reset,
    respond,
    response,
    server_tls,
    until,
)
from yarl import URL

from aioapiclient import AsyncAPIClient, BearerAuth
from aioapiclient._body.body import Body
from aioapiclient._request import APIRequest
from aioapiclient._transport.transport import AiohttpTransport
from aioapiclient._types import DEFAULT_TIMEOUT, Timeout
from aioapiclient._url.base import BaseURL
from aioapiclient.errors import (
    APIClientError,
    APIConnectionError,
    APITimeoutError,
    ClientClosedError,
    InvalidRequestError,
)

# Found only on the wire; tracebacks show source lines, so it is never written in one.
KEY = base64.b16encode(b"a secret").decode()


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    """A transport that trusts the tests' certificate, closed in the end."""
    transport = AiohttpTransport(ssl=client_tls())
    yield transport
    await transport.close()


@pytest.fixture(params=["own", "borrowed"])
async def any_transport(request: pytest.FixtureRequest) -> AsyncIterator[AiohttpTransport]:
    """A transport on its own session, then on a borrowed one."""
    if request.param == "own":
        transport = AiohttpTransport()
        yield transport
        await transport.close()
    else:
        async with aiohttp.ClientSession() as session:
            yield AiohttpTransport(session=session)


def make(url: str | URL, method: str = "GET", **facts: Any) -> APIRequest:
    """A request."""
    return APIRequest(method, url, **facts)


async def fetch(transport: AiohttpTransport, url: str | URL, method: str = "GET", **facts: Any) -> bytes:
    """The body of an answer."""
    return await (await transport(make(url, method, **facts))).read()


# --- construction


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"session": object()}, TypeError, "must be an aiohttp.ClientSession, not a builtins.object"),
        ({"ssl": False}, InvalidRequestError, r"ssl=ssl.create_default_context\(cafile="),
        (
            {"ssl": None},
            TypeError,
            "ssl must be True, an ssl.SSLContext or an aiohttp.Fingerprint, not NoneType",
        ),
        ({"ssl": "cert.pem"}, TypeError, "not str"),
        ({"connector": 1}, TypeError, "connector must be a factory"),
        ({"connector": aiohttp.TCPConnector, "ssl": client_tls()}, TypeError, "ssl belongs to the connector"),
        ({"proxy": "socks5://h"}, InvalidRequestError, "SOCKS"),
        ({"session_middlewares": 1}, TypeError, "not iterable"),
        ({"trace_configs": 1}, TypeError, "not iterable"),
        ({"trace_configs": [1]}, TypeError, "trace_configs must be aiohttp.TraceConfig objects, not int"),
    ],
)
def test_refused_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """An invalid argument of a transport is refused on creation, by name."""
    with pytest.raises(error, match=message):
        AiohttpTransport(**options)


async def test_refused_connector() -> None:
    """A connector is created in the running loop, so the argument is a factory, not a connector."""
    async with aiohttp.TCPConnector() as connector:
        with pytest.raises(TypeError, match=r"connector must be a factory.*not a TCPConnector"):
            AiohttpTransport(connector=connector)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "besides",
    [
        {"trust_env": True},
        {"connector": aiohttp.TCPConnector},
        {"session_middlewares": [lambda request, handler: handler(request)]},
        {"trace_configs": [aiohttp.TraceConfig()]},
    ],
    ids=lambda besides: next(iter(besides)),
)
async def test_session_alone(besides: dict[str, Any]) -> None:
    """Arguments that belong to a session are refused beside one."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(TypeError, match="omit these arguments"):
            AiohttpTransport(session=session, **besides)


def test_made_outside_a_loop() -> None:
    """Nothing is opened before the first request: it can be created at module level, and closed there."""
    transport = AiohttpTransport(proxy="http://user:secret@proxy.example:3128")
    assert repr(transport) == "<AiohttpTransport own session, <Proxy http://proxy.example:3128>>"
    assert repr(AiohttpTransport()) == "<AiohttpTransport own session>"
    asyncio.run(transport.close())


# --- sent requests


async def test_exactly_these_headers(any_transport: AiohttpTransport) -> None:
    """The wire has the request's headers, Host, Accept-Encoding and framing headers, and no others."""
    async with raw_server(respond(ok())) as server:
        headers = CIMultiDict([("X-One", "1"), ("X-Many", "a"), ("X-Many", "b"), ("X-Word", "h\u00e9")])
        await fetch(any_transport, server.url + "/a?b=c", headers=headers)
        await fetch(any_transport, server.url, "POST", headers=headers)
        await fetch(any_transport, server.url, "POST", headers=headers, body=Body(b"abc"))
        await fetch(any_transport, server.url, "DELETE", headers=headers, body=Body(b"x" * 100_000))
        own = [("X-One", "1"), ("X-Many", "a"), ("X-Many", "b"), ("X-Word", "h\u00e9")]
        for request, framing in zip(server.requests, ("", "0", "3", "100000"), strict=True):
            expected = [("Host", f"127.0.0.1:{server.port}"), *own, ("Accept-Encoding", "gzip, deflate, br")]
            if framing:
                expected.append(("Content-Length", framing))
            assert [*request.headers.items()] == expected
        assert server.requests[0].head.startswith(b"GET /a?b=c HTTP/1.1\r\n")


async def test_usual_headers(any_transport: AiohttpTransport) -> None:
    """Headers that aiohttp would add are sent unchanged."""
    given = {"Accept": "a/b", "User-Agent": "c/d", "Content-Type": "e/f", "Accept-Encoding": "br"}
    async with raw_server(respond(ok())) as server:
        await fetch(any_transport, server.url, "POST", headers=given, body=Body(b"x"))
        sent = server.requests[0].headers
        assert {name: sent.getall(name) for name in given} == {name: [value] for name, value in given.items()}


async def test_stream_asks_for_no_compression(any_transport: AiohttpTransport) -> None:
    """A stream is requested uncompressed, so that every event arrives when it is sent."""
    async with raw_server(respond(ok())) as server:
        await fetch(any_transport, server.url, stream=True)
        assert server.requests[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"X": "a\r\nY: b"}, "control character"),
        ({"X": "a\0"}, "control character"),
        ({"X a": "b"}, "not a token"),
        ({"X:": "b"}, "not a token"),
        ({"": "b"}, "not a token"),
        ({"X-\u00e9": "b"}, "not a token"),
        ({"X": "\ud800"}, "cannot be encoded"),
        ({"Content-Length": "3"}, "cannot be set by a caller"),
        ({"transfer-encoding": "chunked"}, "cannot be set by a caller"),
        ({"Host": "h"}, "cannot be set by a caller"),
        ({"Connection": "close"}, "cannot be set by a caller"),
        ({"TE": "trailers"}, "cannot be set by a caller"),
        ({"Upgrade": "h2c"}, "cannot be set by a caller"),
        ({"Expect": "100-continue"}, "cannot be set by a caller"),
        ({"Proxy-Authorization": "x"}, "cannot be set by a caller"),
    ],
)
async def test_headers_of_a_middleware(
    any_transport: AiohttpTransport, headers: dict[str, str], message: str
) -> None:
    """Headers that a middleware set are checked again; those that HTTP forbids are not sent."""
    async with raw_server(respond(ok())) as server:
        await fetch(any_transport, server.url)
        request = make(server.url)
        request.headers.update(headers)
        for _ in range(2):
            with pytest.raises(InvalidRequestError, match=message):
                await any_transport(request)
        assert len(server.requests) == 1


async def test_header_that_is_not_text(any_transport: AiohttpTransport) -> None:
    """A value that is not text is a TypeError."""
    request = make(f"http://127.0.0.1:{refusing_port()}")
    request.headers["X"] = 1  # type: ignore[assignment]
    with pytest.raises(TypeError, match="must be a str, not int"):
        await any_transport(request)


async def test_values_that_are_good(any_transport: AiohttpTransport) -> None:
    """Tabs and other scripts may be in a value."""
    async with raw_server(respond(ok())) as server:
        await fetch(any_transport, server.url, headers={"X-Tab": "a\tb", "X-Word": "\u65e5\u672c"})
        assert server.requests[0].headers["X-Tab"] == "a\tb"
        assert server.requests[0].headers["X-Word"] == "\u65e5\u672c"


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/\u00e9", "/?a=b c", "/a\tb"])
async def test_target_of_a_middleware(any_transport: AiohttpTransport, target: str) -> None:
    """A URL that a middleware made is checked too: a space in it would end the request line early."""
    request = make("http://127.0.0.1")
    path, _, query = target.partition("?")
    request.url = URL.build(
        scheme="http", host="127.0.0.1", port=refusing_port(), path=path, query_string=query, encoded=True
    )
    with pytest.raises(InvalidRequestError, match="percent-encoded"):
        await any_transport(request)


@pytest.mark.parametrize("method", ["", "G T", "GET\r\n", "G\u00c9T", "CONNECT", "connect"])
async def test_method(any_transport: AiohttpTransport, method: str) -> None:
    """A method is a token, and not CONNECT."""
    with pytest.raises(InvalidRequestError):
        await any_transport(make(f"http://127.0.0.1:{refusing_port()}", method))


async def test_other_methods(any_transport: AiohttpTransport) -> None:
    """Any other method is sent."""
    async with raw_server(respond(ok())) as server:
        for method in ("OPTIONS", "PROPFIND", "QUERY"):
            await fetch(any_transport, server.url, method)
        assert [request.method for request in server.requests] == ["OPTIONS", "PROPFIND", "QUERY"]


@pytest.mark.parametrize("target", ["/a%2Fb/%7e?x=%2B+%20&x=&y", "/a;b=c/d@e:f?a/b?c", "//a//"])
async def test_target_byte_for_byte(any_transport: AiohttpTransport, target: str) -> None:
    """The path and the query are sent unchanged."""
    async with raw_server(respond(ok())) as server:
        await fetch(any_transport, URL(server.url + target, encoded=True))
        assert server.requests[0].target == target


async def test_bad_urls(any_transport: AiohttpTransport) -> None:
    """A URL that aiohttp will not send is refused."""
    request = make("http://127.0.0.1")
    for url in (URL("/relative"), URL("ftp://127.0.0.1/")):
        request.url = url
        with pytest.raises(InvalidRequestError):
            await any_transport(request)
    request.url = URL.build(scheme="http", host="a" * 70 + ".example", path="/")
    with pytest.raises(InvalidRequestError):
        await any_transport(request)


# --- IPv6 zones


class ZoneNoting(aiohttp.TCPConnector):
    """Records the host to resolve, and connects to 127.0.0.1."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.hosts: list[str] = []

    async def _resolve_host(self, host: str, port: int, traces: Any = None) -> Any:
        self.hosts.append(host)
        return await super()._resolve_host("127.0.0.1", port, traces)


ZONES = ["[FE80::1%25eTh0.1]", "[FE80::1%eTh0.1]"]


@pytest.mark.parametrize("kind", ["own", "borrowed"])
@pytest.mark.parametrize("host", ZONES)
async def test_the_zone_of_an_address_is_for_the_resolver(host: str, kind: str) -> None:
    """The resolver gets an IPv6 zone unchanged, however the URL writes it; the server never receives it."""
    connector = ZoneNoting()
    async with aiohttp.ClientSession(connector=connector) as session, raw_server(respond(ok())) as server:
        transport = (
            AiohttpTransport(session=session)
            if kind == "borrowed"
            else AiohttpTransport(connector=lambda: connector)
        )
        url = server.url.replace("127.0.0.1", host)
        by_hand = URL.build(scheme="http", authority=f"{host}:{server.port}", path="/a%25b", encoded=True)
        for target in (url + "/a%25b?c=d%25", BaseURL(url).build("/a%25b"), by_hand):
            assert await fetch(transport, target) == b"{}"
        await transport.close()

    assert [host.lower() for host in connector.hosts] == ["fe80::1%eth0.1"] * len(connector.hosts)
    assert connector.hosts[0].endswith("%eTh0.1")
    assert [got.target for got in server.requests] == ["/a%25b?c=d%25", "/a%25b", "/a%25b"]
    for got in server.requests:
        assert [value.lower() for value in got.headers.getall("Host")] == [f"[fe80::1]:{server.port}"]


async def test_a_certificate_is_for_the_address_without_its_zone() -> None:
    """TLS compares a certificate with the IPv6 address alone: a zone would make a name of it."""
    transport = AiohttpTransport(connector=lambda: ZoneNoting(ssl=client_tls()))
    async with raw_server(respond(ok()), tls=True) as server:
        with pytest.raises(APIConnectionError, match=r"IP address mismatch.*'fe80::1'"):
            await fetch(transport, f"https://[fe80::1%25eth0]:{server.port}")
    await transport.close()


async def test_a_proxy_cannot_reach_a_zone() -> None:
    """An address with a zone belongs to this machine's network interface, so no proxy is used for it."""
    async with raw_server(respond(ok())) as proxy:
        transport = AiohttpTransport(proxy=proxy.url)
        with pytest.raises(InvalidRequestError, match=r"a proxy cannot reach an IPv6 zone"):
            await fetch(transport, "http://[fe80::1%25eth0]/")
        await transport.close()

    assert proxy.requests == []


# --- the response


async def test_response(transport: AiohttpTransport) -> None:
    """The response has the head: status, reason, headers, version, and the time that it took."""
    answer = b"HTTP/1.0 404 Nowhere\r\nX-Many: a\r\nX-Many: b\r\nContent-Length: 2\r\n\r\n{}"
    async with raw_server(respond(answer)) as server:
        loop = asyncio.get_running_loop()
        got = await transport(make(server.url + "/x", started=loop.time() - 10))
        assert (got.status, got.reason, got.http_version, got.url.path) == (404, "Nowhere", "1.0", "/x")
        assert got.headers.getall("x-many") == ["a", "b"]
        assert 10 <= got.elapsed.total_seconds() < 60
        assert await got.read() == b"{}"
    async with raw_server(respond(ok())) as server:
        got = await transport(make(server.url))
        assert (got.http_version, got.elapsed.total_seconds()) == ("1.1", 0)
        await got.close()


async def test_no_redirect(any_transport: AiohttpTransport) -> None:
    """A redirect is a response like any other, also on a session that would follow it."""
    for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
        async with raw_server(respond(response(status, b"x", Location="/elsewhere"))) as server:
            got = await any_transport(make(server.url))
            assert (got.status, await got.read()) == (int(status[:3]), b"x")
            assert len(server.requests) == 1


async def test_long_headers(any_transport: AiohttpTransport) -> None:
    """A header may have 32 KiB, and not more."""
    async with raw_server(respond(ok(X="a" * 32_000))) as server:
        got = await any_transport(make(server.url))
        assert len(got.headers["X"]) == 32_000
        await got.close()
    async with raw_server(respond(ok(X="a" * 40_000))) as server:
        with pytest.raises(APIConnectionError, match="not valid HTTP: a line is too long"):
            await any_transport(make(server.url))


HEAD = b"HTTP/1.1 200 OK\r\n"
BROKEN = {
    "garbage": b"garbage\r\n\r\n",
    "HTTP/0.9": b"hello\r\n\r\n",
    "status 99": b"HTTP/1.1 99 X\r\nContent-Length: 0\r\n\r\n",
    "HTTP/3.1": b"HTTP/3.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a bad name": HEAD + b"X Y: a\r\nContent-Length: 0\r\n\r\n",
    "many headers": HEAD + b"".join(b"X-%d: a\r\n" % number for number in range(200)) + b"\r\n",
    "NUL": HEAD + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "length and chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "unasked 101": b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "bare 101": b"HTTP/1.1 101 X\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_broken_response(any_transport: AiohttpTransport, answer: bytes, method: str) -> None:
    """An answer that is not HTTP is an APIConnectionError, not a status 400, and its connection is not
    reused.
    """
    async with raw_server(in_turn(respond(answer), respond(ok()))) as server:
        with pytest.raises(APIConnectionError, match="not valid HTTP") as caught:
            await fetch(any_transport, server.url, method)
        assert (caught.value.sent, caught.value.final) == (None, False)
        assert caught.value.reason == "not_http"
        assert len(server.requests) == 1
        assert await fetch(any_transport, server.url, method) == b"{}"
        assert server.connections == 2


async def test_chunk_that_breaks_later(any_transport: AiohttpTransport) -> None:
    """A broken chunk after the head has arrived is the same error."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await asyncio.sleep(0.01)
        await exchange.send(b"zz\r\n")

    async with raw_server(script) as server:
        with pytest.raises(APIConnectionError) as caught:
            await fetch(any_transport, server.url)
        assert caught.value.reason == "not_http"


# --- sent once


LOST = {
    "FIN": close(),
    "RST": reset(),
    "half a head": close(b"HTTP/1.1 200 OK\r\nX: " + KEY.encode() + b"\r\n"),
    "FIN after an interim response": close(b"HTTP/1.1 103 Early\r\n\r\n"),
}


@pytest.mark.parametrize("script", LOST.values(), ids=LOST.keys())
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "HEAD"])
async def test_sent_once(any_transport: AiohttpTransport, script: Script, method: str) -> None:
    """A request whose answer is lost is not silently sent a second time, whatever its method."""
    async with raw_server(script) as server:
        body = Body(b"x") if method == "PUT" else None
        with pytest.raises(APIConnectionError) as caught:
            await fetch(any_transport, server.url, method, body=body)
        assert caught.value.sent is None
        assert len(server.requests) == 1
        assert KEY not in "".join(traceback.format_exception(caught.value))


async def test_sent_once_on_a_used_connection(any_transport: AiohttpTransport) -> None:
    """That also holds on a reused connection."""
    async with raw_server(in_turn(respond(ok()), close())) as server:
        await fetch(any_transport, server.url)
        with pytest.raises(APIConnectionError):
            await fetch(any_transport, server.url)
        assert len(server.requests) == 2


# --- never sent


async def test_refused_connection(any_transport: AiohttpTransport) -> None:
    """A connection that is refused is surely unsent, and the system's error is the cause."""
    port = refusing_port()
    with pytest.raises(APIConnectionError, match=r"connection refused \(ECONNREFUSED\)") as caught:
        await fetch(any_transport, f"http://127.0.0.1:{port}/?key={KEY}", headers={"X-Key": KEY})
    assert caught.value.sent is False
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert caught.value.__context__ is None
    assert KEY not in "".join(traceback.format_exception(caught.value))


async def test_name_that_does_not_resolve() -> None:
    """A name that does not resolve is certainly unsent."""

    class Nowhere(aiohttp.ThreadedResolver):
        async def resolve(self, *args: Any, **options: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    transport = AiohttpTransport(connector=lambda: aiohttp.TCPConnector(resolver=Nowhere()))
    with pytest.raises(APIConnectionError, match="not resolved") as caught:
        await fetch(transport, "http://nowhere.example")
    assert (caught.value.sent, caught.value.final) == (False, False)
    await transport.close()


async def test_unknown_certificate() -> None:
    """An untrusted certificate ends the call without a retry, before anything was sent."""
    transport = AiohttpTransport()
    async with raw_server(respond(ok()), tls=True) as server:
        with pytest.raises(APIConnectionError, match="certificate is not accepted") as caught:
            await fetch(transport, server.url)
        assert (caught.value.sent, caught.value.final) == (False, True)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert server.requests == []
    await transport.close()


async def test_certificate_of_another_host() -> None:
    """So does one that is for another host."""

    class Here(aiohttp.ThreadedResolver):
        async def resolve(self, host: str, *args: Any, **options: Any) -> Any:
            return await super().resolve("127.0.0.1", *args, **options)

    transport = AiohttpTransport(connector=lambda: aiohttp.TCPConnector(resolver=Here(), ssl=client_tls()))
    async with raw_server(respond(ok()), tls=True) as server:
        with pytest.raises(APIConnectionError, match=r"[Mm]ismatch") as caught:
            await fetch(transport, f"https://other.example:{server.port}")
        assert (caught.value.sent, caught.value.final) == (False, True)
        assert server.requests == []
    await transport.close()


async def test_fingerprint() -> None:
    """A pinned certificate is the only one that is accepted."""
    der = ssl.PEM_cert_to_DER_cert(CERTIFICATE)
    async with raw_server(respond(ok()), tls=True) as server:
        good = AiohttpTransport(ssl=aiohttp.Fingerprint(hashlib.sha256(der).digest()))
        assert await fetch(good, server.url) == b"{}"
        await good.close()
        bad = AiohttpTransport(ssl=aiohttp.Fingerprint(b"\0" * 32))
        with pytest.raises(APIConnectionError, match="not the pinned one") as caught:
            await fetch(bad, server.url)
        assert (caught.value.sent, caught.value.final) == (False, True)
        await bad.close()
        assert len(server.requests) == 1


async def test_tls_to_a_plain_port(transport: AiohttpTransport) -> None:
    """A server that speaks no TLS will not learn it: the error is final."""

    class Plain(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    server = await asyncio.get_running_loop().create_server(Plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(APIConnectionError, match=r"TLS failed .*; does the server speak http\?") as caught:
        await fetch(transport, f"https://127.0.0.1:{port}")
    assert (caught.value.sent, caught.value.final, caught.value.reason) == (False, True, "tls")
    server.close()


@pytest.mark.skipif(
    http_parser.HttpResponseParser is http_parser.HttpResponseParserPy,
    reason="the parser in pure Python does not report an incomplete head",
)
async def test_http_to_a_tls_port(any_transport: AiohttpTransport) -> None:
    """A server that answers with a TLS alert may speak https: the error suggests it."""
    async with raw_server(close(b"\x15\x03\x01\0\2\2\x28")) as server:
        with pytest.raises(
            APIConnectionError, match=r"a TLS alert was received; does the server speak https\?"
        ):
            await fetch(any_transport, server.url)


async def test_end_in_the_handshake(transport: AiohttpTransport) -> None:
    """A connection that ends within the TLS handshake is surely unsent, and may be tried again."""

    class Leaving(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.close()

    server = await asyncio.get_running_loop().create_server(Leaving, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(APIConnectionError) as caught:
        await fetch(transport, f"https://127.0.0.1:{port}")
    assert (caught.value.sent, caught.value.final) == (False, False)
    server.close()


async def test_tls_versions_that_do_not_meet() -> None:
    """Two sides without a TLS version in common are surely unsent."""
    context = client_tls_of(ssl.TLSVersion.TLSv1_2)
    server_tls().minimum_version = ssl.TLSVersion.TLSv1_3
    transport = AiohttpTransport(ssl=context)
    try:
        async with raw_server(respond(ok()), tls=True) as server:
            with pytest.raises(APIConnectionError) as caught:
                await fetch(transport, server.url)
            assert caught.value.sent is False
    finally:
        server_tls().minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        await transport.close()


def client_tls_of(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client's TLS that supports at most *version*."""
    context = ssl.create_default_context(cadata=CERTIFICATE)
    context.maximum_version = version
    return context


# --- timeouts and cancellation


async def test_no_limit_is_none() -> None:
    """An omitted limit, as on a request without a client, means no limit."""
    transport = AiohttpTransport()
    async with raw_server(respond(ok())) as server:
        assert await fetch(transport, server.url, timeout=Timeout()) == b"{}"
    await transport.close()


async def test_read_on_a_borrowed_session() -> None:
    """On a borrowed session ``read`` and ``connect`` apply too, and its own total does not."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.001)) as session:
        transport = AiohttpTransport(session=session)
        async with raw_server(in_turn(respond(ok()), hang())) as server:
            assert await fetch(transport, server.url) == b"{}"
            with pytest.raises(APITimeoutError, match="read"):
                await fetch(transport, server.url, timeout=Timeout(read=0.05).over(DEFAULT_TIMEOUT))


async def test_cancel_in_the_tick_of_a_timeout(transport: AiohttpTransport) -> None:
    """A cancellation that coincides with the end of a caller's limit is not lost."""
    async with raw_server(hang()) as server:
        await_it = asyncio.create_task(fetch(transport, server.url))
        await until(lambda: server.requests)
        await_it.cancel()
        with pytest.raises(asyncio.CancelledError):
            await await_it
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await fetch(transport, server.url)


async def test_cancels_at_any_point(transport: AiohttpTransport) -> None:
    """Wherever a call is cancelled, it is cancelled, and no connection is missing from the pool."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(HEAD)
        await asyncio.sleep(0)
        await exchange.send(b"Content-Length: 6\r\n\r\nabc")
        await asyncio.sleep(0)
        await exchange.send(b"def")

    async with raw_server(script) as server:
        outcomes: set[object] = set()
        for steps in range(40):
            call = asyncio.create_task(fetch(transport, server.url))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            try:
                outcomes.add(await call)
            except asyncio.CancelledError:
                outcomes.add("cancelled")
        assert outcomes <= {b"abcdef", "cancelled"}
        session: Any = transport._session
        assert not session.connector._acquired
        assert await fetch(transport, server.url) == b"abcdef"


# --- proxies


def proxy_script(*, status: str = "200 OK") -> Script:
    """A proxy that answers CONNECT with *status* and then carries bytes, and any other request itself."""

    async def script(exchange: Exchange) -> None:
        if exchange.request.method != "CONNECT":
            await exchange.send(ok(b'"by proxy"'))
            return
        await exchange.send(response(status, None))
        if not status.startswith("200"):
            exchange.close()
            return
        host, _, port = exchange.request.target.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_carry(exchange.reader, writer), _carry(reader, exchange.writer))

    return script


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


CREDENTIALS = "Basic " + base64.b64encode(f"user:{KEY}".encode()).decode()


def with_credentials(server: RawServer) -> str:
    """The URL of a proxy, with a user and a password."""
    return server.url.replace("//", f"//user:{KEY}@")


async def test_plain_request_by_proxy() -> None:
    """A plain request is sent to the proxy with its credentials, on every connection, even a reused one."""
    async with raw_server(proxy_script()) as proxy:
        transport = AiohttpTransport(proxy=with_credentials(proxy))
        for _ in range(3):
            request = make("http://api.example.com/x?y=z")
            assert await (await transport(request)).read() == b'"by proxy"'
            assert "Proxy-Authorization" not in request.headers
        for got in proxy.requests:
            assert got.target == "http://api.example.com/x?y=z"
            assert got.headers["Host"] == "api.example.com"
            assert got.headers.getall("Proxy-Authorization") == [CREDENTIALS]
        assert proxy.connections == 1
        await transport.close()


async def test_tls_by_proxy() -> None:
    """A TLS request uses a tunnel; the proxy gets the credentials, the origin does not."""
    async with raw_server(proxy_script()) as proxy, raw_server(respond(ok()), tls=True) as origin:
        transport = AiohttpTransport(proxy=with_credentials(proxy), ssl=client_tls())
        for _ in range(3):
            assert await fetch(transport, origin.url, headers={"X-Key": "k"}) == b"{}"
        assert [got.method for got in proxy.requests] == ["CONNECT"]
        assert proxy.requests[0].headers.getall("Proxy-Authorization") == [CREDENTIALS]
        assert "X-Key" not in proxy.requests[0].headers
        assert all("Proxy-Authorization" not in got.headers for got in origin.requests)
        assert origin.connections == 1
        await transport.close()


@pytest.mark.parametrize(
    ("status", "final"),
    [("407 Proxy Authentication Required", True), ("502 Bad Gateway", False), ("403 No", True)],
)
async def test_proxy_that_refuses(status: str, final: bool) -> None:
    """A tunnel that is refused is surely unsent; the message names the proxy, without its credentials."""
    async with raw_server(proxy_script(status=status)) as proxy:
        transport = AiohttpTransport(proxy=with_credentials(proxy), ssl=client_tls())
        message = f"the proxy {proxy.url} answered status {status[:3]} to CONNECT"
        with pytest.raises(APIConnectionError, match=message) as caught:
            await fetch(transport, f"https://api.example.com/?key={KEY}")
        assert (caught.value.sent, caught.value.final) == (False, final)
        shown = "".join(traceback.format_exception(caught.value)) + repr(transport)
        assert KEY not in shown
        assert CREDENTIALS[6:] not in shown
        assert len(proxy.requests) == 1
        await transport.close()


async def test_a_proxy_may_answer_in_pieces(caplog: pytest.LogCaptureFixture) -> None:
    """A proxy's answer to a CONNECT may arrive in pieces, with a body: all of it is read."""
    said = b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nno\r\n0\r\nX: y\r\n\r\n"
    async with raw_server(drip(said, every=0)) as proxy:
        transport = AiohttpTransport(proxy=proxy.url, ssl=client_tls())
        with pytest.raises(APIConnectionError, match="answered status 403 to CONNECT"):
            await fetch(transport, "https://api.example.com/")
        await until(lambda: proxy.open_connections == 0)
        await transport.close()
    assert caplog.records == []


@pytest.mark.parametrize("script", [close(), reset()])
async def test_proxy_that_leaves(script: Script) -> None:
    """A proxy that closes the connection before it answers CONNECT received no part of the request."""
    async with raw_server(script) as proxy:
        transport = AiohttpTransport(proxy=with_credentials(proxy), ssl=client_tls())
        with pytest.raises(APIConnectionError) as caught:
            await fetch(transport, "https://api.example.com/")
        assert (caught.value.sent, caught.value.final) == (False, False)
        assert len(proxy.requests) == 1
        await transport.close()


async def test_proxy_that_hangs() -> None:
    """``connect`` counts the tunnel."""
    async with raw_server(hang()) as proxy:
        transport = AiohttpTransport(proxy=proxy.url, ssl=client_tls())
        with pytest.raises(APITimeoutError, match="connect") as caught:
            await fetch(
                transport, "https://api.example.com/", timeout=Timeout(connect=0.05).over(DEFAULT_TIMEOUT)
            )
        assert caught.value.sent is False
        await transport.close()


async def test_proxy_that_is_not_there() -> None:
    """A proxy that cannot be reached is named, without its credentials."""
    port = refusing_port()
    transport = AiohttpTransport(proxy=f"http://user:{KEY}@127.0.0.1:{port}")
    for url in ("http://api.example.com", "https://api.example.com"):
        with pytest.raises(
            APIConnectionError, match=f"the proxy http://127.0.0.1:{port}.*ECONNREFUSED"
        ) as caught:
            await fetch(transport, url)
        assert caught.value.sent is False
        assert KEY not in "".join(traceback.format_exception(caught.value))
    await transport.close()


async def test_407_of_a_plain_request() -> None:
    """To a plain request a proxy's 407 is a response like any other."""
    async with raw_server(respond(response("407 Proxy Authentication Required"))) as proxy:
        transport = AiohttpTransport(proxy=proxy.url)
        got = await transport(make("http://api.example.com"))
        assert got.status == 407
        await got.close()
        await transport.close()


async def test_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """With ``trust_env`` the proxies of the environment are used, without it not; netrc never."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine api.example.com login user password {KEY}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with raw_server(proxy_script()) as proxy, raw_server(respond(ok())) as origin:
        monkeypatch.setenv("http_proxy", with_credentials(proxy))
        monkeypatch.setenv("no_proxy", " 127.0.0.1 , other.example")
        trusting, plain = AiohttpTransport(trust_env=True), AiohttpTransport()
        assert await fetch(trusting, "http://api.example.com/") == b'"by proxy"'
        assert proxy.requests[0].headers["Proxy-Authorization"] == CREDENTIALS
        assert "Authorization" not in proxy.requests[0].headers
        assert await fetch(trusting, origin.url) == b"{}"
        monkeypatch.delenv("no_proxy")
        assert await fetch(plain, origin.url) == b"{}"
        assert len(proxy.requests) == 1
        await trusting.close()
        await plain.close()


# --- aiohttp's own middlewares


async def test_session_middlewares() -> None:
    """The client middlewares of aiohttp run around the send; their exceptions are raised unchanged."""

    class Own(Exception):
        pass

    async def mark(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        request.headers["X-Mark"] = "1"
        if request.url.path == "/own":
            raise Own
        answer: aiohttp.ClientResponse = await handler(request)
        return answer

    transport = AiohttpTransport(session_middlewares=[mark])
    async with raw_server(respond(ok())) as server:
        await fetch(transport, server.url)
        assert server.requests[0].headers["X-Mark"] == "1"
        with pytest.raises(Own):
            await fetch(transport, server.url + "/own")
    await transport.close()


async def test_request_of_a_middleware() -> None:
    """A client middleware of aiohttp may make its own requests on the session, with limits or without."""

    async def ask(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        for limits in ({}, {"timeout": aiohttp.ClientTimeout(total=60), "headers": {"X-Own": "1"}}):
            url = str(request.url.with_path("/token"))
            async with request.session.get(url, middlewares=(), **limits) as got:
                request.headers["X-Token"] = await got.text()
        answer: aiohttp.ClientResponse = await handler(request)
        return answer

    transport = AiohttpTransport(session_middlewares=[ask])
    async with raw_server(respond(ok(b"t"))) as server:
        await fetch(transport, server.url)
        assert [request.target for request in server.requests] == ["/token", "/token", "/"]
        assert ["X-Own" in request.headers for request in server.requests] == [False, True, False]
        assert server.requests[2].headers["X-Token"] == "t"
    await transport.close()


async def test_what_is_ready_is_not_copied(
    transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's session sends headers and URL unchanged, without aiohttp's own preparation."""

    def unexpected(*_: Any) -> Any:
        raise AssertionError("aiohttp prepared it")

    monkeypatch.setattr(aiohttp.ClientSession, "_prepare_headers", unexpected)
    monkeypatch.setattr(aiohttp.ClientSession, "_build_url", unexpected)
    headers = CIMultiDict([("X-Twice", "1"), ("X-Twice", "2")])
    async with raw_server(respond(ok())) as server:
        await fetch(transport, server.url, headers=headers)
        assert server.requests[0].headers.getall("X-Twice") == ["1", "2"]


async def test_digest() -> None:
    """The digest auth of aiohttp works, even with a body."""
    challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
    refusal = response("401 Unauthorized", b"", WWW_Authenticate=challenge)
    digest = aiohttp.DigestAuthMiddleware("user", KEY)
    transport = AiohttpTransport(session_middlewares=[digest])
    async with raw_server(in_turn(respond(refusal), respond(ok()))) as server:
        assert await fetch(transport, server.url, "POST", body=Body(b"x" * 100_000)) == b"{}"
        assert server.requests[1].headers["Authorization"].startswith("Digest ")
        assert [len(request.body) for request in server.requests] == [100_000] * 2
    await transport.close()


# --- a borrowed session


async def test_borrowed_session_is_left_as_it_was() -> None:
    """A borrowed session is used, never changed and never closed."""

    async def mark(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        request.headers["X-Mark"] = "1"
        answer: aiohttp.ClientResponse = await handler(request)
        return answer

    async with aiohttp.ClientSession(headers={"X-Session": "s"}, middlewares=[mark]) as session:
        before = {name: value for name, value in vars(session).items() if name != "_default_headers"}
        transport = AiohttpTransport(session=session)
        assert repr(transport) == "<AiohttpTransport borrowed session>"
        async with raw_server(respond(ok())) as server:
            await fetch(transport, server.url, headers={"X-Call": "c"})
            sent = server.requests[0].headers
            assert (sent["X-Session"], sent["X-Call"], sent["X-Mark"]) == ("s", "c", "1")
            await transport.close()
            assert not session.closed
            async with session.get(server.url) as plain:
                assert plain.status == 200
        assert {name: value for name, value in vars(session).items() if name != "_default_headers"} == before
        assert dict(session.headers) == {"X-Session": "s"}


@pytest.mark.parametrize(
    "options", [{"raise_for_status": True}, {"auto_decompress": True}, {"read_bufsize": 1}]
)
async def test_options_of_a_borrowed_session(options: dict[str, Any]) -> None:
    """A borrowed session's changes to responses do not apply to this library's."""
    async with (
        aiohttp.ClientSession(**options) as session,
        raw_server(respond(response("500 Oops", b"x"))) as server,
    ):
        got = await AiohttpTransport(session=session)(make(server.url))
        assert (got.status, await got.read()) == (500, b"x")


async def test_compression_on_a_borrowed_session() -> None:
    """The library decompresses bodies itself, so that a truncated one is detected there too."""
    async with aiohttp.ClientSession() as session:
        transport, data = AiohttpTransport(session=session), gzip.compress(b"abc" * 100)
        async with raw_server(respond(ok(data, Content_Encoding="gzip"))) as server:
            assert await fetch(transport, server.url) == b"abc" * 100
        async with raw_server(respond(ok(data[:-1], Content_Encoding="gzip"))) as server:
            with pytest.raises(APIConnectionError, match="truncated"):
                await fetch(transport, server.url)


FOREIGN: list[dict[str, Any]] = [{"headers": {"X-Key": KEY}}, {"auth": "auth"}]


@pytest.mark.parametrize("options", FOREIGN, ids=["headers", "auth"])
@pytest.mark.filterwarnings("ignore:.*auth.*:DeprecationWarning")
async def test_foreign_origin(options: dict[str, Any]) -> None:
    """Headers that a borrowed session adds are sent to the client's own origin only; a call to another is
    refused.
    """
    if "auth" in options:
        options = {"auth": aiohttp.BasicAuth("user", KEY)}
    async with aiohttp.ClientSession(**options) as session, raw_server(respond(ok())) as server:
        transport = AiohttpTransport(session=session)
        home = BaseURL(server.url)
        assert await fetch(transport, server.url + "/x", _base_url=home) == b"{}"
        foreign = server.url.replace("127.0.0.1", "localhost")
        with pytest.raises(InvalidRequestError, match="not the client's") as caught:
            await fetch(transport, foreign, _base_url=home)
        assert KEY not in str(caught.value)
        assert "X-Key" in str(caught.value) or "adds auth" in str(caught.value)
        assert await fetch(transport, foreign, _base_url=home, trusted_origins=(foreign,)) == b"{}"
        assert len(server.requests) == 2


NEUTRAL = {"User-Agent": "mine/1", "Accept": "text/x", "accept-language": "de", "Content-Language": "de"}


@pytest.mark.parametrize("way", ["redirect", "absolute URL"])
async def test_a_session_with_neutral_headers_may_go_anywhere(way: str) -> None:
    """A borrowed session with its own User-Agent follows a redirect to another origin."""
    async with raw_server(respond(ok())) as away:
        async with (
            raw_server(respond(response("302 Found", Location=f"{away.url}/x"))) as home,
            aiohttp.ClientSession(headers=NEUTRAL) as session,
            AsyncAPIClient(home.url, session=session, auth=BearerAuth(KEY)) as api,
        ):
            await api.get("/x" if way == "redirect" else f"{away.url}/x")
        assert len(away.requests) == 1
        assert KEY.encode() not in away.requests[0].head
        assert away.requests[0].headers["Accept-Language"] == "de"


@pytest.mark.parametrize("way", ["redirect", "absolute URL"])
@pytest.mark.parametrize("options", FOREIGN, ids=["headers", "auth"])
@pytest.mark.filterwarnings("ignore:.*auth.*:DeprecationWarning")
async def test_a_session_with_secrets_may_go_to_trusted_origins(options: dict[str, Any], way: str) -> None:
    """Headers that a borrowed session adds are sent to trusted origins too; other calls are refused
    unsent.
    """
    auth = aiohttp.BasicAuth("user", KEY) if "auth" in options else None
    headers = {**NEUTRAL, **options.get("headers", {})}
    async with raw_server(respond(ok())) as away:
        async with (
            raw_server(respond(response("302 Found", Location=f"{away.url}/x"))) as home,
            aiohttp.ClientSession(headers=headers, auth=auth) as session,
            AsyncAPIClient(home.url, session=session) as api,
        ):
            path = "/x" if way == "redirect" else f"{away.url}/x"
            with pytest.raises(InvalidRequestError, match="trusted_origins"):
                await api.get(path)
            assert not away.requests
            await api.with_options(trusted_origins=[away.url]).get(path)
            with pytest.raises(InvalidRequestError, match="trusted_origins"):
                await api.get(path)
        assert len(away.requests) == 1
        assert "X-Key" in away.requests[0].headers or "Authorization" in away.requests[0].headers


async def test_foreign_origin_without_secrets() -> None:
    """A session that adds nothing may call any origin."""
    async with aiohttp.ClientSession() as session, raw_server(respond(ok())) as server:
        transport = AiohttpTransport(session=session)
        assert await fetch(transport, server.url, _base_url=BaseURL("http://elsewhere.example")) == b"{}"


async def test_closed_borrowed_session() -> None:
    """The error of a borrowed session that its owner has closed differs from a connection error."""
    async with aiohttp.ClientSession() as session:
        transport = AiohttpTransport(session=session)
    with pytest.raises(ClientClosedError):
        await fetch(transport, "http://127.0.0.1")


async def test_borrowed_session_that_closes() -> None:
    """Calls that wait when the owner closes a borrowed session are ended as closed."""
    connector = aiohttp.TCPConnector(limit=1)
    session = aiohttp.ClientSession(connector=connector)
    transport = AiohttpTransport(session=session)
    async with raw_server(hang()) as server:
        calls = [asyncio.create_task(fetch(transport, server.url)) for _ in range(2)]
        await until(lambda: server.requests)
        await session.close()
        for call in calls:
            with pytest.raises(ClientClosedError):
                await asyncio.wait_for(call, 10)


async def test_borrowed_session_that_closes_while_a_body_is_read() -> None:
    """A reader gets an error when the owner closes a borrowed session, and does not wait without end."""
    for answer in (response("200 OK", None, Content_Length="9") + b"a", response("200 OK", None) + b"a"):
        session = aiohttp.ClientSession()
        transport = AiohttpTransport(session=session)
        async with raw_server(hang(answer)) as server:
            got = await transport(make(server.url))
            reading = asyncio.create_task(got.read())
            await asyncio.sleep(0)
            await session.close()
            with pytest.raises(ClientClosedError):
                await asyncio.wait_for(reading, 10)


async def test_bodies_of_a_borrowed_session_leave_nothing() -> None:
    """Many bodies on one borrowed connection leave no leftovers."""
    body = b"x" * 300_000
    async with aiohttp.ClientSession() as session, raw_server(respond(ok(body))) as server:
        transport = AiohttpTransport(session=session)
        for _ in range(10):
            assert await fetch(transport, server.url) == body
        assert server.connections == 1
        connector: Any = session.connector
        [(protocol, _)] = next(iter(connector._conns.values()))
        assert len(protocol.closed._callbacks) == 1


def test_borrowed_session_of_another_loop() -> None:
    """A borrowed session belongs to the loop that it was used on first."""

    async def use(transport: AiohttpTransport) -> None:
        await fetch(transport, f"http://127.0.0.1:{refusing_port()}")

    async def borrow() -> AiohttpTransport:
        session = aiohttp.ClientSession()
        transport = AiohttpTransport(session=session)
        with pytest.raises(APIConnectionError):
            await use(transport)
        await session.close()
        return transport

    transport = asyncio.run(borrow())
    with pytest.raises(ClientClosedError):
        asyncio.run(use(transport))


# --- lifecycle


async def test_close() -> None:
    """A closed transport is closed for good; closing it again, or unused, does no harm."""
    transport = AiohttpTransport()
    async with raw_server(respond(ok())) as server:
        await fetch(transport, server.url)
        await transport.close()
        await transport.close()
        await until(lambda: server.open_connections == 0)
        with pytest.raises(ClientClosedError, match="the transport is closed"):
            await fetch(transport, server.url)


async def test_second_loop_while_the_first_lives(transport: AiohttpTransport) -> None:
    """Another loop cannot use, or close, a session whose own loop is still there."""
    async with raw_server(respond(ok())) as server:
        await fetch(transport, server.url)

        def elsewhere() -> None:
            for attempt in (fetch(transport, server.url), transport.close()):
                with pytest.raises(ClientClosedError, match="another event loop"):
                    asyncio.run(attempt)

        await asyncio.to_thread(elsewhere)
        assert await fetch(transport, server.url) == b"{}"
        assert server.connections == 1


def test_close_after_the_loop() -> None:
    """A transport can be closed on another loop when its own has ended."""
    transport = AiohttpTransport()

    async def use() -> None:
        async with raw_server(respond(ok())) as server:
            await fetch(transport, server.url)

    with asyncio.Runner() as runner:
        runner.run(use())
    asyncio.run(transport.close())
    transport.forget_session()

    with pytest.raises(ClientClosedError):
        asyncio.run(use())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork() -> None:
    """A forked process does not share the session: its own loop is another one."""
    transport = AiohttpTransport()

    async def use() -> None:
        async with raw_server(respond(ok())) as server:
            await fetch(transport, server.url)

    with asyncio.Runner() as runner:
        runner.run(use())
        loop = transport._loop
        child = os.fork()
        if child == 0:
            status = 1
            try:
                # The child inherits the parent's loop, and runs its own.
                asyncio.run(fetch(transport, "http://127.0.0.1:1"))
            except ClientClosedError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert transport._loop is loop
        runner.run(transport.close())


async def test_two_transports_do_not_share(transport: AiohttpTransport) -> None:
    """Transports of different TLS never share a connection."""
    async with raw_server(respond(ok()), tls=True) as server:
        await fetch(transport, server.url)
        other = AiohttpTransport()
        with pytest.raises(APIConnectionError):
            await fetch(other, server.url)
        await other.close()


async def test_no_cookies(transport: AiohttpTransport) -> None:
    """A cookie that a response sets is not sent with the next request; one that is given is."""
    async with raw_server(respond(ok(Set_Cookie="a=b; Path=/"))) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        await fetch(transport, url)
        await fetch(transport, url)
        await fetch(transport, url, headers={"Cookie": "c=d"})
        assert [request.headers.get("Cookie") for request in server.requests] == [None, None, "c=d"]


async def test_many_at_once(transport: AiohttpTransport) -> None:
    """Hundreds of concurrent calls each get their own answer."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(ok(exchange.request.target.encode()))

    async with raw_server(script) as server:
        targets = [f"/{number}" for number in range(300)]
        bodies = await asyncio.gather(*(fetch(transport, server.url + target) for target in targets))
        assert bodies == [target.encode() for target in targets]


async def test_no_task_is_made(transport: AiohttpTransport) -> None:
    """A call creates no task."""
    tasks: list[int] = []

    async def script(exchange: Exchange) -> None:
        tasks.append(len(asyncio.all_tasks()))
        await exchange.send(ok())

    async with raw_server(script) as server:
        await fetch(transport, server.url)
        # This test, and the server's connection.
        assert tasks[0] <= 2


async def test_mocked(mock_wire: aioresponses) -> None:
    """With aioresponses, the calls of this library are mocked too."""
    mock_wire.get("http://api.example.com/x?y=z", payload={"a": 1}, headers={"X": "1"})
    mock_wire.post("http://api.example.com/big", body=b"x" * 1_000_000, status=201)
    mock_wire.get("http://api.example.com/broken", exception=aiohttp.ServerDisconnectedError())
    transport = AiohttpTransport()
    got = await transport(make("http://api.example.com/x?y=z"))
    assert (got.status, got.headers["X"], await got.read()) == (200, "1", b'{"a": 1}')
    got = await transport(make("http://api.example.com/big", "POST", body=Body(b"y")))
    assert (got.status, b"".join([chunk async for chunk in got.iter_bytes()])) == (201, b"x" * 1_000_000)
    with pytest.raises(APIConnectionError):
        await transport(make("http://api.example.com/broken"))
    await transport.close()


# --- arbitrary responses


MUTATIONS: list[Callable[[bytes, int], bytes]] = [
    lambda data, place: data[:place],
    lambda data, place: data[:place] + b"\0" + data[place:],
    lambda data, place: data[:place] + b"\r\n" + data[place:],
    lambda data, place: data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :],
    lambda data, place: data[:place] + data[place + 1 :],
]


@pytest.mark.parametrize("mutate", MUTATIONS)
async def test_mutated_responses(transport: AiohttpTransport, mutate: Callable[[bytes, int], bytes]) -> None:
    """Whatever a server sends, a call ends with a value or with one of our errors; the next is good."""
    good = response("200 OK", b"0123456789", Content_Type="text/plain", ETag='"x"', Connection="close")
    chunks = response("200 OK", None, Transfer_Encoding="chunked") + b"3\r\nabc\r\n0\r\n\r\n"
    data = b""

    async def script(exchange: Exchange) -> None:
        await exchange.send(data)
        exchange.close()

    async with raw_server(script) as server:
        for original in (good, chunks):
            for place in range(0, len(original), 3):
                data = mutate(original, place)
                with suppress(APIClientError):
                    await fetch(transport, server.url)
        data = good
        assert await fetch(transport, server.url) == b"0123456789"


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({"json": {"a": 1}}, b'{"a":1}'),
        ({"data": {"a": 1}}, b"a=1"),
        ({"content": "a"}, b"a"),
        ({"extra_body": {"a": 1}}, b'{"a":1}'),
    ],
)
async def test_body_that_a_mock_sees(mock_wire: aioresponses, options: dict[str, Any], data: bytes) -> None:
    """A mock of aiohttp gets the encoded bytes as data, whatever the call's argument was, and no json."""
    mock_wire.post("http://api.example.com/x", status=204)
    async with AsyncAPIClient("http://api.example.com") as client:
        await client.post("/x", None, **options)
    [[call]] = mock_wire.requests.values()

    assert call.kwargs["data"] == data
    assert "json" not in call.kwargs
