"""The server's human-readable error message, as one printable line without secrets.

Servers echo their input: ``Invalid API key: sk-...``. Credentials of the request are replaced by ``***``, if
the server repeats them unchanged.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec

from aioapiclient._error_facts import words_of
from aioapiclient._patterns import lazily

if TYPE_CHECKING:
    from aioapiclient._request import APIRequest

__all__ = ["detail_of"]

_LONGEST: Final = 300  # characters: two or three lines of a terminal
_MOST_READ: Final = 64 << 10  # characters, or bytes of a request body, that are read
_HIDDEN: Final = "***"

# Prefixes of headers without credentials; any other header may contain one.
_NEUTRAL: Final = ("accept", "cache-control", "content-", "if-", "last-event-id", "range", "user-agent")
_SECRET_NAME = lazily(r"auth|code|cred|key|pass|pwd|secret|session|sig|token", re.IGNORECASE)
_SEPARATORS = lazily(r'[\s,;"]+')
_SHORTEST: Final = 4  # characters of a secret; shorter ones would hide half of any sentence
_LONG: Final = 12  # characters; a value of this length is hidden inside words too, whatever its name


def detail_of(body: Any, request: APIRequest, *, is_problem: bool = False) -> str | None:
    """Return the human-readable message in *body*, the answer to *request*; None without one."""
    text = words_of(body, is_problem=is_problem)
    if text is None:
        return None
    line = " ".join(text[:_MOST_READ].split())
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in _without(line, request))
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def _without(line: str, request: APIRequest) -> str:
    """Return *line* with the secrets of *request* hidden."""
    secrets = {secret for secret in _secrets_of(request) if len(secret) >= _SHORTEST}
    if not any(secret.lower() in line.lower() for secret in secrets):
        return line
    parts = [
        escaped if len(secret) >= _LONG else rf"(?<!\w){escaped}(?!\w)"
        for secret in sorted(secrets, key=len, reverse=True)
        for escaped in (re.escape(secret),)
    ]
    return re.sub("|".join(parts), _HIDDEN, line, flags=re.IGNORECASE)


def _secrets_of(request: APIRequest) -> Iterator[str]:
    for name, value in request.headers.items():
        if not name.lower().startswith(_NEUTRAL):
            yield from _in_header(name.lower(), value)
    for name, value in request.url.query.items():
        if _SECRET_NAME.search(name) or len(value) >= _LONG:
            yield value
    yield from _in_body(request)


def _in_header(name: str, value: str) -> Iterator[str]:
    words = [word for word in _SEPARATORS.split(value) if word]
    if name.endswith("authorization") and len(words) > 1:
        scheme, *words = words
        if scheme.lower() == "basic":
            words += _in_basic(words[0])
    for word in words:
        # For ``name=value``, in a cookie or a parameter, yield the value.
        yield word.partition("=")[2].strip("=") or word


def _in_basic(credentials: str) -> list[str]:
    try:
        user, _, password = base64.b64decode(credentials).decode().partition(":")
    except (binascii.Error, UnicodeError):
        return []
    return [user, password]


def _in_body(request: APIRequest) -> Iterator[str]:
    """Yield the values in a JSON body or a form whose names suggest a secret."""
    body = request.body
    content = None if body is None else body.immediate
    if body is None or content is None or len(content) > _MOST_READ:
        return
    if body.content_type == "application/x-www-form-urlencoded":
        pairs: Iterable[tuple[str, Any]] = parse_qsl(content.decode("utf-8", "replace"))
    else:
        try:
            pairs = _pairs(msgspec.json.decode(content))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return
    for name, value in pairs:
        if isinstance(value, str) and _SECRET_NAME.search(name):
            yield value


def _pairs(data: Any) -> Iterator[tuple[str, Any]]:
    waiting: list[Any] = [data]
    while waiting:
        one: Any = waiting.pop()
        items: Any = one
        if isinstance(one, list):
            waiting.extend(items)
        elif isinstance(one, dict):
            yield from items.items()
            waiting.extend(items.values())
