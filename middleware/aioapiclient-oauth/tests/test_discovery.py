"""`discover` and `revoke` against the rude provider."""

from __future__ import annotations

from typing import Any

import pytest
from aioapiclient_oauth import (
    Endpoints,
    MemoryStore,
    OAuth2,
    OAuthError,
    RefreshToken,
    Tokens,
    discover,
    revoke,
)
from aiohttp import web

from aioapiclient import AsyncAPIClient, BasicAuth
from aioapiclient.errors import InternalServerError, InvalidRequestError

RFC, OIDC = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"


async def find(provider: Any, service: Any, path: str, answers: list[Any]) -> Endpoints:
    """Discover the issuer at *path* of the provider."""
    provider.answers = answers
    api = AsyncAPIClient(
        service.url, auth=BasicAuth("a", "b"), default_headers={"X-Team": "red"}, max_retries=0
    )
    async with api:
        return await discover(api, provider.url + path)


@pytest.mark.parametrize(
    ("path", "first", "second"),
    [("", RFC, OIDC), ("/", RFC, OIDC), ("/a%2Fb/v2", f"{RFC}/a%2Fb/v2", f"/a%2Fb/v2{OIDC}")],
)
@pytest.mark.parametrize(
    "miss",
    [(404, {}), (200, {"error": "?"}), lambda _: web.Response(text="<html>", content_type="text/html")],
)
async def test_both_places(
    path: str, first: str, second: str, miss: Any, provider: Any, service: Any
) -> None:
    """The URL of RFC 8414 is tried first, then OpenID's if the first has no metadata or a page; no
    credential is sent.
    """
    asked: list[str] = []

    def note(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return miss(request) if callable(miss) else web.json_response(miss[1], status=miss[0])

    def tell(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return web.json_response({"issuer": provider.url + path, "token_endpoint": "https://t", "more": 1})

    found = await find(provider, service, path, [note, tell])

    assert asked == [first, second]
    assert found == Endpoints(issuer=provider.url + path, token_endpoint="https://t")
    assert not [headers for headers in provider.headers if {"authorization", "x-team"} & set(headers)]


async def test_another_issuer_is_refused(provider: Any, service: Any) -> None:
    """Metadata of another issuer are refused, even if only a trailing slash differs (RFC 8414 §3.3)."""
    with pytest.raises(OAuthError) as caught:
        await find(provider, service, "", [{"issuer": provider.url + "/"}])

    assert caught.value.code == "invalid_issuer"


async def test_no_description(provider: Any, service: Any) -> None:
    """A server without the document and a failing server raise different errors; redirects are not
    followed.
    """
    moved = lambda _: web.Response(status=302, headers={"Location": "/x"})  # noqa: E731
    with pytest.raises(OAuthError, match="the server has no metadata"):
        await find(provider, service, "", [moved, (404, {})])
    assert provider.paths == [RFC, OIDC]

    with pytest.raises(InternalServerError):
        await find(provider, service, "", [(500, {})])
    with pytest.raises(InvalidRequestError, match="issuer must be an https URL"):
        await discover(AsyncAPIClient(service.url), "http://idp.example.com")


# --- revoke


def stored(provider: Any, **more: Any) -> tuple[OAuth2, MemoryStore]:
    """A credential with a login in its store."""
    url = f"{provider.url}/token"
    store = MemoryStore(Tokens(access_token="a", refresh_token="r", owner=f"{url} me", **more))
    return OAuth2(url, "me", grant=RefreshToken(), store=store), store


@pytest.mark.parametrize("answer", [(200, {}), (400, {"error": "unsupported_token_type"})])
async def test_both_tokens_are_revoked(answer: Any, provider: Any, service: Any) -> None:
    """The refresh token first, then the access token if the server can; then calls need a login."""
    oauth, store = stored(provider)
    async with AsyncAPIClient(service.url, auth=oauth) as api:
        await api.get("/")
        provider.answers = [(200, {}), answer]
        await revoke(api, oauth, f"{provider.url}/revoke")
        with pytest.raises(OAuthError) as caught:
            await api.get("/")
        await revoke(api, oauth, f"{provider.url}/revoke")

    assert caught.value.code == "login_required"
    assert [(form["token"], form["token_type_hint"]) for form in provider.forms] == [
        ("r", "refresh_token"),
        ("a", "access_token"),
    ]
    assert await store.load() is None


async def test_a_refused_revocation_keeps_the_login(provider: Any, service: Any) -> None:
    """A token that the server has not revoked is kept."""
    oauth, store = stored(provider)
    provider.answers = [(401, {"error": "invalid_client"})]
    async with AsyncAPIClient(service.url, auth=oauth) as api:
        with pytest.raises(OAuthError):
            await revoke(api, oauth, f"{provider.url}/revoke")

    assert await store.load() is not None


async def test_tokens_of_another_client_stay(provider: Any, service: Any) -> None:
    """A login of another client in the same store is neither revoked nor removed."""
    store = MemoryStore(Tokens(access_token="a", refresh_token="r", owner="another"))
    oauth = OAuth2(f"{provider.url}/token", "me", store=store)
    async with AsyncAPIClient(service.url, auth=oauth) as api:
        await revoke(api, oauth, f"{provider.url}/revoke")

    assert provider.forms == []
    assert await store.load() is not None
