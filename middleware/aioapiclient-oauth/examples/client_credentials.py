"""A service with its own credentials: fifty concurrent calls share one token; after it is revoked, they get
another.

::

    python client_credentials.py
"""

from __future__ import annotations

import asyncio

from aioapiclient_oauth import OAuth2
from oauth_servers import AuthorizationServer, serving

from aioapiclient import AsyncAPIClient, AsyncAPIResponse


async def main() -> None:
    server = AuthorizationServer()
    async with serving(server) as url:
        login = OAuth2(f"{url}/token", "my-service", "secret", scope="read")
        async with AsyncAPIClient(url, auth=login) as api:
            print(f"50 calls: {await call(api)}, and {len(server.tokens)} token was asked for")
            server.valid.clear()
            print("the token was revoked; ", end="")
            print(f"50 calls: {await call(api)}, and {len(server.tokens)} tokens were asked for")


async def call(api: AsyncAPIClient) -> str:
    """Return the statuses of fifty concurrent calls."""
    responses = await asyncio.gather(*(api.get("/me", AsyncAPIResponse[None]) for _ in range(50)))
    return ", ".join(sorted({str(response.status) for response in responses}))


if __name__ == "__main__":
    asyncio.run(main())
