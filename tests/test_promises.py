"""`check_middleware`: a middleware that keeps the six promises passes; for another, the error names the
broken one.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any, cast

import pytest

from aioapiclient import (
    APIClientError,
    APIConnectionError,
    APIRequest,
    APITimeoutError,
    AsyncAPIResponse,
    InternalServerError,
    RequestNotReplayableError,
    RetryableError,
    RetryPolicy,
    Timeout,
)
from aioapiclient.contract import Handler, Middleware, Token, per_attempt
from aioapiclient.middleware import (
    AuthMiddleware,
    DeadlineMiddleware,
    DecodingMiddleware,
    HeadersMiddleware,
    RedirectMiddleware,
    RetryMiddleware,
    TimeoutMiddleware,
)
from aioapiclient.middleware.auth import APIKeyAuth, BasicAuth, BearerAuth
from aioapiclient.testing import FakeClock, check_middleware

URL = "https://api.example.com/users/7"


def get(**fields: Any) -> APIRequest:
    """A hand-made request."""
    return APIRequest("GET", cast("Any", URL), **fields)


# --- middlewares that keep the promises


def tokens() -> Callable[[], Awaitable[Token]]:
    """A provider of tokens, a different one each time."""
    made = count()

    async def provide() -> Token:
        await asyncio.sleep(0)
        return Token(f"t{next(made)}", 3600)

    return provide


async def undecided(request: APIRequest, outcome: object) -> None:
    """A retry verdict that leaves the decision to the table, after a while."""
    await asyncio.sleep(0)


BUILT_IN: dict[str, Callable[[], Middleware]] = {
    "auth without a credential": AuthMiddleware,
    "auth with a static token": lambda: AuthMiddleware(BearerAuth("token")),
    "auth with a provider": lambda: AuthMiddleware(BearerAuth(tokens())),
    "auth with a user": lambda: AuthMiddleware(BasicAuth("user", "password")),
    "auth with a key in a header": lambda: AuthMiddleware(APIKeyAuth("key")),
    "auth with a key in the query": lambda: AuthMiddleware(APIKeyAuth("key", param="key")),
    "headers": lambda: HeadersMiddleware({"X-Tenant": "7"}, library={"User-Agent": "test"}),
    "redirect": RedirectMiddleware,
    "retry": lambda: RetryMiddleware(sleep=FakeClock().sleep),
    "retry of everything": lambda: RetryMiddleware(RetryPolicy(retry_unsafe=True), sleep=FakeClock().sleep),
    "retry with a verdict": lambda: RetryMiddleware(RetryPolicy(verdict=undecided), sleep=FakeClock().sleep),
    "deadline": DeadlineMiddleware,
    "timeout": TimeoutMiddleware,
    "decoding": DecodingMiddleware,
}


@pytest.mark.parametrize("name", BUILT_IN)
async def test_every_built_in_keeps_the_promises(name: str) -> None:
    """The middlewares of the default chain keep the same promises."""
    await check_middleware(BUILT_IN[name])


async def test_a_timeout_with_a_limit_keeps_the_promises() -> None:
    """The limits of one attempt and of a whole call keep them too if they are set."""

    def limited() -> APIRequest:
        return get(timeout=Timeout(total=60.0, attempt=30.0))

    for factory in (DeadlineMiddleware, TimeoutMiddleware):
        await check_middleware(factory, request=limited)


async def timed(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Records the duration of a call."""
    label = request.label
    try:
        return await handler(request)
    finally:
        logging.getLogger(__name__).debug("%s", label)


async def canned(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Answers on the spot."""
    return AsyncAPIResponse.from_bytes(request, 200, {"X-Canned": "1"}, b"{}")


async def refusing(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Sends nothing, like an open circuit breaker."""
    raise APIClientError("The circuit is open")


async def picky(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Requests a retry in the right way."""
    response = await handler(request)
    if response.status == 404:
        raise RetryableError("not there yet", response=response)
    return response


async def explaining(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Raises its own error from the transport's."""
    try:
        return await handler(request)
    except APIConnectionError as error:
        raise APIClientError("The service is down") from error


async def with_fallback(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Calls a second host when the first one fails."""
    second = request.copy()
    try:
        response = await handler(request)
    except APIConnectionError:
        if not second.can_be_sent:
            raise
        return await handler(second)
    if response.status < 500 or not second.can_be_sent:
        return response
    await response.close()
    return await handler(second)


async def hedged(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Sends twice and returns the first response."""
    if request.body is not None:
        return await handler(request)
    sends = [asyncio.ensure_future(handler(request.copy())) for _ in range(2)]
    winner: asyncio.Future[AsyncAPIResponse[Any]] | None = None
    try:
        await asyncio.wait(sends, return_when=asyncio.FIRST_COMPLETED)
        winner = next(send for send in sends if send.done())
        return winner.result()
    finally:
        for send in sends:
            if send is not winner and not send.cancel() and send.exception() is None:
                await send.result().close()


class Limited:
    """Lets one call through at a time, including its stream."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(1)

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* when no other call is in flight."""
        await self._free.acquire()
        try:
            response = await handler(request)
        except BaseException:
            self._free.release()
            raise
        response.on_close(self._free.release)
        return response


class Numbered:
    """Numbers the calls: state of all of them, not of one."""

    def __init__(self) -> None:
        self._numbers = count()

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* with its number."""
        request.headers["X-Number"] = str(next(self._numbers))
        request.headers["X-Random"] = str(id(object()))
        return await handler(request)

    async def placed(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request*; as a method, this is a middleware too."""
        return await handler(request)


async def tagged(tag: str, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Sends a tag."""
    request.headers["X-Tag"] = tag
    return await handler(request)


GOOD: dict[str, Callable[[], Middleware]] = {
    "a function that looks on": lambda: timed,
    "an answer on the spot": lambda: canned,
    "a refusal": lambda: refusing,
    "a request for a retry": lambda: picky,
    "an error with its cause": lambda: explaining,
    "a fallback": lambda: with_fallback,
    "a hedge": lambda: hedged,
    "a limit of one": Limited,
    "a counter": Numbered,
    "a method": lambda: Numbered().placed,
    "a partial": lambda: functools.partial(tagged, "blue"),
    "one with a place": lambda: per_attempt(Numbered()),
}


@pytest.mark.parametrize("name", GOOD)
async def test_what_keeps_the_promises_passes(name: str) -> None:
    """Caches, hedges, limits, fallbacks and the like pass when they keep the promises."""
    await check_middleware(GOOD[name])


async def test_what_a_middleware_holds_is_closed() -> None:
    """A middleware with an async close() is closed after the trials, once."""
    closed: list[object] = []

    class Holding(Numbered):
        async def close(self) -> None:
            closed.append(self)

    one = Holding()
    await check_middleware(lambda: one)

    assert closed == [one]


# --- middlewares that break them


async def same_request_again(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Passes one request object to the handler twice."""
    response = await handler(request)
    if response.status == 503:
        await response.close()
        return await handler(request)
    return response


async def shared_headers(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Copies the request, and keeps the headers of the first one."""
    twin = request.copy()
    twin.headers = request.headers
    response = await handler(request)
    if response.status == 503:
        await response.close()
        return await handler(twin)
    return response


async def copied_too_late(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Copies the request after it has given it away."""
    response = await handler(request)
    if response.status == 503:
        await response.close()
        return await handler(request.copy())
    return response


async def own_extensions(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Cuts the call off from its extensions."""
    request.extensions = dict(request.extensions)
    return await handler(request)


class OneHeadersForAll:
    def __init__(self) -> None:
        self.headers = get().headers

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        request.headers = self.headers
        return await handler(request)


async def reads_the_body(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Uses the body up before it is sent."""
    if request.body is not None:
        async for _ in request.body:
            pass
    return await handler(request)


async def resends_the_body(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Sends again without a look at the body."""
    twin = request.copy()
    response = await handler(request)
    if response.status == 503:
        await response.close()
        with suppress(RequestNotReplayableError):
            return await handler(twin)
    return response


async def raises_for_status(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Raises an error that only the client should raise."""
    response = await handler(request)
    if response.status >= 400:
        await response.close()
        raise InternalServerError(status=response.status)
    return response


async def returns_data(request: APIRequest, handler: Handler) -> Any:
    """Returns the value instead of the response."""
    return await (await handler(request)).json()


async def returns_nothing(request: APIRequest, handler: Handler) -> Any:
    """Forgets to return."""
    await (await handler(request)).close()


async def hides_the_error(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Raises another error without its cause."""
    try:
        return await handler(request)
    except APITimeoutError:
        raise APIClientError("too slow") from None


async def refuses_what_is_closed(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Fails on an answer that came without a connection."""
    response = await handler(request)
    if response.is_closed and not response.headers.get("X-Vandal"):
        raise RuntimeError("closed already")
    return response


async def leaks_what_failed(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Drops a failed response."""
    twin = request.copy()
    response = await handler(request)
    return await handler(twin) if response.status == 503 else response


async def replaces_without_closing(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Returns another response instead of the one that it drops."""
    response = await handler(request)
    if response.status == 404:
        return AsyncAPIResponse.from_bytes(response.request, 200, None, b"{}")
    return response


async def leaks_when_cancelled(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Waits while it holds a response, and does not close it when it is cancelled."""
    response = await handler(request)
    await asyncio.sleep(0)
    return response


async def reads_streams(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Reads every body, even of a stream."""
    response = await handler(request)
    await response.read()
    return response


async def closes_streams(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Returns a response from within a block that closes it."""
    async with await handler(request) as response:
        return response


async def peeks_into_streams(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Reads the first piece of a stream."""
    stream = request.stream
    response = await handler(request)
    source = response._source  # pyright: ignore[reportPrivateUsage]
    if stream and source is not None:
        try:
            await source.read_chunk()
        except BaseException:
            await response.close()
            raise
    return response


async def swallows_the_cancellation(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Mistakes a cancellation for a failure of the service."""
    twin = request.copy()
    try:
        return await handler(request)
    except asyncio.CancelledError:
        return AsyncAPIResponse.from_bytes(twin, 503)


async def renames_the_cancellation(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Turns a cancellation into its own error."""
    try:
        return await handler(request)
    except asyncio.CancelledError:
        raise APIConnectionError("interrupted") from None


async def takes_the_cancellation_back(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Spoils the count by which a timeout knows its own cancellation."""
    try:
        return await handler(request)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        raise


async def sends_after_the_cancellation(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Reports the cancellation to the server."""
    twin = request.copy()
    try:
        return await handler(request)
    except asyncio.CancelledError:
        await (await handler(twin)).close()
        raise


async def leaves_a_task_behind(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Continues in the background after the caller was cancelled."""

    async def later() -> None:
        await asyncio.sleep(0)
        await (await handler(request.copy())).close()

    send = asyncio.ensure_future(handler(request.copy()))
    try:
        return await asyncio.shield(send)
    except asyncio.CancelledError:
        asyncio.get_running_loop().call_soon(lambda: BEHIND.append(asyncio.ensure_future(later())))
        await (await send).close()
        raise


BEHIND: list[asyncio.Future[None]] = []


async def cancels_itself(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Raises CancelledError like an ordinary error."""
    response = await handler(request)
    if response.status == 500:
        await response.close()
        raise asyncio.CancelledError
    return response


class KeepsTheRequest:
    def __init__(self) -> None:
        self.request: APIRequest | None = None

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        self.request = request
        return await handler(request)


class KeepsTheResponseInASlot:
    __slots__ = ("response",)

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        self.response = await handler(request)
        return self.response


class SendsTheLatest:
    def __init__(self) -> None:
        self._latest: list[APIRequest] = []

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        self._latest[:] = [request]
        await asyncio.sleep(0)
        return await handler(self._latest[0].copy())


class ReturnsTheLatest:
    def __init__(self) -> None:
        self._latest: dict[str, AsyncAPIResponse[Any]] = {}

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        before = self._latest.pop("", None)
        response = await handler(request)
        if response.status == 503 or before is not None:
            return before or response
        self._latest[""] = response
        return response


class SignsOnSelf:
    def __init__(self) -> None:
        self._signature = ""

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        self._signature = f"signed {request.url.query['call']}"
        await asyncio.sleep(0)
        request.headers["X-Signature"] = self._signature
        return await handler(request)


class CountsItsAttempts:
    def __init__(self) -> None:
        self._attempts = 0

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        self._attempts = 0
        while True:
            self._attempts += 1
            response = await handler(request.copy())
            if response.status != 503 or self._attempts == 3 or not request.can_be_sent:
                return response
            await response.close()


async def empty_retry(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Requests a retry without a response or a cause."""
    response = await handler(request)
    if response.status == 404:
        await response.close()
        raise RetryableError("not there yet")
    return response


async def retry_without_a_body(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Requests a retry of a response whose body it has discarded."""
    response = await handler(request)
    if response.status == 404:
        await response.close()
        raise RetryableError("not there yet", response=response)
    return response


async def hides_the_retry(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Removes another middleware's request for a retry."""
    try:
        return await handler(request)
    except RetryableError:
        raise APIClientError("no retries here") from None


class Leaking:
    def __init__(self) -> None:
        self._free = asyncio.Semaphore(1)

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        await self._free.acquire()
        response = await handler(request)
        self._free.release()
        return response


def not_async(request: APIRequest, handler: Handler) -> Any:
    """Is not async."""
    return handler(request)


class NotAsync:
    def __call__(self, request: APIRequest, handler: Handler) -> Any:
        return handler(request)


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: same_request_again, r"promise 1 .* status 503, .* twice with the same request"),
    (lambda: shared_headers, "promise 1 .* two requests that share their headers"),
    (
        lambda: copied_too_late,
        "promise 1 .* a handler's change to its own request is visible in another",
    ),
    (lambda: own_extensions, "promise 1 .* does not share the extensions dict"),
    (
        OneHeadersForAll,
        "promise 1 .*, and in the next call, a handler's change to its own request is visible",
    ),
    (lambda: reads_the_body, "promise 1 .* used up before it was sent"),
    (lambda: resends_the_body, "promise 1 .* called again with a body that can be sent only once"),
    (lambda: raises_for_status, "promise 2 .* status 401, it raised an InternalServerError instead of"),
    (lambda: returns_data, "promise 2 .* it returned a dict, not an AsyncAPIResponse"),
    (lambda: returns_nothing, "promise 2 .* it returned a NoneType, not an AsyncAPIResponse"),
    (lambda: hides_the_error, "promise 2 .* APITimeoutError .* an APIClientError that is not raised from"),
    (lambda: refuses_what_is_closed, "promise 3 .* on the spot with status 200, it raised a RuntimeError"),
    (lambda: leaks_what_failed, "promise 4 .* the response with status 503 was still open"),
    (lambda: replaces_without_closing, "promise 4 .* the response with status 404 was still open"),
    (lambda: leaks_when_cancelled, "promise 4 .* cancelled at its await number 2, .* 200 was still open"),
    (lambda: reads_streams, "promise 4 .* already been closed or read"),
    (lambda: closes_streams, "promise 4 .* already been closed or read"),
    (lambda: peeks_into_streams, "promise 4 .* already been read in part"),
    (lambda: swallows_the_cancellation, "promise 5 .* number 1, .* returned a response instead of Cancel"),
    (lambda: renames_the_cancellation, "promise 5 .* raised an APIConnectionError instead of CancelledErr"),
    (lambda: takes_the_cancellation_back, r"promise 5 .* revoked the cancellation with uncancel\(\)"),
    (lambda: sends_after_the_cancellation, "promise 5 .* handler was called after the call was cancelled"),
    (lambda: leaves_a_task_behind, "promise 5 .* handler was called after the call was cancelled"),
    (lambda: cancels_itself, "promise 5 .* status 500, it raised CancelledError without"),
    (KeepsTheRequest, "promise 5 .* 'request' contains an APIRequest of a single call"),
    (KeepsTheResponseInASlot, "promise 5 .* 'response' contains an AsyncAPIResponse of a single call"),
    (SendsTheLatest, "promise 5 .* the handler of one call got the request of another"),
    (ReturnsTheLatest, "promise 5 .* one call returned the response of another"),
    (SignsOnSelf, "promise 5 .* with a second call in its await number 1, .* sent differently than alone"),
    (CountsItsAttempts, "promise 5 .* the first call was sent . times, and 3 times alone"),
    (lambda: empty_retry, "promise 6 .* has no response and no cause"),
    (lambda: retry_without_a_body, "promise 6 .* was closed unread: its body is missing"),
    (lambda: hides_the_retry, "promise 6 .* a RetryableError, it raised an APIClientError"),
    (lambda: not_async, "not_async is not a middleware: write it as 'async def'"),
    (NotAsync, "NotAsync is not a middleware"),
    (lambda: KeepsTheRequest, "KeepsTheRequest is not a middleware: .* pass an instance of it"),
    (lambda: "retry", "str is not a middleware"),
]


@pytest.fixture
def left_behind() -> Iterator[None]:
    """End the tasks that a bad middleware left behind."""
    yield
    for task in BEHIND:
        task.cancel()
    BEHIND.clear()


@pytest.mark.usefixtures("left_behind")
@pytest.mark.parametrize(
    ("factory", "message"), BAD, ids=[message.split(".*")[-1].strip() for _, message in BAD]
)
async def test_what_breaks_a_promise_is_told(factory: Callable[[], Any], message: str) -> None:
    """The error of a broken promise names the promise, the trial and the result."""
    with pytest.raises(AssertionError, match=message) as raised:
        await check_middleware(factory)

    assert str(raised.value).startswith(getattr(factory(), "__name__", type(factory()).__name__))


async def test_a_call_that_never_ends_is_told() -> None:
    """A middleware that keeps the slot of a failed call blocks the next call, and fails after the time
    limit.
    """
    with pytest.raises(AssertionError, match=r"Leaking kept its caller .* not end within 0\.05 seconds"):
        await check_middleware(Leaking, time_limit=0.05)


async def test_a_message_can_be_read_aloud() -> None:
    """The message names the middleware, the promise by number and text, the trial, and the finding."""
    with pytest.raises(AssertionError) as raised:
        await check_middleware(lambda: leaks_what_failed)

    assert str(raised.value) == (
        "leaks_what_failed breaks promise 4 (a discarded response is closed, and a streaming one is left "
        "to its reader): answered with status 503, the response with status 503 was still open "
        "at the end"
    )


async def test_the_request_can_be_given() -> None:
    """A middleware that acts on some requests only is tried with such requests."""

    async def for_reports(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        return await (raises_for_status if request.template == "/reports" else timed)(request, handler)

    await check_middleware(lambda: for_reports)
    with pytest.raises(AssertionError, match="for_reports breaks promise 2"):
        await check_middleware(lambda: for_reports, request=lambda: get(template="/reports"))


@pytest.mark.parametrize("factory", [timed, None, "retry"])
async def test_the_factory_is_not_a_middleware(factory: Any) -> None:
    """A middleware instead of the factory is a TypeError that explains it."""
    with pytest.raises(TypeError, match=r"such as a class or 'lambda: middleware'"):
        await check_middleware(factory)
