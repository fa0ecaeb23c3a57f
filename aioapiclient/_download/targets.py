"""The target of a download: a file that is replaced at the end, or a device that receives bytes immediately.

====================================  =======================================================
the path leads to                     then
====================================  =======================================================
nothing, or a regular file            the bytes go into a file beside it, which replaces it
a file that cannot be replaced        the bytes are stored, and copied into it at the end
a FIFO, a terminal, another device    the bytes are written to it as they arrive
a descriptor, such as `/dev/stdout`   the bytes are written from its current position
====================================  =======================================================

Symbolic links are followed and kept. An unwritable target fails in `open`, before the body is read.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import shutil
import stat
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, Final

from aioapiclient._memory import keep_memory

from .writer import ThreadWriter

__all__ = ["Target", "find_target"]

# Bytes of one write. With 256 KiB, a download to a file took 1.4 times the CPU time, with 512 KiB 1.1 times,
# with 2 MiB the same (CPython 3.11 and 3.15).
_BATCH: Final = 1 << 20
_MOST_CHUNKS: Final = 1024  # chunks of one write: the limit of Linux and macOS
_MOST_LINKS: Final = 40  # the limit of Linux
_READER_WAIT: Final = 0.05  # seconds between two checks for the reader of a FIFO, which causes no event
_PIPE_SLICE: Final = getattr(select, "PIPE_BUF", 512)  # bytes that a writable pipe accepts without blocking

# Errors of a directory that permits no new file, although the file itself may be writable.
_CLOSED_DIRECTORY: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
# Errors of a mount point, another file system, or a sticky directory.
_NOT_REPLACEABLE: Final = frozenset({errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM})
_NO_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EROFS})


class Target(ABC):
    """A destination for bytes. No method blocks the event loop."""

    batch: int = _BATCH
    """The number of bytes to collect for one `write`."""

    @abstractmethod
    async def open(self) -> None:
        """Open the target; raise `OSError` if it cannot be written."""

    @abstractmethod
    async def write(self, chunks: list[bytes], checksum: Any) -> None:
        """Append *chunks*, and update *checksum* with them, at the latest in `flush`."""

    @abstractmethod
    async def flush(self) -> None:
        """Wait until everything is written; raise `OSError` if that failed."""

    @abstractmethod
    async def restart(self) -> bool:
        """Start over with an empty target; return False if written bytes cannot be removed."""

    @abstractmethod
    async def commit(self) -> None:
        """Finish a complete download."""

    @abstractmethod
    async def discard(self) -> None:
        """Release everything after a failure; do nothing after `commit`."""


async def find_target(path: str | os.PathLike[str]) -> Target:
    """Return the target of *path*, without opening it.

    Raises:
        OSError: The path is a directory, or cannot be followed.
        TypeError: The path has another type.
    """
    name = os.fspath(path)
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"path must be a str or an os.PathLike of str, not {type(path).__name__}")
    return await asyncio.to_thread(_find, name)


def _find(path: str) -> Target:
    found = _follow(path)
    if isinstance(found, int):
        return _Device(found)
    try:
        mode = os.stat(found).st_mode
    except FileNotFoundError:
        return _File(found)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return _File(found) if stat.S_ISREG(mode) else _Device(found)


def _follow(path: str) -> str | int:
    """Follow symbolic links to the path of a file, or to the number of a descriptor of this process.

    If a shell redirected ``/dev/stdout`` to a file, that file must not be opened by its path: writing would
    start at its beginning and overwrite other output.
    """
    start, descriptors = path, ("/dev/fd", f"/proc/{os.getpid()}/fd")
    for _ in range(_MOST_LINKS):
        directory, name = os.path.split(path)
        if name.isdecimal() and os.path.realpath(directory) in descriptors:
            return int(name)
        if not os.path.islink(path):
            return path
        path = os.path.join(directory, os.readlink(path))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), start)


# --- files


class _File(Target):
    """A regular file, written in a thread."""

    def __init__(self, path: str) -> None:
        self._part = _PartFile(path)
        self._writer = ThreadWriter(self._part.write)

    async def open(self) -> None:
        """Create the file beside the target."""
        keep_memory()
        await asyncio.to_thread(self._part.open)

    async def write(self, chunks: list[bytes], checksum: Any) -> None:
        """Append *chunks* to that file soon, and update *checksum* with them."""
        await self._writer.add(chunks, checksum)

    async def flush(self) -> None:
        """Wait until everything is written."""
        await self._writer.flush()

    async def restart(self) -> bool:
        """Start over with an empty file."""
        await self.flush()
        await asyncio.to_thread(self._part.restart)
        return True

    async def commit(self) -> None:
        """Replace the target."""
        await asyncio.to_thread(self._part.commit)

    async def discard(self) -> None:
        """Remove the file beside the target; do nothing after `commit`."""
        self._writer.stop()
        await _finish(self._part.discard)


async def _finish(release: Any) -> None:
    # In a thread, because it may wait for a write there; shielded, because a cancellation would leak the
    # file.
    await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, release))


class _PartFile:
    """The file beside the target, for worker threads, so that a cancelled wait leaves nothing behind."""

    def __init__(self, target: str) -> None:
        self._target = target
        directory, name = os.path.split(target)
        self._path: str | None = os.path.join(directory, f".{name[:40]}.{os.urandom(8).hex()}.part")
        self._file: BinaryIO | None = None
        self._is_over = False
        self._lock = threading.Lock()

    def open(self) -> None:
        """Create the file, whose name must not exist yet, not even as a link."""
        with self._lock:
            if self._is_over:
                return
            if not self._target:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._target)
            exists = os.path.exists(self._target)
            try:
                # Unbuffered: `_write_all` writes to the descriptor.
                self._file = open(self._path or "", "x+b", 0)  # noqa: SIM115 (closed by commit and discard)
            except OSError as error:
                if not exists or error.errno not in _CLOSED_DIRECTORY:
                    raise
                self._path = None
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed by commit and discard)
            if exists:
                _check_writable(self._target, self._path)

    def write(self, chunks: list[bytes], checksum: Any) -> None:
        """Append *chunks*, and update *checksum* with them."""
        with self._lock:
            if self._file is not None:
                if checksum is not None:
                    for chunk in chunks:
                        checksum.update(chunk)
                _write_all(self._file.fileno(), chunks)

    def restart(self) -> None:
        """Start over with an empty file."""
        with self._lock:
            if self._file is not None:
                self._file.seek(0)
                self._file.truncate()

    def commit(self) -> None:
        """Replace the target after a sync to disk, so that a crash does not leave half a file."""
        with self._lock:
            file = self._file
            if file is not None:
                _sync(file)
                if not self._replace(file):
                    self._copy(file)
                self._file = None

    def _replace(self, file: BinaryIO) -> bool:
        if self._path is None:
            return False
        try:
            # Windows cannot replace a target by an open file; on other systems the open file may be copied.
            if os.name == "nt":
                file.close()
            os.replace(self._path, self._target)
        except OSError as error:
            if file.closed or error.errno not in _NOT_REPLACEABLE or not os.path.isfile(self._target):
                raise
            return False
        file.close()
        return True

    def _copy(self, file: BinaryIO) -> None:
        file.seek(0)
        try:
            with _open_in_place(self._target) as target:
                shutil.copyfileobj(file, target, _BATCH)
                target.truncate()
                _sync(target)
        except OSError as error:
            error.add_note(f"{self._target!r} was written in place, and may be damaged")
            raise
        self._remove(file)

    def _remove(self, file: BinaryIO) -> None:
        # Bytes that could not be written before cannot be flushed now either.
        with suppress(OSError):
            file.close()
        if self._path is not None:
            os.unlink(self._path)

    def discard(self) -> None:
        """Close and remove the file, unless it was committed. Later calls do nothing."""
        with self._lock:
            self._is_over = True
            file, self._file = self._file, None
            if file is not None:
                self._remove(file)


def _write_all(descriptor: int, chunks: list[bytes]) -> None:
    """Write *chunks* with as few system calls as possible, because each releases and reacquires the GIL.

    With chunks of 16 KiB, one call for each took about 1.25 times the CPU time (CPython 3.11, a busy
    machine).
    """
    done = 0
    while done < len(chunks):
        written = _write_some(descriptor, chunks[done : done + _MOST_CHUNKS])
        while done < len(chunks) and written >= len(chunks[done]):
            written -= len(chunks[done])
            done += 1
        if written:  # the disk is nearly full, or a limit is near: the next call raises
            chunks[done] = chunks[done][written:]


def _write_first(descriptor: int, chunks: list[bytes]) -> int:
    return os.write(descriptor, chunks[0])


_write_some: Final[Callable[[int, list[bytes]], int]] = getattr(os, "writev", _write_first)  # not on Windows


def _check_writable(target: str, part: str | None) -> None:
    """Raise `OSError` if *target* can neither be replaced by *part* nor be written in place."""
    try:
        _open_in_place(target).close()
    except OSError as error:
        # A file without write permission, or the file of a running program, can still be replaced.
        is_replaceable = part is not None and error.errno in {errno.EACCES, errno.ETXTBSY}
        if not is_replaceable or _is_fixed(target, f"{part}.link"):
            raise


def _is_fixed(target: str, link: str) -> bool:
    """Return whether *target* is a mount point, or another user's file in a sticky directory."""
    directory = os.stat(os.path.dirname(target) or ".")
    if directory.st_mode & stat.S_ISVTX:
        return os.geteuid() not in {0, directory.st_uid, os.stat(target).st_uid}
    try:
        os.link(target, link)
    except OSError as error:
        return error.errno == errno.EXDEV  # also for a bind mount, which has the device of the directory
    os.unlink(link)
    return False


def _open_in_place(path: str) -> BinaryIO:
    return open(path, "wb", opener=_open_as_it_is)


def _open_as_it_is(path: str, flags: int) -> int:
    return os.open(path, flags & ~(os.O_TRUNC | os.O_CREAT))


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


# --- devices


class _Device(Target):
    """A target that is not a regular file, or a descriptor given by its number. It is never replaced."""

    batch = 0  # the reader at the other end expects bytes as they arrive

    def __init__(self, place: str | int) -> None:
        self._place = place
        self._descriptor = -1
        self._waits = False
        self._slice = _PIPE_SLICE
        self._written = False
        self._lock = threading.Lock()

    async def open(self) -> None:
        """Open the device, or duplicate the descriptor."""
        if isinstance(self._place, int):
            self._descriptor = os.dup(self._place)
            os.write(self._descriptor, b"")  # fails for a descriptor that is open only for reading
        else:
            self._descriptor = await _open_node(self._place)
            self._slice = _BATCH
        mode = os.fstat(self._descriptor).st_mode
        self._waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(self._descriptor)

    async def write(self, chunks: list[bytes], checksum: Any) -> None:
        """Write *chunks*, and update *checksum* with them."""
        self._written = True
        if self._waits:
            for chunk in chunks:
                await self._write_waiting(memoryview(chunk))
        else:
            await asyncio.to_thread(self._write_all, chunks)
        if checksum is not None:
            await asyncio.to_thread(checksum.update, b"".join(chunks))

    async def _write_waiting(self, view: memoryview) -> None:
        """Write in the event loop, because a slow reader would block a thread."""
        while view:
            # A descriptor of the caller may block, so wait until it accepts a slice.
            if self._slice == _PIPE_SLICE:
                await _until_writable(self._descriptor)
            try:
                view = view[os.write(self._descriptor, view[: self._slice]) :]
            except BlockingIOError:
                await _until_writable(self._descriptor)

    def _write_all(self, chunks: list[bytes]) -> None:
        with self._lock:
            for chunk in chunks:
                view = memoryview(chunk)
                while view and self._descriptor >= 0:
                    view = view[os.write(self._descriptor, view) :]

    async def flush(self) -> None:
        """Do nothing, because `write` has waited."""

    async def restart(self) -> bool:
        """Return whether nothing was written, because written bytes cannot be removed."""
        return not self._written

    async def commit(self) -> None:
        """Sync the device, if possible, and close the descriptor."""
        if not self._waits:
            await asyncio.to_thread(self._sync)
        await self.discard()

    def _sync(self) -> None:
        with self._lock:
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                if error.errno not in _NO_SYNC:
                    raise

    async def discard(self) -> None:
        """Close the descriptor."""
        await _finish(self._close)

    def _close(self) -> None:
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)


async def _open_node(path: str) -> int:
    """Open a device for writing; wait for the reader of a FIFO, as a shell does."""
    flags = os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    while True:
        try:
            return os.open(path, flags)
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(os.stat(path).st_mode):
                raise
        await asyncio.sleep(_READER_WAIT)


async def _until_writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    writable: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, _set, writable)
    try:
        await writable
    finally:
        loop.remove_writer(descriptor)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
