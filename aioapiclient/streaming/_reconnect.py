"""How a broken event stream is resumed: how often, after which wait, and what it may repeat."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import msgspec

from aioapiclient._checks import check_seconds, check_whole
from aioapiclient.errors import APIError

from ._sse import ServerSentEvent

__all__ = ["ReconnectPolicy", "Resumption"]

_SHORTEST_NAMED_WAIT = 0.1  # seconds; what a server's ``retry: 0`` is taken for


def _full_jitter() -> Callable[[float], float]:
    import backoff  # with the first policy: importing this package should not pay for it

    return backoff.full_jitter


class ReconnectPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How an `SSEStream` reconnects; ``reconnect=True`` is all of the defaults.

    Raises `InvalidRequestError` for values that make no sense.
    """

    max_attempts: int = 5
    """Reconnects in a row that bring no new event, before the stream is given up."""

    wait: float = 1.0
    """Seconds before the first of them, while the server names none with ``retry``; doubled each time.

    Browsers wait 3 to 5; a service has few streams, and wants little lost.
    """

    max_wait: float = 30.0
    """The longest wait in seconds, before jitter; a server that names a longer one gets this."""

    jitter: Callable[[float], float] = msgspec.field(default_factory=_full_jitter)
    """What is added to a wait, so that clients do not come back all at once: 0 to as much again.

    Added and not taken away: no client returns before the time that the server named.
    """

    def __post_init__(self) -> None:
        check_whole("max_attempts", self.max_attempts, least=1)
        for name in ("wait", "max_wait"):
            check_seconds(name, getattr(self, name))


class Resumption:
    """The state of one stream over its connections: attempts, and what a server may send again."""

    __slots__ = ("_count", "_id", "_policy", "_replays", "_retry", "_steps", "attempts", "last_event_id")

    def __init__(self, policy: ReconnectPolicy) -> None:
        self.attempts = 0
        """Reconnects since the last new event."""
        self.last_event_id = ""
        self._policy = policy
        self._retry: int | None = None
        self._steps: Generator[Any, Any, None] | None = None
        # The id that an event named last, how many events in a row named it, and how many of them
        # the server may still send again.
        self._id = ""
        self._count = 0
        self._replays = 0

    @property
    def exhausted(self) -> bool:
        """Whether the next attempt would be one too many."""
        return self.attempts >= self._policy.max_attempts

    @property
    def headers(self) -> dict[str, str]:
        """What the next connection sends besides (HTML §9.2.3)."""
        return {"Last-Event-ID": self.last_event_id} if self.last_event_id else {}

    def lost(self, last_event_id: str, retry: int | None) -> None:
        """Take over what the last connection knew: the last event id, and milliseconds to wait."""
        self.last_event_id = last_event_id
        self._replays = self._count
        if retry is not None and retry != self._retry:
            self._retry = retry
            self._steps = None

    def next_wait(self, cause: BaseException | None) -> float:
        """Begin an attempt: the seconds to wait before it."""
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
        """*events* without those that came before the break already.

        A server may start with the event that Last-Event-ID names, instead of the one after it.
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
        """A new event came."""
        self.attempts = 0
        self._replays = 0
        self._steps = None
