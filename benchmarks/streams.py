"""What a typed stream costs: the stream rows of DESIGN §15, as ratios of CPU time in one run.

    python benchmarks/streams.py

The bytes come from memory, so that nothing but the way from bytes to values is measured: both sides
of a ratio read the same chunks in the same process, in turns, and the best round of each counts.
The row against the openai SDK needs it: ``pip install openai``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy

from aioapiclient import APIRequest, AsyncAPIResponse
from aioapiclient.streaming import SSEDecoder, SSEStream


def optional(*names: str) -> Any:
    """The first of these modules that is installed."""
    for name in names:
        with suppress(ImportError):
            return import_module(name)
    return None


openai = optional("openai")
HTTPX = optional("httpx2", "httpx")  # the SDK's own, under its newer name or its older one

EVENTS = 2000
ROUNDS = 15
PAYLOAD = (
    b'{"id":"chatcmpl-8a1","object":"chat.completion.chunk","created":1694268190,"model":"gpt-4o-mini",'
    b'"system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,"delta":{"content":" hello"},'
    b'"logprobs":null,"finish_reason":null}]}'
)


class Delta(msgspec.Struct):
    role: str | None = None
    content: str | None = None


class Choice(msgspec.Struct):
    index: int
    delta: Delta
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]


class Big(msgspec.Struct):
    text: str


class Memory:
    """A body that is there, in chunks."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks = iter(chunks)

    async def read(self, limit: int | None) -> bytes:
        return b"".join(self._chunks)

    async def read_chunk(self) -> bytes:
        return next(self._chunks, b"")

    def close(self) -> None:
        """Nothing to give back."""

    def abort(self, error: Exception) -> None:
        """Nobody waits."""


REQUEST = APIRequest("GET", "http://localhost/events", stream=True)
HEADERS = CIMultiDictProxy(CIMultiDict({"Content-Type": "text/event-stream"}))


async def typed(chunks: Sequence[bytes], cast_to: Any = Chunk) -> int:
    """Ours."""
    response: AsyncAPIResponse[Any] = AsyncAPIResponse(REQUEST, 200, HEADERS, Memory(chunks))
    seen = 0
    async for _ in SSEStream[Any](response, cast_to):
        seen += 1
    return seen


async def by_hand(chunks: Sequence[bytes]) -> int:
    """What one would write for exactly this shape of events."""
    source, decode = Memory(chunks), msgspec.json.Decoder(Chunk).decode
    seen, rest = 0, b""
    while chunk := await source.read_chunk():
        *events, rest = (rest + chunk).split(b"\n\n")
        for event in events:
            decode(event[event.index(b"data: ") + 6 :])
            seen += 1
    return seen


async def by_openai(chunks: Sequence[bytes]) -> int:
    """The typed stream of the openai SDK."""

    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    request = HTTPX.Request("GET", "http://localhost/events")
    response = HTTPX.Response(200, headers=dict(HEADERS), content=body(), request=request)
    kind = openai.types.chat.ChatCompletionChunk
    seen = 0
    async for _ in openai.AsyncStream(cast_to=kind, response=response, client=CLIENT):
        seen += 1
    return seen


CLIENT: Any = None if openai is None else openai.AsyncOpenAI(api_key="none")


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


async def decoded(chunks: Sequence[bytes]) -> int:
    """The decoder alone, to text."""
    decoder = SSEDecoder()
    return sum(len(event.data) > 0 for chunk in chunks for event in decoder.feed(chunk))


async def best(
    one: Callable[[], Awaitable[int]], other: Callable[[], Awaitable[int]], rounds: int
) -> tuple[float, float]:
    """CPU seconds of the best round of each, the rounds in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for run, spent in zip((one, other), times, strict=True):
            start = time.process_time()
            await run()
            spent.append(time.process_time() - start)
    return min(times[0]), min(times[1])


def report(name: str, ratio: float, limit: str) -> None:
    print(f"{name:<66} {ratio:6.2f}  ({limit})")


async def main() -> None:
    data = b"".join(b"data: %b\n\n" % PAYLOAD for _ in range(EVENTS))
    named = b"".join(b"event: chunk\ndata: %b\n\n" % PAYLOAD for _ in range(EVENTS))
    shapes = {
        "data only, in chunks of 16 KiB": cut(data, 16 << 10),
        "data only, an event a chunk": cut(data, len(data) // EVENTS),
        "data only, in chunks of 1460 bytes": cut(data, 1460),
        "named, in chunks of 16 KiB": cut(named, 16 << 10),
        "named, an event a chunk": cut(named, len(named) // EVENTS),
    }
    print(f"Python {sys.version.split()[0]}, CPU time, best of {ROUNDS}, {EVENTS} events")
    for name, chunks in shapes.items():
        assert await typed(chunks) == await by_hand(chunks) == EVENTS
        ours, bare = await best(lambda c=chunks: typed(c), lambda c=chunks: by_hand(c), ROUNDS)  # type: ignore[misc]
        report(f"typed over splitting and decoding: {name}", ours / bare, "must 2.0, goal 1.3")
    if openai is not None:
        chunks = cut(data, 16 << 10)
        assert await by_openai(chunks) == EVENTS
        theirs, ours = await best(lambda: by_openai(chunks), lambda: typed(chunks), 5)
        report(f"openai {openai.__version__} over typed", theirs / ours, "must 15, goal 30")
    big = b'data: {"text":"%b"}\n\n' % (b"x" * (4 << 20))
    small, whole = cut(big, 1 << 10), [big]
    many, one = await best(lambda: typed(small, Big), lambda: typed(whole, Big), ROUNDS)
    report("4 MB in one event, in chunks of 1 KiB over one: typed", many / one, "must 1.5, goal 1.1")
    many, one = await best(lambda: decoded(small), lambda: decoded(whole), ROUNDS)
    report("4 MB in one event, in chunks of 1 KiB over one: decoder", many / one, "must 1.5, goal 1.1")


if __name__ == "__main__":
    asyncio.run(main())
