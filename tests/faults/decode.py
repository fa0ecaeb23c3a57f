"""The response is whole, and not what was asked for."""

from __future__ import annotations

from faults.rows import Fault

__all__ = ["FAULTS"]

FAULTS: list[Fault] = []
