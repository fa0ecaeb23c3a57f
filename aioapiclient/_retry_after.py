"""How long a response asks to wait: ``retry-after-ms``, ``Retry-After``, ``RateLimit-Reset``.

Whatever a server writes there, the answer is None or a finite number of seconds, never an error:
these headers come from the side that is in trouble.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

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
    """Seconds that a response asks to wait; 0.0 is "no need to"; None when it says nothing usable.

    A date counts from the response's own ``Date``, so that a wrong clock on either side does not
    matter. ``RateLimit-Reset`` counts with a 429 only: elsewhere it tells of a window that may be
    far from used up.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("Retry-After")
    if value is not None:
        seconds = _seconds(value)
        if seconds is None:
            seconds = _seconds_until(value, headers.get("Date"))
        if seconds is not None:
            return seconds
    return _seconds(headers.get("RateLimit-Reset")) if status == 429 else None


def _seconds(value: str | None) -> float | None:
    if value is None:
        return None
    match = _SECONDS.fullmatch(value.strip(" \t"))
    return float(match[0]) if match else None


def _seconds_until(value: str, date: str | None) -> float | None:
    then = parse_http_date(value)
    if then is None:
        return None
    now = (parse_http_date(date) if date else None) or datetime.now(UTC)
    return max(0.0, (then - now).total_seconds())


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
