"""`Store`: a storage whose failures are misses, with one warning a minute.

hishel's storages log each failure with a traceback, and continue. While a storage works for this middleware,
a filter removes these records, and the failure is reported here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Final, TypeVar
from uuid import UUID

from hishel import AsyncBaseStorage, Entry, Request, Response

from ._contents import keys_in
from ._whole import Whole

__all__ = ["Store"]

T = TypeVar("T")

_logger = logging.getLogger("aioapiclient.cache")

_WARN_EVERY: Final = 60.0  # seconds
_PAUSE: Final = 1.0  # seconds without another attempt after a failure: a timeout for each call would add up

_DAMAGE: Final = (
    LookupError,
    TypeError,
    ValueError,
)  # for an entry that cannot be decoded: the storage itself works

_failures: ContextVar[list[BaseException | None] | None] = ContextVar(
    "aioapiclient cache failures", default=None
)


class _Quiet(logging.Filter):
    """Removes the records of a storage's failures while it works for this middleware."""

    def filter(self, record: logging.LogRecord) -> bool:
        failures = _failures.get()
        if failures is None or record.levelno < logging.WARNING:
            return True
        failures.append(record.exc_info[1] if record.exc_info else None)
        return False


_QUIET: Final = _Quiet()


class Store:
    """The operations on the storage that the middleware needs. None of them raises.

    Args:
        storage: The storage, which belongs to the user.
        clock: Returns the time in seconds, for the pause after a failure and the next warning.
    """

    def __init__(self, storage: AsyncBaseStorage, clock: Callable[[], float] = time.monotonic) -> None:
        self.storage = storage
        self.clock = clock
        self._paused_until = self._silent_until = -float("inf")
        for cls in type(storage).__mro__:
            if cls.__module__.startswith("hishel."):
                logging.getLogger(cls.__module__).addFilter(_QUIET)

    async def find(self, key: str) -> list[Entry]:
        """Return the entries of *key*; none after a failure."""
        return [] if self._paused() else await self._try(self.storage.get_entries(key), [])

    async def body(self, entry: Entry) -> bytes | None:
        """Return the body of *entry*; None if the storage no longer has it."""
        stream = entry.response.stream
        return stream.body if isinstance(stream, Whole) else await self._try(_read_if_there(stream), None)

    async def keep(self, request: Request, response: Response, body: bytes, key: str) -> None:
        """Store a response with its body."""
        if not self._paused():
            whole = Response(response.status_code, response.headers, Whole(body))
            await self._try(self._create(request, whole, key), None)

    async def update(self, entry: Entry) -> None:
        """Store the headers of *entry*, which have changed."""
        if not self._paused():
            await self._try(self.storage.update_headers(entry.id, entry.response.headers), None)

    async def remove(self, id: UUID) -> None:
        """Remove an entry. This is attempted even after a failure, because a remaining entry could be
        served.
        """
        await self._try(self.storage.remove_entry(id), None)

    async def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with *prefix*; none if the storage fails, or cannot list them."""
        return await self._try(keys_in(self.storage, prefix), [])

    async def clear(self, key: str) -> int:
        """Remove the entries of *key*, and return how many there were. This is tried after a failure too."""
        nothing: list[Entry] = []
        found = await self._try(self.storage.get_entries(key), nothing)
        for entry in found:
            await self.remove(entry.id)
        return len(found)

    async def _create(self, request: Request, response: Response, key: str) -> None:
        entry = await self.storage.create_entry(request, response, key)
        stream = entry.response.stream
        if not isinstance(stream, Whole):
            await _read(stream)  # an entry is published when its stream has been read

    def _paused(self) -> bool:
        return self.clock() < self._paused_until

    async def _try(self, work: Coroutine[Any, Any, T], otherwise: T) -> T:
        """Return the result of *work*, or *otherwise* if it fails."""
        failures: list[BaseException | None] = []
        token = _failures.set(failures)
        try:
            return await work
        except Exception as error:
            failures.append(error)
            return otherwise
        finally:
            _failures.reset(token)
            if failures:
                self._failed(failures[-1])

    def _failed(self, error: BaseException | None) -> None:
        now = self.clock()
        if not isinstance(error, _DAMAGE):
            self._paused_until = now + _PAUSE
        if now >= self._silent_until:
            self._silent_until = now + _WARN_EVERY
            # Only the class: the texts of a client library may contain secrets.
            kind = "unknown" if error is None else type(error).__name__
            _logger.warning("The storage of the cache fails (%s): calls go to the server", kind)


async def _read(stream: Any) -> bytes:
    return b"" if stream is None else b"".join([bytes(piece) async for piece in stream])


async def _read_if_there(stream: Any) -> bytes | None:
    try:
        return await _read(stream)
    except RuntimeError:  # as hishel's storages report that the entry was removed meanwhile
        return None
