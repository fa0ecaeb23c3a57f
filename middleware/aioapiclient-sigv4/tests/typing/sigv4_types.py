"""The types of the public names; checked by mypy and pyright, never run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import assert_type

from aioapiclient_sigv4 import Credentials, SigV4
from yarl import URL

from aioapiclient import AsyncAPIClient
from aioapiclient.contract import Auth

key = Credentials("AKID", "secret")
assert_type(key.expires, float | None)
Credentials("AKID", "secret", "token", datetime.now(UTC))
Credentials("AKID", "secret", token=None, expires=1.5)


async def fetch() -> Credentials:
    """Get credentials, later."""
    return key


given: Auth = SigV4(key, service="s3", region="us-east-1", sign_headers=["range"], normalize_path=False)
fetched = SigV4(fetch, service="es", region="us-east-1", unsigned_payload=True, clock=lambda: 1.0)
api = AsyncAPIClient("https://api.example.com", auth=fetched)


async def share() -> None:
    """Presign URLs."""
    assert_type(await fetched.presign("https://h.example/"), str)
    await fetched.presign(URL("https://h.example/"), "PUT", 60, headers={"Content-Type": "text/plain"})


SigV4(lambda: key, service="s3", region="us-east-1")  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
