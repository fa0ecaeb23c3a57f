"""A service that calls another server for each request, passes on a stream, and receives webhooks.

::

    python middleware/aioapiclient-web/examples/greeter.py 8080
    curl -i -H 'X-Request-Timeout: 0.5' http://127.0.0.1:8080/hello/slow

The second argument is the URL of the server to call; without it, the service starts a local server.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec
from aioapiclient_web import Propagate, Webhooks, client_ctx, inbound, problems
from aiohttp import web
from aiohttp.test_utils import TestServer

from aioapiclient import AsyncAPIClient, Open

USERS = web.AppKey("users", AsyncAPIClient)
HOOKS = web.AppKey("hooks", Webhooks)
SECRET = "whsec_dGhlIG5ldyBzZWNyZXQsIG9mIDMyIGJ5dGVzIDEyMzQ="


class User(msgspec.Struct):
    login: str


class Joined(msgspec.Struct, tag="user.joined", tag_field="type"):
    login: str


class Left(msgspec.Struct, tag="user.left", tag_field="type"):
    login: str


Event = Open[Joined | Left]  # or an unknown type, added to the API later


def make_app(users_url: str) -> web.Application:
    app = web.Application(middlewares=[inbound(budget=10), problems(pass_through=[404])])
    app.cleanup_ctx.append(
        client_ctx(USERS, lambda app: AsyncAPIClient(users_url, middlewares=[Propagate()]))
    )
    app[HOOKS] = Webhooks(SECRET)
    app.add_routes(
        [web.get("/hello/{id}", hello), web.get("/report", report), web.post("/webhooks", take_webhook)]
    )
    return app


async def hello(request: web.Request) -> web.Response:
    user = await request.app[USERS].get("/users/{id}", User, path_params=request.match_info)
    return web.json_response({"hello": user.login})


async def report(request: web.Request) -> web.StreamResponse:
    """Pass on a stream as it arrives."""
    async with request.app[USERS].open("GET", "/report") as found:
        response = web.StreamResponse(headers={"Content-Type": "text/csv"})
        await response.prepare(request)
        async for piece in found.iter_bytes():
            await response.write(piece)
    await response.write_eof()
    return response


async def take_webhook(request: web.Request) -> web.Response:
    event = request.app[HOOKS].unwrap(await request.read(), request.headers, Event)
    if isinstance(event, Joined | Left):
        print(type(event).__name__, event.login, flush=True)
    return web.Response(status=204)


# --- a server to call


async def user(request: web.Request) -> web.Response:
    if request.match_info["id"] == "slow":
        await asyncio.sleep(60)
    found = request.match_info["id"] == "7"
    return web.json_response({"login": "ada"}, status=200 if found else 404)


async def lines(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(3):
        await response.write(b"line %d\n" % number)
    return response


async def demo() -> web.Application:
    users = web.Application()
    users.add_routes([web.get("/users/{id}", user), web.get("/report", lines)])
    server = TestServer(users)
    await server.start_server()
    app = make_app(str(server.make_url("/")))

    async def stop(app: web.Application) -> None:
        await server.close()

    app.on_cleanup.append(stop)
    return app


if __name__ == "__main__":
    port, *url = sys.argv[1:] or ["8080"]
    service = make_app(*url) if url else demo()
    web.run_app(service, host="127.0.0.1", port=int(port), handler_cancellation=True)
