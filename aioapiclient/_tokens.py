"""Tokens that expire, and a cache that fetches each token once, however many calls wait for it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Hashable
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from ._bounded import BoundedDict
from .errors import ClientClosedError, InvalidRequestError, printable

__all__ = ["Token", "TokenCache", "serves_several"]

serves_several: Final[ContextVar[bool]] = ContextVar("aioapiclient.serves_several", default=False)
"""Whether the running task serves several calls, such as a token fetch.

Such a task starts in the context of one of the calls, but the limits of that call, such as the deadline of an
inbound request, must not apply to the others. A middleware that shares work between calls runs it in a
separate task and sets this variable there.
"""


class Token(msgspec.Struct, frozen=True):
    """A credential and its lifetime; its ``repr`` does not show the credential.

    Args:
        value: The credential itself.
        expires_in: The lifetime in seconds from the start of the fetch, as a number or a numeric string: some
            token endpoints send ``"3600"``. 0 or less means already expired. None (the default) means valid
            until a server refuses it.

    Raises:
        TypeError: *value* is not a str, or *expires_in* is neither a number, a str nor None.
        InvalidRequestError: *expires_in* is a string that is not a number, NaN, or infinite.

    """

    value: str
    """The credential itself."""

    expires_in: float | None = None
    """The lifetime in seconds from the start of the fetch; None means valid until a server refuses it."""

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
        # msgspec's own method has every field: rich would print the credential.
        return [("expires_in", self.expires_in)]


def _as_seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"Token expires_in must be a number of seconds or None, not {type(value).__name__}")
    try:
        seconds = float(value)
    except (ValueError, OverflowError):  # not a number, or an int of more than 308 digits
        seconds = math.nan
    if not math.isfinite(seconds):
        # Python refuses to write an int of that many digits.
        shown = "a larger int" if isinstance(value, int) else repr(printable(str(value)))
        raise InvalidRequestError(f"Token expires_in must be a finite number of seconds, not {shown}")
    return seconds


Fetch: TypeAlias = Callable[[], Awaitable[Token | str]]
"""An async function that fetches a new token."""

# Seconds before expiry at which a token is renewed in the background, while calls use the old one. Two
# minutes is close to the values of the AWS and Azure SDKs, and longer than any likely clock skew.
_AHEAD = 120.0
# Seconds before expiry from which calls wait for a new token: the old one may expire in transit.
_LAST = 10.0
# The pause in seconds after a failed renewal ahead of expiry.
_PAUSE = 5.0


# The limit matters for programs that create an Auth, and so a key, for every call. Calls that wait for a
# token whose key is dropped still get it.
_MOST_KEYS = 1000


class _Entry:
    """The token of one key, and its renewal."""

    __slots__ = ("expires", "quiet_until", "task", "token", "waiters")

    def __init__(self) -> None:
        self.token: Token | None = None
        self.expires: float | None = None
        self.quiet_until = 0.0
        self.task: asyncio.Task[Token] | None = None
        self.waiters = 0


class TokenCache:
    """Tokens by key; each is fetched once, however many calls wait for it.

    A token is renewed ahead of its expiry. In its last two minutes (or its last fifth, if that is shorter)
    it is renewed in the background, and calls use the current one. In its last ten seconds (or last tenth)
    calls wait for the new one. If a renewal ahead of expiry fails, calls use the token that is still valid,
    and the next renewal starts after five seconds at the earliest. If no token is valid, every waiting call
    raises the error of the renewal.

    A call that is cancelled while it waits does not cancel the renewal.

    Args:
        clock: A function that returns seconds and never goes back; `time.monotonic` by default.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: BoundedDict[Hashable, _Entry] = BoundedDict(_MOST_KEYS)

    def __repr__(self) -> str:
        return f"<TokenCache with {len(self._entries)} keys>"

    async def get(self, key: Hashable, fetch: Fetch) -> Token:
        """Return the token of a key, and fetch one if none is valid.

        Args:
            key: A value that identifies the credential.
            fetch: An async function without arguments that returns a `Token` or a str.

        Returns:
            A token that has not expired.

        Raises:
            TypeError: *fetch* is not async, or returned something else.
            ClientClosedError: The client that ran the renewal was closed meanwhile.
        """
        entry = self._entry(key)
        if entry.token is not None:
            left = self._left(entry)
            if left is None or left > _ahead(entry.token):
                return entry.token
            if left > _last(entry.token):
                self._renew_in_background(entry, fetch)
                return entry.token
        return await self._wait(entry, fetch)

    async def refresh(self, key: Hashable, rejected: str | Token, fetch: Fetch) -> bool:
        """Replace a token that a server refused.

        *fetch* is called only if the cache still holds the refused token, so that a newer token is kept.

        Args:
            key: The key of the token.
            rejected: The token, or its value, that the server refused.
            fetch: An async function without arguments that returns a `Token` or a str.

        Returns:
            True if the cache now holds a different token.

        Raises:
            TypeError: *fetch* is not async, or returned something else.
            ClientClosedError: The client that ran the renewal was closed meanwhile.
        """
        value = rejected.value if isinstance(rejected, Token) else rejected
        entry = self._entry(key)
        if entry.token is not None and entry.token.value != value:
            return True
        entry.token = None
        return (await self._wait(entry, fetch)).value != value

    async def close(self) -> None:
        """Cancel the background renewals; the tokens are kept."""
        entries = self._entries.values()
        idle = [entry.task for entry in entries if entry.task and not entry.waiters and _is_renewing(entry)]
        for task in idle:
            task.cancel()
        await asyncio.gather(*idle, return_exceptions=True)

    def _entry(self, key: Hashable) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
        return entry

    def _left(self, entry: _Entry) -> float | None:
        return None if entry.expires is None else entry.expires - self._clock()

    def _renew_in_background(self, entry: _Entry, fetch: Fetch) -> None:
        if self._clock() >= entry.quiet_until and not _is_renewing(entry):
            self._start(entry, fetch)

    async def _wait(self, entry: _Entry, fetch: Fetch) -> Token:
        task = entry.task if _is_renewing(entry) and entry.task is not None else self._start(entry, fetch)
        entry.waiters += 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if task.cancelled() and waiter is not None and not waiter.cancelling():
                raise ClientClosedError("the client that renewed the token was closed") from None
            raise
        finally:
            entry.waiters -= 1

    def _start(self, entry: _Entry, fetch: Fetch) -> asyncio.Task[Token]:
        # A separate task: the renewal serves every waiting call, so cancelling one call must not end it.
        context = copy_context()
        context.run(serves_several.set, True)
        task = entry.task = asyncio.create_task(
            self._fetch(entry, fetch), name="aioapiclient token", context=context
        )
        task.add_done_callback(_retrieve)
        return task

    async def _fetch(self, entry: _Entry, fetch: Fetch) -> Token:
        asked = self._clock()
        try:
            fetching: Any = fetch()
            if not hasattr(fetching, "__await__"):
                raise TypeError("a token provider must be an async function without arguments")
            fetched: Any = await fetching
        except BaseException:
            entry.quiet_until = self._clock() + _PAUSE
            raise
        token: Any = Token(fetched) if isinstance(fetched, str) else fetched
        if not isinstance(token, Token):
            raise TypeError(f"a token provider must return a str or a Token, not {type(token).__name__}")
        # The lifetime counts from the start of the fetch: the server's clock started during it.
        entry.expires = None if token.expires_in is None else asked + token.expires_in
        entry.token = token
        return token


def _ahead(token: Token) -> float:
    return _AHEAD if token.expires_in is None else min(_AHEAD, token.expires_in / 5)


def _last(token: Token) -> float:
    return _LAST if token.expires_in is None else min(_LAST, token.expires_in / 10)


def _is_renewing(entry: _Entry) -> bool:
    task = entry.task
    # A renewal on an event loop that has ended never finishes.
    return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()


def _retrieve(task: asyncio.Task[Token]) -> None:
    if not task.cancelled():
        task.exception()
