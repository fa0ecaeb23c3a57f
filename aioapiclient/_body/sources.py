"""The sources of a body: one small class for each kind of content.

Each iteration over a body opens its source again and is one send. A source has a size in bytes, if it is
known, and can be sent once or repeatedly:

====================================  ========  ==========================================
content                               size      sent again
====================================  ========  ==========================================
bytes, str, `io.BytesIO`              known     yes
a seekable file, a path               known     yes, from the file's first position
the same, with an unreliable size     unknown   yes
a slice of either, a `FilePart`       known     yes
an iterable that returns iterators    ``.size`` yes, each send takes a new iterator
an iterator, a generator, a pipe, a   ``.size`` no
device, a file whose ``read`` is
async, a relayed message
parts, one after the other            the sum   if all of them can
====================================  ========  ==========================================

The size of a file is used if the file occupies disk blocks, or ends at that size. Files of /proc report 0
and those of /sys report 4096, whatever they contain: these are read to their end.

One open file may be passed to several calls, one after the other or concurrently: each sends it from its
position when it was first passed, or from where its owner has moved it since. A second call with content
that can be read only once is refused.

A send that is shorter than the size, or than an earlier send, is an error: the size is a promise to the
peer, which waits for the last byte, and a retry that sends nothing looks like a success.
"""

from __future__ import annotations

__lazy_modules__: tuple[str, ...] = ("aioapiclient._body.relayed", "aioapiclient._memory")

import asyncio
import inspect
import io
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import aclosing
from typing import Any, BinaryIO, Final, Protocol, TypeAlias, TypeVar

from aioapiclient._memory import keep_memory
from aioapiclient._progress import Meter
from aioapiclient.errors import InvalidRequestError, RequestNotReplayableError

from .files import NO_END, NO_WAIT, FilePart, end_of_file, end_of_path, reaches, use_of
from .relayed import refuse_writers, relayed

__all__ = ["CHUNK", "Content", "InMemory", "Joined", "OneShot", "Source", "Watched", "source_of"]

CHUNK: Final = 64 << 10
# Bytes that a thread reads at once, at most. With blocks of 64 KiB, an upload took about 3.5 times the CPU
# time (CPython 3.11, a busy machine), with 256 KiB 1.4 times, with 1 MiB 0.85 times.
_BLOCK: Final = 512 << 10

_Iterated = TypeVar("_Iterated")


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes | None:
        """Return at most *size* bytes; none at the end."""
        ...


class _AsyncReadable(Protocol):
    async def read(self, size: int, /) -> bytes:
        """Return at most *size* bytes; none at the end."""
        ...


class _Message(Protocol):
    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the message."""
        ...


_Chunk: TypeAlias = bytes | bytearray | memoryview
_Opener: TypeAlias = Callable[[], AsyncIterator[object]]

Content: TypeAlias = (
    _Chunk
    | str
    | os.PathLike[str]
    | FilePart
    | _Readable
    | _AsyncReadable
    | AsyncIterable[_Chunk]
    | Iterable[_Chunk]
    | _Message
)
"""The content that a body accepts."""


class Source(ABC):
    """One kind of content: its size, whether it can be sent again, and its chunks."""

    __slots__ = ("_longest_send", "size")

    content: bytes | None = None
    """The bytes, if they are in memory."""

    replayable: bool = True
    """Whether the content can be sent more than once."""

    def __init__(self, size: int | None) -> None:
        self.size = size
        """The length in bytes; None if it is unknown."""
        self._longest_send = 0

    @property
    def consumed(self) -> bool:
        """Whether sending has begun and the content cannot be sent again."""
        return False

    @property
    def about(self) -> str:
        """An addition to the repr, after a comma: the name of the file."""
        return ""

    @abstractmethod
    def open(self) -> AsyncIterator[object]:
        """Begin one send: return its chunks, unchecked."""

    async def send(self) -> AsyncGenerator[bytes, None]:
        """Yield the chunks of one send, checked for type and total size."""
        chunks = self.open()
        sent = 0
        try:
            async for chunk in chunks:
                data = chunk if isinstance(chunk, bytes) else _as_bytes(chunk)
                sent += len(data)
                # Checked before the chunk is sent: the peer would read bytes beyond the size as the next
                # request.
                if self.size is not None and sent > self.size:
                    raise InvalidRequestError(
                        f"the body is longer than its size: at least {sent} bytes, not {self.size}"
                    )
                if data:
                    yield data
                del chunk, data  # here and below: so that the next chunk can reuse the memory
            self._check_whole(sent)
        finally:
            self._longest_send = max(self._longest_send, sent)
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()

    def _check_whole(self, sent: int) -> None:
        # A new iterator over a file that was not rewound yields fewer bytes on the second send.
        if sent < self._longest_send:
            raise RequestNotReplayableError(
                f"the body has {sent} bytes, but had {self._longest_send} when sent before; it cannot"
                " be resent"
            )
        if self.size is not None and sent < self.size:
            raise InvalidRequestError(f"the body is shorter than its size: {sent} bytes, not {self.size}")


class InMemory(Source):
    """Bytes in memory."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self._longest_send = 0

    async def open(self) -> AsyncIterator[object]:
        """Yield the bytes as one chunk."""
        yield self.content


class _Range(Source):
    """A part of a file; without an *end*, the rest of the file, whose length may vary between sends."""

    __slots__ = ("_end", "_start")

    def __init__(self, start: int, end: int | None) -> None:
        super().__init__(None if end is None else end - start)
        self._start = start
        self._end = end

    def _check_whole(self, sent: int) -> None:
        if self.size is not None:
            super()._check_whole(sent)


def _about_range(file: Any, start: int, end: int | None) -> str:
    is_open = hasattr(file, "read")
    name: object = getattr(file, "name", None) if is_open else str(file)
    label = name if isinstance(name, str) else type(file).__name__
    return f", {label!r} from {start}{'' if end is None else f' to {end}'}"


class _File(_Range):
    """A part of an open, seekable file: from its position to its end, or a slice."""

    __slots__ = ("_file", "_use")

    def __init__(self, file: Any, start: int, end: int | None) -> None:
        super().__init__(start, end)
        self._file = file
        self._use = use_of(file)

    @property
    def about(self) -> str:
        """The name and the range of the file."""
        return _about_range(self._file, self._start, self._end)

    def open(self) -> AsyncIterator[object]:
        """Return the chunks of the range, read in worker threads."""
        return _read_range(self._read_at, self._start, self._end)

    def _read_at(self, position: int, length: int) -> object:
        # Another body may share the file, and a cancelled send may still be reading in its thread: neither
        # may move the file during this read.
        with self._use.lock, self._use.moving(self._file):
            self._file.seek(position)
            return self._file.read(length)


class _Path(_Range):
    """A part of a file by its path, opened for each send."""

    __slots__ = ("_path",)

    def __init__(self, path: str | os.PathLike[str], start: int, end: int | None) -> None:
        super().__init__(start, end)
        self._path = path

    @property
    def about(self) -> str:
        """The path and the range of the file."""
        return _about_range(self._path, self._start, self._end)

    async def open(self) -> AsyncIterator[object]:
        """Yield the chunks of the range; the file is open during the send."""
        file = _PathFile(self._path)
        try:
            async with aclosing(_read_range(file.read_at, self._start, self._end)) as chunks:
                async for chunk in chunks:
                    yield chunk
                    del chunk
        finally:
            # In a thread, because it may wait for a read there; shielded, because a cancellation would leak
            # the file.
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, file.close))


class _PathFile:
    """A file that worker threads open, read and close, so that a cancelled wait leaks nothing."""

    __slots__ = ("_closed", "_file", "_lock", "_path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._closed = False
        self._lock = threading.Lock()

    def read_at(self, position: int, length: int) -> bytes:
        """Read bytes at *position*, and open the file first if necessary; return none after `close`."""
        with self._lock:
            if self._closed:
                return b""
            if self._file is None:
                self._file = open(self._path, "rb")  # noqa: SIM115 (closed by close)
            self._file.seek(position)
            return self._file.read(length)

    def close(self) -> None:
        """Close the file, after a read that is still running."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()


class _Iterable(Source):
    """An iterable that returns a new iterator for each send."""

    __slots__ = ("_iterable", "_previous")

    def __init__(self, iterable: AsyncIterable[object] | Iterable[object], size: int | None) -> None:
        super().__init__(size)
        self._iterable = iterable
        self._previous: object = None

    def open(self) -> AsyncIterator[object]:
        """Return a new iterator over the iterable."""
        if isinstance(self._iterable, AsyncIterable):
            return self._fresh(aiter(self._iterable))
        return _each(self._fresh(iter(self._iterable)))

    def _fresh(self, iterator: _Iterated) -> _Iterated:
        if iterator is self._previous:
            raise RequestNotReplayableError(
                "the iterable of this body returned the same iterator again: it cannot be sent again"
            )
        self._previous = iterator
        return iterator


class OneShot(Source):
    """Content that can be read only once, by this body or another."""

    __slots__ = ("_chunks", "use")

    replayable = False

    def __init__(self, content: object, chunks: _Opener, size: int | None) -> None:
        super().__init__(size)
        self._chunks = chunks
        self.use = use_of(content)
        """The state of the content, shared with other bodies."""

    @property
    def consumed(self) -> bool:
        """Whether this body, or another one with the same content, has begun to send it."""
        return self.use.is_consumed

    def open(self) -> AsyncIterator[object]:
        """Return the chunks, and mark the content as consumed."""
        _check_unconsumed(self)
        self.use.is_consumed = True
        return self._chunks()


class Joined(Source):
    """Several sources, one after the other."""

    __slots__ = ("_sources", "replayable")

    def __init__(self, sources: list[Source]) -> None:
        sizes = [source.size for source in sources]
        super().__init__(None if None in sizes else sum(size or 0 for size in sizes))
        self._sources = sources
        self.replayable = all(source.replayable for source in sources)

    @property
    def consumed(self) -> bool:
        """Whether one of the sources is consumed."""
        return any(source.consumed for source in self._sources)

    async def open(self) -> AsyncIterator[object]:
        """Yield the chunks of all sources."""
        # If one source is consumed, the sources before it must not be sent either.
        _check_unconsumed(self)
        for source in self._sources:
            async with aclosing(source.send()) as chunks:
                async for chunk in chunks:
                    yield chunk
                    del chunk


class Watched(Source):
    """Another source, with a meter that counts its bytes."""

    __slots__ = ("_meter", "_source", "content", "replayable")

    def __init__(self, source: Source, meter: Meter) -> None:
        super().__init__(source.size)
        self._source = source
        self._meter = meter
        self.content = source.content
        self.replayable = source.replayable

    @property
    def consumed(self) -> bool:
        """Whether the source is consumed."""
        return self._source.consumed

    @property
    def about(self) -> str:
        """The description of the source."""
        return self._source.about

    async def open(self) -> AsyncIterator[object]:
        """Yield the chunks of the source in pieces of at most `CHUNK`, and count each when it is taken."""
        self._meter.restart()
        async with aclosing(self._source.send()) as chunks:
            async for chunk in chunks:
                for start in range(0, len(chunk), CHUNK):
                    piece = chunk[start : start + CHUNK]
                    yield piece
                    # The request for the next piece means that this one was taken.
                    self._meter.add(len(piece))


def _check_unconsumed(source: Source) -> None:
    if source.consumed:
        raise RequestNotReplayableError(
            "this body can be sent only once, and its sending has begun: use bytes, a seekable file,"
            " or an iterable that returns a new iterator each time"
        )


def source_of(content: Content, what: str = "content") -> Source:
    """Return the source for *content*, which error messages call *what*."""
    kind = type(content).__name__
    if isinstance(content, str):
        return InMemory(_encode(content))
    if isinstance(content, (bytes, bytearray, memoryview)):
        return InMemory(bytes(content))
    if isinstance(content, FilePart):
        return _source_of_slice(content, what)
    if isinstance(content, os.PathLike):
        return _source_of_path(content, what)
    refuse_writers(what, content)
    message = relayed(content, what)
    if message is not None:
        if message.content is not None:
            return InMemory(message.content)
        if message.chunks is not None:
            return _one_shot(content, message.chunks, message.size, what)
        return source_of(message.file, what)
    read = getattr(content, "read", None)
    if callable(read):
        return _source_of_file(content, read, what)
    size = _declared_size(content, what)
    if isinstance(content, AsyncIterator):
        return _one_shot(content, lambda: aiter(content), size, what)
    if isinstance(content, Iterator):
        return _one_shot(content, lambda: _each(content), size, what)
    if isinstance(content, AsyncIterable) or (
        isinstance(content, Iterable) and not isinstance(content, Mapping)
    ):
        return _Iterable(content, size)
    raise TypeError(f"{what} must be bytes, str, a binary file, a path or an iterable of bytes, not {kind}")


def _one_shot(content: object, chunks: _Opener, size: int | None, what: str) -> Source:
    source = OneShot(content, chunks, size)
    if source.consumed:
        raise RequestNotReplayableError(
            f"{what} can be read only once and was sent by another call: it would be empty or incomplete"
        )
    return source


# --- files, and whether their sizes are reliable


def _source_of_slice(part: FilePart, what: str) -> Source:
    file: Any = part.file
    end = end_of_path(file, what) if part.is_path else _end_of_part(file, what)
    if end is NO_END:
        raise TypeError(f"{what} is a FilePart, whose file must be seekable")
    last = part.offset + (part.length or 0)
    if end is None:
        if not reaches(file, last):
            raise InvalidRequestError(
                f"{what} is a FilePart up to byte {last}, but its file ends before that"
            )
        end = None if part.length is None else last
    elif last > end:
        raise InvalidRequestError(f"{what} is a FilePart up to byte {last}, but its file has {end} bytes")
    elif part.length is not None:
        end = last
    return _Path(file, part.offset, end) if part.is_path else _File(file, part.offset, end)


def _end_of_part(file: Any, what: str) -> int | None:
    _check_file(file, what)
    if inspect.iscoroutinefunction(file.read):
        return NO_END
    end = end_of_file(file)
    if end is not NO_END:
        use_of(file).start(file)  # a later call may pass the complete file
    return end


def _source_of_path(path: os.PathLike[str], what: str) -> Source:
    end = end_of_path(path, what)
    if end is NO_END:
        return OneShot(path, lambda: _read_device(path), None)
    return _Path(path, 0, end)


def _source_of_file(file: Any, read: Callable[..., Any], what: str) -> Source:
    _check_file(file, what)
    if type(file) is io.BytesIO:
        return InMemory(file.getvalue()[use_of(file).start(file) :])
    if inspect.iscoroutinefunction(read):
        return _one_shot(file, lambda: _read_async(read), _declared_size(file, what), what)
    if hasattr(file, "__aiter__"):
        # A stream has a position: a new iterator continues where the last one stopped.
        return _one_shot(file, lambda: aiter(file), _declared_size(file, what), what)
    end = end_of_file(file)
    if end is not NO_END:
        start = use_of(file).start(file)
        return _File(file, start, None if end is None else max(start, end))
    # ``read1`` returns the data that is in a pipe; ``read`` waits until the chunk is full.
    read = getattr(file, "read1", read)
    return _one_shot(file, lambda: _read_on(read), _declared_size(file, what), what)


def _check_file(file: Any, what: str) -> None:
    # ``encoding`` reveals wrappers (of tempfile, aiofiles) that are not a TextIOBase themselves.
    if isinstance(file, io.TextIOBase) or getattr(file, "encoding", None) is not None:
        raise TypeError(f"{what} is a file in text mode; open it in binary mode")
    if getattr(file, "closed", False) is True:
        raise InvalidRequestError(f"{what} is a closed file")


def _declared_size(content: object, what: str) -> int | None:
    size = getattr(content, "size", None)
    if not isinstance(size, int) or isinstance(size, bool):
        return None
    if size < 0:
        raise InvalidRequestError(f"{what} has a size of {size} bytes, expected 0 or more")
    return size


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        # Without the cause, because the UnicodeEncodeError contains the text.
        message = f"content cannot be encoded as UTF-8: lone surrogate at position {error.start}"
    raise InvalidRequestError(message)


def _as_bytes(chunk: Any) -> bytes:
    try:
        # A copy, because a producer that reuses its buffer must not change bytes that wait to be written.
        return memoryview(chunk).tobytes()
    except TypeError:
        raise TypeError(f"a chunk of the body is {type(chunk).__name__}, expected bytes") from None


async def _read_range(
    read_at: Callable[[int, int], object], start: int, end: int | None
) -> AsyncGenerator[object, None]:
    """Read a part of a file in worker threads. The caller checks the length.

    The blocks grow with the number of bytes read, so that small files, and sends that fail early, use little
    memory.
    """
    keep_memory()
    position = start
    while end is None or position < end:
        length = min(max(CHUNK, position - start), _BLOCK)
        length = length if end is None else min(length, end - position)
        chunk: Any = await asyncio.to_thread(read_at, position, length)
        if chunk == b"":
            return
        position += len(chunk)
        yield chunk
        del chunk


async def _read_device(path: str | os.PathLike[str]) -> AsyncGenerator[object, None]:
    """Read a FIFO or a device to its end, in the event loop, so that no thread blocks to wait for a
    writer.
    """
    descriptor = os.open(path, os.O_RDONLY | NO_WAIT)
    try:
        while True:
            await _until_readable(descriptor)
            try:
                chunk = os.read(descriptor, CHUNK)
            except BlockingIOError:
                continue
            if not chunk:
                return
            yield chunk
    finally:
        os.close(descriptor)


async def _until_readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(descriptor, _set, readable)
    except (OSError, NotImplementedError):  # a device that never blocks, such as /dev/zero
        await asyncio.sleep(0)
        return
    try:
        await readable
    finally:
        loop.remove_reader(descriptor)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _read_on(read: Callable[[int], object]) -> AsyncGenerator[object, None]:
    """Read a file that cannot seek, in worker threads, to its end."""
    while (chunk := await asyncio.to_thread(read, CHUNK)) != b"":
        yield chunk


async def _read_async(read: Callable[[int], Any]) -> AsyncGenerator[object, None]:
    """Read an async file or stream to its end."""
    while (chunk := await read(CHUNK)) != b"":
        yield chunk


async def _each(iterator: Iterator[object]) -> AsyncGenerator[object, None]:
    """Iterate in the event loop, and close the iterator if it is a generator."""
    try:
        for chunk in iterator:
            yield chunk
    finally:
        if isinstance(iterator, Generator):
            iterator.close()
