"""Type guards for plain data: a type checker treats the members of a bare list or dict as unknown."""

from __future__ import annotations

from typing import Any, TypeGuard

__all__ = ["is_dict", "is_list"]


def is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    """Return whether *value* is a dict.

    Args:
        value: Any value.
    """
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Return whether *value* is a list.

    Args:
        value: Any value.
    """
    return isinstance(value, list)
