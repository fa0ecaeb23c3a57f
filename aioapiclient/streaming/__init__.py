"""Streams of typed events: `SSEStream` and `JSONLStream`, and the decoders under them.

::

    async with client.stream("POST", "/chat", Chunk, json=...) as stream:
        async for chunk in stream:
            print(chunk.text, end="")

A stream goes from the bytes of the wire to `T` by way of msgspec, without a string in between. It
gives its connection back when it has ended, and closes it when it is left before that.
"""

from __future__ import annotations

from ._framings import JSONLStream, SSEStream
from ._jsonl import JSONLDecoder
from ._reconnect import ReconnectPolicy
from ._sse import ServerSentEvent, SSEDecoder
from ._stream import AsyncStream

__all__ = [
    "AsyncStream",
    "JSONLDecoder",
    "JSONLStream",
    "ReconnectPolicy",
    "SSEDecoder",
    "SSEStream",
    "ServerSentEvent",
]
