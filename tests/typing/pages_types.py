"""The types of pages and paginators, asserted for checkers; not meant to be executed."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Generic, TypeVar, assert_type

import msgspec

from aioapiclient import AsyncAPIClient, AsyncAPIResponse
from aioapiclient._pagination.kinds import CursorPage, LinkHeaderPage, NextURLPage, NumberedPage, OffsetPage
from aioapiclient._pagination.next_request import PageInfo
from aioapiclient._pagination.page import AsyncPage
from aioapiclient._pagination.paginator import AsyncPaginator

T = TypeVar("T")


class User(msgspec.Struct):
    id: int


class Group(msgspec.Struct):
    id: int


class Counted(NumberedPage[T]):
    """Adds a field that has a default."""

    total_pages: int | None = None


class Strict(NumberedPage[T]):
    """Adds a field that every page must have."""

    total_pages: int


class UserPage(OffsetPage[User]):
    """Is of one model."""

    total: int


class OData(NextURLPage[T]):
    """Has a field with a default before one without."""

    next: str | None = msgspec.field(name="@odata.nextLink", default=None)
    value: list[T]
    count: int = 0


class Search(AsyncPage[T], Generic[T]):
    """Computes the next page itself."""

    bookmark: str | None = None

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        return PageInfo(params={"bookmark": self.bookmark}) if self.bookmark else None


def kinds(api: AsyncAPIClient) -> None:
    """``model=`` is the item type of a page class without an argument."""
    numbered = api.get_api_list("/users", model=User, page=NumberedPage)
    assert_type(numbered, AsyncPaginator[User, NumberedPage[User]])
    offset = api.get_api_list("/users", model=User, page=OffsetPage)
    assert_type(offset, AsyncPaginator[User, OffsetPage[User]])
    cursor = api.get_api_list("/users", model=User, page=CursorPage)
    assert_type(cursor, AsyncPaginator[User, CursorPage[User]])
    url = api.get_api_list("/users", model=User, page=NextURLPage)
    assert_type(url, AsyncPaginator[User, NextURLPage[User]])
    link = api.get_api_list("/users", model=User, page=LinkHeaderPage)
    assert_type(link, AsyncPaginator[User, LinkHeaderPage[User]])


def models(api: AsyncAPIClient) -> None:
    """A model may be any type."""
    either = api.get_api_list("/users", model=User | Group, page=CursorPage)
    assert_type(either, AsyncPaginator[User | Group, CursorPage[User | Group]])
    plain = api.get_api_list("/users", model=dict[str, int], page=CursorPage)
    assert_type(plain, AsyncPaginator[dict[str, int], CursorPage[dict[str, int]]])
    anything = api.get_api_list("/users", model=Any, page=CursorPage)
    assert_type(anything, AsyncPaginator[Any, CursorPage[Any]])


def own_pages(api: AsyncAPIClient) -> None:
    """A custom page class keeps its type, and one with required fields names its model."""
    counted = api.get_api_list("/users", model=User, page=Counted)
    assert_type(counted, AsyncPaginator[User, Counted[User]])
    search = api.get_api_list("/users", model=User, page=Search)
    assert_type(search, AsyncPaginator[User, Search[User]])
    named = api.get_api_list("/users", model=User, page=Counted[User])
    assert_type(named, AsyncPaginator[User, Counted[User]])
    strict = api.get_api_list("/users", model=User, page=Strict[User])
    assert_type(strict, AsyncPaginator[User, Strict[User]])
    odata = api.get_api_list("/users", model=User, page=OData[User])
    assert_type(odata, AsyncPaginator[User, OData[User]])
    of_one = api.get_api_list("/users", model=User, page=UserPage)
    assert_type(of_one, AsyncPaginator[User, UserPage])


async def walks(api: AsyncAPIClient) -> None:
    """Awaiting returns a page, ``async for`` items, ``iter_pages`` pages."""
    users = api.get_api_list("/users", User, Counted, limit=7, prefetch=True, params={"a": 1}, timeout=3)
    page = await users
    assert_type(page, Counted[User])
    assert_type(page.data, list[User])
    assert_type(page.total_pages, int | None)
    assert_type(page.response, AsyncAPIResponse[Any])
    assert_type(await page.get_next_page(), Counted[User])
    assert_type(page.next_page_info(page.response), PageInfo | None)
    async for user in users:
        assert_type(user, User)
    async for one in users.iter_pages():
        assert_type(one, Counted[User])
    async for user in page:
        assert_type(user, User)
    async for one in page.iter_pages():
        assert_type(one, Counted[User])
    async with aclosing(aiter(users)) as items:
        assert_type(await anext(items), User)


def by_hand() -> None:
    """The fields of a page are keywords, in any order; the ignores would be unused if they were not."""
    assert_type(OData(value=[User(1)], next=None), OData[User])
    OData([User(1)])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    OData(next=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def wrong(api: AsyncAPIClient) -> None:
    """A value that is not a page class is refused; the ignores would be unused otherwise."""
    api.get_api_list("/users", model=User, page=User)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    api.get_api_list("/users", model=User, page=CursorPage, limits=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
