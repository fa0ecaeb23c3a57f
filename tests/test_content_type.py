"""The Content-Type header: media type and charset, and how invalid values are read."""

from __future__ import annotations

import sys

import pytest
from bodies import User, steady
from hypothesis import given
from hypothesis import strategies as st

from aioapiclient._codecs.content_type import as_json, charset_of, codings_of, media_type
from aioapiclient._codecs.decoders import decode_body


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
    """The media type is the text before the first parameter, in lower case."""
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
        ("application/json; charset=utf-16", "utf_16"),
        ("application/json; charset=GBK", "gbk"),
    ],
)
def test_charset(header: str | None, expected: str) -> None:
    """A charset is a text codec that Python knows, even for JSON; UTF-8 replaces others."""
    assert charset_of(header) == expected
    assert b"abc!".decode(charset_of(header))
    assert charset_of(as_json(header)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        (["gzip"], ["gzip"]),
        (["aws-chunked,GZip"], ["gzip"]),
        (["identity", "none, binary"], []),
        (["UTF-8"], []),
        ([" 8bit ,"], []),
        (["gzip, br"], ["gzip", "br"]),
        (["utf8x"], ["utf8x"]),
    ],
)
def test_codings(values: list[str], expected: list[str]) -> None:
    """A content coding is recognised by its name; meaningless names count as none."""
    assert codings_of(values) == expected


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


@steady
@given(st.text(max_size=80))
def test_any_content_type_is_read(header: str) -> None:
    """Any content type has a media type, and a charset that Python knows for text."""
    assert media_type(header) == media_type(header).lower()
    assert isinstance(b"".join([b"x"]).decode(charset_of(header), "replace"), str)
