"""Parse Content-Type and Content-Encoding: media type, format, charset, codings."""

from __future__ import annotations

import encodings.aliases
import functools
import re
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from aioapiclient._patterns import lazily

__all__ = [
    "LONGEST_HEADER",
    "Format",
    "as_json",
    "charset_of",
    "codings_of",
    "declared_charset",
    "media_type",
    "parse_content_type",
]

Format: TypeAlias = Literal["json", "msgpack", "yaml", "toml", "html", "text", "untyped", "other"]
"""The format of a body; ``untyped`` is unknown, and ``other`` is a type without a built-in codec."""

_SPLIT_HEADER = lazily(r"[;,]")
_CHARSET = lazily(r';\s*charset\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)
# Only built-in names: looking up any other name imports modules and is cached without a limit.
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
    # Sent by servers that do not know the type; the last value by S3.
    "": "untyped",
    "application/octet-stream": "untyped",
    "binary/octet-stream": "untyped",
}
_SUFFIXES: dict[str, Format] = {"/json": "json", "+json": "json", "+msgpack": "msgpack", "+yaml": "yaml"}
# Values that servers and gateways send although they are not codings (RFC 9110 §8.4.1): nothing is decoded.
# ``aws-chunked`` describes how an upload was signed, and S3 stores it with the object.
_NO_CODINGS: Final = frozenset({"", "identity", "none", "binary", "utf-8", "8bit", "aws-chunked"})
LONGEST_HEADER = 256
"""The number of characters of a content type that are read and cached."""


def media_type(content_type: str | None) -> str:
    """Return the media type in lower case, without parameters; "" without one."""
    return parse_content_type(content_type)[0]


def charset_of(content_type: str | None) -> str:
    """Return the Python codec for the text of a body: its ``charset``, for JSON too, else UTF-8.

    UTF-8 is also used for an unknown charset, and for a codec that is not for text (rot13).
    """
    return parse_content_type(content_type)[2]


def declared_charset(content_type: str | None) -> str | None:
    """Return the ``charset`` in *content_type*, unchanged, whether it is known or not; None if absent."""
    charset = _CHARSET.search((content_type or "")[:LONGEST_HEADER])
    return (charset[1] or charset[2] or None) if charset else None


def as_json(content_type: str | None) -> str:
    """Return the content type of JSON, in the charset that *content_type* declares."""
    charset = charset_of(content_type)
    return "application/json" if charset == "utf-8" else f"application/json; charset={charset}"


def codings_of(content_encoding: Iterable[str]) -> list[str]:
    """Return the codings that the values of a Content-Encoding header name, in lower case."""
    codings = (coding.strip().lower() for value in content_encoding for coding in value.split(","))
    return [coding for coding in codings if coding not in _NO_CODINGS]


def parse_content_type(content_type: str | None) -> tuple[str, Format, str]:
    """Return the media type of a Content-Type header, its format, and the codec for text."""
    return _parse((content_type or "")[:LONGEST_HEADER])


@functools.lru_cache(maxsize=256)
def _parse(header: str) -> tuple[str, Format, str]:
    media = _SPLIT_HEADER.split(header, maxsplit=1)[0].strip().lower()
    kind = _format(media)
    charset = _CHARSET.search(header)
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
        pass  # one byte is not valid UTF-16, which is a valid charset
    except LookupError:
        return "utf-8"
    return name
