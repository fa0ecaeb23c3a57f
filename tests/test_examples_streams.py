"""The example of typed streams runs in a separate process, and prints the expected output."""

from __future__ import annotations

from programs import EXAMPLES, run


async def test_the_example_of_streams() -> None:
    """A union skips new types, an error ends its stream, a cut log is resumed, and a loop can be left
    early.
    """
    assert await run(EXAMPLES / "stream_events.py") == [
        "text: Earl",
        "text: Grey",
        "tokens: 2",
        "skipped: 1",
        "text: Earl",
        "failed after 1: overloaded_error",
        "log: 1 2 3 4 5 6 7 8",
        "TEA: 100.5",
        "TEA: 101.5",
        'delta: {"type":"delta","text":"Earl"}',
        'audio: {"type":"audio","url":"/a.ogg"}',
        'delta: {"type":"delta","text":"Grey"}',
        'usage: {"type":"usage","tokens":2}',
        "message: [DONE]",
    ]
