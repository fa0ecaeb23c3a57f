"""What a client and its views share: the transport, the calls in flight, and their common end."""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from aioapiclient._cancel_scope import Scope, Timers
from aioapiclient._request import APIRequest
from aioapiclient._response import AsyncAPIResponse
from aioapiclient.contract import Handler
from aioapiclient.errors import ClientClosedError

__all__ = ["Lifecycle"]


class Lifecycle:
    """One event loop, one process, one transport; opened by the first call, ended by `close`."""

    def __init__(self, name: str, transport: Handler) -> None:
        self.name = name
        self.transport = transport
        self.timers = Timers()
        self.closed = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._calls: set[Scope] = set()
        self._streams: set[AsyncAPIResponse[Any]] = set()
        self._adopted: dict[int, Callable[[], Any]] = {}
        self._to_bind: list[tuple[Any, Callable[[Any], object]]] = []

    def __del__(self) -> None:
        # No work here: the loop may be gone, and a task that nobody awaits would only hide the mistake.
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
        """The scope of a call that begins, or of a wait: the closing of the client ends what runs in it.

        Raises `ClientClosedError` when the client was closed, or lives on another loop or process.
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
            request.scope = scope
        return scope

    @property
    def calls_in_flight(self) -> int:
        """How many calls and waits have not ended."""
        return len(self._calls)

    @property
    def open_streams(self) -> int:
        """How many responses were handed out unread, and are not closed."""
        return len(self._streams)

    def track(self, response: AsyncAPIResponse[Any]) -> None:
        """Remember a response that goes out unread, until it is closed."""
        if not response.is_closed:
            self._streams.add(response)
            response.on_close(lambda: self._streams.discard(response))

    def adopt(self, thing: Any, bind: Callable[[Any], object]) -> None:
        """Await ``thing.close()`` when the client closes, and *bind* it before the next call."""
        key = id(thing)
        if key in self._adopted:
            return
        try:
            # An auth of one call must not be kept for as long as the client lives.
            self._adopted[key] = weakref.ref(thing, lambda _: self._adopted.pop(key, None))
        except TypeError:
            self._adopted[key] = lambda: thing
        if hasattr(thing, "bind"):
            self._to_bind.append((thing, bind))

    def bind(self) -> None:
        """Bind what was adopted: at a call, for a subclass may not have finished its ``__init__`` before."""
        while self._to_bind:
            thing, bind = self._to_bind.pop()
            bind(thing)

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.closed:
            raise ClientClosedError(f"{self.name} is closed")
        if self.loop is not None and self._process != os.getpid():
            raise ClientClosedError(
                f"{self.name} was opened by process {self._process}; "
                "a forked process needs a client of its own"
            )
        if self.loop is not None and not self.loop.is_closed():
            raise ClientClosedError(
                f"{self.name} is used from a second event loop while its session lives on the first; "
                "make one client for each loop, or close it on the first"
            )
        if self.loop is not None:
            self._forget_loop()
        self.loop = loop
        self._process = os.getpid()

    def _forget_loop(self) -> None:
        # What the first loop left behind can no longer be closed on it.
        self._calls.clear()
        self._streams.clear()
        self.timers = Timers()
        forget = getattr(self.transport, "forget_session", None)
        if forget is not None:
            forget()

    async def close(self) -> None:
        """End every call in flight and every open stream with `ClientClosedError`, then the transport.

        Raises `ClientClosedError` on another loop than the one that the client lives on.
        """
        if self.closed:
            return
        loop = asyncio.get_running_loop()
        if self.loop is not None and loop is not self.loop:
            if not self.loop.is_closed():
                raise ClientClosedError(f"{self.name} lives on another event loop; close it there")
            self._forget_loop()
        self.closed = True
        self._end_calls()
        for response in list(self._streams):
            response.abort(self._error())
            await response.close()
        self.timers.cancel()
        # First one turn of the loop, in which the calls that were ended leave their connections.
        ends = [asyncio.sleep(0)]
        ends += [_close(thing) for thing in (*(find() for find in self._adopted.values()), self.transport)]
        failures: list[BaseException] = []
        for end in ends:
            try:
                await end
            except BaseException as failure:  # the others are closed all the same
                failures.append(failure)
        if failures:
            # The caller's cancel before any failure: it must not be lost.
            raise min(failures, key=lambda failure: not isinstance(failure, asyncio.CancelledError))

    def _end_calls(self) -> None:
        own = asyncio.current_task()
        for scope in list(self._calls):
            if scope.task is not own:
                scope.fire(self._error)

    def _error(self) -> ClientClosedError:
        return ClientClosedError(f"{self.name} was closed while this call was under way")


async def _close(thing: Any) -> None:
    close = getattr(thing, "close", None)
    if close is not None:
        await close()
