"""Checks of arguments: numbers, seconds, statuses, flags, functions and origins, with uniform messages."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any

from .errors import InvalidRequestError

__all__ = [
    "check_flag",
    "check_function",
    "check_number",
    "check_origins",
    "check_seconds",
    "check_statuses",
    "check_whole",
    "closest",
    "kind_of",
]


def check_whole(name: str, value: object, *, least: int = 0, unit: str = "", hint: str = "") -> int:
    """Return *value* if it is an int of *least* or more.

    Args:
        name: The name of the argument in messages.
        value: The argument. A bool does not count as a number.
        least: The smallest value that is accepted.
        unit: What the number counts, such as ``"bytes"``, for the message.
        hint: Advice to append to the message.

    Raises:
        TypeError: *value* is not an int.
        InvalidRequestError: *value* is below *least*.
    """
    wanted = f"{least} {unit} or more" if unit else f"{least} or more"
    ending = f"; {hint}" if hint else ""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int of {wanted}, not {_shown(value)}{ending}")
    if value < least:
        raise InvalidRequestError(f"{name} must be {wanted}, not {value}{ending}")
    return value


def check_number(
    name: str,
    value: object,
    *,
    least: float = 0.0,
    most: float = math.inf,
    above: bool = False,
    unit: str = "",
    hint: str = "",
) -> float:
    """Return *value* if it is a finite number from *least* to *most*.

    Args:
        name: The name of the argument in messages.
        value: The argument. A bool does not count as a number.
        least: The smallest value that is accepted, 0 by default.
        most: The largest value that is accepted. Infinity, the default, accepts any finite number.
        above: Whether *least* itself is refused.
        unit: What the number counts, such as ``"seconds"``, for the message.
        hint: Advice to append to the message.

    Raises:
        TypeError: *value* is not an int or a float.
        InvalidRequestError: *value* is out of range, NaN, infinite, or too large for a float.
    """
    kind = f"a number of {unit}" if unit else "a number"
    ending = f"; {hint}" if hint else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be {kind}, not {_shown(value)}{ending}")
    try:
        fits = math.isfinite(value) and (value > least if above else value >= least) and value <= most
    except OverflowError:
        raise InvalidRequestError(f"{name} must be {kind} that fits a float") from None
    if not fits:
        bounds = _bounds(least, most, above, f" {unit}" if unit else "")
        raise InvalidRequestError(f"{name} must be {bounds}, not {value}{ending}")
    return value


def _bounds(least: float, most: float, above: bool, unit: str) -> str:
    if most == math.inf:
        return f"above {least:g}{unit}" if above else f"{least:g}{unit} or more"
    return f"above {least:g} and at most {most:g}{unit}" if above else f"from {least:g} to {most:g}{unit}"


def check_seconds(name: str, value: object, *, positive: bool = False, hint: str = "") -> float:
    """Return *value* if it is a finite number of seconds, 0 or more.

    Args:
        name: The name of the argument in messages.
        value: The argument, in seconds. A bool does not count as a number.
        positive: Whether 0 is refused as well.
        hint: Advice to append to the message.

    Raises:
        TypeError: *value* is not an int or a float.
        InvalidRequestError: *value* is negative, NaN, infinite, or too large for a float.
    """
    return check_number(name, value, above=positive, unit="seconds", hint=hint)


def check_statuses(name: str, value: Any) -> frozenset[int]:
    """Return *value* as a set of status codes.

    Raises:
        TypeError: *value* is a str or cannot be iterated, or one of its items is not an int.
    """
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be an iterable of statuses, not {type(value).__name__}")
    found: frozenset[Any] = frozenset(value)
    for status in found:
        if isinstance(status, bool) or not isinstance(status, int):
            raise TypeError(f"{name} must contain ints, not {type(status).__name__}")
    return found


def check_flag(name: str, value: object) -> bool:
    """Return *value* if it is True or False.

    Args:
        name: The name of the argument in messages.
        value: The argument.

    Raises:
        TypeError: *value* is anything else: ``"no"`` would count as True.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {_shown(value)}")
    return value


def check_function(name: str, value: object, *, may_be_async: bool = False) -> None:
    """Refuse *value* unless it is a function that can be called as expected.

    Args:
        name: The name of the argument in messages.
        value: The argument. Any callable object counts as a function.
        may_be_async: Whether an ``async def`` is accepted, because its result will be awaited.

    Raises:
        TypeError: *value* is not callable, or is an ``async def`` whose result would never be awaited.
    """
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {_shown(value)}")
    is_async = inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__)
    if is_async and not may_be_async:
        raise TypeError(f"{name} must be a plain function, not an async one")


def check_origins(name: str, value: Any) -> tuple[str, ...]:
    """Return *value* as a tuple of patterns of origins.

    Raises:
        TypeError: *value* is a single str or cannot be iterated, or one of its items is not a str.
    """
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be an iterable of patterns, not {_shown(value)}")
    found: tuple[Any, ...] = tuple(value)
    for pattern in found:
        if not isinstance(pattern, str):
            raise TypeError(f"{name} must contain str, not {_shown(pattern)}")
    return found


def kind_of(value: object) -> str:
    """Return the name of the type of *value*, with a prefix if it is from another library:
    ``aiohttp.BasicAuth``.

    Otherwise a message could not tell it from the `BasicAuth` of this library.
    """
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    return f"{library}.{kind.__name__}" if library in _LIBRARIES else kind.__name__


_LIBRARIES = frozenset({"aiohttp", "httpx", "requests"})


def _shown(value: object) -> str:
    """Return a number or None as text, and the type of any other value: a str may be a secret."""
    return repr(value) if value is None or type(value) in (int, float) else kind_of(value)


def closest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the name in *known* that is most similar to *name*, for an error message; None if none is close.

    Args:
        name: The name that was not found.
        known: The names to choose from.
        cutoff: The least similarity, from 0 to 1. 0.6 by default, as in `difflib`.
    """
    import difflib  # for mistakes only: importing the package must not pay for it

    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)
