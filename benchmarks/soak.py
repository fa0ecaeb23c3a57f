"""Load and soak: the client's promises under load, kept or missed, as one table in Markdown.

    python benchmarks/soak.py [--short] [--calls N] [--minutes N] [--seed N] [name ...]

Names are those of the scenarios: streams, calls, endings, shared, steady; all of them without any. Ends with
status 1 when a promise is missed. Needs Linux, whose /proc it reads.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import platform
import sys
import time
import warnings
from importlib import import_module
from importlib.metadata import version
from typing import Any

from soaking import Check, Size, exactly, footprint, running_server, table

SCENARIOS = ("streams", "calls", "endings", "shared", "steady")
FULL = Size(calls=100_000, parts=8, memory=1, cancels=10_000, rounds=5, events=1000, minutes=1)
SHORT = Size(calls=20_000, parts=1, memory=15, cancels=2_000, rounds=3, events=100, minutes=0)
SEED = 20261128
_FEWEST = 2000  # calls: enough for some of everything that is counted by chance
_LONGEST = 900  # seconds of one scenario beyond its minutes, should it hang


class Complaints:
    """Collects the complaints of Python and the event loop that no code can catch."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        # An unclosed resource is not an exception, but an exception of its finaliser is.
        warnings.simplefilter("error", ResourceWarning)
        sys.unraisablehook = lambda failure: self._hear(f"{failure.object!r}: {failure.exc_value!r}")

    def listen(self) -> None:
        """Listen to the running loop too."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._hear(str(context)))

    def _hear(self, complaint: str) -> None:
        self.heard.append(complaint)
        print(complaint, file=sys.stderr)


async def run(name: str, seed: int, size: Size) -> tuple[str, list[Check]]:
    """Return the title of one scenario and its checks; it starts its own server, and releases all
    resources.
    """
    module: Any = import_module(f"soak_{name}")
    start = time.monotonic()
    async with asyncio.timeout(_LONGEST + 60 * size.minutes), running_server(seed) as server:
        before = await footprint()
        checks: list[Check] = await module.scenario(server, seed, size)
        after = await footprint()
        facts = await server.order("facts")
    print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    held = f"{', '.join(before._fields)} after the client was closed, as before it was created"
    return module.TITLE, [
        *checks,
        Check(held, *(", ".join(map(str, each)) for each in (after, before)), after == before),
        exactly("connections that the server still sees", facts["connections"], 0),
    ]


async def run_all(names: list[str], seed: int, size: Size) -> dict[str, list[Check]]:
    """The scenarios one after the other, by their titles."""
    complaints = Complaints()
    complaints.listen()
    found = dict([await run(name, seed, size) for name in names])
    gc.collect()
    heard = exactly("reports of Python or the loop that no code could catch", len(complaints.heard), 0)
    return {**found, "In total": [heard]}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="a fifth of everything, for every change")
    parser.add_argument("--calls", type=int, help="how many calls the scenario of that name makes")
    parser.add_argument("--minutes", type=int, help="how long the steady load lasts")
    parser.add_argument("--seed", type=int, default=SEED, help="of all that is left to chance")
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(SCENARIOS))
    options = parser.parse_args()
    if unknown := set(options.names).difference(SCENARIOS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    size = SHORT if options.short else FULL
    if options.calls is not None:
        if options.calls < _FEWEST:
            parser.error(f"--calls must be {_FEWEST} or more, not {options.calls}")
        size = size._replace(calls=options.calls)
    if options.minutes is not None:
        if options.minutes < 1:
            parser.error(f"--minutes must be 1 or more, not {options.minutes}")
        size = size._replace(minutes=options.minutes)
    found = asyncio.run(run_all(options.names or list(SCENARIOS), options.seed, size))
    print(f"{platform.python_implementation()} {platform.python_version()}", end=", ")
    print(*(f"{name} {version(name)}" for name in ("aiohttp", "msgspec", "aioapiclient")), sep=", ", end=", ")
    print(f"seed {options.seed}\n\n{table(found)}")
    missed = sum(check.kept is False for checks in found.values() for check in checks)
    print(f"\n{missed} missed." if missed else "\nAll kept.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
