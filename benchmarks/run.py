"""All benchmarks, as one table in Markdown: the measured value, the "must" bar and the "goal" bar.

    python benchmarks/run.py [--no-fail] [--here] [name ...]

Runs on CPython 3.11 and on the newest one that the machine has, side by side: module by module, each in a
separate process. `interpreters.py` prepares the other one. --here measures only with this one.
Without names all modules run. Ends with status 1 when a "must" is missed, unless --no-fail.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path

import msgspec
from interpreters import prepared
from measure import Row, side_by_side

PROCESSES = {"streams": 5}
"""The modules that run in more than one process, because their ratios differ by several percent from one
process to the next. Each row is the median one.
"""

MODULES = (
    "overhead",
    "bulk",
    "many_at_once",
    "long_lists",
    "middlewares",
    "against_anthropic",
    "streams",
    "import_time",
    "tasks",
    "hedging",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--no-fail", action="store_true", help="end with 0 whatever was measured")
    parser.add_argument("--here", action="store_true", help="measure with this interpreter only")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)  # for `rows_with`
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(MODULES))
    options = parser.parse_args()
    names = options.names or MODULES
    if unknown := set(names).difference(MODULES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    if options.json:
        sys.stdout.buffer.write(msgspec.json.encode([row for name in names for row in rows_of(name)]))
        return 0
    here = {"{}.{}".format(*sys.version_info): Path(sys.executable)}
    found = measure(here if options.here else prepared(), names)
    print(f"aiohttp {version('aiohttp')}, msgspec {version('msgspec')}\n\n{side_by_side(found)}")
    missed = any(row.failed for rows in found.values() for row in rows)
    return 1 if missed and not options.no_fail else 0


def measure(pythons: dict[str, Path], names: tuple[str, ...]) -> dict[str, list[Row]]:
    """Return the rows of each Python, measured in turns."""
    found: dict[str, list[Row]] = {f"CPython {name}": [] for name in pythons}
    for name in names:
        for rows, python in zip(found.values(), pythons.values(), strict=True):
            rows += rows_with(python, name)
    return found


def rows_with(python: Path, name: str) -> list[Row]:
    """The rows of one module, measured by *python*."""
    command = [str(python), __file__, "--json", name]
    runs: list[list[Row]] = []
    for _ in range(PROCESSES.get(name, 1)):
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        runs.append(msgspec.json.decode(output, type=list[Row]))
    return [sorted(rows, key=attrgetter("measured"))[len(rows) // 2] for rows in zip(*runs, strict=True)]


def rows_of(name: str) -> list[Row]:
    """The rows of one module, measured here."""
    found: list[Row] = import_module(name).rows()
    if not found:
        print(f"{name}: left out, it needs a package that benchmarks/README.md names", file=sys.stderr)
    return found


if __name__ == "__main__":
    sys.exit(main())
