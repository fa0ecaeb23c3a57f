"""The types that bodies decode to, and the report of a body that does not match."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import decimal
import gc
import importlib.util
import pickle
import sys
import uuid
import weakref
from collections.abc import Iterator
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union

import msgspec
import pytest
from bodies import (
    CAST_TOS,
    CONTENT_TYPES,
    JSON,
    MSGPACK,
    Cat,
    Color,
    Dog,
    Outer,
    Plain,
    Point,
    Song,
    User,
    plain_data,
    short,
    steady,
)
from hypothesis import given
from hypothesis import strategies as st

from aioapiclient import Open
from aioapiclient._codecs import decoders
from aioapiclient._codecs.custom import Decoders
from aioapiclient._codecs.decoders import check_cast_to, decode_body, decoder_for
from aioapiclient._codecs.failures import DecodeError

SECRET = "s3cr3t"
T = TypeVar("T")
has_yaml = pytest.mark.skipif(importlib.util.find_spec("yaml") is None, reason="PyYAML is not installed")
UserId = NewType("UserId", int)


class Page(msgspec.Struct, Generic[T]):
    data: list[T]


class Movie(TypedDict):
    title: str


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    id: int


class Picky(msgspec.Struct):
    name: str

    def __post_init__(self) -> None:
        if self.name == SECRET:
            raise ValueError(f"{self.name} is not allowed")


class Unresolved(msgspec.Struct):
    other: Nowhere  # type: ignore[name-defined]  # noqa: F821


def failure(body: bytes, cast_to: Any, content_type: str | None = JSON, **options: Any) -> DecodeError:
    """The error that decoding raises."""
    with pytest.raises(DecodeError) as caught:
        decode_body(body, cast_to, content_type, **options)
    return caught.value


def path_of(body: bytes, cast_to: Any) -> str:
    """Where decoding fails."""
    return failure(body, cast_to).path


# --- Choice of the codec


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "APPLICATION/JSON; charset=utf-8",
        "application/json; charset=bogus",
        "text/json",
        "application/vnd.api+json",
        "application/problem+json;v=1",
        "application/text",
        "text/plain",
        "text/html; charset=utf-8",
        "text/css",
        "application/octet-stream",
        "binary/octet-stream",
        "image/png",
        "",
        None,
    ],
)
def test_json_whatever_the_content_type(content_type: str | None) -> None:
    """JSON is read as a structured type under any content type that names no other codec."""
    assert decode_body(b'{"id":1,"name":"\xc3\xa9"}', User, content_type) == User(1, "é")


@pytest.mark.parametrize(
    "content_type", ["text/html", "text/plain", "text/javascript", "application/octet-stream", "", None]
)
@pytest.mark.parametrize("cast_to", [Any, dict[str, int], Any | None])
def test_mislabelled_json_is_plain_data(content_type: str | None, cast_to: Any) -> None:
    """A JSON object or array is data, even to a call without a type, if the label is text or missing."""
    assert decode_body(b' {"a":1}\n', cast_to, content_type) == {"a": 1}
    assert decode_body(b'\xef\xbb\xbf{"a":1}', cast_to, content_type) == {"a": 1}


@pytest.mark.parametrize(
    "body", [b"{broken", b"[see below]", b"true story", b"17", b'"quoted"', b"[" * 100_000]
)
def test_text_that_only_looks_like_json_is_text(body: bytes) -> None:
    """Without a type, text that is not a JSON object or array stays text, and untyped bytes stay bytes."""
    assert decode_body(body, Any, "text/plain") == body.decode()
    assert decode_body(body, Any, "text/html") == body.decode()
    assert decode_body(body, Any, None) == body


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/html", None])
@pytest.mark.parametrize(
    "charset", ["gbk", "utf-16", "utf-16le", "utf-16be", "utf-32", "latin-1", "shift_jis"]
)
def test_a_declared_charset_is_believed(content_type: str | None, charset: str) -> None:
    """JSON in the declared charset decodes, whatever its label, and broken text is an error."""
    word = "é" if charset == "latin-1" else "日本"
    header = f"{content_type or 'application/octet-stream'}; charset={charset}"
    body = f' {{"id":1,"name":"{word}"}}'.encode(charset)
    assert decode_body(body, User, header) == User(1, word)
    assert failure(f'{{"id":"{word}"}}'.encode(charset), User, header).path == "$.id"
    assert decode_body(" \n".encode(charset), User | None, header) is None
    if content_type is not None:
        assert decode_body(body, Any, header) == {"id": 1, "name": word}
    if charset not in ("latin-1", "utf-16le"):
        assert (
            failure(b"\0\xd8\xff", User, header).reason == f"the body is not {charset.replace('-', '_')} text"
        )


def test_a_wide_charset_that_is_not_there_is_not_believed() -> None:
    """JSON in UTF-8 that is labelled UTF-16 contains no zero bytes, and decodes as UTF-8 (fault 77)."""
    for charset in ("utf-16", "utf-16le", "utf-32"):
        assert decode_body(b'{"id":1,"name":"\xc3\xa9"}', User, f"{JSON}; charset={charset}") == User(1, "é")


def test_yaml_and_toml_in_a_declared_charset() -> None:
    """The charset of other text formats is used too; MessagePack is not text."""
    assert decode_body(
        "id = 1\nname = 'é'".encode("latin-1"), User, "application/toml; charset=latin-1"
    ) == User(1, "é")
    assert decode_body(b"\x81\xa2id\x01", User, f"{MSGPACK}; charset=utf-16") == User(1)


@pytest.mark.parametrize("body", [b"\x0b", b"\x0c", b" \x0b\n"])
def test_other_control_characters_are_not_white_space(body: bytes) -> None:
    """A vertical tab is invalid JSON, which has four white space characters (RFC 8259 §2)."""
    assert failure(body, Any, "application/json").reason.startswith("JSON is malformed")
    assert failure(body, User | None, "application/json").reason.startswith("JSON is malformed")


@pytest.mark.parametrize("blank", [b" ", b"\r\n", b"\t \n", b"\xef\xbb\xbf \n"])
def test_white_space_only_is_an_empty_body(blank: bytes) -> None:
    """A body of white space only is None if the type admits it, otherwise an error; text is unchanged."""
    for content_type in (JSON, "text/html", None):
        assert decode_body(blank, User | None, content_type) is None
        assert failure(blank, User, content_type).reason == "the body is empty"
    if blank.isspace():
        for content_type in (JSON, "text/plain", "text/html", None):
            assert decode_body(blank, Any, content_type) is None
        assert decode_body(blank, bool | None, "text/plain") is None
    assert decode_body(blank, bytes, JSON) == blank
    assert decode_body(b" \n", str, JSON) == " \n"
    assert decode_body(b" \n", str | None, "text/plain") == " \n"
    assert decode_body(b"\n", int, MSGPACK) == 10


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
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b"- " * 100_000, "nested too deeply"),
    ],
    ids=short,
)
def test_bad_yaml(body: bytes, reason: str) -> None:
    """Broken YAML, YAML deep enough to crash its parser, and a bomb of aliases are DecodeErrors."""
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
    """An HTML page with status 200 is an error that names HTML (fault 74)."""
    for page in (
        b"<html>login</html>",
        b"\n\n <!doctype html>{}",
        b"\xef\xbb\xbf<p>",
        b"not found",
        b"403 Forbidden",
    ):
        assert failure(page, cast_to, content_type).reason == "the body is an HTML page"
    for page in (b"{{ title }}", b"[<b>1</b>]", b'"<p>', b"null and void"):
        assert failure(page, cast_to, content_type).reason == "the body is an HTML page"


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "", None])
@pytest.mark.parametrize("cast_to", [User, User | None, list[int], int, bool])
def test_an_unlabelled_page_is_never_a_value(content_type: str | None, cast_to: Any) -> None:
    """An HTML page that is labelled as text, or not at all, fails for every structured type."""
    assert failure(b"<html>login</html>", cast_to, content_type)


def test_html_that_is_json_is_validated() -> None:
    """JSON that is labelled HTML is held to the type like any other."""
    error = failure(b'{"id":"x"}', User, "text/html")
    assert (error.reason, error.path) == ("Expected `int`, got `str`", "$.id")
    assert error.__context__ is None


# --- Types


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
    """Any type that msgspec decodes is a valid cast_to; bytes, str and None stand for the body itself."""
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
    """A ``type`` alias, even a generic one, is a valid cast_to."""
    names: dict[str, Any] = {"User": User}
    exec("type Users = list[User]\ntype Either[T] = T | None\ntype Text = str", names)
    assert decode_body(b'[{"id":1}]', names["Users"], JSON) == [User(1)]
    assert decode_body(b"", names["Either"][User], JSON) is None
    assert decode_body(b"plain", names["Text"], "text/plain") == "plain"


def test_a_field_may_be_named_cls() -> None:
    """A field may have any name, `cls` and `self` too."""
    odd = msgspec.defstruct("Odd", [("cls", str), ("self_", str, msgspec.field(name="self"))])
    value = decode_body(b'{"cls":"a","self":"b"}', odd, JSON)
    assert (value.cls, value.self_) == ("a", "b")


def test_values_carry_only_their_fields() -> None:
    """Unknown members are dropped, and the value has no attribute of the response."""
    value = decode_body(b'{"id":1,"extra":2}', User, JSON)
    assert msgspec.to_builtins(value) == {"id": 1, "name": ""}


def test_union_by_value_types() -> None:
    """The members of a union are distinguished by the types of the values, not by their order."""
    for cast_to in (int | str | list[User] | User, User | list[User] | str | int):
        assert decode_body(b'[{"id":1}]', cast_to, JSON) == [User(1)]
        assert decode_body(b'"1"', cast_to, JSON) == "1"
        assert decode_body(b"1", cast_to, JSON) == 1


def test_tagged_union() -> None:
    """A tag under another name, nested unions and overlapping fields are distinguished."""
    body = b'{"kind":"dog","owner":{"kind":"cat","lives":9}}'
    assert decode_body(body, Cat | Dog, JSON) == Dog(owner=Cat(9))


def test_known_tag_with_bad_content() -> None:
    """A known tag with a wrong field, or an unknown tag, is an error and not a half-built value."""
    assert path_of(b'{"kind":"cat","lives":"x"}', Cat | Dog) == "$.lives"
    error = failure(b'{"kind":"s3cr3t"}', Cat | Dog)
    assert (error.reason, error.path) == ("unknown tag", "$.kind")


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
    """A value of the wrong type fails with its path at every level; none passes."""
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
    """2**53+1 is exact as int and Decimal, and the nearest float if a float is requested."""
    body = str(2**53 + 1).encode()
    assert decode_body(body, int, JSON) == 2**53 + 1
    assert decode_body(body, decimal.Decimal, JSON) == 2**53 + 1
    assert decode_body(body, Any, JSON) == 2**53 + 1
    assert decode_body(body, float, JSON) == float(2**53)
    assert type(decode_body(body, float, JSON)) is float


def test_strict_and_lenient() -> None:
    """Strict refuses ``"1"`` for an int; lenient coerces it, but no impossible value."""
    assert failure(b'{"id":"1"}', User).path == "$.id"
    assert decode_body(b'{"id":"1"}', User, JSON, strict=False) == User(1)
    assert failure(b'{"id":"one"}', User, strict=False).path == "$.id"
    assert failure(b"{}", User, strict=False).reason == "Object missing required field `id`"
    assert failure(b"plain text", User, "text/plain", strict=False)


@pytest.mark.parametrize("cast_to", [User, User | None, User | list[User], int | str, Annotated[User, 1]])
def test_plain_text_for_a_model(cast_to: Any) -> None:
    """Plain text instead of a model, or a union, is an error, never a str."""
    assert failure(b"all is well", cast_to, "text/plain").path == "$"
    assert failure(b"all is well", cast_to, JSON, strict=False).path == "$"


# --- Text, bytes, nothing


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
        ('{"a":1}'.encode("utf-16"), "application/json; charset=utf-16", '{"a":1}'),
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
        (b"\x00\x01", "application/octet-stream", b"\x00\x01"),
        (b"\xff\xd8", "image/jpeg", b"\xff\xd8"),
        (b"x", None, b"x"),
        (b"", JSON, None),
        (b"", "text/plain", None),
        (b"", None, None),
    ],
)
def test_any(body: bytes, content_type: str | None, expected: Any) -> None:
    """`Any` is plain data if a codec is named, str for text, bytes for the rest, None for an empty body."""
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
@pytest.mark.parametrize("content_type", [JSON, "text/plain", "text/html", MSGPACK, None])
def test_empty_body(cast_to: Any, expected: Any, content_type: str | None) -> None:
    """An empty body, even of a 204, is None if the type admits None, and empty bytes or text (fault 76)."""
    assert decode_body(b"", cast_to, content_type) == expected


@pytest.mark.parametrize("cast_to", [User, list[User], dict, int, Literal["a"], bool, Annotated[User, 1]])
@pytest.mark.parametrize("content_type", [JSON, "text/plain", MSGPACK, None])
def test_empty_body_is_not_a_value(cast_to: Any, content_type: str | None) -> None:
    """An empty body is an error for a type without None, even in lenient mode (fault 75)."""
    assert failure(b"", cast_to, content_type).reason == "the body is empty"
    assert failure(b"", cast_to, content_type, strict=False).reason == "the body is empty"


def test_constraints_hold_on_text() -> None:
    """Constraints of Annotated on a str, bytes or number apply to a body of that type."""
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
    """A bool in any case, an int and a float are read from plain text."""
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
def test_text_that_is_not_a_scalar(body: bytes, cast_to: Any) -> None:
    """Text that is not exactly a bool or a finite number is an error."""
    assert failure(body, cast_to, "text/plain").path == "$"


# --- Broken bodies


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
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
    ids=short,
)
def test_broken_json(body: bytes, reason: str, strict: bool) -> None:
    """Broken JSON is a DecodeError in both modes, with the place (faults 73, 78, 80, 82, 84)."""
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
    """After too deeply nested bodies the same decoder still works."""
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


# --- Secrets


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
    """No part of a body is in the error, its attributes, its cause or its context (P30, fault 83)."""
    error = failure(body, cast_to)
    assert SECRET not in repr(error) + str(error) + error.reason + error.path
    assert error.__cause__ is None
    assert error.__context__ is None


def test_hooks_may_not_leak_either() -> None:
    """The text of a hook's exception is not repeated, only its class."""

    def hook(wanted: type, value: Any) -> Any:
        raise ValueError(f"cannot make {value}")

    error = failure(b'[7,"s3cr3t"]', tuple[int, Plain], dec_hook=hook)
    assert (error.reason, error.path) == ("refused with ValueError while it was decoded", "$[1]")
    assert error.__cause__ is None

    def blunt(wanted: type, value: Any) -> Any:
        raise msgspec.ValidationError(f"cannot make {value}")

    assert failure(b'"s3cr3t"', Plain, dec_hook=blunt).reason == "does not fit"


HIDDEN = "refused with ValueError while it was decoded"


@pytest.mark.parametrize(
    ("said", "body", "reason"),
    [
        ("unknown currency", b'{"plain":"EUR"}', "unknown currency"),
        ("two\n lines", b'{"plain":"EUR"}', "two lines"),
        ("EUR is unknown", b'{"plain":"EUR"}', HIDDEN),
        ("'EUR' is unknown", b'{"plain":"EUR"}', HIDDEN),
        ("unknown: xEURUSDx", b'{"plain":"EURUSD"}', HIDDEN),
        ("unknown: Lorem ipsum do", b'{"plain":"Lorem ipsum dolor sit"}', HIDDEN),
        ("at most 7 digits", b'{"plain":7}', HIDDEN),
        ("at most 7 digits", b'{"plain":70}', "at most 7 digits"),
        ("plain must be set", b'{"plain":null}', "plain must be set"),
        ("no such key: other", b'{"plain":{"other":true}}', HIDDEN),
        ("", b'{"plain":1}', HIDDEN),
        ("\x1b[31mred", b'{"plain":1}', HIDDEN),
        ("x" * 301, b'{"plain":1}', HIDDEN),
        ("fine", b'{"plain":1}' + b" " * (1 << 20), HIDDEN),
    ],
)
def test_what_a_hook_says_is_repeated_where_it_holds_no_value(said: str, body: bytes, reason: str) -> None:
    """A hook's exception is the reason and the cause, unless it contains a value of the body (P30)."""

    def hook(wanted: type, value: Any) -> Any:
        raise ValueError(said)

    error = failure(body, InDataclass, dec_hook=hook)
    assert (error.reason, error.path) == (reason, "$.plain")
    if reason != HIDDEN:
        assert isinstance(error.cause, ValueError)
    elif said and said.isascii() and "x" * 12 not in said and "fine" not in said and "\x1b" not in said:
        assert error.cause is None


def test_a_cause_holds_no_value_anywhere() -> None:
    """An exception whose attributes, notes or causes contain a value of the body is not used as the cause."""

    def attribute(value: Any) -> Exception:
        error = ValueError("refused")
        error.held = [value]  # type: ignore[attr-defined]
        return error

    def note(value: Any) -> Exception:
        error = ValueError("refused")
        error.add_note(f"it was {value}")
        return error

    def context(value: Any) -> Exception:
        error = ValueError("refused")
        error.__context__ = KeyError(value)
        return error

    for make in (attribute, note, context):

        def hook(wanted: type, value: Any, make: Any = make) -> Any:
            raise make(value)

        error = failure(b'["s3cr3t"]', list[Plain], dec_hook=hook)
        assert (error.reason, error.path, error.cause) == ("refused", "$[0]", None)


def test_what_a_post_init_says_is_repeated() -> None:
    """The error of a Struct that refuses its values has the Struct's own message, if it contains none of
    the values.
    """
    error = failure(b'[{"low":3,"high":2}]', list[Span])
    assert (error.reason, error.path) == ("low must not be above high", "$[0]")
    assert isinstance(error.cause, ValueError)


class Span(msgspec.Struct):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must not be above high")


def test_what_pydantic_says() -> None:
    """The message and the place of a pydantic error are shown; keys of dicts and inputs are not."""
    pydantic = pytest.importorskip("pydantic")
    inner = pydantic.create_model("Inner", lives=(int, ...), tags=(dict[str, int], {}))
    owner = pydantic.create_model("Owner", cats=(list[inner], pydantic.Field(alias="theCats")))
    held = msgspec.defstruct("Held", [("owner", owner)])

    def hook(wanted: Any, value: Any) -> Any:
        return wanted.model_validate(value)

    good = decode_body(b'{"owner":{"theCats":[{"lives":9}]}}', held, JSON, dec_hook=hook)
    assert good.owner.cats[0].lives == 9
    error = failure(b'{"owner":{"theCats":[{"lives":"s3cr3t"}]}}', held, dec_hook=hook)
    assert error.path == "$.owner.theCats[0].lives"
    assert error.reason == "Input should be a valid integer, unable to parse string as an integer"
    assert error.cause is None
    error = failure(b'[{"theCats":[{"lives":1,"tags":{"s3cr3t":"x","t":"y"}}]}]', list[owner], dec_hook=hook)
    assert error.path == "$[0].theCats[0].tags[...]"
    assert error.reason.endswith("as an integer (and 1 more)")
    error = failure(b"{}", owner, dec_hook=hook)
    assert (error.reason, error.path) == ("Field required", "$.theCats")
    assert error.cause is not None
    for opened in (Open[Out | msgspec.defstruct("In", [("owner", owner)], tag="in")], owner | None):
        body = b'{"type":"in","owner":{"theCats":7}}' if opened != owner | None else b'{"theCats":7}'
        assert failure(body, opened, dec_hook=hook).path.endswith(".theCats")
    with pytest.raises(
        TypeError, match=r"Held\.owner: Owner needs a dec_hook; for pydantic .*model_validate"
    ):
        check_cast_to(held)


def test_keys_are_marked() -> None:
    """An error in a key is reported with the path of its object."""
    error = failure(b'{"inner":{"x":1}}', dict[str, dict[int, int]])
    assert (error.reason, error.path) == ("Expected `int`, got `str` in a key", "$[...]")


# --- Hooks, caches, checks


def test_dec_hook() -> None:
    """A dec_hook decodes types unknown to msgspec; its other exceptions are raised unchanged."""
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
        name = cast_to.__name__ if isinstance(cast_to, type) else str(cast_to).strip("'")
        assert name in str(caught.value)
    with pytest.raises(TypeError, match="cannot be decoded"):
        decode_body(b"{}", cast_to, JSON)


def test_unresolved_annotations() -> None:
    """A Struct with an unresolvable annotation is a TypeError that names the Struct."""
    with pytest.raises(TypeError, match=r"Unresolved cannot be decoded: .*Nowhere"):
        check_cast_to(Unresolved)


def test_fields_of_unknown_types_may_have_defaults() -> None:
    """A Struct may have a field that is never decoded, such as its client.

    If the server still sends it, the error names the missing dec_hook.
    """
    held = msgspec.defstruct("Held", [("id", int), ("client", Plain | None, None)])
    check_cast_to(held)
    assert decode_body(b'{"id":1}', held, JSON).client is None
    error = failure(b'[{"id":1,"client":{"s3cr3t":1}}]', list[held])
    assert (error.reason, error.path) == ("Plain needs a dec_hook", "$[0].client")
    assert failure(b'[{"id":"x"}]', list[held]).reason == "Expected `int`, got `str`"


@dataclasses.dataclass
class InDataclass:
    plain: Plain


class InTuple(NamedTuple):
    inner: InDataclass


class InDict(TypedDict):
    inner: list[InTuple]


class InStruct(msgspec.Struct, tag="in"):
    inner: dict[str, InDict | None]
    again: InStruct | None = None


class Out(msgspec.Struct, tag="out"):
    plain: Plain | None = None


@pytest.mark.parametrize(
    "cast_to",
    [
        InDataclass,
        InTuple,
        InDict,
        InStruct,
        list[InStruct | None],
        Page[InTuple],
        Annotated[InDict, "a note"],
        Out | InStruct,
        Open[Out | InStruct],
        msgspec.defstruct("Opened", [("inner", list[Open[Out | InStruct]])]),
    ],
)
def test_types_are_checked_through_their_fields(cast_to: Any) -> None:
    """A class that needs a hook is found at any depth, before anything is sent, and its path is named."""
    for _ in range(2):
        with pytest.raises(TypeError, match=r"InDataclass\.plain: Plain needs a dec_hook$"):
            check_cast_to(cast_to)
    check_cast_to(cast_to, lambda wanted, value: wanted(value))


def test_a_field_with_a_default_spares_what_is_below_it() -> None:
    """A type below an optional field may be of any class; elsewhere such a type needs a hook."""
    spared = msgspec.defstruct("Spared", [("maybe", InDataclass | None, None)])
    check_cast_to(spared)
    both = msgspec.defstruct("Both", [("must", InDataclass), ("maybe", InDataclass | None, None)])
    with pytest.raises(TypeError, match=r"InDataclass\.plain"):
        check_cast_to(both)


def test_a_type_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A type that was found fit is not looked at again."""
    looked: list[Any] = []
    monkeypatch.setattr(decoders, "check_classes", lambda cast_to: looked.append(cast_to) or frozenset())
    fresh = msgspec.defstruct("Fresh", [("id", int)])
    for _ in range(3):
        check_cast_to(list[fresh])
    assert looked == [list[fresh]]


@pytest.mark.parametrize(
    ("cast_to", "message"),
    [
        ([User], "cast_to [User] cannot be decoded: it is a list; write list[User]"),
        ([User, Song], "cast_to [User, Song] cannot be decoded: it is a list; write list[User | Song]"),
        ([], "cast_to [] cannot be decoded: it is a list; write list"),
        ("User", "cast_to 'User' cannot be decoded: it is a str; pass the class itself, User"),
        ("list[User]", "cast_to 'list[User]' cannot be decoded: it is a str; pass the type itself"),
        ({User}, "it is a set; write set[User]"),
        ({str: User}, "it is a dict; write dict[str, User]"),
        ((User, Song), "it is a tuple; write User | Song for one of them, tuple[User, Song] for all"),
        (User(1), "it is a value; pass its type, User"),
        (5, "cast_to 5 cannot be decoded: it is a value; pass its type, int"),
    ],
)
def test_values_in_place_of_types(cast_to: Any, message: str) -> None:
    """A value passed instead of a type is refused, with the type to write."""
    with pytest.raises(TypeError) as caught:
        check_cast_to(cast_to)
    assert str(caught.value).endswith(message)


def test_a_hook_makes_any_type_decodable() -> None:
    """With a dec_hook a custom class passes the check."""
    check_cast_to(list[Plain], lambda wanted, value: wanted(value))


def test_decoders_are_cached() -> None:
    """The same type, format, strictness and hook give the same decoder, whatever else the header contains."""
    held = decoder_for(list[User], JSON)
    assert decoder_for(list[User], "application/vnd.x+json; v=2") is held
    assert decoder_for(list[User], JSON, False) is not held
    assert decoder_for(list[User], MSGPACK) is not held
    assert decoder_for(list[User], JSON, True, lambda wanted, value: value) is not held
    assert decoders._cached_decoder.cache_info().maxsize == 512


def test_unhashable_types_are_not_cached() -> None:
    """A type that cannot be hashed decodes like any other."""
    cast_to = Annotated[list[User], {"doc": ["x"]}]
    assert decode_body(b'[{"id":1}]', cast_to, JSON) == [User(1)]
    assert failure(b'[{"id":"x"}]', cast_to).path == "$[0].id"


# --- Properties


@steady
@given(st.binary(max_size=60) | plain_data.map(msgspec.json.encode), st.sampled_from(CAST_TOS), st.booleans())
def test_only_decode_errors_leave(body: bytes, cast_to: Any, strict: bool) -> None:
    """Whatever the bytes, the type and the content type, the result is a value or a DecodeError."""
    raised: list[DecodeError] = []
    for content_type in CONTENT_TYPES:
        try:
            decode_body(body, cast_to, content_type, strict=strict)
        except DecodeError as error:
            raised.append(error)

    assert all(error.reason for error in raised)


def test_a_failure_keeps_nothing_alive() -> None:
    """The caller of a decoder is freed immediately, even after a failure: no frame holds its own error."""

    class Caller:
        """Any result of decoding."""

    def hook(wanted: type, value: Any) -> Any:
        raise ValueError("refused")

    def refuse(body: bytes, wanted: Any) -> Any:
        raise ValueError("refused")

    def fail(cast_to: Any, **options: Any) -> weakref.ref[Caller]:
        caller = Caller()
        with contextlib.suppress(DecodeError):
            decode_body(b"[1, 2]", cast_to, JSON, **options)
        return weakref.ref(caller)

    gc.disable()
    try:
        assert fail(User)() is None
        assert fail(list[Plain], dec_hook=hook)() is None
        assert fail(User, decoders=Decoders({JSON: refuse}))() is None
    finally:
        gc.enable()
