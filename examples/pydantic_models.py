"""pydantic models as the types of a call: two hooks, and the errors that pydantic finds."""

from __future__ import annotations

import asyncio
from typing import Any

import pydantic

from aioapiclient import APIResponseValidationError, AsyncAPIClient
from aioapiclient.testing import FakeTransport, respond


class User(pydantic.BaseModel):
    id: int
    login: str


def to_model(wanted: type, value: Any) -> Any:
    """Create a model from plain data, wherever the type needs one: alone, in a list or in a field."""
    if issubclass(wanted, pydantic.BaseModel):
        return wanted.model_validate(value)
    raise NotImplementedError(f"{wanted.__name__} is not a pydantic model")


def to_plain(value: Any) -> Any:
    """Return the plain data of a model that is sent as JSON."""
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    raise NotImplementedError(f"{type(value).__name__} is not a pydantic model")


async def main() -> None:
    transport = FakeTransport(
        respond(json=[{"id": 7, "login": "ada"}, {"id": 8, "login": "bob"}]),
        respond(201, json={"id": 9, "login": "cleo"}),
        respond(json=[{"id": 7, "login": "ada"}, {"id": "eight", "login": "bob"}]),
    )
    async with AsyncAPIClient(
        "https://api.example.com/v1", dec_hook=to_model, enc_hook=to_plain, transport=transport
    ) as api:
        print(await api.get("/users", list[User]))
        print(await api.post("/users", User, json=User(id=9, login="cleo")))
        try:
            await api.get("/users", list[User])
        except APIResponseValidationError as error:
            print(error.path)
            print(error)


if __name__ == "__main__":
    asyncio.run(main())
