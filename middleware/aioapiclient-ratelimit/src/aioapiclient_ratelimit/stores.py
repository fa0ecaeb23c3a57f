"""Stores that assign turns: the protocol, and the one for a single process.

The algorithm is GCRA, a leaky bucket as one number: the time at which all assigned turns will have drained. A
turn is reserved before the wait for it, so its time is known in advance, calls are sent in order, and nothing
polls. The turn of a cancelled call goes to the next new call: this keeps the flow within the rate, whereas
moving the drain time back would put two calls in the place of one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from aioapiclient.contract import BoundedDict, check_function

from .rates import Rate

__all__ = ["LocalStore", "RateStore", "Turn", "check_store"]

MOST_FREED: Final = 1000  # turns of cancelled calls that are kept for one key
SOON: Final = 1e-6  # seconds; a shorter wait is an error of rounding


class Turn(NamedTuple):
    """A reserved turn, or the turn that would have been reserved."""

    wait: float
    """Seconds until it comes."""

    at: float
    """When it comes, on the clock of the store."""

    cost: int
    """The number of calls that it counts for."""


@runtime_checkable
class RateStore(Protocol):
    """Assigns turns; an instance may serve several limits, which differ by key and rates."""

    async def reserve(self, key: Hashable, rates: Sequence[Rate], cost: int, most: float) -> Turn:
        """Reserve the next turn under all *rates*, or none if its wait is above *most* seconds.

        Args:
            key: The key of the call; calls of one key share the rates.
            rates: The limits, all of which apply; the cost is at most the burst of each.
            cost: The number of calls that the turn counts for, 1 or more.
            most: The longest wait, in seconds, that is worth a reservation.

        Returns:
            The turn. Nothing was reserved if its ``wait`` is above *most*.
        """
        ...

    async def refund(self, key: Hashable, rates: Sequence[Rate], turn: Turn) -> None:
        """Take *turn* back from a call that was cancelled while it waited for it."""
        ...


def check_store(name: str, store: object) -> RateStore | None:
    """Return *store*, None or an object that can reserve and refund."""
    if store is None or isinstance(store, RateStore):
        return store
    kind = type(store).__name__
    raise TypeError(f"{name} must be a RateStore, with async reserve() and refund(), not {kind}")


class _Bucket:
    """The turns of one key. `RedisStore` has the same algorithm in Lua; a test checks that both agree
    exactly.
    """

    __slots__ = ("_limits", "drained", "freed")

    def __init__(self, rates: Sequence[Rate]) -> None:
        self._limits = [(place, rate.burst, rate.every) for place, rate in enumerate(rates)]
        self.drained = [-float("inf")] * len(rates)
        """For each rate, when its turns will have drained."""
        self.freed: list[tuple[float, int]] = []
        """Time and cost of returned turns, in order."""

    def reserve(self, now: float, cost: int, most: float) -> Turn:
        if self.freed and (turn := self._freed_turn(now, cost, most)) is not None:
            return turn
        wait = self._wait(now, cost)
        at = now + wait
        if wait <= most:
            self._take(at, cost)
        return Turn(wait, at, cost)

    def reserve_now(self, now: float, cost: int) -> bool:
        """Reserve a turn if it comes now; return whether it does."""
        if self.freed:
            return not self.reserve(now, cost, 0.0).wait
        if self._wait(now, cost):
            return False
        self._take(now, cost)
        return True

    def _wait(self, now: float, cost: int) -> float:
        """Return the seconds until a new turn comes."""
        wait, drained = 0.0, self.drained
        for place, burst, every in self._limits:
            # At most 0 if all turns have drained, since the cost is at most the burst.
            needed = drained[place] - now + (cost - burst) * every
            if needed > wait:
                wait = needed
        return wait if wait >= SOON else 0.0

    def _take(self, at: float, cost: int) -> None:
        """Reserve the turn that comes at *at*."""
        drained = self.drained
        for place, _, every in self._limits:
            drained[place] = max(drained[place], at) + cost * every

    def _freed_turn(self, now: float, cost: int, most: float) -> Turn | None:
        """Reserve a returned turn; it comes before any new one."""
        self.freed = [freed for freed in self.freed if freed[0] >= now]
        for place, (at, spare) in enumerate(self.freed):
            if spare >= cost:
                if at - now <= most:
                    self.freed[place : place + 1] = [(at, spare - cost)] if spare > cost else []
                return Turn(at - now, at, cost)
        return None

    def refund(self, now: float, turn: Turn) -> None:
        self.freed = [freed for freed in self.freed if freed[0] >= now]
        if len(self.freed) < MOST_FREED:
            self.freed.append((turn.at, turn.cost))
            self.freed.sort()


class LocalStore:
    """Assigns turns in this process.

    It remembers 1,000 keys; a new one replaces the key that was used least recently, whose burst is then
    full again.

    Args:
        clock: Returns seconds that never go back; `time.monotonic` by default.

    Raises:
        TypeError: *clock* is not a function.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        check_function("clock", clock)
        self._clock = clock
        self._buckets: BoundedDict[tuple[Hashable, Sequence[Rate]], _Bucket] = BoundedDict()

    def __repr__(self) -> str:
        return f"<LocalStore: {len(self._buckets)} keys>"

    async def reserve(self, key: Hashable, rates: Sequence[Rate], cost: int, most: float) -> Turn:
        """Reserve the next turn; see `RateStore.reserve`."""
        bucket = self._buckets.get_or_make((key, rates), _Bucket, rates)
        return bucket.reserve(self._clock(), cost, most)

    def reserve_now(self, key: Hashable, rates: Sequence[Rate], cost: int) -> bool:
        """Reserve the next turn if it comes now, without a coroutine; return whether it does."""
        return self._buckets.get_or_make((key, rates), _Bucket, rates).reserve_now(self._clock(), cost)

    async def refund(self, key: Hashable, rates: Sequence[Rate], turn: Turn) -> None:
        """Take *turn* back."""
        bucket = self._buckets.get((key, rates))
        if bucket is not None:
            bucket.refund(self._clock(), turn)
