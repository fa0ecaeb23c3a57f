"""The requests that a `FakeTransport` records, to assert on."""

from __future__ import annotations

import hashlib
from email.message import Message
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from multidict import MultiDict

from aioapiclient._body.body import Body
from aioapiclient._body.multipart import boundary_of
from aioapiclient._body.names import FORM
from aioapiclient._patterns import lazily
from aioapiclient._request import APIRequest

__all__ = ["SentFile", "SentRequest"]

_MOST_SHOWN: Final = 500  # bytes of a body in its repr; longer bodies also show a digest
_NAMES = lazily(r'; (name|filename)="([^"]*)"')


class SentFile(NamedTuple):
    """A file in a multipart form."""

    filename: str | None
    """The file name; None without one."""

    content_type: str | None
    """The Content-Type of the part; None without one."""

    content: bytes
    """The bytes of the file."""


class SentBody(Body):
    """The bytes that were sent. Unlike the repr of any other body, this one shows them, for tests."""

    __slots__ = ()

    def __repr__(self) -> str:
        content = self.content or b""
        shown = repr(content[:_MOST_SHOWN])
        if len(content) > _MOST_SHOWN:
            shown += f"... sha256 {hashlib.sha256(content).hexdigest()[:16]}"
        return f"<Body {self.content_type or 'untyped'}, {len(content)} bytes: {shown}>"


def _replace_body(request: APIRequest, body: Body) -> None:
    # In a function that takes the base class: for an assignment in the subclass, checkers infer another type.
    request.body = body


class SentRequest(APIRequest):
    """A request that a `FakeTransport` received, with the bytes of its body as `content`.

    ::

        assert transport.requests[0].json() == {"login": "ada"}
    """

    @classmethod
    def of(cls, request: APIRequest) -> SentRequest:
        """Return a copy of a request that later changes to the request do not affect.

        Args:
            request: The request to copy.
        """
        twin = request.copy()
        return cls(**{name: getattr(twin, name) for name in request.__struct_fields__})

    def note(self, content: bytes) -> None:
        """Record the bytes that were sent.

        Args:
            content: The complete body.
        """
        if self.body is not None:
            content_type = self.headers.get("Content-Type", self.body.content_type)
            _replace_body(self, SentBody(content, content_type=content_type))

    def __repr__(self) -> str:
        return f"<SentRequest {self.label} attempt={self.attempt} body={self.body!r}>"

    @property
    def content(self) -> bytes:
        """The bytes of the body; empty without one."""
        return b"" if self.body is None else self.body.content or b""

    def json(self) -> Any:
        """Return the body decoded as JSON, as plain data.

        Raises:
            AssertionError: The body is not JSON.
        """
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.MsgspecError, ValueError) as error:
            raise AssertionError(f"{self!r} was not sent JSON: {error}") from None

    def form(self) -> MultiDict[Any]:
        """Return the body as a form: a str for each field, a `SentFile` for each file. Names may repeat.

        The multidict compares equal to a plain dict.

        Raises:
            AssertionError: The body is not a form.
        """
        content_type = "" if self.body is None else self.body.content_type or ""
        if content_type.startswith(FORM):
            return MultiDict(parse_qsl(self.content.decode(), keep_blank_values=True))
        if not content_type.startswith("multipart/"):
            raise AssertionError(f"{self!r} was not sent a form")
        return _read_multipart(self.content, boundary_of(content_type)[0])


def _read_multipart(content: bytes, boundary: str) -> MultiDict[Any]:
    form: MultiDict[Any] = MultiDict()
    pieces = (b"\r\n" + content).split(b"\r\n--" + boundary.encode())
    for piece in pieces[1:-1]:
        head, _, value = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        form.add(*_read_part(head.decode(), value))
    return form


def _read_part(head: str, value: bytes) -> tuple[str, str | SentFile]:
    headers = Message()
    for line in head.split("\r\n"):
        name, _, text = line.partition(":")
        headers[name] = text.strip()
    names = dict(_NAMES.findall(headers.get("Content-Disposition", "")))
    filename, content_type = names.get("filename"), headers.get("Content-Type")
    if filename is None and content_type is None:
        return names.get("name", ""), value.decode()
    return names.get("name", ""), SentFile(filename, content_type, value)
