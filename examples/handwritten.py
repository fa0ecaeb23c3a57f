"""Before: a typical handwritten wrapper around aiohttp. migrated.py does the same with aioapiclient."""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import dataclass
from typing import Any

import aiohttp


@dataclass
class User:
    id: int
    login: str


class UserNotFoundError(Exception):
    """The user does not exist."""


class UsersAPI:
    def __init__(self, base_url: str, token: str) -> None:
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def _request(self, method: str, path: str, **options: Any) -> Any:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=30)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        for attempt in range(3):
            try:
                async with self._session.request(method, self._base_url + path, **options) as response:
                    if response.status not in (429, 500, 502, 503, 504) or attempt == 2:
                        response.raise_for_status()
                        return await response.json()
            except (aiohttp.ClientConnectionError, TimeoutError):
                if attempt == 2:
                    raise
            await asyncio.sleep(2**attempt * random.random() / 10)
        raise AssertionError

    async def get_user(self, user_id: int) -> User:
        try:
            data = await self._request("GET", f"/users/{user_id}")
        except aiohttp.ClientResponseError as error:
            if error.status == 404:
                raise UserNotFoundError(user_id) from error
            raise
        return User(id=data["id"], login=data["login"])

    async def create_user(self, login: str) -> User:
        data = await self._request("POST", "/users", json={"login": login})
        return User(id=data["id"], login=data["login"])

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


async def main(base_url: str) -> None:
    api = UsersAPI(base_url, "a-token")
    try:
        print(await api.get_user(7))
        print(await api.create_user("bob"))
        try:
            await api.get_user(9)
        except UserNotFoundError:
            print("no user 9")
    finally:
        await api.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
