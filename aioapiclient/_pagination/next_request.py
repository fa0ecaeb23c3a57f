"""The request for the next page: `PageInfo` names its differences, and `next_request` applies them.

Another server gets no parameter and no body of the first call. Two requests are compared by a key of
their URL, parameters, body and headers.
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


def next_request(
    path: str | URL, options: RequestOptions, response: AsyncAPIResponse[Any], info: PageInfo
) -> tuple[str | URL, RequestOptions]:
    """Return path and options of the request that *info* derives from the one that *response* answered."""
    options = options.copy()
    # An idempotency key identifies one request, and the next page is another.
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
    """Return the items of a call's header layer; the call itself reports an invalid layer."""
    items = cast("Mapping[object, Any]", headers).items() if isinstance(headers, Mapping) else ()
    return [(str(name), value) for name, value in items]


def _strip_for_foreign_origin(
    response: AsyncAPIResponse[Any], options: RequestOptions, info: PageInfo
) -> None:
    """Remove from *options* what another origin must not see; the chain removes the headers."""
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


def key_of(target: str, params: Any, options: RequestOptions) -> str:
    """Return what tells a request from another one of the same walk, before it is sent."""
    headers = [(name.lower(), value) for name, value in header_items(options.get("headers"))]
    layers = (params, options.get("extra_body"), headers)
    return repr((target, *(sorted(map(repr, iter_items(layer or ()))) for layer in layers)))


def sent_key(response: AsyncAPIResponse[Any], options: RequestOptions) -> str:
    """Return the same for a request as it was sent, with the client's own parameters."""
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
