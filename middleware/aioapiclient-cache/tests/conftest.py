"""What the tests stand on: a client with a cache, a Redis server, a storage of each kind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import hishel
import pytest
from aioapiclient_cache import Cache, MemoryStorage, cache_status
from redis.asyncio import BlockingConnectionPool, Redis
from servers import unused_port

from aioapiclient import AsyncAPIClient, AsyncAPIResponse, per_send
from aioapiclient.testing import FakeClock, FakeTransport

START_SECONDS = 30.0  # of a machine that runs a whole matrix beside it; it needs a tenth of one


class RedisServer:
    """A redis-server that can be killed and started again, on the same port."""

    def __init__(self, program: str, folder: Path) -> None:
        self.port = unused_port()
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            *(self._program, "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--dir", str(self._folder)),
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        give_up = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(
                    f"redis-server did not start: {(self._folder / 'log').read_text()[-2000:]}"
                )
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash does: what it knew is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Let it answer nothing, and accept connections."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(7) == b"+PONG\r\n"
        return False


def find_redis() -> str:
    """The program: on the PATH, or among what `.ci/run` unpacks; the test is skipped without."""
    unpacked = Path(os.environ.get("AIOAPICLIENT_TEST_SERVERS", "/nonexistent")) / "usr/bin"
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(unpacked)])
    found = shutil.which("redis-server", path=path) or shutil.which("valkey-server", path=path)
    return found or pytest.skip("redis-server is not installed: `apt-get install redis-server`")


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server for all tests."""
    server = RedisServer(find_redis(), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(redis_process: RedisServer) -> RedisServer:
    """The redis-server, running."""
    redis_process.thaw()
    if not redis_process._answers():
        redis_process.start()
    return redis_process


# --- storages


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[hishel.AsyncBaseStorage]:
    """A storage of each kind, empty."""
    made: hishel.AsyncBaseStorage
    if request.param == "memory":
        made = MemoryStorage()
    elif request.param == "sqlite":
        made = hishel.AsyncSqliteStorage(database_path=tmp_path / "cache.db")
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        made = hishel.AsyncRedisStorage(redis_client(server.port), key_prefix=str(tmp_path))
    yield made
    await made.close()


def redis_client(port: int, **options: Any) -> Any:
    """A client with the settings of the docs."""
    pool = BlockingConnectionPool(
        host="127.0.0.1",
        port=port,
        max_connections=20,
        **{"socket_connect_timeout": 5, "socket_timeout": 5, **options},
    )
    return Redis.from_pool(pool)


# --- a client


class Bench:
    """A client with a cache, before a server that answers from a list; time is what the test says."""

    base = "https://api.example.com"

    def __init__(self, *answers: Any, default: Any = None, client: Any = None, **options: Any) -> None:
        self.clock = FakeClock(start=1_800_000_000.0)
        self.transport = FakeTransport(*answers, default=default)
        self.cache = Cache(clock=self.clock.time, **options)
        self.api = AsyncAPIClient(
            self.base,
            transport=self.transport,
            middlewares=[per_send(self.cache)],
            **{"max_retries": 0, **(client or {})},
        )

    async def get(self, path: str = "/x", **options: Any) -> AsyncAPIResponse[Any]:
        """A GET whose response is returned, whatever its status."""
        anything = frozenset(range(300, 600))
        response: AsyncAPIResponse[Any] = await self.api.get(
            path, AsyncAPIResponse[Any], **{"ok_statuses": anything, "follow_redirects": False, **options}
        )
        return response

    async def hits(self, path: str = "/x", **options: Any) -> bool:
        """Whether a GET is answered from the cache, and nothing is sent."""
        before = self.sends
        status = cache_status(await self.get(path, **options))
        hit = status is not None and status.hit
        assert hit is (self.sends == before)
        return hit

    @property
    def sends(self) -> int:
        """How many requests the server had."""
        return len(self.transport.requests)


@pytest.fixture
async def bench() -> AsyncIterator[Any]:
    """Makes a `Bench`, and closes it at the end. Every response is closed by then."""
    made: list[Bench] = []

    def make(*answers: Any, **options: Any) -> Bench:
        made.append(Bench(*answers, **options))
        return made[-1]

    yield make
    for one in made:
        assert one.transport.open_responses == 0
        await one.api.close()
