"""The paginator, which the client creates for a call, and which starts a walk each time it is used."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, Union, cast, get_origin

import msgspec
from yarl import URL

from aioapiclient._body.body import Body
from aioapiclient._checks import check_flag, check_whole
from aioapiclient._codecs.type_check import check_is_type, name_of
from aioapiclient._options import RequestOptions
from aioapiclient._response.response import AsyncAPIResponse
from aioapiclient._types import NotGiven, Omit

from .next_request import mapping_of
from .page import AsyncPage
from .walk import Pass, Walk, items_of, pages_of

__all__ = ["AsyncPaginator", "FetchPage", "PageMaker"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
PageT_co = TypeVar("PageT_co", bound="AsyncPage[Any]", covariant=True)

FetchPage: TypeAlias = Callable[[str, str | URL, Any, RequestOptions], Awaitable[AsyncAPIResponse[Any]]]
"""Sends the request for one page: method, path, type to decode to, options."""


class PageMaker(Protocol[T, PageT_co]):
    """A page class as type checkers see it: ``NumberedPage`` with the model T is ``NumberedPage[T]``.

    Python's types cannot express "this class, subscripted". However, a generic class is also a generic
    function, whose result may depend on its argument. Every page class takes ``data``, a list of T.
    """

    def __call__(self, *, data: list[T]) -> PageT_co:
        """Create a page."""
        ...


class AsyncPaginator(Generic[T_co, PageT_co]):
    """A paginated list: ``async for`` yields its items, ``await`` returns its first page.

    `AsyncAPIClient.get_api_list` creates it.

    ::

        users = api.get_api_list("/users", model=User, page=NumberedPage)
        async for user in users: ...
        async for page in users.iter_pages(): ...
        first = await users

    Nothing is sent before that, and each of the three starts with the first page. Every page is a separate
    call, with its own retries and timeout. If the third page fails, the items of the first two have been
    yielded.

    Args:
        fetch: The async function that sends the request of one page.
        path: A path relative to the base URL, or an absolute URL.
        model: The type of one item.
        page: The page class.
        method: The HTTP method, ``"get"`` by default.
        limit: The maximum number of items to yield; None (the default) yields all.
        prefetch: Whether to request the next page while the items of the current one are used. False by
            default.
        options: The options of each call.

    Raises:
        InvalidRequestError: *limit* is below 0.
        TypeError: An argument has the wrong type, or *model* cannot be decoded.
    """

    def __init__(
        self,
        fetch: FetchPage,
        path: str | URL,
        *,
        model: Any,
        page: Any,
        method: str = "get",
        limit: int | None = None,
        prefetch: bool = False,
        options: RequestOptions | None = None,
    ) -> None:
        self._fetch = fetch
        self._path = path
        self._method = method
        self._page, self._type = _check_page(page, model)
        self._limit = _check_limit(limit)
        self._prefetch = check_flag("prefetch", prefetch)
        self._options = _prepared(options or {})

    def __repr__(self) -> str:
        return f"<AsyncPaginator of {self._page.__name__}>"

    def __await__(self) -> Generator[Any, Any, PageT_co]:
        return self._load_first(self._walk()).__await__()

    def __aiter__(self) -> AsyncGenerator[T_co, None]:
        return items_of(self._pass(), self._limit)

    def iter_pages(self) -> AsyncGenerator[PageT_co, None]:
        """Iterate over complete pages; with a limit, until they contain that many items.

        Raises:
            APIError: A call failed.
            APIResponseValidationError: A page does not fit its type, or was already seen.
        """
        return pages_of(self._pass())

    def _walk(self) -> Walk[Any]:
        return Walk(self._fetch, self._method, self._page, self._type, self._limit, self._prefetch)

    def _pass(self) -> Pass[Any]:
        walk = self._walk()
        return Pass(walk, lambda: self._load_first(walk))

    def _load_first(self, walk: Walk[Any]) -> Coroutine[Any, Any, Any]:
        walk.see_first(self._path, self._options)
        return walk.load(self._path, self._options, 0, 0)


def _check_limit(limit: object) -> int | None:
    if limit is None:
        return None
    return check_whole("limit", limit, unit="items", hint="None means unlimited")


def _check_page(page: Any, model: Any) -> tuple[type[AsyncPage[Any]], Any]:
    """Return the page class, and the type to decode a body to: the class with its model, possibly or an
    array.
    """
    cls = _page_class(page)
    if cls is None:
        raise TypeError(f"page must be a subclass of AsyncPage, such as NumberedPage, not {page!r}")
    base: Any = AsyncPage
    if cls.next_page_info is base.next_page_info:
        raise TypeError(
            f"page {cls.__name__} has no next_page_info(response); implement it, or subclass NumberedPage"
        )
    own_items = cls._get_page_items is not base._get_page_items  # pyright: ignore[reportPrivateUsage]
    from .checks import check_page_class

    check_page_class(cls, own_items)
    try:
        check_is_type(model)
    except TypeError as error:
        raise TypeError(f"model {name_of(model)} cannot be decoded: {error}") from None
    wire_type: Any = page[model] if getattr(page, "__parameters__", ()) else page
    if _accepts_array(cls):
        wire_type = Union[wire_type, list[model]]  # noqa: UP007  (a union made of values)
    return cls, wire_type


def _page_class(page: Any) -> type[AsyncPage[Any]] | None:
    cls: Any = get_origin(page) or page
    return cast("type[AsyncPage[Any]]", cls) if inspect.isclass(cls) and AsyncPage in cls.__mro__ else None


@lru_cache(maxsize=256)
def _accepts_array(cls: type[AsyncPage[Any]]) -> bool:
    """Return whether a page can be constructed from its items alone."""
    if not cls.takes_array or cls.items_field not in cls.__struct_fields__:
        return False
    return all(field.name == cls.items_field or not field.required for field in msgspec.structs.fields(cls))


# --- the options, prepared once for all pages

_DEEPEST = 100  # levels; the encoders reject deeper or cyclic values with a clear error


def _prepared(options: RequestOptions) -> RequestOptions:
    """Return *options* that can be sent for every page: one-shot iterators become lists."""
    prepared = cast("dict[str, Any]", options.copy())
    for name in ("json", "extra_body", "data"):
        if name in prepared:
            prepared[name] = _held(prepared[name])
    if prepared.get("params"):
        prepared["params"] = {name: _held(value) for name, value in mapping_of(prepared["params"]).items()}
    for name in ("ok_statuses", "middlewares"):
        if isinstance(prepared.get(name), Iterator):
            prepared[name] = tuple(prepared[name])
    content = prepared.get("content")
    if content is not None and not isinstance(content, NotGiven | Omit):
        # One body for all pages, which knows whether it was sent; a second one would be sent empty.
        prepared["content"] = Body(content)
    return cast("RequestOptions", prepared)


def _held(value: Any, depth: int = 0) -> Any:
    if depth >= _DEEPEST:
        return value
    if value.__class__ is dict:
        return {key: _held(member, depth + 1) for key, member in value.items()}
    if value.__class__ in (list, tuple) or isinstance(value, Iterator):
        return [_held(item, depth + 1) for item in cast("Iterator[Any]", value)]
    return value
