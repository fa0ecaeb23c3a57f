"""Where the body of a response comes from. A source raises this library's errors, whatever is under it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from aioapiclient._request import APIRequest
from aioapiclient.errors import BodyTooLargeError

__all__ = ["BodySource", "BytesSource", "in_turn", "told"]


class BodySource(Protocol):
    """The source of a response body. A transport passes one with every response."""

    async def read(self, limit: int | None) -> bytes:
        """Return the rest of the body; raise `BodyTooLargeError` past *limit* bytes, decompressed."""
        ...

    def read_nowait(self, limit: int | None) -> bytes | None:
        """Return the rest of the body if it has arrived and has at most *limit* bytes, else None."""
        ...

    async def read_chunk(self) -> bytes:
        """Return the next bytes, decompressed, as they arrive; empty at the end."""
        ...

    def close(self) -> None:
        """Release the connection if the body has ended, else close it. Safe to call again."""
        ...

    def abort(self, error: Exception) -> None:
        """Close the connection. Pending and later reads raise *error*."""
        ...


class BytesSource:
    """A body that is already in memory."""

    __slots__ = ("_body", "_error", "_request")

    def __init__(self, body: bytes, request: APIRequest | None = None) -> None:
        self._body = body
        self._request = request
        self._error: Exception | None = None

    async def read(self, limit: int | None) -> bytes:
        """Return the complete body."""
        if limit is not None and len(self._body) > limit:
            raise BodyTooLargeError(
                f"the body has more than {limit} bytes", limit=limit, request=self._request
            )
        return await self.read_chunk()

    def read_nowait(self, limit: int | None) -> bytes | None:
        """Return the complete body, unless it is too large or the source was aborted."""
        if self._error is not None or (limit is not None and len(self._body) > limit):
            return None
        body, self._body = self._body, b""
        return body

    async def read_chunk(self) -> bytes:
        """Return the complete body at the first call, and no bytes afterwards."""
        if self._error is not None:
            raise self._error
        body, self._body = self._body, b""
        return body

    def close(self) -> None:
        """Do nothing, because no connection has to be released."""

    def abort(self, error: Exception) -> None:
        """Make later reads raise *error*."""
        self._error = error


def in_turn(first: Callable[[int], object], second: Callable[[int], object]) -> Callable[[int], object]:
    """Return a function that calls both with the same size."""

    def call_both(size: int) -> None:
        first(size)
        second(size)

    return call_both


def told(
    read_chunk: Callable[[], Awaitable[bytes]], callback: Callable[[int], object]
) -> Callable[[], Awaitable[bytes]]:
    """Return *read_chunk* wrapped so that *callback* receives the size of each chunk."""

    async def read() -> bytes:
        chunk = await read_chunk()
        if chunk:
            callback(len(chunk))
        return chunk

    return read
