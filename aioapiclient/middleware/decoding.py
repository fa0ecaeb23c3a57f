"""Reading and decoding inside the attempt, so that a body cut short is retried like any failed attempt."""

from __future__ import annotations

from typing import Any

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler

__all__ = ["DecodingMiddleware"]


class DecodingMiddleware:
    """Reads the body of every response that is not streamed, and decodes it to the type that was asked for.

    The body of an error is always read, a stream's too; one past ``max_body`` bytes counts as empty.
    Raises `APIResponseValidationError` for a body that does not fit, and `BodyTooLargeError` for the
    body of a success, or of a redirect to follow, past ``max_body`` bytes.
    """

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* and decode what comes back."""
        return await self._join(handler)(request)

    def _join(self, handler: Handler) -> Handler:
        """The handler that this makes of *handler*."""

        async def decoded(request: APIRequest) -> AsyncAPIResponse[Any]:
            stream = request.stream
            response = await handler(request)
            if not response.ok:
                await response.read_error()
            elif not stream:
                if response.read_nowait() is None:
                    await response.read()
                response.decode()
            return response

        return decoded
