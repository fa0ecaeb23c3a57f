"""The request for the next page: `PageInfo` has its differences, and `next_request` applies them.

Another server receives no parameters and no body of the first call. Requests are compared by a key of their
URL, parameters, body and headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote_plus

import msgspec
from multidict import CIMultiDict, MultiMapping
from yarl import URL

from aioapiclient._query import iter_items, merge_params
from aioapiclient._types import Omit
from aioapiclient._url.base import check_url
from aioapiclient._url.links import follow_link
from aioapiclient._url.origins import is_same_server
from aioapiclient._url.template import template_of
from aioapiclient.errors import InvalidRequestError

if TYPE_CHECKING:
    from aioapiclient._options import RequestOptions
    from aioapiclient._response.response import AsyncAPIResponse

__all__ = ["PageInfo", "header_items", "key_of", "mapping_of", "next_request", "requested_url", "sent_key"]


class PageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The differences between the request for the next page and the current one."""

    params: Mapping[str, Any] = {}
    """Query parameters to merge over those of the request; `OMIT` removes a parameter. Empty by default."""

    url: str | URL | None = None
    """A URL that replaces the path; resolved against the response's URL (RFC 3986 §5.2), sent byte for byte.

    On the same origin, the request's own parameters are appended unless the URL already has them. To another
    origin, no parameter, body or credential of the first call is sent.
    """

    json: Mapping[str, Any] = {}
    """Members to merge over the JSON object of the body; `OMIT` removes a member. Empty by default."""

    headers: Mapping[str, str | Omit] = {}
    """Headers to merge over those of the call; `OMIT` removes a header. Empty by default."""


def next_request(
    path: str | URL, options: RequestOptions, response: AsyncAPIResponse[Any], info: PageInfo
) -> tuple[str | URL, RequestOptions]:
    """Return path and options of the next request, derived by *info* from the request of *response*."""
    options = options.copy()
    # An idempotency key identifies one request, and the next page is another request.
    options.pop("idempotency_key", None)
    if info.url is not None:
        path = _target(response, info.url)
        options.pop("path_params", None)
        if is_same_server(path, requested_url(response)):
            named = [unquote_plus(pair.partition("=")[0]) for pair in path.raw_query_string.split("&")]
            params = options.get("params", {})
            options["params"] = {
                name: params[name] for name in params if not any(_is_of(one, name) for one in named)
            }
        else:
            _strip_for_foreign_origin(response, options, info)
    if info.params:
        if template_of(path) is None and not options.get("path_params"):
            path = _without(check_url(path), info.params)
        options["params"] = mapping_of(merge_params(options.get("params"), info.params, keep_omitted=True))
    if info.json:
        options["extra_body"] = {**(options.get("extra_body") or {}), **info.json}
    if info.headers:
        options["headers"] = _with_headers(options.get("headers"), info.headers)
    return path, options


def _with_headers(headers: Any, more: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *headers* with *more* replacing those of the same name, in any case."""
    names = {name.lower() for name in more}
    kept = [(name, value) for name, value in header_items(headers) if name.lower() not in names]
    # A multidict may have a name more than once.
    return (
        CIMultiDict([*kept, *more.items()])
        if isinstance(headers, MultiMapping)
        else dict([*kept, *more.items()])
    )


def header_items(headers: Any) -> list[tuple[str, Any]]:
    """Return the items of a call's header layer; an invalid layer is reported by the call itself."""
    items = cast("Mapping[object, Any]", headers).items() if isinstance(headers, Mapping) else ()
    return [(str(name), value) for name, value in items]


def _strip_for_foreign_origin(
    response: AsyncAPIResponse[Any], options: RequestOptions, info: PageInfo
) -> None:
    """Remove the options that another origin must not receive; the chain removes the headers."""
    options.pop("params", None)
    if info.json or not options.keys().isdisjoint(("content", "data", "extra_body", "files", "json")):
        raise response.validation_error(
            "the next page is on another origin, and the body must not be sent there"
        )


def _target(response: AsyncAPIResponse[Any], reference: str | URL) -> URL:
    try:
        return follow_link(response.url, str(reference))
    except InvalidRequestError as error:
        raise response.validation_error(f"the link to the next page {error}") from None


def requested_url(response: AsyncAPIResponse[Any]) -> URL:
    """Return the URL before any redirect."""
    return response.history[0].url if response.history else response.url


def _is_of(name: str, param: str) -> bool:
    """Return whether the name of a query parameter belongs to *param*, including array and nested forms."""
    return name == param or name.startswith((f"{param}[", f"{param}."))


def _without(url: URL, params: Mapping[str, Any]) -> URL:
    """Return *url* without the parameters *params* in its query; all others are kept byte for byte."""
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


def key_of(target: str, params: Any, options: RequestOptions) -> str:
    """Return a key that identifies a request within its walk before it is sent."""
    headers = [(name.lower(), value) for name, value in header_items(options.get("headers"))]
    layers = (params, options.get("extra_body"), headers)
    return repr((target, *(sorted(map(repr, iter_items(layer or ()))) for layer in layers)))


def sent_key(response: AsyncAPIResponse[Any], options: RequestOptions) -> str:
    """Return the key of a request as it was sent, with the client's own parameters."""
    url = requested_url(response)
    pairs = sorted(url.raw_query_string.split("&"))
    return key_of(f"sent {url.scheme}://{url.raw_authority}{url.raw_path}?{'&'.join(pairs)}", None, options)


def mapping_of(params: Any) -> dict[str, Any]:
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
