"""The middlewares of the default chain; each stands alone in a chain of your own.

They import what a plugin may import, and so show that the contract is enough.
"""

from .auth import AuthMiddleware
from .decoding import DecodingMiddleware
from .headers import HeadersMiddleware
from .redirect import RedirectMiddleware
from .retry import RetryMiddleware
from .timeout import DeadlineMiddleware, TimeoutMiddleware

__all__ = [
    "AuthMiddleware",
    "DeadlineMiddleware",
    "DecodingMiddleware",
    "HeadersMiddleware",
    "RedirectMiddleware",
    "RetryMiddleware",
    "TimeoutMiddleware",
]
