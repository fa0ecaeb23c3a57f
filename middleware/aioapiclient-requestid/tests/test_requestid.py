"""`aioapiclient_requestid`: the ID of a call, and where it is sent."""

from __future__ import annotations

import asyncio
import logging
import pickle
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from aioapiclient_requestid import RequestId, RequestIdFilter, accept_id, new_id, request_id
from aiohttp import web
from yarl import URL

from aioapiclient import (
    OMIT,
    APIConnectionError,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    InvalidRequestError,
    NotFoundError,
    RetryPolicy,
    load_middleware,
)
from aioapiclient.contract import APIRequest
from aioapiclient.middleware import RetryMiddleware
from aioapiclient.testing import FakeClock, FakeTransport, check_middleware, respond

README = Path(__file__).parents[1] / "README.md"
BASE = "https://api.example.com/v1"
MADE = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def inbound() -> Iterator[None]:
    """A request that is being answered, with an id."""
    before = request_id.set("inbound-1")
    yield
    request_id.reset(before)


def get(**headers: Any) -> APIRequest:
    """A hand-made request."""
    return APIRequest("GET", URL(f"{BASE}/users/7"), **headers)


def client(transport: FakeTransport, middleware: RequestId | None = None, **options: Any) -> AsyncAPIClient:
    """A client that sends ids, and waits for no retry."""
    retry = RetryPolicy(jitter=lambda wait: 0.0, budget=None)
    middlewares = [middleware or RequestId()]
    return AsyncAPIClient(BASE, middlewares=middlewares, retry=retry, transport=transport, **options)


def sent(transport: FakeTransport, header: str = "X-Request-Id") -> list[str | None]:
    """The ID of each send."""
    return [request.headers.get(header) for request in transport.requests]


# --- the contract


async def test_it_keeps_the_promises() -> None:
    """The middleware keeps the six promises of aioapiclient.contract."""
    await check_middleware(RequestId)
    await check_middleware(lambda: RequestId("X-Correlation-Id", variable=ContextVar("own", default="abc")))


def test_it_is_installed_by_its_name() -> None:
    """The entry point creates it, with the settings passed to load_middleware."""
    assert isinstance(load_middleware("requestid"), RequestId)
    assert isinstance(load_middleware("requestid", header="X-Correlation-Id"), RequestId)


# --- choice of the ID


@pytest.mark.usefixtures("inbound")
async def test_the_inbound_id_is_sent_on() -> None:
    """The ID of the inbound request is sent with every call made for it."""
    transport = FakeTransport(default=respond(json={}))
    async with client(transport) as api:
        await api.get("/users/7")
        await api.get("/users/8")

    assert sent(transport) == ["inbound-1", "inbound-1"]


async def test_without_one_each_call_makes_its_own() -> None:
    """Outside a request each call gets a new ID, and leaves none behind."""
    transport = FakeTransport(default=respond(json={}))
    async with client(transport) as api:
        await api.get("/users/7")
        await api.get("/users/8")

    first, second = sent(transport)
    assert first is not None
    assert second is not None
    assert MADE.fullmatch(first)
    assert MADE.fullmatch(second)
    assert first != second
    assert request_id.get() is None


async def test_one_id_serves_all_attempts() -> None:
    """Every attempt of a call, and every redirect of it, is sent under the same id."""
    moved = respond(302, headers={"Location": f"{BASE}/people/7"})
    transport = FakeTransport(respond(503), APIConnectionError, moved, respond(json={}))
    async with client(transport) as api:
        await api.get("/users/7")

    ids = sent(transport)
    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert None not in ids


async def test_concurrent_calls_do_not_mix() -> None:
    """Concurrent requests keep their IDs apart."""
    transport = FakeTransport(default=respond(json={}))

    async def answer(name: str) -> None:
        request_id.set(name)
        await api.get("/{name}", path_params={"name": name})
        await api.get("/{name}", path_params={"name": name})

    async with client(transport) as api:
        await asyncio.gather(*(answer(f"id-{number}") for number in range(5)))

    assert len(transport.requests) == 10
    assert all(request.url.name == request.headers["X-Request-Id"] for request in transport.requests)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        " ",
        "a b",
        "a\r\nX-Admin: 1",
        "a\n2026-01-01 root logged in",
        "a\x00",
        "\x7f",
        "idé",
        "a" * 129,
        7,
        b"id",
    ],
)
async def test_a_bad_inbound_id_is_replaced(bad: Any) -> None:
    """An ID that is too long, or not visible ASCII, is never sent on: the call gets a new one."""
    transport = FakeTransport(respond(json={}))
    before = request_id.set(bad)
    try:
        async with client(transport) as api:
            await api.get("/users/7")
    finally:
        request_id.reset(before)

    (value,) = sent(transport)
    assert value is not None
    assert MADE.fullmatch(value)


@pytest.mark.parametrize(
    "good", ["a", "!~", "a" * 128, "8f14e45f-ceea-467f-a34f-d1e2a8a1c4f5", "1-67891233-abc;x=y"]
)
def test_a_good_id_is_kept(good: str) -> None:
    """1 to 128 characters of visible ASCII are a valid ID, whatever their form."""
    assert accept_id(good) == good


def test_a_missing_id_is_replaced() -> None:
    """accept_id makes a new ID if the request has none, a different one each time."""
    assert MADE.fullmatch(accept_id(None))
    assert accept_id(None) != accept_id(None)
    assert new_id() != new_id()


@pytest.mark.usefixtures("inbound")
async def test_the_call_has_the_last_word() -> None:
    """A call that sets the header itself is sent with its value, and one that omits it without."""
    transport = FakeTransport(default=respond(json={}))
    async with client(transport) as api:
        await api.get("/users/7", headers={"x-request-id": "my own"})
        await api.get("/users/7", headers={"X-Request-Id": OMIT})

    assert sent(transport) == ["my own", None]


@pytest.mark.usefixtures("inbound")
async def test_it_lies_over_the_default_headers() -> None:
    """The id overrides a default header of the client, which would be the same for every request."""
    transport = FakeTransport(respond(json={}))
    async with client(transport, default_headers={"X-Request-Id": "always"}) as api:
        await api.get("/users/7")

    assert sent(transport) == ["inbound-1"]


async def test_header_variable_and_make_are_settings() -> None:
    """The header, the context variable and the function that makes an ID can be replaced."""
    own: ContextVar[str | None] = ContextVar("own")
    transport = FakeTransport(default=respond(json={}))
    async with client(transport, RequestId("X-Correlation-Id", variable=own, make=lambda: "made")) as api:
        await api.get("/users/7")
        own.set("kept")
        await api.get("/users/7")

    assert sent(transport, "X-Correlation-Id") == ["made", "kept"]
    assert sent(transport) == [None, None]


@pytest.mark.parametrize("made", ["", "a b", "a\n", None])
async def test_what_makes_no_id_is_refused(made: Any) -> None:
    """A make that returns no ID is an InvalidRequestError before anything is sent."""
    transport = FakeTransport()
    async with client(transport, RequestId(make=lambda: made)) as api:
        with pytest.raises(InvalidRequestError, match="make must return an ID of 1 to 128 visible"):
            await api.get("/users/7")

    assert transport.requests == []


@pytest.mark.usefixtures("inbound")
async def test_a_foreign_origin_does_not_get_it() -> None:
    """A redirect to another origin is sent without the ID, unless the origin is trusted."""
    there = "https://files.example.net/7"
    for trusted, expected in (((), None), ((there.removesuffix("/7"),), "inbound-1")):
        transport = FakeTransport(respond(302, headers={"Location": there}), respond(json={}))
        async with client(transport, trusted_origins=trusted) as api:
            await api.get("/users/7")

        assert sent(transport) == ["inbound-1", expected]


# --- errors and logs


@pytest.mark.usefixtures("inbound")
async def test_a_failed_call_says_its_id() -> None:
    """An error without a response has the ID as a note and as request_id, and keeps both when pickled."""
    transport = FakeTransport(default=APITimeoutError("late", phase="read"))
    async with client(transport) as api:
        with pytest.raises(APITimeoutError) as raised:
            await api.get("/users/7")

    for error in (raised.value, pickle.loads(pickle.dumps(raised.value))):
        facts = vars(error)
        assert (facts["__notes__"], facts["request_id"]) == (["request id: inbound-1"], "inbound-1")


@pytest.mark.usefixtures("inbound")
async def test_a_status_error_says_its_id() -> None:
    """A status error has the ID as a note; its request_id is the server's own."""
    transport = FakeTransport(
        respond(404, headers={"X-Request-Id": "server-9"}), respond(404), respond(json={})
    )
    async with client(transport) as api:
        errors: list[NotFoundError] = []
        for _ in range(2):
            with pytest.raises(NotFoundError) as raised:
                await api.get("/users/7")
            errors.append(raised.value)
        fine = await api.get("/users/7", AsyncAPIResponse[Any])

    assert [error.__notes__ for error in errors] == [["request id: inbound-1"]] * 2
    assert [error.request_id for error in errors] == ["server-9", None]
    assert fine.notes == ()


@pytest.mark.usefixtures("inbound")
async def test_an_error_is_marked_once() -> None:
    """Two of them in one chain, or an error that is raised again, do not repeat the note."""
    error = APIConnectionError("refused")
    transport = FakeTransport(error, error, respond(404))
    one, other = RequestId(), RequestId()

    async def both(request: APIRequest) -> AsyncAPIResponse[Any]:
        return await other(request, transport)

    for _ in range(2):
        with pytest.raises(APIConnectionError):
            await one(get(), both)
    response = await one(get(), both)
    await response.close()

    assert error.__notes__ == ["request id: inbound-1"]
    assert response.notes == ("request id: inbound-1",)


async def test_a_foreign_error_is_raised_unchanged() -> None:
    """A bug, or a cancellation, passes without a note."""
    for error in (KeyError("bug"), asyncio.CancelledError()):
        with pytest.raises(type(error)) as raised:
            await RequestId()(get(), FakeTransport(error))
        assert raised.value is error
        assert not hasattr(error, "__notes__")
    assert request_id.get() is None


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """The records of a handler with the filter."""
    caught: list[logging.LogRecord] = []

    class Catcher(logging.Handler):
        """Stores the records."""

        def emit(self, record: logging.LogRecord) -> None:
            caught.append(record)

    handler = Catcher()
    handler.addFilter(RequestIdFilter())
    logger = logging.getLogger("aioapiclient")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield caught
    logger.removeHandler(handler)
    logger.setLevel(level)


async def test_what_is_logged_during_a_call_has_its_id(records: list[logging.LogRecord]) -> None:
    """Records that the library logs below the middleware have the id of the call, also a generated one."""
    transport = FakeTransport(respond(503), respond(json={}))
    retry = RetryMiddleware(sleep=FakeClock().sleep)

    async def below(request: APIRequest) -> AsyncAPIResponse[Any]:
        return await retry(request, transport)

    await (await RequestId()(get(), below)).close()
    logging.getLogger("aioapiclient.test").info("after")

    ids = [record.__dict__["request_id"] for record in records]
    assert len(ids) >= 2
    assert set(ids[:-1]) == {sent(transport)[0]}
    assert ids[-1] == "-"


@pytest.mark.parametrize(
    ("value", "shown"), [("inbound-1", "inbound-1"), (None, "-"), ("a\nforged line", "-"), ("a" * 129, "-")]
)
def test_a_record_shows_a_good_id_only(
    value: str | None, shown: str, records: list[logging.LogRecord]
) -> None:
    """A record has the inbound ID, and a dash for a missing one or one that could forge a line."""
    before = request_id.set(value)
    logging.getLogger("aioapiclient.test").info("a record")
    request_id.reset(before)

    assert [record.__dict__["request_id"] for record in records] == [shown]


def test_variable_and_dash_of_the_filter_are_settings() -> None:
    """The filter can read another variable, and use another text if it is empty."""
    own: ContextVar[str | None] = ContextVar("own")
    record = logging.makeLogRecord({})
    kept = logging.makeLogRecord({"request_id": "mine"})
    look = RequestIdFilter(own, missing="none")

    assert look.filter(record)
    assert look.filter(kept)
    assert (record.__dict__["request_id"], kept.__dict__["request_id"]) == ("none", "mine")


# --- the README


def example(number: int) -> dict[str, Any]:
    """Run a Python block of the README, and return its names."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    names: dict[str, Any] = {}
    exec(compile(blocks[number], str(README), "exec"), names)
    return names


async def test_the_readme_makes_a_client() -> None:
    """The README's client has the middleware once per call, outside of the redirects."""
    api = example(0)["api"]

    chain = [type(link).__name__ for link in api.chain]
    assert chain.index("RequestId") < chain.index("RedirectMiddleware")
    await api.close()


@pytest.mark.parametrize(
    ("inbound_id", "is_kept"), [("from-the-edge", True), ("a b", False), ("x" * 200, False), (None, False)]
)
async def test_the_readme_keeps_the_id_of_a_server(
    inbound_id: str | None, is_kept: bool, aiohttp_client: Callable[..., Any]
) -> None:
    """The README's server middleware passes the inbound ID to every call of its handlers."""
    app: web.Application = example(1)["app"]
    transport = FakeTransport(default=respond(json={}))
    api = client(transport)

    async def front(request: web.Request) -> web.Response:
        await api.get("/users/7")
        await api.get("/users/8")
        return web.Response(text=str(request_id.get()))

    app.router.add_get("/", front)
    server = await aiohttp_client(app)
    headers = {} if inbound_id is None else {"X-Request-Id": inbound_id}
    seen = await (await server.get("/", headers=headers)).text()
    again = await (await server.get("/")).text()
    await api.close()

    assert sent(transport) == [seen, seen, again, again]
    assert again != seen
    assert (seen == inbound_id) is is_kept


@pytest.mark.usefixtures("inbound")
def test_the_readme_shows_the_id_in_a_log() -> None:
    """The README's handler writes the ID before each record."""
    handler: logging.Handler = example(2)["handler"]
    record = logging.makeLogRecord({"name": "app", "msg": "hello"})

    assert handler.filter(record)
    assert handler.format(record) == "inbound-1 app hello"
