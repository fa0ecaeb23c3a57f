"""A credential that signs the final request: an HMAC over method, URL, headers and body.

::

    python examples/signing_auth.py

Auth runs inside the retries, so every attempt gets a new signature with its own time and nonce: servers of
this kind refuse a signature that was used before or is too old.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from aioapiclient import APIRequest, AsyncAPIClient, Auth, InvalidRequestError

SIGNED = ("content-type", "x-date", "x-nonce")


class HMACAuth(Auth):
    """Signs each request with a secret key that both sides know."""

    def __init__(self, key_id: str, key: bytes) -> None:
        self._key_id = key_id
        self._key = key

    def __repr__(self) -> str:
        return f"HMACAuth({self._key_id!r}, <key>)"

    async def authenticate(self, request: APIRequest, /) -> None:
        if request.body is not None and request.body.content is None:
            raise InvalidRequestError("A body that is streamed cannot be signed before it is sent")
        body = b"" if request.body is None or request.body.content is None else request.body.content
        request.headers["X-Date"] = str(int(time.time()))
        request.headers["X-Nonce"] = secrets.token_hex(8)
        target = request.url.raw_path_qs
        signature = sign(self._key, request.method, target, request.headers, body)
        request.headers["Authorization"] = f"HMAC-SHA256 {self._key_id}:{signature}"


def sign(key: bytes, method: str, target: str, headers: Mapping[str, str], body: bytes) -> str:
    """Return the signature, which both sides compute from the same request."""
    lines = [method, target, *(f"{name}:{headers.get(name, '')}" for name in SIGNED)]
    lines.append(hashlib.sha256(body).hexdigest())
    return hmac.new(key, "\n".join(lines).encode(), hashlib.sha256).hexdigest()


async def main() -> None:
    """Send a signed order to a server that is busy at first, and one with the wrong key."""
    key = secrets.token_bytes(32)
    async with (
        signed_service({"alice": key}) as (url, log),
        AsyncAPIClient(url, auth=HMACAuth("alice", key)) as api,
    ):
        order = await api.put(
            "/orders/{name}",
            dict[str, str],
            path_params={"name": "a/b c"},
            params={"q": "ä"},
            json={"seats": 2},
        )
        print("placed:", order["order"])
        answer = await api.get("/orders/{name}", path_params={"name": "x"}, auth=HMACAuth("alice", b"?"),
                                   ok_statuses={403})  # fmt: skip
        print("the wrong key:", answer["error"])
    for line in log:
        print(line)


@asynccontextmanager
async def signed_service(keys: Mapping[str, bytes]) -> AsyncGenerator[tuple[str, list[str]], None]:
    """The server: it checks each signature, accepts no nonce twice, and is busy at first."""
    log: list[str] = []
    nonces = set[str]()

    async def order(request: web.Request) -> web.Response:
        key_id, _, signature = request.headers["Authorization"].removeprefix("HMAC-SHA256 ").partition(":")
        expected = sign(keys[key_id], request.method, request.raw_path, request.headers, await request.read())
        if not hmac.compare_digest(signature, expected):
            return web.json_response({"error": "the signature is wrong"}, status=403)
        if request.headers["X-Nonce"] in nonces or abs(time.time() - int(request.headers["X-Date"])) > 300:
            return web.json_response({"error": "the signature is used up"}, status=403)
        nonces.add(request.headers["X-Nonce"])
        log.append(f"{request.method} {request.raw_path}: signature {len(nonces)} is good")
        if len(nonces) == 1:
            return web.json_response({"error": "busy"}, status=503, headers={"retry-after-ms": "10"})
        return web.json_response({"order": request.match_info["name"]})

    app = web.Application()
    app.router.add_route("*", "/orders/{name}", order)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", log
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
