"""`Lifecycle`: the transport and the calls in flight, which a client shares with its views."""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from aioapiclient._cancel_scope import Scope, Timers
from aioapiclient._request import APIRequest
from aioapiclient._response.response import AsyncAPIResponse
from aioapiclient.contract import Handler
from aioapiclient.errors import ClientClosedError

__all__ = ["Lifecycle"]


class Lifecycle:
    """One event loop, one process and one transport, from the first call to `close`."""

    def __init__(self, name: str, transport: Handler) -> None:
        self.name = name
        self.transport = transport
        self.timers = Timers()
        self.closed = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._calls: set[Scope] = set()
        self._streams: set[AsyncAPIResponse[Any]] = set()
        self._closables: dict[int, Callable[[], Any]] = {}
        self._to_bind: list[tuple[Any, Callable[[Any], object]]] = []

    def __del__(self) -> None:
        # Only warn, because the loop may have ended, and closing in a task would hide the mistake.
        if self.loop is not None and not self.closed and self._owns_something():
            warnings.warn(
                f"{self.name} was never closed; use 'async with', or await its close()",
                ResourceWarning,
                stacklevel=1,
                source=self,
            )

    def _owns_something(self) -> bool:
        return hasattr(self.transport, "close") and not getattr(self.transport, "is_borrowed", False)

    def begin(self, request: APIRequest | None = None) -> Scope:
        """Return the scope of a new call or wait, which the closing of the client interrupts.

        Raises:
            ClientClosedError: The client is closed, or belongs to another event loop or process.
        """
        if self._to_bind:
            self.bind()
        loop = asyncio.get_running_loop()
        if self.closed or loop is not self.loop or self._process != os.getpid():
            self._move_to(loop)
        began = loop.time()
        scope = Scope(self._calls, began, self.timers)
        if request is not None:
            request.started = began
            request._scope = scope
        return scope

    @property
    def calls_in_flight(self) -> int:
        """The number of calls and waits that have not ended."""
        return len(self._calls)

    @property
    def open_streams(self) -> int:
        """The number of responses that were returned unread and are not closed."""
        return len(self._streams)

    def track(self, response: AsyncAPIResponse[Any]) -> None:
        """Track a response that is returned unread, until it is closed."""
        if not response.is_closed:
            self._streams.add(response)
            response.on_close(lambda: self._streams.discard(response))

    def register_closable(self, thing: Any, bind: Callable[[Any], object]) -> None:
        """Call ``thing.close()`` when the client closes, and *bind* it before the next call."""
        key = id(thing)
        if key in self._closables:
            return
        try:
            # A weak reference, because the auth of one call must not live as long as the client.
            self._closables[key] = weakref.ref(thing, lambda _: self._closables.pop(key, None))
        except TypeError:
            self._closables[key] = lambda: thing
        if hasattr(thing, "bind"):
            self._to_bind.append((thing, bind))

    def bind(self) -> None:
        """Bind the registered objects. This happens at a call, when the ``__init__`` of a subclass has
        finished.
        """
        while self._to_bind:
            thing, bind = self._to_bind.pop()
            bind(thing)

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.closed:
            raise ClientClosedError(f"{self.name} is closed")
        if self.loop is not None and self._process != os.getpid():
            raise ClientClosedError(
                f"{self.name} was opened by process {self._process}; a forked process needs its own client"
            )
        if self.loop is not None and not self.loop.is_closed():
            raise ClientClosedError(
                f"{self.name} is used from a second event loop while its session belongs to the first; "
                "create one client per loop, or close it on the first"
            )
        if self.loop is not None:
            self._forget_loop()
        self.loop = loop
        self._process = os.getpid()

    def _forget_loop(self) -> None:
        # Calls and streams of the first loop can no longer be closed on it.
        self._calls.clear()
        self._streams.clear()
        self.timers = Timers()
        forget = getattr(self.transport, "forget_session", None)
        if forget is not None:
            forget()

    async def close(self) -> None:
        """End every call in flight and every open stream with `ClientClosedError`, and close the transport.

        Raises:
            ClientClosedError: The client belongs to another event loop.
        """
        if self.closed:
            return
        loop = asyncio.get_running_loop()
        if self.loop is not None and loop is not self.loop:
            if not self.loop.is_closed():
                raise ClientClosedError(f"{self.name} belongs to another event loop; close it there")
            self._forget_loop()
        self.closed = True
        self._end_calls()
        for response in list(self._streams):
            response.abort(self._error())
            await response.close()
        self.timers.cancel()
        # First let the loop run once, so that the interrupted calls release their connections.
        ends = [asyncio.sleep(0)]
        ends += [_close(thing) for thing in (*(find() for find in self._closables.values()), self.transport)]
        failures: list[BaseException] = []
        for end in ends:
            try:
                await end
            except BaseException as failure:  # close the others anyway
                failures.append(failure)
        if failures:
            # A cancellation by the caller takes precedence over any failure.
            raise min(failures, key=lambda failure: not isinstance(failure, asyncio.CancelledError))

    def _end_calls(self) -> None:
        own = asyncio.current_task()
        for scope in list(self._calls):
            if scope.task is not own:
                scope.fire(self._error)

    def _error(self) -> ClientClosedError:
        return ClientClosedError(f"{self.name} was closed while this call was in progress")


async def _close(thing: Any) -> None:
    close = getattr(thing, "close", None)
    if close is not None:
        await close()
