"""One suite for each storage: memory, SQLite, and Redis on a real server."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import hishel
import pytest
from aioapiclient_cache import cache_status
from aioapiclient_cache._contents import keys_in
from hishel import Headers, Request, Response

from aioapiclient.testing import respond


def answer(body: bytes = b"{}", status: int = 200, **headers: str) -> Any:
    """A response that is fresh for a minute."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return respond(status, body=body, headers={"Cache-Control": "max-age=60", "ETag": '"a"', **given})


@pytest.mark.parametrize(
    "body",
    [b"", b"x", bytes(range(256)), bytes(range(256)) * 1200, b"\n" * (1 << 20)],
    ids=["empty", "one", "binary", "300 kB", "1 MiB"],
)
async def test_a_body_comes_back_as_it_was(bench: Any, storage: Any, body: bytes) -> None:
    """Bodies of any size and content are used again byte for byte."""
    it = bench(answer(body), storage=storage)
    for _ in range(2):
        assert (await it.get()).body == body
    assert it.sends == 1


async def test_headers_come_back_as_they_were(bench: Any, storage: Any) -> None:
    """A repeated header is repeated again, and one that is not ASCII is unchanged."""
    headers = [
        ("Cache-Control", "max-age=60"),
        ("Link", "</a>; rel=a"),
        ("Link", "</b>; rel=b"),
        ("X-Name", "Zoë"),
    ]
    it = bench(respond(body=b"1", headers=headers), storage=storage)
    await it.get()
    hit = await it.get()
    assert hit.headers.getall("Link") == ["</a>; rel=a", "</b>; rel=b"]
    assert hit.headers["X-Name"] == "Zoë"


async def test_a_304_is_stored(bench: Any, storage: Any) -> None:
    """Changes by a 304 are visible at the next hit."""
    it = bench(answer(b"v", X_A="1"), respond(304, headers={"ETag": '"a"', "X-A": "2"}), storage=storage)
    await it.get()
    it.clock.advance(100)
    assert cache_status(await it.get()).revalidated
    hit = await it.get()
    assert (hit.body, hit.headers["X-A"], it.sends) == (b"v", "2", 2)


@pytest.mark.parametrize("excluded", [["x-refreshed"], ("X-REFRESHED", "X-Other"), {"X-Refreshed"}])
async def test_an_excluded_header_is_not_stored(bench: Any, storage: Any, excluded: Any) -> None:
    """A header that the user excludes, in any case, is in the server's answer, and not in the store."""
    it = bench(answer(X_Refreshed="canary", X_Kept="1"), storage=storage, exclude_headers=excluded)
    assert (await it.get()).headers["X-Refreshed"] == "canary"
    hit = await it.get()
    assert (cache_status(hit).hit, hit.headers["X-Kept"]) == (True, "1")
    assert "X-Refreshed" not in hit.headers
    [entry] = await entries(storage)
    assert "x-kept" in entry.response.headers
    assert "x-refreshed" not in entry.response.headers


async def test_a_304_does_not_bring_an_excluded_header(bench: Any, storage: Any) -> None:
    """A 304 updates the stored headers, except those that the user excludes."""
    news = {"ETag": '"a"', "x-refreshed": "canary", "X-Kept": "2", "Cache-Control": "max-age=60"}
    it = bench(
        answer(X_Refreshed="old", X_Kept="1"),
        respond(304, headers=news),
        storage=storage,
        exclude_headers=["X-Refreshed"],
    )
    await it.get()
    it.clock.advance(100)
    for revalidated in (True, False):
        response = await it.get()
        assert cache_status(response).revalidated is revalidated
        assert response.headers["X-Kept"] == "2"
        assert "X-Refreshed" not in response.headers
    [entry] = await entries(storage)
    assert "x-refreshed" not in entry.response.headers


async def test_a_header_that_was_stored_before_is_not_given_out(bench: Any, storage: Any) -> None:
    """A header that another cache has stored is left out, and removed by the next 304."""
    one = bench(answer(X_Refreshed="canary"), storage=storage)
    other = bench(respond(304, headers={"ETag": '"a"'}), storage=storage, exclude_headers=["X-Refreshed"])
    await one.get()
    assert "X-Refreshed" not in (await other.get()).headers
    other.clock.advance(100)
    revalidated = await other.get()
    assert cache_status(revalidated).revalidated
    assert "X-Refreshed" not in revalidated.headers
    [entry] = await entries(storage)
    assert "x-refreshed" not in entry.response.headers


async def test_a_full_response_replaces_the_old_one(bench: Any, storage: Any) -> None:
    """After a 200 instead of a 304 only the new response is used."""
    it = bench(answer(b"old"), answer(b"new", ETag='"b"'), storage=storage)
    await it.get()
    it.clock.advance(100)
    assert [(await it.get()).body for _ in range(3)] == [b"new"] * 3
    assert await count(storage) == 1


async def test_variants_are_kept_apart(bench: Any, storage: Any) -> None:
    """Variants of one URL are stored side by side, eight at most."""
    it = bench(default=answer(Vary="Accept-Language"), storage=storage)
    for n in range(10):
        it.clock.advance(1)
        await it.get(headers={"Accept-Language": f"l{n}"})
    assert [await it.hits(headers={"Accept-Language": f"l{n}"}) for n in (9, 5, 2)] == [True] * 3
    assert await count(storage) == 8


async def test_a_change_removes_what_is_stored(bench: Any, storage: Any) -> None:
    """A successful unsafe request removes the entry, so that other processes do not find it either."""
    it = bench(default=answer(), storage=storage)
    await it.get()
    it.clock.advance(1)
    await it.api.delete("/x")
    assert await count(storage) == 0
    it.clock.advance(1)
    assert not await it.hits()


async def test_another_client_finds_it(bench: Any, storage: Any) -> None:
    """A response stored by one cache is used by another one with the same storage."""
    one, other = bench(answer(b"1"), storage=storage), bench(storage=storage)
    await one.get()
    assert (await other.get()).body == b"1"


async def test_equal_requests_are_one_send(bench: Any, storage: Any) -> None:
    """A hundred concurrent equal calls are one send, and later ones are hits."""
    it = bench(answer(b"1"), storage=storage)
    responses = await asyncio.gather(*(it.get() for _ in range(100)))
    assert {response.body for response in responses} == {b"1"}
    assert await it.hits()


async def test_many_different_requests_at_once(bench: Any, storage: Any) -> None:
    """A hundred concurrent different calls are stored and found, with twenty connections to Redis."""
    it = bench(default=lambda request: answer(str(request.url).encode()), storage=storage)
    paths = [f"/{n}" for n in range(100)]
    for _ in range(2):
        responses = await asyncio.gather(*(it.get(path) for path in paths))
        assert [response.body.decode() for response in responses] == [it.base + path for path in paths]
    assert it.sends == 100


async def test_a_damaged_entry_is_dropped(bench: Any, storage: Any) -> None:
    """An entry without the facts, or whose body has another length, is removed, and the server is called."""
    it = bench(default=answer(b"good"), storage=storage)
    await it.get()
    facts = (await entries(storage))[0].response.headers["x-aioapiclient-cache"]
    for damage in ("", "nonsense", "1 2 x", "nan nan 4", "1 inf 4", facts.rsplit(" ", 1)[0] + " 3"):
        [entry] = await entries(storage)
        headers = {name: entry.response.headers[name] for name in entry.response.headers}
        headers["x-aioapiclient-cache"] = damage
        await storage.update_headers(entry.id, Headers(headers))
        assert (await it.get()).body == b"good"
        assert await it.hits()
        assert await count(storage) == 1
    assert it.sends == 7


async def test_what_another_program_has_stored_is_not_used(bench: Any, storage: Any) -> None:
    """An entry under the same key that this middleware did not make is dropped."""
    it = bench(answer(b"1"), storage=storage)
    await it.get()
    [key] = await keys_in(storage, "aioapiclient:")
    headers = Headers({"cache-control": "max-age=999999", "date": "Fri, 15 Jan 2027 08:00:00 GMT"})
    made = await storage.create_entry(Request("GET", key), Response(200, headers, pieces(b"x")), key)
    assert [piece async for piece in made.response.stream] == [b"x"]
    assert (await it.get()).body == b"1"
    assert await count(storage) == 1


async def test_removing_what_is_gone_does_nothing(storage: Any) -> None:
    """A storage ignores an entry that it does not have."""
    await storage.remove_entry(uuid.uuid4())
    await storage.update_headers(uuid.uuid4(), Headers({}))
    assert await storage.get_entries("nothing") == []


async def pieces(body: bytes) -> Any:
    """A body as a stream."""
    yield body


async def entries(storage: hishel.AsyncBaseStorage) -> list[hishel.Entry]:
    """The entries under all keys of caches."""
    keys = await keys_in(storage, "aioapiclient:")
    return [entry for key in keys for entry in await storage.get_entries(key)]


async def count(storage: hishel.AsyncBaseStorage) -> int:
    """Return the number of entries."""
    return len(await entries(storage))
