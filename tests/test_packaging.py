"""The installed distribution is the intended one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import aioapiclient

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture
def installed() -> Distribution:
    """The distribution under test, by the records of pip or uv."""
    return distribution("aioapiclient")


def modules_below(package: Path) -> set[str]:
    """The modules of a package's folder, as paths relative to it."""
    return {path.relative_to(package).as_posix() for path in package.rglob("*.py")}


def imports_of(module: Path) -> Iterator[str]:
    """The modules that a source file imports from, at any depth in it."""
    for node in ast.walk(ast.parse(module.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def test_the_tests_exercise_the_installed_distribution(installed: Distribution) -> None:
    """The tests run on the installed package, not on the checkout (as `python -m pytest` would)."""
    imported = Path(aioapiclient.__file__).resolve()

    assert imported == Path(str(installed.locate_file("aioapiclient/__init__.py"))).resolve()
    assert not imported.is_relative_to(CHECKOUT / "aioapiclient")


def test_the_wheel_has_every_module_and_no_stale_one(installed: Distribution) -> None:
    """The installed package has the checkout's modules, no more and no fewer."""
    imported = Path(aioapiclient.__file__).parent

    assert modules_below(imported) == modules_below(CHECKOUT / "aioapiclient")


def test_the_only_top_level_name_is_aioapiclient(installed: Distribution) -> None:
    """The wheel installs `aioapiclient` and nothing beside it: no `tests`, no `middleware`."""
    names = {path.parts[0] for path in installed.files or ()}

    assert {name for name in names if not name.endswith(".dist-info")} == {"aioapiclient"}


def test_the_type_marker_is_installed(installed: Distribution) -> None:
    """`py.typed` is in the wheel, so that checkers read the annotations."""
    assert "aioapiclient/py.typed" in {str(path) for path in installed.files or ()}


def test_the_run_time_requirements_are_four(installed: Distribution) -> None:
    """At run time only aiohttp, backoff, msgspec and yarl are required."""
    requirements = [Requirement(line) for line in installed.requires or ()]

    assert {r.name for r in requirements if r.marker is None} == {"aiohttp", "backoff", "msgspec", "yarl"}
    assert all("extra ==" in str(r.marker) for r in requirements if r.marker is not None)


def test_the_version_is_the_newest_of_the_changelog(installed: Distribution) -> None:
    """The version in the metadata and the newest heading of CHANGELOG.md agree."""
    changelog = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d\S*) - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)

    assert newest is not None, "CHANGELOG.md has no heading like '## 0.1.0 - 2026-11-22'"
    assert installed.version == newest[1]


def test_setup_py_is_two_lines() -> None:
    """setup.cfg contains all metadata; setup.py exists only for old tools."""
    assert (CHECKOUT / "setup.py").read_text(encoding="utf-8").splitlines() == [
        "from setuptools import setup",
        "setup()",
    ]


def test_every_built_in_entry_point_loads(installed: Distribution) -> None:
    """The built-in middlewares are registered by name, and each name loads its class."""
    built_in = installed.entry_points.select(group="aioapiclient.middleware")

    assert {point.name: point.load().__name__ for point in built_in} == {
        "auth": "AuthMiddleware",
        "deadline": "DeadlineMiddleware",
        "decoding": "DecodingMiddleware",
        "headers": "HeadersMiddleware",
        "redirect": "RedirectMiddleware",
        "retry": "RetryMiddleware",
        "timeout": "TimeoutMiddleware",
    }


def test_the_linter_knows_every_plugin() -> None:
    """`tox -e lint` restricts the imports of each package under middleware/ to those meant for plugins."""
    sources = [path for path in CHECKOUT.glob("middleware/*/src/*") if not path.name.endswith(".egg-info")]
    packages = {path.stem for path in sources if path.is_dir() or path.suffix == ".py"}
    config = ConfigParser()
    config.read(CHECKOUT / "middleware" / "importlinter.ini", encoding="utf-8")

    assert packages
    assert set(config["importlinter"]["root_packages"].split()) == {"aioapiclient", *packages}
    assert set(config["importlinter:contract:doors"]["source_modules"].split()) == packages


def test_two_plugins_know_the_server_of_aiohttp() -> None:
    """Plugins are middlewares of a client, not servers. Two have a reason to import aiohttp.web.

    aioapiclient-web connects an aiohttp.web application with the clients that it uses, so it must know both.
    aioapiclient-oauth answers one request on loopback, when a browser returns from a login.
    """
    sources = CHECKOUT.glob("middleware/*/src/**/*.py")
    found = {source.relative_to(CHECKOUT).parts[1] for source in sources if imports_server(source)}

    assert found == {"aioapiclient-oauth", "aioapiclient-web"}


def imports_server(module: Path) -> bool:
    """Whether a source file imports aiohttp.web, at any depth in it."""
    nodes = [*ast.walk(ast.parse(module.read_bytes()))]
    from_aiohttp = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "aiohttp"]
    return "aiohttp.web" in imports_of(module) or any(
        alias.name == "web" for node in from_aiohttp for alias in node.names
    )
