"""The cost of a typed stream, as ratios of CPU time in one run.

    python benchmarks/streams.py

The bytes come from memory, so that only the conversion of bytes to values is measured: both sides
of a ratio read the same chunks in the same process, in turns. The row for the openai SDK requires that SDK.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
from bytecodes import bytecodes
from measure import ROUNDS, Row, compare, optional, table
from multidict import CIMultiDict, CIMultiDictProxy

from aioapiclient import APIRequest, AsyncAPIResponse
from aioapiclient.streaming import SSEDecoder, SSEStream

openai = optional("openai")
HTTPX = optional("httpx2", "httpx")  # the SDK's own, under its newer name or its older one

EVENTS = 2000
FEW_ROUNDS = max(ROUNDS // 4, 5)  # each round is long
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
        """Release does nothing."""

    def abort(self, error: Exception) -> None:
        """Wait does nothing."""


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
    """Hand-written code for exactly this form of events."""
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


async def in_turns(
    one: Callable[[], Awaitable[int]], other: Callable[[], Awaitable[int]], rounds: int
) -> tuple[list[float], list[float]]:
    """CPU seconds of each, round by round, in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for run, spent in zip((one, other), times, strict=True):
            start = time.process_time()
            await run()
            spent.append(time.process_time() - start)
    return times


async def counted(
    one: Callable[[], Awaitable[int]], other: Callable[[], Awaitable[int]], events: int = EVENTS
) -> tuple[float, float]:
    """Bytecodes of each for one of *events*."""
    return (
        await bytecodes(one, calls=1, warm=0) / events,
        await bytecodes(other, calls=1, warm=0) / events,
    )


async def over_bytes() -> list[Row]:
    """A typed event relative to hand-written code, for several shapes of streams."""
    data = b"".join(b"data: %b\n\n" % PAYLOAD for _ in range(EVENTS))
    named = b"".join(b"event: chunk\ndata: %b\n\n" % PAYLOAD for _ in range(EVENTS))
    shapes = {
        "data only, in chunks of 16 KiB": cut(data, 16 << 10),
        "data only, an event a chunk": cut(data, len(data) // EVENTS),
        "data only, in chunks of 1460 bytes": cut(data, 1460),
        "named, in chunks of 16 KiB": cut(named, 16 << 10),
        "named, an event a chunk": cut(named, len(named) // EVENTS),
    }
    rows: list[Row] = []
    for name, chunks in shapes.items():
        assert await typed(chunks) == await by_hand(chunks) == EVENTS
        times = await in_turns(lambda c=chunks: typed(c), lambda c=chunks: by_hand(c), FEW_ROUNDS)  # type: ignore[misc]
        rows.append(
            compare(
                f"a typed SSE event, over splitting and decoding; {name}",
                *times,
                must=1.3,
                goal=1.1,
                bytecodes=await counted(lambda c=chunks: typed(c), lambda c=chunks: by_hand(c)),  # type: ignore[misc]
            )
        )
    return rows


async def over_ours() -> list[Row]:
    """The typed stream of the openai SDK over ours."""
    if openai is None:
        return []
    chunks = cut(b"".join(b"data: %b\n\n" % PAYLOAD for _ in range(EVENTS)), 16 << 10)
    assert await by_openai(chunks) == EVENTS
    times = await in_turns(lambda: by_openai(chunks), lambda: typed(chunks), 5)
    what = f"a typed SSE event by openai {openai.__version__}, over ours"
    counts = await counted(lambda: by_openai(chunks), lambda: typed(chunks))
    return [compare(what, *times, must=30, goal=60, at_least=True, bytecodes=counts)]


async def over_one_piece() -> list[Row]:
    """4 MB in one event: in small chunks over in one."""
    big = b'data: {"text":"%b"}\n\n' % (b"x" * (4 << 20))
    small, whole = cut(big, 1 << 10), [big]
    what = "4 MB in one SSE event, in chunks of 1 KiB over in one"
    as_types = await in_turns(lambda: typed(small, Big), lambda: typed(whole, Big), FEW_ROUNDS)
    as_text = await in_turns(lambda: decoded(small), lambda: decoded(whole), FEW_ROUNDS)
    types = await counted(lambda: typed(small, Big), lambda: typed(whole, Big), 1)
    text = await counted(lambda: decoded(small), lambda: decoded(whole), 1)
    return [
        compare(f"{what}; typed", *as_types, must=1.1, goal=1.0, bytecodes=types),
        compare(f"{what}; the decoder alone", *as_text, must=1.1, goal=1.0, bytecodes=text),
    ]


async def measure() -> list[Row]:
    return [*await over_bytes(), *await over_ours(), *await over_one_piece()]


def rows() -> list[Row]:
    """The rows of this module."""
    return asyncio.run(measure())


if __name__ == "__main__":
    print(table(rows()))
