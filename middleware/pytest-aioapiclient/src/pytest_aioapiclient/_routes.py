"""`Route`: the requests that it matches, and its answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypedDict, Unpack
from unittest.mock import ANY

import msgspec
from yarl import URL

from aioapiclient.contract import APIRequest, check_seconds
from aioapiclient.testing import Answer, FakeTransport, SentRequest, respond

from ._differences import difference, shown
from ._paths import PathPattern
from ._plain import is_list

__all__ = ["Reply", "Route", "RouteOptions", "Step"]


class RouteOptions(TypedDict, total=False):
    """The conditions of a route besides its method and path."""

    params: Mapping[str, Any] | None
    """Query parameters that the request must have, among others. `ANY` matches any value."""

    json: Any
    """The JSON body. `ANY`, the default, matches any body, or none; it may also be part of the value."""

    headers: Mapping[str, Any] | None
    """Headers that the request must have, among others. `ANY` matches any value."""

    name: str | None
    """A name for looking the route up: ``mock_api["users"]``."""

    host: str | None
    """The host, with a port if the port must match too. By default every host matches."""


class Reply(TypedDict, total=False):
    """The body and headers of an answer: the keywords of `aioapiclient.testing.respond`."""

    json: Any
    text: str | None
    body: bytes
    chunks: Any
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None
    cut_after: int | None


class Step(NamedTuple):
    """One answer, and the seconds before it."""

    answer: Answer
    delay: float


class Fit(NamedTuple):
    """A request that a route answers."""

    request: SentRequest
    path_params: Mapping[str, str]


class Route:
    """A method and a path, and the answers to matching requests; created by `MockAPI`.

    Args:
        method: The method.
        path: The path as the client writes it: ``/users/{id}``, with or without the path of the base URL; or
            an absolute URL.
        **options: Further conditions.

    Raises:
        InvalidRequestError: The path is not a template, or a value is not valid.
        TypeError: A value has the wrong type.
    """

    def __init__(self, method: str, path: str, **options: Unpack[RouteOptions]) -> None:
        host = options.get("host")
        if path.startswith(("http://", "https://")):
            scheme, _, rest = path.partition("://")
            authority, slash, below = rest.partition("/")
            host, path = URL(f"{scheme}://{authority}").host_port_subcomponent, slash + below
        self.method: str = method.upper()
        """The method, in upper case."""
        self.name: str | None = options.get("name")
        """The name given to the route."""
        self._path = path
        self._pattern = PathPattern(path)
        self._host = host
        self._params = _pairs(_mapping("params", options.get("params")))
        self._headers = _mapping("headers", options.get("headers"))
        self._json = _plain(options.get("json", ANY))
        self._steps: list[Step] = []
        self._fits: list[Fit] = []

    # --- answers

    def respond(self, status: int = 200, *, delay: float = 0.0, **reply: Unpack[Reply]) -> Route:
        """Add an answer for the next matching request; the last answer is repeated.

        Args:
            status: The status code, 200 by default.
            delay: Seconds before the answer; 0 by default.
            **reply: ``json``, ``text``, ``body`` or ``chunks``, ``headers``, and ``cut_after``, as of
                `aioapiclient.testing.respond`.

        Returns:
            The route itself, for one more answer.

        Raises:
            InvalidRequestError: A number is out of range.
            TypeError: Two bodies were given, or a value has the wrong type.
        """
        return self.then(respond(status, **reply), delay=delay)

    def then(self, *answers: Answer, drop_after: int | None = None, delay: float = 0.0) -> Route:
        """Add answers, one for each matching request; the last answer is repeated.

        Args:
            *answers: Results of `aioapiclient.testing.respond`, errors to raise, or functions of the
                request, which is a `SentRequest`.
            drop_after: Instead of answers: a 200 whose connection breaks after this number of bytes.
            delay: Seconds before each of these answers; 0 by default.

        Returns:
            The route itself, for one more answer.

        Raises:
            InvalidRequestError: *drop_after* or *delay* is below 0.
            TypeError: Answers were given with *drop_after*, or one is not an answer.
        """
        if drop_after is not None:
            if answers:
                raise TypeError(
                    "answers and drop_after were both given; respond(cut_after=...) breaks an answer"
                )
            answers = (respond(body=bytes(max(drop_after, 0)), cut_after=drop_after),)
        check_seconds("delay", delay)
        FakeTransport(*answers)  # raises TypeError for a value that is not an answer
        self._steps += [Step(answer, delay) for answer in answers or (respond(),)]
        return self

    # --- received requests

    @property
    def calls(self) -> list[SentRequest]:
        """The requests that it answered, including retries, in order."""
        return [fit.request for fit in self._fits]

    @property
    def call_count(self) -> int:
        """The number of requests that it answered."""
        return len(self._fits)

    @property
    def called(self) -> bool:
        """Whether it answered a request."""
        return bool(self._fits)

    @property
    def last(self) -> SentRequest:
        """The last request that it answered.

        Raises:
            AssertionError: There was none.
        """
        return self._last().request

    @property
    def path_params(self) -> Mapping[str, str]:
        """The values of the placeholders in the path of the last request, unescaped.

        Raises:
            AssertionError: There was no request.
        """
        return self._last().path_params

    def _last(self) -> Fit:
        if not self._fits:
            raise AssertionError(f"{self.label} was not called")
        return self._fits[-1]

    # --- for MockAPI

    def try_fit(self, request: SentRequest) -> Fit | str:
        """Return the match of *request*, or a description of its first difference.

        Args:
            request: The request as sent.
        """
        if request.method != self.method:
            return f"the method is {request.method}"
        host = (request.url.host or "", request.url.host_port_subcomponent)
        if self._host is not None and self._host not in host:
            return f"the host is {host[1]}"
        path_params = self._pattern.match(request.relative_path)
        if path_params is None:
            path_params = self._pattern.match(request.url.raw_path)
        if path_params is None:
            return f"the path is {request.relative_path}"
        wrong = self._wrong_params(request) or self._wrong_headers(request) or self._wrong_json(request)
        return Fit(request, path_params) if wrong is None else wrong

    def _wrong_params(self, request: SentRequest) -> str | None:
        for name, values in self._params.items():
            sent = request.url.query.getall(name, [])
            if not sent:
                return f"params has no {name!r}"
            if values is not ANY and sent != values:
                return difference(_one(values), _one(sent), f"params[{name!r}]", name)
        return None

    def _wrong_headers(self, request: SentRequest) -> str | None:
        for name, value in self._headers.items():
            sent = request.headers.get(name)
            if sent is None:
                return f"headers has no {name!r}"
            if sent != value:
                return difference(value, sent, f"headers[{name!r}]", name)
        return None

    def _wrong_json(self, request: SentRequest) -> str | None:
        if self._json is ANY:
            return None
        try:
            sent = msgspec.json.decode(request.content)
        except msgspec.DecodeError:
            return "the body is not JSON" if request.content else "there is no body"
        return difference(self._json, sent, "json")

    def take(self, fit: Fit) -> Step:
        """Record a matching request, and return the answer to it.

        Args:
            fit: The result of `try_fit`.
        """
        number = len(self._fits)
        self._fits.append(fit)
        return self._steps[min(number, len(self._steps) - 1)] if self._steps else Step(respond(), 0.0)

    def forget(self) -> None:
        """Forget the requests, and start again with the first answer."""
        self._fits.clear()

    @property
    def label(self) -> str:
        """The conditions of the route, for messages: ``GET /users/{id} params={'page': '2'}``."""
        host = "" if self._host is None else self._host
        parts = [f"{self.method} {host}{self._path}"]
        for kind, given in (("params", self._params), ("headers", self._headers)):
            if given:
                values = ", ".join(f"{name!r}: {_shown(name, value)}" for name, value in given.items())
                parts.append(f"{kind}={{{values}}}")
        if self._json is not ANY:
            parts.append("json=...")
        return " ".join(parts)

    def __repr__(self) -> str:
        times = "once" if self.call_count == 1 else f"{self.call_count} times"
        return f"<Route {self.label}, called {times}>"


def _shown(name: str, value: Any) -> str:
    return "ANY" if value is ANY else shown(name, _one(value))


def _one(values: Any) -> Any:
    return values[0] if is_list(values) and len(values) == 1 else values


def _mapping(name: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{name} must be a mapping of names to values, not {type(value).__name__}")
    return dict(value)


def _pairs(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of each parameter as a client sends them; `ANY` is kept."""
    probe = APIRequest("GET", "http://localhost/")
    probe.add_params({name: value for name, value in params.items() if value is not ANY})
    query = probe.url.query
    anything = {name: ANY for name, value in params.items() if value is ANY}
    return {name: query.getall(name) for name in query} | anything


def _plain(value: Any) -> Any:
    """Return the value as it is after a way over the wire, if it has one; `ANY` in it has not."""
    if value is ANY:
        return value
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, OverflowError):
        return value
