"""`BaseAPIResponse`: the head of a response, which is all that is kept of a redirect."""

from __future__ import annotations

__lazy_modules__: tuple[str, ...] = ("aioapiclient._response_headers",)

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDictProxy
from yarl import URL

from aioapiclient._codecs.content_type import declared_charset, media_type
from aioapiclient._request import APIRequest
from aioapiclient._response_headers import parse_links, retry_after
from aioapiclient._url.base import resolve_reference
from aioapiclient.errors import APIResponseValidationError, InvalidRequestError

if TYPE_CHECKING:
    from .response import AsyncAPIResponse

__all__ = ["BaseAPIResponse"]


class BaseAPIResponse:
    """The head of a response: status, headers and parsed header values.

    Args:
        request: The request that was sent.
        status: The status code.
        headers: The headers, case-insensitive.
        reason: The reason phrase. Empty by default.
        url: The URL that answered. That of *request* by default.
        http_version: ``"1.1"`` (the default) or ``"1.0"``.
        elapsed: Seconds from the start of the call to the response head. 0.0 by default.
    """

    history: tuple[BaseAPIResponse, ...] = ()
    """The redirects that led to this response, oldest first; their bodies are closed."""

    _retry_after: float | None = None

    def __init__(
        self,
        request: APIRequest,
        status: int,
        headers: CIMultiDictProxy[str],
        reason: str = "",
        url: URL | None = None,
        http_version: str = "1.1",
        elapsed: float = 0.0,
    ) -> None:
        self.request: APIRequest = request
        """The request as it was sent, with all changes of the middlewares."""
        self.status: int = status
        """The status code (RFC 9110 §15)."""
        self.headers: CIMultiDictProxy[str] = headers
        """The headers, case-insensitive; a name may occur more than once."""
        self.reason: str = reason
        """The reason phrase; may be empty."""
        self.url: URL = request.url if url is None else url
        """The URL that answered."""
        self.http_version: str = http_version
        """``"1.1"`` or ``"1.0"``."""
        self._elapsed = elapsed

    @property
    def retries_taken(self) -> int:
        """The number of attempts of the call before the one that led to this response."""
        return self.request.attempt

    @property
    def method(self) -> str:
        """The method of the request."""
        return self.request.method

    @property
    def elapsed(self) -> timedelta:
        """The time from the start of the call to the head of this response."""
        return timedelta(seconds=self._elapsed)

    @property
    def ok(self) -> bool:
        """Whether the status is a success: 2xx, or one that the call lists in ``ok_statuses``."""
        return self.status // 100 == 2 or self.status in self.request._settings.ok_statuses

    @property
    def request_id(self) -> str | None:
        """The server's ID of the request, from the client's ``request_id_header``; None without one."""
        return self.headers.get(self.request._settings.request_id_header)

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; ``application/octet-stream`` without a header."""
        return media_type(self.headers.get("Content-Type")) or "application/octet-stream"

    @property
    def charset(self) -> str | None:
        """The ``charset`` that the Content-Type declares, unchanged; None without one."""
        return declared_charset(self.headers.get("Content-Type"))

    @property
    def location(self) -> URL | None:
        """The Location header, resolved against the response's URL (RFC 3986 §5.2); None without one.

        Raises:
            APIResponseValidationError: The header is not a URL.
        """
        value = self.headers.get("Location")
        try:
            return None if value is None else resolve_reference(self.url, value)
        except InvalidRequestError:
            raise APIResponseValidationError(
                f"{self.request.label}: status {self.status}: its Location header is not a URL",
                request=self.request,
                response=self._as_response(),
                status=self.status,
                content_type=self.headers.get("Content-Type"),
                retries_taken=self.retries_taken,
            ) from None

    @property
    def links(self) -> Mapping[str, URL]:
        """The targets of the Link header by relation, resolved against the response's URL (RFC 8288)."""
        return parse_links(self.headers.getall("Link", ()), self.url)

    @property
    def retry_after(self) -> float | None:
        """The wait in seconds before another attempt, from the headers; None if no header is usable.

        A middleware may set it to another value.
        """
        return retry_after(self.headers, self.status) if self._retry_after is None else self._retry_after

    @retry_after.setter
    def retry_after(self, seconds: float | None) -> None:
        self._retry_after = seconds

    def _as_response(self) -> AsyncAPIResponse[Any] | None:
        """Return this response for an error; None if it is only a head."""
        return None
