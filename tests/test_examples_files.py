"""examples/upload_parts.py and examples/download_resume.py run, and print the expected output."""

from __future__ import annotations

from programs import EXAMPLES, run

BAR = [f"  [{'#' * 5 * step:20}] {25 * step:3} %" for step in range(1, 5)]


async def test_the_example_of_uploads() -> None:
    """Eight parts are uploaded concurrently, one of them twice, then a form; each bar reaches its end,
    once.
    """
    assert await run(EXAMPLES / "upload_parts.py") == [
        "in eight parts:",
        *BAR,
        "  8388608 bytes, the same",
        "as a form:",
        *BAR,
        "  Tea, ['red', 'green'], tea.bin, cover.png",
        "  8388608 bytes, the same",
    ]


async def test_the_example_of_downloads() -> None:
    """A download continues after two breaks and is checked; one with another digest creates no file."""
    assert await run(EXAMPLES / "download_resume.py") == [
        "a server that hangs up twice:",
        "  4194304 bytes, progress 4194304",
        '  200 if None; 206 if "tea-1"; 206 if "tea-1";',
        "the same: True",
        "a file with a wrong digest:",
        "  refused; there is only tea",
    ]
