"""`Stored`: an entry of a storage, with the facts that decide whether it may be used (RFC 9111 §4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from math import floor, isfinite
from typing import Final, NamedTuple

from hishel import Entry, Headers, Response

from ._directives import Directives, parse_directives, seconds
from ._keys import Asked
from ._times import HeaderLists, age_on_arrival, date_of, http_date

__all__ = ["FACTS", "Facts", "Policy", "Stored", "headers_to_keep"]

FACTS: Final = "x-aioapiclient-cache"
"""The header of a stored response that contains its `Facts`. It is removed from returned responses."""

_HEURISTIC: Final = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})  # RFC 9110 §15.1
_SUCCESS: Final = frozenset({200, 203, 204, 300, 301, 308})
_WEEK: Final = 7 * 24 * 3600
# A failed attempt is retried, and a challenge answered: the cache must not return either again. The last two
# are not complete responses.
_PASSING: Final = frozenset({401, 407, 408, 425, 429, 206, 304})
_LETS_SHARE: Final = ("public", "s-maxage", "must-revalidate")  # despite a credential (RFC 9111 §3.5)
# Headers of one connection (RFC 9111 §3.1).
_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)
_SECRET: Final = re.compile(
    "api-?key|authenticat|authorization|cookie|credential|jwt|passw|secret|session|token"
)
_OF_THE_BODY: Final = frozenset(
    {"content-digest", "content-encoding", "content-length", "content-md5", "content-range"}
)


class Policy(NamedTuple):
    """The rules of a cache, the same for all requests."""

    shared: bool
    default_ttl: float | None
    stale_if_error: float
    stale_while_revalidate: bool
    max_body: int
    excluded: frozenset[str]


class Facts(NamedTuple):
    """The facts about a stored response besides its headers."""

    asked: float
    """When the request was sent, in seconds since 1970."""

    born: float
    """When its age was 0, corrected for other caches and for clocks (RFC 9111 §4.2.3)."""

    size: int
    """Bytes of its body."""

    def text(self) -> str:
        """Return the facts as the value of a header."""
        return f"{self.asked!r} {self.born!r} {self.size}"

    @classmethod
    def on_arrival(cls, headers: HeaderLists, asked: float, arrived: float, size: int) -> Facts:
        """Return the facts of a response, asked for and arrived at these times in seconds since 1970."""
        return cls(asked, arrived - age_on_arrival(headers, asked, arrived), size)

    @classmethod
    def parse(cls, text: str) -> Facts | None:
        """Return the facts of a header's value; None if it was not written by `text`."""
        try:
            asked, born, size = text.split(" ")
            facts = cls(float(asked), float(born), int(size))
        except ValueError:
            return None
        return facts if isfinite(facts.asked) and isfinite(facts.born) else None


class Stored:
    """A stored response. `of` creates one from an entry.

    Args:
        entry: The entry.
        facts: Its facts.
        policy: The rules of the cache.
    """

    __slots__ = ("control", "entry", "facts", "lifetime", "policy", "vary")

    def __init__(self, entry: Entry, facts: Facts, policy: Policy) -> None:
        self.entry = entry
        self.facts = facts
        self.policy = policy
        headers = entry.response.headers
        self.control: Directives = parse_directives(",".join(headers.get_list("cache-control") or ()))
        self.lifetime: float | None = lifetime_of(entry.response, self.control, policy)
        """Seconds for which it is fresh; None if unknown."""
        self.vary: list[str] = _names_in(headers.get_list("vary"))
        """The names in its ``Vary``, in lower case."""

    @classmethod
    def of(cls, entry: Entry, policy: Policy) -> Stored | None:
        """Return the stored response in *entry*; None if it is damaged, or was written by another program."""
        told = entry.response.headers.get_list(FACTS)
        facts = None if told is None else Facts.parse(told[0])
        return None if facts is None else cls(entry, facts, policy)

    def age(self, now: float) -> float:
        """Return its age in seconds."""
        return max(0.0, now - self.facts.born)

    def ttl(self, now: float) -> float:
        """Return the seconds for which it is fresh; negative once it is stale."""
        return (self.lifetime or 0.0) - self.age(now)

    def whole_ttl(self, now: float) -> int | None:
        """Return `ttl` in whole seconds; None if nothing says for how long it is fresh."""
        return None if self.lifetime is None else floor(self.ttl(now))

    def fits(self, asked: Asked) -> bool:
        """Return whether it is for the same method, and for the same values of the headers in its ``Vary``
        (RFC 9111 §4.1).
        """
        if self.entry.request.method != asked.method:
            return False
        names = self.vary
        if not names:
            return True
        kept = self.entry.request.headers
        presented = asked.digests(names)
        return "*" not in names and all(kept.get_list(name) == presented.get(name) for name in names)

    def may_be_kept(self, *, has_credential: bool) -> bool:
        """Return whether it may be stored (RFC 9111 §3), and could ever be of use.

        One that is neither fresh nor can be validated could not; nor could one of a failed attempt, which a
        retry must not be given again.

        Args:
            has_credential: Whether the request has an ``Authorization``.
        """
        status, control = self.entry.response.status_code, self.control
        if status >= 500 or status in _PASSING or "no-store" in control or "*" in self.vary:
            return False
        is_said = status in _HEURISTIC or "public" in control or "max-age" in control or self._has("expires")
        if self.policy.shared:
            if control.get("private") == "":
                return False
            if has_credential and not any(name in control for name in _LETS_SHARE):
                return False
            is_said = is_said or "s-maxage" in control
        elif "private" in control:
            is_said = True
        return is_said and self._is_useful()

    def _is_useful(self) -> bool:
        if self._has("etag") or self._has("last-modified"):
            return True
        return self.control.get("no-cache") != "" and (self.lifetime or 0) > 0

    def _has(self, name: str) -> bool:
        return self.entry.response.headers.get_list(name) is not None

    def may_answer(self, directives: Directives, now: float) -> bool:
        """Return whether it may be used without asking the server.

        Args:
            directives: The directives of the request.
            now: The time, in seconds since 1970.
        """
        if "no-cache" in directives or self.control.get("no-cache") == "":
            return False
        age, ttl = self.age(now), self.ttl(now)
        most = seconds(directives, "max-age")
        if most is not None and age >= most:
            return False
        if ttl > (seconds(directives, "min-fresh") or 0):
            return True
        if ttl > 0 or "max-stale" not in directives or self._never_stale():
            return False
        return directives["max-stale"] == "" or -ttl <= (seconds(directives, "max-stale") or 0)

    def may_help_out(self, now: float) -> bool:
        """Return whether it may be used although it is stale, because the server fails (RFC 5861 §4)."""
        allowed = self.policy.stale_if_error
        return allowed > 0 and -self.ttl(now) <= allowed and not self._never_stale()

    def may_go_first(self, directives: Directives, now: float) -> bool:
        """Return whether it may be used while it is validated in the background (RFC 5861 §3)."""
        allowed = seconds(self.control, "stale-while-revalidate")
        if not self.policy.stale_while_revalidate or allowed is None or directives:
            return False
        return -self.ttl(now) <= allowed and not self._never_stale()

    def _never_stale(self) -> bool:
        """Return whether the server forbids its use when it is stale (RFC 9111 §4.2.4)."""
        control = self.control
        if "must-revalidate" in control or "no-cache" in control:
            return True
        return self.policy.shared and ("proxy-revalidate" in control or "s-maxage" in control)

    def to_validate(self) -> Entry:
        """Return the entry in the form for hishel's states: one that must be validated."""
        headers = {**lists_of(self.entry.response.headers), "cache-control": ["no-cache"]}
        return replace(self.entry, response=replace(self.entry.response, headers=Headers(headers)))

    def freshened(self, answer: Headers) -> Stored:
        """Return it as updated by a 304 (RFC 9111 §3.2).

        Args:
            answer: The headers of the 304, returned by `headers_to_keep`.
        """
        facts = Facts.parse(answer[FACTS]) or self.facts
        facts = facts._replace(size=self.facts.size)
        news = {name: values for name, values in lists_of(answer).items() if name not in _OF_THE_BODY}
        old = lists_of(self.entry.response.headers)
        kept = {name: old[name] for name in old if name not in self.policy.excluded}
        headers = {**kept, **news, FACTS: [facts.text()]}
        entry = replace(self.entry, response=replace(self.entry.response, headers=Headers(headers)))
        return Stored(entry, facts, self.policy)


def lists_of(headers: Headers) -> dict[str, list[str]]:
    """Return headers as a dict; a repeated name keeps its values separate."""
    return {name: headers.get_list(name) or [] for name in headers}


def _names_in(values: list[str] | None) -> list[str]:
    """Return the names in the values of a header, in lower case."""
    if values is None:
        return []
    return [name for part in ",".join(values).split(",") if (name := part.strip().lower())]


@lru_cache(maxsize=1024)
def _is_left_out(name: str) -> bool:
    """Return whether a header, by its name in lower case, belongs to one connection, or contains a secret."""
    return name in _HOP_BY_HOP or _SECRET.search(name) is not None


def headers_to_keep(
    headers: Mapping[str, list[str]], facts: Facts, arrived: float, policy: Policy
) -> dict[str, list[str]]:
    """Return the headers to store for a response, with the facts about it.

    Fields of the connection are left out, those that ``Connection``, ``no-cache`` or ``private`` names
    (RFC 9111 §3.1, §5.2.2), those that hold a secret, and those that the user excludes. A ``Date`` that is
    missing is added, an ``Expires`` that is not a date becomes one of the past (RFC 9111 §5.3).

    Args:
        headers: The headers, by name in lower case.
        facts: What is known of the response.
        arrived: When it arrived, in seconds since 1970.
        policy: How the cache decides.
    """
    excluded = policy.excluded
    kept = {name: headers[name] for name in headers if name not in excluded and not _is_left_out(name)}
    control = parse_directives(",".join(headers.get("cache-control", ())))
    named = [*headers.get("connection", ()), control.get("no-cache", "")]
    if policy.shared:
        named.append(control.get("private", ""))
    if any(named):
        for name in _names_in(named):
            kept.pop(name, None)
    if date_of(kept.get("date")) is None:
        kept["date"] = [http_date(int(arrived))]
    if "expires" in kept and date_of(kept["expires"]) is None:
        kept["expires"] = ["0"]
    kept[FACTS] = [facts.text()]
    return kept


def lifetime_of(response: Response, control: Directives, policy: Policy) -> float | None:
    """Return the seconds for which a response is fresh (RFC 9111 §4.2.1); None if unknown."""
    for name in ("s-maxage", "max-age") if policy.shared else ("max-age",):
        told = seconds(control, name)
        if told is not None:
            return told
    headers = response.headers
    expires = headers.get_list("expires")
    if expires is not None:
        return max(0, (date_of(expires) or 0) - (date_of(headers.get_list("date")) or 0))
    if policy.default_ttl is not None and response.status_code in _SUCCESS:
        return policy.default_ttl
    modified = date_of(headers.get_list("last-modified"))
    if modified is None or not (response.status_code in _HEURISTIC or "public" in control):
        return None
    since = (date_of(headers.get_list("date")) or 0) - modified
    return min(_WEEK, max(0, since) // 10)
