"""Values of other libraries instead of this library's: the error names the right type."""

from __future__ import annotations

import warnings
from typing import Any

import aiohttp
import backoff
import pytest
from aiohttp import DigestAuthMiddleware
from helpers import BASE, Client, Script

from aioapiclient import AsyncAPIClient, RetryPolicy, default_chain
from aioapiclient.middleware import AuthMiddleware

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # aiohttp 3.14 has other ways
    AIOHTTP_BASIC = aiohttp.BasicAuth("u", "SECRET")

BASIC = r"pass aioapiclient\.BasicAuth\(user, password\)"
# An argument of a client and of a call, a foreign value, and the text of the message.
MEANT: dict[str, tuple[dict[str, Any], str]] = {
    "a pair": ({"auth": ("u", "SECRET")}, f"auth tuple has no async authenticate.*{BASIC}"),
    "a list": ({"auth": ["u", "SECRET"]}, f"auth list has no async authenticate.*{BASIC}"),
    "aiohttp's BasicAuth": (
        {"auth": AIOHTTP_BASIC},
        rf"auth aiohttp\.BasicAuth has no .*{BASIC}",
    ),
    "a token": ({"auth": "SECRET"}, r"auth str has no .*pass aioapiclient\.BearerAuth\(token\)"),
    "aiohttp's digest": (
        {"auth": DigestAuthMiddleware("u", "SECRET")},
        r"auth aiohttp\.DigestAuthMiddleware has no .*AiohttpTransport\(session_middlewares=",
    ),
    "aiohttp's timeout": (
        {"timeout": aiohttp.ClientTimeout(total=5)},
        r"timeout must be an aioapiclient\.Timeout, not aiohttp\.ClientTimeout: its sock_connect is",
    ),
}


@pytest.mark.parametrize(("given", "message"), MEANT.values(), ids=MEANT.keys())
async def test_what_is_not_ours_points_to_ours(given: dict[str, Any], message: str) -> None:
    """A client, a view and a call refuse it alike, without the secret, and nothing is sent."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        calls: list[Any] = [
            lambda: AsyncAPIClient(BASE, **given),
            lambda: api.with_options(**given),
        ]
        for call in calls:
            with pytest.raises(TypeError, match=message) as caught:
                call()
            assert "SECRET" not in str(caught.value)
        with pytest.raises(TypeError, match=message) as caught:
            await api.get("/x", **given)
        assert "SECRET" not in str(caught.value)

    assert script.requests == []


@pytest.mark.parametrize(("given", "message"), list(MEANT.values())[:5], ids=list(MEANT)[:5])
def test_a_chain_refuses_it_too(given: dict[str, Any], message: str) -> None:
    """So does a hand-made chain."""
    with pytest.raises(TypeError, match=message):
        default_chain(**given)
    with pytest.raises(TypeError, match=message):
        AsyncAPIClient(BASE, chain=[AuthMiddleware(given["auth"])])


@pytest.mark.parametrize("wait", [backoff.expo(), backoff.constant(1), 5, 0.5])
def test_a_wait_is_a_function(wait: Any) -> None:
    """A generator object, or a number, raises an error that suggests a function that makes one."""
    with pytest.raises(TypeError, match=r"wait must be a function, not \w+; pass backoff\.expo itself"):
        RetryPolicy(wait=wait)

    RetryPolicy(wait=backoff.expo)
