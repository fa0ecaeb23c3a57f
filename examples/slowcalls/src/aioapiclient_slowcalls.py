"""A middleware that logs slow calls: the plugin that docs/middleware.md builds."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler
from aioapiclient.errors import InvalidRequestError

__all__ = ["SlowCalls"]

logger = logging.getLogger(__name__)


class SlowCalls:
    """Logs a warning for every call that takes *threshold* seconds or more, retries and waits included."""

    def __init__(self, threshold: float = 1.0) -> None:
        if threshold < 0:
            raise InvalidRequestError(f"threshold must be 0 seconds or more, not {threshold}")
        self.threshold = threshold

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        # Built first: from then on the request belongs to the handler, which may change it.
        what = f"{request.method} {request.template}"
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            return await handler(request)
        finally:
            seconds = clock() - began
            if seconds >= self.threshold:
                logger.warning("%s took %.3f s", what, seconds)
