"""Checks of arguments: a wrong type is a `TypeError`, a wrong value an `InvalidRequestError`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from aioapiclient.errors import InvalidRequestError

__all__ = ["check_bool", "check_callable", "check_name", "header_names", "whole_seconds"]

_NAME = re.compile(r"[a-z0-9-]+")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 §5.6.2


def check_name(name: str, value: object, example: str) -> None:
    """Refuse *value* unless it is the name of a service or region."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str such as {example!r}, not {type(value).__name__}")
    if not _NAME.fullmatch(value):
        raise InvalidRequestError(f"{name} must be a name such as {example!r}, not {value!r}")


def check_bool(name: str, value: object) -> None:
    """Refuse a value that is not a bool: a text such as ``"no"`` would count as True."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")


def check_callable(name: str, value: object) -> None:
    """Refuse a value that is not a function."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {type(value).__name__}")


def header_names(name: str, value: object) -> frozenset[str] | None:
    """Return the names of headers in lower case; None for None."""
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be an iterable of str or None, not {type(value).__name__}")
    names: list[Any] = [*value]  # pyright: ignore[reportUnknownVariableType]
    for given in names:
        if not isinstance(given, str):
            raise TypeError(f"{name} must contain the names of headers, not {type(given).__name__}")
        if not _TOKEN.fullmatch(given):
            raise InvalidRequestError(f"{name} must contain the names of headers, not {given!r}")
    return frozenset(given.lower() for given in names)


def whole_seconds(name: str, value: object, most: int) -> int:
    """Return *value*, an int from 1 to *most*."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number of seconds, not {type(value).__name__}")
    if not 1 <= value <= most:
        raise InvalidRequestError(f"{name} must be from 1 to {most} seconds, not {value}")
    return value
