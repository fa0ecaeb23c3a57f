"""`Body`: the body of a request, created from the arguments of a call."""

from __future__ import annotations

__lazy_modules__: tuple[str, ...] = ("aioapiclient._body.names", "aioapiclient._body.relayed")

from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aioapiclient._progress import Meter, Progress
from aioapiclient._query import DEFAULT_STYLE, QueryStyle, QueryValues, encode_form, flatten
from aioapiclient._types import NOT_GIVEN, NotGiven, Omit

from .files import Files
from .json import EncHook, Encoding, check_encoding, encode_json
from .names import FORM, member_names
from .relayed import content_type_of, refuse_writers
from .sources import Content, InMemory, Source, Watched, source_of

if TYPE_CHECKING:
    from .multipart import Part

__all__ = ["Body", "build_body"]

_MOST_SHOWN: Final = 200  # characters of the names in a repr: two lines on a screen


class Body:
    """The body of a request: it is sent as chunks of bytes.

    A file is read in a worker thread and never closed. An iterable is iterated in the event loop. An iterator
    is not used before sending begins, and a generator is closed when sending ends. A path to a FIFO or a
    device is read to its end. A received message, an `AsyncAPIResponse` or one of aiohttp's (``web.Request``,
    ``StreamReader``, ``BodyPartReader``, ``web.FileField``, ``ClientResponse``), is passed on as it arrives,
    with its Content-Type.

    Args:
        content: Bytes, a str (sent as UTF-8), a binary file, a path (opened again for each send), a
            `FilePart`, an iterable of bytes (async or not), or another `Body`. If an iterable has an int
            attribute ``size``, that is its length in bytes.
        content_type: The media type. By default ``text/plain`` for a str, and that of a received message.

    Raises:
        TypeError: The content has another type, such as a text file.
        InvalidRequestError: A file is closed, a path is a directory, or a ``size`` is negative.
        RequestNotReplayableError: The content can be read only once, and was sent or read before.
    """

    __slots__ = ("_content_type", "_names", "_source")

    _content_type: str | None
    _names: tuple[str, ...]
    _source: Source

    def __init__(self, content: Content | Body, *, content_type: str | None = None) -> None:
        self._names = ()
        if isinstance(content, bytes):
            self._source = InMemory(content)
        elif isinstance(content, Body):
            self._source = content._source
            self._names = content._names
            content_type = content_type or content._content_type
        else:
            self._source = source_of(content)
            if content_type is None:
                is_text = isinstance(content, str)
                content_type = "text/plain; charset=utf-8" if is_text else content_type_of(content)
        self._content_type = content_type

    @classmethod
    def from_json(
        cls,
        value: object,
        *,
        enc_hook: EncHook | None = None,
        encoder: msgspec.json.Encoder | None = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> Body:
        """Encode a value as JSON, with the members of *extra_body* merged over it.

        Args:
            value: Anything that msgspec encodes, with the help of *enc_hook*.
            enc_hook: msgspec's hook to encode types that it does not know.
            encoder: Your own `msgspec.json.Encoder`, instead of *enc_hook*: for ``decimal_format``,
                ``uuid_format`` and ``order``.
            extra_body: Members to merge over a JSON object.

        Raises:
            InvalidRequestError: JSON cannot represent the value: NaN, a cycle, a lone surrogate.
            TypeError: A type cannot be encoded, the value is bytes, or both hook and encoder were given.
        """
        content = encode_json(value, check_encoding(enc_hook, encoder), extra_body)
        return cls(content, content_type="application/json")

    @classmethod
    def from_form(cls, data: QueryValues, *, style: QueryStyle = DEFAULT_STYLE) -> Body:
        """Encode a mapping or pairs as a form.

        Args:
            data: The fields.
            style: The format of arrays and nested objects; that of queries by default.
        """
        _check_form(data)
        return cls(encode_form(data, style), content_type=FORM)

    @classmethod
    def from_multipart(
        cls,
        files: Files,
        data: QueryValues | None = None,
        *,
        style: QueryStyle = DEFAULT_STYLE,
        content_type: str | None = None,
    ) -> Body:
        """Create a multipart form (RFC 7578) from fields and files, in their order.

        A file is any content of a body except a str, or a tuple ``(name, content[, content type[,
        headers]])``. If the name is None, that of the file is used, if any; `OMIT` sends no name. A list
        contains several files, and mappings may be nested. The type of a part is guessed from its name, else
        it is ``application/octet-stream``.

        Args:
            files: Names and files.
            data: The fields, sent before the files.
            style: The format of the names of lists and mappings; that of queries by default.
            content_type: The type of the complete body. A boundary in it is kept; otherwise one is generated.

        Raises:
            TypeError: A file has another type.
            InvalidRequestError: A name, header or boundary cannot be sent.
        """
        refuse_writers("files", files)
        from .multipart import boundary_of, field_parts, file_parts, join

        boundary, content_type = boundary_of(content_type)
        _check_form(data)
        parts = [*field_parts(flatten(data or (), style)), *file_parts(files, style)]
        sources = [(part.head, cls._source_of_part(part)) for part in parts]
        return cls._of(join(sources, boundary.encode()), content_type, tuple(part.label for part in parts))

    @staticmethod
    def _source_of_part(part: Part) -> Source:
        content = part.content
        return content._source if isinstance(content, Body) else source_of(content, part.label)

    @classmethod
    def _of(cls, source: Source, content_type: str | None, names: tuple[str, ...]) -> Body:
        body = cls.__new__(cls)
        body._names = names
        body._source = source
        body._content_type = content_type
        return body

    def with_progress(self, progress: Progress) -> Body:
        """Return the same body with a *progress*, which is updated for each piece that the transport takes.

        When a send starts again, the count is set back to 0: by ``reset()``, if *progress* has it, else by an
        ``update`` with a negative number.

        Args:
            progress: An object with ``update(n)``, n in bytes.

        Raises:
            TypeError: *progress* has no ``update``.
        """
        return Body._of(Watched(self._source, Meter(progress)), self._content_type, self._names)

    @property
    def content(self) -> bytes | None:
        """The bytes, if they are in memory; None for files and iterables."""
        return self._source.content

    @property
    def immediate(self) -> bytes | None:
        """The bytes to send without iterating: `content`, unless a progress counts them."""
        return None if isinstance(self._source, Watched) else self._source.content

    @property
    def content_type(self) -> str | None:
        """The media type, for requests without their own Content-Type."""
        return self._content_type

    @property
    def size(self) -> int | None:
        """The length in bytes; None if it is not known before sending."""
        return self._source.size

    @property
    def replayable(self) -> bool:
        """Whether the body can be sent more than once."""
        return self._source.replayable

    @property
    def consumed(self) -> bool:
        """Whether the body can be sent only once and its sending has begun."""
        return self._source.consumed

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """Iterate over the chunks of one send. Nothing is read before the first chunk is requested; no chunk
        is empty.

        Close the iterator if you stop early (``await chunks.aclose()``, `contextlib.aclosing`). Errors of the
        file or iterable propagate.

        Raises:
            InvalidRequestError: The content is shorter or longer than its size.
            RequestNotReplayableError: The body can be sent only once, and its sending has begun.
            TypeError: A chunk is not bytes.
        """
        return self._source.send()

    def __repr__(self) -> str:
        replay = "consumed" if self.consumed else "replayable" if self.replayable else "one-shot"
        size = "unknown size" if self.size is None else f"{self.size} bytes"
        kind = self._content_type or "untyped"
        # Names without values, because a repr may be logged.
        names = self._names or member_names(self._source.content, kind)
        about = f", {', '.join(names)[:_MOST_SHOWN]}" if names else self._source.about
        return f"<{type(self).__name__} {kind}, {size}, {replay}{about}>"


def build_body(
    *,
    json: object = NOT_GIVEN,
    data: QueryValues | NotGiven | Omit | None = None,
    content: Content | Body | NotGiven | Omit | None = None,
    files: Files | NotGiven | Omit | None = None,
    extra_body: Mapping[str, Any] | NotGiven | Omit | None = None,
    style: QueryStyle = DEFAULT_STYLE,
    encoding: Encoding = None,
    content_type: str | None = None,
    progress: Progress | None = None,
) -> Body | None:
    """Create the body of a call from the one kind of content that was passed; None without content.

    ``json=None`` sends ``null``; for the other arguments, None means "not given", as the sentinels do for all
    of them. *extra_body* alone creates a JSON object. With *files*, *data* has the fields, and an empty
    mapping of files creates a multipart form of the fields alone. *content_type* is that of the caller's
    headers, and is only used with *files*.

    Raises:
        TypeError: Two kinds of content were passed; the message names them.
    """
    data = None if isinstance(data, (NotGiven, Omit)) else data
    content = None if isinstance(content, (NotGiven, Omit)) else content
    files = None if isinstance(files, (NotGiven, Omit)) else files
    extra_body = None if isinstance(extra_body, (NotGiven, Omit)) else extra_body
    has_json = not isinstance(json, (NotGiven, Omit))
    if data is not None or content is not None or files is not None:
        _check_one(
            json=has_json,
            extra_body=extra_body is not None,
            data=data is not None and files is None,
            content=content is not None,
            files=files is not None,
        )
    body: Body | None = None
    if files is not None:
        body = Body.from_multipart(files, data, style=style, content_type=content_type)
    elif data is not None:
        body = Body.from_form(data, style=style)
    elif content is not None:
        body = content if isinstance(content, Body) else Body(content)
    elif has_json or extra_body is not None:
        body = Body(encode_json(json, encoding, extra_body), content_type="application/json")
    if progress is None:
        return body
    Meter(progress)
    return None if body is None else body.with_progress(progress)


_NO_FORM: Final[tuple[type[Any], ...]] = (str, bytes, bytearray, memoryview)


def _check_form(data: object) -> None:
    refuse_writers("data", data)
    if issubclass(type(data), _NO_FORM) or hasattr(data, "read"):
        raise TypeError(f"data must be a mapping or pairs, not {type(data).__name__}; use content= for that")


def _check_one(**kinds: bool) -> None:
    given = [name for name, is_given in kinds.items() if is_given]
    if len(given) > 1:
        # The first and the last, because json and extra_body may be combined and come first.
        raise TypeError(f"{given[0]} and {given[-1]} were both given, but a request has one body")
