"""Reading and decoding inside the attempt, so that a truncated body is retried like any failed attempt."""

from __future__ import annotations

from typing import Any

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler

__all__ = ["DecodingMiddleware"]


class DecodingMiddleware:
    """Reads the body of every response that is not streamed, and decodes it to the requested type.

    The body of an error response is always read, also on a stream; one larger than ``max_body`` counts as
    empty.

    Raises:
        APIResponseValidationError: The body does not fit the type.
        BodyTooLargeError: The body of a success or of a followed redirect is larger than ``max_body``.
    """

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* and decode the response."""
        return await self._join(handler)(request)

    def _join(self, handler: Handler) -> Handler:
        """Return *handler* wrapped in this middleware."""

        async def decoded(request: APIRequest) -> AsyncAPIResponse[Any]:
            stream = request.stream
            response = await handler(request)
            if not response.ok:
                await response.read_error()
            elif not stream:
                if response._read_nowait() is None:
                    await response.read()
                response._decode()
            return response

        return decoded
