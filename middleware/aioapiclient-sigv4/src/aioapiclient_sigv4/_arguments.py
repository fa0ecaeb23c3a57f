"""Checks of arguments: a wrong type is a `TypeError`, a wrong value an `InvalidRequestError`."""

from __future__ import annotations

import re

from aioapiclient.errors import InvalidRequestError

__all__ = ["check_name", "whole_seconds"]

_NAME = re.compile(r"[a-z0-9-]+")


def check_name(name: str, value: object, example: str) -> None:
    """Refuse *value* unless it is the name of a service or region."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str such as {example!r}, not {type(value).__name__}")
    if not _NAME.fullmatch(value):
        raise InvalidRequestError(f"{name} must be a name such as {example!r}, not {value!r}")


def whole_seconds(name: str, value: object, most: int) -> int:
    """Return *value*, an int from 1 to *most*."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number of seconds, not {type(value).__name__}")
    if not 1 <= value <= most:
        raise InvalidRequestError(f"{name} must be from 1 to {most} seconds, not {value}")
    return value
