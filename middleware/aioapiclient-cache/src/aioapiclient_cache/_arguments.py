"""Checks of arguments that only a cache has: its methods and its storage."""

from __future__ import annotations

from collections.abc import Iterable

from hishel import AsyncBaseStorage

from aioapiclient.errors import InvalidRequestError

__all__ = ["CACHEABLE", "check_methods", "check_storage"]

CACHEABLE = ("GET", "HEAD")


def check_methods(value: Iterable[str]) -> frozenset[str]:
    """Return the methods whose responses are kept: GET, HEAD or both."""
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
