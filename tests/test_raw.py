"""Raw responses: the response of any method instead of its value, with no effect on the wire."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
from collections.abc import Callable
from typing import Any, Unpack, cast

import aiohttp
import msgspec
import pytest
from helpers import BASE, reply
from servers import RawServer, drip, ok, raw_server
from servers import respond as serve

from aioapiclient import (
    APIResponseValidationError,
    AsyncAPIClient,
    AsyncAPIResource,
    AsyncAPIResponse,
    AsyncPaginator,
    AsyncStream,
    Auth,
    CallOptions,
    NotFoundError,
    NumberedPage,
    RequestOptions,
    StreamConsumedError,
    Token,
    TokenCache,
    raw_response,
    streaming_response,
)
from aioapiclient.contract import APIRequest, Handler
from aioapiclient.testing import FakeTransport, respond


class User(msgspec.Struct):
    id: int
    login: str = ""


class Event(msgspec.Struct):
    n: int


class Users(AsyncAPIResource["API"]):
    """A resource of an SDK."""

    async def get(self, id: int, **options: Unpack[CallOptions]) -> User:
        return await self._client.get("/users/{id}", User, path_params={"id": id}, options=options)


class API(AsyncAPIClient):
    """An SDK with every form of method."""

    calls = 0

    @property
    def users(self) -> Users:
        return Users(self)

    async def user(self, id: int = 7) -> User:
        """One call, and its value."""
        return await self.get("/users/{id}", User, path_params={"id": id})

    async def plain(self) -> Any:
        return await self.get("/plain")

    async def name(self) -> str:
        """Looks into the value."""
        return (await self.user()).login

    async def size(self) -> int:
        """Transforms the value in a way that also works for a response."""
        return len(str(await self.user()))

    async def nothing(self) -> int:
        """Calls nothing."""
        self.calls += 1
        return 7

    async def log_in_and_get(self) -> User:
        """Makes two calls, and drops the value of the first."""
        await self.post("/login")
        return await self.user()

    async def both(self) -> tuple[User, User]:
        """Makes two calls in separate tasks."""
        first, second = await asyncio.gather(self.user(1), self.user(2))
        return first, second

    async def answered(self) -> AsyncAPIResponse[User]:
        """Returns the response anyway."""
        return await self.get("/users/7", AsyncAPIResponse[User])

    async def checked(self) -> User:
        """Requests the response, and makes its own value from it."""
        response = await self.get("/users/7", AsyncAPIResponse[User])
        return User(id=(await response.parse()).id, login=response.headers["X-Login"])

    async def in_a_task(self) -> User:
        return await asyncio.create_task(self.user())

    async def events(self) -> AsyncStream[Event]:
        return await self.get("/events", Event, stream=True)

    async def content(self) -> bytes:
        return await self.get("/content", bytes)

    async def raw(self) -> aiohttp.ClientResponse:
        return await self.get("/raw", aiohttp.ClientResponse)

    def list_users(self) -> AsyncPaginator[User, NumberedPage[User]]:
        """Returns a paginator, which makes its calls when it is awaited or iterated."""
        return self.get_api_list("/users", User, NumberedPage)

    @classmethod
    async def of(cls, transport: FakeTransport) -> User:
        async with cls(BASE, transport=transport) as api:
            return await api.user()


async def test_the_response_comes_in_place_of_the_value() -> None:
    """The wrapped method returns the response, its body read; parse() returns the method's own value."""
    transport = FakeTransport(reply(json={"id": 7, "login": "ada"}, X_Login="a"))
    async with API(BASE, transport=transport) as api:
        response = await raw_response(api.user)(7)

        assert response.status == 200
        assert response.headers["X-Login"] == "a"
        assert response.body == b'{"id":7,"login":"ada"}'
        assert await response.parse() == User(7, "ada")
        assert transport.open_responses == 0


async def test_the_value_is_parsed_once() -> None:
    """A second parse() returns the same object, separately for each type."""
    async with API(BASE, transport=FakeTransport(reply(json={"id": 7}))) as api:
        response = await raw_response(api.user)()

        assert await response.parse() is await response.parse()
        assert await response.parse(to=User) is await response.parse()
        data = await response.parse(to=dict[str, int])
        assert data == {"id": 7}
        assert await response.parse(to=dict[str, int]) is data


def wrapped(api: API) -> dict[str, Callable[..., Any]]:
    """The same call through every kind of callable."""

    async def function(client: API) -> User:
        return await client.user()

    return {
        "a bound method": raw_response(api.user),
        "a resource's method": functools.partial(raw_response(api.users.get), 7),
        "a method of the class": functools.partial(raw_response(API.user), api),
        "a function": functools.partial(raw_response(function), api),
        "a partial": raw_response(functools.partial(api.user, 7)),
        "a lambda": raw_response(lambda: api.user(7)),
        "a task inside": raw_response(api.in_a_task),
        "a verb of the client": functools.partial(raw_response(api.get), "/users/7", User),
        "a wrapped one": raw_response(raw_response(api.user)),
        "one that gives a response": raw_response(api.answered),
    }


@pytest.mark.parametrize("kind", wrapped(API(BASE)))
async def test_every_kind_of_callable(kind: str) -> None:
    """Any async callable that returns the value of a call can be wrapped."""
    async with API(BASE, transport=FakeTransport(reply(json={"id": 7}))) as api:
        response = await wrapped(api)[kind]()

        assert await response.parse() == User(7)


async def test_a_classmethod() -> None:
    """A classmethod that creates its own client returns a response as well."""
    response = await raw_response(API.of)(FakeTransport(reply(json={"id": 7})))

    assert await response.parse() == User(7)


async def test_names_are_kept() -> None:
    """The wrapped method has the name and the docstring of the method."""
    for wrap in (raw_response, streaming_response):
        call = cast("Callable[..., Any]", wrap)(API.user)
        assert (call.__name__, call.__doc__) == ("user", "One call, and its value.")


async def test_the_wire_sees_no_difference() -> None:
    """A raw call sends the same bytes as the plain call, on a real server."""
    async with raw_server(serve(ok(b'{"id": 7}'))) as server, API(server.url) as api:
        await api.user()
        await raw_response(api.user)()
        plain, raw = heads_of(server)

    assert raw == plain


def heads_of(server: RawServer) -> list[bytes]:
    """Return the heads of all received requests."""
    return [request.head for request in server.requests]


async def test_no_marker_reaches_a_middleware() -> None:
    """A middleware sees no difference between a raw and a plain call, except the stream flag of an unread
    one.
    """
    seen: list[tuple[dict[str, str], dict[str, Any], bool]] = []

    async def look(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        seen.append((dict(request.headers), dict(request.extensions), request.stream))
        return await handler(request)

    transport = FakeTransport(default=reply(json={"id": 7}))
    async with API(BASE, transport=transport, middlewares=[look]) as api:
        await api.user()
        await raw_response(api.user)()
        async with streaming_response(api.user)():
            pass

    assert [headers for headers, _, _ in seen] == [seen[0][0]] * 3
    assert [extensions for _, extensions, _ in seen] == [{}] * 3
    assert [stream for _, _, stream in seen] == [False, False, True]


async def test_what_a_middleware_parsed_is_what_the_caller_gets() -> None:
    """A value that a middleware parsed is the very object that parse() returns, raw or not."""
    parsed: list[Any] = []

    async def look(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        response = await handler(request)
        parsed.append(await response.parse())
        return response

    transport = FakeTransport(default=reply(json={"id": 7}))
    async with API(BASE, transport=transport, middlewares=[look]) as api:
        values = [await api.user(), await (await raw_response(api.user)()).parse()]

    assert [value is seen for value, seen in zip(values, parsed, strict=True)] == [True, True]


async def test_a_status_error_is_an_error_here_too() -> None:
    """A 404 raises as it does without the wrapper, with its response on it."""
    transport = FakeTransport(reply(404, json={"code": "gone"}))
    async with API(BASE, transport=transport) as api:
        with pytest.raises(NotFoundError) as caught:
            await raw_response(api.user)()

    assert caught.value.code == "gone"
    assert caught.value.response is not None


async def test_retries_happen_under_it() -> None:
    """A raw call is retried like any other, and the response is that of the last attempt."""
    transport = FakeTransport(reply(503), reply(json={"id": 7}))
    async with API(BASE, transport=transport) as api:
        api._sleep_for_retry = no_wait  # type: ignore[method-assign]
        response = await raw_response(api.user)()

    assert response.retries_taken == 1
    assert await response.parse() == User(7)


async def no_wait(seconds: float, /) -> None:
    """Wait without delay."""


async def test_the_body_of_another_shape_is_handed_over() -> None:
    """A body that is not a User is returned as a response; only parse() raises."""
    async with API(BASE, transport=FakeTransport(reply(json=["other"]))) as api:
        response = await raw_response(api.user)()

        assert await response.parse(to=list[str]) == ["other"]
        with pytest.raises(APIResponseValidationError):
            await response.parse()


# --- methods that use the value


async def test_a_method_that_looks_into_the_value() -> None:
    """A method that reads an attribute of the value cannot return a response: a TypeError explains it."""
    async with API(BASE, transport=FakeTransport(default=reply(json={"id": 7}))) as api:
        with pytest.raises(TypeError, match=r"uses the value of its call \(it looks for .login\)"):
            await raw_response(api.name)()


async def test_a_mistake_in_the_method() -> None:
    """An AttributeError unrelated to the response is raised unchanged."""

    async def mistaken(api: API) -> User:
        await api.user()
        return cast("Any", api).nobody

    async with API(BASE, transport=FakeTransport(reply(json={"id": 7}))) as api:
        with pytest.raises(AttributeError, match="nobody"):
            await raw_response(mistaken)(api)


async def test_a_wrapped_call_inside_a_wrapped_method() -> None:
    """A method may wrap calls itself; the requested response is that of its own call."""

    async def looks_first(api: API) -> User:
        head = await raw_response(api.plain)()
        assert await head.parse() == {"id": 1}
        return await api.user()

    async with API(BASE, transport=FakeTransport(reply(json={"id": 1}), reply(json={"id": 7}))) as api:
        response = await raw_response(looks_first)(api)

        assert await response.parse() == User(7)


async def test_a_method_that_gives_something_else() -> None:
    """A method whose result is not the call's value raises TypeError, and leaks nothing."""
    transport = FakeTransport(default=reply(json={"id": 7}))
    async with API(BASE, transport=transport) as api:
        with pytest.raises(
            TypeError, match="returned a int, not the response of its call: it builds something"
        ):
            await raw_response(api.size)()
        with pytest.raises(
            TypeError, match="returned a int, not the response of its call: it builds something"
        ):
            async with streaming_response(api.size)():
                pass
        assert transport.open_responses == 0


async def test_a_method_that_calls_nothing() -> None:
    """A method that makes no call runs, and then raises TypeError."""
    async with API(BASE, transport=FakeTransport()) as api:
        with pytest.raises(TypeError, match="returned a int, not the response of its call: it makes no call"):
            await raw_response(api.nothing)()
        assert api.calls == 1


async def test_a_method_with_two_calls() -> None:
    """Of two calls the first returns its response, so a method that returns the second's value fails."""
    transport = FakeTransport(default=reply(json={"id": 7}))
    async with API(BASE, transport=transport) as api:
        with pytest.raises(TypeError, match="returned a User"):
            await raw_response(api.log_in_and_get)()
        with pytest.raises(TypeError, match="returned a User"):
            async with streaming_response(api.log_in_and_get)():
                pass  # pragma: no cover
        assert transport.open_responses == 0


async def test_two_calls_in_tasks() -> None:
    """Of two concurrent calls, one returns its response, not both."""
    transport = FakeTransport(default=reply(json={"id": 7}))
    async with API(BASE, transport=transport) as api:
        with pytest.raises(TypeError, match="returned a tuple"):
            await raw_response(api.both)()
    assert len(transport.requests) == 2


async def test_a_method_that_asks_for_the_response_itself() -> None:
    """A method that makes its value from a response returns that response, and parse() returns that value."""
    async with API(BASE, transport=FakeTransport(reply(json={"id": 7}, X_Login="ada"))) as api:
        response = await raw_response(api.checked)()

        assert response.headers["X-Login"] == "ada"
        assert await response.parse() == User(7, "ada")


async def test_objects_that_are_not_methods() -> None:
    """A value that is not callable, such as the coroutine of a call, is refused immediately."""
    async with API(BASE, transport=FakeTransport()) as api:
        with pytest.raises(
            TypeError,
            match=r"raw_response takes a method, .* not a coroutine: pass the method",
        ):
            raw_response(cast("Any", api.user()))
        with pytest.raises(TypeError, match="streaming_response takes a method"):
            streaming_response(cast("Any", 7))


async def test_a_method_that_is_not_async() -> None:
    """A function that returns no awaitable raises a TypeError with its name."""
    with pytest.raises(TypeError, match="must be async, but it returned a int"):
        await raw_response(cast("Any", int))()
    async with API(BASE, transport=FakeTransport()) as api:
        with pytest.raises(TypeError, match="is a context manager; enter it first: async with open"):
            await raw_response(cast("Any", api.open))("GET", "/")


async def test_wrong_arguments_are_the_methods_own_error() -> None:
    """A TypeError for wrong arguments names the method, and leaves no state behind."""
    async with API(BASE, transport=FakeTransport(reply(json={"id": 7}))) as api:
        with pytest.raises(TypeError, match=r"user\(\) got an unexpected keyword"):
            await raw_response(cast("Any", api.user))(name="x")
        assert await api.user() == User(7)


# --- other calls


async def test_the_next_plain_call_is_plain() -> None:
    """After a raw call, whether it succeeded or failed, calls return values again."""
    transport = FakeTransport(reply(404), default=reply(json={"id": 7}))
    async with API(BASE, transport=transport) as api:
        with pytest.raises(NotFoundError):
            await raw_response(api.user)()
        assert await api.user() == User(7)
        await raw_response(api.user)()
        assert await api.user() == User(7)
        with pytest.raises(TypeError):
            await raw_response(api.nothing)()
        assert await api.user() == User(7)


async def test_a_cancelled_raw_call_leaves_nothing() -> None:
    """A cancellation in the middle stays a cancellation, the capture ends, and the next call is plain."""
    reached = asyncio.Event()

    async def hang(request: APIRequest) -> AsyncAPIResponse[Any]:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with API(BASE, transport=FakeTransport(hang, default=reply(json={"id": 7}))) as api:

        async def both() -> User:
            with pytest.raises(asyncio.CancelledError):
                await raw_response(api.user)()
            cast("asyncio.Task[Any]", asyncio.current_task()).uncancel()
            return await api.user()

        task = asyncio.create_task(both())
        await reached.wait()
        task.cancel()
        assert await task == User(7)


async def test_concurrent_calls_do_not_mix() -> None:
    """Concurrent raw, unread and plain calls each return the requested kind."""
    transport = FakeTransport(default=reply(json={"id": 7}))

    async def unread(api: API) -> bool:
        async with streaming_response(api.user)() as response:
            return response.is_closed

    async with API(BASE, transport=transport) as api:
        results = await asyncio.gather(
            *(call for _ in range(20) for call in (api.user(), raw_response(api.user)(), unread(api)))
        )
    assert [type(result) for result in results] == [User, AsyncAPIResponse, bool] * 20


async def test_a_token_fetched_for_the_call_is_a_value() -> None:
    """A call that an Auth makes during the raw call is not affected: it gets its token."""

    class Fetched(Auth):
        """Requests its token from the same API, through a view of the client."""

        def __init__(self) -> None:
            self.cache = TokenCache()

        def bind(self, client: AsyncAPIClient) -> None:
            self.client = client

        async def authenticate(self, request: APIRequest, /) -> None:
            token = await self.cache.get("token", self.fetch)
            request.set_headers({"Authorization": f"Bearer {token.value}"})

        async def fetch(self) -> Token:
            grant: dict[str, str] = await self.client.post("/token", dict[str, str])
            return Token(grant["token"], 60)

    transport = FakeTransport(reply(json={"token": "t1"}), reply(json={"id": 7}))
    api = API(BASE, transport=transport, auth=Fetched())
    async with api, streaming_response(api.user)() as response:
        assert await response.parse() == User(7)
    assert transport.requests[1].headers["Authorization"] == "Bearer t1"


async def test_calls_of_a_hook_are_not_affected() -> None:
    """A call that `_prepare_options` makes before the request is built gets its value."""

    class Prepared(API):
        """Requests a session first."""

        session: dict[str, int] | None = None

        async def _prepare_options(self, options: RequestOptions, /) -> RequestOptions:
            if self.session is None:
                self.session = {}
                self.session = await self.post("/sessions", dict[str, int])
            return {**options, "headers": {"X-Session": str(self.session.get("id"))}}

    transport = FakeTransport(reply(json={"id": 3}), reply(json={"id": 7}))
    async with Prepared(BASE, transport=transport) as api:
        response = await raw_response(api.user)()

    assert await response.parse() == User(7)
    assert transport.requests[1].headers["X-Session"] == "3"


async def test_a_task_that_outlives_the_method_is_not_affected() -> None:
    """A task that a method left running makes plain calls, even if the method itself called nothing."""

    class Background(API):
        """Starts a task and returns."""

        async def start(self) -> asyncio.Task[User]:
            return asyncio.create_task(self.user())

        left: asyncio.Task[User] | None = None

        async def leave(self) -> None:
            self.left = await self.start()

    async with Background(BASE, transport=FakeTransport(reply(json={"id": 7}))) as api:
        with pytest.raises(TypeError, match="returned a NoneType"):
            await raw_response(api.leave)()
        assert api.left is not None
        assert await api.left == User(7)


async def test_it_may_be_thrown_away() -> None:
    """A raw call that is never finished ends in another context without an error."""

    async def never(request: APIRequest) -> AsyncAPIResponse[Any]:
        raise AssertionError

    async def forever() -> User:
        await asyncio.Event().wait()
        return User(1)

    coroutine = raw_response(forever)()
    context = contextvars.copy_context()
    context.run(coroutine.__await__().__next__)
    del coroutine, context
    gc.collect()


async def test_the_client_closes_what_it_made_for_one_call() -> None:
    """A wrapped method of a closed client raises the plain method's error."""
    api = API(BASE, transport=FakeTransport())
    await api.close()
    with pytest.raises(Exception, match="is closed"):
        await raw_response(api.user)()


# --- unread


async def test_an_unread_response() -> None:
    """streaming_response calls on entering, returns the body unread, and closes on leaving."""
    transport = FakeTransport(respond(200, chunks=[b"one", b"two"]))
    async with API(BASE, transport=transport) as api:
        call = streaming_response(api.content)()
        assert transport.requests == []
        async with call as response:
            assert transport.open_responses == 1
            with pytest.raises(StreamConsumedError):
                _ = response.body
            assert [chunk async for chunk in response.iter_bytes()] == [b"one", b"two"]
        assert transport.open_responses == 0


async def test_an_unread_response_that_is_left_early() -> None:
    """Leaving the block closes the connection, and the server notices it."""
    body = b"x" * 1_000_000
    async with raw_server(drip(ok(body), size=1000, every=0.001)) as server, API(server.url) as api:
        with pytest.raises(ZeroDivisionError):
            async with streaming_response(api.content)() as response:
                async for _ in response.iter_bytes():
                    raise ZeroDivisionError
        assert response.is_closed


async def test_parse_reads_first() -> None:
    """parse() of an unread response reads the body, and returns the value."""
    api = API(BASE, transport=FakeTransport(reply(json={"id": 7})))
    async with api, streaming_response(api.user)() as response:
        assert await response.parse() == User(7)


async def test_an_unread_status_error() -> None:
    """A 404 raises on entering, and its body has been read for the error."""
    transport = FakeTransport(reply(404, json={"code": "gone"}))
    async with API(BASE, transport=transport) as api:
        with pytest.raises(NotFoundError) as caught:
            async with streaming_response(api.user)():
                pass  # pragma: no cover
        assert transport.open_responses == 0
    assert caught.value.code == "gone"


async def test_an_unread_response_dies_with_its_client() -> None:
    """A client that closes ends an unread response that is still open."""
    transport = FakeTransport(respond(200, chunks=[b"one", b"two"]))
    api = API(BASE, transport=transport)
    async with streaming_response(api.content)() as response:
        await api.close()
        assert response.is_closed


async def test_a_method_that_gives_the_response_streams_too() -> None:
    """A method that returns AsyncAPIResponse returns it unread if requested."""
    transport = FakeTransport(reply(json={"id": 7}))
    async with API(BASE, transport=transport) as api, streaming_response(api.answered)() as response:
        assert not response.is_closed
        assert await response.parse() == User(7)


async def test_a_method_that_streams() -> None:
    """A method that streams returns its response unread, and parse() the same stream."""
    events = b'data: {"n":1}\n\ndata: {"n":2}\n\n'
    answer = respond(200, body=events, headers={"Content-Type": "text/event-stream"})
    transport = FakeTransport(default=answer)
    async with API(BASE, transport=transport) as api:
        async with await raw_response(api.events)() as response:
            assert not response.is_closed
            assert await response.read() == events
        async with streaming_response(api.events)() as response:
            stream = await response.parse()
            assert [event async for event in stream] == [Event(1), Event(2)]
        assert transport.open_responses == 0


async def test_a_paginator() -> None:
    """A method that returns a paginator returns the response of its first page, and parse() that page."""
    pages = [{"data": [{"id": 1}]}, {"data": [{"id": 2}]}, {"data": []}]
    transport = FakeTransport(*(reply(json=page) for page in [*pages, *pages[:1]]))
    async with API(BASE, transport=transport) as api:
        response = await raw_response(api.list_users)()
        page = await response.parse()
        assert (response.status, page.data) == (200, [User(1)])
        assert [user.id async for page in page.iter_pages() for user in page.data] == [1, 2]
        async with streaming_response(api.list_users)() as response:
            assert (await response.parse()).data == [User(1)]


# --- AsyncAPIResponse as cast_to


async def test_a_response_without_a_type_is_of_plain_data() -> None:
    """AsyncAPIResponse without a type argument parses to plain data."""
    async with API(BASE, transport=FakeTransport(reply(json={"id": 7}))) as api:
        response = await api.get("/users/7", AsyncAPIResponse)

        assert await response.parse() == {"id": 7}
        assert await response.parse(to=User) == User(7)


async def test_a_subclass_of_a_response_names_its_type() -> None:
    """A subclass of AsyncAPIResponse[bytes], and one of that, parse to bytes."""

    class Binary(AsyncAPIResponse[bytes]):
        """A file."""

    class Image(Binary):
        """A file of a kind."""

    async with API(BASE, transport=FakeTransport(default=respond(200, body=b"\x89PNG"))) as api:
        for kind in (Binary, Image):
            response = await api.get("/logo.png", kind)
            assert await response.parse() == b"\x89PNG"


async def test_a_raw_call_of_a_typed_response() -> None:
    """A call for AsyncAPIResponse[T] is the same with and without the wrapper."""
    async with API(BASE, transport=FakeTransport(default=reply(json={"id": 7}))) as api:
        plain, raw = await api.answered(), await raw_response(api.answered)()

        assert await plain.parse() == await raw.parse() == User(7)
