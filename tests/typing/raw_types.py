"""The types of raw and streaming responses, asserted for checkers; not meant to be executed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, assert_type, overload

import msgspec

from aioapiclient import (
    AsyncAPIClient,
    AsyncAPIResource,
    AsyncAPIResponse,
    AsyncPaginator,
    AsyncStream,
    CallOptions,
    NumberedPage,
    raw_response,
    streaming_response,
)

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")


class Message(msgspec.Struct):
    id: str


class Event(msgspec.Struct):
    type: str


class Messages(AsyncAPIResource["API"]):
    """A resource with an overloaded method, as in an SDK for language models."""

    @overload
    async def create(
        self, *, model: str, stream: Literal[False] = False, **options: Unpack[CallOptions]
    ) -> Message: ...
    @overload
    async def create(
        self, *, model: str, stream: Literal[True], **options: Unpack[CallOptions]
    ) -> AsyncStream[Event]: ...
    async def create(
        self, *, model: str, stream: bool = False, **options: Unpack[CallOptions]
    ) -> Message | AsyncStream[Event]:
        raise NotImplementedError

    async def get(self, id: str, *, verbose: bool = False) -> Message:
        raise NotImplementedError

    async def find(self, id: str) -> Message | None:
        raise NotImplementedError

    async def all(self, *ids: str) -> list[Message]:
        raise NotImplementedError

    async def answer(self, id: str) -> AsyncAPIResponse[Message]:
        raise NotImplementedError

    async def fetch(self, path: str, cast_to: TypeForm[T]) -> T:
        raise NotImplementedError

    def list(self, *, size: int = 10) -> AsyncPaginator[Message, NumberedPage[Message]]:
        raise NotImplementedError

    @classmethod
    async def first(cls, api: API) -> Message:
        raise NotImplementedError

    @staticmethod
    async def last(api: API) -> Message:
        raise NotImplementedError


class API(AsyncAPIClient):
    @property
    def messages(self) -> Messages:
        return Messages(self)


async def count(api: API, factor: float) -> int:
    """A plain function."""
    raise NotImplementedError


async def raw(api: API) -> None:
    """The parameters are kept, and the result is wrapped."""
    messages = api.messages
    response = await raw_response(messages.get)("m1", verbose=True)
    assert_type(response, AsyncAPIResponse[Message])
    assert_type(await response.parse(), Message)
    assert_type(await raw_response(messages.find)("m1"), AsyncAPIResponse[Message | None])
    assert_type(await raw_response(messages.all)("m1", "m2"), AsyncAPIResponse[list[Message]])
    assert_type(await raw_response(count)(api, 2), AsyncAPIResponse[int])
    assert_type(await raw_response(Messages.get)(messages, "m1"), AsyncAPIResponse[Message])
    assert_type(await raw_response(Messages.first)(api), AsyncAPIResponse[Message])
    assert_type(await raw_response(messages.last)(api), AsyncAPIResponse[Message])
    assert_type(await raw_response(partial(messages.get, "m1"))(), AsyncAPIResponse[Message])
    assert_type(await raw_response(lambda: messages.get("m1"))(), AsyncAPIResponse[Message])


async def overloads(api: API) -> None:
    """Each overload of the method is one of the wrapped method."""
    create = raw_response(api.messages.create)
    assert_type(await create(model="m"), AsyncAPIResponse[Message])
    assert_type(await create(model="m", stream=False), AsyncAPIResponse[Message])
    response = await create(model="m", stream=True, timeout=3)
    assert_type(response, AsyncAPIResponse[AsyncStream[Event]])
    async for event in await response.parse():
        assert_type(event, Event)


async def responses(api: API) -> None:
    """A method that returns a response anyway is not wrapped twice."""
    assert_type(await raw_response(api.messages.answer)("m1"), AsyncAPIResponse[Message])
    assert_type(await raw_response(raw_response(api.messages.get))("m1"), AsyncAPIResponse[Message])
    async with streaming_response(api.messages.answer)("m1") as response:
        assert_type(response, AsyncAPIResponse[Message])


async def pages(api: API) -> None:
    """The value of a paginator is its first page."""
    response = await raw_response(api.messages.list)(size=3)
    assert_type(response, AsyncAPIResponse[NumberedPage[Message]])
    assert_type((await response.parse()).data, list[Message])


async def streaming(api: API) -> None:
    """A context manager of the response, with the method's parameters and overloads."""
    async with streaming_response(api.messages.get)("m1", verbose=True) as response:
        assert_type(response, AsyncAPIResponse[Message])
        assert_type(await response.parse(), Message)
    async with streaming_response(api.messages.create)(model="m", stream=True) as events:
        assert_type(events, AsyncAPIResponse[AsyncStream[Event]])


def raw_function() -> Callable[[API, float], Awaitable[AsyncAPIResponse[int]]]:
    """The result is a function of the same parameters."""
    return raw_response(count)


def streaming_function() -> Callable[[API, float], AbstractAsyncContextManager[AsyncAPIResponse[int]]]:
    """The same for the context manager."""
    return streaming_response(count)


async def mistakes(api: API) -> None:
    """Wrong parameters, and a value that is not an async method, are errors."""
    raw_response(api.messages.get)(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportUnusedCoroutine]
    raw_response(api.messages.get)("m1", loud=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportUnusedCoroutine]
    raw_response(len)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    raw_response(api.messages.get("m1"))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def cast_to(api: API, anything: Any) -> None:
    """AsyncAPIResponse as cast_to, with and without its type."""

    class Binary(AsyncAPIResponse[bytes]):
        """A file."""

    assert_type(await api.get("/", AsyncAPIResponse[Message]), AsyncAPIResponse[Message])
    response = await api.get("/", AsyncAPIResponse[Message | None])
    assert_type(await response.parse(), Message | None)
    assert_type(await response.parse(to=list[str]), list[str])
    assert_type(await (await api.get("/", Binary)).parse(), bytes)
    plain = await api.get("/", AsyncAPIResponse[Any])
    assert_type(await plain.parse(), Any)
    assert_type(await raw_response(api.messages.fetch)("/", anything), AsyncAPIResponse[Any])
