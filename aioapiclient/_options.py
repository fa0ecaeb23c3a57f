"""The options of one call: layered, checked by name, and resolved over those of the client."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from ._codecs import check_error_types
from ._types import NOT_GIVEN, CallOptions, CallSettings, RequestOptions, check_max_retries
from .errors import InvalidRequestError

__all__ = ["check_names", "layer_options", "resolve_settings"]

CALL_OPTIONS = frozenset(CallOptions.__annotations__)
REQUEST_OPTIONS = CALL_OPTIONS | frozenset(RequestOptions.__annotations__)

# Options that become part of the call's settings; the others make the request itself.
_SETTINGS = frozenset(
    {
        "auth",
        "dec_hook",
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
_MERGED = frozenset({"params", "extra_body", "extensions", "error_types"})


def check_names(given: Iterable[str], known: frozenset[str], what: str = "option") -> None:
    """Raise `TypeError` for a name that is not *known*, with the one that was probably meant."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
            raise TypeError(f"Unknown {what} {name!r}; {hint}")


def layer_options(keywords: RequestOptions, options: CallOptions | None) -> RequestOptions:
    """*options* over *keywords*: mappings merge, middlewares add up, the rest replaces."""
    if keywords and not keywords.keys() <= REQUEST_OPTIONS:
        check_names(keywords, REQUEST_OPTIONS)
    if not options:
        return keywords
    check_names(options, CALL_OPTIONS, "option in options=")
    layered: dict[str, Any] = {**keywords}
    for name, value in options.items():
        below = layered.get(name)
        if name == "headers" and below:
            layered[name] = merge_headers(below, cast("Mapping[str, Any]", value))
        elif name in _MERGED and below and value:
            layered[name] = {**below, **cast("Mapping[str, Any]", value)}
        elif name == "middlewares" and below:
            layered[name] = (*below, *cast("Iterable[Any]", value))
        else:
            layered[name] = value
    return cast("RequestOptions", layered)


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
        changes["ok_statuses"] = frozenset(changes["ok_statuses"])
    if "error_types" in changes:
        added = changes["error_types"] or {}
        check_error_types(added, base.dec_hook)
        changes["error_types"] = {**base.error_types, **added}
    if "max_body" in changes:
        check_max_body(changes["max_body"])
    if "retry" in changes and "max_retries" not in changes:
        # A whole policy brings its own number: the client's must not cut into it.
        changes["max_retries"] = None
    return msgspec.structs.replace(base, **changes)


def check_max_body(value: object) -> int | None:
    """*value*, if it is a number of bytes or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"max_body must be a number of bytes or None, not {type(value).__name__}")
    if value < 0:
        raise InvalidRequestError(f"max_body must be 0 bytes or more, not {value}; None is no bound")
    return value
