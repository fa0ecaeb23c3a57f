"""Where the programs are that a few places run, such as nginx: of `.ci/run`, or installed."""

from __future__ import annotations

import os
import shutil
import sys

from faults.rows import Case

__all__ = ["find_program", "missing"]


def find_program(name: str) -> str | None:
    """The path of the program *name*; None where it is missing."""
    servers = os.environ.get("AIOAPICLIENT_TEST_SERVERS", "/nonexistent")
    folders = [f"{servers}/usr/sbin", os.environ.get("PATH", os.defpath), "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(folders))


_LENIENT = {"a folded header", "lines that end with a bare LF"}


def missing(case: Case) -> str | None:
    """Why *case* cannot be run here; None where it can."""
    if sys.flags.dev_mode and case.fault.name in _LENIENT:
        return "aiohttp's parser is strict in Python's development mode"
    names = [name for name in case.fault.needs if find_program(name) is None]
    return f"{', '.join(names)} is not installed: `.ci/run` unpacks it" if names else None
