"""The calls to test a middleware with: a hostile handler, and a record of the requests it received."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from yarl import URL

from aioapiclient._url.base import BaseURL
from aioapiclient.contract import APIRequest, AsyncAPIResponse, Middleware
from aioapiclient.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    BodyTooLargeError,
    ClientClosedError,
    RetryableError,
)

from ._transport import Answer, FakeTransport, Made, respond

__all__ = [
    "FINE",
    "FOR_ONE_SENDING",
    "FOR_TWO_CALLS",
    "MARK",
    "SCENARIOS",
    "Awaits",
    "Call",
    "Pieces",
    "Scenario",
    "Trace",
    "default_request",
]


def default_request() -> APIRequest:
    """Return a GET request to the client's own origin, with a template."""
    return APIRequest(
        "GET",
        URL("https://api.example.com/v1/users/7"),
        template="/users/{id}",
        path_params={"id": 7},
        _base_url=BaseURL("https://api.example.com/v1"),
    )


_Step: TypeAlias = int | Callable[[APIRequest], Exception]


class Scenario(NamedTuple):
    """The steps of the handler, one for each send; the last one repeats."""

    words: str
    """A description for messages."""
    steps: tuple[_Step, ...]
    """A status, or a function that creates an error, for each send."""


def _failing_with(cls: type[Exception], **facts: Any) -> Callable[[APIRequest], Exception]:
    return lambda request: cls(f"{request.label}: made up by check_middleware", **facts)


def _retryable(request: APIRequest) -> Exception:
    error = RetryableError(f"{request.label}: made up by check_middleware")
    error.__cause__ = APIConnectionError("the cause of a RetryableError", request=request)
    return error


_CONNECTION_LOST = _failing_with(APIConnectionError)
_ERRORS: Final[Mapping[str, Callable[[APIRequest], Exception]]] = {
    "an APIConnectionError": _CONNECTION_LOST,
    "an APIConnectionError before anything was sent": _failing_with(APIConnectionError, sent=False),
    "an APITimeoutError of the attempt": _failing_with(APITimeoutError, phase="attempt"),
    "an APITimeoutError of the whole call": _failing_with(APITimeoutError, phase="total"),
    "a BodyTooLargeError": _failing_with(BodyTooLargeError),
    "an APIResponseValidationError": _failing_with(APIResponseValidationError),
    "a ClientClosedError": _failing_with(ClientClosedError),
    "a RetryableError": _retryable,
    "a LookupError, which is a bug": _failing_with(LookupError),
}
FINE = Scenario("status 200", (200,))
SCENARIOS: Final = (
    FINE,
    *(Scenario(f"status {status}", (status,)) for status in (204, 304, 401, 404, 429, 500, 503)),
    *(Scenario(f"status {status} and then 200", (status, 200)) for status in (302, 307, 401, 429, 503)),
    *(Scenario(words, (error,)) for words, error in _ERRORS.items()),
    *(
        Scenario(f"{words} and then status 200", (_ERRORS[words], 200))
        for words in ("an APIConnectionError", "an APITimeoutError of the attempt", "a RetryableError")
    ),
)
FOR_TWO_CALLS: Final = tuple(
    scenario for scenario in SCENARIOS if scenario.steps[0] in {200, 302, 401, 503, _CONNECTION_LOST}
)
FOR_ONE_SENDING: Final = (
    FINE,
    Scenario("status 307 and then 200", (307, 200)),
    Scenario("status 401 and then 200", (401, 200)),
    Scenario("status 503 and then 200", (503, 200)),
    Scenario("an APIConnectionError and then status 200", (_CONNECTION_LOST, 200)),
)

MARK: Final = "X-Call"
"""The header and the extension that name a call."""
_INTRUSION: Final = "X-Vandal"
_PIECES: Final = (b'{"user": ', b'{"id": 7}', b"}")


class Pieces:
    """A body in pieces that counts how many were requested."""

    def __init__(self, pieces: tuple[bytes, ...]) -> None:
        self.left = list(pieces)
        self.asked = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self.asked += 1
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


class Call:
    """One call of the middleware under test, with the hostile handler inside it."""

    def __init__(
        self, middleware: Middleware, request: APIRequest, scenario: Scenario, name: str, *, ready: bool
    ) -> None:
        request.headers[MARK] = name
        request.extensions[MARK] = name
        request.add_params({"call": name})
        self.middleware = middleware
        self.request = request
        self.name = name
        self.url = request.url
        self.extensions = request.extensions
        self.sends: list[APIRequest] = []
        self.traces: list[Trace] = []
        self.responses: list[AsyncAPIResponse[Any]] = []
        self.bodies: list[Pieces] = []
        self.errors: list[Exception] = []
        self.faults: list[tuple[int, str]] = []
        self.is_cancelled = False
        self._ready = ready
        answers: list[Answer] = [partial(self._answer, step) for step in scenario.steps]
        self._transport = FakeTransport(*answers[:-1], default=answers[-1])

    async def run(self) -> AsyncAPIResponse[Any]:
        """Call the middleware, and return its response."""
        return await self.middleware(self.request, self._handle)

    async def _handle(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        self._inspect(request)
        self.sends.append(request)
        self.traces.append(Trace.of(request))
        sent = request.copy()
        _overwrite_everything(request)
        try:
            response = await self._transport(sent)
        except Exception as error:
            self.errors.append(error)
            raise
        self.responses.append(response)
        return response

    def _answer(self, step: _Step, request: APIRequest) -> Made:
        if not isinstance(step, int):
            return step(request)
        headers = {"Content-Type": "application/json", MARK: self.name}
        if step in {302, 307}:
            headers["Location"] = "/v1/elsewhere"
        pieces = () if step in {204, 304} else _PIECES
        if self._ready:
            return AsyncAPIResponse.from_bytes(request, step, headers, b"".join(pieces))
        self.bodies.append(Pieces(pieces))
        return respond(step, chunks=self.bodies[-1], headers=headers)

    def _inspect(self, request: APIRequest) -> None:
        """Record violations; they are raised later, because the middleware might catch them."""
        body = request.body
        if self.is_cancelled:
            self.faults.append((5, "the handler was called after the call was cancelled"))
        elif any(request is sent for sent in self.sends):
            self.faults.append((1, "the handler was called twice with the same request, not with a copy"))
        elif any(request.headers is sent.headers for sent in self.sends):
            self.faults.append((1, "the handler was called with two requests that share their headers"))
        elif (
            request.method == _INTRUSION
            or request.url.host == "vandal.invalid"
            or _INTRUSION in request.headers
        ):
            self.faults.append((1, "a handler's change to its own request is visible in another one"))
        elif request.url == self.url and request.extensions is not self.extensions:
            self.faults.append((1, "the request does not share the extensions dict of its call"))
        elif {request.headers.get(MARK), request.extensions.get(MARK)} - {None, self.name}:
            self.faults.append((5, "the handler of one call got the request of another"))
        elif body is not None and body.consumed and self.sends:
            self.faults.append((1, "the handler was called again with a body that can be sent only once"))
        elif body is not None and body.consumed:
            self.faults.append((1, "a body that can be sent only once was used up before it was sent"))


class Trace(NamedTuple):
    """A request as the handler received it."""

    method: str
    """The method."""
    attempt: int
    """The number of earlier attempts."""
    stream: bool
    """Whether the response is returned unread."""
    headers: Mapping[str, str]
    """The headers, with names in lower case."""

    @classmethod
    def of(cls, request: APIRequest) -> Trace:
        """Return the trace of *request*."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        return cls(request.method, request.attempt, request.stream, headers)

    def without(self, volatile: set[str]) -> Trace:
        """Return the trace with empty values for the headers in *volatile*."""
        headers = {name: "" if name in volatile else value for name, value in self.headers.items()}
        return self._replace(headers=headers)


def _overwrite_everything(request: APIRequest) -> None:
    """Change a request in every way that its new owner may."""
    request.method = _INTRUSION
    request.url = URL("https://vandal.invalid/")
    request.headers.clear()
    request.headers[_INTRUSION] = "1"
    request.body = None
    request.template = None
    request.attempt += 1000
    request.stream = not request.stream
    request.deadline = None
    request.cast_to = int


class Awaits:
    """Await a coroutine, count its awaits, and at one of them cancel its task or pause it."""

    def __init__(
        self,
        call: Call,
        *,
        cancel_at: int | None = None,
        pause_at: int | None = None,
        pause: Callable[[], Coroutine[Any, Any, object]] | None = None,
    ) -> None:
        self.count = 0
        self._call = call
        self._work = call.run()
        self._cancel_at = cancel_at
        self._pause_at = pause_at
        self._pause = pause

    def __await__(self) -> Generator[Any, Any, AsyncAPIResponse[Any]]:
        resume = partial(self._work.send, None)
        while True:
            try:
                waited_for = resume()
            except StopIteration as end:
                result: AsyncAPIResponse[Any] = end.value
                return result
            self.count += 1
            task = asyncio.current_task()
            if self.count == self._cancel_at and task is not None:
                # Later, because the task must be waiting when it is cancelled, so that its future is
                # cancelled too.
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                yield waited_for
                if self.count == self._pause_at and self._pause is not None:
                    yield from self._pause().__await__()
                resume = partial(self._work.send, None)
            except BaseException as error:
                if self.count == self._cancel_at:
                    self._call.is_cancelled = isinstance(error, asyncio.CancelledError)
                resume = partial(self._work.throw, error)
