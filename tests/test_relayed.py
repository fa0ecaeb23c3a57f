"""Content in a relaying service: messages of aiohttp, and responses of this library."""

from __future__ import annotations

import asyncio
import base64
import gzip
import quopri
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict
from servers import Exchange, RawServer, ok, raw_server, respond, response

from aioapiclient import OMIT, APIRequest, AsyncAPIClient, AsyncAPIResponse
from aioapiclient._body.body import Body
from aioapiclient._body.relayed import relayed
from aioapiclient._request import CallSettings
from aioapiclient.errors import InvalidRequestError, RequestNotReplayableError

LONG = bytes(range(256)) * 800

Relay = Callable[[AsyncAPIClient, web.Request], Awaitable[object]]


@asynccontextmanager
async def service(relay: Relay) -> AsyncIterator[tuple[aiohttp.ClientSession, RawServer]]:
    """A session to call a web service that relays its input by *relay*, and the upstream server."""
    async with raw_server(respond(ok())) as upstream, AsyncAPIClient(upstream.url, max_retries=0) as client:

        async def handle(request: web.Request) -> web.Response:
            try:
                await relay(client, request)
            except RequestNotReplayableError as error:
                return web.Response(status=500, text=str(error))
            return web.Response()

        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/", handle)
        async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
            yield session, upstream


async def post(session: aiohttp.ClientSession, **options: Any) -> str:
    """Call the service; return its answer."""
    async with session.post("/", **options) as response:
        return await response.text()


async def parts_of(upstream: RawServer) -> list[tuple[CIMultiDict[str], bytes]]:
    """Return the headers and the content of each part that the upstream server got last."""
    request = upstream.requests[-1]
    stream = aiohttp.StreamReader(BaseProtocol(asyncio.get_running_loop()), limit=1 << 30)
    stream.feed_data(request.body)
    stream.feed_eof()
    parts = []
    async for part in aiohttp.MultipartReader(request.headers, stream):
        assert isinstance(part, aiohttp.BodyPartReader)
        parts.append((CIMultiDict(part.headers), bytes(await part.read())))
    return parts


async def send(body: Body) -> bytes:
    """Send a body once, as a transport does, and return the bytes that the peer would get."""
    async with aclosing(aiter(body)) as chunks:
        return b"".join([chunk async for chunk in chunks])


def form(content: Any, filename: str = "tea.csv", content_type: str = "text/csv") -> aiohttp.FormData:
    """A form as a browser sends it: a field, and a file."""
    form = aiohttp.FormData({"title": "Tea"})
    form.add_field("file", content, filename=filename, content_type=content_type)
    return form


# Requests


async def test_stream_of_a_request() -> None:
    """The stream of a request is passed on in chunks."""
    async with service(lambda client, request: client.put("/", None, content=request.content)) as (
        session,
        up,
    ):
        await post(session, data=LONG)

    assert up.requests[-1].body == LONG
    assert up.requests[-1].headers["Transfer-Encoding"] == "chunked"


async def test_request() -> None:
    """A request is passed on with its length and its Content-Type."""
    async with service(lambda client, request: client.put("/", None, content=request)) as (session, up):
        await post(session, data=LONG, headers={"Content-Type": "application/x-tea"})

    assert up.requests[-1].body == LONG
    assert up.requests[-1].headers["Content-Length"] == str(len(LONG))
    assert up.requests[-1].headers["Content-Type"] == "application/x-tea"


async def test_request_that_the_server_decompressed() -> None:
    """A request that arrived compressed and is read decompressed is sent without its original length."""
    async with service(lambda client, request: client.put("/", None, content=request)) as (session, up):
        await post(session, data=gzip.compress(LONG), headers={"Content-Encoding": "gzip"})

    assert up.requests[-1].body == LONG
    assert "Content-Length" not in up.requests[-1].headers


@pytest.mark.parametrize("what", ["request", "stream"])
async def test_request_without_a_body(what: str) -> None:
    """A request without a body is passed on as a body of no bytes."""

    async def relay(client: AsyncAPIClient, request: web.Request) -> None:
        await client.put("/", None, content=request if what == "request" else request.content)

    async with service(relay) as (session, up):
        assert await post(session) == await post(session) == ""

    assert [request.headers["Content-Length"] for request in up.requests] == ["0", "0"]


async def test_request_that_was_read() -> None:
    """A request that was read before is refused: it would be passed on empty."""

    async def relay(client: AsyncAPIClient, request: web.Request) -> None:
        await request.read()
        await client.put("/", None, content=request)

    async with service(relay) as (session, up):
        assert "content has already been read" in await post(session, data=LONG)

    assert up.requests == []


async def test_flow_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the upstream server does not read, the sender must wait; then all bytes arrive."""
    chunk, count = bytes(1 << 16), 800  # 50 MB: more than all buffers in between
    sent = received = 0
    paused, go_on = asyncio.Event(), asyncio.Event()
    pause = BaseProtocol.pause_reading

    def noted(protocol: BaseProtocol) -> None:
        pause(protocol)
        if isinstance(protocol, web.RequestHandler):
            paused.set()

    monkeypatch.setattr(BaseProtocol, "pause_reading", noted)

    async def behind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        while size := int(await reader.readline(), 16):
            received += len(await reader.readexactly(size))
            await reader.readline()
        await reader.readline()
        writer.write(ok())
        await writer.drain()
        writer.close()

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(count):
            yield chunk
            sent += 1

    async def relay(request: web.Request) -> web.Response:
        async with AsyncAPIClient(f"http://127.0.0.1:{port}") as client:
            await client.put("/", None, content=request.content)
        return web.Response()

    app = web.Application()
    app.router.add_post("/", relay)
    upstream = await asyncio.start_server(behind, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    async with upstream, TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        posting = asyncio.create_task(post(session, data=chunks()))
        await asyncio.wait_for(paused.wait(), 30)
        assert sent < count
        go_on.set()
        await asyncio.wait_for(posting, 60)

    assert received == sent * len(chunk) == count * len(chunk)


# Parts and fields


@pytest.mark.parametrize("as_file", [True, False])
async def test_part_of_a_form(as_file: bool) -> None:
    """A part is passed on as it arrives, with the name of its file and its type."""

    async def relay(client: AsyncAPIClient, request: web.Request) -> None:
        async for part in await request.multipart():
            assert isinstance(part, aiohttp.BodyPartReader)
            if part.name == "file":
                await (
                    client.put("/", None, files={"f": part})
                    if as_file
                    else client.put("/", None, content=part)
                )

    async with service(relay) as (session, up):
        await post(session, data=form(LONG))
        request = up.requests[-1]
        if as_file:
            [(headers, content)] = await parts_of(up)
            assert headers["Content-Disposition"] == 'form-data; name="f"; filename="tea.csv"'
        else:
            headers, content = request.headers, request.body

    assert headers["Content-Type"] == "text/csv"
    assert content == LONG
    assert request.headers["Transfer-Encoding"] == "chunked"


async def test_names_and_types_of_the_callers_own() -> None:
    """Arguments of the client's caller override the headers of a relayed part."""

    async def relay(client: AsyncAPIClient, request: web.Request) -> None:
        async for part in await request.multipart():
            assert isinstance(part, aiohttp.BodyPartReader)
            if part.name == "file":
                await client.put("/", None, files={"f": ("tea", part, "text/x-tea", {"x-tea": "green"})})

    async with service(relay) as (session, up):
        data = aiohttp.MultipartWriter("form-data")
        part = data.append(b"a,b", {"Content-Type": "text/csv", "X-Tea": "red", "Content-Language": "en"})
        part.set_content_disposition("form-data", name="file", filename="name.csv")
        await post(session, data=data)
        [(headers, content)] = await parts_of(up)

    assert content == b"a,b"
    assert headers["Content-Disposition"] == 'form-data; name="f"; filename="tea"'
    assert (headers["Content-Type"], headers.getall("X-Tea")) == ("text/x-tea", ["green"])
    assert headers["Content-Language"] == "en"


@pytest.mark.parametrize("what", ["content", "files"])
async def test_field_of_a_form_that_was_read(what: str) -> None:
    """A FileField is sent with its length, the name of its file and its type, even twice."""

    async def relay(client: AsyncAPIClient, request: web.Request) -> None:
        field = (await request.post())["file"]
        for _ in range(2):
            await client.put("/", None, **{what: field if what == "content" else {"f": field}})

    async with service(relay) as (session, up):
        await post(session, data=form(LONG))
        assert len(up.requests) == 2
        assert up.requests[0].headers["Content-Length"]
        if what == "files":
            [(headers, content)] = await parts_of(up)
            assert headers["Content-Disposition"] == 'form-data; name="f"; filename="tea.csv"'
        else:
            headers, content = up.requests[-1].headers, up.requests[-1].body

    assert headers["Content-Type"] == "text/csv"
    assert content == LONG


async def test_part_without_a_name() -> None:
    """An omitted name is not taken from the part."""

    async def relay(client: AsyncAPIClient, request: web.Request) -> None:
        field = (await request.post())["file"]
        await client.put("/", None, files={"f": (OMIT, field)})

    async with service(relay) as (session, up):
        await post(session, data=form(b"abc"))
        [(headers, _)] = await parts_of(up)

    assert headers["Content-Disposition"] == 'form-data; name="f"'


class Part:
    """A part that arrives in pieces of any size."""

    filename = None

    def __init__(self, *pieces: bytes, **headers: str) -> None:
        self.pieces = list(pieces)
        self.headers = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})

    def at_eof(self) -> bool:
        return not self.pieces

    async def read_chunk(self, size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


@pytest.mark.parametrize("coding", ["base64", "Quoted-Printable", "binary"])
@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_part_with_a_transfer_encoding(coding: str, step: int) -> None:
    """A Content-Transfer-Encoding, which HTTP does not have, is decoded, wherever the pieces are split."""
    content = "naïve = tea\r\n".encode() * 30
    encode = {"base64": base64.encodebytes, "Quoted-Printable": quopri.encodestring, "binary": bytes}[coding]
    coded = encode(content)
    pieces = [coded[at : at + step] for at in range(0, len(coded), step)]

    assert await send(Body(Part(*pieces, Content_Transfer_Encoding=coding))) == content


async def test_part_that_is_not_base64() -> None:
    """A part with a wrong encoding raises an error that does not show it."""
    with pytest.raises(InvalidRequestError, match="is not valid base64") as caught:
        await send(Body(Part(b"abcde", Content_Transfer_Encoding="base64")))

    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ({"Content_Length": "3"}, 3),
        ({"Content_Length": "3", "Content_Disposition": "form-data; name=f"}, None),
        ({"Content_Length": "3", "Content_Transfer_Encoding": "base64"}, None),
        ({"Content_Length": "3", "Content_Encoding": "gzip"}, None),
        ({"Content_Length": "-3"}, None),
        ({}, None),
    ],
)
def test_length_of_a_part(headers: dict[str, str], size: int | None) -> None:
    """A length is used if it is that of the bytes, but not in a form (RFC 7578 §4.8)."""
    assert Body(Part(b"abc", **headers)).size == size


def test_part_that_was_read() -> None:
    """A part that is at its end is refused."""
    with pytest.raises(RequestNotReplayableError, match="already been read"):
        Body(Part())


# Responses


@asynccontextmanager
async def answers(answer: bytes) -> AsyncIterator[tuple[AsyncAPIClient, RawServer]]:
    """A client, whose server answers each GET with *answer*."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(answer if exchange.request.method == "GET" else ok())

    async with raw_server(script) as server, AsyncAPIClient(server.url, max_retries=0) as client:
        yield client, server


TEA = response(
    "200 OK", LONG, Content_Type="text/x-tea", Content_Disposition='attachment; filename="a/red tea.txt"'
)


async def test_response_of_this_library() -> None:
    """An unread response is passed on with its length and type, and its connection returns to the pool."""
    async with answers(TEA) as (client, server):
        async with client.open("GET", "/") as found:
            await client.put("/", None, content=found)
            assert found.is_closed
        await client.get("/", None)

    assert server.requests[1].body == LONG
    assert server.requests[1].headers["Content-Length"] == str(len(LONG))
    assert server.requests[1].headers["Content-Type"] == "text/x-tea"
    assert server.connections == 2


async def test_response_of_this_library_in_a_form() -> None:
    """In a form it also has the name of its file, without a path."""
    async with answers(TEA) as (client, server):
        async with client.open("GET", "/") as found:
            await client.put("/", None, files={"f": found})
        [(headers, content)] = await parts_of(server)

    assert headers["Content-Disposition"] == 'form-data; name="f"; filename="red tea.txt"'
    assert headers["Content-Type"] == "text/x-tea"
    assert content == LONG


async def test_response_that_was_read() -> None:
    """A response that was read has its bytes, as often as they are requested."""
    async with answers(TEA) as (client, _):
        found = await client.get("/", AsyncAPIResponse[bytes])
        body = Body(found)

    assert (body.content, body.content_type, body.replayable) == (LONG, "text/x-tea", True)


async def test_response_that_was_streamed_away() -> None:
    """A response whose body was consumed is refused."""
    async with answers(TEA) as (client, server), client.open("GET", "/") as found:
        assert b"".join([chunk async for chunk in found.iter_bytes()]) == LONG
        with pytest.raises(RequestNotReplayableError, match="already been read"):
            await client.put("/", None, content=found)

    assert len(server.requests) == 1


async def test_response_that_is_decompressed() -> None:
    """A response that is decompressed on the way is sent without its original length."""
    coded = response("200 OK", gzip.compress(LONG), Content_Encoding="gzip")
    async with answers(coded) as (client, server), client.open("GET", "/") as found:
        await client.put("/", None, content=found)

    assert server.requests[1].body == LONG
    assert "Content-Length" not in server.requests[1].headers


async def test_response_as_it_was_sent() -> None:
    """A response that is not decompressed is passed on compressed, with its length and its coding."""
    coded = gzip.compress(LONG)
    settings = CallSettings(decompress=False)
    request = APIRequest("GET", "https://api.example.com/", stream=True, _settings=settings)
    headers = {"Content-Encoding": "gzip", "Content-Length": str(len(coded))}
    alone = Body(AsyncAPIResponse.from_bytes(request, 200, headers, coded))
    form = Body.from_multipart({"f": AsyncAPIResponse.from_bytes(request, 200, headers, coded)})

    assert alone.size == len(coded)
    assert await send(alone) == coded
    assert b"\r\nContent-Encoding: gzip\r\n\r\n" + coded in await send(form)


async def test_response_to_head() -> None:
    """The length of an answer to HEAD is that of another body."""
    request = APIRequest("HEAD", "https://api.example.com/", stream=True)
    assert Body(AsyncAPIResponse.from_bytes(request, headers={"Content-Length": "7"})).size is None


@pytest.mark.parametrize("what", ["response", "stream"])
async def test_response_of_aiohttp(what: str) -> None:
    """A ClientResponse is passed on with its type and length, its stream alone without."""
    async with (
        answers(TEA) as (client, server),
        aiohttp.ClientSession() as session,
        session.get(server.url + "/") as found,
    ):
        await client.put("/", None, content=found if what == "response" else found.content)
        with pytest.raises(RequestNotReplayableError, match="already been read"):
            await client.put("/", None, content=found)

    sent = server.requests[1]
    assert sent.body == LONG
    assert (sent.headers.get("Content-Length"), sent.headers.get("Content-Type")) == (
        (str(len(LONG)), "text/x-tea") if what == "response" else (None, None)
    )


@pytest.mark.parametrize("value", [b"", "", None, 1, {}, [], object(), Body(b"abc")])
def test_objects_that_are_not_messages(value: object) -> None:
    """Any other object is not taken for a message."""
    assert relayed(value) is None
