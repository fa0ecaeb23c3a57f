"""The grants: the request of each, how it is renewed, and which arguments it refuses."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from aioapiclient_oauth import Grant, JWTBearer, MemoryStore, OAuth2, Password, TokenExchange, sign_jwt

from aioapiclient import AsyncAPIClient
from aioapiclient.errors import InvalidRequestError

SECRET = "s3cr3t-canary"
KEY = "a key of thirty-two bytes or more"


async def form_of(grant: Grant, provider: Any, service: Any) -> dict[str, str]:
    """The request that a call with *grant* sends to the token endpoint."""
    auth = OAuth2(f"{provider.url}/token", "me", grant=grant)
    async with AsyncAPIClient(service.url, auth=auth, max_retries=0) as api:
        await api.get("/")
    form: dict[str, str] = provider.forms[-1]
    return form


async def test_password(provider: Any, service: Any) -> None:
    """RFC 6749 §4.3.2: the form has name and password; a function may return the password."""
    sent = await form_of(Password("ada", "pw"), provider, service)

    assert sent == {"grant_type": "password", "username": "ada", "password": "pw", "client_id": "me"}
    assert (await form_of(Password("ada", lambda: "other"), provider, service))["password"] == "other"


async def test_token_exchange(provider: Any, service: Any) -> None:
    """RFC 8693 §2.1: the form has subject and actor, each with its type."""

    async def read() -> str:
        return "subject"

    grant = TokenExchange(read, "urn:t:jwt", actor_token="actor", requested_token_type="urn:t:x")
    sent = await form_of(grant, provider, service)

    assert sent == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": "subject",
        "subject_token_type": "urn:t:jwt",
        "actor_token": "actor",
        "actor_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "requested_token_type": "urn:t:x",
        "client_id": "me",
    }
    assert "actor_token_type" not in await form_of(TokenExchange("s"), provider, service)


async def test_jwt_bearer(provider: Any, service: Any) -> None:
    """RFC 7523 §2.1: a JWT whose claims a key of the client's signs, and whose subject is the user's."""
    jwt = pytest.importorskip("jwt")
    sent = await form_of(JWTBearer(sign_jwt(KEY, "HS256", "k1", sub="ada")), provider, service)

    assert sent["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    url = f"{provider.url}/token"
    read = jwt.decode(sent["assertion"], KEY, ["HS256"], audience=url, issuer="me", subject="ada")
    assert read["exp"] - read["iat"] == 60
    assert jwt.get_unverified_header(sent["assertion"])["kid"] == "k1"


async def test_each_assertion_is_new(provider: Any, service: Any) -> None:
    """A server that accepts an assertion only once gets a new one each time (RFC 7523 §3, jti)."""
    seen: list[str] = []

    def sign(claims: Any) -> str:
        seen.append(claims["jti"])
        return "signed"

    auth = OAuth2(f"{provider.url}/token", "me", grant=JWTBearer(sign))
    async with AsyncAPIClient(service.url, auth=auth) as api:
        await api.get("/")
        service.refused.add("at-1")
        await api.get("/")

    assert len(set(seen)) == 2


async def test_a_login_by_password_is_renewed_by_its_refresh_token(provider: Any, service: Any) -> None:
    """The refresh token is used before the password, and the password again after its refusal."""
    provider.answers = [
        {"access_token": "a", "token_type": "bearer", "refresh_token": "r"},
        (400, {"error": "invalid_grant"}),
    ]
    auth = OAuth2(f"{provider.url}/token", "me", grant=Password("ada", "pw"), store=MemoryStore())
    async with AsyncAPIClient(service.url, auth=auth) as api:
        await api.get("/")
        service.refused.add("a")
        await api.get("/")

    assert [form["grant_type"] for form in provider.forms] == ["password", "refresh_token", "password"]


def wrong_assertion() -> Grant:
    """A grant whose function returns bytes."""
    wrong: Any = lambda claims: b"signed"  # noqa: E731
    return JWTBearer(wrong)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (wrong_assertion, "assertion must return a str, not bytes"),
        (lambda: TokenExchange(lambda: ""), "subject_token must not be empty"),
    ],
)
async def test_a_function_that_returns_something_else(
    make: Callable[[], Grant], error: str, provider: Any, service: Any
) -> None:
    """The result of a user's function is checked before it is sent."""
    with pytest.raises((TypeError, InvalidRequestError), match=error):
        await form_of(make(), provider, service)

    assert provider.forms == []


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (Password, ("", "pw"), InvalidRequestError, "user must not be empty"),
        (Password, ("ada", 7), TypeError, "password must be a str"),
        (TokenExchange, (None,), TypeError, "subject_token must be a str"),
        (TokenExchange, ("s", ""), InvalidRequestError, "subject_token_type must not be empty"),
        (JWTBearer, ("signed",), TypeError, "assertion must be a function"),
        (sign_jwt, (KEY, None), TypeError, "alg must be a str"),
    ],
)
def test_what_is_refused(make: Any, arguments: Any, error: type[Exception], message: str) -> None:
    """Arguments are checked where they are given."""
    with pytest.raises(error, match=message):
        make(*arguments)


@pytest.mark.parametrize("grant", [Password("ada", SECRET), TokenExchange(SECRET, actor_token=SECRET)])
def test_no_secret_is_shown(grant: Grant) -> None:
    """A grant shows only its type, and cannot be pickled."""
    assert repr(grant) == f"{type(grant).__name__}()"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(grant)
