"""Pages: iterate over a paginated list, item by item or page by page.

`AsyncPaginator` walks; a page class knows which request comes next, and `_pages` has the usual kinds. The
two meet in `PageInfo`, which says how the request for the next page differs. This module needs one function
of the client, which sends the request for a page: so every page passes the whole chain, with its own
retries and deadline, and a link to another origin is treated like any absolute URL.

A page is a msgspec Struct, decoded straight from the body. Its origin (the response, the request,
the walk) is in its ``__dict__``, which Structs with ``dict=True`` have and msgspec ignores: it is not part
of the wire format, ``==``, ``repr`` or ``asdict``, it lives as long as the page, and it costs 0.2 us and
200 bytes per page. A separate table would need hashable pages, and a wrapper would not be the Struct that
the caller asked for.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator, Mapping
from functools import lru_cache
from typing import (
    Any,
    ClassVar,
    Generic,
    Literal,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_origin,
)
from urllib.parse import unquote_plus

import msgspec
from multidict import CIMultiDict, MultiMapping
from yarl import URL

from ._body.body import Body
from ._checks import check_flag, check_whole
from ._codecs.type_check import check_is_type, name_of
from ._options import RequestOptions
from ._page_checks import check_page_class
from ._query import is_object, iter_items, merge_params
from ._response import AsyncAPIResponse
from ._types import NotGiven, Omit
from ._url.base import check_url
from ._url.links import follow_link
from ._url.origins import is_same_server
from ._url.template import template_of
from .errors import InvalidRequestError

__all__ = [
    "AsyncPage",
    "AsyncPaginator",
    "PageInfo",
    "PageMaker",
    "SendIn",
    "look_up",
    "request_param",
    "send_with",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
PageT = TypeVar("PageT", bound="AsyncPage[Any]")
PageT_co = TypeVar("PageT_co", bound="AsyncPage[Any]", covariant=True)

FetchPage: TypeAlias = Callable[[str, str | URL, Any, RequestOptions], Awaitable[AsyncAPIResponse[Any]]]
"""Sends the request for one page: method, path, type to decode to, options."""

_RESPONSE: Any = AsyncAPIResponse  # subscripted with types that are made at run time


class PageMaker(Protocol[T, PageT_co]):
    """A page class, as type checkers see it: ``NumberedPage`` with a model of T is ``NumberedPage[T]``.

    Python's types cannot express "this class, subscripted". But a generic class is a generic function too,
    and a function's result may depend on its argument. Every page class takes ``data``, a list of T.
    """

    def __call__(self, *, data: list[T]) -> PageT_co:
        """Create a page."""
        ...


class PageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How the request for the next page differs from the current one. The rest stays the same."""

    params: Mapping[str, Any] = {}
    """Query parameters to merge over the request's; `OMIT` removes one. None by default."""

    url: str | URL | None = None
    """Replaces the path; resolved against the response's URL (RFC 3986 §5.2) and sent byte for byte.

    On the same origin, the request's own parameters are appended unless the URL has them already. On another
    origin, no parameter, body or credential of the first call is sent.
    """

    json: Mapping[str, Any] = {}
    """Members to merge over the JSON object of the body; `OMIT` removes one. None by default."""

    headers: Mapping[str, str | Omit] = {}
    """Headers to merge over those of the call; `OMIT` removes one. None by default."""


# --- the walk


class _Walk(Generic[PageT]):
    """One walk through a list from its first page: how to request a page, and which ones were seen."""

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
        # Two spellings of one URL are two requests before they are sent, and one as it was sent.
        self._see(_sent_key(response, options), number, response)
        page = self._decode(response)
        vars(page)["_link"] = _Link(self, path, options, response, number, before)
        return page

    async def follow(self, page: PageT) -> PageT | None:
        """Return the page after *page*; None after the last."""
        info = _next_info(page)
        if info is None:
            return None
        link = _link_of(page)
        path, options = _next_request(link, info)
        self._see(_key(str(path), options.get("params"), options), link.number + 1, link.response)
        return await self.load(path, options, link.number + 1, link.before + len(_items(page)))

    def see_first(self, path: str | URL, options: RequestOptions) -> None:
        """Remember the request for the first page."""
        self._seen[_key(str(path), options.get("params"), options)] = 0

    def _see(self, key: str, number: int, response: AsyncAPIResponse[Any]) -> None:
        # A page that is requested twice, by hand, keeps its number; one that occurs again later is a loop.
        if self._seen.setdefault(key, number) < number and not self._page.may_repeat:
            raise response.validation_error("the next page is this one, or one that was seen before")

    def _decode(self, response: AsyncAPIResponse[Any]) -> PageT:
        # Not by response.parse(): it keeps its result, and page and response would reference each other.
        value = response._decode_as(self._type)
        if value.__class__ is list:  # a bare array
            return self._page(**{self._page.items_field: value})
        return cast("PageT", value)


class _Link:
    """The request and response of a page."""

    __slots__ = ("before", "number", "options", "path", "response", "walk")

    def __init__(
        self,
        walk: _Walk[Any],
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


class _Pass(Generic[PageT]):
    """One pass over the pages of a walk, with at most one page requested ahead."""

    def __init__(self, walk: _Walk[PageT], first: Callable[[], Awaitable[PageT]]) -> None:
        self._walk = walk
        self._first = first
        self._page: PageT | None = None
        self._ahead: asyncio.Task[PageT | None] | None = None

    async def next(self) -> PageT | None:
        """Return the next page; None after the last."""
        if self._ahead is not None:
            page = await self._ahead
            self._ahead = None
        elif self._page is not None:
            page = await self._walk.follow(self._page)
        else:
            page = None if self._walk.limit == 0 else await self._first()
        self._page = page
        if page is not None and self._walk.prefetch:
            # All of it in the task: an error of the next page must not cost the items of this one.
            self._ahead = asyncio.create_task(self._walk.follow(page))
        return page

    async def close(self) -> None:
        """Cancel a page that was requested ahead, and wait until its task has ended."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.wait([self._ahead])
            if not self._ahead.cancelled():
                self._ahead.exception()  # retrieved, so that asyncio does not log it


async def _pages_of(steps: _Pass[PageT]) -> AsyncGenerator[PageT, None]:
    try:
        while (page := await steps.next()) is not None:
            yield page
    finally:
        await steps.close()


async def _items_of(steps: _Pass[Any], limit: int | None) -> AsyncGenerator[Any, None]:
    # Not over _pages_of: with nested generators, a `break` closes only the outer one immediately.
    try:
        while (page := await steps.next()) is not None:
            items = _items(page)
            for item in items if limit is None else items[: limit - _link_of(page).before]:
                yield item
    finally:
        await steps.close()


def _items(page: AsyncPage[Any]) -> list[Any]:
    # One leading underscore, as in the SDKs that this follows: subclasses override it, this module calls it.
    return page._get_page_items()  # pyright: ignore[reportPrivateUsage]


# --- the request for the next page


def _next_info(page: AsyncPage[Any]) -> PageInfo | None:
    link = _link_of(page)
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


def _next_request(link: _Link, info: PageInfo) -> tuple[str | URL, RequestOptions]:
    """Return path and options of the request that *info* derives from the one behind *link*."""
    path, options = link.path, link.options.copy()
    # An idempotency key identifies one request, and the next page is another.
    options.pop("idempotency_key", None)
    if info.url is not None:
        path = _target(link.response, info.url)
        options.pop("path_params", None)
        if is_same_server(path, _requested_url(link.response)):
            named = [unquote_plus(pair.partition("=")[0]) for pair in path.raw_query_string.split("&")]
            params = options.get("params", {})
            options["params"] = {
                name: params[name] for name in params if not any(_is_of(one, name) for one in named)
            }
        else:
            _strip_for_foreign_origin(link, options, info)
    if info.params:
        if template_of(path) is None and not options.get("path_params"):
            path = _without(check_url(path), info.params)
        options["params"] = _mapping(merge_params(options.get("params"), info.params, keep_omitted=True))
    if info.json:
        options["extra_body"] = {**(options.get("extra_body") or {}), **info.json}
    if info.headers:
        options["headers"] = _with_headers(options.get("headers"), info.headers)
    return path, options


def _with_headers(headers: Any, more: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *headers* with *more* replacing those of the same name, in any case."""
    names = {name.lower() for name in more}
    kept = [(name, value) for name, value in _header_items(headers) if name.lower() not in names]
    # A multidict may have a name more than once.
    return (
        CIMultiDict([*kept, *more.items()])
        if isinstance(headers, MultiMapping)
        else dict([*kept, *more.items()])
    )


def _header_items(headers: Any) -> list[tuple[str, Any]]:
    """Return the items of a call's header layer; the call itself reports an invalid layer."""
    items = cast("Mapping[object, Any]", headers).items() if isinstance(headers, Mapping) else ()
    return [(str(name), value) for name, value in items]


def _strip_for_foreign_origin(link: _Link, options: RequestOptions, info: PageInfo) -> None:
    """Remove from *options* what another origin must not see; the chain removes the headers."""
    options.pop("params", None)
    if info.json or not options.keys().isdisjoint(("content", "data", "extra_body", "files", "json")):
        raise link.response.validation_error(
            "the next page is on another origin, and the body must not be sent there"
        )


def _target(response: AsyncAPIResponse[Any], reference: str | URL) -> URL:
    try:
        return follow_link(response.url, str(reference))
    except InvalidRequestError as error:
        raise response.validation_error(f"the link to the next page {error}") from None


def _requested_url(response: AsyncAPIResponse[Any]) -> URL:
    """Return the URL before any redirect."""
    return response.history[0].url if response.history else response.url


def _is_of(name: str, param: str) -> bool:
    """Return whether *name*, of a pair in a query, belongs to *param*, in array and nested forms too."""
    return name == param or name.startswith((f"{param}[", f"{param}."))


def _without(url: URL, params: Mapping[str, Any]) -> URL:
    """Return *url* without the pairs of *params* in its query; the others stay byte for byte."""
    pairs = [
        pair
        for pair in url.raw_query_string.split("&")
        if not any(_is_of(unquote_plus(pair.partition("=")[0]), str(param)) for param in params)
    ]
    return URL.build(
        scheme=url.scheme,
        authority=url.raw_authority,
        path=url.raw_path,
        query_string="&".join(pairs),
        encoded=True,
    )


def _key(target: str, params: Any, options: RequestOptions) -> str:
    headers = [(name.lower(), value) for name, value in _header_items(options.get("headers"))]
    layers = (params, options.get("extra_body"), headers)
    return repr((target, *(sorted(map(repr, iter_items(layer or ()))) for layer in layers)))


def _sent_key(response: AsyncAPIResponse[Any], options: RequestOptions) -> str:
    url = _requested_url(response)
    pairs = sorted(url.raw_query_string.split("&"))
    return _key(f"sent {url.scheme}://{url.raw_authority}{url.raw_path}?{'&'.join(pairs)}", None, options)


# --- the options, prepared once for all pages

_DEEPEST = 100  # levels; the encoders reject deeper or cyclic values with a clear error


def _prepared(options: RequestOptions) -> RequestOptions:
    """Return *options* that can be sent for every page: one-shot iterators become lists."""
    prepared = cast("dict[str, Any]", options.copy())
    for name in ("json", "extra_body", "data"):
        if name in prepared:
            prepared[name] = _held(prepared[name])
    if prepared.get("params"):
        prepared["params"] = {name: _held(value) for name, value in _mapping(prepared["params"]).items()}
    for name in ("ok_statuses", "middlewares"):
        if isinstance(prepared.get(name), Iterator):
            prepared[name] = tuple(prepared[name])
    content = prepared.get("content")
    if content is not None and not isinstance(content, NotGiven | Omit):
        # One body for all pages: it knows whether it was sent; a second one would be sent empty.
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


def _mapping(params: Any) -> dict[str, Any]:
    """Return *params* as a dict; the values of a repeated name are a list."""
    found: dict[str, Any] = {}
    repeated: set[str] = set()
    for name, value in iter_items(params):
        if name not in found:
            found[name] = value
        elif name in repeated:
            found[name].append(value)
        else:
            repeated.add(name)
            found[name] = [found[name], value]
    return found


# --- pages


def _link_of(page: AsyncPage[Any]) -> _Link:
    link: _Link | None = vars(page).get("_link")
    if link is None:
        raise InvalidRequestError(
            f"This {type(page).__name__} did not come from get_api_list (it was constructed or copied), "
            "so it has no response and no next page"
        )
    return link


class PageMeta(msgspec.StructMeta):
    """Make the fields of every page class keyword-only, so that their order does not matter.

    msgspec's ``kw_only`` applies to the class that names it and not to its subclasses.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **config: Any) -> Any:
        config.setdefault("kw_only", True)
        return super().__new__(cls, name, bases, namespace, **config)


@dataclass_transform(kw_only_default=True, field_specifiers=(msgspec.field,))
class AsyncPage(
    msgspec.Struct, Generic[T], metaclass=PageMeta, dict=True, kw_only=True, repr_omit_defaults=True
):
    """One page of a list, to subclass: its fields are the members of the body, and ``data`` has its items.

    ::

        class Search(AsyncPage[T]):
            results: list[T]
            bookmark: str | None = None

            items_field: ClassVar[str] = "results"

            def next_page_info(self, response: AsyncAPIResponse[Any]) -> PageInfo | None:
                return PageInfo(params={"bookmark": self.bookmark}) if self.bookmark else None

    The subclasses for common kinds of pages need no method. Class attributes that end in ``_field`` name what
    they read: attributes of the page, with dots to go deeper (``meta.next``, ``data.-1.id``). ``async for``
    over a page yields its items and those of all later pages.
    """

    data: list[T] = cast("Any", msgspec.UNSET)
    """The items, unless ``items_field`` names another field."""

    items_field: ClassVar[str] = "data"
    """The field that has the items, with dots to go deeper."""

    empty_page_ends: ClassVar[bool] = False
    """Whether a page without items is the last, whatever else it says. False by default."""

    takes_array: ClassVar[bool] = False
    """Whether the body may be a bare JSON array of the items. False by default."""

    may_repeat: ClassVar[bool] = False
    """Whether repeating a request may return the next page, because the server keeps the position.

    False by default: a repeated request is a loop and raises `APIResponseValidationError`.
    """

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        """Return how to request the page after this one; None on the last page. Subclasses implement it.

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
            raise _link_of(self).response.validation_error(
                f"Object missing required field `{self.items_field}`, which has the items of a page"
            )
        return cast("list[T]", [] if items is None else items)

    @property
    def response(self) -> AsyncAPIResponse[Any]:
        """The response of this page.

        Raises:
            InvalidRequestError: The page was constructed by hand, or copied.
        """
        return _link_of(self).response

    @property
    def params(self) -> Mapping[str, Any]:
        """The query parameters of the request for this page; those of its URL are text.

        The client's default parameters are not included.

        Raises:
            InvalidRequestError: The page was constructed by hand, or copied.
        """
        link = _link_of(self)
        query = str(link.path).partition("?")[2]
        pairs = [pair.partition("=") for pair in query.split("&") if pair]
        own = _mapping([(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs])
        return _mapping(merge_params(own, link.options.get("params")))

    def has_next_page(self) -> bool:
        """Return whether there is a page after this one. False, too, once ``limit`` items were reached.

        Raises:
            InvalidRequestError: The page was constructed by hand, or copied.
        """
        return _next_info(self) is not None

    async def get_next_page(self) -> Self:
        """Request the page after this one and return it.

        Raises:
            InvalidRequestError: There is no next page (`has_next_page` is False), or this page was
                constructed by hand, or copied.
            APIResponseValidationError: The next page is one that was seen before.
            APIError: The call failed; see `AsyncAPIClient.request`.
        """
        page = await _link_of(self).walk.follow(self)
        if page is None:
            raise InvalidRequestError("There is no next page; check has_next_page() first")
        return cast("Self", page)

    def iter_pages(self) -> AsyncGenerator[Self, None]:
        """Iterate over this page and all later ones.

        Raises:
            InvalidRequestError: The page was constructed by hand, or copied.
            APIError: A call failed.
        """
        return _pages_of(self._from_here())

    def __aiter__(self) -> AsyncGenerator[T, None]:
        return _items_of(self._from_here(), _link_of(self).walk.limit)

    def _from_here(self) -> _Pass[Self]:
        async def itself() -> Self:
            return self

        return _Pass(_link_of(self).walk, itself)


def look_up(page: AsyncPage[Any], field: str) -> Any:
    """Return the value of *field* in *page*: None if it is missing, ``UNSET`` if the body left it out."""
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


SendIn: TypeAlias = Literal["params", "json", "headers"]
"""Where to send the parameter that selects the next page: the query, the JSON body, or the headers."""


def request_param(page: AsyncPage[Any], name: str, send_in: SendIn) -> Any:
    """Return the value of *name* in the request for *page*, or None. Dots go deeper into the body."""
    if send_in == "params":
        return page.params.get(name)
    if send_in == "headers":
        headers = _header_items(_link_of(page).options.get("headers"))
        return next((value for key, value in headers if key.lower() == name.lower()), None)
    value: Any = _requested_body(page)
    for part in name.split("."):
        value = _object(value).get(part)
    return value


def send_with(page: AsyncPage[Any], send_in: SendIn, name: str, value: Any) -> PageInfo:
    """Return the info that requests the next page with *value* as *name*, in the place of *send_in*."""
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
            f"The parameter {name!r} goes into the JSON body, which has no object there"
        )
    return PageInfo(json={first: member})


def _requested_body(page: AsyncPage[Any]) -> dict[str, Any]:
    options = _link_of(page).options
    return _mapping(merge_params(_object(options.get("json")), options.get("extra_body")))


def _with_member(value: Any, path: list[str], member: Any) -> Any:
    """Return *value* with *member* at *path*, in copies of the objects there; None without one."""
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
    """Return the members of a JSON object; anything else has none."""
    return _mapping(iter_items(value)) if is_object(value) else {}


# --- the paginator


class AsyncPaginator(Generic[T_co, PageT_co]):
    """A paginated list: ``async for`` yields its items, ``await`` returns its first page.

    `AsyncAPIClient.get_api_list` creates it.

    ::

        users = api.get_api_list("/users", model=User, page=NumberedPage)
        async for user in users: ...
        async for page in users.iter_pages(): ...
        first = await users

    Nothing is sent before that, and each of the three starts again with the first page. Every page is a
    call of its own, with its own retries and timeout. If the third page fails, the items of the first two
    have been yielded.

    Args:
        fetch: The async function that sends the request of one page.
        path: A path relative to the base URL, or an absolute URL.
        model: The type of one item.
        page: The page class.
        method: The HTTP method, ``"get"`` by default.
        limit: The most items to yield; None (the default) yields all.
        prefetch: Whether to request the next page while the items of one are used. False by default.
        options: The options of each call.

    Raises:
        InvalidRequestError: *limit* is below 0.
        TypeError: An argument has the wrong type, or *page* cannot hold *model*.
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
        return _items_of(self._pass(), self._limit)

    def iter_pages(self) -> AsyncGenerator[PageT_co, None]:
        """Iterate over whole pages; with a limit, over as many as hold that many items.

        Raises:
            APIError: A call failed.
            APIResponseValidationError: A page does not fit its type, or was seen before.
        """
        return _pages_of(self._pass())

    def _walk(self) -> _Walk[Any]:
        return _Walk(self._fetch, self._method, self._page, self._type, self._limit, self._prefetch)

    def _pass(self) -> _Pass[Any]:
        walk = self._walk()
        return _Pass(walk, lambda: self._load_first(walk))

    def _load_first(self, walk: _Walk[Any]) -> Coroutine[Any, Any, Any]:
        walk.see_first(self._path, self._options)
        return walk.load(self._path, self._options, 0, 0)


def _check_limit(limit: object) -> int | None:
    if limit is None:
        return None
    return check_whole("limit", limit, unit="items", hint="None is no limit")


def _check_page(page: Any, model: Any) -> tuple[type[AsyncPage[Any]], Any]:
    """Return the page class and the type to decode a body to: the class with its model, or an array too."""
    cls = _page_class(page)
    if cls is None:
        raise TypeError(f"page must be a subclass of AsyncPage, such as NumberedPage, not {page!r}")
    base: Any = AsyncPage
    if cls.next_page_info is base.next_page_info:
        raise TypeError(
            f"page {cls.__name__} has no next_page_info(response); implement it, or use NumberedPage ..."
        )
    own_items = cls._get_page_items is not base._get_page_items  # pyright: ignore[reportPrivateUsage]
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
    """Return whether a page can be constructed from just its items."""
    if not cls.takes_array or cls.items_field not in cls.__struct_fields__:
        return False
    return all(field.name == cls.items_field or not field.required for field in msgspec.structs.fields(cls))
