"""No test hangs: an endless wait is a failure that names its location."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the limit needs SIGALRM")

HANGING = '''
import asyncio, threading
import pytest
from hypothesis import given, strategies as st

async def never_answered():
    await asyncio.Event().wait()

async def test_async():
    await never_answered()

async def test_swallowed():
    """The alarm comes while a callback runs, which hands the exception to the loop."""
    while True:
        await asyncio.sleep(0)

def test_sync():
    threading.Event().wait()

@given(st.just(1))
def test_property(one):
    asyncio.run(never_answered())

@pytest.fixture
async def server():
    yield
    await never_answered()

async def test_teardown(server):
    pass

async def test_good():
    pass
'''


def test_an_endless_wait_is_a_failure(tmp_path: Path) -> None:
    """A coroutine, thread, property or fixture that hangs fails, and the message has the location; the
    next test runs.
    """
    (tmp_path / "test_hanging.py").write_text(HANGING)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\ntime_limit = 0.3\n")
    command = [sys.executable, "-B", "-m", "pytest", "-p", "time_limit", "-p", "no:cacheprovider", "-v"]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    for line in ("test_async FAILED", "test_swallowed FAILED", "test_sync FAILED", "test_property FAILED"):
        assert f"::{line}" in ended.stdout, ended.stdout + ended.stderr
    assert "::test_teardown ERROR" in ended.stdout
    assert "::test_good PASSED" in ended.stdout
    assert "test_hanging.py:7: in never_answered" in ended.stdout
    assert "test_hanging.py:27: in server" in ended.stdout


def test_a_test_has_a_limit(pytestconfig: pytest.Config) -> None:
    """The alarm is set while a test runs."""
    left, _ = signal.getitimer(signal.ITIMER_REAL)

    assert 0 < left <= float(pytestconfig.getini("time_limit"))


@given(number=st.integers())
def test_each_example_has_the_limit_for_itself(number: int, pytestconfig: pytest.Config) -> None:
    """A property may run for an hour, and one example of it for no longer than any test."""
    left, _ = signal.getitimer(signal.ITIMER_REAL)

    assert 0 < left <= float(pytestconfig.getini("time_limit"))
    signal.setitimer(signal.ITIMER_REAL, 3600)


@given(st.integers())
async def test_each_example_of_a_coroutine_has_the_limit_for_itself(number: int) -> None:
    """The same where the property is a coroutine function."""
    await asyncio.sleep(0)
    left, _ = signal.getitimer(signal.ITIMER_REAL)

    assert 0 < left < 3600
    signal.setitimer(signal.ITIMER_REAL, 7200)


class Machine(RuleBasedStateMachine):
    @rule()
    def step(self) -> None:
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left < 3600

    def teardown(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 7200)


class TestEachRunOfAStateMachineHasTheLimitForItself(Machine.TestCase):  # type: ignore[misc,name-defined]
    """Here hypothesis has no inner test to wrap."""
