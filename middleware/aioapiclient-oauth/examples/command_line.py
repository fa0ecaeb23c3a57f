"""A command-line tool that remembers its login: the first start asks a person, the second one does not.

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
    """What each start of the tool does: call the API, and log in if nobody has."""
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
    """Tell the person what to do."""
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
