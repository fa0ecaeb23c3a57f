"""`OAuth2` against an uncooperative identity provider: its requests, their number, and how it reads the
answers.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
from aioapiclient_oauth import (
    ClientCredentials,
    FileStore,
    Grant,
    MemoryStore,
    OAuth2,
    OAuthError,
    RefreshToken,
    Tokens,
)
from aiohttp import web

from aioapiclient import AsyncAPIClient, RetryPolicy
from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler, TokenCache, per_attempt
from aioapiclient.errors import (
    APIClientError,
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    AuthenticationError,
    BodyTooLargeError,
    InvalidRequestError,
)
from aioapiclient.testing import FakeClock

VECTORS = json.loads((Path(__file__).parent / "auth_vectors.json").read_text())
SECRET = "s3cr3t-canary"


def client(service: Any, auth: OAuth2 | None, **options: Any) -> AsyncAPIClient:
    """A client of the API without retries, unless the options set them."""
    return AsyncAPIClient(service.url, auth=auth, **{"max_retries": 0, **options})


async def test_fifty_calls_ask_for_one_token(provider: Any, service: Any) -> None:
    """Fifty concurrent calls request one token, and send it."""
    async with client(service, OAuth2(f"{provider.url}/token", "me", SECRET, scope=["a", "b"])) as api:
        await asyncio.gather(*(api.get("/") for _ in range(50)))

    assert provider.forms == [{"grant_type": "client_credentials", "scope": "a b"}]
    assert provider.basic == [f"me {SECRET}"]
    assert service.tokens == ["at-1"] * 50


async def test_an_expired_token_is_replaced(provider: Any, service: Any) -> None:
    """Fifty calls after its expiry request one more."""
    clock = FakeClock()
    auth = OAuth2(f"{provider.url}/token", "me", SECRET, cache=TokenCache(clock=clock.time))
    async with client(service, auth) as api:
        await api.get("/")
        clock.advance(3600)
        await asyncio.gather(*(api.get("/") for _ in range(50)))

    assert service.tokens == ["at-1"] + ["at-2"] * 50


async def test_nothing_else_of_the_client_is_sent_to_the_provider(provider: Any, service: Any) -> None:
    """Default headers and parameters of the API are not sent to the provider; the request accepts JSON."""
    auth = OAuth2(f"{provider.url}/token", "me", SECRET)
    async with client(service, auth, default_headers={"X-Team": "red"}, default_params={"k": "v"}) as api:
        await api.get("/")

    (headers,) = provider.headers
    assert "x-team" not in headers
    assert headers["accept"] == "application/json"
    assert provider.paths == ["/token"]


@pytest.mark.parametrize("vector", [v for v in VECTORS["oauth2_bodies"] if "client_id" in v])
async def test_the_example_of_the_rfc(vector: dict[str, str], provider: Any, service: Any) -> None:
    """RFC 6749 §4.4.2: header and form of its example."""
    auth = OAuth2(f"{provider.url}/token", vector["client_id"], vector["client_secret"])
    async with client(service, auth) as api:
        await api.get("/")

    assert provider.headers[0]["authorization"] == vector["authorization"]
    assert provider.forms == [{"grant_type": "client_credentials"}]


async def test_id_and_secret_are_quoted_before_basic(provider: Any, service: Any) -> None:
    """A colon, a space and a letter beyond ASCII arrive in id and secret (RFC 6749 §2.3.1)."""
    async with client(service, OAuth2(f"{provider.url}/token", "a:b c", "p:w é%")) as api:
        await api.get("/")

    assert provider.basic == ["a:b c p:w é%"]


@pytest.mark.parametrize(
    ("secret", "how", "sent"),
    [
        (SECRET, "post", {"client_id": "me", "client_secret": SECRET}),
        (None, "none", {"client_id": "me"}),
        (None, "basic", {"client_id": "me"}),
    ],
)
async def test_the_form_names_the_client(
    secret: str | None, how: Any, sent: dict[str, str], provider: Any, service: Any
) -> None:
    """With client_auth "post" the form has the secret; a public client sends its id alone."""
    async with client(service, OAuth2(f"{provider.url}/token", "me", secret, client_auth=how)) as api:
        await api.get("/")

    assert provider.forms == [{"grant_type": "client_credentials", **sent}]
    assert provider.basic == [None]


async def test_an_assertion_takes_the_place_of_a_secret(provider: Any, service: Any) -> None:
    """The claims name client, endpoint and a minute; the assertion may be async (RFC 7523 §3)."""
    seen: list[Any] = []

    async def sign(claims: Any) -> str:
        seen.append(claims)
        return "signed"

    url = f"{provider.url}/token"
    async with client(service, OAuth2(url, "me", assertion=sign)) as api:
        await api.get("/")

    (claims,) = seen
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("me", "me", url)
    assert claims["exp"] - claims["iat"] == 60
    assert len(claims["jti"]) >= 16
    assert provider.forms[0]["client_assertion"] == "signed"
    assert provider.forms[0]["client_assertion_type"].endswith(":jwt-bearer")


async def test_audience_resource_and_extra_are_sent(provider: Any, service: Any) -> None:
    """Several resources are several parameters (RFC 8707 §2)."""
    auth = OAuth2(
        f"{provider.url}/token", "me", SECRET, audience="them", resource=["u:1", "u:2"], extra={"x": "y"}
    )
    async with client(service, auth) as api:
        await api.get("/")

    assert provider.pairs[0][1:] == [
        ("audience", "them"),
        ("resource", "u:1"),
        ("resource", "u:2"),
        ("x", "y"),
    ]


# --- renewal


async def test_a_refused_token_is_renewed_once(provider: Any, service: Any) -> None:
    """A 401 on a token that calls before have used is worth another token, and the call succeeds."""
    async with client(service, OAuth2(f"{provider.url}/token", "me", SECRET)) as api:
        await api.get("/")
        service.refused.add("at-1")
        await asyncio.gather(*(api.get("/") for _ in range(10)))

    assert len(provider.forms) == 2
    assert service.tokens[-1] == "at-2"


async def test_a_token_of_this_very_call_is_not_renewed(provider: Any, service: Any) -> None:
    """If a server refuses every token, there is at most one new token per call."""
    service.refused.add("*")
    async with client(service, OAuth2(f"{provider.url}/token", "me", SECRET)) as api:
        with pytest.raises(AuthenticationError):
            await api.get("/")

    assert len(provider.forms) == 1
    assert service.tokens == ["at-1"]


async def test_a_refresh_token_rotates(provider: Any, service: Any) -> None:
    """Each renewal sends the refresh token of the previous answer, or the last one received."""
    provider.answers = [
        {"access_token": "a", "token_type": "Bearer", "refresh_token": "r-2"},
        {"access_token": "b", "token_type": "Bearer"},
        {"access_token": "c", "token_type": "Bearer"},
    ]
    async with client(service, OAuth2(f"{provider.url}/token", "me", grant=RefreshToken("r-1"))) as api:
        for token in "abc":
            assert (await api.get("/")) == {"token": token}
            service.refused.add(token)

    assert [form["refresh_token"] for form in provider.forms] == ["r-1", "r-2", "r-2"]
    assert {form["grant_type"] for form in provider.forms} == {"refresh_token"}


async def test_a_login_is_shared_through_the_store(provider: Any, service: Any) -> None:
    """Of two objects with one store, the second uses the token that the first requested."""
    store = MemoryStore()
    url = f"{provider.url}/token"
    first, second = (OAuth2(url, "me", SECRET, store=store) for _ in range(2))
    async with client(service, first) as api:
        await api.get("/")
        await api.get("/", auth=second)
        service.refused.add("at-1")
        await api.get("/", auth=second)
        await api.get("/")

    assert len(provider.forms) == 2
    assert service.tokens == ["at-1", "at-1", "at-1", "at-2", "at-1", "at-2"]


async def test_a_token_is_renewed_ahead_though_the_store_has_it(provider: Any, service: Any) -> None:
    """In the last minutes of its life, a token is renewed in the background, not read from the store
    again.
    """
    clock = FakeClock()
    auth = OAuth2(f"{provider.url}/token", "me", SECRET, cache=TokenCache(clock=clock.time))
    async with client(service, auth) as api:
        await api.get("/")
        clock.advance(3500)
        for _ in range(200):
            await api.get("/")
            if service.tokens[-1] == "at-2":
                break

    assert service.tokens[-1] == "at-2"
    assert len(provider.forms) == 2


async def test_tokens_of_another_client_are_left_alone(provider: Any, service: Any) -> None:
    """A refresh token in the store that belongs to another provider or client is never sent."""
    store = MemoryStore(Tokens(access_token="x", refresh_token="theirs", owner="https://other/token you"))
    async with client(service, OAuth2(f"{provider.url}/token", "me", SECRET, store=store)) as api:
        await api.get("/")

    assert provider.forms == [{"grant_type": "client_credentials"}]
    assert service.tokens == ["at-1"]


async def test_invalid_grant_clears_the_store(provider: Any, service: Any) -> None:
    """A refused refresh token is removed; a grant without a user replaces it in the same call."""
    url = f"{provider.url}/token"
    tokens = Tokens(access_token="old", refresh_token="gone", expires_at=1.0, owner=f"{url} me")
    provider.answers = [(400, {"error": "invalid_grant"})]
    async with client(service, OAuth2(url, "me", SECRET, store=MemoryStore(tokens))) as api:
        await api.get("/")
    assert [form["grant_type"] for form in provider.forms] == ["refresh_token", "client_credentials"]

    provider.answers = [(400, {"error": "invalid_grant"})]
    store = MemoryStore(tokens)
    async with client(service, OAuth2(url, "me", SECRET, grant=RefreshToken(), store=store)) as api:
        with pytest.raises(OAuthError, match="invalid_grant"):
            await api.get("/")
        with pytest.raises(OAuthError) as caught:
            await api.get("/")
    assert caught.value.code == "login_required"
    assert await store.load() is None


async def test_invalid_grant_leaves_a_newer_token(provider: Any, service: Any) -> None:
    """In a store without a lock, a newer token stored before the refusal is kept."""
    url = f"{provider.url}/token"
    newer = Tokens(access_token="new", refresh_token="newer", owner=f"{url} me")
    store = MemoryStore(Tokens(access_token="old", refresh_token="gone", expires_at=1.0, owner=f"{url} me"))

    async def refuse(request: web.Request) -> web.Response:
        await store.save(newer)
        return web.json_response({"error": "invalid_grant"}, status=400)

    provider.answers = [refuse]
    async with client(service, OAuth2(url, "me", grant=RefreshToken(), store=store)) as api:
        with pytest.raises(OAuthError):
            await api.get("/")
        await api.get("/")

    assert service.tokens == ["new"]


# --- retries


def drop(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


EAGER: dict[str, Any] = {
    "retry": RetryPolicy(max_retries=3, retry_unsafe=True, jitter=lambda _: 0.0),
    "idempotency_header": "Idempotency-Key",
}


@pytest.mark.parametrize(
    "answer",
    [
        drop,
        (500, {}),
        lambda _: web.json_response({}, status=503, headers={"Retry-After": "0", "x-should-retry": "true"}),
    ],
)
async def test_a_refresh_token_is_sent_once(answer: Any, provider: Any, service: Any) -> None:
    """Whatever the retry policy, a refresh token that was sent is not sent again."""
    provider.answers = [answer]
    auth = OAuth2(f"{provider.url}/token", "me", grant=RefreshToken("r"))
    async with AsyncAPIClient(service.url, auth=auth, **EAGER) as api:
        with pytest.raises(APIError):
            await api.get("/")

    assert len(provider.forms) == 1


@pytest.mark.parametrize("answer", [drop, (500, {}), (503, {})])
async def test_a_grant_that_may_be_repeated_is_retried(answer: Any, provider: Any, service: Any) -> None:
    """Client credentials are sent again after a broken connection or a 5XX."""
    provider.answers = [answer]
    auth = OAuth2(f"{provider.url}/token", "me", SECRET)
    policy = RetryPolicy(jitter=lambda _: 0.0)
    async with AsyncAPIClient(service.url, auth=auth, retry=policy) as api:
        await api.get("/")

    assert len(provider.forms) == 2


async def test_a_refresh_that_never_left_is_retried(service: Any, unused_tcp_port: int) -> None:
    """A refused connection is retried: no refresh token was used."""
    auth = OAuth2(f"http://127.0.0.1:{unused_tcp_port}/token", "me", grant=RefreshToken("r"))
    policy = RetryPolicy(max_retries=2, jitter=lambda _: 0.0)
    attempts: list[str] = []

    async def count(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        attempts.append(request.url.path)
        return await handler(request)

    links = [per_attempt(count)]
    async with AsyncAPIClient(service.url, auth=auth, retry=policy, middlewares=links) as api:
        with pytest.raises(APIConnectionError):
            await api.get("/api")

    assert attempts == ["/api", "/token", "/token", "/token"]


# --- invalid responses


@pytest.mark.parametrize(
    ("life", "left"),
    [("3600", 3600.0), (60, 60.0), (-1, None), (0, None), (None, None), ("soon", None), (True, None)],
)
async def test_the_life_of_a_token(life: Any, left: float | None, provider: Any, service: Any) -> None:
    """A number may be a text; without a lifetime a token is used until it is refused."""
    provider.life = life
    store = MemoryStore()
    async with client(service, OAuth2(f"{provider.url}/token", "me", SECRET, store=store)) as api:
        await api.get("/")
        await api.get("/")

    tokens = await store.load()
    assert tokens is not None
    assert len(provider.forms) == 1
    got = tokens.seconds_left()
    assert (got is None) if left is None else (got is not None and left - 30 < got <= left)


@pytest.mark.parametrize(
    ("answer", "code", "status"),
    [
        ((401, {"error": "invalid_client", "error_description": SECRET}), "invalid_client", 401),
        ((200, {"error": "bad_verification_code"}), "bad_verification_code", 200),
        ((400, {"error": {"message": "?"}}), "", 400),
        ((500, ["?"]), "", 500),
        (lambda _: web.Response(status=302, headers={"Location": "/other"}), "", 302),
        (lambda _: web.Response(status=307, headers={"Location": "/other"}), "", 307),
        ({"access_token": "t", "token_type": "DPoP"}, "unsupported_token_type", 200),
        (lambda _: web.Response(status=502, text="<html>"), "", 502),
    ],
)
async def test_a_refusal_is_an_oauth_error(
    answer: Any, code: str, status: int, provider: Any, service: Any
) -> None:
    """The code is on the error, the description not in its message, and no redirect is followed."""
    provider.answers = [answer]
    async with client(service, OAuth2(f"{provider.url}/token", "me", SECRET)) as api:
        with pytest.raises(OAuthError) as caught:
            await api.get("/")

    error = caught.value
    assert (error.code, error.status, error.final) == (code, status, True)
    assert SECRET not in str(error)
    assert str(error).startswith(f"POST {provider.url}/token: ")
    assert provider.paths == ["/token"]
    assert service.tokens == []


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: web.Response(text="<!doctype html>", content_type="text/html"),
        lambda _: web.Response(body=b"[" * 100_000),
        {"token_type": "bearer"},
        {"access_token": 7, "token_type": "bearer"},
        {"access_token": "a\nb", "token_type": "bearer"},
        {"access_token": "", "token_type": "bearer"},
    ],
)
async def test_an_answer_of_another_shape(answer: Any, provider: Any, service: Any) -> None:
    """An HTML page with status 200, or an invalid token, ends the call with an error that names it."""
    provider.answers = [answer]
    async with client(service, OAuth2(f"{provider.url}/token", "me", SECRET)) as api:
        with pytest.raises(APIResponseValidationError) as caught:
            await api.get("/")

    assert caught.value.status == 200
    assert caught.value.excerpt == ""
    assert service.tokens == []


async def test_a_hundred_megabytes_are_not_read(provider: Any, service: Any) -> None:
    """An answer above 1 MiB is dropped while it arrives."""
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1600):
            await response.write(b" " * 65536)
            sent += 65536
        return response

    provider.answers = [flood]
    async with client(service, OAuth2(f"{provider.url}/token", "me", SECRET)) as api:
        with pytest.raises(BodyTooLargeError):
            await api.get("/")

    assert sent < 50 << 20


@pytest.mark.parametrize(("timeout", "within"), [(5, 5), (600, 30)])
async def test_a_silent_provider_is_given_up(
    timeout: int, within: int, gate: asyncio.Event, provider: Any, service: Any
) -> None:
    """While a call waits for a token its deadline holds, and a provider has 30 s of it at most."""
    asked = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        asked.set()
        await gate.wait()
        return web.Response()

    provider.answers = [wait]
    clock = FakeClock()
    with clock.install():
        async with client(service, OAuth2(f"{provider.url}/token", "me", SECRET)) as api:
            call = asyncio.create_task(api.get("/", timeout=timeout))
            await asked.wait()
            clock.advance(within + 1)
            with pytest.raises(APIConnectionError, match=rf"{within} s \(total\)"):
                await call


# --- arguments


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"token_url": "http://idp.example.com/token"}, InvalidRequestError, "must be an https URL"),
        ({"token_url": "/token"}, InvalidRequestError, "must be an https URL"),
        (
            {"token_url": f"https://me:{SECRET}@idp.example.com"},
            InvalidRequestError,
            "must not contain a user",
        ),
        ({"token_url": "https://idp.example.com/#x"}, InvalidRequestError, "a fragment"),
        ({"token_url": 7}, TypeError, "token_url must be a str or a URL"),
        ({"client_id": ""}, InvalidRequestError, "client_id must not be empty"),
        ({"client_id": 7}, TypeError, "client_id must be a str"),
        ({"client_auth": "digest"}, InvalidRequestError, "client_auth must be 'basic', 'post' or 'none'"),
        ({"client_auth": "none"}, TypeError, "client_secret is not used"),
        ({"assertion": lambda claims: ""}, TypeError, "client_secret is not used"),
        ({"client_secret": None, "client_auth": "post"}, TypeError, "needs a client_secret"),
        ({"client_secret": None, "assertion": "jwt"}, TypeError, "assertion must be a function"),
        ({"grant": "client_credentials"}, TypeError, "grant must be a Grant"),
        ({"grant": ClientCredentials}, TypeError, "without the parentheses"),
        ({"scope": 7}, TypeError, "scope must be a str or several"),
        ({"scope": ["a", 7]}, TypeError, "scope must be a str or several"),
        ({"resource": [7]}, TypeError, "resource must be a str or several of them, not int"),
        ({"audience": ["a"]}, TypeError, "audience must be a str"),
        ({"extra": [("a", "b")]}, TypeError, "extra must be a mapping"),
        ({"extra": {"a": 1}}, TypeError, "extra must contain str, not int"),
        ({"leeway": "1"}, TypeError, "leeway must be a number"),
        ({"leeway": -1}, InvalidRequestError, "leeway must be 0 seconds or more"),
        ({"leeway": float("nan")}, InvalidRequestError, "leeway must be 0 seconds or more"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """Arguments are checked where they are given, and the message shows no secret."""
    given = {"token_url": "https://idp.example.com/token", "client_id": "me", "client_secret": SECRET}
    with pytest.raises(error, match=message) as caught:
        OAuth2(**{**given, **arguments})

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "127.9.9.9", "[::1]:1", "localhost"])
def test_http_is_allowed_on_loopback(host: str) -> None:
    """Plain http is for servers of this machine."""
    assert host in repr(OAuth2(f"http://{host}/token", "me"))


async def test_an_unbound_credential_says_so() -> None:
    """A credential without a client cannot request a token."""
    auth = OAuth2("https://idp.example.com/token", "me")

    with pytest.raises(APIClientError, match="is not bound to an open client"):
        await auth.ask(ClientCredentials())


async def test_leeway_shortens_a_life(provider: Any, service: Any) -> None:
    """With a minute of leeway a token of ten minutes is replaced after nine."""
    provider.life = 600
    clock = FakeClock()
    auth = OAuth2(f"{provider.url}/token", "me", leeway=60, cache=TokenCache(clock=clock.time))
    async with client(service, auth) as api:
        await api.get("/")
        clock.advance(545)
        await api.get("/")

    assert service.tokens == ["at-1", "at-2"]


# --- several clients


async def test_one_credential_serves_two_clients(provider: Any, service: Any) -> None:
    """When one of its clients is closed, the other one requests the tokens."""
    auth = OAuth2(f"{provider.url}/token", "me", SECRET)
    async with client(service, auth) as first:
        await first.get("/")
        async with client(service, auth) as second:
            await second.get("/")
        service.refused.add("at-1")
        assert await first.get("/") == {"token": "at-2"}


def test_a_second_event_loop() -> None:
    """A store that calls wait for works on a second loop after the first has ended."""
    store = MemoryStore()
    order: list[str] = []

    async def enter(name: str) -> None:
        async with store.locked():
            order.append(name)

    async def held() -> None:
        async with store.locked():
            waiting = asyncio.create_task(enter("waiter"))
            await asyncio.sleep(0)
            order.append("holder")
        await waiting

    asyncio.run(held())
    asyncio.run(held())

    assert order == ["holder", "waiter"] * 2


# --- secrets


def contents(folder: Path) -> list[bytes]:
    """The contents of the files in *folder*."""
    return [path.read_bytes() for path in folder.iterdir()]


def everything_of(error: BaseException) -> str:
    """The text that a log or a crash reporter shows of *error*."""
    return "".join(traceback.format_exception(error)) + repr(error)


@pytest.mark.parametrize("answer", [(400, {"error": "invalid_grant", "x": SECRET}), {"access": SECRET}, drop])
async def test_no_secret_is_shown(
    answer: Any, provider: Any, service: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """No secret is in a repr, a traceback, a log or the pickle of an error."""
    caplog.set_level(logging.DEBUG)
    provider.answers = [answer]
    auth = OAuth2(
        f"{provider.url}/token",
        "me",
        SECRET,
        grant=RefreshToken(f"refresh-{SECRET}"),
        store=FileStore(tmp_path / "t"),
    )
    async with client(service, auth) as api:
        with pytest.raises(APIError) as caught:
            await api.get("/")
        shown = [everything_of(caught.value), repr(auth), repr(api.chain), caplog.text, repr(auth._store)]

    assert SECRET not in "".join(shown)
    assert SECRET.encode() not in pickle.dumps(caught.value)
    assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)
    assert SECRET.encode() not in b"".join(contents(tmp_path))


@pytest.mark.parametrize("thing", [OAuth2("https://i.example/t", "me", SECRET), RefreshToken(SECRET)])
def test_what_holds_a_secret_is_not_pickled(thing: OAuth2 | Grant) -> None:
    """Pickling or copying a credential is refused."""
    assert SECRET not in repr(thing)
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        pickle.dumps(thing)
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        copy.deepcopy(thing)


def test_tokens_show_nothing() -> None:
    """The repr of stored tokens, including rich's, contains only times and the scope."""
    tokens = Tokens(access_token=SECRET, refresh_token=SECRET, scope="a")

    assert SECRET not in repr(tokens) + repr(tokens.__rich_repr__())


def test_an_error_pickles_whole() -> None:
    """Every fact of an OAuthError survives pickling."""
    error = OAuthError("m", code="c", description="d", uri="u", status=400, retry_after=2.0)
    back = pickle.loads(pickle.dumps(error))

    assert vars(back) == {**vars(error), "response": None}
    assert str(back) == "m"
