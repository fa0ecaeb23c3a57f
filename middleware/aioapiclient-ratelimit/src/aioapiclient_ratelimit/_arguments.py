"""Checks of arguments: a wrong type is a `TypeError`, a wrong value an `InvalidRequestError`."""

from __future__ import annotations

import inspect
import math

from aioapiclient.errors import InvalidRequestError

__all__ = ["check_flag", "check_function", "number", "text", "whole"]


def whole(name: str, value: object, least: int) -> int:
    """Return *value*, an int of *least* or more."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int of {least} or more, not {type(value).__name__}")
    if value < least:
        raise InvalidRequestError(f"{name} must be {least} or more, not {value}")
    return value


def number(name: str, value: object, most: float = math.inf, *, unit: str = "") -> float:
    """Return *value* as a float, a finite number from 0 to *most*."""
    ending = f" {unit}" if unit else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = f"a number of {unit}" if unit else "a number"
        raise TypeError(f"{name} must be {kind}, not {type(value).__name__}")
    if not 0 <= value <= most or value == math.inf:
        bounds = f"0{ending} or more" if most == math.inf else f"from 0 to {most:g}{ending}"
        raise InvalidRequestError(f"{name} must be {bounds}, not {value:g}")
    return float(value)


def text(name: str, value: object) -> str:
    """Return *value*, a str."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    return value


def check_flag(name: str, value: object) -> None:
    """Refuse a value that is not a bool: a text such as ``"no"`` would count as True."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")


def check_function(name: str, value: object) -> None:
    """Refuse a value that is not callable, and an ``async def``, whose result would never be awaited."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {type(value).__name__}")
    if inspect.iscoroutinefunction(value):
        raise TypeError(f"{name} must be a plain function, not an async one")
