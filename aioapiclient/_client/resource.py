"""`AsyncAPIResource`: a group of methods of an SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from .client import AsyncAPIClient

__all__ = ["AsyncAPIResource"]

ClientT = TypeVar("ClientT", bound="AsyncAPIClient")


class AsyncAPIResource(Generic[ClientT]):
    """Groups methods that belong together; made by a plain ``property`` of the client.

    ::

        class Users(AsyncAPIResource["GitHub"]):
            async def get(self, login: str) -> User:
                return await self._client.get("/users/{login}", User, path_params={"login": login})

        class GitHub(AsyncAPIClient):
            @property
            def users(self) -> Users:
                return Users(self)

    A plain property, because a view's resources must belong to the view: ``client.with_options(...).users``.
    """

    __slots__ = ("_client",)

    def __init__(self, client: ClientT) -> None:
        self._client = client

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._client!r}>"
