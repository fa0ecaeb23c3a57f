"""Pages of documentation: finds their blocks of code, and runs them with the APIs that the pages mention.

Above a fence, ``<!-- path/of/a/file -->`` states that the block is a piece of that file, word for word. A
``python`` block is run, a ``pycon`` block is run and its output compared, both with top-level ``await`` and
with the names of the page's earlier blocks. The hosts of the pages are served on loopback:
https://api.example.com in a page is served by `documented_api`.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import contextlib
import doctest
import io
import re
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from programs import EXAMPLES, load
from servers import serving

from aioapiclient import AsyncAPIClient

__all__ = [
    "API",
    "CHECKOUT",
    "DIRECTIVE",
    "FENCE",
    "PAGES",
    "README",
    "Block",
    "blocks_of",
    "plugins_of",
    "run_page",
]

CHECKOUT = Path(__file__).parents[1]
README = CHECKOUT / "README.md"
PAGES = [README, *sorted((CHECKOUT / "docs").glob("*.md"))]
API, FILES = "https://api.example.com", "https://files.example.net"
GITHUB, LOCAL = "https://api.github.com", "http://127.0.0.1:8080"
LOGIN = "https://login.example.net"

FENCE = re.compile(
    r"(?:^<!-- (?P<file>[\w./-]+) -->\n\n?)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
DIRECTIVE = re.compile(r"^```\{\w+\}\n.*?^```$", re.MULTILINE | re.DOTALL)
_PLUGIN = re.compile(r"^\s*(?:from|import) (aioapiclient_\w+)", re.MULTILINE)

DEMO = load(EXAMPLES / "server.py")
"""The API of the tutorial, which is a part of the documented one."""


class Block(NamedTuple):
    """A fenced block of a page."""

    line: int
    language: str
    file: str | None
    text: str


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    # A directive of the site's is not code; its lines are kept, for the numbers.
    text = DIRECTIVE.sub(lambda m: "\n" * m[0].count("\n"), page.read_text(encoding="utf-8"))
    return [
        Block(text[: m.start("text")].count("\n") + 1, m["language"], m["file"], m["text"])
        for m in FENCE.finditer(text)
    ]


def plugins_of(page: Path) -> set[str]:
    """The plugins of middleware/ that a page's code imports: it runs where they are installed."""
    return {name for block in blocks_of(page) if block.file is None for name in _PLUGIN.findall(block.text)}


# --- the documented APIs


async def _repository(request: web.Request) -> web.Response:
    owner, name = request.match_info["owner"], request.match_info["name"]
    return web.json_response({"full_name": f"{owner}/{name}", "stargazers_count": 16000, "fork": False})


async def _echo(request: web.Request) -> web.Response:
    return web.json_response(
        {
            "method": request.method,
            "target": request.raw_path,
            "headers": {name.lower(): value for name, value in request.headers.items() if name != "Host"},
            "body": (await request.read()).decode(),
        }
    )


async def _users_as_csv(request: web.Request) -> web.Response:
    return web.Response(text="id,login\n7,ada\n8,bob\n", content_type="text/csv")


async def _events(request: web.Request) -> web.Response:
    return web.Response(text='data: {"n": 1}\n\ndata: {"n": 2}\n\n', content_type="text/event-stream")


async def _feed(request: web.Request) -> web.Response:
    return web.json_response(
        [
            {"kind": "text", "text": "hello"},
            {"kind": "image", "url": "/a.png"},
            {"kind": "poll", "question": "tea?"},
        ]
    )


async def _page(request: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>Log in</title>", content_type="text/html")


async def _tagged(request: web.Request) -> web.Response:
    if request.headers.get("If-None-Match") == '"v1"':
        return web.Response(status=304, headers={"ETag": '"v1"'})
    return web.json_response({"version": 1}, headers={"ETag": '"v1"'})


async def _slow(request: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def _limited(request: web.Request) -> web.Response:
    return web.json_response({"code": "rate_limited"}, status=429, headers={"Retry-After": "120"})


async def _download(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": request.app[ELSEWHERE] + "/echo"})


async def _token(request: web.Request) -> web.Response:
    return web.json_response({"access_token": "t-1", "expires_in": 3600})


async def _private(request: web.Request) -> web.Response:
    return web.Response(status=200 if "Authorization" in request.headers else 401)


async def _log_in(request: web.Request) -> web.Response:
    """An identity provider that authenticates its clients by Basic, and receives no other credential."""
    kind, _, login = request.headers.get("Authorization", "").partition(" ")
    client = base64.b64decode(login).decode().partition(":")[0]
    if kind != "Basic" or not client or "X-Team" in request.headers:
        return web.json_response({"error": "invalid_client"}, status=401)
    return web.json_response({"access_token": f"for-{client}", "expires_in": "3600"})


ELSEWHERE = web.AppKey("elsewhere", str)


def _flaky(failures: int, status: int = 503) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that fails a few times first, asking for 10 ms, and then returns the number of requests."""
    asked = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked <= failures:
            return web.Response(status=status, headers={"retry-after-ms": "10"})
        return web.json_response({"asked": asked})

    return handle


def documented_api(elsewhere: str) -> web.Application:
    """The API at https://api.example.com."""
    app = web.Application()
    app[ELSEWHERE] = elsewhere
    app.add_routes(
        [
            web.get("/repos/{owner}/{name}", _repository),
            web.get("/v1/users", DEMO.list_users),
            web.get("/v1/users.csv", _users_as_csv),
            web.post("/v1/users", DEMO.create_user),
            web.get("/v1/users/{id}", DEMO.show_user),
            web.get("/v1/events", _events),
            web.get("/v1/feed", _feed),
            web.get("/v1/login", _page),
            web.get("/v1/config", _tagged),
            web.get("/v1/slow", _slow),
            web.get("/v1/limited", _limited),
            web.get("/v1/download", _download),
            web.post("/v1/token", _token),
            web.get("/v1/flaky", _flaky(2)),
            web.post("/v1/orders", _flaky(2, 500)),
            web.put("/v1/orders", _flaky(1)),
            web.get("/v1/busy", _flaky(1)),
            web.route("*", "/v1/echo{rest:.*}", _echo),
        ]
    )
    return app


@contextlib.asynccontextmanager
async def serving_the_pages() -> AsyncIterator[dict[str, str]]:
    """Serve the APIs that the pages mention; yield the real origin of each documented one."""
    stranger = web.Application()
    stranger.add_routes([web.get("/private", _private), web.route("*", "/{rest:.*}", _echo)])
    provider = web.Application()
    provider.add_routes([web.post("/token", _log_in)])
    async with (
        serving(stranger) as files,
        serving(documented_api(files)) as api,
        serving(DEMO.make_app()) as local,
        serving(provider) as login,
    ):
        yield {API: api, FILES: files, GITHUB: api, LOCAL: local, LOGIN: login}


# --- running blocks


class Page:
    """Runs the blocks of one page in one namespace, in the running loop."""

    def __init__(self, path: Path, origins: dict[str, str]) -> None:
        self.path = path
        self.origins = origins
        # A separate module: msgspec resolves annotations in the module of their class.
        self.module = ModuleType("page")
        self.names: dict[str, Any] = vars(self.module)

    def real(self, text: str) -> str:
        """The text with the origins that are served."""
        for written, served in self.origins.items():
            text = text.replace(written, served)
        return text

    def written(self, text: str) -> str:
        """Return the text with the origins as on the page."""
        for written, served in self.origins.items():
            text = text.replace(served, written)
        return text

    async def run(self, source: str, line: int, mode: str) -> None:
        """Run a piece of code, and await it if it awaits."""
        code = compile(
            "\n" * (line - 1) + self.real(source),
            str(self.path),
            mode,
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
            optimize=0,  # a page's asserts run under `python -O` too
        )
        if "asyncio.run(" in source:  # a complete program, with its own event loop
            await asyncio.to_thread(eval, code, self.names)
            return
        result = eval(code, self.names)
        if asyncio.iscoroutine(result):
            await result

    async def compare(self, example: doctest.Example, line: int) -> None:
        """Run one prompt, and compare its output or exception with the text below it."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            try:
                await self.run(example.source, line, "single")
            except Exception as error:
                got = "".join(traceback.format_exception_only(error))
            else:
                assert example.exc_msg is None, f"{self.path.name}:{line} raised nothing"
                got = output.getvalue()
        want = example.want if example.exc_msg is None else example.exc_msg
        got = self.written(got)
        if not doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS):
            pytest.fail(f"{self.path.name}:{line}\n\nexpected:\n{want}\ngot:\n{got}")

    async def check_block(self, block: Block) -> None:
        """Run a block of code and compare its output; blocks of other languages are not run."""
        if block.language == "python":
            await self.run(block.text, block.line, "exec")
        elif block.language == "pycon":
            for example in doctest.DocTestParser().get_examples(block.text):
                await self.compare(example, block.line + example.lineno)

    async def close(self) -> None:
        """Close the clients that the page has created."""
        for value in [*self.names.values()]:
            if isinstance(value, AsyncAPIClient):
                await value.close()


@contextlib.contextmanager
def _plain_display() -> Iterator[None]:
    """Print values as a prompt does, but without setting ``_``, which would keep them alive."""

    def display(value: object) -> None:
        if value is not None:
            sys.stdout.write(f"{value!r}\n")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "displayhook", display)
        yield


def run_page(path: Path) -> None:
    """Run each ``python`` and ``pycon`` block of a page, and compare its output."""

    async def run() -> None:
        async with serving_the_pages() as origins:
            page = Page(path, origins)
            sys.modules["page"] = page.module
            try:
                for block in blocks_of(path):
                    if block.file is None:
                        await page.check_block(block)
            finally:
                await page.close()
                del sys.modules["page"]

    with _plain_display():
        # On asyncio's own loop, whatever the matrix uses: a FakeClock can advance no other.
        asyncio.run(run())
