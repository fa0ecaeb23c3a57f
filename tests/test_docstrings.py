"""Every parameter in the public modules is described in an ``Args`` section, which IDEs show."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

import aioapiclient

DOORS = (
    "aioapiclient",
    "aioapiclient.contract",
    "aioapiclient.errors",
    "aioapiclient.middleware",
    "aioapiclient.streaming",
    "aioapiclient.testing",
)

_ARGS = re.compile(r"^Args:\n((?:    .*\n|\n)*)", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}\*{0,2}(\w+): \S", re.MULTILINE)


def described(docstring: str | None) -> set[str]:
    """The parameters that the Args section of a docstring describes."""
    section = _ARGS.search(inspect.cleandoc(docstring or "") + "\n")
    return set() if section is None else set(_ENTRY.findall(section[1]))


def parameters(function: Any) -> set[str]:
    """The parameters that a caller passes."""
    names = set(inspect.signature(function).parameters)
    return {name for name in names if name not in ("self", "cls") and not name.startswith("_")}


def documented(name: str, thing: Any) -> Iterator[tuple[str, Any, str | None]]:
    """Each public function, with the docstring that describes its parameters."""
    if inspect.isfunction(thing):
        yield name, thing, thing.__doc__
    if not inspect.isclass(thing):
        return
    # A protocol has no constructor, although `typing` gives it one.
    if "__init__" in vars(thing) and not getattr(thing, "_is_protocol", False):
        yield name, thing.__init__, thing.__doc__
    for method_name, method in vars(thing).items():
        function = getattr(method, "__func__", method)
        if not method_name.startswith("_") and inspect.isfunction(function):
            yield f"{name}.{method_name}", function, function.__doc__


@pytest.mark.parametrize("door", DOORS)
def test_every_parameter_is_described(door: str) -> None:
    """Each parameter of a public function, method or constructor has an entry in its Args section."""
    module = importlib.import_module(door)
    missing = {
        name: sorted(undescribed)
        for public in module.__all__
        for name, function, docstring in documented(public, getattr(module, public))
        if (undescribed := parameters(function) - described(docstring))
    }
    assert missing == {}


@pytest.mark.parametrize("door", DOORS)
def test_args_names_only_parameters(door: str) -> None:
    """An Args section describes no parameter that does not exist, such as one that was renamed."""
    module = importlib.import_module(door)
    unknown = {
        name: sorted(superfluous)
        for public in module.__all__
        for name, function, docstring in documented(public, getattr(module, public))
        if (superfluous := described(docstring) - parameters(function))
    }
    assert unknown == {}


def test_the_doors_are_all_there() -> None:
    """These tests cover every public module of the package."""
    found = {module.name for module in _public_modules()}
    assert found == set(DOORS) - {"aioapiclient"}


def _public_modules() -> Iterator[Any]:
    for module in pkgutil.iter_modules(aioapiclient.__path__, "aioapiclient."):
        if not module.name.rpartition(".")[2].startswith("_"):
            yield module


def test_a_missing_entry_is_found() -> None:
    """The check itself sees a parameter without an entry, and one in a later section does not count."""

    def function(first: int, second: int, *rest: int, third: int = 0) -> None:  # noqa: D417
        """Do something.

        Args:
            first: The first. It goes on
                here, third: is not an entry.
            *rest: The others.

        Raises:
            second: Not an argument.
        """

    assert parameters(function) - described(function.__doc__) == {"second", "third"}
