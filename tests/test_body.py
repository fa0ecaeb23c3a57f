"""The kinds of content of a body, how each is sent, and when it can be sent again."""

from __future__ import annotations

import asyncio
import builtins
import io
import os
import pickle
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from hypothesis import given
from hypothesis import strategies as st
from pytest_aiohttp.plugin import AiohttpServer

from aioapiclient._body.body import Body, build_body
from aioapiclient._body.files import FilePart
from aioapiclient._body.sources import _PathFile
from aioapiclient._query import QueryStyle
from aioapiclient._types import NOT_GIVEN, OMIT
from aioapiclient.errors import InvalidRequestError, RequestNotReplayableError

LONG = bytes(range(256)) * 800  # 204800 bytes: more than three chunks of a file


async def send(body: Body) -> bytes:
    """Send a body once, as a transport does, and return the bytes that the peer would get."""
    async with aclosing(aiter(body)) as chunks:
        return b"".join([chunk async for chunk in chunks])


class Chunks:
    """An iterable that returns a new async iterator each time."""

    def __init__(self, *chunks: Any) -> None:
        self.chunks = chunks
        self.opened = 0
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[Any]:
        self.opened += 1
        try:
            for chunk in self.chunks:
                yield chunk
        finally:
            self.closed += 1


class Sized(Chunks):
    """The same, with a length."""

    def __init__(self, size: Any, *chunks: Any) -> None:
        super().__init__(*chunks)
        self.size = size


class File(io.BytesIO):
    """A file that is not the plain BytesIO, so that it is read like one on a disk."""


class Pipe(io.RawIOBase):
    """A file that cannot seek and returns its chunks one by one."""

    def __init__(self, *chunks: bytes | None) -> None:
        self.chunks = list(chunks)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes | None:
        return self.chunks.pop(0) if self.chunks else b""


class AsyncFile:
    """A file like those of aiofiles, anyio and upload objects: its read is async, and it keeps its
    position.
    """

    def __init__(self, content: bytes) -> None:
        self.file = io.BytesIO(content)

    async def read(self, size: int = -1) -> bytes:
        return self.file.read(size)


# The forms of content


@pytest.mark.parametrize(
    "content", [b"abc", bytearray(b"abc"), memoryview(b"abc"), "abc", io.BytesIO(b"abc")]
)
async def test_content_in_memory(content: Any) -> None:
    """Content in memory is available as bytes, knows its size, and can be sent twice."""
    body = Body(content)

    assert (body.content, body.size, body.replayable, body.consumed) == (b"abc", 3, True, False)
    assert [await send(body), await send(body)] == [b"abc", b"abc"]


async def test_files_and_iterables_have_no_bytes_at_hand() -> None:
    """A file or an iterable has no bytes in memory that could be signed or sent immediately."""
    assert Body(File(b"abc")).content is None
    assert Body(Chunks(b"abc")).content is None
    assert Body([b"abc"]).content is None


def test_text_is_utf8() -> None:
    """A str is sent as UTF-8 and called plain text, unless a content type is given."""
    body = Body("Grüße")

    assert (body.content, body.content_type) == ("Grüße".encode(), "text/plain; charset=utf-8")
    assert Body("<a/>", content_type="text/xml").content_type == "text/xml"


def test_text_that_utf8_cannot_say() -> None:
    """A lone surrogate is refused before anything is sent; the error has its position, but not the text."""
    with pytest.raises(InvalidRequestError, match="lone surrogate at position 6") as caught:
        Body("secret\ud800")

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_content_type_is_only_what_was_given() -> None:
    """Bytes, files and iterables have the given content type, or none."""
    assert Body(b"abc").content_type is None
    assert Body([b"abc"]).content_type is None
    assert Body(b"abc", content_type="image/png").content_type == "image/png"


async def test_buffer_that_changes_afterwards() -> None:
    """Changing a bytearray after the call was made does not change the sent bytes."""
    buffer = bytearray(b"abc")
    body = Body(buffer)
    buffer[:] = b"xyz"

    assert await send(body) == b"abc"


@pytest.mark.parametrize("content", [None, 7, 1.5, {"a": 1}, object(), len])
def test_content_of_another_type(content: Any) -> None:
    """A value of another type is a TypeError that names it; a mapping needs json or data."""
    with pytest.raises(TypeError, match=f"content must be bytes.*, not {type(content).__name__}"):
        Body(content)


@pytest.mark.parametrize("wrapped", [False, True])
def test_text_file_is_refused(wrapped: bool, tmp_path: Path) -> None:
    """A file in text mode where bytes are expected is an error, not UTF-8 content, whatever wraps it."""
    opened: Any = (tmp_path / "text").open("w+") if not wrapped else tempfile.NamedTemporaryFile("w+")  # noqa: SIM115

    with opened, pytest.raises(TypeError, match="text mode"):
        Body(opened)


def test_closed_file_is_refused() -> None:
    """A closed file is refused when the body is created."""
    file = io.BytesIO(b"abc")
    file.close()

    with pytest.raises(InvalidRequestError, match="closed file"):
        Body(file)


async def test_body_of_a_body_is_shared() -> None:
    """A body made of a body is the same content, sent once by both together."""
    first = Body(iter([b"abc"]), content_type="text/csv")
    second = Body(first)

    assert second.content_type == "text/csv"
    assert await send(second) == b"abc"
    assert first.consumed
    assert Body(first, content_type="text/html").content_type == "text/html"


def test_repr_shows_no_content() -> None:
    """The repr shows type, size and whether the body can be sent again, never the content."""
    assert repr(Body(b"secret", content_type="text/csv")) == "<Body text/csv, 6 bytes, replayable>"
    assert repr(Body(iter([b"secret"]))) == "<Body untyped, unknown size, one-shot>"


def test_repr_shows_names_and_files(tmp_path: Path) -> None:
    """The repr has the names of members, fields and files, which tell two bodies apart, and no value."""
    path = tmp_path / "tea.txt"
    path.write_bytes(b"secret")
    form = Body.from_multipart({"doc": b"secret"}, {"title": "secret"})

    assert repr(Body.from_json({"a": "secret", "b": 1})) == (
        "<Body application/json, 20 bytes, replayable, a, b>"
    )
    assert repr(Body.from_form([("q", "secret"), ("q", ""), ("p", "")])) == (
        "<Body application/x-www-form-urlencoded, 14 bytes, replayable, q, p>"
    )
    assert repr(form).endswith("replayable, data['title'], files['doc']>")
    assert repr(form.with_progress(Bar())) == repr(form)
    assert repr(Body(path)) == f"<Body untyped, 6 bytes, replayable, {str(path)!r} from 0 to 6>"
    with path.open("rb") as file:
        assert repr(Body(FilePart(file, 2, 3))).endswith(f"replayable, {str(path)!r} from 2 to 5>")
    assert repr(Body(File(b"secret"))) == "<Body untyped, 6 bytes, replayable, 'File' from 0 to 6>"


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff", b""])
@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_repr_of_what_is_not_what_it_says(content: bytes, content_type: str) -> None:
    """The repr of a body that cannot be read omits the names, and never raises."""
    assert repr(Body(content, content_type=content_type)).startswith(f"<Body {content_type}, ")


class Bar:
    """A progress."""

    def update(self, n: int) -> None: ...


async def test_spent_shows_in_the_repr() -> None:
    """The repr of a one-shot body that was sent shows that it cannot be sent again."""
    body = Body(iter([b"abc"]))
    await send(body)

    assert repr(body) == "<Body untyped, unknown size, consumed>"


def test_body_of_bytes_pickles() -> None:
    """A body of bytes is pickled completely."""
    body = pickle.loads(pickle.dumps(Body(b"abc", content_type="text/csv")))

    assert (body.content, body.content_type, body.size) == (b"abc", "text/csv", 3)


# Files


@pytest.mark.parametrize("kind", [File, io.BytesIO])
async def test_file_is_rewound_to_where_it_began(kind: type[io.BytesIO]) -> None:
    """A seekable file is sent from its position when it was passed, each time."""
    file = kind(b"header" + LONG)
    file.seek(6)
    body = Body(file)

    assert (body.size, body.replayable, file.tell()) == (len(LONG), True, 6)
    assert [await send(body), await send(body)] == [LONG, LONG]


@pytest.mark.parametrize("kind", [File, io.BytesIO])
async def test_file_that_stands_beyond_its_end(kind: type[io.BytesIO]) -> None:
    """A file at or beyond its end has nothing left to send, and its size is 0."""
    file = kind(b"abc")
    file.seek(7)
    body = Body(file)

    assert body.size == 0
    assert await send(body) == b""


async def test_file_stays_open() -> None:
    """Sending an open file does not close it: it belongs to the caller."""
    file = File(LONG)
    body = Body(file)

    await send(body)
    async for _ in body:
        break

    assert not file.closed


async def test_file_is_read_in_a_thread_by_chunks() -> None:
    """A file is read in a worker thread, as much at a time as was read before, but 64 to 512 KiB."""
    reads: list[tuple[bool, int]] = []
    content = LONG * 8  # 1600 KiB

    class Watched(File):
        def read(self, size: int | None = -1, /) -> bytes:
            reads.append((threading.current_thread() is threading.main_thread(), (size or -1) >> 10))
            return super().read(size)

    assert await send(Body(Watched(content))) == content
    assert reads == [(False, kib) for kib in (64, 64, 128, 256, 512, 512, 64)]


async def test_file_that_shrinks() -> None:
    """A file that has become shorter is an error with both lengths, not a request that never ends."""
    file = File(b"0123456789")
    body = Body(file)
    file.truncate(4)

    with pytest.raises(InvalidRequestError, match="4 bytes, not 10"):
        await send(body)


async def test_file_that_grows() -> None:
    """A file that grows while it is sent, such as a log, is sent with its original length."""
    file = File(b"0123456789")
    body = Body(file)
    file.seek(0, os.SEEK_END)
    file.write(b"more")

    assert await send(body) == b"0123456789"


async def test_read_left_behind_by_a_cancel() -> None:
    """A read that a cancelled sending left in its thread does not move the file during the next sending."""
    started, go_on = threading.Event(), threading.Event()
    overlaps: list[bool] = []

    class Slow(File):
        busy = False

        def read(self, size: int | None = -1, /) -> bytes:
            overlaps.append(self.busy)
            self.busy = True
            started.set()
            assert go_on.wait(10)
            self.busy = False
            return super().read(size)

    body = Body(Slow(LONG))
    first = asyncio.create_task(send(body))
    await asyncio.to_thread(started.wait, 10)
    first.cancel()
    asyncio.get_running_loop().call_later(0.02, go_on.set)

    with pytest.raises(asyncio.CancelledError):
        await first
    assert await send(body) == LONG
    assert not any(overlaps)


async def test_two_sendings_of_one_file_at_once() -> None:
    """Two concurrent sendings of one file each send all of it."""
    body = Body(File(LONG))

    assert list(await asyncio.gather(send(body), send(body))) == [LONG, LONG]


async def test_pipe_is_sent_as_it_comes() -> None:
    """A file that cannot seek has no size, is read as its content arrives, and is sent only once."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb", buffering=0) as end:
        body = Body(pipe)
        assert (body.size, body.replayable, body.consumed) == (None, False, False)
        chunks = aiter(body)
        end.write(b"abc")
        assert await anext(chunks) == b"abc"
        end.write(b"def")
        assert await anext(chunks) == b"def"
        end.close()
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)

    assert body.consumed


async def test_pipe_that_does_not_block() -> None:
    """A raw file without data at the moment returns None; that is an error, not the end of the body."""
    body = Body(Pipe(b"abc", None, b"def"))

    with pytest.raises(TypeError, match="chunk of the body is NoneType, expected bytes"):
        await send(body)


@pytest.mark.parametrize("kind", ["asyncio", "aiohttp", "file"])
async def test_async_file(kind: str) -> None:
    """A stream with an async read is sent once: its new iterators continue where the last one stopped."""
    stream: Any = AsyncFile(LONG)
    if kind == "asyncio":
        stream = asyncio.StreamReader()
    elif kind == "aiohttp":
        loop = asyncio.get_running_loop()
        stream = aiohttp.StreamReader(BaseProtocol(loop), 2**20, loop=loop)
    if kind != "file":
        stream.feed_data(LONG)
        stream.feed_eof()
    body = Body(stream)

    assert (body.size, body.replayable) == (None, False)
    assert await send(body) == LONG
    with pytest.raises(RequestNotReplayableError):
        await send(body)


async def test_iterable_that_can_also_be_read() -> None:
    """An object with a read method that iterates asynchronously has a position, so it is sent once."""

    class Stream(Chunks):
        def read(self, size: int) -> bytes:
            raise AssertionError("iterated, not read")

    body = Body(Stream(b"abc"))

    assert not body.replayable
    assert await send(body) == b"abc"


# Paths


async def test_path_is_opened_for_each_sending(tmp_path: Path) -> None:
    """A path is sent with the size of its file, and again whenever that is needed."""
    path = tmp_path / "upload"
    path.write_bytes(LONG)
    body = Body(path)

    assert (body.size, body.replayable, body.content) == (len(LONG), True, None)
    assert [await send(body), await send(body)] == [LONG, LONG]


def test_path_to_nothing(tmp_path: Path) -> None:
    """A missing path is Python's own error, before anything is sent; a directory is refused as well."""
    with pytest.raises(FileNotFoundError):
        Body(tmp_path / "missing")
    with pytest.raises(InvalidRequestError, match="neither a file nor a device"):
        Body(tmp_path)


async def test_path_that_shrinks(tmp_path: Path) -> None:
    """A file that was truncated between the call and the sending is an error with both lengths."""
    path = tmp_path / "upload"
    path.write_bytes(b"0123456789")
    body = Body(path)
    path.write_bytes(b"0123")

    with pytest.raises(InvalidRequestError, match="4 bytes, not 10"):
        await send(body)


class Opened:
    """Replaces `open`, and records the opened files and their threads; it can be paused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[Any] = []
        self.in_main_thread: list[bool] = []
        self.started, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        monkeypatch.setattr("aioapiclient._body.sources.open", self, raising=False)

    def __call__(self, *arguments: Any) -> Any:
        self.started.set()
        assert self.go_on.wait(10)
        self.in_main_thread.append(threading.current_thread() is threading.main_thread())
        self.files.append(builtins.open(*arguments))  # noqa: SIM115 (the caller closes it)
        return self.files[-1]


async def test_path_is_closed_after_its_sending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of a path is opened in a worker thread, and closed after a sending and after half of one."""
    opened = Opened(monkeypatch)
    path = tmp_path / "upload"
    path.write_bytes(LONG)
    body = Body(path)

    await send(body)
    async with aclosing(aiter(body)) as chunks:
        await anext(chunks)

    assert [file.closed for file in opened.files] == [True, True]
    assert opened.in_main_thread == [False, False]


async def test_path_whose_sending_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancel while the file of a path is being opened leaves no file open."""
    opened = Opened(monkeypatch)
    opened.go_on.clear()
    path = tmp_path / "upload"
    path.write_bytes(LONG)
    sending = asyncio.create_task(send(Body(path)))
    await asyncio.to_thread(opened.started.wait, 10)
    sending.cancel()
    asyncio.get_running_loop().call_later(0.01, opened.go_on.set)

    with pytest.raises(asyncio.CancelledError):
        await sending
    assert [file.closed for file in opened.files] == [True]


def test_read_of_a_path_after_its_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read whose thread starts only after the sending was abandoned opens no file."""
    opened = Opened(monkeypatch)
    file = _PathFile(tmp_path / "upload")
    file.close()

    assert file.read_at(0, 3) == b""
    assert opened.files == []


# Iterables


async def test_iterator_is_not_touched_before_the_sending() -> None:
    """An async iterator is not touched before the transport requests a chunk, not even to set up the
    iteration.
    """
    counter = 0

    async def count() -> AsyncIterator[bytes]:
        nonlocal counter
        counter += 1
        yield b"abc"

    body = build_body(content=count())
    assert body is not None
    chunks = aiter(body)
    assert (counter, body.consumed) == (0, False)

    assert await anext(chunks) == b"abc"
    assert (counter, body.consumed) == (1, True)
    await chunks.aclose()


async def test_iterable_is_not_asked_for_an_iterator_before_the_sending() -> None:
    """To learn whether an iterable can be sent again, it is not iterated."""
    chunks = Chunks(b"abc")
    body = Body(chunks)

    assert body.replayable
    assert chunks.opened == 0


async def generate(*chunks: Any) -> AsyncIterator[Any]:
    """Yield the chunks once, asynchronously."""
    for chunk in chunks:
        yield chunk


def generate_sync(*chunks: Any) -> Iterator[Any]:
    """Yield the chunks once."""
    yield from chunks


@pytest.mark.parametrize("make", [generate, generate_sync, lambda *chunks: iter(chunks), Pipe])
async def test_one_shot_is_never_sent_again(make: Callable[..., Any]) -> None:
    """A one-shot body is sent once; a second sending is an error, never an empty request."""
    body = Body(make(b"abc", b"def"))

    assert not body.replayable
    assert await send(body) == b"abcdef"
    for _ in range(2):
        with pytest.raises(RequestNotReplayableError, match="can be sent only once"):
            await send(body)


@pytest.mark.parametrize("make", [generate, generate_sync, Pipe])
async def test_one_shot_is_spent_with_its_first_byte(make: Callable[..., Any]) -> None:
    """A one-shot body whose first chunk was lost cannot be sent again: the rest is not the body."""
    body = Body(make(b"abc", b"def"))
    async with aclosing(aiter(body)) as chunks:
        await anext(chunks)

    assert body.consumed
    with pytest.raises(RequestNotReplayableError):
        await send(body)


async def test_first_sending_of_a_one_shot_is_always_allowed() -> None:
    """A sending that never requested the first byte, because there was no connection, leaves a one-shot
    body unused.
    """
    body = Body(generate(b"abc"))
    await aiter(body).aclose()

    assert not body.consumed
    assert await send(body) == b"abc"


@pytest.mark.parametrize("content", [Chunks(b"abc", b"def"), [b"abc", b"def"], (b"abc", b"def")])
async def test_fresh_iterators_are_sent_again(content: Any) -> None:
    """An iterable that returns a new iterator each time can be sent again, and is never consumed."""
    body = Body(content)

    assert (body.replayable, body.size) == (True, None)
    assert [await send(body), await send(body)] == [b"abcdef", b"abcdef"]
    assert not body.consumed


async def test_half_a_sending_of_an_iterable() -> None:
    """An abandoned sending is followed by a complete one."""
    body = Body(Chunks(b"abc", b"def"))
    async with aclosing(aiter(body)) as chunks:
        await anext(chunks)

    assert await send(body) == b"abcdef"


async def test_iterable_that_gives_the_same_iterator() -> None:
    """An iterable whose iterator is the same each time is refused at the second sending's first byte."""

    class Same:
        def __init__(self) -> None:
            self.chunks = generate(b"abc", b"def", b"ghi")

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self.chunks

    body = Body(Same())
    async with aclosing(aiter(body)) as chunks:
        await anext(chunks)

    with pytest.raises(RequestNotReplayableError, match="same iterator"):
        await send(body)


async def test_iterable_that_does_not_rewind() -> None:
    """An iterable over a file that it does not rewind yields nothing the second time, and that is an
    error.
    """

    class OverFile:
        def __init__(self) -> None:
            self.file = io.BytesIO(b"abc")

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while chunk := self.file.read(1):
                yield chunk

    body = Body(OverFile())

    assert await send(body) == b"abc"
    with pytest.raises(RequestNotReplayableError, match="0 bytes, but had 3 when sent before"):
        await send(body)


@pytest.mark.parametrize("end", ["whole", "stopped", "failed"])
async def test_async_generator_is_closed(end: str) -> None:
    """The generator of an iterable is closed when its sending ends, is given up, or fails."""
    content = Chunks(b"abc", 7 if end == "failed" else b"def")
    async with aclosing(aiter(Body(content))) as chunks:
        await anext(chunks)
        if end == "whole":
            assert [chunk async for chunk in chunks] == [b"def"]
        elif end == "failed":
            with pytest.raises(TypeError):
                await anext(chunks)

    assert (content.opened, content.closed) == (1, 1)


async def test_generators_of_the_caller_are_closed() -> None:
    """A generator that was given as content is closed after half a sending, async or not."""
    closed: list[str] = []

    async def run_async() -> AsyncIterator[bytes]:
        try:
            yield b"abc"
        finally:
            closed.append("async")

    def run_sync() -> Iterator[bytes]:
        try:
            yield b"abc"
        finally:
            closed.append("sync")

    for content in (run_async(), run_sync()):
        async with aclosing(aiter(Body(content))) as chunks:
            await anext(chunks)

    assert closed == ["async", "sync"]


async def test_generator_sees_the_cancel() -> None:
    """A cancel reaches the generator where it waits, and it may clean up."""
    seen: list[type[BaseException]] = []
    waiting = asyncio.Event()

    async def wait() -> AsyncIterator[bytes]:
        try:
            waiting.set()
            await asyncio.Event().wait()
            yield b""
        except BaseException as error:
            seen.append(type(error))
            raise

    sending = asyncio.create_task(send(Body(wait())))
    await waiting.wait()
    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
    assert seen == [asyncio.CancelledError]


async def test_size_of_an_iterable() -> None:
    """An int attribute size is the length of an iterable; a method or a flag of that name is not."""
    assert Body(Sized(6, b"abc", b"def")).size == 6
    assert Body(Sized(len, b"abc")).size is None
    assert Body(Sized(True, b"abc")).size is None
    assert Body(Sized(None, b"abc")).size is None
    assert await send(Body(Sized(6, b"abc", b"def"))) == b"abcdef"


def test_size_below_zero() -> None:
    """A size below zero is refused when the body is created."""
    with pytest.raises(InvalidRequestError, match="size of -1 bytes"):
        Body(Sized(-1, b"abc"))


async def test_iterable_longer_than_its_size() -> None:
    """Content longer than its size is an error with both numbers, and no byte beyond the size is ever
    sent.
    """
    chunks = aiter(Body(Sized(5, b"abc", b"def")))

    assert await anext(chunks) == b"abc"
    with pytest.raises(InvalidRequestError, match="at least 6 bytes, not 5"):
        await anext(chunks)


async def test_iterable_shorter_than_its_size() -> None:
    """Content shorter than its size is an error with both numbers, not a peer that waits for the rest."""
    with pytest.raises(InvalidRequestError, match="6 bytes, not 7"):
        await send(Body(Sized(7, b"abc", b"def")))


@pytest.mark.parametrize("chunk", ["abc", 7, None, {"a": 1}])
@pytest.mark.parametrize("make", [Chunks, generate, generate_sync, lambda *chunks: list(chunks)])
async def test_chunk_of_another_type(make: Callable[..., Any], chunk: Any) -> None:
    """A chunk that is not bytes is a TypeError that names its type."""
    with pytest.raises(TypeError, match=f"chunk of the body is {type(chunk).__name__}, expected bytes"):
        await send(Body(make(b"abc", chunk)))


async def test_chunks_like_bytes() -> None:
    """Chunks may be any bytes-like object, and every sent chunk is a separate bytes object."""
    body = Body(Chunks(b"ab", bytearray(b"cd"), memoryview(b"e-f-")[::2]))

    chunks = [chunk async for chunk in body]
    assert chunks == [b"ab", b"cd", b"ef"]
    assert {type(chunk) for chunk in chunks} == {bytes}


async def test_buffer_that_is_filled_again() -> None:
    """An iterable that reuses one buffer does not change chunks that are still to be written."""

    async def fill() -> AsyncIterator[bytearray]:
        buffer = bytearray(3)
        for text in (b"abc", b"def"):
            buffer[:] = text
            yield buffer

    assert [chunk async for chunk in Body(fill())] == [b"abc", b"def"]


async def test_empty_chunks_are_not_sent() -> None:
    """Empty chunks are skipped: in chunked coding one would end the body."""
    assert [chunk async for chunk in Body(Chunks(b"", b"abc", b"", b"def", b""))] == [b"abc", b"def"]
    assert [chunk async for chunk in Body(b"")] == []


class Failure(Exception):
    """The user's own."""


@pytest.mark.parametrize(
    "error", [Failure("mine"), TypeError("a bug"), OSError("the disk"), ValueError("closed")]
)
@pytest.mark.parametrize("kind", ["async", "sync", "file", "async file"])
async def test_errors_of_the_users_content_come_out_as_they_are(kind: str, error: Exception) -> None:
    """An exception of the user's file or iterable, also a bug, is raised unchanged, as the same object."""

    async def fail_async() -> AsyncIterator[bytes]:
        yield b"abc"
        raise error

    def fail_sync() -> Iterator[bytes]:
        yield b"abc"
        raise error

    class FailingFile(File):
        def read(self, size: int | None = -1, /) -> bytes:
            raise error

    class FailingAsyncFile(AsyncFile):
        async def read(self, size: int = -1) -> bytes:
            raise error

    contents: dict[str, Callable[[], Any]] = {
        "async": fail_async,
        "sync": fail_sync,
        "file": lambda: FailingFile(b"abc"),
        "async file": lambda: FailingAsyncFile(b"abc"),
    }

    with pytest.raises(type(error)) as caught:
        await send(Body(contents[kind]()))
    assert caught.value is error
    assert caught.value.__cause__ is None


# JSON, forms, and which of them a call gets


class Message(msgspec.Struct, rename="camel"):
    role: str
    max_tokens: int | msgspec.UnsetType = msgspec.UNSET
    stop_reason: str | msgspec.UnsetType | None = msgspec.UNSET


def test_json_is_compact() -> None:
    """JSON is written without white space, exactly, and encoded once, when the body is created."""
    body = Body.from_json({"key": "value", "number": 42})

    assert body.content == b'{"key":"value","number":42}'
    assert (body.content_type, body.size, body.replayable) == ("application/json", 27, True)


def test_json_of_a_struct() -> None:
    """Only the set fields of a Struct are sent, under their renamed names, an explicit None as null."""
    message = Message(role="user", stop_reason=None)

    assert Body.from_json([message]).content == b'[{"role":"user","stopReason":null}]'


def test_json_of_iterators() -> None:
    """Generators and iterators in JSON become arrays, read once, so that they can be sent again."""
    body = Body.from_json({"ids": (number for number in [1, 2]), "names": iter("ab")})

    assert body.content == b'{"ids":[1,2],"names":["a","b"]}'


def test_json_by_the_hook() -> None:
    """A type that msgspec does not know is encoded by enc_hook."""
    assert Body.from_json({"z": 1j}, enc_hook=str).content == b'{"z":"1j"}'


def test_json_none_sends_null() -> None:
    """json=None sends null; only the sentinels omit it."""
    body = build_body(json=None)

    assert body is not None
    assert (body.content, body.content_type) == (b"null", "application/json")
    assert build_body(json=NOT_GIVEN) is build_body(json=OMIT) is None


def test_extra_body_is_merged() -> None:
    """extra_body is merged over the JSON object, wins if both name a member, and its None sends null."""
    body = build_body(json={"foo": 1, "bar": 2}, extra_body={"bar": 3, "baz": None})

    assert body is not None
    assert msgspec.json.decode(body.content or b"") == {"foo": 1, "bar": 3, "baz": None}


def test_extra_body_alone() -> None:
    """extra_body without json makes a JSON object."""
    body = build_body(extra_body={"foo": 1})

    assert body is not None
    assert (body.content, body.content_type) == (b'{"foo":1}', "application/json")


@pytest.mark.parametrize("data", [{"a": "x y", "b": "1"}, [("a", "x y"), ("b", "1")]])
def test_form(data: Any) -> None:
    """A form is made from a mapping or from pairs, and can be sent again."""
    body = Body.from_form(data)

    assert body.content == b"a=x+y&b=1"
    assert body.content_type == "application/x-www-form-urlencoded"
    assert body.replayable


def test_form_of_a_generator() -> None:
    """Pairs that can be read only once are read when the body is created, so the form can be sent again."""
    body = Body.from_form(pair for pair in [("a", "1"), ("a", "2")])

    assert body.content == b"a=1&a=2"


def test_form_follows_the_style() -> None:
    """Arrays in a form are written in the style that the query has."""
    body = build_body(data={"a": ["1", "2"]}, style=QueryStyle(arrays="brackets"))

    assert body is not None
    assert body.content in (b"a%5B%5D=1&a%5B%5D=2", b"a[]=1&a[]=2")


@pytest.mark.parametrize("data", [b"a=1", "a=1", bytearray(b"a=1"), File(b"a=1")])
def test_data_that_is_not_a_form(data: Any) -> None:
    """Bytes, text and files as data are a TypeError that names the right keyword, not a form of their
    letters.
    """
    with pytest.raises(TypeError, match=f"must be a mapping or pairs, not {type(data).__name__}"):
        build_body(data=data)


@pytest.mark.parametrize("make", [aiohttp.FormData, aiohttp.MultipartWriter])
@pytest.mark.parametrize("name", ["data", "content", "files"])
def test_form_of_aiohttp(make: Callable[[], Any], name: str) -> None:
    """Content that only aiohttp accepts is refused by name everywhere: it would be sent as an empty body."""
    with pytest.raises(TypeError, match=rf"^{name} must not be .* {make.__name__}; .* in files="):
        build_body(**{name: make()})
    with pytest.raises(TypeError, match=rf"^files\['f'\] must not be aiohttp's {make.__name__}"):
        build_body(files={"f": make()})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("json", "data"),
        ("json", "content"),
        ("data", "content"),
        ("extra_body", "data"),
        ("extra_body", "content"),
    ],
)
def test_two_bodies(first: str, second: str) -> None:
    """Two kinds of body are a TypeError that names both: neither is dropped silently."""
    values: dict[str, Any] = {"json": None, "data": {"a": 1}, "content": b"abc", "extra_body": {"b": 2}}

    with pytest.raises(TypeError, match=f"^{first} and {second} were both given"):
        build_body(**{first: values[first], second: values[second]})


def test_json_with_extra_body_is_one_body() -> None:
    """A third kind beside JSON and its extra_body is refused."""
    with pytest.raises(TypeError, match=r"^json and data were both given"):
        build_body(json={}, extra_body={"a": 1}, data={"b": 2})


@pytest.mark.parametrize("absent", [None, NOT_GIVEN, OMIT])
def test_no_body(absent: Any) -> None:
    """A call without json, data and content has no body, not an empty one."""
    assert build_body() is None
    assert build_body(data=absent, content=absent, extra_body=absent) is None


def test_empty_content_is_a_body() -> None:
    """Content of no bytes is a body of size 0; so is an empty form."""
    body = build_body(content=b"")
    form = build_body(data={})

    assert body is not None
    assert form is not None
    assert (body.size, form.size) == (0, 0)


def test_content_that_is_a_body() -> None:
    """A body that was created before is used unchanged, with its content type."""
    body = Body(b"abc", content_type="text/csv")

    assert build_body(content=body) is body


# Common properties


@pytest.fixture
async def answers(aiohttp_server: AiohttpServer) -> tuple[str, list[bytes]]:
    """A server that answers 503 first and 200 after that, and records the requests."""
    received: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        received.append(await request.read())
        return web.Response(status=503 if len(received) == 1 else 200)

    app = web.Application()
    app.router.add_put("/", answer)
    server = await aiohttp_server(app)
    return str(server.make_url("/")), received


@pytest.mark.parametrize("make", [File, io.BytesIO, lambda content: Chunks(content[:9], content[9:])])
async def test_whole_body_after_a_503(make: Callable[[bytes], Any], answers: tuple[str, list[bytes]]) -> None:
    """On the wire a file or an iterable also arrives complete the second time, after a 503."""
    url, received = answers
    body = Body(make(LONG))

    async with aiohttp.ClientSession() as session:
        for status in (503, 200):
            async with session.put(url, data=body) as response:
                assert response.status == status

    assert received == [LONG, LONG]


KINDS: dict[str, Callable[[list[bytes]], Any]] = {
    "bytes": b"".join,
    "bytearray": lambda chunks: bytearray(b"".join(chunks)),
    "BytesIO": lambda chunks: io.BytesIO(b"".join(chunks)),
    "file": lambda chunks: File(b"".join(chunks)),
    "async file": lambda chunks: AsyncFile(b"".join(chunks)),
    "pipe": lambda chunks: Pipe(*filter(None, chunks)),
    "list": list,
    "iterator": iter,
    "generator": lambda chunks: generate_sync(*chunks),
    "async generator": lambda chunks: generate(*chunks),
    "async iterable": lambda chunks: Chunks(*chunks),
    "sized": lambda chunks: Sized(sum(map(len, chunks)), *chunks),
}


@pytest.mark.parametrize("kind", KINDS)
@given(chunks=st.lists(st.binary(max_size=20), max_size=8))
async def test_any_split_through_any_kind(kind: str, chunks: list[bytes]) -> None:
    """However bytes are split, each kind sends the same, and sends it again or raises."""
    whole = b"".join(chunks)
    body = Body(KINDS[kind](chunks))

    assert body.size in (None, len(whole))
    assert await send(body) == whole
    if body.replayable:
        assert await send(body) == whole
    else:
        with pytest.raises(RequestNotReplayableError):
            await send(body)


@pytest.mark.parametrize("kind", KINDS)
@given(
    chunks=st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=8),
    taken=st.integers(min_value=0, max_value=8),
)
async def test_any_part_of_a_sending_before_the_next(kind: str, chunks: list[bytes], taken: int) -> None:
    """Wherever a sending is abandoned, the next one is complete, or refused if the first byte may have
    been sent.
    """
    body = Body(KINDS[kind](chunks))
    async with aclosing(aiter(body)) as sending:
        for _ in range(taken):
            await anext(sending, None)

    assert body.consumed == (not body.replayable and taken > 0)
    if body.consumed:
        with pytest.raises(RequestNotReplayableError):
            await send(body)
    else:
        assert await send(body) == b"".join(chunks)
