"""`Cache-Control` of requests and responses, parsed (RFC 9111 §5.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

__all__ = ["Directives", "parse_directives", "seconds"]

Directives = Mapping[str, str]
"""Values by name in lower case, without quotes; empty for a directive without a value."""

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*("?)')
_PART: Final = re.compile(r'((?:[^,"]|"(?:[^"\\]|\\.)*"?)+)')
_DIRECTIVE: Final = re.compile(
    r'\s*([^\s="]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))\s*)?(.*)', re.DOTALL
)
_MOST: Final = 1 << 31  # seconds, which count as infinite (RFC 9111 §1.2.2)


@lru_cache(maxsize=1024)
def parse_directives(text: str) -> Directives:
    """Parse the values of ``Cache-Control``, joined by commas. Of a repeated time, the smallest counts."""
    if "" in _QUOTED.findall(text):  # an unclosed quote must not hide the directives behind it
        text = text.replace('"', " ")
    found: dict[str, str] = {}
    for part in _PART.findall(text):
        match = _DIRECTIVE.fullmatch(part)
        if match is None:
            continue
        name, quoted, plain, rest = match.groups()
        value = quoted if quoted is not None else (plain or "")
        if rest.strip():
            value = f"{value} {rest}"  # which makes a time invalid
        name = name.lower()
        found[name] = value if name not in found else _less(found[name], value)
    return found


def _less(one: str, other: str) -> str:
    return min(one, other, key=_number)


def seconds(directives: Directives, name: str) -> int | None:
    """Return the time of a directive in seconds; None if it is missing, and 0 if it is not a number.

    Args:
        directives: The directives.
        name: The name of the directive in lower case.
    """
    value = directives.get(name)
    return None if value is None else _number(value)


def _number(value: str) -> int:
    if not (value.isdecimal() and value.isascii()):
        return 0
    return min(int(value), _MOST) if len(value) < 20 else _MOST
