"""The example runs in a separate process, and prints the expected output."""

from __future__ import annotations

from pathlib import Path

from programs import run

EXAMPLES = Path(__file__).parents[1] / "examples"


async def test_the_example_of_tracing() -> None:
    """One trace with a call that is tried again and redirected, and one that expects its 404; no secret."""
    assert await run(EXAMPLES / "tracing.py") == [
        "INTERNAL greet",
        "  INTERNAL GET /users/{id}",
        "    * throttled: 503",
        "    * retry: 503",
        "    CLIENT GET /users/{id} 503 /7?key=REDACTED",
        "    CLIENT GET /users/{id} 302 /7?key=REDACTED (resend 1)",
        "    CLIENT GET 200 /7/profile (resend 2)",
        "  INTERNAL GET /users",
        "    CLIENT GET /users 404 ?name=REDACTED",
        "http.client.request.duration GET /users/{id} 503 x1",
        "http.client.request.duration GET /users/{id} 302 x1",
        "http.client.request.duration GET  200 x1",
        "http.client.request.duration GET /users 404 x1",
        "aioapiclient.call.duration GET /users/{id}  x1",
        "aioapiclient.call.duration GET /users  x1",
    ]
