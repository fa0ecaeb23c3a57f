"""Files of the caller's: where they end, and what several bodies that are made of one remember of it."""

from __future__ import annotations

import io
import os
import stat
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from aioapiclient.errors import InvalidRequestError

__all__ = ["NO_END", "NO_WAIT", "Use", "end_of_file", "end_of_path", "reaches", "use_of"]

NO_WAIT: Final[int] = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""Flags to open a device with: neither opening nor reading it blocks."""

NO_END: Final = -1
"""The end of what cannot seek: a device, a FIFO, a pipe."""

_Named: TypeAlias = int | str | os.PathLike[str]


def end_of_path(path: str | os.PathLike[str], what: str) -> int | None:
    """Return where a file ends: None where its size cannot be believed, `NO_END` for a device or a FIFO.

    Raises `InvalidRequestError` for a directory or a socket; *what* is how the message calls it.
    """
    status = os.stat(path)
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return _believed(status, path, status.st_size)
    if stat.S_ISBLK(mode):
        with open(path, "rb") as file:
            return file.seek(0, os.SEEK_END)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return NO_END
    raise InvalidRequestError(f"{what} is a path, and {os.fspath(path)!r} is neither a file nor a device")


def end_of_file(file: Any) -> int | None:
    """Return where an open file ends, as `end_of_path`."""
    status = _status_of(file)
    if status is not None and not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return NO_END  # devices say that they can seek, and are at 0 wherever they are
    with use_of(file).lock:
        try:
            start: int = file.tell()
            file.seek(0, os.SEEK_END)
            end: int = file.tell()
            file.seek(start)
        except (AttributeError, OSError):
            # Files of /proc can be rewound, and have no end to go to.
            return NO_END if status is None else None
    return end if status is None else _believed(os.fstat(file.fileno()), file.fileno(), end)


def _status_of(file: Any) -> os.stat_result | None:
    """Return what the system says of a file; None for one of Python's own, and for one that wraps another."""
    if isinstance(getattr(file, "raw", file), io.FileIO):
        return os.fstat(file.fileno())
    return None


def _believed(status: os.stat_result, file: _Named, size: int) -> int | None:
    """Return *size* if the file has it: what takes room on a disk does; else its last byte is looked for."""
    if getattr(status, "st_blocks", 1):
        return size
    tail = _peek(file, max(size - 1, 0), 2)
    return size if tail is not None and len(tail) == min(size, 1) else None


def reaches(file: Any, size: int) -> bool:
    """Whether a path or an open file has *size* bytes."""
    is_open = hasattr(file, "fileno")
    return size == 0 or bool(_peek(file.fileno() if is_open else file, size - 1, 1))


def _peek(file: _Named, position: int, length: int) -> bytes | None:
    """Read a few bytes, wherever an open file is; None for what cannot be read, or would have to wait."""
    try:
        descriptor = file if isinstance(file, int) else os.open(file, os.O_RDONLY | NO_WAIT)
        try:
            return os.pread(descriptor, length, position)
        finally:
            if not isinstance(file, int):
                os.close(descriptor)
    except OSError:
        return None


# --- what several bodies may share


class Use:
    """What is remembered of a file or an iterator that was given, as long as it lives."""

    __slots__ = ("_first", "_left", "is_remembered", "is_spent", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_remembered = False
        self.is_spent = False
        self._first = 0
        self._left: int | None = None

    def start(self, file: Any) -> int:
        """Return where a sending begins: where the file is, or was at first if only sendings moved it."""
        with self.lock:
            position: int = file.tell()
            if position != self._left:
                self._first = position
            return self._first

    @contextmanager
    def moving(self, file: Any) -> Generator[None, None, None]:
        """Note where a sending leaves the file; one that is not remembered goes back to where it was."""
        before: int | None = None if self.is_remembered else file.tell()
        try:
            yield
        finally:
            if before is None:
                self._left = file.tell()
            else:
                file.seek(before)


_uses: dict[int, tuple[weakref.ref[Any], Use]] = {}


def use_of(content: object) -> Use:
    """Return what is known of *content*, one for all bodies that are made of it."""
    # By identity, and not in a WeakKeyDictionary: two files may be equal.
    key = id(content)
    known = _uses.get(key)
    if known is not None and known[0]() is content:
        return known[1]
    use = Use()
    try:
        _uses[key] = weakref.ref(content, lambda dead: _forget(key, dead)), use
    except TypeError:
        return use  # it has no weak references
    use.is_remembered = True
    return use


def _forget(key: int, dead: weakref.ref[Any]) -> None:
    known = _uses.get(key)
    if known is not None and known[0] is dead:
        del _uses[key]
