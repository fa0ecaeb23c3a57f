"""A rate, such as ``50/s``: a number of calls, a time in seconds, and a burst."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from aioapiclient.contract import check_whole
from aioapiclient.errors import InvalidRequestError

__all__ = ["Rate", "parse_rate"]

_UNITS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_NAMES: Final = {float(seconds): name for name, seconds in _UNITS.items()}
_RATE: Final = re.compile(r"([0-9]{1,9}) ?/ ?([0-9]{0,6})(s|min|h|d)", re.ASCII)
_DEFAULT_BURST: Final = 0.1  # of the calls: short bursts pass, but not a whole window's worth


class Rate(NamedTuple):
    """At most ``burst`` calls together, and a steady flow of ``calls`` in ``seconds``."""

    calls: int
    """Calls in ``seconds``."""

    seconds: float
    """The length of the window."""

    burst: int
    """Calls that may be sent together after a pause."""

    @property
    def every(self) -> float:
        """Seconds from one call to the next in a steady flow."""
        return self.seconds / self.calls

    def __str__(self) -> str:
        return f"{self.calls}/{_NAMES.get(self.seconds) or f'{self.seconds:g}s'}"


def parse_rate(text: object, burst: int | None = None) -> Rate:
    """Return the rate in *text*.

    Args:
        text: A count, a slash and a time: ``50/s``, ``1000/min``, ``5000/h``, ``10000/d``, ``20/10s``.
        burst: Calls that may be sent together; a tenth of the count by default, and at least 1.

    Raises:
        TypeError: *text* is not a str, or *burst* not an int.
        InvalidRequestError: *text* is not a rate, or *burst* is below 1.
    """
    if not isinstance(text, str):
        raise TypeError(f"rate must be a text such as '50/s', not {type(text).__name__}")
    match = _RATE.fullmatch(text)
    calls = int(match[1]) if match else 0
    seconds = int(match[2] or 1) * _UNITS[match[3]] if match else 0
    if not calls or not seconds:
        raise InvalidRequestError(f"rate must be a text such as '50/s' or '1000/min', not {text!r}")
    if burst is None:
        burst = max(1, int(calls * _DEFAULT_BURST))
    return Rate(calls, float(seconds), check_whole("burst", burst, least=1))
