"""Digest authentication (RFC 7616), by aiohttp's own middleware inside the transport.

::

    python examples/digest_auth.py

aiohttp's client middlewares belong to the transport: they see each request as aiohttp sends it. Requests
that they add do not count as attempts.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import DigestAuthMiddleware, web

from aioapiclient import AiohttpTransport, AsyncAPIClient, AsyncAPIResponse, AuthenticationError

USER, PASSWORD, REALM = "Mufasa", "Circle of Life", "http-auth@example.org"


async def main() -> None:
    """Make two calls with the password, which share one challenge, and one with a wrong password."""
    challenges: list[str] = []
    async with guarded_service(challenges) as url:
        transport = AiohttpTransport(session_middlewares=[DigestAuthMiddleware(USER, PASSWORD)])
        async with AsyncAPIClient(url, transport=transport) as api:
            response = await api.get("/dir/index.html", AsyncAPIResponse[str])
            print(f"{await response.parse()}, {response.retries_taken} retries")
            print(await api.post("/dir/index.html", str, json={"a": 1}))
        print(f"{len(challenges)} challenge")

        transport = AiohttpTransport(session_middlewares=[DigestAuthMiddleware(USER, "guessed")])
        async with AsyncAPIClient(url, transport=transport) as api:
            try:
                await api.get("/dir/index.html")
            except AuthenticationError as error:
                print("refused with", error.status)


def digest_response(
    method: str,
    uri: str,
    *,
    user: str,
    password: str,
    realm: str,
    nonce: str,
    nc: str,
    cnonce: str,
    algorithm: str,
) -> str:
    """Return the ``response`` of RFC 7616 §3.4.1, for ``qop=auth``."""

    def digest(text: str) -> str:
        return hashlib.new(algorithm.replace("-", ""), text.encode()).hexdigest()

    secret, request = digest(f"{user}:{realm}:{password}"), digest(f"{method}:{uri}")
    return digest(f"{secret}:{nonce}:{nc}:{cnonce}:auth:{request}")


@asynccontextmanager
async def guarded_service(challenges: list[str]) -> AsyncGenerator[str, None]:
    """The server: it sends a new nonce per challenge, and accepts each count of a nonce once."""
    used = set[tuple[str, str]]()

    def is_good(request: web.Request) -> bool:
        given = {
            name: quoted or plain
            for name, quoted, plain in re.findall(
                r'(\w+)=(?:"([^"]*)"|([^,\s]*))', request.headers.get("Authorization", "")
            )
        }
        count = (given.get("nonce", ""), given.get("nc", ""))
        if count[0] not in challenges or count in used:
            return False
        used.add(count)
        expected = digest_response(
            request.method, request.raw_path, user=USER, password=PASSWORD, realm=REALM, nonce=count[0],
            nc=count[1], cnonce=given["cnonce"], algorithm="SHA-256",
        )  # fmt: skip
        return secrets.compare_digest(given["response"], expected)

    async def page(request: web.Request) -> web.Response:
        if is_good(request):
            return web.Response(text=f"{request.method}: come in")
        challenges.append(secrets.token_hex(16))
        challenge = f'Digest realm="{REALM}", qop="auth", algorithm=SHA-256, nonce="{challenges[-1]}"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    app = web.Application()
    app.router.add_route("*", "/dir/index.html", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
