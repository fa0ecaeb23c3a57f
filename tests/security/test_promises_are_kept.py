"""SECURITY.md and the tests agree on the promises and on the tests that hold them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PROPERTIES = {f"P{number}" for number in range(1, 31)}


def named_in(path: Path) -> set[str]:
    """The properties that the docstrings of a file's tests name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            found.update(re.findall(r"\bP\d+\b", ast.get_docstring(node) or ""))
    return found


def test_every_property_has_a_test() -> None:
    """Each of the thirty properties is named by a test."""
    found = {name for path in Path(__file__).parent.glob("test_*.py") for name in named_in(path)}
    assert found == PROPERTIES


def test_every_promise_names_its_tests() -> None:
    """Each row of SECURITY.md names files whose tests carry its numbers, and all rows together all thirty."""
    rows = re.findall(
        r"^\| .+ \| (P[P0-9 ]+) \| (tests/.+) \|$",
        (CHECKOUT / "SECURITY.md").read_text("utf-8"),
        re.MULTILINE,
    )
    promised: set[str] = set()
    for numbers, files in rows:
        held = {name for file in files.split(", ") for name in named_in(CHECKOUT / file)}
        assert held.issuperset(numbers.split()), (numbers, files)
        promised.update(numbers.split())
    assert promised == PROPERTIES
