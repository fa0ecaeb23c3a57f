"""Cancellation, the end of the client, clocks, and services in trouble."""

from __future__ import annotations

from faults.rows import Fault

__all__ = ["FAULTS"]

FAULTS: list[Fault] = []
