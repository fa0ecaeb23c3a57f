"""What tests of the client share: a transport that follows a script, and a client that waits for nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec

from aioapiclient import APIRequest, AsyncAPIClient, AsyncAPIResponse

BASE = "https://api.example.com/v1"


class Reply(msgspec.Struct, frozen=True):
    """One answer of a `Script`."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes = b"{}"


Answer: TypeAlias = Reply | Exception | Callable[[APIRequest], Awaitable[AsyncAPIResponse[Any]]]


def reply(status: int = 200, json: Any = None, **headers: str) -> Reply:
    """An answer with a JSON body; ``Retry_After="1"`` is the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = msgspec.json.encode({} if json is None else json)
    return Reply(status, {"Content-Type": "application/json", **named}, body)


def text(body: str, content_type: str = "text/plain", status: int = 200) -> Reply:
    """An answer with a body as it stands."""
    return Reply(status, {"Content-Type": content_type}, body.encode())


class Script:
    """A transport that gives its answers in order, the last one for ever, and keeps what it was sent."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers) or [reply()]
        self.requests: list[APIRequest] = []
        self.bodies: list[bytes] = []
        self.closed = 0

    async def __call__(self, request: APIRequest) -> AsyncAPIResponse[Any]:
        self.requests.append(request)
        if request.body is not None:
            self.bodies.append(b"".join([chunk async for chunk in request.body]))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Reply):
            return AsyncAPIResponse.from_bytes(request, answer.status, answer.headers, answer.body)
        return await answer(request)

    async def close(self) -> None:
        self.closed += 1

    @property
    def last(self) -> APIRequest:
        """The request that came last."""
        return self.requests[-1]

    @property
    def urls(self) -> list[str]:
        """The URL of every request, in order."""
        return [str(request.url) for request in self.requests]


class Client(AsyncAPIClient):
    """A client whose waits between attempts take no time; `waits` has how long they would have been."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.waits: list[float] = []

    async def _sleep_for_retry(self, seconds: float, /) -> None:
        self.waits.append(seconds)
