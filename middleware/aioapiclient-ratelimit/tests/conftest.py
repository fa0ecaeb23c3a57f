"""The Redis server that the tests of a fleet use."""

from redis_servers import redis_process, redis_server

__all__ = ["redis_process", "redis_server"]
