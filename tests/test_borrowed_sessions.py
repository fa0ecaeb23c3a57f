"""A borrowed session: the headers it sets, the arguments of each request, and its end."""

from __future__ import annotations

import gc
from typing import Any

import aiohttp
import pytest
from servers import client_tls, ok, raw_server, respond

from aioapiclient import (
    AiohttpTransport,
    APIConnectionError,
    AsyncAPIClient,
    AsyncAPIResponse,
    InvalidRequestError,
)
from aioapiclient._version import __version__

# --- headers


async def headers_sent(session_headers: dict[str, str], **options: Any) -> Any:
    """The headers that a client of a borrowed session sends."""
    call = options.pop("call", {})
    async with (
        raw_server(respond(ok())) as server,
        aiohttp.ClientSession(headers=session_headers) as session,
        AsyncAPIClient(server.url, session=session, **options) as client,
    ):
        await client.get("/x", **call)
    return server.requests[0].headers


async def test_its_own_headers_win_over_the_librarys() -> None:
    """The session's User-Agent and Accept override those of the library."""
    sent = await headers_sent({"user-agent": "Home/1", "ACCEPT": "application/vnd.x+json", "X-Key": "k"})

    assert sent.getall("User-Agent") == ["Home/1"]
    assert sent.getall("Accept") == ["application/vnd.x+json"]
    assert sent["X-Key"] == "k"


async def test_what_it_does_not_set_is_the_librarys() -> None:
    """A session that sets neither, or one of them, leaves the rest to the library."""
    for own in ({}, {"Accept": "text/plain"}):
        sent = await headers_sent(own)

        assert sent["User-Agent"] == f"AsyncAPIClient/0 aioapiclient/{__version__}"
        assert sent["Accept"] == own.get("Accept", sent["Accept"])
        assert "json" in sent["Accept"] or own


async def test_the_clients_headers_win_over_its_own() -> None:
    """Arguments of the client or the call override the session."""
    own = {"User-Agent": "Home/1", "Accept": "a/b"}
    sent = await headers_sent(own, default_headers={"User-Agent": "Mine/1"})
    assert (sent.getall("User-Agent"), sent.getall("Accept")) == (["Mine/1"], ["a/b"])

    sent = await headers_sent(own, call={"headers": {"Accept": "c/d"}})
    assert (sent.getall("User-Agent"), sent.getall("Accept")) == (["Home/1"], ["c/d"])


# --- ssl and proxy


async def test_tls_goes_with_each_request() -> None:
    """``ssl=`` beside a session applies to this client's requests, and to no other request of the session."""
    async with aiohttp.ClientSession() as session, raw_server(respond(ok()), tls=True) as server:
        client = AsyncAPIClient(server.url, transport=AiohttpTransport(session=session, ssl=client_tls()))
        assert await client.get("/x") == {}
        pinned = AiohttpTransport(session=session, ssl=aiohttp.Fingerprint(b"\0" * 32))
        with pytest.raises(APIConnectionError, match="not the pinned one"):
            await AsyncAPIClient(server.url, transport=pinned).get("/x")
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(server.url)

    assert len(server.requests) == 1


async def test_a_proxy_goes_with_each_request() -> None:
    """``proxy=`` beside a session applies to this client's requests, with its credentials, and to no
    others.
    """
    async with aiohttp.ClientSession(headers={"X-Own": "1"}) as session, raw_server(respond(ok())) as proxy:
        transport = AiohttpTransport(session=session, proxy=proxy.url.replace("//", "//user:pass@"))
        client = AsyncAPIClient("http://api.example.com/v1", transport=transport)
        for _ in range(2):
            assert await client.get("/x") == {}
        async with session.get(proxy.url + "/y") as direct:
            assert direct.status == 200

    assert [got.target for got in proxy.requests] == ["http://api.example.com/v1/x"] * 2 + ["/y"]
    by_proxy = proxy.requests[0].headers
    assert by_proxy.getall("Proxy-Authorization") == ["Basic dXNlcjpwYXNz"]
    assert by_proxy["X-Own"] == "1"
    assert "Proxy-Authorization" not in proxy.requests[-1].headers
    assert "pass" not in repr(transport)


async def test_wrong_values_are_refused_beside_a_session_too() -> None:
    """Values that ``ssl`` and ``proxy`` refuse are refused beside a session too."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(InvalidRequestError, match="ssl=False"):
            AiohttpTransport(session=session, ssl=False)
        with pytest.raises(InvalidRequestError, match="proxy must be"):
            AiohttpTransport(session=session, proxy="socks5://h")


# --- closing


async def test_who_owns_nothing_need_not_be_closed(recwarn: pytest.WarningsRecorder) -> None:
    """A client on a borrowed session, or on a function, that is dropped without `close` warns of nothing."""

    async def answer(request: Any) -> Any:
        return AsyncAPIResponse.from_bytes(request, 204)

    async with aiohttp.ClientSession() as session, raw_server(respond(ok())) as server:
        client = AsyncAPIClient(server.url, session=session)
        assert await client.get("/x") == {}
        del client
        client = AsyncAPIClient(server.url, transport=AiohttpTransport(session=session))
        assert await client.get("/x") == {}
        del client
        client = AsyncAPIClient(server.url, transport=answer)
        assert await client.delete("/x", None) is None
        del client
        gc.collect()

    assert not recwarn.list
