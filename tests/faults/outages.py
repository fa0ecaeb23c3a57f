"""Servers that are down, overloaded or restarted: how many requests all calls make, and their results."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from faults.places import raw
from faults.rows import Call, Fault, Place, Where, gives, raises
from integration.processes import listening
from needed_servers import need_program
from servers import (
    Exchange,
    Script,
    close,
    hang,
    ok,
    raw_server,
    refusing_port,
    reset,
    respond,
    response,
    until,
)

from aioapiclient import BadGatewayError, GatewayTimeoutError, ServiceUnavailableError

__all__ = ["FAULTS"]


async def _answered(call: Call, number: int) -> int:
    """Make *number* concurrent calls; return how many are answered."""
    ends = await asyncio.gather(*(call() for _ in range(number)), return_exceptions=True)
    return sum(end in ({}, "200 {}") for end in ends)


# --- an outage


async def _outage(call: Call, place: Place) -> str:
    """Four hundred calls while the server is down, fifty at a time, and a hundred when it is back."""
    for _ in range(8):
        await _answered(call, 50)
    down = place.requests
    place.server.script = respond(ok())
    answered = sum([await _answered(call, 50) for _ in range(2)])
    return f"400 calls, {down} requests; then {answered} of 100 answered"


# --- half of the required capacity


class _Overloaded:
    """A server that can do so much in a round; a refusal costs a twentieth of an answer, in the next one."""

    CAPACITY = 20

    def __init__(self) -> None:
        self.answered = 0
        self._left = 0.0
        self._refused = 0

    def begin_round(self) -> None:
        self._left = self.CAPACITY - self._refused / 20
        self._refused = 0

    async def __call__(self, exchange: Exchange) -> None:
        if self._left >= 1:
            self._left -= 1
            self.answered += 1
            await exchange.send(ok())
        else:
            self._refused += 1
            await exchange.send(response("503 Service Unavailable"))


async def _overload(call: Call, place: Place) -> str:
    """Fifty rounds of twice as many calls as the server can answer, and ten of half as many."""
    server: Any = place.server.script
    for _ in range(50):
        server.begin_round()
        await _answered(call, 2 * server.CAPACITY)
    share = server.answered / (50 * server.CAPACITY)
    after = 0
    for _ in range(10):
        server.begin_round()
        after += await _answered(call, server.CAPACITY // 2)
    useful = "at least 90 %" if share >= 0.9 else f"{share:.0%}"
    return f"{useful} of its capacity is useful; then {after} of 100 answered"


# --- one bad backend of three


class _Backends(AbstractResolver):
    """Resolves one name to several addresses, which differ in their ports."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[Any]:
        known = {"hostname": host, "host": "127.0.0.1", "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [{**known, "port": port} for port in self._ports]

    async def close(self) -> None:
        """Close does nothing."""


@asynccontextmanager
async def _three_backends() -> AsyncIterator[Place]:
    """One name with three addresses: the first resets every connection, the others answer once per
    connection.
    """
    well = close(ok(Connection="close"))
    async with raw_server(reset()) as bad, raw_server(well) as good, raw_server(well) as better:
        servers = [bad, good, better]

        def connector() -> aiohttp.BaseConnector:
            # Looked up once: for each connection, aiohttp begins at the next address.
            resolver = _Backends([server.port for server in servers])
            return aiohttp.TCPConnector(resolver=resolver, ttl_dns_cache=None)

        yield Place("http://backends.test", *servers, connector=connector)


async def _call_backends(call: Call, place: Place) -> str:
    """Thirty sequential calls, each on a new connection."""
    answered = sum([await _answered(call, 1) for _ in range(30)])
    return f"{answered} of 30 answered"


# --- third-party proxies


@contextmanager
def _running(program: str, configure: Callable[[Path, int], str]) -> Iterator[tuple[str, Path]]:
    """Run *program*, configured for a folder and a port; yield its URL and its folder."""
    path = need_program(program)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # If root starts nginx, its workers run as the user nobody.
        folder.chmod(0o755)
        file = folder / "configuration"
        arguments = {
            "nginx": ["-p", name, "-e", "stderr", "-c", str(file)],
            "haproxy": ["-db", "-f", str(file)],
        }

        def command(port: int) -> list[str]:
            file.write_text(configure(folder, port))
            return [path, *arguments[program]]

        with listening(command, folder) as url:
            yield url, folder


def _nginx(server: str) -> Callable[[Path, int], str]:
    """Configure an nginx with *server* as the server block."""

    def configure(folder: Path, port: int) -> str:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        return (
            f"daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;\n"
            "events {}\n"
            "http {\n"
            f"  access_log off; {' '.join(f'{kind}_temp_path {folder}/{kind};' for kind in kinds)}\n"
            f"  server {{ listen 127.0.0.1:{port}; location / {{ {server} }} }}\n"
            "}\n"
        )

    return configure


def _haproxy(backend: int) -> Callable[[Path, int], str]:
    """Configure an haproxy before *backend*."""

    def configure(folder: Path, port: int) -> str:
        return (
            "defaults\n  mode http\n  retries 0\n"
            "  timeout connect 2s\n  timeout client 30s\n  timeout server 200ms\n"
            f"frontend front\n  bind 127.0.0.1:{port}\n  default_backend back\n"
            f"backend back\n  server one 127.0.0.1:{backend}\n"
        )

    return configure


@asynccontextmanager
async def _restarting() -> AsyncIterator[Place]:
    """An nginx whose answers name the worker that sent them."""
    answer = 'default_type application/json; return 200 "[$pid]";'
    with _running("nginx", _nginx(answer)) as (url, folder):
        yield Place(url, folder=folder)


async def _call_through_restarts(call: Call, place: Place) -> str:
    """Ten callers that call until the server's workers were replaced three times."""
    workers: set[str] = set()
    failures: Counter[str] = Counter()
    restarted = asyncio.Event()

    async def caller() -> None:
        while not restarted.is_set():
            try:
                workers.add(str(await call()))
            except Exception as error:
                failures[type(error).__name__] += 1

    callers = [asyncio.ensure_future(caller()) for _ in range(10)]
    try:
        for generation in range(1, 4):
            await until(lambda generation=generation: len(workers) == generation)  # type: ignore[misc]
            os.kill(int((place.things["folder"] / "pid").read_text()), signal.SIGHUP)
        await until(lambda: len(workers) == 4)
    finally:
        restarted.set()
        await asyncio.wait(callers)
    return f"{', '.join(failures) or 'no'} failure over {len(workers)} generations of workers"


def _proxied_by(program: str, script: Script | None) -> Where:
    """A third-party proxy in front of a server that runs *script*; None: without a server."""

    @asynccontextmanager
    async def where() -> AsyncIterator[Place]:
        async with raw_server(script or hang()) as server:
            backend = server.port if script else refusing_port()
            way = f"proxy_pass http://127.0.0.1:{backend}; proxy_read_timeout 200ms;"
            configure = _nginx(way) if program == "nginx" else _haproxy(backend)
            with _running(program, configure) as (url, _):
                yield Place(url, server) if script else Place(url)

    return where


def _behind(program: str, name: str, script: Script | None, error: type[Exception]) -> Fault:
    """An error that *program* sends for a failing backend is retried like any other 5XX."""
    requests = (3, 1) if script else (0, 0)
    ends = {
        method: raises(error, requests=number, attempts=attempts)
        for method, number, attempts in zip(("GET", "POST"), requests, (3, 1), strict=True)
    }
    return Fault(
        124, f"{program} before a backend that {name}", _proxied_by(program, script), ends, needs=(program,)
    )


FAULTS: list[Fault] = [
    *(
        Fault(
            120,
            f"an outage with every request {name}, and its end",
            raw(script),
            {"GET": gives("400 calls, 435 requests; then 100 of 100 answered", requests=535)},
            act=_outage,
            guard=30,
            note="the retry budget of 500 tokens allows 35 retries",
        )
        for name, script in (
            ("answered with 500", respond(response("500 Internal Server Error"))),
            ("reset", reset()),
        )
    ),
    Fault(
        121,
        "twice as many calls as the server can answer",
        raw(_Overloaded, fresh=True),
        {"GET": gives("at least 90 % of its capacity is useful; then 100 of 100 answered", requests=None)},
        act=_overload,
        guard=30,
        note="a refusal costs it a twentieth of the work",
    ),
    Fault(
        122,
        "one of three backends resets every connection",
        _three_backends,
        {"GET": gives("30 of 30 answered", requests=45)},
        act=_call_backends,
        guard=30,
    ),
    Fault(
        123,
        "the server replaces its workers under load",
        _restarting,
        {"GET": gives("no failure over 4 generations of workers", requests=None)},
        act=_call_through_restarts,
        guard=30,
        needs=("nginx",),
    ),
    _behind("nginx", "is gone", None, BadGatewayError),
    _behind("nginx", "hangs up", close(), BadGatewayError),
    _behind("nginx", "hangs", hang(), GatewayTimeoutError),
    _behind("haproxy", "is gone", None, ServiceUnavailableError),
    _behind("haproxy", "hangs up", close(), BadGatewayError),
    _behind("haproxy", "hangs", hang(), GatewayTimeoutError),
]
