"""The retry budget under load, and calls that retry as a state machine.

The numbers are those of the AWS SDKs' retry 2.1. Its test vectors, case by case and token by token,
are in `test_retry`. Three of them have no counterpart here: the clamp of ``x-amz-retry-after`` (a
server's wait is taken or refused, never cut), the wait of a long-polling operation that finds the
quota empty, and the cubic rate limiter of the adaptive mode. Their rules for threads do not apply
either: a client belongs to one event loop.

The load is a simulation of 1,000 calls a second on a clock that is advanced by hand: a real client, the
default chain, a transport that fails at random. The seed is in the message of every assertion.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import backoff
import pytest
from helpers import BASE
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from aioapiclient import (
    APIConnectionError,
    APIRequest,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    ClientClosedError,
    InternalServerError,
    RetryBudget,
    RetryPolicy,
    Timeout,
)
from aioapiclient.middleware import RetryMiddleware
from aioapiclient.testing import FakeClock, FakeTransport, respond

ORIGIN = "https://api.example.com"


def run_on_asyncio(work: Coroutine[Any, Any, Any]) -> Any:
    """Run *work* on asyncio's own loop, whose timers a `FakeClock` can advance, whatever loop other tests
    use.
    """
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(work)


# --- the load of an outage


class Load:
    """1,000 calls a second to a server that fails as many requests a second as *failing* returns for that
    second.

    Results are counted by the second in which a call began, or a request arrived.
    """

    def __init__(self, seconds: int, failing: Callable[[int], float], seed: int) -> None:
        self.seconds = seconds
        self.failing = failing
        self.random = random.Random(seed)
        self.clock = FakeClock(0)
        self.succeeded: Counter[int] = Counter()
        self.requests: Counter[int] = Counter()
        """By tenths of a second."""
        self.budget = RetryBudget()
        self._good = respond(200, body=b"{}", headers={"Content-Type": "application/json"})
        self._bad = respond(500)
        self._tasks: set[asyncio.Task[None]] = set()

    def _answer(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        now = self.clock.time()
        self.requests[int(now * 10)] += 1
        return (self._bad if self.random.random() < self.failing(int(now)) else self._good)(request)

    def _jitter(self, wait: float) -> float:
        return self.random.uniform(0, wait)

    async def run(self) -> None:
        """Make all the calls, and wait for the last of them."""
        transport = FakeTransport(default=self._answer)
        policy = RetryPolicy(jitter=self._jitter, budget=self.budget)
        with self.clock.install():
            async with AsyncAPIClient(ORIGIN, transport=transport, retry=policy) as api:
                for number in range(self.seconds * 1000):
                    self.clock.advance(0.001)
                    task = asyncio.create_task(self._call(api, number // 1000))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                    await asyncio.sleep(0)
                    if not number % 1000:
                        transport.requests.clear()  # it would keep all of them
                        transport.bodies.clear()
                while self._tasks:
                    self.clock.advance(0.01)
                    await asyncio.sleep(0)

    async def _call(self, api: AsyncAPIClient, second: int) -> None:
        try:
            await api.get("/thing", None)
        except InternalServerError:
            return
        self.succeeded[second] += 1

    @property
    def requests_per_call(self) -> float:
        return self.requests.total() / (self.seconds * 1000)

    @property
    def success(self) -> float:
        return self.succeeded.total() / (self.seconds * 1000)


def simulate(seconds: int, failing: Callable[[int], float], seed: int) -> Load:
    """The load of *seconds*, run to its end."""
    load = Load(seconds, failing, seed)
    run_on_asyncio(load.run())
    return load


@pytest.fixture
def seed() -> int:
    """A seed that differs each time."""
    return random.randrange(1 << 32)


# The published table is of 60 simulated seconds. Ten are enough for these columns: the standard deviation
# is 0.006 at most then. `AIOAPICLIENT_TEST_SECONDS=60` runs it whole, in a minute.
SECONDS = int(os.environ.get("AIOAPICLIENT_TEST_SECONDS", "10"))


@pytest.mark.parametrize(
    ("failing", "requests", "success"),
    [
        (0.05, 1.05, 1.000),
        (0.10, 1.11, 0.999),
        (0.20, 1.24, 0.992),
        (0.30, 1.17, 0.818),
        (0.50, 1.07, 0.538),
        (0.90, 1.01, 0.103),
    ],
)
def test_the_load_of_failures_is_that_of_the_table(
    failing: float, requests: float, success: float, seed: int
) -> None:
    """At each rate of failure, requests a call and calls that succeed are those of the AWS SDKs' budget."""
    load = simulate(SECONDS, lambda second: failing, seed)
    assert load.requests_per_call == pytest.approx(requests, abs=0.03), f"seed {seed}"
    assert load.success == pytest.approx(success, abs=0.03), f"seed {seed}"


def test_a_total_outage_costs_hardly_a_request_more_than_there_are_calls(seed: int) -> None:
    """In 60 seconds in which all fails the wire sees at most 1.02 requests a call: the first 35 retries."""
    load = simulate(60, lambda second: 1, seed)
    assert load.success == 0
    assert load.requests_per_call <= 1.02, f"seed {seed}"
    assert load.requests.total() == 60_000 + 500 // 14, f"seed {seed}"


def test_after_an_outage_calls_succeed_as_before(seed: int) -> None:
    """Within 5 s after an outage of 30 s calls succeed as before, retries included, and without a burst."""
    load = simulate(41, lambda second: 1 if 5 <= second < 35 else 0.05, seed)
    before = load.succeeded[1] + load.succeeded[2]
    after = load.succeeded[39] + load.succeeded[40]
    assert before >= 1980, f"seed {seed}"  # with one failure in twenty, thanks to the retries
    assert after >= 0.95 * before, f"seed {seed}"
    assert after >= 1980, f"seed {seed}"
    assert load.budget.tokens(ORIGIN) > 400, f"seed {seed}"
    outage = [load.requests[tenth] for tenth in range(60, 350)]
    assert sum(outage) <= 1.02 * 29_000, f"seed {seed}"
    # 100 calls begin in each tenth of a second, so that retries do not come in bursts.
    assert max(load.requests.values()) <= 200, f"seed {seed}"


# --- one call


async def attempts_of(policy: RetryPolicy, *statuses: int) -> int:
    """The number of attempts of a call that is answered with *statuses*; the last one repeats."""
    transport = FakeTransport(*map(respond, statuses[:-1]), default=respond(statuses[-1]))
    await RetryMiddleware(policy, sleep=FakeClock().sleep)(APIRequest("GET", f"{ORIGIN}/thing"), transport)
    return len(transport.requests)


@given(capacity=st.integers(0, 500), max_retries=st.integers(0, 60), throttled=st.booleans())
def test_one_call_takes_what_it_can_pay(capacity: int, max_retries: int, throttled: bool) -> None:
    """A call that always fails makes as many attempts as its number and the quota allow, and no more."""
    budget = RetryBudget(capacity=capacity)
    price = 5 if throttled else 14
    policy = RetryPolicy(max_retries=max_retries, budget=budget)
    attempts = run_on_asyncio(attempts_of(policy, 429 if throttled else 503))
    assert attempts == 1 + min(max_retries, capacity // price)
    assert budget.tokens(ORIGIN) == capacity - price * (attempts - 1)


@given(calls=st.lists(st.lists(st.sampled_from([200, 404, 429, 500]), min_size=1, max_size=4), max_size=30))
def test_the_quota_stays_within_its_bounds(calls: list[list[int]]) -> None:
    """Whatever the calls meet, and however many there are, the tokens stay between 0 and 500."""

    async def run() -> None:
        budget = RetryBudget()
        policy = RetryPolicy(max_retries=5, budget=budget)
        for statuses in calls:
            await attempts_of(policy, *statuses)
            assert 0 <= budget.tokens(ORIGIN) <= 500

    run_on_asyncio(run())


async def test_full_jitter_is_uniform() -> None:
    """Of 10,000 waits of up to 8 s, each whole second gets an eighth, within a fifth."""
    clock = FakeClock()
    policy = RetryPolicy(max_retries=10_000, wait=lambda: backoff.constant(8), budget=None)
    transport = FakeTransport(default=respond(500))
    await RetryMiddleware(policy, sleep=clock.sleep)(APIRequest("GET", f"{ORIGIN}/thing"), transport)
    buckets = Counter(int(wait) for wait in clock.sleeps)
    assert sorted(buckets) == list(range(8))
    assert all(1000 <= number <= 1500 for number in buckets.values()), buckets


# --- concurrent calls, as a state machine


class Call:
    """One call in the model, and its outcome."""

    def __init__(self, method: str, limit: int, total: float | None, now: float) -> None:
        self.method = method
        self.limit = limit
        self.deadline = None if total is None else now + total
        self.total = total
        self.attempts = 1
        self.paid = 0
        self.waits: list[float] = []
        self.wakes: float | None = None
        """When its wait is over; None on the wire."""
        self.end: Any = None
        """Its end: a status, or a class of errors; None while it runs."""
        # The client's actions.
        self.task: asyncio.Task[None] | None = None
        self.sent = 0
        self.answer: asyncio.Future[Any] | None = None
        self.events: list[Any] = []

    def time_left(self, now: float) -> float:
        return float("inf") if self.deadline is None else self.deadline - now


FAILURES: dict[str, Callable[[], Exception]] = {
    "lost": lambda: APIConnectionError("lost"),
    "unsent": lambda: APIConnectionError("never sent", sent=False),
}


class CallsMachine(RuleBasedStateMachine):
    """Concurrent calls of one client: answered, waiting, timed out, cancelled and closed, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        self.clock = FakeClock()
        self.installed = self.clock.install()
        self.calls: list[Call] = []
        self.closed = False
        self.now = self.clock.time()

    @initialize(capacity=st.integers(0, 80))
    def open(self, capacity: int) -> None:
        self.capacity = self.tokens = capacity
        self.budget = RetryBudget(capacity=capacity)
        self.runner.run(self._open())

    async def _open(self) -> None:
        self.installed.__enter__()
        self.api = AsyncAPIClient(
            BASE,
            transport=FakeTransport(default=self._wait_for_answer),
            retry=RetryPolicy(jitter=float, budget=self.budget),
            timeout=None,
        )

    def teardown(self) -> None:
        if hasattr(self, "api"):
            self.runner.run(self._close())
        self.runner.close()

    async def _close(self) -> None:
        await self.api.close()
        await asyncio.sleep(0)
        self.installed.__exit__(None, None, None)

    # --- the rules

    @rule(
        method=st.sampled_from(["GET", "POST"]),
        limit=st.integers(0, 4),
        total=st.sampled_from([None, 0.25, 1.0, 4.0, 40.0]),
    )
    def start(self, method: str, limit: int, total: float | None) -> None:
        """Begin a call."""
        call = Call(method, limit, total, self.now)
        self.calls.append(call)
        if self.closed:
            call.attempts, call.end = 0, ClientClosedError
        self.runner.run(self._start(call))

    @precondition(lambda self: self.at_the_wire())
    @rule(
        data=st.data(),
        outcome=st.sampled_from([200, 404, 429, 500, *FAILURES]),
        retry_after=st.sampled_from([None, 3, 50, 61]),
    )
    def answer(self, data: st.DataObject, outcome: Any, retry_after: int | None) -> None:
        """Answer one request that waits at the wire."""
        call = data.draw(st.sampled_from(self.at_the_wire()))
        assert call.answer is not None
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        hint = retry_after if isinstance(outcome, int) else None
        if isinstance(outcome, int):
            call.answer.set_result(respond(outcome, headers=headers))
        else:
            call.answer.set_exception(FAILURES[outcome]())
        self._expect(call, outcome, hint)
        self.runner.run(self._settle())

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 3.0, 8.0, 50.0]))
    def let_time_pass(self, seconds: float) -> None:
        """Move the clock on."""
        self.clock.advance(seconds)
        self.now += seconds
        for call in self.running():
            if call.time_left(self.now) <= 0:
                call.end = APITimeoutError
            elif call.wakes is not None and call.wakes <= self.now:
                call.wakes = None
                call.attempts += 1
        self.runner.run(self._settle())

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel one call, wherever it is."""
        call = data.draw(st.sampled_from(self.running()))
        call.end = asyncio.CancelledError
        call.task.cancel()
        self.runner.run(self._settle())

    @precondition(lambda self: not self.closed and len(self.calls) > 3)
    @rule()
    def close(self) -> None:
        """Close the client."""
        self.closed = True
        for call in self.running():
            call.end = ClientClosedError
        self.runner.run(self._close_client())

    # --- the model

    def running(self) -> list[Any]:
        return [call for call in self.calls if call.end is None]

    def at_the_wire(self) -> list[Any]:
        return [call for call in self.running() if call.wakes is None]

    def _expect(self, call: Call, outcome: Any, hint: int | None) -> None:
        """The model's answer to *outcome*: a wait, or the end."""
        twice_is_once = call.method == "GET"
        retried = outcome in {429, "unsent"} or (twice_is_once and outcome in {500, "lost"})
        price = 5 if outcome == 429 else 14
        wait = float(hint or 0.5 * 2 ** (call.attempts - 1))
        if (
            retried
            and call.attempts <= call.limit
            and (hint or 0) <= 60
            and wait < call.time_left(self.now)
            and price <= self.tokens
        ):
            self.tokens -= price
            call.paid = price
            call.waits.append(wait)
            call.wakes = self.now + wait
            return
        call.end = outcome if isinstance(outcome, int) else APIConnectionError
        if outcome == 200:
            self.tokens = min(self.capacity, self.tokens + (call.paid or 1))

    # --- the client

    async def _start(self, call: Call) -> None:
        call.task = asyncio.create_task(self._call(call))
        await self._settle()

    async def _call(self, call: Call) -> None:
        try:
            response = await self.api.request(
                call.method,
                "/thing",
                AsyncAPIResponse,
                timeout=Timeout(total=call.total),
                max_retries=call.limit,
                ok_statuses={404, 429, 500},
                extensions={"call": call},
            )
        except BaseException as error:
            call.events.append(type(error))
        else:
            call.events.append(response.status)

    async def _wait_for_answer(self, request: APIRequest) -> Any:
        call = request.extensions["call"]
        assert not call.events, "an attempt after the end"
        call.sent += 1
        call.answer = asyncio.get_running_loop().create_future()
        return await call.answer

    async def _close_client(self) -> None:
        await self.api.close()
        await self._settle()

    async def _settle(self) -> None:
        """Run every event that is due, and compare the results with the model."""
        for _ in range(20):
            await asyncio.sleep(0)
        assert self.budget.tokens(ORIGIN) == self.tokens
        assert 0 <= self.tokens <= self.capacity
        for call in self.calls:
            assert call.events == ([] if call.end is None else [call.end])
            assert call.sent == call.attempts <= call.limit + 1
            assert sum(call.waits) <= (call.total or float("inf"))


TestCalls = CallsMachine.TestCase
TestCalls.__doc__ = "Each call ends once, as a model of the rules requires, and sends nothing after its end."
