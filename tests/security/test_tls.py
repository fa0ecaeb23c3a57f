"""Certificates are always verified, against the store that the user chose, and connections never mix."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from helpers import Client
from servers import CERTIFICATE, client_tls, ok, raw_server, respond, server_tls

from aioapiclient import AiohttpTransport, APIConnectionError, AsyncAPIClient, InvalidRequestError


@pytest.mark.parametrize(
    "option", ["ssl", "verify", "verify_ssl", "ssl_context", "fingerprint", "cert", "proxy", "trust_env"]
)
async def test_no_call_changes_how_a_server_is_verified(option: str) -> None:
    """TLS belongs to the transport, like the proxy: no call and no view can switch it off (P8)."""
    async with raw_server(respond(ok()), tls=True) as server, Client(server.url) as api:
        options: dict[str, Any] = {option: False}
        with pytest.raises(TypeError, match=option):
            await api.get("/", **options)
        with pytest.raises(TypeError, match=option):
            await api.get("/", options=options)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=option):
            api.with_options(**options)
        assert not server.connections


@pytest.mark.parametrize("value", [False, None, 0, "", ssl.CERT_NONE])
def test_verification_has_no_off_switch(value: Any) -> None:
    """No value of ``ssl`` means "do not verify" (P8, P22)."""
    with pytest.raises((InvalidRequestError, TypeError)):
        AiohttpTransport(ssl=value)


async def test_two_ways_to_verify_share_no_connection() -> None:
    """A connection of one transport is never used by one with another verification (P8)."""
    async with raw_server(respond(ok()), tls=True) as server:
        async with (
            Client(server.url, transport=AiohttpTransport(ssl=client_tls())) as trusting,
            Client(server.url, transport=AiohttpTransport(), max_retries=0) as strict,
            Client(
                server.url, transport=AiohttpTransport(ssl=aiohttp.Fingerprint(b"\0" * 32)), max_retries=0
            ) as pinned,
        ):
            for _ in range(2):
                await trusting.get("/")
                for api in (strict, pinned):
                    with pytest.raises(APIConnectionError, match="certificate"):
                        await api.get("/")
        assert len(server.requests) == 2
        assert {request.connection for request in server.requests} == {server.requests[0].connection}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_certificate_that_is_refused_is_not_tried_again(method: str) -> None:
    """A certificate fails once: one connection, no request, however many retries are left (P8)."""
    loop = asyncio.get_running_loop()
    raw: list[object] = []
    listener = await asyncio.start_server(
        lambda reader, writer: raw.append(writer), "127.0.0.1", 0, ssl=server_tls()
    )
    port = listener.sockets[0].getsockname()[1]
    connections = 0
    original = loop.create_connection

    async def counted(*args: Any, **options: Any) -> Any:
        nonlocal connections
        connections += 1
        return await original(*args, **options)

    loop.create_connection = counted  # type: ignore[method-assign]
    try:
        async with Client(f"https://127.0.0.1:{port}", max_retries=3) as api:
            with pytest.raises(APIConnectionError, match="certificate") as caught:
                await api.request(method, "/", idempotent=True)
        assert caught.value.final
        assert caught.value.sent is False
        assert caught.value.retries_taken == 0
        assert api.waits == []
        assert connections == 1
        assert not raw
    finally:
        del loop.create_connection
        listener.close()
        await listener.wait_closed()


PROGRAM = """
import asyncio, sys
from aioapiclient import AsyncAPIClient, APIConnectionError

async def main():
    async with AsyncAPIClient(sys.argv[1], max_retries=0) as api:
        try:
            print(await api.get("/"))
        except APIConnectionError as error:
            print("refused" if "certificate" in str(error) else error)

asyncio.run(main())
"""


@pytest.mark.parametrize("known", [True, False])
async def test_the_store_is_the_systems(known: bool, tmp_path: Path) -> None:
    """Without a context, the system's store alone decides which certificates are trusted (P22)."""
    store = tmp_path / "store.pem"
    store.write_text(CERTIFICATE if known else "")
    environment = {"SSL_CERT_FILE": str(store), "SSL_CERT_DIR": str(tmp_path / "none")}
    async with raw_server(respond(ok(b'"trusted"')), tls=True) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, server.url, env=environment, stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
    assert output.decode().strip() == ("trusted" if known else "refused")


async def test_a_context_of_ones_own_is_the_only_store() -> None:
    """An `ssl.SSLContext` is used unchanged: a certificate that it does not trust is refused (P22)."""
    async with raw_server(respond(ok()), tls=True) as server:
        transport = AiohttpTransport(ssl=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        async with AsyncAPIClient(server.url, transport=transport, max_retries=0) as api:
            with pytest.raises(APIConnectionError, match="certificate"):
                await api.get("/")
        assert not server.requests
