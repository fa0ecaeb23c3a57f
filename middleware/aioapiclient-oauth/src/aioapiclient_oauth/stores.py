"""Stores of tokens between calls, and between processes: in memory, or in a file."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec

from .errors import OAuthError

__all__ = ["FileStore", "MemoryStore", "TokenStore", "Tokens"]


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of a login: an access token and its refresh token. The ``repr`` shows neither."""

    access_token: str
    """The token that calls send."""

    refresh_token: str | None = None
    """The token that renews it; None if the server gave none."""

    expires_at: float | None = None
    """When the access token expires, in seconds since 1970; None if the server does not specify it."""

    scope: str | None = None
    """The granted scope, if the server named it."""

    owner: str = ""
    """Token endpoint and client id: tokens of another client are ignored, and never sent to this one."""

    def __repr__(self) -> str:
        return f"Tokens(expires_at={self.expires_at}, scope={self.scope!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own repr has every field: rich would print the tokens.
        return [("expires_at", self.expires_at), ("scope", self.scope)]

    def seconds_left(self) -> float | None:
        """Return the seconds until the access token expires; None if unknown."""
        return None if self.expires_at is None else self.expires_at - time.time()


class TokenStore(Protocol):
    """Keeps one login. `OAuth2` loads and saves while it holds the lock."""

    def locked(self) -> AbstractAsyncContextManager[None]:
        """Admit one holder at a time, of all stores that share the tokens."""
        ...

    async def load(self) -> Tokens | None:
        """Return the tokens saved last; None if none are stored."""
        ...

    async def save(self, tokens: Tokens | None, /) -> None:
        """Replace the stored tokens by *tokens*; None removes them."""
        ...


class MemoryStore:
    """Keeps a login while the process runs."""

    def __init__(self, tokens: Tokens | None = None) -> None:
        self._tokens = tokens
        self._lock = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return "MemoryStore()"

    @asynccontextmanager
    async def locked(self) -> AsyncGenerator[None, None]:
        """Admit one task at a time."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # a lock belongs to the loop in which it was first awaited
            self._loop, self._lock = loop, asyncio.Lock()
        async with self._lock:
            yield

    async def load(self) -> Tokens | None:
        """Return the tokens saved last."""
        return self._tokens

    async def save(self, tokens: Tokens | None, /) -> None:
        """Replace the stored tokens by *tokens*."""
        self._tokens = tokens


_LOCK_SECONDS = 60.0  # seconds; twice the longest time that a lock's holder waits for its server
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.2  # seconds between two attempts to get the lock


class FileStore:
    """Keeps a login in a file that processes share, readable by its owner only (mode 0600).

    The file is replaced as a whole, under a lock (``flock`` on a second file, ``.lock``), so that a
    single-use refresh token is used once. Keep one login per file. The file system must be local, on Linux,
    macOS or another Unix.

    Args:
        path: The file. Its folder is created if it is missing.

    Raises:
        NotImplementedError: The system is Windows, which has no ``flock``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if sys.platform == "win32":
            raise NotImplementedError("FileStore needs flock, which Windows does not have")
        self._path = Path(path).expanduser()

    def __repr__(self) -> str:
        return f"FileStore({str(self._path)!r})"

    @asynccontextmanager
    async def locked(self) -> AsyncGenerator[None, None]:
        """Admit one holder at a time, of all processes.

        Raises:
            OAuthError: Another process has held the lock for a minute.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            await self._wait_for(lock)
            yield
        finally:
            os.close(lock)  # which also releases the lock

    async def _wait_for(self, lock: int) -> None:
        pause = _FIRST_PAUSE
        give_up = time.monotonic() + _LOCK_SECONDS
        while not _try_lock(lock):
            if time.monotonic() > give_up:
                raise OAuthError(f"{self._path}: another process has held its lock for {_LOCK_SECONDS:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    async def load(self) -> Tokens | None:
        """Return the tokens in the file; None if it is missing or has other contents."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Tokens)
        except (FileNotFoundError, msgspec.DecodeError, RecursionError):
            return None

    async def save(self, tokens: Tokens | None, /) -> None:
        """Replace the file; None removes it."""
        if tokens is None:
            self._path.unlink(missing_ok=True)
        else:
            _replace(self._path, msgspec.json.encode(tokens))


def _try_lock(lock: int) -> bool:
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _replace(path: Path, content: bytes) -> None:
    # mkstemp makes the file with mode 0600. Readers see the complete old file or the complete new one.
    file, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(file, "wb") as writer:
            writer.write(content)
            writer.flush()
            os.fsync(writer.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
