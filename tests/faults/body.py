"""The body is cut, stalls, floods, or is not what its head says."""

from __future__ import annotations

from faults.rows import Fault

__all__ = ["FAULTS"]

FAULTS: list[Fault] = []
