"""Sessions that others mock: what they raise is mapped and tried again, and what they answer is read.

Home Assistant's tests and those of many libraries replace `ClientSession._request`, by aioresponses, by
a mocker of their own, or by `unittest.mock`. No frame of aiohttp is in what such a mock raises.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import pytest
from aioresponses import aioresponses
from helpers import Client

from aioapiclient import APIConnectionError, APITimeoutError

URL = "http://api.example.com/v1/x"


@pytest.fixture(params=["own", "borrowed"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A client on a session of its own, then on a borrowed one."""
    async with aiohttp.ClientSession() as session:
        options = {"session": session} if request.param == "borrowed" else {}
        async with Client("http://api.example.com/v1", **options) as client:
            yield client


# error -> the end of the message, the reason
RAISED: dict[str, tuple[Exception, str, str]] = {
    "a timeout": (TimeoutError(), "the server sent nothing within 60 s (read)", "timeout"),
    "the system": (OSError("boom"), "boom", "other"),
    "the system, by number": (OSError(111, "x"), "connection refused (ECONNREFUSED)", "refused"),
    "a class of the system": (ConnectionResetError(), "connection reset by peer (ECONNRESET)", "reset"),
    "no name": (
        socket.gaierror(socket.EAI_NONAME, "x"),
        "the name was not resolved (EAI_NONAME)",
        "dns",
    ),
    "aiohttp": (aiohttp.ClientConnectionError(), "the connection was closed", "closed"),
    "aiohttp, with a text": (aiohttp.ClientError("boom"), "boom", "other"),
    "aiohttp's timeout": (
        aiohttp.ServerTimeoutError(),
        "the server sent nothing within 60 s (read)",
        "timeout",
    ),
}


@pytest.mark.parametrize("error", [row[0] for row in RAISED.values()], ids=RAISED.keys())
async def test_what_a_mock_raises_is_tried_again(
    client: Client, mock_wire: aioresponses, error: Exception
) -> None:
    """An error of the network that aioresponses raises is one attempt; the next one gets the answer."""
    mock_wire.get(URL, exception=error)
    mock_wire.get(URL, payload={"id": 7})

    assert await client.get("/x") == {"id": 7}
    assert len(client.waits) == 1


@pytest.mark.parametrize(("error", "text", "reason"), RAISED.values(), ids=RAISED.keys())
async def test_what_a_mock_raises_is_mapped(
    client: Client, mock_wire: aioresponses, error: Exception, text: str, reason: str
) -> None:
    """An error of the network that aioresponses raises is ours in the end, with its text."""
    mock_wire.get(URL, exception=error, repeat=True)

    with pytest.raises(APIConnectionError) as caught:
        await client.get("/x", max_retries=1)

    assert str(caught.value).endswith(f"GET {URL}: {text}")
    assert (caught.value.reason, caught.value.sent, caught.value.retries_taken) == (reason, None, 1)
    assert isinstance(caught.value, APITimeoutError) is isinstance(error, TimeoutError)


async def test_a_url_that_no_mock_matches(client: Client, mock_wire: aioresponses) -> None:
    """An URL that no mock matches keeps the text that says so."""
    mock_wire.get(URL, payload={})

    with pytest.raises(APIConnectionError) as caught:
        await client.get("/y", max_retries=0)

    assert "Connection refused: GET http://api.example.com/v1/y" in str(caught.value)


@pytest.mark.parametrize("error", [KeyError("boom"), TypeError("boom"), AssertionError("no mock"), Exception()])
async def test_what_is_no_error_of_the_network(
    client: Client, mock_wire: aioresponses, error: Exception
) -> None:
    """A mistake in a mock, or its assertion, stays what it is."""
    mock_wire.get(URL, exception=error, repeat=True)

    with pytest.raises(type(error)) as caught:
        await client.get("/x")

    assert caught.value is error
    assert client.waits == []


async def test_unittest_mock() -> None:
    """`AsyncMock` in place of a session's request is no different."""
    async with aiohttp.ClientSession() as session:
        request: Any = AsyncMock(side_effect=[TimeoutError(), OSError(111, "x"), ConnectionError("gone")])
        object.__setattr__(session, "_request", request)
        async with Client("http://api.example.com/v1", session=session) as client:
            with pytest.raises(APIConnectionError, match=r"GET http://api\.example\.com/v1/x: gone"):
                await client.get("/x")

    assert request.await_count == 3


async def test_an_error_of_a_middleware_is_not_of_a_mock() -> None:
    """What an aiohttp middleware of the user's raises, with aiohttp around it, stays the user's own."""

    async def fail(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        raise TimeoutError("of the user")

    async with (
        aiohttp.ClientSession(middlewares=[fail]) as session,
        Client("http://127.0.0.1:9", session=session) as client,
    ):
        with pytest.raises(TimeoutError, match="of the user"):
            await client.get("/x")

    assert client.waits == []
