"""The faults of the soak: their kinds, their frequency, and the expected outcome of a call that meets them.

This module does no I/O: the server asks a `Plan` for the fault of each attempt, the client for the outcome of
a call.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from bisect import bisect_right
from typing import NamedTuple

RETRY_AFTER = 0.5  # seconds that a busy server asks for: longer than the client's own waits


class Fault(NamedTuple):
    """One way in which an attempt can fail."""

    name: str
    share: float
    """The fraction of all attempts, whatever the call and the number of the attempt."""
    error: str
    """The class of the error that a call ends with, when this was its last attempt."""
    refused: bool = False
    """Whether the server reports that it has not acted: then any method is retried."""


FAULTS = (
    Fault("a FIN for an answer", 0.025, "APIConnectionError"),
    Fault("a RST for an answer", 0.025, "APIConnectionError"),
    Fault("500", 0.025, "InternalServerError"),
    Fault("503", 0.025, "ServiceUnavailableError"),
    Fault("503 with Retry-After", 0.02, "ServiceUnavailableError", refused=True),
    Fault("429 with Retry-After: 0", 0.02, "RateLimitError", refused=True),
    Fault("a body cut short", 0.02, "APIConnectionError"),
    Fault("a gzip cut short", 0.02, "APIConnectionError"),
    Fault("a status line that is none", 0.015, "APIConnectionError"),
    Fault("no answer at all", 0.005, "APITimeoutError"),
)

FIN, RST, BROKEN, UNAVAILABLE, BUSY, THROTTLED, SHORT_BODY, SHORT_GZIP, GARBAGE, SILENCE = FAULTS

_BOUNDS = list(itertools.accumulate(fault.share for fault in FAULTS))


class Kind(NamedTuple):
    """One kind of call, and how the retry table treats it."""

    name: str
    method: str
    retries: int
    keyed: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether it is tried again when the server may have acted."""
        return self.keyed or self.method == "GET"

    def retried(self, fault: Fault) -> bool:
        """Whether the table tries it again after *fault*."""
        return self.repeatable or fault.refused

    @property
    def expected_attempts(self) -> float:
        """The mean number of attempts of a call if each fails as often as the faults specify."""
        again = sum(fault.share for fault in FAULTS if self.retried(fault))
        return math.fsum(again**attempt for attempt in range(self.retries + 1))

    @property
    def expected_losses(self) -> float:
        """The share of calls that end with an error: no attempt was reached that succeeds."""
        return 1 - self.expected_attempts * (1 - _BOUNDS[-1])


READ = Kind("GET, 3 attempts", "GET", 2)
PERSISTENT = Kind("GET, 8 attempts", "GET", 7)
KEYED = Kind("POST with an idempotency key, 3 attempts", "POST", 2, keyed=True)
PLAIN = Kind("POST without one, 3 attempts", "POST", 2)

KINDS = (READ, PERSISTENT, KEYED, PLAIN)
_TURNS = (READ, KEYED, READ, PLAIN, READ, PERSISTENT, READ, KEYED, READ, PLAIN)


def kind_of(call: int) -> Kind:
    """Return the kind of call number *call*: five reads of ten, one of them persistent, and so on."""
    return _TURNS[call % len(_TURNS)]


class Ending(NamedTuple):
    """The outcome of a call."""

    attempts: int
    fault: Fault | None
    """The fault of the last attempt; None if it succeeded."""


class Plan:
    """The fault of each attempt of each call, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fault(self, call: int, attempt: int, rarer: int = 1) -> Fault | None:
        """Return the fault of attempt number *attempt*, from 0, of *call*, with faults that many times rarer.

        None means a good answer.
        """
        number = bisect_right(_BOUNDS, self._point(call, attempt) * rarer)
        return FAULTS[number] if number < len(FAULTS) else None

    def ending(self, call: int) -> Ending:
        """Return the outcome of *call* by the retry table, attempt by attempt."""
        kind, attempt = kind_of(call), 0
        while True:
            fault = self.fault(call, attempt)
            if fault is None or attempt == kind.retries or not kind.retried(fault):
                return Ending(attempt + 1, fault)
            attempt += 1

    def _point(self, call: int, attempt: int) -> float:
        digest = hashlib.blake2b(b"%d %d %d" % (self.seed, call, attempt), digest_size=8).digest()
        return int.from_bytes(digest) / 2**64
