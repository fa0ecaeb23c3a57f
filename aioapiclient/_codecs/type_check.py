"""Find undecodable types before anything is sent: once per type, through its fields."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec
import msgspec.inspect

from .open import Open, reachable_types

__all__ = ["NotATypeError", "check_classes", "check_is_type", "name_of"]

_PYDANTIC: Final = "; for pydantic that is dec_hook=lambda type, value: type.model_validate(value)"


def name_of(cast_to: Any) -> str:
    """Return the name of a type for messages: the name of a class, or the type as written in the code."""
    if isinstance(cast_to, type):
        return cast_to.__qualname__
    items: Any = cast_to
    if isinstance(cast_to, list):
        return f"[{_names(items)}]"
    return repr(cast_to)


def _names(types: Any) -> str:
    return ", ".join(name_of(one) for one in types)


_COLLECTIONS: Final = (list, tuple, set, frozenset)


class NotATypeError(TypeError):
    """A value was given where a type is expected."""


def check_is_type(cast_to: Any) -> None:
    """Raise `NotATypeError` for a value instead of a type; the message suggests the type to write."""
    if isinstance(cast_to, str):
        hint = f"the class itself, {cast_to}" if cast_to.isidentifier() else "the type itself"
        raise NotATypeError(f"it is a str; pass {hint}")
    items: Any = cast_to
    kind = type(items).__name__
    either = " | ".join(name_of(one) for one in items) if isinstance(cast_to, _COLLECTIONS) else ""
    if isinstance(cast_to, dict):
        wanted = " | ".join(f"dict[{_names(pair)}]" for pair in items.items())
        raise NotATypeError(f"it is a dict; write {wanted or 'dict'}")
    if isinstance(cast_to, tuple) and len(items) > 1:
        raise NotATypeError(f"it is a tuple; write {either} for one of them, tuple[{_names(items)}] for all")
    if isinstance(cast_to, _COLLECTIONS):
        raise NotATypeError(f"it is a {kind}; write {f'{kind}[{either}]' if either else kind}")
    if isinstance(cast_to, msgspec.Struct | int | float | bytes):
        raise NotATypeError(f"it is a value; pass its type, {kind}")


class _Found(msgspec.Struct, frozen=True):
    """A type found while walking through the fields of another."""

    node: Any
    place: str
    """The field, such as ``"Pet.cat: "``; empty outside fields."""

    is_needed: bool
    """False in a field with a default, which the server need not send."""


def check_classes(cast_to: Any) -> frozenset[str]:
    """Raise `TypeError` if *cast_to* needs a class that only a ``dec_hook`` can create.

    A field with a default may be of any class, since the server may never send it. Return the names of those
    classes.
    """
    unchecked: set[str] = set()
    seen: set[tuple[int, bool]] = set()
    waiting = [*_inspected(cast_to, "", is_needed=True)]
    while waiting:
        found = waiting.pop()
        node = found.node
        if (id(node), found.is_needed) in seen:
            continue
        seen.add((id(node), found.is_needed))
        if isinstance(node, msgspec.inspect.CustomType):
            if node.cls in (object, Open):
                continue
            if found.is_needed:
                hint = _PYDANTIC if hasattr(node.cls, "model_validate") else ""
                raise TypeError(f"{found.place}{node.cls.__name__} needs a dec_hook{hint}")
            unchecked.add(node.cls.__name__)
        elif node.__class__ is tuple:
            waiting.extend(msgspec.structs.replace(found, node=one) for one in node)
        elif isinstance(node, msgspec.inspect.Type):
            waiting.extend(_below(found))
    return frozenset(unchecked)


def _below(found: _Found) -> Iterator[_Found]:
    node: Any = found.node
    if not hasattr(node, "fields"):
        yield from (
            msgspec.structs.replace(found, node=getattr(node, name)) for name in node.__struct_fields__
        )
        return
    hints: Mapping[str, Any] = {}
    with contextlib.suppress(Exception):  # msgspec reports unresolvable names itself
        hints = get_type_hints(node.cls, include_extras=True)
    for field in node.fields:
        place, is_needed = f"{node.cls.__name__}.{field.name}: ", found.is_needed and field.required
        yield _Found(field.type, place, is_needed)
        yield from _inside_open(hints.get(field.name), place, is_needed=is_needed)


def _inspected(cast_to: Any, place: str, *, is_needed: bool) -> Iterator[_Found]:
    # msgspec 0.20 raises for Literal["a", None], which it decodes; the decoder reports real errors.
    with contextlib.suppress(Exception):
        yield _Found(msgspec.inspect.type_info(cast_to), place, is_needed)
    yield from _inside_open(cast_to, place, is_needed=is_needed)


def _inside_open(hint: Any, place: str, *, is_needed: bool) -> Iterator[_Found]:
    """Yield the types inside each `Open` of *hint*, which msgspec does not inspect."""
    for alias in reachable_types(hint, hints_of=_no_hints):
        if get_origin(alias) is Open:
            with contextlib.suppress(Exception):
                yield _Found(msgspec.inspect.type_info(get_args(alias)[0]), place, is_needed)


def _no_hints(one: Any) -> Mapping[str, Any]:
    return {}
