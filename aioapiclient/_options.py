"""The options of a call and of a client; layering and checking the options of a call."""

# Not `from __future__ import annotations`: a TypedDict would compile each of its annotations at the import.

__lazy_modules__: tuple[str, ...] = ("aioapiclient._codecs.custom",)

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict, cast

import msgspec
from yarl import URL

from ._body.body import Body
from ._body.files import Files
from ._body.sources import Content
from ._checks import check_flag, check_statuses, check_whole, closest
from ._codecs.custom import Decoders
from ._codecs.error_bodies import check_error_types
from ._progress import Progress
from ._query import QueryStyle
from ._request import CallSettings
from ._types import NOT_GIVEN, ErrorTypes, HeaderLayer, Params, Timeout, check_max_retries
from .contract import Auth, Middleware, MiddlewareEntry
from .middleware.retry import RetryPolicy

__all__ = [
    "CallOptions",
    "ClientOptions",
    "RequestOptions",
    "check_names",
    "layer_options",
    "resolve_settings",
]


class CallOptions(TypedDict, total=False):
    """The options that a user of an SDK may set on one call; the SDK passes them on as ``options=``."""

    headers: HeaderLayer
    """Headers, merged over the client's ``default_headers``; `OMIT` removes a header."""

    params: Params
    """Query parameters, merged over the client's ``default_params``; `OMIT` removes a parameter."""

    extra_body: Mapping[str, Any]
    """Additional members of the JSON object that is sent; they replace members of the same name."""

    timeout: Timeout | float | None
    """The limits of this call, in seconds. A number limits the whole call; None removes every limit."""

    max_retries: int
    """The maximum number of attempts after the first; 0 disables retries."""

    retry: RetryPolicy
    """The retry policy of this call, instead of the client's."""

    auth: Auth | None
    """The credential of this call, instead of the client's; None sends no credential."""

    idempotency_key: str
    """The value of the client's ``idempotency_header``, the same on every attempt; random by default."""

    idempotent: bool
    """Whether the request is safe to repeat; by default the method decides (RFC 9110 §9.2.2)."""

    ok_statuses: Iterable[int]
    """Statuses outside 2xx that count as success in this call."""

    error_types: ErrorTypes
    """The types of error bodies by status, ``"4XX"`` or ``"default"``; merged over the client's."""

    follow_redirects: bool
    """Whether redirects are followed; by default the client's setting applies."""

    max_body: int | None
    """The maximum size of a buffered response body in bytes, decompressed; None removes the limit."""

    decompress: bool
    """Whether to decompress the body of a success (the default). False keeps it as the server encoded it."""

    middlewares: Iterable[MiddlewareEntry]
    """Additional middlewares for this call, inside the client's middlewares of the same kind."""

    progress: Progress | None
    """Reports the upload: an object with ``update(n)``, such as a tqdm bar; n is a number of bytes sent."""

    extensions: Mapping[str, Any]
    """Values for your middlewares, in ``request.extensions``; merged over those that the SDK sets."""


class RequestOptions(CallOptions, total=False):
    """The options that an SDK method may set on one call: `CallOptions`, and the parts of the request."""

    path_params: Mapping[str, Any]
    """Values for the ``{name}`` placeholders of the path, each encoded as one segment."""

    json: Any
    """The body, encoded as JSON by msgspec."""

    data: Mapping[str, Any] | Iterable[tuple[str, Any]]
    """The body, encoded as a form: a mapping, or pairs if a name repeats."""

    files: Files
    """Files to send as ``multipart/form-data``, with ``data`` for the other fields."""

    content: Content | Body
    """The body, sent unchanged: bytes, text, a path, a binary file, or an iterable of bytes, async or not."""


class ClientOptions(TypedDict, total=False):
    """The keywords of `with_options`: those of the constructor, except ``session`` and ``transport``."""

    base_url: str | URL
    """The base URL of the API."""

    version: str
    """The version of the SDK, for ``User-Agent``."""

    auth: Auth | None
    """The credential; None sends none."""

    default_headers: HeaderLayer | None
    """Headers of every call, merged over those of the client; `OMIT` removes a header."""

    default_params: Params | None
    """Query parameters of every call, merged over those of the client; `OMIT` removes a parameter."""

    query_style: QueryStyle
    """The format of arrays and nested objects in queries and forms."""

    max_retries: int
    """The maximum number of attempts after the first; 0 disables retries."""

    retry: RetryPolicy | None
    """The retry policy; None is ``RetryPolicy()``."""

    timeout: Timeout | float | None
    """The limits of each call, in seconds. A number limits the whole call; None removes every limit."""

    middlewares: Iterable[MiddlewareEntry] | None
    """Your own middlewares, bundles, or names of installed ones; they replace those of the client."""

    chain: Iterable[Middleware | str] | None
    """A complete chain, instead of the default one."""

    strict_response_validation: bool
    """Whether values must have the exact type; False allows coercion, such as ``"1"`` to 1."""

    dec_hook: Callable[[type, Any], Any] | None
    """msgspec's hook to decode types that it does not know."""

    enc_hook: Callable[[Any], Any] | None
    """msgspec's hook to encode types that it does not know."""

    encoder: msgspec.json.Encoder | None
    """Your own `msgspec.json.Encoder`, instead of *enc_hook*."""

    decoders: Mapping[str, Callable[[bytes, Any], Any]] | None
    """Functions for content types without a built-in codec, by media type or suffix."""

    error_types: ErrorTypes | None
    """The types of error bodies by status, ``"4XX"`` or ``"default"``; merged over the client's."""

    error_detail: bool
    """Whether the text of a status error ends with the server's message."""

    idempotency_header: str | None
    """The header for idempotency keys of POST and PATCH; None sends no keys."""

    request_id_header: str
    """The response header with the server's ID of the request."""

    follow_redirects: bool
    """Whether redirects are followed."""

    trusted_origins: Iterable[str]
    """Patterns of other origins that may receive credentials and default headers."""

    max_body: int | None
    """The maximum size of a buffered response body in bytes, decompressed; None removes the limit."""


CALL_OPTIONS = CallOptions.__optional_keys__
REQUEST_OPTIONS = RequestOptions.__optional_keys__

# Options that become part of the call's settings; the others describe the request itself.
_SETTINGS = frozenset(
    {
        "auth",
        "dec_hook",
        "decoders",
        "decompress",
        "error_detail",
        "error_types",
        "follow_redirects",
        "max_body",
        "max_retries",
        "ok_statuses",
        "request_id_header",
        "retry",
        "strict",
    }
)
_FLAGS = frozenset({"decompress", "error_detail", "follow_redirects", "strict"})
_CLIENT_NAMES = {"strict": "strict_response_validation"}
_LAYERED = frozenset({"headers", "params", "extra_body", "extensions", "error_types", "middlewares"})


# Names for the same options in aiohttp, httpx, requests and generated SDKs.
_ELSEWHERE = {
    "allow_redirects": "follow_redirects",
    "body": "json",
    "cookies": "headers",
    "extra_headers": "headers",
    "extra_query": "params",
    "form": "data",
    "headers": "default_headers",
    "json_data": "json",
    "params": "default_params",
    "path": "path_params",
    "qs": "params",
    "query": "params",
    "query_params": "params",
    "raise_for_status": "ok_statuses",
    "retries": "max_retries",
    "url_params": "path_params",
}


def check_names(given: Iterable[str], known: frozenset[str], what: str = "option") -> None:
    """Raise `TypeError` for a name that is not in *known*, and suggest the closest one."""
    for name in given:
        if name not in known:
            raise TypeError(f"unknown {what} {name!r}; {_hint(name, known)}")


def _hint(name: str, known: frozenset[str]) -> str:
    ours = _ELSEWHERE.get(name)
    near = ours if ours in known else closest(name, known)
    return f"did you mean {near!r}?" if near else f"known are {', '.join(sorted(known))}"


def layer_options(keywords: RequestOptions, options: CallOptions | None) -> RequestOptions:
    """Return *options* laid over *keywords*: mappings are merged, middlewares appended, other values
    replaced.
    """
    if keywords and not keywords.keys() <= REQUEST_OPTIONS:
        check_names(keywords, REQUEST_OPTIONS)
    if not options:
        return keywords
    check_names(check_mapping("options", options), CALL_OPTIONS, "option in options=")
    layered: dict[str, Any] = {**keywords}
    for name, value in options.items():
        below = layered.get(name)
        layered[name] = _lay_over(name, below, value) if below and name in _LAYERED else value
    return cast("RequestOptions", layered)


def _lay_over(name: str, below: Any, value: Any) -> Any:
    if not value:
        return below
    if name == "headers":
        return merge_headers(below, check_mapping(name, value))
    if name == "middlewares":
        return (*check_iterable(name, below), *check_iterable(name, value))
    return {**below, **check_mapping(name, value)}


def merge_headers(*layers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *layers* as one mapping; a later layer wins, whatever the case of the name."""
    merged: dict[str, tuple[str, Any]] = {}
    for layer in layers:
        merged.update({name.lower(): (name, value) for name, value in layer.items()})
    return dict(merged.values())


def resolve_settings(base: CallSettings, given: Mapping[str, Any]) -> CallSettings:
    """Return the settings of a call: *base* with the changes in *given*.

    Raises:
        InvalidRequestError: A value is out of range.
        TypeError: A value has the wrong type.
    """
    changes = {name: given[name] for name in _SETTINGS.intersection(given)}
    if not changes:
        return base
    if "max_retries" in changes:
        given_retries = changes["max_retries"]
        changes["max_retries"] = None if given_retries is NOT_GIVEN else check_max_retries(given_retries)
    if "ok_statuses" in changes:
        changes["ok_statuses"] = check_statuses("ok_statuses", changes["ok_statuses"])
    if changes.get("decoders") is not None:
        changes["decoders"] = Decoders(check_mapping("decoders", changes["decoders"]), base.decoders)
    if "error_types" in changes:
        added: Any = check_mapping("error_types", changes["error_types"] or {})
        check_error_types(added, base.dec_hook, base.decoders)
        changes["error_types"] = {**base.error_types, **added}
    if "max_body" in changes:
        check_max_body(changes["max_body"])
    for name in _FLAGS.intersection(changes):
        check_flag(_CLIENT_NAMES.get(name, name), changes[name])
    check_retry(changes.get("retry"))
    if "retry" in changes and "max_retries" not in changes:
        # A policy has its own number of retries, which the client's must not override.
        changes["max_retries"] = None
    return msgspec.structs.replace(base, **changes)


def check_max_body(value: object) -> int | None:
    """Return *value* if it is a number of bytes or None."""
    if value is None:
        return None
    return check_whole("max_body", value, unit="bytes", hint="None removes the limit")


def check_mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Return *value* if it is a mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping of names to values, not {type(value).__name__}")
    return cast("Mapping[str, Any]", value)


_ITEMS = {"middlewares": "middlewares", "chain": "middlewares", "trusted_origins": "patterns"}


def check_iterable(name: str, value: Any) -> tuple[Any, ...]:
    """Return *value* as a tuple if it is an iterable other than a str."""
    if isinstance(value, str):
        raise TypeError(f"{name} must be an iterable of {_ITEMS[name]}, not one str")
    if not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be an iterable of {_ITEMS[name]}, not {type(value).__name__}")
    return tuple(value)


def check_retry(value: object) -> None:
    """Raise `TypeError` if *value* is neither a policy nor None."""
    if value is not None and not isinstance(value, RetryPolicy):
        raise TypeError(f"retry must be a RetryPolicy, not {type(value).__name__}")
