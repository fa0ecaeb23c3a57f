"""The log of sends: one DEBUG record of the logger ``aioapiclient`` per send."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from aioapiclient._request import APIRequest
from aioapiclient._response.response import AsyncAPIResponse
from aioapiclient.contract import Handler

__all__ = ["logging_sends"]

_logger = logging.getLogger("aioapiclient")


def logging_sends(transport: Handler) -> Handler:
    """Return *transport* with one log record per send, if the logger is enabled for DEBUG."""

    def send(request: APIRequest) -> Awaitable[AsyncAPIResponse[Any]]:
        if _logger.isEnabledFor(logging.DEBUG):
            return _logged(request, transport)
        return transport(request)

    return send


async def _logged(request: APIRequest, transport: Handler) -> AsyncAPIResponse[Any]:
    """Send *request*, and log its outcome: the status of the response, or the error."""
    label, attempt = request.label, request.attempt
    clock = asyncio.get_running_loop().time
    began = clock()
    outcome = "no response"
    try:
        response = await transport(request)
        outcome = str(response.status)
    except BaseException as error:
        reason = getattr(error, "reason", None)
        outcome = f"{type(error).__name__} ({reason})" if reason else type(error).__name__
        raise
    finally:
        _logger.debug("%s: %s after %.3f s, attempt %d", label, outcome, clock() - began, attempt)
    return response
