"""The pages about plugins are correct: every block of code runs (using `pages` of the library's tests)."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import PAGES, blocks_of, plugins_of, run_page

HOME = Path(__file__).parent
READMES = sorted(HOME.glob("*/README.md"))
OF_PLUGINS = [*READMES, *(page for page in PAGES if plugins_of(page))]


@pytest.mark.parametrize("path", OF_PLUGINS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_code_of_a_page_runs_and_prints_the_output_shown(path: Path) -> None:
    """Each ``python`` and ``pycon`` block of a plugin's README, or of a page that uses plugins, runs and
    prints its output.
    """
    assert blocks_of(path)
    run_page(path)
