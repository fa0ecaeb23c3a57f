"""The logger `aioapiclient`: a record at DEBUG for each send, one at INFO for each retry, no secrets."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest
from helpers import BASE, Client, Script, reply

from aioapiclient import APIConnectionError, APIRequest, BearerAuth

SECRET = "hunter2"


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """Each record: its logger, its level and its text, with the seconds as ``N``."""
    return [
        (record.name, record.levelname, re.sub(r"\d+\.\d+ s", "N s", record.getMessage()))
        for record in caplog.records
        if record.name.startswith("aioapiclient")
    ]


async def test_each_send_and_each_retry_has_a_record(caplog: pytest.LogCaptureFixture) -> None:
    """Sends are logged at DEBUG with status and attempt, retries at INFO, redirects and all."""
    script = Script(reply(503), reply(302, Location="/v2/y?token=hunter2"), reply())
    caplog.set_level(logging.DEBUG, logger="aioapiclient")
    async with Client(BASE, auth=BearerAuth(SECRET), transport=script) as api:
        await api.get("/x", params={"key": SECRET}, headers={"X-Key": SECRET})

    url = "https://api.example.com"
    assert messages(caplog) == [
        ("aioapiclient", "DEBUG", f"GET {url}/v1/x?...: 503 after N s, attempt 0"),
        ("aioapiclient", "INFO", f"GET {url}/v1/x?...: status 503, again in N s"),
        ("aioapiclient", "DEBUG", f"GET {url}/v1/x?...: 302 after N s, attempt 1"),
        ("aioapiclient", "DEBUG", f"GET {url}/v2/y?...: 200 after N s, attempt 1"),
    ]
    assert SECRET not in caplog.text


async def test_a_send_that_fails_has_a_record(caplog: pytest.LogCaptureFixture) -> None:
    """A send that raises is logged with the name of its error, and with the changes of a hook to the
    request.
    """

    class Signing(Client):
        async def _prepare_request(self, request: APIRequest, /) -> None:
            request.url = request.url.with_path("/signed")

    async def lost(request: APIRequest) -> Any:
        raise APIConnectionError(f"lost {SECRET}", request=request)

    caplog.set_level(logging.DEBUG, logger="aioapiclient")
    async with Signing(BASE, transport=lost) as api:
        with pytest.raises(APIConnectionError):
            await api.post("/x")

    [(_, level, text)] = messages(caplog)
    assert level == "DEBUG"
    assert text.startswith("POST https://api.example.com/signed: APIConnectionError")
    assert SECRET not in caplog.text


async def test_a_send_that_is_cancelled_has_a_record(caplog: pytest.LogCaptureFixture) -> None:
    """A send that is cancelled in flight is logged as cancelled."""
    reached = asyncio.Event()

    async def silent(request: APIRequest) -> Any:
        reached.set()
        await asyncio.get_running_loop().create_future()

    caplog.set_level(logging.DEBUG, logger="aioapiclient")
    async with Client(BASE, transport=silent) as api:
        call = asyncio.create_task(api.get("/x"))
        await reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    assert [text for _, _, text in messages(caplog)] == [
        "GET https://api.example.com/v1/x: CancelledError after N s, attempt 0"
    ]


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
async def test_above_debug_no_send_is_logged(level: int, caplog: pytest.LogCaptureFixture) -> None:
    """Above DEBUG sends are not logged, above INFO retries neither; the level may change between calls."""
    script = Script(reply(503), reply())
    caplog.set_level(level, logger="aioapiclient")
    async with Client(BASE, transport=script) as api:
        await api.get("/x")
        assert [name for _, name, _ in messages(caplog)] == (["INFO"] if level == logging.INFO else [])

        caplog.clear()
        caplog.set_level(logging.DEBUG, logger="aioapiclient")
        await api.get("/x")

    assert [name for _, name, _ in messages(caplog)] == ["DEBUG"]
