"""Requests to URLs from users that never reach a private network (SSRF).

The check is where the socket is created, so it sees the address that is really used: whatever the spelling
of the host, the answer of its resolver, or the target of a redirect. With a proxy that address is the
proxy's, so use this only without one.
"""

import asyncio
import ipaddress
import socket
from typing import Any

import aiohttp

from aioapiclient import AiohttpTransport, AsyncAPIClient, InvalidRequestError

NAT64 = ipaddress.ip_network("64:ff9b::/96")  # its last 32 bits are an IPv4 address (RFC 6052)


def is_public(host: str) -> bool:
    """Return whether the address of a socket is public."""
    try:
        address: Any = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # "2130706433", which some systems read as 127.0.0.1
        return False
    if address.version == 6:
        embedded = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = embedded or address
    return bool(address.is_global and not address.is_multicast)


def public_socket(address: Any) -> socket.socket:
    """Return a socket for *address*, unless it is private."""
    family, kind, protocol, _, (host, *_) = address
    if not is_public(host):
        raise InvalidRequestError(f"the address {host} is not public")
    return socket.socket(family, kind, protocol)


def public_connector() -> aiohttp.TCPConnector:
    """Return a connector that reaches only public addresses."""
    return aiohttp.TCPConnector(socket_factory=public_socket)


async def main() -> None:
    """Try to reach this machine under some of its names."""
    transport = AiohttpTransport(connector=public_connector)
    async with AsyncAPIClient("https://hooks.example.com", transport=transport) as api:
        for url in ("http://127.0.0.1/", "http://localhost/", "http://2130706433/", "http://[::1]/"):
            try:
                await api.post(url, json={"event": "paid"})
            except InvalidRequestError as error:
                print(f"{url}: {error}")


if __name__ == "__main__":
    asyncio.run(main())
