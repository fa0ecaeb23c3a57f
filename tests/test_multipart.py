"""Multipart forms: values for files and data, the parts that a server reads, and when a form can be
resent.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import io
import os
import re
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from helpers import Client
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pytest_aiohttp.plugin import AiohttpServer
from servers import in_turn, ok, raw_server, respond, response

from aioapiclient import APIRequest, AsyncAPIClient, AsyncAPIResponse
from aioapiclient._body.body import Body, build_body
from aioapiclient._body.files import FilePart
from aioapiclient._body.multipart import boundary_of
from aioapiclient._query import QueryStyle
from aioapiclient._types import NOT_GIVEN, OMIT
from aioapiclient.errors import (
    InternalServerError,
    InvalidRequestError,
    RequestNotReplayableError,
)

LONG = bytes(range(256)) * 800  # 204800 bytes: more than three chunks of a file
BRACKETS = QueryStyle(arrays="brackets")


class Got(NamedTuple):
    """A part, as a server reads it."""

    name: str
    filename: str | None
    content_type: str | None
    content: bytes


async def send(body: Body) -> bytes:
    """Send a body once, as a transport does, and return the bytes that the peer would get."""
    async with aclosing(aiter(body)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def parts_of(body: Body) -> list[aiohttp.BodyPartReader]:
    """The parts of a body, read by aiohttp's parser; their contents are still to be read."""
    loop = asyncio.get_running_loop()
    stream = aiohttp.StreamReader(BaseProtocol(loop), limit=1 << 20, loop=loop)
    stream.feed_data(await send(body))
    stream.feed_eof()
    reader = aiohttp.MultipartReader({"Content-Type": body.content_type or ""}, stream)
    parts = []
    while (part := await reader.next()) is not None:
        assert isinstance(part, aiohttp.BodyPartReader)
        part_content = bytes(await part.read())
        part._content = part_content  # type: ignore[assignment]
        parts.append(part)
    return parts


async def read(body: Body | None) -> list[Got]:
    """The parts that a server by the WHATWG standard reads from a body."""
    assert body is not None
    found = []
    for part in await parts_of(body):
        disposition = part.headers["Content-Disposition"]
        match = re.fullmatch(r'form-data; name="([^"]*)"(?:; filename="([^"]*)")?', disposition)
        assert match is not None, disposition
        content: Any = part._content
        filename = None if match[2] is None else unescape(match[2])
        found.append(Got(unescape(match[1]), filename, part.headers.get("Content-Type"), content))
    return found


def unescape(name: str) -> str:
    """Return the original name, as far as it can be recovered."""
    return re.sub("%([01][0-9A-F]|22|5C|7F)", lambda match: chr(int(match[1], 16)), name)


async def one(entry: Any) -> Got:
    """The part of one file, as a server reads it."""
    (got,) = await read(build_body(files={"f": entry}))
    return got


async def generate(*chunks: bytes) -> AsyncIterator[bytes]:
    """A one-shot body."""
    for chunk in chunks:
        yield chunk


class PathLike:
    """A path that is not a `pathlib.Path`, such as anyio's."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


# The forms of a file


async def test_bytes() -> None:
    """Bytes have no name: they are sent without one."""
    assert await one(b"abc") == Got("f", None, "application/octet-stream", b"abc")
    assert await one(bytearray(b"abc")) == Got("f", None, "application/octet-stream", b"abc")
    assert await one(io.BytesIO(b"abc")) == Got("f", None, "application/octet-stream", b"abc")


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.txt", "text/plain"),
        ("A.PNG", "image/png"),
        ("a.unheard", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
async def test_path(name: str, content_type: str, tmp_path: Path) -> None:
    """A path is sent with its last segment as the name, and the matching type."""
    (tmp_path / name).write_bytes(LONG)

    assert await one(tmp_path / name) == Got("f", name, content_type, LONG)


async def test_open_file(tmp_path: Path) -> None:
    """An open file has the name of its path, is sent from its position, and stays open."""
    path = tmp_path / "a.json"
    path.write_bytes(b"{}1234")
    with path.open("rb") as file:
        file.seek(2)
        assert await one(file) == Got("f", "a.json", "application/json", b"1234")
        assert not file.closed


async def test_open_file_without_a_path(tmp_path: Path) -> None:
    """A file that was opened by a number, or calls itself <stdin>, has no name."""
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    with os.fdopen(os.open(path, os.O_RDONLY), "rb") as file:
        assert (await one(file)).filename is None

    class Standard(io.BytesIO):
        name = "<stdin>"

    assert (await one(Standard(b"abc"))).filename is None
    with tempfile.SpooledTemporaryFile() as spooled:
        assert (await one(spooled)).filename is None


async def test_async_iterable() -> None:
    """An async iterable is sent as it yields."""
    assert await one(generate(b"ab", b"", b"c")) == Got("f", None, "application/octet-stream", b"abc")
    assert (await one(("n.txt", iter([b"a", b"b"])))).content == b"ab"


async def test_body_as_a_part() -> None:
    """A part can be a `Body`, of JSON for one, and has its type."""
    assert await one(Body.from_json({"a": 1})) == Got("f", None, "application/json", b'{"a":1}')
    assert (await one(("n", Body("ü")))).content_type == "text/plain; charset=utf-8"
    assert (await one(("n", Body(b"x")))).content_type == "application/octet-stream"


async def test_tuples(tmp_path: Path) -> None:
    """A tuple names a file, and may give its type and its headers."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"abc")

    assert await one(("b.png", b"x")) == Got("f", "b.png", "image/png", b"x")
    assert await one(("b.png", path)) == Got("f", "b.png", "image/png", b"abc")
    assert await one(("b.png", b"x", "text/x-own")) == Got("f", "b.png", "text/x-own", b"x")
    assert await one(("b.png", b"x", None)) == Got("f", "b.png", "image/png", b"x")
    assert await one((None, path)) == Got("f", "a.txt", "text/plain", b"abc")
    assert await one((None, b"x")) == Got("f", None, "application/octet-stream", b"x")
    assert await one((OMIT, path)) == Got("f", None, "application/octet-stream", b"abc")


async def test_headers_of_a_part() -> None:
    """The headers of a part are sent in it, override its type, and can remove it."""
    entry = ("n.txt", b"x", None, {"X-Own": "ä 1", "content-type": "text/other"})
    (part,) = await parts_of(Body.from_multipart({"f": entry}))

    assert part.headers["X-Own"] == "ä 1"
    assert part.headers.getall("Content-Type") == ["text/other"]
    assert (await one(("n.txt", b"x", None, {"Content-Type": OMIT}))).content_type is None
    assert (await one(("n.txt", b"x", "a/b", None))).content_type == "a/b"


async def test_repeated_header_of_a_part() -> None:
    """A multidict of headers keeps its repeated names."""
    headers = CIMultiDict([("X-Own", "1"), ("X-Own", "2")])
    (part,) = await parts_of(Body.from_multipart({"f": ("n", b"x", None, headers)}))

    assert part.headers.getall("X-Own") == ["1", "2"]


@pytest.mark.parametrize("absent", [None, OMIT, NOT_GIVEN])
async def test_absent_files(absent: Any) -> None:
    """None, OMIT and NOT_GIVEN are dropped at any depth."""
    body = build_body(files={"a": absent, "b": [absent, b"x"], "c": {"d": absent}})

    assert [got.name for got in await read(body)] == ["b"]
    assert build_body(files=absent) is None


# Fields and names


async def test_fields_stand_before_files() -> None:
    """Fields are sent first, without a type; then the files, each in the given order."""
    body = build_body(files={"f": b"1", "e": b"2"}, data={"z": "ü", "a": [1, True], "none": None, "": ""})

    assert [(got.name, got.content) for got in await read(body)] == [
        ("z", "ü".encode()),
        ("a", b"1"),
        ("a", b"true"),
        ("", b""),
        ("f", b"1"),
        ("e", b"2"),
    ]
    assert [got.content_type for got in await read(body)][:4] == [None] * 4


async def test_values_are_sent_byte_for_byte() -> None:
    """Line breaks in a field are kept."""
    (got,) = await read(build_body(files={}, data={"a": "1\n2\r\n3\r"}))

    assert got.content == b"1\n2\r\n3\r"


async def test_structs_as_fields() -> None:
    """A Struct provides its fields, under their renamed names."""

    class Meta(msgspec.Struct, rename="camel"):
        first_name: str = "Ada"

    body = build_body(files={"f": b"x"}, data=msgspec.structs.asdict(Meta()) | {"inner": Meta()})

    assert [got.name for got in await read(body)] == ["first_name", "inner[firstName]", "f"]


@pytest.mark.parametrize(
    ("style", "names"),
    [
        (QueryStyle("repeat"), ["a[b][c]", "l", "l", "l[d]"]),
        (QueryStyle("brackets"), ["a[b][c]", "l[]", "l[]", "l[][d]"]),
        (QueryStyle("indices"), ["a[b][c]", "l[0]", "l[1]", "l[2][d]"]),
        (QueryStyle("comma"), ["a[b][c]", "l", "l", "l[d]"]),
        (QueryStyle("brackets", "dots"), ["a.b.c", "l[]", "l[]", "l[].d"]),
    ],
)
async def test_nested_files(style: QueryStyle, names: list[str]) -> None:
    """Nested files are named like nested parameters; a comma cannot join files, which repeat their name."""
    files = {"a": {"b": {"c": b"1"}}, "l": [b"2", ("n", b"3"), {"d": b"4"}]}

    assert [got.name for got in await read(build_body(files=files, style=style))] == names


async def test_fields_follow_the_style() -> None:
    """Fields beside files are nested in the same style."""
    body = build_body(
        files={"f": b""}, data={"a": [1, 2], "b": {"c": 3}}, style=QueryStyle("indices", "dots")
    )

    assert [got.name for got in await read(body)] == ["a[0]", "a[1]", "b.c", "f"]


async def test_number_as_a_name() -> None:
    """A name may be a number."""
    numbers: Any = {1: {2: b""}}
    assert [got.name for got in await read(build_body(files=numbers))] == ["1[2]"]


@pytest.mark.parametrize("name", [True, None, b"f", 1.5])
def test_name_of_another_type(name: Any) -> None:
    """A name that is neither text nor a number is a TypeError."""
    with pytest.raises(TypeError, match="name of a file must be a str or an int"):
        build_body(files={name: b"x"})


def test_files_that_contain_themselves() -> None:
    """A cycle is refused, and no recursion without end."""
    files: dict[str, Any] = {}
    files["a"] = files
    with pytest.raises(InvalidRequestError, match="contains itself"):
        build_body(files=files)


async def test_files_without_a_file() -> None:
    """Empty files make a multipart form of the fields alone, for servers that require one."""
    body = build_body(files={}, data={"a": "1"})

    assert [(got.name, got.content) for got in await read(body)] == [("a", b"1")]
    assert body is not None
    assert (body.content_type or "").startswith("multipart/form-data; boundary=")
    empty = build_body(files=())
    assert empty is not None
    assert re.fullmatch(rb"--(\w+)--\r\n", await send(empty))


# Values that are not files


@pytest.mark.parametrize(
    "files", ["f", b"f", bytearray(b"f"), 7, Path("f"), io.BytesIO(), [b"x"], ["fg"], [("a", b"x", 1)]]
)
def test_files_of_another_type(files: Any) -> None:
    """Files are a mapping or pairs; a file by itself has no name."""
    with pytest.raises(TypeError, match=r"files .*pairs"):
        build_body(files=files)


@pytest.mark.parametrize("entry", [7, 1.5, object(), ("n", 7), ("n", {"a": 1}), ("n", None)])
def test_file_of_another_type(entry: Any) -> None:
    """A value that is not content is a TypeError that names the file."""
    with pytest.raises(TypeError, match=r"files\['a\[b\]'\] must be bytes, str, a binary file"):
        build_body(files={"a": {"b": entry}})


@pytest.mark.parametrize("entry", [(), ("n",), ("n", b"x", None, None, None)])
def test_tuple_of_another_length(entry: Any) -> None:
    """A tuple has two to four items."""
    with pytest.raises(TypeError, match=rf"files\['f'\] has {len(entry)} items"):
        build_body(files={"f": entry})


def test_name_of_a_file_of_another_type() -> None:
    """The name of a file is text."""
    with pytest.raises(TypeError, match="file name must be a str, not bytes"):
        build_body(files={"f": (b"n", b"x")})


@pytest.mark.parametrize("part", [False, True])
def test_text_file(part: bool, tmp_path: Path) -> None:
    """A file in text mode is a TypeError that names the file."""
    with (
        (tmp_path / "a").open("w+") as file,
        pytest.raises(TypeError, match=r"files\['f'\] is a file in text mode"),
    ):
        build_body(files={"f": FilePart(file) if part else file})


@pytest.mark.parametrize("part", [False, True])
def test_closed_file(part: bool) -> None:
    """A closed file is refused when the request is created."""
    file = io.BytesIO(b"abc")
    file.close()
    with pytest.raises(InvalidRequestError, match=r"files\['f'\] is a closed file"):
        build_body(files={"f": FilePart(file) if part else file})


def test_path_to_nothing(tmp_path: Path) -> None:
    """A missing path is the system's own error, and a directory is refused by name."""
    with pytest.raises(FileNotFoundError):
        build_body(files={"f": tmp_path / "nothing"})
    with pytest.raises(InvalidRequestError, match=r"files\['f'\]: '.*' is neither a file nor a device"):
        build_body(files={"f": tmp_path})


@pytest.mark.parametrize("kind", ["json", "extra_body", "content"])
def test_two_bodies(kind: str) -> None:
    """Files are sent with data, and with no other kind of body."""
    given_too: dict[str, Any] = {kind: {"a": 1} if kind != "content" else b"x"}
    with pytest.raises(TypeError, match=f"^{kind} and files were both given"):
        build_body(files={"f": b"x"}, **given_too)


@pytest.mark.parametrize("data", ["a=1", b"a=1"])
def test_data_that_is_not_a_form(data: Any) -> None:
    """The fields of a multipart form are a mapping or pairs, too."""
    with pytest.raises(TypeError, match="must be a mapping or pairs"):
        build_body(files={}, data=data)


# Values that must not reach the wire


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ('a"b', "a%22b"),
        ("a\r\nb", "a%0D%0Ab"),
        ("a\0\x1b\x7f\tb", "a%00%1B%7F%09b"),
        ("ü €", "ü €"),
        ("a\\b", "a\\b"),
        ("a\\", "a%5C"),
        ("a%22", "a%22"),
        ('x"; filename="y', "x%22; filename=%22y"),
    ],
)
async def test_names_are_escaped(name: str, escaped: str) -> None:
    """Names are UTF-8, with quotes and control characters percent-encoded, in fields and files alike."""
    raw = await send(Body.from_multipart({name: (name, b"")}, {name: ""}))

    assert raw.count(f'name="{escaped}"'.encode()) == 3  # of the field, of the file, and of its file name
    assert raw.count(b"Content-Disposition") == 2


@pytest.mark.parametrize("kind", ["field", "name", "filename", "path", "value"])
def test_name_that_utf8_cannot_say(kind: str, tmp_path: Path) -> None:
    """A lone surrogate, in the name of a path for one, is refused, and its error does not hold the text."""
    path = tmp_path / "\udcff"
    path.write_bytes(b"x")
    options: dict[str, Any] = {
        "field": {"files": {}, "data": {"\ud800": "x"}},
        "name": {"files": {"\ud800": b"x"}},
        "filename": {"files": {"f": ("\ud800", b"x")}},
        "path": {"files": {"f": path}},
        "value": {"files": {}, "data": {"f": "\ud800"}},
    }[kind]
    with pytest.raises(InvalidRequestError, match="lone surrogate") as caught:
        build_body(**options)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (("n", b"x", "a/b\r\nX-Evil: 1"), "control character"),
        (("n", b"x", None, {"X-Own": "1\n2"}), "control character"),
        (("n", b"x", None, {"X Own": "1"}), "not a token"),
        (("n", b"x", None, {"X\r\n": "1"}), "not a token"),
        (("n", b"x", None, {"Content-Length": "1"}), "cannot be set by a caller"),
        (("n", b"x", None, {"content-disposition": "attachment"}), "carries the names"),
    ],
)
def test_header_that_cannot_be_sent(entry: Any, message: str) -> None:
    """A type or header of a part that would break its frame is refused before anything is sent."""
    with pytest.raises(InvalidRequestError, match=message):
        build_body(files={"f": entry})


@pytest.mark.parametrize(
    "entry", [("n", b"x", 7), ("n", b"x", None, [("a", "b")]), ("n", b"x", None, {"a": 1})]
)
def test_header_of_another_type(entry: Any) -> None:
    """A type or header that is not text is a TypeError."""
    with pytest.raises(TypeError, match="must be a"):
        build_body(files={"f": entry})


def test_boundary_is_random() -> None:
    """Every body has its own boundary, which cannot be guessed."""
    found = {boundary_of(None)[0] for _ in range(100)}

    assert len(found) == 100
    assert {len(boundary) for boundary in found} == {32}


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('Multipart/Form-Data; Boundary="a b:c"', "a b:c"),
        ('multipart/form-data; charset="x; boundary=no"; boundary=yes', "yes"),
        (r'multipart/form-data; boundary="a\bc"', "abc"),
        ("multipart/mixed;boundary=abc", "abc"),
    ],
)
async def test_boundary_of_the_caller(content_type: str, boundary: str) -> None:
    """A boundary in the caller's Content-Type is used, and the header is sent word for word."""
    body = build_body(files={"f": b"x"}, content_type=content_type)
    assert body is not None

    assert body.content_type == content_type
    assert (await send(body)).startswith(f"--{boundary}\r\n".encode())
    assert (await send(body)).endswith(f"\r\n--{boundary}--\r\n".encode())


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; charset=utf-8"])
async def test_boundary_that_the_caller_left_out(content_type: str) -> None:
    """A Content-Type without a boundary gets ours."""
    body = build_body(files={"f": b"x"}, content_type=content_type)
    assert body is not None

    assert (body.content_type or "").startswith(f"{content_type}; boundary=")
    assert [got.content for got in await read(body)] == [b"x"]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="a "',
        f"multipart/form-data; boundary={'a' * 71}",
        "multipart/form-data; boundary=a{b}",
        "multipart/form-data; boundary=ü",
        "multipart/form-data\r\n",
    ],
)
def test_content_type_that_cannot_be(content_type: str) -> None:
    """A type that is not multipart, or an invalid boundary, is refused."""
    with pytest.raises(InvalidRequestError):
        build_body(files={"f": b"x"}, content_type=content_type)


@pytest.mark.parametrize(
    ("headers", "start"),
    [
        ({}, "multipart/form-data; boundary="),
        ({"content-type": "multipart/form-data"}, "multipart/form-data; boundary="),
        ({"Content-Type": "multipart/form-data; boundary=abc"}, "multipart/form-data; boundary=abc"),
        ({"Content-Type": OMIT}, "multipart/form-data; boundary="),
    ],
)
async def test_content_type_on_the_wire(headers: dict[str, Any], start: str) -> None:
    """The Content-Type names the boundary of the body, whatever the client's own headers contain."""
    defaults = {"Content-Type": "application/json"}
    async with (
        raw_server(respond(ok())) as server,
        AsyncAPIClient(server.url, default_headers=defaults) as api,
    ):
        await api.post("/", files={"f": b"x"}, headers=headers)

    (request,) = server.requests
    (content_type,) = request.headers.getall("Content-Type")
    assert content_type.startswith(start)
    boundary = content_type.partition("boundary=")[2]
    assert request.body.startswith(f"--{boundary}\r\n".encode())


async def test_content_type_of_another_kind_with_files() -> None:
    """A form in a call whose Content-Type is JSON sends nothing."""
    async with raw_server(respond(ok())) as server, AsyncAPIClient(server.url) as api:
        with pytest.raises(InvalidRequestError, match="must be multipart"):
            await api.post("/", files={"f": b"x"}, headers={"Content-Type": "application/json"})

    assert server.connections == 0


async def test_style_of_the_client() -> None:
    """Files and fields of a call are named in the client's query style."""
    async with raw_server(respond(ok())) as server, AsyncAPIClient(server.url, query_style=BRACKETS) as api:
        await api.post("/", files={"f": [b"x"]}, data={"a": [1]})

    body = server.requests[0].body
    assert [name in body for name in (b'name="a[]"', b'name="f[]"')] == [True, True]


# Size and replay


async def test_small_form_is_in_memory() -> None:
    """A form of fields and small bytes is in memory, to be signed."""
    body = build_body(files={"f": b"x"}, data={"a": "1"})
    assert body is not None

    assert body.content == await send(body)
    assert body.size == len(body.content)


async def test_size_is_known_where_all_sizes_are(tmp_path: Path) -> None:
    """The size is the sum of the parts', and unknown with the first that is."""
    path = tmp_path / "a"
    path.write_bytes(LONG)
    with path.open("rb") as file:
        body = build_body(files={"a": path, "b": file, "c": FilePart(path, 5), "d": LONG}, data={"e": "1"})
        assert body is not None
        assert body.content is None
        assert body.size == len(await send(body))

    unknown = build_body(files={"a": path, "b": generate(b"x")})
    assert unknown is not None
    assert unknown.size is None


@pytest.mark.parametrize("one_shot", [False, True])
async def test_length_on_the_wire(one_shot: bool, aiohttp_server: AiohttpServer, tmp_path: Path) -> None:
    """A server gets the parts with their length, or chunked if it is unknown."""
    path = tmp_path / "a.bin"
    path.write_bytes(LONG)
    seen: list[tuple[int | None, dict[str, Any]]] = []

    async def handler(request: web.Request) -> web.Response:
        form = await request.post()
        fields = {
            name: value.file.read() if isinstance(value, web.FileField) else value
            for name, value in form.items()
        }
        seen.append((request.content_length, fields))
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/", handler)
    server = await aiohttp_server(app)
    files: dict[str, Any] = (
        {"a": path, "b": ("b", generate(b"x"))} if one_shot else {"a": path, "b": ("b", b"x")}
    )
    body = build_body(files=files, data={"c": "1"})
    assert body is not None
    async with AsyncAPIClient(server.make_url("/")) as client:
        await client.post("/", content=body)

    ((length, fields),) = seen
    assert fields == {"a": LONG, "b": b"x", "c": "1"}
    assert length == body.size


async def test_path_is_opened_only_when_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is opened when its turn comes: a form of a thousand paths has one open at a time."""
    paths = [tmp_path / str(number) for number in range(20)]
    for path in paths:
        path.write_bytes(b"x" * 10)
    body = build_body(files=[("f", path) for path in paths])
    assert body is not None

    opened = most = 0

    class Counted:
        def __init__(self, *arguments: Any) -> None:
            nonlocal opened
            opened += 1
            self.file = io.FileIO(arguments[0])
            self.seek, self.read = self.file.seek, self.file.read

        def close(self) -> None:
            nonlocal opened
            opened -= 1
            self.file.close()

    monkeypatch.setattr("aioapiclient._body.sources.open", Counted, raising=False)
    async with aclosing(aiter(body)) as chunks:
        async for _ in chunks:
            most = max(most, opened)

    assert (opened, most) == (0, 1)


async def test_form_is_sent_again_whole(tmp_path: Path) -> None:
    """After a 503 the same form is sent again, byte for byte, with the same boundary."""
    path = tmp_path / "a"
    path.write_bytes(LONG)
    body = build_body(files={"a": path, "b": LONG, "c": io.BytesIO(b"c")}, data={"d": "1"})
    assert body is not None
    script = in_turn(respond(response("503 Busy", Retry_After="0")), respond(ok()))
    async with raw_server(script) as server, Client(server.url) as client:
        await client.post("/", content=body)

    first, second = server.requests
    assert first.body == second.body
    assert len(first.body) == body.size
    assert first.headers["Content-Type"] == second.headers["Content-Type"] == body.content_type


async def test_form_with_a_one_shot_part_is_sent_once() -> None:
    """A form with a one-shot part is not sent again: the first error is raised."""
    body = build_body(files={"a": b"a", "b": generate(b"b")})
    assert body is not None
    script = respond(response("503 Busy", Retry_After="0"))
    async with raw_server(script) as server, Client(server.url) as client:
        with pytest.raises(InternalServerError):
            await client.post("/", content=body)

    assert len(server.requests) == 1
    assert not body.replayable
    assert body.consumed


async def test_spent_form_sends_nothing(tmp_path: Path) -> None:
    """If one part is consumed, the parts before it are not sent either."""
    body = build_body(files={"a": LONG, "b": generate(b"b")})
    assert body is not None
    await send(body)

    got = []
    with pytest.raises(RequestNotReplayableError, match="can be sent only once"):
        async for chunk in body:
            got.append(chunk)  # noqa: PERF401 (what came before the error counts)
    assert got == []


async def test_one_shot_part_that_had_not_begun() -> None:
    """A form that failed before its one-shot part began can be sent again, complete."""
    body = build_body(files={"a": LONG, "b": generate(b"b")})
    assert body is not None
    async with aclosing(aiter(body)) as chunks:
        await anext(chunks)

    assert not body.consumed
    assert [got.content for got in await read(body)] == [LONG, b"b"]


async def test_part_that_shrinks(tmp_path: Path) -> None:
    """A file that became shorter after the form was created is an error, not a gap in the form."""
    path = tmp_path / "a"
    path.write_bytes(b"abcdef")
    body = build_body(files={"a": path})
    assert body is not None
    path.write_bytes(b"abc")

    with pytest.raises(InvalidRequestError, match="3 bytes, not 6"):
        await send(body)


# Slices of files


@pytest.mark.parametrize("kind", ["path", "str", "file", "memory"])
async def test_file_part(kind: str, tmp_path: Path) -> None:
    """A `FilePart` is a number of bytes of a file from an offset on, whatever the file's position."""
    path = tmp_path / "big.txt"
    path.write_bytes(LONG)
    with path.open("rb") as opened:
        opened.seek(7)
        file = {"path": path, "str": str(path), "file": opened, "memory": io.BytesIO(LONG)}[kind]

        body = Body(FilePart(file, 100, 150_000))
        assert (body.size, body.replayable) == (150_000, True)
        for _ in range(2):
            assert await send(body) == LONG[100:150_100]
        assert await send(Body(FilePart(file))) == LONG
        assert await send(Body(FilePart(file, 204_000))) == LONG[204_000:]
        assert await send(Body(FilePart(file, len(LONG)))) == b""
        assert await send(Body(FilePart(file, 5, 0))) == b""


async def test_file_part_in_a_form(tmp_path: Path) -> None:
    """In a form a `FilePart` has the name and type of its file, unless it is given others."""
    path = tmp_path / "big.txt"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        assert await one(FilePart(path, 2, 3)) == Got("f", "big.txt", "text/plain", b"234")
        assert await one(FilePart(file, 2, 3)) == Got("f", "big.txt", "text/plain", b"234")
        assert await one(("n.png", FilePart(str(path), 8))) == Got("f", "n.png", "image/png", b"89")


async def test_parts_of_one_path_at_once(tmp_path: Path) -> None:
    """Eight parts of one path are uploaded concurrently, each with a separate handle."""
    path = tmp_path / "big"
    path.write_bytes(LONG)
    length = len(LONG) // 8
    bodies = [Body(FilePart(path, start, length)) for start in range(0, len(LONG), length)]

    assert b"".join(await asyncio.gather(*map(send, bodies))) == LONG


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_parts_of_one_open_file_at_once(kind: str, tmp_path: Path) -> None:
    """Parts of one open file can be sent concurrently: each read sets its own position."""
    path = tmp_path / "big"
    content = os.urandom(1 << 20)
    path.write_bytes(content)
    with path.open("rb", buffering=0) if kind == "file" else io.BytesIO(content) as file:
        length = len(content) // 8
        bodies = [Body(FilePart(file, start, length)) for start in range(0, len(content), length)]

        assert b"".join(await asyncio.gather(*map(send, bodies))) == content


async def test_whole_file_and_its_part_at_once(tmp_path: Path) -> None:
    """A body of an open file and one of a part of it share the file without a mix-up."""
    path = tmp_path / "big"
    content = os.urandom(1 << 20)
    path.write_bytes(content)
    with path.open("rb", buffering=0) as file:
        whole, part = Body(file), Body(FilePart(file, 1000, 700_000))
        got = await asyncio.gather(send(whole), send(part), send(whole))

    assert got == [content, content[1000:701_000], content]


class Slotted:
    """A file that can be seeked, but not weakly referred to."""

    __slots__ = ("_file",)

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        return self._file.seek(position, whence)

    def tell(self) -> int:
        return self._file.tell()


async def test_file_without_weak_references() -> None:
    """A custom file object needs only read, seek and tell."""
    assert await send(Body(FilePart(Slotted(b"0123456789"), 3, 4))) == b"3456"


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (5, 6), (11, 0), (11, None)])
def test_part_beyond_its_file(offset: int, length: int | None, tmp_path: Path) -> None:
    """A part beyond the end of its file is refused when the request is created, and never truncated."""
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    if length is None:
        assert Body(FilePart(path, 10)).size == 0
    with pytest.raises(InvalidRequestError, match="up to byte 11, but its file has 10 bytes"):
        Body(FilePart(path, offset, length))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((7,), TypeError, "a path or a binary file, not int"),
        ((b"bytes",), TypeError, "not bytes"),
        (("a", -1), InvalidRequestError, "offset must be 0 bytes or more, not -1"),
        (("a", 0, -1), InvalidRequestError, "length must be 0 bytes or more, not -1"),
        (("a", 1.5), TypeError, "offset must be an int of 0 bytes or more, not 1.5"),
        (("a", 0, True), TypeError, "length must be an int of 0 bytes or more, not bool"),
    ],
)
def test_file_part_of_what_cannot_be(arguments: Any, error: type[Exception], message: str) -> None:
    """An invalid `FilePart` is refused on creation."""
    with pytest.raises(error, match=message):
        FilePart(*arguments)


async def test_file_part_of_a_file_that_cannot_seek() -> None:
    """A pipe, or a file whose methods are async, has no parts."""

    class Async:
        async def read(self, size: int) -> bytes:
            return b""

    with pytest.raises(TypeError, match="must be seekable"):
        Body(FilePart(Async()))
    read_end, write_end = os.pipe()
    with (
        os.fdopen(read_end, "rb") as pipe,
        os.fdopen(write_end, "wb"),
        pytest.raises(TypeError, match="seekable"),
    ):
        Body(FilePart(pipe))


def test_file_part_shows_what_it_is() -> None:
    """The repr of a `FilePart` has its file and its bounds."""
    assert repr(FilePart("a.bin", 5, 7)) == "FilePart('a.bin', offset=5, length=7)"


async def test_parts_are_read_in_threads(tmp_path: Path) -> None:
    """The files of a form are read in worker threads."""
    threads = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            threads.append(threading.current_thread())
            return super().read(size)

    await read(build_body(files={"a": FilePart(Watched(LONG), 1), "b": Watched(LONG)}))

    assert len(threads) == 6  # 64 KiB, 64 KiB and the rest, of each
    assert threading.main_thread() not in threads


# Any fields and files

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="%"), max_size=8)
CONTENTS = st.binary(max_size=40) | st.sampled_from([b"\r\n", b"--", b"\r\n--", LONG])


# Some versions of aiohttp take a semicolon between quotes for a separator; the names are not read from them.
@pytest.mark.filterwarnings(
    "ignore::aiohttp.BadContentDispositionHeader", "ignore::aiohttp.BadContentDispositionParam"
)
@given(
    fields=st.lists(
        st.tuples(NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=20)), max_size=4
    ),
    files=st.lists(st.tuples(NAMES, NAMES, CONTENTS, st.booleans()), max_size=4),
)
@example(fields=[], files=[("", ";", b"", False)])
@example(fields=[(";=", "")], files=[])
@example(fields=[("a", "--x\r\n"), ("a", "")], files=[("a", '"; name="b', b"\r\n--", True)])
async def test_any_form(fields: list[tuple[str, str]], files: list[tuple[str, str, bytes, bool]]) -> None:
    """Whatever the names and contents, a parser reads exactly the given fields and files."""
    entries = [
        (name, (filename, Body(FilePart(io.BytesIO(content))) if streamed else content, "a/b"))
        for name, filename, content, streamed in files
    ]
    body = Body.from_multipart(entries, fields)

    assert await read(body) == [
        *(Got(name, None, None, text.encode()) for name, text in fields),
        *(Got(name, filename, "a/b", content) for name, filename, content, _ in files),
    ]
    assert body.size == len(await send(body))


@given(
    name=st.text(st.characters(codec="ascii"), max_size=10),
    filename=st.text(st.characters(codec="ascii"), max_size=10),
)
async def test_any_name_stays_in_its_header(name: str, filename: str) -> None:
    """No name can end its header or add one: a parser of mail sees one part with two headers."""
    raw = await send(
        Body.from_multipart({name: (filename, b"x")}, content_type="multipart/form-data; boundary=b")
    )
    message = email.message_from_bytes(
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + raw, policy=email.policy.HTTP
    )

    (part,) = message.iter_parts()
    assert [header for header, _ in part.raw_items()] == ["Content-Disposition", "Content-Type"]
    assert part.get_payload(decode=True) == b"x"


# Edge cases


def test_max_retries_none_fails_at_construction() -> None:
    """``max_retries=None`` fails when the client is created."""
    with pytest.raises(TypeError, match="max_retries"):
        AsyncAPIClient("https://api.example.com", max_retries=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["content", "files"])
async def test_async_iterator_is_not_touched_before_the_transport_asks(kind: str) -> None:
    """An async iterator, as content or in files, is not touched before the transport requests a chunk."""
    counter = 0
    seen: list[int] = []

    async def count() -> AsyncIterator[bytes]:
        nonlocal counter
        counter += 1
        yield b"x"

    async def transport(request: APIRequest) -> AsyncAPIResponse[Any]:
        seen.append(counter)
        assert request.body is not None
        await send(request.body)
        seen.append(counter)
        return AsyncAPIResponse.from_bytes(request, 204)

    body = build_body(content=count()) if kind == "content" else build_body(files={"f": count()})
    assert body is not None
    async with AsyncAPIClient("https://api.example.com", transport=transport) as client:
        await client.post("/", None, content=body)

    assert seen == [0, 1]


async def test_boundary_of_the_caller_is_respected_verbatim() -> None:
    """The caller's boundary is sent unchanged, in the header and in the body."""
    content_type = "multipart/form-data; boundary=6b7ba517decee4a450543ea6ae821c82"
    body = build_body(files={}, data={"array": ["foo", "bar"]}, style=BRACKETS, content_type=content_type)
    assert body is not None

    assert body.content_type == content_type
    assert (await send(body)).split(b"\r\n") == [
        b"--6b7ba517decee4a450543ea6ae821c82",
        b'Content-Disposition: form-data; name="array[]"',
        b"",
        b"foo",
        b"--6b7ba517decee4a450543ea6ae821c82",
        b'Content-Disposition: form-data; name="array[]"',
        b"",
        b"bar",
        b"--6b7ba517decee4a450543ea6ae821c82--",
        b"",
    ]


async def test_arrays_in_multipart_fields_repeat_the_key() -> None:
    """With brackets, an array among the fields repeats ``array[]``."""
    body = build_body(files={}, data={"array": ["foo", "bar"]}, style=BRACKETS)

    assert [got.name for got in await read(body)] == ["array[]", "array[]"]


async def test_path_carries_its_basename(tmp_path: Path) -> None:
    """A path of any kind is sent under its last segment, and read in a worker thread."""
    path = tmp_path / "some.py"
    path.write_bytes(b"pass")

    for kind in (path, PathLike(path)):
        got = await one(kind)
        assert (got.filename, got.content) == ("some.py", b"pass")


async def test_files_as_pairs_with_duplicate_names() -> None:
    """Files are a mapping or pairs, and pairs may repeat a name."""
    pairs = [("file", ("a", b"1")), ("file", ("b", b"2"))]

    for files in (pairs, iter(pairs), tuple(pairs)):
        assert [(got.name, got.filename) for got in await read(build_body(files=files))] == [
            ("file", "a"),
            ("file", "b"),
        ]
    assert [got.name for got in await read(build_body(files={"file": b"1"}))] == ["file"]


@pytest.mark.parametrize("entry", ["a.txt", ("a.txt", "content"), ["a.txt"], {"b": "a.txt"}])
def test_text_where_a_file_is_expected(entry: Any) -> None:
    """A str instead of a file is a TypeError that names the right types."""
    with pytest.raises(TypeError, match=r"must be bytes, .* not a str; use a pathlib.Path"):
        build_body(files={"f": entry})


async def test_the_callers_data_is_neither_changed_nor_copied() -> None:
    """The caller's containers are not changed, and their files are never copied."""

    class Uncopyable(io.BytesIO):
        def __copy__(self) -> Any:
            raise AssertionError("copied")

        __deepcopy__ = __copy__

    file = Uncopyable(b"x")
    inner = {"file": file}
    documents = [inner, {"file": ("n", file)}]
    files = {"documents": documents}
    await read(build_body(files=files, style=BRACKETS))

    assert files == {"documents": documents}
    assert documents == [inner, {"file": ("n", file)}]
    assert inner == {"file": file}
    assert not file.closed


async def test_nested_arrays_of_files() -> None:
    """Files nested in an array of objects are named ``documents[][file]``."""
    body = build_body(files={"documents": [{"file": b"1"}, {"file": b"2"}]}, style=BRACKETS)

    assert [(got.name, got.content) for got in await read(body)] == [
        ("documents[][file]", b"1"),
        ("documents[][file]", b"2"),
    ]


def test_files_are_found_without_paths() -> None:
    """Files are found by their position, not by paths: another value is an error, and never ignored."""
    with pytest.raises(TypeError, match=r"files\['a\[b\]'\]"):
        build_body(files={"a": {"b": 7}})
    with pytest.raises(TypeError, match="'a'"):
        build_body(files={}, data={"a": io.BytesIO(b"x")})


@pytest.mark.parametrize(
    ("arrays", "names"),
    [
        ("repeat", ["files", "files"]),
        ("brackets", ["files[]", "files[]"]),
        ("indices", ["files[0]", "files[1]"]),
    ],
)
async def test_style_names_files_too(arrays: Any, names: list[str]) -> None:
    """The array style names files as it names fields."""
    body = build_body(files={"files": [b"1", b"2"]}, style=QueryStyle(arrays))

    assert [got.name for got in await read(body)] == names


def test_null_in_extra_body_is_sent() -> None:
    """A None in extra_body is sent as null, and deletes nothing."""
    body = build_body(json={"foo": "bar", "baz": False}, extra_body={"baz": None})

    assert body is not None
    assert body.content == b'{"foo":"bar","baz":null}'


def test_extra_body_alone() -> None:
    """extra_body works without json."""
    body = build_body(extra_body={"baz": False})

    assert body is not None
    assert body.content == b'{"baz":false}'


def test_models_in_bodies() -> None:
    """Of a Struct that omits defaults only set fields are sent, by their encoded names, and None if it was
    set.
    """

    class Inner(msgspec.Struct, omit_defaults=True, rename="camel"):
        inner_name: str | None | msgspec.UnsetType = msgspec.UNSET

    class Outer(msgspec.Struct, omit_defaults=True, rename="camel"):
        first_name: str = ""
        other: Inner | None = None

    body = build_body(json={"a": Outer("Ada", Inner(None)), "b": Outer(), "c": Inner()})

    assert body is not None
    assert body.content == b'{"a":{"firstName":"Ada","other":{"innerName":null}},"b":{},"c":{}}'


def test_generators_in_bodies_become_lists() -> None:
    """A generator or iterator in a body is sent as a list."""

    def numbers() -> Iterator[Mapping[str, int]]:
        yield {"a": 1}
        yield {"a": 2}

    body = build_body(json={"items": numbers(), "ints": iter([1, 2])})

    assert body is not None
    assert body.content == b'{"items":[{"a":1},{"a":2}],"ints":[1,2]}'


def test_text_mode_is_refused() -> None:
    """A file in text mode is refused everywhere: a body consists of bytes, and no encoding is guessed."""
    for files in ({"f": io.StringIO("x")}, {"f": ("n", io.StringIO("x"))}, {"f": FilePart(io.StringIO("x"))}):
        with pytest.raises(TypeError, match="text mode"):
            build_body(files=files)
    with pytest.raises(TypeError, match="text mode"):
        build_body(content=io.StringIO("x"))  # type: ignore[arg-type]
