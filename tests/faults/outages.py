"""Servers that are down, overloaded or restarted under load: what all calls together cost and get."""

from __future__ import annotations

__all__ = ["FAULTS"]

FAULTS: list = []
