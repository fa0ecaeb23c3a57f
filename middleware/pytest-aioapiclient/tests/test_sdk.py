"""The example SDK of this repository, tested with routes and with a cassette."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from programs import EXAMPLES, load
from pytest_aioapiclient import Cassette, ClientFactory, MockAPI

from aioapiclient.testing import FakeClock, FakeTransport, respond


@pytest.fixture
def sdk() -> ModuleType:
    """examples/sdk.py, as a module."""
    return load(EXAMPLES / "sdk.py")


def text_of(path: Path) -> str:
    """The text of a file."""
    return path.read_text(encoding="utf-8")


async def test_a_book(sdk: ModuleType, mock_api: MockAPI, api_client: ClientFactory) -> None:
    """A book is requested by its ISBN, with the token."""
    route = mock_api.get("/books/{isbn}", headers={"Authorization": "Bearer a-token"})
    route.respond(json={"isbn": "978-0", "title": "Moby-Dick"})
    async with api_client(sdk.Library, "a-token") as library:
        assert (await library.books.get("978-0")).title == "Moby-Dick"

    assert route.path_params == {"isbn": "978-0"}


async def test_an_order_is_retried(
    sdk: ModuleType, mock_api: MockAPI, api_client: ClientFactory, fake_clock: FakeClock
) -> None:
    """A lost order is sent again, with the same idempotency key, after a wait that takes no time."""
    orders = mock_api.post("/orders", json={"title": "Moby-Dick"})
    orders.then(drop_after=0).respond(503, headers={"Retry-After": "20"})
    orders.then(lambda request: respond(201, json={"isbn": "978-0", **request.json()}))
    async with api_client(sdk.Library, "a-token") as library:
        assert (await library.books.order("Moby-Dick")).isbn == "978-0"

    keys = {request.headers["Idempotency-Key"] for request in orders.calls}
    assert (orders.call_count, len(keys), fake_clock.sleeps[-1]) == (3, 1, 20.0)


async def test_an_error_of_its_own(sdk: ModuleType, mock_api: MockAPI, api_client: ClientFactory) -> None:
    """A book that is sold out raises the SDK's own error, and is not ordered twice."""
    orders = mock_api.post("/orders").respond(409, json={"code": "out_of_stock", "hint": "in March"})
    async with api_client(sdk.Library, "a-token", base_url="https://library.example.com/v2") as library:
        with pytest.raises(sdk.OutOfStockError) as caught:
            await library.with_options(max_retries=0).books.order("Moby-Dick")

    assert caught.value.body.hint == "in March"
    assert orders.last.url.path == "/v2/orders"


async def test_on_a_cassette(sdk: ModuleType, tmp_path: Path) -> None:
    """The recorded responses of the SDK are replayed, without the token in the file."""
    path = tmp_path / "library.jsonl"
    answers = FakeTransport(
        respond(json={"isbn": "978-0", "title": "Moby-Dick"}),
        respond(201, json={"isbn": "978-1", "title": "Moby-Dick II"}),
    )

    async def use(tape: Cassette) -> list[str]:
        async with sdk.Library("CANARY-token-1", transport=tape) as library:
            return [
                (await library.books.get("978-0")).title,
                (await library.books.order("Moby-Dick II")).isbn,
            ]

    first = await use(Cassette(path, answers, mode="once"))

    assert await use(Cassette(path)) == first == ["Moby-Dick", "978-1"]
    assert "CANARY" not in text_of(path)
