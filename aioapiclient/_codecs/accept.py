"""The Accept header of a call: what can be read as the type that it asks for, and as an error."""

from __future__ import annotations

from typing import Any, Final

from .open import members

__all__ = ["ANYTHING", "JSON", "accept_for"]

ANYTHING: Final = "*/*"
# Servers that negotiate (RFC 9110 §12.5.1) answer an error as a problem only where it is named.
JSON: Final = "application/json, application/problem+json"


def accept_for(cast_to: Any) -> str:
    """Return the Accept header for a body that is decoded to *cast_to*.

    Text, bytes and what is discarded may be of any type; all else is asked for as JSON.
    """
    is_any = all(member in (str, bytes, type(None)) for member in members(cast_to))
    return ANYTHING if is_any else JSON
