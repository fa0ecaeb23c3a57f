"""Shared by all tests, including those of the plugins: environment, event loop, hypothesis profiles, a
mocked wire.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, StreamReader
from aiohttp.client_proto import ResponseHandler
from aioresponses import aioresponses
from hypothesis import HealthCheck, settings

pytest_plugins = ["time_limit"]

# The same examples in every run, and no failure for being slow.
settings.register_profile("steady", max_examples=100, deadline=None, derandomize=True)
# `tox -e fuzz`: new examples each time, and a blob that reproduces a failure is printed with it.
settings.register_profile(
    "long",
    # If CI is set, the profile that hypothesis loads by itself is derandomized and keeps no failures.
    settings.get_profile("default"),
    max_examples=5_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
PROFILE = os.environ.get("AIOAPICLIENT_TEST_PROFILE", "steady")
settings.load_profile(PROFILE)

# Under `python -O`, only modules rewritten by pytest still assert: its own test files, and the shared
# helpers.
pytest.register_assert_rewrite("faults", "fuzz")
pytest.register_assert_rewrite(*(path.stem for path in Path(__file__).parent.glob("tests/[!ct]*.py")))


def pytest_configure(config: pytest.Config) -> None:
    """Put event loops into debug mode in Python's development mode: pytest-asyncio resets it."""
    if sys.flags.dev_mode:
        config.option.asyncio_debug = True
        # Slowness on a busy machine is not a failure: no test measures time.
        logging.getLogger("asyncio").addFilter(lambda record: not record.msg.startswith("Executing "))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed the random numbers of every test, the same each time; `tox -e fuzz` uses new seeds."""
    if PROFILE == "steady":
        random.seed(item.nodeid)


@pytest.fixture(autouse=True, scope="session")
def clean_environment() -> Iterator[None]:
    """Hide the machine's proxies and netrc from the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name.lower().endswith("_proxy") or name == "NETRC":
                patch.delenv(name)
        yield


if os.environ.get("AIOAPICLIENT_TEST_LOOP") == "uvloop":

    def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
        """Run every test on uvloop: `tox -e uvloop`."""
        import uvloop

        return {"uvloop": uvloop.new_event_loop}


class _NoWriter:
    """The part of aiohttp's request writer that a hand-made response needs."""

    output_size = 0


class _Response(ClientResponse):
    """A response that aioresponses 0.7.9 can also create on aiohttp 3.14, where a writer is required."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "stream_writer" in inspect.signature(ClientResponse).parameters:
            kwargs.setdefault("stream_writer", _NoWriter())
        super().__init__(*args, **kwargs)


def _unlimited_reader(loop: asyncio.AbstractEventLoop) -> StreamReader:
    """Accept any body: aioresponses' own limit pauses a transport that a mock does not have."""
    return StreamReader(ResponseHandler(loop=loop), limit=1 << 30, loop=loop)


@pytest.fixture
def mock_wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """Answer aiohttp's requests with aioresponses instead of the network.

    It replaces `ClientSession._request`, and with it aiohttp's timeouts, redirects, connections and parsing.
    Use it for the form of calls only; behaviour is tested with a real server.
    """
    monkeypatch.setattr("aioresponses.core.ClientResponse", _Response)
    monkeypatch.setattr("aioresponses.core.stream_reader_factory", _unlimited_reader)
    with aioresponses() as wire:
        yield wire
