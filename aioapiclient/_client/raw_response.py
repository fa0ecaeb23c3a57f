"""`raw_response` and `streaming_response`: the response of any SDK method instead of its value.

A context variable contains a capture while the method runs. The first call that the method makes takes the
mode of the capture and records its response. All tasks of the method share the capture, but only one call
takes the mode: a token fetch, a further page or a task that outlives the method returns values.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import ContextVar, Token
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeAlias, TypeGuard, TypeVar, overload

from aioapiclient._response.response import AsyncAPIResponse

from .block import Block

__all__ = ["capturing", "raw_response", "record", "streaming_response", "take_mode"]

P = ParamSpec("P")
T = TypeVar("T")

Response: TypeAlias = AsyncAPIResponse[Any]
Mode: TypeAlias = Literal["value", "response", "unread response"]


class _Capture:
    """The mode of one wrapped method, and the responses that its calls recorded."""

    __slots__ = ("mode", "replaced", "responses")

    def __init__(self, mode: Mode) -> None:
        self.mode: Mode = mode
        self.responses: list[Response] | None = []
        self.replaced = False

    def take(self) -> Mode:
        """Return the mode; later calls return ``"value"``."""
        mode, self.mode = self.mode, "value"
        return mode

    def end(self) -> list[Response]:
        """Stop capturing, and return the recorded responses."""
        self.mode = "value"
        responses, self.responses = self.responses, None
        return responses or []

    def response_for(self, result: Any) -> Response:
        """Return the response for the caller of a method that returned *result*."""
        if _is_response(result):
            return result
        if self.responses and not self.replaced:
            # The method itself requested responses, as a paginator does, so its result is the value.
            response = self.responses[-1]
            response._value = result
            return response
        raise TypeError(
            f"The method returned a {type(result).__name__}, not the response of its call: "
            + ("it builds something from the value" if self.replaced else "it makes no call with a response")
        )


def _is_response(value: Any) -> TypeGuard[Response]:
    return isinstance(value, AsyncAPIResponse)


_capture: ContextVar[_Capture | None] = ContextVar("aioapiclient capture", default=None)
capturing = _capture.get
"""Return the capture of the running method, if any."""


def take_mode() -> Mode:
    """Return the mode of the call that is starting. Only the first call takes the mode of the capture."""
    capture = _capture.get()
    return "value" if capture is None else capture.take()


def record(response: Response, *, asked: bool) -> Response:
    """Record *response* if a wrapped method is running, and return it.

    Args:
        response: The response of a call.
        asked: Whether the call itself requested a response.
    """
    capture = _capture.get()
    if capture is not None and capture.responses is not None:
        capture.responses.append(response)
        capture.replaced = capture.replaced or not asked
    return response


async def _call(mode: Mode, make: Callable[[], Awaitable[Any]]) -> Response:
    """Run a method with a capture, and close every recorded response except the result."""
    capture = _Capture(mode)
    token = _capture.set(capture)
    given: Response | None = None
    try:
        given = capture.response_for(await _checked_awaitable(make()))
        return given
    except AttributeError as error:
        if capture.replaced and _is_response(error.obj):
            raise TypeError(
                f"The method uses the value of its call (it looks for .{error.name}), "
                "so the response cannot take its place"
            ) from error
        raise
    finally:
        _reset(token)
        for response in capture.end():
            if response is not given:
                await response.close()


def _reset(token: Token[_Capture | None]) -> None:
    # An unfinished coroutine that is discarded ends in another context, without the capture.
    with suppress(ValueError):
        _capture.reset(token)


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
        raise TypeError(f"The method must be async, but it returned a {type(made).__name__}")
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
