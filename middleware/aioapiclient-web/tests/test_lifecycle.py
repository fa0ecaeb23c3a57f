"""`client_ctx`: a client lives as long as its application, and ends no call before its handler has ended."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aioapiclient_web import Propagate, client_ctx, inbound
from aiohttp import web
from servers import until

from aioapiclient import AsyncAPIClient

UP = web.AppKey("up", AsyncAPIClient)
OTHER = web.AppKey("other", AsyncAPIClient)
Handler = Callable[[web.Request], Awaitable[web.Response]]


def service(url: str, handler: Handler, key: web.AppKey[AsyncAPIClient] = UP) -> web.Application:
    """An application whose handler calls *url*."""
    app = web.Application(middlewares=[inbound(budget=60)])
    app.cleanup_ctx.append(client_ctx(key, lambda app: AsyncAPIClient(url, middlewares=[Propagate()])))
    app.router.add_get("/", handler)
    return app


async def call_hang(request: web.Request) -> web.Response:
    """Call an upstream that answers at the test's command."""
    return web.json_response(await request.app[UP].get("/hang"))


async def call_users(request: web.Request) -> web.Response:
    """Call with the client of this application, or of its parent."""
    return web.json_response(await request.config_dict[UP].get("/"))


async def get(url: str, **headers: str) -> tuple[int, Any]:
    """Send a request; return status and body."""
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, await response.json()


async def test_open_while_the_application_is(serve: Any, upstream: Any) -> None:
    """The client is available to later start-up code, and closed when the application has ended."""
    seen: list[bool] = []

    async def later(app: web.Application) -> Any:
        seen.append(app[UP].is_closed())
        yield
        seen.append(app[UP].is_closed())

    app = service(upstream.url, call_users)
    app.cleanup_ctx.append(later)
    url = await serve(app)
    assert (await get(url))[0] == 200
    await serve.stop(app)
    assert seen == [False, False]
    assert app[UP].is_closed()


async def test_shutdown_with_calls_in_flight(serve: Any, upstream: Any) -> None:
    """A service that is shutting down answers the requests in progress: their calls continue until the
    handlers end.
    """
    app = service(upstream.url, call_hang)
    url = await serve(app)
    answers = [asyncio.ensure_future(get(url)) for _ in range(5)]
    await until(lambda: len(upstream.headers) == 5)
    stopping = asyncio.ensure_future(serve.stop(app))
    await until(lambda: refuses(url))
    assert not app[UP].is_closed()
    upstream.let_go.set()
    assert await asyncio.gather(*answers) == [(200, {"late": True, "login": "ada"})] * 5
    await stopping
    assert app[UP].is_closed()
    assert not upstream.cancelled.is_set()


def refuses(url: str) -> bool:
    """Return whether the service refuses new connections."""
    try:
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 1).close()
    except ConnectionRefusedError:
        return True
    return False


async def test_shutdown_does_not_wait_for_good(serve: Any, upstream: Any) -> None:
    """A handler that outlives `shutdown_timeout` is cancelled by aiohttp, and its call with it."""
    ends: list[type[BaseException]] = []

    async def stubborn(request: web.Request) -> web.Response:
        try:
            return await call_hang(request)
        except BaseException as error:
            ends.append(type(error))
            raise

    app = service(upstream.url, stubborn)
    url = await serve(app, shutdown_timeout=0.05)
    answer = asyncio.ensure_future(get(url))
    await upstream.arrived.wait()
    await serve.stop(app)
    with pytest.raises(aiohttp.ClientError):
        await answer
    await upstream.cancelled.wait()
    assert ends == [asyncio.CancelledError]
    assert app[UP].is_closed()


async def test_a_sub_application_uses_the_client_of_its_parent(serve: Any, upstream: Any) -> None:
    """Handlers of a sub-application find the parent's client, and may use a separate one."""
    sub = service(upstream.url, call_users, OTHER)
    app = service(upstream.url, call_users)
    app.add_subapp("/sub/", sub)
    url = await serve(app)
    assert (await get(url + "/sub/"))[0] == 200
    assert app[UP] is not sub[OTHER]
    assert not sub[OTHER].is_closed()
    await serve.stop(app)
    assert app[UP].is_closed()
    assert sub[OTHER].is_closed()


async def test_two_applications_in_one_process(serve: Any, upstream: Any) -> None:
    """Two applications have separate clients under one key; the end of one does not affect the other."""
    behind = service(upstream.url, call_users)
    front = service(await serve(behind), call_users)
    url = await serve(front)
    ids = [f"id-{number}" for number in range(5)]
    await asyncio.gather(*(get(url, **{"X-Request-Id": i, "X-Request-Timeout": "30"}) for i in ids))
    assert sorted(headers["X-Request-Id"] for headers in upstream.headers) == ids
    assert all(0 < float(headers["X-Request-Timeout"]) < 29.9 for headers in upstream.headers)
    assert front[UP] is not behind[UP]
    await serve.stop(front)
    assert front[UP].is_closed()
    assert not behind[UP].is_closed()


def test_a_second_event_loop(upstream_url: str) -> None:
    """An application of the same parts runs on a second loop after the first has ended."""
    context = client_ctx(UP, lambda app: AsyncAPIClient(upstream_url, middlewares=[Propagate()]))
    reader = inbound(budget=60)

    async def run() -> int:
        app = web.Application(middlewares=[reader])
        app.cleanup_ctx.append(context)
        app.router.add_get("/", call_users)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        status, _ = await get(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await runner.cleanup()
        return status

    assert [asyncio.run(run()) for _ in range(2)] == [200, 200]


async def test_a_client_that_cannot_be_made(serve: Any) -> None:
    """An error of the function that creates the client ends the start of the application."""

    def make(app: web.Application) -> AsyncAPIClient:
        raise LookupError("no token")

    app = web.Application()
    app.cleanup_ctx.append(client_ctx(UP, make))
    with pytest.raises(LookupError, match="no token"):
        await serve(app)


@pytest.mark.parametrize(
    ("key", "make", "words"),
    [
        ("up", lambda app: None, "key must be a web.AppKey, not str"),
        (UP, AsyncAPIClient("https://api.example.com"), "make must be a function, not AsyncAPIClient"),
    ],
)
def test_what_an_argument_may_not_be(key: Any, make: Any, words: str) -> None:
    """A wrong argument is refused immediately: a client created too early would have no loop."""
    with pytest.raises(TypeError, match=words):
        client_ctx(key, make)
