"""`response.error`: why a body ended early, as a callback of `on_close` reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from servers import Script, close, drip, hang, ok, raw_server, reset, respond, response, until

from aioapiclient import (
    APIConnectionError,
    APIResponseValidationError,
    APIStreamError,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    BodyTooLargeError,
    ClientClosedError,
    Handler,
    InternalServerError,
    SSEStream,
    Timeout,
)
from aioapiclient.contract import APIRequest, per_send

EVENTS = response("200 OK", None, Content_Type="text/event-stream") + b"data: 1\n\n"
HALF = response("200 OK", None, Content_Length="9") + b"half"
LINES = response("200 OK", None, Content_Length="99") + b"line\n"


class Ends:
    """A middleware of each send that records how each body ended."""

    def __init__(self) -> None:
        self.errors: list[BaseException | None] = []
        self.responses: list[AsyncAPIResponse[Any]] = []

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        response = await handler(request)
        self.responses.append(response)
        response.on_close(lambda: self.errors.append(response.error))
        return response

    def the_only(self) -> BaseException | None:
        """The error of the only body that has ended."""
        (error,) = self.errors
        return error


@asynccontextmanager
async def watched(script: Script, **options: Any) -> AsyncIterator[tuple[AsyncAPIClient, Ends]]:
    """A client of a server that answers by *script*, and the ends of its bodies."""
    ends = Ends()
    options.setdefault("max_retries", 0)
    async with (
        raw_server(script) as server,
        AsyncAPIClient(server.url, middlewares=[per_send(ends)], **options) as api,
    ):
        yield api, ends


async def read_events(api: AsyncAPIClient) -> None:
    """Read a stream of events to its end."""
    async with api.stream("GET", "/", int) as stream:
        async for _ in stream:
            pass


async def read_pieces(api: AsyncAPIClient) -> None:
    """Read a body in pieces to its end."""
    async with api.open("GET", "/") as response:
        async for _ in response.iter_bytes():
            pass


async def read_at_once(api: AsyncAPIClient) -> None:
    """Read an opened body immediately."""
    async with api.open("GET", "/") as response:
        await response.read()


READERS = [read_events, read_pieces, read_at_once]
Reader = Callable[[AsyncAPIClient], Awaitable[None]]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("script", [close, reset])
async def test_a_connection_that_breaks(read: Reader, script: Any) -> None:
    """A body that is cut off or reset has the connection's error, however it is read."""
    head = response("200 OK", None, Content_Type="text/event-stream", Content_Length="99")
    async with watched(script(head + b"data: 1\n\n")) as (api, ends):
        with pytest.raises((APIConnectionError, APIStreamError)):
            await read(api)

    error = ends.the_only()
    assert type(error) is APIConnectionError
    assert error.reason == "truncated"


@pytest.mark.parametrize("read", READERS)
async def test_a_server_that_falls_silent(read: Reader) -> None:
    """A body that stops coming has the timeout of its reader."""
    async with watched(hang(EVENTS), timeout=Timeout(read=0.05)) as (api, ends):
        with pytest.raises((APITimeoutError, APIStreamError)):
            await read(api)

    error = ends.the_only()
    assert type(error) is APITimeoutError
    assert error.phase == "read"


async def test_the_deadline_of_a_stream() -> None:
    """A body that the deadline ends has that timeout error, whether or not it is being read at that time."""
    late = APITimeoutError("late", phase="total")
    async with watched(hang(EVENTS)) as (api, ends):
        async with api.stream("GET", "/", int) as stream:
            events = aiter(stream)
            assert await anext(events) == 1
            # As `DeadlineMiddleware` does when the head is there.
            stream.response._abort_at(asyncio.get_running_loop().time(), lambda: late)
            with pytest.raises(APITimeoutError):
                await anext(events)
        async with api.open("GET", "/") as response:
            response._abort_at(asyncio.get_running_loop().time(), lambda: late)
            await until(lambda: response.is_closed)

    assert ends.errors == [late, late]


@pytest.mark.parametrize("read", READERS)
async def test_a_cancelled_reader(read: Reader) -> None:
    """A body whose reader is cancelled while it waits has the cancellation."""
    async with watched(hang(EVENTS)) as (api, ends):
        reading = asyncio.create_task(read(api))
        await until(lambda: ends.responses)
        await until(lambda: ends.responses[0]._taken)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    assert type(ends.the_only()) is asyncio.CancelledError


async def test_a_response_that_is_aborted() -> None:
    """It has the error passed to `abort`, before anything is read; a later one changes nothing."""
    error = APIConnectionError("no longer wanted")
    async with watched(hang(HALF)) as (api, ends), api.open("GET", "/") as response:
        response.abort(error)
        assert ends.the_only() is error
        response.abort(APIConnectionError("late"))
        with pytest.raises(APIConnectionError, match="no longer wanted"):
            await response.read()

    assert response.error is error


@pytest.mark.parametrize("read", READERS)
async def test_a_client_that_is_closed(read: Reader) -> None:
    """A stream that the end of its client ends has `ClientClosedError`."""
    async with watched(hang(EVENTS)) as (api, ends):
        reading = asyncio.create_task(read(api))
        await until(lambda: ends.responses)
        await until(lambda: ends.responses[0]._taken)
        await api.close()
        with pytest.raises((ClientClosedError, APIStreamError)):
            await reading

    assert type(ends.the_only()) is ClientClosedError


async def test_a_body_above_the_bound() -> None:
    """It has `BodyTooLargeError`, for a complete body, and for a line of a streamed one."""
    long = ok(b"x" * 99, "text/plain")
    async with watched(respond(long), max_body=9) as (api, ends):
        with pytest.raises(BodyTooLargeError):
            await read_at_once(api)
        async with api.open("GET", "/") as response:
            with pytest.raises(BodyTooLargeError):
                await anext(response.iter_lines())

    assert [type(error) for error in ends.errors] == [BodyTooLargeError] * 2


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        (b"data: x\n\n", APIResponseValidationError),
        (b'event: error\ndata: {"error": {"type": "overloaded"}}\n\n', APIStreamError),
    ],
)
async def test_events_that_end_a_stream(events: bytes, kind: type[Exception]) -> None:
    """A stream has the error that its reader gets: for an event that cannot be read, and for one that
    reports a failure.
    """
    async with watched(hang(EVENTS + events)) as (api, ends):
        with pytest.raises(kind) as raised:
            await read_events(api)

    assert ends.the_only() is raised.value


async def test_an_event_above_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream with a too large event has the error that its reader gets."""
    monkeypatch.setattr(SSEStream, "max_event", 20)
    async with watched(close(EVENTS + b"data: " + b"x" * 99)) as (api, ends):
        with pytest.raises(APIStreamError, match="more than 20 bytes") as raised:
            await read_events(api)

    assert ends.the_only() is raised.value


async def test_the_body_of_an_error_status() -> None:
    """A status error whose body breaks off is raised as usual, and the response has the error of the
    break.
    """
    head = response("500 Internal Server Error", None, Content_Length="99")
    async with watched(close(head + b"half")) as (api, ends):
        with pytest.raises(InternalServerError):
            await api.get("/")

    assert type(ends.the_only()) is APIConnectionError


# --- no error


async def test_a_body_that_is_whole() -> None:
    """A complete body has no error, read at once or in pieces."""
    async with watched(respond(ok(b"data: 1\n\n", "text/event-stream"))) as (api, ends):
        for read in READERS:
            await read(api)

    assert ends.errors == [None] * 3


async def test_a_reader_that_leaves_early() -> None:
    """A body that its reader closes has none: by a break, by `close`, or by an exception of the reader."""
    async with watched(drip(EVENTS + b"data: 2\n\n" * 99, size=64)) as (api, ends):
        async with api.stream("GET", "/", int) as stream:
            async for _ in stream:
                break
        async with api.open("GET", "/"):
            pass
        async with api.open("GET", "/") as response:
            async for _ in response.iter_bytes():
                break
        with pytest.raises(LookupError):
            async with api.stream("GET", "/", int) as stream:
                async for _ in stream:
                    raise LookupError("a mistake of the reader")

    assert ends.errors == [None] * 4


async def test_a_stream_that_another_task_closes() -> None:
    """It has none, although the reading task waits for the next event."""
    async with watched(hang(EVENTS)) as (api, ends), api.stream("GET", "/", int) as stream:
        events = aiter(stream)
        assert await anext(events) == 1
        waiting = asyncio.create_task(anext(events, None))
        await until(lambda: stream._waiting)
        await stream.close()
        assert await waiting is None

    assert ends.the_only() is None


async def test_a_stream_that_ends_before_its_body() -> None:
    """A stream has none after its last event, even if the server leaves the connection open."""
    async with watched(hang(EVENTS + b"data: [DONE]\n\n")) as (api, ends):
        await read_events(api)

    assert ends.the_only() is None


async def test_a_break_after_the_end() -> None:
    """A body aborted after its end has none."""
    async with watched(respond(ok(b"x"))) as (api, ends), api.open("GET", "/") as response:
        await response.read()
        response.abort(APIConnectionError("late"))

    assert ends.the_only() is None
    assert response.error is None
