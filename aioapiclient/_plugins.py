"""Middlewares by name: the entry points of installed distributions, looked up and never inserted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .contract import Middleware
from .errors import InvalidRequestError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["load_middleware"]

GROUP = "aioapiclient.middleware"
"""The entry-point group: name -> factory."""


def load_middleware(name: str, **config: Any) -> Middleware:
    """The middleware that is installed under *name*, made by its factory from *config*.

    Names come from the entry-point group ``aioapiclient.middleware``. Nothing installed ever puts
    itself into a chain: a name is looked up when you say it.

    Raises `InvalidRequestError` for a name that nothing, or more than one distribution, has, and
    `TypeError` when the factory takes no such config.
    """
    found = _find(name)
    factory = found.load()
    try:
        return factory(**config)  # type: ignore[no-any-return]
    except TypeError as error:
        error.add_note(f"while making the middleware {name!r} ({found.value})")
        raise


def _find(name: object) -> EntryPoint:
    if not isinstance(name, str):
        raise TypeError(f"A middleware is loaded by its name, a str, not {type(name).__name__}")
    # Here, for most clients name nothing, and it is a fifth of what importing the package costs.
    from importlib.metadata import entry_points

    installed = entry_points(group=GROUP)
    # A checkout beside its own wheel shows the same entry point twice: that is no contradiction.
    found = {point.value: point for point in installed if point.name == name}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise InvalidRequestError(
            f"More than one distribution has a middleware {name!r}: {', '.join(sorted(found))}"
        )
    names = sorted({point.name for point in installed})
    import difflib

    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"installed are {', '.join(names) or 'none'}"
    raise InvalidRequestError(f"No installed distribution has a middleware {name!r}; {hint}")
