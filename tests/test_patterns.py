"""Regular expressions that are compiled when they are first used."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from aioapiclient._patterns import lazily


@pytest.mark.parametrize("text", ["(?P<x>a)b?", b"(?P<x>a)b?"])
def test_it_is_a_pattern(text: Any) -> None:
    """It has the methods and the attributes of the pattern that it stands for."""
    pattern, plain = lazily(text), re.compile(text)
    assert pattern.fullmatch(text[4:5]) is None
    assert pattern.groupindex == plain.groupindex == {"x": 1}
    assert pattern.pattern == text


def test_importing_compiles_next_to_nothing() -> None:
    """``import aioapiclient`` compiles at most the three expressions that every call needs."""
    program = """
import re, aiohttp, msgspec, msgspec.inspect, msgspec.toml, msgspec.yaml
compiled, plain = [], re.compile
re.compile = lambda text, flags=0: compiled.append(text) or plain(text, flags)
import aioapiclient
print(len(compiled))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 3, done.stdout
