"""Rate limits on the client's side: per process, for several processes, and by the server's headers."""

from .headers import Window, parse_limits
from .middleware import RateLimit
from .rates import Rate
from .redis_store import RedisStore
from .stores import LocalStore, RateStore, Turn

__all__ = ["LocalStore", "Rate", "RateLimit", "RateStore", "RedisStore", "Turn", "Window", "parse_limits"]
