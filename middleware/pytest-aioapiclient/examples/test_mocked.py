"""Tests that mock aiohttp with aioresponses, which these fixtures make work with each aiohttp."""

# pyright: reportUnknownMemberType=false
# aioresponses leaves a part of its types open.

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aioresponses import aioresponses

from aioapiclient import APIConnectionError, AsyncAPIClient

URL = "https://api.example.com/users/7"


@pytest.fixture
async def api() -> AsyncIterator[AsyncAPIClient]:
    async with AsyncAPIClient("https://api.example.com", max_retries=0) as client:
        yield client


async def test_a_call(api: AsyncAPIClient, mock_aiohttp: aioresponses) -> None:
    """A mock answers a call, and raises the given error."""
    mock_aiohttp.get(URL, payload={"id": 7})
    mock_aiohttp.get(URL, exception=aiohttp.ClientConnectionError())

    assert await api.get("/users/7") == {"id": 7}
    with pytest.raises(APIConnectionError):
        await api.get("/users/7")


@pytest.mark.usefixtures("mended_aioresponses")
async def test_as_it_was(api: AsyncAPIClient) -> None:
    """A test that creates its own mock needs no other change."""
    with aioresponses() as mocked:
        mocked.get(URL, payload={"id": 7})
        assert await api.get("/users/7") == {"id": 7}
