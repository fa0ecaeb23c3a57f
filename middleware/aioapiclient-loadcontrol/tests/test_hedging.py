"""Hedging: which requests are sent twice and when, which answer counts, and how the other copy ends."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from itertools import product
from typing import Any

import pytest
from aioapiclient_loadcontrol import CircuitBreakerMiddleware, HedgingMiddleware
from helpers import BASE, Client, Script, chained, reply
from hypothesis import given
from hypothesis import strategies as st
from servers import close, hang, in_turn, ok, raw_server, respond, response, until

from aioapiclient import (
    APIConnectionError,
    APIRequest,
    APIResponseValidationError,
    APITimeoutError,
    AsyncAPIResponse,
    BearerAuth,
    Body,
    CircuitOpenError,
    ClientClosedError,
    InvalidRequestError,
    NotFoundError,
    RetryableError,
    Timeout,
    Token,
    load_middleware,
    per_attempt,
)
from aioapiclient.contract import Handler, Middleware
from aioapiclient.middleware import DeadlineMiddleware, RetryMiddleware, TimeoutMiddleware
from aioapiclient.testing import Answer, FakeClock, FakeTransport, check_middleware
from aioapiclient.testing import respond as answer

on_asyncio_loops = pytest.mark.skipif(
    os.environ.get("AIOAPICLIENT_TEST_LOOP") == "uvloop", reason="a FakeClock moves asyncio's own loops only"
)


def get(**fields: Any) -> APIRequest:
    """A request of no client."""
    return APIRequest("GET", f"{BASE}/things", template="/things", **fields)


def at_once() -> HedgingMiddleware:
    """One that sends every second copy in the next turn of the loop, and always."""
    return HedgingMiddleware(0, budget=1)


class Copies:
    """A handler whose calls end at the test's command; one for each copy."""

    def __init__(self) -> None:
        self.requests: list[APIRequest] = []
        self.waiting: list[asyncio.Future[Answer]] = []
        self.transport = FakeTransport(default=self._answer)
        self.under_way = 0

    async def __call__(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        self.requests.append(request)
        ended: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting.append(ended)
        self.under_way += 1
        try:
            request.extensions["answer"] = await ended
            return await self.transport(request)
        finally:
            self.under_way -= 1

    def _answer(self, request: APIRequest) -> Any:
        return request.extensions["answer"]

    async def both(self) -> None:
        """Wait until both copies are in flight."""
        await until(lambda: len(self.waiting) == 2)

    def end(self, number: int, given: Answer) -> None:
        """End one of them."""
        self.waiting[number].set_result(given)


def other_tasks() -> set[asyncio.Task[Any]]:
    """Return every task except the current one."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


@pytest.fixture
async def copies() -> AsyncIterator[Copies]:
    """Both copies of a test's single call; at its end no copy and no task is left."""
    made = Copies()
    yield made
    assert made.under_way == 0
    assert made.transport.open_responses == 0
    assert other_tasks() == set()


def start(handler: Handler) -> asyncio.Task[AsyncAPIResponse[Any]]:
    """A call whose second copy is sent immediately."""
    return asyncio.ensure_future(run(at_once(), handler, get()))


async def run(hedging: Middleware, handler: Handler, request: APIRequest) -> AsyncAPIResponse[Any]:
    """A coroutine that a task can run."""
    return await hedging(request, handler)


async def quick(request: APIRequest) -> AsyncAPIResponse[Any]:
    """A handler that answers before the loop turns."""
    return AsyncAPIResponse.from_bytes(request)


def lost(**facts: Any) -> APIConnectionError:
    """A connection that failed."""
    return APIConnectionError("lost", **facts)


def retryable(status: int) -> Callable[[APIRequest], Any]:
    """Asks for a retry of this response."""

    def make(request: APIRequest) -> Any:
        return RetryableError("again", response=AsyncAPIResponse.from_bytes(request, status))

    return make


FAILURES: dict[str, Answer] = {
    **{str(status): answer(status) for status in (401, 404, 409, 412, 429, 500, 503)},
    "lost": lost(),
    "refused": lost(sent=False),
    "read": APITimeoutError(phase="read"),
    "a RetryableError": retryable(202),
}
FATAL: dict[str, Answer] = {
    "a certificate": lost(final=True),
    "the deadline": APITimeoutError(phase="total"),
    "undecodable": APIResponseValidationError(),
    "an open circuit": CircuitOpenError(),
    "closed": ClientClosedError(),
    "a bug": LookupError("a bug"),
}


# --- the answer that counts


async def test_the_second_copy_wins(copies: Copies) -> None:
    """A good response of the second copy ends the call; the first copy is cancelled and has ended."""
    call = start(copies)
    await copies.both()
    copies.end(1, answer(200))
    came = await call

    assert came.request is copies.requests[1]
    assert copies.waiting[0].cancelled()
    assert call.cancelling() == 0
    await came.close()


async def test_the_first_copy_wins(copies: Copies) -> None:
    """A good response of the first copy ends the call, and the second copy is cancelled."""
    call = start(copies)
    await copies.both()
    copies.end(0, answer(200))
    came = await call

    assert came.request is copies.requests[0]
    assert copies.waiting[1].cancelled()
    await came.close()


@pytest.mark.parametrize("status", [200, 204, 302, 304])
@pytest.mark.parametrize("winner", [0, 1])
async def test_a_good_response_is_one_below_400(copies: Copies, status: int, winner: int) -> None:
    """A redirect and a 304 are answers as well."""
    call = start(copies)
    await copies.both()
    copies.end(winner, answer(status))
    came = await call

    assert (came.status, came.request) == (status, copies.requests[winner])
    await came.close()


@pytest.mark.parametrize("name", FAILURES)
async def test_a_first_copy_that_fails_leaves_it_to_the_second(copies: Copies, name: str) -> None:
    """A failure of the first copy is not returned while the second is in flight and then succeeds."""
    call = start(copies)
    await copies.both()
    copies.end(0, FAILURES[name])
    await until(lambda: copies.under_way == 1)
    await asyncio.sleep(0)
    assert not call.done()
    copies.end(1, answer(200))
    came = await call

    assert (came.status, came.request) == (200, copies.requests[1])
    await came.close()


@pytest.mark.parametrize("name", [*FAILURES, *FATAL])
async def test_a_second_copy_that_fails_is_forgotten(copies: Copies, name: str) -> None:
    """Any other outcome of the second copy is ignored."""
    call = start(copies)
    await copies.both()
    copies.end(1, {**FAILURES, **FATAL}[name])
    await until(lambda: copies.under_way == 1)
    await asyncio.sleep(0)
    assert not call.done()
    copies.end(0, answer(200))
    came = await call

    assert (came.status, came.request) == (200, copies.requests[0])
    await came.close()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_when_both_fail_the_failure_of_the_first_is_raised(
    copies: Copies, order: tuple[int, int]
) -> None:
    """Without a good second response, the call ends with the response or error of the first copy."""
    failures: tuple[Answer, Answer] = (answer(503), lost())
    for first, second in (failures, failures[::-1]):
        copies.waiting.clear()
        copies.requests.clear()
        call = start(copies)
        await copies.both()
        for number in order:
            copies.end(number, (first, second)[number])
            await until(lambda: copies.under_way < 2)
        if first is failures[1]:
            with pytest.raises(APIConnectionError) as raised:
                await call
            assert raised.value is first
        else:
            came = await call
            assert (came.status, came.request) == (503, copies.requests[0])
            await came.close()


@pytest.mark.parametrize("name", FATAL)
async def test_what_no_second_copy_can_mend_is_raised_at_once(copies: Copies, name: str) -> None:
    """A bug, a refusal, a certificate: the second copy is not waited for."""
    call = start(copies)
    await copies.both()
    copies.end(0, FATAL[name])
    with pytest.raises(type(FATAL[name])):  # type: ignore[arg-type]
        await call

    assert copies.waiting[1].cancelled()


async def test_both_answer_in_the_same_turn(copies: Copies) -> None:
    """One of the two counts, and the other one is closed."""
    for order in ((0, 1), (1, 0)):
        copies.waiting.clear()
        call = start(copies)
        await copies.both()
        for number in order:
            copies.end(number, answer(200))
        came = await call
        await came.close()
        assert call.cancelling() == 0


async def test_a_status_that_the_call_expects_is_good() -> None:
    """``ok_statuses`` makes a 404 a good response."""

    async def by_hand(request: APIRequest) -> AsyncAPIResponse[Any]:
        if transport.requests:
            return await transport(request)
        transport.requests.append(request)
        await asyncio.Event().wait()
        raise AssertionError

    transport = Script(reply(404))
    async with Client(BASE, middlewares=[per_attempt(at_once())], transport=by_hand) as api:
        came = await api.get("/things", AsyncAPIResponse[None], ok_statuses={404}, timeout=5)
    assert came.status == 404


# --- resources


async def test_a_loser_that_takes_its_time_to_end_is_waited_for() -> None:
    """The call returns after the other copy has ended, not while it does."""
    log: list[str] = []

    async def handler(request: APIRequest) -> AsyncAPIResponse[Any]:
        if not log:
            log.append("first")
            await until(lambda: len(log) > 1)
            return AsyncAPIResponse.from_bytes(request)
        log.append("second")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            log.append("second has ended")
        raise AssertionError

    await at_once()(get(), handler)
    assert log == ["first", "second", "second has ended"]


async def test_a_loser_that_answers_in_place_of_ending_is_closed(copies: Copies) -> None:
    """A handler that breaks its promise and turns the cancellation into an answer leaks nothing."""

    async def stubborn(request: APIRequest) -> AsyncAPIResponse[Any]:
        try:
            return await copies(request)
        except asyncio.CancelledError:
            request.extensions["answer"] = answer(200)
            return await copies.transport(request)

    for winner in (0, 1):
        copies.waiting.clear()
        call = start(stubborn)
        await copies.both()
        copies.end(winner, answer(200))
        came = await call
        assert call.cancelling() == 0
        await came.close()


@pytest.mark.parametrize("name", ["404", "a RetryableError"])
async def test_an_unread_failure_is_closed(copies: Copies, name: str) -> None:
    """A dropped response of a failed copy is closed, including that of a RetryableError."""
    closed: list[int] = []

    def failing(request: APIRequest) -> Any:
        made = answer(404, chunks=[b"a", b"b"])(request)
        made.on_close(lambda: closed.append(1))
        return made if name == "404" else RetryableError("again", response=made)

    for loser in (0, 1):
        copies.waiting.clear()
        call = start(copies)
        await copies.both()
        copies.end(loser, failing)
        await until(lambda: copies.under_way == 1)
        copies.end(1 - loser, answer(200))
        await (await call).close()
        assert len(closed) == loser + 1


async def test_the_callers_cancel_ends_both(copies: Copies) -> None:
    """When the call raises CancelledError both copies have ended."""
    call = start(copies)
    await copies.both()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert all(waiting.cancelled() for waiting in copies.waiting)
    assert call.cancelling() == 1


async def test_a_cancel_while_the_second_copy_is_waited_for(copies: Copies) -> None:
    """The first one has failed, and its response is closed."""
    call = start(copies)
    await copies.both()
    copies.end(0, answer(503, chunks=[b"a", b"b"]))
    await until(lambda: copies.under_way == 1)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert copies.waiting[1].cancelled()


async def test_a_cancel_before_the_delay_sends_nothing_more() -> None:
    """The delay that runs out while a cancelled call ends is not heard."""
    sent: list[APIRequest] = []

    async def handler(request: APIRequest) -> AsyncAPIResponse[Any]:
        sent.append(request)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
        raise AssertionError

    call = asyncio.ensure_future(run(HedgingMiddleware(0.02, budget=1), handler, get()))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(sent) == 1


@pytest.mark.parametrize("first_good", [True, False])
@pytest.mark.parametrize("second_good", [True, False])
async def test_a_cancel_at_any_turn(first_good: bool, second_good: bool) -> None:
    """In any order of both ends and the caller's cancellation, a response or CancelledError results, the
    cancellation is neither lost nor doubled, and no task is left.
    """
    for first, second, cancel in product(range(6), range(6), range(14)):
        turns = [first, second]
        transport = Script(answer(200, chunks=[b"a"]))
        under_way = 0

        async def handler(
            request: APIRequest, turns: list[int] = turns, transport: Script = transport
        ) -> AsyncAPIResponse[Any]:
            nonlocal under_way
            good = (first_good, second_good)[2 - len(turns)]
            under_way += 1
            try:
                for _ in range(turns.pop(0)):
                    await asyncio.sleep(0)
                if not good:
                    raise lost()
                return await transport(request)
            except asyncio.CancelledError:
                await asyncio.sleep(0)  # its end takes one iteration of the loop
                raise
            finally:
                under_way -= 1

        call = start(handler)
        for _ in range(cancel):
            await asyncio.sleep(0)
        cancelled = call.cancel()
        await asyncio.wait({call})
        assert under_way == 0
        assert call.cancelling() == cancelled
        if not cancelled and call.exception() is None:
            await call.result().close()
        # A cancellation that arrives just before the last step of the task takes effect.
        assert call.cancelled() == cancelled
        assert transport.open_responses == 0
        assert other_tasks() == set()


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("caller_cancels", [False, True])
async def test_a_deadline_around_the_turn_of_the_second_answer(
    copies: Copies, turns: int, caller_cancels: bool
) -> None:
    """Three cancellations of one task are kept apart: those of the second copy, the deadline and the
    caller.
    """
    scopes: list[Any] = []

    async def limited(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        with request.time_limit(60, "total") as scope:
            scopes.append(scope)
            return await handler(request)

    handed = get()
    call = asyncio.ensure_future(chained([limited, at_once()], copies)(handed))
    await copies.both()
    copies.end(1, answer(200))
    for _ in range(turns):
        await asyncio.sleep(0)
    scopes[0].fire(handed.timed_out("total", 60))
    cancelled = caller_cancels and call.cancel()
    await asyncio.wait({call})

    assert call.cancelled() == cancelled
    assert call.cancelling() == cancelled
    if call.cancelled():
        return
    error = call.exception()
    if error is None:
        await call.result().close()
    else:
        assert isinstance(error, APITimeoutError)
        assert error.phase == "total"


@on_asyncio_loops
async def test_the_deadline_ends_both(copies: Copies) -> None:
    """The total timeout of the call, and the timeout of an attempt, whose scopes are those of each copy."""
    clock = FakeClock()
    with clock.install():
        for timeout, phase in ((Timeout(total=30.0), "total"), (Timeout(attempt=30.0), "attempt")):
            copies.waiting.clear()
            chain = [DeadlineMiddleware(), at_once(), TimeoutMiddleware()]
            call = asyncio.ensure_future(chained(chain, copies)(get(timeout=timeout)))
            while len(copies.waiting) < 2:
                clock.advance(0.001)
                await asyncio.sleep(0)
            clock.advance(31)
            with pytest.raises(APITimeoutError) as raised:
                await call
            assert raised.value.phase == phase
            assert all(waiting.cancelled() for waiting in copies.waiting)


async def test_a_deadline_inside_each_copy(copies: Copies) -> None:
    """In a custom chain, hedging may run outside the deadline: each copy has a separate scope."""
    chain: list[Any] = [at_once(), DeadlineMiddleware()]
    async with Client(BASE, chain=chain, transport=copies) as api:
        with pytest.raises(APITimeoutError) as raised:
            await api.get("/things", timeout=0.05)
        assert raised.value.phase == "total"
        copies.waiting.clear()
        call = asyncio.ensure_future(api.get("/things", AsyncAPIResponse[None], timeout=60))
        await copies.both()
        copies.end(1, answer(200))
        async with await call as came:
            assert came.status == 200


async def test_the_deadline_of_the_second_copy_is_not_the_first_ones() -> None:
    """If the second copy reaches its deadline before the first, only the second times out."""
    released = asyncio.Event()
    entered: list[APIRequest] = []

    async def hold_the_first(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        entered.append(request)
        if len(entered) == 1:
            await released.wait()
        return await handler(request)

    async def transport(request: APIRequest) -> AsyncAPIResponse[Any]:
        if request is entered[1]:
            try:
                await asyncio.Event().wait()
            finally:
                released.set()
        return AsyncAPIResponse.from_bytes(request)

    chain: list[Any] = [at_once(), hold_the_first, DeadlineMiddleware()]
    async with Client(BASE, chain=chain, transport=transport) as api:
        assert (await api.get("/things", AsyncAPIResponse[None], timeout=0.05)).status == 200


async def test_closing_the_client_ends_both() -> None:
    """`close` ends the call with ClientClosedError, and both connections are closed."""
    async with raw_server(hang()) as server:
        api = Client(server.url, middlewares=[per_attempt(at_once())])
        call = asyncio.ensure_future(api.get("/things"))
        await until(lambda: len(server.requests) == 2)
        await api.close()
        with pytest.raises(ClientClosedError):
            await call
        await until(lambda: server.open_connections == 0)


async def test_an_answer_within_the_delay_costs_no_task() -> None:
    """The first copy runs in the caller's task; a call that is answered in time creates no task, and
    leaves no timer.
    """
    made: list[Any] = []
    loop = asyncio.get_running_loop()

    def make_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
        made.append(work)
        return asyncio.Task(work, loop=loop, **options)

    seen: list[Any] = []

    async def handler(request: APIRequest) -> AsyncAPIResponse[Any]:
        seen.append(asyncio.current_task())
        return AsyncAPIResponse.from_bytes(request)

    factory: Any = make_task
    loop.set_task_factory(factory)
    try:
        await HedgingMiddleware(60, budget=1)(get(), handler)
    finally:
        loop.set_task_factory(None)

    assert made == []
    assert seen == [asyncio.current_task()]
    timers = getattr(loop, "_scheduled", ())
    assert not [timer for timer in timers if not timer.cancelled() and timer.when() > loop.time() + 30]


async def test_context_variables_hold(copies: Copies) -> None:
    """The second copy has the context of its caller."""
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    seen: list[str] = []

    async def handler(request: APIRequest) -> AsyncAPIResponse[Any]:
        seen.append(tenant.get())
        return await copies(request)

    tenant.set("seven")
    call = start(handler)
    tenant.set("eight")
    await copies.both()
    copies.end(0, answer(200))
    await (await call).close()
    assert seen == ["seven", "seven"]


# --- requests that are sent twice


async def test_both_copies_are_the_same_request(copies: Copies) -> None:
    """Both copies have the same URL, headers, key and attempt, and one dict of extensions; each has its
    own headers object.
    """
    handed = APIRequest(
        "POST",
        f"{BASE}/orders?a=1",
        {"X-A": "1"},
        body=Body.from_json({"b": 1}),
        attempt=1,
        idempotency_key="k1",
    )
    hedging = at_once()
    await hedging(get(), quick)  # which a second copy of a retry may be paid from
    call = asyncio.ensure_future(run(hedging, copies, handed))
    await copies.both()
    copies.end(0, answer(200))
    await (await call).close()

    first, second = copies.requests
    assert first is not second
    assert first.headers is not second.headers
    assert first.extensions is second.extensions
    for name in ("method", "url", "headers", "attempt", "idempotency_key", "body"):
        assert getattr(first, name) == getattr(second, name)


class Counting:
    """A progress."""

    def update(self, number: int, /) -> None: ...


def one_shot() -> Any:
    """A body that can be sent only once."""
    return iter([b"1", b"2"])


SENT_ONCE: dict[str, dict[str, Any]] = {
    "POST": {"method": "POST"},
    "PATCH": {"method": "PATCH", "body": Body(b"1")},
    "a GET that is not idempotent": {"idempotent": False},
    "a stream": {"stream": True},
    "a body that can be sent once": {"method": "PUT", "body": one_shot},
    "a file": {"method": "PUT", "body": lambda: io.BufferedReader(io.BytesIO(b"1"))},  # type: ignore[arg-type]
    "a body that is watched": {"method": "PUT", "body": lambda: Body(b"1").with_progress(Counting())},
}
SENT_TWICE: dict[str, dict[str, Any]] = {
    **{method: {"method": method} for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")},
    "a POST that is idempotent": {"method": "POST", "idempotent": True, "body": Body(b"1")},
    "a POST with a key": {"method": "POST", "idempotency_key": "k1", "body": Body(b"1")},
    "bytes": {"method": "PUT", "body": Body(b"1")},
}


@pytest.mark.parametrize("name", [*SENT_ONCE, *SENT_TWICE])
async def test_who_is_sent_twice(name: str) -> None:
    """Only idempotent requests without a body, or with one in memory, are sent twice; streams and uploads
    are not.
    """
    fields = {"method": "GET", "url": f"{BASE}/things", **{**SENT_ONCE, **SENT_TWICE}[name]}
    if callable(fields.get("body")):
        fields["body"] = fields["body"]()
    sent: list[APIRequest] = []

    async def handler(request: APIRequest) -> AsyncAPIResponse[Any]:
        sent.append(request)
        if len(sent) == 1:
            await asyncio.sleep(0.005)
        return AsyncAPIResponse.from_bytes(request)

    await at_once()(APIRequest(**fields), handler)
    assert len(sent) == (1 if name in SENT_ONCE else 2)


# --- the budget


class Slow:
    """A handler that ends in the turn after the second copy's, and counts."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        self.sent += 1
        for _ in range(4):
            await asyncio.sleep(0)
        return AsyncAPIResponse.from_bytes(request)


async def test_at_most_a_twentieth_is_sent_twice() -> None:
    """However slow the server is, 100 calls get 5 second copies, the first one with the twentieth call."""
    hedging, slow = HedgingMiddleware(0), Slow()
    for number in range(1, 101):
        await hedging(get(), slow)
        assert slow.sent - number == number // 20


async def test_a_quiet_time_saves_up_ten() -> None:
    """After a thousand fast calls, ten slow ones in a row are sent twice, and no more."""
    hedging, slow = HedgingMiddleware(0), Slow()
    for _ in range(1000):
        await hedging(get(), quick)
    for _ in range(15):
        await hedging(get(), slow)
    assert slow.sent == 25


async def test_each_origin_has_a_budget_of_its_own() -> None:
    """Calls to one origin buy no second copies to another."""
    hedging, slow = HedgingMiddleware(0, budget=0.5), Slow()
    for _ in range(20):
        await hedging(get(), slow)
    assert slow.sent == 30

    slow.sent = 0
    for _ in range(2):
        await hedging(APIRequest("GET", "https://other.example.com"), slow)
    assert slow.sent == 3
    assert len(hedging.stats()) == 2


async def test_retries_buy_nothing() -> None:
    """A call counts once, however many attempts it has."""
    hedging, slow = HedgingMiddleware(0, budget=0.5), Slow()
    for attempt in (0, 1, 2, 3):
        await hedging(get(attempt=attempt), slow)
    assert slow.sent == 4
    await hedging(get(), slow)
    assert slow.sent == 6


@given(st.lists(st.booleans(), max_size=300), st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0]))
def test_the_budget_holds_whatever_comes(slowness: list[bool], budget: float) -> None:
    """At every moment, the second copies are at most *budget* times the calls."""

    async def check() -> None:
        hedging, slow = HedgingMiddleware(0, budget=budget), Slow()
        for calls, is_slow in enumerate(slowness, 1):
            slow.sent -= 1
            if is_slow:
                await hedging(get(), slow)
            else:
                slow.sent += 1
                await hedging(get(), quick)
            assert slow.sent <= budget * calls + 1e-6

    asyncio.run(check())


async def test_the_origins_that_are_known_are_bounded() -> None:
    """A server that redirects to ever more hosts does not grow the memory."""
    hedging = HedgingMiddleware()
    transport = Script(reply())
    for number in range(1100):
        await (await hedging(APIRequest("GET", f"https://{number}.example.com/"), transport)).close()
    assert len(hedging.stats()) == 1000


# --- the delay


class Service:
    """Answers after the number of seconds that the test sets, by its clock."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.seconds: list[float] = []
        self.sent = 0
        self.status = 200

    async def __call__(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        self.sent += 1
        # A little at a time, so that timers fire when they are due.
        left = self.seconds.pop(0) if self.seconds else 0.01
        while left > 1e-9:
            step = min(left, 0.01)
            left -= step
            await self.clock.sleep(step)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return AsyncAPIResponse.from_bytes(request, self.status)


async def ask(
    hedging: HedgingMiddleware, service: Service, *seconds: float, template: str = "/things"
) -> int:
    """Call once for each of *seconds*; return the number of second copies."""
    sent = service.sent
    for one in seconds:
        service.seconds = [one]
        await hedging(APIRequest("GET", f"{BASE}/things", template=template), service)
    return service.sent - sent - len(seconds)


@on_asyncio_loops
async def test_a_fixed_delay(clock: FakeClock) -> None:
    """The second copy is sent after that many seconds, and not earlier."""
    with clock.install():
        hedging, service = HedgingMiddleware(0.1, budget=1), Service(clock)
        assert await ask(hedging, service, 0.05, 0.09) == 0
        assert await ask(hedging, service, 0.3) == 1


@on_asyncio_loops
async def test_the_delay_is_the_observed_percentile(clock: FakeClock) -> None:
    """After twenty answers, a request slower than 95 % of them is sent twice, and no other."""
    with clock.install():
        hedging, service = HedgingMiddleware(budget=1), Service(clock)
        usual = [0.02] * 18 + [0.05, 0.2]
        assert await ask(hedging, service, *usual) == 0
        assert await ask(hedging, service, 0.03, 0.04) == 0
        assert await ask(hedging, service, 0.5) == 1
        assert await ask(hedging, service, 0.03) == 0


@on_asyncio_loops
async def test_nothing_is_sent_twice_before_there_are_enough_answers(clock: FakeClock) -> None:
    """Nineteen times are too few for 0.95, and ninety-nine for 0.99."""
    with clock.install():
        for percentile, enough in ((0.95, 20), (0.99, 100)):
            hedging, service = HedgingMiddleware(percentile=percentile, budget=1), Service(clock)
            assert await ask(hedging, service, *[0.01] * (enough - 1), 1.0) == 0
            assert await ask(hedging, service, 3.0) == 1


@on_asyncio_loops
async def test_the_percentile_follows_the_service(clock: FakeClock) -> None:
    """When all answers become slower or faster, the delay follows: old times are dropped."""
    with clock.install():
        hedging, service = HedgingMiddleware(budget=0.05), Service(clock)
        await ask(hedging, service, *[0.02] * 40)
        await ask(hedging, service, *[0.3] * 220)
        hedging.budget = 1  # a second copy for each of the next calls
        assert await ask(hedging, service, 0.28) == 0
        assert await ask(hedging, service, 0.4) == 1
        hedging.budget = 0.05
        await ask(hedging, service, *[0.02] * 200)
        hedging.budget = 1
        assert await ask(hedging, service, 0.04) == 1


@on_asyncio_loops
async def test_each_endpoint_has_a_percentile_of_its_own(clock: FakeClock) -> None:
    """A slow endpoint does not hide a fast one, and is not hedged because it is slower."""
    with clock.install():
        hedging, service = HedgingMiddleware(budget=1), Service(clock)
        await ask(hedging, service, *[0.02] * 20)
        await ask(hedging, service, *[0.5] * 20, template="/reports")
        assert await ask(hedging, service, 0.1) == 1
        assert await ask(hedging, service, 0.4, template="/reports") == 0


@on_asyncio_loops
async def test_the_endpoints_that_are_known_are_bounded(clock: FakeClock) -> None:
    """Ids in paths do not grow our memory: after 250 other endpoints, one starts anew."""
    with clock.install():
        hedging, service = HedgingMiddleware(budget=1), Service(clock)
        await ask(hedging, service, *[0.01] * 20)
        for number in range(249):
            await ask(hedging, service, 0.01, template=f"/things/{number}")
        assert await ask(hedging, service, 0.1) == 1
        for number in range(250):
            await ask(hedging, service, 0.01, template=f"/things/{number}")
        assert await ask(hedging, service, 0.1) == 0


@on_asyncio_loops
async def test_failures_say_nothing_of_the_usual_time(clock: FakeClock) -> None:
    """A server that refuses immediately does not shorten the delay of other calls."""
    with clock.install():
        hedging, service = HedgingMiddleware(budget=1), Service(clock)
        service.status = 503
        await ask(hedging, service, *[0.01] * 30)
        service.status = 200
        assert await ask(hedging, service, 0.5) == 0


@on_asyncio_loops
async def test_the_delay_is_at_least_a_millisecond(clock: FakeClock) -> None:
    """If answers usually take no time, a slightly slower one is not hedged."""
    with clock.install():
        hedging = HedgingMiddleware(budget=1)
        sent = 0

        async def handler(request: APIRequest) -> AsyncAPIResponse[Any]:
            nonlocal sent
            sent += 1
            if sent > 20:
                for _ in range(9):
                    await clock.sleep(0.0001)
            return AsyncAPIResponse.from_bytes(request)

        for _ in range(30):
            await hedging(get(), handler)
        assert sent == 30


@pytest.fixture
def clock() -> FakeClock:
    """The clock of the loop, once it is installed."""
    return FakeClock()


# --- in a client, on the wire


async def test_a_server_that_hangs_once_is_not_waited_for() -> None:
    """The first request is never answered; the call returns the second copy's response, and closes the
    first connection.
    """
    async with (
        raw_server(in_turn(hang(), respond(ok(b'{"id": 7}')))) as server,
        Client(server.url, middlewares=[per_attempt(at_once())]) as api,
    ):
        assert await api.get("/things", timeout=10) == {"id": 7}
        assert len(server.requests) == server.connections == 2
        assert server.requests[0].head == server.requests[1].head
        await until(lambda: server.open_connections == 1)
        assert api.waits == []


async def test_a_body_that_hangs_is_hedged_as_well() -> None:
    """The body is read inside the attempt: an early head is not an answer yet."""
    stuck = hang(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
    async with (
        raw_server(in_turn(stuck, respond(ok(b'{"id": 7}')))) as server,
        Client(server.url, middlewares=[per_attempt(HedgingMiddleware(0.02, budget=1))]) as api,
    ):
        assert await api.get("/things", timeout=10) == {"id": 7}


async def test_two_copies_that_break_are_one_attempt() -> None:
    """If both copies break, the attempt has failed, and is retried once."""

    async def cut_after_the_second(exchange: Any) -> None:
        await until(lambda: len(server.requests) == 2)
        exchange.close()

    async with (
        raw_server(in_turn(cut_after_the_second, close(), respond(ok()))) as server,
        Client(server.url, max_retries=1, middlewares=[per_attempt(at_once())]) as api,
    ):
        assert await api.get("/things", timeout=10) == {}
        assert len(api.waits) == 1
        # Without budget left, the retry gets no second copy.
        assert len(server.requests) == 3


async def test_a_failure_of_both_is_the_clients_error() -> None:
    """Two 404s are one NotFoundError."""

    async def slow(exchange: Any) -> None:
        await until(lambda: len(server.requests) == 2)
        await exchange.send(response("404 Not Found", b"{}", Content_Type="application/json"))

    async with (
        raw_server(slow) as server,
        Client(server.url, middlewares=[per_attempt(at_once())]) as api,
    ):
        with pytest.raises(NotFoundError):
            await api.get("/things", timeout=10)
        assert len(server.requests) == 2


async def test_outside_of_a_breaker_the_loser_says_nothing() -> None:
    """The cancelled copy counts neither as a failure nor as a lost probe."""
    breaker = CircuitBreakerMiddleware(minimum_calls=1, half_open_permits=1, open_for=0.001)
    async with (
        raw_server(in_turn(hang(), respond(ok()))) as server,
        Client(server.url, middlewares=[per_attempt(at_once()), per_attempt(breaker)]) as api,
    ):
        assert await api.get("/things", timeout=10) == {}
        assert breaker.state(server.url) == "closed"


async def test_each_copy_carries_the_credential() -> None:
    """Authentication runs inside: both copies have a token, which is requested once."""
    asked = 0

    async def provider() -> Token:
        nonlocal asked
        asked += 1
        return Token("t1", 3600)

    async with (
        raw_server(in_turn(hang(), respond(ok()))) as server,
        Client(server.url, auth=BearerAuth(provider), middlewares=[per_attempt(at_once())]) as api,
    ):
        await api.get("/things", timeout=10)
        assert [request.headers["Authorization"] for request in server.requests] == ["Bearer t1"] * 2
        assert asked == 1


async def test_around_the_retries_each_copy_has_its_own() -> None:
    """It also works once per call: the second copy of a call in a retry provides the answer."""
    fails: list[APIRequest] = []

    async def handler(request: APIRequest) -> AsyncAPIResponse[Any]:
        fails.append(request)
        await asyncio.sleep(0.001)
        status = 200 if len(fails) > 3 else 503
        return AsyncAPIResponse.from_bytes(request, status)

    chain: list[Middleware] = [at_once(), RetryMiddleware(sleep=lambda seconds: asyncio.sleep(0))]
    came = await chained(chain, handler)(get())
    assert came.status == 200


async def test_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    """It is registered as ``hedging``, with its settings as keywords; each second copy is logged."""
    caplog.set_level("INFO", logger="aioapiclient.hedging")
    loaded: Any = load_middleware("hedging", delay=0, budget=1)
    assert repr(loaded) == "HedgingMiddleware(delay=0, budget=1)"
    assert repr(load_middleware("hedging")) == "HedgingMiddleware(percentile=0.95, budget=0.05)"

    await loaded(APIRequest("GET", f"{BASE}/things?key=secret"), Slow())
    assert caplog.messages == [f"GET {BASE}/things?...: no answer within 0.000 s, sent again beside it"]


# --- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delay": -1}, "delay must be 0 seconds or more, not -1"),
        ({"delay": float("inf")}, "delay must be 0 seconds or more, not inf"),
        ({"percentile": 1}, r"percentile must be from 0.5 to 0.999, not 1"),
        ({"percentile": 95}, r"percentile must be from 0.5 to 0.999, not 95"),
        ({"percentile": float("nan")}, r"percentile must be from 0.5 to 0.999, not nan"),
        ({"budget": -0.1}, "budget must be from 0 to 1, not -0.1"),
        ({"budget": 5}, "budget must be from 0 to 1, not 5"),
        ({"delay": 10**400}, "delay must be a number of seconds that fits a float"),
    ],
)
def test_a_setting_out_of_range(settings: dict[str, Any], message: str) -> None:
    """A number out of range is refused when the middleware is created."""
    with pytest.raises(InvalidRequestError, match=message):
        HedgingMiddleware(**settings)


@pytest.mark.parametrize("name", ["delay", "percentile", "budget"])
@pytest.mark.parametrize("value", ["1", True, [1]])
def test_a_setting_of_the_wrong_type(name: str, value: Any) -> None:
    """So is a value that is not a number."""
    with pytest.raises(TypeError, match=f"{name} must be a number.*, not {type(value).__name__}"):
        HedgingMiddleware(**{name: value})


async def test_stats_have_the_second_copies_that_are_saved_up() -> None:
    """`stats` has the number of second copies that each origin may get now."""
    hedging, slow = HedgingMiddleware(0, budget=0.5), Slow()
    assert hedging.stats() == {}
    await hedging(get(), slow)
    assert hedging.stats() == {"https://api.example.com": {"hedge_tokens": 0.5}}
    await hedging(get(), slow)
    assert hedging.stats() == {"https://api.example.com": {"hedge_tokens": 0.0}}
    assert slow.sent == 3


# --- promises


async def test_it_keeps_the_promises() -> None:
    """It keeps the promises with its defaults, and with a delay that never ends."""
    await check_middleware(HedgingMiddleware)
    await check_middleware(lambda: HedgingMiddleware(60, budget=1))


@pytest.mark.parametrize("slow", [0, 1], ids=["the first is slow", "the second is slow"])
async def test_two_copies_keep_the_promises(slow: int) -> None:
    """Every call has two copies, one of which is slower than another call during a trial."""

    def make() -> Middleware:
        hedging = at_once()

        async def hedged(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
            copies = 0

            async def unevenly(request: APIRequest) -> AsyncAPIResponse[Any]:
                nonlocal copies
                copies += 1
                for _ in range(25 if copies - 1 == slow else 3):
                    await asyncio.sleep(0)
                return await handler(request)

            return await hedging(request, unevenly)

        return hedged

    await check_middleware(make)
