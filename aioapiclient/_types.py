"""Types for options: sentinels, layers and `Timeout`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias, final

import msgspec

from ._checks import check_seconds, check_whole, kind_of

__all__ = ["NOT_GIVEN", "OMIT", "NotGiven", "Omit", "Timeout"]


class _Sentinel:
    __slots__ = ()
    _name = ""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        return self._name


@final
class NotGiven(_Sentinel):
    """The type of `NOT_GIVEN`: the argument was omitted, for arguments where None has its own meaning."""

    __slots__ = ()
    _name = "NOT_GIVEN"


@final
class Omit(_Sentinel):
    """The type of `OMIT`: removes a value that a lower layer (defaults, the library, auth) would send."""

    __slots__ = ()
    _name = "OMIT"


NOT_GIVEN: Final = NotGiven()
"""The argument was omitted; the next layer decides."""

OMIT: Final = Omit()
"""As the value of a header, a parameter or a field: do not send it, even if a lower layer sets it."""

HeaderLayer: TypeAlias = Mapping[str, str | Omit]
"""Headers of one layer; `OMIT` removes a header of lower layers."""

Params: TypeAlias = Mapping[str, Any]
"""Query parameters of one layer."""

# Any key, though only statuses, "4XX" and "default" are accepted: Mapping is invariant in its key, and a
# ``dict[int, type]`` in a variable is not a ``Mapping[int | str, Any]``.
ErrorTypes: TypeAlias = Mapping[Any, Any]
"""Types of error bodies by a status code, a range such as ``"4XX"``, or ``"default"``."""


class Timeout(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The limits of a call, in seconds. None removes a limit; an omitted limit is inherited from the client.

    The client's defaults are ``Timeout(total=600, attempt=None, connect=5, read=60, write=60, pool=None)``:
    ten minutes for the whole call, and five seconds to reach a server.

    Args:
        total: The whole call, waits and redirects included. On a stream the client's own total covers
            the time until the head arrives; a total given with the call covers the whole stream.
        attempt: One attempt including its body; on a stream, until the head arrives. It is retried.
        connect: DNS, TCP and TLS together, for one new connection.
        read: The longest silence of the server, before the head or between two pieces of the body; 300 by
            default on streams.
        write: The longest stall while the request body is sent.
        pool: The wait for a free connection when all are in use.

    Raises:
        InvalidRequestError: A limit is 0 or below, NaN or infinite.
        TypeError: A limit is not a number.
    """

    total: float | None | NotGiven = NOT_GIVEN
    """The limit of the whole call. On a stream the client's own total ends when the head arrives."""

    attempt: float | None | NotGiven = NOT_GIVEN
    """The limit of one attempt including its body; on a stream, until the head arrives."""

    connect: float | None | NotGiven = NOT_GIVEN
    """The limit for DNS, TCP and TLS together, for one new connection."""

    read: float | None | NotGiven = NOT_GIVEN
    """The longest silence of the server, before the head or between two pieces of the body."""

    write: float | None | NotGiven = NOT_GIVEN
    """The longest stall while the request body is sent."""

    pool: float | None | NotGiven = NOT_GIVEN
    """The longest wait for a free connection."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and value is not NOT_GIVEN:
                check_seconds(f"Timeout {name}", value, positive=True, hint="None removes the limit")

    def over(self, base: Timeout) -> Timeout:
        """Return this timeout with the limits that it omits taken from *base*.

        Args:
            base: The timeout to inherit from.

        Returns:
            A new timeout, or *base* itself if this one omits every limit.
        """
        given = {name: value for name, value in self._items() if not isinstance(value, NotGiven)}
        return msgspec.structs.replace(base, **given) if given else base

    def _items(self) -> Iterable[tuple[str, Any]]:
        return ((name, getattr(self, name)) for name in self.__struct_fields__)


NO_TIMEOUT: Final = Timeout(total=None, attempt=None, connect=None, read=None, write=None, pool=None)
DEFAULT_TIMEOUT: Final = Timeout(total=600.0, attempt=None, connect=5.0, read=60.0, write=60.0, pool=None)
# The silence between two events of a stream may be longer than the wait for an ordinary response.
STREAM_TIMEOUT: Final = Timeout(read=300.0).over(DEFAULT_TIMEOUT)


def as_timeout(value: Timeout | float | None) -> Timeout:
    """Return *value* as a `Timeout`: a number is ``total``, None removes every limit."""
    if isinstance(value, Timeout):
        return value
    if value is None:
        return NO_TIMEOUT
    _refuse_other_timeouts(value)
    return Timeout(total=value)


def _refuse_other_timeouts(value: object) -> None:
    kind = "" if type(value) in (int, float) else kind_of(value)
    if kind in _OTHER_TIMEOUTS:
        raise TypeError(f"timeout must be an aioapiclient.Timeout, not {kind}: {_OTHER_TIMEOUTS[kind]}")


_OTHER_TIMEOUTS: Final = {
    "aiohttp.ClientTimeout": "its sock_connect is named connect here, its sock_read is named read",
    "aiohttp.ClientWSTimeout": "it is for WebSockets",
    "httpx.Timeout": "connect, read, write and pool have the same names here; total limits the whole call",
}


def check_max_retries(value: object) -> int:
    """Return *value* if it is a number of retries: an int of 0 or more."""
    return check_whole("max_retries", value, hint="0 switches retries off")


Pick: TypeAlias = str | Callable[[Any], Any]
"""The name of a member of a body, with dots for nested members, or a function of the plain data."""

Sleep: TypeAlias = Callable[[float], Awaitable[object]]
"""``asyncio.sleep``, or a replacement in a test."""
