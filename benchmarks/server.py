"""The server of the benchmarks: answers each GET with bytes that are ready, in a process of its own.

python benchmarks/server.py        prints its port, and serves until it is ended
"""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec

PAGE = msgspec.json.encode(
    {"items": [{"id": id, "name": f"name{id}", "email": f"user{id}@example.com"} for id in range(55)]}
)
"""About 3 kB of JSON, the body of ``/page``."""

EVENTS = b"".join(b'data: {"id":%d,"name":"name","email":"user@example.com"}\n\n' % id for id in range(20))
"""The body of ``/events``."""


def response(content_type: bytes, body: bytes) -> bytes:
    """A whole response, with the headers that an ordinary server sends."""
    return b"\r\n".join(
        (
            b"HTTP/1.1 200 OK",
            b"Content-Type: " + content_type,
            b"Content-Length: %d" % len(body),
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
}


class Server(asyncio.Protocol):
    """One connection: a request without a body ends with an empty line, and that is all it looks for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._pending = b""

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        *requests, self._pending = (self._pending + data).split(b"\r\n\r\n")
        for request in requests:
            self._transport.write(RESPONSES.get(request.split(b" ", 2)[1], RESPONSES[b"/page"]))


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
