"""Middlewares by name: entry points, looked up when they are named and never before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from helpers import BASE, Client, Script, reply

from aioapiclient import (
    APIRequest,
    AsyncAPIResponse,
    Handler,
    InvalidRequestError,
    load_middleware,
    per_attempt,
)

GROUP = "aioapiclient.middleware"
PLUGIN = '''
"""A plugin."""

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler


class Marker:
    """Marks every request."""

    def __init__(self, value="default"):
        self.value = value

    async def __call__(self, request, handler):
        request.headers["X-Marker"] = self.value
        return await handler(request)
'''


def install(folder: Path, name: str, entry_points: str, source: str = PLUGIN) -> None:
    """Put a distribution into a folder, as pip leaves it."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entry_points}\n", encoding="utf-8")
    (folder / f"{name}_plugin.py").write_text(source, encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, with one plugin that is installed there."""
    before = set(sys.modules)
    install(tmp_path, "marking", "marker-for-tests = marking_plugin:Marker")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.endswith("_plugin"):
            del sys.modules[name]


async def test_an_installed_plugin_is_loaded_by_name(site: Path) -> None:
    """A plugin that is installed is loaded by its name, in `middlewares` and in the middlewares of a call."""
    first, second = Script(), Script()
    async with Client(BASE, middlewares=["marker-for-tests"], transport=first) as api:
        await api.get("/x")
    async with Client(BASE, transport=second) as api:
        await api.get("/x", middlewares=[per_attempt("marker-for-tests")])
        await api.get("/x")

    marks = [request.headers.get("X-Marker") for request in [*first.requests, *second.requests]]
    assert marks == ["default", "default", None]


async def test_a_plugin_takes_its_config(site: Path) -> None:
    """`load_middleware` passes its keywords on to the factory."""
    script = Script(reply())
    marker = load_middleware("marker-for-tests", value="mine")
    async with Client(BASE, middlewares=[marker], transport=script) as api:
        await api.get("/x")

    assert script.last.headers["X-Marker"] == "mine"


def test_a_config_that_the_factory_does_not_take(site: Path) -> None:
    """Keywords that the factory does not accept raise its own TypeError, with a note that names the
    plugin.
    """
    with pytest.raises(TypeError, match="colour") as raised:
        load_middleware("marker-for-tests", colour="red")

    assert raised.value.__notes__ == [
        "while creating the middleware 'marker-for-tests' (marking_plugin:Marker)"
    ]


def test_nothing_installed_inserts_itself(site: Path) -> None:
    """An installed plugin that is not named is neither in a chain nor imported."""
    api = Client(BASE)

    assert "Marker" not in api.explain()
    assert "marking_plugin" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("marker-for-test", "no .* has a middleware 'marker-for-test'; did you mean 'marker-for-tests'"),
        ("zzzzzz", "no installed distribution has a middleware 'zzzzzz'; installed are .*marker-for-tests"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_refused_with_a_hint(site: Path, name: str, message: str) -> None:
    """A name that no distribution has is refused, with the closest one, or all available ones."""
    with pytest.raises(InvalidRequestError, match=message):
        load_middleware(name)


def test_no_plugin_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """If none is installed, the message states it."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: EntryPoints([]))
    with pytest.raises(InvalidRequestError, match="installed are none"):
        load_middleware("marker")


def test_a_name_that_two_distributions_have_is_refused(site: Path) -> None:
    """A name of more than one distribution is ambiguous: none is chosen."""
    install(site, "other", "marker-for-tests = other_plugin:Marker")

    with pytest.raises(
        InvalidRequestError, match=r"more than one .* marking_plugin:Marker, other_plugin:Marker"
    ):
        load_middleware("marker-for-tests")


def test_one_distribution_seen_twice_is_not_a_contradiction(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same entry point found twice, in a checkout and its wheel, is one."""
    point = EntryPoint("twice", "aioapiclient.middleware:TimeoutMiddleware", GROUP)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: EntryPoints([point, point]))

    assert type(load_middleware("twice")).__name__ == "TimeoutMiddleware"


@pytest.mark.parametrize("name", [None, 5, ["retry"]])
def test_a_name_is_a_str(name: Any) -> None:
    """A name that is not a str is a TypeError."""
    with pytest.raises(TypeError, match="name must be a str, the name of a middleware, not"):
        load_middleware(name)


def test_a_plugin_that_is_not_a_middleware_is_refused(site: Path) -> None:
    """The result of a factory is checked like any middleware: a sync one is refused by name."""
    install(
        site,
        "bad",
        "sync-for-tests = bad_plugin:make",
        "def make():\n    def link(r, h): ...\n    return link\n",
    )

    with pytest.raises(TypeError, match="link is not async"):
        Client(BASE, middlewares=["sync-for-tests"])


async def test_an_async_function_is_not_a_factory(site: Path) -> None:
    """An entry point that names the middleware itself, not a factory of it, is refused with its name."""
    source = "async def link(request, handler): ...\n"
    install(site, "direct", "direct-for-tests = direct_plugin:link", source)

    with pytest.raises(TypeError) as raised:
        load_middleware("direct-for-tests")

    assert "direct_plugin:link" in raised.value.__notes__[0]


async def passes(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """A middleware that does nothing."""
    return await handler(request)


def test_the_factory_is_asked_for_each_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name creates a new middleware for every client: two clients share no state."""
    made: list[int] = []

    def factory() -> Any:
        made.append(1)
        return passes

    class Point:
        name, value = "counted", "x:y"

        def load(self) -> Any:
            return factory

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point()])
    Client(BASE, middlewares=["counted"])
    Client(BASE, middlewares=["counted"])

    assert len(made) == 2
