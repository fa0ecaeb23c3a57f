"""`Block`: a context manager for ``async with`` that raises helpful errors for any other use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, NoReturn, TypeVar

__all__ = ["Block"]

T_co = TypeVar("T_co", covariant=True)


class Block(AbstractAsyncContextManager[T_co], Generic[T_co]):
    """A context manager that opens and enters another one. Any other use raises an error.

    Args:
        name: The name of the method in error messages.
        gives: The name after ``as`` in error messages.
        opener: Opens the inner context manager; called once.
    """

    def __init__(
        self, name: str, gives: str, opener: Callable[[], Awaitable[AbstractAsyncContextManager[T_co]]]
    ) -> None:
        self._opener: Callable[[], Awaitable[AbstractAsyncContextManager[T_co]]] | None = opener
        self._inner: AbstractAsyncContextManager[T_co] | None = None
        self._call = f"{name}(...)"
        self._advice = (
            f"{name}(...) is a context manager; enter it first: async with {name}(...) as {gives}: ..."
        )

    async def __aenter__(self) -> T_co:
        opener, self._opener = self._opener, None
        if opener is None:
            raise RuntimeError(f"{self._call} was already entered; each block needs its own call")
        self._inner = await opener()
        return await self._inner.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return None if self._inner is None else await self._inner.__aexit__(kind, error, traceback)

    def __aiter__(self) -> NoReturn:
        raise TypeError(self._advice)

    def __await__(self) -> NoReturn:
        raise TypeError(self._advice)

    def __getattr__(self, name: str) -> NoReturn:
        # Names that Python itself looks up begin with an underscore.
        raise AttributeError(name if name.startswith("_") else f"no attribute {name!r}: {self._advice}")
