"""The items of a command line: headers, query parameters, fields of a JSON body, or a file as the body."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["HELP", "Items", "parse_items"]

HELP = "Header:value  query==value  field=text  field:=json  @file"

# The leftmost separator counts, the longer of two at the same position: `time=10:30` is a field.
_ITEM = re.compile(r"(?P<name>[^:=]+)(?P<separator>:=|==|:|=)(?P<value>.*)", re.DOTALL)


class Items(msgspec.Struct):
    """The parsed items of a command line."""

    headers: dict[str, str] = {}
    omitted: list[str] = []
    """Headers with an empty value: they are not sent."""
    params: dict[str, list[str]] = {}
    fields: dict[str, Any] = {}
    """The members of the JSON body."""
    file: Path | None = None
    """The file to send as the body."""


def parse_items(items: Iterable[str]) -> Items:
    """Return the parsed *items*.

    Raises:
        ValueError: An item is not of one of the five kinds, its JSON is not valid, or two bodies are given.

    """
    parsed = Items()
    for item in items:
        _add(parsed, item)
    if parsed.file is not None:
        if parsed.fields:
            raise ValueError("give either fields of a JSON body, or a file as the body")
        if not parsed.file.is_file():
            raise ValueError(f"no such file: {str(parsed.file)!r}")
        if not any(name.lower() == "content-type" for name in parsed.headers):
            kind = mimetypes.guess_type(parsed.file)[0]
            parsed.headers["Content-Type"] = kind or "application/octet-stream"
    return parsed


def _add(parsed: Items, item: str) -> None:
    if item.startswith("@"):
        if parsed.file is not None:
            raise ValueError("give one file as the body")
        parsed.file = Path(item[1:])
        return
    match = _ITEM.fullmatch(item)
    if match is None:
        # The item itself may be a secret in the wrong place.
        raise ValueError(f"each item must be one of: {HELP}; one of {len(item)} characters is not")
    name, value = match["name"], match["value"]
    match match["separator"]:
        case "==":
            parsed.params.setdefault(name, []).append(value)
        case "=":
            parsed.fields[name] = value
        case ":=":
            parsed.fields[name] = _decode(name, value)
        case _ if value:
            parsed.headers[name] = value.strip()
        case _:
            parsed.omitted.append(name)


def _decode(name: str, value: str) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise ValueError(f"field {name!r} must be JSON: {error}") from None
