"""Time: the total of a call, the limit of an attempt, and whose cancellation is whose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from helpers import BASE, Client, Script, reply

from aioapiclient import (
    APIRequest,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    Auth,
    ClientClosedError,
    InternalServerError,
    RetryPolicy,
    Timeout,
    default_chain,
    per_attempt,
    per_send,
)
from aioapiclient._chain import fold
from aioapiclient._types import NO_TIMEOUT
from aioapiclient.middleware import DeadlineMiddleware, RetryMiddleware, TimeoutMiddleware
from aioapiclient.testing import respond

Handler = Callable[[APIRequest], Any]


def request(timeout: Timeout | None = None, **fields: Any) -> APIRequest:
    """A request of no client, with only the limits that are given."""
    return APIRequest("GET", f"{BASE}/things", timeout=(timeout or Timeout()).over(NO_TIMEOUT), **fields)


async def hangs(request: APIRequest) -> AsyncAPIResponse[Any]:
    """A server that never answers."""
    await asyncio.Event().wait()
    raise AssertionError


def live_timers() -> int:
    """How many timers wait in the loop."""
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", None)
    if scheduled is None:
        pytest.skip("this loop does not show its timers")
    return sum(not handle.cancelled() for handle in scheduled)


def block(seconds: float) -> None:
    """Block the loop, so that everything due within *seconds* is due in one tick."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        pass


def not_cancelling() -> bool:
    """Return whether the task is in its original state."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling() == 0


# --- the total timeout


@pytest.mark.parametrize("chain", [[DeadlineMiddleware()], default_chain()], ids=["alone", "default"])
async def test_a_total_ends_a_call_of_no_client(chain: list[Any]) -> None:
    """A hand-made chain, without a client, keeps the total."""
    with pytest.raises(APITimeoutError) as caught:
        await fold(chain, hangs)(request(Timeout(total=0.01)))
    assert caught.value.phase == "total"
    assert caught.value.request is not None
    assert not isinstance(caught.value, TimeoutError)
    assert not_cancelling()


async def test_a_total_ends_a_call_of_a_client() -> None:
    """A client's call ends after its total, with the limit in the message, and is not tried again."""
    calls = 0

    async def wire(request: APIRequest) -> AsyncAPIResponse[Any]:
        nonlocal calls
        calls += 1
        return await hangs(request)

    async with Client(BASE, transport=wire) as api:
        with pytest.raises(APITimeoutError, match=r"0\.01 s \(total\)") as caught:
            await api.get("/things", timeout=0.01)
    assert caught.value.phase == "total"
    assert calls == 1
    assert not_cancelling()


async def test_a_total_ends_the_task_that_a_copy_is_handled_in() -> None:
    """A middleware may handle a copy in a separate task: a deadline inside it ends that task."""
    errors: list[BaseException | None] = []

    async def in_a_task(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        copy = asyncio.ensure_future(handler(request.copy()))
        await asyncio.wait({copy})
        errors.append(copy.exception())
        return AsyncAPIResponse.from_bytes(request, 200, {"Content-Type": "application/json"}, b"[]")

    async with Client(BASE, chain=[in_a_task, DeadlineMiddleware()], transport=hangs) as api:
        assert await api.get("/things", timeout=0.01) == []
    (error,) = errors
    assert isinstance(error, APITimeoutError)
    assert error.phase == "total"


async def test_a_total_covers_waits() -> None:
    """A wait in progress ends with the total, even if the sleep is too long."""

    async def oversleeps(seconds: float) -> None:
        await asyncio.Event().wait()

    chain = [DeadlineMiddleware(), RetryMiddleware(RetryPolicy(jitter=lambda wait: 0.0), sleep=oversleeps)]
    with pytest.raises(APITimeoutError) as caught:
        await fold(chain, Script(reply(500)))(request(Timeout(total=0.02)))
    assert caught.value.phase == "total"


async def test_a_total_covers_tokens() -> None:
    """Waiting for a credential counts."""

    class Slow(Auth):
        async def authenticate(self, request: APIRequest, /) -> None:
            await asyncio.Event().wait()

    async with Client(BASE, transport=Script(), auth=Slow()) as api:
        with pytest.raises(APITimeoutError) as caught:
            await api.get("/things", timeout=0.01)
    assert caught.value.phase == "total"


async def test_a_total_covers_a_dripping_body() -> None:
    """A body that arrives byte by byte is ended by the total, though no silence is long."""

    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.001)

    async with Client(BASE, transport=Script(respond(200, chunks=drops()))) as api:
        with pytest.raises(APITimeoutError) as caught:
            await api.get("/things", timeout=0.02)
    assert caught.value.phase == "total"


async def test_the_deadline_is_on_the_request() -> None:
    """Every inner middleware can read the time left; the deadline is the same on every attempt and hop."""
    script = Script(reply(500), reply(302, Location="/v1/b"), reply(200))
    async with Client(BASE, transport=script, timeout=60) as api:
        await api.get("/things")
    deadlines = {sent.deadline for sent in script.requests}
    assert len(script.requests) == 3
    assert len(deadlines) == 1
    left = script.last.time_left()
    assert left is not None
    assert 0 < left <= 60


async def test_no_deadline_without_a_total() -> None:
    """``timeout=None`` disables every limit."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        await api.get("/things", timeout=None)
    assert script.last.deadline is None
    assert script.last.limit("total") is None


@pytest.mark.parametrize(
    ("brought", "total", "phase"), [(0.01, 60, "total"), (0.01, None, "total"), (60, 0.01, "total")]
)
async def test_a_deadline_that_is_brought_along_counts_if_it_is_earlier(
    brought: float, total: float | None, phase: str
) -> None:
    """A request that has a deadline keeps it, unless its total ends earlier."""
    deadline = asyncio.get_running_loop().time() + brought
    handed = request(Timeout(total=total), deadline=deadline)
    with pytest.raises(APITimeoutError) as caught:
        await fold([DeadlineMiddleware()], hangs)(handed)
    assert caught.value.phase == phase
    assert handed.deadline is not None
    assert handed.deadline <= deadline + 0.001


@pytest.mark.parametrize("seconds", [0, -1, -1e9])
@pytest.mark.parametrize("chain", [[DeadlineMiddleware()], default_chain()], ids=["alone", "default"])
async def test_no_attempt_starts_after_the_deadline(chain: list[Any], seconds: float) -> None:
    """A deadline that has passed ends the call before anything is sent."""
    script = Script(reply(200))
    handed = request(deadline=asyncio.get_running_loop().time() + seconds)
    with pytest.raises(APITimeoutError) as caught:
        await fold(chain, script)(handed)
    assert caught.value.phase == "total"
    assert script.requests == []


@pytest.mark.parametrize("place", [lambda middleware: middleware, per_attempt, per_send])
@pytest.mark.parametrize("attempt", [None, 60])
async def test_no_attempt_starts_once_the_total_was_used_up(place: Any, attempt: float | None) -> None:
    """If the loop was blocked for the whole total, nothing is sent, not even a POST."""

    async def busy(request: APIRequest, handler: Handler) -> Any:
        block(0.02)
        return await handler(request)

    script = Script(reply(200))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(APITimeoutError, match=r"0\.01 s \(total\)") as caught:
            await api.post("/things", timeout=Timeout(total=0.01, attempt=attempt), middlewares=[place(busy)])
    assert caught.value.phase == "total"
    assert script.requests == []
    assert not_cancelling()


async def test_a_call_within_its_total_is_left_alone() -> None:
    """A call that ends in time raises nothing, and leaves no timer."""
    before = live_timers()
    response = await fold(default_chain(), Script(reply(200, [1])))(request(Timeout(total=60, attempt=30)))
    assert response.status == 200
    assert live_timers() == before


async def test_a_nested_deadline_is_its_own() -> None:
    """Two `DeadlineMiddleware` in one chain are two limits, and the earlier one counts."""
    async with Client(
        BASE, transport=hangs, chain=[DeadlineMiddleware(), DeadlineMiddleware(), TimeoutMiddleware()]
    ) as api:
        with pytest.raises(APITimeoutError):
            await api.get("/things", timeout=0.01)
    assert not_cancelling()


# --- the attempt timeout


async def test_an_attempt_that_takes_too_long_is_tried_again() -> None:
    """The limit of an attempt ends that attempt, and the next one has all of it again."""
    attempts: list[int] = []

    async def wire(request: APIRequest) -> AsyncAPIResponse[Any]:
        attempts.append(request.attempt)
        if request.attempt < 2:
            await asyncio.Event().wait()
        return AsyncAPIResponse.from_bytes(request, 200, {"Content-Type": "application/json"}, b"[]")

    async with Client(BASE, transport=wire) as api:
        assert await api.get("/things", timeout=Timeout(attempt=0.01)) == []
        assert len(api.waits) == 2
    assert attempts == [0, 1, 2]
    assert not_cancelling()


async def test_the_last_attempt_that_takes_too_long_says_so() -> None:
    """When the retries are used up the error has the phase ``attempt`` and the number of retries."""
    async with Client(BASE, transport=hangs, max_retries=1) as api:
        with pytest.raises(APITimeoutError, match=r"0\.01 s \(attempt\)") as caught:
            await api.get("/things", timeout=Timeout(attempt=0.01))
    assert caught.value.phase == "attempt"
    assert caught.value.retries_taken == 1


async def test_an_attempt_of_a_post_is_not_done_twice() -> None:
    """A POST that ran out of time may have been processed, so it is not retried."""
    async with Client(BASE, transport=hangs) as api:
        with pytest.raises(APITimeoutError):
            await api.post("/things", timeout=Timeout(attempt=0.01))
        assert api.waits == []


@pytest.mark.parametrize(
    ("total", "attempt", "phase"), [(0.01, 60, "total"), (60, 0.01, "attempt"), (0.01, 0.01, "total")]
)
async def test_an_attempt_is_clipped_to_what_is_left(total: float, attempt: float, phase: str) -> None:
    """The earlier of the two limits counts, and where the total is the cause it is named."""
    async with Client(BASE, transport=hangs, max_retries=0) as api:
        with pytest.raises(APITimeoutError) as caught:
            await api.get("/things", timeout=Timeout(total=total, attempt=attempt))
    assert caught.value.phase == phase
    assert not_cancelling()


async def test_an_attempt_is_clipped_on_a_chain_of_ones_own_too() -> None:
    """A `TimeoutMiddleware` without a `DeadlineMiddleware` keeps a deadline set on the request."""
    deadline = asyncio.get_running_loop().time() + 0.01
    with pytest.raises(APITimeoutError) as caught:
        await fold([TimeoutMiddleware()], hangs)(request(Timeout(attempt=60), deadline=deadline))
    assert caught.value.phase == "total"


async def test_time_for_a_credential_does_not_count_for_the_attempt() -> None:
    """The limit of an attempt begins after auth."""

    class Slow(Auth):
        async def authenticate(self, request: APIRequest, /) -> None:
            await asyncio.sleep(0.05)

    script = Script()
    async with Client(BASE, transport=script, auth=Slow(), max_retries=0) as api:
        await api.get("/things", timeout=Timeout(attempt=0.04))

    assert len(script.requests) == 1


async def test_an_attempt_ends_with_its_body() -> None:
    """A body that stalls is part of the attempt."""

    async def stalls() -> AsyncIterator[bytes]:
        yield b"["
        await asyncio.Event().wait()

    script = Script(respond(200, chunks=stalls()), reply(200, []))
    async with Client(BASE, transport=script) as api:
        assert await api.get("/things", timeout=Timeout(attempt=0.01)) == []


# --- streams


async def slow_stream() -> AsyncIterator[bytes]:
    """A body that continues after a pause."""
    yield b"one"
    await asyncio.sleep(0.05)
    yield b"two"


async def test_on_a_stream_the_attempt_ends_at_the_head() -> None:
    """The limit of an attempt does not end a stream whose head is in."""
    script = Script(respond(200, chunks=slow_stream()))
    response = await fold(default_chain(), script)(request(Timeout(attempt=0.02), stream=True))
    assert await response.read() == b"onetwo"


async def test_on_a_stream_the_total_goes_on() -> None:
    """A total set by the call ends a stream in its middle, with an error of that phase."""
    script = Script(respond(200, chunks=slow_stream()))
    response = await fold(default_chain(), script)(request(Timeout(total=0.01), stream=True))
    with pytest.raises(APITimeoutError) as caught:
        await response.read()
    assert caught.value.phase == "total"


async def test_a_stream_that_ends_leaves_no_timer() -> None:
    """The deadline of a stream ends with the stream."""
    before = live_timers()
    for finish in (AsyncAPIResponse.read, AsyncAPIResponse.close):
        response = await fold(default_chain(), Script(respond(200, body=b"x")))(
            request(Timeout(total=60), stream=True)
        )
        assert live_timers() > before
        await finish(response)
        assert live_timers() == before


# --- the source of a cancellation


def limits(which: str) -> Timeout:
    """Limits that run out 1 ms from now."""
    chosen: dict[str, Any] = {"total": {"total": 0.001}, "attempt": {"attempt": 0.001}}.get(which) or {
        "total": 0.001,
        "attempt": 0.001,
    }
    return Timeout(**chosen)


CHAIN = [DeadlineMiddleware(), TimeoutMiddleware()]


def through(client: AsyncAPIClient | None, timeout: Timeout) -> Callable[[Handler], Any]:
    """Makes a call whose innermost part is the handler: by a client, or on a hand-made chain."""
    if client is None:
        return lambda handler: fold(CHAIN, handler)(request(timeout))

    async def call(handler: Handler) -> Any:
        async def innermost(request: APIRequest, transport: Any) -> Any:
            return await handler(request)

        return await client.get("/things", middlewares=[innermost], timeout=timeout)

    return call


@pytest.fixture(params=["client", "by hand"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[AsyncAPIClient | None]:
    """A client, or none."""
    if request.param == "by hand":
        yield None
        return
    async with AsyncAPIClient(BASE, transport=Script(), chain=CHAIN) as api:
        yield api


@pytest.mark.parametrize("which", ["total", "attempt", "both"])
@pytest.mark.parametrize("order", ["before", "after"])
async def test_a_cancel_in_the_tick_of_a_limit_is_never_lost(
    client: AsyncAPIClient | None, which: str, order: str
) -> None:
    """A caller's cancellation in the same tick as total, attempt or both stays a cancellation, 20 times of
    20.
    """
    outcomes: list[bool] = []
    while len(outcomes) < 20:
        reached = asyncio.Event()

        async def handler(request: APIRequest, reached: asyncio.Event = reached) -> Any:
            reached.set()
            task = asyncio.current_task()
            assert task is not None
            loop = asyncio.get_running_loop()
            # Timers run in the order of their times, all in the first tick after the loop was blocked.
            loop.call_later(-1 if order == "before" else 0.002, task.cancel)
            block(0.004)
            await hangs(request)

        task = asyncio.ensure_future(through(client, limits(which))(handler))
        await asyncio.wait([task])
        if reached.is_set():  # on a busy machine the timeout may expire earlier
            outcomes.append(task.cancelled())
    assert all(outcomes)


@pytest.mark.parametrize("which", ["total", "attempt", "both"])
@pytest.mark.parametrize("order", [0.0001, 0.002])
async def test_the_callers_timeout_in_the_tick_of_a_limit_is_theirs(
    client: AsyncAPIClient | None, which: str, order: float
) -> None:
    """A caller's ``asyncio.timeout`` in the same tick raises their `TimeoutError`, 20 times of 20."""
    seen: list[type[BaseException]] = []
    while len(seen) < 20:
        reached = asyncio.Event()

        async def handler(request: APIRequest, reached: asyncio.Event = reached) -> Any:
            reached.set()
            block(0.004)
            await hangs(request)

        with pytest.raises((TimeoutError, APITimeoutError)) as caught:
            async with asyncio.timeout(order):
                await through(client, limits(which))(handler)
        if reached.is_set():  # on a busy machine the timeout may expire earlier
            seen.append(caught.type)
        assert not_cancelling()
    assert set(seen) == {TimeoutError}


async def test_total_and_attempt_in_one_tick_are_the_total(client: AsyncAPIClient | None) -> None:
    """If both expire in one tick, the call ends by the total, and leaves no cancellation behind."""
    for _ in range(20):

        async def handler(request: APIRequest) -> Any:
            block(0.004)
            await hangs(request)

        with pytest.raises(APITimeoutError) as caught:
            await through(client, limits("both"))(handler)
        assert caught.value.phase == "total"
        assert not_cancelling()
        await asyncio.sleep(0)


async def test_the_callers_timeout_alone_is_theirs(client: AsyncAPIClient | None) -> None:
    """A caller's ``asyncio.timeout`` that ends before any limit raises TimeoutError, not an error of this
    library.
    """
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.005):
            await through(client, Timeout(total=60, attempt=60))(hangs)
    assert not isinstance(caught.value, APITimeoutError)


async def test_a_cancel_passes_through(client: AsyncAPIClient | None) -> None:
    """A cancelled call raises CancelledError, not an error of this library."""
    task = asyncio.ensure_future(through(client, Timeout(total=60, attempt=60))(hangs))
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_cancel_during_a_wait_ends_the_retries() -> None:
    """A call that is cancelled between two attempts makes no further one."""
    script = Script(reply(500))
    sleeping = asyncio.Event()

    async def sleep(seconds: float) -> None:
        sleeping.set()
        await asyncio.Event().wait()

    chain = [DeadlineMiddleware(), RetryMiddleware(sleep=sleep)]
    task = asyncio.ensure_future(fold(chain, script)(request(Timeout(total=60))))
    await sleeping.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert len(script.requests) == 1


async def test_cleanup_of_a_middleware_runs_when_time_is_up() -> None:
    """A middleware's ``finally`` runs, and may await, before the call raises."""
    cleaned: list[str] = []

    async def middleware(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
        try:
            response: AsyncAPIResponse[Any] = await handler(request)
        finally:
            await asyncio.sleep(0)
            cleaned.append("done")
        return response

    async with Client(BASE, transport=hangs, middlewares=[middleware]) as api:
        with pytest.raises(APITimeoutError):
            await api.get("/things", timeout=0.01)
    assert cleaned == ["done"]


# --- timers


async def test_calls_share_their_timers() -> None:
    """A thousand calls of one duration need one timer in the loop, for the total and for the attempt each."""
    before = live_timers()
    gate = asyncio.Event()

    async def wire(request: APIRequest) -> AsyncAPIResponse[Any]:
        await gate.wait()
        return AsyncAPIResponse.from_bytes(request, 200, None, b"[]")

    async with AsyncAPIClient(BASE, transport=wire, timeout=Timeout(total=60, attempt=30)) as api:
        calls = [asyncio.ensure_future(api.get("/things")) for _ in range(1000)]
        await asyncio.sleep(0)
        assert live_timers() == before + 2
        gate.set()
        await asyncio.gather(*calls)
    assert live_timers() == before


async def test_no_timer_is_left_after_close() -> None:
    """A closed client leaves no timer, whatever the durations of its calls."""
    before = live_timers()
    async with AsyncAPIClient(BASE, transport=Script()) as api:
        for number in range(30):
            await api.get("/things", timeout=Timeout(total=60 + number, attempt=30 + number))
        view = api.with_options(timeout=7)
        await view.get("/things")
    assert live_timers() == before


async def test_closing_in_the_tick_of_the_total_is_one_of_the_two() -> None:
    """A client closed in the tick of a call's deadline ends it once, with one of the two errors."""
    for _ in range(20):
        api = AsyncAPIClient(BASE, transport=hangs)
        task = asyncio.ensure_future(api.get("/things", timeout=0.001))
        await asyncio.sleep(0)
        block(0.002)
        await api.close()
        await asyncio.wait([task])
        assert isinstance(task.exception(), ClientClosedError | APITimeoutError)


async def test_a_chain_without_a_deadline_still_closes() -> None:
    """A call on a chain without any limit ends when its client closes."""
    api = AsyncAPIClient(BASE, transport=hangs, chain=[TimeoutMiddleware()])
    task = asyncio.ensure_future(api.get("/things", timeout=None))
    await asyncio.sleep(0)
    await api.close()
    await asyncio.wait([task])
    assert isinstance(task.exception(), ClientClosedError)


async def test_what_the_deadline_cannot_cover_is_not_begun() -> None:
    """If a server asks for a wait beyond the total, its error is raised immediately."""
    script = Script(reply(503, Retry_After="30"))
    async with Client(BASE, transport=script, timeout=5, retry=RetryPolicy(max_retries=4)) as api:
        with pytest.raises(InternalServerError) as caught:
            await api.get("/things")
        assert api.waits == []
    assert caught.value.retry_after == 30
