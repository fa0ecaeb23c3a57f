"""The request was sent, and no answer comes, or not the one to this request."""

from __future__ import annotations

from faults.places import once, raw, relayed
from faults.rows import Call, Fault, Place, gives, raises
from servers import close, ok, respond

from aioapiclient import APIConnectionError, APITimeoutError, Timeout

__all__ = ["FAULTS"]


async def call_in_a_partition(call: Call, place: Place) -> object:
    """A call, then the same on the pooled connection while nothing passes any more."""
    await call()
    place.things["relay"].partition()
    return await call()


FAULTS: list[Fault] = [
    Fault(
        25,
        "a FIN after the request, once",
        raw(once(close())),
        {
            "GET": gives({}, requests=2),
            "POST": raises(APIConnectionError, "before it had answered", sent=None),
            "POST idempotent": gives({}, requests=2),
            "POST with a key": gives({}, requests=2),
        },
    ),
    Fault(
        36,
        "nothing passes any more, on a pooled connection",
        relayed(respond(ok())),
        {
            "GET": raises(APITimeoutError, "sent nothing", phase="read", sent=None),
        },
        act=call_in_a_partition,
        options={"timeout": Timeout(read=0.1)},
        heals=False,
    ),
]
