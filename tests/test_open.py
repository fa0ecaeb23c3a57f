"""Unions, enums and literals that grow: `Open` decodes new values to `Unknown`, and still reports
mistakes.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import decimal
import enum
import importlib.util
import pickle
import sys
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    TypedDict,
    TypeVar,
    get_args,
)

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aioapiclient._body.json import encode_json
from aioapiclient._codecs.decoders import check_cast_to, decode_body
from aioapiclient._codecs.failures import DecodeError
from aioapiclient._codecs.open import Open, Unknown, without_open

JSON = "application/json"
SECRET = "s3cr3t"
T = TypeVar("T")


class Card(msgspec.Struct, tag="card"):
    price: int
    last4: str = ""


class Cash(msgspec.Struct, tag="cash"):
    price: int
    note: Note | None = None


class Note(msgspec.Struct):
    text: str


class Currency(enum.Enum):
    EUR = "eur"
    USD = "usd"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Forgiving(enum.Enum):
    KNOWN = "known"

    @classmethod
    def _missing_(cls, value: object) -> Forgiving:
        return cls.KNOWN


class Order(msgspec.Struct):
    items: list[Open[Card | Cash]] = []
    currency: Open[Currency] | None = None
    status: Open[Literal["new", "paid"]] = "new"
    by_id: dict[int, Open[Card | Cash]] = {}
    level: Optional[Open[Level]] = None  # noqa: UP045


class Page(msgspec.Struct, Generic[T]):
    data: list[T]
    next: str | None = None


class OpenPage(msgspec.Struct, Generic[T]):
    data: list[Open[T]]


class Folder(msgspec.Struct, tag="folder"):
    entries: list[Open[Folder | Card]] = []


class Circle(msgspec.Struct, tag="circle", array_like=True):
    radius: float


class Square(msgspec.Struct, tag="square", array_like=True):
    side: float


class One(msgspec.Struct, tag=1, tag_field="v"):
    x: int


class Two(msgspec.Struct, tag=2, tag_field="v"):
    amount: decimal.Decimal
    ratio: float = 0.0
    counts: dict[int, int] = {}
    anything: Any = None


class Custom:
    def __init__(self, value: object) -> None:
        self.value = value


class Holder(msgspec.Struct, tag="holder"):
    custom: Custom


class Keeper(msgspec.Struct, tag="keeper"):
    raw: msgspec.Raw


@dataclasses.dataclass
class Receipt:
    items: list[Open[Card | Cash]]


class Pair(NamedTuple):
    first: Open[Currency]
    second: Open[Card]


class Mapped(TypedDict):
    item: Open[Card | Cash]


class TwoOrders(msgspec.Struct):
    two: Open[Two]


Payment = NewType("Payment", Card)
new_item = {"type": "voucher", "code": SECRET}


def decode(value: object, cast_to: Any, **options: Any) -> Any:
    """*value* through JSON to a type."""
    return decode_body(msgspec.json.encode(value), cast_to, JSON, **options)


def failure(value: object, cast_to: Any, **options: Any) -> DecodeError:
    """The error that decoding raises."""
    with pytest.raises(DecodeError) as caught:
        decode(value, cast_to, **options)
    return caught.value


# --- Known and unknown ---


@pytest.mark.parametrize(
    ("cast_to", "value", "expected"),
    [
        (Open[Card | Cash], {"type": "cash", "price": 2}, Cash(2)),
        (Open[Card | Cash], new_item, Unknown(new_item, "voucher")),
        (Open[Card], new_item, Unknown(new_item, "voucher")),
        (
            list[Open[Card | Cash]],
            [{"type": "card", "price": 1}, new_item],
            [Card(1), Unknown(new_item, "voucher")],
        ),
        (dict[str, Open[Card | Cash]], {"a": new_item}, {"a": Unknown(new_item, "voucher")}),
        (tuple[Open[Currency], ...], ["eur", "gbp"], (Currency.EUR, Unknown("gbp"))),
        (set[Open[Currency]], ["eur", "gbp"], {Currency.EUR, Unknown("gbp")}),
        (dict[Open[Currency], int], {"eur": 1, "gbp": 2}, {Currency.EUR: 1, Unknown("gbp"): 2}),
        (dict[Open[Card | Currency], int], {"eur": 1}, {Currency.EUR: 1}),
        (Open[Currency], "usd", Currency.USD),
        (Open[Level], 2, Level.HIGH),
        (Open[Level], 3, Unknown(3)),
        (Open[Forgiving], "new", Forgiving.KNOWN),
        (Open[Literal["a", 1]], "a", "a"),
        (Open[Literal["a", 1]], "b", Unknown("b")),
        (Open[Literal["a", 1]], 2, Unknown(2)),
        (Open[Card | Currency | None], "gbp", Unknown("gbp")),
        (Open[Card | Currency | None], None, None),
        (Open[Card | Cash] | None, None, None),
        (Optional[Open[Card]], {"type": "card", "price": 1}, Card(1)),  # noqa: UP045
        (Open[Circle | Square], ["circle", 1.0], Circle(1.0)),
        (Open[Circle | Square], ["hexagon", 1.0], Unknown(["hexagon", 1.0], "hexagon")),
        (Open[One | Two], {"v": 1, "x": 1}, One(1)),
        (Open[One | Two], {"v": 3}, Unknown({"v": 3}, 3)),
        (Open[Open[Card] | Cash], new_item, Unknown(new_item, "voucher")),
        (Open[Annotated[Card | Cash, "a note"]], new_item, Unknown(new_item, "voucher")),
        (Annotated[list[Open[Card]], ["not hashable"]], [new_item], [Unknown(new_item, "voucher")]),
        (Open[Payment], {"type": "card", "price": 1}, Card(1)),
        (Open[Payment], new_item, Unknown(new_item, "voucher")),
        (Page[Open[Card | Cash]], {"data": [new_item]}, Page([Unknown(new_item, "voucher")])),
        (Page[list[Open[Currency]]], {"data": [["eur", "x"]]}, Page([[Currency.EUR, Unknown("x")]])),
        (OpenPage[Card | Cash], {"data": [new_item]}, OpenPage([Unknown(new_item, "voucher")])),
        (OpenPage[Currency], {"data": ["eur", "x"]}, OpenPage([Currency.EUR, Unknown("x")])),
        (Receipt, {"items": [new_item]}, Receipt([Unknown(new_item, "voucher")])),
        (Pair, ["gbp", {"type": "card", "price": 1}], Pair(Unknown("gbp"), Card(1))),
        (Mapped, {"item": new_item}, {"item": Unknown(new_item, "voucher")}),
    ],
)
def test_decoding(cast_to: Any, value: object, expected: object) -> None:
    """A known value decodes to its type, a new tag, member or literal to `Unknown`, wherever Open is used."""
    check_cast_to(cast_to)
    decoded = decode(value, cast_to)
    assert decoded == expected
    assert type(decoded) is type(expected)


def test_struct_fields() -> None:
    """Fields hold known and unknown values side by side, each decided separately."""
    body = {
        "items": [
            {"type": "card", "price": 1},
            new_item,
            {"type": "cash", "price": 2, "note": {"text": "x"}},
        ],
        "currency": "gbp",
        "status": "refunded",
        "by_id": {"7": new_item, "8": {"type": "cash", "price": 3}},
        "level": 9,
    }
    order = decode(body, Order)
    assert order == Order(
        items=[Card(1), Unknown(new_item, "voucher"), Cash(2, Note("x"))],
        currency=Unknown("gbp"),
        status=Unknown("refunded"),
        by_id={7: Unknown(new_item, "voucher"), 8: Cash(3)},
        level=Unknown(9),
    )
    assert decode({}, Order) == Order()
    assert decode({"currency": None, "status": "paid", "level": 1}, Order) == Order(
        [], None, "paid", {}, Level.LOW
    )


def test_depth() -> None:
    """New values inside known variants are recognised too, at any depth."""
    body = {
        "type": "folder",
        "entries": [{"type": "folder", "entries": [new_item, {"type": "card", "price": 1}]}],
    }
    expected = Folder([Folder([Unknown(new_item, "voucher"), Card(1)])])
    assert decode(body, Open[Folder | Card]) == expected
    assert decode(body, Folder) == expected
    assert decode({"data": [body]}, Page[Open[Folder]]) == Page([expected])


@pytest.mark.parametrize("content_type", ["application/msgpack", "application/toml", "text/yaml"])
def test_other_formats(content_type: str) -> None:
    """Open works the same in MessagePack, TOML and YAML."""
    if content_type == "text/yaml" and importlib.util.find_spec("yaml") is None:
        pytest.skip("PyYAML is not installed")
    bodies = {
        "application/msgpack": msgspec.msgpack.encode({"items": [new_item, {"type": "card", "price": 1}]}),
        "application/toml": b'items = [{type = "voucher", code = "s3cr3t"}, {type = "card", price = 1}]',
        "text/yaml": b"items: [{type: voucher, code: s3cr3t}, {type: card, price: 1}]",
    }
    body = bodies[content_type]
    expected = [Unknown(new_item, "voucher"), Card(1)]
    assert decode_body(body, Order, content_type).items == expected
    assert decode_body(body, dict[str, list[Open[Card | Cash]]], content_type)["items"] == expected


def test_unparametrised_generic() -> None:
    """A generic Struct without a type argument keeps plain data, as in msgspec itself."""
    assert decode({"data": [new_item, 1]}, OpenPage) == OpenPage([new_item, 1])


def test_lenient_mode() -> None:
    """In lenient mode known variants are coerced, and a new number may be given as text."""
    assert decode([{"type": "card", "price": "1"}], list[Open[Card | Cash]], strict=False) == [Card(1)]
    assert decode({"items": [{"type": "card", "price": "1"}]}, Order, strict=False).items == [Card(1)]
    assert decode("2", Open[Level], strict=False) is Level.HIGH
    assert decode("-3", Open[Level], strict=False) == Unknown("-3")
    assert failure("high", Open[Level], strict=False).reason == "Expected `int`, got `str`"


# --- Mistakes ---


@pytest.mark.parametrize(
    ("cast_to", "value", "path"),
    [
        (Open[Card | Cash], {"type": "card", "price": SECRET}, "$.price"),
        (list[Open[Card | Cash]], [new_item, {"type": "card", "price": SECRET}], "$[1].price"),
        (dict[str, Open[Card | Cash]], {SECRET: {"type": "card", "price": SECRET}}, "$[...].price"),
        (
            Order,
            {"items": [{"type": "card", "price": 1}] * 3 + [{"type": "card", "price": SECRET}]},
            "$.items[3].price",
        ),
        (Order, {"items": [{"type": "cash", "price": 1, "note": {"text": 5}}]}, "$.items[0].note.text"),
        (Order, {"by_id": {"1": {"type": "cash"}}}, "$.by_id[...]"),
        (Order, {"currency": 5}, "$.currency"),
        (Order, {"status": ["new"]}, "$.status"),
        (Order, {"items": [{"price": 1}]}, "$.items[0]"),
        (Order, {"items": [{"type": None}]}, "$.items[0].type"),
        (Order, {"items": [{"type": [SECRET]}]}, "$.items[0].type"),
        (Order, {"items": [{"type": True}]}, "$.items[0].type"),
        (Order, {"items": [[]]}, "$.items[0]"),
        (Order, {"items": [SECRET]}, "$.items[0]"),
        (Order, {"items": SECRET}, "$.items"),
        (Page[Open[Card | Cash]], {"data": [{"type": "card", "price": SECRET}]}, "$.data[0].price"),
        (OpenPage[Card | Cash], {"data": [{"type": "card", "price": SECRET}]}, "$.data[0].price"),
        (Page[Open[Card | Cash]], {"data": [new_item], "next": 5}, "$.next"),
        (
            Folder,
            {"entries": [{"type": "folder", "entries": [{"type": "card", "price": SECRET}]}]},
            "$.entries[0].entries[0].price",
        ),
        (Open[Circle | Square], ["circle", SECRET], "$[1]"),
        (Open[Circle | Square], [], "$"),
        (Open[Circle | Square], {"type": "hexagon"}, "$"),
        (Open[One | Two], {"v": "3"}, "$.v"),
        (Open[Level], True, "$"),
        (Open[Currency], None, "$"),
    ],
)
def test_mistakes_still_fail(cast_to: Any, value: object, path: str) -> None:
    """A mistake in a known variant, a missing tag and another JSON type fail, with the complete path."""
    error = failure(value, cast_to)
    assert error.path == path
    assert SECRET not in repr(error)
    assert (error.__cause__, error.__context__) == (None, None)


def test_unhashable_members_of_a_set() -> None:
    """An object as the member of a set fails; msgspec reports the place from 0.23 on."""
    assert failure([new_item], set[Open[Card]]).path in ("$", "$[0]")


def test_deep_bodies() -> None:
    """A body nested 100 000 deep inside of Open is a DecodeError."""
    for cast_to in (Open[Folder | Card], list[Open[Card]], Order):
        for body in (b"[" * 100_000, b'{"type":"new","x":' * 100_000, b'{"items":' + b"[" * 100_000):
            with pytest.raises(DecodeError):
                decode_body(body, cast_to, JSON)


@pytest.mark.parametrize(
    "cast_to",
    [
        Open[int],
        Open[Note],
        list[Open[str | None]],
        Open[Note | int],
        dict[str, list[Open[bytes]]],
        Open[Keeper | Card],
    ],
)
def test_what_cannot_be_open(cast_to: Any) -> None:
    """Open around a type that cannot grow, or around Raw, is a TypeError before anything is sent."""
    with pytest.raises(TypeError, match="Open"):
        check_cast_to(cast_to)


def test_fields_that_cannot_be_open() -> None:
    """The same applies to the fields of a Struct, and to unions that msgspec cannot tell apart."""
    bad = msgspec.defstruct("Bad", [("x", list[Open[int]])])
    with pytest.raises(TypeError, match="nothing in it can grow"):
        check_cast_to(list[bad])  # type: ignore[valid-type]
    with pytest.raises(TypeError, match="custom type"):
        check_cast_to(Open[Card] | int)


# --- Exactness and hooks ---


def test_decimals_stay_exact() -> None:
    """A Decimal inside Open has every digit that was sent, next to floats that are floats."""
    amount = "1234567890.12345678901234567890"
    body = (
        f'{{"two":{{"v":2,"amount":{amount},"ratio":{amount},"counts":{{"1":2}},"anything":0.5}}}}'.encode()
    )
    two = decode_body(body, TwoOrders, JSON).two
    assert two == Two(decimal.Decimal(amount), float(amount), {1: 2}, 0.5)
    assert type(two.ratio) is type(two.anything) is float
    assert decode_body(body[7:-1], Open[One | Two], JSON) == two
    with pytest.raises(DecodeError):
        decode_body(body.replace(b"0.5", b"1e999"), TwoOrders, JSON)


def test_the_users_hook_is_asked() -> None:
    """The user's dec_hook decodes its types inside Open, and its errors keep their path."""

    def hook(wanted: type, value: object) -> object:
        if value == SECRET:
            raise ValueError(SECRET)
        return Custom(value)

    body = {"type": "holder", "custom": 5}
    assert decode(body, Open[Holder | Card], dec_hook=hook).custom.value == 5
    assert decode([body, new_item], list[Open[Holder | Card]], dec_hook=hook)[0].custom.value == 5
    error = failure([{"type": "holder", "custom": SECRET}], list[Open[Holder | Card]], dec_hook=hook)
    assert (error.path, SECRET in repr(error)) == ("$[0].custom", False)
    with pytest.raises(TypeError, match=r"Holder\.custom: Custom needs a dec_hook"):
        failure(body, Open[Holder | Card])


# --- Unknown ---


def test_unknown() -> None:
    """An Unknown holds the raw value and its tag, compares and hashes by them, and cannot be changed."""
    unknown = decode(new_item, Open[Card])
    assert (unknown.value, unknown.tag) == (new_item, "voucher")
    assert unknown == Unknown(new_item, "voucher")
    assert unknown != Unknown(new_item)
    assert unknown != new_item
    assert len({Unknown("a"), Unknown("a"), Unknown("b")}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(unknown)
    with pytest.raises(AttributeError, match="immutable"):
        unknown.value = 5
    with pytest.raises(AttributeError, match="immutable"):
        del unknown.tag


def test_unknown_copies_and_pickles() -> None:
    """An Unknown can be copied and pickled."""
    unknown = Unknown(new_item, "voucher")
    for same in (copy.copy(unknown), copy.deepcopy(unknown), pickle.loads(pickle.dumps(unknown))):
        assert same == unknown
        assert isinstance(same, Unknown)


def test_unknown_shows_no_value() -> None:
    """The repr of an Unknown shows its tag, at most 40 characters of it, and never its value."""
    assert repr(Unknown(new_item, "voucher")) == "<Unknown dict, tag 'voucher'>"
    assert repr(Unknown(SECRET)) == "<Unknown str>"
    assert repr(Unknown({"v": 3}, 3)) == "<Unknown dict, tag 3>"
    assert len(repr(Unknown({}, "\n" * 100_000))) < 120


def test_unknown_in_a_match_statement() -> None:
    """An Unknown is a case of a match statement."""
    match decode(new_item, Open[Card | Cash]):
        case Unknown({"code": code}):
            assert code == SECRET
        case other:
            pytest.fail(f"{other} is not Unknown")


def test_encoding_back() -> None:
    """Decoded values encode to the received data, known and unknown."""
    body = {
        "items": [{"type": "card", "price": 1, "last4": ""}, new_item],
        "status": "refunded",
        "by_id": {"7": new_item},
    }
    encoded = decode_body(encode_json(decode(body, Order)), Any, JSON)
    assert encoded == {**body, "currency": None, "level": None}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(max_size=3)
    | st.sampled_from(["card", "eur", "new"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries(
            {"type": st.sampled_from(["card", "cash", "x"])}, optional={"price": inner, "note": inner}
        )
        | st.dictionaries(
            st.sampled_from(["items", "currency", "status", "by_id", "data"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(json_values, st.booleans())
def test_open_and_closed_agree(value: object, strict: bool) -> None:
    """A body that decodes to the closed type decodes to the same value with the open one; no body crashes
    it.
    """
    for cast_to in (
        Open[Card | Cash],
        list[Open[Card | Cash]],
        Page[Open[Card | Currency]],
        Order,
        OpenPage[Currency],
    ):
        try:
            expected = decode(value, without_open(cast_to), strict=strict)
        except DecodeError:
            with contextlib.suppress(DecodeError):
                decode(value, cast_to, strict=strict)
        else:
            assert decode(value, cast_to, strict=strict) == expected


def test_closed() -> None:
    """The closed form of a type has no Open where one was an argument, and is the type itself without one."""
    assert without_open(list[Open[Card | Cash]]) == list[Card | Cash]
    assert without_open(Page[dict[str, Open[Card]]]) == Page[dict[str, Card]]
    assert without_open(Annotated[Open[Card] | None, 1]) == Annotated[Card | None, 1]
    assert get_args(without_open(tuple[Open[Card], ...])) == (Card, ...)
    for same in (Order, list[Card], Card | Cash, Literal["a"], Annotated[int, []], int, Any):
        assert without_open(same) is same


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type statements are new in Python 3.12")
def test_type_alias_statements() -> None:
    """Open works in ``type`` aliases, in and around them, and in classes with type parameters."""
    names: dict[str, Any] = {"Open": Open, "Card": Card, "Cash": Cash, "Struct": msgspec.Struct}
    source = """
type Either = Card | Cash
type Item = Open[Either]
type Items[X] = list[Open[X]]
class Box[X](Struct):
    items: list[Open[X]]
"""
    exec(compile(source, "<test>", "exec", dont_inherit=True), names)
    item: Any = names["Item"]
    body = [new_item, {"type": "cash", "price": 1}]
    expected = [Unknown(new_item, "voucher"), Cash(1)]
    assert decode(body, list[item]) == expected
    assert decode(body, names["Items"][Card | Cash]) == expected
    assert decode({"items": body}, names["Box"][Card | Cash]).items == expected
    assert failure([{"type": "cash", "price": "x"}], list[item]).path == "$[0].price"
