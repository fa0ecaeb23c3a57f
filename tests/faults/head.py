"""The head of the response is no HTTP, or hardly."""

from __future__ import annotations

from faults.rows import Fault

__all__ = ["FAULTS"]

FAULTS: list[Fault] = []
