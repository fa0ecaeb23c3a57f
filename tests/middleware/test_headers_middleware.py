"""The layers of headers: library, client, call, and which of them other origins receive."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import BASE, Client, Script, reply
from multidict import CIMultiDict

from aioapiclient import OMIT, APIRequest, AsyncAPIResponse, Body, InvalidRequestError
from aioapiclient._url.base import BaseURL
from aioapiclient.middleware import HeadersMiddleware

AWAY = "https://evil.example.net/x"


async def sent(middleware: HeadersMiddleware, url: str = f"{BASE}/things", **fields: Any) -> CIMultiDict[str]:
    """Return the resulting headers."""
    script = Script()
    await middleware(APIRequest("GET", url, _base_url=BaseURL(BASE), **fields), script)
    return script.last.headers


async def test_later_layers_win() -> None:
    """The call overrides the client, and the client the library, whatever the case of the names."""
    middleware = HeadersMiddleware(
        {"x-a": "client", "X-B": "client"}, library={"X-A": "library", "X-B": "library", "X-C": "library"}
    )
    headers = await sent(middleware, headers={"x-B": "call"})
    assert headers.getall("X-A") == ["client"]
    assert headers.getall("X-B") == ["call"]
    assert headers.getall("X-C") == ["library"]


async def test_omit_removes_what_lies_below() -> None:
    """``OMIT`` of the client removes the library's, and that of the call removes the client's."""
    middleware = HeadersMiddleware({"User-Agent": OMIT, "X-A": "client"}, library={"User-Agent": "lib/1"})
    headers = await sent(middleware, headers={"x-a": OMIT})
    assert "User-Agent" not in headers
    assert "X-A" not in headers


@pytest.mark.parametrize("layer", ["client", "call"])
async def test_omit_removes_what_the_library_would_add(layer: str) -> None:
    """``OMIT`` also removes Accept and Content-Type, which the library would add."""
    omitted = {"Accept": OMIT, "content-type": OMIT}
    middleware = HeadersMiddleware(omitted if layer == "client" else None)
    fields: dict[str, Any] = {"headers": omitted} if layer == "call" else {}
    headers = await sent(middleware, body=Body(b"{}", content_type="application/json"), **fields)
    assert "Accept" not in headers
    assert "Content-Type" not in headers


async def test_a_header_can_come_more_than_once() -> None:
    """A multidict of the call keeps all the values of a name, and replaces those of the client."""
    middleware = HeadersMiddleware({"X-A": "client"})
    own = CIMultiDict([("X-A", "1"), ("x-a", "2")])
    headers = await sent(middleware, headers=own)
    assert headers.getall("X-A") == ["1", "2"]


async def test_the_library_says_what_it_would_like() -> None:
    """Accept and Content-Type are there unless a layer has them."""
    body = Body(b"{}", content_type="application/json")
    headers = await sent(HeadersMiddleware(), body=body)
    assert headers["Accept"] == "application/json, application/problem+json"
    assert headers["Content-Type"] == "application/json"
    headers = await sent(HeadersMiddleware({"accept": "text/a", "content-type": "text/b"}), body=body)
    assert headers.getall("Accept") == ["text/a"]
    assert headers.getall("Content-Type") == ["text/b"]


async def test_the_content_type_of_the_call_wins() -> None:
    """The call's Content-Type is sent."""
    script = Script()
    async with Client(BASE, transport=script, default_headers={"Content-Type": "text/default"}) as api:
        await api.post("/things", json={}, headers={"content-type": "application/vnd.x+json"})
    assert script.last.headers.getall("Content-Type") == ["application/vnd.x+json"]


async def test_no_content_type_without_a_body() -> None:
    """A request without a body has no Content-Type."""
    assert "Content-Type" not in await sent(HeadersMiddleware())


async def test_another_origin_sees_the_library_and_what_is_neutral() -> None:
    """Headers of the client are sent to its own origin only, except Accept and User-Agent."""
    middleware = HeadersMiddleware(
        {"X-Key": "s", "Accept-Language": "de", "User-Agent": "me/1", "Content-Language": "de"},
        library={"User-Agent": "lib/1", "X-Platform": "linux"},
    )
    headers = await sent(middleware, AWAY)
    assert headers == {
        "Accept": "application/json, application/problem+json",
        "Accept-Language": "de", "User-Agent": "me/1", "X-Platform": "linux",
    }  # fmt: skip


async def test_another_origin_does_not_see_what_the_client_omits() -> None:
    """A neutral header that the client omits is omitted for other origins too."""
    headers = await sent(HeadersMiddleware({"User-Agent": OMIT}, library={"User-Agent": "lib/1"}), AWAY)
    assert "User-Agent" not in headers


async def test_trusted_origins_see_the_headers_of_the_client() -> None:
    """An origin that matches a trusted pattern is treated like the client's own."""
    middleware = HeadersMiddleware({"X-Key": "s"}, trusted_origins=("https://*.example.net",))
    assert (await sent(middleware, AWAY))["X-Key"] == "s"
    assert "X-Key" not in await sent(middleware, "http://evil.example.net/x")


async def test_headers_that_are_a_function_are_asked_for_at_each_call() -> None:
    """A function is called at each call, and not before the first."""
    asked: list[str] = []

    def ask(name: str) -> dict[str, str]:
        asked.append(name)
        return {f"X-{name}": str(asked.count(name))}

    middleware = HeadersMiddleware(lambda: ask("Client"), library=lambda: ask("Library"))
    assert asked == []
    for _ in range(3):
        headers = await sent(middleware)
        assert headers["X-Client"] == headers["X-Library"] == str(len(asked) // 2)
    assert sorted(asked) == ["Client"] * 3 + ["Library"] * 3


async def test_what_one_call_does_to_its_headers_is_its_own() -> None:
    """Headers that a handler changes are not there in the next call."""
    middleware = HeadersMiddleware({"X-Key": "1"})

    async def vandal(request: APIRequest) -> AsyncAPIResponse[Any]:
        assert request.headers["X-Key"] == "1"
        request.headers["X-Key"] = "2"
        request.headers["X-More"] = "3"
        return AsyncAPIResponse.from_bytes(request)

    for _ in range(2):
        for url in (f"{BASE}/things", AWAY):
            request = APIRequest("GET", url, _base_url=BaseURL(BASE))
            if url != AWAY:
                await middleware(request, vandal)
    assert "X-More" not in await sent(middleware)


BAD_NAMES = ["", "X Y", "X:", "X\r\nY", "Ü", "(x)", "x\x00"]
BAD_VALUES = ["a\nb", "a\r\nX: y", "\x00", "\x7f", "a\x0b"]
FRAMING = ["Content-Length", "transfer-encoding", "HOST", "Connection", "TE", "Upgrade", "Trailer", "Expect"]
FRAMING += ["Proxy-Authorization", "proxy-connection"]


@pytest.mark.parametrize(
    "headers",
    [{name: "v"} for name in BAD_NAMES + FRAMING] + [{"X-A": value} for value in BAD_VALUES],
    ids=repr,
)
async def test_what_http_refuses_is_refused_before_anything_is_sent(headers: dict[str, str]) -> None:
    """Names that are not tokens, control characters and framing headers are refused, on client and call."""
    script = Script()
    with pytest.raises(InvalidRequestError):
        Client(BASE, transport=script, default_headers=headers)
    async with Client(BASE, transport=script) as api:
        with pytest.raises(InvalidRequestError):
            await api.get("/things", headers=headers)
        with pytest.raises(InvalidRequestError):
            APIRequest("GET", BASE, headers)
    assert script.requests == []


async def test_the_same_on_every_attempt() -> None:
    """Headers are merged once per call, and are the same on each attempt."""
    script = Script(reply(500), reply(500), reply(200))
    async with Client(BASE, transport=script, default_headers={"X-D": "1"}) as api:
        await api.get("/things", headers={"X-Mine": "2"})
    first, *others = [dict(request.headers) for request in script.requests]
    assert len(others) == 2
    assert all(headers == first for headers in others)
