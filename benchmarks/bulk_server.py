"""The server of the bulk benchmarks, in a separate process: it sends and receives bodies as fast as the
client.

``GET /N`` is answered with N bytes; any other method takes a body and is answered with its length. It uses
blocking sockets and large buffers, so that the client seldom waits for it.

python benchmarks/bulk_server.py        prints its port, and serves until it is stopped
"""

from __future__ import annotations

import socket
import threading

BLOCK = memoryview(bytes(4 << 20))
"""Bytes per write."""


def serve(connection: socket.socket) -> None:
    """One connection: one request after the other, the bodies with a Content-Length."""
    taken = memoryview(bytearray(len(BLOCK)))
    with connection, connection.makefile("rb", buffering=0) as lines:
        while head := read_head(lines):
            method, target, _ = head[0].split(b" ", 2)
            if method == b"GET":
                give(connection, int(target[1:]))
                continue
            left = length = content_length(head)
            while left:
                left -= connection.recv_into(taken, min(left, len(taken)))
            connection.sendall(answer(b"%d" % length))


def read_head(lines: socket.SocketIO) -> list[bytes]:
    """Return the lines of a request's head; an empty list at the end of the connection."""
    head: list[bytes] = []
    while line := lines.readline().rstrip():
        head.append(line)
    return head


def content_length(head: list[bytes]) -> int:
    (value,) = (line[15:] for line in head if line.lower().startswith(b"content-length:"))
    return int(value)


def give(connection: socket.socket, size: int) -> None:
    """Send a response of *size* bytes."""
    connection.sendall(answer(b"", size))
    for start in range(0, size, len(BLOCK)):
        connection.sendall(BLOCK[: size - start])


def answer(body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (size, body)


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
