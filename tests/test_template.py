"""Path templates: values in their segments, names that must match, and refused values."""

from __future__ import annotations

import json
import re
import uuid
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given
from urls import BASE, NASTY, PROPERTY, TEXT, URL_GRAMMAR, built
from yarl import URL

from aioapiclient._types import NOT_GIVEN, OMIT
from aioapiclient._url.template import template_of
from aioapiclient.errors import InvalidRequestError

TEMPLATES = json.loads((Path(__file__).parent / "cases" / "uritemplate_rfc6570.json").read_text("utf-8"))


class Color(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("octocat", "octocat"),
        (7, "7"),
        (True, "true"),
        (1.5, "1.5"),
        (Decimal("1.0"), "1.0"),
        (Color.RED, "red"),
        (date(2024, 2, 29), "2024-02-29"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("%20", "%2520"),
        ("é", "%C3%A9"),
        ("a b+c", "a%20b%2Bc"),
        ("x\r\nHost: evil", "x%0D%0AHost%3A%20evil"),
        ("a\\b", "a%5Cb"),
        ("../x", "..%2Fx"),
        ("me@h", "me%40h"),
        ("a;b", "a%3Bb"),
    ],
    ids=str,
)
def test_place_values(value: object, segment: str) -> None:
    """A value is one segment, whatever it contains: all but the unreserved characters are escaped."""
    assert built("/u/{id}/x", {"id": value}) == f"https://h/v1/u/{segment}/x"


@pytest.mark.parametrize(
    ("value", "rest"),
    [
        ("owner/repo", "owner/repo"),
        ("a//b/", "a//b/"),
        ("/a", "/a"),
        ("a:b@c!$&'()*+,;=", "a:b@c!$&'()*+,;="),
        ("a?b#c%2F[é]\\", "a%3Fb%23c%252F%5B%C3%A9%5D%5C"),
    ],
)
def test_slash_keeping_values(value: str, rest: str) -> None:
    """A {+name} keeps slashes and the other characters of a path; every other character is escaped."""
    assert built("/r/{+name}/x", {"name": value}) == f"https://h/v1/r/{rest}/x"


def test_slash_keeping_value_first() -> None:
    """A {+name} at the start of a path may bring the slash, but cannot make it look like another host."""
    assert built("{+path}/here", {"path": "/foo/bar"}) == "https://h/v1/foo/bar/here"
    for template, value in [("{+path}", "//evil/x"), ("/{+path}", "/evil/x")]:
        with pytest.raises(InvalidRequestError, match="//"):
            BASE.build(template, {"path": value})


@pytest.mark.parametrize("template", ["/a/{v}", "/a/{v}/b", "{v}/b", "/a/{+v}", "/a/{v}?q=1"])
@pytest.mark.parametrize("value", ["", ".", "..", ";x", "..;x", ".;"])
def test_values_refused(template: str, value: str) -> None:
    """An empty value, and one that makes a dot segment, is refused."""
    with pytest.raises(InvalidRequestError, match=r"empty|segment"):
        BASE.build(template, {"v": value})


@pytest.mark.parametrize("value", ["../x", "a/../b", "a/..", "./a", "a/.", "a/;x/b", "a/..;/b"])
def test_slash_keeping_values_refused(value: str) -> None:
    """A {+name} keeps slashes, so that no segment between them may be a dot segment."""
    with pytest.raises(InvalidRequestError, match="segment"):
        BASE.build("/a/{+v}", {"v": value})


@pytest.mark.parametrize(
    "value", [None, OMIT, NOT_GIVEN, float("nan"), float("inf"), Decimal("NaN")], ids=repr
)
def test_no_value(value: object) -> None:
    """None, the sentinels, NaN and infinity are refused in a path; the error names the parameter."""
    with pytest.raises(InvalidRequestError, match="id"):
        BASE.build("/u/{id}", {"id": value})


@pytest.mark.parametrize("value", [b"x", ["x"], {"a": 1}, {1}, object()], ids=repr)
def test_value_types(value: object) -> None:
    """A value that is not a scalar is a TypeError that names the parameter."""
    with pytest.raises(TypeError, match="id"):
        BASE.build("/u/{id}", {"id": value})


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("/u/{id}", {}, "'/u/{id}' needs path_params['id']"),
        ("/u/{id}", None, "'/u/{id}' needs path_params['id']"),
        ("/u/{id}", {"name": 1}, "needs path_params['id'], and has no {name}, which path_params name"),
        ("/u/{a}/{b}", {"b": 1, "c": 2}, "needs path_params['a'], and has no {c}, which path_params name"),
        ("/u/{a}/{b}", {}, "needs path_params['a'] and path_params['b']"),
        ("/u", {"id": 1, "x": 2}, "'/u' has no {id} and {x}, which path_params name"),
        ("/u/{id}", {"id": 1, "x": 2}, "'/u/{id}' has no {x}, which path_params name"),
        ("/u?key=hunter2&a={a}", {}, "'/u?...' needs path_params['a']"),
        ("/" + "u" * 200 + "/{a}", {}, "u...' needs path_params['a']"),
    ],
)
def test_names_must_match(path: str, values: dict[str, Any] | None, message: str) -> None:
    """Missing and unused names are refused, all of them in one message."""
    with pytest.raises(InvalidRequestError, match=re.escape(message)) as caught:
        BASE.build(path, values)

    assert "hunter2" not in str(caught.value)


def test_error_shows_no_value() -> None:
    """The messages about path_params name parameters and never show a value."""
    for values in [{"id": "hunter2/.."}, {"id": "hunter2", "x": "hunter2"}]:
        with pytest.raises(InvalidRequestError) as caught:
            BASE.build("/u/{+id}", values)
        assert "hunter2" not in str(caught.value)


def test_names() -> None:
    """Names may contain the characters of OpenAPI documents: dashes, dots, digits, any letters; one may be
    used twice.
    """
    values = {"user-id": 1, "a.b": 2, "0": 3, "größe": 4}
    assert built("/{user-id}/{a.b}/{0}/{größe}/{0}", values) == "https://h/v1/1/2/3/4/3"


def test_query_of_a_template() -> None:
    """A value in the query part of a template is escaped for the query, and may be empty."""
    assert built("/x?q={q}&f=1", {"q": "a&b=c#d+e é"}) == "https://h/v1/x?q=a%26b%3Dc%23d%2Be%20%C3%A9&f=1"
    assert built("/x?q={q}", {"q": ""}) == "https://h/v1/x?q="
    assert built("/x?q={+q}", {"q": "/a/b?c&d=e+f;g"}) == "https://h/v1/x?q=/a/b?c%26d%3De%2Bf%3Bg"


def test_percent_before_a_place() -> None:
    """A % before a placeholder is literal: a value cannot complete an escape."""
    assert built("/%{v}", {"v": "2e"}) == "https://h/v1/%252e"


def with_places(variables: dict[str, Any], expression: str) -> dict[str, Any]:
    """The variables that a template uses."""
    return {name: variables[name] for name in re.findall(r"\{\+?([^}]*)\}", expression)}


def rfc6570_cases() -> list[tuple[str, dict[str, Any], str]]:
    """The RFC 6570 vectors for ``{name}`` and ``{+name}``."""
    chosen: list[tuple[str, dict[str, Any], str]] = []
    for group in ("spec-examples", "spec-examples-by-section", "extended-tests"):
        for section in TEMPLATES[group].values():
            for template, expected in section["testcases"]:
                names = re.findall(r"\{([^}]*)\}", template)
                if not all(re.fullmatch(r"\+?\w+", name) for name in names):
                    continue  # Operators, lists of names, prefixes and explosion: OpenAPI has none of them.
                if "http:" in expected:
                    continue  # A complete URL there; here a path that starts like one is another URL.
                values = {
                    name: section["variables"].get(name) for name in (name.lstrip("+") for name in names)
                }
                if any(
                    value is None or value == "" or isinstance(value, list | dict)
                    for value in values.values()
                ):
                    continue  # RFC 6570 omits missing values, and joins lists; here each needs one value.
                if any("+" in name and "%2" in str(values[name[1:]]) for name in names if name[0] == "+"):
                    continue  # RFC 6570 keeps escapes in values of {+name}; here values are data.
                chosen.append((template, values, expected))
    return chosen


@pytest.mark.parametrize(("template", "values", "expected"), rfc6570_cases())
def test_rfc6570(template: str, values: dict[str, Any], expected: str) -> None:
    """{name} and {+name} expand as in RFC 6570."""
    assert built(template, values) == f"https://h/v1/{expected.removeprefix('/')}"


def test_rfc6570_is_not_filtered_away() -> None:
    """The filter on the RFC 6570 vectors keeps the intended ones."""
    assert len(rfc6570_cases()) >= 20


@pytest.mark.parametrize(
    "template", [case[0] for case in TEMPLATES["negative-tests"]["Failure Tests"]["testcases"]]
)
def test_rfc6570_failures(template: str) -> None:
    """Names that RFC 6570 refuses are refused, except dashes, which OpenAPI documents have."""
    variables = TEMPLATES["negative-tests"]["Failure Tests"]["variables"]
    if template == "/{default-graph-uri}":
        assert built(template, {"default-graph-uri": "x"}) == "https://h/v1/x"
        return
    with pytest.raises(InvalidRequestError):
        BASE.build(template, variables)


def test_template_of() -> None:
    """The template is the path as written, without its query; an absolute URL has none."""
    assert template_of("/users/{id}?q={q}") == "/users/{id}"
    assert template_of("users") == "users"
    assert template_of(URL("/a%2Fb?c", encoded=True)) == "/a%2Fb"
    assert template_of("https://h/users/7") is None
    assert template_of(URL("https://h/users/7")) is None


# --- properties


@PROPERTY
@given(TEXT | NASTY, st.sampled_from(["/u/{v}", "/u/{v}/x", "u/a{v}b", "/{v}", "/u.{v}"]))
def test_a_value_stays_in_its_segment(value: str, template: str) -> None:
    """Whatever the value, the URL keeps origin, base path and segments, and the value decodes unchanged."""
    try:
        url = BASE.build(template, {"v": value})
    except InvalidRequestError:
        return
    before, after = f"/v1/{template.removeprefix('/')}".split("{v}")
    assert str(url).startswith("https://h/v1/")
    assert URL(str(url), encoded=True) == url
    assert url.raw_path.count("/") == (before + after).count("/")
    assert unquote(url.raw_path[len(before) : len(url.raw_path) - len(after)]) == value
    assert URL(str(url)).path.startswith("/v1/")
    assert URL_GRAMMAR.fullmatch(str(url))


@PROPERTY
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_only_meaningless_values_are_refused(value: str) -> None:
    """A value is refused only for its effect on its segment."""
    assume(value not in (".", "..") and not re.match(r"\.{0,2};", value))
    assert built("/{v}", {"v": value}) == f"https://h/v1/{quote(value, safe='')}"


@PROPERTY
@given(TEXT | NASTY)
def test_a_slash_keeping_value_stays_below_the_base(value: str) -> None:
    """Whatever the value of a {+name}, the normalised path stays below the base path."""
    try:
        url = BASE.build("/u/{+v}", {"v": value})
    except InvalidRequestError:
        return
    assert unquote(url.raw_path) == f"/v1/u/{value}"
    assert URL(str(url)).path.startswith("/v1/u/")
    assert not url.raw_query_string
    assert not url.raw_fragment
    assert URL_GRAMMAR.fullmatch(str(url))
