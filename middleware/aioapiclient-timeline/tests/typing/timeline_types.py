"""The types of the timeline; checked by mypy and pyright, never run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import assert_type

import aiohttp
from aioapiclient_timeline import Call, Phase, Send, Timeline, log_calls, prometheus, trace_config, waterfall
from prometheus_client import CollectorRegistry

from aioapiclient import AiohttpTransport, AsyncAPIClient


async def made() -> None:
    """A timeline is one entry of ``middlewares=``, and a sink any plain function of a call."""
    calls: list[Call] = []
    sink: Callable[[Call], object] = prometheus(CollectorRegistry(), buckets=[0.1, 1])
    timeline = Timeline(calls.append, sink, log_calls(logging.getLogger("x"), slow=2), print)
    assert_type(trace_config(), aiohttp.TraceConfig)
    transport = AiohttpTransport(trace_configs=[trace_config()])
    AsyncAPIClient("https://h", middlewares=[timeline], transport=transport)
    assert_type(calls[0].sends, list[Send])
    assert_type(calls[0].sends[0].phases, list[Phase])
    assert_type(calls[0].sends[0].head, float | None)
    assert_type(calls[0].waited, float)
    assert_type(waterfall(calls[0], 100, ascii=True), str)
    Timeline("log")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    log_calls(slow="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
