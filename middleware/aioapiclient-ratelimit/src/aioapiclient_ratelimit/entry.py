"""The factory for ``load_middleware("ratelimit", ...)``, which passes keywords only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .middleware import RateLimit

__all__ = ["rate_limit"]


def rate_limit(rates: str | Iterable[str] = (), **options: Any) -> RateLimit:
    """Make a `RateLimit` of *rates*, one text or several, and its keyword arguments."""
    return RateLimit(*([rates] if isinstance(rates, str) else rates), **options)
