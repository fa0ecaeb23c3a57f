"""`Decoders`: the user's functions for content types without a built-in codec."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from aioapiclient._patterns import lazily
from aioapiclient.errors import InvalidRequestError

__all__ = ["DecoderFunction", "Decoders"]

DecoderFunction: TypeAlias = Callable[[bytes, Any], Any]
"""Decodes a body: a function of its bytes and of the requested type that returns the value."""

_KEY = lazily(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+|\+[\w.-]+", re.ASCII)


class Decoders:
    """Functions by media type (``application/xml``) or structured suffix (``+xml``); immutable.

    Args:
        functions: The functions by key.
        below: The decoders of the client, for a view. None by default.

    Raises:
        InvalidRequestError: A key is not a media type.
        TypeError: A function cannot be called, or is a coroutine function.

    """

    __slots__ = ("_functions",)

    def __init__(self, functions: Mapping[Any, Any], below: Decoders | None = None) -> None:
        _check(functions)
        own = {key.lower(): function for key, function in functions.items()}
        self._functions: dict[str, DecoderFunction] = {**(below._functions if below else {}), **own}

    def find(self, media: str) -> DecoderFunction | None:
        """Return the function for the media type *media*, in lower case; None without one."""
        found = self._functions.get(media)
        if found is None and "+" in media:
            found = self._functions.get(media[media.rindex("+") :])
        return found

    @property
    def media_types(self) -> list[str]:
        """The media types of the functions, without the suffixes."""
        return [key for key in self._functions if "/" in key]


def _check(decoders: Mapping[Any, Any]) -> None:
    for key, function in decoders.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise InvalidRequestError(
                f"decoders: {key!r} is not a media type without parameters: 'application/xml', or '+xml'"
            )
        if not callable(function) or inspect.iscoroutinefunction(function):
            kind = "a coroutine function" if callable(function) else type(function).__name__
            raise TypeError(f"decoders[{key!r}] must be a plain function f(body, type), not {kind}")
