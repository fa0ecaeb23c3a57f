"""`Take`: a request and its response as a line of a cassette, without secrets, for people to read."""

from __future__ import annotations

import base64
import hashlib
import json
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Struct, UnsetType
from multidict import MultiMapping

from aioapiclient.contract import APIRequest, AsyncAPIResponse
from aioapiclient.errors import InvalidRequestError
from aioapiclient.testing import SentFile, SentRequest, respond

from ._secrets import BLANK, Secrets

__all__ = [
    "Played",
    "StoredRequest",
    "StoredResponse",
    "Take",
    "read_takes",
    "stored_request",
    "stored_response",
]

_LONGEST: Final = 16 << 10  # the most bytes of a request's body in a line; a longer one is stored as a digest
_FORM: Final = "application/x-www-form-urlencoded"
_WRITTEN: Final = f"%{ord('<'):X}secret%{ord('>'):X}"  # a blanked value, as a client sends it in a path

# Headers that differ in each recording, or that describe one connection only.
_DROPPED: Final = frozenset(
    {
        "age", "alt-svc", "cf-ray", "connection", "content-encoding", "content-length", "date", "keep-alive",
        "nel", "report-to", "server", "trailer", "transfer-encoding", "via", "x-runtime",
    }
)  # fmt: skip


class StoredRequest(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The request of a take. At most one of the fields from *json* on is set."""

    method: str
    """The method."""

    path: str
    """The path, percent-encoded as it was sent."""

    origin: str = ""
    """Scheme, host and port, if the cassette matches by them."""

    params: dict[str, str | list[str]] = {}
    """The query; a list for a repeated name."""

    json: Any = UNSET
    """A JSON body."""

    form: dict[str, Any] | UnsetType = UNSET
    """A form, or a multipart form: a file is described by its name, type, size and SHA-256."""

    text: str | UnsetType = UNSET
    """Any other body that is text."""

    digest: str | UnsetType = UNSET
    """The size and SHA-256 of a body that is not text, or longer than 16 KiB."""


class StoredResponse(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The response of a take. At most one of the fields from *json* on is set."""

    status: int
    """The status code."""

    headers: dict[str, str | list[str]] = {}
    """The headers, without those that differ in each recording; a list for a repeated name."""

    json: Any = UNSET
    """A JSON body."""

    text: str | UnsetType = UNSET
    """Any other body that is text."""

    base64: str | UnsetType = UNSET
    """A body that is not text."""

    chunks: list[str | dict[str, str]] | UnsetType = UNSET
    """The body of a stream, piece by piece; ``{"base64": ...}`` is a piece that is not text."""


class Take(Struct, forbid_unknown_fields=True):
    """One line of a cassette."""

    request: StoredRequest
    """The request."""

    response: StoredResponse
    """The response."""

    def line(self) -> bytes:
        """Return the take as one line of JSON, with a space after each comma and colon."""
        return msgspec.json.format(msgspec.json.encode(self), indent=0) + b"\n"


def read_takes(text: bytes, name: str) -> list[Take]:
    """Return the takes of a file.

    Args:
        text: The content of the file.
        name: The name of the file, for the message.

    Raises:
        InvalidRequestError: A line is not a take.
    """
    takes: list[Take] = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if line.strip():
            try:
                takes.append(msgspec.json.decode(line, type=Take))
            except msgspec.DecodeError as error:
                raise InvalidRequestError(f"{name}:{number} is not a take: {error}") from None
    return takes


# --- requests


def stored_request(request: SentRequest, secrets: Secrets, *, origin: bool = False) -> StoredRequest:
    """Return a request as a cassette stores it.

    Args:
        request: The request as sent.
        secrets: The secrets to blank.
        origin: Whether to keep scheme, host and port.
    """
    for name, value in request.headers.items():
        secrets.header(name, value)  # to learn their values: they are not stored
    return StoredRequest(
        request.method,
        _path_of(request, secrets),
        origin=request.origin if origin else "",
        params=_grouped(request.url.query, secrets),
        **_request_body(request, secrets),
    )


def _path_of(request: APIRequest, secrets: Secrets) -> str:
    path = request.url.raw_path
    for name, value in request.path_params.items():
        if secrets.covers(name):
            secrets.note(str(value))
            path = path.replace(quote(str(value), safe=""), BLANK)
    return secrets.text(path.replace(_WRITTEN, BLANK))


def _grouped(pairs: MultiMapping[str], secrets: Secrets) -> dict[str, str | list[str]]:
    grouped: dict[str, str | list[str]] = {}
    for name in dict.fromkeys(pairs):
        values = [secrets.header(name, value) for value in pairs.getall(name)]
        grouped[secrets.name(name)] = values[0] if len(values) == 1 else values
    return grouped


def _request_body(request: SentRequest, secrets: Secrets) -> dict[str, Any]:
    content = request.content
    if not content:
        return {}
    content_type = "" if request.body is None else request.body.content_type or ""
    if content_type.startswith((_FORM, "multipart/form-data")):
        with suppress(UnicodeDecodeError):
            return {"form": _form(request, secrets)}
    text = as_text(content) if len(content) <= _LONGEST else None
    if text is None:
        return {"digest": _digest(content)}
    value = as_json(content, secrets)
    return {"json": value} if value is not UNSET else {"text": secrets.text(text)}


def _digest(content: bytes) -> str:
    return f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}"


def _form(request: SentRequest, secrets: Secrets) -> dict[str, Any]:
    grouped: dict[str, Any] = {}
    form = request.form()
    for name in dict.fromkeys(form):
        values = [_field(name, value, secrets) for value in form.getall(name)]
        grouped[secrets.name(name)] = values[0] if len(values) == 1 else values
    return grouped


def _field(name: str, value: str | SentFile, secrets: Secrets) -> Any:
    if isinstance(value, str):
        return secrets.header(name, value)
    return {
        "filename": secrets.text(value.filename or ""),
        "type": value.content_type,
        "content": _digest(value.content),
    }


# --- responses


def stored_response(
    status: int,
    headers: MultiMapping[str],
    chunks: list[bytes],
    secrets: Secrets,
    *,
    method: str,
    stream: bool,
) -> StoredResponse:
    """Return a response as a cassette stores it.

    Args:
        status: The status code.
        headers: The headers.
        chunks: The body, in the pieces in which it arrived.
        secrets: The secrets to blank.
        method: The method of the request; the length in the answer to HEAD is kept.
        stream: Whether to keep the pieces.
    """
    kept = _grouped(headers, secrets)
    dropped = _DROPPED - {"content-length"} if method == "HEAD" else _DROPPED
    kept = {name: value for name, value in kept.items() if name.lower() not in dropped}
    if stream:
        return StoredResponse(status, kept, chunks=_pieces(chunks, secrets))
    return StoredResponse(status, kept, **_response_body(b"".join(chunks), secrets))


def _response_body(body: bytes, secrets: Secrets) -> dict[str, Any]:
    if not body:
        return {}
    value = as_json(body, secrets)
    if value is not UNSET:
        return {"json": value}
    text = as_text(body)
    if text is not None:
        return {"text": secrets.text(text)}
    return {"base64": base64.b64encode(secrets.known_bytes(body)).decode()}


def _pieces(chunks: list[bytes], secrets: Secrets) -> list[str | dict[str, str]]:
    """Return the pieces of a stream, split differently if a secret is in them: it may span two."""
    body = b"".join(chunks)
    text = as_text(body)
    if text is not None:
        blanked = secrets.text(text)
        if blanked != text:
            return [line for line in blanked.splitlines(keepends=True) if line]
    elif secrets.known_bytes(body) != body:
        chunks = [body]
    return [_piece(chunk, secrets) for chunk in chunks]


def _piece(chunk: bytes, secrets: Secrets) -> str | dict[str, str]:
    text = as_text(chunk)
    if text is not None:
        return secrets.text(text)
    return {"base64": base64.b64encode(secrets.known_bytes(chunk)).decode()}


# --- bodies


def as_text(body: bytes) -> str | None:
    """Return a body as text; None if it is not UTF-8.

    Args:
        body: The body.
    """
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def as_json(body: bytes, secrets: Secrets) -> Any:
    """Return a body as plain data without secrets.

    `UNSET` if it is not JSON, or if encoding it again would change it, as with a number such as ``1.10``;
    text preserves that. A body with a secret in it is always encoded again.

    Args:
        body: The body.
        secrets: The secrets to blank.
    """
    repeated: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            repeated.append("")
        return dict(pairs)

    try:
        value = json.loads(body, object_pairs_hook=members)
        clean = secrets.value(value)
        msgspec.json.encode(clean)
        plain = msgspec.json.format(body, indent=-1)
        writings = [json.dumps(value, separators=(",", ":"), ensure_ascii=ascii) for ascii in (False, True)]
        if clean != value or repeated or plain in [writing.encode() for writing in writings]:
            return clean
    except (ValueError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError):
        pass
    return UNSET


# --- answers


class Played:
    """The answer that replays a take."""

    def __init__(self, response: StoredResponse) -> None:
        self._response = response

    def __call__(self, request: SentRequest) -> AsyncAPIResponse[Any]:
        """Return the response.

        Args:
            request: The request to answer.
        """
        stored = self._response
        headers = [pair for name, value in stored.headers.items() for pair in _spread(name, value)]
        return respond(stored.status, headers=headers, chunks=_chunks_of(stored))(request)


def _spread(name: str, value: str | list[str]) -> list[tuple[str, str]]:
    return [(name, each) for each in (value if isinstance(value, list) else [value])]


def _chunks_of(stored: StoredResponse) -> list[bytes]:
    if stored.json is not UNSET:
        return [msgspec.json.encode(stored.json)]
    if isinstance(stored.text, str):
        return [stored.text.encode()]
    if isinstance(stored.base64, str):
        return [base64.b64decode(stored.base64)]
    if isinstance(stored.chunks, UnsetType):
        return []
    return [
        piece.encode() if isinstance(piece, str) else base64.b64decode(piece["base64"])
        for piece in stored.chunks
    ]
