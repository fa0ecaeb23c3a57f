"""The encoding of values, and the values that JSON cannot represent."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import math
import types
import uuid
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from bodies import JSON, Cat, Color, Plain, Point, Song, User, plain_data, short, steady
from hypothesis import given

from aioapiclient import AsyncAPIClient, Body
from aioapiclient._body import json as _encoding
from aioapiclient._body.json import encode_json
from aioapiclient._codecs.decoders import decode_body
from aioapiclient._codecs.open import Unknown
from aioapiclient._types import NOT_GIVEN, OMIT
from aioapiclient.errors import InvalidRequestError
from aioapiclient.testing import FakeTransport, respond


class Renamed(msgspec.Struct, rename="camel", omit_defaults=True):
    first_name: str
    last_name: str | None = "none"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"key": "value", "number": 42}, b'{"key":"value","number":42}'),
        ({"é": "ü"}, '{"é":"ü"}'.encode()),
        (None, b"null"),
        ({"baz": None}, b'{"baz":null}'),
        ({1: 2, 1.5: 3}, b'{"1":2,"1.5":3}'),
        (2**70, b"1180591620717411303424"),
        (decimal.Decimal("1.10"), b'"1.10"'),
        (datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), b'"2020-01-02T03:04:05Z"'),
        (datetime.date(2020, 1, 2), b'"2020-01-02"'),
        (uuid.UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        (Color.RED, b'"red"'),
        (User(1), b'{"id":1,"name":""}'),
        (Song(1.5), b'{"length":1.5}'),
        (Point(1, 2), b"[1,2]"),
        (Cat(9), b'{"kind":"cat","lives":9}'),
        ({"s": {1}}, b'{"s":[1]}'),
        (msgspec.Raw(b'{"a":1.10}'), b'{"a":1.10}'),
    ],
)
def test_encoding(value: Any, expected: bytes) -> None:
    """JSON is compact UTF-8, and every type that msgspec knows is encoded."""
    assert encode_json(value) == expected


def test_structs_say_what_they_send() -> None:
    """Renamed names are used, defaults omitted if the Struct requires it, and an explicit None is kept."""
    assert encode_json(Renamed("a")) == b'{"firstName":"a"}'
    assert encode_json([Renamed("a", None)]) == b'[{"firstName":"a","lastName":null}]'
    assert encode_json({"u": Renamed("a", None), "x": OMIT}) == b'{"u":{"firstName":"a","lastName":null}}'


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Number(float):
    pass


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: (n for n in (1, 2)), b"[1,2]"),
        (lambda: {"g": iter([1]), "m": map(str, [1]), "none": None}, b'{"g":[1],"m":["1"],"none":null}'),
        (lambda: {"g": (n for n in (1, None)), "x": OMIT}, b'{"g":[1,null]}'),
        (lambda: range(3), b"[0,1,2]"),
        (lambda: deque([1, {"x": deque()}]), b'[1,{"x":[]}]'),
        (lambda: {"a": 1}.keys(), b'["a"]'),
        (lambda: {"a": 1}.values(), b"[1]"),
        (lambda: {"a": 1}.items(), b'[["a",1]]'),
        (lambda: types.MappingProxyType({"a": 1}), b'{"a":1}'),
        (lambda: OrderedDict(b=1, a=2), b'{"b":1,"a":2}'),
        (lambda: Text("plain"), b'"plain"'),
        (lambda: Number(1.5), b"1.5"),
        (lambda: Unknown({"type": "new"}, "new"), b'{"type":"new"}'),
        (lambda: {"r": msgspec.Raw(b"1.10"), "x": OMIT}, b'{"r":1.10}'),
    ],
)
def test_encoding_what_msgspec_does_not_know(make: Any, expected: bytes) -> None:
    """Iterators become lists, once; other mappings, sequences and views are encoded by their kind."""
    assert encode_json(make()) == expected


def test_values_are_not_changed() -> None:
    """Encoding changes no object of the caller, also if sentinels are dropped."""
    numbers = [1, 2]
    value = {"a": OMIT, "b": {"c": NOT_GIVEN, "n": numbers}}
    extra = {"b": {"d": OMIT}}
    assert encode_json(value) == b'{"b":{"n":[1,2]}}'
    assert encode_json(value, extra_body=extra) == b'{"b":{}}'
    assert value == {"a": OMIT, "b": {"c": NOT_GIVEN, "n": [1, 2]}}
    assert value["b"]["n"] is numbers  # type: ignore[index]
    assert extra == {"b": {"d": OMIT}}


class Patch(msgspec.Struct):
    name: Any = OMIT
    size: int | msgspec.UnsetType = msgspec.UNSET


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": OMIT, "b": 1}, b'{"b":1}'),
        ({"a": {"b": NOT_GIVEN, "c": [{"d": OMIT}]}}, b'{"a":{"c":[{}]}}'),
        ({"a": msgspec.UNSET}, b"{}"),
        (Patch(), b"{}"),
        (Patch(name=None), b'{"name":null}'),
        ([Patch(size=1)], b'[{"size":1}]'),
    ],
)
def test_sentinels_leave_members_out(value: Any, expected: bytes) -> None:
    """OMIT, NOT_GIVEN and UNSET omit a member of an object, in dicts and Structs at any depth."""
    assert encode_json(value) == expected


@pytest.mark.parametrize(
    ("value", "path"),
    [(OMIT, "$"), ([1, OMIT], "$[1]"), ({"a": (NOT_GIVEN,)}, "$.a[0]"), ({"a": {OMIT}}, "$.a[0]")],
)
def test_sentinels_elsewhere_are_refused(value: Any, path: str) -> None:
    """A sentinel in a list, or as the whole body, would shift or lose values: it is refused, with its
    path.
    """
    with pytest.raises(InvalidRequestError) as caught:
        encode_json(value)
    assert f"at {path};" in str(caught.value)


def value_of(value: object) -> Any:
    """An enc_hook for `Plain`."""
    if isinstance(value, Plain):
        return value.value
    raise NotImplementedError


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, Number("nan")])
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda n: n, "$"),
        (lambda n: {"a": None, "b": [0, n]}, "$.b[1]"),
        (lambda n: ({"x": {"y": n}},), "$[0].x.y"),
        (lambda n: [Song(n)], "$[0].length"),
        (lambda n: {"g": (value for value in (1.0, n))}, "$.g[1]"),
        (lambda n: {"big": 2**70, "n": n}, "$.n"),
        (lambda n: {"plain": Plain(n)}, "$.plain"),
    ],
)
def test_nan_is_refused(number: float, wrap: Any, path: str) -> None:
    """NaN and infinity are refused at any depth, with the path, and never sent as null."""
    with pytest.raises(InvalidRequestError) as caught:
        encode_json(wrap(number), value_of)
    assert f"at {path};" in str(caught.value)


def test_null_without_nan() -> None:
    """None, and text that contains null, are encoded unchanged."""
    value = {"a": None, "b": "null", "c": "\x7f\xf8", "d": b"\xcb\x7f\xf8" * 3, "e": 2**70}
    assert decode_body(encode_json(value), Any, JSON)["b"] == "null"


def test_cycles_are_refused() -> None:
    """A value that contains itself, or is nested too deeply, is refused before anything is sent."""
    ring: list[Any] = []
    ring.append({"again": ring})
    deep: Any = []
    for _ in range(300_000):
        deep = [deep]
    for value in (ring, {"x": OMIT, "ring": ring}, deep, (Plain(), ring)):
        with pytest.raises(InvalidRequestError, match="contains itself"):
            encode_json(value, lambda value: value)


@pytest.mark.parametrize(
    "value", ["\ud800", {"a": None, "b": ["\udfff"]}, 10**5000, {"a": OMIT, "b": 10**5000}], ids=short
)
def test_what_json_cannot_say(value: Any) -> None:
    """A lone surrogate and an integer of 5000 digits are refused, without the value in the error."""
    with pytest.raises(InvalidRequestError) as caught:
        encode_json(value)
    assert caught.value.__context__ is None


class Twice(Mapping[str, int]):
    """A multidict: one name, two values."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[str]:
        return iter(("a", "a"))

    def __getitem__(self, name: str) -> int:
        return 1


@pytest.mark.parametrize(
    ("value", "kind", "path"),
    [
        (Plain(), "Plain", "$"),
        ({"a": [1, {"b": Plain()}]}, "Plain", "$.a[1].b"),
        ({"c": 1j}, "complex", "$.c"),
        ([Song(Plain())], "Plain", "$[0].length"),  # type: ignore[arg-type]
        ({"f": io.BytesIO(b"x")}, "BytesIO", "$.f"),
        ({"f": io.StringIO("x")}, "StringIO", "$.f"),
        ({"m": Twice()}, "Twice", "$.m"),
        ({"a": {Plain(): 1}}, "Plain", "$.a"),
        ({"a": {OMIT: 1}}, "sentinel", "$.a"),
    ],
)
def test_what_cannot_be_encoded(value: Any, kind: str, path: str) -> None:
    """A type that nothing encodes, even a file, is a TypeError that names type and path."""
    with pytest.raises(TypeError) as caught:
        encode_json(value)
    assert f"{kind} at {path} " in str(caught.value)
    with pytest.raises(TypeError, match="keys"):
        encode_json({(1, 2): value})


def test_enc_hook() -> None:
    """An enc_hook encodes its types; with NotImplementedError it leaves a value to the library."""

    def hook(value: Any) -> Any:
        if isinstance(value, Plain):
            return {"plain": value.value}
        raise NotImplementedError

    assert encode_json([Plain(1), deque([Plain(None)])], hook) == b'[{"plain":1},[{"plain":null}]]'
    assert encode_json({"p": Plain(OMIT), "o": OMIT}, hook) == b'{"p":{}}'
    with pytest.raises(TypeError, match=r"complex at \$\[0\]"):
        encode_json([1j], hook)


@pytest.mark.parametrize("kind", [TypeError, ValueError, KeyError])
def test_what_a_hook_raises_is_the_users(kind: type[Exception]) -> None:
    """An exception of an enc_hook, other than NotImplementedError, is raised unchanged."""

    def hook(value: Any) -> Any:
        raise kind("mine")

    with pytest.raises(kind, match="mine"):
        encode_json({"p": Plain(), "n": None}, hook)


class UnhashableHook:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, value: Any) -> Any:
        return "made"


def test_a_hook_need_not_be_hashable() -> None:
    """A callable object that cannot be hashed is a hook like any other."""
    assert encode_json([Plain()], UnhashableHook()) == b'["made"]'


@pytest.mark.parametrize(
    ("value", "extra", "expected"),
    [
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}),
        ({"baz": 1}, {"baz": None}, {"baz": None}),
        (NOT_GIVEN, {"a": 1}, {"a": 1}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"y": 2}}),
        ({"a": 1}, {"a": OMIT}, {}),
        ({"a": 1}, {"a": NOT_GIVEN, "b": OMIT}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
        (Renamed("x"), {"firstName": "y"}, {"firstName": "y"}),
        (types.MappingProxyType({"a": 1}), types.MappingProxyType({"b": deque([1])}), {"a": 1, "b": [1]}),
        ({"a": decimal.Decimal("1.10")}, {"b": {"c": OMIT}}, {"a": "1.10", "b": {}}),
    ],
)
def test_extra_body(value: Any, extra: Mapping[str, Any], expected: Any) -> None:
    """extra_body wins at the top level, may set null or remove, and works alone."""
    assert json.loads(encode_json(value, extra_body=extra)) == expected


@pytest.mark.parametrize("value", [[1], None, "text", 5, Point(1, 2)])
def test_extra_body_needs_an_object(value: Any) -> None:
    """extra_body over JSON that is not an object is a TypeError, even if it is empty."""
    for extra in ({"a": 1}, {}):
        with pytest.raises(TypeError, match="a JSON object to merge over"):
            encode_json(value, extra_body=extra)


def test_extra_body_is_checked_too() -> None:
    """extra_body must be a mapping, and follows the same rules as json."""
    with pytest.raises(TypeError, match="must be a mapping, not list"):
        encode_json({}, extra_body=[("a", 1)])  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=r"at \$\.a"):
        encode_json({}, extra_body={"a": math.nan})


# --- Properties


@steady
@given(plain_data)
def test_json_round_trip(value: Any) -> None:
    """Plain data is decoded unchanged, and is encoded as Python's own json would, compactly."""
    encoded = encode_json(value)
    assert decode_body(encoded, Any, JSON) == value
    assert json.loads(encoded) == value


@steady
@given(plain_data)
def test_both_ways_to_encode_agree(value: Any) -> None:
    """The slow path, which sentinels and NaN take, writes the same bytes as the fast one."""
    assert _encoding._encode_slowly(value, None, _encoding._encoders(None)) == encode_json(value)


# The user's own encoder

EXACT = msgspec.json.Encoder(decimal_format="number", uuid_format="hex", order="sorted")
NUMBER = msgspec.json.Encoder(decimal_format="number")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"price": decimal.Decimal("1.10"), "id": uuid.UUID(int=1)}, b'{"id":"%032x","price":1.10}' % 1),
        ({"b": decimal.Decimal("1E-8"), "a": {3, 1}}, b'{"a":[1,3],"b":1E-8}'),
        ({"b": OMIT, "z": decimal.Decimal("1.10"), "a": {"y", "x"}}, b'{"a":["x","y"],"z":1.10}'),
        (types.MappingProxyType({"b": decimal.Decimal(2), "a": None}), b'{"a":null,"b":2}'),
        ({"a": None, "b": decimal.Decimal("1E400")}, b'{"a":null,"b":1E+400}'),
        ({decimal.Decimal("1.50"): "NaN"}, b'{"1.50":"NaN"}'),
        ({uuid.UUID(int=1): uuid.UUID(int=2)}, b'{"%032x":"%032x"}' % (1, 2)),
        ([Unknown(decimal.Decimal("1.10"), "x")], b"[1.10]"),
    ],
)
def test_encoder(value: Any, expected: bytes) -> None:
    """Numbers, UUIDs and order follow the user's encoder, even in the slow path."""
    assert encode_json(value, EXACT) == expected
    json.loads(expected)


def test_encoder_with_a_hook() -> None:
    """The hook of the encoder is called, and Decimals that it returns are written as the encoder does."""

    def hook(plain: Plain) -> decimal.Decimal:
        return decimal.Decimal(plain.value)

    encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=hook)

    assert encode_json([Plain("1.10")], encoder) == b"[1.10]"
    assert encode_json({"a": Plain("1.10"), "b": OMIT}, encoder) == b'{"a":1.10}'


@pytest.mark.parametrize("text", ["NaN", "-NaN", "sNaN", "Infinity", "-Infinity"])
def test_decimal_that_is_not_a_number(text: str) -> None:
    """A Decimal without a JSON form is refused with its path; msgspec would write invalid JSON."""
    with pytest.raises(InvalidRequestError, match=r"at \$\.a\[0\]"):
        encode_json({"a": [decimal.Decimal(text)]}, NUMBER)


def test_name_that_is_a_decimal() -> None:
    """A Decimal that names a member is in quotes, where msgspec writes it bare."""
    assert encode_json({"a": {decimal.Decimal("-1.5E+3"): 1}}, NUMBER) == b'{"a":{"-1.5E+3":1}}'
    assert encode_json({"a": "at,12:30"}, NUMBER) == b'{"a":"at,12:30"}'


def test_extra_body_by_the_encoder() -> None:
    """Merged members are encoded, and sorted, by the encoder too."""
    encoded = encode_json({"b": 1, "c": 2}, EXACT, {"a": decimal.Decimal("1.10")})

    assert encoded == b'{"a":1.10,"b":1,"c":2}'


@given(plain_data)
@steady
def test_any_data_by_the_encoder(value: Any) -> None:
    """Data without Decimals and UUIDs is the same by an encoder as without."""
    assert encode_json(value, NUMBER) == encode_json(value)


async def test_encoder_of_a_client() -> None:
    """A client and its views encode by the encoder that they were given."""
    transport = FakeTransport(default=respond(204))
    client = AsyncAPIClient("https://api.example.com", transport=transport, encoder=EXACT)
    price = decimal.Decimal("1.10")
    await client.post("/", None, json={"price": price})
    await client.with_options(encoder=None).post("/", None, json={"price": price})
    await client.with_options(encoder=None, enc_hook=lambda _: price).post("/", None, json=[Plain()])
    await client.post("/", None, extra_body={"price": price})
    await client.close()

    assert transport.bodies == [b'{"price":1.10}', b'{"price":"1.10"}', b'["1.10"]', b'{"price":1.10}']
    assert Body.from_json([price], encoder=EXACT).content == b"[1.10]"


def test_encoder_beside_a_hook() -> None:
    """A hook and an encoder exclude each other, even in a view: the encoder has its own hook."""
    with pytest.raises(TypeError, match=r"both given: pass msgspec.json.Encoder\(enc_hook="):
        AsyncAPIClient("https://api.example.com", encoder=EXACT, enc_hook=repr)
    client = AsyncAPIClient("https://api.example.com", enc_hook=repr)
    with pytest.raises(TypeError, match="both given"):
        client.with_options(encoder=EXACT)
    with pytest.raises(TypeError, match="both given"):
        Body.from_json(1, enc_hook=repr, encoder=EXACT)


@pytest.mark.parametrize("encoder", [json.JSONEncoder(), msgspec.msgpack.Encoder(), repr])
def test_encoder_of_another_type(encoder: Any) -> None:
    """Any other encoder is refused when it is given."""
    with pytest.raises(TypeError, match=r"encoder must be a msgspec.json.Encoder, not \w+"):
        AsyncAPIClient("https://api.example.com", encoder=encoder)


# Bytes


@pytest.mark.parametrize("value", [b"{}", bytearray(b"{}"), memoryview(b"{}")])
@pytest.mark.parametrize("extra_body", [None, {"a": 1}])
def test_bytes_are_not_json(value: Any, extra_body: dict[str, int] | None) -> None:
    """Bytes, which were encoded already, are refused; the message points to content."""
    with pytest.raises(TypeError, match=r"json must not be \w+; use content= for encoded data"):
        encode_json(value, None, extra_body)


def test_bytes_in_json() -> None:
    """Nested bytes are base64, as in msgspec."""
    assert encode_json({"a": b"x"}) == b'{"a":"eA=="}'
