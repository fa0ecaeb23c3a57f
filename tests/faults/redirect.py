"""The server sends the client elsewhere."""

from __future__ import annotations

from faults.rows import Fault

__all__ = ["FAULTS"]

FAULTS: list[Fault] = []
