"""Servers on loopback: a faulty identity provider, npm's oidc-provider, APIs, and a user with a browser."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import aiohttp
import pytest
from aiohttp import web
from npm_servers import npm_server
from servers import serving, unused_port
from yarl import URL

Answer = web.Response | Callable[[web.Request], Any]


class Provider:
    """Records each form received at ``/token``, and sends the answers in `answers`, then new tokens."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.pairs: list[list[tuple[str, str]]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[Any] = []
        self.life: Any = 3600
        self.url = ""
        self.paths: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        form = await request.post()
        self.forms.append({name: str(value) for name, value in form.items()})
        self.pairs.append([(name, str(value)) for name, value in form.items()])
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        answer = self.answers.pop(0) if self.answers else self.token()
        if callable(answer):
            answer = answer(request)
            if hasattr(answer, "__await__"):
                answer = await answer
        if isinstance(answer, web.StreamResponse):
            return answer
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return web.json_response(body, status=status)

    def token(self, **more: Any) -> dict[str, Any]:
        """A grant with the next number."""
        number = len(self.forms)
        return {"access_token": f"at-{number}", "token_type": "bearer", "expires_in": self.life, **more}

    @property
    def basic(self) -> list[str | None]:
        """The ID and secret of each request, as the provider reads them; None without."""
        return [_basic(headers.get("authorization")) for headers in self.headers]


def _basic(header: str | None) -> str | None:
    if header is None:
        return None
    kind, _, both = header.partition(" ")
    assert kind == "Basic"
    name, _, secret = base64.b64decode(both).decode().partition(":")
    return f"{unquote_plus(name)} {unquote_plus(secret)}"


class Service:
    """An API that records the tokens it received, and refuses those in `refused`."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.refused: set[str] = set()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.tokens.append(token)
        status = 401 if token in self.refused or "*" in self.refused else 200
        return web.json_response({"token": token}, status=status)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """An identity provider in the loop of the test."""
    provider = Provider()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", provider.handle)
    async with serving(app) as provider.url:
        yield provider


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """An API in the loop of the test."""
    service = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.handle)
    async with serving(app) as service.url:
        yield service


@pytest.fixture
def gate() -> asyncio.Event:
    """An event that a test sets."""
    return asyncio.Event()


# --- npm's oidc-provider

OIDC = Path(__file__).parent / "servers/oidc"


def _api_of(issuer: str) -> web.Application:
    """An API that accepts every token that the provider calls active."""

    async def handle(request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        form = {"token": token, "client_id": "post", "client_secret": "secret"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{issuer}/token/introspection", data=form) as response,
        ):
            told = await response.json()
        return web.json_response({"client": told.get("client_id")}, status=200 if told["active"] else 401)

    app = web.Application()
    app.router.add_get("/", handle)
    return app


async def _browse(url: str, *, deny: bool = False, last_url: bool = False) -> Any:
    """Sign in and consent (or abort) on the provider's own pages; return the last page, or its URL."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        response = await session.get(URL(url, encoded=True))
        for _ in range(8):
            page = await response.text()
            form = re.search(r'<form[^>]*action="([^"]+)"', page)
            if form is None:
                return response.url if last_url else page
            fields = {
                name: html.unescape(value)
                for tag in re.findall(r"<input[^>]*>", page)
                if (name := _attribute(tag, "name")) and (value := _attribute(tag, "value")) is not None
            }
            if 'name="login"' in page:
                fields |= {"login": "ada", "password": "x"}
            refuses = deny and 'name="abort"' in page
            if refuses:
                fields |= {"abort": "yes"}
            action = URL(html.unescape(form[1]), encoded=True)
            response = await session.post(response.url.join(action), data=fields)
            if refuses:
                return response.url
    raise AssertionError("the pages do not end")


def _attribute(tag: str, name: str) -> str | None:
    found = re.search(rf'\b{name}="([^"]*)"', tag)
    return None if found is None else found[1]


@pytest.fixture
def browse() -> Any:
    """The user: an async function of a page's URL."""
    return _browse


@pytest.fixture(scope="session")
def key() -> Any:
    """A private key of the client ``key``, for ES256."""
    pytest.importorskip("jwt")
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="session")
def issuer(key: Any) -> Iterator[str]:
    """Run npm's oidc-provider; yield its issuer. Its tests are skipped if it is missing."""
    from jwt.algorithms import ECAlgorithm

    public = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    jwks = {"keys": [{**public, "kid": "k1", "use": "sig", "alg": "ES256"}]}
    port = unused_port()
    with npm_server(OIDC, str(port), json.dumps(jwks)) as line:
        assert line == "up"
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def api_url(issuer: str) -> AsyncIterator[str]:
    """An API that accepts the provider's tokens."""
    async with serving(_api_of(issuer)) as url:
        yield url
