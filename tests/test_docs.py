"""README and docs/ are correct: every block of code runs, or is part of a file that does (`pages`)."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from pages import API, CHECKOUT, DIRECTIVE, FENCE, PAGES, README, blocks_of, plugins_of, run_page
from yarl import URL

import aioapiclient.errors
from aioapiclient import AsyncAPIClient, AsyncAPIResponse, per_attempt, per_send
from aioapiclient.contract import APIRequest, Handler

IDS = [page.name for page in PAGES]
# The others need a plugin: middleware/test_pages.py runs them.
OF_THE_LIBRARY = [page for page in PAGES if not plugins_of(page)]
REPOSITORY = URL("https://github.com/aioapiclient/aioapiclient/blob/main/")

_LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)


@pytest.mark.parametrize("path", OF_THE_LIBRARY, ids=lambda path: path.name)
def test_the_code_of_a_page_runs_and_prints_the_output_shown(path: Path) -> None:
    """Each ``python`` and ``pycon`` block of a page has the result that the page shows."""
    run_page(path)


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_no_block_of_a_page_goes_unchecked(path: Path) -> None:
    """A block is run, or is a piece of a file, except README's commands and its picture."""
    unchecked = [b for b in blocks_of(path) if b.file is None and b.language not in ("python", "pycon")]

    expected = {"README.md": ["console", "text", "sh", "sh"], "tutorial.md": ["console"]}.get(path.name, [])
    assert [block.language for block in unchecked] == expected


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_a_piece_of_a_file_stands_in_that_file(path: Path) -> None:
    """A block under ``<!-- file -->`` is in the file, word for word."""
    for block in blocks_of(path):
        if block.file is not None:
            file = CHECKOUT / block.file
            assert file.is_file(), f"{path.name}:{block.line} names {block.file}"
            assert block.text in file.read_text(encoding="utf-8"), (
                f"{path.name}:{block.line} differs from {block.file}"
            )


# --- links


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = [m["title"].lower() for m in _HEADING.finditer(prose)]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", [*PAGES, CHECKOUT / "CHANGELOG.md"], ids=[*IDS, "CHANGELOG.md"])
def test_the_links_of_a_page_lead_somewhere(path: Path) -> None:
    """A link to a file or to a heading of a page finds it."""
    prose = FENCE.sub("", path.read_text(encoding="utf-8"))
    for match in _LINK.finditer(prose):
        target = URL(match["target"])
        if str(target).startswith(str(REPOSITORY)):
            assert (CHECKOUT / str(target).removeprefix(str(REPOSITORY))).is_file(), f"{path.name}: {target}"
        if target.scheme:
            continue
        file = (path.parent / target.path).resolve() if target.path else path
        assert file.exists(), f"{path.name}: {target}"
        if target.fragment and file.suffix == ".md":
            assert target.fragment in anchors_of(file), f"{path.name}: {target}"


def test_every_page_is_in_the_index() -> None:
    """docs/index.md names every page of docs/."""
    index = (CHECKOUT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = {match["target"] for match in _LINK.finditer(index)}

    assert {page.name for page in PAGES if page.parent.name == "docs"} - {"index.md"} <= linked


# --- the picture

_LINK_OF_CHAIN = re.compile(r"\w+Middleware|your (?:\w+ )?middlewares|\w*[Tt]ransport")


def _drawn() -> list[tuple[int, str]]:
    """Return the middlewares of the chain in README's picture, with their zones."""
    picture = next(block.text for block in blocks_of(README) if block.language == "text").splitlines()
    header = next(line for line in picture if "once per attempt" in line)
    bars = [match.start() for match in re.finditer(":", header)]
    return [
        (sum(bar < match.start() for bar in bars), match[0])
        for line in picture
        for match in _LINK_OF_CHAIN.finditer(line)
    ]


def _explained() -> list[tuple[int, str]]:
    """The same as `client.explain()` prints them."""

    async def your_middlewares(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        return await handler(request)

    async def your_per_attempt_middlewares(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        return await handler(request)

    async def your_per_send_middlewares(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        return await handler(request)

    yours = [your_middlewares, per_attempt(your_per_attempt_middlewares), per_send(your_per_send_middlewares)]
    links, zone = [], 0
    for line in AsyncAPIClient(API, middlewares=yours).explain().splitlines():
        links.append(
            (zone, line.split()[0].replace("_middlewares", " middlewares").replace("your_", "your "))
        )
        zone += "below: once per" in line
    return links


def test_the_picture_is_the_chain() -> None:
    """README's picture has the links that `client.explain()` prints, in its order and in its zones."""
    assert [(zone, name.replace("AiohttpTransport", "transport")) for zone, name in _explained()] == _drawn()


# --- the two commands


def command_under(heading: str) -> str:
    """Return the only line of the only block under a heading of README, as .ci/run finds it."""
    section = re.split(rf"^## {heading}$", README.read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    fences = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert len(fences) == 1
    lines: list[str] = fences[0].splitlines()
    assert len(lines) == 1
    return lines[0]


def test_run_it_runs_the_quickstart() -> None:
    """README's "Run it" is one line that installs into .venv and runs examples/quickstart.py."""
    command = command_under("Run it")

    assert command.endswith(".venv/bin/python examples/quickstart.py")
    assert "PIP_NO_CACHE_DIR=1" in command


def test_test_it_runs_the_matrix() -> None:
    """README's "Test it" is one line that installs tox into .venv and runs it."""
    command = command_under("Test it")

    assert ".venv/bin/tox" in command
    assert "PIP_NO_CACHE_DIR=1" in command


@pytest.mark.parametrize("door", ["aioapiclient", "errors", "middleware", "streaming", "testing"])
def test_every_public_name_is_in_the_reference(door: str) -> None:
    """The site's reference has an entry for each name of a public module; that of a plugin lists them
    itself.
    """
    module = importlib.import_module("aioapiclient" if door == "aioapiclient" else f"aioapiclient.{door}")
    entries = "\n".join(page.read_text() for page in (CHECKOUT / "docs" / "reference").glob("*.rst"))
    named = set(re.findall(r"^\.\. auto(?:class|function|data):: (\w+)$", entries, re.MULTILINE))
    errors = set(aioapiclient.errors.__all__) if "automodule:: aioapiclient.errors" in entries else set[str]()

    assert set(module.__all__) - named - errors - {"__version__"} == set()


def test_every_page_is_in_the_navigation() -> None:
    """No page of the site is an orphan."""
    index = (CHECKOUT / "docs" / "index.md").read_text()
    listed = {line for block in DIRECTIVE.findall(index) for line in block.splitlines()}
    root = CHECKOUT / "docs"
    pages = {str(p.relative_to(root).with_suffix("")) for p in [*root.rglob("*.md"), *root.rglob("*.rst")]}

    assert pages - {"index"} - listed == set()


@pytest.mark.parametrize("word", ["OAuth", "GraphQL", "Prometheus", "rate limit", "pydantic"])
def test_a_recipe_is_found_by_the_word_that_people_search(word: str) -> None:
    """The cookbook has a heading with each of the words, and the index names them beside its link."""
    cookbook = FENCE.sub("", (CHECKOUT / "docs" / "cookbook.md").read_text(encoding="utf-8"))
    index = (CHECKOUT / "docs" / "index.md").read_text(encoding="utf-8")
    entry = next(line for line in index.splitlines() if "(cookbook.md)" in line)

    assert any(word in title for title in _HEADING.findall(cookbook))
    assert word in entry
