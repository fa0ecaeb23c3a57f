"""Tokens: fetched once for all waiting calls, renewed ahead of their expiry, and never dropped for an
older one.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioapiclient import ClientClosedError, InvalidRequestError, Token, TokenCache
from aioapiclient.contract import serves_several


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Provider:
    """Returns token-1, token-2 ..., and counts; `fail` makes it fail, `gate` makes it wait."""

    def __init__(self, expires_in: float | None = 3600) -> None:
        self.asked = 0
        self.expires_in = expires_in
        self.fail: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def __call__(self) -> Token:
        self.asked += 1
        number = self.asked
        if self.gate is not None:
            await self.gate.wait()
        if self.fail is not None:
            raise self.fail
        return Token(f"token-{number}", self.expires_in)


@pytest.fixture
def clock() -> Clock:
    """A clock that the test moves."""
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> TokenCache:
    """A cache that uses that clock."""
    return TokenCache(clock=clock)


async def landed() -> None:
    """Let a fetch that does not wait finish."""
    for _ in range(5):
        await asyncio.sleep(0)


# --- one fetch


async def test_a_thousand_waiters_ask_once(cache: TokenCache) -> None:
    """However many calls wait for a token, its provider is called once."""
    provider = Provider()
    tokens = await asyncio.gather(*(cache.get("k", provider) for _ in range(1000)))
    assert provider.asked == 1
    assert {token.value for token in tokens} == {"token-1"}


async def test_a_fetch_says_that_it_serves_several_calls(cache: TokenCache) -> None:
    """The task of a fetch has the context of the first call, and reports that others wait for it too."""
    own: ContextVar[str] = ContextVar("own")
    own.set("first call")

    async def fetch() -> str:
        return f"{own.get()}, {serves_several.get()}"

    assert (await cache.get("key", fetch)).value == "first call, True"
    assert serves_several.get() is False


async def test_a_token_is_kept(cache: TokenCache) -> None:
    """A valid token is not requested again."""
    provider = Provider()
    for _ in range(3):
        assert (await cache.get("k", provider)).value == "token-1"
    assert provider.asked == 1


async def test_each_key_has_its_token(cache: TokenCache) -> None:
    """Keys are independent."""
    one, other = Provider(), Provider()
    await asyncio.gather(cache.get("a", one), cache.get("b", other), cache.get(("b", 1), other))
    assert (one.asked, other.asked) == (1, 2)


async def test_a_str_is_a_token_without_an_end(cache: TokenCache, clock: Clock) -> None:
    """A provider may return a str, which is valid until a server refuses it."""

    async def provider() -> str:
        return "plain"

    assert await cache.get("k", provider) == Token("plain", None)
    clock.now += 1e9
    assert (await cache.get("k", Provider())).value == "plain"


@pytest.mark.parametrize("given", [None, 7, b"bytes", ("token", 3600)])
async def test_a_provider_that_gives_something_else_is_a_mistake(cache: TokenCache, given: Any) -> None:
    """A value that is neither a str nor a `Token` raises a TypeError that does not show it."""

    async def provider() -> Any:
        return given

    with pytest.raises(TypeError, match="a str or a Token") as caught:
        await cache.get("k", provider)
    assert repr(given) not in str(caught.value) or given is None


# --- failure


async def test_a_failure_reaches_every_waiting_call(cache: TokenCache) -> None:
    """If no token is valid, a failing provider is called once, and all waiting calls get its error."""
    provider = Provider()
    provider.fail = LookupError("down")
    ends = await asyncio.gather(*(cache.get("k", provider) for _ in range(100)), return_exceptions=True)
    assert provider.asked == 1
    assert all(end is provider.fail for end in ends)


async def test_after_a_failure_the_next_call_asks_again(cache: TokenCache) -> None:
    """A failure is not kept: the next call calls the provider."""
    provider = Provider()
    provider.fail = LookupError("down")
    with pytest.raises(LookupError):
        await cache.get("k", provider)
    provider.fail = None
    assert (await cache.get("k", provider)).value == "token-2"


async def test_a_failure_without_a_waiter_is_silent(
    cache: TokenCache, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A background renewal that fails leaves no "exception was never retrieved" in the log."""
    provider = Provider(expires_in=600)
    await cache.get("k", provider)
    clock.now += 500
    provider.fail = LookupError("down")
    with caplog.at_level(logging.DEBUG):
        await cache.get("k", provider)
        await landed()
        gc.collect()
    assert provider.asked == 2
    assert caplog.records == []


# --- ahead of the expiry


@pytest.mark.parametrize(
    ("expires_in", "left", "asked"),
    [
        (3600, 121, 1),  # valid
        (3600, 119, 2),  # its last two minutes: renewed in the background
        (3600, 11, 2),
        (60, 13, 1),  # a short-lived one: its last fifth
        (60, 11, 2),
    ],
)
async def test_a_token_is_renewed_ahead_of_its_end(
    cache: TokenCache, clock: Clock, expires_in: float, left: float, asked: int
) -> None:
    """Ahead of its expiry a token is renewed in the background, while calls continue with the valid one."""
    provider = Provider(expires_in)
    await cache.get("k", provider)
    clock.now += expires_in - left
    assert (await cache.get("k", provider)).value == "token-1"
    await landed()
    assert provider.asked == asked
    assert (await cache.get("k", provider)).value == f"token-{asked}"


@pytest.mark.parametrize(("expires_in", "left"), [(3600, 9), (3600, 0), (3600, -5), (60, 5), (60, -1)])
async def test_at_its_very_end_the_calls_wait(
    cache: TokenCache, clock: Clock, expires_in: float, left: float
) -> None:
    """A token that may expire on its way to the server is not used: the calls wait for the new one."""
    provider = Provider(expires_in)
    await cache.get("k", provider)
    clock.now += expires_in - left
    tokens = await asyncio.gather(*(cache.get("k", provider) for _ in range(10)))
    assert {token.value for token in tokens} == {"token-2"}
    assert provider.asked == 2


async def test_a_renewal_ahead_is_one_flight(cache: TokenCache, clock: Clock) -> None:
    """However many calls see the end coming, one of them has the token renewed."""
    provider = Provider()
    await cache.get("k", provider)
    clock.now += 3500
    provider.gate = asyncio.Event()
    await asyncio.gather(*(cache.get("k", provider) for _ in range(100)))
    await landed()
    assert provider.asked == 2
    provider.gate.set()
    await landed()
    assert (await cache.get("k", provider)).value == "token-2"


async def test_calls_that_must_wait_join_the_renewal_under_way(cache: TokenCache, clock: Clock) -> None:
    """A renewal that began in the background serves the calls that have to wait by now."""
    provider = Provider()
    await cache.get("k", provider)
    clock.now += 3500
    provider.gate = asyncio.Event()
    await cache.get("k", provider)
    clock.now += 95
    waiting = asyncio.create_task(cache.get("k", provider))
    await landed()
    provider.gate.set()
    assert (await waiting).value == "token-2"
    assert provider.asked == 2


async def test_a_failed_renewal_leaves_the_token_that_holds(cache: TokenCache, clock: Clock) -> None:
    """A failed renewal ahead of the expiry raises nothing, and is repeated after five seconds."""
    provider = Provider()
    await cache.get("k", provider)
    provider.fail = LookupError("down")
    clock.now += 3500
    for seconds, asked in ((0, 2), (1, 2), (3.9, 2), (0.2, 3), (5.1, 4)):
        clock.now += seconds
        assert (await cache.get("k", provider)).value == "token-1"
        await landed()
        assert provider.asked == asked
    provider.fail = None
    clock.now += 5.1
    await cache.get("k", provider)
    await landed()
    assert (await cache.get("k", provider)).value == "token-5"


async def test_a_failed_renewal_at_the_very_end_is_an_error(cache: TokenCache, clock: Clock) -> None:
    """If the current token cannot be used any more, the failure is raised, pause or not."""
    provider = Provider()
    await cache.get("k", provider)
    provider.fail = LookupError("down")
    clock.now += 3590
    await asyncio.gather(cache.get("k", provider), return_exceptions=True)
    clock.now += 20
    with pytest.raises(LookupError):
        await cache.get("k", provider)
    assert provider.asked == 3


async def test_the_time_of_a_token_counts_from_before_it_was_asked_for(
    clock: Clock, cache: TokenCache
) -> None:
    """The provider's own time is subtracted: the server's clock started before the token arrived."""
    asked = 0

    async def provider() -> Token:
        nonlocal asked
        asked += 1
        clock.now += 30
        return Token(f"token-{asked}", 600)

    await cache.get("k", provider)
    clock.now += 600 - 30 - 5
    assert (await cache.get("k", provider)).value == "token-2"


@pytest.mark.parametrize("expires_in", [0, -1, -3600])
async def test_a_token_that_has_expired_on_arrival_serves_the_waiting_calls(
    cache: TokenCache, expires_in: float
) -> None:
    """A token without time left is given to the waiting calls, and not kept."""
    provider = Provider(expires_in)
    assert (await cache.get("k", provider)).value == "token-1"
    assert (await cache.get("k", provider)).value == "token-2"


# --- the lifetime of a token


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (3600, 3600.0),
        ("3600", 3600.0),
        (" 59.5 ", 59.5),
        ("0", 0.0),
        (0.25, 0.25),
        ("-1", -1.0),
        (None, None),
    ],
)
def test_the_time_of_a_token_may_be_a_text(given: Any, seconds: float | None) -> None:
    """A number as text, as some token endpoints send it, is that number."""
    assert Token("x", expires_in=given).expires_in == seconds


@pytest.mark.parametrize(
    "given",
    ["", "soon", "1h", "nan", "inf", math.nan, math.inf, -math.inf, 10**400, 10**9999, "9" * 9999],
    ids=lambda given: type(given).__name__,
)
def test_a_time_that_cannot_be_is_refused(given: Any) -> None:
    """A value that is not a finite number of seconds is refused by name, in one line of bounded length."""
    with pytest.raises(InvalidRequestError, match="expires_in must be a finite number of seconds") as caught:
        Token("x", expires_in=given)

    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("given", [True, False, b"3600", [3600], timedelta(hours=1)])
def test_a_time_of_another_type_is_a_mistake(given: Any) -> None:
    """A value that is not a number is a TypeError that names the type."""
    with pytest.raises(
        TypeError, match=f"expires_in must be a number of seconds or None, not {type(given).__name__}"
    ):
        Token("x", expires_in=given)


@pytest.mark.parametrize("value", [None, 1, b"abc"])
def test_the_value_of_a_token_is_a_text(value: Any) -> None:
    """A token that is not a str, as after a ``grant.get("acces_token")``, is refused at construction."""
    with pytest.raises(TypeError, match="Token value must be a str"):
        Token(value)


async def test_a_time_as_text_renews_like_any_other(cache: TokenCache, clock: Clock) -> None:
    """A token whose lifetime was given as text is kept for that time, and renewed at its end."""
    asked = 0

    async def provider() -> Token:
        nonlocal asked
        asked += 1
        return Token(f"token-{asked}", expires_in="600")

    for _ in range(3):
        assert (await cache.get("k", provider)).value == "token-1"
    clock.now += 599
    assert (await cache.get("k", provider)).value == "token-2"


# --- after a refusal


async def test_a_refused_token_is_replaced(cache: TokenCache) -> None:
    """After a refusal the provider is called, although the token has time left."""
    provider = Provider()
    await cache.get("k", provider)
    assert await cache.refresh("k", "token-1", provider)
    assert (await cache.get("k", provider)).value == "token-2"
    assert provider.asked == 2


async def test_a_newer_token_is_never_thrown_away(cache: TokenCache) -> None:
    """A call with a token that was replaced meanwhile gets the newer one, without another fetch."""
    provider = Provider()
    old = await cache.get("k", provider)
    await cache.refresh("k", old, provider)
    for _ in range(5):
        assert await cache.refresh("k", old, provider)
    assert provider.asked == 2
    assert (await cache.get("k", provider)).value == "token-2"


async def test_a_thousand_refusals_ask_once(cache: TokenCache) -> None:
    """However many calls are refused with one token, it is replaced once."""
    provider = Provider()
    token = await cache.get("k", provider)
    provider.gate = asyncio.Event()
    waiting = [asyncio.create_task(cache.refresh("k", token, provider)) for _ in range(1000)]
    await landed()
    provider.gate.set()
    assert all(await asyncio.gather(*waiting))
    assert provider.asked == 2


async def test_the_same_token_again_is_nothing_new(cache: TokenCache) -> None:
    """A provider that returns the refused token again has no new one."""

    async def provider() -> str:
        return "always"

    token = await cache.get("k", provider)
    assert not await cache.refresh("k", token, provider)


async def test_a_refusal_of_an_unknown_token_asks(cache: TokenCache) -> None:
    """A refresh without a kept token calls the provider."""
    provider = Provider()
    assert await cache.refresh("k", "from before", provider)
    assert provider.asked == 1


async def test_a_refresh_that_fails_raises(cache: TokenCache) -> None:
    """A provider that fails after a refusal fails all refused calls, and the refused token is dropped."""
    provider = Provider()
    await cache.get("k", provider)
    provider.fail = LookupError("down")
    ends = await asyncio.gather(
        *(cache.refresh("k", "token-1", provider) for _ in range(10)), return_exceptions=True
    )
    assert all(end is provider.fail for end in ends)
    assert provider.asked == 2
    provider.fail = None
    assert (await cache.get("k", provider)).value == "token-3"


async def test_a_refusal_joins_a_renewal_under_way(cache: TokenCache, clock: Clock) -> None:
    """A refusal while the token is being renewed waits for that renewal, and starts no second one."""
    provider = Provider()
    token = await cache.get("k", provider)
    clock.now += 3500
    provider.gate = asyncio.Event()
    await cache.get("k", provider)
    waiting = asyncio.create_task(cache.refresh("k", token, provider))
    await landed()
    provider.gate.set()
    assert await waiting
    assert provider.asked == 2


# --- cancellation and close


async def test_a_waiters_cancel_does_not_end_the_flight(cache: TokenCache) -> None:
    """The first waiter, whose call started the fetch, can be cancelled; the others get their token."""
    provider = Provider()
    provider.gate = asyncio.Event()
    first, second = (asyncio.create_task(cache.get("k", provider)) for _ in range(2))
    await landed()
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    provider.gate.set()
    assert (await second).value == "token-1"
    assert provider.asked == 1


async def test_when_all_waiters_leave_the_token_still_arrives(cache: TokenCache) -> None:
    """A fetch without any waiter finishes, and serves the next call."""
    provider = Provider()
    provider.gate = asyncio.Event()
    waiting = asyncio.create_task(cache.get("k", provider))
    await landed()
    waiting.cancel()
    await asyncio.wait([waiting])
    provider.gate.set()
    assert (await cache.get("k", provider)).value == "token-1"
    assert provider.asked == 1


async def test_close_ends_fetches_without_waiters(cache: TokenCache) -> None:
    """After `close` no task of the cache is left, and its tokens are kept."""
    provider = Provider()
    await cache.get("kept", provider)
    provider.gate = asyncio.Event()
    waiting = asyncio.create_task(cache.get("k", provider))
    await landed()
    waiting.cancel()
    await asyncio.wait([waiting])
    before = asyncio.all_tasks()
    await cache.close()
    assert len(asyncio.all_tasks()) == len(before) - 1
    assert (await cache.get("kept", provider)).value == "token-1"


async def test_close_leaves_a_flight_that_somebody_waits_for(cache: TokenCache) -> None:
    """A cache that two clients share still works for the client that remains open."""
    provider = Provider()
    provider.gate = asyncio.Event()
    waiting = asyncio.create_task(cache.get("k", provider))
    await landed()
    await cache.close()
    provider.gate.set()
    assert (await waiting).value == "token-1"


async def test_a_cancelled_provider_cancels_no_call(cache: TokenCache) -> None:
    """A fetch that was cancelled from within is an error of the waiters, never their cancellation."""

    async def provider() -> str:
        raise asyncio.CancelledError

    with pytest.raises(ClientClosedError):
        await cache.get("k", provider)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


def test_a_cache_outlives_its_loop() -> None:
    """A cache whose loop ended during a fetch works in the next loop."""
    cache, provider = TokenCache(), Provider()

    async def abandon() -> None:
        provider.gate = asyncio.Event()
        await asyncio.wait([asyncio.ensure_future(cache.get("k", provider))], timeout=0.001)

    asyncio.run(abandon())
    provider.gate = None
    assert asyncio.run(_get(cache, provider)).value == "token-2"


async def _get(cache: TokenCache, provider: Callable[[], Awaitable[Token]]) -> Token:
    return await cache.get("k", provider)


async def test_neither_a_token_nor_a_cache_shows_the_secret(cache: TokenCache) -> None:
    """The repr of a token, and of a cache that holds it, does not show it."""
    await cache.get("k", Provider())
    assert "token-1" not in repr(await cache.get("k", Provider()))
    assert "token-1" not in f"{cache!r} {cache}"


@given(
    st.lists(
        st.tuples(st.sampled_from(["get", "refuse", "pass", "fail", "mend"]), st.floats(0, 200)), max_size=40
    )
)
def test_whatever_happens_no_call_gets_a_token_that_has_expired(steps: list[tuple[str, float]]) -> None:
    """Over any sequence of calls, refusals and failures, every returned token is valid at that time."""

    async def run() -> None:
        clock = Clock()
        cache, provider = TokenCache(clock=clock), Provider(expires_in=150)
        got: dict[str, float] = {}
        last = ""
        for step, seconds in steps:
            if step == "get":
                try:
                    last = (await cache.get("k", provider)).value
                except LookupError:
                    assert provider.fail is not None
                    continue
                assert clock.now < got.setdefault(last, clock.now + 150)
            elif step == "refuse":
                try:
                    await cache.refresh("k", last, provider)
                except LookupError:
                    assert provider.fail is not None
            elif step == "pass":
                clock.now += seconds
            else:
                provider.fail = LookupError("down") if step == "fail" else None
            await landed()
        await cache.close()

    asyncio.run(run())
