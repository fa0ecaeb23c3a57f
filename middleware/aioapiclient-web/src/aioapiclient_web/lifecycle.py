"""`client_ctx`: opens a client with an application, and closes it afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from aiohttp import web

from aioapiclient.contract import check_function

from ._arguments import check

__all__ = ["client_ctx"]

C = TypeVar("C", bound=AbstractAsyncContextManager[Any])


def client_ctx(
    key: web.AppKey[C], make: Callable[[web.Application], C]
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a cleanup context: the client opens with the application, and closes after its last handler.

    ::

        app.cleanup_ctx.append(client_ctx(API, lambda app: AsyncAPIClient("https://api.example.com")))

    aiohttp closes it when the handlers have ended, or when its ``shutdown_timeout`` has cut them off.

    Args:
        key: The key of the client in the application. Handlers of sub-applications find it by
            ``request.config_dict[key]``.
        make: Creates the client. It is called with the application at each start, in the running loop.

    Returns:
        An entry for ``app.cleanup_ctx``.

    Raises:
        TypeError: *key* is not an `aiohttp.web.AppKey`, or *make* is not a function.
    """
    check("key", key, web.AppKey, "a web.AppKey")
    check_function("make", make)

    async def client_of(app: web.Application) -> AsyncIterator[None]:
        client = make(app)
        async with client:
            app[key] = client
            yield

    return client_of
