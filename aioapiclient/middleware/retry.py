"""Retries: which failures are worth another attempt, how long to wait, and when to stop.

The table of what is tried again stands in `_is_retryable`, and nowhere else.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Generator, Iterator
from typing import Any, TypeAlias

import msgspec

from aioapiclient._checks import check_seconds, check_statuses, check_whole
from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler
from aioapiclient.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    RetryableError,
)

__all__ = ["RetryBudget", "RetryMiddleware", "RetryPolicy"]

_logger = logging.getLogger("aioapiclient")

Outcome: TypeAlias = AsyncAPIResponse[Any] | Exception
"""How an attempt ended."""

Verdict: TypeAlias = Callable[[APIRequest, Outcome], Awaitable[bool | float | None]]
"""Decides on one outcome: None (the table does), True, False, or seconds to wait, where 0 means now."""

Waits: TypeAlias = Callable[[], Generator[Any, Any, None]]
"""Makes a wait generator of the ``backoff`` package."""

RETRIED_STATUSES = frozenset({408, 409, 425, 429, *(set(range(500, 600)) - {501, 505})})
"""Tried again by default; 501 and 505 would only be said again, 409 needs an idempotency key."""


class RetryBudget:
    """Bounds what retries may add to the load of a service in trouble; one for all calls of a client.

    Each origin has *capacity* tokens. A retry costs *price*, one after throttling (429, or 503 with
    ``Retry-After``) *throttled_price*; a retry that succeeds gets its price back, a first attempt
    that succeeds puts back *refund*. Without enough tokens the failure goes up at once. The numbers
    are those of the AWS SDKs' retry 2.1: full help up to some 20 % of failures, and in a total
    outage hardly a request more than there are calls.
    """

    def __init__(
        self, *, capacity: int = 500, price: int = 14, throttled_price: int = 5, refund: int = 1
    ) -> None:
        self.capacity: int = check_whole("RetryBudget capacity", capacity)
        self.price: int = check_whole("RetryBudget price", price)
        self.throttled_price: int = check_whole("RetryBudget throttled_price", throttled_price)
        self.refund: int = check_whole("RetryBudget refund", refund)
        # Only origins that lack something are kept, and of those a bounded number.
        self._missing: OrderedDict[str, int] = OrderedDict()

    def __repr__(self) -> str:
        return f"RetryBudget(capacity={self.capacity}, price={self.price})"

    def tokens(self, origin: str) -> int:
        """What is left for *origin*, such as ``https://api.example.com``."""
        return self.capacity - self._missing.get(origin, 0)

    @property
    def is_drawn_on(self) -> bool:
        """Whether any origin lacks tokens."""
        return bool(self._missing)

    def stats(self) -> dict[str, dict[str, int]]:
        """Return the tokens that are left, for each origin that lacks some."""
        return {
            origin: {"retry_tokens": self.capacity - missing} for origin, missing in self._missing.items()
        }

    def take(self, origin: str, price: int) -> bool:
        """Pay for a retry; False when there is not enough."""
        if self.tokens(origin) < price:
            return False
        self._missing[origin] = self._missing.get(origin, 0) + price
        self._missing.move_to_end(origin)
        if len(self._missing) > _MOST_ORIGINS:
            self._missing.popitem(last=False)
        return True

    def put_back(self, origin: str, amount: int) -> None:
        """Put *amount* back, never above the capacity."""
        missing = self._missing.get(origin)
        if missing is None:
            return
        if missing > amount:
            self._missing[origin] = missing - amount
        else:
            del self._missing[origin]


_MOST_ORIGINS = 1000  # of one client: redirects could otherwise make a server grow our memory


def _default_waits() -> Generator[Any, Any, None]:
    import backoff

    return backoff.expo(base=2, factor=0.5, max_value=8)


def _full_jitter() -> Callable[[float], float]:
    # Here, with the first policy: importing this package should not pay for all that backoff brings along.
    import backoff

    return backoff.full_jitter


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried again, how often and after what wait; immutable.

    Raises `InvalidRequestError` for a number out of range and `TypeError` for what is no number.
    """

    max_retries: int = 2
    """Attempts beyond the first: 2, as the SDKs of this kind have it."""

    statuses: Collection[int] = RETRIED_STATUSES
    """Statuses that are tried again when doing it twice is as good as once."""

    wait: Waits = _default_waits
    """Makes the waits, in seconds: `backoff.expo` from 0.5 s. Its first value (None) is dropped."""

    jitter: Callable[[float], float] = msgspec.field(default_factory=_full_jitter)
    """What becomes of each wait: anything from 0 to it, so that clients that failed together part."""

    max_wait: float = 8.0
    """No wait of our own making is longer, in seconds."""

    max_retry_after: float = 60.0
    """Seconds; a longer wait that a server, a middleware or the verdict asks for ends the call at once."""

    budget: RetryBudget | None | msgspec.UnsetType = msgspec.UNSET
    """Left out: the client's own, shared by all its calls. None: no bound."""

    retry_unsafe: bool | Collection[int] = False
    """Whether POST and PATCH without a key may be done twice: False, True, or after these statuses."""

    verdict: Verdict | None = None
    """Has the first word on every outcome; deadline, budget, number and replay bound it all the same."""

    def __post_init__(self) -> None:
        check_whole("max_retries", self.max_retries, hint="0 switches retries off")
        for name in ("max_wait", "max_retry_after"):
            check_seconds(name, getattr(self, name))
        for name in ("wait", "jitter", "verdict"):
            value = getattr(self, name)
            if not callable(value) and not (value is None and name == "verdict"):
                hint = _MEANT_AS_WAIT if name == "wait" else ""
                raise TypeError(f"{name} must be a function, not {type(value).__name__}{hint}")
        for name in ("statuses", "retry_unsafe"):
            value = getattr(self, name)
            if not isinstance(value, bool) or name == "statuses":
                msgspec.structs.force_setattr(self, name, check_statuses(name, value))

    def allows_unsafe(self, status: int | None) -> bool:
        """Whether what may not be done twice is tried again all the same; *status* None: no answer came."""
        if isinstance(self.retry_unsafe, bool):
            return self.retry_unsafe
        return status in self.retry_unsafe


_MEANT_AS_WAIT = (
    "; give backoff.expo itself, which is called for each call, or functools.partial(backoff.expo, factor=2)"
)


class RetryMiddleware:
    """Tries a failed attempt again, as its `RetryPolicy` or that of the call says.

    Every attempt gets its own copy of the request, with ``attempt`` counted on. A response that is
    dropped is closed before the wait. When no retry is left, or the wait would pass the deadline or
    ``max_retry_after``, the last response or error goes up as it is. *sleep* is what waits; left out
    it is the client's ``_sleep_for_retry``.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        sleep: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        if policy is not None and not isinstance(policy, RetryPolicy):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"policy must be a RetryPolicy, not {type(policy).__name__}")
        if sleep is not None and not callable(sleep):
            raise TypeError(f"sleep must be an async function of seconds, not {type(sleep).__name__}")
        self.policy: RetryPolicy = policy or RetryPolicy()
        self._sleep = sleep
        # A policy of a call that brings no budget draws on this one, so that no call escapes it.
        self.budget: RetryBudget | None = (
            RetryBudget() if self.policy.budget is msgspec.UNSET else self.policy.budget
        )
        """The budget that all calls share; ``budget.tokens(origin)`` is what is left. None without one."""

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request*, as often as it takes and the policy allows."""
        return await self._join(handler)(request)

    def stats(self) -> dict[str, dict[str, int]]:
        """Return the retry tokens that are left, for each origin that lacks some."""
        return {} if self.budget is None else self.budget.stats()

    def _join(self, handler: Handler) -> Handler:
        """The handler that this makes of *handler*."""

        async def retrying(request: APIRequest) -> AsyncAPIResponse[Any]:
            policy = request.settings.retry or self.policy
            budget = self.budget if policy.budget is msgspec.UNSET else policy.budget
            outcome: Outcome
            try:
                outcome = await handler(request.copy())
            except Exception as error:
                if not _is_outcome(error):
                    raise
                outcome = error
            else:
                if outcome.status < 400 and policy.verdict is None:
                    if budget is not None and budget.is_drawn_on:
                        budget.put_back(request.origin, budget.refund)
                    return outcome
            retries = _Retries(request, policy, budget)
            while await self._goes_on(retries, outcome):
                try:
                    outcome = await handler(request.copy())
                except Exception as error:
                    if not _is_outcome(error):
                        raise
                    outcome = error
            return retries.end(outcome)

        return retrying

    async def _goes_on(self, retries: _Retries, outcome: Outcome) -> bool:
        """Whether there is another attempt after *outcome*; if so, the wait before it is over."""
        try:
            wait = await retries.next_wait(outcome)
        except BaseException:
            await _close(outcome)
            raise
        if wait is None:
            return False
        await _close(outcome)
        _logger.info("%s: %s, again in %.2f s", retries.request.label, _named(outcome), wait)
        del outcome
        await (self._sleep or retries.request.settings.hooks.sleep)(wait)
        retries.request.attempt += 1
        return True


def _is_outcome(error: Exception) -> bool:
    """Whether *error* is how an attempt ended, and no bug or failure of somebody else's."""
    return isinstance(error, APIError | RetryableError) or _asks_for_retry(error) is not None


class _Retries:
    """The retries of one call, from its first failure on."""

    def __init__(self, request: APIRequest, policy: RetryPolicy, budget: RetryBudget | None) -> None:
        limit = request.settings.max_retries
        self.request = request
        self.policy = policy
        self.limit = policy.max_retries if limit is None else limit
        self.budget = budget
        self.paid = 0
        self.failed = True
        self.asked: float | None = None  # seconds that the verdict named for the last outcome
        self.waits = policy.wait()
        next(self.waits)  # the first value of backoff's generators is None

    async def next_wait(self, outcome: Outcome) -> float | None:
        """Seconds to wait before the next attempt; None when there is to be none."""
        answer = await self._verdict(outcome)
        self.asked = None if answer is None or isinstance(answer, bool) else float(answer)
        if answer is None:
            answer = _is_retryable(self.request, outcome, self.policy)
        self.failed = answer is not False
        if not self.failed or self.request.attempt >= self.limit:
            return None
        if not self.request.can_be_sent:
            _note(outcome, "Not tried again: the body can be sent only once, and had begun to leave")
            return None
        wait = self._seconds(outcome)
        if wait is None:
            return None
        left = self.request.time_left()
        if left is not None and wait >= left:
            _note(outcome, f"Not tried again: a wait of {wait:.2f} s would pass the deadline")
            return None
        return wait if self._pay(outcome) else None

    def end(self, outcome: Outcome) -> AsyncAPIResponse[Any]:
        """Give or raise what the call ends with."""
        end = _what_goes_up(outcome)
        wait = self._asked_wait(outcome)
        if wait is not None and isinstance(end, APIError | RetryableError | AsyncAPIResponse):
            end.retry_after = wait
        if isinstance(end, AsyncAPIResponse):
            if not self.failed and end.status < 400 and self.budget is not None:
                self.budget.put_back(self.request.origin, self.paid or self.budget.refund)
            return end
        if isinstance(end, APIError):
            end.retries_taken = self.request.attempt
        try:
            raise end
        finally:
            del end, outcome  # the frame that an error was raised in must not hold it

    async def _verdict(self, outcome: Outcome) -> bool | float | None:
        if self.policy.verdict is None or _is_final(outcome):
            return None
        asked: Any = self.policy.verdict(self.request, outcome)
        if not hasattr(asked, "__await__"):
            raise TypeError("A retry verdict must be an async function of (request, outcome)")
        answer: Any = await asked
        if answer is None or isinstance(answer, bool):
            return answer
        seconds = _usable(answer)
        if seconds is None:
            raise TypeError(f"A retry verdict is None, True, False or seconds of 0 or more, not {answer!r}")
        return seconds

    def _seconds(self, outcome: Outcome) -> float | None:
        asked = self._asked_wait(outcome)
        limit = self.policy.max_retry_after
        if asked is not None and asked > limit:
            who = "the verdict" if self.asked is not None else _asker(outcome)
            _note(
                outcome, f"Not tried again: {who} asks for {asked:g} s, above max_retry_after ({limit:g} s)"
            )
            return None
        if self.asked is not None:
            return self.asked  # 0 too: a verdict that says 0 means now
        own = next(self.waits, None)
        if own is None:
            return None
        # A server's 0 leaves the wait to the policy: it would only bring everybody back at once.
        return asked or max(
            0.0, min(self.policy.jitter(min(own, self.policy.max_wait)), self.policy.max_wait)
        )

    def _asked_wait(self, outcome: Outcome) -> float | None:
        """Seconds that the verdict, a middleware or the server asks to wait, in this order."""
        return _hint(outcome) if self.asked is None else self.asked

    def _pay(self, outcome: Outcome) -> bool:
        if self.budget is None:
            return True
        price = self.budget.throttled_price if _is_throttled(outcome) else self.budget.price
        if not self.budget.take(self.request.origin, price):
            _note(outcome, "Not tried again: the retry budget of this origin is used up")
            return False
        self.paid = price
        return True


def _is_retryable(request: APIRequest, outcome: Outcome, policy: RetryPolicy) -> bool:
    """The table: what is tried again, when no verdict says otherwise."""
    if not isinstance(outcome, AsyncAPIResponse):
        return _is_retryable_error(request, outcome, policy)
    status = outcome.status
    if status < 400:
        return False
    wish = outcome.headers.get("x-should-retry", "").strip().lower()
    if wish in {"true", "false"}:
        return wish == "true"
    # A status that there is not is treated like a 5XX (RFC 9110 §15).
    if (status if status < 600 else 500) not in policy.statuses:
        return False
    if _is_throttled(outcome):
        return True  # refused before it was acted on, whatever the method
    if status == 409:
        return request.idempotency_key is not None  # the twin of this request is still being worked on
    return request.is_idempotent or policy.allows_unsafe(status)


def _is_retryable_error(request: APIRequest, error: Exception, policy: RetryPolicy) -> bool:
    if _is_final(error):
        return False
    if _asks_for_retry(error) is not None:
        return True
    if not isinstance(error, APIConnectionError):
        return False
    return error.sent is False or request.is_idempotent or policy.allows_unsafe(None)


def _is_final(outcome: Outcome) -> bool:
    return getattr(outcome, "final", False) or getattr(outcome, "phase", "") == "total"


def _is_throttled(outcome: Outcome) -> bool:
    """Whether *outcome*, or what it was raised from, is a 429, or a 503 that says when to come back."""
    return any(
        told.status == 429 or (told.status == 503 and told.retry_after is not None) for told in _told(outcome)
    )


def _told(outcome: Outcome) -> Iterator[AsyncAPIResponse[Any] | APIStatusError]:
    """What a server said, in *outcome* or in what it was raised from."""
    if isinstance(outcome, AsyncAPIResponse):
        yield outcome
        return
    for error in _causes(outcome):
        if isinstance(error, RetryableError) and error.response is not None:
            yield error.response
        elif isinstance(error, APIStatusError):
            yield error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """*error*, and what it was raised from, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # ``raise error from error`` makes a ring
        yield error
        seen.add(id(error))
        error = error.__cause__


def _asks_for_retry(error: BaseException) -> RetryableError | None:
    """The `RetryableError` that *error* is, or was raised from."""
    return next((cause for cause in _causes(error) if isinstance(cause, RetryableError)), None)


def _response_of(outcome: Outcome) -> AsyncAPIResponse[Any] | None:
    if isinstance(outcome, AsyncAPIResponse):
        return outcome
    asking = _asks_for_retry(outcome)
    return None if asking is None else asking.response


def _what_goes_up(outcome: Outcome) -> Outcome:
    """What the call ends with, when *outcome* is not tried again."""
    if isinstance(outcome, RetryableError):
        if outcome.response is not None:
            return outcome.response
        if isinstance(outcome.__cause__, Exception):
            return outcome.__cause__
    return outcome


def _hint(outcome: Outcome) -> float | None:
    """Seconds that the server, or a middleware, asks to wait; None for none, and for nonsense."""
    asking = None if isinstance(outcome, AsyncAPIResponse) else _asks_for_retry(outcome)
    if asking is not None and asking.retry_after is not None:
        return _usable(asking.retry_after)
    if isinstance(outcome, APIError) and outcome.retry_after is not None:
        return _usable(outcome.retry_after)
    return next((told.retry_after for told in _told(outcome)), None)


def _asker(outcome: Outcome) -> str:
    asking = None if isinstance(outcome, AsyncAPIResponse) else _asks_for_retry(outcome)
    return "the server" if asking is None or asking.retry_after is None else "a middleware"


def _usable(seconds: object) -> float | None:
    """*seconds* as a float, if it is a finite number of 0 or more."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        value = float(seconds)
    except OverflowError:  # an int of more than 308 digits
        return None
    return value if value >= 0 and math.isfinite(value) else None


async def _close(outcome: Outcome) -> None:
    response = _response_of(outcome)
    if response is not None:
        await response.close()


def _note(outcome: Outcome, text: str) -> None:
    end = _what_goes_up(outcome)
    if isinstance(end, AsyncAPIResponse):
        end.notes += (text,)
    else:
        end.add_note(text)


def _named(outcome: Outcome) -> str:
    return f"status {outcome.status}" if isinstance(outcome, AsyncAPIResponse) else type(outcome).__name__
