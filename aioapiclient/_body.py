"""What a request carries: `Body`, and one small source class for each kind of content.

A body is sent by iterating over it, and each iteration is one sending. The sources know their size
in bytes where there is one, and whether they can begin again:

====================================  ========  ==========================================
content                               size      sent again
====================================  ========  ==========================================
bytes, str, `io.BytesIO`              known     yes
a seekable file, a path               known     yes, from where the file stood at first
a slice of either, a `FilePart`       known     yes
an iterable that makes iterators      ``.size`` yes, each sending asks for a new iterator
an iterator, a generator, a pipe,     ``.size`` no
a file whose ``read`` is async
parts, one after the other            the sum   if all of them can
====================================  ========  ==========================================

A sending that ends short of the size, or of what an earlier sending gave, is an error: a size is a
promise to the peer, who waits for its last byte, and a retry that sends nothing looks like a success.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import stat
import threading
import weakref
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

from ._encoding import EncHook, encode_json
from ._multipart import FilePart, Files, Part, boundary_of, field_parts, file_parts
from ._progress import Meter, Progress
from ._query import DEFAULT_STYLE, QueryStyle, QueryValues, encode_form, flatten
from ._types import NOT_GIVEN, NotGiven, Omit
from .errors import InvalidRequestError, RequestNotReplayableError

__all__ = ["Body", "Content", "build_body"]

_CHUNK: Final = 64 << 10

_Iterated = TypeVar("_Iterated")


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes | None: ...


class _AsyncReadable(Protocol):
    async def read(self, size: int, /) -> bytes: ...


_Chunk: TypeAlias = bytes | bytearray | memoryview

Content: TypeAlias = (
    _Chunk
    | str
    | os.PathLike[str]
    | FilePart
    | _Readable
    | _AsyncReadable
    | AsyncIterable[_Chunk]
    | Iterable[_Chunk]
)
"""What a body can be made of."""


class Body:
    """What a request carries, as chunks of bytes.

    *content* is bytes, a str (sent as UTF-8, ``text/plain`` unless *content_type* says otherwise), a
    binary file, a path (opened anew for each sending), a `FilePart`, or an iterable of bytes, async or
    not; another `Body` is shared. An int attribute ``size`` of an iterable is its length in bytes. A
    file is read in a worker thread and never closed, an iterable is iterated in the event loop, an
    iterator is not touched before the sending begins, and a generator is closed when its sending ends.

    Raises `TypeError` for content of another type, a text file among them, and `InvalidRequestError`
    for a closed file, a path to something that is no regular file, or a negative ``size``.
    """

    __slots__ = ("_content_type", "_source")

    _content_type: str | None
    _source: _Source

    def __init__(self, content: Content | Body, *, content_type: str | None = None) -> None:
        if isinstance(content, bytes):
            self._source = _Bytes(content)
        elif isinstance(content, Body):
            self._source = content._source
            content_type = content_type or content._content_type
        else:
            self._source = _source_of(content)
            if content_type is None and isinstance(content, str):
                content_type = "text/plain; charset=utf-8"
        self._content_type = content_type

    @classmethod
    def from_json(
        cls,
        value: object,
        *,
        enc_hook: EncHook | None = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> Body:
        """Encode a value as JSON, with the members of *extra_body* merged over it."""
        content = encode_json(value, enc_hook=enc_hook, extra_body=extra_body)
        return cls(content, content_type="application/json")

    @classmethod
    def from_form(cls, data: QueryValues, *, style: QueryStyle = DEFAULT_STYLE) -> Body:
        """Encode a mapping or pairs as a form, arrays and nesting in the style of the query."""
        _check_form(data)
        return cls(encode_form(data, style), content_type="application/x-www-form-urlencoded")

    @classmethod
    def from_multipart(
        cls,
        files: Files,
        data: QueryValues | None = None,
        *,
        style: QueryStyle = DEFAULT_STYLE,
        content_type: str | None = None,
    ) -> Body:
        """Make a multipart form (RFC 7578): the fields of *data*, then *files*, in their order.

        A file is whatever a body can be made of but a str, or a tuple ``(name, content[, content
        type[, headers]])``. A name of None is taken from the file where it has one, `OMIT` sends
        none. A list is many files, a mapping nests, both named in the *style* of the query. The type
        is guessed from the name, else ``application/octet-stream``. A *content_type* that names a
        boundary is kept word for word; one that names none gets ours.

        Raises `TypeError` for what is no file, and `InvalidRequestError` for a name, header or
        boundary that cannot be sent.
        """
        boundary, content_type = boundary_of(content_type)
        _check_form(data)
        parts = [*field_parts(flatten(data or (), style)), *file_parts(files, style)]
        sources = [(part.head, cls._source_of_part(part)) for part in parts]
        return cls._of(_joined(sources, boundary.encode()), content_type)

    @staticmethod
    def _source_of_part(part: Part) -> _Source:
        content = part.content
        return content._source if isinstance(content, Body) else _source_of(content, part.label)

    @classmethod
    def _of(cls, source: _Source, content_type: str | None) -> Body:
        body = cls.__new__(cls)
        body._source = source
        body._content_type = content_type
        return body

    def with_progress(self, progress: Progress) -> Body:
        """The same body, and each sending of it tells *progress* how many bytes the transport took.

        A sending that begins again is counted from 0: by ``reset()``, where *progress* has one, else
        by an ``update`` that takes back what was told. Raises `TypeError` without an ``update``.
        """
        return Body._of(_Watched(self._source, Meter(progress)), self._content_type)

    @property
    def content(self) -> bytes | None:
        """The bytes where they are in memory, to be signed or sent at once; None for files and iterables."""
        return self._source.content

    @property
    def whole(self) -> bytes | None:
        """The bytes that may be sent without iterating: `content`, unless a progress counts them."""
        return None if isinstance(self._source, _Watched) else self._source.content

    @property
    def content_type(self) -> str | None:
        """The media type, for requests that name none themselves."""
        return self._content_type

    @property
    def size(self) -> int | None:
        """The length in bytes; None where only the sending shows it."""
        return self._source.size

    @property
    def replayable(self) -> bool:
        """Whether the body can be sent more than once."""
        return self._source.replayable

    @property
    def spent(self) -> bool:
        """Whether a body that can be sent only once may have lost its first byte: it cannot be sent again."""
        return self._source.spent

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """Send the body once: nothing is read before the first chunk is asked for, and no chunk is empty.

        Who stops before the end closes the iterator (``await chunks.aclose()``, `contextlib.aclosing`).
        Raises `RequestNotReplayableError` for a spent body, `InvalidRequestError` when the content is
        shorter or longer than its size, `TypeError` for a chunk that is not bytes, and whatever the
        user's own file or iterable raises.
        """
        return self._source.send()

    def __repr__(self) -> str:
        replay = "spent" if self.spent else "replayable" if self.replayable else "one-shot"
        size = "unknown size" if self.size is None else f"{self.size} bytes"
        return f"<Body {self._content_type or 'untyped'}, {size}, {replay}>"


def build_body(
    *,
    json: object = NOT_GIVEN,
    data: QueryValues | NotGiven | Omit | None = None,
    content: Content | Body | NotGiven | Omit | None = None,
    files: Files | NotGiven | Omit | None = None,
    extra_body: Mapping[str, Any] | NotGiven | Omit | None = None,
    style: QueryStyle = DEFAULT_STYLE,
    enc_hook: EncHook | None = None,
    content_type: str | None = None,
    progress: Progress | None = None,
) -> Body | None:
    """Make the body of a call from the one kind of it that was given, None where none was.

    ``json=None`` is given and sends ``null``; for the others None is absent, as the sentinels are for
    all. *extra_body* alone makes a JSON object; *files* takes *data* for its fields, and an empty
    mapping makes a multipart form of those alone. *content_type* is what the caller's headers say, and
    only matters with *files*. Raises `TypeError` that names the two when two kinds were given.
    """
    data = None if isinstance(data, (NotGiven, Omit)) else data
    content = None if isinstance(content, (NotGiven, Omit)) else content
    files = None if isinstance(files, (NotGiven, Omit)) else files
    extra_body = None if isinstance(extra_body, (NotGiven, Omit)) else extra_body
    has_json = not isinstance(json, (NotGiven, Omit))
    if data is not None or content is not None or files is not None:
        _check_one(
            json=has_json,
            extra_body=extra_body is not None,
            data=data is not None and files is None,
            content=content is not None,
            files=files is not None,
        )
    body: Body | None = None
    if files is not None:
        body = Body.from_multipart(files, data, style=style, content_type=content_type)
    elif data is not None:
        body = Body.from_form(data, style=style)
    elif content is not None:
        body = content if isinstance(content, Body) else Body(content)
    elif has_json or extra_body is not None:
        body = Body.from_json(json, enc_hook=enc_hook, extra_body=extra_body)
    if progress is None:
        return body
    Meter(progress)
    return None if body is None else body.with_progress(progress)


_NO_FORM: Final[tuple[type[Any], ...]] = (str, bytes, bytearray, memoryview)


def _check_form(data: object) -> None:
    if issubclass(type(data), _NO_FORM) or hasattr(data, "read"):
        raise TypeError(f"data is a form, a mapping or pairs; {type(data).__name__} is sent with content")


def _check_one(**kinds: bool) -> None:
    given = [name for name, is_given in kinds.items() if is_given]
    if len(given) > 1:
        # The first and the last: json and extra_body go together, and stand first.
        raise TypeError(f"{given[0]} and {given[-1]} were both given, and a request has one body")


class _Source(ABC):
    """One kind of content: what is known of it, and how a sending of it begins."""

    __slots__ = ("_reached", "size")

    content: bytes | None = None
    replayable: bool = True

    def __init__(self, size: int | None) -> None:
        self.size = size
        self._reached = 0

    @property
    def spent(self) -> bool:
        """Whether its first byte may have left, and it cannot be sent again."""
        return False

    @abstractmethod
    def open(self) -> AsyncIterator[object]:
        """Begin one sending: the chunks as they come, of whatever type and number."""

    async def send(self) -> AsyncGenerator[bytes, None]:
        """Yield one sending: chunks that are bytes, as many of them as were promised."""
        chunks = self.open()
        sent = 0
        try:
            async for chunk in chunks:
                data = chunk if isinstance(chunk, bytes) else _as_bytes(chunk)
                sent += len(data)
                # Before the chunk leaves: the peer would read what is beyond the size as the next request.
                if self.size is not None and sent > self.size:
                    raise InvalidRequestError(
                        f"the body is longer than its size: at least {sent} bytes, not {self.size}"
                    )
                if data:
                    yield data
            self._check_whole(sent)
        finally:
            self._reached = max(self._reached, sent)
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()

    def _check_whole(self, sent: int) -> None:
        # An iterable that only looks fresh, over a file that is not rewound, gives less when asked again.
        if sent < self._reached:
            raise RequestNotReplayableError(
                f"the body gave {sent} bytes, and {self._reached} when sent before: it cannot be sent again"
            )
        if self.size is not None and sent < self.size:
            raise InvalidRequestError(f"the body is shorter than its size: {sent} bytes, not {self.size}")


class _Bytes(_Source):
    """Bytes in memory."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self._reached = 0

    async def open(self) -> AsyncIterator[object]:
        yield self.content


class _File(_Source):
    """A part of a seekable file that is open: from where it stands to its end as it is now, or a slice."""

    __slots__ = ("_end", "_file", "_lock", "_start")

    def __init__(self, file: Any, start: int, end: int) -> None:
        super().__init__(end - start)
        self._file = file
        self._start = start
        self._end = end
        self._lock = _lock_of(file)

    def open(self) -> AsyncIterator[object]:
        return _read_range(self._read_at, self._start, self._end)

    def _read_at(self, position: int, length: int) -> object:
        # Another body may share the file, and a cancelled sending may have left a read behind in its thread:
        # neither must move it under this one.
        with self._lock:
            self._file.seek(position)
            return self._file.read(length)


class _Path(_Source):
    """A part of a regular file by its path, opened for each sending."""

    __slots__ = ("_end", "_path", "_start")

    def __init__(self, path: str | os.PathLike[str], start: int, end: int) -> None:
        super().__init__(end - start)
        self._path = path
        self._start = start
        self._end = end

    async def open(self) -> AsyncIterator[object]:
        file = _PathFile(self._path)
        try:
            async with aclosing(_read_range(file.read_at, self._start, self._end)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            # In a thread, since it may have to wait for a read there; shielded, since a cancel would leak it.
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, file.close))


class _PathFile:
    """A file that worker threads open, read and close: a wait for one that is cancelled leaks nothing."""

    __slots__ = ("_closed", "_file", "_lock", "_path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._closed = False
        self._lock = threading.Lock()

    def read_at(self, position: int, length: int) -> bytes:
        with self._lock:
            if self._closed:
                return b""
            if self._file is None:
                self._file = open(self._path, "rb")  # noqa: SIM115 (closed by close)
            self._file.seek(position)
            return self._file.read(length)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()


class _Iterable(_Source):
    """An iterable that makes an iterator for each sending."""

    __slots__ = ("_iterable", "_previous")

    def __init__(self, iterable: AsyncIterable[object] | Iterable[object], size: int | None) -> None:
        super().__init__(size)
        self._iterable = iterable
        self._previous: object = None

    def open(self) -> AsyncIterator[object]:
        if isinstance(self._iterable, AsyncIterable):
            return self._fresh(aiter(self._iterable))
        return _each(self._fresh(iter(self._iterable)))

    def _fresh(self, iterator: _Iterated) -> _Iterated:
        if iterator is self._previous:
            raise RequestNotReplayableError(
                "the iterable of this body gave the same iterator again: it cannot be sent again"
            )
        self._previous = iterator
        return iterator


class _OneShot(_Source):
    """An iterator: whatever it gave is gone."""

    __slots__ = ("_iterator", "_spent")

    replayable = False

    def __init__(self, iterator: AsyncIterable[object], size: int | None) -> None:
        super().__init__(size)
        self._iterator = iterator
        self._spent = False

    @property
    def spent(self) -> bool:
        return self._spent

    def open(self) -> AsyncIterator[object]:
        _check_unspent(self)
        self._spent = True
        return aiter(self._iterator)


class _Joined(_Source):
    """Sources one after the other."""

    __slots__ = ("_sources", "replayable")

    def __init__(self, sources: list[_Source]) -> None:
        sizes = [source.size for source in sources]
        super().__init__(None if None in sizes else sum(size or 0 for size in sizes))
        self._sources = sources
        self.replayable = all(source.replayable for source in sources)

    @property
    def spent(self) -> bool:
        return any(source.spent for source in self._sources)

    async def open(self) -> AsyncIterator[object]:
        # All of it or nothing: the sources before a spent one must not leave either.
        _check_unspent(self)
        for source in self._sources:
            async with aclosing(source.send()) as chunks:
                async for chunk in chunks:
                    yield chunk


class _Watched(_Source):
    """Another source, with somebody who counts its bytes."""

    __slots__ = ("_meter", "_source", "content", "replayable")

    def __init__(self, source: _Source, meter: Meter) -> None:
        super().__init__(source.size)
        self._source = source
        self._meter = meter
        self.content = source.content
        self.replayable = source.replayable

    @property
    def spent(self) -> bool:
        return self._source.spent

    async def open(self) -> AsyncIterator[object]:
        self._meter.restart()
        async with aclosing(self._source.send()) as chunks:
            async for chunk in chunks:
                for start in range(0, len(chunk), _CHUNK):
                    piece = chunk[start : start + _CHUNK]
                    yield piece
                    # Who asks for the next one has taken this one.
                    self._meter.add(len(piece))


def _check_unspent(source: _Source) -> None:
    if source.spent:
        raise RequestNotReplayableError(
            "this body can be sent once, and its first byte may have left: give bytes, a seekable file,"
            " or an iterable that makes a new iterator each time"
        )


def _joined(parts: list[tuple[bytes, _Source]], boundary: bytes) -> _Source:
    """A multipart body (RFC 2046 §5.1.1); what is small and in memory is put together here and now."""
    sources: list[_Source] = []
    text = bytearray()
    for head, source in parts:
        text += b"--%b\r\n%b" % (boundary, head)
        if source.content is not None and len(source.content) <= _CHUNK:
            text += source.content
        else:
            sources += (_Bytes(bytes(text)), source)
            text.clear()
        text += b"\r\n"
    text += b"--%b--\r\n" % boundary
    sources.append(_Bytes(bytes(text)))
    return sources[0] if len(sources) == 1 else _Joined(sources)


def _source_of(content: Content, what: str = "content") -> _Source:
    """Find the source for anything but a body; *what* is how messages call it."""
    kind = type(content).__name__
    if isinstance(content, str):
        return _Bytes(_encode(content))
    if isinstance(content, (bytes, bytearray, memoryview)):
        return _Bytes(bytes(content))
    if isinstance(content, FilePart):
        return _source_of_slice(content, what)
    if isinstance(content, os.PathLike):
        return _Path(content, 0, _size_of_path(content, what))
    read = getattr(content, "read", None)
    if callable(read):
        return _source_of_file(content, read, what)
    size = _declared_size(content, what)
    if isinstance(content, AsyncIterable):
        return _OneShot(content, size) if isinstance(content, AsyncIterator) else _Iterable(content, size)
    if isinstance(content, Iterator):
        return _OneShot(_each(content), size)
    if isinstance(content, Iterable) and not isinstance(content, Mapping):
        return _Iterable(content, size)
    raise TypeError(f"{what} is bytes, str, a binary file, a path or an iterable of bytes, not {kind}")


def _source_of_slice(part: FilePart, what: str) -> _Source:
    file: Any = part.file
    if part.is_path:
        size = _size_of_path(file, what)
    else:
        _check_file(file, what)
        span = None if inspect.iscoroutinefunction(file.read) else _span(file)
        if span is None:
            raise TypeError(f"{what} is a FilePart, whose file must be able to seek")
        size = span[1]
    end = max(size, part.offset) if part.length is None else part.offset + part.length
    if end > size:
        raise InvalidRequestError(f"{what} is a FilePart up to byte {end}, and its file has {size} bytes")
    return _Path(file, part.offset, end) if part.is_path else _File(file, part.offset, end)


def _size_of_path(path: str | os.PathLike[str], what: str) -> int:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise InvalidRequestError(f"{what} is a path, and {os.fspath(path)!r} is no regular file")
    return status.st_size


def _source_of_file(file: Any, read: Callable[..., Any], what: str) -> _Source:
    _check_file(file, what)
    if type(file) is io.BytesIO:
        return _Bytes(file.getvalue()[file.tell() :])
    if inspect.iscoroutinefunction(read):
        return _OneShot(_read_async(read), _declared_size(file, what))
    if hasattr(file, "__aiter__"):
        # A stream has a position: its iterators look new and go on where the last one stopped.
        return _OneShot(file, _declared_size(file, what))
    span = _span(file)
    if span is not None:
        return _File(file, span[0], max(span))
    # ``read1`` gives what a pipe has; ``read`` waits until the chunk is full.
    return _OneShot(_read_on(getattr(file, "read1", read)), _declared_size(file, what))


def _check_file(file: Any, what: str) -> None:
    # ``encoding`` tells the wrappers (tempfile's, aiofiles') that are no TextIOBase themselves.
    if isinstance(file, io.TextIOBase) or getattr(file, "encoding", None) is not None:
        raise TypeError(f"{what} is a file in text mode, and a body is made of bytes: open it in binary mode")
    if getattr(file, "closed", False) is True:
        raise InvalidRequestError(f"{what} is a closed file")


def _span(file: Any) -> tuple[int, int] | None:
    """Find where a file stands and where it ends; None for one that cannot seek."""
    with _lock_of(file):
        try:
            start: int = file.tell()
            file.seek(0, os.SEEK_END)
            end: int = file.tell()
            file.seek(start)
        except (AttributeError, OSError):
            return None
    return start, end


_locks: weakref.WeakKeyDictionary[Any, threading.Lock] = weakref.WeakKeyDictionary()


def _lock_of(file: Any) -> threading.Lock:
    """The lock of an open file, one for all bodies that read it."""
    try:
        return _locks.setdefault(file, threading.Lock())
    except TypeError:  # it has no weak references, or no hash
        return threading.Lock()


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
        # Not its cause: that one holds the whole text.
        message = f"content has a lone surrogate at position {error.start}, which UTF-8 cannot say"
    raise InvalidRequestError(message)


def _as_bytes(chunk: Any) -> bytes:
    try:
        # A copy: whoever fills one buffer again and again must not change what still waits to be written.
        return memoryview(chunk).tobytes()
    except TypeError:
        raise TypeError(f"a chunk of the body is {type(chunk).__name__}, expected bytes") from None


async def _read_range(
    read_at: Callable[[int, int], object], start: int, end: int
) -> AsyncGenerator[object, None]:
    """Read a part of a file in worker threads; one that ends early is told by its length."""
    position = start
    while position < end:
        chunk: Any = await asyncio.to_thread(read_at, position, min(_CHUNK, end - position))
        if chunk == b"":
            return
        yield chunk
        position += len(chunk)


async def _read_on(read: Callable[[int], object]) -> AsyncGenerator[object, None]:
    """Read a file that cannot seek, in worker threads, until it gives no more bytes."""
    while (chunk := await asyncio.to_thread(read, _CHUNK)) != b"":
        yield chunk


async def _read_async(read: Callable[[int], Any]) -> AsyncGenerator[object, None]:
    """Read an async file or stream until it gives no more bytes."""
    while (chunk := await read(_CHUNK)) != b"":
        yield chunk


async def _each(iterator: Iterator[object]) -> AsyncGenerator[object, None]:
    """Iterate in the event loop, and close the generator that was iterated."""
    try:
        for chunk in iterator:
            yield chunk
    finally:
        if isinstance(iterator, Generator):
            iterator.close()
