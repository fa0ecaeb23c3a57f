"""The memory that a body of any size costs: of a separate process, as its system counts it.

The peak of a process that did the same with 1 MiB before is compared to its peak afterwards, with everything
in it: aiohttp's buffers, threads, memory that the allocator keeps. The bound is the 32 MiB that 1 GiB may
cost. 256 MiB prove it in a quarter of the time: memory that grows with a body, even by one byte in eight,
passes the bound at that size already, and memory that does not is the same for any size.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from programs import run
from servers import Exchange, ok, raw_server, response

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")

MIB = 1 << 20
SIZE = 256 * MIB
MOST = 32 * MIB
PAGE = 4096
BLOCK = bytes(MIB)

# Prints the number of transferred bytes, the rise of the peak, and the number of new pages. Not ru_maxrss,
# which begins at the parent's.
CLIENT = """
import asyncio, os, pathlib, resource, sys
from aioapiclient import AsyncAPIClient, FilePart

way, url, size, path = sys.argv[1], sys.argv[2], int(sys.argv[3]), pathlib.Path(sys.argv[4])


async def write_to_file(api, size):
    async with api.open("GET", f"/{size}") as response:
        return await response.write_to_file(path)


async def iter_bytes(api, size):
    async with api.open("GET", f"/{size}") as response:
        return sum([len(chunk) async for chunk in response.iter_bytes()])


async def upload(api, size, **body):
    os.truncate(path, size)
    return await api.put("/", int, **body)


async def content(api, size):
    return await upload(api, size, content=path)


async def files(api, size):
    return await upload(api, size, files={"file": path}, data={"name": "big"})


async def parts(api, size):
    eighth = size // 8
    os.truncate(path, size)
    slices = [FilePart(path, start, eighth) for start in range(0, size, eighth)]
    return sum(await asyncio.gather(*(api.put("/", int, content=part) for part in slices)))


def peak():
    return int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10


async def main():
    path.touch()
    async with AsyncAPIClient(url) as api:
        await globals()[way](api, 1 << 20)
        before, pages = peak(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        count = await globals()[way](api, size)
        print([count, peak() - before, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - pages])


asyncio.run(main())
"""


async def cost(way: str, server: Callable[[Exchange], Awaitable[object]], path: Path) -> list[int]:
    """Bytes that went through, bytes that they added to the process's peak, and pages that it was given."""
    async with raw_server(server, reads_bodies=False) as running:
        (line,) = await run("-c", CLIENT, way, running.url, str(SIZE), path)
    return msgspec.json.decode(line, type=list[int])


async def give(exchange: Exchange) -> None:
    """Answer with the number of bytes in the target."""
    size = int(exchange.request.target[1:])
    await exchange.send(response(body=None, Content_Length=str(size)))
    for _ in range(0, size, len(BLOCK)):
        await exchange.send(BLOCK)


async def take(exchange: Exchange) -> None:
    """Read the body, and return its number of bytes."""
    left = length = int(exchange.request.headers["Content-Length"])
    while left:
        left -= len(await exchange.reader.read(left))
    await exchange.send(ok(str(length).encode()))


@pytest.mark.parametrize("way", ["write_to_file", "iter_bytes"])
async def test_a_download_is_not_kept(way: str, tmp_path: Path) -> None:
    """A body of any size, into a file or piece by piece, adds less than 32 MiB."""
    count, added, _ = await cost(way, give, tmp_path / "download")

    assert count == SIZE
    assert added < MOST


@pytest.mark.parametrize("way", ["content", "files", "parts"])
async def test_an_upload_is_not_kept(way: str, tmp_path: Path) -> None:
    """A file of any size, alone, in a form or in eight concurrent slices, adds less than 32 MiB."""
    count, added, _ = await cost(way, take, tmp_path / "upload")

    assert count >= SIZE
    assert added < MOST


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other rules")
async def test_a_download_uses_its_memory_again(tmp_path: Path) -> None:
    """Of the pages that a download to a file fills, fewer than an eighth are new ones."""
    count, _, pages = await cost("write_to_file", give, tmp_path / "download")

    assert count == SIZE
    assert pages < SIZE // PAGE // 8
