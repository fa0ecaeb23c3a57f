"""Downloads files from a server in this program that drops the connection, and checks the result.

::

    python examples/download_resume.py
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from aioapiclient import APIResponseValidationError, AsyncAPIClient

CONTENT = os.urandom(4 << 20)


class Counter:
    """Counts the progress; any object with ``update(n)`` works, such as a bar of tqdm."""

    def __init__(self) -> None:
        self.n = 0

    def update(self, n: int) -> None:
        self.n += n


async def download(api: AsyncAPIClient, name: str, directory: Path) -> int:
    """Download the complete file or nothing: resume after a break, and check the server's digest."""
    progress = Counter()
    async with api.open("GET", "/files/{name}", path_params={"name": name}) as response:
        count = await response.write_to_file(directory / name, progress=progress, digest=True)
    print(f"  {count} bytes, progress {progress.n}")
    return count


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with serving() as (url, log), AsyncAPIClient(url) as api:
            print("a server that hangs up twice:")
            await download(api, "tea", directory)
            print(" ", *log)
            print(
                "the same:", hashlib.sha256((directory / "tea").read_bytes()).hexdigest() == sha256(CONTENT)
            )

            print("a file with a wrong digest:")
            try:
                async with api.open("GET", "/files/tea") as response:
                    await response.write_to_file(directory / "other", digest="sha256:" + "0" * 64)
            except APIResponseValidationError:
                print("  refused; there is only", *sorted(os.listdir(directory)))


def sha256(content: bytes) -> str:
    """Return the SHA-256 of *content* in hex."""
    return hashlib.sha256(content).hexdigest()


# --- the server


class Files:
    """Serves one file by ranges, and drops the connection in the first two responses."""

    def __init__(self) -> None:
        self.breaks = [1_000_000, 2_000_000]
        self.log: list[str] = []

    async def get(self, request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range", "bytes=0-")
        first = int(asked.removeprefix("bytes=").rstrip("-"))
        digest = hashlib.sha256(CONTENT).digest()
        headers = {"ETag": '"tea-1"', "Repr-Digest": f"sha-256=:{_base64(digest)}:"}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"
        response = web.StreamResponse(status=206 if first else 200, headers=headers)
        response.content_length = len(CONTENT) - first
        self.log.append(f"{response.status} if {request.headers.get('If-Range')};")
        await response.prepare(request)
        if self.breaks:
            await response.write(CONTENT[first : first + self.breaks.pop(0)])
            if request.transport is not None:
                request.transport.close()
        else:
            await response.write(CONTENT[first:])
        return response


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


@asynccontextmanager
async def serving() -> AsyncGenerator[tuple[str, list[str]], None]:
    """Serve on a free port of loopback; yield the URL and the statuses of the responses."""
    files = Files()
    app = web.Application()
    app.add_routes([web.get("/files/{name}", files.get)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", files.log
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
