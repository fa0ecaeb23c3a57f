"""The thread that writes a download: its order, its limits, its errors, and its place in the executor."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from servers import Exchange, in_turn, ok, raw_server, respond
from test_download import CONTENT, ETAG, Ranges, calls, open_files, sha256, until

from aioapiclient._download.download import write_to_file
from aioapiclient._download.targets import _PartFile
from aioapiclient._download.writer import ThreadWriter


class OneThread(ThreadPoolExecutor):
    """An executor with one thread, which counts its jobs."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self.jobs = 0

    def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
        self.jobs += 1
        return super().submit(*arguments, **options)


@pytest.fixture
async def executor() -> OneThread:
    """The default executor of the test's event loop, which is shut down with it."""
    one = OneThread()
    asyncio.get_running_loop().set_default_executor(one)
    return one


class Disk:
    """Records what is written; waits before each write until it is open."""

    def __init__(self, *, is_open: bool = True, fails_at: int = -1) -> None:
        self.written: list[int] = []
        self.threads: set[int] = set()
        self.begun, self.opened = threading.Event(), threading.Event()
        if is_open:
            self.opened.set()
        self._fails_at = fails_at

    def write(self, chunks: list[bytes], checksum: Any) -> None:
        self.begun.set()
        assert self.opened.wait(10)
        self.threads.add(threading.get_ident())
        if len(self.written) == self._fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.written.append(int(b"".join(chunks)))


def batch(number: int) -> list[bytes]:
    """The chunks of one write."""
    return [b"%d" % number]


async def test_batches_are_written_in_order(executor: OneThread) -> None:
    """All batches are written in order, and not in the event loop's thread."""
    disk = Disk()
    writer = ThreadWriter(disk.write)
    for number in range(200):
        await writer.add(batch(number), None)
    await writer.flush()

    assert disk.written == list(range(200))
    assert threading.get_ident() not in disk.threads


async def test_one_job_writes_what_has_come_meanwhile(executor: OneThread) -> None:
    """Batches that are added during a write need no job of their own, and do not wait."""
    disk = Disk(is_open=False)
    writer = ThreadWriter(disk.write)
    await writer.add(batch(0), None)
    await until(disk.begun.is_set)
    for number in range(1, 3):
        await asyncio.wait_for(writer.add(batch(number), None), 10)
    written = disk.written.copy()
    disk.opened.set()
    await writer.flush()

    assert (written, disk.written) == ([], [0, 1, 2])
    assert executor.jobs == 1


async def test_too_many_batches_wait(executor: OneThread) -> None:
    """Of a slow disk's batches, at most four are in memory: one that is written, and three that wait."""
    disk = Disk(is_open=False)
    writer = ThreadWriter(disk.write)
    added = 1

    async def add() -> None:
        nonlocal added
        for number in range(1, 10):
            await writer.add(batch(number), None)
            added += 1

    await writer.add(batch(0), None)
    await until(disk.begun.is_set)
    task = asyncio.create_task(add())
    await until(lambda: added >= 3)
    before = added
    disk.opened.set()
    await task
    await writer.flush()

    assert before == 3
    assert disk.written == list(range(10))


async def test_a_slow_download_leaves_the_thread_to_others(executor: OneThread) -> None:
    """Between batches that come slowly, the thread is free; the next batch is written all the same."""
    disk = Disk()
    writer = ThreadWriter(disk.write)
    for number in range(3):
        await writer.add(batch(number), None)
        await asyncio.wait_for(asyncio.to_thread(int), 10)
    await writer.flush()

    assert disk.written == [0, 1, 2]


async def test_a_fast_download_leaves_the_thread_to_others(executor: OneThread) -> None:
    """After at most 32 batches, a job that waits for the thread gets its turn."""
    disk = Disk()
    writer = ThreadWriter(disk.write)
    await writer.add(batch(0), None)
    turn = asyncio.get_running_loop().run_in_executor(None, lambda: len(disk.written))
    for number in range(1, 500):
        await writer.add(batch(number), None)
        while len(disk.written) <= number and not turn.done():  # noqa: ASYNC110 (a thread makes it true)
            await asyncio.sleep(0)
    await writer.flush()

    assert await turn <= 32
    assert disk.written == list(range(500))


@pytest.mark.parametrize("fails_at", [0, 2])
async def test_an_error_of_an_earlier_batch(fails_at: int, executor: OneThread) -> None:
    """An error of a write is raised by the next call, and nothing is written after it."""
    disk = Disk(fails_at=fails_at)
    writer = ThreadWriter(disk.write)

    async def add_all() -> None:
        for number in range(100):
            await writer.add(batch(number), None)

    with pytest.raises(OSError, match="No space left"):
        await add_all()
    writer.stop()

    assert disk.written == list(range(fails_at))


async def test_an_error_of_the_last_batch(executor: OneThread) -> None:
    """An error of the last write is raised by `flush`."""
    writer = ThreadWriter(Disk(fails_at=0).write)
    await writer.add(batch(0), None)
    with pytest.raises(OSError, match="No space left"):
        await writer.flush()


async def test_nothing_to_flush(executor: OneThread) -> None:
    """Without a batch, `flush` starts no job."""
    writer = ThreadWriter(Disk().write)
    await writer.flush()

    assert executor.jobs == 0


async def test_stop(executor: OneThread) -> None:
    """After `stop`, waiting batches are dropped; an error of the write that runs is not reported."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reported.append(report))
    disk = Disk(is_open=False, fails_at=0)
    writer = ThreadWriter(disk.write)
    await writer.add(batch(0), None)
    await writer.add(batch(1), None)
    await until(disk.begun.is_set)
    writer.stop()
    disk.opened.set()
    del writer
    await asyncio.wait_for(asyncio.to_thread(int), 10)
    await asyncio.sleep(0)
    gc.collect()

    assert disk.written == []
    assert reported == []


# Downloads


async def test_content_that_changes_during_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a download starts again while a thread writes the old content, none of it remains."""
    old, new = CONTENT * 8, CONTENT[::-1] * 6
    first, asked, restarted = Ranges(2 << 20, content=old), threading.Event(), threading.Event()
    write, restart = _PartFile.write, _PartFile.restart

    def slow_write(part: _PartFile, chunks: list[bytes], checksum: Any) -> None:
        assert asked.wait(10)
        restarted.wait(0.1)  # long enough for a restart that does not wait for this write
        write(part, chunks, checksum)

    def noted_restart(part: _PartFile) -> None:
        restart(part)
        restarted.set()

    async def again(exchange: Exchange) -> None:
        asked.set()
        await exchange.send(ok(new))

    monkeypatch.setattr(_PartFile, "write", slow_write)
    monkeypatch.setattr(_PartFile, "restart", noted_restart)
    async with raw_server(in_turn(first, again)) as server, calls(server) as call:
        count = await write_to_file(await call(), tmp_path / "file", progress=first, digest=sha256(new))

    assert count == len(new)
    assert (tmp_path / "file").read_bytes() == new


async def test_a_disk_that_is_full_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk ends the download before its last byte has come, and leaves nothing."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def script(exchange: Exchange) -> None:
        await exchange.send(ok(bytes(32 << 20), ETag=ETAG)[:-1])
        await exchange.reader.read()

    monkeypatch.setattr(_PartFile, "write", full)
    async with raw_server(script) as server, calls(server) as call:
        answer = await call()
        with pytest.raises(OSError, match="No space left"):
            await asyncio.wait_for(write_to_file(answer, tmp_path / "file"), 30)
        assert answer.is_closed

    assert os.listdir(tmp_path) == []
    assert open_files() == []


async def test_many_downloads_at_once(executor: OneThread, tmp_path: Path) -> None:
    """Twenty downloads of 3 MiB share one thread."""
    content = CONTENT * 8
    async with raw_server(respond(ok(content))) as server, calls(server) as call:
        answers = [await call() for _ in range(20)]
        targets = [tmp_path / str(number) for number in range(20)]
        counts = await asyncio.wait_for(
            asyncio.gather(*(write_to_file(*pair) for pair in zip(answers, targets, strict=True))), 60
        )

    assert counts == [len(content)] * 20
    assert all(target.read_bytes() == content for target in targets)
