"""`ClientStats`: what a client knows of its calls, its pool and the origins it talks to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import msgspec

from aioapiclient._transport.connector import PoolStats

from .lifecycle import Lifecycle

__all__ = ["ClientStats", "collect_stats"]

logger = logging.getLogger("aioapiclient")


class ClientStats(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of a client, cheap enough for a health endpoint; msgspec encodes it as JSON."""

    calls: int
    """Calls in flight, waits between attempts included. A stream counts until its head has arrived."""

    streams: int
    """Open streams and unread responses."""

    pool: PoolStats | None
    """The connections; None before the first call, and for a transport that does not tell."""

    origins: Mapping[str, Mapping[str, Any]]
    """What the links of the chain tell of each origin, by the link's name.

    ``{"https://api.example.com": {"RetryMiddleware": {"retry_tokens": 458}}}``. An origin of which no
    link has anything to tell, such as one whose retry budget is full, is not listed.
    """


def collect_stats(shared: Lifecycle, chain: Iterable[object]) -> ClientStats:
    """Return the numbers of *shared*, its transport and each link of *chain* that has a ``stats()``."""
    origins: dict[str, dict[str, Any]] = {}
    for link in chain:
        for origin, told in _told_by(link).items():
            origins.setdefault(origin, {})[type(link).__name__] = told
    pool: Callable[[], PoolStats | None] | None = getattr(shared.transport, "stats", None)
    return ClientStats(
        calls=shared.calls_in_flight,
        streams=shared.open_streams,
        pool=None if pool is None else pool(),
        origins=origins,
    )


def _told_by(link: object) -> Mapping[str, Any]:
    """What *link* tells of each origin; a plugin that fails to must not take a health endpoint down."""
    stats = getattr(link, "stats", None)
    if not callable(stats):
        return {}
    try:
        return dict(cast("Mapping[str, Any]", stats()))
    except Exception as error:
        logger.warning("%s.stats() failed: %s", type(link).__name__, type(error).__name__)
        return {}
