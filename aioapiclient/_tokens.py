"""Tokens that expire, and the cache that asks for each of them once however many calls wait."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from .errors import ClientClosedError, InvalidRequestError, printable

__all__ = ["Token", "TokenCache"]


class Token(msgspec.Struct, frozen=True):
    """A credential with the time it is good for; its ``repr`` does not show it.

    Args:
        value: The credential itself.
        expires_in: Seconds from when it was fetched, as a number or as a text that is one: some token
            endpoints send ``"3600"``. 0 or less has expired already. None (the default) is good until
            a server refuses it.

    Raises:
        TypeError: *value* is not a str, or *expires_in* not a number.
        InvalidRequestError: *expires_in* is a text that is not a number, NaN, or infinite.

    """

    value: str
    """The credential itself."""

    expires_in: float | None = None
    """Seconds from when it was fetched; None when it is good until a server refuses it."""

    if TYPE_CHECKING:

        def __init__(self, value: str, expires_in: float | str | None = None) -> None: ...

    def __post_init__(self) -> None:
        value: Any = self.value
        if not isinstance(value, str):
            raise TypeError(f"Token value must be a str, not {type(value).__name__}")
        if self.expires_in is not None:
            msgspec.structs.force_setattr(self, "expires_in", _as_seconds(self.expires_in))

    def __repr__(self) -> str:
        return f"Token(expires_in={self.expires_in})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own has every field: rich would print the credential.
        return [("expires_in", self.expires_in)]


def _as_seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"Token expires_in must be a number of seconds or None, not {type(value).__name__}")
    try:
        seconds = float(value)
    except (ValueError, OverflowError):  # no number, or an int of more than 308 digits
        seconds = math.nan
    if not math.isfinite(seconds):
        # Python refuses to write an int of that many digits.
        shown = "a larger int" if isinstance(value, int) else repr(printable(str(value)))
        raise InvalidRequestError(f"Token expires_in must be a finite number of seconds, not {shown}")
    return seconds


Fetch: TypeAlias = Callable[[], Awaitable[Token | str]]
"""Gets a new token from wherever tokens come from."""

# Ahead of expiry a token is renewed behind the calls, which go on with the old one. Two minutes is
# what the AWS and Azure SDKs lie around, and longer than any call's clock skew is likely to be.
_AHEAD = 120.0
# This close to its end a token may expire on its way to the server: calls wait for a new one.
_LAST = 10.0
# After a renewal ahead of expiry failed, it is tried again no sooner than this.
_PAUSE = 5.0


_MOST_KEYS = 1000  # an Auth made for every call, each with a key of its own, must not grow it for ever


class _Entry:
    """What is known under one key."""

    __slots__ = ("expires", "quiet_until", "task", "token", "waiters")

    def __init__(self) -> None:
        self.token: Token | None = None
        self.expires: float | None = None
        self.quiet_until = 0.0
        self.task: asyncio.Task[Token] | None = None
        self.waiters = 0


class TokenCache:
    """Tokens by key, each fetched once however many calls wait for it.

    A token is renewed ahead of its expiry. In its last two minutes (or its last fifth, if that is shorter)
    it is renewed in the background, and calls use the one they have. In its last ten seconds (or last tenth)
    calls wait for the new one. If a renewal ahead of time fails, the token that still holds is used and the
    next renewal waits five seconds; if no token holds, the failure goes to every waiting call.

    A call that is cancelled while it waits does not cancel the renewal.

    Args:
        clock: A function that returns seconds and never goes back; `time.monotonic` by default.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[Hashable, _Entry] = {}

    def __repr__(self) -> str:
        return f"<TokenCache with {len(self._entries)} keys>"

    async def get(self, key: Hashable, fetch: Fetch) -> Token:
        """Return the token under a key, and fetch one if none holds.

        Args:
            key: Whatever tells one credential from another.
            fetch: An async function without arguments that returns a `Token` or a str.
        """
        entry = self._entry(key)
        if entry.token is not None:
            left = self._left(entry)
            if left is None or left > _ahead(entry.token):
                return entry.token
            if left > _last(entry.token):
                self._renew_behind(entry, fetch)
                return entry.token
        return await self._wait(entry, fetch)

    async def refresh(self, key: Hashable, rejected: str | Token, fetch: Fetch) -> bool:
        """Replace a token that a server refused, and return whether there is another one now.

        *fetch* is called only if the refused token is still the one that is kept, so a newer one is never
        lost.

        Args:
            key: The key of the token.
            rejected: The token, or its value, that the server refused.
            fetch: An async function without arguments that returns a `Token` or a str.
        """
        value = rejected.value if isinstance(rejected, Token) else rejected
        entry = self._entry(key)
        if entry.token is not None and entry.token.value != value:
            return True
        entry.token = None
        return (await self._wait(entry, fetch)).value != value

    async def close(self) -> None:
        """Cancel renewals in the background. Tokens stay."""
        entries = self._entries.values()
        idle = [entry.task for entry in entries if entry.task and not entry.waiters and _flying(entry)]
        for task in idle:
            task.cancel()
        await asyncio.gather(*idle, return_exceptions=True)

    def _entry(self, key: Hashable) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= _MOST_KEYS:
                del self._entries[next(iter(self._entries))]  # the oldest; whoever waits for it still gets it
            entry = self._entries[key] = _Entry()
        return entry

    def _left(self, entry: _Entry) -> float | None:
        return None if entry.expires is None else entry.expires - self._clock()

    def _renew_behind(self, entry: _Entry, fetch: Fetch) -> None:
        if self._clock() >= entry.quiet_until and not _flying(entry):
            self._start(entry, fetch)

    async def _wait(self, entry: _Entry, fetch: Fetch) -> Token:
        task = entry.task if _flying(entry) and entry.task is not None else self._start(entry, fetch)
        entry.waiters += 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if task.cancelled() and waiter is not None and not waiter.cancelling():
                raise ClientClosedError(
                    "The renewal of a token was ended by the client that ran it"
                ) from None
            raise
        finally:
            entry.waiters -= 1

    def _start(self, entry: _Entry, fetch: Fetch) -> asyncio.Task[Token]:
        # A task of its own: the flight belongs to everyone who waits, not to whoever came first.
        task = entry.task = asyncio.create_task(self._fetch(entry, fetch), name="aioapiclient token")
        task.add_done_callback(_retrieve)
        return task

    async def _fetch(self, entry: _Entry, fetch: Fetch) -> Token:
        asked = self._clock()
        try:
            flight: Any = fetch()
            if not hasattr(flight, "__await__"):
                raise TypeError("A token provider must be an async function without arguments")
            fetched: Any = await flight
        except BaseException:
            entry.quiet_until = self._clock() + _PAUSE
            raise
        token: Any = Token(fetched) if isinstance(fetched, str) else fetched
        if not isinstance(token, Token):
            raise TypeError(f"A token provider must give a str or a Token, not {type(token).__name__}")
        # Its time counts from before it was asked for: the server's clock started on the way.
        entry.expires = None if token.expires_in is None else asked + token.expires_in
        entry.token = token
        return token


def _ahead(token: Token) -> float:
    return _AHEAD if token.expires_in is None else min(_AHEAD, token.expires_in / 5)


def _last(token: Token) -> float:
    return _LAST if token.expires_in is None else min(_LAST, token.expires_in / 10)


def _flying(entry: _Entry) -> bool:
    task = entry.task
    # A flight of an event loop that has ended lands nowhere.
    return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()


def _retrieve(task: asyncio.Task[Token]) -> None:
    if not task.cancelled():
        task.exception()
