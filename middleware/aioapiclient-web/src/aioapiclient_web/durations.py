"""The time that a caller waits, in a header: relative, so that the clocks need not agree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["read_duration", "write_duration"]

# 12 digits are more than any limit needs, and few enough for every conversion.
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?([HMSmun]|s|ms|us|ns)?")

# The units of gRPC (its "PROTOCOL-HTTP2.md": H M S m u n), where M is minutes and m is milliseconds, and
# common notations.
_SECONDS: Final[Mapping[str, float]] = {
    "H": 3600.0,
    "M": 60.0,
    "S": 1.0,
    "s": 1.0,
    "m": 1e-3,
    "ms": 1e-3,
    "u": 1e-6,
    "us": 1e-6,
    "n": 1e-9,
    "ns": 1e-9,
}


def read_duration(header: str, text: str) -> float | None:
    """Return the seconds in the value of a header; None if it is not a duration.

    Args:
        header: The name of the header. If it ends with ``-ms``, a number without a unit is milliseconds;
            otherwise it is seconds.
        text: The value: ``0.3``, ``0.3s``, ``300ms``, or in gRPC's notation ``300m``.
    """
    found = _DURATION.fullmatch(text.strip(" \t"))
    if found is None:
        return None
    return float(found[1]) * _SECONDS[found[2] or _unit_of(header)]


def write_duration(header: str, seconds: float) -> str:
    """Return *seconds*, rounded down to milliseconds, in the usual notation of the header.

    Args:
        header: ``grpc-timeout`` uses gRPC's units, a name that ends with ``-ms`` whole milliseconds, and any
            other name seconds with three decimals.
        seconds: The time, 0 or more.
    """
    milliseconds = int(seconds * 1000)
    if header.lower() == "grpc-timeout":
        return f"{min(milliseconds, 99_999_999)}m"  # gRPC allows at most eight digits
    if _unit_of(header) == "ms":
        return str(milliseconds)
    return f"{milliseconds / 1000:.3f}"


def _unit_of(header: str) -> str:
    return "ms" if header.lower().endswith("-ms") else "s"
