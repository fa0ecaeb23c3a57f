"""The examples work: one in a separate process, the others with their libraries."""

from __future__ import annotations

import runpy
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aioapiclient_sigv4 import SigV4
from programs import run

from aioapiclient.contract import APIRequest

EXAMPLES = Path(__file__).parents[1] / "examples"
FUNCTIONS = runpy.run_path(str(EXAMPLES / "temporary_credentials.py"))


async def test_the_bucket() -> None:
    """The example prints objects, a stream, a link, credentials that expire, and a wrong secret."""
    assert await run(EXAMPLES / "bucket.py") == [
        "hello",
        "5000 bytes were streamed",
        "by a link: 200",
        "by a link: 403",
        "hello",
        "credentials were asked for 2 times",
        "with a wrong secret: 403",
    ]


async def signed_by(credentials: Any) -> str:
    """The access key of a signature."""
    request = APIRequest("GET", "https://h.example/")
    await SigV4(credentials, service="s3", region="us-east-1").authenticate(request)
    return request.headers["Authorization"].partition("Credential=")[2].partition("/")[0]


class Blocking:
    """An STS client that notes which thread it blocks."""

    threads: list[threading.Thread]

    def __init__(self) -> None:
        self.threads = []

    def assume_role(self, **arguments: str) -> dict[str, Any]:
        """Answer as boto3 does."""
        self.threads.append(threading.current_thread())
        assert arguments["RoleArn"] == "arn:aws:iam::1:role/robot"
        end = datetime(2100, 1, 1, tzinfo=UTC)
        fields = {"AccessKeyId": "ASIA", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": end}
        return {"Credentials": fields}


async def test_a_role_in_a_thread() -> None:
    """Blocking code runs in a separate thread, once."""
    sts = Blocking()
    fetch = FUNCTIONS["of_a_role"](sts, "arn:aws:iam::1:role/robot")

    assert await signed_by(fetch) == "ASIA"
    assert threading.main_thread() not in sts.threads


async def test_aiobotocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of aiobotocore finds the credentials of the environment."""
    reason = "aiobotocore is not installed: `pip install aiobotocore`"
    session = pytest.importorskip("aiobotocore.session", reason=reason).get_session()
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    assert await signed_by(FUNCTIONS["of_a_session"](session)) == "AKIDENVIRONMENT"
