"""Load control: a concurrency limit, a shared throttle, a circuit breaker, and hedging."""

from .circuit_breaker import CircuitBreakerMiddleware
from .concurrency import ConcurrencyLimitMiddleware
from .hedging import HedgingMiddleware
from .throttle import ThrottleMiddleware

__all__ = [
    "CircuitBreakerMiddleware",
    "ConcurrencyLimitMiddleware",
    "HedgingMiddleware",
    "ThrottleMiddleware",
]
