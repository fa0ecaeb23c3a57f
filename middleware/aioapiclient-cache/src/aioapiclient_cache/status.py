"""`cache_status`: the action of the cache for a response, from its ``Cache-Status`` header (RFC 9211)."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from aioapiclient.contract import AsyncAPIResponse

__all__ = ["CacheStatus", "cache_status", "member"]

NAME: Final = "aioapiclient"
_MEMBER: Final = re.compile(rf"(?:^|,)[ \t]*{NAME}((?:[ \t]*;[ \t]*[a-z-]+(?:=[\w.-]+)?)*)[ \t]*(?=,|$)")


class CacheStatus(NamedTuple):
    """The action of the cache for one response."""

    hit: bool
    """Whether it came from the cache, and nothing was sent."""

    stored: bool
    """Whether the server's response was stored."""

    revalidated: bool
    """Whether the server confirmed that the stored response is still valid (304)."""

    coalesced: bool
    """Whether it is the response to an equal request that was in flight."""

    age: int | None
    """Its age in seconds, from its ``Age`` header; None without one."""

    ttl: int | None
    """Seconds for which it is fresh, negative if it is stale; None if unknown."""

    detail: str | None
    """Why a stale response was returned: ``stale-if-error``, ``stale-while-revalidate``;
    ``only-if-cached`` if nothing was stored. None otherwise.
    """


def member(said: str, ttl: int | None = None, detail: str | None = None) -> str:
    """Return a member of the header.

    Args:
        said: Its first parameters, such as ``hit``.
        ttl: Seconds for which the response is fresh, if anything says so.
        detail: Why the response is not the usual one.
    """
    text = f"{NAME}; {said}" if detail is None else f"{NAME}; {said}; detail={detail}"
    return text if ttl is None else f"{text}; ttl={ttl}"


def cache_status(response: AsyncAPIResponse[Any]) -> CacheStatus | None:
    """Return the action of the cache for *response*.

    Args:
        response: A response of a client with a `Cache`.

    Returns:
        The status; None if the request bypassed the cache, as a stream does.
    """
    members = _MEMBER.findall(", ".join(response.headers.getall("Cache-Status", ())))
    if not members:
        return None
    said: dict[str, str] = {}
    for part in members[-1].split(";")[1:]:
        name, _, value = part.strip().partition("=")
        said[name] = value
    age = response.headers.get("Age", "")
    return CacheStatus(
        hit="hit" in said,
        stored="stored" in said,
        revalidated=said.get("fwd-status") == "304" and "detail" not in said,
        coalesced="collapsed" in said,
        age=int(age) if age.isdecimal() and age.isascii() and len(age) < 20 else None,
        ttl=int(said["ttl"]) if "ttl" in said else None,
        detail=said.get("detail"),
    )
