"""Servers from npm: each is a folder `servers/NAME` of a plugin's tests, with a `server.mjs`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

__all__ = ["npm_server"]


@contextmanager
def npm_server(source: Path, *arguments: str) -> Iterator[str]:
    """Run the server of a folder in a process of its own, and give the first line that it prints.

    The test is skipped where node, or what `.ci/servers.sh` installs for the server, is missing.
    """
    node, modules = _find_node(), _find_modules(source.name)
    with TemporaryDirectory() as name, (Path(name) / "log").open("wb") as log:
        folder = Path(name)
        # Node looks for modules beside the program.
        (folder / "node_modules").symlink_to(modules)
        program = shutil.copy(source / "server.mjs", folder)
        process = subprocess.Popen([node, program, *arguments], stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            if not line:
                raise RuntimeError(f"{source.name} did not start: {(folder / 'log').read_text()[-2000:]}")
            yield line
        finally:
            process.kill()
            process.communicate()


def _find_node() -> str:
    return shutil.which("node") or pytest.skip("node is not installed: `apt-get install nodejs`")


def _find_modules(name: str) -> Path:
    modules = Path(os.environ.get("AIOAPICLIENT_TEST_SERVERS", "/nonexistent")) / name / "node_modules"
    if not modules.is_dir():
        pytest.skip(f"{name} is not under $AIOAPICLIENT_TEST_SERVERS: `.ci/servers.sh` installs it by npm")
    return modules
