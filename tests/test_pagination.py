"""Paginated lists: every kind, how each starts, continues and ends, and which options are kept."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import gc
import pickle
import re
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any, ClassVar, Generic, TypedDict, TypeVar

import msgspec
import pytest
from helpers import BASE
from helpers import Client as HelperClient
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from aioapiclient import (
    OMIT,
    APIKeyAuth,
    APIRequest,
    APIResponseValidationError,
    AsyncAPIResponse,
    BearerAuth,
    InternalServerError,
    InvalidRequestError,
    RequestNotReplayableError,
    RequestOptions,
)
from aioapiclient._pagination.kinds import CursorPage, LinkHeaderPage, NextURLPage, NumberedPage, OffsetPage
from aioapiclient._pagination.next_request import PageInfo
from aioapiclient._pagination.page import AsyncPage
from aioapiclient._pagination.paginator import AsyncPaginator
from aioapiclient.testing import FakeTransport, respond

T = TypeVar("T")


class Item(msgspec.Struct):
    id: int


class Meta(msgspec.Struct):
    links: dict[str, str] = {}


class Counted(NumberedPage[T]):
    """Has the number of pages."""

    total_pages: int


class Client(HelperClient):
    """A client with the method, until the client has it."""

    made: ClassVar[list[Client]] = []

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.made.append(self)


@pytest.fixture(autouse=True)
async def close_clients() -> AsyncIterator[None]:
    """Close every client that a test made."""
    yield
    while Client.made:
        await Client.made.pop().close()


def items(*ids: int) -> list[dict[str, int]]:
    """Items as they are in a body."""
    return [{"id": number} for number in ids]


def ids(found: list[Any]) -> list[int]:
    """The type of the values in `items`."""
    return [item.id for item in found]


def client(*answers: Any, base: str = BASE, **options: Any) -> tuple[Client, FakeTransport]:
    """A client, and its transport with these answers."""
    transport = FakeTransport(*answers)
    return Client(base, transport=transport, **options), transport


def bodies(*members: Any, **headers: str) -> list[Any]:
    """Answers with these JSON bodies."""
    return [respond(json=member, headers=headers or None) for member in members]


def targets(transport: FakeTransport) -> list[str]:
    """Path and query of every request, below the base URL."""
    return [str(request.url).removeprefix(BASE) for request in transport.requests]


async def walk_into(found: list[int], paginator: AsyncPaginator[Any, Any]) -> None:
    """Walk the pages, and collect the items before an error."""
    async for item in paginator:
        found.append(item.id)  # noqa: PERF401  (a comprehension would lose it)


async def all_ids(paginator: AsyncPaginator[Any, Any]) -> list[int]:
    """Walk to the end."""
    return ids([item async for item in paginator])


# --- fields in any order


class OData(NextURLPage[T]):
    """The field with a default comes before the one without."""

    next: str | None = msgspec.field(name="@odata.nextLink", default=None)
    value: list[T]

    items_field: ClassVar[str] = "value"


class Renamed(OData[T], rename="camel", frozen=True):
    """Adds more of both, in a subclass of a subclass."""

    item_count: int | None = None
    server_time: str


async def test_a_page_may_declare_a_field_after_one_with_a_default() -> None:
    """A field without a default may follow one that has a default, as in the recipe of docs/pages.md."""
    answers = bodies({"@odata.nextLink": "?b=2", "value": items(1, 2)}, {"value": items(3)})
    api, transport = client(*answers)

    assert await all_ids(api.get_api_list("/users", model=Item, page=OData[Item])) == [1, 2, 3]
    assert targets(transport) == ["/users", "/users?b=2"]


async def test_subclasses_of_such_a_page_may_too() -> None:
    """The order of the arguments is free at every level, with the options of a Struct; required ones stay
    required.
    """
    api, _ = client(*bodies({"value": items(1), "serverTime": "12:00"}, {"value": items(1)}))
    pages = api.get_api_list("/users", model=Item, page=Renamed[Item])

    page = await pages
    assert (page.server_time, page.item_count, ids(page.value)) == ("12:00", None, [1])
    with pytest.raises(APIResponseValidationError, match="serverTime"):
        await pages
    assert page == Renamed(value=[Item(1)], server_time="12:00")
    with pytest.raises(TypeError):
        Renamed([Item(1)], "12:00")


# --- the kinds: numbers


async def test_numbers_count_up() -> None:
    """A NumberedPage is followed by the next number, until a page is empty."""
    api, transport = client(*bodies({"data": items(1, 2)}, {"data": items(3)}, {"data": []}))
    assert await all_ids(api.get_api_list("/users", Item, NumberedPage, params={"q": "x"})) == [1, 2, 3]
    assert targets(transport) == ["/users?q=x", "/users?q=x&page=2", "/users?q=x&page=3"]


async def test_numbers_begin_where_the_call_says() -> None:
    """A call that names a page starts there, as a number or as text."""
    for start in (4, "4"):
        api, transport = client(*bodies({"data": items(1)}, {"data": []}))
        await all_ids(api.get_api_list("/users", Item, NumberedPage, params={"page": start}))
        assert targets(transport) == ["/users?page=4", "/users?page=5"]


async def test_a_number_in_the_path_counts_too() -> None:
    """A query in the path is one of the call's own parameters."""
    api, transport = client(*bodies({"data": items(1)}, {"data": []}))
    await all_ids(api.get_api_list("/users?page=7&a=b", Item, NumberedPage))
    assert targets(transport) == ["/users?page=7&a=b", "/users?a=b&page=8"]


async def test_a_number_in_an_absolute_url_is_replaced() -> None:
    """The parameters of the next page replace those in an absolute URL."""
    api, transport = client(*bodies({"data": items(1)}, {"data": []}))
    await all_ids(api.get_api_list(f"{BASE}/users?page=7&x=%2C", Item, NumberedPage))
    assert targets(transport) == ["/users?page=7&x=%2C", "/users?x=%2C&page=8"]


async def test_a_page_that_is_not_a_number_is_refused() -> None:
    """A start that is not a number raises, when the next page is requested."""
    api, _ = client(*bodies({"data": items(1)}))
    with pytest.raises(InvalidRequestError, match="'page' must be a whole number"):
        await all_ids(api.get_api_list("/users", Item, NumberedPage, params={"page": "first"}))


async def test_the_total_saves_the_empty_page() -> None:
    """With total_pages in the page class no page beyond the last is requested."""
    api, transport = client(*bodies(*({"data": items(n), "total_pages": 2} for n in (1, 2))))
    assert await all_ids(api.get_api_list("/users", Item, Counted)) == [1, 2]
    assert len(transport.requests) == 2


async def test_first_page_may_be_zero() -> None:
    """first_page is the number of the first page, and the total counts from there."""

    class FromZero(Counted[T]):
        first_page: ClassVar[int] = 0
        page_param: ClassVar[str] = "p"

    api, transport = client(*bodies(*({"data": items(n), "total_pages": 3} for n in (1, 2, 3))))
    assert await all_ids(api.get_api_list("/users", Item, FromZero)) == [1, 2, 3]
    assert targets(transport) == ["/users", "/users?p=1", "/users?p=2"]


async def test_a_server_that_ignores_the_number_is_a_loop() -> None:
    """A page field with another number than the requested one leads back, which raises."""

    class Numbered(NumberedPage[T]):
        page: int

    api, transport = client(*bodies(*[{"data": items(1), "page": 1}] * 2))
    with pytest.raises(APIResponseValidationError, match="seen before"):
        await walk_into(found := [], api.get_api_list("/users", Item, Numbered))
    assert found == [1, 1]
    assert len(transport.requests) == 2


async def test_a_bare_array_is_a_page() -> None:
    """NumberedPage and OffsetPage accept a body that is only the items."""
    for kind, query in ((NumberedPage, "page=2"), (OffsetPage, "offset=2")):
        api, transport = client(*bodies(items(1, 2), []))
        assert await all_ids(api.get_api_list("/users", Item, kind)) == [1, 2]
        assert targets(transport) == ["/users", f"/users?{query}"]


async def test_has_more_false_ends() -> None:
    """has_more of False ends numbered and offset pages without another request."""
    for kind in (NumberedPage, OffsetPage):
        api, transport = client(*bodies({"data": items(1), "has_more": False}))
        assert await all_ids(api.get_api_list("/users", Item, kind)) == [1]
        assert len(transport.requests) == 1


# --- the kinds: offsets


async def test_offsets_count_what_came() -> None:
    """The offset grows by the received items, not by the requested ones: servers cap that number."""
    api, transport = client(*bodies({"data": items(1, 2)}, {"data": items(3)}, {"data": []}))
    assert await all_ids(api.get_api_list("/users", Item, OffsetPage, params={"limit": 100})) == [1, 2, 3]
    assert targets(transport) == [
        "/users?limit=100",
        "/users?limit=100&offset=2",
        "/users?limit=100&offset=3",
    ]


async def test_a_total_ends_offsets() -> None:
    """With total in the page class the list ends when that many items are there."""

    class Totalled(OffsetPage[T]):
        total: int
        offset_param: ClassVar[str] = "start"

    api, transport = client(*bodies(*({"data": items(n), "total": 5} for n in (1, 2))))
    assert await all_ids(api.get_api_list("/users", Item, Totalled, params={"start": 3})) == [1, 2]
    assert targets(transport) == ["/users?start=3", "/users?start=4"]


async def test_an_offset_of_the_body_is_believed() -> None:
    """A declared offset field takes precedence over the requested offset."""

    class Telling(OffsetPage[T]):
        offset: int

    api, transport = client(*bodies({"data": items(1), "offset": 10}, {"data": [], "offset": 11}))
    await all_ids(api.get_api_list("/users", Item, Telling, params={"offset": 9}))
    assert targets(transport) == ["/users?offset=9", "/users?offset=11"]


# --- the kinds: cursors


async def test_cursors_are_handed_on() -> None:
    """next_cursor of a page is the cursor of the next; null, an empty text or a missing one ends the list."""
    for end in ({"next_cursor": None}, {"next_cursor": ""}, {}):
        api, transport = client(*bodies({"data": items(1), "next_cursor": "a b"}, {"data": items(2), **end}))
        assert await all_ids(api.get_api_list("/users", Item, CursorPage)) == [1, 2]
        assert targets(transport) == ["/users", "/users?cursor=a%20b"]


async def test_has_more_wins_over_a_cursor() -> None:
    """has_more of False ends the list although a cursor is present."""
    api, transport = client(*bodies({"data": items(1), "next_cursor": "a", "has_more": False}))
    assert await all_ids(api.get_api_list("/users", Item, CursorPage)) == [1]
    assert len(transport.requests) == 1


async def test_more_without_a_cursor_raises() -> None:
    """has_more of True without a cursor raises after the page's items: the rest would be lost silently."""
    api, _ = client(*bodies({"data": items(1), "has_more": True}))
    with pytest.raises(APIResponseValidationError, match="`next_cursor` has no cursor"):
        await walk_into(found := [], api.get_api_list("/users", Item, CursorPage))
    assert found == [1]


async def test_an_empty_page_with_a_cursor_goes_on() -> None:
    """A cursor is followed even from an empty page, unless the class declares that such a page is the
    last.
    """

    class Ending(CursorPage[T]):
        empty_page_ends: ClassVar[bool] = True

    for kind, expected in ((CursorPage, [1]), (Ending, [])):
        api, _ = client(*bodies({"data": [], "next_cursor": "a"}, {"data": items(1)}))
        assert await all_ids(api.get_api_list("/users", Item, kind)) == expected


class Sided(CursorPage[T]):
    """Goes both ways."""

    first_id: str | None = None
    last_id: str | None = None
    cursor_param: ClassVar[str] = "after_id"
    cursor_field: ClassVar[str] = "last_id"
    back_param: ClassVar[str | None] = "before_id"
    back_field: ClassVar[str | None] = "first_id"


async def test_the_direction_follows_the_call() -> None:
    """A call with before_id is iterated backwards, every other one forwards."""
    answers = ({"data": items(1), "first_id": "f", "last_id": "l"}, {"data": []})
    for params, query in (
        ({}, ["/users", "/users?after_id=l"]),
        ({"before_id": "x"}, ["/users?before_id=x", "/users?before_id=f"]),
    ):
        api, transport = client(*bodies(*answers))
        await all_ids(api.get_api_list("/users", Item, Sided, params=params))
        assert targets(transport) == query


async def test_fields_are_found_deep_down() -> None:
    """A field name with dots refers to nested objects, mappings and arrays."""

    class Deep(CursorPage[T]):
        meta: Meta
        cursor_field: ClassVar[str] = "meta.links.next"

    class ByLastItem(CursorPage[T]):
        cursor_field: ClassVar[str] = "data.-1.id"
        cursor_param: ClassVar[str] = "starting_after"

    api, transport = client(
        *bodies({"data": items(1), "meta": {"links": {"next": "n"}}}, {"data": items(2), "meta": {}})
    )
    assert await all_ids(api.get_api_list("/users", Item, Deep)) == [1, 2]
    assert targets(transport)[1] == "/users?cursor=n"
    api, transport = client(*bodies({"data": items(8, 9)}, {"data": []}))
    assert await all_ids(api.get_api_list("/users", Item, ByLastItem)) == [8, 9]
    assert targets(transport)[1] == "/users?starting_after=9"


async def test_a_cursor_may_go_into_the_body() -> None:
    """With send_in of "json" the cursor becomes a member of the JSON object, Struct or mapping."""

    class Query(msgspec.Struct):
        text: str
        after: str | None = None

    class Posted(CursorPage[T]):
        send_in: ClassVar[Any] = "json"
        cursor_param: ClassVar[str] = "after"

    for query in (Query("x"), {"text": "x", "after": None}):
        api, transport = client(*bodies({"data": items(1), "next_cursor": "c"}, {"data": items(2)}))
        paginator = api.get_api_list("/search", Item, Posted, method="post", json=query)
        assert await all_ids(paginator) == [1, 2]
        assert [request.method for request in transport.requests] == ["POST", "POST"]
        assert transport.bodies == [b'{"text":"x","after":null}', b'{"text":"x","after":"c"}']
        assert targets(transport) == ["/search", "/search"]


class PageFacts(msgspec.Struct, rename="camel"):
    end_cursor: str | None = None
    has_next_page: bool = False


class Nodes(msgspec.Struct, Generic[T], rename="camel"):
    nodes: list[T]
    page_info: PageFacts


class GraphQLPage(CursorPage[T]):
    """The items and the cursor are deeply nested, and the cursor goes into the variables of the query."""

    data: dict[str, Nodes[T]]  # type: ignore[assignment]

    items_field = "data.users.nodes"
    cursor_field = "data.users.page_info.end_cursor"
    has_more_field = "data.users.page_info.has_next_page"
    cursor_param = "variables.page.after"
    send_in = "json"


class Variables(msgspec.Struct, rename="camel"):
    team_name: str
    page: Any = None


class Query(msgspec.Struct):
    query: str
    variables: Variables


@dataclasses.dataclass
class PlainVariables:
    teamName: str  # noqa: N815  (as the wire has it)
    page: Any = None


def graphql_pages() -> list[Any]:
    """Two pages of a GraphQL server."""
    found = {"nodes": items(1), "pageInfo": {"endCursor": "c1", "hasNextPage": True}}
    last = {"nodes": items(2), "pageInfo": {"endCursor": "c2", "hasNextPage": False}}
    return bodies({"data": {"users": found}}, {"data": {"users": last}})


@pytest.mark.parametrize(
    ("options", "page"),
    [
        ({"json": {"query": "q", "variables": {"teamName": "a", "page": {"first": 2}}}}, {"first": 2}),
        (
            {"json": {"query": "q", "variables": {"teamName": "a", "page": {"first": 2, "after": "x"}}}},
            {"first": 2},
        ),
        ({"json": Query("q", Variables("a", {"first": 2}))}, {"first": 2}),
        ({"json": {"query": "q", "variables": PlainVariables("a")}}, {}),
        ({"json": {"query": "q"}, "extra_body": {"variables": {"teamName": "a", "page": OMIT}}}, {}),
    ],
)
async def test_a_cursor_may_go_deep_into_the_body(options: dict[str, Any], page: dict[str, Any]) -> None:
    """cursor_param with dots is set in a nested member; the members beside it are kept."""
    before = repr(options)
    api, transport = client(*graphql_pages())

    assert await all_ids(api.get_api_list("/graphql", Item, GraphQLPage[Item], method="post", **options)) == [
        1,
        2,
    ]
    second = msgspec.json.decode(transport.bodies[1])
    assert second == {"query": "q", "variables": {"teamName": "a", "page": {**page, "after": "c1"}}}
    assert repr(options) == before


async def test_a_cursor_does_not_replace_a_value_that_is_not_an_object() -> None:
    """If the body has a text in the path, the cursor cannot go there, and nothing is overwritten."""
    api, transport = client(*graphql_pages())

    with pytest.raises(
        InvalidRequestError,
        match=r"'variables\.page\.after' goes into the JSON body, which has no object there",
    ):
        await all_ids(
            api.get_api_list("/graphql", Item, GraphQLPage[Item], method="post", json={"variables": "text"})
        )
    assert len(transport.requests) == 1


class BackInTheBody(CursorPage[T]):
    """Iterates backwards if the variables require it."""

    prior: str | None = None

    cursor_param = "variables.after"
    back_param = "variables.before"
    back_field = "prior"
    send_in = "json"


async def test_what_is_asked_deep_in_the_body_is_seen() -> None:
    """A call whose variables have the parameter for it is walked backwards."""
    api, transport = client(*bodies({"data": items(2), "prior": "p"}, {"data": items(1)}))
    asked = {"variables": {"before": "q"}}

    assert await all_ids(api.get_api_list("/users", Item, BackInTheBody, method="post", json=asked)) == [2, 1]
    assert msgspec.json.decode(transport.bodies[1]) == {"variables": {"before": "p"}}


class InTheBody(CursorPage[T]):
    """The cursor is sent as a member of the body."""

    send_in = "json"


async def test_what_a_call_adds_to_its_body_stays() -> None:
    """``extra_body`` of the call is in the body of every page, beside the cursor."""
    api, transport = client(*bodies({"data": items(1), "next_cursor": "a"}, {"data": items(2)}))
    calls = api.get_api_list("/users", Item, InTheBody, method="post", json={"q": 1}, extra_body={"limit": 5})

    assert await all_ids(calls) == [1, 2]
    assert msgspec.json.decode(transport.bodies[1]) == {"q": 1, "limit": 5, "cursor": "a"}


class InAHeader(CursorPage[T]):
    """The cursor is sent in a header, as Azure's continuation tokens are."""

    cursor_param = "X-Continuation"
    send_in = "headers"


class NumberInAHeader(NumberedPage[T]):
    page_param = "X-Page"
    send_in = "headers"


async def test_a_cursor_may_go_into_a_header() -> None:
    """It overrides the call's headers, whatever their case; the others are kept."""
    pages = [
        {"data": items(1), "next_cursor": "a"},
        {"data": items(2), "next_cursor": "b"},
        {"data": items(3)},
    ]
    headers = CIMultiDict([("x-continuation", "0"), ("X-Two", "1"), ("X-Two", "2")])
    for layer in ({"x-continuation": "0", "X-Two": "1, 2"}, headers):
        api, transport = client(*bodies(*pages))

        assert await all_ids(api.get_api_list("/users", Item, InAHeader, headers=layer)) == [1, 2, 3]
        found = [request.headers.getall("X-Continuation") for request in transport.requests]
        assert found == [["0"], ["a"], ["b"]]
        assert {", ".join(request.headers.getall("X-Two")) for request in transport.requests} == {"1, 2"}


async def test_a_loop_through_headers_raises() -> None:
    """The same header twice is the same request: a loop."""
    page = {"data": items(1), "next_cursor": "a"}
    api, transport = client(*bodies(page, page, page))

    with pytest.raises(APIResponseValidationError, match="seen before"):
        await all_ids(api.get_api_list("/users", Item, InAHeader))
    assert len(transport.requests) == 2


async def test_numbers_may_go_into_a_header() -> None:
    """A number counts on from the one in the call's header."""
    api, transport = client(*bodies({"data": items(1)}, {"data": []}))

    assert await all_ids(api.get_api_list("/users", Item, NumberInAHeader, headers={"x-page": "4"})) == [1]
    assert [request.headers["X-Page"] for request in transport.requests] == ["4", "5"]


async def test_numbers_in_the_body_begin_where_it_says() -> None:
    """A number in the JSON object, or merged over it, is where the count starts; without one it is 1."""

    class Posted(NumberedPage[T]):
        send_in: ClassVar[Any] = "json"

    for given_options, second in (
        ({"json": {"page": 3}}, b'{"page":4}'),
        ({"json": {"page": 3}, "extra_body": {"page": 5}}, b'{"page":6}'),
        ({}, b'{"page":2}'),
    ):
        api, transport = client(*bodies({"data": items(1)}, {"data": []}))
        await all_ids(api.get_api_list("/s", Item, Posted, method="post", **given_options))
        assert transport.bodies[1] == second


# --- the kinds: URLs and links


async def test_next_urls_are_followed() -> None:
    """next, absolute or relative to the response's URL, is where the next page is; null or "" ends."""
    for reference, expected in (
        (f"{BASE}/users?after=x%2Fy", "/users?after=x%2Fy"),
        ("/v1/users?after=1", "/users?after=1"),
        ("?after=1", "/users?after=1"),
        ("more", "/more"),
    ):
        for end in (None, ""):
            api, transport = client(
                *bodies({"data": items(1), "next": reference}, {"data": items(2), "next": end})
            )
            assert await all_ids(api.get_api_list("/users", Item, NextURLPage)) == [1, 2]
            assert targets(transport) == ["/users", expected]


async def test_a_next_url_wins_over_the_parameters() -> None:
    """Of the call's parameters, those missing in the URL are appended; its own are kept byte for byte."""
    url = f"{BASE}/users?cursor=%41&filter%5Ba%5D=2&size=20"
    api, transport = client(*bodies({"data": items(1), "next": url}, {"data": []}))
    params = {"size": 10, "filter": {"a": 1}, "lang": "de", "cursor": "0"}
    await all_ids(api.get_api_list("/users", Item, NextURLPage, params=params))
    assert targets(transport)[1] == "/users?cursor=%41&filter%5Ba%5D=2&size=20&lang=de"


async def test_a_next_url_takes_the_place_of_a_template() -> None:
    """After a URL the path parameters of the first page are no longer needed."""
    api, transport = client(*bodies({"data": items(1), "next": "?after=1"}, {"data": []}))
    await all_ids(api.get_api_list("/users/{id}/posts", Item, NextURLPage, path_params={"id": 7}))
    assert targets(transport) == ["/users/7/posts", "/users/7/posts?after=1"]


async def test_what_the_call_omits_stays_away() -> None:
    """A default parameter that the call omits is omitted from every page."""
    api, transport = client(
        *bodies({"data": items(1), "next_cursor": "a"}, {"data": []}), default_params={"v": 1, "w": 2}
    )
    await all_ids(api.get_api_list("/users", Item, CursorPage, params={"v": OMIT}))
    assert targets(transport) == ["/users?w=2", "/users?w=2&cursor=a"]


async def test_the_origin_that_was_asked_counts() -> None:
    """After redirects to other origins, a link back to the first origin gets the parameters."""
    api, transport = client(
        respond(302, headers={"Location": "https://one.example.net/"}),
        respond(302, headers={"Location": "https://two.example.net/"}),
        *bodies({"data": items(1), "next": f"{BASE}/users?p=2"}, {"data": []}),
    )
    await all_ids(api.get_api_list("/users", Item, NextURLPage, params={"own": 1}))
    assert targets(transport)[-1] == "/users?p=2&own=1"


async def test_default_params_do_not_go_on_next_urls() -> None:
    """An absolute URL gets no default_params, a next link neither."""
    api, transport = client(
        *bodies({"data": items(1), "next": "?after=1"}, {"data": []}), default_params={"v": "2"}
    )
    await all_ids(api.get_api_list("/users", Item, NextURLPage))
    assert targets(transport) == ["/users?v=2", "/users?after=1"]


async def test_links_are_followed() -> None:
    """A Link header with quoted commas and several relations leads on; the body may be an array."""
    link = (
        '<https://other.example.net/x>; rel="author"; title="a, b; rel=next", '
        '</v1/users?p=2>; rel="last next"; title="two, \\"three\\""'
    )
    api, transport = client(
        respond(json=items(1), headers={"Link": link}),
        respond(json=items(2), headers={"Link": '</a>; rel="prev"'}),
    )
    paginator = api.get_api_list("/users", Item, LinkHeaderPage)
    assert await all_ids(paginator) == [1, 2]
    assert targets(transport) == ["/users", "/users?p=2"]


async def test_links_go_with_objects_too() -> None:
    """The body of a LinkHeaderPage may be an object, and its class may have fields."""

    class Wrapped(LinkHeaderPage[T]):
        results: list[T]
        count: int
        items_field: ClassVar[str] = "results"

    api, _ = client(respond(json={"results": items(1), "count": 1}))
    page = await api.get_api_list("/users", Item, Wrapped)
    assert (page.count, ids(page.results)) == (1, [1])
    api, _ = client(respond(json=items(1)))
    with pytest.raises(APIResponseValidationError, match="Expected `object`, got `array`"):
        await api.get_api_list("/users", Item, Wrapped)


async def test_an_invalid_url_raises() -> None:
    """A next URL that no request can use raises, after the items of its page were yielded."""
    for url in ("mailto:a@b", "https://", "https://h:99999/", "//h\\x", "\x00"):
        api, _ = client(*bodies({"data": items(1), "next": url}))
        with pytest.raises(APIResponseValidationError, match="not an http or https URL"):
            await walk_into(found := [], api.get_api_list("/users", Item, NextURLPage))
        assert found == [1]


async def test_https_does_not_lead_to_http() -> None:
    """A next link from https to http raises: a credential, or a cursor, would travel in the clear."""
    api, transport = client(*bodies({"data": items(1), "next": "http://api.example.com/v1/users?p=2"}))
    with pytest.raises(APIResponseValidationError, match="from https to http"):
        await all_ids(api.get_api_list("/users", Item, NextURLPage))
    assert len(transport.requests) == 1


async def test_relative_links_are_resolved_after_redirects() -> None:
    """A relative link is resolved against the URL of the response."""
    api, transport = client(
        respond(302, headers={"Location": f"{BASE}/v2/users"}),
        *bodies({"data": items(1), "next": "more?p=2"}, {"data": []}),
    )
    await all_ids(api.get_api_list("/users", Item, NextURLPage))
    assert targets(transport) == ["/users", "/v2/users", "/v2/more?p=2"]


# --- origins

FOREIGN = "https://elsewhere.example.net/users?p=2"


async def test_nothing_personal_goes_to_another_origin() -> None:
    """A next link to another origin is requested without credential, default headers, call headers and
    parameters.
    """
    api, transport = client(
        *bodies(
            {"data": items(1), "next": FOREIGN}, {"data": items(2), "next": f"{BASE}/users?p=3"}, {"data": []}
        ),
        auth=BearerAuth("secret"),
        default_headers={"X-Team": "blue"},
    )
    await all_ids(
        api.get_api_list("/users", Item, NextURLPage, headers={"X-Trace": "1"}, params={"key": "secret"})
    )
    home, foreign, back = transport.requests
    assert str(foreign.url) == FOREIGN
    assert foreign.headers.keys() <= {"Accept", "Accept-Encoding", "User-Agent"}
    for request in (home, back):
        assert request.headers["Authorization"] == "Bearer secret"
        assert (request.headers["X-Team"], request.headers["X-Trace"]) == ("blue", "1")
    assert str(back.url) == f"{BASE}/users?p=3"


async def test_a_key_in_the_query_does_not_travel() -> None:
    """A credential that is a query parameter is sent to the client's own origin only, and once."""
    api, transport = client(
        *bodies({"data": items(1), "next": "?p=2"}, {"data": items(2), "next": FOREIGN}, {"data": []}),
        auth=APIKeyAuth("secret", param="key"),
    )
    await all_ids(api.get_api_list("/users", Item, NextURLPage))
    assert [request.url.query_string for request in transport.requests] == [
        "key=secret",
        "p=2&key=secret",
        "p=2",
    ]


async def test_trusted_origins_get_personal_headers() -> None:
    """A next link to a trusted origin is requested with the credential."""
    api, transport = client(
        *bodies({"data": items(1), "next": FOREIGN}, {"data": []}),
        auth=BearerAuth("secret"),
        trusted_origins=["https://*.example.net"],
    )
    await all_ids(api.get_api_list("/users", Item, NextURLPage))
    assert transport.requests[1].headers["Authorization"] == "Bearer secret"


async def test_pages_go_on_after_an_upgrade_to_https() -> None:
    """After a redirect from http to https of the same host, the next page has parameters and body too."""
    api, transport = client(
        respond(308, headers={"Location": "https://plain.example/users?q=1"}),
        *bodies({"data": items(1), "next": "/users?p=2"}, {"data": []}),
        base="http://plain.example",
        auth=BearerAuth("secret"),
    )
    await all_ids(
        api.get_api_list("/users", Item, NextURLPage, method="post", params={"q": 1}, json={"filter": 1})
    )
    assert str(transport.requests[2].url) == "https://plain.example/users?p=2&q=1"
    assert [sent.headers.get("Authorization") for sent in transport.requests] == ["Bearer secret"] * 3
    assert transport.bodies == [b'{"filter":1}'] * 3


async def test_userinfo_in_a_link_is_not_a_credential() -> None:
    """User and password in a next link are dropped."""
    api, transport = client(
        *bodies({"data": items(1), "next": "https://user:word@elsewhere.example.net/"}, {"data": []})
    )
    await all_ids(api.get_api_list("/users", Item, NextURLPage))
    assert str(transport.requests[1].url) == "https://elsewhere.example.net/"
    assert "Authorization" not in transport.requests[1].headers


async def test_a_body_does_not_go_to_another_origin() -> None:
    """A next link to another origin raises when the request has a body."""
    api, transport = client(*bodies({"data": items(1), "next": FOREIGN}))
    with pytest.raises(APIResponseValidationError, match="the body must not be sent there"):
        await all_ids(api.get_api_list("/users", Item, NextURLPage, method="post", json={"q": 1}))
    assert len(transport.requests) == 1


async def test_a_member_of_the_body_does_not_go_to_another_origin() -> None:
    """Neither do members that a page adds to the body, although the call has none."""

    class Mixed(AsyncPage[T]):
        def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
            return PageInfo(url=FOREIGN, json={"cursor": "a"})

    api, transport = client(*bodies({"data": items(1)}))
    with pytest.raises(APIResponseValidationError, match="the body must not be sent there"):
        await all_ids(api.get_api_list("/users", Item, Mixed))
    assert len(transport.requests) == 1


async def test_a_foreign_page_may_count_on() -> None:
    """Parameters after a URL are laid over the query of that URL."""

    class Mixed(AsyncPage[T]):
        def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
            page = int(self.params.get("p", 1))
            if page == 1:
                return PageInfo(url=FOREIGN)
            return PageInfo(params={"p": page + 1}) if page < 4 else None

    api, transport = client(*bodies(*({"data": items(n)} for n in (1, 2, 3, 4))))
    assert await all_ids(api.get_api_list("/users", Item, Mixed, params={"own": 1})) == [1, 2, 3, 4]
    assert [str(request.url).partition("://")[2] for request in transport.requests] == [
        "api.example.com/v1/users?own=1",
        "elsewhere.example.net/users?p=2",
        "elsewhere.example.net/users?p=3",
        "elsewhere.example.net/users?p=4",
    ]


# --- custom pages


class Bookmarked(AsyncPage[T]):
    """Computes the next page itself."""

    results: list[T] | None
    bookmark: str | None = None
    items_field: ClassVar[str] = "results"

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        after = response.headers.get("X-After")
        return PageInfo(params={"mark": self.bookmark, "first": OMIT}) if after and self.bookmark else None


async def test_a_page_may_say_itself_what_comes_next() -> None:
    """next_page_info receives the response; its parameters override the request's, and OMIT removes one."""
    api, transport = client(
        respond(json={"results": items(1), "bookmark": "b"}, headers={"X-After": "yes"}),
        respond(json={"results": None, "bookmark": "c"}),
    )
    params = {"first": "yes", "q": "x"}
    assert await all_ids(api.get_api_list("/users", Item, Bookmarked, params=params)) == [1]
    assert targets(transport) == ["/users?first=yes&q=x", "/users?q=x&mark=b"]


async def test_a_page_class_may_be_of_one_model() -> None:
    """A page class whose model is fixed, by subclassing or by brackets, is accepted."""

    class Items(NumberedPage[Item], kw_only=True):
        note: str = ""

    for kind in (Items, NumberedPage[Item]):
        api, _ = client(*bodies({"data": items(1)}))
        assert isinstance((await api.get_api_list("/users", Item, kind)).data[0], Item)


async def test_any_model_gives_plain_data() -> None:
    """With Any as the model the items are plain data."""
    api, _ = client(*bodies({"data": [1, "a"]}))
    assert (await api.get_api_list("/users", Any, CursorPage)).data == [1, "a"]


async def test_items_may_be_made() -> None:
    """A page class that overrides _get_page_items needs no field for them."""

    class Grouped(CursorPage[T]):
        groups: list[list[T]]

        def _get_page_items(self) -> list[T]:
            return [item for group in self.groups for item in group]

    api, _ = client(*bodies({"groups": [items(1, 2), items(3)]}))
    assert await all_ids(api.get_api_list("/users", Item, Grouped)) == [1, 2, 3]


async def test_missing_items_raise() -> None:
    """A body without the items raises; it is not an empty page."""
    api, _ = client(*bodies({"users": items(1)}))
    with pytest.raises(APIResponseValidationError, match="the body has no member `data`"):
        await all_ids(api.get_api_list("/users", Item, CursorPage))


async def test_a_wrong_item_raises_with_its_place() -> None:
    """An item that does not fit raises with its JSON path, as any body does."""
    api, _ = client(*bodies({"data": [{"id": 1}, {"id": "x"}]}))
    with pytest.raises(APIResponseValidationError) as caught:
        await api.get_api_list("/users", Item, CursorPage)
    assert caught.value.path == "$.data[1].id"
    assert caught.value.response is not None


async def test_strictness_is_the_clients() -> None:
    """Pages are decoded as strictly as other bodies."""
    api, _ = client(*bodies({"data": [{"id": "1"}]}), strict_response_validation=False)
    assert await all_ids(api.get_api_list("/users", Item, CursorPage)) == [1]


async def test_a_wrong_next_page_info_is_named() -> None:
    """A next_page_info that returns another type than a PageInfo is a TypeError."""

    class Wrong(AsyncPage[T]):
        def next_page_info(self, response: AsyncAPIResponse[Any], /) -> Any:
            return {"page": 2}

    api, _ = client(*bodies({"data": items(1)}))
    with pytest.raises(TypeError, match="next_page_info of Wrong returned a dict"):
        await all_ids(api.get_api_list("/users", Item, Wrong))


def test_wrong_arguments_are_refused_at_once() -> None:
    """Wrong page classes, limits and options are refused before anything is sent."""

    class Lost(NumberedPage[T]):
        items_field: ClassVar[str] = "results"

    api, _ = client()
    for page in (Item, "NumberedPage", dict, None):
        with pytest.raises(TypeError, match="must be a subclass of AsyncPage"):
            api.get_api_list("/users", Item, page)
    with pytest.raises(TypeError, match="AsyncPage has no next_page_info"):
        api.get_api_list("/users", Item, AsyncPage)
    with pytest.raises(TypeError, match="items_field is 'results'"):
        api.get_api_list("/users", Item, Lost)
    for limit in ("3", True, 1.5):
        with pytest.raises(TypeError, match="limit must be an int of 0 items or more"):
            api.get_api_list("/users", Item, NumberedPage, limit=limit)
    with pytest.raises(InvalidRequestError, match="limit must be 0 items or more"):
        api.get_api_list("/users", Item, NumberedPage, limit=-1)
    with pytest.raises(TypeError, match="did you mean 'params'"):
        api.get_api_list("/users", Item, NumberedPage, parms={})


# --- the page itself

# --- names in a page class


class NoSuchField(NextURLPage[T]):
    data: list[T]
    next_field = "nextLink"


class NotSoDeep(CursorPage[T]):
    meta: Meta
    cursor_field = "meta.after"


class NotDeclared(CursorPage[T]):
    cursor_field = "meta.after"


class WireName(NextURLPage[T]):
    next_link: str | None = msgspec.field(name="@odata.nextLink", default=None)
    next_field = "@odata.nextLink"


class NoPlaceInAList(CursorPage[T]):
    cursor_field = "data.last.id"


class Misspelt(NextURLPage[T]):
    url_field: ClassVar[str] = "next"


class NoSwitch(NextURLPage[T]):
    empty_pages_end: ClassVar[bool] = True


class OfAnotherKind(NextURLPage[T]):
    cursor_param: ClassVar[str] = "after"


class NotAClassVariable(NextURLPage[T]):
    next_field: str = "next"  # type: ignore[misc]


class NoText(CursorPage[T]):
    cursor_field = None  # type: ignore[assignment]


class NoWay(CursorPage[T]):
    send_in = "body"  # type: ignore[assignment]


class Deaf(Misspelt[T]):
    """Inherits the mistake, and has a method that reads another field."""

    def first(self) -> T:
        return self.data[0]


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (NoSuchField, "next_field is 'nextLink', and that field does not exist; did you mean 'next'"),
        (NotSoDeep, "cursor_field is 'meta.after', and 'after' does not exist at that depth"),
        (NotDeclared, "cursor_field is 'meta.after', and that field does not exist; declare it"),
        (WireName, "that is its name in the body; the field is 'next_link'"),
        (NoPlaceInAList, "'last' does not exist at that depth"),
        (Misspelt, "has no class variable url_field; it has items_field, next_field"),
        (NoSwitch, "has no class variable empty_pages_end; did you mean empty_page_ends"),
        (OfAnotherKind, "has no class variable cursor_param; it has none of that kind"),
        (NotAClassVariable, "next_field is a field of the body; declare it as ClassVar"),
        (NoText, "cursor_field must be of type str, not None"),
        (NoWay, "send_in must be one of params, json, headers, not 'body'"),
        (Deaf, "has no class variable url_field"),
    ],
)
async def test_what_a_page_class_names_is_checked_when_it_is_first_used(page: Any, message: str) -> None:
    """A name that leads nowhere would end the list after the first page: it is a TypeError, before a call."""
    api, transport = client()

    for kind in (page, page[Item]):
        with pytest.raises(TypeError, match=f"page {page.__name__}.*{re.escape(message)}"):
            api.get_api_list("/users", model=Item, page=kind)
    assert transport.requests == []


class Last(msgspec.Struct):
    id: int


class Typed(TypedDict):
    after: str | None


class Deep(CursorPage[T]):
    meta: Typed | None = None
    rows: list[T]
    last: list[Last] = msgspec.field(default_factory=list)
    extra: dict[str, Any] = msgspec.field(default_factory=dict)

    items_field = "rows"
    cursor_field = "meta.after"

    @property
    def newest(self) -> int | None:
        return self.last[-1].id if self.last else None


class ByProperty(Deep[T]):
    cursor_field = "newest"


class ByIndex(Deep[T]):
    cursor_field = "last.-1.id"


class ByAnything(Deep[T]):
    cursor_field = "extra.any.-1.thing"


class Marked(AsyncPage[T]):
    """Has class variables, which its method reads."""

    meta: dict[str, str] = msgspec.field(default_factory=dict)

    mark_field: ClassVar[str] = "meta"
    mark_param: ClassVar[str]

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        mark = getattr(self, self.mark_field).get("mark")
        return PageInfo(params={self.mark_param: mark}) if mark else None


class MarkedAgain(Marked[T]):
    mark_param = "m"


@pytest.mark.parametrize(
    ("page", "body", "after"),
    [
        (Deep, {"rows": items(1), "meta": {"after": "a"}}, "?cursor=a"),
        (ByProperty, {"rows": items(1), "last": items(5, 6)}, "?cursor=6"),
        (ByIndex, {"rows": items(1), "last": items(5, 6)}, "?cursor=6"),
        (ByAnything, {"rows": items(1), "extra": {"any": [{"thing": 5}, {"thing": "a"}]}}, "?cursor=a"),
        (MarkedAgain, {"data": items(1), "meta": {"mark": "a"}}, "?m=a"),
        (Sided, {"data": items(1), "last_id": "a"}, "?after_id=a"),
        (OData, {"value": items(1), "@odata.nextLink": f"{BASE}/users?skip=1"}, "?skip=1"),
    ],
)
async def test_what_leads_somewhere_is_taken(page: Any, body: Any, after: str) -> None:
    """Fields, properties, items of lists, members of mappings, and names that the class itself reads."""
    for kind in (page, page[Item]):
        empty = {name: [] for name in ("rows", "data", "value") if name in body}
        api, transport = client(*bodies(body, empty))

        assert [item.id async for item in api.get_api_list("/users", model=Item, page=kind)] == [1]
        assert targets(transport) == ["/users", f"/users{after}"]


async def test_the_response_is_not_part_of_a_page() -> None:
    """Two equal bodies are equal pages; encoding, repr and asdict show the fields only."""
    api, _ = client(*bodies(*[{"data": items(1), "next_cursor": "a"}] * 2))
    one, two = [await api.get_api_list("/users", Item, CursorPage) for _ in range(2)]
    assert one == two
    assert one.response is not two.response
    assert msgspec.json.encode(one) == b'{"data":[{"id":1}],"next_cursor":"a","has_more":null}'
    assert msgspec.structs.asdict(one) == {"data": [Item(1)], "next_cursor": "a", "has_more": None}
    assert repr(one) == "CursorPage(data=[Item(id=1)], next_cursor='a')"


async def test_a_page_knows_its_response_and_parameters() -> None:
    """Response and params are available, including those of the path and the cursor, without omitted ones."""
    api, _ = client(*bodies({"data": items(1), "next_cursor": "c"}, {"data": []}), default_params={"d": 1})
    params = {"a": 1, "b": OMIT, "d": OMIT}
    page = await api.get_api_list("/users?x=1&x=2&y=%20", Item, CursorPage, params=params)
    assert page.response.status == 200
    assert page.params == {"x": ["1", "2"], "y": " ", "a": 1}
    assert (await page.get_next_page()).params == {"x": ["1", "2"], "y": " ", "a": 1, "cursor": "c"}


async def test_a_copy_of_a_page_has_no_response() -> None:
    """A page that was created by hand, copied or pickled raises when its response is read."""
    api, _ = client(*bodies({"data": items(1), "next_cursor": "c"}))
    page = await api.get_api_list("/users", Item, CursorPage)
    for lost in (
        copy.copy(page),
        CursorPage(data=[Item(1)]),
        pickle.loads(pickle.dumps(CursorPage(data=[1]))),
    ):
        with pytest.raises(InvalidRequestError, match="did not come from get_api_list"):
            _ = lost.response
        with pytest.raises(InvalidRequestError, match="did not come from get_api_list"):
            lost.has_next_page()


async def test_a_frozen_page_works() -> None:
    """A page class may be frozen."""

    class Frozen(CursorPage[T], frozen=True):
        pass

    api, _ = client(*bodies({"data": items(1), "next_cursor": "c"}, {"data": items(2)}))
    assert await all_ids(api.get_api_list("/users", Item, Frozen)) == [1, 2]


async def test_pages_can_be_walked_by_hand() -> None:
    """has_next_page and get_next_page iterate; called twice, a page returns the same next page twice."""
    answers = [{"data": items(1), "next_cursor": "c"}, {"data": items(2)}, {"data": items(2)}]
    api, transport = client(*bodies(*answers))
    page = await api.get_api_list("/users", Item, CursorPage)
    assert page.has_next_page()
    following = await page.get_next_page()
    assert following == await page.get_next_page()
    assert not following.has_next_page()
    with pytest.raises(InvalidRequestError, match="last page"):
        await following.get_next_page()
    assert targets(transport) == ["/users", "/users?cursor=c", "/users?cursor=c"]


async def test_a_page_is_iterated_over_with_all_that_follow() -> None:
    """Iterating over a page yields its items and those after it, iter_pages the page and those after it."""
    answers = [{"data": items(1), "next_cursor": "c"}, {"data": items(2)}]
    api, transport = client(*bodies(*answers, answers[1]))
    page = await api.get_api_list("/users", Item, CursorPage)
    assert ids([item async for item in page]) == [1, 2]
    assert [ids(one.data) async for one in page.iter_pages()] == [[1], [2]]
    assert len(transport.requests) == 3


async def test_nothing_holds_a_page_but_its_user() -> None:
    """Page and response do not hold each other: no cycle keeps old pages in memory."""
    api, _ = client(*bodies({"data": items(1)}))
    page = await api.get_api_list("/users", Item, CursorPage)
    response = weakref.ref(page.response)
    gc.disable()
    try:
        del page
        assert response() is None
    finally:
        gc.enable()


# --- the paginator


async def test_awaiting_gives_the_first_page() -> None:
    """Nothing is sent before it is awaited, and then one request."""
    api, transport = client(*bodies({"data": items(1), "next_cursor": "c"}))
    paginator = api.get_api_list("/users", Item, CursorPage)
    assert repr(paginator) == "<AsyncPaginator of CursorPage>"
    assert not transport.requests
    page = await paginator
    assert ids(page.data) == [1]
    assert len(transport.requests) == 1


async def test_every_use_begins_anew() -> None:
    """Iterating twice walks twice, from the first page on."""
    answers = [{"data": items(1), "next_cursor": "c"}, {"data": items(2)}]
    api, transport = client(*bodies(*answers * 3))
    paginator = api.get_api_list("/users", Item, CursorPage)
    assert await all_ids(paginator) == await all_ids(paginator) == [1, 2]
    assert [len(page.data) async for page in paginator.iter_pages()] == [1, 1]
    assert targets(transport) == ["/users", "/users?cursor=c"] * 3


async def test_two_walks_at_once_do_not_meet() -> None:
    """Two concurrent iterations each see all items."""
    api, _ = client(*bodies(*[{"data": items(1), "next_cursor": "c"}] * 2, *[{"data": items(2)}] * 2))
    paginator = api.get_api_list("/users", Item, CursorPage, prefetch=True)
    assert await asyncio.gather(all_ids(paginator), all_ids(paginator)) == [[1, 2], [1, 2]]


def numbered(pages: list[list[int]]) -> Callable[[APIRequest], Any]:
    """A server of these pages, by number; beyond them they are empty."""

    def answer(request: APIRequest) -> Any:
        number = int(request.url.query.get("page", 1)) - 1
        return respond(json={"data": items(*pages[number]) if number < len(pages) else []})(request)

    return answer


def by_cursor(pages: list[list[int]]) -> Callable[[APIRequest], Any]:
    """The same by cursor, where a page may be empty."""

    def answer(request: APIRequest) -> Any:
        number = int(request.url.query.get("cursor", 0))
        more = {"next_cursor": str(number + 1)} if number + 1 < len(pages) else {}
        return respond(json={"data": items(*pages[number]) if pages else [], **more})(request)

    return answer


def by_offset(pages: list[list[int]]) -> Callable[[APIRequest], Any]:
    """The same by offset, with as many items a page as the split had."""
    sizes = [len(page) for page in pages if page]
    everything = [number for page in pages for number in page]

    def answer(request: APIRequest) -> Any:
        start = int(request.url.query.get("offset", 0))
        size = next((end for end in _ends(sizes) if end > start), start) - start
        return respond(json=items(*everything[start : start + size]))(request)

    return answer


def _ends(sizes: list[int]) -> Iterator[int]:
    end = 0
    for size in sizes:
        end += size
        yield end


def by_link(pages: list[list[int]]) -> Callable[[APIRequest], Any]:
    """The same by Link header, over two origins in turn."""

    def answer(request: APIRequest) -> Any:
        number = int(request.url.query.get("n", 0))
        host = "a.example.com" if number % 2 else "b.example.com"
        link = {"Link": f'<https://{host}/x?n={number + 1}>; rel="next"'} if number + 1 < len(pages) else {}
        return respond(json=items(*pages[number]) if pages else [], headers=link)(request)

    return answer


_KINDS: list[tuple[Any, Callable[[list[list[int]]], Callable[[APIRequest], Any]], bool]] = [
    (NumberedPage, numbered, False),
    (CursorPage, by_cursor, True),
    (OffsetPage, by_offset, True),
    (LinkHeaderPage, by_link, True),
]


@given(
    split=st.lists(st.lists(st.integers(0, 1 << 40), max_size=4), max_size=6),
    kind=st.sampled_from(_KINDS),
    prefetch=st.booleans(),
    limit=st.none() | st.integers(0, 30),
)
def test_any_split_gives_every_item_once(
    split: list[list[int]], kind: Any, prefetch: bool, limit: int | None
) -> None:
    """However the items are split over pages, an iteration yields each once and in order, up to the limit."""
    page, serve, with_empty_pages = kind
    split = split if with_empty_pages else [one for one in split if one]
    expected = [number for one in split for number in one][:limit]

    async def walk() -> None:
        api = Client(BASE, transport=FakeTransport(default=serve(split)))
        async with api:
            paginator = api.get_api_list("/users", Item, page, prefetch=prefetch, limit=limit)
            assert await all_ids(paginator) == expected
            found = [item async for one in paginator.iter_pages() for item in one._get_page_items()]
            assert ids(found)[:limit] == expected
            if limit != 0:
                assert ids([item async for item in await paginator]) == expected
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(walk())


# --- limits


async def test_a_limit_ends_the_walk() -> None:
    """With limit no more items are yielded, and no page is requested that would contain none of them."""
    for prefetch in (False, True):
        api, transport = client(
            *bodies({"data": items(1, 2), "next_cursor": "c"}, {"data": items(3, 4), "next_cursor": "d"})
        )
        paginator = api.get_api_list("/users", Item, CursorPage, limit=4, prefetch=prefetch)
        assert await all_ids(paginator) == [1, 2, 3, 4]
        assert len(transport.requests) == 2


async def test_a_limit_may_end_within_a_page() -> None:
    """A limit cuts the items of the last page; pages themselves stay complete."""
    answers = [{"data": items(1, 2), "next_cursor": "c"}, {"data": items(3, 4), "next_cursor": "d"}]
    api, _ = client(*bodies(*answers, *answers))
    paginator = api.get_api_list("/users", Item, CursorPage, limit=3)
    assert await all_ids(paginator) == [1, 2, 3]
    assert [ids(page.data) async for page in paginator.iter_pages()] == [[1, 2], [3, 4]]


async def test_a_limit_of_zero_sends_nothing() -> None:
    """With a limit of 0 nothing is requested, unless the first page is awaited."""
    api, transport = client(*bodies({"data": items(1), "next_cursor": "c"}))
    paginator = api.get_api_list("/users", Item, CursorPage, limit=0)
    assert await all_ids(paginator) == []
    assert [page async for page in paginator.iter_pages()] == []
    assert not transport.requests
    assert not (await paginator).has_next_page()


async def test_a_limit_counts_from_the_first_page() -> None:
    """Pages requested by hand know the limit too, and the number of earlier items."""
    answers = [{"data": items(1, 2), "next_cursor": "c"}, {"data": items(3, 4), "next_cursor": "d"}]
    api, _ = client(*bodies(*answers))
    page = await api.get_api_list("/users", Item, CursorPage, limit=3)
    second = await page.get_next_page()
    assert not second.has_next_page()
    assert ids([item async for item in second]) == [3]


# --- prefetch


class Gate:
    """A server with cursors whose pages wait for the test's command."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.ended: list[int] = []
        self.open = asyncio.Event()

    async def __call__(self, request: APIRequest) -> Any:
        number = int(request.url.query.get("cursor", 0))
        self.asked.append(number)
        try:
            if number:
                await self.open.wait()
        finally:
            self.ended.append(number)
        return respond(json={"data": items(2 * number, 2 * number + 1), "next_cursor": str(number + 1)})


async def turns(until: Callable[[], bool]) -> None:
    """Let other tasks run until *condition* is true."""
    async with asyncio.timeout(10):
        while not until():  # noqa: ASYNC110  (what it waits for has no event)
            await asyncio.sleep(0)


async def test_the_next_page_is_asked_for_ahead() -> None:
    """With prefetch the next page is requested while the items of this one are used, and only one."""
    gate = Gate()
    api = Client(BASE, transport=FakeTransport(default=gate))
    async with aclosing(aiter(api.get_api_list("/users", Item, CursorPage, prefetch=True))) as walk:
        assert (await anext(walk)).id == 0
        await turns(lambda: gate.asked == [0, 1])
        gate.open.set()
        assert (await anext(walk)).id == 1
        await turns(lambda: gate.ended == [0, 1])
        for _ in range(20):
            await asyncio.sleep(0)
        assert gate.asked == [0, 1]
        assert (await anext(walk)).id == 2
        await turns(lambda: gate.asked == [0, 1, 2])


async def test_without_prefetch_no_task_is_made() -> None:
    """Without prefetch the next page waits until the items of this one are used."""
    gate = Gate()
    api = Client(BASE, transport=FakeTransport(default=gate))
    async with aclosing(aiter(api.get_api_list("/users", Item, CursorPage))) as walk:
        await anext(walk)
        assert len(asyncio.all_tasks()) == 1
        await asyncio.sleep(0)
        assert gate.asked == [0]


async def _leave_by_break(api: Client) -> None:
    async for _ in api.get_api_list("/users", Item, CursorPage, prefetch=True):
        await asyncio.sleep(0)
        break


async def _leave_by_error(api: Client) -> None:
    with pytest.raises(ZeroDivisionError):
        async for _ in api.get_api_list("/users", Item, CursorPage, prefetch=True):
            await asyncio.sleep(0)
            raise ZeroDivisionError


async def _leave_pages(api: Client) -> None:
    async for page in api.get_api_list("/users", Item, CursorPage, prefetch=True).iter_pages():
        assert page.data
        break


async def _leave_a_page(api: Client) -> None:
    async for _ in await api.get_api_list("/users", Item, CursorPage, prefetch=True):
        break


async def _leave_by_close(api: Client) -> None:
    async with aclosing(aiter(api.get_api_list("/users", Item, CursorPage, prefetch=True))) as walk:
        await anext(walk)
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "leave", [_leave_by_break, _leave_by_error, _leave_pages, _leave_a_page, _leave_by_close]
)
async def test_what_is_ahead_ends_with_the_walk(leave: Callable[[Client], Awaitable[None]]) -> None:
    """An iteration that stops early cancels its prefetched page: no task and no request is left."""
    gate = Gate()
    transport = FakeTransport(default=gate)
    api = Client(BASE, transport=transport)
    await leave(api)
    await turns(lambda: len(asyncio.all_tasks()) == 1)
    assert gate.ended == gate.asked
    assert transport.open_responses == 0


async def test_a_cancelled_walk_cancels_what_is_ahead() -> None:
    """Cancelling a call that waits for the prefetched page ends that request, and raises CancelledError."""
    gate = Gate()
    api = Client(BASE, transport=FakeTransport(default=gate))
    task = asyncio.create_task(all_ids(api.get_api_list("/users", Item, CursorPage, prefetch=True)))
    await turns(lambda: gate.asked == [0, 1])
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gate.ended == [0, 1]
    assert len(asyncio.all_tasks()) == 1


async def test_a_failure_ahead_waits_for_its_turn() -> None:
    """A prefetched page that fails raises only after the items before it were yielded."""
    api, transport = client(*bodies({"data": items(1, 2), "next_cursor": "c"}), respond(500), max_retries=0)
    found: list[int] = []
    with pytest.raises(InternalServerError):
        async for item in api.get_api_list("/users", Item, CursorPage, prefetch=True):
            await turns(lambda: len(transport.requests) == 2 and len(asyncio.all_tasks()) == 1)
            found.append(item.id)
    assert found == [1, 2]


async def test_a_failure_of_an_abandoned_prefetch_is_silent() -> None:
    """A prefetched page that fails, even while it is cancelled, leaves no unretrieved exception."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))

    async def fail_when_cancelled(request: APIRequest) -> Any:
        waits.append(True)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ZeroDivisionError from None

    waits: list[bool] = []
    first = respond(json={"data": items(1, 2), "next_cursor": "c"})
    for failure in (respond(500), fail_when_cancelled):
        api, _ = client(first, failure, max_retries=0)
        async with aclosing(aiter(api.get_api_list("/users", Item, CursorPage, prefetch=True))) as walk:
            await anext(walk)
            await turns(lambda: bool(waits) or len(asyncio.all_tasks()) == 1)
        await turns(lambda: len(asyncio.all_tasks()) == 1)
        del walk
        gc.collect()
    assert complaints == []


# --- repeated pages


async def test_a_page_that_points_at_itself_raises() -> None:
    """A cursor or a link that leads to the same page raises after its items, without a request."""
    link = {"Link": '<?p=1>; rel="next"'}
    for kind, path, answer in (
        (CursorPage, "/users?cursor=a", respond(json={"data": items(1), "next_cursor": "a"})),
        (LinkHeaderPage, f"{BASE}/users?p=1", respond(json=items(1), headers=link)),
    ):
        api, transport = client(answer, answer)
        with pytest.raises(APIResponseValidationError, match="seen before") as caught:
            await walk_into(found := [], api.get_api_list(path, Item, kind))
        assert found == [1]
        assert len(transport.requests) <= 2
        assert caught.value.response is not None


async def test_a_link_back_to_the_first_page_raises() -> None:
    """A link to the first page, whose path was relative, raises before its items are yielded a second
    time.
    """
    for query in ("a=1&b=2", "b=2&a=1"):
        answer = respond(json={"data": items(1), "next": f"{BASE}/users?{query}"})
        api, _ = client(answer, answer)
        with pytest.raises(APIResponseValidationError, match="seen before"):
            await walk_into(
                found := [], api.get_api_list("/users", Item, NextURLPage, params={"a": 1, "b": 2})
            )
        assert found == [1]


async def test_a_longer_loop_raises() -> None:
    """A page that leads back to an earlier one raises, by hand as well as in a loop."""
    cursors = {None: "a", "a": "b", "b": "a"}

    def answer(request: APIRequest) -> Any:
        return respond(json={"data": items(1), "next_cursor": cursors[request.url.query.get("cursor")]})(
            request
        )

    api = Client(BASE, transport=FakeTransport(default=answer))
    for prefetch in (False, True):
        with pytest.raises(APIResponseValidationError, match="seen before"):
            await walk_into(found := [], api.get_api_list("/users", Item, CursorPage, prefetch=prefetch))
        assert found == [1, 1, 1]
    page = await api.get_api_list("/users", Item, CursorPage)
    page = await (await page.get_next_page()).get_next_page()
    assert page.has_next_page()
    with pytest.raises(APIResponseValidationError, match="seen before"):
        await page.get_next_page()


async def test_a_server_may_keep_the_position() -> None:
    """With may_repeat the same request may be sent again, for a server that remembers where one was."""

    class Scroll(CursorPage[T]):
        may_repeat: ClassVar[bool] = True
        empty_page_ends: ClassVar[bool] = True

    answers = [{"data": one, "next_cursor": "s"} for one in (items(1), items(2), items(3), [])]
    api, _ = client(*bodies(*answers))
    assert await all_ids(api.get_api_list("/scroll", Item, Scroll)) == [1, 2, 3]


# --- every page is a call


async def test_an_error_keeps_what_was_handed_over() -> None:
    """A third page that fails raises there: the items of the first two have been yielded."""
    api, _ = client(
        *bodies({"data": items(1), "next_cursor": "a"}, {"data": items(2), "next_cursor": "b"}),
        respond(404, json={"code": "gone"}),
    )
    with pytest.raises(Exception, match="404") as caught:
        await walk_into(found := [], api.get_api_list("/users", Item, CursorPage))
    assert found == [1, 2]
    assert getattr(caught.value, "code", None) == "gone"


async def test_every_page_has_its_own_retries() -> None:
    """Retries are counted for each page."""
    api, transport = client(
        respond(503),
        *bodies({"data": items(1), "next_cursor": "a"}),
        respond(503),
        *bodies({"data": items(2)}),
        max_retries=1,
    )
    assert await all_ids(api.get_api_list("/users", Item, CursorPage)) == [1, 2]
    assert [request.attempt for request in transport.requests] == [0, 1, 0, 1]


async def test_the_options_hold_for_every_page() -> None:
    """Headers, timeout, extensions and path parameters apply to each page, options= above the keywords."""
    api, transport = client(*bodies({"data": items(1), "next_cursor": "a"}, {"data": items(2)}))
    paginator = api.get_api_list(
        "/users/{id}/posts",
        Item,
        CursorPage,
        path_params={"id": 7},
        headers={"X-A": "1"},
        timeout=30,
        options={"headers": {"X-B": "2"}, "timeout": 20, "extensions": {"tag": "list"}},
    )
    await all_ids(paginator)
    for request in transport.requests:
        assert request.template == "/users/{id}/posts"
        assert (request.headers["X-A"], request.headers["X-B"]) == ("1", "2")
        assert request.timeout.total == 20
        assert request.extensions == {"tag": "list"}
        assert request.started is not None
        assert request.deadline is not None
        assert request.deadline >= request.started + 20


async def test_hooks_and_middlewares_see_every_page() -> None:
    """_prepare_options and the client's middlewares run for each page."""
    seen: list[str] = []

    class Hooked(Client):
        async def _prepare_options(self, options: RequestOptions, /) -> RequestOptions:
            options["params"] = {**options.get("params", {}), f"signed{len(seen)}": "yes"}
            return options

    async def note(request: APIRequest, handler: Any) -> Any:
        seen.append(request.url.query_string)
        return await handler(request)

    transport = FakeTransport(*bodies({"data": items(1), "next_cursor": "a"}, {"data": items(2)}))
    api = Hooked(BASE, transport=transport, middlewares=[note])
    await all_ids(api.get_api_list("/users", Item, CursorPage))
    assert seen == ["signed0=yes", "cursor=a&signed1=yes"]


async def test_a_subclass_may_send_pages_its_own_way() -> None:
    """_request_api_list sends each page, and may change the options, for that page only."""

    class Signed(Client):
        async def _request_api_list(
            self, method: str, path: str | URL, cast_to: Any, options: RequestOptions, /
        ) -> AsyncAPIResponse[Any]:
            options["params"] = {**options.get("params", {}), f"signed{len(transport.requests)}": "yes"}
            return await super()._request_api_list(method, path, cast_to, options)

    transport = FakeTransport(*bodies({"data": items(1), "next_cursor": "a"}, {"data": items(2)}))
    await all_ids(Signed(BASE, transport=transport).get_api_list("/users", Item, CursorPage))
    assert targets(transport) == ["/users?signed0=yes", "/users?cursor=a&signed1=yes"]


async def test_an_idempotency_key_is_for_one_page() -> None:
    """An idempotency key of the caller is sent with the first page; the next is another request."""

    class Posted(CursorPage[T]):
        send_in: ClassVar[Any] = "json"

    api, transport = client(
        *bodies({"data": items(1), "next_cursor": "a"}, {"data": items(2)}), idempotency_header="Key"
    )
    await all_ids(api.get_api_list("/search", Item, Posted, method="post", json={}, idempotency_key="mine"))
    first, second = [request.headers["Key"] for request in transport.requests]
    assert first == "mine" != second


async def test_views_walk_with_their_own_options() -> None:
    """A paginator of a view uses the view's options for every page."""
    api, transport = client(*bodies({"data": items(1), "next_cursor": "a"}, {"data": items(2)}))
    view = api.with_options(default_headers={"X-View": "1"})
    assert await all_ids(view.get_api_list("/users", Item, CursorPage)) == [1, 2]
    assert [request.headers["X-View"] for request in transport.requests] == ["1", "1"]


async def test_what_can_be_iterated_once_is_sent_with_every_page() -> None:
    """Iterators in params and json are read once and kept for all pages and walks."""

    class Posted(CursorPage[T]):
        send_in: ClassVar[Any] = "json"

    answers = [{"data": items(1), "next_cursor": "a"}, {"data": items(2)}]
    api, transport = client(*bodies(*answers * 2))
    paginator = api.get_api_list(
        "/search",
        Item,
        Posted,
        method="post",
        params={"tag": iter(["x", "y"])},
        json={"ids": (n for n in (1, 2)), "deep": [{"more": iter("z")}]},
        ok_statuses=iter([404]),
    )
    assert await all_ids(paginator) == await all_ids(paginator) == [1, 2]
    assert targets(transport) == ["/search?tag=x&tag=y"] * 4
    assert transport.bodies[0] == transport.bodies[2] == b'{"ids":[1,2],"deep":[{"more":["z"]}]}'
    assert transport.bodies[1] == b'{"ids":[1,2],"deep":[{"more":["z"]}],"cursor":"a"}'
    assert all(request._settings.ok_statuses == {404} for request in transport.requests)


async def test_a_form_of_pairs_is_kept() -> None:
    """Pairs given as an iterator are sent with every page."""
    api, transport = client(*bodies({"data": items(1), "next_cursor": "a"}, {"data": items(2)}))
    await all_ids(
        api.get_api_list("/s", Item, CursorPage, method="post", data=iter([("a", "1"), ("a", "2")]))
    )
    assert transport.bodies == [b"a=1&a=2"] * 2


async def test_a_body_that_can_be_sent_once_is_not_sent_empty() -> None:
    """One-shot content raises for the second page; it is never sent as an empty body."""
    api, transport = client(*bodies({"data": items(1), "next_cursor": "a"}, {"data": items(2)}))
    with pytest.raises(RequestNotReplayableError):
        await walk_into(
            found := [], api.get_api_list("/s", Item, CursorPage, method="post", content=iter([b"x"]))
        )
    assert found == [1]
    assert transport.bodies[0] == b"x"


async def test_a_cycle_in_the_body_is_refused() -> None:
    """A JSON body that contains itself is refused as in any call."""
    body: dict[str, Any] = {}
    body["self"] = body
    api, _ = client()
    with pytest.raises(InvalidRequestError):
        await api.get_api_list("/s", Item, CursorPage, method="post", json=body)


async def test_params_may_repeat_a_name() -> None:
    """Parameters given as pairs are kept, including a repeated name."""
    api, transport = client(*bodies({"data": items(1), "next_cursor": "a"}, {"data": items(2)}))
    await all_ids(api.get_api_list("/s", Item, CursorPage, params=[("t", "1"), ("t", "2"), ("t", "3")]))
    assert targets(transport)[1] == "/s?t=1&t=2&t=3&cursor=a"


async def test_closing_the_generators_twice_is_safe() -> None:
    """An iteration that ended can be closed, and so can one that never began."""
    api, _ = client(*bodies({"data": items(1)}))
    walk: AsyncGenerator[Any, None] = aiter(api.get_api_list("/users", Item, CursorPage))
    await walk.aclose()
    walk = aiter(api.get_api_list("/users", Item, CursorPage))
    assert [item.id async for item in walk] == [1]
    await walk.aclose()


async def test_get_next_page_of_a_subclass_keeps_its_class() -> None:
    """Every page of an iteration has the requested class."""
    api, _ = client(*bodies(*({"data": items(n), "total_pages": 2} for n in (1, 2))))
    page = await api.get_api_list("/users", Item, Counted)
    assert type(await page.get_next_page()) is Counted
