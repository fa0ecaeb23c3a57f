"""Objects with a member ``error`` in a stream: whether one reports an error, and what a type makes of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec
import msgspec.inspect

from aioapiclient._codecs.open import Unknown, members

__all__ = ["MARK", "can_drop_error", "drops_error", "has_error", "names_error"]

MARK: Final = b'"error"'
"""What the bytes of every such object hold; most events do not, and are not looked at any closer."""

_BOM: Final = b"\xef\xbb\xbf"
_NOT_SET: Final = frozenset({b"", b"null", b"false", b"0", b'""', b"{}", b"[]"})


class _Probe(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw()


_decode_probe: Final = msgspec.json.Decoder(_Probe).decode


def has_error(data: bytes) -> bool:
    """Whether *data* is a JSON object with a member ``error`` that is set: not null, false, 0 or empty."""
    if data.find(MARK) < 0:  # `in` costs more: it first takes bytes for a number
        return False
    try:
        error = _decode_probe(data.removeprefix(_BOM)).error
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return bytes(error).translate(None, b" \t\r\n") not in _NOT_SET


def can_drop_error(cast_to: Any) -> bool:
    """Whether a value of type *cast_to* may come of such an object and not have the error."""
    return any(_drops(member) for member in members(cast_to))


def drops_error(value: Any) -> bool:
    """Whether *value*, which was decoded from such an object, does not have the error."""
    if isinstance(value, dict):  # a TypedDict too: it has what its type names
        return "error" not in value
    return isinstance(value, Unknown) or _drops(type(value))


def names_error(cast_to: Any) -> bool:
    """Whether *cast_to*, or a type of the union that it is, has a member of that name."""
    return any("error" in (_field_names(member) or ()) for member in members(cast_to))


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
    """The members of the objects that decode to *kind*; None if it takes no object, or keeps every member."""
    try:
        found = msgspec.inspect.type_info(kind)
    except Exception:  # only dec_hook knows such a type
        return None
    if isinstance(found, msgspec.inspect.StructType) and (found.array_like or found.forbid_unknown_fields):
        return None
    if isinstance(
        found, msgspec.inspect.StructType | msgspec.inspect.DataclassType | msgspec.inspect.TypedDictType
    ):
        return frozenset(field.encode_name for field in found.fields)
    return None
