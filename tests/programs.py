"""Programs run as a user runs them, by Python in a separate process, or loaded as modules."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parents[1] / "examples"


async def run(*arguments: str | Path, cwd: Path | None = None) -> list[str]:
    """Run Python with these arguments; the lines that it printed. A failure or a warning fails the test."""
    output, _ = await _run(arguments, asyncio.subprocess.STDOUT, cwd)
    return output


async def run_with_log(*arguments: str | Path) -> tuple[list[str], list[str]]:
    """Run Python with these arguments as `run` does; the lines that it printed, and those that it logged."""
    return await _run(arguments, asyncio.subprocess.PIPE)


async def _run(
    arguments: Iterable[str | Path], stderr: int, cwd: Path | None = None
) -> tuple[list[str], list[str]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-B", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        cwd=cwd,
    )
    output, log = [(piped or b"").decode() for piped in await process.communicate()]
    assert process.returncode == 0, output + log
    return _lines(output), _lines(log)


def _lines(output: str) -> list[str]:
    # In development mode the loop reports slow callbacks, which are common on a busy machine.
    return [line for line in output.splitlines() if not line.startswith("Executing <")]


def load(path: Path) -> ModuleType:
    """Load a program as a new module, without running it as the main one."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
