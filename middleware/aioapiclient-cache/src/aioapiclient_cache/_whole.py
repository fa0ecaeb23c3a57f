"""`Whole`: a body that is in memory, in the form of a stream, which is how hishel's storages take bodies."""

from __future__ import annotations

from collections.abc import AsyncIterator

__all__ = ["Whole"]


class Whole(AsyncIterator[bytes]):
    """A stream of one piece. Code that knows this class reads `body` instead, without a step of iteration.

    Args:
        body: The body.
    """

    __slots__ = ("_was_read", "body")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._was_read = False

    async def __anext__(self) -> bytes:
        if self._was_read:
            raise StopAsyncIteration
        self._was_read = True
        return self.body
