"""A transport without a network: it answers from a list, one answer for each send."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, TypeAlias, TypeGuard

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy

from aioapiclient._body.json import encode_json
from aioapiclient._cancel_scope import Scope
from aioapiclient._types import NOT_GIVEN, NotGiven
from aioapiclient.contract import APIRequest, AsyncAPIResponse
from aioapiclient.errors import (
    APIConnectionError,
    APIError,
    BodyTooLargeError,
    ClientClosedError,
    InvalidRequestError,
)

from ._clock import FakeClock
from ._sent import SentRequest

__all__ = ["Answer", "FakeTransport", "Made", "is_response", "respond"]

# --- answers

Made: TypeAlias = (
    AsyncAPIResponse[Any]
    | BaseException
    | type[BaseException]
    | Callable[[SentRequest], AsyncAPIResponse[Any]]
)

Answer: TypeAlias = BaseException | type[BaseException] | Callable[[SentRequest], Made | Awaitable[Made]]
"""An answer of a `FakeTransport`: the result of `respond`, an error to raise (an instance or a class), or a
function of the `SentRequest`, async or not, that returns one of these or a response.
"""


def respond(
    status: int = 200,
    *,
    json: Any = NOT_GIVEN,
    text: str | None = None,
    body: bytes = b"",
    chunks: Iterable[bytes] | AsyncIterable[bytes] | None = None,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    cut_after: int | None = None,
) -> Callable[[APIRequest], AsyncAPIResponse[Any]]:
    """Create an answer for a `FakeTransport`, which returns a new response for each request.

    The caller gets the body unchanged; nothing is decompressed. The answer to a HEAD has no body.

    Args:
        status: The status code, 200 by default.
        json: The body as a value that msgspec encodes.
        text: The body as a str.
        body: The body as bytes.
        chunks: The body as the chunks that a stream delivers; an async iterable may wait between them.
        headers: Headers; they override the Content-Type of *json* and *text*.
        cut_after: A number of bytes after which the connection breaks, with `APIConnectionError`; 0 breaks it
            after the head. None (the default) delivers the complete body.

    Raises:
        TypeError: Two bodies were given, or the status is not an int.
        InvalidRequestError: The status is not between 100 and 999, or *cut_after* is below 0.
    """
    _check_status(status)
    if cut_after is not None and cut_after < 0:
        raise InvalidRequestError(f"cut_after must be a number of bytes, 0 or more, not {cut_after}")
    pieces, content_type = _content(json, text, body, chunks)
    head: CIMultiDict[str] = CIMultiDict(headers or ())
    if content_type is not None:
        head.setdefault("Content-Type", content_type)
    return _Reply(status, CIMultiDictProxy(head), pieces, cut_after)


class _Reply(msgspec.Struct, frozen=True, eq=False):
    """The result of `respond`: it answers without reading the request."""

    status: int
    headers: CIMultiDictProxy[str]
    pieces: Iterable[bytes] | AsyncIterable[bytes]
    cut_after: int | None

    def __call__(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        source = _Source(request, () if request.method == "HEAD" else self.pieces, self.cut_after)
        loop = asyncio.get_running_loop()
        elapsed = 0.0 if request.started is None else loop.time() - request.started
        reason = _reason(self.status)
        return AsyncAPIResponse(request, self.status, self.headers, source, reason=reason, elapsed=elapsed)


def _check_status(status: object) -> None:
    if isinstance(status, bool) or not isinstance(status, int):
        raise TypeError(f"status must be an int, not {type(status).__name__}")
    if not 100 <= status <= 999:
        raise InvalidRequestError(f"status must have three digits (RFC 9110 §15), not {status}")


def _content(
    json: Any, text: str | None, body: bytes, chunks: Iterable[bytes] | AsyncIterable[bytes] | None
) -> tuple[Iterable[bytes] | AsyncIterable[bytes], str | None]:
    """Return the chunks of a body, and the content type that its kind implies."""
    kinds = {"json": not isinstance(json, NotGiven), "text": text is not None, "body": body != b""}
    given = [name for name, is_given in {**kinds, "chunks": chunks is not None}.items() if is_given]
    if len(given) > 1:
        raise TypeError(f"{given[0]} and {given[1]} were both given, but a response has one body")
    if kinds["json"]:
        return (encode_json(json),), "application/json"
    if text is not None:
        return (text.encode(),), "text/plain; charset=utf-8"
    if chunks is None:
        return (body,), None
    # A tuple, because an iterator would be empty when the answer is used again.
    return (chunks if isinstance(chunks, AsyncIterable) else tuple(chunks)), None


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


class _Source:
    """A body that arrives in the given chunks, and may be cut off."""

    def __init__(
        self, request: APIRequest, pieces: Iterable[bytes] | AsyncIterable[bytes], cut_after: int | None
    ) -> None:
        self._request = request
        self._pieces = aiter(pieces) if isinstance(pieces, AsyncIterable) else iter(pieces)
        self._cut_after = cut_after
        self._given = 0
        self._error: Exception | None = None
        self._waiting: Scope | None = None

    async def read(self, limit: int | None) -> bytes:
        """Return the rest of the body."""
        read = bytearray()
        while chunk := await self.read_chunk():
            read += chunk
            if limit is not None and len(read) > limit:
                message = f"the body has more than {limit} bytes"
                raise BodyTooLargeError(message, limit=limit, request=self._request)
        return bytes(read)

    def read_nowait(self, limit: int | None) -> bytes | None:
        """Return None: the body has not arrived yet."""
        return None

    async def read_chunk(self) -> bytes:
        """Return the next chunk; empty at the end."""
        if self._error is not None:
            raise self._error
        with Scope() as self._waiting:
            try:
                # Even if the piece is ready, because other tasks also run while a real body arrives.
                await asyncio.sleep(0)
                return self._cut(await self._next())
            except BaseException as error:
                if self._error is None:
                    self._error = error if isinstance(error, Exception) else self._broken()
                raise

    async def _next(self) -> bytes:
        while True:
            if isinstance(self._pieces, AsyncIterator):
                piece = await anext(self._pieces, None)
            else:
                piece = next(self._pieces, None)
            if piece != b"":
                return piece or b""

    def _cut(self, piece: bytes) -> bytes:
        if self._cut_after is not None:
            piece = piece[: self._cut_after - self._given]
            if not piece:
                raise self._broken()
        self._given += len(piece)
        return piece

    def _broken(self) -> APIConnectionError:
        message = f"{self._request.label}: the connection broke after {self._given} bytes of the body"
        return APIConnectionError(message, reason="truncated", request=self._request)

    def close(self) -> None:
        """Do nothing, because the transport counts with ``on_close``."""

    def abort(self, error: Exception) -> None:
        """Make pending and later reads raise *error*."""
        self._error = error
        if self._waiting is not None:
            self._waiting.fire(lambda: error)


# --- the transport


class FakeTransport:
    """A transport without a network: it returns its answers in order, one for each send.

    It behaves like a transport: each send lets other tasks run, the body of the request is consumed, a
    response is delivered with its body unread, and an error gets its ``request`` if it has none.

    Args:
        *answers: Results of `respond`, errors to raise (instances or classes), or functions, async or not,
            that return one of these or a response. A function receives the request as it was sent, a
            `SentRequest`. Each answer is used once.
        default: The answer to every further send. Without it, a further send raises an `AssertionError` that
            names the request.
        clock: The clock that a client's waits between attempts and polls advance. Without it, they take real
            time.
    """

    def __init__(
        self, *answers: Answer, default: Answer | None = None, clock: FakeClock | None = None
    ) -> None:
        for answer in answers if default is None else (*answers, default):
            _check_answer(answer)
        self.requests: list[SentRequest] = []
        """Every request received, in the order of the sends."""
        self.bodies: list[bytes] = []
        """The bytes of each request's body, at the index of the request; empty without a body."""
        self._answers = list(answers)
        self._default = default
        self._clock = clock
        self._open: set[AsyncAPIResponse[Any]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<FakeTransport with {len(self.requests)} sends, {self.open_responses} open responses>"

    async def __call__(self, request: APIRequest, /) -> AsyncAPIResponse[Any]:
        """Answer *request*."""
        if self._closed:
            raise ClientClosedError("this FakeTransport is closed")
        number = len(self.requests)
        # Taken before any await, so that answers follow the order of the sends.
        answer = self._answer(number, request)
        sent = SentRequest.of(request)
        self.requests.append(sent)
        self.bodies.append(b"")
        await asyncio.sleep(0)
        if request.body is not None:
            self.bodies[number] = b"".join([chunk async for chunk in request.body])
            sent.note(self.bodies[number])
        response = await _resolve(answer, request, sent)
        if not response.is_closed:
            self._open.add(response)
            response.on_close(partial(self._open.discard, response))
        return response

    def _answer(self, number: int, request: APIRequest) -> Answer:
        """Return the answer to send *number*, counted from 0."""
        if number < len(self._answers):
            return self._answers[number]
        if self._default is None:
            known = f"{len(self._answers)} {'answer' if len(self._answers) == 1 else 'answers'}"
            raise AssertionError(
                f"send {number + 1} was not expected: {request.label}; "
                f"this FakeTransport has {known} and no default"
            )
        return self._default

    async def sleep(self, seconds: float, /) -> None:
        """Wait before another attempt of a client: on the clock, if the transport has one.

        Args:
            seconds: The time to wait.
        """
        await (asyncio.sleep if self._clock is None else self._clock.sleep)(seconds)

    @property
    def unused_answers(self) -> int:
        """The number of answers in the list that have not been used."""
        return max(0, len(self._answers) - len(self.requests))

    @property
    def open_responses(self) -> int:
        """The number of its responses that are not closed. More than 0 at the end of a test means a leak.

        Check it before you close the client, which closes open streams.
        """
        return len(self._open)

    @property
    def is_closed(self) -> bool:
        """Whether the transport was closed."""
        return self._closed

    async def close(self) -> None:
        """Refuse further requests, and end every open stream with `ClientClosedError`. Safe to call again."""
        self._closed = True
        for response in list(self._open):
            response.abort(ClientClosedError("the FakeTransport was closed while this stream was open"))


def _check_answer(answer: object) -> None:
    if isinstance(answer, type):
        fits = issubclass(answer, BaseException)
    else:
        fits = isinstance(answer, BaseException) or callable(answer)
    if not fits:
        name = getattr(answer, "__name__", type(answer).__name__)
        raise TypeError(f"answers must be respond(...), an error, or a function of the request, not {name}")


async def _resolve(answer: Answer, request: APIRequest, sent: SentRequest) -> AsyncAPIResponse[Any]:
    made: Any = answer
    while not is_response(made):
        _check_answer(made)
        if isinstance(made, type):
            made = made()
        if isinstance(made, BaseException):
            if isinstance(made, APIError) and made.request is None:
                made.request = request
            # Without the traceback of its last use, which an instance keeps.
            raise made.with_traceback(None)
        made = made(request if isinstance(made, _Reply) else sent)
        if inspect.isawaitable(made):
            made = await made
    if made.request is sent:
        made.request = request  # a middleware may change it, which must not affect the record
    return made


def is_response(value: object) -> TypeGuard[AsyncAPIResponse[Any]]:
    """Return whether *value* is a response of any type."""
    return isinstance(value, AsyncAPIResponse)
