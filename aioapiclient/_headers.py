"""Header layers: the headers that may be sent (RFC 9110 §5), and the merging of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias, cast

from multidict import CIMultiDict, MultiMapping

from ._patterns import lazily
from ._types import Omit
from .errors import InvalidRequestError

__all__ = [
    "Layer",
    "check_header_names",
    "check_layer",
    "check_token",
    "check_value",
    "is_personal",
    "is_utf8",
    "overlay",
]

Layer: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
"""Checked headers: names and their values; a name without a value removes the header."""

_TOKEN = lazily(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = lazily(r"[\x00-\x08\x0a-\x1f\x7f]")

# These frame the message or describe the connection, so the transport sets them.
_FRAMING = frozenset(
    {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)


def is_personal(name: str) -> bool:
    """Return whether the header *name* goes to trusted origins only.

    All do except ``Accept...``, ``User-Agent`` and ``Content-...``, which describe the message.
    """
    name = name.lower()
    return name not in {"accept", "user-agent"} and not name.startswith(("accept-", "content-"))


def check_layer(*mappings: Mapping[str, Any] | None) -> Layer:
    """Check *mappings* and return them merged into one layer. Later mappings override earlier ones.

    A repeated name keeps its last value, or all its values in a multidict.

    Raises:
        InvalidRequestError: A name is not a token, a value contains a control character, or a header
            frames the message.
        TypeError: A name or a value is not a str, or a layer is not a mapping.
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
        raise TypeError(f"a header name must be a str, not {type(name).__name__}")
    _check_known(name)
    return name


@lru_cache(maxsize=512)
def _check_known(name: str) -> None:
    check_token(name, "header name")
    key = name.lower()
    if key in _FRAMING or key.startswith("proxy-"):
        raise InvalidRequestError(f"header {name} cannot be set by a caller: the transport sets it")


def check_token(text: str, what: str) -> None:
    """Raise `InvalidRequestError` if *text* is not a token (RFC 9110 §5.6.2)."""
    if not _TOKEN.fullmatch(text):
        # Show only the valid start: a mistake such as "Authorization: Bearer ..." contains a secret.
        good = _TOKEN.match(text)
        shown = f"{good[0][:40]}..." if good else ""
        raise InvalidRequestError(f"{what} {shown!r} is not a token (RFC 9110 §5.6.2)")


def check_header_names(name: str, value: object) -> frozenset[str]:
    """Return *value* as a set of header names in lower case.

    Args:
        name: The name of the argument in messages.
        value: The argument, an iterable of header names in any case.

    Raises:
        TypeError: *value* is one str or cannot be iterated, or one of its items is not a str.
        InvalidRequestError: An item cannot be the name of a header (RFC 9110 §5.1).
    """
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be an iterable of header names, not {type(value).__name__}")
    found: set[str] = set()
    for item in cast("Iterable[object]", value):
        if not isinstance(item, str):
            raise TypeError(f"{name} must contain str, not {type(item).__name__}")
        check_token(item, f"{name}: header name")
        found.add(item.lower())
    return frozenset(found)


def check_value(name: str, value: object) -> str:
    """Return *value* if it is a valid value of header *name*; messages never show it."""
    if not isinstance(value, str):
        raise TypeError(f"the value of header {name} must be a str, not {type(value).__name__}")
    # Nearly every value is printable ASCII, and this is the cheapest test for it.
    if not (value.isascii() and value.isprintable()):
        if _CONTROL.search(value):
            raise InvalidRequestError(
                f"the value of header {name} contains a control character (RFC 9110 §5.5)"
            )
        if not is_utf8(value):
            raise InvalidRequestError(f"the value of header {name} cannot be encoded as UTF-8")
    return value


def is_utf8(text: str) -> bool:
    """Return whether *text* can be encoded as UTF-8: it contains no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:  # holds the text, which may be a secret: raise nothing in this block
        return False
    return True
