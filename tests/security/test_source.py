"""Constructs that the package's own source never uses."""

from __future__ import annotations

import ast
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import Client, Script, text

import aioapiclient
from aioapiclient import APIResponseValidationError, Body

SOURCES = sorted(Path(aioapiclient.__file__).parent.rglob("*.py"))


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Every node of the source, with its file."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_bytes())):
            yield path.name, node


def imported() -> set[str]:
    """Every module that the source imports, `importlib.import_module` included."""
    found: set[str] = set()
    for _, node in nodes():
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Call) and _name(node.func).endswith("import_module"):
            found.update(str(arg.value) for arg in node.args if isinstance(arg, ast.Constant))
    return found


def _name(node: ast.AST) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def called() -> set[str]:
    """The name of every called function."""
    return {_name(node.func) for _, node in nodes() if isinstance(node, ast.Call)}


def test_nothing_that_came_is_run_or_unpickled() -> None:
    """Nothing is unpickled, evaluated or executed: `pickle` is only used to check whether it could (P18)."""
    assert {"marshal", "shelve", "dill", "subprocess", "ctypes", "code"}.isdisjoint(imported())
    assert {
        "eval",
        "exec",
        "compile",
        "os.system",
        "os.popen",
        "yaml.load",
        "yaml.unsafe_load",
        "__import__",
    }.isdisjoint(called())
    assert {name for name in called() if name.startswith("pickle.")} == {"pickle.dumps"}


TAGS = [
    b"!!python/object/apply:os.system ['exit 1']",
    b"!!python/object/new:os.system ['exit 1']",
    b"!!python/name:os.system",
    b"!!python/module:os",
    b"a: &a [x]\nb: [*a, *a]",
]


@pytest.mark.parametrize("body", TAGS)
async def test_yaml_makes_plain_data_only(body: bytes) -> None:
    """A YAML body that names Python objects, or has aliases, is refused (P18)."""
    async with Client("https://h", transport=Script(text(body.decode(), "application/yaml"))) as api:
        with pytest.raises(APIResponseValidationError):
            await api.get("/", Any)


def test_no_trust_store_comes_along() -> None:
    """The package contains no store of certificates: the system's is used, or that of the user's context
    (P22).
    """
    assert not {module for module in imported() if module.partition(".")[0] in {"certifi", "truststore"}}
    assert not {
        path for path in Path(aioapiclient.__file__).parent.rglob("*") if path.suffix in {".pem", ".crt"}
    }
    assert not {
        name for name in called() if name.endswith(("load_verify_locations", "_create_unverified_context"))
    }
    for _, node in nodes():
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"CERT_NONE", "check_hostname"}


def test_no_temporary_file_is_made() -> None:
    """No file is created in a shared folder: a download is written beside its target (P24).

    If the target's folder does not allow new files, it is written to an unnamed file there.
    """
    used = {(file, _name(node)) for file, node in nodes() if _name(node).startswith("tempfile.")}
    assert used == {("targets.py", "tempfile.TemporaryFile")}
    opened = [node for _, node in nodes() if isinstance(node, ast.Call) and _name(node.func) == "open"]
    modes = {
        (ast.literal_eval(node.args[1]), *(ast.unparse(k.value) for k in node.keywords)) for node in opened
    }
    # "x" follows no link and opens no existing file; the opener creates and empties none.
    assert modes == {("rb",), ("x+b",), ("wb", "_open_as_it_is")}


def test_nothing_is_named_by_chance() -> None:
    """Boundaries, keys and the names of part files are random bits of the system's, not of `random` (P25)."""
    made: set[str] = set()
    for _ in range(3):
        random.seed(1)
        body = Body.from_multipart({"f": b"x"})
        made.add(str(body.content_type))
        made.add(aioapiclient.AsyncAPIClient("https://h")._idempotency_key())
    assert len(made) == 6


def test_the_boundary_is_the_systems_randomness(monkeypatch: pytest.MonkeyPatch) -> None:
    """A multipart boundary is 128 bits of `os.urandom`, which `secrets` stands on too (P25)."""
    asked: list[int] = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return b"\xab" * size

    monkeypatch.setattr(os, "urandom", urandom)
    assert str(Body.from_multipart({"f": b"x"}).content_type).endswith("ab" * 16)
    assert asked == [16]


def test_no_assert_guards_anything() -> None:
    """The package has no `assert`, so ``python -O`` removes no check (P26)."""
    assert not [f"{file}:{node.lineno}" for file, node in nodes() if isinstance(node, ast.Assert)]


def test_guards_hold_under_optimisation() -> None:
    """``python -O`` refuses the same values (P26)."""
    program = """
from aioapiclient import APIRequest, AsyncAPIClient, AiohttpTransport, InvalidRequestError
from aioapiclient.testing import FakeTransport
assert False, "not optimised"
refused = 0
for make in (
    lambda: APIRequest("GET", "https://h", headers={"A": "b\\r\\nc"}),
    lambda: APIRequest("GET", "https://u:p@h"),
    lambda: AsyncAPIClient("ftp://h"),
    lambda: AiohttpTransport(ssl=False),
):
    try:
        make()
    except InvalidRequestError:
        refused += 1
print(refused)
"""
    ran = subprocess.run(
        [sys.executable, "-O", "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == "4"
