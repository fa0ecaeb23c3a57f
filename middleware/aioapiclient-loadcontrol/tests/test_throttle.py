"""The shared gate: one refusal with a wait holds every call to its origin, and no other."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from aioapiclient_loadcontrol import ConcurrencyLimitMiddleware, ThrottleMiddleware
from helpers import BASE, Client, Script, chained, reply
from multidict import CIMultiDict, CIMultiDictProxy
from servers import in_turn, ok, raw_server, respond, response, turns, until

from aioapiclient import (
    APIRequest,
    AsyncAPIClient,
    AsyncAPIResponse,
    ClientClosedError,
    InvalidRequestError,
    RateLimitError,
    RetryPolicy,
    ThrottledError,
    load_middleware,
    per_send,
)
from aioapiclient.contract import Handler
from aioapiclient.middleware import RetryMiddleware
from aioapiclient.testing import FakeClock, check_middleware

ORIGIN = "https://api.example.com"
START = 1000.0


def get(host: str = "api.example.com", **fields: Any) -> APIRequest:
    """A request of no client."""
    return APIRequest("GET", f"https://{host}/v1/things", **fields)


def no_jitter(window: float) -> float:
    """Resume as soon as allowed."""
    return 0.0


class Timeline:
    """A clock, and sleeps that end when it advances past them, in order."""

    def __init__(self) -> None:
        self.now = START
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        """The time of the clock."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved by *seconds*."""
        end = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), end))
        await end

    async def move_to(self, time: float) -> None:
        """Move the clock to *time* seconds after the start, and wake the sleepers that are due."""
        await turns()
        while self._sleepers and self._sleepers[0][0] <= START + time:
            self.now, _, end = heapq.heappop(self._sleepers)
            if not end.done():
                end.set_result(None)
            await turns(20)
        self.now = START + time


class Wire(Script):
    """A script that records when each request arrived."""

    def __init__(self, timeline: Timeline, *answers: Callable[[APIRequest], Any]) -> None:
        super().__init__(*(answers or (reply(429, Retry_After="2"),)), reply(200))
        self._timeline = timeline
        self.times: list[float] = []
        """Seconds after the start."""

    async def __call__(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        self.times.append(self._timeline.now - START)
        answer = await super().__call__(request)
        await answer.read()
        return answer


class Late:
    """A handler that holds its one request until `answer` is called, and then asks for a wait."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._due = asyncio.Event()
        self._call: asyncio.Future[AsyncAPIResponse[Any]] | None = None

    async def send_through(self, gate: ThrottleMiddleware) -> None:
        """Send a request through *gate*; it is on the wire when this returns."""
        self._call = asyncio.ensure_future(gate(get(), self))
        await turns()

    async def __call__(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        await self._due.wait()
        return AsyncAPIResponse.from_bytes(request, 429, {"Retry-After": str(self._seconds)})

    async def answer(self) -> None:
        """Answer it, and see the call end."""
        assert self._call is not None
        self._due.set()
        await self._call


class Setting:
    """A gate on a timeline, before a wire."""

    def __init__(self, *answers: Callable[[APIRequest], Any], **options: Any) -> None:
        self.timeline = Timeline()
        self.wire = Wire(self.timeline, *answers)
        options = {"jitter": no_jitter, **options}
        self.gate = ThrottleMiddleware(clock=self.timeline.time, sleep=self.timeline.sleep, **options)

    async def call(self, request: APIRequest | None = None) -> int:
        """Make a call; return its status. A call that waits without end fails."""
        async with asyncio.timeout(10):
            return (await self.gate(request or get(), self.wire)).status

    def start(self, request: APIRequest | None = None) -> asyncio.Task[int]:
        """Make a call in a separate task."""
        return asyncio.ensure_future(self.call(request))


# --- one refusal holds all calls


async def test_one_answer_holds_back_every_call() -> None:
    """After one 429 with ``Retry-After: 2`` the server receives no requests for two seconds, and then a
    hundred calls one by one.
    """
    timeline = Timeline()
    parts = itertools.count()
    gate = ThrottleMiddleware(
        clock=timeline.time, sleep=timeline.sleep, jitter=lambda window: window * (next(parts) + 0.5) / 100
    )
    script = in_turn(respond(response("429 Too Many Requests", Retry_After="2")), respond(ok()))
    async with (
        raw_server(script) as server,
        AsyncAPIClient(server.url, max_retries=0, middlewares=[per_send(gate)]) as api,
    ):
        with pytest.raises(RateLimitError) as caught:
            await api.get("/first")
        assert caught.value.retry_after == 2
        calls = [asyncio.ensure_future(api.get(f"/{number}")) for number in range(100)]
        await timeline.move_to(1.999)
        await timeline.move_to(2.0)
        assert len(server.requests) == 1
        for tenth in range(1, 11):
            await timeline.move_to(2 + tenth / 10)
            await until(lambda: len(server.requests) >= 1 + 10 * tenth)  # noqa: B023 - done before it changes
            assert len(server.requests) == 1 + 10 * tenth
        assert await asyncio.gather(*calls) == [{}] * 100


async def test_they_come_back_spread() -> None:
    """By default each waiting call adds a random wait of up to half of the server's time."""
    timeline = Timeline()
    wire = Wire(timeline)
    gate = ThrottleMiddleware(clock=timeline.time, sleep=timeline.sleep)
    assert (await gate(get(), wire)).status == 429
    calls = [asyncio.ensure_future(gate(get(), wire)) for _ in range(100)]
    await timeline.move_to(3)
    await asyncio.gather(*calls)
    back = wire.times[1:]
    assert 2 <= min(back) <= max(back) <= 3
    per_tenth = [sum(2 + tenth / 10 <= time < 2.1 + tenth / 10 for time in back) for tenth in range(10)]
    assert max(per_tenth) < 35


async def test_a_long_wait_is_spread_over_five_seconds() -> None:
    """However long the wait, the waiting calls are spread over five seconds, on top of ``max_wait``."""
    setting = Setting(reply(429, Retry_After="60"), jitter=lambda window: window, max_wait=60)
    await setting.call()
    waiting = setting.start()
    await setting.timeline.move_to(100)
    assert waiting.done()
    assert setting.wire.times == [0, 65]


@pytest.mark.parametrize(("result", "time"), [(-5.0, 2.0), (float("-inf"), 2.0), (1e9, 3.0)])
async def test_a_jitter_stays_in_its_window(result: float, time: float) -> None:
    """No call is sent before the time, or later than allowed, whatever the jitter returns."""
    setting = Setting(jitter=lambda window: result)
    await setting.call()
    waiting = setting.start()
    await setting.timeline.move_to(10)
    assert waiting.done()
    assert setting.wire.times == [0, time]


async def test_who_comes_when_it_has_just_opened_is_spread_too() -> None:
    """While the other calls resume, a new call waits for a random part of the remaining spread."""
    setting = Setting(jitter=lambda window: window / 2)
    await setting.call()
    await setting.timeline.move_to(2.5)
    newcomer = setting.start()
    await setting.timeline.move_to(10)
    assert newcomer.result() == 200
    assert setting.wire.times == [0, 2.75]


async def test_when_it_is_over_nothing_is_left() -> None:
    """After that, calls are sent immediately, and no state is left."""
    setting = Setting()
    await setting.call()
    assert setting.gate.closed_for(ORIGIN) == 2
    await setting.timeline.move_to(3)
    assert setting.gate.closed_for(ORIGIN) == 0
    assert await setting.call() == 200
    assert setting.gate.stats() == {}


async def test_an_open_gate_costs_no_wait() -> None:
    """While no origin is closed, a call never yields to the event loop: no future, no timer, no task."""

    async def instantly(request: APIRequest) -> AsyncAPIResponse[Any]:
        return AsyncAPIResponse.from_bytes(request)

    with pytest.raises(StopIteration):
        ThrottleMiddleware()(get(), instantly).send(None)


# --- with retries


async def test_a_retry_does_not_wait_twice() -> None:
    """The retry of the refused call finds the gate open when its own wait is over."""
    setting = Setting()
    retry = RetryMiddleware(sleep=setting.timeline.sleep)
    call = asyncio.ensure_future(chained([retry, setting.gate], setting.wire)(get()))
    await setting.timeline.move_to(2)
    assert call.result().status == 200
    assert setting.wire.times == [0, 2]


async def test_a_retry_waits_the_rest_of_a_later_time() -> None:
    """If another call was refused for longer meanwhile, the retry waits for that."""
    setting = Setting(reply(429, Retry_After="2"), reply(429, Retry_After="5"))
    retry = RetryMiddleware(RetryPolicy(max_retries=1), sleep=setting.timeline.sleep)
    handler = chained([retry, setting.gate], setting.wire)
    calls = [asyncio.ensure_future(handler(get())) for _ in range(2)]
    await setting.timeline.move_to(4.9)
    assert setting.wire.times == [0, 0]
    await setting.timeline.move_to(5)
    assert [call.result().status for call in calls] == [200, 200]
    assert setting.wire.times == [0, 0, 5, 5]


async def test_retries_that_were_told_the_same_come_back_spread() -> None:
    """Ten calls that all get a wait of two seconds are retried one by one, not in one burst."""
    parts = itertools.count()
    answers = [reply(429, Retry_After="2")] * 10
    setting = Setting(*answers, jitter=lambda window: window * (next(parts) % 10) / 10)
    retry = RetryMiddleware(sleep=setting.timeline.sleep)
    handler = chained([retry, setting.gate], setting.wire)
    calls = [asyncio.ensure_future(handler(get())) for _ in range(10)]
    await setting.timeline.move_to(3)
    assert [call.result().status for call in calls] == [200] * 10
    assert setting.wire.times[10:] == pytest.approx([2 + part / 10 for part in range(10)])


async def test_a_call_that_gives_up_is_not_tried_again() -> None:
    """`ThrottledError` ends the call, also where a retry policy would have every error tried again."""

    async def every_error(request: APIRequest, outcome: object) -> bool:
        return isinstance(outcome, Exception)

    script = Script(reply(429, Retry_After="120"), reply(200))
    policy = RetryPolicy(verdict=every_error, max_retries=5)
    async with Client(
        BASE, transport=script, retry=policy, middlewares=[per_send(ThrottleMiddleware())]
    ) as api:
        with pytest.raises(RateLimitError):
            await api.get("/things")
        with pytest.raises(ThrottledError):
            await api.get("/things")
        assert api.waits == []
    assert len(script.requests) == 1


# --- the length of a closure


NOW = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)


def date(seconds: float = 0) -> str:
    """An HTTP date, so many seconds from now."""
    return (NOW + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "2"}, 2),
        (503, {"Retry-After": "2"}, 2),
        (429, {"Retry-After": "0.25"}, 0.25),
        (429, {"retry-after-ms": "250", "Retry-After": "9"}, 0.25),
        (503, {"Retry-After": date(30), "Date": date()}, 30),
        (429, {"RateLimit-Reset": "7"}, 7),
        (503, {"RateLimit-Reset": "7"}, 0),
        (429, {}, 0),
        (503, {}, 0),
        (429, {"Retry-After": "0"}, 0),
        (429, {"Retry-After": "-1"}, 0),
        (429, {"Retry-After": "soon"}, 0),
        (429, {"Retry-After": "nan"}, 0),
        (429, {"Retry-After": date(-30), "Date": date()}, 0),
        (500, {"Retry-After": "2"}, 0),
        (202, {"Retry-After": "2"}, 0),
        (301, {"Retry-After": "2"}, 0),
        (429, {"Retry-After": "1764298800"}, 300),
    ],
)
async def test_what_closes_an_origin(status: int, headers: dict[str, str], seconds: float) -> None:
    """A 429, and a 503 with Retry-After, close the origin, in every valid form, for at most 300 s."""
    setting = Setting(reply(status, **headers))
    assert await setting.call() == status
    assert setting.gate.closed_for(ORIGIN) == seconds


async def test_an_earlier_time_shortens_nothing() -> None:
    """A response with an earlier time than a previous one changes nothing."""
    setting = Setting(reply(429, Retry_After="10"), reply(429, Retry_After="2"))
    calls = [setting.start(), setting.start()]
    await asyncio.gather(*calls)
    assert setting.gate.closed_for(ORIGIN) == 10


async def test_a_later_time_counts() -> None:
    """A response with a later time also holds the calls that already wait."""
    setting = Setting(reply(429, Retry_After="2"))
    late = Late(9)
    await late.send_through(setting.gate)
    await setting.call()
    waiting = setting.start()
    await setting.timeline.move_to(1)
    await late.answer()
    await setting.timeline.move_to(9.9)
    assert setting.wire.times == [0]
    await setting.timeline.move_to(10)
    assert waiting.result() == 200
    assert setting.wire.times == [0, 10]


async def test_a_later_time_does_not_shorten_what_comes_on_top() -> None:
    """Calls with a long wait are spread widely, also if the time is extended a little at the end."""
    setting = Setting(reply(429, Retry_After="10"), jitter=lambda window: window)
    late = Late(2)
    await late.send_through(setting.gate)
    await setting.call()
    await setting.timeline.move_to(9)
    await late.answer()
    waiting = setting.start()
    await setting.timeline.move_to(20)
    assert waiting.done()
    assert setting.wire.times == [0, 15]


async def test_a_success_opens_nothing() -> None:
    """A response to a request that was sent earlier does not extend the wait."""
    setting = Setting(reply(429, Retry_After="2"), reply(200))
    calls = [setting.start(), setting.start()]
    assert await asyncio.gather(*calls) == [429, 200]
    assert setting.gate.closed_for(ORIGIN) == 2


async def test_who_had_waited_for_longer_than_it_was_put_off_goes() -> None:
    """An extension shorter than a call's random wait does not make the call wait again."""
    setting = Setting(jitter=lambda window: window / 2)
    late = Late(2)
    await late.send_through(setting.gate)
    await setting.call()
    waiting = setting.start()
    await setting.timeline.move_to(0.25)
    await late.answer()
    assert setting.gate.closed_for(ORIGIN) == 2
    await setting.timeline.move_to(2.5)
    assert waiting.result() == 200
    assert setting.wire.times == [0, 2.5]


async def test_other_origins_are_open() -> None:
    """A response closes its own origin only, in every spelling of it."""
    setting = Setting()
    await setting.call()
    assert await setting.call(get("files.example.com")) == 200
    waiting = setting.start(get("API.example.com:443"))
    await setting.timeline.move_to(1)
    assert not waiting.done()
    await setting.timeline.move_to(2)
    assert waiting.result() == 200


async def test_the_origin_is_that_of_the_request_as_it_was_handed_in() -> None:
    """A middleware inside may send to another origin: the throttle follows the origin of the request it
    sees.
    """
    setting = Setting()

    async def elsewhere(request: APIRequest) -> AsyncAPIResponse[Any]:
        request.url = get("eu.example.com").url
        return await setting.wire(request)

    await setting.gate(get(), elsewhere)
    assert setting.gate.closed_for(ORIGIN) == 2


async def test_origins_are_not_remembered_without_end() -> None:
    """A client that calls any number of origins keeps a bounded number, those closed last."""
    setting = Setting(*[reply(429, Retry_After="60")] * 1500)
    late = Late(90)
    await late.send_through(setting.gate)
    await setting.call()
    for number in range(1499):
        if number == 900:
            await late.answer()
        await setting.call(get(f"h{number}.example.com"))
    assert len(setting.gate.stats()) == 1000
    assert setting.gate.closed_for("https://h1498.example.com") == 60
    assert setting.gate.closed_for("https://h400.example.com") == 0
    assert setting.gate.closed_for(ORIGIN) == 90


async def test_it_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A closed origin is logged at INFO, once and not for every call, without the URL."""
    caplog.set_level(logging.INFO, logger="aioapiclient.throttle")
    setting = Setting(*[reply(429, Retry_After="2")] * 3)
    await asyncio.gather(*(setting.start() for _ in range(3)))
    assert caplog.messages == ["https://api.example.com asks for 2.00 s: every call to it waits"]


# --- calls that do not wait


async def test_a_call_whose_deadline_comes_before_gives_up_at_once() -> None:
    """A call that cannot be sent before its deadline fails without waiting, with the seconds left."""
    setting = Setting(reply(429, Retry_After="20"))
    await setting.call()
    await setting.timeline.move_to(5)
    loop = asyncio.get_running_loop()
    with pytest.raises(ThrottledError) as caught:
        await setting.call(get(deadline=loop.time() + 10, attempt=1))
    error = caught.value
    assert str(error) == (
        "GET https://api.example.com/v1/things: not sent: "
        "the server has asked for a wait of 15.00 s more, past the deadline"
    )
    assert (error.retry_after, error.retries_taken) == (15, 1)
    assert error.request is not None
    assert len(setting.wire.times) == 1


async def test_the_jitter_does_not_pass_the_deadline() -> None:
    """A call with just enough time is sent in time: its jitter is shortened."""
    setting = Setting(reply(429, Retry_After="20"), jitter=lambda window: window)
    await setting.call()
    call = setting.start(get(deadline=asyncio.get_running_loop().time() + 21))
    await setting.timeline.move_to(60)
    assert call.result() == 200
    assert 20 < setting.wire.times[1] <= 21


async def test_no_call_waits_for_longer_than_max_wait() -> None:
    """A call that would wait for more than 60 s fails immediately; one with a shorter wait waits."""
    setting = Setting(reply(429, Retry_After="61"))
    assert await setting.call() == 429
    with pytest.raises(
        ThrottledError, match=r"61\.00 s more, above max_wait=60 of ThrottleMiddleware"
    ) as caught:
        await setting.call()
    assert caught.value.retry_after == 61
    await setting.timeline.move_to(1)
    waiting = setting.start()
    await setting.timeline.move_to(61)
    assert waiting.result() == 200


async def test_being_put_off_again_and_again_counts_together() -> None:
    """A call whose wait is extended fails when the total would exceed ``max_wait``."""
    setting = Setting(reply(429, Retry_After="8"), max_wait=10)
    late = Late(5)
    await late.send_through(setting.gate)
    await setting.call()
    waiting = setting.start()
    await setting.timeline.move_to(7)
    await late.answer()
    await setting.timeline.move_to(8)
    with pytest.raises(ThrottledError) as caught:
        await waiting
    assert caught.value.retry_after == 4


async def test_a_call_that_is_cancelled_at_the_gate_leaves_nothing() -> None:
    """A cancellation passes, and the other waiting calls are not affected."""
    setting = Setting()
    await setting.call()
    calls = [setting.start() for _ in range(3)]
    await turns()
    calls[1].cancel()
    await setting.timeline.move_to(2)
    assert calls[1].cancelled()
    assert [calls[0].result(), calls[2].result()] == [200, 200]


async def test_closing_the_client_ends_a_wait() -> None:
    """A call that waits when its client is closed raises ClientClosedError."""
    api = Client(
        BASE,
        max_retries=0,
        transport=Script(reply(429, Retry_After="30")),
        middlewares=[per_send(ThrottleMiddleware())],
    )
    with pytest.raises(RateLimitError):
        await api.get("/things")
    waiting = asyncio.ensure_future(api.get("/things"))
    await turns()
    await api.close()
    with pytest.raises(ClientClosedError):
        await waiting


async def test_no_endless_wait_with_a_clock_that_stands_still() -> None:
    """With a clock that stands still, as in tests, no call waits indefinitely."""
    clock, naps = FakeClock(), FakeClock()
    gate = ThrottleMiddleware(clock=clock.time, sleep=naps.sleep, jitter=no_jitter)
    wire = Wire(Timeline())
    assert (await gate(get(), wire)).status == 429
    assert (await gate(get(), wire)).status == 200
    assert naps.sleeps == [2]


# --- with a limit


async def test_what_waits_for_a_slot_finds_the_gate_closed_too() -> None:
    """Inside a concurrency limit, the throttle holds the calls that had waited in its queue."""
    setting = Setting()
    limit = ConcurrencyLimitMiddleware(1)
    handler = chained([limit, setting.gate], setting.wire)
    calls = [asyncio.ensure_future(handler(get())) for _ in range(5)]
    await setting.timeline.move_to(1.9)
    assert setting.wire.times == [0]
    await setting.timeline.move_to(2)
    assert [call.result().status for call in calls] == [429, 200, 200, 200, 200]


async def test_a_gate_on_both_sides_of_a_limit() -> None:
    """A second throttle outside the limit keeps new calls out of its queue while the origin is closed."""
    setting = Setting(reply(429, Retry_After="20"))
    limit = ConcurrencyLimitMiddleware(1)
    handler = chained([setting.gate, limit, setting.gate], setting.wire)
    calls = [asyncio.ensure_future(handler(get())) for _ in range(2)]
    await setting.timeline.move_to(1)
    calls.append(asyncio.ensure_future(handler(get())))
    await turns()
    assert (limit.in_flight, limit.waiting) == (1, 0)
    async with asyncio.timeout(10):
        with pytest.raises(ThrottledError):
            await handler(get(deadline=asyncio.get_running_loop().time() + 15))
    await setting.timeline.move_to(20)
    assert [call.result().status for call in calls] == [429, 200, 200]
    assert setting.wire.times == [0, 20, 20]


# --- promises, names and invalid arguments


async def test_it_keeps_the_promises() -> None:
    """All six promises hold."""
    clock = FakeClock()
    await check_middleware(lambda: ThrottleMiddleware(clock=clock.time, sleep=clock.sleep))


class Closing:
    """A gate whose server asks for a wait with every 429 and 503."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.gate = ThrottleMiddleware(clock=clock.time, sleep=clock.sleep)

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        return await self.gate(request, partial(self._naming_a_time, handler))

    async def _naming_a_time(self, handler: Handler, request: APIRequest) -> AsyncAPIResponse[Any]:
        answer = await handler(request)
        if answer.status in {429, 503}:
            answer.headers = CIMultiDictProxy(CIMultiDict({**answer.headers, "Retry-After": "3"}))
        return answer


async def test_it_keeps_the_promises_while_it_is_closed() -> None:
    """All six promises hold for calls that wait, and are cancelled while they do."""
    await check_middleware(Closing)


def test_it_shows_in_the_chain() -> None:
    """`explain` names it, and it is loaded by its name."""
    gate = load_middleware("throttle", max_wait=10)
    api = AsyncAPIClient(BASE, middlewares=[per_send(gate)])
    lines = [line.strip() for line in api.explain().splitlines()]
    assert lines[lines.index("TimeoutMiddleware") - 1] == "ThrottleMiddleware"
    assert repr(gate) == "ThrottleMiddleware(max_wait=10, max_hold=300)"


async def test_stats_name_the_origins_that_are_closed() -> None:
    """`stats` has the seconds of each closed origin, and no entry for an open one."""
    setting = Setting(reply(429, Retry_After="2"))
    assert setting.gate.stats() == {}
    assert await setting.call() == 429
    assert setting.gate.stats() == {ORIGIN: {"held_for": 2.0}}
    await setting.timeline.move_to(0.5)
    assert setting.gate.stats() == {ORIGIN: {"held_for": 1.5}}
    await setting.timeline.move_to(2)
    assert setting.gate.stats() == {}


@pytest.mark.parametrize("name", ["max_wait", "max_hold"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, InvalidRequestError, "must be 0 seconds or more, not -1"),
        (float("inf"), InvalidRequestError, "must be 0 seconds or more, not inf"),
        (float("nan"), InvalidRequestError, "must be 0 seconds or more, not nan"),
        pytest.param(10**400, InvalidRequestError, "must be a number of seconds that fits", id="huge"),
        ("60", TypeError, "must be a number of seconds, not str"),
        (None, TypeError, "must be a number of seconds, not None"),
        (True, TypeError, "must be a number of seconds, not bool"),
    ],
)
def test_values_that_make_no_sense_are_refused(
    name: str, value: Any, error: type[Exception], message: str
) -> None:
    """A value that is not a number of seconds is refused on creation, by name."""
    with pytest.raises(error, match=f"{name} {message}"):
        ThrottleMiddleware(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("jitter", 0.5, "jitter must be a function, not 0.5"),
        ("jitter", asyncio.sleep, "jitter must be a plain function, not an async one"),
        ("clock", 1000.0, "clock must be a function, not 1000.0"),
        ("sleep", 1, "sleep must be a function, not 1"),
    ],
)
def test_what_cannot_be_called_is_refused(name: str, value: Any, message: str) -> None:
    """A value that is not a function is refused on creation, not with the first 429."""
    with pytest.raises(TypeError, match=message):
        ThrottleMiddleware(**{name: value})
