"""`RawServer`: a server on loopback that does, byte for byte, what a script specifies, and counts requests.

::

    async with raw_server(respond(ok(b"{}"))) as server:
        await client.get(server.url + "/users")
    assert server.requests[0].target == "/users"
    assert server.connections == 1

A script is an async function of one `Exchange`, run once for each request. `respond`, `close`, `reset`,
`hang`, `drip` and `in_turn` create scripts; any other function works too. The connection stays open when a
script returns, unless the script closed it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from typing import Any, NamedTuple

from aiohttp import web
from multidict import CIMultiDict

__all__ = [
    "Exchange",
    "RawRequest",
    "RawServer",
    "Script",
    "client_tls",
    "close",
    "drip",
    "hang",
    "in_turn",
    "ok",
    "port_that_drops_connections",
    "raw_server",
    "refusing_port",
    "reset",
    "respond",
    "response",
    "server_tls",
    "serving",
    "turns",
    "until",
    "unused_port",
]


class RawRequest(NamedTuple):
    """One request, as received on the wire."""

    head: bytes
    """Request line and headers, without the blank line."""

    body: bytes
    """The body, without its chunked framing; empty where the server does not read bodies."""

    connection: int
    """The number of the server's connection that it used, from 0."""

    @property
    def method(self) -> str:
        """The method."""
        return self.head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> str:
        """The request target: path and query, or the whole URL if requested as a proxy."""
        return self.head.split(b" ", 2)[1].decode()

    @property
    def headers(self) -> CIMultiDict[str]:
        """The headers."""
        lines = self.head.decode().split("\r\n")[1:]
        return CIMultiDict(
            (name, value.strip()) for name, _, value in (line.partition(":") for line in lines)
        )


class Exchange:
    """One request and its connection, as a script receives them."""

    def __init__(self, request: RawRequest, index: int, reader: asyncio.StreamReader, writer: Any) -> None:
        self.request = request
        self.index = index
        """How many requests the server had before, on all its connections."""
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write *data*, and wait until it is sent."""
        if self.writer.is_closing():
            raise ConnectionResetError("The client has left")  # uvloop calls that a RuntimeError
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        """Close the connection with a FIN, after everything that was sent before."""
        self.writer.close()

    def reset(self) -> None:
        """End the connection with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.cut()

    def cut(self) -> None:
        """End the connection immediately: on TLS, without a close_notify."""
        self.writer.transport.abort()


Script = Callable[[Exchange], Awaitable[object]]


class RawServer:
    """The requests that a running server received, and its address; created by `raw_server`."""

    def __init__(self, script: Script, *, tls: bool = False, reads_bodies: bool = True) -> None:
        self.script = script
        """May be changed while the server runs."""
        self.requests: list[RawRequest] = []
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._reads_bodies = reads_bodies
        self._open: dict[asyncio.Task[None], Any] = {}

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, without a slash at its end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """The number of open connections, as far as the server knows."""
        return len(self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: Any = asyncio.current_task()
        self._open[task] = writer
        connection, self.connections = self.connections, self.connections + 1
        try:
            # A peer may disconnect at any time, between two requests or in one.
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                while not writer.is_closing():
                    head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
                    body = await _read_body(reader, head) if self._reads_bodies else b""
                    request = RawRequest(head, body, connection)
                    self.requests.append(request)
                    await self.script(Exchange(request, len(self.requests) - 1, reader, writer))
        except asyncio.CancelledError:
            # The end of the test. Python 3.11 and 3.12 would log it as an error of the handler's.
            pass
        finally:
            writer.close()
            del self._open[task]

    async def _stop(self) -> None:
        tasks = list(self._open)
        for task, writer in list(self._open.items()):
            writer.transport.abort()
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        # One turn for the transports to close their sockets.
        await asyncio.sleep(0)


@asynccontextmanager
async def raw_server(
    script: Script, *, tls: bool = False, reads_bodies: bool = True
) -> AsyncIterator[RawServer]:
    """Run *script* for every request to a free port of 127.0.0.1.

    With *tls* the server speaks TLS, with a certificate that `client_tls` trusts. Without
    *reads_bodies* the body of a request is left on the wire.
    """
    server = RawServer(script, tls=tls, reads_bodies=reads_bodies)
    listener = await asyncio.start_server(
        server._serve, "127.0.0.1", 0, limit=1 << 20, ssl=server_tls() if tls else None
    )
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await server._stop()
        await listener.wait_closed()


async def _read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    headers = RawRequest(head, b"", 0).headers
    if "chunked" in headers.get("Transfer-Encoding", ""):
        chunks = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            chunks.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        return b"".join(chunks)
    return await reader.readexactly(int(headers.get("Content-Length", "0")))


# --- responses


def response(status: str = "200 OK", body: bytes | None = b"", **headers: str) -> bytes:
    """A response as bytes, with hyphens for the underscores of *headers*. A body of None has no length."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def ok(body: bytes = b"{}", content_type: str = "application/json", **headers: str) -> bytes:
    """A 200 as bytes, with its Content-Length."""
    return response("200 OK", body, Content_Type=content_type, **headers)


# --- scripts


def respond(data: bytes) -> Script:
    """Answer every request with *data*, and keep the connection."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(data)

    return script


def close(data: bytes = b"") -> Script:
    """Answer with *data*, if any, then a FIN."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(data)
        exchange.close()

    return script


def reset(data: bytes = b"") -> Script:
    """Answer with *data*, if any, and a RST once the client had the time to read it."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(data)
        if data:
            await asyncio.sleep(0.02)
        exchange.reset()

    return script


def hang(data: bytes = b"") -> Script:
    """Answer with *data*, if any, and then send nothing until the client disconnects or the test ends."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(data)
        while await exchange.reader.read(1 << 16):
            pass

    return script


def drip(data: bytes, *, size: int = 1, every: float = 0.01) -> Script:
    """Answer with *data* in pieces of *size* bytes, one *every* so many seconds."""

    async def script(exchange: Exchange) -> None:
        for start in range(0, len(data), size):
            await exchange.send(data[start : start + size])
            await asyncio.sleep(every)

    return script


def in_turn(*scripts: Script) -> Script:
    """The first request gets the first script, the second the second; the last one is repeated."""

    async def script(exchange: Exchange) -> None:
        await scripts[min(exchange.index, len(scripts) - 1)](exchange)

    return script


# --- other helpers for tests of the wire


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve *app* on a free port of loopback; gives its origin."""
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, however busy the machine is; no test relies on a sleep."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is outside of asyncio
            await asyncio.sleep(0.001)


async def turns(number: int = 5) -> None:
    """Let the loop run: bytes in a local socket are read in one turn."""
    for _ in range(number):
        await asyncio.sleep(0)


def _bind_for_good() -> int:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port: int = sock.getsockname()[1]
    sock.detach()
    return port


# Bound on import: a test that looks for open sockets must not find a new one.
_refusing_port = _bind_for_good()


def refusing_port() -> int:
    """A port of 127.0.0.1 that refuses connections.

    It stays bound while the process runs. Otherwise a test of another process could start a server on it.
    """
    return _refusing_port


@contextmanager
def port_that_drops_connections() -> Iterator[int]:
    """A port of 127.0.0.1 that never answers: its full backlog drops every attempt to connect."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        try:
            yield port
        finally:
            for filler in fillers:
                filler.close()


def unused_port() -> int:
    """A port of 127.0.0.1 for a server to be started."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@lru_cache
def server_tls() -> ssl.SSLContext:
    """The TLS of a server on localhost and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(_KEY + CERTIFICATE)
        file.flush()
        context.load_cert_chain(file.name)
    return context


@lru_cache
def client_tls() -> ssl.SSLContext:
    """The TLS of a client that trusts `server_tls`, and no other."""
    return ssl.create_default_context(cadata=CERTIFICATE)


# For the tests only: self-signed, for localhost and 127.0.0.1, valid until 2120.
_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg7Kvq+P9EsKzff4zk
EJOrzIXwZanUbZiynJPw/1qw8jShRANCAASc3gzIZnw2WSZbTAVX3gM6wdg2+Pmh
iV0J3XJFTS+iRL1HCew2vGAkXmdQMxqltvkV2GVuWqFjFhqhfjQ0Eycj
-----END PRIVATE KEY-----
"""
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBiTCCAS+gAwIBAgIBATAKBggqhkjOPQQDAjAdMRswGQYDVQQDDBJhaW9hcGlj
bGllbnQgdGVzdHMwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMB0x
GzAZBgNVBAMMEmFpb2FwaWNsaWVudCB0ZXN0czBZMBMGByqGSM49AgEGCCqGSM49
AwEHA0IABJzeDMhmfDZZJltMBVfeAzrB2Db4+aGJXQndckVNL6JEvUcJ7Da8YCRe
Z1AzGqW2+RXYZW5aoWMWGqF+NDQTJyOjXjBcMB0GA1UdDgQWBBRbFBInULNOVp3P
JnWK6Eu/tgdy8jAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwDwYDVR0TAQH/
BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAoQwCgYIKoZIzj0EAwIDSAAwRQIhAMg6Kckx
QLNT+1cQqEJTBbOiikWbqiBPVeitYWIAhOpJAiBwARLb14iPhawEjve1LOXNm4cG
88apCVYncRnuDIR1NA==
-----END CERTIFICATE-----
"""
