"""Query strings and forms: how every kind of value is written, and which values are refused."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings
from multidict import MultiDict
from yarl import URL

from aioapiclient._body.body import Body
from aioapiclient._query import (
    QueryStyle,
    append_query,
    encode_form,
    encode_pairs,
    flatten,
    merge_params,
)
from aioapiclient._types import NOT_GIVEN, OMIT
from aioapiclient._url.base import BaseURL
from aioapiclient.errors import InvalidRequestError

BASE = BaseURL("https://h/v1")
CASES = json.loads((Path(__file__).parent / "cases" / "query_string.json").read_text("utf-8"))

# Not random, so that a passing run passes again; no database, so that no file is left behind.
PROPERTY = settings(derandomize=True, database=None, deadline=None, max_examples=150)

COLORS = ["blue", "black", "brown"]


class Color(Enum):
    RED = "red"
    NONE = None


class Size(IntEnum):
    BIG = 3


class Word(StrEnum):
    ONE = "one"


class Mixed(str, Enum):  # noqa: UP042, older code writes them so
    A = "a"


class Filter(msgspec.Struct, rename="camel"):
    first_name: str
    max_size: int | None = None
    unset: int | msgspec.UnsetType = msgspec.UNSET


class Tagged(msgspec.Struct, tag="cat", tag_field="kind", omit_defaults=True):
    name: str = "Tom"
    age: int = 3


@dataclasses.dataclass
class Point:
    x: int
    y: int | None = None


def query(values: Any, style: QueryStyle | None = None) -> str:
    """The query string of *values*."""
    return encode_pairs(flatten(values, style or QueryStyle()))


def pairs(*names_and_values: str) -> list[tuple[str, str]]:
    """The expected result of `flatten`, written ``name=value``."""
    return [(item.partition("=")[0], item.partition("=")[2]) for item in names_and_values]


# --- vectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES["openai"]["cases"], ids=lambda case: case["out"] or str(case["in"]))
def test_vectors_of_other_sdks(case: dict[str, Any]) -> None:
    """The query strings of the OpenAI and Anthropic SDKs are the same."""
    style = QueryStyle(arrays=case.get("array", "repeat"), nesting=case.get("nested", "brackets"))
    assert unquote(query(case["in"], style)) == case["out"]


# The other rows of that table are for paths (matrix, label, simple), for delimiters that no style here has
# (space, pipe), or write an object without its name.
OPENAPI = {
    ("form", False): QueryStyle(arrays="comma"),
    ("form", True): QueryStyle(arrays="repeat"),
}


@pytest.mark.parametrize(
    "row", [row for row in CASES["openapi_styles"]["cases"] if (row[0], row[1]) in OPENAPI]
)
def test_openapi_form_style(row: list[Any]) -> None:
    """The form styles of OpenAPI are `comma` and `repeat`."""
    style, explode, expected = row
    chosen = OPENAPI[style, explode]
    assert query({"color": ""}, chosen) == expected["empty"]
    assert query({"color": "blue"}, chosen) == expected["string"]
    assert query({"color": COLORS}, chosen) == expected["array"]


def test_openapi_deep_object() -> None:
    """OpenAPI's deepObject is the default nesting, its brackets escaped as in its own examples."""
    row = next(row for row in CASES["openapi_styles"]["cases"] if row[0] == "deepObject")
    assert query({"color": {"R": 100, "G": 200, "B": 150}}) == row[2]["object"]


# --- edge cases


def test_param_overrides_default() -> None:
    """A parameter of the call overrides the client's default; the other defaults are kept."""
    assert merge_params({"a": 1, "b": 2}, {"b": 3}) == {"a": 1, "b": 3}


def test_empty_nested_object() -> None:
    """An empty object adds nothing, however deeply nested."""
    assert query({"a": {"b": {"c": {}}}}) == ""


def test_bool() -> None:
    """True and False are written in lower case."""
    assert query({"a": True, "b": False}) == "a=true&b=false"


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ("repeat", pairs("k=1", "k=2")),
        ("comma", pairs("k=1,2")),
        ("brackets", pairs("k[]=1", "k[]=2")),
        ("indices", pairs("k[0]=1", "k[1]=2")),
    ],
)
def test_none_in_array(arrays: Any, expected: list[tuple[str, str]]) -> None:
    """None, OMIT and NOT_GIVEN are dropped from an array in every style, and take no index."""
    assert flatten({"k": [None, 1, OMIT, 2, NOT_GIVEN]}, QueryStyle(arrays=arrays)) == expected


def test_comma_bools_in_object() -> None:
    """A comma array of bools inside an object follows both rules."""
    values = {"a": {"b": [True, False, None, True]}}
    assert flatten(values, QueryStyle(arrays="comma")) == pairs("a[b]=true,false,true")


def test_mixed_array() -> None:
    """A repeated array may mix scalars and objects; the objects recurse under the same name."""
    assert flatten({"in": ["foo", {"b": {"c": ["d", "e"]}}]}) == pairs("in=foo", "in[b][c]=d", "in[b][c]=e")


@pytest.mark.parametrize("field", ["arrays", "nesting"])
def test_unknown_style(field: str) -> None:
    """An unknown style is refused when it is created, with the choices."""
    options: dict[str, Any] = {field: "semicolons"}
    with pytest.raises(InvalidRequestError, match=r"repeat, comma, brackets, indices|brackets, dots"):
        QueryStyle(**options)


# --- scalars ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        (0, "0"),
        (-5, "-5"),
        (1.5, "1.5"),
        (Decimal("1.10"), "1.10"),
        (date(2024, 2, 29), "2024-02-29"),
        (datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC), "2024-02-29T01:02:03+00:00"),
        (time(1, 2), "01:02:00"),
        (timedelta(days=1, seconds=3), "P1DT3S"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Color.RED, "red"),
        (Size.BIG, "3"),
        (Word.ONE, "one"),
        (Mixed.A, "a"),
        (URL("https://h/a?b=c"), "https://h/a?b=c"),
    ],
    ids=str,
)
def test_scalars(value: object, text: str) -> None:
    """Every scalar has one spelling: dates in ISO 8601, an Enum as its value, an empty string as itself."""
    assert flatten({"k": value}) == [("k", text)]


NOTHING: list[object] = [None, OMIT, NOT_GIVEN, {}, [], (), set[str](), [None], {"a": None}]


@pytest.mark.parametrize("value", NOTHING, ids=repr)
@pytest.mark.parametrize("arrays", ["repeat", "comma", "brackets", "indices"])
def test_nothing(value: object, arrays: Any) -> None:
    """None, the sentinels and empty collections add no pair in any style."""
    assert flatten({"k": value}, QueryStyle(arrays=arrays)) == []


def test_array_of_nothing() -> None:
    """An array of empty arrays and objects adds nothing either."""
    assert flatten({"k": [[], {}, {"a": []}]}) == []


def test_empty_string() -> None:
    """An empty string is sent as a name with an empty value."""
    assert query({"k": "", "l": [""]}) == "k=&l="


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), Decimal("NaN"), Decimal("-Infinity")]
)
def test_not_finite(value: object) -> None:
    """NaN and infinity are refused by name: no two servers read them alike."""
    with pytest.raises(InvalidRequestError, match="'k'"):
        flatten({"k": [value]})


@pytest.mark.parametrize("value", [b"x", bytearray(b"x"), memoryview(b"x"), [b"x"], object(), 1j, Point, len])
def test_unsendable_types(value: object) -> None:
    """Bytes, and objects that have no text, are a TypeError that names the parameter."""
    with pytest.raises(TypeError, match="'k'"):
        flatten({"k": value})


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (lambda text: str(BASE.build("/{v}", {"v": f"x{text}"})).rpartition("/x")[2], "-._~"),
        (lambda text: str(BASE.build("/{+v}", {"v": f"x{text}"})).partition("v1/x")[2], "-._~/!$&'()*+,;=:@"),
        (lambda text: str(BASE.build("/?x{+v}", {"v": text})).partition("?x")[2], "-._~/?!$'()*,:@"),
        (lambda text: encode_pairs([("x", text)]).removeprefix("x="), "-._~,"),
        (lambda text: encode_form({"x": text}).decode().removeprefix("x=").replace("+", "%20"), "*-._"),
    ],
    ids=["segment", "segments", "query text", "query", "form"],
)
def test_each_character_is_escaped_by_the_set_of_its_place(written: Callable[[str], str], kept: str) -> None:
    """Of all bytes, each position keeps letters, digits and its own characters; the others are escaped."""
    for character in [*map(chr, range(256)), "\u20ac", "\U0001f600"]:
        escaped = "".join(f"%{byte:02X}" for byte in character.encode())
        assert written(character) == (character if character in LETTERS + kept else escaped), repr(character)


def test_lone_surrogate() -> None:
    """A lone surrogate has no UTF-8 form and is refused, without the text in the error's context."""
    with pytest.raises(InvalidRequestError, match="surrogate") as caught:
        query({"k": "secret\ud800"})
    assert caught.value.__context__ is None


# --- containers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array", [(1, 2), deque([1, 2]), range(1, 3), iter([1, 2]), {1: 0, 2: 0}.keys(), (n for n in (1, 2))]
)
def test_collections_are_arrays(array: Iterable[int]) -> None:
    """Tuples, views and one-shot iterators are arrays, like lists."""
    assert flatten({"k": array}) == pairs("k=1", "k=2")


def test_sets_are_arrays() -> None:
    """Sets are arrays of no particular order."""
    assert sorted(flatten({"k": {1, 2}, "l": frozenset({3})})) == pairs("k=1", "k=2", "l=3")


def test_iterable_object_is_not_an_array() -> None:
    """An object that can merely be iterated over is not treated as an array."""

    class Model:
        def __iter__(self) -> Iterator[tuple[str, int]]:
            yield "a", 1

    with pytest.raises(TypeError, match="Model"):
        flatten({"k": Model()})


def test_structs_and_dataclasses_are_objects() -> None:
    """Structs are objects with their renamed fields, without unset ones; dataclasses with their own."""
    values = {"f": Filter("Ann"), "p": Point(1), "t": [Tagged(age=4)]}
    assert flatten(values) == pairs("f[firstName]=Ann", "p[x]=1", "t[kind]=cat", "t[age]=4")


def test_struct_as_whole() -> None:
    """The parameters as a whole may be a Struct or a dataclass."""
    whole: Any = Filter("Ann", 3)
    assert flatten(whole) == pairs("firstName=Ann", "maxSize=3")
    whole = Point(1, 2)
    assert flatten(whole) == pairs("x=1", "y=2")


def test_pairs_keep_order_and_repeats() -> None:
    """Pairs, and a MultiDict, may repeat a name; the order is kept."""
    given_pairs = [("a", 1), ("b", 2), ("a", 3)]
    assert flatten(given_pairs) == flatten(MultiDict(given_pairs)) == pairs("a=1", "b=2", "a=3")


@pytest.mark.parametrize("values", ["a=1", b"a=1", 5, ["ab"], [("a", 1, 2)], [1]])
def test_not_parameters(values: Any) -> None:
    """A value that is neither a mapping nor pairs is a TypeError, even a complete query string."""
    with pytest.raises(TypeError, match=r"mapping or pairs|must be pairs"):
        flatten(values)


def test_integer_names() -> None:
    """A name may be an int, or an Enum of one that may; it is written in digits."""
    values: Any = {1: "a", "k": {2: "b"}, Word.ONE: "c", Mixed.A: "d", Size.BIG: "e"}
    assert flatten(values) == pairs("1=a", "k[2]=b", "one=c", "a=d", "3=e")


@pytest.mark.parametrize("name", [None, True, 1.5, b"k", ("a",)])
def test_other_names(name: Any) -> None:
    """Any other name is a TypeError, at every depth."""
    with pytest.raises(TypeError, match="name"):
        flatten({name: 1})
    with pytest.raises(TypeError, match="name"):
        flatten({"k": {name: 1}})


def test_cycles() -> None:
    """A value that contains itself is refused, not followed."""
    values: dict[str, Any] = {"a": []}
    values["a"].append(values)
    with pytest.raises(InvalidRequestError, match="contains itself"):
        flatten({"k": values})


def test_a_repeated_value_is_not_a_cycle() -> None:
    """The same object may occur in two positions."""
    shared = [1]
    assert flatten({"a": shared, "b": [shared, shared]}) == pairs("a=1", "b=1", "b=1")


def test_depth_is_bounded() -> None:
    """Nesting that no API has is refused before Python's recursion limit is."""
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InvalidRequestError, match="100 deep"):
        flatten({"k": deep})


def test_comma_array_of_objects() -> None:
    """A comma array can hold scalars only; any other value is refused by name."""
    with pytest.raises(InvalidRequestError, match=r"'k'.*scalar, not dict"):
        flatten({"k": [1, {"a": 2}]}, QueryStyle(arrays="comma"))


def test_nested_arrays_and_objects_of_each_style() -> None:
    """Arrays of objects, and arrays of arrays, recurse in every other style."""
    values = {"k": [{"a": 1}, [2]]}
    assert flatten(values, QueryStyle(arrays="indices")) == pairs("k[0][a]=1", "k[1][0]=2")
    assert flatten(values, QueryStyle(arrays="brackets")) == pairs("k[][a]=1", "k[][]=2")
    assert flatten(values, QueryStyle(nesting="dots")) == pairs("k.a=1", "k=2")


# --- layers -------------------------------------------------------------------------------------


def test_omit_removes_a_default() -> None:
    """OMIT removes a default, and the marker itself is not in the result."""
    assert merge_params({"a": 1, "b": 2}, {"a": OMIT}) == {"b": 2}


def test_omit_can_be_kept_for_the_next_layer() -> None:
    """A layer to be merged over another one keeps its OMIT if requested."""
    assert merge_params({"a": 1}, {"b": OMIT}, keep_omitted=True) == {"a": 1, "b": OMIT}


def test_not_given_leaves_the_default() -> None:
    """NOT_GIVEN leaves the default; None replaces it, and is dropped when written."""
    merged = merge_params({"a": 1, "b": 2}, {"a": NOT_GIVEN, "b": None})
    assert merged == {"a": 1, "b": None}
    assert query(merged) == "a=1"


def test_names_are_case_sensitive() -> None:
    """Names that differ in case are two names."""
    assert merge_params({"a": 1}, {"A": 2}) == {"a": 1, "A": 2}


def test_merge_keeps_repeated_names() -> None:
    """A repeated name replaces all of the default's values, and stays repeated."""
    merged = merge_params([("a", 1), ("a", 2), ("b", 0)], [("a", 3), ("a", 4)])
    assert merged == [("b", 0), ("a", 3), ("a", 4)]


def test_merge_with_nothing() -> None:
    """A missing layer is an empty one."""
    assert merge_params(None, {"a": 1}) == {"a": 1}
    assert merge_params({"a": 1}, None) == {"a": 1}
    assert merge_params(None, None) == {}


# --- encoding -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("a b", "a%20b"),
        ("a+b", "a%2Bb"),
        ("a,b", "a,b"),
        ("~-._", "~-._"),
        ("a/b?c", "a%2Fb%3Fc"),
        ("&=#%", "%26%3D%23%25"),
        ("é", "%C3%A9"),
        ("\r\n\x00", "%0D%0A%00"),
        ("𝄞", "%F0%9D%84%9E"),
    ],
)
def test_encoding(text: str, encoded: str) -> None:
    """Names and values are percent-encoded UTF-8; a space is %20 and a plus is %2B."""
    assert encode_pairs([(text, text)]) == f"{encoded}={encoded}"


def test_brackets_are_escaped() -> None:
    """Brackets in names are sent in their escaped form, which every server decodes."""
    assert query({"a": {"b": 1}}) == "a%5Bb%5D=1"


def test_append_query() -> None:
    """Appending keeps a query byte for byte."""
    assert append_query("a=%7e", "b=1") == "a=%7e&b=1"
    assert append_query("a&", "b=1") == "a&b=1"
    assert append_query("", "b=1") == "b=1"
    assert append_query("a", "") == "a"


def test_form() -> None:
    """A form follows the same style, with a plus for a space and the urlencoded set of WHATWG."""
    values = {"a": [1, None, "x y"], "b": {"c": "~*+é,"}, "d": ""}
    assert encode_form(values) == b"a=1&a=x+y&b%5Bc%5D=%7E*%2B%C3%A9%2C&d="
    assert encode_form(values, QueryStyle("comma", "dots")) == b"a=1%2Cx+y&b.c=%7E*%2B%C3%A9%2C&d="


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@PROPERTY
@given(st.lists(st.tuples(TEXT, TEXT)))
def test_encoding_round_trips(given_pairs: list[tuple[str, str]]) -> None:
    """Whatever is encoded as a query or a form decodes to the same pairs, in ASCII without controls."""
    encoded = encode_pairs(flatten(given_pairs))
    form = encode_form(given_pairs).decode()
    assert parse_qsl(encoded, keep_blank_values=True, strict_parsing=bool(encoded)) == given_pairs
    assert parse_qsl(form, keep_blank_values=True, strict_parsing=bool(form)) == given_pairs
    assert (encoded + form).isascii()
    assert (encoded + form).isprintable()


@PROPERTY
@given(TEXT)
def test_encoding_agrees_with_the_standard_library(text: str) -> None:
    """The encoder is `urllib.parse.quote`, only faster."""
    assert encode_pairs([("k", text)]) == "k=" + quote(text, safe=",")


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXT, children, max_size=3),
    max_leaves=8,
)


@PROPERTY
@given(st.dictionaries(TEXT, NESTED), st.sampled_from(["repeat", "brackets", "indices"]))
def test_flatten_loses_no_scalar(values: dict[str, Any], arrays: Any) -> None:
    """Every scalar of any nested value occurs once, in order."""

    def scalars(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for item in value.values() for text in scalars(item)]  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, list):
            return [text for item in value for text in scalars(item)]  # pyright: ignore[reportUnknownVariableType]
        if value is None:
            return []
        return [str(value).lower() if isinstance(value, bool) else str(value)]

    flat = flatten(values, QueryStyle(arrays=arrays))
    assert [text for _, text in flat] == scalars(values)
    assert parse_qsl(encode_pairs(flat), keep_blank_values=True) == flat


# Numbers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1e-8, "0.00000001"),
        (-1.5e-7, "-0.00000015"),
        (1e16, "10000000000000000"),
        (1.5e22, "15000000000000000000000"),
        (5e-324, f"0.{'0' * 323}5"),
        (0.1, "0.1"),
        (-0.0, "-0.0"),
        (Decimal("1E+2"), "100"),
        (Decimal("1E-8"), "0.00000001"),
        (Decimal("0E-10"), "0.0000000000"),
        (Decimal("1.10"), "1.10"),
        (Decimal("1E+1000"), f"1{'0' * 1000}"),
    ],
)
def test_numbers_have_no_exponent(value: float | Decimal, expected: str) -> None:
    """A number in a query, a form, a multipart field or a path is written with all of its digits."""
    base = BaseURL("https://api.example.com")
    multipart = Body.from_multipart({}, {"n": value}).content
    commas = flatten({"n": [value, value]}, QueryStyle(arrays="comma"))

    assert flatten({"n": value, "o": {"p": [value]}}) == [("n", expected), ("o[p]", expected)]
    assert commas == [("n", f"{expected},{expected}")]
    assert encode_form({"n": value}) == f"n={expected}".encode()
    assert multipart is not None
    assert f"\r\n\r\n{expected}\r\n".encode() in multipart
    assert base.build("/{n}", {"n": value}).path == f"/{expected}"
    assert base.build("/", {}, {"n": value}).raw_query_string == f"n={expected}"


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.floats(allow_nan=False, allow_infinity=False))
@PROPERTY
def test_numbers_stay_what_they_are(value: float | Decimal) -> None:
    """The written number is equal, and has no exponent."""
    if isinstance(value, Decimal) and abs(value.adjusted()) > 900:
        value = value.scaleb(-value.adjusted())
    [(_, text)] = flatten({"n": value})

    assert "e" not in text.lower()
    assert type(value)(text) == value


@pytest.mark.parametrize("text", ["1E+1001", "1E-1001", "-1E+999999", "1E-999999", "0E-5000", "0E+5000"])
def test_numbers_of_too_many_digits(text: str) -> None:
    """A Decimal whose digits would fill a URL is refused, and takes no memory."""
    with pytest.raises(InvalidRequestError, match="over 1000 digits"):
        flatten({"n": Decimal(text)})
