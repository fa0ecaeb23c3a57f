"""The server of the benchmarks, in a separate process: it answers each request with prepared bytes.

``/tail/...`` is answered after `USUAL` seconds, and a few of them, at random, after `SLOW`; ``/counts``
returns the number of requests for each such path.

python benchmarks/server.py        prints its port, and serves until it is stopped
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from functools import cache
from typing import cast

import msgspec

PAGE = msgspec.json.encode(
    {"items": [{"id": id, "name": f"name{id}", "email": f"user{id}@example.com"} for id in range(55)]}
)
"""About 3 kB of JSON, the body of ``/page``."""

EVENTS = b"".join(b'data: {"id":%d,"name":"name","email":"user@example.com"}\n\n' % id for id in range(20))
"""The body of ``/events``."""

HELD = b"%x\r\n%b\r\n" % (len(EVENTS), EVENTS)
"""The same as one chunk: ``/held`` sends it, and then nothing."""


@cache
def long_list() -> bytes:
    """100,000 records, the body of ``/list``; created at the first request."""
    items = ({"id": id, "name": f"name{id}", "email": f"user{id}@example.com"} for id in range(100_000))
    return response(b"application/json", msgspec.json.encode({"items": list(items)}))


def response(content_type: bytes, body: bytes, framing: bytes = b"") -> bytes:
    """A response with the headers of an ordinary server; with a Content-Length unless *framing* differs."""
    return b"\r\n".join(
        (
            b"HTTP/1.1 200 OK",
            b"Content-Type: " + content_type,
            framing or b"Content-Length: %d" % len(body),
            b"Server: benchmark",
            b"Date: Sun, 22 Nov 2026 12:00:00 GMT",
            b"X-Request-Id: 0123456789abcdef",
            b"",
            body,
        )
    )


RESPONSES = {
    b"/page": response(b"application/json", PAGE),
    b"/events": response(b"text/event-stream", EVENTS),
    b"/held": response(b"text/event-stream", HELD, b"Transfer-Encoding: chunked"),
}


USUAL, SLOW, SLOW_SHARE = 0.010, 0.400, 0.02
"""Seconds of an answer to ``/tail/...``, of a slow one, and how many are slow."""

_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)")

_counts: Counter[str] = Counter()


class Server(asyncio.Protocol):
    """One connection: it looks for the end of each head, and skips bodies of a declared length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._pending = b""

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            head = self._pending[:end]
            length = _LENGTH.search(head)
            end += 4 + (0 if length is None else int(length[1]))
            if len(self._pending) < end:
                return
            self._pending = self._pending[end:]
            self._answer(head.split(b" ", 2)[1])

    def _answer(self, path: bytes) -> None:
        if path.startswith(b"/tail/"):
            _counts[path.decode()] += 1
            seconds = SLOW if random.random() < SLOW_SHARE else USUAL
            asyncio.get_running_loop().call_later(seconds, self._answer_late)
        elif path == b"/list":
            self._transport.write(long_list())
        elif path == b"/counts":
            self._transport.write(response(b"application/json", msgspec.json.encode(_counts)))
        else:
            self._transport.write(RESPONSES.get(path, RESPONSES[b"/page"]))

    def _answer_late(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(RESPONSES[b"/page"])


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
