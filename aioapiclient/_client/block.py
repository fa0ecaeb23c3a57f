"""`in_block`: an async generator as a context manager, whose errors explain any other use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from types import TracebackType
from typing import Generic, NoReturn, ParamSpec, TypeVar

__all__ = ["in_block"]

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Block(AbstractAsyncContextManager[T_co], Generic[T_co]):
    """A context manager; any other use raises an error that shows how to enter it."""

    def __init__(self, name: str, gives: str, inner: AbstractAsyncContextManager[T_co]) -> None:
        self._inner = inner
        self._advice = (
            f"{name}(...) is a context manager; enter it first: async with {name}(...) as {gives}: ..."
        )

    async def __aenter__(self) -> T_co:
        return await self._inner.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, traceback)

    def __aiter__(self) -> NoReturn:
        raise TypeError(self._advice)

    def __await__(self) -> NoReturn:
        raise TypeError(self._advice)

    def __getattr__(self, name: str) -> NoReturn:
        # Names that Python itself looks up begin with an underscore.
        raise AttributeError(name if name.startswith("_") else f"no attribute {name!r}: {self._advice}")


def in_block(gives: str) -> Callable[[Callable[P, AsyncGenerator[T, None]]], Callable[P, _Block[T]]]:
    """Turn an async generator function with one ``yield`` into a function that returns a context manager.

    Args:
        gives: The name after ``as`` in the errors.
    """

    def decorate(function: Callable[P, AsyncGenerator[T, None]]) -> Callable[P, _Block[T]]:
        manage = asynccontextmanager(function)

        @wraps(function)
        def make(*args: P.args, **kwargs: P.kwargs) -> _Block[T]:
            return _Block(function.__name__, gives, manage(*args, **kwargs))

        return make

    return decorate
