"""`Cassette`: recording, playback, and the format of a line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pytest_aioapiclient import Cassette, Take

from aioapiclient import (
    AiohttpTransport,
    APIConnectionError,
    AsyncAPIClient,
    AsyncAPIResponse,
    InvalidRequestError,
    ServiceUnavailableError,
)
from aioapiclient.testing import FakeClock, FakeTransport, respond

URL = "https://api.example.com/v1"


async def answer(request: web.Request) -> web.StreamResponse:
    """Answer by the path, and count."""
    request.app[HITS].append(request)
    if request.path == "/v1/events":
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(3):
            await response.write(b'data: {"id": %d}\n\n' % number)
            await asyncio.sleep(0.01)
        return response
    if request.path == "/v1/image":
        return web.Response(body=b"\x89PNG\xff", content_type="image/png")
    if request.path == "/v1/text":
        return web.Response(text="grüß\n", headers={"X-Request-ID": "r-1"})
    if request.path == "/v1/price":
        return web.Response(body=b'{"price": 1.10}', content_type="application/json")
    if request.path == "/v1/busy" and len(request.app[HITS]) == 1:
        return web.Response(status=503, headers={"Retry-After": "0.01"})
    zipped = web.json_response({"hit": len(request.app[HITS]), "name": "ü"})
    zipped.enable_compression(web.ContentCoding.gzip)
    return zipped


HITS = web.AppKey("hits", list[web.Request])


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    """A server that counts its requests."""
    app = web.Application()
    app[HITS] = []
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as started:
        yield started


def hits(server: TestServer) -> int:
    """How many requests the server had."""
    return len(server.app[HITS])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a cassette; its folder does not exist yet."""
    return tmp_path / "cassettes" / "users.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    """The takes of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read(path: Path) -> str:
    """The text of a file."""
    return path.read_text(encoding="utf-8")


def is_there(path: Path) -> bool:
    """Return whether the file or folder exists."""
    return path.exists()


def files(folder: Path) -> list[Path]:
    """Return the contents of a folder, including hidden files."""
    return [*folder.iterdir()]


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file."""
    path.write_bytes(content)


def write(path: Path, text: str) -> None:
    """Write a file, and its folder."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def recording(server: TestServer, path: Path, **options: Any) -> AsyncAPIClient:
    """A client that records a server's responses."""
    tape = Cassette(path, AiohttpTransport(), **{"mode": "once", **options})
    return AsyncAPIClient(server.make_url("/v1"), transport=tape)


def playing(path: Path, **options: Any) -> AsyncAPIClient:
    """A client, of another origin, that plays the file."""
    return AsyncAPIClient(URL, transport=Cassette(path, **options))


async def test_what_is_recorded_is_played(server: TestServer, path: Path) -> None:
    """Recorded responses are replayed in the order of the file, and nothing is sent."""

    async def use(api: AsyncAPIClient) -> list[Any]:
        async with api:
            return [
                await api.get("/users/{id}", path_params={"id": "a/b"}),
                await api.post("/users", json={"login": "ä", "n": 1}),
                await api.get("/users/{id}", path_params={"id": "a/b"}),
                await api.get("/image", bytes),
                await api.get("/text", str),
                await api.get("/price", bytes),
                [event async for event in await api.get("/events", dict[str, int], stream=True)],
            ]

    first = await use(recording(server, path))
    assert hits(server) == 7
    again = await use(playing(path))

    assert first[0] == {"hit": 1, "name": "ü"}
    assert first[2] == {"hit": 3, "name": "ü"}
    assert again == first
    assert hits(server) == 7


async def test_a_line_can_be_read(server: TestServer, path: Path) -> None:
    """A take is one line of JSON: without the origin and volatile headers, with readable bodies."""
    async with recording(server, path) as api:
        await api.post("/users", json={"login": "ä"}, params={"dry": True, "id": [1, 2]})
        await api.get("/text", str)
        await api.get("/image", bytes)
        await api.get("/price", bytes)
        async with api.stream("GET", "/events", dict[str, int]) as events:
            assert len([event async for event in events]) == 3

    assert read(path).splitlines()[0] == (
        '{"request": {"method": "POST", "path": "/v1/users", "params": {"dry": "true", "id": ["1", "2"]}, '
        '"json": {"login": "ä"}}, "response": {"status": 200, "headers": {"Content-Type": '
        '"application/json; charset=utf-8"}, "json": {"hit": 1, "name": "ü"}}}'
    )
    text, image, price, stream = [line["response"] for line in lines(path)[1:]]
    assert text == {
        "status": 200,
        "headers": {"X-Request-ID": "r-1", "Content-Type": "text/plain; charset=utf-8"},
        "text": "grüß\n",
    }
    assert image["base64"] == "iVBOR/8="
    assert price["text"] == '{"price": 1.10}'
    assert stream["chunks"] == [f'data: {{"id": {number}}}\n\n' for number in range(3)]


async def test_bodies_of_requests(path: Path, tmp_path: Path) -> None:
    """Forms are stored by their fields, files and long bodies by their digest; boundaries do not matter."""
    file = tmp_path / "ada.png"
    write_bytes(file, b"\x89PNG")

    async def use(api: AsyncAPIClient) -> None:
        async with api:
            await api.post("/login", None, data={"login": "ada", "role": ["a", "b"]})
            await api.post("/users", None, data={"login": "ada"}, files={"picture": file})
            await api.put("/file", None, content=file)
            await api.put("/long", None, content="x" * 20_000)
            await api.put("/text", None, content="short")

    tape = Cassette(path, FakeTransport(default=respond(204)), mode="once")
    await use(AsyncAPIClient(URL, transport=tape))
    await use(playing(path))

    login, picture, binary, long, short = [line["request"] for line in lines(path)]
    digest = "4 bytes, sha256 0f4636c78f65d3639ece5a064b5ae753e3408614a14fb18ab4d7540d2c248543"
    assert login["form"] == {"login": "ada", "role": ["a", "b"]}
    assert picture["form"] == {
        "login": "ada",
        "picture": {"filename": "ada.png", "type": "image/png", "content": digest},
    }
    assert binary["digest"] == digest
    assert long["digest"].startswith("20000 bytes, sha256 ")
    assert short["text"] == "short"


async def test_another_file_is_another_request(path: Path) -> None:
    """A file of other bytes is refused."""
    tape = Cassette(path, FakeTransport(default=respond(204)), mode="once")
    async with AsyncAPIClient(URL, transport=tape) as api:
        await api.put("/file", None, content=b"\xff1")

    async with playing(path) as api:
        with pytest.raises(AssertionError, match=r"1\. PUT /v1/file: digest is '2 bytes"):
            await api.put("/file", None, content=b"\xff2")


# --- modes


async def test_none_sends_nothing(path: Path) -> None:
    """Without a file ``none`` refuses each request once, with a message, and writes nothing."""
    tape = Cassette(path, FakeTransport())
    async with AsyncAPIClient(URL, transport=tape, max_retries=5) as api:
        with pytest.raises(AssertionError) as refused:
            await api.get("/users", params={"page": "2"})

    assert str(refused.value).splitlines() == [
        f"GET {URL}/users?... is not on {path}; record it with mode='new'",
        "  the file does not exist",
    ]
    assert tape.unexpected == [str(refused.value)]
    assert not is_there(path.parent)


async def test_once_leaves_a_file_alone(path: Path) -> None:
    """``once`` with a file only plays: other requests are refused, and the file stays byte for byte the
    same.
    """
    write(
        path,
        '{"request":{"method":"GET","path":"/v1/a"},'
        '"response":{"status":200,"json":1,'
        '"headers":{"Content-Type":"application/json"}}}\n',
    )
    before = read(path)
    inner = FakeTransport(default=respond(json=2))
    async with AsyncAPIClient(URL, transport=Cassette(path, inner, mode="once")) as api:
        assert await api.get("/a") == 1
        with pytest.raises(AssertionError, match=r"1\. GET /v1/a: the path is /v1/b"):
            await api.get("/b")

    assert (read(path), inner.requests) == (before, [])


async def test_new_plays_and_records(path: Path) -> None:
    """``new`` plays each take once, and records the other requests."""
    inner = FakeTransport(respond(json=1), respond(json=2), respond(json=3))
    for expected in ([1], [1, 2], [1, 2, 3]):
        async with AsyncAPIClient(URL, transport=Cassette(path, inner, mode="new")) as api:
            assert [await api.get("/a") for _ in expected] == expected
        inner = FakeTransport(*[respond(json=number) for number in range(len(expected) + 1, 4)])

    assert [line["response"]["json"] for line in lines(path)] == [1, 2, 3]


async def test_all_replaces(path: Path) -> None:
    """``all`` plays nothing, and replaces the file; if nothing was sent, the file is kept."""
    for number in (1, 2):
        inner = FakeTransport(respond(json=number))
        async with AsyncAPIClient(URL, transport=Cassette(path, inner, mode="all")) as api:
            assert await api.get("/a") == number
        assert [line["response"]["json"] for line in lines(path)] == [number]
    async with AsyncAPIClient(URL, transport=Cassette(path, FakeTransport(), mode="all")):
        pass

    assert len(lines(path)) == 1


async def test_loop_repeats(path: Path) -> None:
    """``loop`` restarts with the first take of a request, each request separately."""
    inner = FakeTransport(*[respond(json=number) for number in (1, 2, 3)])
    async with AsyncAPIClient(URL, transport=Cassette(path, inner, mode="once")) as api:
        for name in ("a", "a", "b"):
            await api.get(f"/{name}")

    async with playing(path, mode="loop") as api:
        assert [await api.get("/a") for _ in range(5)] == [1, 2, 1, 2, 1]
        assert [await api.get("/b") for _ in range(2)] == [3, 3]


async def test_a_take_is_played_once(path: Path) -> None:
    """A second equal request is refused if only one was recorded, and unplayed takes are counted."""
    inner = FakeTransport(respond(json=1), respond(json=2))
    async with AsyncAPIClient(URL, transport=Cassette(path, inner, mode="once")) as api:
        await api.get("/a")
        await api.get("/b")

    tape = Cassette(path)
    async with AsyncAPIClient(URL, transport=tape) as api:
        assert await api.get("/a") == 1
        assert tape.unplayed == 1
        with pytest.raises(
            AssertionError, match=r"1\. GET /v1/a: it was already played; mode='loop' repeats"
        ):
            await api.get("/a")


async def test_what_another_wrote_is_not_overwritten(path: Path) -> None:
    """A file created while the cassette was recording is kept, and the error names it."""
    tape = Cassette(path, FakeTransport(respond(json=1)), mode="once")
    api = AsyncAPIClient(URL, transport=tape)
    await api.get("/a")
    write(path, "of another\n")

    with pytest.raises(FileExistsError, match="nothing was written"):
        await api.close()
    assert [read(file) for file in files(path.parent)] == ["of another\n"]


async def test_a_cassette_goes_on_after_its_client(path: Path) -> None:
    """Two clients, one after the other, are recorded on one cassette."""
    tape = Cassette(path, mode="once")
    for number in (1, 2):
        tape.inner = FakeTransport(respond(json=number))
        async with AsyncAPIClient(URL, transport=tape) as api:
            assert await api.get("/a") == number

    assert [line["response"]["json"] for line in lines(path)] == [1, 2]


async def test_recording_needs_a_transport(path: Path) -> None:
    """A cassette that records names the missing argument."""
    async with AsyncAPIClient(URL, transport=Cassette(path, mode="once")) as api:
        with pytest.raises(InvalidRequestError, match="records, and needs inner=, such as AiohttpTransport"):
            await api.get("/a")


# --- failures, waits, streams


async def test_a_failure_is_played_too(server: TestServer, path: Path) -> None:
    """A 503 and the next answer are two takes; played, the wait between them takes no time."""
    async with recording(server, path) as api:
        assert (await api.get("/busy"))["hit"] == 2

    clock = FakeClock()
    write(path, read(path).replace('"Retry-After": "0.01"', '"Retry-After": "20"'))
    async with playing(path, clock=clock) as api:
        assert (await api.get("/busy"))["hit"] == 2
    async with playing(path) as api:
        assert (await api.get("/busy"))["hit"] == 2
    async with playing(path) as api:
        with pytest.raises(ServiceUnavailableError):
            await api.get("/busy", max_retries=0)

    assert clock.sleeps == [20.0]


async def test_a_failed_connection_is_not_a_take(path: Path) -> None:
    """An attempt without a response is not recorded; the next one is."""
    inner = FakeTransport(APIConnectionError("refused"), respond(json=1), clock=FakeClock())
    tape = Cassette(path, inner, mode="once")
    async with AsyncAPIClient(URL, transport=tape) as api:
        assert await api.get("/a") == 1

    assert tape.recorded == len(lines(path)) == 1


async def test_a_stream_that_breaks_is_not_a_take(path: Path) -> None:
    """A body that broke off is not recorded as complete."""
    inner = FakeTransport(respond(chunks=[b"data: 1\n\n", b"data: 2\n\n"], cut_after=9))
    api = AsyncAPIClient(URL, transport=Cassette(path, inner, mode="once"))
    async with api, api.stream("GET", "/events", int) as events:
        with pytest.raises(APIConnectionError):
            assert [event async for event in events]

    assert not is_there(path)


async def test_a_stream_that_is_left_is_recorded_as_far_as_it_was_read(path: Path) -> None:
    """A stream that the reader abandons is closed at the server too, and its take ends there."""
    inner = FakeTransport(respond(chunks=[b"data: 1\n\n", b"data: 2\n\n"]))
    async with AsyncAPIClient(URL, transport=Cassette(path, inner, mode="once")) as api:
        async with api.stream("GET", "/events", int) as events:
            assert await anext(aiter(events)) == 1
            assert inner.open_responses == 1
        assert inner.open_responses == 0

    assert lines(path)[0]["response"]["chunks"] == ["data: 1\n\n"]
    async with playing(path) as api, api.stream("GET", "/events", int) as events:
        assert [event async for event in events] == [1]


async def test_a_stream_arrives_while_it_is_recorded(server: TestServer, path: Path) -> None:
    """Recording passes each piece on as it arrives: the first is available before the last was sent."""
    gate = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await gate.wait()
        yield b"data: 2\n\n"

    inner = FakeTransport(respond(chunks=pieces()))
    api = AsyncAPIClient(URL, transport=Cassette(path, inner, mode="once"))
    async with api, api.stream("GET", "/events", int) as events:
        reader = aiter(events)
        assert await asyncio.wait_for(anext(reader), 30) == 1
        gate.set()
        assert await anext(reader) == 2
        with pytest.raises(StopAsyncIteration):
            await anext(reader)

    assert lines(path)[0]["response"]["chunks"] == ["data: 1\n\n", "data: 2\n\n"]


async def test_takes_are_in_the_order_of_the_requests(path: Path) -> None:
    """Requests at the same time are written in the order in which they were sent, however they end."""
    first = asyncio.Event()

    async def late(request: Any) -> Any:
        await first.wait()
        return respond(json="late")

    async def early(request: Any) -> Any:
        first.set()
        return respond(json="early")

    tape = Cassette(path, FakeTransport(late, early), mode="once")
    async with AsyncAPIClient(URL, transport=tape) as api:
        await asyncio.wait_for(asyncio.gather(api.get("/1"), api.get("/2")), 30)

    assert [line["response"]["json"] for line in lines(path)] == ["late", "early"]


async def test_the_answer_to_head_keeps_its_length(server: TestServer, path: Path) -> None:
    """The length is kept if it is the only information in the response."""
    async with recording(server, path) as api:
        live = await api.head("/image")
    async with playing(path) as api:
        played = await api.head("/image")

    assert live.headers["Content-Length"] == played.headers["Content-Length"] == "5"


# --- match, scrub, secrets


async def test_match_says_what_must_be_the_same(path: Path) -> None:
    """Parts that are not matched may differ; a matched origin may not."""
    inner = FakeTransport(respond(json=1))
    tape = Cassette(path, inner, mode="once", match=("method", "origin"))
    async with AsyncAPIClient(URL, transport=tape) as api:
        await api.post("/a", json={"at": 1}, params={"at": 1})

    async with playing(path, match=("method", "path")) as api:
        assert await api.post("/a", json={"at": 2}, params={"at": 2}) == 1
    async with playing(path, match=("method", "origin")) as api:
        assert await api.post("/b", json={"at": 2}) == 1
    other = AsyncAPIClient("https://other.example.com", transport=Cassette(path, match=("method", "origin")))
    async with other:
        with pytest.raises(AssertionError, match=r"the origin is https://other\.example\.com"):
            await other.post("/a", json={"at": 1})
    async with playing(path) as api:
        with pytest.raises(AssertionError, match=r"params\['at'\] is '2', not '1'"):
            await api.post("/a", json={"at": 1}, params={"at": 2})


async def test_scrub_comes_last(path: Path) -> None:
    """The scrub function receives each take with its secrets blanked, and its changes are written."""
    seen: list[Take] = []

    def scrub(take: Take) -> None:
        seen.append(take)
        take.response.json["email"] = "someone@example.com"
        take.response.headers.clear()

    inner = FakeTransport(respond(json={"email": "ada@example.com", "token": "CANARY-1"}))
    async with AsyncAPIClient(URL, transport=Cassette(path, inner, mode="once", scrub=scrub)) as api:
        assert (await api.get("/me"))["email"] == "ada@example.com"

    assert lines(path)[0]["response"] == {
        "status": 200,
        "json": {"email": "someone@example.com", "token": "<secret>"},
    }
    assert len(seen) == 1


async def test_secrets_of_your_own(path: Path) -> None:
    """`secrets` replaces the names: other values are written unchanged."""
    inner = FakeTransport(respond(json={"email": "ada@example.com", "next_token": "p-2"}))
    tape = Cassette(path, inner, mode="once", secrets=["e-mail"])
    async with AsyncAPIClient(URL, transport=tape) as api:
        await api.get("/me")

    assert lines(path)[0]["response"]["json"] == {"email": "<secret>", "next_token": "p-2"}


async def test_a_login_is_played(path: Path) -> None:
    """A token blanked in a response is sent back as it was played, and still matches."""

    async def use(api: AsyncAPIClient) -> Any:
        async with api:
            token = (await api.post("/token", data={"grant_type": "x", "client_secret": "CANARY-1"}))[
                "access_token"
            ]
            headers = {"Authorization": f"Bearer {token}"}
            await api.get("/sessions/{id}", path_params={"id": token}, headers=headers)
            return await api.get("/me", params={"hint": token}, headers=headers)

    inner = FakeTransport(
        respond(json={"access_token": "CANARY-2", "token_type": "Bearer", "expires_in": 3600}),
        respond(json=1),
        respond(json={"login": "ada"}),
    )
    await use(AsyncAPIClient(URL, transport=Cassette(path, inner, mode="once")))

    assert await use(playing(path)) == {"login": "ada"}
    assert "CANARY" not in read(path)
    assert lines(path)[0]["response"]["json"] == {
        "access_token": "<secret>",
        "token_type": "Bearer",
        "expires_in": 3600,
    }


# --- mistakes


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "is not a take: Input data was truncated"),
        ('{"request": {"method": "GET"}, "response": {"status": 200}}', "missing required field `path`"),
        (
            '{"request": {"method": "GET", "path": "/", "pth": 1}, "response": {"status": 200}}',
            "unknown field",
        ),
    ],
)
async def test_a_line_that_is_not_a_take(path: Path, line: str, reason: str) -> None:
    """A broken line is refused with the file, its number and the reason."""
    fine = '{"request": {"method": "GET", "path": "/"}, "response": {"status": 200}}'
    write(path, f"{fine}\n\n{line}")
    async with playing(path) as api:
        with pytest.raises(InvalidRequestError, match=rf"users\.jsonl:3 is not a take.*{reason[-15:]}"):
            await api.get("/")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "ever"}, InvalidRequestError, "mode must be one of none, once, new, all, loop, not 'ever'"),
        (
            {"match": ["header"]},
            InvalidRequestError,
            "match must be of method, path, .*, and not have 'header'",
        ),
        ({"match": "path"}, TypeError, "match must be a tuple of words, not one str"),
        ({"secrets": "token"}, TypeError, "secrets must be a tuple of words, not one str"),
    ],
)
def test_a_wrong_cassette(path: Path, options: dict[str, Any], error: type[Exception], message: str) -> None:
    """Invalid arguments are refused at construction."""
    with pytest.raises(error, match=message):
        Cassette(path, **options)


async def test_it_plays_the_response_itself(path: Path) -> None:
    """Repeated headers are replayed unchanged."""
    inner = FakeTransport(respond(headers=[("Link", "<a>"), ("Link", "<b>"), ("Date", "now")]))
    async with AsyncAPIClient(URL, transport=Cassette(path, inner, mode="once")) as api:
        await api.get("/a", bytes)

    async with playing(path) as api:
        response = await api.get("/a", AsyncAPIResponse[bytes])
    assert response.headers.getall("Link") == ["<a>", "<b>"]
    assert "Date" not in response.headers
