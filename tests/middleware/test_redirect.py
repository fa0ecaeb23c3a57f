"""Redirects: method, body, headers and attempts of each hop, and the refused redirects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from helpers import BASE, Client, Script, reply
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aioapiclient import (
    APIConnectionError,
    APIKeyAuth,
    APIRequest,
    APIStatusError,
    AsyncAPIResponse,
    BearerAuth,
    Body,
    BodyTooLargeError,
    InternalServerError,
    RequestNotReplayableError,
    RetryPolicy,
    TooManyRedirectsError,
    default_chain,
)
from aioapiclient._chain import fold
from aioapiclient._url.base import BaseURL
from aioapiclient.middleware import RedirectMiddleware
from aioapiclient.testing import respond

HOME = "https://api.example.com"
AWAY = "https://evil.example.net"
REDIRECTS = [301, 302, 303, 307, 308]
METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]


def to(location: str, status: int = 302, **headers: str) -> Any:
    """A redirect."""
    return reply(status, Location=location, **headers)


def request(method: str = "GET", path: str = "/v1/things", **fields: Any) -> APIRequest:
    """A request of a client whose own origin is `HOME`."""
    return APIRequest(method, path if "://" in path else HOME + path, _base_url=BaseURL(BASE), **fields)


async def follow(script: Script, handed: APIRequest, **options: Any) -> AsyncAPIResponse[Any]:
    """Send *handed* through a standalone `RedirectMiddleware`."""
    return await RedirectMiddleware(**options)(handed, script)


def calls(script: Script) -> list[str]:
    """Method and URL of each request."""
    return [f"{sent.method} {sent.url}" for sent in script.requests]


# --- method and body


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("status", REDIRECTS)
async def test_each_status_has_its_method(status: int, method: str) -> None:
    """303 becomes GET, POST on 301 and 302 too; any other keeps method and body (RFC 9110 §15.4)."""
    body = None if method in {"GET", "HEAD", "OPTIONS"} else Body(b"content", content_type="text/plain")
    headers = {} if body is None else {"Content-Type": "text/plain", "Content-Language": "en", "X-Mine": "1"}
    script = Script(to("/v1/other", status), reply(200))
    await follow(script, request(method, headers=CIMultiDict(headers), body=body))
    becomes_get = (status == 303 and method != "HEAD") or (status in {301, 302} and method == "POST")
    assert calls(script) == [f"{method} {BASE}/things", f"{'GET' if becomes_get else method} {BASE}/other"]
    last = script.last
    if becomes_get:
        assert last.body is None
        assert not [name for name in last.headers if name.lower().startswith("content-")]
    else:
        assert script.bodies[1] == (b"" if body is None else b"content")
        assert dict(last.headers) == headers
    assert last.headers.get("X-Mine") == headers.get("X-Mine")


async def test_no_content_header_comes_back_on_a_get() -> None:
    """The call's own Content-Type does not return with the credential after the body was dropped."""
    script = Script(to("/v1/other", 303), reply(200))
    async with Client(BASE, transport=script, auth=BearerAuth("abc")) as api:
        await api.post("/things", content=b"x", headers={"Content-Type": "text/x", "X-Mine": "1"})
    assert script.last.method == "GET"
    assert "Content-Type" not in script.last.headers
    assert script.last.headers["X-Mine"] == "1"


@pytest.mark.parametrize("status", [300, 304, 305, 306, 399])
async def test_other_statuses_are_not_followed(status: int) -> None:
    """Only 301, 302, 303, 307 and 308 are followed."""
    script = Script(to("/v1/other", status))
    response = await follow(script, request())
    assert response.status == status
    assert len(script.requests) == 1


@pytest.mark.parametrize("status", [307, 308])
async def test_a_body_that_is_gone_is_an_error(status: int) -> None:
    """A one-shot body cannot follow a 307 or 308: the error explains it, and no empty body is sent."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"once"

    script = Script(to("/v1/other", status), reply(200))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(RequestNotReplayableError, match=str(status)):
            await api.put("/things", content=chunks())
    assert script.bodies == [b"once"]


async def test_a_body_that_is_gone_does_not_matter_to_a_get() -> None:
    """A 303 after a one-shot body is followed: a GET has no body."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"once"

    script = Script(to("/v1/other", 303), reply(200))
    async with Client(BASE, transport=script) as api:
        await api.post("/things", content=chunks())
    assert calls(script)[1] == f"GET {BASE}/other"


# --- follow_redirects


async def test_redirects_can_be_switched_off() -> None:
    """``follow_redirects=False``, of client, view and call, gives the status error with its Location."""
    for client, view, call in ((False, {}, {}), (True, {"follow_redirects": False}, {}),
                               (True, {}, {"follow_redirects": False})):  # fmt: skip
        script = Script(to("/v1/other"))
        async with Client(BASE, transport=script, follow_redirects=client) as api:
            with pytest.raises(APIStatusError) as caught:
                await api.with_options(**view).get("/things", **call)
        assert caught.value.response is not None
        assert str(caught.value.response.location) == f"{BASE}/other"
        assert len(script.requests) == 1


async def test_a_redirect_that_is_wanted_is_the_answer() -> None:
    """A redirect that ``ok_statuses`` names is not followed."""
    script = Script(to("/v1/other"))
    async with Client(BASE, transport=script) as api:
        response = await api.get("/things", AsyncAPIResponse[Any], ok_statuses={302})
    assert response.status == 302
    assert len(script.requests) == 1


async def test_a_redirect_without_a_location_is_a_status_error() -> None:
    """A 302 without Location leads nowhere: it is the answer."""
    async with Client(BASE, transport=Script(reply(302))) as api:
        with pytest.raises(APIStatusError) as caught:
            await api.get("/things")
    assert caught.value.status == 302


# --- Location


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/other", f"{HOME}/other"),
        ("other", f"{HOME}/v1/other"),
        ("../other", f"{HOME}/other"),
        ("./", f"{HOME}/v1/"),
        ("?page=2", f"{HOME}/v1/things?page=2"),
        ("", f"{HOME}/v1/things?x=1"),
        ("//api.example.com/z", f"{HOME}/z"),
        (f"{HOME}/a%2Fb?c=%20d", f"{HOME}/a%2Fb?c=%20d"),
        ("/other#fragment", f"{HOME}/other"),
        ("/a b/ü", f"{HOME}/a%20b/%C3%BC"),
        ("  /other\t", f"{HOME}/other"),
        ("https://user:hunter2@api.example.com/z", f"{HOME}/z"),
        ("https://:hunter2@api.example.com/z", f"{HOME}/z"),
        ("https://user@api.example.com/z#x", f"{HOME}/z"),
    ],
)
async def test_a_location_is_resolved(location: str, url: str) -> None:
    """Every form of a reference is resolved against the response's URL; userinfo and fragment are dropped."""
    script = Script(to(location), reply(200))
    await follow(script, request(path="/v1/things?x=1"))
    assert script.urls[1] == url
    assert script.last.url.raw_user is None
    assert script.last.url.raw_password is None


JUNK = [
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/plain,x",
    "ftp://api.example.com/x",
    "ws://api.example.com/x",
    "mailto:a@b",
    "https://",
    "https:///path",
    "http://[::1",
    "https://api.example.com:99999/",
    "https://api.example.com:abc/",
    "https://a\\b/",
    "https:api.example.com/x",
    "//",
]


@pytest.mark.parametrize("location", JUNK)
async def test_a_location_that_leads_nowhere_is_refused(location: str) -> None:
    """Another scheme than http, no host, a bad port: refused by an error that does not repeat it."""
    script = Script(to(location), reply(200))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(TooManyRedirectsError) as caught:
            await api.get("/things")
        assert api.waits == []
    assert len(script.requests) == 1
    assert location not in str(caught.value).replace("https", "", 1) or location == "//"


@given(
    location=st.text(max_size=60)
    | st.from_regex(r"(https?|file)?:?//?[a-z@:\[\]%\\?#./0-9]{0,30}", fullmatch=True)
)
def test_no_location_breaks_a_call(location: str) -> None:
    """Whatever Location contains, the call ends with a response or an error of this library, after at most
    two requests.
    """
    script = Script(
        lambda request: AsyncAPIResponse.from_bytes(request, 302, {"Location": location}), reply(200)
    )
    try:
        asyncio.run(follow(script, request()))
    except TooManyRedirectsError:
        assert len(script.requests) == 1
    else:
        assert len(script.requests) == 2
        url = script.last.url
        assert url.scheme == "https"
        assert url.raw_host
        assert not url.raw_fragment
        assert url.raw_user is None
        assert url.raw_password is None


async def test_https_to_http_is_refused() -> None:
    """A redirect from https to http is not followed, even to the client's own origin, unless it is
    allowed.
    """
    script = Script(to("http://api.example.com/v1/other"), reply(200))
    with pytest.raises(TooManyRedirectsError, match="from https to http"):
        await follow(script, request())
    script = Script(to("http://api.example.com/v1/other"), reply(200))
    response = await follow(script, request(), allow_insecure=True)
    assert response.status == 200


async def test_http_to_https_is_followed() -> None:
    """A redirect from http to https of the same host is followed with all headers and the body."""
    script = Script(to("https://plain.example/x"), reply(200))
    handed = APIRequest(
        "GET", "http://plain.example/x", {"X-Key": "1"}, _base_url=BaseURL("http://plain.example")
    )
    await follow(script, handed)
    assert script.urls[1] == "https://plain.example/x"
    assert script.last.headers["X-Key"] == "1"


OF_HOME = {"Authorization", "X-Team", "X-Mine"}


@pytest.mark.parametrize(
    ("base", "location", "keeps"),
    [
        ("http://plain.example/v1", "https://plain.example/v1/x", True),
        ("http://plain.example:80/v1", "https://plain.example:443/v1/x", True),
        ("http://plain.example/v1", "https://PLAIN.example/v1/x", True),
        ("http://plain.example/v1", "//plain.example/v1/x", True),
        ("http://plain.example/v1", "https://plain.example:8443/v1/x", False),
        ("http://plain.example:8080/v1", "https://plain.example:8080/v1/x", False),
        ("http://plain.example:8080/v1", "https://plain.example/v1/x", False),
        ("http://plain.example/v1", "https://www.plain.example/v1/x", False),
        ("http://plain.example/v1", "https://example/v1/x", False),
        ("http://plain.example/v1", "https://plain.example.evil/v1/x", False),
    ],
)
async def test_an_upgrade_to_https_keeps_personal_headers(base: str, location: str, keeps: bool) -> None:
    """A redirect from http to https of one host on the default ports keeps all headers; no other change
    does.
    """
    script = Script(to(location), reply(200))
    async with Client(base, transport=script, auth=BearerAuth("abc"), default_headers={"X-Team": "1"}) as api:
        await api.get("/x", headers={"X-Mine": "2"})
    assert set(script.requests[0].headers) >= OF_HOME
    assert set(script.last.headers) & OF_HOME == (OF_HOME if keeps else set())


@pytest.mark.parametrize("status", [307, 308])
async def test_an_upgrade_to_https_keeps_the_body(status: int) -> None:
    """An upgrade that needs the body again gets it, even on a host that is not the client's."""
    script = Script(to("https://plain.example/v1/x", status), reply(200))
    async with Client("http://plain.example/v1", transport=script, auth=BearerAuth("abc")) as api:
        await api.post("/x", json={"a": 1})
    assert script.bodies == [b'{"a":1}'] * 2
    script = Script(to("https://other.example/x", status), reply(200))
    async with Client("http://plain.example/v1", transport=script, auth=BearerAuth("abc")) as api:
        await api.post("http://other.example/x", json={"a": 1})
    assert script.bodies == [b'{"a":1}'] * 2
    assert "Authorization" not in script.last.headers


async def test_an_upgrade_does_not_let_a_later_hop_down() -> None:
    """After an upgrade, a redirect back to http is refused, and another origin gets no credential."""
    script = Script(to("https://plain.example/a"), to("http://plain.example/b"))
    async with Client("http://plain.example", transport=script, auth=BearerAuth("abc")) as api:
        with pytest.raises(TooManyRedirectsError, match="from https to http"):
            await api.get("/x")
    script = Script(to("https://plain.example/a"), to(f"{AWAY}/b"), reply(200))
    async with Client("http://plain.example", transport=script, auth=BearerAuth("abc")) as api:
        await api.get("/x")
    assert "Authorization" not in script.last.headers


async def test_a_trusted_http_origin_may_upgrade() -> None:
    """The upgrade holds for trusted origins as for the client's own."""
    script = Script(to("https://files.example/a"), reply(200))
    async with Client(
        BASE, transport=script, auth=BearerAuth("abc"), trusted_origins=["http://*.example"]
    ) as api:
        await api.get("http://files.example/a")
    assert [sent.headers.get("Authorization") for sent in script.requests] == ["Bearer abc"] * 2


# --- the template


async def test_a_hop_to_another_path_has_no_template() -> None:
    """The template is that of the requested path, and None after a redirect to another path."""
    script = Script(
        to("/v1/users/7?page=1"), to("/v1/moved"), to(f"{AWAY}/v1/users/7"), to("/other"), reply(200)
    )
    async with Client(BASE, transport=script) as api:
        await api.get("/users/{id}", path_params={"id": 7})
    assert [sent.template for sent in script.requests] == [
        "/users/{id}", "/users/{id}", None, "/users/{id}", None
    ]  # fmt: skip


# --- the note on an error


def notes(error: BaseException) -> str:
    """The notes of *error*, one a line."""
    return "\n".join(getattr(error, "__notes__", ()))


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_an_error_after_a_redirect_tells_what_was_withheld(status: int) -> None:
    """The note has the origin, the withheld headers, the reason and the remedy; no value of a header."""
    script = Script(to(f"{AWAY}/x"), reply(status))
    async with Client(
        BASE,
        transport=script,
        auth=BearerAuth("hunter2"),
        default_headers={"X-Team": "hunter2"},
        max_retries=0,
    ) as api:
        with pytest.raises(APIStatusError) as caught:
            await api.get("/things", headers={"X-Mine": "hunter2", "Accept-Language": "de"})
    text = notes(caught.value)
    assert f"Not sent to {AWAY}: the credential, X-Mine, X-Team. " in text or (
        f"Not sent to {AWAY}: the credential, X-Team, X-Mine. " in text
    )
    assert "the origin of base_url (https://api.example.com)" in text
    assert "a redirect led there" in text
    assert f"If {AWAY} may receive them, change base_url to it or name it in trusted_origins" in text
    assert "hunter2" not in text
    assert "Accept" not in text


@pytest.mark.parametrize("follows", [True, False])
async def test_an_error_of_an_absolute_url_tells_what_was_withheld(follows: bool) -> None:
    """An absolute URL of another origin gets a note like a redirect, for default headers and the
    call's own.
    """
    script = Script(reply(401))
    own = {"X-Team": "1", "Accept-Language": "de"}
    async with Client(
        BASE, transport=script, auth=BearerAuth("abc"), default_headers=own, follow_redirects=follows
    ) as api:
        with pytest.raises(APIStatusError) as caught:
            await api.get(f"{AWAY}/x", headers={"X-Mine": "2"})
    assert f"Not sent to {AWAY}: the credential, X-Team, X-Mine. " in notes(caught.value)
    assert "the call names an absolute URL" in notes(caught.value)


async def test_each_way_of_a_call_tells_what_was_withheld() -> None:
    """A stream, an unread response, and an error class of an SDK's own have the note as well."""

    class Mine(APIStatusError):
        pass

    class SDK(Client):
        def _make_status_error(self, response: AsyncAPIResponse[Any], body: Any, /) -> APIStatusError:
            return Mine.from_response(response, body)

    async with SDK(BASE, transport=Script(reply(403)), auth=BearerAuth("abc")) as api:
        for way in (api.open("GET", f"{AWAY}/x"), api.stream("GET", f"{AWAY}/x")):
            with pytest.raises(Mine) as caught:
                async with way:
                    pass
            assert f"Not sent to {AWAY}: the credential" in notes(caught.value)


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        ({"trusted_origins": [AWAY]}, [to(f"{AWAY}/x"), reply(401)]),
        ({}, [to("/v1/x"), reply(401)]),
        ({}, [to(f"{AWAY}/x"), to(f"{HOME}/v1/back"), reply(401)]),
        ({"auth": None}, [to(f"{AWAY}/x"), reply(401)]),
        ({}, [reply(401)]),
    ],
    ids=["trusted", "own origin", "back at the own origin", "nothing to withhold", "no redirect"],
)
async def test_what_was_not_withheld_is_not_told(options: dict[str, Any], answers: list[Any]) -> None:
    """If the last request had all personal headers, or there are none, no note is added."""
    async with Client(BASE, transport=Script(*answers), **{"auth": BearerAuth("abc"), **options}) as api:
        with pytest.raises(APIStatusError) as caught:
            await api.get("/things")
    assert notes(caught.value) == ""


async def test_a_call_without_auth_tells_of_its_headers_only() -> None:
    """``auth=None`` sends no credential anywhere, so none was withheld."""
    async with Client(BASE, transport=Script(reply(401)), auth=BearerAuth("abc")) as api:
        with pytest.raises(APIStatusError) as caught:
            await api.get(f"{AWAY}/x", auth=None, headers={"Authorization": "Mine"})
    assert f"Not sent to {AWAY}: Authorization. " in notes(caught.value)


async def test_each_attempt_is_told_once() -> None:
    """Retries do not repeat the names of withheld headers."""
    async with Client(BASE, transport=Script(reply(500)), auth=BearerAuth("abc")) as api:
        with pytest.raises(InternalServerError) as caught:
            await api.get(f"{AWAY}/x")
        assert len(api.waits) == 2
    assert notes(caught.value).count("the credential") == 1


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "DELETE", "GET"),
        (303, "PUT", "GET"),
    ],
)
async def test_a_changed_method_is_told(status: int, method: str, becomes: str) -> None:
    """An error after a redirect that changed the method names the redirect and the remedy."""
    script = Script(to("/v1/orders/", status), reply(405))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(APIStatusError) as caught:
            await api.request(method, "/orders")
    text = notes(caught.value)
    note = f"A redirect (status {status}) of {method} {BASE}/orders turned the {method} into a {becomes}"
    assert note in text
    assert "change base_url or the path" in text


async def test_the_redirect_that_changed_the_method_is_the_one_that_is_told() -> None:
    """Of several redirects, the note names the one that changed the method."""
    script = Script(to("/v1/a", 307), to("/v1/b", 302), to("/v1/c", 301), reply(404))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(APIStatusError) as caught:
            await api.post("/orders", json={"a": 1})
    assert f"A redirect (status 302) of POST {BASE}/a turned the POST into a GET" in notes(caught.value)


@pytest.mark.parametrize(("status", "method"), [(307, "POST"), (308, "PUT"), (301, "GET"), (303, "HEAD")])
async def test_a_method_that_stayed_is_not_told(status: int, method: str) -> None:
    """If the method did not change, no note is added."""
    async with Client(BASE, transport=Script(to("/v1/x", status), reply(404))) as api:
        with pytest.raises(APIStatusError) as caught:
            await api.request(method, "/orders")
    assert notes(caught.value) == ""


# --- the number of redirects


async def test_a_loop_costs_eleven_requests() -> None:
    """Ten hops are followed and the eleventh redirect is an error, which is not tried again."""
    script = Script(to("/v1/things"))
    async with Client(BASE, transport=script, max_retries=5) as api:
        with pytest.raises(TooManyRedirectsError, match="10"):
            await api.get("/things")
        assert api.waits == []
    assert len(script.requests) == 11


@pytest.mark.parametrize("most", [0, 1, 3])
async def test_the_number_of_hops_can_be_set(most: int) -> None:
    """``max_redirects`` hops are followed, and 0 follows none."""
    script = Script(*[to(f"/v1/{number}") for number in range(most)], reply(200))
    response = await follow(script, request(), max_redirects=most)
    assert len(response.history) == most
    script = Script(to("/v1/again"))
    with pytest.raises(TooManyRedirectsError):
        await follow(script, request(), max_redirects=most)
    assert len(script.requests) == most + 1


async def test_attempts_are_counted_over_all_hops() -> None:
    """A hop continues the count of attempts."""
    script = Script(reply(500), to("/v1/b"), reply(503), to("/v1/c"), reply(500))
    async with Client(
        BASE, transport=script, retry=RetryPolicy(max_retries=2, jitter=lambda wait: wait)
    ) as api:
        with pytest.raises(InternalServerError) as caught:
            await api.get("/a")
        assert len(api.waits) == 2
    assert [sent.attempt for sent in script.requests] == [0, 1, 1, 2, 2]
    assert caught.value.retries_taken == 2


async def test_a_lost_hop_is_tried_again_from_that_hop() -> None:
    """A failure at a hop repeats that hop, not the hops before it."""
    script = Script(to("/v1/b"), APIConnectionError("lost"), reply(200))
    async with Client(BASE, transport=script) as api:
        await api.get("/a")
    assert [sent.url.path for sent in script.requests] == ["/v1/a", "/v1/b", "/v1/b"]


async def test_the_history_has_the_hops() -> None:
    """``response.history`` has every redirect, oldest first, closed."""
    script = Script(to("/v1/b", 301), to("/v1/c", 307), reply(200))
    async with Client(BASE, transport=script) as api:
        response = await api.get("/a", AsyncAPIResponse[Any])
    assert [(hop.status, hop.url.path) for hop in response.history] == [(301, "/v1/a"), (307, "/v1/b")]
    assert all(hop.is_closed for hop in response.history if isinstance(hop, AsyncAPIResponse))
    assert response.url.path == "/v1/c"
    assert response.request.url.path == "/v1/c"


async def test_a_redirect_is_closed_before_the_next_hop() -> None:
    """A followed response holds no connection, even of a stream."""
    script = Script(to("/v1/b"), to("/v1/c"), reply(200))
    response = await fold(default_chain(), script)(request(stream=True))
    assert script.open_responses == 1
    await response.close()
    assert script.open_responses == 0


async def test_the_body_of_a_redirect_is_bounded() -> None:
    """A redirect with a body above ``max_body`` is an error, and not followed."""
    script = Script(respond(302, body=b"x" * 100, headers={"Location": "/v1/b"}), reply(200))
    async with Client(BASE, transport=script, max_body=50) as api:
        with pytest.raises(BodyTooLargeError):
            await api.get("/a")
    assert len(script.requests) == 1


# --- headers and other origins


KEPT = {"Accept": "text/x", "Accept-Language": "de", "User-Agent": "me/1", "Content-Type": "text/plain"}
PERSONAL = {
    "Authorization": "s",
    "Cookie": "s",
    "Proxy-Authorization": "s",
    "X-API-Key": "s",
    "Private-Token": "s",
    "Ocp-Apim-Subscription-Key": "s",
    "Idempotency-Key": "s",
    "X-Amz-Security-Token": "s",
    "Referer": "s",
    "Origin": "s",
    "Host-Header": "s",
    "Acceptor": "s",
    "User-Agent-Token": "s",
    "X-Content-Key": "s",
}


async def test_only_neutral_headers_cross_origins() -> None:
    """A hop to another origin keeps only Accept, User-Agent and Content headers."""
    script = Script(to(f"{AWAY}/x"), reply(200))
    await follow(script, request(headers=CIMultiDict({**KEPT, **PERSONAL})))
    assert dict(script.last.headers) == KEPT


def mixed(name: str) -> st.SearchStrategy[str]:
    """*name* in any case."""
    return st.tuples(*[st.sampled_from([letter.lower(), letter.upper()]) for letter in name]).map("".join)


@given(
    names=st.lists(st.sampled_from(sorted(PERSONAL)).flatmap(mixed), min_size=1, max_size=6),
    own=st.booleans(),
    by_redirect=st.booleans(),
)
def test_nothing_personal_crosses_in_any_case_and_number(
    names: list[str], own: bool, by_redirect: bool
) -> None:
    """A header in any case, and however often it occurs, does not reach another origin."""
    headers: CIMultiDict[str] = CIMultiDict([(name, "hunter2") for name in (*names, *names)])
    handed = request(path="/v1/things" if by_redirect else f"{AWAY}/x", headers=headers)
    if own:  # as headers of the call itself, which auth would merge over the others again
        handed._call_headers = tuple((name, ("hunter2",)) for name in names)
    script = Script(to(f"{AWAY}/x"), reply(200)) if by_redirect else Script(reply(200))
    auth = APIKeyAuth("hunter2", param="key")
    chain = default_chain(auth=auth, default_headers={"X-Default": "hunter2"})
    asyncio.run(_run(chain, script, handed))
    assert str(script.last.url) == f"{AWAY}/x"
    assert "hunter2" not in str(script.last.headers)


async def _run(chain: Any, script: Script, handed: APIRequest) -> None:
    await fold(chain, script)(handed)


async def test_the_way_back_to_the_own_origin_has_everything_again() -> None:
    """A hop that leads back to the client's origin has the headers that the other origin did not get."""
    script = Script(to(f"{AWAY}/x"), to(f"{BASE}/back"), reply(200))
    async with Client(BASE, transport=script, auth=BearerAuth("abc"), default_headers={"X-D": "1"}) as api:
        await api.get("/things", headers={"X-Mine": "2"})
    names = [{"Authorization", "X-D", "X-Mine"} & set(sent.headers) for sent in script.requests]
    assert names == [{"Authorization", "X-D", "X-Mine"}, set(), {"Authorization", "X-D", "X-Mine"}]


async def test_trusted_origins_see_everything() -> None:
    """A hop to a trusted origin keeps headers and body."""
    script = Script(to("https://a.example.org/x", 307), reply(200))
    trusted = ["https://*.example.org"]
    async with Client(BASE, transport=script, auth=BearerAuth("abc"), trusted_origins=trusted) as api:
        await api.put("/things", content=b"x", headers={"X-Mine": "1"})
    assert script.last.headers["Authorization"] == "Bearer abc"
    assert script.last.headers["X-Mine"] == "1"
    assert script.bodies == [b"x", b"x"]


@pytest.mark.parametrize("status", [307, 308])
async def test_a_body_does_not_go_to_another_origin(status: int) -> None:
    """A 307 or 308 that would send the body to another origin is refused, and the error names the remedy."""
    script = Script(to(f"{AWAY}/x", status), reply(200))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(TooManyRedirectsError, match="trusted_origins"):
            await api.post("/things", json={"secret": "hunter2"})
    assert len(script.requests) == 1


async def test_a_body_goes_to_another_spelling_of_its_origin() -> None:
    """A 307 to the same host in upper case, with the default port, gets the body (RFC 6454 §5)."""
    script = Script(to("https://FILES.example:443/b", 307), reply(200))
    async with Client(BASE, transport=script) as api:
        await api.post("https://files.example/a", json={"a": 1})
    assert script.bodies == [b'{"a":1}'] * 2


async def test_a_get_goes_to_another_origin_without_the_body() -> None:
    """A POST that becomes a GET may be redirected to another origin, without the body and its headers."""
    script = Script(to(f"{AWAY}/x", 303), reply(200))
    async with Client(BASE, transport=script, idempotency_header="Idempotency-Key") as api:
        await api.post("/things", json={"secret": "hunter2"})
    assert calls(script)[1] == f"GET {AWAY}/x"
    assert script.bodies[1] == b""
    assert not {"Idempotency-Key", "Content-Type"} & set(script.last.headers)


async def test_a_conflict_of_another_origin_is_not_tried_again() -> None:
    """An idempotency key counts only where it is sent: a 409 of another origin is not retried for it."""
    script = Script(to(f"{AWAY}/x", 307), reply(409))
    async with Client(BASE, transport=script, idempotency_header="Idempotency-Key") as api:
        with pytest.raises(APIStatusError):
            await api.post("/things")
        assert api.waits == []


async def test_an_absolute_url_is_another_origin_from_the_start() -> None:
    """An absolute URL of another origin is requested without personal headers, including those of the
    call.
    """
    script = Script()
    async with Client(
        BASE, transport=script, auth=BearerAuth("abc"),
        default_headers={"X-D": "1", "Accept-Language": "de"}, default_params={"tenant": "7"},
    ) as api:  # fmt: skip
        await api.get(f"{AWAY}/x", headers={"Authorization": "Mine", "X-Mine": "2", "Accept": "text/x"})
    assert script.urls == [f"{AWAY}/x"]
    names = {name for name in script.last.headers if name not in {"User-Agent", "Accept-Encoding"}}
    assert names == {"Accept", "Accept-Language"}
    assert script.last.headers["Accept"] == "text/x"


async def test_another_origin_is_protected_from_without_following_too() -> None:
    """An absolute URL of another origin gets no personal headers, even if redirects are switched off."""
    script = Script()
    async with Client(BASE, transport=script, follow_redirects=False, default_headers={"X-D": "1"}) as api:
        await api.get(f"{AWAY}/x", headers={"X-Mine": "2"})
    assert not {"X-D", "X-Mine"} & set(script.last.headers)


async def test_another_port_and_another_scheme_are_another_origin() -> None:
    """An origin is scheme, host and port."""
    for url in ("https://api.example.com:8443/x", "http://api.example.com/x", "https://example.com/x"):
        script = Script()
        await follow(script, request(path=url, headers=CIMultiDict({"X-Mine": "1"})))
        assert "X-Mine" not in script.last.headers, url


async def test_the_request_that_was_handed_in_is_the_hops_own() -> None:
    """Headers removed from a hop to another origin stay on the request that other middlewares hold."""
    seen: list[APIRequest] = []

    async def outer(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
        seen.append(request.copy())
        response: AsyncAPIResponse[Any] = await handler(request.copy())
        seen.append(request)
        return response

    script = Script(to(f"{AWAY}/x"), reply(200))
    async with Client(BASE, transport=script, middlewares=[outer]) as api:
        await api.get("/things", headers={"X-Mine": "1"})
    assert seen[0].headers == seen[1].headers
    assert seen[0].url == seen[1].url


async def test_an_error_about_a_redirect_names_no_secret() -> None:
    """The message has method and place, but neither the Location nor a query."""
    script = Script(to("file:///hunter2"))
    with pytest.raises(TooManyRedirectsError) as caught:
        await follow(script, request(path="/v1/things?token=hunter2"))
    assert "hunter2" not in str(caught.value)
    assert "GET https://api.example.com/v1/things" in str(caught.value)
    assert caught.value.request is not None
