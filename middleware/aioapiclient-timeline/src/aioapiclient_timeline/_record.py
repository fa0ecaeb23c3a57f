"""The record of a call: plain data that can be pickled, and that msgspec encodes directly.

It contains no headers, no query values and no part of a body. All times of a record are seconds since its
call began.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

__all__ = ["Call", "Phase", "PhaseName", "Send"]

PhaseName: TypeAlias = Literal["queue", "dns", "connect"]
"""The name of a phase; see `Phase`."""


class Phase(msgspec.Struct, frozen=True):
    """One phase of a send, as aiohttp's tracing reports it (`trace_config`)."""

    name: PhaseName
    """``queue`` (the wait for a connection), ``connect`` (DNS, TCP and TLS) or ``dns`` (part of it)."""

    began: float
    """When it began, in seconds since the call began."""

    ended: float
    """When it ended, in seconds since the call began."""


class Send(msgspec.Struct):
    """One request on the wire."""

    attempt: int
    """The number of its attempt, from 0."""

    origin: str
    """Scheme, host and port."""

    url: str
    """The URL without userinfo, and with ``?...`` for a query."""

    template: str | None
    """The path template; None on a redirect hop to another path."""

    began: float
    """When it began, in seconds since the call began."""

    head: float | None = None
    """When the response head arrived; None without a response from the wire."""

    ended: float | None = None
    """When the body was read, the stream closed, or the send failed."""

    status: int | None = None
    """The status of the response."""

    error: str | None = None
    """The class of the error that ended the send or its body."""

    reason: str | None = None
    """The ``phase`` of a timeout, or the ``reason`` of a connection error; None otherwise."""

    hedged: bool = False
    """Whether it is a second copy, sent while another send of the same attempt was waiting."""

    reused: bool | None = None
    """Whether it reused a connection of the pool; None without `trace_config`."""

    phases: list[Phase] = []
    """The phases before the request was sent; empty without `trace_config`."""


class Call(msgspec.Struct):
    """One call of a client, from its start to its end."""

    method: str
    """The method of the call, before any redirect."""

    template: str | None
    """The path template, such as ``/users/{id}``; None for an absolute URL."""

    origin: str
    """Scheme, host and port of the call, before any redirect."""

    started: float
    """When the call began, in seconds since 1970 (UTC)."""

    seconds: float = 0.0
    """Seconds until the end of the call; for a stream, until it was closed."""

    status: int | None = None
    """The status of the response that ended the call."""

    error: str | None = None
    """The class of the error that ended the call below the client, or that broke a stream.

    A status error is recorded as a status.
    """

    reason: str | None = None
    """The phase or reason of the error, as in `Send.reason`."""

    request_id: str | None = None
    """The server's ID of the last request, from the client's ``request_id_header``."""

    streamed: bool = False
    """Whether the response was returned with its body unread."""

    attempts: int = 0
    """The number of attempts that were sent or answered by a cache."""

    sends: list[Send] = []
    """The requests on the wire in the order in which they began; at most 100."""

    dropped: int = 0
    """The number of sends after the first 100."""

    @property
    def label(self) -> str:
        """Method and path template for logs, such as ``GET /users/{id}``; the origin if the call has no
        template.
        """
        return f"{self.method} {self.template or self.origin}"

    @property
    def answered(self) -> float:
        """Seconds until the response: until the head of a stream, otherwise until the end of the call."""
        if self.streamed and self.sends and self.sends[-1].head is not None:
            return self.sends[-1].head
        return self.seconds

    @property
    def waited(self) -> float:
        """Seconds without a request on the wire: waits between attempts, for tokens and for limits."""
        busy = reached = 0.0
        for send in self.sends:  # in the order of their start; hedged ones overlap
            ended = self.seconds if send.ended is None else send.ended
            busy += max(0.0, ended - max(send.began, reached))
            reached = max(reached, ended)
        return max(0.0, self.seconds - busy)
