"""Mocked sessions: their exceptions are mapped and retried, and their answers are read.

Home Assistant's tests and those of many libraries replace `ClientSession._request`, by aioresponses, by a
separate mocker, or by `unittest.mock`. The exceptions of such a mock have no frame of aiohttp.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any
from unittest.mock import AsyncMock, Mock

import aiohttp
import pytest
from aioresponses import aioresponses
from helpers import Client
from multidict import CIMultiDict

from aioapiclient import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncAPIResponse,
    BodyTooLargeError,
)

URL = "http://api.example.com/v1/x"


@pytest.fixture(params=["own", "borrowed"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A client on its own session, then on a borrowed one."""
    async with aiohttp.ClientSession() as session:
        options = {"session": session} if request.param == "borrowed" else {}
        async with Client("http://api.example.com/v1", **options) as client:
            yield client


# error -> the end of the message, the reason
RAISED: dict[str, tuple[Exception, str, str]] = {
    "a timeout": (TimeoutError(), "the server sent nothing within 60 s (read)", "timeout"),
    "the system": (OSError("SECRET"), "the connection failed", "other"),
    "the system, by number": (OSError(111, "x"), "connection refused (ECONNREFUSED)", "refused"),
    "a class of the system": (ConnectionResetError(), "connection reset by peer (ECONNRESET)", "reset"),
    "no name": (
        socket.gaierror(socket.EAI_NONAME, "x"),
        "the name was not resolved (EAI_NONAME)",
        "dns",
    ),
    "aiohttp": (aiohttp.ClientConnectionError(), "the connection was closed", "closed"),
    "aiohttp, with a text": (aiohttp.ClientError("SECRET"), "aiohttp raised ClientError", "other"),
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
    """A network error that aioresponses raises is mapped like one of aiohttp's."""
    mock_wire.get(URL, exception=error, repeat=True)

    with pytest.raises(APIConnectionError) as caught:
        await client.get("/x", max_retries=1)

    assert str(caught.value).endswith(f"GET {URL}: {text}")
    assert (caught.value.reason, caught.value.sent, caught.value.retries_taken) == (reason, None, 1)
    assert isinstance(caught.value, APITimeoutError) is isinstance(error, TimeoutError)


async def test_a_url_that_no_mock_matches(client: Client, mock_wire: aioresponses) -> None:
    """A URL that no mock matches keeps the text of the mock's error."""
    mock_wire.get(URL, payload={})

    with pytest.raises(APIConnectionError) as caught:
        await client.get("/y", params={"key": "SECRET"}, max_retries=0)

    assert str(caught.value).endswith(": Connection refused: GET http://api.example.com/v1/y?...")
    assert caught.value.reason == "refused"


MISTAKES = [KeyError("boom"), TypeError("boom"), AssertionError("no mock"), Exception()]


@pytest.mark.parametrize("error", MISTAKES, ids=lambda error: type(error).__name__)
async def test_errors_that_are_not_of_the_network(
    client: Client, mock_wire: aioresponses, error: Exception
) -> None:
    """A mistake in a mock, or its assertion, is raised unchanged."""
    mock_wire.get(URL, exception=error, repeat=True)

    with pytest.raises(type(error)) as caught:
        await client.get("/x")

    assert caught.value is error
    assert client.waits == []


async def test_unittest_mock() -> None:
    """`AsyncMock` instead of a session's request works in the same way."""
    async with aiohttp.ClientSession() as session:
        request: Any = AsyncMock(side_effect=[TimeoutError(), OSError(111, "x"), ConnectionError("gone")])
        object.__setattr__(session, "_request", request)
        async with Client("http://api.example.com/v1", session=session) as client:
            with pytest.raises(APIConnectionError, match="the connection failed"):
                await client.get("/x")

    assert request.await_count == 3


async def test_an_error_of_a_middleware_is_not_of_a_mock() -> None:
    """An exception of the user's aiohttp middleware, wrapped by aiohttp, is raised unchanged."""

    async def fail(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        raise TimeoutError("of the user")

    async with (
        aiohttp.ClientSession(middlewares=[fail]) as session,
        Client("http://127.0.0.1:9", session=session) as client,
    ):
        with pytest.raises(TimeoutError, match="of the user"):
            await client.get("/x")

    assert client.waits == []


# --- the mock's answers


class MockedResponse:
    """The attributes of a response that Home Assistant's mocker has: no connection, version, reason or
    length.
    """

    charset = "utf-8"

    def __init__(self, body: bytes = b"{}", status: int = 200, **headers: str) -> None:
        self.status = status
        self.body = body
        self.headers = CIMultiDict({"Content-Type": "application/json"} | headers)
        self.closed = 0

    @property
    def content(self) -> aiohttp.StreamReader:
        """Another stream each time."""
        stream = aiohttp.StreamReader(Mock(_reading_paused=False), limit=2**16)
        stream.feed_data(self.body)
        stream.feed_eof()
        return stream

    async def read(self) -> bytes:
        """The body."""
        return self.body

    async def close(self) -> None:
        """Close, which is async here."""
        self.closed += 1


class BareResponse:
    """The least that a response can be, with a plain dict for its headers."""

    status = HTTPStatus.OK
    headers = {"content-type": "application/json"}  # noqa: RUF012 - it is never changed

    async def read(self) -> bytes:
        """The body."""
        return b'{"id": 7}'


class Mocker:
    """Answers the requests of a session in order, and notes them."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, str]] = []

    async def match_request(self, method: str, url: Any, *, data: Any = None, **options: Any) -> Any:
        """Return the next answer."""
        self.calls.append((method, str(url)))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A client on a borrowed session that this answers for."""
        async with aiohttp.ClientSession() as session:
            object.__setattr__(session, "_request", self.match_request)
            async with Client("http://api.example.com/v1", session=session) as client:
                yield client


@pytest.mark.parametrize("answer", [MockedResponse(b'{"id": 7}'), BareResponse()], ids=["mocked", "bare"])
async def test_a_response_that_resembles_aiohttps(answer: Any) -> None:
    """A response without connection, version, reason and length is read as any other."""
    mocker = Mocker(answer, answer, answer)
    async with mocker.client() as client:
        assert await client.get("/x") == {"id": 7}
        response = await client.get("/x", AsyncAPIResponse[Any])
        async with client.open("GET", "/x") as unread:
            pieces = [piece async for piece in unread.iter_bytes()]

    assert (response.status, response.reason, response.http_version) == (200, "OK", "1.1")
    assert response.headers["Content-Type"] == "application/json"
    assert await response.parse() == {"id": 7}
    assert b"".join(pieces) == b'{"id": 7}'
    assert mocker.calls == [("GET", URL)] * 3


class NoHeaders(BareResponse):
    """A response without headers."""

    headers = None


class Streamed(MockedResponse):
    """A response that is to be read from its stream."""

    async def read(self) -> bytes:
        """Fail."""
        raise AssertionError


async def test_headers_and_a_stream_are_optional() -> None:
    """A response without headers is bytes, and one with a stream of aiohttp is read from it."""
    mocker = Mocker(NoHeaders(), Streamed(b'{"id": 7}'))
    async with mocker.client() as client:
        response = await client.get("/x", AsyncAPIResponse[bytes])
        assert await client.get("/x") == {"id": 7}

    assert type(response.status) is int
    assert (dict(response.headers), await response.parse()) == ({}, b'{"id": 7}')


@pytest.mark.parametrize("length", ["9", "²", "-1", "nine"])
async def test_a_length_need_not_be_a_number(length: str) -> None:
    """A Content-Length that is not a number counts as none."""
    answer = MockedResponse(b'{"id": 7}')
    answer.headers = {**answer.headers, "Content-Length": length}
    async with Mocker(answer).client() as client:
        assert await client.get("/x", max_body=9) == {"id": 7}


async def test_a_response_is_closed_if_it_can_be() -> None:
    """A ``close()`` that is a plain function is called when a body is left unread; it may also be missing."""
    closed: list[str] = []
    answer = BareResponse()
    answer.close = lambda: closed.append("closed")
    async with Mocker(answer, BareResponse()).client() as client:
        for _ in range(2):
            async with client.open("GET", "/x"):
                pass

    assert closed == ["closed"]


async def test_what_it_means_is_the_same() -> None:
    """Statuses raise and are retried, network errors too; limits apply."""
    big = MockedResponse(b"x" * 100_000)
    unknown = MockedResponse(b'{"message": "no"}', 499)
    mocker = Mocker(MockedResponse(status=503), TimeoutError(), MockedResponse(), big, unknown, big)
    async with mocker.client() as client:
        assert await client.post("/x", json={}, idempotent=True) == {}
        with pytest.raises(BodyTooLargeError):
            await client.get("/x", max_body=1000)
        with pytest.raises(APIStatusError) as caught:
            await client.get("/x")
        async with client.open("GET", "/x"):
            pass

    assert len(client.waits) == 2
    assert (caught.value.status, caught.value.body) == (499, {"message": "no"})
    assert mocker.answers == []


async def test_the_mock_itself_can_be_asked_for() -> None:
    """A call for aiohttp's response returns the mock's."""
    answer = MockedResponse()
    async with Mocker(answer).client() as client:
        assert await client.get("/x", aiohttp.ClientResponse) is answer


async def test_a_mock_without_bytes() -> None:
    """A mock whose body is itself a mock raises an error that explains it."""
    answer = AsyncMock(status=200, headers={})
    async with Mocker(answer).client() as client:
        with pytest.raises(TypeError, match=r"read\(\) of the mocked response returned a .*Mock, not bytes"):
            await client.get("/x")
