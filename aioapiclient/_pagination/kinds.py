"""The kinds of pages: by number, by offset, by cursor, by the URL of the next page, by a Link header.

Each kind derives the request for the next page from a page and its request.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

import msgspec

from aioapiclient._query import is_object, iter_items, merge_params
from aioapiclient._response.response import AsyncAPIResponse
from aioapiclient._types import NotGiven, Omit
from aioapiclient.errors import InvalidRequestError

from .next_request import PageInfo, header_items, mapping_of
from .page import AsyncPage, look_up
from .walk import link_of

__all__ = ["CursorPage", "LinkHeaderPage", "NextURLPage", "NumberedPage", "OffsetPage"]

T = TypeVar("T")

SendIn: TypeAlias = Literal["params", "json", "headers"]
"""Where to send the parameter that selects the next page: the query, the JSON body, or the headers."""


class NumberedPage(AsyncPage[T]):
    """Pages with numbers: ``?page=2`` follows ``?page=1``, until a page is empty.

    Declare ``total_pages`` in a subclass to avoid the request for the empty page. If you declare a field
    ``page``, it overrides the number in the request.
    """

    has_more: bool | None = None
    """False ends the list. None, the default, does not decide."""

    page_param: ClassVar[str] = "page"
    """The name of the parameter with the number."""

    first_page: ClassVar[int] = 1
    """The number of the first page, if the call does not set it. 1 by default."""

    send_in: ClassVar[SendIn] = "params"
    """Where to send the parameter: the query, the JSON body (at nested members by dots), or the headers."""

    page_field: ClassVar[str] = "page"
    """The field with the number of this page."""

    total_pages_field: ClassVar[str] = "total_pages"
    """The field with the number of pages."""

    has_more_field: ClassVar[str] = "has_more"
    """The field that is false on the last page."""

    empty_page_ends: ClassVar[bool] = True
    """Whether a page without items is the last one. True here."""

    takes_array: ClassVar[bool] = True
    """Whether the body may be a bare JSON array of the items. True here."""

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
        return _send_with(self, self.send_in, self.page_param, number + 1)


class OffsetPage(AsyncPage[T]):
    """Pages by offset: ``?offset=`` grows by the number of items on each page, until a page is empty.

    Declare ``total`` in a subclass to avoid the request for the empty page. If you declare a field
    ``offset``, it overrides the offset in the request. A page with fewer items than requested does not end
    the list, because servers limit the page size.
    """

    has_more: bool | None = None
    """False ends the list. None, the default, does not decide."""

    offset_param: ClassVar[str] = "offset"
    """The name of the parameter with the offset, which is 0 if the call does not set it."""

    send_in: ClassVar[SendIn] = "params"
    """Where to send the parameter: the query, the JSON body (at nested members by dots), or the headers."""

    offset_field: ClassVar[str] = "offset"
    """The field with the offset of this page."""

    total_field: ClassVar[str] = "total"
    """The field with the number of all items."""

    has_more_field: ClassVar[str] = "has_more"
    """The field that is false on the last page."""

    empty_page_ends: ClassVar[bool] = True
    """Whether a page without items is the last one. True here."""

    takes_array: ClassVar[bool] = True
    """Whether the body may be a bare JSON array of the items. True here."""

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
        return _send_with(self, self.send_in, self.offset_param, offset)


class CursorPage(AsyncPage[T]):
    """Pages by cursor: ``next_cursor`` of a page is the parameter ``cursor`` of the next; null or "" ends the
    list.

    ``has_more`` overrides the cursor; true without a cursor raises `APIResponseValidationError`, because the
    rest of the list would be missing. With ``back_param`` and ``back_field``, a call that passes the
    parameter ``back_param`` (such as ``before_id``) goes backwards. An empty page with a cursor does not end
    the list, because servers that filter send such pages.
    """

    next_cursor: str | None = None
    """The cursor of the next page; null or "" on the last page."""

    has_more: bool | None = None
    """False ends the list, whatever the cursor. None, the default, leaves it to the cursor."""

    cursor_param: ClassVar[str] = "cursor"
    """The name of the parameter with the cursor."""

    back_param: ClassVar[str | None] = None
    """The name of the parameter with the cursor for going backwards. None by default."""

    back_field: ClassVar[str | None] = None
    """The field with the cursor for going backwards. None by default."""

    send_in: ClassVar[SendIn] = "params"
    """Where to send the parameter: the query, the JSON body (at nested members by dots), or the headers."""

    cursor_field: ClassVar[str] = "next_cursor"
    """The field with the cursor of the next page."""

    has_more_field: ClassVar[str] = "has_more"
    """The field that is false on the last page."""

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
            and _requested(self, self.back_param, self.send_in) is not None
        ):
            param, field = self.back_param, self.back_field
        cursor = look_up(self, field)
        if cursor is None or cursor is msgspec.UNSET or cursor == "":
            if has_more is True:
                raise response.validation_error(
                    f"`{self.has_more_field}` is true, but `{field}` has no cursor for the next page"
                )
            return None
        return _send_with(self, self.send_in, param, cursor)


class NextURLPage(AsyncPage[T]):
    """Pages with the URL of the next page in ``next``, absolute or relative; null or "" ends the list."""

    next: str | None = None
    """The URL of the next page; null or "" on the last page."""

    next_field: ClassVar[str] = "next"
    """The field with the URL of the next page."""

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        """Return how to request the page after this one; None on the last page.

        Args:
            response: The response of this page.
        """
        url = look_up(self, self.next_field)
        return PageInfo(url=url) if url and url is not msgspec.UNSET else None


class LinkHeaderPage(AsyncPage[T]):
    """Pages with the URL of the next page in a Link header, ``rel="next"`` (RFC 8288).

    The body may be a bare array of the items, which is then in ``data``.
    """

    relation: ClassVar[str] = "next"
    """The relation of the link to the next page."""

    takes_array: ClassVar[bool] = True
    """Whether the body may be a bare JSON array of the items. True here."""

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
    value = _requested(page, name, send_in)
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        pass
    raise InvalidRequestError(f"the parameter {name!r} must be a whole number for {type(page).__name__}")


def _requested(page: AsyncPage[Any], name: str, send_in: SendIn) -> Any:
    """Return the value of *name* in the request for *page*, or None. Dots address nested members of the
    body.
    """
    if send_in == "params":
        return page.params.get(name)
    if send_in == "headers":
        headers = header_items(link_of(page).options.get("headers"))
        return next((value for key, value in headers if key.lower() == name.lower()), None)
    value: Any = _requested_body(page)
    for part in name.split("."):
        value = _object(value).get(part)
    return value


def _send_with(page: AsyncPage[Any], send_in: SendIn, name: str, value: Any) -> PageInfo:
    """Return the `PageInfo` that sets *name* to *value*, in the place that *send_in* names."""
    if send_in == "params":
        return PageInfo(params={name: value})
    if send_in == "headers":
        return PageInfo(headers={name: str(value)})
    first, *rest = name.split(".")
    if not rest:
        return PageInfo(json={first: value})
    member = _with_member(_requested_body(page).get(first), rest, value)
    if member is None:
        raise InvalidRequestError(
            f"the parameter {name!r} goes into the JSON body, which has no object there"
        )
    return PageInfo(json={first: member})


def _requested_body(page: AsyncPage[Any]) -> dict[str, Any]:
    options = link_of(page).options
    return mapping_of(merge_params(_object(options.get("json")), options.get("extra_body")))


def _with_member(value: Any, path: list[str], member: Any) -> Any:
    """Return *value* with *member* at *path*, in copies of its objects; None if *path* leads to no object."""
    if not path:
        return member
    if not (
        value is None or is_object(value) or isinstance(value, NotGiven | Omit) or value is msgspec.UNSET
    ):
        return None
    inner = _object(value)
    changed = _with_member(inner.get(path[0]), path[1:], member)
    return None if changed is None else {**inner, path[0]: changed}


def _object(value: Any) -> dict[str, Any]:
    """Return the members of a JSON object; an empty dict for any other value."""
    return mapping_of(iter_items(value)) if is_object(value) else {}
