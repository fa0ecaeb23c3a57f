"""The middlewares of the default chain, and those to add to it; each stands alone in a chain of your own.

They import what a plugin may import, and so show that the contract is enough. Those to add are loaded
when they are asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .auth import AuthMiddleware
from .decoding import DecodingMiddleware
from .headers import HeadersMiddleware
from .redirect import RedirectMiddleware
from .retry import RetryMiddleware
from .timeout import DeadlineMiddleware, TimeoutMiddleware

if TYPE_CHECKING:
    from .circuit_breaker import CircuitBreakerMiddleware
    from .concurrency import ConcurrencyLimitMiddleware
    from .hedging import HedgingMiddleware
    from .throttle import ThrottleMiddleware

__all__ = [
    "AuthMiddleware",
    "CircuitBreakerMiddleware",
    "ConcurrencyLimitMiddleware",
    "DeadlineMiddleware",
    "DecodingMiddleware",
    "HeadersMiddleware",
    "HedgingMiddleware",
    "RedirectMiddleware",
    "RetryMiddleware",
    "ThrottleMiddleware",
    "TimeoutMiddleware",
]

_TO_ADD = {
    "CircuitBreakerMiddleware": ".circuit_breaker",
    "ConcurrencyLimitMiddleware": ".concurrency",
    "HedgingMiddleware": ".hedging",
    "ThrottleMiddleware": ".throttle",
}


def __getattr__(name: str) -> Any:
    if name not in _TO_ADD:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_TO_ADD[name], __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
