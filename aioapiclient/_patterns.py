"""Regular expressions that are compiled when they are first used.

To compile all of this package's takes longer than to load the rest of it, and a program uses few of them.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast

__all__ = ["LazyPattern", "lazily"]


class LazyPattern:
    """Stands for the `re.Pattern` of *text*, and has its methods: each is looked up there once."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self.compiled(), name)
        setattr(self, name, found)
        return found

    def compiled(self) -> re.Pattern[Any]:
        """The pattern itself."""
        return re.compile(self._text, self._flags)


def lazily(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """What ``re.compile(text, flags)`` gives, without the price before it is used."""
    return cast("re.Pattern[AnyStr]", LazyPattern(text, flags))
