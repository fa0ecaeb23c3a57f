"""`Cache` as a middleware: its arguments, its position, its promises; and `cache_status`."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import hishel
import pytest
from aioapiclient_cache import Cache, CacheStatus, MemoryStorage, cache_status
from aioapiclient_cache._directives import parse_directives, seconds

from aioapiclient import (
    APIKeyAuth,
    APIRequest,
    AsyncAPIClient,
    AsyncAPIResponse,
    BearerAuth,
    InvalidRequestError,
    load_middleware,
    per_attempt,
    per_send,
)
from aioapiclient.testing import FakeTransport, check_middleware, respond

WRONG = [
    ({"stale_if_error": -1}, InvalidRequestError, "stale_if_error must be 0 seconds or more, not -1"),
    ({"stale_if_error": float("nan")}, InvalidRequestError, "stale_if_error must be 0 seconds or more"),
    ({"stale_if_error": "9"}, TypeError, "stale_if_error must be a number of seconds, not str"),
    ({"stale_if_error": True}, TypeError, "stale_if_error must be a number of seconds, not bool"),
    ({"default_ttl": -0.5}, InvalidRequestError, "default_ttl must be 0 seconds or more, not -0.5"),
    ({"default_ttl": float("inf")}, InvalidRequestError, "default_ttl must be 0 seconds or more, not inf"),
    ({"max_body": -1}, InvalidRequestError, "max_body must be 0 bytes or more, not -1"),
    ({"max_body": 1.5}, TypeError, "max_body must be an int of 0 bytes or more, not 1.5"),
    ({"max_body": None}, TypeError, "max_body must be an int of 0 bytes or more, not None"),
    ({"shared": "yes"}, TypeError, "shared must be True or False, not str"),
    ({"coalesce": 1}, TypeError, "coalesce must be True or False, not 1"),
    ({"stale_while_revalidate": 60}, TypeError, "stale_while_revalidate must be True or False, not 60"),
    ({"store_unmatched_headers": None}, TypeError, "store_unmatched_headers must be True or False"),
    ({"identity": "me"}, TypeError, "identity must be a function, not str"),
    ({"clock": 7}, TypeError, "clock must be a function, not 7"),
    ({"methods": "GET"}, TypeError, "methods must be a tuple such as ('GET', 'HEAD'), not str"),
    ({"methods": ["GET", "POST"]}, InvalidRequestError, "methods may have 'GET' and 'HEAD', not 'POST'"),
    ({"exclude_headers": "X-A"}, TypeError, "exclude_headers must be an iterable of header names, not str"),
    ({"exclude_headers": None}, TypeError, "exclude_headers must be an iterable of header names, not None"),
    ({"exclude_headers": [b"X-A"]}, TypeError, "exclude_headers must contain str, not bytes"),
    ({"exclude_headers": ["X A"]}, InvalidRequestError, "exclude_headers: header name 'X...' is not a token"),
    ({"exclude_headers": ["VARY"]}, InvalidRequestError, "exclude_headers cannot contain 'vary'"),
    ({"exclude_headers": ["ETag"]}, InvalidRequestError, "exclude_headers cannot contain 'etag'"),
    ({"storage": {}}, TypeError, "storage must be an AsyncBaseStorage of hishel, such as MemoryStorage, not"),
    ({"storage": hishel.SqliteStorage}, TypeError, "storage must be an AsyncBaseStorage of hishel"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "kind", "text"), WRONG)
def test_a_wrong_argument_is_refused(options: dict[str, Any], kind: type[Exception], text: str) -> None:
    """A wrong value is an `InvalidRequestError`, a wrong type a `TypeError`; both name the expected value."""
    with pytest.raises(kind) as caught:
        Cache(**options)
    assert str(caught.value).startswith(text)


def test_an_async_identity_is_refused() -> None:
    """A function whose result would never be awaited is refused."""

    async def identity(request: APIRequest) -> str:
        return "me"

    wrong: Any = identity
    with pytest.raises(TypeError, match="identity must be a plain function, not an async one"):
        Cache(identity=wrong)


@pytest.mark.parametrize("options", [{"max_bytes": -1}, {"max_entries": -1}])
def test_a_wrong_size_of_the_memory_is_refused(options: dict[str, int]) -> None:
    """A negative size is an `InvalidRequestError`."""
    with pytest.raises(InvalidRequestError, match=r"must be 0 (bytes|entries) or more, not -1"):
        MemoryStorage(**options)


@pytest.mark.parametrize("coalesce", [True, False])
async def test_it_keeps_the_promises(coalesce: bool) -> None:
    """The middleware keeps the six promises."""
    await check_middleware(
        lambda: Cache(coalesce=coalesce, stale_if_error=60, stale_while_revalidate=True, default_ttl=60)
    )


async def test_its_name_is_enough(bench: Any) -> None:
    """`load_middleware` and the name of the entry point make one."""
    made = load_middleware("cache", shared=True, default_ttl=5)
    assert repr(made) == "<Cache: shared, MemoryStorage>"
    async with AsyncAPIClient(
        bench().base, middlewares=[per_send("cache")], transport=FakeTransport()
    ) as api:
        assert "Cache" in api.explain()


async def test_it_stands_inside_auth_and_outside_the_transport(bench: Any) -> None:
    """The page on the chain shows its position."""
    lines = [line.split()[0] for line in bench().api.explain().splitlines()]
    assert lines.index("AuthMiddleware") < lines.index("Cache") < lines.index("TimeoutMiddleware")


@pytest.mark.parametrize("place", [lambda cache: cache, per_attempt])
@pytest.mark.parametrize("auth", [BearerAuth("ada"), APIKeyAuth("k", header="X-Own")])
async def test_outside_of_auth_it_is_refused(place: Any, auth: Any) -> None:
    """If the credential is not known, no response is stored or returned, and the error explains what to
    do.
    """
    cache = Cache()
    transport = FakeTransport(default=respond(json=1, headers={"Cache-Control": "max-age=60"}))
    async with AsyncAPIClient(
        "https://api.example.com", auth=auth, transport=transport, middlewares=[place(cache)]
    ) as api:
        for _ in range(2):
            with pytest.raises(TypeError, match=r"per_send\(Cache\(\)\)"):
                await api.get("/x")
        assert await api.get("/x", auth=None) == 1
    assert len(transport.requests) == 3
    assert len(cache.storage._items) == 1
    assert transport.open_responses == 0


async def test_a_retry_does_not_find_its_own_failure(bench: Any) -> None:
    """A 503 with a lifetime is not stored: the next attempt is sent."""
    failed = respond(503, headers={"Cache-Control": "max-age=60", "Retry-After": "0"})
    it = bench(failed, respond(json=1), client={"max_retries": 1})
    assert await it.api.get("/x") == 1
    assert it.sends == 2


async def test_the_real_clock_is_the_default() -> None:
    """Without a clock the time of the machine counts."""
    before = int(time.time())
    transport = FakeTransport(respond(json=1, headers={"Cache-Control": "max-age=60"}))
    async with AsyncAPIClient(
        "https://api.example.com", transport=transport, middlewares=[per_send(Cache())]
    ) as api:
        await api.get("/x")
        hit = await api.get("/x", AsyncAPIResponse[Any])
    assert cache_status(hit).hit
    assert before <= int(hit.headers["Age"]) + before <= time.time()


async def test_closing_twice_is_safe() -> None:
    """`close` does not end the cache: it works for another client."""
    cache = Cache()
    await cache.close()
    await cache.close()
    transport = FakeTransport(respond(json=1, headers={"Cache-Control": "max-age=60"}))
    async with AsyncAPIClient(
        "https://api.example.com", transport=transport, middlewares=[per_send(cache)]
    ) as api:
        await api.get("/x")
        await api.get("/x")
    assert len(transport.requests) == 1


async def test_what_it_remembers_is_bounded(bench: Any) -> None:
    """The changed URLs, the keys that cannot be shared, and the known keys are bounded."""
    it = bench(default=respond(json=1, headers={"Cache-Control": "max-age=60"}))
    core = it.cache._core
    for n in range(1100):
        core.change(f"https://api.example.com/{n}")
        core.flights.learn(str(n), shared=False)
    for n in range(10_100):
        core.remember(str(n), "https://api.example.com/")
    assert (len(core._changed), len(core.flights._alone), len(core._keys)) == (1000, 1000, 10_000)


async def test_hishel_is_quiet(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged above DEBUG without a failure."""
    it = bench(default=respond(json=1, headers={"Cache-Control": "max-age=60"}))
    with caplog.at_level(logging.INFO):
        await asyncio.gather(*(it.get(f"/{n % 3}") for n in range(9)))
    assert caplog.records == []


# --- cache_status


def response(*values: str, **headers: str) -> AsyncAPIResponse[Any]:
    """A response with these values of Cache-Status."""
    head: Any = [("Cache-Status", value) for value in values] + list(headers.items())
    return AsyncAPIResponse.from_bytes(APIRequest("GET", "https://api.example.com/x"), 200, head)


NOTHING = CacheStatus(
    hit=False, stored=False, revalidated=False, coalesced=False, age=None, ttl=None, detail=None
)
STATUSES = [
    ((), None),
    (("other; hit",), None),
    (("aioapiclientx; hit",), None),
    (("aioapiclient; hit; ttl=40",), NOTHING._replace(hit=True, ttl=40)),
    (("aioapiclient; hit; ttl=-3; detail=stale-while-revalidate",),
     NOTHING._replace(hit=True, ttl=-3, detail="stale-while-revalidate")),
    (("aioapiclient; fwd=uri-miss; fwd-status=200; stored; ttl=1",), NOTHING._replace(stored=True, ttl=1)),
    (("aioapiclient; fwd=stale; fwd-status=304",), NOTHING._replace(revalidated=True)),
    (("aioapiclient; fwd=uri-miss; collapsed",), NOTHING._replace(coalesced=True)),
    (('ExampleCDN; hit, "quoted"; hit', "aioapiclient; hit"), NOTHING._replace(hit=True)),
    (("aioapiclient; hit", "aioapiclient; fwd=uri-miss"), NOTHING),
]  # fmt: skip


@pytest.mark.parametrize(("values", "status"), STATUSES)
def test_cache_status_reads_the_header(values: tuple[str, ...], status: CacheStatus | None) -> None:
    """The last member of this cache counts; those of other caches are ignored."""
    assert cache_status(response(*values)) == status


@pytest.mark.parametrize(("age", "number"), [("7", 7), ("x", None), ("-1", None), ("9" * 30, None)])
def test_the_age_is_a_number_or_none(age: str, number: int | None) -> None:
    """An `Age` that is not a number is None."""
    status = cache_status(response("aioapiclient; hit", Age=age))
    assert status is not None
    assert status.age == number


async def test_the_status_of_another_cache_is_kept(bench: Any) -> None:
    """A cache between here and the server has its own member, before ours (RFC 9211 §2)."""
    it = bench(respond(json=1, headers={"Cache-Control": "max-age=60", "Cache-Status": "CDN; hit"}))
    for ours in ("aioapiclient; fwd=uri-miss; fwd-status=200; stored; ttl=60", "aioapiclient; hit; ttl=60"):
        assert (await it.get()).headers.getall("Cache-Status") == ["CDN; hit", ours]


# --- directives


@pytest.mark.parametrize(
    ("text", "directives"),
    [
        ("", {}),
        ("no-store", {"no-store": ""}),
        ("Max-Age=5 , PUBLIC", {"max-age": "5", "public": ""}),
        ('no-cache="a, b", max-age=5', {"no-cache": "a, b", "max-age": "5"}),
        (r'x="a\"b, no-store", y', {"x": r"a\"b, no-store", "y": ""}),
        ("max-age = 5", {"max-age": "5"}),
        ("max-age=5 6", {"max-age": "5 6"}),
        (", ,=,", {}),
        ('a="b", c="unclosed\\", no-store', {"a": "b", "c": "unclosed\\", "no-store": ""}),
        ('a="unclosed, no-store', {"a": "unclosed", "no-store": ""}),
    ],
)  # fmt: skip
def test_directives_are_parsed(text: str, directives: dict[str, str]) -> None:
    """Names are in lower case, values without quotes; a comma in quotes is not a separator."""
    assert {**parse_directives(text)} == directives


NUMBERS = [("5", 5), ("05", 5), ('"5"', 5), ("9" * 50, 1 << 31), ("4294967296", 1 << 31)]
NONE = ["", "5.0", "-5", "+5", "5 6", "5;a", "x", "\u0663", "1_0"]


@pytest.mark.parametrize(("value", "number"), [*NUMBERS, *((value, 0) for value in NONE)])
def test_seconds_are_whole_numbers(value: str, number: int) -> None:
    """A time that is not a number counts as 0, and a huge one as 2^31 (RFC 9111 §1.2.2)."""
    assert seconds(parse_directives(f"max-age={value}"), "max-age") == number
    assert seconds({}, "max-age") is None
