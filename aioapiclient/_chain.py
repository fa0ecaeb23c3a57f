"""The chain: which middlewares a call passes through, in which order, and why.

A chain is a list of middlewares, outermost first, around a transport. Folding it binds each middleware to the
rest of the chain, once, so that a call only runs functions that are already joined. The built-in middlewares
have a ``_join(handler)`` for that: it returns *handler* wrapped in the middleware, without a coroutine if
it does not have to wait. That saves 1 us per call.

Two middlewares split the list into three zones, which determine the places of all others:

* `RetryMiddleware` calls the rest of the chain once per attempt; the middlewares before it run once per
  call. The deadline is first, because it limits everything. Headers follow, because they are the same on
  every attempt. Redirects are outside the retries: each hop has its own attempts, and attempts are counted
  across all hops.
* `AuthMiddleware` is inside the retries, so that every attempt carries a valid token or signature, and
  inside the redirects, so that the origin of every hop is checked before it receives the credential. It
  calls the rest of the chain once more after it has renewed a refused credential. The middlewares after it
  therefore see each send, with the final URL, headers and body.
* The limit of one attempt and the decoding are last, next to the transport: the time to fetch a token does
  not count as time of the attempt, and a body that breaks off while it is read is a failed attempt.

Your own middlewares are inserted at the end of their zone: once per call by default, or in the zone of
`per_attempt` or `per_send`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ._checks import check_origins, closest, kind_of
from ._response.response import AsyncAPIResponse
from .contract import APIRequest, Auth, Bundle, Handler, Middleware, MiddlewareEntry, Placed, is_bundle
from .errors import InvalidRequestError
from .middleware.auth import AuthMiddleware
from .middleware.decoding import DecodingMiddleware
from .middleware.headers import HeadersMiddleware
from .middleware.redirect import RedirectMiddleware
from .middleware.retry import RetryMiddleware, RetryPolicy
from .middleware.timeout import DeadlineMiddleware, TimeoutMiddleware

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["default_chain", "explain", "fold", "insert", "load_middleware"]

# A middleware of each kind is inserted before the first of these, at the end of its zone.
_ENDS: Mapping[str, tuple[type[Any], ...]] = {
    "per_call": (RedirectMiddleware, RetryMiddleware, AuthMiddleware, TimeoutMiddleware, DecodingMiddleware),
    "per_attempt": (AuthMiddleware, TimeoutMiddleware, DecodingMiddleware),
    "per_send": (TimeoutMiddleware, DecodingMiddleware),
}


def default_chain(
    *,
    auth: Auth | None = None,
    default_headers: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
    library_headers: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None,
    retry: RetryPolicy | None = None,
    trusted_origins: Iterable[str] = (),
    middlewares: Iterable[MiddlewareEntry] = (),
    sleep: Callable[[float], Awaitable[object]] | None = None,
) -> list[Middleware]:
    """Return the default chain of a client, as an ordinary list to edit and to pass as ``chain=``.

    Args:
        auth: The credential; none by default.
        default_headers: Headers of every call, or a function that returns them, called once per call.
        library_headers: Headers of the lowest layer, such as ``User-Agent``, or a function that returns them.
        retry: The retry policy; ``RetryPolicy()`` by default.
        trusted_origins: Patterns of other origins that may receive credentials and default headers, such
            as ``https://*.example.com``.
        middlewares: Your own middlewares, bundles, or names of installed ones.
        sleep: An async function that waits some seconds between attempts; by default the client's
            ``_sleep_for_retry``, which is `asyncio.sleep`.

    Returns:
        The middlewares, outermost first.

    Raises:
        InvalidRequestError: No installed middleware, or more than one, has a given name.
        TypeError: An argument has the wrong type.
    """
    if auth is not None:
        check_auth(auth)
    trusted = check_origins("trusted_origins", trusted_origins)
    chain: list[Middleware] = [
        DeadlineMiddleware(),
        HeadersMiddleware(default_headers, library=library_headers, trusted_origins=trusted),
        RedirectMiddleware(trusted_origins=trusted),
        RetryMiddleware(retry, sleep=sleep),
        AuthMiddleware(auth, trusted_origins=trusted),
        TimeoutMiddleware(),
        DecodingMiddleware(),
    ]
    return insert(chain, middlewares)


def insert(chain: Sequence[Middleware], middlewares: Iterable[MiddlewareEntry]) -> list[Middleware]:
    """Return *chain* with *middlewares* in their places, after others of the same kind."""
    edited = list(chain)
    for given in _flattened(middlewares):
        stage = given.stage if isinstance(given, Placed) else "per_call"
        middleware = resolve(given)
        ends = _ENDS[stage]
        index = next((place for place, link in enumerate(edited) if isinstance(link, ends)), len(edited))
        edited.insert(index, middleware)
    return edited


def _flattened(entries: Iterable[MiddlewareEntry]) -> Iterator[Middleware]:
    """Yield *entries* with each name loaded, and each bundle replaced by its middlewares."""
    for entry in entries:
        loaded = load_middleware(entry) if isinstance(entry, str) else entry
        if is_bundle(loaded):
            yield from _flattened(cast("Bundle", loaded).middlewares())
        else:
            yield cast("Middleware", loaded)


def resolve(given: MiddlewareEntry) -> Middleware:
    """Return the middleware of an entry, loaded by its name if necessary, after a check.

    Raises:
        TypeError: The middleware is not async, is a class, or is a bundle. The message names it.
    """
    inner = given.middleware if isinstance(given, Placed) else given
    middleware = load_middleware(inner) if isinstance(inner, str) else inner
    if is_bundle(middleware):
        raise TypeError(
            f"middleware {type(middleware).__name__} is a bundle; pass it in middlewares= of a client or of "
            "default_chain(), where each of its middlewares takes its own place"
        )
    _check(middleware)
    return cast("Middleware", middleware)


def _check(middleware: object) -> None:
    name = getattr(middleware, "__qualname__", None) or type(middleware).__qualname__
    if isinstance(middleware, type):
        raise TypeError(f"middleware {name} is a class; pass an instance of it: {name}(...)")
    if not callable(middleware):
        raise TypeError(
            f"middleware {name} is not callable; it must be an async function of (request, handler)"
        )
    if type(middleware).__call__ is Middleware.__call__:
        raise TypeError(f"middleware {name} does not override __call__ of Middleware, which does nothing")
    if not is_async(middleware):
        raise TypeError(f"middleware {name} is not async; write it as 'async def' (request, handler)")
    if isinstance(middleware, AuthMiddleware) and middleware.auth is not None:
        check_auth(middleware.auth)


def check_auth(auth: object) -> None:
    """Raise `TypeError` if *auth* does not implement `Auth`."""
    name = kind_of(auth)
    if isinstance(auth, type):
        raise TypeError(f"auth {auth.__name__} is a class; pass an instance of it: {auth.__name__}(...)")
    own = getattr(type(auth), "authenticate", None) is not Auth.authenticate
    if not own or not inspect.iscoroutinefunction(getattr(auth, "authenticate", None)):
        raise TypeError(f"auth {name} has no async authenticate(); {_meant(auth)}")
    has_statuses = hasattr(auth, "challenge_statuses")
    if not has_statuses or not inspect.iscoroutinefunction(getattr(auth, "refresh", None)):
        raise TypeError(
            f"auth {name} has no async refresh(), or no challenge_statuses; subclass aioapiclient.Auth"
        )


def _meant(auth: object) -> str:
    """Return advice on what to pass in place of *auth*."""
    if isinstance(auth, tuple | list):  # aiohttp.BasicAuth is a tuple
        return "pass aioapiclient.BasicAuth(user, password)"
    if isinstance(auth, str):
        return "pass aioapiclient.BearerAuth(token)"
    if kind_of(auth) == "aiohttp.DigestAuthMiddleware":
        return "pass it to the transport: AiohttpTransport(session_middlewares=[...])"
    return "subclass aioapiclient.Auth, or use BearerAuth"


def is_async(function: Any) -> bool:
    """Return whether *function*, or its ``__call__``, is ``async def``."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def check_chain(chain: Iterable[Middleware | str]) -> tuple[Middleware, ...]:
    """Return *chain* as a tuple of checked middlewares."""
    if isinstance(chain, str):
        raise TypeError("chain must be an iterable of middlewares, not one str")
    return tuple(resolve(given) for given in chain)


def fold(chain: Sequence[Middleware], transport: Handler) -> Handler:
    """Return one handler: *chain* around *transport*."""
    handler = transport
    for middleware in reversed(chain):
        handler = _bind(middleware, handler)
    return handler


def _bind(middleware: Middleware, handler: Handler) -> Handler:
    join: Callable[[Handler], Handler] | None = getattr(middleware, "_join", None)
    if join is not None and _joins(type(middleware)):
        return join(handler)
    # Look up the __call__ of an object once, here, not at every call.
    is_object = inspect.iscoroutinefunction(type(middleware).__call__)
    call = middleware.__call__ if is_object else middleware

    async def bound(request: APIRequest) -> AsyncAPIResponse[Any]:
        response = await call(request, handler)
        if not isinstance(response, AsyncAPIResponse):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _no_response(f"middleware {_name(middleware)}", response, _ADVICE)
        return response

    return bound


_ADVICE = "write 'return await handler(request)', or return the response of handler"


def check_transport(transport: object) -> None:
    """Raise `TypeError` if *transport* is not a handler."""
    if isinstance(transport, type):
        name = transport.__name__
        raise TypeError(f"transport {name} is a class; pass an instance of it: {name}(...)")
    if not callable(transport) or not is_async(transport):
        raise TypeError(
            f"transport must be a handler, not {type(transport).__name__}: "
            "an async function of the request is one"
        )


def checked(transport: Handler) -> Handler:
    """Return *transport* with a check: a `TypeError` names it if it does not return a response."""

    async def send(request: APIRequest) -> AsyncAPIResponse[Any]:
        response = await transport(request)
        if not isinstance(response, AsyncAPIResponse):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _no_response(f"transport {_name(transport)}", response, "return a response")
        return response

    return send


def _no_response(who: str, given: object, advice: str) -> TypeError:
    """Return the error for a middleware or a transport that did not return a response."""
    if given is None:
        return TypeError(f"{who} returned None; {advice}")
    if inspect.iscoroutine(given):
        given.close()  # prevents a warning that it was never awaited
        return TypeError(f"{who} returned a coroutine, so an 'await' is missing; {advice}")
    return TypeError(
        f"{who} returned a value of type {type(given).__name__}, not a response; "
        "AsyncAPIResponse.from_bytes(request, status, headers, body) creates one"
    )


def _joins(kind: type[Any]) -> bool:
    """Return whether *kind* has ``_join``, and no class between overrides ``__call__``."""
    for base in kind.__mro__:
        if "_join" in vars(base):
            return True
        if "__call__" in vars(base):
            return False
    return False


def explain(chain: Sequence[Middleware], transport: Handler) -> str:
    """Return *chain* as text: one line per link, outermost first, with the zones marked."""
    lines: list[str] = []
    links: list[object] = [*chain, transport]
    for depth, link in enumerate(links):
        line = "  " * depth + _name(link)
        if isinstance(link, RetryMiddleware):
            line = _bar(line, "once per attempt")
        elif isinstance(link, AuthMiddleware):
            line = _bar(line, "once per send")
        lines.append(line)
    return "\n".join(lines)


def _bar(line: str, text: str) -> str:
    return f"{line} {'=' * max(4, 44 - len(line))} below: {text}"


def _name(link: object) -> str:
    while isinstance(link, partial):
        link = link.func
    name = getattr(link, "__qualname__", None) or type(link).__qualname__
    return name.rpartition("<locals>.")[2]


GROUP = "aioapiclient.middleware"
"""The entry-point group of middlewares; each entry point names a factory."""


def load_middleware(name: str, **config: Any) -> Any:
    """Create the middleware, or the bundle, that is installed under a name.

    Names come from the entry-point group ``aioapiclient.middleware``. An installed plugin never inserts
    itself into a chain: its name is looked up only when you pass it.

    Args:
        name: The name of the entry point.
        **config: Keyword arguments for its factory.

    Returns:
        The result of the factory.

    Raises:
        InvalidRequestError: No installed distribution, or more than one, defines that name.
        TypeError: *name* is not a str, or the factory does not accept *config*.
    """
    found = _find(name)
    factory = found.load()
    try:
        return factory(**config)
    except TypeError as error:
        error.add_note(f"while creating the middleware {name!r} ({found.value})")
        raise


def _find(name: object) -> EntryPoint:
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, the name of a middleware, not {type(name).__name__}")
    # Imported here: most clients load no plugin, and this import is a fifth of the cost of importing the
    # package.
    from importlib.metadata import entry_points

    installed = entry_points(group=GROUP)
    # A checkout next to its own wheel shows the same entry point twice, which is not a conflict.
    found = {point.value: point for point in installed if point.name == name}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise InvalidRequestError(
            f"more than one distribution has a middleware {name!r}: {', '.join(sorted(found))}"
        )
    names = sorted({point.name for point in installed})
    near = closest(name, names)
    hint = f"did you mean {near!r}?" if near else f"installed are {', '.join(names) or 'none'}"
    raise InvalidRequestError(f"no installed distribution has a middleware {name!r}; {hint}")
