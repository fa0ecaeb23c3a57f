"""The middlewares of the default chain, and those to add to it; each stands alone in a chain of your own.

They import what a plugin may import, and so show that the contract is enough.
"""

from .auth import AuthMiddleware
from .circuit_breaker import CircuitBreakerMiddleware
from .concurrency import ConcurrencyLimitMiddleware
from .decoding import DecodingMiddleware
from .headers import HeadersMiddleware
from .hedging import HedgingMiddleware
from .redirect import RedirectMiddleware
from .retry import RetryMiddleware
from .throttle import ThrottleMiddleware
from .timeout import DeadlineMiddleware, TimeoutMiddleware

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
