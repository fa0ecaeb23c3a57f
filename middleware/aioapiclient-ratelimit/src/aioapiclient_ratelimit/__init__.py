"""Rate limits that a client keeps ahead: by itself, with a fleet, and as the server's headers say."""

from .headers import Window, parse_limits
from .middleware import RateLimit
from .rates import Rate
from .redis_store import RedisStore
from .stores import LocalStore, RateStore, Turn

__all__ = ["LocalStore", "Rate", "RateLimit", "RateStore", "RedisStore", "Turn", "Window", "parse_limits"]
