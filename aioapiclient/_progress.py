"""Progress: anything with ``update(n)`` is told of the bytes of a body, and set back when it begins again."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

__all__ = ["Meter", "Progress"]


class Progress(Protocol):
    """What shows how far a body is: a bar of ``tqdm``, or an object of your own.

    It is called in the event loop, often, so it should be quick. One that has a ``reset()`` gets that
    when a body begins again from its first byte; for others what was counted is taken back, by an
    ``update`` with a negative number. What it raises ends the call, and comes out as it is.
    """

    def update(self, n: int, /) -> object:
        """Count *n* bytes more; less, when *n* is negative."""
        ...


class Meter:
    """Counts the bytes of one body at a time, for a `Progress` or for nobody.

    Raises `TypeError` for an object that has no plain method ``update``.
    """

    __slots__ = ("_count", "_progress")

    def __init__(self, progress: Progress | None) -> None:
        if progress is not None:
            update: Any = getattr(progress, "update", None)
            if not callable(update) or isinstance(progress, type):
                raise TypeError(f"progress must have a method update(n), and {_name(progress)} has none")
            if inspect.iscoroutinefunction(update):
                raise TypeError(f"progress is called without await, and update of {_name(progress)} is async")
        self._progress = progress
        self._count = 0

    def add(self, count: int) -> None:
        """Tell of *count* bytes more."""
        if self._progress is not None:
            self._count += count
            self._progress.update(count)

    def restart(self) -> None:
        """Take back what was counted: the body begins again."""
        count, self._count = self._count, 0
        if self._progress is None or count == 0:
            return
        reset: Any = getattr(self._progress, "reset", None)
        if callable(reset):
            reset()
        else:
            self._progress.update(-count)


def _name(progress: object) -> str:
    return progress.__name__ if isinstance(progress, type) else type(progress).__name__
