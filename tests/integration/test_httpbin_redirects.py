"""httpbin: redirects within one origin, and to another, which is httpbin's second port."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import Client
from integration.echoes import Echo, Headers, Origins

from aioapiclient import (
    APIKeyAuth,
    APIStatusError,
    AsyncAPIResponse,
    BasicAuth,
    BearerAuth,
    RequestNotReplayableError,
    TooManyRedirectsError,
)

CREDENTIALS = {"X-Tenant": "s3cret", "Cookie": "session=s3cret"}


@pytest.mark.parametrize("kind", ["redirect", "relative-redirect", "absolute-redirect"])
@pytest.mark.parametrize("hops", [1, 3])
async def test_redirects_are_followed(api: Client, kind: str, hops: int) -> None:
    """Redirects are followed, absolute and relative, and the response has its history."""
    response = await api.get(f"/{kind}/{hops}", AsyncAPIResponse[Echo])
    echo = await response.parse()

    assert echo.url == f"{str(api.base_url).rstrip('/')}/get"
    assert [hop.status for hop in response.history] == [302] * hops


async def test_ten_hops_are_followed(api: Client) -> None:
    """Ten hops, the most that are followed, end well."""
    response = await api.get("/relative-redirect/10", AsyncAPIResponse[Echo])

    assert len(response.history) == 10


async def test_eleven_hops_are_too_many(api: Client) -> None:
    """The eleventh hop raises `TooManyRedirectsError`."""
    with pytest.raises(TooManyRedirectsError, match="more than 10 redirects"):
        await api.get("/relative-redirect/11")


async def test_a_redirect_that_is_not_followed_is_an_error(api: Client) -> None:
    """Without following, a 302 is an error that has its Location."""
    with pytest.raises(APIStatusError) as raised:
        await api.get("/relative-redirect/1", follow_redirects=False)

    assert raised.value.status == 302
    assert raised.value.response.headers["Location"] == "/get"


async def test_a_redirect_may_be_the_answer(api: Client) -> None:
    """A call that names 302 among its ``ok_statuses`` gets the redirect itself."""
    response = await api.get(
        "/relative-redirect/1", AsyncAPIResponse[None], follow_redirects=False, ok_statuses={302}
    )

    assert response.status == 302
    assert str(response.location) == f"{str(api.base_url).rstrip('/')}/get"


async def test_credentials_follow_within_the_origin(httpbin: Origins) -> None:
    """Within its origin, a redirected call keeps its credential and its headers."""
    async with Client(httpbin.home, auth=BearerAuth("s3cret"), default_headers=CREDENTIALS) as api:
        echo = await api.get("/redirect-to", Headers, params={"url": "/headers"})

    assert echo.headers["Authorization"] == "Bearer s3cret"
    assert echo.headers["X-Tenant"] == "s3cret"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("auth", [BearerAuth("s3cret"), BasicAuth("joe", "s3cret"), APIKeyAuth("s3cret")])
async def test_no_credential_crosses_origins(httpbin: Origins, auth: Any, status: int) -> None:
    """Whatever the redirect and the credential, another origin, even one that differs only in its port,
    receives none of it.
    """
    async with Client(httpbin.home, auth=auth, default_headers=CREDENTIALS) as api:
        response = await api.get(
            "/redirect-to",
            AsyncAPIResponse[Headers],
            params={"url": f"{httpbin.other}/headers", "status_code": status},
            headers={"X-Mine": "s3cret", "Accept-Language": "de"},
        )
        echo = await response.parse()

    assert str(response.url) == f"{httpbin.other}/headers"
    assert "s3cret" not in str(echo.headers)
    assert echo.headers.keys().isdisjoint({"Authorization", "Cookie", "X-Api-Key", "X-Mine", "X-Tenant"})
    assert echo.headers["Accept-Language"] == "de"


async def test_a_key_in_the_query_stays_at_its_origin(httpbin: Origins) -> None:
    """A key in the query, and the client's own parameters, do not cross origins either."""
    auth = APIKeyAuth("s3cret", param="api_key")
    async with Client(httpbin.home, auth=auth, default_params={"tenant": "s3cret"}) as api:
        echo = await api.get("/redirect-to", Echo, params={"url": f"{httpbin.other}/get"})

    assert echo.args == {}


async def test_a_trusted_origin_gets_the_credential(httpbin: Origins) -> None:
    """An origin that is named in ``trusted_origins`` gets the credential."""
    async with Client(httpbin.home, auth=BearerAuth("s3cret"), trusted_origins=[httpbin.other]) as api:
        echo = await api.get("/redirect-to", Headers, params={"url": f"{httpbin.other}/headers"})

    assert echo.headers["Authorization"] == "Bearer s3cret"


async def test_a_chain_that_comes_home_has_its_credential_again(httpbin: Origins) -> None:
    """A redirect to another origin and back: each hop passes auth with its own origin."""
    back = f"{httpbin.other}/redirect-to?url={httpbin.home}/headers"
    async with Client(httpbin.home, auth=BearerAuth("s3cret")) as api:
        response = await api.get("/redirect-to", AsyncAPIResponse[Headers], params={"url": back})
        echo = await response.parse()

    assert len(response.history) == 2
    assert "Authorization" not in response.history[1].request.headers
    assert echo.headers["Authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_post_becomes_a_get(api: Client, status: int) -> None:
    """POST becomes GET on 301, 302 and 303, without its body."""
    echo = await api.post(
        "/redirect-to", Echo, params={"url": "/anything", "status_code": status}, json={"a": 1}
    )

    assert (echo.method, echo.data) == ("GET", "")
    assert "Content-Type" not in echo.headers


@pytest.mark.parametrize("status", [307, 308])
async def test_a_post_is_sent_again(api: Client, status: int) -> None:
    """307 and 308 send method and body again."""
    echo = await api.post(
        "/redirect-to", Echo, params={"url": "/anything", "status_code": status}, json={"a": 1}
    )

    assert (echo.method, echo.json) == ("POST", {"a": 1})


async def test_a_body_does_not_cross_origins(httpbin: Origins) -> None:
    """A 307 that would send the body to another origin is refused."""
    target = {"url": f"{httpbin.other}/anything", "status_code": 307}
    async with Client(httpbin.home) as api:
        with pytest.raises(TooManyRedirectsError, match="the body would go to another origin"):
            await api.post("/redirect-to", Echo, params=target, json={"a": 1})


async def test_a_body_goes_to_a_trusted_origin(httpbin: Origins) -> None:
    """A 307 sends the body to a trusted origin."""
    target = {"url": f"{httpbin.other}/anything", "status_code": 307}
    async with Client(httpbin.home, trusted_origins=[httpbin.other]) as api:
        echo = await api.post("/redirect-to", Echo, params=target, json={"a": 1})

    assert echo.json == {"a": 1}


async def test_a_body_that_is_spent_is_not_sent_empty(api: Client) -> None:
    """A body that can be sent once raises on a 307, instead of going empty."""

    async def chunks() -> Any:
        yield b"once"

    with pytest.raises(RequestNotReplayableError):
        await api.post(
            "/redirect-to", Echo, params={"url": "/anything", "status_code": 307}, content=chunks()
        )
