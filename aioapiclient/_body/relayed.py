"""Relayed messages as content: recognised by their attributes, and streamed as they arrive.

These are the objects that a relaying service has: aiohttp's ``StreamReader``, ``BodyPartReader``,
``web.FileField``, ``web.Request`` and ``ClientResponse``, and an `AsyncAPIResponse`. Nothing here imports
aiohttp.
"""

from __future__ import annotations

import binascii
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from aioapiclient._codecs.content_type import codings_of
from aioapiclient.errors import InvalidRequestError, RequestNotReplayableError, StreamConsumedError

__all__ = ["Relayed", "content_type_of", "refuse_writers", "relayed"]

_CHUNK: Final = 64 << 10
_NO_HEADERS: Final[Mapping[str, str]] = {}
# Headers that a part does not keep, because its names, its coding and its framing are written anew.
_OWN_HEADERS: Final = frozenset(
    {"content-disposition", "content-length", "content-transfer-encoding", "content-type"}
)
_CODING: Final = "Content-Encoding"
_CODED: Final = frozenset({"base64", "quoted-printable"})  # RFC 2045 §6.1; other values change no byte


class Relayed(msgspec.Struct, frozen=True):
    """The properties of a relayed message."""

    content: bytes | None = None
    """The bytes, if they are in memory."""
    file: Any = None
    """An open file with the bytes."""
    chunks: Callable[[], AsyncIterator[Any]] | None = None
    """Creates the iterator over the bytes; can be called once."""
    size: int | None = None
    """The length in bytes, if the message declares it."""
    filename: str | None = None
    """The file name that the message declares."""
    content_type: str | None = None
    """The media type that the message declares."""
    part_headers: Mapping[str, str] = _NO_HEADERS
    """The other headers of a part of a form."""


def relayed(content: Any, what: str = "content") -> Relayed | None:
    """Return the properties of a received message; None for any other object.

    Raises:
        RequestNotReplayableError: Its content has already been read, so it would be sent empty.
    """
    if hasattr(content, "iter_any") and hasattr(content, "at_eof"):
        return _of_stream(content, what, _NO_HEADERS)
    headers = getattr(content, "headers", None)
    if not isinstance(headers, Mapping):
        return None
    if callable(getattr(content, "read_chunk", None)):
        return _of_part(content, what)
    if hasattr(content, "filename") and hasattr(getattr(content, "file", None), "read"):
        return _of_field(content)
    if hasattr(getattr(content, "content", None), "iter_any"):
        return _of_stream(content.content, what, content.headers)
    if callable(getattr(content, "_take_chunks", None)):
        return _of_response(content, what)
    return None


def refuse_writers(name: str, value: object) -> None:
    """Raise `TypeError` for aiohttp's ``FormData`` and ``MultipartWriter``, which are not content."""
    if hasattr(value, "add_field") or hasattr(value, "append_form"):
        raise TypeError(
            f"{name} must not be aiohttp's {type(value).__name__}; pass its files in files=, as a mapping"
            " or pairs, and its fields in data="
        )


def content_type_of(content: object) -> str | None:
    """Return the media type of a message; None for any other object."""
    message = relayed(content)
    return None if message is None else message.content_type


def _of_stream(stream: Any, what: str, headers: Mapping[str, str]) -> Relayed:
    """Describe aiohttp's ``StreamReader``, on its own or as the content of a message with *headers*."""
    is_over = stream.at_eof()
    if is_over and stream.total_bytes:
        raise _was_read(what)
    return Relayed(
        content=b"" if is_over else None,
        chunks=stream.iter_any,
        size=_length(headers),
        filename=_filename_of(headers),
        content_type=headers.get("Content-Type"),
    )


def _of_part(part: Any, what: str) -> Relayed:
    """Describe aiohttp's ``BodyPartReader``."""
    if part.at_eof():
        raise _was_read(what)
    headers: Mapping[str, str] = part.headers
    coding = headers.get("Content-Transfer-Encoding", "").strip().lower()
    # In a form, a length is not reliable (RFC 7578 §4.8).
    is_field = headers.get("Content-Disposition", "").lstrip().lower().startswith("form-data")
    size = None if is_field or coding in _CODED else _length(headers)
    return Relayed(
        chunks=lambda: _read_part(part.read_chunk, coding),
        size=size,
        filename=part.filename,
        content_type=headers.get("Content-Type"),
        part_headers=_part_headers(headers),
    )


def _of_field(field: Any) -> Relayed:
    """Describe aiohttp's ``web.FileField``."""
    return Relayed(
        file=field.file,
        filename=field.filename,
        content_type=field.content_type or None,
        part_headers=_part_headers(field.headers),
    )


def _of_response(response: Any, what: str) -> Relayed:
    """Describe an `AsyncAPIResponse`, read or not."""
    headers: Mapping[str, str] = response.headers
    try:
        content: bytes | None = response.body
    except StreamConsumedError:
        content = None
    if content is None and response.is_closed:
        raise _was_read(what)
    # Error bodies are always decompressed.
    is_as_sent = response.ok and not response.request._settings.decompress
    return Relayed(
        content=content,
        chunks=response.iter_bytes,
        size=None if response.method == "HEAD" else _length(headers, is_as_sent),
        filename=_filename_of(headers),
        content_type=headers.get("Content-Type"),
        part_headers={"Content-Encoding": headers[_CODING]} if is_as_sent and _CODING in headers else {},
    )


def _was_read(what: str) -> RequestNotReplayableError:
    return RequestNotReplayableError(
        f"{what} has already been read and would be sent empty; pass the data that was read"
    )


def _part_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OWN_HEADERS}


def _length(headers: Mapping[str, str], is_as_sent: bool = False) -> int | None:
    """Return the length of the data that will be read; None if it was decompressed."""
    if not is_as_sent and codings_of([headers.get(_CODING, "")]):
        return None
    value = headers.get("Content-Length", "")
    return int(value) if value.isascii() and value.isdigit() else None


def _filename_of(headers: Mapping[str, str]) -> str | None:
    disposition = headers.get("Content-Disposition")
    if disposition is None:
        return None
    from email.message import Message  # imported here, because few messages name a file

    message = Message()
    message["Content-Disposition"] = disposition
    name = message.get_filename()
    return os.path.basename(name.replace("\\", "/")) or None if name else None


async def _read_part(read_chunk: Callable[[int], Awaitable[bytes]], coding: str) -> AsyncIterator[bytes]:
    decode = _DECODERS.get(coding)
    rest = b""
    while chunk := await read_chunk(_CHUNK):
        if decode is None:
            yield bytes(chunk)
        else:
            data, rest = decode(rest + chunk, False)
            yield data
    if decode is not None:
        yield decode(rest, True)[0]


def _from_base64(data: bytes, is_last: bool) -> tuple[bytes, bytes]:
    """Decode complete groups of four, and return the rest undecoded."""
    letters = data.translate(None, b"\r\n\t ")
    end = len(letters) if is_last else len(letters) // 4 * 4
    try:
        return binascii.a2b_base64(letters[:end]), letters[end:]
    except binascii.Error:
        pass  # raised below, without the content in its context
    raise InvalidRequestError("a relayed part declares base64 but is not valid base64")


def _from_quoted_printable(data: bytes, is_last: bool) -> tuple[bytes, bytes]:
    """Decode complete lines, and return the rest undecoded."""
    end = len(data) if is_last else data.rfind(b"\n") + 1
    return binascii.a2b_qp(data[:end]), data[end:]


_DECODERS: Final = {"base64": _from_base64, "quoted-printable": _from_quoted_printable}
