"""httpbin: requests and responses of every kind and in every coding."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from helpers import Client
from integration.echoes import Echo, Headers, Origins

from aioapiclient import (
    OMIT,
    APIResponseValidationError,
    AsyncAPIResponse,
    BodyTooLargeError,
    JSONLStream,
    QueryStyle,
    __version__,
)


class Slide(msgspec.Struct):
    title: str
    type: str
    items: list[str] = []


class Show(msgspec.Struct):
    author: str
    slides: list[Slide]


class Slideshow(msgspec.Struct):
    slideshow: Show


class Identified(msgspec.Struct):
    uuid: uuid.UUID


class Coded(msgspec.Struct):
    method: str
    headers: dict[str, str]
    gzipped: bool = False
    deflated: bool = False
    brotli: bool = False


class Line(msgspec.Struct):
    id: int
    url: str


# --- response bodies


@pytest.mark.parametrize(
    ("coding", "field"), [("gzip", "gzipped"), ("deflate", "deflated"), ("brotli", "brotli")]
)
async def test_codings_are_undone(api: Client, coding: str, field: str) -> None:
    """gzip, deflate and brotli are undone before the body is decoded."""
    response = await api.get(f"/{coding}", AsyncAPIResponse[Coded])
    body = await response.parse()

    assert getattr(body, field)
    assert response.headers["Content-Encoding"] == {"brotli": "br"}.get(coding, coding)
    assert coding[:2] in body.headers["Accept-Encoding"]


async def test_a_bound_holds_for_what_was_decompressed(api: Client) -> None:
    """``max_body`` bounds the bytes after decompression."""
    with pytest.raises(BodyTooLargeError):
        await api.get("/gzip", Coded, max_body=100)


async def test_nested_types(api: Client) -> None:
    """Nested Structs are decoded from third-party JSON."""
    slideshow = (await api.get("/json", Slideshow)).slideshow

    assert slideshow.author == "Yours Truly"
    assert [slide.type for slide in slideshow.slides] == ["all", "all"]


async def test_types_beyond_json(api: Client) -> None:
    """A UUID is decoded to one."""
    assert (await api.get("/uuid", Identified)).uuid.version == 4


async def test_many_calls_at_once(api: Client) -> None:
    """Fifty concurrent calls get fifty answers."""
    answers = await asyncio.gather(*(api.get("/uuid", Identified) for _ in range(50)))

    assert len({answer.uuid for answer in answers}) == 50


async def test_a_shape_that_does_not_fit_raises(api: Client) -> None:
    """JSON of another type raises with the place of the difference."""
    with pytest.raises(APIResponseValidationError) as raised:
        await api.get("/uuid", dict[str, int])

    assert raised.value.path == "$[...]"


async def test_html_is_not_a_typed_value(api: Client) -> None:
    """An HTML page with status 200 is an error for a typed call, which contains an excerpt."""
    with pytest.raises(APIResponseValidationError, match="the body is an HTML page") as raised:
        await api.get("/html", Slideshow)

    assert "Moby-Dick" in raised.value.excerpt


async def test_html_is_text(api: Client) -> None:
    """A call for text returns the page."""
    assert "Herman Melville" in await api.get("/html", str)


async def test_xml_is_text(api: Client) -> None:
    """XML, which no codec knows, is returned as text."""
    assert (await api.get("/xml", str)).startswith("<?xml version='1.0'")


async def test_plain_data_of_plain_text(api: Client) -> None:
    """Without a type, text is returned as str."""
    assert "Disallow: /deny" in await api.get("/robots.txt")


async def test_utf8_is_read_as_such(api: Client) -> None:
    """A UTF-8 page is returned with all its characters."""
    page = await api.get("/encoding/utf8", str)

    assert "∮ E⋅da = Q" in page
    assert "Зарегистрируйтесь" in page


async def test_decoded_text(api: Client) -> None:
    """A path parameter is one segment, whatever it contains."""
    text = await api.get("/base64/{value}", str, path_params={"value": "0YLQtdGB0YI="})

    assert text == "тест"


@pytest.mark.parametrize(("kind", "magic"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8"), ("webp", b"RIFF")])
async def test_images_are_bytes(api: Client, kind: str, magic: bytes) -> None:
    """An image is returned as bytes, with the length of its Content-Length."""
    response = await api.get("/image/{kind}", AsyncAPIResponse[bytes], path_params={"kind": kind})
    image = await response.parse()

    assert image.startswith(magic)
    assert len(image) == int(response.headers["Content-Length"])


async def test_the_accept_header_chooses(api: Client) -> None:
    """A header of the call overrides the library's, and the server uses it."""
    response = await api.get("/image", AsyncAPIResponse[bytes], headers={"Accept": "image/webp"})

    assert response.headers["Content-Type"] == "image/webp"


async def test_links_are_followed_by_hand(api: Client) -> None:
    """A page of links is returned after its redirect."""
    page = await api.get("/links/3", str)

    assert page.count("<a href='/links/3/") == 2


async def test_bytes_come_whole(api: Client) -> None:
    """Random bytes of one seed are the same, with a length or chunked."""
    whole = await api.get("/bytes/5000", bytes, params={"seed": 7})
    chunked = await api.get("/stream-bytes/5000", bytes, params={"seed": 7, "chunk_size": 64})

    assert len(whole) == 5000
    assert whole == chunked


async def test_bytes_come_in_pieces(api: Client) -> None:
    """An unread response returns its bytes as they arrive."""
    async with api.open("GET", "/stream-bytes/5000", params={"seed": 7, "chunk_size": 64}) as response:
        pieces = [piece async for piece in response.iter_bytes()]

    assert len(pieces) > 1
    assert b"".join(pieces) == await api.get("/bytes/5000", bytes, params={"seed": 7})


async def test_lines_come_one_by_one(api: Client) -> None:
    """An unread response returns its lines, each a JSON text here."""
    async with api.open("GET", "/stream/4") as response:
        lines = [msgspec.json.decode(line, type=Line) async for line in response.iter_lines()]

    assert [line.id for line in lines] == [0, 1, 2, 3]


async def test_json_lines_come_typed(api: Client) -> None:
    """JSON lines are returned as a typed stream, although httpbin labels them JSON."""
    async with api.stream("GET", "/stream/{n}", Line, stream_cls=JSONLStream, path_params={"n": 20}) as lines:
        found = [line async for line in lines]

    assert [line.id for line in found] == list(range(20))
    assert {line.url for line in found} == {f"{str(api.base_url).rstrip('/')}/stream/20"}


async def test_a_line_that_does_not_fit_is_named(api: Client) -> None:
    """A line that does not match the type raises with its number."""
    async with api.stream("GET", "/stream/3", Identified, stream_cls=JSONLStream) as lines:
        with pytest.raises(APIResponseValidationError, match="line 1"):
            async for _ in lines:
                pass


async def test_a_page_of_html_is_not_a_stream(api: Client) -> None:
    """A page of HTML instead of events raises."""
    async with api.stream("GET", "/html", Line) as events:
        with pytest.raises(APIResponseValidationError):
            async for _ in events:
                pass


async def test_a_response_that_was_left_does_no_harm(api: Client) -> None:
    """A response that is left unread does not block the next call."""
    async with api.open("GET", "/stream-bytes/100000", params={"chunk_size": 100}) as response:
        async for _ in response.iter_bytes():
            break

    assert (await api.get("/uuid", Identified)).uuid


async def test_a_body_goes_to_a_file(api: Client, tmp_path: Path) -> None:
    """A body is written to a file, and checked by a digest."""
    content = bytes(ord("a") + number % 26 for number in range(50_000))
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"

    async with api.open("GET", "/range/50000") as response:
        size = await response.write_to_file(tmp_path / "alphabet", digest=digest)

    assert size == 50_000
    assert (tmp_path / "alphabet").read_bytes() == content


async def test_a_part_of_a_body(api: Client) -> None:
    """A Range is answered with a 206, which is a success."""
    response = await api.get("/range/100", AsyncAPIResponse[bytes], headers={"Range": "bytes=26-30"})

    assert response.status == 206
    assert await response.parse() == b"abcde"


async def test_the_raw_response(api: Client) -> None:
    """A call for aiohttp's own response returns that."""
    raw = await api.get("/json", aiohttp.ClientResponse)
    async with raw:
        body = await raw.json()

    assert body["slideshow"]["author"] == "Yours Truly"


async def test_a_head_has_headers_only(api: Client) -> None:
    """HEAD returns the response: its headers, and the length of the absent body."""
    response = await api.head("/bytes/1000")

    assert response.headers["Content-Length"] == "1000"
    assert response.body == b""


async def test_options_say_what_is_allowed(api: Client) -> None:
    """OPTIONS names the methods."""
    response = await api.options("/anything", AsyncAPIResponse[None])

    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= {*response.headers["Allow"].split(", ")}


# --- request bodies


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_json_in_every_method(api: Client, method: str) -> None:
    """JSON is sent with any method, including typed values."""
    content = Slide("Überblick", "all", ["a", "b"])

    echo = await api.request(method, "/anything", Echo, json=content)

    assert echo.method == method
    assert echo.json == {"title": "Überblick", "type": "all", "items": ["a", "b"]}
    assert echo.headers["Content-Type"] == "application/json"


async def test_the_verbs(api: Client) -> None:
    """Each verb reaches the path that accepts only this verb."""
    put = await api.put("/put", Echo, json=1)
    patch = await api.patch("/patch", Echo, json=2)
    deleted = await api.delete("/delete", Echo)
    posted = await api.post("/post", Echo)

    assert [put.json, patch.json, deleted.json, posted.json] == [1, 2, None, None]


async def test_extra_members(api: Client) -> None:
    """``extra_body`` is merged over the JSON of a call."""
    echo = await api.post("/post", Echo, json={"a": 1, "b": 2}, extra_body={"b": 3})

    assert echo.json == {"a": 1, "b": 3}


async def test_a_form(api: Client) -> None:
    """A form is parsed as one, with its repeated names and characters beyond ASCII."""
    echo = await api.post("/post", Echo, data={"name": "Ada & Zoë", "tag": ["x", "y"], "on": True})

    assert echo.form == {"name": "Ada & Zoë", "tag": ["x", "y"], "on": "true"}
    assert echo.headers["Content-Type"] == "application/x-www-form-urlencoded"


async def test_a_nested_form(httpbin: Origins) -> None:
    """A nested form is written in the client's style."""
    style = QueryStyle(arrays="indices", nesting="brackets")
    async with Client(httpbin.home, query_style=style) as api:
        echo = await api.post("/post", Echo, data={"card": {"number": "42", "tags": ["a", "b"]}})

    assert echo.form == {"card[number]": "42", "card[tags][0]": "a", "card[tags][1]": "b"}


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (QueryStyle(), {"ids": ["1", "2"], "at[from]": "x y", "q": "a&b=c+d"}),
        (QueryStyle(arrays="comma"), {"ids": "1,2", "at[from]": "x y", "q": "a&b=c+d"}),
        (QueryStyle(arrays="brackets"), {"ids[]": ["1", "2"], "at[from]": "x y", "q": "a&b=c+d"}),
        (QueryStyle(arrays="indices"), {"ids[0]": "1", "ids[1]": "2", "at[from]": "x y", "q": "a&b=c+d"}),
        (QueryStyle(nesting="dots"), {"ids": ["1", "2"], "at.from": "x y", "q": "a&b=c+d"}),
    ],
)
async def test_query_styles(httpbin: Origins, style: QueryStyle, expected: dict[str, Any]) -> None:
    """Arrays and objects arrive in each style, and special characters in a query arrive unchanged."""
    params = {"ids": [1, 2], "at": {"from": "x y"}, "q": "a&b=c+d", "none": None}
    async with Client(httpbin.home, query_style=style) as api:
        echo = await api.get("/get", Echo, params=params)

    assert echo.args == expected


async def test_raw_bytes(api: Client) -> None:
    """Bytes arrive unchanged."""
    echo = await api.post(
        "/post", Echo, content=bytes(range(128)), headers={"Content-Type": "application/octet-stream"}
    )

    assert echo.data.encode() == bytes(range(128))


async def test_text(api: Client) -> None:
    """Text is sent as UTF-8."""
    echo = await api.post(
        "/post", Echo, content="grüße", headers={"Content-Type": "text/plain; charset=utf-8"}
    )

    assert echo.data == "grüße"


async def test_an_iterator_is_sent_chunked(api: Client) -> None:
    """An async iterator is sent chunk by chunk, without a length."""

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"%d" % number * 1000

    echo = await api.post("/anything", Echo, content=chunks())

    assert echo.data == "".join(str(number) * 1000 for number in range(5))
    assert "Content-Length" not in echo.headers


async def test_a_file_is_sent(api: Client, tmp_path: Path) -> None:
    """A path is sent from the disk, with its length."""
    path = tmp_path / "letters.txt"
    path.write_bytes(b"abc" * 100_000)

    echo = await api.put("/put", Echo, content=path)

    assert len(echo.data) == 300_000
    assert echo.headers["Content-Length"] == "300000"


# --- headers and cookies


async def test_cookies_are_not_kept(api: Client) -> None:
    """A cookie that a server sets is not sent back, neither after its redirect nor by the next call."""
    after_redirect = await api.get("/cookies/set", dict[str, Any], params={"session": "s3cret"})
    next_call = await api.get("/cookies", dict[str, Any])

    assert after_redirect == next_call == {"cookies": {}}


async def test_a_cookie_of_the_call_is_sent(api: Client) -> None:
    """A cookie that the call sets is sent."""
    answer = await api.get("/cookies", dict[str, dict[str, str]], headers={"Cookie": "a=1; b=2"})

    assert answer == {"cookies": {"a": "1", "b": "2"}}


async def test_the_user_agent(httpbin: Origins) -> None:
    """The User-Agent names the class of the client, its version and the library's."""
    async with Client(httpbin.home, version="1.2.3") as api:
        answer = await api.get("/user-agent", dict[str, str])

    assert "1.2.3" in answer["user-agent"]
    assert f"aioapiclient/{__version__}" in answer["user-agent"]


async def test_layers_of_headers(httpbin: Origins) -> None:
    """A header of the call overrides the client's; `OMIT` removes one, including the library's."""
    async with Client(httpbin.home, default_headers={"X-A": "client", "X-B": "client"}) as api:
        echo = await api.get("/headers", Headers, headers={"X-A": "call", "X-B": OMIT, "User-Agent": OMIT})

    assert echo.headers["X-A"] == "call"
    assert echo.headers.keys().isdisjoint({"X-B", "User-Agent"})


async def test_response_headers_that_repeat(api: Client) -> None:
    """All values of a response header are there."""
    response = await api.get(
        "/response-headers", AsyncAPIResponse[dict[str, Any]], params={"X-Thing": ["one", "two"]}
    )

    assert response.headers.getall("X-Thing") == ["one", "two"]


async def test_the_id_of_a_request(api: Client) -> None:
    """The server's id of a request is on the response."""
    response = await api.get("/response-headers", AsyncAPIResponse[Any], params={"x-request-id": "r-7"})

    assert response.request_id == "r-7"


async def test_path_parameters_stay_one_segment(api: Client) -> None:
    """A path parameter arrives as one segment, spaces and question marks included."""
    echo = await api.get("/anything/{name}", Echo, path_params={"name": "a b&c?d"})

    # As httpbin encodes the decoded path again.
    assert echo.url.endswith("/anything/a%20b&c%3Fd")


async def test_where_a_call_came_from(api: Client) -> None:
    """The simplest call of all."""
    assert await api.get("/ip", dict[str, str]) == {"origin": "127.0.0.1"}
