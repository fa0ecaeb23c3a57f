"""docker-registry: layers are uploaded whole and in slices, downloaded despite breaks, and listed in
pages.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from helpers import Client
from relays import relay

from aioapiclient import (
    APIResponseValidationError,
    AsyncAPIResponse,
    FilePart,
    LinkHeaderPage,
    NotFoundError,
)

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Catalog(LinkHeaderPage[Any]):
    """The names of repositories."""

    repositories: list[str]

    items_field: ClassVar[str] = "repositories"


class Blob(msgspec.Struct, rename="camel"):
    media_type: str
    size: int
    digest: str


class Manifest(msgspec.Struct, rename="camel"):
    schema_version: int
    media_type: str
    config: Blob
    layers: list[Blob]


class Fault(msgspec.Struct):
    code: str
    message: str


class Faults(msgspec.Struct):
    errors: list[Fault]


@pytest.fixture
async def registry(docker_registry: str) -> AsyncIterator[Client]:
    """A client of the docker-registry."""
    async with Client(docker_registry, error_types={"4XX": Faults}) as client:
        yield client


def digest_of(content: bytes) -> str:
    """The name of *content* in the registry."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


async def begin(registry: Client, name: str) -> Any:
    """Start an upload; return its URL."""
    response = await registry.post(f"/v2/{name}/blobs/uploads/", AsyncAPIResponse[None])
    assert response.status == 202
    return response.location


async def push(registry: Client, name: str, content: Any, digest: str) -> None:
    """Upload *content* in one piece."""
    target = await begin(registry, name)
    await registry.put(target, None, params={"digest": digest}, content=content)


def layer(folder: Path, size: int) -> Path:
    """A file of *size* bytes."""
    path = folder / "layer"
    path.write_bytes(hashlib.shake_256(b"layer").digest(size))
    return path


async def test_a_layer_is_uploaded_and_comes_down(registry: Client, tmp_path: Path) -> None:
    """A layer uploaded from its path is downloaded unchanged, and its digest confirms it."""
    path = layer(tmp_path, 3_000_000)
    digest = digest_of(path.read_bytes())

    await push(registry, "whole", path, digest)
    head = await registry.head(f"/v2/whole/blobs/{digest}")
    async with registry.open("GET", f"/v2/whole/blobs/{digest}") as response:
        await response.write_to_file(tmp_path / "copy", digest=digest)

    assert head.headers["Content-Length"] == "3000000"
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


async def test_a_layer_is_uploaded_in_slices(registry: Client, tmp_path: Path) -> None:
    """A layer is uploaded in slices of its file, each to the location that the previous response named."""
    path = layer(tmp_path, 1_000_000)
    target = await begin(registry, "slices")

    for offset in range(0, 1_000_000, 300_000):
        part = FilePart(path, offset, min(300_000, 1_000_000 - offset))
        span = {"Content-Range": f"{offset}-{offset + part.length - 1}"}  # type: ignore[operator]
        response = await registry.patch(target, AsyncAPIResponse[None], content=part, headers=span)
        target = response.location
    digest = digest_of(path.read_bytes())
    await registry.put(target, None, params={"digest": digest})

    assert await registry.get(f"/v2/slices/blobs/{digest}", bytes) == path.read_bytes()


async def test_layers_go_up_at_once(registry: Client) -> None:
    """Eight layers are uploaded concurrently."""
    contents = [bytes([number]) * 200_000 for number in range(8)]

    await asyncio.gather(*(push(registry, "many", content, digest_of(content)) for content in contents))
    sizes = await asyncio.gather(
        *(registry.head(f"/v2/many/blobs/{digest_of(content)}") for content in contents)
    )

    assert [head.headers["Content-Length"] for head in sizes] == ["200000"] * 8


async def test_a_download_outlives_its_connection(
    registry: Client, docker_registry: str, tmp_path: Path
) -> None:
    """A download whose connection breaks twice resumes, and is complete."""
    path = layer(tmp_path, 2_000_000)
    digest = digest_of(path.read_bytes())
    await push(registry, "broken", path, digest)

    async with (
        relay(docker_registry, cuts=[500_000, 700_000]) as way,
        Client(way.url) as client,
        client.open("GET", f"/v2/broken/blobs/{digest}") as response,
    ):
        size = await response.write_to_file(tmp_path / "copy", digest=digest)

    assert size == 2_000_000
    assert way.connections == 3
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


async def test_another_digest_leaves_no_file(registry: Client, tmp_path: Path) -> None:
    """A download with the wrong digest raises and leaves no file."""
    content = b"a layer"
    await push(registry, "other", content, digest_of(content))

    async with registry.open("GET", f"/v2/other/blobs/{digest_of(content)}") as response:
        with pytest.raises(APIResponseValidationError):
            await response.write_to_file(tmp_path / "copy", digest=digest_of(b"another layer"))

    assert os.listdir(tmp_path) == []


async def test_a_manifest_is_typed_both_ways(registry: Client) -> None:
    """A manifest is uploaded as the JSON of a Struct, and downloaded as that Struct, with its own media
    type.
    """
    content = b"{}"
    await push(registry, "typed", content, digest_of(content))
    blob = Blob("application/vnd.docker.container.image.v1+json", len(content), digest_of(content))
    manifest = Manifest(2, MANIFEST, blob, [])

    await registry.put("/v2/typed/manifests/latest", None, json=manifest, headers={"Content-Type": MANIFEST})
    found = await registry.get("/v2/typed/manifests/latest", Manifest, headers={"Accept": MANIFEST})
    tags = await registry.get("/v2/typed/tags/list", dict[str, Any])

    assert found == manifest
    assert tags == {"name": "typed", "tags": ["latest"]}


async def test_pages_of_repositories(registry: Client) -> None:
    """The catalogue arrives in pages, whose Link headers are relative."""
    for number in range(7):
        await push(registry, f"catalog/{number}", b"same", digest_of(b"same"))

    names = registry.get_api_list("/v2/_catalog", model=str, page=Catalog, params={"n": 3})
    pages = [page async for page in names.iter_pages()]

    found = [name for page in pages for name in page.repositories if name.startswith("catalog/")]
    assert found == [f"catalog/{number}" for number in range(7)]
    assert len(pages) >= 3


async def test_an_error_comes_typed(registry: Client) -> None:
    """A missing manifest is a 404 with the registry's own reason, typed."""
    with pytest.raises(NotFoundError) as raised:
        await registry.get("/v2/nothing/manifests/latest", Manifest)

    assert raised.value.body.errors[0].code == "MANIFEST_UNKNOWN"
