"""Link headers (RFC 8288): their links, and where they lead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from yarl import URL

from ._patterns import lazily
from ._url.base import resolve_reference, without_fragment
from .errors import InvalidRequestError

__all__ = ["Link", "iter_links", "parse_links"]


class Link(NamedTuple):
    """One link of a Link header (RFC 8288 §3)."""

    target: URL
    """Where it leads, resolved."""

    relations: tuple[str, ...]
    """Its relation types, in lower case."""

    parameters: Mapping[str, str]
    """The first of each of its parameters, by name in lower case; ``title*`` is decoded (RFC 8187)."""


def parse_links(header_values: Iterable[str], base: URL) -> dict[str, URL]:
    """The targets of Link headers by relation type in lower case, resolved against *base*.

    The first link of a relation wins. A link whose ``anchor`` is another resource says nothing about
    this one and is left out. Never raises: what is malformed is ignored. See `iter_links` for the rest.
    """
    targets: dict[str, URL] = {}
    for link in iter_links(header_values, base):
        if _is_about(link, base):
            for relation in link.relations:
                targets.setdefault(relation, link.target)
    return targets


def _is_about(link: Link, base: URL) -> bool:
    anchor = link.parameters.get("anchor")
    if anchor is None:
        return True
    try:
        return without_fragment(resolve_reference(base, anchor)) == without_fragment(base)
    except InvalidRequestError:
        return False


# What four bytes of a header resolve to may be as long as the URL of the response: a server that names
# the longest path there is, and links to it ten thousand times, is not to fill the memory.
_LONGEST: Final = 1 << 20


def iter_links(header_values: Iterable[str], base: URL) -> list[Link]:
    """Every link of Link headers that can be read, in order (RFC 8288 appendix B); never raises.

    Takes time linear in the input. Targets count up to 1 MiB of characters, all together.
    """
    links: list[Link] = []
    size = 0
    for value in header_values:
        for reference, parameters in _scan_links(value):
            try:
                target = resolve_reference(base, reference)
            except InvalidRequestError:
                continue
            size += len(target.raw_path_qs)
            if size > _LONGEST:
                return links
            links.append(Link(target, tuple(parameters.get("rel", "").lower().split()), parameters))
    return links


_SPACE = lazily(r"[ \t]*")
_BETWEEN = lazily(r"[ \t,]*")
_JUNK = lazily(r"[^,]*")
_PARAMETER = lazily(r"([^\s=;,\"]*)[ \t]*")
_TOKEN_VALUE = lazily(r"[^;,]*")
# The closing quote may be missing: then the rest is the value, as RFC 8288 appendix B.3 has it.
_QUOTED_VALUE = lazily(r'"([^"\\]*(?:\\.[^"\\]*)*)\\?"?', re.DOTALL)
_QUOTED_PAIR = lazily(r"\\(.)", re.DOTALL)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()


def _scan_links(value: str) -> list[tuple[str, dict[str, str]]]:
    found: list[tuple[str, dict[str, str]]] = []
    position = _end(_BETWEEN, value, 0)
    while position < len(value):
        if value[position] != "<":
            position = _end(_JUNK, value, position)
        else:
            closing = value.find(">", position)
            if closing < 0:
                break
            parameters, end = _scan_parameters(value, closing + 1)
            found.append((value[position + 1 : closing], parameters))
            position = end
        position = _end(_BETWEEN, value, position)
    return found


def _scan_parameters(value: str, position: int) -> tuple[dict[str, str], int]:
    """The parameters from *position* on, and where they end: at a comma that is not quoted, or at the end."""
    parameters: dict[str, str] = {}
    position = _end(_SPACE, value, position)
    while position < len(value) and value[position] != ",":
        if value[position] != ";":
            position = _end(_TOKEN_VALUE, value, position)
            continue
        match: Any = _PARAMETER.match(value, _end(_SPACE, value, position + 1))  # matches nothing, too
        name, position = match[1].lower(), match.end()
        text = ""
        if value.startswith("=", position):
            text, position = _scan_value(value, _end(_SPACE, value, position + 1))
        if name:
            parameters.setdefault(name, _decode_extended(text) if name.endswith("*") else text)
        position = _end(_SPACE, value, position)
    return parameters, position


def _scan_value(value: str, position: int) -> tuple[str, int]:
    match = _QUOTED_VALUE.match(value, position)
    if match is not None:
        return _QUOTED_PAIR.sub(r"\1", match[1]), match.end()
    end = _end(_TOKEN_VALUE, value, position)
    return value[position:end].strip(), end


def _decode_extended(text: str) -> str:
    """``UTF-8'de'n%C3%A4chste`` decoded (RFC 8187); anything else as it stands."""
    charset, _, rest = text.partition("'")
    _, quote, encoded = rest.partition("'")
    if not quote or charset.lower() not in ("utf-8", "iso-8859-1"):
        return text
    return unquote(encoded, encoding=charset, errors="replace")
