"""Two principals never share a response, and no secret gets into a storage, a log or a repr."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import Any

import hishel
import pytest
from aioapiclient_cache import Cache, MemoryStorage
from hypothesis import given, settings
from hypothesis import strategies as st

from aioapiclient import (
    APIKeyAuth,
    APIRequest,
    AsyncAPIClient,
    AsyncAPIResponse,
    Auth,
    BasicAuth,
    BearerAuth,
    per_send,
)
from aioapiclient.testing import FakeClock, FakeTransport

SECRET = "canary-5e1f"
BASE = "https://api.example.com"


def echo(request: APIRequest) -> AsyncAPIResponse[Any]:
    """Answers with the headers that may name the principal, and with a public response."""
    who = "|".join(f"{name}={value}" for name, value in sorted(request.headers.items()) if name[0] in "ACOXx")
    control = "max-age=60, public"
    body = f"{who} {request.url}".encode()
    return AsyncAPIResponse.from_bytes(request, 200, {"Cache-Control": control}, body)


class TeamAuth(Auth):
    """A credential in a header whose name does not suggest it."""

    def __init__(self, team: str) -> None:
        self.team = team

    async def authenticate(self, request: APIRequest, /) -> None:
        request.headers["X-Team"] = self.team


class Signature(Auth):
    """A credential that differs from request to request, and names its principal."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.count = 0

    async def authenticate(self, request: APIRequest, /) -> None:
        self.count += 1
        request.headers["Authorization"] = f"Signature {self.count}"
        request.headers["X-Date"] = str(self.count)

    def identity(self) -> str | None:
        return self.name


async def answers(*calls: dict[str, Any], **options: Any) -> tuple[list[bytes], int]:
    """The bodies that these calls get one after the other, and how many were sent."""
    transport = FakeTransport(default=echo)
    cache = Cache(**options)
    async with AsyncAPIClient(BASE, transport=transport, middlewares=[per_send(cache)]) as api:
        bodies = [await api.get("/x", bytes, **call) for call in calls]
    return bodies, len(transport.requests)


def by_header(name: str) -> Callable[[str], dict[str, Any]]:
    """The options of a call that names its principal in this header."""
    return lambda who: {"headers": {name: who}}


TELLING = [
    lambda who: {"auth": BearerAuth(who)},
    lambda who: {"auth": BasicAuth(who, "password")},
    lambda who: {"auth": BasicAuth("user", who)},
    lambda who: {"auth": APIKeyAuth(who)},
    lambda who: {"auth": APIKeyAuth(who, header="X-Own")},
    lambda who: {"auth": APIKeyAuth(who, param="k")},
    lambda who: {"auth": TeamAuth(who)},
    *map(
        by_header,
        ("Authorization", "Cookie", "X-API-Key", "X-Auth-Token", "x-session", "X-Amz-Security-Token"),
    ),
    *map(by_header, ("X-Tenant", "X-User-Id", "X-Account", "OpenAI-Organization", "X-On-Behalf-Of")),
]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("telling", TELLING)
async def test_each_principal_has_answers_of_its_own(telling: Callable[[str], Any], shared: bool) -> None:
    """Whatever distinguishes two principals, each gets its own response, from the cache the second time."""
    bodies, sends = await answers(*(telling(who) for who in ("alice", "bob", "alice", "bob")), shared=shared)
    assert bodies[:2] == bodies[2:]
    assert bodies[0] != bodies[1]
    assert sends == 2


async def test_who_asks_without_a_credential_is_somebody_else() -> None:
    """A response for a principal is not given to a caller without a credential, or the reverse."""
    bodies, sends = await answers({"auth": BearerAuth("alice")}, {}, {"auth": BearerAuth("alice")}, {})
    assert bodies[:2] == bodies[2:]
    assert bodies[0] != bodies[1]
    assert sends == 2


async def test_headers_that_change_each_time_do_not_tell() -> None:
    """A request ID, a trace, an idempotency key and a User-Agent do not keep responses apart."""
    names = ("X-Request-ID", "traceparent", "Idempotency-Key", "User-Agent")
    _, sends = await answers(*({"headers": dict.fromkeys(names, f"v{n}")} for n in range(3)))
    assert sends == 1


async def test_an_identity_stands_for_the_headers_of_its_credential() -> None:
    """A signature that differs each time still finds the responses of its principal."""
    alice = Signature("alice")
    bodies, sends = await answers({"auth": alice}, {"auth": alice}, {"auth": Signature("bob")})
    assert sends == 2
    assert bodies[0] == bodies[1]


async def test_without_an_identity_a_signature_finds_nothing() -> None:
    """Without a name, two signatures of one principal cannot be recognised as equal."""
    alice = Signature(None)
    _, sends = await answers({"auth": alice}, {"auth": alice})
    assert sends == 2


async def test_a_header_of_the_call_counts_beside_the_identity() -> None:
    """A credential that the call itself sets replaces the named one, and keeps responses apart."""
    alice = Signature("alice")
    calls = [{"auth": alice, "headers": {"Authorization": who}} for who in ("x", "y", "x")]
    calls += [{"auth": alice, "headers": {"Cookie": who}} for who in ("x", "y", "x")]
    bodies, sends = await answers(*calls)
    assert sends == 4
    assert len(set(bodies)) == 4


async def test_identity_replaces_the_credentials() -> None:
    """Requests with the same name from `identity` share their responses; None leaves it to the
    credentials.
    """

    def tenant(request: APIRequest) -> str | None:
        return request.headers.get("X-Tenant")

    calls = [
        {"headers": {"X-Tenant": t, "Authorization": a}} for t, a in [("1", "a"), ("1", "b"), ("2", "a")]
    ]
    calls += [{"headers": {"Authorization": a}} for a in ("a", "b", "a")]
    _, sends = await answers(*calls, identity=tenant)
    assert sends == 4


async def test_an_identity_is_a_text() -> None:
    """An identity of another type ends the call before anything is sent."""
    wrong: Any = lambda request: 7  # noqa: E731
    with pytest.raises(TypeError, match="identity must return a str or None, not int"):
        await answers({}, identity=wrong)


# --- two tenants, fuzzed

HEADERS = ("Authorization", "Cookie", "X-API-Key", "X-Tenant", "X-Team-Token")
STEP = st.tuples(
    st.sampled_from(["alice", "bob"]),
    st.sampled_from(HEADERS),
    st.sampled_from(["/a", "/b"]),
    st.sampled_from(["GET", "GET", "GET", "HEAD", "POST"]),
    st.sampled_from(["", "max-age=0", "max-stale", "no-cache", "only-if-cached", "no-store"]),
    st.integers(0, 40),
)
ANSWER = st.sampled_from(
    [
        {"Cache-Control": "max-age=60, public"},
        {"Cache-Control": "max-age=60, public", "Vary": "Accept"},
        {"Cache-Control": "max-age=5, public, stale-while-revalidate=60", "ETag": '"e"'},
        {"Cache-Control": "no-cache, public", "ETag": '"e"'},
        {"Cache-Control": "private, max-age=60"},
        {"Cache-Control": "no-store"},
        {},
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, min_size=2, max_size=12), st.lists(ANSWER, min_size=1, max_size=4), st.booleans())
async def test_no_answer_crosses_from_one_tenant_to_another(steps: Any, shapes: Any, shared: bool) -> None:
    """However two tenants call, and whatever the server allows, each gets its own responses."""
    clock = FakeClock(start=1_800_000_000.0)

    def serve(request: APIRequest) -> AsyncAPIResponse[Any]:
        who = next(request.headers[name] for name in HEADERS if name in request.headers)
        headers = {**shapes[len(transport.requests) % len(shapes)], "X-For": who}
        if request.headers.get("If-None-Match") == headers.get("ETag", ""):
            return AsyncAPIResponse.from_bytes(request, 304, headers)
        return AsyncAPIResponse.from_bytes(
            request, 200, headers, b"" if request.method == "HEAD" else who.encode()
        )

    transport = FakeTransport(default=serve)
    cache = Cache(shared=shared, clock=clock.time, stale_if_error=60, stale_while_revalidate=True)
    async with AsyncAPIClient(BASE, transport=transport, middlewares=[per_send(cache)]) as api:
        for who, header, path, method, directive, seconds in steps:
            clock.advance(seconds)
            directives = {"Cache-Control": directive} if directive else {}
            response = await api.request(
                method, path, AsyncAPIResponse[bytes], headers={header: who, **directives}, ok_statuses={504}
            )
            if response.status != 504:
                assert response.headers["X-For"] == who
                assert response.body == (b"" if method == "HEAD" else who.encode())


# --- secrets


async def test_nothing_secret_is_stored(storage: hishel.AsyncBaseStorage, tmp_path: Any) -> None:
    """A secret in the URL, in a header of the request or of the response is not found in a storage."""

    def serve(asked: APIRequest) -> AsyncAPIResponse[Any]:
        head = {
            "Cache-Control": "max-age=60",
            "Vary": "Authorization, Cookie, X-API-Key, Accept-Language",
            "Set-Cookie": f"session={SECRET}",
            "X-Refreshed-Token": SECRET,
            "Authentication-Info": SECRET,
            "X-Shown": "kept",
        }
        return AsyncAPIResponse.from_bytes(asked, 200, head, b"body")

    names = ("Cookie", "X-API-Key", "Accept-Language", "X-Session-Id", "X-Plain")
    transport = FakeTransport(default=serve)
    async with AsyncAPIClient(
        BASE, transport=transport, auth=BearerAuth(SECRET), middlewares=[per_send(Cache(storage))]
    ) as api:
        for _ in range(2):
            response = await api.get(
                "/x", AsyncAPIResponse[bytes], params={"key": SECRET}, headers=dict.fromkeys(names, SECRET)
            )
    assert len(transport.requests) == 1
    assert response.headers["X-Shown"] == "kept"
    assert SECRET not in str(response.headers)
    kept = await everything_in(storage, tmp_path)
    assert b"kept" in kept  # so that stored data is searched
    assert b"body" in kept
    assert SECRET.encode() not in kept


async def everything_in(storage: hishel.AsyncBaseStorage, folder: Any) -> bytes:
    """All bytes that a storage has kept."""
    if isinstance(storage, MemoryStorage):
        items = list(storage._items.values())
        return b"".join(repr((i.request, i.status, i.headers, i.key)).encode() + i.body for i in items)
    if isinstance(storage, hishel.AsyncSqliteStorage):
        await storage.close()
        return b"".join(path.read_bytes() for path in folder.glob("cache.db*"))
    client: Any = storage._client  # type: ignore[attr-defined]
    parts: list[bytes] = []
    async for key in client.scan_iter(match="*"):
        kind = await client.type(key)
        if kind == b"string":
            parts += [key, await client.get(key)]
        else:
            read = client.lrange if kind == b"list" else client.zrange
            parts += [key, *await read(key, 0, -1)]
    return b"".join(parts)


async def test_no_secret_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """No repr and no record of a log has the secret, at any level."""
    caplog.set_level(logging.DEBUG)
    cache = Cache()
    transport = FakeTransport(default=echo)
    async with AsyncAPIClient(
        BASE, transport=transport, auth=BearerAuth(SECRET), middlewares=[per_send(cache)]
    ) as api:
        for _ in range(2):
            await api.get("/x", bytes, params={"key": SECRET})
        await api.post("/x", bytes, params={"key": SECRET})
        shown = [repr(cache), repr(cache.storage), repr(cache._core), str(api.stats()), api.explain()]
    assert SECRET not in "".join(shown) + caplog.text


def test_a_cache_is_not_pickled() -> None:
    """A cache with its contents cannot be pickled by mistake."""
    with pytest.raises(TypeError, match="Cache cannot be pickled"):
        pickle.dumps(Cache())
