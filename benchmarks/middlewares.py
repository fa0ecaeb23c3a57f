"""The cost of each middleware: the CPU time that it adds to a call, relative to a call of plain aiohttp.

The default chain is built up from its inner end; an opt-in middleware, if its distribution is installed, is
added to the complete chain. The transport answers from memory, so that network noise does not count.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec
from bytecodes import bytecodes
from measure import ROUNDS, Call, Item, Page, Row, batches, optional, running_server, table
from multidict import CIMultiDict

from aioapiclient import (
    APIRequest,
    AsyncAPIClient,
    AsyncAPIResponse,
    BearerAuth,
    Handler,
    Middleware,
    default_chain,
    per_attempt,
    per_send,
)

CALLS = 320  # of one batch
BODY = msgspec.json.encode(Page([Item(n, f"name {n}", f"name.{n}@example.com") for n in range(50)]))
HEADERS = {"Content-Type": "application/json"}
# What servers say of their limits: the field with the number of calls that are left, and the others.
LIMITS = {
    "X-RateLimit-*": (
        ("X-RateLimit-Remaining", "{}"),
        {"X-RateLimit-Limit": "1000000", "X-RateLimit-Reset": "1796000000"},
    ),
    "draft 8": (("RateLimit", '"api";r={};t=60'), {"RateLimit-Policy": '"api";q=1000000;w=60'}),
}
DATE = "Mon, 30 Nov 2026 00:23:20 GMT"  # half an hour before the reset


def opt_in() -> Sequence[Any]:
    """The plugins whose distributions are installed."""
    found: list[Any] = []
    loadcontrol = optional("aioapiclient_loadcontrol")
    if loadcontrol is not None:
        found += [
            per_send(loadcontrol.ConcurrencyLimitMiddleware(100)),
            per_send(loadcontrol.ThrottleMiddleware()),
            per_attempt(loadcontrol.CircuitBreakerMiddleware()),
            per_attempt(loadcontrol.HedgingMiddleware()),
        ]
    timeline = optional("aioapiclient_timeline")
    if timeline is not None:
        found.append(timeline.Timeline())
    web, inbound = optional("aioapiclient_web"), optional("aioapiclient_web.inbound")
    if web is not None and inbound is not None:
        # As in a handler: a trace, an ID, and a deadline before the client's own of 600 s.
        headers = CIMultiDict({"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "X-Request-Id": "a" * 32})
        inbound.current.set(inbound.Inbound(asyncio.get_running_loop().time() + 590, headers))
        found.append(web.Propagate())
    return found


def caches() -> dict[str, Any]:
    """A cache that may store nothing, and one that has the page, if it is installed."""
    cache = optional("aioapiclient_cache")
    if cache is None:
        return {}
    return {
        "Cache, a miss that is not stored": cache.Cache(),
        "Cache, a miss that is stored": cache.Cache(default_ttl=1e9),
        "Cache, a hit": cache.Cache(default_ttl=1e9),
    }


def after(first: Callable[[], object], call: Call) -> Call:
    """A *call* before which *first* is called."""

    async def both() -> object:
        first()
        return await call()

    return both


def rate_limits() -> dict[str, tuple[Any, Handler]]:
    """Rates, without and with the limits of a server in each response; where they are installed."""
    ratelimit = optional("aioapiclient_ratelimit")
    if ratelimit is None:
        return {}
    transports = {"RateLimit": answer}
    transports |= {f"RateLimit, {dialect} in the response": answer_with_limits(dialect) for dialect in LIMITS}
    return {
        name: (per_send(ratelimit.RateLimit("100000000/s")), transport)
        for name, transport in transports.items()
    }


def telemetry() -> dict[str, Any]:
    """OpenTelemetry: without an SDK, with every trace sampled out, and recording; where it is installed."""
    otel = optional("aioapiclient_otel")
    trace, metrics = optional("opentelemetry.sdk.trace"), optional("opentelemetry.sdk.metrics")
    if otel is None:
        return {}
    bundles = {"OpenTelemetry without an SDK": otel.OpenTelemetry()}
    if trace is not None and metrics is not None:
        sampled_out = trace.TracerProvider(sampler=trace.sampling.ALWAYS_OFF)
        recording = trace.TracerProvider()
        meters = metrics.MeterProvider()
        bundles["OpenTelemetry, sampled out, no metrics"] = otel.OpenTelemetry(
            tracer_provider=sampled_out, metrics=False
        )
        bundles["OpenTelemetry, recording"] = otel.OpenTelemetry(
            tracer_provider=recording, meter_provider=meters
        )
    return bundles


def signing() -> dict[str, Any]:
    """Signatures, of a request without a body; where they are installed."""
    sigv4 = optional("aioapiclient_sigv4")
    if sigv4 is None:
        return {}
    key = sigv4.Credentials("AKIDEXAMPLE", "secret")
    return {"SigV4 in place of BearerAuth": sigv4.SigV4(key, service="s3", region="us-east-1")}


def mocks() -> dict[str, Handler]:
    """The routes of the pytest plugin, with the asked one as the only one and as the last."""
    plugin = optional("pytest_aioapiclient")
    if plugin is None:
        return {}
    found: dict[str, Handler] = {}
    for others, name in ((0, "one route"), (9, "the last of ten routes")):
        mock = plugin.MockAPI()
        for number in range(others):
            mock.get(f"/other/{number}")
        mock.get("/page").respond(body=BODY, headers=HEADERS)
        found[f"MockAPI in place of a function, {name}"] = mock
    return found


async def answer(request: APIRequest) -> AsyncAPIResponse[Any]:
    """The transport."""
    return AsyncAPIResponse.from_bytes(request, 200, HEADERS, BODY)


def answer_with_limits(dialect: str) -> Handler:
    """A transport whose responses have limits in their headers, each with one call less that is left."""
    (name, value), others = LIMITS[dialect]
    headers = {**HEADERS, "Date": DATE, **others}
    left = itertools.count(900_000, -1)

    async def answer(request: APIRequest) -> AsyncAPIResponse[Any]:
        return AsyncAPIResponse.from_bytes(request, 200, {**headers, name: value.format(next(left))}, BODY)

    return answer


def through(chain: Sequence[Middleware], transport: Handler = answer) -> Call:
    """A call through *chain*."""
    api = AsyncAPIClient("http://localhost", chain=chain, transport=transport)

    async def call() -> Page:
        return await api.get("/page", Page)

    return call


async def measure(base: str) -> list[Row]:
    auth = BearerAuth("token")
    whole = default_chain(auth=auth)
    names = [type(middleware).__name__ for middleware in whole]
    # Each by its position in the chain.
    calls = {name: through(whole[place:]) for place, name in enumerate(names)}
    calls["none"] = through([])
    for placed in opt_in():
        name = type(getattr(placed, "middleware", placed)).__name__
        calls[name] = through(default_chain(auth=auth, middlewares=[placed]))
    for name, cache in caches().items():
        call = through(default_chain(auth=auth, middlewares=[per_send(cache)]))
        calls[name] = after(cache.storage.clear, call) if name.endswith("that is stored") else call
    for name, bundle in telemetry().items():
        calls[name] = through(default_chain(auth=auth, middlewares=[bundle]))
    for name, signature in signing().items():
        calls[name] = through(default_chain(auth=signature))
    for name, mock in mocks().items():
        calls[name] = through(whole, mock)
    inner = dict.fromkeys(calls, names[0]) | dict(zip(names, [*names[1:], "none"], strict=True))
    del inner["none"]
    for name, (limit, transport) in rate_limits().items():
        inner[name] = f"without {name}"
        calls[inner[name]] = through(whole, transport)
        calls[name] = through(default_chain(auth=auth, middlewares=[limit]), transport)
    async with aiohttp.ClientSession() as session:
        decode = msgspec.json.Decoder(Page).decode

        async def bare() -> Page:
            async with session.get(f"{base}/page") as response:
                return decode(await response.read())

        calls["bare"] = bare
        times = await batches({name: (call, CALLS) for name, call in calls.items()}, ROUNDS)
        counts = {name: await bytecodes(call) for name, call in calls.items()}
    return [added(name, below, times, counts) for name, below in inner.items()]


def added(name: str, inner: str, times: Mapping[str, Sequence[float]], counts: Mapping[str, float]) -> Row:
    """The cost of *name* on top of the chain from *inner* on, relative to a call of plain aiohttp."""
    added = [one - other for one, other in zip(times[name], times[inner], strict=True)]
    ratios = [one / other for one, other in zip(added, times["bare"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    note = f"{statistics.median(added) * 1e6:.1f} us"
    return Row(
        f"{name}, over a typed GET of plain aiohttp",
        middle,
        spread=(low, high),
        bytecodes=(counts[name] - counts[inner], counts["bare"]),
        note=note,
    )


def rows() -> list[Row]:
    """The rows of this module."""
    with running_server() as base:
        return asyncio.run(measure(base))


if __name__ == "__main__":
    print(table(rows()))
