"""Cancel scopes: how a deadline, or the closing of the client, ends what a call waits for.

A scope belongs to one task. Firing it cancels the task once, and whoever settles the scope turns
that one cancellation, and no other, into the error it was fired with: the arithmetic of
``Task.cancelling`` is that of ``asyncio.timeout``, so that a cancel of the caller's in the same
tick stays a `CancelledError`. Unlike ``asyncio.timeout`` a scope can be fired from outside, and
scopes of one duration share one loop timer: they expire in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias

__all__ = ["Scope", "Timers"]

MakeError: TypeAlias = Callable[[], Exception]


class Scope:
    """Ends what one task waits for: ``with scope:`` around it, `fire` from anywhere in the loop."""

    __slots__ = ("_before", "_error", "_handle", "_queue", "deadline", "opened", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[object] | None = None
        self._before = 0
        self._error: MakeError | None = None
        self._queue: _Queue | None = None
        self._handle: asyncio.TimerHandle | None = None
        self.deadline: float | None = None
        self.opened: tuple[Any, ...] = ()
        """The responses that came unread in its call, so far."""

    def __enter__(self) -> Scope:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("A call must run inside an asyncio task")
        self.task = task
        self._before = task.cancelling()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.deadline is not None:
            self.disarm()
        try:
            if self._error is not None:
                self.settle(error)
        finally:
            self.task = None

    @property
    def armed(self) -> bool:
        """Whether it has a deadline already."""
        return self.deadline is not None

    def expire_at(self, deadline: float, error: MakeError) -> None:
        """Fire with *error* when the loop's clock reaches *deadline*."""
        loop = asyncio.get_running_loop()
        self.deadline = deadline
        self._handle = loop.call_at(deadline, self.fire, error)

    def expire_after(self, seconds: float, error: MakeError, timers: Timers | None) -> float:
        """Fire with *error* after *seconds*; gives the deadline on the loop's clock."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        queue = None if timers is None else timers.queue(seconds, loop)
        if queue is None:
            self.expire_at(deadline, error)
        else:
            self.deadline = deadline
            self._queue = queue
            queue.add(self, deadline, error)
        return deadline

    def fire(self, error: MakeError) -> None:
        """Cancel the task, once, so that `settle` raises what *error* makes."""
        if self._error is None and self.task is not None:
            self._error = error
            self.task.cancel()

    def settle(self, error: BaseException | None) -> None:
        """Raise what the scope was fired with, if *error* is the cancellation that it caused."""
        make, task = self._error, self.task
        if make is None or task is None:
            return
        # Settled once: an outer scope, or the caller's own cancel, must find the count as it was.
        self.task = None
        if task.uncancel() <= self._before and isinstance(error, asyncio.CancelledError):
            raise make() from None

    def disarm(self) -> None:
        """Take its deadline away."""
        self.deadline = None
        if self._queue is not None:
            self._queue.discard(self)
            self._queue = None
        elif self._handle is not None:
            self._handle.cancel()
            self._handle = None


class _Queue:
    """Scopes of one duration, in the order of their deadlines, on one loop timer."""

    __slots__ = ("_handle", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[Scope, tuple[float, MakeError]] = {}
        self._handle: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        return not self._waiting

    def add(self, scope: Scope, deadline: float, error: MakeError) -> None:
        self._waiting[scope] = (deadline, error)
        if self._handle is None:
            self._handle = self._loop.call_at(deadline, self._expire)

    def discard(self, scope: Scope) -> None:
        # The timer stays: it is for the first of those that come next, and fires on nobody in between.
        self._waiting.pop(scope, None)

    def _expire(self) -> None:
        self._handle = None
        now = self._loop.time()
        while self._waiting:
            scope, (deadline, error) = next(iter(self._waiting.items()))
            if deadline > now:
                self._handle = self._loop.call_at(deadline, self._expire)
                return
            del self._waiting[scope]
            scope.fire(error)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class Timers:
    """The timer queues of one client on one loop, by duration."""

    __slots__ = ("_loop", "_queues")

    # A call may bring any duration of its own; only the few that come again are worth a queue.
    MOST = 8

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: dict[float, _Queue] = {}

    def queue(self, seconds: float, loop: asyncio.AbstractEventLoop) -> _Queue | None:
        """The queue for *seconds*, or None when there are enough of them."""
        if loop is not self._loop:
            self.cancel()
            self._loop = loop
        queue = self._queues.get(seconds)
        if queue is None:
            if len(self._queues) >= self.MOST:
                self._drop_idle()
            if len(self._queues) < self.MOST:
                queue = self._queues[seconds] = _Queue(loop)
        return queue

    def _drop_idle(self) -> None:
        for seconds, queue in list(self._queues.items()):
            if queue.idle:
                queue.cancel()
                del self._queues[seconds]

    def cancel(self) -> None:
        """Take every timer out of the loop."""
        for queue in self._queues.values():
            queue.cancel()
        self._queues.clear()
