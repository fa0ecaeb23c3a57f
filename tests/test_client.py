"""`AsyncAPIClient`: its constructor, its verbs, and the hooks of its subclasses."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import date
from typing import Any

import aiohttp
import msgspec
import pytest
from helpers import BASE, Client, Script, reply, text
from yarl import URL

from aioapiclient import (
    NOT_GIVEN,
    APIRequest,
    APIStatusError,
    AsyncAPIClient,
    AsyncAPIResource,
    AsyncAPIResponse,
    Auth,
    BadRequestError,
    BearerAuth,
    ClientClosedError,
    InvalidRequestError,
    NotFoundError,
    NumberedPage,
    Omit,
    QueryStyle,
    RequestOptions,
    RetryPolicy,
    Timeout,
    __version__,
    default_chain,
    per_attempt,
    per_send,
)


class User(msgspec.Struct):
    id: int
    login: str = ""


class Point:
    """A class that msgspec does not know."""

    def __init__(self, text: str) -> None:
        self.text = text


class Shape(msgspec.Struct):
    corner: Point


def sync_middleware(request: Any, handler: Any) -> Any:
    """Values that are not middlewares."""


# --- the constructor


def test_the_constructor_has_the_keywords_of_the_design() -> None:
    """The constructor takes the base URL and the documented keywords, with their defaults."""
    parameters = dict(inspect.signature(AsyncAPIClient).parameters)

    assert parameters.pop("base_url").kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "version": "0",
        "auth": None,
        "default_headers": None,
        "default_params": None,
        "query_style": QueryStyle(),
        "max_retries": NOT_GIVEN,
        "retry": None,
        "timeout": NOT_GIVEN,
        "middlewares": (),
        "chain": None,
        "strict_response_validation": True,
        "dec_hook": None,
        "enc_hook": None,
        "encoder": None,
        "decoders": None,
        "error_types": None,
        "error_detail": True,
        "idempotency_header": None,
        "request_id_header": "x-request-id",
        "follow_redirects": True,
        "trusted_origins": (),
        "max_body": 64 << 20,
        "session": None,
        "transport": None,
    }


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"base_url": "api.example.com"}, InvalidRequestError, "must start with http.* 'api.example.com'"),
        ({"base_url": "ftp://h/"}, InvalidRequestError, "base_url must start with http:// or https://"),
        ({"base_url": "https://h/v1?a=1"}, InvalidRequestError, "base_url .* has a query .* default_params"),
        ({"base_url": "https://user:secret@h/"}, InvalidRequestError, "base_url contains userinfo; .*Basic"),
        ({"base_url": None}, TypeError, "base_url must be a str or a URL, not NoneType"),
        ({"max_retries": -1}, InvalidRequestError, "max_retries must be 0 or more, not -1"),
        ({"max_retries": None}, TypeError, "max_retries must be an int of 0 or more, not None; 0 switches"),
        ({"max_retries": 1.5}, TypeError, "max_retries must be an int of 0 or more, not 1.5"),
        ({"max_retries": True}, TypeError, "max_retries must be an int of 0 or more, not bool"),
        ({"max_retries": "2"}, TypeError, "max_retries must be an int of 0 or more, not str"),
        ({"retry": 3}, TypeError, "retry must be a RetryPolicy, not int"),
        ({"timeout": 0}, InvalidRequestError, "Timeout total must be above 0 seconds, not 0"),
        ({"timeout": -1.5}, InvalidRequestError, "Timeout total must be above 0 seconds, not -1.5"),
        ({"timeout": float("nan")}, InvalidRequestError, "Timeout total must be above 0 seconds, not nan"),
        ({"timeout": "5"}, TypeError, "Timeout total must be a number of seconds, not str; None removes"),
        ({"timeout": True}, TypeError, "Timeout total must be a number of seconds, not bool"),
        ({"middlewares": [sync_middleware]}, TypeError, "middleware sync_middleware is not async"),
        ({"middlewares": [42]}, TypeError, "middleware int is not callable"),
        ({"middlewares": [Script]}, TypeError, "middleware Script is a class; pass an instance of it"),
        ({"middlewares": "retry"}, TypeError, "middlewares must be an iterable of middlewares, not one str"),
        ({"middlewares": Script()}, TypeError, "middlewares must be an iterable of middlewares, not Script"),
        ({"chain": [sync_middleware]}, TypeError, "middleware sync_middleware is not async"),
        ({"chain": "retry"}, TypeError, "chain must be an iterable of middlewares, not one str"),
        ({"auth": "s3cr3t"}, TypeError, "auth str has no async authenticate"),
        ({"auth": BearerAuth}, TypeError, "auth BearerAuth is a class; pass an instance of it"),
        ({"default_headers": {"Host": "h"}}, InvalidRequestError, "header Host cannot be set by a caller"),
        ({"default_headers": {"A B": ""}}, InvalidRequestError, "header name 'A...' is not a token"),
        ({"default_headers": {"A": "s3cr3t\r\n"}}, InvalidRequestError, "header A contains a control char"),
        ({"default_headers": [("A", "b")]}, TypeError, "headers must be a mapping.* not list"),
        ({"trusted_origins": "https://h"}, TypeError, "trusted_origins must be an iterable of patterns"),
        ({"trusted_origins": ["h"]}, InvalidRequestError, "trusted origin 'h' must be http:// or https://"),
        ({"error_types": {"4xx": User}}, InvalidRequestError, "error_types: '4xx' must be a status"),
        ({"idempotency_header": "A B"}, InvalidRequestError, "header name 'A...' is not a token"),
        ({"max_body": -1}, InvalidRequestError, "max_body must be 0 bytes or more, not -1; None removes"),
        ({"max_body": "1"}, TypeError, "max_body must be an int of 0 bytes or more, not str"),
        ({"transport": 5}, TypeError, "transport must be a handler, not int"),
        ({"transport": sync_middleware}, TypeError, "transport must be a handler, not function"),
        ({"transport": Script}, TypeError, "transport.* Script is a class"),
        ({"session": object()}, TypeError, "session must be an aiohttp.ClientSession, not a builtins.object"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_refused_with_its_name(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """A bad argument is refused when the client is created; the message names the value and the expected
    type.
    """
    given = {"base_url": BASE, **options}

    with pytest.raises(error, match=message) as raised:
        AsyncAPIClient(**given)

    assert "s3cr3t" not in str(raised.value)


def test_retries_are_given_once() -> None:
    """`max_retries` beside a complete policy is refused: one of them would be ignored."""
    with pytest.raises(TypeError, match="max_retries is a shorthand of retry; pass only one"):
        AsyncAPIClient(BASE, max_retries=1, retry=RetryPolicy())


def test_an_unknown_keyword_is_refused() -> None:
    """An argument that the constructor does not know is Python's own TypeError, with its name."""
    with pytest.raises(TypeError, match="max_retry"):
        AsyncAPIClient(BASE, max_retry=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "options",
    [
        {"auth": BearerAuth("t")},
        {"default_headers": {"a": "b"}},
        {"retry": RetryPolicy()},
        {"trusted_origins": ["https://h"]},
        {"middlewares": [Script()]},
    ],
)
def test_a_chain_refuses_what_would_live_in_the_default_chain(options: dict[str, Any]) -> None:
    """`chain=` with an argument that only configures the default chain is a TypeError that names it."""
    (name,) = options

    with pytest.raises(TypeError, match=f"{name} belongs to the default chain.*default_chain"):
        AsyncAPIClient(BASE, chain=default_chain(), **options)


async def test_session_and_transport_exclude_each_other() -> None:
    """A session and a transport together are refused: the session belongs into the transport."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(TypeError, match="session and transport were both given"):
            AsyncAPIClient(BASE, session=session, transport=Script())


def test_a_client_is_made_without_a_running_loop() -> None:
    """A client can be created at module level, where no event loop runs."""
    client = AsyncAPIClient(BASE)

    assert not client.is_closed()
    assert client.base_url == URL(BASE)
    assert client.timeout == Timeout(total=600, attempt=None, connect=5, read=60, write=60, pool=None)
    assert repr(client) == f"<AsyncAPIClient {BASE}>"


async def test_one_shot_iterables_are_kept() -> None:
    """Middlewares, trusted origins and a chain passed as iterators are still complete for a view made
    later.
    """
    script = Script(reply())

    async def mark(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
        request.headers["X-Mark"] = "1"
        return await handler(request)  # type: ignore[no-any-return]

    async with Client(
        BASE, middlewares=iter([mark]), trusted_origins=iter(["https://b"]), transport=script
    ) as api:
        await api.with_options(version="2").get("/x")
        await api.with_options(version="2").get("https://b/x", headers={"A": "kept"})

    assert [request.headers["X-Mark"] for request in script.requests] == ["1", "1"]
    assert script.last.headers["A"] == "kept"


# --- the verbs


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
async def test_a_verb_sends_its_method_and_decodes(method: str) -> None:
    """Each verb sends its own method, fills the path and returns the body as the requested type."""
    script = Script(reply(json={"id": 7, "login": "ada"}))
    async with Client(BASE, transport=script) as api:
        user = await getattr(api, method)("/users/{id}", User, path_params={"id": 7}, params={"q": "a b"})

    assert user == User(7, "ada")
    assert script.last.method == method.upper()
    assert script.urls == [f"{BASE}/users/7?q=a%20b"]
    assert script.last.template == "/users/{id}"
    assert script.last.path_params == {"id": 7}


async def test_head_gives_the_response() -> None:
    """HEAD has no body to decode: it returns the response itself."""
    async with Client(BASE, transport=Script(text("", status=204))) as api:
        response = await api.head("/x")

    assert isinstance(response, AsyncAPIResponse)
    assert response.method == "HEAD"
    assert response.status == 204


async def test_request_takes_any_method() -> None:
    """`request` sends the method that it is given, in capitals, also one that this
    library has no verb for.
    """
    script = Script()
    async with Client(BASE, transport=script) as api:
        assert await api.request("propfind", "/x") == {}
        assert await api.request("M-SEARCH", URL("/x")) == {}

    assert [request.method for request in script.requests] == ["PROPFIND", "M-SEARCH"]


@pytest.mark.parametrize(
    ("method", "error"), [("", InvalidRequestError), ("GE T", InvalidRequestError), (7, TypeError)]
)
async def test_a_method_that_is_not_a_token_is_refused(method: Any, error: type[Exception]) -> None:
    """A method that is not a token is refused before anything is sent."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        with pytest.raises(error, match=r"[Mm]ethod"):
            await api.request(method, "/x")

    assert not script.requests


async def test_without_cast_to_the_result_is_plain_data() -> None:
    """A call without a type returns plain data."""
    async with Client(BASE, transport=Script(reply(json=[{"id": 1}]))) as api:
        assert await api.get("/x") == [{"id": 1}]


@pytest.mark.parametrize(
    ("cast_to", "answer", "value"),
    [
        (list[User], reply(json=[{"id": 1}]), [User(1)]),
        (User | None, reply(json=None), None),
        (User | None, reply(json={"id": 3}), User(3)),
        (dict[str, int], reply(json={"a": 1}), {"a": 1}),
        (bytes, text("<>", "image/png"), b"<>"),
        (str, text("<>", "text/html"), "<>"),
        (None, text("anything", "text/html"), None),
        (date, reply(json="2026-11-22"), date(2026, 11, 22)),
        (User | None, text("", status=204), None),
    ],
)
async def test_the_body_is_decoded_to_cast_to(cast_to: Any, answer: Any, value: Any) -> None:
    """The result has the type of `cast_to`: any type that msgspec decodes, bytes, text, or None."""
    async with Client(BASE, transport=Script(answer)) as api:
        assert await api.get("/x", cast_to) == value


async def test_the_response_itself_can_be_asked_for() -> None:
    """`AsyncAPIResponse[T]` as the type returns the response, which parses to T."""
    async with Client(BASE, transport=Script(reply(201, {"id": 1}, X_Request_Id="r1"))) as api:
        response = await api.post("/x", AsyncAPIResponse[User])

    assert (response.status, response.request_id, response.retries_taken) == (201, "r1", 0)
    assert await response.parse() == User(1)


async def test_the_raw_response_is_what_the_transport_has() -> None:
    """`aiohttp.ClientResponse` as the type returns the transport's own; a transport without one raises."""
    async with Client(BASE, transport=Script(text("x"))) as api:
        with pytest.raises(TypeError, match=r"no aiohttp.ClientResponse: use AiohttpTransport"):
            await api.get("/x", aiohttp.ClientResponse)


async def test_an_undelivered_response_is_closed() -> None:
    """If an unread response cannot be returned, its connection is still released."""
    script = Script(text("x"))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(TypeError):
            await api.get("/x", aiohttp.ClientResponse)
        assert script.open_responses == 0


async def test_a_type_that_cannot_be_decoded_is_refused_before_sending() -> None:
    """A type that nothing can be decoded to is a TypeError that names it, before anything is sent."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        with pytest.raises(TypeError, match="Point"):
            await api.get("/x", Point)
        with pytest.raises(TypeError, match=r"cast_to .*Shape\.corner: Point needs a dec_hook"):
            await api.post("/x", list[Shape], json={})
        with pytest.raises(TypeError, match=r"Shape\.corner"):
            async with api.stream("POST", "/x", Shape, json={}):
                pass
        with pytest.raises(TypeError, match=r"error_types\[404\] Shape cannot be decoded: Shape\.corner"):
            await api.post("/x", json={}, error_types={404: Shape})
        with pytest.raises(TypeError, match=r"cast_to \[Shape\] .*write list\[Shape\]"):
            await api.post("/x", [Shape], json={})  # type: ignore[call-overload]
        with pytest.raises(TypeError, match=r"model \[Shape\] .*write list\[Shape\]"):
            api.get_api_list("/x", [Shape], NumberedPage)  # type: ignore[call-overload]

    assert not script.requests


async def test_the_hooks_of_msgspec_are_used() -> None:
    """`dec_hook` decodes and `enc_hook` encodes types that msgspec does not know."""
    script = Script(reply(json=["a"]))
    client = Client(
        BASE,
        dec_hook=lambda wanted, value: wanted(value),
        enc_hook=lambda value: value.text,
        transport=script,
    )
    async with client as api:
        points = await api.post("/x", list[Point], json={"point": Point("b")})

    assert [point.text for point in points] == ["a"]
    assert script.bodies == [b'{"point":"b"}']


async def test_lenient_validation_only_coerces() -> None:
    """`strict_response_validation=False` turns "1" into 1, but still refuses a value of another shape."""
    script = Script(reply(json={"id": "1"}), reply(json={"id": "x"}))
    async with Client(BASE, strict_response_validation=False, transport=script) as api:
        assert await api.get("/x", User) == User(1)
        with pytest.raises(Exception, match=r"\$\.id"):
            await api.get("/x", User)


@pytest.mark.parametrize(
    ("body", "kind", "sent"),
    [
        ({"json": {"a": date(2026, 1, 2)}}, "application/json", b'{"a":"2026-01-02"}'),
        ({"json": None}, "application/json", b"null"),
        ({"data": {"a": [1, 2], "b": "x y"}}, "application/x-www-form-urlencoded", b"a=1&a=2&b=x+y"),
        ({"content": b"\x00"}, None, b"\x00"),
        ({"content": "\xe9"}, "text/plain; charset=utf-8", b"\xc3\xa9"),
        ({"extra_body": {"a": 1}}, "application/json", b'{"a":1}'),
    ],
)
async def test_a_body_of_each_kind(body: dict[str, Any], kind: str | None, sent: bytes) -> None:
    """Each kind of body is sent with the content type that it implies, raw bytes without one."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        await api.post("/x", **body)

    assert script.bodies == [sent]
    assert script.last.headers.get("Content-Type") == kind


async def test_a_get_without_body_has_no_content_type() -> None:
    """A request without a body carries no Content-Type, a POST without one neither."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        await api.get("/x")
        await api.post("/x")

    assert ["Content-Type" in request.headers for request in script.requests] == [False, False]


async def test_the_content_type_of_the_call_wins() -> None:
    """A Content-Type in the call's headers replaces the implied one."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        await api.post("/x", json={}, headers={"content-type": "application/merge-patch+json"})

    assert script.last.headers.getall("Content-Type") == ["application/merge-patch+json"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"json": 1, "data": {}}, TypeError, "json and data were both given"),
        ({"json": 1, "content": b""}, TypeError, "json and content were both given"),
        ({"json": {"a": float("nan")}}, InvalidRequestError, r"nan at \$\.a; JSON has no NaN"),
        ({"json": [1], "extra_body": {"a": 1}}, TypeError, "extra_body needs a JSON object"),
        ({"path_params": {"id": 1, "no": 2}}, InvalidRequestError, "has no {no}, which path_params"),
        ({"path_params": {}}, InvalidRequestError, "needs path_params"),
        ({"path_params": {"id": ".."}}, InvalidRequestError, "'.' or '..' segment"),
        ({"path_params": {"id": ""}}, InvalidRequestError, r"path_params\['id'\] is empty"),
        ({"headers": {"A": "s3cr3t\n"}}, InvalidRequestError, "header A contains a control character"),
        ({"headers": {"Content-Length": "1"}}, InvalidRequestError, "header Content-Length cannot be"),
        ({"headers": {"A": 1}}, TypeError, "value of header A must be a str, not int"),
        ({"max_retries": -1}, InvalidRequestError, "max_retries must be 0 or more, not -1"),
        ({"max_retries": None}, TypeError, "max_retries must be an int of 0 or more, not None"),
        ({"max_retries": 1.5}, TypeError, "max_retries must be an int of 0 or more, not 1.5"),
        ({"retry": 3}, TypeError, "retry must be a RetryPolicy, not int"),
        ({"timeout": 0}, InvalidRequestError, "Timeout total must be above 0 seconds, not 0"),
        ({"timeout": -1}, InvalidRequestError, "Timeout total must be above 0 seconds, not -1"),
        ({"middlewares": [sync_middleware]}, TypeError, "middleware sync_middleware is not async"),
        ({"middlewares": "retry"}, TypeError, "middlewares must be an iterable of middlewares, not one str"),
        ({"auth": "s3cr3t"}, TypeError, "auth str has no async authenticate"),
        ({"idempotent": "yes"}, TypeError, "idempotent must be True or False, not str"),
        ({"idempotency_key": "k"}, InvalidRequestError, "the client has no idempotency_header"),
        ({"error_types": {42.0: User}}, InvalidRequestError, "error_types: 42.0 must be a status"),
        ({"max_body": -1}, InvalidRequestError, "max_body must be 0 bytes or more"),
        ({"ok_statuses": 304}, TypeError, "ok_statuses must be an iterable of statuses, not int"),
        ({"timeuot": 3}, TypeError, "unknown option 'timeuot'; did you mean 'timeout'?"),
    ],
)  # fmt: skip
async def test_a_bad_option_is_refused_before_sending(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """A bad option of a call is refused before anything is sent, by a message that names it."""
    script = Script()
    given = {"path_params": {"id": 1}, **options}
    async with Client(BASE, transport=script) as api:
        with pytest.raises(error, match=message) as raised:
            await api.post("/users/{id}", **given)

    assert not script.requests
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "a/%2e%2E/b", "./x"])
async def test_dot_segments_in_the_path_are_refused(path: str) -> None:
    """A path cannot climb out of the base path, by escaped dots neither."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        with pytest.raises(InvalidRequestError, match="segment"):
            await api.get(path)

    assert not script.requests


async def test_a_closed_client_refuses_a_call() -> None:
    """A call on a closed client raises ClientClosedError, with the client's name."""
    api = Client(BASE, transport=Script())
    await api.close()

    with pytest.raises(ClientClosedError, match=r"<Client https://api.example.com/v1> is closed"):
        await api.get("/x")


# --- the hooks of subclasses


class Hooked(Client):
    """Overrides every hook, with attributes that are set after ``super().__init__``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen: list[str] = []
        self.tenant = "t1"

    async def _prepare_options(self, options: RequestOptions, /) -> RequestOptions:
        self.seen.append("options")
        return {**options, "headers": {**options.get("headers", {}), "X-Prepared": "1"}}

    async def _prepare_request(self, request: APIRequest, /) -> None:
        self.seen.append(f"request {request.attempt}")
        request.headers["X-Signed"] = f"{request.method} {request.url.raw_path} {request.headers['X-Tenant']}"

    async def _process_response(self, response: AsyncAPIResponse[Any], cast_to: Any, /) -> Any:
        self.seen.append("response")
        value = await super()._process_response(response, cast_to)
        return value["data"] if isinstance(value, dict) and "data" in value else value

    def _make_status_error(self, response: AsyncAPIResponse[Any], body: Any, /) -> APIStatusError:
        self.seen.append(f"error {body}")
        if response.status == 418:
            return BadRequestError("a teapot", status=418, response=response, body=body)
        return super()._make_status_error(response, body)

    @property
    def auth_headers(self) -> Mapping[str, str]:
        return {"X-Secret": f"secret of {self.tenant}"}

    @property
    def default_headers(self) -> Mapping[str, str | Omit]:
        return {"X-Tenant": self.tenant, **super().default_headers}

    @property
    def default_params(self) -> Mapping[str, Any]:
        return {"tenant": self.tenant}

    @property
    def user_agent(self) -> str:
        return f"hooked ({super().user_agent})"

    def platform_headers(self) -> Mapping[str, str]:
        return {"X-Platform": "p"}

    def _idempotency_key(self) -> str:
        return f"key of {self.tenant}"


async def test_every_hook_is_asked() -> None:
    """Every hook of a subclass is called, also if it uses attributes set after `super().__init__`."""
    script = Script(reply(503), reply(json={"data": [1]}))
    async with Hooked(BASE, version="3", idempotency_header="Idempotency-Key", transport=script) as api:
        value = await api.post("/x", headers={"A": "b"})

    assert value == [1]
    assert api.seen == ["options", "request 0", "request 1", "response"]
    assert len(api.waits) == 1
    headers = script.last.headers
    assert str(script.last.url) == f"{BASE}/x?tenant=t1"
    assert headers["User-Agent"] == f"hooked (Hooked/3 aioapiclient/{__version__})"
    assert headers["X-Platform"] == "p"
    assert headers["X-Tenant"] == "t1"
    assert headers["X-Secret"] == "secret of t1"
    assert headers["X-Prepared"] == "1"
    assert headers["X-Signed"] == "POST /v1/x t1"
    assert headers["Idempotency-Key"] == "key of t1"
    assert headers["A"] == "b"


async def test_an_sdk_makes_its_own_status_errors() -> None:
    """`_make_status_error` receives the response and its decoded body, and its result is raised."""
    async with Hooked(BASE, transport=Script(reply(418, {"a": 1}), reply(404))) as api:
        with pytest.raises(BadRequestError, match="a teapot"):
            await api.get("/x")
        with pytest.raises(NotFoundError):
            await api.get("/x")

    assert "error {'a': 1}" in api.seen


class Signed(Client):
    """Its credential is a header."""

    @property
    def auth_headers(self) -> Mapping[str, str]:
        return {"X-Secret": "1"}


async def test_auth_headers_go_home_only() -> None:
    """`auth_headers` is a credential: it is sent to trusted origins only, and `auth=None` sends none."""
    script = Script()
    async with Signed(BASE, transport=script) as api:
        await api.get("https://elsewhere.example/x")
        await api.get("/x", auth=None)
        await api.get("/x", auth=BearerAuth("t"))

    assert ["X-Secret" in request.headers for request in script.requests] == [False, False, False]


async def test_an_auth_stands_in_for_auth_headers() -> None:
    """`auth=` replaces `auth_headers`."""
    script = Script()
    async with Signed(BASE, auth=BearerAuth("t"), transport=script) as api:
        await api.get("/x")

    assert "X-Secret" not in script.last.headers
    assert script.last.headers["Authorization"] == "Bearer t"


async def test_the_hooks_have_the_documented_names() -> None:
    """Every hook exists, async ones are async, and each has a docstring."""
    hooks = {
        "_prepare_options": True,
        "_prepare_request": True,
        "_process_response": True,
        "_sleep_for_retry": True,
        "_make_status_error": False,
        "_idempotency_key": False,
        "platform_headers": False,
    }
    for name, is_async in hooks.items():
        hook = getattr(AsyncAPIClient, name)
        assert inspect.iscoroutinefunction(hook) is is_async, name
        assert hook.__doc__, name
    for name in ("auth_headers", "default_headers", "default_params", "user_agent"):
        assert isinstance(getattr(AsyncAPIClient, name), property), name


async def test_the_default_user_agent_names_the_sdk() -> None:
    """The User-Agent has the class with its version, then this library; a call may override it."""
    script = Script()

    class GitHub(Client):
        pass

    async with GitHub(BASE, version="1.2", transport=script) as api:
        await api.get("/x")
        await api.get("/x", headers={"user-agent": "mine"})

    assert [request.headers["User-Agent"] for request in script.requests] == [
        f"GitHub/1.2 aioapiclient/{__version__}",
        "mine",
    ]


async def test_idempotency_keys() -> None:
    """With the header named, POST and PATCH get a key, the same on every attempt; GET and PUT get none."""
    script = Script(reply(503, Retry_After="1"), reply())
    async with Client(BASE, idempotency_header="Idempotency-Key", transport=script) as api:
        await api.post("/x")
        await api.patch("/x")
        await api.get("/x")
        await api.put("/x")
        await api.put("/x", idempotency_key="mine")
        await api.post("/x", headers={"idempotency-key": "own"})

    keys = [request.headers.get("Idempotency-Key") for request in script.requests]
    assert keys[0] == keys[1]
    assert keys[0]
    assert keys[2]
    assert keys[2] != keys[0]
    assert keys[3:] == [None, None, "mine", "own"]
    assert [request.idempotency_key for request in script.requests] == keys


class TokenEndpoint(Auth):
    """An auth that needs separate calls."""

    def __init__(self) -> None:
        self.client: Any = None

    def bind(self, client: Any) -> None:
        self.client = client

    async def authenticate(self, request: APIRequest, /) -> None:
        if "Authorization" not in request.headers:
            token = await self.client.post("/token", str)
            request.headers["Authorization"] = f"Bearer {token}"


async def test_an_auth_makes_calls_through_its_client() -> None:
    """An auth with `bind` gets a view of the client without credential, and calls through it with the first
    send.
    """
    script = Script(text("t0k3n"), reply(json={"id": 1}))
    async with Client(BASE, auth=TokenEndpoint(), transport=script) as api:
        assert await api.get("/x", User) == User(1)

    assert script.urls == [f"{BASE}/token", f"{BASE}/x"]
    assert "Authorization" not in script.requests[0].headers
    assert script.last.headers["Authorization"] == "Bearer t0k3n"


async def test_an_auth_of_a_subclass_sees_a_complete_client() -> None:
    """The view that an auth receives has the attributes that a subclass set after `super().__init__`."""
    script = Script(text("t"), reply())

    class Late(Client):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.tenant = "t1"

        @property
        def default_params(self) -> Mapping[str, Any]:
            return {"tenant": self.tenant}

    async with Late(BASE, auth=TokenEndpoint(), transport=script) as api:
        await api.get("/x")

    assert script.urls == [f"{BASE}/token?tenant=t1", f"{BASE}/x?tenant=t1"]


async def test_an_auth_of_one_call_is_bound_too() -> None:
    """An auth given to one call gets its view of the client as well."""
    script = Script(text("t"), reply())
    async with Client(BASE, transport=script) as api:
        await api.get("/x", auth=TokenEndpoint())

    assert script.last.headers["Authorization"] == "Bearer t"


def test_an_auth_without_authenticate_is_refused() -> None:
    """A subclass of Auth that does not override `authenticate` would send no credential: it is refused."""

    class Nothing(Auth):
        pass

    with pytest.raises(TypeError, match="Nothing has no async authenticate"):
        AsyncAPIClient(BASE, auth=Nothing())


async def forgets_to_return(request: APIRequest, handler: Any) -> Any:
    """A middleware without a `return`."""
    await handler(request)


async def forgets_to_await(request: APIRequest, handler: Any) -> Any:
    """A middleware without an `await`."""
    return handler(request)


class GivesTheBody:
    """A middleware that returns another type than a response."""

    async def __call__(self, request: APIRequest, handler: Any) -> Any:
        return await (await handler(request)).read()


WRONG_ANSWERS = [
    (forgets_to_return, "forgets_to_return returned None; write 'return await handler(request)', or"),
    (
        forgets_to_await,
        "forgets_to_await returned a coroutine, so an 'await' is missing; write 'return await",
    ),
    (GivesTheBody(), "GivesTheBody returned a value of type bytes, not a response; AsyncAPIResponse.from_"),
]


@pytest.mark.parametrize("place", [lambda link: link, per_attempt, per_send], ids=["call", "attempt", "send"])
@pytest.mark.parametrize(("middleware", "message"), WRONG_ANSWERS, ids=["None", "coroutine", "bytes"])
@pytest.mark.parametrize("by_call", [False, True], ids=["client", "call"])
async def test_a_middleware_that_gives_no_response_is_named(
    place: Any, middleware: Any, message: str, by_call: bool
) -> None:
    """A middleware that returns another type is named in the error, with the remedy, wherever it is."""
    script = Script()
    links: Any = [place(middleware)]
    async with Client(BASE, middlewares=() if by_call else links, transport=script) as api:
        options: Any = {"middlewares": links} if by_call else {}
        with pytest.raises(TypeError, match=re.escape(f"middleware {message}")):
            await api.get("/x", **options)
        with pytest.raises(TypeError, match=re.escape(f"middleware {message}")):
            async with api.open("GET", "/x", **options):
                pass

    assert len(script.requests) == (0 if middleware is forgets_to_await else 2)
    assert script.open_responses == 0


@pytest.mark.parametrize(
    ("answer", "message"), [(None, "returned None; return a response"), ({}, "a value of type dict, not a")]
)
async def test_a_transport_that_gives_no_response_is_named(answer: object, message: str) -> None:
    """A custom transport that returns another object is named as well."""

    async def dial(request: APIRequest) -> Any:
        return answer

    async with Client(BASE, transport=dial) as api:
        with pytest.raises(TypeError, match=f"transport .*dial .*{message}"):
            await api.get("/x")


def test_argument_errors_name_the_public_method() -> None:
    """Python's error for a wrong argument names the public class and method."""
    api: Any = Client(BASE)
    verbs = ("get", "post", "put", "patch", "delete", "options", "head", "request", "stream", "open")
    for name in (*verbs, "get_api_list", "poll", "with_options", "explain", "stats", "close", "is_closed"):
        with pytest.raises(TypeError) as caught:
            getattr(api, name)(*range(9))

        assert str(caught.value).startswith(f"AsyncAPIClient.{name}() "), name


async def test_a_resource_groups_methods() -> None:
    """`AsyncAPIResource` groups methods of an SDK, and passes its user's options on."""

    class Users(AsyncAPIResource["SDK"]):
        async def get(self, number: int, *, options: Any = None) -> User:
            return await self._client.get("/users/{id}", User, path_params={"id": number}, options=options)

    class SDK(Client):
        @property
        def users(self) -> Users:
            return Users(self)

    script = Script(reply(json={"id": 5}))
    async with SDK(BASE, transport=script) as api:
        assert await api.users.get(5, options={"headers": {"A": "b"}}) == User(5)
        assert repr(api.users) == f"<Users of <SDK {BASE}>>"

    assert script.last.headers["A"] == "b"


async def test_one_shot_content_is_sent() -> None:
    """An async generator as content is sent as it yields."""
    script = Script()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async with Client(BASE, transport=script) as api:
        await api.put("/x", content=chunks())

    assert script.bodies == [b"ab"]


async def test_aclose_is_close() -> None:
    """aclose() calls close(), even of a subclass, on a client and on a response: aclosing() works."""
    closed: list[str] = []

    class Loud(AsyncAPIClient):
        async def close(self) -> None:
            closed.append("closed")
            await super().close()

    async with aclosing(Loud(BASE, transport=Script(reply(200)))) as api, api.open("GET", "/") as response:
        await response.aclose()
        assert response.is_closed
    assert closed == ["closed"]
    assert api.is_closed()
