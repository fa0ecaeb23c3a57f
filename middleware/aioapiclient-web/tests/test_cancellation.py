"""A caller that disconnects, and one whose time is up: the effect on the calls made for it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aioapiclient_web import Propagate, client_ctx, inbound, problems
from aiohttp import web
from servers import turns, until

from aioapiclient import APITimeoutError, AsyncAPIClient, BearerAuth
from aioapiclient.testing import FakeClock

UP = web.AppKey("up", AsyncAPIClient)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """A service with all parts, whose handler is the test's."""

    def __init__(self, upstream: Any, handler: Handler) -> None:
        self.app = web.Application(middlewares=[inbound(), problems()])
        self.app.cleanup_ctx.append(
            client_ctx(UP, lambda app: AsyncAPIClient(upstream.url, middlewares=[Propagate()], max_retries=0))
        )
        self.app.router.add_get("/", self.handle)
        self.ends: list[str] = []  # how the handler ended
        self.requests: list[web.Request] = []
        self._handler = handler

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        try:
            response = await self._handler(request)
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise
        self.ends.append("answered")
        return response


async def one_call(request: web.Request) -> web.StreamResponse:
    """Make one call."""
    return web.json_response(await request.app[UP].get("/hang"))


async def two_tasks(request: web.Request) -> web.StreamResponse:
    """Make two concurrent calls, each in a task."""
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(request.app[UP].get("/hang"))
    return web.Response()


async def pass_on(request: web.Request) -> web.StreamResponse:
    """Pass on a stream as it arrives."""
    async with request.app[UP].open("GET", "/stream") as found:
        response = web.StreamResponse()
        await response.prepare(request)
        async for piece in found.iter_bytes():
            await response.write(piece)
    await response.write_eof()
    return response


async def go_away(url: str, upstream: Any) -> None:
    """Send a request, and close the connection once the call for it has arrived upstream."""
    async with aiohttp.ClientSession() as session:
        request = asyncio.ensure_future(session.get(url))
        await asyncio.wait_for(upstream.arrived.wait(), 10)
        request.cancel()
        await asyncio.wait([request])


# --- the caller disconnects


@pytest.mark.parametrize("handler", [one_call, two_tasks])
async def test_with_handler_cancellation_a_caller_that_leaves_cancels_its_calls(
    serve: Any, upstream: Any, handler: Handler
) -> None:
    """With handler_cancellation, the handler and its calls are cancelled, including those in tasks of a
    group.
    """
    service = Service(upstream, handler)
    url = await serve(service.app, handler_cancellation=True)
    await go_away(url, upstream)
    await asyncio.wait_for(upstream.cancelled.wait(), 10)
    await until(lambda: service.ends)
    assert service.ends == ["CancelledError"]
    assert service.app[UP].stats().calls == 0


async def test_without_handler_cancellation_the_calls_go_on(serve: Any, upstream: Any) -> None:
    """Without it, aiohttp's default, the handler and its call continue to their end."""
    service = Service(upstream, one_call)
    url = await serve(service.app, handler_cancellation=False)
    await go_away(url, upstream)
    await until(lambda: service.requests[0].transport is None)  # aiohttp has noticed the disconnect
    assert service.ends == []
    assert not upstream.cancelled.is_set()
    upstream.let_go.set()
    await until(lambda: service.ends)
    assert service.ends == ["answered"]


async def test_with_it_what_must_be_whole_is_shielded(serve: Any, upstream: Any) -> None:
    """With it, work that must not be interrupted runs in a separate task, which a disconnect does not
    cancel.
    """
    tasks: list[asyncio.Task[Any]] = []

    async def write(api: AsyncAPIClient) -> None:
        await api.get("/hang")
        await api.post("/written")

    async def shielded(request: web.Request) -> web.StreamResponse:
        tasks.append(asyncio.create_task(write(request.app[UP])))
        await asyncio.shield(tasks[0])
        return web.Response()

    service = Service(upstream, shielded)
    url = await serve(service.app, handler_cancellation=True)
    await go_away(url, upstream)
    await until(lambda: service.ends)
    upstream.let_go.set()
    await asyncio.wait_for(tasks[0], 10)
    assert service.ends == ["CancelledError"]
    assert len(upstream.headers) == 2


# --- deadlines


@pytest.mark.parametrize("handler_cancellation", [True, False])
@pytest.mark.parametrize("handler", [one_call, two_tasks])
async def test_the_time_of_the_caller_ends_its_calls(
    serve: Any, upstream: Any, handler: Handler, handler_cancellation: bool
) -> None:
    """In both cases, a caller that waits for 2 s gets a 504 if the upstream hangs, and the call is
    cancelled.
    """
    service = Service(upstream, handler)
    url = await serve(service.app, handler_cancellation=handler_cancellation)
    headers = {"X-Request-Timeout": "2"}
    with (clock := FakeClock()).install():
        async with aiohttp.ClientSession() as session:
            request = asyncio.ensure_future(session.get(url, headers=headers))
            await upstream.arrived.wait()
            clock.advance(1.94)
            await turns()
            assert not upstream.cancelled.is_set()
            clock.advance(0.02)
            async with await request as response:
                assert response.status == 504
            await upstream.cancelled.wait()
    assert {headers["X-Request-Timeout"] for headers in upstream.headers} == {"1.950"}


async def test_tasks_inherit_the_time_and_one_can_be_freed(serve: Any, upstream: Any) -> None:
    """A task that a handler starts has the request's time and headers; one in a new context has neither."""
    tasks: list[asyncio.Task[Any]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        api = request.app[UP]
        tasks.append(asyncio.create_task(api.get("/inherits")))
        tasks.append(asyncio.create_task(api.get("/free"), context=contextvars.Context()))
        return web.Response()

    service = Service(upstream, handler)
    url = await serve(service.app)
    headers = {"X-Request-Timeout": "30", "X-Request-Id": "id-1"}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers):
        await asyncio.gather(*tasks)
    names = ("X-Request-Timeout", "X-Request-Id")
    found = [[name in headers for name in names] for headers in upstream.headers]
    assert sorted(found) == [[False, False], [True, True]]


async def test_a_task_does_not_outlive_the_time(serve: Any, upstream: Any) -> None:
    """A task that continues after the response still ends at the deadline of its request."""
    tasks: list[asyncio.Task[Any]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        tasks.append(asyncio.create_task(request.app[UP].get("/hang")))
        return web.Response()

    url = await serve(Service(upstream, handler).app)
    headers = {"X-Request-Timeout": "0.2"}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 200
    with pytest.raises(APITimeoutError):
        await asyncio.wait_for(tasks[0], 10)


async def test_a_token_for_several_requests_has_no_time_of_the_first(serve: Any, upstream: Any) -> None:
    """A request whose time is up while a token is fetched leaves the fetch to the other waiting calls."""

    def make(app: web.Application) -> AsyncAPIClient:
        async def token() -> str:
            return str((await api.with_options(auth=None).get("/hang"))["login"])

        api = AsyncAPIClient(upstream.url, middlewares=[Propagate()], auth=BearerAuth(token))
        return api

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response(await request.app[UP].get("/users"))

    app = web.Application(middlewares=[inbound(), problems()])
    app.cleanup_ctx.append(client_ctx(UP, make))
    app.router.add_get("/", handler)
    url = await serve(app)
    with (clock := FakeClock()).install():
        async with aiohttp.ClientSession() as session:
            hasty = asyncio.ensure_future(session.get(url, headers={"X-Request-Timeout": "2"}))
            await upstream.arrived.wait()
            patient = asyncio.ensure_future(session.get(url, headers={"X-Request-Timeout": "60"}))
            clock.advance(3)
            assert (await hasty).status == 504
            upstream.let_go.set()
            assert (await patient).status == 200
    fetch, call = upstream.headers
    assert "X-Request-Timeout" not in fetch
    assert call["Authorization"] == "Bearer ada"


# --- streams


async def test_a_stream_is_passed_on(serve: Any, upstream: Any) -> None:
    """A service passes a stream on piece by piece."""
    url = await serve(Service(upstream, pass_on).app)
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert await response.content.read(6) == b"first,"
        upstream.let_go.set()
        assert await response.read() == b"second"


async def test_a_stream_that_breaks_is_not_whole(serve: Any, upstream: Any) -> None:
    """If a stream breaks after the head was sent, the body breaks too: no second head, no clean end."""
    upstream.breaks = True
    url = await serve(Service(upstream, pass_on).app)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await asyncio.wait_for(upstream.arrived.wait(), 10)
    head = await asyncio.wait_for(reader.readuntil(b"first,"), 10)
    upstream.let_go.set()
    rest = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"chunked" in head
    assert rest == b"\r\n"  # the end of the first chunk, and not that of the body


async def test_a_stream_ends_with_the_time_of_the_caller(serve: Any, upstream: Any) -> None:
    """A stream that lasts longer than the caller waits is cut off, here and upstream."""
    url = await serve(Service(upstream, pass_on).app)
    headers = {"X-Request-Timeout": "2"}
    with (clock := FakeClock()).install():
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            assert await response.content.read(6) == b"first,"
            clock.advance(3)
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        await upstream.cancelled.wait()


async def test_a_reader_that_leaves_ends_the_stream(serve: Any, upstream: Any) -> None:
    """With handler_cancellation, a reader that disconnects in the middle ends the stream upstream."""
    service = Service(upstream, pass_on)
    url = await serve(service.app, handler_cancellation=True)
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert await response.content.read(6) == b"first,"
        response.close()
    await asyncio.wait_for(upstream.cancelled.wait(), 10)
    await until(lambda: service.ends)
    assert service.ends == ["CancelledError"]
    assert service.app[UP].stats().streams == 0
