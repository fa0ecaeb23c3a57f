"""A page: the Struct to which a body is decoded, and which can request the next page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar, cast, dataclass_transform
from urllib.parse import unquote_plus

import msgspec

from aioapiclient._query import merge_params
from aioapiclient._response.response import AsyncAPIResponse
from aioapiclient.errors import InvalidRequestError

from .next_request import PageInfo, mapping_of
from .walk import Pass, items_of, link_of, next_info, pages_of

__all__ = ["AsyncPage", "look_up"]

T = TypeVar("T")


class PageMeta(msgspec.StructMeta):
    """Makes the fields of every page class keyword-only, so that their order does not matter.

    msgspec's ``kw_only`` applies only to the class that sets it, not to its subclasses.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **config: Any) -> Any:
        config.setdefault("kw_only", True)
        return super().__new__(cls, name, bases, namespace, **config)


@dataclass_transform(kw_only_default=True, field_specifiers=(msgspec.field,))
class AsyncPage(
    msgspec.Struct, Generic[T], metaclass=PageMeta, dict=True, kw_only=True, repr_omit_defaults=True
):
    """One page of a list, to be subclassed: its fields are the members of the body, and ``data`` has its
    items.

    ::

        class Search(AsyncPage[T]):
            results: list[T]
            bookmark: str | None = None

            items_field: ClassVar[str] = "results"

            def next_page_info(self, response: AsyncAPIResponse[Any]) -> PageInfo | None:
                return PageInfo(params={"bookmark": self.bookmark}) if self.bookmark else None

    The subclasses for common kinds of pages need no methods. Class attributes that end in ``_field`` name
    attributes of the page, with dots for nested ones (``meta.next``, ``data.-1.id``). ``async for`` over a
    page yields its items and those of all later pages.
    """

    data: list[T] = cast("Any", msgspec.UNSET)
    """The items, unless ``items_field`` names another field."""

    items_field: ClassVar[str] = "data"
    """The field with the items, with dots for nested fields."""

    empty_page_ends: ClassVar[bool] = False
    """Whether a page without items is always the last one. False by default."""

    takes_array: ClassVar[bool] = False
    """Whether the body may be a bare JSON array of the items. False by default."""

    may_repeat: ClassVar[bool] = False
    """Whether a repeated request may return the next page, because the server keeps the position.

    False by default: a repeated request is a loop and raises `APIResponseValidationError`.
    """

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        """Return how to request the page after this one; None on the last page. Subclasses must implement it.

        Args:
            response: The response of this page.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement next_page_info")

    def _get_page_items(self) -> list[T]:
        """Return the items of this page; null counts as none.

        Raises:
            APIResponseValidationError: The body has no such member.
        """
        items = look_up(self, self.items_field)
        if items is msgspec.UNSET:
            raise link_of(self).response.validation_error(
                f"the body has no member `{self.items_field}`, which has the items of a page"
            )
        return cast("list[T]", [] if items is None else items)

    @property
    def response(self) -> AsyncAPIResponse[Any]:
        """The response of this page.

        Raises:
            InvalidRequestError: The page was constructed by hand, or copied.
        """
        return link_of(self).response

    @property
    def params(self) -> Mapping[str, Any]:
        """The query parameters of the request for this page; those in its URL are strings.

        The client's default parameters are not included.

        Raises:
            InvalidRequestError: The page was constructed by hand, or copied.
        """
        link = link_of(self)
        query = str(link.path).partition("?")[2]
        pairs = [pair.partition("=") for pair in query.split("&") if pair]
        own = mapping_of([(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs])
        return mapping_of(merge_params(own, link.options.get("params")))

    def has_next_page(self) -> bool:
        """Return whether another page follows; False also if ``limit`` items have been reached.

        Raises:
            InvalidRequestError: The page was constructed by hand, or copied.
        """
        return next_info(self) is not None

    async def get_next_page(self) -> Self:
        """Request the page after this one and return it.

        Raises:
            InvalidRequestError: This is the last page (`has_next_page` returns False), or this page was
                constructed by hand, or copied.
            APIResponseValidationError: The next page was already seen.
            APIError: The call failed; see `AsyncAPIClient.request`.
        """
        page = await link_of(self).walk.follow(self)
        if page is None:
            raise InvalidRequestError("this is the last page; check has_next_page() first")
        return cast("Self", page)

    def iter_pages(self) -> AsyncGenerator[Self, None]:
        """Iterate over this page and all later ones.

        Raises:
            InvalidRequestError: The page was constructed by hand, or copied.
            APIError: A call failed.
        """
        return pages_of(self._from_here())

    def __aiter__(self) -> AsyncGenerator[T, None]:
        return items_of(self._from_here(), link_of(self).walk.limit)

    def _from_here(self) -> Pass[Self]:
        async def itself() -> Self:
            return self

        return Pass(link_of(self).walk, itself)


def look_up(page: AsyncPage[Any], field: str) -> Any:
    """Return the value of *field* in *page*: None if it is missing, ``UNSET`` if the body does not have
    it.
    """
    value: Any = page
    for name in field.split("."):
        value = _member(value, name)
    return value


def _member(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value).get(name)
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        index = int(name) if name.removeprefix("-").isdecimal() else len(items)
        return items[index] if -len(items) <= index < len(items) else None
    return getattr(value, name, None)
