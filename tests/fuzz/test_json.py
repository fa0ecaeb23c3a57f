"""JSON by JSONTestSuite: texts that must be accepted, that must be refused, and optional ones."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import suppress
from typing import Any

import pytest
from bodies import CAST_TOS, JSON
from fuzz.mutations import mutated, pieces
from helpers import BASE
from hypothesis import assume, given
from hypothesis import strategies as st

from aioapiclient import APIResponseValidationError, AsyncAPIClient
from aioapiclient._codecs.decoders import decode_body
from aioapiclient._codecs.failures import DecodeError
from aioapiclient.testing import FakeTransport, respond

# RFC 8259 by its sections: values, white space, numbers, strings, objects, arrays.
GOOD = [
    *(b"null", b"true", b"false", b"0", b"-0", b'""', b"[]", b"{}", b" [] ", b"\t\r\n[\n]\r\t "),
    *(b"-1", b"123", b"1.5", b"-0.0", b"1e2", b"1E+2", b"1e-2", b"0e0", b"1.25e10", b"1e-400"),
    *(b"9007199254740993", b"18446744073709551615", b"-9223372036854775808", b"9" * 40, b"0.1"),
    *(rb'"\"\\\/\b\f\n\r\t"', rb'"\u0061\u00e9\u20AC"', rb'"\uD834\uDD1E"', rb'"\u0000"', rb'"\uFFFF"'),
    *('"é€𝄞"'.encode(), '"\u2028\u2029\x7f\ufeff"'.encode(), b'"a,b:c]}"', b'"' + b"x" * 300 + b'"'),
    *(b'[1,"a",null,true,[],{}]', b'[ 1 , [ 2 ] , { } ]', b"[" * 100 + b"]" * 100),
    *(b'{"a":1,"b":{"c":[{}]}}', b'{"":0}', b'{"a":1,"a":2}', b'{"a" : 1 ,\n"b": null}', rb'{"\u0061":1}'),
    b'{"a":' * 100 + b"1" + b"}" * 100,
]  # fmt: skip
BAD = [
    *(b"\x00", b"[", b"]", b"{", b"}", b"[1", b"[1,", b"[1,]", b"[,1]", b"[1,,2]", b"[1 2]", b"[1:2]"),
    *(b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,', b'{"a":1,}', b'{"a" 1}', b"{a:1}", b"{'a':1}", b"{1:1}"),
    *(b'{"a":1 "b":2}', b'{"a":1,,"b":2}', b"{null:1}", b'{:1}', b'{"a"::1}', b"[1]]", b"{}{}", b"[] x"),
    *(b"tru", b"True", b"nul", b"NULL", b"nan", b"NaN", b"Infinity", b"-Infinity", b"undefined", b"[nul]"),
    *(b"+1", b"01", b"-01", b"1.", b".5", b"-.5", b"1e", b"1e+", b"1.e1", b"0x1", b"1_0", b"--1", b"-"),
    *("\u0661".encode(), "\uff11".encode(), b"1e1.5", b"0e", b"1E", b"- 1", b"1 000", b"-NaN", b"1/2"),
    *(rb'"\x41"', b'"a', b"'a'", b'"\\"', rb'"\a"', rb'"\u12"', rb'"\u00zz"', b'"\n"', b'"\t"', b'"\x00"'),
    *(b'"\xff"', b'"\xc3"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"'),
    *(b"[\xa0]", b"\xff\xfe[\x00]\x00", b"\x00[\x00]", b"[\x0c]", "[\u2060]".encode(), b"// c\n[]", b"[]#"),
    *(b"/**/[]", b"1 2", b'"', b"\xef\xbb\xbf\xef\xbb\xbf[]", b"[\xef\xbb\xbf]", b"1" * 5000),
    *(b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b'[{"a":' * 50_000),
    b"[" + b"9" * 100_000 + b"]",
]  # fmt: skip
# Implementations differ: lone surrogates and numbers out of range are refused here, a BOM is not.
UNSETTLED = [
    *(rb'"\uD800"', rb'"\uDC00"', rb'"\uD800\uD800"', rb'"\uD834x"', rb'["\uDd1e\uD834"]', rb'{"\ud800":1}'),
    *(b"1e400", b"-1e400", b"[1e999999999]", b"0.4e00669999999999999999999999999999999999999999999999e99"),
]  # fmt: skip


def short(body: bytes) -> str:
    """A name for a case that may be too long to print."""
    return repr(body[:24])


@pytest.mark.parametrize("body", GOOD, ids=short)
def test_what_is_json_is_read(body: bytes) -> None:
    """Text that is JSON by RFC 8259 decodes to the same value as with Python's json, also after a BOM."""
    assert decode_body(body, Any, JSON) == json.loads(body)
    assert decode_body(b"\xef\xbb\xbf" + body, Any, JSON) == json.loads(body)


@pytest.mark.parametrize("body", [*BAD, *UNSETTLED], ids=short)
def test_values_that_are_not_json_are_refused(body: bytes) -> None:
    """Text that is not JSON, or cannot be represented, is a DecodeError that names the place and quotes no
    value.
    """
    with pytest.raises(DecodeError) as caught:
        decode_body(body, Any, JSON)
    assert caught.value.path.startswith("$")


@pytest.mark.parametrize("cast_to", CAST_TOS, ids=repr)
def test_every_case_to_every_type(cast_to: Any) -> None:
    """To any type and in both modes, each case is a value or a DecodeError."""
    refused: list[DecodeError] = []
    for body, strict in itertools.product((*GOOD, *BAD, *UNSETTLED), (True, False)):
        try:
            decode_body(body, cast_to, JSON, strict=strict)
        except DecodeError as error:
            refused.append(error)

    assert all(error.reason for error in refused)
    assert refused or cast_to in (None, bytes)


# --- generated texts


def _string(text: str) -> st.SearchStrategy[str]:
    """*text* as a JSON string, with or without escapes."""
    return st.booleans().map(lambda ascii_only: json.dumps(text, ensure_ascii=ascii_only))


SPACE = st.text(" \t\r\n", max_size=2)
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
STRINGS = st.text(st.characters(exclude_categories=["Cs"])).flatmap(_string)
SCALARS = st.sampled_from(["null", "true", "false"]) | NUMBERS | STRINGS


def _array(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(items, max_size=4).map(lambda parts: f"[{','.join(parts)}]")


def _object(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(STRINGS, SPACE, items).map(lambda parts: f"{parts[0]}{parts[1]}:{parts[2]}")
    return st.lists(member, max_size=4).map(lambda parts: f"{{{','.join(parts)}}}")


def _spaced(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(SPACE, items, SPACE).map("".join)


TEXTS = _spaced(
    st.recursive(SCALARS, lambda inner: _array(_spaced(inner)) | _object(_spaced(inner)), max_leaves=10)
)
BODIES = st.one_of(
    TEXTS.map(str.encode), mutated([*GOOD, *UNSETTLED]), mutated([body for body in BAD if len(body) < 1000])
)


def by_the_standard_library(body: bytes) -> Any:
    """The value from Python's json for UTF-8, without its extensions of RFC 8259; ValueError otherwise."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(body.decode().removeprefix("\ufeff"), parse_constant=refuse)


def is_settled(value: Any) -> bool:
    """Whether every implementation must accept it: no lone surrogate, no number out of range."""
    text = json.dumps(value, ensure_ascii=False)
    return "Infinity" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


@given(TEXTS)
def test_any_json_is_what_the_standard_library_says(text: str) -> None:
    """Any text of the grammar decodes to the same value as with Python's json."""
    assert decode_body(text.encode(), Any, JSON) == by_the_standard_library(text.encode())


@given(BODIES)
def test_broken_json_is_refused_where_the_standard_library_refuses(body: bytes) -> None:
    """Bytes that are nearly JSON decode to the same value as with Python's json, or raise a DecodeError."""
    assume(body.removeprefix(b"\xef\xbb\xbf").strip())  # an empty body is None if the type admits it
    try:
        expected = by_the_standard_library(body)
    except (ValueError, RecursionError):
        with pytest.raises(DecodeError):
            decode_body(body, Any, JSON)
        return
    assume(is_settled(expected))
    assert decode_body(body, Any, JSON) == expected


@given(BODIES, st.sampled_from(CAST_TOS), st.booleans(), st.data())
def test_only_validation_errors_leave_a_call(
    body: bytes, cast_to: Any, strict: bool, data: st.DataObject
) -> None:
    """A call answered with such bytes returns a value, or raises an APIResponseValidationError."""
    chunks = data.draw(pieces(body))

    async def call() -> None:
        transport = FakeTransport(respond(chunks=chunks, headers={"Content-Type": JSON}))
        async with AsyncAPIClient(BASE, transport=transport, strict_response_validation=strict) as api:
            with suppress(APIResponseValidationError):
                await api.get("/", cast_to)
            assert len(transport.requests) == 1
            assert transport.open_responses == 0

    asyncio.run(call())
