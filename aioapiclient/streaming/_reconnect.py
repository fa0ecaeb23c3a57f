"""Resuming a broken event stream: the number of attempts, their waits, and events that are repeated."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import msgspec

from aioapiclient._checks import check_seconds, check_whole
from aioapiclient.errors import APIError

from ._sse import ServerSentEvent

__all__ = ["ReconnectPolicy", "Resumption"]

_SHORTEST_NAMED_WAIT = 0.1  # seconds; used for a server's ``retry: 0``


def _full_jitter() -> Callable[[float], float]:
    import backoff  # imported with the first policy, so that importing this package does not import it

    return backoff.full_jitter


class ReconnectPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How an `SSEStream` reconnects. ``reconnect=True`` uses the defaults. The fields are the arguments.

    Raises:
        InvalidRequestError: A value is out of range.
        TypeError: A value has the wrong type.
    """

    max_attempts: int = 5
    """The maximum number of reconnects in a row without a new event, 5 by default. Then the stream raises."""

    wait: float = 1.0
    """Seconds before the first reconnect, doubled each time. 1 by default; the server's ``retry`` overrides
    it.

    Browsers use 3 to 5 s; services hold fewer streams and prefer to reconnect sooner.
    """

    max_wait: float = 30.0
    """The longest wait in seconds, before jitter. 30 by default. It also limits the server's ``retry``."""

    jitter: Callable[[float], float] = msgspec.field(default_factory=_full_jitter)
    """A function of the wait that returns the seconds to add, so that clients do not reconnect in lockstep.

    Uniform in [0, wait] by default. Because it is added, no client returns before the time that the server
    set.
    """

    def __post_init__(self) -> None:
        check_whole("max_attempts", self.max_attempts, least=1)
        for name in ("wait", "max_wait"):
            check_seconds(name, getattr(self, name))


class Resumption:
    """The state of one stream across its connections: the attempts, and events that a server may repeat."""

    __slots__ = ("_count", "_id", "_policy", "_replays", "_retry", "_steps", "attempts", "last_event_id")

    def __init__(self, policy: ReconnectPolicy) -> None:
        self.attempts = 0
        """The number of reconnects since the last new event."""
        self.last_event_id = ""
        """The last event ID of the broken connection; "" without one."""
        self._policy = policy
        self._retry: int | None = None
        self._steps: Generator[Any, Any, None] | None = None
        # The last event ID, the number of successive events with it, and how many of them may still be
        # repeated.
        self._id = ""
        self._count = 0
        self._replays = 0

    @property
    def exhausted(self) -> bool:
        """Whether no further attempt is allowed."""
        return self.attempts >= self._policy.max_attempts

    @property
    def headers(self) -> dict[str, str]:
        """The additional headers of the next connection (HTML §9.2.3)."""
        return {"Last-Event-ID": self.last_event_id} if self.last_event_id else {}

    def disconnected(self, last_event_id: str, retry: int | None) -> None:
        """Record the last event ID and the milliseconds to wait, as received on the broken connection."""
        self.last_event_id = last_event_id
        self._replays = self._count
        if retry is not None and retry != self._retry:
            self._retry = retry
            self._steps = None

    def next_wait(self, cause: BaseException | None) -> float:
        """Count a new attempt, and return the seconds to wait before it."""
        self.attempts += 1
        policy = self._policy
        if self._steps is None:
            import backoff

            first = policy.wait if self._retry is None else max(self._retry / 1000, _SHORTEST_NAMED_WAIT)
            self._steps = backoff.expo(base=2, factor=first, max_value=policy.max_wait)
            next(self._steps)  # the first value of backoff's generators is None
        asked = cause.retry_after if isinstance(cause, APIError) else None
        wait = max(next(self._steps), min(asked or 0.0, policy.max_wait))
        return wait + policy.jitter(wait)

    def new(self, events: list[ServerSentEvent]) -> list[ServerSentEvent]:
        """Return *events* without those that arrived before the break.

        A server may start with the event that Last-Event-ID names, instead of the next one.
        """
        kept: list[ServerSentEvent] = []
        for event in events:
            if self._replays and event.has_id and event.id == self._id:
                self._replays -= 1
                continue
            self._replays = 0
            if event.has_id:
                self._count = self._count + 1 if event.id == self._id else 1
                self._id = event.id
            kept.append(event)
        if kept:
            self.progressed()
        return kept

    def progressed(self) -> None:
        """Record that a new event arrived."""
        self.attempts = 0
        self._replays = 0
        self._steps = None
