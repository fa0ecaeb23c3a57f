"""`raw_response` and `streaming_response`: the response of any SDK method instead of its value."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import Token
from functools import wraps
from typing import Any, ParamSpec, TypeVar, overload

from aioapiclient._response.response import AsyncAPIResponse

from .block import Block
from .capture import Capture, Mode, Response, is_response, running

__all__ = ["raw_response", "streaming_response"]

P = ParamSpec("P")
T = TypeVar("T")


async def _call(mode: Mode, make: Callable[[], Awaitable[Any]]) -> Response:
    """Run a method with a capture, and close every recorded response except the result."""
    capture = Capture(mode)
    token = running.set(capture)
    given: Response | None = None
    try:
        given = capture.response_for(await _checked_awaitable(make()))
        return given
    except AttributeError as error:
        if capture.replaced and is_response(error.obj):
            raise TypeError(
                f"the method uses the value of its call (it looks for .{error.name}), "
                "so the response cannot take its place"
            ) from error
        raise
    finally:
        _reset(token)
        for response in capture.end():
            if response is not given:
                await response.close()


def _reset(token: Token[Capture | None]) -> None:
    # An unfinished coroutine that is discarded ends in another context, without the capture.
    with suppress(ValueError):
        running.reset(token)


def _checked_method(name: str, method: object) -> None:
    if inspect.iscoroutine(method):
        method.close()  # prevents a warning that it was never awaited
    if not callable(method):
        raise TypeError(
            f"{name} takes a method, such as api.users.get, not a {type(method).__name__}: "
            "pass the method without calling it, and call the returned function"
        )


def _checked_awaitable(made: Awaitable[Any]) -> Awaitable[Any]:
    if not isinstance(made, Awaitable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"method must be async, but it returned a {type(made).__name__}")
    return made


@overload
def raw_response(
    method: Callable[P, Awaitable[AsyncAPIResponse[T]]],
) -> Callable[P, Awaitable[AsyncAPIResponse[T]]]: ...
@overload
def raw_response(method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[AsyncAPIResponse[T]]]: ...
def raw_response(method: Callable[P, Awaitable[Any]]) -> Callable[P, Awaitable[Response]]:
    """Wrap a method of an SDK so that it returns its response instead of its value.

    ::

        response = await raw_response(api.users.get)(7)
        user = await response.parse()

    The body has been read, except for a method that streams: close its response. It works for any method that
    returns the result of one call of the client, and for paginators, whose value is the first page. If a
    method makes several calls, the response of the first one is returned.

    Args:
        method: A bound method, a function, or any other callable whose result can be awaited.

    Returns:
        A function with the parameters of *method* that returns an `AsyncAPIResponse`.

    Raises:
        TypeError: *method* is not callable. On the call: *method* is not async, makes no call, or builds
            something else from the value. Errors of its call, including status errors, are raised unchanged.
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
    """Wrap a method of an SDK so that it returns its unread response, as a context manager.

    ::

        async with streaming_response(api.files.content)("f1") as response:
            async for chunk in response.iter_bytes(): ...

    The call is made on entering the block, and the response is closed on leaving it.
    ``await response.parse()`` reads the body first.

    Args:
        method: As for `raw_response`.

    Returns:
        A function with the parameters of *method* that returns an async context manager.

    Raises:
        TypeError: As for `raw_response`.
    """
    _checked_method("streaming_response", method)

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> Block[Response]:
        return Block("call", "response", lambda: _call("unread response", lambda: method(*args, **kwargs)))

    return call
