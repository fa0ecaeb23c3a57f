"""Values into JSON: all that msgspec encodes and more, sentinels left out, what JSON cannot say refused."""

from __future__ import annotations

import collections.abc as abc
import functools
import io
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

import msgspec

from aioapiclient._codecs.open import Unknown
from aioapiclient._patterns import lazily
from aioapiclient._types import NOT_GIVEN, NotGiven, Omit
from aioapiclient.errors import InvalidRequestError

__all__ = ["EncHook", "encode_json"]

EncHook: TypeAlias = Callable[[Any], Any]

# A float that is NaN or infinite, in MessagePack: JSON says null for it, as for None.
_NOT_FINITE = lazily(rb"\xcb[\x7f\xff][\xf0-\xff]")
# Stands for a sentinel in plain data. Made at run time, so that no other string is the same object.
_DROPPED = "".join(("dropped", " sentinel"))
_RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SCALARS: dict[type, Callable[[Any], Any]] = {str: str.__str__, int: int.__int__, float: float.__float__}
_ITERABLE = (abc.Sequence, abc.Set, abc.MappingView, abc.Iterator)
_PLAIN_ENCODER = msgspec.json.Encoder()


class _LookCloser(Exception):
    """Raised by the fast hook for what only the slow way can encode, or name."""


def encode_json(
    value: Any = NOT_GIVEN, enc_hook: EncHook | None = None, extra_body: Mapping[str, Any] | None = None
) -> bytes:
    """*value* as compact JSON in UTF-8, with the members of *extra_body* merged over its top level.

    Encodes all that msgspec does, *enc_hook*'s types, other mappings, sequences, sets, views and
    iterators, and `Unknown` as the value it came from. ``OMIT``, ``NOT_GIVEN`` and ``msgspec.UNSET``
    leave a member of an object out. In *extra_body* `OMIT` removes a member, `NOT_GIVEN` leaves it,
    and None sends null; without *value* its members are the object. Nothing of the caller's is changed.

    Raises `InvalidRequestError`, with the path, for NaN and infinity, a sentinel outside of an
    object, a cycle, a lone surrogate; `TypeError` for a type that cannot be encoded, and for
    *extra_body* with a value that is no object.
    """
    if extra_body is None:
        return _encode(value, enc_hook)
    if not isinstance(cast("object", extra_body), Mapping):
        raise TypeError(f"extra_body must be a mapping, not {type(extra_body).__name__}")
    encoded = b"{}" if isinstance(value, (NotGiven, Omit)) else _encode(value, enc_hook)
    if not encoded.startswith(b"{"):
        raise TypeError(f"extra_body is merged over a JSON object, and json is {type(value).__name__}")
    merged = _RAW_OBJECT.decode(encoded)
    for name in [name for name, member in extra_body.items() if isinstance(member, Omit)]:
        merged.pop(name, None)
    given = {name: member for name, member in extra_body.items() if not isinstance(member, (NotGiven, Omit))}
    return _PLAIN_ENCODER.encode(merged | _RAW_OBJECT.decode(_encode(given, enc_hook)))


def _encode(value: Any, enc_hook: EncHook | None) -> bytes:
    try:
        encode, measure = _encoders(enc_hook)
    except TypeError:  # a hook that is not hashable
        encode, measure = _encoders.__wrapped__(enc_hook)
    try:
        encoded = encode(value)
        # Encoded again only to find a NaN, in C: 5 us for 3 kB, where a walk in Python takes 30.
        if b"null" not in encoded or not _NOT_FINITE.search(measure(value)):
            return encoded
    except (_LookCloser, TypeError, ValueError, OverflowError, RecursionError):
        pass
    return _encode_slowly(value, enc_hook)


@functools.lru_cache(maxsize=128)
def _encoders(enc_hook: EncHook | None) -> tuple[Callable[[Any], bytes], Callable[[Any], bytes]]:
    def hook(value: Any) -> Any:
        # Sentinels, and what can be iterated only once: the slow way must be the first to do that.
        if isinstance(value, (NotGiven, Omit, abc.Iterator)) or value is msgspec.UNSET:
            raise _LookCloser
        return _replaced(value, enc_hook)

    return msgspec.json.Encoder(enc_hook=hook).encode, msgspec.msgpack.Encoder(enc_hook=hook).encode


def _replaced(value: Any, enc_hook: EncHook | None) -> Any:
    """What msgspec encodes for a value whose type it does not know; `_LookCloser` if nothing does."""
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
        if len(plain) == len(value):  # a multidict would lose values
            return plain
    elif issubclass(kind, _ITERABLE) and not issubclass(kind, io.IOBase):
        return list[Any](value)
    raise _LookCloser


def _encode_slowly(value: Any, enc_hook: EncHook | None) -> bytes:
    """Through plain data, in which every member has a path."""
    stand_ins: dict[int, tuple[str, Any]] = {}

    def hook(value: Any) -> Any:
        if isinstance(value, (NotGiven, Omit)) or value is msgspec.UNSET:
            return _DROPPED
        if not isinstance(value, msgspec.Raw):
            try:
                return _replaced(value, enc_hook)
            except _LookCloser:
                pass
        stand_in = "".join(("stand-in for ", type(value).__name__))
        stand_ins[id(stand_in)] = (stand_in, value)
        return stand_in

    try:
        root = [msgspec.to_builtins(value, str_keys=True, enc_hook=hook)]
    except RecursionError:
        root = []
    if not root:
        raise InvalidRequestError("json refers to itself, or is nested too deep")
    _settle(root, stand_ins)
    try:
        return _PLAIN_ENCODER.encode(root[0])
    except (ValueError, OverflowError):
        pass  # raised below, without the value in its context
    raise InvalidRequestError("json holds a lone surrogate, or an integer of too many digits")


def _settle(root: list[Any], stand_ins: dict[int, tuple[str, Any]]) -> None:
    """Finish plain data in place: drop the sentinels, put back the stand-ins, refuse what JSON cannot say."""
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        path, container = waiting.pop()
        is_object = container.__class__ is dict
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


def _settled(child: Any, where: str, stand_ins: dict[int, tuple[str, Any]]) -> Any:
    if child is _DROPPED:
        raise InvalidRequestError(f"json: a sentinel at {where}; only a member of an object can be left out")
    if isinstance(child, float) and not math.isfinite(child):
        raise InvalidRequestError(f"json: {child} at {where}; JSON has no NaN and no infinity")
    _, original = stand_ins.get(id(child), (child, child))
    if original is not child and not isinstance(original, msgspec.Raw):
        raise TypeError(f"json: {type(original).__name__} at {where} cannot be encoded; an enc_hook could")
    return original
