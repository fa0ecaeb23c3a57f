"""Four processes and one Redis, which is killed and restarted in the middle, keep one rate together."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from needed_servers import need_module
from servers import serving

PROCESSES, CALLS, SLOTS = 4, 2000, 16
RATE, BURST = 500, 20
IN_FLIGHT = PROCESSES * SLOTS


class Counted:
    """A server that records when each request arrived."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.paths: Counter[str] = Counter()

    async def handle(self, request: web.Request) -> web.Response:
        self.times.append(time.monotonic())
        self.paths[request.path] += 1
        return web.json_response({})

    async def until(self, number: int) -> None:
        """Wait until that many requests have arrived."""
        while len(self.times) < number:  # noqa: ASYNC110 - it is told by other processes
            await asyncio.sleep(0.005)


def check_rate(times: Sequence[float], more: int) -> None:
    """In any time t, at most burst + rate * t requests arrived, and *more* that were in flight before it.

    A turn may arrive late on a busy machine, but each slot has only one.
    """
    least = float("inf")
    for number, at in enumerate(times):
        # number - first + 1 <= BURST + RATE * (at - times[first]) + more, for every first up to number
        least = min(least, number - RATE * at)
        assert number + 1 - RATE * at - least <= BURST + more


async def test_a_fleet_keeps_the_rate(redis_server: Any) -> None:
    """2,000 calls of four processes, 400 of them cancelled, at 500 a second, through a restart of Redis.

    Every call is made; none is sent while Redis is down; in any period the fleet sends at most as many calls
    as the rate allows, before the restart and after it.
    """
    need_module("redis", "redis")
    worker = str(Path(__file__).with_name("fleet_worker.py"))
    server = Counted()
    app = web.Application()
    app.router.add_get("/{path}", server.handle)
    async with asyncio.timeout(120), serving(app) as url, contextlib.AsyncExitStack() as stack:
        command = [sys.executable, worker, url, *map(str, (redis_server.port, CALLS // PROCESSES, SLOTS))]
        command += [f"{RATE}/s", str(BURST)]
        processes = []
        for _ in range(PROCESSES):
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            stack.callback(lambda process=process: process.returncode is None and process.kill())
            processes.append(process)
        assert {await process.stdout.readline() for process in processes} == {b"ready\n"}
        for process in processes:
            process.stdin.write(b"go\n")
        await server.until(CALLS // 3)
        redis_server.kill()
        killed = time.monotonic()
        assert {await process.stdout.readline() for process in processes} == {b"down\n"}
        before = len(server.times)
        starting = time.monotonic()
        redis_server.start()
        lines = [(await process.communicate())[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * PROCESSES

    assert server.paths["/call"] == CALLS
    cancelled = sum(int(line.split()[1]) for line in lines)
    assert cancelled > CALLS // 50
    assert sum(killed < at < starting for at in server.times) <= IN_FLIGHT
    check_rate(server.times[:before], IN_FLIGHT)
    check_rate(server.times[before:], 2 * IN_FLIGHT)
    assert (server.times[-1] - server.times[0]) > (CALLS - BURST) / RATE * 0.9
