"""httpbin: every kind of credential, accepted and refused."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
import pytest
from helpers import Client
from integration.echoes import Echo, Headers, Origins

from aioapiclient import (
    AiohttpTransport,
    APIKeyAuth,
    AuthenticationError,
    BasicAuth,
    BearerAuth,
    NotFoundError,
    Token,
)


class Login(msgspec.Struct):
    authenticated: bool
    user: str = ""
    token: str = ""


async def test_a_bearer_token_is_accepted(api: Client) -> None:
    """A bearer token arrives unchanged."""
    login = await api.get("/bearer", Login, auth=BearerAuth("t0ken"))

    assert login == Login(authenticated=True, token="t0ken")


async def test_a_call_without_credential_is_unauthenticated(api: Client) -> None:
    """A 401 without a body is an `AuthenticationError`, and is not tried again."""
    with pytest.raises(AuthenticationError) as raised:
        await api.get("/bearer", Login)

    assert raised.value.status == 401
    assert raised.value.response.headers["WWW-Authenticate"] == "Bearer"
    assert api.waits == []


async def test_a_provider_is_asked_once_for_many_calls(httpbin: Origins) -> None:
    """A token provider is called once for all calls during the token's lifetime."""
    asked = 0

    async def provide() -> Token:
        nonlocal asked
        asked += 1
        return Token(f"token-{asked}", expires_in=3600)

    async with Client(httpbin.home, auth=BearerAuth(provide)) as api:
        logins = [await api.get("/bearer", Login) for _ in range(3)]

    assert [login.token for login in logins] == ["token-1"] * 3
    assert asked == 1


async def test_a_refused_token_is_renewed_once(httpbin: Origins) -> None:
    """A token that the server refuses is renewed once in a call, then the 401 is raised."""
    asked = 0

    async def provide() -> str:
        nonlocal asked
        asked += 1
        return f"token-{asked}"

    async with Client(httpbin.home, auth=BearerAuth(provide)) as api:
        with pytest.raises(AuthenticationError):
            await api.get("/status/401")

    assert asked == 2


async def test_basic_credentials_are_accepted(api: Client) -> None:
    """Basic credentials are sent as UTF-8, including colons in the password."""
    login = await api.get("/basic-auth/jörg/se:cret", Login, auth=BasicAuth("jörg", "se:cret"))

    assert login == Login(authenticated=True, user="jörg")


async def test_wrong_basic_credentials_are_refused(api: Client) -> None:
    """A wrong password is an `AuthenticationError` whose text does not contain it."""
    with pytest.raises(AuthenticationError) as raised:
        await api.get("/basic-auth/joe/right", Login, auth=BasicAuth("joe", "wr0ng"))

    assert "wr0ng" not in str(raised.value)


async def test_basic_credentials_are_sent_unasked(api: Client) -> None:
    """Basic credentials are sent with the first request, also to a server that answers 404 without them."""
    login = await api.get("/hidden-basic-auth/joe/secret", Login, auth=BasicAuth("joe", "secret"))

    assert login.authenticated


async def test_a_server_that_hides_says_404(api: Client) -> None:
    """A server that hides its resources answers 404 to a call without a credential."""
    with pytest.raises(NotFoundError):
        await api.get("/hidden-basic-auth/joe/secret", Login)


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512"])
@pytest.mark.parametrize("quality", ["auth", "auth-int"])
async def test_digest_passes_through_to_the_session(httpbin: Origins, quality: str, algorithm: str) -> None:
    """Digest authentication by aiohttp's own middleware works in the session, below the default chain."""
    digest = aiohttp.DigestAuthMiddleware("joe", "secret")

    async with Client(httpbin.home, transport=AiohttpTransport(session_middlewares=[digest])) as api:
        login = await api.get(f"/digest-auth/{quality}/joe/secret/{algorithm}", Login)

    assert login == Login(authenticated=True, user="joe")


async def test_wrong_digest_credentials_are_refused(httpbin: Origins) -> None:
    """A 401 that digest authentication cannot answer is raised."""
    digest = aiohttp.DigestAuthMiddleware("joe", "wrong")

    async with Client(httpbin.home, transport=AiohttpTransport(session_middlewares=[digest])) as api:
        with pytest.raises(AuthenticationError):
            await api.get("/digest-auth/auth/joe/secret", Login)


async def test_a_key_in_a_header(httpbin: Origins) -> None:
    """An API key is sent in its header."""
    async with Client(httpbin.home, auth=APIKeyAuth("k3y", header="X-Key")) as api:
        echo = await api.get("/headers", Headers)

    assert echo.headers["X-Key"] == "k3y"


async def test_a_key_in_the_query(httpbin: Origins) -> None:
    """An API key is added to the query beside the call's own parameters, encoded."""
    async with Client(httpbin.home, auth=APIKeyAuth("k&y", param="api_key")) as api:
        echo = await api.get("/get", Echo, params={"page": 2})

    assert echo.args == {"page": "2", "api_key": "k&y"}


async def test_no_credential_for_one_call(httpbin: Origins) -> None:
    """``auth=None`` on a call sends it without the client's credential."""
    async with Client(httpbin.home, auth=BearerAuth("t0ken")) as api:
        echo = await api.get("/headers", Headers, auth=None)

    assert "Authorization" not in echo.headers


@pytest.mark.parametrize("auth", [BearerAuth("t0ken"), BasicAuth("joe", "t0ken"), APIKeyAuth("t0ken")])
async def test_an_absolute_url_elsewhere_gets_no_credential(httpbin: Origins, auth: Any) -> None:
    """A call to another origin has neither the credential nor the client's personal default headers."""
    async with Client(httpbin.home, auth=auth, default_headers={"X-Tenant": "t0ken"}) as api:
        echo = await api.get(f"{httpbin.other}/headers", Headers)

    assert "t0ken" not in str(echo.headers)
    assert "Authorization" not in echo.headers
