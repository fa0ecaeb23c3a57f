"""The pytest plugin: options, the marker, and the fixtures.

pytest imports this module in every run. So it imports what a fixture needs when the fixture is used, and its
hooks do nothing for a test without such a fixture.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, cast, overload

import pytest

if TYPE_CHECKING:
    from aioresponses import aioresponses

    from aioapiclient import AsyncAPIClient
    from aioapiclient.testing import FakeClock

    from ._cassette import Cassette, Mode
    from ._mock import MockAPI

__all__ = ["ClientFactory"]

P = ParamSpec("P")
C = TypeVar("C")

_MODES: Final = ("none", "once", "new", "all")
_RECORD: Final = "aioapiclient_record"
_FOLDER: Final = "aioapiclient_cassette_dir"
_BASE_URL: Final = "https://api.example.com"
_FAILED: Final = pytest.StashKey[bool]()
_WRITTEN: Final = pytest.StashKey[dict[Path, int]]()
_MARKER: Final = (
    "cassette(name, *, match, mode, scrub, secrets): the file and the options of the fixture `cassette` "
    "(pytest-aioapiclient)"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--record`` and the settings."""
    group = parser.getgroup("aioapiclient")
    group.addoption("--record", dest=_RECORD, choices=_MODES, help="what the fixture `cassette` records")
    parser.addini(_RECORD, f"what it records without --record: {', '.join(_MODES)}", default="none")
    parser.addini(_FOLDER, "the folder of its files, relative to that of the test", default="cassettes")


def pytest_configure(config: pytest.Config) -> None:
    """Add the marker, and check the settings."""
    config.addinivalue_line("markers", _MARKER)
    mode = config.getini(_RECORD)
    if mode not in _MODES:
        raise pytest.UsageError(f"{_RECORD} must be one of {', '.join(_MODES)}, not {mode!r}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record on a test's fixtures that it failed."""
    report = yield
    if report.failed and _FAILED in item.stash:
        item.stash[_FAILED] = True
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """List the cassettes that were written."""
    if written := config.stash.get(_WRITTEN, None):
        terminalreporter.section("cassettes recorded")
        for path, takes in written.items():
            terminalreporter.line(f"{path} ({takes} {'take' if takes == 1 else 'takes'})")


# --- fixtures


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that waits advance: those of clients on `mock_api`, and on a `cassette` during playback."""
    from aioapiclient.testing import FakeClock

    return FakeClock()


@pytest.fixture
def mock_api(request: pytest.FixtureRequest, fake_clock: FakeClock) -> Iterator[MockAPI]:
    """A transport of routes; the test fails if a request matches none, or a route is not called."""
    from ._mock import MockAPI

    request.node.stash[_FAILED] = False
    mock = MockAPI(clock=fake_clock)
    yield mock
    if not request.node.stash[_FAILED]:
        _fail_if(mock.unexpected)
        if mock.must_call_all:
            try:
                mock.assert_all_called()
            except AssertionError as error:
                pytest.fail(str(error), pytrace=False)


class ClientFactory(Protocol):
    """The type of the fixture `api_client`: creates clients on `mock_api`."""

    @overload
    def __call__(self, base_url: str = _BASE_URL, /, **options: Any) -> AsyncAPIClient: ...
    @overload
    def __call__(self, make: Callable[P, C], /, *args: P.args, **options: P.kwargs) -> C: ...


@pytest.fixture
def api_client(mock_api: MockAPI) -> ClientFactory:
    """A function that creates clients on `mock_api`, whose waits advance `fake_clock`.

    ``api_client()`` and ``api_client(base_url, **options)`` create an `AsyncAPIClient`;
    ``api_client(Library, "token")`` calls ``Library("token", transport=mock_api)``.
    """
    from aioapiclient import AsyncAPIClient

    def make(make: Any = _BASE_URL, /, *args: Any, **options: Any) -> Any:
        options.setdefault("transport", mock_api)
        if callable(make):
            return make(*args, **options)
        return AsyncAPIClient(make, *args, **options)

    return make


@pytest.fixture
def cassette(request: pytest.FixtureRequest, fake_clock: FakeClock) -> Iterator[Cassette]:
    """A transport that plays and records the file of this test: ``cassettes/FILE/TEST.jsonl`` beside it."""
    from ._fixtures import FixtureCassette

    node, config = request.node, request.config
    node.stash[_FAILED] = False
    written = config.stash.setdefault(_WRITTEN, {})
    marker = node.get_closest_marker("cassette")
    options = dict(marker.kwargs) if marker is not None else {}
    path = _path_of(request, marker.args[0] if marker is not None and marker.args else None)
    options["mode"] = _mode_of(config, options.get("mode"), again=path in written)
    tape = FixtureCassette(path, clock=fake_clock, **options)
    yield tape
    if node.stash[_FAILED]:
        if tape.recorded:
            node.add_report_section(
                "teardown", "cassette", f"{path} was not written, because the test failed"
            )
        return
    if tape.recorded:
        tape.save()
        written[path] = written.get(path, 0) + tape.recorded
    _fail_if(tape.unexpected)


@pytest.fixture
def mended_aioresponses() -> Iterator[type[aioresponses]]:
    """The class `aioresponses`, which works with each aiohttp during the test, wherever it is imported."""
    try:
        from ._aioresponses import mended_aioresponses as mended

        with mended() as made:
            yield made
    except ModuleNotFoundError as error:
        if error.name != "aioresponses":
            raise
        pytest.fail("install pytest-aioapiclient[aioresponses] to mock aiohttp", pytrace=False)


@pytest.fixture
def mock_aiohttp(mended_aioresponses: type[aioresponses]) -> Iterator[aioresponses]:
    """An active `aioresponses` in place of aiohttp's requests, which works with each aiohttp."""
    with mended_aioresponses() as mocked:
        yield mocked


# --- shared by the fixtures


def _fail_if(unexpected: list[str]) -> None:
    if unexpected:
        pytest.fail("\n".join(["the code under test swallowed this:", *unexpected]), pytrace=False)


def _mode_of(config: pytest.Config, marked: str | None, *, again: bool) -> Mode:
    """Return the mode of a cassette: from the command line, the marker, or the settings."""
    given = config.getoption(_RECORD)
    if given in (None, "none") and marked == "loop":
        return "loop"
    mode = cast("Mode", given or marked or config.getini(_RECORD))
    # A file written by an earlier test of this run is neither replaced nor a reason to stop recording.
    return "new" if again and mode in ("once", "all") else mode


def _path_of(request: pytest.FixtureRequest, name: str | None) -> Path:
    folder: Path = request.path.parent / str(request.config.getini(_FOLDER))
    if name is not None:
        return folder / f"{name}.jsonl"
    whole = request.node.nodeid.partition("::")[2].replace("::", ".")
    safe = re.sub(r"[^\w.-]+", "-", whole).strip("-")
    if safe != whole:
        # Two tests whose names differ only in other characters must not share a file.
        safe = f"{safe}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
    return folder / request.path.stem / f"{safe}.jsonl"
