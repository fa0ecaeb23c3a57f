"""Credentials: where they are sent, when they are renewed, and that they are never shown."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from helpers import BASE, Client, Script, reply
from hypothesis import given
from hypothesis import strategies as st

from aioapiclient import (
    OMIT,
    APIClientError,
    APIConnectionError,
    APIKeyAuth,
    APIRequest,
    AsyncAPIClient,
    AsyncAPIResponse,
    Auth,
    AuthenticationError,
    BasicAuth,
    BearerAuth,
    Body,
    InternalServerError,
    InvalidRequestError,
    PermissionDeniedError,
    Token,
    TokenCache,
    default_chain,
    per_attempt,
    per_send,
)
from aioapiclient._chain import fold
from aioapiclient._url.base import BaseURL
from aioapiclient.middleware import AuthMiddleware
from aioapiclient.testing import respond

CASES = Path(__file__).parent.parent / "cases"
SECRET = "hunter2-S3CRET"


class Counter(Auth):
    """An auth that numbers its credentials, and counts its refreshes."""

    def __init__(self, *, renews: bool = True) -> None:
        self.sent = 0
        self.refreshed = 0
        self.renews = renews
        self.closed = 0

    async def authenticate(self, request: APIRequest, /) -> None:
        self.sent += 1
        request.headers["Authorization"] = f"Number {self.sent}"

    async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
        self.refreshed += 1
        return self.renews

    async def close(self) -> None:
        self.closed += 1


class Provider:
    """Returns token-1, token-2 ..., and counts."""

    def __init__(self, expires_in: float | None = None) -> None:
        self.asked = 0
        self.expires_in = expires_in
        self.fail: Exception | None = None

    async def __call__(self) -> Token:
        self.asked += 1
        if self.fail is not None:
            raise self.fail
        number = self.asked
        await asyncio.sleep(0)
        return Token(f"token-{number}", self.expires_in)


def accepts(*tokens: str) -> Callable[[APIRequest], Awaitable[AsyncAPIResponse[Any]]]:
    """A server that answers 200 to these bearer tokens, and 401 to any other."""

    async def serve(request: APIRequest) -> AsyncAPIResponse[Any]:
        await asyncio.sleep(0)
        good = request.headers.get("Authorization", "") in {f"Bearer {token}" for token in tokens}
        return AsyncAPIResponse.from_bytes(request, 200 if good else 401, None, b"{}")

    return serve


def authorizations(script: Script) -> list[str | None]:
    """The Authorization header of each request."""
    return [sent.headers.get("Authorization") for sent in script.requests]


async def stream(auth: Auth, transport: Script) -> AsyncAPIResponse[Any]:
    """The unread response to a request through the default chain."""
    request = APIRequest("GET", f"{BASE}/things", stream=True, _base_url=BaseURL(BASE))
    return await fold(default_chain(auth=auth), transport)(request)


# --- the credential that is sent


async def test_a_bearer_token_is_sent() -> None:
    """`BearerAuth` with a str sends it on every call."""
    script = Script()
    async with Client(BASE, transport=script, auth=BearerAuth("abc")) as api:
        await api.get("/things")
        await api.post("/things")
    assert authorizations(script) == ["Bearer abc", "Bearer abc"]


@pytest.mark.parametrize(
    "case", json.loads((CASES / "auth_vectors.json").read_text())["basic"], ids=lambda case: case["source"]
)
async def test_basic_credentials_are_encoded_as_the_rfc_says(case: dict[str, Any]) -> None:
    """User and password are sent as UTF-8 in base64 (RFC 7617)."""
    request = APIRequest("GET", f"{BASE}/things")
    await BasicAuth(case["user"], case["password"]).authenticate(request)
    assert request.headers["Authorization"] == case["header"]


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=":")), st.text(
    st.characters(exclude_categories=["Cc", "Cs"])))  # fmt: skip
def test_basic_credentials_decode_to_what_was_given(user: str, password: str) -> None:
    """Whatever user and password contain, the server decodes them unchanged."""
    request = APIRequest("GET", f"{BASE}/things")
    asyncio.run(BasicAuth(user, password).authenticate(request))
    scheme, _, encoded = request.headers["Authorization"].partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(encoded).decode() == f"{user}:{password}"


async def test_an_api_key_goes_into_a_header() -> None:
    """`APIKeyAuth` sends X-API-Key, or the header that it was given."""
    for auth, name in ((APIKeyAuth("k"), "X-API-Key"), (APIKeyAuth("k", header="X-Other"), "x-other")):
        script = Script()
        async with Client(BASE, transport=script, auth=auth) as api:
            await api.get("/things")
        assert script.last.headers[name] == "k"


async def test_an_api_key_goes_into_the_query_once() -> None:
    """With ``param`` the key is appended to the query, encoded, once on each attempt."""
    script = Script(reply(500), reply(500), reply(200))
    async with Client(BASE, transport=script, auth=APIKeyAuth("a b&c", param="api_key")) as api:
        await api.get("/things?x=1")
    assert script.urls == [f"{BASE}/things?x=1&api_key=a%20b%26c"] * 3


async def test_a_key_in_the_query_that_the_call_gave_stays() -> None:
    """A parameter of the call itself overrides the key."""
    script = Script()
    async with Client(BASE, transport=script, auth=APIKeyAuth("k", param="api_key")) as api:
        await api.get("/things", params={"api_key": "mine"})
    assert script.urls == [f"{BASE}/things?api_key=mine"]


@pytest.mark.parametrize("value", ["", " ", "abc\n", "abc\r\nX: y", "ab c\t", "ä", "\x00"])
def test_a_credential_that_no_header_can_carry_is_refused(value: str) -> None:
    """A token with a line end, as read from a file, is refused when it is given, and not shown."""
    for make in (BearerAuth, APIKeyAuth):
        with pytest.raises(InvalidRequestError) as caught:
            make(value)
        assert not value.strip() or value.strip() not in str(caught.value)


@pytest.mark.parametrize("value", [None, 7, b"bytes"])
def test_a_credential_of_another_type_is_a_mistake(value: Any) -> None:
    """A value that is not a str (or, for `BearerAuth`, a function) is a TypeError."""
    for make in (
        BearerAuth,
        APIKeyAuth,
        lambda value: BasicAuth(value, ""),
        lambda value: BasicAuth("", value),
    ):
        with pytest.raises(TypeError):
            make(value)


@pytest.mark.parametrize(("user", "password"), [("a:b", "c"), ("a\n", "c"), ("a", "c\r\n"), ("a\x7f", "c")])
def test_basic_credentials_that_cannot_be_sent_are_refused(user: str, password: str) -> None:
    """A colon in the user, and control characters, are refused (RFC 7617 §2)."""
    with pytest.raises(InvalidRequestError):
        BasicAuth(user, password)


@pytest.mark.parametrize("header", ["", "X Key", "X-Key:", "Host", "Content-Length", "X-Key\r\nX"])
def test_the_header_of_an_api_key_is_one_that_may_be_sent(header: str) -> None:
    """A header that HTTP or this library refuses is refused when the auth is created."""
    with pytest.raises(InvalidRequestError):
        APIKeyAuth("k", header=header)


def test_an_api_key_has_one_place() -> None:
    """A header and a parameter together are a mistake."""
    with pytest.raises(TypeError, match="not both"):
        APIKeyAuth("k", header="X", param="y")


async def test_a_token_of_a_provider_is_checked() -> None:
    """A token with a line end ends the call before anything is sent, without being shown."""

    async def provider() -> str:
        return f"{SECRET}\n"

    script = Script()
    async with Client(BASE, transport=script, auth=BearerAuth(provider)) as api:
        with pytest.raises(InvalidRequestError) as caught:
            await api.get("/things")
    assert script.requests == []
    assert SECRET not in "".join(traceback.format_exception(caught.value))


# --- origins

HOME = "https://api.example.com"
FOREIGN = [
    "https://evil.example.com/v1/x",
    "http://api.example.com/v1/x",
    "https://api.example.com:8443/v1/x",
    "https://api.example.com.evil.net/x",
    "https://evil.net/https://api.example.com/v1",
]


@pytest.mark.parametrize("url", FOREIGN)
@pytest.mark.parametrize("auth", [BearerAuth(SECRET), BasicAuth("u", SECRET), APIKeyAuth(SECRET),
                                  APIKeyAuth(SECRET, param="key")])  # fmt: skip
async def test_no_credential_goes_to_another_origin(url: str, auth: Auth) -> None:
    """An absolute URL with another scheme, host or port is requested without the credential, including the
    call's own.
    """
    script = Script()
    async with Client(BASE, transport=script, auth=auth) as api:
        await api.get(url)
        await api.get(url, auth=auth)
    for sent in script.requests:
        assert SECRET not in f"{sent.url} {sent.headers}"
        assert "Authorization" not in sent.headers


@pytest.mark.parametrize("url", ["https://api.example.com/other", "https://api.example.com:443/other",
                                 "https://API.example.com/other"])  # fmt: skip
async def test_an_absolute_url_of_the_own_origin_has_the_credential(url: str) -> None:
    """An absolute URL of the base URL's origin, however it is written, has the credential."""
    script = Script()
    async with Client(BASE, transport=script, auth=BearerAuth("abc")) as api:
        await api.get(url)
    assert authorizations(script) == ["Bearer abc"]


async def test_trusted_origins_have_the_credential() -> None:
    """An origin that matches a pattern of ``trusted_origins`` gets the credential; a similar one does not."""
    script = Script()
    trusted = ["https://*.example.org", "https://files.example.net:8443"]
    async with Client(BASE, transport=script, auth=BearerAuth("abc"), trusted_origins=trusted) as api:
        for url in (
            "https://a.example.org/x",
            "https://a.b.example.org/x",
            "https://files.example.net:8443/x",
        ):
            await api.get(url)
        for url in ("https://example.org/x", "http://a.example.org/x", "https://aexample.org/x",
                    "https://files.example.net/x", "https://a.example.org:444/x"):  # fmt: skip
            await api.get(url)
    assert authorizations(script) == ["Bearer abc"] * 3 + [None] * 5


async def test_a_redirect_to_another_origin_has_no_credential() -> None:
    """A hop to another origin has no credential, and the hop back has it again."""
    script = Script(
        reply(302, Location="https://evil.net/a"), reply(302, Location=f"{HOME}/b"), reply(200, {"ok": True})
    )
    async with Client(BASE, transport=script, auth=BearerAuth("abc")) as api:
        await api.get("/things")
    assert authorizations(script) == ["Bearer abc", None, "Bearer abc"]


async def test_a_foreign_challenge_is_not_answered() -> None:
    """A 401 of another origin does not have the credential renewed."""
    auth = Counter()
    async with Client(BASE, transport=Script(reply(401)), auth=auth) as api:
        with pytest.raises(AuthenticationError):
            await api.get("https://evil.net/x")
    assert (auth.sent, auth.refreshed) == (0, 0)


async def test_without_a_home_nothing_is_trusted() -> None:
    """A hand-made request, without a client, has no credential."""
    seen: list[APIRequest] = []

    async def handler(request: APIRequest) -> AsyncAPIResponse[Any]:
        seen.append(request)
        return AsyncAPIResponse.from_bytes(request)

    await AuthMiddleware(BearerAuth("abc"))(APIRequest("GET", f"{BASE}/things"), handler)
    assert "Authorization" not in seen[0].headers


# --- precedence


async def test_a_header_of_the_call_wins_over_the_credential() -> None:
    """A call's own Authorization header is sent, in any case of its name."""
    script = Script()
    async with Client(BASE, transport=script, auth=BearerAuth("abc")) as api:
        await api.get("/things", headers={"authorization": "Mine"})
    assert script.last.headers.getall("Authorization") == ["Mine"]


async def test_omit_removes_the_credential() -> None:
    """``OMIT`` removes the header that auth would set."""
    script = Script()
    async with Client(BASE, transport=script, auth=APIKeyAuth("k")) as api:
        await api.get("/things", headers={"x-api-key": OMIT})
    assert "X-API-Key" not in script.last.headers


async def test_the_credential_wins_over_default_headers() -> None:
    """The credential overrides a default header."""
    script = Script()
    async with Client(
        BASE, transport=script, auth=BearerAuth("abc"), default_headers={"authorization": "Default"}
    ) as api:
        await api.get("/things")
    assert script.last.headers.getall("Authorization") == ["Bearer abc"]


async def test_auth_none_sends_no_credential() -> None:
    """``auth=None`` of a call sends none, and another auth replaces the client's."""
    script = Script()
    async with Client(BASE, transport=script, auth=BearerAuth("abc")) as api:
        await api.get("/things", auth=None)
        await api.get("/things", auth=BasicAuth("u", "p"))
        await api.get("/things")
        await api.with_options(auth=None).get("/things")
    assert authorizations(script) == [None, "Basic dTpw", "Bearer abc", None]


async def test_a_call_can_bring_a_credential_to_a_client_without_one() -> None:
    """``auth=`` of a call works on a client without one."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        await api.get("/things", auth=BearerAuth("abc"))
    assert authorizations(script) == ["Bearer abc"]


async def test_a_refused_header_of_the_call_is_not_renewed() -> None:
    """If the call set its own Authorization, a 401 does not call the provider."""
    provider = Provider()
    script = Script(reply(401))
    async with Client(BASE, transport=script, auth=BearerAuth(provider)) as api:
        await api.get("/things", ok_statuses={401})
        asked = provider.asked
        with pytest.raises(AuthenticationError):
            await api.get("/things", headers={"Authorization": "Mine"})
    assert provider.asked == asked


# --- attempts


async def test_every_attempt_has_a_credential_of_its_own() -> None:
    """Auth is inside the retries: each attempt is authenticated again."""
    script = Script(reply(500), reply(500), reply(200))
    async with Client(BASE, transport=script, auth=Counter()) as api:
        await api.get("/things")
    assert authorizations(script) == ["Number 1", "Number 2", "Number 3"]


async def test_auth_sees_the_final_request() -> None:
    """URL, headers and body are final when an auth signs them; attempts count."""
    seen: list[Any] = []

    class Signing(Auth):
        async def authenticate(self, request: APIRequest, /) -> None:
            assert request.body is not None
            seen.append((str(request.url), request.headers["X-Mine"], request.body.content, request.attempt))

    async with Client(BASE, transport=Script(reply(500), reply(200)), auth=Signing()) as api:
        await api.put("/things", json={"a": 1}, params={"b": 2}, headers={"X-Mine": "1"})
    assert seen == [(f"{BASE}/things?b=2", "1", b'{"a":1}', number) for number in (0, 1)]


async def test_a_middleware_inside_auth_runs_for_every_send() -> None:
    """A ``per_send`` middleware runs again when a credential is renewed, a ``per_attempt`` one does not."""
    runs: list[str] = []

    def note(name: str) -> Callable[..., Awaitable[AsyncAPIResponse[Any]]]:
        async def middleware(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
            runs.append(name)
            response: AsyncAPIResponse[Any] = await handler(request)
            return response

        return middleware

    async with Client(
        BASE,
        transport=Script(reply(401), reply(200)),
        auth=Counter(),
        middlewares=[per_send(note("send")), per_attempt(note("attempt")), note("call")],
    ) as api:
        await api.get("/things")
    assert runs == ["call", "attempt", "send", "send"]


# --- renewal


@pytest.mark.parametrize("max_retries", [0, 2])
async def test_a_refused_credential_is_renewed_once(max_retries: int) -> None:
    """After a challenge the request is sent once more with the new credential, even without retries."""
    script = Script(reply(401), reply(200, {"ok": True}))
    auth = Counter()
    async with Client(BASE, transport=script, auth=auth, max_retries=max_retries) as api:
        response = await api.get("/things", AsyncAPIResponse[Any])
    assert authorizations(script) == ["Number 1", "Number 2"]
    assert auth.refreshed == 1
    assert response.retries_taken == 0
    assert [sent.attempt for sent in script.requests] == [0, 0]


async def test_a_credential_that_is_refused_again_is_not_renewed_again() -> None:
    """At most one renewal a call, over all of its attempts and redirects."""
    for answers, sends in (
        ([reply(401)], 2),
        ([reply(401), reply(500), reply(401)], 3),
        ([reply(401), reply(302, Location="/b"), reply(401)], 3),
    ):
        script, auth = Script(*answers), Counter()
        async with Client(BASE, transport=script, auth=auth) as api:
            with pytest.raises(AuthenticationError):
                await api.get("/things")
        assert len(script.requests) == sends
        assert auth.refreshed == 1


async def test_the_next_call_may_renew_again() -> None:
    """That a credential was renewed is a matter of one call."""
    auth = Counter()
    async with Client(BASE, transport=Script(reply(401)), auth=auth) as api:
        for _ in range(3):
            with pytest.raises(AuthenticationError):
                await api.get("/things")
    assert auth.refreshed == 3


async def test_nothing_new_is_not_sent_again() -> None:
    """If the auth has no new credential, the call ends with the 401."""
    script, auth = Script(reply(401)), Counter(renews=False)
    async with Client(BASE, transport=script, auth=auth) as api:
        with pytest.raises(AuthenticationError):
            await api.get("/things")
    assert len(script.requests) == 1
    assert auth.refreshed == 1


async def test_the_statuses_of_a_challenge_are_the_auths() -> None:
    """``challenge_statuses`` lists the statuses after which an auth is refreshed."""

    class Forbidden(Counter):
        challenge_statuses = frozenset({403})

    for status, refreshed, error in ((401, 0, AuthenticationError), (403, 1, PermissionDeniedError)):
        auth = Forbidden()
        async with Client(BASE, transport=Script(reply(status)), auth=auth) as api:
            with pytest.raises(error):
                await api.get("/things")
        assert auth.refreshed == refreshed


async def test_the_answer_that_an_auth_is_shown_is_read() -> None:
    """``refresh`` receives the refused request, and a response with its body, even of a stream."""
    seen: list[Any] = []

    class Reads(Counter):
        async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
            seen.append(
                (request.headers["Authorization"], response.body, response.headers["WWW-Authenticate"])
            )
            return False

    refusal = respond(401, body=b"no", headers={"WWW-Authenticate": "Bearer realm=x"})
    auth = Reads()
    async with Client(BASE, transport=Script(refusal), auth=auth) as api:
        with pytest.raises(AuthenticationError):
            await api.get("/things")
    response = await stream(auth, Script(refusal))
    assert response.status == 401
    assert seen == [("Number 1", b"no", "Bearer realm=x"), ("Number 2", b"no", "Bearer realm=x")]


async def test_a_body_that_is_gone_is_not_sent_again() -> None:
    """A one-shot body cannot be sent with a renewed credential: the 401 is raised, and no empty body is
    sent.
    """

    async def chunks() -> Any:
        yield b"once"

    script, auth = Script(reply(401)), Counter()
    async with Client(BASE, transport=script, auth=auth) as api:
        with pytest.raises(AuthenticationError):
            await api.post("/things", content=chunks())
    assert script.bodies == [b"once"]


@pytest.mark.parametrize("max_retries", [0, 2])
async def test_a_refused_upload_renews_for_the_calls_that_follow(max_retries: int) -> None:
    """A service of one-shot uploads only: after a revocation one call fails, and the next has a new token."""
    provider = Provider()
    async with token_server() as (url, good, seen):
        auth = BearerAuth(provider)
        async with AsyncAPIClient(url, auth=auth, max_retries=max_retries) as api:
            await api.post("/upload", content=pieces())
            good[:] = ["token-2"]  # token-1 is revoked
            with pytest.raises(AuthenticationError) as caught:
                await api.post("/upload", content=pieces())
            await api.post("/upload", content=pieces())
            await api.post("/upload", content=pieces())
    assert any("later calls use the new credential" in note for note in caught.value.__notes__)
    assert seen == ["token-1", "token-1", "token-2", "token-2"]
    assert provider.asked == 2


async def test_a_refused_upload_asks_once_a_call() -> None:
    """If every token is refused, each upload calls the provider once, and sends its body once more."""
    provider = Provider()
    script = Script(accepts())
    async with Client(BASE, transport=script, auth=BearerAuth(provider)) as api:
        for _ in range(3):
            with pytest.raises(AuthenticationError):
                await api.post("/things", content=pieces())
    assert authorizations(script) == ["Bearer token-1", "Bearer token-2", "Bearer token-3"]
    assert provider.asked == 4


async def pieces() -> AsyncIterator[bytes]:
    """A body that can be sent once."""
    yield b"on"
    yield b"ce"


@asynccontextmanager
async def token_server() -> AsyncIterator[tuple[str, list[str], list[str]]]:
    """A server of uploads: its URL, the tokens that it accepts, and those that it received."""
    good, seen = ["token-1"], list[str]()

    async def upload(request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        assert await request.read() == b"once"
        seen.append(token)
        return web.json_response({}, status=200 if token in good else 401)

    app = web.Application()
    app.add_routes([web.post("/upload", upload)])
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/"), good, seen


async def test_a_body_goes_whole_with_a_renewed_credential() -> None:
    """Bytes are sent again after a renewal, complete."""
    script = Script(reply(401), reply(200))
    async with Client(BASE, transport=script, auth=Counter()) as api:
        await api.post("/things", json={"a": 1})
    assert script.bodies == [b'{"a":1}', b'{"a":1}']


async def test_a_key_in_the_query_is_replaced_when_it_is_renewed() -> None:
    """A renewed credential replaces the old one: the send starts from the original request."""

    class Renewed(APIKeyAuth):
        challenge_statuses = frozenset({401})

        async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
            self._key = "new"
            return True

    script = Script(reply(401), reply(200))
    async with Client(BASE, transport=script, auth=Renewed("old", param="key")) as api:
        await api.get("/things")
    assert script.urls == [f"{BASE}/things?key=old", f"{BASE}/things?key=new"]


# --- one provider, many calls


async def test_a_thousand_calls_ask_for_one_token() -> None:
    """However many calls begin together, the provider is called once."""
    provider = Provider()
    async with Client(BASE, transport=accepts("token-1"), auth=BearerAuth(provider)) as api:
        await asyncio.gather(*(api.get("/things") for _ in range(1000)))
    assert provider.asked == 1


async def test_a_thousand_refusals_ask_for_one_token() -> None:
    """When a token expires during a thousand calls, it is replaced once, and each call is sent once more."""
    provider = Provider()
    script = Script(accepts("token-2"))
    async with Client(BASE, transport=script, auth=BearerAuth(provider)) as api:
        await asyncio.gather(*(api.get("/things") for _ in range(1000)))
    assert provider.asked == 2
    assert 1000 < len(script.requests) <= 2000


async def test_a_provider_that_is_down_is_asked_once() -> None:
    """When the provider fails, all waiting calls fail with its error, immediately, without further
    provider calls.
    """
    provider = Provider()
    provider.fail = LookupError("down")
    script = Script()
    async with Client(BASE, transport=script, auth=BearerAuth(provider)) as api:
        ends = await asyncio.gather(*(api.get("/things") for _ in range(100)), return_exceptions=True)
        assert api.waits == []
    assert all(end is provider.fail for end in ends)
    assert provider.asked == 1
    assert script.requests == []


async def test_a_renewal_that_failed_ahead_is_not_seen_by_the_calls() -> None:
    """While the old token holds, a provider that fails fails no call."""
    clock = [0.0]
    provider = Provider(expires_in=3600)
    auth = BearerAuth(provider, cache=TokenCache(clock=lambda: clock[0]))
    async with Client(BASE, transport=accepts("token-1"), auth=auth) as api:
        await api.get("/things")
        clock[0] = 3500
        provider.fail = LookupError("down")
        for _ in range(3):
            await api.get("/things")
            await asyncio.sleep(0)
    assert provider.asked == 2


async def test_views_share_the_token() -> None:
    """A view of a client requests no separate token."""
    provider = Provider()
    async with Client(BASE, transport=accepts("token-1"), auth=BearerAuth(provider)) as api:
        await api.get("/things")
        await api.with_options(timeout=5, default_headers={"X-Y": "1"}).get("/things")
    assert provider.asked == 1


async def test_a_waiters_cancel_leaves_the_others_their_token() -> None:
    """Cancelling a call that waits for a token ends no other call."""
    gate = asyncio.Event()
    asked = 0

    async def provider() -> str:
        nonlocal asked
        asked += 1
        await gate.wait()
        return "token-1"

    async with Client(BASE, transport=accepts("token-1"), auth=BearerAuth(provider)) as api:
        first, second = (asyncio.create_task(api.get("/things")) for _ in range(2))
        for _ in range(5):
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        gate.set()
        await second
    assert first.cancelled()
    assert asked == 1


# --- errors of an auth


class Failing(Auth):
    """An auth whose methods fail as configured."""

    def __init__(self, error: Exception, *, in_refresh: bool = False) -> None:
        self.error = error
        self.in_refresh = in_refresh
        self.asked = 0

    async def authenticate(self, request: APIRequest, /) -> None:
        if not self.in_refresh:
            self.asked += 1
            raise self.error

    async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
        self.asked += 1
        raise self.error


@pytest.mark.parametrize("in_refresh", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        APIConnectionError("the token endpoint is down"),
        APIConnectionError("refused", sent=False),
        InternalServerError("the token endpoint failed"),
        LookupError("no credential"),
        KeyError("x"),
    ],
)
async def test_what_an_auth_raises_is_final(error: Exception, in_refresh: bool) -> None:
    """An error of an auth ends the call unchanged, and is never retried."""
    auth = Failing(error, in_refresh=in_refresh)
    script = Script(reply(401))
    async with Client(BASE, transport=script, auth=auth) as api:
        with pytest.raises(type(error)) as caught:
            await api.get("/things")
        assert api.waits == []
    assert caught.value is error
    assert auth.asked == 1
    assert len(script.requests) == int(in_refresh)


@pytest.mark.parametrize("auth", [BearerAuth, object(), "token", lambda request: None, ("u", "p")])
def test_an_invalid_auth_is_refused(auth: Any) -> None:
    """A value that is not an `Auth` is a TypeError when the client is created."""
    with pytest.raises(TypeError):
        AsyncAPIClient(BASE, auth=auth)


async def test_a_cancelled_authentication_stays_cancelled() -> None:
    """A cancel while an auth works is the caller's, and no error of the auth."""

    class Slow(Auth):
        async def authenticate(self, request: APIRequest, /) -> None:
            await asyncio.Event().wait()

    async with Client(BASE, transport=Script(), auth=Slow()) as api:
        task = asyncio.create_task(api.get("/things"))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


# --- secrets


def shown(thing: Any) -> str:
    """All representations of an object that are shown without being requested."""
    texts = [repr(thing), str(thing), f"{thing}"]
    if isinstance(thing, BaseException):
        texts += ["".join(traceback.format_exception(thing)), repr(thing.args), repr(vars(thing))]
        texts += getattr(thing, "__notes__", [])
        texts.append(repr(pickle.dumps(thing)))
        texts.append(repr(copy.copy(thing)))
    return "\n".join(texts)


CREDENTIALS: list[Auth] = [
    BearerAuth(SECRET),
    BasicAuth("user", SECRET),
    APIKeyAuth(SECRET),
    APIKeyAuth(SECRET, param="key"),
]
ENCODED = [SECRET, base64.b64encode(f"user:{SECRET}".encode()).decode()]


@pytest.mark.parametrize("auth", CREDENTIALS, ids=repr)
def test_an_auth_does_not_show_its_secret(auth: Auth) -> None:
    """The repr of an auth names no secret."""
    assert SECRET not in shown(auth)
    assert type(auth).__name__ in repr(auth)


@pytest.mark.parametrize("auth", CREDENTIALS, ids=repr)
@pytest.mark.parametrize("answer", [reply(500), reply(401), reply(200, "no list"), APIConnectionError("lost"),
                                    reply(302, Location="ftp://x/")])  # fmt: skip
async def test_no_error_and_no_log_shows_a_secret(
    auth: Auth, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors, their pickles and tracebacks, requests, responses and logs keep the credential."""
    script = Script(answer)
    with caplog.at_level(logging.DEBUG):
        async with Client(BASE, transport=script, auth=auth) as api:
            with pytest.raises(APIClientError) as caught:
                await api.get("/things", list[int])
            seen = [caught.value, api, api.explain(), script.last, api.chain]
            seen.append(getattr(caught.value, "response", None))
    texts = "\n".join([shown(thing) for thing in seen] + [caplog.text])
    for secret in ENCODED:
        assert secret not in texts


async def test_a_provider_does_not_show_its_token() -> None:
    """The repr of `BearerAuth` with a provider, of its cache and of its token shows no secret."""

    async def provider() -> Token:
        return Token(SECRET, 60)

    auth = BearerAuth(provider)
    async with Client(BASE, transport=Script(), auth=auth) as api:
        await api.get("/things")
    assert SECRET not in shown(auth) + shown(auth._cache) + shown(await provider())


# --- identity

IDENTITY = "aioapiclient.identity"


class Principal(Counter):
    """An auth that learns its identity when it authenticates."""

    def __init__(self, name: str | None) -> None:
        super().__init__()
        self.name = name
        self.known: str | None = None

    async def authenticate(self, request: APIRequest, /) -> None:
        await super().authenticate(request)
        self.known = self.name

    def identity(self) -> str | None:
        return self.known


def identities(script: Script) -> list[str | None]:
    """The identity that each send carried."""
    return [sent.extensions.get(IDENTITY) for sent in script.requests]


async def test_the_identity_of_an_auth_is_on_the_request() -> None:
    """A middleware inside auth reads the principal's identity, from the client or from the call."""
    script = Script()
    seen: list[str | None] = []

    async def cache(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
        seen.append(request.extensions.get(IDENTITY))
        response: AsyncAPIResponse[Any] = await handler(request)
        return response

    async with Client(BASE, transport=script, auth=Principal("alice"), middlewares=[per_send(cache)]) as api:
        await api.get("/things")
        await api.get("/things", auth=Principal("bob"))
        await api.get("/things", auth=Principal(None))
        await api.get("/things", auth=None)
    assert seen == ["alice", "bob", None, None]


async def test_the_identity_follows_the_credential() -> None:
    """A hop to a foreign origin has neither the credential nor the identity; the way back has both."""
    away = "https://files.example.net"
    script = Script(reply(302, Location=f"{away}/x"), reply(302, Location=f"{BASE}/y"), reply())
    async with Client(BASE, transport=script, auth=Principal("alice")) as api:
        on_the_way: list[str | None] = []

        async def watch(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
            on_the_way.append(request.extensions.get(IDENTITY))
            response: AsyncAPIResponse[Any] = await handler(request)
            return response

        await api.get("/things", middlewares=[per_send(watch)])
    assert on_the_way == ["alice", None, "alice"]


@pytest.mark.parametrize(
    "auth", [BearerAuth("a"), BearerAuth(Provider()), BasicAuth("u", "p"), APIKeyAuth("k")]
)
async def test_the_headers_of_a_built_in_auth_are_its_identity(auth: Auth) -> None:
    """The built-in auths leave it to their headers: no identity is set on the request."""
    script = Script()
    async with Client(BASE, transport=script, auth=auth) as api:
        await api.get("/things")
    assert auth.identity() is None
    assert identities(script) == [None]


CREDENTIALS = "aioapiclient.credentials"


class Signer(Auth):
    """An auth of three headers, one of which replaces a default header."""

    async def authenticate(self, request: APIRequest, /) -> None:
        request.headers["X-Signature"] = "s"
        request.headers["X-Date"] = "today"
        request.headers["X-Default"] = "signed"


@pytest.mark.parametrize(
    ("auth", "names"),
    [
        (BearerAuth("a"), {"authorization"}),
        (BasicAuth("u", "p"), {"authorization"}),
        (APIKeyAuth("k", header="X-Tenant-Key"), {"x-tenant-key"}),
        (APIKeyAuth("k", param="key"), set()),
        (Signer(), {"x-signature", "x-date", "x-default"}),
        (None, None),
    ],
)
async def test_the_names_of_the_headers_of_a_credential_are_on_the_request(
    auth: Auth | None, names: set[str] | None
) -> None:
    """Middlewares inside auth read which headers the credential set or replaced, in lower case."""
    script = Script()
    async with Client(BASE, transport=script, auth=auth, default_headers={"X-Default": "d"}) as api:
        await api.get("/things")
    assert script.last.extensions.get(CREDENTIALS) == names


async def test_a_foreign_hop_has_no_names_of_credentials() -> None:
    """On a hop to a foreign origin no header is named as the credential's."""
    script = Script(reply(302, Location="https://files.example.net/x"), reply())
    seen: list[object] = []

    async def watch(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
        seen.append(request.extensions.get(CREDENTIALS))
        response: AsyncAPIResponse[Any] = await handler(request)
        return response

    async with Client(BASE, transport=script, auth=Signer(), middlewares=[per_send(watch)]) as api:
        await api.get("/things")
    assert seen == [{"x-signature", "x-date", "x-default"}, None]


async def test_an_auth_without_an_identity_works_as_before() -> None:
    """An auth that does not subclass `Auth`, and has no ``identity``, still authenticates."""

    class Bare:
        challenge_statuses = frozenset({401})

        async def authenticate(self, request: APIRequest, /) -> None:
            request.headers["X-Bare"] = "1"

        async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
            return False

    script = Script()
    bare: Any = Bare()
    async with Client(BASE, transport=script, auth=bare) as api:
        await api.get("/things")
    assert script.last.headers["X-Bare"] == "1"
    assert identities(script) == [None]


async def test_an_identity_is_a_text() -> None:
    """An identity of another type is a mistake that ends the call before anything is sent."""
    script = Script()
    wrong: Any = 7
    async with Client(BASE, transport=script, auth=Principal(wrong)) as api:
        with pytest.raises(TypeError, match=r"identity\(\) of Principal must return a str or None, not int"):
            await api.get("/things")
    assert script.requests == []


# --- calls of an auth


class Bound(Auth):
    """An auth that requests its token with the client that it is bound to."""

    def __init__(self) -> None:
        self.client: AsyncAPIClient | None = None
        self.bound = 0
        self.token = "none"

    def bind(self, client: AsyncAPIClient) -> None:
        self.bound += 1
        self.client = client

    async def authenticate(self, request: APIRequest, /) -> None:
        request.headers["Authorization"] = f"Bearer {self.token}"

    async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
        assert self.client is not None
        self.token = (await self.client.post("/token", dict[str, str]))["token"]
        return True


@pytest.mark.parametrize("where", ["client", "view", "call"])
async def test_a_bound_auth_makes_calls_of_its_own(where: str) -> None:
    """An auth receives a view that sends no credential, and shares transport and close with the client."""
    script = Script(reply(401), reply(200, {"token": "fresh"}), reply(200, {"ok": True}))
    auth = Bound()
    async with Client(BASE, transport=script, auth=auth if where == "client" else None) as api:
        calls = api.with_options(auth=auth) if where == "view" else api
        if where == "call":
            assert await calls.get("/things", auth=auth) == {"ok": True}
        else:
            assert await calls.get("/things") == {"ok": True}
    assert authorizations(script) == ["Bearer none", None, "Bearer fresh"]
    assert script.urls == [f"{BASE}/things", f"{BASE}/token", f"{BASE}/things"]
    assert auth.client is not None
    assert auth.client.is_closed()


async def test_a_bound_auth_has_the_options_of_its_client() -> None:
    """The view that an auth is bound to has the client's headers and retries."""
    script = Script(reply(401), reply(429), reply(200, {"token": "fresh"}), reply(200))
    async with Client(BASE, transport=script, auth=Bound(), default_headers={"X-Mine": "1"}) as api:
        await api.get("/things")
    assert [sent.headers["X-Mine"] for sent in script.requests] == ["1"] * 4


async def test_closing_the_view_of_an_auth_closes_nothing() -> None:
    """A bound auth cannot close the client under its owner's feet."""
    auth = Bound()
    async with Client(BASE, transport=Script(), auth=auth) as api:
        await api.get("/things")
        assert auth.client is not None
        await auth.client.close()
        assert not api.is_closed()
        await api.get("/things")


async def test_the_client_closes_its_auth() -> None:
    """``close()`` of an auth is awaited once when the client closes: the client's, a view's and a call's."""
    mine, views, calls = Counter(), Counter(), Counter()
    async with Client(BASE, transport=Script(), auth=mine) as api:
        view = api.with_options(auth=views)
        await view.get("/things")
        await view.close()
        await api.get("/things", auth=calls)
        assert (mine.closed, views.closed, calls.closed) == (0, 0, 0)
    await api.close()
    assert (mine.closed, views.closed, calls.closed) == (1, 1, 1)


async def test_no_flight_is_left_after_close() -> None:
    """A renewal in progress ends with the client, and every waiting call raises that the client was
    closed.
    """

    async def provider() -> str:
        await asyncio.Event().wait()
        return "never"

    before = asyncio.all_tasks()
    api = Client(BASE, transport=Script(), auth=BearerAuth(provider))
    waiting = asyncio.create_task(api.get("/things"))
    await asyncio.sleep(0.01)
    await api.close()
    ends = await asyncio.gather(waiting, return_exceptions=True)
    assert type(ends[0]).__name__ == "ClientClosedError"
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_the_hook_of_a_subclass_is_a_credential_too() -> None:
    """``auth_headers`` of a subclass are sent to trusted origins only, and the call's headers override
    them.
    """

    class SDK(Client):
        @property
        def auth_headers(self) -> dict[str, str]:
            return {"X-Token": "abc"}

    script = Script()
    async with SDK(BASE, transport=script) as api:
        await api.get("/things")
        await api.get("https://evil.net/")
        await api.get("/things", headers={"x-token": OMIT})
        await api.get("/things", auth=None)
    assert [sent.headers.get("X-Token") for sent in script.requests] == ["abc", None, None, None]


async def test_a_credential_on_a_retried_stream_is_renewed() -> None:
    """A stream that is refused is opened again with the renewed credential."""
    script = Script(reply(401), reply(200, {"ok": 1}))
    response = await stream(Counter(), script)
    assert await response.json() == {"ok": 1}
    assert authorizations(script) == ["Number 1", "Number 2"]
    assert script.open_responses == 0


async def test_a_dropped_challenge_is_closed_before_the_second_send() -> None:
    """The refused response holds no connection when the request is sent again."""
    refused: list[AsyncAPIResponse[Any]] = []

    async def serve(request: APIRequest) -> AsyncAPIResponse[Any]:
        assert all(response.is_closed for response in refused)
        response = AsyncAPIResponse.from_bytes(request, 401 if not refused else 200, None, b"{}")
        refused.append(response)
        return response

    async with Client(BASE, transport=serve, auth=Counter()) as api:
        await api.put("/things", content=Body(b"x"))
    assert len(refused) == 2
