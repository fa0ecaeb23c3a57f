"""Path templates: ``/users/{id}`` is parsed once, and filled with encoded values for each call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Final

import msgspec
from yarl import URL

from aioapiclient._patterns import lazily
from aioapiclient._query import percent_encode, scalar_text
from aioapiclient._types import NOT_GIVEN, OMIT
from aioapiclient.errors import InvalidRequestError

from .syntax import escape_illegal, is_absolute, refuse_controls, refuse_dot_segments

__all__ = ["CACHED_PATHS", "Template", "fill_template", "parse_template", "template_of"]

# A client has a few dozen paths; the limit is for paths with IDs inserted by hand.
CACHED_PATHS: Final = 512

_LONGEST_SHOWN: Final = 100  # characters of a path in a message

# Other schemes, and malformed http URLs. `documents:export` is an ordinary path.
_LOOKS_LIKE_URL = lazily(r"[a-z][a-z0-9+.-]*://|https?:|javascript:", re.IGNORECASE)

_NAME = lazily(r"\w+(?:[.-]\w+)*")

# All characters of a path (RFC 3986 §3.3) except "%", which is data here.
_encode_segments = partial(percent_encode, safe="/!$&'()*+,;=:@")
# The same for a query, without the delimiters of pairs, and without "+", often read as a space.
_encode_query_text = partial(percent_encode, safe="/?!$'()*,:@")


class _Place(msgspec.Struct, frozen=True):
    """One placeholder ``{name}`` of a template, and the literal text up to the next placeholder."""

    name: str
    encode: Callable[[str], str]
    in_path: bool
    literal: str


class Template(msgspec.Struct, frozen=True):
    """A parsed path, ready to be filled."""

    path: str
    """The path as written."""
    head: str
    """The literal text before the first placeholder."""
    places: tuple[_Place, ...]
    """The placeholders, each with the literal text after it."""
    names: frozenset[str]
    """The names of the placeholders."""


@lru_cache(CACHED_PATHS)
def parse_template(path: str) -> Template:
    """Split *path* at its ``{name}`` placeholders, and refuse a path that must not be sent."""
    refuse_controls(path, "the path")
    if path.startswith("//"):
        raise InvalidRequestError("a path that starts with '//' looks like another host; write one '/'")
    if _LOOKS_LIKE_URL.match(path) is not None:
        raise InvalidRequestError("the path looks like a URL that is neither http:// nor https://")
    head, *rest = path.split("{")
    _check_literal(head, in_path=True)
    places: list[_Place] = []
    in_path = "?" not in head
    for piece in rest:
        expression, closed, literal = piece.partition("}")
        if not closed:
            raise InvalidRequestError("a '{' in the path is never closed; write a literal one as %7B")
        _check_literal(literal, in_path)
        places.append(_parse_place(expression, in_path, escape_illegal(literal)))
        in_path = in_path and "?" not in literal
    template = Template(path, escape_illegal(head), tuple(places), frozenset(place.name for place in places))
    # A value is never empty, so "x" represents a harmless one.
    sample = template.head + "".join(["x" + place.literal for place in places])
    refuse_dot_segments(sample.partition("?")[0], "the path")
    return template


def _check_literal(literal: str, in_path: bool) -> None:
    if "}" in literal:
        raise InvalidRequestError("a '}' in the path was never opened; write a literal one as %7D")
    if "#" in literal:
        raise InvalidRequestError(
            "the path contains a fragment, which is never sent; write a literal '#' as %23"
        )
    if in_path and "\\" in literal.partition("?")[0]:
        raise InvalidRequestError("the path contains a backslash; write '/', or %5C for a literal one")


def _parse_place(expression: str, in_path: bool, literal: str) -> _Place:
    keeps_slashes = expression.startswith("+")
    name = expression.removeprefix("+")
    if _NAME.fullmatch(name) is None:
        raise InvalidRequestError(f"{{{expression}}} in the path is neither {{name}} nor {{+name}}")
    if not keeps_slashes:
        return _Place(name, percent_encode, in_path, literal)
    return _Place(name, _encode_segments if in_path else _encode_query_text, in_path, literal)


def fill_template(template: Template, values: Mapping[str, Any]) -> str:
    """Return the template with every placeholder filled: a path, possibly with ``?`` and a query."""
    if len(values) != len(template.names):
        raise _wrong_names(template, values)
    filled = template.head
    risky = False
    for place in template.places:
        name = place.name
        try:
            value = values[name]
        except KeyError:
            raise _wrong_names(template, values) from None
        text = value if type(value) is str else _place_text(name, value)
        if place.in_path:
            if not text:
                raise InvalidRequestError(f"path_params[{name!r}] is empty")
            # Only a dot or a semicolon can change the meaning of a segment.
            risky = risky or "." in text or ";" in text
        filled += place.encode(text) + place.literal
    if risky:
        refuse_dot_segments(filled.partition("?")[0], "the path, with path_params filled in,")
    return filled


def _wrong_names(template: Template, values: Mapping[str, Any]) -> InvalidRequestError:
    missing = sorted(template.names.difference(values))
    unused = sorted({str(name) for name in values}.difference(template.names))
    needs = " and ".join(f"path_params[{name!r}]" for name in missing)
    has_not = " and ".join(f"{{{name}}}" for name in unused)
    parts = [f"needs {needs}"] if missing else []
    parts += [f"has no {has_not}, which path_params name"] if unused else []
    return InvalidRequestError(f"{_shown(template.path)} {', and '.join(parts)}")


def _shown(path: str) -> str:
    """Return the path for a message, without its query, which may contain a secret."""
    if not path:
        return "the path"
    bare, mark, _ = path.partition("?")
    shown = bare if len(bare) <= _LONGEST_SHOWN else f"{bare[:_LONGEST_SHOWN]}..."
    return repr(f"{shown}?..." if mark else shown)


def _place_text(name: str, value: object) -> str:
    if value is None or value is OMIT or value is NOT_GIVEN:
        raise InvalidRequestError(f"path_params[{name!r}] is {value!r}; a path needs a value")
    text = str(value) if type(value) is int else scalar_text(value, name)
    if text is None:
        raise TypeError(f"path_params[{name!r}] must be a scalar, not {type(value).__name__}")
    return text


def template_of(path: str | URL) -> str | None:
    """Return *path* as written, without its query; it has low cardinality, for metrics.

    For an absolute URL, of which there may be any number, return None.
    """
    text = path if isinstance(path, str) else str(path)
    return None if is_absolute(text) else text.partition("?")[0]
