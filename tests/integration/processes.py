"""Third-party servers, each in a separate process, on free ports of 127.0.0.1, stopped with the tests.

Each process has a separate folder for its files, including its HOME and its log.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from servers import unused_port

__all__ = ["announced", "listening"]

T = TypeVar("T")

_START_SECONDS = 30.0  # seconds, on a machine that runs a whole matrix; they usually need one or two
_STOP_SECONDS = 1.0


@contextmanager
def announced(command: Sequence[str], folder: Path, pattern: str) -> Iterator[tuple[str, ...]]:
    """Run *command*, which chooses its ports; yield the match of *pattern* in its log."""
    with _running(command, folder) as process:
        log = folder / "log"

        def look() -> tuple[str, ...] | None:
            found = re.search(pattern, log.read_text(errors="replace"))
            return found.groups() if found else None

        found = _wait_for(look, process)
        if found is None:
            raise RuntimeError(_complaint(command, log))
        yield found


@contextmanager
def listening(command_for: Callable[[int], Sequence[str]], folder: Path) -> Iterator[str]:
    """Run *command_for* a free port until the port accepts connections; yield its URL."""
    for _ in range(3):  # another process may have taken the port in between
        port = unused_port()
        command = command_for(port)
        with _running(command, folder) as process:
            if _wait_for(lambda port=port: _is_open(port), process):  # type: ignore[misc]
                yield f"http://127.0.0.1:{port}"
                return
    raise RuntimeError(_complaint(command, folder / "log"))


@contextmanager
def _running(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("COV", "PYTEST", "PYTHON"))
        },
        "HOME": str(folder),
        "PYTHONUNBUFFERED": "1",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children: by request first, then by force."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)


def _wait_for(look: Callable[[], T], process: subprocess.Popen[bytes]) -> T | None:
    """Return the first true result of *look*; None if the process ended, or after the time limit."""
    give_up = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up:
        ended = process.poll() is not None
        if seen := look():
            return seen
        if ended:
            break
        time.sleep(0.02)
    return None


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _complaint(command: Sequence[str], log: Path) -> str:
    end = log.read_text(errors="replace")[-2000:]
    return f"{Path(command[0]).name} did not start; the end of its log:\n{end}"
