"""The server of the soak: it misbehaves by a seeded plan, and records every request that it receives.

    python benchmarks/faulty_server.py SEED

prints its port, then carries out the orders on its standard input: one order a line, in JSON, answered by a
line on its standard output. It ends when its input does, so that it never outlives its parent process.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, cast

import faults
import msgspec
from faults import Fault, Plan

_HOLD = 0.002  # seconds of an answer that occupies a connection
_DRIP = 0.005  # seconds between the pieces of an answer that drips
_TICK = 0.05  # seconds between the pieces of a stream
_RARER = 4  # times, under a steady load: a fault in every twentieth attempt
_BOMB = gzip.compress(bytes(200 << 20), 9)
ADDRESSES = ("127.0.0.1", "127.0.0.2")


class Record(msgspec.Struct, array_like=True):
    """One request, as the server saw it."""

    time: float
    """On the machine's monotonic clock, which both processes read."""
    route: str
    call: int
    attempt: int
    """The number of earlier requests of the same call."""
    answer: str
    """The action that the server took."""
    key: str | None
    intact: bool
    """Whether the body belongs to the call."""


class Cut(msgspec.Struct, array_like=True):
    """How a stream was cut: after which complete event, and whether by a RST."""

    events: int
    by_reset: bool


class Item(msgspec.Struct):
    """The content of a good answer."""

    id: int
    attempt: int
    text: str = "an item with some text, so that its body is no longer a matter of a few bytes " * 4


class Request(msgspec.Struct):
    """One request: as much of it as the routes look at."""

    method: str
    route: str
    call: int
    headers: dict[str, str]
    body: bytes


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    """A complete response."""
    head = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers)
    return "\r\n".join((*head, "", "")).encode() + body


def good(request: Request, attempt: int) -> bytes:
    """The expected answer, compressed for some calls of each kind."""
    body = msgspec.json.encode(Item(request.call, attempt))
    if request.call % 3 == 0:
        return answer("200 OK", gzip.compress(body, 1), "Content-Encoding: gzip")
    return answer("200 OK", body)


def problem(status: str, *headers: str) -> bytes:
    """The answer of a server that has a problem."""
    return answer(status, b'{"error":"on purpose"}', *headers)


class Service:
    """The state shared by the connections: the plan, the log, and the orders."""

    def __init__(self, seed: int) -> None:
        self.plan = Plan(seed)
        self.log: list[Record] = []
        self.attempts: Counter[tuple[str, int]] = Counter()
        self.connections: set[Connection] = set()
        self.requests_at = Counter(dict.fromkeys(ADDRESSES, 0))
        self.token = "token-1"
        self.is_down = False
        self.refused: list[Connection] | None = []
        self.streams: list[Stream] = []
        self.events = 0
        self.cuts: dict[int, Cut] = {}

    def orders(self) -> dict[str, Callable[..., Any]]:
        """The orders, by name."""
        named = (self.take_log, self.set, self.facts, self.flow, self.refuse, self.restart)
        return {order.__name__: order for order in named}

    def take_log(self) -> list[Record]:
        """Return the log, and start a new one."""
        log, self.log = self.log, []
        self.attempts.clear()
        return log

    def set(self, **values: Any) -> None:
        """Change the token that is accepted, or whether the service is down."""
        for name, value in values.items():
            setattr(self, name, value)

    def facts(self) -> dict[str, Any]:
        """Return the facts that the client cannot see from its side."""
        return {
            "connections": len(self.connections),
            "requests_at": self.requests_at,
            "requests": len(self.log),
            "streams": len(self.streams),
            "cuts": self.cuts,
        }

    def refuse(self) -> None:
        """Answer all requests with an invalid token together; later ones are answered without delay."""
        for connection in self.refused or ():
            connection.write(problem("401 Unauthorized"))
        self.refused = None

    async def listen(self, port: int = 0) -> None:
        """Accept connections on all addresses, at one port."""
        loop, self._listeners = asyncio.get_running_loop(), []
        for address in ADDRESSES:
            listener = await loop.create_server(lambda: Connection(self), address, port, backlog=4096)
            port = listener.sockets[0].getsockname()[1]
            self._listeners.append(listener)
        self.port = port

    def restart(self, seconds: float) -> None:
        """Drop all connections, and accept none for that many seconds."""
        for listener in self._listeners:
            listener.close()
        for connection in list(self.connections):
            connection.end(reset=True)
        self._restarting = asyncio.create_task(self._listen_after(seconds))

    async def _listen_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.listen(self.port)

    def flow(self) -> None:
        """Start the streams that have been requested so far."""
        self._flowing = asyncio.create_task(self._flow())

    async def _flow(self) -> None:
        while self.streams:
            self.streams = [stream for stream in self.streams if stream.advance()]
            await asyncio.sleep(_TICK)


class Stream:
    """One stream of events, in pieces that ignore the boundaries of events."""

    def __init__(self, service: Service, connection: Connection, call: int) -> None:
        self._connection = connection
        self._call = call
        self._service = service
        self._random = random.Random(f"{service.plan.seed} stream {call}")
        self._pieces = self._cut_up(self._events(service.events))

    def advance(self) -> bool:
        """Send a piece; return whether more pieces follow."""
        piece = next(self._pieces, b"")
        if self._connection.gone:
            return False
        if piece:
            self._connection.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            return True
        cut = self._service.cuts.get(self._call)
        if cut is None:
            self._connection.write(b"0\r\n\r\n")
        else:
            self._connection.end(reset=cut.by_reset)
        return False

    def _events(self, number: int) -> bytes:
        events = [b'id: %d\ndata: {"stream":%d,"number":%d}\n\n' % (n, self._call, n) for n in range(number)]
        if self._call % 10 != 1:
            return b"".join(events) + b"data: [DONE]\n\n"
        whole = self._random.randrange(number)
        self._service.cuts[self._call] = Cut(whole, by_reset=self._call % 20 == 1)
        return b"".join(events[:whole]) + events[whole][: self._random.randrange(len(events[whole]) - 1)]

    def _cut_up(self, data: bytes) -> Iterator[bytes]:
        while data:
            size = self._random.randint(1, 600)
            yield data[:size]
            data = data[size:]


class Connection(asyncio.Protocol):
    """One connection: reads a request, looks its route up, and carries it out."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._pending = b""
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._service.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has closed the connection."""
        self.gone = True
        self._service.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Act on each complete request."""
        self._pending += data
        while (request := self._next_request()) is not None:
            self._act(request)

    def _next_request(self) -> Request | None:
        head, found, rest = self._pending.partition(b"\r\n\r\n")
        if not found:
            return None
        line, *fields = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return None
        self._pending = rest[length:]
        method, target, _ = line.split(" ")
        _, route, call = target.split("/")
        return Request(method, route, int(call), headers, rest[:length])

    def _act(self, request: Request) -> None:
        service, name = self._service, (request.route, request.call)
        attempt = service.attempts[name]
        service.attempts[name] += 1
        service.requests_at[self._transport.get_extra_info("sockname")[0]] += 1
        done = getattr(self, f"_on_{request.route}")(request, attempt)
        key = request.headers.get("idempotency-key")
        intact = request.method == "GET" or request.body == b'{"order":%d}' % request.call
        record = Record(time.monotonic(), request.route, request.call, attempt, done, key, intact)
        service.log.append(record)

    # --- the routes, and their log entries

    def _on_items(self, request: Request, attempt: int) -> str:
        return self._answer(request, attempt, self._service.plan.fault(request.call, attempt))

    def _on_steady(self, request: Request, attempt: int) -> str:
        if self._service.is_down:
            return self._on_outage(request, attempt)
        if not self._is_known(request):
            return self._on_secrets(request, attempt)
        return self._answer(request, attempt, self._service.plan.fault(request.call, attempt, _RARER))

    def _answer(self, request: Request, attempt: int, fault: Fault | None) -> str:
        if fault is not None:
            self._misbehave(fault, request, attempt)
            return fault.name
        data = good(request, attempt)
        if request.call % 101 == 0:
            self._drip(data)
            return "good, dripping"
        self.write(data)
        return "good"

    def _on_prompt(self, request: Request, attempt: int) -> str:
        self.write(good(request, attempt))
        return "good"

    def _on_held(self, request: Request, attempt: int) -> str:
        asyncio.get_running_loop().call_later(_HOLD, self.write, good(request, attempt))
        return "good"

    def _on_silent(self, request: Request, attempt: int) -> str:
        return "no head"

    def _on_stalled(self, request: Request, attempt: int) -> str:
        self.write(good(request, attempt)[:-10])
        return "no end of the body"

    def _on_bombs(self, request: Request, attempt: int) -> str:
        self.write(answer("200 OK", _BOMB, "Content-Encoding: gzip"))
        return "bomb"

    def _on_busy(self, request: Request, attempt: int) -> str:
        self.write(problem("503 Service Unavailable", "Retry-After: 30"))
        return "busy"

    def _on_outage(self, request: Request, attempt: int) -> str:
        self.write(problem("500 Internal Server Error") if self._service.is_down else good(request, attempt))
        return "down" if self._service.is_down else "good"

    def _is_known(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self._service.token}"

    def _on_secrets(self, request: Request, attempt: int) -> str:
        if not self._is_known(request):
            if self._service.refused is None:
                self.write(problem("401 Unauthorized"))
            else:
                self._service.refused.append(self)
            return "refused"
        self.write(good(request, attempt))
        return "good"

    def _on_streams(self, request: Request, attempt: int) -> str:
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.write(head.encode())
        self._service.streams.append(Stream(self._service, self, request.call))
        return "stream"

    # --- the actions

    def write(self, data: bytes) -> None:
        """Send *data*, unless the client has closed the connection."""
        if not self.gone:
            self._transport.write(data)

    def end(self, *, reset: bool) -> None:
        """End the connection, with a RST or a FIN."""
        if reset:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()

    def _misbehave(self, fault: Fault, request: Request, attempt: int) -> None:
        match fault:
            case faults.FIN | faults.RST:
                self.end(reset=fault is faults.RST)
            case faults.BROKEN:
                self.write(problem("500 Internal Server Error"))
            case faults.UNAVAILABLE:
                self.write(problem("503 Service Unavailable"))
            case faults.BUSY:
                self.write(problem("503 Service Unavailable", f"Retry-After: {faults.RETRY_AFTER}"))
            case faults.THROTTLED:
                self.write(problem("429 Too Many Requests", "Retry-After: 0"))
            case faults.SHORT_BODY:
                self.write(good(request, attempt)[:-10])
                self.end(reset=False)
            case faults.SHORT_GZIP:
                body = gzip.compress(msgspec.json.encode(Item(request.call, attempt)), 1)
                self.write(answer("200 OK", body[:-10], "Content-Encoding: gzip"))
            case faults.GARBAGE:
                self.write(b"HTTP/1.1 2OO Okay\r\nContent-Length: 0\r\n\r\n")
            case faults.SILENCE:
                pass

    def _drip(self, data: bytes) -> None:
        loop, size = asyncio.get_running_loop(), len(data) // 8
        for number, start in enumerate(range(0, len(data), size)):
            loop.call_later(number * _DRIP, self.write, data[start : start + size])


async def obey(service: Service) -> None:
    """Carry out orders until the input ends."""
    orders, reader = service.orders(), asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        name, values = msgspec.json.decode(line)
        print(msgspec.json.encode(orders[name](**values)).decode(), flush=True)


async def main(seed: int) -> None:
    service = Service(seed)
    await service.listen()
    print(service.port, flush=True)
    await obey(service)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
