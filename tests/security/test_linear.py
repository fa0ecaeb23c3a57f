"""Nothing is quadratic: input from a server costs CPU in proportion to its size, however it is split.

For each path of such input, the CPU time for one size is compared with that for 32 times the size. On a busy
machine a comparison may fail by chance, so it is repeated; quadratic code takes a thousand times as long, and
always fails.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import gc
import gzip
import importlib
import itertools
import pkgutil
import re
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import brotli
import pytest
from yarl import URL

import aioapiclient
from aioapiclient import APIRequest, AsyncAPIResponse, Open, QueryStyle
from aioapiclient._body.json import encode_json
from aioapiclient._body.multipart import boundary_of
from aioapiclient._codecs.content_type import parse_content_type
from aioapiclient._codecs.decoders import decode_body
from aioapiclient._codecs.failures import DecodeError
from aioapiclient._download.download import expected_digest, parse_content_range
from aioapiclient._headers import check_layer
from aioapiclient._patterns import LazyPattern
from aioapiclient._query import encode_form, flatten
from aioapiclient._response_headers import iter_links, parse_http_date, parse_links
from aioapiclient._transport.decompression import decoder_for
from aioapiclient._url.base import BaseURL, redact_url, resolve_reference
from aioapiclient._url.template import fill_template, parse_template
from aioapiclient.streaming import JSONLDecoder, SSEDecoder

FACTOR = 32
MOST = 3 * FACTOR  # linear work costs 32 times as much, n log n some 50, quadratic work 1024
SMALLEST = 0.0005  # seconds of CPU that are worth a comparison
LARGEST = 1 << 14  # a cost below this for so large an input is not quadratic

Work = Callable[[Any], object]
SALT = itertools.count()  # makes inputs that are in no cache


def cpu_time(work: Work, prepared: Any) -> float:
    """The CPU time of *work*, without collections: each walks the heap of all tests before this one."""
    gc.disable()
    try:
        start = time.process_time()
        work(prepared)
        return time.process_time() - start
    finally:
        gc.enable()


def growth(work: Work, prepare: Callable[[int], Any]) -> float:
    """Return the ratio of the CPU times for an input of 32 times the size."""
    size = 64
    while cpu_time(work, prepare(size)) < SMALLEST:
        if size == LARGEST:
            return 0.0
        size *= 2
    small, large = prepare(size), prepare(FACTOR * size)
    return cpu_time(work, large) / max(min(cpu_time(work, small) for _ in range(3)), SMALLEST / 2)


def assert_linear(work: Work, prepare: Callable[[int], Any] = int) -> None:
    """Fail unless *work*, on the result of *prepare* for a size, is linear in one of six comparisons."""
    seen: list[float] = []
    while (ratio := growth(work, prepare)) > MOST:
        seen.append(ratio)
        assert len(seen) < 6, f"{FACTOR} times the input costs {seen} times the time"


@pytest.mark.parametrize(
    ("work", "is_linear"),
    [
        (lambda size: sum(range(50 * size)), True),
        (lambda size: sorted(str(number) for number in range(size)), True),
        (lambda size: re.findall("a*b", "a" * size), False),
    ],
)
def test_the_comparison_tells_linear_from_quadratic(work: Work, is_linear: bool) -> None:
    """Quadratic work fails the comparison, and linear work passes it."""
    if is_linear:
        assert_linear(work)
    else:
        assert growth(work, int) > MOST


# --- framings and lines, byte by byte


PIECES = [
    b"data: x\n",
    b"data: x\n\n",
    b"data: x\r\n\r\n",
    b"x",
    b"\n",
    b"\r",
    b"\r\n",
    b": c\n",
    b":",
    b"id: 1\n\n",
    b"retry: 9\n",
    b"event: e\ndata: d\n\n",
    b"data:\n",
    b"\xef\xbb\xbf",
    b'{"a": 1}\n',
    b"  \n",
    "ü\u2028".encode(),
]
CUTS = {"a byte each": 1, "all at once": None}


def cut(data: bytes, step: int | None) -> Iterator[bytes]:
    """*data* in pieces of *step* bytes."""
    return (data[start : start + step] for start in range(0, len(data), step)) if step else iter([data])


@pytest.mark.parametrize("step", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize(
    "make",
    [partial(SSEDecoder, max_event=1 << 30), partial(JSONLDecoder, max_line=1 << 30)],
    ids=["SSE", "JSON lines"],
)
def test_framings_take_linear_time(make: Any, piece: bytes, step: int | None) -> None:
    """A stream costs the same however its bytes are split, with line ends and without (P14)."""

    def work(size: int) -> None:
        decoder = make()
        for chunk in cut(piece * size, step):
            decoder.feed(chunk)
        decoder.flush()

    assert_linear(work)


class Pieces:
    """A body that arrives in pieces."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks

    async def read(self, limit: int | None) -> bytes:
        return b"".join(self.chunks)

    async def read_chunk(self) -> bytes:
        return next(self.chunks, b"")

    def close(self) -> None: ...

    def abort(self, error: Exception) -> None: ...


def response_of(chunks: Iterator[bytes], **headers: str) -> AsyncAPIResponse[Any]:
    """A response that streams *chunks*."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = APIRequest("GET", "https://h/", stream=True)
    response = AsyncAPIResponse.from_bytes(request, 200, named)
    return AsyncAPIResponse(request, 200, response.headers, Pieces(chunks))


@pytest.mark.parametrize("way", ["iter_bytes", "iter_text", "iter_lines"])
@pytest.mark.parametrize("piece", [b"x", b"\n", b"\r", b"\r\n", b"x\r\n", "ü".encode()])
def test_lines_take_linear_time(piece: bytes, way: str) -> None:
    """The text and the lines of a body that drips byte by byte cost no more than its bytes (P14)."""

    async def run(size: int) -> None:
        async for _ in getattr(response_of(cut(piece * size, 1)), way)():
            pass

    def work(size: int) -> None:
        asyncio.run(run(size))

    assert_linear(work)


# --- compressed bodies


def encoded(coding: str, data: bytes) -> bytes:
    """*data* in that coding, at its cheapest."""
    encode: dict[str, Callable[[bytes], bytes]] = {
        "gzip": partial(gzip.compress, compresslevel=1),
        "deflate": partial(zlib.compress, level=1),
        "br": partial(brotli.compress, quality=1),
    }
    return encode[coding](data)


def decompress(coding: str, data: bytes, most: int) -> None:
    """Decompress *data* in steps of *most* bytes."""
    decoder = decoder_for([coding])
    assert decoder is not None
    decoder.decode(data, most)
    while decoder.pending:
        decoder.decode(b"", most)
    decoder.finish()


@pytest.mark.parametrize("most", [1024, 1 << 18])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
@pytest.mark.parametrize("kind", ["zeros", "noise"])
def test_decompression_takes_linear_time(kind: str, coding: str, most: int) -> None:
    """A compressed body costs CPU in proportion to its decompressed size, in large and in small steps
    (P14).
    """
    noise = b"".join(zlib.crc32(bytes([n & 255, n >> 8])).to_bytes(4, "big") for n in range(1 << 16))

    def prepare(size: int) -> bytes:
        whole = b"\0" * (size << 6) if kind == "zeros" else noise * (1 + (size << 2) // len(noise))
        return encoded(coding, whole[: size << 6 if kind == "zeros" else size << 2])

    assert_linear(lambda data: decompress(coding, data, most), prepare)


@pytest.mark.parametrize("content", [b"", b"x"])
def test_gzip_members_take_linear_time(content: bytes) -> None:
    """A body of any number of gzip members, even empty ones, costs no more than its size (P14)."""
    member = gzip.compress(content)
    assert_linear(lambda data: decompress("gzip", data, 1 << 18), lambda size: member * size)


# --- headers


LINK_PIECES = [
    "<",
    ">",
    ";",
    "<>",
    "<>;",
    '<>;a="',
    '<>;a="\\',
    "<>; a*=",
    '"',
    "\\",
    " ",
    "\t",
    ",",
    "<>,",
    "<a>;rel=x,",
    "<>;rel=x;",
    '<>;rel="a b",',
    "<>;anchor=x;rel=y,",
    "<>;\x0b",
    "=",
    ";=",
    "<>;a=b c",
    "%",
    "\u00e9",
    "<,",
    "<a",
    '\\"',
    ";a=",
    "<a>,",
]


@pytest.mark.parametrize("piece", LINK_PIECES)
def test_a_link_header_takes_linear_time(piece: str) -> None:
    """A hostile Link header is read in one pass (P14, P23)."""
    base = URL("https://h/")
    assert_linear(lambda size: parse_links([piece * size], base))
    assert_linear(lambda size: iter_links([piece] * size, base))


def test_links_under_a_long_url_take_linear_time() -> None:
    """Many links in a response whose own URL is long cost no more than either (P14)."""

    def work(size: int) -> None:
        parse_links(["<>;rel=a,<x>;rel=b," * size], URL("https://h" + "/a" * size, encoded=True))

    assert_linear(work)


TEXTS = [
    "a",
    "/",
    "//",
    "/.",
    "/..",
    "/../",
    "./",
    "%",
    "%2e",
    "/%2e",
    "@",
    ":",
    "?",
    "#",
    "[",
    "\\",
    ";",
    "&",
    "=",
    "a=1&",
    "é",
    " ",
    "{",
    "}",
    "{a}",
    "http://",
    "https://a@",
    "\x00",
    ",",
    '"',
    "-",
    "*.",
    "a.",
]

HEADER_WAYS: dict[str, Callable[[str], object]] = {
    "content type": parse_content_type,
    "charset": lambda text: parse_content_type(f"text/plain; charset={text}"),
    "retry-after": lambda text: response_of(iter(()), Retry_After=text).retry_after,
    "date": parse_http_date,
    "content range": lambda text: parse_content_range(f"bytes {text}"),
    "digest": lambda text: expected_digest(
        True, response_of(iter(()), Repr_Digest=f"{text}, sha-256=:{'A' * 43}=:")
    ),
    "boundary": lambda text: boundary_of(f"multipart/form-data; {text}"),
    "quoted boundary": lambda text: boundary_of(f'multipart/form-data; a="{text}'),
    "reference": lambda text: resolve_reference(URL("https://h/a/b"), text),
    "reference of a host": lambda text: resolve_reference(URL("https://h/a/b"), f"https://{text}"),
    "redaction": redact_url,
    "redaction of userinfo": lambda text: redact_url(f"https://{text}@h/?{text}#{text}"),
    "path": lambda text: BaseURL("https://h/v1").build(f"{next(SALT)}{text}"),
    "query": lambda text: BaseURL("https://h/v1").build(
        f"{next(SALT)}?{text}", params={"a": text}, default_params={"b": 1}
    ),
    "absolute URL": lambda text: BaseURL("https://h/v1").build(f"https://h/{text}"),
    "URL object": lambda text: BaseURL("https://h/v1").build(URL.build(path=f"a/{text}", encoded=True)),
    "segment": lambda text: BaseURL("https://h/v1").build("{a}", {"a": text}),
    "segments": lambda text: BaseURL("https://h/v1").build("{+a}", {"a": text}),
    "base URL": BaseURL,
    "path of a base URL": lambda text: BaseURL(f"https://h/{text}"),
    "header": lambda text: check_layer({"X-A": text}),
    "form": lambda text: encode_form({"a": [text] * 3, text: 1}, QueryStyle()),
}


@pytest.mark.parametrize("way", HEADER_WAYS)
def test_headers_and_urls_take_linear_time(way: str) -> None:
    """Header values, URLs, references and templates of any length cost their length (P14, P23)."""
    for piece in TEXTS:

        def work(size: int, piece: str = piece) -> None:
            # Refused or not: a refusal must not cost more.
            with contextlib.suppress(ValueError, aioapiclient.APIClientError):
                HEADER_WAYS[way](piece * size)

        assert_linear(work)


@pytest.mark.parametrize(
    "work",
    [
        lambda size: BaseURL("https://h").build(f"{next(SALT)}" + "/{a}" * size, {"a": "x"}),
        lambda size: fill_template(
            parse_template("".join(f"/{{a{n}}}" for n in range(size))), {f"a{n}": "x.y" for n in range(size)}
        ),
        lambda size: encode_form({f"a{n}": n for n in range(size)}, QueryStyle()),
        lambda size: flatten({"a": list(range(size))}, QueryStyle(arrays="comma")),
        lambda size: flatten({"a": {str(n): [n] for n in range(size)}}, QueryStyle(arrays="indices")),
        lambda size: BaseURL("https://h").build(
            "a?" + "&".join(f"a{n}=1" for n in range(size)),
            params={f"a{n}": 2 for n in range(0, size, 2)},
            default_params={f"b{n}": 3 for n in range(size)},
        ),
        lambda size: check_layer({f"X-{n}": "v" for n in range(size)}),
        lambda size: APIRequest("GET", "https://h", headers={f"X-{n}": "v" for n in range(size)}).copy(),
        lambda size: APIRequest("GET", "https://h").add_call_headers({f"X-{n}": "v" for n in range(size)}),
        lambda size: encode_json([{"a": None, "b": b"x"}] * size),
        lambda size: encode_json({"a": (n for n in range(size))}),
    ],
    ids=[
        "places",
        "names",
        "form",
        "comma",
        "indices",
        "merge",
        "layer",
        "copy",
        "call headers",
        "json",
        "slow json",
    ],
)
def test_requests_of_many_parts_take_linear_time(work: Work) -> None:
    """A request of many parameters, places, headers or members costs their number (P14)."""
    assert_linear(work)


# --- decoded bodies, and bodies of the wrong type


def decode(cast_to: Any, content_type: str, body: bytes) -> None:
    """Decode *body*, whether it fits or not."""
    with contextlib.suppress(DecodeError):
        decode_body(body, cast_to, content_type)


JSON_BODIES: dict[str, tuple[Any, bytes, bytes, bytes]] = {
    "array": (list[int], b"[", b"1,", b"1]"),
    "wrong item": (list[int], b"[", b"1,", b'"x"]'),
    "wrong member": (dict[str, int], b'{"a":1', b',"a":1', b',"b":"x"}'),
    "quotes in a key": (dict[str, int], b'{"', b"- at `$", b'": "x"}'),
    "brackets in a key": (dict[str, int], b'{"', b" - at `$[", b'": "x"}'),
    "dots in a key": (dict[str, int], b'{"', b".a", b'": "x"}'),
    "digits": (int, b"1", b"1", b""),
    "decimals": (float, b"0.", b"1", b"e9999"),
    "open enum": (list[Open[Literal["a", "b"]]], b"[", b'"c",', b"1]"),
    "depth": (Any, b"", b"[", b""),
    "white space": (int, b"", b" ", b"1"),
    "escapes": (str, b'"', b"\\u00e9", b'"'),
    "not UTF-8": (str, b'"', b"\xff", b'"'),
    "error body": (None, b"", b"x", b""),
}


@pytest.mark.parametrize("name", JSON_BODIES)
def test_json_takes_linear_time(name: str) -> None:
    """A JSON body costs its size, and so does finding where and why it does not fit (P14, P23)."""
    cast_to, head, piece, end = JSON_BODIES[name]
    assert_linear(lambda size: decode(cast_to, "application/json", head + piece * size + end))


@pytest.mark.parametrize(
    "content_type", ["text/plain; charset=utf-16", "text/plain", "text/html", "application/msgpack"]
)
@pytest.mark.parametrize("cast_to", [str, bytes, Any, int])
def test_other_bodies_take_linear_time(content_type: str, cast_to: Any) -> None:
    """A body of any other type costs its size (P14)."""
    assert_linear(lambda size: decode(cast_to, content_type, b"7 " * size))


# --- regular expressions


def modules() -> Iterator[Any]:
    """Every module of the package."""
    for found in pkgutil.walk_packages(aioapiclient.__path__, "aioapiclient."):
        yield importlib.import_module(found.name)


def patterns() -> Iterator[tuple[str, re.Pattern[Any], bool]]:
    """Every regular expression, by its name, and whether it is searched for anywhere in a text."""
    for module in modules():
        tree = ast.parse(Path(module.__file__).read_bytes())
        searched = {
            node.value.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.attr in {"search", "sub", "subn", "findall", "finditer", "split"}
        }
        for name, value in vars(module).items():
            found = value if isinstance(value, tuple) else (getattr(value, "__self__", value),)
            for given in found:
                pattern = given.compiled() if isinstance(given, LazyPattern) else given
                if isinstance(pattern, re.Pattern):
                    yield f"{module.__name__}.{name}", pattern, name in searched
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "re"
                and node.func.attr not in {"compile", "escape"}
                and isinstance(node.args[0], ast.Constant)
            ):
                yield (
                    f"{module.__name__}:{node.lineno}",
                    re.compile(node.args[0].value),
                    node.func.attr != "fullmatch",
                )


PATTERNS = {name: (pattern, searched) for name, pattern, searched in patterns()}
_ALWAYS = ['"', "\\", ";", "a", "1", " "]


def pieces_for(pattern: re.Pattern[Any]) -> Iterator[str]:
    """Texts of one to three characters that occur in the pattern, to be repeated."""
    named = sorted({*(char for char in str(pattern.pattern) if not char.isalnum()), *_ALWAYS})
    for length in (1, 2):
        yield from map("".join, itertools.product(named, repeat=length))
    yield from (
        "bytes ",
        "mon, ",
        "line 1, column 1",
        "A, ",
        "%2e",
        "..;",
        "sha-256=:",
        "; charset=",
        " - at `$[",
        '=\\"',
    )


@pytest.mark.parametrize("name", PATTERNS)
def test_every_regex_takes_linear_time(name: str) -> None:
    """No regular expression of the package backtracks without end (P23)."""
    pattern, searched = PATTERNS[name]
    binary = isinstance(pattern.pattern, bytes)

    def scan(text: str, size: int) -> None:
        data: Any = (text * size + "\x01").encode() if binary else text * size + "\x01"
        pattern.match(data)
        pattern.fullmatch(data)
        if searched:
            for _ in pattern.finditer(data):
                pass

    # Quadratic work on 8 kB takes a second; a cost of a hundredth of that is not measured again.
    for piece in pieces_for(pattern):
        if cpu_time(partial(scan, piece), 8192 // len(piece)) > 0.01:
            assert_linear(partial(scan, piece))


def test_every_regex_is_looked_at() -> None:
    """Every use of `re` in the package is measured (P23)."""
    found = sum(
        len(
            re.findall(
                r"\bre\.(?!escape|Pattern|Match|[A-Z])[a-z]+\(", Path(module.__file__).read_text("utf-8")
            )
        )
        for module in modules()
    )
    dates = 2  # three date formats are handled in one call
    assert len({id(pattern) for pattern, _ in PATTERNS.values()}) >= 30
    assert found <= len(list(patterns())) + dates
