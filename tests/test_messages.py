"""Error messages begin alike: in lower case, or with a name."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import CHECKOUT

import aioapiclient

SOURCES = [
    *Path(aioapiclient.__file__).parent.rglob("*.py"),
    *CHECKOUT.glob("middleware/*/src/**/*.py"),
]

PROPER_NAMES = {"NaN"}
# Public classes whose name in a message is the common noun.
NOUNS = {"Handler", "Middleware", "Unknown"}

_ERROR = re.compile(r"[A-Z]\w*Error|.*\bvalidation_error")
_WORD = re.compile(r"[\w-]+")
_ACRONYM = re.compile(r"[A-Z][A-Z0-9]+")
_FIELD = "\0"  # stands for an interpolated value


def test_messages_begin_in_lower_case_or_with_a_name() -> None:
    """The first word of an error message is in lower case, an interpolated value, or a name; no period ends
    a part.
    """
    trees = {path: ast.parse(path.read_bytes()) for path in SOURCES}
    names = {name for tree in trees.values() for name in public_names(tree)}
    names |= {*dir(builtins), *PROPER_NAMES}

    wrong = [
        f"{path.name}:{line}: {text}"
        for path, tree in trees.items()
        for line, text in messages(tree)
        if not is_uniform(text, names - NOUNS)
    ]

    assert wrong == []


def public_names(tree: ast.Module) -> Iterator[str]:
    """The names in the ``__all__`` of a module."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            yield from (str(one.value) for one in ast.walk(node.value) if isinstance(one, ast.Constant))


def messages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each text that is written where an error is raised or created, and its line."""
    for node in ast.walk(tree):
        for text in written(node):
            yield text.lineno, "".join(pieces(text))


def written(node: ast.AST) -> Iterator[ast.expr]:
    """The texts of errors in one node: the first argument, a default, or a variable for it."""
    found: list[ast.expr] = []
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        found += node.exc.args[:1]
    elif isinstance(node, ast.Call) and _ERROR.fullmatch(ast.unparse(node.func)):
        found += node.args[:1]
    elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "message":
        found.append(node.value)
    elif isinstance(node, ast.arguments):
        defaults = zip(reversed(node.args), reversed(node.defaults), strict=False)
        found += [default for argument, default in defaults if argument.arg == "message"]
    yield from (text for text in found if isinstance(text, ast.Constant | ast.JoinedStr) and _is_text(text))


def _is_text(node: ast.Constant | ast.JoinedStr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node.value, str) and node.value != "")


def pieces(text: ast.expr) -> Iterator[str]:
    """The parts of a text, with a mark for each interpolated value."""
    for part in text.values if isinstance(text, ast.JoinedStr) else [text]:
        yield str(part.value) if isinstance(part, ast.Constant) else _FIELD


def is_uniform(text: str, names: set[str]) -> bool:
    """Whether *text* begins and ends as a message should."""
    if re.search(r"\.$|\. [A-Z]", text):
        return False
    first = _WORD.search(text)
    if first is None or _FIELD in text[: first.start()]:
        return True
    word = first[0]
    return word[0].islower() or word in names or "-" in word or _ACRONYM.fullmatch(word) is not None


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("raise ValueError('timeout must be above 0')", True),
        ("raise ValueError(f'{name} must be above 0')", True),
        ("raise ValueError(f'--{name} must be above 0')", True),
        ("raise ValueError('Timeout connect must be above 0')", True),
        ("raise ValueError('Content-Type must be multipart')", True),
        ("raise ValueError('URL must have a host')", True),
        ("raise ValueError('The timeout must be above 0')", False),
        ("raise ValueError('A timeout must be above 0')", False),
        ("raise ValueError(f'Middleware {name} is not async')", False),
        ("raise response.validation_error('The body is empty')", False),
        ("error = APIError('Not sent')", False),
        ("message = 'Not sent'", False),
        ("def __init__(self, message='Not sent', *, final=False): ...", False),
        ("raise ValueError('the body is empty.')", False),
        ("raise ValueError('the body is empty. Send one')", False),
        ("raise ValueError(f'the body is {size}.')", False),
    ],
)
def test_the_check_recognises_other_messages(statement: str, expected: bool) -> None:
    """The check itself finds a text wherever an error can take it, and accepts names."""
    found = [text for _, text in messages(ast.parse(statement))]

    assert [is_uniform(text, {"Timeout"}) for text in found][:1] == [expected]
