"""Link headers: their targets by relation, including malformed ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from urls import NASTY, PROPERTY, TEXT
from yarl import URL

from aioapiclient._response_headers import iter_links, parse_links

LINKS = json.loads((Path(__file__).parent / "cases" / "link_rfc8288.json").read_text("utf-8"))


def as_values(value: str | list[str]) -> list[str]:
    """The header lines of a case."""
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("case", LINKS["cases"], ids=lambda case: case["source"][:40])
def test_link_vectors(case: dict[str, Any]) -> None:
    """Link headers parse as in RFC 8288 and other implementations' suites."""
    base = URL(case["base"] or "http://base.example/", encoded=True)
    values = as_values(case["value"])
    links = iter_links(values, base)
    assert len(links) == len(case["links"])
    for link, expected in zip(links, case["links"], strict=True):
        assert link.target == URL(expected.pop("target"), encoded=True)
        assert list(link.relations) == expected.pop("rel")
        assert {name: link.parameters[name] for name in expected} == expected
    for relation, target in parse_links(values, base).items():
        assert target == next(link.target for link in links if relation in link.relations)


def links_of(value: str) -> dict[str, str]:
    """The targets in a Link header, by relation."""
    return {name: str(url) for name, url in parse_links([value], URL("https://h/items?page=2")).items()}


def test_first_link_of_a_relation_wins() -> None:
    """The first link of a relation wins, even over several header lines."""
    links = parse_links(["<a>; rel=next", "<b>; rel=next, <c>; rel=prev"], URL("https://h/"))
    assert {name: str(url) for name, url in links.items()} == {"next": "https://h/a", "prev": "https://h/c"}


def test_link_about_another_resource() -> None:
    """A link whose anchor is another resource is left out; one about this one, or a part of it, is not."""
    assert links_of('<a>; rel=next; anchor="/other"') == {}
    assert links_of('<a>; rel=next; anchor="//h:x"') == {}
    assert links_of('<a>; rel=next; anchor="#part"') == {"next": "https://h/a"}
    assert links_of('<a>; rel=next; anchor="?page=2"') == {"next": "https://h/a"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("garbage, <a>; rel=next", {"next": "https://h/a"}),
        ("<a; rel=next", {}),
        ('<a>; rel="next', {"next": "https://h/a"}),
        ('<a>; rel="next\\', {"next": "https://h/a"}),
        ("<a>; rel", {}),
        ("<a>; rel=", {}),
        ("<a>;;; rel=next;", {"next": "https://h/a"}),
        ("<a> junk; rel=next", {"next": "https://h/a"}),
        ('<a>; ="x"; "y"; rel=next', {"next": "https://h/a"}),
        ("<a>rel=next", {}),
        ("<>; rel=self", {"self": "https://h/items?page=2"}),
        ("<//h:x/>; rel=next, <b>; rel=prev", {"prev": "https://h/b"}),
        ("<a\x00>; rel=next", {}),
        ("<a>; title*=UTF-8'; rel=next", {"next": "https://h/a"}),
        ("<a>; title*=klingon''x; rel=next", {"next": "https://h/a"}),
        ("", {}),
        (",,,", {}),
    ],
)
def test_malformed_links(value: str, expected: dict[str, str]) -> None:
    """Malformed parts of a Link header are ignored, and the rest is read."""
    assert links_of(value) == expected


@PROPERTY
@given(st.lists(TEXT | NASTY | st.text('<>,;="\\ arel')))
def test_links_never_raise(values: list[str]) -> None:
    """No Link header makes the parser raise."""
    assert isinstance(parse_links(values, URL("https://h/")), dict)
