"""The example of long-running operations runs in a separate process, and prints the expected output."""

from __future__ import annotations

from programs import EXAMPLES, run


async def test_the_example_of_operations() -> None:
    """Three kinds of operation end with their results, one fails, one times out, one is raw."""
    assert await run(EXAMPLES / "poll_operation.py") == [
        "Report(title='Tea', pages=12)",
        "Machine(name='m1', size=4)",
        "validating -> completed",
        "a line for each request",
        "failed: QuotaExceeded",
        "total: in_progress, 300.0 s more",
        "3 Milk",
    ]
