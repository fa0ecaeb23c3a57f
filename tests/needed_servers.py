"""External servers for the tests: on the PATH, or unpacked by `.ci/servers.sh`.

A test whose server is missing is skipped. It fails if ``AIOAPICLIENT_REQUIRE_SERVERS`` is 1, as in `.ci/run`.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

__all__ = ["find_program", "need_file", "need_module", "need_node_modules", "need_program", "unavailable"]

_SCRIPT: Final = "`.ci/servers.sh` unpacks it, or install it"
_TOX: Final = "`tox -e integration` installs it"
_SOURCES: Final = {
    **dict.fromkeys(("datasette", "gunicorn", "mcp-proxy", "mcp-server-time", "pypi-server"), _TOX),
    "etcd": f"{_TOX} on x86-64 Linux, or install it",
    "node": "`apt-get install nodejs npm`",
}


def find_program(*names: str) -> str | None:
    """Return the path of the first program found: of this environment, unpacked, or installed."""
    servers = _unpacked()
    own = [Path(sys.executable).parent, servers / "usr/bin", servers / "usr/sbin"]
    path = os.pathsep.join([*map(str, own), os.environ.get("PATH", os.defpath), "/usr/sbin"])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def need_program(*names: str) -> str:
    """Return the path of the program with one of these names; the test ends if it is missing."""
    return find_program(*names) or unavailable(names[0], _SOURCES.get(names[0], _SCRIPT))


def need_file(name: str) -> Path:
    """Return the file *name*, relative to the root of the system or of the unpacked servers."""
    for root in (_unpacked(), Path("/")):
        if (root / name).is_file():
            return root / name
    return unavailable(f"/{name}", _SCRIPT)


def need_node_modules(name: str) -> Path:
    """Return the modules of the server from npm that has the folder ``servers/NAME`` in a plugin's tests."""
    modules = _unpacked() / name / "node_modules"
    return modules if modules.is_dir() else unavailable(name, "`.ci/servers.sh` installs it by npm")


def need_module(name: str, distribution: str, version: str | None = None) -> Any:
    """Import the module *name* of a distribution: a server in Python, or the client of a server."""
    try:
        return pytest.importorskip(name, version)
    except pytest.skip.Exception as error:
        return unavailable(
            distribution, f"{error}; `tox -e plugins` or `pip install '{distribution}'` installs it"
        )


def unavailable(what: str, source: str) -> NoReturn:
    """Skip the test, or the module that calls this; fail where servers are required."""
    reason = f"{what} is missing: {source}"
    if os.environ.get("AIOAPICLIENT_REQUIRE_SERVERS", "0") not in ("", "0"):
        pytest.fail(f"{reason} (AIOAPICLIENT_REQUIRE_SERVERS is set)", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def _unpacked() -> Path:
    return Path(os.environ.get("AIOAPICLIENT_TEST_SERVERS", "/nonexistent"))
