"""The sending of a request body: a payload of aiohttp that detects a stalled peer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any, Final

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from aioapiclient._body.body import Body
from aioapiclient._request import APIRequest
from aioapiclient.errors import APITimeoutError

__all__ = ["AT_ONCE", "Upload"]

AT_ONCE: Final = 64 << 10  # bytes that need no watch, because asyncio buffers that many
# Bytes of one write; the part that the socket does not accept is buffered in memory. With 64 KiB, an upload
# takes 1.15 times the CPU time (CPython 3.11), with 512 KiB the same.
_SLICE: Final = 256 << 10


class Upload(Payload):
    """A body that aiohttp sends in slices, with an error if the peer stops reading it.

    The limit is the request's ``write``: seconds without progress, however slow the whole upload is.
    """

    error: BaseException | None
    """The error for the caller: the exception of their iterable, or the timeout."""

    def __init__(self, body: Body, request: APIRequest) -> None:
        super().__init__(body)
        self.error = None
        self._body = body
        self._request = request

    @property
    def size(self) -> int | None:
        """The length in bytes, for Content-Length; None makes the body chunked."""
        return self._body.size

    @property
    def autoclose(self) -> bool:
        """True, because nothing has to be closed: files belong to the user."""
        return True

    @property
    def consumed(self) -> bool:
        """Whether the body cannot be sent again."""
        return self._body.consumed

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text, for an aiohttp middleware."""
        return self._content().decode(encoding, errors)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return the body unchanged, for an aiohttp middleware that signs it."""
        return self._content()

    def _content(self) -> bytes:
        if self._body.content is None:
            raise TypeError("the body of this request is streamed, so it is not available as bytes")
        return self._body.content

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send the body. *content_length* is ignored, because the body has its own length."""
        self.error = None
        watch = _Watch(self, writer)
        content = self._body.immediate
        try:
            if content is not None:
                await watch.write(content)
            else:
                await self._write_chunks(watch)
            # aiohttp would do this next; done here, the last bytes are watched too, and a failure is
            # detected.
            await watch.finish()
        finally:
            watch.stop()

    async def _write_chunks(self, watch: _Watch) -> None:
        chunks = aiter(self._body)
        try:
            while (chunk := await self._next(chunks)) is not None:
                await watch.write(chunk)
                del chunk
        finally:
            await chunks.aclose()

    async def _next(self, chunks: Any) -> bytes | None:
        try:
            chunk: bytes = await anext(chunks)
        except StopAsyncIteration:
            return None
        except BaseException as error:
            # aiohttp cancels the upload when the call has ended; any other error comes from the user's
            # iterable.
            task = asyncio.current_task()
            if isinstance(error, Exception) or task is None or not task.cancelling():
                self.error = error
            raise
        return chunk

    @property
    def limit(self) -> float | None:
        """Seconds that may pass without progress; None means no limit."""
        seconds = self._request.timeout.write
        return seconds if isinstance(seconds, int | float) else None

    def stall(self, seconds: float) -> None:
        """Record that no progress was made for *seconds*."""
        request = self._request
        self.error = APITimeoutError(
            f"{request.label}: the server accepted no byte of the body within {seconds:g} s (write)",
            phase="write",
            request=request,
            retries_taken=request.attempt,
        )


class _Watch:
    """Checks during writes whether the buffer of the socket shrinks.

    The time that the user's iterable takes to produce a chunk does not count.
    """

    __slots__ = ("_left", "_limit", "_loop", "_progress", "_timer", "_upload", "_writer")

    def __init__(self, upload: Upload, writer: Any) -> None:
        self._upload = upload
        self._writer = writer
        self._limit = upload.limit
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._progress: float | None = None  # time of the last progress; None while nothing is being written
        self._left = 0

    async def write(self, data: bytes) -> None:
        """Write *data*, slice by slice."""
        if len(data) <= _SLICE:
            await self._watched(self._writer.write(data))
            return
        view = memoryview(data)
        for start in range(0, len(view), _SLICE):
            await self._watched(self._writer.write(view[start : start + _SLICE]))

    async def finish(self) -> None:
        """Write the end of the body, and wait until the writer has drained."""
        await self._watched(self._writer.write_eof())

    async def _watched(self, writing: Awaitable[None]) -> None:
        limit = self._limit
        if limit is not None:
            self._progress, self._left = self._loop.time(), sys.maxsize
            if self._timer is None:
                self._timer = self._loop.call_later(limit / 4, self._look, limit)
        try:
            await writing
        finally:
            self._progress = None

    def _look(self, limit: float) -> None:
        transport = self._writer.transport
        if transport is None:
            return
        if self._progress is not None:
            left, now = transport.get_write_buffer_size(), self._loop.time()
            if left < self._left:
                self._left, self._progress = left, now
            elif now - self._progress >= limit:
                self._upload.stall(limit)
                transport.abort()
                return
        self._timer = self._loop.call_later(limit / 4, self._look, limit)

    def stop(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
