"""A bounded map, for state that is kept for each key: keys that keep changing must not make memory grow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, TypeVar

__all__ = ["Bounded"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
A = TypeVar("A")

_MOST_KEYS: Final = 1000


class Bounded(OrderedDict[K, V]):
    """A map of at most 1,000 keys: a new key replaces the one that was used least recently."""

    def get_or_make(self, key: K, make: Callable[[A], V], argument: A) -> V:
        """Return the value of *key*; if there is none, *make* makes it of *argument*."""
        found = self.get(key)
        if found is None:
            found = self[key] = make(argument)
            if len(self) > _MOST_KEYS:
                self.popitem(last=False)
        else:
            self.move_to_end(key)
        return found
