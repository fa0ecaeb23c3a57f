"""The tests work however Python was started: their asserts run under ``-O``, which removes the library's."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from types import ModuleType

import event_streams
import pytest
import servers
from hypothesis import settings


def test_an_assert_of_a_test_holds() -> None:
    """A failing test fails, even under ``python -O``."""
    with pytest.raises(AssertionError):
        assert asyncio is sys


@pytest.mark.parametrize("module", [event_streams, servers])
def test_an_assert_beside_the_tests_holds(module: ModuleType) -> None:
    """The shared test modules are loaded by pytest, so that their asserts are rewritten."""
    assert type(module.__loader__).__name__ == "AssertionRewritingHook"


def test_python_was_started_as_the_environment_says() -> None:
    """`tox -e optimized` and `tox -e devmode` run in the mode of their name."""
    assert sys.flags.optimize == int(os.environ.get("PYTHONOPTIMIZE") or 0)
    assert sys.flags.dev_mode is (os.environ.get("PYTHONDEVMODE") == "1" or "dev" in sys._xoptions)


async def test_the_loop_is_in_debug_mode_when_python_is() -> None:
    """In development mode asyncio reports blocking calls and coroutines that were never awaited."""
    assert asyncio.get_running_loop().get_debug() is sys.flags.dev_mode


IS_FUZZ = os.environ.get("AIOAPICLIENT_TEST_PROFILE", "steady") != "steady"


def test_properties_have_the_same_examples_in_every_run() -> None:
    """Only `tox -e fuzz` looks for new examples, on a developer's machine as in CI."""
    current = settings.get_current_profile_name()

    assert settings.get_profile(current).derandomize is not IS_FUZZ
    assert (settings.get_profile(current).database is not None) is IS_FUZZ


@pytest.mark.skipif(IS_FUZZ, reason="`tox -e fuzz` gives every test new random numbers")
def test_a_test_has_the_same_random_numbers_in_every_run(request: pytest.FixtureRequest) -> None:
    """Random values in tests and library (seeds, jitter) do not make results differ."""
    assert random.random() == random.Random(request.node.nodeid).random()
