"""Cancel scopes: how a deadline, or the closing of the client, interrupts a call.

A scope belongs to one task. Firing it cancels the task once, and settling it turns that one cancellation
into the error that it was fired with. ``Task.cancelling`` is counted as in ``asyncio.timeout``, so that a
cancellation by the caller in the same tick remains a `CancelledError`. Unlike ``asyncio.timeout``, a scope
can be fired from outside, and scopes of the same duration share one loop timer: they expire in the order in
which they were started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeAlias

import msgspec

__all__ = ["Scope", "Timers"]

MakeError: TypeAlias = Callable[[], Exception]


class Scope(msgspec.Struct, eq=False):
    """Interrupts the block of one task: enter it with ``with scope:``, and `fire` it from the same loop.

    A Struct, because every call creates one, and an ordinary class takes four times as long to create.
    """

    group: set[Scope] | None = None
    """The set that holds the scope while it is entered."""

    began: float | None = None
    """The start of its limits, on the loop's clock; None: they start when they are set."""

    timers: Timers | None = None
    """The timers that it shares with other scopes; None: it has its own timer."""

    deadline: float | None = None
    """The time at which it expires, on the loop's clock."""

    task: asyncio.Task[Any] | None = None
    """The task that it cancels; None unless the scope is entered."""

    opened: list[Any] | None = None
    """The unread responses that a streaming call has opened so far, while it runs."""

    _before: int = 0
    _error: MakeError | None = None
    _when_expired: MakeError | None = None
    _queue: _Queue | None = None
    _handle: asyncio.TimerHandle | None = None

    def __enter__(self) -> Scope:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call must run inside an asyncio task")
        self.task = task
        self._before = task.cancelling()
        if self.group is not None:
            self.group.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.group is not None:
            self.group.discard(self)
        if self.deadline is not None:
            self.disarm()
        try:
            if self._error is not None:
                self.settle(error)
        finally:
            self.task = None

    @property
    def is_free(self) -> bool:
        """Whether the running task may set a deadline: it has entered the scope, and no deadline is set.

        A middleware may handle a copy of a request in another task. A scope that was fired and settled can
        no longer expire.
        """
        return self.deadline is None and self.task is not None and self.task is asyncio.current_task()

    def expire_at(self, deadline: float, error: MakeError) -> None:
        """Fire with *error* when the loop's clock reaches *deadline*."""
        loop = asyncio.get_running_loop()
        self.deadline = deadline
        self._handle = loop.call_at(deadline, self.fire, error)

    def expire_after(self, seconds: float, error: MakeError) -> float:
        """Fire with *error* after *seconds*, and return the deadline on the loop's clock."""
        began = asyncio.get_running_loop().time() if self.began is None else self.began
        deadline = began + seconds
        queue = None if self.timers is None else self.timers.queue(seconds)
        if queue is None or deadline < queue.latest:
            self.expire_at(deadline, error)
            return deadline
        self.deadline = deadline
        self._when_expired = error
        self._queue = queue
        queue.waiting[self] = queue.latest = deadline
        if queue.handle is None:
            queue.look_at(deadline)
        return deadline

    def expire(self) -> None:
        """Fire, because the deadline has passed."""
        if self._when_expired is not None:
            self.fire(self._when_expired)

    def fire(self, error: MakeError) -> None:
        """Cancel the task, once, so that `settle` raises the result of *error*."""
        if self._error is None and self.task is not None:
            self._error = error
            self.task.cancel()

    def settle(self, error: BaseException | None) -> None:
        """Raise the error that the scope was fired with, if *error* is the cancellation that it caused."""
        make, task = self._error, self.task
        if make is None or task is None:
            return
        # Settle only once: an outer scope, or a cancellation by the caller, relies on the count.
        self.task = None
        if task.uncancel() <= self._before and isinstance(error, asyncio.CancelledError):
            raise make() from None

    def disarm(self) -> None:
        """Remove the deadline."""
        self.deadline = None
        if self._queue is not None:
            self._queue.waiting.pop(self, None)
            self._queue = self._when_expired = None
        elif self._handle is not None:
            self._handle.cancel()
            self._handle = None


class _Queue:
    """The scopes of one duration, in the order of their deadlines, on one loop timer."""

    __slots__ = ("_loop", "handle", "latest", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: asyncio.AbstractEventLoop = loop
        # The timer is kept when a scope is removed, for the scopes that follow.
        self.waiting: dict[Scope, float] = {}
        self.latest: float = 0.0
        self.handle: asyncio.TimerHandle | None = None

    def look_at(self, deadline: float) -> None:
        """Set the timer to *deadline*."""
        self.handle = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self.handle = None
        now = self._loop.time()
        while self.waiting:
            scope, deadline = next(iter(self.waiting.items()))
            if deadline > now:
                self.look_at(deadline)
                return
            del self.waiting[scope]
            scope.expire()

    def cancel(self) -> None:
        """Cancel the timer."""
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None


class Timers:
    """The timer queues of one client on one loop, by duration."""

    __slots__ = ("_queues",)

    # Calls may have any duration; only a few durations recur and are worth a queue.
    MOST: Final = 8

    def __init__(self) -> None:
        self._queues: dict[float, _Queue] = {}

    def queue(self, seconds: float) -> _Queue | None:
        """Return the queue for *seconds*, or None if there are too many queues."""
        return self._queues.get(seconds) or self._new_queue(seconds)

    def _new_queue(self, seconds: float) -> _Queue | None:
        if len(self._queues) >= self.MOST:
            self._drop_idle()
        if len(self._queues) >= self.MOST:
            return None
        queue = self._queues[seconds] = _Queue(asyncio.get_running_loop())
        return queue

    def _drop_idle(self) -> None:
        for seconds, queue in list(self._queues.items()):
            if not queue.waiting:
                queue.cancel()
                del self._queues[seconds]

    def cancel(self) -> None:
        """Cancel every timer."""
        for queue in self._queues.values():
            queue.cancel()
        self._queues.clear()
