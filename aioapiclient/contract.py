"""Everything that a middleware plugin may use.

A middleware is any ``async def``, or any object with an async ``__call__``, with this signature::

    async def timed(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        response = await handler(request)
        print(request.template, response.status, response.elapsed)
        return response

It keeps six promises, which `aioapiclient.testing.check_middleware` checks:

1. Each call of ``handler`` owns the request that it receives. To call it more than once, pass
   ``request.copy()`` each time.
2. A response of any status is returned. Only transport failures, timeouts and undecodable bodies
   raise.
3. ``handler`` may be skipped: answer with ``AsyncAPIResponse.from_bytes(request, ...)``.
4. A response that is discarded is closed. To track requests in flight, use ``response.on_close``; there
   ``response.error`` is the reason if the body ended early.
5. `asyncio.CancelledError` passes through, and ``self`` holds no state of a single call.
6. To request a retry, return the failed response, or raise `RetryableError` from its cause.

A plugin may use these members of an `APIRequest`:

* fields: ``method url headers body template path_params cast_to stream attempt started deadline
  timeout idempotent idempotency_key extensions trusted_origins``;
* properties and methods: ``label origin relative_path is_idempotent can_be_sent decompress max_body copy
  is_trusted set_headers add_params call_sets add_call_headers restore_call_headers limit time_left
  time_limit timed_out``.

And these members of an `AsyncAPIResponse`:

* its head: ``request status reason headers url http_version method ok retry_after retries_taken
  request_id content_type charset links location history elapsed``;
* its body: ``read body text json parse read_error iter_bytes iter_text iter_lines write_to_file``;
* its life cycle: ``close aclose abort is_closed on_close on_chunk error``;
* ``notes`` for the error that is raised for it, ``validation_error``, which returns the error for an
  unusable body or header, and ``from_bytes``, which creates a response.

`serves_several` is a context variable that is true in a task that serves several calls, such as a token
fetch.

`check_flag`, `check_function`, `check_header_names`, `check_number`, `check_seconds` and `check_whole`
check the arguments of a constructor: a wrong type raises a `TypeError`, a wrong value an
`InvalidRequestError`. `BoundedDict` stores state per origin, credential or endpoint.

docs/middleware.md describes each of them in one line. All other members begin with an underscore: they are
private and may change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ._body.body import Body
from ._bounded import BoundedDict
from ._checks import check_flag, check_function, check_number, check_seconds, check_whole
from ._headers import check_header_names
from ._request import APIRequest
from ._response.response import AsyncAPIResponse
from ._tokens import Token, TokenCache, serves_several

__all__ = [
    "APIRequest",
    "AsyncAPIResponse",
    "Auth",
    "Body",
    "BoundedDict",
    "Handler",
    "Middleware",
    "Token",
    "TokenCache",
    "check_flag",
    "check_function",
    "check_header_names",
    "check_number",
    "check_seconds",
    "check_whole",
    "per_attempt",
    "per_send",
    "serves_several",
]

Handler: TypeAlias = Callable[[APIRequest], Awaitable[AsyncAPIResponse[Any]]]
"""The rest of the chain, which a middleware calls to send the request."""


@runtime_checkable
class Middleware(Protocol):
    """One link of the chain: it receives the request and the rest of the chain, and returns the response."""

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request*, usually by awaiting ``handler(request)``.

        Args:
            request: The request of one call, attempt or send, depending on the place in the chain.
            handler: The rest of the chain.

        Returns:
            The response, whatever its status.
        """
        ...


@runtime_checkable
class Bundle(Protocol):
    """A plugin of several middlewares with shared state, such as one per call and one per send.

    Pass it as one entry of ``middlewares=``; each of its middlewares takes its own place in the chain.
    """

    def middlewares(self) -> Iterable[Middleware | str]:
        """Return the middlewares: wrapped in `per_attempt` or `per_send`, or bare to run once per call."""
        ...


MiddlewareEntry: TypeAlias = Middleware | Bundle | str
"""An entry of ``middlewares=``: a middleware, a bundle of middlewares, or the name of either."""


class Auth(Protocol):
    """A credential that adds itself to each request, and may renew itself after a challenge.

    Subclass it and override the methods you need; only ``authenticate`` is required. If the credential makes
    its own calls, add ``bind(client)``: before the first call it receives a view of the client that sends no
    credential and shares its pool. If the credential holds resources, add ``async close()``; the client's
    ``close`` calls it.

    An exception raised by a method ends the call: it is never retried.
    """

    challenge_statuses: frozenset[int] = frozenset({401})
    """The statuses after which `refresh` is called; 401 by default (RFC 9110 §15.5.2)."""

    async def authenticate(self, request: APIRequest, /) -> None:
        """Add the credential to *request*.

        Args:
            request: The request of one send. Its URL, headers and body are final.
        """
        ...

    async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
        """Renew the credential after a challenge, and return whether to send the request once more.

        Called at most once per call, however many attempts the call makes. By default nothing is renewed.

        Args:
            request: The request that the server refused, with its credential.
            response: The challenge; its body has been read.

        Returns:
            True if the credential changed, so that one more send may succeed.
        """
        return False

    def identity(self) -> str | None:
        """Return a name for the principal, or None (the default) if the headers identify it.

        A middleware that shares responses between calls, such as a cache, separates those of different
        identities. It finds the identity in ``request.extensions["aioapiclient.identity"]``, and the names of
        the headers that the credential set in ``request.extensions["aioapiclient.credentials"]``. Override it
        if the headers differ between two requests of one principal, as signatures do. It is called after
        `authenticate`.

        Returns:
            Any string that is not a secret, or None.
        """
        return None


class Placed:
    """A middleware and its place in the chain; created by `per_attempt` and `per_send`."""

    __slots__ = ("middleware", "stage")

    def __init__(self, middleware: Middleware | str, stage: str) -> None:
        self.middleware: Middleware | str = middleware
        self.stage: str = stage

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Pass *request* to the middleware."""
        if isinstance(self.middleware, str):
            raise TypeError(f"{self!r} holds the name of a middleware: pass it to a client, which loads it")
        return await self.middleware(request, handler)

    def __repr__(self) -> str:
        return f"{self.stage}({self.middleware!r})"


def per_attempt(middleware: Middleware | str) -> Middleware:
    """Place *middleware* inside the retries: it runs once per attempt, before auth.

    Args:
        middleware: The middleware, or the name of an installed one.

    Returns:
        An entry for ``middlewares=``.

    Raises:
        TypeError: *middleware* is a bundle: its middlewares have their own places.
    """
    return _placed(middleware, "per_attempt")


def per_send(middleware: Middleware | str) -> Middleware:
    """Place *middleware* inside auth: it runs once per send, and sees the final URL, headers and body.

    Args:
        middleware: The middleware, or the name of an installed one.

    Returns:
        An entry for ``middlewares=``.

    Raises:
        TypeError: *middleware* is a bundle: its middlewares have their own places.
    """
    return _placed(middleware, "per_send")


def _placed(middleware: Any, stage: str) -> Placed:
    if is_bundle(middleware):
        raise TypeError(
            f"{stage}() takes one middleware, not the bundle {type(middleware).__name__}, whose middlewares "
            "have their own places; pass the bundle itself in middlewares="
        )
    return Placed(middleware, stage)


def is_bundle(entry: object) -> bool:
    """Return whether *entry* is an object with ``middlewares()``."""
    return not isinstance(entry, type) and callable(getattr(entry, "middlewares", None))
