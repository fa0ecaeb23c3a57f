"""The phases of a send, as a real server and aiohttp's pool make them: new, reused, queued, resolved."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aioapiclient_timeline import Call, Timeline, trace_config
from aiohttp.abc import AbstractResolver, ResolveResult
from integration.processes import listening
from needed_servers import need_program
from servers import refusing_port

from aioapiclient import AiohttpTransport, APIConnectionError, AsyncAPIClient

CONFIG = """
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr;
events { worker_connections 64; }
http {
    access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;
    uwsgi_temp_path t4; scgi_temp_path t5;
    server { listen 127.0.0.1:PORT; location / { default_type application/json; return 200 '{"ok": true}'; } }
}
"""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """An nginx; gives its port."""
    program = need_program("nginx")
    folder = tmp_path_factory.mktemp("nginx")

    def command(port: int) -> list[str]:
        (folder / "nginx.conf").write_text(CONFIG.replace("PORT", str(port)))
        return [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]

    with listening(command, folder) as url:
        yield int(url.rpartition(":")[2])


class Resolver(AbstractResolver):
    """Resolves every name to 127.0.0.1."""

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        await asyncio.sleep(0)
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=port,
                family=family,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None: ...


def client(port: int, calls: list[Call], host: str = "127.0.0.1", **connector: Any) -> AsyncAPIClient:
    """Return a client whose calls are recorded with their phases."""
    transport = AiohttpTransport(
        trace_configs=[trace_config()], connector=lambda: aiohttp.TCPConnector(**connector)
    )
    base = f"http://{host}:{port}"
    return AsyncAPIClient(base, transport=transport, middlewares=[Timeline(calls.append)])


async def test_a_new_connection_is_connected_and_the_next_send_reuses_it(nginx: int) -> None:
    """The first send has the phase `connect`, before its head; the second has none, and reports a reused
    connection.
    """
    calls: list[Call] = []
    async with client(nginx, calls) as api:
        await api.get("/x")
        await api.get("/x")

    new, again = (call.sends[0] for call in calls)
    assert [phase.name for phase in new.phases] == ["connect"]
    assert new.reused is False
    assert new.began <= new.phases[0].began <= new.phases[0].ended <= (new.head or 0) <= (new.ended or 0)
    assert (again.phases, again.reused) == ([], True)


async def test_a_send_that_waits_for_a_connection_has_a_queue(nginx: int) -> None:
    """Of two sends with one connection, the later one waits until the first has ended."""
    calls: list[Call] = []
    async with client(nginx, calls, limit=1) as api:
        await asyncio.gather(api.get("/x"), api.get("/x"))

    phases = sorted([phase.name for phase in call.sends[0].phases] for call in calls)
    assert phases == [["connect"], ["queue"]]


async def test_the_lookup_of_a_name_lies_in_its_connect(nginx: int) -> None:
    """A name that a resolver resolves has the phase `dns`, inside of `connect`."""
    calls: list[Call] = []
    async with client(nginx, calls, host="api.test", resolver=Resolver()) as api:
        await api.get("/x")

    phases = {phase.name: phase for phase in calls[0].sends[0].phases}
    assert sorted(phases) == ["connect", "dns"]
    assert phases["connect"].began <= phases["dns"].began
    assert phases["dns"].ended <= phases["connect"].ended


async def test_a_connection_that_fails_is_a_phase_too() -> None:
    """The time of a refused connection is `connect`, though aiohttp reports no end of it."""
    calls: list[Call] = []
    async with client(refusing_port(), calls) as api:
        with pytest.raises(APIConnectionError):
            await api.get("/x", max_retries=0)

    (send,) = calls[0].sends
    assert [phase.name for phase in send.phases] == ["connect"]
    assert send.phases[0].ended <= (send.ended or 0)


async def test_only_the_head_without_trace_configs(nginx: int) -> None:
    """Without the trace config, the head is known, but not whether a connection was reused."""
    calls: list[Call] = []
    timeline = Timeline(calls.append)
    async with AsyncAPIClient(f"http://127.0.0.1:{nginx}", middlewares=[timeline]) as api:
        await api.get("/x")

    (send,) = calls[0].sends
    assert (send.phases, send.reused) == ([], None)
    assert send.head is not None
    assert send.began < send.head <= (send.ended or 0)


async def test_a_session_of_another_is_not_disturbed_by_the_trace_config(nginx: int, tmp_path: Path) -> None:
    """A request outside of any recorded send passes the callbacks."""
    async with (
        aiohttp.ClientSession(trace_configs=[trace_config()]) as session,
        session.get(f"http://127.0.0.1:{nginx}/x") as answered,
    ):
        assert answered.status == 200
