"""The cost of ``import aioapiclient`` beyond its dependencies, in fresh interpreters, CPU time, in turns.

python benchmarks/import_time.py        also lists where the difference goes
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

from measure import ROUNDS, Row, compare, in_turns, table

OURS = "import aioapiclient"
BASE = "import aiohttp, msgspec"
_TIMED = (
    "import json, sys, time; sys.path[:] = json.loads(sys.argv[1]); start = time.process_time(); {}; "
    "print(time.process_time() - start)"
)
_COUNTED = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); sys.path.append(sys.argv[2]); "
    "from bytecodes import Bytecodes\nwith Bytecodes() as counted: {}\nprint(counted.count)"
)
_LISTED = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); {}; print('-', file=sys.stderr); {}"


def fresh(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run *code* in a separate interpreter, isolated from the environment and the user's site, with our
    path.
    """
    path = json.dumps([place for place in sys.path if place])
    command = [sys.executable, "-I", *options, "-c", code, path, str(Path(__file__).parent)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def seconds(statement: str) -> float:
    """CPU seconds of one import."""
    return float(fresh(_TIMED.format(statement)).stdout)


def executed(statement: str) -> float:
    """Bytecodes of one import, beyond those of the counter's own imports."""
    return float(fresh(_COUNTED.format(statement)).stdout)


def listed() -> list[tuple[int, str]]:
    """Microseconds of each module that aioapiclient imports beyond the base, without its own imports."""
    after = fresh(_LISTED.format(BASE, OURS), "-X", "importtime").stderr.rpartition("\n-\n")[2]
    lines = re.findall(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)", after)
    return sorted(((int(own), name) for own, name in lines), reverse=True)


def rows() -> list[Row]:
    """The rows of this module."""
    seconds(OURS)  # writes the bytecode
    times = in_turns({"base": partial(seconds, BASE), "ours": partial(seconds, OURS)}, max(ROUNDS // 3, 5))
    note = f"{min(times['ours']) * 1e3:.0f} ms over {min(times['base']) * 1e3:.0f} ms"
    return [
        compare(
            "`import aioapiclient` over `import aiohttp, msgspec`",
            times["ours"],
            times["base"],
            must=1.12,
            goal=1.05,
            bytecodes=(executed(OURS), executed(BASE)),
            note=note,
        )
    ]


if __name__ == "__main__":
    print(table(rows()))
    for own, name in listed()[:40]:
        print(f"{own:8} us  {name}")
