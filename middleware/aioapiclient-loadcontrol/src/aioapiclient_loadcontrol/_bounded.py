"""A bounded map for state per origin or endpoint, so that no server makes memory grow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, TypeVar

__all__ = ["MOST_ORIGINS", "Bounded"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_ORIGINS: Final = 1000  # per client: redirects could otherwise name any number of them


class Bounded(OrderedDict[K, V]):
    """A map of at most *most* keys: a new key replaces the least recently used one."""

    def __init__(self, most: int = MOST_ORIGINS) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self._most:
            self.popitem(last=False)

    def get_or_make(self, key: K, make: Callable[[], V]) -> V:
        """Return the value of *key*; if there is none, make it first."""
        found = self.get(key)
        if found is None:
            found = self[key] = make()
        else:
            self.move_to_end(key)
        return found
