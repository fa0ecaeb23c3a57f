"""datasette: pages of every kind over one table, JSON lines, errors as JSON, and a file to download."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from helpers import Client

from aioapiclient import (
    APIResponseValidationError,
    AsyncPage,
    BadRequestError,
    CursorPage,
    JSONLStream,
    LinkHeaderPage,
    NextURLPage,
    NotFoundError,
    NumberedPage,
    OffsetPage,
)


class Thing(msgspec.Struct):
    id: int
    name: str
    price: float


class Refusal(msgspec.Struct):
    ok: bool
    error: str


class NextURLRows(NextURLPage[Any]):
    """A page of a table, which names the URL of the next."""

    rows: list[Thing]
    next_url: str | None = None

    items_field: ClassVar[str] = "rows"
    next_field: ClassVar[str] = "next_url"


class CursorRows(CursorPage[Any]):
    """The same page, which also names a cursor."""

    rows: list[Thing]
    next: str | None = None

    items_field: ClassVar[str] = "rows"
    cursor_field: ClassVar[str] = "next"
    cursor_param: ClassVar[str] = "_next"


TABLE = "/shop/thing.json"
WHOLE = list(range(1, 251))
BY_OFFSET = "select * from thing order by id limit 60 offset coalesce(:offset, 0)"
BY_NUMBER = "select * from thing order by id limit 60 offset (coalesce(:page, 1) - 1) * 60"


@pytest.fixture
async def shop(datasette: str) -> AsyncIterator[Client]:
    """A client of the datasette with typed errors."""
    async with Client(datasette, error_types={"default": Refusal}) as client:
        yield client


async def test_pages_by_link_header(shop: Client) -> None:
    """Bare arrays are pages, and their Link headers lead through all of them."""
    things = shop.get_api_list(
        TABLE, model=Thing, page=LinkHeaderPage, params={"_shape": "array", "_size": 100}
    )

    pages = [page async for page in things.iter_pages()]

    assert [len(page.data) for page in pages] == [100, 100, 50]
    assert [thing.id for page in pages for thing in page.data] == WHOLE
    assert pages[0].data[0] == Thing(1, "thing 1", 0.5)


@pytest.mark.parametrize("page", [NextURLRows, CursorRows])
async def test_pages_that_name_the_next(shop: Client, page: type[AsyncPage[Any]]) -> None:
    """Pages that name the next one, by its URL or by a cursor, are walked item by item."""
    things = shop.get_api_list(TABLE, model=Thing, page=page, params={"_shape": "objects", "_size": 40})

    assert [thing.id async for thing in things] == WHOLE


@pytest.mark.parametrize(("page", "query"), [(OffsetPage, BY_OFFSET), (NumberedPage, BY_NUMBER)])
async def test_pages_that_are_counted(shop: Client, page: type[AsyncPage[Any]], query: str) -> None:
    """Pages by offset and by number end with the empty one."""
    param = {"offset": 0} if page is OffsetPage else {"page": 1}
    things = shop.get_api_list(
        "/shop.json", model=Thing, page=page, params={"sql": query, "_shape": "array", **param}
    )

    assert [thing.id async for thing in things] == WHOLE


async def test_a_limit_of_items(shop: Client) -> None:
    """A limit ends the iteration, even within a page."""
    things = shop.get_api_list(
        TABLE, model=Thing, page=LinkHeaderPage, limit=120, params={"_shape": "array", "_size": 50}
    )

    assert [thing.id async for thing in things] == WHOLE[:120]


async def test_pages_asked_for_ahead(shop: Client) -> None:
    """With prefetch the same items arrive in the same order."""
    things = shop.get_api_list(
        TABLE, model=Thing, page=LinkHeaderPage, prefetch=True, params={"_shape": "array", "_size": 50}
    )

    assert [thing.id async for thing in things] == WHOLE


async def test_page_after_page_by_hand(shop: Client) -> None:
    """The first page is awaited, the next one requested."""
    first = await shop.get_api_list(
        TABLE, model=Thing, page=LinkHeaderPage, params={"_shape": "array", "_size": 200}
    )
    second = await first.get_next_page()

    assert first.has_next_page()
    assert not second.has_next_page()
    assert [thing.id for thing in second.data] == WHOLE[200:]


async def test_the_sort_and_filters_of_a_call_stay(shop: Client) -> None:
    """The parameters of the first page hold for all of them."""
    params = {"_shape": "array", "_size": 20, "_sort_desc": "price", "id__lte": 50}
    things = shop.get_api_list(TABLE, model=Thing, page=LinkHeaderPage, params=params)

    assert [thing.id async for thing in things] == list(range(50, 0, -1))


async def test_an_item_that_does_not_fit_is_named(shop: Client) -> None:
    """An item of another type raises with its place on the page."""
    things = shop.get_api_list(TABLE, model=int, page=LinkHeaderPage, params={"_shape": "array"})

    with pytest.raises(APIResponseValidationError) as raised:
        await things

    assert raised.value.path == "$[0]"


async def test_json_lines(shop: Client) -> None:
    """JSON lines are typed, although datasette labels them plain text."""
    params = {"_shape": "array", "_nl": "on", "_size": "max"}
    async with shop.stream("GET", TABLE, Thing, stream_cls=JSONLStream, params=params) as things:
        found = [thing async for thing in things]

    assert [thing.id for thing in found] == WHOLE


async def test_lines_of_csv(shop: Client) -> None:
    """An unread response returns the lines of a stream that no codec knows."""
    async with shop.open("GET", "/shop/thing.csv", params={"_stream": "on"}) as response:
        lines = [line async for line in response.iter_lines()]

    assert lines[0] == "id,name,price"
    assert len(lines) == 251


async def test_an_error_comes_typed(shop: Client) -> None:
    """The body of an error is decoded to the type that the client names."""
    with pytest.raises(NotFoundError) as raised:
        await shop.get("/shop/nothing.json")

    assert raised.value.body == Refusal(ok=False, error="Table not found")


async def test_a_bad_query_is_a_bad_request(shop: Client) -> None:
    """The server's message about a wrong query is on the error."""
    with pytest.raises(BadRequestError) as raised:
        await shop.get("/shop.json", params={"sql": "select missing from thing"})

    assert raised.value.body == Refusal(ok=False, error="no such column: missing")


async def test_the_database_is_downloaded(shop: Client, folder: Path, tmp_path: Path) -> None:
    """A download is the file, byte for byte, and its progress adds up."""
    original = (folder / "shop.db").read_bytes()
    counted: list[int] = []

    class Progress:
        def update(self, n: int) -> None:
            counted.append(n)

    async with shop.open("GET", "/shop.db") as response:
        size = await response.write_to_file(
            tmp_path / "copy.db",
            progress=Progress(),
            digest=f"sha256:{hashlib.sha256(original).hexdigest()}",
        )

    assert (tmp_path / "copy.db").read_bytes() == original
    assert sum(counted) == size == len(original)
