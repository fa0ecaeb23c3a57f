"""Checks of arguments that only a cache has: its methods, its storage, and the headers that it excludes."""

from __future__ import annotations

from collections.abc import Iterable

from hishel import AsyncBaseStorage

from aioapiclient.contract import check_header_names
from aioapiclient.errors import InvalidRequestError

__all__ = ["CACHEABLE", "check_excluded", "check_methods", "check_storage"]

CACHEABLE = ("GET", "HEAD")

# Without one of these, a response would be used for too long, or for the wrong request.
_DECISIVE = frozenset({"age", "cache-control", "date", "etag", "expires", "last-modified", "vary"})


def check_excluded(value: object) -> frozenset[str]:
    """Return the names of the response headers that are never stored, in lower case."""
    names = check_header_names("exclude_headers", value)
    for name in sorted(names & _DECISIVE):
        raise InvalidRequestError(
            f"exclude_headers cannot contain {name!r}, which decides how long and for whom a response is used"
        )
    return names


def check_methods(value: Iterable[str]) -> frozenset[str]:
    """Return the methods whose responses are stored: GET, HEAD or both."""
    if isinstance(value, str):
        raise TypeError("methods must be a tuple such as ('GET', 'HEAD'), not str")
    methods = frozenset(value)
    for method in methods:
        if method not in CACHEABLE:
            raise InvalidRequestError(f"methods may have 'GET' and 'HEAD', not {method!r}")
    return methods


def check_storage(value: object) -> AsyncBaseStorage:
    """Return *value* if it is an asynchronous storage of hishel."""
    if not isinstance(value, AsyncBaseStorage):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise TypeError(f"storage must be an AsyncBaseStorage of hishel, such as MemoryStorage, not {kind}")
    return value
