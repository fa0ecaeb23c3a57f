"""The example that keeps users' URLs out of private networks does so, under every notation of an address."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from helpers import Client
from programs import EXAMPLES, load, run
from servers import ok, raw_server, respond, response

from aioapiclient import AiohttpTransport, APIClientError, InvalidRequestError

EXAMPLE = EXAMPLES / "public_addresses.py"


@pytest.fixture
def example() -> Any:
    """The example, as a module of the test's own."""
    return load(EXAMPLE)


PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]
PRIVATE = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "localhost",
    "",
]


@pytest.mark.parametrize("host", PUBLIC + PRIVATE)
def test_an_address_is_public_or_not(example: Any, host: str) -> None:
    """Loopback, link-local, private, shared and embedded addresses are not public (P21)."""
    assert example.is_public(host) is (host in PUBLIC)


ALIASES = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "0.0.0.0",
    "127.127.127.127",
    "rebound.example.com",
]


class Rebinding(AbstractResolver):
    """A resolver for which every name is this machine."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None: ...


@pytest.mark.parametrize("alias", ALIASES)
async def test_no_alias_reaches_this_machine(example: Any, alias: str) -> None:
    """Directly or by a redirect, no spelling and no name of this machine is connected to (P21)."""

    def connector() -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            socket_factory=example.public_socket, resolver=Rebinding() if "." in alias else None
        )

    async with raw_server(respond(ok())) as server:
        url = f"http://{alias}:{server.port}/x"
        transport = AiohttpTransport(connector=connector)
        async with Client("https://hooks.example.com", transport=transport, max_retries=0) as api:
            with pytest.raises(APIClientError):
                await api.get(url)
        assert server.connections == 0


async def test_a_redirect_is_looked_at_too(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public server that leads to a private address leads nowhere; without that, it is reached (P21)."""
    async with raw_server(respond(ok())) as inner:
        async with raw_server(
            respond(response("302 Found", Location=f"http://127.0.0.2:{inner.port}/"))
        ) as outer:
            # The first server represents a public one.
            monkeypatch.setattr(example, "is_public", lambda host: host == "127.0.0.1")
            transport = AiohttpTransport(connector=example.public_connector)
            async with Client(outer.url, transport=transport) as api:
                with pytest.raises(InvalidRequestError, match=r"127\.0\.0\.2 is not public"):
                    await api.get("/")
        assert len(outer.requests) == 1
        assert inner.connections == 0


async def test_the_example_runs() -> None:
    """The example refuses this machine under four names."""
    lines = await run(EXAMPLE)
    assert lines[0] == "http://127.0.0.1/: the address 127.0.0.1 is not public"
    assert len(lines) == 4
    # aiohttp itself refuses a host that is a number, from 3.14.1 on.
    assert all(line.endswith(("is not public", "aiohttp refuses the URL")) for line in lines)
