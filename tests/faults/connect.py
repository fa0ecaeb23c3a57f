"""No connection comes about: refused, unresolved, swallowed, or none is free."""

from __future__ import annotations

from faults.places import black_hole, nobody_listens
from faults.rows import Fault, raises

from aioapiclient import APIConnectionError, APITimeoutError, Timeout

__all__ = ["FAULTS"]

FAULTS: list[Fault] = [
    Fault(
        1,
        "nobody listens on the port",
        nobody_listens,
        dict.fromkeys(
            ("GET", "POST"),
            raises(APIConnectionError, "ECONNREFUSED", sent=False, requests=0, attempts=3),
        ),
    ),
    Fault(
        8,
        "a host that swallows what comes",
        black_hole,
        dict.fromkeys(
            ("GET", "POST"),
            raises(APITimeoutError, phase="connect", sent=False, requests=0, attempts=3),
        ),
        options={"timeout": Timeout(connect=0.05)},
    ),
]
