"""All benchmarks, as one table in Markdown: what was measured, what it must be, what it shall be.

    python benchmarks/run.py [--no-fail] [name ...]

Names are those of the modules beside this one: overhead, bulk, middlewares, against_anthropic, streams,
import_time, tasks, hedging; all of them without any. Ends with status 1 when a "must" is missed,
unless --no-fail.
"""

from __future__ import annotations

import argparse
import platform
import sys
from importlib import import_module
from importlib.metadata import version

from measure import Row, table

MODULES = (
    "overhead",
    "bulk",
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
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(MODULES))
    options = parser.parse_args()
    if unknown := set(options.names).difference(MODULES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    rows: list[Row] = []
    for name in options.names or MODULES:
        found: list[Row] = import_module(name).rows()
        if not found:
            print(f"{name}: left out, it needs a package that benchmarks/README.md names", file=sys.stderr)
        rows += found
    print(
        f"{platform.python_implementation()} {platform.python_version()}, aiohttp {version('aiohttp')},",
        end=" ",
    )
    print(f"msgspec {version('msgspec')}\n\n{table(rows)}")
    return 1 if any(row.failed for row in rows) and not options.no_fail else 0


if __name__ == "__main__":
    sys.exit(main())
