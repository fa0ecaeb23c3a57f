"""Writes docs/faults.md, from the table and from what plain aiohttp does now.

::

    PYTHONPATH=tests python -m faults.report > docs/faults.md
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from faults.programs import missing
from faults.rows import Case, Ends
from faults.running import Plain, in_words, run_client, run_plain
from faults.table import CASES, SECTIONS

__all__ = ["NOT_MEASURED", "PAGE", "key_of", "measured_version", "plain_of", "render"]

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"

_INTRODUCTION = """\
# Faults

This page lists faults between a client and an API: how a call ends, and how many requests the server
receives. Each row is a test in `tests/faults/`, which makes the fault on loopback. The server counts the
requests. After the call no connection, task, timer or file is left, and the next call works. The client
is an `AsyncAPIClient` with its defaults, two retries included; for faults of time its limits are shorter.
`tests/faults/report.py` writes this page, and a test compares it with the table.

The last two columns show a bare `ClientSession` with the same fault, measured in the same run with
aiohttp {version}: `session.request`, `read`, decode. "hangs" means no end within two seconds; aiohttp's
own limit is 300 seconds.
"""


NOT_MEASURED = Plain("not measured")


def key_of(case: Case) -> tuple[str, str, str]:
    """The key of a row of the page."""
    return str(case.fault.number), case.fault.name, case.label


def render(plain: Mapping[tuple[str, str, str], Plain], version: str) -> str:
    """The page."""
    parts = [_INTRODUCTION.format(version=version)]
    for section in SECTIONS:
        if section.cases:
            rows = [_row(case, plain.get(key_of(case), NOT_MEASURED)) for case in section.cases]
            parts.append("\n".join([f"## {section.title}\n", *_HEADER, *rows]) + "\n")
    return "\n".join(parts)


_HEADER = (
    "| # | Fault | Call | The client | Requests | Plain aiohttp | Requests |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


def _row(case: Case, plain: Plain) -> str:
    note = f" ({case.fault.note})" if case.fault.note else ""
    cells = [
        *key_of(case)[:2],
        case.label,
        _ends(case.ends) + note,
        _number(case.ends.requests),
        plain.words,
        _number(plain.requests),
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _number(requests: int | None) -> str:
    return "" if requests is None else str(requests)


def _ends(ends: Ends) -> str:
    end = in_words(ends.value) if ends.error is None else ends.error.__name__
    facts = [f"{name} {in_words(value)}" for name, value in ends.facts.items()]
    waits = [f"after {' and '.join(f'{wait:g}' for wait in ends.waits)} s"] if ends.waits else []
    return ", ".join([f"`{end}`", *(_FACTS.get(fact, fact) for fact in facts), *waits])


_FACTS = {
    "sent false": "not sent",
    "sent null": "may have been sent",
    "final true": "never retried",
}


def plain_of(page: str) -> dict[tuple[str, str, str], Plain]:
    """The page's text about plain aiohttp."""
    found = {}
    for line in page.splitlines():
        if re.match(r"\| \d+ \|", line):
            number, name, label, *_, words, requests = (
                cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]
            )
            found[number, name, label] = Plain(words, int(requests) if requests else None)
    return found


def measured_version(page: str) -> str:
    """Return the aiohttp version that the page describes."""
    found = re.search(r"\baiohttp\s(\d[\d.]+\d)", page)
    return "" if found is None else found[1]


async def _measure() -> str:
    known = plain_of(PAGE.read_text(encoding="utf-8")) if PAGE.is_file() else {}
    plain = {}
    for case in CASES:
        reason = missing(case)
        if reason is not None:
            sys.stderr.write(f"{case.id}: {reason}\n")
            plain[key_of(case)] = known.get(key_of(case), NOT_MEASURED)
            continue
        await run_client(case)
        plain[key_of(case)] = await run_plain(case, case.fault.guard)
    return render(plain, aiohttp.__version__)


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(_measure()))
