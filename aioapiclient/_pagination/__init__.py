"""Pages: iterate over a paginated list, item by item or page by page.

`walk` goes from page to page, and a page class (`page`, `kinds`) determines the next request. A `PageInfo`
(`next_request`) has the differences of that request. `paginator` needs one function of the client, which
sends the request for a page; every page therefore passes through the complete chain, with its own retries and
deadline, and a link to another origin is treated like any absolute URL. `checks` refuses a page class with
names that do not exist.

A page is a msgspec Struct, decoded directly from the body. Its origin (the response, the request, the walk)
is in its ``__dict__``, which Structs with ``dict=True`` have and msgspec ignores: it is not part of the wire
format, ``==``, ``repr`` or ``asdict``, exists as long as the page, and costs 0.2 us and 200 bytes per page. A
separate table would need hashable pages, and a wrapper would not be the Struct that the caller requested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioapiclient._late import late_names

if TYPE_CHECKING:
    from .kinds import CursorPage, LinkHeaderPage, NextURLPage, NumberedPage, OffsetPage
    from .next_request import PageInfo
    from .page import AsyncPage
    from .paginator import AsyncPaginator
else:
    __getattr__, __dir__ = late_names(
        __name__,
        {
            "AsyncPage": ".page",
            "AsyncPaginator": ".paginator",
            "CursorPage": ".kinds",
            "LinkHeaderPage": ".kinds",
            "NextURLPage": ".kinds",
            "NumberedPage": ".kinds",
            "OffsetPage": ".kinds",
            "PageInfo": ".next_request",
        },
    )

__all__ = [
    "AsyncPage",
    "AsyncPaginator",
    "CursorPage",
    "LinkHeaderPage",
    "NextURLPage",
    "NumberedPage",
    "OffsetPage",
    "PageInfo",
]
