"""The walk from page to page, by items or by complete pages, with at most one page requested ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from aioapiclient._response.response import AsyncAPIResponse
from aioapiclient.errors import InvalidRequestError

from .next_request import PageInfo, key_of, next_request, sent_key

if TYPE_CHECKING:
    from yarl import URL

    from aioapiclient._options import RequestOptions

    from .page import AsyncPage
    from .paginator import FetchPage

__all__ = ["Pass", "Walk", "items_of", "link_of", "next_info", "pages_of"]

PageT = TypeVar("PageT", bound="AsyncPage[Any]")

_RESPONSE: Any = AsyncAPIResponse  # subscripted with types that are made at run time


class Walk(Generic[PageT]):
    """One walk through a list from its first page: it requests pages and remembers those it has seen."""

    __slots__ = ("_fetch", "_method", "_page", "_seen", "_type", "limit", "prefetch")

    def __init__(
        self,
        fetch: FetchPage,
        method: str,
        page: type[PageT],
        wire_type: Any,
        limit: int | None,
        prefetch: bool,
    ) -> None:
        self._fetch = fetch
        self._method = method
        self._page = page
        self._type = wire_type
        self._seen: dict[str, int] = {}
        self.limit = limit
        self.prefetch = prefetch

    async def load(self, path: str | URL, options: RequestOptions, number: int, before: int) -> PageT:
        """Request page *number*, counted from 0, with *before* items on the pages before it."""
        response = await self._fetch(self._method, path, _RESPONSE[self._type], options.copy())
        await response.read()
        # Two spellings of one URL have different keys before they are sent, but the same key afterwards.
        self._see(sent_key(response, options), number, response)
        page = self._decode(response)
        vars(page)["_link"] = Link(self, path, options, response, number, before)
        return page

    async def follow(self, page: PageT) -> PageT | None:
        """Return the page after *page*; None after the last page."""
        info = next_info(page)
        if info is None:
            return None
        link = link_of(page)
        path, options = next_request(link.path, link.options, link.response, info)
        self._see(key_of(str(path), options.get("params"), options), link.number + 1, link.response)
        return await self.load(path, options, link.number + 1, link.before + len(_items(page)))

    def see_first(self, path: str | URL, options: RequestOptions) -> None:
        """Remember the request for the first page."""
        self._seen[key_of(str(path), options.get("params"), options)] = 0

    def _see(self, key: str, number: int, response: AsyncAPIResponse[Any]) -> None:
        # A page that is requested twice by hand keeps its number; a page that occurs again later is a loop.
        if self._seen.setdefault(key, number) < number and not self._page.may_repeat:
            raise response.validation_error("the next page is this one, or one that was seen before")

    def _decode(self, response: AsyncAPIResponse[Any]) -> PageT:
        # Not with response.parse(), which keeps its result: page and response would reference each other.
        value = response._decode_as(self._type)
        if value.__class__ is list:  # a bare array
            return self._page(**{self._page.items_field: value})
        return cast("PageT", value)


class Link:
    """The request and response of a page."""

    __slots__ = ("before", "number", "options", "path", "response", "walk")

    def __init__(
        self,
        walk: Walk[Any],
        path: str | URL,
        options: RequestOptions,
        response: AsyncAPIResponse[Any],
        number: int,
        before: int,
    ) -> None:
        self.walk = walk
        self.path = path
        self.options = options
        self.response = response
        self.number = number
        self.before = before


class Pass(Generic[PageT]):
    """One pass over the pages of a walk, with at most one page requested ahead."""

    def __init__(self, walk: Walk[PageT], first: Callable[[], Awaitable[PageT]]) -> None:
        self._walk = walk
        self._first = first
        self._page: PageT | None = None
        self._ahead: asyncio.Task[PageT | None] | None = None

    async def next(self) -> PageT | None:
        """Return the next page; None after the last page."""
        if self._ahead is not None:
            page = await self._ahead
            self._ahead = None
        elif self._page is not None:
            page = await self._walk.follow(self._page)
        else:
            page = None if self._walk.limit == 0 else await self._first()
        self._page = page
        if page is not None and self._walk.prefetch:
            # Entirely in the task, because an error of the next page must not prevent the items of this one.
            self._ahead = asyncio.create_task(self._walk.follow(page))
        return page

    async def close(self) -> None:
        """Cancel the request for the page ahead, and wait until its task has ended."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.wait([self._ahead])
            if not self._ahead.cancelled():
                self._ahead.exception()  # retrieved, so that asyncio does not log it


async def pages_of(steps: Pass[PageT]) -> AsyncGenerator[PageT, None]:
    """Yield the pages of one pass."""
    try:
        while (page := await steps.next()) is not None:
            yield page
    finally:
        await steps.close()


async def items_of(steps: Pass[Any], limit: int | None) -> AsyncGenerator[Any, None]:
    """Yield the items of one pass, at most *limit* of the whole list."""
    # Not with pages_of, because with nested generators a `break` closes only the outer one immediately.
    try:
        while (page := await steps.next()) is not None:
            items = _items(page)
            for item in items if limit is None else items[: limit - link_of(page).before]:
                yield item
    finally:
        await steps.close()


def _items(page: AsyncPage[Any]) -> list[Any]:
    # One leading underscore, as in comparable SDKs: subclasses override it, and this module calls it.
    return page._get_page_items()  # pyright: ignore[reportPrivateUsage]


def next_info(page: AsyncPage[Any]) -> PageInfo | None:
    """Return how to request the page after *page*; None if the page or the limit ends the list."""
    link = link_of(page)
    count = len(_items(page))
    if page.empty_page_ends and not count:
        return None
    if link.walk.limit is not None and link.before + count >= link.walk.limit:
        return None
    info: Any = page.next_page_info(link.response)
    if info is None or isinstance(info, PageInfo):
        return info
    raise TypeError(
        f"next_page_info of {type(page).__name__} returned a {type(info).__name__}, not a PageInfo or None"
    )


def link_of(page: AsyncPage[Any]) -> Link:
    """Return the request and response of *page*; raise if it was constructed by hand, or copied."""
    link: Link | None = vars(page).get("_link")
    if link is None:
        raise InvalidRequestError(
            f"this {type(page).__name__} did not come from get_api_list (it was constructed or copied), "
            "so it has no response and no next page"
        )
    return link
