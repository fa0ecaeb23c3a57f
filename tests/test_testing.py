"""`FakeClock`: the clock of a test, advanced by hand and under the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any, cast

import pytest

from aioapiclient import (
    APIRequest,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    InvalidRequestError,
    Timeout,
    TokenCache,
)
from aioapiclient.contract import Token
from aioapiclient.middleware import DeadlineMiddleware, RetryMiddleware
from aioapiclient.testing import FakeClock, FakeTransport, respond

URL = "https://api.example.com/users/7"


def get(**fields: Any) -> APIRequest:
    """A hand-made request."""
    return APIRequest("GET", cast("Any", URL), **fields)


async def test_sleep_moves_the_clock_on_at_once() -> None:
    """sleep() records the seconds, advances the clock by them, and lets other tasks run once."""
    clock = FakeClock(10.0)
    ran: list[bool] = []
    asyncio.get_running_loop().call_soon(ran.append, True)
    await clock.sleep(1.5)
    await clock.sleep(0)

    assert (clock.sleeps, clock.time(), ran) == ([1.5, 0], 11.5, [True])
    assert repr(clock) == "<FakeClock at 11.5>"


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
async def test_a_clock_never_goes_back(seconds: float) -> None:
    """advance() by a negative number, or by a value that is not seconds, is refused."""
    clock = FakeClock()

    with pytest.raises(InvalidRequestError, match="0 seconds or more"):
        clock.advance(seconds)
    assert clock.time() == 1000.0


@pytest.mark.parametrize(
    ("seconds", "kind"), [(10**400, InvalidRequestError), ("1", TypeError), (True, TypeError)]
)
async def test_a_clock_moves_by_a_number_of_seconds(seconds: Any, kind: type[Exception]) -> None:
    """advance() refuses a value that is not a number of seconds that a float can hold; the clock does not
    move.
    """
    clock = FakeClock()

    with pytest.raises(kind, match="seconds must be a number of seconds"):
        clock.advance(seconds)
    assert clock.time() == 1000.0


async def test_a_negative_sleep_is_over_at_once() -> None:
    """A negative sleep is recorded and advances nothing, like asyncio's."""
    clock = FakeClock()
    await clock.sleep(-1)

    assert (clock.sleeps, clock.time()) == ([-1], 1000.0)


async def test_it_is_the_sleep_of_a_retry() -> None:
    """A retry that sleeps on the clock takes no time, and the waits can be inspected."""
    clock = FakeClock()
    transport = FakeTransport(respond(503, headers={"Retry-After": "7"}), respond(200))

    response = await RetryMiddleware(sleep=clock.sleep)(get(), transport)

    assert (response.status, clock.sleeps) == (200, [7.0])
    assert transport.open_responses == 1
    await response.close()


async def test_it_is_the_clock_of_a_token_cache() -> None:
    """A token cache that reads the clock lets its tokens expire when the clock is advanced."""
    clock = FakeClock()
    cache = TokenCache(clock=clock.time)
    made = count()

    async def fetch() -> Token:
        return Token(f"t{next(made)}", 60)

    first = await cache.get("key", fetch)
    again = await cache.get("key", fetch)
    clock.advance(60)

    assert (first.value, again.value, (await cache.get("key", fetch)).value) == ("t0", "t0", "t1")


async def turns() -> None:
    """Let the loop run: tasks start, and due timers fire."""
    for _ in range(3):
        await asyncio.sleep(0)


def is_asyncio_loop() -> bool:
    """Whether the tests run on asyncio's own loop, and not on uvloop."""
    return isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)


async def test_installed_it_moves_the_timers_of_the_loop() -> None:
    """While the clock is installed, timers of the loop wait for it."""
    if not is_asyncio_loop():
        pytest.skip("asyncio's own loop")
    clock = FakeClock()
    fired: list[float] = []
    with clock.install() as installed:
        loop = asyncio.get_running_loop()
        loop.call_later(3600, lambda: fired.append(loop.time()))
        sleeping = asyncio.ensure_future(asyncio.sleep(7200))
        await turns()
        clock.advance(3599)
        await turns()
        assert fired == []
        clock.advance(1)
        await turns()
        assert fired == [4600.0]
        assert not sleeping.done()
        clock.advance(3600)
        await sleeping
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await clock.sleep(61)
                await asyncio.Event().wait()

    assert installed is clock
    assert loop.time() != clock.time()
    await asyncio.sleep(0.001)  # a real timer fires again


async def test_installed_it_brings_a_deadline_about() -> None:
    """A call whose waits would pass its total ends with APITimeoutError, without real waiting."""
    if not is_asyncio_loop():
        pytest.skip("asyncio's own loop")
    clock = FakeClock()

    async def slow(request: APIRequest) -> Callable[[APIRequest], AsyncAPIResponse[Any]]:
        await clock.sleep(4)
        return respond(503)

    transport = FakeTransport(default=slow)
    with clock.install():
        async with AsyncAPIClient("https://api.example.com", transport=transport, timeout=10) as api:
            with pytest.raises(APITimeoutError) as raised:
                await api.get("/users/7", timeout=Timeout(total=3))

    assert raised.value.phase == "total"
    assert len(transport.requests) == 1


async def test_installed_it_ends_a_stream_at_its_total() -> None:
    """A stream that is silent past its total is aborted when the clock has passed it."""
    if not is_asyncio_loop():
        pytest.skip("asyncio's own loop")
    clock = FakeClock()

    async def silent() -> AsyncIterator[bytes]:
        yield b"1"
        await asyncio.Event().wait()

    with clock.install():
        request = get(stream=True, timeout=Timeout(total=5.0, attempt=None))
        response = await DeadlineMiddleware()(request, FakeTransport(respond(chunks=silent())))
        pieces = response.iter_bytes()
        first = await anext(pieces)
        reading = asyncio.ensure_future(anext(pieces))
        await turns()
        clock.advance(5)
        with pytest.raises(APITimeoutError):
            await reading

    assert first == b"1"


async def test_it_is_installed_once() -> None:
    """A second clock in the same loop is refused, and the first one is kept."""
    if not is_asyncio_loop():
        pytest.skip("asyncio's own loop")
    clock = FakeClock()
    with clock.install():
        with pytest.raises(RuntimeError, match="another FakeClock is installed"), FakeClock().install():
            pass
        assert asyncio.get_running_loop().time() == clock.time()


async def test_it_is_refused_on_another_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop whose timers do not use its own `time`, such as uvloop's, is refused by name."""

    class Loop:
        """No loop of asyncio's."""

    monkeypatch.setattr(asyncio, "get_running_loop", Loop)

    with (
        pytest.raises(TypeError, match=r"event loops only, not with .*Loop"),
        FakeClock().install(),
    ):
        pass
