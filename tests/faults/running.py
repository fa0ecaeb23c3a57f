"""Runs one case: by the client, which must not leak anything, and by plain aiohttp, for comparison."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from faults.places import heal
from faults.rows import Case, Place
from helpers import Client
from servers import turns, until

from aioapiclient import AiohttpTransport, BearerAuth

__all__ = ["Plain", "run_client", "run_plain"]

SECRET = "hunter2-S3CRET"
_GUARD = 30.0  # seconds that no case may take on a busy machine


class ClientCall:
    """The call of a case, by the client."""

    session = None

    def __init__(self, case: Case, client: Client) -> None:
        self.case = case
        self.client = client

    async def __call__(self, path: str = "", *, method: str | None = None, **options: Any) -> Any:
        return await self.client.request(method or self.case.method, path, **{**self.case.options, **options})


class PlainCall:
    """The same by a bare session: request, read, decode."""

    client = None
    _SENT = frozenset({"json", "headers", "params", "data"})

    def __init__(self, case: Case, session: aiohttp.ClientSession, url: str) -> None:
        self.case = case
        self.session = session
        self.url = url

    async def __call__(self, path: str = "", *, method: str | None = None, **options: Any) -> Any:
        options = {**self.case.options, **options}
        sent = {name: options[name] for name in self._SENT & options.keys()}
        if "content" in options:
            sent["data"] = options["content"]
        response = await self.session.request(method or self.case.method, self.url + path, **sent)
        body = await response.read()
        if response.status >= 400:
            return f"{response.status}"
        if options.get("cast_to") is bytes or not body:
            return f"{response.status}, {len(body)} bytes"
        return f"{response.status} {in_words(json.loads(body))}"


def in_words(value: Any) -> str:
    """Return a value as a short text that is the same every time."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, str):
        return value
    words = json.dumps(value)
    return words if len(words) <= 40 else f"{words[:37]}..."


# --- the client


async def run_client(case: Case, grace: float = 10.0) -> None:
    """Run *case* by a client with the default chain; raise `AssertionError` unless all results match.

    Leftovers have *grace* seconds to disappear: a socket is closed in a later turn of the loop.
    """
    before = _Alive()
    async with case.fault.where() as place:
        client = Client(
            place.url,
            **{"auth": BearerAuth(SECRET), "transport": _transport_to(place), **case.client},
        )
        try:
            await _check_call(case, client, place, grace)
            await _wait_for_nothing(lambda: _acquired(client), grace)
            if case.fault.heals and not client.is_closed() and await heal(place):
                assert await client.get("") == {}, "the next call"
        finally:
            await client.close()
    gc.collect()
    await _wait_for_nothing(before.left, grace)


def _transport_to(place: Place) -> AiohttpTransport:
    if place.connector is not None:
        return AiohttpTransport(connector=place.connector)
    return AiohttpTransport(ssl=place.ssl, proxy=place.proxy)


async def _check_call(case: Case, client: Client, place: Place, grace: float) -> None:
    expected, value, error = case.ends, None, None
    try:
        async with asyncio.timeout(_GUARD):
            value = await case.fault.act(ClientCall(case, client), place)
    except (Exception, asyncio.CancelledError) as raised:
        error = raised
    if error is not None:
        _check_error(case, error)
    else:
        assert (expected.error, expected.value) == (None, value), f"it gave {value!r}"
    # The last bytes written may not have been read yet; no more than that may be missing.
    with suppress(TimeoutError):
        async with asyncio.timeout(grace):
            await until(
                lambda: (
                    place.requests >= (expected.requests or 0)
                    and place.connections >= (expected.connections or 0)
                )
            )
    await turns()
    assert expected.requests in (None, place.requests), f"the servers have seen {place.requests} requests"
    assert expected.connections in (None, place.connections), f"{place.connections} connections: {case.id}"
    assert expected.attempts in (None, len(client.waits) + 1), f"{len(client.waits) + 1} attempts"
    assert expected.waits in (None, client.waits), f"it waited {client.waits}"


def _check_error(case: Case, error: BaseException) -> None:
    text = "".join(traceback.format_exception(error))
    expected = case.ends
    assert type(error) is expected.error, text
    assert expected.message in str(error), text
    facts: Mapping[str, Any] = {name: getattr(error, name) for name in expected.facts}
    assert facts == expected.facts, text
    assert SECRET not in text + repr(error), f"it shows {SECRET}"


def _acquired(client: Client) -> list[object]:
    session: Any = client._shared.transport._session  # type: ignore[attr-defined]
    return [] if session is None else [*session.connector._acquired]


async def _wait_for_nothing(look: Callable[[], list[object]], grace: float) -> None:
    clock = asyncio.get_running_loop().time
    give_up = clock() + grace
    while left := look():
        assert clock() < give_up, f"left behind: {left}"
        await asyncio.sleep(0.001)


class _Alive:
    """The existing tasks, timers and files."""

    def __init__(self) -> None:
        self.tasks = asyncio.all_tasks()
        self.timers = _timers()
        self.files = _files()

    def left(self) -> list[object]:
        """Return the objects that exist now and did not exist before."""
        return [
            *(asyncio.all_tasks() - self.tasks),
            *(_timers() - self.timers),
            *(_files() - self.files).elements(),
        ]


def _timers() -> set[object]:
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", ())  # uvloop does not show its own
    return {handle for handle in scheduled if not handle.cancelled()}


def _files() -> Counter[str]:
    found: Counter[str] = Counter()
    if os.path.isdir("/proc/self/fd"):
        for number in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # the descriptor used for listing is closed
                found[os.readlink(f"/proc/self/fd/{number}")] += 1
    # libuv opens it with its first listener, to have a file to give up when none is left.
    del found[os.devnull]
    return found


# --- plain aiohttp


@dataclass(frozen=True)
class Plain:
    """The outcome with plain aiohttp."""

    words: str
    requests: int | None = None


async def run_plain(case: Case, guard: float, requests: int = 0) -> Plain:
    """Return the outcome of *case* for a bare `aiohttp.ClientSession`.

    It hangs if it takes longer than *guard* seconds, counted from the arrival of that many *requests*.
    """
    act = case.fault.act if case.fault.plain is None else case.fault.plain
    if isinstance(act, str):
        return Plain(act)
    async with case.fault.where() as place:
        connector = aiohttp.TCPConnector(ssl=place.ssl) if place.connector is None else place.connector()
        async with aiohttp.ClientSession(connector=connector, proxy=place.proxy) as session:
            task = asyncio.ensure_future(act(PlainCall(case, session, place.url), place))
            await until(lambda: task.done() or place.requests >= requests)
            words = await _plain_words(task, guard)
            await turns()
        found = Plain(words, None if case.ends.requests is None else place.requests)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # leaks of plain aiohttp are not our concern
        gc.collect()
    return found


async def _plain_words(task: asyncio.Future[Any], guard: float) -> str:
    # No `asyncio.timeout`: aiohttp's own may swallow its cancellation.
    done, _ = await asyncio.wait({task}, timeout=guard)
    if not done:
        task.cancel()
        await asyncio.wait({task})
        return "hangs"
    try:
        return in_words(task.result())
    except asyncio.CancelledError:
        return "CancelledError"
    except Exception as error:
        status = f" {error.status}" if isinstance(error, aiohttp.ClientResponseError) else ""
        return f"{type(error).__name__}{status}"
