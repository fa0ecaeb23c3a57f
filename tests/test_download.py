"""Downloads into files: complete or absent, and resumed after broken connections."""

from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import hashlib
import os
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from servers import Exchange, RawServer, close, in_turn, ok, raw_server, respond, response

from aioapiclient import APIRequest, AsyncAPIClient, AsyncAPIResponse, Timeout
from aioapiclient._download.download import Digest, parse_content_range, write_to_file
from aioapiclient._download.targets import _PartFile, _write_some
from aioapiclient._request import CallSettings
from aioapiclient.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    InvalidRequestError,
    NotFoundError,
    RequestNotReplayableError,
    StreamConsumedError,
)

CONTENT = bytes(range(256)) * 1600  # 409600 bytes: more than one piece
ETAG = '"v1"'
OLD, NOW = "Mon, 05 Jan 2026 10:00:00 GMT", "Mon, 05 Jan 2026 10:01:00 GMT"
JUST_BEFORE = "Mon, 05 Jan 2026 10:00:01 GMT"


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition without an event."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (a thread, or the client's socket, makes it true)
            await asyncio.sleep(0.001)


class Cut:
    """Sends its data, and closes the connection after the client has received that many bytes of the body.

    The client's progress is counted: aiohttp drops unread bytes when a connection ends.
    """

    def __init__(self, answer: bytes = b"", taken: int = 0) -> None:
        self.answer = answer
        self.expected = taken
        self.taken = 0

    def update(self, n: int) -> None:
        self.taken += n

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.send(self.answer)
        await self.until(self.expected)
        exchange.close()

    async def until(self, count: int) -> None:
        await until(lambda: self.taken >= count)


class Ranges(Cut):
    """Serves one content, complete or from the requested byte; its answers break off at given positions."""

    def __init__(self, *breaks: int | None, content: bytes = CONTENT, **headers: str) -> None:
        super().__init__()
        self.breaks = list(breaks)
        self.content = content
        self.headers = headers or {"ETag": ETAG}

    async def __call__(self, exchange: Exchange) -> None:
        asked = exchange.request.headers.get("Range")
        first, total = 0, len(self.content)
        head = dict(self.headers)
        if asked is not None:
            first = int(asked.removeprefix("bytes=").rstrip("-"))
            head["Content_Range"] = f"bytes {first}-{total - 1}/{total}"
        body = self.content[first:]
        answer = response("206 Partial Content" if asked else "200 OK", body, **head)
        end = self.breaks.pop(0) if self.breaks else None
        if end is None:
            await exchange.send(answer)
        else:
            await exchange.send(answer[: len(answer) - len(body) + end])
            await self.until(first + end)
            exchange.close()


Call = Callable[..., Awaitable[AsyncAPIResponse[Any]]]


@asynccontextmanager
async def calls(server: RawServer) -> AsyncIterator[Call]:
    """Make unread responses of *server*; they are closed at the end."""
    async with AsyncAPIClient(server.url, max_retries=0) as client, AsyncExitStack() as stack:

        async def call(method: str = "GET", **options: Any) -> AsyncAPIResponse[Any]:
            return await stack.enter_async_context(client.open(method, "/file", **options))

        yield call


class Bar:
    """A progress that can only be updated with bytes."""

    def __init__(self) -> None:
        self.updates: list[int] = []

    def update(self, n: int) -> None:
        self.updates.append(n)


def sha256(content: bytes = CONTENT) -> str:
    """The digest of *content*, in the form of an argument."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def open_files() -> list[str]:
    """The open files of this process, except sockets and pipes."""
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue
    return [link for link in links if ".part" in link]


# Complete downloads


async def test_body_becomes_a_file(tmp_path: Path) -> None:
    """The file contains the body, the number of bytes is returned, and the directory has no other file."""
    async with raw_server(respond(ok(CONTENT))) as server, calls(server) as call:
        count = await write_to_file(await call(), tmp_path / "file")

    assert count == len(CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["file"]


async def test_body_that_was_read(tmp_path: Path) -> None:
    """A response whose body was already read is still written."""
    answer = AsyncAPIResponse.from_bytes(APIRequest("GET", "https://api.example.com/"), body=b"abc")

    assert await write_to_file(answer, str(tmp_path / "file"), digest=sha256(b"abc")) == 3
    assert (tmp_path / "file").read_bytes() == b"abc"


async def test_empty_body(tmp_path: Path) -> None:
    """An empty body makes an empty file."""
    async with raw_server(respond(ok(b"", ETag=ETAG))) as server, calls(server) as call:
        assert await write_to_file(await call(), tmp_path / "file") == 0

    assert (tmp_path / "file").read_bytes() == b""


async def test_answer_to_head(tmp_path: Path) -> None:
    """The answer to a HEAD has a length, and no body to fit it."""
    head = response("200 OK", None, Content_Length="5", ETag=ETAG)
    async with raw_server(respond(head)) as server, calls(server) as call:
        assert await write_to_file(await call("HEAD"), tmp_path / "file") == 0


async def test_compressed_body(tmp_path: Path) -> None:
    """A compressed body is written decompressed."""
    coded = ok(gzip.compress(CONTENT), ETag=ETAG, Content_Encoding="gzip")
    async with raw_server(respond(coded)) as server, calls(server) as call:
        assert await write_to_file(await call(), tmp_path / "file") == len(CONTENT)

    assert (tmp_path / "file").read_bytes() == CONTENT


async def test_mode_is_that_of_any_file(tmp_path: Path) -> None:
    """The file has the mode that the umask leaves, like any new file."""
    before = os.umask(0o027)
    try:
        async with raw_server(respond(ok(b"abc"))) as server, calls(server) as call:
            await write_to_file(await call(), tmp_path / "file")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


async def test_file_that_is_there_is_replaced_at_the_end(tmp_path: Path) -> None:
    """Until all bytes have arrived, the old file is kept; the received bytes are beside it, under another
    name.
    """
    target = tmp_path / "file"
    target.write_bytes(b"old")
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def script(exchange: Exchange) -> None:
        answer = ok(CONTENT)
        await exchange.send(answer[:-1])
        arrived.set()
        await go_on.wait()
        await exchange.send(answer[-1:])

    async with raw_server(script) as server, calls(server) as call:
        writing = asyncio.create_task(write_to_file(await call(), target))
        await arrived.wait()
        await until(lambda: len(os.listdir(tmp_path)) == 2)
        names = sorted(os.listdir(tmp_path))
        assert target.read_bytes() == b"old"
        go_on.set()
        await writing

    assert names[1:] == ["file"]
    assert names[0].startswith(".file.")
    assert len(names[0]) > len(".file.") + 16
    assert os.listdir(tmp_path) == ["file"]
    assert target.read_bytes() == CONTENT


async def test_longest_name(tmp_path: Path) -> None:
    """A temporary name for a target with the longest allowed name is still valid."""
    target = tmp_path / ("ü" * 127)
    async with raw_server(respond(ok(b"abc"))) as server, calls(server) as call:
        await write_to_file(await call(), target)

    assert target.read_bytes() == b"abc"


async def test_file_is_written_in_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is opened, written, synced or renamed in the thread of the event loop."""
    seen = set()

    def watch(name: str, place: str, real: Any) -> None:
        def called(*arguments: Any) -> Any:
            seen.add((name, threading.current_thread() is threading.main_thread()))
            return real(*arguments)

        monkeypatch.setattr(place, called, raising=False)

    watch("open", "aioapiclient._download.targets.open", open)
    watch("write", "aioapiclient._download.targets._write_some", _write_some)
    watch("sync", "os.fsync", os.fsync)
    watch("rename", "os.replace", os.replace)
    async with raw_server(respond(ok(CONTENT))) as server, calls(server) as call:
        await write_to_file(await call(), tmp_path / "file")

    assert seen == {("open", False), ("write", False), ("sync", False), ("rename", False)}


async def test_file_is_written_as_it_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write except the last has 1 MiB, plus the rest of its last chunk."""
    sizes = []

    def counted(part: _PartFile, chunks: list[bytes], checksum: Any) -> None:
        sizes.append(sum(map(len, chunks)))
        real(part, chunks, checksum)

    real = _PartFile.write
    monkeypatch.setattr(_PartFile, "write", counted)
    content = CONTENT * 16  # 6.25 MiB
    async with raw_server(respond(ok(content))) as server, calls(server) as call:
        await write_to_file(await call(), tmp_path / "file", digest=sha256(content))

    assert sum(sizes) == len(content)
    assert len(sizes) >= 4
    assert all(1 << 20 <= size < 2 << 20 for size in sizes[:-1])
    assert (tmp_path / "file").read_bytes() == content


async def test_method_of_the_response(tmp_path: Path) -> None:
    """`AsyncAPIResponse.write_to_file` does all of this, with the same arguments."""
    script = Ranges(200_000)
    async with raw_server(script) as server, calls(server) as call:
        body = await call()
        count = await body.write_to_file(
            tmp_path / "file", progress=script, digest=sha256(), resume=True, max_resumes=1
        )

    assert count == script.taken == len(CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT


# Failing


async def test_broken_body_leaves_nothing(tmp_path: Path) -> None:
    """A body that breaks and cannot be resumed leaves the old file, and no other file beside it."""
    target = tmp_path / "file"
    target.write_bytes(b"old")
    async with raw_server(close(ok(CONTENT)[:-1])) as server, calls(server) as call:
        with pytest.raises(APIConnectionError):
            await write_to_file(await call(), target)

    assert os.listdir(tmp_path) == ["file"]
    assert target.read_bytes() == b"old"
    assert open_files() == []


async def test_directory_that_is_missing(tmp_path: Path) -> None:
    """A missing directory is the system's own error, and the body stays unread."""
    async with raw_server(respond(ok(b"abc"))) as server, calls(server) as call:
        answer = await call()
        with pytest.raises(FileNotFoundError):
            await write_to_file(answer, tmp_path / "nowhere" / "file")
        assert await answer.read() == b"abc"


@pytest.mark.parametrize(
    ("target", "error"), [("", FileNotFoundError), (".", IsADirectoryError), ("./", IsADirectoryError)]
)
async def test_target_that_no_file_can_have(
    target: str, error: type[OSError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory, or an empty name, is refused before the body arrives, and not after."""
    monkeypatch.chdir(tmp_path)
    async with raw_server(respond(ok(b"abc"))) as server, calls(server) as call, await call() as answer:
        with pytest.raises(error):
            await write_to_file(answer, target)
        assert not answer.is_closed

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments", [{"path": b"x"}, {"max_resumes": 1.5}, {"digest": 7}, {"progress": object()}]
)
async def test_argument_of_another_type(arguments: dict[str, Any], tmp_path: Path) -> None:
    """An argument of a wrong type is a TypeError, before anything is created."""
    answer = AsyncAPIResponse.from_bytes(APIRequest("GET", "https://api.example.com/"), body=b"abc")
    with pytest.raises(TypeError):
        await write_to_file(answer, **{"path": tmp_path / "file", **arguments})

    assert os.listdir(tmp_path) == []


async def test_resumes_below_zero(tmp_path: Path) -> None:
    """Fewer than no resumes are refused."""
    answer = AsyncAPIResponse.from_bytes(APIRequest("GET", "https://api.example.com/"), body=b"abc")
    with pytest.raises(InvalidRequestError, match="0 or more, not -1"):
        await write_to_file(answer, tmp_path / "file", max_resumes=-1)


async def test_response_that_was_streamed_away(tmp_path: Path) -> None:
    """A consumed body is a StreamConsumedError, and creates no empty file."""
    async with raw_server(respond(ok(b"abc"))) as server, calls(server) as call:
        answer = await call()
        assert [chunk async for chunk in answer.iter_bytes()] == [b"abc"]
        with pytest.raises(StreamConsumedError):
            await write_to_file(answer, tmp_path / "file")

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("step", ["write", "commit"])
async def test_disk_that_is_full(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk is raised unchanged; no part of the file is left, and the connection is closed."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"aioapiclient._download.targets._PartFile.{step}", full)
    async with raw_server(respond(ok(CONTENT, ETag=ETAG))) as server, calls(server) as call:
        answer = await call()
        with pytest.raises(OSError, match="No space left"):
            await write_to_file(answer, tmp_path / "file")
        assert answer.is_closed

    assert len(server.requests) == 1
    assert os.listdir(tmp_path) == []
    assert open_files() == []


async def test_cancel(tmp_path: Path) -> None:
    """A cancellation leaves no file, no descriptor and no connection."""
    arrived = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.send(ok(CONTENT, ETag=ETAG)[:-1])
        arrived.set()
        await exchange.reader.read()

    async with raw_server(script) as server, calls(server) as call:
        answer = await call()
        writing = asyncio.create_task(write_to_file(answer, tmp_path / "file"))
        await arrived.wait()
        await until(lambda: os.listdir(tmp_path))
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

        assert answer.is_closed
        assert os.listdir(tmp_path) == []
        assert open_files() == []


@pytest.mark.parametrize("step", ["open", "write", "commit"])
async def test_cancel_while_a_thread_is_at_work(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancellation waits for the thread's file operation, and then removes the file; only a complete one
    may stay.
    """
    real = getattr(_PartFile, step)
    started, go_on = threading.Event(), threading.Event()

    def slow(part: _PartFile, *arguments: Any) -> None:
        started.set()
        assert go_on.wait(10)
        real(part, *arguments)

    monkeypatch.setattr(_PartFile, step, slow)
    async with raw_server(respond(ok(CONTENT))) as server, calls(server) as call:
        writing = asyncio.create_task(write_to_file(await call(), tmp_path / "file"))
        await asyncio.to_thread(started.wait, 10)
        writing.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await writing
        # The abandoned thread may end later.
        await asyncio.get_running_loop().shutdown_default_executor()

    left = [(tmp_path / name).read_bytes() for name in os.listdir(tmp_path)]
    assert left in ([], [CONTENT]) if step == "commit" else left == []
    assert open_files() == []


# Resuming


@pytest.mark.parametrize("where", [0, 1, 200_000, len(CONTENT) - 1])
async def test_broken_body_is_resumed(where: int, tmp_path: Path) -> None:
    """A body that breaks resumes at the break, if its server still has the same content."""
    script = Ranges(where)
    async with raw_server(script) as server, calls(server) as call:
        assert await write_to_file(await call(), tmp_path / "file", progress=script) == len(CONTENT)

    assert (tmp_path / "file").read_bytes() == CONTENT
    first, second = (request.headers for request in server.requests)
    assert "Range" not in first
    assert second["Range"] == f"bytes={where}-"
    assert second["If-Range"] == ETAG


async def test_body_that_breaks_again_and_again(tmp_path: Path) -> None:
    """A download continues after five breaks, each time from its position."""
    script = Ranges(10, 10, 10, 10, 10)
    async with raw_server(script) as server, calls(server) as call:
        await write_to_file(await call(), tmp_path / "file", progress=script)

    assert (tmp_path / "file").read_bytes() == CONTENT
    ranges = [request.headers.get("Range") for request in server.requests]
    assert ranges == [None, "bytes=10-", "bytes=20-", "bytes=30-", "bytes=40-", "bytes=50-"]


@pytest.mark.parametrize(("options", "requests"), [({}, 6), ({"max_resumes": 1}, 2), ({"resume": False}, 1)])
async def test_bound_on_resumes(options: dict[str, Any], requests: int, tmp_path: Path) -> None:
    """A download ends after five resumes, or the given number, with the error that broke it last."""
    script = Ranges(*[10] * 9)
    async with raw_server(script) as server, calls(server) as call:
        with pytest.raises(APIConnectionError):
            await write_to_file(await call(), tmp_path / "file", progress=script, **options)

    assert len(server.requests) == requests
    assert os.listdir(tmp_path) == []


async def test_resume_by_date(tmp_path: Path) -> None:
    """Without an ETag a date identifies the content, if nothing changed in the minute before the answer."""
    script = Ranges(10, Last_Modified=OLD, Date=NOW)
    async with raw_server(script) as server, calls(server) as call:
        await write_to_file(await call(), tmp_path / "file", progress=script)

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.requests[1].headers["If-Range"] == OLD


@pytest.mark.parametrize(
    "headers",
    [
        {"Server": "none that names it"},
        {"ETag": 'W/"v1"'},
        {"ETag": "v1"},
        {"ETag": 'W/"v1"', "Last_Modified": OLD, "Date": NOW},
        {"Last_Modified": JUST_BEFORE, "Date": NOW},
        {"Last_Modified": OLD},
        {"Last_Modified": "yesterday", "Date": NOW},
        {"ETag": ETAG, "Accept_Ranges": "none"},
    ],
)
async def test_content_that_has_no_sure_name(headers: dict[str, str], tmp_path: Path) -> None:
    """Without a strong validator no range is requested: its bytes might belong to another content."""
    script = Ranges(10, content=CONTENT, **headers)
    async with raw_server(script) as server, calls(server) as call:
        with pytest.raises(APIConnectionError):
            await write_to_file(await call(), tmp_path / "file", progress=script)

    assert len(server.requests) == 1
    assert os.listdir(tmp_path) == []


async def test_coded_content_is_not_resumed(tmp_path: Path) -> None:
    """A compressed body is not resumed: a range counts the sent bytes."""
    coded = ok(gzip.compress(CONTENT), ETag=ETAG, Content_Encoding="gzip")
    async with raw_server(close(coded[:-20])) as server, calls(server) as call:
        with pytest.raises(APIConnectionError):
            await write_to_file(await call(), tmp_path / "file")

    assert len(server.requests) == 1


async def test_post_is_not_resumed(tmp_path: Path) -> None:
    """The answer to a POST is not resumed: ranges are defined for GET alone."""
    script = Ranges(10)
    async with raw_server(script) as server, calls(server) as call:
        with pytest.raises(APIConnectionError):
            await write_to_file(await call("POST"), tmp_path / "file", progress=script)

    assert len(server.requests) == 1


async def test_response_that_cannot_be_asked_for_again(tmp_path: Path) -> None:
    """If the call cannot be sent again, the error that broke the body is raised."""

    async def again(headers: Mapping[str, str]) -> AsyncAPIResponse[Any]:
        raise RequestNotReplayableError("once is enough")

    script = Ranges(10)
    async with raw_server(script) as server, calls(server) as call:
        answer: Any = await call()
        answer._again = again
        with pytest.raises(APIConnectionError, match=r"truncated|closed|lost|end"):
            await write_to_file(answer, tmp_path / "file", progress=script)

    assert len(server.requests) == 1


async def test_total_that_runs_out_is_not_resumed(tmp_path: Path) -> None:
    """When the time of the whole call is over, the download ends."""
    async with raw_server(Ranges()) as server, calls(server) as call:
        answer = await call()
        answer.abort(APITimeoutError("too late", phase="total"))
        with pytest.raises(APITimeoutError, match="too late"):
            await write_to_file(answer, tmp_path / "file")

    assert len(server.requests) == 1


async def test_silence_is_resumed(tmp_path: Path) -> None:
    """A server that falls silent in the middle of a body is requested again."""

    async def script(exchange: Exchange) -> None:
        if exchange.index:
            await Ranges()(exchange)
        else:
            await exchange.send(response("200 OK", CONTENT, ETag=ETAG)[:-9])
            await exchange.reader.read()

    timeout = Timeout(read=0.05, connect=5, total=None, attempt=None, write=None, pool=None)
    async with raw_server(script) as server, calls(server) as call:
        assert await write_to_file(await call(timeout=timeout), tmp_path / "file") == len(CONTENT)

    assert (tmp_path / "file").read_bytes() == CONTENT


async def test_content_that_has_changed(tmp_path: Path) -> None:
    """A 200 to a range request means new content: the file starts again, under the new validator."""
    new = CONTENT[::-1]
    first = Ranges(300_000)
    second = Cut(response("200 OK", new, ETag='"v2"')[:-50])
    script = in_turn(first, second, Ranges(content=new, ETag='"v2"'))
    async with raw_server(script) as server, calls(server) as call:
        answer = await call()
        assert await write_to_file(answer, tmp_path / "file", progress=first, digest=sha256(new)) == len(new)

    assert (tmp_path / "file").read_bytes() == new
    assert [request.headers.get("If-Range") for request in server.requests] == [None, ETAG, '"v2"']


async def test_shorter_content_after_a_change(tmp_path: Path) -> None:
    """If the new content is shorter, no byte of the old one remains after it."""
    first = Ranges(300_000)
    async with raw_server(in_turn(first, respond(ok(b"short")))) as server, calls(server) as call:
        assert await write_to_file(await call(), tmp_path / "file", progress=first) == 5

    assert (tmp_path / "file").read_bytes() == b"short"


def part(content_range: str | None, body: bytes = CONTENT[10:], **headers: str) -> bytes:
    """A 206."""
    if content_range is not None:
        headers["Content_Range"] = content_range
    return response("206 Partial Content", body, **headers)


TOTAL = len(CONTENT)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (part(None), "no valid Content-Range"),
        (part("bytes */409600"), "no valid Content-Range"),
        (part("bytes 10-9/409600"), "no valid Content-Range"),
        (part("bytes 10-409599/409000"), "no valid Content-Range"),
        (part("lines 10-409599/409600"), "no valid Content-Range"),
        (part("bytes 0-409599/409600", CONTENT), "begins at byte 0, expected 10"),
        (part("bytes 11-409599/409600", CONTENT[11:]), "begins at byte 11"),
        (part("bytes 10-409599/409601"), "its total is 409601 bytes, expected 409600"),
        (part("bytes 10-409600/*", CONTENT[9:]), "ends at byte 409600 of 409600"),
        (part("bytes 10-409599/409600", ETag='"v2"'), "its ETag has changed"),
        (part("bytes 10-409599/409600", Content_Encoding="gzip"), "content-coded"),
        (part("bytes 10-409599/409600", CONTENT[10:-1]), "ends at byte 409599, expected 409600"),
    ],
)
async def test_part_that_is_not_the_rest(answer: bytes, message: str, tmp_path: Path) -> None:
    """A 206 that is not the rest of the same content is an error, and never written to the file."""
    first = Ranges(10)
    async with raw_server(in_turn(first, respond(answer))) as server, calls(server) as call:
        with pytest.raises(APIResponseValidationError, match=message) as caught:
            await write_to_file(await call(), tmp_path / "file", progress=first)

    assert caught.value.status == 206
    assert os.listdir(tmp_path) == []


async def test_part_of_another_date(tmp_path: Path) -> None:
    """Where a date names the content, a part of another date is of another content."""
    first = Ranges(10, Last_Modified=OLD, Date=NOW)
    answer = part("bytes 10-409599/409600", Last_Modified=JUST_BEFORE)
    async with raw_server(in_turn(first, respond(answer))) as server, calls(server) as call:
        with pytest.raises(APIResponseValidationError, match="its Last-Modified has changed"):
            await write_to_file(await call(), tmp_path / "file", progress=first)


async def test_part_with_the_same_name_and_another_date(tmp_path: Path) -> None:
    """A strong ETag identifies the content, whatever the date."""
    first = Ranges(10)
    answer = part("bytes 10-409599/409600", ETag=ETAG, Last_Modified=JUST_BEFORE)
    async with raw_server(in_turn(first, respond(answer))) as server, calls(server) as call:
        size = await write_to_file(await call(), tmp_path / "file", progress=first, digest=sha256())

    assert size == len(CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT


async def test_server_that_is_gone(tmp_path: Path) -> None:
    """An unreachable server ends the download, with a note about the attempt to resume."""

    async def again(headers: Mapping[str, str]) -> AsyncAPIResponse[Any]:
        raise APIConnectionError("refused", sent=False)

    async with raw_server(Ranges(0)) as server, calls(server) as call:
        answer: Any = await call()
        answer._again = again
        with pytest.raises(APIConnectionError, match="refused") as caught:
            await write_to_file(answer, tmp_path / "file")

    assert caught.value.__notes__ == ["This ended the attempt to resume a download at byte 0"]
    assert os.listdir(tmp_path) == []


async def test_compressed_part(tmp_path: Path) -> None:
    """A compressed part is written as it decodes: its range counts other bytes."""
    body = gzip.compress(CONTENT)
    answer = part(f"bytes 0-{len(body) - 1}/{len(body)}", body, ETag=ETAG, Content_Encoding="gzip")
    async with raw_server(respond(answer)) as server, calls(server) as call:
        assert await write_to_file(await call(), tmp_path / "file") == len(CONTENT)


async def test_part_of_the_rest(tmp_path: Path) -> None:
    """If a server sends less than requested, the rest is requested."""
    first = Ranges(10)
    script = in_turn(
        first,
        respond(part("bytes 10-19/*", CONTENT[10:20])),
        respond(part("bytes 20-409599/409600", CONTENT[20:], ETag=ETAG)),
    )
    async with raw_server(script) as server, calls(server) as call:
        await write_to_file(await call(), tmp_path / "file", progress=first, digest=sha256())

    assert [request.headers.get("Range") for request in server.requests] == [None, "bytes=10-", "bytes=20-"]


async def test_refusal_of_the_rest(tmp_path: Path) -> None:
    """An error status of the attempt to resume is raised, with a note about it."""
    first = Ranges(10)
    async with (
        raw_server(in_turn(first, respond(response("404 Not Found")))) as server,
        calls(server) as call,
    ):
        with pytest.raises(NotFoundError) as caught:
            await write_to_file(await call(), tmp_path / "file", progress=first)

    assert caught.value.__notes__ == ["This ended the attempt to resume a download at byte 10"]
    assert len(server.requests) == 2
    assert os.listdir(tmp_path) == []


async def test_another_status_than_those_of_ranges(tmp_path: Path) -> None:
    """A success other than 200 and 206 is not the rest: the error that broke the body is raised."""
    script = in_turn(Ranges(0), respond(response("203 Other", b"abc")))
    async with raw_server(script) as server, calls(server) as call:
        with pytest.raises(APIConnectionError) as caught:
            await write_to_file(await call(), tmp_path / "file")

    assert caught.value.__notes__ == [
        "The download could not be resumed: the server answered with status 203"
    ]


def chunked() -> Cut:
    """Sends all three bytes, without their length, but not the end of the body."""
    return Cut(response("200 OK", None, ETag=ETAG, Transfer_Encoding="chunked") + b"3\r\nabc\r\n", 3)


async def test_nothing_was_missing(tmp_path: Path) -> None:
    """A 416 that names the size of the file shows that only the end of the body was lost."""
    answer = response("416 Range Not Satisfiable", b"", Content_Range="bytes */3")
    first = chunked()
    async with raw_server(in_turn(first, respond(answer))) as server, calls(server) as call:
        body = await call()
        assert await write_to_file(body, tmp_path / "file", progress=first, digest=sha256(b"abc")) == 3

    assert (tmp_path / "file").read_bytes() == b"abc"


@pytest.mark.parametrize("content_range", ["bytes */4", "bytes */*", "", "bytes 0-2/3"])
async def test_range_that_cannot_be(content_range: str, tmp_path: Path) -> None:
    """A 416 that names another size, or none, is an error."""
    answer = response("416 Range Not Satisfiable", b"", Content_Range=content_range)
    first = chunked()
    async with raw_server(in_turn(first, respond(answer))) as server, calls(server) as call:
        with pytest.raises(APIStatusError) as caught:
            await write_to_file(await call(), tmp_path / "file", progress=first)

    assert caught.value.status == 416


async def test_rest_of_a_body_without_a_length(tmp_path: Path) -> None:
    """A body of unknown length is resumed too, and is complete if the part's Content-Range confirms it."""
    rest = part("bytes 3-5/6", b"def", ETag=ETAG)
    first = chunked()
    async with raw_server(in_turn(first, respond(rest))) as server, calls(server) as call:
        assert await write_to_file(await call(), tmp_path / "file", progress=first) == 6

    assert (tmp_path / "file").read_bytes() == b"abcdef"


async def test_range_of_the_caller(tmp_path: Path) -> None:
    """A part that the caller requested is resumed within its own bounds."""
    first = Cut(part("bytes 100-199/409600", CONTENT[100:200], ETag=ETAG)[:-60], 40)
    script = in_turn(first, respond(part("bytes 140-199/409600", CONTENT[140:200], ETag=ETAG)))
    digest = sha256(CONTENT[100:200])
    async with raw_server(script) as server, calls(server) as call:
        answer = await call(headers={"Range": "bytes=100-199"})
        assert await write_to_file(answer, tmp_path / "file", progress=first, digest=digest) == 100

    assert server.requests[1].headers.getall("Range") == ["bytes=140-199"]


async def test_whole_content_instead_of_the_callers_range(tmp_path: Path) -> None:
    """If a part that the caller requested breaks, and the content has changed, the download fails."""
    script = in_turn(
        close(part("bytes 100-199/409600", CONTENT[100:200], ETag=ETAG)[:-60]), respond(ok(b"all"))
    )
    async with raw_server(script) as server, calls(server) as call:
        answer = await call(headers={"Range": "bytes=100-199"})
        with pytest.raises(APIConnectionError) as caught:
            await write_to_file(answer, tmp_path / "file")

    assert caught.value.__notes__ == [
        "The download could not be resumed: the server answered with status 200"
    ]
    assert os.listdir(tmp_path) == []


async def test_parts_of_several_ranges_are_not_resumed(tmp_path: Path) -> None:
    """A 206 of several ranges is written unchanged, and not resumed."""
    answer = response(
        "206 Partial Content", b"--x", Content_Type="multipart/byteranges; boundary=x", ETag=ETAG
    )
    async with raw_server(in_turn(respond(answer), close(answer[:-1]))) as server, calls(server) as call:
        assert await write_to_file(await call(), tmp_path / "file") == 3
        with pytest.raises(APIConnectionError):
            await write_to_file(await call(), tmp_path / "file")

    assert len(server.requests) == 2


async def test_connections_are_given_back(tmp_path: Path) -> None:
    """A download that was resumed, and one whose resume failed, leave no response open."""
    answers: list[AsyncAPIResponse[Any]] = []
    script = in_turn(Ranges(0), Ranges(), Ranges(0), respond(part(None)))
    async with raw_server(script) as server, calls(server) as call:
        for _ in range(2):
            answer: Any = await call()
            real = answer._again

            async def again(headers: Mapping[str, str], real: Any = real) -> AsyncAPIResponse[Any]:
                answers.append(await real(headers))
                return answers[-1]

            answer._again = again
            answers.append(answer)
            try:
                await write_to_file(answer, tmp_path / "file")
            except APIResponseValidationError:
                continue

    assert [one.is_closed for one in answers] == [True] * 4


# Progress


async def test_progress_counts_every_byte(tmp_path: Path) -> None:
    """A progress counts each byte once, as it arrives, whatever broke in between."""
    updates: list[int] = []

    class Counted(Ranges):
        def update(self, n: int) -> None:
            super().update(n)
            updates.append(n)

    script = Counted(100_000, 50_000)
    async with raw_server(script) as server, calls(server) as call:
        await write_to_file(await call(), tmp_path / "file", progress=script)

    assert sum(updates) == len(CONTENT)
    assert min(updates) > 0
    assert len(updates) >= 3
    assert len(server.requests) == 3


async def test_progress_is_taken_back(tmp_path: Path) -> None:
    """If a download starts again, the progress is reset by an update."""
    updates: list[int] = []

    class Counted(Ranges):
        def update(self, n: int) -> None:
            super().update(n)
            updates.append(n)

    first = Counted(300_000)
    async with raw_server(in_turn(first, respond(ok(CONTENT)))) as server, calls(server) as call:
        await write_to_file(await call(), tmp_path / "file", progress=first)

    assert sum(updates) == len(CONTENT)
    assert [n for n in updates if n < 0] == [-300_000]


async def test_progress_is_reset(tmp_path: Path) -> None:
    """A progress that has a reset, as a bar of tqdm has, gets that instead."""
    calls_of_reset: list[int] = []

    class Resettable(Ranges):
        def reset(self) -> None:
            calls_of_reset.append(self.taken)
            self.taken = 0

    first = Resettable(300_000)
    async with raw_server(in_turn(first, respond(ok(CONTENT)))) as server, calls(server) as call:
        await write_to_file(await call(), tmp_path / "file", progress=first)

    assert calls_of_reset == [300_000]
    assert first.taken == len(CONTENT)


async def test_progress_that_raises(tmp_path: Path) -> None:
    """An exception of a progress ends the download, and is raised unchanged."""

    class Broken:
        def update(self, n: int) -> None:
            raise KeyError("mine")

    async with raw_server(Ranges()) as server, calls(server) as call:
        with pytest.raises(KeyError, match="mine"):
            await write_to_file(await call(), tmp_path / "file", progress=Broken())

    assert os.listdir(tmp_path) == []


# Digests


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "md5", "blake2b", "SHA256"])
async def test_digest(algorithm: str, tmp_path: Path) -> None:
    """A body with the expected digest is written; any algorithm of hashlib works."""
    expected = f"{algorithm}:{hashlib.new(algorithm.lower(), CONTENT).hexdigest()}"
    script = Ranges(200_000)
    async with raw_server(script) as server, calls(server) as call:
        await write_to_file(await call(), tmp_path / "file", progress=script, digest=expected)

    assert (tmp_path / "file").read_bytes() == CONTENT


async def test_another_digest(tmp_path: Path) -> None:
    """A body with another digest is an error that shows both, and creates no file."""
    target = tmp_path / "file"
    target.write_bytes(b"old")
    async with raw_server(respond(ok(b"abc"))) as server, calls(server) as call:
        with pytest.raises(APIResponseValidationError) as caught:
            await write_to_file(await call(), target, digest=sha256(b"xyz"))

    assert sha256(b"abc")[7:] in str(caught.value)
    assert sha256(b"xyz")[7:] in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize(
    "digest",
    ["", "sha256", "sha256:", "sha256:abc", "sha256:zz", "crc99:00", "shake_128:00", "sha256:" + "00" * 31],
)
async def test_digest_that_is_none(digest: str, tmp_path: Path) -> None:
    """A value that is not a digest is refused before the body is read."""
    async with raw_server(respond(ok(b"abc"))) as server, calls(server) as call, await call() as answer:
        with pytest.raises(InvalidRequestError, match="digest must be"):
            await write_to_file(answer, tmp_path / "file", digest=digest)
        assert await answer.read() == b"abc"


async def test_digest_by_a_function(tmp_path: Path) -> None:
    """A function finds the digest in the response, wherever the API puts it."""

    def named(answer: AsyncAPIResponse[Any]) -> str:
        return answer.headers["Docker-Content-Digest"]

    right, wrong = (ok(body, Docker_Content_Digest=sha256(b"abc")) for body in (b"abc", b"abd"))
    async with raw_server(in_turn(respond(right), respond(wrong))) as server, calls(server) as call:
        await write_to_file(await call(), tmp_path / "right", digest=named)
        with pytest.raises(APIResponseValidationError):
            await write_to_file(await call(), tmp_path / "wrong", digest=named)

    assert os.listdir(tmp_path) == ["right"]


async def test_function_that_gives_no_digest(tmp_path: Path) -> None:
    """A function that returns a value other than a text is a TypeError."""
    function: Any = len
    answer = AsyncAPIResponse.from_bytes(APIRequest("GET", "https://api.example.com/"), body=b"abc")
    with pytest.raises(TypeError, match="digest returned a int"):
        await write_to_file(answer, tmp_path / "file", digest=lambda _: function("abc"))


def of(algorithm: str, content: bytes) -> str:
    """A member of a digest header."""
    value = hashlib.new(algorithm.replace("-", ""), content).digest()
    return f"{algorithm}=:{base64.b64encode(value).decode()}:"


@pytest.mark.parametrize(
    "headers",
    [
        {"Repr_Digest": of("sha-256", b"abc")},
        {"Content_Digest": of("sha-512", b"abc")},
        {"Repr_Digest": f"md5=:AAAA:, {of('sha-256', b'abc')}"},
        {"Repr_Digest": f"{of('sha-512', b'abc')},{of('sha-256', b'xyz')}"},
        {"Repr_Digest": "md5=:AAAA:", "Content_Digest": of("sha-256", b"abc")},
        {"Repr_Digest": f"sha-512=:A:, {of('sha-256', b'abc')}"},
    ],
)
async def test_digest_of_the_response(headers: dict[str, str], tmp_path: Path) -> None:
    """With digest=True the response's own header counts, by its strongest algorithm."""
    script = in_turn(respond(ok(b"abc", **headers)), respond(ok(b"abd", **headers)))
    async with raw_server(script) as server, calls(server) as call:
        await write_to_file(await call(), tmp_path / "right", digest=True)
        with pytest.raises(APIResponseValidationError, match="expected"):
            await write_to_file(await call(), tmp_path / "wrong", digest=True)

    assert os.listdir(tmp_path) == ["right"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Repr_Digest": "md5=:AAAA:"},
        {"Repr_Digest": "sha-256=garbage"},
        {"Content_Digest": of("sha-256", b"abc"), "Content_Encoding": "gzip"},
    ],
)
async def test_digest_that_the_response_lacks(headers: dict[str, str], tmp_path: Path) -> None:
    """A response without a digest that can be checked is an error if one was required."""
    async with (
        raw_server(respond(ok(b"abc", **headers))) as server,
        calls(server) as call,
        await call() as answer,
    ):
        with pytest.raises(
            APIResponseValidationError, match="no usable Repr-Digest or Content-Digest header"
        ):
            await write_to_file(answer, tmp_path / "file", digest=True)

    assert os.listdir(tmp_path) == []


async def test_digest_of_a_part(tmp_path: Path) -> None:
    """The digest of a part is its Content-Digest: Repr-Digest is that of the whole."""
    headers = {"Repr_Digest": of("sha-256", b"abcdef"), "Content_Digest": of("sha-256", b"abc")}
    async with raw_server(respond(part("bytes 0-2/6", b"abc", **headers))) as server, calls(server) as call:
        assert await write_to_file(await call(), tmp_path / "file", digest=True) == 3


async def test_digest_of_content_that_has_changed(tmp_path: Path) -> None:
    """When the content changes during the download, the digest is that of the new one."""
    first = Ranges(10, ETag=ETAG, Repr_Digest=of("sha-256", CONTENT))
    script = in_turn(first, respond(ok(b"new", Repr_Digest=of("sha-256", b"new"))))
    async with raw_server(script) as server, calls(server) as call:
        assert await write_to_file(await call(), tmp_path / "file", progress=first, digest=True) == 3


# The headers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes 42-1233/1234", (42, 1233, 1234)),  # RFC 9110 §14.4
        ("bytes 42-1233/*", (42, 1233, None)),  # RFC 9110 §14.4
        ("Bytes 0-0/1", (0, 0, 1)),
        ("bytes */1234", None),  # RFC 9110 §14.4
        ("bytes 42-41/1234", None),
        ("bytes 42-1234/1234", None),
        ("bytes 42-1233", None),
        ("bytes \u0664-\u0665/\u0666", None),
        ("bytes 0-" + "9" * 5000 + "/*", None),
        ("", None),
        (None, None),
    ],
)
def test_content_range(value: str | None, expected: tuple[int, int, int | None] | None) -> None:
    """A Content-Range names the received bytes, or nothing."""
    assert parse_content_range(value) == expected


# Any breaks at all


class Broken:
    """A body in pieces that ends in an error, or in its end."""

    def __init__(self, pieces: list[bytes], *, is_broken: bool) -> None:
        self._pieces = pieces
        self._is_broken = is_broken

    async def read(self, limit: int | None) -> bytes:
        raise NotImplementedError

    async def read_chunk(self) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._is_broken:
            raise APIConnectionError("broken")
        return b""

    def close(self) -> None:
        pass

    def abort(self, error: Exception) -> None:
        pass


def broken_response(
    contents: list[bytes], plan: list[tuple[int, bool]], headers: Mapping[str, str]
) -> AsyncAPIResponse[Any]:
    """A response that breaks by *plan*: after how many bytes, and whether the content has changed by then."""
    length, changes = plan.pop(0) if plan else (None, False)
    if changes and len(contents) > 1:
        contents.pop(0)
    content = contents[0]
    head = CIMultiDict({"ETag": f'"{hashlib.md5(content).hexdigest()}"'})
    first, status = 0, 200
    if headers.get("If-Range") == head["ETag"]:
        first, status = int(headers["Range"][6:-1]), 206
        head["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
    rest = content[first:]
    is_broken = length is not None and length < len(rest)
    sent = rest[:length] if is_broken else rest
    pieces = [sent[start : start + 7] for start in range(0, len(sent), 7)]
    answer: Any = AsyncAPIResponse(
        APIRequest("GET", "https://api.example.com/", stream=True),
        status,
        CIMultiDictProxy(head),
        Broken(pieces, is_broken=is_broken),
    )

    async def again(more: Mapping[str, str]) -> AsyncAPIResponse[Any]:
        return broken_response(contents, plan, more)

    answer._again = again
    result: AsyncAPIResponse[Any] = answer
    return result


async def test_body_as_it_was_sent(tmp_path: Path) -> None:
    """A body that is not decompressed is written as sent, resumed by ranges, and checked by its digest."""
    coded = gzip.compress(CONTENT, mtime=0)
    digest = base64.b64encode(hashlib.sha256(coded).digest()).decode()
    request = APIRequest(
        "GET", "https://api.example.com/", stream=True, _settings=CallSettings(decompress=False)
    )
    asked: list[Mapping[str, str]] = []

    def respond(status: int, body: bytes, is_broken: bool, **headers: str) -> AsyncAPIResponse[Any]:
        head = {"ETag": ETAG, "Content-Encoding": "gzip", "Repr-Digest": f"sha-256=:{digest}:", **headers}
        source: Any = Broken([body], is_broken=is_broken)
        return AsyncAPIResponse(request, status, CIMultiDictProxy(CIMultiDict(head)), source)

    async def again(more: Mapping[str, str]) -> AsyncAPIResponse[Any]:
        asked.append(more)
        content_range = f"bytes 100-{len(coded) - 1}/{len(coded)}"
        return respond(206, coded[100:], False, **{"Content-Range": content_range})

    answer: Any = respond(200, coded[:100], True)
    answer._again = again
    count = await answer.write_to_file(tmp_path / "file", digest=True)

    assert (tmp_path / "file").read_bytes() == coded
    assert count == len(coded)
    assert asked == [{"Range": "bytes=100-", "If-Range": ETAG}]


async def test_call_that_does_not_decompress(tmp_path: Path) -> None:
    """A call with decompress=False writes the stored bytes, and resumes them in their middle."""
    coded = gzip.compress(os.urandom(100_000))
    script = Ranges(50_000, content=coded, ETag=ETAG, Content_Encoding="gzip")
    async with raw_server(script) as server, calls(server) as call:
        answer = await call(decompress=False)
        await answer.write_to_file(tmp_path / "file", progress=script, digest=sha256(coded))

    assert (tmp_path / "file").read_bytes() == coded
    assert len(server.requests) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contents=st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=3),
    plan=st.lists(st.tuples(st.integers(0, 59), st.booleans()), max_size=8),
    digest=st.sampled_from([None, sha256]),
)
async def test_any_breaks(
    contents: list[bytes], plan: list[tuple[int, bool]], digest: Callable[[bytes], str] | None, tmp_path: Path
) -> None:
    """Wherever a body breaks and whenever its content changes, the file has one content, complete."""
    bar = Bar()
    target = tmp_path / "file"

    def expected(_: AsyncAPIResponse[Any]) -> str:
        return sha256(contents[0])

    answer = broken_response(contents, plan, {})
    chosen: Digest = None if digest is None else expected
    count = await write_to_file(answer, target, progress=bar, digest=chosen, max_resumes=20)

    assert target.read_bytes() == contents[0]
    assert sum(bar.updates) == count == len(contents[0])
    assert os.listdir(tmp_path) == ["file"]
