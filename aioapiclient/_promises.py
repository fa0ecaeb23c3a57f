"""The trials of a middleware: whether it keeps the six promises of the contract under a hostile handler.

`aioapiclient.testing.check_middleware` is how users run them, and says what each trial does.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

from yarl import URL

from ._fake_transport import Answer, FakeTransport, Made, is_response, respond
from ._url import BaseURL
from .contract import APIRequest, AsyncAPIResponse, Body, Middleware, Placed
from .errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    BodyTooLargeError,
    ClientClosedError,
    RequestNotReplayableError,
    RetryableError,
    StreamConsumedError,
    TooManyRedirectsError,
)

__all__ = ["Check", "default_request"]

_PROMISES: Final[Mapping[int, str]] = {
    1: "a request belongs to whoever was handed it, and each call of the handler gets a copy of its own",
    2: "a response of any status comes back as a response, and an error passes as it is",
    3: "not calling the handler is fine, and so is an answer that was made on the spot",
    4: "whoever drops a response closes it, and leaves one that streams to its reader",
    5: "CancelledError passes through untouched, and no state of a single call lives on self",
    6: "who wants a retry returns the failed response, or raises RetryableError from its cause",
}


def default_request() -> APIRequest:
    """A GET to the client's own origin, by a template."""
    return APIRequest(
        "GET",
        URL("https://api.example.com/v1/users/7"),
        template="/users/{id}",
        path_params={"id": 7},
        home=BaseURL("https://api.example.com/v1"),
    )


_Step: TypeAlias = int | Callable[[APIRequest], Exception]


class _Scenario(NamedTuple):
    """What the handler does: one step for each send, the last one for ever."""

    words: str
    steps: tuple[_Step, ...]


def _bad_luck(cls: type[Exception], **facts: Any) -> Callable[[APIRequest], Exception]:
    return lambda request: cls(f"{request.label}: made up by check_middleware", **facts)


def _retryable(request: APIRequest) -> Exception:
    error = RetryableError(f"{request.label}: made up by check_middleware")
    error.__cause__ = APIConnectionError("The cause of a RetryableError", request=request)
    return error


_LOST = _bad_luck(APIConnectionError)
_ERRORS: Final[Mapping[str, Callable[[APIRequest], Exception]]] = {
    "an APIConnectionError": _LOST,
    "an APIConnectionError before anything was sent": _bad_luck(APIConnectionError, sent=False),
    "an APITimeoutError of the attempt": _bad_luck(APITimeoutError, phase="attempt"),
    "an APITimeoutError of the whole call": _bad_luck(APITimeoutError, phase="total"),
    "a BodyTooLargeError": _bad_luck(BodyTooLargeError),
    "an APIResponseValidationError": _bad_luck(APIResponseValidationError),
    "a ClientClosedError": _bad_luck(ClientClosedError),
    "a RetryableError": _retryable,
    "a LookupError, which is a bug": _bad_luck(LookupError),
}
_FINE = _Scenario("status 200", (200,))
_SCENARIOS: Final = (
    _FINE,
    *(_Scenario(f"status {status}", (status,)) for status in (204, 304, 401, 404, 429, 500, 503)),
    *(_Scenario(f"status {status} and then 200", (status, 200)) for status in (302, 307, 401, 429, 503)),
    *(_Scenario(words, (error,)) for words, error in _ERRORS.items()),
    *(
        _Scenario(f"{words} and then status 200", (_ERRORS[words], 200))
        for words in ("an APIConnectionError", "an APITimeoutError of the attempt", "a RetryableError")
    ),
)
_FOR_TWO_CALLS: Final = tuple(
    scenario for scenario in _SCENARIOS if scenario.steps[0] in {200, 302, 401, 503, _LOST}
)
_FOR_ONE_SENDING: Final = (
    _FINE,
    _Scenario("status 307 and then 200", (307, 200)),
    _Scenario("status 401 and then 200", (401, 200)),
    _Scenario("status 503 and then 200", (503, 200)),
    _Scenario("an APIConnectionError and then status 200", (_LOST, 200)),
)

# How a middleware may end a call for which responses came: what a response can still be wrong in.
_OWN_ERRORS = (
    APIConnectionError,
    APIResponseValidationError,
    BodyTooLargeError,
    RequestNotReplayableError,
    TooManyRedirectsError,
)
_FIRST, _SECOND = "first", "second"
_MARK = "X-Call"
_VANDAL = "X-Vandal"
_PIECES = (b'{"user": ', b'{"id": 7}', b"}")
_TURNS = 20  # of the loop, that a background task gets to do what it should not
_MOST_AWAITS = 100  # of one call, at which it is cancelled; no middleware worth the name has more


class _Pieces:
    """A body in pieces that counts how many were asked for."""

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


class _Call:
    """One call of the middleware under test, with the hostile handler below it."""

    def __init__(
        self, middleware: Middleware, request: APIRequest, scenario: _Scenario, name: str, *, ready: bool
    ) -> None:
        request.headers[_MARK] = name
        request.extensions[_MARK] = name
        request.add_params({"call": name})
        self.middleware = middleware
        self.request = request
        self.name = name
        self.url = request.url
        self.extensions = request.extensions
        self.sends: list[APIRequest] = []
        self.traces: list[_Trace] = []
        self.responses: list[AsyncAPIResponse[Any]] = []
        self.bodies: list[_Pieces] = []
        self.errors: list[Exception] = []
        self.faults: list[tuple[int, str]] = []
        self.is_cancelled = False
        self._ready = ready
        answers: list[Answer] = [partial(self._answer, step) for step in scenario.steps]
        self._transport = FakeTransport(*answers[:-1], default=answers[-1])

    async def run(self) -> AsyncAPIResponse[Any]:
        return await self.middleware(self.request, self._handle)

    async def _handle(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        self._inspect(request)
        self.sends.append(request)
        self.traces.append(_Trace.of(request))
        sent = request.copy()
        _vandalise(request)
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
        headers = {"Content-Type": "application/json", _MARK: self.name}
        if step in {302, 307}:
            headers["Location"] = "/v1/elsewhere"
        pieces = () if step in {204, 304} else _PIECES
        if self._ready:
            return AsyncAPIResponse.from_bytes(request, step, headers, b"".join(pieces))
        self.bodies.append(_Pieces(pieces))
        return respond(step, chunks=self.bodies[-1], headers=headers)

    def _inspect(self, request: APIRequest) -> None:
        """Note what no handler should have to see; raised later, for the middleware might catch it."""
        body = request.body
        if self.is_cancelled:
            self.faults.append((5, "the handler was called after the call was cancelled"))
        elif any(request is sent for sent in self.sends):
            self.faults.append((1, "the handler was called twice with the same request, not with a copy"))
        elif any(request.headers is sent.headers for sent in self.sends):
            self.faults.append((1, "the handler was called with two requests that share their headers"))
        elif request.method == _VANDAL or request.url.host == "vandal.invalid" or _VANDAL in request.headers:
            self.faults.append((1, "what a handler did to its own request shows in another one"))
        elif request.url == self.url and request.extensions is not self.extensions:
            self.faults.append((1, "the request has other extensions than the call, and they are one dict"))
        elif {request.headers.get(_MARK), request.extensions.get(_MARK)} - {None, self.name}:
            self.faults.append((5, "the handler of one call got the request of another"))
        elif body is not None and body.spent and self.sends:
            self.faults.append((1, "the handler was called again with a body that can be sent only once"))
        elif body is not None and body.spent:
            self.faults.append((1, "a body that can be sent only once was used up before it was sent"))


class _Trace(NamedTuple):
    """A request as the handler saw it."""

    method: str
    attempt: int
    stream: bool
    headers: Mapping[str, str]

    @classmethod
    def of(cls, request: APIRequest) -> _Trace:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return cls(request.method, request.attempt, request.stream, headers)

    def without(self, volatile: set[str]) -> _Trace:
        headers = {name: "" if name in volatile else value for name, value in self.headers.items()}
        return self._replace(headers=headers)


def _vandalise(request: APIRequest) -> None:
    """Do to a request what its new owner may do."""
    request.method = _VANDAL
    request.url = URL("https://vandal.invalid/")
    request.headers.clear()
    request.headers[_VANDAL] = "1"
    request.body = None
    request.template = None
    request.attempt += 1000
    request.stream = not request.stream
    request.deadline = None
    request.cast_to = int


class _Awaits:
    """Awaits a coroutine, counts its awaits, and at one of them cancels its task or does something else."""

    def __init__(
        self,
        call: _Call,
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
                # Not now: a task is cancelled while it waits, so that what it waits for is cancelled too.
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


async def _run(awaits: _Awaits) -> AsyncAPIResponse[Any]:
    return await awaits


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # seen, whether a trial looks at it or not


class Check:
    """All trials of one middleware."""

    def __init__(
        self, factory: Callable[[], Middleware], request: Callable[[], APIRequest], patience: float
    ) -> None:
        self._factory = factory
        self._request = request
        self._patience = patience
        self._made: dict[int, Middleware] = {}
        self._running: set[asyncio.Task[AsyncAPIResponse[Any]]] = set()
        self._name = ""
        self._words = ""

    async def run(self) -> None:
        """Run every trial; the first that fails raises."""
        try:
            self._check_shape(self._new())
            for scenario in _SCENARIOS:
                for stream in (False, True):
                    await self._try_alone(scenario, stream=stream)
                    await self._try_alone(scenario, stream=stream, ready=True)
                    await self._try_cancelled(scenario, stream=stream)
            for scenario in _FOR_ONE_SENDING:
                await self._try_one_sending(scenario)
            for scenario in _FOR_TWO_CALLS:
                await self._try_two_calls(scenario)
        finally:
            await _end(self._running)
            for middleware in self._made.values():
                close = getattr(middleware, "close", None)
                if inspect.iscoroutinefunction(close):
                    await close()

    # --- what trials are made of

    def _new(self) -> Middleware:
        middleware = self._factory()
        self._made[id(middleware)] = middleware
        self._name = _name_of(middleware)
        return middleware

    def _call(
        self,
        middleware: Middleware,
        scenario: _Scenario,
        name: str = _FIRST,
        *,
        stream: bool = False,
        ready: bool = False,
    ) -> _Call:
        request = self._request()
        request.stream = stream
        return _Call(middleware, request, scenario, name, ready=ready)

    def _fail(self, promise: int, what: str, error: BaseException | None = None) -> NoReturn:
        message = f"{self._name} breaks promise {promise} ({_PROMISES[promise]}): {self._words}, {what}"
        raise AssertionError(message) from error

    def _start(self, awaits: _Awaits) -> asyncio.Task[AsyncAPIResponse[Any]]:
        """Run one call in a task of its own."""
        task = asyncio.ensure_future(_run(awaits))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(_retrieve)
        return task

    async def _wait_for(self, task: asyncio.Task[AsyncAPIResponse[Any]]) -> None:
        await asyncio.wait({task}, timeout=self._patience)
        if not task.done():
            raise AssertionError(
                f"{self._name} kept its caller waiting: {self._words}, "
                f"the call did not end within {self._patience:g} seconds"
            )

    async def _finish(self, awaits: _Awaits) -> asyncio.Task[AsyncAPIResponse[Any]]:
        task = self._start(awaits)
        await self._wait_for(task)
        return task

    async def _settle(self, call: _Call, task: asyncio.Task[AsyncAPIResponse[Any]]) -> None:
        """Look at how a call ended, close what came of it, and see that nothing is left open."""
        for promise, what in call.faults:
            self._fail(promise, what)
        if not call.is_cancelled:
            self._judge(call, task)
        response = None if task.cancelled() else _response_of(task)
        if response is not None:
            await response.close()
            if response.headers.get(_MARK, call.name) != call.name:
                self._fail(5, "one call returned the response of another")
        for response in call.responses:
            if not response.is_closed:
                self._fail(4, f"the response with status {response.status} was still open at the end")

    # --- the trials

    def _check_shape(self, middleware: object) -> None:
        inner = _unwrapped(middleware)
        call = inner if inspect.isroutine(inner) else type(inner).__call__ if callable(inner) else None
        if isinstance(inner, type) or not inspect.iscoroutinefunction(call):
            raise AssertionError(
                f"{self._name} is no middleware: write it as 'async def' of (request, handler), "
                "or as a class with such a __call__, and give an instance of it"
            )

    async def _try_alone(self, scenario: _Scenario, *, stream: bool, ready: bool = False) -> None:
        self._words = f"{'streaming and ' * stream}answered {'on the spot ' * ready}with {scenario.words}"
        middleware = self._new()
        call = self._call(middleware, scenario, stream=stream, ready=ready)
        task = await self._finish(_Awaits(call))
        if stream:
            self._look_at_stream(call, task)
        await self._settle(call, task)
        self._look_for_state(middleware)
        await self._try_again(middleware)

    async def _try_again(self, middleware: Middleware) -> None:
        """See that the call before has left nothing behind that shows in the next."""
        self._words += ", and in the next call"
        call = self._call(middleware, _FINE, _SECOND)
        await self._settle(call, await self._finish(_Awaits(call)))

    async def _try_cancelled(self, scenario: _Scenario, *, stream: bool) -> None:
        for number in range(1, _MOST_AWAITS):
            self._words = f"cancelled at its await number {number}, {'streaming and ' * stream}answered with "
            self._words += scenario.words
            call = self._call(self._new(), scenario, stream=stream)
            awaits = _Awaits(call, cancel_at=number)
            task = await self._finish(awaits)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if not call.is_cancelled:
                await self._settle(call, task)
                return
            if not task.cancelled():
                error = task.exception()
                came = "returned a response" if error is None else f"raised {_kind(error)}"
                self._fail(5, f"it {came} in place of CancelledError", error)
            if task.cancelling() != 1:
                self._fail(5, "it took the cancellation back with uncancel()")
            await self._settle(call, task)
            await self._try_again(call.middleware)

    async def _try_one_sending(self, scenario: _Scenario) -> None:
        self._words = f"with a body that can be sent only once, answered with {scenario.words}"
        call = self._call(self._new(), scenario)
        call.request.method = "POST"
        call.request.body = Body(_Pieces((b"1", b"2")))
        await self._settle(call, await self._finish(_Awaits(call)))

    async def _try_two_calls(self, scenario: _Scenario) -> None:
        """Run a second call in the middle of the first, at each of its awaits, and after it."""
        self._words = f"with one call after another, answered with {scenario.words}"
        after = await self._after_one_another(scenario)
        again = await self._after_one_another(scenario)
        volatile = _differences(after, again)
        for number in range(1, _MOST_AWAITS):
            self._words = f"with a second call in its await number {number}, answered with {scenario.words}"
            middleware = self._new()
            calls = (self._call(middleware, scenario), self._call(middleware, _FINE, _SECOND))
            if not await self._one_in_the_other(*calls, number):
                return
            self._compare(scenario, calls, after, volatile)

    async def _after_one_another(self, scenario: _Scenario) -> tuple[list[_Trace], list[_Trace]]:
        middleware = self._new()
        first, second = self._call(middleware, scenario), self._call(middleware, _FINE, _SECOND)
        for call in (first, second):
            await self._settle(call, await self._finish(_Awaits(call)))
        return first.traces, second.traces

    async def _one_in_the_other(self, first: _Call, second: _Call, number: int) -> bool:
        """Run both; False when the first one has no await of that number."""
        others: list[asyncio.Task[AsyncAPIResponse[Any]]] = []

        async def pause() -> None:
            others.append(self._start(_Awaits(second)))
            # Not until it is done: the first call may hold what the second one waits for.
            for _ in range(_TURNS):
                await asyncio.sleep(0)

        await self._settle(first, await self._finish(_Awaits(first, pause_at=number, pause=pause)))
        if not others:
            return False
        # Only now: what the first call held is free since it was settled.
        await self._wait_for(others[0])
        await self._settle(second, others[0])
        return True

    def _compare(
        self,
        scenario: _Scenario,
        calls: tuple[_Call, _Call],
        after: tuple[list[_Trace], list[_Trace]],
        volatile: set[str],
    ) -> None:
        for call, expected in zip(calls, after, strict=True):
            if len(call.traces) != len(expected):
                sends = f"{len(call.traces)} times, and {len(expected)} times alone"
                self._fail(5, f"the {call.name} call was sent {sends}")
            # A failed call may well change what the next one sends: a token that was renewed.
            if scenario is _FINE:
                for seen, wanted in zip(call.traces, expected, strict=True):
                    if seen.without(volatile) != wanted.without(volatile):
                        self._fail(5, f"the {call.name} call was sent otherwise than alone")

    # --- what trials look at

    def _judge(self, call: _Call, task: asyncio.Task[AsyncAPIResponse[Any]]) -> None:
        """See whether a call ended in one of the ways that the promises leave."""
        if task.cancelled():
            self._fail(5, "it raised CancelledError, and nobody had cancelled it")
        error = task.exception()
        if error is None:
            result: object = task.result()
            if not is_response(result):
                self._fail(2, f"it returned {_kind(result)}, not an AsyncAPIResponse")
        elif not call.sends or any(_chain(error) & _chain(cause) for cause in call.errors):
            return  # its own refusal, or what it was given
        elif isinstance(error, RetryableError):
            self._judge_retryable(error)
        elif call.errors:
            promise = 6 if isinstance(call.errors[-1], RetryableError) else 2
            self._fail(
                promise, f"it raised {_kind(error)} that is not raised from what the handler raised", error
            )
        elif not isinstance(error, _OWN_ERRORS):
            promise = 3 if "on the spot" in self._words else 2
            self._fail(promise, f"it raised {_kind(error)} in place of the response", error)

    def _judge_retryable(self, error: RetryableError) -> None:
        response = error.response
        if response is None and error.__cause__ is None:
            self._fail(6, "its RetryableError has no response and no cause, and hides what happened", error)
        if response is not None and response.is_closed and not _has_body(response):
            self._fail(6, "the response of its RetryableError was closed unread, and its body is lost", error)

    def _look_at_stream(self, call: _Call, task: asyncio.Task[AsyncAPIResponse[Any]]) -> None:
        """See that a stream that is handed on still has all of its pieces."""
        response = None if task.cancelled() or task.exception() else _response_of(task)
        if response is None or response not in call.responses or response.status != 200:
            return
        if response.is_closed:
            self._fail(4, "the stream that it returned was closed or read already")
        if call.bodies and call.bodies[-1].asked:
            self._fail(4, "the stream that it returned was begun, and is not whole any more")

    def _look_for_state(self, middleware: object) -> None:
        middleware = _unwrapped(middleware)
        owner = getattr(middleware, "__self__", middleware)
        slots = (name for cls in type(owner).__mro__ for name in getattr(cls, "__slots__", ()))
        for name in (*getattr(owner, "__dict__", ()), *slots):
            value = getattr(owner, name, None)
            if is_response(value) or isinstance(value, APIRequest):
                self._fail(5, f"its attribute {name!r} holds {_kind(value)} of a single call")


async def _end(tasks: set[asyncio.Task[AsyncAPIResponse[Any]]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1)


def _response_of(task: asyncio.Task[AsyncAPIResponse[Any]]) -> AsyncAPIResponse[Any] | None:
    """The response that a call ended with, returned or in a `RetryableError`."""
    error = task.exception()
    if error is None:
        return task.result()
    return error.response if isinstance(error, RetryableError) else None


def _chain(error: BaseException) -> set[int]:
    """The identities of *error* and of its causes."""
    found: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in found:
        found.add(id(cause))
        cause = cause.__cause__
    return found


def _has_body(response: AsyncAPIResponse[Any]) -> bool:
    try:
        _ = response.body
    except StreamConsumedError:
        return False
    return True


def _differences(one: tuple[list[_Trace], ...], other: tuple[list[_Trace], ...]) -> set[str]:
    """The headers that are not the same in two runs of the same: ids and times."""
    different: set[str] = set()
    for some, others in zip(one, other, strict=True):
        for trace, twin in zip(some, others, strict=False):
            names = trace.headers.keys() | twin.headers.keys()
            different |= {name for name in names if trace.headers.get(name) != twin.headers.get(name)}
    return different


def _unwrapped(middleware: object) -> object:
    """The function or object itself, out of its place and its bound arguments."""
    while isinstance(middleware, partial | Placed):
        middleware = middleware.func if isinstance(middleware, partial) else middleware.middleware
    return middleware


def _name_of(middleware: object) -> str:
    middleware = _unwrapped(middleware)
    name: str = getattr(middleware, "__qualname__", type(middleware).__qualname__)
    return name.rpartition("<locals>.")[2]


def _kind(value: object) -> str:
    return f"{'an' if type(value).__name__[0] in 'AEIOU' else 'a'} {type(value).__name__}"
