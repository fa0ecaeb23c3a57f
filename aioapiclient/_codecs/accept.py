"""The Accept header of a call: the content types that can be decoded to its type, or as an error."""

from __future__ import annotations

__lazy_modules__: tuple[str, ...] = ("aioapiclient._codecs.custom",)

from functools import lru_cache
from typing import Any, Final

from .custom import Decoders
from .open import union_members

__all__ = ["ANYTHING", "JSON", "accept_for", "takes_any"]

ANYTHING: Final = "*/*"
# Servers that negotiate (RFC 9110 §12.5.1) send problem details only if the header names them.
JSON: Final = "application/json, application/problem+json"


def accept_for(cast_to: Any, decoders: Decoders | None = None) -> str:
    """Return the Accept header for a body that is decoded to *cast_to*.

    Text, bytes and discarded bodies may be of any content type. For other types the header asks for JSON, and
    with a lower quality for the content types of *decoders*.
    """
    try:
        return _remembered(cast_to, decoders)
    except TypeError:  # not hashable, such as Annotated with a list
        return _accept_for(cast_to, decoders)


def _accept_for(cast_to: Any, decoders: Decoders | None) -> str:
    if takes_any(cast_to):
        return ANYTHING
    added = () if decoders is None else (one for one in decoders.media_types if one not in JSON.split(", "))
    return ", ".join((JSON, *(f"{media};q=0.9" for media in added)))


# Inspecting a type takes 5 % of the bytecodes of a call.
_remembered = lru_cache(maxsize=1024)(_accept_for)


def takes_any(cast_to: Any) -> bool:
    """Return whether *cast_to* is the body itself, as text or bytes, or discards it."""
    return all(member in (str, bytes, type(None)) for member in union_members(cast_to))
