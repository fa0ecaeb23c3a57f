"""A pytest plugin that ends every wait: a test that exceeds `time_limit` fails, and reports where it waits.

The limit applies to each phase of a test (setup, call, teardown), and to each example of a property. It needs
SIGALRM; on systems without it, tests have no limit.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from inspect import isasyncgen, iscoroutinefunction
from types import FrameType
from typing import Any

import pytest

__all__: list[str] = []

_AGAIN = 1.0  # seconds until the next alarm, where the test swallowed the first
_SOON = 0.001  # seconds until the next alarm, where this one came at a bad place
_limit = 0.0  # seconds; 0 for none


class _TooLong(KeyboardInterrupt):
    """Of the exceptions that a signal can raise, loops pass on only this kind; uvloop logs all others."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the setting `time_limit`."""
    parser.addini("time_limit", "seconds that a phase of a test may take; 0 for no limit", default="0")


def pytest_configure(config: pytest.Config) -> None:
    """Read the setting, and take SIGALRM."""
    global _limit
    if hasattr(signal, "setitimer"):
        _limit = float(config.getini("time_limit"))
        signal.signal(signal.SIGALRM, _on_alarm)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup() -> Generator[None]:
    """Limit the setup of a test."""
    return (yield from _limited())


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call() -> Generator[None]:
    """Limit a test itself."""
    return (yield from _limited())


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown() -> Generator[None]:
    """Limit the teardown of a test."""
    return (yield from _limited())


def pytest_itemcollected(item: pytest.Item) -> None:
    """Start the limit again for each example of a property."""
    property_ = getattr(getattr(item, "obj", None), "hypothesis", None)
    if property_ is not None and not hasattr(property_.inner_test, "starts_the_limit"):
        property_.inner_test = _starting_the_limit(property_.inner_test)


def pytest_collection_finish() -> None:
    """Do the same for each run of a state machine, which is a new object."""
    stateful = sys.modules.get("hypothesis.stateful")
    if stateful is not None and not hasattr(stateful.RuleBasedStateMachine.__init__, "starts_the_limit"):
        machine = stateful.RuleBasedStateMachine
        machine.__init__ = _starting_the_limit(machine.__init__)


def _limited() -> Generator[None]:
    _start()
    try:
        with _as_a_failure():
            return (yield)
    finally:
        if _limit:
            signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def _as_a_failure() -> Iterator[None]:
    # pytest and hypothesis end the whole run at a KeyboardInterrupt.
    try:
        yield
    except _TooLong as alarm:
        raise pytest.fail.Exception(str(alarm)).with_traceback(alarm.__traceback__) from None


def _start() -> None:
    if _limit:
        signal.setitimer(signal.ITIMER_REAL, _limit, _AGAIN)


def _starting_the_limit(test: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(test):  # pytest-asyncio asks, and runs it

        @functools.wraps(test)
        async def example(*args: Any, **kwargs: Any) -> Any:
            _start()
            with _as_a_failure():
                return await test(*args, **kwargs)

    else:

        @functools.wraps(test)
        def example(*args: Any, **kwargs: Any) -> Any:
            _start()
            with _as_a_failure():
                return test(*args, **kwargs)

    example.starts_the_limit = True  # type: ignore[attr-defined]
    return example


def _on_alarm(number: int, frame: FrameType | None) -> None:
    # Python 3.14 does not guard the jump back of this function's loop by its `finally`: what is raised there
    # leaves the loop marked as running, and no other loop can run after it.
    if frame is not None and frame.f_code.co_name == "run_forever":
        signal.setitimer(signal.ITIMER_REAL, _SOON, _AGAIN)
        return
    raise _TooLong("\n".join([f"The test waits for more than {_limit:g} s.", *_tasks()]))


def _tasks() -> Iterator[str]:
    """Report where each task of the running loop waits: the traceback of the alarm shows only the loop."""
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:  # no loop runs
        return
    for task in tasks:
        yield f"{task.get_name()}:"
        yield from _frames(task.get_coro())


def _frames(awaitable: Any) -> Iterator[str]:
    """The frames of a coroutine or generator, and of all that it awaits."""
    while awaitable is not None:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(awaitable, f"{kind}_frame")), None)
        if kind is None:
            # A step of an asynchronous generator refers to it by no attribute.
            awaitable = next((found for found in gc.get_referents(awaitable) if isasyncgen(found)), None)
            continue
        frame = getattr(awaitable, f"{kind}_frame")
        if frame is not None:
            code = frame.f_code
            yield f"  {os.path.relpath(code.co_filename)}:{frame.f_lineno}: in {code.co_qualname}"
        awaitable = getattr(awaitable, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
