"""The kinds of pages: numbered, by offset, by cursor, by the URL of the next, by a Link header.

Each says where in a page, or in the request for it, stands what the next one is asked for with.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import msgspec

from ._pagination import AsyncPage, PageInfo, SendIn, asked, look_up, send_with
from ._response import AsyncAPIResponse
from .errors import InvalidRequestError

__all__ = ["CursorPage", "LinkHeaderPage", "NextURLPage", "NumberedPage", "OffsetPage"]

T = TypeVar("T")


class NumberedPage(AsyncPage[T]):
    """Pages with numbers: ``?page=2`` follows ``?page=1``, until a page is empty.

    Declare ``total_pages`` in a subclass, and the empty page is not asked for. A field ``page``, if
    you declare it, is believed above the number that was asked for.
    """

    has_more: bool | None = None
    """False ends the list."""

    page_param: ClassVar[str] = "page"
    """The parameter that has the number."""

    first_page: ClassVar[int] = 1
    """The number of the first page, when the call names none."""

    send_in: ClassVar[SendIn] = "params"
    """Where the parameter goes: the query, the JSON body (dots in its name go deeper), or the headers."""

    page_field: ClassVar[str] = "page"
    total_pages_field: ClassVar[str] = "total_pages"
    has_more_field: ClassVar[str] = "has_more"
    empty_page_ends: ClassVar[bool] = True
    takes_array: ClassVar[bool] = True

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        """Return how to ask for the page after this one; None on the last page.

        Args:
            response: The response of this page.
        """
        if look_up(self, self.has_more_field) is False:
            return None
        number = _look_up_number(self, self.page_field)
        if number is None:
            number = _asked_number(self, self.page_param, self.send_in)
        if number is None:
            number = self.first_page
        total = _look_up_number(self, self.total_pages_field)
        if total is not None and number >= total + self.first_page - 1:
            return None
        return send_with(self, self.send_in, self.page_param, number + 1)


class OffsetPage(AsyncPage[T]):
    """Pages by offset: ``?offset=`` counts on by as many items as came, until a page is empty.

    Declare ``total`` in a subclass, and the empty page is not asked for. A field ``offset``, if you
    declare it, is believed above the offset that was asked for. A page shorter than what was asked for
    ends nothing: servers cap what one may ask for.
    """

    has_more: bool | None = None
    """False ends the list."""

    offset_param: ClassVar[str] = "offset"
    """The parameter that has the offset; 0 when the call names none."""

    send_in: ClassVar[SendIn] = "params"
    """Where the parameter goes: the query, the JSON body (dots in its name go deeper), or the headers."""

    offset_field: ClassVar[str] = "offset"
    total_field: ClassVar[str] = "total"
    has_more_field: ClassVar[str] = "has_more"
    empty_page_ends: ClassVar[bool] = True
    takes_array: ClassVar[bool] = True

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        """Return how to ask for the page after this one; None on the last page.

        Args:
            response: The response of this page.
        """
        if look_up(self, self.has_more_field) is False:
            return None
        offset = _look_up_number(self, self.offset_field)
        if offset is None:
            offset = _asked_number(self, self.offset_param, self.send_in) or 0
        offset += len(self._get_page_items())
        total = _look_up_number(self, self.total_field)
        if total is not None and offset >= total:
            return None
        return send_with(self, self.send_in, self.offset_param, offset)


class CursorPage(AsyncPage[T]):
    """Pages by cursor: ``next_cursor`` of one is the parameter ``cursor`` of the next; null or "" ends.

    ``has_more`` is believed above the cursor; true without a cursor raises
    `APIResponseValidationError`, for the rest of the list would be lost. With ``back_param`` and
    ``back_field`` a call that gives the former (``before_id``) is walked backwards. An empty page with
    a cursor is no end: servers that filter give such pages.
    """

    next_cursor: str | None = None
    """What to ask the next page with."""

    has_more: bool | None = None
    """False ends the list, whatever the cursor."""

    cursor_param: ClassVar[str] = "cursor"
    """The parameter that takes the cursor."""

    back_param: ClassVar[str | None] = None
    """The parameter that takes it when walking backwards."""

    back_field: ClassVar[str | None] = None
    """Where the cursor for that is."""

    send_in: ClassVar[SendIn] = "params"
    """Where the parameter goes: the query, the JSON body (dots in its name go deeper), or the headers."""

    cursor_field: ClassVar[str] = "next_cursor"
    has_more_field: ClassVar[str] = "has_more"

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        """Return how to ask for the page after this one; None on the last page.

        Args:
            response: The response of this page.
        """
        has_more = look_up(self, self.has_more_field)
        if has_more is False:
            return None
        param, field = self.cursor_param, self.cursor_field
        if self.back_param and self.back_field and asked(self, self.back_param, self.send_in) is not None:
            param, field = self.back_param, self.back_field
        cursor = look_up(self, field)
        if cursor is None or cursor is msgspec.UNSET or cursor == "":
            if has_more is True:
                raise response.validation_error(
                    f"there is more, but `{field}` has no cursor to ask for it with"
                )
            return None
        return send_with(self, self.send_in, param, cursor)


class NextURLPage(AsyncPage[T]):
    """Pages that name the URL of the next: ``next``, absolute or relative; null or "" ends."""

    next: str | None = None
    """Where the next page is."""

    next_field: ClassVar[str] = "next"

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        """Return how to ask for the page after this one; None on the last page.

        Args:
            response: The response of this page.
        """
        url = look_up(self, self.next_field)
        return PageInfo(url=url) if url and url is not msgspec.UNSET else None


class LinkHeaderPage(AsyncPage[T]):
    """Pages whose response has the next in a Link header with ``rel="next"`` (RFC 8288).

    The body may be a bare array of the items, which ``data`` has then.
    """

    relation: ClassVar[str] = "next"
    """The relation of the link that leads on."""

    takes_array: ClassVar[bool] = True

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        """Return how to ask for the page after this one; None on the last page.

        Args:
            response: The response of this page.
        """
        url = response.links.get(self.relation)
        return None if url is None else PageInfo(url=url)


def _look_up_number(page: AsyncPage[Any], field: str) -> int | None:
    value = look_up(page, field)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _asked_number(page: AsyncPage[Any], name: str, send_in: SendIn) -> int | None:
    value = asked(page, name, send_in)
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        pass
    raise InvalidRequestError(
        f"The parameter {name!r} is no number, and {type(page).__name__} counts with it"
    )
