"""Checks of arguments: a wrong type is a `TypeError`, a wrong value an `InvalidRequestError`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable

from hishel import AsyncBaseStorage

from aioapiclient.errors import InvalidRequestError

__all__ = ["CACHEABLE", "check_flag", "check_function", "check_methods", "check_storage", "number", "whole"]

CACHEABLE = ("GET", "HEAD")


def whole(name: str, value: object, *, unit: str) -> int:
    """Return *value*, an int of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a number of {unit}, not {type(value).__name__}")
    if value < 0:
        raise InvalidRequestError(f"{name} must be 0 or more {unit}, not {value}")
    return value


def number(name: str, value: object) -> float:
    """Return *value* as a float, a finite number of seconds, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not 0 <= value < math.inf:
        raise InvalidRequestError(f"{name} must be 0 or more seconds, not {value:g}")
    return float(value)


def check_flag(name: str, value: object) -> None:
    """Refuse what is not a bool: a text such as ``"no"`` would count as True."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")


def check_function(name: str, value: object) -> None:
    """Refuse what cannot be called, and an ``async def`` whose result nobody would await."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {type(value).__name__}")
    if inspect.iscoroutinefunction(value):
        raise TypeError(f"{name} must be a plain function, not an async one")


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
    """Return *value*, an asynchronous storage of hishel's."""
    if not isinstance(value, AsyncBaseStorage):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise TypeError(f"storage must be an AsyncBaseStorage of hishel, such as MemoryStorage, not {kind}")
    return value
