"""The record of a call: plain data, which pickles, and which msgspec encodes as it is.

It holds no header, no query value and no piece of a body. All times of a record are seconds since its
call began.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

__all__ = ["Call", "Phase", "PhaseName", "Send"]

PhaseName: TypeAlias = Literal["queue", "dns", "connect"]
"""What a send did before its request left; see `Phase`."""


class Phase(msgspec.Struct, frozen=True):
    """One phase of a send, as aiohttp's tracing tells it (`trace_config`)."""

    name: PhaseName
    """``queue`` is the wait for a connection, ``connect`` DNS, TCP and TLS; ``dns`` lies in ``connect``."""

    began: float
    """Seconds since the call began."""

    ended: float
    """Seconds since the call began."""


class Send(msgspec.Struct):
    """One request on the wire."""

    attempt: int
    """The attempt of the call that it belongs to, from 0."""

    origin: str
    """Scheme, host and port."""

    url: str
    """The URL without userinfo, and with ``?...`` for a query."""

    template: str | None
    """The path as it was written; None on a redirect hop to another path."""

    began: float
    """Seconds since the call began."""

    head: float | None = None
    """When the head of the response was there; None where no response came, or none from the wire."""

    ended: float | None = None
    """When the body was read, the stream closed, or the send failed."""

    status: int | None = None
    """The status of the response."""

    error: str | None = None
    """The class of the error that ended it, or its body."""

    reason: str | None = None
    """What the error says in one word: the ``phase`` of a timeout, the ``reason`` of a connection error."""

    hedged: bool = False
    """Whether it is a second copy, sent while another send of the same attempt was waiting."""

    reused: bool | None = None
    """Whether it used a connection of the pool; None where `trace_config` is not in use."""

    phases: list[Phase] = []
    """The phases before the request left; empty where `trace_config` is not in use."""


class Call(msgspec.Struct):
    """One call of a client, from its begin to its end."""

    method: str
    """The method that the caller asked for."""

    template: str | None
    """The path as it was written, ``/users/{id}``; None for an absolute URL."""

    origin: str
    """Scheme, host and port that the caller asked for."""

    started: float
    """When the call began, in seconds since 1970 (UTC)."""

    seconds: float = 0.0
    """How long it took; of a stream, until it was closed."""

    status: int | None = None
    """The status of the response that ended the call."""

    error: str | None = None
    """The class of the error that ended the call below the client, or a stream before its end.

    A status error is a status.
    """

    reason: str | None = None
    """What the error says in one word, as of `Send.reason`."""

    request_id: str | None = None
    """The server's name for the last request, from the header that the client names."""

    streamed: bool = False
    """Whether the response was handed over with its body unread."""

    attempts: int = 0
    """How many attempts reached the wire or its neighbour, a cache."""

    sends: list[Send] = []
    """The requests on the wire in the order in which they began; at most 100."""

    dropped: int = 0
    """How many sends came after the first 100."""

    @property
    def label(self) -> str:
        """Method and path for logs, ``GET /users/{id}``; the origin where there is no template."""
        return f"{self.method} {self.template or self.origin}"

    @property
    def answered(self) -> float:
        """Seconds until there was an answer: until the head of a stream, else until the end."""
        if self.streamed and self.sends and self.sends[-1].head is not None:
            return self.sends[-1].head
        return self.seconds

    @property
    def waited(self) -> float:
        """Seconds in which nothing was on the wire: waits between attempts, tokens, limits."""
        busy = reached = 0.0
        for send in self.sends:  # in order of their begin; hedged ones overlap
            ended = self.seconds if send.ended is None else send.ended
            busy += max(0.0, ended - max(send.began, reached))
            reached = max(reached, ended)
        return max(0.0, self.seconds - busy)
