"""The kinds of pages: numbered, by offset, by cursor, by the URL of the next page, by a Link header.

Each finds in a page, or in the request for it, what the request for the next page needs.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import msgspec

from ._pagination import AsyncPage, PageInfo, SendIn, look_up, request_param, send_with
from ._response import AsyncAPIResponse
from .errors import InvalidRequestError

__all__ = ["CursorPage", "LinkHeaderPage", "NextURLPage", "NumberedPage", "OffsetPage"]

T = TypeVar("T")


class NumberedPage(AsyncPage[T]):
    """Pages with numbers: ``?page=2`` follows ``?page=1``, until a page is empty.

    Declare ``total_pages`` in a subclass to avoid the request for the empty page. If you declare a field
    ``page``, it overrides the number in the request.
    """

    has_more: bool | None = None
    """False ends the list. None, the default, does not decide."""

    page_param: ClassVar[str] = "page"
    """The parameter that carries the number."""

    first_page: ClassVar[int] = 1
    """The number of the first page if the call sets none. 1 by default."""

    send_in: ClassVar[SendIn] = "params"
    """Where to send the parameter: the query, the JSON body (dots in its name go deeper), or the headers."""

    page_field: ClassVar[str] = "page"
    total_pages_field: ClassVar[str] = "total_pages"
    has_more_field: ClassVar[str] = "has_more"
    empty_page_ends: ClassVar[bool] = True
    takes_array: ClassVar[bool] = True

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        """Return how to request the page after this one; None on the last page.

        Args:
            response: The response of this page.
        """
        if look_up(self, self.has_more_field) is False:
            return None
        number = _look_up_number(self, self.page_field)
        if number is None:
            number = _requested_number(self, self.page_param, self.send_in)
        if number is None:
            number = self.first_page
        total = _look_up_number(self, self.total_pages_field)
        if total is not None and number >= total + self.first_page - 1:
            return None
        return send_with(self, self.send_in, self.page_param, number + 1)


class OffsetPage(AsyncPage[T]):
    """Pages by offset: ``?offset=`` grows by the number of items on each page, until a page is empty.

    Declare ``total`` in a subclass to avoid the request for the empty page. If you declare a field
    ``offset``, it overrides the offset in the request. A page with fewer items than requested does not end
    the list, since servers cap the page size.
    """

    has_more: bool | None = None
    """False ends the list. None, the default, does not decide."""

    offset_param: ClassVar[str] = "offset"
    """The parameter that carries the offset; 0 if the call gives none."""

    send_in: ClassVar[SendIn] = "params"
    """Where to send the parameter: the query, the JSON body (dots in its name go deeper), or the headers."""

    offset_field: ClassVar[str] = "offset"
    total_field: ClassVar[str] = "total"
    has_more_field: ClassVar[str] = "has_more"
    empty_page_ends: ClassVar[bool] = True
    takes_array: ClassVar[bool] = True

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        """Return how to request the page after this one; None on the last page.

        Args:
            response: The response of this page.
        """
        if look_up(self, self.has_more_field) is False:
            return None
        offset = _look_up_number(self, self.offset_field)
        if offset is None:
            offset = _requested_number(self, self.offset_param, self.send_in) or 0
        offset += len(self._get_page_items())
        total = _look_up_number(self, self.total_field)
        if total is not None and offset >= total:
            return None
        return send_with(self, self.send_in, self.offset_param, offset)


class CursorPage(AsyncPage[T]):
    """Pages by cursor: ``next_cursor`` of one page is the parameter ``cursor`` of the next; null or "" ends.

    ``has_more`` overrides the cursor; true without a cursor raises `APIResponseValidationError`, since the
    rest of the list would be missing. With ``back_param`` and ``back_field``, a call that passes the former
    (``before_id``) goes backwards. An empty page with a cursor does not end the list: servers that filter
    send such pages.
    """

    next_cursor: str | None = None
    """The cursor of the next page; null or "" on the last."""

    has_more: bool | None = None
    """False ends the list, whatever the cursor. None, the default, leaves it to the cursor."""

    cursor_param: ClassVar[str] = "cursor"
    """The parameter that carries the cursor."""

    back_param: ClassVar[str | None] = None
    """The parameter that carries the cursor backwards. None by default."""

    back_field: ClassVar[str | None] = None
    """The field with the cursor for going backwards. None by default."""

    send_in: ClassVar[SendIn] = "params"
    """Where to send the parameter: the query, the JSON body (dots in its name go deeper), or the headers."""

    cursor_field: ClassVar[str] = "next_cursor"
    has_more_field: ClassVar[str] = "has_more"

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        """Return how to request the page after this one; None on the last page.

        Args:
            response: The response of this page.
        """
        has_more = look_up(self, self.has_more_field)
        if has_more is False:
            return None
        param, field = self.cursor_param, self.cursor_field
        if (
            self.back_param
            and self.back_field
            and request_param(self, self.back_param, self.send_in) is not None
        ):
            param, field = self.back_param, self.back_field
        cursor = look_up(self, field)
        if cursor is None or cursor is msgspec.UNSET or cursor == "":
            if has_more is True:
                raise response.validation_error(
                    f"`{self.has_more_field}` is true, but `{field}` has no cursor for the next page"
                )
            return None
        return send_with(self, self.send_in, param, cursor)


class NextURLPage(AsyncPage[T]):
    """Pages with the URL of the next one in ``next``, absolute or relative; null or "" ends the list."""

    next: str | None = None
    """The URL of the next page; null or "" on the last."""

    next_field: ClassVar[str] = "next"

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        """Return how to request the page after this one; None on the last page.

        Args:
            response: The response of this page.
        """
        url = look_up(self, self.next_field)
        return PageInfo(url=url) if url and url is not msgspec.UNSET else None


class LinkHeaderPage(AsyncPage[T]):
    """Pages with the URL of the next one in a Link header, ``rel="next"`` (RFC 8288).

    The body may be a bare array of the items, which is then in ``data``.
    """

    relation: ClassVar[str] = "next"
    """The relation of the link to the next page."""

    takes_array: ClassVar[bool] = True

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        """Return how to request the page after this one; None on the last page.

        Args:
            response: The response of this page.
        """
        url = response.links.get(self.relation)
        return None if url is None else PageInfo(url=url)


def _look_up_number(page: AsyncPage[Any], field: str) -> int | None:
    value = look_up(page, field)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _requested_number(page: AsyncPage[Any], name: str, send_in: SendIn) -> int | None:
    value = request_param(page, name, send_in)
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        pass
    raise InvalidRequestError(f"The parameter {name!r} must be a whole number for {type(page).__name__}")
