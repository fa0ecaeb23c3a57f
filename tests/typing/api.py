"""The types of the client as seen by checkers: `assert_type` for every verb, option, view, resource and
error.

Nothing here runs: `tox -e types` checks it with mypy and pyright, strictly.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, BinaryIO, Literal, TypeAlias, TypedDict, Unpack, assert_type

import aiohttp
import msgspec
from yarl import URL

from aioapiclient import (
    NOT_GIVEN,
    OMIT,
    APIKeyAuth,
    APIRequest,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResource,
    AsyncAPIResponse,
    AsyncStream,
    Auth,
    BaseAPIResponse,
    BasicAuth,
    BearerAuth,
    Body,
    CallOptions,
    Handler,
    JSONLStream,
    Middleware,
    NotGiven,
    Omit,
    Open,
    QueryStyle,
    RateLimitError,
    RequestOptions,
    RetryBudget,
    RetryPolicy,
    Timeout,
    Token,
    TokenCache,
    Unknown,
    default_chain,
    load_middleware,
    per_attempt,
    per_send,
)


class User(msgspec.Struct):
    """A model."""

    id: int


class Cat(msgspec.Struct, tag=True):
    """One of two."""

    name: str


class Dog(msgspec.Struct, tag=True):
    """The other."""

    name: str


class Row(TypedDict):
    """Typed plain data."""

    id: int


class SDK(AsyncAPIClient):
    """A client built on ours."""

    @property
    def users(self) -> Users:
        """A resource."""
        return Users(self)

    @property
    def default_headers(self) -> Mapping[str, str | Omit]:
        """Its layer of headers."""
        return {**super().default_headers, "X-SDK": "1", "X-Not": OMIT}

    async def _prepare_options(self, options: RequestOptions, /) -> RequestOptions:
        return {**options, "max_retries": 1}

    async def _prepare_request(self, request: APIRequest, /) -> None:
        assert_type(request.url, URL)
        request.headers["X-Signature"] = "s"

    async def _process_response(self, response: AsyncAPIResponse[Any], cast_to: Any, /) -> Any:
        return await super()._process_response(response, cast_to)

    def _make_status_error(self, response: AsyncAPIResponse[Any], body: Any, /) -> APIStatusError:
        return APIStatusError("x", status=response.status, response=response, body=body)


class Users(AsyncAPIResource[SDK]):
    """A resource of the SDK."""

    async def get(self, number: int, **options: Unpack[CallOptions]) -> User:
        """One user."""
        assert_type(self._client, SDK)
        user = await self._client.get("/users/{id}", User, path_params={"id": number}, options=options)
        return assert_type(user, User)


async def verbs(api: AsyncAPIClient) -> None:
    """Every verb returns the type of `cast_to`, and plain data without it."""
    assert_type(await api.get("/x", User), User)
    assert_type(await api.post("/x", User, json={"a": 1}), User)
    assert_type(await api.put("/x", User, data=[("a", "b")]), User)
    assert_type(await api.patch("/x", User, content=b""), User)
    assert_type(await api.delete("/x", User), User)
    assert_type(await api.options("/x", User), User)
    assert_type(await api.request("GET", URL("/x"), User), User)
    assert_type(await api.head("/x"), AsyncAPIResponse[None])

    assert_type(await api.get("/x"), Any)
    assert_type(await api.post("/x"), Any)
    assert_type(await api.put("/x"), Any)
    assert_type(await api.patch("/x"), Any)
    assert_type(await api.delete("/x"), Any)
    assert_type(await api.options("/x"), Any)
    assert_type(await api.request("GET", "/x"), Any)


Pet: TypeAlias = Open[Cat | Dog]
"""Assigned first: mypy mistakes ``Open[Cat | Dog]`` as a direct argument for a call."""


async def targets(api: AsyncAPIClient) -> None:
    """Unions, containers and special types are exact."""
    assert_type(await api.get("/x", list[User]), list[User])
    assert_type(await api.get("/x", User | None), User | None)
    assert_type(await api.get("/x", Cat | Dog), Cat | Dog)
    assert_type(await api.get("/x", list[Cat | Dog]), list[Cat | Dog])
    assert_type(await api.get("/x", Pet), Cat | Dog | Unknown)
    assert_type(await api.get("/x", list[Open[Cat | Dog]]), list[Cat | Dog | Unknown])
    assert_type(await api.get("/x", dict[str, list[int]]), dict[str, list[int]])
    assert_type(await api.get("/x", tuple[int, ...]), tuple[int, ...])
    assert_type(await api.get("/x", Row), Row)
    assert_type(await api.get("/x", Literal["a", "b"]), Literal["a", "b"])
    assert_type(await api.get("/x", Annotated[int, msgspec.Meta(ge=0)]), int)
    assert_type(await api.get("/x", bytes), bytes)
    assert_type(await api.get("/x", str), str)
    assert_type(await api.delete("/x", None), None)
    assert_type(await api.get("/x", AsyncAPIResponse[User]), AsyncAPIResponse[User])
    assert_type(await api.get("/x", aiohttp.ClientResponse), aiohttp.ClientResponse)


async def streams(api: AsyncAPIClient) -> None:
    """The events of a stream are of the type of `cast_to`, and plain data without it."""
    assert_type(await api.post("/x", User, stream=True), AsyncStream[User])
    assert_type(await api.get("/x", stream=True), AsyncStream[Any])
    async with api.stream("GET", "/x", Cat | Dog, stream_cls=JSONLStream, timeout=3) as pets:
        assert_type(pets, AsyncStream[Cat | Dog])
        async for pet in pets:
            assert_type(pet, Cat | Dog)
    async with api.stream("POST", "/x", json={"a": 1}) as plain:
        assert_type(plain, AsyncStream[Any])
    async with api.open("GET", "/x", params={"a": 1}) as response:
        assert_type(response, AsyncAPIResponse[Any])
    api.stream("GET", "/x", User, until=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    api.stream("GET", "/x", User, time_out=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def options(api: AsyncAPIClient) -> None:
    """Every option is typed; keywords and user options can be combined."""
    users: CallOptions = {"timeout": None, "headers": {"A": OMIT}, "auth": None, "max_body": None}
    await api.post(
        "/users/{id}",
        User,
        path_params={"id": 1},
        params={"a": [1, 2], "b": OMIT},
        headers={"A": "b", "C": OMIT},
        json={"a": NOT_GIVEN},
        extra_body={"b": None},
        timeout=Timeout(total=3, read=None),
        max_retries=0,
        retry=RetryPolicy(max_retries=1, statuses=frozenset({500}), budget=RetryBudget(), retry_unsafe=True),
        auth=BearerAuth("t"),
        idempotency_key="k",
        idempotent=True,
        ok_statuses={304, 404},
        error_types={404: User, "4XX": Row, "default": Any},
        follow_redirects=False,
        max_body=1,
        middlewares=[passes, per_attempt(passes), per_send("retry"), "retry"],
        extensions={"tenant": 1},
        options=users,
    )
    await api.get("/x", User, time_out=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownVariableType]
    await api.get("/x", User, max_retries="3")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownVariableType]


async def contents(api: AsyncAPIClient, chunks: AsyncIterator[bytes], file: BinaryIO) -> None:
    """Content may be bytes, text, a file, a body or an iterable."""
    await api.put("/x", content=file)
    await api.put("/x", content="text")
    await api.put("/x", content=chunks)
    await api.put("/x", content=[b"a"])
    await api.put("/x", content=Body(b"a", content_type="text/csv"))


async def life(session: aiohttp.ClientSession, transport: Handler) -> None:
    """A client is its own context, and its views have its own type."""
    async with SDK("https://h", session=session) as api:
        assert_type(api, SDK)
        assert_type(api.users, Users)
        assert_type(await api.users.get(1, timeout=3), User)
    other = SDK(
        URL("https://h"),
        version="1",
        auth=APIKeyAuth("k", param="key"),
        default_headers={"A": OMIT},
        default_params={"a": 1},
        query_style=QueryStyle(arrays="comma"),
        max_retries=1,
        timeout=3,
        middlewares=["retry", passes],
        error_types={404: User},
        transport=transport,
    )
    view = other.with_options(
        timeout=None, auth=BasicAuth("u", "p"), default_headers={"B": "c"}, middlewares=None
    )
    assert_type(view, SDK)
    assert_type(view.copy(max_retries=0), SDK)
    assert_type(view.base_url, URL)
    assert_type(view.timeout, Timeout)
    assert_type(view.chain, tuple[Middleware, ...])
    assert_type(view.explain(), str)
    assert_type(view.is_closed(), bool)
    assert_type(await view.close(), None)
    other.with_options(session=session)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def responses(response: AsyncAPIResponse[User]) -> None:
    """A response has the type that it parses to."""
    assert_type(await response.parse(), User)
    assert_type(await response.parse(to=list[User]), list[User])
    assert_type(await response.parse(to=Row), Row)
    assert_type(await response.parse(to=Cat | Dog), Cat | Dog)
    assert_type(await response.parse(to=User | None), User | None)
    assert_type(await response.parse(to=None), None)
    assert_type(response.status, int)
    assert_type(response.url, URL)
    assert_type(response.location, URL | None)
    assert_type(response.links, Mapping[str, URL])
    assert_type(response.elapsed, timedelta)
    assert_type(response.request, APIRequest)
    assert_type(response.request_id, str | None)
    assert_type(response.history, tuple[BaseAPIResponse, ...])
    assert_type(response.body, bytes)
    assert_type(await response.read(), bytes)
    assert_type(await response.text(), str)
    assert_type(await response.json(), Any)
    async with response as same:
        assert_type(same, AsyncAPIResponse[User])
    async for chunk in response.iter_bytes():
        assert_type(chunk, bytes)
    async for line in response.iter_lines():
        assert_type(line, str)
    wider: AsyncAPIResponse[object] = response
    await wider.close()


async def passes(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """An async function is a middleware."""
    request.set_headers({"A": "b", "C": OMIT})
    assert_type(request.deadline, float | None)
    assert_type(request.extensions, dict[str, Any])
    assert_type(request.copy(), APIRequest)
    return assert_type(await handler(request), AsyncAPIResponse[Any])


class Timer:
    """So is an object with an async ``__call__``."""

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Pass."""
        return await handler(request)


def middlewares() -> None:
    """Values that are middlewares, and values that are not."""
    links: list[Middleware] = [passes, Timer(), per_attempt(Timer()), load_middleware("retry", a=1)]
    assert_type(default_chain(middlewares=links), list[Middleware])
    handlers: list[Handler] = [transport]
    assert_type(handlers[0], Callable[[APIRequest], Awaitable[AsyncAPIResponse[Any]]])

    def sync(request: APIRequest, handler: Handler) -> None: ...

    wrong: Middleware = sync  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    links.append(wrong)


async def transport(request: APIRequest) -> AsyncAPIResponse[Any]:
    """Any handler is a transport."""
    return AsyncAPIResponse.from_bytes(request, 200, {"A": "b"}, b"")


def requests() -> None:
    """A middleware makes separate requests."""
    request = APIRequest("GET", URL("https://h/x"))
    assert_type(request.timeout, Timeout)
    assert_type(request.body, Body | None)
    assert_type(request.label, str)
    assert_type(request.is_idempotent, bool)


class Signed(Auth):
    """An auth is a subclass with one method."""

    async def authenticate(self, request: APIRequest, /) -> None:
        """Sign."""
        request.headers["X-Signature"] = request.method


async def auths(cache: TokenCache) -> None:
    """Credentials, and the cache of tokens."""

    async def provide() -> Token:
        return Token("t", expires_in=60)

    auth: list[Auth] = [BearerAuth("t"), BearerAuth(provide, cache=cache), BasicAuth("u", "p"), Signed()]
    assert_type(auth[0].challenge_statuses, frozenset[int])
    token = await cache.get("key", provide)
    assert_type(token.value, str)
    assert_type(await cache.refresh("key", token, provide), bool)


async def errors(api: AsyncAPIClient) -> None:
    """The attributes of errors are typed."""
    try:
        await api.get("/x")
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.status, int)
        assert_type(error.code, str | None)
        assert_type(error.type, str | None)
        assert_type(error.body, Any)
        assert_type(error.response, AsyncAPIResponse[Any] | None)
        assert_type(error.request, APIRequest | None)
        assert_type(error.request_id, str | None)
        assert_type(error.retries_taken, int)
    except APITimeoutError as error:
        assert_type(error.phase, Literal["connect", "pool", "attempt", "read", "write", "total"])
        assert_type(error.sent, Literal[False] | None)
    except APIResponseValidationError as error:
        assert_type(error.path, str)
        assert_type(error.excerpt, str)


def sentinels(value: str | NotGiven | Omit) -> None:
    """The sentinels can be told apart from values."""
    if not isinstance(value, NotGiven | Omit):
        assert_type(value, str)
    assert_type(OMIT, Omit)
    assert_type(NOT_GIVEN, NotGiven)


async def error_types_may_be_any_ordinary_dict(client: AsyncAPIClient) -> None:
    """A mapping in a variable has its own type, and is still accepted."""
    by_status: dict[int, type] = {404: User}
    by_class: dict[str, Any] = {"4XX": User, "default": Any}
    by_both: dict[int | str, Any] = {404: User, "default": Any}
    by_enum: dict[HTTPStatus, type[User]] = {HTTPStatus.NOT_FOUND: User}
    frozen: Mapping[int, type] = by_status
    mixed = {404: User, "default": Cat}
    for_calls: CallOptions = {"error_types": by_status}
    AsyncAPIClient("https://h", error_types=by_status).with_options(error_types=by_class)
    AsyncAPIClient("https://h", error_types=by_both).with_options(error_types=frozen)
    AsyncAPIClient("https://h", error_types=mixed).with_options(error_types=by_enum)
    await client.get("/", User, error_types=by_status, options=for_calls)
    await client.get("/", User, error_types=by_enum)
    await client.get("/", User, error_types={HTTPStatus.NOT_FOUND: User, "5XX": Row})


def decoders_may_be_any_ordinary_dict() -> None:
    """Functions for other content types are accepted as a dict in a variable too, and accept their own
    types.
    """

    def read_user(body: bytes, wanted: type[User]) -> User:
        return wanted(len(body))

    decoders = {"application/xml": read_user}
    AsyncAPIClient("https://h", decoders=decoders).with_options(decoders={"text/csv": read_user})
