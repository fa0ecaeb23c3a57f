"""The options of a call: their layers, their closedness, and their effects."""

from __future__ import annotations

import typing
from typing import Any

import msgspec
import pytest
from helpers import BASE, Client, Script, reply, text
from multidict import CIMultiDict, CIMultiDictProxy

from aioapiclient import (
    NOT_GIVEN,
    OMIT,
    APIRequest,
    APIResponseValidationError,
    APIStatusError,
    AsyncAPIResponse,
    BearerAuth,
    BodyTooLargeError,
    CallOptions,
    ClientOptions,
    ConflictError,
    InternalServerError,
    InvalidRequestError,
    NotFoundError,
    RequestOptions,
    RetryPolicy,
    Timeout,
)
from aioapiclient._options import check_names, layer_options
from aioapiclient._response.source import BytesSource

# The issue that brings streams, pages and multipart brings these as well.
LATER = {"files", "progress"}


class Problem(msgspec.Struct):
    code: str


class Missing(msgspec.Struct):
    what: str


async def last_request(options: dict[str, Any] | None = None, **keywords: Any) -> APIRequest:
    """The bytes that a POST with these keywords and `options=` sends."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        await api.post("/x", options=options, **keywords)
    return script.last


# --- the list of options


def test_the_options_of_a_call_are_those_of_the_design() -> None:
    """`CallOptions` has the documented names, and `RequestOptions` adds those of the request's content."""
    call = set(CallOptions.__annotations__)
    request = set(RequestOptions.__annotations__)

    assert call - LATER == {
        "auth", "decompress", "error_types", "extensions", "extra_body", "follow_redirects", "headers",
        "idempotency_key",
        "idempotent", "max_body", "max_retries", "middlewares", "ok_statuses", "params", "retry", "timeout",
    }  # fmt: skip
    assert request - call - LATER == {"path_params", "json", "data", "content"}
    assert request > call


@pytest.mark.parametrize("options", [CallOptions, RequestOptions, ClientOptions])
def test_the_types_of_options_can_be_read(options: Any) -> None:
    """Every annotation can be evaluated at run time, as tools do that make documentation of them."""
    assert typing.get_type_hints(options).keys() == options.__optional_keys__


def test_no_option_is_required() -> None:
    """Every option may be omitted."""
    assert not CallOptions.__required_keys__
    assert not RequestOptions.__required_keys__


@pytest.mark.parametrize("name", ["json", "data", "content", "path_params"])
async def test_what_makes_the_request_is_not_an_option_of_the_user(name: str) -> None:
    """`options=` accepts the options for users of an SDK; the content of the request is the SDK method's
    own.
    """
    script = Script()
    options: Any = {name: {"a": 1}}
    async with Client(BASE, transport=script) as api:
        with pytest.raises(TypeError, match=f"unknown option in options= '{name}'"):
            await api.post("/x", options=options)

    assert not script.requests


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("timeuot", "did you mean 'timeout'?"),
        ("max_retrys", "did you mean 'max_retries'?"),
        ("header", "did you mean 'headers'?"),
        ("query", "did you mean 'params'?"),
        ("extra_query", "did you mean 'params'?"),
        ("allow_redirects", "did you mean 'follow_redirects'?"),
        ("retries", "did you mean 'max_retries'?"),
        ("body", "did you mean 'json'?"),
        ("zzz", "known are auth, content, "),
    ],
)
async def test_an_unknown_option_is_refused_with_a_hint(name: str, hint: str) -> None:
    """Options are closed: an unknown one is a TypeError that names it, and suggests the closest name."""
    script = Script()
    options: Any = {name: 1}
    async with Client(BASE, transport=script) as api:
        with pytest.raises(TypeError) as raised:
            await api.get("/x", **options)

    assert str(raised.value).startswith(f"unknown option '{name}'; {hint}")
    assert not script.requests


def test_a_hint_shows_no_value() -> None:
    """The message for an unknown option shows names only."""
    with pytest.raises(TypeError, match="unknown option 'tokn'; did you mean 'token'"):
        check_names({"tokn": "s3cr3t"}, frozenset({"token"}))


# --- how options= is merged over the keywords


def layered(keywords: Any, options: Any) -> Any:
    """`options` over `keywords`."""
    return layer_options(keywords, options)


@pytest.mark.parametrize("name", ["params", "extra_body", "extensions", "error_types", "headers"])
def test_mappings_merge(name: str) -> None:
    """In a mapping the user's entries override those of the SDK method, and the others are kept."""
    assert layered({name: {"a": 1, "b": 2}}, {name: {"b": 3, "c": 4}}) == {name: {"a": 1, "b": 3, "c": 4}}


@pytest.mark.parametrize("name", ["params", "extra_body", "extensions", "error_types", "headers"])
@pytest.mark.parametrize("nothing", [{}, None])
def test_an_empty_mapping_takes_nothing_away(name: str, nothing: Any) -> None:
    """An empty mapping, or None for one, changes nothing."""
    assert layered({name: {"a": 1}}, {name: nothing}) == {name: {"a": 1}}


def test_headers_merge_whatever_their_case() -> None:
    """Header names merge case-insensitively: the user's spelling and value win."""
    assert layered({"headers": {"X-A": "1", "X-B": "2"}}, {"headers": {"x-a": "3"}}) == {
        "headers": {"x-a": "3", "X-B": "2"}
    }


def test_middlewares_add_up() -> None:
    """The user's middlewares come after, and so inside, those of the SDK method."""
    first, second = Script(), Script()

    assert layered({"middlewares": [first]}, {"middlewares": iter([second])}) == {
        "middlewares": (first, second)
    }


@pytest.mark.parametrize(
    ("name", "own", "users"),
    [
        ("timeout", 3.0, None),
        ("max_retries", 5, 0),
        ("auth", BearerAuth("a"), None),
        ("ok_statuses", {404}, {304}),
        ("idempotent", True, False),
        ("follow_redirects", True, False),
        ("max_body", 1, None),
        ("idempotency_key", "a", "b"),
        ("retry", RetryPolicy(), RetryPolicy(max_retries=1)),
    ],
)
def test_the_rest_replaces(name: str, own: Any, users: Any) -> None:
    """A value that is not a mapping is replaced by the user's; None is a value here."""
    assert layered({name: own}, {name: users}) == {name: users}
    assert layered({name: own}, {}) == {name: own}
    assert layered({name: own}, None) == {name: own}


def test_layering_changes_nothing_of_the_callers() -> None:
    """Merging does not change the two mappings: an SDK may keep them for every call."""
    keywords, options = {"params": {"a": 1}}, {"params": {"b": 2}}
    layered(keywords, options)

    assert keywords == {"params": {"a": 1}}
    assert options == {"params": {"b": 2}}


async def test_an_sdk_method_hands_its_users_options_through() -> None:
    """The keywords of an SDK method and its user's options make one request together."""
    request = await last_request(
        {"headers": {"a": "user"}, "params": {"p": OMIT, "q": 2}, "extra_body": {"c": None}},
        headers={"A": "sdk", "B": "sdk"},
        params={"p": 1},
        json={"b": 1, "c": 2},
    )

    assert str(request.url) == f"{BASE}/x?q=2"
    assert (request.headers["A"], request.headers["B"]) == ("user", "sdk")
    assert request.body is not None
    assert request.body.content == b'{"b":1,"c":null}'


# --- the effect of each option


async def test_params_lie_over_the_defaults() -> None:
    """`params` are merged over `default_params`: one name replaces, `OMIT` removes, the rest is kept."""
    script = Script()
    async with Client(BASE, default_params={"a": 1, "b": 2, "c": 3}, transport=script) as api:
        await api.get("/x", params={"b": 4, "c": OMIT, "d": True})

    assert script.urls == [f"{BASE}/x?a=1&b=4&d=true"]


async def test_a_timeout_of_a_call() -> None:
    """A number limits the whole call, a `Timeout` inherits its omitted limits, None disables all limits."""
    script = Script()
    async with Client(BASE, timeout=Timeout(total=20, read=7), transport=script) as api:
        await api.get("/x")
        await api.get("/x", timeout=3)
        await api.get("/x", timeout=Timeout(read=9, total=None))
        await api.get("/x", timeout=None)

    read = [
        (request.limit("total"), request.limit("connect"), request.limit("read"))
        for request in script.requests
    ]
    assert read == [(20, 5, 7), (3, 5, 7), (None, 5, 9), (None, None, None)]
    assert [request.deadline is None for request in script.requests] == [False, False, True, True]


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (4, 5)])
async def test_max_retries_of_a_call(retries: int, attempts: int) -> None:
    """`max_retries` of a call counts the attempts beyond the first."""
    script = Script(reply(500))
    async with Client(BASE, max_retries=3, transport=script) as api:
        with pytest.raises(InternalServerError) as raised:
            await api.get("/x", max_retries=retries)

    assert len(script.requests) == attempts
    assert raised.value.retries_taken == retries


async def test_a_retry_policy_of_a_call_brings_its_own_number() -> None:
    """`retry` of a call is the complete policy: the client's `max_retries` does not change it."""
    script = Script(reply(500))
    async with Client(BASE, max_retries=0, transport=script) as api:
        with pytest.raises(InternalServerError):
            await api.get("/x", retry=RetryPolicy(max_retries=3))

    assert len(script.requests) == 4


async def test_a_retry_policy_of_a_call_pays_from_the_budget_of_the_client() -> None:
    """A policy that names no budget uses the client's, which all its calls share, also when a call brings
    it.
    """
    script = Script(reply(500))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(InternalServerError):
            await api.get("/x", retry=RetryPolicy(max_retries=1))
        after_one = api.stats().origins["https://api.example.com"]
        with pytest.raises(InternalServerError):
            await api.get("/x", max_retries=1)
        after_two = api.stats().origins["https://api.example.com"]

    assert after_one == {"RetryMiddleware": {"retry_tokens": 500 - 14}}
    assert after_two == {"RetryMiddleware": {"retry_tokens": 500 - 2 * 14}}


async def test_ok_statuses_are_not_errors() -> None:
    """A status in `ok_statuses` is not an error; every other one outside of 2xx is, also 304."""
    script = Script(text("", status=304), reply(404), text("", status=304))
    async with Client(BASE, transport=script) as api:
        response = await api.get("/x", AsyncAPIResponse[Any], ok_statuses={304, 404})
        assert response.status == 304
        assert await api.get("/x", ok_statuses=[404]) == {}
        with pytest.raises(APIStatusError, match="304"):
            await api.get("/x")


async def test_error_types_of_a_call_merge_over_the_clients() -> None:
    """Error bodies decode by exact status, then "4XX", then "default"; a call's types override the
    client's.
    """
    script = Script(
        reply(404, {"what": "x"}), reply(409, {"code": "c"}), reply(500, {"a": 1}), reply(404, {"code": "n"})
    )
    types: Any = {"4XX": Problem, "default": dict[str, int]}
    async with Client(BASE, error_types=types, max_retries=0, transport=script) as api:
        with pytest.raises(NotFoundError) as missing:
            await api.get("/x", error_types={404: Missing})
        with pytest.raises(ConflictError) as conflict:
            await api.get("/x", error_types={404: Missing})
        with pytest.raises(InternalServerError) as failed:
            await api.get("/x")
        with pytest.raises(NotFoundError) as other:
            await api.get("/x")

    assert [raised.value.body for raised in (missing, conflict, failed, other)] == [
        Missing("x"), Problem("c"), {"a": 1}, Problem("n"),
    ]  # fmt: skip
    assert conflict.value.code == "c"


async def test_an_error_body_that_does_not_fit_masks_nothing() -> None:
    """An error body that does not decode to its type stays plain data, and the status error is raised."""
    script = Script(reply(404, {"other": 1}), text("<h1>no</h1>", "text/html", 404))
    async with Client(BASE, error_types={404: Missing}, transport=script) as api:
        with pytest.raises(NotFoundError) as plain:
            await api.get("/x")
        with pytest.raises(NotFoundError) as page:
            await api.get("/x")

    assert plain.value.body == {"other": 1}
    assert page.value.body == "<h1>no</h1>"


async def test_follow_redirects_of_a_call() -> None:
    """`follow_redirects=False` on a call raises the redirect as a status error, with its Location."""
    script = Script(reply(302, Location="/v1/y"), reply(302, Location="/v1/y"), reply())
    async with Client(BASE, transport=script) as api:
        with pytest.raises(APIStatusError) as raised:
            await api.get("/x", follow_redirects=False)
        assert await api.get("/x") == {}

    assert raised.value.response is not None
    assert str(raised.value.response.location) == f"{BASE}/y"


async def test_max_body_of_a_call() -> None:
    """`max_body` limits the body of a call in bytes; None removes the limit."""

    async def unread(request: APIRequest) -> AsyncAPIResponse[Any]:
        head = CIMultiDictProxy(CIMultiDict({"Content-Type": "text/plain"}))
        return AsyncAPIResponse(request, 200, head, BytesSource(b"12345", request))

    async with Client(BASE, max_body=4, transport=unread) as api:
        assert await api.get("/x", str, max_body=5) == "12345"
        assert await api.get("/x", str, max_body=None) == "12345"
        with pytest.raises(BodyTooLargeError) as raised:
            await api.get("/x", str)

    assert (raised.value.limit, raised.value.status) == (4, 200)


async def test_an_auth_of_a_call() -> None:
    """`auth` of a call replaces the client's; None sends none; omitted, the client's is sent."""
    script = Script()
    async with Client(BASE, auth=BearerAuth("client"), transport=script) as api:
        await api.get("/x")
        await api.get("/x", auth=BearerAuth("call"))
        await api.get("/x", auth=None)

    assert [request.headers.get("Authorization") for request in script.requests] == [
        "Bearer client", "Bearer call", None,
    ]  # fmt: skip


async def test_extensions_reach_every_middleware() -> None:
    """`extensions` is one dict per call, the same for all attempts, and never the caller's own."""
    given = {"tenant": 1}
    seen: list[dict[str, Any]] = []

    async def count(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
        request.extensions["calls"] = request.extensions.get("calls", 0) + 1
        seen.append(request.extensions)
        return await handler(request)  # type: ignore[no-any-return]

    async with Client(BASE, middlewares=[count], transport=Script(reply(503), reply())) as api:
        await api.get("/x", extensions=given)
        await api.get("/x")

    assert given == {"tenant": 1}
    assert seen == [{"tenant": 1, "calls": 1}, {"calls": 1}]


async def test_idempotent_of_a_call() -> None:
    """`idempotent=True` lets a POST be retried, `idempotent=False` prevents it for a GET."""
    script = Script(reply(500))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(InternalServerError) as post:
            await api.post("/x", idempotent=True)
        with pytest.raises(InternalServerError) as get:
            await api.get("/x", idempotent=False)

    assert (post.value.retries_taken, get.value.retries_taken) == (2, 0)


async def test_sentinels_stand_for_what_is_left_out() -> None:
    """`NOT_GIVEN` for the body's kinds equals omitting them; in an object it drops the member."""
    assert (await last_request(json=NOT_GIVEN)).body is None
    sent = (await last_request(json={"a": NOT_GIVEN, "b": OMIT, "c": None})).body

    assert sent is not None
    assert sent.content == b'{"c":null}'


async def test_strictness_stays_with_the_client() -> None:
    """Validation is the client's or the view's: a call has no option for it."""
    assert "strict_response_validation" not in CallOptions.__annotations__
    async with Client(BASE, transport=Script(reply(json={"code": 1}))) as api:
        with pytest.raises(APIResponseValidationError, match=r"\$\.code"):
            await api.get("/x", Problem)


async def test_calls_of_one_path_have_urls_of_their_own() -> None:
    """A call is built from an earlier one of the same path, and uses neither its values nor its query."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        for name, params in (("a", {"page": 1}), ("b/c", None), ("d", {"page": [2, 3]})):
            await api.get("/{name}", path_params={"name": name}, params=params)
        await api.get("/x", params={"page": 1})
        await api.get("/x")
        await api.get("/x", params={})

    urls = [str(request.url).removeprefix(BASE) for request in script.requests]
    assert urls == ["/a?page=1", "/b%2Fc", "/d?page=2&page=3", "/x?page=1", "/x", "/x"]
    assert [dict(request.path_params) for request in script.requests[:3]] == [
        {"name": "a"},
        {"name": "b/c"},
        {"name": "d"},
    ]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"path_params": {"name": ""}}, InvalidRequestError),
        ({"path_params": {"other": 1}}, InvalidRequestError),
        ({"path_params": ["name"]}, TypeError),
        ({"params": {"a": b"bytes"}, "path_params": {"name": 1}}, TypeError),
        ({}, InvalidRequestError),
    ],
)
async def test_each_call_of_one_path_is_checked(given: dict[str, Any], error: type[Exception]) -> None:
    """A mistake is refused before anything is sent, even after a valid call of the same path."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        with pytest.raises(error):
            await api.get("/{name}", **given)
        await api.get("/{name}", path_params={"name": "a"})
        with pytest.raises(error):
            await api.get("/{name}", **given)

    assert len(script.requests) == 1


# --- middlewares reading options


async def test_a_middleware_reads_how_the_body_is_read() -> None:
    """`decompress` and `max_body` of a request are those of the call, or else the client's."""
    script = Script()
    async with Client(BASE, transport=script, max_body=9) as api:
        await api.get("/x")
        await api.get("/x", decompress=False, max_body=None)

    assert [(sent.decompress, sent.max_body) for sent in script.requests] == [(True, 9), (False, None)]
