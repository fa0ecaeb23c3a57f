"""The lifecycle of a client: its event loop, its process, its end, and that it leaks nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import servers
from helpers import BASE, Client, Script, reply, text
from servers import ok, raw_server, turns, until

from aioapiclient import (
    APIConnectionError,
    APIRequest,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    BearerAuth,
    ClientClosedError,
    Handler,
    Token,
)
from aioapiclient.testing import respond

Wait = Callable[[asyncio.Event], Client]


@pytest.fixture
def loops() -> Iterator[Callable[[], asyncio.AbstractEventLoop]]:
    """Makes event loops, and closes them in the end."""
    made: list[asyncio.AbstractEventLoop] = []

    def make() -> asyncio.AbstractEventLoop:
        made.append(asyncio.new_event_loop())
        return made[-1]

    yield make
    for loop in made:
        loop.close()


# --- loops


def test_a_second_loop_beside_a_live_first_one_is_refused(
    loops: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """A client used from a second event loop, while its session lives on the first, raises an error and
    sends nothing.
    """
    script = Script()
    api = Client(BASE, transport=script)
    first, second = loops(), loops()
    first.run_until_complete(api.get("/x"))

    with pytest.raises(
        ClientClosedError, match=r"<Client .*> is used from a second event loop while its session"
    ):
        second.run_until_complete(api.get("/x"))
    with pytest.raises(ClientClosedError, match="belongs to another event loop; close it there"):
        second.run_until_complete(api.close())
    assert len(script.requests) == 1

    first.run_until_complete(api.get("/x"))
    first.run_until_complete(api.close())
    assert api.is_closed()


def test_a_loop_after_the_first_has_ended_is_fine() -> None:
    """After the first event loop has ended the client works on the next one."""
    script = Script()
    api = Client(BASE, transport=script)

    async def last() -> None:
        async with api:
            await api.get("/x")

    asyncio.run(api.get("/x"))
    asyncio.run(api.get("/x"))
    asyncio.run(last())

    assert len(script.requests) == 3
    assert script.is_closed


def test_a_new_session_after_the_first_loop_has_ended() -> None:
    """A client with its own session opens a new one on the second loop, and leaves no warning behind."""
    api = AsyncAPIClient("http://127.0.0.1")

    async def call() -> Any:
        async with raw_server(servers.close(ok(b"[1]"))) as server:
            return await api.get(f"{server.url}/x")

    async def close() -> None:
        await api.close()

    assert asyncio.run(call()) == [1]
    assert asyncio.run(call()) == [1]
    asyncio.run(close())
    gc.collect()


def test_a_client_can_be_closed_after_its_loop_has_ended() -> None:
    """A client whose loop has ended without it can still be closed on another."""
    script = Script()
    api = Client(BASE, transport=script)
    asyncio.run(api.get("/x"))
    asyncio.run(api.close())

    assert api.is_closed()
    assert script.is_closed


def test_a_token_outlives_its_loop() -> None:
    """A token that was fetched on a loop that has ended is used on the next."""
    asked: list[int] = []

    async def provide() -> Token:
        asked.append(1)
        return Token("t", 3600)

    script = Script()
    api = Client(BASE, auth=BearerAuth(provide), transport=script)
    asyncio.run(api.get("/x"))
    asyncio.run(api.get("/x"))
    asyncio.run(api.close())

    assert asked == [1]


FORK = """
import asyncio, os
from aioapiclient import AsyncAPIClient, ClientClosedError
from aioapiclient.testing import FakeTransport, respond

api = AsyncAPIClient("https://h", transport=FakeTransport(default=respond(204)))
asyncio.run(api.get("/x", None))
reading, writing = os.pipe()
if os.fork() == 0:
    try:
        asyncio.run(api.get("/x", None))
        said = "nothing"
    except ClientClosedError as error:
        said = str(error).replace(str(os.getppid()), "PARENT")
    os.write(writing, said.encode())
    os._exit(0)
os.close(writing)
os.wait()
print(os.read(reading, 1000).decode())
asyncio.run(api.get("/x", None))
asyncio.run(api.close())
print("the parent goes on")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no fork")
def test_a_forked_process_needs_a_client_of_its_own() -> None:
    """A client that was opened before a fork refuses calls in the child, and still works in the parent."""
    # In a separate process: forking the test process, which may have threads, is unsafe.
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK], capture_output=True, text=True, check=False
    )

    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        ("<AsyncAPIClient https://h/> was opened by process PARENT; a forked process needs its own client"),
        "the parent goes on",
    ]


async def test_a_call_in_a_task_of_its_own() -> None:
    """A call awaited outside a task cannot be cancelled; inside a task it can."""
    async with Client(BASE, transport=Script(reply(json=[1]))) as api:
        assert await asyncio.create_task(api.get("/x")) == [1]


# --- close


def waits_in_a_middleware(reached: asyncio.Event) -> Client:
    """A client whose call waits without end in a middleware."""

    async def wait(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        reached.set()
        await asyncio.Event().wait()
        return await handler(request)

    return Client(BASE, middlewares=[wait], transport=Script())


def waits_in_the_transport(reached: asyncio.Event) -> Client:
    """A client whose call waits without end for the head of its response."""

    async def wait(request: APIRequest) -> Any:
        reached.set()
        await asyncio.Event().wait()

    return Client(BASE, transport=Script(wait))


def waits_in_a_backoff(reached: asyncio.Event) -> Client:
    """A client whose call waits without end between two attempts."""

    class Sleepy(Client):
        async def _sleep_for_retry(self, seconds: float, /) -> None:
            reached.set()
            await asyncio.Event().wait()

    return Sleepy(BASE, transport=Script(reply(503)))


def waits_for_a_token(reached: asyncio.Event) -> Client:
    """A client whose call waits without end for a token."""

    async def provide() -> str:
        reached.set()
        await asyncio.Event().wait()
        return "never"

    return Client(BASE, auth=BearerAuth(provide), transport=Script())


def waits_for_a_body(reached: asyncio.Event) -> Client:
    """A client whose call waits without end for the rest of a body."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"["
        reached.set()
        await asyncio.Event().wait()

    return Client(BASE, transport=Script(lambda request: respond(200, chunks=chunks())))


def waits_in_a_hook(reached: asyncio.Event) -> Client:
    """A client whose call waits without end in a hook that runs once per send."""

    class Signing(Client):
        async def _prepare_request(self, request: APIRequest, /) -> None:
            reached.set()
            await asyncio.Event().wait()

    return Signing(BASE, transport=Script())


PLACES = [
    waits_in_a_middleware, waits_in_the_transport, waits_in_a_backoff, waits_for_a_token, waits_for_a_body,
    waits_in_a_hook,
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
async def test_close_ends_what_waits(place: Wait) -> None:
    """Wherever a call waits, `close` ends it immediately with ClientClosedError, and leaves no task
    behind.
    """
    before = asyncio.all_tasks()
    reached = asyncio.Event()
    api = place(reached)
    calls = [asyncio.create_task(api.get("/x")), asyncio.create_task(api.with_options(version="2").get("/x"))]
    await reached.wait()
    await turns()
    await api.close()
    await turns()

    assert all(call.done() for call in calls)
    for call in calls:
        with pytest.raises(ClientClosedError, match="was closed while this call was in progress"):
            await call
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("first", ["cancel", "close"])
async def test_a_cancel_in_the_same_tick_stays_a_cancel(place: Wait, first: str) -> None:
    """A caller's cancellation in the same tick as `close`, before or after it, stays a CancelledError."""
    reached = asyncio.Event()
    api = place(reached)
    call = asyncio.create_task(api.get("/x"))
    await reached.wait()
    await turns()
    if first == "cancel":
        call.cancel()
        await api.close()
    else:
        closing = asyncio.create_task(api.close())
        asyncio.get_running_loop().call_soon(call.cancel)
        await closing
    await turns()

    assert call.cancelled()


async def test_the_callers_own_timeout_is_not_an_error_of_this_library() -> None:
    """A caller's `asyncio.timeout` around a call raises the caller's TimeoutError, and the client stays
    open.
    """
    reached = asyncio.Event()
    async with waits_in_the_transport(reached) as api:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await api.get("/x")
        assert not api.is_closed()


async def test_close_can_be_called_again() -> None:
    """`close` is safe to call again, even concurrently, and closes the transport once."""
    closed: list[int] = []

    class Counting(Script):
        async def close(self) -> None:
            closed.append(1)
            await super().close()

    api = Client(BASE, transport=Counting())
    await api.get("/x")
    await asyncio.gather(api.close(), api.close())
    await api.close()
    async with api:
        pass

    assert closed == [1]
    assert api.is_closed()


async def test_a_client_that_was_never_used_closes() -> None:
    """A client that made no call closes without having opened anything."""
    api = AsyncAPIClient("http://127.0.0.1:9")
    await api.close()

    assert api.is_closed()


async def test_a_transport_without_close_is_fine() -> None:
    """A transport that is a plain function has nothing to close."""

    async def transport(request: APIRequest) -> AsyncAPIResponse[Any]:
        return AsyncAPIResponse.from_bytes(request, 204)

    async with Client(BASE, transport=transport) as api:
        await api.get("/x", None)

    assert api.is_closed()


class Closing:
    """A middleware that keeps a resource open."""

    def __init__(self) -> None:
        self.closed = 0

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        return await handler(request)

    async def close(self) -> None:
        self.closed += 1


async def test_middlewares_are_closed_with_the_client() -> None:
    """A middleware with an async `close` is closed with the client, once, on a view as well."""
    own, of_view = Closing(), Closing()
    api = Client(BASE, middlewares=[own], transport=Script())
    view = api.with_options(middlewares=[of_view])
    await api.get("/x")
    await view.get("/x")
    await view.close()
    assert (own.closed, of_view.closed) == (0, 0)
    await api.close()
    await api.close()

    assert (own.closed, of_view.closed) == (1, 1)


@dataclasses.dataclass
class ClosingData:
    """A middleware that compares by its values, so that it has no hash."""

    limit: int = 1

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        return await handler(request)

    async def close(self) -> None:
        self.limit = 0


async def test_a_middleware_without_a_hash_is_closed_too() -> None:
    """A middleware that is a dataclass, which has no hash, is accepted and closed like any other."""
    middleware = ClosingData()
    async with Client(BASE, middlewares=[middleware], transport=Script()) as api:
        await api.get("/x")

    assert middleware.limit == 0


async def test_a_close_that_fails_keeps_nothing_open() -> None:
    """If the `close` of a middleware fails, the transport is still closed, and the failure is raised."""

    class Failing(Closing):
        async def close(self) -> None:
            raise RuntimeError("cannot close")

    script = Script()
    api = Client(BASE, middlewares=[Failing()], transport=script)
    await api.get("/x")
    with pytest.raises(RuntimeError, match="cannot close"):
        await api.close()

    assert script.is_closed


async def test_a_close_that_was_cancelled_can_be_repeated() -> None:
    """A cancelled `close` can be called again, and closes the rest."""
    held = asyncio.Event()

    class Slow(Closing):
        async def close(self) -> None:
            await held.wait()

    script = Script()
    api = Client(BASE, middlewares=[Slow()], transport=script)
    await api.get("/x")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await api.close()
    held.set()
    await api.close()

    assert script.is_closed


# --- leaks


def test_a_client_that_was_never_closed_is_named() -> None:
    """A client that was used and never closed raises a ResourceWarning with its name when it is collected."""
    api = Client(BASE, transport=Script())
    asyncio.run(api.get("/x"))

    message = r"<Client https://api\.example\.com/v1> was never closed; use 'async with'"

    with pytest.warns(ResourceWarning, match=message):  # noqa: PT031
        del api
        gc.collect()


def test_a_view_that_is_dropped_warns_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    """Neither a view that is dropped, nor a client that was closed or never used, warns."""
    api = Client(BASE, transport=Script())
    asyncio.run(api.with_options(version="2").get("/x"))
    gc.collect()
    assert not recwarn.list
    asyncio.run(api.close())
    Client(BASE)
    del api
    gc.collect()

    assert not recwarn.list


async def test_no_task_is_made_for_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call through the default chain creates no task, even on a real connection."""
    made: list[Any] = []
    loop = asyncio.get_running_loop()

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(work)
        return asyncio.Task(work, loop=loop, **options)

    script = servers.respond(ok(b"[1]"))
    async with raw_server(script) as server, AsyncAPIClient(server.url, auth=BearerAuth("t")) as api:
        await api.get("/x")
        loop.set_task_factory(factory)
        try:
            for _ in range(5):
                assert await api.get("/x", list[int], timeout=30) == [1]
        finally:
            loop.set_task_factory(None)

    assert made == []


@pytest.mark.parametrize(
    "answer",
    [reply(), reply(404), text("<", "text/html"), APIConnectionError("lost")],
    ids=["200", "404", "bad", "lost"],
)
async def test_a_call_leaves_nothing_behind(answer: Any) -> None:
    """However a call ends, it leaves no task, no registration, no timer and no open response."""
    before = asyncio.all_tasks()
    script = Script(answer)
    async with Client(BASE, max_retries=1, transport=script) as api:
        try:
            await api.get("/x", dict[str, int], timeout=30)
        except Exception:
            script.requests.clear()
        assert api.stats().calls == 0
        assert script.open_responses == 0

    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    "end",
    [LookupError, APITimeoutError, ClientClosedError, asyncio.CancelledError],
    ids=lambda end: end.__name__,
)
async def test_an_unread_response_that_never_reaches_its_caller(end: type[BaseException]) -> None:
    """A middleware that is ended while it holds an unread response, whatever ends it, leaves nothing open."""

    async def middleware(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        try:
            return await handler(request)
        finally:
            if end is LookupError:
                raise LookupError("a bug")
            await asyncio.Event().wait()

    script = Script(respond(200, chunks=[b"{", b"}"]))
    async with Client(BASE, transport=script, middlewares=[middleware]) as api:

        async def call() -> None:
            async with api.open("GET", "/x", timeout=0.01 if end is APITimeoutError else 60):
                raise AssertionError("it was handed out")

        task = asyncio.create_task(call())
        await until(lambda: script.open_responses or task.done())
        if end is asyncio.CancelledError:
            task.cancel()
        elif end is ClientClosedError:
            await api.close()
        with pytest.raises(end):
            await task
        assert len(script.requests) == 1
        assert script.open_responses == 0


async def test_views_and_results_are_not_kept() -> None:
    """Views, requests and values are freed after use: memory does not grow with the number of calls."""
    kept: list[weakref.ref[Any]] = []

    async def look(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        response = await handler(request)
        kept.append(weakref.ref(response))
        return response

    async def transport(request: APIRequest) -> AsyncAPIResponse[Any]:
        return AsyncAPIResponse.from_bytes(request, 200, {"Content-Type": "application/json"}, b"[]")

    async with Client(BASE, middlewares=[look], transport=transport) as api:
        for number in range(20):
            view = api.with_options(default_headers={"A": str(number)}, version=str(number))
            kept.append(weakref.ref(view))
            await view.get("/x", timeout=float(number + 1))
            del view
        gc.collect()
        alive = [ref for ref in kept if ref() is not None]

    assert not alive


async def test_gather_of_many_calls() -> None:
    """Concurrent calls share the client, and each gets its own answer."""

    async def echo(request: APIRequest) -> AsyncAPIResponse[Any]:
        await asyncio.sleep(0)
        body = request.url.query["n"].encode()
        return AsyncAPIResponse.from_bytes(request, 200, {"Content-Type": "application/json"}, body)

    async with Client(BASE, transport=echo) as api:
        calls: list[Awaitable[Any]] = [api.get("/x", int, params={"n": number}) for number in range(50)]
        assert await asyncio.gather(*calls) == [*range(50)]
