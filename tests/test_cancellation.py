"""Cancellation: it ends a call as `CancelledError` at any await, and nothing follows.

`cancelling` defines how a call is cancelled at each of its awaits, and the checks afterwards. The second half
is about the turn of the loop in which a cancellation coincides with a limit.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import msgspec
import pytest
from cancelling import (
    AT_A_TURN,
    MOMENTS,
    FakeStage,
    RawStage,
    Reply,
    Routes,
    Scenario,
    Stage,
    Strike,
    cancel_at_each_await,
    eager_tasks,
    run_struck,
)
from servers import RawServer, hang, ok, raw_server, turns, until
from servers import respond as serve

from aioapiclient import (
    AiohttpTransport,
    APIRequest,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    BearerAuth,
    ClientClosedError,
    CursorPage,
    Handler,
    JSONLStream,
    NotFoundError,
    RetryPolicy,
    Timeout,
    Token,
    TokenCache,
    per_attempt,
    per_send,
)
from aioapiclient.streaming import ReconnectPolicy
from aioapiclient.testing import FakeClock, FakeTransport, respond

Work: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]
Call: TypeAlias = Callable[[Any], Coroutine[Any, Any, Any]]
Prepare: TypeAlias = Callable[[Stage], Awaitable[Work]]
MakeStage: TypeAlias = Callable[[Routes], Stage]

THING = {"id": 7}
CONTENT = bytes(range(256)) * 2000


def calling(call: Call, **options: Any) -> Prepare:
    """Prepare *call*, a function of a client that is created with *options*."""

    async def prepare(stage: Stage) -> Work:
        api = stage.make_client(**options)
        return lambda: call(api)

    return prepare


# --- calls


async def get(api: Any) -> Any:
    """A plain call."""
    return await api.get("/thing")


async def post(api: Any) -> Any:
    """A call with a body."""
    return await api.post("/thing", json={"name": "x" * 100})


async def fail(api: Any) -> Any:
    """A call that ends in a status error, whose body is read."""
    with pytest.raises(NotFoundError) as caught:
        await api.get("/thing")
    return caught.value.body


async def verdict(request: APIRequest, outcome: AsyncAPIResponse[Any]) -> bool:
    """Waits, and retries a response that reports "busy"."""
    await asyncio.sleep(0)
    return await outcome.read() == b'"busy"'


def milliseconds() -> Generator[Any, Any, None]:
    """Waits of a millisecond, as `backoff` makes them."""
    yield None
    while True:
        yield 0.001


async def open_unread(api: Any) -> bytes:
    """An unread response, read in pieces."""
    async with api.open("GET", "/file") as response:
        return b"".join([chunk async for chunk in response.iter_bytes()])


async def get_raw(api: Any) -> bytes:
    """Aiohttp's own response."""
    async with await api.get("/file", aiohttp.ClientResponse) as response:
        body: bytes = await response.read()
        return body


async def poll(api: Any) -> Any:
    """A long-running operation."""
    started = await api.post("/jobs", AsyncAPIResponse)
    return await api.poll(started, interval=0.001)


class Things(CursorPage[Any]):
    data: list[Any]


def walk(prefetch: bool) -> Call:
    """A list in pages."""

    async def call(api: Any) -> list[Any]:
        seen: list[Any] = []
        async for item in api.get_api_list("/pages", Any, Things, prefetch=prefetch):
            await asyncio.sleep(0)
            seen.append(item)
        return seen

    return call


# --- streams


def stream(**options: Any) -> Call:
    """A stream, to its end."""

    async def call(api: Any) -> list[Any]:
        path = "/lines" if options.get("stream_cls") is JSONLStream else "/events"
        async with api.stream("GET", path, **options) as items:
            return [item async for item in items]

    return call


async def stream_by_verb(api: Any) -> list[Any]:
    """A stream, opened by a verb."""
    async with await api.get("/events", stream=True) as items:
        return [item async for item in items]


async def leave_a_stream(api: Any) -> list[Any]:
    """A stream that is abandoned after its first event."""
    async with api.stream("GET", "/events") as items:
        async for item in items:
            await asyncio.sleep(0)
            return [item]
    raise AssertionError


# --- tokens


def with_tokens(*, passed: float = 0) -> Prepare:
    """A call whose token comes from a slow provider, after one *passed* seconds old."""

    async def prepare(stage: Stage) -> Work:
        asked: list[int] = []

        async def provide() -> Token:
            asked.append(1)
            await turns(3)
            return Token(f"token-{len(asked)}", 600)

        clock = FakeClock()
        api = stage.make_client(auth=BearerAuth(provide, cache=TokenCache(clock=clock.time)))
        if passed:
            await api.get("/before")
            clock.advance(passed)
        return lambda: get(api)

    return prepare


# --- middlewares


class Careful:
    """Awaits before and after, as a middleware with a lock or a log does."""

    async def __call__(self, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        await asyncio.sleep(0)
        try:
            return await handler(request)
        finally:
            await asyncio.sleep(0)


CAREFUL: dict[str, Any] = {"middlewares": [Careful(), per_attempt(Careful()), per_send(Careful())]}


# --- uploads


class Chunks:
    """A body that iterates again for each send, and waits between its pieces."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(CONTENT), 50_000):
            await asyncio.sleep(0)
            yield CONTENT[start : start + 50_000]


async def upload(api: Any) -> Any:
    """A body in chunks."""
    return await api.put("/thing", content=Chunks())


async def upload_a_form(api: Any) -> Any:
    """A multipart form with one part in chunks."""
    return await api.put("/thing", files={"a": ("a", Chunks(), "text/plain"), "b": b"b"}, data={"c": "d"})


# --- the answers


def event(number: int) -> bytes:
    """One event of a stream."""
    return b'id: %d\ndata: {"id": %d}\n\n' % (number, number)


ITEMS = [{"id": 1}, {"id": 2}]
EVENTS = Reply(event(1) + event(2) + b"data: [DONE]\n\n", content_type="text/event-stream")
BROKEN = EVENTS._replace(lost=len(event(1)) + 5)
LINES = Reply(b'{"id": 1}\n{"id": 2}\n', content_type="application/x-ndjson")
ETAG = {"ETag": '"1"'}
REST = {**ETAG, "Content-Range": f"bytes 300000-{len(CONTENT) - 1}/{len(CONTENT)}"}
PARTS = (Reply(CONTENT, 200, ETAG, lost=300_000), Reply(CONTENT[300_000:], 206, REST))
BUSY = (Reply(b"busy", 503), Reply())
JOBS = {"/jobs": (Reply(b"", 202, {"Location": "/job"}),), "/job": (Reply(b"", 202), Reply())}
PAGES = tuple(
    Reply(msgspec.json.encode({"data": [number], "next_cursor": str(number) if number < 3 else None}))
    for number in (1, 2, 3)
)
LIMITS = Timeout(total=60, attempt=30, connect=20, read=20, write=20, pool=10)
JUDGED = RetryPolicy(wait=milliseconds, jitter=float, verdict=verdict)
RECONNECT = ReconnectPolicy(wait=0.001, jitter=lambda wait: 0)

SCENARIOS = {
    "a GET": Scenario(calling(get), {}, THING, 1),
    "a GET with every limit": Scenario(calling(get, timeout=LIMITS), {}, THING, 1),
    "a POST with JSON": Scenario(calling(post), {}, THING, 1),
    "an error with a body": Scenario(calling(fail), {"/thing": (Reply(b'"none"', 404),)}, "none", 1),
    "a retry after 503": Scenario(calling(get), {"/thing": BUSY}, THING, 2),
    "a retry after a cut body": Scenario(calling(get), {"/thing": (Reply(lost=3), Reply())}, THING, 2),
    "a retry by a verdict": Scenario(
        calling(get, retry=JUDGED), {"/thing": (Reply(b'"busy"'), Reply())}, THING, 2
    ),
    "a redirect": Scenario(calling(get), {"/thing": (Reply(b"", 302, {"Location": "/there"}),)}, THING, 2),
    "a redirect elsewhere": Scenario(
        calling(get), {"/thing": (Reply(b"moved", 307, {"Location": "{other}/thing"}), Reply())}, THING, 2
    ),
    "a refused token": Scenario(with_tokens(), {"/thing": (Reply(b"no", 401), Reply())}, THING, 2),
    "a token about to expire": Scenario(with_tokens(passed=500), {}, THING, 1),
    "an expired token": Scenario(with_tokens(passed=700), {}, THING, 1),
    "events": Scenario(calling(stream()), {"/events": (EVENTS,)}, ITEMS, 1),
    "events after 503": Scenario(
        calling(stream_by_verb), {"/events": (Reply(b"busy", 503), EVENTS)}, ITEMS, 2
    ),
    "events with a reconnect": Scenario(
        calling(stream(reconnect=RECONNECT)), {"/events": (BROKEN, EVENTS)}, ITEMS, 2
    ),
    "events that are left": Scenario(calling(leave_a_stream), {"/events": (EVENTS,)}, ITEMS[:1], 1),
    "JSON lines": Scenario(calling(stream(stream_cls=JSONLStream)), {"/lines": (LINES,)}, ITEMS, 1),
    "an unread response": Scenario(calling(open_unread), {"/file": (Reply(CONTENT),)}, CONTENT, 1),
    "a poll": Scenario(calling(poll), JOBS, THING, 3),
    "pages": Scenario(calling(walk(prefetch=False)), {"/pages": PAGES}, [1, 2, 3], 3),
    "pages asked for ahead": Scenario(calling(walk(prefetch=True)), {"/pages": PAGES}, [1, 2, 3], 3),
    "pages asked for ahead and again": Scenario(
        calling(walk(prefetch=True)), {"/pages": (PAGES[0], BUSY[0], *PAGES[1:])}, [1, 2, 3], 4
    ),
    "middlewares": Scenario(calling(get, **CAREFUL), {"/thing": BUSY}, THING, 2),
    "an unread response through middlewares": Scenario(
        calling(open_unread, **CAREFUL), {"/file": (Reply(b"busy", 503), Reply(CONTENT))}, CONTENT, 2
    ),
    "an upload": Scenario(calling(upload), {"/thing": BUSY}, THING, 2, uploads=True),
    "an upload of a form": Scenario(calling(upload_a_form), {"/thing": BUSY}, THING, 2, uploads=True),
}
RAW = Scenario(calling(get_raw), {"/file": (Reply(CONTENT),)}, CONTENT, 1)


@pytest.fixture(params=["loopback", "fake"])
async def make_stage(request: pytest.FixtureRequest) -> AsyncIterator[MakeStage]:
    """Make a stage: on loopback servers, or on a transport without a network."""
    if request.param == "fake":
        yield FakeStage
        return
    async with RawStage.make_servers() as servers:
        yield lambda routes: RawStage(routes, *servers)


EAGER = pytest.param(
    True, id="eager", marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="new in Python 3.12")
)
either_task = pytest.mark.parametrize("eager", [pytest.param(False, id="lazy"), EAGER])
each_moment = pytest.mark.parametrize("moment", MOMENTS)


@either_task
@each_moment
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_cancel_at_each_await(name: str, moment: str, eager: bool, make_stage: MakeStage) -> None:
    """Cancelled at any await, a call is cancelled, sends nothing more and leaks nothing."""
    async with eager_tasks(eager):
        assert await cancel_at_each_await(SCENARIOS[name], make_stage, moment) > 1


@either_task
@each_moment
async def test_a_cancel_of_a_raw_response(moment: str, eager: bool) -> None:
    """Aiohttp's own response leaks nothing either."""
    async with eager_tasks(eager), RawStage.make_servers() as servers:
        assert await cancel_at_each_await(RAW, lambda routes: RawStage(routes, *servers), moment) > 1


@either_task
@each_moment
async def test_a_cancel_of_a_download(
    moment: str, eager: bool, make_stage: MakeStage, tmp_path: Path
) -> None:
    """Cancelled at any await, a download leaves its file complete or absent, and no other file."""

    async def download(api: Any) -> int:
        async with api.open("GET", "/file") as response:
            size: int = await response.write_to_file(tmp_path / "file")
            return size

    def settled() -> bool:
        left = set(os.listdir(tmp_path))
        return not left or (left == {"file"} and (tmp_path / "file").read_bytes() == CONTENT)

    scenario = Scenario(calling(download), {"/file": PARTS}, len(CONTENT), 2, settled=settled)
    async with eager_tasks(eager):
        assert await cancel_at_each_await(scenario, make_stage, moment) > 5


@either_task
@pytest.mark.parametrize("moment", [*MOMENTS, AT_A_TURN])
async def test_a_cancel_of_an_upload_from_the_disk(
    moment: str, eager: bool, make_stage: MakeStage, tmp_path: Path
) -> None:
    """Cancelled at any await and at any turn of the loop, an upload of files leaves none of them open."""
    (tmp_path / "things").write_bytes(CONTENT)

    async def upload_files(api: Any) -> Any:
        return await api.put("/thing", files={"a": tmp_path / "things", "b": b"b"}, data={"c": "d"})

    scenario = Scenario(calling(upload_files), {}, THING, 1, uploads=True)
    async with eager_tasks(eager):
        assert await cancel_at_each_await(scenario, make_stage, moment) > 1


@either_task
@pytest.mark.parametrize(
    "name",
    ["a GET", "a redirect", "a refused token", "events", "an unread response", "pages asked for ahead"],
)
async def test_a_cancel_at_each_turn(name: str, eager: bool, make_stage: MakeStage) -> None:
    """Cancelled at any turn of the loop, a call leaks nothing, even in other tasks."""
    async with eager_tasks(eager):
        assert await cancel_at_each_await(SCENARIOS[name], make_stage, AT_A_TURN) > 3


@either_task
@pytest.mark.parametrize("call", [upload, upload_a_form])
async def test_a_cancel_of_an_upload_at_each_turn(call: Call, eager: bool, make_stage: MakeStage) -> None:
    """Cancelled at any turn of the loop, a body stops leaving."""
    async with eager_tasks(eager):
        scenario = Scenario(calling(call), {}, THING, 1, uploads=True)
        assert await cancel_at_each_await(scenario, make_stage, AT_A_TURN) > 3


# --- one fetch of a token


@either_task
async def test_cancelling_a_call_that_waits_for_a_token(eager: bool) -> None:
    """Of three calls that wait for one token, each can be cancelled at any await: the others get it."""
    async with eager_tasks(eager):
        for place in range(3):
            number = 1
            while await _cancel_one_of_three(place, number):
                number += 1
            assert number > 3


async def _cancel_one_of_three(place: int, number: int) -> bool:
    """Return whether the call at *place* had an await of that *number*, at which it was cancelled."""
    asked: list[int] = []

    async def provide() -> str:
        asked.append(1)
        await turns(3)
        return f"token-{len(asked)}"

    def answer(request: APIRequest) -> Any:
        old = request.headers["Authorization"].endswith("token-1")
        return respond(401) if old else respond(200, json=THING)

    transport = FakeTransport(default=answer)
    async with AsyncAPIClient("http://api.invalid", auth=BearerAuth(provide), transport=transport) as api:
        strike = Strike(api.get("/thing"), number)
        calls: list[Coroutine[Any, Any, Any]] = [api.get("/thing") for _ in range(2)]
        calls.insert(place, run_struck(strike))
        tasks = [asyncio.create_task(call) for call in calls]
        await asyncio.wait(tasks)
        struck = tasks.pop(place)
        assert struck.cancelled() is bool(strike.cancels)
        assert [task.result() for task in tasks] == [THING, THING]
        assert len(asked) == 2
        assert await api.get("/thing") == THING
        assert transport.open_responses == 0
    return bool(strike.cancels)


# --- one connection


@either_task
@each_moment
async def test_cancelling_a_call_that_waits_for_the_connection(moment: str, eager: bool) -> None:
    """Of three calls that share one connection, each can be cancelled at any await: the others get it."""
    async with eager_tasks(eager), raw_server(serve(ok(b'{"id": 7}'))) as server:
        for place in range(3):
            number = 1
            while await _cancel_one_of_three_in_a_row(server.url, place, number, moment):
                number += 1
            assert number > 2


async def _cancel_one_of_three_in_a_row(url: str, place: int, number: int, moment: str) -> bool:
    """Return whether the call at *place* had an await of that *number*, at which it was cancelled."""
    transport: Any = AiohttpTransport(connector=partial(aiohttp.TCPConnector, limit=1))
    async with AsyncAPIClient(url, transport=transport) as api:
        strike = Strike(api.get("/thing"), number, moment)
        calls: list[Coroutine[Any, Any, Any]] = [api.get("/thing") for _ in range(2)]
        calls.insert(place, run_struck(strike))
        tasks = [asyncio.create_task(call) for call in calls]
        _, waiting = await asyncio.wait(tasks, timeout=10)
        assert not waiting, f"cancelled at await {number}, somebody waits for a connection that is free"
        struck = tasks.pop(place)
        assert struck.cancelled() is bool(strike.cancels)
        assert [task.result() for task in tasks] == [THING, THING]
        assert await api.get("/thing") == THING
        assert not transport._session.connector._acquired
    return bool(strike.cancels)


# --- closing the client


class Closed:
    """A middleware whose close is slow, and may fail."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure

    async def __call__(self, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        return await handler(request)

    async def close(self) -> None:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure


@either_task
@each_moment
@pytest.mark.parametrize("failure", [None, OSError("disk full")], ids=["", "and a failure"])
async def test_a_cancel_of_close(failure: Exception | None, moment: str, eager: bool) -> None:
    """Cancelled at any await, and whatever else fails, `close` is cancelled and leaves nothing open."""
    async with eager_tasks(eager), raw_server(serve(ok())) as server:
        number = 1
        while await _cancel_close(server, failure, number, moment):
            number += 1
        assert number > 2


async def _cancel_close(server: RawServer, failure: Exception | None, number: int, moment: str) -> bool:
    """Whether `close` had an await of that *number*, at which it was cancelled."""
    api = AsyncAPIClient(server.url, middlewares=[Closed(failure)])
    await api.get("/thing")
    strike = Strike(api.close(), number, moment)
    task = asyncio.create_task(run_struck(strike))
    await asyncio.wait([task])
    assert task.cancelled() is bool(strike.cancels)
    if not strike.cancels:
        assert task.exception() is failure
    assert api.is_closed()
    await until(lambda: not server.open_connections)
    return bool(strike.cancels)


# --- the turn in which a limit expires

WHEN: float = 1005.0
"""When the limit runs out: five seconds from the start of the clock."""

ORDERS = {"before": math.nextafter(WHEN, 0), "with": WHEN, "after": math.nextafter(WHEN, math.inf)}
"""When the caller's own end is due: in that very turn too, by the order of timers."""


class Stuck(aiohttp.abc.AbstractResolver):
    """DNS that never answers."""

    def __init__(self) -> None:
        self.asked = 0

    async def resolve(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


async def stuck(request: APIRequest) -> Any:
    """A server that never answers."""
    await asyncio.Event().wait()


@asynccontextmanager
async def calls_that_wait(
    limit: str, number: int
) -> AsyncIterator[tuple[AsyncAPIClient, Callable[[], bool]]]:
    """A client whose calls all wait for *limit*, of five seconds, and whether *number* of them do."""
    if limit == "connect":
        resolver = Stuck()
        connector = partial(aiohttp.TCPConnector, resolver=resolver, use_dns_cache=False)
        wire: Any = AiohttpTransport(connector=connector)
        async with AsyncAPIClient("http://api.invalid", transport=wire, timeout=Timeout(connect=5)) as api:
            yield api, lambda: resolver.asked == number
    elif limit == "read":
        async with (
            raw_server(hang()) as server,
            AsyncAPIClient(server.url, timeout=Timeout(read=5)) as api,
        ):
            yield api, lambda: len(server.requests) == number
    elif limit == "pool":
        wire = AiohttpTransport(connector=partial(aiohttp.TCPConnector, limit=1))
        async with (
            raw_server(hang()) as server,
            AsyncAPIClient(server.url, transport=wire, timeout=Timeout(pool=5)) as api,
        ):
            holder = asyncio.create_task(api.get("/holds-the-connection"))
            await turn_until(lambda: server.requests)
            yield api, lambda: sum(map(len, wire._session.connector._waiters.values())) == number
            holder.cancel()
    else:
        transport = FakeTransport(default=stuck)
        timeout = Timeout(total=5) if limit == "total" else Timeout(attempt=5 if limit == "attempt" else None)
        async with AsyncAPIClient("http://api.invalid", transport=transport, timeout=timeout) as api:
            yield api, lambda: len(transport.requests) == number


async def turn_until(condition: Callable[[], object]) -> None:
    """Let the loop turn until *condition* is true: the loop's time stands still."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it has not come about")


class Stepped:
    """A coroutine whose first step can be made anywhere, even in a timer of the loop; then it is awaited."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._steps = work.__await__()
        self._waits_for: list[Any] = []

    def begin(self) -> None:
        self._waits_for.append(next(self._steps))

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from self._waits_for
        return (yield from self._steps)


Start: TypeAlias = Callable[[AsyncAPIClient], Coroutine[Any, Any, Any]]
End: TypeAlias = Callable[["asyncio.Task[Any]"], object]


async def meet(limit: str, number: int, start: Start, end: End) -> list[asyncio.Task[Any]]:
    """Run *number* calls until *limit* expires for all of them in one turn of the loop.

    *start* makes the coroutine of one; *end* receives its task and schedules the caller's own cancellation.
    """
    clock = FakeClock()
    if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        pytest.skip("the timers of this loop follow no FakeClock")
    with clock.install():
        async with calls_that_wait(limit, number) as (api, waiting):
            loop = asyncio.get_running_loop()
            tasks = [asyncio.create_task(start(api)) for _ in range(number)]
            await turn_until(waiting)
            closing = Stepped(api.close())
            if limit == "close":
                # Its first step ends the calls.
                loop.call_at(WHEN, closing.begin)
            for task in tasks:
                end(task)
            clock.advance(10)
            await turns(10)
            await closing
            return tasks


LIMITS_THAT_MEET = ["total", "attempt", "connect", "pool", "read", "close"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limit", LIMITS_THAT_MEET)
async def test_a_cancel_in_the_turn_of_a_limit_is_not_lost(limit: str, order: str) -> None:
    """Of 1,000 cancellations in the very turn in which a limit expires, or the client closes, none is
    lost.
    """
    cancelled = 0

    def end(task: asyncio.Task[Any]) -> None:
        asyncio.get_running_loop().call_at(ORDERS[order], task.cancel)

    for _ in range(10):
        tasks = await meet(limit, 100, lambda api: api.get("/thing"), end)
        cancelled += sum(task.cancelled() for task in tasks)
    assert cancelled == 1000


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limit", LIMITS_THAT_MEET)
async def test_a_callers_timeout_in_the_turn_of_a_limit_is_theirs(limit: str, order: str) -> None:
    """A caller's `asyncio.timeout` in the very turn of a limit, or of `close`, is their TimeoutError."""

    async def start(api: AsyncAPIClient) -> None:
        async with asyncio.timeout_at(ORDERS[order]):
            await api.get("/thing")

    tasks = await meet(limit, 100, start, lambda task: None)
    assert {type(task.exception()) for task in tasks} == {TimeoutError}
    assert {task.cancelling() for task in tasks} == {0}


@pytest.mark.parametrize("limit", LIMITS_THAT_MEET)
async def test_a_limit_alone_is_ours(limit: str) -> None:
    """Without a cancellation, the same calls end with the error of the limit, or of the closing."""
    retry = {"max_retries": 0}
    tasks = await meet(limit, 10, lambda api: api.get("/thing", **retry), lambda task: None)
    errors = [task.exception() for task in tasks]
    if limit == "close":
        assert {type(error) for error in errors} == {ClientClosedError}
    else:
        assert {error.phase for error in errors if isinstance(error, APITimeoutError)} == {limit}
        assert {type(error) for error in errors} == {APITimeoutError}
