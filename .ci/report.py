"""Report what ran where, from the results of tox: a table, the Pythons, the numbers of tests, the failures.

    python3 .ci/report.py RESULT.json ...

Exits with 1 if tests ran on fewer than three Pythons, or an environment failed.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

SETUP = Path(__file__).parents[1] / "setup.cfg"
NAMED = re.findall(r"^ +Programming Language :: Python :: (3\.\d+)$", SETUP.read_text("utf-8"), re.MULTILINE)


def main(paths: list[str]) -> int:
    """Print the report of the results at *paths*; return the exit status."""
    rows = [row for path in paths for row in rows_of(json.loads(Path(path).read_text("utf-8")))]
    print(f"\n{'environment':<17} {'Python':<8} {'aiohttp':<8} {'seconds':>7}  result")
    for row in rows:
        print("{name:<17} {python:<8} {aiohttp:<8} {seconds:>7.0f}  {result}".format_map(row))
    ran = {row["python"].rpartition(".")[0] for row in rows if row["counts"]["passed"]}
    print(f"\nTests ran on Python {', '.join(version for version in NAMED if version in ran) or '(none)'}.")
    if missing := [version for version in NAMED if version not in ran]:
        print(f"No test passed on Python {', '.join(missing)}: missing on this machine, or failed.")
    if too_few := len(ran) < 3:
        print("That is fewer than three Pythons: install more interpreters under ~/.pyenv or on PATH.")
    total = sum((row["counts"] for row in rows), Counter())
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    for row in rows:
        for line in row["failures"]:
            print(f"{row['name']}: {line[:200]}")
    return int(too_few or any(row["failed"] for row in rows) or not paths)


def rows_of(result: dict) -> list[dict]:
    """Return a row for each environment that ran."""
    return [row_of(name, of) for name, of in result["testenvs"].items() if of.get("result") is not None]


def row_of(name: str, environment: dict) -> dict:
    """Return the row of an environment: its versions, its duration, and pytest's result."""
    result = environment["result"]
    output = "".join(command["output"] for command in environment.get("test", ()))
    python = re.search(r"^platform \S+ -- Python (\S+?),", output, re.MULTILINE)
    aiohttp = re.search(r"aiohttp==(\S+)", "\n".join(environment.get("installed_packages", ())))
    closing = re.search(r"^=+ (\d+ \w+.*) in [\d.]+s", output, re.MULTILINE)
    counts: Counter[str] = Counter()
    for count, word in re.findall(r"(\d+) (passed|failed|error|skipped)", closing[1] if closing else ""):
        counts["failed" if word == "error" else word] += int(count)
    verdict = "skipped" if result["skipped"] else "ok" if result["success"] else "FAILED"
    return {
        "name": name,
        "python": python[1] if python else "",
        "aiohttp": aiohttp[1] if aiohttp else "",
        "seconds": result["duration"],
        "result": f"{verdict}: {closing[1]}" if closing else verdict,
        "failed": verdict == "FAILED",
        "counts": counts,
        # The title of each failed test, and what pytest marks as its error.
        "failures": re.findall(r"^(?:_{3,} .+ _{3,}|E  .+)$", output, re.MULTILINE)
        if verdict == "FAILED"
        else [],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
