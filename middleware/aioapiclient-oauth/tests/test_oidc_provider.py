"""Against npm's oidc-provider, which is certified: what it accepts and refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aioapiclient_oauth import OAuth2, OAuthError, sign_jwt

from aioapiclient import AsyncAPIClient


def logins(issuer: str, key: Any) -> dict[str, OAuth2]:
    """A credential for each client that acts for itself."""
    url = f"{issuer}/token"
    return {
        "basic": OAuth2(url, "basic", "p:w %+", scope="read"),
        "post": OAuth2(url, "post", "secret", client_auth="post", scope="read"),
        "key": OAuth2(url, "key", assertion=sign_jwt(key, "ES256", "k1", aud=issuer), scope="read"),
    }


@pytest.mark.parametrize("name", ["basic", "post", "key"])
async def test_client_credentials(name: str, issuer: str, key: Any, api_url: str) -> None:
    """Fifty calls of a client that shows its secret either way, or signs, are let in with one token."""
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
    """A wrong secret, an unknown client, and one that must prove a key with its tokens (DPoP) are refused."""
    async with AsyncAPIClient(api_url, auth=OAuth2(f"{issuer}/token", client_id, secret)) as api:
        with pytest.raises(OAuthError) as caught:
            await api.get("/")

    assert caught.value.code == code
    assert secret not in str(caught.value)
