"""Progress: report the bytes of a body to anything with ``update(n)``; reset it when the body restarts."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

__all__ = ["Meter", "Progress"]


class Progress(Protocol):
    """A progress display: a ``tqdm`` bar, or your own object.

    It is called often, in the event loop, so it should return quickly. If it has a ``reset()``, that is
    called when a body starts again from its first byte; otherwise ``update`` is called with a negative
    number. An exception that it raises ends the call and propagates unchanged.
    """

    def update(self, n: int, /) -> object:
        """Add *n* bytes; subtract them when *n* is negative."""
        ...


class Meter:
    """Count the bytes of one body at a time and report them to a `Progress`, if there is one.

    Args:
        progress: The object to report to; None counts nothing.

    Raises:
        TypeError: *progress* has no ``update`` method, or an async one.
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
        """Report *count* more bytes."""
        if self._progress is not None:
            self._count += count
            self._progress.update(count)

    def restart(self) -> None:
        """Reset the reported count, because the body starts again."""
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
