"""A circuit breaker: it stops requests to a server that fails too often, and later lets a few test it.

`_is_failure` alone defines what counts as a failure.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from aioapiclient.contract import (
    APIRequest,
    AsyncAPIResponse,
    BoundedDict,
    Handler,
    check_function,
    check_number,
    check_seconds,
    check_whole,
)
from aioapiclient.errors import (
    APIConnectionError,
    APIResponseValidationError,
    BodyTooLargeError,
    CircuitOpenError,
    RetryableError,
)

__all__ = ["CircuitBreakerMiddleware"]

_logger = logging.getLogger("aioapiclient.circuit_breaker")

Outcome: TypeAlias = AsyncAPIResponse[Any] | Exception
"""How a request ended."""

CircuitState: TypeAlias = Literal["closed", "open", "half-open"]
"""What a circuit lets through: everything, nothing, or a few probes."""

_BUCKETS = 10  # a window forgets a tenth of itself at a time, which is exact enough for a ratio
_NOT_OVERLOADED = frozenset({501, 505})  # the server works, and does not know the method or the HTTP version
_EARLY = 0.02  # seconds; by the system clock, a timer of the loop may fire this much early


class CircuitBreakerMiddleware:
    """Refuses requests to an origin that fails too often, and lets it recover.

    A refused request raises `CircuitOpenError` immediately, with ``.retry_after``; nothing is sent. Place it
    inside the retries, so that it sees every attempt: ``per_attempt(...)``. Each origin has its own circuit:

    * *closed*: requests pass and are counted. It opens when at least *minimum_calls* requests ended in the
      last *window* seconds, and *failure_ratio* of them failed.
    * *open*: every request is refused for *open_for* seconds.
    * *half-open*: *half_open_permits* requests pass as probes; the others are refused. If all probes succeed,
      it closes; the first failed probe opens it again. A probe without a result, because its caller was
      cancelled, passes its permit on.

    Args:
        failure_ratio: The fraction of failures that opens the circuit, 0.5 by default. Retries and their
            budget handle fewer failures; opening at a tenth would turn a partial outage into a complete one.
        minimum_calls: The minimum number of requests in the window, 20 by default. If a server fails a tenth
            of its requests, 10 of 20 fail by chance once in a hundred thousand times.
        window: The seconds to look back, 30 by default, as in Polly and Finagle.
        open_for: The seconds for which requests are refused, 5 by default, as in Polly: enough for a restart.
        half_open_permits: The number of probes, 3 by default: one lucky response does not close the circuit,
            and three requests do no harm.
        failures: A function, not async, of a response or an error that returns whether it is a failure; None
            for the table's decision.
        clock: Returns seconds that never go back; for tests.

    Raises:
        InvalidRequestError: A number is out of range.
        TypeError: An argument has the wrong type.

    """

    def __init__(
        self,
        *,
        failure_ratio: float = 0.5,
        minimum_calls: int = 20,
        window: float = 30.0,
        open_for: float = 5.0,
        half_open_permits: int = 3,
        failures: Callable[[Outcome], bool | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failure_ratio: float = check_number("failure_ratio", failure_ratio, most=1.0, above=True)
        self.minimum_calls: int = check_whole("minimum_calls", minimum_calls, least=1)
        self.window: float = check_seconds("window", window, positive=True)
        self.open_for: float = check_seconds("open_for", open_for, positive=True)
        self.half_open_permits: int = check_whole("half_open_permits", half_open_permits, least=1)
        if failures is not None:
            check_function("failures", failures)
        check_function("clock", clock)
        self._failures = failures
        self._clock = clock
        self._circuits: BoundedDict[str, _Circuit] = BoundedDict()

    def __repr__(self) -> str:
        return f"CircuitBreakerMiddleware(failure_ratio={self.failure_ratio:g}, open_for={self.open_for:g})"

    def state(self, origin: str) -> CircuitState:
        """Return the state of the circuit of *origin*, such as ``https://api.example.com``.

        An open circuit is half-open once its time is over.
        """
        circuit = self._circuits.get(origin)
        return "closed" if circuit is None else circuit.state_at(self._clock())

    def stats(self) -> dict[str, dict[str, CircuitState]]:
        """Return the state of the ``circuit`` of each origin that was called."""
        now = self._clock()
        return {origin: {"circuit": circuit.state_at(now)} for origin, circuit in self._circuits.items()}

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request*, unless the circuit of its origin is open."""
        circuit = self._circuit(request.origin)
        turn = circuit.enter(self._clock())
        if turn is None:
            raise _refusal(request, circuit, self._clock())
        attempt_time = _AttemptTime(request)  # now, because the handler owns the request afterwards
        failed: bool | None = None
        try:
            response = await handler(request)
            failed = await self._judge_response(response)
            return response
        except asyncio.CancelledError:
            failed = True if attempt_time.used_half() else None
            raise
        except Exception as error:
            failed = self._judge(error, attempt_time)
            raise
        finally:
            circuit.leave(turn, failed, self._clock())

    def _circuit(self, origin: str) -> _Circuit:
        return self._circuits.get_or_make(origin, lambda: _Circuit(origin, self))

    async def _judge_response(self, response: AsyncAPIResponse[Any]) -> bool | None:
        try:
            return self._judge(response, None)
        except BaseException:
            await response.close()
            raise

    def _judge(self, outcome: Outcome, attempt_time: _AttemptTime | None) -> bool | None:
        if self._failures is not None:
            verdict: Any = self._failures(outcome)
            if isinstance(verdict, bool):
                return verdict
            if verdict is not None:
                raise TypeError(f"failures must return True, False or None, not {type(verdict).__name__}")
        return _is_failure(outcome, attempt_time)


def _is_failure(outcome: Outcome, attempt_time: _AttemptTime | None) -> bool | None:
    """Return whether the server failed; None if the outcome does not concern the server: the table."""
    if isinstance(outcome, AsyncAPIResponse):
        # A healthy server sends a 429 to a client that sends too much.
        return not outcome.ok and outcome.status >= 500 and outcome.status not in _NOT_OVERLOADED
    if isinstance(outcome, RetryableError):
        inner = outcome.__cause__ if outcome.response is None else outcome.response
        return _is_failure(inner, attempt_time) if isinstance(inner, AsyncAPIResponse | Exception) else None
    if isinstance(outcome, APIResponseValidationError | BodyTooLargeError):
        return False  # a response, though not of the requested type
    if not isinstance(outcome, APIConnectionError):
        return None  # bugs and refusals
    phase = getattr(outcome, "phase", "")
    if phase == "total":
        return True if attempt_time is not None and attempt_time.used_half() else None
    # Certificates, errors of an `Auth` and the wait for a free connection say nothing about the server.
    return None if outcome.final or phase == "pool" else True


class _AttemptTime:
    """Determines whether a call's deadline passed because of this attempt rather than earlier waits."""

    __slots__ = ("_began", "_deadline", "_started", "_time")

    def __init__(self, request: APIRequest) -> None:
        self._time = asyncio.get_running_loop().time
        self._began = self._time()
        self._deadline = request.deadline
        self._started = self._began if request.started is None else request.started

    def used_half(self) -> bool:
        """Return whether the deadline has passed, and this attempt used half of the call's time.

        An attempt that began shortly before, after the waits of the retries, had too little time.
        """
        if self._deadline is None:
            return False
        now = self._time()
        return now > self._deadline - _EARLY and now - self._began >= self._began - self._started


def _refusal(request: APIRequest, circuit: _Circuit, now: float) -> CircuitOpenError:
    seconds = circuit.retry_after(now)
    why = (
        f"open for another {seconds:.3g} s"
        if circuit.state == "open"
        else "half-open, and its probes are in flight"
    )
    return CircuitOpenError(
        f"{request.label}: not sent, the circuit of {circuit.origin} is {why}",
        origin=circuit.origin,
        request=request,
        retry_after=seconds,
        retries_taken=request.attempt,
    )


class _Circuit:
    """The circuit of one origin, without I/O and without a clock. Each `enter` is followed by a `leave`."""

    __slots__ = ("_probes", "_rules", "_successes", "_turn", "_until", "_window", "origin", "state")

    def __init__(self, origin: str, rules: CircuitBreakerMiddleware) -> None:
        self.origin = origin
        self.state: CircuitState = "closed"
        self._rules = rules
        # Counts changes of state: results of requests that entered before the last one are ignored.
        self._turn = 0
        self._until = 0.0
        self._probes = 0
        self._successes = 0
        self._window = _Window(rules.window)

    def state_at(self, now: float) -> CircuitState:
        """Return the state that a request would find."""
        return "half-open" if self.state == "open" and now >= self._until else self.state

    def retry_after(self, now: float) -> float:
        """Return the seconds until a request may pass; during probes, the time if they failed now."""
        return self._until - now if self.state == "open" else self._rules.open_for

    def enter(self, now: float) -> int | None:
        """Return the token for `leave`; None if the request is refused."""
        if self.state == "closed":
            return self._turn
        if self.state == "open":
            if now < self._until:
                return None
            self._change("half-open")
            _logger.info("The circuit of %s is half-open", self.origin)
        if self._probes + self._successes >= self._rules.half_open_permits:
            return None
        self._probes += 1
        return self._turn

    def leave(self, turn: int, failed: bool | None, now: float) -> None:
        """Record the end of a request that had entered: whether it *failed*; None if that is unknown."""
        if turn != self._turn:
            return
        if self.state == "half-open":
            self._probes -= 1
        if failed is None:
            return
        if self.state == "closed":
            self._window.add(now, failed)
            if failed and self._fails_too_often():
                self._open(now, f"{self._window.failures} of {self._window.calls} requests failed")
        elif failed:
            self._open(now, "a probe failed")
        else:
            self._successes += 1
            if self._successes >= self._rules.half_open_permits:
                self._change("closed")
                _logger.info("The circuit of %s is closed again", self.origin)

    def _fails_too_often(self) -> bool:
        window, rules = self._window, self._rules
        return window.calls >= rules.minimum_calls and window.failures >= rules.failure_ratio * window.calls

    def _open(self, now: float, why: str) -> None:
        _logger.warning("The circuit of %s opens for %g s: %s", self.origin, self._rules.open_for, why)
        self._change("open")
        self._until = now + self._rules.open_for

    def _change(self, state: CircuitState) -> None:
        self.state = state
        self._turn += 1
        self._probes = self._successes = 0
        self._window = _Window(self._rules.window)


class _Window:
    """The numbers of requests that ended in the window and that failed, in buckets of a tenth of it."""

    __slots__ = ("_buckets", "_width", "calls", "failures")

    def __init__(self, seconds: float) -> None:
        self.calls = 0
        self.failures = 0
        self._width = seconds / _BUCKETS
        self._buckets: deque[list[int]] = deque()  # number, calls, failures

    def add(self, now: float, failed: bool) -> None:
        """Count a request that ended *now*, and drop the buckets that are too old."""
        number = int(now // self._width)
        while self._buckets and self._buckets[0][0] <= number - _BUCKETS:
            _, calls, failures = self._buckets.popleft()
            self.calls -= calls
            self.failures -= failures
        if not self._buckets or self._buckets[-1][0] != number:
            self._buckets.append([number, 0, 0])
        self._buckets[-1][1] += 1
        self._buckets[-1][2] += failed
        self.calls += 1
        self.failures += failed
