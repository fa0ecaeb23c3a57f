"""How long to wait: against `email.utils`, in any time zone, in digits of any script, and spread evenly."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from fuzz.mutations import mutated
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aioapiclient import RetryPolicy
from aioapiclient._response_headers import parse_http_date, retry_after

CASES = Path(__file__).parents[1] / "cases"
NUMBERS = json.loads((CASES / "structured_numbers.json").read_text())["cases"]
FORMS = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
# A year of two digits is one of the 50 years before or after this one.
NOW = datetime.now(UTC).replace(tzinfo=None)
MOMENTS = st.datetimes(NOW - timedelta(45 * 365), NOW + timedelta(45 * 365)).map(
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)
GOOD = [
    *(b"0", b"120", b"1.5", b"Fri, 31 Dec 1999 23:59:59 GMT", b"Friday, 31-Dec-99 23:59:59 GMT"),
    *(b"Fri Dec 31 23:59:59 1999", b"Wed, 29 Feb 2040 00:00:60 GMT", b"Thu Feb  1 00:00:00 2035"),
]


def waits(value: str, **headers: str) -> float | None:
    """The wait that a 429 with this Retry-After asks for."""
    return retry_after(CIMultiDict({"Retry-After": value, **headers}), 429)


@contextmanager
def time_zone(name: str) -> Iterator[None]:
    """Python's idea of local time, changed for a while."""
    before = os.environ.get("TZ")
    try:
        os.environ["TZ"] = name
        time.tzset()
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


@given(MOMENTS, st.sampled_from(FORMS))
def test_every_form_of_a_date_is_read(moment: datetime, form: str) -> None:
    """Each of the three forms of RFC 9110 is parsed to the original time."""
    assert parse_http_date(moment.strftime(form)) == moment


@given(mutated(GOOD).map(lambda data: data.decode("latin-1")))
def test_a_date_is_never_read_otherwise_than_by_the_standard_library(value: str) -> None:
    """A text read as a date is the same moment for `email.utils`, which reads more than HTTP allows."""
    found = parse_http_date(value)

    if found is not None and found.second < 59:  # a leap second is 59 here, and refused there
        expected = parsedate_to_datetime(value)
        if "-" in value:  # a year of two digits: email has no rule of 50 years
            expected = expected.replace(year=found.year)
        assert found == expected.replace(tzinfo=UTC)


@given(mutated(GOOD).map(lambda data: data.decode("latin-1")), st.integers(0, 10**6), MOMENTS)
def test_a_retry_after_is_none_or_finite(value: str, more: int, moment: datetime) -> None:
    """A text close to a Retry-After gives None or a finite number of 0 or more, always the same one."""
    date = format_datetime(moment, usegmt=True)
    found = waits(value, Date=date)

    assert found is None or (found >= 0 and math.isfinite(found))
    assert waits(value, Date=date) == found
    later = format_datetime(moment + timedelta(seconds=more), usegmt=True)
    after = waits(value, Date=later)
    assert (after is None) is (found is None)
    assert found is None or after is None or after in (found, max(0.0, found - more))


@given(st.text(st.characters(categories=["Nd", "Nl", "No"], exclude_characters="0123456789"), min_size=1))
def test_only_ascii_digits_count(digits: str) -> None:
    """Digits of other scripts, which `int` and `float` accept, are neither seconds nor part of a date."""
    assert waits(digits) is None
    assert waits(f"1{digits}") is None
    assert waits(f"Fri, 3{digits[0]} Dec 1999 23:59:59 GMT") is None


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Chatham", "XYZ+11:30"])
@given(MOMENTS, st.sampled_from(FORMS), st.integers(0, 10**6))
def test_no_time_zone_matters(zone: str, moment: datetime, form: str, seconds: int) -> None:
    """A machine's time zone changes no wait, in any form of a date, daylight saving or not."""
    value = moment.strftime(form)
    date = format_datetime(moment - timedelta(seconds=seconds), usegmt=True)
    with time_zone(zone):
        assert waits(value, Date=date) == seconds
        assert parse_http_date(value) == moment


@pytest.mark.parametrize("case", NUMBERS, ids=lambda case: case["name"])
def test_a_reset_is_a_structured_number(case: dict[str, Any]) -> None:
    """RateLimit-Reset by the tests of RFC 9651: a number of 0 or more is that number, all else no error."""
    found = retry_after(CIMultiDict({"RateLimit-Reset": case["raw"][0]}), 429)

    if case.get("must_fail"):
        # More digits than the RFC allows are still parsed.
        assert found is None or re.fullmatch(r" *[0-9]+(\.[0-9]+)? *", case["raw"][0])
    else:
        number, parameters = case["expected"]
        expected = number if not parameters and number >= 0 else None
        assert found == expected or (found is None and not number)


def test_full_jitter_is_spread_evenly() -> None:
    """Of 10,000 waits, each tenth of the range gets its share, within a fifth of it."""
    policy = RetryPolicy()
    shares = [0] * 10
    for _ in range(10_000):
        shares[min(9, int(policy.jitter(8.0) / 0.8))] += 1

    assert min(shares) > 800
    assert max(shares) < 1200
