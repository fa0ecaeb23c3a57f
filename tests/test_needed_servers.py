"""A missing server skips its tests; in `.ci/run`, which requires servers, it fails them."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest
from needed_servers import find_program, need_file, need_module, need_node_modules, need_program

ROOT = Path(__file__).parents[1]

EVERY_KIND = """
import pytest
from needed_servers import need_file, need_module, need_node_modules, need_program

@pytest.fixture
def server():
    return need_program("no-such-server", "nor-this-one")

def test_program(server): ...
def test_node(): need_program("node")
def test_file(): need_file("usr/lib/no_such_module.so")
def test_npm(): need_node_modules("no-such-server")
def test_module(): need_module("no_such_module", "no-such-distribution")
def test_version(): need_module("pytest", "pytest", "1000")
"""


def outcome(folder: Path, code: str, **environment: str) -> str:
    """Run pytest on *code* where no server can be found; its report."""
    (folder / "test_servers.py").write_text(code)
    (folder / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-rsfE", "--tb=short"],
        cwd=folder,
        env={
            **os.environ,
            "PATH": "/nonexistent",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(Path(__file__).parent),
            "AIOAPICLIENT_TEST_SERVERS": str(folder),
            # As wide as a line of the summary may be.
            "COLUMNS": "400",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.stdout + done.stderr


MESSAGES = (
    "no-such-server is missing: `.ci/servers.sh` unpacks it, or install it",
    "node is missing: `apt-get install nodejs npm`",
    "/usr/lib/no_such_module.so is missing: `.ci/servers.sh` unpacks it, or install it",
    "no-such-server is missing: `.ci/servers.sh` installs it by npm",
    "no-such-distribution is missing: could not import 'no_such_module'",
    "`tox -e plugins` or `pip install 'no-such-distribution'` installs it",
    "pytest is missing: module 'pytest' has __version__",
)


@pytest.mark.parametrize("value", ["", "0"])
def test_a_missing_server_skips_its_tests(tmp_path: Path, value: str) -> None:
    """Where servers are not required, every kind is a skip whose reason names the server and its source."""
    report = outcome(tmp_path, EVERY_KIND, AIOAPICLIENT_REQUIRE_SERVERS=value)

    assert "6 skipped in" in report
    for message in MESSAGES:
        assert message in report


def test_a_required_server_that_is_missing_fails_its_tests(tmp_path: Path) -> None:
    """With ``AIOAPICLIENT_REQUIRE_SERVERS=1`` the same are failures, with the same reasons."""
    report = outcome(tmp_path, EVERY_KIND, AIOAPICLIENT_REQUIRE_SERVERS="1")

    assert "5 failed, 1 error in" in report
    for message in MESSAGES:
        assert message in report
    assert report.count("(AIOAPICLIENT_REQUIRE_SERVERS is set)") >= 6


@pytest.mark.parametrize(("value", "summary"), [("0", "1 skipped in"), ("1", "1 error in")])
def test_a_module_can_need_a_server(tmp_path: Path, value: str, summary: str) -> None:
    """Called while a module is imported, it skips or fails the whole module."""
    code = 'from needed_servers import need_program\nneed_program("no-such-server")\ndef test(): ...\n'

    assert summary in outcome(tmp_path, code, AIOAPICLIENT_REQUIRE_SERVERS=value)


def test_what_was_unpacked_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs, files and modules are found under ``AIOAPICLIENT_TEST_SERVERS``; of two names either fits."""
    monkeypatch.setenv("AIOAPICLIENT_TEST_SERVERS", str(tmp_path))
    program, file, modules = (
        tmp_path / name for name in ("usr/sbin/second-name", "usr/lib/a.so", "server/node_modules")
    )
    for path in (program, file):
        path.parent.mkdir(parents=True)
        path.touch(0o755)
    modules.mkdir(parents=True)

    assert find_program("first-name") is None
    assert need_program("first-name", "second-name") == str(program)
    assert need_file("usr/lib/a.so") == file
    assert need_node_modules("server") == modules
    assert need_module("pytest", "pytest", "1.0") is pytest


def test_ci_requires_servers() -> None:
    """`.ci/run` sets the variable, and tox passes it to every environment that runs tests."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "tox.ini")

    assert "\nexport AIOAPICLIENT_REQUIRE_SERVERS=" in (ROOT / ".ci/run").read_text()
    assert config["testenv"]["pass_env"] == "AIOAPICLIENT_REQUIRE_SERVERS"
    assert [name for name in config.sections() if name != "testenv" and "pass_env" in config[name]] == []


def test_servers_are_found_in_one_place() -> None:
    """No other file searches the folder of unpacked servers, so none can skip a test that CI requires."""
    files = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("middleware/*/tests/**/*.py")]

    found = {path.name for path in files if "AIOAPICLIENT_TEST_SERVERS" in path.read_text("utf-8")}

    assert found == {"needed_servers.py", Path(__file__).name}
