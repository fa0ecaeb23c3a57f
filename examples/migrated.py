"""After: the wrapper of handwritten.py, rewritten with aioapiclient."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from aioapiclient import AsyncAPIClient, BearerAuth, NotFoundError


@dataclass
class User:
    id: int
    login: str


class UsersAPI(AsyncAPIClient):
    def __init__(self, base_url: str, token: str) -> None:
        super().__init__(base_url, auth=BearerAuth(token), timeout=30)

    async def get_user(self, user_id: int) -> User:
        return await self.get("/users/{id}", User, path_params={"id": user_id})

    async def create_user(self, login: str) -> User:
        return await self.post("/users", User, json={"login": login})


async def main(base_url: str) -> None:
    async with UsersAPI(base_url, "a-token") as api:
        print(await api.get_user(7))
        print(await api.create_user("bob"))
        try:
            await api.get_user(9)
        except NotFoundError:
            print("no user 9")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
