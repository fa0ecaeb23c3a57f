"""The caller's files: their slices and ends, and the state that several bodies of one file share."""

from __future__ import annotations

import io
import os
import stat
import threading
import weakref
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from aioapiclient._checks import check_whole
from aioapiclient.errors import InvalidRequestError

__all__ = [
    "NO_END",
    "NO_WAIT",
    "FilePart",
    "Files",
    "Use",
    "end_of_file",
    "end_of_path",
    "is_path",
    "reaches",
    "use_of",
]

NO_WAIT: Final[int] = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""Flags to open a device with: neither opening nor reading it blocks."""

NO_END: Final = -1
"""The end of a file that cannot seek: a device, a FIFO, a pipe."""

Files: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""Names with their values: a file, a list of files, or a mapping of names to either."""

_Named: TypeAlias = int | str | os.PathLike[str]


class FilePart:
    """A slice of a file.

    A path is opened again for each send, so many parts of one path can be uploaded concurrently. An open
    file is shared under a lock, read in worker threads, and never closed. The slice must lie inside the
    file when the request is made.

    Args:
        file: A path, or a seekable binary file.
        offset: The first byte, 0 by default.
        length: The number of bytes; None (the default) reads to the end.

    Raises:
        InvalidRequestError: A number is below 0.
        TypeError: *file* is neither a path nor a file, or a number is not an int.
    """

    __slots__ = ("file", "length", "offset")

    def __init__(self, file: Any, offset: int = 0, length: int | None = None) -> None:
        if not is_path(file) and not callable(getattr(file, "read", None)):
            raise TypeError(f"FilePart file must be a path or a binary file, not {type(file).__name__}")
        check_whole("FilePart offset", offset, unit="bytes")
        if length is not None:
            check_whole("FilePart length", length, unit="bytes")
        self.file: Any = file
        """The path or the open file."""
        self.offset: int = offset
        """The first byte, counted from the start of the file, whatever its position."""
        self.length: int | None = length
        """The number of bytes; None reads to the end."""

    @property
    def is_path(self) -> bool:
        """Whether the file is a path, and not an open file."""
        return is_path(self.file)

    def __repr__(self) -> str:
        return f"FilePart({self.file!r}, offset={self.offset}, length={self.length})"


def is_path(file: object) -> bool:
    """Return whether *file* is a path, and not an open file."""
    return isinstance(file, str | os.PathLike)


def end_of_path(path: str | os.PathLike[str], what: str) -> int | None:
    """Return the end of a file: None if its size is not reliable, `NO_END` for a device or a FIFO.

    Raises:
        InvalidRequestError: The path is a directory or a socket. The message calls it *what*.
    """
    status = os.stat(path)
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return _trusted_size(status, path, status.st_size)
    if stat.S_ISBLK(mode):
        with open(path, "rb") as file:
            return file.seek(0, os.SEEK_END)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return NO_END
    raise InvalidRequestError(f"{what}: {os.fspath(path)!r} is neither a file nor a device")


def end_of_file(file: Any) -> int | None:
    """Return the end of an open file, like `end_of_path`."""
    status = _status_of(file)
    if status is not None and not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return NO_END  # devices claim to be seekable, and always report 0
    with use_of(file).lock:
        try:
            start: int = file.tell()
            file.seek(0, os.SEEK_END)
            end: int = file.tell()
            file.seek(start)
        except (AttributeError, OSError):
            # Files of /proc can be rewound, but cannot seek to their end.
            return NO_END if status is None else None
    return end if status is None else _trusted_size(os.fstat(file.fileno()), file.fileno(), end)


def _status_of(file: Any) -> os.stat_result | None:
    """Return the status of a file; None for an in-memory file, and for a wrapper of another file."""
    if isinstance(getattr(file, "raw", file), io.FileIO):
        return os.fstat(file.fileno())
    return None


def _trusted_size(status: os.stat_result, file: _Named, size: int) -> int | None:
    """Return *size* if it is reliable: the file occupies disk blocks, or its last byte can be read."""
    if getattr(status, "st_blocks", 1):
        return size
    tail = _peek(file, max(size - 1, 0), 2)
    return size if tail is not None and len(tail) == min(size, 1) else None


def reaches(file: Any, size: int) -> bool:
    """Return whether a path or an open file has *size* bytes."""
    is_open = hasattr(file, "fileno")
    return size == 0 or bool(_peek(file.fileno() if is_open else file, size - 1, 1))


def _peek(file: _Named, position: int, length: int) -> bytes | None:
    """Read a few bytes without moving an open file; None if they cannot be read, or reading would block."""
    try:
        descriptor = file if isinstance(file, int) else os.open(file, os.O_RDONLY | NO_WAIT)
        try:
            return os.pread(descriptor, length, position)
        finally:
            if not isinstance(file, int):
                os.close(descriptor)
    except OSError:
        return None


# --- state that several bodies share


class Use:
    """The state of a file or an iterator that was passed as content, kept as long as that object exists."""

    __slots__ = ("_first", "_left", "is_consumed", "is_remembered", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_remembered = False
        self.is_consumed = False
        self._first = 0
        self._left: int | None = None

    def start(self, file: Any) -> int:
        """Return the start of a send: the position of the file, or its first position if only sends moved
        it.
        """
        with self.lock:
            position: int = file.tell()
            if position != self._left:
                self._first = position
            return self._first

    @contextmanager
    def moving(self, file: Any) -> Generator[None, None, None]:
        """Record the position at which a send leaves the file; move the file back if that cannot be
        remembered.
        """
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
    """Return the state of *content*, shared by all bodies created from it."""
    # By identity, not in a WeakKeyDictionary, because two files may be equal.
    key = id(content)
    known = _uses.get(key)
    if known is not None and known[0]() is content:
        return known[1]
    use = Use()
    try:
        _uses[key] = weakref.ref(content, lambda dead: _forget(key, dead)), use
    except TypeError:
        return use  # the object does not support weak references
    use.is_remembered = True
    return use


def _forget(key: int, dead: weakref.ref[Any]) -> None:
    known = _uses.get(key)
    if known is not None and known[0] is dead:
        del _uses[key]
