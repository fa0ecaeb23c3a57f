"""The example of pydantic models runs in a separate process, and prints the expected output."""

from __future__ import annotations

import pytest
from programs import EXAMPLES, run


async def test_the_example_of_pydantic() -> None:
    """Models are decoded and sent, and a pydantic error about a body keeps its place and its message."""
    pytest.importorskip("pydantic")
    assert await run(EXAMPLES / "pydantic_models.py") == [
        "[User(id=7, login='ada'), User(id=8, login='bob')]",
        "id=9 login='cleo'",
        "$[1].id",
        (
            "GET https://api.example.com/v1/users: status 200, application/json: Input should be a"
            " valid integer, unable to parse string as an integer at $[1].id"
        ),
    ]
