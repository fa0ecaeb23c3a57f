"""`SetByInit`: an attribute that explains that a subclass did not call ``super().__init__()``."""

from __future__ import annotations

from typing import Any

__all__ = ["SetByInit"]


class SetByInit:
    """A class attribute that raises until ``__init__`` sets an instance attribute of the same name."""

    def __get__(self, instance: object | None, owner: type[Any]) -> SetByInit:
        if instance is None:
            return self
        raise RuntimeError(
            f"{owner.__name__}.__init__() did not call super().__init__(), or has not yet: call it first"
        )
