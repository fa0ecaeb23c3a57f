"""Files as bodies: sizes that are wrong, devices and FIFOs, and one file passed to several calls."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from servers import RawRequest, ok, raw_server, respond, until

from aioapiclient import AsyncAPIClient, FilePart
from aioapiclient._body.body import Body, build_body
from aioapiclient.errors import InvalidRequestError, RequestNotReplayableError

LONG = bytes(range(256)) * 800  # 204800 bytes: more than three chunks of a file

# /proc reports that its files are empty, and /sys that they have a page.
UNTRUE = [
    pytest.param(path, marks=pytest.mark.skipif(not path.exists(), reason="the system has no such file"))
    for path in map(Path, ("/proc/version", "/proc/self/environ", "/sys/class/net/lo/mtu"))
]


async def send(body: Body) -> bytes:
    """Send a body once, as a transport does, and return the bytes that the peer would get."""
    async with aclosing(aiter(body)) as chunks:
        return b"".join([chunk async for chunk in chunks])


def content_of(path: Path) -> bytes:
    """The content of the file, whatever its reported size."""
    return path.read_bytes()


Put = Callable[..., Awaitable[RawRequest]]


@asynccontextmanager
async def puts() -> AsyncIterator[Put]:
    """A client to send bodies with, and the requests that its server received."""
    async with raw_server(respond(ok())) as server, AsyncAPIClient(server.url, max_retries=0) as client:

        async def put(**options: Any) -> RawRequest:
            await client.put("/", None, **options)
            return server.requests[-1]

        yield put


# Sizes


@pytest.mark.parametrize("path", UNTRUE)
async def test_path_whose_size_is_not_true(path: Path) -> None:
    """A file that reports 0 bytes, or more than it has, is sent completely, without a length, and again."""
    body = Body(path)

    assert await send(body) == content_of(path) != b""
    assert await send(body) == content_of(path)
    assert (body.size, body.replayable) == (None, True)


@pytest.mark.parametrize("path", UNTRUE)
async def test_open_file_whose_size_is_not_true(path: Path) -> None:
    """So is the open file, from its position."""
    with path.open("rb") as file:
        file.read(1)
        body = Body(file)
        assert await send(body) == content_of(path)[1:] != b""
        assert await send(body) == content_of(path)[1:]

    assert (body.size, body.replayable) == (None, True)


@pytest.mark.parametrize("path", UNTRUE)
@pytest.mark.parametrize("is_open", [False, True])
async def test_slice_of_a_file_whose_size_is_not_true(path: Path, is_open: bool) -> None:
    """A slice has the available bytes; one beyond the end is refused immediately."""
    content = content_of(path)
    with path.open("rb") as file:
        source: Any = file if is_open else path
        assert await send(Body(FilePart(source, 1))) == content[1:]
        assert await send(Body(FilePart(source, 1, 2))) == content[1:3]
        assert Body(FilePart(source, 1, 2)).size == 2
        with pytest.raises(InvalidRequestError, match="its file ends before"):
            Body(FilePart(source, 1, len(content)))
        with pytest.raises(InvalidRequestError, match="its file ends before"):
            Body(FilePart(source, len(content) + 1))


@pytest.mark.parametrize("path", UNTRUE)
async def test_such_files_on_the_wire(path: Path) -> None:
    """Slices are sent in chunks, alone and in a form."""
    async with puts() as put:
        alone = await put(content=path)
        form = await put(files={"file": path})

    assert alone.headers["Transfer-Encoding"] == form.headers["Transfer-Encoding"] == "chunked"
    assert alone.body == content_of(path)
    assert content_of(path) in form.body


@pytest.mark.parametrize("path", UNTRUE)
async def test_file_whose_content_varies(path: Path) -> None:
    """A file that is read to its end may be shorter in the second send: it was opened again."""
    body = Body(path)
    body._source._longest_send = 1_000_000  # as if the first sending had returned more

    assert await send(body) == content_of(path)


@pytest.mark.parametrize("make", [Path, lambda path: path.open("rb"), FilePart])
async def test_empty_file_has_a_size(make: Callable[[Path], Any], tmp_path: Path) -> None:
    """A file that is empty is sent with a length of 0, and not in chunks."""
    path = tmp_path / "empty"
    path.touch()
    content = make(path)
    async with puts() as put:
        request = await put(content=content)
    if isinstance(content, io.IOBase):
        content.close()

    assert request.headers["Content-Length"] == "0"


async def test_sparse_file_has_a_size(tmp_path: Path) -> None:
    """The size of a file that takes no space on the disk but has its bytes is correct."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(100_000)
    async with puts() as put:
        request = await put(content=path)

    assert request.headers["Content-Length"] == "100000"
    assert request.body == bytes(100_000)


async def test_file_in_a_buffer_has_its_size() -> None:
    """Bytes that are still in the write buffer of the file are sent."""
    with tempfile.TemporaryFile() as file:
        file.write(b"abc")
        file.seek(0)
        file.read(1)
        body = Body(file)
        assert await send(body) == b"bc"

    assert body.size == 2


async def test_file_that_wraps_another(tmp_path: Path) -> None:
    """The size of a file that decompresses is that of its content, not that of the underlying file."""
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(LONG))
    with gzip.open(path) as file:
        body = Body(file)
        assert await send(body) == LONG

    assert body.size == len(LONG)


# Devices and FIFOs


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A FIFO without a reader or a writer."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


async def test_path_of_a_fifo(fifo: Path) -> None:
    """A FIFO is waited for and read to its end, once."""
    body = Body(fifo)
    sending = asyncio.create_task(send(body))
    with await asyncio.to_thread(open, fifo, "wb", 0) as writer:
        await asyncio.to_thread(writer.write, LONG[:100_000])

    assert await asyncio.wait_for(sending, 10) == LONG[:100_000]
    assert (body.size, body.replayable, body.consumed) == (None, False, True)


async def test_cancel_while_no_data_is_written(fifo: Path) -> None:
    """A FIFO without a writer blocks no thread: a cancel ends the read immediately."""
    body = Body(fifo)
    sending = asyncio.create_task(send(body))
    while not body.consumed:  # noqa: ASYNC110 (the task makes it true)
        await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(sending, 10)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="the system has no such device")
@pytest.mark.parametrize("is_open", [False, True])
async def test_device(is_open: bool) -> None:
    """A character device reports its end at 0, but is read."""
    path = Path("/dev/zero")
    with await asyncio.to_thread(path.open, "rb") as file:
        body = Body(file if is_open else path)
        async with aclosing(aiter(body)) as chunks:
            assert not (await anext(chunks)).strip(b"\0")

    assert (body.size, body.replayable) == (None, False)


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="the system has no such device")
async def test_null_device_is_empty() -> None:
    """The null device ends immediately."""
    assert await send(Body(Path("/dev/null"))) == b""


def test_slice_of_what_cannot_seek(fifo: Path) -> None:
    """A slice of a FIFO is refused, because a FIFO cannot seek."""
    with pytest.raises(TypeError, match="must be seekable"):
        Body(FilePart(fifo, 1))


# One file for several calls


class Untracked(io.BytesIO):
    """A file that has neither a hash nor weak references."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]


class Slotted:
    """A file for which nothing can be remembered."""

    __slots__ = ("file",)

    def __init__(self, content: bytes) -> None:
        self.file = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        return self.file.seek(position, whence)

    def tell(self) -> int:
        return self.file.tell()


def on_disk(content: bytes) -> Any:
    """A file on a disk."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the test)
    file.write(content)
    file.seek(0)
    return file


FILES = [on_disk, io.BytesIO, Untracked, Slotted]


@pytest.mark.parametrize("make", FILES)
async def test_open_file_in_two_calls(make: Callable[[bytes], Any]) -> None:
    """One open file that two calls are given is sent twice, from where it was when it was first given."""
    file = make(LONG)
    file.seek(7)
    async with puts() as put:
        first = await put(content=file)
        second = await put(content=file)
        third = await put(files={"file": file})
    getattr(file, "close", lambda: None)()

    assert first.body == second.body == LONG[7:]
    assert LONG[7:] in third.body


@pytest.mark.parametrize("make", FILES)
async def test_open_file_in_two_calls_at_once(make: Callable[[bytes], Any]) -> None:
    """So is one that a second call is given while the first is being sent."""
    file = make(LONG)
    first = aiter(Body(file))
    start = await anext(first)
    assert await send(Body(file)) == LONG
    assert start + b"".join([chunk async for chunk in first]) == LONG
    getattr(file, "close", lambda: None)()


@pytest.mark.parametrize("make", FILES)
async def test_file_that_its_owner_has_moved(make: Callable[[bytes], Any]) -> None:
    """Moving the file between two calls sets the start of the second one."""
    file = make(LONG)
    assert await send(Body(file)) == LONG
    file.seek(100)
    assert await send(Body(file)) == LONG[100:]
    assert await send(Body(file)) == LONG[100:]
    getattr(file, "close", lambda: None)()


@pytest.mark.parametrize("make", FILES)
async def test_slice_does_not_move_the_file(make: Callable[[bytes], Any]) -> None:
    """A file of which a slice was taken is sent from its original position."""
    file = make(LONG)
    file.seek(7)
    assert await send(Body(FilePart(file, 3, 5))) == LONG[3:8]
    assert await send(Body(FilePart(file, 3, 5))) == LONG[3:8]
    assert await send(Body(file)) == LONG[7:]
    getattr(file, "close", lambda: None)()


@pytest.mark.parametrize("make", FILES)
async def test_one_file_in_two_parts(make: Callable[[bytes], Any]) -> None:
    """Two parts of one form that are the same file are both complete."""
    file = make(b"content")
    body = build_body(files={"a": file, "b": file, "c": FilePart(file, 1, 3)})
    assert body is not None
    sent = await send(body)
    getattr(file, "close", lambda: None)()

    assert sent.count(b"\r\n\r\ncontent\r\n") == 2
    assert sent.count(b"\r\n\r\nont\r\n") == 1


async def test_files_that_are_equal() -> None:
    """Two files that compare equal have separate positions."""

    class Equal(io.BytesIO):
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

    first, second = Equal(b"first"), Equal(b"second")
    assert await send(Body(first)) == b"first"
    second.seek(5)  # the position that the sending left
    assert await send(Body(second)) == b"d"


class Pipe:
    """A file that cannot seek."""

    def __init__(self, content: bytes) -> None:
        self.file = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)


class AsyncFile:
    """A file whose read is async."""

    def __init__(self, content: bytes) -> None:
        self.file = io.BytesIO(content)

    async def read(self, size: int = -1) -> bytes:
        return self.file.read(size)


async def generate(content: bytes) -> AsyncIterator[bytes]:
    """An async generator."""
    yield content


def generate_now(content: bytes) -> Iterator[bytes]:
    """A generator."""
    yield content


ONCE = [Pipe, AsyncFile, generate, generate_now]


@pytest.mark.parametrize("make", ONCE)
async def test_what_can_be_read_once_in_two_calls(make: Callable[[bytes], Any]) -> None:
    """A second call with one-shot content is refused, alone and in a form: it would send nothing."""
    content = make(b"content")
    async with puts() as put:
        request = await put(content=content)
        with pytest.raises(
            RequestNotReplayableError, match="content can be read only once and was sent by another call"
        ):
            await put(content=content)
        with pytest.raises(
            RequestNotReplayableError, match=r"files\['file'\] can be read only once and was sent"
        ):
            await put(files={"file": content})

    assert request.body == b"content"


@pytest.mark.parametrize("make", ONCE)
async def test_what_can_be_read_once_in_two_bodies(make: Callable[[bytes], Any]) -> None:
    """So is a body created from it before the other one was sent, even half of it."""
    content = make(LONG)
    first, second = Body(content), Body(content)
    async with aclosing(aiter(first)) as chunks:
        await anext(chunks)

    assert second.consumed
    async with puts() as put:
        with pytest.raises(RequestNotReplayableError):
            await put(content=second)


@pytest.mark.parametrize("make", ONCE)
def test_what_can_be_read_once_in_two_parts(make: Callable[[bytes], Any]) -> None:
    """Two parts of one form that are the same iterator are refused before anything is sent."""
    content = make(b"content")
    with pytest.raises(InvalidRequestError, match="the second part would be empty"):
        build_body(files={"a": content, "b": ("name", content)})
    body = Body(content)
    with pytest.raises(InvalidRequestError, match="the second part would be empty"):
        build_body(files={"a": body, "b": body})


async def test_call_that_never_began_leaves_an_iterator_alone() -> None:
    """An iterator that a call was given and did not touch can be given to another."""
    content = generate(b"content")
    async with AsyncAPIClient("http://127.0.0.1:1", max_retries=0) as client:
        with pytest.raises(Exception, match="refused"):
            await client.put("/", None, content=content)
    async with puts() as put:
        assert (await put(content=content)).body == b"content"


async def test_nothing_is_remembered_of_what_is_gone() -> None:
    """The state kept for a file is dropped with the file."""
    from aioapiclient._body import files

    before = set(files._uses)
    with closing(on_disk(LONG)) as file:
        await send(Body(file))
        assert set(files._uses) - before == {id(file)}
    del file

    # The thread that read the file releases it a moment after the reader has its bytes.
    await until(lambda: set(files._uses) <= before)
