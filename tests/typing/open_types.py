"""The types of `Open`, asserted for checkers; not meant to be executed."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, assert_type

import msgspec

from aioapiclient._codecs.open import Open, Unknown

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")


class Card(msgspec.Struct, tag="card"):
    price: int


class Cash(msgspec.Struct, tag="cash"):
    price: int


class Color(enum.Enum):
    RED = "red"


class Order(msgspec.Struct):
    item: Open[Card | Cash]
    items: list[Open[Card | Cash]]
    color: Open[Color] | None = None
    status: Open[Literal["new", "paid"]] = "new"


class Page(msgspec.Struct, Generic[T]):
    data: list[T]


class OpenPage(msgspec.Struct, Generic[T]):
    data: list[Open[T]]


async def get(path: str, cast_to: TypeForm[T]) -> T:
    """A verb, as the client has them."""
    raise NotImplementedError


def fields(order: Order, page: Page[Open[Card]], open_page: OpenPage[Card]) -> None:
    """A field of an Open type is the union of the known types and Unknown."""
    assert_type(order.item, Card | Cash | Unknown)
    assert_type(order.items, list[Card | Cash | Unknown])
    assert_type(order.color, Color | Unknown | None)
    assert_type(order.status, Literal["new", "paid"] | Unknown)
    assert_type(page.data, list[Card | Unknown])
    assert_type(open_page.data, list[Card | Unknown])


async def results() -> None:
    """A cast_to of an Open type returns the union."""
    assert_type(await get("/", Open[Card | Cash]), Card | Cash | Unknown)
    assert_type(await get("/", list[Open[Card | Cash]]), list[Card | Cash | Unknown])
    assert_type(await get("/", Open[Card] | None), Card | Unknown | None)
    assert_type(await get("/", Page[Open[Card | Cash]]), Page[Card | Cash | Unknown])
    assert_type(await get("/", Open[Literal["a"]]), Literal["a"] | Unknown)


def narrowing(item: Open[Card | Cash]) -> int:
    """An isinstance or a match tells them apart, and nothing else is left."""
    if isinstance(item, Unknown):
        assert_type(item, Unknown)
        assert_type(item.tag, str | int | None)
        value: dict[str, Any] = item.value
        return len(value)
    assert_type(item, Card | Cash)
    return item.price


def matching(item: Open[Card | Cash]) -> int:
    """A match over all three needs no default."""
    match item:
        case Card(price=price):
            return price
        case Cash(price=price):
            return price
        case Unknown():
            return 0


def making() -> Order:
    """Known values, and Unknown ones, are both accepted."""
    return Order(item=Card(1), items=[Cash(2), Unknown({"type": "new"}, "new")], color=Unknown("blue"))
