"""The limit on calls in flight: it is never exceeded, calls keep their order, and no slot leaks."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aioapiclient_loadcontrol import ConcurrencyLimitMiddleware
from helpers import BASE, Client, Script, reply
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from servers import Exchange, ok, raw_server, respond, turns, until
from servers import response as raw_response

from aioapiclient import (
    APIConnectionError,
    APIRequest,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    Auth,
    ClientClosedError,
    ConcurrencyLimitError,
    InvalidRequestError,
    JSONLStream,
    Middleware,
    RetryableError,
    RetryPolicy,
    Timeout,
    load_middleware,
    per_attempt,
    per_send,
)
from aioapiclient.contract import Handler
from aioapiclient.testing import FakeClock, FakeTransport, check_middleware
from aioapiclient.testing import respond as answer

Task = asyncio.Task[AsyncAPIResponse[Any]]


def get(name: object = "things", host: str = "api.example.com", **fields: Any) -> APIRequest:
    """A request of no client."""
    return APIRequest("GET", f"https://{host}/v1/{name}", **fields)


class Body:
    """A body that is there, and is read without a turn of the loop."""

    async def read(self, limit: int | None) -> bytes:
        return b"{}"

    async def read_chunk(self) -> bytes:
        return b""

    def close(self) -> None:
        """Close does nothing."""

    def abort(self, error: Exception) -> None:
        """End does nothing."""


async def unread(request: APIRequest) -> AsyncAPIResponse[Any]:
    """A handler whose responses are in flight until they are closed."""
    return AsyncAPIResponse(request, 200, CIMultiDictProxy(CIMultiDict()), Body())


async def instantly(request: APIRequest) -> AsyncAPIResponse[Any]:
    """A handler that answers immediately."""
    return AsyncAPIResponse.from_bytes(request)


class Wire:
    """A handler that holds each request until the test ends it, and counts the requests in flight."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        """The last segment of each request's path, in the order of arrival."""
        self.most = 0
        """The highest number of requests in flight."""
        self.in_flight = 0
        self._ends: dict[str, asyncio.Future[str]] = {}

    async def __call__(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        name = request.url.name
        self.entered.append(name)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        end = self._ends[name] = asyncio.get_running_loop().create_future()
        try:
            how = await end
            if how == "error":
                raise APIConnectionError("lost", request=request)
        except BaseException:
            self.in_flight -= 1
            raise
        finally:
            del self._ends[name]
        response = await unread(request) if how == "stream" else AsyncAPIResponse.from_bytes(request)
        response.on_close(self._leave)
        return response

    def _leave(self) -> None:
        self.in_flight -= 1

    @property
    def pending(self) -> list[str]:
        """The unanswered requests, in the order of arrival."""
        return [name for name, end in self._ends.items() if not end.done()]

    def end(self, name: str, how: str = "value") -> None:
        """End a request, by a ``value``, a ``stream`` or an ``error``."""
        self._ends[name].set_result(how)


class Calls:
    """Calls through one middleware, by number, each in a separate task."""

    def __init__(self, middleware: Middleware) -> None:
        self.middleware = middleware
        self.wire = Wire()
        self.tasks: list[Task] = []

    def start(self) -> None:
        """Start another call."""
        request = get(len(self.tasks))
        self.tasks.append(asyncio.ensure_future(self._run(request)))

    async def _run(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        return await self.middleware(request, self.wire)

    @property
    def queue(self) -> list[Task]:
        """The calls that have not ended and are not on the wire."""
        entered = set(self.wire.entered)
        return [
            task for number, task in enumerate(self.tasks) if str(number) not in entered and not task.done()
        ]

    @property
    def streams(self) -> list[AsyncAPIResponse[Any]]:
        """The open responses of calls that have ended."""
        ended = [task for task in self.tasks if task.done() and not task.cancelled()]
        results = [task.result() for task in ended if task.exception() is None]
        return [response for response in results if not response.is_closed]

    async def end_all(self) -> None:
        """End every call, and check its result."""
        for _ in range(10 * len(self.tasks) + 10):
            for name in self.wire.pending:
                self.wire.end(name)
            await asyncio.sleep(0)
            for response in self.streams:
                await response.close()
            if all(task.done() for task in self.tasks):
                break
        assert all(task.done() for task in self.tasks), "somebody waits for a slot that is lost"
        for response in self.streams:
            await response.close()
        await asyncio.gather(*self.tasks, return_exceptions=True)


# --- the limit


async def test_no_more_than_the_limit_reach_the_server() -> None:
    """Of thirty concurrent calls, the server has three at a time, and all are answered."""
    now, most = 0, 0

    async def count(exchange: Exchange) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.002)
        now -= 1
        await exchange.send(ok())

    limit = ConcurrencyLimitMiddleware(3)
    async with (
        raw_server(count) as server,
        AsyncAPIClient(server.url, middlewares=[per_send(limit)]) as api,
    ):
        results = await asyncio.gather(*(api.get(f"/{number}") for number in range(30)))
    assert results == [{}] * 30
    assert most == 3
    assert server.connections == 3


async def test_they_come_in_the_order_in_which_they_were_made() -> None:
    """With a limit of one, the server receives the calls in the order in which they were made."""
    async with raw_server(respond(ok())) as server:
        limit = ConcurrencyLimitMiddleware(1)
        async with AsyncAPIClient(server.url, middlewares=[per_send(limit)]) as api:
            await asyncio.gather(*(api.get(f"/{number}") for number in range(20)))
    assert [request.target for request in server.requests] == [f"/{number}" for number in range(20)]


async def test_a_slot_that_is_free_costs_no_wait() -> None:
    """A call that finds a slot never yields to the event loop: no future, no timer, no task."""
    limit = ConcurrencyLimitMiddleware(1, max_wait=1.0)
    for _ in range(3):
        with pytest.raises(StopIteration) as ended:
            limit(get(), instantly).send(None)
        assert ended.value.value.status == 200
    assert limit.in_flight == 0


# --- the queue


async def test_a_full_queue_refuses_at_once() -> None:
    """A call above the limit of the queue is refused with the figures before anything is sent; the others
    continue.
    """
    calls = Calls(ConcurrencyLimitMiddleware(2, max_waiting=3))
    for _ in range(6):
        calls.start()
    await turns()
    with pytest.raises(ConcurrencyLimitError) as caught:
        await calls.tasks[5]
    error = caught.value
    assert str(error) == (
        "GET https://api.example.com/v1/5: not sent, the queue is full: 2 in flight (limit=2), "
        "3 waiting (max_waiting=3); raise max_waiting of ConcurrencyLimitMiddleware to let more calls wait"
    )
    assert (error.limit, error.waiting, error.retries_taken) == (2, 3, 0)
    assert error.request is not None
    assert error.request.url.name == "5"
    await calls.end_all()
    assert calls.wire.entered == ["0", "1", "2", "3", "4"]


async def test_a_bulk_fetch_is_told_which_argument_to_raise() -> None:
    """Of 2,000 concurrent calls, 950 find the queue of 1,000 full; with the named argument raised, none
    does.
    """

    async def fetch(**settings: Any) -> list[Any]:
        limit = ConcurrencyLimitMiddleware(50, **settings)
        async with AsyncAPIClient(BASE, transport=Script(), middlewares=[per_send(limit)]) as api:
            calls = (api.get(f"/{number}") for number in range(2000))
            return await asyncio.gather(*calls, return_exceptions=True)

    refused = [error for error in await fetch() if isinstance(error, ConcurrencyLimitError)]
    assert len(refused) == 950
    assert all("raise max_waiting of ConcurrencyLimitMiddleware" in str(error) for error in refused)
    assert await fetch(max_waiting=2000) == [{}] * 2000


async def test_without_a_queue_no_call_waits() -> None:
    """``max_waiting=0`` refuses a call that finds no slot."""
    calls = Calls(ConcurrencyLimitMiddleware(1, max_waiting=0))
    calls.start()
    calls.start()
    await turns()
    with pytest.raises(ConcurrencyLimitError):
        await calls.tasks[1]
    await calls.end_all()


async def test_a_refusal_is_not_tried_again() -> None:
    """A refusal ends the call, even if the retry policy retries everything."""

    async def always(request: APIRequest, outcome: object) -> bool:
        return isinstance(outcome, Exception)

    script = Script(reply(200))
    limit = ConcurrencyLimitMiddleware(1, max_waiting=0)
    policy = RetryPolicy(verdict=always, retry_unsafe=True)
    async with Client(BASE, transport=script, retry=policy, middlewares=[per_send(limit)]) as api:
        async with api.open("GET", "/stream"):
            with pytest.raises(ConcurrencyLimitError):
                await api.get("/things")
        assert await api.get("/things") == {}
        assert api.waits == []
    assert script.urls == [f"{BASE}/stream", f"{BASE}/things"]


async def test_a_refusal_knows_how_often_the_call_was_tried() -> None:
    """A retry that finds no slot ends the call, and the error has the number of earlier attempts."""
    limit = ConcurrencyLimitMiddleware(1, max_waiting=0)
    held: list[AsyncAPIResponse[Any]] = []

    async def busy(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        if request.attempt == 1:
            held.append(await limit(get("stream"), unread))
        return await handler(request)

    middlewares = [per_attempt(busy), per_send(limit)]
    async with Client(BASE, transport=Script(reply(503)), middlewares=middlewares) as api:
        with pytest.raises(ConcurrencyLimitError) as caught:
            await api.get("/things")
    assert caught.value.retries_taken == 1
    assert not held[0].is_closed


async def test_the_deadline_ends_a_wait() -> None:
    """A call whose deadline passes while it waits raises APITimeoutError, and leaves the queue."""
    limit = ConcurrencyLimitMiddleware(1)
    script = Script()
    async with Client(BASE, transport=script, middlewares=[per_send(limit)]) as api:
        async with api.open("GET", "/stream"):
            with pytest.raises(APITimeoutError) as caught:
                await api.get("/things", timeout=0.01)
            assert limit.waiting == 0
        assert await api.get("/things") == {}
    assert caught.value.phase == "total"
    assert len(script.requests) == 2


async def test_the_limit_of_an_attempt_does_not_count_the_wait() -> None:
    """Waiting for a slot does not count towards the attempt's time, which begins with the slot."""
    limit = ConcurrencyLimitMiddleware(1)
    async with Client(BASE, transport=Script(), middlewares=[per_send(limit)]) as api:
        async with api.open("GET", "/stream"):
            waiting = asyncio.ensure_future(api.get("/things", timeout=Timeout(attempt=0.02)))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        assert await waiting == {}


async def test_closing_the_client_ends_a_wait() -> None:
    """A call that waits for a slot when its client is closed raises ClientClosedError."""
    limit = ConcurrencyLimitMiddleware(1)
    api = Client(BASE, transport=Script(), middlewares=[per_send(limit)])
    async with api.open("GET", "/stream"):
        waiting = asyncio.ensure_future(api.get("/things"))
        await until(lambda: limit.waiting)
        await api.close()
        with pytest.raises(ClientClosedError):
            await waiting
    assert (limit.in_flight, limit.waiting) == (0, 0)


async def test_a_wait_may_have_a_limit_of_its_own() -> None:
    """After ``max_wait`` seconds in the queue a call fails, and the calls behind it are not delayed."""
    calls = Calls(ConcurrencyLimitMiddleware(1, max_wait=0.01))
    for _ in range(2):
        calls.start()
    await turns()
    with pytest.raises(ConcurrencyLimitError) as caught:
        await calls.tasks[1]
    assert str(caught.value) == (
        "GET https://api.example.com/v1/1: not sent, no slot was free within 0.01 s: "
        "1 in flight (limit=1), 0 waiting (max_wait=0.01); "
        "raise max_wait of ConcurrencyLimitMiddleware to let calls wait longer"
    )
    calls.start()
    await turns()
    calls.wire.end("0")
    await until(lambda: calls.wire.pending == ["2"])
    await calls.end_all()


async def test_no_timer_outlives_its_wait() -> None:
    """The timer of ``max_wait`` is cancelled when the call gets its slot, and when it is cancelled."""
    loop = asyncio.get_running_loop()
    scheduled = getattr(loop, "_scheduled", None)
    if scheduled is None:
        pytest.skip("this loop does not show its timers")
    before = {id(handle) for handle in scheduled}
    calls = Calls(ConcurrencyLimitMiddleware(1, max_wait=3600))
    for _ in range(3):
        calls.start()
    await turns()
    timers = [handle for handle in scheduled if id(handle) not in before]
    assert len(timers) == 2
    calls.tasks[2].cancel()
    await calls.end_all()
    assert all(handle.cancelled() for handle in timers)


# --- slots do not leak

STEPS = (
    "start",
    "end",
    "cancel the first on the wire",
    "cancel the first in the queue",
    "cancel the last",
    "turn",
)


async def do(step: str, calls: Calls) -> None:
    """Do one step of a schedule, if it applies to any call."""
    wire, queue = calls.wire, calls.queue
    match step:
        case "start":
            calls.start()
        case "end" | "error" | "stream":
            for name in wire.pending[:1]:
                wire.end(name, "value" if step == "end" else step)
        case "cancel the first on the wire":
            for name in wire.pending[:1]:
                calls.tasks[int(name)].cancel()
        case "cancel the first in the queue":
            for task in queue[:1]:
                task.cancel()
        case "cancel the last":
            for task in queue[-1:]:
                task.cancel()
        case "close":
            for response in calls.streams[:1]:
                await response.close()
        case _:
            await asyncio.sleep(0)


async def follow(schedule: list[str] | tuple[str, ...], limit: int, max_waiting: int = 1000) -> Calls:
    """Follow a schedule from an empty line to an empty line, and see that the rules have held."""
    middleware = ConcurrencyLimitMiddleware(limit, max_waiting=max_waiting)
    calls = Calls(middleware)
    for step in schedule:
        await do(step, calls)
        assert calls.wire.in_flight <= middleware.in_flight <= limit
        assert middleware.waiting <= max_waiting
    await calls.end_all()
    numbers = [int(name) for name in calls.wire.entered]
    assert numbers == sorted(numbers), "somebody overtook"
    assert calls.wire.most <= limit
    assert (middleware.in_flight, middleware.waiting, calls.wire.in_flight) == (0, 0, 0), "a slot was lost"
    return calls


@pytest.mark.parametrize("limit", [1, 2])
async def test_no_interleaving_loses_a_slot(limit: int) -> None:
    """In any schedule of ends and cancellations of two holders and two waiting calls, over any ticks, the
    slots pass to the waiting calls in order and are free at the end, even if a call is cancelled in the
    tick in which it is granted its slot.
    """
    begun = [*["start"] * (limit + 2), "turn"]
    for schedule in itertools.product(STEPS, repeat=4):
        calls = await follow([*begun, *schedule], limit)
        for task in calls.tasks:
            assert task.cancelled() or task.exception() is None


async def test_a_cancellation_after_the_grant_is_passed_on() -> None:
    """A call that is cancelled after it was granted a slot, but before it runs, passes the slot on."""
    limit = ConcurrencyLimitMiddleware(1)
    held = await limit(get("held"), unread)
    calls = Calls(limit)
    calls.start()
    calls.start()
    await turns()
    await held.close()
    calls.tasks[0].cancel()
    assert limit.in_flight == 1
    await until(lambda: calls.wire.pending == ["1"])
    assert calls.tasks[0].cancelled()
    assert calls.wire.entered == ["1"]
    await calls.end_all()
    assert limit.in_flight == 0


async def test_a_wait_that_runs_out_in_the_tick_of_the_grant_keeps_the_slot() -> None:
    """A slot granted before the time limit is used, even if the limit passes before the call runs."""
    if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        pytest.skip("a FakeClock can move the timers of asyncio's own loops only")
    clock = FakeClock()
    with clock.install():
        limit = ConcurrencyLimitMiddleware(1, max_wait=5)
        held = await limit(get("held"), unread)
        calls = Calls(limit)
        calls.start()
        await turns()
        clock.advance(5)
        await held.close()
        await turns()
        assert calls.wire.pending == ["0"]
        await calls.end_all()
    assert limit.in_flight == 0


# Two streams end in one tick: the first grants its slot to the call that waits, the second leaves its slot
# free for a call that has just been started.
OVERTAKING = ["start", "start", "start", "turn", "stream", "stream", "turn", "start", "close", "close"]


async def test_a_new_call_does_not_overtake_one_that_was_granted_its_slot() -> None:
    """A call that finds a free slot first lets calls run that were granted theirs earlier."""
    calls = await follow(OVERTAKING, limit=2, max_waiting=1)

    assert calls.wire.entered == ["0", "1", "2", "3"]


async def test_new_calls_enter_one_after_the_other_behind_a_granted_one() -> None:
    """Several calls that find free slots in that tick keep their order, and count as in flight from the
    start.
    """
    limit = ConcurrencyLimitMiddleware(4)
    held = [await limit(get("held"), unread) for _ in range(4)]
    calls = Calls(limit)
    calls.start()
    await turns()
    for _ in range(4):
        calls.start()
    for response in held:
        await response.close()
    await asyncio.sleep(0)
    assert limit.in_flight == 4
    assert limit.waiting == 1
    await turns()
    assert calls.wire.entered == ["0", "1", "2", "3"]
    await calls.end_all()
    assert calls.wire.entered == ["0", "1", "2", "3", "4"]
    assert limit.in_flight == 0


async def test_a_new_call_that_is_cancelled_as_it_lets_others_go_first_holds_no_slot() -> None:
    """The slot of a cancelled call is free again, or passes to a waiting call."""
    limit = ConcurrencyLimitMiddleware(2)
    held = [await limit(get("held"), unread) for _ in range(2)]
    calls = Calls(limit)
    calls.start()
    await turns()
    for response in held:
        await response.close()
    new = limit(get("new"), instantly)
    new.send(None)
    assert limit.in_flight == 2
    calls.start()
    await turns()
    assert limit.waiting == 1
    with pytest.raises(asyncio.CancelledError):
        new.throw(asyncio.CancelledError())
    await turns()
    assert calls.wire.entered == ["0", "1"]
    await calls.end_all()
    assert limit.in_flight == 0


MIXED = (*STEPS, "error", "stream", "close", "turn", "start")


@example(schedule=OVERTAKING, limit=2, max_waiting=1)
@given(
    schedule=st.lists(st.sampled_from(MIXED), max_size=60),
    limit=st.integers(1, 4),
    max_waiting=st.integers(0, 5),
)
async def test_whatever_happens_the_rules_hold(schedule: list[str], limit: int, max_waiting: int) -> None:
    """With any mix of values, errors, streams and cancellations, the limit holds, calls keep their order,
    and no slot leaks.
    """
    calls = await follow(schedule, limit, max_waiting)
    for task in calls.tasks:
        error = None if task.cancelled() else task.exception()
        assert error is None or isinstance(error, APIConnectionError | ConcurrencyLimitError)
        if isinstance(error, ConcurrencyLimitError):
            assert (error.limit, error.waiting) == (limit, max_waiting)


async def test_a_call_that_is_thrown_away_leaves_the_queue() -> None:
    """A coroutine that is closed while it waits, as at the end of an event loop, leaves the queue."""
    limit = ConcurrencyLimitMiddleware(1)
    held = await limit(get("held"), unread)
    waiting = limit(get(), instantly)
    waiting.send(None)
    assert limit.waiting == 1
    waiting.close()
    assert limit.waiting == 0
    await held.close()
    assert limit.in_flight == 0


# --- how long a call holds its slot


async def test_a_stream_holds_its_slot_until_it_ends() -> None:
    """A stream is in flight until its body has ended, long after its head was there."""
    more = asyncio.Event()

    async def two_events(exchange: Exchange) -> None:
        if exchange.request.target == "/other":
            await exchange.send(ok())
        else:
            head = raw_response(body=None, Content_Type="application/jsonl", Content_Length="4")
            await exchange.send(head + b"1\n")
            await more.wait()
            await exchange.send(b"2\n")

    limit = ConcurrencyLimitMiddleware(1)
    async with (
        raw_server(two_events) as server,
        AsyncAPIClient(server.url, middlewares=[per_send(limit)]) as api,
    ):
        async with api.stream("GET", "/stream", int, stream_cls=JSONLStream) as events:
            lines = aiter(events)
            assert await anext(lines) == 1
            other = asyncio.ensure_future(api.get("/other"))
            await until(lambda: limit.waiting)
            more.set()
            await turns()
            assert len(server.requests) == 1
        assert await other == {}


async def test_a_stream_that_is_left_gives_its_slot_back() -> None:
    """``break`` is an end, and so is an error in the middle of a stream."""

    async def endless(exchange: Exchange) -> None:
        head = raw_response(body=None, Content_Type="application/jsonl", Content_Length="100")
        await exchange.send(head + (b"1\n" if exchange.index < 2 else b"broken\n"))

    limit = ConcurrencyLimitMiddleware(1)
    async with (
        raw_server(endless) as server,
        AsyncAPIClient(server.url, middlewares=[per_send(limit)]) as api,
    ):
        events = await api.get("/stream", int, stream=True)
        assert limit.in_flight == 1
        await events.close()
        assert limit.in_flight == 0
        async with api.stream("GET", "/stream", int, stream_cls=JSONLStream) as lines:
            async for _ in lines:
                assert limit.in_flight == 1
                break
        assert limit.in_flight == 0
        with pytest.raises(Exception, match="malformed"):
            async with api.stream("GET", "/stream", int, stream_cls=JSONLStream) as lines:
                async for _ in lines:
                    pass
        assert limit.in_flight == 0


async def test_the_raw_response_of_aiohttp_holds_its_slot_until_it_is_done_with() -> None:
    """A call that returns aiohttp's own response is in flight until that response is read or closed."""
    limit = ConcurrencyLimitMiddleware(1)
    async with (
        raw_server(respond(ok(b"x" * (1 << 20)))) as server,
        AsyncAPIClient(server.url, middlewares=[per_send(limit)]) as api,
    ):
        raw = await api.get("/", aiohttp.ClientResponse)
        assert limit.in_flight == 1
        assert len(await raw.read()) == 1 << 20
        assert limit.in_flight == 0
        raw = await api.get("/", aiohttp.ClientResponse)
        raw.close()
        assert limit.in_flight == 0


async def test_a_failure_gives_the_slot_back() -> None:
    """Statuses, lost connections, invalid bodies and bugs all release the slot, once."""

    async def bug(request: APIRequest) -> AsyncAPIResponse[Any]:
        raise LookupError

    limit = ConcurrencyLimitMiddleware(2)
    outcomes = (reply(404), answer(200, text="[1", cut_after=1), answer(200, text="[1]"), bug, reply(200))
    async with Client(BASE, max_retries=0, transport=Script(*outcomes), middlewares=[per_send(limit)]) as api:
        for _ in range(4):
            with pytest.raises(Exception):  # noqa: B017, PT011 - each another one
                await api.get("/things", dict[str, int])
            assert limit.in_flight == 0
        assert await api.get("/things") == {}


async def test_a_call_without_a_response_releases_the_slot() -> None:
    """A handler that forgets to return costs an error, and no slot."""

    async def forgets(request: APIRequest) -> Any:
        return None

    limit = ConcurrencyLimitMiddleware(1)
    with pytest.raises(AttributeError):
        await limit(get(), forgets)
    assert limit.in_flight == 0


async def test_a_response_that_is_to_be_tried_again_holds_its_slot() -> None:
    """The open response of a `RetryableError` is in flight until the handler of the error closes it."""

    async def wants_another(request: APIRequest) -> AsyncAPIResponse[Any]:
        raise RetryableError(response=await unread(request))

    limit = ConcurrencyLimitMiddleware(1)
    with pytest.raises(RetryableError) as caught:
        await limit(get(), wants_another)
    assert caught.value.response is not None
    assert limit.in_flight == 1
    await caught.value.response.close()
    assert limit.in_flight == 0


@pytest.mark.parametrize("place", [per_attempt, per_send])
async def test_a_slot_is_free_while_a_retry_waits(place: Callable[[Middleware], Middleware]) -> None:
    """Inside the retries, a call that waits for its next attempt holds no slot."""
    in_flight: list[int] = []

    class Watching(Client):
        async def _sleep_for_retry(self, seconds: float, /) -> None:
            in_flight.append(limit.in_flight)

    limit = ConcurrencyLimitMiddleware(1)
    async with Watching(BASE, transport=Script(reply(503), reply(200)), middlewares=[place(limit)]) as api:
        assert await api.get("/things") == {}
    assert in_flight == [0]


async def test_outside_the_retries_the_slot_is_the_whole_calls() -> None:
    """Without per_send it runs outside the retries, and a call holds its slot while a retry waits."""
    in_flight: list[int] = []

    class Watching(Client):
        async def _sleep_for_retry(self, seconds: float, /) -> None:
            in_flight.append(limit.in_flight)

    limit = ConcurrencyLimitMiddleware(1)
    async with Watching(BASE, transport=Script(reply(503), reply(200)), middlewares=[limit]) as api:
        assert await api.get("/things") == {}
    assert in_flight == [1]


class LoggingIn(Auth):
    """A credential that requests a token from the API itself by a separate call, renewed by another."""

    def __init__(self) -> None:
        self._api: AsyncAPIClient | None = None
        self._token = ""

    def bind(self, client: AsyncAPIClient) -> None:
        """Receive the client for the calls."""
        self._api = client

    async def authenticate(self, request: APIRequest, /) -> None:
        """Set the header."""
        if not self._token:
            await self._fetch()
        request.headers["Authorization"] = f"Bearer {self._token}"

    async def refresh(self, request: APIRequest, response_: AsyncAPIResponse[Any], /) -> bool:
        """Fetch another token."""
        await self._fetch()
        return True

    async def _fetch(self) -> None:
        assert self._api is not None
        self._token = (await self._api.post("/token"))["token"]


async def test_a_credential_is_fetched_without_a_slot_of_its_own() -> None:
    """Per send, a limit of one is enough for a call, the call for its token, its renewal and its redirect."""
    tokens = itertools.count(1)

    def serve(request: APIRequest) -> Any:
        if request.url.name == "token":
            return reply(200, {"token": f"t{next(tokens)}"})
        if request.headers["Authorization"] == "Bearer t1":
            return reply(401)
        return reply(200, {"id": 7}) if request.url.name == "moved" else reply(302, Location="/v1/moved")

    transport = FakeTransport(default=serve)
    limit = ConcurrencyLimitMiddleware(1, max_waiting=0)
    middlewares = [per_send(limit)]
    async with Client(BASE, transport=transport, auth=LoggingIn(), middlewares=middlewares) as api:
        assert await api.get("/things") == {"id": 7}
    paths = [request.url.path for request in transport.requests]
    assert paths == ["/v1/token", "/v1/things", "/v1/token", "/v1/things", "/v1/moved"]


async def test_outside_auth_the_call_for_a_credential_needs_a_slot_of_its_own() -> None:
    """Per attempt, a call holds its slot while the call for its token waits for another one."""
    transport = FakeTransport(default=reply(200, {"token": "t1"}))
    limit = ConcurrencyLimitMiddleware(1, max_waiting=0)
    middlewares = [per_attempt(limit)]
    async with Client(BASE, transport=transport, auth=LoggingIn(), middlewares=middlewares) as api:
        with pytest.raises(ConcurrencyLimitError) as caught:
            await api.get("/things")
    assert caught.value.request is not None
    assert caught.value.request.url.path == "/v1/token"
    assert transport.requests == []


# --- origins


async def test_a_slow_origin_keeps_no_other_waiting() -> None:
    """The limit is per origin: each has a separate queue."""
    limit = ConcurrencyLimitMiddleware(1, max_waiting=0)
    held = await limit(get(), unread)
    with pytest.raises(ConcurrencyLimitError):
        await limit(get("others", "API.example.com:443"), instantly)
    assert (await limit(get(host="files.example.com"), instantly)).status == 200
    await held.close()


async def test_one_limit_for_all_origins() -> None:
    """``per_origin=False`` is one limit and one queue for all origins."""
    limit = ConcurrencyLimitMiddleware(1, max_waiting=0, per_origin=False)
    held = await limit(get(), unread)
    with pytest.raises(ConcurrencyLimitError):
        await limit(get(host="files.example.com"), instantly)
    await held.close()


async def test_origins_are_not_remembered_without_end() -> None:
    """Any number of origins uses the memory of a thousand, and an origin in use is never forgotten."""
    limit = ConcurrencyLimitMiddleware(1, max_waiting=0)
    held = await limit(get(host="held.example.com"), unread)

    async def most_memory(numbers: range) -> int:
        tracemalloc.reset_peak()
        for number in numbers:
            await limit(get(host=f"h{number}.example.com"), instantly)
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        of_some = await most_memory(range(1500))
        assert await most_memory(range(1500, 6000)) < 1.2 * of_some
    finally:
        tracemalloc.stop()
    with pytest.raises(ConcurrencyLimitError):
        await limit(get(host="held.example.com"), instantly)
    await held.close()
    assert (await limit(get(host="held.example.com"), instantly)).status == 200


async def test_stats_count_per_origin() -> None:
    """`stats` has the limit and the calls in flight and waiting of each origin in use, and of no other."""
    limit = ConcurrencyLimitMiddleware(1)
    held = await limit(get(), unread)
    waiting = asyncio.ensure_future(limit(get(), instantly))
    await turns()
    other = await limit(get(host="files.example.com"), unread)

    assert limit.stats() == {
        "https://api.example.com": {"limit": 1, "in_flight": 1, "waiting": 1},
        "https://files.example.com": {"limit": 1, "in_flight": 1, "waiting": 0},
    }
    await held.close()
    await other.close()
    await waiting
    assert limit.stats() == {}


async def test_stats_of_one_limit_for_all_origins() -> None:
    """Where all origins share one limit, `stats` has one entry, under ``*``."""
    limit = ConcurrencyLimitMiddleware(2, per_origin=False)
    held = await limit(get(), unread)

    assert limit.stats() == {"*": {"limit": 2, "in_flight": 1, "waiting": 0}}
    await held.close()


# --- one client after another


def test_what_an_event_loop_left_behind_takes_no_slot_of_the_next() -> None:
    """A stream that was not closed when its event loop ended holds no slot on the next loop."""
    limit = ConcurrencyLimitMiddleware(1, max_waiting=0)

    async def leave_one_open() -> None:
        await limit(get(), unread)
        assert limit.in_flight == 1

    async def call() -> int:
        return (await limit(get(), instantly)).status

    asyncio.run(leave_one_open())
    assert asyncio.run(call()) == 200


async def test_clients_may_share_one() -> None:
    """One instance is one limit, shared by a client, its views and another client."""
    limit = ConcurrencyLimitMiddleware(1, max_waiting=0)
    async with (
        Client(BASE, transport=Script(), middlewares=[per_send(limit)]) as one,
        Client(BASE, transport=Script(), middlewares=[per_send(limit)]) as other,
    ):
        async with one.open("GET", "/stream"):
            for api in (one.with_options(max_retries=0), other):
                with pytest.raises(ConcurrencyLimitError):
                    await api.get("/things")
        assert await other.get("/things") == {}


# --- fairness


async def test_a_thousand_that_wait_are_served_fairly() -> None:
    """With ten slots and a thousand waiting calls, none waits longer than three times the mean."""
    calls = Calls(ConcurrencyLimitMiddleware(10, max_waiting=1000))
    arrivals = random.Random(18)
    for _ in range(1010):
        calls.start()
    await turns()
    now, ends = 0.0, []
    waits: dict[str, float] = {}
    while len(waits) < 1010:
        for name in calls.wire.entered[len(waits) :]:
            waits[name] = now
            heapq.heappush(ends, (now + arrivals.expovariate(10), name))
        now, name = heapq.heappop(ends)
        calls.wire.end(name)
        await turns(2)
    await calls.end_all()
    waited = [waits[str(number)] for number in range(10, 1010)]
    assert waited == sorted(waited)
    assert max(waited) <= 3 * sum(waited) / len(waited)


# --- promises, names and invalid arguments


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("max_wait", [None, 60.0])
async def test_it_keeps_the_promises(limit: int, max_wait: float | None) -> None:
    """All six promises hold, with a slot for one call and for two."""
    await check_middleware(lambda: ConcurrencyLimitMiddleware(limit, max_wait=max_wait))


def test_it_shows_in_the_chain() -> None:
    """`explain` names it, and it is loaded by its name."""
    limit = load_middleware("concurrency_limit", limit=50)
    api = AsyncAPIClient(BASE, middlewares=[per_send(limit)])
    assert isinstance(limit, ConcurrencyLimitMiddleware)
    lines = [line.strip() for line in api.explain().splitlines()]
    assert lines[lines.index("TimeoutMiddleware") - 1] == "ConcurrencyLimitMiddleware"
    assert repr(limit) == "<ConcurrencyLimitMiddleware: 0 in flight, 0 waiting>"


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"limit": 0}, InvalidRequestError, "limit must be 1 or more, not 0"),
        ({"limit": 2.0}, TypeError, "limit must be an int of 1 or more, not 2.0"),
        ({"limit": True}, TypeError, "limit must be an int of 1 or more, not bool"),
        ({"limit": 1, "max_waiting": -1}, InvalidRequestError, "max_waiting must be 0 or more, not -1"),
        (
            {"limit": 1, "max_waiting": None},
            TypeError,
            "max_waiting must be an int of 0 or more, not None",
        ),
        ({"limit": 1, "max_wait": -1}, InvalidRequestError, "max_wait must be 0 seconds or more, not -1"),
        (
            {"limit": 1, "max_wait": float("nan")},
            InvalidRequestError,
            "max_wait must be 0 seconds or more, not nan",
        ),
        (
            {"limit": 1, "max_wait": 10**400},
            InvalidRequestError,
            "max_wait must be a number .* that fits",
        ),
        ({"limit": 1, "per_origin": "no"}, TypeError, "per_origin must be True or False, not str"),
        ({"limit": 1, "max_wait": "5"}, TypeError, "max_wait must be a number of seconds, not str"),
    ],
)
def test_values_that_make_no_sense_are_refused(config: Any, error: type[Exception], message: str) -> None:
    """A limit below one, and a value that is not a number, are refused on creation, by name."""
    with pytest.raises(error, match=message):
        ConcurrencyLimitMiddleware(**config)
