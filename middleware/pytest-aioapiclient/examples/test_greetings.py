"""Tests of code that calls an API, with the fixtures of pytest-aioapiclient; docs/pytest.md explains them."""

from __future__ import annotations

import msgspec
import pytest
from pytest_aioapiclient import Cassette, ClientFactory, MockAPI

from aioapiclient import AsyncAPIClient, NotFoundError
from aioapiclient.testing import FakeClock, respond


class User(msgspec.Struct):
    id: int
    login: str


async def greet(api: AsyncAPIClient, user_id: int) -> str:
    """Greet a user: the code under test."""
    try:
        user = await api.get("/users/{id}", User, path_params={"id": user_id})
    except NotFoundError:
        return "hello, stranger"
    return f"hello, {user.login}"


async def test_it_greets_by_name(mock_api: MockAPI, api_client: ClientFactory) -> None:
    """A known user is greeted by name."""
    users = mock_api.get("/users/{id}").respond(json={"id": 7, "login": "ada"})

    assert await greet(api_client(), 7) == "hello, ada"
    assert users.path_params == {"id": "7"}


async def test_it_greets_strangers(mock_api: MockAPI, api_client: ClientFactory) -> None:
    """An unknown user is greeted as a stranger."""
    mock_api.get("/users/{id}").respond(404)

    assert await greet(api_client(), 8) == "hello, stranger"


async def test_it_survives_faults(
    mock_api: MockAPI, api_client: ClientFactory, fake_clock: FakeClock
) -> None:
    """After a dropped connection and a busy server, the third answer counts; the waits take no time."""
    busy = respond(503, headers={"Retry-After": "20"})
    found = respond(json={"id": 7, "login": "ada"})
    mock_api.get("/users/{id}").then(drop_after=5).then(busy, found)

    assert await greet(api_client(), 7) == "hello, ada"
    assert fake_clock.sleeps[1] == 20.0


@pytest.mark.cassette("greetings")
async def test_it_greets_as_recorded(cassette: Cassette) -> None:
    """The recorded answer of examples/server.py is replayed."""
    async with AsyncAPIClient("http://localhost:8080/v1", transport=cassette) as api:
        assert await greet(api, 7) == "hello, ada"
        assert await greet(api, 999) == "hello, stranger"
