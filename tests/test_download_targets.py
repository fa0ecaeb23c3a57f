"""Targets of a download: files, links, files that cannot be replaced, devices and descriptors."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import pty
import shutil
import signal
import stat
import sys
import tty
from pathlib import Path
from typing import Any

import pytest
from programs import run
from servers import close, in_turn, ok, raw_server, respond, response
from test_download import CONTENT, ETAG, Cut, Ranges, calls, open_files, sha256, until

from aioapiclient import APIRequest, AsyncAPIResponse
from aioapiclient._download.targets import _PartFile, _write_first
from aioapiclient.errors import APIConnectionError, APIResponseValidationError

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root makes device nodes and mounts")


def answer(body: bytes = CONTENT) -> AsyncAPIResponse[Any]:
    """A response with a body that is there."""
    return AsyncAPIResponse.from_bytes(APIRequest("GET", "https://api.example.com/file"), body=body)


def make_device(path: Path, minor: int = 3) -> Path:
    """A node for the null device, or for the full one (7). The system's own would not survive a failure."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        os.close(os.open(path, os.O_WRONLY))
    except PermissionError:
        pytest.skip("device nodes cannot be made or opened here")
    return path


class Reader(asyncio.Protocol):
    """Collects the output of a pipe."""

    def __init__(self) -> None:
        self.received = b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


async def read_from(descriptor: int) -> tuple[Reader, asyncio.ReadTransport]:
    """Read *descriptor* in the event loop, to its end."""
    loop = asyncio.get_running_loop()
    transport, reader = await loop.connect_read_pipe(Reader, os.fdopen(descriptor, "rb", 0))
    return reader, transport


# Links


@pytest.mark.parametrize("length", [1, 3])
async def test_link_is_followed_and_stays(length: int, tmp_path: Path) -> None:
    """The target of symbolic links is replaced, however many there are; the links are unchanged."""
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "file"
    target.write_bytes(b"old")
    previous = Path("elsewhere/file")
    links = [tmp_path / f"link{number}" for number in range(length)]
    for link in links:
        link.symlink_to(previous)
        previous = Path(link.name)

    assert await answer().write_to_file(links[-1]) == len(CONTENT)

    assert all(link.is_symlink() for link in links)
    assert target.read_bytes() == CONTENT
    assert os.listdir(tmp_path / "elsewhere") == ["file"]


async def test_link_to_nothing_makes_the_file(tmp_path: Path) -> None:
    """The missing target of a link is created, as open() does."""
    (tmp_path / "link").symlink_to("file")

    await answer().write_to_file(tmp_path / "link")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == CONTENT


async def test_links_in_a_circle(tmp_path: Path) -> None:
    """Links that point to each other are the system's own error, and the body stays unread."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    async with raw_server(respond(ok(b"abc"))) as server, calls(server) as call:
        body = await call()
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            await body.write_to_file(tmp_path / "a")
        assert await body.read() == b"abc"


async def test_link_to_a_directory(tmp_path: Path) -> None:
    """A link to a directory is refused like the directory, before the body is read."""
    (tmp_path / "link").symlink_to(tmp_path)
    async with raw_server(respond(ok(b"abc"))) as server, calls(server) as call:
        body = await call()
        with pytest.raises(IsADirectoryError):
            await body.write_to_file(tmp_path / "link")
        assert await body.read() == b"abc"


# Files that cannot be replaced


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV, errno.EPERM])
async def test_file_that_cannot_be_replaced(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the system replaces no file, its content is overwritten: the same inode, and no file beside it."""
    target = tmp_path / "file"
    target.write_bytes(b"o" * (len(CONTENT) + 10))
    inode = target.stat().st_ino

    def refused(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", refused)
    assert await answer().write_to_file(target) == len(CONTENT)

    assert target.read_bytes() == CONTENT
    assert target.stat().st_ino == inode
    assert os.listdir(tmp_path) == ["file"]
    assert open_files() == []


async def test_broken_body_spares_a_file_that_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until all bytes have arrived, the old ones are kept, even in such a file."""
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def refused(*_: object) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(os, "replace", refused)
    async with raw_server(close(ok(CONTENT)[:-1])) as server, calls(server) as call:
        with pytest.raises(APIConnectionError):
            await (await call()).write_to_file(target)

    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


async def test_disk_that_fails_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle of overwriting states that the file may be damaged."""
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def refused(*_: object) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", refused)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left") as caught:
        await answer().write_to_file(target)

    assert "may be damaged" in caught.value.__notes__[0]
    assert os.listdir(tmp_path) == ["file"]
    assert open_files() == []


PREPARE = """
import asyncio, errno, os, subprocess, sys
from aioapiclient import APIRequest, AsyncAPIResponse

def fetch(path):
    response = AsyncAPIResponse.from_bytes(APIRequest("GET", "https://a.example/"), body=b"new content")
    return asyncio.run(response.write_to_file(path))

def become_nobody():
    fetch("warm")  # modules imported later may be unreadable
    os.remove("warm")
    os.setuid(65534)

def mount(*arguments):
    if subprocess.run(["mount", *arguments], capture_output=True).returncode:
        print("no mounts")
        sys.exit()
"""


async def in_namespace(program: str, directory: Path) -> list[str]:
    """Run *program* where its mounts are its own."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    script = directory / "program.py"
    script.write_text(f"import os, sys\nos.chdir(sys.argv[1])\n{PREPARE}\n{program}")
    starter = "import os, sys; os.execvp('unshare', ['unshare', '-m', sys.executable, '-B', *sys.argv[1:]])"
    lines = await run("-c", starter, script, directory)
    if lines == ["no mounts"]:
        pytest.skip("nothing can be mounted here")
    return lines


@needs_root
async def test_bind_mount_is_written_in_place(tmp_path: Path) -> None:
    """A file that is a mount point, as in containers, gets the bytes; the mount is kept."""
    lines = await in_namespace(
        """
os.mkdir("d")
for name in ("source", "d/target"):
    open(name, "w").write("old")
mount("--bind", "source", "d/target")
print(fetch("d/target"), open("source").read(), os.listdir("d"))
""",
        tmp_path,
    )

    assert lines == ["11 new content ['target']"]


@needs_root
async def test_read_only_mount_fails_before_the_body(tmp_path: Path) -> None:
    """A read-only mount point can neither be replaced nor written: opening it raises the error."""
    lines = await in_namespace(
        """
os.mkdir("d")
for name in ("source", "d/target"):
    open(name, "w").write("old")
mount("--bind", "source", "d/target")
mount("-o", "remount,bind,ro", "d/target")
response = AsyncAPIResponse.from_bytes(APIRequest("GET", "https://a.example/", stream=True), body=b"new")
try:
    asyncio.run(response.write_to_file("d/target"))
except OSError as error:
    print(errno.errorcode[error.errno], asyncio.run(response.read()), os.listdir("d"))
""",
        tmp_path,
    )

    assert lines == ["EROFS b'new' ['target']"]


@needs_root
async def test_directory_that_takes_no_file(tmp_path: Path) -> None:
    """A file that may be written, in a directory that may not, is overwritten; one that is new is refused."""
    lines = await in_namespace(
        """
os.mkdir("d")
open("d/file", "w").write("old, and longer than what comes")
os.chmod("d/file", 0o666)
os.chmod(".", 0o755)
become_nobody()
print(fetch("d/file"), open("d/file").read(), os.listdir("d"))
try:
    fetch("d/new")
except PermissionError:
    print("refused")
""",
        tmp_path_that_all_may_enter(tmp_path),
    )

    assert lines == ["11 new content ['file']", "refused"]


@needs_root
@pytest.mark.parametrize("place", ["directory", "sticky", "mount"])
async def test_file_that_can_neither_be_replaced_nor_written(place: str, tmp_path: Path) -> None:
    """A file that may neither be written nor replaced fails before the body is read."""
    prepare = {
        "directory": "",
        "sticky": 'os.chmod("d", 0o1777)',
        "mount": 'os.chmod("d", 0o777); open("s", "w"); mount("--bind", "s", "d/file")',
    }[place]
    lines = await in_namespace(
        f"""
os.mkdir("d")
open("d/file", "w").write("old")
{prepare}
become_nobody()
response = AsyncAPIResponse.from_bytes(APIRequest("GET", "https://a.example/", stream=True), body=b"new")
try:
    asyncio.run(response.write_to_file("d/file"))
except PermissionError:
    print(asyncio.run(response.read()), os.listdir("d"))
""",
        tmp_path_that_all_may_enter(tmp_path),
    )

    assert lines == ["b'new' ['file']"]


@needs_root
async def test_read_only_file_is_replaced(tmp_path: Path) -> None:
    """A file without write permission is replaced where its directory allows that."""
    lines = await in_namespace(
        """
os.mkdir("d")
open("d/file", "w").write("old")
os.chmod("d", 0o777)
become_nobody()
print(fetch("d/file"), open("d/file").read(), os.listdir("d"))
""",
        tmp_path_that_all_may_enter(tmp_path),
    )

    assert lines == ["11 new content ['file']"]


def tmp_path_that_all_may_enter(path: Path) -> Path:
    """Open pytest's folders to the user that the program becomes."""
    for directory in (path, *path.parents):
        if directory.stat().st_uid == os.geteuid() and directory != Path("/"):
            directory.chmod(directory.stat().st_mode | 0o755)
    return path


# Devices


async def test_null_device_stays_what_it_is(tmp_path: Path) -> None:
    """A character device swallows the bytes, and is not replaced by a file."""
    node = make_device(tmp_path / "null")

    assert await answer().write_to_file(node) == len(CONTENT)

    assert stat.S_ISCHR(node.stat().st_mode)
    assert os.listdir(tmp_path) == ["null"]
    assert open_files() == []


async def test_digest_and_progress_of_a_device(tmp_path: Path) -> None:
    """Bytes written to a device are counted and checked too."""
    node, script = make_device(tmp_path / "null"), Ranges()
    async with raw_server(script) as server, calls(server) as call:
        await (await call()).write_to_file(node, progress=script, digest=sha256())
        with pytest.raises(APIResponseValidationError, match="sha256"):
            await (await call()).write_to_file(node, digest=sha256(b"other"))

    assert script.taken == len(CONTENT)
    assert open_files() == []


async def test_device_that_is_full(tmp_path: Path) -> None:
    """An error of a device is raised unchanged."""
    node = make_device(tmp_path / "full", 7)
    with pytest.raises(OSError, match="No space left"):
        await answer().write_to_file(node)

    assert stat.S_ISCHR(node.stat().st_mode)
    assert open_files() == []


async def test_fifo_gets_the_bytes(tmp_path: Path) -> None:
    """A FIFO is written into, and its reader sees the end."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader, transport = await read_from(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))

    assert await answer().write_to_file(fifo) == len(CONTENT)
    await asyncio.wait_for(reader.ended.wait(), 10)
    transport.close()

    assert reader.received == CONTENT
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert os.listdir(tmp_path) == ["fifo"]
    assert open_files() == []


async def test_fifo_waits_for_its_reader(tmp_path: Path) -> None:
    """A FIFO without a reader is waited for, without a thread, and with the body unread."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writing = asyncio.create_task(answer().write_to_file(fifo))
    await asyncio.sleep(0)
    reader, transport = await read_from(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
    assert await asyncio.wait_for(writing, 10) == len(CONTENT)
    await asyncio.wait_for(reader.ended.wait(), 10)
    transport.close()

    assert reader.received == CONTENT


@pytest.mark.parametrize("is_read", [True, False])
async def test_cancel_of_a_fifo(is_read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation ends the wait for a FIFO's reader immediately, before or during the transfer."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK) if is_read else None
    script, opened, real = Ranges(), [], os.open

    def noted(*arguments: Any, **options: Any) -> int:
        opened.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(os, "open", noted)
    async with raw_server(script) as server, calls(server) as call:
        body = await call()
        writing = asyncio.create_task(body.write_to_file(fifo, progress=script))
        await until(lambda: script.taken if is_read else opened)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(writing, 10)
        assert body.is_closed
    if end is not None:
        os.close(end)

    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert open_files() == []


async def test_reader_that_leaves(tmp_path: Path) -> None:
    """A reader that closes the other end is a BrokenPipeError."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writing = asyncio.create_task(answer().write_to_file(fifo))
    await until(lambda: os.read(end, 1) if fifo_has_bytes(end) else b"")
    os.close(end)
    with pytest.raises(BrokenPipeError):
        await asyncio.wait_for(writing, 10)

    assert open_files() == []


def fifo_has_bytes(end: int) -> bool:
    """Return whether a FIFO has bytes to read."""
    import select

    return bool(select.select([end], [], [], 0)[0])


async def test_terminal_gets_the_bytes() -> None:
    """A terminal is a character device that anyone has: it is written into by its path."""
    reading, terminal = pty.openpty()
    tty.setraw(terminal)
    path = os.ttyname(terminal)
    reader, transport = await read_from(reading)

    assert await answer().write_to_file(path) == len(CONTENT)
    await until(lambda: len(reader.received) == len(CONTENT))
    transport.close()
    os.close(terminal)

    assert reader.received == CONTENT


async def test_break_goes_on_into_a_fifo(tmp_path: Path) -> None:
    """A body that breaks also resumes into a FIFO."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader, transport = await read_from(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
    script = Ranges(200_000)
    async with raw_server(script) as server, calls(server) as call:
        assert await (await call()).write_to_file(fifo, progress=script) == len(CONTENT)
    await asyncio.wait_for(reader.ended.wait(), 10)
    transport.close()

    assert reader.received == CONTENT


async def test_changed_content_cannot_begin_anew_in_a_fifo(tmp_path: Path) -> None:
    """Changed content cannot replace the bytes that a FIFO has accepted: the break is raised, with a note."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader, transport = await read_from(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
    script = Cut(ok(CONTENT, ETag=ETAG)[:-10], len(CONTENT) - 10)
    second = respond(response("200 OK", b"changed", ETag='"v2"'))
    async with raw_server(in_turn(script, second)) as server, calls(server) as call:
        with pytest.raises(APIConnectionError) as caught:
            await (await call()).write_to_file(fifo, progress=script)
    transport.close()

    assert "cannot be removed" in caught.value.__notes__[0]
    assert b"changed" not in reader.received


# Descriptors


STDOUT = """
import asyncio, sys
from aioapiclient import APIRequest, AsyncAPIResponse
response = AsyncAPIResponse.from_bytes(APIRequest("GET", "https://a.example/"), body=b"body\\n" * 20_000)
print("before", flush=True)
asyncio.run(response.write_to_file(sys.argv[1]))
print("after", flush=True)
"""


has_descriptors = pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="the system has no /dev/fd")


@has_descriptors
@pytest.mark.parametrize("path", ["link", "/dev/fd/1"])
@pytest.mark.parametrize("kind", ["pipe", "file"])
async def test_stdout(path: str, kind: str, tmp_path: Path) -> None:
    """Standard output receives the body between the text printed before and after it, in a file too."""
    # As /dev/stdout is; the system's own would not survive a failure.
    (tmp_path / "link").symlink_to("/dev/fd/1")
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", STDOUT, path),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE if kind == "pipe" else file,
        )
        received, _ = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 0
    found = received if kind == "pipe" else output.read_bytes()
    assert found == b"before\n" + b"body\n" * 20_000 + b"after\n"
    assert sorted(os.listdir(tmp_path)) == ["link", "output"]
    assert (tmp_path / "link").is_symlink()


@has_descriptors
@pytest.mark.parametrize("number", ["0", "987654"])
async def test_descriptor_that_is_not_for_writing(number: str, tmp_path: Path) -> None:
    """A descriptor that is not open, or open for reading only, is refused before the body is read."""
    reading = os.open(__file__, os.O_RDONLY)
    try:
        async with raw_server(respond(ok(b"abc"))) as server, calls(server) as call:
            body = await call()
            with pytest.raises(OSError, match="Bad file descriptor"):
                await body.write_to_file(f"/dev/fd/{reading if number == '0' else number}")
            assert await body.read() == b"abc"
    finally:
        os.close(reading)


def test_part_file_that_is_over(tmp_path: Path) -> None:
    """A file that was discarded before it was opened is not created."""
    part = _PartFile(str(tmp_path / "file"))
    part.discard()
    part.open()

    assert os.listdir(tmp_path) == []


CHUNKS = [bytes([number % 251]) * (number % 7 + 1) for number in range(3000)]


@pytest.mark.parametrize("most", [0, 1, 5])
def test_chunks_that_are_written_in_parts(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More chunks than one system call accepts are written, even if each call accepts only some bytes."""

    def some(descriptor: int, chunks: list[bytes]) -> int:
        return os.write(descriptor, b"".join(chunks)[:most])

    if most:
        monkeypatch.setattr("aioapiclient._download.targets._write_some", some)
    target, checksum = tmp_path / "file", hashlib.sha256()
    part = _PartFile(str(target))
    part.open()
    part.write(CHUNKS.copy(), checksum)
    part.commit()

    assert target.read_bytes() == b"".join(CHUNKS)
    assert checksum.digest() == hashlib.sha256(b"".join(CHUNKS)).digest()


def test_chunks_without_writev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no call for many chunks, they are written one by one."""
    monkeypatch.setattr("aioapiclient._download.targets._write_some", _write_first)
    part = _PartFile(str(tmp_path / "file"))
    part.open()
    part.write([b"a", b"bc"], None)
    part.commit()

    assert (tmp_path / "file").read_bytes() == b"abc"


def test_a_file_that_may_grow_no_more(tmp_path: Path) -> None:
    """A limit that a write meets half-way is an error, not a shorter file."""
    resource = pytest.importorskip("resource")
    part = _PartFile(str(tmp_path / "file"))
    part.open()
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            part.write([bytes(1000), bytes(1000)], None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    part.discard()

    assert os.listdir(tmp_path) == []
