"""Encode values as JSON: all types of msgspec and more, without sentinels; refuse values that JSON lacks."""

from __future__ import annotations

import collections.abc as abc
import functools
import io
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

import msgspec

from aioapiclient._codecs.open import Unknown
from aioapiclient._patterns import lazily
from aioapiclient._types import NOT_GIVEN, NotGiven, Omit
from aioapiclient.errors import InvalidRequestError

__all__ = ["EncHook", "Encoding", "check_encoding", "encode_json"]

EncHook: TypeAlias = Callable[[Any], Any]

Encoding: TypeAlias = EncHook | msgspec.json.Encoder | None
"""How to encode JSON: with msgspec and a hook for types that it does not know, or with the user's encoder."""

# A float that is NaN or infinite, in MessagePack. In JSON it is null, like None.
_NOT_FINITE = lazily(rb"\xcb[\x7f\xff][\xf0-\xff]")
# A member whose name is a number without quotes.
_BARE_NAME = lazily(rb"[{,]-?[0-9][0-9.E+-]*:")
# Represents a sentinel in plain data. Created at run time, so that no other string is the same object.
_DROPPED = "".join(("dropped", " sentinel"))
_RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
# Types that an encoder may format differently from plain data.
_FORMATTED: Final = (Decimal, UUID)
_BYTES: Final[tuple[type[Any], ...]] = (bytes, bytearray, memoryview)
_SCALARS: dict[type, Callable[[Any], Any]] = {str: str.__str__, int: int.__int__, float: float.__float__}
_ITERABLE = (abc.Sequence, abc.Set, abc.MappingView, abc.Iterator)
_PLAIN_ENCODER = msgspec.json.Encoder()


class _NeedsSlowPath(Exception):
    """Raised by the fast hook for values that only the slow path can encode or report."""


def check_encoding(enc_hook: EncHook | None, encoder: msgspec.json.Encoder | None) -> Encoding:
    """Return *enc_hook* or *encoder*; raise `TypeError` for both, or for another encoder."""
    if encoder is None:
        return enc_hook
    if not isinstance(encoder, msgspec.json.Encoder):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"encoder must be a msgspec.json.Encoder, not {type(encoder).__name__}")
    if enc_hook is not None:
        raise TypeError("enc_hook and encoder were both given: pass msgspec.json.Encoder(enc_hook=...)")
    return encoder


def encode_json(
    value: Any = NOT_GIVEN, encoding: Encoding = None, extra_body: Mapping[str, Any] | None = None
) -> bytes:
    """Encode *value* as compact JSON in UTF-8, with the members of *extra_body* merged over its top level.

    Encodes all types of msgspec, the types of a hook, other mappings, sequences, sets, views and iterators,
    and `Unknown` as the value that was received. A member of an object is left out if it is ``OMIT``,
    ``NOT_GIVEN`` or ``msgspec.UNSET``. In *extra_body*, `OMIT` removes a member, `NOT_GIVEN` keeps it, and
    None sends null. Without *value*, the members of *extra_body* are the object. The arguments are not
    changed.

    Raises:
        InvalidRequestError: The value contains NaN, infinity, a sentinel outside an object, a cycle or a lone
            surrogate; the message has the path.
        TypeError: A type cannot be encoded, the value is bytes (which msgspec would write as base64), or
            *extra_body* was given with a value that is not an object.
    """
    if isinstance(cast("object", value), _BYTES):
        raise TypeError(f"json must not be {type(value).__name__}; use content= for encoded data")
    if extra_body is None:
        return _encode(value, encoding)
    if not isinstance(cast("object", extra_body), Mapping):
        raise TypeError(f"extra_body must be a mapping, not {type(extra_body).__name__}")
    encoded = b"{}" if isinstance(value, (NotGiven, Omit)) else _encode(value, encoding)
    if not encoded.startswith(b"{"):
        raise TypeError(f"extra_body needs a JSON object to merge over, but json is {type(value).__name__}")
    merged = _RAW_OBJECT.decode(encoded)
    for name in [name for name, member in extra_body.items() if isinstance(member, Omit)]:
        merged.pop(name, None)
    given = {name: member for name, member in extra_body.items() if not isinstance(member, (NotGiven, Omit))}
    merged |= _RAW_OBJECT.decode(_encode(given, encoding))
    order = encoding.order if isinstance(encoding, msgspec.json.Encoder) else None
    return msgspec.json.encode(merged, order=order)


def _encode(value: Any, encoding: Encoding) -> bytes:
    try:
        encoders = _encoders(encoding)
    except TypeError:  # a hook that is not hashable
        encoders = _encoders.__wrapped__(encoding)
    try:
        encoded = encoders.encode(value)
        # Encoded a second time only to find a NaN. In C, this takes 5 us for 3 kB; in Python, 30 us.
        if not encoders.is_suspect(encoded) or not _NOT_FINITE.search(encoders.measure(value)):
            return encoded
    except (_NeedsSlowPath, TypeError, ValueError, OverflowError, RecursionError):
        pass
    return _encode_slowly(value, encoding, encoders)


class _Encoders(msgspec.Struct, frozen=True):
    encode: Callable[[Any], bytes]
    """Encode at the full speed of msgspec."""
    is_suspect: Callable[[bytes], bool]
    """Whether the JSON may come from a NaN or infinity."""
    measure: Callable[[Any], bytes]
    """Encode as MessagePack, which keeps NaN."""
    encode_plain: Callable[[Any], bytes]
    """Encode plain data whose order of members is final."""


@functools.lru_cache(maxsize=128)
def _encoders(encoding: Encoding) -> _Encoders:
    own = encoding if isinstance(encoding, msgspec.json.Encoder) else _PLAIN_ENCODER
    enc_hook = _hook_of(encoding)

    def hook(value: Any) -> Any:
        """Return a replacement that msgspec can encode."""
        # Sentinels and iterators: the slow path must be the first to iterate.
        if isinstance(value, (NotGiven, Omit, abc.Iterator)) or value is msgspec.UNSET:
            raise _NeedsSlowPath
        return _replaced(value, enc_hook)

    formats: Any = {"decimal_format": own.decimal_format, "uuid_format": own.uuid_format}
    return _Encoders(
        msgspec.json.Encoder(enc_hook=hook, order=own.order, **formats).encode,
        _has_null if own.decimal_format == "string" else _has_null_or_nan,
        msgspec.msgpack.Encoder(enc_hook=hook, decimal_format=own.decimal_format).encode,
        msgspec.json.Encoder(**formats).encode,
    )


def _hook_of(encoding: Encoding) -> EncHook | None:
    return encoding.enc_hook if isinstance(encoding, msgspec.json.Encoder) else encoding


def _has_null(encoded: bytes) -> bool:
    return b"null" in encoded


def _has_null_or_nan(encoded: bytes) -> bool:
    # With such an encoder, msgspec writes a Decimal without quotes even if it is NaN or a member name.
    if _BARE_NAME.search(encoded) is not None:
        raise _NeedsSlowPath
    return b"null" in encoded or b"NaN" in encoded or b"Infinity" in encoded


def _replaced(value: Any, enc_hook: EncHook | None) -> Any:
    """Return a replacement that msgspec can encode; raise `_NeedsSlowPath` without one."""
    if isinstance(value, Unknown):
        return value.value
    if enc_hook is not None:
        try:
            return enc_hook(value)
        except NotImplementedError:
            pass
    kind: type = value.__class__
    for base, as_base in _SCALARS.items():
        if issubclass(kind, base):
            return as_base(value)
    if issubclass(kind, Mapping):
        plain: dict[Any, Any] = dict(value)
        if len(plain) == len(value):  # a multidict would drop values
            return plain
    elif issubclass(kind, _ITERABLE) and not issubclass(kind, io.IOBase):
        return list[Any](value)
    raise _NeedsSlowPath


def _encode_slowly(value: Any, encoding: Encoding, encoders: _Encoders) -> bytes:
    """Encode through plain data, in which the path of every member is known."""
    own = encoding if isinstance(encoding, msgspec.json.Encoder) else None
    enc_hook = _hook_of(encoding)
    stand_ins: dict[int, tuple[str, Any]] = {}

    def hook(value: Any) -> Any:
        """Return a replacement, or a string that stands for a value to be handled by its path."""
        if isinstance(value, (NotGiven, Omit)) or value is msgspec.UNSET:
            return _DROPPED
        if not isinstance(value, msgspec.Raw):
            try:
                return _replaced(value, enc_hook)
            except _NeedsSlowPath:
                pass
        stand_in = "".join(("stand-in for ", type(value).__name__))
        stand_ins[id(stand_in)] = (stand_in, value)
        return stand_in

    try:
        root = [
            msgspec.to_builtins(
                value,
                builtin_types=None if own is None else _FORMATTED,
                str_keys=own is None,
                enc_hook=hook,
                order=None if own is None else own.order,
            )
        ]
    except RecursionError:
        root = []
    if not root:
        raise InvalidRequestError("json contains itself, or is nested too deeply")
    _settle(root, stand_ins, encoders.encode_plain)
    try:
        return encoders.encode_plain(root[0])
    except (ValueError, OverflowError):
        pass  # raised below, without the value in its context
    raise InvalidRequestError("json contains a lone surrogate, or an integer with too many digits")


def _settle(root: list[Any], stand_ins: dict[int, tuple[str, Any]], write: Callable[[Any], bytes]) -> None:
    """Finish plain data in place: drop sentinels, restore stand-ins, refuse values that JSON lacks."""
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        path, container = waiting.pop()
        is_object = container.__class__ is dict
        if is_object:
            _name_members(container, write)
        entries: Any = container.items() if is_object else enumerate(container)
        for key, child in list[tuple[Any, Any]](entries):
            where = f"{path}.{key}" if is_object else f"{path}[{key}]" if path else "$"
            if id(key) in stand_ins or key is _DROPPED:
                kind = "a sentinel" if key is _DROPPED else type(stand_ins[id(key)][1]).__name__
                raise TypeError(f"json: {kind} at {path} cannot be the name of a member")
            if child is _DROPPED and is_object:
                del container[key]
            elif child.__class__ in (dict, list, tuple):
                container[key] = list(child) if child.__class__ is tuple else child
                waiting.append((where, container[key]))
            else:
                container[key] = _settled(child, where, stand_ins)


def _name_members(container: dict[Any, Any], write: Callable[[Any], bytes]) -> None:
    """Format Decimal and UUID keys as an encoder does; msgspec itself refuses some of them."""
    if any(isinstance(key, _FORMATTED) for key in container):
        members = list(container.items())
        container.clear()
        for key, value in members:
            container[write(key).decode().strip('"') if isinstance(key, _FORMATTED) else key] = value


def _is_finite(child: object) -> bool:
    return not isinstance(child, float) or math.isfinite(child)


def _settled(child: Any, where: str, stand_ins: dict[int, tuple[str, Any]]) -> Any:
    if child is _DROPPED:
        raise InvalidRequestError(f"json: a sentinel at {where}; only a member of an object can be left out")
    if not (child.is_finite() if isinstance(child, Decimal) else _is_finite(child)):
        raise InvalidRequestError(f"json: {child} at {where}; JSON has no NaN and no infinity")
    _, original = stand_ins.get(id(child), (child, child))
    if original is not child and not isinstance(original, msgspec.Raw):
        raise TypeError(f"json: {type(original).__name__} at {where} cannot be encoded without an enc_hook")
    return original
