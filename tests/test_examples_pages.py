"""examples/walk_pages.py runs, and walks its pages over real connections."""

from __future__ import annotations

from programs import EXAMPLES, run


async def test_the_pages_example() -> None:
    """Every kind of list is walked to its end, and the archive elsewhere sees no credential."""
    assert await run(EXAMPLES / "walk_pages.py") == [
        "all users, item by item:",
        *("  0 ada", "  1 bob", "  2 cyd", "  3 dan", "  4 eve", "  5 fay", "  6 gus"),
        "five of them, with the next page prefetched:",
        "  ada bob cyd dan eve",
        "page by page:",
        "  page 1 of 3: 3 users",
        "  page 2 of 3: 3 users",
        "  page 3 of 3: 1 users",
        "by hand:",
        "  ['Black tea'] True",
        "  ['Green tea'] False",
        "a feed that computes its next page:",
        "  [9, 8, 7, 6, 5, 4, 3, 2, 1]",
        "Link headers, which lead to another origin:",
        "  ['new'] (with a credential)",
        "  ['old', 'older'] (without a credential)",
    ]
