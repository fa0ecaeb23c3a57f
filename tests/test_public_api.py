"""The public names: which ones exist, in which public and defining modules, and the effects of an import."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import aioapiclient

PACKAGE = Path(aioapiclient.__file__).parent

ERRORS = {
    "APIClientError", "APIConnectionError", "APIError", "APIResponseValidationError", "APIStatusError",
    "APIStreamError", "APITimeoutError", "AuthenticationError", "BadGatewayError", "BadRequestError",
    "BodyTooLargeError", "CircuitOpenError", "ClientClosedError", "ConcurrencyLimitError", "ConflictError",
    "ContentTooLargeError", "GatewayTimeoutError", "GoneError", "InternalServerError",
    "InvalidRequestError", "NotFoundError", "OperationFailedError", "PermissionDeniedError",
    "PreconditionFailedError", "RateLimitError", "RequestNotReplayableError", "RequestTimeoutError",
    "RetryableError", "ServerNotImplementedError", "ServiceUnavailableError", "StreamConsumedError",
    "ThrottledError", "TooManyRedirectsError", "UnprocessableEntityError",
}  # fmt: skip

# The public modules and their names, and further classes that users receive: ClientOptions, ProblemDetails,
# the errors of long-running operations and of the circuit breaker.
DOORS = {
    "aioapiclient": ERRORS
    | {
        "__version__", "AiohttpTransport", "APIKeyAuth", "APIRequest", "AsyncAPIClient",
        "AsyncAPIResource", "AsyncAPIResponse", "AsyncPage", "AsyncPaginator", "AsyncStream", "Auth",
        "BaseAPIResponse", "BasicAuth", "BearerAuth", "Body", "CallOptions", "ClientOptions", "ClientStats",
        "CursorPage", "default_chain", "FilePart", "Handler", "JSONLStream", "LinkHeaderPage",
        "load_middleware", "Middleware", "NextURLPage", "NOT_GIVEN", "NotGiven", "NumberedPage",
        "OffsetPage", "Omit", "OMIT", "Open", "PageInfo", "per_attempt", "per_send", "ProblemDetails",
        "QueryStyle", "raw_response", "RequestOptions", "RetryBudget", "RetryPolicy", "SSEStream",
        "streaming_response", "Timeout", "Token", "TokenCache", "Unknown",
    },
    "aioapiclient.contract": {
        "APIRequest", "AsyncAPIResponse", "Auth", "Body", "BoundedDict", "Handler", "Middleware", "Token",
        "TokenCache", "check_flag", "check_function", "check_header_names", "check_number", "check_seconds",
        "check_whole", "per_attempt", "per_send", "serves_several",
    },
    "aioapiclient.errors": ERRORS | {"ConnectionReason", "TimeoutPhase"},
    "aioapiclient.middleware": {
        "AuthMiddleware", "DeadlineMiddleware", "DecodingMiddleware", "HeadersMiddleware",
        "RedirectMiddleware", "RetryMiddleware", "TimeoutMiddleware",
    },
    "aioapiclient.streaming": {
        "AsyncStream", "JSONLDecoder", "JSONLStream", "ReconnectPolicy", "SSEDecoder", "SSEStream",
        "ServerSentEvent",
    },
    "aioapiclient.testing": {
        "Answer",
        "FakeClock",
        "FakeTransport",
        "SentFile",
        "SentRequest",
        "check_middleware",
        "respond",
    },
}  # fmt: skip

# Names in `aioapiclient` that another public module has too: they are re-exported once.
OTHER_DOORS = (
    "aioapiclient.contract",
    "aioapiclient.errors",
    "aioapiclient.middleware",
    "aioapiclient.streaming",
    "aioapiclient.testing",
)


def modules() -> list[str]:
    """Every module of the package."""
    return ["aioapiclient", *(found.name for found in pkgutil.walk_packages([str(PACKAGE)], "aioapiclient."))]


def source_of(name: str) -> ast.Module:
    """The source of a module, parsed."""
    path = importlib.import_module(name).__file__
    assert path is not None
    return ast.parse(Path(path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("door", DOORS)
def test_a_door_has_the_names_of_the_design(door: str) -> None:
    """Each public module exports exactly the promised names."""
    assert set(importlib.import_module(door).__all__) == DOORS[door]


@pytest.mark.parametrize("module", modules())
def test_all_is_sorted_and_true(module: str) -> None:
    """`__all__` of every module is sorted, has no duplicates, and every name in it exists."""
    imported = importlib.import_module(module)
    names: list[str] = getattr(imported, "__all__", [])

    assert len(names) == len(set(names))
    assert sorted(names) == sorted(set(names) & set(dir(imported)))
    assert names == sorted(names, key=isort_key)


def isort_key(name: str) -> tuple[int, str]:
    """Ruff's order of `__all__`: constants, then classes, then the rest, each by name."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, name


@pytest.mark.parametrize("door", DOORS)
def test_a_name_is_the_same_at_every_door(door: str) -> None:
    """A name that two public modules have is the same object."""
    other = importlib.import_module(door)
    shared = set(other.__all__) & set(aioapiclient.__all__)

    assert all(getattr(other, name) is getattr(aioapiclient, name) for name in shared)


def test_a_name_has_one_home() -> None:
    """Every class and function in `aioapiclient` is defined in one module, which exports it itself."""
    for name in aioapiclient.__all__:
        thing: Any = getattr(aioapiclient, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)) or typing.get_origin(thing) is not None:
            continue
        home = sys.modules[thing.__module__]
        assert getattr(home, name) is thing, name
        assert name in getattr(home, "__all__", [name]), f"{name} is not in the __all__ of {home.__name__}"


def test_a_name_is_reexported_at_most_once() -> None:
    """Besides its own module and `aioapiclient`, at most one public module has a name."""
    for name in aioapiclient.__all__:
        doors = [door for door in OTHER_DOORS if name in importlib.import_module(door).__all__]
        assert len(doors) <= 1, (name, doors)


def test_the_door_only_opens() -> None:
    """`aioapiclient/__init__.py` has only imports, late ones too, and `__all__`."""
    body = source_of("aioapiclient").body
    (late,) = (node for node in body if isinstance(node, ast.If))
    kinds = {type(node) for node in body if node is not late}

    assert kinds == {ast.Expr, ast.ImportFrom, ast.Assign}
    assert {type(node) for node in late.body} == {ast.ImportFrom}
    assert {type(node) for node in late.orelse} == {ast.Assign}


@pytest.mark.parametrize("package", ["aioapiclient", "aioapiclient.streaming", "aioapiclient._pagination"])
def test_late_names_are_those_that_checkers_see(package: str) -> None:
    """A package imports late what it imports for type checkers, from the same modules."""
    (late,) = (node for node in source_of(package).body if isinstance(node, ast.If))
    seen = {
        alias.name: f".{node.module}"
        for node in late.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (places,) = (ast.literal_eval(node) for node in ast.walk(late) if isinstance(node, ast.Dict))

    assert seen == places
    assert seen.keys() <= set(importlib.import_module(package).__all__)


LATE = (
    "aioapiclient._body.multipart",
    "aioapiclient._client.polling",
    "aioapiclient._client.raw_response",
    "aioapiclient._client.resource",
    "aioapiclient._download",
    "aioapiclient._pagination.",
    "aioapiclient.streaming.",
)
LAZY = () if sys.version_info < (3, 15) else ("aioapiclient._transport", "aioapiclient._codecs.failures")


def test_features_are_imported_when_they_are_used() -> None:
    """Importing the package does not load streams, pages, downloads and forms; their names load them."""
    code = f"""
import sys, aioapiclient
loaded = [name for name in sys.modules if name.startswith({LATE + LAZY!r})]
assert not loaded, loaded
assert set(aioapiclient.__all__) <= set(dir(aioapiclient))
assert not hasattr(aioapiclient, "Nothing")
from aioapiclient import LinkHeaderPage
assert vars(aioapiclient)["LinkHeaderPage"] is LinkHeaderPage
from aioapiclient import *
assert OffsetPage.__module__ == "aioapiclient._pagination.kinds"
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("module", modules())
def test_lazy_modules_are_imported_by_their_file(module: str) -> None:
    """A file imports, at its top, each module that its `__lazy_modules__` names for Python 3.15 (PEP 810)."""
    source = source_of(module)
    package = importlib.import_module(module).__package__
    imported = {
        importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        for node in source.body
        if isinstance(node, ast.ImportFrom)
    }
    lazy = getattr(importlib.import_module(module), "__lazy_modules__", ())

    assert set(lazy) <= imported
    assert list(lazy) == sorted(lazy)


def test_all_and_the_imports_of_the_door_agree() -> None:
    """`aioapiclient` exports everything that it imports."""
    imported = {
        alias.asname or alias.name
        for node in ast.walk(source_of("aioapiclient"))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert imported - {"TYPE_CHECKING", "_late_names"} == set(aioapiclient.__all__)


def test_the_types_are_marked() -> None:
    """The package contains `py.typed`."""
    assert (PACKAGE / "py.typed").is_file()


def test_the_version_is_a_release_number() -> None:
    """`__version__` is the version of the distribution."""
    assert all(part.isdigit() for part in aioapiclient.__version__.split("."))


@pytest.mark.parametrize("door", DOORS)
def test_everything_public_is_documented(door: str) -> None:
    """Every public class and function has its own docstring, and so have its public methods."""
    module = importlib.import_module(door)
    missing = [name for name in module.__all__ for name in undocumented(name, getattr(module, name))]

    assert not missing


def undocumented(name: str, thing: Any) -> list[str]:
    """The public objects without a docstring."""
    if inspect.isfunction(thing):
        return [] if thing.__doc__ else [name]
    if not inspect.isclass(thing) or not thing.__module__.startswith("aioapiclient"):
        return []
    own = {f"{name}.{member}": value for member, value in vars(thing).items() if not member.startswith("_")}
    methods = {
        path: value for path, value in own.items() if inspect.isfunction(value) or isinstance(value, property)
    }
    return [path for path, value in {name: thing, **methods}.items() if not value.__doc__]


@pytest.mark.parametrize("kind", [aioapiclient.AsyncAPIClient, aioapiclient.AsyncAPIResponse])
def test_annotations_can_be_evaluated(kind: type[Any]) -> None:
    """The annotations of public methods name only what exists at run time, for programs that read them."""
    methods = {name: value for name, value in vars(kind).items() if inspect.isfunction(value)}
    for name, method in methods.items():
        if not name.startswith("_"):
            assert "return" in typing.get_type_hints(method)


@pytest.mark.parametrize("module", modules())
def test_every_module_says_what_it_is(module: str) -> None:
    """Every module opens with a docstring, and defines `__all__` where others may import from it."""
    imported: ModuleType = importlib.import_module(module)

    assert imported.__doc__
    assert imported.__doc__.splitlines()[0].strip()


# --- importing


def run(code: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, in which every warning is an error."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("door", DOORS)
def test_a_door_opens_alone(door: str) -> None:
    """Each public module can be imported first, in a fresh interpreter, without a warning."""
    result = run(f"import {door}")

    assert (result.returncode, result.stderr) == (0, "")


ALONE = """
import importlib, os, sys
import aiohttp, backoff, msgspec, yarl
for name in sys.argv[1:] or {names!r}:
    if os.fork() == 0:
        # Without the door, which would import the rest first.
        package = type(sys)("aioapiclient")
        package.__path__ = [{path!r}]
        sys.modules["aioapiclient"] = package
        importlib.import_module(name)
        os._exit(0)
    if os.wait()[1]:
        sys.exit(name)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no fork")
def test_every_module_can_be_imported_alone() -> None:
    """Each module imports its own dependencies: none needs another to be imported first."""
    names = [name for name in modules() if name != "aioapiclient"]
    result = run(ALONE.format(names=names, path=str(PACKAGE)))

    assert (result.returncode, result.stderr) == (0, "")


def test_an_import_has_no_side_effect() -> None:
    """Importing configures no logging, starts no loop or thread, reads no variable, and registers nothing."""
    result = run(
        "import logging, os, sys, threading, warnings\n"
        "before = dict(os.environ), list(warnings.filters), threading.active_count()\n"
        "import aioapiclient, aioapiclient.testing\n"
        "assert before == (dict(os.environ), list(warnings.filters), threading.active_count())\n"
        "assert not logging.root.handlers and logging.root.level == logging.WARNING\n"
        "ours = [logging.getLogger(name) for name in logging.root.manager.loggerDict if 'aioapi' in name]\n"
        "assert all(logger.level == 0 and logger.propagate for logger in ours)\n"
    )

    assert (result.returncode, result.stderr) == (0, "")


def test_optional_packages_are_not_imported() -> None:
    """Importing needs aiohttp, yarl, msgspec and backoff, and no package that may be missing."""
    result = run(
        "import sys, aioapiclient\n"
        "print(sorted({'yaml', 'brotli', 'opentelemetry', 'pydantic', 'uvloop', 'httpx'} & set(sys.modules)))"
    )

    assert result.stderr == ""
    # aiohttp itself imports an installed brotli.
    assert result.stdout.strip() in ("[]", "['brotli']")


def test_the_contract_names_what_there_is() -> None:
    """Each field and method in the contract exists, and the page on middlewares explains it."""
    page = (Path(__file__).parents[1] / "docs" / "middleware.md").read_text(encoding="utf-8")
    section = page.partition("## The request and the response")[2].partition("\n## ")[0]
    text = str(aioapiclient.contract.__doc__).partition("A plugin may use")[2]
    request, response = text.split("And these members of an `AsyncAPIResponse`")
    made = aioapiclient.AsyncAPIResponse.from_bytes(aioapiclient.APIRequest("GET", "https://h"))
    for listed, there in ((request, made.request), (response, made)):
        names = " ".join(re.findall(r"``([a-z_\s]+)``", listed)).split()
        assert len(names) > 20
        for name in names:
            assert hasattr(there, name), name
            assert f"`{name}" in section, name
        public = {name for name in dir(there) if not name.startswith("_")}
        assert public == set(names), "members outside the contract begin with an underscore"
    helpers = [name for name in aioapiclient.contract.__all__ if name.startswith("check_")]
    for name in ("serves_several", "BoundedDict", *helpers):
        assert name in str(aioapiclient.contract.__doc__), name
        assert name in section, name
