"""`Guard`: keeps a failure of telemetry away from the call, and logs the first one."""

from __future__ import annotations

import logging
from types import TracebackType

__all__ = ["Guard"]

_logger = logging.getLogger("aioapiclient.otel")


class Guard:
    """Suppress the exceptions of one part of telemetry: ``with guard:``. The first one is logged.

    Args:
        part: What the log record says has failed, such as "the propagator".

    """

    __slots__ = ("_has_failed", "_part")

    def __init__(self, part: str) -> None:
        self._part = part
        self._has_failed = False

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        if not self._has_failed:
            self._has_failed = True
            _logger.warning(
                "%s failed; calls go on, and further failures of it are not logged",
                self._part,
                exc_info=error,
            )
        return True
