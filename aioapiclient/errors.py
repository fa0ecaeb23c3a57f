"""Every error that leaves a call, as one tree.

::

    APIClientError
      APIError                       a call failed; .request .body .retries_taken .retry_after
        APIConnectionError           no complete response arrived; .sent tells whether the request may have
                                     left, .reason why, in one word for programs
          APITimeoutError            a time limit was reached; .phase says which
          APIStreamError             a stream broke, or reported an error event
        APIStatusError               a response arrived, with a status that is not a success
          BadRequestError 400        AuthenticationError 401       PermissionDeniedError 403
          NotFoundError 404          RequestTimeoutError 408       ConflictError 409
          GoneError 410              PreconditionFailedError 412   ContentTooLargeError 413
          UnprocessableEntityError 422                             RateLimitError 429
          InternalServerError 5XX
            ServerNotImplementedError 501   BadGatewayError 502
            ServiceUnavailableError 503     GatewayTimeoutError 504
        APIResponseValidationError   a response does not match the requested type; .path .response
        CircuitOpenError             not sent: the server fails too often; .origin .retry_after
        OperationFailedError         a long-running operation failed, or was cancelled; .status .response
        BodyTooLargeError            a body is larger than ``max_body``
        TooManyRedirectsError        more hops than allowed, or a hop that is refused
        RequestNotReplayableError    a body that can be sent only once would have to be sent again
        ConcurrencyLimitError        not sent: as many calls as allowed are in flight; .limit .waiting
        ThrottledError               not sent: a limit on the rate of calls holds it back; .retry_after
      InvalidRequestError            a value is invalid; nothing was sent (also a ValueError)
      ClientClosedError              the client is closed, or belongs to another loop or process
      RetryableError                 raised by a middleware to request another attempt
      StreamConsumedError            a body was streamed already, or its response is closed

Messages name the method, the redacted URL and the facts. The message of a status error ends with the
server's explanation, in one printable line (`APIStatusError.detail`). Messages contain no header value, no
query value and nothing else of a body; those are attributes. Every error can be pickled and copied: a
pickled one keeps its facts, and drops the live ``request`` and ``response``.
"""

from __future__ import annotations

__lazy_modules__: tuple[str, ...] = ("aioapiclient._error_facts",)

import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

from ._error_facts import code_of, type_of

if TYPE_CHECKING:
    from ._request import APIRequest
    from ._response.response import AsyncAPIResponse

__all__ = [
    "APIClientError",
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APIStreamError",
    "APITimeoutError",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "BodyTooLargeError",
    "CircuitOpenError",
    "ClientClosedError",
    "ConcurrencyLimitError",
    "ConflictError",
    "ConnectionReason",
    "ContentTooLargeError",
    "GatewayTimeoutError",
    "GoneError",
    "InternalServerError",
    "InvalidRequestError",
    "NotFoundError",
    "OperationFailedError",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "RateLimitError",
    "RequestNotReplayableError",
    "RequestTimeoutError",
    "RetryableError",
    "ServerNotImplementedError",
    "ServiceUnavailableError",
    "StreamConsumedError",
    "ThrottledError",
    "TimeoutPhase",
    "TooManyRedirectsError",
    "UnprocessableEntityError",
]

TimeoutPhase: TypeAlias = Literal["connect", "pool", "attempt", "read", "write", "total"]
"""The limit of a `Timeout` that was reached."""

ConnectionReason: TypeAlias = Literal[
    "refused",
    "unreachable",
    "dns",
    "tls",
    "certificate",
    "proxy",
    "pool",
    "timeout",
    "reset",
    "closed",
    "truncated",
    "not_http",
    "system",
    "connector",
    "event",
    "other",
]
"""The reason why no complete response arrived, as one word for programs; docs/errors.md explains each."""

_LIVE = frozenset({"request", "response"})


class APIClientError(Exception):
    """The base class of every error that this library raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {name: value for name, value in self.__dict__.items() if name not in _LIVE}
        return _rebuild, (type(self), self.args, {name: _picklable(value) for name, value in facts.items()})

    def __copy__(self) -> APIClientError:
        return _rebuild(type(self), self.args, self.__dict__)

    def __deepcopy__(self, memo: dict[int, Any]) -> APIClientError:
        # The live request and response are shared: a connection cannot be copied.
        return self.__copy__()


def _picklable(value: Any) -> Any:
    # A body may be of any type; an error without its body is better than one that cannot be pickled.
    try:
        pickle.dumps(value)
    except Exception:
        return None
    return value


def _rebuild(cls: type[APIClientError], args: tuple[Any, ...], facts: dict[str, Any]) -> APIClientError:
    error = cls.__new__(cls, *args)
    for name in _LIVE:
        error.__dict__[name] = None
    error.__dict__.update(facts)
    return error


class APIError(APIClientError):
    """A call failed.

    Args:
        message: The text of the error, without secrets.
        request: The request as it was last sent.
        body: The decoded body of the response, if any.
        retries_taken: The number of retries. 0 by default.
        retry_after: Seconds that the server asked to wait; None (the default) if it did not.
        final: Whether the call must not be retried, whatever its method. False by default.
    """

    request: APIRequest | None
    """The request as it was last sent, if any; None after pickling."""

    body: Any
    """The decoded body of the response, if any: plain data, or an object of the ``error_types``."""

    retries_taken: int
    """The number of retries before this error."""

    retry_after: float | None
    """Seconds that the server asked to wait; None if it did not."""

    final: bool
    """Whether the call is never retried, whatever its method, as after a bad certificate."""

    def __init__(
        self,
        message: str = "",
        *,
        request: APIRequest | None = None,
        body: Any = None,
        retries_taken: int = 0,
        retry_after: float | None = None,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.request = request
        self.body = body
        self.retries_taken = retries_taken
        self.retry_after = retry_after
        self.final = final

    @property
    def message(self) -> str:
        """The text of the error, as from ``str()``."""
        return str(self)


class APIConnectionError(APIError):
    """No complete response arrived: the connection was refused or broke, or the answer was not HTTP.

    Args:
        message: The text of the error, without secrets.
        sent: False if the request certainly did not reach the wire; None (the default) if it may have.
        reason: A short code for programs, such as ``"refused"`` or ``"dns"``; docs/errors.md lists
            them.
        **facts: What `APIError` takes: ``request``, ``body``, ``retries_taken``, ``retry_after``,
            ``final``.
    """

    sent: Literal[False] | None
    """False if the request certainly did not reach the wire; None if it may have."""

    reason: ConnectionReason
    """The reason as one word for programs, such as ``refused``, ``dns`` or ``truncated``."""

    def __init__(
        self,
        message: str = "connection failed",
        *,
        sent: Literal[False] | None = None,
        reason: ConnectionReason = "other",
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.sent = sent
        self.reason = reason


class APITimeoutError(APIConnectionError):
    """A limit of `Timeout` was reached. Not a `TimeoutError`, which an `asyncio.timeout` of the caller
    raises.

    Args:
        message: The text of the error, without secrets.
        phase: The limit that was reached: ``connect``, ``pool``, ``attempt``, ``read``, ``write`` or
            ``total``.
        **facts: What `APIError` takes: ``request``, ``body``, ``retries_taken``, ``retry_after``, and
            ``final``, which is True by default if *phase* is ``total``: no time is left for a retry.
    """

    phase: TimeoutPhase
    """The limit that was reached: connect, pool, attempt, read, write or total."""

    def __init__(self, message: str = "timed out", *, phase: TimeoutPhase = "total", **facts: Any) -> None:
        facts.setdefault("reason", "pool" if phase == "pool" else "timeout")
        facts.setdefault("final", phase == "total")
        super().__init__(message, **facts)
        self.phase = phase


class APIStreamError(APIConnectionError):
    """A stream broke, or contained an error event.

    Args:
        message: The text of the error, without secrets.
        events_seen: The number of events that arrived before the error.
        bytes_seen: The number of bytes of the body that arrived before the error.
        type: The type of an error event; None if the connection broke.
        **facts: What `APIError` takes: ``request``, ``body``, ``retries_taken``, ``retry_after``,
            ``final``.
    """

    events_seen: int
    """The number of events yielded before the error."""

    bytes_seen: int
    """The number of decompressed bytes of the body that arrived before the error."""

    type: str | None
    """The type of an error event in the stream; None if the connection broke."""

    def __init__(
        self,
        message: str = "the stream broke",
        *,
        events_seen: int = 0,
        bytes_seen: int = 0,
        type: str | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.events_seen = events_seen
        self.bytes_seen = bytes_seen
        self.type = type

    @property
    def code(self) -> str | None:
        """The machine-readable code in an error event; None if the connection broke."""
        return code_of(self.body)


class APIStatusError(APIError):
    """A response arrived whose status is not a success.

    Args:
        message: The text of the error, without secrets.
        status: The status code; the ``default_status`` of the class by default.
        response: The response, its body read.
        request_id: The server's ID of the request.
        detail: The server's message for people.
        **facts: What `APIError` takes: ``request``, ``body``, ``retries_taken``, ``retry_after``,
            ``final``.
    """

    default_status: ClassVar[int] = 0
    """The status of the class; 0 for `APIStatusError` itself, which has none."""

    status: int
    """The status code of the response (RFC 9110 §15)."""

    response: AsyncAPIResponse[Any] | None
    """The response, its body read; None after pickling."""

    request_id: str | None
    """The server's ID of the request, from the client's ``request_id_header``; None without one."""

    detail: str | None
    """The server's message for people, which ends the text of the error: one line, at most 300 characters.

    None if the body has no such message, or with the client's ``error_detail=False``.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        response: AsyncAPIResponse[Any] | None = None,
        request_id: str | None = None,
        detail: str | None = None,
        **facts: Any,
    ) -> None:
        self.status = self.default_status if status is None else status
        super().__init__(message or f"status {self.status}", **facts)
        self.response = response
        self.request_id = request_id
        self.detail = detail

    @classmethod
    def from_response(cls, response: AsyncAPIResponse[Any], body: Any = None) -> Self:
        """Return the error for a response.

        Args:
            response: A response whose status is not a success.
            body: Its decoded body.
        """
        detail = response._error_detail(body)
        facts = _facts_of(response)
        return cls(
            facts if detail is None else f"{facts}: {detail}",
            detail=detail,
            status=response.status,
            response=response,
            body=body,
            request=response.request,
            request_id=response.request_id,
            retry_after=response.retry_after,
            retries_taken=response.retries_taken,
        )

    @property
    def code(self) -> str | None:
        """The machine-readable code in the body, from the usual places; None without one."""
        return code_of(self.body)

    @property
    def type(self) -> str | None:
        """The type of the error in the body: its ``type``, or that of its ``error``."""
        return type_of(self.body)


def _facts_of(response: AsyncAPIResponse[Any]) -> str:
    message = f"{response.request.label}: {response.status} {printable(response.reason)}".rstrip()
    request_id = response.request_id
    if request_id and len(request_id) <= 128 and request_id.isascii() and request_id.isprintable():
        message += f" (request id {request_id})"
    return message


_LONGEST_QUOTE = 128  # characters of a server's text that a message quotes


def printable(text: str) -> str:
    """Return a server's *text* for a message: one bounded line without terminal control characters."""
    shown = text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "..."
    return shown if shown.isprintable() else ascii(shown)[1:-1]


class BadRequestError(APIStatusError):
    """400: the server could not understand the request."""

    default_status = 400


class AuthenticationError(APIStatusError):
    """401: no credential was sent, or it is not valid."""

    default_status = 401


class PermissionDeniedError(APIStatusError):
    """403: the credential is valid but does not permit this."""

    default_status = 403


class NotFoundError(APIStatusError):
    """404: the resource does not exist."""

    default_status = 404


class RequestTimeoutError(APIStatusError):
    """408: the server gave up waiting for the request."""

    default_status = 408


class ConflictError(APIStatusError):
    """409: the request conflicts with the state of the resource."""

    default_status = 409


class GoneError(APIStatusError):
    """410: the resource existed, and has been removed permanently."""

    default_status = 410


class PreconditionFailedError(APIStatusError):
    """412: the condition of an ``If-...`` header was not met."""

    default_status = 412


class ContentTooLargeError(APIStatusError):
    """413: the server refuses a body of this size."""

    default_status = 413


class UnprocessableEntityError(APIStatusError):
    """422: syntactically valid, semantically rejected."""

    default_status = 422


class RateLimitError(APIStatusError):
    """429: too many requests; ``retry_after`` has the seconds to wait, if the server sent them."""

    default_status = 429


class InternalServerError(APIStatusError):
    """5XX: the server failed."""

    default_status = 500


class ServerNotImplementedError(InternalServerError):
    """501: the server does not support the method."""

    default_status = 501


class BadGatewayError(InternalServerError):
    """502: a proxy received no valid response."""

    default_status = 502


class ServiceUnavailableError(InternalServerError):
    """503: the server is overloaded or temporarily down."""

    default_status = 503


class GatewayTimeoutError(InternalServerError):
    """504: a proxy received no response in time."""

    default_status = 504


STATUS_ERRORS: Mapping[int, type[APIStatusError]] = {
    cls.default_status: cls
    for cls in (
        BadRequestError,
        AuthenticationError,
        PermissionDeniedError,
        NotFoundError,
        RequestTimeoutError,
        ConflictError,
        GoneError,
        PreconditionFailedError,
        ContentTooLargeError,
        UnprocessableEntityError,
        RateLimitError,
        InternalServerError,
        ServerNotImplementedError,
        BadGatewayError,
        ServiceUnavailableError,
        GatewayTimeoutError,
    )
}


def status_error_class(status: int) -> type[APIStatusError]:
    """Return the class for *status*: its own, `InternalServerError` for any other 5XX, else `APIStatusError`.

    An invalid status of 600 or more is treated like a 5XX (RFC 9110 §15).
    """
    fallback = InternalServerError if status >= 500 else APIStatusError
    return STATUS_ERRORS.get(status, fallback)


class APIResponseValidationError(APIError):
    """A response does not match the requested type: it is corrupt, or has another structure or content type.

    Args:
        message: The text of the error, without secrets.
        path: The JSON path of the mismatch; ``$``, the whole body, by default.
        response: The response.
        status: The status code.
        content_type: The Content-Type of the response.
        excerpt: The beginning of the body, bounded.
        **facts: What `APIError` takes: ``request``, ``body``, ``retries_taken``, ``retry_after``,
            ``final``.
    """

    path: str
    """The position of the mismatch, as a JSON path: ``$.data[3].id``."""

    response: AsyncAPIResponse[Any] | None
    """The response, its body read; None after pickling."""

    status: int | None
    """The status code of the response."""

    content_type: str | None
    """The Content-Type of the response, unchanged."""

    excerpt: str
    """The first 200 characters of the body; never part of the message."""

    def __init__(
        self,
        message: str = "the response does not match the requested type",
        *,
        path: str = "$",
        response: AsyncAPIResponse[Any] | None = None,
        status: int | None = None,
        content_type: str | None = None,
        excerpt: str = "",
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.path = path
        self.response = response
        self.status = status
        self.content_type = content_type
        self.excerpt = excerpt


class CircuitOpenError(APIError):
    """A circuit breaker refused the request, because its server fails too often. Never retried.

    Args:
        message: The text of the error, without secrets.
        origin: The origin whose circuit is open.
        final: Whether the call must not be retried. True by default.
        **facts: What `APIError` takes: ``request``, ``body``, ``retries_taken``, ``retry_after``,
            ``final``.
    """

    sent: ClassVar[Literal[False]] = False
    """Nothing was sent."""

    origin: str
    """The origin whose circuit is open, such as ``https://api.example.com``."""

    def __init__(
        self, message: str = "the circuit is open", *, origin: str = "", final: bool = True, **facts: Any
    ) -> None:
        super().__init__(message, final=final, **facts)
        self.origin = origin


class OperationFailedError(APIError):
    """A long-running operation ended without a result: it failed, or was cancelled.

    Args:
        message: The text of the error, without secrets.
        status: The final status of the operation, as the server wrote it.
        response: The response that reported it.
        **facts: What `APIError` takes: ``request``, ``body``, ``retries_taken``, ``retry_after``,
            ``final``.
    """

    status: str
    """The final status of the operation, in lower case, such as ``failed``."""

    response: AsyncAPIResponse[Any] | None
    """The response that reported it, its body read; None after pickling."""

    def __init__(
        self,
        message: str = "the operation failed",
        *,
        status: str = "failed",
        response: AsyncAPIResponse[Any] | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.status = status
        self.response = response

    @property
    def code(self) -> str | None:
        """The machine-readable code in the body, from the usual places; None without one."""
        return code_of(self.body)


class BodyTooLargeError(APIError):
    """A response body has more than ``max_body`` bytes, decompressed. Its connection was closed.

    Args:
        message: The text of the error, without secrets.
        limit: The limit in bytes.
        status: The status of the response.
        **facts: What `APIError` takes: ``request``, ``body``, ``retries_taken``, ``retry_after``,
            ``final``.
    """

    limit: int | None
    """The limit that was exceeded, in bytes."""

    status: int | None
    """The status code of the response."""

    def __init__(
        self,
        message: str = "the response body is too large",
        *,
        limit: int | None = None,
        status: int | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.limit = limit
        self.status = status


class TooManyRedirectsError(APIError):
    """The server redirected more often than allowed, or to a URL that the client refuses to follow."""


class RequestNotReplayableError(APIError):
    """A body that can be sent only once would have to be sent again."""


class ConcurrencyLimitError(APIError):
    """Not sent: `ConcurrencyLimitMiddleware` allows no more calls in flight, and its queue is full.

    Never retried, because the call would only join the queue again.

    Args:
        message: The text of the error, without secrets.
        limit: The number of calls that may be in flight.
        waiting: The number of calls that were waiting.
        final: Whether the call must not be retried. True by default.
        **facts: What `APIError` takes: ``request``, ``body``, ``retries_taken``, ``retry_after``,
            ``final``.
    """

    limit: int | None
    """The number of calls that may be in flight at the same time."""

    waiting: int | None
    """The number of calls that were waiting."""

    def __init__(
        self,
        message: str = "too many calls are in flight",
        *,
        limit: int | None = None,
        waiting: int | None = None,
        final: bool = True,
        **facts: Any,
    ) -> None:
        super().__init__(message, final=final, **facts)
        self.limit = limit
        self.waiting = waiting


class ThrottledError(APIError):
    """Not sent: a limit on the rate of calls would delay this call for longer than it can wait.

    The limit is the server's, which asked another call to wait, or the client's own. ``retry_after`` is the
    time in seconds until the call could be sent, if it is known. Never retried.

    Args:
        message: The text of the error, without secrets.
        final: Whether the call must not be retried. True by default.
        **facts: What `APIError` takes: ``request``, ``body``, ``retries_taken``, ``retry_after``,
            ``final``.
    """

    def __init__(
        self, message: str = "the server asked to wait", *, final: bool = True, **facts: Any
    ) -> None:
        super().__init__(message, final=final, **facts)


class InvalidRequestError(APIClientError, ValueError):
    """A value is not allowed by HTTP or this library. Nothing was sent."""


class ClientClosedError(APIClientError):
    """The client is closed, or belongs to another event loop or process."""


class RetryableError(APIClientError):
    """A middleware requests another attempt.

    Raise it from the error that caused it. When no retry is left, the call ends with *response* if it is set,
    else with the cause, else with this error.

    Args:
        message: The text of the error, without secrets.
        retry_after: Seconds to wait before the next attempt. None (the default) leaves it to the policy.
        response: The response to retry.
    """

    retry_after: float | None
    """Seconds to wait before the next attempt; None, 0, NaN and infinity leave it to the policy."""

    response: AsyncAPIResponse[Any] | None
    """The response to retry."""

    def __init__(
        self,
        message: str = "another attempt was requested",
        *,
        retry_after: float | None = None,
        response: AsyncAPIResponse[Any] | None = None,
    ) -> None:
        given: Any = retry_after
        if given is not None and (isinstance(given, bool) or not isinstance(given, int | float)):
            raise TypeError(f"retry_after must be a number of seconds or None, not {type(given).__name__}")
        super().__init__(message)
        self.retry_after = retry_after
        self.response = response


class StreamConsumedError(APIClientError, RuntimeError):
    """The body was streamed already, or its response is closed."""
