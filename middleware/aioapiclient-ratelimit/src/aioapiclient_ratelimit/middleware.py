"""`RateLimit`: each call waits for its turn under the client's own rates, and for the server's windows."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable
from typing import Any, Final

from aioapiclient.contract import (
    APIRequest,
    AsyncAPIResponse,
    BoundedDict,
    Handler,
    check_flag,
    check_function,
    check_number,
    check_seconds,
    check_whole,
)
from aioapiclient.errors import APIConnectionError, InvalidRequestError, ThrottledError

from .headers import MOST_SECONDS, Window, parse_limits
from .rates import Rate, parse_rate
from .stores import SOON, LocalStore, RateStore, Turn, check_store
from .windows import Gate

__all__ = ["RateLimit"]

_logger = logging.getLogger("aioapiclient.ratelimit")

_IN_FLIGHT: Final = "calls in flight may use up the server's limit"
_REFUND_SECONDS: Final = 0.05  # that a cancelled call waits for its refund; it goes on without the call


class RateLimit:
    """Keep calls within limits: the *rates*, and those in the server's headers.

    In any period of ``t`` seconds at most ``burst + rate * t`` calls of one key are sent. Each call reserves
    its turn and then waits for it, first come first served; the turn of a cancelled call goes to the next new
    one. A call that would wait longer than *max_wait*, or past its deadline, raises `ThrottledError`
    immediately: nothing was sent, and the call is not retried.

    With *learn*, the windows in responses (`parse_limits`) apply too. When one is exhausted, calls wait until
    it ends. Then one call is sent first, and the others wait up to a second for its headers. Without *rates*,
    the first call of a key is sent first too. A window never loosens the rates.

    Place it with `per_send`, so that retries and redirects count.

    Args:
        *rates: Texts such as ``"50/s"``, ``"1000/min"``, ``"5000/h"`` or ``"20/10s"``; all of them apply.
        burst: Calls of one key that may be sent together after a pause; a tenth of each rate's count by
            default, and at least 1.
        key: Maps a request to its key, such as a token; the origin by default. The limits apply per key.
        cost: How many calls a request counts for, or a function of the request that returns this number; 1 by
            default, 0 is free, at most the burst.
        store: Assigns the turns: its own `LocalStore` by default, a `RedisStore` for several processes.
        max_wait: The longest wait of a call in seconds, 60 by default.
        learn: Whether to respect the windows in responses. True by default.
        pace: Whether to spread the remaining calls over the window. False by default.
        spread: The longest random addition to the wait for a window's end, as a fraction of the window: 0.1
            by default, 5 s at most. It keeps several processes from resuming together.

    Raises:
        InvalidRequestError: A rate or a number is out of range.
        TypeError: An argument has the wrong type, or needs another one.
    """

    def __init__(
        self,
        *rates: str,
        burst: int | None = None,
        key: Callable[[APIRequest], Hashable] | None = None,
        cost: Callable[[APIRequest], int] | int = 1,
        store: RateStore | None = None,
        max_wait: float = 60.0,
        learn: bool = True,
        pace: bool = False,
        spread: float = 0.1,
    ) -> None:
        self.rates: tuple[Rate, ...] = tuple(parse_rate(rate, burst) for rate in rates)
        self.max_wait: float = check_seconds("max_wait", max_wait)
        if key is not None:
            check_function("key", key)
        for name, flag in (("learn", learn), ("pace", pace)):
            check_flag(name, flag)
        if not rates and (burst is not None or store is not None or cost != 1 or not learn):
            raise TypeError("RateLimit without rates takes no burst, cost or store, and needs learn=True")
        if pace and not learn:
            raise TypeError("pace spreads the calls that the server allows: it needs learn=True")
        self._key = key
        self._cost = cost if rates else 0  # nothing is reserved without rates
        if callable(cost):
            check_function("cost", cost)
        else:
            self._check_cost(check_whole("cost", cost, least=1))
        self._store = check_store("store", store) or LocalStore()
        # A subclass may reserve differently.
        self._local = self._store if type(self._store) is LocalStore else None
        self._learns = learn
        self._pace = pace
        self._spread = check_number("spread", spread, most=1.0)
        self._gates: BoundedDict[Hashable, Gate] = BoundedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._refunds: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        rates = "".join(f"{str(rate)!r}, " for rate in self.rates)
        return f"RateLimit({rates}max_wait={self.max_wait:g}, learn={self._learns})"

    def left(self, key: Hashable) -> Window | None:
        """Return the tightest of *key*'s windows that the server reported last; None if it reported none.

        Args:
            key: The origin, such as ``https://api.example.com``, or a result of the constructor's *key*.
        """
        gate = self._gates.get(key)
        return None if gate is None or self._loop is None else gate.tightest(self._loop.time())

    def stats(self) -> dict[str, dict[str, float]]:
        """Return for each origin the number of ``waiting`` calls, and the rest of its tightest window.

        The rest is ``remaining`` and ``resets_in``, in seconds; both are missing if the server reports none.
        """
        found: dict[str, dict[str, float]] = {}
        now = 0.0 if self._loop is None else self._loop.time()
        for gate in self._gates.values():
            facts = found.setdefault(gate.origin, {"waiting": 0})
            facts["waiting"] += gate.queued
            window = gate.tightest(now)
            if window is not None and window.remaining <= facts.get("remaining", window.remaining):
                facts.update(remaining=window.remaining, resets_in=window.resets_in or 0.0)
        return found

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* when it is its turn."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        key = request.origin if self._key is None else self._key(request)
        cost = self._cost
        if not isinstance(cost, int):
            cost = self._check_cost(check_whole("cost", cost(request)))
        if not self._learns:
            if not self._has_turn(key, cost):
                await self._turn(key, request, cost, self._give_up(request, now))
            return await handler(request)
        gate = self._gate(key, request, loop)
        if gate.queued or gate.closed_for(now)[0] or not self._has_turn(key, cost):
            now = await self._pass(gate, key, request, cost, self._give_up(request, now))
        gate.sent(now)
        try:
            response = await handler(request)
        except BaseException:
            gate.failed()
            raise
        self._learn(gate, response, loop.time())
        return response

    def _give_up(self, request: APIRequest, now: float) -> float:
        """Return when a call that waits since *now* is refused."""
        give_up = now + self.max_wait
        return give_up if request.deadline is None else min(give_up, request.deadline)

    # --- the server's windows

    def _gate(self, key: Hashable, request: APIRequest, loop: asyncio.AbstractEventLoop) -> Gate:
        if loop is not self._loop:  # the locks and times of an ended loop mean nothing in this one
            self._gates.clear()
            self._loop = loop
        return self._gates.get_or_make(key, self._new_gate, request)

    def _new_gate(self, request: APIRequest) -> Gate:
        return Gate(request.origin, ask_first=not self.rates, pace=self._pace)

    async def _pass(self, gate: Gate, key: Hashable, request: APIRequest, cost: int, give_up: float) -> float:
        """Wait until the gate is open and it is this call's turn; return when that is."""
        loop = asyncio.get_running_loop()
        while True:
            if gate.queued or gate.closed_for(loop.time())[0]:
                await self._queue(gate, request, give_up)
            now = loop.time()
            if self._has_turn(key, cost):
                return now
            await self._turn(key, request, cost, give_up)
            # If others have used up the window meanwhile, the turn is gone: too few calls break no limit.
            now = loop.time()
            if not gate.closed_for(now)[0]:
                return now

    async def _queue(self, gate: Gate, request: APIRequest, give_up: float) -> None:
        """Wait until the gate is open for this call."""
        loop = asyncio.get_running_loop()
        self._look_ahead(gate, request, give_up, gate.queued * gate.interval)
        gate.queued += 1
        try:
            async with asyncio.timeout_at(give_up), gate.lock:
                while wait := gate.closed_for(loop.time())[0]:
                    self._look_ahead(gate, request, give_up)
                    await gate.wait(wait)
        except TimeoutError:
            raise self._refusal(request, _IN_FLIGHT, None, loop.time()) from None
        finally:
            gate.queued -= 1

    def _look_ahead(self, gate: Gate, request: APIRequest, give_up: float, more: float = 0.0) -> None:
        """Refuse a call whose wait is known to be too long."""
        now = asyncio.get_running_loop().time()
        wait, sure = gate.closed_for(now)
        if sure and wait + more > give_up - now:
            raise self._refusal(request, "the server's limit is used up", wait + more, now)

    def _learn(self, gate: Gate, response: AsyncAPIResponse[Any], now: float) -> None:
        said = parse_limits(response.headers, now=time.time())
        status = response.status
        if status == 429 or (status == 503 and said):
            said = _obeying_retry_after(said, response.retry_after)
        if said or (status < 500 and status != 429):
            gate.answered(said, now, self._spread)
        else:
            gate.failed()  # not counted, or answered by another server: it says nothing about the windows

    # --- the rates

    def _has_turn(self, key: Hashable, cost: int) -> bool:
        """Return whether the call needs no turn, or its turn comes now, by which it is reserved."""
        return not cost or (self._local is not None and self._local.reserve_now(key, self.rates, cost))

    async def _turn(self, key: Hashable, request: APIRequest, cost: int, give_up: float) -> None:
        """Reserve a turn, and wait for it."""
        now = asyncio.get_running_loop().time()
        most = max(0.0, give_up - now)
        try:
            turn = await self._store.reserve(key, self.rates, cost, most)
        except APIConnectionError as error:
            raise APIConnectionError(
                f"{request.label}: not sent: {error}",
                sent=error.sent,
                request=request,
                retries_taken=request.attempt,
            ) from error
        if turn.wait > most:
            raise self._refusal(request, f"no turn under {', '.join(map(str, self.rates))}", turn.wait, now)
        if not turn.wait:
            return
        try:
            await asyncio.sleep(turn.wait)
        except asyncio.CancelledError:
            await self._give_back(key, turn)
            raise

    async def _give_back(self, key: Hashable, turn: Turn) -> None:
        """Refund *turn*, whatever happens to the call."""
        refund = asyncio.ensure_future(self._refund(key, turn))
        self._refunds.add(refund)
        refund.add_done_callback(self._refunds.discard)
        await asyncio.wait({refund}, timeout=_REFUND_SECONDS)

    async def _refund(self, key: Hashable, turn: Turn) -> None:
        try:
            await self._store.refund(key, self.rates, turn)
        except Exception as error:
            _logger.warning("A turn could not be refunded (%s)", type(error).__name__)

    def _check_cost(self, cost: int) -> int:
        for rate in self.rates:
            if cost > rate.burst:
                raise InvalidRequestError(
                    f"cost must be at most the burst of a rate, {rate.burst} for '{rate}', not {cost}; "
                    "raise burst of RateLimit"
                )
        return cost

    def _refusal(self, request: APIRequest, why: str, wait: float | None, now: float) -> ThrottledError:
        rest = "" if wait is None else f" for {wait:.2f} s more"
        if request.deadline is not None and request.deadline - now <= (wait or SOON):
            bound = "past the deadline"
        else:
            bound = f"above max_wait={self.max_wait:g} of RateLimit"
        return ThrottledError(
            f"{request.label}: not sent: {why}{rest}, {bound}",
            request=request,
            retry_after=wait,
            retries_taken=request.attempt,
        )


def _obeying_retry_after(said: list[Window], seconds: float | None) -> list[Window]:
    """Apply a refusal: ``Retry-After`` takes precedence over the end of a window."""
    if seconds is None or seconds > MOST_SECONDS:
        return said
    if all(window.remaining for window in said):
        return [*said, Window("retry-after", None, 0, seconds)]
    return [window if window.remaining else window._replace(resets_in=seconds) for window in said]
