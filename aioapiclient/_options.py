"""The options of one call: layered, checked by name, and resolved over those of the client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from ._codecs.error_bodies import check_error_types
from ._types import NOT_GIVEN, CallOptions, CallSettings, RequestOptions, check_max_retries
from .errors import InvalidRequestError
from .middleware.retry import RetryPolicy

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
_LAYERED = frozenset({"headers", "params", "extra_body", "extensions", "error_types", "middlewares"})


def check_names(given: Iterable[str], known: frozenset[str], what: str = "option") -> None:
    """Raise `TypeError` for a name that is not *known*, with the one that was probably meant."""
    for name in given:
        if name not in known:
            import difflib  # for a mistake only: importing the package should not pay for it

            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
            raise TypeError(f"Unknown {what} {name!r}; {hint}")


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
    if "error_types" in changes:
        added: Any = check_mapping("error_types", changes["error_types"] or {})
        check_error_types(added, base.dec_hook)
        changes["error_types"] = {**base.error_types, **added}
    if "max_body" in changes:
        check_max_body(changes["max_body"])
    check_retry(changes.get("retry"))
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


def check_statuses(name: str, value: Any) -> frozenset[int]:
    """*value* as a set of status codes."""
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be an iterable of statuses, not {type(value).__name__}")
    statuses: frozenset[Any] = frozenset(value)
    for status in statuses:
        if isinstance(status, bool) or not isinstance(status, int):
            raise TypeError(f"{name} must hold ints, not {type(status).__name__}")
    return statuses
