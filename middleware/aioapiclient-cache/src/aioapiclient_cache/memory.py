"""`MemoryStorage`: entries in the memory of this process; the least recently used one is dropped first."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from itertools import count
from typing import Any, Final

from hishel import AsyncBaseStorage, Entry, Headers, Request, Response

from aioapiclient.contract import check_whole

from ._whole import Whole

__all__ = ["MemoryStorage"]

_OVERHEAD: Final = 1000  # bytes of an entry besides its texts
_numbers: Final = count(1)  # of entries: they need no randomness, because they do not leave this process


class MemoryStorage(AsyncBaseStorage):
    """Keeps entries in memory, for the clients of one process.

    Args:
        max_bytes: The most bytes of bodies and headers, 32 MiB by default.
        max_entries: The most entries, 10,000 by default.

    Raises:
        InvalidRequestError: A number is negative.
        TypeError: An argument is not a whole number.
    """

    def __init__(self, max_bytes: int = 32 << 20, max_entries: int = 10_000) -> None:
        super().__init__()
        self.max_bytes: int = check_whole("max_bytes", max_bytes, unit="bytes")
        self.max_entries: int = check_whole("max_entries", max_entries, unit="entries")
        self._items: OrderedDict[uuid.UUID, _Item] = OrderedDict()
        self._ids: dict[str, list[uuid.UUID]] = {}
        self._size = 0

    def __repr__(self) -> str:
        return f"<MemoryStorage: {len(self._items)} entries, {self._size} bytes>"

    async def create_entry(
        self,
        request: Request,
        response: Response,
        key: str,
        *,
        ttl: float | None = None,
        tti: float | None = None,
    ) -> Entry:
        """Return an entry whose stream, read to its end, publishes it. A body in memory is published now.

        Args:
            request: The request to keep.
            response: The response to keep, with its body as the stream.
            key: The key to find it by.
            ttl: Seconds after which it is dropped. None (the default) keeps it until space is needed.
            tti: Seconds without use after which it is dropped. None by default.
        """
        now = time.time()
        item = _Item(key, request, response, *self._limits(ttl, tti, now), now)
        stream = response.stream
        if isinstance(stream, Whole):
            self._publish(item, stream.body)
            return Entry(item.id, request, response)
        return Entry(item.id, request, item.response_with(self._save(item, stream)))

    async def get_entries(self, key: str) -> list[Entry]:
        """Return the entries of a key.

        Args:
            key: The key under which they were stored.
        """
        found: list[Entry] = []
        for id in tuple(self._ids.get(key, ())):
            item = self._items[id]
            if item.mortal:
                now = time.time()
                if (self._expires_at(item.deadline, item.tti, item.used) or now) <= now:
                    self._drop(id)
                    continue
                item.used = now
            self._items.move_to_end(id)
            found.append(Entry(id, item.request, item.response_with(Whole(item.body))))
        return found

    async def update_headers(self, id: uuid.UUID, headers: Headers) -> None:
        """Replace the headers of a stored response.

        Args:
            id: The ID of its entry; an unknown one is ignored.
            headers: The new headers.
        """
        item = self._items.get(id)
        if item is not None:
            self._size -= item.size
            item.headers = headers
            self._size += item.measure()
            self._make_room()

    async def remove_entry(self, id: uuid.UUID) -> None:
        """Remove an entry.

        Args:
            id: Its ID; an unknown one is ignored.
        """
        self._drop(id)

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys of the entries.

        Args:
            prefix: How the keys begin. By default all are returned.
        """
        return [key for key in self._ids if key.startswith(prefix)]

    def clear(self) -> int:
        """Remove all entries, and return their number."""
        count = len(self._items)
        self._items.clear()
        self._ids.clear()
        self._size = 0
        return count

    async def _save(self, item: _Item, stream: Any) -> AsyncIterator[bytes]:
        """Yield the body of *item*, and publish the entry at the end."""
        pieces: list[bytes] = []
        if stream is not None:
            async for piece in stream:
                pieces.append(piece)
                yield piece
        self._publish(item, b"".join(pieces))

    def _publish(self, item: _Item, body: bytes) -> None:
        item.body = body
        if item.measure() <= self.max_bytes and self.max_entries:
            self._items[item.id] = item
            self._ids.setdefault(item.key, []).append(item.id)
            self._size += item.size
            self._make_room()

    def _make_room(self) -> None:
        while self._size > self.max_bytes or len(self._items) > self.max_entries:
            self._drop(next(iter(self._items)))

    def _drop(self, id: uuid.UUID) -> None:
        item = self._items.pop(id, None)
        if item is None:
            return
        self._size -= item.size
        ids = self._ids[item.key]
        ids.remove(id)
        if not ids:
            del self._ids[item.key]


class _Item:
    """An entry and its body."""

    __slots__ = (
        "body", "deadline", "headers", "id", "key", "mortal", "request", "size", "status", "tti", "used"
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        request: Request,
        response: Response,
        deadline: float | None,
        tti: float | None,
        now: float,
    ) -> None:
        self.id = uuid.UUID(int=next(_numbers))
        self.key = key
        self.request = request
        self.status = response.status_code
        self.headers = response.headers
        self.body = b""
        self.size = 0
        self.deadline = deadline
        self.tti = tti
        self.used = now
        self.mortal = deadline is not None or tti is not None

    def response_with(self, stream: AsyncIterator[bytes]) -> Response:
        """Return the response with *stream* as its body."""
        return Response(self.status, self.headers, stream)

    def measure(self) -> int:
        """Estimate the bytes that it occupies."""
        texts = len(str(self.request.headers)) + len(str(self.headers))
        self.size = _OVERHEAD + texts + len(self.body)
        return self.size
