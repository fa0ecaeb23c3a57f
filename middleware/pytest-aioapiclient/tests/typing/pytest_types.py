"""The types of the plugin; checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import assert_type
from unittest.mock import ANY

from pytest_aioapiclient import Cassette, ClientFactory, MockAPI, Route, Take, mended_aioresponses

from aioapiclient import AiohttpTransport, APITimeoutError, AsyncAPIClient
from aioapiclient.testing import FakeClock, SentRequest, respond


class Library(AsyncAPIClient):
    """A custom client."""

    def __init__(self, token: str, *, transport: MockAPI | None = None) -> None:
        super().__init__("https://library.example.com", transport=transport)


def scrub(take: Take) -> None:
    """Change a take."""
    take.response.json["email"] = "x"
    take.request.params["at"] = "0"
    assert_type(take.response.headers, dict[str, str | list[str]])


async def made(api_client: ClientFactory) -> None:
    """Routes are created and answered, and clients keep their types."""
    mock = MockAPI(clock=FakeClock())
    route = mock.get("/users/{id}", params={"page": 1, "all": ANY}, json=ANY, name="users", host="h")
    assert_type(route.respond(json={"id": 7}, delay=3), Route)
    assert_type(route.then(respond(503), APITimeoutError(), TimeoutError, delay=1.5), Route)
    route.then(lambda request: respond(json=request.json()))
    route.then(drop_after=5)
    assert_type(route.calls, list[SentRequest])
    assert_type(route.path_params, Mapping[str, str])
    assert_type(mock["users"], Route)
    mock.pass_through(AiohttpTransport())
    mock.pass_through(Cassette(Path("x.jsonl"), AiohttpTransport(), mode="once", match=["path"], scrub=scrub))

    assert_type(api_client(), AsyncAPIClient)
    assert_type(api_client("https://h", max_retries=0), AsyncAPIClient)
    assert_type(api_client(Library, "token"), Library)
    with mended_aioresponses() as made:
        made(passthrough=["http://127.0.0.1"])

    mock.get("/users", body=b"")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    route.respond(json=1, xml="")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Cassette("x", mode="ever")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    api_client(Library, 7)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
