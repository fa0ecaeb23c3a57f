"""No personal data reaches another origin, by any kind of call.

Two servers on two ports are two origins (RFC 6454); every byte that the second one receives is checked.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import hypothesis.strategies as st
import pytest
from helpers import BASE, Client, Script, reply
from hypothesis import example, given, settings
from multidict import CIMultiDict
from servers import Exchange, RawServer, ok, raw_server, respond, response
from yarl import URL

from aioapiclient import (
    AiohttpTransport,
    APIKeyAuth,
    APIRequest,
    APIStatusError,
    AsyncAPIResponse,
    AsyncPage,
    Auth,
    BasicAuth,
    BearerAuth,
    InvalidRequestError,
    LinkHeaderPage,
    NextURLPage,
    PageInfo,
    RequestNotReplayableError,
    Token,
    TooManyRedirectsError,
)
from aioapiclient._url.base import BaseURL
from aioapiclient.testing import FakeTransport

SECRET = "hunter2"
FORMS = [SECRET.encode(), base64.b64encode(f"user:{SECRET}".encode())]


async def provider() -> Token:
    """Return the secret as a token."""
    return Token(SECRET, 60)


class OwnAuth(Auth):
    """A credential of a user's own."""

    async def authenticate(self, request: APIRequest, /) -> None:
        request.headers["X-Signature"] = SECRET
        request.add_params({"signature": SECRET})


class HookClient(Client):
    """A client whose subclass fills in the credential."""

    @property
    def auth_headers(self) -> dict[str, str]:
        return {"Authorization": SECRET}


AUTHS: dict[str, Any] = {
    "none": None,
    "bearer": BearerAuth(SECRET),
    "provider": BearerAuth(provider),
    "basic": BasicAuth("user", SECRET),
    "key": APIKeyAuth(SECRET),
    "key in the query": APIKeyAuth(SECRET, param="key"),
    "own": OwnAuth(),
}


class Away(AsyncPage[Any]):
    """A page that computes the next page itself."""

    next: str | None = None

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        return PageInfo(url=self.next, params={"page": "2"}) if self.next else None


Way = Callable[[Client, str, dict[str, Any]], Awaitable[object]]


async def _items(pages: Any) -> list[Any]:
    return [item async for item in pages]


async def _stream(api: Client, path: str, options: dict[str, Any]) -> None:
    async with api.stream("GET", path, **options) as events:
        async for _ in events:
            pass


async def _open(api: Client, path: str, options: dict[str, Any]) -> None:
    async with api.open("GET", path, **options) as answer:
        await answer.read()


WAYS: dict[str, Way] = {
    "absolute URL": lambda api, away, options: api.get(f"{away}/x", **options),
    "absolute URL object": lambda api, away, options: api.get(URL(f"{away}/x"), **options),
    "absolute template": lambda api, away, options: api.get(
        f"{away}/{{a}}", path_params={"a": "x"}, **options
    ),
    "not followed": lambda api, away, options: api.get(f"{away}/x", follow_redirects=False, **options),
    "redirect": lambda api, away, options: api.get("/redirect", **options),
    "redirect of an upload": lambda api, away, options: api.post("/redirect", json={"a": 1}, **options),
    "two redirects": lambda api, away, options: api.get("/twice", **options),
    "stream": lambda api, away, options: _stream(api, "/redirect", options),
    "absolute stream": lambda api, away, options: _stream(api, f"{away}/x", options),
    "unread response": lambda api, away, options: _open(api, "/redirect", options),
    "next URL": lambda api, away, options: _items(api.get_api_list("/next", int, NextURLPage, **options)),
    "next link": lambda api, away, options: _items(api.get_api_list("/link", int, LinkHeaderPage, **options)),
    "next of one's own": lambda api, away, options: _items(api.get_api_list("/next", int, Away, **options)),
    "poll": lambda api, away, options: api.poll("/poll", options=options),
    "Location": lambda api, away, options: _follow_location(api, options),
}


async def _follow_location(api: Client, options: dict[str, Any]) -> None:
    got = await api.get(
        "/redirect", AsyncAPIResponse[None], follow_redirects=False, ok_statuses={302}, **options
    )
    assert got.location is not None
    with pytest.raises(InvalidRequestError, match="userinfo"):
        await api.get(got.location, **options)
    await api.get(got.location.with_user(None), **options)


def home_of(away: RawServer) -> Callable[[Exchange], Awaitable[None]]:
    """The answers of the first server: all of them lead to *away*."""

    async def script(exchange: Exchange) -> None:
        path = exchange.request.target.partition("?")[0].removeprefix("/v1")
        target = f"http://u:{SECRET}@127.0.0.1:{away.port}/x"
        page = f'{{"data": [1], "next": "{target}", "next_url": "{target}"}}'.encode()
        answers = {
            "/redirect": response("302 Found", Location=target),
            "/twice": response("302 Found", Location="/v1/redirect"),
            "/next": ok(page),
            "/link": ok(b"[1]", Link=f'<{target}>; rel="next"'),
            "/poll": response("202 Accepted", Location=target, Operation_Location=target, Retry_After="0"),
        }
        await exchange.send(answers[path])

    return script


async def answer_away(exchange: Exchange) -> None:
    """The answers of the second server: an empty page, a stream without events, or an empty object."""
    if "event-stream" in exchange.request.headers.get("Accept", ""):
        await exchange.send(ok(b"", "text/event-stream"))
    else:
        await exchange.send(ok(b'{"data": []}'))


def assert_clean(away: RawServer) -> None:
    """Fail unless *away* received a request, and no part of the secret."""
    assert away.requests
    for request in away.requests:
        for form in FORMS:
            assert form not in request.head, request.head
            assert form not in request.body


@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("way", WAYS)
async def test_no_credential_reaches_another_origin(way: str, auth: str) -> None:
    """No redirect, URL, link or Location sends a credential of any kind to another origin (P3, P10, P18)."""
    async with raw_server(answer_away) as away, raw_server(home_of(away)) as home:
        kind = HookClient if auth == "none" else Client
        async with kind(
            f"{home.url}/v1",
            auth=AUTHS[auth],
            default_headers={"x-api-KEY": SECRET, "COOKIE": f"a={SECRET}", "X-Org": SECRET},
            default_params={"key2": SECRET},
            idempotency_header="Idempotency-Key",
            max_retries=0,
        ) as api:
            headers = CIMultiDict([("Private-Token", SECRET), ("private-token", SECRET), ("COOKIE", SECRET)])
            with suppress(APIStatusError, TooManyRedirectsError):
                await WAYS[way](api, away.url, {"headers": headers})
    if way == "redirect of an upload":
        assert away.requests[0].method == "GET"
        assert away.requests[0].body == b""
    assert_clean(away)
    if way not in (
        "absolute URL",
        "absolute URL object",
        "absolute template",
        "not followed",
        "absolute stream",
    ):
        assert SECRET.encode() in home.requests[0].head


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("auth", ["bearer", "key in the query"])
async def test_no_body_reaches_another_origin(status: int, auth: str) -> None:
    """A redirect that needs the body again is refused if it leads to another origin (P3, P5)."""
    bodies: list[dict[str, Any]] = [{"json": {"a": SECRET}}, {"data": {"a": SECRET}}, {"content": SECRET}]
    async with (
        raw_server(answer_away) as away,
        raw_server(respond(response(f"{status} Moved", Location=f"{away.url}/x"))) as home,
        Client(home.url, auth=AUTHS[auth]) as api,
    ):
        for body in bodies:
            with pytest.raises(TooManyRedirectsError, match="another origin"):
                await api.put("/", **body)
    assert not away.requests


async def test_a_redirect_does_not_lead_from_https_to_http() -> None:
    """A redirect from https to http is refused, to the same host too (P3)."""
    script = Script(reply(302, Location="http://api.example.com/v1/x"), reply())
    async with Client(BASE, transport=script, auth=AUTHS["bearer"]) as api:
        with pytest.raises(TooManyRedirectsError, match="https to http"):
            await api.get("/x")
    assert len(script.requests) == 1


LETTERS = st.sampled_from(
    ["Authorization", "Cookie", "X-Api-Key", "Idempotency-Key", "X-Secret", "Proxy", "Hosts"]
)


@given(
    names=st.lists(
        LETTERS.flatmap(lambda name: st.sampled_from([name, name.upper(), name.lower(), name.swapcase()])),
        min_size=1,
        max_size=4,
    ),
    layer=st.sampled_from(["call", "default", "platform", "auth", "middleware"]),
    status=st.sampled_from([301, 302, 303, 307, 308]),
)
def test_no_header_of_any_layer_crosses(names: list[str], layer: str, status: int) -> None:
    """A secret header is withheld from other origins, in any case, number and layer (P3)."""
    secrets = CIMultiDict([(name, SECRET) for name in (*names, *names)])

    class Given(Auth):
        async def authenticate(self, request: APIRequest, /) -> None:
            request.headers.extend(secrets)

    async def once_per_call(request: APIRequest, handler: Any) -> Any:
        request.headers.extend(secrets)
        return await handler(request)

    async def run() -> None:
        script = FakeTransport(reply(status, Location="https://away.example.com/x"), default=reply())
        async with Client(
            BASE,
            transport=script,
            default_headers=secrets if layer == "default" else None,
            auth=Given() if layer == "auth" else None,
            middlewares=[once_per_call] if layer == "middleware" else (),
        ) as api:
            await api.get("/x", headers=secrets if layer in ("call", "platform") else {})
        at_home, abroad = script.requests
        assert SECRET in str(at_home.headers)
        assert SECRET not in str(abroad.headers)
        assert not abroad._call_headers
        assert str(abroad.url) == "https://away.example.com/x"

    asyncio.run(run())


# --- redirects: followed by default, never if disabled


SWITCHES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "client": ({"follow_redirects": False}, {}, {}),
    "view": ({}, {"follow_redirects": False}, {}),
    "call": ({}, {}, {"follow_redirects": False}),
    "call over the client": ({"follow_redirects": True}, {}, {"follow_redirects": False}),
}


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize("switch", SWITCHES)
async def test_a_redirect_is_not_followed_where_that_is_off(switch: str, status: int) -> None:
    """With ``follow_redirects=False`` on client, view or call a 3xx is raised, after retries too (P2, P6)."""
    client, view, call = SWITCHES[switch]
    answers = (response("503 Later"), response(f"{status} Moved", Location="/elsewhere"))

    async def script(exchange: Exchange) -> None:
        await exchange.send(answers[min(exchange.index % 2, 1)])

    async with raw_server(script) as server, Client(server.url, **client) as api:
        with pytest.raises(APIStatusError) as caught:
            await api.with_options(**view).get("/x", **call)
        assert caught.value.status == status
        stream = api.with_options(**view).stream("GET", "/x", **call)
        with pytest.raises(APIStatusError):
            await stream.__aenter__()
    assert [request.target for request in server.requests] == ["/x"] * 4


async def test_a_ring_of_redirects_costs_eleven_requests() -> None:
    """A redirect loop costs at most ten hops, however many retries are left (P6)."""
    async with (
        raw_server(respond(response("302 Found", Location="/x"))) as server,
        Client(server.url, max_retries=5) as api,
    ):
        with pytest.raises(TooManyRedirectsError):
            await api.get("/x")
    assert len(server.requests) == 11


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize(
    "body", [{"json": {"a": SECRET}}, {"content": SECRET}, {"files": {"f": SECRET.encode()}}]
)
async def test_a_redirect_to_a_get_drops_the_body(status: int, body: dict[str, Any]) -> None:
    """POST on 301, 302 and 303 becomes a GET without body, length and type (P5)."""
    answers = [response(f"{status} Moved", Location="/y"), ok()]

    async def script(exchange: Exchange) -> None:
        await exchange.send(answers[min(exchange.index, 1)])

    async with raw_server(script) as server, Client(server.url) as api:
        await api.post("/x", headers={"content-LANGUAGE": "de"}, **body)
    sent = server.requests[1]
    assert (sent.method, sent.body) == ("GET", b"")
    assert not [name for name in sent.headers if name.lower().startswith(("content-", "transfer-"))]


@pytest.mark.parametrize("status", [307, 308])
async def test_a_body_that_is_gone_is_not_sent_empty(status: int) -> None:
    """A 307 or 308 of a one-shot body is an error, never an empty body (P5)."""

    async def once() -> Any:
        yield b"x"

    async with (
        raw_server(respond(response(f"{status} Moved", Location="/y"))) as server,
        Client(server.url) as api,
    ):
        with pytest.raises(RequestNotReplayableError):
            await api.post("/x", content=once())
    assert len(server.requests) == 1


# --- paths


@given(
    value=st.text(max_size=8)
    | st.text(st.sampled_from("./\\;:@?#%2eEfF \r\n\0[]{}"), max_size=8)
    | st.sampled_from(["..", ".", "%2e%2e", "..;a", "//h", "http://h", "\\\\h", "@h", "a/../b", "\ud800"]),
    template=st.sampled_from(
        ["/a/{v}/b", "{v}", "/{v}", "a{v}", "/{v}.json", "/a/{+v}", "{+v}/b", "/a?x={v}"]
    ),
)
@example(value="..", template="{+v}/b")
@example(value="/evil.example.com/", template="{+v}/b")
@settings(max_examples=400)
def test_no_value_leaves_its_segment(value: str, template: str) -> None:
    """A value in a path is refused, or stays in its segments, under the base path (P9, P10)."""
    base = BaseURL("https://api.example.com:8443/v1")
    try:
        url = base.build(template, {"v": value})
    except InvalidRequestError:
        return
    assert str(url).startswith("https://api.example.com:8443/v1/")
    assert URL(str(url)).origin() == URL("https://api.example.com:8443")
    segments = url.raw_path.split("/")
    assert not {".", ".."}.intersection(url.raw_path.lower().replace("%2e", ".").split("/"))
    if "+" not in template:
        assert len(segments) == 3 + template.partition("?")[0].lstrip("/").count("/")


ESCAPES = [
    "//evil.test/x",
    "\\\\evil.test/x",
    "/\\evil.test",
    "http:/evil.test",
    "http:evil.test",
    "ftp://evil.test/",
    "javascript:x",
    "file:///etc/passwd",
    "http://u:p@evil.test/",
    "https://evil.test\\@h/",
    "http://evil.test:x/",
    "//u@evil.test",
    "../x",
    "/a/../x",
    "/a/%2e%2e/x",
    "/a/..;/x",
    "x\r\nHost: evil.test",
    "http://[::1",
    " http://evil.test/",
]


@pytest.mark.parametrize("path", ESCAPES)
async def test_no_odd_path_leaves_the_origin(path: str) -> None:
    """A path with ``//``, a backslash, userinfo, another scheme or dot segments is refused (P9, P10)."""
    script = Script()
    async with Client(BASE, transport=script, auth=AUTHS["bearer"]) as api:
        with suppress(InvalidRequestError):
            await api.get(path)
    for request in script.requests:  # a path after all, once it is escaped
        assert str(request.url).startswith(f"{BASE}/")
        assert ".." not in request.url.raw_path


# --- cookies


async def test_no_cookie_is_kept() -> None:
    """A Set-Cookie changes no later request: not of a redirect, a retry, a view or another call (P19)."""
    cookie = "session=stolen; Path=/; Domain=127.0.0.1"
    answers = [
        response("302 Found", Location="/v1/b", Set_Cookie=cookie),
        response("503 Later", Set_Cookie=cookie),
        ok(Set_Cookie=cookie),
    ]

    async def script(exchange: Exchange) -> None:
        await exchange.send(answers[min(exchange.index, 2)])

    async with raw_server(script) as server, Client(f"{server.url}/v1") as api:
        await api.get("/a")
        await api.with_options(timeout=5).get("/c")
        await api.get("/d", headers={"Cookie": "own=1"})
        await api.get("/e")
    cookies = [request.headers.get("Cookie") for request in server.requests]
    assert cookies == [None, None, None, None, "own=1", None]


# --- proxies and the environment


@pytest.mark.parametrize("no_proxy", ["", "127.0.0.1"])
async def test_only_the_proxy_has_its_password(no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials of a proxy reach only that proxy, even if a redirect bypasses it (P4)."""
    async with raw_server(answer_away) as origin:
        location = f"{origin.url}/x"
        async with raw_server(respond(response("302 Found", Location=location))) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url.replace("://", f"://user:{SECRET}@"))
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            transport = AiohttpTransport(trust_env=True)
            async with Client("http://api.test", transport=transport, auth=APIKeyAuth("key")) as api:
                await api.get("/x")
            assert proxy.requests[0].target == "http://api.test/x"
            assert "Proxy-Authorization" in proxy.requests[0].headers
            assert_clean(origin)
            monkeypatch.setenv("no_proxy", no_proxy)
            async with Client(origin.url, transport=AiohttpTransport()) as api:
                await api.get("/direct")  # trust_env is off
            assert_clean(origin)
            assert origin.requests[-1].target == "/direct"


@pytest.mark.parametrize("trust_env", [False, True])
async def test_netrc_is_never_read(trust_env: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No password is read from a netrc, not even with ``trust_env``; an explicit one still works (P7)."""
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text(
            f"machine 127.0.0.1 login user password {SECRET}\ndefault login u password {SECRET}\n"
        )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with raw_server(respond(ok())) as server:
        async with Client(server.url, transport=AiohttpTransport(trust_env=trust_env)) as api:
            await api.get("/")
            await api.get("/", auth=BasicAuth("me", "mine"))
        assert_clean(server)
        authorizations = [request.headers.get("Authorization") for request in server.requests]
        assert authorizations == [None, "Basic " + base64.b64encode(b"me:mine").decode()]


def test_the_environment_is_not_trusted_by_default() -> None:
    """``trust_env`` is off by default (P7)."""
    assert inspect.signature(AiohttpTransport).parameters["trust_env"].default is False
