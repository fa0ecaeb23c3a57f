"""A GitHub App: its JWT is exchanged for a token of one installation, and calls use that token.

::

    pip install 'aioapiclient-oauth[jwt]'
    python github_app.py
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import msgspec
from aioapiclient_oauth import sign_jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from oauth_servers import running

from aioapiclient import AsyncAPIClient, BearerAuth, Token


class Grant(msgspec.Struct):
    token: str
    expires_at: datetime


def installation(api: AsyncAPIClient, app_id: str, key: str, number: int) -> BearerAuth:
    """Return the credential for one installation of a GitHub App."""
    sign = sign_jwt(key, "RS256")

    async def fetch() -> Token:
        now = int(time.time())
        jwt = sign({"iss": app_id, "iat": now - 60, "exp": now + 540})
        path = "/app/installations/{number}/access_tokens"
        grant = await api.post(path, Grant, path_params={"number": number}, auth=BearerAuth(jwt))
        return Token(grant.token, (grant.expires_at - datetime.now(UTC)).total_seconds())

    return BearerAuth(fetch)


async def main() -> None:
    async with (
        running([web.post("/app/installations/{n}/access_tokens", token), web.get("/repos", repos)]) as url,
        AsyncAPIClient(url) as api,
    ):
        app = api.with_options(auth=installation(api, "12345", new_key(), 7))
        print(await app.get("/repos"), await app.get("/repos"))


# --- a stand-in for GitHub


asked: list[str] = []


async def token(request: web.Request) -> web.Response:
    asked.append(request.match_info["n"])
    assert request.headers["Authorization"].count(".") == 2, "not a JWT"
    end = datetime.now(UTC) + timedelta(hours=1)
    return web.json_response({"token": f"ghs_{len(asked)}", "expires_at": end.isoformat()}, status=201)


async def repos(request: web.Request) -> web.Response:
    return web.json_response([request.headers["Authorization"]])


def new_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


if __name__ == "__main__":
    asyncio.run(main())
