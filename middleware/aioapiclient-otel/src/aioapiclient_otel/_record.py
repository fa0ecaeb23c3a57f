"""`CallRecord`: the state that the sends of one call share, and report to the span of the call."""

from __future__ import annotations

from typing import Any

from opentelemetry.trace import Span

from aioapiclient.contract import APIRequest, AsyncAPIResponse
from aioapiclient.errors import RetryableError, ThrottledError

__all__ = ["CallRecord"]


class CallRecord:
    """The state of one call, stored in ``request.extensions``."""

    __slots__ = ("_active", "_ended", "_failure", "attempts", "sends", "span")

    def __init__(self, span: Span | None = None) -> None:
        self.span = span  # the span of the call, if it is recording
        self.sends = 0
        self.attempts = 0
        self._active = 0
        self._ended = 0.0
        self._failure = ""

    def begin_send(self, request: APIRequest, now: float) -> int:
        """Count one send, and return the number of earlier ones."""
        before, attempts, is_hedge = self.sends, self.attempts, self._active > 0
        self.sends += 1
        self._active += 1
        self.attempts = max(attempts, request.attempt + 1)
        if self.span is not None and before:
            if is_hedge:
                self.span.add_event("hedge", {"aioapiclient.attempt": request.attempt})
            elif request.attempt >= attempts:
                self._add_retry(self.span, request.attempt, now)
        return before

    def _add_retry(self, span: Span, attempt: int, now: float) -> None:
        why = {"error.type": self._failure} if self._failure else {}
        wait = max(0.0, now - self._ended)
        span.add_event("retry", {"aioapiclient.attempt": attempt, "aioapiclient.wait": wait, **why})

    def end_send(
        self, outcome: AsyncAPIResponse[Any] | BaseException, attributes: dict[str, str | int], now: float
    ) -> None:
        """Remember how a send ended, for the event of the next one."""
        self._active -= 1
        self._ended = now
        self._failure = str(attributes.get("error.type", ""))
        if self.span is not None and _is_throttled(outcome):
            asked = getattr(outcome, "retry_after", None)
            wait = {} if asked is None else {"aioapiclient.retry_after": float(asked)}
            self.span.add_event("throttled", {"error.type": self._failure, **wait})


def _is_throttled(outcome: AsyncAPIResponse[Any] | BaseException) -> bool:
    """Return whether *outcome* is a 429, a 503 with Retry-After, or an error of a throttle."""
    if isinstance(outcome, RetryableError) and outcome.response is not None:
        outcome = outcome.response
    if isinstance(outcome, AsyncAPIResponse):
        return outcome.status == 429 or (outcome.status == 503 and outcome.retry_after is not None)
    return isinstance(outcome, ThrottledError)
