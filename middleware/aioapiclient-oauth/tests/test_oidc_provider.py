"""Against npm's oidc-provider, which is certified: accepted and refused requests."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aioapiclient_oauth import (
    DevicePrompt,
    FileStore,
    OAuth2,
    OAuthError,
    RefreshToken,
    discover,
    login_browser,
    login_device,
    revoke,
    sign_jwt,
)
from msgspec import structs
from yarl import URL

from aioapiclient import AsyncAPIClient


def logins(issuer: str, key: Any) -> dict[str, OAuth2]:
    """A credential for each client that acts on its own behalf."""
    url = f"{issuer}/token"
    return {
        "basic": OAuth2(url, "basic", "p:w %+", scope="read"),
        "post": OAuth2(url, "post", "secret", client_auth="post", scope="read"),
        "key": OAuth2(url, "key", assertion=sign_jwt(key, "ES256", "k1", aud=issuer), scope="read"),
    }


@pytest.mark.parametrize("name", ["basic", "post", "key"])
async def test_client_credentials(name: str, issuer: str, key: Any, api_url: str) -> None:
    """Fifty calls of a client that sends its secret in either way, or signs, are accepted with one token."""
    async with AsyncAPIClient(api_url, auth=logins(issuer, key)[name]) as api:
        answers = await asyncio.gather(*(api.get("/") for _ in range(50)))

    assert answers == [{"client": name}] * 50


@pytest.mark.parametrize(
    ("client_id", "secret", "code"),
    [
        ("basic", "wrong", "invalid_client"),
        ("nobody", "secret", "invalid_client"),
        ("dpop", "secret", "invalid_grant"),
    ],
)
async def test_a_refused_client(client_id: str, secret: str, code: str, issuer: str, api_url: str) -> None:
    """A wrong secret, an unknown client, and one that must use DPoP are refused."""
    async with AsyncAPIClient(api_url, auth=OAuth2(f"{issuer}/token", client_id, secret)) as api:
        with pytest.raises(OAuthError) as caught:
            await api.get("/")

    assert caught.value.code == code
    assert secret not in str(caught.value)


async def test_discovery(issuer: str, api_url: str) -> None:
    """The provider's own description names the endpoints that the other tests use."""
    async with AsyncAPIClient(api_url) as api:
        found = await discover(api, issuer)

    assert found.token_endpoint == f"{issuer}/token"
    assert found.device_authorization_endpoint == f"{issuer}/device/auth"
    assert found.authorization_endpoint == f"{issuer}/auth"
    assert found.revocation_endpoint == f"{issuer}/token/revocation"
    assert found.authorization_response_iss_parameter_supported


SCOPE = "openid offline_access read"


async def log_in_device(client_id: str, issuer: str, store: FileStore, browse: Any, **options: Any) -> None:
    """Log in as *client_id* with a user who confirms before the first poll."""
    oauth = OAuth2(f"{issuer}/token", client_id, grant=RefreshToken(), store=store)
    prompts: list[DevicePrompt] = []

    async def person(_: float) -> None:
        uri = prompts[0].verification_uri_complete
        assert uri is not None
        await browse(uri, **options)

    async with AsyncAPIClient("http://127.0.0.1:1", auth=oauth) as api:
        url = f"{issuer}/device/auth"
        await login_device(api, oauth, url, scope=SCOPE, tell=prompts.append, sleep=person)


async def test_device_login(issuer: str, api_url: str, browse: Any, tmp_path: Path) -> None:
    """The tokens of a login on another device are accepted, renewed with rotation, revoked, and then
    refused.
    """
    store = FileStore(tmp_path / "login.json")
    await log_in_device("device", issuer, store, browse)
    first = await store.load()
    assert first is not None

    oauth = OAuth2(f"{issuer}/token", "device", grant=RefreshToken(), store=store)
    async with AsyncAPIClient(api_url, auth=oauth) as api:
        assert await api.get("/") == {"client": "device"}
        await store.save(structs.replace(first, expires_at=1.0))
        fresh = OAuth2(f"{issuer}/token", "device", grant=RefreshToken(), store=store)
        assert await api.get("/", auth=fresh) == {"client": "device"}
        second = await store.load()
        assert second is not None
        assert second.refresh_token not in (None, first.refresh_token)

        await revoke(api, fresh, f"{issuer}/token/revocation")
        await store.save(structs.replace(second, expires_at=1.0))
        with pytest.raises(OAuthError) as caught:
            await api.get("/", auth=fresh)
    assert caught.value.code == "invalid_grant"
    assert await store.load() is None


async def test_a_person_refuses(issuer: str, browse: Any, tmp_path: Path) -> None:
    """A login that the user cancels ends with ``access_denied``."""
    with pytest.raises(OAuthError) as caught:
        await log_in_device("device", issuer, FileStore(tmp_path / "t"), browse, deny=True)

    assert caught.value.code == "access_denied"


async def test_two_processes_rotate(issuer: str, service: Any, browse: Any, tmp_path: Path) -> None:
    """Two processes renew one login fifty times each, concurrently, and each renewal succeeds."""
    file = tmp_path / "login.json"
    await log_in_device("device-short", issuer, FileStore(file), browse)
    program = str(Path(__file__).with_name("rotate.py"))
    command = [sys.executable, "-P", program, service.url, f"{issuer}/token", str(file), "50"]
    processes = [
        await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE) for _ in range(2)
    ]
    ends = await asyncio.gather(*(process.communicate() for process in processes))

    assert [process.returncode for process in processes] == [0, 0], ends
    assert len(set(service.tokens)) == 100


async def log_in_browser(issuer: str, api_url: str, store: FileStore, open_page: Any) -> Any:
    """Log in in a browser, and call the API."""
    oauth = OAuth2(f"{issuer}/token", "browser", grant=RefreshToken(), store=store)
    async with AsyncAPIClient(api_url, auth=oauth) as api:
        await login_browser(
            *(api, oauth, f"{issuer}/auth"),
            scope=SCOPE,
            issuer=issuer,
            params={"prompt": "consent"},
            open_page=open_page,
        )
        return await api.get("/")


async def test_browser_login(issuer: str, api_url: str, browse: Any, tmp_path: Path) -> None:
    """A user logs in on the provider's pages; the token is accepted, and a refresh token is stored."""
    store = FileStore(tmp_path / "login.json")
    visits: list[asyncio.Task[str]] = []

    def open_page(url: str) -> None:
        visits.append(asyncio.create_task(browse(url)))

    assert await log_in_browser(issuer, api_url, store, open_page) == {"client": "browser"}
    assert "The login is complete here" in await visits[0]
    tokens = await store.load()
    assert tokens is not None
    assert tokens.refresh_token


async def test_a_replayed_code(issuer: str, api_url: str, browse: Any, tmp_path: Path) -> None:
    """A code that was already used is refused, and nothing is stored."""
    store = FileStore(tmp_path / "login.json")
    spent: list[URL] = []
    visits: list[asyncio.Task[None]] = []

    async def replay(url: URL) -> None:
        # The code of the login before, brought back with the state of this one.
        answer = {**spent[0].query, "state": url.query["state"]}
        async with aiohttp.ClientSession() as session:
            await session.get(URL(url.query["redirect_uri"]).with_query(answer))

    async def visit(url: str) -> None:
        spent.append(await browse(url, last_url=True))

    await log_in_browser(issuer, api_url, store, lambda url: visits.append(asyncio.create_task(visit(url))))
    await visits[0]
    await store.save(None)
    with pytest.raises(OAuthError) as caught:
        await log_in_browser(
            issuer, api_url, store, lambda url: visits.append(asyncio.create_task(replay(URL(url))))
        )

    assert caught.value.code == "invalid_grant"
    assert await store.load() is None
