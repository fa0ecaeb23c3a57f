"""Completes responses of mocked sessions, which only resemble those of aiohttp."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

__all__ = ["Lookalike"]


class Lookalike:
    """The attributes of a response that the transport reads.

    *given* must have a status, and ``read()`` or ``content``. The responses of Home Assistant's mocker, for
    example, have no connection, version, reason or content length.
    """

    connection: Final = None
    version: Final = aiohttp.HttpVersion11

    def __init__(self, given: Any) -> None:
        self.given = given
        self.status = int(given.status)
        self.headers = CIMultiDictProxy(CIMultiDict(getattr(given, "headers", None) or {}))
        reason = getattr(given, "reason", None)
        self.reason = reason if isinstance(reason, str) else _phrase_of(self.status)
        length = self.headers.get("Content-Length", "")
        self.content_length = int(length) if length.isascii() and length.isdigit() else None
        # Read once, because a mock may create a new stream at each access.
        content = getattr(given, "content", None)
        self.content: Any = content if isinstance(content, aiohttp.StreamReader) else _Content(given)

    def close(self) -> None:
        """Close the given response, if its ``close`` is synchronous."""
        close = getattr(self.given, "close", None)
        closing = None if close is None else close()
        if asyncio.iscoroutine(closing):
            closing.close()  # it cannot be awaited here


def _phrase_of(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


class _Content:
    """The body of a response that has only ``read()``, as one chunk."""

    def __init__(self, given: Any) -> None:
        self._given = given
        self._is_read = False
        self.total_bytes = 0

    def is_eof(self) -> bool:
        """Return whether the body was read."""
        return self._is_read

    def exception(self) -> None:
        """Return None, because no error can precede a read."""
        return

    def read_nowait(self) -> bytes:
        """Return no bytes, because nothing is buffered."""
        return b""

    async def read(self) -> bytes:
        """Return the body at the first call, and no bytes afterwards."""
        if self._is_read:
            return b""
        data = await self._given.read()
        if not isinstance(data, bytes):
            raise TypeError(f"read() of the mocked response returned a {type(data).__name__}, not bytes")
        self._is_read = True
        self.total_bytes = len(data)
        return data

    readany = read
