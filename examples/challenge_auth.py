"""A credential that answers a challenge: another origin issues the token, as with container registries.

::

    python examples/challenge_auth.py

The registry's 401 names, in WWW-Authenticate, the token service and the scope. The auth requests a token
there with the client that it is bound to, which adds no credential. User and password are sent only because
trusted_origins names that origin; a challenge that points elsewhere does not receive them.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from aioapiclient import APIRequest, AsyncAPIClient, AsyncAPIResponse, Auth, BasicAuth, Token, TokenCache


class Grant(msgspec.Struct):
    token: str
    expires_in: float = 60


class RegistryAuth(Auth):
    """Keeps one token for each repository: the path parameter *name* of a call."""

    def __init__(self, login: BasicAuth) -> None:
        self._login = login
        self._cache = TokenCache()
        self._challenges: dict[str, dict[str, str]] = {}
        self._client: AsyncAPIClient | None = None

    def bind(self, client: AsyncAPIClient) -> None:
        self._client = client

    async def authenticate(self, request: APIRequest, /) -> None:
        name = str(request.path_params.get("name"))
        if name in self._challenges:
            token = await self._cache.get(name, lambda: self._ask(name))
            request.headers["Authorization"] = f"Bearer {token.value}"

    async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
        challenge = parse_challenge(response.headers.get("WWW-Authenticate", ""))
        if "realm" not in challenge:
            return False
        name = str(request.path_params.get("name"))
        self._challenges[name] = challenge
        rejected = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return await self._cache.refresh(name, rejected, lambda: self._ask(name))

    async def _ask(self, name: str) -> Token:
        assert self._client is not None
        challenge = dict(self._challenges[name])
        grant = await self._client.get(challenge.pop("realm"), Grant, params=challenge, auth=self._login)
        return Token(grant.token, grant.expires_in)

    async def close(self) -> None:
        await self._cache.close()


def parse_challenge(header: str) -> dict[str, str]:
    """Return the parameters of a Bearer challenge (RFC 6750 §3); none for another scheme."""
    scheme, _, parameters = header.partition(" ")
    return dict(re.findall(r'(\w+)="([^"]*)"', parameters)) if scheme.lower() == "bearer" else {}


async def main() -> None:
    """Fetch several images of two repositories with one token per repository."""
    asked: list[str] = []
    async with token_service(asked) as realm, registry(realm) as url:
        auth = RegistryAuth(BasicAuth("ada", "a password"))
        async with AsyncAPIClient(url, auth=auth, trusted_origins=[realm]) as api:
            for name in ("library/app", "library/base"):
                tags = await asyncio.gather(
                    *(
                        api.get("/v2/{+name}/manifests/{tag}", str, path_params={"name": name, "tag": tag})
                        for tag in ("latest", "1.0", "1.1")
                    )
                )
                print(name, *tags)
    for line in asked:
        print(line)


@asynccontextmanager
async def token_service(asked: list[str]) -> AsyncGenerator[str, None]:
    """The token service, which knows only the user ada."""

    async def token(request: web.Request) -> web.Response:
        login = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        user = login.partition(":")[0]
        asked.append(f"{user} asked for {request.query['scope']} of {request.query['service']}")
        return web.json_response({"token": f"for {request.query['scope']}".encode().hex(), "expires_in": 300})

    async with serve(web.get("/token", token)) as url:
        yield url


@asynccontextmanager
async def registry(realm: str) -> AsyncGenerator[str, None]:
    """The registry: it requires a token whose scope is the requested repository."""

    async def manifest(request: web.Request) -> web.Response:
        scope = f"repository:{request.match_info['name']}:pull"
        if request.headers.get("Authorization") == f"Bearer {f'for {scope}'.encode().hex()}":
            return web.Response(text=request.match_info["tag"])
        challenge = f'Bearer realm="{realm}/token",service="registry",scope="{scope}"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    async with serve(web.get("/v2/{name:.+}/manifests/{tag}", manifest)) as url:
        yield url


@asynccontextmanager
async def serve(route: web.RouteDef) -> AsyncGenerator[str, None]:
    """Run a server on a free port of the loopback."""
    app = web.Application()
    app.add_routes([route])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
