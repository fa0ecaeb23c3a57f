"""`RateLimit` in a chain: turns, deadlines, cancellation, cost and keys; the six promises; no secrets."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Hashable, Sequence
from typing import Any

import pytest
from aioapiclient_ratelimit import LocalStore, Rate, RateLimit, Turn
from servers import ok, raw_server, respond, turns

from aioapiclient import (
    APIRequest,
    AsyncAPIClient,
    AsyncAPIResponse,
    ClientClosedError,
    InvalidRequestError,
    RateLimitError,
    RetryPolicy,
    ThrottledError,
    per_send,
)
from aioapiclient.testing import FakeClock, FakeTransport, check_middleware
from aioapiclient.testing import respond as answer

ORIGIN = "https://api.example.com"


class Store:
    """Returns the given turns, and records the calls."""

    def __init__(self, *waits: float) -> None:
        self.waits = [*waits]
        self.reserved: list[tuple[Hashable, int]] = []
        self.refunded: list[tuple[Hashable, Turn]] = []
        self.fails = False

    async def reserve(self, key: Hashable, rates: Sequence[Rate], cost: int, most: float) -> Turn:
        self.reserved.append((key, cost))
        wait = self.waits.pop(0) if self.waits else 0.0
        return Turn(wait, wait, cost)

    async def refund(self, key: Hashable, rates: Sequence[Rate], turn: Turn) -> None:
        await asyncio.sleep(0)
        if self.fails:
            raise ConnectionError("redis://:secret@host is down")
        self.refunded.append((key, turn))


def client(limit: RateLimit, transport: FakeTransport | None = None, **options: Any) -> AsyncAPIClient:
    """A client with the limit where it belongs."""
    transport = transport or FakeTransport(default=answer(json={}))
    return AsyncAPIClient(ORIGIN, middlewares=[per_send(limit)], transport=transport, **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RateLimit("1000000/s"),
        lambda: RateLimit("1000/s", burst=1, pace=True),
        lambda: RateLimit("1000000/s", learn=False),
        RateLimit,
    ],
)
async def test_it_keeps_the_promises(make: Any) -> None:
    """The middleware keeps the six promises, with and without rates."""
    await check_middleware(make)


# --- turns


async def test_calls_leave_at_the_rate_in_their_order() -> None:
    """A burst is sent together, then one call after the other, first come first served."""
    with FakeClock().install() as clock:
        times: list[tuple[str, float]] = []

        async def handler(request: APIRequest) -> AsyncAPIResponse[Any]:
            times.append((request.url.name, round(clock.time() - 1000, 3)))
            return AsyncAPIResponse.from_bytes(request, 200, {}, b"")

        limit = RateLimit("4/s", burst=2, store=LocalStore(clock.time))
        requests = [APIRequest("GET", f"{ORIGIN}/{number}") for number in range(5)]
        calls = [asyncio.ensure_future(limit(request, handler)) for request in requests]
        for _ in range(16):
            await turns()
            clock.advance(0.0625)
        await asyncio.gather(*calls)

    assert times == [("0", 0), ("1", 0), ("2", 0.25), ("3", 0.5), ("4", 0.75)]


async def test_a_turn_after_the_deadline_is_refused_at_once() -> None:
    """The call fails before it waits, sends nothing, is not retried, and reports when its turn comes."""
    transport = FakeTransport(default=answer(json={}))
    async with client(RateLimit("1/min"), transport) as api:
        await api.get("/first")
        with pytest.raises(ThrottledError) as caught:
            await api.get("/second", params={"token": "secret"}, timeout=5)
        assert caught.value.retry_after == pytest.approx(60, abs=1)
        assert str(caught.value).startswith(f"GET {ORIGIN}/second?")
        assert str(caught.value).endswith("s more, past the deadline")
        assert "/second?...: not sent: no turn under 1/min for " in str(caught.value)
        assert "secret" not in str(caught.value)
    assert len(transport.requests) == 1


async def test_a_turn_above_max_wait_is_refused_at_once() -> None:
    """So does a call above ``max_wait``, and it reserves nothing: the next call gets that turn."""
    with FakeClock().install() as clock:
        limit = RateLimit("1/s", "60/min", max_wait=2.5, store=LocalStore(clock.time))
        async with client(limit) as api:
            calls = [asyncio.ensure_future(api.get("/x", timeout=None)) for _ in range(5)]
            await turns(20)
            refused = [call.exception() for call in calls if call.done() and call.exception()]
            assert [str(error).partition("not sent: ")[2] for error in refused] == [
                "no turn under 1/s, 60/min for 3.00 s more, above max_wait=2.5 of RateLimit",
                "no turn under 1/s, 60/min for 3.00 s more, above max_wait=2.5 of RateLimit",
            ]
            for _ in range(20):
                clock.advance(0.125)
                await turns(20)
            await asyncio.gather(*calls, return_exceptions=True)


async def test_retries_take_turns_too() -> None:
    """Placed with `per_send`, every request on the wire counts."""
    store = Store()
    transport = FakeTransport(answer(503), answer(503), answer(json={}))
    retry = RetryPolicy(wait=lambda: iter([None, 0, 0]))
    async with client(RateLimit("5/s", store=store), transport, retry=retry) as api:
        await api.get("/x")

    assert store.reserved == [(ORIGIN, 1)] * 3


# --- keys and cost


async def test_the_key_and_the_cost_are_the_users() -> None:
    """A function of the request returns the key of the limit, and the number of calls that the request
    counts for.
    """
    store = Store()
    limit = RateLimit(
        "50/s",
        key=lambda request: (request.origin, request.headers.get("X-Tenant")),
        cost=lambda request: 5 if request.method == "POST" else 0 if request.url.name == "health" else 1,
        store=store,
    )
    async with client(limit) as api:
        await api.post("/x", headers={"X-Tenant": "a"})
        await api.get("/x", headers={"X-Tenant": "b"})
        await api.get("/health")

    assert store.reserved == [((ORIGIN, "a"), 5), ((ORIGIN, "b"), 1)]


async def test_the_cost_of_a_call_is_asked_for_once() -> None:
    """A function is called once per call: for one that is sent, one that waits, and one that is refused."""
    asked: list[str] = []

    def cost(request: APIRequest) -> int:
        asked.append(request.url.name)
        return 1

    with FakeClock().install() as clock:
        limit = RateLimit("1/s", cost=cost, max_wait=1.5, store=LocalStore(clock.time))
        async with client(limit, max_retries=0) as api:
            calls = [asyncio.ensure_future(api.get(f"/{name}")) for name in ("now", "waits", "refused")]
            await turns()
            clock.advance(1)
            ends = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(end).__name__ for end in ends] == ["dict", "dict", "ThrottledError"]
    assert asked == ["now", "waits", "refused"]


@pytest.mark.parametrize(
    ("cost", "error"), [(6, InvalidRequestError), (-1, InvalidRequestError), (0.5, TypeError)]
)
async def test_a_cost_that_cannot_be_is_refused(cost: Any, error: type[Exception]) -> None:
    """A cost above the burst would never fit, and one below 0 would loosen the rate: nothing is sent."""
    transport = FakeTransport(default=answer(json={}))
    async with client(RateLimit("50/s", cost=lambda request: cost), transport) as api:
        with pytest.raises(error, match="cost must be"):
            await api.get("/x")
    assert not transport.requests


# --- cancellation


async def test_a_cancelled_wait_is_refunded() -> None:
    """The turn returns to the store, and the cancellation reaches the caller unchanged."""
    store = Store(30.0)
    async with client(RateLimit("5/s", store=store)) as api:
        call = asyncio.ensure_future(api.get("/x"))
        await turns()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert store.refunded == [(ORIGIN, Turn(30.0, 30.0, 1))]


async def test_close_ends_a_wait_and_refunds_it() -> None:
    """A client that closes ends the calls that wait for a turn."""
    store = Store(30.0)
    api = client(RateLimit("5/s", store=store))
    call = asyncio.ensure_future(api.get("/x"))
    await turns()
    await api.close()
    with pytest.raises(ClientClosedError):
        await call
    assert len(store.refunded) == 1


async def test_a_refund_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The call ends as without the failure; the log has the class of the error, and no text of another
    library.
    """
    store = Store(30.0)
    store.fails = True
    async with client(RateLimit("5/s", store=store)) as api:
        call = asyncio.ensure_future(api.get("/x"))
        await turns()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    assert caplog.messages == ["A turn could not be refunded (ConnectionError)"]


async def test_a_refund_that_takes_long_does_not_hold_the_cancellation_up() -> None:
    """The refund continues after the call, and ends."""
    store = Store(30.0)
    due = asyncio.Event()
    store.refund = lambda key, rates, turn: due.wait()  # type: ignore[assignment,method-assign]
    limit = RateLimit("5/s", store=store)
    async with client(limit) as api:
        call = asyncio.ensure_future(api.get("/x"))
        await turns()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        (refund,) = limit._refunds
        due.set()
        await refund
        await turns()
        assert not limit._refunds


async def test_a_turn_that_was_used_is_not_refunded() -> None:
    """A call that is cancelled on the wire has had its turn."""
    store = Store()

    async def hang(request: APIRequest) -> AsyncAPIResponse[Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async with AsyncAPIClient(
        ORIGIN, middlewares=[per_send(RateLimit("5/s", store=store))], transport=hang
    ) as api:
        call = asyncio.ensure_future(api.get("/x"))
        await turns()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert store.reserved == [(ORIGIN, 1)]
    assert not store.refunded


# --- the wire


async def test_it_learns_from_a_real_server() -> None:
    """A 429 is returned to the client as any other response, and its headers are used."""
    limit = RateLimit(max_wait=5)
    script = respond(
        ok(**{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"}).replace(b"200 OK", b"429 X")
    )
    async with (
        raw_server(script) as server,
        AsyncAPIClient(server.url, middlewares=[per_send(limit)], max_retries=0) as api,
    ):
        with pytest.raises(RateLimitError):
            await api.get("/x")
        with pytest.raises(ThrottledError):
            await api.get("/x")
        assert len(server.requests) == 1
        assert limit.stats()[server.url]["remaining"] == 0


async def test_a_stream_counts_as_answered_with_its_head() -> None:
    """A stream that is read for long holds no other call back."""
    limit = RateLimit()
    head = ok(b"data: 1\n\n", "text/event-stream", RateLimit='"api";r=1;t=60')
    async with (
        raw_server(respond(head)) as server,
        AsyncAPIClient(server.url, middlewares=[per_send(limit)]) as api,
        api.open("GET", "/stream"),
        api.open("GET", "/stream"),
    ):
        assert len(server.requests) == 2


async def test_no_secret_shows(caplog: pytest.LogCaptureFixture) -> None:
    """A key that is a token is in no repr, error, log, statistic or pickle."""
    caplog.set_level(logging.DEBUG)
    secret = "canary-7c1e"
    limit = RateLimit("1/min", key=lambda request: request.headers["Authorization"], max_wait=1)
    async with client(limit, default_headers={"Authorization": f"Bearer {secret}"}, max_retries=0) as api:
        await api.get("/x")
        with pytest.raises(ThrottledError) as caught:
            await api.get("/x")
        shown = [repr(limit), repr(limit._store), str(limit.stats()), str(caught.value), repr(caught.value)]
    shown += [caplog.text, str(caught.value.__cause__), str(caught.value.__context__)]
    assert secret not in "".join(shown)
    assert secret.encode() not in pickle.dumps(caught.value)
