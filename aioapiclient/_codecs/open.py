"""`Open[A | B]`: unions, enums and literals that the server may extend without breaking its clients.

For type checkers ``Open[A | B]`` is ``A | B | Unknown``. At run time it is a generic class, which msgspec
passes to a ``dec_hook`` as a custom type, at any depth; `open_hook` creates that hook. Known values cost
nothing extra if ``Open`` is a type argument (``Open[...]`` itself, ``list[Open[...]]``,
``Page[Open[...]]``): the body is first decoded as the closed union, straight from its bytes, and only a
failure is decoded again. An ``Open`` in the fields of a Struct always goes through plain data and
`msgspec.convert`, about 1.5 us per object.
"""

from __future__ import annotations

import contextlib
import enum
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NoReturn,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    final,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec

__all__ = ["Open", "Unknown"]

T = TypeVar("T")
DecHook: TypeAlias = Callable[[Any, Any], Any]

_LONGEST_TAG = 40


@final
class Unknown:
    """A value that `Open` does not know: an object with a new tag, or a new member of an enum or literal.

    It compares equal by value and tag, is hashable if the value is, works in ``match`` (``case
    Unknown(value):``), and encodes to the value that was received. Its repr shows at most 40 characters of
    the tag and never the value, which may be a secret.

    Args:
        value: The complete value as plain data.
        tag: The tag of an object; None (the default) for a member of an enum or literal.
    """

    __slots__ = ("tag", "value")
    __match_args__: ClassVar[tuple[str, ...]] = ("value",)

    value: Any
    """The complete value as plain data: a dict for an object, including its tag."""

    tag: str | int | None
    """The tag of an object; None for a member of an enum or literal."""

    def __init__(self, value: Any, tag: str | int | None = None) -> None:
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "tag", tag)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} cannot be set: Unknown is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name} cannot be deleted: Unknown is immutable")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Unknown):
            return NotImplemented
        return bool(self.value == other.value) and self.tag == other.tag

    def __hash__(self) -> int:
        return hash((Unknown, self.value, self.tag))

    def __reduce__(self) -> tuple[type[Unknown], tuple[Any, str | int | None]]:
        return Unknown, (self.value, self.tag)

    def __repr__(self) -> str:
        kind = type(self.value).__name__
        if self.tag is None:
            return f"<Unknown {kind}>"
        tag = self.tag if isinstance(self.tag, int) else self.tag[:_LONGEST_TAG]
        return f"<Unknown {kind}, tag {tag!r}>"


if TYPE_CHECKING:
    Open = Union[T, Unknown]  # noqa: UP007  (an alias that can be subscripted)
else:

    class _OpenMeta(type):
        # After calling the hook, msgspec checks that the result is an instance of the custom type.
        def __instancecheck__(cls, instance: object) -> bool:
            return True

    class Open(Generic[T], metaclass=_OpenMeta):
        """`Open[A | B]` decodes to ``A | B | Unknown``; `Open[SomeEnum]` and `Open[Literal[...]]` likewise.

        A new tag, enum member or literal becomes an `Unknown`. Invalid data inside a known variant, a
        missing tag or a value of another JSON type is still an error. It works wherever aioapiclient
        decodes: as ``cast_to`` and in fields, lists, dicts and generics. msgspec alone does not know it.

        A float that a known variant declares as a `Decimal` keeps every digit. `msgspec.Raw` is not
        supported inside.

        Raises:
            TypeError: On the first use of the type, if it contains nothing that can be extended.
        """


class InsideOpen(ValueError):
    """Carries the error of a known variant through msgspec, which adds the position of the variant."""

    def __init__(self, error: Exception) -> None:
        super().__init__("inside Open")
        self.error = error


def union_members(cast_to: Any) -> list[Any]:
    """Return the members of a union, without their wrappers; for any other type, the type itself."""
    found: list[Any] = []
    waiting = [cast_to]
    while waiting:
        one = waiting.pop()
        origin = get_origin(one)
        if origin is Union or origin is UnionType or origin is Open:
            waiting.extend(reversed(get_args(one)))
        elif (inner := _wrapped(one)) is not None:
            waiting.append(inner)
        else:
            found.append(type(None) if one is None else one)
    return found


def _wrapped(one: Any) -> Any:
    """Return the type inside ``Annotated[X, ...]``, a ``NewType`` or a ``type`` alias, else None."""
    if get_origin(one) is Annotated:
        return one.__origin__
    if isinstance(one, type):
        return None
    return getattr(one, "__supertype__", None) or getattr(one, "__value__", None)


class _Plan(msgspec.Struct, frozen=True):
    """The known types inside one ``Open[...]``. It keeps the alias alive, because its id is the key."""

    alias: Any
    known: Any
    tag_field: str
    objects: dict[Any, Any]
    arrays: dict[Any, Any]
    tag_type: type
    kinds: frozenset[type]


def _plan(alias: Any) -> _Plan:
    (known,) = get_args(alias)
    objects: dict[Any, Any] = {}
    arrays: dict[Any, Any] = {}
    kinds: set[type] = set()
    field, anything = "", False
    for member in union_members(known):
        origin = get_origin(member) or member
        if origin is Any or isinstance(origin, TypeVar):
            anything = True  # a generic class without a type argument
        elif origin is Literal:
            kinds.update(map(_kind, get_args(member)))
        elif isinstance(origin, enum.EnumMeta):
            kinds.update(_kind(value.value) for value in cast("Iterable[enum.Enum]", origin))
        elif isinstance(origin, type) and issubclass(origin, msgspec.Struct):
            config = origin.__struct_config__
            if config.tag is not None:
                field = str(config.tag_field)
                (arrays if config.array_like else objects)[config.tag] = member
    tags = [*objects, *arrays]
    kinds.discard(type(None))
    if not (tags or kinds or anything):
        raise TypeError(f"{alias}: nothing in it can grow; Open needs tagged Structs, Enums or Literals")
    return _Plan(alias, known, field, objects, arrays, _kind(tags[0]) if tags else str, frozenset(kinds))


def _kind(value: object) -> type:
    return type(value)


def open_hook(strict: bool, dec_hook: DecHook | None) -> DecHook:
    """Return the ``dec_hook`` that decodes `Open`, and passes other custom types to the user's hook."""
    plans: dict[int, _Plan] = {}  # by id: the hash of a union costs more than its decoding

    def hook(wanted: Any, value: Any) -> Any:
        plan = plans.get(id(wanted))
        if plan is None:
            if get_origin(wanted) is not Open:
                return value if dec_hook is None else dec_hook(wanted, value)
            plan = plans[id(wanted)] = _plan(wanted)
        return _decode_open(plan, value, strict, hook)

    return hook


def _decode_open(plan: _Plan, value: Any, strict: bool, hook: DecHook) -> Any:
    wanted = plan.known
    kind = _kind(value)
    if kind is dict or kind is list:
        variants = plan.objects if kind is dict else plan.arrays
        tag: Any = value.get(plan.tag_field) if kind is dict else value[0] if value else None
        if variants and type(tag) is plan.tag_type:
            # Converting to the variant directly is three times as fast as to the union.
            if tag not in variants:
                return Unknown(value, cast("str | int", tag))
            wanted = variants[tag]
    try:
        return msgspec.convert(value, wanted, strict=strict, dec_hook=hook, str_keys=True)
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        if _is_new_member(plan, value, strict):
            return Unknown(value)
        failure = InsideOpen(error)
    raise failure


def _is_new_member(plan: _Plan, value: Any, strict: bool) -> bool:
    if type(value) in plan.kinds:
        return True
    # Without strict, a number may be sent as a string, including a new one.
    return not strict and int in plan.kinds and type(value) is str and value.removeprefix("-").isdigit()


def without_open(cast_to: Any) -> Any:
    """Return *cast_to* with ``X`` for ``Open[X]`` wherever that is a type argument."""
    origin = get_origin(cast_to)
    if origin is None or origin is Literal:
        return cast_to
    if origin is Open:
        return without_open(get_args(cast_to)[0])
    if origin is Annotated:
        inner = without_open(cast_to.__origin__)
        return cast_to if inner is cast_to.__origin__ else Annotated[(inner, *cast_to.__metadata__)]
    before = get_args(cast_to)
    after = tuple(without_open(argument) for argument in before)
    if all(new is old for new, old in zip(after, before, strict=True)):
        return cast_to
    return Union[after] if origin is Union or origin is UnionType else origin[after]  # noqa: UP007


def reachable_types(cast_to: Any, *, hints_of: Callable[[Any], Mapping[str, Any]] | None = None) -> list[Any]:
    """Return every type that decoding *cast_to* may reach, through arguments, aliases and fields.

    *hints_of* returns the fields of a class; by default only of classes that msgspec decodes by fields.
    """
    hints_of = hints_of or _hints
    seen: dict[int, Any] = {}
    waiting = [cast_to]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one
        if get_origin(one) is Literal:
            continue
        if (inner := _wrapped(one)) is not None:
            waiting.append(inner)
            if get_origin(one) is Annotated:
                continue
        waiting.extend((get_origin(one), *get_args(one)))
        waiting.extend(hints_of(one).values())
    return list(seen.values())


def _hints(one: Any) -> Mapping[str, Any]:
    """Return the fields of a class that msgspec decodes by fields; it reports unresolvable names itself."""
    if _has_fields(one):
        with contextlib.suppress(Exception):
            return get_type_hints(one, include_extras=True)
    return {}


def _has_fields(one: Any) -> bool:
    if not inspect.isclass(one):
        return False
    cls: type[object] = one
    known = issubclass(cls, msgspec.Struct) or hasattr(cls, "__dataclass_fields__") or is_typeddict(cls)
    return known or hasattr(cls, "__attrs_attrs__") or (hasattr(cls, "_fields") and issubclass(cls, tuple))


def check_opens(types: list[Any]) -> bool:
    """Return whether there is an `Open` among *types*; raise `TypeError` for one that cannot grow."""
    opens = [one for one in types if get_origin(one) is Open]
    for alias in opens:
        plan = _plan(alias)
        if any(one is msgspec.Raw for one in reachable_types(plan.known)):
            raise TypeError(
                f"{alias}: msgspec.Raw is not supported inside Open, which decodes from plain data"
            )
    return bool(opens)
