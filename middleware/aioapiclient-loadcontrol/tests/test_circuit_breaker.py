"""The circuit breaker: when it opens, which calls it refuses, which ones are probes, and which failures do
not count.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from aioapiclient_loadcontrol import CircuitBreakerMiddleware
from helpers import BASE, Client, Script, reply
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from servers import close, drip, hang, in_turn, ok, raw_server, refusing_port, respond, response, until

from aioapiclient import (
    APIConnectionError,
    APIError,
    APIRequest,
    APIResponseValidationError,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    BearerAuth,
    BodyTooLargeError,
    CircuitOpenError,
    ClientClosedError,
    InternalServerError,
    InvalidRequestError,
    RetryableError,
    RetryPolicy,
    Timeout,
    per_attempt,
)
from aioapiclient.testing import Answer, FakeClock, check_middleware
from aioapiclient.testing import respond as answer

ORIGIN = "https://api.example.com"


def get(url: str = f"{BASE}/things", **fields: Any) -> APIRequest:
    """A request of no client."""
    return APIRequest("GET", url, **fields)


@pytest.fixture
def clock() -> FakeClock:
    """The clock of the breaker."""
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> CircuitBreakerMiddleware:
    """One that opens at the first failure, and closes after one probe."""
    return CircuitBreakerMiddleware(minimum_calls=1, half_open_permits=1, clock=clock.time)


async def run(breaker: CircuitBreakerMiddleware, *answers: Answer, url: str = f"{BASE}/things") -> list[str]:
    """Send one request for each answer; return the results: a status, or the name of an error."""
    ends = []
    for one in answers:
        try:
            came = await breaker(get(url), Script(one))
        except Exception as error:
            ends.append(type(error).__name__)
        else:
            await came.close()
            ends.append(str(came.status))
    return ends


# --- closed, open


async def test_an_open_circuit_refuses_at_once_and_sends_nothing(
    breaker: CircuitBreakerMiddleware, clock: FakeClock
) -> None:
    """Once open, a request raises CircuitOpenError, with its origin and the seconds left."""
    await run(breaker, answer(503))
    clock.advance(1.5)
    transport = Script(answer(200))

    with pytest.raises(CircuitOpenError) as raised:
        await breaker(get(f"{BASE}/things?key=secret", attempt=1), transport)

    error = raised.value
    assert transport.requests == []
    assert error.origin == ORIGIN
    assert error.retry_after == 3.5
    assert error.retries_taken == 1
    assert error.final
    assert error.sent is False
    assert error.request is not None
    assert str(error) == (
        f"GET {BASE}/things?...: not sent, the circuit of {ORIGIN} is open for another 3.5 s"
    )


def test_the_error_pickles_with_its_facts() -> None:
    """A pickled CircuitOpenError keeps its origin and the seconds, and is still final."""
    error = CircuitOpenError("open", origin=ORIGIN, retry_after=2.5)
    twin = pickle.loads(pickle.dumps(error))

    assert (twin.origin, twin.retry_after, twin.final, twin.sent) == (ORIGIN, 2.5, True, False)


async def test_it_opens_at_the_ratio_and_not_before_the_number() -> None:
    """At least half of at least twenty requests must have failed."""
    breaker = CircuitBreakerMiddleware()

    await run(breaker, *(answer(200) for _ in range(11)), *(answer(500) for _ in range(10)))
    assert breaker.state(ORIGIN) == "closed"
    await run(breaker, answer(500))
    assert breaker.state(ORIGIN) == "open"

    few = CircuitBreakerMiddleware()
    await run(few, *(answer(500) for _ in range(19)))
    assert few.state(ORIGIN) == "closed"
    await run(few, answer(500))
    assert few.state(ORIGIN) == "open"


async def test_the_window_forgets(clock: FakeClock) -> None:
    """Failures and successes older than the window no longer count."""
    breaker = CircuitBreakerMiddleware(minimum_calls=4, window=30, clock=clock.time)

    await run(breaker, *(answer(500) for _ in range(3)))
    clock.advance(31)
    await run(breaker, *(answer(500) for _ in range(3)))
    assert breaker.state(ORIGIN) == "closed"
    await run(breaker, answer(500))
    assert breaker.state(ORIGIN) == "open"


async def test_a_circuit_that_closed_begins_anew(clock: FakeClock) -> None:
    """The failures that opened it do not count any more, even if the window still includes them."""
    breaker = CircuitBreakerMiddleware(minimum_calls=4, half_open_permits=1, clock=clock.time)
    await run(breaker, *(answer(500) for _ in range(4)))
    clock.advance(5)
    await run(breaker, answer(200), *(answer(500) for _ in range(3)))
    assert breaker.state(ORIGIN) == "closed"
    await run(breaker, answer(500))
    assert breaker.state(ORIGIN) == "open"


async def test_each_origin_has_a_circuit_of_its_own(breaker: CircuitBreakerMiddleware) -> None:
    """Each scheme, host and port has its own circuit: a failing origin does not affect another one."""
    others = ("http://api.example.com", "https://api.example.com:444", "https://other.example.com")
    await run(breaker, answer(500))

    assert await run(breaker, answer(200), url=f"{ORIGIN}/other") == ["CircuitOpenError"]
    for other in others:
        assert await run(breaker, answer(200), url=other) == ["200"]


async def test_the_origins_that_are_known_are_bounded() -> None:
    """A server that redirects to ever more hosts does not grow the memory: the most recently used circuits
    are kept.
    """
    breaker = CircuitBreakerMiddleware(minimum_calls=1)
    old, used = "https://old.example.com", "https://used.example.com"
    for origin in (used, old):
        await run(breaker, answer(500), url=origin)
        assert breaker.state(origin) == "open"
    assert await run(breaker, answer(200), url=used) == ["CircuitOpenError"]
    for number in range(999):
        await run(breaker, answer(200), url=f"https://{number}.example.com")

    assert (breaker.state(old), breaker.state(used)) == ("closed", "open")
    assert len(breaker.stats()) == 1000


async def test_what_ends_after_the_circuit_turned_is_not_heard(
    breaker: CircuitBreakerMiddleware, clock: FakeClock
) -> None:
    """A request from before the opening neither prolongs it, nor closes the circuit, nor counts as a
    probe.
    """
    for late in (answer(500), answer(200)):
        going = asyncio.Event()

        async def slow(request: APIRequest, late: Any = late, going: asyncio.Event = going) -> Any:
            await going.wait()
            return late(request)

        call = asyncio.create_task(breaker(get(), slow))
        await asyncio.sleep(0)
        await run(breaker, answer(500))
        clock.advance(4)
        going.set()
        await call
        assert breaker.state(ORIGIN) == "open"
        clock.advance(1)
        assert breaker.state(ORIGIN) == "half-open"
        assert await run(breaker, answer(200)) == ["200"]
        assert breaker.state(ORIGIN) == "closed"


# --- failures


def lost(**facts: Any) -> APIConnectionError:
    """A connection that failed."""
    return APIConnectionError("lost", **facts)


def retryable(cause: BaseException | None = None, status: int | None = None) -> Callable[[APIRequest], Any]:
    """Asks for a retry of every response."""

    def make(request: APIRequest) -> Any:
        made = None if status is None else AsyncAPIResponse.from_bytes(request, status)
        error = RetryableError("again", response=made)
        error.__cause__ = cause
        return error

    return make


FAILURES: dict[str, Answer] = {
    **{str(status): answer(status) for status in (500, 502, 503, 504, 529, 599)},
    "503 with Retry-After": answer(503, headers={"Retry-After": "1"}),
    "refused": lost(sent=False),
    "lost": lost(),
    **{phase: APITimeoutError(phase=phase) for phase in ("connect", "attempt", "read", "write")},  # type: ignore[arg-type]
    "a RetryableError from a lost connection": retryable(cause=lost()),
    "a RetryableError with a 503": retryable(status=503),
}
ANSWERS: dict[str, Answer] = {
    **{str(status): answer(status) for status in (200, 204, 302, 304, 400, 401, 404, 408, 409, 429)},
    **{str(status): answer(status) for status in (501, 505)},
    "undecodable": APIResponseValidationError(),
    "too large": BodyTooLargeError(),
    "a RetryableError with a 202": retryable(status=202),
}
SILENT: dict[str, Answer] = {
    "pool": APITimeoutError(phase="pool", sent=False),
    "total": APITimeoutError(phase="total"),
    "certificate": lost(final=True),
    "refused by us": InvalidRequestError(),
    "closed": ClientClosedError(),
    "another circuit": CircuitOpenError(),
    "an auth's own": InternalServerError(final=True),
    "a bug": TypeError("a bug"),
    "a RetryableError of a middleware's own": retryable(),
    "cancelled": asyncio.CancelledError(),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure(breaker: CircuitBreakerMiddleware, name: str) -> None:
    """5XX except 501 and 505, lost and refused connections, and every timeout caused by the server count
    as failures.
    """
    await run(breaker, FAILURES[name])
    assert breaker.state(ORIGIN) == "open"


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer(breaker: CircuitBreakerMiddleware, clock: FakeClock, name: str) -> None:
    """Any other status shows a healthy server, even a 429: it closes a half-open circuit."""
    await run(breaker, answer(500))
    clock.advance(5)
    await run(breaker, ANSWERS[name])
    assert breaker.state(ORIGIN) == "closed"


@pytest.mark.parametrize("name", SILENT)
async def test_what_says_nothing_of_the_server(
    breaker: CircuitBreakerMiddleware, clock: FakeClock, name: str
) -> None:
    """Local waits, bugs, refusals and cancellations neither open a circuit nor close one."""
    try:
        await run(breaker, SILENT[name])
    except asyncio.CancelledError:
        assert name == "cancelled"
    assert breaker.state(ORIGIN) == "closed"

    await run(breaker, answer(500))
    clock.advance(5)
    try:
        await run(breaker, SILENT[name])
    except asyncio.CancelledError:
        assert name == "cancelled"
    assert breaker.state(ORIGIN) == "half-open"
    assert await run(breaker, answer(200)) == ["200"]
    assert breaker.state(ORIGIN) == "closed"


async def test_a_status_that_the_call_expects_is_not_a_failure(breaker: CircuitBreakerMiddleware) -> None:
    """A 503 that ``ok_statuses`` names is an answer."""
    async with Client(BASE, middlewares=[per_attempt(breaker)], transport=Script(reply(503))) as api:
        await api.get("/health", ok_statuses={503})
    assert breaker.state(ORIGIN) == "closed"


async def test_the_callers_own_view_has_the_first_word(clock: FakeClock) -> None:
    """``failures`` decides what counts: True, False, or None for the table."""

    def failures(outcome: AsyncAPIResponse[Any] | Exception) -> bool | None:
        if isinstance(outcome, LookupError):
            return True
        if isinstance(outcome, AsyncAPIResponse) and outcome.status in {404, 500}:
            return outcome.status == 404
        return None

    def fresh() -> CircuitBreakerMiddleware:
        return CircuitBreakerMiddleware(minimum_calls=1, failures=failures, clock=clock.time)

    for given, state in {
        answer(404): "open",
        LookupError: "open",
        answer(500): "closed",
        answer(502): "open",
        answer(200): "closed",
    }.items():
        breaker = fresh()
        await run(breaker, given)
        assert breaker.state(ORIGIN) == state


async def test_a_bug_in_failures_is_raised_and_leaves_nothing_open(clock: FakeClock) -> None:
    """An exception of ``failures``, or a result that is not a verdict, is raised; the response is closed."""

    def raises(outcome: Any) -> Any:
        raise KeyError("status")

    for failures, error in ((raises, KeyError), (lambda outcome: 1, TypeError)):
        breaker = CircuitBreakerMiddleware(minimum_calls=1, failures=failures, clock=clock.time)  # type: ignore[arg-type]
        transport = Script(answer(500))
        with pytest.raises(error):
            await breaker(get(), transport)
        assert transport.open_responses == 0
        assert breaker.state(ORIGIN) == "closed"


# --- half-open


class Server:
    """A handler whose calls end at the test's command."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[Answer]] = []

    async def __call__(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        ended: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting.append(ended)
        return await Script(await ended)(request)


async def half_open(clock: FakeClock, permits: int) -> CircuitBreakerMiddleware:
    """A breaker whose circuit was open, until now."""
    breaker = CircuitBreakerMiddleware(minimum_calls=1, half_open_permits=permits, clock=clock.time)
    await run(breaker, answer(500))
    clock.advance(5)
    return breaker


async def test_exactly_as_many_probes_as_there_are_permits(clock: FakeClock) -> None:
    """Of ten concurrent requests three pass; when all three succeed, the circuit closes."""
    breaker, server = await half_open(clock, 3), Server()
    calls = [asyncio.create_task(breaker(get(), server)) for _ in range(10)]
    await asyncio.sleep(0)

    assert len(server.waiting) == 3
    refusals = [call.exception() for call in calls[3:]]
    assert all(isinstance(error, CircuitOpenError) for error in refusals)
    assert {error.retry_after for error in refusals if isinstance(error, CircuitOpenError)} == {5.0}
    assert "is half-open, and its probes are in flight" in str(refusals[0])

    for probe in server.waiting[:2]:
        probe.set_result(answer(200))
    await asyncio.wait(calls[:2])
    assert breaker.state(ORIGIN) == "half-open"
    assert await run(breaker, answer(200)) == ["CircuitOpenError"]

    server.waiting[2].set_result(answer(200))
    await asyncio.wait(calls)
    assert breaker.state(ORIGIN) == "closed"
    assert await run(breaker, answer(200)) == ["200"]


async def test_the_first_probe_that_fails_opens_it_again(clock: FakeClock) -> None:
    """One failed probe is enough, whatever the others return; the open time starts again."""
    breaker, server = await half_open(clock, 3), Server()
    calls = [asyncio.create_task(breaker(get(), server)) for _ in range(3)]
    await asyncio.sleep(0)
    server.waiting[0].set_result(answer(200))
    server.waiting[1].set_result(answer(502))
    await asyncio.wait(calls[:2])

    assert breaker.state(ORIGIN) == "open"
    clock.advance(2)
    server.waiting[2].set_result(answer(200))
    await asyncio.wait(calls)
    with pytest.raises(CircuitOpenError) as raised:
        await breaker(get(), server)
    assert raised.value.retry_after == 3.0


async def test_a_probe_that_is_cancelled_gives_its_permit_back(clock: FakeClock) -> None:
    """A cancelled probe gives no result; the next request is the probe."""
    breaker, server = await half_open(clock, 1), Server()
    call = asyncio.create_task(breaker(get(), server))
    await asyncio.sleep(0)
    assert await run(breaker, answer(200)) == ["CircuitOpenError"]

    call.cancel()
    await asyncio.wait({call})
    assert call.cancelled()
    assert await run(breaker, answer(200)) == ["200"]
    assert breaker.state(ORIGIN) == "closed"


async def test_a_probe_whose_coroutine_is_thrown_away_gives_its_permit_back(clock: FakeClock) -> None:
    """A call whose coroutine is never finished does not keep a permit either."""
    breaker = await half_open(clock, 1)
    work = breaker(get(), Server())
    work.send(None)
    work.close()

    assert await run(breaker, answer(200)) == ["200"]
    assert breaker.state(ORIGIN) == "closed"


async def test_a_stream_that_is_abandoned_keeps_no_permit(clock: FakeClock) -> None:
    """A stream counts when its head arrives: an open or abandoned stream blocks no call."""
    breaker = await half_open(clock, 2)
    held = await breaker(get(stream=True), Script(answer(200, chunks=[b"a", b"b"])))
    assert not held.is_closed
    assert breaker.state(ORIGIN) == "half-open"
    again = await breaker(get(stream=True), Script(answer(200, chunks=[b"a", b"b"])))

    assert breaker.state(ORIGIN) == "closed"
    await held.close()
    await again.close()


# --- in a client


async def test_a_server_in_trouble_is_left_alone_and_then_asked_again(clock: FakeClock) -> None:
    """On the wire: failures, then no requests while it is open, then one probe, then all requests."""
    breaker = CircuitBreakerMiddleware(minimum_calls=3, half_open_permits=1, clock=clock.time)
    broken = respond(response("500 Internal Server Error"))
    async with (
        raw_server(in_turn(broken, broken, broken, respond(ok()))) as server,
        Client(server.url, max_retries=0, middlewares=[per_attempt(breaker)]) as api,
    ):
        for _ in range(3):
            with pytest.raises(InternalServerError):
                await api.get("/things")
        for _ in range(50):
            with pytest.raises(CircuitOpenError):
                await api.get("/things")
        assert len(server.requests) == 3
        clock.advance(5)
        for _ in range(5):
            assert await api.get("/things") == {}
        assert len(server.requests) == 8


async def test_it_is_never_tried_again(clock: FakeClock) -> None:
    """The attempts of a call continue until the circuit opens; a refusal ends the call, whatever the
    verdict.
    """

    async def always(request: APIRequest, outcome: Any) -> bool:
        return True

    breaker = CircuitBreakerMiddleware(minimum_calls=2, clock=clock.time)
    transport = Script(reply(503))
    policy = RetryPolicy(max_retries=5, verdict=always, budget=None)
    async with Client(BASE, retry=policy, middlewares=[per_attempt(breaker)], transport=transport) as api:
        with pytest.raises(CircuitOpenError) as first:
            await api.get("/things")
        with pytest.raises(CircuitOpenError) as second:
            await api.get("/things")

    assert len(transport.requests) == 2
    assert len(api.waits) == 2
    assert (first.value.retries_taken, second.value.retries_taken) == (2, 0)
    assert isinstance(second.value, APIError)
    assert not isinstance(second.value, APIConnectionError)


async def test_a_body_that_breaks_in_the_attempt_is_a_failure(breaker: CircuitBreakerMiddleware) -> None:
    """A 200 with a broken body is a failed attempt, because the body is read inside the attempt."""
    cut = close(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    async with (
        raw_server(cut) as server,
        Client(server.url, max_retries=0, middlewares=[per_attempt(breaker)]) as api,
    ):
        with pytest.raises(APIConnectionError):
            await api.get("/things")
        assert breaker.state(server.url) == "open"


async def test_a_server_that_refuses_connections_opens_it(breaker: CircuitBreakerMiddleware) -> None:
    """No server listens: the second call is not even tried."""
    url = f"http://127.0.0.1:{refusing_port()}"
    async with Client(url, max_retries=0, middlewares=[per_attempt(breaker)]) as api:
        with pytest.raises(APIConnectionError):
            await api.get("/things")
        with pytest.raises(CircuitOpenError):
            await api.get("/things")


@pytest.mark.parametrize("timeout", [0.3, Timeout(attempt=0.05), Timeout(read=0.05)], ids=str)
async def test_a_server_that_hangs_opens_it(
    breaker: CircuitBreakerMiddleware, timeout: float | Timeout
) -> None:
    """Whichever limit ends the wait for a silent server, the total of the call among them."""
    async with (
        raw_server(hang()) as server,
        Client(server.url, max_retries=0, timeout=timeout, middlewares=[per_attempt(breaker)]) as api,
    ):
        with pytest.raises(APITimeoutError):
            await api.get("/things")
        assert breaker.state(server.url) == "open"


async def test_a_deadline_that_ran_out_on_our_own_waits_is_not_a_failure(
    breaker: CircuitBreakerMiddleware,
) -> None:
    """An attempt cut off by the deadline does not count if it began late."""
    loop = asyncio.get_running_loop()
    started = loop.time() - 10

    async def hangs(request: APIRequest) -> AsyncAPIResponse[Any]:
        await asyncio.Event().wait()
        raise AssertionError

    late = get(started=started, deadline=loop.time() + 0.01)
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout_at(late.deadline):
            await breaker(late, hangs)
    assert breaker.state(ORIGIN) == "closed"

    whole = get(deadline=loop.time() + 0.01)
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout_at(whole.deadline):
            await breaker(whole, hangs)
    assert breaker.state(ORIGIN) == "open"


async def test_a_timeout_of_the_caller_does_not_count(breaker: CircuitBreakerMiddleware) -> None:
    """A cancellation, and a timeout of the caller's own, are not held against the server."""
    async with (
        raw_server(hang()) as server,
        Client(server.url, middlewares=[per_attempt(breaker)]) as api,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await api.get("/things")
        before = len(server.requests)  # which the first one may not have reached
        call = asyncio.create_task(api.get("/things"))
        await until(lambda: len(server.requests) > before)
        call.cancel()
        await asyncio.wait({call})
        assert call.cancelled()
        assert breaker.state(server.url) == "closed"


async def test_closing_the_client_is_not_a_failure(breaker: CircuitBreakerMiddleware) -> None:
    """The calls that `close` ends were ended by us."""
    async with raw_server(hang()) as server:
        api = Client(server.url, middlewares=[per_attempt(breaker)])
        call = asyncio.create_task(api.get("/things"))
        await until(lambda: server.requests)
        await api.close()
        await asyncio.wait({call})
        assert isinstance(call.exception(), ClientClosedError)
        assert breaker.state(server.url) == "closed"


async def test_a_token_that_cannot_be_had_is_not_a_failure(breaker: CircuitBreakerMiddleware) -> None:
    """Failures of the credential's own server do not count against this one."""

    async def provider() -> str:
        raise lost()

    async with Client(
        BASE, auth=BearerAuth(provider), middlewares=[per_attempt(breaker)], transport=Script()
    ) as api:
        with pytest.raises(APIConnectionError):
            await api.get("/things")
    assert breaker.state(ORIGIN) == "closed"


async def test_a_slow_stream_counts_with_its_head(breaker: CircuitBreakerMiddleware) -> None:
    """A stream that breaks later has been answered: that is the stream's own error."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    async with (
        raw_server(drip(head + b"data: 1\n\n", size=200)) as server,
        Client(server.url, middlewares=[per_attempt(breaker)]) as api,
        api.stream("GET", "/events") as events,
    ):
        assert await anext(aiter(events)) == 1
        assert breaker.state(server.url) == "closed"


async def test_views_share_the_circuits(breaker: CircuitBreakerMiddleware) -> None:
    """A view has the same middleware, and so the same circuits."""
    async with Client(
        BASE, max_retries=0, middlewares=[per_attempt(breaker)], transport=Script(reply(500))
    ) as api:
        with pytest.raises(InternalServerError):
            await api.with_options(timeout=3).get("/things")
        with pytest.raises(CircuitOpenError):
            await api.get("/things")


async def test_by_its_name() -> None:
    """Registered as ``circuit_breaker``, with its settings as keywords."""
    from aioapiclient import load_middleware

    loaded: Any = load_middleware("circuit_breaker", failure_ratio=0.25, open_for=30)
    assert repr(loaded) == "CircuitBreakerMiddleware(failure_ratio=0.25, open_for=30)"
    async with AsyncAPIClient(BASE, middlewares=[per_attempt("circuit_breaker")], transport=Script()) as api:
        assert await api.get("/things") == {}


async def test_what_it_logs(
    breaker: CircuitBreakerMiddleware, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each change of state, with the origin: opening as a warning."""
    caplog.set_level("INFO", logger="aioapiclient.circuit_breaker")
    await run(breaker, answer(500))
    clock.advance(5)
    await run(breaker, answer(500))
    clock.advance(5)
    await run(breaker, answer(200))

    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", f"The circuit of {ORIGIN} opens for 5 s: 1 of 1 requests failed"),
        ("INFO", f"The circuit of {ORIGIN} is half-open"),
        ("WARNING", f"The circuit of {ORIGIN} opens for 5 s: a probe failed"),
        ("INFO", f"The circuit of {ORIGIN} is half-open"),
        ("INFO", f"The circuit of {ORIGIN} is closed again"),
    ]


async def test_stats_have_the_state_of_each_circuit(
    breaker: CircuitBreakerMiddleware, clock: FakeClock
) -> None:
    """`stats` has the state of each called origin, as returned by `state`."""
    assert breaker.stats() == {}
    await run(breaker, answer(503))
    await run(breaker, answer(200), url="https://files.example.net/7")
    assert breaker.stats() == {
        ORIGIN: {"circuit": "open"},
        "https://files.example.net": {"circuit": "closed"},
    }
    clock.advance(5)
    assert breaker.stats()[ORIGIN] == {"circuit": "half-open"}


# --- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"failure_ratio": 0}, "failure_ratio must be above 0 and at most 1, not 0"),
        ({"failure_ratio": 1.5}, "failure_ratio must be above 0 and at most 1, not 1.5"),
        ({"failure_ratio": float("nan")}, "failure_ratio must be above 0 and at most 1, not nan"),
        ({"window": 0}, "window must be above 0 seconds, not 0"),
        ({"window": float("inf")}, "window must be above 0 seconds, not inf"),
        ({"open_for": -1}, "open_for must be above 0 seconds, not -1"),
        ({"open_for": 10**400}, "open_for must be a number of seconds that fits a float"),
        ({"minimum_calls": 0}, "minimum_calls must be 1 or more, not 0"),
        ({"half_open_permits": 0}, "half_open_permits must be 1 or more, not 0"),
    ],
)
def test_a_setting_out_of_range(settings: dict[str, Any], message: str) -> None:
    """A number out of range is refused when the middleware is created."""
    with pytest.raises(InvalidRequestError, match=message):
        CircuitBreakerMiddleware(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"failure_ratio": "0.5"}, "failure_ratio must be a number, not str"),
        ({"window": True}, "window must be a number of seconds, not bool"),
        ({"open_for": None}, "open_for must be a number of seconds, not None"),
        ({"minimum_calls": 2.0}, "minimum_calls must be an int of 1 or more, not 2.0"),
        ({"half_open_permits": True}, "half_open_permits must be an int of 1 or more, not bool"),
        ({"failures": {500}}, "failures must be a function, not set"),
        ({"clock": 3.0}, "clock must be a function, not 3.0"),
        ({"failures": asyncio.sleep}, "failures must be a plain function, not an async one"),
    ],
)
def test_a_setting_of_the_wrong_type(settings: dict[str, Any], message: str) -> None:
    """So is a value that is not a number, or not a function."""
    with pytest.raises(TypeError, match=message):
        CircuitBreakerMiddleware(**settings)


# --- promises


async def test_it_keeps_the_promises() -> None:
    """Closed, with its defaults."""
    await check_middleware(CircuitBreakerMiddleware)


async def test_a_half_open_circuit_keeps_the_promises() -> None:
    """Every request is a probe, and is cancelled at every await, with others in its middle."""

    def make() -> CircuitBreakerMiddleware:
        # The trials send many failures: here none counts, so that the circuit stays half-open.
        breaker = CircuitBreakerMiddleware(half_open_permits=1000, failures=lambda outcome: False)
        breaker._circuit(ORIGIN)._change("half-open")
        return breaker

    await check_middleware(make)


# --- against a plain model


class Model:
    """The behaviour of a circuit in its simplest form: a list of all results."""

    RATIO, LEAST, WINDOW, OPEN_FOR, PERMITS = 0.5, 3, 10.0, 5.0, 2

    def __init__(self) -> None:
        self.state = "closed"
        self.opened = 0.0
        self.period = 0
        self.ended: list[tuple[float, bool]] = []
        self.under_way: set[int] = set()
        self.number = 0

    def turn(self, state: str, now: float) -> None:
        self.state, self.opened = state, now
        self.period += 1
        self.ended, self.under_way = [], set()

    def enter(self, now: float) -> tuple[int, int] | None:
        if self.state == "open" and now >= self.opened + self.OPEN_FOR:
            self.turn("half-open", now)
        full = self.state == "half-open" and len(self.under_way) + len(self.ended) >= self.PERMITS
        if self.state == "open" or full:
            return None
        self.number += 1
        self.under_way.add(self.number)
        return self.period, self.number

    def leave(self, ticket: tuple[int, int], failed: bool | None, now: float) -> None:
        period, number = ticket
        if period != self.period:
            return
        self.under_way.discard(number)
        if failed is None:
            return
        self.ended.append((now, failed))
        if self.state == "half-open":
            if failed:
                self.turn("open", now)
            elif len(self.ended) == self.PERMITS:
                self.turn("closed", now)
            return
        tenth = self.WINDOW / 10
        oldest = now // tenth - 9
        recent = [failure for time, failure in self.ended if time // tenth >= oldest]
        if failed and len(recent) >= self.LEAST and sum(recent) >= self.RATIO * len(recent):
            self.turn("open", now)


OUTCOMES: dict[str, tuple[Answer, bool | None]] = {
    "200": (answer(200), False),
    "404": (answer(404), False),
    "503": (answer(503), True),
    "lost": (lost(), True),
    "pool": (APITimeoutError(phase="pool"), None),
    "bug": (LookupError("a bug"), None),
}


class CircuitMachine(RuleBasedStateMachine):
    """Calls begin, end in every way and are cancelled, in any order, while time advances."""

    calls = Bundle("calls")

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock(0.0)
        self.model = Model()
        self.server = Server()
        self.breaker = CircuitBreakerMiddleware(
            failure_ratio=Model.RATIO,
            minimum_calls=Model.LEAST,
            window=Model.WINDOW,
            open_for=Model.OPEN_FOR,
            half_open_permits=Model.PERMITS,
            clock=self.clock.time,
        )
        self.open: dict[int, tuple[asyncio.Task[Any], asyncio.Future[Answer], tuple[int, int]]] = {}
        self.streams: list[AsyncAPIResponse[Any]] = []
        self.number = 0

    def spin(self) -> None:
        async def turns() -> None:
            for _ in range(5):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    @rule(target=calls, stream=st.booleans())
    def call(self, stream: bool) -> Any:
        before = len(self.server.waiting)
        task = self.loop.create_task(self.breaker(get(stream=stream), self.server))
        self.spin()
        ticket = self.model.enter(self.clock.time())
        assert (len(self.server.waiting) > before) == (ticket is not None)
        if ticket is None:
            error = task.exception()
            assert isinstance(error, CircuitOpenError)
            assert error.retry_after is not None
            assert 0 < error.retry_after <= Model.OPEN_FOR
            return multiple()
        self.number += 1
        self.open[self.number] = (task, self.server.waiting[-1], ticket)
        return self.number

    @rule(number=consumes(calls), outcome=st.sampled_from(sorted(OUTCOMES)))
    def end(self, number: int, outcome: str) -> None:
        task, future, ticket = self.open.pop(number)
        given, failed = OUTCOMES[outcome]
        future.set_result(given)
        self.spin()
        assert task.done()
        if task.exception() is None:
            self.streams.append(task.result())  # which is never read
        self.model.leave(ticket, failed, self.clock.time())

    @rule(number=consumes(calls))
    def cancel(self, number: int) -> None:
        task, _, ticket = self.open.pop(number)
        task.cancel()
        self.spin()
        assert task.cancelled()
        self.model.leave(ticket, None, self.clock.time())

    @rule(seconds=st.sampled_from([0.25, 1.0, 2.5, 5.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: hasattr(self, "breaker"))
    @invariant()
    def they_agree(self) -> None:
        now = self.clock.time()
        over = self.model.state == "open" and now >= self.model.opened + Model.OPEN_FOR
        assert self.breaker.state(ORIGIN) == ("half-open" if over else self.model.state)
        if self.model.state == "half-open":
            assert len(self.model.under_way) <= Model.PERMITS

    def teardown(self) -> None:
        """After any history, the circuit closes once the server works and no call is in flight."""
        if not hasattr(self, "loop"):
            return
        for number in list(self.open):
            self.cancel(number)
        self.clock.advance(Model.OPEN_FOR)
        for _ in range(Model.PERMITS):
            assert self.loop.run_until_complete(run(self.breaker, answer(200))) == ["200"]
        assert self.breaker.state(ORIGIN) == "closed"
        for stream in self.streams:
            self.loop.run_until_complete(stream.close())
        self.loop.close()


TestCircuit = CircuitMachine.TestCase
