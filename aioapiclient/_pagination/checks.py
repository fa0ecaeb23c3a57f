"""Check a page class on its first use, because a wrong field name would silently end a list early."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

from aioapiclient._checks import closest
from aioapiclient._codecs.open import union_members

__all__ = ["check_page_class"]

_WAYS: Final = ("params", "json", "headers")  # the values of send_in
_SCALARS: Final = frozenset({str, bytes, bool, int, float, type(None)})


@lru_cache(maxsize=256)
def check_page_class(cls: type[msgspec.Struct], own_items: bool) -> None:
    """Raise `TypeError` for an unknown class variable, or one that names a field that does not exist.

    Args:
        cls: The page class.
        own_items: Whether it overrides ``_get_page_items``, so that ``items_field`` is not used.

    """
    known = _class_variables(cls)
    for name in _given(cls):
        if name not in known:
            _refuse_unknown(cls, name, known)
    for name, default in known.items():
        value = inspect.getattr_static(cls, name)
        if name in cls.__struct_fields__:
            raise TypeError(f"page {cls.__name__}: {name} is a field of the body; declare it as ClassVar")
        if isinstance(value, property):
            continue
        _check_value(cls, name, value, default)
        is_used = _is_ours(_definer(cls, name)) is False or (name == "items_field" and not own_items)
        if name.endswith("_field") and value is not None and is_used:
            _check_path(cls, name, value)


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]


def _definer(cls: type, name: str) -> type:
    return next(base for base in cls.__mro__ if name in vars(base))


def _class_variables(cls: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the class variables that *cls* inherits from our page classes, with their defaults."""
    return {
        name: value
        for base in reversed(cls.__mro__)
        if _is_ours(base)
        for name, value in vars(base).items()
        if not name.startswith("_") and isinstance(value, str | bool | int | None)
    }


def _given(cls: type[msgspec.Struct]) -> Iterator[str]:
    """Yield the names of class variables that the user's classes set but do not read."""
    own = [base for base in cls.__mro__ if not _is_ours(base)]
    read = {name for base in own for value in vars(base).values() for name in _names_in(value)}
    for base in own:
        for name in vars(base):
            if not (name.startswith("_") or name in read or name in cls.__struct_fields__):
                yield name


def _names_in(value: object) -> Iterator[str]:
    """Yield the names that a method or a property mentions."""
    inner: Any = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
    function = inspect.unwrap(inner)
    waiting = [getattr(function, "__code__", None)]
    while waiting:
        code = waiting.pop()
        if code is not None:
            yield from code.co_names
            yield from (constant for constant in code.co_consts if isinstance(constant, str))
            waiting.extend(constant for constant in code.co_consts if isinstance(constant, CodeType))


def _refuse_unknown(cls: type, name: str, known: Mapping[str, Any]) -> None:
    close = closest(name, known, 0.8)
    suffix = next((one for one in ("_field", "_param") if name.endswith(one)), None)
    if not close and suffix is None:
        return
    same = sorted(one for one in known if suffix is not None and one.endswith(suffix))
    hint = f"did you mean {close}?" if close else f"it has {', '.join(same) or 'none of that kind'}"
    raise TypeError(f"page {cls.__name__} has no class variable {name}; {hint}")


def _check_value(cls: type, name: str, value: object, default: object) -> None:
    if name == "send_in":
        if value not in _WAYS:
            raise TypeError(f"page {cls.__name__}: send_in must be one of {', '.join(_WAYS)}, not {value!r}")
        return
    kind = str if default is None else type(default)
    if type(value) is not kind and not (value is None and default is None):
        raise TypeError(f"page {cls.__name__}: {name} must be of type {kind.__name__}, not {value!r}")
    if value == "":
        raise TypeError(f"page {cls.__name__}: {name} must not be empty")


def _check_path(cls: type[msgspec.Struct], name: str, path: str) -> None:
    """Raise `TypeError` if no body of *cls* can have a value at *path*."""
    kinds: list[Any] = [cls]
    for segment in path.split("."):
        reached = [_after(member, segment) for kind in kinds for member in union_members(kind)]
        kinds = [kind for kind in reached if kind is not None]
        if not kinds:
            raise TypeError(f"page {cls.__name__}: {name} is {path!r}, and {_missing(cls, segment, path)}")
        if Any in kinds:
            return


def _missing(cls: type[msgspec.Struct], segment: str, path: str) -> str:
    fields = dict(zip(cls.__struct_encode_fields__, cls.__struct_fields__, strict=True))
    if path in fields:
        return f"that is its name in the body; the field is {fields[path]!r}"
    if path.partition(".")[0] != segment:
        return f"{segment!r} does not exist at that depth"
    close = closest(segment, cls.__struct_fields__)
    return f"that field does not exist; {f'did you mean {close!r}?' if close else 'declare it'}"


def _after(kind: Any, name: str) -> Any:
    """Return the type of member *name* of a value of type *kind*: None if it has no such member, `Any` if
    unknown.
    """
    origin: Any = get_origin(kind) or kind
    if origin in _SCALARS or origin is Literal:
        return None
    if not inspect.isclass(origin):
        return Any
    if issubclass(origin, list | tuple):
        if not name.removeprefix("-").isdecimal():
            return None
        arguments = get_args(kind)
        return arguments[0] if origin is list and arguments else Any
    if issubclass(origin, msgspec.Struct) or hasattr(origin, "__dataclass_fields__") or is_typeddict(origin):
        return _field_type(kind, origin, name)
    if issubclass(origin, Mapping):
        arguments = get_args(kind)
        return arguments[1] if len(arguments) == 2 else Any
    return Any


def _field_type(kind: Any, origin: Any, name: str) -> Any:
    try:
        if issubclass(origin, msgspec.Struct):
            found = {field.name: field.type for field in msgspec.structs.fields(kind)}
        else:
            found = get_type_hints(origin, include_extras=True)
    except Exception:  # an unresolvable name, for which msgspec has a better message
        return Any
    if name in found:
        # An unbound type parameter may be anything.
        return Any if isinstance(found[name], TypeVar) else found[name]
    return Any if hasattr(origin, name) else None
