"""Find the code, the type and the message for people in the decoded body of an error.

A body is plain data, or an object of a class in ``error_types``: its members are keys or attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from ._patterns import lazily

__all__ = ["code_of", "type_of", "words_of"]

_TOKEN = lazily(r"[\w.:/-]{1,100}", re.ASCII)
_WITHOUT_MEMBERS: Final = (str, bytes, int, float, list, type(None))


def code_of(body: Any) -> str | None:
    """Return the machine-readable code in *body*, from the first of the usual places.

    The places are ``code`` and ``error_code`` of ``error``, of the body, and of ``errors[0]`` (JSON:API),
    then ``error`` itself if it is a single token, not a sentence (OAuth, RFC 6749 §5.2).
    """
    error = member(body, "error")
    places = (error, body, first_error(body))
    code = _first_scalar(*(member(place, name) for place in places for name in ("code", "error_code")))
    if code is None and isinstance(error, str) and _TOKEN.fullmatch(error):
        return error
    return code


def type_of(body: Any) -> str | None:
    """Return the type of the error in *body*: its ``error.type``, or its ``type``."""
    return _first_scalar(member(member(body, "error"), "type"), member(body, "type"))


def _first_scalar(*values: Any) -> str | None:
    for value in values:
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    return None


def member(value: Any, name: str) -> Any:
    """Return the member *name* of a mapping, or of an object of any class; None without one."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value).get(name)
    if isinstance(value, _WITHOUT_MEMBERS):
        return None
    found = getattr(value, name, None)
    if found is None and name != "extensions":  # of problem details (RFC 9457 §3.2)
        found = member(getattr(value, "extensions", None), name)
    return found


def first_error(body: Any) -> Any:
    """Return the first of the ``errors`` of *body*; None if they are not a list, or empty."""
    errors = member(body, "errors")
    is_list = isinstance(errors, Sequence) and not isinstance(errors, str | bytes)
    return next(iter(cast("Iterable[Any]", errors)), None) if is_list else None


def words_of(body: Any, *, is_problem: bool = False) -> str | None:
    """Return the server's message in *body*, unchanged; None if none of the usual members is a string.

    For a problem (RFC 9457 §3.1), this is its title and its detail; for other bodies, it is the first of
    ``error.message``, ``error_description``, ``message``, ``detail``, ``error``, ``errors[0].message``.
    """
    if is_problem:
        texts = [text for text in (member(body, "title"), member(body, "detail")) if _is_text(text)]
        if texts:
            return ": ".join(texts)
    error = member(body, "error")
    places = [
        member(error, "message"),
        *(member(body, name) for name in ("error_description", "message", "detail")),
        error,
        member(first_error(body), "message"),
    ]
    return next((place for place in places if _is_text(place)), None)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
