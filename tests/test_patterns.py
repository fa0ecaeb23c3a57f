"""Regular expressions that are compiled when they are first used."""

from __future__ import annotations

import re
from typing import Any

import pytest

from aioapiclient._patterns import lazily


@pytest.mark.parametrize("text", ["(?P<x>a)b?", b"(?P<x>a)b?"])
def test_it_is_a_pattern(text: Any) -> None:
    """It has the methods and the attributes of the pattern that it represents."""
    pattern, plain = lazily(text), re.compile(text)
    assert pattern.fullmatch(text[4:5]) is None
    assert pattern.groupindex == plain.groupindex == {"x": 1}
    assert pattern.pattern == text
