"""`MockAPI`: a transport of routes, which explains why a request matches none of them."""

from __future__ import annotations

import asyncio
from typing import Any, Unpack

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler
from aioapiclient.errors import APITimeoutError, InvalidRequestError, TimeoutPhase
from aioapiclient.testing import FakeClock, FakeTransport, SentRequest

from ._routes import Route, RouteOptions, Step
from ._secrets import DEFAULT_SECRETS, Secrets

__all__ = ["MockAPI"]

_TURNS = 3  # of the event loop, whose timers fire when the clock installed on it advances


class MockAPI:
    """A transport without a network: the first matching route answers each request.

    ::

        mock = MockAPI()
        users = mock.get("/users/{id}").respond(json={"id": 7})

        async with AsyncAPIClient("https://api.example.com/v1", transport=mock) as api:
            assert await api.get("/users/7") == {"id": 7}
        assert users.path_params == {"id": "7"}

    A request without a matching route raises an `AssertionError`, which no client retries. Several clients
    may use one mock; closing a client ends the open streams and leaves the mock usable.

    Args:
        clock: The clock that delays and the waits between attempts advance. Without it they take real time.
    """

    is_borrowed = True
    """It belongs to the test, so that a client need not be closed because of it."""

    def __init__(self, *, clock: FakeClock | None = None) -> None:
        self.routes: list[Route] = []
        """The routes, in the order in which they are tried."""
        self.calls: list[SentRequest] = []
        """Every request, in order, including those that match no route."""
        self.unexpected: list[str] = []
        """The messages about requests that match no route. The fixture fails a test that leaves any here."""
        self.must_call_all: bool = True
        """Whether the fixture fails a test in which a route was not called."""
        self._clock = clock
        self._rest: Handler | None = None
        self._transport = FakeTransport(default=self._answer, clock=clock)

    def __repr__(self) -> str:
        return f"<MockAPI with {len(self.routes)} routes, {len(self.calls)} calls>"

    def __getitem__(self, name: str) -> Route:
        for route in self.routes:
            if route.name == name:
                return route
        names = [route.name for route in self.routes if route.name is not None]
        raise KeyError(f"no route has the name {name!r}; there are {', '.join(names) or 'none'}")

    # --- routes

    def route(self, method: str, path: str, **options: Unpack[RouteOptions]) -> Route:
        """Add a route, which answers with an empty 200 until it is given an answer.

        Args:
            method: The method, in any case.
            path: The path as the client writes it, with ``{name}`` for a segment and ``{+name}`` for any
                number of them; with or without the path of the base URL; or an absolute URL.
            **options: ``params``, ``json``, ``headers`` and ``host`` that the request must have, and a
                ``name``.

        Returns:
            The route.

        Raises:
            InvalidRequestError: The path is not a template, or the name is taken.
            TypeError: A value has the wrong type.
        """
        route = Route(method, path, **options)
        if route.name is not None and any(route.name == other.name for other in self.routes):
            raise InvalidRequestError(f"another route has the name {route.name!r}")
        self.routes.append(route)
        return route

    def get(self, path: str, **options: Unpack[RouteOptions]) -> Route:
        """Add a route for GET; see `route`.

        Args:
            path: The path of the route.
            **options: The options of the route.
        """
        return self.route("GET", path, **options)

    def post(self, path: str, **options: Unpack[RouteOptions]) -> Route:
        """Add a route for POST; see `route`.

        Args:
            path: The path of the route.
            **options: The options of the route.
        """
        return self.route("POST", path, **options)

    def put(self, path: str, **options: Unpack[RouteOptions]) -> Route:
        """Add a route for PUT; see `route`.

        Args:
            path: The path of the route.
            **options: The options of the route.
        """
        return self.route("PUT", path, **options)

    def patch(self, path: str, **options: Unpack[RouteOptions]) -> Route:
        """Add a route for PATCH; see `route`.

        Args:
            path: The path of the route.
            **options: The options of the route.
        """
        return self.route("PATCH", path, **options)

    def delete(self, path: str, **options: Unpack[RouteOptions]) -> Route:
        """Add a route for DELETE; see `route`.

        Args:
            path: The path of the route.
            **options: The options of the route.
        """
        return self.route("DELETE", path, **options)

    def head(self, path: str, **options: Unpack[RouteOptions]) -> Route:
        """Add a route for HEAD; see `route`.

        Args:
            path: The path of the route.
            **options: The options of the route.
        """
        return self.route("HEAD", path, **options)

    def options(self, path: str, **options: Unpack[RouteOptions]) -> Route:
        """Add a route for OPTIONS; see `route`.

        Args:
            path: The path of the route.
            **options: The options of the route.
        """
        return self.route("OPTIONS", path, **options)

    def pass_through(self, handler: Handler) -> None:
        """Send requests that match no route to another transport, which is closed with this one.

        Args:
            handler: An `AiohttpTransport`, a `Cassette`, or any other handler.

        Raises:
            TypeError: *handler* is not a handler.
        """
        if not callable(handler):
            raise TypeError(
                f"handler must be a transport, such as AiohttpTransport(), not {type(handler).__name__}"
            )
        self._rest = handler

    # --- assertions and reset

    def assert_all_called(self) -> None:
        """Check that each route was called.

        Raises:
            AssertionError: Some were not; the text lists them.
        """
        left = [route.label for route in self.routes if not route.called]
        if left:
            raise AssertionError("\n  ".join(["routes that were not called:", *left]))

    def reset(self) -> None:
        """Forget all requests, and start each route again with its first answer."""
        self.calls.clear()
        self.unexpected.clear()
        for route in self.routes:
            route.forget()

    @property
    def open_responses(self) -> int:
        """The number of responses not closed. More than 0 before the client is closed means a leak."""
        return self._transport.open_responses

    # --- as a transport

    async def __call__(self, request: APIRequest, /) -> AsyncAPIResponse[Any]:
        """Answer *request*."""
        return await self._transport(request)

    async def sleep(self, seconds: float, /) -> None:
        """Wait before another attempt of a client: on the clock if one was given.

        Args:
            seconds: The time to wait.
        """
        await self._transport.sleep(seconds)

    async def close(self) -> None:
        """End every open stream. The mock stays usable."""
        ending, self._transport = self._transport, FakeTransport(default=self._answer, clock=self._clock)
        await ending.close()
        close = getattr(self._rest, "close", None)
        if close is not None:
            await close()

    async def _answer(self, request: SentRequest) -> Any:
        self.calls.append(request)
        refusals: list[str] = []
        for route in self.routes:
            fit = route.try_fit(request)
            if not isinstance(fit, str):
                step = route.take(fit)
                await self._delay(request, step)
                return step.answer
            refusals.append(f"  {route.label}: {fit}")
        if self._rest is not None:
            return await self._rest(request.copy())
        message = "\n".join([f"no route for {_shown(request)}", *(refusals or ["  there are no routes"])])
        self.unexpected.append(message)
        raise AssertionError(message)

    async def _delay(self, request: SentRequest, step: Step) -> None:
        """Wait before an answer: on the clock, no longer than the request allows."""
        if step.delay == 0:
            return
        if self._clock is None:
            await asyncio.sleep(step.delay)
            return
        late = _first_limit(request, step.delay)
        self._clock.advance(step.delay if late is None else late[0])
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if late is not None:
            raise late[1]


def _first_limit(request: APIRequest, delay: float) -> tuple[float, APITimeoutError] | None:
    """Return the earliest time limit that a delay reaches, and its error."""
    phases: tuple[TimeoutPhase, ...] = ("read", "attempt", "total")
    limits = [request.limit("read"), request.limit("attempt"), request.time_left()]
    reached = [limit for limit in limits if limit is not None and limit <= delay]
    if not reached:
        return None
    seconds = min(reached)
    phase = phases[limits.index(seconds)]
    return seconds, request.timed_out(phase, request.limit(phase) or seconds)()


def _shown(request: SentRequest) -> str:
    """Return method and URL, with the values of the query except secrets."""
    secrets = Secrets(DEFAULT_SECRETS)
    query = "&".join(f"{name}={secrets.header(name, value)}" for name, value in request.url.query.items())
    return (
        f"{request.method} {request.origin}{secrets.text(request.url.raw_path)}{'?' + query if query else ''}"
    )
