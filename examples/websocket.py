"""A WebSocket on the session of a client, alongside its calls.

::

    python examples/websocket.py

The library does not support WebSockets itself, but the session of its transport is one of aiohttp and serves
both: with one pool, one TLS context and one close. What the library adds to a call, such as the credential,
is not added here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import WSMsgType, web

from aioapiclient import AiohttpTransport, AsyncAPIClient, BearerAuth

TOKEN = "t-1"


class Room(msgspec.Struct):
    """The response of a call."""

    name: str
    members: int


class Message(msgspec.Struct):
    """A message of the WebSocket."""

    author: str
    text: str


async def main() -> None:
    """Get a room with a typed call, and read its messages."""
    async with chat() as url:
        transport = AiohttpTransport()
        async with AsyncAPIClient(url, auth=BearerAuth(TOKEN), transport=transport) as api:
            room = await api.get("/rooms/{name}", Room, path_params={"name": "tea"})
            print(f"{room.members} in {room.name}")

            headers = {"Authorization": f"Bearer {TOKEN}"}
            decoder = msgspec.json.Decoder(Message)
            async with transport.session.ws_connect(f"{url}/rooms/tea/ws", headers=headers) as websocket:
                await websocket.send_str("hello")
                async for frame in websocket:
                    if frame.type is WSMsgType.TEXT:
                        message = decoder.decode(frame.data)
                        print(f"{message.author}: {message.text}")


@asynccontextmanager
async def chat() -> AsyncGenerator[str, None]:
    """The server: a room that replies, then says goodbye."""

    async def room(request: web.Request) -> web.Response:
        return web.json_response({"name": request.match_info["name"], "members": 2})

    async def listen(request: web.Request) -> web.WebSocketResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise web.HTTPUnauthorized
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        said = await websocket.receive_str()
        await websocket.send_json({"author": "you", "text": said})
        await websocket.send_json({"author": "ada", "text": "goodbye"})
        await websocket.close()
        return websocket

    app = web.Application()
    app.add_routes([web.get("/rooms/{name}", room), web.get("/rooms/{name}/ws", listen)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
