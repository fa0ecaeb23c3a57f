"""A server that checks signatures as AWS does: of the received bytes, as it parses them."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, unquote

import pytest
from servers import Exchange, RawRequest, RawServer, ok, raw_server, response

SECRET = "s3cr3t-canary/+"


def escape(text: str, safe: str = "") -> str:
    """Return the text with all but the unreserved characters escaped."""
    return quote(text, safe=safe, encoding="latin-1")


def signature_in(raw: RawRequest) -> str:
    """The signature that a request brought."""
    return raw.headers["Authorization"].rpartition("Signature=")[2]


def signature_of(raw: RawRequest, secret: str = SECRET) -> str:
    """The signature that a request should have, by the documentation of SigV4."""
    fields = dict(part.split("=", 1) for part in raw.headers["Authorization"].partition(" ")[2].split(", "))
    _, *scope = fields["Credential"].split("/")
    path, _, query = raw.target.partition("?")
    is_s3 = scope[2] == "s3"
    # It parses the target, and escapes the result; by bytes, as Latin-1.
    read = parse_qsl(query, keep_blank_values=True, encoding="latin-1")
    pairs = sorted((escape(name), escape(value)) for name, value in read)
    digest = raw.headers.get("X-Amz-Content-Sha256", hashlib.sha256(raw.body).hexdigest())
    assert digest in ("UNSIGNED-PAYLOAD", hashlib.sha256(raw.body).hexdigest())
    names = fields["SignedHeaders"].split(";")
    canonical = [
        raw.method,
        escape(unquote(path, "latin-1"), "/") if is_s3 else escape(re.sub("/+", "/", path), "/"),
        "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{','.join(' '.join(v.split()) for v in raw.headers.getall(name))}" for name in names),
        "",
        fields["SignedHeaders"],
        digest,
    ]
    hashed = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", raw.headers["X-Amz-Date"], "/".join(scope), hashed])
    key = b"AWS4" + secret.encode()
    for part in [*scope, to_sign]:
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


class Checking(Protocol):
    """Create a server that checks signatures, and answers with *answers* in turn, repeating the last."""

    def __call__(self, *answers: bytes) -> AbstractAsyncContextManager[RawServer]: ...


@pytest.fixture
def checking() -> Checking:
    """A server that answers 403 to a wrong signature."""

    @asynccontextmanager
    async def make(*answers: bytes) -> AsyncIterator[RawServer]:
        in_turn: Any = answers or (ok(),)

        async def script(exchange: Exchange) -> None:
            raw = exchange.request
            is_good = signature_in(raw) == signature_of(raw)
            answer = in_turn[min(exchange.index, len(in_turn) - 1)]
            await exchange.send(answer if is_good else response("403 Forbidden", b"a wrong signature"))

        async with raw_server(script) as server:
            yield server

    return make
