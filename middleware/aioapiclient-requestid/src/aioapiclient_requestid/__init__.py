"""One ID for a request on its way through services: sent on, and added to errors and log records."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeGuard

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler
from aioapiclient.errors import APIClientError, InvalidRequestError

__all__ = ["RequestId", "RequestIdFilter", "accept_id", "new_id", "request_id"]

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The ID of the request that the server is handling; None outside a request."""

# Visible ASCII: an ID with a line end could forge a header or a log line, and one with a space could forge a
# log field. 128 characters are enough for the ID formats in use, and do not fill a log.
_ID = re.compile(r"[!-~]{1,128}")


def new_id() -> str:
    """Return a new ID: 32 hexadecimal digits with 122 random bits."""
    return uuid.uuid4().hex


def accept_id(value: str | None, make: Callable[[], str] = new_id) -> str:
    """Return *value* if it is a valid ID, otherwise a new one from *make*.

    An ID has 1 to 128 characters of visible ASCII. Any other value from outside is replaced, never repaired.
    Raises `InvalidRequestError` if the result of *make* is not valid either.
    """
    if _is_id(value):
        return value
    made = make()
    if not _is_id(made):
        raise InvalidRequestError("make must return an ID of 1 to 128 visible ASCII characters")
    return made


def _is_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


class RequestId:
    """Sends one ID with every attempt and every redirect of a call, in *header*.

    The ID is the value of *variable*, which a server sets for the request that it is handling. If it is empty
    or not valid, *make* makes one for this call. A *header* that the call itself sets or omits is
    kept. During the call the ID is in *variable*, so that log records have it too. An error of this library
    that ends the call gets the ID as a note and, if no response arrived, as ``.request_id``. The
    ``.request_id`` of a status error is the server's own ID.

    Keep its default place, once per call: with ``per_attempt``, each attempt of a call without an inbound ID
    would make a new one.
    """

    def __init__(
        self,
        header: str = "X-Request-Id",
        *,
        variable: ContextVar[str | None] = request_id,
        make: Callable[[], str] = new_id,
    ) -> None:
        self._header = header
        self._variable = variable
        self._make = make

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* with its ID."""
        value = self._identify(request)
        before = self._variable.set(value)
        try:
            response = await handler(request)
        except APIClientError as error:
            _mark(error, value)
            raise
        finally:
            self._variable.reset(before)
        if not response.ok and _note(value) not in response.notes:
            # The client raises for the status after the chain, and adds these notes to the error.
            response.notes += (_note(value),)
        return response

    def _identify(self, request: APIRequest) -> str:
        """Add the ID to *request*."""
        if request.call_sets(self._header):
            own = request.headers.get(self._header)
            return own or accept_id(self._variable.get(None), self._make)
        value = accept_id(self._variable.get(None), self._make)
        request.set_headers({self._header: value})
        return value


def _mark(error: APIClientError, value: str) -> None:
    if _note(value) not in getattr(error, "__notes__", ()):
        error.add_note(_note(value))
    if getattr(error, "request_id", None) is None:
        vars(error)["request_id"] = value


def _note(value: str) -> str:
    return f"request id: {value}"


class RequestIdFilter(logging.Filter):
    """Adds the ID in *variable* to every log record, as ``record.request_id``, or *missing* if it is empty.

    Add it to a handler: a filter on a logger does not see the records of child loggers. With a queue, add it
    to the `logging.handlers.QueueHandler`, because the ID is known where the record is made. A record with
    its own ``request_id`` keeps it.
    """

    def __init__(self, variable: ContextVar[str | None] = request_id, *, missing: str = "-") -> None:
        super().__init__()
        self._variable = variable
        self._missing = missing

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the ID; every record passes."""
        if not hasattr(record, "request_id"):
            value = self._variable.get(None)
            record.request_id = value if _is_id(value) else self._missing
        return True
