"""aioresponses works on each aiohttp with the fixtures, however a test uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aioresponses import CallbackResult, aioresponses
from pytest_aioapiclient import mended_aioresponses as mended

from aioapiclient import APIConnectionError, APITimeoutError, AsyncAPIClient, RetryPolicy

pytest_plugins = ["pytester"]

URL = "https://api.example.com/users/7"
AUTO = (
    "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
)


class Special(aiohttp.ClientResponse):
    """A response class of a test."""


def client(max_retries: int = 2) -> AsyncAPIClient:
    """A client that does not wait between attempts."""
    policy = RetryPolicy(max_retries=max_retries, jitter=lambda wait: 0)
    return AsyncAPIClient("https://api.example.com", retry=policy)


async def test_a_call_is_answered(mock_aiohttp: aioresponses) -> None:
    """A call of a client is answered, its errors are retried, and the requests are recorded."""
    mock_aiohttp.get(URL, exception=TimeoutError())
    mock_aiohttp.get(URL, status=503)
    mock_aiohttp.get(URL, payload={"id": 7})
    async with client() as api:
        assert await api.get("/users/7") == {"id": 7}

    assert [len(calls) for calls in mock_aiohttp.requests.values()] == [3]


async def test_what_no_mock_has(mock_aiohttp: aioresponses) -> None:
    """A URL without a mock and a mocked timeout are errors of the client."""
    mock_aiohttp.get(URL, timeout=True)
    async with client(max_retries=0) as api:
        with pytest.raises(APITimeoutError):
            await api.get("/users/7")
        with pytest.raises(APIConnectionError, match="Connection refused"):
            await api.get("/users/8")


@pytest.mark.parametrize(
    "options",
    [
        {"response_class": Special},
        {"callback": lambda url, **kwargs: CallbackResult(payload={"id": 7})},
        {"callback": lambda url, **kwargs: CallbackResult(payload={"id": 7}, response_class=Special)},
    ],
    ids=["class", "callback", "callback with a class"],
)
async def test_responses_of_other_classes(mock_aiohttp: aioresponses, options: dict[str, Any]) -> None:
    """A response class of the test's own, and a callback, work like the rest."""
    mock_aiohttp.get(URL, **{"payload": {"id": 7}, **options})
    async with client() as api:
        assert await api.get("/users/7") == {"id": 7}


async def test_large_bodies_and_streams(mock_aiohttp: aioresponses) -> None:
    """A body of a megabyte is read, and events are streamed."""
    mock_aiohttp.get(URL, body=b"x" * (1 << 20))
    mock_aiohttp.get(f"{URL}/events", body=b"data: 1\n\ndata: 2\n\n", content_type="text/event-stream")
    async with client() as api:
        assert len(await api.get("/users/7", bytes)) == 1 << 20
        async with api.stream("GET", "/users/7/events", int) as events:
            assert [event async for event in events] == [1, 2]


async def test_a_session_of_the_test(mock_aiohttp: aioresponses) -> None:
    """Code that uses aiohttp itself is answered as well."""
    mock_aiohttp.get(URL, payload={"id": 7})
    async with aiohttp.ClientSession() as session, session.get(URL) as response:
        assert await response.json() == {"id": 7}
        assert isinstance(response, aiohttp.ClientResponse)


async def test_the_rest_may_pass_through(mended_aioresponses: Callable[..., aioresponses]) -> None:
    """A test's own mock passes requests to a server on loopback through, and its responses are real."""

    async def handle(request: web.Request) -> web.Response:
        return web.json_response("real")

    app = web.Application()
    app.router.add_get("/", handle)
    async with TestServer(app) as server:
        with mended_aioresponses(passthrough=[str(server.make_url("/"))]) as mocked:
            mocked.get(URL, payload="mocked")
            async with client() as api:
                assert await api.get("/users/7") == "mocked"
                assert await api.get(str(server.make_url("/"))) == "real"


@pytest.mark.usefixtures("mended_aioresponses")
async def test_the_forms_of_existing_tests() -> None:
    """Tests that make the mock themselves, as a context manager or a decorator, need the fixture only."""
    with aioresponses() as mocked:
        mocked.get(URL, payload=1)
        async with client() as api:
            assert await api.get("/users/7") == 1

    @aioresponses()
    async def decorated(mocked: aioresponses) -> None:
        mocked.get(URL, payload=2)
        async with client() as api:
            assert await api.get("/users/7") == 2

    await decorated()


def test_nothing_stays() -> None:
    """After the block, aiohttp and aioresponses are unchanged."""
    import aioresponses.core as core

    before = (aiohttp.ClientResponse.__init__, core.stream_reader_factory)
    with mended() as made:
        assert made is aioresponses
    assert (aiohttp.ClientResponse.__init__, core.stream_reader_factory) == before


def test_it_is_not_installed(pytester: pytest.Pytester) -> None:
    """Without aioresponses, a test that uses it fails with the package to install, and others run."""
    pytester.makeini(AUTO)
    pytester.makeconftest("import sys; sys.modules['aioresponses'] = None")
    pytester.makepyfile("def test_with(mock_aiohttp): pass\ndef test_without(): pass")

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["install pytest-aioapiclient?aioresponses? to mock aiohttp"])
