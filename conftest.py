"""What all tests share, those of the plugins too: environment, loop, hypothesis's profiles, a mocked wire."""

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

# The same examples in every run, and none fails for being slow.
settings.register_profile("steady", max_examples=100, deadline=None, derandomize=True)
# `tox -e fuzz`: new examples each time, and what repeats a failure is printed with it.
settings.register_profile(
    "long",
    # Where CI is set, what hypothesis has loaded by itself is derandomized and keeps no failure.
    settings.get_profile("default"),
    max_examples=5_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
PROFILE = os.environ.get("AIOAPICLIENT_TEST_PROFILE", "steady")
settings.load_profile(PROFILE)

# Under `python -O` only what pytest rewrites still asserts: its own test files, and what they share.
pytest.register_assert_rewrite("faults", "fuzz")
pytest.register_assert_rewrite(*(path.stem for path in Path(__file__).parent.glob("tests/[!ct]*.py")))


def pytest_configure(config: pytest.Config) -> None:
    """Put loops into debug mode where Python is in development mode: pytest-asyncio takes it away."""
    if sys.flags.dev_mode:
        config.option.asyncio_debug = True
        # What is slow on a busy machine is no finding: no test has a stopwatch.
        logging.getLogger("asyncio").addFilter(lambda record: not record.msg.startswith("Executing "))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give every test the same random numbers each time; `tox -e fuzz` gives it new ones."""
    if PROFILE == "steady":
        random.seed(item.nodeid)


@pytest.fixture(autouse=True, scope="session")
def clean_environment() -> Iterator[None]:
    """Take the machine's proxies and netrc away, so that no test depends on them."""
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
    """The part of aiohttp's request writer that a response made by hand is asked for."""

    output_size = 0


class _Response(ClientResponse):
    """The response that aioresponses 0.7.9 can make on aiohttp 3.14 too, where a writer is required."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "stream_writer" in inspect.signature(ClientResponse).parameters:
            kwargs.setdefault("stream_writer", _NoWriter())
        super().__init__(*args, **kwargs)


def _unlimited_reader(loop: asyncio.AbstractEventLoop) -> StreamReader:
    """Hold any body: aioresponses' own limit pauses a transport that a mock does not have."""
    return StreamReader(ResponseHandler(loop=loop), limit=1 << 30, loop=loop)


@pytest.fixture
def mock_wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """Answer what aiohttp is asked for by aioresponses, in place of the network.

    It replaces `ClientSession._request`, and with it aiohttp's timeouts, redirects, connections and
    parsing: good for the shape of calls. What is said of behaviour is tested on a real server.
    """
    monkeypatch.setattr("aioresponses.core.ClientResponse", _Response)
    monkeypatch.setattr("aioresponses.core.stream_reader_factory", _unlimited_reader)
    with aioresponses() as wire:
        yield wire
