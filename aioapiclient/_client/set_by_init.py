"""`SetByInit`: an attribute that says what is wrong when a subclass did not call ``super().__init__()``."""

from __future__ import annotations

from typing import Any

__all__ = ["SetByInit"]


class SetByInit:
    """Stands on a class for an attribute that ``__init__`` sets on the instance, which then hides this."""

    def __get__(self, instance: object | None, owner: type[Any]) -> SetByInit:
        if instance is None:
            return self
        raise RuntimeError(
            f"{owner.__name__}.__init__() did not call super().__init__(), or has not yet: call it first"
        )
