"""Turns: never more than the rates allow in any time, in order, and each only once; in Python and in Lua."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from aioapiclient_ratelimit import LocalStore, Rate, RedisStore, Turn
from aioapiclient_ratelimit.rates import parse_rate
from aioapiclient_ratelimit.stores import _Bucket
from hypothesis import given, settings
from hypothesis import strategies as st
from needed_servers import need_module

from aioapiclient.testing import FakeClock

NEVER = 1e9


class History:
    """The turns that one key reserved, and those that were returned."""

    def __init__(self, *rates: Rate) -> None:
        self.clock = FakeClock()
        self.rates = rates
        self.turns: list[Turn] = []
        self.new: list[Turn] = []
        self.freed: list[Turn] = []
        self._store = LocalStore(self.clock.time)

    def reserve(self, cost: int = 1, most: float = NEVER) -> Turn:
        """Reserve a turn, and note it."""
        turn = asyncio.run(self._store.reserve("key", self.rates, cost, most))
        if turn.wait <= most:
            self.turns.append(turn)
            if not any(turn.at == freed.at for freed in self.freed):
                self.new.append(turn)
        return turn

    def cancel(self, number: int) -> None:
        """Return a turn that has not come yet, if one is left."""
        waiting = [turn for turn in self.turns if turn.at > self.clock.time()]
        if waiting:
            turn = waiting[number % len(waiting)]
            self.turns.remove(turn)
            self.freed.append(turn)
            asyncio.run(self._store.refund("key", self.rates, turn))

    def check_rates(self) -> None:
        """In any time t, burst + rate * t calls at most."""
        turns = sorted(self.turns, key=lambda turn: turn.at)
        for rate in self.rates:
            for first, start in enumerate(turns):
                calls = 0
                for turn in turns[first:]:
                    calls += turn.cost
                    assert calls <= rate.burst + (turn.at - start.at) / rate.every + 1e-3, rate


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 3)),
        st.tuples(st.just("reserve"), st.integers(1, 3)),
        st.tuples(st.just("cancel"), st.integers(0, 50)),
    ),
    max_size=60,
)
RATES = st.lists(
    st.builds(Rate, st.integers(1, 50), st.sampled_from([1.0, 7.0]), st.integers(3, 10)),
    min_size=1,
    max_size=2,
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(RATES, STEPS)
def test_never_more_than_the_rates_allow(rates: list[Rate], steps: list[tuple[str, Any]]) -> None:
    """In any time t at most burst + rate * t calls are sent, whatever is cancelled, under each of the rates.

    New turns come in the order of the reservations.
    """
    history = History(*rates)
    for step, value in steps:
        if step == "pass":
            history.clock.advance(value)
        elif step == "reserve":
            history.reserve(value)
        else:
            history.cancel(value)

    history.check_rates()
    assert [turn.at for turn in history.new] == sorted(turn.at for turn in history.new)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(RATES, STEPS)
def test_a_turn_that_comes_now_is_the_same_either_way(
    rates: list[Rate], steps: list[tuple[str, Any]]
) -> None:
    """Without a coroutine a turn is reserved exactly if `reserve` would reserve it without a wait."""
    one, other, now = _Bucket(rates), _Bucket(rates), 1000.0
    for step, value in steps:
        if step == "pass":
            now += value
        elif step == "cancel":
            for bucket in (one, other):
                bucket.refund(now, Turn(value / 10, now + value / 10, 2))
        else:
            assert one.reserve_now(now, value) is (other.reserve(now, value, 0.0).wait == 0)
            assert (one.drained, one.freed) == (other.drained, other.freed)


def test_a_refusal_reserves_nothing() -> None:
    """A turn whose wait is too long stays free: the next call gets the same wait."""
    history = History(parse_rate("10/s", 1), parse_rate("60/min", 30))
    assert history.reserve().wait == 0

    assert [round(history.reserve(most=0.05).wait, 6) for _ in range(3)] == [0.1] * 3
    assert [round(history.reserve().wait, 6) for _ in range(3)] == [0.1, 0.2, 0.3]


def test_all_rates_hold_or_none() -> None:
    """The slower of two rates decides."""
    history = History(parse_rate("100/s", 1), parse_rate("60/min", 2))

    assert [round(history.reserve().wait, 6) for _ in range(4)] == [0, 0.01, 1, 2]
    assert history.reserve(most=2.5).wait == pytest.approx(3)
    history.check_rates()


def test_a_burst_is_full_again_after_a_pause() -> None:
    """Unused turns do not accumulate beyond the burst."""
    history = History(parse_rate("10/s", 3))
    assert [round(history.reserve().wait, 6) for _ in range(4)] == [0, 0, 0, 0.1]

    history.clock.advance(3600)
    assert [round(history.reserve().wait, 6) for _ in range(4)] == [0, 0, 0, 0.1]


def test_turns_of_cancelled_calls_go_to_the_next_ones() -> None:
    """Thirty cancellations leave no gap, and no turn is assigned twice."""
    history = History(parse_rate("50/s", 1))
    for _ in range(60):
        history.reserve()
    for _ in range(30):
        history.cancel(10)
    freed = sorted(turn.at for turn in history.freed)

    assert [history.reserve().at for _ in range(30)] == freed
    assert history.reserve().wait == pytest.approx(60 * 0.02)
    history.check_rates()


def test_a_part_of_a_dear_turn_is_enough_for_a_cheap_call() -> None:
    """The turn of a call that counted for three serves three that count for one."""
    history = History(parse_rate("10/s", 3))
    history.reserve(3)
    dear = history.reserve(3)
    history.cancel(0)

    assert [history.reserve(1).at for _ in range(3)] == [dear.at] * 3
    assert history.reserve(1).at > dear.at


def test_a_turn_that_has_come_is_gone() -> None:
    """A turn is not refunded after its time, and a returned turn expires at its time."""
    history = History(parse_rate("10/s", 1))
    history.reserve()
    turn = history.reserve()
    history.cancel(0)
    history.clock.advance(0.15)
    asyncio.run(history._store.refund("key", history.rates, turn))

    assert history.reserve().wait == pytest.approx(0.05)


def test_a_store_is_shared_by_key_and_rates() -> None:
    """Keys, and limits with other rates, are counted separately."""

    async def waits() -> list[float]:
        store = LocalStore(FakeClock().time)
        one, other = (parse_rate("1/s"),), (parse_rate("1/min"),)
        asked = [("a", one), ("b", one), ("a", other), ("a", one)]
        return [(await store.reserve(key, rates, 1, NEVER)).wait for key, rates in asked]

    assert asyncio.run(waits()) == [0, 0, 0, 1]


def test_a_local_store_is_bounded() -> None:
    """A thousand keys are stored, and the least recently used one is dropped first."""

    async def waits() -> list[float]:
        store = LocalStore(FakeClock().time)
        rates = (parse_rate("1/s"),)
        for number in [*range(1000), 0, 1000]:
            await store.reserve(number, rates, 1, NEVER)
        assert repr(store) == "<LocalStore: 1000 keys>"
        return [(await store.reserve(number, rates, 1, NEVER)).wait for number in (0, 1)]

    assert asyncio.run(waits()) == [2, 0]


# --- the same in Redis


async def redis_client(server: Any, library: str = "redis") -> Any:
    """An asyncio client of redis-py or valkey-py."""
    module = need_module(f"{library}.asyncio", library)
    return getattr(module, library.capitalize())(port=server.port)


async def test_lua_and_python_agree(redis_server: Any) -> None:
    """Ten thousand random histories give the same turns, to the bit."""
    client = await redis_client(redis_server)
    sha = await client.script_load(RedisStore(client)._script.script)
    source = random.Random(20261129)
    for batch in range(20):
        pipe = client.pipeline(transaction=False)
        expected: list[Turn | None] = []
        for number in range(500):
            key = f"agree:{batch}:{number}"
            for arguments, turn in _random_history(source):
                pipe.evalsha(sha, 1, key, *arguments)
                expected.append(turn)
        answers = await pipe.execute()
        assert len(answers) == len(expected)
        for answer, turn in zip(answers, expected, strict=True):
            assert [float(part) for part in answer] == ([] if turn is None else [turn.wait, turn.at])
    await client.aclose()


def _random_history(source: random.Random) -> list[tuple[list[Any], Turn | None]]:
    """Commands to the script, and the turns that Python's bucket gives for them."""
    rates = [
        Rate(source.randint(1, 50), source.choice([1.0, 7.0, 60.0]), source.randint(2, 6))
        for _ in range(source.randint(1, 2))
    ]
    numbers = [number for rate in rates for number in (rate.burst, rate.every)]
    bucket, now = _Bucket(rates), 1e7 + source.random()
    steps: list[tuple[list[Any], Turn | None]] = []
    turns: list[Turn] = []
    for _ in range(source.randint(2, 9)):
        now += source.choice([0.0, 0.001, source.random()])
        if turns and source.random() < 0.3:
            turn = turns.pop(source.randrange(len(turns)))
            bucket.refund(now, turn)
            steps.append(([now, "refund", turn.at, turn.cost], None))
        else:
            cost, most = source.randint(1, 2), source.choice([0.05, 1.0, 60.0])
            turn = bucket.reserve(now, cost, most)
            steps.append(([now, "reserve", cost, most, *numbers], turn))
            if turn.wait <= most:
                turns.append(turn)
    return steps


@pytest.mark.parametrize("library", ["redis", "valkey"])
async def test_the_clock_is_the_servers(redis_server: Any, library: str) -> None:
    """Two clients share the turns of a key, with redis-py and valkey-py alike; the key expires."""
    clients = [await redis_client(redis_server, library) for _ in range(2)]
    one, other = (RedisStore(client, prefix=f"{library}:") for client in clients)
    rates = (parse_rate("1/min", 2),)

    waits = [(await store.reserve("key", rates, 1, 3600)).wait for store in (one, other, one, other)]
    assert waits[:2] == [0, 0]
    assert 59 < waits[2] <= 60
    assert 119 < waits[3] <= 120
    (name,) = await clients[0].keys(f"{library}:*")
    assert 200_000 < await clients[0].pttl(name) <= 241_000

    turn = await other.reserve("key", rates, 1, 3600)
    await other.refund("key", rates, turn)
    again = await one.reserve("key", rates, 1, 3600)
    assert again.at == turn.at
    for client in clients:
        await client.aclose()


async def test_a_reservation_is_one_round_trip(redis_server: Any) -> None:
    """After the first call, a reservation is one command from the client, and four in the server at most."""
    client = await redis_client(redis_server)
    store, rates = RedisStore(client, prefix="trips:"), (parse_rate("1000/s"),)
    await store.reserve("key", rates, 1, 60)
    await client.config_resetstat()
    for _ in range(10):
        await store.reserve("key", rates, 1, 60)

    stats = await client.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): fact["calls"] for name, fact in stats.items()}
    calls.pop("config|resetstat", None)
    assert calls == {"evalsha": 10, "time": 10, "get": 10, "set": 10}
    await client.aclose()


@pytest.mark.parametrize("key", [1.5, object(), frozenset("a"), ("a", [])])
async def test_a_key_is_the_same_in_every_process(redis_server: Any, key: Any) -> None:
    """A value with a different text in another process is refused as the key of a fleet."""
    client = await redis_client(redis_server)

    with pytest.raises(TypeError, match="a key in a RedisStore must be a str, an int, bytes or a tuple"):
        await RedisStore(client).reserve(key, (parse_rate("1/s"),), 1, 60)
    await client.aclose()
