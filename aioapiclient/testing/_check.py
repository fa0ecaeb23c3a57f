"""`check_middleware`: trials that check whether a middleware keeps the six promises of the contract."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NoReturn

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Body, Middleware, Placed
from aioapiclient.errors import (
    APIConnectionError,
    APIResponseValidationError,
    BodyTooLargeError,
    RequestNotReplayableError,
    RetryableError,
    StreamConsumedError,
    TooManyRedirectsError,
)

from ._scenarios import (
    FINE,
    FOR_ONE_SENDING,
    FOR_TWO_CALLS,
    MARK,
    SCENARIOS,
    Awaits,
    Call,
    Pieces,
    Scenario,
    Trace,
    default_request,
)
from ._transport import is_response

__all__ = ["check_middleware"]

_PROMISES: Final[Mapping[int, str]] = {
    1: "a middleware owns the request it receives, and each call of the handler gets its own copy",
    2: "a response of any status is returned as a response, and an error propagates unchanged",
    3: "a middleware need not call the handler, and a response may be created without it",
    4: "a discarded response is closed, and a streaming one is left to its reader",
    5: "CancelledError propagates unchanged, and self keeps no state of a single call",
    6: "to ask for a retry, return the failed response or raise RetryableError from its cause",
}

# The errors with which a middleware may end a call after responses arrived.
_OWN_ERRORS = (
    APIConnectionError,
    APIResponseValidationError,
    BodyTooLargeError,
    RequestNotReplayableError,
    TooManyRedirectsError,
)
_FIRST, _SECOND = "first", "second"
_TURNS = 20  # loop iterations in which a background task may misbehave
_MOST_AWAITS = 100  # awaits of one call to cancel at, at most; real middlewares have fewer


async def _run(awaits: Awaits) -> AsyncAPIResponse[Any]:
    return await awaits


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not log it


async def check_middleware(
    factory: Callable[[], Middleware],
    *,
    request: Callable[[], APIRequest] | None = None,
    time_limit: float = 10.0,
) -> None:
    """Check that a middleware keeps the six promises of `aioapiclient.contract`.

    Each trial sends requests to a handler that is as hostile as the promises allow: it changes its arguments,
    answers with every family of status, fails in every way, and streams. A trial is repeated with a
    cancellation at each await of the middleware, and with another call during each await. One thing cannot be
    checked from outside: whether a middleware that counts calls in flight uses ``on_close``.

    Args:
        factory: Creates a new middleware for each trial: a class or a ``lambda``. Pass it sleeps and clocks
            that do not wait (`FakeClock`), since the trials fail and retry often.
        request: Creates the requests, for a middleware that acts only on some. By default a GET to the
            client's own origin.
        time_limit: Seconds after which a trial that is still waiting fails; 10 by default.

    Raises:
        AssertionError: A promise is broken. The text names it, the trial, and the result.
        TypeError: *factory* is not a factory.
    """
    if inspect.iscoroutinefunction(factory) or not callable(factory):
        raise TypeError(
            "factory must be a function that creates a middleware, such as a class or 'lambda: middleware'"
        )
    await _Check(factory, request or default_request, time_limit).run()


class _Check:
    """All trials of one middleware."""

    def __init__(
        self, factory: Callable[[], Middleware], request: Callable[[], APIRequest], time_limit: float
    ) -> None:
        self._factory = factory
        self._request = request
        self._time_limit = time_limit
        self._made: dict[int, Middleware] = {}
        self._running: set[asyncio.Task[AsyncAPIResponse[Any]]] = set()
        self._name = ""
        self._words = ""

    async def run(self) -> None:
        """Run every trial; the first failure raises."""
        try:
            self._check_shape(self._new())
            for scenario in SCENARIOS:
                for stream in (False, True):
                    await self._try_alone(scenario, stream=stream)
                    await self._try_alone(scenario, stream=stream, ready=True)
                    await self._try_cancelled(scenario, stream=stream)
            for scenario in FOR_ONE_SENDING:
                await self._try_one_sending(scenario)
            for scenario in FOR_TWO_CALLS:
                await self._try_two_calls(scenario)
        finally:
            await _end(self._running)
            for middleware in self._made.values():
                close = getattr(middleware, "close", None)
                if inspect.iscoroutinefunction(close):
                    await close()

    # --- the parts of trials

    def _new(self) -> Middleware:
        middleware = self._factory()
        self._made[id(middleware)] = middleware
        self._name = _name_of(middleware)
        return middleware

    def _call(
        self,
        middleware: Middleware,
        scenario: Scenario,
        name: str = _FIRST,
        *,
        stream: bool = False,
        ready: bool = False,
    ) -> Call:
        request = self._request()
        request.stream = stream
        return Call(middleware, request, scenario, name, ready=ready)

    def _fail(self, promise: int, what: str, error: BaseException | None = None) -> NoReturn:
        message = f"{self._name} breaks promise {promise} ({_PROMISES[promise]}): {self._words}, {what}"
        raise AssertionError(message) from error

    def _start(self, awaits: Awaits) -> asyncio.Task[AsyncAPIResponse[Any]]:
        """Run one call in a separate task."""
        task = asyncio.ensure_future(_run(awaits))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(_retrieve)
        return task

    async def _wait_for(self, task: asyncio.Task[AsyncAPIResponse[Any]]) -> None:
        await asyncio.wait({task}, timeout=self._time_limit)
        if not task.done():
            raise AssertionError(
                f"{self._name} kept its caller waiting: {self._words}, "
                f"the call did not end within {self._time_limit:g} seconds"
            )

    async def _finish(self, awaits: Awaits) -> asyncio.Task[AsyncAPIResponse[Any]]:
        task = self._start(awaits)
        await self._wait_for(task)
        return task

    async def _settle(self, call: Call, task: asyncio.Task[AsyncAPIResponse[Any]]) -> None:
        """Check how a call ended, close its response, and check that no response is left open."""
        for promise, what in call.faults:
            self._fail(promise, what)
        if not call.is_cancelled:
            self._judge(call, task)
        response = None if task.cancelled() else _response_of(task)
        if response is not None:
            await response.close()
            if response.headers.get(MARK, call.name) != call.name:
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
                f"{self._name} is not a middleware: write it as 'async def' of (request, handler), "
                "or as a class with such a __call__, and pass an instance of it"
            )

    async def _try_alone(self, scenario: Scenario, *, stream: bool, ready: bool = False) -> None:
        self._words = f"{'streaming and ' * stream}answered {'on the spot ' * ready}with {scenario.words}"
        middleware = self._new()
        call = self._call(middleware, scenario, stream=stream, ready=ready)
        task = await self._finish(Awaits(call))
        if stream:
            self._look_at_stream(call, task)
        await self._settle(call, task)
        self._look_for_state(middleware)
        await self._try_again(middleware)

    async def _try_again(self, middleware: Middleware) -> None:
        """Check that the previous call does not affect the next."""
        self._words += ", and in the next call"
        call = self._call(middleware, FINE, _SECOND)
        await self._settle(call, await self._finish(Awaits(call)))

    async def _try_cancelled(self, scenario: Scenario, *, stream: bool) -> None:
        for number in range(1, _MOST_AWAITS):
            self._words = f"cancelled at its await number {number}, {'streaming and ' * stream}answered with "
            self._words += scenario.words
            call = self._call(self._new(), scenario, stream=stream)
            awaits = Awaits(call, cancel_at=number)
            task = await self._finish(awaits)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if not call.is_cancelled:
                await self._settle(call, task)
                return
            if not task.cancelled():
                error = task.exception()
                came = "returned a response" if error is None else f"raised {_kind(error)}"
                self._fail(5, f"it {came} instead of CancelledError", error)
            if task.cancelling() != 1:
                self._fail(5, "it revoked the cancellation with uncancel()")
            await self._settle(call, task)
            await self._try_again(call.middleware)

    async def _try_one_sending(self, scenario: Scenario) -> None:
        self._words = f"with a body that can be sent only once, answered with {scenario.words}"
        call = self._call(self._new(), scenario)
        call.request.method = "POST"
        call.request.body = Body(Pieces((b"1", b"2")))
        await self._settle(call, await self._finish(Awaits(call)))

    async def _try_two_calls(self, scenario: Scenario) -> None:
        """Run a second call in the middle of the first, at each of its awaits, and after it."""
        self._words = f"with one call after another, answered with {scenario.words}"
        after = await self._after_one_another(scenario)
        again = await self._after_one_another(scenario)
        volatile = _differences(after, again)
        for number in range(1, _MOST_AWAITS):
            self._words = f"with a second call in its await number {number}, answered with {scenario.words}"
            middleware = self._new()
            calls = (self._call(middleware, scenario), self._call(middleware, FINE, _SECOND))
            if not await self._one_in_the_other(*calls, number):
                return
            self._compare(scenario, calls, after, volatile)

    async def _after_one_another(self, scenario: Scenario) -> tuple[list[Trace], list[Trace]]:
        middleware = self._new()
        first, second = self._call(middleware, scenario), self._call(middleware, FINE, _SECOND)
        for call in (first, second):
            await self._settle(call, await self._finish(Awaits(call)))
        return first.traces, second.traces

    async def _one_in_the_other(self, first: Call, second: Call, number: int) -> bool:
        """Run both calls; return False if the first one has fewer awaits than *number*."""
        others: list[asyncio.Task[AsyncAPIResponse[Any]]] = []

        async def pause() -> None:
            others.append(self._start(Awaits(second)))
            # Do not wait until it is done: the first call may hold a slot that the second one waits for.
            for _ in range(_TURNS):
                await asyncio.sleep(0)

        await self._settle(first, await self._finish(Awaits(first, pause_at=number, pause=pause)))
        if not others:
            return False
        # Only now is the slot of the first call free.
        await self._wait_for(others[0])
        await self._settle(second, others[0])
        return True

    def _compare(
        self,
        scenario: Scenario,
        calls: tuple[Call, Call],
        after: tuple[list[Trace], list[Trace]],
        volatile: set[str],
    ) -> None:
        for call, expected in zip(calls, after, strict=True):
            if len(call.traces) != len(expected):
                sends = f"{len(call.traces)} times, and {len(expected)} times alone"
                self._fail(5, f"the {call.name} call was sent {sends}")
            # A failed call may change the next request, for example by a renewed token.
            if scenario is FINE:
                for seen, wanted in zip(call.traces, expected, strict=True):
                    if seen.without(volatile) != wanted.without(volatile):
                        self._fail(5, f"the {call.name} call was sent differently than alone")

    # --- the checks of trials

    def _judge(self, call: Call, task: asyncio.Task[AsyncAPIResponse[Any]]) -> None:
        """Check that a call ended in one of the ways that the promises allow."""
        if task.cancelled():
            self._fail(5, "it raised CancelledError without being cancelled")
        error = task.exception()
        if error is None:
            result: object = task.result()
            if not is_response(result):
                self._fail(2, f"it returned {_kind(result)}, not an AsyncAPIResponse")
        elif not call.sends or any(_chain(error) & _chain(cause) for cause in call.errors):
            return  # the middleware refused the request, or passed on the error of the handler
        elif isinstance(error, RetryableError):
            self._judge_retryable(error)
        elif call.errors:
            promise = 6 if isinstance(call.errors[-1], RetryableError) else 2
            self._fail(
                promise, f"it raised {_kind(error)} that is not raised from the handler's error", error
            )
        elif not isinstance(error, _OWN_ERRORS):
            promise = 3 if "on the spot" in self._words else 2
            self._fail(promise, f"it raised {_kind(error)} instead of the response", error)

    def _judge_retryable(self, error: RetryableError) -> None:
        response = error.response
        if response is None and error.__cause__ is None:
            self._fail(6, "its RetryableError has no response and no cause, and hides the failure", error)
        if response is not None and response.is_closed and not _has_body(response):
            self._fail(6, "the response of its RetryableError was closed unread: its body is missing", error)

    def _look_at_stream(self, call: Call, task: asyncio.Task[AsyncAPIResponse[Any]]) -> None:
        """Check that a returned stream still has all of its pieces."""
        response = None if task.cancelled() or task.exception() else _response_of(task)
        if response is None or response not in call.responses or response.status != 200:
            return
        if response.is_closed:
            self._fail(4, "the stream that it returned had already been closed or read")
        if call.bodies and call.bodies[-1].asked:
            self._fail(4, "the stream that it returned had already been read in part")

    def _look_for_state(self, middleware: object) -> None:
        middleware = _unwrapped(middleware)
        owner = getattr(middleware, "__self__", middleware)
        slots = (name for cls in type(owner).__mro__ for name in getattr(cls, "__slots__", ()))
        for name in (*getattr(owner, "__dict__", ()), *slots):
            value = getattr(owner, name, None)
            if is_response(value) or isinstance(value, APIRequest):
                self._fail(5, f"its attribute {name!r} contains {_kind(value)} of a single call")


async def _end(tasks: set[asyncio.Task[AsyncAPIResponse[Any]]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1)


def _response_of(task: asyncio.Task[AsyncAPIResponse[Any]]) -> AsyncAPIResponse[Any] | None:
    """Return the response with which a call ended, returned or in a `RetryableError`."""
    error = task.exception()
    if error is None:
        return task.result()
    return error.response if isinstance(error, RetryableError) else None


def _chain(error: BaseException) -> set[int]:
    """Return the identities of *error* and of its causes."""
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


def _differences(one: tuple[list[Trace], ...], other: tuple[list[Trace], ...]) -> set[str]:
    """Return the headers that differ between two identical runs, such as IDs and times."""
    different: set[str] = set()
    for some, others in zip(one, other, strict=True):
        for trace, twin in zip(some, others, strict=False):
            names = trace.headers.keys() | twin.headers.keys()
            different |= {name for name in names if trace.headers.get(name) != twin.headers.get(name)}
    return different


def _unwrapped(middleware: object) -> object:
    """Return the function or object itself, without its place and bound arguments."""
    while isinstance(middleware, partial | Placed):
        middleware = middleware.func if isinstance(middleware, partial) else middleware.middleware
    return middleware


def _name_of(middleware: object) -> str:
    middleware = _unwrapped(middleware)
    name: str = getattr(middleware, "__qualname__", type(middleware).__qualname__)
    return name.rpartition("<locals>.")[2]


def _kind(value: object) -> str:
    return f"{'an' if type(value).__name__[0] in 'AEIOU' else 'a'} {type(value).__name__}"
