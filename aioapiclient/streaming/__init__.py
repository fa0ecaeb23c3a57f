"""Streams of typed events: `SSEStream`, `JSONLStream`, and their decoders.

::

    async with client.stream("POST", "/chat", Chunk, json=...) as stream:
        async for chunk in stream:
            print(chunk.text, end="")

msgspec decodes the received bytes directly to `T`, without an intermediate string. A stream releases its
connection when it has ended, and closes the connection if you leave it earlier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioapiclient._late import late_names

if TYPE_CHECKING:
    from ._framings import JSONLStream, SSEStream
    from ._jsonl import JSONLDecoder
    from ._reconnect import ReconnectPolicy
    from ._sse import ServerSentEvent, SSEDecoder
    from ._stream import AsyncStream
else:
    __getattr__, __dir__ = late_names(
        __name__,
        {
            "AsyncStream": "._stream",
            "JSONLDecoder": "._jsonl",
            "JSONLStream": "._framings",
            "ReconnectPolicy": "._reconnect",
            "SSEDecoder": "._sse",
            "SSEStream": "._framings",
            "ServerSentEvent": "._sse",
        },
    )

__all__ = [
    "AsyncStream",
    "JSONLDecoder",
    "JSONLStream",
    "ReconnectPolicy",
    "SSEDecoder",
    "SSEStream",
    "ServerSentEvent",
]
