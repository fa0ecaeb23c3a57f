"""The response of any SDK method instead of its value, with nothing of it on the wire.

A context variable tells the first call that the method makes to hand out its response. It is
consumed there: what else runs because of that call (a token that is fetched, a page that follows)
gives values as ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from functools import wraps
from types import TracebackType
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar, cast

from ._response import AsyncAPIResponse

__all__ = ["raw_response", "streaming_response", "take_wanted"]

P = ParamSpec("P")
T = TypeVar("T")

Wanted: TypeAlias = Literal["value", "response", "unread response"]

_wanted: ContextVar[Wanted] = ContextVar("aioapiclient wanted", default="value")


def take_wanted() -> Wanted:
    """What the call that runs now is to hand out; asked once."""
    wanted = _wanted.get()
    if wanted != "value":
        _wanted.set("value")
    return wanted


async def _call(wanted: Wanted, make: Callable[[], Awaitable[Any]]) -> AsyncAPIResponse[Any]:
    token = _wanted.set(wanted)
    try:
        response = await make()
    finally:
        _wanted.reset(token)
    if not isinstance(response, AsyncAPIResponse):
        raise TypeError(
            f"The method gave a {type(response).__name__}, not the response of a call: "
            "it makes something of the value, or calls nothing"
        )
    return cast("AsyncAPIResponse[Any]", response)


def raw_response(method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[AsyncAPIResponse[T]]]:
    """*method* of an SDK, giving the response instead of its value: ``await raw_response(api.users.get)(7)``.

    The body has been read; ``await response.parse()`` gives the value. It works for any method that
    returns what one call of the client gave. Raises `TypeError` for a method that returns something
    else, and whatever the call raises: a status that is no success is an error here too.
    """

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> AsyncAPIResponse[T]:
        return await _call("response", lambda: method(*args, **kwargs))

    return call


def streaming_response(
    method: Callable[P, Awaitable[T]],
) -> Callable[P, AbstractAsyncContextManager[AsyncAPIResponse[T]]]:
    """*method* of an SDK, giving its response unread: ``async with streaming_response(api.files.get)(7) as response``.

    The call is made on entering, and the response closed on leaving. Otherwise as `raw_response`.
    """

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[AsyncAPIResponse[T]]:
        return _Opened(lambda: method(*args, **kwargs))

    return call


class _Opened(AbstractAsyncContextManager[AsyncAPIResponse[Any]]):
    """A call that is made on entering."""

    def __init__(self, make: Callable[[], Awaitable[Any]]) -> None:
        self._make = make
        self._response: AsyncAPIResponse[Any] | None = None

    async def __aenter__(self) -> AsyncAPIResponse[Any]:
        self._response = await _call("unread response", self._make)
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._response is not None:
            await self._response.close()
