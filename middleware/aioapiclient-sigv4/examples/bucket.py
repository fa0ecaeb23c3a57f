"""A bucket on loopback that checks signatures: objects, a link to share, credentials that expire.

::

    python middleware/aioapiclient-sigv4/examples/bucket.py
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, unquote

import aiohttp
from aioapiclient_sigv4 import Credentials, SigV4
from aiohttp import web

from aioapiclient import AsyncAPIClient, PermissionDeniedError

SECRET = "the-secret-of-the-example"


class Issuer:
    """Issues temporary credentials, as STS does."""

    def __init__(self) -> None:
        self.given = 0

    async def __call__(self) -> Credentials:
        self.given += 1
        return Credentials(f"ASIA{self.given}", SECRET, expires=time.time() + 3600)


async def use(s3: AsyncAPIClient) -> None:
    """Store and read an object whose name needs escaping."""
    key = "a b/ä+%2F&=*~(1)'!.txt"
    await s3.put("/bucket/{+key}", None, path_params={"key": key}, content=b"hello")
    print(await s3.get("/bucket/{+key}", str, path_params={"key": key}))


async def upload(s3: AsyncAPIClient) -> None:
    """Send a body that is generated while it is sent, and therefore cannot be signed."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 1000

    await s3.put("/bucket/stream", None, content=chunks())
    print(len(await s3.get("/bucket/stream", bytes)), "bytes were streamed")


async def share(auth: SigV4, url: str) -> None:
    """Make a link for people without credentials."""
    link = await auth.presign(f"{url}/bucket/stream", expires=60)
    async with aiohttp.ClientSession() as session:
        for shared in (link, link.replace("stream", "secret")):
            async with session.get(shared) as response:
                print(f"by a link: {response.status}")


async def run(url: str, server: Bucket) -> None:
    issuer = Issuer()
    auth = SigV4(issuer, service="s3", region="us-east-1", unsigned_payload=True)
    async with AsyncAPIClient(url, auth=auth) as s3:
        await use(s3)
        await upload(s3)
        await share(auth, url)
        server.expired.add("ASIA1")
        await use(s3)
        print(f"credentials were asked for {issuer.given} times")
        wrong = SigV4(Credentials("ASIA1", "wrong"), service="s3", region="us-east-1")
        try:
            await s3.get("/bucket/stream", bytes, auth=wrong)
        except PermissionDeniedError as error:
            print(f"with a wrong secret: {error.status}")


# --- the server


class Bucket:
    """Stores objects for requests with a valid signature, in a header or in the query."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.expired: set[str] = set()

    async def serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        refused = self._refusal(request, body)
        if refused:
            return web.Response(status=403, text=f"<Error><Code>{refused}</Code></Error>")
        if request.method == "PUT":
            self.objects[request.path] = body
            return web.Response()
        if request.path not in self.objects:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        return web.Response(body=self.objects[request.path], content_type="text/plain")

    def _refusal(self, request: web.Request, body: bytes) -> str | None:
        query = dict(request.query)
        signature = query.pop("X-Amz-Signature", "")
        date = query.get("X-Amz-Date", request.headers.get("X-Amz-Date", ""))
        credential, names = query.get("X-Amz-Credential", ""), query.get("X-Amz-SignedHeaders", "")
        digest = "UNSIGNED-PAYLOAD"
        if not signature:
            fields = request.headers.get("Authorization", "Credential=").partition(" ")[2].split(", ")
            credential, names, signature = (field.partition("=")[2] for field in fields)
            digest = request.headers["X-Amz-Content-Sha256"]
        if digest not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            return "XAmzContentSHA256Mismatch"
        pairs = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in query.items())
        canonical = [
            request.method,
            quote(unquote(request.raw_path.partition("?")[0])),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{request.headers[name]}" for name in names.split(";")),
            f"\n{names}\n{digest}",
        ]
        if credential.partition("/")[0] in self.expired:
            return "ExpiredToken"
        is_good = hmac.compare_digest(signature, sign(credential, date, "\n".join(canonical)))
        return None if is_good else "SignatureDoesNotMatch"


def sign(credential: str, date: str, canonical: str) -> str:
    """Return the signature of a canonical request."""
    scope = credential.split("/")[1:]
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    key = b"AWS4" + SECRET.encode()
    for part in [*scope, f"AWS4-HMAC-SHA256\n{date}\n{'/'.join(scope)}\n{hashed}"]:
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


@asynccontextmanager
async def serving(server: Bucket) -> AsyncGenerator[str, None]:
    app = web.Application()
    app.add_routes([web.route("*", "/{key:.*}", server.serve)])
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def main() -> None:
    server = Bucket()
    async with serving(server) as url:
        await run(url, server)


if __name__ == "__main__":
    asyncio.run(main())
