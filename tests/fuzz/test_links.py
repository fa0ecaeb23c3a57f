"""Link headers: links are parsed however they are written, and broken ones never raise."""

from __future__ import annotations

import re

from fuzz.mutations import mutated
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from aioapiclient._response_headers import iter_links, parse_links

BASE = URL("https://h/items?page=1")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
GOOD = [
    b'<https://h/items?page=2>; rel="next", <https://h/items?page=9>; rel="last"',
    b'</a>; rel=next; title="a,b;c \\"d\\" <e>"; anchor="#x", <b>;rel="prev  start"',
    b"<>; rel=self, <//other/x?q=1,2;3>; REL=Next; title*=UTF-8'de'n%c3%a4chste",
]
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=12)
RELATIONS = st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True)
TARGETS = st.from_regex(r"/[a-z0-9/,;=?&%20\-]{0,12}", fullmatch=True).filter(
    # yarl has no empty query, and no half of an escape survives.
    lambda target: not target.startswith("//") and re.fullmatch(r"(?:[^%?]|%20|\?(?=.))*", target)
)
NAMES = st.from_regex(r"x[a-z0-9]{0,5}", fullmatch=True)
SPACE = st.text(" \t", max_size=2)


@st.composite
def written(draw: st.DrawFn) -> tuple[str, str, list[str], dict[str, str]]:
    """A link in one of its spellings, and its meaning: target, relations and other parameters."""
    target = draw(TARGETS)
    relations = draw(st.lists(RELATIONS, min_size=1, max_size=3))
    others = draw(st.dictionaries(NAMES, TEXT, max_size=3))
    text = f"<{target}>"
    for name, value in [("rel", " ".join(relations)), *others.items()]:
        quoted = '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
        if TOKEN.fullmatch(value) and draw(st.booleans()):
            quoted = value
        name = name.upper() if draw(st.booleans()) else name
        text += f"{draw(SPACE)};{draw(SPACE)}{name}{draw(SPACE)}={draw(SPACE)}{quoted}"
    return text, target, relations, others


@given(st.lists(written(), max_size=4), SPACE, st.booleans())
def test_what_is_written_is_read_back(
    links: list[tuple[str, str, list[str], dict[str, str]]], space: str, in_one: bool
) -> None:
    """Any links, quoted or not, in one header or in several, have the targets and parameters given."""
    texts = [text for text, *_ in links]
    found = iter_links([f"{space},{space},".join(texts)] if in_one else texts, BASE)

    assert [(str(link.target), list(link.relations)) for link in found] == [
        (f"https://h{target}", relations) for _, target, relations, _ in links
    ]
    for link, (_, _, relations, others) in zip(found, links, strict=True):
        assert link.parameters == {"rel": " ".join(relations), **others}


@given(st.lists(mutated(GOOD, most=8).map(lambda data: data.decode("latin-1")), max_size=3))
def test_broken_links_never_raise(values: list[str]) -> None:
    """From a text close to a Link header, only links with complete targets are returned."""
    found = iter_links(values, BASE)

    assert all(link.target.scheme and not re.search(r"[\s<>]", str(link.target)) for link in found)
    targets = parse_links(values, BASE)
    assert set(targets.values()) <= {link.target for link in found}
    assert set(targets) <= {relation for link in found for relation in link.relations}
