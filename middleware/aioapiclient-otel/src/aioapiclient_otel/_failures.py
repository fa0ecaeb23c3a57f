"""`Failures`: exceptions of one part of telemetry, which must not affect a call; the first one is logged."""

from __future__ import annotations

import logging

__all__ = ["Failures"]

_logger = logging.getLogger("aioapiclient.otel")


class Failures:
    """The failures of one part of telemetry.

    Args:
        part: The subject of the log record, such as "The propagator".

    """

    __slots__ = ("_is_known", "_part")

    def __init__(self, part: str) -> None:
        self._part = part
        self._is_known = False

    def note(self, error: Exception) -> None:
        """Log *error* if it is the first one."""
        if not self._is_known:
            self._is_known = True
            _logger.warning(
                "%s failed; calls go on, and further failures of it are not logged",
                self._part,
                exc_info=error,
            )
