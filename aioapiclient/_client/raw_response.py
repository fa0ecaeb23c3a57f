"""The response of any SDK method instead of its value, with nothing of it on the wire.

A context variable tells the first call that the method makes to hand out its response. The wish is
an object, shared by every task that runs because of the method, and granted once: what else is sent
(a token that is fetched, a page that follows, a task that outlives the method) gives values as ever.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from contextvars import ContextVar, Token
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeAlias, TypeGuard, TypeVar, overload

from aioapiclient._response import AsyncAPIResponse

__all__ = ["handed_out", "is_wished", "raw_response", "streaming_response", "take_wanted"]

P = ParamSpec("P")
T = TypeVar("T")

Response: TypeAlias = AsyncAPIResponse[Any]
Wanted: TypeAlias = Literal["value", "response", "unread response"]


class _Wish:
    """What one wrapped method is to give, and the responses that its calls handed out."""

    __slots__ = ("replaced", "responses", "wanted")

    def __init__(self, wanted: Wanted) -> None:
        self.wanted: Wanted = wanted
        self.responses: list[Response] | None = []
        self.replaced = False

    def take(self) -> Wanted:
        wanted, self.wanted = self.wanted, "value"
        return wanted

    def end(self) -> list[Response]:
        """Nothing is granted from here on; gives what was handed out."""
        self.wanted = "value"
        responses, self.responses = self.responses, None
        return responses or []

    def response_for(self, result: Any) -> Response:
        """The response that goes to the caller, when *result* is what the method gave."""
        if _is_response(result):
            return result
        if self.responses and not self.replaced:
            # The method asked for responses itself, as a paginator does: its result is the value.
            response = self.responses[-1]
            response.value = result
            return response
        raise TypeError(
            f"The method gave a {type(result).__name__}, not the response of its call: "
            + ("it makes something of the value" if self.replaced else "it makes no call that could give one")
        )


def _is_response(value: Any) -> TypeGuard[Response]:
    return isinstance(value, AsyncAPIResponse)


_wish: ContextVar[_Wish | None] = ContextVar("aioapiclient wish", default=None)
is_wished = _wish.get
"""The wish of the method that runs, if any."""


def take_wanted() -> Wanted:
    """What the call that begins now is to hand out; only the first one to ask is told more than value."""
    wish = _wish.get()
    return "value" if wish is None else wish.take()


def handed_out(response: Response, *, asked: bool) -> Response:
    """*response*, noted where a wrapped method runs; *asked*: its call was for a response anyway."""
    wish = _wish.get()
    if wish is not None and wish.responses is not None:
        wish.responses.append(response)
        wish.replaced = wish.replaced or not asked
    return response


async def _call(wanted: Wanted, make: Callable[[], Awaitable[Any]]) -> Response:
    """Run a method with a wish, and close whatever it leaves behind."""
    wish = _Wish(wanted)
    token = _wish.set(wish)
    given: Response | None = None
    try:
        given = wish.response_for(await _checked_awaitable(make()))
        return given
    except AttributeError as error:
        if wish.replaced and _is_response(error.obj):
            raise TypeError(
                f"The method makes something of the value of its call (it looks for .{error.name}), "
                "so the response cannot take its place"
            ) from error
        raise
    finally:
        _reset(token)
        for response in wish.end():
            if response is not given:
                await response.close()


def _reset(token: Token[_Wish | None]) -> None:
    # A coroutine that is thrown away unfinished ends in another context, which never saw the wish.
    with suppress(ValueError):
        _wish.reset(token)


def _checked_method(name: str, method: object) -> None:
    if inspect.iscoroutine(method):
        method.close()  # or Python would complain as well that it was never awaited
    if not callable(method):
        raise TypeError(
            f"{name} takes a method, such as api.users.get, not a {type(method).__name__}; call what it gives"
        )


def _checked_awaitable(made: Awaitable[Any]) -> Awaitable[Any]:
    if not isinstance(made, Awaitable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"The method must be async, and it gave a {type(made).__name__}")
    return made


@overload
def raw_response(
    method: Callable[P, Awaitable[AsyncAPIResponse[T]]],
) -> Callable[P, Awaitable[AsyncAPIResponse[T]]]: ...
@overload
def raw_response(method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[AsyncAPIResponse[T]]]: ...
def raw_response(method: Callable[P, Awaitable[Any]]) -> Callable[P, Awaitable[Response]]:
    """The method of an SDK that gives its response instead of its value.

    ::

        response = await raw_response(api.users.get)(7)
        user = await response.parse()

    The body has been read; one of a method that streams has not, and its response is yours to close.
    It works for any method that returns what one call of the client gave, and for paginators, whose
    value is the first page. Of several calls in a method the first hands out its response.

    Raises `TypeError` for a method that makes something else of the value, or calls nothing, and
    whatever the call raises: a status that is no success is an error here too.
    """
    _checked_method("raw_response", method)

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> Response:
        return await _call("response", lambda: method(*args, **kwargs))

    return call


@overload
def streaming_response(
    method: Callable[P, Awaitable[AsyncAPIResponse[T]]],
) -> Callable[P, AbstractAsyncContextManager[AsyncAPIResponse[T]]]: ...
@overload
def streaming_response(
    method: Callable[P, Awaitable[T]],
) -> Callable[P, AbstractAsyncContextManager[AsyncAPIResponse[T]]]: ...
def streaming_response(
    method: Callable[P, Awaitable[Any]],
) -> Callable[P, AbstractAsyncContextManager[Response]]:
    """The method of an SDK that gives its response unread, as a context manager.

    ::

        async with streaming_response(api.files.content)("f1") as response:
            async for chunk in response.iter_bytes(): ...

    The call is made on entering, and the response closed on leaving; ``await response.parse()``
    reads the body first. Otherwise as `raw_response`.
    """
    _checked_method("streaming_response", method)

    @wraps(method)
    @asynccontextmanager
    async def call(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Response]:
        async with await _call("unread response", lambda: method(*args, **kwargs)) as response:
            yield response

    return call
