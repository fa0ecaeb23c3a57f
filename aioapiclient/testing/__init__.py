"""Tools for tests: a transport that answers from a list, a clock that tests set, and `check_middleware`.

::

    transport = FakeTransport(respond(503), respond(200, json={"id": 7}))
    clock = FakeClock()
    retry = RetryMiddleware(sleep=clock.sleep)

    response = await retry(APIRequest("GET", "https://api.example.com/users/7"), transport)

    assert await response.json() == {"id": 7}
    assert len(transport.requests) == 2 and transport.open_responses == 0

Pass a `FakeTransport` to a middleware, as here, or to a client: ``AsyncAPIClient(..., transport=transport)``.
This module opens no socket and never reads the real time.
"""

from __future__ import annotations

from ._check import check_middleware
from ._clock import FakeClock
from ._sent import SentFile, SentRequest
from ._transport import Answer, FakeTransport, respond

__all__ = [
    "Answer",
    "FakeClock",
    "FakeTransport",
    "SentFile",
    "SentRequest",
    "check_middleware",
    "respond",
]
