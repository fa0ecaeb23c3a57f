"""Which cases cannot be run here, and why."""

from __future__ import annotations

import sys

from faults.rows import Case
from needed_servers import find_program

__all__ = ["missing"]

_LENIENT = {"a folded header", "lines that end with a bare LF"}


def missing(case: Case) -> str | None:
    """Return why *case* cannot run here; None if it can."""
    if sys.flags.dev_mode and case.fault.name in _LENIENT:
        return "aiohttp's parser is strict in Python's development mode"
    names = [name for name in case.fault.needs if find_program(name) is None]
    return f"{', '.join(names)} is not installed: `.ci/run` unpacks it" if names else None
