"""The types of the circuit breaker and of hedging; checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any, Literal, assert_type

from aioapiclient_loadcontrol import CircuitBreakerMiddleware, HedgingMiddleware

from aioapiclient import APIError, AsyncAPIClient, AsyncAPIResponse, CircuitOpenError, per_attempt
from aioapiclient.contract import Middleware


def degraded(outcome: AsyncAPIResponse[Any] | Exception) -> bool | None:
    """The values that ``failures`` accepts."""
    return None if isinstance(outcome, Exception) else "X-Degraded" in outcome.headers


async def made() -> None:
    """Both are middlewares, with settings that are typed."""
    breaker = CircuitBreakerMiddleware(failure_ratio=0.2, failures=degraded)
    hedging = HedgingMiddleware(0.1, budget=0.02)
    links: list[Middleware] = [breaker, hedging, per_attempt(breaker)]
    assert_type(breaker.state("https://h"), Literal["closed", "open", "half-open"])
    assert_type(breaker.window, float)
    assert_type(hedging.delay, float | None)
    assert_type(hedging.stats(), dict[str, dict[str, float]])
    assert_type(breaker.stats(), dict[str, dict[str, Literal["closed", "open", "half-open"]]])
    AsyncAPIClient("https://h", middlewares=links)
    CircuitBreakerMiddleware(failures={500})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    HedgingMiddleware(delay="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def refused(api: AsyncAPIClient) -> None:
    """The attributes of the error."""
    try:
        await api.get("/x")
    except CircuitOpenError as error:
        assert_type(error.origin, str)
        assert_type(error.sent, Literal[False])
        assert_type(error.retry_after, float | None)
        raise APIError("wrapped") from error
