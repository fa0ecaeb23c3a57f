"""The options of a call and of a client, and how those of one call are layered and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, cast

import msgspec

from ._checks import check_flag, check_statuses, check_whole
from ._codecs.custom import Decoders
from ._codecs.error_bodies import check_error_types
from ._request import CallSettings
from ._types import NOT_GIVEN, ErrorTypes, HeaderLayer, Params, Timeout, check_max_retries
from .middleware.retry import RetryPolicy

if TYPE_CHECKING:
    from yarl import URL

    from ._body.body import Body
    from ._body.multipart import Files
    from ._body.sources import Content
    from ._progress import Progress
    from ._query import QueryStyle
    from .contract import Auth, Middleware, MiddlewareEntry

__all__ = [
    "CallOptions",
    "ClientOptions",
    "RequestOptions",
    "check_names",
    "layer_options",
    "resolve_settings",
]


class CallOptions(TypedDict, total=False):
    """What a user of an SDK may set on one call; the SDK hands it through as ``options=``."""

    headers: HeaderLayer
    """Added over the client's; `OMIT` removes one."""

    params: Params
    """Query parameters, added over the client's ``default_params``; `OMIT` removes one."""

    extra_body: Mapping[str, Any]
    """Members merged over a JSON object that is sent."""

    timeout: Timeout | float | None
    """Limits of this call; a number is the whole call in seconds, None switches all limits off."""

    max_retries: int
    """How often this call may be tried again."""

    retry: RetryPolicy
    """The whole policy, for this call."""

    auth: Auth | None
    """The credential of this call; None sends none."""

    idempotency_key: str
    """Sent in the client's ``idempotency_header``, the same on every attempt."""

    idempotent: bool
    """Whether doing it twice is as good as once; left out, the method decides (RFC 9110 §9.2.2)."""

    ok_statuses: Iterable[int]
    """Statuses beyond 2xx that are no error in this call."""

    error_types: ErrorTypes
    """What error bodies decode to; merged over the client's."""

    follow_redirects: bool
    """Whether redirects are followed."""

    max_body: int | None
    """Bytes of a buffered response body, decompressed; None for no bound."""

    decompress: bool
    """False hands over the bytes of a success as they were sent, with their ``Content-Encoding``."""

    middlewares: Iterable[MiddlewareEntry]
    """Middlewares for this call, inside the client's of the same kind."""

    progress: Progress | None
    """Told of the bytes of the body as they are sent: anything with ``update(n)``, a bar of tqdm for one."""

    extensions: Mapping[str, Any]
    """Settings of your own, for your middlewares; merged over what an SDK set."""


class RequestOptions(CallOptions, total=False):
    """What an SDK method sets on one call: `CallOptions`, and what the request is made of."""

    path_params: Mapping[str, Any]
    """Values for the ``{name}`` places of the path, each encoded as one segment."""

    json: Any
    """Sent as JSON, by msgspec."""

    data: Mapping[str, Any] | Iterable[tuple[str, Any]]
    """Sent as a form."""

    files: Files
    """Sent as multipart/form-data, with ``data`` for its fields."""

    content: Content | Body
    """Sent as it is: bytes, text, a path, a binary file, or an iterable of bytes, async or not."""


class ClientOptions(TypedDict, total=False):
    """What `with_options` of a client takes: every keyword of its constructor but session and transport."""

    base_url: str | URL
    version: str
    auth: Auth | None
    default_headers: HeaderLayer | None
    default_params: Params | None
    query_style: QueryStyle
    max_retries: int
    retry: RetryPolicy | None
    timeout: Timeout | float | None
    middlewares: Iterable[MiddlewareEntry] | None
    chain: Iterable[Middleware | str] | None
    strict_response_validation: bool
    dec_hook: Callable[[type, Any], Any] | None
    enc_hook: Callable[[Any], Any] | None
    encoder: msgspec.json.Encoder | None
    decoders: Mapping[str, Callable[[bytes, Any], Any]] | None
    error_types: ErrorTypes | None
    error_detail: bool
    idempotency_header: str | None
    request_id_header: str
    follow_redirects: bool
    trusted_origins: Iterable[str]
    max_body: int | None


CALL_OPTIONS = frozenset(CallOptions.__annotations__)
REQUEST_OPTIONS = CALL_OPTIONS | frozenset(RequestOptions.__annotations__)

# Options that become part of the call's settings; the others make the request itself.
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


# What other libraries call it: aiohttp, httpx, requests, and the SDKs of OpenAI and Anthropic.
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
    """Raise `TypeError` for a name that is not *known*, with the one that was probably meant."""
    for name in given:
        if name not in known:
            raise TypeError(f"Unknown {what} {name!r}; {_hint(name, known)}")


def _hint(name: str, known: frozenset[str]) -> str:
    import difflib  # for a mistake only: importing the package should not pay for it

    ours = _ELSEWHERE.get(name)
    near = [ours] if ours in known else difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"


def layer_options(keywords: RequestOptions, options: CallOptions | None) -> RequestOptions:
    """*options* over *keywords*: mappings merge, middlewares add up, the rest replaces."""
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
    """*layers* as one mapping in which a later layer wins whatever the case of the name."""
    merged: dict[str, tuple[str, Any]] = {}
    for layer in layers:
        merged.update({name.lower(): (name, value) for name, value in layer.items()})
    return dict(merged.values())


def resolve_settings(base: CallSettings, given: Mapping[str, Any]) -> CallSettings:
    """The settings of a call: *base*, with what *given* says otherwise.

    Raises `TypeError` and `InvalidRequestError` for values that make no sense.
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
        # A whole policy brings its own number: the client's must not cut into it.
        changes["max_retries"] = None
    return msgspec.structs.replace(base, **changes)


def check_max_body(value: object) -> int | None:
    """*value*, if it is a number of bytes or None."""
    if value is None:
        return None
    return check_whole("max_body", value, unit="bytes", hint="None is no bound")


def check_mapping(name: str, value: Any) -> Mapping[str, Any]:
    """*value*, if it is a mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping of names to values, not {type(value).__name__}")
    return cast("Mapping[str, Any]", value)


_ITEMS = {"middlewares": "middlewares", "chain": "middlewares", "trusted_origins": "patterns"}


def check_iterable(name: str, value: Any) -> tuple[Any, ...]:
    """*value* as a tuple, if it can be iterated and is no lone text."""
    if isinstance(value, str):
        raise TypeError(f"{name} must be an iterable of {_ITEMS[name]}, not one str")
    if not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be an iterable of {_ITEMS[name]}, not {type(value).__name__}")
    return tuple(value)


def check_retry(value: object) -> None:
    """Raise `TypeError` for what is neither a policy nor None."""
    if value is not None and not isinstance(value, RetryPolicy):
        raise TypeError(f"retry must be a RetryPolicy, not {type(value).__name__}")
