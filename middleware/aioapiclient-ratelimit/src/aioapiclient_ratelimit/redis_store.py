"""Turns for several processes: one script in a Redis or Valkey server assigns them, by the server's clock."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import time
from collections.abc import Hashable, Sequence
from typing import Any, Final

from aioapiclient.contract import check_seconds
from aioapiclient.errors import APIConnectionError

from .rates import Rate
from .stores import MOST_FREED, SOON, LocalStore, RateStore, Turn, check_store

__all__ = ["RedisStore"]

_logger = logging.getLogger("aioapiclient.ratelimit")

_WARN_EVERY: Final = 60.0  # seconds
_PAUSE: Final = 1.0  # seconds without another attempt after a failure: a timeout for each call would add up

# ARGV: the time (empty: the server's own), then "refund", a turn's time and cost; or "reserve", the cost,
# the longest wait, and burst and seconds per call of each rate. The state is {drained, freed}, freed being
# pairs of time and cost in one list. Seconds are counted from 2026, so that a double has the nanoseconds.
_SCRIPT: Final = f"""
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] - 1767225600 + time[2] / 1e6
end
local drained, freed = {{}}, {{}}
local state = redis.call('GET', KEYS[1])
if state then
  local kept = cmsgpack.unpack(state)
  drained = kept[1]
  for i = 1, #kept[2], 2 do
    if kept[2][i] >= now then
      freed[#freed + 1] = kept[2][i]
      freed[#freed + 1] = kept[2][i + 1]
    end
  end
end

local function keep()
  local last = now
  for i = 1, #drained do last = math.max(last, drained[i]) end
  redis.call('SET', KEYS[1], cmsgpack.pack({{drained, freed}}), 'PX', math.ceil((last - now) * 1000) + 1000)
end

local function turn(at)
  return {{string.format('%.17g', at - now), string.format('%.17g', at)}}
end

if ARGV[2] == 'refund' then
  local at, cost = tonumber(ARGV[3]), tonumber(ARGV[4])
  if state and #freed < {2 * MOST_FREED} then
    local place = 1
    while place < #freed and (freed[place] < at or freed[place] == at and freed[place + 1] <= cost) do
      place = place + 2
    end
    table.insert(freed, place, cost)
    table.insert(freed, place, at)
    keep()
  end
  return {{}}
end

local cost, most = tonumber(ARGV[3]), tonumber(ARGV[4])
for i = 1, #freed, 2 do
  if freed[i + 1] >= cost then
    local at = freed[i]
    if at - now <= most then
      freed[i + 1] = freed[i + 1] - cost
      if freed[i + 1] == 0 then
        table.remove(freed, i)
        table.remove(freed, i)
      end
      keep()
    end
    return turn(at)
  end
end
local rates = (#ARGV - 4) / 2
local wait = 0
for i = 1, rates do
  local burst, every = tonumber(ARGV[3 + 2 * i]), tonumber(ARGV[4 + 2 * i])
  drained[i] = drained[i] or now
  wait = math.max(wait, math.max(drained[i] - now, 0) + (cost - burst) * every)
end
if wait < {SOON!r} then wait = 0 end
local at = now + wait
if wait <= most then
  for i = 1, rates do
    drained[i] = math.max(drained[i], at) + cost * tonumber(ARGV[4 + 2 * i])
  end
  keep()
end
return {{string.format('%.17g', wait), string.format('%.17g', at)}}
"""


class _LocalTurn(Turn):
    """A turn of the fallback, whose time is on another clock."""

    __slots__ = ()


_OWN: Final = LocalStore()  # a placeholder for a LocalStore created for each RedisStore


class RedisStore:
    """Assigns turns to all processes that use the same server, in one round trip each.

    Time is the server's, so that the clients' clocks do not matter. A key expires a second after its last
    turn has drained. Its name is a hash, so that its contents, perhaps a token, never leave the process.

    After a failure the *fallback* assigns turns for one second before the server is asked again. A failure is
    logged once a minute, as a warning of ``aioapiclient.ratelimit``.

    Args:
        client: An asyncio client of redis-py or valkey-py, such as ``redis.asyncio.Redis``. The store never
            closes it. Its pool must have a connection for each concurrent reservation, or wait for one
            (``BlockingConnectionPool``).
        prefix: The start of the names of all keys.
        fallback: Assigns turns while the server does not answer. By default each process keeps the rates on
            its own, so four processes may send four times as much. None sends nothing: calls fail with an
            `APIConnectionError` whose ``sent`` is False, which the client retries.
        timeout: Seconds after which the server counts as failed, 1 by default.

    Raises:
        TypeError: An argument has the wrong type, or *client* is not an asyncio client.
        InvalidRequestError: *timeout* is out of range.
    """

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = "aioapiclient:rate:",
        fallback: RateStore | None = _OWN,
        timeout: float = 1.0,
    ) -> None:
        self._script = _registered(client)
        if not isinstance(prefix, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"prefix must be a str, not {type(prefix).__name__}")
        self._prefix = prefix
        self._fallback = LocalStore() if fallback is _OWN else check_store("fallback", fallback)
        self._timeout = check_seconds("timeout", timeout)
        self._paused_until = self._silent_until = -float("inf")

    def __repr__(self) -> str:
        return f"<RedisStore: prefix={self._prefix!r}>"

    async def reserve(self, key: Hashable, rates: Sequence[Rate], cost: int, most: float) -> Turn:
        """Reserve the next turn; see `RateStore.reserve`.

        Raises:
            APIConnectionError: The server does not answer, and the store has no fallback.
            TypeError: *key* contains a value that differs between processes.
        """
        name = self._name(key, rates)
        if time.monotonic() >= self._paused_until:
            try:
                async with asyncio.timeout(self._timeout):
                    wait, at = await self._reserve(name, cost, most, rates)
            except Exception as error:
                self._failed(error)
                if self._fallback is None:
                    raise _unreachable() from error
            else:
                return Turn(float(wait), float(at), cost)
        if self._fallback is None:
            raise _unreachable()
        return _LocalTurn(*await self._fallback.reserve(key, rates, cost, most))

    async def refund(self, key: Hashable, rates: Sequence[Rate], turn: Turn) -> None:
        """Take *turn* back, on the store that assigned it."""
        if not isinstance(turn, _LocalTurn):
            async with asyncio.timeout(self._timeout):
                await self._run(self._name(key, rates), "refund", turn.at, turn.cost)
        elif self._fallback is not None:
            await self._fallback.refund(key, rates, turn)

    async def _reserve(self, name: str, cost: int, most: float, rates: Sequence[Rate]) -> Any:
        arguments = ("reserve", cost, most, *_numbers(rates))
        try:
            return await self._run(name, *arguments)
        except Exception:
            # The connection may be from before a restart of the server. If the first request was counted
            # nevertheless, a turn is wasted. (A refund is not repeated: it would free two turns.)
            return await self._run(name, *arguments)

    async def _run(self, name: str, *arguments: object) -> Any:
        """Run the script for the key *name*, by the server's clock."""
        return await self._script(keys=[name], args=["", *arguments])

    def _name(self, key: Hashable, rates: Sequence[Rate]) -> str:
        parts = f"{_text(key)} {[(*rate,) for rate in rates]}"
        return self._prefix + hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        self._paused_until = now + _PAUSE
        if now < self._silent_until:
            return
        self._silent_until = now + _WARN_EVERY
        instead = "no call is sent" if self._fallback is None else "the fallback assigns turns"
        # Only the class: the texts of a client library may contain secrets.
        _logger.warning("The store of rate limits does not answer (%s): %s", type(error).__name__, instead)


def _registered(client: Any) -> Any:
    """The script, registered with *client*."""
    register = getattr(client, "register_script", None)
    script = register(_SCRIPT) if callable(register) else None
    if not inspect.iscoroutinefunction(getattr(type(script), "__call__", None)):  # noqa: B004 - of its class
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        raise TypeError(f"client must be an asyncio client, such as redis.asyncio.Redis, not {kind}")
    return script


def _numbers(rates: Sequence[Rate]) -> list[float]:
    return [number for rate in rates for number in (rate.burst, rate.every)]


def _text(key: object) -> str:
    """Return the contents of *key* as a text that is the same in every process."""
    if isinstance(key, tuple):
        return f"({','.join(map(_text, key))})"  # pyright: ignore[reportUnknownArgumentType]
    if key is None or type(key) in (str, int, bytes, bool):
        return repr(key)
    raise TypeError(
        f"a key in a RedisStore must be a str, an int, bytes or a tuple of them, not {type(key).__name__}: "
        "it must be the same in every process"
    )


def _unreachable() -> APIConnectionError:
    return APIConnectionError("the store of rate limits does not answer, and has no fallback", sent=False)
