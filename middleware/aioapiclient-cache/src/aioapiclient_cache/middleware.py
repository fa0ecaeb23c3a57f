"""`Cache`: the middleware that answers from stored responses, by the rules of RFC 9111."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, Final, NoReturn

from hishel import AsyncBaseStorage
from yarl import URL

from aioapiclient.contract import (
    APIRequest,
    AsyncAPIResponse,
    Handler,
    check_flag,
    check_function,
    check_seconds,
    check_whole,
)

from ._arguments import CACHEABLE, check_excluded, check_methods, check_storage
from ._core import Core
from ._directives import Directives, parse_directives
from ._exchange import Exchange
from ._keys import Asked, has_any, url_of
from ._stored import Policy
from .memory import MemoryStorage

__all__ = ["Cache"]

# The methods registered as safe (RFC 9110 §16.1.1), and QUERY. Any other method may change a resource.
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PRI", "PROPFIND", "QUERY", "REPORT", "SEARCH", "TRACE"})
_CONDITIONS: Final = (
    "If-None-Match",
    "If-Modified-Since",
    "If-Match",
    "If-Unmodified-Since",
    "If-Range",
    "Range",
)


class Cache:
    """Answers from stored responses while they are fresh, and validates them afterwards (RFC 9111).

    Place it with `per_send`: there the credential is known, and a response stored for one principal is
    returned to that principal only. `Auth.identity` names the principal. Without a name, the principal is the
    credentials themselves, and all headers whose names suggest a credential, a user or a tenant.

    A storage receives a hash of the URL and the principal, and hashes of the request headers that ``Vary``
    names. Response headers that contain a secret, such as ``Set-Cookie``, are not stored, nor are those that
    *exclude_headers* names.

    Streams, and requests with a body, a condition or a ``Range``, bypass the cache. A successful
    request with an unsafe method makes the responses stored for its URL stale. A failing storage acts like an
    empty cache: ``aioapiclient.cache`` logs a warning once a minute.

    Args:
        storage: The storage of the responses: a new `MemoryStorage` by default, or an
            ``AsyncRedisStorage`` or ``AsyncSqliteStorage`` of hishel. The cache does not close it.
        shared: Whether to follow the rules for shared caches: ``s-maxage`` counts, ``private`` forbids
            storing. False by default. Principals are kept apart in either case.
        identity: Returns the name of a request's principal, instead of its credentials; requests with the
            same name share their responses. If it is None or returns None, the credentials are the principal.
        coalesce: Whether to send concurrent equal GET requests once, if the response can be shared. True by
            default.
        stale_if_error: Seconds after its expiry for which a stale response is used if the server cannot be
            reached or answers with 5xx; 0 by default. Never if the server forbids it (``must-revalidate``).
        stale_while_revalidate: Whether a response with ``stale-while-revalidate`` is used for that many
            seconds while it is validated in the background (RFC 5861 §3). False by default.
        default_ttl: Seconds for which a success without freshness information is fresh. None (the default)
            uses its ``Last-Modified``.
        max_body: The largest body to store in bytes, 1 MiB by default.
        methods: The methods whose responses are stored, GET and HEAD by default.
        exclude_headers: Names of response headers, in any case, that are never stored and so never part of a
            response from the cache, such as one with the rest of a quota. None by default, except headers
            with a secret. Headers that the cache itself needs, such as ``Vary``, are refused.
        store_unmatched_headers: Whether to store the hashes of all request headers, including those that
            ``Vary`` does not name, so that the response still matches after a 304 names them. False by
            default.
        clock: Returns the time in seconds since 1970; `time.time` by default.

    Raises:
        InvalidRequestError: A number is negative, a method is not GET or HEAD, or a header cannot be
            excluded.
        TypeError: An argument has the wrong type. In a call: the cache is placed outside of auth.
    """

    def __init__(
        self,
        storage: AsyncBaseStorage | None = None,
        *,
        shared: bool = False,
        identity: Callable[[APIRequest], str | None] | None = None,
        coalesce: bool = True,
        stale_if_error: float = 0.0,
        stale_while_revalidate: bool = False,
        default_ttl: float | None = None,
        max_body: int = 1 << 20,
        methods: Iterable[str] = CACHEABLE,
        exclude_headers: Collection[str] = (),
        store_unmatched_headers: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if identity is not None:
            check_function("identity", identity)
        check_function("clock", clock)
        policy = Policy(
            shared=check_flag("shared", shared),
            default_ttl=None if default_ttl is None else check_seconds("default_ttl", default_ttl),
            stale_if_error=check_seconds("stale_if_error", stale_if_error),
            stale_while_revalidate=check_flag("stale_while_revalidate", stale_while_revalidate),
            max_body=check_whole("max_body", max_body, unit="bytes"),
            excluded=check_excluded(exclude_headers),
        )
        self.storage: AsyncBaseStorage = MemoryStorage() if storage is None else check_storage(storage)
        """The storage of the responses."""
        self._coalesces = check_flag("coalesce", coalesce)
        store_all = check_flag("store_unmatched_headers", store_unmatched_headers)
        self._core = Core(self.storage, policy, check_methods(methods), identity, store_all, clock)

    def __repr__(self) -> str:
        kind = "shared" if self._core.policy.shared else "private"
        return f"<Cache: {kind}, {type(self.storage).__name__}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Cache cannot be pickled: create one in each process, with a shared storage")

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request*, from the cache if allowed."""
        if request.method not in _SAFE:
            return await self._change(request, handler)
        if not self._concerns(request):
            return await handler(request)
        directives = _directives_of(request)
        if "no-store" in directives:
            return await handler(request)
        exchange = Exchange(self._core, request, handler, directives)
        if self._coalesces and request.method == "GET" and not directives:
            return await self._together(exchange)
        return await exchange.run()

    async def clear(self, url: str | URL | None = None) -> int:
        """Remove the responses stored for a URL, of all principals, or all responses.

        In a `MemoryStorage`, an ``AsyncSqliteStorage`` or an ``AsyncRedisStorage``, this removes the
        responses that any process has stored, but not the entries of other programs. A response that another
        process receives meanwhile may be stored afterwards. A storage of another class cannot list its
        keys: of such a storage, this removes the responses that this cache has stored, of the last 10,000
        keys, and those stored for *url* without a credential; this cache validates the rest before it uses it
        again.

        It makes several requests to the storage for each response, and Redis scans all its keys. If the
        storage fails, the remaining responses are kept, and a warning is logged.

        Args:
            url: The absolute URL, with its query. None (the default) means all.

        Returns:
            The number of removed responses.

        Raises:
            InvalidRequestError: *url* is not an absolute URL.
        """
        if url is None:
            return await self._core.clear(None, set())
        request = APIRequest("GET", url)
        keys = {Asked(request, None).key}
        with suppress(LookupError):  # raised by an `identity` that needs a header
            keys.add(Asked(request, self._core.identity).key)
        return await self._core.clear(url_of(request.url), keys)

    async def close(self) -> None:
        """Cancel the validations in the background; closing a client does so. The storage stays open."""
        await self._core.close()

    def _concerns(self, request: APIRequest) -> bool:
        if request.method not in self._core.methods or request.stream or request.body is not None:
            return False
        return not has_any(request.headers, _CONDITIONS)

    async def _together(self, exchange: Exchange) -> AsyncAPIResponse[Any]:
        """Wait for an equal request in flight, or lead."""
        flights, key = self._core.flights, exchange.asked.key
        if flights.goes_alone(key):
            return await exchange.run()
        while (flight := flights.get(key)) is not None:
            landed = await flight.wait()
            response = None if landed is None else exchange.after(landed)
            if response is not None:
                return response
            if not flight.was_given_up:
                return await exchange.run()
        flight = flights.lead(key, exchange.asked.url)
        try:
            return await exchange.run(flight)
        except asyncio.CancelledError:
            flight.give_up()
            raise
        finally:
            flight.land(None)
            flights.end(key, flight)

    async def _change(self, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        """Handle a request that may change its resource, and make stored responses stale (RFC 9111 §4.4)."""
        asked = Asked(request, self._core.identity)
        self._core.flights.end_joining(asked.url)
        try:
            response = await handler(request)
        except BaseException:
            self._core.change(asked.url)  # it may have had its effect
            self._core.flights.end_joining(asked.url)
            raise
        self._core.flights.end_joining(asked.url)
        if response.status < 400:
            for url in {asked.url, *_places_of(response)}:
                self._core.change(url)
                for entry in await self._core.store.find(asked.key_of(url)):
                    await self._core.store.remove(entry.id)
        return response


def _directives_of(request: APIRequest) -> Directives:
    """Return the directives of a request; ``Pragma`` counts without ``Cache-Control`` (RFC 9111 §5.4)."""
    headers = request.headers
    if "Cache-Control" in headers:
        return parse_directives(",".join(headers.getall("Cache-Control")))
    if "no-cache" in headers.get("Pragma", "").lower():
        return {"no-cache": ""}
    return {}


def _places_of(response: AsyncAPIResponse[Any]) -> list[str]:
    """Return the URLs of the same origin that the response to a change names."""
    here = response.url
    places: list[str] = []
    for name in ("Location", "Content-Location"):
        value = response.headers.get(name)
        try:
            place = None if value is None else here.join(URL(value, encoded=True))
        except ValueError:
            continue
        if place is not None and (place.scheme, place.raw_authority) == (here.scheme, here.raw_authority):
            places.append(url_of(place))
    return places
