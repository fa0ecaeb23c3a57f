"""Header layers: what may be sent (RFC 9110 §5), and how one layer lies over another."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias, cast

from multidict import CIMultiDict, MultiMapping

from ._patterns import lazily
from ._types import Omit
from .errors import InvalidRequestError

__all__ = ["Layer", "check_layer", "check_token", "check_value", "is_personal", "is_utf8", "overlay"]

Layer: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
"""Checked headers: a name and its values; no value means that the header is removed."""

_TOKEN = lazily(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = lazily(r"[\x00-\x08\x0a-\x1f\x7f]")

# They frame the message or belong to the connection: a caller's value could only contradict ours.
_FRAMING = frozenset(
    {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)


def is_personal(name: str) -> bool:
    """Return whether the header *name* goes to trusted origins only.

    All do but ``Accept...``, ``User-Agent`` and ``Content-...``, which say what is sent and what is read.
    """
    name = name.lower()
    return name not in {"accept", "user-agent"} and not name.startswith(("accept-", "content-"))


def check_layer(*mappings: Mapping[str, Any] | None) -> Layer:
    """Check the headers of one layer, made of *mappings* of which the later ones win.

    A name given twice keeps the last value, but in a multidict, where it has them all.

    Raises `InvalidRequestError` for a name that is no token, a value with a control character, and
    the headers that frame a message; `TypeError` for what is no text.
    """
    layer: dict[str, tuple[str, tuple[str, ...]]] = {}
    for headers in mappings:
        if headers:
            layer.update(_check_one(headers))
    return tuple(layer.values())


def _check_one(headers: object) -> dict[str, tuple[str, tuple[str, ...]]]:
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers must be a mapping of names to values, not {type(headers).__name__}")
    items = cast("Mapping[object, object]", headers).items()
    repeats = isinstance(headers, MultiMapping)
    layer: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name, value in items:
        name = _check_name(name)
        key = name.lower()
        values = () if isinstance(value, Omit) else (check_value(name, value),)
        before = layer[key][1] if repeats and key in layer else ()
        layer[key] = (name, before + values)
    return layer


def overlay(headers: CIMultiDict[str], layer: Layer) -> None:
    """Lay *layer* over *headers*, in place."""
    for name, values in layer:
        headers.popall(name, None)
        for value in values:
            headers.add(name, value)


def _check_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"A header name must be a str, not {type(name).__name__}")
    _check_known(name)
    return name


@lru_cache(maxsize=512)
def _check_known(name: str) -> None:
    check_token(name, "Header name")
    key = name.lower()
    if key in _FRAMING or key.startswith("proxy-"):
        raise InvalidRequestError(
            f"Header {name} is not for a caller to set: the transport frames the message"
        )


def check_token(text: str, what: str) -> None:
    """Raise `InvalidRequestError` for what is no token (RFC 9110 §5.6.2)."""
    if not _TOKEN.fullmatch(text):
        # Shown up to where it goes wrong: "Authorization: Bearer ..." is a mistake that holds a secret.
        good = _TOKEN.match(text)
        shown = f"{good[0][:40]}..." if good else ""
        raise InvalidRequestError(f"{what} {shown!r} is not a token (RFC 9110 §5.6.2)")


def check_value(name: str, value: object) -> str:
    """*value*, if it may be the value of header *name*; the message never shows it."""
    if not isinstance(value, str):
        raise TypeError(f"The value of header {name} must be a str, not {type(value).__name__}")
    # Nearly every value is plain printable ASCII, and this is the cheapest way to see it.
    if not (value.isascii() and value.isprintable()):
        if _CONTROL.search(value):
            raise InvalidRequestError(f"The value of header {name} holds a control character (RFC 9110 §5.5)")
        if not is_utf8(value):
            raise InvalidRequestError(f"The value of header {name} cannot be encoded as UTF-8")
    return value


def is_utf8(text: str) -> bool:
    """Whether *text* can be sent as UTF-8: it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:  # it holds the text, which may be a secret: nothing is to be raised in here
        return False
    return True
