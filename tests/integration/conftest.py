"""The servers of the integration tests: each is started once, by the first test that needs it."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from helpers import Client
from integration.echoes import Origins
from integration.processes import announced, listening
from needed_servers import need_file, need_program


@pytest.fixture(scope="session", autouse=True)
def ended_in_order() -> Iterator[None]:
    """SIGTERM ends a run like Ctrl-C does, so that no server outlives it."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers write."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def httpbin(folder: Path) -> Iterator[Origins]:
    """Httpbin from the registry, under gunicorn, which reads chunked bodies and keeps connections."""
    command = [
        need_program("gunicorn"),
        *("--no-control-socket", "--worker-class", "gthread", "--threads", "32", "--graceful-timeout", "1"),
        *("--bind", "127.0.0.1:0", "--bind", "127.0.0.1:0", "httpbin:app"),
    ]
    with announced(command, folder / "httpbin", r"Listening at: (\S+),(\S+) ") as (home, other):
        yield Origins(home, other)


@pytest.fixture
async def api(httpbin: Origins) -> AsyncIterator[Client]:
    """A client of httpbin with the default chain, whose waits between attempts take no time."""
    async with Client(httpbin.home) as client:
        yield client


@pytest.fixture(scope="session")
def datasette(folder: Path) -> Iterator[str]:
    """A datasette that serves a table of 250 rows, and offers the database for download."""
    database = folder / "shop.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table thing (id integer primary key, name text, price real)")
        rows = [(number, f"thing {number}", number / 2) for number in range(1, 251)]
        connection.executemany("insert into thing values (?, ?, ?)", rows)
    command = [need_program("datasette"), "serve", "--port", "0", "--immutable", str(database)]
    with announced(command, folder / "datasette", r"running on (\S+)") as (url,):
        yield url


@pytest.fixture(scope="session")
def pypiserver(folder: Path) -> Iterator[str]:
    """A pypiserver that accepts uploads without login, and uses no other index."""
    packages = folder / "packages"
    packages.mkdir()
    program = need_program("pypi-server")

    def command(port: int) -> list[str]:
        options = ["--interface", "127.0.0.1", "--port", str(port), "--disable-fallback"]
        return [program, "run", *options, "--passwords", ".", "--authenticate", ".", str(packages)]

    with listening(command, folder / "pypiserver") as url:
        yield url


@pytest.fixture(scope="session")
def mcp_proxy(folder: Path) -> Iterator[str]:
    """An mcp-proxy, which serves mcp-server-time over HTTP: answers arrive as server-sent events."""
    program, served = need_program("mcp-proxy"), need_program("mcp-server-time")
    command = [program, "--host", "127.0.0.1", "--port", "0", served]
    with announced(command, folder / "mcp", r"running on (\S+)") as (url,):
        yield url


@pytest.fixture(scope="session")
def etcd(folder: Path) -> Iterator[str]:
    """An etcd, alone, whose JSON gateway watches keys by JSON lines."""
    program = need_program("etcd")

    def command(port: int) -> list[str]:
        # The socket for its peers is a file, so it needs no second port.
        own, peers = f"http://127.0.0.1:{port}", "unix://peers:0"
        return [
            program,
            *("--data-dir", "data", "--initial-cluster", f"default={peers}"),
            *("--listen-client-urls", own, "--advertise-client-urls", own),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
        ]

    with listening(command, folder / "etcd") as url:
        yield url


@pytest.fixture(scope="session")
def docker_registry(folder: Path) -> Iterator[str]:
    """A docker-registry with an empty store."""
    program = need_program("docker-registry")
    settings = folder / "registry.yml"

    def command(port: int) -> list[str]:
        settings.write_text(
            "version: 0.1\n"
            f"storage: {{filesystem: {{rootdirectory: {folder / 'registry'}/store}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n"
        )
        return [program, "serve", str(settings)]

    with listening(command, folder / "registry") as url:
        yield url


@pytest.fixture(scope="session")
def nchan(folder: Path) -> Iterator[str]:
    """An nginx with the nchan module: server-sent events with IDs, which resume after the last one."""
    program, original = need_program("nginx"), need_file("usr/lib/nginx/modules/ngx_nchan_module.so")
    own = folder / "nchan"
    own.mkdir()
    # Debian compiles the path of a folder for long messages into the module, and nginx creates it: here in
    # its own folder.
    module = own / "nchan.so"
    module.write_bytes(original.read_bytes().replace(b"/var/lib/nginx/body\0", b"nchan_message_files\0"))

    def command(port: int) -> list[str]:
        temporary = "; ".join(
            f"{kind}_temp_path {own}/{kind}" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (own / "nginx.conf").write_text(
            f"load_module {module}; daemon off; master_process off; pid {own}/pid; error_log stderr;\n"
            "events {}\n"
            f"http {{ access_log off; {temporary};\n"
            f"  server {{ listen 127.0.0.1:{port}; nchan_channel_id $arg_channel;\n"
            "    location = /publish { nchan_publisher; nchan_message_buffer_length 100; }\n"
            "    location = /events { nchan_subscriber eventsource; nchan_eventsource_ping_interval 0; }\n"
            "}}\n"
        )
        return [program, "-p", str(own), "-e", "stderr", "-c", str(own / "nginx.conf")]

    with listening(command, own) as url:
        yield url
