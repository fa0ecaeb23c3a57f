"""The server redirects the call: to another origin, in a circle, or to a URL that is not HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from faults.places import raw
from faults.rows import Call, Fault, Place, Where, gives, raises
from faults.running import SECRET
from servers import ok, raw_server, respond, response

from aioapiclient import APIStatusError, TooManyRedirectsError

__all__ = ["FAULTS"]


def _to_another_origin(status: str) -> Where:
    """A server that redirects to a server of another origin."""

    @asynccontextmanager
    async def where() -> AsyncIterator[Place]:
        async with raw_server(respond(ok())) as other:
            away = respond(response(status, Location=f"{other.url}/there"))
            async with raw_server(away) as home:
                yield Place(home.url, home, other)

    return where


async def _tell(call: Call, place: Place, **options: Any) -> str:
    """A call with secrets in its headers; return those that the other origin received."""
    headers = {"Authorization": f"Bearer {SECRET}", "X-Api-Key": SECRET}
    await call(headers=headers, **options)
    (seen,) = place.servers[1].requests
    told = [name for name, value in seen.headers.items() if SECRET in value]
    told += ["the body"] if SECRET.encode() in seen.body else []
    return f"the other origin gets {', '.join(told) or 'nothing'}"


async def _tell_by_post(call: Call, place: Place) -> str:
    """The same with a secret in the body."""
    secret = json.dumps({"key": SECRET}).encode()
    return await _tell(call, place, content=secret)


def _leads(number: int, name: str, *, message: str = "", **headers: str) -> Fault:
    """A 302 that cannot be followed."""
    refused = raises(TooManyRedirectsError, message, connections=1)
    status_error = raises(APIStatusError, "302 Found", connections=1, status=302)
    place = raw(respond(response("302 Found", **headers)))
    return Fault(number, name, place, {"GET": refused if message else status_error})


_NOWHERE = ("file:///etc/passwd", "javascript:alert(1)", "http://127.0.0.1:99999/", "http://[::1/")

FAULTS: list[Fault] = [
    Fault(
        104,
        "302 to another origin",
        _to_another_origin("302 Found"),
        {"GET": gives("the other origin gets nothing", requests=2)},
        act=_tell,
        client={"default_headers": {"X-Default": SECRET}, "default_params": {"key": SECRET}},
        note="followed without personal headers",
    ),
    Fault(
        105,
        "307 to another origin",
        _to_another_origin("307 Temporary Redirect"),
        {"POST": raises(TooManyRedirectsError, "the body would go to another origin")},
        act=_tell_by_post,
    ),
    Fault(
        106,
        "302 to itself",
        raw(respond(response("302 Found", Location="/"))),
        {"GET": raises(TooManyRedirectsError, "more than 10 redirects", requests=11, connections=1)},
        note="10 hops, which no retry repeats",
    ),
    _leads(107, "302 without a Location"),
    *(_leads(107, f"302 to {url}", message="is not an http or https URL", Location=url) for url in _NOWHERE),
]
