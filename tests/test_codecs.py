"""What bodies decode to, how a body that does not fit is reported, and what values encode to."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import importlib.util
import io
import json
import math
import pickle
import sys
import types
import uuid
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aioapiclient import _codecs
from aioapiclient._codecs import (
    DecodeError,
    ProblemDetails,
    charset_of,
    check_cast_to,
    check_error_types,
    decode_body,
    decode_error_body,
    decoder_for,
    encode_json,
    error_type_for,
    media_type,
)
from aioapiclient._open import Unknown
from aioapiclient._types import NOT_GIVEN, OMIT
from aioapiclient.errors import InvalidRequestError

JSON = "application/json"
MSGPACK = "application/msgpack"
SECRET = "s3cr3t"
T = TypeVar("T")

steady = settings(suppress_health_check=[HealthCheck.too_slow])
has_yaml = pytest.mark.skipif(importlib.util.find_spec("yaml") is None, reason="PyYAML is not installed")


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


class Page(msgspec.Struct, Generic[T]):
    data: list[T]


class Point(NamedTuple):
    x: int
    y: int


class Movie(TypedDict):
    title: str


@dataclasses.dataclass
class Song:
    length: float


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    id: int


class Picky(msgspec.Struct):
    name: str

    def __post_init__(self) -> None:
        if self.name == SECRET:
            raise ValueError(f"{self.name} is not allowed")


class Renamed(msgspec.Struct, rename="camel", omit_defaults=True):
    first_name: str
    last_name: str | None = "none"


class Plain:
    """A class msgspec knows nothing about."""

    def __init__(self, value: Any = None) -> None:
        self.value = value


class Unresolved(msgspec.Struct):
    other: Nowhere  # type: ignore[name-defined]  # noqa: F821


UserId = NewType("UserId", int)


def short(value: object) -> str | None:
    """A name for a parameter that may be too long to print."""
    if isinstance(value, int) and abs(value) > 2**100:
        return "huge"
    return repr(value)[:30] if isinstance(value, (bytes, str)) else None


def failure(body: bytes, cast_to: Any, content_type: str | None = JSON, **options: Any) -> DecodeError:
    """The error that decoding raises."""
    with pytest.raises(DecodeError) as caught:
        decode_body(body, cast_to, content_type, **options)
    return caught.value


def path_of(body: bytes, cast_to: Any) -> str:
    """Where decoding fails."""
    return failure(body, cast_to).path


# --- Content types ---


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, ""),
        ("", ""),
        ("application/json", "application/json"),
        ("Application/JSON; Charset=UTF-8", "application/json"),
        ("  text/html ;x=y", "text/html"),
        ("application/json, text/html", "application/json"),
        (";", ""),
    ],
)
def test_media_type(header: str | None, expected: str) -> None:
    """The media type is what stands before the first parameter, in lower case."""
    assert media_type(header) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, "utf-8"),
        ("text/plain", "utf-8"),
        ("text/plain; charset=utf-8", "utf_8"),
        ("text/plain; charset=UTF8", "utf8"),
        ('text/plain; format=flowed; Charset="ISO-8859-1"', "iso_8859_1"),
        ("text/plain; charset=windows-1252", "windows_1252"),
        ("text/plain; charset=koi8-u", "koi8_u"),
        ("text/plain; charset=utf-16", "utf_16"),
        ("text/plain; charset=bogus", "utf-8"),
        ("text/plain; charset=", "utf-8"),
        ("text/plain; charset=rot13", "utf-8"),
        ("text/plain; charset=base64", "utf-8"),
        ("text/plain; charset=unicode_escape", "utf-8"),
        ("text/plain; charset=undefined", "utf-8"),
        ("text/plain; charset=a\x00b", "utf-8"),
        ("application/json; charset=utf-16", "utf-8"),
    ],
)
def test_charset(header: str | None, expected: str) -> None:
    """A charset is a codec for text that Python knows; UTF-8 stands in for others, and always for JSON."""
    assert charset_of(header) == expected
    assert b"abc!".decode(charset_of(header))


def test_unknown_charsets_are_not_remembered() -> None:
    """A server that names a new charset in every response does not fill Python's cache of codecs."""
    known = len(sys.modules)
    for number in range(50):
        charset_of(f"text/plain; charset=zip{number}")
    assert charset_of("text/plain; charset=antigravity") == "utf-8"
    assert len(sys.modules) == known


def test_a_long_content_type_is_cut() -> None:
    """A content type of any length costs a bounded amount of memory, and its media type still counts."""
    header = "application/json;" + "x" * 100_000
    assert decode_body(b'{"id":1}', User, header) == User(1)
    assert media_type(header) == "application/json"


# --- What picks the codec ---


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "APPLICATION/JSON; charset=latin-1",
        "text/json",
        "application/vnd.api+json",
        "application/problem+json;v=1",
        "application/text",
        "text/plain",
        "application/octet-stream",
        "image/png",
        "",
        None,
    ],
)
def test_json_whatever_the_content_type(content_type: str | None) -> None:
    """JSON is read as a structured type under any content type that names no other codec (anchor 61)."""
    assert decode_body(b'{"id":1,"name":"\xc3\xa9"}', User, content_type) == User(1, "é")


@pytest.mark.parametrize(
    "content_type",
    ["application/msgpack", "application/x-msgpack", "application/vnd.msgpack", "application/vnd.x+msgpack"],
)
def test_msgpack(content_type: str) -> None:
    """MessagePack is picked by any of its names."""
    assert decode_body(msgspec.msgpack.encode({"id": 1}), User, content_type) == User(1)
    assert decode_body(msgspec.msgpack.encode({"id": 1}), Any, content_type) == {"id": 1}


def test_toml() -> None:
    """TOML decodes to types, dates included."""
    body = b"id = 1\nname = 'x'"
    assert decode_body(body, User, "application/toml") == User(1, "x")
    assert decode_body(b"d = 1979-05-27", dict[str, datetime.date], "application/toml") == {
        "d": datetime.date(1979, 5, 27)
    }
    assert failure(b"id =\nname = 's3cr3t'", User, "application/toml").reason.startswith("not valid TOML")
    assert failure(b"id = ", User, "application/toml").reason.startswith("not valid TOML")


@has_yaml
@pytest.mark.parametrize("content_type", ["application/yaml", "application/x-yaml", "text/yaml", "a/b+yaml"])
def test_yaml(content_type: str) -> None:
    """YAML decodes where PyYAML is installed."""
    assert decode_body(b"id: 1\nname: x", User, content_type) == User(1, "x")
    assert decode_body(b"a: [1, {b: 2020-01-01}]", Any, content_type) == {
        "a": [1, {"b": datetime.date(2020, 1, 1)}]
    }


@has_yaml
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"a: b: s3cr3t", "not valid YAML (line 1, column 5)"),
        (b"!!timestamp s3cr3t", "not valid YAML"),
        (b"!!bool s3cr3t", "not valid YAML"),
        (b"!!int ''", "not valid YAML"),
        (b"d: 2020-99-99", "not valid YAML"),
        (b"- &a [*a]", "YAML aliases are refused"),
        (b"a: &a [x]\nb: [*a, *a]", "YAML aliases are refused"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deep"),
        (b"- " * 100_000, "nested too deep"),
    ],
    ids=short,
)
def test_bad_yaml(body: bytes, reason: str) -> None:
    """YAML that is broken, deep enough to crash its parser, or a bomb of aliases is a DecodeError."""
    error = failure(body, Any, "text/yaml")
    assert error.reason == reason
    assert SECRET not in str(error)


def test_yaml_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """YAML without PyYAML is a DecodeError that names the package."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert "PyYAML" in failure(b"id: 1", User, "application/yaml").reason


@pytest.mark.parametrize("content_type", ["text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml"])
@pytest.mark.parametrize("cast_to", [User, User | None, list[int], dict, int, bool])
def test_html_is_never_a_value(content_type: str, cast_to: Any) -> None:
    """An HTML page with status 200 fails, and says that it was HTML (fault 74, W5)."""
    assert "HTML" in failure(b"<html>login</html>", cast_to, content_type).reason


# --- Types ---


@pytest.mark.parametrize(
    ("cast_to", "body", "expected"),
    [
        (User, b'{"id":1,"new":[2]}', User(1)),
        (list[User], b'[{"id":1}]', [User(1)]),
        (dict[str, User], b'{"a":{"id":1}}', {"a": User(1)}),
        (dict, b'{"a":1}', {"a": 1}),
        (list, b"[1]", [1]),
        (tuple, b"[1]", (1,)),
        (dict[int, str], b'{"1":"a"}', {1: "a"}),
        (Song, b'{"length":1.5}', Song(1.5)),
        (Movie, b'{"title":"M"}', {"title": "M"}),
        (Point, b"[1,2]", Point(1, 2)),
        (Page[User], b'{"data":[{"id":1}]}', Page([User(1)])),
        (UserId, b"7", 7),
        (Literal["a", 1], b'"a"', "a"),
        (Color, b'"red"', Color.RED),
        (Annotated[int, msgspec.Meta(ge=0)], b"3", 3),
        (Annotated[User, "a note"], b'{"id":1}', User(1)),
        (Annotated[list[int], ["not", "hashable"]], b"[1]", [1]),
        (User | None, b"null", None),
        (Optional[User], b'{"id":1}', User(1)),  # noqa: UP045
        (Union[int, str], b'"x"', "x"),  # noqa: UP007
        (int | str, b"5", 5),
        (Cat | Dog, b'{"kind":"dog"}', Dog()),
        (Any, b'{"a":[1,null]}', {"a": [1, None]}),
        (object, b"[1]", [1]),
        (uuid.UUID, b'"00000000-0000-0000-0000-000000000001"', uuid.UUID(int=1)),
        (decimal.Decimal, b"1.10", decimal.Decimal("1.10")),
        (datetime.date, b'"2020-01-01"', datetime.date(2020, 1, 1)),
        (bool, b"true", True),
        (float, b"1", 1.0),
        (bytes, b'{"a":1}', b'{"a":1}'),
        (str, b'"text as it came"', '"text as it came"'),
        (None, b'{"a":1}', None),
        (type(None), b"anything", None),
    ],
)
def test_types(cast_to: Any, body: bytes, expected: Any) -> None:
    """Any type that msgspec decodes is a cast_to; bytes, str and None are about the body itself (W44)."""
    check_cast_to(cast_to)
    value = decode_body(body, cast_to, JSON)
    assert value == expected
    assert type(value) is type(expected)


def test_attrs() -> None:
    """An attrs class is a cast_to."""
    attrs = pytest.importorskip("attrs")
    made = attrs.make_class("Made", {"x": attrs.field(type=int)})
    assert decode_body(b'{"x":1}', made, JSON) == made(1)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type statements are new in Python 3.12")
def test_type_alias_statement() -> None:
    """A ``type`` alias, a generic one too, is a cast_to (anchor 72)."""
    names: dict[str, Any] = {"User": User}
    exec("type Users = list[User]\ntype Either[T] = T | None\ntype Text = str", names)
    assert decode_body(b'[{"id":1}]', names["Users"], JSON) == [User(1)]
    assert decode_body(b"", names["Either"][User], JSON) is None
    assert decode_body(b"plain", names["Text"], "text/plain") == "plain"


def test_a_field_may_be_named_cls() -> None:
    """A field may have any name, `cls` and `self` too (anchor 72)."""
    odd = msgspec.defstruct("Odd", [("cls", str), ("self_", str, msgspec.field(name="self"))])
    value = decode_body(b'{"cls":"a","self":"b"}', odd, JSON)
    assert (value.cls, value.self_) == ("a", "b")


def test_values_carry_only_their_fields() -> None:
    """Unknown members are dropped, and nothing of the response is put onto the value (anchor 72, 73)."""
    value = decode_body(b'{"id":1,"extra":2}', User, JSON)
    assert msgspec.to_builtins(value) == {"id": 1, "name": ""}


def test_union_by_value_types() -> None:
    """A union is told apart by the types of the values, not by their order (anchor 64)."""
    for cast_to in (int | str | list[User] | User, User | list[User] | str | int):
        assert decode_body(b'[{"id":1}]', cast_to, JSON) == [User(1)]
        assert decode_body(b'"1"', cast_to, JSON) == "1"
        assert decode_body(b"1", cast_to, JSON) == 1


def test_tagged_union() -> None:
    """A tag under another name, nested unions and overlapping fields are told apart (anchor 71)."""
    body = b'{"kind":"dog","owner":{"kind":"cat","lives":9}}'
    assert decode_body(body, Cat | Dog, JSON) == Dog(owner=Cat(9))


def test_known_tag_with_bad_content() -> None:
    """A known tag with a wrong field, or an unknown tag, is an error and no half-built value (anchor 70)."""
    assert path_of(b'{"kind":"cat","lives":"x"}', Cat | Dog) == "$.lives"
    error = failure(b'{"kind":"s3cr3t"}', Cat | Dog)
    assert (error.reason, error.path) == ("Unknown tag", "$.kind")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"inner":true}', "$.inner"),
        (b'{"inner":{"price":"1"}}', "$.inner.price"),
        (b'{"inner":[1]}', "$.inner"),
        (b'{"inner":{"price":1},"items":"x"}', "$.items"),
        (b'{"inner":{"price":1},"items":[{"price":1},{"price":"x"}]}', "$.items[1].price"),
        (b'{"inner":{"price":1},"by_name":{"s3cr3t":{"price":"x"}}}', "$.by_name[...].price"),
        (b'{"inner":{"price":1},"maybe":7}', "$.maybe"),
        (b"{}", "$"),
        (b"[]", "$"),
    ],
)
def test_mismatches_fail_at_any_depth(body: bytes, path: str) -> None:
    """A value of the wrong type fails with its path at every level; none passes through (anchor 69, W42)."""
    error = failure(body, Outer)
    assert error.path == path
    assert SECRET not in repr(error)


def test_reason_names_both_types() -> None:
    """The reason names the expected and the actual type, and the text adds the path."""
    error = failure(b'[{"id":"x"}]', list[User])
    assert error.reason == "Expected `int`, got `str`"
    assert str(error) == "Expected `int`, got `str` (at $[0].id)"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_big_integers_and_floats() -> None:
    """2**53+1 is exact as int and Decimal, and the nearest float where a float is asked for (anchor 68)."""
    body = str(2**53 + 1).encode()
    assert decode_body(body, int, JSON) == 2**53 + 1
    assert decode_body(body, decimal.Decimal, JSON) == 2**53 + 1
    assert decode_body(body, Any, JSON) == 2**53 + 1
    assert decode_body(body, float, JSON) == float(2**53)
    assert type(decode_body(body, float, JSON)) is float


def test_strict_and_lenient() -> None:
    """Strict refuses ``"1"`` for an int; lenient coerces it, and nothing that it cannot (anchor 62)."""
    assert failure(b'{"id":"1"}', User).path == "$.id"
    assert decode_body(b'{"id":"1"}', User, JSON, strict=False) == User(1)
    assert failure(b'{"id":"one"}', User, strict=False).path == "$.id"
    assert failure(b"{}", User, strict=False).reason == "Object missing required field `id`"
    assert failure(b"plain text", User, "text/plain", strict=False)


@pytest.mark.parametrize("cast_to", [User, User | None, User | list[User], int | str, Annotated[User, 1]])
def test_plain_text_for_a_model(cast_to: Any) -> None:
    """Plain text where a model, or a union, was asked for is an error, never a str (anchor 62, 63, 66)."""
    assert failure(b"all is well", cast_to, "text/plain").path == "$"
    assert failure(b"all is well", cast_to, JSON, strict=False).path == "$"


# --- Text, bytes, nothing ---


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"\xc3\xa9", "text/plain", "é"),
        (b"\xe9", "text/plain; charset=iso-8859-1", "é"),
        (b"\xe9\x00", "text/plain; charset=utf-16le", "é"),
        (b"\xef\xbb\xbfx", "text/plain", "x"),
        (b"\xc3\xa9", "text/plain; charset=bogus", "é"),
        (b"abc", "text/plain; charset=rot13", "abc"),
        (b"<p>", "text/html", "<p>"),
        (b'{"a":1}', "application/json; charset=utf-16", '{"a":1}'),
        (b"x", None, "x"),
        (b"", "text/plain", ""),
    ],
)
def test_text(body: bytes, content_type: str | None, expected: str) -> None:
    """``str`` is the body by its charset, without a byte order mark (fault 77)."""
    assert decode_body(body, str, content_type) == expected


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"\xff", "text/plain"), (b"\xff", "text/plain; charset=ascii"), (b"a", "text/plain; charset=utf-16")],
)
def test_invalid_text(body: bytes, content_type: str) -> None:
    """Bytes that are not text in their charset are an error, not replacement characters."""
    assert failure(body, str, content_type).reason.endswith("text")


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"a":1}', JSON, {"a": 1}),
        (b"hello", "text/plain", "hello"),
        (b"<p>", "text/html", "<p>"),
        (b"<p>", "application/xhtml+xml", "<p>"),
        (b'{"a":1}', "application/octet-stream", b'{"a":1}'),
        (b"\xff\xd8", "image/jpeg", b"\xff\xd8"),
        (b"x", None, b"x"),
        (b"", JSON, None),
        (b"", "text/plain", None),
        (b"", None, None),
    ],
)
def test_any(body: bytes, content_type: str | None, expected: Any) -> None:
    """`Any` is plain data where a codec is named, str for text, bytes for the rest, None for nothing."""
    assert decode_body(body, Any, content_type) == expected
    assert decode_body(body, Any | None, content_type) == expected


@pytest.mark.parametrize(
    ("cast_to", "expected"),
    [
        (None, None),
        (User | None, None),
        (Annotated[User | None, 1], None),
        (Literal["a", None], None),
        (Any, None),
        (bytes, b""),
        (str, ""),
        (bytes | None, None),
        (str | None, None),
        (bool | None, None),
    ],
)
@pytest.mark.parametrize("content_type", [JSON, "text/plain", MSGPACK, None])
def test_empty_body(cast_to: Any, expected: Any, content_type: str | None) -> None:
    """An empty body, of a 204 too, is None where the type admits None, and empty bytes or text (fault 76)."""
    assert decode_body(b"", cast_to, content_type) == expected


@pytest.mark.parametrize("cast_to", [User, list[User], dict, int, Literal["a"], bool, Annotated[User, 1]])
@pytest.mark.parametrize("content_type", [JSON, "text/plain", MSGPACK, None])
def test_empty_body_is_no_value(cast_to: Any, content_type: str | None) -> None:
    """An empty body is an error for a type without None, in lenient mode too (fault 75)."""
    assert failure(b"", cast_to, content_type).reason == "the body is empty"
    assert failure(b"", cast_to, content_type, strict=False).reason == "the body is empty"


def test_constraints_hold_on_text() -> None:
    """What Annotated demands of a str, bytes or number holds for a body that is one."""
    short = Annotated[str, msgspec.Meta(max_length=3)]
    assert decode_body(b"abc", short, "text/plain") == "abc"
    assert failure(b"abcd", short, "text/plain").reason == "Expected `str` of length <= 3"
    assert failure(b"", Annotated[bytes, msgspec.Meta(min_length=1)], None)
    assert failure(b"5", Annotated[int, msgspec.Meta(le=4)], "text/plain").reason == "Expected `int` <= 4"
    assert decode_body(b"x", str | None, "text/plain") == "x"


@pytest.mark.parametrize(
    ("body", "cast_to", "expected"),
    [
        (b"true", bool, True),
        (b"FalSe", bool, False),
        (b" TRUE\r\n", bool, True),
        (b"true", bool | None, True),
        (b"42\n", int, 42),
        (b"-1.5", float, -1.5),
        (b"42", float, 42.0),
    ],
)
def test_scalars_from_text(body: bytes, cast_to: Any, expected: Any) -> None:
    """A bool in any case, an int and a float are read from plain text (anchor 65)."""
    value = decode_body(body, cast_to, "text/plain; charset=utf-8")
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("body", "cast_to"),
    [
        (b"1", bool),
        (b"yes", bool),
        (b"", bool),
        (b"4 2", int),
        (b"1.5", int),
        (b"\xff", int),
        (b"9" * 5000, int),
        (b"nan", float),
        (b"-inf", float),
        (b"1e999", float),
    ],
    ids=short,
)
def test_text_that_is_no_scalar(body: bytes, cast_to: Any) -> None:
    """Text that is not exactly a bool or a finite number is an error."""
    assert failure(body, cast_to, "text/plain").path == "$"


# --- Broken bodies ---


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"id":', "Input data was truncated"),
        (b"{broken}", "JSON is malformed: object keys must be strings (byte 1)"),
        (b"[1]]", "JSON is malformed: trailing characters (byte 4)"),
        (b"NaN", "JSON is malformed: invalid character (byte 0)"),
        (b"[Infinity]", "JSON is malformed: invalid character (byte 1)"),
        (b"[1e999]", "Number out of range"),
        (b'["\xff"]', "not valid UTF-8"),
        (b"\xff\xfe[\x00]\x00", "JSON is malformed: invalid character (byte 0)"),
        (b"[" * 100_000, "nested too deep"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b" ", "Input data was truncated"),
    ],
    ids=short,
)
def test_broken_json(body: bytes, reason: str, strict: bool) -> None:
    """Broken JSON is a DecodeError in both modes, with the place (W4; faults 73, 78, 80, 82, 84)."""
    assert failure(body, Any, JSON, strict=strict).reason == reason


@pytest.mark.parametrize("cast_to", [int, float, Any, list[int], decimal.Decimal])
def test_too_many_digits(cast_to: Any) -> None:
    """An integer of 5000 digits is a DecodeError, or a Decimal, and no ValueError (fault 81)."""
    body = b"9" * 5000
    if cast_to is decimal.Decimal:
        assert decode_body(body, cast_to, JSON) == 10**5000 - 1
    else:
        assert failure(body, cast_to, JSON)


def test_a_failed_decoder_recovers() -> None:
    """After bodies nested too deep the same decoder still decodes."""
    decode = decoder_for(list[Any], JSON)
    for _ in range(3):
        with pytest.raises(DecodeError):
            decode(b"[" * 100_000)
        assert decode(b"[[1]]") == [[1]]


def test_byte_order_mark() -> None:
    """A byte order mark before JSON is skipped, one (RFC 8259 §8.1; fault 79)."""
    mark = b"\xef\xbb\xbf"
    assert decode_body(mark + b'{"id":1}', User, JSON) == User(1)
    assert decode_body(mark + b"[1]", Any, JSON) == [1]
    assert decode_body(mark, User | None, JSON) is None
    assert failure(mark, User).reason == "the body is empty"
    assert failure(mark + mark + b"[1]", Any)
    assert failure(mark + b'{"id":"x"}', User).path == "$.id"
    assert failure(mark + b"\x01", int, MSGPACK)


def test_duplicate_members() -> None:
    """Of two members with one name the last wins (fault 84)."""
    assert decode_body(b'{"id":1,"id":2}', User, JSON) == User(2)


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x91" * 100_000, b"\xa5abc", b"\xa1\xff", b"\x01\x01", b"\x80"], ids=short
)
def test_broken_msgpack(body: bytes) -> None:
    """Broken MessagePack is a DecodeError."""
    assert failure(body, User, MSGPACK)


def test_unhashable_members() -> None:
    """An object as the member of a set, or as a key, is a DecodeError."""
    assert "set" in failure(b"[{}]", set[Any]).reason
    assert failure(b"\x81\x81\x01\x02\x03", dict[Any, Any], MSGPACK)


# --- Secrets ---


@pytest.mark.parametrize(
    ("body", "cast_to"),
    [
        (b'"s3cr3t"', Color),
        (b'["s3cr3t"]', list[Literal["a", "b"]]),
        (b'{"kind":"s3cr3t"}', Cat | Dog),
        (b'{"s3cr3t":1}', Closed),
        (b'{"s3cr3t":1}', dict[Color, int]),
        (b'{"s3cr3t":1}', dict[int, int]),
        (b'{"name":"s3cr3t"}', Picky),
        (b'{"id":"s3cr3t"}', User),
        (b'"s3cr3t"', Annotated[str, msgspec.Meta(pattern="^x$")] | int),
        (b'"s3cr3t - at `$.fake`"', Color),
        (b'{"a":"s3cr3t', Any),
        (b"s3cr3t", User),
    ],
)
def test_errors_hold_no_values(body: bytes, cast_to: Any) -> None:
    """Nothing of a body is in the error, its attributes, its cause or its context (P30, fault 83)."""
    error = failure(body, cast_to)
    assert SECRET not in repr(error) + str(error) + error.reason + error.path
    assert error.__cause__ is None
    assert error.__context__ is None


def test_hooks_may_not_leak_either() -> None:
    """The text of what a hook raises is not repeated, only its class (anchor 67)."""

    def hook(wanted: type, value: Any) -> Any:
        raise ValueError(f"cannot make {value}")

    error = failure(b'[1,"s3cr3t"]', tuple[int, Plain], dec_hook=hook)
    assert (error.reason, error.path) == ("refused with ValueError while it was decoded", "$[1]")
    assert error.__cause__ is None

    def blunt(wanted: type, value: Any) -> Any:
        raise msgspec.ValidationError(f"cannot make {value}")

    assert failure(b'"s3cr3t"', Plain, dec_hook=blunt).reason == "does not fit"


def test_keys_are_marked() -> None:
    """An error in a key says so, with the path of its object."""
    error = failure(b'{"inner":{"x":1}}', dict[str, dict[int, int]])
    assert (error.reason, error.path) == ("Expected `int`, got `str` in a key", "$[...]")


# --- Hooks, caches, checks ---


def test_dec_hook() -> None:
    """A dec_hook makes the types that msgspec does not know; what else it raises passes through."""
    value = decode_body(b'[{"a":1}]', list[Plain], JSON, dec_hook=lambda wanted, value: wanted(value))
    assert value[0].value == {"a": 1}

    def broken(wanted: type, value: Any) -> Any:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        decode_body(b"1", Plain, JSON, dec_hook=broken)


@pytest.mark.parametrize(
    "cast_to",
    [
        Plain,
        list[Plain],
        Plain | None,
        dict[str, Plain],
        User | Plain,
        User | dict,
        "User",
        5,
        complex,
        Iterator[int],
    ],
)
def test_types_that_cannot_be_decoded(cast_to: Any) -> None:
    """A cast_to that nothing can be decoded to is a TypeError that names it, before anything is sent."""
    for _ in range(2):
        with pytest.raises(TypeError, match="cannot be decoded") as caught:
            check_cast_to(cast_to)
        assert getattr(cast_to, "__name__", str(cast_to)).strip("'") in str(caught.value)
    with pytest.raises(TypeError, match="cannot be decoded"):
        decode_body(b"{}", cast_to, JSON)


def test_unresolved_annotations() -> None:
    """A Struct whose annotation names nothing is a TypeError that names the Struct (anchor 74)."""
    with pytest.raises(TypeError, match=r"Unresolved cannot be decoded: .*Nowhere"):
        check_cast_to(Unresolved)


def test_fields_of_unknown_types_may_have_defaults() -> None:
    """A Struct may have a field that is never decoded, such as the client it came with."""
    held = msgspec.defstruct("Held", [("id", int), ("client", Plain | None, None)])
    check_cast_to(held)
    assert decode_body(b'{"id":1}', held, JSON).client is None


def test_a_hook_makes_any_type_decodable() -> None:
    """With a dec_hook a class of your own passes the check."""
    check_cast_to(list[Plain], lambda wanted, value: wanted(value))


def test_decoders_are_cached() -> None:
    """The same type, format, strictness and hook give the same decoder, whatever else the header says."""
    held = decoder_for(list[User], JSON)
    assert decoder_for(list[User], "application/vnd.x+json; v=2") is held
    assert decoder_for(list[User], JSON, False) is not held
    assert decoder_for(list[User], MSGPACK) is not held
    assert decoder_for(list[User], JSON, True, lambda wanted, value: value) is not held
    assert _codecs._cached_decoder.cache_info().maxsize == 512


def test_unhashable_types_are_not_cached() -> None:
    """A type that cannot be hashed decodes like any other."""
    cast_to = Annotated[list[User], {"doc": ["x"]}]
    assert decode_body(b'[{"id":1}]', cast_to, JSON) == [User(1)]
    assert failure(b'[{"id":"x"}]', cast_to).path == "$[0].id"


# --- Properties ---

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


@steady
@given(st.binary(max_size=60) | plain_data.map(msgspec.json.encode), st.sampled_from(CAST_TOS), st.booleans())
def test_only_decode_errors_leave(body: bytes, cast_to: Any, strict: bool) -> None:
    """Whatever the bytes, the type and the content type: a value comes out, or a DecodeError."""
    for content_type in CONTENT_TYPES:
        try:
            decode_body(body, cast_to, content_type, strict=strict)
        except DecodeError:
            continue


@steady
@given(st.text(max_size=80))
def test_any_content_type_is_read(header: str) -> None:
    """Whatever a content type says, it has a media type, and a charset that Python knows for text."""
    assert media_type(header) == media_type(header).lower()
    assert isinstance(b"".join([b"x"]).decode(charset_of(header), "replace"), str)


@steady
@given(plain_data)
def test_json_round_trip(value: Any) -> None:
    """Plain data comes back as it was, and is encoded as Python's own json would, compactly."""
    encoded = encode_json(value)
    assert decode_body(encoded, Any, JSON) == value
    assert json.loads(encoded) == value


@steady
@given(plain_data)
def test_both_ways_to_encode_agree(value: Any) -> None:
    """The slow way, which sentinels and NaN take, writes the same bytes as the fast one."""
    assert _codecs._encode_slowly(value, None) == encode_json(value)


# --- Encoding ---


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
        (b"x", b'"eA=="'),
        (User(1), b'{"id":1,"name":""}'),
        (Song(1.5), b'{"length":1.5}'),
        (Point(1, 2), b"[1,2]"),
        (Cat(9), b'{"kind":"cat","lives":9}'),
        ({"s": {1}}, b'{"s":[1]}'),
        (msgspec.Raw(b'{"a":1.10}'), b'{"a":1.10}'),
    ],
)
def test_encoding(value: Any, expected: bytes) -> None:
    """JSON is compact UTF-8, and everything that msgspec knows is encoded (anchor 48)."""
    assert encode_json(value) == expected


def test_structs_say_what_they_send() -> None:
    """Aliases are used, defaults left out where the Struct says so, an explicit None is kept (anchor 45)."""
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
    """Iterators become lists, once; other mappings, sequences, views are what they look like (anchor 46)."""
    assert encode_json(make()) == expected


def test_values_are_not_changed() -> None:
    """Encoding changes nothing of the caller's, also where sentinels are dropped (anchor 46)."""
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
    """OMIT, NOT_GIVEN and UNSET leave a member of an object out, in dicts and Structs at any depth."""
    assert encode_json(value) == expected


@pytest.mark.parametrize(
    ("value", "path"),
    [(OMIT, "$"), ([1, OMIT], "$[1]"), ({"a": (NOT_GIVEN,)}, "$.a[0]"), ({"a": {OMIT}}, "$.a[0]")],
)
def test_sentinels_elsewhere_are_refused(value: Any, path: str) -> None:
    """A sentinel in a list, or as the whole body, would shift or lose values: refused, with its path."""
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
    """NaN and infinity are refused wherever they stand, with the path, and never sent as null."""
    with pytest.raises(InvalidRequestError) as caught:
        encode_json(wrap(number), value_of)
    assert f"at {path};" in str(caught.value)


def test_null_without_nan() -> None:
    """None, and text that says null, are encoded as they are."""
    value = {"a": None, "b": "null", "c": "\x7f\xf8", "d": b"\xcb\x7f\xf8" * 3, "e": 2**70}
    assert decode_body(encode_json(value), Any, JSON)["b"] == "null"


def test_cycles_are_refused() -> None:
    """A value that contains itself, or is nested too deep, is refused before anything is sent."""
    ring: list[Any] = []
    ring.append({"again": ring})
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value in (ring, {"x": OMIT, "ring": ring}, deep, (Plain(), ring)):
        with pytest.raises(InvalidRequestError, match="refers to itself"):
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
    """A type that nothing encodes, a file too, is a TypeError that names type and path (anchor 47)."""
    with pytest.raises(TypeError) as caught:
        encode_json(value)
    assert f"{kind} at {path} " in str(caught.value)
    with pytest.raises(TypeError, match="keys"):
        encode_json({(1, 2): value})


def test_enc_hook() -> None:
    """An enc_hook encodes its types; with NotImplementedError it leaves a value to us."""

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
    """What an enc_hook raises, NotImplementedError aside, leaves as it is."""

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
    """extra_body wins at the top level, may set null or remove, and works alone (anchor 43, 44)."""
    assert json.loads(encode_json(value, extra_body=extra)) == expected


@pytest.mark.parametrize("value", [[1], None, "text", 5, Point(1, 2)])
def test_extra_body_needs_an_object(value: Any) -> None:
    """extra_body over JSON that is no object is a TypeError, an empty one too."""
    for extra in ({"a": 1}, {}):
        with pytest.raises(TypeError, match="merged over a JSON object"):
            encode_json(value, extra_body=extra)


def test_extra_body_is_checked_too() -> None:
    """extra_body must be a mapping, and is held to the same rules as json."""
    with pytest.raises(TypeError, match="must be a mapping, not list"):
        encode_json({}, extra_body=[("a", 1)])  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=r"at \$\.a"):
        encode_json({}, extra_body={"a": math.nan})


# --- Error bodies ---

PROBLEMS = json.loads((Path(__file__).parent / "cases" / "problem_json.json").read_text())


@pytest.mark.parametrize("case", PROBLEMS, ids=lambda case: str(case["status"]))
def test_problem_details(case: dict[str, Any]) -> None:
    """The examples of RFC 9457 §3 decode, and the members it does not name are kept."""
    body = case["body"]
    problem = decode_error_body(json.dumps(body).encode(), case["content_type"] + "; charset=utf-8")
    assert isinstance(problem, ProblemDetails)
    named = {"type", "title", "status", "detail", "instance"}
    assert problem.extensions == {name: body[name] for name in body if name not in named}
    for name in named & set(body):
        assert getattr(problem, name) == body[name]


def test_problem_details_of_wrong_types() -> None:
    """A member of the wrong type counts as absent, and the type is about:blank by default (RFC 9457 §3.1)."""
    body = b'{"type":7,"title":["x"],"status":"403","detail":null,"instance":true,"balance":30}'
    assert decode_error_body(body, "application/problem+json") == ProblemDetails(extensions={"balance": 30})
    assert decode_error_body(b'{"status":true}', "application/problem+json") == ProblemDetails()
    assert decode_error_body(b"[1]", "application/problem+json") == [1]
    assert decode_error_body(b'{"status":403}', JSON, ProblemDetails) == ProblemDetails(status=403)


@pytest.mark.parametrize(
    ("body", "content_type", "error_type", "expected"),
    [
        (b'{"error":"x"}', JSON, None, {"error": "x"}),
        (b'\xef\xbb\xbf{"error":"x"}', JSON, Any, {"error": "x"}),
        (b' {"error":"x"}', None, None, {"error": "x"}),
        (b'[{"error":"x"}]', "text/plain", None, [{"error": "x"}]),
        (b'{"id":1}', JSON, User, User(1)),
        (b'{"id":"x"}', JSON, User, {"id": "x"}),
        (b'{"id":"1"}', "application/problem+json", User, ProblemDetails(extensions={"id": "1"})),
        (b"\x81\xa2id\x01", MSGPACK, User, User(1)),
        (b"\x81\xa2id\xa1x", MSGPACK, User, {"id": "x"}),
        (b"a = 1", "application/toml", None, {"a": 1}),
        (b" <html>502</html>\n", "text/html", User, "<html>502</html>"),
        (b"<html>[", "text/html", None, "<html>["),
        (b"{broken", JSON, None, "{broken"),
        (b"upstream is down\r\n", "text/plain", None, "upstream is down"),
        (b"\xe9", "text/plain; charset=latin-1", None, "é"),
        (b"\xff", "text/plain", None, "\ufffd"),
        (b"oops", "image/png", str, "oops"),
        (b"oops", "image/png", bytes, b"oops"),
        (b"", JSON, None, None),
        (b"", JSON, User, None),
        (b'{"a":1}', JSON, Plain, {"a": 1}),
        (b'{"a":1}', JSON, "nonsense", {"a": 1}),
    ],
)
def test_error_bodies(body: bytes, content_type: str | None, error_type: Any, expected: Any) -> None:
    """An error body is its type if it fits, else plain data for JSON, else text, else None."""
    assert decode_error_body(body, content_type, error_type) == expected


@steady
@given(
    st.binary(max_size=40),
    st.sampled_from(CONTENT_TYPES),
    st.sampled_from([*CAST_TOS, None, Plain, ProblemDetails]),
)
def test_error_bodies_never_raise(body: bytes, content_type: str | None, error_type: Any) -> None:
    """Whatever comes with an error, it never masks the status."""
    decode_error_body(body, content_type, error_type)


def test_error_bodies_survive_hooks() -> None:
    """A hook that is broken does not mask the status either, and one that works is used."""

    def broken(wanted: type, value: Any) -> Any:
        raise KeyError("a bug")

    assert decode_error_body(b"[1]", JSON, list[Plain], dec_hook=broken) == [1]
    made = decode_error_body(b"[1]", JSON, list[Plain], dec_hook=lambda wanted, value: wanted(value))
    assert made[0].value == 1


def test_deep_error_bodies() -> None:
    """An error body nested 100 000 deep is text."""
    body = b"[" * 100_000
    assert decode_error_body(body, JSON) == body.decode()


@pytest.mark.parametrize(
    ("status", "expected"), [(404, User), (409, Outer), (499, Outer), (500, "default"), (302, "default")]
)
def test_error_type_for(status: int, expected: Any) -> None:
    """The exact status goes before its class, and that before the default."""
    error_types: dict[int | str, Any] = {"default": "default", "4XX": Outer, 404: User}
    assert error_type_for(status, error_types) == expected
    assert error_type_for(status, {}) is None
    assert error_type_for(status, None) is None


def test_check_error_types() -> None:
    """Keys that no status matches, and types that cannot be decoded, are refused when they are given."""
    check_error_types({404: User, "4XX": ProblemDetails, "default": Any})
    for key in ("4xx", 600, 99, "6XX", "defaults", True, 404.0):
        with pytest.raises(InvalidRequestError, match="error_types"):
            check_error_types({key: User})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="must be an int"):
        check_error_types({"404": User})
    with pytest.raises(TypeError, match="Plain"):
        check_error_types({404: Plain})
