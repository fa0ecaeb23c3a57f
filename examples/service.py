"""A client in an aiohttp service: created at start-up, closed at shutdown, with its errors translated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import msgspec
from aiohttp import web

from aioapiclient import APIError, AsyncAPIClient, Handler, NotFoundError
from aioapiclient.testing import FakeTransport, respond


class User(msgspec.Struct):
    id: int
    login: str


USERS = web.AppKey("users", AsyncAPIClient)


def make_app(transport: Handler | None = None) -> web.Application:
    """Return the service; *transport* is for tests."""
    app = web.Application()

    async def users_client(app: web.Application) -> AsyncIterator[None]:
        async with AsyncAPIClient("https://users.example.com/v1", transport=transport) as client:
            app[USERS] = client
            yield

    app.cleanup_ctx.append(users_client)
    app.router.add_get("/hello/{id}", hello)
    return app


async def hello(request: web.Request) -> web.Response:
    """Greet a user by the name in the users API."""
    users = request.app[USERS]
    try:
        user = await users.get("/users/{id}", User, path_params=request.match_info, timeout=2)
    except NotFoundError:
        raise web.HTTPNotFound(text="no such user") from None
    except APIError as error:
        raise web.HTTPBadGateway(text=type(error).__name__) from error
    return web.Response(text=f"hello {user.login}")


async def main() -> None:
    """Serve on a free port, send three requests, and stop."""
    transport = FakeTransport(respond(json={"id": 7, "login": "ada"}), respond(404), respond(text="busy"))
    runner = web.AppRunner(make_app(transport))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        for user_id in (7, 8, 9):
            async with session.get(f"http://127.0.0.1:{port}/hello/{user_id}") as response:
                print(user_id, response.status, await response.text())
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
