"""Servers from npm: each is a folder `servers/NAME` of a plugin's tests, with a `server.mjs`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from needed_servers import need_node_modules, need_program

__all__ = ["npm_server"]


@contextmanager
def npm_server(source: Path, *arguments: str) -> Iterator[str]:
    """Run the server of a folder in a separate process, and yield the first line that it prints."""
    node, modules = need_program("node"), need_node_modules(source.name)
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
