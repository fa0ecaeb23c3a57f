"""`ClientStats`: a snapshot of the calls, the pool and the origins of a client."""

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
    """Calls in flight, including waits between attempts. A stream counts until its head arrives."""

    streams: int
    """Open streams and unread responses."""

    pool: PoolStats | None
    """The connections; None before the first call, or if the transport does not report them."""

    origins: Mapping[str, Mapping[str, Any]]
    """The statistics of the links of the chain for each origin, by the name of the link.

    ``{"https://api.example.com": {"RetryMiddleware": {"retry_tokens": 458}}}``. An origin without statistics,
    such as one whose retry budget is full, is not listed.
    """


def collect_stats(shared: Lifecycle, chain: Iterable[object]) -> ClientStats:
    """Return the statistics of *shared*, its transport, and each link of *chain* with a ``stats()``."""
    origins: dict[str, dict[str, Any]] = {}
    for link in chain:
        for origin, report in _report_of(link).items():
            origins.setdefault(origin, {})[type(link).__name__] = report
    pool: Callable[[], PoolStats | None] | None = getattr(shared.transport, "stats", None)
    return ClientStats(
        calls=shared.calls_in_flight,
        streams=shared.open_streams,
        pool=None if pool is None else pool(),
        origins=origins,
    )


def _report_of(link: object) -> Mapping[str, Any]:
    """Return the statistics of *link* by origin; a failing plugin must not break a health endpoint."""
    stats = getattr(link, "stats", None)
    if not callable(stats):
        return {}
    try:
        return dict(cast("Mapping[str, Any]", stats()))
    except Exception as error:
        logger.warning("%s.stats() failed: %s", type(link).__name__, type(error).__name__)
        return {}
