"""Typed streams from a server in this program: an open union, an error event, a resume, JSON lines.

::

    python examples/stream_events.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from aioapiclient import APIStreamError, AsyncAPIClient
from aioapiclient.streaming import JSONLStream, ReconnectPolicy, ServerSentEvent


class Delta(msgspec.Struct, tag="delta"):
    text: str


class Usage(msgspec.Struct, tag="usage"):
    tokens: int


class Price(msgspec.Struct):
    symbol: str
    price: float


async def read_answer(api: AsyncAPIClient) -> None:
    """Read an answer in pieces; events of unknown types are skipped."""
    async with api.stream("POST", "/answers", Delta | Usage, json={"question": "tea?"}) as stream:
        async for event in stream:
            match event:
                case Delta(text):
                    print("text:", text)
                case Usage(tokens):
                    print("tokens:", tokens)
    print("skipped:", stream.skipped)


async def read_until_it_fails(api: AsyncAPIClient) -> None:
    """Catch an error that the server reports in the stream, after the first words of an answer."""
    try:
        async with api.stream("POST", "/answers", Delta | Usage, json={"question": "overload?"}) as stream:
            async for event in stream:
                print("text:", event.text if isinstance(event, Delta) else "")
    except APIStreamError as error:
        print(f"failed after {error.events_seen}: {error.type}")


async def follow_log(api: AsyncAPIClient) -> None:
    """Follow a log whose connection breaks now and then; every entry arrives once."""
    policy = ReconnectPolicy(wait=0.01)
    async with api.stream("GET", "/log", str, reconnect=policy, until=is_last) as stream:
        entries = [entry async for entry in stream]
    print("log:", " ".join(entries))


async def read_prices(api: AsyncAPIClient) -> None:
    """Read JSON lines; leaving the block closes the connection."""
    async with api.stream("GET", "/prices", Price, stream_cls=JSONLStream) as stream:
        async for price in stream:
            print(f"{price.symbol}: {price.price}")
            if price.price > 101:
                break


async def show_events(api: AsyncAPIClient) -> None:
    """Print the raw events, with names and IDs."""
    async with api.stream("POST", "/answers", json={"question": "tea?"}) as stream:
        async for event in stream.events():
            print(f"{event.event}: {event.data}")


def is_last(event: ServerSentEvent) -> bool:
    return event.event == "end"


# --- the server


async def answer(request: web.Request) -> web.StreamResponse:
    response = await start(request, "text/event-stream")
    await response.write(b'event: delta\ndata: {"type":"delta","text":"Earl"}\n\n: still here\n\n')
    if "overload" in (await request.json())["question"]:
        await response.write(b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n')
        return response
    await response.write(b'event: audio\ndata: {"type":"audio","url":"/a.ogg"}\n\n')
    await response.write(b'event: delta\ndata: {"type":"delta","text":"Grey"}\n\n')
    await response.write(b'event: usage\ndata: {"type":"usage","tokens":2}\n\ndata: [DONE]\n\n')
    return response


async def log(request: web.Request) -> web.StreamResponse:
    """Send three entries from the client's position, then drop the connection."""
    response = await start(request, "text/event-stream")
    first = int(request.headers.get("Last-Event-ID", "0")) + 1
    for number in range(first, first + 3):
        if number > 8:
            await response.write(b"event: end\ndata: bye\n\n")
            return response
        await response.write(f"id: {number}\ndata: {number}\n\n".encode())
    if request.transport is not None:
        request.transport.abort()
    return response


async def prices(request: web.Request) -> web.StreamResponse:
    response = await start(request, "application/x-ndjson")
    for number in range(100):
        await response.write(b'{"symbol":"TEA","price":%d.5}\n' % (100 + number))
    return response


async def start(request: web.Request, content_type: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type})
    response.enable_chunked_encoding()
    await response.prepare(request)
    return response


@asynccontextmanager
async def server() -> AsyncGenerator[str, None]:
    app = web.Application()
    app.add_routes([web.post("/answers", answer), web.get("/log", log), web.get("/prices", prices)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def main() -> None:
    async with server() as url, AsyncAPIClient(url) as api:
        await read_answer(api)
        await read_until_it_fails(api)
        await follow_log(api)
        await read_prices(api)
        await show_events(api)


if __name__ == "__main__":
    asyncio.run(main())
