"""`difference`: describes the first difference between a request and a route or take."""

from __future__ import annotations

from typing import Any, Final

from ._plain import is_dict, is_list
from ._secrets import DEFAULT_SECRETS, Secrets

__all__ = ["difference", "shown"]

_MOST_SHOWN: Final = 80  # the most characters of a value in a message
_names: Final = Secrets(DEFAULT_SECRETS)


def shown(name: str, value: object) -> str:
    """Return a value for a message: shortened, and without its secrets.

    Args:
        name: The name of the value, which may mark it as secret.
        value: The value.
    """
    if _names.covers(name):
        return "'<secret>'"
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def difference(expected: Any, actual: Any, where: str, name: str = "") -> str | None:
    """Return the first difference, such as ``json['id'] is 8, not 7``; None if the values are equal.

    Args:
        expected: Plain data, or any object that compares equal, such as `unittest.mock.ANY`.
        actual: Plain data.
        where: The name of the compared value, for the message: ``json``.
        name: The name of the innermost member, which may mark the value as secret.
    """
    if expected == actual:
        return None
    if is_dict(expected) and is_dict(actual):
        return _in_members(expected, actual, where)
    if is_list(expected) and is_list(actual):
        return _in_items(expected, actual, where, name)
    if _names.covers(name):
        return f"{where} differs"
    return f"{where} is {shown(name, actual)}, not {shown(name, expected)}"


def _in_members(expected: dict[Any, Any], actual: dict[Any, Any], where: str) -> str | None:
    for key, value in expected.items():
        if key not in actual:
            return f"{where} has no {key!r}"
        found = difference(value, actual[key], f"{where}[{key!r}]", str(key))
        if found is not None:
            return found
    extra = next(key for key in actual if key not in expected)
    return f"{where} has {extra!r} too"


def _in_items(expected: list[Any], actual: list[Any], where: str, name: str) -> str | None:
    for number, (value, item) in enumerate(zip(expected, actual, strict=False)):
        found = difference(value, item, f"{where}[{number}]", name)
        if found is not None:
            return found
    return f"{where} has {len(actual)} items, not {len(expected)}"
