"""`Capture`: the mode of the next call of a wrapped method, and the responses of its calls.

A context variable contains the capture while the method runs. The first call that the method makes takes the
mode of the capture and records its response. All tasks of the method share the capture, but only one call
takes the mode: a token fetch, a further page or a task that outlives the method returns values.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Literal, TypeAlias, TypeGuard

from aioapiclient._response.response import AsyncAPIResponse

__all__ = ["Capture", "Mode", "Response", "is_response", "record", "running", "take_mode"]

Response: TypeAlias = AsyncAPIResponse[Any]
Mode: TypeAlias = Literal["value", "response", "unread response"]


class Capture:
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
        if is_response(result):
            return result
        if self.responses and not self.replaced:
            # The method itself requested responses, as a paginator does, so its result is the value.
            response = self.responses[-1]
            response._value = result
            return response
        raise TypeError(
            f"the method returned a {type(result).__name__}, not the response of its call: "
            + ("it builds something from the value" if self.replaced else "it makes no call with a response")
        )


def is_response(value: Any) -> TypeGuard[Response]:
    return isinstance(value, AsyncAPIResponse)


running: ContextVar[Capture | None] = ContextVar("aioapiclient capture", default=None)
"""The capture of the running method, if any."""


def take_mode() -> Mode:
    """Return the mode of the call that is starting. Only the first call takes the mode of the capture."""
    capture = running.get()
    return "value" if capture is None else capture.take()


def record(response: Response, *, asked: bool) -> Response:
    """Record *response* if a wrapped method is running, and return it.

    Args:
        response: The response of a call.
        asked: Whether the call itself requested a response.
    """
    capture = running.get()
    if capture is not None and capture.responses is not None:
        capture.responses.append(response)
        capture.replaced = capture.replaced or not asked
    return response
