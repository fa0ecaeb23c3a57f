"""Names of a package that are imported when first used, so that importing the package stays cheap."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["late_names"]


def late_names(
    package: str, places: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for the module of a package (PEP 562).

    Args:
        package: The name of the package.
        places: The module of each name, relative to the package: ``{"SSEStream": "._framings"}``.
    """
    names = vars(sys.modules[package])

    def get(name: str) -> Any:
        """Import *name*, and keep it."""
        place = places.get(name)
        if place is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = names[name] = getattr(import_module(place, package), name)
        return value

    return get, lambda: sorted({*names, *places})
