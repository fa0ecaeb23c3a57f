"""How long a response asks to wait: ``Retry-After`` and the other headers that servers use for it.

Whatever a server writes there, the answer is None or a finite number of seconds, never an error:
these headers come from the side that is in trouble.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from ._patterns import lazily

__all__ = ["parse_http_date", "retry_after"]

# ASCII digits only: float() would also take "1e3", "inf", "1_0" and Arabic digits.
_SECONDS = lazily(r"[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)

_MONTHS = {name: number for number, name in enumerate(
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
)}  # fmt: skip
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_SHORT = "(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG = "(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)"
# RFC 9110 §5.6.7: IMF-fixdate, and the two obsolete forms that a recipient must accept.
_DATES = tuple(
    lazily(pattern, re.ASCII | re.IGNORECASE)
    for pattern in (
        rf"{_SHORT}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_CLOCK} GMT",
        rf"{_LONG}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_CLOCK} GMT",
        rf"{_SHORT} {_MONTH} (?P<day>[ \d]\d) {_CLOCK} (?P<year>\d{{4}})",
    )
)


def retry_after(headers: Mapping[str, str], status: int) -> float | None:
    """Return the seconds that a response asks to wait; 0.0 is "no need to", None "says nothing usable".

    A point in time counts from the response's own ``Date``, so that a wrong clock on either side does
    not matter. The headers about a window count with a 429 only: elsewhere they tell of a window that
    may be far from used up.

    Args:
        headers: The headers of the response, case-insensitive.
        status: Its status code.

    """
    for name, read in _WAITS if status != 429 else _WAITS_AND_RESETS:
        value = headers.get(name)
        if value is not None:
            seconds = read(value.strip(" \t"), headers.get("Date"))
            if seconds is not None:
                return seconds
    return None


def _number(value: str) -> float | None:
    return float(value) if _SECONDS.fullmatch(value) else None


def _milliseconds(value: str, date: str | None) -> float | None:
    number = _number(value)
    return None if number is None else number / 1000


def _seconds_or_date(value: str, date: str | None) -> float | None:
    number = _number(value)
    return _seconds_until(value, date) if number is None else number


def _reset(value: str, date: str | None) -> float | None:
    """Read the end of a window, in whichever of its three forms is within a year of now.

    The forms are seconds from now, seconds since 1970, and milliseconds since 1970.
    """
    number = _number(value)
    if number is None:
        return _seconds_until(value, date)
    if number <= _YEAR:
        return number
    now = _now(date).timestamp()
    for left in (number - now, number / 1000 - now):
        if abs(left) <= _YEAR:
            return max(0.0, left)
    return None


def _reset_in_seconds(value: str, date: str | None) -> float | None:
    """Read ``RateLimit-Reset``: by its draft it has seconds from now, however many; some send an epoch."""
    left = _reset(value, date)
    return _number(value) if left is None else left


def _seconds_until(value: str, date: str | None) -> float | None:
    then = parse_http_date(value)
    return None if then is None else max(0.0, (then - _now(date)).total_seconds())


def _now(date: str | None) -> datetime:
    return (parse_http_date(date) if date else None) or datetime.now(UTC)


_YEAR = 366 * 86400.0  # seconds; no window of a rate limit is longer

_Read: TypeAlias = Callable[[str, str | None], float | None]

# By precedence: what asks for a wait, and what tells when a window ends. Who sends the ones without an RFC:
_WAITS: tuple[tuple[str, _Read], ...] = (
    ("retry-after-ms", _milliseconds),  # OpenAI, Azure
    ("x-ms-retry-after-ms", _milliseconds),  # Azure
    ("Retry-After", _seconds_or_date),
)
_WAITS_AND_RESETS: tuple[tuple[str, _Read], ...] = (
    *_WAITS,
    ("RateLimit-Reset", _reset_in_seconds),
    ("X-RateLimit-Reset-After", _reset),  # Discord: seconds with decimals
    (
        "X-RateLimit-Reset",
        _reset,
    ),  # GitHub: an epoch in seconds; others: seconds, or an epoch in milliseconds
    ("X-Rate-Limit-Reset", _reset),  # Twitter, Okta: an epoch in seconds
)


def parse_http_date(value: str) -> datetime | None:
    """An HTTP date in any of its three forms (RFC 9110 §5.6.7); None for anything else."""
    for pattern in _DATES:
        match = pattern.fullmatch(value.strip(" \t"))
        if match:
            return _moment(match)
    return None


def _moment(match: re.Match[str]) -> datetime | None:
    year = int(match["year"])
    if len(match["year"]) == 2:
        # A two-digit year that looks more than 50 years ahead is in the past (RFC 9110 §5.6.7).
        this_year = datetime.now(UTC).year
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    clock = (int(match["hour"]), int(match["minute"]), min(int(match["second"]), 59))
    if int(match["second"]) > 60:
        return None
    try:
        return datetime(year, _MONTHS[match["month"].lower()], int(match["day"]), *clock, tzinfo=UTC)
    except ValueError:
        return None
