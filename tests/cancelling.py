"""Cancels a call at each of its awaits in turn, and checks what is left behind.

An await counts when the outermost coroutine of the call yields to the event loop: `Strike` stands between
that coroutine and its task, sees every such turn, and so knows its number. It cancels the task, by
``Task.cancel``, in that very turn. It does not throw a `CancelledError` into the coroutine: that would not
cancel the awaited object, and would leave ``Task.cancelling`` at 0, by which code with its own limits
(`asyncio.timeout`, our scopes) tells its cancellation from the caller's.

There are three moments, because some errors occur only in one of them: see `MOMENTS`. The separate tasks of a
call, such as the sending of a body, have awaits that are not the call's: for these, `AT_A_TURN` counts the
turns of the loop.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import aiohttp
import pytest
from servers import Exchange, RawServer, raw_server, turns, until

from aioapiclient import APIRequest, AsyncAPIClient, RetryPolicy
from aioapiclient._transport.transport import AiohttpTransport
from aioapiclient.testing import FakeTransport, respond

__all__ = [
    "AT_A_TURN",
    "MOMENTS",
    "FakeStage",
    "RawStage",
    "Reply",
    "Routes",
    "Scenario",
    "Stage",
    "Strike",
    "cancel_at_each_await",
    "eager_tasks",
]

MOMENTS: Final = {
    "as it waits": "before anything else runs: what it waits for is cancelled",
    "as it came": "what it waited for is there, and is lost: the task has not gone on yet",
    "again in its cleanup": "as it waits, and once more at the await that comes next",
}


AT_A_TURN: Final = "at a turn of the loop"


class Strike:
    """Awaits *work*, counts its awaits, and cancels its task at number *at*; 0 means never.

    *note* is called twice: when the task is cancelled, and when *work* receives the cancellation, one turn of
    the loop later. Other tasks run in between.
    """

    def __init__(
        self,
        work: Coroutine[Any, Any, Any],
        at: int = 0,
        moment: str = "as it waits",
        note: Callable[[], object] = lambda: None,
    ) -> None:
        self.awaits = 0
        self.cancels = 0
        self._work = work
        self._at = at
        self._moment = moment
        self._note = note
        self._task: asyncio.Task[Any] | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        self._task = asyncio.current_task()
        if self._moment == AT_A_TURN:
            self._turn(self._at)
        resume = partial(self._work.send, None)
        while True:
            try:
                waited_for = resume()
            except StopIteration as end:
                self._task = None
                return end.value
            self.awaits += 1
            self._look(waited_for)
            try:
                yield waited_for
                resume = partial(self._work.send, None)
            except BaseException as error:
                if self.cancels == 1:
                    self._note()
                resume = partial(self._work.throw, error)

    def _turn(self, left: int) -> None:
        if self._task is None or self._task.done():
            return
        if left:
            asyncio.get_running_loop().call_soon(self._turn, left - 1)
        else:
            self._strike()

    def _look(self, waited_for: Any) -> None:
        if self._moment == AT_A_TURN:
            return
        if self.awaits == self._at:
            if self._moment == "as it came" and asyncio.isfuture(waited_for):
                # Before the task's own callback, which the task adds when it is given the future.
                waited_for.add_done_callback(self._strike)
            else:
                self._strike()
        elif self._moment == "again in its cleanup" and self.cancels and self.awaits == self._at + 1:
            self._strike()

    def _strike(self, _: object = None) -> None:
        assert self._task is not None
        if not self.cancels:
            self._note()
        self.cancels += 1
        self._task.cancel()


async def run_struck(strike: Strike) -> Any:
    """The coroutine of a task to be cancelled."""
    return await strike


@asynccontextmanager
async def eager_tasks(eager: bool) -> AsyncIterator[None]:
    """Start tasks eagerly if *eager* is true: since Python 3.12, and if the loop supports it."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    if eager:
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    try:
        if eager:
            await _try_eager(loop)
        yield
    finally:
        loop.set_task_factory(before)


async def _try_eager(loop: asyncio.AbstractEventLoop) -> None:
    work = asyncio.sleep(0)
    try:
        await loop.create_task(work)
    except TypeError:
        # uvloop 0.23 passes Python 3.13.0's own factory a keyword that it does not know.
        work.close()
        pytest.skip("this loop does not make eager tasks")


# --- the stage: a client and its server


class Reply(NamedTuple):
    """The answer to one request; the connection is *lost* after that many bytes of the body."""

    body: bytes = b'{"id": 7}'
    status: int = 200
    headers: Mapping[str, str] = {}
    content_type: str = "application/json"
    lost: int | None = None

    def pieces(self) -> list[bytes]:
        """The length without the head; two pieces, so that the reader must wait between them."""
        middle = len(self.body) // 2
        return [piece for piece in (self.body[:middle], self.body[middle:]) if piece]


Routes: TypeAlias = Mapping[str, tuple[Reply, ...]]


class Stage:
    """A client and the wire below it, for one call that is cancelled: a `RawStage` or a `FakeStage`.

    Each path has its replies, in turn; the last one is repeated.
    """

    url = "http://api.invalid"
    """The client's own origin."""

    other = "http://other.invalid"
    """Another origin, which answers the same."""

    def __init__(self, routes: Routes) -> None:
        self.routes = routes
        self.client: Any = None
        self.asked: list[str] = []
        """The path of each answered request."""

    def make_client(self, kind: type[AsyncAPIClient] = AsyncAPIClient, **options: Any) -> Any:
        """The client of this stage, with waits of a millisecond between attempts."""
        options.setdefault("retry", RetryPolicy(wait=_short_waits, jitter=float, budget=None))
        self.client = kind(self.url, transport=self.transport, **options)
        return self.client

    def reply(self, path: str) -> Reply:
        """The reply to the next request for *path*, which may have a query."""
        path = path.partition("?")[0]
        number = self.asked.count(path)
        self.asked.append(path)
        replies = self.routes.get(path, (Reply(),))
        reply = replies[min(number, len(replies) - 1)]
        headers = {name: value.format(other=self.other) for name, value in reply.headers.items()}
        return reply._replace(headers={"Content-Type": reply.content_type, **headers})

    transport: Any

    @property
    def begun(self) -> int:
        """How many sends have begun."""
        raise NotImplementedError

    @property
    def written(self) -> int:
        """The number of bytes passed to sockets, if it can be known."""
        return 0

    @property
    def held(self) -> int:
        """How many connections, or responses, are out of the pool."""
        raise NotImplementedError

    def others(self) -> set[asyncio.Task[Any]]:
        """The tasks that are the stage's own."""
        return set()

    def assert_nothing_hidden(self) -> None:
        """Check that no requests arrived except those that were sent."""


def _short_waits() -> Generator[Any, Any, None]:
    yield None
    while True:
        yield 0.001


class FakeStage(Stage):
    """A `FakeTransport`."""

    def __init__(self, routes: Routes) -> None:
        super().__init__(routes)
        self.transport = FakeTransport(default=self._answer)

    def _answer(self, request: APIRequest) -> Any:
        reply = self.reply(request.url.raw_path)
        return respond(reply.status, chunks=reply.pieces(), headers=reply.headers, cut_after=reply.lost)(
            request
        )

    @property
    def begun(self) -> int:
        return len(self.transport.requests)

    @property
    def held(self) -> int:
        return self.transport.open_responses


class RawStage(Stage):
    """Two servers on loopback; one of them is another origin."""

    def __init__(self, routes: Routes, server: RawServer, other: RawServer) -> None:
        super().__init__(routes)
        self.servers = (server, other)
        self.url, self.other = server.url, other.url
        self.transport: Any = _Transport()
        self._before = self._requests
        for server in self.servers:
            server.script = self._serve

    @classmethod
    @asynccontextmanager
    async def make_servers(cls) -> AsyncIterator[tuple[RawServer, RawServer]]:
        """The servers, for any number of stages one after the other."""

        async def nothing(exchange: Exchange) -> None:
            exchange.close()

        async with raw_server(nothing) as server, raw_server(nothing) as other:
            yield server, other

    async def _serve(self, exchange: Exchange) -> None:
        reply = self.reply(exchange.request.target)
        lines = [f"HTTP/1.1 {reply.status} Status"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        lines += [f"Content-Length: {len(reply.body)}", "", ""]
        await exchange.send("\r\n".join(lines).encode())
        left = len(reply.body) if reply.lost is None else reply.lost
        for piece in reply.pieces():
            await turns(2)
            if exchange.writer.is_closing():
                return  # the client has disconnected; uvloop treats a write now as a mistake
            await exchange.send(piece[:left])
            left -= len(piece[:left])
        if reply.lost is not None:
            exchange.close()

    @property
    def begun(self) -> int:
        return self.transport.begun

    @property
    def written(self) -> int:
        return self.transport.written

    @property
    def held(self) -> int:
        session = self.transport._session
        return 0 if session is None or session.connector is None else len(session.connector._acquired)

    @property
    def _requests(self) -> int:
        return sum(len(server.requests) for server in self.servers)

    def others(self) -> set[asyncio.Task[Any]]:
        return {task for server in self.servers for task in server._open}

    def assert_nothing_hidden(self) -> None:
        assert self._requests - self._before <= self.begun


class _Transport(AiohttpTransport):
    """Counts the sends, and the bytes passed to its sockets: asyncio's loops write through them."""

    def __init__(self) -> None:
        super().__init__(connector=self._connector)
        self.begun = 0
        self.written = 0

    def _connector(self) -> aiohttp.BaseConnector:
        return aiohttp.TCPConnector(limit=1000, limit_per_host=0, socket_factory=self._make_socket)

    def _make_socket(self, address: Any) -> socket.socket:
        family, kind, protocol, *_ = address
        made = _Socket(family, kind, protocol)
        made.sent = self._sent
        return made

    def _sent(self, count: int) -> int:
        self.written += count
        return count

    async def __call__(self, request: APIRequest, /) -> Any:
        self.begun += 1
        return await super().__call__(request)


class _Socket(socket.socket):
    sent: Callable[[int], int]

    def send(self, *arguments: Any) -> int:
        return self.sent(super().send(*arguments))

    def sendmsg(self, *arguments: Any) -> int:
        return self.sent(super().sendmsg(*arguments))


# --- one scenario, cancelled at each await


class Scenario(NamedTuple):
    """A call: the answers it gets, and how it is made.

    *prepare* is awaited with the stage, creates its client, and returns a function that makes the coroutine
    to cancel. *result* is the coroutine's result if it is not cancelled, *requests* the number of requests by
    then. With *uploads*, bytes that a socket had not yet accepted may still be sent. *settled* returns
    whether the other objects of the call are in order after a cancellation, now or soon.
    """

    prepare: Callable[[Stage], Awaitable[Callable[[], Coroutine[Any, Any, Any]]]]
    routes: Routes
    result: Any
    requests: int
    uploads: bool = False
    settled: Callable[[], bool] = lambda: True


async def cancel_at_each_await(scenario: Scenario, make_stage: Callable[[Routes], Stage], moment: str) -> int:
    """Run *scenario* once to its end, and then cancelled at each of its awaits; return their number.

    Raises `AssertionError` for a cancellation that did not end as `CancelledError`, for a request that began
    after it, for a leaked connection, task, timer or descriptor, and for a client that no longer works.
    """
    stage = make_stage(scenario.routes)
    await _run_whole(scenario, stage)
    before = _Census(stage)
    number = 0
    while True:
        number += 1
        stage = make_stage(scenario.routes)
        work = await scenario.prepare(stage)
        try:
            if not await _cancel(stage, scenario, work(), number, moment):
                break
            assert await stage.client.get("/next") == {"id": 7}
        except BaseException as error:
            error.add_note(f"Cancelled at await {number}, {moment}")
            raise
        finally:
            await stage.client.close()
        await before.comes_back(stage)
    return number - 1


async def _run_whole(scenario: Scenario, stage: Stage) -> None:
    work = await scenario.prepare(stage)
    before = len(stage.asked)
    assert await work() == scenario.result
    assert len(stage.asked) - before == scenario.requests
    await until(lambda: not stage.held)
    await stage.client.close()
    await until(lambda: not stage.others())
    await turns()


async def _cancel(
    stage: Stage, scenario: Scenario, work: Coroutine[Any, Any, Any], number: int, moment: str
) -> bool:
    """Cancel *work* at await *number*; False when it has ended before."""
    notes: list[tuple[int, int]] = []
    strike = Strike(work, number, moment, lambda: notes.append((stage.begun, stage.written)))
    loop = asyncio.get_running_loop()
    failures: list[Any] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    task = loop.create_task(run_struck(strike))
    await asyncio.wait({task}, timeout=10)
    assert task.done(), "it is still running"
    if not strike.cancels:
        loop.set_exception_handler(None)
        assert task.result() == scenario.result
        return False
    assert task.cancelled(), f"it ended otherwise: {task.exception() or task.result()!r}"
    assert task.cancelling() == strike.cancels
    await until(lambda: not stage.held)
    await turns()
    begun, written = notes[-1]
    assert stage.begun == begun, "a send began after the cancel"
    assert scenario.uploads or stage.written == written, "bytes left after the cancel"
    stage.assert_nothing_hidden()
    await until(scenario.settled)
    assert not failures, failures
    loop.set_exception_handler(None)
    return True


class _Census:
    """The current tasks, timers and descriptors; compared with these, a leftover of a stage shows."""

    def __init__(self, stage: Stage) -> None:
        self._before = self._count(stage)

    def _count(self, stage: Stage) -> tuple[set[asyncio.Task[Any]], int, int]:
        loop = asyncio.get_running_loop()
        timers = sum(not handle.cancelled() for handle in getattr(loop, "_scheduled", ()))
        files = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
        return asyncio.all_tasks() - stage.others(), timers, files

    async def comes_back(self, stage: Stage) -> None:
        """Wait until the state is as before."""
        for _ in range(5000):
            if not stage.others() and self._count(stage) == self._before:
                return
            # `until` has a timer, so it is not used here.
            await asyncio.sleep(0.001)
        raise AssertionError(f"Left behind: {self._count(stage)}, before: {self._before}")
