"""Regular expressions that are compiled when they are first used.

Compiling all patterns of this package takes longer than loading the rest of it, and a program uses only a few
of them.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast

__all__ = ["LazyPattern", "lazily"]


class LazyPattern:
    """A stand-in for the `re.Pattern` of *text*. Each method is looked up once, on the first use."""

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
        """Return the compiled pattern."""
        return re.compile(self._text, self._flags)


def lazily(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return a pattern like ``re.compile(text, flags)`` that is compiled on its first use."""
    return cast("re.Pattern[AnyStr]", LazyPattern(text, flags))
