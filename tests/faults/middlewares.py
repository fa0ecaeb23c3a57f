"""A user's middleware raises, returns nothing, or does more than requested."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from faults.places import raw
from faults.rows import Act, Call, Ends, Fault, Place, Where, gives, raises
from servers import ok, reset, respond, response

from aioapiclient import APIConnectionError, APIRequest, AsyncAPIResponse, Handler, Middleware

__all__ = ["FAULTS"]


class Mistake(Exception):
    """The user's own."""


async def _raise(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    await handler(request)
    raise Mistake


async def _say_nothing(request: APIRequest, handler: Handler) -> Any:
    await handler(request)


async def _answer(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    return AsyncAPIResponse.from_bytes(request, 200, {"Content-Type": "application/json"}, b'["mine"]')


async def _answer_after_failures(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    try:
        return await handler(request.copy())
    except APIConnectionError:
        return await _answer(request, handler)


async def _call_twice(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    first = await handler(request.copy())
    await first.close()
    return await handler(request.copy())


class _Around:
    """The body of another response."""

    def __init__(self, response: AsyncAPIResponse[Any]) -> None:
        self._response = response

    async def read(self, limit: int | None) -> bytes:
        return await self._response.read()

    async def read_chunk(self) -> bytes:
        return await self._response.read()

    def close(self) -> None:
        """It was read."""

    def abort(self, error: Exception) -> None:
        self._response.abort(error)


async def _read_through_another(call: Call, place: Place) -> str:
    """An unread body that a middleware passes on in a new response."""

    async def wrap(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        response = await handler(request)
        return AsyncAPIResponse(request, response.status, response.headers, _Around(response))

    async with call.client.open("GET", "", middlewares=[wrap]) as response:
        body: bytes = await response.read()
    return body.decode()


def _through(middleware: Middleware) -> Act:
    """One call with *middleware*."""

    async def act(call: Call, place: Place) -> Any:
        return await call(middlewares=[middleware])

    return act


def _through_open(middleware: Middleware) -> Act:
    """The same for a response whose body is still on the wire."""

    async def act(call: Call, place: Place) -> Any:
        async with call.client.open("GET", "", middlewares=[middleware]) as response:
            return response.status

    return act


async def _raise_before_a_raw_response(call: Call, place: Place) -> Any:
    """The same for the response of aiohttp itself."""
    return await call.client.get("", aiohttp.ClientResponse, middlewares=[_raise])


async def _cancel_in_a_middleware(call: Call, place: Place) -> None:
    """A call for an open body that is cancelled while a middleware that has the response waits."""
    reached = asyncio.Event()

    async def wait(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        response = await handler(request)
        reached.set()
        await asyncio.Event().wait()
        return response

    task = asyncio.ensure_future(_through_open(wait)(call, place))
    await reached.wait()
    task.cancel()
    await task


_WELL = raw(respond(ok()))
_LONG = raw(respond(response("200 OK", None, Content_Length="1000000") + b"["))


def _row(name: str, act: Act, ends: Ends, *, where: Where = _WELL, note: str = "") -> Fault:
    return Fault(125, name, where, {"GET": ends}, act=act, plain="has different middlewares", note=note)


def _open_row(name: str, act: Act, ends: Ends) -> Fault:
    return _row(f"{name}, for an open body", act, ends, where=_LONG, note="the dropped response is closed")


FAULTS: list[Fault] = [
    _row(
        "a middleware raises after the response",
        _through(_raise),
        raises(Mistake, connections=1),
        note="the user's own error, unchanged",
    ),
    _open_row("a middleware raises after the head", _through_open(_raise), raises(Mistake)),
    _open_row(
        "a middleware raises after the head of a raw response",
        _raise_before_a_raw_response,
        raises(Mistake),
    ),
    _row(
        "a middleware returns None",
        _through(_say_nothing),
        raises(TypeError, "middleware _say_nothing returned None"),
    ),
    _open_row(
        "a middleware returns None",
        _through_open(_say_nothing),
        raises(TypeError, "middleware _say_nothing returned None"),
    ),
    _open_row("a call is cancelled in a middleware", _cancel_in_a_middleware, raises(asyncio.CancelledError)),
    _row("a middleware answers without a request", _through(_answer), gives(["mine"], requests=0)),
    _row(
        "a middleware answers after all attempts failed",
        _through(_answer_after_failures),
        gives(["mine"], requests=3),
        where=raw(reset()),
    ),
    _row(
        "a middleware calls its handler twice",
        _through(_call_twice),
        gives({}, requests=2, connections=1),
        note="with a `copy()` each, and closes the dropped response",
    ),
    _row(
        "a middleware calls its handler twice, for an open body",
        _through_open(_call_twice),
        gives(200, requests=2),
        where=_LONG,
        note="and closes the dropped response",
    ),
    _row(
        "a middleware passes an open body on in its own response",
        _read_through_another,
        gives("{}", connections=1),
    ),
]
