"""The chain: which middlewares a call passes, in which order, and why in this one.

A chain is a list of middlewares, the first one outermost, around a transport. Folding it binds each
middleware to the rest, once, so that a call only runs through functions that are already joined. The
built-ins have a ``_join(handler)`` for that: it gives the handler that calling them with *handler* would
be, and puts no coroutine where they have nothing to wait for. That saves 1 us of a call.

Two middlewares split the list into three zones, and their places explain all the others':

* `RetryMiddleware` calls what stands after it once for every attempt; what stands before it runs
  once per call. So the deadline stands first: it bounds everything. Headers come next, for they are
  the same on every attempt. Redirects stand outside the retries: each hop has attempts of its own,
  and goes on counting where the last hop stopped.
* `AuthMiddleware` stands inside the retries, so that every attempt carries a token or a signature
  that is still valid then, and inside the redirects, so that every hop is asked anew whether its
  origin may have the credential. It calls what stands after it once more when a refused credential
  was renewed. So what stands there sees each send: final URL, final headers, final body.
* The limit of one attempt and the decoding come last, where the wire is: time spent on getting a
  token is no time of the attempt, and a body that breaks off while it is read is a failed attempt.

A middleware of yours goes to the end of its zone's own part: once per call, or where `per_attempt`
or `per_send` says.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ._checks import check_origins, kind_of
from ._response import AsyncAPIResponse
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

# What a middleware of each kind must stand before, to be at the end of its zone.
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
    """Return the chain that a client makes for itself, as an ordinary list to edit and to pass as ``chain=``.

    Args:
        auth: The credential.
        default_headers: Headers of every call, or a function that returns them, asked once per call.
        library_headers: Headers of the lowest layer, such as ``User-Agent``, or a function that returns them.
        retry: The retry policy; the default policy without it.
        trusted_origins: Other origins that may receive credentials and default headers, as patterns.
        middlewares: Middlewares of your own, bundles, or names of installed ones.
        sleep: An async function that waits some seconds between attempts; `asyncio.sleep` by default.

    Returns:
        The middlewares, outermost first.

    Raises:
        InvalidRequestError: A pattern, a header or a name makes no sense.
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
    """*chain* with *middlewares* in the places that they ask for, behind those of the same kind."""
    edited = list(chain)
    for given in _flattened(middlewares):
        stage = given.stage if isinstance(given, Placed) else "per_call"
        middleware = resolve(given)
        ends = _ENDS[stage]
        index = next((place for place, link in enumerate(edited) if isinstance(link, ends)), len(edited))
        edited.insert(index, middleware)
    return edited


def _flattened(entries: Iterable[MiddlewareEntry]) -> Iterator[Middleware]:
    """*entries* with each name loaded, and each bundle replaced by its middlewares."""
    for entry in entries:
        loaded = load_middleware(entry) if isinstance(entry, str) else entry
        if is_bundle(loaded):
            yield from _flattened(cast("Bundle", loaded).middlewares())
        else:
            yield cast("Middleware", loaded)


def resolve(given: MiddlewareEntry) -> Middleware:
    """The middleware itself: out of its place, or loaded by its name; checked.

    Raises `TypeError`, with its name, for what is not async.
    """
    inner = given.middleware if isinstance(given, Placed) else given
    middleware = load_middleware(inner) if isinstance(inner, str) else inner
    if is_bundle(middleware):
        raise TypeError(
            f"Middleware {type(middleware).__name__} is a bundle of several; give it to middlewares=, "
            "of a client or of default_chain(), where each takes its own place"
        )
    _check(middleware)
    return cast("Middleware", middleware)


def _check(middleware: object) -> None:
    name = getattr(middleware, "__qualname__", None) or type(middleware).__qualname__
    if isinstance(middleware, type):
        raise TypeError(f"Middleware {name} is a class; give an instance of it: {name}(...)")
    if not callable(middleware):
        raise TypeError(
            f"Middleware {name} is not callable; it must be an async function of (request, handler)"
        )
    if type(middleware).__call__ is Middleware.__call__:
        raise TypeError(f"Middleware {name} does not override __call__ of Middleware, which does nothing")
    if not is_async(middleware):
        raise TypeError(f"Middleware {name} is not async; write it as 'async def' (request, handler)")
    if isinstance(middleware, AuthMiddleware) and middleware.auth is not None:
        check_auth(middleware.auth)


def check_auth(auth: object) -> None:
    """Raise `TypeError` for what is no `Auth`."""
    name = kind_of(auth)
    if isinstance(auth, type):
        raise TypeError(f"auth {auth.__name__} is a class; give an instance of it: {auth.__name__}(...)")
    own = getattr(type(auth), "authenticate", None) is not Auth.authenticate
    if not own or not inspect.iscoroutinefunction(getattr(auth, "authenticate", None)):
        raise TypeError(f"auth {name} has no async authenticate(); {_meant(auth)}")
    has_statuses = hasattr(auth, "challenge_statuses")
    if not has_statuses or not inspect.iscoroutinefunction(getattr(auth, "refresh", None)):
        raise TypeError(
            f"auth {name} has no async refresh(), or no challenge_statuses; subclass aioapiclient.Auth"
        )


def _meant(auth: object) -> str:
    """What to give in place of *auth*."""
    if isinstance(auth, tuple | list):  # aiohttp.BasicAuth is a tuple
        return "give aioapiclient.BasicAuth(user, password)"
    if isinstance(auth, str):
        return "give aioapiclient.BearerAuth(token)"
    if kind_of(auth) == "aiohttp.DigestAuthMiddleware":
        return "give it to the transport: AiohttpTransport(session_middlewares=[...])"
    return "subclass aioapiclient.Auth, or use BearerAuth"


def is_async(function: Any) -> bool:
    """Whether calling *function* gives a coroutine: it is ``async def``, or its ``__call__`` is."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def check_chain(chain: Iterable[Middleware | str]) -> tuple[Middleware, ...]:
    """*chain* as a tuple of middlewares, each checked."""
    if isinstance(chain, str):
        raise TypeError("chain must be an iterable of middlewares, not one str")
    return tuple(resolve(given) for given in chain)


def fold(chain: Sequence[Middleware], transport: Handler) -> Handler:
    """*chain* around *transport*, as one handler."""
    handler = transport
    for middleware in reversed(chain):
        handler = _bind(middleware, handler)
    return handler


def _bind(middleware: Middleware, handler: Handler) -> Handler:
    join: Callable[[Handler], Handler] | None = getattr(middleware, "_join", None)
    if join is not None and _joins(type(middleware)):
        return join(handler)
    # An object's __call__ is found once, here: Python would look for it at every call.
    is_object = inspect.iscoroutinefunction(type(middleware).__call__)
    call = middleware.__call__ if is_object else middleware

    async def bound(request: APIRequest) -> AsyncAPIResponse[Any]:
        response = await call(request, handler)
        if not isinstance(response, AsyncAPIResponse):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _no_response(f"Middleware {_name(middleware)}", response, _ADVICE)
        return response

    return bound


_ADVICE = "write 'return await handler(request)', or return the response that it gave"


def checked(transport: Handler) -> Handler:
    """Return *transport* with a `TypeError` that names it for what it gives and is no response."""

    async def send(request: APIRequest) -> AsyncAPIResponse[Any]:
        response = await transport(request)
        if not isinstance(response, AsyncAPIResponse):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _no_response(f"Transport {_name(transport)}", response, "return a response")
        return response

    return send


def _no_response(who: str, given: object, advice: str) -> TypeError:
    """Return the error for a middleware or a transport that gave something else than a response."""
    if given is None:
        return TypeError(f"{who} returned None; {advice}")
    if inspect.iscoroutine(given):
        given.close()  # or Python would say as well that nobody awaited it
        return TypeError(f"{who} returned a coroutine, so an 'await' is missing; {advice}")
    return TypeError(
        f"{who} returned a value of type {type(given).__name__}, not a response; "
        "AsyncAPIResponse.from_bytes(request, status, headers, body) makes one"
    )


def _joins(kind: type[Any]) -> bool:
    """Whether *kind* has ``_join``, and no subclass of what has it a ``__call__`` of its own."""
    for base in kind.__mro__:
        if "_join" in vars(base):
            return True
        if "__call__" in vars(base):
            return False
    return False


def explain(chain: Sequence[Middleware], transport: Handler) -> str:
    """*chain* as text, one line a link, each inside the one above, with the bars that split it."""
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
"""The entry-point group: name -> factory."""


def load_middleware(name: str, **config: Any) -> Any:
    """Make the middleware, or the bundle, that is installed under a name.

    Names come from the entry-point group ``aioapiclient.middleware``. Nothing that is installed inserts
    itself into a chain: a name is looked up when you pass it.

    Args:
        name: The name of the entry point.
        **config: Arguments for its factory.

    Returns:
        What the factory returns.

    Raises:
        InvalidRequestError: No distribution, or more than one, has that name.
        TypeError: The factory does not take *config*.
    """
    found = _find(name)
    factory = found.load()
    try:
        return factory(**config)
    except TypeError as error:
        error.add_note(f"while making the middleware {name!r} ({found.value})")
        raise


def _find(name: object) -> EntryPoint:
    if not isinstance(name, str):
        raise TypeError(f"A middleware is loaded by its name, a str, not {type(name).__name__}")
    # Here, for most clients name nothing, and it is a fifth of what importing the package costs.
    from importlib.metadata import entry_points

    installed = entry_points(group=GROUP)
    # A checkout beside its own wheel shows the same entry point twice: that is no contradiction.
    found = {point.value: point for point in installed if point.name == name}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise InvalidRequestError(
            f"More than one distribution has a middleware {name!r}: {', '.join(sorted(found))}"
        )
    names = sorted({point.name for point in installed})
    import difflib

    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"installed are {', '.join(names) or 'none'}"
    raise InvalidRequestError(f"No installed distribution has a middleware {name!r}; {hint}")
