"""`trace_config`: the phases of a send before its request leaves, as reported by aiohttp's tracing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final, Protocol

import aiohttp

from ._record import Phase, PhaseName
from ._timeline import current

__all__ = ["trace_config"]


_NAMES: Final[tuple[PhaseName, ...]] = ("queue", "dns", "connect")


def trace_config() -> aiohttp.TraceConfig:
    """Return the trace config that adds the phases ``queue``, ``dns`` and ``connect`` to each `Send`.

    Give it to the transport: ``AiohttpTransport(trace_configs=[trace_config()])``. It finds the send by
    its context, so one config serves every `Timeline`. If two timelines record one client, the inner
    one gets the phases.
    """
    config = aiohttp.TraceConfig()
    phases: tuple[tuple[PhaseName, Any, Any], ...] = (
        ("queue", config.on_connection_queued_start, config.on_connection_queued_end),
        ("dns", config.on_dns_resolvehost_start, config.on_dns_resolvehost_end),
        ("connect", config.on_connection_create_start, config.on_connection_create_end),
    )
    for name, starts, ends in phases:
        starts.append(_start_of(name))
        ends.append(_end_of(name))
    config.on_connection_create_end.append(_note_new)
    config.on_connection_reuseconn.append(_note_reused)
    config.on_request_end.append(_note_head)
    config.on_request_exception.append(_note_failure)
    return config


class _Callback(Protocol):
    async def __call__(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, params: Any, /
    ) -> None: ...


def _start_of(name: PhaseName) -> _Callback:
    async def note(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any, /) -> None:
        found = current.get()
        if found is not None:
            setattr(context, name, found[0].now())

    return note


def _end_of(name: PhaseName) -> _Callback:
    async def note(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any, /) -> None:
        found = current.get()
        began: float | None = getattr(context, name, None)
        if found is not None and began is not None:
            recorder, send = found
            send.phases.append(Phase(name, began, recorder.now()))
            delattr(context, name)

    return note


async def _note_failure(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any, /) -> None:
    """End the phases that the failure interrupted: aiohttp does not report their end."""
    for name in _NAMES:
        await _end_of(name)(session, context, params)


async def _note_new(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any, /) -> None:
    found = current.get()
    if found is not None:
        found[1].reused = False


async def _note_reused(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any, /) -> None:
    found = current.get()
    if found is not None:
        found[1].reused = True


async def _note_head(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any, /) -> None:
    found = current.get()
    if found is not None:
        recorder, send = found
        send.head = recorder.now()
