"""The request was sent, and no answer comes, or an answer to another request."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from faults.places import once, raw, relayed
from faults.rows import Call, Fault, Place, gives, raises
from faults.usual import both, lost, lost_once, times
from servers import Exchange, close, drip, hang, in_turn, ok, reset, respond, response, turns, until

from aioapiclient import APIConnectionError, APITimeoutError, Timeout

__all__ = ["FAULTS"]


async def call_in_a_partition(call: Call, place: Place) -> Any:
    """A call, then the same call on the pooled connection after all traffic stopped."""
    await call()
    place.things["relay"].partition()
    return await call()


async def call_after_a_partition(call: Call, place: Place) -> Any:
    """A call, one in a partition that fails or is given up, and one after it."""
    await call()
    place.things["relay"].partition()
    with suppress(APITimeoutError, TimeoutError):
        async with asyncio.timeout(5 if call.client else 0.1):
            await call(max_retries=0)
    place.things["relay"].heal()
    return await call()


class Talkative:
    """Answers each request with its target, and sends an unsolicited response on the test's command."""

    def __init__(self, more: bytes | None, *, ends: bool = False) -> None:
        self.more = more
        self.ends = ends
        self.wanted = asyncio.Event()
        self.said = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        answer = ok(b'"%s"' % exchange.request.target.encode())
        await exchange.send(answer)
        if self.said.is_set():
            return
        await self.wanted.wait()
        await exchange.send(answer if self.more is None else self.more)
        if self.ends:
            exchange.close()
        self.said.set()


def talkative(more: bytes | None, **options: Any) -> Any:
    """A server with such a script."""
    return raw(lambda: Talkative(more, **options), fresh=True)


async def call_for_two(call: Call, place: Place) -> Any:
    """A call for alice, then, after the server's unsolicited response, one for bob."""
    script: Any = place.server.script
    await call("/alice")
    script.wanted.set()
    await until(script.said.is_set)
    await turns()
    return await call("/bob")


async def endless_interim(exchange: Exchange) -> None:
    """Responses that promise one, without end."""
    while not exchange.writer.is_closing():
        await exchange.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(0.001)


SHORT_LIVED = response(
    "200 OK", b"{}", Content_Type="application/json", Connection="keep-alive", Keep_Alive="timeout=1"
)
SECRET_HEAD = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=hunter2-S3CRET\r\n"

FAULTS: list[Fault] = [
    Fault(25, "a FIN after the request, once", raw(once(close())), lost_once("before it had answered")),
    Fault(26, "a RST after the request, once", raw(once(reset())), lost_once("ECONNRESET")),
    Fault(27, "a FIN after the request, always", raw(close()), lost("before it had answered")),
    Fault(
        28,
        "a FIN after the second request on a connection",
        raw(in_turn(respond(ok()), close(), respond(ok()))),
        {
            "GET": gives({}, requests=3, connections=2),
            "POST": raises(APIConnectionError, sent=None, requests=2, connections=1),
            "POST idempotent": gives({}, requests=3, connections=2),
        },
        act=times(2),
    ),
    Fault(
        29,
        "a FIN right after each response, unannounced",
        raw(close(ok())),
        both(gives({}, requests=20, connections=20, attempts=1)),
        act=times(20),
    ),
    Fault(
        30,
        "a FIN while the connection is idle",
        raw(close(ok())),
        both(gives({}, requests=2, connections=2, attempts=1)),
        act=times(2, pause=True),
    ),
    Fault(
        31,
        "`Keep-Alive: timeout=1`",
        raw(respond(SHORT_LIVED)),
        both(gives({}, requests=2, connections=2)),
        act=times(2),
        note="an idle connection is closed a second before the server closes it",
    ),
    Fault(
        32,
        "an unsolicited 200 on an idle connection",
        talkative(ok(b'"not for bob"')),
        both(gives("/bob", requests=2, connections=2)),
        act=call_for_two,
    ),
    Fault(
        33,
        "an unsolicited 408 on an idle connection",
        talkative(response("408 Request Timeout", Connection="close")),
        both(gives("/bob", requests=2, connections=2)),
        act=call_for_two,
    ),
    Fault(
        33,
        "an unsolicited 408 on an idle connection, and a FIN",
        talkative(response("408 Request Timeout", Connection="close"), ends=True),
        both(gives("/bob", requests=2, connections=2)),
        act=call_for_two,
    ),
    Fault(
        34,
        "every response is sent twice",
        talkative(None),
        both(gives("/bob", requests=2, connections=2)),
        act=call_for_two,
    ),
    Fault(
        35,
        "silence after the request, with an attempt limit",
        raw(hang()),
        lost("(attempt)", APITimeoutError, phase="attempt"),
        options={"timeout": Timeout(attempt=0.25)},
    ),
    Fault(
        35,
        "silence after the request, with a total limit",
        raw(hang()),
        both(raises(APITimeoutError, "(total)", phase="total", sent=None)),
        options={"timeout": 0.25},
    ),
    Fault(
        36,
        "a pooled connection stops passing data",
        relayed(respond(ok())),
        {
            "GET": raises(APITimeoutError, "sent nothing", phase="read", sent=None, attempts=3),
            "POST": raises(APITimeoutError, "sent nothing", phase="read", sent=None, attempts=1),
        },
        act=call_in_a_partition,
        options={"timeout": Timeout(read=0.1)},
        heals=False,
    ),
    Fault(
        37,
        "the connection passes data again",
        relayed(respond(ok())),
        both(gives({}, requests=2)),
        act=call_after_a_partition,
        options={"timeout": Timeout(read=0.1)},
    ),
    Fault(38, "102 Processing, without end", raw(endless_interim), lost("not valid HTTP")),
    Fault(
        39,
        "103 Early Hints before the response",
        raw(respond(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + ok())),
        both(gives({})),
    ),
    Fault(
        40,
        "101 Switching Protocols, not requested",
        raw(respond(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")),
        lost("status 101"),
    ),
    Fault(
        41,
        "a head in single bytes, one every 20 ms",
        raw(drip(ok(X_Long="x" * 500), every=0.02)),
        lost("(attempt)", APITimeoutError, phase="attempt"),
        options={"timeout": Timeout(attempt=0.25)},
    ),
    Fault(42, "a FIN in the head, once", raw(once(close(SECRET_HEAD))), lost_once("before it had answered")),
]
