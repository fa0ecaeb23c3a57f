"""Query strings and forms: Python values in, percent-encoded pairs out.

There are two steps, so that forms and multipart fields share the first: `flatten` turns nested values
into plain ``(name, text)`` pairs by a `QueryStyle`; `encode_pairs` and `encode_form` encode the pairs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from math import isfinite
from typing import Any, Final, Literal, TypeAlias, get_args
from urllib.parse import quote
from uuid import UUID

import msgspec
from yarl import URL

from ._types import NOT_GIVEN, OMIT
from .errors import InvalidRequestError

__all__ = [
    "DEFAULT_STYLE",
    "QueryStyle",
    "QueryValues",
    "append_query",
    "encode_form",
    "encode_pairs",
    "flatten",
    "is_object",
    "iter_items",
    "merge_params",
    "percent_encode",
    "scalar_text",
]

QueryValues: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""Values to flatten: a mapping, pairs in which a name may repeat, a Struct or a dataclass."""

_Arrays: TypeAlias = Literal["repeat", "comma", "brackets", "indices"]
_Nesting: TypeAlias = Literal["brackets", "dots"]

_BYTES: Final[tuple[type[Any], ...]] = (bytes, bytearray, memoryview)

# Deeper than the filters of any API, and far below Python's recursion limit.
_MAX_DEPTH = 100


class QueryStyle(msgspec.Struct, frozen=True):
    """The format of arrays and nested objects in a query string and in a form.

    Args:
        arrays: ``repeat`` (the default, which most servers understand) writes ``a=1&a=2``, ``comma`` writes
            ``a=1,2``, ``brackets`` writes ``a[]=1&a[]=2``, ``indices`` writes ``a[0]=1&a[1]=2``. With
            ``comma``, a server cannot distinguish a comma inside an item from a separator.
        nesting: ``brackets`` (the default) writes ``a[b]=1``, ``dots`` writes ``a.b=1``.

    Raises:
        InvalidRequestError: An argument has another value.
    """

    arrays: _Arrays = "repeat"
    """The format of arrays: ``repeat``, ``comma``, ``brackets`` or ``indices``."""

    nesting: _Nesting = "brackets"
    """The format of nested objects: ``brackets`` or ``dots``."""

    def __post_init__(self) -> None:
        _check_choice("arrays", self.arrays, get_args(_Arrays))
        _check_choice("nesting", self.nesting, get_args(_Nesting))


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidRequestError(f"QueryStyle {name} must be one of {', '.join(choices)}, not {value!r}")


DEFAULT_STYLE: Final = QueryStyle()


def flatten(values: QueryValues, style: QueryStyle = DEFAULT_STYLE) -> list[tuple[str, str]]:
    """Return *values* as unencoded pairs, in order.

    None, `OMIT` and `NOT_GIVEN` are dropped, also inside arrays. Empty objects and arrays produce no pair;
    ``""`` is kept. True is ``true``, dates and times are ISO 8601, an Enum is its value. Sets, tuples,
    iterators and other collections are arrays; Structs (with their renamed fields) and dataclasses are
    objects. In a ``comma`` array every item must be a scalar.

    Raises:
        TypeError: A name is neither a str nor an int, or a value has another type. That includes bytes,
            whose encoding only the caller knows.
        InvalidRequestError: A value is NaN, infinite or contains itself.
    """
    flattener = _Flattener(style)
    pairs = flattener.pairs
    for name, value in iter_items(values):
        # Fast path: nearly every query is flat and contains only strings and ints.
        if type(value) is str and type(name) is str:
            pairs.append((name, value))
        elif type(value) is int and type(name) is str:
            pairs.append((name, str(value)))
        else:
            flattener.add(_name_text(name), value)
    return pairs


class _Flattener:
    """The pairs so far, and the containers around the current value."""

    __slots__ = ("_open", "_style", "pairs")

    def __init__(self, style: QueryStyle) -> None:
        self.pairs: list[tuple[str, str]] = []
        self._style = style
        self._open: set[int] = set()

    def add(self, name: str, value: Any) -> None:
        """Append the pairs of *value* under *name*."""
        if value is None or value is OMIT or value is NOT_GIVEN:
            return
        text = scalar_text(value, name)
        if text is not None:
            self.pairs.append((name, text))
            return
        if id(value) in self._open or len(self._open) >= _MAX_DEPTH:
            raise InvalidRequestError(f"{name[:200]!r} contains itself, or is nested over {_MAX_DEPTH} deep")
        self._open.add(id(value))
        if is_object(value):
            self._add_object(name, value)
        elif _is_array(value):
            self._add_array(name, value)
        else:
            raise TypeError(f"{name!r} cannot be sent in a query or a form: it is {type(value).__name__}")
        self._open.discard(id(value))

    def _add_object(self, name: str, value: Any) -> None:
        dots = self._style.nesting == "dots"
        for key, item in iter_items(value):
            member = _name_text(key)
            self.add(f"{name}.{member}" if dots else f"{name}[{member}]", item)

    def _add_array(self, name: str, value: Iterable[Any]) -> None:
        items = [item for item in value if item is not None and item is not OMIT and item is not NOT_GIVEN]
        match self._style.arrays:
            case "repeat":
                for item in items:
                    self.add(name, item)
            case "brackets":
                for item in items:
                    self.add(f"{name}[]", item)
            case "indices":
                for index, item in enumerate(items):
                    self.add(f"{name}[{index}]", item)
            case _:  # comma
                if items:
                    self.pairs.append((name, ",".join([_comma_item(name, item) for item in items])))


def _comma_item(name: str, item: object) -> str:
    text = scalar_text(item, name)
    if text is None:
        raise InvalidRequestError(
            f"{name!r}: an item of a comma array must be a scalar, not {type(item).__name__}"
        )
    return text


def _name_text(name: object) -> str:
    if isinstance(name, Enum):
        name = name.value
    if isinstance(name, str):
        return str.__str__(name)
    if isinstance(name, int) and not isinstance(name, bool):
        return int.__repr__(name)
    raise TypeError(f"a parameter's name must be a str or an int, not {type(name).__name__}")


def scalar_text(value: object, name: str) -> str | None:
    """Return *value* as text for a URL or a form, or None if it is not a scalar.

    Numbers are written with all their digits, and without an exponent.

    Args:
        value: The value.
        name: The name of the parameter, for error messages.

    Raises:
        InvalidRequestError: *value* is NaN or infinite, which servers read differently.
    """
    if isinstance(value, Enum):
        return scalar_text(value.value, name)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        text = float.__repr__(_finite(value, isfinite(value), name))
        return text if "e" not in text else format(Decimal(text), "f")
    if isinstance(value, Decimal):
        return _decimal_text(_finite(value, value.is_finite(), name), name)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, UUID | URL):
        return str(value)
    if isinstance(value, timedelta):
        return str(msgspec.to_builtins(value))
    return None


_MOST_DIGITS: Final = 1000  # a float has up to 309; a Decimal may have 10**18 zeros


def _decimal_text(value: Decimal, name: str) -> str:
    """Return all digits: servers that read prices and quantities reject ``1E-8``."""
    if abs(value.adjusted()) > _MOST_DIGITS or value.as_tuple().exponent < -_MOST_DIGITS:  # type: ignore[operator]
        raise InvalidRequestError(
            f"{name!r} is {value}: a number of over {_MOST_DIGITS} digits cannot be sent without an exponent"
        )
    return format(value, "f")


def _finite(value: Any, finite: bool, name: str) -> Any:
    if not finite:
        raise InvalidRequestError(f"{name!r} is {value}: only a finite number can be sent")
    return value


def is_object(value: object) -> bool:
    """Return whether *value* is a mapping, a Struct or a dataclass."""
    return isinstance(value, Mapping | msgspec.Struct) or (
        # The test of `dataclasses.is_dataclass`, without the cost of its import.
        hasattr(type(value), "__dataclass_fields__") and not isinstance(value, type)
    )


def _is_array(value: object) -> bool:
    # Not every Iterable: a pydantic model, for example, iterates over its fields.
    return isinstance(value, Collection | Iterator) and not isinstance(value, _BYTES)


def iter_items(values: Any) -> Iterable[tuple[Any, Any]]:
    """Return the items of a mapping, of pairs, or of a Struct or dataclass under its encoded names.

    Raises:
        TypeError: *values* is anything else.
    """
    if type(values) is dict or isinstance(values, Mapping):
        return values.items()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if isinstance(values, msgspec.Struct):
        return _struct_items(values)
    if is_object(values):
        import dataclasses

        return [(field.name, getattr(values, field.name)) for field in dataclasses.fields(values)]
    if isinstance(values, str | bytes | bytearray) or not isinstance(values, Iterable):
        raise TypeError(f"parameters must be a mapping or pairs, not {type(values).__name__}")
    return [_pair(item) for item in values]  # pyright: ignore[reportUnknownVariableType]


def _struct_items(struct: msgspec.Struct) -> list[tuple[str, Any]]:
    config = struct.__struct_config__
    items: list[tuple[str, Any]] = []
    if config.tag_field is not None:
        items.append((config.tag_field, config.tag))
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if value is not msgspec.UNSET and not (config.omit_defaults and value is field.default):
            items.append((field.encode_name, value))
    return items


def _pair(item: Any) -> tuple[Any, Any]:
    if not isinstance(item, tuple | list) or len(item) != 2:  # pyright: ignore[reportUnknownArgumentType]
        raise TypeError("parameters given as an iterable must be pairs of a name and a value")
    return item[0], item[1]  # pyright: ignore[reportUnknownVariableType]


def merge_params(
    default: QueryValues | None, call: QueryValues | None, *, keep_omitted: bool = False
) -> Mapping[str, Any] | list[tuple[str, Any]]:
    """Return *call* laid over *default*: a name in *call* replaces all its values in *default*.

    `OMIT` removes a name; ``keep_omitted=True`` keeps the marker, for a result that is laid over another
    layer. `NOT_GIVEN` keeps the default. None replaces the default, and is dropped when the query is
    encoded. Names are case-sensitive (RFC 3986 §6.2.2.1). The result is a dict, or a list of pairs if a name
    repeats.
    """
    upper = [(name, value) for name, value in iter_items(call or ()) if value is not NOT_GIVEN]
    names = {name for name, _ in upper}
    merged = [(name, value) for name, value in iter_items(default or ()) if name not in names] + upper
    if not keep_omitted:
        merged = [(name, value) for name, value in merged if value is not OMIT]
    mapping = dict(merged)
    return mapping if len(mapping) == len(merged) else merged


def percent_encode(text: str, safe: str = "", errors: str = "strict") -> str:
    """Percent-encode the UTF-8 of *text*, except the characters in *safe* and the unreserved ones.

    The unreserved characters mean the same escaped and unescaped (RFC 3986 §2.3).

    Raises:
        InvalidRequestError: *text* has a lone surrogate, which UTF-8 cannot encode, and *errors* is
            ``strict``.
    """
    if text.isascii() and text.isalnum():  # most values; this test costs a tenth of quote
        return text
    try:
        return quote(text, safe, errors=errors)
    except UnicodeEncodeError:
        pass  # raise outside of this block: the error holds the text
    raise InvalidRequestError("text with a lone surrogate cannot be encoded as UTF-8")


# A query may contain a comma (RFC 3986 §3.4), and servers that split before they decode read `comma`
# arrays by it. All other reserved characters are escaped, also brackets in names: some servers and proxies
# refuse bare ones, and all decode escaped ones.
_encode = partial(percent_encode, safe=",")


def _encode_form_text(text: str) -> str:
    """Encode by the application/x-www-form-urlencoded percent-encode set of the WHATWG URL standard."""
    return percent_encode(text, safe="* ").replace("~", "%7E").replace(" ", "+")


def encode_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a query by RFC 3986: UTF-8, a space is ``%20``, ``+`` is ``%2B``, brackets are escaped."""
    encode = _encode
    return "&".join([f"{encode(name)}={encode(value)}" for name, value in pairs])


def append_query(query: str, more: str) -> str:
    """Return two encoded queries as one; the first is kept byte for byte."""
    if not query or not more:
        return query or more
    return f"{query}{more}" if query.endswith("&") else f"{query}&{more}"


def encode_form(values: QueryValues, style: QueryStyle = DEFAULT_STYLE) -> bytes:
    """Return a form body, ``application/x-www-form-urlencoded`` by the WHATWG URL standard §5.2.

    Values are flattened as in a query, but a space is ``+``, as form parsers expect. Raises what `flatten`
    raises.
    """
    encode = _encode_form_text
    text = "&".join([f"{encode(name)}={encode(value)}" for name, value in flatten(values, style)])
    return text.encode("ascii")
