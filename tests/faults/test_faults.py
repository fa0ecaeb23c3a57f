"""The fault catalogue: each case run by the client and by plain aiohttp, and the page that shows both."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import http_parser
from faults.programs import missing
from faults.report import NOT_MEASURED, PAGE, key_of, measured_version, plain_of, render
from faults.rows import Case
from faults.running import run_client, run_plain
from faults.table import CASES, SECTIONS, Section
from needed_servers import need_program

_TEXT = PAGE.read_text(encoding="utf-8")
_PLAIN = plain_of(_TEXT)
_VERSION = measured_version(_TEXT)


@pytest.fixture(autouse=True, scope="module")
def little_garbage() -> Iterator[None]:
    """Exclude existing objects from the collections after each case, which would take most of the time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def _runnable(case: Case) -> Case:
    for name in case.fault.needs:
        need_program(name)
    reason = missing(case)
    if reason is not None:
        pytest.skip(reason)
    return case


every_case = pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])


@every_case
async def test_a_fault_ends_as_its_row_says(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    """The call ends as the row specifies, the server has received that many requests, and no resource
    leaks.
    """
    await run_client(_runnable(case))
    assert [record for record in caplog.records if record.levelno >= logging.ERROR and _is_ours(record)] == []


def _is_ours(record: logging.LogRecord) -> bool:
    # In debug mode the loop, which is also the server's, reports each TLS handshake that a client has
    # refused.
    return not record.getMessage().startswith("Error on transport creation")


_is_as_measured = (
    aiohttp.__version__.split(".")[:2] == _VERSION.split(".")[:2]
    and http_parser.HttpResponseParser is not http_parser.HttpResponseParserPy
    and os.environ.get("AIOAPICLIENT_TEST_LOOP", "asyncio") == "asyncio"
    and not sys.flags.dev_mode  # aiohttp parses strictly there
)


@pytest.mark.skipif(not _is_as_measured, reason=f"the page is of aiohttp {_VERSION} in C, on asyncio's loop")
@every_case
async def test_plain_aiohttp_does_what_the_page_says(case: Case) -> None:
    """The column of plain aiohttp shows its current behaviour."""
    said = _PLAIN.get(key_of(_runnable(case)), NOT_MEASURED)
    # A case that hangs does so whatever the time: only the others get all the time that they may need.
    guard = 0.1 if said.words == "hangs" else 20.0
    assert await run_plain(case, guard, said.requests or 0) == said


def test_the_page_is_the_table() -> None:
    """docs/faults.md has the rows of the table, each with its outcome; `faults.report` writes it."""
    assert render(_PLAIN, _VERSION) == _TEXT, "write it again: see tests/faults/README.md"


@pytest.mark.parametrize("section", SECTIONS, ids=[section.title for section in SECTIONS])
def test_no_fault_is_missing(section: Section) -> None:
    """Every number of the catalogue has a row, in order."""
    numbers = [fault.number for fault in section.faults]

    assert sorted(numbers) == numbers
    assert set(numbers) == set(section.numbers)


def test_cases_are_told_apart() -> None:
    """No two rows of the page are of the same call at the same fault."""
    assert len({key_of(case) for case in CASES}) == len(CASES)
