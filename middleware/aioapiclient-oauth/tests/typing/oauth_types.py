"""The types of the public names, asserted for checkers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from aioapiclient_oauth import (
    DevicePrompt,
    Endpoints,
    FileStore,
    JWTBearer,
    MemoryStore,
    OAuth2,
    OAuthError,
    RefreshToken,
    TokenStore,
    discover,
    login_browser,
    login_device,
    sign_jwt,
)

from aioapiclient import AsyncAPIClient
from aioapiclient.contract import Auth


async def sign(claims: Mapping[str, Any]) -> str:
    """Sign, later."""
    return "signed"


stores: list[TokenStore] = [MemoryStore(), FileStore("tokens.json")]
auth: Auth = OAuth2("https://i.example/token", "me", grant=RefreshToken(), store=stores[0], scope=("a", "b"))
OAuth2("https://i.example/token", "me", assertion=sign, grant=JWTBearer(sign_jwt("key", sub="ada")))


def tell(prompt: DevicePrompt) -> None:
    """Show a prompt."""
    assert_type(prompt.user_code, str)


async def log_in(api: AsyncAPIClient, oauth: OAuth2) -> None:
    """Log in, both ways."""
    found = await discover(api, "https://i.example")
    assert_type(found, Endpoints)
    assert_type(found.token_endpoint, str | None)
    await login_device(api, oauth, "https://i.example/device", tell=tell)
    await login_browser(api, oauth, "https://i.example/authorize", open_page=print)


def read(error: OAuthError) -> None:
    """Read the facts of an error."""
    assert_type(error.code, str)
    assert_type(error.status, int | None)
