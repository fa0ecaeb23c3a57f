"""AWS's own vectors (aws-c-auth, Apache-2.0): each is signed, in the header and in the query, or listed here.

A listed vector that is signed correctly fails its test, so that the lists stay true.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest
from aioapiclient_sigv4 import Credentials, SigV4
from multidict import CIMultiDict
from yarl import URL

from aioapiclient.contract import APIRequest
from aioapiclient.errors import InvalidRequestError

CASES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "sigv4.json").read_text())["cases"]

RAW = "its request line holds a raw space or letter, which HTTP does not allow and no client sends"
AFTER = "the session token is added after the signature, as only AWS IoT over WebSocket has it"

NOT_SIGNED = {
    "get-space-normalized": RAW,
    "get-space-unnormalized": RAW,
    "get-utf8": RAW,
    "post-sts-header-after": AFTER,
}


class Vector(NamedTuple):
    """A request to sign, and how."""

    method: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes
    auth: SigV4
    expires: int


def unfolded(head: str) -> list[str]:
    """The lines of a head, with continuation lines joined."""
    lines: list[str] = []
    for line in head.splitlines():
        if line.startswith((" ", "\t")):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
    return lines


def read(name: str) -> Vector:
    """The vector of a name."""
    head, _, body = CASES[name]["request.txt"].partition("\n\n")
    first, *rest = unfolded(head)
    method, _, target = first.removesuffix(" HTTP/1.1").partition(" ")
    pairs = [line.partition(":")[::2] for line in rest]
    headers = CIMultiDict([pair for pair in pairs if pair[0] != "Host"])
    context = CASES[name]["context.json"]
    key = context["credentials"]
    auth = SigV4(
        Credentials(key["access_key_id"], key["secret_access_key"], key.get("token")),
        service=context["service"],
        region=context["region"],
        normalize_path=context["normalize"],
        clock=datetime.fromisoformat(context["timestamp"]).timestamp,
    )
    # Raw characters in a query are escaped, as the client does.
    path, mark, query = target.partition("?")
    escaped = "".join(c if c.isascii() else "".join(f"%{byte:02X}" for byte in c.encode()) for c in query)
    url = URL(f"https://{dict(pairs)['Host']}{path}{mark}{escaped}", encoded=True)
    return Vector(method, url, headers, body.encode(), auth, context["expiration_in_seconds"])


def signature_of(authorization: str) -> str:
    """The signature at the end of the Authorization header."""
    return authorization.rpartition("Signature=")[2]


async def sign(name: str) -> str:
    """The Authorization header that a vector's request is given."""
    vector = read(name)
    if CASES[name]["context.json"]["sign_body"]:
        vector.headers["X-Amz-Content-Sha256"] = hashlib.sha256(vector.body).hexdigest()
    request = APIRequest(vector.method, vector.url, vector.headers, vector.body or None)
    await vector.auth.authenticate(request)
    return request.headers["Authorization"]


async def presign(name: str) -> dict[str, str]:
    """The query that a vector's URL is given."""
    vector = read(name)
    options: Any = {"headers": vector.headers, "content": vector.body or None}
    signed = await vector.auth.presign(vector.url, vector.method, vector.expires, **options)
    return dict(parse_qsl(URL(signed, encoded=True).raw_query_string, keep_blank_values=True))


def test_there_are_38_vectors() -> None:
    """Every vector is signed or listed."""
    assert len(CASES) == 38
    assert set(NOT_SIGNED) <= set(CASES)


@pytest.mark.parametrize("name", [name for name in CASES if name not in NOT_SIGNED])
async def test_the_header(name: str) -> None:
    """The Authorization header is the vector's: scope, signed headers and signature."""
    expected = CASES[name]["header-signed-request.txt"].partition("Authorization:")[2].splitlines()[0]

    assert await sign(name) == expected
    assert signature_of(expected) == CASES[name]["header-signature.txt"].strip()


@pytest.mark.parametrize("name", NOT_SIGNED)
async def test_a_header_that_is_listed(name: str) -> None:
    """A listed vector is not signed correctly; otherwise it must leave the list."""
    try:
        got = signature_of(await sign(name))
    except InvalidRequestError:
        return
    assert got != CASES[name]["header-signature.txt"].strip()


@pytest.mark.parametrize("name", [name for name in CASES if name not in NOT_SIGNED])
async def test_the_query(name: str) -> None:
    """A presigned URL has the vector's parameters and signature."""
    query = await presign(name)
    target = CASES[name]["query-signed-request.txt"].splitlines()[0].split(" ")[1]
    expected = dict(parse_qsl(target.partition("?")[2], keep_blank_values=True))

    assert query == expected
    assert query["X-Amz-Signature"] == CASES[name]["query-signature.txt"].strip()


@pytest.mark.parametrize("name", NOT_SIGNED)
async def test_a_query_that_is_listed(name: str) -> None:
    """A listed vector is not signed correctly; otherwise it must leave the list."""
    try:
        query = await presign(name)
    except InvalidRequestError:
        return
    assert query["X-Amz-Signature"] != CASES[name]["query-signature.txt"].strip()
