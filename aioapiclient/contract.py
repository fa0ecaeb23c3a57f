"""What a middleware plugin needs, and nothing more.

A middleware is any ``async def``, or any object with an async ``__call__``, of the shape::

    async def timed(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        response = await handler(request)
        print(request.template, response.status, response.elapsed)
        return response

It keeps six promises, which `aioapiclient.testing.check_middleware` checks:

1. A request belongs to whoever was handed it. Call ``handler`` more than once, and each call gets
   its own ``request.copy()``.
2. A response of any status comes back as a response. Only transport failures, timeouts and
   undecodable bodies raise.
3. Not calling ``handler`` is fine: answer with ``AsyncAPIResponse.from_bytes(request, ...)``.
4. Whoever drops a response closes it. Whoever counts what is in flight uses ``response.on_close``.
5. `asyncio.CancelledError` passes untouched, and no state of a single call lives on ``self``.
6. Who wants a retry returns the failed response, or raises `RetryableError` from its cause.

A plugin may use these of an `APIRequest`:

* fields: ``method url headers body template path_params cast_to stream attempt started deadline
  timeout idempotent idempotency_key extensions``;
* properties and methods: ``label origin is_idempotent can_be_sent copy is_trusted set_headers add_params
  call_sets add_call_headers restore_call_headers limit time_left time_limit timed_out``.

And these of an `AsyncAPIResponse`:

* its head: ``request status reason headers url http_version method ok retry_after retries_taken
  request_id content_type charset links location history elapsed``;
* its body: ``read body text json parse read_error iter_bytes iter_text iter_lines write_to_file``;
* its life: ``close abort is_closed on_close``, ``notes`` for the error that is raised for it, and
  ``from_bytes``, which makes one.

docs/middleware.md has a line for each. The rest of both belongs to the library, and may change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ._body.body import Body
from ._request import APIRequest
from ._response import AsyncAPIResponse
from ._tokens import Token, TokenCache

__all__ = [
    "APIRequest",
    "AsyncAPIResponse",
    "Auth",
    "Body",
    "Handler",
    "Middleware",
    "Token",
    "TokenCache",
    "per_attempt",
    "per_send",
]

Handler: TypeAlias = Callable[[APIRequest], Awaitable[AsyncAPIResponse[Any]]]
"""What a middleware calls to go on: the rest of the chain."""


@runtime_checkable
class Middleware(Protocol):
    """One link of the chain: gets the request and the rest of the chain, gives the response."""

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request*, most often by awaiting ``handler(request)``."""
        ...


@runtime_checkable
class Bundle(Protocol):
    """A plugin of several middlewares with shared state, such as one per call and one per send.

    It is given to a client as one entry of ``middlewares=``, and its middlewares take their own places.
    """

    def middlewares(self) -> Iterable[Middleware | str]:
        """Return the middlewares, each in its place by `per_attempt` or `per_send`, else once per call."""
        ...


MiddlewareEntry: TypeAlias = Middleware | Bundle | str
"""What ``middlewares=`` takes: a middleware, a bundle of them, or the name of either."""


class Auth(Protocol):
    """A credential: puts itself on each request, and may renew itself after a challenge.

    Subclass it and override what you need; ``authenticate`` is the one that must be there. An auth
    that needs calls of its own adds ``bind(client)``: before the first call it is handed a view of
    the client that sends no credential, so that one pool and one ``close`` serve both. One that holds
    something open adds ``async close()``; the client's own ``close`` calls it.

    What it raises ends the call: it is never tried again.
    """

    challenge_statuses: frozenset[int] = frozenset({401})
    """The statuses after which `refresh` is asked; 401 by default (RFC 9110 §15.5.2)."""

    async def authenticate(self, request: APIRequest, /) -> None:
        """Put the credential on *request*: its URL, headers and body are final here."""
        ...

    async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
        """After a challenge: whether there is something new, so that one more send is worth it.

        *request* is the one that was refused, *response* the answer, its body read. At most once
        per call, however many attempts it has.
        """
        return False

    def identity(self) -> str | None:
        """Return what tells this principal from another, or None (the default) if the headers tell.

        Whoever shares answers among calls, such as a cache, keeps those of two identities apart. Override
        it where the headers differ from one request of a principal to the next, as signatures do. It is
        asked after `authenticate`, and must not be a secret.
        """
        return None


class Placed:
    """A middleware with the place where it goes; made by `per_attempt` and `per_send`."""

    __slots__ = ("middleware", "stage")

    def __init__(self, middleware: Middleware | str, stage: str) -> None:
        self.middleware: Middleware | str = middleware
        self.stage: str = stage

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* as the middleware does."""
        if isinstance(self.middleware, str):
            raise TypeError(f"{self!r} is a name: it is resolved where it is given to a client")
        return await self.middleware(request, handler)

    def __repr__(self) -> str:
        return f"{self.stage}({self.middleware!r})"


def per_attempt(middleware: Middleware | str) -> Middleware:
    """Place *middleware* inside the retries: it runs once for every attempt, before auth.

    Args:
        middleware: The middleware, or the name of an installed one.

    Returns:
        An entry for ``middlewares=``.

    Raises:
        TypeError: *middleware* is a bundle, whose middlewares have places of their own.
    """
    return _placed(middleware, "per_attempt")


def per_send(middleware: Middleware | str) -> Middleware:
    """Place *middleware* inside auth: it sees final URL, headers and body, and runs for every send.

    Args:
        middleware: The middleware, or the name of an installed one.

    Returns:
        An entry for ``middlewares=``.

    Raises:
        TypeError: *middleware* is a bundle, whose middlewares have places of their own.
    """
    return _placed(middleware, "per_send")


def _placed(middleware: Any, stage: str) -> Placed:
    if is_bundle(middleware):
        raise TypeError(
            f"{stage}() takes one middleware, and {type(middleware).__name__} is a bundle, whose middlewares "
            "have places of their own: give it to middlewares= as it is"
        )
    return Placed(middleware, stage)


def is_bundle(entry: object) -> bool:
    """Return whether *entry* is an object with ``middlewares()``."""
    return not isinstance(entry, type) and callable(getattr(entry, "middlewares", None))
