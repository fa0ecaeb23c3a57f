"""Times in HTTP: strict dates, and the age of a response (RFC 9110 §5.6.7, RFC 9111 §4.2.3)."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping, Sequence
from email.utils import formatdate, parsedate_tz
from functools import lru_cache
from typing import Final

__all__ = ["HeaderLists", "age_on_arrival", "date_of", "http_date", "parse_date"]

HeaderLists = Mapping[str, Sequence[str]]
"""Values by name in lower case, in the received order."""

_MONTH: Final = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_TIME: Final = r"\d\d:\d\d:\d\d"
_DATE: Final = re.compile(
    rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d {_MONTH} \d{{4}} {_TIME} GMT"
    rf"|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, \d\d-{_MONTH}-\d\d {_TIME} GMT"
    rf"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_MONTH} [ \d]\d {_TIME} \d{{4}}"
)
_MOST: Final = 1 << 31  # seconds, which count as infinite (RFC 9111 §1.2.2)


@lru_cache(maxsize=1024)
def parse_date(text: str) -> int | None:
    """Return a date as seconds since 1970; None for a text that is not exactly an HTTP date."""
    if not _DATE.fullmatch(text):
        return None
    parts = parsedate_tz(text)
    try:
        return None if parts is None else calendar.timegm(parts[:6])
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=16)
def http_date(seconds: int) -> str:
    """Return a time in seconds since 1970 as an HTTP date."""
    return formatdate(seconds, usegmt=True)


def date_of(values: Sequence[str] | None) -> int | None:
    """Return the date in a header of these values; None if it is missing, repeated or not a date."""
    return parse_date(values[0]) if values is not None and len(values) == 1 else None


def age_on_arrival(headers: HeaderLists, asked: float, arrived: float) -> float:
    """Return the corrected initial age of a response, in seconds.

    Args:
        headers: Its headers.
        asked: When the request was sent, in seconds since 1970.
        arrived: When the response arrived, in seconds since 1970.
    """
    date = date_of(headers.get("date"))
    apparent = 0.0 if date is None else arrived - date
    values = headers.get("age")
    told = 0 if values is None else _age_in(values)
    return min(_MOST, max(0.0, apparent, told + max(0.0, arrived - asked)))


def _age_in(values: Sequence[str]) -> int:
    # One that is repeated, or is not a number, may hide any age.
    told = values[0] if len(values) == 1 else ""
    return min(int(told), _MOST) if told.isdecimal() and told.isascii() and len(told) < 20 else _MOST
