"""`Exchange`: one request, answered from the cache or by the server (RFC 9111).

`Stored` decides what may be stored and what may be used. hishel's states decide what to validate, and which
entries a 304 is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from hishel import (
    Entry,
    Headers,
    IdleClient,
    InvalidateEntries,
    NeedRevalidation,
    NeedToBeUpdated,
    Request,
    Response,
)
from multidict import CIMultiDict, CIMultiDictProxy

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler
from aioapiclient.errors import APIConnectionError, APITimeoutError, CircuitOpenError, ClientClosedError

from ._core import Core
from ._directives import Directives
from ._flights import Flight, Landed
from ._keys import Asked, has_any
from ._stored import FACTS, Facts, Policy, Stored, headers_to_keep
from .status import member

__all__ = ["Exchange"]

_MOST_VARIANTS: Final = 8  # responses of one key
_USEFUL: Final = ("Cache-Control", "ETag", "Expires", "Last-Modified")
_UNNAMED: Final = UUID(int=0)  # the storage gives an entry its ID
_NO_HEADERS: Final = Headers({})
_OUTAGES: Final = (APIConnectionError, CircuitOpenError)


class Exchange:
    """One request that may be answered from the cache.

    Args:
        core: The state that all requests of the cache share.
        request: The request. It is not changed: the handler gets copies.
        handler: The rest of the chain.
        directives: The directives of the request.
    """

    def __init__(self, core: Core, request: APIRequest, handler: Handler, directives: Directives) -> None:
        self.asked = Asked(request, core.identity)
        self._core = core
        self._request = request
        self._handler = handler
        self._directives = directives
        self._all: list[Stored] = []
        self._why = "uri-miss"

    async def run(self, flight: Flight | None = None) -> AsyncAPIResponse[Any]:
        """Return a response from the cache or from the server.

        Args:
            flight: The flight that this request leads, if any.
        """
        fitting = await self._look_up()
        if fitting:
            response = await self._from_cache(fitting[0], fitting, flight)
            if response is not None:
                return response
        if "only-if-cached" in self._directives:
            return self._not_cached()
        return await self._forward(fitting, flight)

    def after(self, landed: Landed) -> AsyncAPIResponse[Any] | None:
        """Return the response that another request has fetched; None if it does not fit this one."""
        stored, now = landed.stored, self._core.clock()
        if self._core.was_changed(self.asked.url, stored) or not stored.may_answer(self._directives, now):
            return None
        if not stored.fits(self.asked) or self._is_too_large(stored):
            return None
        if landed.was_hit:
            return self._answer(stored, landed.body, "hit")
        return self._answer(stored, landed.body, "fwd=miss; collapsed")

    # --- from the cache

    async def _look_up(self) -> list[Stored]:
        """Return the stored responses for this request, the newest first."""
        core = self._core
        for entry in await core.store.find(self.asked.key):
            stored = Stored.of(entry, core.policy)
            if stored is None:
                await core.store.remove(entry.id)
            else:
                self._all.append(stored)
        if len(self._all) > 1:
            self._all.sort(key=lambda stored: stored.facts.asked, reverse=True)
        fitting = [stored for stored in self._all if stored.fits(self.asked)]
        if self._all:
            self._why = "stale" if fitting else "vary-miss"
        return fitting

    async def _from_cache(
        self, stored: Stored, fitting: list[Stored], flight: Flight | None
    ) -> AsyncAPIResponse[Any] | None:
        """Return the response from the cache; None if the server must be called."""
        core, now = self._core, self._core.clock()
        if core.was_changed(self.asked.url, stored):
            return None
        detail = None
        if not stored.may_answer(self._directives, now):
            if self._directives and stored.ttl(now) > 0:
                self._why = "request"
            if not stored.may_go_first(self._directives, now):
                return None
            detail = "stale-while-revalidate"
        body = await self._body(stored, fitting)
        if body is None:
            return None
        if detail is not None:
            self._validate_in_background()
        elif flight is not None:
            flight.land(Landed(stored, body, was_hit=True))
        return self._answer(stored, body, "hit", detail)

    async def _body(self, stored: Stored, fitting: list[Stored]) -> bytes | None:
        """Return the body of *stored*; if the storage no longer has it, remove *stored* and return None."""
        if self._is_too_large(stored):
            return None
        body = await self._core.store.body(stored.entry)
        if body is not None and len(body) == stored.facts.size:
            return body
        fitting.remove(stored)
        await self._core.store.remove(stored.entry.id)
        return None

    def _is_too_large(self, stored: Stored) -> bool:
        """Return whether the call would refuse the body: the transport does so, with its own error."""
        most = self._request.max_body
        return most is not None and stored.facts.size > most

    def _answer(
        self, stored: Stored, body: bytes, said: str, detail: str | None = None
    ) -> AsyncAPIResponse[Any]:
        """Return the response for *stored*, with its ``Cache-Status``."""
        now = self._core.clock()
        head: CIMultiDict[str] = CIMultiDict()
        kept = stored.entry.response.headers
        for name in kept:
            # The storage may have been filled by a cache that excludes fewer headers.
            if name not in (FACTS, "age") and name not in self._core.policy.excluded:
                for value in kept.get_list(name) or ():
                    head.add(name, value)
        head["Age"] = str(int(stored.age(now)))
        head.add("Cache-Status", member(said, stored.whole_ttl(now), detail))
        status = stored.entry.response.status_code
        response = AsyncAPIResponse[Any].from_bytes(self._request, status, head, body)
        if status >= 400:
            response.reason = _phrase(status)
        return response

    def _not_cached(self) -> AsyncAPIResponse[Any]:
        """Return the response that ``only-if-cached`` requires (RFC 9111 §5.2.1.7)."""
        status = member(f"fwd={self._why}", detail="only-if-cached")
        headers = {"Cache-Status": status, "X-Should-Retry": "false"}  # a retry would have the same result
        response = AsyncAPIResponse[Any].from_bytes(self._request, 504, headers)
        response.reason = _phrase(504)
        return response

    def _validate_in_background(self) -> None:
        twin = self._request.copy()
        twin.deadline = None  # the call that began it may have ended
        twin.extensions = dict(twin.extensions)
        exchange = Exchange(self._core, twin, self._handler, self._directives)
        self._core.in_background(self.asked.key, exchange._validate())

    async def _validate(self) -> None:
        seconds = self._request.limit("total")
        with nullcontext() if seconds is None else self._request.time_limit(seconds, "total"):
            # Looked up again: the body of an entry can be read only once, and the response has read it.
            response = await self._forward(await self._look_up(), None)
            await response.close()

    # --- from the server

    async def _forward(self, fitting: list[Stored], flight: Flight | None) -> AsyncAPIResponse[Any]:
        """Send the request, with a condition if a stored response can be validated."""
        core = self._core
        validation = self._validation_of(fitting) if fitting else None
        while True:
            asked = core.clock()
            live, is_help = await self._send(validation, fitting)
            if is_help:
                return live
            body = await live.read()
            self.asked.check_place()
            if validation is None or live.status != 304:
                return await self._arrived(live, body, asked, fitting, flight)
            await live.close()
            response = await self._validated(validation, live, asked, fitting, flight)
            if response is not None:
                return response
            validation = None  # the 304 refers to a response that is not stored

    def _validation_of(self, fitting: list[Stored]) -> NeedRevalidation | None:
        """Return hishel's state with the condition to send; None without a response to validate."""
        headers = Headers({"authorization": "-"} if self._has_credential() else {})
        request = Request(self.asked.method, self.asked.key, headers)
        presented = [stored.to_validate() for stored in fitting]
        state = IdleClient(options=self._core.options).next(request, presented)
        return state if isinstance(state, NeedRevalidation) else None

    def _has_credential(self) -> bool:
        return "Authorization" in self._request.headers

    async def _send(
        self, validation: NeedRevalidation | None, fitting: list[Stored]
    ) -> tuple[AsyncAPIResponse[Any], bool]:
        """Return the server's response and False; or a stale response and True, if the server fails."""
        try:
            live = await self._handler(self._to_send(validation))
        except _OUTAGES as error:
            helping = None if _is_final(error) else await self._help_out(fitting)
            if helping is None:
                raise
            return helping, True
        if live.status >= 500:
            helping = await self._help_out(fitting, live.status)
            if helping is not None:
                await live.close()
                return helping, True
        return live, False

    def _to_send(self, validation: NeedRevalidation | None) -> APIRequest:
        """Return the request to send, with the validators that hishel has chosen."""
        send = self._request.copy()
        if validation is not None:
            for name in ("If-None-Match", "If-Modified-Since"):
                value = validation.request.headers.get(name, "")
                if value and value.isascii() and value.isprintable():
                    send.headers[name] = value
        return send

    def _headers_of(self, live: AsyncAPIResponse[Any], size: int) -> dict[str, list[str]]:
        """Return the headers of a response by name in lower case, as they describe the body that was read."""
        lists: dict[str, list[str]] = {}
        for name, value in live.headers.items():
            lists.setdefault(name.lower(), []).append(value)
        if self._request.decompress:
            lists.pop("content-encoding", None)
            if "content-length" in lists and live.method != "HEAD":
                lists["content-length"] = [str(size)]
        return lists

    async def _help_out(
        self, fitting: Sequence[Stored], status: int | None = None
    ) -> AsyncAPIResponse[Any] | None:
        """Return a stale response instead of a failure; None if none may be used."""
        if not fitting or "no-cache" in self._directives:
            return None
        stored = fitting[0]
        if self._core.was_changed(self.asked.url, stored) or not stored.may_help_out(self._core.clock()):
            return None
        body = await self._body(stored, list(fitting))
        if body is None:
            return None
        said = "fwd=stale" if status is None else f"fwd=stale; fwd-status={status}"
        return self._answer(stored, body, said, "stale-if-error")

    async def _validated(
        self,
        validation: NeedRevalidation,
        live: AsyncAPIResponse[Any],
        asked: float,
        fitting: list[Stored],
        flight: Flight | None,
    ) -> AsyncAPIResponse[Any] | None:
        """Update the response that a 304 refers to, and return it; None if it is not stored."""
        lists, arrived = self._headers_of(live, 0), self._core.clock()
        facts = Facts.on_arrival(lists, asked, arrived, 0)
        answer = Headers(headers_to_keep(lists, facts, arrived, self._core.policy))
        state: Any = validation.next(Response(live.status, answer))
        if isinstance(state, InvalidateEntries):
            await self._remove(state.entry_ids)
            state = state.next()
        if not isinstance(state, NeedToBeUpdated):
            return None
        return await self._freshen(state, answer, fitting, flight)

    async def _freshen(
        self, state: NeedToBeUpdated, answer: Headers, fitting: list[Stored], flight: Flight | None
    ) -> AsyncAPIResponse[Any] | None:
        """Update the response that a 304 refers to, and return it; None if its body is gone."""
        by_id = {stored.entry.id: stored for stored in fitting}
        chosen = state.next().entry.id
        response: AsyncAPIResponse[Any] | None = None
        for entry in state.updating_entries:
            stored = by_id[entry.id].freshened(answer)
            if entry.id == chosen:
                body = await self._body(by_id[entry.id], fitting)
                if body is None:
                    continue
                response = self._answer(stored, body, f"fwd={self._why}; fwd-status=304")
                self._land(flight, stored, body)
            await self._core.store.update(stored.entry)
        return response

    async def _arrived(
        self,
        live: AsyncAPIResponse[Any],
        body: bytes,
        asked: float,
        fitting: list[Stored],
        flight: Flight | None,
    ) -> AsyncAPIResponse[Any]:
        """Store a complete response if allowed, and return it."""
        core = self._core
        stored = self._to_keep(live, body, asked)
        self._land(flight, stored, body)  # before it is stored: other calls wait for it
        if stored is not None:
            await core.store.keep(stored.entry.request, stored.entry.response, body, self.asked.key)
            core.remember(self.asked.key, self.asked.url)
        if self._all:
            await self._remove([old.entry.id for old in self._replaced(live.status, fitting, stored)])
        said = f"fwd={self._why}; fwd-status={live.status}"
        head = CIMultiDict(live.headers)
        if stored is None:
            head.add("Cache-Status", member(said))
        else:
            head.add("Cache-Status", member(f"{said}; stored", stored.whole_ttl(core.clock())))
        live.headers = CIMultiDictProxy(head)
        return live

    def _to_keep(self, live: AsyncAPIResponse[Any], body: bytes, asked: float) -> Stored | None:
        """Return the stored form of a response; None if it must not be stored."""
        core = self._core
        policy = core.policy
        # A note reports an error body that could not be read completely.
        if not _may_be_stored(live, policy) or len(body) > policy.max_body or live.notes:
            return None
        # The bodies of errors are decompressed for every call.
        if not self._request.decompress and live.status // 100 != 2:
            return None
        lists, arrived = self._headers_of(live, len(body)), core.clock()
        facts = Facts.on_arrival(lists, asked, arrived, len(body))
        response = Response(live.status, Headers(headers_to_keep(lists, facts, arrived, policy)))
        request = Request(self.asked.method, self.asked.key, _NO_HEADERS)
        stored = Stored(Entry(_UNNAMED, request, response), facts, policy)
        if not stored.may_be_kept(has_credential=self._has_credential()):
            return None
        if core.store_all_headers:
            request.headers = Headers(self.asked.all_digests())
        elif stored.vary:
            request.headers = Headers(self.asked.digests(stored.vary))
        return stored

    def _land(self, flight: Flight | None, stored: Stored | None, body: bytes) -> None:
        core = self._core
        fresh = stored is not None and stored.ttl(core.clock()) > 0
        core.flights.learn(self.asked.key, shared=fresh)
        if flight is not None:
            flight.land(Landed(stored, body, was_hit=False) if stored is not None and fresh else None)

    def _replaced(self, status: int, fitting: list[Stored], stored: Stored | None) -> list[Stored]:
        """Return the entries that a full response replaces, or that exceed the limit."""
        outdated = fitting if status < 400 or status in (404, 410) else []
        if stored is None:
            return outdated
        others = [old for old in self._all if old not in outdated]
        return outdated + others[_MOST_VARIANTS - 1 :]

    async def _remove(self, ids: Sequence[Any]) -> None:
        for id_ in ids:
            await self._core.store.remove(id_)


def _may_be_stored(live: AsyncAPIResponse[Any], policy: Policy) -> bool:
    """Return False for a response that obviously must not or need not be stored, as most such responses
    are.
    """
    headers = live.headers
    if "no-store" in headers.get("Cache-Control", ""):
        return False
    return policy.default_ttl is not None or has_any(headers, _USEFUL)


def _is_final(error: Exception) -> bool:
    """Return whether the call itself has ended."""
    is_late = isinstance(error, APITimeoutError) and error.phase == "total"
    return is_late or isinstance(error, ClientClosedError)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
