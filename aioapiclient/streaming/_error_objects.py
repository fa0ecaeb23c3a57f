"""Objects with a member ``error`` in a stream: the ones that report an error, and the types that drop it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec
import msgspec.inspect

from aioapiclient._codecs.open import Unknown, union_members

__all__ = ["MARK", "can_drop_error", "drops_error", "has_error", "names_error"]

MARK: Final = b'"error"'
"""The bytes that every such object contains. Most events do not contain them and need no further check.

Look for them with `bytes.rfind`: `find` and ``in`` take 2 times as long in 1 KiB of JSON (CPython 3.11 to
3.13; 1.1 times on 3.15), and 3 to 6 times in 4 MB.
"""

_BOM: Final = b"\xef\xbb\xbf"
_NOT_SET: Final = frozenset({b"", b"null", b"false", b"0", b'""', b"{}", b"[]"})


class _Probe(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw()


_decode_probe: Final = msgspec.json.Decoder(_Probe).decode


def has_error(data: bytes) -> bool:
    """Return whether *data* is a JSON object whose member ``error`` is set: not null, false, 0 or empty."""
    if data.rfind(MARK) < 0:
        return False
    try:
        error = _decode_probe(data.removeprefix(_BOM)).error
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return bytes(error).translate(None, b" \t\r\n") not in _NOT_SET


def can_drop_error(cast_to: Any) -> bool:
    """Return whether an object with an error may decode to a *cast_to* that does not show it."""
    try:
        return _cached_can_drop_error(cast_to)
    except TypeError:  # not hashable
        return _cached_can_drop_error.__wrapped__(cast_to)


@lru_cache(maxsize=512)
def _cached_can_drop_error(cast_to: Any) -> bool:
    return any(_drops(member) for member in union_members(cast_to))


def drops_error(value: Any) -> bool:
    """Return whether *value*, decoded from an object with an error, does not show the error."""
    if isinstance(value, dict):  # including a TypedDict, which has only the keys of its type
        return "error" not in value
    return isinstance(value, Unknown) or _drops(type(value))


def names_error(cast_to: Any) -> bool:
    """Return whether *cast_to*, or a type of the union, has a member ``error``."""
    return any("error" in (_field_names(member) or ()) for member in union_members(cast_to))


def _drops(kind: Any) -> bool:
    names = _field_names(kind)
    return names is not None and "error" not in names


def _field_names(kind: Any) -> frozenset[str] | None:
    try:
        return _cached_field_names(kind)
    except TypeError:  # not hashable
        return _cached_field_names.__wrapped__(kind)


@lru_cache(maxsize=512)
def _cached_field_names(kind: Any) -> frozenset[str] | None:
    """Return the members of *kind*; None if it is not decoded from an object, or keeps all members."""
    try:
        found = msgspec.inspect.type_info(kind)
    except Exception:  # a type for dec_hook only
        return None
    if isinstance(found, msgspec.inspect.StructType) and (found.array_like or found.forbid_unknown_fields):
        return None
    if isinstance(
        found, msgspec.inspect.StructType | msgspec.inspect.DataclassType | msgspec.inspect.TypedDictType
    ):
        return frozenset(field.encode_name for field in found.fields)
    return None
