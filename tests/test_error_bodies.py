"""The types that error bodies decode to, by status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bodies import CAST_TOS, CONTENT_TYPES, JSON, MSGPACK, Outer, Plain, User, steady
from hypothesis import given
from hypothesis import strategies as st

from aioapiclient._codecs.error_bodies import (
    ProblemDetails,
    check_error_types,
    decode_error_body,
    error_type_for,
)
from aioapiclient.errors import InvalidRequestError

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
        (b'{"error":"x"}', "text/html", None, {"error": "x"}),
        (b"{broken", "text/html", None, "{broken"),
        ('{"error":"\u65e5"}'.encode("gbk"), "application/json; charset=gbk", None, {"error": "\u65e5"}),
        ('{"error":"\u65e5"}'.encode("utf-16"), "text/plain; charset=utf-16", None, {"error": "\u65e5"}),
        (b" \r\n", JSON, User, None),
        (b" \r\n", "text/html", None, None),
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
    """An error body is decoded to its type if it matches, otherwise to plain data for JSON, to text, or to
    None.
    """
    assert decode_error_body(body, content_type, error_type) == expected


@steady
@given(
    st.binary(max_size=40),
    st.sampled_from(CONTENT_TYPES),
    st.sampled_from([*CAST_TOS, None, Plain, ProblemDetails]),
)
def test_error_bodies_never_raise(body: bytes, content_type: str | None, error_type: Any) -> None:
    """The body of an error never masks the status, and decodes to the same value each time."""
    first, second = (decode_error_body(body, content_type, error_type) for _ in range(2))

    assert repr(first) == repr(second)


def test_error_bodies_survive_hooks() -> None:
    """A broken hook does not mask the status either, and a working one is used."""

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
    ("status", "expected"),
    [(404, User), (409, Outer), (499, Outer), (500, dict), (999, dict), (302, "default")],
)
def test_error_type_for(status: int, expected: Any) -> None:
    """The exact status takes precedence over its class, and that over the default."""
    error_types: dict[int | str, Any] = {"default": "default", "4XX": Outer, "5XX": dict, 404: User}
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
