"""middleware/README.md is correct: its blocks make a plugin that is found by its name and works."""

from __future__ import annotations

import configparser
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, distribution, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from aioapiclient import AsyncAPIClient, load_middleware
from aioapiclient.testing import FakeTransport, check_middleware, respond

HOME = Path(__file__).parents[1] / "middleware"
README = HOME / "README.md"
SUNSET = "Sat, 31 Dec 2033 23:59:59 GMT"


def block(first_words: str) -> str:
    """Return the block of the README that begins with this text."""
    text = README.read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"^```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (found,) = [code for code in blocks if code.startswith(first_words)]
    return found


def run(code: str) -> dict[str, Any]:
    """Run a block, and return its names."""
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(code, str(README), "exec", optimize=0), names)
    return names


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distribution]:
    """The README's distribution, installed as an installer would."""
    setup = configparser.ConfigParser()
    setup.read_string(block("[metadata]"))
    name, version = setup["metadata"]["name"], setup["metadata"]["version"]
    module = setup["options"]["py_modules"]
    (tmp_path / f"{module}.py").write_text(block('"""Warns'), encoding="utf-8")
    folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = [f"[{group}]{lines}" for group, lines in setup["options.entry_points"].items()]
    (folder / "entry_points.txt").write_text("\n".join(points))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield distribution(name)
    sys.modules.pop(module, None)


@pytest.fixture
def module(plugin: Distribution) -> ModuleType:
    """The README's module, imported through its entry point."""
    (point,) = plugin.entry_points
    found = inspect.getmodule(point.load())
    assert found is not None
    return found


def test_it_has_fifteen_lines() -> None:
    """The module has at most the 15 lines of the heading, not counting blank ones."""
    lines = [line for line in block('"""Warns').splitlines() if line.strip()]

    assert len(lines) <= 15


def test_it_is_found_by_its_name(plugin: Distribution) -> None:
    """The entry point in setup.cfg loads the class, and load_middleware creates one."""
    (point,) = plugin.entry_points

    assert (point.group, point.name) == ("aioapiclient.middleware", "sunset")
    assert type(load_middleware("sunset")) is point.load()
    assert "sunset" in {known.name for known in entry_points(group="aioapiclient.middleware")}


def test_it_imports_the_contract_and_nothing_else(module: ModuleType) -> None:
    """The module imports from aioapiclient.contract only."""
    taken = re.findall(
        r"^from (aioapiclient\S*) import|^import (aioapiclient\S*)", inspect.getsource(module), re.MULTILINE
    )

    assert taken == [("aioapiclient.contract", "")]


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("test", ["test_it_keeps_the_promises", "test_it_warns"])
async def test_its_tests_pass(test: str, caplog: pytest.LogCaptureFixture) -> None:
    """The tests that the README shows pass."""
    tests = run(block("from aioapiclient import AsyncAPIClient\nfrom aioapiclient.testing"))
    function: Callable[..., Any] = tests[test]
    given = {"caplog": caplog} if "caplog" in inspect.signature(function).parameters else {}
    await function(**given)

    assert inspect.getdoc(function)
    assert len(caplog.messages) == len(given)


async def test_its_tests_would_fail(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """check_middleware detects mistakes: the same class breaks a promise if it drops its response."""

    async def drops(self: object, request: Any, handler: Any) -> None:
        await handler(request)

    monkeypatch.setattr(module.__dict__["Sunset"], "__call__", drops)

    with pytest.raises(AssertionError, match="Sunset breaks promise 2"):
        await check_middleware(module.__dict__["Sunset"])


@pytest.mark.usefixtures("plugin")
async def test_a_client_uses_it_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    """The README's client has it in its chain, and warns only of deprecated endpoints."""
    api: AsyncAPIClient = run(block("from aioapiclient import AsyncAPIClient\n\napi ="))["api"]
    transport = FakeTransport(respond(json={}), respond(json={}, headers={"Sunset": SUNSET}))
    async with AsyncAPIClient(api.base_url, chain=api.chain, transport=transport) as client:
        await client.get("/users")
        await client.get("/users/{id}", path_params={"id": 7})
    await api.close()

    assert caplog.messages == [f"/users/{{id}} will be switched off: {SUNSET}"]


def test_the_plugins_here_are_in_the_table() -> None:
    """Each distribution in this folder has a row in the table, and the setup.py that it mentions."""
    text = README.read_text(encoding="utf-8")
    folders = [folder for folder in HOME.iterdir() if (folder / "setup.cfg").exists()]

    assert folders
    for folder in folders:
        assert f"| [{folder.name}]({folder.name}/README.md) |" in text
        first, second = (folder / "setup.py").read_text(encoding="utf-8").splitlines()
        assert f"`{first}` and `{second}`" in text
