"""No connection is established: refused, unresolved, dropped, or none is free."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import aiohttp
from faults.places import black_hole, closed_port, raw, resolving
from faults.rows import Call, Fault, Place, Where, gives, raises
from faults.usual import both
from servers import hang, in_turn, ok, raw_server, refusing_port, respond, response, turns, until

from aioapiclient import APIConnectionError, APITimeoutError, ClientClosedError, Timeout

__all__ = ["FAULTS"]

UNSENT = "retried whatever the method"
ONE = {"connector": lambda: aiohttp.TCPConnector(limit=1)}


def resolved(*answers: Any, **options: Any) -> Where:
    """A server under a name, which the resolver finds as *answers* specify; a number is a separate error."""

    @asynccontextmanager
    async def where() -> AsyncIterator[Place]:
        async with raw_server(respond(ok())) as server:
            yield resolving(server, *answers, **options)

    return where


@asynccontextmanager
async def two_addresses() -> AsyncIterator[Place]:
    """A name whose first address refuses."""
    async with raw_server(respond(ok())) as server:
        yield resolving(server, [refusing_port(), server.port])


@asynccontextmanager
async def a_hole_first() -> AsyncIterator[Place]:
    """A name whose first address drops every packet."""
    async with raw_server(respond(ok())) as server, black_hole() as hole:
        port = int(hole.url.rpartition(":")[2])
        yield resolving(server, [port, server.port])


@asynccontextmanager
async def a_name_that_moves() -> AsyncIterator[Place]:
    """A name that points to a second server from the second lookup on; the answer is valid for 20 ms."""
    gone = response("200 OK", b'"old"', Content_Type="application/json", Connection="close")
    async with raw_server(respond(gone)) as old, raw_server(respond(ok(b'"new"'))) as new:
        place = resolving(old, [old.port], [new.port], ttl_dns_cache=0.02)
        place.servers = (old, new)
        yield place


async def call_until_it_has_moved(call: Call, place: Place) -> Any:
    """Two calls, the answer of DNS having aged between them."""
    await call()
    await asyncio.sleep(0.04)
    return await call()


class NoRoute(socket.socket):
    """A socket without a route to any host."""

    def connect(self, address: Any) -> None:
        raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))


@asynccontextmanager
async def no_route() -> AsyncIterator[Place]:
    """A host without a route."""
    yield Place(
        f"http://127.0.0.1:{refusing_port()}",
        connector=lambda: aiohttp.TCPConnector(socket_factory=lambda address: NoRoute(*address[:3])),
    )


@contextmanager
def no_file_left() -> Iterator[None]:
    """Prevent the process from opening files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as file:
        next_number = file.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_number, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def call_without_files(call: Call, place: Place) -> Any:
    """A call while the process cannot open files."""
    with no_file_left():
        return await call()


@asynccontextmanager
async def held(call: Call, place: Place) -> AsyncIterator[None]:
    """The only connection is in use."""
    holder = asyncio.ensure_future(call(timeout=60))
    await until(lambda: place.requests)
    try:
        yield
    finally:
        holder.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await holder


async def call_while_held(call: Call, place: Place) -> Any:
    """A call that finds no free connection."""
    async with held(call, place):
        return await call()


async def close_while_queued(call: Call, place: Place) -> Any:
    """A call that waits for a connection when everything is closed."""
    async with held(call, place):
        waiter = asyncio.ensure_future(call())
        await turns()
        await (call.client or call.session).close()
        return await waiter


async def leave_a_stream(call: Call, place: Place) -> Any:
    """A call after a stream that was abandoned without closing its only connection."""
    async for _ in await call.client.get("", stream=True):
        break
    return await call()


async def leave_a_plain_stream(call: Call, place: Place) -> Any:
    """The same."""
    response = await call.session.get(place.url)
    async for _ in response.content:
        break
    del response
    return await call()


def _in_another_loop(call: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await call()

    return asyncio.run(main())


async def call_from_a_second_loop(call: Call, place: Place) -> Any:
    """A call on this loop, then one on the loop of another thread."""
    await call()
    return await asyncio.to_thread(_in_another_loop, call)


async def plain_from_a_second_loop(call: Call, place: Place) -> Any:
    """Make a first call on the loop of another thread; the outcome of a second call would depend on luck."""
    return await asyncio.to_thread(_in_another_loop, call)


async def call_after_the_first_loop(call: Call, place: Place) -> Any:
    """A call on a loop that has ended, then one on this loop."""
    await asyncio.to_thread(_in_another_loop, call)
    return await call()


async def plain_after_the_first_loop(call: Call, place: Place) -> Any:
    """The same, with a session of the first loop."""

    async def open_there() -> aiohttp.ClientSession:
        session = aiohttp.ClientSession()
        await (await session.get(place.url)).read()
        return session

    session = await asyncio.to_thread(_in_another_loop, open_there)
    call.session = session
    try:
        return await call()
    finally:
        await session.close()


FORK = """
import asyncio, os, sys, aiohttp
from aioapiclient import AsyncAPIClient

async def open(who):
    return AsyncAPIClient(url) if who == "client" else aiohttp.ClientSession()

async def call():
    await opened.get(url)

who, url = sys.argv[1:]
with asyncio.Runner() as runner:
    opened = runner.run(open(who))
    runner.run(call())
    if os.fork() == 0:
        try:
            runner.run(call())
            print("a response, from the same socket")
        except Exception as error:
            print(f"{type(error).__name__} in the child")
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    runner.run(call())
    runner.run(opened.close())
"""


async def call_in_a_child(call: Call, place: Place) -> str:
    """Make a call, the same one in a forked process, and again in the parent; return the child's output."""
    who = "client" if call.client else "plain"
    # In a separate process: forking the test process, which may have threads, is unsafe.
    command = [sys.executable, "-I", "-c", FORK, who, place.url]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    return ended.stderr.strip() or ended.stdout.strip()


STREAM = response("200 OK", None, Content_Type="text/event-stream") + b'data: {"n": 1}\n\n'

FAULTS: list[Fault] = [
    Fault(
        1,
        "no listener on the port",
        closed_port,
        both(raises(APIConnectionError, "ECONNREFUSED", sent=False, requests=0, attempts=3)),
    ),
    Fault(
        2,
        "the name does not exist (NXDOMAIN)",
        resolved(socket.EAI_NONAME),
        both(raises(APIConnectionError, "EAI_NONAME", sent=False, requests=0, attempts=3)),
        note=UNSENT,
    ),
    Fault(
        3,
        "the resolver fails temporarily (EAI_AGAIN), once",
        resolved(socket.EAI_AGAIN, None),
        both(gives({}, attempts=2)),
    ),
    Fault(
        4,
        "the resolver never answers",
        resolved("silence"),
        both(raises(APITimeoutError, phase="connect", sent=False, requests=0, attempts=3)),
        options={"timeout": Timeout(connect=0.05)},
        heals=False,  # aiohttp lets the next call join the lookup that still waits
    ),
    Fault(
        5,
        "DNS has a new address, and the cached one has expired",
        a_name_that_moves,
        {"GET": gives("new", requests=2, connections=2)},
        act=call_until_it_has_moved,
        note="until then, 10 s by default, the old one is used",
    ),
    Fault(6, "the first address refuses", two_addresses, both(gives({}, attempts=1))),
    Fault(7, "the first address drops every packet", a_hole_first, both(gives({}, attempts=1))),
    Fault(
        8,
        "a host that drops every packet",
        black_hole,
        both(raises(APITimeoutError, phase="connect", sent=False, requests=0, attempts=3)),
        options={"timeout": Timeout(connect=0.05)},
    ),
    Fault(
        9,
        "no route to the host",
        no_route,
        both(raises(APIConnectionError, "EHOSTUNREACH", sent=False, requests=0, attempts=3)),
        note=UNSENT,
    ),
    Fault(
        10,
        "the process has no free file descriptor (EMFILE)",
        raw(respond(ok())),
        both(raises(APIConnectionError, "EMFILE", sent=False, requests=0, attempts=3)),
        act=call_without_files,
        note=UNSENT,
    ),
    Fault(
        11,
        "no connection is free",
        raw(hang(), **ONE),
        both(raises(APITimeoutError, phase="pool", sent=False, requests=1, attempts=3)),
        act=call_while_held,
        options={"timeout": Timeout(pool=0.05)},
        note=UNSENT,
    ),
    Fault(
        12,
        "the one connection carried a stream that was left early",
        raw(in_turn(hang(STREAM), respond(ok())), **ONE),
        {"GET": gives({}, requests=2, connections=2)},
        act=leave_a_stream,
        plain=leave_a_plain_stream,
    ),
    Fault(
        13,
        "closed while a call waits for a connection",
        raw(hang(), **ONE),
        both(raises(ClientClosedError, requests=1)),
        act=close_while_queued,
    ),
    Fault(
        14,
        "used in a forked process",
        raw(respond(ok())),
        {"GET": gives("ClientClosedError in the child", requests=2)},
        act=call_in_a_child,
        guard=30,
    ),
    Fault(
        15,
        "used from a second event loop",
        raw(respond(ok())),
        both(raises(ClientClosedError, "used from a second event loop")),
        act=call_from_a_second_loop,
        plain=plain_from_a_second_loop,
    ),
    Fault(
        15,
        "used after its event loop has ended",
        raw(respond(ok())),
        both(gives({}, requests=2, connections=2)),
        act=call_after_the_first_loop,
        plain=plain_after_the_first_loop,
    ),
]
