"""The command line: requests, output, exit status, and that it shows no secret."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import shutil
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from aioapiclient_timeline._command import main
from aioapiclient_timeline._items import parse_items
from aioapiclient_timeline._screen import safe
from servers import RawServer, in_turn, ok, raw_server, refusing_port, respond, response

BUSY = response("503 Service Unavailable", b"{}", Content_Type="application/json", retry_after_ms="1")
NO_RICH = """
import runpy, sys
sys.modules["rich"] = None
runpy.run_module("aioapiclient_timeline", run_name="__main__")
"""


class Done(NamedTuple):
    """How a run ended."""

    status: int
    out: str
    err: str


async def run(*arguments: str, code: str | None = None, **environment: str) -> Done:
    """Run the command line in a separate process, without a terminal."""
    start = ("-m", "aioapiclient_timeline") if code is None else ("-c", code)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-W", "error", *start, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8", **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def run_in_terminal(*arguments: str, **environment: str) -> str:
    """Run it in a terminal of 80 columns; return the terminal's output."""
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "aioapiclient_timeline", *arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**env, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment},
    )
    os.close(theirs)
    reading = asyncio.create_task(asyncio.to_thread(_read_all, ours))
    await asyncio.wait_for(process.wait(), 30)
    shown = await asyncio.wait_for(reading, 30)
    os.close(ours)
    return shown.replace("\r\n", "\n")


def _read_all(terminal: int) -> str:
    pieces: list[bytes] = []
    with suppress(OSError):  # EIO: the other end is closed
        while piece := os.read(terminal, 1 << 16):
            pieces.append(piece)
    return b"".join(pieces).decode()


@pytest.fixture
async def flaky() -> AsyncIterator[RawServer]:
    """A server that is busy at its first request."""
    script = in_turn(respond(BUSY), respond(ok(b'{"id": 7}', X_Evil="a\x9b31mb")))
    async with raw_server(script) as server:
        yield server


async def test_the_attempts_are_bars_and_the_body_goes_to_stdout(flaky: RawServer) -> None:
    """A 503 and a 200 are two bars on stderr, of 80 columns at most; stdout has the body, byte for byte."""
    done = await run("get", f"{flaky.url}/users", "page==2")

    assert (done.status, done.out) == (0, '{"id": 7}')
    summary, first, second, legend, head, *_ = done.err.splitlines()
    assert summary.startswith(f"GET {flaky.url} 200 in ")
    assert first.startswith("#1 ")
    assert " 503 " in first
    assert second.startswith("#2 ")
    assert " 200 " in second
    assert second.endswith(" reused")
    assert "wait for the head" in legend
    assert head == "HTTP/1.1 200 OK"
    assert "\x1b" not in done.err
    assert max(map(len, done.err.splitlines())) <= 80
    assert [request.target for request in flaky.requests] == ["/users?page=2"] * 2


async def test_a_terminal_gets_colours_and_nothing_that_commands_it(flaky: RawServer) -> None:
    """Bars and JSON are coloured; a control character of the server's is written out."""
    shown = await run_in_terminal("GET", f"{flaky.url}/users")

    assert "\x1b[34m▒" in shown or "\x1b[34m" in shown
    assert "X-Evil: a\\x9b31mb" in shown
    assert "\x9b" not in shown
    assert '"id"' in shown


async def test_a_terminal_without_colours_gets_none(flaky: RawServer) -> None:
    """`NO_COLOR` removes the colours, and bars still differ by their characters."""
    shown = await run_in_terminal("GET", f"{flaky.url}/users", NO_COLOR="1")

    assert "\x1b[34m" not in shown
    assert "▒" in shown


async def test_a_dumb_terminal_gets_ascii(flaky: RawServer) -> None:
    """`TERM=dumb` has neither colours nor block characters."""
    shown = await run_in_terminal("GET", f"{flaky.url}/users", TERM="dumb")

    assert "\x1b" not in shown
    assert shown.isascii()
    assert "#2 " in shown


async def test_an_encoding_without_blocks_gets_ascii(flaky: RawServer) -> None:
    """An ASCII stream gets ASCII bars."""
    done = await run("GET", f"{flaky.url}/users", PYTHONIOENCODING="ascii:strict")

    assert done.status == 0
    assert done.err.isascii()
    assert "#2 " in done.err


async def test_it_works_without_rich(flaky: RawServer) -> None:
    """The bars are the same, without colours."""
    done = await run("GET", f"{flaky.url}/users", code=NO_RICH)

    assert (done.status, done.out) == (0, '{"id": 7}')
    assert [line[:3] for line in done.err.splitlines()[1:3]] == ["#1 ", "#2 "]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (ok(b'{"a": 1}'), 0),
        (response("304 Not Modified"), 4),
        (response("404 Not Found", b"gone", Content_Type="text/plain"), 4),
        (response("500 Internal Server Error"), 5),
    ],
)
async def test_the_exit_status_tells_the_outcome(
    answer: bytes, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 for success, 4 for a status below 500, 5 from there; a body is written in any case."""
    async with raw_server(respond(answer)) as server:
        ended = await asyncio.to_thread(main, ("GET", server.url, "--retries", "0"))

    assert ended == status
    assert capsys.readouterr().out.encode() == answer.partition(b"\r\n\r\n")[2]


async def test_without_a_response_the_exit_status_is_3() -> None:
    """The error is one line, and each refused attempt has a bar for its connect."""
    done = await run("GET", f"http://127.0.0.1:{refusing_port()}/x", "--retries", "1")

    assert (done.status, done.out) == (3, "")
    assert done.err.startswith("APIConnectionError: GET http://127.0.0.1:")
    assert [line[:3] for line in done.err.splitlines() if line.startswith("#")] == ["#1 ", "#2 "]
    assert "c connect" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("GET",),
        ("GET", "example.com/x"),
        ("GET", "ftp://example.com/x"),
        ("GET", "http://user:hush@example.com/x"),
        ("GET", "http://example.com/x", "what"),
        ("GET", "http://example.com/x", "hush:=nojson"),
        ("POST", "http://example.com/x", "a=1", "@/nowhere"),
        ("POST", "http://example.com/x", "@/nowhere"),
        ("GET", "http://example.com/x", "Host:evil"),
        ("GET", "http://example.com/x", "--timeout", "-1"),
        ("GET", "http://example.com/x", "--retries", "-1"),
        ("GET", "http://example.com/x", "--bearer", "NO_SUCH_VARIABLE"),
        ("GET", "http://example.com/x", "--curl", "--explain"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake exits with 2, with usage and the mistake but no traceback, and sends nothing."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.count(": error: ") == 1
    assert "hush:=" not in err
    assert "user:hush" not in err


async def test_items_become_headers_query_and_json(flaky: RawServer) -> None:
    """Each kind of item arrives; the token comes from the environment."""
    items = ("X-Team:red", "tag==a", "tag==b", "name=ada", "age:=3", "when=10:30", "User-Agent:")
    done = await run("PUT", f"{flaky.url}/users", *items, "--bearer", "MY_TOKEN", "--quiet", MY_TOKEN="hush")

    assert (done.status, done.err) == (0, "")
    sent = flaky.requests[-1]
    assert (sent.method, sent.target) == ("PUT", "/users?tag=a&tag=b")
    assert json.loads(sent.body) == {"name": "ada", "age": 3, "when": "10:30"}
    assert sent.headers["X-Team"] == "red"
    assert sent.headers["Authorization"] == "Bearer hush"
    assert "aioapiclient" not in sent.headers.get("User-Agent", "")


async def test_a_file_is_the_body_and_is_sent_again(flaky: RawServer, tmp_path: Path) -> None:
    """The content type follows the file's name; a retry sends the complete file."""
    file = tmp_path / "data.csv"
    file.write_bytes(b"a,b\n1,2\n")
    done = await run("PUT", f"{flaky.url}/files", f"@{file}")

    assert done.status == 0
    assert [request.body for request in flaky.requests] == [b"a,b\n1,2\n"] * 2
    assert {request.headers["Content-Type"] for request in flaky.requests} == {"text/csv"}


async def test_explain_prints_the_chain_and_sends_nothing(flaky: RawServer) -> None:
    """The chain contains the two middlewares of the timeline."""
    done = await run("GET", flaky.url, "--explain")

    assert done.status == 0
    assert done.out.splitlines()[0] == "DeadlineMiddleware"
    assert "Timeline.send" in done.out
    assert flaky.requests == []


SECRETS = (
    *("X-API-Key:hush-1", "Cookie:sid=hush-2", "access_token==hush-3", "password=hush-4", "pin:=4242"),
    'auth:={"user": "hush-5"}',
    'name=it\'s $HOME `id` "q"',
    "tag==a b",
)


async def test_curl_has_variables_for_secrets_and_sends_nothing(flaky: RawServer) -> None:
    """No secret is printed, whether in a header, the query or the body; their variables are listed."""
    done = await run(
        "POST", f"{flaky.url}/x?sig=hush-0&pass%77ord=hush-4", *SECRETS, "--bearer", "T", "--curl", T="hush-t"
    )

    assert done.status == 0
    assert flaky.requests == []
    assert "hush" not in done.out + done.err
    assert "4242" not in done.out + done.err
    assert '"Authorization: Bearer ${T}"' in done.out
    names = {"T", "X_API_KEY", "COOKIE", "ACCESS_TOKEN", "PASSWORD", "PIN", "AUTH", "SIG"}
    assert set(done.err.removeprefix("# set first: ").strip().split(", ")) == names


@pytest.mark.parametrize("instead", ["--curl", "--explain"])
async def test_nothing_sent_needs_no_token(instead: str) -> None:
    """A command that sends nothing runs without the variable of the token."""
    done = await run("GET", "http://example.com/x", "--bearer", "NO_SUCH_VARIABLE", instead)

    assert done.status == 0
    assert "value-of" not in done.out + done.err
    assert ('"Authorization: Bearer ${NO_SUCH_VARIABLE}"' in done.out) is (instead == "--curl")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on PATH")
async def test_the_curl_command_sends_what_the_call_sends() -> None:
    """Bash runs it with the variables set: method, target, headers and body are the same."""
    values = {
        "T": "hush-t", "X_API_KEY": "hush-1", "COOKIE": "sid=hush-2", "ACCESS_TOKEN": "hush-3",
        "PASSWORD": "hush-4", "PIN": "4242", "AUTH": '{"user":"hush-5"}', "SIG": "hush-0",
    }  # fmt: skip
    async with raw_server(respond(ok())) as server:
        given = ("POST", f"{server.url}/a%2Fb?sig=hush-0", *SECRETS, "--bearer", "T")
        await run(*given, T="hush-t")
        command = (await run(*given, "--curl", T="hush-t")).out
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", command), env={**os.environ, **values}, stderr=asyncio.subprocess.DEVNULL
        )
        assert await asyncio.wait_for(process.wait(), 30) == 0

    ours, curls = server.requests
    assert (curls.method, curls.target) == (ours.method, ours.target)
    assert json.loads(curls.body) == json.loads(ours.body)
    for name in ("Authorization", "X-API-Key", "Cookie", "Accept", "Content-Type", "User-Agent"):
        assert curls.headers.getall(name) == ours.headers.getall(name)


def test_what_could_command_a_terminal_is_written_out() -> None:
    """Escapes, bells and C1 controls become text; line ends and tabs stay."""
    assert safe("a\x1b[31m\x07\x9b\r\n\tb\u202e") == "a\\x1b[31m\\x07\\x9b\n\tb\\u202e"


def test_the_first_separator_of_an_item_counts() -> None:
    """A header may hold ``=``, a query a URL, and a field a colon."""
    items = parse_items(["Authorization:Basic a==", "next==http://h/?a=b", "time=10:30", "n:=[1]", "X-No:"])

    assert items.headers == {"Authorization": "Basic a=="}
    assert items.params == {"next": ["http://h/?a=b"]}
    assert items.fields == {"time": "10:30", "n": [1]}
    assert items.omitted == ["X-No"]
