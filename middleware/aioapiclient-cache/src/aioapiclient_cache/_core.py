"""`Core`: the state that all requests of one cache share, and the changes that it knows of (RFC 9111
§4.4).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Final

from hishel import AsyncBaseStorage, CacheOptions

from aioapiclient.contract import BoundedDict, serves_several

from ._flights import Flights
from ._keys import Identity, prefix_of
from ._store import Store
from ._stored import Policy, Stored

__all__ = ["Core"]

_logger = logging.getLogger("aioapiclient.cache")

_MOST_KEYS: Final = 10_000
_MOST_TASKS: Final = 1000


class Core:
    """The storage, the policy, the requests in flight, and the recorded changes.

    Args:
        storage: The storage.
        policy: The rules of the cache.
        methods: The methods whose responses are stored.
        identity: Returns the principal of a request; None for the credentials.
        store_all_headers: Whether the digests of all request headers are stored.
        clock: Returns the time in seconds since 1970.
    """

    def __init__(
        self,
        storage: AsyncBaseStorage,
        policy: Policy,
        methods: frozenset[str],
        identity: Identity | None,
        store_all_headers: bool,
        clock: Callable[[], float],
    ) -> None:
        self.store = Store(storage)
        self.policy = policy
        self.methods = methods
        self.identity = identity
        self.store_all_headers = store_all_headers
        self.clock = clock
        self.flights = Flights()
        self.options = CacheOptions(
            shared=policy.shared, supported_methods=sorted(methods), allow_stale=False
        )
        self._cleared = -float("inf")
        self._changed: BoundedDict[str, float] = BoundedDict()
        self._keys: BoundedDict[str, str] = BoundedDict(_MOST_KEYS)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    # --- changes

    def change(self, url: str) -> None:
        """Record that the resource has changed: responses to earlier requests must be validated."""
        self._changed[url] = self.clock()

    def was_changed(self, url: str, stored: Stored) -> bool:
        """Return whether the resource has changed since *stored* was requested."""
        return stored.facts.asked <= max(self._changed.get(url, self._cleared), self._cleared)

    # --- known keys

    def remember(self, key: str, url: str) -> None:
        """Record that a response to *url* is stored under *key*."""
        self._keys[key] = url

    async def clear(self, url: str | None, keys: set[str]) -> int:
        """Remove the responses stored for *url*, or all responses, and return their number.

        Args:
            url: The URL; None for all.
            keys: Keys to look under besides the known ones.
        """
        if url is None:
            self._cleared = self.clock()
        else:
            self.change(url)
        keys |= {key for key, known in self._keys.items() if url is None or known == url}
        keys.update(await self.store.keys(prefix_of(url)))
        count = 0
        for key in keys:
            self._keys.pop(key, None)
            count += await self.store.clear(key)
        return count

    # --- background tasks

    def in_background(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* in a task, unless a task for *key* is running; `close` cancels it."""
        loop = asyncio.get_running_loop()
        if any(task.get_loop() is not loop for task in self._tasks.values()):
            self._tasks.clear()  # tasks of a loop that has ended
        if key in self._tasks or len(self._tasks) >= _MOST_TASKS:
            work.close()
            return
        context = copy_context()
        context.run(serves_several.set, True)
        task = self._tasks[key] = loop.create_task(_quietly(work), context=context)
        task.add_done_callback(lambda done: self._forget(key, done))

    def _forget(self, key: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]

    async def close(self) -> None:
        """Cancel the tasks of this event loop, and wait until they have ended."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._tasks.values() if task.get_loop() is loop]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception as error:
        _logger.debug("A response could not be validated in the background (%s)", type(error).__name__)
