"""Checks of arguments: a wrong type is a `TypeError`, a wrong value an `InvalidRequestError`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from aioapiclient.contract import APIRequest
from aioapiclient.errors import InvalidRequestError

__all__ = ["check", "header_name", "header_names", "status", "statuses"]


def check(name: str, value: object, kind: type | tuple[type, ...], what: str) -> None:
    """Raise unless *value* is of the type *kind*; the message calls it *what*."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {what}, not {type(value).__name__}")


def status(name: str, value: object) -> int:
    """Return *value*, an error status."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must contain statuses as int, not {type(value).__name__}")
    if not 400 <= value <= 599:
        raise InvalidRequestError(f"{name} must contain statuses from 400 to 599, not {value}")
    return value


def header_name(name: str, value: object) -> str:
    """Return *value*, the name of a header that a client may set."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be the name of a header, not {type(value).__name__}")
    APIRequest("GET", "http://localhost").set_headers({value: ""})
    return value


def header_names(name: str, values: Any) -> tuple[str, ...]:
    """Return *values*, the names of headers that a client may set."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be an iterable of header names, not {type(values).__name__}")
    names = cast("Iterable[object]", values)
    return tuple(header_name(name, value) for value in names)


def statuses(name: str, values: Any) -> frozenset[int]:
    """Return *values*, error statuses."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be an iterable of statuses, not {type(values).__name__}")
    found = cast("Iterable[object]", values)
    return frozenset(status(name, value) for value in found)
