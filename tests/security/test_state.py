"""The state of a client is bounded, however many origins, paths, keys and credentials it meets.

All objects reachable from a client, and from the modules of the package, are counted: after 1,500 different
values, and after 1,500 more.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import pkgutil
import types
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from helpers import Client
from multidict import CIMultiDict
from servers import close, ok, raw_server

import aioapiclient
from aioapiclient import (
    AiohttpTransport,
    APIRequest,
    AsyncAPIResponse,
    BearerAuth,
    RetryBudget,
    Token,
    TokenCache,
)
from aioapiclient._transport.connector import make_connector

MANY = 1500  # more than any bound
SLACK = 400  # objects that the runtime itself may add: specialised code, caches that are refilled


def modules() -> list[Any]:
    """Every module of the package."""
    return [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(aioapiclient.__path__, "aioapiclient.")
    ]


def entries(*roots: object) -> int:
    """How many entries all containers together have that can be reached from *roots*, caches included."""
    seen: set[int] = set()
    waiting: list[Any] = list(roots)
    count = 0
    for module in modules():
        for value in vars(module).values():
            info = getattr(value, "cache_info", None)
            if callable(info):
                count += info().currsize
            elif isinstance(value, dict | set | list):
                waiting.append(value)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(
            thing, type | types.ModuleType | types.FunctionType | types.FrameType
        ):
            continue
        if isinstance(thing, asyncio.AbstractEventLoop | asyncio.Task):
            continue
        seen.add(id(thing))
        if isinstance(thing, dict | set | list | frozenset | tuple | CIMultiDict):
            count += len(thing)
        waiting.extend(gc.get_referents(thing))
    return count


class Memoryless:
    """A transport without state: *answer* creates a response for each request."""

    def __init__(self, answer: Callable[[APIRequest], AsyncAPIResponse[Any]]) -> None:
        self.answer = answer

    async def __call__(self, request: APIRequest, /) -> AsyncAPIResponse[Any]:
        return self.answer(request)


def answered(status: int, request: APIRequest) -> AsyncAPIResponse[Any]:
    """An answer; the first of a redirect leads to a new origin."""
    headers = {"Content-Type": "application/json"}
    if status == 302 and request.url.host == "h0":
        headers["Location"] = f"https://x{request.url.path.strip('/')}.example.com/"
        return AsyncAPIResponse.from_bytes(request, 302, headers)
    status = 200 if status == 302 else status
    return AsyncAPIResponse.from_bytes(request, status, headers, b"{}")


class Keyed(BearerAuth):
    """A credential of one call."""


async def _token() -> Token:
    return Token("t", 60)


CACHE = TokenCache()
Step = Callable[[Client, int], Any]
STEPS: dict[str, tuple[int, Step]] = {
    "origins": (200, lambda api, n: api.get(f"https://h{n}.example.com/x")),
    "origins in trouble": (503, lambda api, n: api.get(f"https://h{n}.example.com/x", ok_statuses={503})),
    "origins of redirects": (302, lambda api, n: api.get(f"/{n}")),
    "ports": (503, lambda api, n: api.get(f"http://h:{n + 1}/x", ok_statuses={503})),
    "paths": (200, lambda api, n: api.get(f"/users/{n}")),
    "templates": (200, lambda api, n: api.get(f"/users/{n}/{{id}}", path_params={"id": n})),
    "queries": (200, lambda api, n: api.get("/users", params={f"p{n}": n})),
    "headers": (200, lambda api, n: api.get("/users", headers={f"X-{n}": "v"})),
    "methods": (200, lambda api, n: api.request(f"M{n}", "/users")),
    "timeouts": (200, lambda api, n: api.get("/users", timeout=60 + n)),
    "credentials": (200, lambda api, n: api.get("/users", auth=Keyed(_token))),
    "credentials in one cache": (200, lambda api, n: api.get("/users", auth=Keyed(_token, cache=CACHE))),
    "views": (200, lambda api, n: api.with_options(default_headers={"X-A": str(n)}).get("/users")),
    "middlewares": (200, lambda api, n: api.get("/users", middlewares=[_pass])),
    "content types": (
        200,
        lambda api, n: api.post("/users", content=b"x", headers={"Content-Type": f"a/{n}"}),
    ),
}


async def _pass(request: APIRequest, handler: Any) -> Any:
    return await handler(request)


@pytest.mark.parametrize("name", STEPS)
async def test_nothing_grows_with_what_a_client_meets(name: str) -> None:
    """After 1,500 origins, paths, headers, keys, timeouts and credentials, 1,500 more add nothing (P13)."""
    status, step = STEPS[name]
    transport = Memoryless(partial(answered, status))
    async with Client("https://h0/", transport=transport, max_retries=1) as api:
        counts: list[int] = []
        for start in (0, MANY, 2 * MANY):
            for n in range(start, start + MANY):
                await step(api, n)
            api.waits.clear()
            gc.collect()
            counts.append(entries(api, CACHE))
        assert counts[2] - counts[1] < SLACK


async def test_the_entries_are_counted() -> None:
    """The count includes objects that a client keeps (P13)."""
    async with Client("https://h0/", transport=Memoryless(partial(answered, 200))) as api:
        before = entries(api)
        api.kept = [[n] for n in range(SLACK)]  # type: ignore[attr-defined]
        assert entries(api) >= before + 2 * SLACK


def test_the_budget_has_a_bound() -> None:
    """A `RetryBudget` keeps a thousand origins, those used last (P13)."""
    budget = RetryBudget()
    for n in range(3000):
        assert budget.take(f"https://h{n}", 14)
    assert len(budget.stats()) == 1000
    assert budget.tokens("https://h2999") == 486
    assert budget.tokens("https://h0") == 500


async def test_the_dns_cache_has_a_bound() -> None:
    """The library's connector caches the addresses of at most a thousand names (P13)."""
    connectors: list[Any] = []

    def factory() -> Any:
        connectors.append(make_connector(True))
        return connectors[0]

    async with raw_server(close(ok())) as server:
        transport = AiohttpTransport(connector=factory)
        async with Client(server.url, transport=transport) as api:
            await api.get("/")
            names = connectors[0]._cached_hosts
            for n in range(3000):
                names.add((f"h{n}", 443), [])
            await api.get("/")
            assert len(names._addrs_rr) <= 1000


@pytest.mark.parametrize("failing", [True, False])
async def test_no_timer_is_left(failing: bool) -> None:
    """A thousand calls with different timeouts leave at most a few timers in the loop (P13)."""
    loop: Any = asyncio.get_running_loop()
    if not hasattr(loop, "_scheduled"):
        pytest.skip("this loop does not show its timers")
    transport = Memoryless(partial(answered, 500 if failing else 200))
    async with Client("https://h0/", transport=transport, max_retries=1) as api:
        for n in range(1000):
            await api.get("/x", timeout=100 + n, ok_statuses={500})
        live = [handle for handle in loop._scheduled if not handle.cancelled()]
        assert len(live) <= 20
