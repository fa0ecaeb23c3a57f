"""The middlewares of the default chain; each of them also works alone in your own chain."""

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
