"""The server's own limits in the headers of a response: every dialect of rate-limit headers, as windows.

The known fields are ``RateLimit`` and ``RateLimit-Policy`` of the IETF drafts (a list since draft 8, a
dictionary in draft 7), and every set of fields ``[Vendor-][X-]Rate[-]Limit-...`` that names the remaining
calls: ``RateLimit-Remaining`` of the early drafts, ``X-RateLimit-Remaining`` (GitHub, Discord, Reddit),
``X-Rate-Limit-Remaining`` (Okta, X), ``x-ratelimit-remaining-tokens`` (OpenAI),
``anthropic-ratelimit-requests-remaining``. A reset may be seconds from now, a point in time in seconds or
milliseconds, a duration such as ``6m0s``, an RFC 3339 date or an HTTP date.

Whatever these headers contain, the result is a list, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import http_sf

__all__ = ["DEFAULT", "MOST_SECONDS", "Window", "parse_limits"]

DEFAULT: Final = "default"  # the name of a window that the server does not name
MOST_SECONDS: Final = 86400.0  # seconds; a later reset may be invalid, and no call waits for days
_MOST_NAME: Final = 100  # characters of a name, which is kept

_FIELD: Final = re.compile(r"(?:(?P<vendor>[a-z0-9-]+)-)?rate-?limit(?:-(?P<rest>[a-z0-9-]+))?", re.ASCII)
_MEMBER: Final = re.compile(
    r"(?:(?P<kind>[a-z0-9-]+)-)?(?P<member>limit|remaining|reset-after|reset|policy|resource|bucket)"
    r"(?:-(?P<other>[a-z0-9-]+))?"
)
# ASCII digits only: float() would also take "inf", "1_0" and Arabic digits.
_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)
_DURATION: Final = re.compile(
    r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)s)?"
    r"(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)ms)?",
    re.ASCII,
)
# Servers of draft 8 send one policy. The general parser of structured fields takes ten times as long.
_COMMON_ITEM: Final = re.compile(r'"([ !#-\[\]-~]{1,100})"; *r=([0-9]{1,15}); *t=([0-9]{1,15})', re.ASCII)
_UNITS: Final = (86400.0, 3600.0, 60.0, 1.0, 0.001)
# A number this large is an epoch, not a duration: 1e8 s is three years from now, or 1973.
_LEAST_EPOCH: Final = 1e8
_LEAST_EPOCH_MS: Final = 1e11
# Kong and HubSpot send the length of a window, not its end.
_LENGTHS: Final = {
    "second": 1.0,
    "secondly": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
    "daily": 86400.0,
}


class Window(NamedTuple):
    """One limit of a server, as its headers describe it."""

    name: str
    """The policy's name, the limited resource (``tokens``), or ``default``."""

    limit: int | None
    """The number of calls in a whole window; None if unknown."""

    remaining: int
    """The number of remaining calls."""

    resets_in: float | None
    """Seconds until the window ends; None if unknown."""


def parse_limits(headers: Mapping[str, str], *, now: float) -> list[Window]:
    """Return the windows in the headers of a response; an empty list if there are none.

    Invalid values are left out: below 0, not a number, more than a day ahead.

    Args:
        headers: The headers of a response; names may be in any case, and repeat in a multidict.
        now: The time in seconds since 1970. It counts for points in time only if the response has no
            ``Date``: the server's own clock fits better.
    """
    sets = _sets(tuple(headers))
    if not sets:
        return []
    getall: Callable[[str], list[str]] | None = getattr(headers, "getall", None)

    def clock() -> float:
        return _date(headers.get("Date") or headers.get("date") or "") or now

    found: list[Window] = []
    for kind, names in sets:
        said: dict[str, str] = {}
        for member, name in names:
            said[member] = headers[name] if getall is None else ", ".join(getall(name))
        if "" in said:
            found += _structured(said[""], said.get("policy", ""))
        if "remaining" in said:
            found += _counted(kind, said, clock)
    return found


# A server sends the same names with every response. The cache is small, since the server chooses them.
@lru_cache(maxsize=64)
def _sets(names: tuple[str, ...]) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Return what each set of rate-limit fields limits, and its members with the names of their fields."""
    # Some versions of multidict list the name of a repeated field several times.
    once = {name.lower(): name for name in reversed(names)}
    sets: dict[tuple[str, str], dict[str, str]] = {}
    for lower, name in reversed(once.items()):
        field = _field(lower)
        if field is not None:
            vendor, kind, member = field
            sets.setdefault((vendor, kind), {})[member] = name
    return tuple((kind, tuple(members.items())) for (_, kind), members in sets.items())


def _field(name: str) -> tuple[str, str, str] | None:
    """Return dialect, resource and member, such as ``("x", "tokens", "reset")``; None for other fields.

    *name* is in lower case.
    """
    field = _FIELD.fullmatch(name)
    if field is None:
        return None
    vendor = field["vendor"] or ""
    if field["rest"] is None:
        return vendor, "", ""
    member = _MEMBER.fullmatch(field["rest"])
    return member and (vendor, member["kind"] or member["other"] or "", member["member"])


def _window(name: str, limit: int | None, remaining: int, resets_in: float | None) -> list[Window]:
    """Return the window in a list, which is empty if the numbers make no sense."""
    if remaining < 0 or (resets_in is not None and not 0 <= resets_in <= MOST_SECONDS):
        return []
    return [Window(name[:_MOST_NAME], limit, remaining, resets_in)]


# --- structured fields


class _Policy(NamedTuple):
    """What ``RateLimit-Policy`` says of a window, as far as it is valid."""

    limit: int | None = None
    seconds: int | None = None
    counts: bool = True
    """Whether it limits the number of calls: one on calls in flight says nothing about later calls."""


_NO_POLICY: Final = _Policy()


def _structured(value: str, policies: str) -> list[Window]:
    """Return the windows of ``RateLimit``, a list or a dictionary."""
    known = _policies(policies)
    common = _COMMON_ITEM.fullmatch(value)
    if common is not None:
        name, remaining, reset = common.groups()
        policy = known.get(name, _NO_POLICY)
        return _window(name, policy.limit, int(remaining), int(reset)) if policy.counts else []
    items = _items(value)
    if not items:
        return _of_draft_7(value)
    return [window for name, facts in items for window in _of_item(name, facts, known.get(name, _NO_POLICY))]


def _of_item(name: str, facts: Mapping[str, Any], policy: _Policy) -> list[Window]:
    """Return the window of an item of the list; its reset is the length of the window by default."""
    remaining, reset = _whole(facts.get("r")), _whole(facts["t"]) if "t" in facts else policy.seconds
    if remaining is None or not policy.counts or (reset is None and "t" in facts):
        return []
    return _window(name, policy.limit, remaining, reset)


def _of_draft_7(value: str) -> list[Window]:
    """Return the window of the dictionary of draft 7."""
    members = _members(value)
    remaining, reset = _whole(members.get("remaining")), _whole(members.get("reset"))
    if remaining is None or (reset is None and "reset" in members):
        return []
    return _window(DEFAULT, _whole(members.get("limit")), remaining, reset)


# A server sends the same policies with every response.
@lru_cache(maxsize=64)
def _policies(value: str) -> Mapping[str, _Policy]:
    return {
        name: _Policy(
            _whole(facts.get("q")), _whole(facts.get("w")), facts.get("qu") != "concurrent-requests"
        )
        for name, facts in _items(value)
    }


def _items(value: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the names of a list with their parameters; nothing if *value* is not a list."""
    items: list[Any] = _parse(value, "list") or []
    return [(str(name), said) for name, said in items if isinstance(name, str | http_sf.Token)]


def _members(value: str) -> dict[str, Any]:
    """Return the members of a dictionary, without parameters; nothing if *value* is not a dictionary."""
    members: dict[str, Any] = _parse(value, "dictionary") or {}
    return {name: member[0] for name, member in members.items()}


def _parse(value: str, kind: str) -> Any:
    """Return the parsed structured field; None if it is invalid."""
    try:
        return http_sf.parse(value.encode("latin-1"), tltype=kind)
    except ValueError:
        return None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# --- sets of fields


def _counted(kind: str, said: Mapping[str, str], clock: Callable[[], float]) -> list[Window]:
    """Return the window of a set of headers that contains the remaining requests."""
    remaining = _number(said["remaining"])
    text = said.get("reset-after") or said.get("reset")
    resets_in = _LENGTHS.get(kind) if text is None else _seconds_until(text, clock)
    if remaining is None or (text is not None and resets_in is None):
        return []
    # An early draft has the policies behind the limit: 100, 100;w=60.
    limit = _number(said["limit"].partition(",")[0]) if "limit" in said else None
    name = kind or said.get("resource") or said.get("bucket") or DEFAULT
    return _window(name, None if limit is None else int(limit), int(remaining), resets_in)


def _number(text: str) -> float | None:
    if len(text) <= 15 and text.isdecimal() and text.isascii():
        return float(text)
    text = text.strip(" \t")
    return float(text) if _NUMBER.fullmatch(text) else None


def _seconds_until(text: str, clock: Callable[[], float]) -> float | None:
    """Return the seconds until the reset in *text*, in any form; *clock* returns the time of the response."""
    text = text.strip(" \t")
    number = _number(text)
    if number is not None:
        if number < _LEAST_EPOCH:
            return number
        return (number / 1000 if number >= _LEAST_EPOCH_MS else number) - clock()
    duration = _DURATION.fullmatch(text)
    if text and duration:
        return sum(float(part) * unit for part, unit in zip(duration.groups("0"), _UNITS, strict=True))
    moment = _moment(text) or _date(text)
    return None if moment is None else moment - clock()


def _moment(text: str) -> float | None:
    """Return an RFC 3339 date as seconds since 1970."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


# Many responses come in one second.
@lru_cache(maxsize=64)
def _date(text: str) -> float | None:
    """Return an HTTP date as seconds since 1970."""
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
