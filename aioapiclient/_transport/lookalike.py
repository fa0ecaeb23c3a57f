"""Responses that only resemble aiohttp's, as mocks of sessions answer with them, completed."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

__all__ = ["Lookalike"]


class Lookalike:
    """What the transport reads of a response; *given* needs a status, and ``read()`` or ``content``.

    Home Assistant's mocker, for one, has no connection, version, reason or content length.
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
        # Read once: a mock may make another stream each time.
        content = getattr(given, "content", None)
        self.content: Any = content if isinstance(content, aiohttp.StreamReader) else _Content(given)

    def close(self) -> None:
        """Close what was given, where it can be closed at once."""
        close = getattr(self.given, "close", None)
        closing = None if close is None else close()
        if asyncio.iscoroutine(closing):
            closing.close()  # nothing waits for it


def _phrase_of(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


class _Content:
    """The body of a response that has nothing but ``read()``, in one piece."""

    def __init__(self, given: Any) -> None:
        self._given = given
        self._is_read = False
        self.total_bytes = 0

    def is_eof(self) -> bool:
        """Whether it was read."""
        return self._is_read

    def exception(self) -> None:
        """No error that came before a read."""
        return

    def read_nowait(self) -> bytes:
        """Nothing is left of what was read."""
        return b""

    async def read(self) -> bytes:
        """The body, once."""
        if self._is_read:
            return b""
        data = await self._given.read()
        if not isinstance(data, bytes):
            raise TypeError(f"read() of the mocked response gave a {type(data).__name__}, not bytes")
        self._is_read = True
        self.total_bytes = len(data)
        return data

    readany = read
