"""multipart/form-data (RFC 7578): turn ``files`` and ``data`` into named parts, and join them into one body.

Names are written as browsers write them (HTML §4.10.21.8), which servers expect: in UTF-8, with quotes and
line breaks percent-encoded. This module does no I/O: `sources` opens and sends the parts.
"""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from aioapiclient._headers import check_layer, check_value
from aioapiclient._patterns import lazily
from aioapiclient._query import QueryStyle
from aioapiclient._types import NOT_GIVEN, OMIT, HeaderLayer
from aioapiclient.errors import InvalidRequestError

from .files import FilePart, is_path
from .relayed import relayed
from .sources import CHUNK, InMemory, Joined, OneShot, Source

__all__ = ["Part", "boundary_of", "field_parts", "file_parts", "join"]


class Part(msgspec.Struct, frozen=True):
    """One part of a multipart body."""

    label: str
    """Its name in error messages, such as ``files['avatar']``."""

    head: bytes
    """Its headers, with the blank line that ends them."""

    content: Any
    """Its content, of any kind that a body accepts."""


_MOST_NESTED: Final = 100  # levels, as in a query


def field_parts(pairs: Iterable[tuple[str, str]]) -> Iterator[Part]:
    """Yield the parts of plain fields: UTF-8, without a Content-Type (RFC 7578 §4.4, §5.1.2)."""
    for name, text in pairs:
        label = f"data[{name[:200]!r}]"
        yield Part(label, _head(name, None, ()), _utf8(text, label))


def file_parts(files: object, style: QueryStyle) -> Iterator[Part]:
    """Yield the parts of *files*, with nested names in the *style* of queries.

    Raises:
        InvalidRequestError: A name, type or header cannot be sent.
        TypeError: A value is not a file.
    """
    for name, value in _items(files):
        for field, entry in _flat_files(_name_text(name), value, style, 0):
            yield _file_part(field, entry)


def _items(files: Any) -> Iterable[tuple[object, object]]:
    if isinstance(files, Mapping):
        return cast("Mapping[object, object]", files).items()
    is_file = is_path(files) or isinstance(files, bytes | bytearray) or hasattr(files, "read")
    if is_file or not isinstance(files, Iterable):
        raise TypeError(f"files must be a mapping or pairs of names and files, not {type(files).__name__}")
    return [_pair(item) for item in cast("Iterable[object]", files)]


def _pair(item: object) -> tuple[object, object]:
    if isinstance(item, tuple | list):
        pair = cast("tuple[object, ...] | list[object]", item)
        if len(pair) == 2:
            return pair[0], pair[1]
    raise TypeError("files as an iterable must contain pairs of a name and a file")


def _name_text(name: object) -> str:
    if isinstance(name, str):
        return name
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    raise TypeError(f"the name of a file must be a str or an int, not {type(name).__name__}")


def _flat_files(name: str, value: object, style: QueryStyle, depth: int) -> Iterator[tuple[str, object]]:
    """Yield every file under *name*. Only a list is an array; a tuple is one file with its name."""
    if value is None or value is OMIT or value is NOT_GIVEN:
        return
    if depth > _MOST_NESTED:
        raise InvalidRequestError(f"{name[:200]!r} contains itself, or is nested over {_MOST_NESTED} deep")
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            member = _name_text(key)
            inner = f"{name}.{member}" if style.nesting == "dots" else f"{name}[{member}]"
            yield from _flat_files(inner, item, style, depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[object]", value)):
            # Files cannot be joined by commas, so the comma style repeats their name.
            suffix = {"brackets": "[]", "indices": f"[{index}]"}.get(style.arrays, "")
            yield from _flat_files(name + suffix, item, style, depth + 1)
    else:
        yield name, value


def _file_part(field: str, entry: object) -> Part:
    label = f"files[{field[:200]!r}]"
    name, content, content_type, headers = _passed_on(label, *_unpacked(label, entry))
    if isinstance(content, str):
        raise TypeError(
            f"{label} must be bytes, a binary file, a path, an async iterable or a FilePart, not a str;"
            " use a pathlib.Path for a path, and data= for text"
        )
    filename = _filename(label, name, content)
    if content_type is None:
        content_type = _type_of(content, filename)
    return Part(label, _head(field, filename, _part_headers(label, content_type, headers)), content)


def _unpacked(label: str, entry: object) -> tuple[Any, Any, Any, Any]:
    if not isinstance(entry, tuple):
        return None, entry, None, None
    items = cast("Sequence[Any]", entry)
    if not 2 <= len(items) <= 4:
        raise TypeError(f"{label} has {len(items)} items, not (name, content[, content type[, headers]])")
    name, content, content_type, headers = (*items, None, None)[:4]
    return name, content, content_type, headers


def _passed_on(label: str, name: Any, content: Any, content_type: Any, headers: Any) -> tuple[Any, ...]:
    """Fill in omitted values from a relayed message."""
    message = None if isinstance(content, (bytes, str)) else relayed(content, label)
    if message is None:
        return name, content, content_type, headers
    name = message.filename if name is None else name
    content_type = message.content_type if content_type is None else content_type
    given: dict[str, Any] = dict(headers or {})
    lower = {header.lower() for header in given}
    kept = {header: value for header, value in message.part_headers.items() if header.lower() not in lower}
    return name, content, content_type, kept | given


def _filename(label: str, name: object, content: object) -> str | None:
    """Return the name that was passed, else that of the file."""
    if name is OMIT:
        return None
    if name is not None:
        if not isinstance(name, str):
            raise TypeError(f"{label}: its file name must be a str, not {type(name).__name__}")
        return name
    file: Any = content.file if isinstance(content, FilePart) else content
    if is_path(file):
        return os.path.basename(os.fsdecode(file))
    own = getattr(file, "name", None)
    # A file without a path has a number as its name, or a text such as "<stdin>".
    if isinstance(own, str) and callable(getattr(file, "read", None)) and not own.startswith("<"):
        return os.path.basename(own) or None
    return None


def _type_of(content: object, filename: str | None) -> str:
    own = getattr(content, "content_type", None)
    if isinstance(own, str):
        return own
    suffix = os.path.splitext(filename or "")[1].lower()
    # Not guess_type, which would read the system's tables in the event loop.
    return mimetypes.types_map.get(suffix, "application/octet-stream")


def _part_headers(label: str, content_type: object, headers: object) -> list[tuple[str, str]]:
    """Return the headers of a part except its disposition; *headers* override its type."""
    layer = check_layer({"Content-Type": content_type}, cast("HeaderLayer | None", headers))
    if any(name.lower() == "content-disposition" for name, _ in layer):
        raise InvalidRequestError(
            f"{label}: the Content-Disposition header carries the names and cannot be set"
        )
    return [(name, value) for name, values in layer for value in values]


def _head(name: str, filename: str | None, headers: Iterable[tuple[str, str]]) -> bytes:
    disposition = f'form-data; name="{_escape(name)}"'
    if filename is not None:
        # Never filename*, which RFC 7578 §4.2 forbids here.
        disposition += f'; filename="{_escape(filename)}"'
    lines = [f"Content-Disposition: {disposition}", *(f"{key}: {value}" for key, value in headers)]
    return _utf8("\r\n".join([*lines, "", ""]), "the name of a field or a file")


# HTML escapes the quote, CR and LF; the other control characters must not be sent raw either.
_ESCAPES: Final = {code: f"%{code:02X}" for code in (*range(0x20), 0x22, 0x7F)}


def _escape(name: str) -> str:
    escaped = name.translate(_ESCAPES)
    # Parsers of quoted pairs would read a final backslash and the closing quote as an escaped quote.
    return f"{escaped[:-1]}%5C" if escaped.endswith("\\") else escaped


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        # Without the cause, because the UnicodeEncodeError contains the text.
        message = f"{what} cannot be encoded as UTF-8: lone surrogate at position {error.start}"
    raise InvalidRequestError(message)


# Possessive, because an unclosed quote would otherwise cause backtracking character by character.
_PARAMETER = lazily(r';[ \t]*([^\s=;"]+)=(?:"((?:[^"\\]++|\\.)*+)"|([^\s;"]*))')
# RFC 2046 §5.1.1.
_BOUNDARY = lazily(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")


def boundary_of(content_type: str | None) -> tuple[str, str]:
    """Return the boundary and the Content-Type that names it: the caller's, unchanged, if it has a boundary.

    A generated boundary has 128 random bits, so that no content can contain it.

    Raises:
        InvalidRequestError: The type is not multipart, or the boundary is invalid.
    """
    if content_type is None:
        content_type = "multipart/form-data"
    check_value("Content-Type", content_type)
    if not content_type.lower().lstrip().startswith("multipart/"):
        raise InvalidRequestError("Content-Type must be multipart for a body with files")
    for name, quoted, bare in _PARAMETER.findall(content_type):
        if name.lower() == "boundary":
            boundary = re.sub(r"\\(.)", r"\1", quoted) or bare
            if not _BOUNDARY.fullmatch(boundary):
                raise InvalidRequestError("the boundary in Content-Type is invalid (RFC 2046 §5.1.1)")
            return boundary, content_type
    boundary = os.urandom(16).hex()
    return boundary, f"{content_type}; boundary={boundary}"


def join(parts: list[tuple[bytes, Source]], boundary: bytes) -> Source:
    """Return the source of a multipart body (RFC 2046 §5.1.1), with its small parts joined in memory."""
    sources: list[Source] = []
    text = bytearray()
    once = [source.use for _, source in parts if isinstance(source, OneShot)]
    if len(set(once)) < len(once):
        raise InvalidRequestError("files has the same one-shot content twice: the second part would be empty")
    for head, source in parts:
        text += b"--%b\r\n%b" % (boundary, head)
        if source.content is not None and len(source.content) <= CHUNK:
            text += source.content
        else:
            sources += (InMemory(bytes(text)), source)
            text.clear()
        text += b"\r\n"
    text += b"--%b--\r\n" % boundary
    sources.append(InMemory(bytes(text)))
    return sources[0] if len(sources) == 1 else Joined(sources)
