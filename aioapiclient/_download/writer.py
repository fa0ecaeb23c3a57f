"""Writes in a worker thread, to which the event loop passes chunks without waiting for each write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

__all__ = ["ThreadWriter"]

# Batches in the queue. With 2, a download took up to 1.1 times the CPU time, with 4 or 8 the same.
_MOST_WAITING: Final = 3
_MOST_AT_ONCE: Final = 32  # batches of one job; after them, other jobs get the thread
_PATIENCE: Final = 0.002  # seconds that a job waits for another batch


class ThreadWriter:
    """Writes batches of chunks one after the other, in the event loop's default executor.

    A job stays for the next batches as long as they come quickly: with a job for each batch of 1 MiB, a
    download to a file took 1.3 times the CPU time. Otherwise the thread returns to the executor, so that
    slow downloads do not occupy it.
    """

    def __init__(self, write: Callable[[list[bytes], Any], None]) -> None:
        self._write = write
        self._batches: SimpleQueue[tuple[list[bytes], Any] | None] = SimpleQueue()  # None ends a job
        self._job: asyncio.Future[Exception | None] | None = None

    async def add(self, chunks: list[bytes], checksum: Any) -> None:
        """Pass the arguments of a write to the thread; wait only if too many are already waiting.

        Raises:
            OSError: This or an earlier write failed.
        """
        self._batches.put((chunks, checksum))
        self._ensure_job()
        if self._batches.qsize() >= _MOST_WAITING:
            await self.flush()

    async def flush(self) -> None:
        """Wait until everything is written.

        Raises:
            OSError: A write failed.
        """
        if self._ensure_job() is not None:
            self._batches.put(None)
        # A job that ended by itself has not seen the latest batches.
        while (job := self._ensure_job()) is not None:
            await asyncio.wait((job,))

    def stop(self) -> None:
        """Write nothing more; a write that has begun may end later."""
        with suppress(Empty):
            while True:
                self._batches.get_nowait()
        self._batches.put(None)

    def _ensure_job(self) -> asyncio.Future[Exception | None] | None:
        """Return the running job, and start one if necessary; return None if everything is written."""
        if self._job is not None and self._job.done():
            error, self._job = self._job.result(), None
            if error is not None:
                raise error
        if self._job is None and not self._batches.empty():
            self._job = asyncio.get_running_loop().run_in_executor(None, self._run)
        return self._job

    def _run(self) -> Exception | None:
        # The error is returned, because asyncio reports an exception that nobody retrieves after `stop`.
        try:
            for _ in range(_MOST_AT_ONCE):
                batch = self._batches.get(timeout=_PATIENCE)
                if batch is None:
                    break
                self._write(*batch)
        except Empty:
            pass
        except Exception as error:
            return error
        return None
