"""Mistakes that would go unnoticed: texts instead of True and False, and invalid names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from helpers import BASE, Client, Script, reply

from aioapiclient import (
    AiohttpTransport,
    APIKeyAuth,
    AuthenticationError,
    BearerAuth,
    InvalidRequestError,
    LinkHeaderPage,
    Token,
    default_chain,
)
from aioapiclient.middleware import AuthMiddleware, HeadersMiddleware, RedirectMiddleware, RetryMiddleware

FLAGS: dict[str, Callable[[Any], object]] = {
    "follow_redirects": lambda value: Client(BASE, follow_redirects=value),
    "strict_response_validation": lambda value: Client(BASE).with_options(strict_response_validation=value),
    "allow_insecure": lambda value: RedirectMiddleware(allow_insecure=value),
    "trust_env": lambda value: AiohttpTransport(trust_env=value),
    "prefetch": lambda value: Client(BASE).get_api_list("/x", int, LinkHeaderPage, prefetch=value),
}


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", ["no", "false", 0, 1, None], ids=repr)
def test_what_is_true_or_false_takes_nothing_else(name: str, value: Any) -> None:
    """An option that is a bool refuses other types: ``"no"`` and ``"false"`` would count as True."""
    FLAGS[name](value=True)
    FLAGS[name](value=False)
    with pytest.raises(TypeError, match=f"{name} must be True or False, not (str|0|1|None)"):
        FLAGS[name](value)


@pytest.mark.parametrize("name", ["follow_redirects", "idempotent", "stream"])
async def test_the_flags_of_a_call_take_nothing_else(name: str) -> None:
    """So do those of one call, before anything is sent."""
    script = Script()
    options: dict[str, Any] = {name: "no"}
    async with Client(BASE, transport=script) as api:
        with pytest.raises(TypeError, match=f"{name} must be True or False, not str"):
            await api.get("/x", **options)

    assert script.requests == []


async def test_the_flags_of_a_download_take_nothing_else(tmp_path: Any) -> None:
    """So does `resume` of a download, which then writes nothing."""
    wrong: Any = "no"
    async with Client(BASE, transport=Script()) as api, api.open("GET", "/x") as response:
        with pytest.raises(TypeError, match="resume must be True or False, not str"):
            await response.write_to_file(tmp_path / "x", resume=wrong)

    assert list(tmp_path.iterdir()) == []


# --- credentials


@pytest.mark.parametrize("token", ["Bearer abc", "bearer abc", "Token abc", "abc def"])
def test_a_token_has_no_white_space(token: str) -> None:
    """A token with a space in it is refused: it holds a scheme, which `BearerAuth` adds itself."""
    with pytest.raises(
        InvalidRequestError, match="must not contain white space; omit the 'Bearer' prefix"
    ) as caught:
        BearerAuth(token)

    assert "abc" not in str(caught.value)


async def test_a_token_of_a_provider_has_no_white_space() -> None:
    """So is one that a provider returns, text or `Token`."""
    script = Script()

    async def text() -> str:
        return "Bearer abc"

    async def token() -> Token:
        return Token("Bearer abc", 3600)

    for provider in (text, token):
        async with Client(BASE, auth=BearerAuth(provider), transport=script) as api:
            with pytest.raises(InvalidRequestError, match="must not contain white space"):
                await api.get("/x")

    assert script.requests == []


async def test_a_key_may_have_a_scheme() -> None:
    """An API key in a custom header may have a scheme before it, as some APIs require."""
    script = Script(reply(401))
    async with Client(BASE, auth=APIKeyAuth("GenieKey abc", header="Authorization"), transport=script) as api:
        with pytest.raises(AuthenticationError):
            await api.get("/x")

    assert script.last.headers["Authorization"] == "GenieKey abc"


# --- names and other texts

REFUSED: list[tuple[str, Callable[[], object], type[Exception], str]] = [
    ("version", lambda: Client(BASE, version=""), InvalidRequestError, "version '' is not a token"),
    ("version", lambda: Client(BASE, version="1 0"), InvalidRequestError, "version '1...' is not a token"),
    ("version", lambda: Client(BASE, version=1.0), TypeError, "version must be a str, not float"),  # type: ignore[arg-type]
    (
        "request_id_header",
        lambda: Client(BASE, request_id_header="x request id"),
        InvalidRequestError,
        "request_id_header 'x...' is not a token",
    ),
    ("param", lambda: APIKeyAuth("k", param=""), InvalidRequestError, "param must be the name of a query"),
    ("param", lambda: APIKeyAuth("k", param=5), TypeError, "param must be a str, not int"),  # type: ignore[arg-type]
    ("max_redirects", lambda: RedirectMiddleware(max_redirects=-1), InvalidRequestError, "must be 0 or more"),
    ("retry", lambda: RetryMiddleware(3), TypeError, "policy must be a RetryPolicy, not int"),  # type: ignore[arg-type]
    ("retry", lambda: default_chain(retry=3), TypeError, "policy must be a RetryPolicy, not int"),  # type: ignore[arg-type]
    ("sleep", lambda: RetryMiddleware(sleep=3), TypeError, "sleep must be an async function"),  # type: ignore[arg-type]
    ("auth", lambda: default_chain(auth="token"), TypeError, "auth str has no async authenticate"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("name", "make", "error", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_could_mean_nothing_is_refused(
    name: str, make: Callable[[], object], error: type[Exception], message: str
) -> None:
    """An invalid name, and a setting of a wrong type, are refused where they are passed."""
    with pytest.raises(error, match=re.escape(message)):
        make()


@pytest.mark.parametrize("link", [AuthMiddleware, HeadersMiddleware, RedirectMiddleware, default_chain])
@pytest.mark.parametrize("given", ["https://a.example", [b"https://a.example"], None], ids=repr)
def test_trusted_origins_are_several_texts(link: Any, given: Any) -> None:
    """`trusted_origins` of a link is an iterable of texts: one text would be many."""
    with pytest.raises(TypeError, match="trusted_origins must"):
        link(trusted_origins=given)


@pytest.mark.parametrize("key", ["", " "])
async def test_an_idempotency_key_is_not_empty(key: str) -> None:
    """An empty idempotency key is refused: the server could not recognise a repeated request."""
    script = Script()
    async with Client(BASE, idempotency_header="Idempotency-Key", transport=script) as api:
        with pytest.raises(InvalidRequestError, match="idempotency_key must not be empty"):
            await api.post("/x", idempotency_key=key)

    assert script.requests == []


@pytest.mark.parametrize("name", ["status_of", "result"])
async def test_a_member_to_poll_for_has_a_name(name: str) -> None:
    """An empty member name of a poll is refused immediately, and the server is not blamed for it."""
    script = Script()
    options: dict[str, Any] = {name: ""}
    async with Client(BASE, transport=script) as api:
        with pytest.raises(InvalidRequestError, match=f"{name} must be the name of a member, not empty"):
            await api.poll("/x", **options)

    assert script.requests == []
