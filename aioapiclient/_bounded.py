"""A dict of bounded size, for state per path, key or server, so that their number cannot exhaust memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import ParamSpec, TypeVar

__all__ = ["BoundedDict"]

P = ParamSpec("P")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedDict(OrderedDict[K, V]):
    """A dict with at most *most* keys: a further key drops the one that was set least recently.

    Reading a key does not move it, but `get_or_make` does.

    Args:
        most: The maximum number of keys, 1,000 by default.
    """

    # The default is for pickle and copy.deepcopy, which create the dict without arguments.
    def __init__(self, most: int = 1000) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self._most:
            self.popitem(last=False)

    def get_or_make(self, key: K, make: Callable[P, V], *args: P.args, **kwargs: P.kwargs) -> V:
        """Return the value of *key*, created first if it is missing. The key is then the last to be dropped.

        Args:
            key: The key.
            make: A function that returns a new value, which must not be None.
            args: Arguments of *make*.
            kwargs: Keyword arguments of *make*.
        """
        found = self.get(key)
        if found is None:
            found = self[key] = make(*args, **kwargs)
        else:
            self.move_to_end(key)
        return found
