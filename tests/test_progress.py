"""Progress of uploads: which bytes are counted, when it is reset, and the memory of large uploads."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from helpers import Client
from hypothesis import given
from hypothesis import strategies as st
from servers import in_turn, ok, raw_server, respond, response

from aioapiclient import AsyncAPIClient
from aioapiclient._body.body import Body, build_body
from aioapiclient._body.files import FilePart

LONG = bytes(range(256)) * 800  # 204800 bytes: more than three slices
SLICE = 64 << 10


class Bar:
    """A progress that can only be updated with bytes."""

    def __init__(self) -> None:
        self.updates: list[int] = []

    def update(self, n: int) -> None:
        self.updates.append(n)


class ResettableBar(Bar):
    """One that can be set back, as tqdm's can."""

    def __init__(self) -> None:
        super().__init__()
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1
        self.updates.clear()


async def send(body: Body) -> bytes:
    """Send a body once, as a transport does, and return the bytes that the peer would get."""
    async with aclosing(aiter(body)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def generate(*chunks: bytes) -> AsyncIterator[bytes]:
    """A one-shot body."""
    for chunk in chunks:
        yield chunk


# Updates


@pytest.mark.parametrize("kind", ["bytes", "path", "part", "file", "iterable", "generator", "form"])
async def test_every_byte_is_counted_once(kind: str, tmp_path: Path) -> None:
    """A progress counts every byte of a body of any kind, in steps of at most 64 KiB."""
    path = tmp_path / "a"
    path.write_bytes(LONG)
    bar = Bar()
    contents: dict[str, Any] = {
        "bytes": LONG,
        "path": path,
        "part": FilePart(path, 5),
        "file": io.BytesIO(LONG),
        "iterable": [LONG, b"", b"x"],
        "generator": generate(LONG, b"x"),
    }
    options: dict[str, Any] = {"files": {"f": path}} if kind == "form" else {"content": contents[kind]}
    body = build_body(**options, progress=bar)
    assert body is not None

    assert len(await send(body)) == sum(bar.updates)
    assert min(bar.updates) > 0
    assert max(bar.updates) <= SLICE


async def test_body_stays_what_it_is() -> None:
    """A body with a progress is the same body: its size, its type, its bytes for a signature, its replay."""
    body = Body.from_json({"a": 1})
    watched = body.with_progress(Bar())

    assert (watched.size, watched.content_type, watched.content) == (7, "application/json", b'{"a":1}')
    assert (body.immediate, watched.immediate) == (b'{"a":1}', None)
    assert watched.replayable
    one_shot = Body(generate(b"x")).with_progress(Bar())
    assert not one_shot.replayable
    assert not one_shot.consumed
    await send(one_shot)
    assert one_shot.consumed


async def test_bytes_are_counted_when_they_are_taken() -> None:
    """A chunk counts when the transport requests the next one: before that it may not have been sent."""
    bar = Bar()
    body = Body([b"abc", b"de"]).with_progress(bar)

    async with aclosing(aiter(body)) as chunks:
        await anext(chunks)
        assert bar.updates == []
        await anext(chunks)
        assert bar.updates == [3]
    assert bar.updates == [3]


async def test_second_sending_is_taken_back() -> None:
    """If a body is sent again, the progress is first reset by a negative update."""
    bar = Bar()
    body = Body(LONG).with_progress(bar)

    async with aclosing(aiter(body)) as chunks:
        await anext(chunks)
        await anext(chunks)
    assert bar.updates == [SLICE]
    await send(body)

    assert bar.updates[:2] == [SLICE, -SLICE]
    assert sum(bar.updates) == len(LONG)


async def test_second_sending_resets() -> None:
    """A progress with a reset, like a bar of tqdm, is reset by it; a first sending resets nothing."""
    bar = ResettableBar()
    body = Body(LONG).with_progress(bar)

    await send(body)
    assert bar.resets == 0
    await send(body)

    assert bar.resets == 1
    assert sum(bar.updates) == len(LONG)


async def test_sending_that_never_began_resets_nothing() -> None:
    """Without updates there is nothing to reset."""
    bar = ResettableBar()
    body = Body(LONG).with_progress(bar)

    async with aclosing(aiter(body)) as chunks:
        await anext(chunks)
    await send(body)

    assert bar.resets == 0


@given(chunks=st.lists(st.binary(max_size=20), max_size=5), taken=st.lists(st.integers(0, 6), max_size=4))
async def test_any_sendings(chunks: list[bytes], taken: list[int]) -> None:
    """Whatever sendings failed before, after a complete one the count is that of the body."""
    bar = Bar()
    body = Body(chunks).with_progress(bar)
    for count in taken:
        async with aclosing(aiter(body)) as sending:
            for _ in range(count):
                await anext(sending, None)
    await send(body)

    assert sum(bar.updates) == sum(map(len, chunks))


# Invalid progress objects


class AsyncBar:
    """A progress that would have to be awaited."""

    async def update(self, n: int) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("progress", "message"),
    [
        (object(), "object has none"),
        (print, "builtin_function_or_method has none"),
        (Bar, "Bar has none"),
        (AsyncBar(), "update of AsyncBar is async"),
    ],
)
def test_invalid_progress_objects(progress: Any, message: str) -> None:
    """An object without a plain update is a TypeError immediately, with a body and without."""
    with pytest.raises(TypeError, match=message):
        build_body(content=b"x", progress=progress)
    with pytest.raises(TypeError, match=message):
        build_body(progress=progress)


def test_progress_of_no_body() -> None:
    """A call without a body does not update its progress."""
    bar = Bar()

    assert build_body(progress=bar) is None
    assert bar.updates == []


# On the wire


@pytest.mark.parametrize("kind", ["bytes", "path", "form"])
@pytest.mark.parametrize("bar", [Bar, ResettableBar])
async def test_progress_of_a_call_that_is_tried_again(kind: str, bar: type[Bar], tmp_path: Path) -> None:
    """After a 503 and a second attempt the progress has counted the body once, whatever its kind."""
    path = tmp_path / "a"
    path.write_bytes(LONG)
    progress = bar()
    options: dict[str, Any] = {
        "bytes": {"content": b"small"},
        "path": {"content": path},
        "form": {"files": {"f": path}},
    }[kind]
    body = build_body(**options, progress=progress)
    script = in_turn(respond(response("503 Busy", Retry_After="0")), respond(ok()))
    async with raw_server(script) as server, Client(server.url) as client:
        await client.post("/", content=body)

    assert body is not None
    assert len(server.requests) == 2
    assert [len(request.body) for request in server.requests] == [body.size] * 2
    assert sum(progress.updates) == body.size
    if isinstance(progress, ResettableBar):
        assert progress.resets == 1
    else:
        assert body.size is not None
        assert [n for n in progress.updates if n < 0] == [-body.size]


async def test_progress_that_raises(tmp_path: Path) -> None:
    """An exception of a progress ends the call, is not retried, and is raised unchanged."""

    class Broken(Exception):
        pass

    class Breaking(Bar):
        def update(self, n: int) -> None:
            raise Broken(n)

    path = tmp_path / "a"
    path.write_bytes(LONG)
    async with raw_server(respond(ok())) as server, Client(server.url) as client:
        with pytest.raises(Broken):
            await client.put("/", content=build_body(content=path, progress=Breaking()))

    assert server.connections == 1


# Memory of an upload

# A server in a separate process, whose memory is not counted: it reads one upload and returns its size.
PEER = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
head = b""
while b"\\r\\n\\r\\n" not in head:
    head += connection.recv(65536)
head, _, body = head.partition(b"\\r\\n\\r\\n")
length = int(head.lower().split(b"content-length:")[1].split(b"\\r\\n")[0])
got = len(body)
buffer = bytearray(1 << 20)
while got < length:
    count = connection.recv_into(buffer)
    if not count:
        break
    got += count
answer = str(got).encode()
head = "HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(answer)}", "", ""
connection.sendall("\\r\\n".join(head).encode() + answer)
connection.recv(1)
"""


@pytest.fixture
def peer() -> Iterator[str]:
    """The URL of a `PEER`."""
    with subprocess.Popen([sys.executable, "-c", PEER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["content", "form", "parts"])
async def test_memory_of_an_upload(kind: str, peer: str, tmp_path: Path) -> None:
    """An upload of 64 MiB from a disk takes less than 4 MiB of memory."""
    size = 64 << 20
    path = tmp_path / "sparse"
    path.write_bytes(b"")
    os.truncate(path, size)
    options: dict[str, Any] = {
        "content": {"content": path},
        "form": {"files": {"f": path}, "data": {"a": "1"}},
        "parts": {"files": [("f", FilePart(path, start, size // 8)) for start in range(0, size, size // 8)]},
    }[kind]
    bar = Bar()
    async with AsyncAPIClient(peer) as client:
        tracemalloc.start()
        try:
            body = build_body(**options, progress=bar)
            assert body is not None
            got = await client.post("/", int, content=body)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert got == body.size == sum(bar.updates)
    assert got >= size
    assert peak < 4 << 20


async def test_loop_goes_on_during_an_upload(tmp_path: Path) -> None:
    """While a slow disk is read, the event loop serves others."""
    started, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            loop.call_soon_threadsafe(started.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
            return super().read(size)

    sending = asyncio.create_task(send(Body(Slow(LONG)).with_progress(Bar())))
    await started.wait()
    go_on.set()

    assert await sending == LONG
