"""nginx as the origin: files with its own ETags, dates and compression, and the requests in its log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aioapiclient_cache import Cache, cache_status
from integration.processes import listening
from needed_servers import need_program
from servers import until

from aioapiclient import AsyncAPIClient, AsyncAPIResponse, per_send

CONFIG = """
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr;
events { worker_connections 64; }
http {
    log_format short '$request_method $uri $status "$http_if_none_match"';
    access_log requests.log short;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    default_type application/json;
    server {
        listen 127.0.0.1:PORT; root files;
        gzip on; gzip_types application/json; gzip_min_length 1; gzip_vary on;
        location /fresh/ { expires 1h; }
        location /stale/ { expires epoch; }
        location /short/ { if (-f $document_root/down) { return 503; } add_header Cache-Control max-age=0; }
        location /none/ { add_header Cache-Control no-store; etag off; if_modified_since off; }
        location /moved { return 301 /fresh/a.json; }
    }
}
"""


class Origin(NamedTuple):
    """A running nginx."""

    url: str
    files: Path
    log: Path

    def write(self, name: str, text: str, modified: int) -> None:
        """Write a file, last modified so many seconds after 1970."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (modified, modified))

    async def requests(self, count: int) -> list[str]:
        """Return the log, once it has that many lines."""
        await until(lambda: len(self.log.read_text().splitlines()) >= count)
        return self.log.read_text().splitlines()


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Origin]:
    """An nginx with files, on a free port."""
    program, folder = need_program("nginx"), tmp_path / "nginx"
    (folder / "files").mkdir(parents=True)

    def command(port: int) -> list[str]:
        (folder / "nginx.conf").write_text(CONFIG.replace("PORT", str(port)))
        return [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]

    with listening(command, folder) as url:
        (folder / "requests.log").write_text("")
        origin = Origin(url, folder / "files", folder / "requests.log")
        for name in ("fresh/a.json", "stale/a.json", "short/a.json", "none/a.json"):
            origin.write(name, '{"n": 1}', 1_700_000_000)
        yield origin


def client(origin: Origin, **options: Any) -> AsyncAPIClient:
    """A client with a cache."""
    return AsyncAPIClient(origin.url, middlewares=[per_send(Cache(**options))], max_retries=0)


async def test_a_fresh_file_is_asked_for_once(nginx: Origin) -> None:
    """A file with `expires`, which nginx compresses, is a hit the second time, decoded, with its Vary."""
    async with client(nginx) as api:
        await api.get("/fresh/a.json")
        response = await api.get("/fresh/a.json", AsyncAPIResponse[dict[str, int]])
    assert cache_status(response).hit
    assert await response.parse() == {"n": 1}
    assert response.headers["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in response.headers
    assert await nginx.requests(1) == ['GET /fresh/a.json 200 "-"']


async def test_a_stale_file_is_validated(nginx: Origin) -> None:
    """A file that expires immediately is validated by its ETag, and replaced when it has changed."""
    async with client(nginx) as api:
        first = await api.get("/stale/a.json", AsyncAPIResponse[Any])
        again = await api.get("/stale/a.json", AsyncAPIResponse[Any])
        nginx.write("stale/a.json", '{"n": 22}', 1_700_000_100)
        changed = await api.get("/stale/a.json", AsyncAPIResponse[Any])
        last = await api.get("/stale/a.json", AsyncAPIResponse[Any])
    assert [cache_status(one).revalidated for one in (first, again, changed, last)] == [
        False,
        True,
        False,
        True,
    ]
    assert [await one.parse() for one in (again, changed, last)] == [{"n": 1}, {"n": 22}, {"n": 22}]
    seen = [line.replace("\\x22", '"') for line in await nginx.requests(4)]
    assert seen == [
        'GET /stale/a.json 200 "-"',
        f'GET /stale/a.json 304 "{first.headers["ETag"]}"',
        f'GET /stale/a.json 200 "{again.headers["ETag"]}"',
        f'GET /stale/a.json 304 "{changed.headers["ETag"]}"',
    ]


async def test_what_may_not_be_stored_is_sent_each_time(nginx: Origin) -> None:
    """`no-store` stores nothing."""
    async with client(nginx) as api:
        for _ in range(2):
            await api.get("/none/a.json")
    assert len(await nginx.requests(2)) == 2


async def test_a_redirect_hop_is_stored_by_itself(nginx: Origin) -> None:
    """A redirect with a lifetime and its target are two entries; the second call sends nothing."""
    async with client(nginx, default_ttl=60) as api:
        for _ in range(2):
            assert await api.get("/moved") == {"n": 1}
    assert [line.split()[1] for line in await nginx.requests(2)] == ["/moved", "/fresh/a.json"]


async def test_a_failure_of_nginx_is_answered_from_the_cache(nginx: Origin) -> None:
    """A missing file is a valid response; when the server fails, the stored response replaces it."""
    async with client(nginx, stale_if_error=60) as api:
        await api.get("/short/a.json")
        (nginx.files / "down").touch()
        response = await api.get("/short/a.json", AsyncAPIResponse[Any])
        assert await response.parse() == {"n": 1}
        assert cache_status(response).detail == "stale-if-error"
        (nginx.files / "down").unlink()
        (nginx.files / "short/a.json").unlink()
        missing = await api.get("/short/a.json", AsyncAPIResponse[Any], ok_statuses={404})
    assert missing.status == 404
    assert [line.split()[2] for line in await nginx.requests(3)] == ["200", "503", "404"]
