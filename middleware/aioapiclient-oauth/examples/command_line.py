"""A command-line tool that stores its login: the user logs in at the first start, but not at the second.

::

    python command_line.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from aioapiclient_oauth import DevicePrompt, FileStore, OAuth2, OAuthError, RefreshToken, login_device
from oauth_servers import AuthorizationServer, serving

from aioapiclient import AsyncAPIClient


async def run(url: str, idp: str, file: Path) -> None:
    """Call the API as at each start of the tool, and log in if no login is stored."""
    login = OAuth2(f"{idp}/token", "my-tool", grant=RefreshToken(), store=FileStore(file))
    async with AsyncAPIClient(url, auth=login) as api:
        try:
            me = await api.get("/me")
        except OAuthError as error:
            if error.code not in {"login_required", "invalid_grant"}:
                raise
            await login_device(api, login, f"{idp}/device", tell=show, scope="read")
            me = await api.get("/me")
    print(f"Hello, {me['name']}.")


def show(prompt: DevicePrompt) -> None:
    """Tell the user how to log in."""
    print(f"Open {prompt.verification_uri} and type {prompt.user_code}.")


async def main() -> None:
    server = AuthorizationServer()
    with tempfile.TemporaryDirectory() as folder:
        async with serving(server) as url:
            file = Path(folder) / "login.json"
            await run(url, url, file)
            await run(url, url, file)
            server.valid.clear()  # an hour later
            await run(url, url, file)


if __name__ == "__main__":
    asyncio.run(main())
