"""What a Content-Type header says: the media type, the format to decode by, and the charset of text."""

from __future__ import annotations

import encodings.aliases
import functools
import re
from typing import Literal, TypeAlias

from aioapiclient._patterns import lazily

__all__ = ["LONGEST_HEADER", "Format", "charset_of", "media_type", "parse_content_type"]

Format: TypeAlias = Literal["json", "msgpack", "yaml", "toml", "html", "text", "other"]

_SPLIT_HEADER = lazily(r"[;,]")
_CHARSET = lazily(r';\s*charset\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)
# Only names that Python knows by heart: to look up another imports modules, and is remembered for ever.
_CHARSETS = {*encodings.aliases.aliases, *encodings.aliases.aliases.values(), "cp874", "koi8_t", "koi8_u"}
_FORMATS: dict[str, Format] = {
    "application/msgpack": "msgpack",
    "application/x-msgpack": "msgpack",
    "application/vnd.msgpack": "msgpack",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "text/yaml": "yaml",
    "application/toml": "toml",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/text": "text",
}
_SUFFIXES: dict[str, Format] = {"/json": "json", "+json": "json", "+msgpack": "msgpack", "+yaml": "yaml"}
LONGEST_HEADER = 256
"""Characters of a content type that are read and remembered."""


def media_type(content_type: str | None) -> str:
    """The media type in lower case, without parameters; "" when there is none."""
    return parse_content_type(content_type)[0]


def charset_of(content_type: str | None) -> str:
    """The Python codec for the text of a body: its ``charset``, else UTF-8.

    UTF-8 stands in for an unknown charset too, for codecs that are none (rot13), and for whatever a
    JSON body claims (RFC 8259 §8.1).
    """
    return parse_content_type(content_type)[2]


def parse_content_type(content_type: str | None) -> tuple[str, Format, str]:
    """The media type, the format that it stands for, and the codec for text, of a Content-Type header."""
    return _parse((content_type or "")[:LONGEST_HEADER])


@functools.lru_cache(maxsize=256)
def _parse(header: str) -> tuple[str, Format, str]:
    media = _SPLIT_HEADER.split(header, maxsplit=1)[0].strip().lower()
    kind = _format(media)
    charset = _CHARSET.search(header) if kind != "json" else None
    return media, kind, _codec(charset[1] or charset[2] or "") if charset else "utf-8"


def _format(media: str) -> Format:
    if media in _FORMATS:
        return _FORMATS[media]
    suffix = next((end for end in _SUFFIXES if media.endswith(end)), None)
    if suffix is not None:
        return _SUFFIXES[suffix]
    return "text" if media.startswith("text/") else "other"


def _codec(charset: str) -> str:
    name = charset.lower().replace("-", "_")
    if name not in _CHARSETS:
        return "utf-8"
    try:
        b"a".decode(name)
    except UnicodeError:
        pass  # one byte is not UTF-16, which is a charset all the same
    except LookupError:
        return "utf-8"
    return name
