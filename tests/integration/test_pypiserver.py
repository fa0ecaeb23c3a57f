"""pypiserver: files are uploaded as multipart forms, and downloaded unchanged."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from helpers import Client

from aioapiclient import AsyncAPIResponse, BadRequestError, ConflictError, FilePart, NotFoundError

UPLOAD = {":action": "file_upload", "protocol_version": "1"}


@pytest.fixture
async def index(pypiserver: str) -> AsyncIterator[Client]:
    """A client of the pypiserver."""
    async with Client(pypiserver) as client:
        yield client


def archive(folder: Path, name: str, size: int) -> Path:
    """A file that is as long as a distribution may be; pypiserver does not look into it."""
    path = folder / name
    path.write_bytes(hashlib.shake_256(name.encode()).digest(size))
    return path


async def test_a_file_is_uploaded_and_comes_back(index: Client, tmp_path: Path) -> None:
    """A file uploaded from its path is listed with its digest, and downloaded unchanged."""
    path = archive(tmp_path, "first-1.0.tar.gz", 2_000_000)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    await index.post("/", None, data=UPLOAD, files={"content": path})
    page = await index.get("/simple/{project}/", str, path_params={"project": "first"})
    async with index.open("GET", "/packages/first-1.0.tar.gz") as response:
        size = await response.write_to_file(tmp_path / "copy", digest=f"sha256:{digest}")

    assert re.findall(r'href="[^"]*/first-1.0.tar.gz#(\w+)=(\w+)"', page) == [("sha256", digest)]
    assert size == 2_000_000
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


async def test_several_files_go_up_at_once(index: Client, tmp_path: Path) -> None:
    """A form has several files, one of them from a path and one from memory."""
    path = archive(tmp_path, "signed-1.0.tar.gz", 10_000)
    signature = ("signed-1.0.tar.gz.asc", b"no signature at all", "application/pgp-signature")

    await index.post("/", None, data=UPLOAD, files={"content": path, "gpg_signature": signature})

    assert await index.get("/packages/signed-1.0.tar.gz.asc", bytes) == b"no signature at all"
    assert await index.get("/packages/signed-1.0.tar.gz", bytes) == path.read_bytes()


async def test_an_open_file_is_uploaded(index: Client) -> None:
    """A binary file in memory is uploaded under the given name."""
    content = io.BytesIO(b"x" * 300_000)

    await index.post("/", None, data=UPLOAD, files={"content": ("opened-1.0.zip", content)})

    assert await index.get("/packages/opened-1.0.zip", bytes) == content.getvalue()


async def test_a_slice_of_a_file_is_uploaded(index: Client, tmp_path: Path) -> None:
    """A slice of a file is uploaded as a separate file."""
    path = archive(tmp_path, "whole", 500_000)
    part = FilePart(path, offset=100_000, length=200_000)

    await index.post("/", None, data=UPLOAD, files={"content": ("slice-1.0.zip", part)})

    assert await index.get("/packages/slice-1.0.zip", bytes) == path.read_bytes()[100_000:300_000]


async def test_the_progress_of_an_upload(index: Client, tmp_path: Path) -> None:
    """An upload reports its bytes: those of the file, and of the form around it."""
    path = archive(tmp_path, "slow-1.0.tar.gz", 1_000_000)
    counted: list[int] = []

    class Progress:
        def update(self, n: int) -> None:
            counted.append(n)

    await index.post("/", None, data=UPLOAD, files={"content": path}, progress=Progress())

    assert len(counted) > 1
    assert 1_000_000 <= sum(counted) < 1_001_000


async def test_a_file_is_not_replaced(index: Client, tmp_path: Path) -> None:
    """A second upload of the same name is refused with a 409, which is not tried again."""
    path = archive(tmp_path, "twice-1.0.tar.gz", 1000)
    await index.post("/", None, data=UPLOAD, files={"content": path})

    with pytest.raises(ConflictError):
        await index.post("/", None, data=UPLOAD, files={"content": path})

    assert index.waits == []


async def test_a_form_without_its_file_is_refused(index: Client) -> None:
    """A form without its file is a bad request."""
    with pytest.raises(BadRequestError):
        await index.post("/", None, data=UPLOAD, files={"other": ("other-1.0.zip", b"x")})


async def test_a_name_is_normalised_by_a_redirect(index: Client, tmp_path: Path) -> None:
    """A redirect to the normal form of a name is followed."""
    path = archive(tmp_path, "Odd_Name-1.0.tar.gz", 1000)
    await index.post("/", None, data=UPLOAD, files={"content": path})

    response = await index.get("/simple/Odd_Name", AsyncAPIResponse[str])

    assert response.url.path == "/simple/odd-name/"
    assert len(response.history) >= 1
    assert "Odd_Name-1.0.tar.gz" in await response.parse()


async def test_what_is_not_there(index: Client) -> None:
    """A file that was never uploaded is a 404."""
    with pytest.raises(NotFoundError):
        await index.get("/packages/missing-1.0.tar.gz", bytes)
