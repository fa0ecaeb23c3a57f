"""From the words of a call to its `APIRequest`: once per call, before the chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from yarl import URL

from aioapiclient._body.body import build_body
from aioapiclient._headers import check_layer, check_token, check_value, overlay
from aioapiclient._options import check_mapping, resolve_settings
from aioapiclient._request import APIRequest
from aioapiclient._types import NOT_GIVEN, RequestOptions, as_timeout
from aioapiclient._url.template import template_of
from aioapiclient.errors import InvalidRequestError

from .config import Config

__all__ = ["build_request"]

_COMMON_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_KEYED_METHODS: Final = frozenset({"POST", "PATCH"})
_NO_PARAMS: Final[Mapping[str, Any]] = MappingProxyType({})


def build_request(
    config: Config,
    method: str,
    path: str | URL,
    cast_to: Any,
    given: RequestOptions,
    *,
    stream: bool,
    accept: str,
    default_params: Mapping[str, Any],
    make_key: Callable[[], str],
) -> APIRequest:
    """The request of one call: URL, header layer, encoded body and settings.

    Raises `InvalidRequestError` and `TypeError` for what cannot be sent.
    """
    path_params = given.get("path_params") or _NO_PARAMS
    if path_params is not _NO_PARAMS:
        check_mapping("path_params", path_params)
    request = APIRequest(
        _checked_method(method),
        config.base.build(
            path,
            path_params,
            given.get("params"),
            default_params=default_params,
            style=config.query_style,
        ),
        cast_to=cast_to,
        stream=stream,
        template=template_of(path),
        timeout=config.stream_timeout if stream else config.timeout,
        settings=config.settings,
        accept=accept,
        home=config.base,
        path_params=path_params,
    )
    if given:
        _apply_options(config, request, given)
    if config.idempotency_header is not None:
        _apply_key(request, config.idempotency_header, given.get("idempotency_key"), make_key)
    elif given.get("idempotency_key") is not None:
        raise InvalidRequestError(
            "An idempotency_key was given, but the client has no idempotency_header to send it in"
        )
    return request


def _apply_options(config: Config, request: APIRequest, given: RequestOptions) -> None:
    if "headers" in given:
        request.call_headers = check_layer(given["headers"])
        overlay(request.headers, request.call_headers)
    if not _OF_A_BODY.isdisjoint(given):
        _apply_body(config, request, given)
    if "timeout" in given:
        request.timeout = as_timeout(given["timeout"]).over(request.timeout)
    request.settings = resolve_settings(config.settings, given)
    if "idempotent" in given:
        request.idempotent = _checked_idempotent(given["idempotent"])
    extensions = given.get("extensions")
    if extensions:
        request.extensions = dict(check_mapping("extensions", extensions))


_OF_A_BODY: Final = frozenset({"json", "data", "content", "files", "extra_body", "progress"})


def _apply_body(config: Config, request: APIRequest, given: RequestOptions) -> None:
    request.body = build_body(
        json=given.get("json", NOT_GIVEN),
        data=given.get("data"),
        content=given.get("content"),
        files=given.get("files"),
        extra_body=given.get("extra_body"),
        style=config.query_style,
        enc_hook=config.enc_hook,
        content_type=request.headers.get("Content-Type"),
        progress=given.get("progress"),
    )
    if given.get("files") is not None and request.body is not None and request.body.content_type:
        # It names the boundary: no lower layer may say otherwise.
        request.add_call_headers({"Content-Type": request.body.content_type})


def _apply_key(request: APIRequest, name: str, key: str | None, make_key: Callable[[], str]) -> None:
    """Give the request its idempotency key: the caller's, or a new one where the method needs one."""
    if request.call_sets(name):
        request.idempotency_key = request.headers.get(name)
    elif key is not None or request.method in _KEYED_METHODS:
        request.idempotency_key = make_key() if key is None else key
        request.headers[name] = check_value(name, request.idempotency_key)


def _checked_method(method: object) -> str:
    if not isinstance(method, str):
        raise TypeError(f"The method must be a str, not {type(method).__name__}")
    if method in _COMMON_METHODS:
        return method
    if not (method.isascii() and method.isalpha()):
        check_token(method, "The method")
    return method.upper()


def _checked_idempotent(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise TypeError(f"idempotent must be a bool, not {type(value).__name__}")
