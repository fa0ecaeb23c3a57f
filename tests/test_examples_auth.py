"""The credentials under examples/ run, each in its own process, and print the expected output."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from programs import EXAMPLES, load, run
from servers import Exchange, ok, raw_server, response

from aioapiclient import AiohttpTransport, APIRequest, AsyncAPIClient, Body, InvalidRequestError

VECTORS = json.loads((Path(__file__).parent / "cases" / "auth_vectors.json").read_text())


async def test_the_custom_credential() -> None:
    """Ten concurrent calls request one ticket, and ten refused ones another one."""
    assert await run(EXAMPLES / "custom_auth.py") == ["10 calls, 1 ticket", "10 more, 2 tickets"]


async def test_the_signing_credential() -> None:
    """Each attempt is signed again, byte for byte as sent, and a wrong key is refused."""
    assert await run(EXAMPLES / "signing_auth.py") == [
        "placed: a/b c",
        "the wrong key: the signature is wrong",
        "PUT /orders/a%2Fb%20c?q=%C3%A4: signature 1 is good",
        "PUT /orders/a%2Fb%20c?q=%C3%A4: signature 2 is good",
    ]


async def test_the_credential_that_answers_a_challenge() -> None:
    """For a repository's first challenge one token is requested at another origin, however many calls
    wait.
    """
    assert await run(EXAMPLES / "challenge_auth.py") == [
        "library/app latest 1.0 1.1",
        "library/base latest 1.0 1.1",
        "ada asked for repository:library/app:pull of registry",
        "ada asked for repository:library/base:pull of registry",
    ]


@pytest.mark.parametrize("case", VECTORS["challenges"], ids=lambda case: case["source"])
def test_the_challenge_example_reads_the_challenges_of_the_standards(case: dict[str, Any]) -> None:
    """A Bearer challenge is parsed as its standard prints it, and another scheme is ignored."""
    scheme, parameters = case["schemes"][0]
    parse_challenge = load(EXAMPLES / "challenge_auth.py").parse_challenge
    assert parse_challenge(case["value"]) == (parameters if scheme == "bearer" else {})


async def test_the_digest_credential() -> None:
    """One challenge serves two calls of aiohttp's own middleware, and its second send is not counted as a
    retry.
    """
    assert await run(EXAMPLES / "digest_auth.py") == [
        "GET: come in, 0 retries",
        "POST: come in",
        "1 challenge",
        "refused with 401",
    ]


async def test_a_streamed_body_is_not_signed() -> None:
    """The signing example refuses a request that it cannot sign, before anything is sent."""
    auth = load(EXAMPLES / "signing_auth.py").HMACAuth("alice", b"key")
    with pytest.raises(InvalidRequestError, match="streamed"):
        await auth.authenticate(APIRequest("PUT", "https://h/", body=Body(iter([b"x"]))))
    assert "key'" not in repr(auth).replace("'alice'", "")


@pytest.mark.parametrize("case", VECTORS["digest"], ids=lambda case: f"{case['source']} {case['algorithm']}")
def test_the_digest_of_the_example_is_that_of_the_rfc(case: dict[str, str]) -> None:
    """The example's server computes the values printed in RFC 7616 and RFC 2617."""
    names = ("user", "password", "realm", "nonce", "nc", "cnonce", "algorithm")
    digest: Callable[..., str] = load(EXAMPLES / "digest_auth.py").digest_response
    assert digest(case["method"], case["uri"], **{name: case[name] for name in names}) == case["response"]


@pytest.mark.parametrize("case", VECTORS["digest"], ids=lambda case: f"{case['source']} {case['algorithm']}")
async def test_the_challenge_of_the_rfc_is_answered(case: dict[str, str]) -> None:
    """Through the transport, aiohttp's middleware answers the challenges that the RFCs print, rightly."""
    names = ("user", "password", "realm", "nonce", "algorithm")
    digest: Callable[..., str] = load(EXAMPLES / "digest_auth.py").digest_response
    good: list[bool] = []

    async def serve(exchange: Exchange) -> None:
        header = exchange.request.headers.get("Authorization")
        if header is None:
            parts = [f'{name}="{case[name]}"' for name in ("realm", "nonce", "opaque")]
            challenge = f'Digest {", ".join(parts)}, qop="auth", algorithm={case["algorithm"]}'
            await exchange.send(response("401 Unauthorized", b"", WWW_Authenticate=challenge))
            return
        found = {
            name: quoted or plain
            for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]*))', header)
        }
        counts = {name: found[name] for name in ("nc", "cnonce")}
        expected = digest(case["method"], case["uri"], **{name: case[name] for name in names}, **counts)
        good.append(found["response"] == expected and found["opaque"] == case["opaque"])
        await exchange.send(ok(b"[]"))

    middleware = aiohttp.DigestAuthMiddleware(case["user"], case["password"])
    async with raw_server(serve) as server:
        transport = AiohttpTransport(session_middlewares=[middleware])
        async with AsyncAPIClient(server.url, transport=transport) as api:
            assert await api.request(case["method"], case["uri"]) == []
    assert good == [True]
