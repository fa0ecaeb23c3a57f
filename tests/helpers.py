"""Shared by tests of the client: a transport that follows a script, and a client whose waits take no time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aioapiclient import NOT_GIVEN, APIRequest, AsyncAPIClient, AsyncAPIResponse, Handler, Middleware
from aioapiclient.testing import Answer, FakeTransport, respond

BASE = "https://api.example.com/v1"


def reply(status: int = 200, json: Any = NOT_GIVEN, **headers: str) -> Answer:
    """An answer with a JSON body, ``{}`` by default; ``Retry_After="1"`` is the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return respond(status, json={} if json is NOT_GIVEN else json, headers=named)


def text(body: str, content_type: str = "text/plain", status: int = 200) -> Answer:
    """An answer with an unchanged body."""
    return respond(status, body=body.encode(), headers={"Content-Type": content_type})


def chained(links: Iterable[Middleware], handler: Handler) -> Handler:
    """The handler of a hand-made chain, the first middleware outermost."""
    for link in reversed([*links]):
        handler = _linked(link, handler)
    return handler


def _linked(link: Middleware, handler: Handler) -> Handler:
    async def handle(request: APIRequest) -> AsyncAPIResponse[Any]:
        return await link(request, handler)

    return handle


class Script(FakeTransport):
    """A transport that returns its answers in order, and then repeats the last one."""

    def __init__(self, *answers: Answer) -> None:
        *first, last = answers or (reply(),)
        super().__init__(*first, default=last)

    @property
    def last(self) -> APIRequest:
        """The last request."""
        return self.requests[-1]

    @property
    def urls(self) -> list[str]:
        """The URL of every request, in order."""
        return [str(request.url) for request in self.requests]


class Client(AsyncAPIClient):
    """A client whose waits between attempts take no time; `waits` records their lengths."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.waits: list[float] = []

    async def _sleep_for_retry(self, seconds: float, /) -> None:
        self.waits.append(seconds)
