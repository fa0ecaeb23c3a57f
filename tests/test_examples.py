"""The programs under examples/ run, each in a separate process, and print the expected output."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from programs import EXAMPLES, run
from pytest_aiohttp import AiohttpServer

from aioapiclient import AsyncAPIClient, load_middleware, per_attempt
from aioapiclient.testing import FakeTransport, check_middleware, respond

PLUGIN = EXAMPLES / "slowcalls"


async def test_the_sdk_example() -> None:
    """A resource, options of its user, a custom error class, a key on every order."""
    assert await run(EXAMPLES / "sdk.py") == [
        "Moby-Dick has the ISBN 978-0",
        "order with a key",
        "POST https://library.example.com/v1/orders: out of stock; try again in March",
    ]


async def test_the_demo_server_of_the_tutorial() -> None:
    """One command starts it; it prints its URL."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLES / "server.py", "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        line = await asyncio.wait_for(server.stdout.readline(), 30)
        url = line.decode().split()[2]
        async with AsyncAPIClient(url) as api:
            assert await api.get("/users/7") == {"id": 7, "login": "ada"}
    finally:
        server.kill()
        await server.wait()


async def test_the_service_example() -> None:
    """An upstream 404 becomes a 404 of the service, and any other failure a 502."""
    assert await run(EXAMPLES / "service.py") == [
        "7 200 hello ada",
        "8 404 no such user",
        "9 502 APIResponseValidationError",
    ]


async def test_the_websocket_example() -> None:
    """A typed call, and a WebSocket on the session of the same client."""
    assert await run(EXAMPLES / "websocket.py") == ["2 in tea", "you: hello", "ada: goodbye"]


async def test_the_wrapper_and_what_it_was_migrated_to_print_the_same(aiohttp_server: AiohttpServer) -> None:
    """handwritten.py and migrated.py do the same against a server that is busy now and then."""
    asked: list[str] = []

    async def user(request: web.Request) -> web.Response:
        asked.append(request.path)
        if len(asked) % 2:
            return web.Response(status=503, headers={"retry-after-ms": "10"})
        if request.match_info["id"] != "7":
            return web.Response(status=404)
        return web.json_response({"id": 7, "login": "ada"})

    async def create(request: web.Request) -> web.Response:
        return web.json_response({"id": 8, **await request.json()}, status=201)

    app = web.Application()
    app.add_routes([web.get("/users/{id}", user), web.post("/users", create)])
    server = await aiohttp_server(app)

    before = await run(EXAMPLES / "handwritten.py", str(server.make_url("")).rstrip("/"))
    after = await run(EXAMPLES / "migrated.py", str(server.make_url("")))

    assert before == after == ["User(id=7, login='ada')", "User(id=8, login='bob')", "no user 9"]
    assert len(asked) == 8


async def test_the_tests_of_the_example_pass(tmp_path: Path) -> None:
    """examples/test_users.py passes as a user's tests would: by pytest, from any folder."""
    options = ("-p", "no:cacheprovider", "--noconftest", "-c", "/dev/null", "-o", "asyncio_mode=auto")
    scope = ("-o", "asyncio_default_fixture_loop_scope=function")

    lines = await run("-m", "pytest", "-q", *options, *scope, EXAMPLES / "test_users.py", cwd=tmp_path)

    assert lines[-1].startswith("2 passed")


# --- the plugin


@pytest.fixture
def installed_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """examples/slowcalls on the path, with the metadata that installing it writes down; its project table."""
    project: dict[str, Any] = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / "aioapiclient_slowcalls-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"].items()
    points = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in groups]
    (metadata / "entry_points.txt").write_text("".join(points))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(PLUGIN / "src"))
    return project


@pytest.mark.usefixtures("installed_plugin")
async def test_the_plugin_is_loaded_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    """Once installed, "slowcalls" is a middleware wherever one is given, with its settings or without."""
    caplog.set_level("WARNING", logger="aioapiclient_slowcalls")
    client = AsyncAPIClient(
        "https://api.example.com",
        middlewares=["slowcalls", per_attempt(load_middleware("slowcalls", threshold=0.0))],
        transport=FakeTransport(respond(json={"id": 7})),
    )

    async with client:
        assert await client.get("/users/{id}", path_params={"id": 7}) == {"id": 7}

    assert [type(link).__name__ for link in client.chain].count("SlowCalls") == 2
    assert [message.split(" took ")[0] for message in caplog.messages] == ["GET /users/{id}"]


@pytest.mark.usefixtures("installed_plugin")
async def test_the_plugin_keeps_the_promises() -> None:
    """The middleware that docs/middleware.md builds passes `check_middleware`."""
    await check_middleware(lambda: load_middleware("slowcalls"))


async def test_the_plugin_needs_no_more_than_the_core(installed_plugin: dict[str, Any]) -> None:
    """The example's distribution requires aioapiclient and nothing else."""
    assert installed_plugin["dependencies"] == ["aioapiclient>=0.1"]
