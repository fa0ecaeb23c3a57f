"""Functions that return credentials: those of a role, by boto3 in a thread; those of this machine, by
aiobotocore.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aioapiclient_sigv4 import Credentials


def of_a_role(sts: Any, role: str) -> Callable[[], Awaitable[Credentials]]:
    """Return the credentials of a role. *sts* is ``boto3.client("sts")``, which blocks, and so runs in a
    thread.
    """

    async def fetch() -> Credentials:
        answer = await asyncio.to_thread(sts.assume_role, RoleArn=role, RoleSessionName="my-service")
        found = answer["Credentials"]
        return Credentials(
            found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], found["Expiration"]
        )

    return fetch


def of_a_session(session: Any) -> Callable[[], Awaitable[Credentials]]:
    """Return the credentials that *session*, ``aiobotocore.session.get_session()``, finds on this machine."""

    async def fetch() -> Credentials:
        found = await (await session.get_credentials()).get_frozen_credentials()
        # aiobotocore renews them itself without reporting when, so they are fetched again after five minutes.
        return Credentials(found.access_key, found.secret_key, found.token, time.time() + 300)

    return fetch
