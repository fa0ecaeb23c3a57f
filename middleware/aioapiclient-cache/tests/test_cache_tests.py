"""http-tests/cache-tests checks the cache, through a proxy that uses the client.

The list of exceptions, ``cache_tests_exceptions.json``, has the required rows that do not pass, each with its
reason. A row that fails without a reason there fails the test, and so does an outdated reason.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aioapiclient_cache import Cache
from aiohttp import web
from needed_servers import need_node_modules, need_program
from servers import serving

from aioapiclient import APIError, AsyncAPIClient, AsyncAPIResponse, per_send

HERE = Path(__file__).parent
SERVER = HERE / "servers/cachetests"
EXCEPTIONS: dict[str, str] = json.loads((HERE / "cache_tests_exceptions.json").read_text())

# Of one connection; and the length, which aiohttp.web sets itself.
_NOT_PASSED_ON = {
    *("accept-encoding", "connection", "content-length", "expect", "host", "keep-alive"),
    *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
}
_ANY_STATUS = frozenset(range(100, 600))

ROWS, PASSED = 165, 146  # required rows of http-cache-tests 0.4.5; the minimum that must pass


@asynccontextmanager
async def reverse_proxy(origin: str, cache: Cache) -> AsyncIterator[str]:
    """Run a proxy in front of *origin* that answers from *cache* if allowed; yield its URL."""
    async with AsyncAPIClient(
        origin,
        middlewares=[per_send(cache)],
        max_retries=0,
        follow_redirects=False,
        max_body=None,
    ) as api:

        async def pass_on(request: web.Request) -> web.Response:
            headers = {name: value for name, value in request.headers.items() if _passes(name)}
            try:
                response = await api.request(
                    request.method,
                    request.raw_path,
                    AsyncAPIResponse[bytes],
                    headers=headers,
                    content=await request.read() or None,
                    ok_statuses=_ANY_STATUS,
                    decompress=False,
                )
            except APIError as error:
                return web.Response(status=502, text=str(error))
            return passed_back(response)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", pass_on)
        async with serving(app) as url:
            yield url


def passed_back(response: AsyncAPIResponse[bytes]) -> web.Response:
    """The response of the proxy."""
    has_body = response.method != "HEAD" and response.status not in (204, 304)
    answer = web.Response(status=response.status, body=response.body if has_body else None)
    for name, value in response.headers.items():
        if _passes(name):
            answer.headers.add(name, value)
    return answer


def _passes(name: str) -> bool:
    return name.lower() not in _NOT_PASSED_ON


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder from which node finds cache-tests and its modules."""
    (tmp_path / "node_modules").symlink_to(need_node_modules(SERVER.name))
    for script in SERVER.glob("*.mjs"):
        shutil.copy(script, tmp_path)
    return tmp_path


@asynccontextmanager
async def node(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a script of *folder*, and end it."""
    process = await asyncio.create_subprocess_exec(
        need_program("node"),
        "--no-warnings",
        *arguments,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def judged(folder: Path, cache: Cache) -> dict[str, str]:
    """Return the required rows that did not pass, each with its reason; empty if all passed."""
    async with node(folder, "server.mjs") as origin:
        assert origin.stdout is not None
        word, _, port = (await origin.stdout.readline()).decode().strip().partition(" ")
        assert word == "port", "the judge's server did not start"
        async with reverse_proxy(f"http://127.0.0.1:{port}", cache) as url:
            rows = await rows_of(folder, url)
            # Some rows give a response two seconds to arrive, and 100 run concurrently: on a busy machine one
            # may be late. It is run again alone.
            for _ in range(3):
                if late := [row for row, why in rows.items() if why and row not in EXCEPTIONS]:
                    rows |= await rows_of(folder, url, *late)
    return rows


async def rows_of(folder: Path, url: str, *ids: str) -> dict[str, str]:
    """Run these required rows, or all of them."""
    async with node(folder, "judge.mjs", url, *ids) as judge:
        assert judge.stdout is not None
        rows = json.loads(await judge.stdout.readline())
    return {row["id"]: row["why"] for row in rows if row["kind"] == "required"}


async def test_the_required_rows_pass_as_a_shared_cache(suite: Path) -> None:
    """At least 146 of the required rows pass, and the list has a reason for each of the others."""
    # The proxy has one store for all its callers, as cache-tests requires.
    rows = await judged(suite, Cache(shared=True, identity=lambda request: "everyone"))
    failed = {row: why for row, why in rows.items() if why}

    assert {row: why for row, why in failed.items() if row not in EXCEPTIONS} == {}
    assert EXCEPTIONS.keys() - failed.keys() == set(), "these pass now: take them off the list"
    assert len(rows) == ROWS
    assert len(rows) - len(failed) >= PASSED


def test_each_exception_has_a_reason() -> None:
    """Every row of the list has a sentence with the reason."""
    assert all(len(reason) > 20 and reason.endswith(".") for reason in EXCEPTIONS.values())
