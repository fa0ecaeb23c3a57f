"""Tests of code that uses aioapiclient: routes, cassettes, and a pytest plugin with fixtures for both.

The classes are imported when they are first used, because pytest imports this package in every run, even for
projects that do not use it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ._aioresponses import mended_aioresponses
    from ._cassette import Cassette
    from ._mock import MockAPI
    from ._routes import Route
    from ._secrets import DEFAULT_SECRETS
    from ._takes import Take
    from .plugin import ClientFactory

__all__ = ["DEFAULT_SECRETS", "Cassette", "ClientFactory", "MockAPI", "Route", "Take", "mended_aioresponses"]

_HOMES: Final = {
    "DEFAULT_SECRETS": "_secrets",
    "Cassette": "_cassette",
    "ClientFactory": "plugin",
    "MockAPI": "_mock",
    "Route": "_routes",
    "Take": "_takes",
    "mended_aioresponses": "_aioresponses",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
