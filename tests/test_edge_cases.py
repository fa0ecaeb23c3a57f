"""Edge cases in which HTTP clients have failed; each docstring states the expected behaviour."""

from __future__ import annotations

import asyncio
import gc
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import aiohttp
import msgspec
import pytest
from helpers import BASE, Client, Script, reply, text
from multidict import CIMultiDict
from servers import Exchange, raw_server, response

from aioapiclient import (
    OMIT,
    APIRequest,
    APIResponseValidationError,
    APIStatusError,
    AsyncAPIClient,
    AsyncAPIResponse,
    AuthenticationError,
    BearerAuth,
    Body,
    Handler,
    InternalServerError,
    Middleware,
    NotFoundError,
    Open,
    RetryableError,
    RetryPolicy,
    Token,
    Unknown,
    per_attempt,
)


class User(msgspec.Struct):
    id: int
    name: str = ""


class Team(msgspec.Struct):
    lead: User
    members: list[User] = []
    tags: dict[str, int] = {}


class Cat(msgspec.Struct, tag="cat", tag_field="kind"):
    lives: int


class Dog(msgspec.Struct, tag="dog", tag_field="kind"):
    good: bool


async def sent(options: dict[str, Any] | None = None, **client: Any) -> APIRequest:
    """Return the request of a GET with *options*, by a client with the other options, as sent on the wire."""
    script = Script()
    async with Client(BASE, transport=script, **client) as api:
        await api.get("/x", **(options or {}))
    return script.last


async def got(answer: Any, cast_to: Any, **client: Any) -> Any:
    """The answer to a GET."""
    async with Client(BASE, transport=Script(answer), **client) as api:
        return await api.get("/x", cast_to)


# --- URL and query


async def test_the_base_path_is_kept() -> None:
    """A leading slash never drops the base path, on the client or on a view with another base URL."""
    script = Script()
    async with Client("https://h/custom/path/", transport=script) as api:
        await api.get("/foo")
        await api.with_options(base_url="https://h/other").get("/foo")

    assert script.urls == ["https://h/custom/path/foo", "https://h/other/foo"]


async def test_slashes_of_the_base_url() -> None:
    """A base URL with and without a trailing slash lead to the same URL."""
    script = Script()
    async with Client("https://h/v1", transport=script) as api:
        for base in ("https://h/v1", "https://h/v1/"):
            for path in ("x", "/x"):
                await api.with_options(base_url=base).get(path)

    assert set(script.urls) == {"https://h/v1/x"}


async def test_escapes_and_query_of_the_path() -> None:
    """An escaped slash in a path survives params, and the query of the path is merged with them."""
    request = await sent_to("/files/a%2Fb?beta=true", params={"limit": 10})

    assert str(request.url) == f"{BASE}/files/a%2Fb?beta=true&limit=10"


async def sent_to(path: str, **options: Any) -> APIRequest:
    """The request of a GET of a path."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        await api.get(path, **options)
    return script.last


async def test_a_param_overrides_the_default() -> None:
    """A parameter of the call replaces the client's of that name; the others are kept."""
    request = await sent({"params": {"a": 2}}, default_params={"a": 1, "b": 1})

    assert request.url.raw_query_string == "b=1&a=2"


# --- headers


async def test_an_omitted_header_stays_away() -> None:
    """A header that the call omits is absent on every attempt, without a replacement."""
    script = Script(reply(503), reply(503), reply())
    async with Client(BASE, default_headers={"X-Count": "0"}, transport=script) as api:
        await api.get("/x", headers={"x-count": OMIT})

    assert ["X-Count" in request.headers for request in script.requests] == [False] * 3
    assert "OMIT" not in str([request.headers for request in script.requests])


async def test_a_header_of_the_call_is_never_overwritten() -> None:
    """A header of the call is the same on every attempt."""
    script = Script(reply(503), reply(503), reply())
    async with Client(BASE, transport=script) as api:
        await api.get("/x", headers={"X-Count": "42"})

    assert [request.headers.getall("X-Count") for request in script.requests] == [["42"]] * 3


async def test_a_missing_credential_is_not_a_mistake() -> None:
    """A client without a credential sends none, and an omitted one is not an error: the server decides."""
    assert "Authorization" not in (await sent()).headers
    request = await sent({"headers": {"Authorization": OMIT}}, auth=BearerAuth("t"))
    assert "Authorization" not in request.headers


async def test_an_omit_of_the_client_survives_views() -> None:
    """`OMIT` in `default_headers` applies to every view with further headers."""
    script = Script()
    async with Client(BASE, default_headers={"User-Agent": OMIT}, transport=script) as api:
        await api.with_options(default_headers={"A": "b"}).with_options(default_headers={"C": "d"}).get("/x")

    assert "User-Agent" not in script.last.headers
    assert (script.last.headers["A"], script.last.headers["C"]) == ("b", "d")


async def test_defaults_override_platform_headers() -> None:
    """`default_headers` replace the values of `platform_headers`, in any case of the name."""

    class SDK(Client):
        def platform_headers(self) -> dict[str, str]:
            return {"X-Lang": "python"}

    script = Script()
    async with SDK(BASE, default_headers={"x-lang": "mine"}, transport=script) as api:
        await api.get("/x")

    assert script.last.headers.getall("X-Lang") == ["mine"]


async def test_a_multidict_is_a_layer() -> None:
    """Header objects of aiohttp are accepted as a layer."""
    assert (await sent({"headers": CIMultiDict(a="b")})).headers["A"] == "b"


async def test_no_header_adds_up() -> None:
    """No header accumulates over layers: the later layer replaces it; several values are given together."""
    values = CIMultiDict([("X-Helper", "b"), ("x-helper", "c")])
    request = await sent({"headers": values}, default_headers={"X-Helper": "a"})

    assert request.headers.getall("X-Helper") == ["b", "c"]


async def test_values_are_sent_as_they_are() -> None:
    """The value of a header is sent unchanged: it is not split, joined or deduplicated."""
    request = await sent({"headers": {"X-Beta": "ab, a, ab"}}, default_headers={"X-Beta": "a"})

    assert request.headers["X-Beta"] == "ab, a, ab"


# --- options and views


def test_none_is_a_timeout_and_absent_keeps() -> None:
    """`with_options(timeout=None)` disables the limits; omitted, they are inherited."""
    api = Client(BASE, timeout=3)

    assert api.with_options(timeout=None).timeout.total is None
    assert api.with_options(max_retries=1).timeout.total == 3


async def test_an_empty_layer_clears_nothing() -> None:
    """An empty mapping of a view changes nothing; None clears."""
    script = Script()
    async with Client(BASE, default_headers={"A": "b"}, transport=script) as api:
        await api.with_options(default_headers={}).get("/x")
        await api.with_options(default_headers=None).get("/x")

    assert ["A" in request.headers for request in script.requests] == [True, False]


def test_middlewares_of_a_view() -> None:
    """None and an empty list clear the middlewares of a view; omitted, they are inherited."""

    async def own(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        return await handler(request)

    api = Client(BASE, middlewares=[own])

    assert own in api.with_options(max_retries=1).chain
    assert own in api.with_options(default_headers={"a": "b"}).chain
    assert own not in api.with_options(middlewares=None).chain
    assert own not in api.with_options(middlewares=[]).chain


async def test_dropping_a_view_closes_nothing() -> None:
    """A garbage-collected view leaves the session to its client."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        view = api.with_options(max_retries=1)
        del view
        gc.collect()
        await api.get("/x")
        assert not script.is_closed


async def test_the_timeout_of_a_borrowed_session_does_not_count() -> None:
    """The limits are those of the client and the call; the limits of a borrowed session never end a call."""

    async def slowly(exchange: Exchange) -> None:
        await asyncio.sleep(0.1)
        await exchange.send(response("204 No Content", None))

    limit = aiohttp.ClientTimeout(total=0.02)
    async with (
        raw_server(slowly) as server,
        aiohttp.ClientSession(timeout=limit) as session,
        AsyncAPIClient(server.url, session=session) as api,
    ):
        assert await api.get("/x", None, max_retries=0) is None


@pytest.mark.parametrize("session", [object(), "session", aiohttp.ClientSession])
def test_a_wrong_session_fails_at_once(session: Any) -> None:
    """A session of the wrong type is refused when the client is created."""
    with pytest.raises(TypeError, match=r"session must be an aiohttp.ClientSession"):
        AsyncAPIClient(BASE, session=session)


def test_retries_that_are_none_fail_at_once() -> None:
    """`max_retries=None` is refused when the client is created, with the value to use instead."""
    retries: Any = None
    with pytest.raises(TypeError, match="max_retries must be an int of 0 or more, not None; 0 switches"):
        AsyncAPIClient(BASE, max_retries=retries)


async def test_json_is_compact() -> None:
    """JSON is sent without a space."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        await api.post("/x", json={"key": "value", "number": 42, "e": "é"})

    assert script.bodies == ['{"key":"value","number":42,"e":"é"}'.encode()]


# --- retries


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (49, "0"),
        (49, "-1"),
        (49, "-10"),
        (50, "Fri, 29 Sep 2023 16:26:57 GMT"),
        (50, "Fri, 29 Sep 2023 16:26:27 GMT"),
        (51, "Zun, 29 Sep 2023 16:26:27 GMT"),
        (51, ""),
        (52, "99999999999999999999999999999999999"),
    ],
)
async def test_odd_hints_give_our_own_wait(number: int, value: str) -> None:
    """A Retry-After of zero, negative, in the past, malformed or absurd leads to the client's own backoff,
    never an error.
    """
    script = Script(reply(503, Retry_After=value, Date="Fri, 29 Sep 2023 16:26:57 GMT"), reply())
    policy = RetryPolicy(jitter=lambda wait: wait)
    async with Client(BASE, retry=policy, transport=script) as api:
        await api.get("/x")

    assert api.waits == [0.5], number


async def test_the_backoff_is_bounded() -> None:
    """However many attempts were made, the wait is at most 8 s, and nothing overflows."""
    script = Script(reply(500))
    policy = RetryPolicy(max_retries=1100, budget=None, jitter=lambda wait: wait)
    async with Client(BASE, retry=policy, transport=script) as api:
        with pytest.raises(InternalServerError):
            await api.get("/x", timeout=None)

    assert api.waits[:6] == [0.5, 1, 2, 4, 8, 8]
    assert (len(api.waits), max(api.waits)) == (1100, 8)


async def test_a_bug_is_not_retried() -> None:
    """A RuntimeError, which never comes from the wire, is raised unchanged, at the first attempt."""
    script = Script(RuntimeError("oops"))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(RuntimeError, match="oops"):
            await api.get("/x")

    assert len(script.requests) == 1


async def test_failed_attempts_hold_no_connection() -> None:
    """After the last retry no response is left open, neither of the failed attempts nor of the last."""
    script = Script(reply(500))
    async with Client(BASE, max_retries=4, transport=script) as api:
        with pytest.raises(InternalServerError):
            await api.get("/x", AsyncAPIResponse[Any])
        assert script.open_responses == 0

    assert len(script.requests) == 5


@pytest.mark.parametrize("failures", [0, 2, 4])
async def test_retries_are_counted(failures: int) -> None:
    """`retries_taken` of a response is the number of attempts before it."""
    script = Script(*[reply(500)] * failures, reply())
    async with Client(BASE, max_retries=4, transport=script) as api:
        response = await api.get("/x", AsyncAPIResponse[Any])

    assert response.retries_taken == failures
    assert [request.attempt for request in script.requests] == [*range(failures + 1)]


async def test_a_post_is_redirected_as_get() -> None:
    """302 after POST is followed as GET, without the body; not followed, it is a status error with its
    Location.
    """
    script = Script(reply(302, Location=f"{BASE}/y"), reply(), reply(302, Location=f"{BASE}/y"))
    async with Client(BASE, transport=script) as api:
        await api.post("/x", json={"a": 1})
        with pytest.raises(APIStatusError, match="302") as raised:
            await api.post("/x", json={"a": 1}, follow_redirects=False)

    assert [request.method for request in script.requests] == ["POST", "GET", "POST"]
    assert script.requests[1].body is None
    assert "Content-Type" not in script.requests[1].headers
    assert raised.value.response is not None
    assert raised.value.response.headers["Location"] == f"{BASE}/y"


@pytest.mark.parametrize("max_retries", [0, 2])
async def test_a_refusal_renews_once(max_retries: int) -> None:
    """A 401 renews the credential once per call, even with `max_retries=0`, and is then raised."""
    asked: list[int] = []

    async def provide() -> Token:
        asked.append(1)
        return Token(f"t{len(asked)}", 3600)

    script = Script(reply(401))
    async with Client(BASE, auth=BearerAuth(provide), max_retries=max_retries, transport=script) as api:
        with pytest.raises(AuthenticationError):
            await api.get("/x")

    assert [request.headers["Authorization"] for request in script.requests] == ["Bearer t1", "Bearer t2"]


async def test_many_calls_ask_for_one_token() -> None:
    """However many calls wait for the first token, its provider is called once."""
    asked: list[int] = []

    async def provide() -> str:
        asked.append(1)
        await asyncio.sleep(0)
        return "t"

    async with Client(BASE, auth=BearerAuth(provide), transport=Script()) as api:
        await asyncio.gather(*(api.get("/x") for _ in range(20)))

    assert asked == [1]


# --- decoding


async def test_json_under_another_content_type() -> None:
    """A content type that names no codec does no harm: JSON in it is decoded to the type."""
    assert await got(text('{"id":1}', "application/text"), User) == User(1)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("number", "cast_to"), [(62, User), (63, User | list[User]), (63, Cat | Dog)])
async def test_text_is_not_a_model(strict: bool, number: int, cast_to: Any) -> None:
    """Plain text for a model or a union is an error, even in lenient mode: a value always has the
    requested type.
    """
    with pytest.raises(APIResponseValidationError, match="text/plain"):
        await got(text("my text"), cast_to, strict_response_validation=strict)


async def test_a_union_is_told_apart_by_values() -> None:
    """The member of a union is chosen by the received value, not by its position."""
    assert await got(reply(json="1"), int | str) == "1"
    assert await got(reply(json={"kind": "dog", "good": True}), Cat | Dog) == Dog(True)


@pytest.mark.parametrize(("body", "value"), [("true", True), ("FalSe", False), ("TRUE", True)])
async def test_a_bool_in_any_case(body: str, value: bool) -> None:
    """A bool in a plain text is read in any case."""
    assert await got(text(body), bool) is value


async def test_annotated_targets() -> None:
    """`Annotated` types work, and their constraints hold."""
    positive = Annotated[int, msgspec.Meta(gt=0)]

    assert await got(reply(json=5), positive) == 5
    assert await got(reply(json={"id": 1}), Annotated[User, "anything"]) == User(1)
    with pytest.raises(APIResponseValidationError):
        await got(reply(json=0), positive)


async def test_a_validation_error_says_it_itself() -> None:
    """A validation error has reason and place in its own message, and no cause that could quote the body."""
    with pytest.raises(APIResponseValidationError, match=r"Expected `int`, got `str` at \$\.id") as raised:
        await got(reply(json={"id": "s3cr3t"}), User)

    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


async def test_a_float_is_a_float() -> None:
    """A number for a float is a float, even an integer, at the nearest value of a float."""
    value = await got(reply(json=2**53 + 1), float)

    assert type(value) is float
    assert value == float(2**53)
    assert type(await got(reply(json=10), float)) is float


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"lead": "x"}, "$.lead"),
        ({"lead": {"id": [1]}}, "$.lead.id"),
        ({"lead": {"id": 1}, "members": {}}, "$.members"),
        ({"lead": {"id": 1}, "members": [{"id": 1}, False]}, "$.members[1]"),
        ({"lead": {"id": 1}, "tags": {"a": {}}}, "$.tags[...]"),
        ({}, "$"),
    ],
)
async def test_what_does_not_fit_raises_at_every_level(strict: bool, data: Any, path: str) -> None:
    """A mismatch at any level raises with its path, even in lenient mode: no value of a wrong type passes."""
    with pytest.raises(APIResponseValidationError) as raised:
        await got(reply(json=data), Team, strict_response_validation=strict)

    assert raised.value.path == path


async def test_tags_known_and_new() -> None:
    """A mistake in a known variant raises; a new tag raises too, unless the union is open."""
    with pytest.raises(APIResponseValidationError, match=r"\$\.lives"):
        await got(reply(json={"kind": "cat", "lives": "nine"}), Open[Cat | Dog])
    with pytest.raises(APIResponseValidationError, match="tag"):
        await got(reply(json={"kind": "cow"}), Cat | Dog)
    new = await got(reply(json={"kind": "cow", "milk": 1}), Open[Cat | Dog])

    assert new == Unknown({"kind": "cow", "milk": 1}, "cow")


class Box(msgspec.Struct, rename="camel"):
    the_pet: Cat | Dog | None = None


async def test_tags_under_other_names_and_nested() -> None:
    """Tags may have any name, and unions may be in fields with other names, lists and options."""
    assert await got(reply(json={"thePet": {"kind": "cat", "lives": 9}}), Box) == Box(Cat(9))
    assert await got(reply(json=[{"kind": "dog", "good": True}, None]), list[Cat | Dog | None]) == [
        Dog(True),
        None,
    ]


class Odd(msgspec.Struct):
    cls: str
    self_: int = msgspec.field(name="self", default=0)


async def test_odd_names_and_aliases() -> None:
    """Fields named `cls` or `self`, and type aliases, work."""
    assert await got(reply(json={"cls": "a", "self": 1}), Odd) == Odd("a", 1)
    assert await got(reply(json="a"), Literal["a", "b"]) == "a"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="TypeAliasType is of Python 3.12")
async def test_a_type_statement() -> None:
    """A `type` alias is the type that it names."""
    from typing import TypeAliasType

    users = TypeAliasType("users", list[User])

    assert await got(reply(json=[{"id": 1}]), users) == [User(1)]


async def test_the_request_id_is_the_responses() -> None:
    """The request ID is on the response and on errors; a value has the members of the body and no others."""
    async with Client(BASE, transport=Script(reply(json={"id": 1}, X_Request_Id="r1"))) as api:
        response = await api.get("/x", AsyncAPIResponse[User])
        user = await response.parse()

    assert response.request_id == "r1"
    assert msgspec.json.encode(user) == b'{"id":1,"name":""}'


async def test_a_response_without_a_type() -> None:
    """`AsyncAPIResponse` without an argument parses to plain data."""
    response = await got(reply(json={"id": 1}), AsyncAPIResponse)

    assert await response.parse() == {"id": 1}


# --- middlewares


def noting(name: str, notes: list[str]) -> Middleware:
    """A middleware that notes its name before and after."""

    async def note(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        notes.append(f"{name} in")
        response = await handler(request)
        notes.append(f"{name} out {response.status}")
        return response

    return note


async def test_middlewares_from_an_iterator() -> None:
    """Middlewares given as a one-shot iterator run, on every call."""
    notes: list[str] = []

    def made() -> Iterator[Middleware]:
        yield noting("a", notes)

    async with Client(BASE, middlewares=made(), transport=Script()) as api:
        await api.get("/x")
        await api.get("/x")

    assert notes == ["a in", "a out 200"] * 2


async def test_an_object_with_an_async_call() -> None:
    """An object whose `__call__` is async is a middleware."""

    class Link:
        async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
            return await handler(request)

    async with Client(BASE, middlewares=[Link()], transport=Script(reply(json=1))) as api:
        assert await api.get("/x") == 1


def test_a_base_class_is_not_an_implementation() -> None:
    """A subclass of the protocol that overrides nothing is refused when the client is created: it returns
    no response.
    """

    class Empty(Middleware):
        pass

    with pytest.raises(TypeError, match="Empty"):
        Client(BASE, middlewares=[Empty()])


async def test_a_chain_keeps_nothing_between_calls() -> None:
    """The chain is folded once and used for every call, the first middleware outermost each time."""
    notes: list[str] = []
    async with Client(BASE, middlewares=[noting("a", notes), noting("b", notes)], transport=Script()) as api:
        for _ in range(2):
            await api.get("/x")

    assert notes == ["a in", "b in", "b out 200", "a out 200"] * 2


async def test_a_value_is_parsed_once() -> None:
    """The object that a middleware parses is the one that the caller receives."""
    seen: list[Any] = []

    async def look(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        response = await handler(request)
        seen.append(await response.parse())
        return response

    async with Client(BASE, middlewares=[look], transport=Script(reply(json={"id": 1}))) as api:
        assert await api.get("/x", User) is seen[0]


async def test_an_error_is_a_response_inside() -> None:
    """Inside the chain a status error is a response with its body; outside it is raised, once."""
    notes: list[str] = []
    async with Client(BASE, middlewares=[noting("a", notes)], transport=Script(reply(404))) as api:
        with pytest.raises(NotFoundError):
            await api.get("/x")

    assert notes == ["a in", "a out 404"]


@pytest.mark.parametrize(
    ("how", "attempts"), [("bug", 1), ("retryable", 3), ("from retryable", 3), ("from cause", 3)]
)
async def test_what_a_middleware_raises(how: str, attempts: int) -> None:
    """A middleware's own error is not retried, a RetryableError is; after the last retry its cause is
    raised.
    """
    seen: list[int] = []
    bug = ValueError("bug")

    async def fails(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        seen.append(request.attempt)
        if how == "bug":
            raise bug
        if how == "retryable":
            raise RetryableError("again")
        if how == "from retryable":
            raise bug from RetryableError("again")
        raise RetryableError("again") from bug

    async with Client(BASE, middlewares=[per_attempt(fails)], transport=Script()) as api:
        with pytest.raises(RetryableError if how == "retryable" else ValueError) as raised:
            await api.get("/x")

    assert seen == [*range(attempts)]
    assert how == "retryable" or raised.value is bug


async def test_a_second_send_is_identical() -> None:
    """A handler that is called again with a copy of its request sends the same headers and body."""
    script = Script(reply(529), reply())

    async def falls_back(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        response = await handler(request.copy())
        if response.status == 529:
            await response.close()
            return await handler(request.copy())
        return response

    client = Client(BASE, auth=BearerAuth("t"), max_retries=0, middlewares=[falls_back], transport=script)
    async with client as api:
        await api.post("/x", json={"a": 1}, headers={"A": "b"})

    first, second = script.requests
    assert list(first.headers.items()) == list(second.headers.items())
    assert script.bodies == [b'{"a":1}'] * 2


def test_a_copy_shares_the_body_and_not_the_headers() -> None:
    """A copy of a request has separate headers, and shares the body, even open files, and `extensions`."""
    file = io.BytesIO(b"x")
    request = APIRequest("PUT", f"{BASE}/x", body=Body(file), headers={"A": "b"}, extensions={"e": 1})  # type: ignore[arg-type]
    twin = request.copy()
    twin.headers["A"] = "c"
    twin.method = "POST"
    twin.extensions["e"] = 2

    assert (request.headers["A"], request.method, request.extensions) == ("b", "PUT", {"e": 2})
    assert twin.body is request.body


async def test_a_file_through_a_copying_middleware(tmp_path: Path) -> None:
    """An open file is sent through a middleware that copies its request, again after a failure, and stays
    open.
    """
    path = tmp_path / "file"
    path.write_bytes(b"content")

    async def copies(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        return await handler(request.copy())

    script = Script(reply(503), reply())
    with path.open("rb") as file:
        async with Client(BASE, middlewares=[copies], transport=script) as api:
            await api.put("/x", content=file)
        assert not file.closed

    assert script.bodies == [b"content"] * 2


async def test_a_response_is_handed_back_unparsed() -> None:
    """A call that requests the response gets it with its body undecoded, whatever a middleware does."""
    answer = text("<not json>", "application/json")

    async def passes(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        return await handler(request)

    async with Client(BASE, middlewares=[passes], transport=Script(answer)) as api:
        response = await api.get("/x", AsyncAPIResponse[User])

    assert response.body == b"<not json>"
    with pytest.raises(APIResponseValidationError):
        await response.parse()


async def test_a_fallback_gives_the_second_answer() -> None:
    """A middleware that drops a failed answer and sends again returns the second one, and leaves nothing
    open.
    """
    script = Script(reply(529), reply(json={"id": 2}))

    async def falls_back(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        async with await handler(request.copy()) as response:
            if response.ok:
                return response
        return await handler(request)

    async with Client(BASE, max_retries=0, middlewares=[falls_back], transport=script) as api:
        assert await api.get("/x", User) == User(2)
        assert script.open_responses == 0
