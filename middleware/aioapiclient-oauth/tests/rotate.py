"""A process that logs in from a file again and again: `python rotate.py API TOKEN_URL FILE TIMES`.

Its tokens live for a second, so that each time it renews them, and its sibling may do so at the same time.
"""

from __future__ import annotations

import asyncio
import sys

from aioapiclient_oauth import FileStore, OAuth2, RefreshToken

from aioapiclient import AsyncAPIClient


async def main(api_url: str, token_url: str, file: str, times: str) -> None:
    """Call the API with a new credential each time."""
    async with AsyncAPIClient(api_url, max_retries=0) as api:
        for _ in range(int(times)):
            login = OAuth2(token_url, "device-short", grant=RefreshToken(), store=FileStore(file))
            await api.get("/", auth=login)


asyncio.run(main(*sys.argv[1:]))
