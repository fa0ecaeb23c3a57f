"""Decode error bodies as far as possible, to the type for their status."""

from __future__ import annotations

__lazy_modules__: tuple[str, ...] = ("aioapiclient._codecs.custom", "aioapiclient._codecs.failures")

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

from aioapiclient.errors import InvalidRequestError

from .content_type import as_json, parse_content_type
from .custom import Decoders
from .decoders import check_cast_to, decode_body
from .failures import DecodeError
from .open import DecHook

__all__ = ["ProblemDetails", "check_error_types", "decode_error_body", "error_type_for"]


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """An ``application/problem+json`` body (RFC 9457 §3); a member of the wrong type is ignored (§3.1)."""

    type: str = "about:blank"
    """The URI of the type of problem."""

    title: str | None = None
    """A short summary of the type of problem."""

    status: int | None = None
    """The status code according to the body."""

    detail: str | None = None
    """An explanation of this occurrence of the problem."""

    instance: str | None = None
    """The URI of this occurrence of the problem."""

    extensions: dict[str, Any] = {}
    """All other members."""


_UNCODED: Final = frozenset({"text", "html", "untyped", "other"})  # formats without a built-in codec
_PROBLEM_MEMBERS = {"type": str, "title": str, "status": int, "detail": str, "instance": str}


def decode_error_body(
    body: bytes,
    content_type: str | None,
    error_type: Any = None,
    *,
    strict: bool = True,
    dec_hook: DecHook | None = None,
    decoders: Decoders | None = None,
    tell: Callable[[str], object] = bool,
) -> Any:
    """Decode the body of an error as far as possible. Never raises, so it never masks the error itself.

    The result is an *error_type* if the body fits; else `ProblemDetails`, plain data for JSON and similar
    formats (declared or detected), the result of *decoders*, stripped text, or None for an empty body.
    If the body does not fit *error_type*, *tell* is called with the reason, which contains no value of the
    body.
    """
    if not body or body.isspace():
        return None
    if error_type is not None and error_type is not ProblemDetails:
        try:
            return decode_body(
                body, error_type, content_type, strict=strict, dec_hook=dec_hook, decoders=decoders
            )
        except DecodeError as error:
            tell(str(error))
        except Exception as error:  # from a hook; the status error is more important
            tell(f"{type(error).__name__} was raised while it was decoded")
    media, kind, charset = parse_content_type(content_type)
    text = body.decode(charset, "replace").removeprefix("\ufeff").strip()
    if kind in _UNCODED and text[:1] in ("{", "["):
        kind, content_type = "json", as_json(content_type)
    if kind not in _UNCODED or (decoders is not None and decoders.find(media) is not None):
        try:
            data = decode_body(body, Any, content_type, decoders=decoders)
        except DecodeError:
            pass
        else:
            is_problem = media == "application/problem+json" or error_type is ProblemDetails
            return _problem(cast("dict[str, Any]", data)) if is_problem and isinstance(data, dict) else data
    return text or None


def _problem(data: dict[str, Any]) -> ProblemDetails:
    known = {name: data[name] for name, kind in _PROBLEM_MEMBERS.items() if type(data.get(name)) is kind}
    extensions = {name: member for name, member in data.items() if name not in _PROBLEM_MEMBERS}
    return ProblemDetails(**known, extensions=extensions)


def error_type_for(status: int, error_types: Mapping[int | str, Any] | None) -> Any:
    """Return the type for a status: by exact status, ``"4XX"`` or ``"default"``, in this order."""
    # An invalid status of 600 or more is treated like a 5XX (RFC 9110 §15).
    for key in (status, f"{min(status // 100, 5)}XX", "default"):
        if error_types and key in error_types:
            return error_types[key]
    return None


def check_error_types(
    error_types: Mapping[Any, Any], dec_hook: DecHook | None = None, decoders: Decoders | None = None
) -> None:
    """Refuse a key that matches no status (`InvalidRequestError`), and a type that cannot be decoded."""
    for key, error_type in error_types.items():
        if key != "default" and not re.fullmatch(r"[1-5](?:\d\d|XX)", str(key)):
            raise InvalidRequestError(
                f"error_types: {key!r} must be a status such as 404, '4XX' or 'default'"
            )
        if isinstance(key, str) and key.isdigit():
            raise TypeError(f"error_types: the status {key!r} must be an int")
        check_cast_to(error_type, dec_hook, decoders, f"error_types[{key!r}]")
