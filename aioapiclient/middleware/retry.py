"""Retries: which failures to retry, how long to wait, and when to stop.

`_is_retryable` is the only table of the outcomes that are retried.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Collection, Generator, Iterator
from typing import Any, TypeAlias

import msgspec

from aioapiclient._bounded import BoundedDict
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
"""The result of an attempt: a response or an exception."""

Verdict: TypeAlias = Callable[[APIRequest, Outcome], Awaitable[bool | float | None]]
"""Decides on one outcome: None (use the table), True, False, or seconds to wait; 0 means immediately."""

Waits: TypeAlias = Callable[[], Generator[Any, Any, None]]
"""Returns a wait generator of the ``backoff`` package."""

RETRIED_STATUSES = frozenset({408, 409, 425, 429, *(set(range(500, 600)) - {501, 505})})
"""The statuses retried by default. 501 and 505 would only repeat; a 409 also requires an idempotency key."""

_MOST_ORIGINS = 1000  # per client: redirects must not let a server exhaust memory


class RetryBudget:
    """Limits the load that retries add to a failing service; all calls of a client share one budget.

    Each origin has its own tokens. A retry costs tokens; a retry that succeeds returns its price, and a
    first attempt that succeeds returns *refund*. If too few tokens are left, the call fails without another
    attempt. The defaults are those of the AWS SDKs' retry mode 2.1: retries are unrestricted up to a failure
    rate of about 20 %, and in a total outage the requests hardly outnumber the calls.

    Args:
        capacity: The maximum number of tokens of each origin, 500 by default.
        price: The tokens that a retry costs, 14 by default.
        throttled_price: The tokens that a retry after throttling (429, or 503 with ``Retry-After``) costs,
            5 by default.
        refund: The tokens that a successful first attempt returns, 1 by default.

    Raises:
        TypeError: An argument is not an int.
        InvalidRequestError: An argument is negative.
    """

    def __init__(
        self, *, capacity: int = 500, price: int = 14, throttled_price: int = 5, refund: int = 1
    ) -> None:
        self.capacity: int = check_whole("RetryBudget capacity", capacity)
        """The maximum number of tokens of each origin."""
        self.price: int = check_whole("RetryBudget price", price)
        """The tokens that a retry costs."""
        self.throttled_price: int = check_whole("RetryBudget throttled_price", throttled_price)
        """The tokens that a retry after throttling costs."""
        self.refund: int = check_whole("RetryBudget refund", refund)
        """The tokens that a successful first attempt returns."""
        # Only origins with fewer tokens than the capacity are stored.
        self._missing: BoundedDict[str, int] = BoundedDict(_MOST_ORIGINS)

    def __repr__(self) -> str:
        return f"RetryBudget(capacity={self.capacity}, price={self.price})"

    def tokens(self, origin: str) -> int:
        """Return the number of remaining tokens.

        Args:
            origin: The origin, such as ``https://api.example.com``.

        Returns:
            A number from 0 to the capacity.
        """
        return self.capacity - self._missing.get(origin, 0)

    @property
    def is_drawn_on(self) -> bool:
        """Whether any origin has fewer tokens than the capacity."""
        return bool(self._missing)

    def stats(self) -> dict[str, dict[str, int]]:
        """Return the remaining tokens of each origin that has fewer than the capacity."""
        return {
            origin: {"retry_tokens": self.capacity - missing} for origin, missing in self._missing.items()
        }

    def take(self, origin: str, price: int) -> bool:
        """Take the price of a retry, and return whether enough tokens were left.

        Args:
            origin: The origin of the request.
            price: The number of tokens to take.

        Returns:
            False, with no token taken, if fewer than *price* are left.
        """
        if self.tokens(origin) < price:
            return False
        self._missing[origin] = self._missing.get(origin, 0) + price
        return True

    def put_back(self, origin: str, amount: int) -> None:
        """Return tokens to an origin, up to its capacity.

        Args:
            origin: The origin of the request.
            amount: The number of tokens to return.
        """
        missing = self._missing.get(origin)
        if missing is None:
            return
        if missing > amount:
            self._missing[origin] = missing - amount
        else:
            del self._missing[origin]


def _default_waits() -> Generator[Any, Any, None]:
    import backoff

    return backoff.expo(base=2, factor=0.5, max_value=8)


def _full_jitter() -> Callable[[float], float]:
    # Imported with the first policy, so that importing this package does not import backoff.
    import backoff

    return backoff.full_jitter


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Which outcomes are retried, how often, and after which wait; immutable.

    Args:
        max_retries: The maximum number of attempts after the first, 2 by default.
        statuses: The statuses that are retried if the request is safe to repeat: by default 408, 409, 425,
            429 and all 5XX except 501 and 505.
        wait: A function that returns a wait generator of the ``backoff`` package, in seconds:
            ``backoff.expo`` from 0.5 s by default. Its first value, None, is dropped.
        jitter: A function that randomises each wait; full jitter by default (uniform between 0 and the wait),
            so that clients do not retry in lockstep.
        max_wait: The longest wait of *wait* and *jitter*, 8 seconds by default.
        max_retry_after: The longest wait that a server, a middleware or *verdict* may request, 60 seconds by
            default. A longer one ends the call.
        budget: The retry budget. If omitted, the client's own, shared by all its calls; None removes the
            limit.
        retry_unsafe: Whether to retry requests that are not safe to repeat, such as a POST without an
            idempotency key: False (the default), True, or the statuses after which to do so.
        verdict: An async function of (request, outcome) that decides before the table: None (use the
            table), True, False, or the seconds to wait. The deadline, the budget, *max_retries* and the
            replayability of the body still apply.

    Raises:
        InvalidRequestError: A number is out of range.
        TypeError: An argument has the wrong type.
    """

    max_retries: int = 2
    """The maximum number of attempts after the first."""

    statuses: Collection[int] = RETRIED_STATUSES
    """The statuses that are retried if the request is safe to repeat."""

    wait: Waits = _default_waits
    """A function that returns the generator of waits, in seconds; its first value, None, is dropped."""

    jitter: Callable[[float], float] = msgspec.field(default_factory=_full_jitter)
    """A function that randomises each wait; full jitter by default, so that clients do not retry in
    lockstep.
    """

    max_wait: float = 8.0
    """The longest wait of ``wait`` and ``jitter``, in seconds."""

    max_retry_after: float = 60.0
    """The longest wait, in seconds, that a server, a middleware or ``verdict`` may request."""

    budget: RetryBudget | None | msgspec.UnsetType = msgspec.UNSET
    """The retry budget. If omitted, the client's own, shared by all its calls; None removes the limit."""

    retry_unsafe: bool | Collection[int] = False
    """Whether to retry requests that are not safe to repeat: False, True, or after these statuses."""

    verdict: Verdict | None = None
    """A function that decides before the table. Deadline, budget, max_retries and replayability still
    apply.
    """

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
        """Return whether a request that is not safe to repeat may be retried.

        Args:
            status: The status of the response, or None if no response arrived.

        Returns:
            ``retry_unsafe``, or whether it includes *status*.
        """
        if isinstance(self.retry_unsafe, bool):
            return self.retry_unsafe
        return status in self.retry_unsafe


_MEANT_AS_WAIT = (
    "; pass backoff.expo itself, which is called once per call, or functools.partial(backoff.expo, factor=2)"
)


class RetryMiddleware:
    """Retries failed attempts, according to its `RetryPolicy` or that of the call.

    Every attempt receives its own copy of the request, with its number in ``attempt``. A discarded
    response is closed before the wait. If no retry is left, or the wait would exceed the deadline or
    ``max_retry_after``, the last response is returned or the last error raised.

    Args:
        policy: The policy of calls without their own; ``RetryPolicy()`` by default.
        sleep: An async function that waits some seconds; the client's ``_sleep_for_retry`` by default.

    Raises:
        TypeError: *policy* is not a `RetryPolicy`, or *sleep* is not callable.
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
        """The policy of calls without their own."""
        self._sleep = sleep
        # Also used for a call whose own policy has no budget, so that every call is limited.
        self.budget: RetryBudget | None = (
            RetryBudget() if self.policy.budget is msgspec.UNSET else self.policy.budget
        )
        """The budget that all calls share, or None; ``budget.tokens(origin)`` returns the remaining
        tokens.
        """

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request*, and retry it while the policy allows."""
        return await self._join(handler)(request)

    def stats(self) -> dict[str, dict[str, int]]:
        """Return the remaining retry tokens of each origin that has fewer than the capacity."""
        return {} if self.budget is None else self.budget.stats()

    def _join(self, handler: Handler) -> Handler:
        """Return *handler* wrapped in this middleware."""

        async def retrying(request: APIRequest) -> AsyncAPIResponse[Any]:
            policy = request._settings.retry or self.policy
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
                del outcome  # its memory is not needed while the next attempt runs
                try:
                    outcome = await handler(request.copy())
                except Exception as error:
                    if not _is_outcome(error):
                        raise
                    outcome = error
            return retries.end(outcome)

        return retrying

    async def _goes_on(self, retries: _Retries, outcome: Outcome) -> bool:
        """Return whether another attempt follows *outcome*, after the wait before it."""
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
        await (self._sleep or retries.request._settings.hooks.sleep)(wait)
        retries.request.attempt += 1
        return True


def _is_outcome(error: Exception) -> bool:
    """Return whether *error* is the outcome of an attempt, rather than a bug or an unrelated failure."""
    return isinstance(error, APIError | RetryableError) or _asks_for_retry(error) is not None


class _Retries:
    """The retries of one call, starting with its first failure."""

    def __init__(self, request: APIRequest, policy: RetryPolicy, budget: RetryBudget | None) -> None:
        limit = request._settings.max_retries
        self.request = request
        self.policy = policy
        self.limit = policy.max_retries if limit is None else limit
        self.budget = budget
        self.paid = 0
        self.failed = True
        self.asked: float | None = None  # seconds that the verdict requested after the last outcome
        self.waits = policy.wait()
        next(self.waits)  # the first value of backoff's generators is None

    async def next_wait(self, outcome: Outcome) -> float | None:
        """Return the seconds to wait before the next attempt, or None if the call ends."""
        answer = await self._verdict(outcome)
        self.asked = None if answer is None or isinstance(answer, bool) else float(answer)
        if answer is None:
            answer = _is_retryable(self.request, outcome, self.policy)
        self.failed = answer is not False
        if not self.failed or self.request.attempt >= self.limit:
            return None
        if not self.request.can_be_sent:
            _note(outcome, "Not tried again: the body can be sent only once, and sending it had begun")
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
        """Return or raise the final outcome of the call."""
        end = _final_outcome(outcome)
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
            del end, outcome  # the traceback holds this frame, so it must not refer to the error

    async def _verdict(self, outcome: Outcome) -> bool | float | None:
        if self.policy.verdict is None or _is_final(outcome):
            return None
        asked: Any = self.policy.verdict(self.request, outcome)
        if not hasattr(asked, "__await__"):
            raise TypeError("verdict must be an async function of (request, outcome)")
        answer: Any = await asked
        if answer is None or isinstance(answer, bool):
            return answer
        seconds = _usable(answer)
        if seconds is None:
            raise TypeError(f"verdict must return None, True, False or seconds of 0 or more, not {answer!r}")
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
            return self.asked  # including 0, which means immediately if a verdict returns it
        own = next(self.waits, None)
        if own is None:
            return None
        # If the server requests 0 s, the policy decides, so that clients do not all return at the same
        # moment.
        return asked or max(
            0.0, min(self.policy.jitter(min(own, self.policy.max_wait)), self.policy.max_wait)
        )

    def _asked_wait(self, outcome: Outcome) -> float | None:
        """Return the seconds that the verdict, a middleware or the server requests, in this order."""
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
    """Return whether *outcome* is retried if no verdict decides. This is the retry table."""
    if not isinstance(outcome, AsyncAPIResponse):
        return _is_retryable_error(request, outcome, policy)
    status = outcome.status
    if status < 400:
        return False
    advice = outcome.headers.get("x-should-retry", "").strip().lower()
    if advice in {"true", "false"}:
        return advice == "true"
    # A status outside the valid range is treated like a 5XX (RFC 9110 §15).
    if (status if status < 600 else 500) not in policy.statuses:
        return False
    if _is_throttled(outcome):
        return True  # rejected before any effect, whatever the method
    if status == 409:
        return request.idempotency_key is not None  # an earlier copy of this request is still being processed
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
    return getattr(outcome, "final", False)


def _is_throttled(outcome: Outcome) -> bool:
    """Return whether *outcome*, or one of its causes, is a 429, or a 503 with ``Retry-After``."""
    return any(
        answer.status == 429 or (answer.status == 503 and answer.retry_after is not None)
        for answer in _server_answers(outcome)
    )


def _server_answers(outcome: Outcome) -> Iterator[AsyncAPIResponse[Any] | APIStatusError]:
    """Yield the responses and status errors of a server, in *outcome* or its causes."""
    if isinstance(outcome, AsyncAPIResponse):
        yield outcome
        return
    for error in _causes(outcome):
        if isinstance(error, RetryableError) and error.response is not None:
            yield error.response
        elif isinstance(error, APIStatusError):
            yield error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield *error* and its chain of causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # ``raise error from error`` creates a cycle
        yield error
        seen.add(id(error))
        error = error.__cause__


def _asks_for_retry(error: BaseException) -> RetryableError | None:
    """Return the first `RetryableError` among *error* and its causes."""
    return next((cause for cause in _causes(error) if isinstance(cause, RetryableError)), None)


def _response_of(outcome: Outcome) -> AsyncAPIResponse[Any] | None:
    if isinstance(outcome, AsyncAPIResponse):
        return outcome
    asking = _asks_for_retry(outcome)
    return None if asking is None else asking.response


def _final_outcome(outcome: Outcome) -> Outcome:
    """Return the outcome with which the call ends if *outcome* is not retried."""
    if isinstance(outcome, RetryableError):
        if outcome.response is not None:
            return outcome.response
        if isinstance(outcome.__cause__, Exception):
            return outcome.__cause__
    return outcome


def _hint(outcome: Outcome) -> float | None:
    """Return the seconds that a middleware or the server requests; None if absent or not usable."""
    asking = None if isinstance(outcome, AsyncAPIResponse) else _asks_for_retry(outcome)
    if asking is not None and asking.retry_after is not None:
        return _usable(asking.retry_after)
    if isinstance(outcome, APIError) and outcome.retry_after is not None:
        return _usable(outcome.retry_after)
    return next((answer.retry_after for answer in _server_answers(outcome)), None)


def _asker(outcome: Outcome) -> str:
    asking = None if isinstance(outcome, AsyncAPIResponse) else _asks_for_retry(outcome)
    return "the server" if asking is None or asking.retry_after is None else "a middleware"


def _usable(seconds: object) -> float | None:
    """Return *seconds* as a float if it is a finite number of 0 or more, else None."""
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
    end = _final_outcome(outcome)
    if isinstance(end, AsyncAPIResponse):
        end.notes += (text,)
    else:
        end.add_note(text)


def _named(outcome: Outcome) -> str:
    return f"status {outcome.status}" if isinstance(outcome, AsyncAPIResponse) else type(outcome).__name__
