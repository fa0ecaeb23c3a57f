"""The server, or a proxy, answers with an error: which calls are retried, and after which wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import aiohttp
from faults.places import once, raw
from faults.rows import Call, Ends, Fault, Place, Where, gives, raises
from faults.running import SECRET
from servers import Exchange, Script, client_tls, close, in_turn, ok, raw_server, respond, response

from aioapiclient import (
    APIConnectionError,
    APIRequest,
    APIStatusError,
    Auth,
    BearerAuth,
    ConflictError,
    InternalServerError,
    RateLimitError,
    RequestTimeoutError,
    RetryPolicy,
    ServerNotImplementedError,
    ServiceUnavailableError,
    TokenCache,
)

__all__ = ["FAULTS"]


def _status(status: str, body: bytes = b"{}", **headers: str) -> Script:
    return respond(response(status, body, Content_Type="application/json", **headers))


_EXACT: Mapping[str, Any] = {"retry": RetryPolicy(jitter=lambda wait: wait)}
_AGAIN = gives({}, requests=2, connections=1)


def _safely(error: type[APIStatusError], **facts: Any) -> dict[str, Ends]:
    """Retried if the request is idempotent."""
    once_only = raises(error, connections=1, **facts)
    return {"GET": _AGAIN, "POST": once_only, "POST idempotent": _AGAIN, "POST with a key": _AGAIN}


def _never(error: type[APIStatusError], **facts: Any) -> dict[str, Ends]:
    """Never retried."""
    return dict.fromkeys(("GET", "POST with a key"), raises(error, connections=1, **facts))


def _throttled(
    number: int, value: str, ends: Ends, *, name: str = "", note: str = "", date: str = ""
) -> Fault:
    """A 429 once, with *value* as its Retry-After; the waits are exact, because jitter is disabled."""
    headers = {"Retry_After": value, **({"Date": date} if date else {})}
    return Fault(
        number,
        name or f"429 once, with Retry-After: {value}",
        raw(once(_status("429 Too Many Requests", **headers))),
        {"POST": ends},
        client=_EXACT,
        note=note,
    )


def _after(*waits: float) -> Ends:
    return gives({}, requests=2, connections=1, waits=list(waits))


# --- refused credentials


async def _storm(call: Call, place: Place) -> str:
    """A thousand concurrent calls with an expired token."""
    numbers = count(1)

    async def ask() -> str:
        return f"token-{next(numbers)}"

    auth = BearerAuth(ask)
    values = await asyncio.gather(*(call(auth=auth) for _ in range(1000)))
    return f"{values.count({})} answers, {next(numbers) - 2} renewal"


async def _only_the_second_token(exchange: Exchange) -> None:
    good = exchange.request.headers["Authorization"] == "Bearer token-2"
    await exchange.send(ok() if good else response("401 Unauthorized"))


class _FromAnEndpoint(Auth):
    """Requests its token from an endpoint of the same server."""

    def __init__(self) -> None:
        self._cache = TokenCache()

    def bind(self, client: Any, /) -> None:
        self._client = client

    async def authenticate(self, request: APIRequest, /) -> None:
        token = await self._cache.get(self, self._ask)
        request.headers["Authorization"] = f"Bearer {token.value}"

    async def _ask(self) -> str:
        token: str = await self._client.post("token", str)
        return token


async def _stampede(call: Call, place: Place) -> str:
    """A hundred concurrent calls that all need a token first."""
    auth = _FromAnEndpoint()
    errors = await asyncio.gather(*(call(auth=auth) for _ in range(100)), return_exceptions=True)
    return ", ".join(f"{number} {kind.__name__}" for kind, number in Counter(map(type, errors)).items())


# --- proxies


def _proxied(script: Script, *, tunnels: bool) -> Where:
    """A proxy that runs *script*; with *tunnels*, one in front of a TLS server, whose requests are
    counted.
    """

    @asynccontextmanager
    async def where() -> AsyncIterator[Place]:
        async with raw_server(respond(ok()), tls=tunnels) as origin, raw_server(script) as proxy:
            way = proxy.url.replace("//", f"//user:{SECRET}@")
            yield Place(origin.url, origin if tunnels else proxy, ssl=client_tls(), proxy=way)

    return where


async def _tunnel(exchange: Exchange) -> None:
    """Connect to the target of the CONNECT, and relay bytes both ways."""
    host, port = exchange.request.target.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
    await asyncio.gather(_carry(exchange.reader, writer), _carry(reader, exchange.writer))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
    finally:
        writer.close()


def _tunnelled(name: str, fault: Script) -> Fault:
    """A CONNECT that fails once: no byte of the request was sent, so any method is retried."""
    return Fault(
        103,
        name,
        _proxied(in_turn(fault, _tunnel), tunnels=True),
        dict.fromkeys(("GET", "POST"), gives({}, attempts=2)),
        note="no byte of the request was sent",
    )


FAULTS: list[Fault] = [
    Fault(85, "500 once", raw(once(_status("500 Internal Server Error"))), _safely(InternalServerError)),
    Fault(
        86,
        "503 always",
        raw(_status("503 Service Unavailable", b'{"why": "tired"}')),
        {
            "GET": raises(
                ServiceUnavailableError,
                requests=3,
                connections=1,
                waits=[0.5, 1.0],
                status=503,
                body={"why": "tired"},
                retries_taken=2,
            ),
            "POST": raises(ServiceUnavailableError, waits=[], status=503, body={"why": "tired"}),
        },
        client=_EXACT,
    ),
    _throttled(87, "0", _after(0.5), note="0 is ignored: the policy's own wait spreads the retries"),
    _throttled(88, "1", _after(1.0)),
    _throttled(88, "1.5", _after(1.5)),
    _throttled(
        89,
        "3600",
        raises(RateLimitError, connections=1, waits=[], status=429, retry_after=3600.0),
        note="above `max_retry_after` (60 s): the call ends immediately",
    ),
    *(_throttled(90, value, _after(0.5), note="not a number in HTTP: ignored") for value in ("inf", "1e400")),
    _throttled(
        90,
        "9" * 5000,
        _after(0.5),
        name="429 once, with a Retry-After of 5000 digits",
        note="invalid: ignored",
    ),
    *(_throttled(91, value, _after(0.5)) for value in ("nan", "-5", "Wed, 21 Oct 2015 07:28:00 GMT")),
    *(_throttled(92, value, _after(0.5)) for value in ("soon", "120, 60")),
    _throttled(92, "", _after(0.5), name="429 once, with an empty Retry-After"),
    _throttled(93, "Fri, 31 Dec 99999 23:59:59 GMT", _after(0.5)),
    _throttled(
        94,
        "Wed, 21 Oct 2015 07:28:02 GMT",
        _after(2.0),
        name="429 once, with a Retry-After 2 s after its own Date, with a clock that is years behind",
        date="Wed, 21 Oct 2015 07:28:00 GMT",
        note="counted from the response's own Date",
    ),
    Fault(95, "408 once", raw(once(_status("408 Request Timeout"))), _safely(RequestTimeoutError)),
    Fault(
        96,
        "409 once",
        raw(once(_status("409 Conflict"))),
        {
            **dict.fromkeys(("GET", "POST", "POST idempotent"), raises(ConflictError)),
            "POST with a key": _AGAIN,
        },
        note="with an idempotency key, an earlier copy may still be in progress",
    ),
    Fault(
        97,
        "421 once",
        raw(once(_status("421 Misdirected Request"))),
        _never(APIStatusError, status=421),
        note="RFC 9110 §15.5.20 allows a retry on another connection; the retry table has none",
    ),
    Fault(97, "425 once", raw(once(_status("425 Too Early"))), _safely(APIStatusError, status=425)),
    Fault(98, "501", raw(_status("501 Not Implemented")), _never(ServerNotImplementedError)),
    Fault(98, "505", raw(_status("505 HTTP Version Not Supported")), _never(InternalServerError, status=505)),
    Fault(
        99,
        "503 with x-should-retry: false",
        raw(_status("503 Service Unavailable", x_should_retry="false")),
        _never(ServiceUnavailableError),
    ),
    Fault(
        99,
        "500 once, with x-should-retry: true",
        raw(once(_status("500 Internal Server Error", x_should_retry="true"))),
        dict.fromkeys(("GET", "POST"), _AGAIN),
    ),
    Fault(
        100,
        "401 for a thousand concurrent calls: their token has expired",
        raw(_only_the_second_token, connector=lambda: aiohttp.TCPConnector(limit=50)),
        {"GET": gives("1000 answers, 1 renewal", requests=2000)},
        act=_storm,
        plain="renews no credentials",
    ),
    Fault(
        101,
        "a hundred calls need a token, and the token endpoint is down",
        raw(_status("503 Service Unavailable")),
        {"GET": gives("100 ServiceUnavailableError", requests=1)},
        act=_stampede,
        plain="has no renewable credentials",
        note="requested once, by POST",
    ),
    Fault(
        102,
        "407 from the proxy of an http URL",
        _proxied(_status("407 Proxy Authentication Required"), tunnels=False),
        {"GET": raises(APIStatusError, status=407)},
    ),
    Fault(
        102,
        "407 from the proxy, to CONNECT",
        _proxied(_status("407 Proxy Authentication Required"), tunnels=True),
        {
            "GET": raises(
                APIConnectionError, "status 407 to CONNECT", sent=False, final=True, requests=0, attempts=1
            )
        },
        heals=False,
    ),
    _tunnelled("CONNECT ends with a FIN, once", close()),
    _tunnelled("CONNECT is answered with 502, once", _status("502 Bad Gateway")),
]
