"""`keys_in`: the keys of a storage, by whichever process they were stored.

The interface of hishel's storages finds entries by their key only. SQLite and Redis can list keys, so this
module asks them: it reads the table of an `AsyncSqliteStorage`, and the client and prefix of an
`AsyncRedisStorage`, which are private attributes. The tests hold them, for each version of hishel.
"""

from __future__ import annotations

import re
import time
from typing import Any, Final

from hishel import AsyncBaseStorage, AsyncRedisStorage, AsyncSqliteStorage

from .memory import MemoryStorage

__all__ = ["keys_in"]

_AT_ONCE: Final = 1000  # keys that Redis looks at in one step
_GLOB: Final = re.compile(r"[\\*?\[\]^]")


async def keys_in(storage: AsyncBaseStorage, prefix: str) -> list[str]:
    """Return the keys that begin with *prefix*; none of a storage that cannot list them."""
    if isinstance(storage, MemoryStorage):
        return storage.keys(prefix)
    if isinstance(storage, AsyncSqliteStorage):
        return await _in_sqlite(storage, prefix)
    if isinstance(storage, AsyncRedisStorage):
        return await _in_redis(storage, prefix)
    return []


async def _in_sqlite(storage: AsyncSqliteStorage, prefix: str) -> list[str]:
    await storage.get_entries(prefix)  # which opens the database
    connection: Any = storage.connection
    if connection is None:
        return []
    cursor = await connection.cursor()
    await cursor.execute(
        "SELECT DISTINCT cache_key FROM entries WHERE cache_key >= ? AND cache_key < ?"
        " AND (expires_at IS NULL OR expires_at > ?)",
        (prefix.encode(), prefix.encode() + b"\xff", time.time()),
    )
    return [bytes(row[0]).decode() for row in await cursor.fetchall()]


async def _in_redis(storage: AsyncRedisStorage, prefix: str) -> list[str]:
    private: Any = storage
    start = f"{private._key_prefix}:idx:"
    pattern = _GLOB.sub(r"\\\g<0>", start + prefix) + "*"
    found = [key async for key in private._client.scan_iter(match=pattern, count=_AT_ONCE)]
    # A scan may name a key twice.
    return list({bytes(key).decode().removeprefix(start) for key in found})
