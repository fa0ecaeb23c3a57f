"""One process of a fleet: makes its share of the calls, cancels some more, and reports when Redis is down."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import redis.asyncio
from aioapiclient_ratelimit import RateLimit, RedisStore
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from aioapiclient import APIConnectionError, APIRequest, AsyncAPIClient, RetryPolicy, per_attempt, per_send
from aioapiclient.contract import AsyncAPIResponse, Handler


class Outage:
    """Writes a line when the store fails for the first time."""

    def __init__(self) -> None:
        self.seen = False

    async def __call__(self, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        try:
            return await handler(request)
        except APIConnectionError:
            if not self.seen:
                self.seen = True
                sys.stdout.write("down\n")
                sys.stdout.flush()
            raise


async def main(url: str, port: int, calls: int, slots: int, rate: str, burst: int) -> None:
    """Make *calls*, at most *slots* concurrently."""
    client = redis.asyncio.Redis(port=port, retry=Retry(NoBackoff(), 0), max_connections=2 * slots)
    limit = RateLimit(rate, burst=burst, store=RedisStore(client, prefix="fleet:", fallback=None))
    retry = RetryPolicy(max_retries=100, wait=lambda: iter([None, *[0.1] * 200]), budget=None)
    numbers = iter(range(calls))
    cancelled = 0
    async with AsyncAPIClient(url, middlewares=[per_attempt(Outage()), per_send(limit)], retry=retry) as api:

        async def work() -> None:
            nonlocal cancelled
            for number in numbers:
                if number % 5 == 0:  # one more call, which is cancelled
                    extra = asyncio.ensure_future(api.get("/extra"))
                    await asyncio.wait({extra}, timeout=0.01)
                    cancelled += extra.cancel()
                    await asyncio.wait({extra})
                await api.get("/call")

        await asyncio.gather(*(work() for _ in range(slots)))
    await client.aclose()
    sys.stdout.write(f"cancelled {cancelled}\n")


if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()  # all processes begin together
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5], int(sys.argv[6])))
