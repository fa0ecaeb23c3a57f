"""Mistakes that other clients make, each with a test."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import io
import logging
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError, requires
from typing import Any, NamedTuple, TypedDict

import aiohttp
import backoff
import msgspec
import pytest
import servers
from helpers import BASE, Client, Script, reply, text
from servers import Exchange, ok, raw_server, response, until

import aioapiclient
from aioapiclient import (
    OMIT,
    AiohttpTransport,
    APIConnectionError,
    APIKeyAuth,
    APIRequest,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    Auth,
    BearerAuth,
    BodyTooLargeError,
    ClientClosedError,
    Handler,
    InternalServerError,
    InvalidRequestError,
    RetryableError,
    RetryPolicy,
    Timeout,
    default_chain,
    per_attempt,
    per_send,
)
from aioapiclient._codecs.decoders import decoder_for
from aioapiclient.middleware import AuthMiddleware
from aioapiclient.testing import respond

SECRET = "s3cr3t"


class User(msgspec.Struct):
    id: int


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Data:
    a: int


class Row(TypedDict):
    a: int


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, in which every warning is an error."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment or None)


# --- correctness


async def test_a_one_shot_body_is_never_sent_empty() -> None:
    """A one-shot body is sent once: the failure is raised, with a note, and no empty retry is sent."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"abc"

    script = Script(reply(503, Retry_After="1"), reply())
    async with Client(BASE, transport=script) as api:
        with pytest.raises(InternalServerError) as raised:
            await api.put("/x", content=chunks())

    assert script.bodies == [b"abc"]
    assert raised.value.__notes__ == [
        "Not tried again: the body can be sent only once, and sending it had begun"
    ]


@pytest.mark.parametrize("strict", [True, False])
async def test_broken_json_is_our_error(strict: bool) -> None:
    """Broken JSON under a JSON content type is an APIResponseValidationError, strict or not."""
    script = Script(text('{"id":', "application/json"))
    async with Client(BASE, strict_response_validation=strict, transport=script) as api:
        for cast_to in (User, Any, dict[str, int]):
            with pytest.raises(APIResponseValidationError):
                await api.get("/x", cast_to)


@pytest.mark.parametrize("strict", [True, False])
async def test_a_page_of_html_is_not_a_model(strict: bool) -> None:
    """An HTML page with status 200 for a model is an error that names the content type, strict or not."""
    script = Script(text("<html>", "text/html"))
    async with Client(BASE, strict_response_validation=strict, transport=script) as api:
        with pytest.raises(APIResponseValidationError, match="text/html: the body is an HTML page"):
            await api.get("/x", User)


@pytest.mark.parametrize("place", [per_attempt, per_send])
async def test_a_bug_stays_a_bug(place: Any) -> None:
    """A TypeError in a middleware or a hook is neither wrapped nor retried."""
    seen: list[int] = []

    async def buggy(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        seen.append(1)
        raise TypeError("a bug")

    async with Client(BASE, middlewares=[place(buggy)], transport=Script()) as api:
        with pytest.raises(TypeError, match="a bug") as raised:
            await api.get("/x")

    assert seen == [1]
    assert raised.value.__cause__ is None


async def test_a_binary_file_is_content() -> None:
    """A binary file works as content, again after a failure."""
    script = Script(reply(503), reply())
    async with Client(BASE, transport=script) as api:
        await api.put("/x", content=io.BytesIO(b"abc"))

    assert script.bodies == [b"abc", b"abc"]


@pytest.mark.parametrize(
    "value", ["inf", "1e400", "99999999999", "Fri, 29 Sep 99999 16:26:57 GMT", "1_0", "61"]
)
async def test_no_hint_makes_a_call_sleep(value: str) -> None:
    """An absurd Retry-After is ignored: an invalid one leads to the policy's own wait, too long a one ends
    the call.
    """
    script = Script(reply(503, Retry_After=value))
    async with Client(BASE, max_retries=1, transport=script) as api:
        with pytest.raises(InternalServerError):
            await api.get("/x")

    assert all(wait <= 8 for wait in api.waits)


async def test_no_sentinel_is_sent() -> None:
    """No header, URL or body ever contains NOT_GIVEN, OMIT or None."""
    script = Script()
    async with Client(BASE, default_params={"a": None, "b": OMIT}, transport=script) as api:
        await api.post("/x", params={"c": OMIT}, json={"d": OMIT})
    sent = f"{script.last.url} {script.last.headers} {script.bodies}"

    assert not [word for word in ("NOT_GIVEN", "OMIT", "None", "Omit") if word in sent]


def test_a_base_url_with_a_query_is_refused() -> None:
    """A base URL with a query is refused, and the message names the right place for the query."""
    with pytest.raises(InvalidRequestError, match="default_params"):
        Client("https://h/v1?a=1")


@pytest.mark.parametrize("retries", [-1, float("inf"), float("nan"), None, "2", 2.0])
def test_a_number_of_retries_is_checked(retries: Any) -> None:
    """An invalid number of retries is refused where it is passed: to the client, a view, a call, a policy."""
    for refuse in (
        lambda: Client(BASE, max_retries=retries),
        lambda: Client(BASE).with_options(max_retries=retries),
        lambda: RetryPolicy(max_retries=retries),
    ):
        with pytest.raises((TypeError, InvalidRequestError), match="max_retries must be"):
            refuse()


def test_waits_are_jittered_fully() -> None:
    """The default wait is between 0 and the backoff, so that clients do not retry together."""
    policy = RetryPolicy()
    waits = [policy.jitter(8.0) for _ in range(500)]

    assert policy.jitter is backoff.full_jitter
    assert min(waits) >= 0
    assert max(waits) <= 8
    # One time in 2**500 a half stays empty.
    assert any(wait < 4 for wait in waits)
    assert any(wait > 4 for wait in waits)


async def test_repeated_keys_of_a_path_survive() -> None:
    """Keys that a path repeats are all sent, beside parameters as well."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        await api.get("/foo?a=1&a=2", params={"b": 3})

    assert script.urls == [f"{BASE}/foo?a=1&a=2&b=3"]


# --- security


@pytest.mark.parametrize(
    "auth",
    [BearerAuth(SECRET), APIKeyAuth(SECRET), APIKeyAuth(SECRET, param="key")],
    ids=["bearer", "header", "param"],
)
@pytest.mark.parametrize("by", ["absolute URL", "redirect"])
async def test_credentials_stay_at_their_origin(auth: Auth, by: str) -> None:
    """No credential of any kind, and no personal header, reaches a foreign origin: by a URL or a redirect."""
    elsewhere = "https://elsewhere.example/x"
    script = Script(reply(302, Location=elsewhere), reply()) if by == "redirect" else Script()
    async with Client(BASE, auth=auth, default_headers={"X-Own": SECRET}, transport=script) as api:
        await api.get("/x" if by == "redirect" else elsewhere, headers={"X-Call": SECRET})
    last = script.last

    assert str(last.url) == elsewhere
    assert SECRET not in f"{last.url} {last.headers}"


async def test_no_log_tells_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """At the most talkative level no log record holds a header, a query value, a credential or a body."""
    script = Script(reply(503, {"a": SECRET}), APIConnectionError("lost"), reply(json={"a": SECRET}))
    with caplog.at_level(logging.DEBUG):
        async with Client(BASE, auth=BearerAuth(SECRET), transport=script) as api:
            await api.put("/x", params={"q": SECRET}, json={"p": SECRET}, headers={"X-Key": SECRET})

    assert SECRET not in caplog.text
    assert f"PUT {BASE}/x?...: status 503, again in" in caplog.text


@pytest.mark.parametrize("path", ["../x", "a/../../../x", "%2e%2e/x", "a/..;/x"])
async def test_no_path_climbs_out(path: str) -> None:
    """No path leaves the base path, neither as written nor through a value."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        with pytest.raises(InvalidRequestError):
            await api.get(path)
        with pytest.raises(InvalidRequestError):
            await api.get("/{+path}", path_params={"path": "../x"})

    assert not script.requests


async def test_cookies_are_not_kept() -> None:
    """A cookie that a response sets is not sent with the next call: calls share no cookies."""
    script = servers.respond(ok(b"1", Set_Cookie="sid=1"))
    async with raw_server(script) as server, AsyncAPIClient(server.url) as api:
        await api.get("/x")
        await api.with_options(version="2").get("/x")

    assert ["Cookie" in request.headers for request in server.requests] == [False, False]


async def test_a_message_holds_no_body() -> None:
    """The message has method, URL, status and the server's text; the rest of the body is an attribute."""
    async with Client(BASE, transport=Script(reply(400, {"message": "No", "data": SECRET}))) as api:
        with pytest.raises(APIStatusError) as raised:
            await api.get("/x")

    assert str(raised.value) == f"GET {BASE}/x: 400 Bad Request: No"
    assert raised.value.body == {"message": "No", "data": SECRET}


# --- lifecycle and concurrency


async def test_a_view_owns_nothing() -> None:
    """Leaving a view's `async with` leaves the client and its other views usable."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        async with api.with_options(max_retries=0) as view:
            await view.get("/x")
        assert not api.is_closed()
        await api.get("/x")
        await view.get("/x")

    assert len(script.requests) == 3


async def test_nothing_is_scheduled_by_a_collection() -> None:
    """Collecting a client that was never closed creates no task and runs no code: it warns."""
    before = asyncio.all_tasks()
    api = Client(BASE, transport=Script())
    await api.get("/x")
    with pytest.warns(ResourceWarning, match="was never closed"):  # noqa: PT031
        del api
        gc.collect()

    assert asyncio.all_tasks() == before


def test_a_client_survives_its_loop() -> None:
    """A client with a real session works in a second `asyncio.run`."""
    api = AsyncAPIClient("http://127.0.0.1")

    async def call(*, last: bool) -> Any:
        async with raw_server(servers.close(ok(b"5"))) as server:
            try:
                return await api.get(f"{server.url}/x", int)
            finally:
                if last:
                    await api.close()

    assert [asyncio.run(call(last=False)), asyncio.run(call(last=True))] == [5, 5]
    gc.collect()


async def test_a_timeout_bounds_the_whole_call() -> None:
    """A number as timeout covers the whole call, including attempts, waits and a slow body."""

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.005)

    script = Script(lambda request: respond(200, chunks=drip()))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(APITimeoutError) as raised:
            await api.get("/x", timeout=0.05)

    assert raised.value.phase == "total"
    assert len(script.requests) == 1


async def test_no_wait_begins_that_the_deadline_cannot_cover() -> None:
    """A wait longer than the call's time left does not begin: the failure is raised immediately."""
    script = Script(reply(503, Retry_After="20"))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(InternalServerError) as raised:
            await api.get("/x", timeout=10)

    assert api.waits == []
    assert raised.value.retry_after == 20


async def test_a_full_pool_says_so() -> None:
    """A wait for a free connection that takes too long is a separate error, not a fault of the server."""
    hold = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        await hold.wait()
        await exchange.send(response("204 No Content", None))

    transport = AiohttpTransport(connector=lambda: aiohttp.TCPConnector(limit=1))
    async with raw_server(wait) as server, AsyncAPIClient(server.url, transport=transport) as api:
        first = asyncio.create_task(api.get("/x", None))
        await until(lambda: server.requests)
        with pytest.raises(APITimeoutError) as raised:
            await api.get("/x", None, timeout=Timeout(pool=0.02), max_retries=0)
        hold.set()
        await first

    assert (raised.value.phase, raised.value.sent) == ("pool", False)


# --- architecture


async def test_a_middleware_may_be_around_everything() -> None:
    """A middleware can wrap the whole call, including retries and waits; elsewhere it sees each attempt."""
    notes: list[str] = []

    async def whole(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        notes.append("begin")
        response = await handler(request)
        notes.append(f"end after {response.retries_taken} retries")
        return response

    async with Client(BASE, middlewares=[whole], transport=Script(reply(503), reply())) as api:
        await api.get("/x")

    assert notes == ["begin", "end after 1 retries"]


async def test_a_signature_covers_what_is_sent() -> None:
    """A middleware placed per send sees final URL, headers and encoded body, and can sign them."""

    async def sign(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        assert request.body is not None
        request.headers["X-Signed"] = (
            f"{request.url} {request.headers['Authorization']} {request.body.content!r}"
        )
        return await handler(request)

    script = Script()
    async with Client(BASE, auth=BearerAuth("t"), middlewares=[per_send(sign)], transport=script) as api:
        await api.post("/x", params={"a": 1}, json=[1])

    assert script.last.headers["X-Signed"] == f"{BASE}/x?a=1 Bearer t b'[1]'"


async def test_a_middleware_may_change_everything() -> None:
    """A middleware may change method, URL, body, target type and limits of its request."""

    async def changes(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        request.method = "PUT"
        request.url = request.url / "more"
        request.body = aioapiclient.Body(b"other")
        request.cast_to = User
        request.timeout = Timeout(read=1).over(request.timeout)
        return await handler(request)

    script = Script(reply(json={"id": 1}))
    async with Client(BASE, middlewares=[changes], transport=script) as api:
        assert await api.post("/x", json=1) == User(1)

    assert (script.last.method, script.urls, script.bodies) == ("PUT", [f"{BASE}/x/more"], [b"other"])
    assert script.last.limit("read") == 1


async def test_no_mode_is_on_the_wire() -> None:
    """The return type has no effect on the wire: the same headers are sent for a value and a response."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        await api.get("/x", dict[str, int])
        await api.get("/x", AsyncAPIResponse[User])

    assert script.requests[0].headers == script.requests[1].headers


class Challenged(Auth):
    """An auth that renews whenever it is called."""

    async def authenticate(self, request: APIRequest, /) -> None:
        request.headers["Authorization"] = "x"

    async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
        return True


async def test_a_renewal_hangs_on_no_header() -> None:
    """A credential is renewed once per call: no header counts it, and it does not use up a retry."""
    script = Script(reply(401), reply(503), reply(401))
    async with Client(BASE, auth=Challenged(), transport=script) as api:
        with pytest.raises(APIStatusError, match="401") as raised:
            await api.get("/x", headers={"User-Agent": OMIT, "Accept": OMIT})

    assert len(script.requests) == 3
    assert raised.value.retries_taken == 1


async def test_auth_lives_in_one_place() -> None:
    """Only AuthMiddleware handles credentials: a chain without it sends none."""
    chain = [link for link in default_chain(auth=BearerAuth("t")) if not isinstance(link, AuthMiddleware)]
    script = Script()
    async with Client(BASE, chain=chain, transport=script) as api:
        await api.get("/x", auth=BearerAuth("t"))

    assert "Authorization" not in script.last.headers


async def test_the_policy_is_the_users() -> None:
    """Statuses, waits, number and verdict of retries can be set, and a RetryableError carries its delay."""
    delays = iter([RetryableError(retry_after=7), None])

    async def asks(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        error = next(delays, None)
        if error is not None:
            raise error
        return await handler(request)

    async def verdict(request: APIRequest, outcome: Any) -> float | bool | None:
        return 3.0 if getattr(outcome, "status", 0) == 404 and request.attempt == 1 else None

    policy = RetryPolicy(max_retries=5, statuses=frozenset({418}), jitter=lambda wait: wait, verdict=verdict)
    script = Script(reply(404), reply(418), reply(500))
    async with Client(BASE, retry=policy, middlewares=[per_attempt(asks)], transport=script) as api:
        with pytest.raises(InternalServerError):
            await api.get("/x")

    assert api.waits[:2] == [7, 3]
    assert len(script.requests) == 3


async def test_a_post_is_sent_again_only_where_that_is_safe() -> None:
    """A POST that may have been processed is not sent again, unless it has an idempotency key."""
    bare, keyed = Script(APIConnectionError("lost")), Script(APIConnectionError("lost"))
    async with Client(BASE, transport=bare) as api:
        with pytest.raises(APIConnectionError):
            await api.post("/x")
    async with Client(BASE, idempotency_header="Idempotency-Key", transport=keyed) as api:
        with pytest.raises(APIConnectionError):
            await api.post("/x")

    assert len(bare.requests) == 1
    assert len({request.headers["Idempotency-Key"] for request in keyed.requests}) == 1
    assert len(keyed.requests) == 3


def test_no_sync_twin() -> None:
    """The API is async only: no public name has a sync twin."""
    names = set(aioapiclient.__all__)

    assert not {name for name in names if f"Async{name}" in names}


async def test_a_call_makes_nothing_that_it_does_not_send(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a header for it, no idempotency key is created; an error type or policy is not copied per
    call.
    """

    def never() -> Any:
        raise AssertionError("a uuid was made")

    monkeypatch.setattr("uuid.uuid4", never)
    script = Script()
    async with Client(BASE, transport=script) as api:
        await api.post("/x")
        await api.get("/x")

    assert script.requests[0]._settings is script.requests[1]._settings


def test_decoders_are_made_once() -> None:
    """A type is inspected once: its decoder, which goes straight from bytes to values, is kept."""
    assert decoder_for(list[User], "application/json") is decoder_for(
        list[User], "application/json; charset=x"
    )


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("data", [{}, {"id": None}, {"id": "x"}, [], "x", None])
async def test_a_value_has_the_type_it_claims(strict: bool, data: Any) -> None:
    """A missing member, a null and another type raise, even in lenient mode: no object has attributes of a
    wrong type.
    """
    async with Client(BASE, strict_response_validation=strict, transport=Script(reply(json=data))) as api:
        with pytest.raises(APIResponseValidationError):
            await api.get("/x", User)


async def test_a_body_has_a_bound() -> None:
    """A buffered body has a bound, 64 MiB unless another is set, which holds while it arrives."""
    script = Script(respond(200, chunks=[b"x"] * 100))
    async with Client(BASE, max_body=10, transport=script) as api:
        with pytest.raises(BodyTooLargeError) as raised:
            await api.get("/x", bytes)
        assert script.open_responses == 0

    assert raised.value.limit == 10


@pytest.mark.parametrize(
    ("cast_to", "data", "value"),
    [
        (dict, {"a": 1}, {"a": 1}),
        (list, [1], [1]),
        (tuple, [1, 2], (1, 2)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (set[int], [1, 1], {1}),
        (Data, {"a": 1}, Data(1)),
        (Row, {"a": 1}, {"a": 1}),
        (Point, [1, 2], Point(1, 2)),
        (float, 1, 1.0),
    ],
)
async def test_any_type_is_a_target(cast_to: Any, data: Any, value: Any) -> None:
    """Bare containers, tuples, sets, dataclasses, TypedDicts and NamedTuples are targets like any other."""
    async with Client(BASE, transport=Script(reply(json=data))) as api:
        assert await api.get("/x", cast_to) == value


async def test_a_limit_that_was_given_counts() -> None:
    """An explicit limit counts even if it equals the default; a sentinel marks an omitted one."""
    script = Script()
    async with Client(BASE, timeout=3, transport=script) as api:
        await api.get("/x", timeout=Timeout(total=600, connect=5))
        await api.get("/x", timeout=Timeout(connect=5))

    assert [request.limit("total") for request in script.requests] == [600, 3]


async def test_the_wire_is_the_transports_alone() -> None:
    """Keep-alive and limits belong to the connector: the transport's own, or one of the user's factory."""
    made: list[aiohttp.TCPConnector] = []

    def connector() -> aiohttp.TCPConnector:
        asyncio.get_running_loop()
        made.append(aiohttp.TCPConnector(limit=3))
        return made[-1]

    client = AsyncAPIClient("http://127.0.0.1", transport=AiohttpTransport(connector=connector))
    assert made == []
    async with raw_server(servers.respond(ok())) as server, client as api:
        await api.get(f"{server.url}/x")
        await api.get(f"{server.url}/x")
        assert [one.limit for one in made] == [3]

    assert made[0].closed


def test_an_import_brings_and_does_nothing_else() -> None:
    """Importing loads no telemetry or other optional package, and configures no logging, whatever the
    environment.
    """
    code = (
        "import logging, sys, aioapiclient\n"
        "extra = {'opentelemetry', 'pydantic', 'httpx', 'anyio', 'yaml'} & set(sys.modules)\n"
        "print(extra or 'nothing', logging.root.handlers, logging.root.level)\n"
    )
    paths = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    result = run(code, AIOAPICLIENT_LOG="debug", **paths)

    assert (result.stderr, result.stdout) == ("", "nothing [] 30\n")


async def test_every_call_passes_the_middlewares() -> None:
    """A call by a verb passes the chain like any method of an SDK, and nothing is instrumented besides."""
    seen: list[str] = []

    async def span(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        seen.append(f"{request.method} {request.template}")
        return await handler(request)

    async with Client(BASE, middlewares=[span], transport=Script()) as api:
        for verb in (api.get, api.post, api.put, api.patch, api.delete, api.options):
            await verb("/users/{id}", path_params={"id": 1})
        await api.head("/x")

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    assert seen == [*(f"{method} /users/{{id}}" for method in methods), "HEAD /x"]
    try:
        needed = requires("aioapiclient") or []
    except PackageNotFoundError:  # run from a checkout
        needed = []
    assert not [line for line in needed if "opentelemetry" in line and "extra" not in line]


async def test_every_attempt_can_be_watched(caplog: pytest.LogCaptureFixture) -> None:
    """A middleware placed per attempt sees every attempt with its outcome, and each retry is one log
    record.
    """
    seen: list[tuple[int, int]] = []

    async def watch(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        response = await handler(request)
        seen.append((request.attempt, response.status))
        return response

    script = Script(reply(503), reply(500), reply())
    with caplog.at_level(logging.INFO, "aioapiclient"):
        async with Client(BASE, middlewares=[per_attempt(watch)], transport=script) as api:
            await api.get("/x")

    assert seen == [(0, 503), (1, 500), (2, 200)]
    assert [record.name for record in caplog.records] == ["aioapiclient"] * 2


async def test_views_leak_nothing() -> None:
    """Views and the calls made through them are freed after use, on every Python."""
    views: list[weakref.ref[Any]] = []
    async with Client(BASE, transport=Script()) as api:
        for number in range(10):
            view = api.with_options(default_headers={"A": str(number)}, timeout=number + 1)
            await view.get("/x")
            views.append(weakref.ref(view))
            del view
        gc.collect()
        alive = sum(ref() is not None for ref in views)

    assert alive == 0


async def test_a_status_error_is_freed_when_it_is_dropped() -> None:
    """A status error is freed with its response as soon as it is dropped, without the garbage collector."""
    async with Client(BASE, transport=Script(reply(404))) as api:

        async def fail() -> weakref.ref[APIStatusError]:
            with pytest.raises(APIStatusError) as caught:
                await api.get("/x")
            error = weakref.ref(caught.value)
            del caught
            return error

        gc.collect()
        gc.disable()
        try:
            assert (await fail())() is None
        finally:
            gc.enable()


async def test_a_closed_client_is_named() -> None:
    """After close a call reports that the client is closed, and is not retried as a lost connection."""
    api = Client(BASE, transport=Script())
    await api.close()

    with pytest.raises(ClientClosedError, match="is closed"):
        await api.get("/x")
