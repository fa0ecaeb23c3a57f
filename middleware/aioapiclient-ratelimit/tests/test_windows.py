"""The server's windows: no call that it would refuse is sent, and no call waits longer than necessary."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aioapiclient_ratelimit import LocalStore, RateLimit, Window
from aioapiclient_ratelimit.rates import Rate
from aioapiclient_ratelimit.stores import Turn
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import turns

from aioapiclient import APIConnectionError, APIRequest, AsyncAPIResponse, ThrottledError
from aioapiclient.testing import FakeClock

ORIGIN = "https://api.example.com"


def get(host: str = "api.example.com", **fields: Any) -> APIRequest:
    """A request of no client."""
    return APIRequest("GET", f"https://{host}/v1/things", **fields)


@asynccontextmanager
async def moving() -> AsyncIterator[FakeClock]:
    """A clock that the loop's timers follow."""
    with FakeClock().install() as clock:
        yield clock


async def move(clock: FakeClock, seconds: float, step: float = 0.0625) -> None:
    """Let *seconds* pass, in small steps, so that timers end in order; the steps add up exactly."""
    end = clock.time() + seconds
    await turns()
    while clock.time() < end - 1e-9:
        clock.advance(min(step, end - clock.time()))
        await turns()


async def finish(clock: FakeClock, calls: Sequence[asyncio.Future[Any]], most: float = 1000) -> list[Any]:
    """Advance the clock until all *calls* are done; return their results."""
    give_up = clock.time() + most
    while not all(call.done() for call in calls):
        assert clock.time() < give_up, "they wait too long"
        await move(clock, 0.0625)
    return await asyncio.gather(*calls, return_exceptions=True)


class Server:
    """A server of fixed windows, as npm's express-rate-limit: a window begins with its first request."""

    def __init__(self, clock: FakeClock, limit: int = 5, seconds: float = 2.0) -> None:
        self._clock = clock
        self._limit = limit
        self._seconds = seconds
        self._used = 0
        self._ends = -math.inf
        self.start = clock.time()
        self.times: list[float] = []
        self.refused = 0
        self.delays: list[tuple[float, float]] = []
        """Of the requests in order: seconds to the server, and back."""

    async def __call__(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        there, back = self.delays.pop(0) if self.delays else (0.0, 0.0)
        if there:
            await asyncio.sleep(there)
        status, headers = self._count()
        if back:
            await asyncio.sleep(back)
        return AsyncAPIResponse.from_bytes(request, status, headers, b"{}")

    def _count(self) -> tuple[int, dict[str, str]]:
        now = self._clock.time()
        self.times.append(round(now - self.start, 6))
        if now >= self._ends:
            self._ends, self._used = now + self._seconds, 0
        self._used += 1
        self.refused += self._used > self._limit
        left, reset = max(0, self._limit - self._used), math.ceil(self._ends - now - 1e-9)
        headers = {"RateLimit": f'"api";r={left};t={reset}', "RateLimit-Policy": f'"api";q={self._limit};w=2'}
        return (429 if self._used > self._limit else 200), headers


def start(limit: RateLimit, handler: Callable[[APIRequest], Awaitable[Any]], number: int = 1) -> list[Any]:
    """Start calls, each in a separate task."""
    return [asyncio.ensure_future(limit(get(), handler)) for _ in range(number)]


def says(remaining: int, seconds: float, **headers: str) -> dict[str, str]:
    """Headers of a window."""
    return {"RateLimit": f'"api";r={remaining};t={int(seconds)}', **headers}


class Script:
    """A handler that answers on command, and records when each call arrived."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._start = clock.time()
        self.times: list[float] = []
        self.calls: list[asyncio.Future[tuple[int, dict[str, str]]]] = []

    async def __call__(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        self.times.append(round(self._clock.time() - self._start, 6))
        answer: asyncio.Future[tuple[int, dict[str, str]]] = asyncio.get_running_loop().create_future()
        self.calls.append(answer)
        status, headers = await answer
        return AsyncAPIResponse.from_bytes(request, status, headers, b"{}")

    async def answer(self, number: int, headers: dict[str, str], status: int = 200) -> None:
        """Answer the call *number*, from 0."""
        self.calls[number].set_result((status, headers))
        await turns()

    async def fail(self, number: int) -> None:
        """Let call *number* fail."""
        self.calls[number].set_exception(APIConnectionError("cut"))
        await turns()


# --- no refused calls


async def test_no_call_is_refused() -> None:
    """Twelve concurrent calls with a limit of five in two seconds: none is refused, and they take four
    seconds.
    """
    async with moving() as clock:
        server = Server(clock)
        answers = await finish(clock, start(RateLimit(spread=0), server, 12))

    assert [answer.status for answer in answers] == [200] * 12
    assert server.times == [0] * 5 + [2] * 5 + [4] * 2


DELAYS = st.lists(st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)), min_size=30, max_size=30)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    limit=st.integers(1, 6),
    seconds=st.sampled_from([2.0, 3.0, 5.0]),
    gaps=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.1, 0.7, 2.5]), min_size=1, max_size=30),
    delays=DELAYS,
)
def test_no_call_is_refused_however_slow_the_wire(
    limit: int, seconds: float, gaps: list[float], delays: list[tuple[float, float]]
) -> None:
    """Slow requests and answers that overtake each other cause no refused call."""

    async def run() -> Server:
        async with moving() as clock:
            server = Server(clock, limit, seconds)
            server.delays = delays[:]
            middleware = RateLimit(spread=0, max_wait=1000)
            calls: list[Any] = []
            for gap in gaps:
                await move(clock, gap)
                calls += start(middleware, server)
            answers = await finish(clock, calls)
            assert [answer.status for answer in answers] == [200] * len(gaps)
            return server

    assert asyncio.run(run()).refused == 0


async def test_the_first_call_of_a_key_goes_first() -> None:
    """At a new server one call is sent first, and its headers decide for the others."""
    async with moving() as clock:
        server = Script(clock)
        calls = start(RateLimit(), server, 4)
        await move(clock, 0.5)
        assert server.times == [0]
        await server.answer(0, says(2, 60))
        assert server.times == [0, 0.5, 0.5]
        for call in calls:
            call.cancel()


async def test_a_server_that_says_nothing_is_asked_once() -> None:
    """Without rate-limit headers, calls wait only for the first answer."""
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit()
        calls = start(limit, server, 4)
        await turns()
        await server.answer(0, {})
        assert server.times == [0] * 4
        for number in range(1, 4):
            await server.answer(number, {})
        calls += start(limit, server, 4)
        await turns()
        assert server.times == [0] * 8
        assert limit.left(ORIGIN) is None
        for call in calls:
            call.cancel()


async def test_calls_do_not_wait_long_for_a_slow_first_answer() -> None:
    """After a second without headers, the other calls are sent."""
    async with moving() as clock:
        server = Script(clock)
        calls = start(RateLimit(), server, 3)
        await move(clock, 3)
        assert server.times == [0, 1, 1]
        for call in calls:
            call.cancel()


async def test_with_rates_of_its_own_no_call_asks_first() -> None:
    """Given rates apply until the server's headers are stricter."""
    async with moving() as clock:
        server = Script(clock)
        calls = start(RateLimit("100/s", burst=5), server, 5)
        await turns()
        assert server.times == [0] * 5
        for call in calls:
            call.cancel()


async def test_one_goes_first_when_a_window_ends() -> None:
    """All calls wait for the end of an exhausted window; then one is sent, and its headers decide."""
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit(spread=0)
        calls = start(limit, server)
        await turns()
        await server.answer(0, says(0, 10))
        calls += start(limit, server, 5)
        await move(clock, 10.5)
        assert server.times == [0, 10]
        await server.answer(1, says(1, 10))
        assert server.times == [0, 10, 10.5]
        await server.answer(2, says(0, 10))
        await move(clock, 9)
        assert len(server.times) == 3
        for call in calls:
            call.cancel()


async def test_a_failed_call_lets_the_next_one_go_first() -> None:
    """A call that fails, and an error of a proxy, have no limits: another call probes."""
    async with moving() as clock:
        server = Script(clock)
        calls = start(RateLimit(spread=0), server, 4)
        await turns()
        await server.fail(0)
        assert len(server.times) == 2
        await server.answer(1, {}, 502)
        assert len(server.times) == 3
        await server.answer(2, {}, 429)
        assert len(server.times) == 4
        calls[3].cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_calls_in_flight_count() -> None:
    """Calls in flight may use up the rest: one more call waits for a response, or for the end of one."""
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit(spread=0)
        calls = start(limit, server)
        await turns()
        await server.answer(0, says(2, 30))
        calls += start(limit, server, 4)
        await turns()
        assert len(server.times) == 3
        await server.fail(1)
        assert len(server.times) == 4
        await server.answer(2, says(1, 30))
        assert len(server.times) == 4
        await server.answer(3, says(0, 30))
        await move(clock, 29)
        assert len(server.times) == 4
        await move(clock, 2)
        assert len(server.times) == 5
        for call in calls:
            call.cancel()


async def test_a_new_call_does_not_overtake_those_in_the_queue() -> None:
    """A call that arrives while an answer wakes the first one in the queue is queued last."""
    async with moving() as clock:
        order: list[str] = []
        server = Script(clock)
        limit = RateLimit()

        async def call(name: str) -> None:
            async def handler(request: APIRequest) -> AsyncAPIResponse[Any]:
                order.append(name)
                return await server(request)

            await limit(get(), handler)

        calls = [asyncio.ensure_future(call(name)) for name in ("first", "second")]
        await turns()
        server.calls[0].set_result((200, says(1, 60)))
        calls.append(asyncio.ensure_future(call("new")))
        await turns()
        assert order == ["first", "second"]
        for task in calls:
            task.cancel()


async def test_the_least_of_several_answers_counts() -> None:
    """Responses may arrive out of order: the remaining number grows only with a new window."""
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit("1000/s")
        calls = start(limit, server, 3)
        await turns()
        await server.answer(0, says(0, 20))
        await server.answer(2, says(2, 20))
        assert limit.left(ORIGIN) == Window("api", None, 0, 20)
        await move(clock, 19)
        await server.answer(1, says(7, 60))
        assert limit.left(ORIGIN) == Window("api", None, 7, 60)
        await asyncio.gather(*calls)


async def test_a_late_answer_of_the_window_before_changes_nothing() -> None:
    """A response whose window is about to end does not apply to the next one."""
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit("1000/s")
        calls = start(limit, server, 2)
        await turns()
        await server.answer(1, says(50, 60))
        await server.answer(0, says(0, 0))
        assert limit.left(ORIGIN) == Window("api", None, 50, 60)
        await asyncio.gather(*calls)


async def test_the_tightest_of_several_windows_counts() -> None:
    """Every window applies; `left` returns the one that allows the fewest calls."""
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit(spread=0)
        calls = start(limit, server)
        await turns()
        await server.answer(0, {"RateLimit": '"second";r=9;t=2, "day";r=0;t=50'})
        assert limit.left(ORIGIN) == Window("day", None, 0, 50)
        calls += start(limit, server)
        await move(clock, 49)
        assert len(server.times) == 1
        await move(clock, 2)
        assert len(server.times) == 2
        for call in calls:
            call.cancel()


# --- refusals before the wait


async def test_a_wait_that_is_too_long_is_refused_at_once() -> None:
    """Above ``max_wait``, or past the deadline, nothing is sent, and the error has the wait."""
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit(spread=0, max_wait=30)
        first = start(limit, server)
        await turns()
        await server.answer(0, says(0, 31))
        await asyncio.gather(*first)
        with pytest.raises(ThrottledError) as caught:
            await limit(get(), server)
        assert caught.value.retry_after == 31
        assert str(caught.value) == (
            f"GET {ORIGIN}/v1/things: not sent: the server's limit is used up for 31.00 s more, "
            "above max_wait=30 of RateLimit"
        )
        await move(clock, 10)
        with pytest.raises(ThrottledError, match=r"used up for 21\.00 s more, past the deadline"):
            await limit(get(deadline=clock.time() + 20), server)
        assert len(server.times) == 1


async def test_a_call_in_the_queue_is_refused_when_time_is_up() -> None:
    """The answer of another call may come at any time: the wait for it ends with the deadline."""
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit()
        calls = start(limit, server)
        await turns()
        await server.answer(0, says(1, 50))
        calls += start(limit, server)
        calls.append(asyncio.ensure_future(limit(get(deadline=clock.time() + 3), server)))
        await move(clock, 2.9)
        assert not calls[2].done()
        await move(clock, 0.2)
        with pytest.raises(
            ThrottledError, match="calls in flight may use up the server's limit, past the deadl"
        ):
            await calls[2]
        assert calls[2].exception().retry_after is None
        calls[1].cancel()


async def test_a_call_cancelled_in_the_queue_delays_no_other() -> None:
    """If the first call is cancelled, the next one takes its place."""
    async with moving() as clock:
        server = Server(clock, 1)
        limit = RateLimit(spread=0)
        calls = start(limit, server, 4)
        await move(clock, 1)
        for call in calls[1:3]:
            call.cancel()
        await finish(clock, calls)

    assert server.times == [0, 2]
    assert limit.stats()[ORIGIN]["waiting"] == 0


# --- refusals by the server


async def test_retry_after_has_precedence() -> None:
    """A 429 with Retry-After counts more than the end of its window."""
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit(spread=0)
        calls = start(limit, server)
        await turns()
        await server.answer(0, says(0, 5, **{"Retry-After": "9"}), 429)
        assert limit.left(ORIGIN) == Window("api", None, 0, 9)
        calls += start(limit, server)
        await move(clock, 8)
        assert len(server.times) == 1
        await move(clock, 2)
        assert len(server.times) == 2
        await server.answer(1, {"Retry-After": "7"}, 429)
        assert limit.left(ORIGIN) == Window("retry-after", None, 0, 7)
        await asyncio.gather(*calls)


@pytest.mark.parametrize("seconds", ["100000", "soon", "-5"])
async def test_an_absurd_retry_after_is_ignored(seconds: str) -> None:
    """More than a day, and a value that is not a time, are ignored."""
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit()
        calls = start(limit, server)
        await turns()
        await server.answer(0, {"Retry-After": seconds}, 429)
        assert limit.left(ORIGIN) is None
        await asyncio.gather(*calls)


# --- pace and spread


async def test_pace_spreads_what_is_left() -> None:
    """Ten remaining calls in twenty seconds are sent two seconds apart."""
    async with moving() as clock:
        server = Server(clock, limit=11, seconds=20)
        calls = start(RateLimit(pace=True, spread=0), server, 6)
        await finish(clock, calls)

    gaps = [round(after - before, 1) for before, after in zip(server.times, server.times[1:], strict=False)]
    assert gaps[0] <= 0.1
    assert gaps[1:] == pytest.approx([2.0] * 4, abs=0.11)


async def test_pace_knows_the_wait_of_the_last_in_the_queue() -> None:
    """A call at the end of a long queue is refused before it waits."""
    async with moving() as clock:
        server = Server(clock, limit=11, seconds=20)
        limit = RateLimit(pace=True, spread=0, max_wait=7)
        await limit(get(), server)
        calls = start(limit, server, 6)
        await turns()
        refused = [
            call.exception() for call in calls if call.done() and not call.cancelled() and call.exception()
        ]
        assert [type(error) for error in refused] == [ThrottledError, ThrottledError]
        await finish(clock, calls)


async def test_processes_come_back_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random wait is added, up to a tenth of the window by default and five seconds at most."""
    asked: list[float] = []
    monkeypatch.setattr("random.uniform", lambda low, high: asked.append(high) or high)
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit()
        calls = start(limit, server)
        await turns()
        await server.answer(0, says(0, 20))
        calls += start(limit, server)
        await move(clock, 21.9)
        assert len(server.times) == 1
        await move(clock, 0.2)
        assert len(server.times) == 2
        await server.answer(1, says(0, 3600))
        assert asked == [2, 5]
        await asyncio.gather(*calls)


# --- together with rates


async def test_a_window_never_loosens_the_rates() -> None:
    """The rates apply even if the server allows more; and the server's limits apply beside them."""
    async with moving() as clock:
        server = Server(clock, limit=1000, seconds=60)
        await finish(clock, start(RateLimit("10/s", burst=1), server, 6))
        assert server.times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5], abs=0.051)

        server = Server(clock, limit=2, seconds=2)
        await finish(clock, start(RateLimit("10/s", burst=1, spread=0), server, 4))
        assert server.refused == 0
        assert server.times[1] < 0.2
        assert server.times[2] >= 2


class Remote(LocalStore):
    """A store that lets other calls run before it answers, as a server does."""

    async def reserve(self, key: Hashable, rates: Sequence[Rate], cost: int, most: float) -> Turn:
        """Reserve a turn after a pause."""
        await turns()
        return await super().reserve(key, rates, cost, most)


async def test_a_window_that_is_used_up_while_a_store_answers_holds() -> None:
    """Of two calls that reserve turns concurrently, only the one that the window allows is sent."""
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit("100/s", burst=9, spread=0, store=Remote(clock.time))
        calls = start(limit, server)
        await turns(20)
        await server.answer(0, says(1, 10))
        calls += start(limit, server, 2)
        await turns(20)
        assert len(server.times) == 2

        for call in calls:
            call.cancel()


async def test_calls_that_waited_for_a_window_leave_at_the_rate() -> None:
    """Turns are not saved up while a window is used up: the rates hold when it ends."""
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit("10/s", burst=1, spread=0)
        calls = start(limit, server)
        await turns()
        await server.answer(0, says(0, 10, **{"RateLimit-Policy": '"api";q=100;w=10'}))
        calls += start(limit, server, 20)
        await move(clock, 10.1)
        await server.answer(1, says(99, 10))
        await move(clock, 1)
        assert len(server.times) <= 2 + 11
        for call in calls:
            call.cancel()


# --- state


async def test_stats_and_left_say_what_is_known() -> None:
    """For each origin, stats have the tightest window of its keys and the number of waiting calls, but
    never a key.
    """
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit(key=lambda request: request.headers["X-Token"], spread=0)
        assert limit.stats() == {}
        calls = [
            asyncio.ensure_future(limit(get(headers={"X-Token": token}), server))
            for token in ("secret-a", "secret-a", "secret-b")
        ]
        await turns()
        assert limit.stats() == {ORIGIN: {"waiting": 1}}
        await server.answer(0, says(0, 40))
        await server.answer(1, says(3, 50))
        assert limit.stats() == {ORIGIN: {"waiting": 1, "remaining": 0, "resets_in": 40}}
        assert limit.left("secret-b") == Window("api", None, 3, 50)
        assert limit.left("secret-c") is None
        await move(clock, 45)
        assert limit.left("secret-a") is None
        for call in calls:
            call.cancel()


async def test_keys_are_apart() -> None:
    """A key whose window is used up holds no other back."""
    async with moving() as clock:
        server = Script(clock)
        limit = RateLimit()
        calls = start(limit, server)
        await turns()
        await server.answer(0, says(0, 40))
        calls.append(asyncio.ensure_future(limit(get("other.example.com"), server)))
        await turns()
        assert len(server.times) == 2
        calls[1].cancel()


def test_it_works_on_a_second_loop() -> None:
    """Windows, queues and locks of a loop that has ended are forgotten."""
    limit = RateLimit(spread=0)

    async def run() -> list[int]:
        async with moving() as clock:
            server = Server(clock, limit=2)
            return [answer.status for answer in await finish(clock, start(limit, server, 6))]

    assert asyncio.run(run()) == [200] * 6
    assert asyncio.run(run()) == [200] * 6


async def test_what_a_server_can_make_it_keep_is_bounded() -> None:
    """A thousand keys are kept, with 32 windows each."""
    async with moving() as clock:
        limit = RateLimit("1000/s", burst=100)

        async def answer(request: APIRequest) -> AsyncAPIResponse[Any]:
            names = ", ".join(f'"{request.url.host}{number}";r=9;t=60' for number in range(50))
            return AsyncAPIResponse.from_bytes(request, 200, {"RateLimit": names}, b"")

        for _ in range(2):
            await limit(get(), answer)
        assert len(limit._gates[ORIGIN]._windows) == 32
        for number in range(1005):
            await limit(get(f"h{number}.example.com"), answer)
        assert len(limit._gates) == 1000
        assert clock.time() == 1000
