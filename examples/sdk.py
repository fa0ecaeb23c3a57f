"""A small SDK: a client with resources, typed error bodies, and options for its users."""

from __future__ import annotations

import asyncio
from typing import Any, Unpack

import msgspec

from aioapiclient import (
    APIRequest,
    APIStatusError,
    AsyncAPIClient,
    AsyncAPIResource,
    AsyncAPIResponse,
    BearerAuth,
    CallOptions,
    Handler,
)
from aioapiclient.testing import FakeTransport, respond


class Book(msgspec.Struct):
    isbn: str
    title: str


class Problem(msgspec.Struct):
    code: str
    hint: str = ""


class OutOfStockError(APIStatusError):
    """409 with the code ``out_of_stock``: an error of this API only."""


class Books(AsyncAPIResource["Library"]):
    """The books of a library."""

    async def get(self, isbn: str, **options: Unpack[CallOptions]) -> Book:
        """Return the book with this ISBN."""
        return await self._client.get("/books/{isbn}", Book, path_params={"isbn": isbn}, options=options)

    async def order(self, title: str, **options: Unpack[CallOptions]) -> Book:
        """Order a book. It is sent with an idempotency key, so that a retry does not order it twice."""
        return await self._client.post("/orders", Book, json={"title": title}, options=options)


class Library(AsyncAPIClient):
    """The API of a library."""

    def __init__(
        self,
        token: str,
        *,
        base_url: str = "https://library.example.com/v1",
        transport: Handler | None = None,
    ) -> None:
        super().__init__(
            base_url,
            version="1.2.0",
            auth=BearerAuth(token),
            error_types={"4XX": Problem},
            idempotency_header="Idempotency-Key",
            transport=transport,
        )

    @property
    def books(self) -> Books:
        """Books. A plain property, so that the books of a view belong to the view."""
        return Books(self)

    def _make_status_error(self, response: AsyncAPIResponse[Any], body: Any, /) -> APIStatusError:
        if isinstance(body, Problem) and body.code == "out_of_stock":
            return OutOfStockError(
                f"{response.request.label}: out of stock",
                status=response.status,
                response=response,
                body=body,
                request=response.request,
                request_id=response.request_id,
                retries_taken=response.retries_taken,
            )
        return super()._make_status_error(response, body)


async def main() -> None:
    """Use the SDK, with a transport that answers from a list instead of a network."""

    def order(request: APIRequest) -> AsyncAPIResponse[Any]:
        print("order", "with a key" if request.idempotency_key else "without a key")
        return AsyncAPIResponse.from_bytes(request, 409, {"Content-Type": "application/json"}, PROBLEM)

    transport = FakeTransport(respond(json={"isbn": "978-0", "title": "Moby-Dick"}), order)
    async with Library("a-token", transport=transport) as library:
        book = await library.books.get("978-0", timeout=5)
        print(f"{book.title} has the ISBN {book.isbn}")
        try:
            await library.with_options(max_retries=0).books.order("Moby-Dick II")
        except OutOfStockError as error:
            print(f"{error}; {error.body.hint}")


PROBLEM = b'{"code": "out_of_stock", "hint": "try again in March"}'

if __name__ == "__main__":
    asyncio.run(main())
