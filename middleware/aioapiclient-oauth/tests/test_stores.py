"""`FileStore`: mode, lock, atomic replacement, and a broken file."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from aioapiclient_oauth import FileStore, OAuthError, Tokens, stores


def modes(folder: Path) -> dict[str, int]:
    """The files of *folder*, each with its mode."""
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


TOKENS = Tokens(access_token="a", refresh_token="r", expires_at=2e9, scope="s", owner="o")


async def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Tokens are loaded as they were saved; a missing folder is created."""
    store = FileStore(tmp_path / "new" / "tokens.json")
    async with store.locked():
        assert await store.load() is None
        await store.save(TOKENS)

    assert await FileStore(tmp_path / "new" / "tokens.json").load() == TOKENS
    await store.save(None)
    await store.save(None)
    assert await store.load() is None


async def test_only_the_owner_reads_the_file(tmp_path: Path) -> None:
    """File and lock have mode 0600 under any umask, and a file that others could read is replaced."""
    path = tmp_path / "tokens.json"
    path.touch(0o666)
    before = os.umask(0)
    try:
        async with FileStore(path).locked():
            await FileStore(path).save(TOKENS)
    finally:
        os.umask(before)

    assert modes(tmp_path) == {"tokens.json": 0o600, "tokens.json.lock": 0o600}


async def test_a_failed_save_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk is full, the old tokens are kept, and no other file is left."""
    store = FileStore(tmp_path / "tokens.json")
    await store.save(TOKENS)

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        await store.save(Tokens(access_token="b"))

    assert await store.load() == TOKENS
    assert modes(tmp_path) == {"tokens.json": 0o600}


@pytest.mark.parametrize("content", [b"", b"{", b'{"access_token": 7}', b"[" * 100_000, b"\xff"])
async def test_a_broken_file_is_nothing(content: bytes, tmp_path: Path) -> None:
    """A file that does not decode counts as no login."""
    (tmp_path / "tokens.json").write_bytes(content)

    assert await FileStore(tmp_path / "tokens.json").load() is None


async def test_one_holder_at_a_time(tmp_path: Path) -> None:
    """Two stores for one file exclude each other; a cancelled waiter leaves no lock behind."""
    first, second = FileStore(tmp_path / "t"), FileStore(tmp_path / "t")
    order: list[str] = []

    async def hold(store: FileStore, name: str) -> None:
        async with store.locked():
            order.append(name)

    async with first.locked():
        cancelled = asyncio.create_task(hold(second, "cancelled"))
        waiting = asyncio.create_task(hold(second, "second"))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        order.append("first")
    await waiting

    assert order == ["first", "second"]


async def test_a_lock_that_is_never_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that hangs is given up with an error that names the file."""
    monkeypatch.setattr(stores, "_LOCK_SECONDS", 0.0)
    async with FileStore(tmp_path / "t").locked():
        with pytest.raises(OAuthError, match="another process has held its lock"):
            async with FileStore(tmp_path / "t").locked():
                pass


async def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    """The system releases the lock of a process that dies."""
    program = (
        "import asyncio, os, sys\n"
        "from aioapiclient_oauth import FileStore\n"
        "async def main():\n"
        "    async with FileStore(sys.argv[1]).locked():\n"
        "        os._exit(7)\n"
        "asyncio.run(main())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "t")]
    done = await asyncio.to_thread(subprocess.run, command, timeout=60, check=False)

    async with FileStore(tmp_path / "t").locked():
        assert done.returncode == 7


def test_windows_has_no_flock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a system without flock, creating the store raises an error that names it."""
    monkeypatch.setattr(sys, "platform", "win32")

    with pytest.raises(NotImplementedError, match="flock"):
        FileStore(tmp_path / "t")
