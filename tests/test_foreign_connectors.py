"""Custom connectors: their errors while connecting become errors of this library, unsent, and are retried."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from helpers import Client
from servers import RawServer, ok, raw_server, refusing_port, respond

from aioapiclient import AiohttpTransport, APIConnectionError, APITimeoutError


# Stand-ins for the exception classes of python_socks.
class ProxyError(Exception):
    """The proxy refused."""


class ProxyConnectionError(ProxyError, OSError):
    """The proxy was not reached."""


class ProxyTimeoutError(ProxyError, TimeoutError):
    """The proxy did not answer in time."""


class Failing(aiohttp.TCPConnector):
    """A connector that fails a few times with *error*, and then connects."""

    def __init__(self, error: Exception, times: int) -> None:
        super().__init__()
        self.error = error
        self.left = times

    async def _wrap_create_connection(self, *args: Any, **options: Any) -> Any:
        if self.left:
            self.left -= 1
            raise self.error
        return await super()._wrap_create_connection(*args, **options)


class Wholly(Failing):
    """The same, in a connector that has all of connecting to itself."""

    async def connect(self, *args: Any, **options: Any) -> Any:
        """Fail, or connect."""
        if self.left:
            self.left -= 1
            raise self.error
        return await super().connect(*args, **options)


ERRORS = [
    ProxyError("Authentication failed"),
    ProxyConnectionError(111, "Could not connect to proxy"),
    ProxyConnectionError("Could not connect to proxy"),
    ProxyTimeoutError("Proxy connection timed out: 60"),
    OSError(5, "of the system"),
    ValueError("of its own"),
    LookupError("of its own"),
]


def client_of(server: RawServer, connector: aiohttp.BaseConnector, session: Any = None) -> Client:
    """A client on *connector*, with its own session or a borrowed one."""
    transport = (
        AiohttpTransport(session=session) if session else AiohttpTransport(connector=lambda: connector)
    )
    return Client(server.url, transport=transport)


@pytest.mark.parametrize("is_borrowed", [False, True], ids=["own", "borrowed"])
@pytest.mark.parametrize("kind", [Failing, Wholly])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_it_is_tried_again(error: Exception, kind: type[Failing], is_borrowed: bool) -> None:
    """A POST whose connector fails twice is sent at the third attempt, once."""
    connector = kind(error, 2)
    async with (
        raw_server(respond(ok())) as server,
        aiohttp.ClientSession(connector=connector) as session,
        client_of(server, connector, session if is_borrowed else None) as client,
    ):
        assert await client.post("/orders", json={}) == {}

    assert len(client.waits) == 2
    assert len(server.requests) == 1


@pytest.mark.parametrize("is_borrowed", [False, True], ids=["own", "borrowed"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_it_was_never_sent(error: Exception, is_borrowed: bool) -> None:
    """The call raises an `APIConnectionError` that was not sent, caused by the original exception."""
    connector = Failing(error, 9)
    async with (
        raw_server(respond(ok())) as server,
        aiohttp.ClientSession(connector=connector) as session,
        client_of(server, connector, session if is_borrowed else None) as client,
    ):
        with pytest.raises(APIConnectionError) as caught:
            await client.post("/orders", json={})

    assert (caught.value.sent, caught.value.retries_taken) == (False, 2)
    assert caught.value.__cause__ is error
    assert isinstance(caught.value, APITimeoutError) is isinstance(error, ProxyTimeoutError)
    assert "within" not in str(caught.value)
    assert server.requests == []


async def test_a_bug_is_not_tried_again() -> None:
    """A `TypeError` of a connector is not retried."""
    connector = Failing(TypeError("a bug"), 9)
    async with raw_server(respond(ok())) as server, client_of(server, connector) as client:
        with pytest.raises(APIConnectionError, match="the connector raised TypeError") as caught:
            await client.get("/x")

    assert (caught.value.final, connector.left, client.waits) == (True, 8, [])


async def test_a_trace_config_is_not_a_connector() -> None:
    """An exception of a trace config while connecting is raised unchanged."""

    async def fail(*args: Any) -> None:
        raise LookupError("of a trace config")

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(fail)
    async with (
        raw_server(respond(ok())) as server,
        aiohttp.ClientSession(trace_configs=[trace]) as session,
        Client(server.url, session=session) as client,
    ):
        with pytest.raises(LookupError, match="of a trace config"):
            await client.get("/x")

    assert client.waits == []


class SaysNo(Exception):
    """An error of a connector that knows that a retry will not help."""

    final = True


SocksError = type("SocksError", (Exception,), {"__module__": "python_socks._errors"})


def caused(error: Exception, cause: Exception) -> Exception:
    """*error*, which was raised from *cause*."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason", "text", "is_final"),
    [
        (LookupError("of its own"), "connector", "the connector raised LookupError", False),
        (SaysNo("never"), "connector", "the connector raised SaysNo", True),
        (OSError(5, "of the system"), "system", r"input/output error \(EIO\)", False),
        (caused(LookupError(), ConnectionRefusedError(111, "x")), "refused", "ECONNREFUSED", False),
        (SocksError("the proxy\nsays no"), "proxy", r"the SOCKS proxy: the proxy\\nsays no$", False),
        (caused(SocksError("?"), ConnectionRefusedError(111, "x")), "proxy", r"proxy: .*ECONNREF", False),
    ],
    ids=["own", "final", "system", "cause", "SOCKS", "SOCKS that is not there"],
)
async def test_it_says_why(error: Exception, reason: str, text: str, is_final: bool) -> None:
    """The reason is the system's, if one is among the causes; a SOCKS proxy states its own."""
    connector = Failing(error, 9)
    async with raw_server(respond(ok())) as server, client_of(server, connector) as client:
        with pytest.raises(APIConnectionError, match=text) as caught:
            await client.post("/orders", json={})

    assert (caught.value.reason, caught.value.final, caught.value.sent) == (reason, is_final, False)
    assert len(client.waits) == (0 if is_final else 2)


# --- the real packages, if installed


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()


class SocksProxy:
    """A SOCKS 5 proxy (RFC 1928) on loopback that refuses the first few connections with *reply*."""

    def __init__(self, reply: int = 0, times: int = 0) -> None:
        self.reply = reply
        self.left = times
        self.port = 0

    async def __aenter__(self) -> SocksProxy:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(3)
        writer.write(b"\x05\0")
        head = await reader.readexactly(10)
        host, port = ".".join(map(str, head[4:8])), int.from_bytes(head[8:])
        reply = self.reply if self.left else 0
        self.left = max(0, self.left - 1)
        writer.write(bytes([5, reply, 0, 1]) + bytes(6))
        if reply:
            writer.close()
            return
        inner, outer = await asyncio.open_connection(host, port)
        await asyncio.gather(_carry(reader, outer), _carry(inner, writer))


@pytest.mark.parametrize("is_borrowed", [False, True], ids=["own", "borrowed"])
async def test_aiohttp_socks(is_borrowed: bool) -> None:
    """With aiohttp_socks a refused connection is retried, and the call succeeds in the end."""
    aiohttp_socks: Any = pytest.importorskip("aiohttp_socks")
    async with SocksProxy(reply=5, times=2) as proxy, raw_server(respond(ok())) as server:
        connector = aiohttp_socks.ProxyConnector.from_url(f"socks5://127.0.0.1:{proxy.port}")
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            client_of(server, connector, session if is_borrowed else None) as client,
        ):
            assert await client.post("/orders", json={}) == {}

    assert len(client.waits) == 2
    assert len(server.requests) == 1


@pytest.mark.parametrize("is_borrowed", [False, True], ids=["own", "borrowed"])
async def test_aiohttp_socks_without_its_proxy(is_borrowed: bool) -> None:
    """A SOCKS proxy that is down, or refuses, is named as the reason; nothing was sent."""
    aiohttp_socks: Any = pytest.importorskip("aiohttp_socks")
    async with SocksProxy(reply=2, times=99) as proxy, raw_server(respond(ok())) as server:
        for port, text in ((refusing_port(), "ECONNREFUSED"), (proxy.port, "not allowed")):
            connector = aiohttp_socks.ProxyConnector.from_url(f"socks5://127.0.0.1:{port}")
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                client_of(server, connector, session if is_borrowed else None) as client,
            ):
                with pytest.raises(APIConnectionError, match=f"the SOCKS proxy: .*{text}") as caught:
                    await client.post("/orders", json={})
            assert (caught.value.sent, caught.value.reason) == (False, "proxy")
            assert len(client.waits) == 2

    assert server.requests == []
