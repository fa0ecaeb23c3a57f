"""Types that several test files decode bodies to, and strategies for bodies."""

from __future__ import annotations

import dataclasses
import enum
import importlib.util
from typing import Any, NamedTuple

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

JSON = "application/json"
MSGPACK = "application/msgpack"
steady = settings(suppress_health_check=[HealthCheck.too_slow])


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class User(msgspec.Struct):
    id: int
    name: str = ""


class Inner(msgspec.Struct):
    price: int


class Outer(msgspec.Struct):
    inner: Inner
    items: list[Inner] = []
    by_name: dict[str, Inner] = {}
    maybe: Inner | None = None


class Cat(msgspec.Struct, tag_field="kind", tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag_field="kind", tag="dog"):
    owner: Cat | Dog | None = None


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Song:
    length: float


class Plain:
    """A class unknown to msgspec."""

    def __init__(self, value: Any = None) -> None:
        self.value = value


def short(value: object) -> str | None:
    """A name for a parameter that may be too long to print."""
    if isinstance(value, int) and abs(value) > 2**100:
        return "huge"
    return repr(value)[:30] if isinstance(value, (bytes, str)) else None


CAST_TOS: list[Any] = [
    User,
    Outer,
    Cat | Dog,
    list[User] | None,
    Any,
    str,
    bytes,
    None,
    bool,
    int,
    float,
    set[Any],
]
CONTENT_TYPES = [
    JSON,
    MSGPACK,
    "application/toml",
    "text/plain",
    "text/html",
    None,
    "text/plain; charset=utf-16",
]
if importlib.util.find_spec("yaml") is not None:
    CONTENT_TYPES.append("text/yaml")
plain_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
