"""examples/language_model.py, a complete SDK, runs in a separate process, and prints the expected output."""

from __future__ import annotations

from programs import EXAMPLES, run


async def test_the_example_of_a_language_model() -> None:
    """The output of the program shows each feature of the SDK."""
    assert await run(EXAMPLES / "language_model.py") == [
        # Pages: one by hand, then one item after the other over all of them.
        "first page: budgie dodo, and more",
        "all models: budgie dodo kakapo macaw parakeet",
        # A typed value.
        "macaw: Polly wants a cracker (4 tokens)",
        # A union of events, one of which is new, up to [DONE].
        "start of message-6",
        "  Polly",
        "  wants",
        "  a",
        "stop after 3 tokens",
        "skipped: 1",
        # A raw response: an overloaded server is called again, although it is a POST.
        "Polly wants a cracker (req-8, 1 retry)",
        "requests left: 42",
        # One class for an overload in the status and in the stream, and the earlier values are kept.
        "status: OverloadedError 529 overloaded_error",
        "stream: OverloadedError 200 overloaded_error, after 'Polly'",
        # An error that every API has.
        "refused: 401 authentication_error",
    ]
