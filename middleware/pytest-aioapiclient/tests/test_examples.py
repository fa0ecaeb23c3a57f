"""The README and the docs are correct: the test files shown there pass on their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HOME = Path(__file__).parents[1]
INI = "[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of a page in a language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_first_example_of_the_readme(pytester: pytest.Pytester) -> None:
    """The README's test file, pasted, passes with the command shown below it."""
    pytester.makeini(INI)
    pytester.makepyfile(test_greetings=blocks(HOME / "README.md", "python")[0])
    command = next(line for line in blocks(HOME / "README.md", "console")[1].splitlines() if "pytest" in line)

    assert command.startswith("$ pytest ")
    pytester.runpytest_subprocess(*command.split()[2:]).assert_outcomes(passed=2)


def test_the_cassette_of_the_readme(pytester: pytest.Pytester) -> None:
    """The line that the README shows is a cassette for the test that it shows."""
    pytester.makeini(INI + "asyncio_mode = auto\n")
    test = "from aioapiclient import AsyncAPIClient\n" + blocks(HOME / "README.md", "python")[1]
    pytester.makepyfile(test_me=test)
    folder = pytester.mkdir("cassettes") / "test_me"
    folder.mkdir()
    (folder / "test_me.jsonl").write_text(blocks(HOME / "README.md", "json")[0], encoding="utf-8")

    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_the_refusal_of_the_readme(pytester: pytest.Pytester) -> None:
    """The refusal shown in the README is the output of a test."""
    pytester.makeini(INI + "asyncio_mode = auto\n")
    pytester.makepyfile(
        """
        async def test_it(mock_api, api_client):
            mock_api.post("/users")
            mock_api.get("/users/{id}", params={"page": 1})
            await api_client().get("/users/7", params={"page": 2})
        """
    )

    output = pytester.runpytest_inprocess().stdout.str()

    shown = "\n".join(line.removeprefix("E").lstrip() for line in output.splitlines())
    for line in blocks(HOME / "README.md", "text")[0].splitlines():
        assert line.strip() in shown


@pytest.mark.parametrize("name", ["test_greetings.py", "test_mocked.py"])
def test_the_examples_pass(pytester: pytest.Pytester, name: str) -> None:
    """Each example is a test file that passes on its own, with its cassettes beside it."""
    pytester.makeini(INI + "asyncio_mode = auto\n")
    pytester.makepyfile(**{name[:-3]: (HOME / "examples" / name).read_text(encoding="utf-8")})
    folder = pytester.mkdir("cassettes")
    for tape in (HOME / "examples" / "cassettes").iterdir():
        (folder / tape.name).write_bytes(tape.read_bytes())

    result = pytester.runpytest_inprocess()

    assert result.ret == pytest.ExitCode.OK
    assert result.parseoutcomes()["passed"] >= 2
