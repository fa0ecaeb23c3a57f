"""Checks of the middlewares' arguments: a wrong type is a `TypeError`, a wrong value an
`InvalidRequestError`.
"""

from __future__ import annotations

import inspect
import math

from aioapiclient.errors import InvalidRequestError

__all__ = ["check_flag", "check_function", "number", "seconds", "whole"]


def whole(name: str, value: object, least: int) -> int:
    """Return *value*, an int of *least* or more."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int of {least} or more, not {type(value).__name__}")
    if value < least:
        raise InvalidRequestError(f"{name} must be {least} or more, not {value}")
    return value


def number(
    name: str,
    value: object,
    least: float = 0.0,
    most: float = math.inf,
    *,
    above: bool = False,
    unit: str = "",
) -> float:
    """Return *value* as a float, a finite number from *least* to *most*; greater than *least* if *above*."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = f"a number of {unit}" if unit else "a number"
        raise TypeError(f"{name} must be {kind}, not {type(value).__name__}")
    try:
        given = float(value)
    except OverflowError:  # an int beyond all floats
        given = math.inf if value > 0 else -math.inf
    fits = least < given if above else least <= given
    if not (fits and given <= most and math.isfinite(given)):
        bounds = _bounds(least, most, above, f" {unit}" if unit else "")
        raise InvalidRequestError(f"{name} must be {bounds}, not {given:g}")
    return given


def seconds(name: str, value: object, *, above: bool = False) -> float:
    """Return *value* as a float, seconds of 0 or more; greater than 0 if *above*."""
    return number(name, value, above=above, unit="seconds")


def check_flag(name: str, value: object) -> None:
    """Refuse a value that is not a bool: a text such as ``"no"`` would count as True."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")


def check_function(name: str, value: object, *, may_be_async: bool = False) -> None:
    """Refuse a value that is not callable, and an ``async def``, whose result would never be awaited."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {type(value).__name__}")
    if not may_be_async and inspect.iscoroutinefunction(value):
        raise TypeError(f"{name} must be a plain function, not an async one")


def _bounds(least: float, most: float, above: bool, unit: str) -> str:
    if most == math.inf:
        return f"above {least:g}{unit}" if above else f"{least:g}{unit} or more"
    return f"above {least:g} and at most {most:g}{unit}" if above else f"from {least:g} to {most:g}{unit}"
