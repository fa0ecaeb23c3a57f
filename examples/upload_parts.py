"""Uploads a file to a server in this program: in eight concurrent parts, and in a form with a progress bar.

::

    python examples/upload_parts.py
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp import web

from aioapiclient import AsyncAPIClient, FilePart

SIZE = 8 << 20
PARTS = 8


class Upload(msgspec.Struct):
    id: int


class Stored(msgspec.Struct):
    size: int
    sha256: str


class Bar:
    """A progress bar in 15 lines; ``tqdm(total=SIZE, unit="B", unit_scale=True)`` works as well."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.n = 0
        self.shown = 0

    def update(self, n: int) -> None:
        self.n += n
        while self.n * 4 // self.total > self.shown:
            self.shown += 1
            print(f"  [{'#' * self.shown * 5:20}] {self.shown * 25:3} %")

    def reset(self) -> None:
        self.n = self.shown = 0


class Shared:
    """One bar for many bodies; without a reset, a body that is sent again subtracts only its own bytes."""

    def __init__(self, bar: Bar) -> None:
        self.update = bar.update


async def upload_in_parts(api: AsyncAPIClient, path: Path) -> Stored:
    """Upload each part in its own request, with its own file handle and its own retries."""
    size = path.stat().st_size  # noqa: ASYNC240 (as quick as anything)
    length = -(-size // PARTS)
    upload = await api.post("/uploads", Upload)
    progress = Shared(Bar(size))

    async def send(number: int) -> None:
        start = number * length
        await api.put(
            "/uploads/{id}/parts/{number}",
            None,
            path_params={"id": upload.id, "number": number},
            content=FilePart(path, start, min(length, size - start)),
            progress=progress,
        )

    await asyncio.gather(*map(send, range(PARTS)))
    return await api.post("/uploads/{id}/complete", Stored, path_params={"id": upload.id})


async def upload_as_form(api: AsyncAPIClient, path: Path) -> Stored:
    """Upload a form with fields and files; it is streamed from the disk, with its length."""
    return await api.post(
        "/forms",
        Stored,
        data={"title": "Tea", "tags": ["red", "green"]},
        files={"document": path, "cover": ("cover.png", b"\x89PNG", "image/png")},
        progress=Bar(path.stat().st_size),  # noqa: ASYNC240
    )


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = make_file(Path(directory))
        async with serving() as url, AsyncAPIClient(url, max_retries=3) as api:
            print("in eight parts:")
            stored = await upload_in_parts(api, path)
            print(f"  {stored.size} bytes, {'the same' if stored.sha256 == digest(path) else 'others'}")
            print("as a form:")
            stored = await upload_as_form(api, path)
            print(f"  {stored.size} bytes, {'the same' if stored.sha256 == digest(path) else 'others'}")


def make_file(directory: Path) -> Path:
    """Create a file of 8 MiB."""
    path = directory / "tea.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- the server


class Store:
    """Accepts uploads; the first attempt of part 3 gets a 503."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}
        self.is_busy = True

    async def begin(self, request: web.Request) -> web.Response:
        return web.json_response({"id": 1})

    async def take(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        part = await request.read()
        if number == "3" and self.is_busy:
            self.is_busy = False
            return web.Response(status=503, headers={"Retry-After": "0"})
        self.parts[number] = part
        return web.Response(status=204)

    async def complete(self, request: web.Request) -> web.Response:
        return _stored(b"".join(self.parts[number] for number in sorted(self.parts)))

    async def form(self, request: web.Request) -> web.Response:
        form = await request.post()
        title, document, cover = form["title"], form["document"], form["cover"]
        assert isinstance(title, str)
        assert isinstance(document, web.FileField)
        assert isinstance(cover, web.FileField)
        print(f"  {title}, {form.getall('tags')}, {document.filename}, {cover.filename}")
        return _stored(document.file.read())


def _stored(content: bytes) -> web.Response:
    return web.json_response({"size": len(content), "sha256": hashlib.sha256(content).hexdigest()})


@asynccontextmanager
async def serving() -> AsyncGenerator[str, None]:
    """Serve on a free port of loopback."""
    store = Store()
    app = web.Application(client_max_size=2 * SIZE)
    app.add_routes(
        [
            web.post("/uploads", store.begin),
            web.put("/uploads/{id}/parts/{number}", store.take),
            web.post("/uploads/{id}/complete", store.complete),
            web.post("/forms", store.form),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
