"""`MockAPI` and `Route`: the matching of requests, the answers, and the text of a refusal."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest
from pytest_aioapiclient import MockAPI, Route

from aioapiclient import (
    APIConnectionError,
    APIRequest,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    ClientClosedError,
    InvalidRequestError,
    RetryPolicy,
)
from aioapiclient.testing import FakeClock, FakeTransport, SentRequest, respond

BASE = "https://api.example.com/v1"


class NewUser(msgspec.Struct):
    login: str


def client(mock: MockAPI, **options: Any) -> AsyncAPIClient:
    """A client on a mock."""
    return AsyncAPIClient(BASE, transport=mock, **options)


# --- matching


@pytest.mark.parametrize(
    ("route", "path", "values", "found"),
    [
        ("/users/{id}", "/users/{id}", {"id": 7}, {"id": "7"}),
        ("/v1/users/{id}", "/users/{id}", {"id": 7}, {"id": "7"}),
        ("users/{id}", "/users/7", {}, {"id": "7"}),
        ("/users/{id}", "/users/{id}", {"id": "a/b ü%"}, {"id": "a/b ü%"}),
        ("/files/{+key}", "/files/{+key}", {"key": "a/b c.txt"}, {"key": "a/b c.txt"}),
        ("/files/{+key}/raw", "/files/a/b/raw", {}, {"key": "a/b"}),
        ("/{a.b}/{c}.json", "/x/y.json", {}, {"a.b": "x", "c": "y"}),
        ("/{same}/{same}", "/x/x", {}, {"same": "x"}),
        ("/ä/{id}", "/%C3%A4/%37", {}, {"id": "7"}),
        ("https://api.example.com/v1/users", "/users", {}, {}),
        ("/users", "https://api.example.com/v1/users", {}, {}),
        ("/", "", {}, {}),
    ],
)
async def test_a_path_fits(route: str, path: str, values: dict[str, Any], found: dict[str, str]) -> None:
    """A route is written like the client's paths, with or without the base path, and returns the values."""
    mock = MockAPI()
    added = mock.get(route).respond(json=1)
    async with client(mock) as api:
        assert await api.get(path, path_params=values) == 1

    assert added.path_params == found


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/users/{id}", "/users/7/posts"),
        ("/users/{id}", "/teams/users/7"),
        ("/users/{id}", "/users/"),
        ("/users/{id}", "/users/a%2Fb/c"),
        ("/users", "/users/"),
        ("/users.json", "/usersxjson"),
        ("/{same}/{same}", "/x/y"),
        ("https://other.example.com/v1/users", "/users"),
    ],
)
async def test_a_path_that_does_not_fit(route: str, path: str) -> None:
    """A path of more segments, of fewer, or on another host is not that of the route."""
    mock = MockAPI()
    added = mock.get(route)
    async with client(mock) as api:
        with pytest.raises(AssertionError, match="no route for GET"):
            await api.get(path)

    assert not added.called


async def test_the_first_route_that_fits_answers() -> None:
    """Of two matching routes, the one added first answers."""
    mock = MockAPI()
    first = mock.get("/users/me").respond(json="me")
    second = mock.get("/users/{id}").respond(json="other")
    async with client(mock) as api:
        assert [await api.get("/users/me"), await api.get("/users/7")] == ["me", "other"]

    assert (first.call_count, second.call_count) == (1, 1)
    assert [call.url.path for call in mock.calls] == ["/v1/users/me", "/v1/users/7"]


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "head", "options"])
async def test_each_method_has_a_route(method: str) -> None:
    """Each method has a short form, and `route` covers all others."""
    mock = MockAPI()
    route: Route = getattr(mock, method)("/users").respond(204)
    other = mock.route("query", "/users").respond(204)
    async with client(mock) as api:
        await api.request(method, "/users", None)
        await api.request("QUERY", "/users", None)

    assert [route.method, other.method] == [method.upper(), "QUERY"]
    assert route.called
    assert other.called


@pytest.mark.parametrize(
    ("options", "sent", "misfit"),
    [
        ({"params": {"page": 2}}, {"params": {"page": 2, "q": "x"}}, None),
        ({"params": {"page": 2}}, {"params": {"page": 3}}, "params['page'] is '3', not '2'"),
        ({"params": {"page": 2}}, {}, "params has no 'page'"),
        ({"params": {"page": ANY}}, {"params": {"page": 9}}, None),
        ({"params": {"all": True, "id": [1, 2]}}, {"params": {"all": True, "id": [1, 2]}}, None),
        ({"params": {"id": [1, 2]}}, {"params": {"id": [1, 3]}}, "params['id'][1] is '3', not '2'"),
        ({"params": {"id": 1}}, {"params": {"id": [1, 3]}}, "params['id'] is ['1', '3'], not '1'"),
        ({"headers": {"X-Team": "a"}}, {"headers": {"x-team": "a"}}, None),
        ({"headers": {"X-Team": "a"}}, {"headers": {"X-Team": "b"}}, "headers['X-Team'] is 'b', not 'a'"),
        ({"headers": {"X-Team": ANY}}, {}, "headers has no 'X-Team'"),
        ({"json": {"login": "ada"}}, {"json": NewUser("ada")}, None),
        ({"json": NewUser("ada")}, {"json": {"login": "ada"}}, None),
        ({"json": {"login": ANY, "n": [1, ANY]}}, {"json": {"login": "x", "n": [1, 2]}}, None),
        ({"json": {"u": {"id": 1}}}, {"json": {"u": {"id": 2}}}, "json['u']['id'] is 2, not 1"),
        ({"json": {"a": 1}}, {"json": {"a": 1, "b": 2}}, "json has 'b' too"),
        ({"json": {"a": 1, "b": 2}}, {"json": {"a": 1}}, "json has no 'b'"),
        ({"json": [1, 2]}, {"json": [1]}, "json has 1 items, not 2"),
        ({"json": [1, 2]}, {"json": {"a": 1}}, "json is {'a': 1}, not [1, 2]"),
        ({"json": None}, {"json": None}, None),
        ({"json": {}}, {}, "there is no body"),
        ({"json": {}}, {"content": b"<a/>"}, "the body is not JSON"),
        ({"host": "api.example.com"}, {}, None),
        ({"host": "api.example.com:443"}, {}, "the host is api.example.com"),
        ({"host": "login.example.com"}, {}, "the host is api.example.com"),
    ],
)
async def test_what_else_a_route_asks_for(
    options: dict[str, Any], sent: dict[str, Any], misfit: str | None
) -> None:
    """Parameters, headers and host may be a subset of those sent, JSON must be equal; a refusal names the
    first difference.
    """
    mock = MockAPI()
    mock.post("/users", **options).respond(204)
    async with client(mock) as api:
        if misfit is None:
            await api.post("/users", None, **sent)
        else:
            with pytest.raises(AssertionError) as refused:
                await api.post("/users", None, **sent)
            assert str(refused.value).splitlines()[1].endswith(f": {misfit}")


async def test_a_body_that_streams_is_compared() -> None:
    """The JSON of a body sent piece by piece is compared too."""

    async def pieces() -> Any:
        yield b'{"login":'
        yield b'"ada"}'

    mock = MockAPI()
    route = mock.post("/users", json={"login": "ada"}).respond(201)
    async with client(mock) as api:
        await api.post("/users", None, content=pieces())

    assert route.last.content == b'{"login":"ada"}'


# --- refusals


async def test_a_refusal_lists_each_route() -> None:
    """The error names the request and, for each route, the first difference."""
    mock = MockAPI()
    mock.get("/users")
    mock.post("/users/{id}")
    mock.post("/users", params={"dry": True})
    mock.post("/users", json={"login": "bob"})
    async with client(mock) as api:
        with pytest.raises(AssertionError) as refused:
            await api.post("/users", json={"login": "ada"}, params={"dry": False})

    assert str(refused.value).splitlines() == [
        "no route for POST https://api.example.com/v1/users?dry=false",
        "  GET /users: the method is POST",
        "  POST /users/{id}: the path is /users",
        "  POST /users params={'dry': 'true'}: params['dry'] is 'false', not 'true'",
        "  POST /users json=...: json['login'] is 'ada', not 'bob'",
    ]
    assert mock.unexpected == [str(refused.value)]


async def test_a_refusal_is_never_retried() -> None:
    """A request without a match is sent once, whatever the policy, and its error is not an APIError."""
    mock = MockAPI()
    policy = RetryPolicy(max_retries=5, statuses=range(400, 600))
    async with client(mock, retry=policy) as api:
        with pytest.raises(AssertionError, match="there are no routes"):
            await api.put("/users", json={})

    assert len(mock.calls) == 1


async def test_a_refusal_keeps_secrets() -> None:
    """Neither a refusal nor a repr contains the value of a secret of either side."""
    mock = MockAPI()
    mock.post("/login", params={"api_key": "CANARY-1"})
    mock.post("/login", headers={"Authorization": "Bearer CANARY-2"})
    mock.post("/login", json={"password": "CANARY-3"})
    async with client(mock, default_headers={"Authorization": "Bearer CANARY-4"}) as api:
        with pytest.raises(AssertionError) as refused:
            await api.post("/login", json={"password": "CANARY-5"}, params={"api_key": "CANARY-6"})

    assert "CANARY" not in f"{refused.value} {mock} {mock.routes}"
    assert "json['password'] differs" in str(refused.value)


# --- answers


async def test_answers_come_in_order_and_the_last_is_repeated() -> None:
    """Each request takes the next answer; the last one is repeated."""
    mock = MockAPI()
    mock.get("/n").respond(json=1).then(respond(json=2), lambda request: respond(json=request.attempt + 3))
    async with client(mock) as api:
        assert [await api.get("/n") for _ in range(4)] == [1, 2, 3, 3]


async def test_a_route_without_an_answer() -> None:
    """A route that was given no answer answers with an empty 200."""
    mock = MockAPI()
    mock.get("/users")
    async with client(mock) as api:
        response = await api.get("/users", AsyncAPIResponse[bytes])

    assert (response.status, response.body) == (200, b"")


async def test_a_function_answers_from_what_was_sent() -> None:
    """A function gets the request with its body."""
    mock = MockAPI()
    mock.post("/users").then(lambda request: respond(201, json={**request.json(), "id": 8}))
    async with client(mock) as api:
        assert await api.post("/users", json={"login": "ada"}) == {"login": "ada", "id": 8}


async def test_errors_and_drops() -> None:
    """An answer may be an error, or a connection that breaks; both are retried, without a wait."""
    clock = FakeClock()
    mock = MockAPI(clock=clock)
    route = mock.get("/n").then(APITimeoutError("slow", phase="read")).then(drop_after=5).respond(json=1)
    async with client(mock) as api:
        assert await api.get("/n") == 1

    assert [call.attempt for call in route.calls] == [0, 1, 2]
    assert len(clock.sleeps) == 2


async def test_a_connection_that_drops_says_after_what() -> None:
    """The body breaks after the given number of bytes."""
    mock = MockAPI()
    mock.get("/n").then(drop_after=5)
    async with client(mock, max_retries=0) as api:
        with pytest.raises(APIConnectionError, match="broke after 5 bytes") as caught:
            await api.get("/n")

    assert caught.value.reason == "truncated"


@pytest.mark.parametrize(
    ("delay", "options", "phase", "passed"),
    [
        (30, {}, None, 30),
        (60, {}, "read", 60),
        (31, {"timeout": 30}, "total", 30),
        (100, {"timeout": 30}, "total", 30),
    ],
)
async def test_a_delay_is_time_of_the_clock(
    delay: float, options: dict[str, Any], phase: str | None, passed: float
) -> None:
    """A delay advances the clock, and ends with the first limit that it reaches; no real time passes."""
    clock = FakeClock()
    mock = MockAPI(clock=clock)
    mock.get("/n").respond(json=1, delay=delay)
    async with client(mock, max_retries=0) as api:
        if phase is None:
            assert await api.get("/n", **options) == 1
        else:
            with pytest.raises(APITimeoutError, match=f"not done within {passed:g} s") as caught:
                await api.get("/n", **options)
            assert caught.value.phase == phase

    assert clock.time() - 1000 == pytest.approx(passed, abs=1)
    assert clock.sleeps == []


async def test_a_delay_without_a_clock_is_real() -> None:
    """Without a clock a delay is a wait of the loop, which a deadline ends."""
    mock = MockAPI()
    mock.get("/n").respond(json=1, delay=3600)
    async with client(mock, max_retries=0) as api:
        with pytest.raises(APITimeoutError):
            await api.get("/n", timeout=0.01)


# --- uncalled routes, reset, last request


async def test_routes_that_nothing_called() -> None:
    """`assert_all_called` lists the uncalled routes."""
    mock = MockAPI()
    mock.get("/users")
    mock.post("/users", json={"password": "CANARY"})
    mock.delete("/users/{id}", params={"force": True})
    async with client(mock) as api:
        await api.get("/users", bytes)

    with pytest.raises(AssertionError) as raised:
        mock.assert_all_called()
    assert str(raised.value).splitlines() == [
        "routes that were not called:",
        "  POST /users json=...",
        "  DELETE /users/{id} params={'force': 'true'}",
    ]


async def test_reset_begins_again() -> None:
    """After a reset no call is recorded, and each route starts with its first answer."""
    mock = MockAPI()
    route = mock.get("/n").respond(json=1).respond(json=2)
    async with client(mock) as api:
        assert await api.get("/n") == 1
        mock.reset()
        assert (route.called, mock.calls) == (False, [])
        assert await api.get("/n") == 1


def test_a_name_finds_its_route() -> None:
    """A route is found by its name; an unknown name raises an error that lists the names, and names are
    unique.
    """
    mock = MockAPI()
    route = mock.get("/users", name="users")

    assert mock["users"] is route
    with pytest.raises(KeyError, match="no route has the name 'books'; there are users"):
        mock["books"]
    with pytest.raises(InvalidRequestError, match="another route has the name 'users'"):
        mock.post("/users", name="users")


def test_a_route_that_was_not_called_has_no_last() -> None:
    """`last` without a request raises an AssertionError that names the route."""
    route = MockAPI().get("/users/{id}")

    assert (route.calls, route.call_count, repr(route)) == ([], 0, "<Route GET /users/{id}, called 0 times>")
    for read in (lambda: route.last, lambda: route.path_params):
        with pytest.raises(AssertionError, match=r"GET /users/\{id\} was not called"):
            read()


@pytest.mark.parametrize(
    ("path", "options", "error", "message"),
    [
        ("/users?page=1", {}, InvalidRequestError, "has a query or fragment; use params="),
        ("/users/{id", {}, InvalidRequestError, "has a brace that is not"),
        ("/users/{}", {}, InvalidRequestError, "has a brace that is not"),
        ("/users", {"params": "page=1"}, TypeError, "params must be a mapping of names to values, not str"),
        ("/users", {"headers": ["a"]}, TypeError, "headers must be a mapping of names to values, not list"),
    ],
)
def test_a_wrong_route(path: str, options: dict[str, Any], error: type[Exception], message: str) -> None:
    """An invalid route is refused at its definition."""
    with pytest.raises(error, match=message):
        MockAPI().get(path, **options)


def test_a_wrong_answer() -> None:
    """An invalid answer is refused at its definition."""
    route = MockAPI().get("/users")
    wrong: Any = {"id": 7}

    with pytest.raises(TypeError, match=r"answers must be respond\(\.\.\.\), an error, or a function"):
        route.then(wrong)
    with pytest.raises(TypeError, match="answers and drop_after were both given"):
        route.then(respond(), drop_after=5)
    with pytest.raises(InvalidRequestError, match="cut_after must be a number of bytes, 0 or more, not -1"):
        route.then(drop_after=-1)
    for delay in (-1, float("nan"), float("inf")):
        with pytest.raises(InvalidRequestError, match="delay must be 0 seconds or more"):
            route.respond(delay=delay)
    with pytest.raises(TypeError, match="handler must be a transport"):
        MockAPI().pass_through(wrong)


# --- as a transport


async def test_what_fits_no_route_may_pass_through() -> None:
    """A request without a route goes to the other transport, body included; that one is closed with the
    mock.
    """
    other = FakeTransport(lambda request: respond(json=request.json()))
    mock = MockAPI()
    mock.get("/users").respond(json="mocked")
    mock.pass_through(other)
    async with client(mock) as api:
        assert await api.get("/users") == "mocked"
        assert await api.post("/echo", json={"a": 1}) == {"a": 1}

    assert (mock.unexpected, other.is_closed, len(mock.calls)) == ([], True, 2)


async def test_a_mock_outlives_its_clients() -> None:
    """Several clients use one mock; closing one ends its streams, and does not affect the others."""
    mock = MockAPI()
    mock.get("/events").respond(chunks=[b"data: 1\n\n"], headers={"Content-Type": "text/event-stream"})
    first, second = client(mock), client(mock)
    stream = await first.get("/events", int, stream=True)
    assert mock.open_responses == 1
    await first.close()
    assert mock.open_responses == 0
    await stream.close()

    async with second.stream("GET", "/events", int) as events:
        assert [event async for event in events] == [1]
    await second.close()


async def test_its_end_ends_open_streams() -> None:
    """Closing a mock ends the open streams, for a client that leaves that to its transport."""
    mock = MockAPI()
    mock.get("/v1/events").respond(chunks=[b"1", b"2"])
    response = await mock(APIRequest("GET", f"{BASE}/events", stream=True))

    await mock.close()

    assert (response.is_closed, mock.open_responses) == (True, 0)
    with pytest.raises(ClientClosedError):
        await response.read()


def test_a_mock_serves_one_loop_after_another() -> None:
    """A mock, with its routes, works on a second event loop after the first has ended."""
    mock = MockAPI()
    route = mock.get("/n").respond(json=1)

    async def call() -> Any:
        async with client(mock) as api:
            return await api.get("/n")

    assert [asyncio.run(call()) for _ in range(2)] == [1, 1]
    assert route.call_count == 2


async def test_calls_at_the_same_time_are_kept_apart() -> None:
    """Fifty concurrent calls each get their own values."""
    mock = MockAPI()

    def echo(request: SentRequest) -> Any:
        return respond(json=request.json())

    route = mock.post("/echo").then(echo)
    async with client(mock) as api:
        answers = await asyncio.gather(*(api.post("/echo", json=number) for number in range(50)))

    assert answers == list(range(50))
    assert sorted(call.json() for call in route.calls) == answers


async def test_it_takes_a_request_that_no_client_made() -> None:
    """A hand-made request matches by its complete path."""
    mock = MockAPI()
    mock.get("/v1/users").respond(204)

    assert (await mock(APIRequest("GET", f"{BASE}/users"))).status == 204
