"""`SigV4` on the wire: the signature matches what is sent, and invalid requests are refused before."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import logging
import pickle
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aioapiclient_sigv4 import Credentials, SigV4
from servers import ok, raw_server, respond, response
from yarl import URL

from aioapiclient import OMIT, AsyncAPIClient, AsyncAPIResponse, PermissionDeniedError
from aioapiclient.contract import APIRequest, Handler, per_send
from aioapiclient.errors import InvalidRequestError
from aioapiclient.middleware import AuthMiddleware
from aioapiclient.testing import FakeClock, check_middleware

SECRET, TOKEN = "s3cr3t-canary/+", "t0ken-canary"
KEY = Credentials("AKIDEXAMPLE", SECRET)
NOON = 1_795_953_600.0  # 2026-11-29T12:00:00Z


def signer(service: str = "s3", credentials: Any = KEY, **keywords: Any) -> SigV4:
    """A signature for a service."""
    return SigV4(credentials, service=service, region="us-east-1", **keywords)


async def signed(
    method: str = "GET", url: str = "https://h.example/", *, auth: SigV4, **fields: Any
) -> APIRequest:
    """A request with its signature."""
    request = APIRequest(method, url, **fields)
    await auth.authenticate(request)
    return request


def signed_names(request: APIRequest) -> list[str]:
    """The headers that a signature covers."""
    return request.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")


# --- the URL

PATHS = [
    "/plain-._~/KEY",
    "/a b/c",
    "/ä/漢/🦆",
    "/+=:@!$&'()*,;",
    "/%2B%3d%41%7e",
    "/%FF%00%zz%",
    "/a//b/",
    "/?",
    "/?acl",
    "/?a=1&a-b=2&a=0&&b",
    "/?q=a+b&r=c%2Bd&s=%20&t=a=b=c",
    "/?%E4%B8=%FF",
    "/?a=/?:@!$'()*,;[]\"|^`",
]


@pytest.mark.parametrize("service", ["s3", "es"])
@pytest.mark.parametrize("path", PATHS)
async def test_what_is_sent_is_what_is_signed(checking: Any, path: str, service: str) -> None:
    """A server that parses the target and escapes the result computes the same signature."""
    async with checking() as server, AsyncAPIClient(server.url, auth=signer(service)) as api:
        await api.get(path)

    (raw,) = server.requests
    assert set(raw.target) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/%?=&")


async def test_the_form_that_is_sent() -> None:
    """Reserved characters are escaped, a plus in a query is a space, and the order is kept."""
    request = await signed(
        url="https://h.example/(a+b)/%41%2f?b=a+b&&a=x=y&acl&c=%2B#fragment", auth=signer("es")
    )

    assert str(request.url) == "https://h.example/%28a%2Bb%29/A%2F?b=a%20b&a=x%3Dy&acl&c=%2B"


async def test_bytes_that_are_not_utf8_stay() -> None:
    """An escape that is not UTF-8 is sent unchanged."""
    request = await signed(url="https://h.example/%ff%C3?%e9=%80", auth=signer())

    assert request.url.raw_path_qs == "/%FF%C3?%E9=%80"


async def test_an_escaped_slash_of_s3_is_refused() -> None:
    """S3 would read a different path from the signed one; the message shows how to write a key."""
    with pytest.raises(InvalidRequestError, match=r"write \{\+key\}"):
        await signed(url="https://h.example/b/a%2fb", auth=signer())
    assert (await signed(url="https://h.example/b/a%252Fb", auth=signer())).url.raw_path == "/b/a%252Fb"


async def test_an_escaped_slash_of_others_stays() -> None:
    """For other services an escaped slash is another character than a slash, as in OpenSearch's date math."""
    request = await signed(url="https://h.example/%3Clogs-%7Bnow%2Fd%7D%3E/_search", auth=signer("es"))

    assert request.url.raw_path == "/%3Clogs-%7Bnow%2Fd%7D%3E/_search"


async def test_every_hop_is_signed_for_its_host(checking: Any) -> None:
    """A redirect to a trusted origin is signed for that origin; one to a stranger is sent without."""
    async with checking() as elsewhere:
        away = response("307 Temporary Redirect", Location=f"{elsewhere.url}/key?x=1")
        trusting: dict[str, Any] = {"auth": signer(), "trusted_origins": [elsewhere.url]}
        async with checking(away) as server, AsyncAPIClient(server.url, **trusting) as s3:
            await s3.put("/key", None, content=b"hello")
    assert [len(server.requests), len(elsewhere.requests)] == [1, 1]
    assert server.requests[0].headers["Authorization"] != elsewhere.requests[0].headers["Authorization"]

    async with raw_server(respond(ok())) as stranger:
        away = response("307 Temporary Redirect", Location=f"{stranger.url}/key")
        async with checking(away) as server, AsyncAPIClient(server.url, auth=signer()) as s3:
            await s3.get("/key")
    sent = stranger.requests[0].headers
    assert not [name for name in sent if name.lower().startswith(("authorization", "x-amz-"))]


async def test_an_ipv6_zone_is_not_signed() -> None:
    """Neither the Host header nor the signed host has a zone or a default port."""
    plain = await signed(url="https://[fe80::1]:443/", auth=signer(clock=lambda: NOON))
    zoned = await signed(url="https://[fe80::1%25eth0]/", auth=signer(clock=lambda: NOON))

    assert plain.headers["Authorization"] == zoned.headers["Authorization"]


# --- headers


async def test_the_headers_that_are_signed() -> None:
    """All headers are signed except those that change on the way."""
    headers = {"Accept": "*/*", "Range": "bytes=0-9", "X-Amz-Acl": "private", "Content-Type": "text/plain"}
    changing = {"User-Agent": "a", "traceparent": "b", "Accept-Encoding": "c", "Via": "d", "Baggage": "e"}
    request = await signed("PUT", auth=signer(), headers={**headers, **changing}, body=b"x")

    own = ["accept", "content-type", "host", "range", "x-amz-acl", "x-amz-content-sha256", "x-amz-date"]
    assert signed_names(request) == own


async def test_sign_headers_names_them() -> None:
    """With sign_headers only those, Host, Content-Type and X-Amz-... are signed."""
    auth = signer("es", sign_headers=["RANGE"])
    headers = {"Accept": "*/*", "Range": "bytes=0-9", "X-Amz-Acl": "private", "Content-Type": "text/plain"}
    request = await signed("PUT", auth=auth, headers=headers, body=b"x")

    assert signed_names(request) == ["content-type", "host", "range", "x-amz-acl", "x-amz-date"]


async def test_the_hash_is_sent_to_services_that_need_it() -> None:
    """S3 and OpenSearch Serverless get the hash of the body as a header; other services do not."""
    digest = hashlib.sha256(b"x").hexdigest()
    for service, expected in [("s3", digest), ("aoss", digest), ("es", None)]:
        request = await signed("PUT", auth=signer(service), body=b"x")
        assert request.headers.get("X-Amz-Content-Sha256") == expected


async def test_the_call_may_sign_for_itself() -> None:
    """An Authorization header of the call is sent unchanged, and an omitted one is not added."""
    async with raw_server(respond(ok())) as server, AsyncAPIClient(server.url, auth=signer()) as s3:
        await s3.get("/", headers={"Authorization": "mine"})
        await s3.get("/", headers={"Authorization": OMIT})

    assert [raw.headers.get("Authorization") for raw in server.requests] == ["mine", None]
    assert "X-Amz-Date" not in server.requests[0].headers


@pytest.mark.parametrize("name", ["x-amz-date", "X-Amz-Security-Token"])
async def test_the_call_may_not_set_parts_of_it(checking: Any, name: str) -> None:
    """A header that is part of the signature is refused before anything is sent."""
    async with checking() as server, AsyncAPIClient(server.url, auth=signer()) as s3:
        with pytest.raises(InvalidRequestError, match="is set by SigV4"):
            await s3.get("/", headers={name: "1"})

    assert server.requests == []


async def test_headers_of_the_call_are_signed_as_they_are_sent(checking: Any) -> None:
    """Whatever the call sets or omits, a header is signed as it is on the wire."""
    async with checking() as server, AsyncAPIClient(server.url, auth=signer("es")) as api:
        await api.post(
            "/", json={}, headers={"Content-Type": "application/x-amz-json-1.0", "X-A": ' "a   b" '}
        )
        omitted = {"Accept": OMIT, "X-Amz-Content-Sha256": OMIT}
        await api.post("/", json={}, headers=omitted, auth=signer("s3"))

    assert server.requests[0].headers["Content-Type"] == "application/x-amz-json-1.0"


async def test_a_session_token_is_signed(checking: Any) -> None:
    """The token of temporary credentials is a header, and part of the signature."""
    key = Credentials("ASIAEXAMPLE", SECRET, TOKEN)
    async with checking() as server, AsyncAPIClient(server.url, auth=signer(credentials=key)) as s3:
        await s3.get("/")

    (raw,) = server.requests
    assert raw.headers["X-Amz-Security-Token"] == TOKEN
    assert "x-amz-security-token" in raw.headers["Authorization"]


# --- the body


@pytest.mark.parametrize(
    "body",
    [
        {"json": {"a": "ä"}},
        {"data": {"Action": "List Users", "a": "+&"}},
        {"content": "ä"},
        {"content": b"x" * (3 << 20)},
        {"files": {"f": ("a.txt", b"hello")}},
        {},
    ],
    ids=lambda body: "".join(body) or "none",
)
async def test_a_body_is_signed(checking: Any, body: dict[str, Any]) -> None:
    """The hash is that of the bytes on the wire, and their Content-Type is signed."""
    async with checking() as server, AsyncAPIClient(server.url, auth=signer()) as s3:
        await s3.put("/key", None, **body)

    (raw,) = server.requests
    assert raw.headers["X-Amz-Content-Sha256"] == hashlib.sha256(raw.body).hexdigest()
    assert ("content-type" in raw.headers["Authorization"]) == ("Content-Type" in raw.headers)


async def chunks() -> AsyncIterator[bytes]:
    """A body that is streamed."""
    yield b"x"


async def test_a_streamed_body_is_refused(checking: Any) -> None:
    """A streamed body is refused before it is sent, and the message lists the alternatives."""
    async with checking() as server, AsyncAPIClient(server.url, auth=signer()) as s3:
        with pytest.raises(InvalidRequestError, match=r"pass bytes, or .*unsigned_payload=True"):
            await s3.put("/key", None, content=chunks())

    assert server.connections == 0


async def test_a_streamed_body_with_its_hash(checking: Any) -> None:
    """A caller that knows the hash of a stream sends it as a header."""
    async with checking() as server, AsyncAPIClient(server.url, auth=signer()) as s3:
        digest = hashlib.sha256(b"x").hexdigest()
        await s3.put("/key", None, content=chunks(), headers={"X-Amz-Content-Sha256": digest})

    assert server.requests[0].body == b"x"


async def test_unsigned_payload_is_for_streams(checking: Any) -> None:
    """A stream is sent unsigned; bytes are still signed."""
    auth = signer(unsigned_payload=True)
    async with checking() as server, AsyncAPIClient(server.url, auth=auth) as s3:
        await s3.put("/key", None, content=chunks())
        await s3.put("/key", None, content=b"x")

        await s3.put("/key", None, content=chunks(), auth=signer("es", unsigned_payload=True))

    digests = [raw.headers["X-Amz-Content-Sha256"] for raw in server.requests]
    assert digests == ["UNSIGNED-PAYLOAD", hashlib.sha256(b"x").hexdigest(), "UNSIGNED-PAYLOAD"]


@pytest.mark.parametrize("how", ["argument", "header"])
async def test_an_unsigned_payload_needs_https(how: str) -> None:
    """Over http anyone could change the body: only loopback may."""
    auth = signer(unsigned_payload=how == "argument")
    more: dict[str, Any] = (
        {"headers": {"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}} if how == "header" else {}
    )
    for url in ("https://h.example/", "http://localhost:9000/", "http://127.0.0.2/", "http://[::1]/"):
        request = await signed("PUT", url, auth=auth, body=chunks(), **more)
        assert request.headers["X-Amz-Content-Sha256"] == "UNSIGNED-PAYLOAD"
    for url in ("http://h.example/", "http://10.0.0.1/", "http://localhost.example/"):
        with pytest.raises(InvalidRequestError, match="requires https"):
            await signed("PUT", url, auth=auth, body=chunks(), **more)


# --- attempts, principals, promises


async def test_each_attempt_has_its_own_time(checking: Any) -> None:
    """A retry is signed for the time at which it is sent."""
    clock = FakeClock(NOON)
    busy = response("503 Service Unavailable", Retry_After="0")

    async def wait(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        answer = await handler(request)
        clock.advance(60)
        return answer

    async with checking(busy, ok()) as server:
        auth = signer(clock=clock.time)
        async with AsyncAPIClient(server.url, auth=auth, middlewares=[per_send(wait)]) as s3:
            await s3.get("/")

    assert [raw.headers["X-Amz-Date"] for raw in server.requests] == ["20261129T120000Z", "20261129T120100Z"]


async def test_what_is_kept_of_a_key_is_of_one_day_and_secret() -> None:
    """After midnight, and with other credentials, the signature equals that of a new object."""
    clock, now = FakeClock(NOON), []

    async def fetch() -> Credentials:
        now.append(Credentials("ASIAEXAMPLE", f"secret-{len(now)}", None, clock.time() + 8 * 3600))
        return now[-1]

    auth = signer(credentials=fetch, clock=clock.time)
    for hours in (0, 9, 7):
        # At nine in the evening the secret is another, at four in the morning the day.
        clock.advance(hours * 3600)
        kept = (await signed(auth=auth)).headers["Authorization"]
        fresh = (await signed(auth=signer(credentials=now[-1], clock=clock.time))).headers["Authorization"]
        assert kept == fresh
    assert len(now) == 2


async def test_the_identity_is_the_access_key(checking: Any) -> None:
    """Requests of one access key share one identity, which is not a secret; another key has another
    identity.
    """
    seen: list[str] = []

    async def look(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        seen.append(request.extensions["aioapiclient.identity"])
        return await handler(request)

    assert signer().identity() is None
    looking: dict[str, Any] = {"auth": signer(), "middlewares": [per_send(look)]}
    async with checking() as server, AsyncAPIClient(server.url, **looking) as s3:
        await s3.get("/a")
        await s3.put("/b", None, content=b"x")
        await s3.get("/a", auth=signer(credentials=Credentials("AKIDOTHER", SECRET)))
        await s3.get("/a", auth=signer("es", Credentials("AKIDEXAMPLE", SECRET, TOKEN)))

    assert seen[0] == seen[1] == seen[3] != seen[2]
    assert seen[0] == "aws:" + hashlib.sha256(b"AKIDEXAMPLE").hexdigest()[:32]


async def test_it_keeps_the_promises() -> None:
    """A chain with the signature keeps the promises of middlewares, even if it is refused and renews."""
    await check_middleware(lambda: AuthMiddleware(signer()))


async def test_no_secret_is_told(checking: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Neither secret nor token appears in a repr, a log, a message, a traceback, or a pickle."""
    caplog.set_level(logging.DEBUG)
    key = Credentials("AKIDEXAMPLE", SECRET, TOKEN)

    async def fetch() -> Credentials:
        return key

    told: list[str] = []
    denied = response("403 Forbidden", b"<Code>AccessDenied</Code>")
    for credentials in (key, fetch):
        auth = signer(credentials=credentials)
        async with checking(denied) as server, AsyncAPIClient(server.url, auth=auth) as s3:
            with pytest.raises(PermissionDeniedError) as caught:
                await s3.get("/key")
        told += [*traceback.format_exception(caught.value), repr(caught.value.request), repr(s3)]
        told += [repr(auth), str(auth), repr(auth._cache)]
        for thing in (auth, key):
            for leak in (pickle.dumps, copy.deepcopy):
                with pytest.raises(TypeError, match="cannot be pickled") as refused:
                    leak(thing)
                told.append(str(refused.value))
    told += [repr(key), str(key), f"{key}", caplog.text]

    text = "\n".join(told)
    assert "AKIDEXAMPLE" in text
    assert SECRET not in text
    assert TOKEN not in text


async def test_rich_shows_no_secret() -> None:
    """Rich's output of the objects, including tracebacks, contains no secret."""
    rich = pytest.importorskip("rich.pretty")
    key = Credentials("AKIDEXAMPLE", SECRET, TOKEN)

    async def fetch() -> Credentials:
        return key

    auth = signer(credentials=fetch)
    await signed(auth=auth)
    token = await auth._fetch()
    text = "\n".join(rich.pretty_repr(thing) for thing in (key, auth, auth._cache, token))

    assert "AKIDEXAMPLE" in text
    assert SECRET not in text
    assert TOKEN not in text


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: signer("S3"), InvalidRequestError, "service must be a name such as 's3', not 'S3'"),
        (lambda: signer(""), InvalidRequestError, "service must be a name"),
        (lambda: signer(3), TypeError, "service must be a str such as 's3', not int"),
        (lambda: SigV4(KEY, service="s3", region="eu/1"), InvalidRequestError, "region must be a name"),
        (
            lambda: signer(credentials=("a", "b")),
            TypeError,
            "must be Credentials or an async function, not tuple",
        ),
        (lambda: signer(credentials=Credentials), TypeError, "not the class Credentials"),
        (lambda: signer(unsigned_payload="no"), TypeError, "unsigned_payload must be True or False, not str"),
        (lambda: signer(normalize_path=1), TypeError, "normalize_path must be True or False, not 1"),
        (lambda: signer(clock=1.0), TypeError, "clock must be a function, not 1.0"),
        (
            lambda: signer(sign_headers="range"),
            TypeError,
            "sign_headers must be an iterable of header names",
        ),
        (
            lambda: signer(sign_headers=[1]),
            TypeError,
            "sign_headers must contain str, not int",
        ),
        (
            lambda: signer(sign_headers=["a b"]),
            InvalidRequestError,
            "header name .* is not a token",
        ),
    ],
)
def test_bad_arguments(make: Any, error: type[Exception], words: str) -> None:
    """An argument is refused at construction, with the expected value in the message."""
    with pytest.raises(error, match=words):
        make()


# --- presigned URLs


async def test_a_presigned_url() -> None:
    """The query has the parameters, the signature last, and no part of the secret."""
    key = Credentials("ASIAEXAMPLE", SECRET, TOKEN)
    auth = signer(credentials=key, clock=lambda: NOON)
    url = URL(
        await auth.presign("https://b.s3.example/a b.txt".replace(" ", "%20"), expires=60), encoded=True
    )

    assert url.raw_path == "/a%20b.txt"
    assert list(url.query) == [
        *("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders"),
        *("X-Amz-Security-Token", "X-Amz-Signature"),
    ]
    assert url.query["X-Amz-Credential"] == "ASIAEXAMPLE/20261129/us-east-1/s3/aws4_request"
    assert (url.query["X-Amz-Date"], url.query["X-Amz-Expires"]) == ("20261129T120000Z", "60")
    assert SECRET not in str(url)


async def test_what_changes_a_presigned_url() -> None:
    """Method, time, headers and each part of the URL are part of the signature."""
    auth = signer(clock=lambda: NOON)
    url = "https://b.s3.example/k?a=1"
    signatures = {
        await auth.presign(url),
        await auth.presign(url, "PUT"),
        await auth.presign(url, expires=60),
        await auth.presign(url, headers={"Content-Type": "text/plain"}),
        await auth.presign(url, headers={"Content-Type": "text/html"}),
        await auth.presign(url, content=b""),
        await auth.presign(url, content=b"{}"),
        await auth.presign("https://c.s3.example/k?a=1"),
        await auth.presign("https://b.s3.example/k?a=2"),
        await auth.presign("https://b.s3.example/l?a=1"),
    }

    assert len({one.rpartition("=")[2] for one in signatures}) == 10


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"expires": 0}, InvalidRequestError, "expires must be from 1 to 604800 seconds, not 0"),
        ({"expires": 604801}, InvalidRequestError, "not 604801"),
        ({"expires": 1.5}, TypeError, "expires must be a whole number of seconds, not float"),
        ({"expires": True}, TypeError, "not bool"),
        ({"url": "/key"}, InvalidRequestError, "must start with http"),
        ({"url": "https://user:hush@h.example/"}, InvalidRequestError, "userinfo"),
        ({"url": "https://h.example/?X-Amz-Signature=1"}, InvalidRequestError, "signed already"),
        ({"url": "https://h.example/?X%2DAmz-Credential"}, InvalidRequestError, "signed already"),
        ({"url": "https://h.example/a%2Fb"}, InvalidRequestError, "escaped slash"),
        ({"url": 7}, TypeError, "url must be a str or a URL, not int"),
        ({"headers": {"a b": "c"}}, InvalidRequestError, "[Hh]eader"),
        ({"content": "hush"}, TypeError, "content must be bytes or None, not str"),
    ],
)
async def test_bad_presigned_urls(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    """Invalid input is refused, without a secret in the message."""
    with pytest.raises(error, match=words) as caught:
        await signer().presign(**{"url": "https://h.example/", **arguments})
    assert "hush" not in str(caught.value)


def test_it_works_on_a_second_loop() -> None:
    """A function for credentials, and its result, also serve the next event loop."""
    asked: list[int] = []

    async def fetch() -> Credentials:
        asked.append(1)
        return Credentials("ASIAEXAMPLE", SECRET, TOKEN, expires=NOON + 3600)

    clock = FakeClock(NOON)
    auth = signer(credentials=fetch, clock=clock.time)
    for seconds in (0, 10, 3600):
        clock.advance(seconds)
        asyncio.run(signed(auth=auth))
    assert len(asked) == 2
