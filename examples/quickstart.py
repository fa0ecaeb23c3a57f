"""A typed client of an API that misbehaves on purpose: each call with its attempts, waits and result.

::

    python examples/quickstart.py
    python examples/quickstart.py --base-url https://api.example.com/v1 --path /users/7
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import msgspec
from misbehaving import MisbehavingAPI

from aioapiclient import (
    APIClientError,
    APIError,
    APIRequest,
    AsyncAPIClient,
    AsyncAPIResponse,
    BearerAuth,
    Handler,
    Timeout,
    Token,
    per_send,
)


class User(msgspec.Struct):
    id: int
    login: str


class Report(msgspec.Struct):
    id: int
    title: str


class Seen(msgspec.Struct):
    headers_seen: list[str]


class Grant(msgspec.Struct):
    access_token: str
    expires_in: float


# --- the sends of one call, as observed by the client


@dataclass
class Send:
    """One send: its attempt, its start, its end and its outcome."""

    method: str
    path: str
    attempt: int
    began: float
    ended: float = 0.0
    outcome: str = "cut off"


JOURNAL: ContextVar[list[Send]] = ContextVar("JOURNAL")


async def note_sends(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Record every send of the current call: a middleware, placed with `per_send`."""
    loop = asyncio.get_running_loop()
    send = Send(request.method, request.url.path, request.attempt, loop.time())
    JOURNAL.get().append(send)
    try:
        response = await handler(request)
        send.outcome = str(response.status)
        return response
    except APIError as error:
        send.outcome = type(error).__name__
        raise
    finally:
        send.ended = loop.time()


def print_sends(sends: list[Send]) -> None:
    """Print a line for each send, with the wait before it."""
    previous: Send | None = None
    for send in sends:
        waited = ""
        if previous is not None and send.attempt > previous.attempt:
            waited = f"after {send.began - previous.ended:.2f} s"
        target = f"{send.method} {send.path}"
        print(f"  attempt {send.attempt + 1}  {waited:<13} {target:<20} {send.outcome}")
        previous = send


class Demonstration:
    """Runs calls one after the other, and prints their sends and results."""

    def __init__(self, server: MisbehavingAPI) -> None:
        self.server = server

    async def show(self, title: str, call: Awaitable[object]) -> None:
        """Await *call*, and print its sends, the server's count of them, and the result or the error."""
        sends: list[Send] = []
        JOURNAL.set(sends)
        counted = self.server.hits.total()
        print(title)
        try:
            result: object = await call
        except APIError as error:
            # Without the origin, whose port differs in every run.
            result = f"{type(error).__name__}: {error}".replace(self.server.origin, "")
        print_sends(sends)
        print(f"  {len(sends)} sent, {self.server.hits.total() - counted} counted by the server")
        print(f"  -> {result}\n")


async def misbehave() -> int:
    """Call the misbehaving API once per kind of misbehaviour."""
    async with MisbehavingAPI() as server:

        async def fetch_token() -> Token:
            grant = await tokens.post("/token", Grant, data={"grant_type": "client_credentials"})
            return Token(grant.access_token, expires_in=grant.expires_in)

        async with AsyncAPIClient(
            server.url,
            auth=BearerAuth(fetch_token),
            default_headers={"X-Team": "weather"},
            middlewares=[per_send(note_sends)],
        ) as api:
            # Views: the same session, retry budget and token cache, with other options.
            tokens = api.with_options(auth=None)
            rude = api.with_options(base_url=server.rude_url)
            show = Demonstration(server).show

            await show(
                "An expired token: renewed once, and the request sent again",
                api.get("/users/{id}", User, path_params={"id": 7}),
            )
            await show("A 503 with Retry-After: 1", api.get("/reports/7", Report))
            await show("A dropped connection", rude.get("/dropped", Report))
            await show("A short body: cut off before its Content-Length", rude.get("/short", Report))
            await show(
                "A slow answer, with 0.3 s for one attempt",
                api.get("/slow", Report, timeout=Timeout(attempt=0.3)),
            )
            await show("No answer, with 0.5 s for the whole call", api.get("/stuck", Report, timeout=0.5))
            await show("A wrong shape: the id is a string", api.get("/users/8", User))
            await show("A user who is not there", api.get("/users/9", User))
            await show(
                "A redirect to another origin: neither Authorization nor X-Team travels along",
                api.get("/download", Seen),
            )
    return 0


async def call_real_api(base_url: str, path: str) -> int:
    """GET *path* from a real API, and print the result."""
    try:
        async with AsyncAPIClient(base_url) as api:
            response = await api.get(path, AsyncAPIResponse[Any])
            value = await response.parse()
    except APIClientError as error:
        print(f"{type(error).__name__}: {error}")
        return 1
    print(f"{response.status} {response.reason} from {response.url.host}")
    print(f"{response.content_type}, {len(response.body)} bytes, {response.retries_taken} retries")
    print(value if isinstance(value, str) else json.dumps(value, indent=2, default=repr))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="A typed client against an API that misbehaves on purpose.")
    parser.add_argument("--base-url", help="call this API instead")
    parser.add_argument("--path", default="/", help="what to GET from it (default: /)")
    arguments = parser.parse_args()
    if arguments.base_url is None:
        return asyncio.run(misbehave())
    return asyncio.run(call_real_api(arguments.base_url, arguments.path))


if __name__ == "__main__":
    sys.exit(main())
