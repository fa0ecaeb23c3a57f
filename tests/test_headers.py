"""Header layers: which headers may be sent, how layers are merged, and which one wins."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Any

import msgspec
import pytest
from helpers import BASE, Client, Script, reply
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict

from aioapiclient import (
    OMIT,
    APIKeyAuth,
    APIRequest,
    AsyncAPIResponse,
    BasicAuth,
    BearerAuth,
    InvalidRequestError,
    JSONLStream,
    RateLimitError,
)
from aioapiclient._headers import check_layer, overlay
from aioapiclient.middleware import HeadersMiddleware
from aioapiclient.testing import respond

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


async def sent(headers: Any = None, **client: Any) -> CIMultiDict[str]:
    """The headers of a GET with *headers*, by a client with these options, on the wire."""
    script = Script()
    async with Client(BASE, transport=script, **client) as api:
        await api.get("/x", **({} if headers is None else {"headers": headers}))
    return script.last.headers


# --- one layer


@pytest.mark.parametrize("name", ["", "A B", "A:", "A\r\n", "Ä", "(a)", "a,b", "a/b"])
def test_a_name_is_a_token(name: str) -> None:
    """A header name that is not a token of RFC 9110 is refused."""
    with pytest.raises(InvalidRequestError, match=r"is not a token \(RFC 9110 §5.6.2\)"):
        check_layer({name: "x"})


@given(st.text(TOKEN, min_size=1, max_size=20).map(lambda name: f"x{name}"))
def test_any_token_is_a_name(name: str) -> None:
    """Every token is accepted as a name, as written."""
    assert check_layer({name: "v"}) == ((name, ("v",)),)


@given(st.text(TOKEN, max_size=4), st.characters(exclude_characters=TOKEN), st.text(TOKEN, max_size=4))
def test_a_value_that_is_not_a_token_is_never_a_name(before: str, wrong: str, after: str) -> None:
    """One character that a token cannot contain is enough to refuse a name."""
    with pytest.raises(InvalidRequestError):
        check_layer({before + wrong + after: "v"})


@pytest.mark.parametrize("control", [*map(chr, range(0x20)), "\x7f"])
def test_a_value_holds_no_control_character(control: str) -> None:
    """A control character in a value is refused, except the tab, and the message does not show the value."""
    if control == "\t":
        assert check_layer({"A": "a\tb"}) == (("A", ("a\tb",)),)
        return
    with pytest.raises(InvalidRequestError, match="header A contains a control character") as raised:
        check_layer({"A": f"s3cr3t{control}"})

    assert "s3cr3t" not in str(raised.value)


def test_a_value_is_text_that_utf8_can_say() -> None:
    """A value may be any text that UTF-8 can encode; a lone surrogate is refused."""
    assert check_layer({"A": "Zürich"}) == (("A", ("Zürich",)),)
    with pytest.raises(InvalidRequestError, match="header A cannot be encoded as UTF-8"):
        check_layer({"A": "\ud800"})


@pytest.mark.parametrize("value", [None, 1, b"x", True, ["a"]])
def test_a_value_of_another_type_is_refused(value: Any) -> None:
    """A value that is not a str is a TypeError that names the header, including None and numbers."""
    with pytest.raises(TypeError, match="the value of header A must be a str, not "):
        check_layer({"A": value})


@pytest.mark.parametrize("headers", [[("A", "b")], "A: b", 5])
def test_a_layer_is_a_mapping(headers: Any) -> None:
    """A layer that is not a mapping is a TypeError."""
    with pytest.raises(TypeError, match="headers must be a mapping of names to values"):
        check_layer(headers)
    with pytest.raises(TypeError, match="a header name must be a str, not int"):
        check_layer({1: "x"})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "name",
    [
        "Content-Length", "content-length", "Transfer-Encoding", "Host", "Connection", "TE", "Upgrade",
        "Trailer", "Proxy-Authorization", "proxy-connection", "Proxy-Anything",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", ["1", OMIT])
async def test_framing_headers_are_refused(name: str, value: Any) -> None:
    """A header that frames the message or belongs to the connection is refused, to be set and to be
    removed.
    """
    with pytest.raises(InvalidRequestError, match=f"header {name} cannot be set by a caller"):
        await sent({name: value})
    with pytest.raises(InvalidRequestError, match=f"header {name} cannot be set by a caller"):
        Client(BASE, default_headers={name: value})


@pytest.mark.parametrize(
    "headers",
    [
        {"A": "1", "B": "2"},
        MappingProxyType({"A": "1", "B": "2"}),
        CIMultiDict({"A": "1", "B": "2"}),
        CIMultiDictProxy(CIMultiDict({"A": "1", "B": "2"})),
    ],
    ids=["dict", "proxy", "multidict", "multidict proxy"],
)
async def test_any_mapping_is_a_layer(headers: Any) -> None:
    """Any mapping is accepted as a layer, by the client and by the call, and is not changed."""
    before = list(headers.items())
    own = await sent(headers)
    default = await sent(default_headers=headers)

    assert (own["A"], own["B"]) == (default["A"], default["B"]) == ("1", "2")
    assert list(headers.items()) == before


async def test_a_multidict_repeats() -> None:
    """A name that a multidict contains twice is sent twice, and replaces the values of lower layers."""
    repeated = MultiDict([("A", "1"), ("a", "2")])

    assert (await sent(repeated, default_headers={"A": "0"})).getall("A") == ["1", "2"]
    assert (await sent(default_headers=repeated)).getall("A") == ["1", "2"]
    assert (await sent({"A": "3"}, default_headers=repeated)).getall("A") == ["3"]


def test_a_dict_with_a_name_twice_keeps_the_last() -> None:
    """Two spellings of one name in a dict are one header: the last wins."""
    assert check_layer({"A": "1", "a": "2"}) == (("a", ("2",)),)


def test_an_overlay_replaces_whatever_the_case() -> None:
    """A layer replaces all values of a name in any spelling, and removes a name by OMIT."""
    headers = CIMultiDict([("A", "1"), ("a", "2"), ("B", "3"), ("C", "4")])
    overlay(headers, check_layer({"a": "5", "b": OMIT}))

    assert sorted(headers.items()) == [("C", "4"), ("a", "5")]


# --- Accept

READS_JSON = "application/json, application/problem+json"


class Thing(msgspec.Struct):
    id: int = 0


@pytest.mark.parametrize(
    ("cast_to", "accept"),
    [
        (Any, READS_JSON),
        (Thing, READS_JSON),
        (Thing | None, READS_JSON),
        (AsyncAPIResponse[Thing], READS_JSON),
        (AsyncAPIResponse, READS_JSON),
        (Thing | str, READS_JSON),
        (str, "*/*"),
        (str | None, "*/*"),
        (Annotated[str, ["not", "hashable"]], "*/*"),
        (bytes, "*/*"),
        (None, "*/*"),
        (AsyncAPIResponse[str], "*/*"),
        (AsyncAPIResponse[None], "*/*"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"timeout": 5}])
async def test_accept_says_what_can_be_read(cast_to: Any, accept: str, options: Any) -> None:
    """A type is requested as JSON, with problems as an alternative; text, bytes and None accept any type."""
    script = Script(reply(200, {"id": 7}))
    async with Client(BASE, transport=script) as api:
        for method in ("GET", "post"):
            await api.request(method, "/x", cast_to, **options)
            assert script.last.headers["Accept"] == accept


async def test_accept_of_what_has_no_type() -> None:
    """A HEAD and an unread response accept any type, JSON lines problems too, and the call's own Accept
    wins.
    """
    script = Script(reply(200, {"id": 7}))
    async with Client(BASE, transport=script) as api:
        await api.head("/x")
        await api.request("Head", "/x", Thing | None)
        async with api.open("GET", "/x"):
            pass
        assert [request.headers["Accept"] for request in script.requests] == ["*/*"] * 3
        async with api.stream("GET", "/x", stream_cls=JSONLStream):
            pass
        assert "application/problem+json" in script.last.headers["Accept"]
        await api.get("/x", Thing, headers={"Accept": "application/vnd.x+json"})
        assert script.last.headers["Accept"] == "application/vnd.x+json"


async def test_a_server_that_negotiates_answers_its_error() -> None:
    """Servers that send problems or text only to clients that accept them do so."""

    def answer(request: APIRequest) -> Any:
        accept = request.headers["Accept"]
        if request.url.path.endswith("/text"):
            wanted = respond(200, text="hello") if "*/*" in accept else respond(406)
        else:
            problem = respond(
                429, body=b'{"title":"Slow"}', headers={"Content-Type": "application/problem+json"}
            )
            wanted = problem if "application/problem+json" in accept else reply(200, {"id": 7})
        return wanted(request)  # type: ignore[operator]

    async with Client(BASE, transport=Script(answer), max_retries=0) as api:
        assert await api.get("/text", str) == "hello"
        with pytest.raises(RateLimitError):
            await api.get("/x", Thing)


# --- the layers together


async def test_the_order_of_the_layers() -> None:
    """Library, then the client's defaults, then auth, then the call: each overrides the one before."""
    layers: dict[str, Any] = {}
    assert (await sent())["Accept"] == "application/json, application/problem+json"
    layers["default_headers"] = {"accept": "text/csv", "authorization": "default", "user-agent": "mine"}
    headers = await sent(**layers)
    assert (headers["Accept"], headers["Authorization"], headers["User-Agent"]) == (
        "text/csv",
        "default",
        "mine",
    )
    layers["auth"] = BearerAuth("auth")
    assert (await sent(**layers)).getall("Authorization") == ["Bearer auth"]
    headers = await sent({"ACCEPT": "*/*", "AUTHORIZATION": "call"}, **layers)
    assert headers.getall("Accept") == ["*/*"]
    assert headers.getall("Authorization") == ["call"]


@pytest.mark.parametrize("name", ["User-Agent", "user-agent", "Accept", "A"])
async def test_omit_in_the_defaults_removes_what_the_library_sends(name: str) -> None:
    """`OMIT` in `default_headers` removes a header that the library would send."""
    assert name not in await sent(default_headers={name: OMIT})


@pytest.mark.parametrize("name", ["User-Agent", "Accept", "a", "Authorization", "X-API-Key"])
async def test_omit_in_the_call_removes_any_layer(name: str) -> None:
    """`OMIT` in the headers of a call removes the header of any layer, the credential of auth included."""
    auth = APIKeyAuth("k") if name == "X-API-Key" else BearerAuth("t")

    assert name in await sent(default_headers={"A": "1"}, auth=auth)
    assert name not in await sent({name: OMIT}, default_headers={"A": "1"}, auth=auth)


async def test_omit_of_the_content_type() -> None:
    """`OMIT` for Content-Type sends a body without one, in a call as in the defaults."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        await api.post("/x", json=1, headers={"Content-Type": OMIT})
        await api.with_options(default_headers={"Content-Type": OMIT}).post("/x", json=1)

    assert ["Content-Type" in request.headers for request in script.requests] == [False, False]


async def test_the_call_sets_again_what_the_defaults_omit() -> None:
    """A call may send a header that `default_headers` omits."""
    assert (await sent({"User-Agent": "call"}, default_headers={"User-Agent": OMIT}))["User-Agent"] == "call"


async def test_the_headers_of_the_call_hold_on_every_attempt() -> None:
    """The call's own headers and omissions are the same on every attempt."""
    script = Script(reply(503), reply(503), reply())
    async with Client(BASE, auth=BasicAuth("u", "p"), transport=script) as api:
        await api.get("/x", headers={"Authorization": OMIT, "A": "b"})

    assert [("Authorization" in request.headers, request.headers["A"]) for request in script.requests] == [
        (False, "b")
    ] * 3


async def test_a_middleware_may_add_headers() -> None:
    """A header that a middleware sets on its request is sent; the call's headers override only auth."""

    async def add(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
        request.headers["A"] = "middleware"
        request.set_headers({"B": "x", "Accept": OMIT})
        return await handler(request)  # type: ignore[no-any-return]

    headers = await sent({"A": "call"}, middlewares=[add])
    assert (headers["A"], headers["B"], "Accept" in headers) == ("middleware", "x", False)


async def test_the_client_keeps_its_layer_to_itself() -> None:
    """Changes that one call makes to its headers do not affect the next."""
    script = Script()

    async def add(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
        request.headers.add("A", "again")
        return await handler(request)  # type: ignore[no-any-return]

    async with Client(BASE, default_headers={"A": "1"}, middlewares=[add], transport=script) as api:
        await api.get("/x")
        await api.get("/x")

    assert script.last.headers.getall("A") == ["1", "again"]


# --- other origins


async def test_defaults_stay_at_their_origin() -> None:
    """A foreign origin receives only neutral headers, of the client and of the call, and no personal ones."""
    script = Script()
    defaults = {"A": "1", "Accept-Language": "de", "Cookie": "c", "User-Agent": "mine"}
    async with Client(BASE, default_headers=defaults, auth=BearerAuth("t"), transport=script) as api:
        await api.get("https://b.example/x", headers={"X-Own": "1", "Accept": "text/csv"})
        await api.get("https://api.example.com/other", headers={"X-Own": "1"})

    foreign, home = (request.headers for request in script.requests)
    assert dict(foreign) == {"Accept-Language": "de", "User-Agent": "mine", "Accept": "text/csv"}
    assert {"A", "Cookie", "Authorization", "X-Own"} <= set(home)


async def test_a_trusted_origin_gets_all_headers() -> None:
    """An origin in `trusted_origins` gets the same headers as the client's own."""
    script = Script()
    client = Client(
        BASE,
        default_headers={"A": "1"},
        auth=BearerAuth("t"),
        trusted_origins=["https://*.example.com"],
        transport=script,
    )
    async with client as api:
        await api.get("https://files.example.com/x")
        await api.get("https://example.com/x")

    assert ["A" in request.headers for request in script.requests] == [True, False]
    assert ["Authorization" in request.headers for request in script.requests] == [True, False]


async def test_the_middleware_alone_takes_mappings_and_functions() -> None:
    """HeadersMiddleware accepts its layers as mappings, or as functions that it calls at each call."""
    asked: list[int] = []

    def headers() -> dict[str, str]:
        asked.append(1)
        return {"A": "1"}

    middleware = HeadersMiddleware(headers, library={"B": "2", "a": "0"})
    script = Script()
    async with Client(BASE, chain=[middleware], transport=script) as api:
        await api.get("/x")
        await api.get("/x", headers={"B": OMIT})

    accept = "application/json, application/problem+json"
    assert [dict(request.headers) for request in script.requests] == [
        {"User-Agent": api.user_agent, "B": "2", "A": "1", "Accept": accept},
        {"User-Agent": api.user_agent, "A": "1", "Accept": accept},
    ]
    assert asked == [1, 1]
