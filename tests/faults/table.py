"""The catalogue: the rows of all sections, in order, as cases."""

from __future__ import annotations

from typing import NamedTuple

from faults import (
    body,
    connect,
    decode,
    head,
    lifecycle,
    middlewares,
    no_answer,
    outages,
    redirect,
    status,
    tls,
    upload,
)
from faults.rows import Case, Fault

__all__ = ["CASES", "SECTIONS", "Section"]


class Section(NamedTuple):
    """A part of the catalogue."""

    title: str
    numbers: range
    """The numbers of its faults; none may be missing."""
    faults: list[Fault]

    @property
    def cases(self) -> list[Case]:
        """Every call at every fault."""
        return [Case(fault, label, ends) for fault in self.faults for label, ends in fault.ends.items()]


SECTIONS = [
    Section("Connecting", range(1, 16), connect.FAULTS),
    Section("TLS", range(16, 25), tls.FAULTS),
    Section("Sent, and no answer", range(25, 43), no_answer.FAULTS),
    Section("A bad head", range(43, 52), head.FAULTS),
    Section("A bad body", range(52, 73), body.FAULTS),
    Section("Decoding", range(73, 85), decode.FAULTS),
    Section("Statuses", range(85, 104), status.FAULTS),
    Section("Redirects", range(104, 108), redirect.FAULTS),
    Section("Uploads", range(108, 113), upload.FAULTS),
    Section("The life of a call and of a client", range(113, 120), lifecycle.FAULTS),
    Section("Outages, overload and restarts", range(120, 125), outages.FAULTS),
    Section("Middlewares of the user", range(125, 126), middlewares.FAULTS),
]
CASES = [case for section in SECTIONS for case in section.cases]
