"""Retries: which failures are retried, how long the waits are, and what limits them."""

from __future__ import annotations

import asyncio
import gc
import io
import itertools
import json
import logging
import math
import tempfile
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import backoff
import pytest
from helpers import BASE, Client, Script, reply
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from multidict import CIMultiDict, CIMultiDictProxy

import aioapiclient.errors
from aioapiclient import (
    APIConnectionError,
    APIRequest,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AsyncAPIResponse,
    Body,
    InternalServerError,
    InvalidRequestError,
    RateLimitError,
    RequestNotReplayableError,
    RetryableError,
    RetryBudget,
    RetryPolicy,
    ServiceUnavailableError,
    per_attempt,
)
from aioapiclient._request import CallSettings
from aioapiclient._response.source import BytesSource
from aioapiclient.middleware import RetryMiddleware

CASES = Path(__file__).parent.parent / "cases"
ORIGIN = "https://api.example.com"
IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"}
METHODS = [*sorted(IDEMPOTENT), "PATCH", "POST"]

Answer: TypeAlias = int | Exception | Callable[[APIRequest], AsyncAPIResponse[Any]]


def request(method: str = "GET", **fields: Any) -> APIRequest:
    """Make a request to the origin of the budget."""
    return APIRequest(method, f"{ORIGIN}/v1/things", **fields)


def answer(
    status: int = 200, body: bytes = b"", **headers: str
) -> Callable[[APIRequest], AsyncAPIResponse[Any]]:
    """Make an answer; ``Retry_After="1"`` is the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: AsyncAPIResponse.from_bytes(request, status, named, body)


class Wire(Script):
    """A script that accepts statuses as answers, and counts the attempts."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(*(answer(one) if isinstance(one, int) else one for one in answers))

    @property
    def attempts(self) -> int:
        """The number of requests received."""
        return len(self.requests)


class Naps:
    """A sleep that takes no time, and records its length."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def same(wait: float) -> float:
    """Return the wait without jitter."""
    return wait


def unbounded(**options: Any) -> RetryPolicy:
    """A policy without a budget, for tests that fail more often than one allows."""
    return RetryPolicy(budget=None, **options)


async def run(
    wire: Callable[[APIRequest], Awaitable[AsyncAPIResponse[Any]]],
    policy: RetryPolicy | None = None,
    handed: APIRequest | None = None,
) -> tuple[AsyncAPIResponse[Any] | BaseException, list[float]]:
    """How a call ends, response or error, and its waits."""
    naps = Naps()
    middleware = RetryMiddleware(policy or unbounded(jitter=same), sleep=naps)
    try:
        return await middleware(handed or request(), wire), naps.seconds
    except Exception as error:
        return error, naps.seconds


# --- the table: statuses


def attempts_of_status(
    status: int,
    method: str,
    key: str | None,
    idempotent: bool | None,
    unsafe: bool | set[int],
    should_retry: str | None,
) -> int:
    """The retry table, written a second time."""
    if should_retry is not None:
        return 3 if should_retry == "true" else 1
    if status in {501, 505} or (status < 500 and status not in {408, 409, 425, 429}):
        return 1
    if status == 429:
        return 3
    if status == 409:
        return 3 if key else 1
    twice_is_once = bool(key) or (method in IDEMPOTENT if idempotent is None else idempotent)
    allowed = unsafe if isinstance(unsafe, bool) else status in unsafe
    return 3 if twice_is_once or allowed else 1


STATUSES = [400, 401, 403, 404, 408, 409, 410, 421, 422, 425, 429]
STATUSES += [500, 501, 502, 503, 504, 505, 507, 511, 529, 599]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("status", STATUSES)
async def test_every_status_follows_the_table(status: int, method: str) -> None:
    """Status, method, key, ``idempotent``, ``retry_unsafe`` and x-should-retry decide by the table."""
    combinations = itertools.product(
        (None, "key-1"), (None, True, False), (False, True, {503}), (None, "true", "false")
    )
    for key, idempotent, unsafe, should_retry in combinations:
        headers = {} if should_retry is None else {"x_should_retry": should_retry}
        wire = Wire(answer(status, **headers))
        handed = request(method, idempotency_key=key, idempotent=idempotent)
        ended, _ = await run(wire, unbounded(retry_unsafe=unsafe, jitter=same), handed)
        assert isinstance(ended, AsyncAPIResponse)
        assert ended.status == status
        expected = attempts_of_status(status, method, key, idempotent, unsafe, should_retry)
        assert wire.attempts == expected, (key, idempotent, unsafe, should_retry)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("status", [200, 201, 204, 301, 304, 307])
async def test_below_400_nothing_is_tried_again(status: int, method: str) -> None:
    """A success is not retried, even with Retry-After or x-should-retry."""
    wire = Wire(answer(status, Retry_After="1", x_should_retry="true"))
    await run(wire, None, request(method))
    assert wire.attempts == 1


@pytest.mark.parametrize(
    ("retry_after", "attempts"),
    [("0", 3), ("1", 3), ("Sun, 06 Nov 1994 08:49:37 GMT", 3), ("soon", 1), ("", 1)],
)
async def test_a_503_with_retry_after_was_refused_before_it_was_acted_on(
    retry_after: str, attempts: int
) -> None:
    """A POST is retried after a 503 with a valid Retry-After, and not after another 503."""
    wire = Wire(answer(503, Retry_After=retry_after))
    await run(wire, None, request("POST"))
    assert wire.attempts == attempts


@pytest.mark.parametrize("should_retry", ["TRUE", " true ", "True"])
async def test_x_should_retry_is_read_whatever_its_case(should_retry: str) -> None:
    """The value of x-should-retry is read in any case, and without the space around it."""
    wire = Wire(answer(404, x_should_retry=should_retry))
    await run(wire, None, request("POST"))
    assert wire.attempts == 3


@pytest.mark.parametrize("should_retry", ["yes", "1", "", "true, false"])
async def test_another_x_should_retry_leaves_it_to_the_table(should_retry: str) -> None:
    """An x-should-retry other than true and false is ignored."""
    wire = Wire(answer(500, x_should_retry=should_retry))
    await run(wire, None, request("GET"))
    assert wire.attempts == 3


async def test_statuses_of_a_policy_replace_the_table() -> None:
    """A policy's own statuses are retried, and 500 no longer is."""
    policy = unbounded(statuses={404})  # any iterable of statuses is accepted
    for status, attempts in ((404, 3), (500, 1)):
        wire = Wire(status)
        await run(wire, policy)
        assert wire.attempts == attempts


# --- the table: errors


def classified(sent: bool) -> list[tuple[Exception, str]]:
    """Every error that a chain can raise, and its row of the table; *sent* is the value of ``.sent``."""
    facts: dict[str, Any] = {} if sent else {"sent": False}
    lost = "if idempotent" if sent else "always"
    connection = [aioapiclient.errors.APIConnectionError, aioapiclient.errors.APIStreamError]
    rows: list[tuple[Exception, str]] = [(kind("lost", **facts), lost) for kind in connection]
    rows += [(kind("lost", final=True, **facts), "never") for kind in connection]
    for phase in ("connect", "pool", "attempt", "read", "write"):
        rows.append((APITimeoutError(phase=phase, **facts), lost))
        rows.append((APITimeoutError(phase=phase, final=True, **facts), "never"))
    rows.append((APITimeoutError(phase="total", **facts), "never"))
    rows.append((RetryableError(), "always"))
    seen = {type(error) for error, _ in rows}
    for name in aioapiclient.errors.__all__:
        kind = getattr(aioapiclient.errors, name)
        if isinstance(kind, type) and kind not in seen:
            rows.append((kind("no"), "never"))
    own = (
        TypeError,
        ValueError,
        RuntimeError,
        OSError,
        TimeoutError,
        ConnectionResetError,
        StopAsyncIteration,
    )
    rows += [(kind("a bug"), "never") for kind in own]
    return rows


def bodies(folder: str) -> Iterator[tuple[str, Callable[[], Body | None]]]:
    """Each kind of body, with a function that creates one."""
    path = Path(folder, "body")
    path.write_bytes(b"0123456789")

    async def once() -> AsyncIterator[bytes]:
        yield b"01234"
        yield b"56789"

    yield "none", lambda: None
    yield "bytes", lambda: Body(b"0123456789")
    yield "file", lambda: Body(io.BytesIO(b"0123456789"))
    yield "path", lambda: Body(path)
    yield "one-shot", lambda: Body(once())


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("method", METHODS)
async def test_every_error_follows_the_table(method: str, sent: bool) -> None:
    """Class, ``.sent``, ``.final``, phase, method and body decide by the table."""
    with tempfile.TemporaryDirectory() as folder:
        for (error, rule), (kind, make) in itertools.product(classified(sent), bodies(folder)):
            received: list[bytes] = []

            async def wire(
                request: APIRequest, error: Exception = error, received: list[bytes] = received
            ) -> AsyncAPIResponse[Any]:
                leaves = request.body is not None and sent
                received.append(b"".join([chunk async for chunk in request.body]) if leaves else b"")
                raise error

            ended, _ = await run(wire, None, request(method, body=make()))
            assert ended is error
            again = rule == "always" or (rule == "if idempotent" and method in IDEMPOTENT)
            gone = kind == "one-shot" and sent
            assert len(received) == (3 if again and not gone else 1), (error, rule, kind)
            whole = b"" if kind == "none" or not sent else b"0123456789"
            assert received == [whole] * len(received), (error, kind)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    ("fields", "unsafe", "attempts"),
    [
        ({}, False, 1),
        ({}, {500}, 1),  # without a status, so none is in the set
        ({}, True, 3),
        ({"idempotent": True}, False, 3),
        ({"idempotency_key": "k"}, False, 3),
    ],
)
async def test_a_lost_post_is_tried_again_on_request(
    method: str, fields: dict[str, Any], unsafe: bool | set[int], attempts: int
) -> None:
    """A request lost after sending is repeated only with a key, ``idempotent`` or ``retry_unsafe=True``."""
    wire = Wire(APIConnectionError("lost"))
    await run(wire, unbounded(retry_unsafe=unsafe), request(method, **fields))
    assert wire.attempts == attempts


async def test_the_error_of_an_attempt_is_freed_before_the_next() -> None:
    """While an attempt runs, the error of the one before is freed, with all that its traceback refers to."""
    errors: list[weakref.ref[Exception]] = []
    kept: list[bool] = []

    async def lose(request: APIRequest) -> AsyncAPIResponse[Any]:
        kept.extend(error() is not None for error in errors)
        errors.append(weakref.ref(failure := APIConnectionError("lost")))
        try:
            raise failure
        finally:
            del failure

    gc.disable()
    try:
        await run(lose)
    finally:
        gc.enable()
    assert kept == [False, False, False]  # of the first error twice


async def test_a_get_that_is_not_idempotent_is_not_done_twice() -> None:
    """``idempotent=False`` overrides the method."""
    wire = Wire(APIConnectionError("lost"))
    await run(wire, None, request("GET", idempotent=False))
    assert wire.attempts == 1


async def test_a_cancelled_attempt_is_not_tried_again() -> None:
    """A `CancelledError` passes through untouched."""
    attempts = 0

    async def wire(request: APIRequest) -> AsyncAPIResponse[Any]:
        nonlocal attempts
        attempts += 1
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await RetryMiddleware()(request(), wire)
    assert attempts == 1


async def test_a_spent_body_is_named_in_a_note() -> None:
    """A one-shot body that was partly sent is not sent again, and a note on the original error explains
    it.
    """

    async def chunks() -> AsyncIterator[bytes]:
        yield b"once"

    async def wire(request: APIRequest) -> AsyncAPIResponse[Any]:
        assert request.body is not None
        assert [chunk async for chunk in request.body] == [b"once"]
        raise APIConnectionError("lost")

    ended, naps = await run(wire, None, request("PUT", body=Body(chunks())))
    assert isinstance(ended, APIConnectionError)
    assert ["only once" in note for note in ended.__notes__] == [True]
    assert naps == []


async def test_a_spent_body_is_named_in_a_note_of_the_status_error() -> None:
    """The note about a one-shot body is on the error of a status, too."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"once"

    async with Client(BASE, transport=Script(reply(503))) as api:
        with pytest.raises(InternalServerError) as caught:
            await api.put("/things", content=chunks())
    assert any("only once" in note for note in caught.value.__notes__)


async def test_the_error_of_a_retryable_error_has_the_note() -> None:
    """If the cause of a `RetryableError` is raised, the note is on the cause."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"once"

    async def wire(request: APIRequest) -> AsyncAPIResponse[Any]:
        assert request.body is not None
        assert [chunk async for chunk in request.body] == [b"once"]
        raise RetryableError from APIConnectionError("lost")

    ended, _ = await run(wire, None, request("PUT", body=Body(chunks())))
    assert isinstance(ended, APIConnectionError)
    assert any("only once" in note for note in getattr(ended, "__notes__", ()))


# --- attempts


@pytest.mark.parametrize("max_retries", [0, 1, 2, 5])
async def test_there_are_max_retries_attempts_beyond_the_first(max_retries: int) -> None:
    """``max_retries`` counts the attempts after the first, and ``attempt`` counts from 0."""
    wire = Wire(500)
    ended, naps = await run(wire, unbounded(max_retries=max_retries))
    assert [sent.attempt for sent in wire.requests] == list(range(max_retries + 1))
    assert len(naps) == max_retries
    assert isinstance(ended, AsyncAPIResponse)
    assert ended.retries_taken == max_retries


async def test_the_error_says_how_often_it_was_tried_again() -> None:
    """``retries_taken`` of an error counts the attempts before the last one."""
    ended, _ = await run(Wire(APIConnectionError("lost")))
    assert isinstance(ended, APIConnectionError)
    assert ended.retries_taken == 2


async def test_the_number_of_the_call_wins_over_the_policys() -> None:
    """``max_retries`` of the call replaces the policy's, in both directions."""
    for mine in (0, 4):
        wire = Wire(500)
        await run(wire, unbounded(max_retries=2), request(_settings=CallSettings(max_retries=mine)))
        assert wire.attempts == mine + 1


async def test_a_request_that_comes_with_attempts_goes_on_counting() -> None:
    """A redirect hop starts with the attempts already used."""
    wire = Wire(500)
    await run(wire, unbounded(max_retries=3), request(attempt=2))
    assert [sent.attempt for sent in wire.requests] == [2, 3]


async def test_every_attempt_has_a_request_of_its_own() -> None:
    """A change that an attempt makes to its headers is not visible in the next attempt."""

    async def wire(request: APIRequest) -> AsyncAPIResponse[Any]:
        assert "X-Mark" not in request.headers
        request.headers["X-Mark"] = "1"
        return AsyncAPIResponse.from_bytes(request, 500)

    ended, naps = await run(wire)
    assert isinstance(ended, AsyncAPIResponse)
    assert len(naps) == 2


async def test_the_key_is_the_same_on_every_attempt() -> None:
    """An idempotency key is created once per call, and sent on each attempt."""
    script = Script(reply(500), reply(429), reply(200))
    async with Client(BASE, transport=script, idempotency_header="Idempotency-Key") as api:
        await api.post("/things")
        await api.post("/things")
    keys = [sent.headers["Idempotency-Key"] for sent in script.requests]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


async def test_a_conflict_is_tried_again_under_its_key() -> None:
    """A 409 is tried again when the call carries an idempotency key, and not without one."""
    for header, requests in (("Idempotency-Key", 2), (None, 1)):
        script = Script(reply(409), reply(200))
        async with Client(BASE, transport=script, idempotency_header=header) as api:
            if header is None:
                with pytest.raises(APIStatusError):
                    await api.post("/things")
            else:
                await api.post("/things")
        assert len(script.requests) == requests


async def test_a_discarded_response_is_closed_before_the_wait() -> None:
    """No connection is held while a call waits for its next attempt."""
    opened: list[AsyncAPIResponse[Any]] = []

    async def wire(request: APIRequest) -> AsyncAPIResponse[Any]:
        response: AsyncAPIResponse[Any] = AsyncAPIResponse(
            request, 503, CIMultiDictProxy(CIMultiDict()), BytesSource(b"busy")
        )
        opened.append(response)
        return response

    async def sleep(seconds: float) -> None:
        assert all(response.is_closed for response in opened)

    last = await RetryMiddleware(sleep=sleep)(request(stream=True), wire)
    assert [response.is_closed for response in opened] == [True, True, False]
    await last.close()


async def test_a_retry_is_logged_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """A retry logs one record, which contains neither a query value nor a header value."""
    handed = APIRequest("GET", "https://h/v1?token=hunter2", {"X-Key": "hunter2"})
    with caplog.at_level(logging.DEBUG, "aioapiclient"):
        await RetryMiddleware(unbounded(max_retries=1), sleep=Naps())(handed, Wire(503))
    assert len(caplog.records) == 1
    assert "503" in caplog.text
    assert "hunter2" not in caplog.text


# --- waits


async def test_the_waits_double_up_to_eight_seconds() -> None:
    """Without jitter the waits are 0.5 s, 1, 2, 4, 8, 8 ..."""
    _, naps = await run(Wire(500), unbounded(max_retries=7, jitter=same))
    assert naps == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


async def test_the_waits_begin_anew_with_every_call() -> None:
    """No state of one call is stored on the middleware."""
    naps = Naps()
    middleware = RetryMiddleware(unbounded(jitter=same), sleep=naps)
    for _ in range(2):
        await middleware(request(), Wire(500))
    assert naps.seconds == [0.5, 1.0, 0.5, 1.0]


@given(attempts=st.integers(1, 40), max_wait=st.floats(0, 30))
def test_a_wait_is_never_negative_and_never_above_max_wait(attempts: int, max_wait: float) -> None:
    """Full jitter stays between 0 and the smaller of the doubled wait and ``max_wait``."""
    policy = unbounded(max_retries=attempts, max_wait=max_wait)
    _, naps = asyncio.run(run(Wire(500), policy))
    assert len(naps) == attempts
    for number, wait in enumerate(naps):
        assert 0 <= wait <= min(0.5 * 2**number, 8.0, max_wait)


@pytest.mark.parametrize(
    ("jittered", "waited"), [(-1.0, 0.0), (math.inf, 8.0), (100.0, 8.0), (math.nan, 0.0), (0.25, 0.25)]
)
async def test_a_jitter_of_ones_own_is_bounded(jittered: float, waited: float) -> None:
    """Whatever a jitter function returns, the wait is a number between 0 and ``max_wait``."""
    _, naps = await run(Wire(500), unbounded(max_retries=1, jitter=lambda wait: jittered))
    assert naps == [waited]


async def test_a_million_attempts_do_not_overflow() -> None:
    """The waits stay at their maximum however many are requested."""
    waits = RetryPolicy().wait()
    next(waits)
    for _ in range(100_000):
        last = next(waits)
    assert last == 8


@pytest.mark.parametrize("wait", [lambda: backoff.constant(3), lambda: backoff.fibo(max_value=5)])
async def test_any_generator_of_backoff_makes_the_waits(wait: Any) -> None:
    """``wait`` takes the generators of the backoff package."""
    _, naps = await run(Wire(500), unbounded(max_retries=3, wait=wait, jitter=same))
    assert len(naps) == 3
    assert all(1 <= seconds <= 5 for seconds in naps)


async def test_waits_that_end_end_the_retries() -> None:
    """A generator with fewer waits than retries ends the call with its last failure."""
    wire = Wire(500)
    ended, naps = await run(
        wire, unbounded(max_retries=5, wait=lambda: backoff.constant([1, 2]), jitter=same)
    )
    assert isinstance(ended, AsyncAPIResponse), ended
    assert ended.status == 500
    assert naps == [1, 2]


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"Retry_After": "3"}, 3.0),
        ({"Retry_After": "0.25"}, 0.25),
        ({"retry_after_ms": "1500", "Retry_After": "3"}, 1.5),
        ({"Retry_After": "0"}, 0.5),
        ({"Retry_After": "-5"}, 0.5),
        ({"Retry_After": "nan"}, 0.5),
        ({"Retry_After": "inf"}, 0.5),
        ({"Retry_After": "soon"}, 0.5),
        ({"Retry_After": "60"}, 60.0),
        ({"RateLimit_Reset": "7"}, 7.0),
        ({"Retry_After": "Sun, 06 Nov 1994 08:49:40 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}, 3.0),
        ({"Retry_After": "Sun, 06 Nov 1994 08:49:37 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0.5),
    ],
)
async def test_a_server_names_the_wait(headers: dict[str, str], waited: float) -> None:
    """A wait that the server names is used; zero and invalid values leave it to the policy."""
    _, naps = await run(Wire(answer(429, **headers), 200), unbounded(jitter=same))
    assert naps == [waited]


@pytest.mark.parametrize("value", ["61", "3600", "4294967295", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_too_long_a_wait_ends_the_call_at_once(value: str) -> None:
    """If the server asks for more than ``max_retry_after``, the call ends immediately, and the error has
    the wait.
    """
    script = Script(reply(429, Retry_After=value))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(RateLimitError) as caught:
            await api.get("/things")
        assert api.waits == []
    assert len(script.requests) == 1
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 60


async def test_max_retry_after_is_the_policys() -> None:
    """``max_retry_after`` can be raised, and 0 allows no wait."""
    _, naps = await run(Wire(answer(429, Retry_After="61"), 200), unbounded(max_retry_after=61))
    assert naps == [61]
    _, naps = await run(Wire(answer(429, Retry_After="0.5"), 200), unbounded(max_retry_after=0))
    assert naps == []


@pytest.mark.parametrize("retry_after", [math.nan, -5.0, 0.0, math.inf, 10**400])
async def test_a_middlewares_nonsense_leaves_the_wait_to_the_policy(retry_after: float) -> None:
    """A `RetryableError` whose wait is negative or no number is tried again after the policy's own wait."""
    _, naps = await run(Wire(RetryableError(retry_after=retry_after), 200), unbounded(jitter=same))
    assert naps == [0.5]


# --- the deadline


async def deadline_in(seconds: float) -> float:
    """The point in time *seconds* from now."""
    return asyncio.get_running_loop().time() + seconds


async def test_no_wait_begins_that_the_deadline_cannot_cover() -> None:
    """If the wait would pass the deadline, the failure is raised without waiting."""
    wire = Wire(answer(503, Retry_After="20"))
    ended, naps = await run(wire, None, request(deadline=await deadline_in(10)))
    assert wire.attempts == 1
    assert naps == []
    assert isinstance(ended, AsyncAPIResponse)
    assert ended.retry_after == 20


async def test_a_wait_within_the_deadline_is_taken() -> None:
    """A wait that ends before the deadline is accepted."""
    _, naps = await run(
        Wire(answer(503, Retry_After="20"), 200), None, request(deadline=await deadline_in(30))
    )
    assert naps == [20]


async def test_a_deadline_that_has_passed_allows_no_second_attempt() -> None:
    """Without time left nothing is retried, not even without a wait."""
    wire = Wire(500)
    await run(wire, unbounded(jitter=lambda wait: 0.0), request(deadline=await deadline_in(-1)))
    assert wire.attempts == 1


async def test_the_error_of_a_call_without_time_has_the_wait() -> None:
    """If a call has too little time for the server's wait, its error has the wait as ``retry_after``."""
    async with Client(BASE, transport=Script(reply(503, Retry_After="20")), timeout=10) as api:
        with pytest.raises(InternalServerError) as caught:
            await api.get("/things")
    assert caught.value.retry_after == 20
    assert caught.value.retries_taken == 0


# --- the verdict


def says(value: Any) -> Callable[[APIRequest, Any], Awaitable[Any]]:
    """A verdict that is always the same."""

    async def verdict(request: APIRequest, outcome: Any) -> Any:
        return value

    return verdict


@pytest.mark.parametrize(
    ("status", "method", "verdict", "attempts", "waits"),
    [
        (500, "GET", None, 3, [0.5, 1.0]),
        (400, "GET", None, 1, []),
        (500, "GET", False, 1, []),
        (400, "POST", True, 3, [0.5, 1.0]),
        (200, "POST", True, 3, [0.5, 1.0]),
        (400, "POST", 7, 3, [7.0, 7.0]),
        (400, "POST", 0.25, 3, [0.25, 0.25]),
        (400, "POST", 0, 3, [0.0, 0.0]),
        (429, "POST", 0.0, 3, [0.0, 0.0]),
    ],
)
async def test_a_verdict_has_the_first_word(
    status: int, method: str, verdict: Any, attempts: int, waits: list[float]
) -> None:
    """A verdict returns None (the table decides), True, False or seconds; zero means now."""
    wire = Wire(status)
    _, naps = await run(wire, unbounded(verdict=says(verdict), jitter=same), request(method))
    assert wire.attempts == attempts
    assert naps == waits


async def test_a_verdict_sees_an_error_body_of_a_200() -> None:
    """A verdict that reads the body retries a 200 that reports "busy"."""

    async def verdict(request: APIRequest, outcome: Any) -> float | None:
        busy = isinstance(outcome, AsyncAPIResponse) and (await outcome.json()).get("error") == "busy"
        return 2.5 if busy else None

    script = Script(reply(200, {"error": "busy"}), reply(200, {"id": 7}))
    async with Client(BASE, transport=script, retry=RetryPolicy(verdict=verdict)) as api:
        assert await api.get("/things") == {"id": 7}
        assert api.waits == [2.5]


async def test_a_verdict_sees_a_body_that_does_not_fit_the_type() -> None:
    """A 200 whose body does not match the type reaches the verdict as the decoding error."""
    outcomes: list[Any] = []

    async def verdict(request: APIRequest, outcome: Any) -> bool:
        outcomes.append(outcome)
        return isinstance(outcome, APIResponseValidationError)

    script = Script(reply(200, {"error": "busy"}), reply(200, [1, 2]))
    async with Client(BASE, transport=script, retry=RetryPolicy(verdict=verdict)) as api:
        assert await api.get("/things", list[int]) == [1, 2]
    assert outcomes[0].response.status == 200


async def test_the_request_that_a_verdict_sees_knows_its_attempt() -> None:
    """A verdict can decide by the number of earlier attempts."""

    async def verdict(request: APIRequest, outcome: Any) -> bool:
        return request.attempt < 1

    wire = Wire(500)
    await run(wire, unbounded(max_retries=5, verdict=verdict))
    assert wire.attempts == 2


async def test_a_verdict_is_bounded_like_the_table() -> None:
    """Number, deadline, budget and replay still limit a verdict."""
    yes = says(True)
    wire = Wire(400)
    await run(wire, unbounded(max_retries=1, verdict=yes))
    assert wire.attempts == 2

    wire = Wire(400)
    await run(wire, unbounded(verdict=says(60)), request(deadline=await deadline_in(30)))
    assert wire.attempts == 1

    wire = Wire(400)
    await run(wire, RetryPolicy(budget=RetryBudget(capacity=0), verdict=yes))
    assert wire.attempts == 1

    body = Body(iter([b"once"]))
    assert [chunk async for chunk in body] == [b"once"]
    wire = Wire(400)
    await run(wire, unbounded(verdict=yes), request("POST", body=body))
    assert wire.attempts == 1


async def test_a_verdict_is_not_asked_about_what_is_final() -> None:
    """Certificate errors and a passed deadline are never retried, whatever a verdict would return."""
    for error in (APIConnectionError("certificate", final=True), APITimeoutError(phase="total")):
        wire = Wire(error)
        ended, _ = await run(wire, unbounded(verdict=says(True)))
        assert ended is error
        assert wire.attempts == 1


async def test_a_verdict_of_zero_is_now_but_still_bounded() -> None:
    """Zero seconds skip the policy's wait, whatever the server asks for; number and budget still apply."""
    policy = RetryPolicy(verdict=says(0), budget=RetryBudget(capacity=14, price=14), max_retry_after=0)
    wire = Wire(answer(500, Retry_After="30"))
    _, naps = await run(wire, policy)
    assert naps == [0.0]
    assert wire.attempts == 2


@pytest.mark.parametrize("seconds", [61, 3600.0, 1e300])
async def test_the_seconds_of_a_verdict_are_bounded_by_max_retry_after(seconds: float) -> None:
    """A verdict of more than ``max_retry_after`` ends the call immediately; its error has the seconds."""

    async def verdict(request: APIRequest, outcome: Any) -> float:
        return seconds

    script = Script(reply(429, Retry_After="1"))
    async with Client(BASE, transport=script, retry=RetryPolicy(verdict=verdict)) as api:
        with pytest.raises(RateLimitError) as caught:
            await api.get("/things")
        assert api.waits == []
    assert len(script.requests) == 1
    assert caught.value.retry_after == seconds
    assert any("above max_retry_after (60 s)" in note for note in caught.value.__notes__)


async def test_max_retry_after_bounds_a_verdict_of_the_policy() -> None:
    """A higher ``max_retry_after`` lets a verdict wait for longer."""
    _, naps = await run(Wire(400), unbounded(verdict=says(90), max_retry_after=90))
    assert naps == [90.0, 90.0]


async def test_the_error_has_the_seconds_that_the_verdict_named_last() -> None:
    """If no retry is left, ``retry_after`` is the verdict's answer to the last outcome."""
    seconds = iter([1.0, 2.0, 3.0])

    async def verdict(request: APIRequest, outcome: Any) -> float:
        return next(seconds)

    async with Client(BASE, transport=Script(reply(500)), retry=RetryPolicy(verdict=verdict)) as api:
        with pytest.raises(InternalServerError) as caught:
            await api.get("/things")
        assert api.waits == [1.0, 2.0]
    assert caught.value.retry_after == 3.0


async def test_a_lost_attempt_has_the_seconds_of_its_verdict() -> None:
    """An error of the connection has the verdict's seconds too."""
    ended, naps = await run(Wire(APIConnectionError("lost")), unbounded(verdict=says(100)))
    assert naps == []
    assert isinstance(ended, APIConnectionError)
    assert ended.retry_after == 100


@pytest.mark.parametrize("value", ["3", -1, math.nan, math.inf, [1], 10**400])
async def test_a_verdict_of_another_kind_is_a_mistake(value: Any) -> None:
    """A verdict with an invalid result raises a TypeError that lists the valid ones."""
    ended, _ = await run(Wire(500), unbounded(verdict=says(value)))
    assert isinstance(ended, TypeError)
    assert "None, True, False or seconds" in str(ended)


async def test_a_response_is_closed_when_its_verdict_fails() -> None:
    """A verdict that raises ends the call with its error, and the response that it was shown is closed."""
    shown: list[AsyncAPIResponse[Any]] = []

    async def verdict(request: APIRequest, outcome: Any) -> bool:
        shown.append(outcome)
        raise RuntimeError("a bug")

    async def wire(request: APIRequest) -> AsyncAPIResponse[Any]:
        return AsyncAPIResponse(request, 200, CIMultiDictProxy(CIMultiDict()), BytesSource(b"data"))

    ended, _ = await run(wire, unbounded(verdict=verdict), request(stream=True))
    assert isinstance(ended, RuntimeError)
    assert shown[0].is_closed


# --- RetryableError


async def test_a_retryable_error_is_tried_again_and_is_raised_unchanged() -> None:
    """Without a cause and a response, the `RetryableError` itself is raised."""
    error = RetryableError("again")
    wire = Wire(error)
    ended, naps = await run(wire, None, request("POST"))
    assert ended is error
    assert wire.attempts == 3
    assert naps == [0.5, 1.0]


async def test_a_retryable_error_names_the_wait() -> None:
    """``retry_after`` of a `RetryableError` is the wait."""
    _, naps = await run(Wire(RetryableError(retry_after=2.5), 200))
    assert naps == [2.5]


async def test_a_retryable_error_ends_as_its_response() -> None:
    """If no retry is left, the response of the `RetryableError` is returned."""
    closed: list[int] = []

    async def middleware(request: APIRequest) -> AsyncAPIResponse[Any]:
        response: AsyncAPIResponse[Any] = AsyncAPIResponse(
            request, 202, CIMultiDictProxy(CIMultiDict({"Retry-After": "4"})), BytesSource(b"not ready")
        )
        response.on_close(lambda: closed.append(request.attempt))
        raise RetryableError(response=response)

    ended, naps = await run(middleware, None, request(stream=True))
    assert isinstance(ended, AsyncAPIResponse)
    assert ended.status == 202
    assert naps == [4.0, 4.0]  # its own Retry-After
    assert closed == [0, 1]
    await ended.close()


async def test_a_retryable_error_ends_as_its_cause() -> None:
    """If no retry is left, the cause of the `RetryableError` is raised."""
    cause = LookupError("no host is left")

    async def middleware(request: APIRequest) -> AsyncAPIResponse[Any]:
        raise RetryableError from cause

    ended, naps = await run(middleware)
    assert ended is cause
    assert len(naps) == 2


async def test_a_cause_counts_the_retries() -> None:
    """A cause that is one of our errors has the number of retries."""

    async def middleware(request: APIRequest) -> AsyncAPIResponse[Any]:
        raise RetryableError(retry_after=1) from APIConnectionError("lost")

    ended, _ = await run(middleware)
    assert isinstance(ended, APIConnectionError)
    assert ended.retries_taken == 2


async def test_a_cause_that_was_given_up_has_the_wait() -> None:
    """A middleware's wait above ``max_retry_after`` is on the error that is raised."""

    async def middleware(request: APIRequest) -> AsyncAPIResponse[Any]:
        raise RetryableError(retry_after=3600) from APIConnectionError("lost")

    ended, naps = await run(middleware)
    assert naps == []
    assert isinstance(ended, APIConnectionError)
    assert ended.retry_after == 3600


async def test_a_response_that_was_given_up_has_the_wait() -> None:
    """The status error of a response in a `RetryableError` has the wait that the middleware requested."""

    async def impatient(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
        response: AsyncAPIResponse[Any] = await handler(request)
        raise RetryableError(retry_after=3600, response=response)

    script = Script(reply(429, Retry_After="1"))
    async with Client(BASE, transport=script, middlewares=[per_attempt(impatient)]) as api:
        with pytest.raises(RateLimitError) as caught:
            await api.get("/things")
        assert api.waits == []
    assert caught.value.retry_after == 3600
    assert caught.value.response is not None
    assert caught.value.response.retry_after == 3600


async def test_a_status_error_of_a_middleware_names_the_wait() -> None:
    """A status error that a middleware raises, or raises from, waits as long as its server asked."""
    limited = RateLimitError("slow down", retry_after=7)
    _, naps = await run(Wire(limited), unbounded(max_retries=1, verdict=says(True)))
    assert naps == [7.0]

    async def middleware(request: APIRequest) -> AsyncAPIResponse[Any]:
        raise RetryableError from limited

    ended, naps = await run(middleware, unbounded(max_retries=1))
    assert ended is limited
    assert naps == [7.0]


async def test_an_error_that_was_raised_from_itself_ends_the_call() -> None:
    """An error that is its own cause ends the call like any other."""
    error = LookupError("mine")
    error.__cause__ = error
    ended, _ = await run(Wire(error))
    assert ended is error


@pytest.mark.parametrize("retry_after", ["3", True, [1]])
def test_the_wait_of_a_retryable_error_is_a_number(retry_after: Any) -> None:
    """A `RetryableError` with a wait of another type is refused at construction."""
    with pytest.raises(TypeError, match="retry_after must be a number of seconds or None"):
        RetryableError(retry_after=retry_after)


async def test_an_error_raised_from_a_retryable_error_is_tried_again() -> None:
    """``raise X from RetryableError`` requests a retry, and ends as X."""

    async def middleware(request: APIRequest) -> AsyncAPIResponse[Any]:
        try:
            raise RetryableError(retry_after=1.5)
        except RetryableError as error:
            raise LookupError("mine") from error

    ended, naps = await run(middleware, None, request("POST"))
    assert isinstance(ended, LookupError)
    assert naps == [1.5, 1.5]


async def test_the_response_behind_a_chained_error_is_closed() -> None:
    """The response of a chained `RetryableError` is closed before the wait, too."""
    opened: list[AsyncAPIResponse[Any]] = []

    async def middleware(request: APIRequest) -> AsyncAPIResponse[Any]:
        response: AsyncAPIResponse[Any] = AsyncAPIResponse(
            request, 202, CIMultiDictProxy(CIMultiDict()), BytesSource(b"not ready")
        )
        opened.append(response)
        raise LookupError("mine") from RetryableError(response=response)

    ended, _ = await run(middleware, None, request(stream=True))
    assert isinstance(ended, LookupError)
    assert [response.is_closed for response in opened[:2]] == [True, True]


async def test_an_error_without_a_retry_request_is_a_bug() -> None:
    """An exception of a middleware is not retried unless a `RetryableError` is among its causes."""

    async def middleware(request: APIRequest) -> AsyncAPIResponse[Any]:
        raise LookupError from RequestNotReplayableError()

    ended, naps = await run(middleware)
    assert isinstance(ended, LookupError)
    assert naps == []


# --- the budget


def aws(capacity: int, max_attempts: int, max_wait: float = 20) -> RetryPolicy:
    """The policy of the AWS SDKs' retry 2.1, with the jitter fixed to 1."""
    return RetryPolicy(
        max_retries=max_attempts - 1,
        wait=lambda: backoff.expo(base=2, factor=0.05, max_value=20),
        jitter=same,
        max_wait=max_wait,
        budget=RetryBudget(capacity=capacity),
    )


async def follow(policy: RetryPolicy, answers: list[Any]) -> tuple[Any, list[float], list[int], int]:
    """One call: its end, its waits, the tokens after each step, and its attempts."""
    budget = policy.budget
    assert isinstance(budget, RetryBudget)
    tokens: list[int] = []
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(round(seconds, 6))
        tokens.append(budget.tokens(ORIGIN))

    wire = Wire(*(APITimeoutError(phase="read") if given == "timeout" else given for given in answers))
    ended = await RetryMiddleware(policy, sleep=sleep)(request(), wire)
    return ended.status, naps, [*tokens, budget.tokens(ORIGIN)], wire.attempts


@pytest.mark.parametrize(
    ("capacity", "max_attempts", "max_wait", "calls"),
    [
        (500, 3, 20, [([500, 500, 200], [0.05, 0.1], [486, 472, 486])]),
        (500, 3, 20, [([502, 502, 502], [0.05, 0.1], [486, 472, 472])]),
        (14, 5, 20, [([500, 502], [0.05], [0, 0])]),
        (0, 3, 20, [([500], [], [0])]),
        (20, 5, 20, [([500, 502], [0.05], [6, 6])]),
        (30, 5, 20, [([500, 502, 200], [0.05, 0.1], [16, 2, 16]), ([500, 200], [0.05], [2, 16])]),
        # AWS waits longer after throttling; this library leaves that to the server's Retry-After.
        (500, 3, 20, [([429, 200], [0.05], [495, 500])]),
        (500, 5, 0.2, [([500] * 5, [0.05, 0.1, 0.2, 0.2], [486, 472, 458, 444, 444])]),
    ],
)
async def test_waits_and_tokens_are_those_of_the_aws_sdks(
    capacity: int, max_attempts: int, max_wait: float, calls: list[tuple[list[int], list[float], list[int]]]
) -> None:
    """The vectors of retry 2.1 hold, wait by wait and token by token."""
    policy = aws(capacity, max_attempts, max_wait)
    for answers, waits, tokens in calls:
        status, naps, left, attempts = await follow(policy, answers)
        assert status == answers[-1]
        assert naps == waits
        assert left == tokens
        assert attempts == len(answers)


@pytest.mark.parametrize(
    "case",
    json.loads((CASES / "retry_behaviour.json").read_text())["sequences"],
    ids=lambda case: case["name"],
)
async def test_the_sequences_of_the_aws_sdks_hold(case: dict[str, Any]) -> None:
    """Outcome, attempts and tokens equal those of each published sequence."""
    policy = aws(case["capacity"], case["max_attempts"])
    budget = policy.budget
    assert isinstance(budget, RetryBudget)
    if "concurrent" in case:
        ends = await asyncio.gather(*(follow(policy, answers) for answers in case["concurrent"]))
        assert [attempts for *_, attempts in ends] == case["attempts"]
        assert budget.tokens(ORIGIN) == case["capacity_after"]
        return
    for operation in case.get("operations", [case]):
        status, _, tokens, attempts = await follow(policy, operation["responses"])
        assert tokens[-1] == operation["capacity_after"]
        assert attempts == operation.get("attempts", len(operation["responses"]))
        assert status == {"success": 200}.get(operation.get("outcome"), operation.get("outcome", 200))


async def test_the_waits_of_the_aws_sdks_are_ours_with_their_numbers() -> None:
    """With base 0.05 s and at most 20 s the waits are those of the published vectors."""
    expected = json.loads((CASES / "retry_behaviour.json").read_text())["backoff"]["with_random_1"]
    policy = aws(10_000, len(expected) + 1)
    _, naps, _, _ = await follow(policy, [500])
    assert naps == pytest.approx(expected)


async def test_a_first_attempt_that_succeeds_puts_one_token_back() -> None:
    """A success without a retry returns one token, never above the capacity."""
    policy = aws(500, 2)
    budget = policy.budget
    assert isinstance(budget, RetryBudget)
    await follow(policy, [500])
    assert budget.tokens(ORIGIN) == 486
    for expected in (*range(487, 501), 500):
        await follow(policy, [200])
        assert budget.tokens(ORIGIN) == expected


async def test_a_verdict_changes_nothing_about_the_token_of_a_first_success() -> None:
    """A success without a retry returns one token, with a verdict too."""
    budget = RetryBudget()
    budget.take(ORIGIN, 100)
    await run(Wire(200), RetryPolicy(budget=budget, verdict=says(None)))
    assert budget.tokens(ORIGIN) == 401


async def test_what_a_verdict_calls_a_failure_gives_no_token_back() -> None:
    """A 200 that the verdict retries is not a success, whether it is the first or the last one."""
    budget = RetryBudget(capacity=28)
    policy = RetryPolicy(max_retries=1, budget=budget, verdict=says(True))
    for attempts, left in ((2, 14), (2, 0), (1, 0), (1, 0)):
        wire = Wire(200)
        await run(wire, policy)
        assert (wire.attempts, budget.tokens(ORIGIN)) == (attempts, left)


async def test_throttling_behind_a_retryable_error_has_its_own_price() -> None:
    """A 429 inside a `RetryableError` costs the price of throttling."""
    budget = RetryBudget()

    async def middleware(request: APIRequest) -> AsyncAPIResponse[Any]:
        raise RetryableError(response=AsyncAPIResponse.from_bytes(request, 429))

    await run(middleware, RetryPolicy(max_retries=1, budget=budget))
    assert budget.tokens(ORIGIN) == 495


async def test_each_origin_has_a_budget_of_its_own() -> None:
    """An outage of one host leaves the others their retries; each port and scheme is a separate origin."""
    budget = RetryBudget(capacity=14)
    policy = RetryPolicy(max_retries=1, budget=budget, jitter=same)
    for url in (
        "https://a.example/x",
        "https://b.example/y",
        "http://a.example/x",
        "https://a.example:8443/x",
    ):
        for attempts in (2, 1):
            wire = Wire(500)
            await run(wire, policy, APIRequest("GET", url))
            assert wire.attempts == attempts, url


def test_a_budget_remembers_a_bounded_number_of_origins() -> None:
    """However many origins fail, the memory of a budget does not grow beyond a bound."""
    budget = RetryBudget()
    for number in range(5000):
        assert budget.take(f"https://h{number}.example", 14)
    assert len(budget.stats()) <= 1000
    assert budget.tokens("https://h4999.example") == 486  # the latest ones are kept
    assert budget.tokens("https://h0.example") == 500


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.booleans()), max_size=80))
def test_the_tokens_stay_between_nothing_and_the_capacity(steps: list[tuple[str, int, bool]]) -> None:
    """Whatever is taken and returned, no origin has less than 0 tokens or more than the capacity."""
    budget = RetryBudget(capacity=100)
    for origin, amount, takes in steps:
        if takes:
            before = budget.tokens(origin)
            assert budget.take(origin, amount) is (before >= amount)
        else:
            budget.put_back(origin, amount)
        assert 0 <= budget.tokens(origin) <= 100


@pytest.mark.parametrize("name", ["capacity", "price", "throttled_price", "refund"])
def test_a_budget_has_no_negative_number(name: str) -> None:
    """A negative capacity, price or refund is refused, by name."""
    with pytest.raises(InvalidRequestError, match=name):
        RetryBudget(**{name: -1})


async def test_an_empty_budget_is_named_in_a_note() -> None:
    """The error of a call without tokens names the budget as the reason."""
    async with Client(
        BASE, transport=Script(reply(500)), retry=RetryPolicy(budget=RetryBudget(capacity=0))
    ) as api:
        with pytest.raises(InternalServerError) as caught:
            await api.get("/things")
    assert any("budget" in note for note in caught.value.__notes__)


async def test_in_an_outage_the_wire_sees_one_request_a_call() -> None:
    """If everything fails, the budget allows hardly more requests than calls."""
    script = Script(reply(500))
    async with Client(BASE, transport=script) as api:
        for _ in range(1000):
            with pytest.raises(InternalServerError):
                await api.get("/things")
    assert 1000 < len(script.requests) <= 1000 + 500 // 14


async def drain(api: Client, **options: Any) -> None:
    """Fail until the budget of the client's origin is used up."""
    for _ in range(40):
        with pytest.raises(InternalServerError):
            await api.get("/things", **options)


async def requests_of_one_failure(api: Client, script: Script, **options: Any) -> int:
    """Return the number of requests of one failing call."""
    before = len(script.requests)
    with pytest.raises(InternalServerError):
        await api.get("/things", **options)
    return len(script.requests) - before


async def test_views_share_one_budget() -> None:
    """A view that has used up the budget leaves none for the client, whatever the view's own policy."""
    script = Script(reply(500))
    async with Client(BASE, transport=script) as api:
        await drain(api.with_options(timeout=5))
        assert await requests_of_one_failure(api, script) == 1
        assert await requests_of_one_failure(api.with_options(max_retries=9), script) == 1
        assert await requests_of_one_failure(api.with_options(retry=RetryPolicy(max_retries=9)), script) == 1


async def test_a_policy_of_the_call_does_not_escape_the_budget() -> None:
    """A policy that a call brings draws on the client's budget, and fills no other."""
    script = Script(reply(500))
    async with Client(BASE, transport=script) as api:
        await drain(api)
        assert await requests_of_one_failure(api, script, retry=RetryPolicy(max_retries=9)) == 1


async def test_a_policy_of_the_call_draws_on_the_budget_of_the_client() -> None:
    """Calls with separate policies use the tokens of the other calls."""
    script = Script(reply(500))
    async with Client(BASE, transport=script) as api:
        await drain(api, retry=RetryPolicy(max_retries=9))
        assert await requests_of_one_failure(api, script) == 1


async def test_a_budget_given_to_the_client_is_the_one_of_its_views() -> None:
    """A policy of a view or a call without a budget uses the client's budget."""
    budget = RetryBudget(capacity=0)
    script = Script(reply(500))
    async with Client(BASE, transport=script, retry=RetryPolicy(budget=budget)) as api:
        policy = RetryPolicy(max_retries=9)
        assert await requests_of_one_failure(api.with_options(retry=policy), script) == 1
        assert await requests_of_one_failure(api, script, retry=policy) == 1


async def test_without_a_budget_retries_are_unlimited() -> None:
    """``budget=None`` removes the limit, and is inherited by a call's policy without a budget."""
    script = Script(reply(500))
    async with Client(BASE, transport=script, retry=RetryPolicy(budget=None)) as api:
        await drain(api)
        assert await requests_of_one_failure(api, script) == 3
        assert await requests_of_one_failure(api, script, retry=RetryPolicy(max_retries=4)) == 5


async def test_a_whole_policy_brings_its_own_number() -> None:
    """The number of retries of a policy is its own, on a call and on a view, whatever the client's
    ``max_retries``.
    """
    script = Script(reply(500))
    policy = RetryPolicy(max_retries=1)
    async with Client(BASE, transport=script, max_retries=5) as api:
        assert await requests_of_one_failure(api, script) == 6
        assert await requests_of_one_failure(api, script, retry=policy) == 2
        assert await requests_of_one_failure(api.with_options(retry=policy), script) == 2


def _from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


THROTTLED: dict[str, Callable[[APIRequest], Exception | AsyncAPIResponse[Any]]] = {
    "a response": lambda request: AsyncAPIResponse.from_bytes(request, 429),
    "a response behind a RetryableError": lambda request: RetryableError(
        response=AsyncAPIResponse.from_bytes(request, 429), retry_after=1
    ),
    "a RetryableError from a status error": lambda request: _from(RetryableError(), RateLimitError()),
    "a RetryableError from an error from a status error": lambda request: _from(
        RetryableError(), _from(LookupError(), RateLimitError())
    ),
    "a status error": lambda request: RateLimitError(),
    "a status error from a RetryableError": lambda request: _from(RateLimitError(), RetryableError()),
    "a 503 that says when": lambda request: ServiceUnavailableError(retry_after=1),
}


# The table itself tries no status error again that a middleware raised.
OF_THE_TABLE = [kind for kind in THROTTLED if kind not in {"a status error", "a 503 that says when"}]


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [(kind, None) for kind in OF_THE_TABLE] + [(kind, says) for kind in THROTTLED for says in (True, 1, 0)],
)
async def test_throttling_has_its_own_cost_for_every_kind_of_retry(kind: str, verdict: Any) -> None:
    """A retry after a 429 costs 5 tokens: by the table, by a verdict, and by a middleware in any form."""
    budget = RetryBudget()

    async def wire(request: APIRequest) -> AsyncAPIResponse[Any]:
        given = THROTTLED[kind](request)
        if isinstance(given, Exception):
            raise given
        return given

    await run(wire, RetryPolicy(max_retries=1, budget=budget, verdict=says(verdict)))
    assert budget.tokens(ORIGIN) == 495


def test_the_budget_of_a_retry_middleware_is_public() -> None:
    """``budget`` is that of the policy, or a separate one, or None: a health check reads its tokens."""
    mine = RetryBudget(capacity=7)
    assert RetryMiddleware(RetryPolicy(budget=mine)).budget is mine
    assert RetryMiddleware(RetryPolicy(budget=None)).budget is None
    own = RetryMiddleware().budget
    assert own is not None
    assert own.tokens(ORIGIN) == 500


async def test_the_budget_of_a_client_is_found_in_its_chain() -> None:
    """A client's calls use the budget of the `RetryMiddleware` in its chain."""
    async with Client(BASE, transport=Script(reply(500)), max_retries=1) as api:
        (retry,) = [link for link in api.chain if isinstance(link, RetryMiddleware)]
        with pytest.raises(InternalServerError):
            await api.get("/things")
    assert retry.budget is not None
    assert retry.budget.tokens(ORIGIN) == 486


# --- the policy


@pytest.mark.parametrize("number", [None, "2", 2.0, True])
def test_a_number_of_retries_is_an_int(number: Any) -> None:
    """``max_retries`` that is not an int is a TypeError, in a policy, on a client and on a call."""
    with pytest.raises(TypeError, match="max_retries"):
        RetryPolicy(max_retries=number)
    with pytest.raises(TypeError, match="max_retries"):
        Client(BASE, max_retries=number, transport=Script())


def test_a_number_of_retries_is_not_negative() -> None:
    """``max_retries`` below 0 is refused where it is given."""
    with pytest.raises(InvalidRequestError, match="max_retries"):
        RetryPolicy(max_retries=-1)
    with pytest.raises(InvalidRequestError, match="max_retries"):
        Client(BASE, max_retries=-1, transport=Script())


async def test_a_bad_number_of_a_call_is_refused_before_anything_is_sent() -> None:
    """A call with an invalid ``max_retries`` sends nothing."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        with pytest.raises(InvalidRequestError):
            await api.get("/things", max_retries=-1)
        with pytest.raises(TypeError):
            await api.get("/things", max_retries=None)  # type: ignore[arg-type]
    assert script.requests == []


@pytest.mark.parametrize("name", ["max_wait", "max_retry_after"])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (-1, InvalidRequestError),
        (math.nan, InvalidRequestError),
        (math.inf, InvalidRequestError),
        (10**400, InvalidRequestError),
        ("1", TypeError),
        (None, TypeError),
        (True, TypeError),
    ],
)
def test_a_limit_of_a_policy_is_a_number_of_seconds(name: str, value: Any, kind: type[Exception]) -> None:
    """Negative, infinite and other limits are refused, by name."""
    with pytest.raises(kind, match=name):
        RetryPolicy(**{name: value})


def test_a_policy_is_immutable() -> None:
    """A policy cannot be changed, so that calls can share it."""
    policy = RetryPolicy(statuses={500}, retry_unsafe={503})  # type: ignore[arg-type]
    assert policy.statuses == frozenset({500})
    assert policy.retry_unsafe == frozenset({503})
    with pytest.raises(AttributeError):
        policy.max_retries = 3  # type: ignore[misc]


# --- the complete state machine


class RetryMachine(RuleBasedStateMachine):
    """Calls with any outcomes, limits and deadlines, on one budget that they share."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.budget = RetryBudget(capacity=60)

    def teardown(self) -> None:
        self.runner.close()

    outcomes = st.lists(
        st.sampled_from([200, 204, 404, 409, 429, 500, 503, 501, "lost", "unsent", "final", "again", "bug"]),
        min_size=1,
        max_size=8,
    )

    @rule(
        outcomes=outcomes,
        method=st.sampled_from(METHODS),
        max_retries=st.integers(0, 6),
        seconds=st.none() | st.floats(0, 40),
        retry_after=st.none() | st.sampled_from(["0", "3", "59", "61", "1e9", "garbage"]),
    )
    def call(
        self,
        outcomes: list[Any],
        method: str,
        max_retries: int,
        seconds: float | None,
        retry_after: str | None,
    ) -> None:
        """Make one call, and return all observations."""
        self.runner.run(self._call(outcomes, method, max_retries, seconds, retry_after))

    async def _call(
        self,
        outcomes: list[Any],
        method: str,
        max_retries: int,
        seconds: float | None,
        retry_after: str | None,
    ) -> None:
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        handed = request(method, deadline=deadline)
        naps: list[float] = []

        async def sleep(nap: float) -> None:
            naps.append(nap)
            if handed.deadline is not None:
                handed.deadline -= nap  # the time passes without passing

        headers = {} if retry_after is None else {"Retry_After": retry_after}
        failures = {
            "lost": APIConnectionError("lost"),
            "unsent": APIConnectionError("unsent", sent=False),
            "final": APIConnectionError("final", final=True),
            "again": RetryableError(),
            "bug": LookupError("a bug"),
        }
        wire = Wire(*(failures.get(given) or answer(given, **headers) for given in outcomes))
        policy = RetryPolicy(max_retries=max_retries, budget=self.budget)
        try:
            ended: Any = await RetryMiddleware(policy, sleep=sleep)(handed, wire)
        except Exception as error:
            ended = error
        assert wire.attempts <= max_retries + 1
        assert len(naps) == wire.attempts - 1
        assert all(0 <= nap <= 60 for nap in naps)
        assert seconds is None or sum(naps) <= seconds
        last = (outcomes + [outcomes[-1]] * max_retries)[wire.attempts - 1]
        assert ended is failures[last] if isinstance(last, str) else ended.status == last

    @invariant()
    def the_tokens_are_in_range(self) -> None:
        """The tokens never fall below 0 or rise above the capacity."""
        assert 0 <= self.budget.tokens(ORIGIN) <= 60


TestRetryMachine = RetryMachine.TestCase
TestRetryMachine.__doc__ = "Attempts, waits and tokens stay in their bounds whatever happens to any calls."
