"""The Pythons to measure with: CPython 3.11, and the newest that the machine has; each with its packages.

This interpreter is used as it is. Another one gets a virtual environment under ``.tox/benchmarks``, with the
working tree, the extra ``bench`` and the plugins that have rows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["prepared"]

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = 11, 30  # the minor versions to look for
PLUGINS = ("loadcontrol", "otel", "ratelimit", "timeline")


def prepared() -> dict[str, Path]:
    """Return the interpreters by version, the older first; an unavailable one is left out, with a reason."""
    own = "{}.{}".format(*sys.version_info)
    found: dict[str, Path] = {}
    for version, python in wanted():
        if version == own:
            found[version] = Path(sys.executable)
            continue
        try:
            found[version] = environment(version, python)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"CPython {version}: left out, its environment cannot be made: {error}", file=sys.stderr)
    return found or {own: Path(sys.executable)}


def wanted() -> list[tuple[str, Path]]:
    """The oldest and the newest interpreter that start."""
    able = [(version, python) for version, python in candidates() if starts(python)]
    return [able[0], able[-1]] if len(able) > 1 else able


def candidates() -> Iterator[tuple[str, Path]]:
    """Candidate interpreters, by version; `.ci/pythons.sh` unpacks the newest ones."""
    path = os.pathsep.join((str(ROOT / ".tox/pythons/bin"), os.environ.get("PATH", os.defpath)))
    own = "{}.{}".format(*sys.version_info)
    for minor in range(OLDEST, NEWEST):
        python = sys.executable if own == f"3.{minor}" else shutil.which(f"python3.{minor}", path=path)
        if python is not None:
            yield f"3.{minor}", Path(python)


def starts(python: Path) -> bool:
    """Return whether *python* starts: one that pyenv puts on the path may not."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def environment(version: str, python: Path) -> Path:
    """Return the interpreter of a virtual environment with the current working tree."""
    folder = ROOT / ".tox/benchmarks" / version
    inside = folder / "bin/python"
    if not inside.exists():
        # Without pip: Debian's Python has it in a separate package.
        subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    plugins = [f"{ROOT}/middleware/aioapiclient-{name}" for name in PLUGINS]
    packages = [f"{ROOT}[bench]", *plugins, "opentelemetry-sdk"]
    pip = [sys.executable, str(newest_pip()), "--disable-pip-version-check", "--python", str(inside)]
    subprocess.run([*pip, "install", "--quiet", *packages], check=True)
    return inside


def newest_pip() -> Path:
    """Return the newest pip, in a folder of its own: the pip of an older interpreter fails on a newer one."""
    folder = ROOT / ".tox/benchmarks/pip"
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "--target", folder, "pip"], check=True)
    return folder / "pip"
