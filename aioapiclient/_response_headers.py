"""Parse response headers: links (RFC 8288), waits, and dates.

Invalid values are ignored and never raise, because a failing server may send anything: a link that is not a
URL, a wait that is not a finite number of seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import msgspec
from yarl import URL

from ._patterns import lazily
from ._url.base import resolve_reference, without_fragment
from .errors import InvalidRequestError

__all__ = ["Link", "iter_links", "parse_http_date", "parse_links", "retry_after"]

# --- links (RFC 8288)


class Link(msgspec.Struct, frozen=True):
    """One link of a Link header (RFC 8288 §3)."""

    target: URL
    """The resolved target."""

    relations: tuple[str, ...]
    """Its relation types, in lower case."""

    parameters: Mapping[str, str]
    """Its parameters by name in lower case, the first of each name; ``title*`` is decoded (RFC 8187)."""


def parse_links(header_values: Iterable[str], base: URL) -> dict[str, URL]:
    """Return the targets of Link headers by relation type in lower case, resolved against *base*.

    The first link of a relation takes precedence. A link whose ``anchor`` is another resource does not
    describe this one and is left out. Malformed links are ignored; this never raises. `iter_links` returns
    every link.
    """
    targets: dict[str, URL] = {}
    for link in iter_links(header_values, base):
        if _is_about(link, base):
            for relation in link.relations:
                targets.setdefault(relation, link.target)
    return targets


def _is_about(link: Link, base: URL) -> bool:
    anchor = link.parameters.get("anchor")
    if anchor is None:
        return True
    try:
        return without_fragment(resolve_reference(base, anchor)) == without_fragment(base)
    except InvalidRequestError:
        return False


# Four bytes of a header may resolve to a target as long as the URL of the response, so ten thousand links
# could exhaust memory.
_LONGEST: Final = 1 << 20


def iter_links(header_values: Iterable[str], base: URL) -> list[Link]:
    """Return every readable link of Link headers, in order (RFC 8288 appendix B). Never raises.

    Takes time linear in the input, and stops when the targets have 1 MiB of characters in total.
    """
    links: list[Link] = []
    size = 0
    for value in header_values:
        for reference, parameters in _scan_links(value):
            try:
                target = resolve_reference(base, reference)
            except InvalidRequestError:
                continue
            size += len(target.raw_path_qs)
            if size > _LONGEST:
                return links
            links.append(Link(target, tuple(parameters.get("rel", "").lower().split()), parameters))
    return links


_SPACE = lazily(r"[ \t]*")
_BETWEEN = lazily(r"[ \t,]*")
_JUNK = lazily(r"[^,]*")
_PARAMETER = lazily(r"([^\s=;,\"]*)[ \t]*")
_TOKEN_VALUE = lazily(r"[^;,]*")
# If the closing quote is missing, the rest is the value (RFC 8288 appendix B.3).
_QUOTED_VALUE = lazily(r'"([^"\\]*(?:\\.[^"\\]*)*)\\?"?', re.DOTALL)
_QUOTED_PAIR = lazily(r"\\(.)", re.DOTALL)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()


def _scan_links(value: str) -> list[tuple[str, dict[str, str]]]:
    found: list[tuple[str, dict[str, str]]] = []
    position = _end(_BETWEEN, value, 0)
    while position < len(value):
        if value[position] != "<":
            position = _end(_JUNK, value, position)
        else:
            closing = value.find(">", position)
            if closing < 0:
                break
            parameters, end = _scan_parameters(value, closing + 1)
            found.append((value[position + 1 : closing], parameters))
            position = end
        position = _end(_BETWEEN, value, position)
    return found


def _scan_parameters(value: str, position: int) -> tuple[dict[str, str], int]:
    """Return the parameters from *position* on, and where they end: at an unquoted comma, or at the end."""
    parameters: dict[str, str] = {}
    position = _end(_SPACE, value, position)
    while position < len(value) and value[position] != ",":
        if value[position] != ";":
            position = _end(_TOKEN_VALUE, value, position)
            continue
        match: Any = _PARAMETER.match(value, _end(_SPACE, value, position + 1))  # matches nothing, too
        name, position = match[1].lower(), match.end()
        text = ""
        if value.startswith("=", position):
            text, position = _scan_value(value, _end(_SPACE, value, position + 1))
        if name:
            parameters.setdefault(name, _decode_extended(text) if name.endswith("*") else text)
        position = _end(_SPACE, value, position)
    return parameters, position


def _scan_value(value: str, position: int) -> tuple[str, int]:
    match = _QUOTED_VALUE.match(value, position)
    if match is not None:
        return _QUOTED_PAIR.sub(r"\1", match[1]), match.end()
    end = _end(_TOKEN_VALUE, value, position)
    return value[position:end].strip(), end


def _decode_extended(text: str) -> str:
    """Return ``UTF-8'de'n%C3%A4chste`` decoded (RFC 8187), and any other text unchanged."""
    charset, _, rest = text.partition("'")
    _, quote, encoded = rest.partition("'")
    if not quote or charset.lower() not in ("utf-8", "iso-8859-1"):
        return text
    return unquote(encoded, encoding=charset, errors="replace")


# --- how long to wait, and dates

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
    """Return the wait in seconds that a response requests: 0.0 for no wait, None if no header is usable.

    A point in time is compared with the response's own ``Date``, so that a wrong clock on either side does
    not matter. The headers about a rate limit window are used for a 429 only, because in other responses the
    window may be far from used up.

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
    """Read the end of a window, in the first of its three forms that is within a year of now.

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
    """Read ``RateLimit-Reset``: its draft defines seconds from now, but some servers send an epoch."""
    left = _reset(value, date)
    return _number(value) if left is None else left


def _seconds_until(value: str, date: str | None) -> float | None:
    then = parse_http_date(value)
    return None if then is None else max(0.0, (then - _now(date)).total_seconds())


def _now(date: str | None) -> datetime:
    return (parse_http_date(date) if date else None) or datetime.now(UTC)


_YEAR = 366 * 86400.0  # seconds; no window of a rate limit is longer

_Read: TypeAlias = Callable[[str, str | None], float | None]

# By precedence: headers that request a wait, and headers that announce the end of a window. The comments name
# the senders of headers without an RFC.
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
    """Return an HTTP date in any of its three forms (RFC 9110 §5.6.7); None for anything else."""
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
