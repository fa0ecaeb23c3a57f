"""Explain why a body does not fit: position and reason, without values of the body.

msgspec quotes values in some of its messages, and so may an exception of the user's hooks: a ``dec_hook``, a
``__post_init__``, a function of ``decoders``. The text of a hook is repeated, and its exception kept as the
cause, only if it contains no value of the body.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast, get_type_hints

import msgspec

from aioapiclient._patterns import lazily

from .open import InsideOpen, reachable_types

__all__ = ["FAILURES", "Asked", "DecodeError", "explain", "explain_hook"]

# The exceptions that msgspec raises for a body: invalid UTF-8 and too many digits are ValueErrors, an
# unhashable member of a set is a TypeError. It wraps these two if a user's hook raises them, and passes any
# other exception of a hook on.
FAILURES: Final = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)

_PATH = lazily(r" - at `(key` in `)?(\$(?:\.[^`.\[\]]+|\[[^`\]]*\])*)`$")
_LONGEST_PATH: Final = 200
_LONGEST_TEXT: Final = 300  # characters; a longer text of a hook is not repeated
_LONGEST_SHOWN: Final = 2000  # characters; a longer exception is not searched for values
# Messages that quote the schema, never the body.
_HARMLESS: Final = (
    "Expected ",
    "Object missing required field ",
    "Input data was truncated",
    "JSON is malformed: ",
    "MessagePack data is malformed: ",
    "Invalid RFC3339 ",
    "Invalid ISO8601 ",
    "Invalid UUID",
    "Invalid base64 ",
    "Invalid decimal ",
    "Invalid epoch ",
    "Invalid MessagePack ",
    "Number out of range",
    "Integer value out of range",
    "Timestamp is out of range",
    "Duration is out of range",
)
_UNHASHABLE: Final = "an array or object is used as a set member or a key, which must be a scalar"
# Replacements for messages that quote the body, or that differ between versions of msgspec.
_REWORDED: Final = {
    "Expected a hashable value": _UNHASHABLE,
    "Invalid UTF-8 ": "not valid UTF-8",
    "Invalid enum value ": "not a member of the enum or literal",
    "Invalid value ": "unknown tag",
    "Object contains unknown field ": "the object contains an unknown field",
}


class DecodeError(Exception):
    """A body does not fit its type. Text, attributes and causes contain no value of the body."""

    def __init__(self, reason: str, path: str = "$", cause: BaseException | None = None) -> None:
        super().__init__(reason, path)
        self.reason = reason
        """The reason, without values of the body."""
        self.path = path
        """The JSON path of the mismatch."""
        self.cause = cause
        """The exception of the user's hook, if it contains no value of the body."""

    def __str__(self) -> str:
        return f"{self.reason} (at {self.path})"


class Asked(msgspec.Struct, frozen=True):
    """The type that was decoded to, and the body as plain data, to find its values."""

    cast_to: Any
    """The type."""
    plain: Callable[[], Any]
    """Returns the body as plain data."""


def explain(error: BaseException, requested: Asked) -> DecodeError:
    """Return the error to report for *error*, which msgspec raised for a body."""
    if isinstance(error, RecursionError):
        return DecodeError("nested too deeply")
    if isinstance(error, UnicodeError):
        return DecodeError("not valid UTF-8")
    if isinstance(error, TypeError):
        return DecodeError(_UNHASHABLE)
    if not isinstance(error, msgspec.MsgspecError):
        return DecodeError("a number has too many digits")
    message, path, in_key = str(error), "$", ""
    if place := _PATH.search(message):
        message, path, in_key = message[: place.start()], place[2], " in a key" if place[1] else ""
    cause = error.__cause__
    if isinstance(cause, InsideOpen):
        inner = explain(cause.error, requested)
    elif cause is not None:
        inner = explain_hook(cause, requested)
    else:
        inner = DecodeError(_reworded(message))
    return DecodeError(inner.reason + in_key, (path + inner.path[1:])[:_LONGEST_PATH], inner.cause)


def _reworded(message: str) -> str:
    reworded = (text for start, text in _REWORDED.items() if message.startswith(start))
    return next(reworded, message if message.startswith(_HARMLESS) else "does not fit")


# --- errors of hooks


def explain_hook(error: BaseException, requested: Asked) -> DecodeError:
    """Return the error to report for *error*, which a hook raised: with its text and position, if
    harmless.
    """
    unexplained = f"refused with {type(error).__name__} while it was decoded"
    values = _Values.of(requested)
    if values is None:
        return DecodeError(unexplained)
    text, path, more = _said_by(error, values.names)
    line = " ".join(text.split())
    is_shown = line.isprintable() and len(line) <= _LONGEST_TEXT and not values.are_in(line)
    keeps = not any(len(shown) > _LONGEST_SHOWN or values.are_in(shown) for shown in _shown_by(error))
    reason = ((is_shown and line) or unexplained) + (f" (and {more} more)" if more else "")
    return DecodeError(reason, path, error if keeps else None)


def _said_by(error: BaseException, names: frozenset[str]) -> tuple[str, str, int]:
    """Return the text and path of an exception, and the number of further errors in one of pydantic."""
    with contextlib.suppress(Exception):
        listing: Any = error
        errors: Any = listing.errors()
        first = errors[0]
        path = "$" + "".join(_step(step, names) for step in first["loc"])
        return str(first["msg"]), path, len(errors) - 1
    return str(error), "$", 0


def _step(step: object, names: frozenset[str]) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    # Only names of fields: a key of a dict is a value of the body.
    return f".{step}" if step in names else "[...]"


def _shown_by(error: BaseException) -> Iterator[str]:
    """Yield all texts of *error* and of its causes."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        yield from (str(one), repr(one), repr(one.args), repr(vars(one)))


class _Values(msgspec.Struct, frozen=True):
    """The values of a body, to find them in a text."""

    texts: str
    words: frozenset[str]
    names: frozenset[str]

    @classmethod
    def of(cls, requested: Asked) -> _Values | None:
        """Return the values of the decoded body; None if they are unknown or too many."""
        try:
            names = _names_in(requested.cast_to)
            scalars = list(_scalars(requested.plain(), names))
        except Exception:
            return None
        return cls("\0".join(scalars), frozenset(scalars), names)

    def are_in(self, text: str) -> bool:
        """Return whether *text* contains a value as a word, or a long part of one."""
        if any(text[start : start + _RUN] in self.texts for start in range(len(text) - _RUN + 1)):
            return True
        if any(word in self.words for word in _WORDS.findall(text)):
            return True
        return any(len(word) >= _WORD and word in text for word in self.words)


_RUN: Final = 12  # characters; a text and a value do not share so many by chance
_WORD: Final = 4  # characters; a value of this length is searched for inside words too
_MOST: Final = 50_000  # values to search for
_WORDS = lazily(r"\w+")


def _scalars(data: Any, names: frozenset[str]) -> Iterator[str]:
    """Yield the values in plain data as strings, and the keys that are not field names."""
    waiting: list[Any] = [data]
    found = 0
    while waiting:
        one: Any = waiting.pop()
        items: Any = one
        found += 1
        if found > _MOST:
            raise ValueError("too many values")
        if isinstance(one, Mapping):
            waiting.extend(key for key in items if key not in names)
            waiting.extend(items.values())
        elif isinstance(one, Sequence) and not isinstance(one, str | bytes):
            waiting.extend(items)
        elif one is not None and not isinstance(one, bool) and one != "":
            yield str(one)


def _names_in(cast_to: Any) -> frozenset[str]:
    """Return the names of all fields and classes that *cast_to* reaches."""
    names: set[str] = set()
    for one in reachable_types(cast_to, hints_of=_hints_of_any):
        if inspect.isclass(one):
            names.add(one.__name__)
            names.update(_hints_of_any(one))
            names.update(getattr(one, "__struct_encode_fields__", ()))
            aliases = (getattr(field, "alias", None) for field in _fields_of_pydantic(one))
            names.update(alias for alias in aliases if isinstance(alias, str))
    return frozenset(names)


def _fields_of_pydantic(one: Any) -> list[Any]:
    fields = getattr(one, "model_fields", None)
    return [*cast("Mapping[str, Any]", fields).values()] if isinstance(fields, Mapping) else []


def _hints_of_any(one: Any) -> Mapping[str, Any]:
    if inspect.isclass(one) and one.__module__ not in ("builtins", "typing", "types"):
        with contextlib.suppress(Exception):
            return get_type_hints(one, include_extras=True)
    return {}
