"""The usual outcomes of calls, and the usual acts."""

from __future__ import annotations

from typing import Any

from faults.rows import Act, Call, Ends, Place, gives, raises
from servers import turns

from aioapiclient import APIConnectionError

__all__ = ["both", "lost", "lost_once", "times"]


def both(ends: Ends) -> dict[str, Ends]:
    """The same for a method that may be repeated, and for one that may not."""
    return {"GET": ends, "POST": ends}


def lost(message: str = "", error: Any = APIConnectionError, **facts: Any) -> dict[str, Ends]:
    """Lost after sending, on every attempt: retried if the request may be repeated."""
    return {
        "GET": raises(error, message, sent=None, requests=3, **facts),
        "POST": raises(error, message, sent=None, requests=1, **facts),
    }


def lost_once(message: str = "", value: Any = None) -> dict[str, Ends]:
    """Lost after sending, once; then *value*, ``{}`` by default."""
    well = gives({} if value is None else value, requests=2)
    return {
        "GET": well,
        "PUT": well,
        "POST": raises(APIConnectionError, message, sent=None, requests=1),
        "POST idempotent": well,
        "POST with a key": well,
    }


def times(number: int, pause: bool = False) -> Act:
    """Make *calls* one after the other; return the last value. With a *pause*, pending input is read between
    them.
    """

    async def act(call: Call, place: Place) -> Any:
        value = None
        for _ in range(number):
            value = await call()
            if pause:
                await turns()
        return value

    return act
