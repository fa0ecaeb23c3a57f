"""Stale responses: instead of a failure, and while they are validated in the background (RFC 5861)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from aioapiclient_cache import cache_status
from servers import turns, until

from aioapiclient import (
    APIConnectionError,
    APITimeoutError,
    AsyncAPIResponse,
    CircuitOpenError,
    ClientClosedError,
)
from aioapiclient.contract import serves_several
from aioapiclient.testing import respond


def answer(control: str = "max-age=60", status: int = 200, body: bytes = b"old", **headers: str) -> Any:
    """A response with an ETag."""
    return respond(status, body=body, headers={"Cache-Control": control, "ETag": '"a"', **headers})


async def stale(
    bench: Any, *failures: Any, control: str = "max-age=60", seconds: int = 30, **options: Any
) -> Any:
    """A bench with a response that became stale so many seconds ago."""
    it = bench(answer(control), *failures, **{"stale_if_error": 60, **options})
    await it.get()
    it.clock.advance(60 + seconds)
    return it


# --- stale_if_error

FAILURES = [
    respond(500, body=b"sorry"),
    respond(503),
    respond(599),
    APIConnectionError("lost"),
    APITimeoutError("slow", phase="attempt"),
    CircuitOpenError("open"),
]


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failure_is_answered_with_what_is_stored(bench: Any, failure: Any) -> None:
    """On a 5xx, a failed connection or an open circuit the stale response is used, and Cache-Status
    reports it.
    """
    it = await stale(bench, failure)
    response = await it.get()
    status = cache_status(response)
    assert (response.status, response.body, response.headers["Age"]) == (200, b"old", "90")
    assert (status.hit, status.detail, status.revalidated) == (False, "stale-if-error", False)
    assert status.ttl == -30


@pytest.mark.parametrize(("seconds", "used"), [(60, True), (61, False)])
async def test_stale_if_error_has_an_end(bench: Any, seconds: int, used: bool) -> None:
    """A response is not used later than `stale_if_error` seconds after its expiry."""
    it = await stale(bench, respond(503), seconds=seconds)
    assert (await it.get()).status == (200 if used else 503)


@pytest.mark.parametrize("status", [400, 401, 404, 429])
async def test_a_4xx_is_returned(bench: Any, status: int) -> None:
    """A 4xx is returned unchanged."""
    it = await stale(bench, respond(status))
    assert (await it.get()).status == status


FORBIDDEN = [
    ("max-age=60, must-revalidate", False),
    ("max-age=60, no-cache", False),
    ("max-age=60, proxy-revalidate", True),
    ("s-maxage=60", True),
]


@pytest.mark.parametrize(("control", "shared"), FORBIDDEN)
async def test_the_server_may_forbid_it(bench: Any, control: str, shared: bool) -> None:
    """A response that must be validated is not used stale, whatever fails."""
    it = await stale(bench, APIConnectionError("lost"), control=control, shared=shared)
    with pytest.raises(APIConnectionError):
        await it.get()


async def test_it_is_off_by_default(bench: Any) -> None:
    """Without `stale_if_error` a failure is a failure, also if the server would allow it."""
    it = await stale(bench, respond(503), stale_if_error=0, control="max-age=60, stale-if-error=600")
    assert (await it.get()).status == 503


async def test_the_request_may_forbid_it(bench: Any) -> None:
    """A request with no-cache requires the server's response."""
    it = await stale(bench, respond(503))
    assert (await it.get(headers={"Cache-Control": "no-cache"})).status == 503


async def test_what_was_changed_is_not_used(bench: Any) -> None:
    """After an unsafe request through the client the old response is not used instead of a failure."""
    it = await stale(bench, respond(503), respond(200), respond(503))
    await it.api.get("/x")
    # The entry of the caller itself is removed; that of another principal is only marked.
    it.clock.advance(1)
    await it.api.put("/x", headers={"Authorization": "Bearer other"})
    assert (await it.get()).status == 503


@pytest.mark.parametrize("error", [ClientClosedError("closed"), APITimeoutError("late", phase="total")])
async def test_the_end_of_the_call_is_not_a_failure_of_the_server(bench: Any, error: Exception) -> None:
    """A closed client and a deadline that has passed end the call."""
    it = await stale(bench, error)
    with pytest.raises(type(error)):
        await it.get()


async def test_a_refused_response_leaves_what_is_stored(bench: Any) -> None:
    """After an outage the stored response can still be validated."""
    it = await stale(bench, respond(503), respond(304, headers={"ETag": '"a"'}))
    await it.get()
    assert cache_status(await it.get()).revalidated


# --- stale_while_revalidate

SWR = "max-age=60, stale-while-revalidate=60"


async def lazy(bench: Any, *answers: Any, **options: Any) -> Any:
    """A bench with a response that may be used while it is validated."""
    return await stale(bench, *answers, **{"control": SWR, "stale_while_revalidate": True, **options})


async def test_it_is_used_while_it_is_validated(bench: Any) -> None:
    """The stale response is returned immediately; the next call has the validated one."""
    it = await lazy(bench, answer(SWR, 304, b""))
    response = await it.get()
    status = cache_status(response)
    assert (response.body, status.hit, status.ttl) == (b"old", True, -30)
    assert status.detail == "stale-while-revalidate"
    await until(lambda: it.sends == 2 and not it.cache._core._tasks)
    assert it.transport.requests[1].headers["If-None-Match"] == '"a"'
    assert (await it.get()).headers["Age"] == "0"


async def test_a_new_response_takes_its_place(bench: Any) -> None:
    """The response of the background validation is stored."""
    it = await lazy(bench, answer(SWR, body=b"new"))
    assert (await it.get()).body == b"old"
    await until(lambda: it.sends == 2 and not it.cache._core._tasks)
    assert (await it.get()).body == b"new"


async def test_one_validation_for_all(bench: Any) -> None:
    """Many concurrent calls start one validation."""
    go = asyncio.Event()

    async def slow(request: Any) -> Any:
        await go.wait()
        return answer(SWR, 304, b"")

    it = await lazy(bench, slow)
    for _ in range(10):
        assert await asyncio.gather(*(it.get() for _ in range(3)))
    await until(lambda: it.sends == 2)
    go.set()
    await until(lambda: not it.cache._core._tasks)
    assert it.sends == 2


NOT_USED = [(61, SWR), (30, "max-age=60"), (30, SWR + ", must-revalidate")]


@pytest.mark.parametrize(("seconds", "control"), NOT_USED)
async def test_when_it_is_not_used(bench: Any, seconds: int, control: str) -> None:
    """After its time, and where the server does not allow it, the call waits for the validation."""
    it = await lazy(bench, answer(SWR, 304, b""), seconds=seconds, control=control)
    assert cache_status(await it.get()).revalidated


async def test_it_is_off_by_default_too(bench: Any) -> None:
    """Without `stale_while_revalidate` nothing runs in the background."""
    it = await stale(bench, answer(SWR, 304, b""), control=SWR)
    assert cache_status(await it.get()).revalidated
    assert it.cache._core._tasks == {}


@pytest.mark.parametrize("failure", [RuntimeError("bug"), APIConnectionError("lost"), respond(503)])
async def test_a_failure_in_the_background_reaches_no_call(
    bench: Any, failure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A validation that fails keeps the stale response, and logs at DEBUG at most."""
    it = await lazy(bench, failure)
    with caplog.at_level(logging.INFO):
        assert (await it.get()).body == b"old"
        await until(lambda: it.sends == 2 and not it.cache._core._tasks)
    assert caplog.records == []
    assert it.transport.open_responses == 0


async def test_closing_the_client_ends_it(bench: Any) -> None:
    """A validation in flight when the client closes is cancelled, and awaited."""
    ended = []

    async def endless(request: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    it = await lazy(bench, endless)
    await it.get()
    await until(lambda: it.sends == 2)
    [task] = it.cache._core._tasks.values()
    await it.api.close()
    assert ended == [True]
    assert task.cancelled()
    assert it.cache._core._tasks == {}


async def test_it_outlives_the_deadline_of_its_call(bench: Any) -> None:
    """The validation does not end at the deadline of the call that began it."""
    go = asyncio.Event()

    async def slow(request: Any) -> Any:
        assert request.deadline is None
        assert serves_several.get()
        await go.wait()
        return answer(SWR, body=b"new")

    it = await lazy(bench, slow)
    await it.get(timeout=5)
    await until(lambda: it.sends == 2)
    go.set()
    await until(lambda: not it.cache._core._tasks)
    response: AsyncAPIResponse[Any] = await it.get()
    assert response.body == b"new"


async def test_it_has_the_total_time_of_a_call(bench: Any) -> None:
    """A validation that hangs ends after the time that a call has, and the next one may begin."""
    hanging = [lambda request: asyncio.Event().wait()] * 2
    # Stale for a second at the first request, and for 31.5 s at the second.
    it = await lazy(bench, *hanging, client={"timeout": 30}, seconds=1)
    with it.clock.install():
        for sends in (2, 3):
            await it.get()
            await turns(20)
            assert (it.sends, len(it.cache._core._tasks)) == (sends, 1)
            it.clock.advance(29)
            await turns(20)
            assert len(it.cache._core._tasks) == 1
            it.clock.advance(1.5)
            await turns(20)
            assert it.cache._core._tasks == {}
