"""An HTTP cache: RFC 9111 on hishel's states, equal requests sent once, principals kept apart."""

from .memory import MemoryStorage
from .middleware import Cache
from .status import CacheStatus, cache_status

__all__ = ["Cache", "CacheStatus", "MemoryStorage", "cache_status"]
