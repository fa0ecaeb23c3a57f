"""The rules of RFC 9111: which responses are stored, how long they are fresh, and the directives of a
request.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aioapiclient_cache import cache_status

from aioapiclient import AsyncAPIResponse, InvalidRequestError, NotFoundError
from aioapiclient.testing import respond

# The time of a bench when it begins.
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"
EARLIER = "Fri, 15 Jan 2027 07:00:00 GMT"


def answer(control: str | None = None, status: int = 200, body: bytes = b"{}", **headers: str) -> Any:
    """A response with these headers; underscores stand for hyphens."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if control is not None:
        given["Cache-Control"] = control
    return respond(status, body=body, headers={"Content-Type": "application/json", **given})


def cache_control(control: str) -> dict[str, dict[str, str]]:
    """The options of a call with this Cache-Control."""
    return {"headers": {"Cache-Control": control}}


# --- freshness


async def test_a_fresh_response_is_used_again(bench: Any) -> None:
    """A hit has the body and the headers of the stored response, its age, and a Cache-Status."""
    it = bench(answer("max-age=60", body=b'{"n":1}', ETag='"a"', Date=DATE))
    await it.get()
    it.clock.advance(20)
    hit = await it.get()
    assert it.sends == 1
    assert (hit.status, hit.body, hit.headers["ETag"], hit.headers["Date"]) == (200, b'{"n":1}', '"a"', DATE)
    assert hit.headers["Age"] == "20"
    assert hit.headers["Cache-Status"] == "aioapiclient; hit; ttl=40"


async def test_a_hit_is_decoded_to_the_type_of_its_call(bench: Any) -> None:
    """The stored body is decoded to the type that each call requests."""
    it = bench(answer("max-age=60", body=b'{"n":1}'))
    assert await it.api.get("/x", dict[str, int]) == {"n": 1}
    assert await it.api.get("/x", dict[str, float]) == {"n": 1.0}
    assert await it.api.get("/x", bytes) == b'{"n":1}'
    assert it.sends == 1


LIFETIMES = [
    # control, other headers, seconds of a private cache, seconds of a shared one
    ("max-age=60", {}, 60, 60),
    ("max-age=60, s-maxage=9", {}, 60, 9),
    ('max-age="60"', {}, 60, 60),
    ("MAX-AGE=60", {}, 60, 60),
    ("max-age=60, max-age=20", {}, 20, 20),
    ('foo="max-age=9", max-age=60', {}, 60, 60),
    ("max-age=60.5", {}, 0, 0),
    ("max-age=-5", {}, 0, 0),
    ("max-age=x", {}, 0, 0),
    ("max-age", {}, 0, 0),
    ("max-age=60", {"Age": "50"}, 10, 10),
    ("max-age=60", {"Age": "100"}, 0, 0),
    ("max-age=60", {"Age": "x"}, 0, 0),
    ("max-age=60", {"Age": "1, 1"}, 0, 0),
    ("max-age=60", {"Date": "Fri, 15 Jan 2027 07:59:30 GMT"}, 30, 30),
    ("max-age=60", {"Date": "Fri, 15 Jan 2027 07:59:30 GMT", "Age": "40"}, 20, 20),
    ("max-age=60", {"Date": "Fri, 15 Jan 2027 08:10:00 GMT"}, 60, 60),
    ("max-age=60", {"Date": "not a date"}, 60, 60),
    ("max-age=60", {"Expires": "0"}, 60, 60),
    (None, {"Expires": "Fri, 15 Jan 2027 08:01:00 GMT"}, 60, 60),
    (None, {"Expires": "Friday, 15-Jan-27 08:01:00 GMT"}, 60, 60),
    (None, {"Expires": "Fri Jan 15 08:01:00 2027"}, 60, 60),
    (None, {"Expires": "Fri, 15 Jan 2027 08:01:00 UTC"}, 0, 0),
    (None, {"Expires": "Fri, 15 Jan 2027 08:01:00 +0000"}, 0, 0),
    (None, {"Expires": "2027-01-15 08:01:00"}, 0, 0),
    (None, {"Expires": "0"}, 0, 0),
    (None, {"Last-Modified": "Fri, 15 Jan 2027 07:50:00 GMT"}, 60, 60),
    (None, {"Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT"}, 604800, 604800),
    (None, {"Expires": "0", "Last-Modified": "Fri, 15 Jan 2027 07:50:00 GMT"}, 0, 0),
    (None, {"ETag": '"a"'}, 0, 0),
]  # fmt: skip


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("control", "headers", "private", "common"), LIFETIMES)
async def test_how_long_a_response_is_fresh(
    bench: Any, control: str | None, headers: dict[str, str], private: int, common: int, shared: bool
) -> None:
    """A response is used until its lifetime, less its corrected age, has passed, and not a second longer."""
    headers = {"Date": DATE, "ETag": '"v"', **headers}
    seconds = common if shared else private
    it = bench(default=answer(control, **headers), shared=shared)
    await it.get()
    if seconds:
        it.clock.advance(seconds - 1)
        assert await it.hits()
        it.clock.advance(1)
    assert not await it.hits()


async def test_the_time_that_a_response_took_counts_for_its_age(bench: Any) -> None:
    """A response that was in flight for 10 s is 10 s old when it arrives (RFC 9111 §4.2.3)."""

    async def slow(request: Any) -> Any:
        it.clock.advance(10)
        return answer("max-age=60", Age="5")

    it = bench(slow, default=answer())
    await it.get()
    assert (await it.get()).headers["Age"] == "15"


# --- storing


async def test_a_useless_response_is_not_stored(bench: Any) -> None:
    """A response without freshness and without a validator is not stored."""
    it = bench(default=answer())
    status = cache_status(await it.get())
    assert status is not None
    assert not status.stored
    assert it.cache.storage._items == {}


NOT_STORED = [
    (answer("no-store"), False),
    (answer("max-age=60, no-store"), False),
    (answer("private, max-age=60"), True),
    (answer("max-age=60", Vary="*"), False),
    (answer("max-age=60", status=206, Content_Range="bytes 0-1/2"), False),
    (answer("max-age=60", status=401), False),
    (answer("max-age=60", status=408), False),
    (answer("max-age=60", status=429), False),
    (answer("max-age=60", status=500), False),
    (answer("max-age=60", status=503), False),
    (answer("no-cache"), False),
    (answer("max-age=60", body=b"x" * 101), False),
]


@pytest.mark.parametrize(("response", "shared"), NOT_STORED)
async def test_what_is_not_stored(bench: Any, response: Any, shared: bool) -> None:
    """Responses that may not be stored, that a retry must not get again, or that are too large are fetched
    each time.
    """
    it = bench(default=response, shared=shared, max_body=100)
    await it.get()
    assert not await it.hits()
    assert it.cache.storage._items == {}


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 302, 307, 308, 404, 410, 418])
async def test_any_other_status_is_stored_if_its_time_is_given(bench: Any, status: int) -> None:
    """A redirect or an error with a lifetime is reused unchanged."""
    it = bench(default=answer("max-age=60", status=status, body=b"" if status == 204 else b"{}"))
    await it.get()
    response = await it.get()
    assert (it.sends, response.status) == (1, status)


async def test_a_stored_error_is_raised_again(bench: Any) -> None:
    """A call that gets a 404 from the cache ends like the first one, with the reason in the message."""
    it = bench(default=answer("max-age=60", status=404, body=b'{"detail":"gone fishing"}'))
    texts = []
    for _ in range(2):
        with pytest.raises(Exception, match="404 Not Found") as caught:
            await it.api.get("/x")
        texts.append(str(caught.value))
    assert it.sends == 1
    assert "gone fishing" in texts[1]


async def test_fields_of_the_connection_are_not_stored(bench: Any) -> None:
    """Headers that `Connection` or `no-cache` names are left out of the stored response."""
    it = bench(
        answer(
            'max-age=60, no-cache="X-Once"',
            Connection="X-Hop, close", X_Hop="1", X_Once="1", X_Kept="1", Keep_Alive="5", TE="x",
        )
    )  # fmt: skip
    first = await it.get()
    hit = await it.get()
    assert {"X-Hop", "X-Once", "X-Kept"} <= first.headers.keys()
    assert [
        name
        for name in ("X-Hop", "X-Once", "Connection", "Keep-Alive", "TE", "X-Kept")
        if name in hit.headers
    ] == ["X-Kept"]


async def test_calls_that_wait_do_not_get_an_excluded_header(bench: Any) -> None:
    """Of equal calls, the one that is sent gets an excluded header; those that share its response do not."""
    it = bench(default=answer("max-age=60", X_Left="99"), exclude_headers=["X-Left"])
    responses = await asyncio.gather(*(it.get() for _ in range(3)))
    assert it.sends == 1
    assert sorted("X-Left" in response.headers for response in responses) == [False, False, True]


async def test_a_head_has_a_response_of_its_own(bench: Any) -> None:
    """HEAD and GET of one URL are stored separately, and HEAD keeps its Content-Length."""
    it = bench(answer("max-age=60", body=b"", Content_Length="99"), answer("max-age=60", body=b"12"))
    for _ in range(2):
        head = await it.api.head("/x")
        assert head.headers["Content-Length"] == "99"
        assert (await it.get()).body == b"12"
    assert [sent.method for sent in it.transport.requests] == ["HEAD", "GET"]


async def test_only_the_methods_that_are_named_are_stored(bench: Any) -> None:
    """With ``methods=("GET",)`` a HEAD bypasses the cache."""
    it = bench(default=answer("max-age=60", body=b""), methods=("GET",))
    for _ in range(2):
        assert cache_status(await it.api.head("/x")) is None
    assert it.sends == 2


CONDITIONS = ("If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range", "Range")


@pytest.mark.parametrize("name", CONDITIONS)
async def test_a_request_with_a_condition_goes_past_the_cache(bench: Any, name: str) -> None:
    """A condition or a range set by the caller is sent unchanged, and its response is not stored."""
    it = bench(default=answer("max-age=60"))
    for _ in range(2):
        assert cache_status(await it.get(headers={name: "x"})) is None
    assert [sent.headers[name] for sent in it.transport.requests] == ["x", "x"]


async def test_a_stream_goes_past_the_cache(bench: Any) -> None:
    """A stream is neither answered from the cache nor stored."""
    it = bench(default=answer("max-age=60"))
    await it.get()
    async with await it.api.get("/x", stream=True) as stream:
        assert cache_status(stream.response) is None
    assert it.sends == 2


async def test_default_ttl_is_for_successes_that_say_nothing(bench: Any) -> None:
    """`default_ttl` makes a success without freshness information fresh; it does not affect an error or a
    no-cache response.
    """
    it = bench(
        answer(),
        answer(status=404),
        answer(status=404),
        answer("no-cache"),
        answer("no-cache"),
        default_ttl=60,
    )
    await it.get("/silent")
    it.clock.advance(59)
    assert await it.hits("/silent")
    for path in ("/missing", "/no-cache"):
        await it.get(path)
        assert not await it.hits(path)


async def test_a_call_that_reads_less_is_not_given_more(bench: Any) -> None:
    """A stored body above the call's own ``max_body`` is left to the transport, which refuses it."""
    it = bench(default=answer("max-age=60", body=b"123456"))
    await it.get()
    with pytest.raises(Exception, match="more than 5 bytes"):
        await it.get(max_body=5)
    assert await it.hits(max_body=6)


async def test_bodies_as_they_were_sent_are_kept_apart(bench: Any) -> None:
    """A call with ``decompress=False`` finds the responses of such calls, with their Content-Encoding."""
    it = bench(
        answer("max-age=60", body=b"plain"), answer("max-age=60", body=b"coded", Content_Encoding="gzip")
    )
    for _ in range(2):
        plain, coded = await it.get(), await it.get(decompress=False)
        assert (plain.body, coded.body) == (b"plain", b"coded")
    assert it.sends == 2
    assert coded.headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("control", "shared", "kept"),
    [
        ("max-age=60", False, True),
        ("max-age=60", True, False),
        ("max-age=60, public", True, True),
        ("max-age=60, must-revalidate", True, True),
        ("s-maxage=60", True, True),
    ],
)
async def test_a_shared_cache_needs_leave_to_keep_what_a_credential_got(
    bench: Any, control: str, shared: bool, kept: bool
) -> None:
    """In a shared cache the response to a request with Authorization is stored only if its directives
    allow it (RFC 9111 §3.5).
    """
    it = bench(default=answer(control), shared=shared)
    ada = {"headers": {"Authorization": "Bearer ada"}}
    await it.get(**ada)
    assert await it.hits(**ada) is kept


async def test_an_error_whose_body_broke_is_not_stored(bench: Any) -> None:
    """A 404 that could not be read to its end is returned, and sent again the next time."""
    headers = {"Cache-Control": "max-age=60"}
    it = bench(default=respond(404, body=b"not whole", headers=headers, cut_after=3))
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await it.api.get("/x")
    assert it.sends == 2


async def test_an_error_is_never_as_it_was_sent(bench: Any) -> None:
    """The body of an error is decompressed for every call, so it is not stored for ``decompress=False``."""
    it = bench(default=answer("max-age=60", 404, Content_Encoding="gzip"))
    await it.get()
    assert await it.hits()
    await it.get(decompress=False)
    assert not await it.hits(decompress=False)


# --- the directives of a request (RFC 9111 §5.2.1)

DIRECTIVES = [
    # of the request, of the stored response, seconds since, result
    ("max-age=10", "max-age=60", 9, "hit"),
    ("max-age=10", "max-age=60", 10, "validated"),
    ("max-age=0", "max-age=60", 0, "validated"),
    ("max-age=x", "max-age=60", 0, "validated"),
    ("min-fresh=10", "max-age=60", 49, "hit"),
    ("min-fresh=10", "max-age=60", 50, "validated"),
    ("max-stale", "max-age=60", 10_000, "hit"),
    ("max-stale=10", "max-age=60", 70, "hit"),
    ("max-stale=10", "max-age=60", 71, "validated"),
    ("max-stale, max-age=30", "max-age=60", 31, "validated"),
    ("max-stale", "max-age=60, must-revalidate", 61, "validated"),
    ("max-stale", "no-cache", 0, "validated"),
    ("no-cache", "max-age=60", 0, "validated"),
    ("no-store", "max-age=60", 0, "past"),
    ("no-transform", "max-age=60", 0, "hit"),
    ("only-if-cached", "max-age=60", 59, "hit"),
    ("only-if-cached", "max-age=60", 60, "504"),
    ("only-if-cached, max-stale", "max-age=60", 600, "hit"),
    ("", "max-age=60", 60, "validated"),
]


@pytest.mark.parametrize(("request_control", "control", "seconds", "outcome"), DIRECTIVES)
async def test_the_directives_of_a_request(
    bench: Any, request_control: str, control: str, seconds: int, outcome: str
) -> None:
    """Each directive of a request follows RFC 9111 §5.2.1."""
    it = bench(answer(control, ETag='"a"'), default=answer(control, 304, b"", ETag='"a"'))
    await it.get()
    it.clock.advance(seconds)
    response = await it.get(**cache_control(request_control))
    status = cache_status(response)
    conditional = [sent.headers.get("If-None-Match") for sent in it.transport.requests[1:]]
    if outcome == "hit":
        assert status.hit
        assert conditional == []
    elif outcome == "validated":
        assert (status.hit, status.revalidated, response.status) == (False, True, 200)
        assert conditional == ['"a"']
    elif outcome == "past":
        assert (status, conditional) == (None, [None])
    else:
        assert (response.status, status.detail, conditional) == (504, "only-if-cached", [])


@pytest.mark.parametrize(
    ("first", "control", "headers", "why"),
    [
        ("max-age=60", None, {}, "fwd=stale"),
        ("max-age=600", "max-age=1", {}, "fwd=request"),
        ("no-cache, max-age=600", None, {}, "fwd=stale"),
        ("max-age=600", None, {"Accept-Language": "sv"}, "fwd=vary-miss"),
    ],
)
async def test_why_a_request_was_sent(
    bench: Any, first: str, control: str | None, headers: dict[str, str], why: str
) -> None:
    """`Cache-Status` names the reason why the stored response was not used (RFC 9211 §2.2)."""
    it = bench(answer(first, ETag='"a"', Vary="Accept-Language"), default=answer())
    assert "fwd=uri-miss" in (await it.get()).headers["Cache-Status"]
    it.clock.advance(100)
    if control is not None:
        headers = {**headers, "Cache-Control": control}
    assert why in (await it.get(headers=headers)).headers["Cache-Status"]


async def test_pragma_counts_without_cache_control(bench: Any) -> None:
    """``Pragma: no-cache`` validates with the server, unless the request has a Cache-Control (RFC 9111
    §5.4).
    """
    it = bench(default=answer("max-age=60"))
    await it.get()
    assert not await it.hits(headers={"Pragma": "no-cache"})
    assert await it.hits(headers={"Pragma": "no-cache", "Cache-Control": "max-age=50"})


async def test_the_response_to_no_store_is_not_stored(bench: Any) -> None:
    """A request with no-store stores nothing."""
    it = bench(default=answer("max-age=60"))
    await it.get(**cache_control("no-store"))
    assert it.cache.storage._items == {}


async def test_only_if_cached_is_not_tried_again(bench: Any) -> None:
    """The 504 of the cache is final: a retry would have the same result."""
    it = bench(client={"max_retries": 5})
    with pytest.raises(Exception, match="504 Gateway Timeout") as caught:
        await it.api.get("/x", **cache_control("only-if-cached"))
    assert caught.value.retries_taken == 0
    assert it.sends == 0


# --- validation


async def test_a_stale_response_is_validated(bench: Any) -> None:
    """A 304 makes the stored response fresh again, with the new headers and the stored body."""
    it = bench(
        answer("max-age=60", body=b"v", ETag='"a"', Last_Modified=EARLIER, X_A="1", X_B="1"),
        answer("max-age=90", 304, b"", ETag='"a"', X_A="2", Content_Length="0"),
    )
    await it.get()
    it.clock.advance(100)
    response = await it.get()
    sent = it.transport.requests[1].headers
    assert (sent["If-None-Match"], sent["If-Modified-Since"]) == ('"a"', EARLIER)
    it.clock.advance(89)
    hit = await it.get()
    for again in (response, hit):
        assert (again.status, again.body) == (200, b"v")
        assert (again.headers["X-A"], again.headers["X-B"]) == ("2", "1")
    assert (it.sends, hit.headers["Age"]) == (2, "89")
    assert response.headers["Cache-Status"] == "aioapiclient; fwd=stale; fwd-status=304; ttl=90"


async def test_a_304_says_nothing_of_the_body(bench: Any) -> None:
    """Headers of a 304 that describe its own empty body do not replace those of the stored one."""
    own = {"Content_Length": "1", "Content_MD5": "old", "Content_Digest": "old", "Content_Type": "text/plain"}
    new = {"Content_Length": "0", "Content_MD5": "new", "Content_Digest": "new", "Content_Type": "text/html"}
    it = bench(
        answer("max-age=60", body=b"v", ETag='"a"', **own), answer("max-age=60", 304, b"", ETag='"a"', **new)
    )
    await it.get()
    it.clock.advance(100)
    for _ in range(2):
        headers = (await it.get()).headers
        assert [headers[name.replace("_", "-")] for name in own] == ["1", "old", "old", "text/html"]


async def test_a_304_without_a_lifetime_keeps_the_old_one(bench: Any) -> None:
    """The lifetime of the stored response counts from the 304 that does not change it."""
    it = bench(answer("max-age=60", ETag='"a"'), answer(None, 304, b"", ETag='"a"'))
    await it.get()
    it.clock.advance(100)
    await it.get()
    it.clock.advance(59)
    assert await it.hits()


async def test_a_full_response_replaces_the_stale_one(bench: Any) -> None:
    """After a 200 instead of a 304 one entry is left: the new one."""
    it = bench(*(answer("max-age=60", body=b"%d" % n, ETag=f'"{n}"') for n in range(3)))
    for n in range(3):
        assert (await it.get()).body == b"%d" % n
        assert len(it.cache.storage._items) == 1
        it.clock.advance(100)


@pytest.mark.parametrize(("status", "left"), [(404, 0), (410, 0), (403, 1), (500, 1), (503, 1), (429, 1)])
async def test_what_an_error_leaves_of_the_stale_response(bench: Any, status: int, left: int) -> None:
    """A 404 or 410 removes the stale response; a failure does not."""
    it = bench(answer("max-age=60", ETag='"a"'), answer(None, status))
    await it.get()
    it.clock.advance(100)
    assert (await it.get()).status == status
    assert len(it.cache.storage._items) == left


async def test_a_304_about_another_response_is_asked_again(bench: Any) -> None:
    """A 304 whose strong ETag is not that of a stored response leads to a request without a condition."""
    it = bench(
        answer("max-age=60", ETag='"a"'),
        answer(None, 304, b"", ETag='"b"'),
        answer("max-age=60", body=b"new"),
    )
    await it.get()
    it.clock.advance(100)
    assert (await it.get()).body == b"new"
    assert "If-None-Match" not in it.transport.requests[2].headers


async def test_a_validator_that_cannot_be_sent_is_left_out(bench: Any) -> None:
    """An ETag that is not ASCII is not used as a condition, and causes no error."""
    it = bench(default=answer("max-age=60", ETag='"\u00e4"'))
    await it.get()
    it.clock.advance(100)
    await it.get()
    assert "If-None-Match" not in it.transport.requests[1].headers


# --- variants (RFC 9111 §4.1)


async def test_variants_are_kept_apart(bench: Any) -> None:
    """A response is for the request headers that its Vary names; white space does not matter."""
    it = bench(
        *(answer("max-age=60", body=body, Vary="Accept-Language, X-Mode") for body in (b"sv", b"en", b"-"))
    )
    seen = []
    for language in ("sv, en", "en", None, "sv,  en", "en", None):
        headers = {} if language is None else {"Accept-Language": language}
        seen.append((await it.get(headers=headers)).body)
    assert seen == [b"sv", b"en", b"-"] * 2
    assert it.sends == 3


async def test_at_most_eight_variants_of_a_url_are_kept(bench: Any) -> None:
    """The ninth variant replaces the oldest one."""
    it = bench(default=answer("max-age=60", Vary="Accept-Language"))
    for n in range(9):
        it.clock.advance(1)
        await it.get(headers={"Accept-Language": f"l{n}"})
    assert len(it.cache.storage._items) == 8
    assert await it.hits(headers={"Accept-Language": "l1"})
    assert not await it.hits(headers={"Accept-Language": "l0"})


@pytest.mark.parametrize("keep", [False, True])
async def test_headers_that_vary_does_not_name_yet(bench: Any, keep: bool) -> None:
    """With `store_unmatched_headers` a response still fits after a 304 has named another header in Vary."""
    it = bench(
        answer("max-age=60", ETag='"a"'),
        answer("max-age=60", 304, b"", ETag='"a"', Vary="Accept-Language"),
        default=answer("max-age=60", 304, b"", ETag='"a"'),
        store_unmatched_headers=keep,
    )
    swedish = {"headers": {"Accept-Language": "sv"}}
    await it.get(**swedish)
    it.clock.advance(100)
    await it.get(**swedish)
    assert await it.hits(**swedish) is keep


# --- changes (RFC 9111 §4.4)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "M-SEARCH"])
async def test_a_change_makes_the_stored_response_stale(bench: Any, method: str) -> None:
    """After a successful unsafe request the next GET is sent to the server, whichever cache stored the
    response.
    """
    it = bench(default=answer("max-age=60"))
    bob = {"headers": {"Authorization": "Bearer bob"}}
    for who in ({}, bob):
        await it.get(**who)
        assert await it.hits(**who)
    it.clock.advance(1)
    await it.api.request(method, "/x")
    it.clock.advance(1)
    for who in ({}, bob):
        assert not await it.hits(**who)
        assert await it.hits(**who)


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_a_change_that_was_refused_changes_nothing(bench: Any, status: int) -> None:
    """An unsafe request that ends with an error does not affect the stored response."""
    it = bench(answer("max-age=60"), answer(None, status))
    await it.get()
    it.clock.advance(1)
    await it.api.post("/x", AsyncAPIResponse[Any], ok_statuses={status})
    assert await it.hits()


async def test_a_change_whose_answer_was_lost_counts(bench: Any) -> None:
    """An unsafe request that failed in transit may have had its effect."""
    it = bench(answer("max-age=60"), ConnectionError("lost"), answer("max-age=60"))
    await it.get()
    it.clock.advance(1)
    with pytest.raises(ConnectionError):
        await it.api.post("/x")
    assert not await it.hits()


@pytest.mark.parametrize("name", ["Location", "Content-Location"])
@pytest.mark.parametrize(
    ("place", "changes"),
    [
        ("/y", True),
        ("https://api.example.com/y", True),
        ("https://other.example.com/y", False),
        ("http://[", False),
    ],
)
async def test_the_places_that_a_change_names(bench: Any, name: str, place: str, changes: bool) -> None:
    """Responses stored for a `Location` or `Content-Location` of the same origin become stale as well."""
    it = bench(answer("max-age=60"), respond(201, headers={name: place}), default=answer("max-age=60"))
    await it.get("/y")
    it.clock.advance(1)
    await it.api.post("/things")
    it.clock.advance(1)
    assert await it.hits("/y") is not changes


async def test_a_safe_method_changes_nothing(bench: Any) -> None:
    """OPTIONS, and safe methods of other specifications, do not affect stored responses."""
    it = bench(default=answer("max-age=60"))
    await it.get()
    it.clock.advance(1)
    for method in ("OPTIONS", "PROPFIND", "REPORT", "SEARCH", "QUERY"):
        await it.api.request(method, "/x")
    assert await it.hits()


# --- clear


async def test_clear_removes_a_url_or_everything(bench: Any) -> None:
    """`clear` removes the responses stored for a URL, of all principals, or for all URLs, and counts them."""
    it = bench(default=answer("max-age=60"))
    bob = {"headers": {"Authorization": "Bearer bob"}}
    for path in ("/x", "/y"):
        await it.get(path)
        await it.get(path, **bob)
    it.clock.advance(1)
    assert await it.cache.clear(it.base + "/x") == 2
    it.clock.advance(1)
    assert not await it.hits("/x")
    assert await it.hits("/y")
    it.clock.advance(1)
    assert await it.cache.clear() == 3
    assert it.cache.storage._items == {}


async def test_clear_reaches_what_an_identity_names(bench: Any) -> None:
    """`clear` of a URL finds the responses of a principal that all requests share, even in a cache that
    has stored nothing itself.
    """
    everyone = {"identity": lambda request: "everyone"}
    one = bench(answer("max-age=60"), **everyone)
    await one.get(headers={"Authorization": "Bearer ada"})
    other = bench(storage=one.cache.storage, **everyone)
    assert await other.cache.clear(other.base + "/x") == 1


async def test_clear_asks_for_no_header(bench: Any) -> None:
    """An `identity` that needs a header of the request does not break `clear`."""
    it = bench(answer("max-age=60"), identity=lambda request: request.headers["X-Tenant"])
    await it.get(headers={"X-Tenant": "1"})
    assert await it.cache.clear(it.base + "/x") == 1


async def test_clear_takes_an_absolute_url(bench: Any) -> None:
    """A path is refused: the cache does not know whose."""
    it = bench()
    with pytest.raises(InvalidRequestError, match="must start with http"):
        await it.cache.clear("/x")
