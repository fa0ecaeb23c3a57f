"""Tests of code that calls an API, without a network and without waiting: the example of docs/testing.md."""

from __future__ import annotations

import msgspec
import pytest

from aioapiclient import APIConnectionError, AsyncAPIClient, RateLimitError
from aioapiclient.testing import FakeClock, FakeTransport, respond


class User(msgspec.Struct):
    id: int
    login: str


async def login_of(api: AsyncAPIClient, user_id: int) -> str:
    """Return the login of a user: the code under test."""
    return (await api.get("/users/{id}", User, path_params={"id": user_id})).login


async def test_a_lost_answer_is_asked_for_again() -> None:
    """After a broken connection and a 503, the third answer is returned, and both waits took place."""
    clock = FakeClock()
    transport = FakeTransport(
        APIConnectionError("lost"),
        respond(503, headers={"Retry-After": "20"}),
        respond(json={"id": 7, "login": "ada"}),
        clock=clock,
    )

    async with AsyncAPIClient("https://api.example.com/v1", transport=transport) as api:
        assert await login_of(api, 7) == "ada"

    assert [request.url.path for request in transport.requests] == ["/v1/users/7"] * 3
    assert clock.sleeps[0] <= 0.5
    assert clock.sleeps[1] == 20.0


async def test_a_wait_of_two_minutes_is_left_to_the_caller() -> None:
    """A Retry-After beyond a minute raises at once, and the error contains the requested wait."""
    clock = FakeClock()
    transport = FakeTransport(respond(429, headers={"Retry-After": "120"}), clock=clock)

    async with AsyncAPIClient("https://api.example.com/v1", transport=transport) as api:
        with pytest.raises(RateLimitError) as caught:
            await login_of(api, 7)
        assert transport.open_responses == 0

    assert caught.value.retry_after == 120.0
    assert clock.sleeps == []
